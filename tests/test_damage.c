/*
 * The property: whatever happens to the file, no wrong value is handed out, nothing acknowledged as
 * durable goes missing in silence, and nothing crashes; what is not hit stays readable. And a full
 * disk is a status that one can go on from.
 *
 *     test_damage [FLIPS]       PEAT_SEED=n repeats the choice of bytes
 */
#include "tests/support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    FLIPS_DEFAULT = 1500,
    ENTRIES = 400,
    DURABLE = 250, /* of the entries of a store with a log: committed at level disk */
    SUPERBLOCK_SIZE = 4096,
    PATH_SIZE = 512,
    NAME_SIZE = 32
};

static unsigned flips_wanted;

/* --- a store whose contents are known ------------------------------------------------------- */

static struct peat_bytes key_of(char name[NAME_SIZE], uint64_t number)
{
    struct peat_bytes key = {name, 0};

    key.size = (size_t)snprintf(name, NAME_SIZE, "key %06" PRIu64, number);
    return key;
}

static size_t value_size(uint64_t number)
{
    return number % 50 == 7 ? 20000 : 40 + number % 200;
}

static enum peat_status entry_put(struct peat_db *db, uint64_t number, enum peat_durability level)
{
    struct peat_batch *batch = peat_batch_new(0);
    char name[NAME_SIZE];
    enum peat_status status;
    void *place = NULL;

    PT_REQUIRE(batch != NULL);
    PT_REQUIRE_OK(
        peat_batch_put_reserve(batch, NULL, key_of(name, number), value_size(number), &place));
    pt_value_fill(number, place, value_size(number));
    status = peat_write(db, batch, level, NULL);
    peat_batch_free(batch);
    return status;
}

static struct peat_db *store_open(const char *path, unsigned flags)
{
    struct peat_options options = pt_test_options(flags);
    struct peat_db *db;

    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    return db;
}

/* Entries 0 to ENTRIES - 1, one commit each, in segments. */
static void store_make_closed(const char *path)
{
    struct peat_db *db = store_open(path, PEAT_CREATE);

    for (uint64_t i = 0; i < ENTRIES; i++) {
        PT_REQUIRE_OK(entry_put(db, i, PEAT_OS));
        if (i % 150 == 0)
            PT_REQUIRE_OK(peat_flush(db));
    }
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    PT_REQUIRE_OK(peat_close(db));
}

/* The same, with everything in the log: the first entries known durable, the others not. */
static void store_make_with_a_log(const char *path)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    options.sync_interval_ms = 3600000;
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    for (uint64_t i = 0; i < ENTRIES; i++)
        PT_REQUIRE_OK(entry_put(db, i, i + 1 == DURABLE ? PEAT_DISK : PEAT_OS));
    PT_REQUIRE_OK(peat_abort(db));
}

/* What a look at a damaged store found. */
struct look {
    uint64_t shown;  /* entries that could be read */
    uint64_t failed; /* entries that gave an error */
};

/* Every entry is right, or an error, or, from some number at or above @p kept on, absent. */
static struct look entries_verify(const struct peat_snapshot *snapshot, uint64_t kept)
{
    struct look look = {0, 0};
    bool cut = false;
    char name[NAME_SIZE];

    for (uint64_t i = 0; i < ENTRIES; i++) {
        struct peat_bytes value;
        enum peat_status status = peat_get(snapshot, NULL, key_of(name, i), &value);

        if (status < 0) {
            look.failed++;
            continue;
        }
        PT_REQUIRE(status == PEAT_OK || status == PEAT_NOT_FOUND);
        if (status == PEAT_NOT_FOUND) {
            PT_REQUIRE(i >= kept);
            cut = true;
            continue;
        }
        PT_REQUIRE(!cut); /* no hole */
        PT_REQUIRE(value.size == value_size(i) && pt_value_matches(i, value));
        look.shown++;
    }
    return look;
}

/* The same by an iterator, which may end early only with an error. */
static void scan_verify(const struct peat_snapshot *snapshot, uint64_t shown, bool forward)
{
    struct peat_iterator *iterator;
    enum peat_status status;
    uint64_t count = 0;
    char name[NAME_SIZE];

    if (peat_iterator_open(snapshot, NULL, NULL, &iterator) < 0)
        return;
    status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    while (status == PEAT_OK) {
        uint64_t number = forward ? count : shown - 1 - count;
        struct peat_bytes value = peat_iterator_value(iterator);

        PT_REQUIRE(count < shown);
        PT_REQUIRE(pt_same(peat_iterator_key(iterator), key_of(name, number)));
        PT_REQUIRE(value.size == value_size(number) && pt_value_matches(number, value));
        count++;
        status = forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
    }
    PT_REQUIRE(status < 0 || (status == PEAT_DONE && count == shown));
    peat_iterator_close(iterator);
}

/* Open what may be damaged, and look at all of it. At least @p kept entries must be there, or an
 * error in their place. */
static struct look damaged_verify(const char *path, unsigned flags, uint64_t kept)
{
    struct peat_options options = pt_test_options(flags);
    struct look look = {0, ENTRIES};
    struct peat_snapshot *snapshot;
    struct peat_bytes value;
    struct peat_db *db;

    if (peat_open(path, &options, &db) != PEAT_OK) {
        PT_REQUIRE(db == NULL && peat_last_error()[0] != '\0');
        return look;
    }
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    look = entries_verify(snapshot, kept);
    if (look.failed == 0) {
        scan_verify(snapshot, look.shown, true);
        scan_verify(snapshot, look.shown, false);
    }
    PT_REQUIRE(peat_get(snapshot, NULL, pt_text("absent"), &value) != PEAT_OK);
    if (look.failed > 0)
        PT_REQUIRE(peat_check(db, NULL, NULL, NULL) < 0);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_abort(db));
    return look;
}

/* --- damaging ------------------------------------------------------------------------------- */

struct image {
    uint8_t *bytes;
    size_t size;
};

static struct image image_read(const char *path)
{
    struct image image = {NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat_now;

    PT_REQUIRE(fd >= 0 && fstat(fd, &stat_now) == 0);
    image.size = (size_t)stat_now.st_size;
    image.bytes = malloc(image.size);
    PT_REQUIRE(image.bytes != NULL && pt_pipe_read(fd, image.bytes, image.size));
    (void)close(fd);
    return image;
}

static void image_write(const struct image *image, const char *path, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    PT_REQUIRE(fd >= 0 && pt_pipe_write(fd, image->bytes, size));
    (void)close(fd);
}

/* What the child that may crash is at, in memory shared with its parent. */
struct progress {
    size_t offset;
    unsigned mask;
    unsigned done;
    uint64_t looks_whole; /* flips that harmed nothing */
    uint64_t looks_lost;  /* flips after which nothing could be read */
};

struct flipping {
    const char *path;
    struct image image;
    uint64_t kept;
    uint64_t seed;
    struct progress *progress;
};

/* Both superblocks are hit as often as the rest; bytes that are not zero more often than others. */
static size_t offset_choose(const struct image *image, struct pt_dice *dice)
{
    size_t offset = 0;

    if (pt_dice_one_in(dice, 4))
        return pt_dice_below(dice, (uint64_t)2 * SUPERBLOCK_SIZE) & ~(uint64_t)0xf00;
    for (unsigned tries = 0; tries < 50; tries++) {
        offset = pt_dice_below(dice, image->size);
        if (image->bytes[offset] != 0)
            break;
    }
    return offset;
}

static void flip_all(void *context)
{
    struct flipping *flipping = context;
    struct progress *progress = flipping->progress;
    struct pt_dice dice = {flipping->seed};

    for (progress->done = 0; progress->done < flips_wanted; progress->done++) {
        size_t offset = offset_choose(&flipping->image, &dice);
        uint8_t mask = (uint8_t)(1 + pt_dice_below(&dice, 255));
        struct look look;

        progress->offset = offset;
        progress->mask = mask;
        pt_test_context("PEAT_SEED=%" PRIu64 ", byte %zu flipped by %#x", flipping->seed, offset,
                        mask);
        flipping->image.bytes[offset] ^= mask;
        image_write(&flipping->image, flipping->path, flipping->image.size);
        flipping->image.bytes[offset] ^= mask;
        look = damaged_verify(flipping->path, pt_dice_one_in(&dice, 2) ? PEAT_READ_ONLY : 0,
                              flipping->kept);
        progress->looks_whole += look.shown == ENTRIES;
        progress->looks_lost += look.shown == 0;
    }
}

static void flip_bytes(const char *path, uint64_t kept)
{
    struct flipping flipping = {path, image_read(path), kept, pt_test_seed(), NULL};
    pid_t child;

    flipping.progress = mmap(NULL, sizeof(*flipping.progress), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PT_REQUIRE(flipping.progress != MAP_FAILED);
    child = pt_child_start(flip_all, &flipping);
    pt_test_context("PEAT_SEED=%" PRIu64 ", in a child process", flipping.seed);
    pt_child_join(child);
    pt_test_context("%s", "");
    printf("# %u flips of %zu bytes: %" PRIu64 " harmless, %" PRIu64 " fatal\n",
           flipping.progress->done, flipping.image.size, flipping.progress->looks_whole,
           flipping.progress->looks_lost);
    (void)munmap(flipping.progress, sizeof(*flipping.progress));
    free(flipping.image.bytes);
}

static const char *path_of(char path[PATH_SIZE], const char *name)
{
    (void)snprintf(path, PATH_SIZE, "%s", pt_test_path(name));
    return path;
}

static void p3_no_flipped_byte_of_a_closed_store_gives_a_wrong_answer(void **state)
{
    char path[PATH_SIZE];

    (void)state;
    store_make_closed(path_of(path, "flip-closed"));
    flip_bytes(path, ENTRIES);
}

static void p3_no_flipped_byte_of_a_log_takes_a_durable_commit_in_silence(void **state)
{
    char path[PATH_SIZE];

    (void)state;
    store_make_with_a_log(path_of(path, "flip-log"));
    flip_bytes(path, DURABLE);
}

struct cutting {
    const char *path;
    struct image image;
    size_t size; /* what is left */
    uint64_t kept;
};

static void cut_verify(void *context)
{
    const struct cutting *cutting = context;

    pt_test_context("cut to %zu of %zu bytes", cutting->size, cutting->image.size);
    for (unsigned i = 0; i < 2; i++) {
        image_write(&cutting->image, cutting->path, cutting->size);
        (void)damaged_verify(cutting->path, i == 0 ? PEAT_READ_ONLY : 0, cutting->kept);
    }
}

static void p3_a_cut_file_gives_right_answers_or_an_error(void **state)
{
    static const size_t losses[] = {1, 10, 100, 4096, 65536, 200000};
    char path[PATH_SIZE];

    (void)state;
    for (unsigned with_log = 0; with_log < 2; with_log++) {
        struct cutting cutting = {.path = path_of(path, with_log ? "cut-log" : "cut-closed")};

        if (with_log)
            store_make_with_a_log(path);
        else
            store_make_closed(path);
        cutting.image = image_read(path);
        /* Whether lost log was ever on disk cannot be told when nothing after it is left. */
        cutting.kept = with_log ? 0 : ENTRIES;
        for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
            if (losses[i] >= cutting.image.size)
                continue;
            cutting.size = cutting.image.size - losses[i];
            pt_child_join(pt_child_start(cut_verify, &cutting));
        }
        for (size_t left = 1; left < cutting.image.size; left *= 4) {
            cutting.size = left;
            pt_child_join(pt_child_start(cut_verify, &cutting));
        }
        free(cutting.image.bytes);
    }
}

static void p3_damage_in_both_superblocks_is_corrupt_and_left_untouched(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    char path[PATH_SIZE];
    struct image damaged;
    struct image after;
    struct peat_db *db;

    (void)state;
    store_make_closed(path_of(path, "superblocks"));
    damaged = image_read(path);
    for (size_t i = 16; i < 64; i++) { /* behind what says that it is a store */
        damaged.bytes[i] ^= 0x55;
        damaged.bytes[SUPERBLOCK_SIZE + i] ^= 0x55;
    }
    image_write(&damaged, path, damaged.size);
    PT_REQUIRE_STATUS(peat_open(path, &options, &db), PEAT_CORRUPT);
    after = image_read(path);
    PT_REQUIRE(after.size == damaged.size && memcmp(after.bytes, damaged.bytes, after.size) == 0);
    free(after.bytes);
    free(damaged.bytes);
}

/* --- damage in one place -------------------------------------------------------------------- */

struct findings {
    unsigned count;
    bool has_words;
};

static void finding_note(void *context, const struct peat_finding *finding)
{
    struct findings *findings = context;

    findings->count++;
    findings->has_words = finding->what != NULL && finding->what[0] != '\0';
}

/* The values lie in the file as they are, so one can be found there and hit. */
static void p3_damage_in_one_value_leaves_the_others_readable(void **state)
{
    enum { VALUES = 40, SIZE = 200000, HIT = 17 };
    struct findings findings = {0, false};
    struct peat_snapshot *snapshot;
    struct peat_batch *batch = peat_batch_new(0);
    struct image image;
    char path[PATH_SIZE];
    char name[NAME_SIZE];
    struct peat_db *db;
    uint8_t *place;
    uint8_t *bytes = malloc(SIZE);

    (void)state;
    db = store_open(path_of(path, "one-value"), PEAT_CREATE);
    PT_REQUIRE(bytes != NULL && batch != NULL);
    for (uint64_t i = 0; i < VALUES; i++) {
        struct peat_bytes value = {bytes, SIZE};

        pt_value_fill(i, bytes, SIZE);
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, key_of(name, i), value));
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_DISK, NULL));
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    PT_REQUIRE_OK(peat_close(db));
    image = image_read(path);
    pt_value_fill(HIT, bytes, SIZE);
    place = memmem(image.bytes, image.size, bytes + SIZE / 2, 64);
    PT_REQUIRE(place != NULL);
    for (; place != NULL; /* the log may still hold it as well */
         place = memmem(place, image.size - (size_t)(place - image.bytes), bytes + SIZE / 2, 64))
        *place ^= 1;
    image_write(&image, path, image.size);
    db = store_open(path, 0);
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    for (uint64_t i = 0; i < VALUES; i++) {
        struct peat_bytes value;
        enum peat_status status = peat_get(snapshot, NULL, key_of(name, i), &value);

        PT_REQUIRE_STATUS(status, i == HIT ? PEAT_CORRUPT : PEAT_OK);
        if (i != HIT)
            PT_REQUIRE(value.size == SIZE && pt_value_matches(i, value));
    }
    peat_snapshot_close(snapshot);
    PT_REQUIRE_STATUS(peat_check(db, finding_note, NULL, &findings), PEAT_CORRUPT);
    PT_REQUIRE(findings.count > 0 && findings.has_words);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("another"), pt_text("value"))); /* life goes on */
    (void)peat_close(db);
    peat_batch_free(batch);
    free(image.bytes);
    free(bytes);
}

static void p3_values_that_look_like_the_stores_own_bytes_do_no_harm(void **state)
{
    char path[PATH_SIZE];
    struct image image;
    struct peat_db *db;

    (void)state;
    store_make_with_a_log(path_of(path, "look-alike"));
    image = image_read(path);
    for (unsigned turn = 0; turn < 4; turn++) {
        db = store_open(path, 0);
        for (size_t offset = 0; offset < image.size; offset += 65536) {
            size_t left = image.size - offset;
            struct peat_bytes value = {image.bytes + offset, left < 65536 ? left : 65536};
            char name[NAME_SIZE];

            PT_REQUIRE_OK(
                peat_put(db, NULL, key_of(name, 1000000 + turn * 10000 + offset / 65536), value));
        }
        if (turn == 2)
            PT_REQUIRE_OK(peat_flush(db));
        PT_REQUIRE_OK(turn % 2 == 0 ? peat_abort(db) : peat_close(db));
        db = store_open(path, 0);
        for (size_t offset = 0; offset < image.size; offset += 65536) {
            size_t left = image.size - offset;
            struct peat_bytes expected = {image.bytes + offset, left < 65536 ? left : 65536};
            struct peat_snapshot *snapshot;
            struct peat_bytes value;
            char name[NAME_SIZE];

            PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
            PT_REQUIRE_OK(peat_get(snapshot, NULL,
                                   key_of(name, 1000000 + turn * 10000 + offset / 65536), &value));
            PT_REQUIRE(pt_same(value, expected));
            PT_REQUIRE(entries_verify(snapshot, ENTRIES).shown == ENTRIES);
            peat_snapshot_close(snapshot);
        }
        PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
        PT_REQUIRE_OK(peat_close(db));
    }
    free(image.bytes);
}

/* --- a full disk ---------------------------------------------------------------------------- */

struct room {
    char path[PATH_SIZE]; /* NULL's stand-in: "" is a store in memory */
    struct peat_options options;
    bool *has_disk; /* shared with the parent: false, a small disk could not be made */
};

static struct peat_bytes filler_of(uint64_t number)
{
    static uint8_t bytes[3000];
    struct peat_bytes value = {bytes, 1000 + number % 2000};

    pt_value_fill(number, bytes, value.size);
    return value;
}

/* Put entries from @p number on until there is no space; the number of the one that failed. */
static uint64_t fill(struct peat_db *db, uint64_t number)
{
    char name[NAME_SIZE];
    enum peat_status status;

    for (;; number++) {
        status = peat_put(db, NULL, key_of(name, number), filler_of(number));
        if (status != PEAT_OK)
            break;
        PT_REQUIRE(number < 100000);
    }
    PT_REQUIRE_STATUS(status, PEAT_NO_SPACE);
    return number;
}

static void filled_verify(struct peat_db *db, uint64_t from, uint64_t to)
{
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;
    struct peat_bytes value;
    char name[NAME_SIZE];

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    for (uint64_t i = from; i < to; i++) {
        PT_REQUIRE_OK(peat_get(snapshot, NULL, key_of(name, i), &value));
        PT_REQUIRE(pt_same(value, filler_of(i)));
        PT_REQUIRE_OK(peat_iterator_next(iterator));
        PT_REQUIRE(pt_same(peat_iterator_key(iterator), key_of(name, i)));
    }
    PT_REQUIRE_STATUS(peat_iterator_next(iterator), PEAT_DONE);
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
}

static uint64_t cpu_time_us(void)
{
    struct rusage usage;

    PT_REQUIRE(getrusage(RUSAGE_SELF, &usage) == 0);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Whoever cannot flush must wait, not try without end: there comes a span in which next to nothing is done.
 * What there is to do first may take a slow machine long. */
static void require_rest(void)
{
    enum { SPAN_US = 500000, SPANS = 60 };
    uint64_t taken_us = SPAN_US;

    for (unsigned i = 0; i < SPANS && taken_us >= SPAN_US / 2; i++) {
        uint64_t before = cpu_time_us();

        (void)usleep(SPAN_US);
        taken_us = cpu_time_us() - before;
    }
    PT_REQUIRE(taken_us < SPAN_US / 2);
}

/* Fill; all that was acknowledged can be read, from this store and, where there is a file, from one
 * opened for reading. When the file @p ballast (may be NULL) goes, the store goes on by itself. */
static void room_run(struct room *room, const char *ballast)
{
    const char *path = room->path[0] == '\0' ? NULL : room->path;
    struct peat_options reading = pt_test_options(PEAT_READ_ONLY);
    struct peat_db *db;
    uint64_t first;
    uint64_t again;

    PT_REQUIRE_OK(peat_open(path, &room->options, &db));
    first = fill(db, 0);
    PT_REQUIRE(first > 500);
    filled_verify(db, 0, first);
    require_rest();
    filled_verify(db, 0, first);
    if (ballast != NULL) {
        PT_REQUIRE(unlink(ballast) == 0);
        PT_REQUIRE_OK(peat_wait_idle(db, 60000));
        again = fill(db, first);
        PT_REQUIRE(again - first > first / 8);
        filled_verify(db, 0, again);
        first = again;
    }
    PT_REQUIRE_OK(peat_abort(db));
    if (path == NULL)
        return;
    PT_REQUIRE_OK(peat_open(path, &reading, &db));
    filled_verify(db, 0, first);
    PT_REQUIRE_OK(peat_close(db));
}

/* On a file system of 32 MiB of its own, 24 of them taken, where the system allows to mount one. */
static void small_disk_run(void *context)
{
    struct room *room = context;
    const char *directory = pt_test_path("disk");
    char ballast[PATH_SIZE];
    int fd;

    if (mkdir(directory, 0700) != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", directory, "tmpfs", 0, "size=32m") != 0)
        return;
    *room->has_disk = true;
    (void)snprintf(room->path, sizeof(room->path), "%s/store", directory);
    (void)snprintf(ballast, sizeof(ballast), "%s/ballast", directory);
    fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    PT_REQUIRE(fd >= 0 && posix_fallocate(fd, 0, 24 << 20) == 0 && close(fd) == 0);
    room_run(room, ballast);
}

static struct room room_make(void)
{
    struct room room = {.options = pt_test_options(PEAT_CREATE)};

    pt_test_options_tiny(&room.options);
    return room;
}

static void p6_a_full_disk_is_a_status_and_more_room_is_used(void **state)
{
    struct room room = room_make();
    bool *has_disk =
        mmap(NULL, sizeof(*has_disk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool tested;

    (void)state;
    PT_REQUIRE(has_disk != MAP_FAILED);
    room.has_disk = has_disk;
    (void)pt_test_path("disk"); /* the directory is made by the parent, which removes it */
    pt_child_join(pt_child_start(small_disk_run, &room));
    tested = *has_disk;
    (void)munmap(has_disk, sizeof(*has_disk));
    if (!tested)
        skip();
}

static void p6_a_file_at_its_largest_size_is_like_a_full_disk(void **state)
{
    struct room room = room_make();

    (void)state;
    room.options.address_space_size = (size_t)12 << 20;
    (void)path_of(room.path, "largest");
    room_run(&room, NULL);
}

static void p6_a_store_in_memory_at_its_largest_size_is_like_a_full_disk(void **state)
{
    struct room room = room_make();

    (void)state;
    room.options.address_space_size = (size_t)12 << 20;
    room_run(&room, NULL);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p3_no_flipped_byte_of_a_closed_store_gives_a_wrong_answer),
        cmocka_unit_test(p3_no_flipped_byte_of_a_log_takes_a_durable_commit_in_silence),
        cmocka_unit_test(p3_a_cut_file_gives_right_answers_or_an_error),
        cmocka_unit_test(p3_damage_in_both_superblocks_is_corrupt_and_left_untouched),
        cmocka_unit_test(p3_damage_in_one_value_leaves_the_others_readable),
        cmocka_unit_test(p3_values_that_look_like_the_stores_own_bytes_do_no_harm),
        cmocka_unit_test(p6_a_full_disk_is_a_status_and_more_room_is_used),
        cmocka_unit_test(p6_a_file_at_its_largest_size_is_like_a_full_disk),
        cmocka_unit_test(p6_a_store_in_memory_at_its_largest_size_is_like_a_full_disk),
    };
    int failed;

    pt_test_start();
    flips_wanted = (unsigned)pt_test_number("PEAT_FLIPS", FLIPS_DEFAULT);
    if (argc > 1)
        flips_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

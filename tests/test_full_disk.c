/*
 * The property: a store that cannot grow any more is a status, never a signal and never a loss. What was
 * acknowledged can be read, also by who opens it then or after a kill; deletes and merging go on, and
 * give space back; and when there is space again, commits go on, without being asked to.
 *
 * Where it cannot grow is a file system of its own that is full, RLIMIT_FSIZE, whose signal is left
 * deadly here, or file_size_max.
 */
#include "core/peat.h"

#include "tests/support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    PATH_SIZE = 512,
    NAME_SIZE = 16,
    MIB = 1 << 20,
    VALUE_SIZE_MAX = 3000,
    ENTRIES_MAX = 100000
};

/* Where a store cannot grow beyond some size. */
struct place {
    const char *name;
    struct peat_options options;
    uint64_t size;                      /* bytes that the store can have, about */
    void (*widen)(struct place *place); /* make room; NULL: it cannot */
    char path[PATH_SIZE];
    char ballast[PATH_SIZE];
    enum peat_durability durability;
    bool *is_there; /* shared with the parent: false, it could not be made */
};

/* Entries [from, to) were put; of those below deleted_to every even one was deleted. */
struct content {
    uint64_t to;
    uint64_t deleted_to;
};

static struct peat_bytes key_of(char name[NAME_SIZE], uint64_t number)
{
    struct peat_bytes key = {name, 0};

    key.size = (size_t)snprintf(name, NAME_SIZE, "key %06" PRIu64, number);
    return key;
}

static struct peat_bytes value_of(uint64_t number)
{
    static uint8_t bytes[VALUE_SIZE_MAX];
    struct peat_bytes value = {bytes, 1000 + number % 2000};

    pt_value_fill(number, bytes, value.size);
    return value;
}

static bool is_deleted(const struct content *content, uint64_t number)
{
    return number < content->deleted_to && number % 2 == 0;
}

static struct peat_db *store_open(const struct place *place, unsigned flags)
{
    struct peat_options options = place->options;
    struct peat_db *db;

    options.flags = flags;
    PT_REQUIRE_OK(peat_open(place->path, &options, &db));
    return db;
}

static struct peat_stats stats_of(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats;
}

static uint64_t file_size(const struct place *place)
{
    struct stat about;

    PT_REQUIRE(stat(place->path, &about) == 0);
    return (uint64_t)about.st_size;
}

/* Put more entries until there is no space. */
static void fill(const struct place *place, struct peat_db *db, struct content *content)
{
    struct peat_batch *batch = peat_batch_new(0);
    enum peat_status status;
    char name[NAME_SIZE];

    PT_REQUIRE(batch != NULL);
    do {
        peat_batch_clear(batch);
        PT_REQUIRE_OK(
            peat_batch_put(batch, NULL, key_of(name, content->to), value_of(content->to)));
        status = peat_write(db, batch, place->durability, NULL);
        content->to += status == PEAT_OK;
        PT_REQUIRE(content->to < ENTRIES_MAX);
    } while (status == PEAT_OK);
    PT_REQUIRE_STATUS(status, PEAT_NO_SPACE);
    PT_REQUIRE(strstr(peat_last_error(), place->path) != NULL);
    peat_batch_free(batch);
}

static void delete_more(const struct place *place, struct peat_db *db, struct content *content,
                        uint64_t to)
{
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_stats stats;
    char name[NAME_SIZE];

    PT_REQUIRE(batch != NULL && to % 2 == 0);
    for (; content->deleted_to < to; content->deleted_to += 2) {
        peat_batch_clear(batch);
        PT_REQUIRE_OK(peat_batch_delete(batch, NULL, key_of(name, content->deleted_to)));
        stats = stats_of(db);
        pt_test_context("%s: deleting %" PRIu64 " of %" PRIu64 ", segments %" PRIu64
                        ", log %" PRIu64 ", free %" PRIu64 ", pending %" PRIu64
                        ", reserve %" PRIu64,
                        place->name, content->deleted_to, content->to, stats.segment_size,
                        stats.log_size, stats.free_size, stats.pending_size, stats.reserve_size);
        PT_REQUIRE_OK(peat_write(db, batch, place->durability, NULL));
    }
    peat_batch_free(batch);
}

static void snapshot_verify(struct peat_snapshot *snapshot, const struct content *content)
{
    struct peat_iterator *iterator;
    struct peat_bytes value;
    char name[NAME_SIZE];

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    for (uint64_t i = 0; i < content->to; i++) {
        if (is_deleted(content, i)) {
            PT_REQUIRE_STATUS(peat_get(snapshot, NULL, key_of(name, i), &value), PEAT_NOT_FOUND);
            continue;
        }
        PT_REQUIRE_OK(peat_get(snapshot, NULL, key_of(name, i), &value));
        PT_REQUIRE(pt_same(value, value_of(i)));
        PT_REQUIRE_OK(peat_iterator_next(iterator));
        PT_REQUIRE(pt_same(peat_iterator_key(iterator), key_of(name, i)));
        PT_REQUIRE(pt_same(peat_iterator_value(iterator), value_of(i)));
    }
    PT_REQUIRE_STATUS(peat_iterator_next(iterator), PEAT_DONE);
    peat_iterator_close(iterator);
}

static void verify(struct peat_db *db, const struct content *content)
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    snapshot_verify(snapshot, content);
    peat_snapshot_close(snapshot);
}

/* What a killed store holds is found by a reader as well as a writer. */
static struct peat_db *reopen(const struct place *place, const struct content *content)
{
    struct peat_db *db = store_open(place, PEAT_READ_ONLY);

    verify(db, content);
    PT_REQUIRE_OK(peat_close(db));
    db = store_open(place, 0);
    verify(db, content);
    return db;
}

/* ---- What is done in each place ---- */

/* Put more until there is no space even when all work at hand is done: some of it gives space back. */
static void fill_up(const struct place *place, struct peat_db *db, struct content *content)
{
    uint64_t before;

    do {
        enum peat_status status;

        before = content->to;
        fill(place, db, content);
        status = peat_wait_idle(db, 60000);
        PT_REQUIRE(status == PEAT_OK || status == PEAT_NO_SPACE);
    } while (content->to > before);
}

/* Delete half of the entries, one by one, and have it merged: then a good part can be put again. (Not all: what
 * is in the log takes more than twice its size, with what is kept in reserve to flush it.) */
static void give_back(const struct place *place, struct peat_db *db, struct content *content)
{
    uint64_t before = content->to;
    enum peat_status status;

    pt_test_context("%s: giving back", place->name);
    delete_more(place, db, content, before / 2 * 2);
    verify(db, content);
    status = peat_compact(db, NULL, NULL, NULL, NULL);
    if (status != PEAT_NO_SPACE) /* then what is left to gain is not worth what it would take */
        PT_REQUIRE_OK(status);
    verify(db, content);
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    fill_up(place, db, content);
    pt_test_context("%s: %" PRIu64 " entries, then %" PRIu64 " more", place->name, before,
                    content->to - before);
    PT_REQUIRE(content->to - before > before / 8);
    verify(db, content);
}

/* Filled to the brim: a snapshot from before shows what it did, and a range delete is possible beside it. */
static void with_a_snapshot(const struct place *place)
{
    struct content content = {0, 0};
    struct peat_db *db = store_open(place, PEAT_CREATE);
    struct peat_snapshot *snapshot;
    struct content seen;
    char name[NAME_SIZE];

    for (; content.to < 300; content.to++)
        PT_REQUIRE_OK(peat_put(db, NULL, key_of(name, content.to), value_of(content.to)));
    seen = content;
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    fill(place, db, &content);
    PT_REQUIRE(content.to > 500);
    PT_REQUIRE(stats_of(db).reserve_size > 0);
    snapshot_verify(snapshot, &seen);
    verify(db, &content);
    delete_more(place, db, &content, 200);
    verify(db, &content);
    snapshot_verify(snapshot, &seen);
    peat_snapshot_close(snapshot);
    give_back(place, db, &content);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_close(reopen(place, &content)));
    PT_REQUIRE(unlink(place->path) == 0);
}

/* Closed, or given up, while it is full, it opens again for writing, and goes on from there. */
static void reopened(const struct place *place)
{
    struct content content = {0, 0};
    struct peat_db *db = store_open(place, PEAT_CREATE);

    fill(place, db, &content);
    PT_REQUIRE_OK(peat_close(db));
    db = reopen(place, &content);
    fill(place, db, &content);
    PT_REQUIRE_OK(peat_abort(db));
    db = reopen(place, &content);
    fill(place, db, &content);
    delete_more(place, db, &content, content.to / 8 * 2);
    PT_REQUIRE_OK(peat_abort(db));
    db = reopen(place, &content);
    give_back(place, db, &content);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(unlink(place->path) == 0);
}

/* A process that fills a store, and tells how far it came. */
struct filler {
    const struct place *place;
    int told;
    struct content content;
    uint64_t delete_to; /* then it deletes so many 16ths */
};

static void fill_and_wait(void *context)
{
    struct filler *filler = context;
    struct peat_db *db = store_open(filler->place, PEAT_CREATE);

    fill(filler->place, db, &filler->content);
    delete_more(filler->place, db, &filler->content, filler->content.to / 16 * filler->delete_to);
    PT_REQUIRE(pt_pipe_write(filler->told, &filler->content, sizeof(filler->content)));
    for (;;)
        (void)pause();
}

static void killed(const struct place *place)
{
    struct content content = {0, 0};
    struct peat_db *db;

    for (unsigned i = 0; i < 4; i++) {
        struct filler filler = {.place = place, .content = content, .delete_to = i == 2 ? 2 : 0};
        int ends[2];
        pid_t child;

        pt_test_context("%s: kill %u", place->name, i);
        PT_REQUIRE(pipe(ends) == 0);
        filler.told = ends[1];
        filler.content.deleted_to = content.deleted_to;
        child = pt_child_start(fill_and_wait, &filler);
        PT_REQUIRE(close(ends[1]) == 0);
        PT_REQUIRE(pt_pipe_read(ends[0], &content, sizeof(content)));
        PT_REQUIRE(close(ends[0]) == 0);
        pt_child_kill(child);
        db = reopen(place, &content);
        PT_REQUIRE_OK(peat_abort(db));
    }
    db = reopen(place, &content);
    give_back(place, db, &content);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(unlink(place->path) == 0);
}

/* Deleting and filling by turns: the reserve is not used up bit by bit. */
static void by_turns(const struct place *place)
{
    struct content content = {0, 0};
    struct peat_db *db = store_open(place, PEAT_CREATE);
    struct peat_range all = {.flags = 0};
    struct peat_batch *batch = peat_batch_new(0);

    PT_REQUIRE(batch != NULL);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t before = content.to;

        fill(place, db, &content);
        PT_REQUIRE(content.to - before > 300);
        verify(db, &content);
        peat_batch_clear(batch);
        PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, all.low, all.high));
        PT_REQUIRE_OK(peat_write(db, batch, place->durability, NULL));
        content = (struct content){0, 0};
        verify(db, &content);
        PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    }
    peat_batch_free(batch);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(unlink(place->path) == 0);
}

/* When there is space again, the next commit uses it. */
static void widened(struct place *place)
{
    struct content content = {0, 0};
    struct peat_db *db = store_open(place, PEAT_CREATE);
    uint64_t before;

    fill(place, db, &content);
    before = content.to;
    place->widen(place);
    fill(place, db, &content);
    PT_REQUIRE(content.to - before > before / 4);
    verify(db, &content);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_close(reopen(place, &content)));
}

static void place_run(struct place *place)
{
    with_a_snapshot(place);
    reopened(place);
    killed(place);
    by_turns(place);
    if (place->widen != NULL)
        widened(place);
}

/* ---- The places ---- */

static void ballast_put(const struct place *place, uint64_t size)
{
    int fd = open(place->ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    PT_REQUIRE(fd >= 0 && posix_fallocate(fd, 0, (off_t)size) == 0 && close(fd) == 0);
}

static void ballast_take(struct place *place)
{
    PT_REQUIRE(unlink(place->ballast) == 0);
}

static void disk_run(void *context)
{
    struct place *place = context;
    const char *directory = pt_test_path("disk");
    char options[32];

    (void)snprintf(options, sizeof(options), "size=%" PRIu64, 2 * place->size);
    if ((mkdir(directory, 0700) != 0 && access(directory, W_OK) != 0) ||
        unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", directory, "tmpfs", 0, options) != 0)
        return;
    *place->is_there = true;
    (void)snprintf(place->path, sizeof(place->path), "%s/store", directory);
    (void)snprintf(place->ballast, sizeof(place->ballast), "%s/ballast", directory);
    place->widen = ballast_take;
    ballast_put(place, place->size);
    place_run(place);
}

static void limit_set(uint64_t size)
{
    struct rlimit limit;

    PT_REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = size;
    PT_REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void limit_widen(struct place *place)
{
    limit_set(2 * place->size);
}

static void limit_run(void *context)
{
    struct place *place = context;

    (void)snprintf(place->path, sizeof(place->path), "%s", pt_test_path("limit"));
    place->widen = limit_widen;
    PT_REQUIRE(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    limit_set(place->size);
    place_run(place);
    PT_REQUIRE(file_size(place) <= 2 * place->size);
    PT_REQUIRE(unlink(place->path) == 0);
    *place->is_there = true;
}

static void quota_run(void *context)
{
    struct place *place = context;

    (void)snprintf(place->path, sizeof(place->path), "%s", pt_test_path("quota"));
    place->options.file_size_max = place->size;
    place_run(place);
    *place->is_there = true;
}

/* In a child, which a signal would end. False: there is no such place here. */
static bool run_in(struct place place, void (*body)(void *context))
{
    bool is_there;

    place.is_there =
        mmap(NULL, sizeof(bool), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PT_REQUIRE(place.is_there != MAP_FAILED);
    (void)pt_test_path("disk"); /* the directory is made by the parent, which removes it */
    pt_child_join(pt_child_start(body, &place));
    is_there = *place.is_there;
    (void)munmap(place.is_there, sizeof(bool));
    return is_there;
}

/* With small buffers, where much is in segments, and with large ones, where all is in the log. */
static bool run_with_all_options(const char *name, void (*body)(void *context))
{
    struct place small = {
        .name = name, .options = pt_test_options(0), .size = 8 * MIB, .durability = PEAT_OS};
    struct place large = small;
    struct place synced = small;

    pt_test_options_tiny(&small.options);
    large.size = 24 * MIB;
    pt_test_options_tiny(&synced.options);
    synced.durability = PEAT_DISK;
    synced.size = 5 * MIB;
    synced.options.flags = PEAT_LOG_PWRITE;
    return run_in(small, body) && run_in(large, body) && run_in(synced, body);
}

static void p6_on_a_disk_that_is_full_nothing_is_lost_and_deletes_give_space_back(void **state)
{
    (void)state;
    if (!run_with_all_options("a full disk", disk_run))
        skip();
}

static void p6_at_the_limit_on_file_sizes_nothing_is_lost_and_no_signal_comes(void **state)
{
    (void)state;
    PT_REQUIRE(run_with_all_options("RLIMIT_FSIZE", limit_run));
}

static void p6_at_the_quota_nothing_is_lost_and_deletes_give_space_back(void **state)
{
    (void)state;
    PT_REQUIRE(run_with_all_options("file_size_max", quota_run));
}

/* The file never gets larger, and one that is larger already can be deleted from. */
static void p6_the_quota_holds_and_a_larger_store_can_be_made_smaller(void **state)
{
    struct place place = {.name = "quota", .options = pt_test_options(0), .size = 6 * MIB};
    struct content content = {0, 0};
    struct peat_db *db;

    (void)state;
    (void)snprintf(place.path, sizeof(place.path), "%s", pt_test_path("larger"));
    place.durability = PEAT_OS;
    pt_test_options_tiny(&place.options);
    place.options.file_size_max = place.size;
    db = store_open(&place, PEAT_CREATE);
    fill(&place, db, &content);
    PT_REQUIRE(file_size(&place) <= place.size);
    PT_REQUIRE(strstr(peat_last_error(), "file_size_max") != NULL);
    delete_more(&place, db, &content, 300);
    PT_REQUIRE(file_size(&place) <= place.size);
    PT_REQUIRE_OK(peat_close(db));
    place.options.file_size_max = 2 * MIB;
    db = store_open(&place, 0);
    delete_more(&place, db, &content, content.to / 2 * 2);
    PT_REQUIRE(file_size(&place) <= place.size + 2 * MIB);
    verify(db, &content);
    PT_REQUIRE_OK(peat_compact(db, NULL, NULL, NULL, NULL));
    PT_REQUIRE(stats_of(db).segment_size < 3 * MIB);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_close(reopen(&place, &content)));
}

/* What is in the log does not fit into any segment: that is said, and not waited for. */
static void p6_a_store_that_cannot_flush_its_log_is_refused_and_comes_back_with_space(void **state)
{
    struct place place = {.name = "log", .options = pt_test_options(0), .durability = PEAT_OS};
    struct content content = {0, 0};
    struct peat_options options;
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_db *db;
    char name[NAME_SIZE];

    (void)state;
    PT_REQUIRE(batch != NULL);
    (void)snprintf(place.path, sizeof(place.path), "%s", pt_test_path("log"));
    db = store_open(&place, PEAT_CREATE); /* with a buffer that takes all of it */
    for (; content.to < 10000; content.to++) {
        peat_batch_clear(batch);
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, key_of(name, content.to), value_of(content.to)));
        PT_REQUIRE_OK(peat_write(db, batch, place.durability, NULL));
    }
    peat_batch_free(batch);
    PT_REQUIRE(stats_of(db).segment_size == 0);
    PT_REQUIRE_OK(peat_abort(db));
    options = place.options;
    options.memory_size_max = 8 * MIB;
    options.write_buffer_size = 2 * MIB;
    options.file_size_max = MIB;
    PT_REQUIRE_STATUS(peat_open(place.path, &options, &db), PEAT_NO_SPACE);
    PT_REQUIRE(strstr(peat_last_error(), place.path) != NULL);
    db = store_open(&place, 0);
    verify(db, &content);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_quota_that_no_store_fits_into_is_refused(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    (void)state;
    options.file_size_max = MIB - 1;
    PT_REQUIRE_STATUS(peat_open(pt_test_path("tiny"), &options, &db), PEAT_INVALID);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p6_on_a_disk_that_is_full_nothing_is_lost_and_deletes_give_space_back),
        cmocka_unit_test(p6_at_the_limit_on_file_sizes_nothing_is_lost_and_no_signal_comes),
        cmocka_unit_test(p6_at_the_quota_nothing_is_lost_and_deletes_give_space_back),
        cmocka_unit_test(p6_the_quota_holds_and_a_larger_store_can_be_made_smaller),
        cmocka_unit_test(p6_a_store_that_cannot_flush_its_log_is_refused_and_comes_back_with_space),
        cmocka_unit_test(a_quota_that_no_store_fits_into_is_refused),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

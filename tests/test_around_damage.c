/*
 * The property: a store with damaged segments opens, for reading and for writing; what is not hit is
 * read as ever, by key and in order; what is hit gives an error that names a range of keys with the one
 * asked for in it; and nothing that newer data hid comes back.
 *
 *     test_around_damage [TRIALS]       PEAT_SEED=n repeats the choice of places
 */
#include "tests/support.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    KEYS = 3000,
    COLLECTIONS = 2, /* the root, and one more */
    SECTOR = 512,
    ARENA_START = 65536,
    FOOTER_SIZE = 128, /* of a segment */
    TRIALS_DEFAULT = 60,
    STOPS_MAX = 2 * KEYS, /* of one walk at damage: more and it gets nowhere */
    NAME_SIZE = 32,
    PATH_SIZE = 512
};

static unsigned trials_wanted;

/* What each key must show: a value's seed; 0: absent. */
static uint64_t model[COLLECTIONS][KEYS];

static struct peat_bytes key_of(char name[NAME_SIZE], unsigned number)
{
    struct peat_bytes key = {name, (size_t)snprintf(name, NAME_SIZE, "key %06u", number)};

    return key;
}

static unsigned number_of(struct peat_bytes key)
{
    char name[NAME_SIZE] = {0};

    PT_REQUIRE(key.size == strlen("key 000000"));
    memcpy(name, key.data, key.size);
    return (unsigned)strtoul(name + 4, NULL, 10);
}

static size_t size_of(uint64_t seed)
{
    return seed % 97 == 5 ? 90000 : 60 + seed % 300;
}

/* ---- The store ---- */

static void put(struct peat_batch *batch, struct peat_collection *collection, unsigned which,
                unsigned number, uint64_t version)
{
    uint64_t seed = version * 1000000 + which * 10000 + number + 1;
    char name[NAME_SIZE];
    void *place;

    PT_REQUIRE_OK(
        peat_batch_put_reserve(batch, collection, key_of(name, number), size_of(seed), &place));
    pt_value_fill(seed, place, size_of(seed));
    model[which][number] = seed;
}

static void layer_commit(struct peat_db *db, struct peat_batch *batch)
{
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    PT_REQUIRE_OK(peat_flush(db));
    peat_batch_clear(batch);
}

/* Three layers: all keys; overwritten, deleted and range-deleted ones; a few more. @p at_rest: they are one
 * run by now. */
static void store_make(const char *path, bool at_rest)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_collection *collections[COLLECTIONS] = {NULL, NULL};
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_db *db;
    char low[NAME_SIZE];
    char high[NAME_SIZE];

    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_collection_open(db, NULL, "more", PEAT_CREATE, &collections[1]));
    for (unsigned which = 0; which < COLLECTIONS; which++)
        for (unsigned i = 0; i < KEYS; i++)
            put(batch, collections[which], which, i, 1);
    layer_commit(db, batch);
    for (unsigned which = 0; which < COLLECTIONS; which++) {
        PT_REQUIRE_OK(peat_batch_delete_range(batch, collections[which], key_of(low, 2000),
                                              key_of(high, 2100)));
        for (unsigned i = 2000; i < 2100; i++)
            model[which][i] = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            if (i % 7 == 3) {
                PT_REQUIRE_OK(peat_batch_delete(batch, collections[which], key_of(low, i)));
                model[which][i] = 0;
            } else if (i % 3 == 0) {
                put(batch, collections[which], which, i, 2);
            }
        }
    }
    layer_commit(db, batch);
    for (unsigned which = 0; which < COLLECTIONS; which++)
        for (unsigned i = 0; i < KEYS; i += 11)
            put(batch, collections[which], which, i, 3);
    layer_commit(db, batch);
    peat_batch_free(batch);
    peat_collection_close(collections[1]);
    if (at_rest)
        PT_REQUIRE_OK(peat_compact(db, NULL, NULL, NULL, NULL));
    PT_REQUIRE_OK(at_rest ? peat_close(db) : peat_abort(db)); /* before the runs are merged */
}

static uint8_t *file_read(const char *path, size_t *size_out)
{
    struct stat info;
    uint8_t *bytes;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    PT_REQUIRE(fd >= 0 && fstat(fd, &info) == 0);
    *size_out = (size_t)info.st_size;
    bytes = malloc(*size_out);
    PT_REQUIRE(bytes != NULL && read(fd, bytes, *size_out) == (ssize_t)*size_out);
    PT_REQUIRE(close(fd) == 0);
    return bytes;
}

static void file_write(const char *path, const uint8_t *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    PT_REQUIRE(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    PT_REQUIRE(close(fd) == 0);
}

/* ---- Looking ---- */

static int compare(struct peat_bytes a, struct peat_bytes b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static bool holds(const struct peat_range *range, struct peat_bytes key)
{
    return (range->low.data == NULL || compare(range->low, key) <= 0) &&
           (range->high.data == NULL || compare(key, range->high) < 0);
}

static void value_verify(unsigned which, unsigned number, struct peat_bytes value)
{
    uint64_t seed = model[which][number];

    PT_REQUIRE(seed != 0 && value.size == size_of(seed) && pt_value_matches(seed, value));
}

/* Every key by itself. Returns how many gave an error. */
static unsigned gets_verify(const struct peat_snapshot *snapshot,
                            struct peat_collection *collection, unsigned which)
{
    unsigned failed = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        char name[NAME_SIZE];
        struct peat_bytes value;
        struct peat_range range;
        enum peat_status status = peat_get(snapshot, collection, key_of(name, i), &value);

        if (status == PEAT_OK) {
            value_verify(which, i, value);
        } else if (status == PEAT_NOT_FOUND) {
            PT_REQUIRE(model[which][i] == 0);
        } else {
            PT_REQUIRE(status == PEAT_CORRUPT);
            PT_REQUIRE_OK(peat_last_damage(&range));
            PT_REQUIRE(holds(&range, key_of(name, i)));
            failed++;
        }
    }
    return failed;
}

/* Note the keys that the iterator says are lost. */
static void lost_note(struct peat_iterator *iterator, bool lost[KEYS], bool forward)
{
    struct peat_range range;
    struct peat_entry entry;
    size_t count = 1;
    char name[NAME_SIZE];

    PT_REQUIRE_OK(peat_iterator_damage(iterator, &range));
    for (unsigned i = 0; i < KEYS; i++)
        if (holds(&range, key_of(name, i)))
            lost[i] = true;
    PT_REQUIRE_STATUS(forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator),
                      PEAT_CORRUPT); /* it stays there */
    PT_REQUIRE_STATUS(peat_iterator_next_many(iterator, &entry, 1, &count), PEAT_CORRUPT);
    PT_REQUIRE(count == 0);
}

/* In order: what is shown is right, what is not shown lies in a range that was told. By a seek to the
 * range's end or by passing it. */
static unsigned scan_verify(const struct peat_snapshot *snapshot,
                            struct peat_collection *collection, unsigned which, bool forward,
                            bool by_seek)
{
    struct peat_iterator *iterator;
    bool shown[KEYS] = {false};
    bool lost[KEYS] = {false};
    unsigned missing = 0;
    unsigned stops = 0;
    enum peat_status status;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, collection, NULL, &iterator));
    status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    while (status != PEAT_DONE) {
        if (status == PEAT_OK) {
            unsigned number = number_of(peat_iterator_key(iterator));

            value_verify(which, number, peat_iterator_value(iterator));
            PT_REQUIRE(!shown[number]);
            shown[number] = true;
            status = forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
        } else {
            struct peat_range range;

            PT_REQUIRE(status == PEAT_CORRUPT);
            PT_REQUIRE(stops++ < STOPS_MAX);
            lost_note(iterator, lost, forward);
            PT_REQUIRE_OK(peat_iterator_damage(iterator, &range));
            if (!forward || !by_seek)
                status = peat_iterator_pass_damage(iterator);
            else if (range.high.data == NULL)
                status = PEAT_DONE;
            else
                status = peat_iterator_seek(iterator, range.high);
        }
    }
    for (unsigned i = 0; i < KEYS; i++) {
        PT_REQUIRE(shown[i] || model[which][i] == 0 || lost[i]);
        missing += !shown[i] && model[which][i] != 0;
    }
    peat_iterator_close(iterator);
    return missing;
}

/* To each key and to the one before: there, at a neighbour that nothing was lost before, or in a range that
 * is told. */
static void seeks_verify(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                         unsigned which)
{
    struct peat_iterator *iterator;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, collection, NULL, &iterator));
    for (unsigned i = 0; i < 2 * KEYS; i += 13) {
        char name[NAME_SIZE];
        bool forward = i < KEYS;
        struct peat_bytes key = key_of(name, i % KEYS);
        enum peat_status status =
            forward ? peat_iterator_seek(iterator, key) : peat_iterator_seek_before(iterator, key);
        struct peat_range range;

        if (status == PEAT_OK) {
            unsigned number = number_of(peat_iterator_key(iterator));

            value_verify(which, number, peat_iterator_value(iterator));
            PT_REQUIRE(forward ? number >= i % KEYS : number <= i % KEYS);
            PT_REQUIRE(number == i % KEYS || model[which][i % KEYS] == 0);
        } else if (status == PEAT_CORRUPT) {
            PT_REQUIRE_OK(peat_iterator_damage(iterator, &range));
            PT_REQUIRE(holds(&range, key) || model[which][i % KEYS] == 0);
        } else {
            PT_REQUIRE(status == PEAT_DONE && model[which][i % KEYS] == 0);
        }
    }
    peat_iterator_close(iterator);
}

static unsigned store_verify(struct peat_db *db)
{
    struct peat_snapshot *snapshot;
    unsigned failed = 0;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    for (unsigned which = 0; which < COLLECTIONS; which++) {
        struct peat_collection *collection = NULL;
        enum peat_status status = PEAT_OK;

        if (which > 0)
            status = peat_collection_open(db, NULL, "more", 0, &collection);
        if (status == PEAT_CORRUPT) { /* its name is lost */
            failed++;
            continue;
        }
        PT_REQUIRE_OK(status);
        failed += gets_verify(snapshot, collection, which);
        failed += scan_verify(snapshot, collection, which, true, false);
        failed += scan_verify(snapshot, collection, which, true, true);
        failed += scan_verify(snapshot, collection, which, false, false);
        seeks_verify(snapshot, collection, which);
        peat_collection_close(collection);
    }
    peat_snapshot_close(snapshot);
    return failed;
}

/* New entries over what is lost are read, and can be flushed. */
static void new_entries_verify(struct peat_db *db)
{
    static uint64_t saved[KEYS];
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_snapshot *snapshot;

    memcpy(saved, model[0], sizeof(saved));
    for (unsigned i = 0; i < KEYS; i += 5)
        put(batch, NULL, 0, i, 9);
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    for (unsigned round = 0; round < 2; round++) {
        PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
        for (unsigned i = 0; i < KEYS; i += 5) {
            char name[NAME_SIZE];
            struct peat_bytes value;

            PT_REQUIRE_OK(peat_get(snapshot, NULL, key_of(name, i), &value));
            value_verify(0, i, value);
        }
        (void)gets_verify(snapshot, NULL, 0);
        (void)scan_verify(snapshot, NULL, 0, round == 0, false);
        peat_snapshot_close(snapshot);
        PT_REQUIRE_OK(peat_flush(db));
    }
    memcpy(model[0], saved, sizeof(saved));
    peat_batch_free(batch);
}

/* ---- The tests ---- */

/* The manifest is the only region that must be whole: where its magic is. */
static bool in_manifest(const uint8_t *bytes, size_t size, size_t place)
{
    size_t start = place / ARENA_START * ARENA_START;

    return start + 8 <= size && memcmp(bytes + start, "PEATMAN1", 8) == 0;
}

static void reads_verify(bool at_rest)
{
    struct pt_dice dice = {pt_test_seed()};
    char path[PATH_SIZE];
    uint8_t *whole;
    uint8_t *bytes;
    size_t size;
    unsigned hit = 0;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("around.peat"));
    (void)unlink(path);
    store_make(path, at_rest);
    whole = file_read(path, &size);
    bytes = malloc(size);
    PT_REQUIRE(bytes != NULL);
    for (unsigned trial = 0; trial < trials_wanted; trial++) {
        bool writable = trial % 2 == 0;
        struct peat_options options = pt_test_options(writable ? 0 : PEAT_READ_ONLY);
        unsigned sectors = 1 + (unsigned)pt_dice_below(&dice, 3);
        struct peat_db *db;
        unsigned failed;

        memcpy(bytes, whole, size);
        for (unsigned i = 0; i < sectors;) {
            size_t place =
                ARENA_START + pt_dice_below(&dice, (size - ARENA_START) / SECTOR) * SECTOR;

            if (in_manifest(whole, size, place))
                continue;
            pt_value_fill(trial, bytes + place, SECTOR);
            i++;
        }
        file_write(path, bytes, size);
        PT_REQUIRE_OK(peat_open(path, &options, &db));
        failed = store_verify(db);
        hit += failed > 0;
        PT_REQUIRE(failed == 0 || peat_check(db, NULL, NULL, NULL) == PEAT_CORRUPT);
        if (writable) {
            new_entries_verify(db);
            (void)peat_wait_idle(db, 60000); /* merges stop at damage, or there is nothing to do */
            PT_REQUIRE_OK(peat_wait_idle(db, 60000));
            PT_REQUIRE_OK(peat_close(db));
        } else {
            PT_REQUIRE_OK(peat_close(db));
        }
    }
    printf("# %u trials, %u with something lost\n", trials_wanted, hit);
    PT_REQUIRE(hit > 0);
    free(bytes);
    free(whole);
}

static void p3_reads_around_damaged_sectors_are_right_and_the_rest_is_told(void **state)
{
    (void)state;
    reads_verify(false);
}

static void p3_so_are_those_of_a_store_at_rest(void **state)
{
    (void)state;
    reads_verify(true);
}

/* What a salvage told to be lost. */
struct told {
    bool keys[COLLECTIONS][KEYS];
    bool names; /* of collections: there may be some that nothing else tells of */
    unsigned count;
};

static void lost_take(void *context, const struct peat_lost *lost)
{
    struct told *told = context;
    char name[NAME_SIZE];

    told->count++;
    if (lost->collection == 0) {
        told->names = true;
        return;
    }
    PT_REQUIRE(lost->collection == 1 || lost->collection == 2);
    PT_REQUIRE(lost->collection == 2 || (lost->is_named && lost->name_count == 0));
    PT_REQUIRE(lost->collection == 1 || !lost->is_named ||
               (lost->name_count == 1 && strcmp(lost->names[0], "more") == 0));
    for (unsigned i = 0; i < KEYS; i++)
        if (holds(&lost->keys, key_of(name, i)))
            told->keys[lost->collection - 1][i] = true;
}

/* The new store holds what the model does, but for what was told. */
static void salvaged_verify(const char *path, const struct told *told)
{
    struct peat_options options = pt_test_options(0);
    struct peat_snapshot *snapshot;
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    for (unsigned which = 0; which < COLLECTIONS; which++) {
        struct peat_collection *collection = NULL;

        if (which > 0 && peat_collection_open(db, NULL, "more", 0, &collection) == PEAT_NOT_FOUND &&
            peat_collection_open(db, NULL, "salvaged-2", 0, &collection) == PEAT_NOT_FOUND) {
            for (unsigned i = 0; i < KEYS; i++) /* nothing is left of it */
                PT_REQUIRE(model[which][i] == 0 || told->keys[which][i] || told->names);
            continue;
        }
        for (unsigned i = 0; i < KEYS; i++) {
            char name[NAME_SIZE];
            struct peat_bytes value;
            enum peat_status status = peat_get(snapshot, collection, key_of(name, i), &value);

            if (status == PEAT_OK)
                value_verify(which, i, value);
            else
                PT_REQUIRE(status == PEAT_NOT_FOUND &&
                           (model[which][i] == 0 || told->keys[which][i]));
        }
        peat_collection_close(collection);
    }
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("new"), pt_text("entry")));
    PT_REQUIRE_OK(peat_close(db));
}

static void salvage_verify(const char *path, const char *new_path, struct peat_salvage_info *info)
{
    static struct told told;
    struct peat_salvage_options options;

    memset(&told, 0, sizeof(told));
    peat_salvage_options_init(&options);
    options.lost = lost_take;
    options.context = &told;
    info->struct_size = sizeof(*info);
    PT_REQUIRE_OK(peat_salvage(path, new_path, &options, info));
    PT_REQUIRE(info->lost_count == told.count);
    salvaged_verify(new_path, &told);
    PT_REQUIRE(unlink(new_path) == 0);
}

static void p3_a_salvage_holds_all_but_what_it_tells_and_brings_nothing_back(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    char path[PATH_SIZE];
    char new_path[PATH_SIZE];
    struct peat_salvage_info info;
    uint8_t *whole;
    uint8_t *bytes;
    size_t size;
    unsigned hit = 0;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("damaged.peat"));
    (void)snprintf(new_path, sizeof(new_path), "%s", pt_test_path("salvaged.peat"));
    store_make(path, false);
    whole = file_read(path, &size);
    bytes = malloc(size);
    PT_REQUIRE(bytes != NULL);
    salvage_verify(path, new_path, &info);
    PT_REQUIRE(info.lost_count == 0 && !info.superblocks_damaged && !info.is_older);
    for (unsigned trial = 0; trial < trials_wanted / 2 + 2; trial++) {
        bool no_superblocks = trial % 3 == 1;
        unsigned sectors = (unsigned)pt_dice_below(&dice, 4);

        memcpy(bytes, whole, size);
        if (no_superblocks)
            memset(bytes, 0x5a, 8192);
        for (unsigned i = 0; i < sectors;) {
            size_t place =
                ARENA_START + pt_dice_below(&dice, (size - ARENA_START) / SECTOR) * SECTOR;

            if (in_manifest(whole, size, place))
                continue;
            pt_value_fill(trial, bytes + place, SECTOR);
            i++;
        }
        file_write(path, bytes, size);
        salvage_verify(path, new_path, &info);
        PT_REQUIRE(info.superblocks_damaged == no_superblocks && !info.is_older);
        hit += info.lost_count > 0;
    }
    printf("# %u salvages with something lost\n", hit);
    free(bytes);
    free(whole);
}

static void losses_count(void *context, const struct peat_finding *finding)
{
    *(size_t *)context += finding->lost_count;
}

/* Damage a byte of each footer of a segment. */
static void footers_damage(uint8_t *bytes, size_t size, size_t offset)
{
    unsigned hit = 0;

    for (size_t i = ARENA_START; i + FOOTER_SIZE <= size; i += 8) {
        if (memcmp(bytes + i, "PEATSEG1", 8) == 0) {
            bytes[i + offset] ^= 1;
            hit++;
        }
    }
    PT_REQUIRE(hit > 1);
}

static void p3_nothing_is_lost_with_the_footers_of_all_segments(void **state)
{
    char path[PATH_SIZE];
    char new_path[PATH_SIZE];
    struct peat_salvage_info info;
    uint8_t *whole;
    uint8_t *bytes;
    size_t size;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("footless.peat"));
    (void)snprintf(new_path, sizeof(new_path), "%s", pt_test_path("from-footless.peat"));
    store_make(path, false);
    whole = file_read(path, &size);
    bytes = malloc(size);
    PT_REQUIRE(bytes != NULL);
    for (size_t i = 0; i < 2 * FOOTER_SIZE; i += 15) { /* read-only and writable in turn */
        struct peat_options options = pt_test_options(i % 2 == 0 ? PEAT_READ_ONLY : 0);
        enum peat_status status;
        size_t losses = 0;
        struct peat_db *db;

        pt_test_context("byte %zu", i / 2);
        memcpy(bytes, whole, size);
        footers_damage(bytes, size, i / 2);
        file_write(path, bytes, size);
        PT_REQUIRE_OK(peat_open(path, &options, &db));
        PT_REQUIRE(store_verify(db) == 0);
        status = peat_check(db, losses_count, NULL, &losses);
        PT_REQUIRE(losses == 0);
        /* A writer may have merged them by now. */
        PT_REQUIRE(status == PEAT_CORRUPT || (status == PEAT_OK && i % 2 != 0));
        if (i % 2 != 0)
            new_entries_verify(db);
        PT_REQUIRE_OK(peat_abort(db));
    }
    file_write(path, bytes, size);
    salvage_verify(path, new_path, &info);
    PT_REQUIRE(info.lost_count == 0);
    free(bytes);
    free(whole);
}

/* Open it for writing: it is whole, or refused in words that help, and as long as before. */
static bool cut_off_is_refused(const char *path, size_t size)
{
    struct peat_options options = pt_test_options(0);
    struct peat_db *db;
    enum peat_status status = peat_open(path, &options, &db);
    struct stat info;

    if (status == PEAT_OK) {
        PT_REQUIRE(store_verify(db) == 0);
        PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
        PT_REQUIRE_OK(peat_close(db));
        return false;
    }
    PT_REQUIRE(status == PEAT_CORRUPT && strstr(peat_last_error(), "cut off") != NULL);
    PT_REQUIRE(strstr(peat_last_error(), "peat salvage") != NULL);
    PT_REQUIRE(stat(path, &info) == 0 && (size_t)info.st_size == size);
    return true;
}

static void p3_a_file_that_was_cut_off_is_read_and_salvaged_but_not_written(void **state)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    char path[PATH_SIZE];
    char new_path[PATH_SIZE];
    struct peat_salvage_info info;
    unsigned refused = 0;
    unsigned salvaged = 0;
    uint8_t *bytes;
    size_t size;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("cut-off.peat"));
    (void)snprintf(new_path, sizeof(new_path), "%s", pt_test_path("from-cut-off.peat"));
    store_make(path, true);
    bytes = file_read(path, &size);
    for (size_t left = size - 1; left > (size_t)2 * ARENA_START; left -= left / 6) {
        struct peat_db *db;

        pt_test_context("%zu of %zu bytes", left, size);
        file_write(path, bytes, left);
        if (!cut_off_is_refused(path, left))
            continue;
        refused++;
        if (peat_open(path, &options, &db) == PEAT_OK) { /* its manifest is there */
            (void)store_verify(db);
            PT_REQUIRE_STATUS(peat_check(db, NULL, NULL, NULL), PEAT_CORRUPT);
            PT_REQUIRE_OK(peat_close(db));
            salvage_verify(path, new_path, &info);
            salvaged++;
        }
    }
    PT_REQUIRE(refused > 0 && salvaged > 0);
    free(bytes);
}

/* Keys of the root from @p low on and below @p high are deleted as a range, in @p batch and in the
 * model. */
static void range_delete(struct peat_batch *batch, struct peat_bytes low, struct peat_bytes high)
{
    PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, low, high));
    for (unsigned i = 0; i < KEYS; i++) {
        char name[NAME_SIZE];

        if (compare(low, key_of(name, i)) <= 0 && compare(key_of(name, i), high) < 0)
            model[0][i] = 0;
    }
}

/* All keys of the root, and above them a run with what @p fill puts into the batch. How many runs the file has:
 * one, if the merger was quicker. */
static uint64_t two_runs_try(const char *path, void (*fill)(struct peat_batch *batch))
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_db *db;

    memset(model, 0, sizeof(model));
    (void)unlink(path);
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    for (unsigned i = 0; i < KEYS; i++)
        put(batch, NULL, 0, i, 1);
    layer_commit(db, batch);
    fill(batch);
    layer_commit(db, batch);
    peat_batch_free(batch);
    PT_REQUIRE_OK(peat_abort(db)); /* before the runs are merged */
    options.flags = PEAT_READ_ONLY;
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    PT_REQUIRE_OK(peat_close(db));
    return stats.run_count;
}

/* A store at rest for a moment, which slow syncs make of any, is merged: then it is made again. */
static void two_runs_make(const char *path, void (*fill)(struct peat_batch *batch))
{
    while (two_runs_try(path, fill) != 2)
        ;
}

/* Bounds that are keys of nothing else. */
static const char *const bound_low = "key 001000+";
static const char *const bound_high = "key 001099+";

/* A range delete, and every third key. */
static void bounds_fill(struct peat_batch *batch)
{
    range_delete(batch, pt_text(bound_low), pt_text(bound_high));
    for (unsigned i = 0; i < KEYS; i += 3)
        put(batch, NULL, 0, i, 2);
}

/* Damage each place outside the manifest where @p text is. */
static void text_damage(uint8_t *bytes, size_t size, const char *text)
{
    size_t length = strlen(text);
    unsigned hit = 0;

    for (size_t place = ARENA_START; place + length <= size; place++) {
        if (memcmp(bytes + place, text, length) != 0 || in_manifest(bytes, size, place))
            continue;
        bytes[place] ^= 1;
        hit++;
    }
    PT_REQUIRE(hit > 0);
}

/* Keys are lost of which it cannot be told either whether a newer run's range deletes hide them: they
 * are lost once, and every walk gets past them. */
static void p3_walks_get_past_lost_keys_below_lost_range_deletes(void **state)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_salvage_info info;
    struct peat_snapshot *snapshot;
    char path[PATH_SIZE];
    char new_path[PATH_SIZE];
    struct peat_db *db;
    uint8_t *bytes;
    size_t size;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("bounds.peat"));
    (void)snprintf(new_path, sizeof(new_path), "%s", pt_test_path("from-bounds.peat"));
    two_runs_make(path, bounds_fill);
    bytes = file_read(path, &size);
    text_damage(bytes, size, bound_low);
    text_damage(bytes, size, "key 001501"); /* of the older run alone */
    file_write(path, bytes, size);
    free(bytes);
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE(gets_verify(snapshot, NULL, 0) > 0);
    PT_REQUIRE(scan_verify(snapshot, NULL, 0, true, false) > 0);
    PT_REQUIRE(scan_verify(snapshot, NULL, 0, true, true) > 0);
    PT_REQUIRE(scan_verify(snapshot, NULL, 0, false, false) > 0);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_STATUS(peat_check(db, NULL, NULL, NULL), PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_close(db));
    salvage_verify(path, new_path, &info);
    PT_REQUIRE(info.lost_count > 0);
}

/* Neither manifest nor superblocks: what is left is not known to be of any state. */
static void a_salvage_without_any_manifest_says_so(void **state)
{
    struct peat_salvage_info info = {.struct_size = sizeof(info)};
    char path[PATH_SIZE];
    char new_path[PATH_SIZE];
    uint8_t *bytes;
    size_t size;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("bare.peat"));
    (void)snprintf(new_path, sizeof(new_path), "%s", pt_test_path("none.peat"));
    store_make(path, false);
    bytes = file_read(path, &size);
    for (size_t place = ARENA_START; place < size; place += ARENA_START)
        if (in_manifest(bytes, size, place))
            bytes[place + 100] ^= 1;
    file_write(path, bytes, size);
    PT_REQUIRE_STATUS(peat_salvage(path, new_path, NULL, &info), PEAT_CORRUPT);
    PT_REQUIRE(access(new_path, F_OK) != 0);
    free(bytes);
}

/* ---- Many collections ---- */

enum {
    MANY = 300,
    LONG_KEY_SIZE = 3000,
    BETWEEN_SIZE =
        150000 /* in the root, so that no chunk has names of collections and their keys */
};

/* The one key of each: long, and not text. */
static struct peat_bytes long_key(uint8_t bytes[LONG_KEY_SIZE])
{
    memset(bytes, 0xff, LONG_KEY_SIZE);
    return (struct peat_bytes){bytes, LONG_KEY_SIZE};
}

static void many_make(const char *path, const char *nested_in)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_db *db;
    void *place;

    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_batch_put_reserve(batch, NULL, pt_text("between"), BETWEEN_SIZE, &place));
    pt_value_fill(1, place, BETWEEN_SIZE);
    for (unsigned i = 0; i < MANY; i++) {
        struct peat_collection *parent = NULL;
        struct peat_collection *collection;
        uint8_t value[600];
        uint8_t bytes[LONG_KEY_SIZE];
        char name[NAME_SIZE];

        if (i % 2 == 1)
            PT_REQUIRE_OK(peat_collection_open(db, NULL, nested_in, PEAT_CREATE, &parent));
        (void)snprintf(name, sizeof(name), i == MANY - 1 ? "salvaged-%u" : "collection %u", i - 49);
        PT_REQUIRE_OK(peat_collection_open(db, parent, name, PEAT_CREATE, &collection));
        pt_value_fill(pt_mix(i), value, sizeof(value));
        PT_REQUIRE_OK(peat_batch_put(batch, collection, long_key(bytes),
                                     (struct peat_bytes){value, sizeof(value)}));
        peat_collection_close(collection);
        peat_collection_close(parent);
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    PT_REQUIRE_OK(peat_compact(db, NULL, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
    peat_batch_free(batch);
}

/* Overwrite the sectors in which @p size bytes of @p what begin. */
static void wherever_it_is_damage(uint8_t *bytes, size_t size, const void *what, size_t what_size)
{
    uint8_t *place = bytes;

    while ((place = memmem(place, size - (size_t)(place - bytes), what, what_size)) != NULL) {
        memset(bytes + (size_t)(place - bytes) / SECTOR * SECTOR, 0x5a, SECTOR);
        place += SECTOR;
    }
}

/* What is lost of the collection whose number is looked for. */
struct wanted_loss {
    const char *name;
    const char *parent; /* NULL: the root */
    unsigned told;
};

static void wanted_take(void *context, const struct peat_lost *lost)
{
    struct wanted_loss *wanted = context;

    if (lost->is_named && lost->name_count > 0 &&
        strcmp(lost->names[lost->name_count - 1], wanted->name) == 0) {
        PT_REQUIRE(lost->name_count == (wanted->parent == NULL ? 1 : 2));
        PT_REQUIRE(wanted->parent == NULL || strcmp(lost->names[0], wanted->parent) == 0);
        wanted->told++;
    }
}

static void wanted_finding(void *context, const struct peat_finding *finding)
{
    for (size_t i = 0; i < finding->lost_count; i++)
        wanted_take(context, &finding->lost[i]);
}

static void p3_what_is_lost_of_one_collection_of_many_is_told_by_its_name(void **state)
{
    static const unsigned numbers[] = {10, 101, 288}; /* of values; and collections, less 49 */
    char path[PATH_SIZE];
    char new_path[PATH_SIZE];
    uint8_t *whole;
    uint8_t *bytes;
    size_t size;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("many.peat"));
    (void)snprintf(new_path, sizeof(new_path), "%s", pt_test_path("many-salvaged.peat"));
    many_make(path, "nest");
    whole = file_read(path, &size);
    bytes = malloc(size);
    PT_REQUIRE(bytes != NULL);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct peat_options options = pt_test_options(0);
        struct peat_salvage_options salvage;
        struct peat_salvage_info info = {.struct_size = sizeof(info)};
        struct wanted_loss wanted = {.parent = numbers[i] % 2 == 1 ? "nest" : NULL};
        struct peat_collection *parent = NULL;
        struct peat_collection *collection;
        struct peat_snapshot *snapshot;
        struct peat_range range;
        struct peat_bytes found;
        struct peat_db *db;
        uint8_t key[LONG_KEY_SIZE];
        uint8_t value[64];
        char name[NAME_SIZE];

        pt_value_fill(pt_mix(numbers[i]), value, sizeof(value));
        memcpy(bytes, whole, size);
        wherever_it_is_damage(bytes, size, value, sizeof(value));
        file_write(path, bytes, size);
        (void)snprintf(name, sizeof(name), "collection %u", numbers[i] - 49);
        wanted.name = name;
        PT_REQUIRE_OK(peat_open(path, &options, &db));
        PT_REQUIRE_STATUS(peat_check(db, wanted_finding, NULL, &wanted), PEAT_CORRUPT);
        PT_REQUIRE(wanted.told > 0);
        if (wanted.parent != NULL)
            PT_REQUIRE_OK(peat_collection_open(db, NULL, wanted.parent, 0, &parent));
        PT_REQUIRE_OK(peat_collection_open(db, parent, name, 0, &collection));
        PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
        PT_REQUIRE_STATUS(peat_get(snapshot, collection, long_key(key), &found), PEAT_CORRUPT);
        PT_REQUIRE_OK(peat_last_damage(&range));
        PT_REQUIRE(holds(&range, long_key(key)));
        peat_snapshot_close(snapshot);
        peat_collection_close(collection);
        peat_collection_close(parent);
        PT_REQUIRE_OK(peat_close(db));
        wanted.told = 0;
        peat_salvage_options_init(&salvage);
        salvage.lost = wanted_take;
        salvage.context = &wanted;
        PT_REQUIRE_OK(peat_salvage(path, new_path, &salvage, &info));
        PT_REQUIRE(wanted.told > 0 && info.nameless_count == 0);
        PT_REQUIRE(unlink(new_path) == 0);
    }
    free(bytes);
    free(whole);
}

static bool name_count(void *context, const char *name)
{
    unsigned *count = context;

    *count += strncmp(name, "salvaged-", 9) == 0;
    return true;
}

static void p3_collections_that_lost_their_names_are_salvaged_under_numbers(void **state)
{
    struct peat_salvage_info info = {.struct_size = sizeof(info)};
    struct peat_options options = pt_test_options(0);
    char path[PATH_SIZE];
    char new_path[PATH_SIZE];
    struct peat_snapshot *snapshot;
    struct peat_db *db;
    uint8_t *bytes;
    size_t size;
    unsigned count = 0;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("nameless.peat"));
    (void)snprintf(new_path, sizeof(new_path), "%s", pt_test_path("named.peat"));
    many_make(path, "nest");
    bytes = file_read(path, &size);
    wherever_it_is_damage(bytes, size, "collection 10", strlen("collection 10"));
    wherever_it_is_damage(bytes, size, "collection 200", strlen("collection 200"));
    file_write(path, bytes, size);
    PT_REQUIRE_OK(peat_salvage(path, new_path, NULL, &info));
    PT_REQUIRE(info.nameless_count > 2 && info.lost_count > 0);
    PT_REQUIRE_OK(peat_open(new_path, &options, &db));
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_collection_list(snapshot, NULL, name_count, &count));
    PT_REQUIRE(count >= info.nameless_count); /* one had such a name before */
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
    free(bytes);
}

/* ---- Range deletes ---- */

enum { RANGE_STEP = 6, RANGE_KEYS = 3 }; /* each deletes the keys behind one, so many of them */

/* Nothing but range deletes, which take several chunks. */
static void ranges_fill(struct peat_batch *batch)
{
    for (unsigned i = 0; i + RANGE_STEP <= KEYS; i += RANGE_STEP) {
        char low[NAME_SIZE + 200];
        char high[NAME_SIZE];

        /* Right behind key i, in words that nothing else in the file has. */
        (void)snprintf(low, sizeof(low), "key %06u!%0200u", i, i);
        range_delete(batch, pt_text(low), key_of(high, i + RANGE_KEYS + 1));
    }
}

static void p3_nothing_comes_back_that_damaged_range_deletes_hid(void **state)
{
    static const unsigned places[] = {600, 1200, 2400};
    char path[PATH_SIZE];
    char new_path[PATH_SIZE];
    uint8_t *whole;
    uint8_t *bytes;
    size_t size;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("ranges.peat"));
    (void)snprintf(new_path, sizeof(new_path), "%s", pt_test_path("ranges-salvaged.peat"));
    two_runs_make(path, ranges_fill);
    whole = file_read(path, &size);
    bytes = malloc(size);
    PT_REQUIRE(bytes != NULL);
    for (size_t i = 0; i < 2 * sizeof(places) / sizeof(places[0]); i++) {
        struct peat_options options = pt_test_options(i % 2 == 0 ? PEAT_READ_ONLY : 0);
        struct peat_salvage_info info;
        struct peat_snapshot *snapshot;
        size_t losses = 0;
        struct peat_db *db;
        char low[NAME_SIZE];
        size_t low_size = (size_t)snprintf(low, sizeof(low), "key %06u!",
                                           places[i / 2] / RANGE_STEP * RANGE_STEP);

        pt_test_context("%s at key %u", i % 2 == 0 ? "read" : "written", places[i / 2]);
        memcpy(bytes, whole, size);
        wherever_it_is_damage(bytes, size, low, low_size);
        file_write(path, bytes, size);
        PT_REQUIRE_OK(peat_open(path, &options, &db));
        PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
        /* Nothing is lost where a merge had come past the place already. */
        (void)peat_check(db, losses_count, NULL, &losses);
        PT_REQUIRE((gets_verify(snapshot, NULL, 0) > 0) == (losses > 0));
        PT_REQUIRE((scan_verify(snapshot, NULL, 0, true, false) > 0) == (losses > 0));
        PT_REQUIRE((scan_verify(snapshot, NULL, 0, true, true) > 0) == (losses > 0));
        PT_REQUIRE((scan_verify(snapshot, NULL, 0, false, false) > 0) == (losses > 0));
        seeks_verify(snapshot, NULL, 0);
        peat_snapshot_close(snapshot);
        PT_REQUIRE_OK(peat_abort(db));
        if (i % 2 == 0)
            salvage_verify(path, new_path, &info);
    }
    free(bytes);
    free(whole);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p3_walks_get_past_lost_keys_below_lost_range_deletes),
        cmocka_unit_test(p3_a_salvage_holds_all_but_what_it_tells_and_brings_nothing_back),
        cmocka_unit_test(a_salvage_without_any_manifest_says_so),
        cmocka_unit_test(p3_nothing_is_lost_with_the_footers_of_all_segments),
        cmocka_unit_test(p3_a_file_that_was_cut_off_is_read_and_salvaged_but_not_written),
        cmocka_unit_test(p3_reads_around_damaged_sectors_are_right_and_the_rest_is_told),
        cmocka_unit_test(p3_so_are_those_of_a_store_at_rest),
        cmocka_unit_test(p3_what_is_lost_of_one_collection_of_many_is_told_by_its_name),
        cmocka_unit_test(p3_collections_that_lost_their_names_are_salvaged_under_numbers),
        cmocka_unit_test(p3_nothing_comes_back_that_damaged_range_deletes_hid),
    };
    int failed;

    pt_test_start();
    trials_wanted = (unsigned)pt_test_number("PEAT_TRIALS", TRIALS_DEFAULT);
    if (argc > 1)
        trials_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * Make the files of tests/data for the format that this peat writes: small stores of every shape, thin
 * (thin_file.h), each beside what it holds (recorded.h).
 *
 *     peat-make-data DIRECTORY     writes DIRECTORY/format-SUPERBLOCK.MANIFEST/, which must not exist
 *
 * What is there once is never made again: files of each format open for ever.
 */
#include "core/arena/superblock_format.h"
#include "core/db/manifest_format.h"
#include "tests/recorded.h"
#include "tests/thin_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 100, NAME_SIZE = 64 };

static char directory[3000];

/* ---- Stores ---- */

static struct peat_db *store_open(const char *name, unsigned history_count)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    options.history_count = history_count;
    PT_REQUIRE_OK(peat_open(pt_test_path(name), &options, &db));
    return db;
}

static void put(struct peat_db *db, struct peat_collection *collection, unsigned number,
                unsigned size)
{
    char key[NAME_SIZE];
    uint8_t value[4096];

    PT_REQUIRE(size <= sizeof(value));
    pt_value_fill(number, value, size);
    (void)snprintf(key, sizeof(key), "key-%04u", number);
    PT_REQUIRE_OK(peat_put(db, collection, pt_text(key), (struct peat_bytes){value, size}));
}

static void put_many(struct peat_db *db, struct peat_collection *collection, unsigned from,
                     unsigned to)
{
    for (unsigned i = from; i < to; i++)
        put(db, collection, i, i * 7 % 50);
}

static void delete_range(struct peat_db *db, struct peat_collection *collection, const char *low,
                         const char *high)
{
    struct peat_batch *batch = peat_batch_new(0);

    PT_REQUIRE(batch != NULL);
    PT_REQUIRE_OK(peat_batch_delete_range(batch, collection, pt_text(low), pt_text(high)));
    PT_REQUIRE_OK(peat_batch_put(batch, collection, pt_text("after"), pt_text("the range")));
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_DISK, NULL));
    peat_batch_free(batch);
}

/* Keys of every shape, and nothing left to do. */
static struct peat_db *make_clean(const char *name)
{
    struct peat_db *db = store_open(name, 1);
    uint8_t long_key[700];

    put_many(db, NULL, 0, 40);
    memset(long_key, 'k', sizeof(long_key));
    PT_REQUIRE_OK(peat_put(db, NULL, (struct peat_bytes){long_key, sizeof(long_key)}, pt_text("")));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text(""), pt_text("the empty key")));
    PT_REQUIRE_OK(peat_put(db, NULL, (struct peat_bytes){"\0\xff", 2}, pt_text("bytes")));
    PT_REQUIRE_OK(peat_delete(db, NULL, pt_text("key-0007")));
    PT_REQUIRE_OK(peat_close(db));
    return NULL;
}

/* Segments, and a log that goes on behind them, as a killed process leaves it. */
static struct peat_db *make_log(const char *name)
{
    struct peat_db *db = store_open(name, 1);

    put_many(db, NULL, 0, 20);
    PT_REQUIRE_OK(peat_flush(db));
    put_many(db, NULL, 10, 30);
    delete_range(db, NULL, "key-0003", "key-0012");
    put(db, NULL, 5, 3000);
    PT_REQUIRE_OK(peat_delete(db, NULL, pt_text("key-0015")));
    return db;
}

/* Several runs above each other, with range deletes and deletes in them. */
static struct peat_db *make_runs(const char *name)
{
    struct peat_db *db = store_open(name, 1);

    put_many(db, NULL, 0, 60);
    PT_REQUIRE_OK(peat_flush(db));
    delete_range(db, NULL, "key-0010", "key-0020");
    PT_REQUIRE_OK(peat_delete(db, NULL, pt_text("key-0050")));
    PT_REQUIRE_OK(peat_flush(db));
    put_many(db, NULL, 15, 18);
    PT_REQUIRE_OK(peat_flush(db));
    return db;
}

/* Collections in collections, one dropped, one dropped and made again. */
static struct peat_db *make_collections(const char *name)
{
    static const char *const names[] = {"outer", "inner", "inmost"};
    struct peat_db *db = store_open(name, 1);
    struct peat_collection *nested[3] = {NULL};
    struct peat_collection *other;

    for (unsigned i = 0; i < 3; i++) {
        PT_REQUIRE_OK(peat_collection_open(db, i == 0 ? NULL : nested[i - 1], names[i], PEAT_CREATE,
                                           &nested[i]));
        put_many(db, nested[i], 0, 8 + i);
    }
    for (unsigned i = 0; i < 2; i++) {
        PT_REQUIRE_OK(peat_collection_open(db, NULL, "again", PEAT_CREATE, &other));
        put_many(db, other, 10 * i, 10 * i + 5);
        if (i == 0)
            PT_REQUIRE_OK(peat_collection_drop(db, other));
        peat_collection_close(other);
    }
    PT_REQUIRE_OK(peat_collection_open(db, nested[0], "gone", PEAT_CREATE, &other));
    put_many(db, other, 0, 5);
    PT_REQUIRE_OK(peat_collection_drop(db, other));
    peat_collection_close(other);
    delete_range(db, nested[2], "key-0002", "key-0004");
    for (unsigned i = 0; i < 3; i++)
        peat_collection_close(nested[i]);
    PT_REQUIRE_OK(peat_close(db));
    return NULL;
}

/* Kept states with names and without, one reverted to, and a log. */
static struct peat_db *make_history(const char *name)
{
    struct peat_db *db = store_open(name, 3);

    put_many(db, NULL, 0, 20);
    PT_REQUIRE_OK(peat_snapshot_persist(db, "first", NULL));
    put_many(db, NULL, 20, 30);
    PT_REQUIRE_OK(peat_snapshot_persist(db, "second-\xc3\xa9", NULL));
    delete_range(db, NULL, "key-0001", "key-0009");
    PT_REQUIRE_OK(peat_flush(db));
    PT_REQUIRE_OK(peat_revert(db, "first", 0, NULL));
    put_many(db, NULL, 40, 45);
    return db;
}

/* Feeds that have yet to read what is in segments: log that replay does not need, of two openings, the end of it in
 * the region where the log begins; and a log. */
static struct peat_db *make_feeds(const char *name)
{
    struct peat_db *db = store_open(name, 1);
    struct peat_feed *feed;

    put_many(db, NULL, 0, 10);
    PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_OLDEST, "copy", 0, &feed));
    peat_feed_close(feed);
    put_many(db, NULL, 10, 20);
    PT_REQUIRE_OK(peat_close(db));
    db = store_open(name, 1);
    put_many(db, NULL, 20, 30);
    PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_NEXT, "follower-\xc3\xa9", PEAT_FEED_SEALS, &feed));
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_flush(db));
    put_many(db, NULL, 30, 40);
    return db;
}

/* Two promotions, the last epoch in the log alone but for where it begins. */
static struct peat_db *make_epochs(const char *name)
{
    struct peat_db *db = store_open(name, 1);

    put_many(db, NULL, 0, 10);
    for (unsigned i = 1; i < 3; i++) {
        struct peat_options options = pt_test_options(PEAT_FOLLOWER);

        PT_REQUIRE_OK(peat_close(db));
        PT_REQUIRE_OK(peat_open(pt_test_path(name), &options, &db));
        PT_REQUIRE_OK(peat_promote(db, 0, NULL));
        put_many(db, NULL, 10 * i, 10 * i + 10);
    }
    return db;
}

static const struct {
    const char *name;
    struct peat_db *(*make)(const char *name); /* NULL: closed cleanly; else it is abandoned */
    unsigned run_count;                        /* at least so many */
} stores[] = {{"clean", make_clean, 1},     {"log", make_log, 1},
              {"runs", make_runs, 2},       {"collections", make_collections, 1},
              {"history", make_history, 1}, {"feeds", make_feeds, 1},
              {"epochs", make_epochs, 1}};

/* ---- Files ---- */

static const char *target_path(const char *name, const char *suffix)
{
    static char path[4096];

    (void)snprintf(path, sizeof(path), "%s/%s%s", directory, name, suffix);
    return path;
}

static void file_keep(const char *name)
{
    uint64_t size;
    uint8_t *bytes = pt_file_bytes(pt_test_path(name), &size);

    PT_REQUIRE(bytes != NULL);
    pt_thin_write(target_path(name, ".thin"), bytes, size);
    free(bytes);
}

/* What a process that only reads sees of it. */
static void states_record(const char *name, const char *store)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_db *db;
    FILE *file = fopen(target_path(name, ".states"), "wx");

    PT_REQUIRE(file != NULL);
    PT_REQUIRE_OK(peat_open(pt_test_path(store), &options, &db));
    pt_recorded_write(file, db);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(fclose(file) == 0);
}

static uint64_t run_count(const char *name)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(pt_test_path(name), &options, &db));
    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    PT_REQUIRE_OK(peat_close(db));
    return stats.run_count;
}

/* Whether the merger leaves as many runs as are wanted is a matter of time: try again. */
static void store_make(size_t number)
{
    const char *name = stores[number].name;

    for (unsigned i = 0; i < TRIES; i++) {
        (void)unlink(pt_test_path(name));
        PT_REQUIRE_OK(peat_abort(stores[number].make(name)));
        if (run_count(name) < stores[number].run_count)
            continue;
        file_keep(name);
        states_record(name, name);
        return;
    }
    pt_test_fail(__FILE__, __LINE__, "%s: the merger never leaves %u runs", name,
                 stores[number].run_count);
}

/* A full backup and an increment on it, of the store with collections as it is and goes on. */
static void backups_make(void)
{
    struct peat_db *db = store_open("collections", 1);
    struct peat_backup_options options;
    char full[4096];
    char changed[4096];
    const char *const chain[] = {full, changed};

    (void)strcpy(full, pt_test_path("full"));
    (void)strcpy(changed, pt_test_path("increment"));
    peat_backup_options_init(&options);
    options.path = full;
    PT_REQUIRE_OK(peat_backup(db, NULL, &options, NULL));
    put_many(db, NULL, 100, 110);
    delete_range(db, NULL, "key-0102", "key-0105");
    options.path = changed;
    options.since = chain;
    options.since_count = 1;
    PT_REQUIRE_OK(peat_backup(db, NULL, &options, NULL));
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_restore(pt_test_path("restored"), chain, 2, NULL, NULL, NULL));
    file_keep("full");
    states_record("full", "full");
    file_keep("increment");
    states_record("increment", "restored");
}

int main(int argc, char **argv)
{
    pt_test_start();
    pt_test_failures_abort();
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    (void)snprintf(directory, sizeof(directory), "%s/format-%d.%d", argv[1], PT_FORMAT_VERSION,
                   PT_MANIFEST_VERSION);
    if (mkdir(directory, 0777) != 0) {
        fprintf(stderr, "%s: %s\n", directory, strerror(errno));
        return 1;
    }
    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++)
        store_make(i);
    backups_make();
    printf("%s\n", directory);
    pt_test_end();
    return 0;
}

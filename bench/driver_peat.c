/* The driver of peat, over the public header alone. */
#include "bench/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MANY = 64, WAIT_MS = 60000 };

struct store {
    struct peat_db *db;
    struct peat_batch *batch; /* reused by every write */
};

struct reader {
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;
};

static void check(enum peat_status status, const char *what)
{
    if (status < 0)
        pt_driver_die(peat_status_name(status), what, peat_last_error());
}

static void *store_open(const char *path, enum pt_level level, uint64_t entry_count_max,
                        size_t entry_size)
{
    struct store *store = calloc(1, sizeof(*store));
    struct peat_options options;
    (void)entry_count_max;

    if (store != NULL)
        store->batch = peat_batch_new(1000 * (entry_size + 32));
    if (store == NULL || store->batch == NULL)
        pt_driver_die("peat", "open", "no memory");
    peat_options_init(&options);
    options.flags |= PEAT_CREATE;
    options.durability = level == PT_LEVEL_DISK ? PEAT_DISK : PEAT_OS;
    check(peat_open(path, &options, &store->db), "open");
    return store;
}

static void store_close(void *handle)
{
    struct store *store = handle;

    peat_batch_free(store->batch);
    check(peat_close(store->db), "close");
    free(store);
}

static void store_remove(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        pt_driver_die("peat", path, strerror(errno));
}

static void store_settle(void *handle)
{
    struct store *store = handle;
    enum peat_status status;

    do
        status = peat_wait_idle(store->db, WAIT_MS);
    while (status == PEAT_TIMEOUT);
    check(status, "wait for the merger");
}

static void store_sync(void *handle)
{
    struct store *store = handle;

    check(peat_sync(store->db), "sync");
}

static struct pt_own_figures own_figures(void *handle)
{
    struct store *store = handle;
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    check(peat_stats_get(store->db, &stats), "statistics");
    return (struct pt_own_figures){
        .bytes_put = stats.bytes_put,
        .bytes_written = stats.bytes_logged + stats.bytes_flushed + stats.bytes_merged,
        .bytes_logged = stats.bytes_logged,
        .bytes_flushed = stats.bytes_flushed,
        .bytes_merged = stats.bytes_merged,
        .stall_time_us = stats.stall_time_us,
        .replayed_commits = stats.replayed_commits,
        .replayed_size = stats.replayed_size,
    };
}

static void store_write(void *handle, const struct peat_entry *entries, size_t count, bool append)
{
    struct store *store = handle;
    (void)append; /* peat sees that by itself */

    peat_batch_clear(store->batch);
    for (size_t i = 0; i < count; i++)
        check(peat_batch_put(store->batch, NULL, entries[i].key, entries[i].value), "batch");
    check(peat_write(store->db, store->batch, PEAT_DEFAULT, NULL), "write");
}

static void store_put(void *handle, const struct peat_entry *entry)
{
    struct store *store = handle;

    check(peat_put(store->db, NULL, entry->key, entry->value), "put");
}

static void *reader_open(void *handle)
{
    struct store *store = handle;
    struct reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL)
        pt_driver_die("peat", "reader", "no memory");
    check(peat_snapshot_open(store->db, &reader->snapshot), "snapshot");
    check(peat_iterator_open(reader->snapshot, NULL, NULL, &reader->iterator), "iterator");
    return reader;
}

static void reader_close(void *handle)
{
    struct reader *reader = handle;

    peat_iterator_close(reader->iterator);
    peat_snapshot_close(reader->snapshot);
    free(reader);
}

static bool reader_get(void *handle, struct peat_bytes key, struct peat_bytes *value_out)
{
    struct reader *reader = handle;
    enum peat_status status = peat_get(reader->snapshot, NULL, key, value_out);

    check(status, "get");
    return status == PEAT_OK;
}

static void reader_get_many(void *handle, const struct peat_bytes *keys, size_t count,
                            struct peat_bytes *values_out)
{
    struct reader *reader = handle;

    check(peat_get_many(reader->snapshot, NULL, keys, count, values_out), "get many");
}

static struct pt_seen scan_many(struct peat_iterator *iterator)
{
    struct pt_seen seen = {0, 0};
    struct peat_entry entries[MANY];
    enum peat_status status = peat_iterator_first(iterator);

    while (status == PEAT_OK) {
        size_t count = 0;

        status = peat_iterator_next_many(iterator, entries, MANY, &count);
        for (size_t i = 0; i < count; i++)
            pt_seen_add(&seen, entries[i].key, entries[i].value);
    }
    check(status, "scan");
    return seen;
}

static struct pt_seen reader_scan(void *handle, enum pt_direction direction)
{
    struct peat_iterator *iterator = ((struct reader *)handle)->iterator;
    struct pt_seen seen = {0, 0};
    enum peat_status status;

    if (direction == PT_FORWARD_MANY)
        return scan_many(iterator);
    if (direction == PT_FORWARD) {
        for (status = peat_iterator_first(iterator); status == PEAT_OK;
             status = peat_iterator_next(iterator))
            pt_seen_add(&seen, peat_iterator_key(iterator), peat_iterator_value(iterator));
    } else {
        for (status = peat_iterator_last(iterator); status == PEAT_OK;
             status = peat_iterator_previous(iterator))
            pt_seen_add(&seen, peat_iterator_key(iterator), peat_iterator_value(iterator));
    }
    check(status, "scan");
    return seen;
}

static struct pt_seen reader_seek(void *handle, struct peat_bytes key, unsigned count)
{
    struct peat_iterator *iterator = ((struct reader *)handle)->iterator;
    struct pt_seen seen = {0, 0};
    enum peat_status status = peat_iterator_seek(iterator, key);

    while (status == PEAT_OK) {
        pt_seen_add(&seen, peat_iterator_key(iterator), peat_iterator_value(iterator));
        if (seen.count == count)
            break;
        status = peat_iterator_next(iterator);
    }
    check(status, "seek");
    return seen;
}

static void store_snapshots(void *handle, uint64_t count)
{
    struct store *store = handle;

    for (uint64_t i = 0; i < count; i++) {
        struct peat_snapshot *snapshot;

        check(peat_snapshot_open(store->db, &snapshot), "snapshot");
        peat_snapshot_close(snapshot);
    }
}

const struct pt_driver pt_driver_peat = {
    .name = "peat",
    .os_mode = "PEAT_OS",
    .version = peat_version,
    .open = store_open,
    .close = store_close,
    .remove = store_remove,
    .settle = store_settle,
    .sync = store_sync,
    .own_figures = own_figures,
    .write = store_write,
    .put = store_put,
    .reader_open = reader_open,
    .reader_close = reader_close,
    .get = reader_get,
    .get_many = reader_get_many,
    .scan = reader_scan,
    .seek = reader_seek,
    .snapshots = store_snapshots,
};

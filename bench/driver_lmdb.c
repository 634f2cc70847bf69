/*
 * The driver of LMDB.
 *
 * At the os level it runs with MDB_WRITEMAP and MDB_NOSYNC, its fastest way that survives the death
 * of the process; at the disk level with its defaults, which sync every commit.
 */
#include "bench/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct store {
    MDB_env *env;
    MDB_dbi dbi;
};

struct reader {
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
};

static void check(int error, const char *what)
{
    if (error != 0 && error != MDB_NOTFOUND)
        pt_driver_die("lmdb", what, mdb_strerror(error));
}

/* LMDB's calls take what they do not write to without const. */
static MDB_val val(struct peat_bytes bytes)
{
    return (MDB_val){.mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data};
}

static struct peat_bytes bytes(MDB_val val)
{
    return (struct peat_bytes){.data = val.mv_data, .size = val.mv_size};
}

static const char *version(void)
{
    return mdb_version(NULL, NULL, NULL);
}

/* Pages that random puts leave two thirds full, page headers, and those a transaction frees: three
 * times the data is ample. It is address space only; the file is as sparse. */
static size_t map_size(uint64_t entry_count_max, size_t entry_size)
{
    size_t size = (size_t)entry_count_max * (entry_size + 16) * 3 + ((size_t)64 << 20);

    return size / ((size_t)1 << 20) * ((size_t)1 << 20);
}

static void *store_open(const char *path, enum pt_level level, uint64_t entry_count_max,
                        size_t entry_size)
{
    struct store *store = calloc(1, sizeof(*store));
    unsigned flags = MDB_NOSUBDIR;
    MDB_txn *txn;

    if (store == NULL)
        pt_driver_die("lmdb", "open", "no memory");
    if (level == PT_LEVEL_OS)
        flags |= MDB_WRITEMAP | MDB_NOSYNC;
    check(mdb_env_create(&store->env), "environment");
    check(mdb_env_set_mapsize(store->env, map_size(entry_count_max, entry_size)), "map size");
    check(mdb_env_open(store->env, path, flags, 0600), "open");
    check(mdb_txn_begin(store->env, NULL, 0, &txn), "transaction");
    check(mdb_dbi_open(txn, NULL, 0, &store->dbi), "database");
    check(mdb_txn_commit(txn), "commit");
    return store;
}

static void store_close(void *handle)
{
    struct store *store = handle;

    mdb_env_close(store->env);
    free(store);
}

static void store_remove(const char *path)
{
    char lock_path[4096];

    (void)snprintf(lock_path, sizeof(lock_path), "%s-lock", path);
    if (unlink(path) != 0 && errno != ENOENT)
        pt_driver_die("lmdb", path, strerror(errno));
    if (unlink(lock_path) != 0 && errno != ENOENT)
        pt_driver_die("lmdb", lock_path, strerror(errno));
}

/* It has no work in the background. */
static void store_settle(void *handle)
{
    (void)handle;
}

static void store_sync(void *handle)
{
    struct store *store = handle;

    check(mdb_env_sync(store->env, 1), "sync");
}

static struct pt_own_figures own_figures(void *handle)
{
    (void)handle;
    return (struct pt_own_figures){0};
}

static void store_write(void *handle, const struct peat_entry *entries, size_t count, bool append)
{
    struct store *store = handle;
    MDB_txn *txn;

    check(mdb_txn_begin(store->env, NULL, 0, &txn), "transaction");
    for (size_t i = 0; i < count; i++) {
        MDB_val key = val(entries[i].key);
        MDB_val value = val(entries[i].value);

        check(mdb_put(txn, store->dbi, &key, &value, append ? MDB_APPEND : 0), "put");
    }
    check(mdb_txn_commit(txn), "commit");
}

static void store_put(void *handle, const struct peat_entry *entry)
{
    store_write(handle, entry, 1, false);
}

static void *reader_open(void *handle)
{
    struct store *store = handle;
    struct reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL)
        pt_driver_die("lmdb", "reader", "no memory");
    reader->dbi = store->dbi;
    check(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &reader->txn), "transaction");
    check(mdb_cursor_open(reader->txn, reader->dbi, &reader->cursor), "cursor");
    return reader;
}

static void reader_close(void *handle)
{
    struct reader *reader = handle;

    mdb_cursor_close(reader->cursor);
    mdb_txn_abort(reader->txn);
    free(reader);
}

static bool reader_get(void *handle, struct peat_bytes key, struct peat_bytes *value_out)
{
    struct reader *reader = handle;
    MDB_val wanted = val(key);
    MDB_val value;
    int error = mdb_get(reader->txn, reader->dbi, &wanted, &value);

    check(error, "get");
    if (error != 0)
        return false;
    *value_out = bytes(value);
    return true;
}

static void reader_get_many(void *handle, const struct peat_bytes *keys, size_t count,
                            struct peat_bytes *values_out)
{
    for (size_t i = 0; i < count; i++)
        if (!reader_get(handle, keys[i], &values_out[i]))
            values_out[i] = (struct peat_bytes){NULL, 0};
}

static struct pt_seen walk(MDB_cursor *cursor, MDB_val key, MDB_cursor_op start, MDB_cursor_op step,
                           uint64_t count_max)
{
    struct pt_seen seen = {0, 0};
    MDB_val value;
    int error = mdb_cursor_get(cursor, &key, &value, start);

    while (error == 0) {
        pt_seen_add(&seen, bytes(key), bytes(value));
        if (seen.count == count_max)
            break;
        error = mdb_cursor_get(cursor, &key, &value, step);
    }
    check(error, "cursor");
    return seen;
}

static struct pt_seen reader_scan(void *handle, enum pt_direction direction)
{
    struct reader *reader = handle;
    MDB_val none = {0, NULL};

    if (direction == PT_BACKWARD)
        return walk(reader->cursor, none, MDB_LAST, MDB_PREV, UINT64_MAX);
    return walk(reader->cursor, none, MDB_FIRST, MDB_NEXT, UINT64_MAX);
}

static struct pt_seen reader_seek(void *handle, struct peat_bytes key, unsigned count)
{
    struct reader *reader = handle;

    return walk(reader->cursor, val(key), MDB_SET_RANGE, MDB_NEXT, count);
}

/* Its manual's advice for many short views: keep the transaction, reset and renew it. */
static void store_snapshots(void *handle, uint64_t count)
{
    struct store *store = handle;
    MDB_txn *txn;

    check(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn), "transaction");
    for (uint64_t i = 0; i < count; i++) {
        mdb_txn_reset(txn);
        check(mdb_txn_renew(txn), "renew");
    }
    mdb_txn_abort(txn);
}

const struct pt_driver pt_driver_lmdb = {
    .name = "lmdb",
    .os_mode = "MDB_WRITEMAP|MDB_NOSYNC",
    .version = version,
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

/**
 * peat: an embedded, ordered key/value store in one memory-mapped file.
 *
 * Caveats first:
 *  - One process writes, any number read. A second writer gets PEAT_BUSY.
 *  - Do not use an open store in the child after fork(): open it there again.
 *  - Values that peat_get() and the iterators hand out point into the mapped file or the write
 *    buffer: they are valid until the snapshot or iterator they came from is closed (for an
 *    iterator: until it moves), and must never be written to.
 *  - A snapshot that is held keeps the space of everything it can see. Close it when done.
 *  - The default durability is PEAT_OS: an acknowledged commit survives the death of the process,
 *    and, because the log is synced in the background, reaches the disk within sync_interval_ms.
 *    Ask for PEAT_DISK where a power cut must not take an acknowledged commit.
 *
 * Which calls may run at the same time:
 *
 *   HANDLE             THREADS
 *   peat_db            all calls from any thread at any time, except that peat_close() must be
 *                      the last call on it
 *   peat_collection    shared freely; peat_collection_close() last
 *   peat_snapshot      shared freely (immutable); peat_snapshot_close() last
 *   peat_batch         one thread at a time
 *   peat_iterator      one thread at a time
 *
 * Every call that can fail returns an enum peat_status: 0 is done, a positive value is a normal
 * outcome, a negative value is an error that peat_last_error() describes in words.
 */
#ifndef PEAT_H
#define PEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEAT_API __attribute__((visibility("default")))

#define PEAT_VERSION_STRING "0.1.0"
#define PEAT_KEY_SIZE_MAX ((size_t)16777200)     /* bytes */
#define PEAT_VALUE_SIZE_MAX ((size_t)4294967295) /* bytes */
#define PEAT_NAME_SIZE_MAX ((size_t)1024)        /* bytes in a collection's name, 1 at least */

/** Borrowed bytes: the callee does not keep them unless it says so. NULL with size 0 is empty. */
struct peat_bytes {
    const void *data;
    size_t size; /* bytes */
};

/** What a call came to. Negative: an error; positive: a normal outcome. */
enum peat_status {
    PEAT_OK = 0,
    PEAT_NOT_FOUND = 1,
    PEAT_DONE = 2, /* an iterator has no further entry */
    PEAT_CONFLICT = 3,
    PEAT_TIMEOUT = 4,
    PEAT_INVALID = -1, /* the caller's mistake: the message says which */
    PEAT_NO_MEMORY = -2,
    PEAT_NO_SPACE = -3,
    PEAT_IO = -4,
    PEAT_CORRUPT = -5, /* bytes on the medium are not what was written there */
    PEAT_BUSY = -6,    /* another process holds it */
    PEAT_NOT_WRITABLE = -7,
    PEAT_VERSION = -8,  /* a format this library does not know */
    PEAT_POISONED = -9, /* a write or sync failed earlier: reopen the store */
    PEAT_TOO_LARGE = -10,
    PEAT_EXISTS = -11,
    PEAT_GAP = -12,
    PEAT_UNSUPPORTED = -13,
    PEAT_DENIED = -14
};

/** How much a commit must survive before it is acknowledged. */
enum peat_durability {
    PEAT_DEFAULT = 0, /* the store's default (options.durability) */
    PEAT_MEMORY,      /* nothing yet; reaches PEAT_OS within sync_interval_ms */
    PEAT_OS,          /* the death of the process, SIGKILL included */
    PEAT_DISK,        /* a power cut */
    PEAT_REPLICAS     /* durable on followers as well; PEAT_UNSUPPORTED without replication */
};

struct peat_db;
struct peat_collection;
struct peat_batch;
struct peat_snapshot;
struct peat_iterator;

/**
 * @defgroup open Open and close
 * @{
 */

#define PEAT_CREATE 1u     /* create it if it does not exist */
#define PEAT_READ_ONLY 2u  /* no writing; other processes may write meanwhile */
#define PEAT_EXCLUSIVE 4u  /* with PEAT_CREATE: PEAT_EXISTS if the file is there already */
#define PEAT_LOG_PWRITE 8u /* the log is written with pwrite, never through the mapping */

struct peat_options {
    size_t struct_size; /* set by peat_options_init() */
    unsigned flags;     /* PEAT_CREATE ... ; default 0 */
    enum peat_durability durability; /* what PEAT_DEFAULT means; default PEAT_OS */
    unsigned sync_interval_ms;       /* background sync of the log; default 100 */
    size_t memory_size_max;          /* bytes of private memory in all; default 512 MiB, at least 8 MiB */
    size_t write_buffer_size;        /* bytes after which a write buffer is flushed; default 64 MiB;
                                        taken as at most a quarter of memory_size_max, and at least
                                        64 KiB */
    size_t address_space_size;       /* bytes reserved for the mapping, the largest size the file can
                                        reach; default 1 TiB, or what the system grants */
};

/** Fill @p options with the defaults. */
PEAT_API void peat_options_init(struct peat_options *options);

/**
 * Open the store in the file @p path; NULL makes an anonymous store in memory.
 *
 * @param path     one regular file; it is created with mode 0600 if PEAT_CREATE is set
 * @param options  NULL: the defaults with PEAT_CREATE not set; borrowed for the call
 * @param db_out   set on PEAT_OK, else NULL; release with peat_close()
 * @retval PEAT_OK            open; what a crash left in the log has been replayed
 * @retval PEAT_NOT_FOUND     no such file, and PEAT_CREATE is not set
 * @retval PEAT_EXISTS        PEAT_EXCLUSIVE, and the file exists
 * @retval PEAT_BUSY          another process (named in peat_last_error()) writes to it
 * @retval PEAT_INVALID       bad options, not a regular file, or not a peat store: left untouched
 * @retval PEAT_VERSION       written by a newer peat: left untouched
 * @retval PEAT_CORRUPT       both superblocks, the manifest or acknowledged log records are damaged
 * @retval PEAT_DENIED        the file's permissions do not allow it
 * @retval PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_IO
 */
PEAT_API enum peat_status peat_open(const char *path, const struct peat_options *options,
                                    struct peat_db **db_out);

/**
 * Write what is in memory to the file, sync it, and release @p db. NULL is allowed. Snapshots,
 * iterators and collection handles must have been closed before (PEAT_BUSY, and nothing happens,
 * while a snapshot or iterator is open). Otherwise @p db is released whatever is returned.
 *
 * @retval PEAT_OK, PEAT_BUSY
 * @retval PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY, PEAT_POISONED  the last flush failed: what was
 *         acknowledged is in the log and comes back at the next open
 */
PEAT_API enum peat_status peat_close(struct peat_db *db);

/**
 * Release @p db at once, without flushing: as if the process had been killed. Acknowledged commits
 * are in the log, at their level, and come back at the next open. Same conditions as peat_close().
 */
PEAT_API enum peat_status peat_abort(struct peat_db *db);

/** Return when all commits so far are on disk. PEAT_OK, PEAT_IO, PEAT_NO_SPACE, PEAT_POISONED,
 * PEAT_NOT_WRITABLE. */
PEAT_API enum peat_status peat_sync(struct peat_db *db);

/**
 * Read-only stores: look at what the writing process has committed since open or the last refresh.
 * Snapshots taken before keep what they see. On a writable store: does nothing.
 * PEAT_OK, PEAT_CORRUPT, PEAT_IO, PEAT_NO_MEMORY.
 */
PEAT_API enum peat_status peat_refresh(struct peat_db *db);

/** @} */
/**
 * @defgroup status Status and errors
 * @{
 */

/** The status's name, "PEAT_OK" for instance; static. */
PEAT_API const char *peat_status_name(enum peat_status status);

/** This thread's last failure in words, with its place; "" if there was none. Valid until the
 * thread's next failing call. */
PEAT_API const char *peat_last_error(void);

/** The library's version, PEAT_VERSION_STRING of the time it was built. */
PEAT_API const char *peat_version(void);

/** Called with file:line and words before the process is stopped by a broken promise of peat's
 * own. For logging; it must not call peat. NULL takes it back. */
PEAT_API void peat_on_panic(void (*callback)(const char *message));

/** @} */
/**
 * @defgroup write Writing: one-shot and batches
 *
 * Keys are up to PEAT_KEY_SIZE_MAX bytes, values up to PEAT_VALUE_SIZE_MAX; both may be empty. All
 * bytes are copied before the call returns. @p collection NULL is the root collection.
 *
 * The one-shot calls commit at the store's default durability and return what peat_write() returns.
 * @{
 */
PEAT_API enum peat_status peat_put(struct peat_db *db, struct peat_collection *collection,
                                   struct peat_bytes key, struct peat_bytes value);
/** Deleting what is not there is done (PEAT_OK). */
PEAT_API enum peat_status peat_delete(struct peat_db *db, struct peat_collection *collection,
                                      struct peat_bytes key);
/** Hand @p operand to the store's merge operator. This version has none: PEAT_UNSUPPORTED. */
PEAT_API enum peat_status peat_merge(struct peat_db *db, struct peat_collection *collection,
                                     struct peat_bytes key, struct peat_bytes operand);

/** A new, empty batch with room for @p bytes_hint bytes (0 is fine); NULL: no memory. */
PEAT_API struct peat_batch *peat_batch_new(size_t bytes_hint);
PEAT_API void peat_batch_free(struct peat_batch *batch); /* NULL is allowed */
/** Make it empty, keeping its memory. */
PEAT_API void peat_batch_clear(struct peat_batch *batch);
/** Operations in it so far. */
PEAT_API size_t peat_batch_count(const struct peat_batch *batch);
/** Bytes it takes in the log so far. */
PEAT_API size_t peat_batch_size(const struct peat_batch *batch);

/*
 * Operations apply in the order they were added: where several name one key, the last one wins.
 * A batch whose operation failed is unchanged by it.
 * PEAT_OK, PEAT_TOO_LARGE, PEAT_NO_MEMORY, PEAT_INVALID (NULL bytes with a size).
 */
PEAT_API enum peat_status peat_batch_put(struct peat_batch *batch,
                                         struct peat_collection *collection, struct peat_bytes key,
                                         struct peat_bytes value);
/**
 * Like peat_batch_put(), but leaves the value to be written by the caller: @p value_out points to
 * @p value_size bytes inside the batch, valid until the batch's next call.
 */
PEAT_API enum peat_status peat_batch_put_reserve(struct peat_batch *batch,
                                                 struct peat_collection *collection,
                                                 struct peat_bytes key, size_t value_size,
                                                 void **value_out);
PEAT_API enum peat_status peat_batch_delete(struct peat_batch *batch,
                                            struct peat_collection *collection,
                                            struct peat_bytes key);
/** Delete every key from @p low (inclusive; data NULL: the first) to @p high (exclusive; data NULL:
 * past the last). An empty range (low >= high) is done and adds nothing. */
PEAT_API enum peat_status peat_batch_delete_range(struct peat_batch *batch,
                                                  struct peat_collection *collection,
                                                  struct peat_bytes low, struct peat_bytes high);
PEAT_API enum peat_status peat_batch_merge(struct peat_batch *batch,
                                           struct peat_collection *collection,
                                           struct peat_bytes key, struct peat_bytes operand);

/**
 * Commit @p batch: wholly or not at all. It is not changed, and can be written again. An empty
 * batch commits nothing and gives the newest commit number.
 *
 * @param durability  what must be survived before this returns; PEAT_DEFAULT: the store's
 * @param commit_out  NULL, or set on PEAT_OK to the commit's number
 * @retval PEAT_OK
 * @retval PEAT_NOT_WRITABLE  opened read-only
 * @retval PEAT_NOT_FOUND     a collection of the batch has been dropped; nothing was committed
 * @retval PEAT_NO_SPACE      the disk is full; nothing was committed, the store goes on
 * @retval PEAT_POISONED      a write or sync failed, now or earlier: whether this batch survives a
 *                            crash is not known; reopen the store
 * @retval PEAT_NO_MEMORY, PEAT_TOO_LARGE, PEAT_UNSUPPORTED, PEAT_INVALID
 */
PEAT_API enum peat_status peat_write(struct peat_db *db, struct peat_batch *batch,
                                     enum peat_durability durability, uint64_t *commit_out);
/** @} */
/**
 * @defgroup read Reading
 * @{
 */

/** A view of the store as of the newest commit; takes no lock, costs some ten nanoseconds, any
 * thread. Release with peat_snapshot_close(). PEAT_OK, PEAT_NO_MEMORY. */
PEAT_API enum peat_status peat_snapshot_open(struct peat_db *db, struct peat_snapshot **snapshot_out);
PEAT_API void peat_snapshot_close(struct peat_snapshot *snapshot); /* NULL is allowed */
/** The commit number it shows: everything up to it, nothing after. */
PEAT_API uint64_t peat_snapshot_commit(const struct peat_snapshot *snapshot);

/**
 * Look up @p key as of @p snapshot.
 *
 * @param value_out  set on PEAT_OK, else untouched; points into the file or the write buffer, valid
 *                   until peat_snapshot_close(), never to be written or freed
 * @retval PEAT_OK         found; an empty value is a value
 * @retval PEAT_NOT_FOUND  never there, or deleted
 * @retval PEAT_CORRUPT    the place that would hold it is damaged
 * @retval PEAT_IO, PEAT_INVALID
 */
PEAT_API enum peat_status peat_get(const struct peat_snapshot *snapshot,
                                   struct peat_collection *collection, struct peat_bytes key,
                                   struct peat_bytes *value_out);

/**
 * Copy the newest value of @p key into @p buffer; needs no snapshot.
 *
 * @param size_out  the value's size in bytes, set on PEAT_OK and PEAT_TOO_LARGE
 * @retval PEAT_TOO_LARGE  it does not fit into @p capacity; nothing was copied
 * @retval PEAT_OK, PEAT_NOT_FOUND, PEAT_CORRUPT, PEAT_IO, PEAT_INVALID
 */
PEAT_API enum peat_status peat_get_copy(struct peat_db *db, struct peat_collection *collection,
                                        struct peat_bytes key, void *buffer, size_t capacity,
                                        size_t *size_out);

/**
 * Look up @p count keys at once; much faster than one by one, because it overlaps the waits for
 * memory. @p values_out[i] is the value of @p keys[i]; data NULL: absent (an empty value has data).
 *
 * @retval PEAT_OK  every key was looked up
 * @retval PEAT_CORRUPT, PEAT_IO, PEAT_INVALID  @p values_out is not to be used
 */
PEAT_API enum peat_status peat_get_many(const struct peat_snapshot *snapshot,
                                        struct peat_collection *collection,
                                        const struct peat_bytes *keys, size_t count,
                                        struct peat_bytes *values_out);
/** @} */
/**
 * @defgroup iterate Iterating
 *
 * An iterator walks the keys of one collection in memcmp order, in both directions. It opens before
 * its first entry: first, last or a seek positions it. All positioning calls return PEAT_OK on an
 * entry, PEAT_DONE where there is none (the iterator is then not on an entry: previous after the
 * end gives the last, next before the start gives the first), or PEAT_CORRUPT, PEAT_IO,
 * PEAT_NO_MEMORY. It pins what it sees by itself, so its snapshot may be closed before it.
 * @{
 */

#define PEAT_KEYS_ONLY 1u /* values are not wanted: peat_iterator_value() may be empty */

/** Bounds: @p low inclusive, @p high exclusive; data NULL: unbounded. */
struct peat_range {
    struct peat_bytes low;
    struct peat_bytes high;
    unsigned flags;
};

/** One entry, borrowed from the iterator that gave it. */
struct peat_entry {
    struct peat_bytes key;
    struct peat_bytes value;
};

/** @param range  NULL: everything; copied. PEAT_OK, PEAT_NO_MEMORY, PEAT_INVALID, PEAT_CORRUPT. */
PEAT_API enum peat_status peat_iterator_open(const struct peat_snapshot *snapshot,
                                             struct peat_collection *collection,
                                             const struct peat_range *range,
                                             struct peat_iterator **iterator_out);
PEAT_API enum peat_status peat_iterator_first(struct peat_iterator *iterator);
PEAT_API enum peat_status peat_iterator_last(struct peat_iterator *iterator);
/** To the first entry >= @p key (within the bounds). */
PEAT_API enum peat_status peat_iterator_seek(struct peat_iterator *iterator, struct peat_bytes key);
/** To the last entry <= @p key (within the bounds). */
PEAT_API enum peat_status peat_iterator_seek_before(struct peat_iterator *iterator,
                                                    struct peat_bytes key);
PEAT_API enum peat_status peat_iterator_next(struct peat_iterator *iterator);
PEAT_API enum peat_status peat_iterator_previous(struct peat_iterator *iterator);
/**
 * Fill @p entries_out with the current entry and those after it, up to @p capacity, and move
 * behind the last of them. PEAT_OK: more follow, and the iterator is on the next; PEAT_DONE: the
 * end was reached (*count_out may still be above 0). Before the first entry it begins with the first.
 * The entries stay valid until the iterator is closed.
 */
PEAT_API enum peat_status peat_iterator_next_many(struct peat_iterator *iterator,
                                                  struct peat_entry *entries_out, size_t capacity,
                                                  size_t *count_out);
/** The entry under the iterator; only after a call that returned PEAT_OK. */
PEAT_API struct peat_bytes peat_iterator_key(const struct peat_iterator *iterator);
PEAT_API struct peat_bytes peat_iterator_value(const struct peat_iterator *iterator);
PEAT_API void peat_iterator_close(struct peat_iterator *iterator); /* NULL is allowed */
/** @} */
/**
 * @defgroup collections Collections
 *
 * A collection is a key space of its own inside the store, named within its parent; NULL is the
 * root collection, which always exists. A batch may span collections and is atomic over them all.
 * @{
 */

/**
 * @param parent  NULL: the root
 * @param name    1 to PEAT_NAME_SIZE_MAX bytes, NUL-terminated
 * @param flags   PEAT_CREATE: make it (a commit of its own) if it is not there
 * @retval PEAT_OK         *collection_out is to be released with peat_collection_close()
 * @retval PEAT_NOT_FOUND  not there (or the parent was dropped), and PEAT_CREATE not set
 * @retval PEAT_INVALID    empty or too long a name
 * @retval PEAT_NOT_WRITABLE and what peat_write() returns, when it is created
 */
PEAT_API enum peat_status peat_collection_open(struct peat_db *db, struct peat_collection *parent,
                                               const char *name, unsigned flags,
                                               struct peat_collection **collection_out);
PEAT_API void peat_collection_close(struct peat_collection *collection); /* NULL is allowed */

/**
 * Drop @p collection with everything in it and every collection below it; one commit, and its cost
 * does not depend on how much it holds. The handle stays to be closed; snapshots taken before go on
 * seeing the collection. PEAT_NOT_FOUND if it was dropped before; else as peat_write().
 */
PEAT_API enum peat_status peat_collection_drop(struct peat_db *db,
                                               struct peat_collection *collection);

/**
 * The names of the collections directly below @p parent (NULL: the root), as of @p snapshot:
 * @p callback is called with each in order until it returns false. PEAT_OK, PEAT_CORRUPT, PEAT_IO,
 * PEAT_NO_MEMORY.
 */
PEAT_API enum peat_status peat_collection_list(const struct peat_snapshot *snapshot,
                                               struct peat_collection *parent,
                                               bool (*callback)(void *context, const char *name),
                                               void *context);
/** @} */
/**
 * @defgroup maintenance Maintenance
 * @{
 */

/** Write everything committed so far into segments and return when that is durable. PEAT_OK, or
 * what stopped the merger. */
PEAT_API enum peat_status peat_flush(struct peat_db *db);

/** Return when the merger has nothing left to do: write buffers flushed, one run. For benchmarks
 * and tests. PEAT_TIMEOUT after @p timeout_ms; or what stopped the merger. */
PEAT_API enum peat_status peat_wait_idle(struct peat_db *db, unsigned timeout_ms);

/** One finding of peat_check(). */
struct peat_finding {
    const char *what;      /* in words, with the place in the file */
    uint64_t offset;       /* bytes from the start of the file */
    struct peat_bytes low; /* the stored key range hit, raw: collection id first; data NULL: unbounded */
    struct peat_bytes high;
};

/**
 * Read and verify every byte in use: superblocks, manifest, every segment with its order and
 * indexes, and that regions do not overlap. Runs beside readers and writers.
 *
 * @param callback  NULL, or called for each finding, on this thread
 * @param progress  NULL, or called now and then with bytes done and bytes in all; false stops it
 * @retval PEAT_OK       all is well
 * @retval PEAT_CORRUPT  there were findings
 * @retval PEAT_DONE     stopped by @p progress
 * @retval PEAT_IO, PEAT_NO_MEMORY
 */
PEAT_API enum peat_status peat_check(struct peat_db *db,
                                     void (*callback)(void *context,
                                                      const struct peat_finding *finding),
                                     bool (*progress)(void *context, uint64_t done, uint64_t total),
                                     void *context);
/** @} */
/**
 * @defgroup stats Statistics
 * @{
 */
struct peat_stats {
    size_t struct_size; /* set by the caller: sizeof(struct peat_stats) */
    uint8_t store_id[16];
    uint64_t generation;
    uint64_t commit;         /* newest */
    uint64_t entry_count;    /* in segments; deletions and older versions included */
    uint64_t segment_count;
    uint64_t run_count;
    uint64_t segment_size;   /* bytes: segments in use */
    uint64_t log_size;       /* bytes: log regions */
    uint64_t manifest_size;  /* bytes: manifest regions */
    uint64_t free_size;      /* bytes: free inside the file */
    uint64_t pending_size;   /* bytes: freed, but still seen by a snapshot, reader or manifest */
    uint64_t file_size;      /* bytes */
    uint64_t allocated_size; /* bytes of disk: st_blocks */
    uint64_t buffer_size;    /* bytes: entries in write buffers */
    uint64_t buffer_count;   /* write buffers, the active one included */
    uint64_t memory_size;    /* bytes of private memory accounted for */
    uint64_t snapshot_count; /* stacks pinned by snapshots and iterators */
    uint64_t replayed_commits; /* at open */
    uint64_t replayed_size;    /* bytes of log, at open */
    /* counters since open */
    uint64_t commits;
    uint64_t commit_groups;
    uint64_t syncs;
    uint64_t bytes_put;     /* keys and values handed in */
    uint64_t bytes_logged;  /* written to the log */
    uint64_t bytes_flushed; /* written by flushes */
    uint64_t bytes_merged;  /* written by merges */
    uint64_t bytes_moved;   /* taken over by merges without rewriting */
    uint64_t flushes;
    uint64_t merges;        /* merge steps */
    uint64_t stalls;        /* commits that were slowed down */
    uint64_t stall_time_us;
};

/** Fill @p stats; cheap. PEAT_OK, PEAT_INVALID (struct_size is not set). */
PEAT_API enum peat_status peat_stats_get(struct peat_db *db, struct peat_stats *stats);
/** @} */

#ifdef __cplusplus
}
#endif
#endif

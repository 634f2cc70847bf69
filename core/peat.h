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
 *   peat_feed          one thread at a time, but for peat_feed_cancel(), which any thread may call
 *
 * Every call that can fail returns an enum peat_status: 0 is done, a positive value is a normal
 * outcome, a negative value is an error that peat_last_error() describes in words.
 * NULL where it is not said to be allowed, unknown flags, and a collection that was opened in another
 * store give PEAT_INVALID; calls that return no status then do nothing, or return 0 or nothing.
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
    PEAT_DONE = 2, /* an iterator has no further entry; a callback stopped what calls it */
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
    PEAT_DENIED = -14,
    PEAT_FENCED = -15 /* its history goes on elsewhere, in a newer epoch: see peat_fence() */
};

/** How much a commit must survive before it is acknowledged. */
enum peat_durability {
    PEAT_DEFAULT = 0, /* the store's default (options.durability) */
    PEAT_MEMORY,      /* nothing yet; reaches PEAT_OS within sync_interval_ms */
    PEAT_OS,          /* the death of the process, SIGKILL included */
    PEAT_DISK,        /* a power cut */
    PEAT_REPLICAS     /* the loss of this machine: followers have it on disk, too; see feeds */
};

struct peat_db;
struct peat_collection;
struct peat_batch;
struct peat_snapshot;
struct peat_iterator;
struct peat_feed;

/**
 * @defgroup open Open and close
 * @{
 */

#define PEAT_CREATE 1u     /* create it if it does not exist */
#define PEAT_READ_ONLY 2u  /* no writing; other processes may write meanwhile */
#define PEAT_EXCLUSIVE 4u  /* with PEAT_CREATE: PEAT_EXISTS if the file is there already */
#define PEAT_LOG_PWRITE 8u /* the log is written with pwrite, never through the mapping */
#define PEAT_FOLLOWER 32u  /* it takes the commits of another store alone, from peat_apply(): the file
                             remembers that until peat_promote() */

struct peat_options {
    size_t struct_size; /* set by peat_options_init() */
    unsigned flags;     /* PEAT_CREATE ... ; default 0 */
    enum peat_durability durability; /* what PEAT_DEFAULT means; default PEAT_OS */
    unsigned sync_interval_ms;       /* background sync of the log; default 100 */
    size_t memory_size_max;          /* bytes of private memory in all; default 512 MiB, at least 8 MiB;
                                        see below */
    size_t write_buffer_size;        /* bytes after which a write buffer is flushed; default 64 MiB;
                                        taken as at most a quarter of memory_size_max, and at least
                                        64 KiB */
    size_t log_size_max;             /* bytes of log that a crash may leave to be replayed; default
                                        192 MiB; taken as at least 1 MiB; see below */
    size_t address_space_size;       /* bytes reserved for the mapping, the largest size the file can
                                        reach; default 1 TiB, or what the system grants */
    unsigned history_count;          /* states to keep without a name, see history; default 1: the
                                        newest alone; 0: let none go that are there, add none */
    unsigned history_seconds;        /* and those that were the newest at any moment of the last so
                                        many seconds; default 0 */
    uint64_t file_size_max;          /* bytes that the file may grow to; default 0: what the disk and the
                                        address space allow; see below */
    uint64_t feed_log_size_max;      /* bytes of log to keep for feeds that have yet to read it, see feeds;
                                        default 1 GiB; 0: none */
    unsigned replica_count;          /* followers that PEAT_REPLICAS waits for; default and least: 1 */
    unsigned replica_timeout_ms;     /* and how long at most; default 10000; PEAT_FEED_FOREVER */
};

/*
 * memory_size_max covers what peat allocates for this store: write buffers with their indexes, segments
 * in the making, what flushes and iterators sort, iterators, the copies that one-shot writes make. The
 * mapped file is not private memory. As it is used up commits are slowed down, and wait in the end;
 * the process's private memory stays below it plus 16 MiB (threads, stages of the log, handles of
 * segments). What cannot be divided comes on top while it is there:
 *
 *  - a batch larger than a quarter of memory_size_max takes up to twice its size, three times if its
 *    entries are small; a one-shot write its size besides; replay and reader processes the same again;
 *  - a struct peat_batch is the caller's memory, also while it waits to be committed.
 *
 * A snapshot or iterator keeps the write buffers that it sees, also after they have been flushed:
 * peat_stats.pinned_memory_size. The more is kept, the smaller buffers are made, so that many can be
 * open; but when half of memory_size_max is kept that way and the rest is used up, commits fail with
 * PEAT_NO_MEMORY until some are closed. They never wait for a reader.
 *
 * A reader process holds what the writer has not yet flushed, about twice the writer's log_size_max at
 * most, whatever its own memory_size_max.
 *
 * log_size_max bounds the time that opening takes after a crash: about a second for the default on two
 * processors of 2024, in proportion otherwise. An operation counts as 128 bytes at least, since replaying many
 * small ones takes longer than their bytes; a single batch may exceed the bound. As the bound comes
 * near, commits are slowed down to the pace at which the log is made superfluous by flushes: so a
 * large bound is good for bursts, a small one for quick recovery.
 */

/*
 * file_size_max is a quota: the file does not grow beyond it, 1 MiB at least. At it, as on a full disk and at
 * the process's RLIMIT_FSIZE (whose signal is never raised), a commit fails with PEAT_NO_SPACE and has
 * changed nothing. All that was acknowledged stays readable, and commits that only delete, flushes and merges
 * go on with a reserve (peat_stats.reserve_size) that is kept for them in the file, in proportion to the log
 * and to what a merge step writes, while the store is open. What they free, or others do, the next commits
 * use: nothing has to be reopened. A merge takes from the reserve only what it gives back, so what
 * snapshots and kept states hold cannot be freed that way; then deletes fail as well in the end. A file that is
 * larger than file_size_max already grows by 2 MiB at most, to be deleted from.
 */

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
 * @retval PEAT_CORRUPT       both superblocks, the manifest or acknowledged log records are damaged; damage
 *                            elsewhere is met by those who read there
 * @retval PEAT_DENIED        the file's permissions do not allow it
 * @retval PEAT_NOT_WRITABLE  it is a follower's, and neither PEAT_FOLLOWER nor PEAT_READ_ONLY is
 * set: see
 *                            peat_promote()
 * @retval PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_IO
 */
PEAT_API enum peat_status peat_open(const char *path, const struct peat_options *options,
                                    struct peat_db **db_out);

/**
 * Write what is in memory to the file, sync it, and release @p db. NULL is allowed. Snapshots,
 * iterators, feeds and collection handles must have been closed before (PEAT_BUSY, and nothing happens,
 * while a snapshot, iterator or feed is open). Otherwise @p db is released whatever is returned.
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

/** The flags that @p db was opened with: PEAT_READ_ONLY and so on, PEAT_FOLLOWER only as long as
 * it is one; 0 of NULL. */
PEAT_API unsigned peat_flags(const struct peat_db *db);

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

struct peat_range;

/**
 * The keys of the collection asked that cannot be read, if this thread's last failing call was a read
 * that gave PEAT_CORRUPT or PEAT_IO because of them; peat_last_error() has them in words. Keys above 1024
 * bytes are cut, which makes the range wider.
 *
 * @param range_out  set on PEAT_OK: low inclusive, high exclusive, data NULL: as far as the collection goes.
 *                   Valid until the thread's next failing call
 * @retval PEAT_OK
 * @retval PEAT_NOT_FOUND  the last failure was something else
 */
PEAT_API enum peat_status peat_last_damage(struct peat_range *range_out);

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
 * @param commit_out  NULL, or set on PEAT_OK and PEAT_TIMEOUT to the commit's number
 * @retval PEAT_OK
 * @retval PEAT_TIMEOUT       at PEAT_REPLICAS alone: it is committed, as at PEAT_DISK, but too few followers
 *                            have it yet; see peat_wait_replicas()
 * @retval PEAT_NOT_WRITABLE  opened read-only, or as a follower
 * @retval PEAT_FENCED        its history goes on elsewhere, in a newer epoch; nothing was committed
 * @retval PEAT_NOT_FOUND     a collection of the batch has been dropped; nothing was committed
 * @retval PEAT_NO_SPACE      the disk is full, or file_size_max or RLIMIT_FSIZE is reached; nothing was
 *                            committed, the store goes on; batches that only delete are let in longer
 * @retval PEAT_POISONED      a write or sync failed, now or earlier: whether this batch survives a
 *                            crash is not known; reopen the store
 * @retval PEAT_NO_MEMORY     also when snapshots keep too much of memory_size_max; nothing was
 *                            committed, the store goes on
 * @retval PEAT_TOO_LARGE, PEAT_UNSUPPORTED, PEAT_INVALID
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
/**
 * A view of the store as of a commit at or before @p snapshot's. Commits can be told apart as long as they are in write
 * buffers, so this reaches back to where the oldest of those begins that @p snapshot sees: enough to have two stores,
 * one of which follows the other closely, show the same commit. Any thread; @p snapshot may be closed before it.
 *
 * @param snapshot_out  set on PEAT_OK, else NULL; release with peat_snapshot_close()
 * @retval PEAT_OK
 * @retval PEAT_GAP      that commit and later ones are in segments, which do not tell them apart
 * @retval PEAT_INVALID  @p commit is newer than @p snapshot's
 * @retval PEAT_NO_MEMORY
 */
PEAT_API enum peat_status peat_snapshot_open_at(const struct peat_snapshot *snapshot,
                                                uint64_t commit,
                                                struct peat_snapshot **snapshot_out);
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
 * @retval PEAT_CORRUPT    the place that would hold it is damaged: peat_last_damage() tells which keys
 * @retval PEAT_IO, PEAT_INVALID, PEAT_TOO_LARGE (a key that no entry can have)
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
 * end gives the last, next before the start gives the first), or PEAT_CORRUPT, PEAT_IO (see
 * peat_iterator_damage() for how to go on), PEAT_NO_MEMORY. It pins what it sees by itself, so its snapshot may be closed before it.
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
/**
 * Where a call returned PEAT_CORRUPT or PEAT_IO because entries are lost: which keys cannot be read. The
 * iterator stands there until it is positioned anew, by a seek behind them for instance; next and previous
 * give the same status again. Within the range, what newer writes put there is found by a seek to its key.
 *
 * @param range_out  set on PEAT_OK: low inclusive, high exclusive, data NULL: as far as the collection goes.
 *                   Valid until the iterator's next call
 * @retval PEAT_OK
 * @retval PEAT_NOT_FOUND  it does not stand on damage
 * @retval PEAT_NO_MEMORY
 */
PEAT_API enum peat_status peat_iterator_damage(struct peat_iterator *iterator,
                                               struct peat_range *range_out);
/** Standing there: go on to the next entry past those keys, in the direction in which it came to them.
 * PEAT_INVALID where it does not; else as any positioning call. */
PEAT_API enum peat_status peat_iterator_pass_damage(struct peat_iterator *iterator);
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
/**
 * The same as of @p snapshot, for reading in it: also a collection that has been dropped since, or
 * that peat_revert() took away. Writing to such a one gives PEAT_NOT_FOUND. @p parent NULL: the root;
 * else opened likewise. PEAT_OK, PEAT_NOT_FOUND, PEAT_INVALID, PEAT_CORRUPT, PEAT_IO, PEAT_NO_MEMORY.
 */
PEAT_API enum peat_status peat_collection_open_at(const struct peat_snapshot *snapshot,
                                                  struct peat_collection *parent, const char *name,
                                                  struct peat_collection **collection_out);
/** @} */
/**
 * @defgroup history History: states of the store that are kept in the file
 *
 * What is on disk in segments is a state of the store as of a commit. The newest is always kept.
 * Others are kept as long as they have a name (peat_snapshot_persist()), or because the options
 * history_count and history_seconds ask for them. A kept state costs the space of what it shares with no
 * newer one; struct peat_history_entry and peat_stats tell how much that is.
 *
 * A state has a number, the generation that began to show it. It keeps that number when a merge
 * replaces its segments by others that hold the same. Numbers ascend with age; they are not dense.
 *
 * Where a call takes a @p name and a @p generation, NULL as name means: the one of that number. All of
 * these calls are safe from any thread. Those that change something wait for the merger's job at hand.
 * @{
 */

/** One kept state. */
struct peat_history_entry {
    size_t struct_size;   /* bytes that are filled in */
    uint64_t generation;  /* its number */
    uint64_t commit;      /* it shows everything up to it, nothing after */
    uint64_t time_us;     /* when it was made, microseconds since 1970 */
    const char *name;     /* "": it has none */
    uint64_t size;        /* bytes of the file that it refers to */
    uint64_t own_size;    /* of these, bytes that no newer state refers to: what it costs */
    bool is_newest;       /* what a reopened store would show if it had no log */
    bool is_before_revert; /* what peat_revert() replaced */
    bool is_damaged;      /* it cannot be opened, only dropped */
};

/**
 * Call @p callback for each kept state, oldest first, until it returns false. In a read-only store as of
 * the last refresh. PEAT_OK, PEAT_NO_MEMORY.
 *
 * @param callback  may call peat; the entry and its name are valid until it returns
 */
PEAT_API enum peat_status peat_history_list(struct peat_db *db,
                                            bool (*callback)(void *context,
                                                             const struct peat_history_entry *entry),
                                            void *context);

/**
 * Keep the present state, everything that is committed, under @p name until it is dropped. Durable when
 * this returns.
 *
 * @param name            1 to PEAT_NAME_SIZE_MAX bytes of UTF-8
 * @param generation_out  NULL, or set on PEAT_OK to the state's number
 * @retval PEAT_OK
 * @retval PEAT_EXISTS        a kept state has that name
 * @retval PEAT_INVALID       @p name is empty, too long or not UTF-8
 * @retval PEAT_NOT_WRITABLE  opened read-only
 * @retval PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY, PEAT_POISONED, PEAT_CORRUPT
 */
PEAT_API enum peat_status peat_snapshot_persist(struct peat_db *db, const char *name,
                                                uint64_t *generation_out);

/**
 * Open a kept state: a snapshot like any other, for all calls that take one. In a read-only store the
 * state is one of those that the last refresh saw, and stays readable while the snapshot is open, even
 * if the writer drops it. Collections: peat_collection_open_at().
 *
 * @retval PEAT_OK         release with peat_snapshot_close()
 * @retval PEAT_NOT_FOUND  no such state
 * @retval PEAT_CORRUPT    it is damaged
 * @retval PEAT_IO, PEAT_NO_MEMORY
 */
PEAT_API enum peat_status peat_history_open(struct peat_db *db, const char *name,
                                            uint64_t generation,
                                            struct peat_snapshot **snapshot_out);

/**
 * Let a kept state go, whether it has a name or not. Its space is free when no snapshot or reader uses
 * it any more. The newest state can lose its name, but stays. PEAT_OK, PEAT_NOT_FOUND, PEAT_INVALID
 * (the newest, and it has no name), PEAT_NOT_WRITABLE; else as peat_snapshot_persist().
 */
PEAT_API enum peat_status peat_history_drop(struct peat_db *db, const char *name,
                                            uint64_t generation);

/**
 * Make the store what a kept state shows: a commit of its own, atomic and durable when this returns.
 * Commits wait meanwhile; those acknowledged before are undone by it, those after build on it. What the
 * store showed before is kept too, as is_before_revert: reverting to that undoes it. The last one
 * of that kind stays until it is dropped, older ones only as long as the options keep them.
 *
 * Snapshots and iterators go on showing what they did. A handle of a collection that the state does not
 * have is as if the collection had been dropped; of one that had been dropped and is there again, as if
 * it had never been.
 *
 * @param commit_out  NULL, or set on PEAT_OK to the number of the commit
 * @retval PEAT_OK
 * @retval PEAT_NOT_FOUND  no such state
 * @retval PEAT_CORRUPT    it is damaged, or so is what must be flushed first; nothing has changed
 * @retval PEAT_NOT_WRITABLE, PEAT_FENCED, PEAT_NO_SPACE, PEAT_NO_MEMORY  nothing has changed
 * @retval PEAT_IO, PEAT_POISONED  whether it was done shows when the store is reopened
 */
PEAT_API enum peat_status peat_revert(struct peat_db *db, const char *name, uint64_t generation,
                                      uint64_t *commit_out);

/** A key whose value differs between two snapshots. Data NULL: the key is absent there. */
struct peat_difference {
    struct peat_bytes key;
    struct peat_bytes from;
    struct peat_bytes to;
};

/**
 * Call @p callback for each key of @p collection (NULL: the root) whose value differs between two
 * snapshots of one store, in key order, until it returns false. What the two share is not looked at, so
 * the cost goes with what was written between them.
 *
 * @param callback  the bytes are valid until it returns
 * @retval PEAT_OK
 * @retval PEAT_INVALID  the snapshots are of two stores
 * @retval PEAT_CORRUPT, PEAT_IO, PEAT_NO_MEMORY  differences told before are right, more may be missing
 */
PEAT_API enum peat_status peat_diff(const struct peat_snapshot *from, const struct peat_snapshot *to,
                                    struct peat_collection *collection,
                                    bool (*callback)(void *context,
                                                     const struct peat_difference *difference),
                                    void *context);
/** @} */
/**
 * @defgroup feed Feeds: what was committed, in order
 *
 * A feed hands out the committed batches of a store, one record each, in the order of their commit
 * numbers, from a number on, and goes on as more is committed. It reads the log, without copying. Nothing is
 * left out without a word: where a commit that it would have to hand out is not to be had, it says PEAT_GAP.
 *
 * The log is there for recovery: what is in segments is not needed for that any more, and goes. What a feed has
 * yet to read is kept for it:
 *
 *  - an open feed, for as long as it is open in the process that writes: from where it is;
 *  - a feed with a name, until it is dropped, over closing, crashes and reopening: from the first commit
 *    that it has not acknowledged. The file remembers name and acknowledgement.
 *
 * That is bounded by feed_log_size_max: beyond it the oldest log is let go, whoever wants it. All of it is let
 * go when the disk is full, before a commit fails with PEAT_NO_SPACE: a consumer that stands still does not
 * stop the store. What is kept is peat_stats.feed_log_size, and per feed in peat_feed_list().
 *
 * PEAT_GAP comes
 *
 *  - from peat_feed_open(), if the log with the first commit wanted is gone, or if that lies beyond the
 *    newest commit by more than one: a power cut may have taken commits that were handed out before they were on
 *    disk (those at a level below PEAT_DISK within sync_interval_ms);
 *  - from peat_feed_next(), if the log was let go; and where a commit is in no record, which is so of
 *    peat_revert() alone: the message says so, and from which commit on to continue.
 *
 * After it the consumer reads the state as of a commit C, from a snapshot, and opens the feed from C + 1.
 *
 * In a process that only reads, a feed has no name, refreshes the store as peat_refresh() does when it looks
 * for more, and pins the file's space as a snapshot does while it lags behind.
 *
 * There are no records of installs (which segments a merge has replaced): nothing writes any yet.
 * @{
 */

#define PEAT_FEED_OLDEST ((uint64_t)0) /* from the oldest commit that the log still has */
#define PEAT_FEED_NEXT   UINT64_MAX    /* from the first commit after the newest now */
#define PEAT_FEED_ACKNOWLEDGED \
    (UINT64_MAX - 1) /* from the first that the name has not acknowledged */

#define PEAT_FEED_SEALS 1u /* seals, too: a follower needs them */
#define PEAT_FEED_AHEAD 2u /* of a follower that a state has yet to take to where the feed begins */

#define PEAT_FEED_FOREVER ((unsigned)-1) /* as a time limit: none */

enum peat_record_kind {
    PEAT_RECORD_BATCH = 1,
    PEAT_RECORD_SEAL = 2 /* behind this commit the store began another write buffer */
};

/** A record of the log, borrowed from the feed that handed it out. It never gets more fields. */
struct peat_record {
    enum peat_record_kind kind;
    uint64_t epoch;
    uint64_t commit;   /* a batch's number; of a seal, that of the batch before */
    uint64_t time_us;  /* of the commit, microseconds since 1970; never goes back */
    uint64_t position; /* bytes of log before it, since the store was made */
    uint8_t
        chain[16]; /* over the whole history, this record included: equal chains, equal histories */
    struct peat_bytes payload; /* the operations: peat_record_operation() */
};

enum peat_operation_kind {
    PEAT_OPERATION_PUT = 1,
    PEAT_OPERATION_DELETE = 2,
    PEAT_OPERATION_DELETE_RANGE = 3, /* all keys from key to below value */
    PEAT_OPERATION_CREATE = 4,       /* the collection called key was made below parent */
    PEAT_OPERATION_DROP = 5 /* it was dropped; a range delete of all its keys comes with it */
};

/** One operation of a batch, borrowed from its record. */
struct peat_operation {
    enum peat_operation_kind kind;
    /** Number (1: the root) of the one that the key is in; PEAT_OPERATION_CREATE: of the new one;
     * PEAT_OPERATION_DROP: 0. */
    uint64_t collection;
    uint64_t parent;       /* PEAT_OPERATION_CREATE and _DROP: number of the one above it; else 0 */
    struct peat_bytes key; /* of a range delete: low, inclusive */
    /** Of a range delete: high, exclusive; data NULL: to the collection's end. */
    struct peat_bytes value;
};

/**
 * Open a feed. Waits for an install that is under way.
 *
 * @param from_commit  the first commit wanted, or one of PEAT_FEED_OLDEST, PEAT_FEED_NEXT,
 *                     PEAT_FEED_ACKNOWLEDGED
 * @param name         NULL, or 1 to PEAT_NAME_SIZE_MAX bytes: from now on the log that it has not acknowledged
 *                     is kept, which is durable when this returns. For a name that is there already any
 *                     @p from_commit but PEAT_FEED_ACKNOWLEDGED moves its acknowledgement there
 * @param flags        PEAT_FEED_SEALS, or 0. With PEAT_FEED_AHEAD, for a name with seals alone, the log is kept as ever, but the
 *                     follower counts as having nothing (peat_wait_replicas()) until it acknowledges, or its name is opened without
 * @param feed_out     set on PEAT_OK, else NULL; release with peat_feed_close() before peat_close()
 * @retval PEAT_OK
 * @retval PEAT_GAP           the first commit wanted is not to be had
 * @retval PEAT_NOT_FOUND     PEAT_FEED_ACKNOWLEDGED, and nothing has that name
 * @retval PEAT_BUSY          a feed of that name is open
 * @retval PEAT_NOT_WRITABLE  a name, and the store was opened read-only
 * @retval PEAT_INVALID, PEAT_CORRUPT, PEAT_IO, PEAT_NO_MEMORY, PEAT_NO_SPACE, PEAT_POISONED
 */
PEAT_API enum peat_status peat_feed_open(struct peat_db *db, uint64_t from_commit, const char *name,
                                         unsigned flags, struct peat_feed **feed_out);
PEAT_API void peat_feed_close(struct peat_feed *feed); /* NULL is allowed; a name stays */

/**
 * The next record, as soon as readers in this process see its commit.
 *
 * @param timeout_ms  wait so long for one; 0: not at all; PEAT_FEED_FOREVER
 * @param record_out  set on PEAT_OK; the payload is valid until the feed's next call, and never to be
 *                    written to
 * @retval PEAT_OK
 * @retval PEAT_TIMEOUT  there was none in that time
 * @retval PEAT_DONE     peat_feed_cancel() was called; another call goes on
 * @retval PEAT_GAP      the next one is not to be had, now or later: close the feed
 * @retval PEAT_CORRUPT  the log is damaged there
 * @retval PEAT_IO, PEAT_NO_MEMORY, PEAT_BUSY
 */
PEAT_API enum peat_status peat_feed_next(struct peat_feed *feed, unsigned timeout_ms,
                                         struct peat_record *record_out);
/** Have the call of peat_feed_next() that waits, or the next one, return PEAT_DONE. Not for signal handlers. */
PEAT_API void peat_feed_cancel(struct peat_feed *feed);

/**
 * Step through the operations of a record, which never changes them.
 *
 * @param place  0 to begin with; where the next operation is
 * @retval PEAT_OK
 * @retval PEAT_DONE     there is no further one
 * @retval PEAT_CORRUPT  what comes is no operation
 * @retval PEAT_INVALID
 */
PEAT_API enum peat_status peat_record_operation(const struct peat_record *record, size_t *place,
                                                struct peat_operation *operation_out);

/**
 * Everything up to @p commit has been dealt with, and need not be handed out again under this name. The call
 * writes nothing: it is durable, and log is freed, with the next manifest (each checkpoint writes one, and
 * peat_flush() and peat_close()), which is asked for by itself when a sixteenth of feed_log_size_max could
 * be freed. After a crash the name may have an older acknowledgement, never a newer one: what was acknowledged
 * may be handed out again. If the disk has lost synced commits that were acknowledged, the name gets PEAT_GAP until
 * it begins anew.
 *
 * @param commit  at most that of the last record handed out; one that is acknowledged already is fine
 * @retval PEAT_OK
 * @retval PEAT_INVALID  it was not handed out, or the feed has no name
 */
PEAT_API enum peat_status peat_feed_acknowledge(struct peat_feed *feed, uint64_t commit);

/** A feed with a name. */
struct peat_feed_info {
    size_t struct_size; /* bytes that are filled in */
    const char *name;
    uint64_t acknowledged; /* the last commit that it has dealt with */
    uint64_t held_size;    /* bytes of log kept for it (and perhaps for others) */
    bool is_open;          /* in this process */
    bool is_gone;          /* what it wants next is not to be had: it gets PEAT_GAP */
    bool has_seals;        /* it was opened with PEAT_FEED_SEALS last, as a follower's is */
};

/**
 * Call @p callback for each feed with a name, in order, until it returns false. In a read-only store as of the
 * last refresh. @p callback may call peat; what it gets is valid until it returns. PEAT_OK, PEAT_NO_MEMORY.
 */
PEAT_API enum peat_status peat_feed_list(struct peat_db *db,
                                         bool (*callback)(void *context,
                                                          const struct peat_feed_info *info),
                                         void *context);

/**
 * Forget the feed @p name, and let the log go that was kept for it alone. PEAT_OK, PEAT_NOT_FOUND, PEAT_BUSY (it
 * is open), PEAT_NOT_WRITABLE, PEAT_INVALID; PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY, PEAT_POISONED: it is gone
 * with the next manifest.
 */
PEAT_API enum peat_status peat_feed_drop(struct peat_db *db, const char *name);

/**
 * Apply records of another store's log, as a feed of it with PEAT_FEED_SEALS hands them out, under their own
 * commit numbers. @p db was opened with PEAT_FOLLOWER, and is at the beginning (a new store), or was made from
 * a backup of the other one. Its log then says the same as the other's: same commits, positions, chains.
 *
 * Everything is checked before anything is changed: each record must go on from the history that the store has
 * come to. Records that it has already are passed over, so what was handed out twice does no harm.
 *
 * Batches become visible together and are as durable as asked, in groups that a seal, 8 MiB or 1,024 batches end. What
 * fails in between leaves the groups before it applied: @p commit_out tells. A seal is as durable as what follows it: one
 * that ends a call may have to be applied again after a crash, as a feed with PEAT_FEED_SEALS hands it out again.
 *
 * @param records     in order; borrowed for the call
 * @param durability  as of peat_write(), PEAT_DISK at most
 * @param commit_out  NULL, or set to the newest commit that the store shows, whatever is returned
 * @retval PEAT_OK
 * @retval PEAT_GAP           something is missing before a record: nothing was applied
 * @retval PEAT_CORRUPT       a record is damaged, or the histories have parted: nothing was applied
 * @retval PEAT_INVALID       not opened with PEAT_FOLLOWER, or promoted since, or no records:
 * nothing was
 *                            applied
 * @retval PEAT_NO_SPACE      as peat_write(): what only deletes is let in longer
 * @retval PEAT_NO_MEMORY, PEAT_IO, PEAT_POISONED, PEAT_UNSUPPORTED
 */
PEAT_API enum peat_status peat_apply(struct peat_db *db, const struct peat_record *records,
                                     size_t count, enum peat_durability durability,
                                     uint64_t *commit_out);

/** Where a store stands in its history, records of seals included. It never gets more fields. */
struct peat_position {
    uint64_t epoch;
    uint64_t commit;   /* the newest */
    uint64_t time_us;  /* of that commit, microseconds since 1970 */
    uint64_t position; /* bytes of log since the store was made */
    uint8_t chain[16]; /* two stores with the same one have had the same history */
};

/**
 * Where @p db stands now, behind the commits that have returned; in a read-only store as of the last refresh.
 * It waits for the group of commits that is being written. PEAT_OK, PEAT_INVALID, PEAT_NO_MEMORY.
 */
PEAT_API enum peat_status peat_position_get(struct peat_db *db, struct peat_position *position_out);

/** What the segments of a store depend on besides what is in them. It never gets more fields. */
struct peat_identity {
    uint8_t bytes[24];
};

/** PEAT_OK, PEAT_INVALID. */
PEAT_API enum peat_status peat_identity_get(struct peat_db *db, struct peat_identity *identity_out);

/**
 * Give a follower that is empty the identity of the store that it is to follow, durably: a state of that store can be handed
 * to followers of its identity alone (peat_seeding_open()). A backup has it from the beginning.
 *
 * @param db  opened with PEAT_FOLLOWER
 * @retval PEAT_OK       it has that identity, and may have had it before
 * @retval PEAT_INVALID  not a follower; or it has another identity, and is not empty any more
 * @retval PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_IO, PEAT_POISONED
 */
PEAT_API enum peat_status peat_identity_adopt(struct peat_db *db,
                                              const struct peat_identity *identity);

#define PEAT_EPOCHS_MAX ((size_t)128) /* that a store remembers: the newest ones */

/** An epoch: what was committed from one promotion to the next. It never gets more fields. */
struct peat_epoch {
    uint64_t epoch;
    uint64_t first_commit; /* the first one in it, which may be yet to come */
    uint64_t position;     /* where it begins: bytes of log before it, since the store was made */
    uint8_t chain[16];     /* over the history before it */
};

/**
 * The epochs that the history of @p db has come through, oldest first, the last one being that of its
 * position; in a read-only store as of the last refresh. Two histories have parted if one of them has a
 * record at a position that is of another epoch in the other one.
 *
 * @param epochs_out  NULL if @p capacity is 0; set as far as that allows, PEAT_EPOCHS_MAX do for all
 * @param count_out   how many there are, 1 at least
 * @retval PEAT_OK, PEAT_INVALID
 */
PEAT_API enum peat_status peat_epochs_get(struct peat_db *db, struct peat_epoch *epochs_out,
                                          size_t capacity, size_t *count_out);

/** What a store is in replication. */
enum peat_role {
    PEAT_ROLE_PRIMARY = 0, /* it takes commits of its own, whether anybody follows it or not */
    PEAT_ROLE_FOLLOWER = 1, /* it takes those of another store alone */
    PEAT_ROLE_FENCED = 2    /* it takes none: its history goes on elsewhere, see peat_fence() */
};

/** What @p db is, as its file remembers it; in a read-only store as of the last refresh. PEAT_OK,
 * PEAT_INVALID. */
PEAT_API enum peat_status peat_role_get(struct peat_db *db, enum peat_role *role_out);

/**
 * Have a follower take commits of its own, from the newest that it shows on: peat_write() works
 * when this returns, and peat_apply() does not any more. What it commits is of a new epoch, one
 * above all that its history has come through, so that it can be told from what the old primary
 * may have committed since. Durable when this returns; a crash before leaves a follower, or what
 * this makes of it.
 *
 * It asks nobody: see to it that the old primary takes no more commits, or they are lost to this
 * history. Other followers may follow it, if they have nothing that it has not. End a running
 * follower before (peat_follower_promote() does).
 *
 * @param flags      0
 * @param epoch_out  NULL, or set on PEAT_OK to the new epoch
 * @retval PEAT_OK
 * @retval PEAT_INVALID       it is no follower: it was not opened with PEAT_FOLLOWER, or has been
 * promoted; or there
 *                            have been 8,191 epochs
 * @retval PEAT_NOT_WRITABLE  opened read-only
 * @retval PEAT_CORRUPT, PEAT_NO_SPACE, PEAT_NO_MEMORY  it is a follower as before
 * @retval PEAT_IO, PEAT_POISONED  whether it was done shows when the store is reopened
 */
PEAT_API enum peat_status peat_promote(struct peat_db *db, unsigned flags, uint64_t *epoch_out);

/**
 * The history of @p db goes on elsewhere, in the epoch @p epoch, which is newer than all of its
 * own: another store has been promoted. From now on it takes no commits (PEAT_FENCED), in this
 * process and in all that open it, until it is opened with PEAT_FOLLOWER. It can still be read,
 * offered to followers and maintained; what it has committed stays. When this returns, whatever it
 * returns but PEAT_INVALID and PEAT_NOT_WRITABLE, no commit is under way any more.
 *
 * peat_primary_start() has it called when a follower tells of such an epoch.
 *
 * @retval PEAT_OK            fenced, and durable, by this call or one before
 * @retval PEAT_INVALID       it is a follower, or @p epoch is not newer than its own, or above
 * 8,191
 * @retval PEAT_NOT_WRITABLE  opened read-only
 * @retval PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_IO, PEAT_POISONED  fenced, and durable with the next
 *         manifest
 */
PEAT_API enum peat_status peat_fence(struct peat_db *db, uint64_t epoch);

/**
 * Wait until readers in this process see @p commit, which may have been made elsewhere: on a follower, whoever was told the number of
 * a commit by the primary reads what it wrote. A read-only store is refreshed meanwhile.
 *
 * @param timeout_ms  wait so long; 0: only look; PEAT_FEED_FOREVER
 * @param newest_out  NULL, or set to the newest commit that they see, on PEAT_OK and PEAT_TIMEOUT
 * @retval PEAT_OK
 * @retval PEAT_TIMEOUT  it is not there yet; and also what peat_refresh() gives
 */
PEAT_API enum peat_status peat_wait_commit(struct peat_db *db, uint64_t commit, unsigned timeout_ms,
                                           uint64_t *newest_out);

/**
 * Wait until followers have @p commit, and with it all before it, on their disks. A follower is a named feed that was opened with
 * PEAT_FEED_SEALS; it has what it has acknowledged, whether it is connected now or not, and nothing while a state is on its way
 * to it (PEAT_FEED_AHEAD). Of followers of followers nothing is known.
 *
 * A commit at PEAT_REPLICAS is first committed at PEAT_DISK, then waits so for replica_count followers, at most replica_timeout_ms.
 * When that is over it gives PEAT_TIMEOUT, which is no failure: the commit has its number, is on this store's disk, shows to
 * readers, and reaches the followers when they can be reached. It must not be made again; who wants to know waits for its
 * number. While there are no followers, or too few, it is the same: one may come yet. Commits of other threads go on meanwhile. Making
 * and dropping collections, and peat_revert(), do not wait: a commit that comes after is acknowledged with them.
 *
 * How soon a follower acknowledges is its own matter: one that applies at PEAT_DISK at once, else within about a second.
 *
 * @param commit       as peat_write() gave it; one that is yet to come is waited for, too
 * @param count        followers that have to have it; 0: only look
 * @param timeout_ms   wait so long; 0: only look; PEAT_FEED_FOREVER
 * @param reached_out  NULL, or set to the followers that have it, on PEAT_OK and PEAT_TIMEOUT
 * @retval PEAT_OK
 * @retval PEAT_TIMEOUT       there are fewer; or peat_replicas_cancel() was called
 * @retval PEAT_NOT_WRITABLE  followers tell the process that writes alone
 * @retval PEAT_INVALID
 */
PEAT_API enum peat_status peat_wait_replicas(struct peat_db *db, uint64_t commit, unsigned count,
                                             unsigned timeout_ms, unsigned *reached_out);
/**
 * From now on nobody waits for followers, as if each time limit were over: for a program that is about to close @p db, and has
 * threads that commit. peat_close() and peat_abort() end the waits of threads that are in them, too. Not for signal handlers.
 */
PEAT_API void peat_replicas_cancel(struct peat_db *db);

/** The number of a collection (NULL: the root), as operations have it. */
PEAT_API uint64_t peat_collection_number(const struct peat_collection *collection);
/** @} */
/**
 * @defgroup seed Seeds: a state handed to a follower
 *
 * A follower whose primary has not the log any more that it lacks needs a state first, and then the log from there on. The
 * primary hands one out in parts, and the follower asks for those that it has not. How they travel is the
 * caller's matter: peat_repl.h has one way.
 *
 *     peat_seed_open(primary, &seed);               peat_seeding_open(follower, &seeding);
 *                                                   while (peat_seeding_next(seeding, size, &range))
 *     peat_seed_read(seed, range...)     ->             status = peat_seeding_write(seeding, ...);
 *                                                   peat_seeding_finish(seeding);
 *
 * Both stores have the same identity. While the seed is open the log behind the state is kept, within feed_log_size_max: a feed that is
 * opened from its commit + 1 goes on from it.
 * Handles are for one thread at a time.
 * @{
 */

struct peat_seed;
struct peat_seeding;

struct peat_seed_info {
    struct peat_position position; /* of the state */
    uint64_t part_count;           /* parts 0 to part_count - 1; part 0 describes the others */
    uint64_t size;                 /* bytes of all of them */
};

/**
 * Pin the state as of the newest checkpoint, which it makes before.
 *
 * @param db        not read-only
 * @param seed_out  set on PEAT_OK, else NULL; release with peat_seed_close() before peat_close()
 * @retval PEAT_OK
 * @retval PEAT_CORRUPT       a segment is damaged: there is no whole state to hand out
 * @retval PEAT_GAP           the log behind it cannot be kept: feed_log_size_max is too small for what is committed
 * @retval PEAT_NOT_WRITABLE  the store was opened read-only
 * @retval PEAT_INVALID, PEAT_IO, PEAT_NO_MEMORY, PEAT_NO_SPACE, PEAT_POISONED
 */
PEAT_API enum peat_status peat_seed_open(struct peat_db *db, struct peat_seed **seed_out);
PEAT_API void peat_seed_close(struct peat_seed *seed); /* NULL is allowed */
PEAT_API void peat_seed_about(const struct peat_seed *seed, struct peat_seed_info *info_out);

/**
 * Bytes of a part, verified.
 *
 * @param size_max       at most so many
 * @param bytes_out      set on PEAT_OK: fewer only at the part's end. They lie in the map, and are valid until
 *                       peat_seed_close()
 * @param part_size_out  bytes of the whole part
 * @retval PEAT_OK
 * @retval PEAT_INVALID  there is no such part or byte
 * @retval PEAT_CORRUPT  the segment is damaged
 * @retval PEAT_IO, PEAT_NO_MEMORY
 */
PEAT_API enum peat_status peat_seed_read(struct peat_seed *seed, uint64_t part, uint64_t offset,
                                         size_t size_max, struct peat_bytes *bytes_out,
                                         uint64_t *part_size_out);

/**
 * Begin to take a state. What has been taken stays until the handle is closed, whatever becomes of the connection; the store goes
 * on showing what it shows.
 *
 * @param db           opened with PEAT_FOLLOWER
 * @param seeding_out  set on PEAT_OK, else NULL; release with peat_seeding_close() before peat_close()
 * @retval PEAT_OK
 * @retval PEAT_INVALID  not a follower
 * @retval PEAT_NO_MEMORY
 */
PEAT_API enum peat_status peat_seeding_open(struct peat_db *db, struct peat_seeding **seeding_out);
PEAT_API void peat_seeding_close(struct peat_seeding *seeding); /* NULL is allowed */

/**
 * From now on the state may be of a history that has parted from the store's (peat_epochs_get()), if what the store shows is its newest kept
 * state, under the name @p kept_name: peat_snapshot_persist(). An old primary, opened with PEAT_FOLLOWER, comes back so to the
 * history that has gone on without it. The kept state stays, and so do all others.
 *
 * Numbers of commits go back then, and those behind the fork stand for other commits than before; so may a collection's number. Close
 * handles of collections before peat_seeding_finish(), and open them again by name. Feeds with a name get PEAT_GAP
 * until they begin anew.
 *
 * @param kept_name  borrowed for the call
 * @retval PEAT_OK       whether there is such a state is looked at in peat_seeding_finish()
 * @retval PEAT_INVALID  it has not 1 to PEAT_NAME_SIZE_MAX bytes
 */
PEAT_API enum peat_status peat_seeding_part(struct peat_seeding *seeding, const char *kept_name);

/**
 * Have a follower go back to the newest of its kept states (peat_history_list()) that is no later than a place in its log, in one step and
 * durably: from there on it can follow another history that has forked there. What it shows now must be its newest kept
 * state, under the name @p kept_name, as for peat_seeding_part(), and all that is said there holds here.
 *
 * @param db            opened with PEAT_FOLLOWER
 * @param position_max  of the fork: bytes of log before it (struct peat_epoch)
 * @param kept_name     borrowed for the call
 * @param commit_out    NULL, or set on PEAT_OK to the newest commit now
 * @retval PEAT_OK
 * @retval PEAT_NOT_FOUND  there is no such state that its history has come through: peat_seeding_part() is left
 * @retval PEAT_INVALID    it is no follower, or does not keep what it shows under that name
 * @retval PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_CORRUPT  nothing has changed
 * @retval PEAT_IO, PEAT_POISONED  whether it was done shows when the store is reopened
 */
PEAT_API enum peat_status peat_retreat(struct peat_db *db, uint64_t position_max,
                                       const char *kept_name, uint64_t *commit_out);

struct peat_finding;

/**
 * Read every segment of the newest state here, and have what is damaged not count as there any more: so it is asked for again, though the
 * state that comes has a segment of the same digest, and shown instead when the state is; a state of just the store's own position is
 * taken for that, too, but none before: peat_flush() there makes one of its newest commit. Kept states before the newest stay as
 * they are: one that has the damaged segment has it still. So does the log, which is not looked at.
 *
 * It takes as long as reading the segments, and runs beside readers and writers. Call it before peat_seeding_next(); a second call
 * looks anew.
 *
 * @param callback   NULL, or called on this thread once for each damaged segment, with the first place in it; the finding is valid
 *                   until it returns, and lists no lost keys
 * @param progress   NULL, or called before each segment with bytes done and bytes in all; false stops it
 * @param context    handed to both
 * @param count_out  set: damaged segments; 0 unless PEAT_OK is returned
 * @retval PEAT_OK
 * @retval PEAT_DONE     stopped by @p progress: nothing is healed
 * @retval PEAT_INVALID  an argument is missing
 * @retval PEAT_NO_MEMORY
 */
PEAT_API enum peat_status peat_seeding_heal(
    struct peat_seeding *seeding,
    void (*callback)(void *context, const struct peat_finding *finding),
    bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
    uint64_t *count_out);

/** Begin anew with part 0, of the same state or a newer one: of what has been taken only what that has not in common is
 * asked for. Answers that are still under way must not be written any more. */
PEAT_API void peat_seeding_restart(struct peat_seeding *seeding);

/** Let go what has been taken, which else takes space in the file. */
PEAT_API void peat_seeding_forget(struct peat_seeding *seeding);

/** Bytes of a part to ask for. */
struct peat_seed_range {
    uint64_t part;
    uint64_t offset;
    uint64_t size;
};

/** The next bytes to ask for, at most @p size_max. Of part 0 the size is not known before its first bytes have come, so there may be
 * fewer. false: nothing, now; perhaps after the next peat_seeding_write(). */
PEAT_API bool peat_seeding_next(struct peat_seeding *seeding, uint64_t size_max,
                                struct peat_seed_range *range_out);

/**
 * Take bytes that were asked for, in that order; in pieces of any size.
 *
 * @param part_size  bytes of the whole part, as peat_seed_read() gave them
 * @retval PEAT_OK
 * @retval PEAT_DONE      all is there: peat_seeding_finish()
 * @retval PEAT_INVALID   they are not what comes next; or the state is not newer than the store's
 * @retval PEAT_CORRUPT   they are damaged, or of a store of another identity: begin anew
 * @retval PEAT_NO_SPACE  call again when there is some
 * @retval PEAT_VERSION, PEAT_NO_MEMORY, PEAT_IO, PEAT_POISONED
 */
PEAT_API enum peat_status peat_seeding_write(struct peat_seeding *seeding, uint64_t part,
                                             uint64_t offset, uint64_t part_size,
                                             struct peat_bytes bytes);

/**
 * Show the state, durably, in one step, and let go what was taken for it: snapshots that are open go on seeing what they saw. Feeds of this store that have
 * not come as far get PEAT_GAP.
 *
 * @retval PEAT_OK
 * @retval PEAT_INVALID  not all is there; or the store has come further meanwhile; or it would have to leave its history, and what it
 *                       shows is not kept under the name that peat_seeding_part() was given
 * @retval PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_IO, PEAT_POISONED, PEAT_CORRUPT
 */
PEAT_API enum peat_status peat_seeding_finish(struct peat_seeding *seeding);

struct peat_seeding_info {
    struct peat_position position; /* of the state; zeros: not known yet */
    uint64_t size;                 /* bytes of its segments */
    uint64_t missing;              /* of them, that have not come */
};

PEAT_API void peat_seeding_about(const struct peat_seeding *seeding,
                                 struct peat_seeding_info *info_out);
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

/**
 * Merge everything that is committed when this is called, or a part of it, so that it takes as little
 * space, and as little work to read, as it can. The store does this by itself when nobody writes;
 * this does it now.
 *
 * It goes in steps of at most some 64 MiB, each published by itself, made by the merger between its
 * own jobs: beside readers, commits and other calls of this. What has been done when it is stopped, or
 * when the process is killed, need not be done again. A step needs free space for what it writes,
 * and the space of what it replaces comes back a few steps later, when a checkpoint is durable.
 * Segments that are as they should be are not rewritten.
 *
 * When it returns PEAT_OK, of what was committed before the call,
 *
 *  - the whole store is one run, and has no deletion, no range delete and no entry that one of these or
 *    a newer version hides. Free space has been given back to the filesystem;
 *  - or, of the keys in the range, each is in one run at most, the oldest, and of these keys no run
 *    has a deletion, a range delete or an entry that is hidden. Outside the range nothing changes. A
 *    segment that reaches across a bound keeps its space until the rest of it is merged.
 *
 * What snapshots, iterators, readers in other processes and kept states see keeps its space until they
 * let it go. It may take commits made meanwhile along, or leave them in runs above.
 *
 * @param collection  whose keys; NULL: the root's. One that has been dropped is fine
 * @param range       NULL: the whole @p collection, or, if that is NULL too, the whole store; borrowed,
 *                    its flags are not looked at
 * @param progress    NULL, or called before the first step and after each, on this thread, with bytes
 *                    of segments done and in all, estimated; false stops it. It may call peat, but for peat_close()
 * @retval PEAT_OK            done, and durable
 * @retval PEAT_DONE          stopped by @p progress
 * @retval PEAT_NOT_WRITABLE  opened read-only
 * @retval PEAT_CORRUPT       something in the range is damaged, see peat_check(): what lies before it is
 *                            merged, the rest stays as it is
 * @retval PEAT_NO_SPACE      a step's output could not be written, or would take more of the reserve than it
 *                            frees; the steps before it stay
 * @retval PEAT_IO, PEAT_NO_MEMORY, PEAT_POISONED, PEAT_INVALID, PEAT_TOO_LARGE (a bound)
 */
PEAT_API enum peat_status peat_compact(struct peat_db *db, struct peat_collection *collection,
                                       const struct peat_range *range,
                                       bool (*progress)(void *context, uint64_t done,
                                                        uint64_t total),
                                       void *context);
/** Keys of one collection that cannot be read. */
struct peat_lost {
    const char *const *names; /* of the collections from the root down to this one; none: the root */
    size_t name_count;
    bool is_named;       /* false: its name is lost, or it is the catalogue of collections */
    uint64_t collection; /* its number: 1 is the root, 0 the catalogue: then collections lost their names */
    struct peat_range keys; /* low inclusive, high exclusive; data NULL: as far as the collection goes */
};

/** One finding of peat_check(). */
struct peat_finding {
    const char *what;      /* in words, with the place in the file */
    uint64_t offset;       /* bytes from the start of the file */
    struct peat_bytes low; /* the stored key range hit, raw: collection id first; data NULL: unbounded */
    struct peat_bytes high;
    const struct peat_lost *lost; /* what cannot be read because of it, per collection */
    size_t lost_count;            /* 0: it takes no entry */
};

/**
 * Read and verify every byte in use: superblocks, manifest, every segment with its order and
 * indexes, the log that is kept for feeds, and that regions do not overlap. Runs beside readers and
 * writers.
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

/** How peat_salvage() is to go about it. */
struct peat_salvage_options {
    size_t struct_size; /* set by peat_salvage_options_init() */
    unsigned flags;     /* 0 */
    /** NULL, or called for what cannot be read, in the order of the stored keys; borrowed for the call. */
    void (*lost)(void *context, const struct peat_lost *lost);
    /** NULL, or called now and then with bytes done and bytes in all, estimated; false stops it. */
    bool (*progress)(void *context, uint64_t done, uint64_t total);
    void *context; /* handed to lost and progress */
};

/** What peat_salvage() came to. */
struct peat_salvage_info {
    size_t struct_size;       /* set by the caller: sizeof(struct peat_salvage_info) */
    uint64_t generation;      /* of the state that was found */
    uint64_t commit;          /* it shows everything up to this one, but for what is lost */
    uint64_t entry_count;     /* written, those of the catalogue included */
    uint64_t file_size;       /* bytes of the new file */
    uint64_t lost_count;      /* ranges of keys told to lost */
    uint64_t nameless_count;  /* collections whose names are lost: they are called salvaged-NUMBER */
    bool superblocks_damaged; /* both: the newest state was looked for in the whole file */
    bool is_older;            /* the newest state was not found: this is an older one, and what was
                                 written after it is missing */
    bool log_damaged;         /* commits after commit are lost */
    char log_words[256];      /* what is wrong with the log */
};

PEAT_API void peat_salvage_options_init(struct peat_salvage_options *options);

/**
 * Write everything that verifies of the store in the file @p path, which nobody may have open for writing,
 * into the new file @p new_path, and tell what could not be read. The file is only read. It may be damaged
 * anywhere: where neither superblock is valid, or the manifest they name is damaged, the newest manifest
 * that verifies is looked for in the whole file.
 *
 * What a damaged place held is lost, also where an older version of it could be read: it may have been
 * deleted since. The new store has an id of its own: backups and followers of the old one do not fit it.
 *
 * @param options   NULL: nobody is told
 * @param info_out  NULL, or set on PEAT_OK and PEAT_CORRUPT, as far as known
 * @retval PEAT_OK       the new file is whole, verified and on disk; lost_count, is_older and log_damaged
 *                       tell whether it is all
 * @retval PEAT_DONE     stopped by progress; no file is left
 * @retval PEAT_CORRUPT  no manifest verifies: there is nothing to begin with; no file is left
 * @retval PEAT_INVALID  bad options, or nothing in @p path says that it is a peat store
 * @retval PEAT_BUSY     a process has it open for writing
 * @retval PEAT_EXISTS   there is a file at @p new_path: left untouched
 * @retval PEAT_NOT_FOUND, PEAT_DENIED, PEAT_VERSION, PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY
 */
PEAT_API enum peat_status peat_salvage(const char *path, const char *new_path,
                                       const struct peat_salvage_options *options,
                                       struct peat_salvage_info *info_out);
/** @} */
/**
 * @defgroup backup Backup and restore
 *
 * A full backup is a store of its own: same store id, commit number and history, compacted, in one
 * file that can be opened, read and copied like any other. It is written from front to back, so it
 * can go through a pipe, and what comes out at the other end is the store. An increment is a file
 * of the same kind that holds only what changed since another backup; it does not open by itself:
 * peat_restore() makes a store of a full backup and the increments that follow it.
 *
 * An increment is the difference in keys, not in segments, because merging writes the same keys into
 * new segments all the time. To find it the state it is based on is read, so the backups that make up
 * that state (the full one and all increments up to it) must be at hand.
 *
 * Each backup tells the digest of the state that it stands for: BLAKE2b-256 over all live entries of
 * all collections in the order of their stored keys, each as key size and value size (4 bytes each,
 * little-endian), stored key (collection id first) and value. peat_digest() gives the same for a
 * snapshot, whatever the store looks like inside.
 * @{
 */

#define PEAT_REPLACE 16u /* a file of that name is replaced, in one step, once the new one is whole */

struct peat_backup_options {
    size_t struct_size; /* set by peat_backup_options_init() */
    unsigned flags;     /* PEAT_REPLACE, or 0 */
    /** The file to make, mode 0600. It appears under this name when it is whole, verified and on
     * disk; meanwhile it is called PATH.partial-N. NULL: write gets the bytes instead. */
    const char *path;
    /** Takes the backup's next @p size bytes; false stops it. The snapshot is read twice, because the
     * first bytes tell what the last ones are; and nothing is verified that was handed out. */
    bool (*write)(void *context, const void *data, size_t size);
    /** Make an increment to the state of these backups: a full one, then the increments on it, in
     * order. NULL and 0: make a full backup. */
    const char *const *since;
    size_t since_count;
    /** NULL, or called now and then with bytes done and bytes in all, estimated; false stops it. */
    bool (*progress)(void *context, uint64_t done, uint64_t total);
    void *context; /* handed to write and progress */
};

/** What a backup is, as its header says. */
struct peat_backup_info {
    size_t struct_size; /* set by the caller: sizeof(struct peat_backup_info) */
    uint8_t store_id[16];
    bool is_increment;
    uint64_t commit;      /* the state it stands for: everything up to this one */
    uint64_t time_us;     /* of that commit, microseconds since 1970; 0: not known */
    uint64_t entry_count; /* of that state */
    uint8_t digest[32];   /* of that state */
    uint64_t base_commit; /* increments: of the state they are based on */
    uint8_t base_digest[32];
    uint64_t put_count;    /* in the file */
    uint64_t delete_count; /* in the file: deletes, and range deletes */
    uint64_t file_size;    /* bytes */
};

/** Fill @p options with the defaults: a full backup, path and write yet to be set. */
PEAT_API void peat_backup_options_init(struct peat_backup_options *options);

/**
 * Write a backup of @p db, beside readers, commits and merges; also from a store opened read-only
 * while another process writes it. The snapshot's space stays in use meanwhile. What is read is
 * verified, and what was written into a file is read back and verified before it gets its name.
 *
 * @param snapshot  what to write; NULL: the newest commit. For one that is held for long the log that
 *                  led to it may be gone: then the backup has its commit number, but no place in the
 *                  history, and a follower made of it starts over
 * @param info_out  NULL, or set on PEAT_OK
 * @retval PEAT_OK       done; a file is on disk
 * @retval PEAT_DONE     stopped by progress; no file is left
 * @retval PEAT_EXISTS   there is a file of that name, and PEAT_REPLACE is not set
 * @retval PEAT_CORRUPT  the store (or a backup in since) is damaged at the place that
 *                       peat_last_error() names; no file is left
 * @retval PEAT_INVALID  bad options; a file in since is no backup, of another store, of a later
 *                       commit, or does not follow the one before it; what would be replaced is the
 *                       store itself, or in since
 * @retval PEAT_NO_SPACE, PEAT_IO (also: write returned false), PEAT_NO_MEMORY, PEAT_DENIED,
 *         PEAT_NOT_FOUND (a file in since, or the directory of path)
 */
PEAT_API enum peat_status peat_backup(struct peat_db *db, const struct peat_snapshot *snapshot,
                                      const struct peat_backup_options *options,
                                      struct peat_backup_info *info_out);

/**
 * Make the store @p path of a full backup and the increments that follow it, in order. All that is
 * read is verified, the result's digest must be what the last backup says, and the file gets its name
 * when it is whole, verified and on disk. It is a full backup in its turn, until it is written to.
 *
 * @param path      must not exist
 * @param progress  NULL, or as in struct peat_backup_options
 * @param info_out  NULL, or set on PEAT_OK: the new file as a backup
 * @retval PEAT_OK
 * @retval PEAT_DONE     stopped by progress; no file is left
 * @retval PEAT_EXISTS   there is a file at @p path: left untouched
 * @retval PEAT_INVALID  no backup, of another store, or not in order: the message says which
 * @retval PEAT_CORRUPT  a backup is damaged; no file is left
 * @retval PEAT_NOT_FOUND, PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY, PEAT_DENIED, PEAT_VERSION
 */
PEAT_API enum peat_status peat_restore(const char *path, const char *const *backups,
                                       size_t backup_count,
                                       bool (*progress)(void *context, uint64_t done,
                                                        uint64_t total),
                                       void *context, struct peat_backup_info *info_out);

/** Read what the backup @p path says of itself; only its header is verified. PEAT_OK, PEAT_INVALID (a
 * store that is no backup, or was written to since; or no store), PEAT_CORRUPT, PEAT_VERSION,
 * PEAT_NOT_FOUND, PEAT_DENIED, PEAT_IO, PEAT_NO_MEMORY. */
PEAT_API enum peat_status peat_backup_inspect(const char *path, struct peat_backup_info *info_out);

/**
 * The digest of what @p snapshot shows (see above): equal digests mean equal contents.
 *
 * @param progress         NULL, or as in struct peat_backup_options
 * @param digest_out       32 bytes, set on PEAT_OK
 * @param entry_count_out  NULL, or set on PEAT_OK: live entries, those of the catalogue included
 * @retval PEAT_OK, PEAT_DONE (stopped by progress), PEAT_CORRUPT, PEAT_IO, PEAT_NO_MEMORY
 */
PEAT_API enum peat_status peat_digest(const struct peat_snapshot *snapshot,
                                      bool (*progress)(void *context, uint64_t done,
                                                       uint64_t total),
                                      void *context, uint8_t digest_out[32],
                                      uint64_t *entry_count_out);
/** @} */
/**
 * @defgroup tally Tallies: digests of parts
 *
 * A tally goes through what a snapshot shows between two places, all collections, a bounded number of bytes at a time, and gives the
 * digest of what it has passed. So two stores can be compared part by part, by threads that have other things to do. A tally is
 * for one thread at a time; its snapshot may be closed before it.
 *
 *     peat_tally_open(snapshot, &low, &high, &tally);
 *     while (peat_tally_add(tally, 1 << 20, NULL) == PEAT_OK)
 *         ;
 *     peat_tally_take(tally, &sum);
 * @{
 */

struct peat_tally;

/** A place among all that a snapshot shows: collections by number, in each the keys in memcmp order. */
struct peat_place {
    uint64_t collection;   /* as peat_collection_number() gives it; 0: the catalogue of collections */
    struct peat_bytes key; /* empty: where the collection begins */
};

#define PEAT_PLACE_END UINT64_MAX /* as collection: behind all of them */

struct peat_tally_sum {
    size_t struct_size;   /* bytes that the caller has room for */
    uint64_t entry_count; /* live entries */
    uint64_t size;        /* bytes of their keys and values, with the collection's number, and 8 for each */
    uint8_t digest[32];   /* over all that could be read: as peat_digest(), if that is everything */
    bool is_damaged;      /* something in between cannot be read: digest and counts are without it */
};

/**
 * @param low, high  it goes from @p low, inclusive, to @p high, exclusive; NULL: unbounded. Copied
 * @param tally_out  set on PEAT_OK, else NULL; release with peat_tally_close() before peat_close()
 * @retval PEAT_OK
 * @retval PEAT_NO_MEMORY, PEAT_INVALID, PEAT_TOO_LARGE (a key that no entry can have)
 */
PEAT_API enum peat_status peat_tally_open(const struct peat_snapshot *snapshot,
                                          const struct peat_place *low,
                                          const struct peat_place *high,
                                          struct peat_tally **tally_out);
PEAT_API void peat_tally_close(struct peat_tally *tally); /* NULL is allowed */

/**
 * Go on over about @p size_max bytes of entries: up to the first entry's end that is as far, or into a large value. What is damaged is
 * passed over.
 *
 * @param size_max      above 0: with 0 it stays where it is
 * @param entries_left  NULL, or how many entries to pass at most, from which those are taken that it passed
 * @retval PEAT_OK    there is more
 * @retval PEAT_DONE  it has come to the end
 * @retval PEAT_NO_MEMORY, PEAT_IO, PEAT_CORRUPT, PEAT_INVALID  it is of no use any more
 */
PEAT_API enum peat_status peat_tally_add(struct peat_tally *tally, uint64_t size_max,
                                         uint64_t *entries_left);

/**
 * A place that parts what it has passed from what is to come: the next entry's, or, if that key is larger than @p key_size_max
 * bytes, a shorter one in between.
 *
 * @param place_out  set on PEAT_OK; its key is valid until peat_tally_close()
 * @retval PEAT_OK
 * @retval PEAT_BUSY       it is within an entry: add more
 * @retval PEAT_NOT_FOUND  no key of @p key_size_max bytes parts them, or it has passed nothing yet
 * @retval PEAT_DONE       nothing is to come
 */
PEAT_API enum peat_status peat_tally_place(const struct peat_tally *tally, size_t key_size_max,
                                           struct peat_place *place_out);

/**
 * The sum of what it has passed since it was opened, or since the last one was taken, which it then begins anew.
 *
 * @param sum_out  its struct_size is the caller's; set on PEAT_OK
 * @retval PEAT_OK
 * @retval PEAT_BUSY  it is within an entry: add more
 * @retval PEAT_INVALID
 */
PEAT_API enum peat_status peat_tally_take(struct peat_tally *tally, struct peat_tally_sum *sum_out);
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
    uint64_t manifest_size;  /* bytes: the newest manifest's region */
    uint64_t free_size;      /* bytes: free inside the file */
    uint64_t pending_size;   /* bytes: freed, but still seen by a snapshot, reader or manifest; in a
                                process that reads beside a writer: free ones too, it cannot tell */
    uint64_t file_size;      /* bytes */
    uint64_t allocated_size; /* bytes of disk: st_blocks */
    uint64_t buffer_size;    /* bytes: entries in write buffers */
    uint64_t buffer_count;   /* write buffers, the active one included */
    uint64_t memory_size;    /* bytes of private memory accounted for, see memory_size_max */
    uint64_t pinned_memory_size; /* bytes of those: flushed write buffers that snapshots see */
    uint64_t snapshot_count; /* stacks pinned by snapshots and iterators */
    uint64_t replayed_commits; /* at open; in a reader's, what it found in the log then */
    uint64_t replayed_size;    /* bytes of log, at open */
    uint64_t replay_time_us;   /* what that took, at open, until it was durable in segments */
    uint64_t unflushed_log_size; /* bytes of log that a crash now would leave to be replayed */
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
    /* the history */
    uint64_t history_count; /* states kept beside the newest */
    uint64_t history_size;  /* bytes: what they alone refer to, their manifests included */
    /* space */
    uint64_t reserve_size;         /* bytes: kept back so that deletes and merges work on a full disk */
    uint64_t snapshot_pinned_size; /* bytes of pending_size that only open snapshots and iterators of this
                                      process hold */
    uint64_t reader_pinned_size;   /* bytes of pending_size that only other processes, reading, hold */
    /* feeds */
    uint64_t feed_count;    /* feeds that have a name */
    uint64_t feed_log_size; /* bytes: log that is kept for feeds alone; not in log_size */
};

/** Fill @p stats; cheap. PEAT_OK, PEAT_INVALID (struct_size is not set). */
PEAT_API enum peat_status peat_stats_get(struct peat_db *db, struct peat_stats *stats);
/** @} */

#ifdef __cplusplus
}
#endif
#endif

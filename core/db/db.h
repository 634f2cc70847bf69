/*
 * An open store: what its parts share. The parts are
 *
 *   open.c      opening, recovery, closing          commit.c   group commit, sealing
 *   refresh.c   read-only stores follow the writer   syncer.c   background sync of the log
 *   merger.c    the background thread                flush.c, merge.c   its two jobs
 *   install.c   making a manifest rule               catalogue.c, snapshot.c, iterator.c  reading
 *
 * Lock order: catalogue.change_mutex, then commit.mutex or merger.mutex or syncer.mutex, then
 * shelf.mutex, then catalogue.mutex, then what is inside arena and log. core/README.md has the list.
 */
#ifndef PEAT_CORE_DB_DB_H
#define PEAT_CORE_DB_DB_H

#include "core/db/batch.h"
#include "core/db/manifest.h"
#include "core/db/snapshot.h"

struct pt_commit_request;

/* The queue of committers. The leader is whoever is at its head; only the leader touches log, active
 * write buffer and commit number. */
struct pt_commit_queue {
    struct pt_mutex mutex;
    struct pt_condition arrived; /* a leader may wait for more members */
    struct pt_commit_request *head PT_GUARDED_BY(mutex);
    struct pt_commit_request *tail PT_GUARDED_BY(mutex);
    size_t waiting PT_GUARDED_BY(mutex);      /* requests in the queue */
    size_t leader_wants PT_GUARDED_BY(mutex); /* it waits until so many are there; 0: it does not */
    size_t last_group PT_GUARDED_BY(mutex);   /* members of the last durable group */
    uint64_t sync_time_us;                    /* the leader's: a sync's duration, smoothed */
    struct pt_held_buffer *active;            /* the leader's: borrowed from the current stack */
    uint64_t commit;                          /* the leader's: the last number given */
    uint64_t time_us;                         /* the leader's: that commit's time */
};

/* The thread that syncs the log in the background. */
struct pt_syncer {
    struct pt_thread thread;
    struct pt_mutex mutex;
    struct pt_condition wake;
    bool stop PT_GUARDED_BY(mutex);
    _Atomic bool wanted;  /* something was appended since the last sync */
    _Atomic bool prepare; /* the log wants its next region made ready */
};

/* The thread that flushes and merges. */
struct pt_merger {
    struct pt_thread thread;
    struct pt_mutex mutex;
    struct pt_condition wake;
    struct pt_condition done; /* broadcast after each job, and when there is none left */
    bool stop PT_GUARDED_BY(mutex);
    bool work PT_GUARDED_BY(mutex);               /* something changed since the last look */
    bool idle PT_GUARDED_BY(mutex);               /* looked, and there was nothing to do */
    unsigned hurry PT_GUARDED_BY(mutex);          /* so many wait for idleness: do not wait first */
    uint64_t jobs PT_GUARDED_BY(mutex);           /* done or failed, so far */
    enum peat_status status PT_GUARDED_BY(mutex); /* what stopped the last job, or PEAT_OK */
    char error[256] PT_GUARDED_BY(mutex);         /* its words */
    uint64_t merge_at_us; /* the thread's: a failed merge is tried again then; 0: none failed */
    struct peat_bytes sweep_low; /* the thread's: where the sweep goes on; data NULL: none */
    size_t sweep_width;          /* the thread's: runs in the sweep's group */
    size_t sweep_below;          /* the thread's: runs below the group */
};

struct pt_counters {
    _Atomic uint64_t commits, commit_groups, syncs, bytes_put, bytes_flushed, bytes_merged,
        bytes_moved, flushes, merges, stalls, stall_time_us;
    uint64_t replayed_commits, replayed_size; /* set at open */
};

enum { PT_TAIL_NONCES = 16 };

struct peat_db {
    struct peat_options options; /* with the defaults filled in */
    bool read_only;
    struct pt_id store_id;
    uint64_t hash_seed;
    struct pt_arena *arena;
    struct pt_shelf shelf;
    struct pt_catalogue *catalogue; /* pinned: open handles pin it too */
    struct pt_commit_queue queue;
    struct pt_log *log; /* NULL: read-only */
    struct pt_syncer syncer;
    struct pt_merger merger;
    struct pt_counters counters;
    _Atomic bool poisoned;
    _Atomic uint64_t buffer_memory; /* bytes: all write buffers with their indexes */
    _Atomic uint64_t sealed_size;   /* bytes: data of sealed buffers, waiting to be flushed */

    /* The durable state: written by open, then by the merger thread alone. */
    _Atomic uint64_t generation;
    _Atomic uint64_t next_segment_id;
    struct pt_run **installed_runs; /* owned, pinned: what the ruling manifest names */
    size_t installed_count;
    struct pt_extent manifest_extent;
    struct pt_log_point log_start; /* as the manifest says */

    /* Read-only stores: refresh.c's. */
    struct pt_mutex refresh_mutex;
    struct pt_log_reader *tail PT_GUARDED_BY(refresh_mutex);
    struct pt_id tail_nonces[PT_TAIL_NONCES] PT_GUARDED_BY(refresh_mutex); /* regions it passed */
    size_t tail_nonce_count PT_GUARDED_BY(refresh_mutex);
    uint64_t *held_generations PT_GUARDED_BY(refresh_mutex); /* owned: locked in the file */
    size_t held_count PT_GUARDED_BY(refresh_mutex);
};

/* ---- commit.c ---- */

/* One committer's wish, on its stack while it waits. */
struct pt_commit_request {
    struct pt_commit_request *next;
    struct peat_bytes payload;                  /* encoded operations */
    size_t count;                               /* of them */
    uint64_t put_size;                          /* bytes of keys and values */
    enum peat_durability durability;            /* not PEAT_DEFAULT */
    struct peat_collection *const *collections; /* none of them may have been dropped */
    size_t collection_count;
    const uint64_t *dropped_ids; /* collections that this commit drops */
    size_t dropped_count;
    uint64_t commit;         /* out */
    enum peat_status status; /* out */
    bool seal;               /* afterwards, seal the active buffer if anything is in it */
    bool done;               /* guarded by queue.mutex */
    struct pt_condition wake;
    char error[256]; /* the leader's words, for the follower's thread */
};

void pt_commit_queue_init(struct pt_commit_queue *queue);
void pt_commit_queue_fini(struct pt_commit_queue *queue);
/* Commit @p batch, which drops the collections @p dropped_ids. As peat_write(). */
enum peat_status pt_commit(struct peat_db *db, struct peat_batch *batch,
                           enum peat_durability durability, const uint64_t *dropped_ids,
                           size_t dropped_count, uint64_t *commit_out);
/* Add the operations of a log record to the active write buffer of a store being replayed or
 * followed; no log, no queue. PEAT_TOO_LARGE: it does not fit, seal first. PEAT_CORRUPT. */
enum peat_status pt_replay_batch(struct peat_db *db, struct pt_held_buffer *active,
                                 struct peat_bytes payload, uint64_t commit);
/* Bytes of address space for a new buffer that must take @p count operations of @p size: it is sealed
 * when write_buffer_size is reached, so it overshoots by up to one group of commits. */
size_t pt_buffer_capacity(const struct peat_db *db, size_t count, size_t size);
/* Seal the active buffer, in its turn among the commits, if anything is in it. */
enum peat_status pt_commit_seal(struct peat_db *db);
/* A new active buffer above the current stack, for a batch of @p count and @p size. */
enum peat_status pt_seal(struct peat_db *db, const struct pt_log_point *start, size_t count,
                         size_t size);

/* ---- install.c ---- */

/*
 * Make a manifest of @p runs with the log from @p log_start on rule, durably; segments have been
 * written, not synced. Retires what the last one named alone. PEAT_NO_SPACE, PEAT_IO: the old one
 * still rules... unless the superblock's write failed, which poisons.
 */
enum peat_status pt_install(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                            const struct pt_log_point *log_start);
/* Make @p runs (a list on the heap with a pin on each, now the store's) the ruling manifest's. */
void pt_installed_set(struct peat_db *db, struct pt_run **runs, size_t run_count);
/* Publish a stack of @p runs below the current buffers but the oldest @p flushed_count.
 * PEAT_NO_MEMORY: readers go on with the old stack, which shows the same. */
enum peat_status pt_publish_runs(struct peat_db *db, size_t flushed_count,
                                 struct pt_run *const *runs, size_t run_count);
/* Read the ruling manifest. The block behind its borrowed keys is *block_out, to pt_free(). */
enum peat_status pt_manifest_load(struct peat_db *db, const struct pt_superblock *superblock,
                                  struct pt_manifest *manifest_out, uint8_t **block_out);
/* Take over what @p manifest says of the store as a whole. */
void pt_manifest_take(struct peat_db *db, const struct pt_manifest *manifest);
/* Open the manifest's segments (sharing those that @p known's runs hold already; may be NULL) and
 * build its runs, each pinned once. */
enum peat_status pt_manifest_runs(struct peat_db *db, const struct pt_manifest *manifest,
                                  const struct pt_stack *known, struct pt_run ***runs_out);
void pt_runs_free(struct pt_run **runs, size_t run_count);

/* ---- flush.c, merge.c, merger.c, syncer.c, refresh.c ---- */

/* Flush the oldest sealed buffer. PEAT_DONE: there is none. */
enum peat_status pt_flush_step(struct peat_db *db);
/* One step of merging, if policy wants any. PEAT_DONE: nothing to merge. */
enum peat_status pt_merge_step(struct peat_db *db, bool idle);
void pt_merge_forget_sweep(struct peat_db *db);

enum peat_status pt_merger_start(struct peat_db *db);
void pt_merger_stop(struct peat_db *db); /* after the job at hand */
void pt_merger_wake(struct peat_db *db);
/* Wait until no sealed buffer is left (@p idle: until nothing at all is left to do). PEAT_TIMEOUT, or
 * what stopped the merger's last job. */
enum peat_status pt_merger_wait(struct peat_db *db, bool idle, uint64_t until_us);
/* What stopped the merger's last job; PEAT_OK if nothing did. */
enum peat_status pt_merger_status(struct peat_db *db);

enum peat_status pt_syncer_start(struct peat_db *db);
void pt_syncer_stop(struct peat_db *db);
/* Something was appended: sync within the interval. Cheap when it knows already. @p prepare: and make
 * the next region ready now. */
void pt_syncer_note(struct peat_db *db, bool prepare);

/* The first stack, with one empty buffer. */
enum peat_status pt_first_stack(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                                const struct pt_log_point *start);
/* Open or bring up to date a read-only store. */
enum peat_status pt_refresh(struct peat_db *db);

#endif

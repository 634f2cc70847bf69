/*
 * An open store: what its parts share. The parts are
 *
 *   open.c      opening, recovery, closing          commit.c   group commit, sealing
 *   refresh.c   read-only stores follow the writer   syncer.c   background sync of the log
 *   merger.c    the background thread                flush.c, sweep.c, merge.c   its two jobs
 *   checkpoint.c  when the stack is made durable     install.c   making a manifest rule
 *   compact.c   sweeps that a caller drives          reserve.c   what goes on when the disk is full
 *   history.c   the manifests that are kept          revert.c, diff.c   what is done with them
 *   feeds.c     the log that is kept for feeds       feed.c, feed_places.c   reading on in it
 *   apply.c     a follower takes another's records   feed_list.c   what feeds tell of themselves
 *   position.c  where the store stands; waiting      replicas.c   waiting for followers
 *   epochs.c    the epochs of its history            promote.c   what it is in replication
 *   catalogue.c, snapshot.c, iterator.c  reading
 *
 * core/README.md has the order of the locks.
 */
#ifndef PEAT_CORE_DB_DB_H
#define PEAT_CORE_DB_DB_H

#include "core/db/batch.h"
#include "core/db/feeds.h"
#include "core/db/history.h"
#include "core/db/log_budget.h"
#include "core/db/snapshot.h"

struct pt_commit_request;
struct pt_merger_call;

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
    struct pt_condition led;                  /* broadcast after each group while feeds wait */
    uint64_t led_count PT_GUARDED_BY(mutex);  /* groups so far */
    unsigned led_waiting PT_GUARDED_BY(mutex); /* threads that wait for one */
    uint64_t sync_time_us;                     /* the leader's: a sync's duration, smoothed */
    struct pt_held_buffer *active;             /* the leader's: borrowed from the current stack */
    uint64_t commit;                           /* the leader's: the last number given */
    uint64_t time_us;                          /* the leader's: that commit's time */
    uint64_t owed_ns;                          /* the leader's: delay too short to sleep for */
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
    bool flush_only PT_GUARDED_BY(mutex);         /* for recovery: nothing else */
    bool work PT_GUARDED_BY(mutex);               /* something changed since the last look */
    bool idle PT_GUARDED_BY(mutex);               /* looked, and there was nothing to do */
    unsigned hurry PT_GUARDED_BY(mutex);          /* so many wait for idleness: do not wait first */
    unsigned flush_waits PT_GUARDED_BY(mutex);    /* so many wait for flushes: it is not idle */
    uint64_t jobs PT_GUARDED_BY(mutex);           /* done or failed, so far */
    enum peat_status status PT_GUARDED_BY(mutex); /* what stopped the last job, or PEAT_OK */
    enum peat_status flush_status PT_GUARDED_BY(mutex); /* the same, if it was no merge */
    char error[256] PT_GUARDED_BY(mutex);               /* its words */
    struct pt_merger_call *calls PT_GUARDED_BY(mutex);  /* to be done before the next job */
    uint64_t merge_at_us; /* the thread's: a failed merge is tried again then; 0: none failed */
    uint64_t pause_us;    /* the thread's: how long that was the last time */
    /* The thread's, see sweep.c: */
    struct peat_bytes whole_low; /* where the sweep over all runs goes on; data NULL: none */
    struct peat_bytes sweep_low; /* and that over the newest */
    size_t sweep_width;          /* runs in its group; 0: none */
    size_t sweep_below;          /* runs below the group */
    uint64_t owed_size;          /* bytes to merge before the next flush */
    uint64_t garbage_size;       /* bytes, when it was last looked at: */
    uint64_t garbage_seen;       /* one more than checkpointer.published was then */
};

/* The thread that makes the stack durable. */
struct pt_checkpointer {
    struct pt_thread thread;
    struct pt_mutex install_mutex; /* held for a whole checkpoint, syncs and all */
    uint64_t installed PT_GUARDED_BY(install_mutex); /* what published was at the last one */
    _Atomic uint64_t published;                      /* stacks with other runs, so far */
    _Atomic uint64_t installed_size; /* bytes of segments written before the last one */
    struct pt_mutex mutex;           /* guards what follows */
    struct pt_condition wake;
    struct pt_condition done; /* broadcast after each */
    bool stop PT_GUARDED_BY(mutex);
    bool wanted PT_GUARDED_BY(mutex);
    enum peat_status status PT_GUARDED_BY(mutex); /* what came of the last one */
    char error[256] PT_GUARDED_BY(mutex);         /* its words */
};

/* Keeps the copies that one-shot writes make within a share of memory. */
struct pt_put_gate {
    struct pt_mutex mutex;
    struct pt_condition left;
    uint64_t size PT_GUARDED_BY(mutex); /* bytes taken */
};

/* The reserve, see reserve.c. */
struct pt_reserve {
    _Atomic uint64_t covered;       /* log cost up to which commits need not ask */
    _Atomic uint64_t promised;      /* and that they were let go up to; at least what is covered */
    _Atomic uint64_t manifest_size; /* bytes: the region of the one that rules */
    _Atomic uint64_t merge_drawn;   /* bytes of it in the merge step that is under way */
    bool merge_at_rest;             /* the merger's: nobody is committing, or waits for that step */
};

struct pt_counters {
    _Atomic uint64_t commits, commit_groups, syncs, bytes_put, bytes_flushed, bytes_merged,
        bytes_moved, flushes, merges, stalls, stall_time_us;
    uint64_t replayed_commits, replayed_size, replay_time_us; /* set at open */
};

enum { PT_TAIL_NONCES = 16 };

/* The largest next id to go on from; what is read may be twice as much. */
#define PT_SEGMENT_ID_GO_ON_MAX (UINT64_C(1) << 62)

struct peat_db {
    struct peat_options options; /* with the defaults filled in */
    bool read_only;
    bool in_memory;
    bool is_closing; /* set by who closes it, when nobody else is left */
    bool is_backup;  /* opened as one by pt_open_backup(): an increment is fine */
    /* What a refresh, and an empty follower that takes on its primary's identity, set anew: the id under
     * refresh_mutex, which all but its writer take to read it. */
    struct pt_id store_id;
    _Atomic uint64_t hash_seed; /* relaxed: where it changes there is no entry yet */
    struct pt_arena *arena;
    struct pt_shelf shelf;
    struct pt_catalogue *catalogue; /* pinned: open handles pin it too */
    struct pt_commit_queue queue;
    struct pt_log *log; /* NULL: read-only */
    struct pt_syncer syncer;
    struct pt_merger merger;
    struct pt_checkpointer checkpointer;
    struct pt_log_budget log_budget;
    struct pt_put_gate put_gate;
    struct pt_reserve reserve;
    struct pt_counters counters;
    _Atomic bool poisoned;
    _Atomic uint64_t buffer_memory; /* bytes: all write buffers with their indexes */
    _Atomic uint64_t work_memory;   /* bytes: what else is large, see pressure.c */
    _Atomic uint64_t pinned_memory; /* bytes of buffer_memory: flushed, but seen by snapshots */
    _Atomic uint64_t sealed_size;   /* bytes: data of sealed buffers, waiting to be flushed */

    /* The durable state: written by open, then by who holds checkpointer.install_mutex. */
    _Atomic uint64_t generation;
    _Atomic uint64_t next_segment_id;
    struct pt_run **installed_runs; /* owned, pinned: what the ruling manifest names */
    size_t installed_count;
    struct pt_log_point log_start; /* as the manifest says */
    struct pt_mutex lineage_mutex;
    /* Up to the end of the log, and so perhaps beyond what the manifest says. */
    struct pt_lineage lineage PT_GUARDED_BY(lineage_mutex);
    /* PT_ROLE_..., or 0. Set by open; then changed in a leader's turn. In a reader, by a refresh.
     * */
    _Atomic unsigned role;
    _Atomic uint64_t met_epoch; /* as the manifest says */
    /* That the store is fenced for one as new as this is durable; 0: it is not, or not known to be. One that was
     * promoted since is in a newer one. Set by open, and by peat_fence(). */
    _Atomic uint64_t fenced_epoch;
    struct pt_history history;
    struct pt_feeds feeds;

    /* Counts up before the store leaves its history for another one (parting.h), on disk and in memory, and again when it has. */
    _Atomic uint64_t partings;

    /* Read-only stores: refresh.c's. */
    struct pt_mutex refresh_mutex;
    struct pt_log_reader *tail PT_GUARDED_BY(refresh_mutex);
    struct pt_log_point reached PT_GUARDED_BY(refresh_mutex); /* behind the newest that is shown */
    bool is_regained PT_GUARDED_BY(refresh_mutex); /* the tail has led there again */
    struct pt_id tail_nonces[PT_TAIL_NONCES] PT_GUARDED_BY(refresh_mutex); /* regions it passed */
    size_t tail_nonce_count PT_GUARDED_BY(refresh_mutex);
    uint64_t *held_generations PT_GUARDED_BY(refresh_mutex); /* owned: locked in the file */
    size_t held_count PT_GUARDED_BY(refresh_mutex);
};

static inline uint64_t pt_hash_seed(const struct peat_db *db)
{
    return atomic_load_explicit(&db->hash_seed, memory_order_relaxed);
}

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
    bool relief;             /* it only deletes, and there was no space without the reserve */
    bool seal;               /* afterwards, seal the active buffer if anything is in it */
    /* Not NULL: no batch, but this is done in its turn, by the leader, and no other with it. */
    enum peat_status (*alone)(struct peat_db *db, void *context);
    void *context; /* for alone */
    bool done;     /* guarded by queue.mutex */
    struct pt_condition wake;
    char error[256]; /* the leader's words, for the follower's thread */
};

void pt_commit_queue_init(struct pt_commit_queue *queue);
void pt_commit_queue_fini(struct pt_commit_queue *queue);
/* Commit @p batch, which drops the collections @p dropped_ids. As peat_write(), but for PEAT_REPLICAS: it is on this
 * store's disk then, and who wants more waits for it. */
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
/* The same for the merger, whom a leader may be waiting for: never waits. PEAT_DONE: somebody is
 * committing. */
enum peat_status pt_commit_seal_idle(struct peat_db *db);
/* Run @p alone as a leader, in its turn among the commits: nothing is committed meanwhile. */
enum peat_status pt_commit_alone(struct peat_db *db,
                                 enum peat_status (*alone)(struct peat_db *db, void *context),
                                 void *context);
/* For such a one: seal the active buffer if anything is in it. */
enum peat_status pt_commit_seal_alone(struct peat_db *db);
/* A new active buffer above the current stack, for a batch of @p count and @p size. */
enum peat_status pt_seal(struct peat_db *db, const struct pt_log_point *start, size_t count,
                         size_t size);

/* ---- position.c ---- */

struct peat_position pt_position_of(const struct pt_log_point *point);
/* The newest that readers in this process see. */
uint64_t pt_newest_commit(struct peat_db *db);
/* Groups of commits so far. */
uint64_t pt_groups_led(struct peat_db *db);
/* Wait until there were more than @p seen; or, in a process that only reads, until it is time to look
 * again. Also ends at @p until_us (UINT64_MAX: never), and when @p cancelled (may be NULL) is set and the queue's
 * condition "led" is broadcast. */
void pt_wait_for_group(struct peat_db *db, uint64_t seen, uint64_t until_us,
                       const _Atomic bool *cancelled);

/* ---- epochs.c ---- */

enum {
    PT_FIRST_EPOCH = 1,
    PT_EPOCH_SHIFT = 48, /* a segment's id carries the epoch in its upper bits */
    PT_EPOCH_MAX = 8191  /* so that ids stay below 2^62, see open.c */
};

void pt_epochs_init(struct peat_db *db);
void pt_epochs_fini(struct peat_db *db);
/* The lineage as it is now. */
struct pt_lineage pt_epochs_copy(struct peat_db *db);
/* A record of @p epoch comes behind @p point. The leader, or who replays. */
void pt_epochs_note(struct peat_db *db, uint64_t epoch, const struct pt_log_point *point);
/* An install took @p lineage on. */
void pt_epochs_set(struct peat_db *db, const struct pt_lineage *lineage);
/* What a manifest says that is taken over: @p lineage, behind which this process may know of more.
 * */
void pt_epochs_take(struct peat_db *db, const struct pt_lineage *lineage);
/* What @p manifest, which begins its log at its log's point, is to say of @p lineage: sets its
 * lineage, and its log's epoch, which may be newer than the point knew. */
void pt_epochs_describe(const struct pt_lineage *lineage, struct pt_manifest *manifest);

/* The manifest rules that begins @p epoch at @p point, in which the store takes commits of its
 * own. */
void pt_epochs_promoted(struct peat_db *db, uint64_t epoch, const struct pt_log_point *point);

/* ---- promote.c ---- */

static inline bool pt_role_is(const struct peat_db *db, unsigned role)
{
    return atomic_load_explicit(&db->role, memory_order_acquire) == role;
}
/* Opening: the role is the manifest's; make it what the options ask for. PEAT_NOT_WRITABLE. */
enum peat_status pt_role_open(struct peat_db *db);
/* Whether it takes commits of its own. PEAT_NOT_WRITABLE. */
enum peat_status pt_role_check_commits(const struct peat_db *db);

/* ---- open.c ---- */

/* Open a backup, full or an increment, for reading. An increment shows only what it changes. As
 * peat_open(). */
enum peat_status pt_open_backup(const char *path, struct peat_db **db_out);

/* The file alone, read-only, whatever its superblocks hold: no manifest is read, and there is no stack.
 * Release with peat_close(). As peat_open(). */
enum peat_status pt_open_to_salvage(const char *path, struct peat_db **db_out);

/* ---- pressure.c ---- */

enum { PT_LOG_BUDGET_BUFFERS = 3 /* a buffer is sealed at this part of log_size_max */ };

/* The leader, before a group of @p count operations of @p size bytes: wait, if need be, until memory
 * and the log's budget allow it; a little at a time as they run short. What stopped the flush or the
 * checkpoint it waits for; PEAT_NO_MEMORY: snapshots pin write buffers that were flushed long ago. */
enum peat_status pt_wait_for_room(struct peat_db *db, uint64_t count, uint64_t size);
/* The leader, before sealing: wait until the stack has a place for another buffer. */
enum peat_status pt_wait_for_place(struct peat_db *db);
/* Bytes of private memory accounted for. */
uint64_t pt_memory_used(const struct peat_db *db);
/* Of those, what work that is under way takes: take it before, give it back after. Any thread. */
static inline void pt_work_memory_take(struct peat_db *db, uint64_t size)
{
    atomic_fetch_add_explicit(&db->work_memory, size, memory_order_relaxed);
}
static inline void pt_work_memory_give(struct peat_db *db, uint64_t size)
{
    atomic_fetch_sub_explicit(&db->work_memory, size, memory_order_relaxed);
}
/* A one-shot write is about to copy @p size bytes: wait while others have taken too much. */
void pt_put_memory_take(struct peat_db *db, uint64_t size);
void pt_put_memory_give(struct peat_db *db, uint64_t size);
/* Look anew at what snapshots pin: after stacks were replaced or freed. Returns the bytes of write
 * buffers that were flushed and are still seen. */
uint64_t pt_memory_look(struct peat_db *db);
/* How large the active buffer may become: less as snapshots pin more. */
uint64_t pt_buffer_size_max(const struct peat_db *db);
/* Flushes can hardly keep up: merging has to wait. */
bool pt_write_pressed(const struct peat_db *db);

/* ---- reserve.c ---- */

/* The leader: make the reserve large enough for the log to cost so much before it is flushed. @p relief:
 * for a group that only deletes. PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_IO. */
enum peat_status pt_reserve_cover(struct peat_db *db, uint64_t cost, bool relief);
/* Have the merger take some steps, and put what they free into the reserve. Not for the leader, nor the merger. */
void pt_reserve_regain(struct peat_db *db);
/* The merger, before a merge: where space is short, what the last one freed is free on disk first. */
enum peat_status pt_reserve_before_merge(struct peat_db *db);
/* Whether the encoded batch @p payload only deletes. */
bool pt_reserve_is_relief(struct peat_bytes payload);
/* A commit, perhaps one that only @p deletes, found no space: flush, if that can free some of the log, or
 * @p anyway. Whether it did. Not for the leader. */
bool pt_reserve_relieve(struct peat_db *db, bool deletes, bool anyway);
/* What is left of the reserve by flushes, by merges, and by commits that only delete. */
uint64_t pt_reserve_for_flush(const struct peat_db *db);
uint64_t pt_reserve_for_merge(struct peat_db *db);
uint64_t pt_reserve_for_relief(struct peat_db *db);
/* How large segments may be: less where there is not much room, so that a merge can free them one by one
 * with what the reserve has. */
uint64_t pt_reserve_segment_size_max(struct peat_db *db);
/* Something was drawn. Any thread. */
void pt_reserve_drawn(struct peat_db *db);
/* The merger, before it gives free space back: fill the reserve; @p rest: and let go what is too much. */
void pt_reserve_tend(struct peat_db *db, bool rest);
/* Have a reserve once the store is open; let go of it, unless space is short, before it is closed. */
void pt_reserve_open(struct peat_db *db);
void pt_reserve_close(struct peat_db *db);

/* ---- install.c ---- */

/*
 * Make a manifest of @p runs with the log from @p log_start on rule, durably; segments have been
 * written, not synced. Retires what the last one named alone. PEAT_NO_SPACE, PEAT_IO: the old one
 * still rules... unless the superblock's write failed, which poisons.
 */
enum peat_status pt_install(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                            const struct pt_log_point *log_start,
                            const struct pt_history_change *change);
/* Make @p runs (a list on the heap with a pin on each, now the store's) the ruling manifest's. */
void pt_installed_set(struct peat_db *db, struct pt_run **runs, size_t run_count);
/* Publish, in memory, a stack of @p runs below the current buffers but the oldest @p flushed_count.
 * @p floor: a commit that the runs reach to, perhaps into the buffers; 0: no further than those flushed.
 * PEAT_NO_MEMORY: readers go on with the old stack, which shows the same. */
enum peat_status pt_publish_runs(struct peat_db *db, size_t flushed_count,
                                 struct pt_run *const *runs, size_t run_count, uint64_t floor);
/* Read the ruling manifest. The block behind its borrowed keys is *block_out, to pt_free(). */
enum peat_status pt_manifest_load(struct peat_db *db, const struct pt_superblock *superblock,
                                  struct pt_manifest *manifest_out, uint8_t **block_out);
/* Take over what @p manifest says of the store as a whole. */
void pt_manifest_take(struct peat_db *db, const struct pt_manifest *manifest);
/* Open the manifest's segments, sharing those that are known, and build its runs, each pinned once.
 * @p around_damage: a segment that cannot be opened is no failure; its slices give an error when read. */
enum peat_status pt_manifest_runs(struct peat_db *db, const struct pt_manifest *manifest,
                                  const struct pt_known_segments *known, bool around_damage,
                                  struct pt_run ***runs_out);
/* Its first half: *held_out has the segments in the order of the table. After a failure too: those
 * that could be opened, NULL for the others. Release with pt_held_list_free(). */
enum peat_status pt_manifest_hold(struct peat_db *db, const struct pt_manifest *manifest,
                                  const struct pt_known_segments *known, bool around_damage,
                                  struct pt_held_segment ***held_out);
void pt_held_list_free(struct pt_held_segment **held, size_t count);
/* Its second half. */
enum peat_status pt_manifest_build(const struct pt_manifest *manifest,
                                   struct pt_held_segment *const *held, struct pt_run ***runs_out);
void pt_runs_free(struct pt_run **runs, size_t run_count);
/* A list of its own with a pin on each of @p runs, to be given to pt_runs_free(). PEAT_NO_MEMORY. */
enum peat_status pt_runs_copy(struct pt_run *const *runs, size_t run_count,
                              struct pt_run ***copy_out);

/* ---- checkpoint.c ---- */

void pt_checkpointer_init(struct pt_checkpointer *checkpointer);
void pt_checkpointer_fini(struct pt_checkpointer *checkpointer);
enum peat_status pt_checkpointer_start(struct peat_db *db);
void pt_checkpointer_stop(struct peat_db *db); /* after the one at hand */
/* Make durable what has been published so far: the current stack's runs, with the log from its oldest
 * buffer on. Any thread. As pt_install(). */
enum peat_status pt_checkpoint(struct peat_db *db);
/* The same with the log from @p log_start on, which must be behind all commits. */
enum peat_status pt_checkpoint_at(struct peat_db *db, const struct pt_log_point *log_start);
/* Make a checkpoint in any case, with the change of the history that @p choose sets; it is called where
 * nothing else changes the history, and what it returns but PEAT_OK is all that happens. */
enum peat_status pt_checkpoint_change(struct peat_db *db,
                                      enum peat_status (*choose)(struct peat_db *db, void *context,
                                                                 struct pt_history_change *change),
                                      void *context);
/* Install what @p stack has in runs, with the log from @p log_start on, and show it in place of the
 * current one, whose commits are all in runs: what the manifest then shows that rules is kept as
 * @p change says. The stack is the shelf's, if this succeeds. The merger's thread. */
enum peat_status pt_checkpoint_replace(struct peat_db *db, struct pt_stack *stack,
                                       const struct pt_log_point *log_start,
                                       const struct pt_history_change *change);
/* Have a checkpoint made by the thread that makes them. */
void pt_checkpoint_ask(struct peat_db *db);
/* The merger, between two jobs: have a checkpoint made if one is due. PEAT_TIMEOUT: the next job has to
 * wait for it, ask again; or what stopped it. */
enum peat_status pt_checkpoint_note(struct peat_db *db);

/* ---- flush.c, sweep.c, merger.c, syncer.c, refresh.c ---- */

/* Flush the sealed buffers, not durably. PEAT_DONE: there are none. */
enum peat_status pt_flush_step(struct peat_db *db);
/* One step of merging, not durably, if policy wants any. PEAT_DONE: nothing to merge. */
enum peat_status pt_merge_step(struct peat_db *db, bool idle);
/* A flush has written @p size bytes: note how much is to be merged before the next. */
void pt_merge_owe(struct peat_db *db, uint64_t size);
/* No sweep is under way any more. The merger's thread, or before there is one. */
void pt_merge_forget(struct peat_db *db);
/* The same of the one over the newest runs: other runs than those that it merges have gone. */
void pt_merge_forget_newest(struct peat_db *db);

enum peat_status pt_merger_start(struct peat_db *db);
void pt_merger_stop(struct peat_db *db); /* after the job at hand */
void pt_merger_wake(struct peat_db *db);
/* Whether the active buffer is worth being flushed for the memory that it takes, once commits have
 * ceased: then the merger has to be woken, to see to it. */
bool pt_seal_worth(struct peat_db *db);
/* Wait until no sealed buffer is left (@p idle: until nothing at all is left to do), UINT64_MAX: for as long as it
 * takes. PEAT_TIMEOUT, or what stopped a job that began since: one that fails is tried again after a second only,
 * so who waits for less, again and again, never learns of it this way. */
enum peat_status pt_merger_wait(struct peat_db *db, bool idle, uint64_t until_us);
/* The merger's thread, before a job that writes: free what can be freed, and see that checkpoints keep
 * up. PEAT_TIMEOUT: they do not yet, ask again. PEAT_POISONED; what stopped the checkpoint. */
enum peat_status pt_merger_make_room(struct peat_db *db);
/* Seal what is committed and wait until it is flushed, not durably. */
enum peat_status pt_merger_flush(struct peat_db *db);
/* What stopped the merger's last job, if that was a flush or the checkpoint before one. */
enum peat_status pt_merger_flush_status(struct peat_db *db);
/* Have @p job done by the merger's thread, between two of its jobs, and return what it came to. */
enum peat_status pt_merger_run(struct peat_db *db,
                               enum peat_status (*job)(struct peat_db *db, void *context),
                               void *context);

enum peat_status pt_syncer_start(struct peat_db *db);
void pt_syncer_stop(struct peat_db *db);
/* Something was appended: sync within the interval. Cheap when it knows already. @p prepare: and make
 * the next region ready now. */
void pt_syncer_note(struct peat_db *db, bool prepare);

/* A stack of @p runs below one empty buffer, which goes on at @p start. It is the caller's. PEAT_NO_MEMORY. */
enum peat_status pt_stack_begin(struct peat_db *db, size_t capacity, uint64_t hash_seed,
                                const struct pt_log_point *start, struct pt_run *const *runs,
                                size_t run_count, struct pt_stack **stack_out);
/* The first stack, with one empty buffer. */
enum peat_status pt_first_stack(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                                const struct pt_log_point *start);
/* Open or bring up to date a read-only store. */
enum peat_status pt_refresh(struct peat_db *db);

#endif

/*
 * Checkpoints: bringing the manifest that rules on disk up to what the stack shows.
 *
 * Flushes and merges publish what they made at once, in memory, and go on; a checkpoint installs the
 * stack as it is then, in a thread of its own, so that the merger does not wait for the disk, and what
 * several jobs have made is synced at once. What a merge has already replaced is perhaps never
 * written to disk.
 *
 *  1. What the ruling manifest does not name yet is in the log from its start on: a crash loses no
 *     commit, only work, which is repeated.
 *  2. What the ruling manifest still names takes its space until the next checkpoint, though no stack
 *     shows it any more (install.c (4)). So one is due as soon as a write buffer's worth of segments
 *     was written, and the merger waits while there is much more than that.
 *  3. A store at rest is checkpointed by the merger itself.
 *  4. Checkpoints follow each other, each of a newer stack: the mutex is held from looking at the
 *     stack to the end of the install.
 */
#include "core/base/bug.h"
#include "core/base/clock.h"
#include "core/db/db.h"

enum {
    WAIT_SHARE = 4,    /* times what makes one due: where the merger waits, */
    OWED_SHARE = 2,    /* and where it waits when there is much to free; */
    WAIT_US = 100000,  /* so long at a time */
    RETRY_US = 1000000 /* after a failure */
};

static uint64_t due_size(const struct peat_db *db)
{
    return db->options.write_buffer_size;
}

/* Bytes of segments written so far. */
static uint64_t written_size(const struct peat_db *db)
{
    return atomic_load_explicit(&db->counters.bytes_flushed, memory_order_relaxed) +
           atomic_load_explicit(&db->counters.bytes_merged, memory_order_relaxed);
}

/* And since the last install. */
static uint64_t new_size(const struct peat_db *db)
{
    /* In this order: the difference is never negative. */
    uint64_t installed =
        atomic_load_explicit(&db->checkpointer.installed_size, memory_order_acquire);

    return written_size(db) - installed;
}

/* Up to where the merger need not wait. */
static uint64_t wait_size(const struct peat_db *db)
{
    return due_size(db) * (db->merger.whole_low.data == NULL ? WAIT_SHARE : OWED_SHARE);
}

void pt_checkpointer_init(struct pt_checkpointer *checkpointer)
{
    pt_mutex_init(&checkpointer->install_mutex);
    pt_mutex_init(&checkpointer->mutex);
    pt_condition_init(&checkpointer->wake);
    pt_condition_init(&checkpointer->done);
}

void pt_checkpointer_fini(struct pt_checkpointer *checkpointer)
{
    pt_condition_fini(&checkpointer->done);
    pt_condition_fini(&checkpointer->wake);
    pt_mutex_fini(&checkpointer->mutex);
    pt_mutex_fini(&checkpointer->install_mutex);
}

static const struct pt_history_change no_change = {.name = NULL};

/* Install the stack as it is now, with the log from @p log_start on: NULL for where its oldest buffer
 * begins. */
static enum peat_status install_stack_locked(struct peat_db *db,
                                             const struct pt_log_point *log_start,
                                             const struct pt_history_change *change)
    PT_REQUIRES(db->checkpointer.install_mutex)
{
    struct pt_checkpointer *checkpointer = &db->checkpointer;
    /* Both before the stack: what is published in between counts as not yet installed. */
    uint64_t published = atomic_load_explicit(&checkpointer->published, memory_order_acquire);
    uint64_t size = written_size(db);
    struct pt_run **runs = NULL;
    struct pt_log_point oldest;
    size_t run_count;
    enum peat_status status;
    bool wanted;

    if (log_start == NULL && published == checkpointer->installed && change == &no_change &&
        !atomic_load_explicit(&db->feeds.install_wanted, memory_order_acquire)) {
        /* What was written all the same is of a job that failed. */
        atomic_store_explicit(&checkpointer->installed_size, size, memory_order_release);
        return PEAT_OK;
    }
    /* The runs alone: buffers that are flushed meanwhile need not wait for us to be freed. */
    status = pt_shelf_copy_runs(&db->shelf, &runs, &run_count, &oldest);
    if (status < 0)
        return status;
    wanted = atomic_exchange_explicit(&db->feeds.install_wanted, false, memory_order_relaxed);
    status = pt_install(db, runs, run_count, log_start == NULL ? &oldest : log_start, change);
    if (status == PEAT_OK) {
        checkpointer->installed = published;
        atomic_store_explicit(&checkpointer->installed_size, size, memory_order_release);
    } else if (wanted) {
        atomic_store_explicit(&db->feeds.install_wanted, true, memory_order_relaxed);
    }
    pt_runs_free(runs, run_count);
    return status;
}

enum peat_status pt_checkpoint(struct peat_db *db)
{
    enum peat_status status;

    pt_mutex_lock(&db->checkpointer.install_mutex);
    status = install_stack_locked(db, NULL, &no_change);
    pt_mutex_unlock(&db->checkpointer.install_mutex);
    if (status == PEAT_OK)
        pt_arena_reclaim(db->arena, atomic_load_explicit(&db->generation, memory_order_acquire));
    return status;
}

enum peat_status pt_checkpoint_at(struct peat_db *db, const struct pt_log_point *log_start)
{
    enum peat_status status;

    pt_mutex_lock(&db->checkpointer.install_mutex);
    status = install_stack_locked(db, log_start, &no_change);
    pt_mutex_unlock(&db->checkpointer.install_mutex);
    return status;
}

enum peat_status pt_checkpoint_change(struct peat_db *db,
                                      enum peat_status (*choose)(struct peat_db *db, void *context,
                                                                 struct pt_history_change *change),
                                      void *context)
{
    struct pt_history_change change = no_change;
    enum peat_status status;

    pt_mutex_lock(&db->checkpointer.install_mutex);
    status = choose(db, context, &change);
    if (status == PEAT_OK)
        status = install_stack_locked(db, NULL, &change);
    pt_mutex_unlock(&db->checkpointer.install_mutex);
    return status;
}

/* The manifest of @p stack rules: show it. No other stack was published since the mutex was taken. */
static void publish_locked(struct peat_db *db, struct pt_stack *stack)
    PT_REQUIRES(db->checkpointer.install_mutex)
{
    struct pt_checkpointer *checkpointer = &db->checkpointer;

    stack->generation = atomic_load_explicit(&db->generation, memory_order_relaxed);
    pt_mutex_lock(&db->shelf.mutex);
    PT_ASSERT(db->shelf.current->buffer_count == 1);
    pt_shelf_publish_locked(&db->shelf, stack);
    pt_mutex_unlock(&db->shelf.mutex);
    checkpointer->installed =
        atomic_fetch_add_explicit(&checkpointer->published, 1, memory_order_release) + 1;
}

enum peat_status pt_checkpoint_replace(struct peat_db *db, struct pt_stack *stack,
                                       const struct pt_log_point *log_start,
                                       const struct pt_history_change *change)
{
    enum peat_status status = PEAT_OK;

    pt_mutex_lock(&db->checkpointer.install_mutex);
    /* Where the state before is kept, the manifest that rules has to show the last commit. */
    if (change->is_revert && db->log_start.commit + 1 < log_start->commit)
        status = install_stack_locked(db, NULL, &no_change);
    if (status == PEAT_OK)
        status = pt_install(db, stack->runs, stack->run_count, log_start, change);
    if (status == PEAT_OK)
        publish_locked(db, stack);
    pt_mutex_unlock(&db->checkpointer.install_mutex);
    return status;
}

/* ---- The thread ---- */

/* Tell the merger what came of it. After a failure pause: a full disk is no busy loop. */
static void report_locked(struct pt_checkpointer *checkpointer, enum peat_status status)
    PT_REQUIRES(checkpointer->mutex)
{
    uint64_t until_us = pt_clock_monotonic_us() + RETRY_US;

    checkpointer->status = status;
    if (status < 0)
        (void)strncpy(checkpointer->error, peat_last_error(), sizeof(checkpointer->error) - 1);
    pt_condition_broadcast(&checkpointer->done);
    if (status < 0) {
        checkpointer->wanted = true;
        while (!checkpointer->stop &&
               pt_condition_wait_until(&checkpointer->wake, &checkpointer->mutex, until_us))
            ;
    }
}

static void *run(void *context)
{
    struct peat_db *db = context;
    struct pt_checkpointer *checkpointer = &db->checkpointer;

    pt_mutex_lock(&checkpointer->mutex);
    while (!checkpointer->stop) {
        enum peat_status status;

        if (!checkpointer->wanted) {
            pt_condition_wait(&checkpointer->wake, &checkpointer->mutex);
            continue;
        }
        checkpointer->wanted = false;
        pt_mutex_unlock(&checkpointer->mutex);
        status = pt_checkpoint(db);
        pt_mutex_lock(&checkpointer->mutex);
        report_locked(checkpointer, status);
    }
    pt_mutex_unlock(&checkpointer->mutex);
    return NULL;
}

enum peat_status pt_checkpointer_start(struct peat_db *db)
{
    return pt_thread_start(&db->checkpointer.thread, "peat-save", run, db);
}

void pt_checkpointer_stop(struct peat_db *db)
{
    pt_mutex_lock(&db->checkpointer.mutex);
    db->checkpointer.stop = true;
    pt_condition_signal(&db->checkpointer.wake);
    pt_mutex_unlock(&db->checkpointer.mutex);
    pt_thread_join(&db->checkpointer.thread);
}

void pt_checkpoint_ask(struct peat_db *db)
{
    struct pt_checkpointer *checkpointer = &db->checkpointer;

    pt_mutex_lock(&checkpointer->mutex);
    checkpointer->wanted = true;
    pt_condition_signal(&checkpointer->wake);
    pt_mutex_unlock(&checkpointer->mutex);
}

enum peat_status pt_checkpoint_note(struct peat_db *db)
{
    struct pt_checkpointer *checkpointer = &db->checkpointer;
    char error[sizeof(checkpointer->error)];
    enum peat_status status;

    if (new_size(db) < due_size(db) &&
        pt_log_budget_sealed(&db->log_budget) < db->options.log_size_max / PT_LOG_BUDGET_BUFFERS)
        return PEAT_OK;
    pt_mutex_lock(&checkpointer->mutex);
    if (!checkpointer->wanted) {
        checkpointer->wanted = true;
        pt_condition_signal(&checkpointer->wake);
    }
    if (new_size(db) >= wait_size(db))
        (void)pt_condition_wait_until(&checkpointer->done, &checkpointer->mutex,
                                      pt_clock_monotonic_us() + WAIT_US);
    status = checkpointer->status;
    memcpy(error, checkpointer->error, sizeof(error));
    pt_mutex_unlock(&checkpointer->mutex);
    if (new_size(db) < wait_size(db))
        return PEAT_OK;
    return status < 0 ? pt_fail_passed_on(status, error) : PEAT_TIMEOUT;
}

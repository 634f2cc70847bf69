/*
 * The merger: the one background thread that rewrites. It looks for work in this order:
 *
 *   1. free what nobody sees any more
 *   2. flush sealed write buffers
 *   3. one step of merging that the load asks for, or of the sweep that is under way
 *   4. after IDLE_US without a commit: one step towards a single run
 *
 * and waits when there is none. A job that fails is tried again after RETRY_US at the earliest, so
 * that a full disk is no busy loop.
 */
#include "core/base/clock.h"
#include "core/db/db.h"

enum {
    IDLE_US = 200000,
    REAP_US = 50000, /* how often to look whether replaced stacks are unpinned */
    RETRY_US = 1000000
};

/* Free what can be freed. */
static void clean_up(struct peat_db *db)
{
    (void)pt_shelf_reap(&db->shelf);
    pt_arena_reclaim(db->arena, atomic_load_explicit(&db->generation, memory_order_acquire));
}

static uint64_t commit_count(struct peat_db *db)
{
    return atomic_load_explicit(&db->counters.commits, memory_order_relaxed);
}

/* One job, if there is any: PEAT_DONE if not. A merge that failed is not tried again before its time;
 * flushes go on meanwhile. */
static enum peat_status work(struct peat_db *db, bool idle)
{
    struct pt_merger *merger = &db->merger;
    enum peat_status status;

    if (atomic_load_explicit(&db->poisoned, memory_order_acquire)) {
        /* Which manifest rules is perhaps not known: no space may be used again. */
        status = pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    } else {
        clean_up(db);
        status = pt_flush_step(db);
    }
    if (status < 0)
        merger->merge_at_us = 0; /* what pauses is the flush, see rest_locked() */
    if (status != PEAT_DONE || pt_clock_monotonic_us() < merger->merge_at_us)
        return status;
    status = pt_merge_step(db, idle);
    merger->merge_at_us = status < 0 ? pt_clock_monotonic_us() + RETRY_US : 0;
    return status;
}

/* Tell who waits what came of the job. */
static void report_locked(struct pt_merger *merger, enum peat_status status, bool idle)
    PT_REQUIRES(merger->mutex)
{
    merger->jobs++;
    merger->status = PEAT_OK;
    if (status < 0) {
        merger->status = status;
        (void)strncpy(merger->error, peat_last_error(), sizeof(merger->error) - 1);
    }
    merger->idle = status == PEAT_DONE && idle && merger->merge_at_us == 0;
    pt_condition_broadcast(&merger->done);
}

/* Sleep until something is to be done, or looked at again. */
static void rest_locked(struct pt_merger *merger, enum peat_status status, bool idle, bool reap)
    PT_REQUIRES(merger->mutex)
{
    uint64_t now_us = pt_clock_monotonic_us();

    if (status < 0 && merger->merge_at_us == 0) { /* a flush: not earlier, however often woken */
        while (!merger->stop &&
               pt_condition_wait_until(&merger->wake, &merger->mutex, now_us + RETRY_US))
            ;
        return;
    }
    if (merger->work || merger->stop)
        return;
    if (merger->merge_at_us != 0)
        (void)pt_condition_wait_until(&merger->wake, &merger->mutex, merger->merge_at_us);
    else if (reap)
        (void)pt_condition_wait_until(&merger->wake, &merger->mutex, now_us + REAP_US);
    else if (!idle)
        (void)pt_condition_wait_until(&merger->wake, &merger->mutex, now_us + IDLE_US);
    else
        pt_condition_wait(&merger->wake, &merger->mutex);
}

static void *run(void *context)
{
    struct peat_db *db = context;
    struct pt_merger *merger = &db->merger;
    uint64_t seen_commits = commit_count(db);
    uint64_t seen_us = pt_clock_monotonic_us();

    pt_mutex_lock(&merger->mutex);
    while (!merger->stop) {
        enum peat_status status;
        bool idle;

        if (commit_count(db) != seen_commits) {
            seen_commits = commit_count(db);
            seen_us = pt_clock_monotonic_us();
        }
        idle = merger->hurry > 0 || pt_clock_monotonic_us() - seen_us >= IDLE_US;
        merger->work = false;
        pt_mutex_unlock(&merger->mutex);
        status = work(db, idle);
        if (status == PEAT_DONE && idle) /* at rest: what is free goes back to the filesystem */
            (void)pt_arena_trim(db->arena);
        pt_mutex_lock(&merger->mutex);
        report_locked(merger, status, idle);
        if (status != PEAT_OK)
            rest_locked(merger, status, idle,
                        atomic_load_explicit(&db->shelf.replaced_count, memory_order_relaxed) > 0);
    }
    pt_mutex_unlock(&merger->mutex);
    return NULL;
}

enum peat_status pt_merger_start(struct peat_db *db)
{
    return pt_thread_start(&db->merger.thread, "peat-merge", run, db);
}

void pt_merger_stop(struct peat_db *db)
{
    pt_mutex_lock(&db->merger.mutex);
    db->merger.stop = true;
    pt_condition_signal(&db->merger.wake);
    pt_mutex_unlock(&db->merger.mutex);
    pt_thread_join(&db->merger.thread);
}

void pt_merger_wake(struct peat_db *db)
{
    pt_mutex_lock(&db->merger.mutex);
    db->merger.work = true;
    db->merger.idle = false;
    pt_condition_signal(&db->merger.wake);
    pt_mutex_unlock(&db->merger.mutex);
}

static bool sealed_left(struct peat_db *db)
{
    bool left;

    pt_mutex_lock(&db->shelf.mutex);
    left = db->shelf.current->buffer_count > 1;
    pt_mutex_unlock(&db->shelf.mutex);
    return left;
}

/* Hand on what stopped the merger, in its words. */
static enum peat_status merger_fail(struct pt_merger *merger, enum peat_status status)
{
    char error[sizeof(merger->error)];

    pt_mutex_lock(&merger->mutex);
    memcpy(error, merger->error, sizeof(error));
    pt_mutex_unlock(&merger->mutex);
    return pt_fail_passed_on(status, error);
}

enum peat_status pt_merger_wait(struct peat_db *db, bool idle, uint64_t until_us)
{
    struct pt_merger *merger = &db->merger;
    enum peat_status status = PEAT_OK;
    uint64_t jobs_before;

    pt_mutex_lock(&merger->mutex);
    jobs_before = merger->jobs;
    merger->hurry += idle;
    merger->work = true;
    merger->idle = false;
    pt_condition_signal(&merger->wake);
    while (idle ? !merger->idle : sealed_left(db)) {
        if (merger->jobs > jobs_before + 1 && merger->status < 0) {
            status = merger->status;
            break;
        }
        if (!pt_condition_wait_until(&merger->done, &merger->mutex, until_us)) {
            status = PEAT_TIMEOUT;
            break;
        }
    }
    merger->hurry -= idle;
    pt_mutex_unlock(&merger->mutex);
    if (status < 0)
        return merger_fail(merger, status);
    return status;
}

enum peat_status pt_merger_status(struct peat_db *db)
{
    enum peat_status status;

    pt_mutex_lock(&db->merger.mutex);
    status = db->merger.status;
    pt_mutex_unlock(&db->merger.mutex);
    return status < 0 ? merger_fail(&db->merger, status) : PEAT_OK;
}

enum peat_status peat_flush(struct peat_db *db)
{
    enum peat_status status;

    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only");
    status = pt_commit_seal(db);
    while (status == PEAT_OK || status == PEAT_TIMEOUT) {
        status = pt_merger_wait(db, false, pt_clock_monotonic_us() + 60000000);
        if (status == PEAT_OK)
            break;
    }
    return status;
}

enum peat_status peat_wait_idle(struct peat_db *db, unsigned timeout_ms)
{
    enum peat_status status;

    if (db->read_only)
        return PEAT_OK;
    status = pt_commit_seal(db);
    if (status == PEAT_OK)
        status = pt_merger_wait(db, true, pt_clock_monotonic_us() + (uint64_t)timeout_ms * 1000);
    return status;
}

/*
 * The merger: the one background thread that rewrites. It looks for work in this order:
 *
 *   1. free what nobody sees any more
 *   2. flush sealed write buffers
 *   3. one step of merging that the load asks for, or of the sweep that is under way
 *   4. after IDLE_US without a commit: one step towards a single run
 *   5. then a checkpoint, kept states that have expired go, and what is free goes back to the
 *      filesystem
 *   6. after SEAL_US without a commit: the active write buffer, if it is large, is sealed, to be flushed.
 *      So an idle store takes little memory, and little time to recover
 *
 * and waits when there is none. A job that fails is tried again after RETRY_US at the earliest, so
 * that a full disk is no busy loop.
 */
#include "core/base/clock.h"
#include "core/db/db.h"

enum {
    IDLE_US = 200000,
    SEAL_US = 2000000,
    TRIM_SIZE_MIN = 16 << 20,
    SEAL_MEMORY_MIN = 1 << 20, /* bytes: an active buffer below costs little */
    REAP_US = 50000,           /* how often to look whether replaced stacks are unpinned */
    RETRY_US = 1000000,
    RETRY_US_MAX = 8000000
};

/*
 * Give free space back to the filesystem while the store is busy, if there is more than steady work
 * will use again; while there is much garbage, nearly all of it. (At rest all of it goes back.)
 */
static void trim_busy(struct peat_db *db)
{
    struct pt_arena_space space;
    uint64_t used;
    uint64_t spare;

    pt_arena_space(db->arena, &space);
    used = space.file_size - space.free_size;
    spare = db->merger.whole_low.data != NULL ? used / 16 : used / 4 + TRIM_SIZE_MIN;
    if (space.allocated_size > used && space.allocated_size - used > spare)
        (void)pt_arena_trim(db->arena);
}

/* Free what can be freed. */
static void clean_up(struct peat_db *db)
{
    (void)pt_shelf_reap(&db->shelf);
    (void)pt_memory_look(db);
    pt_arena_reclaim(db->arena, atomic_load_explicit(&db->generation, memory_order_acquire));
    pt_reserve_tend(db, false);
    trim_busy(db);
}

enum peat_status pt_merger_make_room(struct peat_db *db)
{
    /* Which manifest rules is perhaps not known: no space may be used again. */
    if (atomic_load_explicit(&db->poisoned, memory_order_acquire))
        return pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    clean_up(db);
    return pt_checkpoint_note(db);
}

static uint64_t commit_count(struct peat_db *db)
{
    return atomic_load_explicit(&db->counters.commits, memory_order_relaxed);
}

/* A merge has failed. Each time in a row it pauses longer: what it writes in vain is written for ever
 * where the disk stays full. */
static void pause_merging(struct pt_merger *merger)
{
    merger->pause_us = merger->pause_us == 0 ? RETRY_US : 2 * merger->pause_us;
    if (merger->pause_us > RETRY_US_MAX)
        merger->pause_us = RETRY_US_MAX;
    merger->merge_at_us = pt_clock_monotonic_us() + merger->pause_us;
}

/* Flush, unless merging comes first: see pt_merge_owe(). */
static enum peat_status flush(struct peat_db *db, bool idle)
{
    struct pt_merger *merger = &db->merger;
    const _Atomic uint64_t *flushed = &db->counters.bytes_flushed;
    uint64_t before = atomic_load_explicit(flushed, memory_order_relaxed);
    enum peat_status status = PEAT_DONE;

    if (merger->owed_size > 0 && merger->merge_at_us == 0)
        status = pt_merge_step(db, idle);
    if (status < 0) { /* flushes go on */
        pause_merging(merger);
        status = PEAT_DONE;
    }
    if (status == PEAT_DONE) {
        status = pt_flush_step(db);
        pt_merge_owe(db, atomic_load_explicit(flushed, memory_order_relaxed) - before);
    }
    return status;
}

/* One job, if there is any: PEAT_DONE if not. A merge that failed is not tried again before its time;
 * flushes go on meanwhile. */
static enum peat_status work(struct peat_db *db, bool idle, bool flush_only)
{
    struct pt_merger *merger = &db->merger;
    enum peat_status status;

    if (flush_only)
        return pt_flush_step(db);
    status = pt_merger_make_room(db);
    if (status == PEAT_TIMEOUT)
        return PEAT_OK;
    if (status == PEAT_OK)
        status = flush(db, idle);
    if (status < 0)
        merger->merge_at_us = 0; /* what pauses is the flush, see rest_locked() */
    if (status != PEAT_DONE || pt_clock_monotonic_us() < merger->merge_at_us)
        return status;
    status = pt_merge_step(db, idle);
    if (status < 0)
        pause_merging(merger);
    else
        merger->merge_at_us = merger->pause_us = 0;
    if (status == PEAT_DONE && idle) {
        status = pt_checkpoint(db);
        if (status == PEAT_OK)
            status = pt_history_expire(db);
        return status == PEAT_OK ? PEAT_DONE : status;
    }
    return status;
}

/* A call that another thread waits for; on its stack. */
struct pt_merger_call {
    struct pt_merger_call *next;
    enum peat_status (*job)(struct peat_db *db, void *context);
    void *context;
    bool done; /* guarded by merger.mutex, as what follows */
    enum peat_status status;
    char error[256]; /* its words, for the waiting thread */
};

/* Do what others want done between two jobs. */
static void answer_calls_locked(struct peat_db *db, struct pt_merger *merger)
    PT_REQUIRES(merger->mutex)
{
    while (merger->calls != NULL) {
        struct pt_merger_call *call = merger->calls;
        enum peat_status status;

        merger->calls = call->next;
        pt_mutex_unlock(&merger->mutex);
        status = call->job(db, call->context);
        pt_mutex_lock(&merger->mutex);
        call->status = status;
        if (status < 0)
            (void)strncpy(call->error, peat_last_error(), sizeof(call->error) - 1);
        call->done = true; /* its thread frees it once it sees this */
        merger->work = true;
        pt_condition_broadcast(&merger->done);
    }
}

/* Tell who waits what came of the job. What has changed during it, it may not have seen: then it was no rest. */
static void report_locked(struct pt_merger *merger, enum peat_status status, bool idle)
    PT_REQUIRES(merger->mutex)
{
    merger->jobs++;
    merger->status = PEAT_OK;
    merger->flush_status = PEAT_OK;
    if (status < 0) {
        merger->status = status;
        if (merger->merge_at_us == 0)
            merger->flush_status = status;
        (void)strncpy(merger->error, peat_last_error(), sizeof(merger->error) - 1);
    }
    merger->idle = status == PEAT_DONE && idle && merger->merge_at_us == 0 && !merger->work;
    pt_condition_broadcast(&merger->done);
}

/* Sleep until something is to be done, or looked at again; @p due_us: at rest, at most so long. */
static void rest_locked(struct pt_merger *merger, enum peat_status status, bool idle, bool reap,
                        uint64_t due_us) PT_REQUIRES(merger->mutex)
{
    uint64_t now_us = pt_clock_monotonic_us();

    if (status < 0 && merger->merge_at_us == 0) { /* a flush: not earlier, however often woken */
        while (!merger->stop && merger->calls == NULL &&
               pt_condition_wait_until(&merger->wake, &merger->mutex, now_us + RETRY_US))
            ;
        return;
    }
    if (merger->work || merger->stop || merger->calls != NULL)
        return;
    if (merger->merge_at_us != 0)
        (void)pt_condition_wait_until(&merger->wake, &merger->mutex, merger->merge_at_us);
    else if (reap)
        (void)pt_condition_wait_until(&merger->wake, &merger->mutex, now_us + REAP_US);
    else if (!idle)
        (void)pt_condition_wait_until(&merger->wake, &merger->mutex, now_us + IDLE_US);
    else if (due_us < UINT64_MAX)
        (void)pt_condition_wait_until(&merger->wake, &merger->mutex, now_us + due_us);
    else
        pt_condition_wait(&merger->wake, &merger->mutex);
}

bool pt_seal_worth(struct peat_db *db)
{
    bool empty;

    if (atomic_load_explicit(&db->buffer_memory, memory_order_relaxed) <=
        atomic_load_explicit(&db->pinned_memory, memory_order_relaxed) + SEAL_MEMORY_MIN)
        return false;
    pt_mutex_lock(&db->shelf.mutex);
    empty = pt_write_buffer_entry_count(db->shelf.current->buffers[0]->buffer) == 0;
    pt_mutex_unlock(&db->shelf.mutex);
    return !empty;
}

/* There is nothing else to do since @p seen_us. PEAT_OK: sealed, so now there is. PEAT_DONE: not yet;
 * *due_us_out is lowered to how long from now to ask again. */
static enum peat_status seal_idle(struct peat_db *db, uint64_t seen_us, uint64_t *due_us_out)
{
    uint64_t now_us = pt_clock_monotonic_us();

    if (!pt_seal_worth(db))
        return PEAT_DONE;
    if (now_us < seen_us + SEAL_US) {
        *due_us_out = seen_us + SEAL_US - now_us;
        return PEAT_DONE;
    }
    *due_us_out = SEAL_US;
    return pt_commit_seal_idle(db) == PEAT_OK ? PEAT_OK : PEAT_DONE;
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
        uint64_t due_us = UINT64_MAX; /* until there is something to do again */
        bool flush_only = merger->flush_only;
        bool idle;

        answer_calls_locked(db, merger);
        if (commit_count(db) != seen_commits || merger->flush_waits > 0) {
            seen_commits = commit_count(db);
            seen_us = pt_clock_monotonic_us();
        }
        idle = !flush_only && (merger->hurry > 0 || pt_clock_monotonic_us() - seen_us >= IDLE_US);
        merger->work = false;
        pt_mutex_unlock(&merger->mutex);
        status = work(db, idle, flush_only);
        if (status == PEAT_DONE && idle) { /* at rest: what is free goes back to the filesystem */
            pt_reserve_tend(db, true);
            (void)pt_arena_trim(db->arena);
            status = seal_idle(db, seen_us, &due_us);
        }
        if (status == PEAT_DONE && idle) {
            uint64_t expiry_us = pt_history_due_us(db, pt_clock_wall_us());

            due_us = expiry_us < due_us ? expiry_us : due_us;
        }
        pt_mutex_lock(&merger->mutex);
        report_locked(merger, status, idle);
        if (status != PEAT_OK)
            rest_locked(merger, status, idle,
                        atomic_load_explicit(&db->shelf.replaced_count, memory_order_relaxed) > 0,
                        due_us);
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
    merger->flush_waits += !idle;
    merger->work = true;
    merger->idle = false;
    pt_condition_signal(&merger->wake);
    while (idle ? !merger->idle : sealed_left(db)) {
        if (merger->jobs > jobs_before + 1 && merger->status < 0) {
            status = merger->status;
            break;
        }
        if (until_us == UINT64_MAX) {
            pt_condition_wait(&merger->done, &merger->mutex);
        } else if (!pt_condition_wait_until(&merger->done, &merger->mutex, until_us)) {
            status = PEAT_TIMEOUT;
            break;
        }
    }
    merger->hurry -= idle;
    merger->flush_waits -= !idle;
    pt_mutex_unlock(&merger->mutex);
    if (status < 0)
        return merger_fail(merger, status);
    return status;
}

enum peat_status pt_merger_flush_status(struct peat_db *db)
{
    enum peat_status status;

    pt_mutex_lock(&db->merger.mutex);
    status = db->merger.flush_status;
    pt_mutex_unlock(&db->merger.mutex);
    return status < 0 ? merger_fail(&db->merger, status) : PEAT_OK;
}

enum peat_status pt_merger_run(struct peat_db *db,
                               enum peat_status (*job)(struct peat_db *db, void *context),
                               void *context)
{
    struct pt_merger *merger = &db->merger;
    struct pt_merger_call call = {.job = job, .context = context};
    struct pt_merger_call **link;

    pt_mutex_lock(&merger->mutex);
    link = &merger->calls;
    while (*link != NULL)
        link = &(*link)->next;
    *link = &call;
    merger->idle = false;
    pt_condition_signal(&merger->wake);
    while (!call.done)
        pt_condition_wait(&merger->done, &merger->mutex);
    pt_mutex_unlock(&merger->mutex);
    return call.status < 0 ? pt_fail_passed_on(call.status, call.error) : call.status;
}

enum peat_status pt_merger_flush(struct peat_db *db)
{
    enum peat_status status = pt_commit_seal(db);

    return status < 0 ? status : pt_merger_wait(db, false, UINT64_MAX);
}

enum peat_status peat_flush(struct peat_db *db)
{
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only");
    status = pt_merger_flush(db);
    if (status < 0)
        return status;
    pt_feeds_want_durable(db);
    return pt_checkpoint(db);
}

enum peat_status peat_wait_idle(struct peat_db *db, unsigned timeout_ms)
{
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    if (db->read_only)
        return PEAT_OK;
    status = pt_commit_seal(db);
    if (status == PEAT_OK)
        status = pt_merger_wait(db, true, pt_clock_monotonic_us() + (uint64_t)timeout_ms * 1000);
    return status;
}

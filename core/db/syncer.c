/* The syncer: the thread that brings the log to disk in the background and keeps a region ready. */
#include "core/base/clock.h"
#include "core/db/db.h"

static void sync_log(struct peat_db *db)
{
    enum peat_status status = pt_log_push(db->log);

    if (status == PEAT_OK && pt_log_unsynced(db->log)) {
        status = pt_log_sync(db->log);
        atomic_fetch_add_explicit(&db->counters.syncs, 1, memory_order_relaxed);
    }
    if (status < 0)
        atomic_store_explicit(&db->poisoned, true, memory_order_release);
}

static void *run(void *context)
{
    struct peat_db *db = context;
    struct pt_syncer *syncer = &db->syncer;
    uint64_t interval_us = (uint64_t)db->options.sync_interval_ms * 1000;
    uint64_t sync_at_us = 0; /* 0: nothing waits to be synced */

    pt_mutex_lock(&syncer->mutex);
    while (!syncer->stop) {
        bool prepare = atomic_exchange_explicit(&syncer->prepare, false, memory_order_acq_rel);
        bool sync = false;

        if (sync_at_us == 0 && atomic_load_explicit(&syncer->wanted, memory_order_acquire))
            sync_at_us = pt_clock_monotonic_us() + interval_us;
        if (sync_at_us != 0 && pt_clock_monotonic_us() >= sync_at_us)
            sync = true;
        if (!prepare && !sync) {
            if (sync_at_us == 0)
                pt_condition_wait(&syncer->wake, &syncer->mutex);
            else
                (void)pt_condition_wait_until(&syncer->wake, &syncer->mutex, sync_at_us);
            continue;
        }
        pt_mutex_unlock(&syncer->mutex);
        if (prepare) /* what cannot be made ready is the appender's matter: it tries and reports */
            (void)pt_log_prepare(db->log);
        if (sync) {
            /* Cleared before the work: what is appended during it asks again. */
            atomic_store_explicit(&syncer->wanted, false, memory_order_release);
            sync_at_us = 0;
            sync_log(db);
            if (pt_seal_worth(db))
                pt_merger_wake(db);
        }
        pt_mutex_lock(&syncer->mutex);
    }
    pt_mutex_unlock(&syncer->mutex);
    return NULL;
}

void pt_syncer_note(struct peat_db *db, bool prepare)
{
    struct pt_syncer *syncer = &db->syncer;

    if (atomic_load_explicit(&syncer->wanted, memory_order_relaxed) && !prepare)
        return;
    pt_mutex_lock(&syncer->mutex);
    atomic_store_explicit(&syncer->wanted, true, memory_order_release);
    if (prepare)
        atomic_store_explicit(&syncer->prepare, true, memory_order_release);
    pt_condition_signal(&syncer->wake);
    pt_mutex_unlock(&syncer->mutex);
}

enum peat_status pt_syncer_start(struct peat_db *db)
{
    return pt_thread_start(&db->syncer.thread, "peat-sync", run, db);
}

void pt_syncer_stop(struct peat_db *db)
{
    pt_mutex_lock(&db->syncer.mutex);
    db->syncer.stop = true;
    pt_condition_signal(&db->syncer.wake);
    pt_mutex_unlock(&db->syncer.mutex);
    pt_thread_join(&db->syncer.thread);
}

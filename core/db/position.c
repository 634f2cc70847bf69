/* Where a store stands in its history, and waiting until it has come to a commit. */
#include "core/base/clock.h"
#include "core/db/db.h"

enum { LOOK_US = 10000 /* how often a process that only reads looks at what the writer does */ };

uint64_t pt_newest_commit(struct peat_db *db)
{
    struct pt_pin pin = pt_shelf_pin(&db->shelf);
    uint64_t commit = pt_stack_commit(pin.stack);

    pt_shelf_unpin(&db->shelf, pin);
    return commit;
}

/* ---- Positions ---- */

struct peat_position pt_position_of(const struct pt_log_point *point)
{
    struct peat_position position = {.epoch = point->epoch,
                                     .commit = point->commit,
                                     .time_us = point->time_us,
                                     .position = point->position};

    memcpy(position.chain, point->chain.bytes, sizeof(position.chain));
    return position;
}

/* As the leader of the commit queue: the log ends behind the newest commit. */
static enum peat_status log_end(struct peat_db *db, void *context)
{
    struct pt_log_point *point = context;

    *point = pt_log_point(db->log);
    return PEAT_OK;
}

/* How far a reader has come with the last refresh. */
static struct pt_log_point reader_end(struct peat_db *db)
{
    struct pt_lineage lineage;
    struct pt_log_point point;

    pt_mutex_lock(&db->refresh_mutex);
    lineage = pt_epochs_copy(db);
    point = db->tail == NULL ? db->log_start : pt_log_reader_point(db->tail);
    pt_mutex_unlock(&db->refresh_mutex);
    pt_lineage_cut(&lineage, &point); /* an epoch that has no record yet is in the manifest alone */
    if (pt_lineage_newest(&lineage) > point.epoch)
        point.epoch = pt_lineage_newest(&lineage);
    return point;
}

enum peat_status peat_position_get(struct peat_db *db, struct peat_position *position_out)
{
    struct pt_log_point point;
    enum peat_status status = PEAT_OK;

    if (db == NULL || position_out == NULL)
        return pt_fail_null();
    if (db->read_only)
        point = reader_end(db);
    else
        status = pt_commit_alone(db, log_end, &point);
    if (status < 0)
        return status;
    *position_out = pt_position_of(&point);
    return PEAT_OK;
}

/* ---- Waiting ---- */

uint64_t pt_groups_led(struct peat_db *db)
{
    uint64_t count;

    pt_mutex_lock(&db->queue.mutex);
    count = db->queue.led_count;
    pt_mutex_unlock(&db->queue.mutex);
    return count;
}

void pt_wait_for_group(struct peat_db *db, uint64_t seen, uint64_t until_us,
                       const _Atomic bool *cancelled)
{
    struct pt_commit_queue *queue = &db->queue;
    uint64_t look_us = pt_clock_monotonic_us() + LOOK_US;
    bool in_time = true;

    if (db->read_only && look_us < until_us)
        until_us = look_us;
    pt_mutex_lock(&queue->mutex);
    queue->led_waiting++;
    while (queue->led_count == seen && in_time &&
           (cancelled == NULL || !atomic_load_explicit(cancelled, memory_order_relaxed))) {
        if (until_us == UINT64_MAX)
            pt_condition_wait(&queue->led, &queue->mutex);
        else
            in_time = pt_condition_wait_until(&queue->led, &queue->mutex, until_us);
    }
    queue->led_waiting--;
    pt_mutex_unlock(&queue->mutex);
}

enum peat_status peat_wait_commit(struct peat_db *db, uint64_t commit, unsigned timeout_ms,
                                  uint64_t *newest_out)
{
    uint64_t until_us = UINT64_MAX;
    uint64_t newest;

    if (db == NULL)
        return pt_fail_null();
    if (timeout_ms != PEAT_FEED_FOREVER)
        until_us = pt_clock_monotonic_us() + (uint64_t)timeout_ms * 1000;
    for (;;) {
        uint64_t seen = pt_groups_led(db); /* before the look, so no group is missed */
        enum peat_status status = db->read_only ? pt_refresh(db) : PEAT_OK;

        if (status < 0)
            return status;
        newest = pt_newest_commit(db);
        if (newest_out != NULL)
            *newest_out = newest;
        if (newest >= commit)
            return PEAT_OK;
        if (pt_clock_monotonic_us() >= until_us)
            return PEAT_TIMEOUT;
        pt_wait_for_group(db, seen, until_us, NULL);
    }
}

/* Where a store stands in its history: what replication compares. */
#include "core/db/db.h"

/* As the leader of the commit queue: the log ends behind the newest commit. */
static enum peat_status log_end(struct peat_db *db, void *context)
{
    struct pt_log_point *point = context;

    *point = pt_log_point(db->log);
    return PEAT_OK;
}

/* How far a reader has come with the last refresh. */
static enum peat_status reader_end(struct peat_db *db, struct pt_log_point *point)
{
    pt_mutex_lock(&db->refresh_mutex);
    *point = db->tail == NULL ? db->log_start : pt_log_reader_point(db->tail);
    pt_mutex_unlock(&db->refresh_mutex);
    return PEAT_OK;
}

enum peat_status peat_position_get(struct peat_db *db, struct peat_position *position_out)
{
    struct pt_log_point point;
    enum peat_status status;

    if (db == NULL || position_out == NULL)
        return pt_fail_null();
    status = db->read_only ? reader_end(db, &point) : pt_commit_alone(db, log_end, &point);
    if (status < 0)
        return status;
    *position_out = (struct peat_position){.epoch = point.epoch,
                                           .commit = point.commit,
                                           .time_us = point.time_us,
                                           .position = point.position};
    memcpy(position_out->chain, point.chain.bytes, sizeof(position_out->chain));
    return PEAT_OK;
}

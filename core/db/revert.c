/*
 * Revert: the store becomes what a kept state shows.
 *
 * After commit C it is commit C+1, which is in no record (replacement.h). What it replaces shows C
 * without a log, and is kept.
 */
#include "core/base/clock.h"
#include "core/db/db.h"
#include "core/db/replacement.h"

#include <inttypes.h>

/* One revert. */
struct revert {
    const char *name;
    uint64_t generation;
    uint64_t commit; /* out */
};

/* Pin the state's runs. */
static enum peat_status find_state_locked(struct peat_db *db, const struct revert *revert,
                                          struct pt_replacement *replacement)
    PT_REQUIRES(db->history.mutex)
{
    const struct pt_kept *kept = pt_history_find(&db->history, revert->name, revert->generation);

    if (kept == NULL)
        return PEAT_NOT_FOUND;
    if ((kept->row.flags & PT_KEPT_DAMAGED) != 0)
        return pt_fail(PEAT_CORRUPT, "the kept state of generation %" PRIu64 " is damaged",
                       kept->row.generation);
    replacement->run_count = kept->run_count;
    return pt_runs_copy(kept->runs, kept->run_count, &replacement->runs);
}

static enum peat_status find_state(struct peat_db *db, void *context,
                                   struct pt_replacement *replacement)
{
    struct revert *revert = context;
    struct pt_log_point end = pt_log_point(db->log);
    uint64_t now_us = pt_clock_wall_us();
    enum peat_status status;

    status = pt_role_check_commits(db); /* it may have been fenced while this waited */
    if (status < 0)
        return status;
    pt_mutex_lock(&db->history.mutex);
    status = find_state_locked(db, revert, replacement);
    pt_mutex_unlock(&db->history.mutex);
    replacement->behind =
        pt_log_point_reverted(&end, now_us > db->queue.time_us ? now_us : db->queue.time_us);
    replacement->hash_seed = pt_hash_seed(db);
    replacement->change.is_revert = true;
    revert->commit = replacement->behind.commit;
    return status;
}

enum peat_status peat_revert(struct peat_db *db, const char *name, uint64_t generation,
                             uint64_t *commit_out)
{
    struct revert revert = {.name = name, .generation = generation};
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    status = pt_role_check_commits(db);
    if (status < 0)
        return status;
    status = pt_merger_flush(db); /* most of the work, while others still commit */
    if (status == PEAT_OK)
        status = pt_replace(db, find_state, &revert);
    if (status == PEAT_OK && commit_out != NULL)
        *commit_out = revert.commit;
    return status;
}

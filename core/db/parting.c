#include "core/db/parting.h"

#include "core/base/alloc.h"
#include "core/db/db.h"
#include "core/db/history_parts.h"

#include <inttypes.h>

/* The row that says of which epoch a record at @p position is; NULL: that is not remembered. */
static const struct peat_epoch *row_at(const struct pt_lineage *lineage, uint64_t position)
{
    size_t count = lineage->count;

    while (count > 0 && lineage->epochs[count - 1].position > position)
        count--;
    return count == 0 ? NULL : &lineage->epochs[count - 1];
}

/* What the epoch of a record says of two histories that both have one there. */
enum kinship {
    SAME_EPOCH,
    OTHER_EPOCH,
    NOT_REMEMBERED /* by one of them */
};

/* Of the record before @p position. Of the oldest epoch that is remembered the number alone tells. */
static enum kinship kinship_at(const struct pt_lineage *ours, const struct pt_lineage *theirs,
                               uint64_t position)
{
    const struct peat_epoch *our_row = row_at(ours, position - 1);
    const struct peat_epoch *their_row = row_at(theirs, position - 1);

    if (our_row == NULL || their_row == NULL)
        return NOT_REMEMBERED;
    if (our_row->epoch != their_row->epoch)
        return OTHER_EPOCH;
    if (our_row == ours->epochs || their_row == theirs->epochs ||
        (our_row->position == their_row->position &&
         memcmp(our_row->chain, their_row->chain, sizeof(our_row->chain)) == 0))
        return SAME_EPOCH;
    return OTHER_EPOCH;
}

bool pt_has_parted(struct peat_db *db, uint64_t position, const struct pt_lineage *theirs)
{
    struct pt_lineage ours = pt_epochs_copy(db);

    return position > 0 && kinship_at(&ours, theirs, position) == OTHER_EPOCH;
}

/* (1) */
static enum peat_status check_kept(struct peat_db *db, const struct pt_log_point *end,
                                   const char *name)
{
    const struct pt_kept *newest = NULL;
    bool is_kept;

    pt_mutex_lock(&db->history.mutex);
    if (db->history.count > 0)
        newest = db->history.kept[db->history.count - 1];
    is_kept = newest != NULL && pt_history_find(&db->history, name, 0) == newest &&
              newest->row.commit == end->commit && (newest->row.flags & PT_KEPT_DAMAGED) == 0;
    pt_mutex_unlock(&db->history.mutex);
    if (is_kept)
        return PEAT_OK;
    return pt_fail(PEAT_INVALID,
                   "commit %" PRIu64
                   " is of a history that is to be left, and is not kept as '%s': "
                   "peat_snapshot_persist() first",
                   end->commit, name);
}

/* (4): a promotion goes on above all of them. */
static void note_met(struct peat_db *db)
{
    struct pt_lineage ours = pt_epochs_copy(db);
    uint64_t newest = pt_lineage_newest(&ours);

    if (newest > atomic_load_explicit(&db->met_epoch, memory_order_relaxed))
        atomic_store_explicit(&db->met_epoch, newest, memory_order_relaxed);
}

enum peat_status pt_part(struct peat_db *db, const struct pt_log_point *end, const char *kept_name,
                         struct pt_replacement *replacement)
{
    enum peat_status status = check_kept(db, end, kept_name);

    if (status < 0)
        return status;
    note_met(db);
    replacement->change.parts = true;
    replacement->change.lets_log_go = true;
    return PEAT_OK;
}

/* ---- Going back ---- */

/* One retreat. */
struct retreat {
    uint64_t position_max;
    const char *kept_name;
    struct pt_lineage lineage; /* of the state */
    uint64_t commit;           /* out */
};

/* Whether the state that @p manifest tells of is one that our history has come through, no later than asked for. An
 * empty one is of no use: whoever has nothing is given a state. */
static bool is_ours(const struct retreat *retreat, const struct pt_lineage *ours,
                    const struct pt_manifest *manifest)
{
    uint64_t position = manifest->log.position;

    return position > 0 && position <= retreat->position_max &&
           kinship_at(ours, &manifest->lineage, position) == SAME_EPOCH;
}

/* An epoch that begins where the state ends, as after a promotion, may be of the history that is left. It has no record
 * yet. */
static void forget_empty(struct pt_lineage *lineage, struct pt_log_point *point)
{
    while (lineage->count > 1 && lineage->epochs[lineage->count - 1].position >= point->position)
        lineage->count--;
    point->epoch = pt_lineage_newest(lineage);
}

/* Look whether @p kept is the state to go back to. PEAT_NOT_FOUND: it is not. */
static enum peat_status look_at(struct peat_db *db, const struct pt_kept *kept,
                                struct retreat *retreat, struct pt_replacement *replacement)
{
    struct pt_lineage ours = pt_epochs_copy(db);
    struct pt_manifest manifest;
    uint8_t *block = NULL;
    enum peat_status status;

    if ((kept->row.flags & PT_KEPT_DAMAGED) != 0)
        return PEAT_NOT_FOUND;
    status = pt_kept_row_load(db, &kept->row, &manifest, &block);
    if (status == PEAT_OK && !is_ours(retreat, &ours, &manifest))
        status = PEAT_NOT_FOUND;
    if (status == PEAT_OK)
        status = pt_runs_copy(kept->runs, kept->run_count, &replacement->runs);
    if (status == PEAT_OK) {
        replacement->run_count = kept->run_count;
        replacement->behind = pt_log_point_nowhere(&manifest.log);
        retreat->lineage = manifest.lineage;
        forget_empty(&retreat->lineage, &replacement->behind);
        retreat->commit = manifest.log.commit;
    }
    pt_manifest_fini(&manifest);
    pt_free(block);
    return status;
}

/* The newest that there is, but for the one that rules. With the install mutex held manifests stay where they are. */
static enum peat_status look_for_state(struct peat_db *db, struct retreat *retreat,
                                       struct pt_replacement *replacement)
{
    enum peat_status status = PEAT_NOT_FOUND;

    pt_mutex_lock(&db->checkpointer.install_mutex);
    pt_mutex_lock(&db->history.mutex);
    for (size_t i = db->history.count; i-- > 1 && status == PEAT_NOT_FOUND;)
        status = look_at(db, db->history.kept[i - 1], retreat, replacement);
    pt_mutex_unlock(&db->history.mutex);
    pt_mutex_unlock(&db->checkpointer.install_mutex);
    return status;
}

static enum peat_status find_state(struct peat_db *db, void *context,
                                   struct pt_replacement *replacement)
{
    struct retreat *retreat = context;
    struct pt_log_point end = pt_log_point(db->log);
    enum peat_status status;

    if (!pt_role_is(db, PT_ROLE_FOLLOWER))
        return pt_fail(PEAT_INVALID, "the store was promoted: it has commits of its own");
    status = pt_part(db, &end, retreat->kept_name, replacement);
    if (status == PEAT_OK)
        status = look_for_state(db, retreat, replacement);
    replacement->hash_seed = pt_hash_seed(db);
    replacement->change.lineage = &retreat->lineage;
    return status;
}

enum peat_status peat_retreat(struct peat_db *db, uint64_t position_max, const char *kept_name,
                              uint64_t *commit_out)
{
    struct retreat retreat = {.position_max = position_max, .kept_name = kept_name};
    enum peat_status status;

    if (db == NULL || kept_name == NULL)
        return pt_fail_null();
    if (!pt_role_is(db, PT_ROLE_FOLLOWER))
        return pt_fail(PEAT_INVALID, "the store was not opened with PEAT_FOLLOWER");
    status = pt_replace(db, find_state, &retreat);
    if (status == PEAT_OK && commit_out != NULL)
        *commit_out = retreat.commit;
    return status;
}

/*
 * The epochs that the store's history has come through.
 *
 *  1. Whoever appends a record of a newer epoch notes where that begins, before: so the lineage is
 *     never behind the log.
 *  2. A manifest has the epochs that begin at or before its log. Those behind are in the log's
 *     records, and are noted again by who replays it: so what a power cut tears off leaves no
 *     epoch behind.
 *  3. The epoch of a place is what the lineage says of it: a point that was taken before an epoch
 *     began there, and where no record has come since, is of that epoch all the same.
 */
#include "core/db/db.h"

void pt_epochs_init(struct peat_db *db)
{
    pt_mutex_init(&db->lineage_mutex);
}

void pt_epochs_fini(struct peat_db *db)
{
    pt_mutex_fini(&db->lineage_mutex);
}

struct pt_lineage pt_epochs_copy(struct peat_db *db)
{
    struct pt_lineage copy;

    pt_mutex_lock(&db->lineage_mutex);
    copy = db->lineage;
    pt_mutex_unlock(&db->lineage_mutex);
    return copy;
}

/* Ids of segments that are given out from now on are above all of older epochs. */
static void raise_segment_ids(struct peat_db *db, uint64_t epoch)
{
    uint64_t first = epoch << PT_EPOCH_SHIFT | 1;
    uint64_t next = atomic_load_explicit(&db->next_segment_id, memory_order_relaxed);

    while (epoch <= PT_EPOCH_MAX && next < first &&
           !atomic_compare_exchange_weak_explicit(&db->next_segment_id, &next, first,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

void pt_epochs_note(struct peat_db *db, uint64_t epoch, const struct pt_log_point *point)
{
    bool begun;

    pt_mutex_lock(&db->lineage_mutex);
    begun = pt_lineage_note(&db->lineage, epoch, point);
    pt_mutex_unlock(&db->lineage_mutex);
    if (begun)
        raise_segment_ids(db, epoch);
}

void pt_epochs_set(struct peat_db *db, const struct pt_lineage *lineage)
{
    pt_mutex_lock(&db->lineage_mutex);
    db->lineage = *lineage;
    pt_mutex_unlock(&db->lineage_mutex);
    raise_segment_ids(db, pt_lineage_newest(lineage));
}

void pt_epochs_take(struct peat_db *db, const struct pt_lineage *lineage)
{
    struct pt_lineage taken = *lineage;

    pt_mutex_lock(&db->lineage_mutex);
    pt_lineage_extend(&taken, &db->lineage);
    db->lineage = taken;
    pt_mutex_unlock(&db->lineage_mutex);
    raise_segment_ids(db, pt_lineage_newest(lineage));
}

void pt_epochs_describe(const struct pt_lineage *lineage, struct pt_manifest *manifest)
{
    manifest->lineage = *lineage;
    pt_lineage_cut(&manifest->lineage, &manifest->log);
    manifest->log.epoch = pt_lineage_newest(&manifest->lineage); /* (3) */
}

void pt_epochs_promoted(struct peat_db *db, uint64_t epoch, const struct pt_log_point *point)
{
    pt_epochs_note(db, epoch, point);
    /* Release pairs with pt_role_is(): who finds that it takes commits finds its epoch. */
    atomic_store_explicit(&db->role, 0, memory_order_release);
}

enum peat_status peat_epochs_get(struct peat_db *db, struct peat_epoch *epochs_out, size_t capacity,
                                 size_t *count_out)
{
    struct pt_lineage lineage;

    if (db == NULL || count_out == NULL || (epochs_out == NULL && capacity > 0))
        return pt_fail_null();
    lineage = pt_epochs_copy(db);
    *count_out = lineage.count;
    for (size_t i = 0; i < capacity && i < lineage.count; i++)
        epochs_out[i] = lineage.epochs[i];
    return PEAT_OK;
}

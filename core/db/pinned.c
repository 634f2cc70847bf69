#include "core/db/pinned.h"

/* What the kept states hold; @p all: with the one that rules, else it is left out if it goes with the
 * next commit. The list is good while the mutex is held. */
static enum peat_status note_history_locked(struct peat_db *db, bool all,
                                            struct pt_known_segments *known)
    PT_REQUIRES(db->history.mutex)
{
    const struct pt_history *history = &db->history;
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < history->count && status == PEAT_OK; i++) {
        const struct pt_kept *kept = history->kept[i];
        bool stays = i + 1 < history->count || kept->row.name.size > 0 ||
                     db->options.history_count != 1 || db->options.history_seconds > 0;

        if (all || stays)
            status = pt_known_segments_add(known, kept->runs, kept->run_count);
    }
    return status;
}

static uint64_t size_without(const struct pt_known_segments *segments,
                             const struct pt_known_segments *others)
{
    uint64_t size = 0;

    for (size_t i = 0; i < segments->count; i++)
        if (pt_known_segments_find_at(others, segments->held[i]->id,
                                      &segments->held[i]->summary.digest,
                                      segments->held[i]->extent.offset) == NULL)
            size += segments->held[i]->extent.size;
    return size;
}

enum peat_status pt_pinned_by_snapshots(struct peat_db *db, uint64_t *size_out)
{
    struct pt_known_segments pinned = {NULL, 0, 0};
    struct pt_known_segments others = {NULL, 0, 0};
    enum peat_status status;

    pt_mutex_lock(&db->history.mutex);
    status = note_history_locked(db, true, &others);
    pt_mutex_lock(&db->shelf.mutex);
    if (status == PEAT_OK)
        status =
            pt_known_segments_add(&others, db->shelf.current->runs, db->shelf.current->run_count);
    if (status == PEAT_OK)
        status = pt_shelf_note_pinned_locked(&db->shelf, &pinned);
    *size_out = status == PEAT_OK ? size_without(&pinned, &others) : 0;
    pt_mutex_unlock(&db->shelf.mutex);
    pt_mutex_unlock(&db->history.mutex);
    pt_known_segments_fini(&pinned);
    pt_known_segments_fini(&others);
    return status;
}

enum peat_status pt_pinned_gain(struct peat_db *db, struct pt_run *const *group, size_t width,
                                struct pt_run *const *runs, size_t run_count, uint64_t *gain_out)
{
    struct pt_known_segments replaced = {NULL, 0, 0};
    struct pt_known_segments others = {NULL, 0, 0};
    enum peat_status status = pt_known_segments_add(&replaced, group, width);

    pt_mutex_lock(&db->history.mutex);
    if (status == PEAT_OK)
        status = note_history_locked(db, false, &others);
    pt_mutex_lock(&db->shelf.mutex);
    if (status == PEAT_OK)
        status = pt_shelf_note_pinned_locked(&db->shelf, &others);
    if (status == PEAT_OK)
        status = pt_known_segments_add(&others, runs, run_count);
    *gain_out = status == PEAT_OK ? size_without(&replaced, &others) : 0;
    pt_mutex_unlock(&db->shelf.mutex);
    pt_mutex_unlock(&db->history.mutex);
    pt_known_segments_fini(&replaced);
    pt_known_segments_fini(&others);
    return status;
}

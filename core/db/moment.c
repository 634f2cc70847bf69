#include "core/db/moment.h"

#include "core/base/alloc.h"

/* A buffer begins at a point that the log's writer knew: perhaps it is the one. */
static bool find_among_buffers(const struct pt_stack *stack, uint64_t commit,
                               struct pt_log_point *point_out)
{
    for (size_t i = 0; i < stack->buffer_count; i++) {
        const struct pt_log_point *start = &stack->buffers[i]->start;

        if (start->commit != commit || start->epoch == 0) /* 0: a follower of the log made it up */
            continue;
        *point_out = *start;
        return true;
    }
    return false;
}

/* Read on from *point until @p commit, or as far as there is anything. */
static void advance(struct peat_db *db, uint64_t commit, struct pt_log_point *point)
{
    struct pt_log_reader *reader = NULL;
    struct pt_record record;
    enum peat_status status = PEAT_OK;

    if (point->region.size == 0 || point->commit >= commit)
        return;
    status = pt_log_reader_open(db->arena, point, true, &reader);
    while (status == PEAT_OK && point->commit < commit) {
        status = pt_log_reader_next(reader, &record);
        if (status == PEAT_OK)
            *point = pt_log_reader_point(reader);
    }
    pt_log_reader_close(reader);
}

/* A kept state's manifest knows where it stands. @p ruling names it, and is held. */
static bool find_among_kept(struct peat_db *db, const struct pt_manifest *ruling, uint64_t commit,
                            struct pt_log_point *point_out)
{
    bool found = false;

    for (size_t i = 0; i < ruling->kept_count && !found; i++) {
        const struct pt_manifest_kept *row = &ruling->kept[i];
        struct pt_superblock place = {ruling->store_id, row->manifest_generation, row->offset,
                                      row->size};
        struct pt_manifest manifest;
        uint8_t *block;

        if (row->commit != commit || row->offset == 0 ||
            pt_manifest_load(db, &place, &manifest, &block) < 0)
            continue;
        found = manifest.log.commit == commit;
        if (found)
            *point_out = manifest.log;
        pt_manifest_fini(&manifest);
        pt_free(block);
    }
    return found;
}

/* From where the manifest that rules on disk begins the log, or in what it keeps. Its generation is
 * held meanwhile, so both stay in place. */
static bool find_in_file(struct peat_db *db, uint64_t commit, struct pt_log_point *point_out)
{
    struct pt_superblock superblock;
    struct pt_manifest manifest;
    uint8_t *block = NULL;
    enum peat_status status = pt_arena_hold_newest(db->arena, &superblock, NULL);
    bool found = false;

    if (status != PEAT_OK)
        return false;
    status = pt_arena_refresh_size(db->arena);
    if (status == PEAT_OK)
        status = pt_manifest_load(db, &superblock, &manifest, &block);
    if (status == PEAT_OK) {
        *point_out = manifest.log;
        advance(db, commit, point_out);
        found = point_out->commit == commit || find_among_kept(db, &manifest, commit, point_out);
        pt_manifest_fini(&manifest);
        pt_free(block);
    }
    (void)pt_arena_unhold_generation(db->arena, superblock.generation);
    return found;
}

void pt_moment_find(struct peat_db *db, const struct pt_stack *stack, uint64_t commit,
                    struct pt_log_point *point_out)
{
    uint64_t epoch;

    *point_out = (struct pt_log_point){.commit = commit};
    if (find_among_buffers(stack, commit, point_out))
        return;
    if (db->log != NULL) /* what waits in memory must be there to be found; if not, it is not */
        (void)pt_log_push(db->log);
    if (find_in_file(db, commit, point_out))
        return;
    epoch = point_out->epoch;
    *point_out = (struct pt_log_point){.epoch = epoch, .commit = commit};
}

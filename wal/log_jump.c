/* Jumping: the log goes on in a region of its own, behind what no record of it tells of. */
#include "wal/log_parts.h"

struct pt_id pt_log_jump_chain(const struct pt_id *chain, uint64_t commit, uint64_t time_us)
{
    const struct pt_le64 tale[] = {pt_le64(commit), pt_le64(time_us)};

    return pt_siphash128(chain, tale, sizeof(tale));
}

struct pt_log_point pt_log_point_reverted(const struct pt_log_point *end, uint64_t time_us)
{
    struct pt_log_point point = *end;

    point.commit++;
    point.time_us = time_us;
    /* In no record, but part of the history: who did not jump has another chain from here on. */
    point.chain = pt_log_jump_chain(&end->chain, point.commit, time_us);
    return point;
}

enum peat_status pt_log_jump_prepare(struct pt_log *log, const struct pt_log_point *behind,
                                     bool parts, struct pt_log_jump *jump_out)
{
    struct pt_log_region *region = NULL;
    enum peat_status status;

    jump_out->region = NULL;
    status = pt_log_push(log); /* a region is left with nothing staged for it */
    if (status == PEAT_OK)
        status = pt_log_first_region_open(log, &region);
    if (status < 0)
        return status;
    pt_mutex_lock(&log->tail_mutex);
    PT_ASSERT(parts || (behind->commit >= log->end.commit &&
                        behind->position >= log->end.position && behind->epoch >= log->end.epoch));
    pt_mutex_unlock(&log->tail_mutex);
    jump_out->region = region;
    jump_out->parts = parts;
    jump_out->point = *behind;
    jump_out->point.region = region->extent;
    jump_out->point.nonce = region->nonce;
    jump_out->point.offset = region->used;
    pt_log_region_begin(region, &jump_out->point);
    return PEAT_OK;
}

/* Put the region behind the current one and make it current. */
static void region_enter_locked(struct pt_log *log, const struct pt_log_jump *jump)
    PT_REQUIRES(log->room_mutex) PT_REQUIRES(log->tail_mutex)
{
    PT_ASSERT(log->stage.size == 0 && log->current->next == NULL);
    PT_ASSERT(jump->parts || jump->point.position >= log->end.position);
    log->current->left = true;
    log->current->next = jump->region;
    log->current = jump->region;
    log->last = jump->region;
    log->end = jump->point;
    /* By the manifest that begins the log here. */
    if (jump->parts || jump->point.position > log->durable_position)
        log->durable_position = jump->point.position;
    if (!jump->parts)
        return;
    log->retry_position = 0;
    log->made_position = jump->point.position;
}

void pt_log_jump(struct pt_log *log, struct pt_log_jump *jump)
{
    struct pt_log_region *current;

    pt_mutex_lock(&log->sync_mutex); /* a sync that is under way is of the region that is left */
    pt_mutex_lock(&log->room_mutex);
    pt_mutex_lock(&log->tail_mutex);
    current = log->current;
    pt_mutex_unlock(&log->tail_mutex);
    pt_log_regions_release_after(log, current); /* what was made ready would come next */
    pt_mutex_lock(&log->tail_mutex);
    region_enter_locked(log, jump);
    pt_mutex_unlock(&log->tail_mutex);
    pt_mutex_unlock(&log->room_mutex);
    pt_mutex_unlock(&log->sync_mutex);
    jump->region = NULL; /* the log's now */
}

void pt_log_jump_cancel(struct pt_log *log, struct pt_log_jump *jump, bool named)
{
    if (jump->region == NULL)
        return;
    if (!named)
        pt_arena_release(log->arena, jump->region->extent);
    pt_log_region_close(jump->region);
    jump->region = NULL;
}

/*
 * Pushing and syncing. Once a sync has taken the tail, it moves it to the next block boundary: what is
 * on disk lies in blocks that are never written again.
 */
#include "wal/log_parts.h"

#include "core/base/bug.h"

/* What a sync makes durable: everything before this point. */
struct cut {
    struct pt_log_region *region;
    uint64_t used; /* bytes of the region; a block boundary */
    uint64_t position;
    struct pt_log_stage stage; /* size 0: nothing was staged */
    bool alone;                /* what was staged is all that there is to sync */
};

/* Take what is staged away, to write it, and leave the other stage in its place. */
static struct pt_log_stage stage_take_locked(struct pt_log *log) PT_REQUIRES(log->push_mutex)
    PT_REQUIRES(log->tail_mutex)
{
    struct pt_log_stage taken = log->stage;

    log->stage = (struct pt_log_stage){.data = log->idle};
    log->idle = NULL;
    return taken;
}

/* The stage @p taken is written. */
static void stage_give_back(struct pt_log *log, const struct pt_log_stage *taken)
    PT_REQUIRES(log->push_mutex)
{
    log->idle = taken->data;
    pt_mutex_lock(&log->tail_mutex);
    if (log->stage.size == 0)
        atomic_store_explicit(&log->unpushed, false, memory_order_release); /* see pt_log_push() */
    pt_mutex_unlock(&log->tail_mutex);
}

static enum peat_status stage_push(struct pt_log *log) PT_REQUIRES(log->push_mutex)
{
    const struct pt_log_region *region;
    enum peat_status status = PEAT_OK;
    struct pt_log_stage taken;

    pt_mutex_lock(&log->tail_mutex);
    region = log->current; /* leaving it takes an empty stage */
    taken = stage_take_locked(log);
    pt_mutex_unlock(&log->tail_mutex);
    if (taken.size > 0)
        status =
            pt_file_write(log->file, region->extent.offset + taken.offset, taken.data, taken.size);
    if (status < 0)
        status = pt_log_poison(log, status);
    stage_give_back(log, &taken);
    return status;
}

enum peat_status pt_log_push(struct pt_log *log)
{
    /* Asked first: a push that fails on another thread poisons, and then clears it. */
    bool unpushed = atomic_load_explicit(&log->unpushed, memory_order_acquire);
    enum peat_status status;

    if (pt_log_is_poisoned(log))
        return pt_log_refuse_poisoned();
    if (!unpushed)
        return PEAT_OK;
    pt_mutex_lock(&log->push_mutex);
    if (pt_log_is_poisoned(log)) /* perhaps by a sync that had our records */
        status = pt_log_refuse_poisoned();
    else
        status = stage_push(log);
    pt_mutex_unlock(&log->push_mutex);
    return status;
}

/* Take the tail for a sync and move it on to the next block. */
static struct cut tail_cut_locked(struct pt_log *log) PT_REQUIRES(log->sync_mutex)
    PT_REQUIRES(log->push_mutex) PT_REQUIRES(log->tail_mutex)
{
    struct pt_log_region *region = log->current;
    uint64_t padded =
        PT_BUG(TAIL_NOT_MOVED) ? region->used : pt_round_up(region->used, PT_LOG_BLOCK);
    struct cut cut = {.region = region, .used = padded, .position = log->end.position};

    cut.stage = stage_take_locked(log);
    cut.alone =
        cut.stage.size > 0 && log->sync_region == region && region->synced == cut.stage.offset;
    log->bytes_written += padded - region->used;
    region->used = padded;
    return cut;
}

/* Write what was staged; all of its last block, which then need not be read, if it is the sync. */
static enum peat_status cut_write(struct pt_log *log, const struct cut *cut)
{
    const struct pt_log_region *region = cut->region;
    uint64_t offset = region->extent.offset + cut->stage.offset;
    uint64_t padded = cut->used - cut->stage.offset;
    enum peat_status status;

    if (!cut->alone)
        return pt_file_write(log->file, offset, cut->stage.data, cut->stage.size);
    PT_ASSERT(padded >= cut->stage.size && padded <= PT_LOG_STAGE_SIZE);
    memset(cut->stage.data + cut->stage.size, 0, padded - cut->stage.size);
    status = pt_arena_settle_size(log->arena, region->extent.offset + region->extent.size);
    if (status < 0)
        return status;
    if (PT_BUG(LOG_SYNC_DROPPED))
        return pt_file_write(log->file, offset, cut->stage.data, padded);
    return pt_file_write_durable(log->file, offset, cut->stage.data, padded);
}

/* Sync, region by region, what is before @p cut and not yet on disk. */
static enum peat_status regions_sync(struct pt_log *log, const struct cut *cut)
    PT_REQUIRES(log->sync_mutex)
{
    enum peat_status status = PEAT_OK;

    for (;;) {
        struct pt_log_region *region = log->sync_region;
        bool left =
            region != cut->region; /* a cut region that was left since is for the next sync */
        uint64_t from;
        uint64_t to;

        pt_mutex_lock(&log->tail_mutex);
        from = region->synced;
        to = left ? region->used : cut->used;
        pt_mutex_unlock(&log->tail_mutex);
        if (left)
            status = pt_log_region_sync_left(region, log->arena, from, to);
        else if (from < to && !PT_BUG(LOG_RANGE_SYNC_DROPPED))
            status = pt_log_region_sync(region, log->arena, from, to);
        if (status < 0 || !left)
            return status;
        pt_mutex_lock(&log->tail_mutex);
        region->synced = to;
        log->sync_region = region->next;
        pt_mutex_unlock(&log->tail_mutex);
    }
}

static enum peat_status sync_tail(struct pt_log *log) PT_REQUIRES(log->sync_mutex)
{
    enum peat_status status = PEAT_OK;
    struct cut cut;

    pt_mutex_lock(&log->push_mutex);
    pt_mutex_lock(&log->tail_mutex);
    cut = tail_cut_locked(log);
    pt_mutex_unlock(&log->tail_mutex);
    if (cut.stage.size > 0)
        status = cut_write(log, &cut);
    if (status < 0)
        status = pt_log_poison(log, status);
    stage_give_back(log, &cut.stage);
    pt_mutex_unlock(&log->push_mutex);

    if (status == PEAT_OK && !cut.alone)
        status = regions_sync(log, &cut);
    if (status < 0)
        return pt_log_poison(log, status);
    PT_ASSERT(log->sync_region == cut.region);

    pt_mutex_lock(&log->tail_mutex);
    PT_ASSERT(cut.position >= log->durable_position);
    cut.region->synced = cut.used;
    log->durable_position = cut.position;
    log->sync_count++;
    pt_mutex_unlock(&log->tail_mutex);
    return PEAT_OK;
}

static bool is_durable(struct pt_log *log, uint64_t position)
{
    bool durable;

    pt_mutex_lock(&log->tail_mutex);
    durable = log->durable_position >= position;
    pt_mutex_unlock(&log->tail_mutex);
    return durable;
}

enum peat_status pt_log_sync(struct pt_log *log)
{
    enum peat_status status = PEAT_OK;
    uint64_t position;

    bool durable;

    pt_mutex_lock(&log->tail_mutex);
    position = log->end.position;
    durable = log->durable_position >= position;
    pt_mutex_unlock(&log->tail_mutex);
    if (pt_log_is_poisoned(log))
        return pt_log_refuse_poisoned();
    if (durable)
        return PEAT_OK;
    pt_mutex_lock(&log->sync_mutex);
    if (pt_log_is_poisoned(log))
        status = pt_log_refuse_poisoned();
    else if (!is_durable(log, position)) /* or the sync that was waited for has done it */
        status = sync_tail(log);
    pt_mutex_unlock(&log->sync_mutex);
    return status;
}

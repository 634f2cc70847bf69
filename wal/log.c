/* The log as a whole: opening and closing it, where it stands, and giving its regions back. */
#include "wal/log_parts.h"

#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/base/clock.h"

enum {
    REGION_SIZE_MIN_DEFAULT = 131072,  /* bytes */
    REGION_SIZE_MAX_DEFAULT = 67108864 /* bytes */
};

/* ---- Poison ---- */

enum peat_status pt_log_refuse_poisoned(void)
{
    return pt_fail(PEAT_POISONED, "a write or sync of the log failed earlier: reopen the store");
}

enum peat_status pt_log_poison(struct pt_log *log, enum peat_status status)
{
    PT_ASSERT(status < 0);
    atomic_store_explicit(&log->poisoned, !PT_BUG(POISON_FORGOTTEN), memory_order_relaxed);
    return status == PEAT_POISONED ? status : PEAT_IO;
}

/* ---- Opening and closing ---- */

static uint64_t size_or(uint64_t size, uint64_t size_default)
{
    uint64_t chosen = size == 0 ? size_default : size;

    return pt_round_up(chosen, PT_REGION_UNIT);
}

/* What no other thread can see yet, so that no mutex is held. */
static enum peat_status log_init(struct pt_log *log,
                                 const struct pt_log_point *start) PT_NO_ANALYSIS
{
    struct pt_log_region *region = NULL;
    enum peat_status status;

    pt_mutex_init(&log->sync_mutex);
    pt_mutex_init(&log->room_mutex);
    pt_mutex_init(&log->push_mutex);
    pt_mutex_init(&log->tail_mutex);
    log->stage.data = pt_pages_map(PT_LOG_STAGE_SIZE);
    log->idle = pt_pages_map(PT_LOG_STAGE_SIZE);
    if (log->stage.data == NULL || log->idle == NULL)
        return pt_fail(PEAT_NO_MEMORY, "log stages");
    status = pt_log_first_region_open(log, &region);
    if (status < 0)
        return status;
    log->first = region;
    log->current = region;
    log->last = region;
    log->sync_region = region;
    log->region_size = region->extent.size;
    log->made_us = pt_clock_monotonic_us();
    log->end = *start;
    pt_log_region_begin(region, start);
    log->made_position = start->position;
    log->durable_position = start->position;
    return PEAT_OK;
}

enum peat_status pt_log_open(struct pt_arena *arena, const struct pt_log_options *options,
                             const struct pt_log_point *start, struct pt_log **log_out)
{
    struct pt_log *log;
    enum peat_status status;

    *log_out = NULL;
    log = pt_calloc(1, sizeof(*log));
    if (log == NULL)
        return pt_fail(PEAT_NO_MEMORY, "log handle");
    log->arena = arena;
    log->file = pt_arena_file(arena);
    log->region_size_min = size_or(options->region_size_min, REGION_SIZE_MIN_DEFAULT);
    log->region_size_max = size_or(options->region_size_max, REGION_SIZE_MAX_DEFAULT);
    log->pwrite = options->pwrite;
    log->staged = options->pwrite;
    log->keep_size = PT_KEEP_ALL;
    status = log_init(log, start);
    if (status < 0) {
        pt_log_close(log);
        return status;
    }
    *log_out = log;
    return PEAT_OK;
}

void pt_log_close(struct pt_log *log) PT_NO_ANALYSIS
{
    struct pt_log_region *region;

    if (log == NULL)
        return;
    if (log->current != NULL)
        pt_log_regions_release_after(log, log->current);
    for (region = log->first; region != NULL;) {
        struct pt_log_region *next = region->next;

        pt_log_region_close(region);
        region = next;
    }
    if (log->stage.data != NULL)
        pt_pages_unmap(log->stage.data, PT_LOG_STAGE_SIZE);
    if (log->idle != NULL)
        pt_pages_unmap(log->idle, PT_LOG_STAGE_SIZE);
    pt_mutex_fini(&log->tail_mutex);
    pt_mutex_fini(&log->push_mutex);
    pt_mutex_fini(&log->room_mutex);
    pt_mutex_fini(&log->sync_mutex);
    pt_free(log);
}

static struct pt_log_piece piece_of(const struct pt_log_region *region)
{
    struct pt_log_piece piece = {region->start, region->has_start};

    piece.start.region = region->extent;
    piece.start.nonce = region->nonce;
    return piece;
}

/* A region that the log has done with: somebody's, or nobody's. */
static void region_give(struct pt_log *log, const struct pt_log_region *region, uint64_t generation,
                        bool (*keep)(void *context, const struct pt_log_piece *piece),
                        void *context)
{
    struct pt_log_piece piece = piece_of(region);

    if (keep != NULL && keep(context, &piece))
        return;
    /* Without memory for it the space is free only after the next open, which is no harm. */
    (void)pt_arena_retire(log->arena, region->extent, generation);
}

void pt_log_end(struct pt_log *log, uint64_t generation,
                bool (*keep)(void *context, const struct pt_log_piece *piece),
                void *context) PT_NO_ANALYSIS
{
    struct pt_log_region *region = log->first;

    for (;; region = region->next) { /* what lies behind the current one closing releases */
        region_give(log, region, generation, keep, context);
        if (region == log->current)
            break;
    }
    pt_log_close(log);
}

size_t pt_log_pieces(struct pt_log *log, struct pt_log_piece *pieces_out, size_t capacity)
{
    const struct pt_log_region *region;
    size_t count = 0;

    pt_mutex_lock(&log->tail_mutex);
    for (region = log->first;; region = region->next) {
        if (count < capacity)
            pieces_out[count] = piece_of(region);
        count++;
        if (region == log->current)
            break;
    }
    pt_mutex_unlock(&log->tail_mutex);
    return count;
}

struct pt_log_point pt_log_point(struct pt_log *log)
{
    struct pt_log_point point;

    pt_mutex_lock(&log->tail_mutex);
    point = log->end;
    point.region = log->current->extent;
    point.nonce = log->current->nonce;
    point.offset = log->current->used;
    pt_mutex_unlock(&log->tail_mutex);
    return point;
}

void pt_log_begin_epoch(struct pt_log *log, uint64_t epoch)
{
    pt_mutex_lock(&log->tail_mutex);
    PT_ASSERT(epoch >= log->end.epoch);
    log->end.epoch = epoch;
    pt_mutex_unlock(&log->tail_mutex);
}

static bool region_holds(const struct pt_log_region *region, const struct pt_log_point *point)
{
    return region->extent.offset == point->region.offset &&
           memcmp(&region->nonce, &point->nonce, sizeof(point->nonce)) == 0;
}

/* Cut the regions before the one that holds @p point off the list. NULL: there are none. */
static struct pt_log_region *regions_detach_before(struct pt_log *log,
                                                   const struct pt_log_point *point)
    PT_REQUIRES(log->sync_mutex) PT_REQUIRES(log->room_mutex)
{
    struct pt_log_region *detached = NULL;
    struct pt_log_region *before = NULL;
    bool unsynced = false;
    struct pt_log_region *region;

    pt_mutex_lock(&log->tail_mutex);
    for (region = log->first; region != log->current && !region_holds(region, point);
         region = region->next) {
        unsynced = unsynced || region == log->sync_region;
        before = region;
    }
    if (before != NULL && region_holds(region, point)) {
        detached = log->first;
        before->next = NULL;
        log->first = region;
        if (unsynced) /* a manifest stands for what was not synced there */
            log->sync_region = region;
    }
    pt_mutex_unlock(&log->tail_mutex);
    return detached;
}

void pt_log_retire(struct pt_log *log, const struct pt_log_point *point, uint64_t generation,
                   bool (*keep)(void *context, const struct pt_log_piece *piece), void *context)
{
    struct pt_log_region *region;

    pt_mutex_lock(&log->sync_mutex);
    pt_mutex_lock(&log->room_mutex);
    region = regions_detach_before(log, point);
    pt_mutex_unlock(&log->room_mutex);
    pt_mutex_unlock(&log->sync_mutex);
    while (region != NULL) {
        struct pt_log_region *next = region->next;

        region_give(log, region, generation, keep, context);
        pt_log_region_close(region);
        region = next;
    }
}

bool pt_log_unsynced(struct pt_log *log)
{
    bool unsynced;

    pt_mutex_lock(&log->tail_mutex);
    unsynced = log->end.position > log->durable_position;
    pt_mutex_unlock(&log->tail_mutex);
    return unsynced;
}

uint64_t pt_log_position(struct pt_log *log)
{
    uint64_t position;

    pt_mutex_lock(&log->tail_mutex);
    position = log->end.position;
    pt_mutex_unlock(&log->tail_mutex);
    return position;
}

uint64_t pt_log_size(struct pt_log *log)
{
    uint64_t size = 0;

    pt_mutex_lock(&log->tail_mutex);
    for (const struct pt_log_region *region = log->first; region != NULL; region = region->next)
        size += region->extent.size;
    pt_mutex_unlock(&log->tail_mutex);
    return size;
}

uint64_t pt_log_left_size(struct pt_log *log)
{
    uint64_t size = 0;

    pt_mutex_lock(&log->tail_mutex);
    for (const struct pt_log_region *region = log->first; region != log->current;
         region = region->next)
        size += region->extent.size;
    pt_mutex_unlock(&log->tail_mutex);
    return size;
}

uint64_t pt_log_bytes_written(struct pt_log *log)
{
    uint64_t bytes_written;

    pt_mutex_lock(&log->tail_mutex);
    bytes_written = log->bytes_written;
    pt_mutex_unlock(&log->tail_mutex);
    return bytes_written;
}

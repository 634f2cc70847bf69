/*
 * Room for the log: how large regions are, which are zeroed, and that they are there in time. Made by
 * the appender when it must, by pt_log_prepare() on the background thread when it can.
 */
#include "wal/log_parts.h"

#include "core/base/clock.h"

enum {
    /* Bytes that the largest record may take: a sync before it moves the tail. */
    RECORD_ROOM = PT_LOG_RECORD_SIZE_MAX + PT_LOG_BLOCK,
    ZERO_STEP_SIZE = 1048576,  /* bytes zeroed at a time: the appender may wait for one step */
    ZERO_ALONE_SIZE = 4194304, /* bytes: the largest region that the appender zeroes by itself */
    SMALL_GROUP_SIZE = 65536,  /* bytes between two syncs: below this zeroed space pays */
    RETRY_SIZE = 262144,       /* bytes appended before a refused region is asked for again */
    FILL_QUICK_US = 1000000,   /* regions that fill within this time grow */
    FILL_SLOW_US = 16000000    /* regions that take longer than this shrink */
};

/* A region with @p room bytes for records, between two link blocks. */
#define REGION_SIZE_WITH(room) \
    (((room) + 2 * PT_LOG_BLOCK + PT_REGION_UNIT - 1) / PT_REGION_UNIT * PT_REGION_UNIT)
/* Regions but the first can hold every record, whatever its size; but for those that come from the arena's
 * reserve, of which there may be left small pieces only: they hold the record that they are made for. */
#define LATER_REGION_SIZE_MIN REGION_SIZE_WITH((uint64_t)RECORD_ROOM)

/* ---- Making regions ---- */

/* For the appender: the background thread gives way. */
static void room_lock_first(struct pt_log *log) PT_ACQUIRES(log->room_mutex)
{
    atomic_store_explicit(&log->appender_waits, true, memory_order_relaxed);
    pt_mutex_lock(&log->room_mutex);
    atomic_store_explicit(&log->appender_waits, false, memory_order_relaxed);
}

/* Regions that fill quickly are followed by larger ones, so that there are few; but by none that is
 * larger than all that the log holds: where it is retired quickly, it need not grow. */
static void region_size_adapt(struct pt_log *log) PT_REQUIRES(log->room_mutex)
{
    uint64_t now_us = pt_clock_monotonic_us();
    uint64_t filled_us = now_us - log->made_us;
    uint64_t held_size = pt_log_size(log);

    log->made_us = now_us;
    if (filled_us < FILL_QUICK_US)
        log->region_size = 2 * log->region_size < held_size ? 2 * log->region_size : held_size;
    else if (filled_us > FILL_SLOW_US)
        log->region_size = pt_round_up(log->region_size / 2, PT_REGION_UNIT);
    if (log->region_size > log->region_size_max)
        log->region_size = log->region_size_max;
    if (log->region_size < LATER_REGION_SIZE_MIN)
        log->region_size = LATER_REGION_SIZE_MIN;
}

/*
 * Whether the next region is worth zeroing: a sync into space that was never written makes the
 * filesystem write its own records too, half the time of a small sync. Large groups do not notice,
 * and zeroing would cost them more than appending.
 */
static bool zeroing_pays(struct pt_log *log) PT_REQUIRES(log->room_mutex)
{
    uint64_t sync_count;
    uint64_t size;

    pt_mutex_lock(&log->tail_mutex);
    sync_count = log->sync_count - log->made_sync_count;
    size = log->end.position - log->made_position;
    log->made_sync_count = log->sync_count;
    log->made_position = log->end.position;
    pt_mutex_unlock(&log->tail_mutex);
    return sync_count * SMALL_GROUP_SIZE > size;
}

/*
 * Make a region for about @p size_hint bytes more than the usual, with room for @p record_room at least,
 * and put it at the end of the list. @p waiting: by the appender, which does the zeroing at once, and so
 * takes a small one.
 */
static enum peat_status region_make(struct pt_log *log, uint64_t size_hint, uint64_t record_room,
                                    bool waiting) PT_REQUIRES(log->room_mutex)
{
    struct pt_log_region *region = NULL;
    bool zero = zeroing_pays(log);
    enum peat_status status;
    uint64_t size;

    region_size_adapt(log);
    size = log->region_size;
    if (size_hint > size)
        size = size_hint < log->region_size_max ? pt_round_up(size_hint, PT_REGION_UNIT)
                                                : log->region_size_max;
    if (waiting && zero && size > ZERO_ALONE_SIZE)
        size = ZERO_ALONE_SIZE;
    if (size < LATER_REGION_SIZE_MIN)
        size = LATER_REGION_SIZE_MIN;
    status =
        pt_log_region_open(log->arena, size, LATER_REGION_SIZE_MIN, REGION_SIZE_WITH(record_room),
                           waiting ? log->keep_size : PT_KEEP_ALL, !log->pwrite, &region);
    if (status < 0)
        return status;
    region->zero_wanted = zero;
    if (waiting && zero)
        status = pt_log_region_zero(region, log->arena, region->extent.size, true);
    if (status < 0) {
        pt_arena_release(log->arena, region->extent);
        pt_log_region_close(region);
        return status;
    }
    pt_mutex_lock(&log->tail_mutex);
    log->last->next = region;
    log->last = region;
    pt_mutex_unlock(&log->tail_mutex);
    return PEAT_OK;
}

void pt_log_regions_release_after(struct pt_log *log, struct pt_log_region *last)
    PT_REQUIRES(log->room_mutex)
{
    struct pt_log_region *region;

    pt_mutex_lock(&log->tail_mutex);
    region = last->next;
    last->next = NULL;
    log->last = last;
    pt_mutex_unlock(&log->tail_mutex);
    while (region != NULL) {
        struct pt_log_region *next = region->next;

        pt_arena_release(log->arena, region->extent);
        pt_log_region_close(region);
        region = next;
    }
}

/* The region behind @p region, with @p room bytes for a record; NULL: there is none. One that has less, and
 * those behind it, are released: left without a record it would end the log (wal/README.md, 4). */
static struct pt_log_region *next_with(struct pt_log *log, struct pt_log_region *region,
                                       uint64_t room) PT_REQUIRES(log->room_mutex)
{
    struct pt_log_region *next = region->next;

    if (next == NULL || pt_log_data_start() + room <= pt_log_data_end(next->extent.size))
        return next;
    pt_log_regions_release_after(log, region);
    return NULL;
}

/*
 * Lay @p payload_size bytes out as records over the regions that there are, each record with the
 * block that a sync before it may skip, and make regions for what is left over. What is appended
 * then never gets further than this layout: an item that starts no later and is no larger ends no
 * later. *kept_out: the last of the regions that were there and stay.
 */
static enum peat_status regions_make_for(struct pt_log *log, uint64_t payload_size,
                                         struct pt_log_region **kept_out)
    PT_REQUIRES(log->room_mutex)
{
    struct pt_log_region *region;
    struct pt_log_region *next;
    uint64_t rest = payload_size;
    uint64_t offset;
    bool made = false;

    pt_mutex_lock(&log->tail_mutex);
    region = log->current;
    *kept_out = log->last;
    offset = region->used;
    pt_mutex_unlock(&log->tail_mutex);
    for (;;) {
        uint64_t size = rest < PT_LOG_PAYLOAD_SIZE_MAX ? rest : PT_LOG_PAYLOAD_SIZE_MAX;
        uint64_t taken = pt_log_record_size(size) + PT_LOG_BLOCK;

        if (offset + taken > pt_log_data_end(region->extent.size)) {
            next = next_with(log, region, taken);
            if (next == NULL) {
                enum peat_status status;

                if (!made)
                    *kept_out = region;
                made = true;
                status = region_make(log, rest + rest / 32 + LATER_REGION_SIZE_MIN, taken, true);
                if (status < 0)
                    return status;
                next = region->next;
            }
            region = next;
            offset = pt_log_data_start();
        }
        PT_ASSERT(offset + taken <= pt_log_data_end(region->extent.size));
        offset += taken;
        if (rest == size)
            return PEAT_OK;
        rest -= size;
    }
}

/* Whether all of it goes into the current region: then only pages or the stage were in its way, and it need
 * not wait while the background thread makes a region, which may take the filesystem milliseconds. */
static bool current_has_room(struct pt_log *log, uint64_t payload_size)
{
    uint64_t taken = pt_log_record_size(payload_size) + PT_LOG_BLOCK;
    bool fits;

    if (payload_size > PT_LOG_PAYLOAD_SIZE_MAX)
        return false;
    pt_mutex_lock(&log->tail_mutex);
    fits = log->current->used + taken <= pt_log_data_end(log->current->extent.size);
    pt_mutex_unlock(&log->tail_mutex);
    return fits;
}

enum peat_status pt_log_room_reserve(struct pt_log *log, uint64_t payload_size)
{
    struct pt_log_region *kept;
    enum peat_status status;

    if (current_has_room(log, payload_size))
        return PEAT_OK;
    room_lock_first(log);
    status = regions_make_for(log, payload_size, &kept);
    if (status < 0)
        pt_log_regions_release_after(log, kept);
    pt_mutex_unlock(&log->room_mutex);
    if (status < 0 && status != PEAT_NO_SPACE && status != PEAT_NO_MEMORY)
        return pt_log_poison(log, status);
    return status;
}

void pt_log_region_begin(struct pt_log_region *region, const struct pt_log_point *end)
{
    PT_ASSERT(!region->has_start);
    region->start = *end;
    region->start.region = region->extent;
    region->start.nonce = region->nonce;
    region->start.offset = region->used;
    region->has_start = true;
}

enum peat_status pt_log_region_leave(struct pt_log *log)
{
    struct pt_log_region *region;
    struct pt_id chain;
    uint64_t durable_position;
    enum peat_status status;

    room_lock_first(log);
    pt_mutex_lock(&log->tail_mutex);
    PT_ASSERT(log->stage.size == 0);
    region = log->current;
    chain = log->end.chain;
    durable_position = log->durable_position;
    pt_mutex_unlock(&log->tail_mutex);

    PT_ASSERT(region->next != NULL);
    status = pt_log_region_link(region, log->arena, region->next, durable_position, &chain);
    if (status == PEAT_OK) {
        pt_mutex_lock(&log->tail_mutex);
        region->left = true;
        log->current = region->next;
        log->bytes_written += 2 * PT_LOG_HEADER_SIZE;
        pt_mutex_unlock(&log->tail_mutex);
    }
    pt_mutex_unlock(&log->room_mutex);
    return status;
}

enum peat_status pt_log_first_region_open(struct pt_log *log, struct pt_log_region **region_out)
{
    struct pt_log_region *region = NULL;
    enum peat_status status;

    *region_out = NULL;
    status = pt_log_region_open(log->arena, log->region_size_min, PT_REGION_UNIT, PT_REGION_UNIT, 0,
                                !log->pwrite, &region);
    if (status < 0)
        return status;
    status = pt_log_region_zero(region, log->arena, region->extent.size, false);
    if (status < 0) {
        pt_arena_release(log->arena, region->extent);
        pt_log_region_close(region);
        return status;
    }
    *region_out = region;
    return PEAT_OK;
}

/* ---- Working ahead ---- */

static enum peat_status spare_make(struct pt_log *log) PT_REQUIRES(log->room_mutex)
{
    enum peat_status status;
    bool wanted;

    pt_mutex_lock(&log->tail_mutex);
    wanted = pt_log_spare_wanted_locked(log);
    pt_mutex_unlock(&log->tail_mutex);
    if (!wanted)
        return PEAT_OK;
    status = region_make(log, 0, RECORD_ROOM, false);
    if (status < 0) {
        pt_mutex_lock(&log->tail_mutex);
        log->retry_position = log->end.position + RETRY_SIZE;
        pt_mutex_unlock(&log->tail_mutex);
    }
    return status;
}

/* One step of zeroing the next region, if that was wanted. PEAT_DONE: there is nothing more to do. */
static enum peat_status spare_zero(struct pt_log *log) PT_REQUIRES(log->room_mutex)
{
    struct pt_log_region *spare;

    pt_mutex_lock(&log->tail_mutex);
    spare = log->current->next;
    pt_mutex_unlock(&log->tail_mutex);
    if (spare == NULL || !spare->zero_wanted || spare->zeroed == spare->extent.size)
        return PEAT_DONE;
    return pt_log_region_zero(spare, log->arena, ZERO_STEP_SIZE, true);
}

/* Unmap regions that were left. */
static void left_unmap(struct pt_log *log) PT_REQUIRES(log->room_mutex)
{
    struct pt_log_region *region;
    struct pt_log_region *current;

    pt_mutex_lock(&log->tail_mutex);
    region = log->first;
    current = log->current;
    pt_mutex_unlock(&log->tail_mutex);
    for (; region != current; region = region->next)
        pt_log_region_unmap(region);
}

enum peat_status pt_log_prepare(struct pt_log *log)
{
    enum peat_status status;

    if (pt_log_is_poisoned(log))
        return PEAT_OK;
    atomic_store_explicit(&log->prepare_wanted, false, memory_order_relaxed);
    pt_mutex_lock(&log->room_mutex);
    left_unmap(log);
    status = spare_make(log);
    pt_mutex_unlock(&log->room_mutex);

    while (status == PEAT_OK && !atomic_load_explicit(&log->appender_waits, memory_order_relaxed)) {
        pt_mutex_lock(&log->room_mutex);
        status = spare_zero(log);
        pt_mutex_unlock(&log->room_mutex);
    }
    return status == PEAT_DONE ? PEAT_OK : status;
}

bool pt_log_prepare_wanted(const struct pt_log *log)
{
    return atomic_load_explicit(&log->prepare_wanted, memory_order_relaxed);
}

/*
 * The appender. wal/README.md has the protocol; here is how the threads share the work.
 *
 *   first ... left regions ... -> current -> regions made ready
 *                                 |synced ..... used|populated ...... |
 *                                  on disk       tail  may be stored to
 *
 * Four mutexes, taken in this order, any of them may be skipped:
 *
 *   sync   one sync at a time; keeps regions that a sync works on from being retired
 *   room   making, mapping, zeroing and leaving regions
 *   push   one write of staged records at a time, so that they arrive in order
 *   tail   where the tail is, and the list of regions; never held across a system call. The appender
 *          holds it while it writes a record, so a sync never sees half of one.
 *
 * A record is written in place: into the mapping, or into the stage that a push or sync later writes,
 * or, if it is large, the append itself: a page costs less that way than faulted in.
 * Once a sync has taken the tail, it moves it to the next block boundary: what is on disk lies in
 * blocks that are never written again.
 */
#include "wal/log.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/thread.h"
#include "wal/log_region.h"

enum {
    REGION_SIZE_MIN_DEFAULT = 131072,   /* bytes */
    REGION_SIZE_MAX_DEFAULT = 67108864, /* bytes */
    /* Bytes that the largest record may take: a sync before it moves the tail. */
    RECORD_ROOM = PT_LOG_RECORD_SIZE_MAX + PT_LOG_BLOCK,
    STAGE_SIZE = 1048576,      /* bytes staged before the appender writes them itself */
    DIRECT_SIZE = 16384,       /* bytes of payload from which a write beats faulting pages in */
    AHEAD_SIZE = 262144,       /* bytes populated ahead of the tail */
    ZERO_STEP_SIZE = 1048576,  /* bytes zeroed at a time: the appender may wait for one step */
    ZERO_ALONE_SIZE = 4194304, /* bytes: the largest region that the appender zeroes by itself */
    SMALL_GROUP_SIZE = 65536,  /* bytes between two syncs: below this zeroed space pays */
    RETRY_SIZE = 262144,       /* bytes appended before a refused region is asked for again */
    FILL_QUICK_US = 1000000,   /* regions that fill within this time grow */
    FILL_SLOW_US = 16000000    /* regions that take longer than this shrink */
};

/* Every region but the first can hold every record, whatever its size. */
#define LATER_REGION_SIZE_MIN                                                           \
    ((uint64_t)(RECORD_ROOM + 2 * PT_LOG_BLOCK + PT_REGION_UNIT - 1) / PT_REGION_UNIT * \
     PT_REGION_UNIT)

_Static_assert(STAGE_SIZE % PT_LOG_BLOCK == 0, "the last block of a stage can be padded");
_Static_assert(STAGE_SIZE >= (int)PT_LOG_RECORD_SIZE_MAX, "an empty stage takes any record");

/* Records that wait in memory, to be written to one region in one piece. */
struct stage {
    uint8_t *data;   /* STAGE_SIZE bytes */
    uint64_t offset; /* in the region: where the first of them goes */
    uint64_t size;   /* bytes used */
};

struct pt_log {
    struct pt_arena *arena; /* borrowed */
    struct pt_file *file;   /* the arena's */
    uint64_t region_size_min;
    uint64_t region_size_max;
    bool pwrite; /* nothing is written through a mapping */
    bool staged; /* the appender's: records go to the stage; true with pwrite */

    atomic_bool poisoned;       /* set once, never taken back: relaxed, it orders nothing */
    atomic_bool unpushed;       /* the stage holds records, or they are just being written */
    atomic_bool prepare_wanted; /* a hint: relaxed */
    atomic_bool appender_waits; /* for the room mutex; a hint: relaxed */

    struct pt_mutex sync_mutex;
    struct pt_log_region *sync_region PT_GUARDED_BY(sync_mutex); /* what is before is on disk */

    struct pt_mutex room_mutex;
    uint64_t region_size PT_GUARDED_BY(room_mutex); /* bytes: of the next region */
    uint64_t made_us PT_GUARDED_BY(room_mutex);     /* when the last region was made */
    uint64_t made_position PT_GUARDED_BY(room_mutex);
    uint64_t made_sync_count PT_GUARDED_BY(room_mutex);

    struct pt_mutex push_mutex;
    uint8_t *idle PT_GUARDED_BY(push_mutex); /* STAGE_SIZE bytes: the stage that is not in use */

    struct pt_mutex tail_mutex;
    struct pt_log_region *first PT_GUARDED_BY(tail_mutex);
    struct pt_log_region *current PT_GUARDED_BY(tail_mutex);
    struct pt_log_region *last PT_GUARDED_BY(tail_mutex);
    struct pt_log_point end PT_GUARDED_BY(tail_mutex); /* without the physical half */
    struct stage stage PT_GUARDED_BY(tail_mutex);      /* of the current region */
    uint64_t durable_position PT_GUARDED_BY(tail_mutex);
    uint64_t retry_position PT_GUARDED_BY(tail_mutex); /* no region is asked for before this */
    uint64_t sync_count PT_GUARDED_BY(tail_mutex);
    uint64_t bytes_written PT_GUARDED_BY(tail_mutex);
};

/* What is being appended: the rest of a payload, and the record that takes the next part of it. */
struct appending {
    enum pt_record_kind kind;
    uint64_t commit;
    uint64_t time_us;
    const struct peat_bytes *payload;
    size_t index;  /* of the piece of the payload that comes next */
    size_t skip;   /* bytes of that piece that are appended already */
    uint64_t rest; /* bytes of payload not yet appended */
    uint64_t size; /* bytes of it that go into this record */
    bool more;     /* and there is more after it */
};

/* ---- Poison ---- */

static bool is_poisoned(const struct pt_log *log)
{
    return atomic_load_explicit(&log->poisoned, memory_order_relaxed);
}

static enum peat_status refuse_poisoned(void)
{
    return pt_fail(PEAT_POISONED, "a write or sync of the log failed earlier: reopen the store");
}

/* A write or sync failed: what the page cache holds can no longer be believed. The words of the
 * failure stand. */
static enum peat_status poison(struct pt_log *log, enum peat_status status)
{
    PT_ASSERT(status < 0);
    atomic_store_explicit(&log->poisoned, true, memory_order_relaxed);
    return status == PEAT_POISONED ? status : PEAT_IO;
}

/* ---- Room: making regions ---- */

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
 * Make a region for about @p size_hint bytes more than the usual and put it at the end of the list.
 * @p waiting: by the appender, which does the zeroing at once, and so takes a small one.
 */
static enum peat_status region_make(struct pt_log *log, uint64_t size_hint, bool waiting)
    PT_REQUIRES(log->room_mutex)
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
    status = pt_log_region_open(log->arena, size, LATER_REGION_SIZE_MIN, !log->pwrite, &region);
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

/* Release what was made ready after @p last. */
static void regions_release_after(struct pt_log *log, struct pt_log_region *last)
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

/*
 * Lay @p payload_size bytes out as records over the regions that there are, each record with the
 * block that a sync before it may skip, and make regions for what is left over. What is appended
 * then never gets further than this layout: an item that starts no later and is no larger ends no
 * later.
 */
static enum peat_status regions_make_for(struct pt_log *log, uint64_t payload_size)
    PT_REQUIRES(log->room_mutex)
{
    struct pt_log_region *region;
    uint64_t rest = payload_size;
    uint64_t offset;

    pt_mutex_lock(&log->tail_mutex);
    region = log->current;
    offset = region->used;
    pt_mutex_unlock(&log->tail_mutex);
    for (;;) {
        uint64_t size = rest < PT_LOG_PAYLOAD_SIZE_MAX ? rest : PT_LOG_PAYLOAD_SIZE_MAX;
        uint64_t taken = pt_log_record_size(size) + PT_LOG_BLOCK;

        if (offset + taken > pt_log_data_end(region->extent.size)) {
            if (region->next == NULL) {
                enum peat_status status =
                    region_make(log, rest + rest / 32 + LATER_REGION_SIZE_MIN, true);
                if (status < 0)
                    return status;
            }
            region = region->next;
            offset = pt_log_data_start();
        }
        PT_ASSERT(offset + taken <= pt_log_data_end(region->extent.size));
        offset += taken;
        if (rest == size)
            return PEAT_OK;
        rest -= size;
    }
}

/* Find all the space that @p payload_size bytes can take. When that fails, nothing has changed. */
static enum peat_status room_reserve(struct pt_log *log, uint64_t payload_size)
{
    struct pt_log_region *last;
    enum peat_status status;

    room_lock_first(log);
    pt_mutex_lock(&log->tail_mutex);
    last = log->last;
    pt_mutex_unlock(&log->tail_mutex);
    status = regions_make_for(log, payload_size);
    if (status < 0)
        regions_release_after(log, last);
    pt_mutex_unlock(&log->room_mutex);
    if (status < 0 && status != PEAT_NO_SPACE && status != PEAT_NO_MEMORY)
        return poison(log, status);
    return status;
}

/* Link the current region to the next and go on there. Everything staged is written. */
static enum peat_status region_leave(struct pt_log *log)
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

/* ---- Working ahead ---- */

static bool spare_wanted_locked(const struct pt_log *log) PT_REQUIRES(log->tail_mutex)
{
    const struct pt_log_region *region = log->current;

    return region->next == NULL && region->used > region->extent.size / 2 &&
           log->end.position >= log->retry_position;
}

static enum peat_status spare_make(struct pt_log *log) PT_REQUIRES(log->room_mutex)
{
    enum peat_status status;
    bool wanted;

    pt_mutex_lock(&log->tail_mutex);
    wanted = spare_wanted_locked(log);
    pt_mutex_unlock(&log->tail_mutex);
    if (!wanted)
        return PEAT_OK;
    status = region_make(log, 0, false);
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

    if (is_poisoned(log))
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

/* ---- Appending ---- */

/* Where a record is written: in a mapping, or in the stage. */
struct place {
    struct pt_file *file; /* NULL: the stage */
    uint64_t offset;      /* in the file */
    uint8_t *memory;
};

static void place_put(const struct place *place, uint64_t skip, const void *data, size_t size)
{
    if (size == 0)
        return;
    if (place->file == NULL)
        memcpy(place->memory + skip, data, size);
    else
        pt_file_store(place->file, place->offset + skip, place->memory + skip, data, size);
}

/* Take the next @p appending->size bytes of the payload to @p place, behind the header. */
static void payload_put(struct appending *appending, const struct place *place)
{
    uint64_t skip = PT_LOG_HEADER_SIZE;
    uint64_t rest = appending->size;

    while (rest > 0) {
        const struct peat_bytes *piece = &appending->payload[appending->index];
        size_t size = piece->size - appending->skip;

        if (size > rest)
            size = rest;
        if (size > 0) /* an empty piece may have no address */
            place_put(place, skip, (const uint8_t *)piece->data + appending->skip, size);
        skip += size;
        rest -= size;
        appending->skip += size;
        if (appending->skip == piece->size) {
            appending->index++;
            appending->skip = 0;
        }
    }
    appending->rest -= appending->size;
}

static struct place record_place_locked(struct pt_log *log) PT_REQUIRES(log->tail_mutex)
{
    struct pt_log_region *region = log->current;
    struct place place = {.offset = region->extent.offset + region->used};

    if (!log->staged) {
        place.file = log->file;
        place.memory = region->map + region->used;
        return place;
    }
    if (log->stage.size == 0)
        log->stage.offset = region->used;
    PT_ASSERT(log->stage.offset + log->stage.size == region->used);
    place.memory = log->stage.data + log->stage.size;
    return place;
}

/*
 * Write one record. The chain is taken over header and payload where they were put, in one call; a
 * reader beside sees a record once the checksum is there, which is put last.
 */
static void record_write_locked(struct pt_log *log, struct appending *appending)
    PT_REQUIRES(log->tail_mutex)
{
    struct place place = record_place_locked(log);
    struct pt_log_header header = {
        .durable_position = pt_le64(log->durable_position),
        .size = pt_le32(pt_u32(appending->size)),
        .kind = (uint8_t)appending->kind,
        .flags = appending->more ? PT_LOG_MORE : 0,
        .mark = pt_le16(PT_LOG_MARK),
        .epoch = pt_le64(log->end.epoch),
        .commit = pt_le64(appending->commit),
        .time_us = pt_le64(appending->time_us),
        .position = pt_le64(log->end.position),
    };
    const uint8_t *bytes = (const uint8_t *)&header;
    uint64_t chained_size = PT_LOG_CHAINED_SIZE + appending->size;

    PT_ASSERT(appending->commit == log->end.commit + (appending->kind == PT_RECORD_BATCH));
    place_put(&place, PT_LOG_CHAINED_OFFSET, bytes + PT_LOG_CHAINED_OFFSET, PT_LOG_CHAINED_SIZE);
    payload_put(appending, &place);
    header.chain =
        pt_siphash128(&log->end.chain, place.memory + PT_LOG_CHAINED_OFFSET, chained_size);
    header.checksum = pt_le64(
        pt_siphash(&log->current->nonce, bytes + PT_LOG_CHECKED_OFFSET, PT_LOG_CHECKED_SIZE));
    place_put(&place, 0, bytes, PT_LOG_CHAINED_OFFSET);
    log->end.chain = header.chain;
}

/* Count a record that was written: the tail is behind it. */
static void tail_advance_locked(struct pt_log *log, const struct appending *appending,
                                uint64_t record_size) PT_REQUIRES(log->tail_mutex)
{
    log->current->used += record_size;
    log->end.position += record_size;
    log->bytes_written += record_size;
    if (log->staged) {
        log->stage.size += record_size;
        atomic_store_explicit(&log->unpushed, true, memory_order_relaxed);
    }
    if (!appending->more) {
        log->end.commit = appending->commit;
        log->end.time_us = appending->time_us;
    }
    if (spare_wanted_locked(log))
        atomic_store_explicit(&log->prepare_wanted, true, memory_order_relaxed);
}

static bool record_fits_locked(const struct pt_log *log, uint64_t record_size)
    PT_REQUIRES(log->tail_mutex)
{
    const struct pt_log_region *region = log->current;

    if (region->used + record_size > pt_log_data_end(region->extent.size))
        return false;
    if (log->staged)
        return log->stage.size + record_size <= STAGE_SIZE;
    return log->stage.size == 0 && region->used + record_size <= region->populated;
}

/* Append the next record if nothing is in its way. */
static bool record_append(struct pt_log *log, struct appending *appending)
{
    uint64_t record_size;
    bool fits;

    appending->more = appending->rest > PT_LOG_PAYLOAD_SIZE_MAX;
    appending->size = appending->more ? PT_LOG_PAYLOAD_SIZE_MAX : appending->rest;
    record_size = pt_log_record_size(appending->size);
    pt_mutex_lock(&log->tail_mutex);
    fits = record_fits_locked(log, record_size);
    if (fits) {
        record_write_locked(log, appending);
        tail_advance_locked(log, appending, record_size);
    }
    pt_mutex_unlock(&log->tail_mutex);
    return fits;
}

/*
 * Populate the pages for the next record and some after it. By the appender itself and not much
 * ahead: pages that another thread has just cleared come from its cache, and that costs more than the
 * system calls do.
 */
static enum peat_status pages_reach(struct pt_log *log, uint64_t record_size)
{
    struct pt_log_region *region;
    enum peat_status status;
    uint64_t from;
    uint64_t to;

    pt_mutex_lock(&log->tail_mutex);
    region = log->current;
    from = pt_round_down(region->used, PT_LOG_BLOCK);
    to = pt_round_up(region->used + record_size + AHEAD_SIZE, PT_REGION_UNIT);
    if (from < region->populated)
        from = region->populated;
    if (to > region->extent.size)
        to = region->extent.size;
    pt_mutex_unlock(&log->tail_mutex);
    if (from >= to)
        return PEAT_OK;

    PT_ASSERT(region->map != NULL);
    status = pt_file_populate(log->file, region->map + from, to - from, true);
    if (status == PEAT_OK)
        region->populated = to;
    return status;
}

/* Take the first of the things that are in the way of a record away. */
static enum peat_status obstacle_remove(struct pt_log *log, uint64_t record_size)
{
    bool staging;
    bool full;

    pt_mutex_lock(&log->tail_mutex);
    staging = log->stage.size > 0;
    full = log->current->used + record_size > pt_log_data_end(log->current->extent.size);
    pt_mutex_unlock(&log->tail_mutex);
    if (staging) /* the stage is full, its region is, or nothing is to be staged any more */
        return pt_log_push(log);
    if (full)
        return region_leave(log);
    return log->staged ? PEAT_OK : pages_reach(log, record_size);
}

/* Every record of @p appending, over as many regions as it takes. */
static enum peat_status records_append(struct pt_log *log, struct appending *appending)
{
    enum peat_status status = room_reserve(log, appending->rest);

    if (status < 0)
        return status;
    for (;;) {
        while (!record_append(log, appending)) {
            status = obstacle_remove(log, pt_log_record_size(appending->size));
            if (status < 0)
                return poison(log, status);
        }
        if (!appending->more)
            return PEAT_OK;
    }
}

enum peat_status pt_log_append(struct pt_log *log, enum pt_record_kind kind, uint64_t commit,
                               uint64_t time_us, const struct peat_bytes *payload,
                               size_t payload_count)
{
    struct appending appending = {
        .kind = kind, .commit = commit, .time_us = time_us, .payload = payload};
    enum peat_status status = PEAT_OK;
    bool direct;

    if (is_poisoned(log))
        return refuse_poisoned();
    for (size_t i = 0; i < payload_count; i++)
        appending.rest += payload[i].size;
    direct = !log->staged && appending.rest >= DIRECT_SIZE;
    if (direct)
        log->staged = true;
    /* Nearly always it is one record, and nothing is in the way. */
    if (appending.rest > PT_LOG_PAYLOAD_SIZE_MAX || !record_append(log, &appending))
        status = records_append(log, &appending);
    if (direct) {
        log->staged = false;
        if (status == PEAT_OK)
            status = pt_log_push(log);
    }
    return status;
}

void pt_log_stage(struct pt_log *log, bool staged)
{
    log->staged = staged || log->pwrite;
}

/* ---- Pushing and syncing ---- */

/* What a sync makes durable: everything before this point. */
struct cut {
    struct pt_log_region *region;
    uint64_t used; /* bytes of the region; a block boundary */
    uint64_t position;
    struct stage stage; /* size 0: nothing was staged */
    bool alone;         /* what was staged is all that there is to sync */
};

/* Take what is staged away, to write it, and leave the other stage in its place. */
static struct stage stage_take_locked(struct pt_log *log) PT_REQUIRES(log->push_mutex)
    PT_REQUIRES(log->tail_mutex)
{
    struct stage taken = log->stage;

    log->stage = (struct stage){.data = log->idle};
    log->idle = NULL;
    return taken;
}

/* The stage @p taken is written. */
static void stage_give_back(struct pt_log *log, const struct stage *taken)
    PT_REQUIRES(log->push_mutex)
{
    log->idle = taken->data;
    pt_mutex_lock(&log->tail_mutex);
    if (log->stage.size == 0)
        atomic_store_explicit(&log->unpushed, false, memory_order_relaxed);
    pt_mutex_unlock(&log->tail_mutex);
}

static enum peat_status stage_push(struct pt_log *log) PT_REQUIRES(log->push_mutex)
{
    const struct pt_log_region *region;
    enum peat_status status = PEAT_OK;
    struct stage taken;

    pt_mutex_lock(&log->tail_mutex);
    region = log->current; /* leaving it takes an empty stage */
    taken = stage_take_locked(log);
    pt_mutex_unlock(&log->tail_mutex);
    if (taken.size > 0)
        status =
            pt_file_write(log->file, region->extent.offset + taken.offset, taken.data, taken.size);
    if (status < 0)
        status = poison(log, status);
    stage_give_back(log, &taken);
    return status;
}

enum peat_status pt_log_push(struct pt_log *log)
{
    enum peat_status status;

    if (is_poisoned(log))
        return refuse_poisoned();
    if (!atomic_load_explicit(&log->unpushed, memory_order_relaxed))
        return PEAT_OK;
    pt_mutex_lock(&log->push_mutex);
    if (is_poisoned(log)) /* perhaps by a sync that had our records */
        status = refuse_poisoned();
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
    uint64_t padded = pt_round_up(region->used, PT_LOG_BLOCK);
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
    uint64_t offset = cut->region->extent.offset + cut->stage.offset;
    uint64_t padded = cut->used - cut->stage.offset;

    if (!cut->alone)
        return pt_file_write(log->file, offset, cut->stage.data, cut->stage.size);
    PT_ASSERT(padded >= cut->stage.size && padded <= STAGE_SIZE);
    memset(cut->stage.data + cut->stage.size, 0, padded - cut->stage.size);
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
        else if (from < to)
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
        status = poison(log, status);
    stage_give_back(log, &cut.stage);
    pt_mutex_unlock(&log->push_mutex);

    if (status == PEAT_OK && !cut.alone)
        status = regions_sync(log, &cut);
    if (status < 0)
        return poison(log, status);
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
    if (is_poisoned(log))
        return refuse_poisoned();
    if (durable)
        return PEAT_OK;
    pt_mutex_lock(&log->sync_mutex);
    if (is_poisoned(log))
        status = refuse_poisoned();
    else if (!is_durable(log, position)) /* or the sync that was waited for has done it */
        status = sync_tail(log);
    pt_mutex_unlock(&log->sync_mutex);
    return status;
}

/* ---- The log as a whole ---- */

/* The first region, the whole of it zeroed: it is small. The caller syncs the file before it names
 * the region. */
static enum peat_status first_region_open(struct pt_log *log, struct pt_log_region **region_out)
{
    struct pt_log_region *region = NULL;
    enum peat_status status;

    *region_out = NULL;
    status =
        pt_log_region_open(log->arena, log->region_size_min, PT_REGION_UNIT, !log->pwrite, &region);
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
    log->stage.data = pt_pages_map(STAGE_SIZE);
    log->idle = pt_pages_map(STAGE_SIZE);
    if (log->stage.data == NULL || log->idle == NULL)
        return pt_fail(PEAT_NO_MEMORY, "log stages");
    status = first_region_open(log, &region);
    if (status < 0)
        return status;
    log->first = region;
    log->current = region;
    log->last = region;
    log->sync_region = region;
    log->region_size = region->extent.size;
    log->made_us = pt_clock_monotonic_us();
    log->end = *start;
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
        regions_release_after(log, log->current);
    for (region = log->first; region != NULL;) {
        struct pt_log_region *next = region->next;

        pt_log_region_close(region);
        region = next;
    }
    if (log->stage.data != NULL)
        pt_pages_unmap(log->stage.data, STAGE_SIZE);
    if (log->idle != NULL)
        pt_pages_unmap(log->idle, STAGE_SIZE);
    pt_mutex_fini(&log->tail_mutex);
    pt_mutex_fini(&log->push_mutex);
    pt_mutex_fini(&log->room_mutex);
    pt_mutex_fini(&log->sync_mutex);
    pt_free(log);
}

void pt_log_end(struct pt_log *log, uint64_t generation) PT_NO_ANALYSIS
{
    struct pt_log_region *region = log->first;

    for (;; region = region->next) { /* what lies behind the current one closing releases */
        (void)pt_arena_retire(log->arena, region->extent, generation);
        if (region == log->current)
            break;
    }
    pt_log_close(log);
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

void pt_log_retire(struct pt_log *log, const struct pt_log_point *point, uint64_t generation)
{
    struct pt_log_region *region;

    pt_mutex_lock(&log->sync_mutex);
    pt_mutex_lock(&log->room_mutex);
    region = regions_detach_before(log, point);
    pt_mutex_unlock(&log->room_mutex);
    pt_mutex_unlock(&log->sync_mutex);
    while (region != NULL) {
        struct pt_log_region *next = region->next;

        /* Without memory for it the space is free only after the next open, which is no harm. */
        (void)pt_arena_retire(log->arena, region->extent, generation);
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

uint64_t pt_log_size(struct pt_log *log)
{
    uint64_t size = 0;

    pt_mutex_lock(&log->tail_mutex);
    for (const struct pt_log_region *region = log->first; region != NULL; region = region->next)
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

/*
 * Appending. A record is written in place: into the mapping, or into the stage that a push or sync
 * later writes, or, if it is large, the append itself: a page costs less that way than faulted in.
 */
#include "wal/log_parts.h"

#include "core/base/bug.h"

enum {
    DIRECT_SIZE = 16384,  /* bytes of payload from which a write beats faulting pages in */
    AHEAD_SIZE = 262144,  /* bytes populated ahead of the tail */
    PAGE_SIZE_MAX = 65536 /* bytes: of any host */
};

/* What is being appended: the rest of a payload, and the record that takes the next part of it. */
struct appending {
    enum pt_record_kind kind;
    uint64_t commit;
    uint64_t time_us;
    const struct peat_bytes *payload;
    const struct pt_id *chain; /* behind it, where that is known; NULL: not */
    size_t index;              /* of the piece of the payload that comes next */
    size_t skip;               /* bytes of that piece that are appended already */
    uint64_t rest;             /* bytes of payload not yet appended */
    uint64_t size;             /* bytes of it that go into this record */
    bool more;                 /* and there is more after it */
    bool begun;                /* this record is not the first of the payload */
};

/* ---- One record ---- */

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
        .durable_position =
            pt_le64(PT_BUG(DURABLE_EARLY) ? log->end.position : log->durable_position),
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
    if (!log->current->has_start && !appending->begun)
        pt_log_region_begin(log->current, &log->end);
    appending->begun = true;
    place_put(&place, PT_LOG_CHAINED_OFFSET, bytes + PT_LOG_CHAINED_OFFSET, PT_LOG_CHAINED_SIZE);
    payload_put(appending, &place);
    header.chain =
        appending->chain != NULL
            ? *appending->chain
            : pt_siphash128(&log->end.chain, place.memory + PT_LOG_CHAINED_OFFSET, chained_size);
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
    if (pt_log_spare_wanted_locked(log))
        atomic_store_explicit(&log->prepare_wanted, true, memory_order_relaxed);
}

static bool record_fits_locked(const struct pt_log *log, uint64_t record_size)
    PT_REQUIRES(log->tail_mutex)
{
    const struct pt_log_region *region = log->current;

    if (region->used + record_size > pt_log_data_end(region->extent.size))
        return false;
    if (log->staged)
        return log->stage.size + record_size <= PT_LOG_STAGE_SIZE;
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
 * Take the pages behind the tail out of the page tables. A sync would else take their dirty marks one
 * by one, each with a flush on every processor: a third of all time under single puts, in a guest.
 */
static void pages_detach(struct pt_log_region *region, uint64_t used)
{
    uint64_t to = pt_round_down(used, PAGE_SIZE_MAX);

    if (to > region->detached)
        pt_file_detach(region->map + region->detached, to - region->detached);
    region->detached = to;
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
    uint64_t used;
    uint64_t from;
    uint64_t to;

    pt_mutex_lock(&log->tail_mutex);
    region = log->current;
    used = region->used;
    from = pt_round_down(used, PT_LOG_BLOCK);
    to = pt_round_up(used + record_size + AHEAD_SIZE, PT_REGION_UNIT);
    if (from < region->populated)
        from = region->populated;
    if (to > region->extent.size)
        to = region->extent.size;
    pt_mutex_unlock(&log->tail_mutex);
    if (from >= to)
        return PEAT_OK;

    PT_ASSERT(region->map != NULL);
    pages_detach(region, used);
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
        return pt_log_region_leave(log);
    return log->staged ? PEAT_OK : pages_reach(log, record_size);
}

/* Every record of @p appending, over as many regions as it takes. */
static enum peat_status records_append(struct pt_log *log, struct appending *appending)
{
    enum peat_status status = pt_log_room_reserve(log, appending->rest);

    if (status < 0)
        return status;
    for (;;) {
        while (!record_append(log, appending)) {
            status = obstacle_remove(log, pt_log_record_size(appending->size));
            if (status < 0)
                return pt_log_poison(log, status);
        }
        if (!appending->more)
            return PEAT_OK;
    }
}

static enum peat_status append(struct pt_log *log, struct appending *appending,
                               size_t payload_count)
{
    enum peat_status status = PEAT_OK;
    bool direct;

    if (pt_log_is_poisoned(log))
        return pt_log_refuse_poisoned();
    for (size_t i = 0; i < payload_count; i++)
        appending->rest += appending->payload[i].size;
    if (appending->rest > PT_LOG_PAYLOAD_SIZE_MAX)
        appending->chain = NULL; /* each of the records has its own */
    direct = !log->staged && appending->rest >= DIRECT_SIZE;
    if (direct)
        log->staged = true;
    /* Nearly always it is one record, and nothing is in the way. */
    if (appending->rest > PT_LOG_PAYLOAD_SIZE_MAX || !record_append(log, appending))
        status = records_append(log, appending);
    if (direct) {
        log->staged = false;
        if (status == PEAT_OK)
            status = pt_log_push(log);
    }
    return status;
}

enum peat_status pt_log_append(struct pt_log *log, enum pt_record_kind kind, uint64_t commit,
                               uint64_t time_us, const struct peat_bytes *payload,
                               size_t payload_count)
{
    struct appending appending = {
        .kind = kind, .commit = commit, .time_us = time_us, .payload = payload};

    return append(log, &appending, payload_count);
}

enum peat_status pt_log_append_chained(struct pt_log *log, const struct pt_record *record,
                                       const struct pt_id *chain)
{
    struct appending appending = {.kind = record->kind,
                                  .commit = record->commit,
                                  .time_us = record->time_us,
                                  .payload = &record->payload,
                                  .chain = chain};

    return append(log, &appending, record->payload.size > 0);
}

void pt_log_stage(struct pt_log *log, bool staged)
{
    log->staged = staged || log->pwrite;
}

void pt_log_use_reserve(struct pt_log *log, uint64_t keep_size)
{
    log->keep_size = keep_size;
}

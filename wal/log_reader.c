/*
 * The reader: records in order, each believed only if it continues the history read so far (position,
 * epoch, commit and chain). Where the next one may lie is decided by three places, in this order:
 *
 *   1. right behind the last record;
 *   2. at the next block boundary: a sync moved the tail there;
 *   3. at the start of the region that a link with the chain of the last record names.
 *
 * Where none of them has it, the log ends: not yet written, torn by a crash, or damaged.
 */
#include "wal/log.h"

#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/base/bytes.h"
#include "wal/log_view.h"

#include <inttypes.h>

enum { JOINED_SIZE_KEPT = 1 << 20 /* bytes: larger payloads are rare */ };

/* A place in the log and the history up to it. */
struct cursor {
    struct pt_log_point point;
    size_t region_index; /* in the reader's list */
    bool linked;         /* the region was entered by a link, and no record was read in it yet */
};

struct pt_log_reader {
    struct pt_arena *arena; /* borrowed */
    bool live;
    bool ended;           /* not live, and the end was seen */
    uint64_t commit_max;  /* later commits are not given */
    struct cursor cursor; /* behind the last record given */
    struct cursor begin;  /* before it, in the region that it begins in */
    struct pt_log_view view;
    struct pt_extent *regions;   /* entered so far */
    struct pt_log_piece *pieces; /* the same, and where records begin in them */
    size_t region_count;
    size_t region_capacity;
    uint8_t *joined;        /* a payload that came in several records */
    size_t joined_size;     /* bytes; 0: the payload is in one record so far */
    size_t joined_capacity; /* bytes */
};

/* ---- Regions ---- */

static enum peat_status regions_grow(struct pt_log_reader *reader)
{
    size_t capacity = reader->region_capacity == 0 ? 8 : 2 * reader->region_capacity;
    struct pt_extent *regions = pt_realloc(reader->regions, capacity * sizeof(*reader->regions));
    struct pt_log_piece *pieces;

    if (regions != NULL)
        reader->regions = regions;
    pieces = regions == NULL ? NULL : pt_realloc(reader->pieces, capacity * sizeof(*pieces));
    if (pieces == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu log regions", capacity);
    reader->pieces = pieces;
    reader->region_capacity = capacity;
    return PEAT_OK;
}

static enum peat_status region_add(struct pt_log_reader *reader, struct pt_extent extent,
                                   const struct pt_id *nonce)
{
    struct pt_log_piece piece = {.start = {.region = extent, .nonce = *nonce}};
    enum peat_status status = PEAT_OK;

    if (reader->region_count == reader->region_capacity)
        status = regions_grow(reader);
    if (status < 0)
        return status;
    reader->pieces[reader->region_count] = piece;
    reader->regions[reader->region_count++] = extent;
    return PEAT_OK;
}

/* The extent that @p link names, and its view. PEAT_DONE: there is nothing there. */
static enum peat_status link_view(struct pt_log_reader *reader, const struct pt_log_link *link,
                                  struct pt_log_view *view_out)
{
    struct pt_extent extent = {.offset = pt_le64_value(link->region_offset),
                               .size = pt_le64_value(link->region_size)};

    return pt_log_view_init(view_out, reader->arena, extent, &link->nonce);
}

/*
 * Go on in the region that this one is linked to. PEAT_DONE: it is not, or the link belongs behind
 * records that are not there, or names space that is not: the file had not grown when a crash came.
 * An empty region is never left (only the first may have been), so links do not lead in circles.
 */
static enum peat_status link_follow(struct pt_log_reader *reader, struct cursor *cursor)
{
    struct pt_log_view view;
    struct pt_log_link link;
    enum peat_status status;

    if (cursor->linked)
        return PEAT_DONE;
    status = pt_log_view_link(&reader->view, &link);
    if (status != PEAT_OK)
        return status;
    if (memcmp(&link.chain, &cursor->point.chain, sizeof(link.chain)) != 0)
        return PEAT_DONE;
    status = link_view(reader, &link, &view);
    if (status == PEAT_OK)
        status = region_add(reader, view.extent, &view.nonce);
    if (status != PEAT_OK)
        return status;
    reader->view = view;
    cursor->point.region = view.extent;
    cursor->point.nonce = view.nonce;
    cursor->point.offset = pt_log_data_start();
    cursor->region_index = reader->region_count - 1;
    cursor->linked = true;
    return PEAT_OK;
}

/* ---- Records ---- */

static bool continues(const struct pt_log_point *point, const struct pt_log_header *header,
                      const uint8_t *record)
{
    uint64_t step = header->kind == PT_RECORD_BATCH ? 1 : 0;
    struct pt_id chain;

    if (pt_le64_value(header->position) != point->position ||
        pt_le64_value(header->epoch) < point->epoch ||
        pt_le64_value(header->commit) != point->commit + step)
        return false;
    chain = pt_siphash128(&point->chain, record + PT_LOG_CHAINED_OFFSET,
                          PT_LOG_CHAINED_SIZE + pt_le32_value(header->size));
    return PT_BUG(TORN_PAYLOAD_ACCEPTED) || PT_BUG(LOG_UNCHECKED) ||
           memcmp(&chain, &header->chain, sizeof(chain)) == 0;
}

/* The record at @p offset, if it comes next; the cursor is then behind it. */
static enum peat_status record_take(struct pt_log_reader *reader, struct cursor *cursor,
                                    uint64_t offset, struct pt_log_header *header_out,
                                    const uint8_t **record_out)
{
    enum peat_status status = pt_log_view_record(&reader->view, offset, header_out, record_out);
    uint64_t size;

    if (status != PEAT_OK)
        return status;
    if (!continues(&cursor->point, header_out, *record_out))
        return PEAT_DONE;
    size = pt_log_record_size(pt_le32_value(header_out->size));
    cursor->linked = false;
    cursor->point.offset = offset + size;
    cursor->point.position += size;
    cursor->point.chain = header_out->chain;
    if ((header_out->flags & PT_LOG_MORE) == 0) {
        cursor->point.epoch = pt_le64_value(header_out->epoch);
        cursor->point.commit = pt_le64_value(header_out->commit);
        cursor->point.time_us = pt_le64_value(header_out->time_us);
    }
    return PEAT_OK;
}

/* The next record, in whichever of the three places it is. PEAT_DONE: in none. */
static enum peat_status record_next(struct pt_log_reader *reader, struct cursor *cursor,
                                    struct pt_log_header *header_out, const uint8_t **record_out)
{
    for (;;) {
        uint64_t offset = cursor->point.offset;
        uint64_t block = pt_round_up(offset, PT_LOG_BLOCK);
        enum peat_status status = record_take(reader, cursor, offset, header_out, record_out);

        if (status == PEAT_DONE && block != offset)
            status = record_take(reader, cursor, block, header_out, record_out);
        if (status != PEAT_DONE)
            return status;
        status = link_follow(reader, cursor);
        if (status != PEAT_OK)
            return status;
    }
}

/* ---- Payloads ---- */

static enum peat_status join(struct pt_log_reader *reader, const uint8_t *data, size_t size)
{
    size_t joined_size = reader->joined_size + size;

    if (joined_size > reader->joined_capacity) {
        size_t capacity = 2 * reader->joined_capacity;
        uint8_t *joined;

        if (capacity < joined_size)
            capacity = pt_round_up(joined_size, PT_REGION_UNIT);
        joined = pt_block_grow(reader->joined, reader->joined_capacity, capacity);
        if (joined == NULL)
            return pt_fail(PEAT_NO_MEMORY, "log record of %zu bytes or more", joined_size);
        reader->joined = joined;
        reader->joined_capacity = capacity;
    }
    if (size > 0)
        memcpy(reader->joined + reader->joined_size, data, size);
    reader->joined_size = joined_size;
    return PEAT_OK;
}

/* The last payload is not needed any more; nor is its memory, if it was a large one. */
static void joined_forget(struct pt_log_reader *reader)
{
    reader->joined_size = 0;
    if (reader->joined_capacity <= JOINED_SIZE_KEPT)
        return;
    pt_block_free(reader->joined, reader->joined_capacity);
    reader->joined = NULL;
    reader->joined_capacity = 0;
}

/* All records of the next payload. PEAT_DONE: they are not all there. */
static enum peat_status payload_next(struct pt_log_reader *reader, struct cursor *cursor,
                                     struct pt_record *record_out)
{
    struct pt_log_header header;
    const uint8_t *record;
    bool first = true;
    bool more;

    joined_forget(reader);
    reader->begin = *cursor;
    do {
        size_t size;
        enum peat_status status = record_next(reader, cursor, &header, &record);

        if (status != PEAT_OK)
            return status;
        if (pt_le64_value(header.commit) > reader->commit_max)
            return PEAT_DONE;
        size = pt_le32_value(header.size);
        more = (header.flags & PT_LOG_MORE) != 0;
        record_out->payload = pt_bytes(record + PT_LOG_HEADER_SIZE, size);
        if (first) { /* the history is as before it; the place is where it was found */
            reader->begin.point.region = cursor->point.region;
            reader->begin.point.nonce = cursor->point.nonce;
            reader->begin.point.offset = cursor->point.offset - pt_log_record_size(size);
            reader->begin.region_index = cursor->region_index;
            first = false;
        }
        if ((!more && reader->joined_size == 0) || PT_BUG(BATCH_IN_PARTS))
            break;
        status = join(reader, record_out->payload.data, size);
        if (status < 0)
            return status;
        record_out->payload = pt_bytes(reader->joined, reader->joined_size);
    } while (more);
    record_out->kind = (enum pt_record_kind)header.kind;
    record_out->epoch = cursor->point.epoch;
    record_out->commit = cursor->point.commit;
    record_out->time_us = cursor->point.time_us;
    return PEAT_OK;
}

/* ---- The end ---- */

/*
 * Whether what follows @p cursor was on disk once: look for something later that says so, in this
 * region and in those that it leads to. PEAT_DONE: nothing does.
 */
static enum peat_status damage_find(struct pt_log_reader *reader, const struct cursor *cursor)
{
    uint64_t region_count_max = pt_arena_size(reader->arena) / PT_REGION_UNIT;
    struct pt_log_view view = reader->view;
    uint64_t from = cursor->point.offset;
    uint64_t commit = 0;

    for (uint64_t i = 0;; i++) {
        enum peat_status status =
            pt_log_view_find_durable(&view, from, cursor->point.position, &commit);
        struct pt_log_link link;

        if (status == PEAT_OK)
            break;
        if (status == PEAT_DONE)
            status = pt_log_view_link(&view, &link);
        if (status == PEAT_OK)
            status = link_view(reader, &link, &view);
        if (status == PEAT_OK && i == region_count_max) /* links that lead in circles */
            status = PEAT_DONE;
        if (status != PEAT_OK)
            return status;
        from = pt_log_data_start();
    }
    return pt_fail(PEAT_CORRUPT,
                   "%s: the log is damaged at byte %" PRIu64 ": commits from %" PRIu64
                   " on are lost that were on disk (the next trace is of commit %" PRIu64 ")",
                   pt_file_name(pt_arena_file(reader->arena)),
                   cursor->point.region.offset + cursor->point.offset, cursor->point.commit + 1,
                   commit);
}

/* Begin again behind the last record given: what was tried there may have come to be. */
static enum peat_status begin_again(struct pt_log_reader *reader, struct cursor *cursor)
{
    enum peat_status status = PEAT_OK;

    *cursor = reader->cursor;
    if (reader->region_count != cursor->region_index + 1) {
        reader->region_count = cursor->region_index + 1;
        status = pt_log_view_init(&reader->view, reader->arena, cursor->point.region,
                                  &cursor->point.nonce);
        PT_ASSERT(status != PEAT_DONE);
    }
    return status;
}

/*
 * Beside a writer the log may go on between the look for the next record and the look for a trace of it: then
 * there is a trace, but the record is there as well. What is before a trace was written before it, so a
 * second look comes further, or it is damage.
 */
enum peat_status pt_log_reader_next(struct pt_log_reader *reader, struct pt_record *record_out)
{
    uint64_t tried = UINT64_MAX; /* up to which position there was a record, the last time */
    struct cursor begin_before = reader->begin;
    struct pt_log_piece *begin;
    struct cursor cursor;
    enum peat_status status;

    if (reader->ended || reader->cursor.point.region.size == 0)
        return PEAT_DONE;
    for (;;) {
        status = begin_again(reader, &cursor);
        if (status == PEAT_OK)
            status = payload_next(reader, &cursor, record_out);
        if (status != PEAT_DONE || reader->live)
            break;
        status = damage_find(reader, &cursor);
        if (status != PEAT_CORRUPT || cursor.point.position == tried)
            break;
        tried = cursor.point.position;
    }
    reader->ended = status == PEAT_DONE && !reader->live;
    if (status != PEAT_OK) {
        reader->begin = begin_before;
        return status;
    }
    reader->cursor = cursor;
    begin = &reader->pieces[reader->begin.region_index];
    if (!begin->has_start)
        *begin = (struct pt_log_piece){reader->begin.point, true};
    return PEAT_OK;
}

/* ---- The reader as a whole ---- */

/* What a manifest says is checked here, as far as it goes without reading. */
static enum peat_status start_enter(struct pt_log_reader *reader, const struct pt_log_point *start)
{
    enum peat_status status =
        pt_log_view_init(&reader->view, reader->arena, start->region, &start->nonce);

    if (status == PEAT_OK && (start->offset < pt_log_data_start() ||
                              start->offset > pt_log_data_end(start->region.size) ||
                              start->offset % PT_LOG_RECORD_ALIGNMENT != 0))
        status = PEAT_DONE;
    if (status == PEAT_DONE)
        status = pt_fail(PEAT_CORRUPT, "%s: the log cannot begin at byte %" PRIu64 " + %" PRIu64,
                         pt_file_name(pt_arena_file(reader->arena)), start->region.offset,
                         start->offset);
    if (status == PEAT_OK)
        status = region_add(reader, start->region, &start->nonce);
    if (status == PEAT_OK)
        reader->pieces[0] = (struct pt_log_piece){*start, true};
    return status;
}

enum peat_status pt_log_reader_open(struct pt_arena *arena, const struct pt_log_point *start,
                                    bool live, struct pt_log_reader **reader_out)
{
    struct pt_log_reader *reader = NULL;
    enum peat_status status = PEAT_OK;

    *reader_out = NULL;
    reader = pt_calloc(1, sizeof(*reader));
    if (reader == NULL)
        return pt_fail(PEAT_NO_MEMORY, "log reader");
    reader->arena = arena;
    reader->live = live;
    reader->commit_max = UINT64_MAX;
    reader->cursor.point = *start;
    if (start->region.size != 0)
        status = start_enter(reader, start);
    if (status < 0)
        goto done;

    *reader_out = reader;
    reader = NULL;
done:
    pt_log_reader_close(reader);
    return status;
}

void pt_log_reader_limit(struct pt_log_reader *reader, uint64_t commit_max)
{
    reader->commit_max = commit_max;
}

struct pt_log_point pt_log_reader_begin(const struct pt_log_reader *reader)
{
    return reader->begin.point;
}

struct pt_log_point pt_log_reader_point(const struct pt_log_reader *reader)
{
    return reader->cursor.point;
}

const struct pt_extent *pt_log_reader_regions(const struct pt_log_reader *reader, size_t *count_out)
{
    *count_out = reader->region_count;
    return reader->regions;
}

const struct pt_log_piece *pt_log_reader_pieces(const struct pt_log_reader *reader,
                                                size_t *count_out)
{
    *count_out = reader->region_count == 0 ? 0 : reader->cursor.region_index + 1;
    return reader->pieces;
}

void pt_log_reader_close(struct pt_log_reader *reader)
{
    if (reader == NULL)
        return;
    pt_free(reader->regions);
    pt_free(reader->pieces);
    pt_block_free(reader->joined, reader->joined_capacity);
    pt_free(reader);
}

/* ---- The survey ---- */

/*
 * Links are not compared with the chain of the records before them, so a torn tail's may be followed:
 * to a region that the writer had made for the log, and that nothing else used while its link was in
 * force.
 */
enum peat_status pt_log_survey(struct pt_arena *arena, const struct pt_log_point *start,
                               struct pt_extent **regions_out, size_t *count_out)
{
    uint64_t region_count_max = pt_arena_size(arena) / PT_REGION_UNIT;
    struct pt_log_reader *reader = NULL;
    enum peat_status status = pt_log_reader_open(arena, start, false, &reader);

    *regions_out = NULL;
    *count_out = 0;
    while (status == PEAT_OK && reader->region_count > 0) {
        struct pt_log_view view;
        struct pt_log_link link;

        status = pt_log_view_link(&reader->view, &link);
        if (status == PEAT_OK)
            status = link_view(reader, &link, &view);
        if (status == PEAT_OK && reader->region_count > region_count_max)
            status = pt_fail(PEAT_CORRUPT, "%s: the log's links lead in circles",
                             pt_file_name(pt_arena_file(arena)));
        if (status == PEAT_OK)
            status = region_add(reader, view.extent, &view.nonce);
        if (status == PEAT_OK)
            reader->view = view;
    }
    if (status >= 0) {
        status = PEAT_OK;
        *regions_out = reader->regions;
        *count_out = reader->region_count;
        reader->regions = NULL; /* the caller's now */
    }
    pt_log_reader_close(reader);
    return status;
}

#include "core/segment/rescue.h"

#include "core/base/alloc.h"

enum {
    MARK_STEP = 64 /* readable entries per mark: between them one walks */
};

#define NO_OFFSET UINT64_MAX

/* Where a readable entry lies; those up to the next mark follow it without a gap. */
struct mark {
    uint64_t number;
    uint64_t offset; /* bytes in the segment */
};

/* Lost entries between two readable ones. */
struct hole {
    uint64_t before;         /* number of the readable entry behind it */
    uint64_t offset;         /* bytes in the segment: the first damaged place */
    uint64_t first_offset;   /* of its first entry, if the key can be read; or NO_OFFSET */
    uint64_t last_offset;    /* of its last one, likewise */
    enum peat_status status; /* what reading there gives */
};

struct pt_rescue {
    uint64_t count;
    struct mark *marks; /* owned; ascending */
    size_t mark_count;
    struct hole *holes; /* owned; ascending, no two before the same entry */
    size_t hole_count;
    bool ranges_lost;
    uint64_t unread_chunk; /* the first one that gave PEAT_IO, which may pass; NO_OFFSET: none */
    struct pt_rescue *replaced; /* owned: the one before this; readers may still stand in it */
};

/* ---- Making one ---- */

/* The walk through the entries; owned by its thread. */
struct walk {
    struct pt_segment *segment;
    struct pt_rescue *rescue;
    int8_t *chunks; /* owned: what verifying each came to */
    size_t mark_capacity;
    size_t hole_capacity;
    uint64_t ordinal; /* those before it are of entries that were passed */
    bool in_hole;     /* the last hole has no readable entry behind it yet */
};

/* The first chunk of [offset, offset + size) that cannot be read; NO_OFFSET: there is none. */
static uint64_t bad_chunk(const struct walk *walk, uint64_t offset, uint64_t size)
{
    for (uint64_t i = offset / PT_CHUNK_SIZE; i * PT_CHUNK_SIZE < offset + size; i++)
        if (walk->chunks[i] != PEAT_OK)
            return i;
    return NO_OFFSET;
}

static bool is_readable(const struct walk *walk, uint64_t offset, uint64_t size)
{
    return bad_chunk(walk, offset, size) == NO_OFFSET;
}

/* Room for one more of @p size bytes; NULL: no memory. */
static void *grow(void *list, size_t count, size_t *capacity, size_t size)
{
    size_t wanted = *capacity == 0 ? 16 : 2 * *capacity;
    void *grown;

    if (count < *capacity)
        return list;
    grown = pt_realloc(list, wanted * size);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

static enum peat_status keep(struct walk *walk, uint64_t offset)
{
    struct pt_rescue *rescue = walk->rescue;
    const struct mark *last =
        rescue->mark_count == 0 ? NULL : &rescue->marks[rescue->mark_count - 1];

    if (last == NULL || walk->in_hole || rescue->count - last->number >= MARK_STEP) {
        struct mark *marks =
            grow(rescue->marks, rescue->mark_count, &walk->mark_capacity, sizeof(*marks));

        if (marks == NULL)
            return pt_fail(PEAT_NO_MEMORY, "list of entries");
        rescue->marks = marks;
        marks[rescue->mark_count++] = (struct mark){rescue->count, offset};
    }
    walk->in_hole = false;
    rescue->count++;
    return PEAT_OK;
}

/* An entry at @p offset is lost, from byte @p bad on; @p key_offset is @p offset if its key can be read. */
static enum peat_status lose(struct walk *walk, uint64_t bad, uint64_t key_offset)
{
    struct pt_rescue *rescue = walk->rescue;
    uint64_t chunk = bad_chunk(walk, bad, 1);
    struct hole *holes;

    if (walk->in_hole) {
        rescue->holes[rescue->hole_count - 1].last_offset = key_offset;
        return PEAT_OK;
    }
    holes = grow(rescue->holes, rescue->hole_count, &walk->hole_capacity, sizeof(*holes));
    if (holes == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of gaps");
    rescue->holes = holes;
    holes[rescue->hole_count++] =
        (struct hole){rescue->count, bad, key_offset, key_offset,
                      chunk == NO_OFFSET ? PEAT_CORRUPT : (enum peat_status)walk->chunks[chunk]};
    walk->in_hole = true;
    return PEAT_OK;
}

/* The lowest place above @p offset that a bucket names. */
static uint64_t next_in_buckets(const struct walk *walk, uint64_t offset)
{
    struct pt_segment *segment = walk->segment;
    uint64_t best = segment->entries_size;

    for (uint64_t i = 0; i < segment->bucket_count; i++) {
        const uint8_t *bucket = segment->buckets + i * sizeof(struct pt_segment_bucket);

        if (!is_readable(walk, (uint64_t)(bucket - segment->base),
                         sizeof(struct pt_segment_bucket)))
            continue;
        for (unsigned k = 0; k < PT_BUCKET_SLOTS; k++) {
            uint32_t place =
                pt_read_le32(bucket + offsetof(struct pt_segment_bucket, places) + 4 * k);
            uint64_t at = (uint64_t)PT_ENTRY_ALIGN * place;

            if (place != PT_PLACE_NONE && at > offset && at < best)
                best = at;
        }
    }
    return best;
}

/*
 * The size of the entry at @p offset is not known: where the next one begins that any index names;
 * entries_size if none. Ordinals ascend, so they are passed once in all.
 */
static uint64_t find_next(struct walk *walk, uint64_t offset)
{
    struct pt_segment *segment = walk->segment;
    bool skipped = false; /* ordinals that cannot be read */
    uint64_t found = segment->entries_size;

    while (walk->ordinal < segment->entry_count) {
        const uint8_t *place = segment->ordinals + 4 * walk->ordinal;

        if (is_readable(walk, (uint64_t)(place - segment->base), 4)) {
            uint64_t at = (uint64_t)PT_ENTRY_ALIGN * pt_read_le32(place);

            if (at > offset) {
                found = at < found ? at : found;
                break;
            }
        } else {
            skipped = true;
        }
        walk->ordinal++;
    }
    if (walk->ordinal == segment->entry_count || skipped) {
        uint64_t other = next_in_buckets(walk, offset);

        found = other < found ? other : found;
    }
    return found;
}

/* Look at the entry at *offset, and move *offset to the next one. */
static enum peat_status walk_entry(struct walk *walk, uint64_t *offset)
{
    struct pt_segment *segment = walk->segment;
    uint64_t at = *offset;
    uint64_t bad = bad_chunk(walk, at, PT_ENTRY_HEADER_SIZE);
    struct pt_entry entry;
    uint64_t size;

    if (bad != NO_OFFSET ||
        !pt_entry_read(segment->base + at, segment->entries_size - at, &entry, &size) ||
        entry.op > PT_OP_DELETE) {
        *offset = find_next(walk, at);
        return lose(walk, bad == NO_OFFSET || bad * PT_CHUNK_SIZE < at ? at : bad * PT_CHUNK_SIZE,
                    NO_OFFSET);
    }
    *offset = at + size;
    bad = bad_chunk(walk, at, size);
    if (bad == NO_OFFSET)
        return keep(walk, at);
    return lose(walk, bad * PT_CHUNK_SIZE,
                is_readable(walk, at, PT_ENTRY_HEADER_SIZE + entry.key.size) ? at : NO_OFFSET);
}

static enum peat_status walk_chunks(struct walk *walk)
{
    walk->chunks = pt_calloc((size_t)walk->segment->chunk_count + 1, 1);
    if (walk->chunks == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of chunks");
    for (uint64_t i = 0; i < walk->segment->chunk_count; i++) {
        enum peat_status status = pt_segment_verify(walk->segment, i * PT_CHUNK_SIZE, 1);

        if (status == PEAT_NO_MEMORY)
            return status;
        walk->chunks[i] = (int8_t)status;
        if (status == PEAT_IO && walk->rescue->unread_chunk == NO_OFFSET)
            walk->rescue->unread_chunk = i;
    }
    return PEAT_OK;
}

static enum peat_status rescue_new(struct pt_segment *segment, struct pt_rescue **rescue_out)
{
    struct walk walk = {.segment = segment, .rescue = pt_calloc(1, sizeof(struct pt_rescue))};
    enum peat_status status = PEAT_OK;

    *rescue_out = walk.rescue;
    if (walk.rescue == NULL)
        return pt_fail(PEAT_NO_MEMORY, "what is left of a segment");
    walk.rescue->unread_chunk = NO_OFFSET;
    status = walk_chunks(&walk);
    for (uint64_t offset = 0; offset < segment->entries_size && status == PEAT_OK;)
        status = walk_entry(&walk, &offset);
    if (status == PEAT_OK && segment->range_count > 0)
        walk.rescue->ranges_lost = !is_readable(
            &walk, segment->entries_size,
            (uint64_t)(segment->range_ordinals - segment->ranges) + 4 * segment->range_count);
    if (segment->lost && status == PEAT_OK) { /* one gap without bounds */
        walk.rescue->holes = pt_calloc(1, sizeof(*walk.rescue->holes));
        if (walk.rescue->holes == NULL)
            status = pt_fail(PEAT_NO_MEMORY, "list of gaps");
        else
            walk.rescue->holes[walk.rescue->hole_count++] =
                (struct hole){0, segment->size, NO_OFFSET, NO_OFFSET, segment->lost};
    }
    pt_free(walk.chunks);
    return status;
}

/* Whether @p rescue stands. Not if what gave PEAT_IO can be read by now: that is so once for each chunk at
 * most, so there are not many that were replaced. */
static bool stands(struct pt_segment *segment, const struct pt_rescue *rescue)
{
    return rescue->unread_chunk == NO_OFFSET ||
           pt_segment_verify(segment, rescue->unread_chunk * PT_CHUNK_SIZE, 1) == PEAT_IO;
}

enum peat_status pt_segment_rescue(struct pt_segment *segment, const struct pt_rescue **rescue_out)
{
    struct pt_rescue *before = atomic_load_explicit(&segment->rescue, memory_order_acquire);
    struct pt_rescue *made = NULL;
    enum peat_status status;

    *rescue_out = before;
    if (before != NULL && stands(segment, before))
        return PEAT_OK;
    status = rescue_new(segment, &made);
    if (status < 0) {
        pt_rescue_free(made);
        return status;
    }
    made->replaced = before;
    /* Release pairs with the acquire in pt_segment_rescued(). Two threads may have made one. */
    if (!atomic_compare_exchange_strong_explicit(&segment->rescue, &before, made,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        made->replaced = NULL;
        pt_rescue_free(made);
        made = before;
    }
    *rescue_out = made;
    return PEAT_OK;
}

const struct pt_rescue *pt_segment_rescued(const struct pt_segment *segment)
{
    return atomic_load_explicit(&segment->rescue, memory_order_acquire);
}

void pt_rescue_free(struct pt_rescue *rescue)
{
    while (rescue != NULL) {
        struct pt_rescue *replaced = rescue->replaced;

        pt_free(rescue->marks);
        pt_free(rescue->holes);
        pt_free(rescue);
        rescue = replaced;
    }
}

/* ---- Reading ---- */

bool pt_rescue_loses(const struct pt_rescue *rescue)
{
    return rescue->hole_count > 0 || rescue->ranges_lost;
}

bool pt_rescue_loses_ranges(const struct pt_rescue *rescue)
{
    return rescue->ranges_lost;
}

uint64_t pt_rescue_count(const struct pt_rescue *rescue)
{
    return rescue->count;
}

/* The last mark whose number is at most @p number. */
static const struct mark *mark_of(const struct pt_rescue *rescue, uint64_t number)
{
    size_t low = 0;
    size_t high = rescue->mark_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (rescue->marks[middle].number <= number)
            low = middle;
        else
            high = middle;
    }
    return &rescue->marks[low];
}

enum peat_status pt_rescue_entry(struct pt_segment *segment, const struct pt_rescue *rescue,
                                 uint64_t number, struct pt_entry *entry_out)
{
    const struct mark *mark;
    uint64_t offset;
    enum peat_status status = PEAT_OK;

    PT_ASSERT(number < rescue->count);
    mark = mark_of(rescue, number);
    offset = mark->offset;
    for (uint64_t i = mark->number; i <= number && status == PEAT_OK; i++)
        status = pt_segment_entry(segment, offset, entry_out, &offset);
    return status;
}

/* What is looked for: entries from @p key on, or, where that is NULL, from byte @p offset on. */
struct target {
    const struct peat_bytes *key;
    uint64_t offset; /* bytes in the segment */
};

static bool is_before(const struct pt_segment *segment, const struct pt_entry *entry,
                      const struct target *target)
{
    const uint8_t *place = (const uint8_t *)entry->key.data - PT_ENTRY_HEADER_SIZE;

    return target->key != NULL ? pt_bytes_compare(entry->key, *target->key) < 0
                               : (uint64_t)(place - segment->base) < target->offset;
}

/* The number of the first readable entry that is not before @p target; the count if none. */
static enum peat_status find(struct pt_segment *segment, const struct pt_rescue *rescue,
                             const struct target *target, uint64_t *number_out)
{
    uint64_t low = 0;
    uint64_t high = rescue->count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct pt_entry entry;
        enum peat_status status = pt_rescue_entry(segment, rescue, middle, &entry);

        if (status < 0)
            return status;
        if (is_before(segment, &entry, target))
            low = middle + 1;
        else
            high = middle;
    }
    *number_out = low;
    return PEAT_OK;
}

enum peat_status pt_rescue_seek(struct pt_segment *segment, const struct pt_rescue *rescue,
                                struct peat_bytes key, uint64_t *number_out)
{
    return find(segment, rescue, &(struct target){.key = &key}, number_out);
}

enum peat_status pt_rescue_rank(struct pt_segment *segment, const struct pt_rescue *rescue,
                                uint64_t offset, uint64_t *number_out)
{
    return find(segment, rescue, &(struct target){.offset = offset}, number_out);
}

/* ---- Gaps ---- */

static const struct hole *hole_before(const struct pt_rescue *rescue, uint64_t number)
{
    size_t low = 0;
    size_t high = rescue->hole_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (rescue->holes[middle].before < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rescue->hole_count && rescue->holes[low].before == number ? &rescue->holes[low]
                                                                           : NULL;
}

/* The key at @p offset, which was verified when the rescue was made. */
static struct peat_bytes lost_key(const struct pt_segment *segment, uint64_t offset)
{
    struct pt_entry entry = {.op = PT_OP_LOST};
    uint64_t size;

    (void)pt_entry_read(segment->base + offset, segment->entries_size - offset, &entry, &size);
    return entry.key;
}

static enum peat_status gap_low(struct pt_segment *segment, const struct pt_rescue *rescue,
                                const struct hole *hole, struct pt_gap *gap)
{
    struct pt_entry entry = {.op = PT_OP_LOST};
    enum peat_status status = PEAT_OK;

    gap->low_open = false;
    if (hole->first_offset != NO_OFFSET) {
        gap->low = lost_key(segment, hole->first_offset);
    } else if (hole->before == 0) {
        gap->low = segment->lost ? pt_bytes(NULL, 0) : segment->min_key;
    } else {
        status = pt_rescue_entry(segment, rescue, hole->before - 1, &entry);
        gap->low = entry.key;
        gap->low_open = true;
    }
    return status;
}

static enum peat_status gap_high(struct pt_segment *segment, const struct pt_rescue *rescue,
                                 const struct hole *hole, struct pt_gap *gap)
{
    struct pt_entry entry = {.op = PT_OP_LOST};
    enum peat_status status = PEAT_OK;

    gap->high_closed = true;
    if (hole->last_offset != NO_OFFSET) {
        gap->high = lost_key(segment, hole->last_offset);
    } else if (hole->before == rescue->count) {
        gap->high = segment->lost ? pt_bytes(NULL, 0) : segment->max_key;
    } else {
        status = pt_rescue_entry(segment, rescue, hole->before, &entry);
        gap->high = entry.key;
        gap->high_closed = false;
    }
    return status;
}

enum peat_status pt_rescue_gap(struct pt_segment *segment, const struct pt_rescue *rescue,
                               uint64_t number, struct pt_gap *gap_out)
{
    const struct hole *hole = hole_before(rescue, number);
    enum peat_status status;

    if (hole == NULL)
        return PEAT_NOT_FOUND;
    gap_out->offset = hole->offset;
    gap_out->status = hole->status;
    status = gap_low(segment, rescue, hole, gap_out);
    return status < 0 ? status : gap_high(segment, rescue, hole, gap_out);
}

/* Whether @p high is the very next key behind @p low. */
static bool is_successor(struct peat_bytes low, struct peat_bytes high)
{
    return high.size == low.size + 1 && ((const uint8_t *)high.data)[low.size] == 0 &&
           (low.size == 0 || memcmp(low.data, high.data, low.size) == 0);
}

bool pt_gap_is_empty(const struct pt_gap *gap)
{
    int order;

    if (gap->low.data == NULL || gap->high.data == NULL)
        return false;
    order = pt_bytes_compare(gap->low, gap->high);
    if (order == 0)
        return gap->low_open || !gap->high_closed;
    return order > 0 || (gap->low_open && !gap->high_closed && is_successor(gap->low, gap->high));
}

void pt_gap_clip_low(struct pt_gap *gap, struct peat_bytes low, bool open)
{
    int order;

    if (low.data == NULL)
        return;
    order = gap->low.data == NULL ? -1 : pt_bytes_compare(gap->low, low);
    if (order < 0) {
        gap->low = low;
        gap->low_open = open;
    } else if (order == 0) {
        gap->low_open = gap->low_open || open;
    }
}

void pt_gap_clip_high(struct pt_gap *gap, struct peat_bytes high, bool closed)
{
    int order;

    if (high.data == NULL)
        return;
    order = gap->high.data == NULL ? 1 : pt_bytes_compare(gap->high, high);
    if (order > 0) {
        gap->high = high;
        gap->high_closed = closed;
    } else if (order == 0) {
        gap->high_closed = gap->high_closed && closed;
    }
}

bool pt_gap_holds(const struct pt_gap *gap, struct peat_bytes key)
{
    int low = gap->low.data == NULL ? -1 : pt_bytes_compare(gap->low, key);
    int high = gap->high.data == NULL ? 1 : pt_bytes_compare(gap->high, key);

    return (gap->low_open ? low < 0 : low <= 0) && (gap->high_closed ? high >= 0 : high > 0);
}

/* ---- Lookups ---- */

enum peat_status pt_rescue_get(struct pt_segment *segment, enum peat_status status,
                               struct peat_bytes key, struct pt_entry *entry_out)
{
    const struct pt_rescue *rescue;
    struct pt_gap gap;
    uint64_t number = 0;

    if (status != PEAT_CORRUPT && status != PEAT_IO)
        return status;
    status = pt_segment_rescue(segment, &rescue);
    if (status == PEAT_OK)
        status = pt_rescue_seek(segment, rescue, key, &number);
    if (status == PEAT_OK && number < rescue->count) {
        status = pt_rescue_entry(segment, rescue, number, entry_out);
        if (status == PEAT_OK && pt_bytes_equal(entry_out->key, key))
            return PEAT_OK;
    }
    if (status == PEAT_OK)
        status = pt_rescue_gap(segment, rescue, number, &gap);
    if (status == PEAT_OK && pt_gap_holds(&gap, key))
        return pt_segment_unreadable(segment, gap.status, gap.offset);
    return status < 0 ? status : PEAT_NOT_FOUND;
}

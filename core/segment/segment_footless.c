/*
 * Opening a segment without its footer.
 *
 * The manifest knows how many entries, deletes and range deletes there are, and the segment's size.
 * The rest is found from its end to its front, and each step rests on bytes that verify:
 *
 *      entries ranges ... ordinals fences buckets | table keys footer
 *      4.     3.         2.                       1.
 *
 *  1. The table begins where the checksum of some chunk is found at that chunk's place: a match of
 *     16 bytes under a key of this very chunk. How long the keys are is not known, so there are
 *     some 500 places.
 *  2. From there back, the sizes of buckets, fences and ordinals follow from the number of entries.
 *  3. The last ordinal says where the last entry lies, the entry where it ends; the ranges follow
 *     one another from there, and their ordinals. All of it must end where the ordinals begin, but
 *     for zeros.
 *  4. The first entry and the last one have the keys; with their sizes the segment must end where
 *     it does.
 *
 * What is not found so is damaged as well: then nothing is known of the segment. The hash seed is
 * not found, and not needed: only the check asks, which goes no further than to a damaged footer.
 */
#include "core/segment/segment_parts.h"

/* Where the table may begin: multiples of PT_SECTION_ALIGN, both ends included. */
struct places {
    uint64_t low;
    uint64_t high;
};

static uint64_t chunk_count(uint64_t checked_size)
{
    return (checked_size + PT_CHUNK_SIZE - 1) / PT_CHUNK_SIZE;
}

static uint64_t table_end(uint64_t table_offset)
{
    return table_offset + PT_CHECKSUM_SIZE * chunk_count(table_offset);
}

/* Between the table and the footer there is room for no more than two keys. The table's end rises
 * by 64 bytes at least from place to place. */
static struct places table_places(const struct pt_segment *segment)
{
    uint64_t tables_end = segment->size - sizeof(struct pt_segment_footer);
    uint64_t keys_size_max = 2 * (uint64_t)PT_FOOTER_KEY_SIZE_MAX + 7;
    struct places places = {0, pt_round_down(tables_end, PT_SECTION_ALIGN)};

    while (places.high > 0 && table_end(places.high) > tables_end)
        places.high -= PT_SECTION_ALIGN;
    places.low = places.high;
    while (places.low > PT_SECTION_ALIGN &&
           table_end(places.low - PT_SECTION_ALIGN) + keys_size_max >= tables_end)
        places.low -= PT_SECTION_ALIGN;
    return places;
}

/* The checksum of @p size bytes that chunk @p index would be. */
static enum peat_status chunk_checksum(struct pt_segment *segment, uint64_t index, uint64_t size,
                                       struct pt_checksum *checksum_out)
{
    uint64_t offset = index * PT_CHUNK_SIZE;
    struct pt_key key = pt_key_derive(&segment->identity.store_id, PT_KEY_SEGMENT_CHUNK,
                                      segment->identity.segment_id, index);
    enum peat_status status = pt_segment_populate(segment, offset, size);

    if (status >= 0)
        *checksum_out = pt_checksum(&key, segment->base + offset, (size_t)size);
    return status;
}

/* Whether a table at @p offset has @p checksum for chunk @p index. */
static bool table_has(const struct pt_segment *segment, uint64_t offset, uint64_t index,
                      const struct pt_checksum *checksum)
{
    return memcmp(segment->base + offset + index * PT_CHECKSUM_SIZE, checksum->bytes,
                  PT_CHECKSUM_SIZE) == 0;
}

/* (1), by a chunk that is whole wherever the table begins. */
static enum peat_status find_by_whole_chunk(struct pt_segment *segment, struct places places,
                                            uint64_t *offset_out)
{
    enum peat_status error = PEAT_NOT_FOUND;

    for (uint64_t index = 0; (index + 1) * PT_CHUNK_SIZE <= places.low; index++) {
        struct pt_checksum checksum;
        enum peat_status status = chunk_checksum(segment, index, PT_CHUNK_SIZE, &checksum);

        if (status < 0) {
            error = status; /* another chunk may do */
            continue;
        }
        for (uint64_t offset = places.low; offset <= places.high; offset += PT_SECTION_ALIGN) {
            if (table_has(segment, offset, index, &checksum)) {
                *offset_out = offset;
                return PEAT_OK;
            }
        }
    }
    return error;
}

/* (1), by the last chunk, which ends where the table begins. */
static enum peat_status find_by_last_chunk(struct pt_segment *segment, struct places places,
                                           uint64_t *offset_out)
{
    for (uint64_t offset = places.low; offset <= places.high; offset += PT_SECTION_ALIGN) {
        uint64_t index = chunk_count(offset) - 1;
        struct pt_checksum checksum;
        enum peat_status status =
            chunk_checksum(segment, index, offset - index * PT_CHUNK_SIZE, &checksum);

        if (status < 0)
            return status;
        if (table_has(segment, offset, index, &checksum)) {
            *offset_out = offset;
            return PEAT_OK;
        }
    }
    return PEAT_NOT_FOUND;
}

static enum peat_status table_find(struct pt_segment *segment)
{
    struct places places = table_places(segment);
    uint64_t offset = 0;
    enum peat_status whole;
    enum peat_status last;

    if (places.low == 0)
        return PEAT_NOT_FOUND;
    last = pt_segment_populate(segment, places.low, segment->size - places.low);
    if (last < 0)
        return last;
    whole = find_by_whole_chunk(segment, places, &offset);
    if (whole != PEAT_OK) {
        last = find_by_last_chunk(segment, places, &offset);
        if (last != PEAT_OK)
            return last < 0 ? last : whole;
    }
    segment->checked_size = offset;
    segment->chunk_count = chunk_count(offset);
    segment->checksums = segment->base + offset;
    return PEAT_OK;
}

/* What lies at @p offset and ends at @p end at the latest, header and key of it verified. */
static enum peat_status entry_at(struct pt_segment *segment, uint64_t offset, uint64_t end,
                                 struct pt_entry *entry_out, uint64_t *size_out)
{
    enum peat_status status;

    if (offset >= end || end - offset < PT_ENTRY_HEADER_SIZE)
        return PEAT_NOT_FOUND;
    status = pt_segment_verify(segment, offset, PT_ENTRY_HEADER_SIZE);
    if (status < 0)
        return status;
    if (!pt_entry_read(segment->base + offset, end - offset, entry_out, size_out))
        return PEAT_NOT_FOUND;
    return pt_segment_verify(segment, offset, PT_ENTRY_HEADER_SIZE + entry_out->key.size);
}

/* (3), the entries: where they end, and (4) their first and last key. */
static enum peat_status entries_find(struct pt_segment *segment, uint64_t ordinals_offset,
                                     struct pt_segment_counts *counts)
{
    uint64_t last = ordinals_offset + 4 * (counts->entry_count - 1);
    struct pt_entry entry = {.op = PT_OP_LOST};
    uint64_t offset;
    uint64_t size = 0;
    enum peat_status status = pt_segment_verify(segment, last, 4);

    if (status < 0)
        return status;
    offset = (uint64_t)PT_ENTRY_ALIGN * pt_read_le32(segment->base + last);
    status = entry_at(segment, offset, ordinals_offset, &entry, &size);
    if (status != PEAT_OK)
        return status;
    counts->entries_size = offset + size;
    segment->max_key = entry.key;
    status = entry_at(segment, 0, counts->entries_size, &entry, &size);
    if (status != PEAT_OK)
        return status;
    segment->min_key = entry.key;
    counts->min_key_size = segment->min_key.size;
    counts->max_key_size = segment->max_key.size;
    return PEAT_OK;
}

/* (3), the range deletes, which follow the entries. */
static enum peat_status ranges_find(struct pt_segment *segment, uint64_t ordinals_offset,
                                    struct pt_segment_counts *counts)
{
    enum peat_status status = PEAT_OK;

    for (uint64_t i = 0; i < counts->range_count && status == PEAT_OK; i++) {
        struct pt_entry range = {.op = PT_OP_LOST};
        uint64_t size = 0;

        status = entry_at(segment, counts->entries_size + counts->ranges_size, ordinals_offset,
                          &range, &size);
        if (status == PEAT_OK && range.op != PT_OP_DELETE_RANGE)
            status = PEAT_NOT_FOUND;
        counts->ranges_size += size;
    }
    return status;
}

/* (3), the end: a count that is too low leaves over something else than zeros. */
static enum peat_status padding_check(struct pt_segment *segment, uint64_t ordinals_offset,
                                      const struct pt_segment_counts *counts)
{
    uint64_t end = counts->entries_size + counts->ranges_size + 4 * counts->range_count;
    enum peat_status status;

    if (end > ordinals_offset || ordinals_offset - end >= PT_SECTION_ALIGN)
        return PEAT_NOT_FOUND;
    if (end == ordinals_offset)
        return PEAT_OK;
    status = pt_segment_verify(segment, end, ordinals_offset - end);
    for (uint64_t i = end; i < ordinals_offset && status == PEAT_OK; i++)
        if (segment->base[i] != 0)
            status = PEAT_NOT_FOUND;
    return status;
}

/* (2) and (3). */
static enum peat_status counts_find(struct pt_segment *segment,
                                    const struct pt_segment_summary *summary,
                                    struct pt_segment_counts *counts)
{
    struct pt_segment_layout layout;
    uint64_t ordinals_offset;
    enum peat_status status = PEAT_OK;

    counts->entry_count = summary->entry_count;
    counts->bucket_count = pt_segment_bucket_count(summary->entry_count);
    pt_segment_layout(counts, &layout); /* without what comes before the ordinals */
    if (layout.table_offset > segment->checked_size)
        return PEAT_NOT_FOUND;
    ordinals_offset = segment->checked_size - layout.table_offset;
    counts->range_count = summary->range_count;
    if (counts->entry_count > 0)
        status = entries_find(segment, ordinals_offset, counts);
    if (status == PEAT_OK)
        status = ranges_find(segment, ordinals_offset, counts);
    return status == PEAT_OK ? padding_check(segment, ordinals_offset, counts) : status;
}

/* Whether the segment can have these keys. */
static bool keys_plausible(const struct pt_segment_counts *counts, struct peat_bytes min_key,
                           struct peat_bytes max_key)
{
    int order = pt_bytes_compare(min_key, max_key);

    return counts->entry_count <= 1 ? order == 0 : order < 0;
}

/* Make it what the footer said. PEAT_NOT_FOUND: that is not to be found out. */
static enum peat_status recover(struct pt_segment *segment,
                                const struct pt_segment_summary *summary)
{
    struct pt_segment_counts counts = {.entry_count = 0};
    struct pt_segment_layout layout;
    struct peat_bytes min_key;
    struct peat_bytes max_key;
    enum peat_status status;

    if (segment->size < sizeof(struct pt_segment_footer) || summary->size != segment->size ||
        summary->entry_count > segment->size || summary->range_count > segment->size)
        return PEAT_NOT_FOUND;
    status = table_find(segment);
    if (status == PEAT_OK)
        status = pt_segment_bitmap_new(segment);
    if (status == PEAT_OK)
        status = counts_find(segment, summary, &counts);
    if (status != PEAT_OK)
        return status;
    if (!pt_segment_counts_plausible(&counts, summary->delete_count))
        return PEAT_NOT_FOUND;
    pt_segment_layout(&counts, &layout);
    min_key = segment->min_key;
    max_key = segment->max_key;
    if (layout.table_offset != segment->checked_size || layout.size != segment->size ||
        !keys_plausible(&counts, min_key, max_key))
        return PEAT_NOT_FOUND;
    pt_segment_apply(segment, &counts, &layout);
    segment->min_key = min_key; /* as the entries have them: the copies may be damaged */
    segment->max_key = max_key;
    segment->delete_count = summary->delete_count;
    segment->common_size = pt_bytes_common(min_key, max_key);
    if (segment->common_size > PT_FOOTER_KEY_SIZE_MAX)
        segment->common_size = PT_FOOTER_KEY_SIZE_MAX;
    return PEAT_OK;
}

static enum peat_status open_footless(struct peat_bytes map,
                                      const struct pt_segment_identity *identity,
                                      const struct pt_segment_summary *summary,
                                      struct pt_file *file, uint64_t file_offset,
                                      struct pt_segment **segment_out)
{
    enum peat_status status = pt_segment_new(map, identity, file, file_offset, segment_out);

    if (status >= 0)
        status = recover(*segment_out, summary);
    if (status == PEAT_NOT_FOUND || status == PEAT_CORRUPT)
        status = pt_segment_damaged(*segment_out, map.size,
                                    "the end is damaged, and where things lie cannot be found out");
    return status;
}

enum peat_status pt_segment_open_damaged(struct peat_bytes map,
                                         const struct pt_segment_identity *identity,
                                         const struct pt_segment_summary *summary,
                                         struct pt_file *file, uint64_t file_offset,
                                         struct pt_segment **segment_out)
{
    struct pt_segment *segment = NULL;
    enum peat_status status = pt_segment_new(map, identity, file, file_offset, &segment);

    *segment_out = NULL;
    if (status >= 0)
        status = pt_segment_take_footer(segment, false);
    if (status == PEAT_CORRUPT) {
        pt_segment_close(segment);
        status = open_footless(map, identity, summary, file, file_offset, &segment);
    }
    if (status < 0) {
        pt_segment_close(segment);
        return status;
    }
    *segment_out = segment;
    return PEAT_OK;
}

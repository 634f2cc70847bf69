/*
 * Checking a segment: every byte against its checksum, then every index against the entries.
 *
 * The second half runs only over bytes that verify: it finds what a faulty builder wrote, or a
 * forger. It is one walk through the entries in the order in which they lie, beside which the
 * ordinals, the fences and the hash index are held.
 */
#include "core/segment/segment.h"

#include "core/base/alloc.h"

/* Owned by the thread that checks. */
struct check {
    struct pt_segment *segment;
    void (*found)(void *context, uint64_t offset, const char *what, struct peat_bytes low,
                  struct peat_bytes high);
    void *context;
    uint64_t finding_count;
};

static void report(struct check *check, uint64_t offset, const char *what, struct peat_bytes low,
                   struct peat_bytes high)
{
    check->finding_count++;
    if (check->found != NULL)
        check->found(check->context, offset, what, low, high);
}

/* A finding that concerns the whole segment. */
static void report_all(struct check *check, uint64_t offset, const char *what)
{
    report(check, offset, what, check->segment->min_key, check->segment->max_key);
}

/* ---- Checksums ---- */

/* The first entry that lies, wholly or in part, at or behind byte @p offset; entry_count if none. Its
 * ordinals may be damaged: an error then. */
static enum peat_status ordinal_at(struct pt_segment *segment, uint64_t offset,
                                   uint64_t *ordinal_out)
{
    uint64_t low = 0;
    uint64_t high = segment->entry_count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t place;
        enum peat_status status = pt_segment_ordinal(segment, middle, &place);

        if (status < 0)
            return status;
        if (place < offset)
            low = middle + 1;
        else
            high = middle;
    }
    *ordinal_out = low;
    return PEAT_OK;
}

static bool key_readable(struct pt_segment *segment, uint64_t ordinal, struct peat_bytes *key_out)
{
    struct pt_entry entry;
    uint64_t offset;
    uint64_t next;

    if (pt_segment_ordinal(segment, ordinal, &offset) < 0 ||
        pt_segment_entry(segment, offset, &entry, &next) < 0)
        return false;
    *key_out = entry.key;
    return true;
}

/* The keys nearest to a damaged chunk that can still be read: the entries hit lie between them. */
static void chunk_report(struct check *check, uint64_t index)
{
    enum { TRIES = 64 }; /* entries: the one next to the chunk may reach into another bad one */
    struct pt_segment *segment = check->segment;
    uint64_t start = index * PT_CHUNK_SIZE;
    struct peat_bytes low = segment->min_key;
    struct peat_bytes high = segment->max_key;
    uint64_t first;
    uint64_t behind;

    if (start < segment->entries_size && ordinal_at(segment, start, &first) >= 0 &&
        ordinal_at(segment, start + PT_CHUNK_SIZE, &behind) >= 0) {
        for (uint64_t i = 1; i <= TRIES && i <= first; i++) {
            if (key_readable(segment, first - i, &low))
                break;
        }
        for (uint64_t i = 0; i < TRIES && behind + i < segment->entry_count; i++) {
            if (key_readable(segment, behind + i, &high))
                break;
        }
    }
    report(check, start,
           start < segment->entries_size ? "a chunk of entries does not match its checksum"
                                         : "a chunk of indexes does not match its checksum",
           low, high);
}

/* Every chunk anew, whether it was verified before or not. */
static enum peat_status chunks_check(struct check *check)
{
    for (uint64_t index = 0; index < check->segment->chunk_count; index++) {
        enum peat_status status = pt_segment_verify_chunk(check->segment, index);

        if (status == PEAT_CORRUPT)
            chunk_report(check, index);
        else if (status < 0)
            return status;
    }
    return PEAT_OK;
}

/* Footer and chunk table were verified when the segment was opened: once more. */
static enum peat_status footer_check(struct check *check)
{
    struct pt_segment *segment = check->segment;
    enum peat_status status = pt_segment_verify_end(segment);

    if (status != PEAT_CORRUPT)
        return status;
    report_all(check, segment->size - sizeof(struct pt_segment_footer),
               "the footer, the chunk table or a key in the footer is damaged");
    return PEAT_OK;
}

struct pt_digest pt_segment_digest(const struct pt_segment *segment)
{
    return pt_digest(segment->checksums, (size_t)(segment->size - segment->checked_size), NULL, 0);
}

static void summary_check(struct check *check, const struct pt_segment_summary *summary)
{
    struct pt_segment *segment = check->segment;
    struct pt_digest digest = pt_segment_digest(segment);

    if (summary->size != segment->size || summary->entry_count != segment->entry_count ||
        summary->delete_count != segment->delete_count ||
        summary->range_count != segment->range_count)
        report_all(check, segment->size - sizeof(struct pt_segment_footer),
                   "the footer's counts are not the manifest's");
    if (memcmp(digest.bytes, summary->digest.bytes, sizeof(digest.bytes)) != 0)
        report_all(check, segment->checked_size, "the digest is not the manifest's");
}

/* ---- Indexes against entries ---- */

static uint64_t offset_in(const struct pt_segment *segment, const uint8_t *place)
{
    return (uint64_t)(place - segment->base);
}

/* The fences that stand for entry @p ordinal, on each level that has one for it. */
static void fences_check(struct check *check, uint64_t ordinal, struct peat_bytes key)
{
    struct pt_segment *segment = check->segment;
    uint64_t prefix = pt_bytes_prefix(key, (size_t)segment->common_size);
    uint64_t step = PT_FENCE_STEP;

    for (unsigned level = 0; level < segment->fence_level_count && ordinal % step == 0; level++) {
        const uint8_t *fence = segment->fence_levels[level] + 8 * (ordinal / step);

        if (pt_read_le64(fence) != prefix)
            report(check, offset_in(segment, fence), "a fence is not its entry's key", key, key);
        step *= PT_FENCE_FANOUT;
    }
}

/* What fills up the last node of each level. */
static void fence_ends_check(struct check *check)
{
    struct pt_segment *segment = check->segment;

    for (unsigned level = 0; level < segment->fence_level_count; level++) {
        uint64_t end = pt_round_up(segment->fence_counts[level], PT_FENCE_FANOUT);

        for (uint64_t i = segment->fence_counts[level]; i < end; i++) {
            const uint8_t *fence = segment->fence_levels[level] + 8 * i;

            if (pt_read_le64(fence) != UINT64_MAX)
                report_all(check, offset_in(segment, fence), "a fence behind the last one");
        }
    }
}

/* Entry @p ordinal, which lies at @p offset, against the indexes. */
static void entry_check(struct check *check, uint64_t ordinal, uint64_t offset,
                        const struct pt_entry *entry)
{
    struct pt_segment *segment = check->segment;
    uint64_t hash = pt_hash(segment->hash_seed, entry->key.data, entry->key.size);
    struct pt_entry looked_up;
    uint64_t stated = 0;

    if (pt_segment_ordinal(segment, ordinal, &stated) < 0 || stated != offset)
        report(check, offset_in(segment, segment->ordinals + 4 * ordinal),
               "an ordinal is not its entry's place", entry->key, entry->key);
    if (pt_segment_get_strictly(segment, entry->key, hash, &looked_up) != PEAT_OK ||
        looked_up.key.data != entry->key.data)
        report(check, offset, "an entry is not in the hash index", entry->key, entry->key);
    if (entry->op == PT_OP_DELETE && entry->value.size > 0)
        report(check, offset, "a delete with a value", entry->key, entry->key);
    if (entry->key.size < segment->common_size ||
        memcmp(entry->key.data, segment->min_key.data, (size_t)segment->common_size) != 0)
        report(check, offset, "a key without the common prefix", entry->key, entry->key);
    else
        fences_check(check, ordinal, entry->key);
}

static void ends_check(struct check *check, uint64_t ordinal, struct peat_bytes key)
{
    struct pt_segment *segment = check->segment;
    uint64_t footer_offset = segment->size - sizeof(struct pt_segment_footer);

    if (ordinal == 0 && !pt_bytes_equal(key, segment->min_key))
        report(check, footer_offset, "the smallest key is not the first", key, segment->min_key);
    if (ordinal + 1 == segment->entry_count && !pt_bytes_equal(key, segment->max_key))
        report(check, footer_offset, "the largest key is not the last", key, segment->max_key);
}

static void entries_check(struct check *check)
{
    struct pt_segment *segment = check->segment;
    struct peat_bytes previous = pt_bytes(NULL, 0);
    uint64_t delete_count = 0;
    uint64_t ordinal = 0;
    uint64_t next = 0;

    for (uint64_t offset = 0; offset < segment->entries_size; offset = next, ordinal++) {
        struct pt_entry entry;

        if (pt_segment_entry(segment, offset, &entry, &next) < 0) {
            report(check, offset, "a malformed entry", previous, segment->max_key);
            return; /* where the next one begins is not known */
        }
        if (ordinal == segment->entry_count) {
            report(check, offset, "more entries than the footer counts", entry.key,
                   segment->max_key);
            return;
        }
        if (ordinal > 0 && pt_bytes_compare(previous, entry.key) >= 0)
            report(check, offset, "keys out of order", entry.key, previous);
        entry_check(check, ordinal, offset, &entry);
        ends_check(check, ordinal, entry.key);
        delete_count += entry.op == PT_OP_DELETE;
        previous = entry.key;
    }
    if (ordinal != segment->entry_count || delete_count != segment->delete_count)
        report_all(check, segment->size - sizeof(struct pt_segment_footer),
                   "the entries are not as many as the footer counts");
}

/* Slots in use are the first ones, as many as there are entries, and the rest is empty. */
static void buckets_check(struct check *check)
{
    struct pt_segment *segment = check->segment;
    uint64_t used = 0;

    for (uint64_t index = 0; index < segment->bucket_count; index++) {
        const uint8_t *place = segment->buckets + index * sizeof(struct pt_segment_bucket);
        struct pt_segment_bucket bucket;
        bool sound;

        memcpy(&bucket, place, sizeof(bucket));
        sound = bucket.count <= PT_BUCKET_SLOTS &&
                (bucket.flags & ~(unsigned)PT_BUCKET_OVERFLOWED) == 0 && bucket.reserved[0] == 0 &&
                bucket.reserved[1] == 0 && (bucket.flags == 0 || bucket.count == PT_BUCKET_SLOTS);
        for (unsigned i = 0; i < PT_BUCKET_SLOTS; i++) {
            bool empty = pt_le32_value(bucket.places[i]) == PT_PLACE_NONE;

            sound = sound && empty == (i >= bucket.count) &&
                    (!empty || pt_le16_value(bucket.tags[i]) == 0);
        }
        if (!sound)
            report_all(check, offset_in(segment, place), "a malformed hash bucket");
        used += bucket.count;
    }
    if (used != segment->entry_count)
        report_all(check, offset_in(segment, segment->buckets),
                   "the hash index has not as many entries as the footer counts");
}

static void ranges_check(struct check *check)
{
    struct pt_segment *segment = check->segment;
    struct peat_bytes previous_high = pt_bytes(NULL, 0);
    uint64_t start = offset_in(segment, segment->ranges);
    uint64_t offset = 0;

    for (uint64_t i = 0; i < segment->range_count; i++) {
        struct pt_entry range;

        if (pt_segment_range(segment, i, &range) < 0) {
            report_all(check, start + offset, "a malformed range delete");
            return;
        }
        if (range.key.data != segment->ranges + offset + PT_ENTRY_HEADER_SIZE)
            report(check, start + offset, "a range delete is not where its ordinal says", range.key,
                   range.value);
        if (pt_bytes_compare(range.key, range.value) >= 0 ||
            (i > 0 && pt_bytes_compare(previous_high, range.key) > 0))
            report(check, start + offset, "range deletes out of order", range.key, range.value);
        offset += pt_entry_size(range.key.size, range.value.size);
        previous_high = range.value;
    }
    if (offset != segment->ranges_size)
        report_all(check, start + offset, "bytes behind the last range delete");
}

enum peat_status pt_segment_check(struct pt_segment *segment,
                                  const struct pt_segment_summary *summary,
                                  void (*found)(void *context, uint64_t offset, const char *what,
                                                struct peat_bytes low, struct peat_bytes high),
                                  void *context)
{
    struct check check = {.segment = segment, .found = found, .context = context};
    enum peat_status status = chunks_check(&check);

    if (status >= 0)
        status = footer_check(&check);
    if (status < 0)
        return status;
    if (summary != NULL)
        summary_check(&check, summary);
    if (check.finding_count == 0) {
        entries_check(&check);
        fence_ends_check(&check);
        buckets_check(&check);
        ranges_check(&check);
    }
    if (check.finding_count > 0)
        return pt_fail(PEAT_CORRUPT, "segment %llu: %llu findings",
                       (unsigned long long)segment->identity.segment_id,
                       (unsigned long long)check.finding_count);
    return PEAT_OK;
}

/*
 * Reading a segment.
 *
 *  1. Opening trusts nothing: the footer's checksum, then each of its claims, then the chunk table's
 *     checksum. After that, every offset computed from the footer lies inside the segment.
 *  2. A byte of the other sections is used only after the chunk it lies in has been verified.
 *  3. What verified bytes say (ordinals, places, sizes) is still checked before it is used as an
 *     address: a wrong one is damage, never a stray read. Every loop over them ends by a count that
 *     opening has checked.
 *
 * A get takes two cache misses that depend on each other: the bucket, then the entry. A seek takes
 * one per level of fences that is not cached (the leaves, mostly), one for the ordinals and one for
 * the entries.
 */
#include "core/segment/segment.h"

#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/base/thread.h"
#include "core/segment/rescue.h"
#include "core/segment/segment_parts.h"
#include "core/segment/segment_quick.h"

/* ---- Damage ---- */

enum peat_status pt_segment_damaged(const struct pt_segment *segment, uint64_t offset,
                                    const char *what)
{
    return pt_fail(PEAT_CORRUPT, "%s: segment %llu: %s, at byte %llu of the file",
                   segment->file == NULL ? "memory" : pt_file_name(segment->file),
                   (unsigned long long)segment->identity.segment_id, what,
                   (unsigned long long)(segment->file_offset + offset));
}

enum peat_status pt_segment_unreadable(const struct pt_segment *segment, enum peat_status status,
                                       uint64_t offset)
{
    return pt_fail(status, "%s: segment %llu cannot be read at byte %llu of the file",
                   segment->file == NULL ? "memory" : pt_file_name(segment->file),
                   (unsigned long long)segment->identity.segment_id,
                   (unsigned long long)(segment->file_offset + offset));
}

/* ---- Verification ---- */

/* The library never writes through this: populating takes an address as mmap() does. */
static void *address_of(const uint8_t *place)
{
    return (void *)(uintptr_t)place;
}

enum peat_status pt_segment_populate(struct pt_segment *segment, uint64_t offset, uint64_t size)
{
    if (segment->file == NULL)
        return PEAT_OK;
    return pt_file_populate(segment->file, address_of(segment->base + offset), size, false);
}

enum peat_status pt_segment_verify_chunk(struct pt_segment *segment, uint64_t index)
{
    uint64_t offset = index * PT_CHUNK_SIZE;
    uint64_t rest = segment->checked_size - offset;
    uint64_t size = rest < PT_CHUNK_SIZE ? rest : PT_CHUNK_SIZE;
    struct pt_key key = pt_key_derive(&segment->identity.store_id, PT_KEY_SEGMENT_CHUNK,
                                      segment->identity.segment_id, index);
    struct pt_checksum expected;
    struct pt_checksum found;
    enum peat_status status = pt_segment_populate(segment, offset, size);

    PT_ASSERT(index < segment->chunk_count);
    if (status < 0)
        return status;
    memcpy(&expected, segment->checksums + index * PT_CHECKSUM_SIZE, sizeof(expected));
    found = pt_checksum(&key, segment->base + offset, (size_t)size);
    if (!PT_BUG(CHUNKS_UNCHECKED) && !pt_checksum_equal(&expected, &found))
        return pt_segment_damaged(segment, offset, "a chunk's checksum does not match");
    return PEAT_OK;
}

/* Several threads may find the same bit clear and verify the same chunk. That is harmless: the one
 * whose fetch_or sets the bit counts it. */
static enum peat_status chunk_verify_once(struct pt_segment *segment, uint64_t index)
{
    uint64_t bit = UINT64_C(1) << (index % 64);
    enum peat_status status = pt_segment_verify_chunk(segment, index);
    uint64_t before;

    if (status < 0)
        return status;
    before = atomic_fetch_or_explicit(&segment->verified[index / 64], bit, memory_order_acq_rel);
    if ((before & bit) == 0)
        (void)atomic_fetch_sub_explicit(&segment->chunks_left, 1, memory_order_acq_rel);
    return PEAT_OK;
}

enum peat_status pt_segment_verify_slow(struct pt_segment *segment, uint64_t offset, uint64_t size)
{
    uint64_t end = (offset + size + PT_CHUNK_SIZE - 1) / PT_CHUNK_SIZE;

    if (segment->lost < 0)
        return pt_segment_unreadable(segment, segment->lost, segment->size);
    PT_ASSERT(offset + size <= segment->checked_size);
    for (uint64_t index = offset / PT_CHUNK_SIZE; index < end; index++) {
        if (!pt_segment_chunk_verified(segment, index * PT_CHUNK_SIZE)) {
            enum peat_status status = chunk_verify_once(segment, index);

            if (status < 0)
                return status;
        }
    }
    return PEAT_OK;
}

enum peat_status pt_segment_verify_all(struct pt_segment *segment)
{
    return pt_segment_verify(segment, 0, segment->checked_size);
}

/* ---- Opening ---- */

static enum peat_status checksum_check(struct pt_segment *segment, enum pt_key_purpose purpose,
                                       uint64_t offset, uint64_t size, const uint8_t *expected,
                                       const char *what)
{
    struct pt_key key =
        pt_key_derive(&segment->identity.store_id, purpose, segment->identity.segment_id, 0);
    struct pt_checksum found = pt_checksum(&key, segment->base + offset, (size_t)size);

    if (memcmp(found.bytes, expected, sizeof(found.bytes)) != 0)
        return pt_segment_damaged(segment, offset, what);
    return PEAT_OK;
}

/* Read the footer and verify the checksum over it and the keys before it; on PEAT_OK it is what the
 * builder wrote. */
static enum peat_status footer_read(struct pt_segment *segment, struct pt_segment_footer *footer)
{
    /* What usually holds the keys and the chunk table too, so that they come with the same read. */
    uint64_t tail_size = segment->size < PT_CHUNK_SIZE / 2 ? segment->size : PT_CHUNK_SIZE / 2;
    uint64_t offset;
    uint64_t copies_size;
    enum peat_status status;

    if (segment->size < sizeof(*footer))
        return pt_segment_damaged(segment, 0, "shorter than a footer");
    offset = segment->size - sizeof(*footer);
    status = pt_segment_populate(segment, segment->size - tail_size, tail_size);
    if (status < 0)
        return status;
    memcpy(footer, segment->base + offset, sizeof(*footer));
    if (pt_le64_value(footer->magic) != PT_SEGMENT_MAGIC)
        return pt_segment_damaged(segment, offset, "no footer");

    copies_size = pt_round_up(pt_segment_key_copy_size(pt_le32_value(footer->min_key_size)) +
                                  pt_segment_key_copy_size(pt_le32_value(footer->max_key_size)),
                              8);
    if (copies_size > offset)
        return pt_segment_damaged(segment, offset, "a footer with keys outside the segment");
    status = pt_segment_populate(segment, offset - copies_size, copies_size + sizeof(*footer));
    if (status < 0)
        return status;
    return checksum_check(segment, PT_KEY_SEGMENT_FOOTER, offset - copies_size,
                          copies_size + sizeof(*footer) - PT_CHECKSUM_SIZE, footer->checksum.bytes,
                          "the footer's checksum does not match");
}

/* Whether a section of @p size bytes can hold @p count entries. */
static bool section_plausible(uint64_t size, uint64_t count)
{
    return size <= PT_SEGMENT_ENTRIES_SIZE_MAX && size % PT_ENTRY_ALIGN == 0 &&
           count <= size / PT_ENTRY_HEADER_SIZE && (count == 0) == (size == 0);
}

/* What the layout is computed from, after which it cannot overflow. */
bool pt_segment_counts_plausible(const struct pt_segment_counts *counts, uint64_t delete_count)
{
    return section_plausible(counts->entries_size, counts->entry_count) &&
           section_plausible(counts->ranges_size, counts->range_count) &&
           counts->entry_count + counts->range_count > 0 && delete_count <= counts->entry_count &&
           counts->bucket_count <= counts->entry_count + (counts->entry_count > 0) &&
           counts->bucket_count * PT_BUCKET_SLOTS >= counts->entry_count &&
           counts->min_key_size <= PT_STORED_KEY_SIZE_MAX &&
           counts->max_key_size <= PT_STORED_KEY_SIZE_MAX;
}

void pt_segment_apply(struct pt_segment *segment, const struct pt_segment_counts *counts,
                      const struct pt_segment_layout *layout)
{
    const uint8_t *base = segment->base;

    segment->entries_size = counts->entries_size;
    segment->entry_count = counts->entry_count;
    segment->ranges = base + counts->entries_size;
    segment->ranges_size = counts->ranges_size;
    segment->range_count = counts->range_count;
    segment->range_ordinals = base + layout->range_ordinals_offset;
    segment->ordinals = base + layout->ordinals_offset;
    segment->fence_level_count = layout->fence_level_count;
    for (unsigned level = 0; level < layout->fence_level_count; level++) {
        segment->fence_levels[level] = base + layout->fence_offsets[level];
        segment->fence_counts[level] = layout->fence_counts[level];
    }
    segment->buckets = base + layout->buckets_offset;
    segment->bucket_count = counts->bucket_count;
    segment->checked_size = layout->table_offset;
    segment->chunk_count = layout->chunk_count;
    segment->checksums = base + layout->table_offset;
    segment->min_key = pt_bytes(base + layout->keys_offset,
                                (size_t)pt_segment_key_copy_size(counts->min_key_size));
    segment->max_key = pt_bytes(base + layout->keys_offset + segment->min_key.size,
                                (size_t)pt_segment_key_copy_size(counts->max_key_size));
}

/* Check each claim of the footer and take it over. */
static enum peat_status footer_apply(struct pt_segment *segment,
                                     const struct pt_segment_footer *footer)
{
    uint64_t offset = segment->size - sizeof(*footer);
    struct pt_segment_counts counts = pt_segment_footer_counts(footer);
    struct pt_segment_layout layout;

    segment->delete_count = pt_le64_value(footer->delete_count);
    segment->hash_seed = pt_le64_value(footer->hash_seed);
    segment->common_size = pt_le64_value(footer->common_size);
    if (pt_le64_value(footer->segment_id) != segment->identity.segment_id ||
        pt_le64_value(footer->size) != segment->size ||
        !pt_segment_counts_plausible(&counts, segment->delete_count))
        return pt_segment_damaged(segment, offset, "a footer that contradicts itself");
    pt_segment_layout(&counts, &layout);
    if (layout.size != segment->size)
        return pt_segment_damaged(segment, offset, "a footer of another size");
    pt_segment_apply(segment, &counts, &layout);
    if (segment->common_size > PT_FOOTER_KEY_SIZE_MAX ||
        segment->common_size > counts.min_key_size || segment->common_size > counts.max_key_size)
        return pt_segment_damaged(segment, offset, "a footer with a wrong common prefix");
    return PEAT_OK;
}

static enum peat_status table_verify(struct pt_segment *segment,
                                     const struct pt_segment_footer *footer)
{
    uint64_t size = segment->chunk_count * PT_CHECKSUM_SIZE;
    enum peat_status status = pt_segment_populate(segment, segment->checked_size, size);

    if (status < 0)
        return status;
    return checksum_check(segment, PT_KEY_SEGMENT_TABLE, segment->checked_size, size,
                          footer->table_checksum.bytes,
                          "the chunk table's checksum does not match");
}

enum peat_status pt_segment_bitmap_new(struct pt_segment *segment)
{
    segment->verified = pt_calloc((size_t)(segment->chunk_count + 63) / 64, sizeof(uint64_t));
    if (segment->verified == NULL)
        return pt_fail(PEAT_NO_MEMORY, "bitmap of %llu chunks",
                       (unsigned long long)segment->chunk_count);
    atomic_store_explicit(&segment->chunks_left, segment->chunk_count, memory_order_relaxed);
    return PEAT_OK;
}

/* The key of entry @p ordinal, verified; not its value. */
static enum peat_status key_at(struct pt_segment *segment, uint64_t ordinal,
                               struct peat_bytes *key_out)
{
    struct pt_entry entry;
    uint64_t offset;
    uint64_t size;
    enum peat_status status = pt_segment_ordinal(segment, ordinal, &offset);

    if (status < 0)
        return status;
    status = pt_segment_verify(segment, offset, PT_ENTRY_HEADER_SIZE);
    if (status < 0)
        return status;
    if (__builtin_expect(
            !pt_entry_read(segment->base + offset, segment->entries_size - offset, &entry, &size),
            0))
        return pt_segment_damaged(segment, offset, "a malformed entry");
    *key_out = entry.key;
    return pt_segment_verify(segment, offset, PT_ENTRY_HEADER_SIZE + entry.key.size);
}

/* A key of which the footer has no copy is its entry's. */
static enum peat_status long_key_read(struct pt_segment *segment, uint64_t ordinal, uint64_t size,
                                      struct peat_bytes *key)
{
    enum peat_status status;

    if (key->size == size)
        return PEAT_OK;
    status = key_at(segment, ordinal, key);
    if (status < 0)
        return status;
    if (key->size != size)
        return pt_segment_damaged(segment, segment->size - sizeof(struct pt_segment_footer),
                                  "a footer with a key of another size");
    return PEAT_OK;
}

static enum peat_status keys_check(struct pt_segment *segment,
                                   const struct pt_segment_footer *footer)
{
    uint64_t min_size = pt_le32_value(footer->min_key_size);
    uint64_t max_size = pt_le32_value(footer->max_key_size);
    int order;
    enum peat_status status;

    if (segment->entry_count == 0) {
        if (min_size + max_size > 0)
            return pt_segment_damaged(segment, segment->size - sizeof(*footer),
                                      "a footer with keys but no entries");
        return PEAT_OK;
    }
    status = long_key_read(segment, 0, min_size, &segment->min_key);
    if (status >= 0)
        status = long_key_read(segment, segment->entry_count - 1, max_size, &segment->max_key);
    if (status < 0)
        return status;
    order = pt_bytes_compare(segment->min_key, segment->max_key);
    if (segment->entry_count == 1 ? order != 0 : order >= 0)
        return pt_segment_damaged(segment, segment->size - sizeof(*footer),
                                  "a footer with keys out of order");
    if (memcmp(segment->min_key.data, segment->max_key.data, (size_t)segment->common_size) != 0)
        return pt_segment_damaged(segment, segment->size - sizeof(*footer),
                                  "a footer with a wrong common prefix");
    return PEAT_OK;
}

enum peat_status pt_segment_new(struct peat_bytes map, const struct pt_segment_identity *identity,
                                struct pt_file *file, uint64_t file_offset,
                                struct pt_segment **segment_out)
{
    struct pt_segment *segment = pt_aligned_alloc(64, (size_t)pt_round_up(sizeof(*segment), 64));

    PT_ASSERT(map.data != NULL);
    *segment_out = segment;
    if (segment == NULL)
        return pt_fail(PEAT_NO_MEMORY, "segment handle");
    memset(segment, 0, sizeof(*segment));
    segment->base = map.data;
    segment->size = map.size;
    segment->identity = *identity;
    segment->file = file;
    segment->file_offset = file_offset;
    return PEAT_OK;
}

enum peat_status pt_segment_take_footer(struct pt_segment *segment, bool whole_table)
{
    struct pt_segment_footer footer;
    enum peat_status status = footer_read(segment, &footer);

    if (status >= 0)
        status = footer_apply(segment, &footer);
    if (status >= 0) {
        status = table_verify(segment, &footer);
        if (status == PEAT_CORRUPT && !whole_table)
            status = PEAT_OK;
    }
    if (status >= 0)
        status = pt_segment_bitmap_new(segment);
    if (status >= 0)
        status = keys_check(segment, &footer);
    return status;
}

enum peat_status pt_segment_open(struct peat_bytes map, const struct pt_segment_identity *identity,
                                 struct pt_file *file, uint64_t file_offset,
                                 struct pt_segment **segment_out)
{
    struct pt_segment *segment = NULL;
    enum peat_status status = pt_segment_new(map, identity, file, file_offset, &segment);

    *segment_out = NULL;
    if (status >= 0)
        status = pt_segment_take_footer(segment, true);
    if (status < 0) {
        pt_segment_close(segment);
        return status;
    }
    *segment_out = segment;
    return PEAT_OK;
}

enum peat_status pt_segment_verify_end(const struct pt_segment *segment)
{
    struct pt_segment *again = NULL;
    enum peat_status status;

    PT_ASSERT(segment->lost == PEAT_OK);
    status = pt_segment_open(pt_bytes(segment->base, (size_t)segment->size), &segment->identity,
                             segment->file, segment->file_offset, &again);
    pt_segment_close(again);
    return status;
}

/* The fields are such that each way to an entry first asks for a chunk to be verified, or sees that
 * there are no entries, and then that the segment is lost. */
enum peat_status pt_segment_open_lost(const struct pt_segment_identity *identity, uint64_t size,
                                      enum peat_status why, struct pt_file *file,
                                      uint64_t file_offset, struct pt_segment **segment_out)
{
    static const uint8_t nothing[PT_CHUNK_SIZE];
    struct pt_segment *segment = pt_aligned_alloc(64, (size_t)pt_round_up(sizeof(*segment), 64));
    _Atomic uint64_t *verified = pt_calloc(1, sizeof(uint64_t));

    PT_ASSERT(why < 0);
    *segment_out = segment;
    if (segment == NULL || verified == NULL) {
        pt_free(segment);
        pt_free(verified);
        *segment_out = NULL;
        return pt_fail(PEAT_NO_MEMORY, "segment handle");
    }
    memset(segment, 0, sizeof(*segment));
    segment->base = segment->buckets = segment->ordinals = segment->ranges = nothing;
    segment->range_ordinals = segment->checksums = nothing;
    segment->bucket_count = 1;
    segment->verified = verified;
    atomic_store_explicit(&segment->chunks_left, 1, memory_order_relaxed);
    segment->min_key = segment->max_key = pt_bytes(nothing, 0);
    segment->size = size;
    segment->identity = *identity;
    segment->file = file;
    segment->file_offset = file_offset;
    segment->lost = why;
    return PEAT_OK;
}

void pt_segment_close(struct pt_segment *segment)
{
    if (segment == NULL)
        return;
    pt_rescue_free(atomic_load_explicit(&segment->rescue, memory_order_relaxed));
    pt_free(segment->verified);
    pt_free(segment);
}

/* ---- Lookup by hash ---- */

static inline __attribute__((always_inline)) enum peat_status find_by_hash(
    struct pt_segment *segment, struct peat_bytes key, uint64_t hash, struct pt_entry *entry_out)
{
    uint64_t index = pt_hash_spread(hash, segment->bucket_count);

    for (uint64_t tried = 0; tried < segment->bucket_count; tried++) {
        const uint8_t *bucket = pt_segment_bucket_at(segment, index);
        enum peat_status status = pt_segment_verify(segment, (uint64_t)(bucket - segment->base),
                                                    sizeof(struct pt_segment_bucket));
        uint64_t matching;

        if (status < 0)
            return status;
        for (matching = pt_bucket_matching(bucket, (uint16_t)hash); matching != 0;
             matching &= matching - 1) {
            uint32_t place = pt_bucket_place(bucket, matching);
            uint64_t next;

            if (place == PT_PLACE_NONE)
                continue;
            pt_segment_prefetch_rest(segment, (uint64_t)PT_ENTRY_ALIGN * place);
            status = pt_segment_entry(segment, (uint64_t)PT_ENTRY_ALIGN * place, entry_out, &next);
            if (status < 0)
                return status;
            if (pt_bytes_equal(entry_out->key, key))
                return PEAT_OK;
        }
        if ((bucket[offsetof(struct pt_segment_bucket, flags)] & PT_BUCKET_OVERFLOWED) == 0)
            return PEAT_NOT_FOUND;
        index = index + 1 == segment->bucket_count ? 0 : index + 1;
    }
    return PEAT_NOT_FOUND;
}

enum peat_status pt_segment_get(struct pt_segment *segment, struct peat_bytes key, uint64_t hash,
                                struct pt_entry *entry_out)
{
    enum peat_status status = find_by_hash(segment, key, hash, entry_out);

    return __builtin_expect(status < 0, 0) ? pt_rescue_get(segment, status, key, entry_out)
                                           : status;
}

enum peat_status pt_segment_get_strictly(struct pt_segment *segment, struct peat_bytes key,
                                         uint64_t hash, struct pt_entry *entry_out)
{
    return find_by_hash(segment, key, hash, entry_out);
}

void pt_segment_prefetch_bucket(const struct pt_segment *segment, uint64_t hash)
{
    __builtin_prefetch(pt_segment_quick_bucket(segment, hash));
}

void pt_segment_prefetch_entry(const struct pt_segment *segment, uint64_t hash)
{
    uint64_t offset;

    if (segment->bucket_count == 0 ||
        pt_segment_quick_place(segment, pt_segment_quick_bucket(segment, hash), hash, &offset) !=
            PEAT_OK)
        return;
    __builtin_prefetch(segment->base + offset);
    pt_segment_prefetch_rest(segment, offset); /* of the key, or the value */
}

/* ---- Search by order ---- */

static inline uint64_t fence_is_below(const uint8_t *node, size_t index, uint64_t prefix)
{
    return pt_read_le64(node + 8 * index) < prefix;
}

/* Without a branch, and written out: a comparison and an addition with carry for each. */
static inline uint64_t node_count_below(const uint8_t *node, uint64_t prefix)
{
    _Static_assert(PT_FENCE_FANOUT == 8, "a term for each fence of a node");
    return fence_is_below(node, 0, prefix) + fence_is_below(node, 1, prefix) +
           fence_is_below(node, 2, prefix) + fence_is_below(node, 3, prefix) +
           fence_is_below(node, 4, prefix) + fence_is_below(node, 5, prefix) +
           fence_is_below(node, 6, prefix) + fence_is_below(node, 7, prefix);
}

/* The ordinals of a leaf's entries: fetched beside the leaf, so that the two misses overlap. */
static inline void ordinals_prefetch(const struct pt_segment *segment, uint64_t first_fence)
{
    const uint8_t *ordinals = segment->ordinals + 4 * PT_FENCE_STEP * first_fence;

    for (size_t i = 0; i < 4 * PT_FENCE_STEP * PT_FENCE_FANOUT; i += PT_SECTION_ALIGN)
        __builtin_prefetch(ordinals + i);
}

/*
 * How many fences of level 0 are below @p prefix.
 *
 * Fence j of a level is the first fence of node j of the level beneath. So if the first b fences of
 * a level are below the prefix, so are all nodes beneath before node b - 1, none after it is, and
 * node b - 1 has to be counted out. What fills up the last node is never below anything.
 */
static enum peat_status fences_below(struct pt_segment *segment, uint64_t prefix,
                                     uint64_t *count_out)
{
    uint64_t below = 1;

    for (unsigned level = segment->fence_level_count; level-- > 0 && below > 0;) {
        uint64_t first = (below - 1) * PT_FENCE_FANOUT;
        const uint8_t *node = segment->fence_levels[level] + 8 * first;
        enum peat_status status;

        if (level == 0)
            ordinals_prefetch(segment, first);
        status = pt_segment_verify(segment, (uint64_t)(node - segment->base), PT_SECTION_ALIGN);
        if (status < 0)
            return status;
        below = first + node_count_below(node, prefix);
        if (__builtin_expect(below > segment->fence_counts[level], 0))
            return pt_segment_damaged(segment, (uint64_t)(node - segment->base),
                                      "a fence beyond the last one");
    }
    *count_out = below;
    return PEAT_OK;
}

/* The range of fences whose prefix is @p prefix: [*low_out, *high_out). */
static enum peat_status fences_equal(struct pt_segment *segment, uint64_t prefix, uint64_t *low_out,
                                     uint64_t *high_out)
{
    enum peat_status status = fences_below(segment, prefix, low_out);
    const uint8_t *fence;

    if (status < 0)
        return status;
    *high_out = *low_out;
    if (*low_out == segment->fence_counts[0])
        return PEAT_OK;
    fence = segment->fence_levels[0] + 8 * *low_out;
    status = pt_segment_verify(segment, (uint64_t)(fence - segment->base), 8);
    if (status < 0 || pt_read_le64(fence) != prefix)
        return status;
    *high_out = segment->fence_counts[0];
    return prefix == UINT64_MAX ? PEAT_OK : fences_below(segment, prefix + 1, high_out);
}

/* Start fetching entries that a search is about to compare: their misses overlap. */
static void entries_prefetch(const struct pt_segment *segment, uint64_t low, uint64_t high)
{
    const uint8_t *ordinals = segment->ordinals + 4 * low;

    if (high - low > PT_FENCE_STEP ||
        !pt_segment_may_read(segment, (uint64_t)(ordinals - segment->base), 4 * (high - low)))
        return;
    for (uint64_t i = 0; i < high - low; i++) {
        uint64_t offset = (uint64_t)PT_ENTRY_ALIGN * pt_read_le32(ordinals + 4 * i);

        if (offset < segment->entries_size)
            __builtin_prefetch(segment->base + offset);
    }
}

enum peat_status pt_segment_seek(struct pt_segment *segment, struct peat_bytes key,
                                 uint64_t *ordinal_out)
{
    size_t common_size = (size_t)segment->common_size;
    struct peat_bytes common = pt_bytes(segment->min_key.data, common_size);
    struct peat_bytes head = pt_bytes(key.data, key.size < common_size ? key.size : common_size);
    int order = pt_bytes_compare(head, common);
    uint64_t low;
    uint64_t high;
    enum peat_status status;

    *ordinal_out = order > 0 ? segment->entry_count : 0;
    if (order != 0 || segment->entry_count == 0)
        return segment->lost < 0 ? pt_segment_unreadable(segment, segment->lost, segment->size)
                                 : PEAT_OK;
    status = fences_equal(segment, pt_bytes_prefix(key, common_size), &low, &high);
    if (status < 0)
        return status;

    /* The entry of fence low - 1 is below the key, that of fence high above it. */
    low = low == 0 ? 0 : (low - 1) * PT_FENCE_STEP + 1;
    high = high == segment->fence_counts[0] ? segment->entry_count : high * PT_FENCE_STEP;
    entries_prefetch(segment, low, high);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct peat_bytes found;

        status = key_at(segment, middle, &found);
        if (status < 0)
            return status;
        if (pt_bytes_compare(found, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ordinal_out = low;
    return PEAT_OK;
}

/* ---- Range deletes ---- */

static enum peat_status range_read(struct pt_segment *segment, uint64_t index,
                                   struct pt_entry *range_out)
{
    const uint8_t *ordinal = segment->range_ordinals + 4 * index;
    uint64_t start = (uint64_t)(segment->ranges - segment->base);
    uint64_t offset;
    uint64_t size;
    enum peat_status status;

    PT_ASSERT(index < segment->range_count);
    status = pt_segment_verify(segment, (uint64_t)(ordinal - segment->base), 4);
    if (status < 0)
        return status;
    offset = (uint64_t)PT_ENTRY_ALIGN * pt_read_le32(ordinal);
    if (offset >= segment->ranges_size)
        return pt_segment_damaged(segment, start + offset, "a range delete outside the segment");
    status = pt_segment_verify(segment, start + offset, PT_ENTRY_HEADER_SIZE);
    if (status < 0)
        return status;
    if (!pt_entry_read(segment->ranges + offset, segment->ranges_size - offset, range_out, &size) ||
        range_out->op != PT_OP_DELETE_RANGE)
        return pt_segment_damaged(segment, start + offset, "a malformed range delete");
    return pt_segment_verify(segment, start + offset, size);
}

enum peat_status pt_segment_range(struct pt_segment *segment, uint64_t index,
                                  struct pt_entry *range_out)
{
    enum peat_status status = range_read(segment, index, range_out);
    const struct pt_rescue *rescue;

    if (status < 0) /* so that it is known that this segment has lost something */
        (void)pt_segment_rescue(segment, &rescue);
    return status;
}

enum peat_status pt_segment_range_seek(struct pt_segment *segment, struct peat_bytes key,
                                       uint64_t *index_out)
{
    uint64_t low = 0;
    uint64_t high = segment->range_count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct pt_entry range;
        enum peat_status status = pt_segment_range(segment, middle, &range);

        if (status < 0)
            return status;
        if (pt_bytes_compare(range.value, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    *index_out = low;
    return PEAT_OK;
}

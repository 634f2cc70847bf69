/*
 * Building a segment: entries stream out as they come, what the indexes need is gathered in memory
 * and written behind them.
 *
 * Kept per entry: its hash (8 bytes) and its ordinal (4 bytes); per PT_FENCE_STEP entries a fence
 * (8 bytes). The bucket array exists only while finishing.
 *
 * A fence is the 8 key bytes behind the prefix that all keys have in common, which is only known at
 * the end: keys are sorted, so it is what the first and the last key share. Meanwhile fences are
 * kept behind the prefix shared so far. It can only get shorter, and the bytes that a fence then
 * needs in front are the first key's:
 *
 *   first key   a b c d e f g h i j           shared so far 6, fence of "abcdefxyz": x y z 0 0 0 0 0
 *   a new key   a b c q                       shared now 3,    the same fence:       d e f x y z 0 0
 *
 * Nothing here depends on anything but the calls' arguments: the same calls give the same bytes.
 */
#include "core/segment/chunk_writer.h"
#include "core/segment/segment_format.h"

#include "core/base/alloc.h"

struct pt_segment_builder {
    struct pt_chunk_writer writer;
    uint64_t hash_seed;

    uint64_t *hashes;         /* entry_count of entry_capacity */
    struct pt_le32 *ordinals; /* likewise */
    uint64_t *fences;         /* one per PT_FENCE_STEP entries of the capacity; [0, fence_count) */
    uint64_t entry_count;
    uint64_t entry_capacity; /* a multiple of PT_FENCE_STEP */
    size_t hashes_size;      /* bytes, as the two below: room for entry_capacity, or for more */
    size_t ordinals_size;
    size_t fences_size;
    uint64_t fence_count;
    uint64_t delete_count;

    struct peat_bytes first_key; /* owned */
    size_t common_size;          /* bytes: what the first key shares with the last fence's key */
    struct peat_bytes last_key;  /* in the writer's buffer or in last_key_copy */
    uint8_t *last_key_copy;
    size_t last_key_capacity; /* bytes */

    uint8_t *ranges; /* as entries; ranges_size of ranges_capacity bytes */
    uint64_t ranges_size;
    uint64_t ranges_capacity;
    uint64_t range_count;
    uint64_t last_range_offset; /* bytes from ranges */
};

enum {
    ENTRY_CAPACITY_MIN = 256,
    RANGES_CAPACITY_MIN = 256,
    FIXED_MEMORY = PT_CHUNK_WRITER_WRITE_SIZE + PT_CHUNK_WRITER_PIECE_MAX, /* bytes */
    ENTRY_MEMORY = 24,   /* bytes: hash 8, ordinal 4, fence 1 at most, bucket 10 */
    ENTRIES_MIN = 32768, /* no point in smaller segments: the fixed part is larger */
    SPARE_SIZE =
        64 /* bytes of a bound: padding, and that of a range delete that ends behind a key */
};

/* ---- Opening and closing ---- */

enum peat_status pt_segment_builder_open(const struct pt_segment_identity *identity,
                                         uint64_t hash_seed, const struct pt_segment_sink *sink,
                                         struct pt_segment_builder **builder_out)
{
    struct pt_segment_builder *builder = NULL;
    enum peat_status status;

    *builder_out = NULL;
    builder = pt_calloc(1, sizeof(*builder));
    if (builder == NULL) {
        status = pt_fail(PEAT_NO_MEMORY, "segment builder");
        goto done;
    }
    builder->hash_seed = hash_seed;
    status = pt_chunk_writer_init(&builder->writer, identity, sink);
    if (status < 0)
        goto done;
    *builder_out = builder;
    builder = NULL;
done:
    pt_segment_builder_close(builder);
    return status;
}

void pt_segment_builder_close(struct pt_segment_builder *builder)
{
    if (builder == NULL)
        return;
    pt_chunk_writer_fini(&builder->writer);
    pt_block_free(builder->hashes, builder->hashes_size);
    pt_block_free(builder->ordinals, builder->ordinals_size);
    pt_block_free(builder->fences, builder->fences_size);
    pt_bytes_fini(&builder->first_key);
    pt_free(builder->last_key_copy);
    pt_free(builder->ranges);
    pt_free(builder);
}

/* ---- Sizes ---- */

uint64_t pt_segment_builder_data_size(const struct pt_segment_builder *builder)
{
    return pt_chunk_writer_position(&builder->writer);
}

uint64_t pt_segment_builder_entry_count(const struct pt_segment_builder *builder)
{
    return builder->entry_count;
}

size_t pt_segment_builder_memory_for(uint64_t entry_count)
{
    return FIXED_MEMORY + (size_t)entry_count * ENTRY_MEMORY;
}

uint64_t pt_segment_builder_entries_for(uint64_t memory_size)
{
    uint64_t rest = memory_size > FIXED_MEMORY ? memory_size - FIXED_MEMORY : 0;

    return rest / ENTRY_MEMORY > ENTRIES_MIN ? rest / ENTRY_MEMORY : ENTRIES_MIN;
}

/* The layout's size in closed form, since this is asked before every entry: rounded up everywhere. @p keys_size:
 * of the footer's two. */
static uint64_t size_bound(uint64_t data_size, uint64_t entry_count, uint64_t range_count,
                           uint64_t keys_size)
{
    uint64_t levels_size = /* 8 + 1 + 1/8 + ... bytes per fence, a cache line per level */
        (entry_count / PT_FENCE_STEP + 1) * 10 + PT_FENCE_LEVELS_MAX * PT_SECTION_ALIGN;
    uint64_t size = data_size + 4 * (entry_count + range_count) + 2 * PT_SECTION_ALIGN +
                    levels_size +
                    pt_segment_bucket_count(entry_count) * sizeof(struct pt_segment_bucket);

    size += (size / PT_CHUNK_SIZE + 1) * PT_CHECKSUM_SIZE;
    return size + keys_size + SPARE_SIZE + sizeof(struct pt_segment_footer);
}

uint64_t pt_segment_size_bound(uint64_t data_size, uint64_t entry_count)
{
    return size_bound(data_size, entry_count, 0, UINT64_C(2) * PT_FOOTER_KEY_SIZE_MAX);
}

/* Of the footer's keys, the last one perhaps that of an entry of @p entry_size bytes. Where regions are small,
 * room for the largest keys would be an eighth of each. */
static uint64_t keys_size_bound(const struct pt_segment_builder *builder, uint64_t entry_size)
{
    uint64_t next = entry_size < PT_FOOTER_KEY_SIZE_MAX ? entry_size : PT_FOOTER_KEY_SIZE_MAX;
    uint64_t first = pt_segment_key_copy_size(builder->first_key.size);
    uint64_t last = pt_segment_key_copy_size(builder->last_key.size);

    if (builder->entry_count == 0)
        first = next;
    return first + (last > next ? last : next);
}

uint64_t pt_segment_builder_size_bound(const struct pt_segment_builder *builder,
                                       uint64_t entry_size)
{
    return size_bound(pt_segment_builder_data_size(builder) + builder->ranges_size + entry_size,
                      builder->entry_count + (entry_size > 0), builder->range_count,
                      keys_size_bound(builder, entry_size));
}

/* ---- Adding ---- */

static enum peat_status array_grow(void **array, size_t *size, uint64_t count, size_t item_size)
{
    size_t size_new = (size_t)count * item_size;
    void *grown = pt_block_grow(*array, *size, size_new);

    if (grown == NULL)
        return pt_fail(PEAT_NO_MEMORY, "indexes of a segment: %zu bytes", size_new);
    *array = grown;
    *size = size_new;
    return PEAT_OK;
}

static enum peat_status capacity_double(struct pt_segment_builder *builder)
{
    uint64_t capacity =
        builder->entry_capacity == 0 ? ENTRY_CAPACITY_MIN : 2 * builder->entry_capacity;
    void *hashes = builder->hashes;
    void *ordinals = builder->ordinals;
    void *fences = builder->fences;
    enum peat_status status =
        array_grow(&hashes, &builder->hashes_size, capacity, sizeof(*builder->hashes));

    if (status >= 0)
        status =
            array_grow(&ordinals, &builder->ordinals_size, capacity, sizeof(*builder->ordinals));
    if (status >= 0)
        status = array_grow(&fences, &builder->fences_size, capacity / PT_FENCE_STEP,
                            sizeof(*builder->fences));
    builder->hashes = hashes;
    builder->ordinals = ordinals;
    builder->fences = fences;
    if (status >= 0)
        builder->entry_capacity = capacity;
    return status;
}

/* Bring the fences kept so far from behind the first common_size bytes to behind the first
 * @p common_size ones, which are fewer. */
static void fences_rebase(struct pt_segment_builder *builder, size_t common_size)
{
    size_t inserted = builder->common_size - common_size;
    uint64_t front =
        pt_bytes_prefix(pt_bytes(builder->first_key.data, builder->common_size), common_size);

    for (uint64_t i = 0; i < builder->fence_count; i++)
        builder->fences[i] = inserted >= 8 ? front : front | builder->fences[i] >> (8 * inserted);
    builder->common_size = common_size;
}

static void common_narrow(struct pt_segment_builder *builder, struct peat_bytes key)
{
    struct peat_bytes common = pt_bytes(builder->first_key.data, builder->common_size);
    size_t common_size = pt_bytes_common(common, key);

    if (common_size < builder->common_size)
        fences_rebase(builder, common_size);
}

static enum peat_status fence_add(struct pt_segment_builder *builder, struct peat_bytes key)
{
    if (builder->entry_count == 0) {
        enum peat_status status = pt_bytes_copy(key, &builder->first_key);

        if (status < 0)
            return status;
        builder->common_size =
            key.size < PT_FOOTER_KEY_SIZE_MAX ? key.size : PT_FOOTER_KEY_SIZE_MAX;
    }
    common_narrow(builder, key);
    builder->fences[builder->fence_count++] = pt_bytes_prefix(key, builder->common_size);
    return PEAT_OK;
}

/* Keep @p key as the last one in memory of our own. */
static enum peat_status last_key_keep(struct pt_segment_builder *builder, struct peat_bytes key)
{
    if (key.size > builder->last_key_capacity) {
        size_t capacity = (size_t)pt_round_up(2 * key.size, 64);
        uint8_t *grown = pt_malloc(capacity);

        if (grown == NULL)
            return pt_fail(PEAT_NO_MEMORY, "key of %zu bytes", key.size);
        pt_free(builder->last_key_copy); /* @p key is not in it: it would fit */
        builder->last_key_copy = grown;
        builder->last_key_capacity = capacity;
    }
    if (key.size > 0)
        memmove(builder->last_key_copy, key.data, key.size);
    builder->last_key = pt_bytes(builder->last_key_copy, key.size);
    return PEAT_OK;
}

/* The entry in one piece, in place. */
static enum peat_status small_entry_write(struct pt_segment_builder *builder, enum pt_op op,
                                          struct peat_bytes key, struct peat_bytes value,
                                          size_t size)
{
    uint8_t *place;
    enum peat_status status = pt_chunk_writer_reserve(&builder->writer, size, &place);

    if (status < 0)
        return status;
    (void)pt_entry_write(place, op, key, value);
    pt_chunk_writer_advance(&builder->writer, size);
    builder->last_key = pt_bytes(place + PT_ENTRY_HEADER_SIZE, key.size);
    return PEAT_OK;
}

/* The entry in several pieces, the value past the buffer where it is large. */
static enum peat_status large_entry_write(struct pt_segment_builder *builder, enum pt_op op,
                                          struct peat_bytes key, struct peat_bytes value)
{
    uint8_t header[PT_ENTRY_HEADER_SIZE];
    enum peat_status status = last_key_keep(builder, key);

    pt_entry_header_write(header, key.size, op, value.size);
    if (status >= 0)
        status = pt_chunk_writer_append(&builder->writer, header, sizeof(header));
    if (status >= 0)
        status = pt_chunk_writer_append(&builder->writer, key.data, key.size);
    if (status >= 0)
        status = pt_chunk_writer_append(&builder->writer, value.data, value.size);
    if (status >= 0)
        status = pt_chunk_writer_pad(&builder->writer, PT_ENTRY_ALIGN, 0);
    return status;
}

enum peat_status pt_segment_builder_add(struct pt_segment_builder *builder, enum pt_op op,
                                        struct peat_bytes key, struct peat_bytes value,
                                        uint64_t hash)
{
    uint64_t size = pt_entry_size(key.size, value.size);
    uint64_t offset = pt_segment_builder_data_size(builder);
    enum peat_status status = PEAT_OK;

    PT_ASSERT(op == PT_OP_PUT || op == PT_OP_DELETE);
    if (op == PT_OP_DELETE)
        PT_ASSERT(value.size == 0);
    if (builder->entry_count > 0)
        PT_ASSERT(pt_bytes_compare(builder->last_key, key) < 0);
    PT_ASSERT(offset + size <= PT_SEGMENT_ENTRIES_SIZE_MAX);

    if (__builtin_expect(builder->entry_count == builder->entry_capacity, 0))
        status = capacity_double(builder);
    if (status >= 0 && builder->entry_count % PT_FENCE_STEP == 0)
        status = fence_add(builder, key);
    if (status < 0)
        return status;
    status = size <= PT_CHUNK_WRITER_PIECE_MAX
                 ? small_entry_write(builder, op, key, value, (size_t)size)
                 : large_entry_write(builder, op, key, value);
    if (status < 0)
        return status;
    builder->hashes[builder->entry_count] = hash;
    builder->ordinals[builder->entry_count] = pt_le32((uint32_t)(offset / PT_ENTRY_ALIGN));
    builder->entry_count++;
    builder->delete_count += op == PT_OP_DELETE;
    return PEAT_OK;
}

static enum peat_status ranges_reserve(struct pt_segment_builder *builder, uint64_t size)
{
    uint64_t capacity =
        builder->ranges_capacity == 0 ? RANGES_CAPACITY_MIN : builder->ranges_capacity;
    uint8_t *grown;

    while (capacity < builder->ranges_size + size)
        capacity *= 2;
    if (capacity == builder->ranges_capacity)
        return PEAT_OK;
    grown = pt_realloc(builder->ranges, (size_t)capacity);
    if (grown == NULL)
        return pt_fail(PEAT_NO_MEMORY, "range deletes of a segment");
    builder->ranges = grown;
    builder->ranges_capacity = capacity;
    return PEAT_OK;
}

/* The range added last. */
static struct pt_entry last_range(const struct pt_segment_builder *builder)
{
    struct pt_entry range;
    uint64_t size;
    bool valid = pt_entry_read(builder->ranges + builder->last_range_offset,
                               builder->ranges_size - builder->last_range_offset, &range, &size);

    PT_ASSERT(valid);
    return range;
}

enum peat_status pt_segment_builder_add_range(struct pt_segment_builder *builder,
                                              struct peat_bytes low, struct peat_bytes high)
{
    uint64_t size = pt_entry_size(low.size, high.size);
    enum peat_status status;

    PT_ASSERT(pt_bytes_compare(low, high) < 0);
    if (builder->range_count > 0)
        PT_ASSERT(pt_bytes_compare(last_range(builder).value, low) <= 0);
    PT_ASSERT(builder->ranges_size + size <= PT_SEGMENT_ENTRIES_SIZE_MAX);

    status = ranges_reserve(builder, size);
    if (status < 0)
        return status;
    builder->last_range_offset = builder->ranges_size;
    builder->ranges_size +=
        pt_entry_write(builder->ranges + builder->ranges_size, PT_OP_DELETE_RANGE, low, high);
    builder->range_count++;
    return PEAT_OK;
}

/* ---- Finishing ---- */

static enum peat_status ranges_write(struct pt_segment_builder *builder)
{
    enum peat_status status =
        pt_chunk_writer_append(&builder->writer, builder->ranges, (size_t)builder->ranges_size);
    uint64_t offset = 0;

    while (status >= 0 && offset < builder->ranges_size) {
        struct pt_le32 ordinal = pt_le32(pt_u32(offset / PT_ENTRY_ALIGN));
        struct pt_entry range;
        uint64_t size;
        bool valid =
            pt_entry_read(builder->ranges + offset, builder->ranges_size - offset, &range, &size);

        PT_ASSERT(valid);
        offset += size;
        status = pt_chunk_writer_append(&builder->writer, &ordinal, sizeof(ordinal));
    }
    if (status >= 0)
        status = pt_chunk_writer_pad(&builder->writer, PT_SECTION_ALIGN, 0);
    return status;
}

static enum peat_status ordinals_write(struct pt_segment_builder *builder)
{
    enum peat_status status =
        pt_chunk_writer_append(&builder->writer, builder->ordinals,
                               (size_t)builder->entry_count * sizeof(*builder->ordinals));

    return status < 0 ? status : pt_chunk_writer_pad(&builder->writer, PT_SECTION_ALIGN, 0);
}

/* Each level of fences, and in the end nothing but its first fences are left: the array is thinned
 * in place. Ones behind the last fence keep a search in its node from counting them. */
static enum peat_status fences_write(struct pt_segment_builder *builder)
{
    uint64_t count = builder->fence_count;
    enum peat_status status = PEAT_OK;

    for (uint64_t i = 0; i < count; i++) { /* as they are stored, from here on */
        struct pt_le64 stored = pt_le64(builder->fences[i]);

        memcpy(&builder->fences[i], &stored, sizeof(stored));
    }
    while (status >= 0 && count > 0) {
        status = pt_chunk_writer_append(&builder->writer, builder->fences,
                                        (size_t)count * sizeof(*builder->fences));
        if (status >= 0)
            status = pt_chunk_writer_pad(&builder->writer, PT_SECTION_ALIGN, 0xff);
        if (count <= PT_FENCE_FANOUT)
            break;
        count = (count + PT_FENCE_FANOUT - 1) / PT_FENCE_FANOUT;
        for (uint64_t i = 0; i < count; i++)
            builder->fences[i] = builder->fences[i * PT_FENCE_FANOUT];
    }
    return status;
}

static void bucket_insert(struct pt_segment_bucket *buckets, uint64_t bucket_count, uint64_t hash,
                          struct pt_le32 place)
{
    struct pt_segment_bucket *bucket = buckets + pt_hash_spread(hash, bucket_count);

    while (bucket->count == PT_BUCKET_SLOTS) {
        bucket->flags |= PT_BUCKET_OVERFLOWED;
        bucket = bucket + 1 == buckets + bucket_count ? buckets : bucket + 1;
    }
    bucket->tags[bucket->count] = pt_le16((uint16_t)hash);
    bucket->places[bucket->count++] = place;
}

static enum peat_status buckets_write(struct pt_segment_builder *builder)
{
    enum { AHEAD = 8 }; /* entries: inserting is a cache miss each, let them overlap */
    uint64_t bucket_count = pt_segment_bucket_count(builder->entry_count);
    struct pt_segment_bucket *buckets = NULL;
    enum peat_status status = PEAT_OK;
    size_t size;

    if (bucket_count == 0)
        return PEAT_OK;
    size = (size_t)bucket_count * sizeof(*buckets);
    buckets = pt_block_alloc(size);
    if (buckets == NULL)
        return pt_fail(PEAT_NO_MEMORY, "%llu hash buckets", (unsigned long long)bucket_count);
    for (uint64_t i = 0; i < bucket_count; i++)
        memset(buckets[i].places, 0xff, sizeof(buckets[i].places));
    for (uint64_t i = 0; i < builder->entry_count; i++) {
        if (i + AHEAD < builder->entry_count)
            __builtin_prefetch(buckets + pt_hash_spread(builder->hashes[i + AHEAD], bucket_count),
                               1);
        bucket_insert(buckets, bucket_count, builder->hashes[i], builder->ordinals[i]);
    }
    status = pt_chunk_writer_append(&builder->writer, buckets, size);
    pt_block_free(buckets, size);
    return status;
}

static struct pt_checksum checksum_as(const struct pt_segment_builder *builder,
                                      enum pt_key_purpose purpose, const void *data, size_t size)
{
    struct pt_key key = pt_key_derive(&builder->writer.identity.store_id, purpose,
                                      builder->writer.identity.segment_id, 0);

    return pt_checksum(&key, data, size);
}

static struct pt_segment_footer footer_of(const struct pt_segment_builder *builder,
                                          const struct pt_segment_counts *counts, uint64_t size)
{
    struct pt_segment_footer footer = {
        .magic = pt_le64(PT_SEGMENT_MAGIC),
        .segment_id = pt_le64(builder->writer.identity.segment_id),
        .size = pt_le64(size),
        .entries_size = pt_le64(counts->entries_size),
        .entry_count = pt_le64(counts->entry_count),
        .delete_count = pt_le64(builder->delete_count),
        .ranges_size = pt_le64(counts->ranges_size),
        .range_count = pt_le64(counts->range_count),
        .bucket_count = pt_le64(counts->bucket_count),
        .hash_seed = pt_le64(builder->hash_seed),
        .common_size = pt_le64(builder->common_size),
        .min_key_size = pt_le32(pt_u32(counts->min_key_size)),
        .max_key_size = pt_le32(pt_u32(counts->max_key_size)),
    };
    return footer;
}

/* Chunk table, keys and footer, which are one piece: also what the digest is of. */
static enum peat_status tail_write(struct pt_segment_builder *builder,
                                   const struct pt_segment_counts *counts,
                                   const struct pt_segment_layout *layout,
                                   struct pt_digest *digest_out)
{
    size_t size = (size_t)(layout->size - layout->table_offset);
    size_t table_size = (size_t)(layout->keys_offset - layout->table_offset);
    struct pt_segment_footer footer = footer_of(builder, counts, layout->size);
    size_t min_size = (size_t)pt_segment_key_copy_size(counts->min_key_size);
    size_t max_size = (size_t)pt_segment_key_copy_size(counts->max_key_size);
    uint8_t *tail = pt_calloc(1, size);
    enum peat_status status;

    if (tail == NULL)
        return pt_fail(PEAT_NO_MEMORY, "footer of a segment");
    memcpy(tail, builder->writer.checksums, table_size);
    footer.table_checksum = checksum_as(builder, PT_KEY_SEGMENT_TABLE, tail, table_size);
    if (min_size > 0)
        memcpy(tail + table_size, builder->first_key.data, min_size);
    if (max_size > 0)
        memcpy(tail + table_size + min_size, builder->last_key.data, max_size);
    memcpy(tail + size - sizeof(footer), &footer, sizeof(footer));
    footer.checksum = checksum_as(builder, PT_KEY_SEGMENT_FOOTER, tail + table_size,
                                  size - table_size - PT_CHECKSUM_SIZE);
    memcpy(tail + size - sizeof(footer), &footer, sizeof(footer));

    *digest_out = pt_digest(tail, size, NULL, 0);
    status =
        builder->writer.sink.write(builder->writer.sink.context, layout->table_offset, tail, size);
    pt_free(tail);
    return status;
}

static enum peat_status indexes_write(struct pt_segment_builder *builder)
{
    enum peat_status status = ranges_write(builder);

    if (status >= 0)
        status = ordinals_write(builder);
    if (status >= 0)
        status = fences_write(builder);
    if (status >= 0)
        status = buckets_write(builder);
    if (status >= 0)
        status = pt_chunk_writer_finish(&builder->writer);
    return status;
}

enum peat_status pt_segment_builder_finish(struct pt_segment_builder *builder,
                                           struct pt_segment_summary *summary_out)
{
    struct pt_segment_counts counts = {
        .entries_size = pt_segment_builder_data_size(builder),
        .entry_count = builder->entry_count,
        .ranges_size = builder->ranges_size,
        .range_count = builder->range_count,
        .bucket_count = pt_segment_bucket_count(builder->entry_count),
        .min_key_size = builder->first_key.size,
        .max_key_size = builder->last_key.size,
    };
    struct pt_segment_layout layout;
    enum peat_status status;

    PT_ASSERT(builder->entry_count + builder->range_count > 0);
    status = last_key_keep(builder, builder->last_key);
    if (status < 0)
        return status;
    if (builder->entry_count > 0)
        common_narrow(builder, builder->last_key);
    status = indexes_write(builder);
    if (status < 0)
        return status;

    pt_segment_layout(&counts, &layout);
    PT_ASSERT(builder->writer.offset == layout.table_offset);
    PT_ASSERT(builder->writer.checksum_count == layout.chunk_count);
    summary_out->size = layout.size;
    summary_out->entry_count = builder->entry_count;
    summary_out->delete_count = builder->delete_count;
    summary_out->range_count = builder->range_count;
    return tail_write(builder, &counts, &layout, &summary_out->digest);
}

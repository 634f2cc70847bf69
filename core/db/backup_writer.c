#include "core/db/backup_writer.h"

#include "core/base/alloc.h"
#include "core/db/backup_format.h"

void pt_backup_writer_init(struct pt_backup_writer *writer, struct pt_backup_target *target,
                           const struct pt_manifest *manifest, uint64_t segment_size_max)
{
    PT_ASSERT(target->offset == PT_ARENA_START);
    memset(writer, 0, sizeof(*writer));
    writer->target = target;
    writer->manifest = *manifest;
    writer->manifest.generation = PT_BACKUP_GENERATION;
    writer->segment_size_max = segment_size_max;
}

void pt_backup_writer_fini(struct pt_backup_writer *writer)
{
    pt_segment_builder_close(writer->builder);
    for (size_t i = 0; i < writer->manifest.slice_count; i++) {
        pt_bytes_fini(&writer->manifest.slices[i].low);
        pt_bytes_fini(&writer->manifest.slices[i].high);
    }
    pt_manifest_fini(&writer->manifest);
    pt_bytes_fini(&writer->low);
    pt_bytes_fini(&writer->last_high);
    memset(writer, 0, sizeof(*writer));
}

/* ---- Segments ---- */

static enum peat_status sink_write(void *context, uint64_t offset, const void *data, size_t size)
{
    struct pt_backup_writer *writer = context;

    PT_ASSERT(writer->segment_offset + offset == writer->target->offset);
    return pt_backup_target_write(writer->target, data, size);
}

/* Begin a segment whose smallest key is @p low. */
static enum peat_status begin(struct pt_backup_writer *writer, struct peat_bytes low)
{
    struct pt_segment_identity identity = {writer->manifest.store_id,
                                           writer->manifest.next_segment_id};
    struct pt_segment_sink sink = {sink_write, writer};
    enum peat_status status = pt_bytes_copy(low, &writer->low);

    writer->segment_offset = writer->target->offset;
    if (status == PEAT_OK)
        status =
            pt_segment_builder_open(&identity, writer->manifest.hash_seed, &sink, &writer->builder);
    return status;
}

/* The end of the slice in the making, owned: just behind everything in it. */
static enum peat_status slice_end(struct pt_backup_writer *writer, struct peat_bytes *end_out)
{
    struct peat_bytes key = writer->last_key;
    uint8_t *bytes;

    if (key.data == NULL ||
        (writer->last_high.data != NULL && pt_bytes_compare(key, writer->last_high) < 0)) {
        *end_out = writer->last_high;
        writer->last_high = pt_bytes(NULL, 0);
        return PEAT_OK;
    }
    bytes = pt_malloc(key.size + 1); /* the smallest key above it */
    if (bytes == NULL)
        return pt_fail(PEAT_NO_MEMORY, "key of %zu bytes", key.size + 1);
    if (key.size > 0)
        memcpy(bytes, key.data, key.size);
    bytes[key.size] = 0;
    *end_out = pt_bytes(bytes, key.size + 1);
    return PEAT_OK;
}

static enum peat_status lists_grow(struct pt_backup_writer *writer)
{
    struct pt_manifest *manifest = &writer->manifest;
    size_t capacity = writer->slice_capacity == 0 ? 16 : 2 * writer->slice_capacity;
    void *segments;
    void *slices;

    if (manifest->slice_count < writer->slice_capacity)
        return PEAT_OK;
    segments = pt_realloc(manifest->segments, capacity * sizeof(*manifest->segments));
    if (segments != NULL)
        manifest->segments = segments;
    slices = pt_realloc(manifest->slices, capacity * sizeof(*manifest->slices));
    if (slices != NULL)
        manifest->slices = slices;
    if (segments == NULL || slices == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu segments", capacity);
    writer->slice_capacity = capacity;
    return PEAT_OK;
}

/* Finish the segment, if there is one, and name it. */
static enum peat_status cut(struct pt_backup_writer *writer)
{
    struct pt_manifest *manifest = &writer->manifest;
    struct pt_manifest_segment segment = {.id = manifest->next_segment_id};
    struct pt_manifest_slice slice = {.segment_index = manifest->segment_count};
    enum peat_status status = PEAT_OK;

    if (writer->builder == NULL)
        return PEAT_OK;
    status = lists_grow(writer);
    if (status == PEAT_OK)
        status = pt_segment_builder_finish(writer->builder, &segment.summary);
    if (status == PEAT_OK)
        status = pt_backup_target_pad(writer->target);
    if (status == PEAT_OK)
        status = slice_end(writer, &slice.high);
    if (status < 0)
        return status;
    pt_segment_builder_close(writer->builder);
    writer->builder = NULL;
    segment.extent.offset = writer->segment_offset;
    segment.extent.size = writer->target->offset - writer->segment_offset;
    slice.low = writer->low;
    manifest->segments[manifest->segment_count++] = segment;
    manifest->slices[manifest->slice_count++] = slice;
    manifest->next_segment_id++;
    writer->low = writer->last_key = pt_bytes(NULL, 0);
    pt_bytes_fini(&writer->last_high);
    return PEAT_OK;
}

/* Room for @p size bytes more that begin at @p low: in this segment or a fresh one. */
static enum peat_status make_room(struct pt_backup_writer *writer, uint64_t size,
                                  struct peat_bytes low)
{
    enum peat_status status = PEAT_OK;

    if (writer->builder != NULL &&
        pt_segment_builder_size_bound(writer->builder, size) > writer->segment_size_max)
        status = cut(writer);
    if (status == PEAT_OK && writer->builder == NULL)
        status = begin(writer, low);
    return status;
}

enum peat_status pt_backup_writer_add(struct pt_backup_writer *writer, enum pt_op op,
                                      struct peat_bytes key, struct peat_bytes value)
{
    enum peat_status status = make_room(writer, pt_entry_size(key.size, value.size), key);

    if (status == PEAT_OK)
        status = pt_segment_builder_add(writer->builder, op, key, value,
                                        pt_hash(writer->manifest.hash_seed, key.data, key.size));
    writer->last_key = key;
    return status;
}

enum peat_status pt_backup_writer_add_range(struct pt_backup_writer *writer, struct peat_bytes low,
                                            struct peat_bytes high)
{
    enum peat_status status = make_room(writer, pt_entry_size(low.size, high.size), low);

    PT_ASSERT(pt_bytes_compare(low, high) < 0);
    if (status == PEAT_OK)
        status = pt_segment_builder_add_range(writer->builder, low, high);
    if (status == PEAT_OK) {
        pt_bytes_fini(&writer->last_high);
        status = pt_bytes_copy(high, &writer->last_high);
    }
    return status;
}

/* ---- The manifest ---- */

enum peat_status pt_backup_writer_finish(struct pt_backup_writer *writer,
                                         struct pt_extent *extent_out)
{
    struct pt_manifest *manifest = &writer->manifest;
    uint8_t *block = NULL;
    enum peat_status status = cut(writer);

    if (status == PEAT_OK && manifest->slice_count > 0) {
        manifest->run_slice_counts = pt_calloc(1, sizeof(*manifest->run_slice_counts));
        if (manifest->run_slice_counts == NULL)
            return pt_fail(PEAT_NO_MEMORY, "manifest");
        manifest->run_count = 1;
        manifest->run_slice_counts[0] = manifest->slice_count;
    }
    if (status < 0)
        return status;
    extent_out->offset = writer->target->offset;
    extent_out->size = pt_manifest_size(manifest);
    block = pt_malloc(extent_out->size);
    if (block == NULL)
        return pt_fail(PEAT_NO_MEMORY, "manifest of %llu bytes",
                       (unsigned long long)extent_out->size);
    pt_manifest_encode(manifest, block);
    status = pt_backup_target_write(writer->target, block, extent_out->size);
    if (status == PEAT_OK)
        status = pt_backup_target_pad(writer->target);
    pt_free(block);
    return status;
}

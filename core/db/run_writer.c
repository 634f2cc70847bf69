#include "core/db/run_writer.h"

#include "core/base/alloc.h"

/* ---- Slice lists ---- */

enum peat_status pt_slice_list_add(struct pt_slice_list *list, struct pt_held_segment *held,
                                   struct peat_bytes low, struct peat_bytes high)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        struct pt_slice *slices = pt_realloc(list->slices, capacity * sizeof(*slices));

        if (slices == NULL)
            return pt_fail(PEAT_NO_MEMORY, "list of %zu slices", capacity);
        list->slices = slices;
        list->capacity = capacity;
    }
    pt_held_segment_pin(held);
    list->slices[list->count++] = (struct pt_slice){.held = held, .low = low, .high = high};
    return PEAT_OK;
}

void pt_slice_list_fini(struct pt_slice_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        pt_held_segment_unpin(list->slices[i].held);
    pt_free(list->slices);
    memset(list, 0, sizeof(*list));
}

/* ---- The writer ---- */

enum {
    BUILDER_SHARE = 8, /* the part of memory_size_max that a segment in the making may take */
    SHORT_SEGMENT_SIZE = 128 << 10 /* bytes: with less of the reserve no segment is begun */
};

void pt_run_writer_init(struct pt_run_writer *writer, struct peat_db *db, struct pt_slice_list *out,
                        uint64_t input_size, uint64_t entry_count, _Atomic uint64_t *bytes_written)
{
    memset(writer, 0, sizeof(*writer));
    writer->db = db;
    writer->out = out;
    writer->bytes_written = bytes_written;
    writer->input_left = input_size;
    writer->entries_left = entry_count;
    writer->segment_size_max = PT_SEGMENT_SIZE_MAX;
    writer->write_size = SIZE_MAX;
    writer->room_size_max = pt_reserve_segment_size_max(db);
    writer->entries_max =
        pt_segment_builder_entries_for(db->options.memory_size_max / BUILDER_SHARE);
}

static void builder_close(struct pt_run_writer *writer)
{
    pt_segment_builder_close(writer->builder);
    writer->builder = NULL;
    pt_work_memory_give(writer->db, writer->charged);
    writer->charged = 0;
}

/* @p extent of the builder's region is not needed. */
static void give_back(struct pt_run_writer *writer, struct pt_extent extent)
{
    if (!writer->is_drawn) {
        pt_arena_release(writer->db->arena, extent);
        return;
    }
    pt_arena_release_reserved(writer->db->arena, extent);
    writer->drawn -= extent.size;
}

void pt_run_writer_fini(struct pt_run_writer *writer)
{
    if (writer->builder != NULL)
        give_back(writer, writer->extent);
    builder_close(writer);
    for (size_t i = 0; i < writer->end_count; i++)
        pt_free(writer->ends[i]);
    pt_free(writer->ends);
    memset(writer, 0, sizeof(*writer));
}

uint64_t pt_run_writer_size(const struct pt_run_writer *writer)
{
    if (writer->builder == NULL)
        return writer->written;
    return writer->written + pt_segment_builder_data_size(writer->builder);
}

static enum peat_status sink_write(void *context, uint64_t offset, const void *data, size_t size)
{
    struct pt_run_writer *writer = context;
    uint64_t place = writer->extent.offset + offset;
    enum peat_status status = PEAT_OK;
    size_t piece;

    PT_ASSERT(offset + size <= writer->extent.size);
    for (size_t done = 0; done < size && status == PEAT_OK; done += piece) {
        piece = size - done < writer->write_size ? size - done : writer->write_size;
        status = pt_file_write(pt_arena_file(writer->db->arena), place + done,
                               (const uint8_t *)data + done, piece);
    }
    return status;
}

/* Whether @p key is at or above bare_low, if there is such a key. */
static bool is_bare(const struct pt_run_writer *writer, struct peat_bytes key)
{
    return writer->bare_low.data != NULL && pt_bytes_compare(key, writer->bare_low) >= 0;
}

static uint64_t kept_size(const struct pt_run_writer *writer)
{
    return writer->gives_back ? pt_reserve_for_merge(writer->db) : pt_reserve_for_flush(writer->db);
}

/* There is no ordinary space: a segment as large as what the reserve has for it. */
static enum peat_status begin_reserved(struct pt_run_writer *writer, uint64_t size,
                                       uint64_t size_min)
{
    uint64_t drawn = 0;
    enum peat_status status = pt_arena_alloc_reserved(writer->db->arena, size, size_min,
                                                      kept_size(writer), &writer->extent, &drawn);

    writer->is_drawn = status == PEAT_OK && drawn > 0;
    writer->drawn += drawn;
    if (writer->gives_back)
        atomic_store_explicit(&writer->db->reserve.merge_drawn, writer->drawn,
                              memory_order_relaxed);
    if (drawn > 0)
        pt_reserve_drawn(writer->db);
    return status;
}

bool pt_run_writer_is_exhausted(const struct pt_run_writer *writer)
{
    return writer->drawn > 0 &&
           !pt_arena_reserve_has(writer->db->arena, SHORT_SEGMENT_SIZE, kept_size(writer));
}

/* Begin a segment that can take an entry of @p entry_size bytes with @p key, and more if more may
 * come. */
static enum peat_status begin(struct pt_run_writer *writer, struct peat_bytes key,
                              uint64_t entry_size)
{
    struct pt_segment_identity identity = {
        writer->db->store_id,
        atomic_fetch_add_explicit(&writer->db->next_segment_id, 1, memory_order_relaxed)};
    struct pt_segment_sink sink = {sink_write, writer};
    uint64_t size = pt_segment_size_bound(writer->input_left, writer->entries_left);
    uint64_t size_max =
        is_bare(writer, key) ? (uint64_t)PT_SEGMENT_SIZE_MAX : writer->segment_size_max;
    enum peat_status status;

    if (size_max > writer->room_size_max)
        size_max = writer->room_size_max;
    writer->is_brief = writer->bare_low.data != NULL && !is_bare(writer, key);
    if (size > size_max)
        size = size_max;
    if (size < pt_segment_size_bound(entry_size, 2)) /* an entry and a range delete */
        size = pt_segment_size_bound(entry_size, 2);
    writer->segment_id = identity.segment_id;
    writer->is_drawn = false;
    status = (writer->is_brief ? pt_arena_alloc_brief : pt_arena_alloc)(writer->db->arena, size,
                                                                        &writer->extent);
    if (status == PEAT_NO_SPACE)
        status = begin_reserved(writer, size, pt_segment_size_bound(entry_size, 2));
    if (status < 0)
        return status;
    status = pt_segment_builder_open(&identity, pt_hash_seed(writer->db), &sink, &writer->builder);
    if (status < 0) {
        give_back(writer, writer->extent);
        return status;
    }
    writer->charged = pt_segment_builder_memory_for(
        writer->entries_left < writer->entries_max ? writer->entries_left : writer->entries_max);
    pt_work_memory_take(writer->db, writer->charged);
    return PEAT_OK;
}

/* The smallest key above @p key, kept by the writer. */
static enum peat_status successor(struct pt_run_writer *writer, struct peat_bytes key,
                                  struct peat_bytes *successor_out)
{
    uint8_t *bytes = pt_malloc(key.size + 1);
    void **ends = pt_realloc(writer->ends, (writer->end_count + 1) * sizeof(*ends));

    if (ends != NULL)
        writer->ends = ends;
    if (bytes == NULL || ends == NULL) {
        pt_free(bytes);
        return pt_fail(PEAT_NO_MEMORY, "key of %zu bytes", key.size + 1);
    }
    writer->ends[writer->end_count++] = bytes;
    memcpy(bytes, key.data, key.size);
    bytes[key.size] = 0;
    *successor_out = pt_bytes(bytes, key.size + 1);
    return PEAT_OK;
}

/* The end of the slice in the making: just behind everything in it. */
static enum peat_status slice_end(struct pt_run_writer *writer, struct peat_bytes *end_out)
{
    *end_out = writer->last_high;
    if (writer->last_key.data == NULL ||
        (writer->last_high.data != NULL &&
         pt_bytes_compare(writer->last_key, writer->last_high) < 0))
        return PEAT_OK;
    return successor(writer, writer->last_key, end_out);
}

/* Finish the segment and add its slice. */
static enum peat_status finish_segment(struct pt_run_writer *writer)
{
    struct peat_db *db = writer->db;
    struct pt_held_segment *held = NULL;
    struct pt_segment_summary summary;
    struct peat_bytes end;
    struct pt_extent rest;
    enum peat_status status = pt_segment_builder_finish(writer->builder, &summary);

    if (status < 0)
        return status; /* fini releases builder and region */
    builder_close(writer);
    rest.offset = writer->extent.offset + pt_round_up(summary.size, PT_REGION_UNIT);
    rest.size = writer->extent.offset + writer->extent.size - rest.offset;
    if (rest.size > 0)
        give_back(writer, rest);
    writer->extent.size -= rest.size;
    status = pt_held_segment_open(db->arena, &db->store_id, writer->segment_id, writer->extent,
                                  &summary, false, &db->generation, &held);
    if (status < 0) {
        give_back(writer, writer->extent);
        return status;
    }
    if (writer->verify)
        status = pt_segment_verify_all(held->segment);
    if (status < 0) {
        pt_held_segment_unpin(held);
        return status;
    }
    writer->written += summary.size;
    atomic_fetch_add_explicit(writer->bytes_written, summary.size, memory_order_relaxed);
    status = slice_end(writer, &end);
    if (status == PEAT_OK)
        status = pt_slice_list_add(writer->out, held, writer->low, end);
    pt_held_segment_unpin(held); /* the list's now; without it, the region is retired */
    writer->low = writer->last_key = writer->last_high = pt_bytes(NULL, 0);
    return status;
}

/* Whether the segment in the making has no room for @p size more bytes of entries. */
static bool full(const struct pt_run_writer *writer, uint64_t size)
{
    return writer->builder != NULL &&
           (pt_segment_builder_size_bound(writer->builder, size) > writer->extent.size ||
            pt_segment_builder_entry_count(writer->builder) >= writer->entries_max);
}

/* Whether entries of the segment in the making lie in the pending range delete: it must hold that, too. */
static bool is_inside(const struct pt_run_writer *writer)
{
    return writer->builder != NULL && writer->last_key.data != NULL &&
           pt_bytes_compare(writer->pending.low, writer->last_key) <= 0;
}

/* Write as much of the pending range delete as lies below @p key (data NULL: all of it). */
static enum peat_status write_pending(struct pt_run_writer *writer, struct peat_bytes key)
{
    struct pt_key_range range = writer->pending;
    enum peat_status status = PEAT_OK;
    bool inside;

    if (range.low.data == NULL || (key.data != NULL && pt_bytes_compare(range.low, key) >= 0))
        return PEAT_OK;
    inside = is_inside(writer);
    writer->pending.low = pt_bytes(NULL, 0);
    if (key.data != NULL && pt_bytes_compare(key, range.high) < 0) {
        /* Room was kept for the keys that there were, not for a longer one: then it ends behind them. */
        if (inside && full(writer, pt_entry_size(range.low.size, key.size)))
            status = successor(writer, writer->last_key, &key);
        writer->pending.low = key;
        range.high = key;
    }
    if (status == PEAT_OK && !inside &&
        full(writer, pt_entry_size(range.low.size, range.high.size)))
        status = finish_segment(writer);
    if (status == PEAT_OK && writer->builder == NULL)
        status = begin(writer, range.low, pt_entry_size(range.low.size, range.high.size));
    if (status == PEAT_OK)
        status = pt_segment_builder_add_range(writer->builder, range.low, range.high);
    if (status < 0)
        return status;
    if (writer->low.data == NULL)
        writer->low = range.low;
    writer->last_high = range.high;
    return PEAT_OK;
}

enum peat_status pt_run_writer_cut(struct pt_run_writer *writer, struct peat_bytes end)
{
    enum peat_status status = write_pending(writer, end);

    if (status == PEAT_OK && writer->builder != NULL)
        status = finish_segment(writer);
    return status;
}

/* Bytes that the pending range delete may take in this segment if it is cut at @p key. */
static uint64_t pending_size(const struct pt_run_writer *writer, size_t key_size)
{
    struct pt_key_range range = writer->pending;

    if (range.low.data == NULL)
        return 0;
    return pt_entry_size(range.low.size, range.high.size > key_size ? range.high.size : key_size);
}

/* Bytes to find for @p entry, with the part of the pending range delete that may come before it. */
static uint64_t size_with_pending(const struct pt_run_writer *writer, const struct pt_entry *entry)
{
    return pt_entry_size(entry->key.size, entry->value.size) +
           pending_size(writer, entry->key.size);
}

bool pt_run_writer_at_end(const struct pt_run_writer *writer, const struct pt_entry *entry)
{
    return writer->builder == NULL || full(writer, size_with_pending(writer, entry));
}

enum peat_status pt_run_writer_add(struct pt_run_writer *writer, const struct pt_entry *entry)
{
    uint64_t size = pt_entry_size(entry->key.size, entry->value.size);
    enum peat_status status = PEAT_OK;

    if (writer->pending.low.data != NULL && pt_bytes_compare(writer->pending.high, entry->key) <= 0)
        status = write_pending(writer, pt_bytes(NULL, 0));
    if (status == PEAT_OK && full(writer, size_with_pending(writer, entry)))
        status = pt_run_writer_cut(writer, entry->key);
    if (status == PEAT_OK && writer->builder != NULL && writer->is_brief &&
        is_bare(writer, entry->key))
        status = pt_run_writer_cut(writer, entry->key);
    if (status == PEAT_OK && writer->builder == NULL)
        status = begin(writer, entry->key, size_with_pending(writer, entry));
    if (status < 0)
        return status;
    if (writer->low.data == NULL) {
        writer->low = entry->key;
        if (writer->pending.low.data != NULL &&
            pt_bytes_compare(writer->pending.low, entry->key) < 0)
            writer->low = writer->pending.low;
    }
    writer->last_key = entry->key;
    writer->input_left -= size < writer->input_left ? size : writer->input_left;
    writer->entries_left -= writer->entries_left > 0;
    return pt_segment_builder_add(
        writer->builder, entry->op, entry->key, entry->value,
        pt_hash(pt_hash_seed(writer->db), entry->key.data, entry->key.size));
}

enum peat_status pt_run_writer_add_range(struct pt_run_writer *writer, struct peat_bytes low,
                                         struct peat_bytes high)
{
    enum peat_status status = write_pending(writer, pt_bytes(NULL, 0));

    PT_ASSERT(pt_bytes_compare(low, high) < 0);
    if (status == PEAT_OK && full(writer, pt_entry_size(low.size, high.size)))
        status = pt_run_writer_cut(writer, low);
    writer->pending.low = low;
    writer->pending.high = high;
    return status;
}

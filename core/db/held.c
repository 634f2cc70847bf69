#include "core/db/held.h"

#include "core/base/alloc.h"

#include <inttypes.h>

/* Where the segment lies: the manifest's claim, checked before the map is touched. */
static enum peat_status segment_map(struct pt_arena *arena, uint64_t id, struct pt_extent extent,
                                    const struct pt_segment_summary *summary,
                                    struct peat_bytes *map_out)
{
    uint64_t size = pt_arena_size(arena);

    if (summary->size == 0 || summary->size > extent.size || extent.offset > size ||
        summary->size > size - extent.offset)
        return pt_fail(PEAT_CORRUPT,
                       "segment %" PRIu64 ": %" PRIu64 " bytes at offset %" PRIu64
                       " do not lie in the file of %" PRIu64,
                       id, summary->size, extent.offset, size);
    *map_out = pt_bytes(pt_arena_base(arena) + extent.offset, summary->size);
    return PEAT_OK;
}

/* The footer and the manifest each carry their own checksum: what both say must agree. */
static enum peat_status summary_agrees(const struct pt_held_segment *held)
{
    const struct pt_segment *segment = held->segment;
    const struct pt_segment_summary *summary = &held->summary;

    if (segment->entry_count != summary->entry_count ||
        segment->delete_count != summary->delete_count ||
        segment->range_count != summary->range_count)
        return pt_fail(PEAT_CORRUPT,
                       "segment %" PRIu64 " at offset %" PRIu64
                       ": its footer and the manifest differ",
                       held->id, held->extent.offset);
    return PEAT_OK;
}

/* Without its segment yet; NULL: no memory. */
static struct pt_held_segment *held_new(struct pt_arena *arena, uint64_t id,
                                        struct pt_extent extent,
                                        const struct pt_segment_summary *summary,
                                        const _Atomic uint64_t *generation)
{
    struct pt_held_segment *held = pt_calloc(1, sizeof(*held));

    if (held == NULL)
        return NULL;
    atomic_init(&held->pins, 1);
    held->arena = arena;
    held->generation = generation;
    held->extent = extent;
    held->summary = *summary;
    held->id = id;
    return held;
}

enum peat_status pt_held_segment_open(struct pt_arena *arena, const struct pt_id *store_id,
                                      uint64_t id, struct pt_extent extent,
                                      const struct pt_segment_summary *summary, bool damaged,
                                      const _Atomic uint64_t *generation,
                                      struct pt_held_segment **held_out)
{
    struct pt_segment_identity identity = {*store_id, id};
    struct pt_held_segment *held = NULL;
    struct peat_bytes map;
    enum peat_status status;

    *held_out = NULL;
    status = segment_map(arena, id, extent, summary, &map);
    if (status < 0)
        goto done;
    held = held_new(arena, id, extent, summary, generation);
    if (held == NULL) {
        status = pt_fail(PEAT_NO_MEMORY, "handle of segment %" PRIu64, id);
        goto done;
    }
    status = damaged ? pt_segment_open_damaged(map, &identity, summary, pt_arena_file(arena),
                                               extent.offset, &held->segment)
                     : pt_segment_open(map, &identity, pt_arena_file(arena), extent.offset,
                                       &held->segment);
    if (status < 0)
        goto done;
    status = summary_agrees(held);
    if (status < 0)
        goto done;

    *held_out = held;
    held = NULL;
done:
    if (held != NULL)
        pt_segment_close(held->segment);
    pt_free(held);
    return status;
}

enum peat_status pt_held_segment_open_lost(struct pt_arena *arena, const struct pt_id *store_id,
                                           uint64_t id, struct pt_extent extent,
                                           const struct pt_segment_summary *summary,
                                           enum peat_status why, const _Atomic uint64_t *generation,
                                           struct pt_held_segment **held_out)
{
    struct pt_segment_identity identity = {*store_id, id};
    struct pt_held_segment *held = held_new(arena, id, extent, summary, generation);
    enum peat_status status;

    *held_out = NULL;
    if (held == NULL)
        return pt_fail(PEAT_NO_MEMORY, "handle of segment %" PRIu64, id);
    status = pt_segment_open_lost(&identity, summary->size, why, pt_arena_file(arena),
                                  extent.offset, &held->segment);
    if (status < 0)
        pt_free(held);
    else
        *held_out = held;
    return status;
}

int pt_held_segment_order(const struct pt_held_segment *a, const struct pt_held_segment *b)
{
    if (a->id != b->id)
        return a->id > b->id ? 1 : -1;
    return memcmp(&a->summary.digest, &b->summary.digest, sizeof(a->summary.digest));
}

void pt_held_segment_pin(struct pt_held_segment *held)
{
    uint64_t before = atomic_fetch_add_explicit(&held->pins, 1, memory_order_relaxed);

    PT_ASSERT(before > 0); /* only who has a pin may give another */
}

void pt_held_segment_unpin(struct pt_held_segment *held)
{
    uint64_t before;

    if (held == NULL)
        return;
    /* Pairs with itself: the last one sees what all others did before. */
    before = atomic_fetch_sub_explicit(&held->pins, 1, memory_order_acq_rel);
    PT_ASSERT(before > 0);
    if (before > 1)
        return;
    pt_segment_close(held->segment);
    /* Without memory for the note the region stays used until the next open: no harm done. */
    if (held->generation != NULL)
        (void)pt_arena_retire(held->arena, held->extent,
                              atomic_load_explicit(held->generation, memory_order_acquire));
    pt_free(held);
}

enum peat_status pt_held_buffer_open(size_t capacity, size_t index_hint, uint64_t hash_seed,
                                     const struct pt_log_point *start,
                                     _Atomic uint64_t *memory_size,
                                     struct pt_held_buffer **held_out)
{
    struct pt_held_buffer *held = NULL;
    enum peat_status status;

    PT_ASSERT(memory_size != NULL);
    *held_out = NULL;
    held = pt_calloc(1, sizeof(*held));
    if (held == NULL) {
        status = pt_fail(PEAT_NO_MEMORY, "handle of a write buffer");
        goto done;
    }
    atomic_init(&held->pins, 1);
    held->start = *start;
    held->memory_size = memory_size;
    status =
        pt_write_buffer_open(capacity, index_hint, hash_seed, start->commit + 1, &held->buffer);
    if (status < 0)
        goto done;
    pt_held_buffer_account(held);

    *held_out = held;
    held = NULL;
done:
    pt_free(held);
    return status;
}

void pt_held_buffer_pin(struct pt_held_buffer *held)
{
    uint64_t before = atomic_fetch_add_explicit(&held->pins, 1, memory_order_relaxed);

    PT_ASSERT(before > 0);
}

void pt_held_buffer_unpin(struct pt_held_buffer *held)
{
    uint64_t before;
    uint64_t size;

    if (held == NULL)
        return;
    before = atomic_fetch_sub_explicit(&held->pins, 1, memory_order_acq_rel); /* as above */
    PT_ASSERT(before > 0);
    if (before > 1)
        return;
    size = atomic_load_explicit(&held->memory_counted, memory_order_relaxed);
    pt_write_buffer_close(held->buffer);
    atomic_fetch_sub_explicit(held->memory_size, size, memory_order_relaxed); /* now it is true */
    pt_free(held);
}

void pt_held_buffer_account(struct pt_held_buffer *held)
{
    uint64_t size = pt_write_buffer_memory_size(held->buffer);
    uint64_t before = atomic_load_explicit(&held->memory_counted, memory_order_relaxed);

    if (size == before)
        return;
    /* Each caller accounts for the step from what was counted before it to what it found. The
     * difference may be negative: unsigned arithmetic comes out right either way. */
    before = atomic_exchange_explicit(&held->memory_counted, size, memory_order_relaxed);
    atomic_fetch_add_explicit(held->memory_size, size - before, memory_order_relaxed);
}

/*
 * peat_stats_get(): counted from a pinned stack, the arena and the store's counters. The numbers are
 * taken one after the other while the store works on, so sums may be off by what is under way.
 */
#include "core/db/pinned.h"

#include "core/arena/process_locks.h"
#include "core/db/identity.h"

enum { STRUCT_SIZE_MAX = 4096 }; /* bytes: above, it is surely not set */

/* What the runs of a stack come to. */
struct totals {
    uint64_t entry_count;
    uint64_t segment_count;
    uint64_t region_size; /* bytes of the segments' regions */
};

/* Whether one of the slices before number @p index of run @p run is of the same segment. */
static bool seen_before(const struct pt_stack *stack, size_t run, size_t index)
{
    const struct pt_held_segment *held = stack->runs[run]->slices[index].held;

    for (size_t i = 0; i <= run; i++) {
        size_t end = i < run ? stack->runs[i]->slice_count : index;

        for (size_t k = 0; k < end; k++)
            if (!stack->runs[i]->slices[k].whole && stack->runs[i]->slices[k].held == held)
                return true;
    }
    return false;
}

static void add_slice(struct totals *totals, const struct pt_stack *stack, size_t run, size_t index)
{
    const struct pt_slice *slice = &stack->runs[run]->slices[index];
    const struct pt_segment_summary *summary = &slice->held->summary;

    if (slice->whole) {
        totals->entry_count += summary->entry_count;
    } else { /* by its share of the segment */
        totals->entry_count += (uint64_t)((double)summary->entry_count *
                                          ((double)slice->size / (double)summary->size));
        if (seen_before(stack, run, index))
            return;
    }
    totals->segment_count++;
    totals->region_size += slice->held->extent.size;
}

static void count_runs(const struct pt_stack *stack, struct totals *totals)
{
    for (size_t i = 0; i < stack->run_count; i++)
        for (size_t k = 0; k < stack->runs[i]->slice_count; k++)
            add_slice(totals, stack, i, k);
}

static void fill_stack(struct peat_db *db, struct peat_stats *stats)
{
    struct pt_pin pin = pt_shelf_pin(&db->shelf);
    const struct pt_stack *stack = pin.stack;
    struct totals totals = {0};
    uint64_t pins = pt_shelf_pin_count(&db->shelf);

    count_runs(stack, &totals);
    stats->commit = pt_stack_commit(stack);
    stats->entry_count = totals.entry_count;
    stats->segment_count = totals.segment_count;
    stats->run_count = stack->run_count;
    stats->segment_size = totals.region_size;
    stats->buffer_count = stack->buffer_count;
    for (size_t i = 0; i < stack->buffer_count; i++)
        stats->buffer_size += pt_write_buffer_data_size(stack->buffers[i]->buffer);
    stats->snapshot_count = pins > 0 ? pins - 1 : 0; /* one is ours */
    pt_shelf_unpin(&db->shelf, pin);
}

/* Bytes of the log's regions: the writer knows them, a reader those that it has come through. */
static uint64_t log_size(struct peat_db *db)
{
    const struct pt_extent *regions;
    uint64_t size = 0;
    size_t count;

    if (db->log != NULL)
        return pt_log_size(db->log);
    pt_mutex_lock(&db->refresh_mutex);
    if (db->tail != NULL) {
        regions = pt_log_reader_regions(db->tail, &count);
        for (size_t i = 0; i < count; i++)
            size += regions[i].size;
    }
    pt_mutex_unlock(&db->refresh_mutex);
    return size;
}

static void fill_history(struct peat_db *db, struct peat_stats *stats)
{
    struct pt_history_totals totals;

    (void)pt_history_totals(db, &totals); /* without memory its size counts as pending */
    stats->manifest_size = totals.manifest_size;
    stats->history_count = totals.count;
    stats->history_size = totals.pinned_size;
}

/* What waits, and for whom. A reader cannot tell what a writer's snapshots hold from what is free, unless
 * there is no writer: then what other readers do not hold is free. */
static void fill_pending(struct peat_db *db, const struct pt_arena_space *space,
                         struct peat_stats *stats)
{
    struct pt_file *file = pt_arena_file(db->arena);
    uint64_t generation = stats->generation;
    uint64_t lowest = generation;
    bool writer = true;

    (void)pt_pinned_by_snapshots(db, &stats->snapshot_pinned_size); /* without memory: 0 */
    stats->reader_pinned_size = space->reader_size;
    if (!db->read_only || pt_process_locks_writer(file, &writer) < 0 || writer ||
        pt_process_locks_lowest(file, generation, &lowest) < 0)
        return;
    if (lowest < generation) {
        stats->reader_pinned_size = stats->pending_size;
        return;
    }
    stats->free_size = stats->pending_size - stats->snapshot_pinned_size;
    stats->pending_size = stats->snapshot_pinned_size;
}

/* After fill_stack() and fill_history(): what is neither in use nor free is pending. */
static void fill_space(struct peat_db *db, struct peat_stats *stats)
{
    struct pt_feeds_totals feeds;
    struct pt_arena_space space;
    uint64_t known;

    pt_feeds_totals(db, &feeds);
    stats->feed_count = feeds.count;
    stats->feed_log_size = feeds.held_size;
    pt_arena_space(db->arena, &space);
    stats->log_size = log_size(db);
    stats->free_size = space.free_size;
    stats->file_size = space.file_size;
    stats->allocated_size = space.allocated_size;
    stats->reserve_size = space.reserve_size;
    known = PT_ARENA_START + stats->segment_size + stats->log_size + stats->manifest_size +
            stats->history_size + stats->free_size + stats->reserve_size + stats->feed_log_size;
    stats->pending_size = space.file_size > known ? space.file_size - known : 0;
    fill_pending(db, &space, stats);
}

static uint64_t counter(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* Only a writer knows; a reader has replayed it all. */
static uint64_t unflushed_log_size(struct peat_db *db)
{
    /* In this order: the difference is never negative. */
    uint64_t settled = counter(&db->log_budget.settled_position);

    return db->log == NULL ? 0 : pt_log_position(db->log) - settled;
}

static void fill_counters(struct peat_db *db, struct peat_stats *stats)
{
    const struct pt_counters *counters = &db->counters;

    stats->memory_size = pt_memory_used(db);
    stats->pinned_memory_size = pt_memory_look(db);
    stats->replayed_commits = counters->replayed_commits;
    stats->replayed_size = counters->replayed_size;
    stats->replay_time_us = counters->replay_time_us;
    stats->unflushed_log_size = unflushed_log_size(db);
    stats->commits = counter(&counters->commits);
    stats->commit_groups = counter(&counters->commit_groups);
    stats->syncs = counter(&counters->syncs);
    stats->bytes_put = counter(&counters->bytes_put);
    stats->bytes_logged = db->log == NULL ? 0 : pt_log_bytes_written(db->log);
    stats->bytes_flushed = counter(&counters->bytes_flushed);
    stats->bytes_merged = counter(&counters->bytes_merged);
    stats->bytes_moved = counter(&counters->bytes_moved);
    stats->flushes = counter(&counters->flushes);
    stats->merges = counter(&counters->merges);
    stats->stalls = counter(&counters->stalls);
    stats->stall_time_us = counter(&counters->stall_time_us);
}

enum peat_status peat_stats_get(struct peat_db *db, struct peat_stats *stats)
{
    struct pt_identity identity;
    struct peat_stats all;
    size_t size;

    if (db == NULL || stats == NULL)
        return pt_fail_null();
    size = stats->struct_size;
    all = (struct peat_stats){.struct_size = size};
    if (size < offsetof(struct peat_stats, generation) || size > STRUCT_SIZE_MAX)
        return pt_fail(PEAT_INVALID, "struct_size of the statistics is not set (it is %zu)", size);
    identity = pt_identity_get(db);
    memcpy(all.store_id, identity.store_id.bytes, sizeof(all.store_id));
    all.generation = atomic_load_explicit(&db->generation, memory_order_relaxed);
    fill_stack(db, &all);
    fill_history(db, &all);
    fill_space(db, &all);
    fill_counters(db, &all);
    /* A program of an older header gets the fields it knows, one of a newer header zeros behind. */
    if (size > sizeof(all))
        memset((uint8_t *)stats + sizeof(all), 0, size - sizeof(all));
    memcpy(stats, &all, size < sizeof(all) ? size : sizeof(all));
    return PEAT_OK;
}

/*
 * Merge, step by step: a group of neighbouring runs becomes one by sweeping over the key space.
 *
 *   before a step        group's runs          after it, [a, b) has been swept
 *
 *   newest   A  |---------------------|        A  .....b|--------------|
 *            B  |---------------------|        B  .....b|--------------|
 *   oldest   C  |---------------------|        C  =====b|--------------|
 *                                                 a
 *
 *  1. A step takes [a, b): what the group says there is written (or moved) into its oldest run; the
 *     others lose [a, b). Every step is published by itself, and what readers see never changes.
 *  2. Where only one run has data, its slices move as they are, unless they are small (they would
 *     never grow together) or hold deletions that have nothing left to hide.
 *  3. A step ends when it has written a segment or two, or read several times as much: so it is
 *     bounded in time also where deletions leave nothing to write.
 *  4. A segment is free once all that it holds has been swept. So the smaller the segments are, in
 *     proportion to the group, the less is there twice.
 */
#include "core/db/merge.h"

#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/db/flatten.h"
#include "core/db/pinned.h"

enum {
    SEGMENTS_MIN = 16, /* what is merged is cut into so many segments, if it is large enough */
    SEGMENT_SIZE_MIN = 8 << 20, /* bytes: smaller ones do not pay, and lie in small pages */
    MOVE_SHARE = 4,             /* of a segment's size: smaller slices are rewritten together */
    INPUT_SHARE = 4             /* times a step's output: read at most so much */
};

/* One step. */
struct merge_step {
    struct peat_db *db;
    const struct pt_stack *stack;
    const struct pt_merge_part *part;
    struct pt_run *const *group; /* newest first; borrowed from the stack */
    bool bottom;                 /* nothing is below the group */
    struct peat_bytes high;      /* b: data NULL: all to the last key */
    struct pt_slice_list output; /* what [a, b) has become */
    struct pt_run_writer writer;
    uint64_t size_max;   /* bytes: it ends with the segment in which so many are written */
    uint64_t input_left; /* bytes that it may still read */
    uint64_t moved_size;
};

/* ---- Finding what can move ---- */

static bool may_move(const struct merge_step *step, const struct pt_slice *slice)
{
    const struct pt_segment_summary *summary = &slice->held->summary;

    if (!slice->whole || slice->size < step->writer.segment_size_max / MOVE_SHARE)
        return false;
    if (step->part->end.data != NULL && pt_bytes_compare(slice->high, step->part->end) > 0)
        return false;
    return !step->bottom || (summary->delete_count == 0 && summary->range_count == 0);
}

/* Whether any run of the group but @p own has something in the slice's range. */
static bool overlapped(const struct merge_step *step, size_t own, const struct pt_slice *slice)
{
    for (size_t i = 0; i < step->part->width; i++) {
        const struct pt_run *run = step->group[i];
        size_t number;

        if (i == own)
            continue;
        number = pt_run_find(run, slice->low);
        if (number < run->slice_count && pt_bytes_compare(run->slices[number].low, slice->high) < 0)
            return true;
    }
    return false;
}

/* The lowest slice at or above @p at that can move: NULL if there is none. */
static const struct pt_slice *next_move(const struct merge_step *step, struct peat_bytes at)
{
    const struct pt_slice *best = NULL;

    for (size_t i = 0; i < step->part->width; i++) {
        const struct pt_run *run = step->group[i];
        size_t number = at.data == NULL ? 0 : pt_run_find(run, at);

        for (; number < run->slice_count; number++) {
            const struct pt_slice *slice = &run->slices[number];

            if (best != NULL && pt_bytes_compare(slice->low, best->low) >= 0)
                break;
            if ((at.data == NULL || pt_bytes_compare(slice->low, at) >= 0) &&
                may_move(step, slice) && !overlapped(step, i, slice)) {
                best = slice;
                break;
            }
        }
    }
    return best;
}

/* ---- Writing ---- */

/* Write what the group says in [low, high); *stopped_out as in pt_flatten_run(). */
static enum peat_status write_stretch(struct merge_step *step, struct peat_bytes low,
                                      struct peat_bytes high, struct peat_bytes *stopped_out)
{
    struct pt_cover *covers = pt_calloc(step->part->width, sizeof(*covers));
    struct pt_flatten flatten = {.covers = covers, .bottom = step->bottom};
    enum peat_status status = covers == NULL ? pt_fail(PEAT_NO_MEMORY, "covers") : PEAT_OK;
    uint64_t written = pt_run_writer_size(&step->writer);

    flatten.size_max = written < step->size_max ? step->size_max - written : 1;
    flatten.input_max = step->input_left;
    if (status == PEAT_OK)
        status = pt_join_init(&flatten.join, step->part->width, 0);
    for (size_t i = 0; i < step->part->width && status == PEAT_OK; i++) {
        struct pt_run *run = step->group[i];

        pt_join_add_run(&flatten.join, (unsigned)i, run, low, high);
        if (!run->has_ranges)
            continue;
        pt_cover_init_run(&covers[flatten.cover_count++], (unsigned)i, run);
        if (!step->bottom)
            status = pt_range_bag_add_run(&flatten.ranges, run, low, high);
    }
    if (status == PEAT_OK)
        status = pt_flatten_run(&flatten, &step->writer, stopped_out);
    step->input_left -= flatten.input < step->input_left ? flatten.input : step->input_left;
    pt_flatten_fini(&flatten);
    pt_free(covers);
    return status;
}

/* Write and move from low on, until the step is large enough or the end is reached: sets high. */
static enum peat_status sweep(struct merge_step *step)
{
    struct peat_bytes at = step->part->low;
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK) {
        const struct pt_slice *move = next_move(step, at);
        struct peat_bytes until = move == NULL ? step->part->end : move->low;
        struct peat_bytes stopped = pt_bytes(NULL, 0);

        if (at.data == NULL || until.data == NULL || pt_bytes_compare(at, until) < 0)
            status = write_stretch(step, at, until, &stopped);
        step->high = stopped.data != NULL ? stopped : until;
        if (status < 0 || stopped.data != NULL || move == NULL)
            return status;
        status = pt_slice_list_add(&step->output, move->held, move->low, move->high);
        step->moved_size += move->size;
        at = step->high = move->high;
        if (step->writer.drawn > 0) /* see pt_flatten_run(): as far as the reserve goes */
            continue;
        if (pt_run_writer_size(&step->writer) >= step->size_max || step->input_left == 0)
            return status;
    }
    return status;
}

/* ---- The new runs ---- */

/* Add to @p list what is left of @p slice between @p low and @p high, if that is not empty. */
static enum peat_status add_cut(struct pt_slice_list *list, const struct pt_slice *slice,
                                struct peat_bytes low, struct peat_bytes high)
{
    struct pt_segment *segment = slice->held->segment;
    uint64_t begin;
    uint64_t end;
    enum peat_status status;

    if (pt_bytes_compare(low, slice->low) < 0)
        low = slice->low;
    if (pt_bytes_compare(high, slice->high) > 0)
        high = slice->high;
    if (pt_bytes_compare(low, high) >= 0)
        return PEAT_OK;
    if (pt_bytes_equal(low, slice->low) && pt_bytes_equal(high, slice->high))
        return pt_slice_list_add(list, slice->held, low, high);
    status = pt_segment_seek(segment, low, &begin);
    if (status == PEAT_OK)
        status = pt_segment_seek(segment, high, &end);
    if (status == PEAT_CORRUPT || status == PEAT_IO) { /* there may be something: it stays */
        begin = 0;
        end = 1;
        status = PEAT_OK;
    }
    if (status == PEAT_OK && (begin < end || segment->range_count > 0))
        status = pt_slice_list_add(list, slice->held, low, high);
    return status;
}

/* @p run without [low, high), and with @p output (may be NULL) in that place: NULL if empty. */
static enum peat_status replace_part(const struct merge_step *step, const struct pt_run *run,
                                     const struct pt_slice_list *output, struct pt_run **run_out)
{
    struct pt_slice_list list = {NULL, 0, 0};
    enum peat_status status = PEAT_OK;

    *run_out = NULL;
    for (size_t i = 0; step->part->low.data != NULL && i < run->slice_count && status == PEAT_OK;
         i++)
        status = add_cut(&list, &run->slices[i], run->slices[i].low, step->part->low);
    for (size_t i = 0; output != NULL && i < output->count && status == PEAT_OK; i++)
        status = pt_slice_list_add(&list, output->slices[i].held, output->slices[i].low,
                                   output->slices[i].high);
    for (size_t i = 0; step->high.data != NULL && i < run->slice_count && status == PEAT_OK; i++)
        status = add_cut(&list, &run->slices[i], step->high, run->slices[i].high);
    if (status == PEAT_OK && list.count > 0)
        status = pt_run_open(list.slices, list.count, run_out);
    pt_slice_list_fini(&list);
    return status;
}

/* The stack's runs after the step, each pinned once: *runs_out, and how many of them are the
 * group's. */
static enum peat_status new_runs(const struct merge_step *step, struct pt_run ***runs_out,
                                 size_t *count_out, size_t *width_out)
{
    struct pt_run **runs = pt_calloc(step->stack->run_count, sizeof(struct pt_run *));
    enum peat_status status = PEAT_OK;
    size_t count = 0;
    size_t width = 0;

    *runs_out = NULL;
    if (runs == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu runs", step->stack->run_count);
    for (size_t i = 0; i < step->stack->run_count && status == PEAT_OK; i++) {
        struct pt_run *run = step->stack->runs[i];

        if (i < step->part->first || i >= step->part->first + step->part->width) {
            pt_run_pin(run);
            runs[count++] = run;
            continue;
        }
        status = replace_part(
            step, run, i + 1 == step->part->first + step->part->width ? &step->output : NULL, &run);
        if (status == PEAT_OK && run != NULL) {
            runs[count++] = run;
            width++;
        }
    }
    if (status < 0) {
        pt_runs_free(runs, count);
        return status;
    }
    *runs_out = runs;
    *count_out = count;
    *width_out = width;
    return PEAT_OK;
}

/* ---- Where space is short ---- */

/* What was drawn from the reserve must come back: bytes that the new runs free at the next checkpoint. */
static enum peat_status check_gain(const struct merge_step *step, struct pt_run *const *runs,
                                   size_t run_count)
{
    uint64_t gain = 0;
    enum peat_status status =
        pt_pinned_gain(step->db, step->group, step->part->width, runs, run_count, &gain);

    if (status == PEAT_OK && gain < step->writer.drawn)
        status = pt_fail(PEAT_NO_SPACE,
                         "merging would take %llu bytes of the reserve to free %llu: close "
                         "snapshots, drop kept states, delete more, or make room on the disk",
                         (unsigned long long)step->writer.drawn, (unsigned long long)gain);
    return status;
}

/* ---- The step ---- */

#if PEAT_BUG != 0
/* A planted bug: what was merged is free with the next generation, whoever still sees it. */
static void retire_inputs(const struct merge_step *step)
{
    if (step->part->low.data != NULL || step->high.data != NULL)
        return;
    for (size_t i = 0; i < step->part->width; i++) {
        for (size_t k = 0; k < step->group[i]->slice_count; k++) {
            struct pt_held_segment *held = step->group[i]->slices[k].held;

            if (held->generation != NULL)
                (void)pt_arena_retire(held->arena, held->extent, atomic_load(held->generation) + 1);
            held->generation = NULL;
        }
    }
}
#endif

/* Whether all of the part is done. */
static bool at_end(const struct merge_step *step)
{
    return step->high.data == NULL ||
           (step->part->end.data != NULL && pt_bytes_compare(step->high, step->part->end) >= 0);
}

/* If the oldest run of the group becomes empty and vanishes while others of it are left, they stand
 * in order all the same: what is swept next goes to the oldest of those. */
static enum peat_status run_step(struct merge_step *step, struct pt_merge_result *result)
{
    struct peat_db *db = step->db;
    struct pt_run **runs = NULL;
    enum peat_status status = sweep(step);

    if (status == PEAT_OK)
        status = new_runs(step, &runs, &result->run_count, &result->width);
    result->finished = at_end(step);
    if (status == PEAT_OK && !result->finished)
        status = pt_bytes_copy(step->high, &result->high);
    if (status == PEAT_OK && step->writer.drawn > 0)
        status = check_gain(step, runs, result->run_count);
    if (status == PEAT_OK)
        status = pt_publish_runs(db, 0, runs, result->run_count, 0);
#if PEAT_BUG != 0
    if (status == PEAT_OK && PT_BUG(PIN_IGNORED))
        retire_inputs(step);
#endif
    if (status == PEAT_OK) {
        atomic_fetch_add_explicit(&db->counters.merges, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&db->counters.bytes_moved, step->moved_size,
                                  memory_order_relaxed);
    }
    pt_runs_free(runs, result->run_count);
    return status;
}

/* How large segments are to become: a share of what is merged, so that the space of the old ones comes
 * back bit by bit. */
static uint64_t segment_size(uint64_t input_size)
{
    uint64_t size = input_size / SEGMENTS_MIN;

    if (size < SEGMENT_SIZE_MIN)
        size = SEGMENT_SIZE_MIN;
    return size < PT_SEGMENT_SIZE_MAX ? size : PT_SEGMENT_SIZE_MAX;
}

enum peat_status pt_merge(struct peat_db *db, const struct pt_stack *stack,
                          const struct pt_merge_part *part, struct pt_merge_result *result_out)
{
    struct merge_step step = {.db = db, .stack = stack, .part = part};
    uint64_t input_size = 0;
    uint64_t entry_count = 0;
    enum peat_status status = pt_reserve_before_merge(db);

    PT_ASSERT(part->width > 0 && part->first + part->width <= stack->run_count);
    *result_out = (struct pt_merge_result){.finished = false};
    if (status < 0)
        return status;
    step.group = stack->runs + part->first;
    step.bottom = part->first + part->width == stack->run_count;
    for (size_t i = 0; i < part->width; i++) {
        for (size_t k = 0; k < step.group[i]->slice_count; k++)
            entry_count += step.group[i]->slices[k].held->summary.entry_count;
        input_size += step.group[i]->size;
    }
    pt_run_writer_init(&step.writer, db, &step.output, input_size, entry_count,
                       &db->counters.bytes_merged);
    step.writer.gives_back = true;
    step.writer.verify = true; /* before the inputs are let go */
    step.writer.segment_size_max = segment_size(input_size);
    if (step.writer.segment_size_max > step.writer.room_size_max)
        step.writer.segment_size_max = step.writer.room_size_max;
    step.size_max = step.writer.segment_size_max / 4 * 3;
    step.input_left = INPUT_SHARE * step.size_max;
    status = run_step(&step, result_out);
    atomic_store_explicit(&db->reserve.merge_drawn, 0, memory_order_relaxed);
    result_out->size = pt_run_writer_size(&step.writer) + step.moved_size;
    pt_run_writer_fini(&step.writer);
    pt_slice_list_fini(&step.output);
    if (status < 0)
        pt_bytes_fini(&result_out->high);
    return status;
}

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
 *     others lose [a, b). Every step is installed by itself, and what readers see never changes.
 *  2. Where only one run has data, its slices move as they are, unless they are small (they would
 *     never grow together) or hold deletions that have nothing left to hide.
 *  3. A sweep goes on in the next step, also when new runs have been flushed on top meanwhile: the
 *     group is known by its place, counted from the bottom.
 */
#include "core/base/alloc.h"
#include "core/db/flatten.h"
#include "core/db/merge_policy.h"

enum {
    STEP_SIZE = 48 << 20,    /* bytes: a step ends with the segment in which so many are written */
    MOVE_SIZE_MIN = 16 << 20 /* bytes: smaller slices are rewritten together */
};

/* One step. */
struct merge_step {
    struct peat_db *db;
    const struct pt_stack *stack;
    struct pt_run *const *group; /* newest first; borrowed from the stack */
    size_t width;
    size_t first;                /* the group's place in the stack's runs */
    bool bottom;                 /* nothing is below the group */
    struct peat_bytes low;       /* a: data NULL: from the start */
    struct peat_bytes high;      /* b: data NULL: to the end */
    struct pt_slice_list output; /* what [a, b) has become */
    struct pt_run_writer writer;
    uint64_t moved_size;
};

/* ---- Finding what can move ---- */

static bool may_move(const struct merge_step *step, const struct pt_slice *slice)
{
    const struct pt_segment_summary *summary = &slice->held->summary;

    if (!slice->whole || slice->size < MOVE_SIZE_MIN)
        return false;
    return !step->bottom || (summary->delete_count == 0 && summary->range_count == 0);
}

/* Whether any run of the group but @p own has something in the slice's range. */
static bool overlapped(const struct merge_step *step, size_t own, const struct pt_slice *slice)
{
    for (size_t i = 0; i < step->width; i++) {
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

    for (size_t i = 0; i < step->width; i++) {
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

/* Note the range deletes of @p run within [low, high), cut to them and to their slices. */
static enum peat_status gather_ranges(const struct pt_run *run, struct peat_bytes low,
                                      struct peat_bytes high, struct pt_range_bag *bag)
{
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; run->has_ranges && i < run->slice_count && status == PEAT_OK; i++) {
        const struct pt_slice *slice = &run->slices[i];
        struct pt_segment *segment = slice->held->segment;

        for (uint64_t k = 0; k < segment->range_count && status == PEAT_OK; k++) {
            struct pt_entry range;
            struct peat_bytes from;
            struct peat_bytes to;

            status = pt_segment_range(segment, k, &range);
            if (status < 0)
                break;
            from = pt_bytes_compare(range.key, slice->low) < 0 ? slice->low : range.key;
            to = pt_bytes_compare(range.value, slice->high) > 0 ? slice->high : range.value;
            if (low.data != NULL && pt_bytes_compare(from, low) < 0)
                from = low;
            if (high.data != NULL && pt_bytes_compare(to, high) > 0)
                to = high;
            if (pt_bytes_compare(from, to) < 0)
                status = pt_range_bag_add(bag, from, to);
        }
    }
    return status;
}

/* Write what the group says in [low, high); *stopped_out as in pt_flatten_run(). */
static enum peat_status write_stretch(struct merge_step *step, struct peat_bytes low,
                                      struct peat_bytes high, struct peat_bytes *stopped_out)
{
    struct pt_cover *covers = pt_calloc(step->width, sizeof(*covers));
    struct pt_flatten flatten = {.covers = covers, .bottom = step->bottom};
    enum peat_status status = covers == NULL ? pt_fail(PEAT_NO_MEMORY, "covers") : PEAT_OK;
    uint64_t written = pt_run_writer_size(&step->writer);

    flatten.size_max = written < STEP_SIZE ? STEP_SIZE - written : 1;
    if (status == PEAT_OK)
        status = pt_join_init(&flatten.join, step->width, 0);
    for (size_t i = 0; i < step->width && status == PEAT_OK; i++) {
        struct pt_run *run = step->group[i];

        pt_join_add_run(&flatten.join, (unsigned)i, run, low, high);
        if (!run->has_ranges)
            continue;
        pt_cover_init_run(&covers[flatten.cover_count++], (unsigned)i, run);
        status = gather_ranges(run, low, high, &flatten.ranges);
    }
    if (status == PEAT_OK)
        status = pt_flatten_run(&flatten, &step->writer, stopped_out);
    pt_flatten_fini(&flatten);
    pt_free(covers);
    return status;
}

/* Write and move from low on, until the step is large enough or the end is reached: sets high. */
static enum peat_status sweep(struct merge_step *step)
{
    struct peat_bytes at = step->low;
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK) {
        const struct pt_slice *move = next_move(step, at);
        struct peat_bytes until = move == NULL ? pt_bytes(NULL, 0) : move->low;

        if (move == NULL || at.data == NULL || pt_bytes_compare(at, until) < 0) {
            status = write_stretch(step, at, until, &step->high);
            if (status < 0 || step->high.data != NULL)
                return status;
        }
        step->high = until;
        if (move == NULL)
            return PEAT_OK;
        status = pt_slice_list_add(&step->output, move->held, move->low, move->high);
        step->moved_size += move->size;
        at = step->high = move->high;
        if (pt_run_writer_size(&step->writer) >= STEP_SIZE)
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
    for (size_t i = 0; step->low.data != NULL && i < run->slice_count && status == PEAT_OK; i++)
        status = add_cut(&list, &run->slices[i], run->slices[i].low, step->low);
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

        if (i < step->first || i >= step->first + step->width) {
            pt_run_pin(run);
            runs[count++] = run;
            continue;
        }
        status = replace_part(step, run, i + 1 == step->first + step->width ? &step->output : NULL,
                              &run);
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

/* ---- Steps and sweeps ---- */

void pt_merge_forget_sweep(struct peat_db *db)
{
    pt_bytes_fini(&db->merger.sweep_low);
    db->merger.sweep_width = 0;
}

/* The group of the sweep that is under way, or the one policy picks now. */
static bool choose(struct peat_db *db, const struct pt_stack *stack, enum pt_merge_load load,
                   size_t *first_out, size_t *width_out)
{
    struct pt_merger *merger = &db->merger;
    uint64_t sizes[2 * PT_RUNS_MAX_PRESSED];
    size_t known = merger->sweep_width + merger->sweep_below;

    if (load == PT_MERGE_PRESSED && stack->run_count <= PT_RUNS_MAX_PRESSED)
        return false; /* a sweep that is under way waits, too */
    if (merger->sweep_width > 1 && known <= stack->run_count) {
        *first_out = stack->run_count - known;
        *width_out = merger->sweep_width;
        return true;
    }
    pt_merge_forget_sweep(db);
    if (stack->run_count > sizeof(sizes) / sizeof(sizes[0])) { /* far behind: all of them */
        *first_out = 0;
        *width_out = stack->run_count;
        return true;
    }
    for (size_t i = 0; i < stack->run_count; i++)
        sizes[i] = stack->runs[i]->size;
    return pt_merge_policy(sizes, stack->run_count, load, first_out, width_out);
}

/* Remember where the sweep goes on. */
static enum peat_status note_sweep(struct peat_db *db, const struct merge_step *step, size_t width)
{
    struct peat_bytes low = pt_bytes(NULL, 0);
    enum peat_status status = pt_bytes_copy(step->high, &low);

    pt_merge_forget_sweep(db);
    if (step->high.data == NULL || status < 0)
        return status;
    db->merger.sweep_low = low;
    db->merger.sweep_width = width;
    db->merger.sweep_below = step->stack->run_count - step->first - step->width;
    return PEAT_OK;
}

/* If the oldest run of the group becomes empty and vanishes while others of it are left, they stand
 * in order all the same: what is swept next goes to the oldest of those. */
static enum peat_status run_step(struct merge_step *step)
{
    struct peat_db *db = step->db;
    struct pt_run **runs = NULL;
    size_t run_count = 0;
    size_t width = 0;
    enum peat_status status = sweep(step);

    if (status == PEAT_OK)
        status = new_runs(step, &runs, &run_count, &width);
    if (status == PEAT_OK)
        status = pt_install(db, runs, run_count, &db->log_start);
    if (status == PEAT_OK)
        status = pt_publish_runs(db, 0, runs, run_count);
    if (status == PEAT_OK)
        status = note_sweep(db, step, width);
    if (status == PEAT_OK) {
        atomic_fetch_add_explicit(&db->counters.merges, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&db->counters.bytes_moved, step->moved_size,
                                  memory_order_relaxed);
    }
    pt_runs_free(runs, run_count);
    return status;
}

enum peat_status pt_merge_step(struct peat_db *db, bool idle)
{
    enum pt_merge_load load = idle ? PT_MERGE_IDLE : PT_MERGE_BUSY;
    struct merge_step step = {.db = db};
    struct pt_stack *stack = NULL;
    uint64_t input_size = 0;
    uint64_t entry_count = 0;
    enum peat_status status = pt_shelf_copy(&db->shelf, &stack);

    if (!idle && atomic_load_explicit(&db->buffer_memory, memory_order_relaxed) >
                     db->options.memory_size_max / 4)
        load = PT_MERGE_PRESSED;
    if (status == PEAT_OK && !choose(db, stack, load, &step.first, &step.width))
        status = PEAT_DONE;
    if (status != PEAT_OK)
        goto done;
    step.stack = stack;
    step.group = stack->runs + step.first;
    step.bottom = step.first + step.width == stack->run_count;
    step.low = db->merger.sweep_low;
    for (size_t i = 0; i < step.width; i++) {
        for (size_t k = 0; k < step.group[i]->slice_count; k++)
            entry_count += step.group[i]->slices[k].held->summary.entry_count;
        input_size += step.group[i]->size;
    }
    pt_run_writer_init(&step.writer, db, &step.output, input_size, entry_count,
                       &db->counters.bytes_merged);
    step.writer.verify = true; /* before the inputs are let go */
    status = run_step(&step);
    pt_run_writer_fini(&step.writer);
    pt_slice_list_fini(&step.output);
    if (status < 0)
        pt_merge_forget_sweep(db);
done:
    pt_stack_free(stack);
    return status;
}

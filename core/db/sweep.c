/*
 * The merger's sweeps: which runs to merge, and where that goes on.
 *
 * Two can be under way:
 *
 *   over all runs     to free what nobody is shown any more, and at rest. Runs that are flushed
 *                     meanwhile take part from where it is; what they hold below is left to the next.
 *                     So while one sweep follows the other, what has come since the last one came past
 *                     is half a sweep's worth, on average, and never grows beyond that.
 *   over the newest   so that gets ask few runs, while somebody writes. The group is known by its place,
 *                     counted from the bottom.
 *
 * Where space is short a step over all runs may free less than it takes: then newer ones are merged instead, as
 * many as can be there twice.
 */
#include "core/db/garbage.h"
#include "core/db/merge.h"
#include "core/db/merge_policy.h"

void pt_merge_forget_newest(struct peat_db *db)
{
    pt_bytes_fini(&db->merger.sweep_low);
    db->merger.sweep_width = 0;
}

void pt_merge_forget(struct peat_db *db)
{
    pt_merge_forget_newest(db);
    pt_bytes_fini(&db->merger.whole_low);
    db->merger.owed_size = 0;
}

/* How much of the runs is garbage: looked at anew when they have changed. */
static uint64_t garbage_size(struct peat_db *db, const struct pt_stack *stack)
{
    struct pt_merger *merger = &db->merger;
    /* 0 is never: a store that was just opened has been looked at by nobody. */
    uint64_t seen = 1 + atomic_load_explicit(&db->checkpointer.published, memory_order_relaxed);

    if (merger->garbage_seen != seen)
        merger->garbage_size = pt_garbage_size(stack, pt_hash_seed(db));
    merger->garbage_seen = seen;
    return merger->garbage_size;
}

static enum pt_merge_wish wish(struct peat_db *db, const struct pt_stack *stack,
                               enum pt_merge_load load, size_t *width_out)
{
    uint64_t sizes[PT_MERGE_RUNS_MAX];
    struct pt_merge_view view = {.sizes = sizes, .run_count = stack->run_count, .load = load};

    if (stack->run_count > PT_MERGE_RUNS_MAX) /* far behind */
        return PT_MERGE_WHOLE;
    for (size_t i = 0; i < stack->run_count; i++)
        sizes[i] = stack->runs[i]->size;
    view.garbage_at_bottom = load == PT_MERGE_IDLE && pt_garbage_at_bottom(stack);
    if (load != PT_MERGE_IDLE)
        view.garbage_size = garbage_size(db, stack);
    return pt_merge_policy(&view, width_out);
}

static bool any_damaged(const struct pt_stack *stack)
{
    for (size_t i = 0; i < stack->run_count; i++)
        if (pt_run_damaged(stack->runs[i]))
            return true;
    return false;
}

/* Go on with the sweep over the newest runs, or whichever they were; false: there is none. */
static bool go_on(struct peat_db *db, const struct pt_stack *stack, struct pt_merge_part *part)
{
    struct pt_merger *merger = &db->merger;
    size_t known = merger->sweep_width + merger->sweep_below;

    if (merger->sweep_width < 2 || known > stack->run_count)
        return false;
    part->first = stack->run_count - known;
    part->width = merger->sweep_width;
    part->low = merger->sweep_low;
    return true;
}

/*
 * What to merge next where some runs have lost something to damage. Those are left as they are, and part
 * the runs above them from those below: a merge cannot say what the lost entries were, nor leave them
 * out.
 */
static bool choose_sound(struct peat_db *db, const struct pt_stack *stack, enum pt_merge_load load,
                         struct pt_merge_part *part)
{
    uint64_t sizes[PT_MERGE_RUNS_MAX];
    struct pt_merge_view view = {.sizes = sizes, .load = load};

    pt_bytes_fini(&db->merger.whole_low);
    if (load == PT_MERGE_PRESSED && stack->run_count <= PT_RUNS_MAX_PRESSED)
        return false;
    if (go_on(db, stack, part))
        return true;
    pt_merge_forget_newest(db);
    for (size_t begin = 0; begin < stack->run_count; begin += view.run_count + 1) {
        view.run_count = 0;
        while (begin + view.run_count < stack->run_count && view.run_count < PT_MERGE_RUNS_MAX &&
               !pt_run_damaged(stack->runs[begin + view.run_count])) {
            sizes[view.run_count] = stack->runs[begin + view.run_count]->size;
            view.run_count++;
        }
        part->first = begin;
        if (view.run_count > 1 && pt_merge_policy(&view, &part->width) != PT_MERGE_NOTHING)
            return true;
    }
    return false;
}

/* What to merge next; false: nothing. */
static bool choose(struct peat_db *db, const struct pt_stack *stack, enum pt_merge_load load,
                   struct pt_merge_part *part)
{
    struct pt_merger *merger = &db->merger;
    size_t known = merger->sweep_width + merger->sweep_below;
    enum pt_merge_wish wanted;

    if (any_damaged(stack))
        return choose_sound(db, stack, load, part);
    wanted = wish(db, stack, load, &part->width);
    /* One over all brings the number of runs down as well. */
    if (wanted == PT_MERGE_NEWEST && merger->whole_low.data != NULL &&
        stack->run_count <= PT_RUNS_MAX_PRESSED)
        wanted = PT_MERGE_WHOLE;
    if (merger->sweep_width < 2 || known > stack->run_count || wanted == PT_MERGE_WHOLE)
        pt_merge_forget_newest(db);
    if (load == PT_MERGE_PRESSED && wanted == PT_MERGE_NOTHING)
        return false; /* a sweep that is under way waits, too */
    if (go_on(db, stack, part))
        return true;
    if (wanted == PT_MERGE_NEWEST) {
        part->first = 0;
        return true;
    }
    if (wanted == PT_MERGE_NOTHING && merger->whole_low.data == NULL)
        return false;
    part->first = 0;
    part->width = stack->run_count;
    part->low = merger->whole_low;
    return part->width > 0;
}

/* Remember where the sweep goes on. */
static void note(struct peat_db *db, const struct pt_stack *stack, const struct pt_merge_part *part,
                 struct pt_merge_result *result)
{
    struct pt_merger *merger = &db->merger;

    /* A step over the newest runs pays as well: else flushes wait for such a sweep, and for what is owed. */
    merger->owed_size -= merger->owed_size < result->size ? merger->owed_size : result->size;
    if (part->width == stack->run_count) {
        pt_bytes_fini(&merger->whole_low);
        merger->whole_low = result->high; /* the merger's now */
        if (result->finished)
            merger->owed_size = 0;
        return;
    }
    pt_merge_forget_newest(db);
    if (result->finished)
        return;
    merger->sweep_low = result->high;
    merger->sweep_width = result->width;
    merger->sweep_below = stack->run_count - part->first - part->width;
}

/* Whether there is so much garbage that merging comes before the next flush. */
static bool merging_presses(struct peat_db *db)
{
    struct pt_stack *stack = NULL;
    size_t width;
    bool presses = false;

    if (pt_shelf_copy(&db->shelf, &stack) == PEAT_OK)
        presses = wish(db, stack, PT_MERGE_PRESSED, &width) == PT_MERGE_WHOLE;
    pt_stack_free(stack);
    return presses;
}

void pt_merge_owe(struct peat_db *db, uint64_t size)
{
    if (size > 0 && (db->merger.whole_low.data != NULL || merging_presses(db)))
        db->merger.owed_size += pt_merge_owed(size);
}

/*
 * How many of the newest runs the reserve can hold twice. Where space is short each flush makes a run of its
 * own, of a few deletions in a region unit: merged with each other they leave nearly all of that, while a step
 * over all runs stops in the middle of each, and frees none of them.
 */
static size_t width_in_reserve(struct peat_db *db, const struct pt_stack *stack)
{
    uint64_t room = pt_arena_reserve_size(db->arena);
    uint64_t keep = pt_reserve_for_merge(db);
    uint64_t size = PT_REGION_UNIT;
    size_t width = 0;

    while (width + 1 < stack->run_count && size + stack->runs[width]->size + keep <= room)
        size += stack->runs[width++]->size;
    return width;
}

/* Merge those, after the step @p part over all runs found no space: *part is what was done then. */
static enum peat_status merge_newest_instead(struct peat_db *db, const struct pt_stack *stack,
                                             struct pt_merge_part *part,
                                             struct pt_merge_result *result_out)
{
    struct pt_merge_part newest = {.first = 0};
    char error[256];
    enum peat_status status;

    (void)strncpy(error, peat_last_error(), sizeof(error) - 1);
    error[sizeof(error) - 1] = '\0';
    status = pt_reserve_before_merge(db);
    if (status == PEAT_OK)
        newest.width = width_in_reserve(db, stack);
    if (status == PEAT_OK && newest.width > 1)
        status = pt_merge(db, stack, &newest, result_out);
    else
        status = pt_fail_passed_on(PEAT_NO_SPACE, error);
    *part = newest;
    return status;
}

enum peat_status pt_merge_step(struct peat_db *db, bool idle)
{
    enum pt_merge_load load = idle ? PT_MERGE_IDLE : PT_MERGE_BUSY;
    struct pt_merge_part part = {.first = 0};
    struct pt_merge_result result;
    struct pt_stack *stack = NULL;
    enum peat_status status = pt_shelf_copy(&db->shelf, &stack);

    if (!idle && pt_write_pressed(db))
        load = PT_MERGE_PRESSED;
    if (status == PEAT_OK && !choose(db, stack, load, &part)) {
        db->merger.owed_size = 0;
        status = PEAT_DONE;
    }
    if (status == PEAT_OK) {
        db->reserve.merge_at_rest = idle;
        status = pt_merge(db, stack, &part, &result);
        if (status == PEAT_NO_SPACE && part.width == stack->run_count) {
            pt_merge_forget(db);
            status = merge_newest_instead(db, stack, &part, &result);
        }
        if (status == PEAT_OK)
            note(db, stack, &part, &result);
        else
            pt_merge_forget(db);
    }
    pt_stack_free(stack);
    return status;
}

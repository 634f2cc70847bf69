/*
 * Compaction on demand: the caller drives a sweep of its own over all runs, from bound to bound, whose
 * steps the merger's thread makes between its own jobs.
 *
 *  1. What is committed is flushed first, so all of it is in runs. What is flushed meanwhile takes
 *     part from where the sweep is: that does no harm.
 *  2. Each step takes all runs there are then, so it is at the bottom: what it writes holds no deletion, and
 *     nothing that is hidden. A step is published by itself, and whether the next one follows does
 *     not matter to it. So any number of sweeps may go on at a time.
 *  3. Flushes come first, since commits wait for them; a sweep of the merger's own goes on beside.
 *  4. At the end what the ruling manifest still names of the old segments is let go by a checkpoint.
 */
#include "core/db/batch.h"
#include "core/db/merge.h"

struct compaction {
    struct peat_bytes low;  /* stored keys; owned; data NULL: all. Where it goes on */
    struct peat_bytes high; /* owned; data NULL: to the last */
    bool finished;
    uint64_t left; /* bytes of the runs between the two, about */
};

/* Bytes of the slices that have keys in [low, high). */
static uint64_t size_between(const struct pt_stack *stack, struct peat_bytes low,
                             struct peat_bytes high)
{
    uint64_t size = 0;

    for (size_t i = 0; i < stack->run_count; i++) {
        const struct pt_run *run = stack->runs[i];

        for (size_t k = low.data == NULL ? 0 : pt_run_find(run, low); k < run->slice_count; k++) {
            if (high.data != NULL && pt_bytes_compare(run->slices[k].low, high) >= 0)
                break;
            size += run->slices[k].size;
        }
    }
    return size;
}

/* ---- On the merger's thread ---- */

static enum peat_status take_step(struct peat_db *db, struct compaction *compaction)
{
    struct pt_merge_part part = {.low = compaction->low, .end = compaction->high};
    struct pt_merge_result result;
    struct pt_stack *stack = NULL;
    enum peat_status status = pt_shelf_copy(&db->shelf, &stack);

    if (status < 0)
        return status;
    part.width = stack->run_count;
    compaction->left = size_between(stack, part.low, part.end);
    compaction->finished = part.width == 0;
    db->reserve.merge_at_rest = true; /* somebody waits for it */
    if (part.width > 0)
        status = pt_merge(db, stack, &part, &result);
    if (part.width > 0 && status == PEAT_OK) {
        if (result.run_count < stack->run_count)
            pt_merge_forget_newest(db);
        pt_bytes_fini(&compaction->low);
        compaction->low = result.high; /* ours now */
        compaction->finished = result.finished;
    }
    pt_stack_free(stack);
    return status;
}

static enum peat_status step_job(struct peat_db *db, void *context)
{
    enum peat_status status = pt_merger_make_room(db);

    if (status == PEAT_OK)
        status = take_step(db, context);
    return status == PEAT_TIMEOUT ? PEAT_OK : status; /* again, when the checkpoint is there */
}

static enum peat_status finish_job(struct peat_db *db, void *context)
{
    enum peat_status status = pt_checkpoint(db);

    (void)context;
    if (status == PEAT_OK)
        status = pt_merger_make_room(db);
    if (status == PEAT_OK)
        pt_reserve_tend(db, true);
    if (status == PEAT_OK)
        (void)pt_arena_trim(db->arena); /* as at rest: what is not given back stays free */
    return status == PEAT_TIMEOUT ? PEAT_OK : status;
}

/* ---- On the caller's ---- */

/* The bounds as stored keys: the collection's own where the caller gave none. */
static enum peat_status set_bounds(struct compaction *compaction,
                                   struct peat_collection *collection,
                                   const struct peat_range *range)
{
    const struct pt_id_prefix *prefix = pt_collection_prefix(collection);
    struct pt_id_prefix end = pt_id_prefix_end(*prefix);
    struct pt_stored_key stored;
    enum peat_status status = pt_check_bytes(range->low, range->high);

    if (status == PEAT_OK)
        status = pt_stored_key_init(&stored, prefix, range->low);
    if (status < 0)
        return status;
    status = pt_bytes_copy(stored.bytes, &compaction->low);
    pt_stored_key_fini(&stored);
    if (status < 0)
        return status;
    if (range->high.data == NULL)
        return pt_bytes_copy(pt_id_prefix_bytes(&end), &compaction->high);
    status = pt_stored_key_init(&stored, prefix, range->high);
    if (status < 0)
        return status;
    status = pt_bytes_copy(stored.bytes, &compaction->high);
    pt_stored_key_fini(&stored);
    return status;
}

/* How far it is, for the caller's eyes: never back, and what has come meanwhile is not more to do. */
struct report {
    bool (*call)(void *context, uint64_t done, uint64_t total);
    void *context;
    uint64_t done;
    uint64_t total;
};

static bool go_on(struct report *report, const struct compaction *compaction)
{
    uint64_t left = compaction->finished ? 0 : compaction->left;

    if (left < report->total && report->total - left > report->done)
        report->done = report->total - left;
    return report->call == NULL || report->call(report->context, report->done, report->total);
}

static enum peat_status sweep(struct peat_db *db, struct compaction *compaction,
                              struct report *report)
{
    struct pt_stack *stack = NULL;
    enum peat_status status = pt_shelf_copy(&db->shelf, &stack);

    if (status == PEAT_OK)
        report->total = compaction->left = size_between(stack, compaction->low, compaction->high);
    pt_stack_free(stack);
    while (status == PEAT_OK) {
        if (!go_on(report, compaction) && !compaction->finished)
            return PEAT_DONE;
        if (compaction->finished)
            break;
        status = pt_merger_run(db, step_job, compaction);
    }
    return status;
}

enum peat_status peat_compact(struct peat_db *db, struct peat_collection *collection,
                              const struct peat_range *range,
                              bool (*progress)(void *context, uint64_t done, uint64_t total),
                              void *context)
{
    struct compaction compaction = {.finished = false};
    struct report report = {.call = progress, .context = context};
    enum peat_status status = PEAT_OK;

    if (db == NULL)
        return pt_fail_null();
    if (!pt_collection_is_of(collection, db->catalogue))
        return pt_fail_foreign();
    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only");
    if (range != NULL || collection != NULL) {
        struct peat_range all = {.flags = 0};

        status = set_bounds(&compaction, collection, range == NULL ? &all : range);
    }
    if (status == PEAT_OK && compaction.high.data != NULL &&
        pt_bytes_compare(compaction.low, compaction.high) >= 0)
        goto done; /* an empty range */
    if (status == PEAT_OK)
        status = pt_merger_flush(db);
    if (status == PEAT_OK)
        status = sweep(db, &compaction, &report);
    if (status >= 0) { /* stopped or not, what is free now is to be free on disk */
        enum peat_status finished = pt_merger_run(db, finish_job, NULL);

        status = finished < 0 ? finished : status;
    }
done:
    pt_bytes_fini(&compaction.low);
    pt_bytes_fini(&compaction.high);
    return status;
}

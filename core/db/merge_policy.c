/*
 * While somebody writes: nothing is merged up to PT_RUNS_MAX runs. Then the newest runs are, as many
 * as are worth it: of all groups that begin with the newest, the one with the least
 *
 *     bytes to rewrite / (runs that go) ^ 3
 *
 * Cubed, because what counts is how long the next merge can wait: rewarding each run that goes alike
 * ends in merging two at a time, over and over. (Taking the runs that are no larger than all newer
 * ones together ends there, too: after 2,000 equal flushes each byte had been rewritten 959 times.)
 *
 * Cost, as simulated by tests/test_merge_policy.c's flushes of equal size, in bytes rewritten per
 * byte flushed: 1.8 after 100 flushes, 4.9 after 2,000, 7.7 after 8,000. A get asks at most
 * PT_RUNS_MAX runs and what a merge that is under way has not yet replaced.
 *
 * While write buffers fill as fast as they can be flushed, merging would only make writers wait, so
 * more runs are let be; what a burst leaves is then merged once instead of twice.
 *
 * Where garbage comes to GARBAGE_PERCENT of what is live, whatever the load: all runs, one sweep after
 * the other until it is less, and for each byte flushed two are merged before the next flush. In a
 * steady state a sweep then lets in half of what it goes over, and half of that has not been passed
 * again: garbage stays about a quarter of what is live, and costs two bytes rewritten per byte. Where
 * all that is merged is in one place, at the ends of the keys, the rest is moved.
 *
 * Measured by
 *
 *     bench/peat-space --megabytes 100 --turns 3        (series and queue: --turns 2)
 *
 * as bytes written per byte put (write amplification), runs in the stack (read), and disk blocks over
 * what is live (space); of the bytes put 1.1 are logged, of which space counts what is not yet flushed:
 *
 *                          written in all, merged   runs   space
 *     load in random order          3.9     1.6       12     1.8
 *     random overwrite              4.6     2.3       10     2.3
 *     zipfian overwrite             3.2     1.4       15     2.3
 *     series with expiry            2.4     0.1        5     2.4
 *     queue                         2.6     0.1       11     2.1
 *
 * When nobody writes: all of them, until one run without deletions is left.
 */
#include "core/db/merge_policy.h"

enum {
    GARBAGE_PERCENT = 25,
    OWED_PERCENT = 200 /* of what is flushed */
};

/* Of what a group of @p width runs costs, the divisor. */
static uint64_t worth(size_t width)
{
    uint64_t gone = width - 1;

    return gone * gone * gone;
}

static bool too_much_garbage(const struct pt_merge_view *view)
{
    uint64_t size = 0;

    for (size_t i = 0; i < view->run_count; i++)
        size += view->sizes[i];
    return view->garbage_size > 0 &&
           view->garbage_size >= (size - view->garbage_size) / 100 * GARBAGE_PERCENT;
}

/* The group of newest runs that is worth it most, of those that leave at most @p runs_max. */
static size_t best_width(const struct pt_merge_view *view, size_t runs_max)
{
    size_t best = view->run_count;
    uint64_t best_size = 0;
    uint64_t size = 0;

    for (size_t width = 1; width <= view->run_count; width++) {
        size += view->sizes[width - 1];
        if (view->run_count - width + 1 > runs_max || width < 2) /* it must bring the count down */
            continue;
        if (best_size == 0 || size / worth(width) < best_size / worth(best)) {
            best = width;
            best_size = size;
        }
    }
    return best;
}

enum pt_merge_wish pt_merge_policy(const struct pt_merge_view *view, size_t *width_out)
{
    size_t runs_max = view->load == PT_MERGE_PRESSED ? PT_RUNS_MAX_PRESSED : PT_RUNS_MAX;

    *width_out = view->run_count;
    if (view->load == PT_MERGE_IDLE)
        return view->run_count > 1 || view->garbage_at_bottom ? PT_MERGE_WHOLE : PT_MERGE_NOTHING;
    if (view->run_count <= PT_RUNS_MAX_PRESSED && too_much_garbage(view))
        return PT_MERGE_WHOLE;
    if (view->run_count <= runs_max)
        return PT_MERGE_NOTHING;
    *width_out = best_width(view, runs_max);
    return *width_out < view->run_count ? PT_MERGE_NEWEST : PT_MERGE_WHOLE;
}

uint64_t pt_merge_owed(uint64_t flush_size)
{
    return flush_size / 100 * OWED_PERCENT;
}

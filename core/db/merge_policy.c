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
 * When nobody writes: all of them, until one run is left. core/README.md has measured figures.
 */
#include "core/db/merge_policy.h"

/* Of what a group of @p width runs costs, the divisor. */
static uint64_t worth(size_t width)
{
    uint64_t gone = width - 1;

    return gone * gone * gone;
}

bool pt_merge_policy(const uint64_t *sizes, size_t run_count, enum pt_merge_load load,
                     size_t *first_out, size_t *width_out)
{
    size_t runs_max = load == PT_MERGE_PRESSED ? PT_RUNS_MAX_PRESSED : PT_RUNS_MAX;
    size_t best = run_count;
    uint64_t best_size = 0;
    uint64_t size = 0;

    *first_out = 0;
    *width_out = run_count;
    if (load == PT_MERGE_IDLE)
        return run_count > 1;
    if (run_count <= runs_max)
        return false;
    for (size_t width = 1; width <= run_count; width++) {
        size += sizes[width - 1];
        if (run_count - width + 1 > runs_max || width < 2) /* it must bring the count down */
            continue;
        if (best_size == 0 || size / worth(width) < best_size / worth(best)) {
            best = width;
            best_size = size;
        }
    }
    *width_out = best;
    return true;
}

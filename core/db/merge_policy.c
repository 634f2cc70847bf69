/*
 * While somebody writes: tiers. Nothing is merged up to PT_RUNS_MAX runs; then the newest ones, as
 * many as are of similar size: a run joins the group if it is not larger than all newer ones
 * together, so that an old, large run is rewritten only when there is as much new data again.
 *
 * Cost for random load: each entry is written by the flush, then once per tier; a tier's runs are
 * about PT_RUNS_MAX times the size of the tier before, so there are log(data / write buffer) /
 * log(PT_RUNS_MAX) of them: two for 64 times the write buffer. A get asks at most PT_RUNS_MAX runs
 * and what a merge that is under way has not yet replaced.
 *
 * While write buffers fill as fast as they can be flushed, merging would only make writers wait, so
 * more runs are let be; what a burst leaves is then merged once instead of twice.
 *
 * When nobody writes: all of them, until one run is left. core/README.md has measured figures.
 */
#include "core/db/merge_policy.h"

bool pt_merge_policy(const uint64_t *sizes, size_t run_count, enum pt_merge_load load,
                     size_t *first_out, size_t *width_out)
{
    size_t runs_max = load == PT_MERGE_PRESSED ? PT_RUNS_MAX_PRESSED : PT_RUNS_MAX;
    uint64_t sum;
    size_t width = 1;

    *first_out = 0;
    *width_out = run_count;
    if (load == PT_MERGE_IDLE)
        return run_count > 1;
    if (run_count <= runs_max)
        return false;
    sum = sizes[0];
    while (width < run_count && sizes[width] <= sum)
        sum += sizes[width++];
    /* At the least as many as bring the count back down. */
    if (width < run_count - PT_RUNS_MAX + 1)
        width = run_count - PT_RUNS_MAX + 1;
    *width_out = width;
    return true;
}

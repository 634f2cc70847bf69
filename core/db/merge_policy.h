/* The merge policy: which neighbouring runs to merge next. */
#ifndef PEAT_CORE_DB_MERGE_POLICY_H
#define PEAT_CORE_DB_MERGE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PT_RUNS_MAX = 8 }; /* under load, merging begins above so many runs */

/*
 * @p sizes: bytes of each run, newest first. @p idle: nobody writes, so there is time to merge it
 * all. True: merge the @p width_out runs from number @p first_out on.
 */
bool pt_merge_policy(const uint64_t *sizes, size_t run_count, bool idle, size_t *first_out,
                     size_t *width_out);

#endif

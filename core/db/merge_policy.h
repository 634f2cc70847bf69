/* The merge policy: which neighbouring runs to merge next. */
#ifndef PEAT_CORE_DB_MERGE_POLICY_H
#define PEAT_CORE_DB_MERGE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PT_RUNS_MAX = 8,         /* while somebody writes, merging begins above so many runs */
    PT_RUNS_MAX_PRESSED = 24 /* and above so many while flushes can hardly keep up */
};

/* How much the merger has to do besides. */
enum pt_merge_load {
    PT_MERGE_IDLE,   /* nobody writes: there is time to merge it all */
    PT_MERGE_BUSY,   /* somebody writes */
    PT_MERGE_PRESSED /* write buffers fill as fast as they can be flushed */
};

/*
 * @p sizes: bytes of each run, newest first. True: merge the @p width_out runs from number
 * @p first_out on.
 */
bool pt_merge_policy(const uint64_t *sizes, size_t run_count, enum pt_merge_load load,
                     size_t *first_out, size_t *width_out);

#endif

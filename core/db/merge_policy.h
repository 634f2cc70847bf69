/* The merge policy: which neighbouring runs to merge next. */
#ifndef PEAT_CORE_DB_MERGE_POLICY_H
#define PEAT_CORE_DB_MERGE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PT_RUNS_MAX = 8,          /* while somebody writes, merging begins above so many runs */
    PT_RUNS_MAX_PRESSED = 24, /* and above so many while flushes can hardly keep up */
    PT_MERGE_RUNS_MAX = 64    /* what the policy is asked for at most */
};

/* How much the merger has to do besides. */
enum pt_merge_load {
    PT_MERGE_IDLE,   /* nobody writes: there is time to merge it all */
    PT_MERGE_BUSY,   /* somebody writes */
    PT_MERGE_PRESSED /* write buffers fill as fast as they can be flushed */
};

/* What it is decided by. */
struct pt_merge_view {
    const uint64_t *sizes;  /* bytes of each run, newest first */
    size_t run_count;       /* at most PT_MERGE_RUNS_MAX */
    uint64_t garbage_size;  /* bytes of them all that nobody is shown; not looked at when idle */
    bool garbage_at_bottom; /* the oldest run holds deletions; only looked at when idle */
    enum pt_merge_load load;
};

enum pt_merge_wish {
    PT_MERGE_NOTHING,
    PT_MERGE_NEWEST, /* some of the newest runs */
    PT_MERGE_WHOLE   /* all runs, even if it is but one */
};

/* @p width_out: with PT_MERGE_NEWEST, how many; at least 2, and not all. */
enum pt_merge_wish pt_merge_policy(const struct pt_merge_view *view, size_t *width_out);

/* Bytes to merge before the next flush, for each @p flush_size bytes of the last one, while there is too
 * much garbage. */
uint64_t pt_merge_owed(uint64_t flush_size);

#endif

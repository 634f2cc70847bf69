/* How fast the device below a directory makes things durable, and whether that can be true. */
#ifndef PEAT_TOOLS_TORTURE_SYNC_H
#define PEAT_TOOLS_TORTURE_SYNC_H

#include "tools/complain.h"

/* Times in microseconds. */
struct pt_torture_sync {
    uint64_t commits; /* durable ones, one after the other */
    double commits_per_second;
    double commit_median_us;
    double commit_worst_us;
    double sync_median_us; /* of writing a page of a plain file over, and fdatasync */
    const char *suspicion; /* why a power cut may take what was synced; NULL: nothing is known */
};

/* Measure in @p directory, for about @p seconds, with the store @p store, which is made, and a plain file
 * beside it, which is removed. */
enum pt_exit pt_torture_sync(const char *directory, const char *store, double seconds,
                             struct pt_torture_sync *sync_out);

#endif

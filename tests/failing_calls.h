/*
 * Calls that fail, on real files: any system call of the file seam (core/base/file.h) or any allocation of the
 * library can be made to fail, counted from a moment on. Syncs that do not fail do nothing, so that a test
 * may make thousands.
 *
 * tests/disk.h does so for one file that it keeps, and knows what a power cut leaves of it; this is for operations
 * that need several files.
 */
#ifndef PEAT_TESTS_FAILING_CALLS_H
#define PEAT_TESTS_FAILING_CALLS_H

#include "tests/support.h"

enum pt_failing_kind { PT_FAILING_CALLS, PT_FAILING_ALLOCATIONS };

struct pt_failing {
    enum pt_failing_kind kind;
    uint64_t at;        /* the first that fails; 0: the next one */
    uint64_t count;     /* how many do */
    int error_number;   /* of calls */
    bool in_any_thread; /* else in the calling one alone: what other threads do is not counted */
};

/* Put the calls in place of the real ones, none of which fails yet; and take them back. No store is open. */
void pt_failing_install(void);
void pt_failing_remove(void);

/* From now on. */
void pt_failing_start(const struct pt_failing *failing);
/* Nothing fails any more; how often something has. */
uint64_t pt_failing_end(void);

#endif

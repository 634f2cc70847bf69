/*
 * A power cut by hand, in two phases. The first commits durably and writes the number of each commit that is
 * acknowledged to standard output, which goes to another machine, until the power is cut; the second, when
 * it is back, says whether everything is there that the other machine has seen.
 */
#ifndef PEAT_TOOLS_TORTURE_POWER_H
#define PEAT_TOOLS_TORTURE_POWER_H

#include "tools/complain.h"
#include "tools/torture_load.h"

struct pt_torture_power {
    uint64_t batch;        /* the last one in the store */
    uint64_t acknowledged; /* the last one that was seen; 0: not known */
    bool right;
    char finding[PT_LOAD_WORDS + 100];
};

/* Commit to @p store, which is made if it is not there, until @p end_ns (UINT64_MAX: for ever). */
enum pt_exit pt_torture_prepare(const char *store, uint64_t seed, uint64_t end_ns);

/* @p acknowledged: the file with the numbers, "-": standard input; NULL: there is none. PT_EXIT_DAMAGE:
 * something is wrong. */
enum pt_exit pt_torture_verify(const char *store, const char *acknowledged,
                               struct pt_torture_power *power_out);

#endif

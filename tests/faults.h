/*
 * The fault campaign: a script is done to a store on the simulated disk, while one call through the file
 * seam, or one allocation, fails, once or from then on; the scripts and plans together have every position
 * fail. Whatever is shown meanwhile is right, or the call says that it failed; when nothing fails any more,
 * the store opens and shows all that was promised; and so it does after a power cut. Nothing leaks.
 *
 * A sync fails as the kernel's do: once, and what it was to write is dropped, though it can still be read.
 */
#ifndef PEAT_TESTS_FAULTS_H
#define PEAT_TESTS_FAULTS_H

#include "tests/damage.h"
#include "tests/kills.h"

/* Counts, in memory that worker processes share. */
struct pt_fault_counts {
    _Atomic uint64_t runs; /* done */
    _Atomic uint64_t hit;  /* of them: something failed */
    _Atomic uint64_t
        broken; /* of them: a commit failed so that it is not known whether it is there */
    struct pt_power_cut_counts cuts;
    struct pt_damage_counts damage; /* of that campaign */
    struct pt_kill_counts kills;    /* of that one */
};

/* How many runs it takes for everything to fail in every position; and by how many the positions that
 * each run skips are too many to do them all. Counted once for all workers. */
uint64_t pt_faults_run_count(void);

/* The run with @p number: the first pt_faults_run_count() are those, what follows is random. Its id says what
 * is done, always. */
uint64_t pt_faults_id(uint64_t number);

/* Do the run @p id. False: something is wrong; it was printed, and counted in counts->cuts.failed. */
bool pt_faults_run(struct pt_power_cut *campaign, struct pt_fault_counts *counts, uint64_t id);

#endif

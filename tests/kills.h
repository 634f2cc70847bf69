/*
 * The kill campaign: processes that write to a store, and others that read it, are killed by SIGKILL; a
 * verifier outside of them holds what was tried and what was acknowledged, in memory that it shares with
 * them, and looks at the store after each kill: a part of the history is shown, nothing acknowledged is
 * missing, no batch is there by half, what a dead reader held is free again, and the store goes on.
 *
 *  - At random moments: one or two writers, the second of which takes over when the first is dead, so that
 *    it recovers the store, and is killed meanwhile too; beside them up to three readers, that check what
 *    they see, come and go, hold snapshots, and are killed or outlive the writers.
 *  - At each place in turn: a script is done by a process that is traced, and killed at its n-th system
 *    call, instead of it; or that kills itself when half of what its n-th store through the mapping would
 *    have written is there. Nothing else leaves a process.
 */
#ifndef PEAT_TESTS_KILLS_H
#define PEAT_TESTS_KILLS_H

#include "tests/power_cut.h"

/* In memory that worker processes share. */
struct pt_kill_counts {
    _Atomic uint64_t kills;         /* processes killed */
    _Atomic uint64_t readers;       /* of them: readers */
    _Atomic uint64_t recoveries;    /* of them: while they opened the store */
    _Atomic uint64_t verifications; /* of the store by the verifier */
    _Atomic uint64_t commits;       /* acknowledged by who was killed */
};

/* Some kills at random moments, of processes that work on one store; @p seed is what they do. Failures are
 * printed, and counted in campaign->counts->failed. */
void pt_kills_random(struct pt_power_cut *campaign, struct pt_kill_counts *counts, uint64_t seed);

/* How many places there are to be killed at; 0: processes cannot be traced here. Counted once for all
 * workers. */
uint64_t pt_kills_place_count(void);
/* One kill at the place @p number. */
void pt_kills_place(struct pt_power_cut *campaign, struct pt_kill_counts *counts, uint64_t number);

#endif

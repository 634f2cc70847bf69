/*
 * The damage campaign: files of stores in several states are damaged, in every byte and in every sector in
 * turn, and opened. What is shown is right, or there is an error that says so: never something wrong, never
 * a signal, a hang, or memory without bound. Promise P3 of the design.
 */
#ifndef PEAT_TESTS_DAMAGE_H
#define PEAT_TESTS_DAMAGE_H

#include "tests/power_cut.h"

/* In memory that worker processes share. */
struct pt_damage_counts {
    _Atomic uint64_t opens;   /* of damaged files */
    _Atomic uint64_t refused; /* of them: the store did not open */
    _Atomic uint64_t whole;   /* of them: everything was shown */
};

/* Numbers of ways to damage files. */
struct pt_damage_runs {
    uint64_t first;
    uint64_t count;
};

/* Make the files, once for all workers. Which numbers damage the one called @p name (NULL: any); none, if there is
 * no such file. */
struct pt_damage_runs pt_damage_prepare(const char *name);
/* The number of a damaged byte or bit of a superblock: @p number goes through them, file by file. */
uint64_t pt_damage_of_superblocks(uint64_t number);
/* Damage number @p number, whichever was asked for. What is wrong is printed, and counted as failed. */
void pt_damage_run(struct pt_power_cut *campaign, struct pt_damage_counts *counts, uint64_t number);

#endif

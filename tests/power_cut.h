/*
 * The power-cut campaign: a script is done to a store on the simulated disk and recorded; then the power
 * is cut after every operation on the file, the disk is left in states that it may be in then, and of each
 * the store must open, show a part of the history within what was promised, take more commits, and open
 * again. Some of these recoveries are recorded and cut short themselves; and some go on from what the page
 * cache held, as after the death of the process.
 *
 * Promises P1 and P2 of the design, and P3 as far as nothing wrong is ever shown.
 */
#ifndef PEAT_TESTS_POWER_CUT_H
#define PEAT_TESTS_POWER_CUT_H

#include "tests/crash_disk.h"
#include "tests/session.h"

#include <stdatomic.h>

/* In memory that worker processes share. */
struct pt_power_cut_counts {
    _Atomic uint64_t scripts;    /* done */
    _Atomic uint64_t points;     /* at which the power was cut */
    _Atomic uint64_t states;     /* different ones, opened */
    _Atomic uint64_t recoveries; /* recorded, and cut short */
    _Atomic uint64_t faulty;     /* of them: while they went on, a call failed */
    _Atomic uint64_t failed;
};

/* What a script is: enough to do it again. */
struct pt_script {
    char name[32];
    uint64_t seed;
    unsigned flags; /* of peat_open(), beside PEAT_CREATE */
    bool loose;     /* with background threads that run freely */
    size_t count;
    size_t skipped; /* so many of the first steps are done without a power cut */
    const struct pt_step *steps;
};

/* One campaign, or one worker's part of it. */
struct pt_power_cut {
    unsigned states_max;        /* tried at a point, about */
    unsigned script_states_max; /* tried of one script, about: some points are left out; 0: all are
                                   taken */
    unsigned nested_one_in;     /* of so many states the recovery is cut short, too; 0: none */
    unsigned faulty_one_in;     /* of so many states one is also recovered while calls fail; 0: none */
    unsigned go_on_one_in;      /* of so many states one takes more commits and is opened again */
    unsigned failures_max;      /* then it stops */
    uint64_t end_us;            /* of pt_test_now_us(): then it stops */
    const char *program;        /* for the command that repeats a failure */
    struct pt_power_cut_counts *counts;
    uint64_t *seen; /* a hash table of states; owned */
    size_t seen_count;
    size_t seen_capacity;
};

void pt_power_cut_init(struct pt_power_cut *campaign, struct pt_power_cut_counts *counts);
void pt_power_cut_fini(struct pt_power_cut *campaign);

/* Do @p script and cut it short everywhere. Failures are printed and counted. */
void pt_power_cut_script(struct pt_power_cut *campaign, const struct pt_script *script);

/* Cut @p trace short, which was recorded while @p history was made, in about @p states_max states. */
void pt_power_cut_trace(struct pt_power_cut *campaign, const struct pt_script *script,
                        struct pt_trace *trace, const struct pt_commits *history,
                        unsigned states_max);

/* Repeat one state from the file that a failure left; false: it fails again. */
bool pt_power_cut_repeat(struct pt_power_cut *campaign, const char *path, uint64_t point,
                         uint64_t state);

/* What the worker does, in words, should a signal end it; NULL: nothing of that kind. */
void pt_power_cut_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* When a signal ends the worker: print what it was doing, and keep what repeats it. */
void pt_power_cut_report_signal(const char *what);

#endif

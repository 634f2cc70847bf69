/*
 * A process that is stopped at each of its system calls, before it is done, all of its threads taken
 * together, and killed at one of these stops.
 */
#ifndef PEAT_TESTS_TRACER_H
#define PEAT_TESTS_TRACER_H

#include "tests/support.h"

/* What became of it. */
struct pt_traced {
    uint64_t stops; /* that it came to */
    bool killed;    /* at the stop that was asked for; else it ended by itself: */
    int outcome;    /* as waitpid() tells */
};

/* Whether processes can be traced here: containers may forbid it. */
bool pt_tracer_works(void);

/* Run @p body in a child process, and kill it at the stop with number @p stop (the first is 0); UINT64_MAX:
 * count its stops. */
struct pt_traced pt_tracer_run(void (*body)(void *context), void *context, uint64_t stop);

#endif

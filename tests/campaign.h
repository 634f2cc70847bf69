/*
 * The scripts of the power-cut campaign, and the worker processes that do them: `make check` does some,
 * peat-torture-tests as many as one likes.
 */
#ifndef PEAT_TESTS_CAMPAIGN_H
#define PEAT_TESTS_CAMPAIGN_H

#include "tests/faults.h"

enum pt_campaign_scripts {
    PT_SCRIPTS_ALL,
    PT_SCRIPTS_SEQUENCES, /* every sequence of up to three steps */
    PT_SCRIPTS_RANDOM,
    PT_SCRIPTS_THREADS, /* random ones, with background threads that run freely */
    PT_SCRIPTS_FAULTS,  /* no power cuts, but calls and allocations that fail: see faults.h */
    PT_SCRIPTS_DAMAGE,  /* nor those, but files that are damaged: see damage.h */
    PT_SCRIPTS_PLACES,  /* processes that are killed, at each place in turn: see kills.h */
    PT_SCRIPTS_KILLS    /* and at random moments */
};

struct pt_campaign {
    enum pt_campaign_scripts scripts;
    uint64_t seed;          /* of the random scripts; of a sequence it is the number */
    bool single;            /* only the script with that seed */
    uint64_t seconds;       /* 0: until every sequence has been done */
    uint64_t kills;         /* PT_SCRIPTS_KILLS ends after so many; 0: only with the seconds */
    unsigned jobs;          /* worker processes */
    unsigned states;        /* tried of each script, about; 0: all */
    uint64_t states_wanted; /* of all scripts: then it ends; 0: only with the seconds */
    unsigned go_on_one_in;  /* see power_cut.h */
    unsigned failures_max;
    const char *base;    /* of damage_base.c: PT_SCRIPTS_DAMAGE takes that file alone; NULL: all */
    const char *program; /* for the command that repeats a failure */
};

/* As `make check` takes it. */
struct pt_campaign pt_campaign_default(void);
const char *pt_campaign_scripts_name(enum pt_campaign_scripts scripts);
/* Run it; the counts are set, failures have been printed. */
void pt_campaign_run(const struct pt_campaign *campaign, struct pt_fault_counts *counts_out);

#endif

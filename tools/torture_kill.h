/*
 * Processes that commit, and others that read, are killed by SIGKILL at random moments; this process, which
 * has never had a hand in them, knows what they had acknowledged, and looks after each kill.
 */
#ifndef PEAT_TOOLS_TORTURE_KILL_H
#define PEAT_TOOLS_TORTURE_KILL_H

#include "tools/complain.h"
#include "tools/torture_load.h"

struct pt_torture_kills {
    uint64_t kills;        /* of processes that write */
    uint64_t while_opened; /* of them: before the store was open */
    uint64_t readers;      /* killed besides */
    uint64_t acknowledged; /* batches, by those that were killed */
    uint64_t lost;         /* batches that were not acknowledged, and are not there: as they may */
    uint64_t failed;
    char finding[PT_LOAD_WORDS + 100]; /* what is wrong, if something is */
};

/* Kill once, and go on until @p end_ns of pt_torture_now_ns(), something fails, or an interrupt comes,
 * with the store @p store, which is made. PT_EXIT_DAMAGE: something is wrong. */
enum pt_exit pt_torture_kill(const char *store, uint64_t seed, uint64_t end_ns,
                             struct pt_torture_kills *kills_out);

/* Nanoseconds of a steady clock. */
uint64_t pt_torture_now_ns(void);

/* The newest state holds the load up to batch *batch_out, whole, and peat_check() finds nothing. False:
 * not; load->finding says what. */
bool pt_torture_look(struct pt_load *load, struct peat_db *db, uint64_t *batch_out);

#endif

/* What a primary's session is made of, for primary_session.c and primary_greeting.c. One thread at a time. */
#ifndef PEAT_REPL_PRIMARY_SESSION_PARTS_H
#define PEAT_REPL_PRIMARY_SESSION_PARTS_H

#include "repl/fork.h"
#include "repl/log_giver.h"
#include "repl/primary_session.h"
#include "repl/seed_giver.h"
#include "repl/sum_giver.h"

struct pt_primary_session {
    struct pt_peer base;
    struct pt_primary_session_options options; /* its keys are not looked at any more */
    struct pt_log_giver log;                   /* none: HELLO has not come, or a state is wanted */
    struct pt_seed_giver giver;
    struct pt_sum_giver sums; /* of who compares */
    uint32_t flags;           /* HELLO's */
    bool has_fenced;
    bool parted; /* it leaves its history for this one: a state is what it needs */
    char name[PEAT_NAME_SIZE_MAX + 1];
    struct pt_branch ours; /* when HELLO came */
};

/* HELLO has come: answer it, and open what the follower gets, or end the session. */
void pt_primary_session_greet(struct pt_primary_session *session, const struct pt_frame *frame,
                              uint64_t now_us);

#endif

/* What a follower's session is made of, for follower_session.c and follower_greeting.c. One thread at a time. */
#ifndef PEAT_REPL_FOLLOWER_SESSION_PARTS_H
#define PEAT_REPL_FOLLOWER_SESSION_PARTS_H

#include "repl/follower_session.h"
#include "repl/fork.h"
#include "repl/log_taker.h"

struct pt_follower_session {
    struct pt_peer base;
    char name[PEAT_NAME_SIZE_MAX + 1];
    bool greeted;                /* HELLO has been sent */
    bool following;              /* and answered with TAIL */
    bool seeding;                /* or with SEED, and a state is being taken */
    bool seeded;                 /* all of it */
    bool left;                   /* its history, for the primary's */
    struct pt_rejoin *rejoin;    /* borrowed; NULL: it leaves none */
    struct pt_seed_taker *taker; /* borrowed; NULL: it takes none */
    /* Why the primary's states are not for this store; "": they are. */
    char unlike[PT_PEER_WORDS_MAX];
    struct pt_branch ours; /* as HELLO has it */
    struct pt_log_taker log;
};

/* Say HELLO: where the store stands, and has come to durably. */
void pt_follower_session_greet(struct pt_follower_session *session, uint64_t now_us);
/* WELCOME has come: go on with what the primary offers, or end the session. */
void pt_follower_session_welcome(struct pt_follower_session *session, const struct pt_frame *frame,
                                 uint64_t now_us);
/* The primary offers a state: ask for it. */
void pt_follower_session_seed(struct pt_follower_session *session, uint64_t now_us);

#endif

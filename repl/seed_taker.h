/*
 * The follower's end of a seed: what to ask for next, and what has come. It lives as long as the follower, so that what has been
 * taken of a state is not asked for again on the next connection.
 */
#ifndef PEAT_REPL_SEED_TAKER_H
#define PEAT_REPL_SEED_TAKER_H

#include "repl/message.h"
#include "repl/seed_giver.h"

struct pt_seed_taker {
    struct peat_seeding *seeding;
    bool wanted;      /* the log goes on nowhere from here, as a connection has shown */
    uint64_t count;   /* states that were taken */
    uint64_t damaged; /* segments that were found to be damaged here and are not healed yet */
    uint64_t healed;  /* segments: a state has come with others in their place */
    bool heals;       /* a state is asked for because of them */
    unsigned tries;   /* connections that brought no healing nearer */
    uint64_t least;   /* bytes of a state that were missing at the best of times */
    struct pt_ask asks[PT_SEED_ASKS_MAX]; /* a ring; what has not come of them */
    size_t first;
    size_t ask_count;
    uint64_t under_way; /* bytes of them */
};

/* PEAT_INVALID: not a follower. PEAT_NO_MEMORY. */
enum peat_status pt_seed_taker_open(struct pt_seed_taker *taker, struct peat_db *db);
void pt_seed_taker_close(struct pt_seed_taker *taker);

/* That many segments are damaged: ask for a state. */
void pt_seed_taker_heal(struct pt_seed_taker *taker, uint64_t damaged);
/* A connection has ended. Whether healing is given up with it: it has brought that no nearer, and neither have those before it. Then
 * it follows, if it can, as it is. */
bool pt_seed_taker_gives_up(struct pt_seed_taker *taker);

/* A primary offers a state: nothing is under way. */
void pt_seed_taker_begin(struct pt_seed_taker *taker);
/* The next bytes to ask for, while less than @p window bytes are under way. */
bool pt_seed_taker_ask(struct pt_seed_taker *taker, uint64_t window, struct pt_ask *ask_out);
/*
 * Bytes have come. PEAT_OK; PEAT_DONE: they were the last ones, and the state is shown. What peat_seeding_write() and
 * peat_seeding_finish() fail with; PEAT_INVALID also where nobody had asked for them.
 */
enum peat_status pt_seed_taker_take(struct pt_seed_taker *taker, const struct pt_chunk *chunk);

#endif

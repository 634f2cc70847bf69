/* The primary's end of a seed: what the follower has asked for of a state, and what of it is to be sent next. */
#ifndef PEAT_REPL_SEED_GIVER_H
#define PEAT_REPL_SEED_GIVER_H

#include "repl/message.h"

enum {
    PT_SEED_ASKS_MAX = 64,        /* that may wait for their answer */
    PT_SEED_CHUNK_MAX = 256 << 10 /* bytes of a part in one frame */
};

/* All zeros: there is none. */
struct pt_seed_giver {
    struct peat_seed *seed;
    struct pt_ask asks[PT_SEED_ASKS_MAX]; /* a ring; what is left of them */
    size_t first;
    size_t count;
};

/* Pin the state as of now, and have the log behind it kept under @p name. Where the state is of a place in the log before @p position,
 * which the follower has come to, all commits are flushed first. What peat_seed_open(), peat_flush() and peat_feed_open() fail with. */
enum peat_status pt_seed_giver_open(struct pt_seed_giver *giver, struct peat_db *db,
                                    const char *name, uint64_t position);
void pt_seed_giver_close(struct pt_seed_giver *giver);

/* What is wrong with it; NULL: nothing, it will be answered. */
const char *pt_seed_giver_ask(struct pt_seed_giver *giver, const struct pt_ask *ask);
/* The next piece of an answer. PEAT_DONE: nothing has been asked for. What peat_seed_read() fails with. */
enum peat_status pt_seed_giver_next(struct pt_seed_giver *giver, struct pt_chunk *chunk_out);

#endif

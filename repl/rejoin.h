/*
 * Rejoining: what a follower does when its history has parted from its primary's, and it may leave it.
 *
 *      FORKED ---> save (the caller's) ---> keep under a name ---> go back, if there is a state for it ---> HELLO
 *                                                              \-> or have HELLO ask for a state       ---> SEED
 *
 *  1. Nothing goes before what is beyond the fork is saved and kept, each durably: whoever dies in between begins anew
 *     with FORKED, and what is kept already is not saved once more.
 *  2. It outlives sessions, like a seed that is being taken.
 */
#ifndef PEAT_REPL_REJOIN_H
#define PEAT_REPL_REJOIN_H

#include "repl/fork.h"
#include "repl/peat_repl.h"

enum { PT_FORKED_NAME_SIZE = 64 };

struct pt_rejoin {
    bool allowed;
    enum peat_status (*save)(void *context, struct peat_db *db, const struct peat_fork *fork,
                             struct peat_repl_error *error_out); /* NULL: there is none */
    void *context;
    char name
        [PT_FORKED_NAME_SIZE]; /* of what is kept, while a state of the other history is wanted; else "" */
    uint64_t count;            /* histories that it has left */
};

/* Whether @p ours, which has parted from @p theirs, can be left for it: that is of no older epoch, and where they fork is
 * known. *fork_out is what the caller's save is told, without a name. */
bool pt_rejoin_possible(const struct pt_branch *ours, const struct pt_branch *theirs,
                        struct peat_fork *fork_out);
/* Save and keep what @p db has beyond the fork, then go back, or set the name. Also what saving fails with; the words
 * are in *error_out. */
enum peat_status pt_rejoin_leave(struct pt_rejoin *rejoin, struct peat_db *db,
                                 struct peat_fork *fork, struct peat_repl_error *error_out);
/* Whether a state of another history is wanted. */
bool pt_rejoin_wants_state(const struct pt_rejoin *rejoin); /* NULL: no */
/* One was taken. */
void pt_rejoin_done(struct pt_rejoin *rejoin); /* NULL is allowed */
/* None is wanted any more: the primary has not parted, or is another one by now. */
void pt_rejoin_forget(struct pt_rejoin *rejoin); /* NULL is allowed */

#endif

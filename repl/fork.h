/*
 * Where two histories fork, as far as their epochs tell: the first position at which they are of
 * different epochs.
 *
 *      one    1 .......... 2 .......            they fork at P: whoever is still of epoch 1 there
 *      other  1 ..........|. 1 ..                has parted if it has anything behind P
 *                         P
 *
 * A history that ends at the fork, or before it, is the beginning of the other one, and can go on
 * there. What lies before the fork may still differ: chains tell that, not epochs.
 */
#ifndef PEAT_REPL_FORK_H
#define PEAT_REPL_FORK_H

#include "repl/message.h"

/* A history: its epochs, and where it ends. */
struct pt_branch {
    struct pt_wire_epoch rows[PT_EPOCH_COUNT_MAX];
    struct pt_epochs epochs; /* borrowed, or of rows */
    struct peat_position end;
};

/* That of @p db: its epochs are no older than its end. PEAT_NO_MEMORY. */
enum peat_status pt_branch_of(struct peat_db *db, struct pt_branch *branch);
/* The newest epoch; 0: it tells of none. */
uint64_t pt_epochs_newest(const struct pt_epochs *epochs);
/* Whether one of them has anything behind the place where they fork that the other one cannot
 * have. */
bool pt_branches_parted(const struct pt_branch *a, const struct pt_branch *b);
/* Where they fork: the epoch that begins there, in one of them. false: nowhere, or before what both remember. */
bool pt_branches_fork(const struct pt_branch *a, const struct pt_branch *b,
                      struct peat_epoch *row_out);
/*
 * Whether @p other, of a newer epoch than @p ours, the history of @p db, goes on from it: the first
 * newer epoch begins at our end, or at a place in the log that is still there, with the chain that
 * is there. Reads the log from the commit before.
 */
bool pt_branch_goes_on(struct peat_db *db, const struct pt_branch *ours,
                       const struct pt_branch *other);

#endif

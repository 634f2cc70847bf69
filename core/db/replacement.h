/*
 * Another state in place of what a store shows: what a revert and a seed have in common.
 *
 *      commits before   |  turn in the queue                                  |  commits after
 *      ... C-1, C       |  seal, flush | checkpoint: C | install: N | show it |  N+1 ...
 *
 *  1. It takes its turn among the commits as a leader does, so none is under way; it is done on the
 *     merger's thread, so no flush or merge is; and under the install mutex, so no checkpoint is. A
 *     leader waits for the merger, and the merger for a checkpoint, never the other way.
 *  2. What leads to commit N is in no record of the log: the manifest alone tells of it. It begins the log in
 *     a region that nothing links to (pt_log_jump()). So the superblock decides: with the old one the
 *     store is as of C, with the new one as of N, and no reader can take records of the one for
 *     records of the other.
 *  3. Everything that can fail for want of memory or space comes before that superblock.
 *  4. Ids of segments and collections never go back: what exists in the state before is not taken for
 *     what comes after.
 */
#ifndef PEAT_CORE_DB_REPLACEMENT_H
#define PEAT_CORE_DB_REPLACEMENT_H

#include "core/db/history.h"
#include "core/db/stack.h"

struct peat_db;

struct pt_replacement {
    struct pt_run **runs; /* the state's; owned, pinned */
    size_t run_count;
    struct pt_log_point behind; /* the history that leads to it */
    uint64_t hash_seed;         /* of the state's segments */
    struct pt_history_change change;

    struct pt_log_jump jump;
    /* What will be shown, with the active buffer; owned until it is published. */
    struct pt_stack *stack;
    uint64_t *ids; /* owned: the collections that there will be, ascending */
    size_t id_count;
};

/* Show the state that @p find tells: as a leader, on the merger's thread, it sets runs, behind, hash_seed and change.
 * What has not been flushed is flushed before. Also what @p find fails with; PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_IO, PEAT_POISONED. */
enum peat_status pt_replace(struct peat_db *db,
                            enum peat_status (*find)(struct peat_db *db, void *context,
                                                     struct pt_replacement *replacement),
                            void *context);

#endif

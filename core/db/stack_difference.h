/*
 * The difference of two stacks: what is in one and not in the other, within a key range. A key that
 * nothing in it says anything of has the same value in both.
 *
 * That holds because segments are immutable, their ids are never used again, and of two parts that
 * both stacks have, the same one is newer in both.
 */
#ifndef PEAT_CORE_DB_STACK_DIFFERENCE_H
#define PEAT_CORE_DB_STACK_DIFFERENCE_H

#include "core/db/join.h"
#include "core/db/range_bag.h"
#include "core/db/stack.h"

/* A stack as of a commit, and the bounds within which it is looked at. Borrowed. */
struct pt_stack_side {
    const struct pt_stack *stack;
    uint64_t commit;
};

/* One thread. Release with pt_stack_difference_fini(). */
struct pt_stack_difference {
    struct pt_join join;        /* entries of either stack alone; not yet positioned */
    struct pt_range_bag ranges; /* range deletes of either alone: sorted, disjoint */
    uint64_t size;              /* bytes that are of one stack alone, estimated */
    uint64_t all_size;          /* bytes of both, estimated */
    struct pt_run **runs;       /* owned: the slices that the join walks */
    size_t run_count;
    struct pt_buffer_view **views; /* owned */
    size_t view_count;
};

/* Within [low, high), borrowed. PEAT_NO_MEMORY, PEAT_CORRUPT, PEAT_IO; release it even then. */
enum peat_status pt_stack_difference_init(struct pt_stack_difference *difference,
                                          const struct pt_stack_side sides[2],
                                          struct peat_bytes low, struct peat_bytes high);
void pt_stack_difference_fini(struct pt_stack_difference *difference);

#endif

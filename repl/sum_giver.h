/*
 * The primary's end of a comparison: a state that is pinned, and the sums of its parts that were asked for.
 *
 *  1. There is one state and one question at a time, of a bounded size, so a peer can have no more than that kept.
 *  2. A state is pinned until the connection ends, or nothing was asked for so long as PT_SUM_LEASE_US.
 *  3. Sums take reading: they are made by pt_sum_giver_work(), a turn of a bounded number of bytes at a time, by the
 *     thread that also asks and answers. What that call changes no other looks at, so it needs no lock.
 */
#ifndef PEAT_REPL_SUM_GIVER_H
#define PEAT_REPL_SUM_GIVER_H

#include "repl/sums.h"

#define PT_SUM_LEASE_US (UINT64_C(3600) * 1000000)

/* All zeros: there is none. */
struct pt_sum_giver {
    struct peat_snapshot *snapshot; /* NULL: none is pinned */
    bool working;                   /* something was asked for, and is not answered yet */
    uint64_t asked_us;              /* when something was asked for or answered last */
    /* The working thread's. */
    uint8_t body[PT_BOUNDS_SIZE_MAX]; /* the question */
    struct pt_bounds bounds;          /* in it */
    struct peat_tally *tally;         /* of the first part that has no sum; NULL: not begun */
    struct pt_sums sums;
    enum peat_status
        status; /* PEAT_OK: not ready yet; PEAT_DONE: it is; else why it never will be */
};

void pt_sum_giver_close(struct pt_sum_giver *giver);

/* Pin the state as of @p commit, or, where that cannot be had, the newest: its commit is *pinned_out. PEAT_NO_MEMORY. */
enum peat_status pt_sum_giver_pin(struct pt_sum_giver *giver, struct peat_db *db, uint64_t commit,
                                  uint64_t now_us, uint64_t *pinned_out);
/* Take a question, the body of SUM. What is wrong with it; NULL: nothing. */
const char *pt_sum_giver_ask(struct pt_sum_giver *giver, struct peat_bytes body, uint64_t now_us);
/* A turn of work, if there is any. */
void pt_sum_giver_work(struct pt_sum_giver *giver);
/* The answer, once. PEAT_OK: there is none yet; PEAT_DONE: here it is; what failed. */
enum peat_status pt_sum_giver_answer(struct pt_sum_giver *giver, uint64_t now_us,
                                     struct pt_sums *sums_out);
bool pt_sum_giver_is_over(const struct pt_sum_giver *giver, uint64_t now_us);

#endif

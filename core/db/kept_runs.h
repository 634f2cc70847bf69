/*
 * The sorted runs that a write buffer keeps, so that views need not sort again what an earlier view
 * has sorted. They cover the area from its start up to some offset without gaps; each is at most a
 * quarter of the next older one, so there are few.
 *
 * Any thread pins the current set, without a lock. Whoever extends it holds the mutex, which is only
 * ever tried: who finds it taken sorts for itself.
 */
#ifndef PEAT_CORE_DB_KEPT_RUNS_H
#define PEAT_CORE_DB_KEPT_RUNS_H

#include "core/db/sorted_run.h"

/* Immutable, counted by pins. */
struct pt_run_set {
    uint64_t end;       /* offset: what the runs cover */
    size_t entry_count; /* before end; more than references: range deletes are in no run */
    _Atomic size_t pins;
    struct pt_run_set *next_replaced; /* guarded by kept->mutex */
    size_t count;
    struct pt_sorted_run *runs[]; /* newest first; a pin on each is owned */
};

struct pt_kept_runs {
    _Atomic(struct pt_run_set *) current; /* NULL: nothing kept yet */
    _Atomic size_t arriving;    /* readers between their load of current and their pin on it */
    _Atomic size_t memory_size; /* bytes: all runs of the buffer that live, the views' own too */
    struct pt_mutex mutex;
    struct pt_run_set *replaced; /* guarded by mutex; each still with the pin of current */
};

void pt_kept_runs_init(struct pt_kept_runs *kept);
void pt_kept_runs_fini(struct pt_kept_runs *kept); /* no pins are left */

/* The current set, pinned; NULL: none. */
struct pt_run_set *pt_kept_runs_pin(struct pt_kept_runs *kept);
void pt_run_set_unpin(struct pt_run_set *set); /* NULL is allowed */

/*
 * Sort what lies between the current set's end and @p end, so that the set covers it. At most
 * @p entry_count_max entries lie before @p end. False: another thread is at it, or no memory.
 */
bool pt_kept_runs_extend(struct pt_kept_runs *kept, const uint8_t *area, uint64_t end,
                         size_t entry_count_max);

#endif

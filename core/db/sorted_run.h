/*
 * A sorted run: references to all puts and deletes in one stretch of a write buffer's area, in key
 * order, every version.
 *
 * Immutable once built and counted by pins, so threads may share it without locking. The area must
 * outlive it.
 */
#ifndef PEAT_CORE_DB_SORTED_RUN_H
#define PEAT_CORE_DB_SORTED_RUN_H

#include "core/base/thread.h"
#include "core/db/reference_sort.h"

struct pt_sorted_run {
    const uint8_t *area;     /* borrowed */
    uint64_t end;            /* offset: its entries lie before it */
    size_t entry_count;      /* in the stretch: references and range deletes */
    size_t count;            /* of references */
    size_t common_size;      /* bytes at the start of all its keys that are the same */
    size_t memory_size;      /* bytes: all of this */
    _Atomic size_t *account; /* borrowed: memory_size is counted there as long as the run lives */
    _Atomic size_t pins;
    struct pt_reference references[];
};

/* Sort the entries at [@p begin, @p end), at most @p count_max. It has one pin, the caller's. NULL: no
 * memory. @p account must outlive it, as the area must. */
struct pt_sorted_run *pt_sorted_run_new(const uint8_t *area, uint64_t begin, uint64_t end,
                                        size_t count_max, _Atomic size_t *account);
/* The two as one, with one pin; both stay. All entries of @p newer lie behind those of @p older.
 * NULL: no memory. */
struct pt_sorted_run *pt_sorted_run_merge(const struct pt_sorted_run *newer,
                                          const struct pt_sorted_run *older);
void pt_sorted_run_pin(struct pt_sorted_run *run);
void pt_sorted_run_unpin(struct pt_sorted_run *run); /* NULL is allowed */

/* Index of the first reference whose key is >= @p key, or > @p key if @p above; count if none. */
size_t pt_sorted_run_bound(const struct pt_sorted_run *run, struct peat_bytes key, bool above);

#endif

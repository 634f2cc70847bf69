/*
 * What is pinned: segments that the current stack does not show, and who holds them all the same.
 */
#ifndef PEAT_CORE_DB_PINNED_H
#define PEAT_CORE_DB_PINNED_H

#include "core/db/db.h"

/* Bytes of regions that only open snapshots and iterators of this process hold. PEAT_NO_MEMORY. */
enum peat_status pt_pinned_by_snapshots(struct peat_db *db, uint64_t *size_out);

/* Bytes of regions that are free after the next checkpoint if the @p width runs @p group of the current
 * stack are replaced, so that @p runs is what it shows: of segments that nobody else holds.
 * PEAT_NO_MEMORY. */
enum peat_status pt_pinned_gain(struct peat_db *db, struct pt_run *const *group, size_t width,
                                struct pt_run *const *runs, size_t run_count, uint64_t *gain_out);

#endif

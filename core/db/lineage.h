/*
 * A lineage: the epochs that a store's history has come through, and where each begins.
 *
 *      position  0 ........ P2 ....... P3 ...
 *      epoch     1          2          3        a record from P2 on, and before P3, is of epoch 2
 *
 *  1. Epochs ascend, and so do their positions: an epoch without a record leaves no trace once the
 *     next begins. So whoever has the same records has the same lineage, but for a last epoch that
 *     has none yet.
 *  2. It is never empty, except in a manifest that is being made: then it says nothing beyond its
 *     log's epoch.
 *  3. It has PEAT_EPOCHS_MAX rows at most. Beyond that the oldest are forgotten: what is before
 *     the first row is told apart by chains alone.
 *
 * A value, copied as a whole; db.h has the store's own, and its lock.
 */
#ifndef PEAT_CORE_DB_LINEAGE_H
#define PEAT_CORE_DB_LINEAGE_H

#include "core/peat.h"
#include "wal/log.h"

struct pt_lineage {
    struct peat_epoch epochs[PEAT_EPOCHS_MAX]; /* oldest first */
    size_t count;
};

/* One epoch, from the beginning on. */
void pt_lineage_begin(struct pt_lineage *lineage, uint64_t epoch);
/* Whether it says no more than that. */
bool pt_lineage_is_plain(const struct pt_lineage *lineage);
/* The newest epoch; 0 of an empty lineage. */
uint64_t pt_lineage_newest(const struct pt_lineage *lineage);
/* The epoch of a record that begins at @p position; 0: that is not known any more. */
uint64_t pt_lineage_at(const struct pt_lineage *lineage, uint64_t position);
/* What comes behind @p point is of @p epoch: begin that, if it is newer than all there are.
 * Whether it was. */
bool pt_lineage_note(struct pt_lineage *lineage, uint64_t epoch, const struct pt_log_point *point);
/* Begin the epochs of @p newer that are newer than all there are. */
void pt_lineage_extend(struct pt_lineage *lineage, const struct pt_lineage *newer);
/* Forget the epochs that begin behind @p point. Where none is left it is of the point's epoch from
 * the beginning on. */
void pt_lineage_cut(struct pt_lineage *lineage, const struct pt_log_point *point);
/* Whether (1) and (3) hold of a lineage that has come to @p log, whose epoch is its newest. */
bool pt_lineage_is_valid(const struct pt_lineage *lineage, const struct pt_log_point *log);

#endif

/*
 * Parting: a follower leaves its history for another one, which has other commits behind some place.
 *
 *      ours    ... C | C+1 ... N            kept under a name, then
 *      theirs  ... C | C+1' ... M'          a state of theirs (seeding.c), or one of ours at C or before it
 *                    the fork
 *
 *  1. What is left must be kept under a name, as the newest state: so no commit is gone, whatever comes after.
 *  2. It shows like any other state in place of what there was (replacement.h), but numbers may go back: commits and
 *     positions behind the fork stand for something else from then on.
 *  3. So nothing that counts in them may outlive it: what is kept of the log goes, feeds with a name are lost,
 *     handles of collections that are not the same in both are as if they had been dropped.
 *  4. No epoch is used twice: those that are left are met ones (promote.c).
 */
#ifndef PEAT_CORE_DB_PARTING_H
#define PEAT_CORE_DB_PARTING_H

#include "core/db/replacement.h"

/* Whether our last record, before @p position, is of another epoch in the history that @p theirs tells of, as far
 * as that is remembered. */
bool pt_has_parted(struct peat_db *db, uint64_t position, const struct pt_lineage *theirs);
/* As a leader, on the merger's thread: the replacement leaves the history that ends at @p end, which must be kept
 * under @p kept_name. PEAT_INVALID: it is not (1). */
enum peat_status pt_part(struct peat_db *db, const struct pt_log_point *end, const char *kept_name,
                         struct pt_replacement *replacement);

#endif

/* A moment: where in the log's history a commit stands. */
#ifndef PEAT_CORE_DB_MOMENT_H
#define PEAT_CORE_DB_MOMENT_H

#include "core/db/db.h"

/*
 * The logical half of the point right behind @p commit, as which @p stack is seen. It is found in the
 * log, which still holds it unless the commit is long in segments, or in a kept state of that commit;
 * else *point_out has commit and epoch alone, and a chain of zeros, which equals no other store's.
 */
void pt_moment_find(struct peat_db *db, const struct pt_stack *stack, uint64_t commit,
                    struct pt_log_point *point_out);

#endif

/* What a follower's store shows and cannot read any more: to be asked for again. */
#ifndef PEAT_CORE_DB_HEALING_H
#define PEAT_CORE_DB_HEALING_H

#include "core/db/held.h"

/* All zeros to begin with; one thread. */
struct pt_healing {
    struct pt_held_segment **damaged; /* owned, pinned: so none is taken for another one */
    size_t count;
};

/*
 * Read all segments of the newest state, each byte anew, and add those that are damaged to @p healing, which is empty. @p callback
 * and @p progress as in peat_seeding_heal(). PEAT_OK; PEAT_DONE: @p progress wanted no more; PEAT_NO_MEMORY.
 */
enum peat_status pt_healing_look(struct peat_db *db,
                                 void (*callback)(void *context,
                                                  const struct peat_finding *finding),
                                 bool (*progress)(void *context, uint64_t done, uint64_t total),
                                 void *context, struct pt_healing *healing);
bool pt_healing_has(const struct pt_healing *healing, const struct pt_held_segment *held);
void pt_healing_fini(struct pt_healing *healing);

#endif

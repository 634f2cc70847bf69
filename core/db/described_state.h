/*
 * A state that another store has described by a manifest, and what is there of its segments.
 *
 *  1. A segment is known by id and digest: what the store has itself, or has been given before, counts as there, whichever
 *     state it was part of.
 *  2. What is damaged here is as if it were not there: so it is healed by being sent again.
 */
#ifndef PEAT_CORE_DB_DESCRIBED_STATE_H
#define PEAT_CORE_DB_DESCRIBED_STATE_H

#include "core/db/healing.h"
#include "core/db/manifest.h"

/* All zeros: there is none. One thread. */
struct pt_described_state {
    uint8_t *block; /* owned; the manifest borrows from it */
    struct pt_manifest manifest;
    struct pt_held_segment **held; /* owned, pinned, by number of the segment; NULL: not there */
};

/* Pin what is there of @p now: in @p db, or given for the state @p before. PEAT_NO_MEMORY, PEAT_IO. */
enum peat_status pt_described_state_match(struct pt_described_state *now, struct peat_db *db,
                                          const struct pt_described_state *before,
                                          const struct pt_healing *healing);
void pt_described_state_free(struct pt_described_state *described);

#endif

/*
 * A segment of another store that comes in pieces, in order, into a region of the file that no manifest names: so a crash
 * leaves nothing of it. Nothing that comes is believed: the whole must verify, and have the digest that was said.
 */
#ifndef PEAT_CORE_DB_PARTIAL_SEGMENT_H
#define PEAT_CORE_DB_PARTIAL_SEGMENT_H

#include "core/db/held.h"
#include "core/db/manifest.h"

/* All zeros: there is none. One thread. */
struct pt_partial_segment {
    uint64_t id;
    struct pt_digest digest;
    struct pt_extent extent; /* owned; size 0: there is none */
    uint64_t written;        /* bytes of it */
};

/* Whether it is a part of @p segment. */
bool pt_partial_segment_is(const struct pt_partial_segment *partial,
                           const struct pt_manifest_segment *segment);
/* Begin with @p segment, instead of what there is. PEAT_NO_SPACE, and what else pt_arena_alloc() fails with. */
enum peat_status pt_partial_segment_begin(struct pt_partial_segment *partial, struct peat_db *db,
                                          const struct pt_manifest_segment *segment);
/* Write what comes next. Fails as pt_file_write(). */
enum peat_status pt_partial_segment_write(struct pt_partial_segment *partial, struct peat_db *db,
                                          struct peat_bytes bytes);
/* All of @p segment has come: verify and sync it. Then there is none any more, also where that fails. PEAT_CORRUPT, PEAT_IO,
 * PEAT_NO_MEMORY. */
enum peat_status pt_partial_segment_finish(struct pt_partial_segment *partial, struct peat_db *db,
                                           const struct pt_manifest_segment *segment,
                                           struct pt_held_segment **held_out);
/* Give its region back. */
void pt_partial_segment_drop(struct pt_partial_segment *partial, struct peat_db *db);

#endif

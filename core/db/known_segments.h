/*
 * Segments that are open already, found by what they are, so that manifests that share them do too.
 *
 * One may be there twice, in two places: a kept state has it, and it came again with a state that was taken (seeding.c), for what that
 * was to replace had it no more, or damaged. Each manifest means the one in the place that it names.
 */
#ifndef PEAT_CORE_DB_KNOWN_SEGMENTS_H
#define PEAT_CORE_DB_KNOWN_SEGMENTS_H

#include "core/db/run.h"

/* All zeros to begin with; one thread. */
struct pt_known_segments {
    /* Owned list; the segments are borrowed from runs. In order. */
    struct pt_held_segment **held;
    size_t count;
    size_t capacity;
};

/* Add the segments of @p runs, which must outlive the list. PEAT_NO_MEMORY. */
enum peat_status pt_known_segments_add(struct pt_known_segments *known, struct pt_run *const *runs,
                                       size_t run_count);
/* The segment of that id and digest that begins at @p offset of the file, borrowed; NULL: it is not known. @p known NULL: none is. */
struct pt_held_segment *pt_known_segments_find_at(const struct pt_known_segments *known,
                                                  uint64_t id, const struct pt_digest *digest,
                                                  uint64_t offset);
/* The same, or another one that is equal. */
struct pt_held_segment *pt_known_segments_find(const struct pt_known_segments *known, uint64_t id,
                                               const struct pt_digest *digest);
void pt_known_segments_fini(struct pt_known_segments *known);

#endif

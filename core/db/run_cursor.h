/*
 * A position in a run, within bounds: walks its slices, and each slice's segment by number.
 *
 * Bounds and slice limits become entry numbers when a slice is entered, so that a step inside a
 * slice compares no keys.
 */
#ifndef PEAT_CORE_DB_RUN_CURSOR_H
#define PEAT_CORE_DB_RUN_CURSOR_H

#include "core/db/run.h"

/* One thread at a time. The run must outlive it. */
struct pt_run_cursor {
    const struct pt_run *run;
    struct peat_bytes low;  /* inclusive; borrowed; data NULL: unbounded */
    struct peat_bytes high; /* exclusive; borrowed; data NULL: unbounded */
    size_t slice;           /* the one it is in; valid while segment is not NULL */
    struct pt_segment *segment;
    uint64_t begin; /* entry numbers of the slice, cut by the bounds: [begin, end) */
    uint64_t end;
    uint64_t ordinal;      /* of the entry under it */
    uint64_t next_offset;  /* bytes: behind the entry under it */
    struct pt_entry entry; /* valid after a call that returned PEAT_OK; DELETEs too */
};

void pt_run_cursor_init(struct pt_run_cursor *cursor, const struct pt_run *run,
                        struct peat_bytes low, struct peat_bytes high);
/* All: PEAT_OK on an entry, PEAT_DONE at the end; PEAT_CORRUPT, PEAT_IO. Next and previous only from
 * an entry. */
enum peat_status pt_run_cursor_first(struct pt_run_cursor *cursor);
enum peat_status pt_run_cursor_last(struct pt_run_cursor *cursor);
enum peat_status pt_run_cursor_seek(struct pt_run_cursor *cursor, struct peat_bytes key);
/* To the last entry <= @p key, or < @p key if @p strictly. */
enum peat_status pt_run_cursor_seek_before(struct pt_run_cursor *cursor, struct peat_bytes key,
                                           bool strictly);
enum peat_status pt_run_cursor_next_slice(struct pt_run_cursor *cursor);
enum peat_status pt_run_cursor_previous(struct pt_run_cursor *cursor);

static inline enum peat_status pt_run_cursor_next(struct pt_run_cursor *cursor)
{
    if (__builtin_expect(cursor->ordinal + 1 >= cursor->end, 0))
        return pt_run_cursor_next_slice(cursor);
    cursor->ordinal++;
    return pt_segment_entry(cursor->segment, cursor->next_offset, &cursor->entry,
                            &cursor->next_offset);
}

#endif

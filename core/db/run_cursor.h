/*
 * A position in a run, within bounds: walks its slices, and each slice's segment by number.
 *
 * Bounds and slice limits become entry numbers when a slice is entered, so that a step inside a
 * slice compares no keys.
 *
 * Where it meets damage it goes on in the segment's rescue (core/segment/rescue.h), until it leaves the
 * slice. Entries that are lost then show as a gap, at its place in the order: see below.
 */
#ifndef PEAT_CORE_DB_RUN_CURSOR_H
#define PEAT_CORE_DB_RUN_CURSOR_H

#include "core/db/run.h"
#include "core/segment/rescue.h"

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
    /* In a rescue begin and end are numbers of readable entries, and so is number. */
    const struct pt_rescue *rescue; /* NULL: no damage was met in the slice */
    uint64_t number;                /* of the entry under it, or of the one behind the gap */
    bool in_gap;
    struct pt_gap gap; /* in_gap: what is lost, within slice and bounds, from where it stands on */
};

void pt_run_cursor_init(struct pt_run_cursor *cursor, const struct pt_run *run,
                        struct peat_bytes low, struct peat_bytes high);
/*
 * All: PEAT_OK on an entry, PEAT_DONE at the end; PEAT_CORRUPT, PEAT_IO, PEAT_NO_MEMORY. Next and
 * previous only from an entry or a gap.
 *
 * PEAT_CORRUPT and PEAT_IO with in_gap: it stands on a gap. Then entry's op is PT_OP_LOST, and its key
 * the gap's end at which the cursor came to it, or PT_OP_LOST_PAST, if that end is open; and next or
 * previous go on: from PT_OP_LOST just past the key, from PT_OP_LOST_PAST to the gap's other side.
 */
enum peat_status pt_run_cursor_first(struct pt_run_cursor *cursor);
enum peat_status pt_run_cursor_last(struct pt_run_cursor *cursor);
enum peat_status pt_run_cursor_seek(struct pt_run_cursor *cursor, struct peat_bytes key);
/* To the last entry <= @p key, or < @p key if @p strictly. */
enum peat_status pt_run_cursor_seek_before(struct pt_run_cursor *cursor, struct peat_bytes key,
                                           bool strictly);
enum peat_status pt_run_cursor_next_slice(struct pt_run_cursor *cursor);
enum peat_status pt_run_cursor_previous(struct pt_run_cursor *cursor);

/* The slow way on: from an entry that could not be read, behind the last entry, or in a rescue. */
enum peat_status pt_run_cursor_next_damaged(struct pt_run_cursor *cursor, enum peat_status status)
    __attribute__((cold));

static inline enum peat_status pt_run_cursor_next(struct pt_run_cursor *cursor)
{
    enum peat_status status;

    if (__builtin_expect(cursor->ordinal + 1 >= cursor->end, 0))
        return pt_run_cursor_next_slice(cursor);
    cursor->ordinal++;
    status = pt_segment_entry(cursor->segment, cursor->next_offset, &cursor->entry,
                              &cursor->next_offset);
    if (__builtin_expect(status < 0, 0))
        return pt_run_cursor_next_damaged(cursor, status);
    return PEAT_OK;
}

#endif

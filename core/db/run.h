/*
 * A run: slices in key order that do not overlap; one logical sorted layer of the stack.
 *
 * A slice is a segment restricted to keys in [low, high). Reads in a run find the one slice that may
 * hold a key, then ask its segment.
 */
#ifndef PEAT_CORE_DB_RUN_H
#define PEAT_CORE_DB_RUN_H

#include "core/db/held.h"

/* Part of a run: immutable. The keys belong to the run. */
struct pt_slice {
    struct pt_held_segment *held; /* pinned by the run */
    struct peat_bytes low;        /* inclusive */
    struct peat_bytes high;       /* exclusive */
    uint64_t size;                /* bytes: its share of the segment, estimated; at least 1 */
    bool whole; /* every entry and range delete of the segment is in [low, high) */
};

/* Immutable but for the count. */
struct pt_run {
    _Atomic uint64_t pins;
    size_t slice_count;     /* at least 1 */
    uint64_t size;          /* bytes: sum of the slices' */
    bool has_ranges;        /* some slice's segment holds range deletes */
    size_t common_size;     /* bytes that the lows of all slices but the first have in common */
    uint64_t *low_prefixes; /* pt_bytes_prefix(low, common_size), searched first; [0] is not used */
    uint8_t *keys;          /* where lows and highs lie */
    struct pt_slice slices[];
};

/*
 * A run of copies of @p slices, of which only held, low and high are looked at (the keys are copied,
 * the segments pinned): ascending and not overlapping, low < high, asserted. size and whole are
 * computed here: each slice is compared with its segment's smallest and largest key, and where it is
 * cut, by its rank. A segment that is damaged there is no failure: it counts in full and as not
 * whole. PEAT_NO_MEMORY.
 */
enum peat_status pt_run_open(const struct pt_slice *slices, size_t slice_count,
                             struct pt_run **run_out);
void pt_run_pin(struct pt_run *run);
void pt_run_unpin(struct pt_run *run); /* NULL is allowed */

/* The number of the first slice with high > @p key: the only one that may hold @p key, if its low is
 * <= @p key, else the next above. slice_count if none. */
size_t pt_run_find(const struct pt_run *run, struct peat_bytes key);

/* What the run says of @p key: PEAT_OK and a PUT or DELETE (also for a range delete), or
 * PEAT_NOT_FOUND: look below. PEAT_CORRUPT, PEAT_IO. */
enum peat_status pt_run_get(const struct pt_run *run, struct peat_bytes key, uint64_t hash,
                            struct pt_entry *entry_out);

/*
 * Whether a range delete of the run covers @p key, and an interval around @p key for which the answer
 * is the same: [low_out, high_out), data NULL: unbounded. It reaches to the next change where @p key
 * is not covered, and at most to the slice's bounds where it is. Borrowed from the run.
 * PEAT_CORRUPT, PEAT_IO.
 */
enum peat_status pt_run_covers(const struct pt_run *run, struct peat_bytes key, bool *covered_out,
                               struct peat_bytes *low_out, struct peat_bytes *high_out);

#endif

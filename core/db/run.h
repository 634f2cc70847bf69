/*
 * A run: slices in key order that do not overlap; one logical sorted layer of the stack.
 *
 * A slice is a segment restricted to keys in [low, high). Reads in a run find the one slice that may
 * hold a key, then ask its segment.
 */
#ifndef PEAT_CORE_DB_RUN_H
#define PEAT_CORE_DB_RUN_H

#include "core/db/held.h"
#include "core/segment/segment_quick.h"

/* Part of a run: immutable. The keys belong to the run. */
struct pt_slice {
    struct pt_held_segment *held; /* pinned by the run */
    struct peat_bytes low;        /* inclusive */
    struct peat_bytes high;       /* exclusive */
    uint64_t size;                /* bytes: its share of the segment, estimated; at least 1 */
    bool whole; /* every entry and range delete of the segment is in [low, high) */
};

/*
 * Which slice the quick get asks, in few instructions. The prefixes are cut into cells of equal width,
 * and each cell knows how many slices begin below it. Keys that are spread evenly leave most cells
 * without a slice's low, and then the cell alone tells; others search among the lows in it. (Random
 * keys in 16 slices: 38 instructions instead of 81, a tenth of what lies between two gets' misses.)
 */
struct pt_run_guide {
    bool usable;    /* one slice; or more, and all lows but the first begin with the same byte */
    uint8_t head;   /* that byte */
    unsigned shift; /* a cell's width is 1 << shift */
    uint64_t first_prefix; /* where cell 0 begins; it takes what is below, too */
    uint64_t cell_count;
    uint64_t *prefixes; /* [slice_count]: pt_bytes_prefix(low, 1), ascending; [0] is not used */
    uint32_t *cells;    /* [cell_count + 1]: how many slices' prefixes but the first's are below */
    struct pt_segment **segments; /* [slice_count]; NULL: the quick get cannot tell */
};

/* Immutable but for the count. */
struct pt_run {
    _Atomic uint64_t pins;
    size_t slice_count;     /* at least 1 */
    uint64_t size;          /* bytes: sum of the slices' */
    bool has_ranges;        /* some slice's segment holds range deletes */
    size_t common_size;     /* bytes that the lows of all slices but the first have in common */
    uint64_t *low_prefixes; /* pt_bytes_prefix(low, common_size), searched first; [0] is not used */
    struct pt_run_guide guide;
    uint8_t *keys; /* where lows and highs lie */
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
/* Whether it has lost something to damage, as far as that was met. */
bool pt_run_damaged(const struct pt_run *run);
void pt_run_pin(struct pt_run *run);
void pt_run_unpin(struct pt_run *run); /* NULL is allowed */

/* The number of the first slice with high > @p key: the only one that may hold @p key, if its low is
 * <= @p key, else the next above. slice_count if none. */
size_t pt_run_find(const struct pt_run *run, struct peat_bytes key);

/* How many of the ascending @p prefixes are below @p prefix. Which way a step goes cannot be
 * predicted, so it is computed, not branched on. */
static inline size_t pt_prefixes_below(const uint64_t *prefixes, size_t count, uint64_t prefix)
{
    const uint64_t *base = prefixes;

    if (count == 0)
        return 0;
    while (count > 1) {
        size_t half = count / 2;
        size_t below = base[half - 1] < prefix;

        __asm__("" : "+r"(below)); /* else the compiler makes a branch of it */
        base += half & (0 - below);
        count -= half;
    }
    return (size_t)(base - prefixes) + (*base < prefix);
}

/*
 * The segment that alone may hold @p key, with a hash index, no range deletes, and nothing outside its
 * slice. NULL: the quick get (core/segment/segment_quick.h) cannot tell, ask pt_run_get().
 */
static PT_ALWAYS_INLINE struct pt_segment *pt_run_quick_segment(const struct pt_run *run,
                                                                const struct pt_quick_key *key)
{
    const struct pt_run_guide *guide = &run->guide;
    uint64_t prefix;
    uint64_t cell;
    size_t below;

    if (run->slice_count == 1)
        return guide->segments[0];
    if (!guide->usable || guide->head != key->head)
        return NULL;
    prefix = pt_read_be64(key->tail.data);
    cell = prefix < guide->first_prefix ? 0 : (prefix - guide->first_prefix) >> guide->shift;
    if (cell >= guide->cell_count)
        cell = guide->cell_count - 1;
    below = guide->cells[cell];
    below += pt_prefixes_below(guide->prefixes + 1 + below, guide->cells[cell + 1] - below, prefix);
    if (below + 1 < run->slice_count && guide->prefixes[below + 1] == prefix)
        return NULL; /* the rest of the key decides */
    return guide->segments[below];
}

/*
 * What pt_run_get() says, where that is quickly known: PEAT_OK and a PUT's value, PEAT_NOT_FOUND for a
 * DELETE, or where it says nothing. PEAT_DONE: it is not.
 */
static PT_ALWAYS_INLINE enum peat_status pt_run_quick_get(const struct pt_run *run,
                                                          const struct pt_quick_key *key,
                                                          struct peat_bytes *value_out)
{
    const struct pt_segment *segment = pt_run_quick_segment(run, key);
    enum peat_status status;
    uint64_t offset;

    if (segment == NULL)
        return PEAT_DONE;
    status = pt_segment_quick_place(segment, pt_segment_quick_bucket(segment, key->hash), key->hash,
                                    &offset);
    if (status != PEAT_OK)
        return status;
    pt_segment_prefetch_rest(segment, offset);
    return pt_segment_quick_value(segment, offset, key, value_out);
}

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

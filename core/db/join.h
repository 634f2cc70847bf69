/*
 * A join: several sorted sources walked as one, in key order, and among equal keys newest first.
 *
 * It shows every source's entry, deletions and overwritten versions too: what to make of them is the
 * caller's matter (an iterator hides them, a merge keeps some). What a run has lost to damage shows at
 * its place as well, as an entry of PT_OP_LOST or PT_OP_LOST_PAST (run_cursor.h): what newer sources say
 * comes before it, and nothing that it may hide is shown unless the caller goes on past it.
 */
#ifndef PEAT_CORE_DB_JOIN_H
#define PEAT_CORE_DB_JOIN_H

#include "core/db/run_cursor.h"

/* One source: a run of a write buffer's view, or a run of segments. */
struct pt_source {
    bool is_buffer;
    unsigned layer; /* which part of the stack it belongs to; 0 is the newest */
    union {
        struct pt_buffer_cursor buffer;
        struct pt_run_cursor run;
    } at;
    struct peat_bytes low; /* bounds; borrowed; data NULL: unbounded */
    struct peat_bytes high;
    const struct pt_entry *entry; /* NULL: at the end */
    uint64_t prefix;              /* of the entry's key, behind what all keys share */
};

/* One thread at a time. Sources are newest first: source 0 wins among equal keys. */
struct pt_join {
    struct pt_source *sources; /* owned */
    uint32_t *losers;          /* owned: the loser tree; [0] is the winner */
    uint32_t count;
    size_t common_size; /* bytes: all keys agree in so many first ones, at least */
    bool backward;
};

/* Room for @p capacity sources; add them, then position. PEAT_NO_MEMORY. */
enum peat_status pt_join_init(struct pt_join *join, size_t capacity, size_t common_size);
void pt_join_fini(struct pt_join *join);
void pt_join_add_buffer(struct pt_join *join, unsigned layer, const struct pt_buffer_view *view,
                        size_t run, struct peat_bytes low, struct peat_bytes high);
void pt_join_add_run(struct pt_join *join, unsigned layer, const struct pt_run *run,
                     struct peat_bytes low, struct peat_bytes high);

/* Position all sources. PEAT_OK (whether or not there is an entry), PEAT_CORRUPT, PEAT_IO. */
enum peat_status pt_join_first(struct pt_join *join);
enum peat_status pt_join_last(struct pt_join *join);
enum peat_status pt_join_seek(struct pt_join *join, struct peat_bytes key, bool strictly);
enum peat_status pt_join_seek_before(struct pt_join *join, struct peat_bytes key, bool strictly);

/* The source that is first now; its entry is NULL when all are at their end. */
static inline struct pt_source *pt_join_top(const struct pt_join *join)
{
    return &join->sources[join->losers[0]];
}

/* Whether the first source stands where it has lost something. */
static inline bool pt_join_at_gap(const struct pt_join *join)
{
    const struct pt_entry *entry = pt_join_top(join)->entry;

    return entry != NULL && entry->op >= PT_OP_LOST;
}

/* There: fail with what has been lost, keys without their first @p skip bytes; *gap_out (may be NULL). */
enum peat_status pt_join_fail(const struct pt_join *join, size_t skip, struct pt_gap *gap_out)
    __attribute__((cold));

/* Move the first source one entry on, in the join's direction. */
enum peat_status pt_join_step(struct pt_join *join);
/* Move the first source to its first entry >= @p key (forward), or its last < @p key (backward). */
enum peat_status pt_join_skip(struct pt_join *join, struct peat_bytes key);
/* Step until the first source's key is another than @p key, or is just past it (PT_OP_LOST_PAST). */
enum peat_status pt_join_pass(struct pt_join *join, struct peat_bytes key);

#endif

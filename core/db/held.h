/*
 * What stacks share: segments in the arena, and write buffers, each counted.
 *
 * A held segment belongs to whoever pins it. When the last pin goes, no stack of this process can
 * reach it any more and no manifest newer than the current generation names it, so its region is
 * retired with the generation that rules then.
 */
#ifndef PEAT_CORE_DB_HELD_H
#define PEAT_CORE_DB_HELD_H

#include "core/arena/arena.h"
#include "core/db/write_buffer.h"
#include "core/segment/segment.h"
#include "wal/log.h"

/* Immutable but for the count. */
struct pt_held_segment {
    _Atomic uint64_t pins;
    struct pt_arena *arena;
    const _Atomic uint64_t *generation; /* the store's durable generation; NULL: retire nothing */
    struct pt_segment *segment;         /* owned */
    struct pt_extent extent;
    struct pt_segment_summary summary;
    uint64_t id;
};

/*
 * Open the segment @p id in @p extent and hold it once. @p generation as in the struct. @p damaged:
 * what can be opened of a damaged one (pt_segment_open_damaged()). PEAT_CORRUPT, PEAT_IO,
 * PEAT_NO_MEMORY; the region is the caller's then.
 */
enum peat_status pt_held_segment_open(struct pt_arena *arena, const struct pt_id *store_id,
                                      uint64_t id, struct pt_extent extent,
                                      const struct pt_segment_summary *summary, bool damaged,
                                      const _Atomic uint64_t *generation,
                                      struct pt_held_segment **held_out);
/* Hold a segment that cannot be opened, for the reason @p why (pt_segment_open_lost()): its region stays
 * what it is, and reading it fails. PEAT_NO_MEMORY. */
enum peat_status pt_held_segment_open_lost(struct pt_arena *arena, const struct pt_id *store_id,
                                           uint64_t id, struct pt_extent extent,
                                           const struct pt_segment_summary *summary,
                                           enum peat_status why, const _Atomic uint64_t *generation,
                                           struct pt_held_segment **held_out);
/* Below 0, 0 or above 0: by id, then digest. An id alone does not tell what a segment is: a follower that was given
 * its primary's segments may have had others of the same ids. */
int pt_held_segment_order(const struct pt_held_segment *a, const struct pt_held_segment *b);
void pt_held_segment_pin(struct pt_held_segment *held);
void pt_held_segment_unpin(struct pt_held_segment *held); /* NULL is allowed */

/* Immutable but for the count, and what the write buffer itself allows. */
struct pt_held_buffer {
    _Atomic uint64_t pins;
    struct pt_write_buffer *buffer;  /* owned */
    struct pt_log_point start;       /* the log from here on holds the buffer's commits and newer */
    _Atomic uint64_t *memory_size;   /* the store's account of buffers' memory */
    _Atomic uint64_t memory_counted; /* bytes of it that are this buffer's */
};

enum peat_status pt_held_buffer_open(size_t capacity, size_t index_hint, uint64_t hash_seed,
                                     const struct pt_log_point *start,
                                     _Atomic uint64_t *memory_size,
                                     struct pt_held_buffer **held_out);
void pt_held_buffer_pin(struct pt_held_buffer *held);
void pt_held_buffer_unpin(struct pt_held_buffer *held); /* NULL is allowed */
/* Bring the store's account up to date. Any thread. */
void pt_held_buffer_account(struct pt_held_buffer *held);

#endif

/*
 * What the parts of the arena share: arena.c (the file, retiring, giving back), arena_space.c (what may be
 * allocated, and where) and arena_reserve.c (the reserve).
 */
#ifndef PEAT_CORE_ARENA_ARENA_PARTS_H
#define PEAT_CORE_ARENA_ARENA_PARTS_H

#include "core/arena/arena.h"
#include "core/arena/free_space.h"
#include "core/base/file.h"
#include "core/base/thread.h"

/* A region that waits for rule 3. */
struct pt_retired_region {
    struct pt_extent extent;
    uint64_t generation; /* the first that no longer names it */
    bool has_holes;      /* it must be allocated before it is used again */
};

/* A generation held against reuse by the writer, in a read-only arena. */
struct pt_held_generation {
    uint64_t generation;
    size_t count; /* how often it was asked for; at least 1 */
};

struct pt_arena {
    /* Immutable once opened. */
    struct pt_file *file; /* owned */
    uint8_t *base;        /* owned: reserved_size bytes of address space */
    uint64_t reserved_size;
    uint64_t opened_generation; /* what ruled on disk at open; 0: nothing did */
    uint64_t opened_size;       /* bytes: file_size at open */
    uint64_t file_size_max;     /* bytes: what regions for ordinary use may make of it; 0: any */
    uint64_t overdraft_size;    /* bytes it may grow beyond that for what gives space back */
    bool writable;

    struct pt_mutex mutex; /* guards all that follows */
    /* Bytes that regions may occupy; writable: a multiple of PT_REGION_UNIT. */
    uint64_t file_size;
    uint64_t settled_size; /* bytes: what the size on disk is at least */
    uint64_t growth_count; /* how often the file has grown */
    uint64_t mapped_size;  /* bytes from base; never shrinks */
    bool claims_ended;     /* what was not claimed is free, or retired */
    bool claims_doubtful;  /* what was not claimed may be named by the opened generation */
    struct pt_free_space free_space;
    uint64_t freed_count;         /* how often anything was added to it */
    struct pt_free_space reserve; /* of space with blocks, that is in no other list */
    uint64_t searched_count; /* what freed_count was when blocks were last searched for in vain */
    bool searched;           /* they ever were */
    bool is_short;           /* the last wish for ordinary space or the reserve was refused */
    struct pt_retired_region *retired; /* in no order; owned */
    size_t retired_count;
    size_t retired_capacity;
    uint64_t retired_size;           /* bytes */
    uint64_t reclaimed_generation;   /* what was durable at the last reclaim */
    struct pt_held_generation *held; /* in no order; owned */
    size_t held_count;
    size_t held_capacity;
};

static inline bool pt_is_region(struct pt_extent extent)
{
    return extent.offset % PT_REGION_UNIT == 0 && extent.offset >= PT_ARENA_START &&
           extent.size % PT_REGION_UNIT == 0 && extent.size > 0 &&
           extent.size <= UINT64_MAX - extent.offset;
}

/* ---- arena.c ---- */

/* Map the file up to @p size, in whole units. */
enum peat_status pt_arena_map_to_locked(struct pt_arena *arena, uint64_t size)
    PT_REQUIRES(arena->mutex);
/* Before the first change after open: what was not claimed is free, or retired. */
void pt_arena_end_claims_locked(struct pt_arena *arena) PT_REQUIRES(arena->mutex);
/* Where pt_arena_take() would find @p size bytes within the file; false: nowhere. */
bool pt_arena_find_inside_locked(struct pt_arena *arena, uint64_t size, uint64_t *offset_out)
    PT_REQUIRES(arena->mutex);
/* Note @p extent as free. If there is no room to note it, it is lost until the next open. */
void pt_arena_free_locked(struct pt_arena *arena, struct pt_extent extent, bool has_blocks,
                          bool has_holes) PT_REQUIRES(arena->mutex);

/* ---- arena_space.c ---- */

/* What space is wanted for. */
enum pt_space_use {
    PT_SPACE_ORDINARY,
    PT_SPACE_BRIEF,    /* ordinary, and free again soon */
    PT_SPACE_INSIDE,   /* ordinary, and not worth growing for: PEAT_NOT_FOUND */
    PT_SPACE_OVERDRAFT /* what gives space back: a file larger than file_size_max may grow for it */
};

/* Bytes of a file that this process may write to. */
uint64_t pt_arena_writable_size(void);
/* Whether the file may become so large for @p use. */
bool pt_arena_may_end_at(const struct pt_arena *arena, uint64_t end, enum pt_space_use use);
/* Take @p size bytes (a multiple of PT_REGION_UNIT) with blocks, but not from the reserve. As
 * pt_arena_alloc(). */
enum peat_status pt_arena_take(struct pt_arena *arena, uint64_t size, enum pt_space_use use,
                               struct pt_extent *extent_out);

#endif

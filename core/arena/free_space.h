/*
 * Free space: the extents of the file that nothing uses, sorted by offset, neighbours joined.
 *
 * Not safe for several threads: the arena's mutex guards it.
 */
#ifndef PEAT_CORE_ARENA_FREE_SPACE_H
#define PEAT_CORE_ARENA_FREE_SPACE_H

#include "core/base/status.h"

enum { PT_FREE_EXTENT_COUNT_MAX = 65536 }; /* 1.5 MiB of memory */

/* Some of an extent may have disk blocks and some not: both may be true of joined ones, and both
 * are of space whose past is not known. */
struct pt_free_extent {
    uint64_t offset; /* bytes in the file */
    uint64_t size;   /* bytes; above 0 */
    bool has_blocks; /* there may be something to punch */
    bool has_holes;  /* it must be allocated before it is used */
};

struct pt_free_space {
    struct pt_free_extent *extents; /* sorted, disjoint, never touching; owned */
    size_t count;
    size_t capacity;
    uint64_t size; /* bytes: of all extents */
};

void pt_free_space_init(struct pt_free_space *space);
void pt_free_space_fini(struct pt_free_space *space);

/* Add @p extent, which must not overlap what is free already. False: there is no room to note it,
 * and it is lost until the store is opened again. */
bool pt_free_space_add(struct pt_free_space *space, struct pt_free_extent extent);

/* Take [offset, offset + size) out. PEAT_NOT_FOUND: not all of it is free, nothing was taken.
 * *taken_out (may be NULL): it, with what is known of its blocks. PEAT_NO_MEMORY. */
enum peat_status pt_free_space_take(struct pt_free_space *space, uint64_t offset, uint64_t size,
                                    struct pt_free_extent *taken_out);

/* The lowest offset that is a multiple of @p alignment (a power of 2) and has @p size free bytes
 * behind it, in an extent less than twice as large if there is one; @p without_holes: in an extent
 * that surely has blocks. False: there is none. */
bool pt_free_space_find(const struct pt_free_space *space, uint64_t size, uint64_t alignment,
                        bool without_holes, uint64_t *offset_out);

/* The highest offset that has @p size free bytes behind it; as above. */
bool pt_free_space_find_last(const struct pt_free_space *space, uint64_t size, bool without_holes,
                             uint64_t *offset_out);

/* The first extent that ends above @p offset; NULL if none. Valid until the next change. */
const struct pt_free_extent *pt_free_space_next(const struct pt_free_space *space, uint64_t offset);

/* Where the free space that ends at @p end begins; @p end if there is none. */
uint64_t pt_free_space_tail(const struct pt_free_space *space, uint64_t end);

#endif

/*
 * The reserve: free space with blocks that nobody gets but who gives space back.
 *
 * It is in no other list: not free, so that ordinary allocations cannot take it, and trim does not punch
 * it. It grows by pieces, and may lie in several, since what is full cannot be asked for one large piece.
 *
 * On disk nothing tells of it. Who opens a store on a full disk finds free space of which some has blocks and
 * some has none: asked to allocate a piece that has them, the file system has nothing to do, and does
 * not fail. So blocks are searched for by asking (gather_unknown()).
 */
#include "core/arena/arena_parts.h"

#include "core/base/endian.h"

enum {
    SEARCHES_MAX = 1048576, /* pieces asked for in one search: about a second */
    SHORT_SIZE = 1048576    /* bytes below a bound that count as hardly any */
};

static void add_locked(struct pt_arena *arena, struct pt_extent extent) PT_REQUIRES(arena->mutex)
{
    struct pt_free_extent piece = {
        .offset = extent.offset, .size = extent.size, .has_blocks = true, .has_holes = false};

    PT_ASSERT(pt_is_region(extent) && extent.offset + extent.size <= arena->file_size);
    (void)pt_free_space_add(&arena->reserve,
                            piece); /* what cannot be noted is lost until reopened */
}

/* The largest of @p space, with blocks for sure; NULL: there is none. */
static const struct pt_free_extent *largest(const struct pt_free_space *space)
{
    const struct pt_free_extent *best = NULL;

    for (size_t i = 0; i < space->count; i++)
        if (!space->extents[i].has_holes && (best == NULL || space->extents[i].size > best->size))
            best = &space->extents[i];
    return best;
}

/* ---- Filling ---- */

/* Ordinary space, in one piece or in smaller ones. */
static enum peat_status fill_from_space(struct pt_arena *arena, uint64_t wanted)
{
    uint64_t piece = wanted;
    enum peat_status status = PEAT_OK;

    while (wanted > 0) {
        struct pt_extent extent;

        status = pt_arena_take(arena, piece, PT_SPACE_BRIEF, &extent);
        if (status == PEAT_OK) {
            pt_mutex_lock(&arena->mutex);
            add_locked(arena, extent);
            pt_mutex_unlock(&arena->mutex);
            wanted -= piece;
            piece = piece < wanted ? piece : wanted;
        } else if (status == PEAT_NO_SPACE && piece > PT_REGION_UNIT) {
            piece = pt_round_up(piece / 2, PT_REGION_UNIT);
        } else {
            break;
        }
    }
    return status;
}

/* Free space that has its blocks for sure, until the reserve has @p size bytes. */
static void gather_known_locked(struct pt_arena *arena, uint64_t size) PT_REQUIRES(arena->mutex)
{
    const struct pt_free_extent *extent;

    while (arena->reserve.size < size && (extent = largest(&arena->free_space)) != NULL) {
        uint64_t missing = size - arena->reserve.size;
        struct pt_extent piece = {extent->offset, missing < extent->size ? missing : extent->size};

        if (piece.offset + piece.size > pt_arena_writable_size() ||
            pt_free_space_take(&arena->free_space, piece.offset, piece.size, NULL) != PEAT_OK)
            return;
        add_locked(arena, piece);
    }
}

/* Search @p extent, which was taken out of the free space, for blocks. What has none is free again. */
static void search(struct pt_arena *arena, struct pt_extent extent, size_t *searches)
{
    uint64_t end = extent.offset + extent.size;
    uint64_t piece = extent.size;

    while (extent.offset < end) {
        struct pt_extent part = {extent.offset, piece};
        enum peat_status status = PEAT_NO_SPACE;

        if (++*searches <= SEARCHES_MAX)
            status = pt_file_allocate(arena->file, part.offset, part.size);
        if (status == PEAT_NO_SPACE && piece > PT_REGION_UNIT && *searches <= SEARCHES_MAX) {
            piece = pt_round_up(piece / 2, PT_REGION_UNIT);
            continue;
        }
        pt_mutex_lock(&arena->mutex);
        if (status == PEAT_OK)
            add_locked(arena, part);
        else
            pt_arena_free_locked(arena, part, true, true);
        pt_mutex_unlock(&arena->mutex);
        extent.offset += part.size;
        if (status == PEAT_OK)
            piece *= 2;
        if (piece > end - extent.offset)
            piece = end - extent.offset;
    }
}

/* Free space that may have blocks and may have none. In vain once, it is tried again when something else
 * has become free. */
static void gather_unknown(struct pt_arena *arena, uint64_t size)
{
    uint64_t cursor = 0;
    size_t searches = 0;

    pt_mutex_lock(&arena->mutex);
    if (arena->searched && arena->searched_count == arena->freed_count)
        size = 0;
    arena->searched = true;
    arena->searched_count = arena->freed_count;
    while (arena->reserve.size < size && searches <= SEARCHES_MAX) {
        const struct pt_free_extent *next = pt_free_space_next(&arena->free_space, cursor);
        uint64_t missing = size - arena->reserve.size;
        struct pt_extent extent;

        if (next == NULL || next->offset >= pt_arena_writable_size())
            break;
        extent.offset = next->offset > cursor ? next->offset : cursor;
        extent.size = next->offset + next->size - extent.offset;
        if (extent.size > missing)
            extent.size = missing;
        cursor = extent.offset + extent.size;
        if (!next->has_blocks || cursor > pt_arena_writable_size() ||
            pt_free_space_take(&arena->free_space, extent.offset, extent.size, NULL) != PEAT_OK)
            continue;
        pt_mutex_unlock(&arena->mutex);
        search(arena, extent, &searches);
        pt_mutex_lock(&arena->mutex);
    }
    pt_mutex_unlock(&arena->mutex);
}

enum peat_status pt_arena_reserve_fill(struct pt_arena *arena, uint64_t size)
{
    enum peat_status status = PEAT_OK;
    uint64_t size_before = pt_arena_reserve_size(arena);

    size = pt_round_up(size, PT_REGION_UNIT);
    if (size_before >= size)
        return PEAT_OK;
    status = fill_from_space(arena, size - size_before);
    if (status == PEAT_NO_SPACE) {
        pt_mutex_lock(&arena->mutex);
        gather_known_locked(arena, size);
        pt_mutex_unlock(&arena->mutex);
        gather_unknown(arena, size);
        if (pt_arena_reserve_size(arena) >= size)
            status = PEAT_OK;
    }
    pt_mutex_lock(&arena->mutex);
    if (status == PEAT_OK || status == PEAT_NO_SPACE)
        arena->is_short = status == PEAT_NO_SPACE;
    pt_mutex_unlock(&arena->mutex);
    return status;
}

/* ---- Drawing ---- */

/* A place for at most @p size bytes, at least @p size_min; false: there is none. */
static bool find_locked(struct pt_arena *arena, uint64_t size, uint64_t size_min,
                        uint64_t keep_size, struct pt_extent *extent_out) PT_REQUIRES(arena->mutex)
{
    const struct pt_free_space *reserve = &arena->reserve;
    uint64_t left = reserve->size > keep_size ? reserve->size - keep_size : 0;
    const struct pt_free_extent *best = largest(reserve);

    if (size > left)
        size = pt_round_down(left, PT_REGION_UNIT);
    if (best == NULL || size < size_min)
        return false;
    extent_out->size = size;
    if (pt_free_space_find(reserve, size, PT_REGION_UNIT, true, &extent_out->offset))
        return true;
    *extent_out = (struct pt_extent){best->offset, best->size};
    return best->size >= size_min;
}

static bool draw(struct pt_arena *arena, uint64_t size, uint64_t size_min, uint64_t keep_size,
                 struct pt_extent *extent_out)
{
    bool found;

    pt_mutex_lock(&arena->mutex);
    found =
        find_locked(arena, size, size_min, keep_size, extent_out) &&
        pt_free_space_take(&arena->reserve, extent_out->offset, extent_out->size, NULL) == PEAT_OK;
    arena->is_short = arena->is_short || found;
    pt_mutex_unlock(&arena->mutex);
    return found;
}

enum peat_status pt_arena_alloc_reserved(struct pt_arena *arena, uint64_t size, uint64_t size_min,
                                         uint64_t keep_size, struct pt_extent *extent_out,
                                         uint64_t *drawn_out)
{
    enum peat_status status;

    PT_ASSERT(size >= size_min && size_min > 0);
    size = pt_round_up(size, PT_REGION_UNIT);
    size_min = pt_round_up(size_min, PT_REGION_UNIT);
    status = pt_arena_take(arena, size, PT_SPACE_OVERDRAFT, extent_out);
    if (status != PEAT_NO_SPACE)
        return status;
    /* What is asked for once the reserve has come to its end may be there without being known. */
    if (!draw(arena, size, size_min, keep_size, extent_out)) {
        (void)pt_arena_reserve_fill(arena, keep_size + size);
        if (!draw(arena, size, size_min, keep_size, extent_out))
            return status;
    }
    if (drawn_out != NULL)
        *drawn_out += extent_out->size;
    return PEAT_OK;
}

void pt_arena_release_reserved(struct pt_arena *arena, struct pt_extent extent)
{
    pt_mutex_lock(&arena->mutex);
    add_locked(arena, extent);
    pt_mutex_unlock(&arena->mutex);
}

bool pt_arena_reserve_has(struct pt_arena *arena, uint64_t size, uint64_t keep_size)
{
    struct pt_extent extent;
    bool found;

    size = pt_round_up(size, PT_REGION_UNIT);
    pt_mutex_lock(&arena->mutex);
    found = find_locked(arena, size, size, keep_size, &extent);
    pt_mutex_unlock(&arena->mutex);
    return found;
}

/* ---- Giving back ---- */

void pt_arena_reserve_cut(struct pt_arena *arena, uint64_t size)
{
    struct pt_free_space *reserve = &arena->reserve;

    size = pt_round_up(size, PT_REGION_UNIT);
    pt_mutex_lock(&arena->mutex);
    while (reserve->size > size) {
        const struct pt_free_extent *last = &reserve->extents[reserve->count - 1];
        uint64_t beyond = reserve->size - size;
        struct pt_extent piece = {last->offset, last->size};

        if (piece.size > beyond)
            piece = (struct pt_extent){last->offset + last->size - beyond, beyond};
        PT_ASSERT(pt_free_space_take(reserve, piece.offset, piece.size, NULL) == PEAT_OK);
        pt_arena_free_locked(arena, piece, true, false);
    }
    pt_mutex_unlock(&arena->mutex);
}

void pt_arena_reserve_settle(struct pt_arena *arena)
{
    struct pt_free_space *reserve = &arena->reserve;
    struct pt_extent extent;
    uint64_t offset = 0;
    uint64_t lower = 0;
    uint64_t size;
    bool settled;

    pt_mutex_lock(&arena->mutex);
    size = reserve->size;
    if (reserve->count > 0)
        offset = reserve->extents[reserve->count - 1].offset;
    /* Asked first: to take a place gives it blocks, and this is called at each rest. */
    settled = size == 0 || !pt_arena_find_inside_locked(arena, size, &lower) || lower >= offset;
    pt_mutex_unlock(&arena->mutex);
    if (settled || pt_arena_take(arena, size, PT_SPACE_INSIDE, &extent) != PEAT_OK)
        return;
    if (extent.offset < offset)
        pt_arena_reserve_cut(arena, 0);
    pt_mutex_lock(&arena->mutex);
    if (extent.offset < offset)
        add_locked(arena, extent);
    else
        pt_arena_free_locked(arena, extent, true, false);
    pt_mutex_unlock(&arena->mutex);
}

uint64_t pt_arena_reserve_size(struct pt_arena *arena)
{
    uint64_t size;

    pt_mutex_lock(&arena->mutex);
    size = arena->reserve.size;
    pt_mutex_unlock(&arena->mutex);
    return size;
}

bool pt_arena_is_short(struct pt_arena *arena)
{
    bool is_short;

    pt_mutex_lock(&arena->mutex);
    is_short = arena->is_short ||
               !pt_arena_may_end_at(arena, arena->file_size + SHORT_SIZE, PT_SPACE_ORDINARY);
    pt_mutex_unlock(&arena->mutex);
    return is_short;
}

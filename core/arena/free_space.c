#include "core/arena/free_space.h"

#include "core/base/alloc.h"
#include "core/base/endian.h"

enum {
    CAPACITY_MIN = 16,
    CLOSE_FIT =
        2 /* an extent of less than so many times what is wanted is taken before larger ones */
};

static uint64_t end_of(const struct pt_free_extent *extent)
{
    return extent->offset + extent->size;
}

void pt_free_space_init(struct pt_free_space *space)
{
    memset(space, 0, sizeof(*space));
}

void pt_free_space_fini(struct pt_free_space *space)
{
    pt_free(space->extents);
    pt_free_space_init(space);
}

/* The index of the first extent that ends above @p offset; count if none. */
static size_t index_of(const struct pt_free_space *space, uint64_t offset)
{
    size_t low = 0;
    size_t high = space->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (end_of(&space->extents[middle]) <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool make_room(struct pt_free_space *space)
{
    size_t capacity = space->capacity == 0 ? CAPACITY_MIN : space->capacity * 2;
    struct pt_free_extent *extents;

    if (space->count < space->capacity)
        return true;
    if (space->count >= PT_FREE_EXTENT_COUNT_MAX)
        return false;
    extents = pt_realloc(space->extents, capacity * sizeof(*extents));
    if (extents == NULL)
        return false;
    space->extents = extents;
    space->capacity = capacity;
    return true;
}

static bool insert_at(struct pt_free_space *space, size_t index, struct pt_free_extent extent)
{
    PT_ASSERT(index <= space->count);
    if (!make_room(space))
        return false;
    memmove(space->extents + index + 1, space->extents + index,
            (space->count - index) * sizeof(*space->extents));
    space->extents[index] = extent;
    space->count++;
    return true;
}

static void remove_at(struct pt_free_space *space, size_t index)
{
    PT_ASSERT(index < space->count);
    space->count--;
    memmove(space->extents + index, space->extents + index + 1,
            (space->count - index) * sizeof(*space->extents));
}

/* Widen @p extent by @p neighbour, which touches it. */
static void join(struct pt_free_extent *extent, const struct pt_free_extent *neighbour)
{
    PT_ASSERT(end_of(extent) == neighbour->offset || end_of(neighbour) == extent->offset);
    if (neighbour->offset < extent->offset)
        extent->offset = neighbour->offset;
    extent->size += neighbour->size;
    extent->has_blocks = extent->has_blocks || neighbour->has_blocks;
    extent->has_holes = extent->has_holes || neighbour->has_holes;
}

bool pt_free_space_add(struct pt_free_space *space, struct pt_free_extent extent)
{
    size_t index = index_of(space, extent.offset);
    struct pt_free_extent *above = index < space->count ? &space->extents[index] : NULL;
    struct pt_free_extent *below = index > 0 ? &space->extents[index - 1] : NULL;
    uint64_t size = extent.size;

    PT_ASSERT(size > 0);
    if (above != NULL)
        PT_ASSERT(end_of(&extent) <= above->offset); /* otherwise it was freed twice */
    if (above != NULL && end_of(&extent) != above->offset)
        above = NULL; /* not touching: nothing to join */
    if (below != NULL && end_of(below) != extent.offset)
        below = NULL;

    if (below == NULL && above == NULL) {
        if (!insert_at(space, index, extent))
            return false;
    } else if (below == NULL) {
        join(above, &extent);
    } else {
        join(below, &extent);
        if (above != NULL) {
            join(below, above);
            remove_at(space, index);
        }
    }
    space->size += size;
    return true;
}

enum peat_status pt_free_space_take(struct pt_free_space *space, uint64_t offset, uint64_t size,
                                    struct pt_free_extent *taken_out)
{
    size_t index = index_of(space, offset);
    struct pt_free_extent *extent;
    struct pt_free_extent above; /* what remains behind the range */

    PT_ASSERT(size > 0);
    if (index == space->count)
        return PEAT_NOT_FOUND;
    extent = &space->extents[index];
    if (extent->offset > offset || size > end_of(extent) - offset)
        return PEAT_NOT_FOUND;
    above = *extent;
    above.offset = offset + size;
    above.size = end_of(extent) - above.offset;
    if (taken_out != NULL)
        *taken_out = (struct pt_free_extent){offset, size, extent->has_blocks, extent->has_holes};

    if (extent->offset == offset && above.size == 0) {
        remove_at(space, index);
    } else if (extent->offset == offset) {
        *extent = above;
    } else {
        if (above.size > 0 && !insert_at(space, index + 1, above))
            return pt_fail(PEAT_NO_MEMORY, "list of free space");
        extent = &space->extents[index]; /* it may have moved */
        extent->size = offset - extent->offset;
    }
    space->size -= size;
    return PEAT_OK;
}

bool pt_free_space_find(const struct pt_free_space *space, uint64_t size, uint64_t alignment,
                        bool without_holes, uint64_t *offset_out)
{
    bool found = false;

    for (size_t i = 0; i < space->count; i++) {
        const struct pt_free_extent *extent = &space->extents[i];
        uint64_t offset = pt_round_up(extent->offset, alignment);
        bool is_close = extent->size / CLOSE_FIT < size;

        if ((without_holes && extent->has_holes) || (found && !is_close))
            continue;
        if (offset < end_of(extent) && end_of(extent) - offset >= size) {
            *offset_out = offset;
            found = true;
            if (is_close)
                break;
        }
    }
    return found;
}

bool pt_free_space_find_last(const struct pt_free_space *space, uint64_t size, bool without_holes,
                             uint64_t *offset_out)
{
    for (size_t i = space->count; i > 0; i--) {
        const struct pt_free_extent *extent = &space->extents[i - 1];

        if ((without_holes && extent->has_holes) || extent->size < size)
            continue;
        *offset_out = end_of(extent) - size;
        return true;
    }
    return false;
}

const struct pt_free_extent *pt_free_space_next(const struct pt_free_space *space, uint64_t offset)
{
    size_t index = index_of(space, offset);

    return index < space->count ? &space->extents[index] : NULL;
}

uint64_t pt_free_space_tail(const struct pt_free_space *space, uint64_t end)
{
    const struct pt_free_extent *last;

    if (space->count == 0)
        return end;
    last = &space->extents[space->count - 1];
    PT_ASSERT(end_of(last) <= end);
    return end_of(last) == end ? last->offset : end;
}

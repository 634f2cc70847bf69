/*
 * What may be allocated, and where.
 *
 *  1. Free space inside the file first, then growth. Where the file ends is bounded by the address space
 *     reserved, by file_size_max and by the process's RLIMIT_FSIZE, beyond which the kernel would send
 *     a signal: of that all regions keep clear, also in a file that is larger already.
 *  2. A region that is handed out has blocks: so a full disk is a status here, and no store to a
 *     mapping meets it later.
 */
#include "core/arena/arena_parts.h"

#include "core/base/endian.h"

#include <inttypes.h>
#include <sys/resource.h>

enum {
    GROW_FROM_SIZE = 16777216, /* bytes: a smaller file grows by just what is asked for */
    GROW_SHARE = 16,           /* a larger one by at least 1/16 of itself, */
    GROW_SIZE_MAX = 67108864,  /* bytes: but for no more than this */
    /* Regions of segments: written in pieces of 2 MiB at such offsets, the page cache holds them in
     * huge pages, and the first touch of each maps all of it. */
    LARGE_SIZE_MIN = 8388608, /* bytes */
    LARGE_ALIGN = 2097152     /* bytes */
};

/* ---- Bounds ---- */

uint64_t pt_arena_writable_size(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

/* How large the file may become for @p use, by file_size_max. */
static uint64_t quota(const struct pt_arena *arena, enum pt_space_use use)
{
    if (arena->file_size_max == 0)
        return UINT64_MAX;
    return arena->file_size_max + (use == PT_SPACE_OVERDRAFT ? arena->overdraft_size : 0);
}

/* Whether the file may end at @p end; the words name what stands against it, and what helps. */
static enum peat_status check_end(const struct pt_arena *arena, uint64_t end, enum pt_space_use use)
{
    const char *name = pt_file_name(arena->file);

    if (end > arena->reserved_size)
        return pt_fail(PEAT_NO_SPACE,
                       "%s cannot grow to %" PRIu64 " bytes: the address space reserved for it is "
                       "%" PRIu64,
                       name, end, arena->reserved_size);
    if (end > quota(arena, use))
        return pt_fail(PEAT_NO_SPACE,
                       "%s cannot grow to %" PRIu64 " bytes: file_size_max is %" PRIu64
                       "; delete something, or open it with more",
                       name, end, arena->file_size_max);
    if (end > pt_arena_writable_size())
        return pt_fail(PEAT_NO_SPACE,
                       "%s cannot grow to %" PRIu64 " bytes: this process may write files of "
                       "%" PRIu64
                       " only (RLIMIT_FSIZE, ulimit -f); delete something, or raise that",
                       name, end, pt_arena_writable_size());
    return PEAT_OK;
}

bool pt_arena_may_end_at(const struct pt_arena *arena, uint64_t end, enum pt_space_use use)
{
    return end <= arena->reserved_size && end <= quota(arena, use) &&
           end <= pt_arena_writable_size();
}

uint64_t pt_arena_used_size(struct pt_arena *arena)
{
    uint64_t size;

    pt_mutex_lock(&arena->mutex);
    size = arena->file_size - arena->free_space.size - arena->reserve.size;
    pt_mutex_unlock(&arena->mutex);
    return size;
}

uint64_t pt_arena_room(struct pt_arena *arena)
{
    uint64_t end_max = pt_arena_writable_size();
    uint64_t disk_size;
    uint64_t size;

    if (end_max > arena->reserved_size)
        end_max = arena->reserved_size;
    if (end_max > quota(arena, PT_SPACE_ORDINARY))
        end_max = quota(arena, PT_SPACE_ORDINARY);
    if (pt_file_room(arena->file, &disk_size) < 0)
        disk_size = UINT64_MAX;
    pt_mutex_lock(&arena->mutex);
    size = end_max > arena->file_size ? end_max - arena->file_size : 0;
    if (size > disk_size)
        size = disk_size;
    size += arena->free_space.size;
    pt_mutex_unlock(&arena->mutex);
    return size;
}

/* ---- Allocation ---- */

/*
 * Make the file end at @p end, with blocks from @p start on; the space that is new is free then.
 * After a failure the file is as large as before.
 */
static enum peat_status grow_locked(struct pt_arena *arena, uint64_t start, uint64_t end,
                                    enum pt_space_use use) PT_REQUIRES(arena->mutex)
{
    uint64_t before = arena->file_size;
    struct pt_free_extent grown = {
        .offset = before, .size = end - before, .has_blocks = true, .has_holes = start > before};
    enum peat_status status;

    PT_ASSERT(end > before && end % PT_REGION_UNIT == 0);
    status = check_end(arena, end, use);
    if (status < 0)
        return status;
    status = pt_file_allocate(arena->file, start, end - start);
    if (status >= 0)
        status = pt_arena_map_to_locked(arena, end);
    if (status >= 0 && !pt_free_space_add(&arena->free_space, grown))
        status = pt_fail(PEAT_NO_MEMORY, "list of free space");
    if (status < 0) {
        (void)pt_file_truncate(arena->file, before); /* the first error counts */
        return status;
    }
    arena->file_size = end;
    arena->growth_count++;
    return PEAT_OK;
}

/* How far a file that must reach @p end_min should grow at once. */
static uint64_t generous_end(const struct pt_arena *arena, uint64_t end_min, enum pt_space_use use)
    PT_REQUIRES(arena->mutex)
{
    uint64_t step = pt_round_up(arena->file_size / GROW_SHARE, PT_MAP_UNIT);

    if (arena->file_size <= GROW_FROM_SIZE)
        return end_min;
    if (step > GROW_SIZE_MAX)
        step = GROW_SIZE_MAX;
    if (!pt_arena_may_end_at(arena, arena->file_size + step, use))
        return end_min;
    return end_min > arena->file_size + step ? end_min : arena->file_size + step;
}

/* Take @p size bytes at the end of the file, which has to grow for that: to where a multiple of
 * @p alignment and then a generous end allow, else just as far as it must. */
static enum peat_status take_at_end_locked(struct pt_arena *arena, uint64_t size,
                                           uint64_t alignment, enum pt_space_use use,
                                           struct pt_free_extent *taken_out)
    PT_REQUIRES(arena->mutex)
{
    uint64_t tail = pt_free_space_tail(&arena->free_space, arena->file_size);
    uint64_t start = pt_round_up(tail, alignment);
    uint64_t generous = generous_end(arena, start + size, use);
    enum peat_status status = grow_locked(arena, start, generous, use);

    if (status == PEAT_NO_SPACE && generous > tail + size) {
        start = tail;
        status = grow_locked(arena, start, start + size, use);
    }
    if (status >= 0)
        status = pt_free_space_take(&arena->free_space, start, size, taken_out);
    PT_ASSERT(status != PEAT_NOT_FOUND);
    if (status >= 0)
        taken_out->has_holes = false; /* growth gave it blocks from its start on */
    return status;
}

/* A place for @p size bytes in the free space there is. */
static bool find_locked(struct pt_arena *arena, uint64_t size, enum pt_space_use use,
                        bool without_holes, uint64_t *offset_out) PT_REQUIRES(arena->mutex)
{
    const struct pt_free_space *space = &arena->free_space;
    uint64_t end_max = pt_arena_writable_size();
    uint64_t align = size >= LARGE_SIZE_MIN ? LARGE_ALIGN : PT_REGION_UNIT;

    if (size > end_max)
        return false;
    if (use == PT_SPACE_BRIEF && pt_free_space_find_last(space, size, without_holes, offset_out) &&
        *offset_out <= end_max - size)
        return true;
    if (use != PT_SPACE_BRIEF &&
        pt_free_space_find(space, size, align, without_holes, offset_out) &&
        *offset_out <= end_max - size)
        return true;
    return pt_free_space_find(space, size, PT_REGION_UNIT, without_holes, offset_out) &&
           *offset_out <= end_max - size;
}

bool pt_arena_find_inside_locked(struct pt_arena *arena, uint64_t size, uint64_t *offset_out)
{
    return find_locked(arena, size, PT_SPACE_INSIDE, false, offset_out);
}

/* Take @p size free bytes from the front, or from the end of a file that grows. Alignment is a wish:
 * for it the file grows by less than one LARGE_ALIGN more, but never where something fits. */
static enum peat_status take(struct pt_arena *arena, uint64_t size, enum pt_space_use use,
                             bool without_holes, struct pt_free_extent *taken_out)
{
    uint64_t alignment = size >= LARGE_SIZE_MIN ? LARGE_ALIGN : PT_REGION_UNIT;
    enum peat_status status;
    uint64_t offset;

    pt_mutex_lock(&arena->mutex);
    pt_arena_end_claims_locked(arena);
    if (find_locked(arena, size, use, without_holes, &offset))
        status = pt_free_space_take(&arena->free_space, offset, size, taken_out);
    else if (without_holes || use == PT_SPACE_INSIDE)
        status = PEAT_NOT_FOUND;
    else
        status = take_at_end_locked(arena, size, alignment, use, taken_out);
    pt_mutex_unlock(&arena->mutex);
    return status;
}

/*
 * Space that was in use before may still be cached and mapped in small pages, and then stays so when
 * it is written again in large pieces. Without this less than half of a store of 10 M entries that
 * was just loaded lay in huge pages, and a get took half as long again.
 */
static void prepare_pages(struct pt_arena *arena, struct pt_extent extent)
{
    if (extent.size >= LARGE_SIZE_MIN)
        pt_file_forget(arena->file, extent.offset, arena->base + extent.offset, extent.size);
}

enum peat_status pt_arena_take(struct pt_arena *arena, uint64_t size, enum pt_space_use use,
                               struct pt_extent *extent_out)
{
    struct pt_free_extent taken;
    struct pt_extent extent;
    enum peat_status status = take(arena, size, use, false, &taken);

    PT_ASSERT(arena->writable && size > 0 && size % PT_REGION_UNIT == 0);
    if (status != PEAT_OK)
        return status;
    extent = (struct pt_extent){taken.offset, taken.size};
    if (taken.has_holes)
        status = pt_file_allocate(arena->file, taken.offset, taken.size);
    if (status >= 0) {
        prepare_pages(arena, extent);
        *extent_out = extent;
        return PEAT_OK;
    }
    pt_mutex_lock(&arena->mutex);
    pt_arena_free_locked(arena, extent, true, true);
    pt_mutex_unlock(&arena->mutex);
    /* The disk is full, but there may be free space that kept its blocks. */
    if (status == PEAT_NO_SPACE && take(arena, size, use, true, &taken) == PEAT_OK) {
        *extent_out = (struct pt_extent){taken.offset, taken.size};
        status = PEAT_OK;
    }
    return status;
}

/* @p size in whole units. */
static enum peat_status alloc(struct pt_arena *arena, uint64_t size, enum pt_space_use use,
                              struct pt_extent *extent_out)
{
    PT_ASSERT(size > 0);
    if (size > arena->reserved_size)
        return pt_fail(PEAT_NO_SPACE, "%s: a region of %" PRIu64 " bytes",
                       pt_file_name(arena->file), size);
    return pt_arena_take(arena, pt_round_up(size, PT_REGION_UNIT), use, extent_out);
}

enum peat_status pt_arena_alloc(struct pt_arena *arena, uint64_t size, struct pt_extent *extent_out)
{
    return alloc(arena, size, PT_SPACE_ORDINARY, extent_out);
}

enum peat_status pt_arena_alloc_brief(struct pt_arena *arena, uint64_t size,
                                      struct pt_extent *extent_out)
{
    return alloc(arena, size, PT_SPACE_BRIEF, extent_out);
}

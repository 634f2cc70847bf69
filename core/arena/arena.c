/*
 * How space moves:
 *
 *                 claim (open)
 *        +------------------------------+
 *        |            alloc             v     retire          reclaim (rule 3)
 *      free ----------------------->  in use ---------> retired -----------------+
 *       ^ |  <-----------------------                                            |
 *       | |           release                                                    |
 *       | +--> truncated or punched by trim                                      |
 *       +------------------------------------------------------------------------+
 *
 * Everything in the file from PT_ARENA_START on is in one of these states. While trim punches an
 * extent, or alloc gives blocks to one, it is "in use" by them, so that the mutex need not be held.
 */
#include "core/arena/arena.h"

#include "core/arena/free_space.h"
#include "core/arena/process_locks.h"
#include "core/arena/superblock_format.h"
#include "core/base/alloc.h"
#include "core/base/endian.h"
#include "core/base/thread.h"

#include <fcntl.h>
#include <inttypes.h>

enum {
    RESERVE_UNIT = 2097152,    /* bytes: what pt_file_reserve() takes */
    GROW_FROM_SIZE = 16777216, /* bytes: a smaller file grows by just what is asked for */
    GROW_SHARE = 16,           /* a larger one by at least 1/16 of itself, */
    GROW_SIZE_MAX = 67108864,  /* bytes: but for no more than this */
    /* Regions of segments: written in pieces of 2 MiB at such offsets, the page cache holds them in
     * huge pages, and the first touch of each maps all of it. */
    LARGE_SIZE_MIN = 8388608, /* bytes */
    LARGE_ALIGN = 2097152     /* bytes */
};

#define RESERVE_SIZE_DEFAULT (UINT64_C(1) << 40)
#define RESERVE_SIZE_MIN     (UINT64_C(1) << 32)

/* A region that waits for rule 3. */
struct retired_region {
    struct pt_extent extent;
    uint64_t generation; /* the first that no longer names it */
    bool has_holes;      /* it must be allocated before it is used again */
};

/* A generation held against reuse by the writer, in a read-only arena. */
struct held_generation {
    uint64_t generation;
    size_t count; /* how often it was asked for; at least 1 */
};

struct pt_arena {
    /* Immutable once opened. */
    struct pt_file *file; /* owned */
    uint8_t *base;        /* owned: reserved_size bytes of address space */
    uint64_t reserved_size;
    uint64_t opened_generation; /* what ruled on disk at open; 0: nothing did */
    bool writable;

    struct pt_mutex mutex; /* guards all that follows */
    /* Bytes that regions may occupy; writable: a multiple of PT_REGION_UNIT. */
    uint64_t file_size;
    uint64_t mapped_size; /* bytes from base; never shrinks */
    bool claims_ended;    /* what was not claimed is free, or retired */
    struct pt_free_space free_space;
    struct retired_region *retired; /* in no order; owned */
    size_t retired_count;
    size_t retired_capacity;
    uint64_t retired_size;        /* bytes */
    struct held_generation *held; /* in no order; owned */
    size_t held_count;
    size_t held_capacity;
};

static bool is_region(struct pt_extent extent)
{
    return extent.offset % PT_REGION_UNIT == 0 && extent.offset >= PT_ARENA_START &&
           extent.size % PT_REGION_UNIT == 0 && extent.size > 0 &&
           extent.size <= UINT64_MAX - extent.offset;
}

/* ---- Opening ---- */

static enum peat_status file_open(const char *path, unsigned flags, struct pt_file **file_out)
{
    int open_flags = O_RDWR;

    if (path == NULL)
        return pt_file_open_memory(file_out);
    if ((flags & PEAT_READ_ONLY) != 0)
        open_flags = O_RDONLY;
    else if ((flags & PEAT_CREATE) != 0)
        open_flags |= (flags & PEAT_EXCLUSIVE) != 0 ? O_CREAT | O_EXCL : O_CREAT;
    return pt_file_open(path, open_flags, file_out);
}

/* Nothing but reading has been done to the file before this says that it is ours. */
static enum peat_status file_recognise(struct pt_file *file, unsigned flags, bool *new_out,
                                       struct pt_superblock *superblock_out)
{
    struct pt_file_info info;
    enum peat_status status = pt_file_info(file, &info);

    *new_out = false;
    if (status < 0)
        return status;
    if (!info.regular)
        return pt_fail(PEAT_INVALID, "%s is not a regular file", pt_file_name(file));
    if ((flags & PEAT_READ_ONLY) == 0)
        status = pt_process_locks_be_writer(file);
    if (status >= 0)
        status = pt_superblock_read(file, superblock_out, NULL);
    if (status != PEAT_NOT_FOUND)
        return status;
    if ((flags & PEAT_CREATE) == 0 || (flags & PEAT_READ_ONLY) != 0)
        return pt_fail(PEAT_NOT_FOUND, "%s holds no store yet", pt_file_name(file));
    *new_out = true;
    return PEAT_OK;
}

/* Room for the superblocks, and nothing else. */
static enum peat_status file_make(struct pt_file *file, const char *path)
{
    enum peat_status status = pt_file_truncate(file, 0);

    if (status >= 0)
        status = pt_file_allocate(file, 0, PT_SUPERBLOCK_COUNT * PT_SUPERBLOCK_SIZE);
    if (status >= 0)
        status = pt_file_truncate(file, PT_ARENA_START);
    if (status >= 0 && path != NULL)
        status = pt_file_sync_directory(path);
    return status;
}

static enum peat_status reserve(struct pt_arena *arena, uint64_t wanted_size, uint64_t file_size)
{
    uint64_t size = pt_round_up(wanted_size, RESERVE_UNIT);
    enum peat_status status;

    if (wanted_size > 0 && size < file_size)
        return pt_fail(PEAT_INVALID,
                       "%s has %" PRIu64 " bytes, which is more than the address space of %" PRIu64
                       " that the options give it",
                       pt_file_name(arena->file), file_size, wanted_size);
    if (wanted_size == 0) /* a file that is near the default gets room to double */
        size = file_size <= RESERVE_SIZE_DEFAULT / 2 ? RESERVE_SIZE_DEFAULT
                                                     : pt_round_up(2 * file_size, RESERVE_UNIT);
    status = pt_file_reserve(size, &arena->base);
    while (status == PEAT_NO_MEMORY && wanted_size == 0 && size / 2 >= RESERVE_SIZE_MIN &&
           size / 2 >= file_size) {
        size = pt_round_up(size / 2, RESERVE_UNIT);
        status = pt_file_reserve(size, &arena->base);
    }
    if (status >= 0)
        arena->reserved_size = size;
    return status;
}

/* Map the file up to @p size, in whole units. */
static enum peat_status map_to_locked(struct pt_arena *arena, uint64_t size)
    PT_REQUIRES(arena->mutex)
{
    uint64_t start = arena->mapped_size;
    uint64_t end = pt_round_up(size, PT_MAP_UNIT);
    enum peat_status status;

    if (end <= start)
        return PEAT_OK;
    PT_ASSERT(end <= arena->reserved_size);
    status = pt_file_map(arena->file, start, arena->base + start, end - start);
    if (status >= 0)
        arena->mapped_size = end;
    return status;
}

/* Take the file as it is now: reserve and map it, and note what is free. */
static enum peat_status adopt_file(struct pt_arena *arena, uint64_t address_space_size)
{
    struct pt_file_info info;
    enum peat_status status = pt_file_info(arena->file, &info);

    if (status >= 0)
        status = reserve(arena, address_space_size, info.size);
    if (status < 0)
        return status;

    pt_mutex_lock(&arena->mutex);
    /* What a cut-short growth left behind the last whole unit is covered by the next growth. */
    arena->file_size = arena->writable ? pt_round_down(info.size, PT_REGION_UNIT) : info.size;
    status = map_to_locked(arena, info.size);
    if (status >= 0 && arena->writable && arena->file_size > PT_ARENA_START) {
        struct pt_free_extent all = {.offset = PT_ARENA_START,
                                     .size = arena->file_size - PT_ARENA_START,
                                     .has_blocks = true,
                                     .has_holes = true};

        if (!pt_free_space_add(&arena->free_space, all))
            status = pt_fail(PEAT_NO_MEMORY, "list of free space");
    }
    pt_mutex_unlock(&arena->mutex);
    return status;
}

enum peat_status pt_arena_open(const char *path, const struct pt_arena_options *options,
                               struct pt_arena **arena_out, bool *created_out)
{
    unsigned flags = path == NULL ? options->flags | PEAT_CREATE : options->flags;
    struct pt_arena *arena = NULL;
    struct pt_superblock superblock;
    bool is_new = false;
    enum peat_status status;

    *arena_out = NULL;
    *created_out = false;
    if (path == NULL && (flags & PEAT_READ_ONLY) != 0)
        return pt_fail(PEAT_INVALID, "a store in memory cannot be opened read-only");
    arena = pt_calloc(1, sizeof(*arena));
    if (arena == NULL)
        return pt_fail(PEAT_NO_MEMORY, "arena");
    arena->writable = (flags & PEAT_READ_ONLY) == 0;
    pt_mutex_init(&arena->mutex);

    status = file_open(path, flags, &arena->file);
    if (status != PEAT_OK)
        goto done;
    status = file_recognise(arena->file, flags, &is_new, &superblock);
    if (status != PEAT_OK)
        goto done;
    if (is_new)
        status = file_make(arena->file, path);
    else if (arena->writable)
        status = pt_superblock_settle(arena->file, &superblock);
    if (status < 0)
        goto done;
    status = adopt_file(arena, options->address_space_size);
    if (status < 0)
        goto done;
    arena->opened_generation = is_new ? 0 : superblock.generation;

    *arena_out = arena;
    *created_out = is_new;
    arena = NULL; /* the caller's now */
done:
    pt_arena_close(arena);
    return status;
}

void pt_arena_close(struct pt_arena *arena) PT_NO_ANALYSIS /* nobody else has it any more */
{
    if (arena == NULL)
        return;
    if (arena->base != NULL)
        pt_file_unreserve(arena->base, arena->reserved_size);
    pt_file_close(arena->file);
    pt_free_space_fini(&arena->free_space);
    pt_free(arena->retired);
    pt_free(arena->held);
    pt_mutex_fini(&arena->mutex);
    pt_free(arena);
}

struct pt_file *pt_arena_file(struct pt_arena *arena)
{
    return arena->file;
}

const uint8_t *pt_arena_base(const struct pt_arena *arena)
{
    return arena->base;
}

uint64_t pt_arena_size(struct pt_arena *arena)
{
    uint64_t size;

    pt_mutex_lock(&arena->mutex);
    size = arena->file_size;
    pt_mutex_unlock(&arena->mutex);
    return size;
}

enum peat_status pt_arena_refresh_size(struct pt_arena *arena)
{
    struct pt_file_info info;
    enum peat_status status;

    if (arena->writable)
        return PEAT_OK;
    status = pt_file_info(arena->file, &info);
    if (status < 0)
        return status;
    if (info.size > arena->reserved_size)
        return pt_fail(PEAT_NO_MEMORY,
                       "%s has outgrown the %" PRIu64 " bytes of address space reserved for it",
                       pt_file_name(arena->file), arena->reserved_size);
    pt_mutex_lock(&arena->mutex);
    status = map_to_locked(arena, info.size);
    if (status >= 0)
        arena->file_size = info.size;
    pt_mutex_unlock(&arena->mutex);
    return status;
}

enum peat_status pt_arena_claim(struct pt_arena *arena, struct pt_extent extent)
{
    enum peat_status status = PEAT_OK;
    bool inside;

    pt_mutex_lock(&arena->mutex);
    PT_ASSERT(!arena->claims_ended);
    inside = is_region(extent) && extent.offset + extent.size <= arena->file_size;
    if (inside && arena->writable)
        status = pt_free_space_take(&arena->free_space, extent.offset, extent.size, NULL);
    pt_mutex_unlock(&arena->mutex);

    if (!inside)
        return pt_fail(PEAT_CORRUPT,
                       "%s: no region can be at %" PRIu64 " with %" PRIu64
                       " bytes: misaligned, or the file was truncated",
                       pt_file_name(arena->file), extent.offset, extent.size);
    if (status == PEAT_NOT_FOUND)
        return pt_fail(PEAT_CORRUPT,
                       "%s: the region of %" PRIu64 " bytes at %" PRIu64 " overlaps another",
                       pt_file_name(arena->file), extent.size, extent.offset);
    return status;
}

/* ---- From claimed and unclaimed to used and free ---- */

/* Room for one more of @p count items of @p item_size bytes in *items; false: no memory. */
static bool make_room(void **items, size_t item_size, size_t count, size_t *capacity)
{
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *grown;

    if (count < *capacity)
        return true;
    grown = pt_realloc(*items, wanted * item_size);
    if (grown == NULL)
        return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

/* Note @p region as retired; false: no memory. */
static bool retire_locked(struct pt_arena *arena, struct retired_region region)
    PT_REQUIRES(arena->mutex)
{
    void *items = arena->retired;

    if (!make_room(&items, sizeof(*arena->retired), arena->retired_count, &arena->retired_capacity))
        return false;
    arena->retired = items;
    arena->retired[arena->retired_count++] = region;
    arena->retired_size += region.extent.size;
    return true;
}

/*
 * The first change after open: everything is claimed that the ruling generation names. The rest is
 * free, unless a reader in another process still holds an older generation, from before this writer
 * came: then rule 3 applies to it as to any retired region. What cannot be noted is lost until the
 * next open.
 */
static void end_claims_locked(struct pt_arena *arena) PT_REQUIRES(arena->mutex)
{
    uint64_t generation = arena->opened_generation;
    uint64_t lowest;
    const struct pt_free_extent *extent;

    if (arena->claims_ended)
        return;
    arena->claims_ended = true;
    if (generation == 0 ||
        (pt_process_locks_lowest(arena->file, generation, &lowest) >= 0 && lowest == generation))
        return;
    while ((extent = pt_free_space_next(&arena->free_space, 0)) != NULL) {
        struct retired_region region = {
            {extent->offset, extent->size}, generation, extent->has_holes};

        (void)retire_locked(arena, region);
        PT_ASSERT(pt_free_space_take(&arena->free_space, region.extent.offset, region.extent.size,
                                     NULL) == PEAT_OK);
    }
}

/* ---- Allocation ---- */

/* Note @p extent as free. If there is no room to note it, it is lost until the next open. */
static void free_locked(struct pt_arena *arena, struct pt_extent extent, bool has_blocks,
                        bool has_holes) PT_REQUIRES(arena->mutex)
{
    struct pt_free_extent freed = {.offset = extent.offset,
                                   .size = extent.size,
                                   .has_blocks = has_blocks,
                                   .has_holes = has_holes};

    PT_ASSERT(is_region(extent) && extent.offset + extent.size <= arena->file_size);
    (void)pt_free_space_add(&arena->free_space, freed);
}

/*
 * Make the file end at @p end, with blocks from @p start on; the space that is new is free then.
 * After a failure the file is as large as before.
 */
static enum peat_status grow_locked(struct pt_arena *arena, uint64_t start, uint64_t end)
    PT_REQUIRES(arena->mutex)
{
    uint64_t before = arena->file_size;
    struct pt_free_extent grown = {
        .offset = before, .size = end - before, .has_blocks = true, .has_holes = start > before};
    enum peat_status status;

    PT_ASSERT(end > before && end % PT_REGION_UNIT == 0);
    if (end > arena->reserved_size)
        return pt_fail(PEAT_NO_SPACE,
                       "%s cannot grow to %" PRIu64 " bytes: the address space reserved for it is "
                       "%" PRIu64,
                       pt_file_name(arena->file), end, arena->reserved_size);
    status = pt_file_allocate(arena->file, start, end - start);
    if (status >= 0)
        status = map_to_locked(arena, end);
    if (status >= 0 && !pt_free_space_add(&arena->free_space, grown))
        status = pt_fail(PEAT_NO_MEMORY, "list of free space");
    if (status < 0) {
        (void)pt_file_truncate(arena->file, before); /* the first error counts */
        return status;
    }
    arena->file_size = end;
    return PEAT_OK;
}

/* How far a file that must reach @p end_min should grow at once. */
static uint64_t generous_end(const struct pt_arena *arena, uint64_t end_min)
    PT_REQUIRES(arena->mutex)
{
    uint64_t step = pt_round_up(arena->file_size / GROW_SHARE, PT_MAP_UNIT);

    if (arena->file_size <= GROW_FROM_SIZE)
        return end_min;
    if (step > GROW_SIZE_MAX)
        step = GROW_SIZE_MAX;
    if (arena->file_size + step > arena->reserved_size)
        return end_min;
    return end_min > arena->file_size + step ? end_min : arena->file_size + step;
}

/* Take @p size bytes at the end of the file, which has to grow for that: to where a multiple of
 * @p alignment and then a generous end allow, else just as far as it must. */
static enum peat_status take_at_end_locked(struct pt_arena *arena, uint64_t size,
                                           uint64_t alignment, struct pt_free_extent *taken_out)
    PT_REQUIRES(arena->mutex)
{
    uint64_t tail = pt_free_space_tail(&arena->free_space, arena->file_size);
    uint64_t start = pt_round_up(tail, alignment);
    uint64_t generous = generous_end(arena, start + size);
    enum peat_status status = grow_locked(arena, start, generous);

    if (status == PEAT_NO_SPACE && generous > tail + size) {
        start = tail;
        status = grow_locked(arena, start, start + size);
    }
    if (status >= 0)
        status = pt_free_space_take(&arena->free_space, start, size, taken_out);
    PT_ASSERT(status != PEAT_NOT_FOUND);
    if (status >= 0)
        taken_out->has_holes = false; /* growth gave it blocks from its start on */
    return status;
}

/* Take @p size free bytes from the front, or from the end of a file that grows. Alignment is a wish:
 * for it the file grows by less than one LARGE_ALIGN more, but never where something fits. */
static enum peat_status take(struct pt_arena *arena, uint64_t size, bool without_holes,
                             struct pt_free_extent *taken_out)
{
    uint64_t alignment = size >= LARGE_SIZE_MIN ? LARGE_ALIGN : PT_REGION_UNIT;
    const struct pt_free_space *space = &arena->free_space;
    enum peat_status status;
    uint64_t offset;

    pt_mutex_lock(&arena->mutex);
    end_claims_locked(arena);
    if (pt_free_space_find(space, size, alignment, without_holes, &offset) ||
        pt_free_space_find(space, size, PT_REGION_UNIT, without_holes, &offset))
        status = pt_free_space_take(&arena->free_space, offset, size, taken_out);
    else if (without_holes)
        status = PEAT_NOT_FOUND;
    else
        status = take_at_end_locked(arena, size, alignment, taken_out);
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

enum peat_status pt_arena_alloc(struct pt_arena *arena, uint64_t size, struct pt_extent *extent_out)
{
    struct pt_free_extent taken;
    struct pt_extent extent;
    enum peat_status status;

    PT_ASSERT(arena->writable && size > 0);
    if (size > arena->reserved_size)
        return pt_fail(PEAT_NO_SPACE, "%s: a region of %" PRIu64 " bytes",
                       pt_file_name(arena->file), size);
    size = pt_round_up(size, PT_REGION_UNIT);
    status = take(arena, size, false, &taken);
    if (status < 0)
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
    free_locked(arena, extent, true, true);
    pt_mutex_unlock(&arena->mutex);
    /* The disk is full, but there may be free space that kept its blocks. */
    if (status == PEAT_NO_SPACE && take(arena, size, true, &taken) == PEAT_OK) {
        *extent_out = (struct pt_extent){taken.offset, taken.size};
        status = PEAT_OK;
    }
    return status;
}

void pt_arena_release(struct pt_arena *arena, struct pt_extent extent)
{
    pt_mutex_lock(&arena->mutex);
    PT_ASSERT(arena->writable);
    end_claims_locked(arena);
    free_locked(arena, extent, true, false);
    pt_mutex_unlock(&arena->mutex);
}

/* ---- Retiring and reclaiming: rule 3 ---- */

enum peat_status pt_arena_retire(struct pt_arena *arena, struct pt_extent extent,
                                 uint64_t generation)
{
    struct retired_region region = {extent, generation, false};
    enum peat_status status = PEAT_OK;

    pt_mutex_lock(&arena->mutex);
    PT_ASSERT(arena->writable);
    PT_ASSERT(is_region(extent) && extent.offset + extent.size <= arena->file_size);
    end_claims_locked(arena);
    if (!retire_locked(arena, region))
        status = pt_fail(PEAT_NO_MEMORY, "list of retired regions");
    pt_mutex_unlock(&arena->mutex);
    return status;
}

/* Free what was retired at @p generation or before. */
static void reclaim_locked(struct pt_arena *arena, uint64_t generation) PT_REQUIRES(arena->mutex)
{
    size_t kept_count = 0;

    for (size_t i = 0; i < arena->retired_count; i++) {
        struct retired_region region = arena->retired[i];

        if (region.generation > generation) {
            arena->retired[kept_count++] = region;
            continue;
        }
        arena->retired_size -= region.extent.size;
        free_locked(arena, region.extent, true, region.has_holes);
    }
    arena->retired_count = kept_count;
}

void pt_arena_reclaim(struct pt_arena *arena, uint64_t durable_generation)
{
    uint64_t lowest;
    bool waiting = false;

    pt_mutex_lock(&arena->mutex);
    for (size_t i = 0; i < arena->retired_count && !waiting; i++)
        waiting = arena->retired[i].generation <= durable_generation;
    pt_mutex_unlock(&arena->mutex);
    /* If the question fails, everything counts as held. */
    if (!waiting || pt_process_locks_lowest(arena->file, durable_generation, &lowest) < 0)
        return;
    /* Whoever holds the lowest does not see what was retired at it or before. A reader that locks an
     * older one after our question finds, checking, that a newer one rules, and gives it up. */
    pt_mutex_lock(&arena->mutex);
    for (size_t i = 0; i < arena->held_count; i++) { /* this process's own, which no query shows */
        if (arena->held[i].generation < lowest)
            lowest = arena->held[i].generation;
    }
    reclaim_locked(arena, lowest);
    pt_mutex_unlock(&arena->mutex);
}

/* ---- Giving space back ---- */

static enum peat_status truncate_tail(struct pt_arena *arena)
{
    enum peat_status status = PEAT_OK;
    struct pt_free_extent taken;
    uint64_t tail;

    pt_mutex_lock(&arena->mutex);
    end_claims_locked(arena);
    tail = pt_free_space_tail(&arena->free_space, arena->file_size);
    if (tail < arena->file_size) {
        status = pt_file_truncate(arena->file, tail);
        if (status >= 0) {
            PT_ASSERT(pt_free_space_take(&arena->free_space, tail, arena->file_size - tail,
                                         &taken) == PEAT_OK);
            arena->file_size = tail;
        }
    }
    pt_mutex_unlock(&arena->mutex);
    return status;
}

/* Take the next free space at or above *cursor that has blocks, and move *cursor behind it. False:
 * there is none. */
static bool take_unpunched(struct pt_arena *arena, uint64_t *cursor, struct pt_extent *taken_out)
{
    const struct pt_free_extent *next;
    bool found = false;

    pt_mutex_lock(&arena->mutex);
    next = pt_free_space_next(&arena->free_space, *cursor);
    while (next != NULL && !next->has_blocks)
        next = pt_free_space_next(&arena->free_space, next->offset + next->size);
    if (next != NULL) {
        uint64_t start = next->offset > *cursor ? next->offset : *cursor;

        *taken_out = (struct pt_extent){start, next->offset + next->size - start};
        *cursor = start + taken_out->size;
        found = pt_free_space_take(&arena->free_space, start, taken_out->size, NULL) == PEAT_OK;
    }
    pt_mutex_unlock(&arena->mutex);
    return found;
}

enum peat_status pt_arena_trim(struct pt_arena *arena)
{
    struct pt_extent extent;
    enum peat_status status;
    uint64_t cursor = 0;

    PT_ASSERT(arena->writable);
    status = truncate_tail(arena);
    while (status >= 0 && take_unpunched(arena, &cursor, &extent)) {
        status = pt_file_punch(arena->file, extent.offset, extent.size);
        pt_mutex_lock(&arena->mutex);
        free_locked(arena, extent, status < 0, true);
        pt_mutex_unlock(&arena->mutex);
    }
    return status;
}

void pt_arena_space(struct pt_arena *arena, struct pt_arena_space *space_out)
{
    struct pt_file_info info;

    memset(space_out, 0, sizeof(*space_out));
    if (pt_file_info(arena->file, &info) >= 0)
        space_out->allocated_size = info.allocated_size;
    pt_mutex_lock(&arena->mutex);
    space_out->file_size = arena->file_size;
    space_out->free_size = arena->free_space.size;
    space_out->retired_size = arena->retired_size;
    pt_mutex_unlock(&arena->mutex);
}

/* ---- Generations held by a reader: counted here, since the byte locks do not count ---- */

static struct held_generation *held_locked(struct pt_arena *arena, uint64_t generation)
    PT_REQUIRES(arena->mutex)
{
    for (size_t i = 0; i < arena->held_count; i++)
        if (arena->held[i].generation == generation)
            return &arena->held[i];
    return NULL;
}

enum peat_status pt_arena_hold_generation(struct pt_arena *arena, uint64_t generation)
{
    struct held_generation *held;
    enum peat_status status = PEAT_OK;
    void *items;

    pt_mutex_lock(&arena->mutex);
    held = held_locked(arena, generation);
    items = arena->held;
    if (held != NULL) {
        held->count++;
    } else if (!make_room(&items, sizeof(*arena->held), arena->held_count, &arena->held_capacity)) {
        status = pt_fail(PEAT_NO_MEMORY, "list of held generations");
    } else {
        arena->held = items;
        status = pt_process_locks_hold(arena->file, generation);
        if (status >= 0)
            arena->held[arena->held_count++] = (struct held_generation){generation, 1};
    }
    pt_mutex_unlock(&arena->mutex);
    return status;
}

enum peat_status pt_arena_unhold_generation(struct pt_arena *arena, uint64_t generation)
{
    struct held_generation *held;
    enum peat_status status = PEAT_OK;

    pt_mutex_lock(&arena->mutex);
    held = held_locked(arena, generation);
    PT_ASSERT(held != NULL);
    held->count--;
    if (held->count == 0) {
        *held = arena->held[--arena->held_count];
        status = pt_process_locks_unhold(arena->file, generation);
    }
    pt_mutex_unlock(&arena->mutex);
    return status;
}

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
#include "core/arena/arena_parts.h"

#include "core/arena/process_locks.h"
#include "core/arena/superblock_format.h"
#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/base/endian.h"
#include "core/base/thread.h"

#include <fcntl.h>
#include <inttypes.h>

enum {
    RESERVE_UNIT = 2097152,   /* bytes: what pt_file_reserve() takes */
    OVERDRAFT_SIZE = 2097152, /* bytes */
    HOLD_TRIES = 1000         /* a writer may install faster than we look, but not for ever */
};

#define RESERVE_SIZE_DEFAULT (UINT64_C(1) << 40)
#define RESERVE_SIZE_MIN     (UINT64_C(1) << 32)

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
static enum peat_status file_recognise(struct pt_file *file, unsigned flags, bool any_superblock,
                                       bool *new_out, struct pt_superblock *superblock_out)
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
    else if (any_superblock)
        status = pt_process_locks_no_writer(file);
    if (status >= 0)
        status = pt_superblock_read(file, superblock_out, NULL);
    if (any_superblock && info.size > 0 &&
        (status == PEAT_CORRUPT || status == PEAT_INVALID || status == PEAT_NOT_FOUND ||
         status == PEAT_IO)) {
        superblock_out->generation = 0;
        return PEAT_OK;
    }
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
    struct pt_file_info info;
    enum peat_status status = pt_file_info(file, &info);

    if (status >= 0)
        status = pt_file_truncate(file, 0);
    /* What a making that was cut short has written must not come back in a file of another size. */
    if (status >= 0 && info.size > 0)
        status = pt_file_sync(file);
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
    uint64_t size = wanted_size > UINT64_MAX - RESERVE_UNIT /* no system grants that */
                        ? wanted_size / RESERVE_UNIT * RESERVE_UNIT
                        : pt_round_up(wanted_size, RESERVE_UNIT);
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

enum peat_status pt_arena_map_to_locked(struct pt_arena *arena, uint64_t size)
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
    /* A file that was there is synced when its superblocks are settled, before it is written to. */
    arena->settled_size = arena->file_size > PT_ARENA_START ? arena->file_size : 0;
    arena->opened_size = arena->file_size;
    status = pt_arena_map_to_locked(arena, info.size);
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
    status = file_recognise(arena->file, flags, options->any_superblock, &is_new, &superblock);
    if (status != PEAT_OK)
        goto done;
    if (is_new)
        status = file_make(arena->file, path);
    if (status < 0)
        goto done;
    status = adopt_file(arena, options->address_space_size);
    if (status < 0)
        goto done;
    arena->opened_generation = is_new ? 0 : superblock.generation;
    arena->file_size_max = options->file_size_max;
    if (options->file_size_max > 0 && arena->opened_size > options->file_size_max)
        arena->overdraft_size = arena->opened_size + OVERDRAFT_SIZE - options->file_size_max;

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
    pt_free_space_fini(&arena->reserve);
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
    status = pt_arena_map_to_locked(arena, info.size);
    if (status >= 0)
        arena->file_size = info.size;
    pt_mutex_unlock(&arena->mutex);
    return status;
}

enum peat_status pt_arena_settle_size(struct pt_arena *arena, uint64_t end)
{
    enum peat_status status;
    uint64_t growth_count;
    uint64_t size;
    bool settled;

    pt_mutex_lock(&arena->mutex);
    PT_ASSERT(arena->writable && end <= arena->file_size);
    settled = end <= arena->settled_size;
    size = arena->file_size;
    growth_count = arena->growth_count;
    pt_mutex_unlock(&arena->mutex);
    if (settled || PT_BUG(SIZE_NOT_SETTLED))
        return PEAT_OK;
    status = pt_file_sync(arena->file);
    if (status < 0)
        return status;
    pt_mutex_lock(&arena->mutex);
    /* If it has grown again meanwhile, it may have shrunk before: then the next call syncs, too. */
    if (arena->growth_count == growth_count)
        arena->settled_size = size < arena->file_size ? size : arena->file_size;
    pt_mutex_unlock(&arena->mutex);
    return PEAT_OK;
}

enum peat_status pt_arena_claim(struct pt_arena *arena, struct pt_extent extent)
{
    enum peat_status status = PEAT_OK;
    uint64_t file_size;
    bool inside;

    pt_mutex_lock(&arena->mutex);
    PT_ASSERT(!arena->claims_ended);
    file_size = arena->file_size;
    inside = pt_is_region(extent) && extent.offset + extent.size <= file_size;
    if (inside && arena->writable)
        status = pt_free_space_take(&arena->free_space, extent.offset, extent.size, NULL);
    pt_mutex_unlock(&arena->mutex);

    if (!pt_is_region(extent))
        return pt_fail(PEAT_CORRUPT,
                       "%s: no region can be at %" PRIu64 " with %" PRIu64 " bytes: misaligned",
                       pt_file_name(arena->file), extent.offset, extent.size);
    if (!inside)
        return pt_fail(PEAT_CORRUPT,
                       "%s was cut off: it has %" PRIu64 " bytes, and a region of %" PRIu64
                       " bytes at %" PRIu64 " belongs to it; copy it anew, or open it for reading "
                       "only, or make a new store of what is left with peat salvage",
                       pt_file_name(arena->file), file_size, extent.size, extent.offset);
    if (status == PEAT_NOT_FOUND)
        return pt_fail(PEAT_CORRUPT,
                       "%s: the region of %" PRIu64 " bytes at %" PRIu64 " overlaps another",
                       pt_file_name(arena->file), extent.size, extent.offset);
    return status;
}

void pt_arena_claims_doubtful(struct pt_arena *arena)
{
    pt_mutex_lock(&arena->mutex);
    PT_ASSERT(arena->writable && !arena->claims_ended);
    arena->claims_doubtful = true;
    pt_mutex_unlock(&arena->mutex);
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
static bool retire_locked(struct pt_arena *arena, struct pt_retired_region region)
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
 * came: then rule 3 applies to it as to any retired region. Where claims are doubtful a reader of the
 * opened generation itself may be using it. What cannot be noted is lost until the next open.
 */
void pt_arena_end_claims_locked(struct pt_arena *arena)
{
    uint64_t generation = arena->opened_generation;
    uint64_t lowest;
    const struct pt_free_extent *extent;

    if (arena->claims_ended)
        return;
    arena->claims_ended = true;
    if (arena->claims_doubtful)
        generation++; /* the first that surely does not name it */
    else if (generation == 0 || (pt_process_locks_lowest(arena->file, generation, &lowest) >= 0 &&
                                 lowest == generation))
        return;
    while ((extent = pt_free_space_next(&arena->free_space, 0)) != NULL) {
        struct pt_retired_region region = {
            {extent->offset, extent->size}, generation, extent->has_holes};

        (void)retire_locked(arena, region);
        PT_ASSERT(pt_free_space_take(&arena->free_space, region.extent.offset, region.extent.size,
                                     NULL) == PEAT_OK);
    }
}

/* ---- Releasing ---- */

void pt_arena_free_locked(struct pt_arena *arena, struct pt_extent extent, bool has_blocks,
                          bool has_holes)
{
    struct pt_free_extent freed = {.offset = extent.offset,
                                   .size = extent.size,
                                   .has_blocks = has_blocks,
                                   .has_holes = has_holes};

    PT_ASSERT(pt_is_region(extent) && extent.offset + extent.size <= arena->file_size);
    (void)pt_free_space_add(&arena->free_space, freed);
}

void pt_arena_release(struct pt_arena *arena, struct pt_extent extent)
{
    pt_mutex_lock(&arena->mutex);
    PT_ASSERT(arena->writable);
    pt_arena_end_claims_locked(arena);
    pt_arena_free_locked(arena, extent, true, false);
    arena->freed_count++;
    pt_mutex_unlock(&arena->mutex);
}

/* ---- Retiring and reclaiming: rule 3 ---- */

enum peat_status pt_arena_retire(struct pt_arena *arena, struct pt_extent extent,
                                 uint64_t generation)
{
    /* What was in the file when it was opened may be sparse: a copy of it was, perhaps. */
    struct pt_retired_region region = {extent, generation, extent.offset < arena->opened_size};
    enum peat_status status = PEAT_OK;

    pt_mutex_lock(&arena->mutex);
    PT_ASSERT(arena->writable);
    PT_ASSERT(pt_is_region(extent) && extent.offset + extent.size <= arena->file_size);
    pt_arena_end_claims_locked(arena);
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
        struct pt_retired_region region = arena->retired[i];

        if (region.generation > generation) {
            arena->retired[kept_count++] = region;
            continue;
        }
        arena->retired_size -= region.extent.size;
        arena->freed_count++;
        pt_arena_free_locked(arena, region.extent, true, region.has_holes);
    }
    arena->retired_count = kept_count;
}

void pt_arena_reclaim(struct pt_arena *arena, uint64_t durable_generation)
{
    uint64_t lowest;
    bool waiting = false;

    pt_mutex_lock(&arena->mutex);
    arena->reclaimed_generation = durable_generation;
    for (size_t i = 0; i < arena->retired_count && !waiting; i++)
        waiting = arena->retired[i].generation <= durable_generation;
    pt_mutex_unlock(&arena->mutex);
    /* If the question fails, everything counts as held. */
    if (!waiting || pt_process_locks_lowest(arena->file, durable_generation, &lowest) < 0)
        return;
    /* Whoever holds the lowest does not see what was retired at it or before. A reader that locks an
     * older one after our question finds, checking, that a newer one rules, and gives it up. */
    if (PT_BUG(READER_IGNORED))
        lowest = durable_generation;
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
    pt_arena_end_claims_locked(arena);
    tail = pt_free_space_tail(&arena->free_space, arena->file_size);
    if (tail < arena->file_size) {
        status = pt_file_truncate(arena->file, tail);
        if (status >= 0) {
            PT_ASSERT(pt_free_space_take(&arena->free_space, tail, arena->file_size - tail,
                                         &taken) == PEAT_OK);
            arena->file_size = tail;
            if (arena->settled_size > tail)
                arena->settled_size = tail;
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
        pt_arena_free_locked(arena, extent, status < 0, true);
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
    space_out->reserve_size = arena->reserve.size;
    space_out->retired_size = arena->retired_size;
    for (size_t i = 0; i < arena->retired_count; i++)
        if (arena->retired[i].generation <= arena->reclaimed_generation)
            space_out->reader_size += arena->retired[i].extent.size;
    pt_mutex_unlock(&arena->mutex);
}

/* ---- Generations held by a reader: counted here, since the byte locks do not count ---- */

static struct pt_held_generation *held_locked(struct pt_arena *arena, uint64_t generation)
    PT_REQUIRES(arena->mutex)
{
    for (size_t i = 0; i < arena->held_count; i++)
        if (arena->held[i].generation == generation)
            return &arena->held[i];
    return NULL;
}

enum peat_status pt_arena_hold_generation(struct pt_arena *arena, uint64_t generation)
{
    struct pt_held_generation *held;
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
            arena->held[arena->held_count++] = (struct pt_held_generation){generation, 1};
    }
    pt_mutex_unlock(&arena->mutex);
    return status;
}

enum peat_status pt_arena_unhold_generation(struct pt_arena *arena, uint64_t generation)
{
    struct pt_held_generation *held;
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

/* A writer that installs another generation between our look and our hold may free what the first
 * names, so after holding it must still rule. */
enum peat_status pt_arena_hold_newest(struct pt_arena *arena, struct pt_superblock *superblock_out,
                                      bool *damaged_out)
{
    enum peat_status status = pt_superblock_read(arena->file, superblock_out, damaged_out);

    for (unsigned i = 0; i < HOLD_TRIES && status == PEAT_OK; i++) {
        uint64_t generation = superblock_out->generation;

        status = pt_arena_hold_generation(arena, generation);
        if (status < 0)
            return status;
        status = pt_superblock_read(arena->file, superblock_out, damaged_out);
        if (status == PEAT_OK && superblock_out->generation == generation)
            return PEAT_OK;
        (void)pt_arena_unhold_generation(arena, generation);
    }
    if (status == PEAT_OK)
        status = pt_fail(PEAT_BUSY, "the writer installs generations faster than they can be read");
    else if (status == PEAT_NOT_FOUND)
        status = pt_fail(PEAT_CORRUPT, "both superblocks are gone");
    return status;
}

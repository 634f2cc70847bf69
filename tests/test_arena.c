/*
 * Every byte of the file is in one state: used, retired or free. What is used is never handed out
 * again; what is retired is not while anyone may still read it; what is free is found again, and
 * costs no disk after a trim. Other people's files are left alone.
 */
#include "core/arena/arena.h"

#include "core/base/alloc.h"
#include "core/base/endian.h"
#include "core/base/thread.h"
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { KIB = 1024, MIB = 1048576, UNIT = PT_REGION_UNIT };

#define ADDRESS_SPACE_SIZE (UINT64_C(1) << 34)

/* ---- Helpers ---- */

static enum peat_status arena_try(const char *name, unsigned flags, struct pt_arena **arena_out,
                                  bool *created_out)
{
    const struct pt_arena_options options = {.flags = flags,
                                             .address_space_size = ADDRESS_SPACE_SIZE};

    return pt_arena_open(name == NULL ? NULL : pt_test_path(name), &options, arena_out,
                         created_out);
}

static struct pt_superblock superblock_of(uint64_t generation)
{
    struct pt_superblock superblock = {
        .generation = generation, .manifest_offset = PT_ARENA_START, .manifest_size = 10};
    return superblock;
}

static void install(struct pt_arena *arena, uint64_t generation)
{
    struct pt_superblock superblock = superblock_of(generation);

    PT_REQUIRE_OK(pt_superblock_write(pt_arena_file(arena), &superblock));
}

/* A new store with its first generation. */
static struct pt_arena *arena_new(const char *name)
{
    struct pt_arena *arena;
    bool created;

    PT_REQUIRE_OK(arena_try(name, PEAT_CREATE, &arena, &created));
    PT_REQUIRE(created);
    install(arena, 1);
    return arena;
}

static struct pt_arena *arena_again(const char *name, unsigned flags)
{
    struct pt_arena *arena;
    bool created;

    PT_REQUIRE_OK(arena_try(name, flags, &arena, &created));
    PT_REQUIRE(!created);
    return arena;
}

static struct pt_extent alloc(struct pt_arena *arena, uint64_t size)
{
    struct pt_extent extent;

    PT_REQUIRE_OK(pt_arena_alloc(arena, size, &extent));
    return extent;
}

static struct pt_arena_space space_of(struct pt_arena *arena)
{
    struct pt_arena_space space;

    pt_arena_space(arena, &space);
    return space;
}

static void file_write(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(pt_test_path(name), "we");

    PT_REQUIRE(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static uint64_t file_size(const char *name)
{
    struct stat about;

    PT_REQUIRE(stat(pt_test_path(name), &about) == 0);
    return (uint64_t)about.st_size;
}

static struct pt_file_calls fake; /* the real calls, but for what a test replaces */

static void fake_start(void)
{
    fake = *pt_file_calls_real();
    pt_file_set_calls(&fake);
}

static void fake_stop(void)
{
    pt_file_set_calls(NULL);
}

/* ---- Opening ---- */

static void a_new_store_is_created_and_found_again(void **state)
{
    struct pt_arena *arena = arena_new("new");
    struct pt_extent extent = alloc(arena, 1);
    (void)state;

    assert_int_equal(extent.offset, PT_ARENA_START);
    assert_int_equal(extent.size, UNIT);
    pt_arena_close(arena);
    arena = arena_again("new", 0);
    PT_REQUIRE_OK(pt_arena_claim(arena, extent));
    assert_int_equal(alloc(arena, 1).offset, PT_ARENA_START + UNIT);
    pt_arena_close(arena);
}

static void P6_an_empty_store_takes_a_few_kilobytes(void **state)
{
    struct pt_arena *arena = arena_new("small");
    (void)state;

    assert_true(space_of(arena).allocated_size <= 16 * KIB);
    (void)alloc(arena, 256 * KIB);
    assert_true(space_of(arena).allocated_size <= 280 * KIB);
    assert_int_equal(space_of(arena).free_size, 0);
    pt_arena_close(arena);
}

static void a_store_in_memory_is_the_same_arena(void **state)
{
    struct pt_arena *arena = arena_new(NULL);
    struct pt_extent extent = alloc(arena, 300 * KIB);
    (void)state;

    PT_REQUIRE_OK(pt_file_write(pt_arena_file(arena), extent.offset, "memory", 6));
    assert_memory_equal(pt_arena_base(arena) + extent.offset, "memory", 6);
    pt_arena_close(arena);
}

static void making_that_was_cut_short_starts_over(void **state)
{
    struct pt_arena *arena;
    bool created;
    (void)state;

    PT_REQUIRE_OK(arena_try("short", PEAT_CREATE, &arena, &created));
    (void)alloc(arena, 256 * KIB);
    pt_arena_close(arena); /* no superblock was written */
    assert_int_equal(arena_try("short", 0, &arena, &created), PEAT_NOT_FOUND);
    assert_int_equal(arena_try("short", PEAT_READ_ONLY, &arena, &created), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(arena_try("short", PEAT_CREATE, &arena, &created));
    assert_true(created);
    assert_int_equal(pt_arena_size(arena), PT_ARENA_START);
    pt_arena_close(arena);
}

static void flags_decide_what_may_exist(void **state)
{
    struct pt_arena *arena;
    bool created;
    (void)state;

    assert_int_equal(arena_try("flags", 0, &arena, &created), PEAT_NOT_FOUND);
    assert_null(arena);
    assert_int_equal(arena_try("flags", PEAT_READ_ONLY | PEAT_CREATE, &arena, &created),
                     PEAT_NOT_FOUND);
    pt_arena_close(arena_new("flags"));
    assert_int_equal(arena_try("flags", PEAT_CREATE | PEAT_EXCLUSIVE, &arena, &created),
                     PEAT_EXISTS);
    pt_arena_close(arena_again("flags", PEAT_CREATE));
    assert_int_equal(arena_try(NULL, PEAT_READ_ONLY, &arena, &created), PEAT_INVALID);
}

static void foreign_files_are_refused_and_untouched(void **state)
{
    static const char text[] = "These are the minutes of the annual meeting of the bog society.\n";
    struct pt_arena *arena;
    struct stat before;
    struct stat after;
    char content[sizeof(text)] = {0};
    bool created;
    FILE *file;
    (void)state;

    file_write("minutes", text, sizeof(text));
    PT_REQUIRE(stat(pt_test_path("minutes"), &before) == 0);
    assert_int_equal(arena_try("minutes", PEAT_CREATE, &arena, &created), PEAT_INVALID);
    assert_int_equal(arena_try("minutes", PEAT_READ_ONLY, &arena, &created), PEAT_INVALID);
    PT_REQUIRE(stat(pt_test_path("minutes"), &after) == 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
    assert_int_equal(before.st_size, after.st_size);
    file = fopen(pt_test_path("minutes"), "re");
    PT_REQUIRE(file != NULL && fread(content, 1, sizeof(text), file) == sizeof(text));
    (void)fclose(file);
    assert_string_equal(content, text);
}

static void only_regular_files_are_opened(void **state)
{
    struct pt_arena *arena;
    bool created;
    (void)state;

    assert_int_equal(arena_try(".", PEAT_CREATE, &arena, &created), PEAT_INVALID);
    PT_REQUIRE(mkfifo(pt_test_path("fifo"), 0600) == 0);
    assert_int_equal(arena_try("fifo", PEAT_CREATE, &arena, &created), PEAT_INVALID);
    assert_int_equal(arena_try("fifo", PEAT_READ_ONLY, &arena, &created), PEAT_INVALID);
    assert_null(arena);
}

static void a_second_writer_is_busy_and_readers_are_not(void **state)
{
    struct pt_arena *writer = arena_new("busy");
    struct pt_arena *reader;
    struct pt_arena *second;
    char name[32];
    bool created;
    (void)state;

    assert_int_equal(arena_try("busy", 0, &second, &created), PEAT_BUSY);
    (void)snprintf(name, sizeof(name), "process %d ", (int)getpid());
    assert_non_null(strstr(peat_last_error(), name));
    reader = arena_again("busy", PEAT_READ_ONLY);
    pt_arena_close(writer);
    pt_arena_close(arena_again("busy", 0));
    pt_arena_close(reader);
}

static void a_file_larger_than_the_address_space_is_refused(void **state)
{
    const struct pt_arena_options options = {.flags = 0, .address_space_size = 2 * MIB};
    struct pt_arena *arena = arena_new("large");
    bool created;
    (void)state;

    (void)alloc(arena, 3 * MIB);
    pt_arena_close(arena);
    assert_int_equal(pt_arena_open(pt_test_path("large"), &options, &arena, &created),
                     PEAT_INVALID);
}

static void the_address_space_is_the_files_limit(void **state)
{
    const struct pt_arena_options options = {.flags = PEAT_CREATE, .address_space_size = 2 * MIB};
    struct pt_arena *arena;
    struct pt_extent extent;
    bool created;
    (void)state;

    PT_REQUIRE_OK(pt_arena_open(NULL, &options, &arena, &created));
    (void)alloc(arena, MIB);
    assert_int_equal(pt_arena_alloc(arena, MIB, &extent), PEAT_NO_SPACE);
    assert_int_equal(alloc(arena, MIB - 2 * UNIT).offset, PT_ARENA_START + MIB);
    assert_int_equal(pt_arena_alloc(arena, UINT64_MAX - 5, &extent), PEAT_NO_SPACE);
    pt_arena_close(arena);
}

static void reserve_less_address_space(void *context)
{
    const struct rlimit limit = {.rlim_cur = (rlim_t)20 << 30, .rlim_max = (rlim_t)20 << 30};
    const struct pt_arena_options defaults = {.flags = PEAT_CREATE, .address_space_size = 0};
    const struct pt_arena_options exact = {.flags = PEAT_CREATE,
                                           .address_space_size = (uint64_t)64 << 30};
    struct pt_arena *arena;
    bool created;
    (void)context;

    PT_REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    PT_REQUIRE_OK(pt_arena_open(NULL, &defaults, &arena, &created));
    (void)alloc(arena, MIB);
    pt_arena_close(arena);
    PT_REQUIRE_STATUS(pt_arena_open(NULL, &exact, &arena, &created), PEAT_NO_MEMORY);
}

static void where_address_space_is_scarce_the_default_takes_less(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)reserve_less_address_space;
    skip(); /* the sanitizer's own reservations are far above the limit */
#else
    pt_child_join(pt_child_start(reserve_less_address_space, NULL));
#endif
}

/* ---- Claims ---- */

static void claims_must_be_regions_of_the_file_and_not_overlap(void **state)
{
    struct pt_extent used;
    struct pt_extent beyond;
    struct pt_arena *arena = arena_new("claims");
    (void)state;

    used = alloc(arena, 4 * UNIT);
    pt_arena_close(arena);
    arena = arena_again("claims", 0);
    PT_REQUIRE_OK(pt_arena_claim(arena, (struct pt_extent){used.offset + UNIT, 2 * UNIT}));
    assert_int_equal(pt_arena_claim(arena, used), PEAT_CORRUPT);
    assert_int_equal(pt_arena_claim(arena, (struct pt_extent){used.offset + 5, UNIT}),
                     PEAT_CORRUPT);
    assert_int_equal(pt_arena_claim(arena, (struct pt_extent){used.offset, 5}), PEAT_CORRUPT);
    assert_int_equal(pt_arena_claim(arena, (struct pt_extent){used.offset, 0}), PEAT_CORRUPT);
    assert_int_equal(pt_arena_claim(arena, (struct pt_extent){0, UNIT}), PEAT_CORRUPT);
    beyond = (struct pt_extent){used.offset + 3 * UNIT, 2 * UNIT};
    assert_int_equal(pt_arena_claim(arena, beyond), PEAT_CORRUPT);
    beyond = (struct pt_extent){used.offset, (uint64_t)0 - used.offset};
    assert_int_equal(pt_arena_claim(arena, beyond), PEAT_CORRUPT);
    PT_REQUIRE_OK(pt_arena_claim(arena, (struct pt_extent){used.offset, UNIT}));
    PT_REQUIRE_OK(pt_arena_claim(arena, (struct pt_extent){used.offset + 3 * UNIT, UNIT}));
    assert_int_equal(space_of(arena).free_size, 0);
    pt_arena_close(arena);
}

static void what_is_not_claimed_is_free(void **state)
{
    struct pt_extent kept;
    struct pt_extent first;
    struct pt_arena *arena = arena_new("unclaimed");
    (void)state;

    first = alloc(arena, 3 * UNIT);
    kept = alloc(arena, UNIT);
    (void)alloc(arena, 2 * UNIT);
    pt_arena_close(arena);
    arena = arena_again("unclaimed", 0);
    PT_REQUIRE_OK(pt_arena_claim(arena, kept));
    assert_int_equal(space_of(arena).free_size, 5 * UNIT);
    assert_int_equal(alloc(arena, 3 * UNIT).offset, first.offset);
    assert_int_equal(alloc(arena, 2 * UNIT).offset, kept.offset + UNIT);
    assert_int_equal(space_of(arena).free_size, 0);
    pt_arena_close(arena);
}

/* ---- Allocation ---- */

static void pointers_stay_valid_while_the_file_grows(void **state)
{
    struct pt_arena *arena = arena_new("grows");
    struct pt_extent first = alloc(arena, UNIT);
    const uint8_t *place = pt_arena_base(arena) + first.offset;
    (void)state;

    PT_REQUIRE_OK(pt_file_write(pt_arena_file(arena), first.offset, "fixed", 5));
    for (unsigned i = 0; i < 50; i++) {
        struct pt_extent extent = alloc(arena, 700 * KIB);

        assert_true(extent.offset + extent.size <= pt_arena_size(arena));
        PT_REQUIRE_OK(pt_file_write(pt_arena_file(arena), extent.offset + extent.size - 1, "e", 1));
        assert_int_equal(pt_arena_base(arena)[extent.offset + extent.size - 1], 'e');
        assert_memory_equal(place, "fixed", 5);
    }
    pt_arena_close(arena);
}

static void a_region_has_its_blocks_when_it_is_handed_out(void **state)
{
    struct pt_arena *arena = arena_new(NULL); /* memory files count blocks exactly */
    struct pt_extent first = alloc(arena, 8 * UNIT);
    uint64_t allocated;
    (void)state;

    (void)alloc(arena, UNIT);
    allocated = space_of(arena).allocated_size;
    pt_arena_release(arena, first);
    PT_REQUIRE_OK(pt_arena_trim(arena));
    assert_int_equal(space_of(arena).allocated_size, allocated - 8 * UNIT);
    assert_int_equal(alloc(arena, 5 * UNIT).offset, first.offset);
    assert_int_equal(space_of(arena).allocated_size, allocated - 3 * UNIT);
    pt_arena_close(arena);
}

static void large_regions_lie_where_huge_pages_can(void **state)
{
    struct pt_arena *arena = arena_new("huge");
    struct pt_extent small = alloc(arena, UNIT);
    struct pt_extent large = alloc(arena, 9 * MIB);
    struct pt_arena_space space;
    (void)state;

    assert_int_equal(large.offset, 2 * MIB);
    /* The gap costs no disk, and is used. */
    space = space_of(arena);
    assert_int_equal(space.free_size, 2 * MIB - small.offset - UNIT);
    assert_true(space.allocated_size <= 9 * MIB + 2 * UNIT);
    assert_int_equal(alloc(arena, UNIT).offset, small.offset + UNIT);
    /* But no file grows for it where something fits. */
    pt_arena_release(arena, large);
    assert_int_equal(alloc(arena, 2 * MIB).offset, small.offset + 2 * UNIT);
    assert_int_equal(alloc(arena, 8 * MIB).offset, small.offset + 2 * UNIT + 2 * MIB);
    assert_int_equal(pt_arena_size(arena), 11 * MIB);
    pt_arena_close(arena);
}

static unsigned allocate_count;

static int allocate_counting(int fd, uint64_t offset, uint64_t size)
{
    allocate_count++;
    return pt_file_calls_real()->allocate(fd, offset, size);
}

static void large_files_grow_in_larger_steps(void **state)
{
    struct pt_arena *arena = arena_new(NULL);
    (void)state;

    (void)alloc(arena, 2 * MIB - UNIT);
    (void)alloc(arena, 62 * MIB);
    fake_start();
    fake.allocate = allocate_counting;
    allocate_count = 0;
    for (unsigned i = 0; i < 64; i++)
        (void)alloc(arena, UNIT);
    fake_stop();
    assert_true(allocate_count <= 2);
    assert_true(pt_arena_size(arena) <= 64 * MIB + 12 * MIB);
    pt_arena_close(arena);
}

static uint64_t disk_end; /* files cannot have blocks from here on */

/* As a full disk does it: some of the way, and the file keeps that. */
static int allocate_on_full_disk(int fd, uint64_t offset, uint64_t size)
{
    if (offset + size <= disk_end)
        return pt_file_calls_real()->allocate(fd, offset, size);
    if (offset < disk_end)
        (void)pt_file_calls_real()->allocate(fd, offset, disk_end - offset);
    errno = ENOSPC;
    return -1;
}

static void P6_a_full_disk_is_an_error_that_leaves_nothing_behind(void **state)
{
    struct pt_arena *arena = arena_new("full");
    struct pt_extent extent = alloc(arena, 7 * MIB);
    struct pt_arena_space before;
    struct pt_arena_space after;
    (void)state;

    for (unsigned i = 0; i < 2; i++) /* above the size where steps get generous */
        extent = alloc(arena, 7 * MIB);
    before = space_of(arena);
    disk_end = extent.offset + extent.size + 3 * UNIT;
    fake_start();
    fake.allocate = allocate_on_full_disk;
    assert_int_equal(pt_arena_alloc(arena, MIB, &extent), PEAT_NO_SPACE);
    after = space_of(arena);
    assert_int_equal(after.file_size, before.file_size);
    assert_int_equal(after.free_size, before.free_size);
    /* The file system may need a block more for itself, which it counts as the file's. */
    PT_REQUIRE(after.allocated_size < before.allocated_size + UNIT);
    assert_int_equal(file_size("full"), before.file_size);
    /* Where the generous step does not fit, the exact one may. */
    PT_REQUIRE_OK(pt_arena_alloc(arena, 3 * UNIT, &extent));
    assert_int_equal(extent.offset + extent.size, disk_end);
    assert_int_equal(pt_arena_alloc(arena, 1, &extent), PEAT_NO_SPACE);
    fake_stop();
    (void)alloc(arena, MIB);
    pt_arena_close(arena);
}

static int allocate_never(int fd, uint64_t offset, uint64_t size)
{
    (void)fd;
    (void)offset;
    (void)size;
    errno = ENOSPC;
    return -1;
}

static void P6_on_a_full_disk_free_space_with_blocks_is_used(void **state)
{
    struct pt_arena *arena = arena_new("blocks");
    struct pt_extent punched = alloc(arena, 4 * UNIT);
    struct pt_extent between = alloc(arena, UNIT);
    struct pt_extent whole = alloc(arena, 4 * UNIT);
    struct pt_extent extent;
    (void)state;

    (void)alloc(arena, UNIT);
    pt_arena_release(arena, punched);
    PT_REQUIRE_OK(pt_arena_trim(arena));
    pt_arena_release(arena, whole);
    fake_start();
    fake.allocate = allocate_never;
    PT_REQUIRE_OK(pt_arena_alloc(arena, 2 * UNIT, &extent));
    assert_int_equal(extent.offset, whole.offset);
    PT_REQUIRE_OK(pt_arena_alloc(arena, 2 * UNIT, &extent));
    assert_int_equal(pt_arena_alloc(arena, UNIT, &extent), PEAT_NO_SPACE);
    fake_stop();
    assert_int_equal(alloc(arena, 4 * UNIT).offset, punched.offset);
    (void)between;
    pt_arena_close(arena);
}

static void grow_into_the_limit(void *context)
{
    const struct rlimit limit = {.rlim_cur = 2 * MIB, .rlim_max = 2 * MIB};
    struct pt_arena *arena = arena_new("limit");
    struct pt_extent extent;
    (void)context;

    PT_REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    (void)alloc(arena, MIB);
    PT_REQUIRE_STATUS(pt_arena_alloc(arena, MIB, &extent), PEAT_NO_SPACE);
    (void)alloc(arena, MIB - UNIT);
    pt_arena_close(arena);
}

static void P6_the_file_size_limit_is_a_full_disk(void **state)
{
    (void)state;
    pt_child_join(pt_child_start(grow_into_the_limit, NULL));
}

static bool no_allocation(size_t size)
{
    (void)size;
    return false;
}

static void without_memory_space_is_lost_until_the_next_open_and_no_more(void **state)
{
    struct pt_arena *arena = arena_new("memory");
    struct pt_extent first = alloc(arena, UNIT);
    struct pt_extent second = alloc(arena, UNIT);
    (void)state;

    pt_alloc_set_hook(no_allocation);
    assert_int_equal(pt_arena_retire(arena, first, 2), PEAT_NO_MEMORY);
    pt_alloc_set_hook(NULL);
    pt_arena_release(arena, second);
    assert_int_equal(alloc(arena, UNIT).offset, second.offset);
    pt_arena_close(arena);
    arena = arena_again("memory", 0);
    assert_int_equal(alloc(arena, UNIT).offset, first.offset);
    pt_arena_close(arena);
}

/* ---- Rule 3 ---- */

static void retired_space_is_reused_once_the_generation_is_durable(void **state)
{
    struct pt_arena *arena = arena_new("retired");
    struct pt_extent old = alloc(arena, 2 * UNIT);
    (void)state;

    (void)alloc(arena, UNIT);
    PT_REQUIRE_OK(pt_arena_retire(arena, old, 3));
    assert_int_equal(space_of(arena).retired_size, 2 * UNIT);
    pt_arena_reclaim(arena, 2);
    assert_int_not_equal(alloc(arena, UNIT).offset, old.offset);
    pt_arena_reclaim(arena, 3);
    assert_int_equal(space_of(arena).retired_size, 0);
    assert_int_equal(alloc(arena, 2 * UNIT).offset, old.offset);
    pt_arena_close(arena);
}

static void P4_what_a_reader_holds_is_kept(void **state)
{
    struct pt_arena *writer = arena_new("held");
    struct pt_arena *reader = arena_again("held", PEAT_READ_ONLY);
    struct pt_extent at_3 = alloc(writer, UNIT);
    struct pt_extent at_5 = alloc(writer, UNIT);
    struct pt_extent at_9 = alloc(writer, UNIT);
    (void)state;

    PT_REQUIRE_OK(pt_arena_retire(writer, at_3, 3));
    PT_REQUIRE_OK(pt_arena_retire(writer, at_5, 5));
    PT_REQUIRE_OK(pt_arena_retire(writer, at_9, 9));
    PT_REQUIRE_OK(pt_arena_hold_generation(reader, 7));
    PT_REQUIRE_OK(pt_arena_hold_generation(reader, 4));
    PT_REQUIRE_OK(pt_arena_hold_generation(reader, 4));
    pt_arena_reclaim(writer, 10);
    assert_int_equal(space_of(writer).retired_size, 2 * UNIT);
    assert_int_equal(alloc(writer, UNIT).offset, at_3.offset);

    PT_REQUIRE_OK(pt_arena_unhold_generation(reader, 4)); /* held once more */
    pt_arena_reclaim(writer, 10);
    assert_int_equal(space_of(writer).retired_size, 2 * UNIT);
    PT_REQUIRE_OK(pt_arena_unhold_generation(reader, 4));
    pt_arena_reclaim(writer, 10);
    assert_int_equal(space_of(writer).retired_size, UNIT);
    assert_int_equal(alloc(writer, UNIT).offset, at_5.offset);

    pt_arena_close(reader);
    pt_arena_reclaim(writer, 10);
    assert_int_equal(space_of(writer).retired_size, 0);
    pt_arena_close(writer);
}

static unsigned query_count;

static int lock_query_counting(int fd, uint64_t offset, uint64_t size, bool *locked,
                               uint64_t *found)
{
    query_count++;
    return pt_file_calls_real()->lock_query(fd, offset, size, locked, found);
}

static int lock_query_failing(int fd, uint64_t offset, uint64_t size, bool *locked, uint64_t *found)
{
    (void)fd;
    (void)offset;
    (void)size;
    (void)locked;
    (void)found;
    errno = ENOLCK;
    return -1;
}

static void reclaiming_asks_for_locks_once_and_a_failed_question_is_a_yes(void **state)
{
    struct pt_arena *arena = arena_new("asks");
    (void)state;

    for (unsigned i = 0; i < 20; i++)
        PT_REQUIRE_OK(pt_arena_retire(arena, alloc(arena, UNIT), 2));
    fake_start();
    fake.lock_query = lock_query_failing;
    pt_arena_reclaim(arena, 2);
    assert_int_equal(space_of(arena).retired_size, 20 * UNIT);
    fake.lock_query = lock_query_counting;
    query_count = 0;
    pt_arena_reclaim(arena, 2);
    pt_arena_reclaim(arena, 3); /* nothing waits any more */
    fake_stop();
    assert_int_equal(query_count, 1);
    assert_int_equal(space_of(arena).retired_size, 0);
    pt_arena_close(arena);
}

static void P4_a_reader_of_before_the_writer_came_is_respected(void **state)
{
    struct pt_arena *writer = arena_new("restart");
    struct pt_arena *reader;
    struct pt_extent old = alloc(writer, 2 * UNIT);
    struct pt_extent kept = alloc(writer, UNIT);
    (void)state;

    reader = arena_again("restart", PEAT_READ_ONLY);
    PT_REQUIRE_OK(pt_arena_hold_generation(reader, 1)); /* which names old */
    install(writer, 2);                                 /* which does not */
    pt_arena_close(writer);

    writer = arena_again("restart", 0);
    PT_REQUIRE_OK(pt_arena_claim(writer, kept));
    assert_int_equal(alloc(writer, UNIT).offset, kept.offset + UNIT);
    assert_int_equal(space_of(writer).retired_size, 2 * UNIT);
    PT_REQUIRE_OK(pt_arena_trim(writer));
    pt_arena_reclaim(writer, 2);
    assert_int_equal(space_of(writer).retired_size, 2 * UNIT);
    pt_arena_close(reader);
    pt_arena_reclaim(writer, 2);
    assert_int_equal(alloc(writer, 2 * UNIT).offset, old.offset);
    pt_arena_close(writer);
}

static void what_a_damaged_part_may_have_named_is_left_to_its_readers(void **state)
{
    struct pt_arena *writer = arena_new("doubtful");
    struct pt_arena *reader;
    struct pt_extent unread = alloc(writer, 2 * UNIT);
    struct pt_extent kept = alloc(writer, UNIT);
    (void)state;

    pt_arena_close(writer);
    reader = arena_again("doubtful", PEAT_READ_ONLY);
    PT_REQUIRE_OK(pt_arena_hold_generation(reader, 1)); /* which names both */
    writer = arena_again("doubtful", 0);
    PT_REQUIRE_OK(pt_arena_claim(writer, kept));
    pt_arena_claims_doubtful(writer);
    assert_int_equal(alloc(writer, UNIT).offset, kept.offset + UNIT);
    install(writer, 2);
    pt_arena_reclaim(writer, 2);
    assert_int_equal(space_of(writer).retired_size, 2 * UNIT);
    pt_arena_close(reader);
    pt_arena_reclaim(writer, 1); /* generation 2 is not durable yet, as far as the arena knows */
    assert_int_equal(space_of(writer).retired_size, 2 * UNIT);
    pt_arena_reclaim(writer, 2);
    assert_int_equal(alloc(writer, 2 * UNIT).offset, unread.offset);
    pt_arena_close(writer);
}

static void readers_follow_the_files_growth(void **state)
{
    struct pt_arena *writer = arena_new("follow");
    struct pt_arena *reader = arena_again("follow", PEAT_READ_ONLY);
    const uint8_t *base = pt_arena_base(reader);
    struct pt_extent extent = alloc(writer, 5 * MIB);
    (void)state;

    PT_REQUIRE_OK(pt_file_write(pt_arena_file(writer), extent.offset + 4 * MIB, "seen", 4));
    assert_int_equal(pt_arena_claim(reader, extent), PEAT_CORRUPT); /* not there yet */
    PT_REQUIRE_OK(pt_arena_refresh_size(reader));
    assert_int_equal(pt_arena_size(reader), pt_arena_size(writer));
    PT_REQUIRE_OK(pt_arena_claim(reader, extent));
    assert_ptr_equal(pt_arena_base(reader), base);
    assert_memory_equal(base + extent.offset + 4 * MIB, "seen", 4);
    pt_arena_close(reader);
    pt_arena_close(writer);
}

/* ---- Trim ---- */

static unsigned punch_count;

static int punch_counting(int fd, uint64_t offset, uint64_t size)
{
    punch_count++;
    return pt_file_calls_real()->punch(fd, offset, size);
}

static void trimming_cuts_the_tail_and_punches_the_middle_once(void **state)
{
    struct pt_arena *arena = arena_new("trim");
    struct pt_extent middle;
    struct pt_extent last;
    struct pt_extent tail;
    (void)state;

    (void)alloc(arena, UNIT);
    middle = alloc(arena, 4 * UNIT);
    last = alloc(arena, UNIT);
    tail = alloc(arena, 8 * UNIT);
    pt_arena_release(arena, middle);
    pt_arena_release(arena, tail);
    fake_start();
    fake.punch = punch_counting;
    punch_count = 0;
    PT_REQUIRE_OK(pt_arena_trim(arena));
    PT_REQUIRE_OK(pt_arena_trim(arena));
    fake_stop();
    assert_int_equal(punch_count, 1);
    assert_int_equal(file_size("trim"), last.offset + last.size);
    assert_int_equal(space_of(arena).free_size, middle.size);
    /* It grows and shrinks again over the same addresses. */
    tail = alloc(arena, 3 * MIB);
    PT_REQUIRE_OK(pt_file_write(pt_arena_file(arena), tail.offset + 2 * MIB, "again", 5));
    assert_memory_equal(pt_arena_base(arena) + tail.offset + 2 * MIB, "again", 5);
    pt_arena_close(arena);
}

static int punch_failing(int fd, uint64_t offset, uint64_t size)
{
    (void)fd;
    (void)offset;
    (void)size;
    errno = EIO;
    return -1;
}

/* The merger asks at each rest: blocks that come and go would be work for nothing, and space on top. */
static void a_reserve_at_the_front_stays_there_and_nothing_is_allocated(void **state)
{
    struct pt_arena *arena = arena_new("reserve");
    struct pt_extent first = alloc(arena, 8 * UNIT);
    struct pt_extent last = alloc(arena, UNIT);
    (void)state;

    PT_REQUIRE_OK(pt_arena_reserve_fill(arena, 2 * UNIT));
    pt_arena_release(arena, first);
    PT_REQUIRE_OK(pt_arena_trim(arena));
    fake_start();
    fake.allocate = allocate_counting;
    allocate_count = 0;
    pt_arena_reserve_settle(arena); /* from the end to the front */
    assert_int_equal(allocate_count, 1);
    PT_REQUIRE_OK(pt_arena_trim(arena));
    assert_int_equal(file_size("reserve"), last.offset + last.size);
    pt_arena_reserve_settle(arena);
    assert_int_equal(allocate_count, 1);
    assert_int_equal(pt_arena_reserve_size(arena), 2 * UNIT);
    fake_stop();
    pt_arena_close(arena);
}

static void a_failed_punch_leaves_the_space_free(void **state)
{
    struct pt_arena *arena = arena_new("unpunched");
    struct pt_extent middle = alloc(arena, 4 * UNIT);
    (void)state;

    (void)alloc(arena, UNIT);
    pt_arena_release(arena, middle);
    fake_start();
    fake.punch = punch_failing;
    assert_int_equal(pt_arena_trim(arena), PEAT_IO);
    fake_stop();
    assert_int_equal(space_of(arena).free_size, 4 * UNIT);
    assert_int_equal(alloc(arena, 4 * UNIT).offset, middle.offset);
    pt_arena_close(arena);
}

/* ---- All together ---- */

enum { REGION_COUNT = 60 };

/* A model's region: its bytes are @p mark throughout the first and last 8 bytes. */
struct marked {
    struct pt_extent extent; /* size 0: none */
    uint64_t mark;
};

static void mark_write(struct pt_arena *arena, const struct marked *region)
{
    struct pt_le64 mark = pt_le64(region->mark);
    uint64_t end = region->extent.offset + region->extent.size;

    PT_REQUIRE_OK(pt_file_write(pt_arena_file(arena), region->extent.offset, &mark, sizeof(mark)));
    PT_REQUIRE_OK(pt_file_write(pt_arena_file(arena), end - sizeof(mark), &mark, sizeof(mark)));
}

static void mark_check(struct pt_arena *arena, const struct marked *region)
{
    const uint8_t *base = pt_arena_base(arena);
    uint64_t end = region->extent.offset + region->extent.size;

    if (region->extent.size == 0)
        return;
    PT_REQUIRE(end <= pt_arena_size(arena));
    PT_REQUIRE(pt_read_le64(base + region->extent.offset) == region->mark);
    PT_REQUIRE(pt_read_le64(base + end - 8) == region->mark);
}

static void random_use_never_hands_out_used_space_and_loses_none(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct marked regions[REGION_COUNT] = {0};
    struct pt_arena *arena = arena_new("random");
    uint64_t generation = 2;
    (void)state;

    for (unsigned step = 0; step < 3000; step++) {
        struct marked *region = &regions[pt_dice_below(&dice, REGION_COUNT)];
        uint64_t used = 0;

        mark_check(arena, region);
        if (region->extent.size == 0) {
            region->extent = alloc(arena, 1 + pt_dice_below(&dice, 10 * UNIT));
            region->mark = pt_dice_next(&dice);
            mark_write(arena, region);
        } else if (pt_dice_one_in(&dice, 2)) {
            PT_REQUIRE_OK(pt_arena_retire(arena, region->extent, generation));
            region->extent.size = 0;
        } else {
            pt_arena_release(arena, region->extent);
            region->extent.size = 0;
        }
        if (pt_dice_one_in(&dice, 10))
            pt_arena_reclaim(arena, generation++);
        if (pt_dice_one_in(&dice, 50))
            PT_REQUIRE_OK(pt_arena_trim(arena));
        if (pt_dice_one_in(&dice, 200)) {
            pt_arena_close(arena);
            arena = arena_again("random", 0);
            for (unsigned i = 0; i < REGION_COUNT; i++)
                if (regions[i].extent.size > 0)
                    PT_REQUIRE_OK(pt_arena_claim(arena, regions[i].extent));
        }
        for (unsigned i = 0; i < REGION_COUNT; i++)
            used += regions[i].extent.size;
        assert_int_equal(space_of(arena).file_size, PT_ARENA_START + used +
                                                        space_of(arena).free_size +
                                                        space_of(arena).retired_size);
    }
    for (unsigned i = 0; i < REGION_COUNT; i++)
        mark_check(arena, &regions[i]);
    pt_arena_close(arena);
}

struct worker {
    struct pt_thread thread;
    struct pt_arena *arena;
    uint64_t number;
    _Atomic bool *stop;
};

static void *worker_run(void *context)
{
    struct worker *worker = context;
    struct pt_dice dice = {worker->number};

    for (unsigned i = 0; i < 400; i++) {
        struct marked region = {.mark = worker->number << 32 | i};

        PT_REQUIRE_OK(
            pt_arena_alloc(worker->arena, 1 + pt_dice_below(&dice, 5 * UNIT), &region.extent));
        mark_write(worker->arena, &region);
        mark_check(worker->arena, &region);
        pt_arena_release(worker->arena, region.extent);
    }
    return NULL;
}

static void *trimmer_run(void *context)
{
    struct worker *worker = context;

    while (!atomic_load_explicit(worker->stop, memory_order_relaxed)) {
        PT_REQUIRE_OK(pt_arena_trim(worker->arena));
        PT_REQUIRE(space_of(worker->arena).file_size >= PT_ARENA_START);
    }
    return NULL;
}

static void threads_allocate_and_trim_side_by_side(void **state)
{
    enum { WORKER_COUNT = 3 };
    struct worker workers[WORKER_COUNT + 1];
    struct pt_arena *arena = arena_new("threads");
    _Atomic bool stop = false;
    (void)state;

    for (uint64_t i = 0; i <= WORKER_COUNT; i++) {
        workers[i] = (struct worker){.arena = arena, .number = i + 1, .stop = &stop};
        PT_REQUIRE_OK(pt_thread_start(&workers[i].thread, "arena-test",
                                      i < WORKER_COUNT ? worker_run : trimmer_run, &workers[i]));
    }
    for (unsigned i = 0; i < WORKER_COUNT; i++)
        pt_thread_join(&workers[i].thread);
    atomic_store_explicit(&stop, true, memory_order_relaxed);
    pt_thread_join(&workers[WORKER_COUNT].thread);
    PT_REQUIRE_OK(pt_arena_trim(arena));
    assert_int_equal(space_of(arena).free_size, 0); /* nothing is lost */
    assert_int_equal(pt_arena_size(arena), PT_ARENA_START);
    pt_arena_close(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_store_is_created_and_found_again),
        cmocka_unit_test(P6_an_empty_store_takes_a_few_kilobytes),
        cmocka_unit_test(a_store_in_memory_is_the_same_arena),
        cmocka_unit_test(making_that_was_cut_short_starts_over),
        cmocka_unit_test(flags_decide_what_may_exist),
        cmocka_unit_test(foreign_files_are_refused_and_untouched),
        cmocka_unit_test(only_regular_files_are_opened),
        cmocka_unit_test(a_second_writer_is_busy_and_readers_are_not),
        cmocka_unit_test(a_file_larger_than_the_address_space_is_refused),
        cmocka_unit_test(the_address_space_is_the_files_limit),
        cmocka_unit_test(where_address_space_is_scarce_the_default_takes_less),
        cmocka_unit_test(claims_must_be_regions_of_the_file_and_not_overlap),
        cmocka_unit_test(what_is_not_claimed_is_free),
        cmocka_unit_test(pointers_stay_valid_while_the_file_grows),
        cmocka_unit_test(a_region_has_its_blocks_when_it_is_handed_out),
        cmocka_unit_test(large_regions_lie_where_huge_pages_can),
        cmocka_unit_test(large_files_grow_in_larger_steps),
        cmocka_unit_test(P6_a_full_disk_is_an_error_that_leaves_nothing_behind),
        cmocka_unit_test(P6_on_a_full_disk_free_space_with_blocks_is_used),
        cmocka_unit_test(P6_the_file_size_limit_is_a_full_disk),
        cmocka_unit_test(without_memory_space_is_lost_until_the_next_open_and_no_more),
        cmocka_unit_test(retired_space_is_reused_once_the_generation_is_durable),
        cmocka_unit_test(P4_what_a_reader_holds_is_kept),
        cmocka_unit_test(reclaiming_asks_for_locks_once_and_a_failed_question_is_a_yes),
        cmocka_unit_test(P4_a_reader_of_before_the_writer_came_is_respected),
        cmocka_unit_test(what_a_damaged_part_may_have_named_is_left_to_its_readers),
        cmocka_unit_test(readers_follow_the_files_growth),
        cmocka_unit_test(trimming_cuts_the_tail_and_punches_the_middle_once),
        cmocka_unit_test(a_reserve_at_the_front_stays_there_and_nothing_is_allocated),
        cmocka_unit_test(a_failed_punch_leaves_the_space_free),
        cmocka_unit_test(random_use_never_hands_out_used_space_and_loses_none),
        cmocka_unit_test(threads_allocate_and_trim_side_by_side),
    };
    int failed;

    pt_test_start();
    PT_REQUIRE_OK(pt_checksum_start());
    failed = cmocka_run_group_tests_name("arena", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

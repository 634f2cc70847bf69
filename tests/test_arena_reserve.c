/*
 * The reserve is there when it is needed: what it holds has blocks, nobody else gets it, whoever draws leaves
 * alone what is to be kept; and it is found again in the file of a full disk. What is handed out has its blocks,
 * always, and nothing is handed out twice. The disk is the simulated one.
 */
#include "core/arena/arena.h"

#include "core/base/file.h"
#include "tests/disk.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { UNIT = PT_REGION_UNIT, MIB = 1048576, STEPS = 4000, REGIONS_MAX = 256 };

#define ADDRESS_SPACE_SIZE ((uint64_t)256 * MIB)

static const uint64_t blocks_before = 8192; /* bytes: the superblocks' */

/* ---- Helpers ---- */

static struct pt_arena *arena_open(uint64_t file_size_max)
{
    const struct pt_arena_options options = {.flags = PEAT_CREATE,
                                             .address_space_size = ADDRESS_SPACE_SIZE,
                                             .file_size_max = file_size_max};
    struct pt_superblock superblock = {
        .generation = 1, .manifest_offset = PT_ARENA_START, .manifest_size = 10};
    struct pt_arena *arena;
    bool created;

    PT_REQUIRE_OK(pt_arena_open("disk", &options, &arena, &created));
    if (created)
        PT_REQUIRE_OK(pt_superblock_write(pt_arena_file(arena), &superblock));
    return arena;
}

/* A new store on a disk with room for @p size bytes of regions. */
static struct pt_arena *arena_on_disk(uint64_t size)
{
    pt_disk_load(NULL, 0);
    pt_disk_set_capacity(blocks_before + size, false);
    return arena_open(0);
}

static struct pt_extent alloc(struct pt_arena *arena, uint64_t size)
{
    struct pt_extent extent;

    PT_REQUIRE_OK(pt_arena_alloc(arena, size, &extent));
    return extent;
}

static void require_full(struct pt_arena *arena)
{
    struct pt_extent extent;

    PT_REQUIRE_STATUS(pt_arena_alloc(arena, UNIT, &extent), PEAT_NO_SPACE);
}

/* Its blocks are there: it can be written wherever the disk is full. */
static void require_blocks(struct pt_arena *arena, struct pt_extent extent)
{
    uint64_t before = pt_disk_block_size();
    uint8_t *bytes = malloc(extent.size);

    PT_REQUIRE(bytes != NULL);
    memset(bytes, 0x5a, extent.size);
    PT_REQUIRE_OK(pt_file_write(pt_arena_file(arena), extent.offset, bytes, extent.size));
    PT_REQUIRE(pt_disk_block_size() == before);
    free(bytes);
}

/* ---- The reserve alone ---- */

static void p6_nobody_gets_the_reserve_but_who_asks_for_it(void **state)
{
    struct pt_arena *arena = arena_on_disk(16 * UNIT);
    struct pt_extent extent;
    uint64_t drawn = 0;
    (void)state;

    PT_REQUIRE_OK(pt_arena_reserve_fill(arena, 5 * UNIT - 1));
    PT_REQUIRE(pt_arena_reserve_size(arena) == 5 * UNIT);
    (void)alloc(arena, 11 * UNIT);
    require_full(arena);
    PT_REQUIRE_OK(pt_arena_trim(arena));
    require_full(arena);
    PT_REQUIRE(pt_disk_block_size() == blocks_before + 16 * UNIT);
    PT_REQUIRE_OK(pt_arena_alloc_reserved(arena, 2 * UNIT, 2 * UNIT, 0, &extent, &drawn));
    PT_REQUIRE(extent.size == 2 * UNIT && drawn == 2 * UNIT);
    require_blocks(arena, extent);
    PT_REQUIRE(pt_arena_reserve_size(arena) == 3 * UNIT);
    pt_arena_release_reserved(arena, extent);
    PT_REQUIRE(pt_arena_reserve_size(arena) == 5 * UNIT);
    require_full(arena);
    pt_arena_close(arena);
}

static void ordinary_space_comes_before_the_reserve(void **state)
{
    struct pt_arena *arena = arena_on_disk(16 * UNIT);
    struct pt_extent extent;
    uint64_t drawn = 0;
    (void)state;

    PT_REQUIRE_OK(pt_arena_reserve_fill(arena, 5 * UNIT));
    PT_REQUIRE_OK(pt_arena_alloc_reserved(arena, 11 * UNIT, UNIT, 0, &extent, &drawn));
    PT_REQUIRE(extent.size == 11 * UNIT && drawn == 0);
    PT_REQUIRE(!pt_arena_is_short(arena));
    PT_REQUIRE(pt_arena_reserve_size(arena) == 5 * UNIT);
    pt_arena_close(arena);
}

static void what_is_to_be_kept_is_left_alone(void **state)
{
    struct pt_arena *arena = arena_on_disk(10 * UNIT);
    struct pt_extent extent;
    (void)state;

    PT_REQUIRE_OK(pt_arena_reserve_fill(arena, 10 * UNIT));
    PT_REQUIRE(pt_arena_reserve_has(arena, 4 * UNIT, 6 * UNIT));
    PT_REQUIRE(!pt_arena_reserve_has(arena, 4 * UNIT, 6 * UNIT + 1));
    PT_REQUIRE_STATUS(pt_arena_alloc_reserved(arena, 4 * UNIT, 4 * UNIT, 7 * UNIT, &extent, NULL),
                      PEAT_NO_SPACE);
    PT_REQUIRE_OK(pt_arena_alloc_reserved(arena, 4 * UNIT, UNIT, 7 * UNIT, &extent, NULL));
    PT_REQUIRE(extent.size == 3 * UNIT);
    PT_REQUIRE(pt_arena_reserve_size(arena) == 7 * UNIT);
    PT_REQUIRE_STATUS(pt_arena_alloc_reserved(arena, UNIT, UNIT, PT_KEEP_ALL, &extent, NULL),
                      PEAT_NO_SPACE);
    pt_arena_close(arena);
}

/* Where nothing is free but single units it is filled with those, and draws give what there is in one piece. */
static void it_is_filled_from_pieces_and_gives_pieces(void **state)
{
    struct pt_arena *arena = arena_on_disk(16 * UNIT);
    struct pt_extent units[16];
    struct pt_extent extent;
    (void)state;

    for (unsigned i = 0; i < 16; i++)
        units[i] = alloc(arena, UNIT);
    for (unsigned i = 0; i < 16; i += 2)
        pt_arena_release(arena, units[i]);
    pt_arena_release(arena, units[7]); /* three side by side: 6 to 8 */
    PT_REQUIRE_OK(pt_arena_reserve_fill(arena, 9 * UNIT));
    PT_REQUIRE_STATUS(pt_arena_alloc_reserved(arena, 5 * UNIT, 4 * UNIT, 0, &extent, NULL),
                      PEAT_NO_SPACE);
    PT_REQUIRE_OK(pt_arena_alloc_reserved(arena, 5 * UNIT, UNIT, 0, &extent, NULL));
    PT_REQUIRE(extent.offset == units[6].offset && extent.size == 3 * UNIT);
    for (unsigned i = 0; i < 6; i++) {
        PT_REQUIRE_OK(pt_arena_alloc_reserved(arena, 5 * UNIT, UNIT, 0, &extent, NULL));
        PT_REQUIRE(extent.size == UNIT);
        require_blocks(arena, extent);
    }
    PT_REQUIRE(pt_arena_reserve_size(arena) == 0);
    pt_arena_close(arena);
}

static void a_reserve_that_cannot_be_filled_is_as_large_as_can_be(void **state)
{
    struct pt_arena *arena = arena_on_disk(8 * UNIT);
    struct pt_extent extent;
    (void)state;

    PT_REQUIRE_STATUS(pt_arena_reserve_fill(arena, 9 * UNIT), PEAT_NO_SPACE);
    PT_REQUIRE(pt_arena_reserve_size(arena) == 8 * UNIT);
    PT_REQUIRE(pt_arena_is_short(arena));
    PT_REQUIRE_OK(pt_arena_reserve_fill(arena, 8 * UNIT)); /* it has that: nothing is asked */
    PT_REQUIRE_OK(pt_arena_alloc_reserved(arena, UNIT, UNIT, 0, &extent, NULL));
    pt_disk_set_capacity(blocks_before + 20 * UNIT, false);
    PT_REQUIRE_OK(pt_arena_reserve_fill(arena, 9 * UNIT));
    PT_REQUIRE(!pt_arena_is_short(arena));
    pt_arena_close(arena);
}

static void what_is_cut_is_free_and_settling_moves_it_to_the_front(void **state)
{
    struct pt_arena *arena = arena_on_disk(32 * UNIT);
    struct pt_extent front = alloc(arena, 4 * UNIT);
    struct pt_arena_space space;
    (void)state;

    PT_REQUIRE_OK(pt_arena_reserve_fill(arena, 6 * UNIT));
    pt_arena_release(arena, front);
    pt_arena_reserve_cut(arena, 4 * UNIT);
    PT_REQUIRE(pt_arena_reserve_size(arena) == 4 * UNIT);
    pt_arena_reserve_settle(arena);
    PT_REQUIRE(pt_arena_reserve_size(arena) == 4 * UNIT);
    PT_REQUIRE_OK(pt_arena_trim(arena));
    pt_arena_space(arena, &space);
    PT_REQUIRE(space.file_size == PT_ARENA_START + 4 * UNIT && space.free_size == 0);
    PT_REQUIRE(space.reserve_size == 4 * UNIT && pt_arena_used_size(arena) == PT_ARENA_START);
    pt_arena_reserve_cut(arena, 0);
    PT_REQUIRE(alloc(arena, 4 * UNIT).offset == front.offset);
    pt_arena_close(arena);
}

/* On disk nothing tells of it: its blocks are found among holes, by asking for them. */
static void p6_on_a_full_disk_it_is_found_again_after_reopening(void **state)
{
    (void)state;
    for (unsigned keeps_part = 0; keeps_part < 2; keeps_part++) {
        struct pt_arena *arena = arena_on_disk(64 * UNIT);
        struct pt_extent units[64];

        for (unsigned i = 0; i < 64; i++)
            units[i] = alloc(arena, UNIT);
        for (unsigned i = 0; i < 64; i += 2) /* holes */
            PT_REQUIRE_OK(pt_file_punch(pt_arena_file(arena), units[i].offset, UNIT));
        pt_arena_close(arena);
        pt_disk_set_capacity(pt_disk_block_size(), keeps_part != 0);
        arena = arena_open(0);
        PT_REQUIRE_OK(pt_arena_claim(arena, units[1]));
        PT_REQUIRE_STATUS(pt_arena_reserve_fill(arena, 64 * UNIT), PEAT_NO_SPACE);
        PT_REQUIRE(pt_arena_reserve_size(arena) == 31 * UNIT);
        for (unsigned i = 0; i < 31; i++) {
            struct pt_extent extent;

            PT_REQUIRE_OK(pt_arena_alloc_reserved(arena, UNIT, UNIT, 0, &extent, NULL));
            require_blocks(arena, extent);
        }
        pt_arena_close(arena);
    }
}

/* ---- Bounds ---- */

static void p6_at_the_quota_deletes_in_a_larger_file_may_take_two_mebibytes(void **state)
{
    struct pt_arena *arena = arena_on_disk(64 * MIB);
    struct pt_extent extent = alloc(arena, 4 * MIB);
    struct pt_extent more;
    (void)state;

    PT_REQUIRE(pt_arena_room(arena) == 60 * MIB);
    pt_arena_close(arena);
    arena = arena_open(2 * MIB);
    PT_REQUIRE_OK(pt_arena_claim(arena, extent));
    PT_REQUIRE(pt_arena_is_short(arena) && pt_arena_room(arena) == 0);
    require_full(arena);
    PT_REQUIRE_STATUS(pt_arena_reserve_fill(arena, UNIT), PEAT_NO_SPACE);
    PT_REQUIRE_OK(pt_arena_alloc_reserved(arena, 2 * MIB, 2 * MIB, 0, &more, NULL));
    PT_REQUIRE_STATUS(pt_arena_alloc_reserved(arena, UNIT, UNIT, 0, &more, NULL), PEAT_NO_SPACE);
    pt_arena_close(arena);
}

static void room_is_what_the_nearest_bound_leaves(void **state)
{
    struct pt_arena *arena = arena_on_disk(8 * MIB);
    struct pt_extent extent = alloc(arena, MIB);
    (void)state;

    PT_REQUIRE(pt_arena_room(arena) == 7 * MIB);
    pt_arena_release(arena, extent);
    PT_REQUIRE(pt_arena_room(arena) == 8 * MIB);
    pt_arena_close(arena);
    arena = arena_open(4 * MIB);
    PT_REQUIRE(pt_arena_room(arena) == 4 * MIB - PT_ARENA_START);
    pt_disk_set_capacity(blocks_before + 2 * MIB, false);
    PT_REQUIRE(pt_arena_room(arena) == 2 * MIB); /* one on the disk, one free in the file */
    pt_arena_close(arena);
}

/* ---- Everything at random ---- */

struct use {
    struct pt_dice dice;
    struct pt_arena *arena;
    struct pt_extent regions[REGIONS_MAX];
    size_t count;
    uint64_t size; /* bytes of these */
};

static void take_step(struct use *use)
{
    uint64_t size = (1 + pt_dice_below(&use->dice, 12)) * UNIT;
    uint64_t keep = pt_dice_below(&use->dice, 40) * UNIT;
    uint64_t drawn = 0;
    struct pt_extent extent;
    enum peat_status status;

    if (use->count == REGIONS_MAX)
        return;
    if (pt_dice_one_in(&use->dice, 3))
        status = pt_arena_alloc_reserved(use->arena, size, UNIT, keep, &extent, &drawn);
    else if (pt_dice_one_in(&use->dice, 3))
        status = pt_arena_alloc_brief(use->arena, size, &extent);
    else
        status = pt_arena_alloc(use->arena, size, &extent);
    if (status != PEAT_OK) {
        PT_REQUIRE_STATUS(status, PEAT_NO_SPACE);
        return;
    }
    PT_REQUIRE(extent.size == size || drawn > 0);
    PT_REQUIRE(drawn == 0 || (drawn == extent.size && drawn <= size));
    PT_REQUIRE(drawn == 0 || pt_arena_reserve_size(use->arena) >= keep / UNIT * UNIT);
    for (size_t i = 0; i < use->count; i++)
        PT_REQUIRE(extent.offset + extent.size <= use->regions[i].offset ||
                   use->regions[i].offset + use->regions[i].size <= extent.offset);
    require_blocks(use->arena, extent);
    use->regions[use->count++] = extent;
    use->size += extent.size;
}

static void give_step(struct use *use)
{
    size_t index;

    if (use->count == 0)
        return;
    index = pt_dice_below(&use->dice, use->count);
    use->size -= use->regions[index].size;
    if (pt_dice_one_in(&use->dice, 3))
        pt_arena_release_reserved(use->arena, use->regions[index]);
    else if (pt_dice_one_in(&use->dice, 2))
        pt_arena_release(use->arena, use->regions[index]);
    else
        PT_REQUIRE_OK(pt_arena_retire(use->arena, use->regions[index], 1));
    use->regions[index] = use->regions[--use->count];
}

static void tend_step(struct use *use)
{
    uint64_t size = pt_dice_below(&use->dice, 60) * UNIT;
    enum peat_status status;

    switch (pt_dice_below(&use->dice, 5)) {
    case 0:
        status = pt_arena_reserve_fill(use->arena, size);
        PT_REQUIRE(status == PEAT_OK || status == PEAT_NO_SPACE);
        PT_REQUIRE(status != PEAT_OK || pt_arena_reserve_size(use->arena) >= size);
        break;
    case 1:
        pt_arena_reserve_cut(use->arena, size);
        PT_REQUIRE(pt_arena_reserve_size(use->arena) <= size);
        break;
    case 2:
        pt_arena_reserve_settle(use->arena);
        break;
    case 3:
        pt_arena_reclaim(use->arena, 1);
        break;
    default:
        PT_REQUIRE_OK(pt_arena_trim(use->arena));
    }
}

/* All that there is is in use, free, retired or in the reserve. */
static void sum_verify(struct use *use)
{
    struct pt_arena_space space;

    pt_arena_space(use->arena, &space);
    PT_REQUIRE(PT_ARENA_START + use->size + space.free_size + space.retired_size +
                   space.reserve_size ==
               space.file_size);
    PT_REQUIRE(pt_disk_block_size() >= blocks_before + use->size + space.reserve_size);
}

static void p6_random_use_of_a_disk_that_is_mostly_full_breaks_no_promise(void **state)
{
    static struct use use;
    uint64_t seed = pt_test_seed();
    (void)state;

    for (uint64_t round = 0; round < 4; round++) {
        memset(&use, 0, sizeof(use));
        use.dice.state = pt_mix(seed + round);
        pt_disk_load(NULL, 0);
        pt_disk_set_capacity(blocks_before + 100 * UNIT, round % 2 == 0);
        use.arena = arena_open(round < 2 ? 0 : 120 * UNIT);
        for (unsigned step = 0; step < STEPS; step++) {
            pt_test_context("round %" PRIu64 ", step %u", round, step);
            if (pt_dice_one_in(&use.dice, 3))
                tend_step(&use);
            else if (pt_dice_below(&use.dice, 20) < 11)
                take_step(&use);
            else
                give_step(&use);
            if (pt_dice_one_in(&use.dice, 500)) /* another program takes some, or gives it back */
                pt_disk_set_capacity(blocks_before + (60 + pt_dice_below(&use.dice, 60)) * UNIT,
                                     round % 2 == 0);
            sum_verify(&use);
        }
        pt_arena_close(use.arena);
    }
}

static int disk_start(void **state)
{
    (void)state;
    pt_disk_start();
    return 0;
}

static int disk_stop(void **state)
{
    (void)state;
    pt_disk_stop();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p6_nobody_gets_the_reserve_but_who_asks_for_it),
        cmocka_unit_test(ordinary_space_comes_before_the_reserve),
        cmocka_unit_test(what_is_to_be_kept_is_left_alone),
        cmocka_unit_test(it_is_filled_from_pieces_and_gives_pieces),
        cmocka_unit_test(a_reserve_that_cannot_be_filled_is_as_large_as_can_be),
        cmocka_unit_test(what_is_cut_is_free_and_settling_moves_it_to_the_front),
        cmocka_unit_test(p6_on_a_full_disk_it_is_found_again_after_reopening),
        cmocka_unit_test(p6_at_the_quota_deletes_in_a_larger_file_may_take_two_mebibytes),
        cmocka_unit_test(room_is_what_the_nearest_bound_leaves),
        cmocka_unit_test(p6_random_use_of_a_disk_that_is_mostly_full_breaks_no_promise),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, disk_start, disk_stop);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

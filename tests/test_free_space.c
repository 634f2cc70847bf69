/*
 * The free space is what was added and not taken: sorted, disjoint, joined where it touches, and
 * exactly as large as it says.
 */
#include "core/arena/free_space.h"

#include "core/base/alloc.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { UNIT = 64 }; /* of the random test: bytes per cell */

static struct pt_free_extent extent_of(uint64_t offset, uint64_t size)
{
    struct pt_free_extent extent = {.offset = offset, .size = size, .has_blocks = true};
    return extent;
}

static void assert_extent(const struct pt_free_space *space, size_t index, uint64_t offset,
                          uint64_t size)
{
    assert_true(index < space->count);
    assert_int_equal(space->extents[index].offset, offset);
    assert_int_equal(space->extents[index].size, size);
}

static void neighbours_are_joined_on_both_sides(void **state)
{
    struct pt_free_space space;
    (void)state;

    pt_free_space_init(&space);
    assert_true(pt_free_space_add(&space, extent_of(100, 50)));
    assert_true(pt_free_space_add(&space, extent_of(300, 50)));
    assert_int_equal(space.count, 2);
    assert_true(pt_free_space_add(&space, extent_of(150, 150)));
    assert_int_equal(space.count, 1);
    assert_extent(&space, 0, 100, 250);
    assert_int_equal(space.size, 250);
    pt_free_space_fini(&space);
}

static void joining_keeps_what_is_known_of_either_part(void **state)
{
    struct pt_free_extent with_holes = {.offset = 200, .size = 100, .has_holes = true};
    struct pt_free_space space;
    (void)state;

    pt_free_space_init(&space);
    assert_true(pt_free_space_add(&space, extent_of(100, 100)));
    assert_true(pt_free_space_add(&space, with_holes));
    assert_int_equal(space.count, 1);
    assert_true(space.extents[0].has_blocks);
    assert_true(space.extents[0].has_holes);
    pt_free_space_fini(&space);
}

static void taking_from_the_middle_leaves_both_ends(void **state)
{
    struct pt_free_extent taken;
    struct pt_free_space space;
    (void)state;

    pt_free_space_init(&space);
    assert_true(pt_free_space_add(&space, extent_of(0, 1000)));
    assert_int_equal(pt_free_space_take(&space, 400, 200, &taken), PEAT_OK);
    assert_int_equal(taken.offset, 400);
    assert_int_equal(taken.size, 200);
    assert_true(taken.has_blocks);
    assert_int_equal(space.count, 2);
    assert_extent(&space, 0, 0, 400);
    assert_extent(&space, 1, 600, 400);
    assert_int_equal(space.size, 800);
    pt_free_space_fini(&space);
}

static void what_is_not_wholly_free_is_not_taken(void **state)
{
    struct pt_free_space space;
    (void)state;

    pt_free_space_init(&space);
    assert_int_equal(pt_free_space_take(&space, 0, 1, NULL), PEAT_NOT_FOUND);
    assert_true(pt_free_space_add(&space, extent_of(100, 100)));
    assert_int_equal(pt_free_space_take(&space, 50, 100, NULL), PEAT_NOT_FOUND);
    assert_int_equal(pt_free_space_take(&space, 150, 100, NULL), PEAT_NOT_FOUND);
    assert_int_equal(pt_free_space_take(&space, 200, 10, NULL), PEAT_NOT_FOUND);
    assert_int_equal(pt_free_space_take(&space, 150, UINT64_MAX - 100, NULL), PEAT_NOT_FOUND);
    assert_int_equal(space.size, 100);
    pt_free_space_fini(&space);
}

static void the_first_fit_is_the_lowest_aligned_one(void **state)
{
    struct pt_free_extent with_holes = {.offset = 0, .size = 64, .has_holes = true};
    struct pt_free_space space;
    uint64_t offset = 0;
    (void)state;

    pt_free_space_init(&space);
    assert_true(pt_free_space_add(&space, with_holes));
    assert_true(pt_free_space_add(&space, extent_of(100, 200)));
    assert_true(pt_free_space_add(&space, extent_of(500, 600)));
    assert_true(pt_free_space_find(&space, 64, 1, false, &offset));
    assert_int_equal(offset, 0);
    assert_true(pt_free_space_find(&space, 64, 1, true, &offset));
    assert_int_equal(offset, 100);
    assert_true(pt_free_space_find(&space, 200, 1, false, &offset));
    assert_int_equal(offset, 100);
    assert_true(pt_free_space_find(&space, 200, 256, false, &offset));
    assert_int_equal(offset, 512);
    assert_false(pt_free_space_find(&space, 601, 1, false, &offset));
    pt_free_space_fini(&space);
}

static void the_tail_is_what_ends_at_the_end(void **state)
{
    struct pt_free_space space;
    (void)state;

    pt_free_space_init(&space);
    assert_int_equal(pt_free_space_tail(&space, 1000), 1000);
    assert_true(pt_free_space_add(&space, extent_of(100, 100)));
    assert_int_equal(pt_free_space_tail(&space, 1000), 1000);
    assert_true(pt_free_space_add(&space, extent_of(900, 100)));
    assert_int_equal(pt_free_space_tail(&space, 1000), 900);
    pt_free_space_fini(&space);
}

static bool no_allocation(size_t size)
{
    (void)size;
    return false;
}

static void without_memory_nothing_changes(void **state)
{
    struct pt_free_space space;
    uint64_t offset = 0;
    (void)state;

    pt_free_space_init(&space);
    while (space.count < space.capacity || space.count == 0) {
        assert_true(pt_free_space_add(&space, extent_of(offset, 300)));
        offset += 1000;
    }
    pt_alloc_set_hook(no_allocation);
    assert_false(pt_free_space_add(&space, extent_of(offset, 10)));
    assert_int_equal(pt_free_space_take(&space, 100, 100, NULL), PEAT_NO_MEMORY);
    assert_int_equal(space.size, space.count * 300);
    assert_int_equal(pt_free_space_take(&space, 0, 100, NULL), PEAT_OK); /* needs none */
    pt_alloc_set_hook(NULL);
    pt_free_space_fini(&space);
}

static void the_list_is_bounded(void **state)
{
    struct pt_free_space space;
    (void)state;

    pt_free_space_init(&space);
    for (uint64_t i = 0; i < PT_FREE_EXTENT_COUNT_MAX; i++)
        assert_true(pt_free_space_add(&space, extent_of(2 * i, 1)));
    assert_false(pt_free_space_add(&space, extent_of(2 * PT_FREE_EXTENT_COUNT_MAX, 1)));
    assert_true(pt_free_space_add(&space, extent_of(1, 1))); /* joins: one extent less */
    assert_int_equal(space.count, PT_FREE_EXTENT_COUNT_MAX - 1);
    pt_free_space_fini(&space);
}

/* The model: a cell per UNIT bytes, true if free. */
enum { CELL_COUNT = 200 };

static void assert_like_model(const struct pt_free_space *space, const bool cells[CELL_COUNT])
{
    bool covered[CELL_COUNT] = {false};
    uint64_t size = 0;
    uint64_t end = 0;

    for (size_t i = 0; i < space->count; i++) {
        const struct pt_free_extent *extent = &space->extents[i];

        assert_true(extent->size > 0);
        assert_true(i == 0 || extent->offset > end); /* not touching either */
        end = extent->offset + extent->size;
        size += extent->size;
        for (uint64_t cell = extent->offset / UNIT; cell < end / UNIT; cell++)
            covered[cell] = true;
    }
    assert_int_equal(size, space->size);
    assert_memory_equal(covered, cells, sizeof(covered));
}

static bool cells_are(const bool cells[CELL_COUNT], uint64_t first, uint64_t count, bool value)
{
    for (uint64_t i = first; i < first + count; i++)
        if (cells[i] != value)
            return false;
    return true;
}

static void random_adds_and_takes_match_a_bitmap(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    bool cells[CELL_COUNT] = {false};
    struct pt_free_space space;
    (void)state;

    pt_free_space_init(&space);
    for (unsigned step = 0; step < 20000; step++) {
        uint64_t first = pt_dice_below(&dice, CELL_COUNT);
        uint64_t count =
            1 + pt_dice_below(&dice, CELL_COUNT - first < 12 ? CELL_COUNT - first : 12);
        bool all_free = cells_are(cells, first, count, true);

        if (cells_are(cells, first, count, false)) {
            assert_true(pt_free_space_add(&space, extent_of(first * UNIT, count * UNIT)));
            memset(cells + first, true, count);
        } else {
            assert_int_equal(pt_free_space_take(&space, first * UNIT, count * UNIT, NULL),
                             all_free ? PEAT_OK : PEAT_NOT_FOUND);
            if (all_free)
                memset(cells + first, false, count);
        }
        if (step % 16 == 0)
            assert_like_model(&space, cells);
    }
    assert_like_model(&space, cells);
    pt_free_space_fini(&space);
}

static void a_close_fit_is_taken_before_a_larger_extent_further_to_the_front(void **state)
{
    struct pt_free_space space;
    uint64_t offset = 0;
    (void)state;

    pt_free_space_init(&space);
    assert_true(pt_free_space_add(&space, extent_of(0, 1000)));
    assert_true(pt_free_space_add(&space, extent_of(2000, 199)));
    assert_true(pt_free_space_add(&space, extent_of(3000, 100)));
    assert_true(pt_free_space_find(&space, 100, 1, false, &offset));
    assert_int_equal(offset, 2000);
    assert_true(pt_free_space_find(&space, 50, 1, false, &offset));
    assert_int_equal(offset, 0); /* none is close */
    pt_free_space_fini(&space);
}

static void find_last_gives_the_end_of_the_last_extent_that_is_large_enough(void **state)
{
    struct pt_free_extent with_holes = {.offset = 2000, .size = 200, .has_holes = true};
    struct pt_free_space space;
    uint64_t offset = 0;
    (void)state;

    pt_free_space_init(&space);
    assert_true(pt_free_space_add(&space, extent_of(0, 1000)));
    assert_true(pt_free_space_add(&space, with_holes));
    assert_true(pt_free_space_add(&space, extent_of(3000, 50)));
    assert_true(pt_free_space_find_last(&space, 100, false, &offset));
    assert_int_equal(offset, 2100);
    assert_true(pt_free_space_find_last(&space, 100, true, &offset));
    assert_int_equal(offset, 900);
    assert_false(pt_free_space_find_last(&space, 1001, false, &offset));
    pt_free_space_fini(&space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_joined_on_both_sides),
        cmocka_unit_test(joining_keeps_what_is_known_of_either_part),
        cmocka_unit_test(taking_from_the_middle_leaves_both_ends),
        cmocka_unit_test(what_is_not_wholly_free_is_not_taken),
        cmocka_unit_test(the_first_fit_is_the_lowest_aligned_one),
        cmocka_unit_test(the_tail_is_what_ends_at_the_end),
        cmocka_unit_test(without_memory_nothing_changes),
        cmocka_unit_test(the_list_is_bounded),
        cmocka_unit_test(a_close_fit_is_taken_before_a_larger_extent_further_to_the_front),
        cmocka_unit_test(find_last_gives_the_end_of_the_last_extent_that_is_large_enough),
        cmocka_unit_test(random_adds_and_takes_match_a_bitmap),
    };
    pt_test_start();
    return cmocka_run_group_tests_name("free space", tests, NULL, NULL);
}

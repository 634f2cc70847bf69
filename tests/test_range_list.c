/*
 * A range list says of each key and commit which range delete is the newest to cover it, however the
 * ranges overlap and in whatever portions they were added.
 */
#include "core/db/range_list.h"

#include "core/base/alloc.h"
#include "tests/hard_keys.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { DELETES_MAX = 400, KEYS = 300 };

/* The keys, in order, and what was added. */
struct fixture {
    uint8_t rooms[KEYS][PT_HARD_KEY_SIZE_MAX];
    struct peat_bytes keys[KEYS];
    struct pt_range_delete deletes[DELETES_MAX];
    size_t count;
};

static int compare_keys(const void *a, const void *b)
{
    return pt_bytes_compare(*(const struct peat_bytes *)a, *(const struct peat_bytes *)b);
}

static int fixture_open(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    for (size_t i = 0; i < KEYS; i++)
        fixture->keys[i] = pt_hard_key(i, fixture->rooms[i]);
    qsort(fixture->keys, KEYS, sizeof(fixture->keys[0]), compare_keys);
    *state = fixture;
    return 0;
}

static int fixture_close(void **state)
{
    free(*state);
    return 0;
}

static bool covers(const struct pt_range_delete *delete, struct peat_bytes key, uint64_t commit)
{
    return delete->commit <= commit && pt_bytes_compare(delete->low, key) <= 0 &&
           pt_bytes_compare(key, delete->high) < 0;
}

/* The naive answer. */
static uint32_t newest_cover(const struct fixture *fixture, struct peat_bytes key, uint64_t commit)
{
    for (size_t i = fixture->count; i-- > 0;) {
        if (covers(&fixture->deletes[i], key, commit))
            return fixture->deletes[i].place;
    }
    return 0;
}

static void require_covers_agree(const struct fixture *fixture, const struct pt_range_list *list,
                                 uint64_t commit)
{
    size_t count_max = pt_range_list_fragment_count(list);
    struct pt_range_cover *found = calloc(count_max, sizeof(*found));
    size_t count;
    size_t at = 0;

    assert_non_null(found);
    count = pt_range_list_covers(list, commit, found);
    PT_REQUIRE(count <= count_max);
    for (size_t i = 0; i < count; i++) {
        PT_REQUIRE(pt_bytes_compare(found[i].low, found[i].high) < 0);
        PT_REQUIRE(i == 0 || pt_bytes_compare(found[i - 1].high, found[i].low) <= 0);
    }
    for (size_t k = 0; k < KEYS; k++) {
        uint32_t expected = newest_cover(fixture, fixture->keys[k], commit);

        while (at < count && pt_bytes_compare(found[at].high, fixture->keys[k]) <= 0)
            at++;
        PT_REQUIRE(pt_range_list_find(list, fixture->keys[k], commit) == expected);
        if (at < count && pt_bytes_compare(found[at].low, fixture->keys[k]) <= 0)
            PT_REQUIRE(found[at].place == expected);
        else
            PT_REQUIRE(expected == 0);
    }
    free(found);
}

/* Note a range delete between the keys number @p low and @p high. */
static void note(struct fixture *fixture, size_t low, size_t high, uint64_t commit)
{
    uint32_t last = fixture->count == 0 ? 1 : fixture->deletes[fixture->count - 1].place;

    fixture->deletes[fixture->count++] =
        (struct pt_range_delete){fixture->keys[low], fixture->keys[high], commit, last + 3};
}

static void note_random(struct fixture *fixture, struct pt_dice *dice, size_t width_max,
                        uint64_t commit)
{
    size_t low = pt_dice_below(dice, KEYS - 1);
    size_t width = 1 + pt_dice_below(dice, width_max);

    note(fixture, low, low + width < KEYS ? low + width : KEYS - 1, commit);
}

static void random_range_deletes_are_found_as_of_each_commit(void **state)
{
    struct fixture *fixture = *state;
    uint64_t seed = pt_test_seed();
    struct pt_dice dice = {seed};

    for (int round = 0; round < 20; round++) {
        size_t width_max = 1 + pt_dice_below(&dice, KEYS);
        uint64_t commits_per_list = 1 + pt_dice_below(&dice, 4);
        struct pt_range_list *list = NULL;
        uint64_t commit = 0;

        pt_test_context("seed %llu, round %d", (unsigned long long)seed, round);
        fixture->count = 0;
        while (fixture->count < 100) {
            size_t before = fixture->count;

            for (uint64_t i = 0; i < commits_per_list; i++) {
                commit += 1 + pt_dice_below(&dice, 2);
                for (uint64_t n = 1 + pt_dice_below(&dice, 4); n > 0; n--)
                    note_random(fixture, &dice, width_max, commit);
            }
            list = pt_range_list_new(list, fixture->deletes + before, fixture->count - before);
            assert_non_null(list);
            assert_int_equal(pt_range_list_place(list), fixture->deletes[fixture->count - 1].place);
            require_covers_agree(fixture, list, commit);
            require_covers_agree(fixture, list, pt_dice_below(&dice, commit + 1));
        }
        for (uint64_t older = 0; older <= commit; older++)
            require_covers_agree(fixture, list, older);
        pt_range_list_free_all(list);
    }
}

/* So a batch of very many range deletes costs no more than what is left of them. */
static void ranges_of_one_commit_join_under_a_wider_one(void **state)
{
    struct fixture *fixture = *state;
    struct pt_range_list *list;

    fixture->count = 0;
    for (size_t i = 1; i + 2 < KEYS; i += 2)
        note(fixture, i, i + 1, 5);
    note(fixture, 0, KEYS - 1, 5);
    list = pt_range_list_new(NULL, fixture->deletes, fixture->count);
    assert_non_null(list);
    assert_int_equal(pt_range_list_fragment_count(list), 1);
    require_covers_agree(fixture, list, 4);
    require_covers_agree(fixture, list, 5);
    pt_range_list_free_all(list);
}

static void a_list_stays_as_it_was_when_another_is_built_from_it(void **state)
{
    struct fixture *fixture = *state;
    struct pt_range_list *list;
    struct pt_range_list *next;

    fixture->count = 0;
    note(fixture, 10, 20, 1);
    list = pt_range_list_new(NULL, fixture->deletes, 1);
    assert_non_null(list);
    note(fixture, 15, 30, 2);
    next = pt_range_list_new(list, fixture->deletes + 1, 1);
    assert_non_null(next);
    assert_int_equal(pt_range_list_fragment_count(next), 3);
    require_covers_agree(fixture, next, 2);
    require_covers_agree(fixture, next, 1);
    fixture->count = 1;
    assert_int_equal(pt_range_list_fragment_count(list), 1);
    require_covers_agree(fixture, list, 2);
    pt_range_list_free(next);
    require_covers_agree(fixture, list, 2);
    pt_range_list_free_all(list);
}

static size_t allocations_left;

static bool allow_some(size_t size)
{
    (void)size;
    return allocations_left > 0 && allocations_left-- > 0;
}

static void without_memory_there_is_no_list_and_nothing_leaks(void **state)
{
    struct fixture *fixture = *state;
    struct pt_range_list *base;
    size_t base_count;
    size_t failures = 0;

    fixture->count = 0;
    for (size_t i = 1; i + 2 < KEYS; i += 3)
        note(fixture, i, i + 1, 1);
    base_count = fixture->count;
    base = pt_range_list_new(NULL, fixture->deletes, base_count);
    assert_non_null(base);
    for (size_t i = 0; i + 5 < KEYS; i += 4)
        note(fixture, i, i + 3, 2 + i);
    for (bool built = false; !built; failures++) {
        struct pt_range_list *list;

        allocations_left = failures;
        pt_alloc_set_hook(allow_some);
        list = pt_range_list_new(base, fixture->deletes + base_count, fixture->count - base_count);
        pt_alloc_set_hook(NULL);
        built = list != NULL;
        if (built)
            require_covers_agree(fixture, list, 100);
        pt_range_list_free(list);
    }
    assert_true(failures > 4);
    pt_range_list_free_all(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_range_deletes_are_found_as_of_each_commit),
        cmocka_unit_test(ranges_of_one_commit_join_under_a_wider_one),
        cmocka_unit_test(a_list_stays_as_it_was_when_another_is_built_from_it),
        cmocka_unit_test(without_memory_there_is_no_list_and_nothing_leaks),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, fixture_open, fixture_close);
    pt_test_end();
    return failed;
}

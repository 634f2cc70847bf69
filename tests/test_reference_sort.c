/*
 * References come out in key order, the versions of a key newest first and marked, whatever the keys
 * look like; and two sorted arrays merge into what sorting all at once gives.
 */
#include "core/db/reference_sort.h"

#include "tests/hard_keys.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { AREA_SIZE = 8 << 20, COUNT_MAX = 20000 };

/* An area as a write buffer fills it, with references to its entries. */
struct fixture {
    uint8_t *area;
    uint64_t end;
    size_t count;
    uint32_t places[COUNT_MAX];
    struct pt_reference references[COUNT_MAX + 1]; /* one to see that it is left alone */
    struct pt_reference spare[COUNT_MAX];
    struct pt_reference merged[COUNT_MAX];
};

static int fixture_open(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture->area = calloc(1, AREA_SIZE);
    assert_non_null(fixture->area);
    fixture->end = PT_AREA_START;
    *state = fixture;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *fixture = *state;

    free(fixture->area);
    free(fixture);
    return 0;
}

static void clear(struct fixture *fixture)
{
    fixture->end = PT_AREA_START;
    fixture->count = 0;
}

/* The place of the newest entry of @p key so far, found the slow way; 0: none. */
static uint32_t newest_of(const struct fixture *fixture, struct peat_bytes key)
{
    for (size_t i = fixture->count; i-- > 0;) {
        if (pt_bytes_equal(pt_area_key(fixture->area, fixture->places[i]), key))
            return fixture->places[i];
    }
    return 0;
}

static bool add(struct fixture *fixture, struct peat_bytes key, uint32_t previous)
{
    struct pt_area_header header = {.previous = previous, .commit = 1};

    if (fixture->count == COUNT_MAX ||
        AREA_SIZE - fixture->end < sizeof(header) + pt_entry_size(key.size, 0))
        return false;
    fixture->places[fixture->count++] = pt_area_place(fixture->end);
    memcpy(fixture->area + fixture->end, &header, sizeof(header));
    fixture->end += sizeof(header);
    fixture->end +=
        pt_entry_write(fixture->area + fixture->end, PT_OP_DELETE, key, pt_bytes(NULL, 0));
    return true;
}

/* Sort the entries from number @p begin up to @p end into references; returns the common size. */
static size_t sort(struct fixture *fixture, size_t begin, size_t end)
{
    const struct pt_reference untouched = {1, 2, 3};
    struct pt_common_prefix common = {.count = 0};

    for (size_t i = begin; i < end; i++) {
        struct pt_reference *reference = &fixture->references[begin + common.count];

        reference->place = fixture->places[i];
        reference->repeats = pt_area_header(fixture->area, fixture->places[i])->previous;
        pt_common_prefix_add(&common, fixture->references + begin,
                             pt_area_key(fixture->area, fixture->places[i]), 0);
    }
    fixture->references[end] = untouched;
    pt_reference_sort(fixture->area, fixture->references + begin, fixture->spare, end - begin,
                      common.size);
    PT_REQUIRE(memcmp(&fixture->references[end], &untouched, sizeof(untouched)) == 0);
    return common.size;
}

static void require_sorted(const struct fixture *fixture, const struct pt_reference *references,
                           size_t count, size_t common_size)
{
    struct peat_bytes last = {NULL, 0};

    for (size_t i = 0; i < count; i++) {
        struct peat_bytes key = pt_area_key(fixture->area, references[i].place);
        int order = i == 0 ? -1 : pt_bytes_compare(last, key);

        PT_REQUIRE(order <= 0);
        PT_REQUIRE(references[i].repeats == (order == 0));
        if (order == 0)
            PT_REQUIRE(references[i - 1].place > references[i].place);
        PT_REQUIRE(references[i].prefix == pt_bytes_prefix(key, common_size));
        PT_REQUIRE(key.size >= common_size);
        if (i > 0)
            PT_REQUIRE(pt_bytes_common(last, key) >= common_size);
        last = key;
    }
}

static int compare_places(const void *a, const void *b)
{
    const uint32_t *left = a;
    const uint32_t *right = b;

    return (*left > *right) - (*left < *right);
}

/* Nothing lost, nothing twice. */
static void require_places(struct fixture *fixture, const struct pt_reference *references,
                           size_t count, const uint32_t *places)
{
    uint32_t *found = calloc(count + 1, sizeof(*found));

    assert_non_null(found);
    for (size_t i = 0; i < count; i++)
        found[i] = references[i].place;
    qsort(found, count, sizeof(*found), compare_places);
    PT_REQUIRE(memcmp(found, places, count * sizeof(*found)) == 0);
    free(found);
    (void)fixture;
}

static void require_sort_of_all(struct fixture *fixture)
{
    size_t common_size = sort(fixture, 0, fixture->count);

    require_sorted(fixture, fixture->references, fixture->count, common_size);
    require_places(fixture, fixture->references, fixture->count, fixture->places);
}

static void sorting_nothing_and_one_is_done(void **state)
{
    struct fixture *fixture = *state;

    clear(fixture);
    require_sort_of_all(fixture);
    assert_true(add(fixture, pt_text("alone"), 0));
    require_sort_of_all(fixture);
    assert_int_equal(fixture->references[0].prefix, 0); /* all of it is common */
}

static void random_mixtures_of_hard_keys_are_sorted(void **state)
{
    struct fixture *fixture = *state;
    uint64_t seed = pt_test_seed();
    struct pt_dice dice = {seed};

    for (int round = 0; round < 200; round++) {
        size_t count = 1 + pt_dice_below(&dice, 1u << pt_dice_below(&dice, 11));
        uint64_t variety = 1 + pt_dice_below(&dice, 1u << pt_dice_below(&dice, 13));
        uint64_t kinds = 1 + pt_dice_below(&dice, 8);
        uint64_t kind = pt_dice_below(&dice, 8);
        /* As in a buffer, or as in a run that begins behind the older versions. */
        bool linked = pt_dice_one_in(&dice, 2);

        pt_test_context("seed %llu, round %d", (unsigned long long)seed, round);
        clear(fixture);
        while (fixture->count < count) {
            uint8_t room[PT_HARD_KEY_SIZE_MAX];
            uint64_t number =
                pt_dice_below(&dice, variety) * 8 + (kind + pt_dice_below(&dice, kinds)) % 8;
            struct peat_bytes key = pt_hard_key(number, room);

            if (!add(fixture, key, linked ? newest_of(fixture, key) : 0))
                break;
        }
        require_sort_of_all(fixture);
    }
}

static void a_key_with_very_many_versions_is_sorted(void **state)
{
    struct fixture *fixture = *state;

    for (int linked = 0; linked < 2; linked++) {
        uint32_t last = 0;

        clear(fixture);
        while (add(fixture, pt_text("the same key, over and over"), linked ? last : 0))
            last = fixture->places[fixture->count - 1];
        require_sort_of_all(fixture);
        assert_true(fixture->references[0].place > fixture->references[1].place);
    }
}

/* Each key is the start of all longer ones: ties all the way down. */
static void keys_that_begin_each_other_are_sorted(void **state)
{
    struct fixture *fixture = *state;
    uint8_t room[3000];

    for (int byte = 0; byte < 2; byte++) {
        memset(room, byte, sizeof(room));
        clear(fixture);
        for (size_t size = sizeof(room); size > 0; size--)
            (void)add(fixture, pt_bytes(room, size * 7919 % sizeof(room)), 0);
        require_sort_of_all(fixture);
    }
}

static void keys_alike_for_long_are_sorted(void **state)
{
    struct fixture *fixture = *state;
    uint8_t room[300];

    clear(fixture);
    for (uint64_t i = 0; i < COUNT_MAX; i++) {
        uint64_t random = pt_mix(i % 15000);

        memset(room, 'p', sizeof(room));
        memcpy(room + 8 * (random % 30), &random, sizeof(random));
        (void)add(fixture, pt_bytes(room, 200 + i % 97), 0);
    }
    require_sort_of_all(fixture);
}

static void a_merge_is_what_sorting_all_gives(void **state)
{
    struct fixture *fixture = *state;
    uint64_t seed = pt_test_seed();
    struct pt_dice dice = {seed};

    for (int round = 0; round < 200; round++) {
        size_t count = 2 + pt_dice_below(&dice, 1000);
        size_t cut = 1 + pt_dice_below(&dice, count - 1);
        uint64_t variety = 1 + pt_dice_below(&dice, 1000);
        uint64_t kind_older = pt_dice_below(&dice, 9); /* 8: all */
        uint64_t kind_newer = pt_dice_below(&dice, 9);
        struct pt_reference_run older = {.references = fixture->references, .count = cut};
        struct pt_reference_run newer = {.references = fixture->references + cut,
                                         .count = count - cut};
        size_t common_size;

        pt_test_context("seed %llu, round %d", (unsigned long long)seed, round);
        clear(fixture);
        while (fixture->count < count) {
            uint64_t kind = fixture->count < cut ? kind_older : kind_newer;
            uint8_t room[PT_HARD_KEY_SIZE_MAX];
            struct peat_bytes key = pt_hard_key(pt_dice_below(&dice, variety) * 8 +
                                                    (kind < 8 ? kind : pt_dice_below(&dice, 8)),
                                                room);

            assert_true(add(fixture, key, newest_of(fixture, key)));
        }
        older.common_size = sort(fixture, 0, cut);
        newer.common_size = sort(fixture, cut, count);
        common_size = pt_reference_merge(fixture->area, &newer, &older, fixture->merged);
        require_sorted(fixture, fixture->merged, count, common_size);
        require_places(fixture, fixture->merged, count, fixture->places);
        assert_int_equal(common_size, sort(fixture, 0, count));
        assert_memory_equal(fixture->merged, fixture->references,
                            count * sizeof(fixture->merged[0]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorting_nothing_and_one_is_done),
        cmocka_unit_test(random_mixtures_of_hard_keys_are_sorted),
        cmocka_unit_test(a_key_with_very_many_versions_is_sorted),
        cmocka_unit_test(keys_that_begin_each_other_are_sorted),
        cmocka_unit_test(keys_alike_for_long_are_sorted),
        cmocka_unit_test(a_merge_is_what_sorting_all_gives),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, fixture_open, fixture_close);
    pt_test_end();
    return failed;
}

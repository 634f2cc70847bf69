/*
 * The property: collection ids as key prefixes keep the order of the ids, none begins another, and
 * [prefix, end of prefix) is exactly a collection's keys.
 */
#include "core/db/collection_id.h"

#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { PAIRS = 200000 };

/* An id of any number of bytes, often next to where the encoding changes. */
static uint64_t some_id(struct pt_dice *dice)
{
    unsigned bits = (unsigned)pt_dice_below(dice, 65);
    uint64_t edge = bits == 64 ? 0 : UINT64_C(1) << bits;

    switch (pt_dice_below(dice, 4)) {
    case 0:
        return edge + pt_dice_below(dice, 5) - 2;
    case 1:
        return 236 + pt_dice_below(dice, 24);
    case 2:
        return pt_dice_next(dice);
    default:
        return bits == 0 ? 0 : pt_dice_next(dice) >> (64 - bits);
    }
}

static bool begins_with(struct peat_bytes key, struct peat_bytes start)
{
    return key.size >= start.size && memcmp(key.data, start.data, start.size) == 0;
}

static void small_ids_take_one_byte_and_the_largest_nine(void **state)
{
    struct pt_id_prefix prefix = pt_id_prefix(239);
    (void)state;

    assert_int_equal(prefix.size, 1);
    assert_int_equal(prefix.bytes[0], 239);
    prefix = pt_id_prefix(240);
    assert_int_equal(prefix.size, 2);
    assert_memory_equal(prefix.bytes, "\xf0\xf0", 2);
    prefix = pt_id_prefix(256);
    assert_int_equal(prefix.size, 3);
    assert_memory_equal(prefix.bytes, "\xf1\x01\x00", 3);
    prefix = pt_id_prefix(UINT64_MAX);
    assert_int_equal(prefix.size, PT_ID_PREFIX_MAX);
    assert_memory_equal(prefix.bytes, "\xf7\xff\xff\xff\xff\xff\xff\xff\xff", 9);
}

static void prefixes_keep_the_order_of_ids_and_none_begins_another(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned i = 0; i < PAIRS; i++) {
        uint64_t a = some_id(&dice);
        uint64_t b = pt_dice_one_in(&dice, 4) ? a + 1 : some_id(&dice);
        struct pt_id_prefix first = pt_id_prefix(a);
        struct pt_id_prefix second = pt_id_prefix(b);
        int order = pt_bytes_compare(pt_id_prefix_bytes(&first), pt_id_prefix_bytes(&second));

        pt_test_context("ids %llx and %llx", (unsigned long long)a, (unsigned long long)b);
        PT_REQUIRE((order < 0) == (a < b));
        PT_REQUIRE((order > 0) == (a > b));
        if (a != b) {
            PT_REQUIRE(!begins_with(pt_id_prefix_bytes(&first), pt_id_prefix_bytes(&second)));
            PT_REQUIRE(!begins_with(pt_id_prefix_bytes(&second), pt_id_prefix_bytes(&first)));
        }
    }
    pt_test_context("%s", "");
}

static void a_collection_is_the_range_from_its_prefix_to_the_end_of_it(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned i = 0; i < PAIRS; i++) {
        uint64_t id = some_id(&dice);
        struct pt_id_prefix low = pt_id_prefix(id);
        struct pt_id_prefix high = pt_id_prefix_end(low);
        uint64_t other = some_id(&dice);
        struct pt_id_prefix prefix = pt_id_prefix(other);
        uint8_t key[PT_ID_PREFIX_MAX + 4];
        struct peat_bytes bytes = {key, prefix.size + (size_t)pt_dice_below(&dice, 5)};
        bool inside;

        memset(key, pt_dice_one_in(&dice, 2) ? 0xff : (int)pt_dice_below(&dice, 256), sizeof(key));
        memcpy(key, prefix.bytes, prefix.size);
        inside = pt_bytes_compare(pt_id_prefix_bytes(&low), bytes) <= 0 &&
                 pt_bytes_compare(bytes, pt_id_prefix_bytes(&high)) < 0;
        pt_test_context("a key of %llx in %llx", (unsigned long long)other, (unsigned long long)id);
        PT_REQUIRE(inside == (id == other));

        /* The longest key there can be starts with the collection's prefix: it is inside, too. */
        memset(key, 0xff, sizeof(key));
        memcpy(key, low.bytes, low.size);
        PT_REQUIRE(pt_bytes_compare(pt_bytes(key, low.size + 4u), pt_id_prefix_bytes(&high)) < 0);
    }
    pt_test_context("%s", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ids_take_one_byte_and_the_largest_nine),
        cmocka_unit_test(prefixes_keep_the_order_of_ids_and_none_begins_another),
        cmocka_unit_test(a_collection_is_the_range_from_its_prefix_to_the_end_of_it),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("collection_id", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * The property: damage is told with every key that it hits: in words that can be printed whatever the keys are, and
 * as a range that holds them all, wider where a key is too long, but never narrower.
 */
#include "core/db/damage_report.h"

#include "core/base/alloc.h"
#include "core/db/collection_id.h"
#include "core/db/snapshot.h"
#include "tests/support.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LONG_SIZE = 5000, TEXT_SIZE = 64 };

/* ---- In words ---- */

static void a_key_in_words_is_plain_ascii_and_cut_to_its_room(void **state)
{
    char text[TEXT_SIZE];
    (void)state;

    pt_damage_key_text(pt_text("key-1"), text, sizeof(text));
    assert_string_equal(text, "key-1");
    pt_damage_key_text(pt_text("a b\\c\177\001"), text, sizeof(text));
    assert_string_equal(text, "a\\20b\\5cc\\7f\\01");
    pt_damage_key_text(pt_bytes(NULL, 0), text, sizeof(text));
    assert_string_equal(text, "");
    pt_damage_key_text(pt_text("0123456789abcdef"), text, 12);
    assert_string_equal(text, "01234...");
}

/* ---- Ranges ---- */

static void a_gap_is_cut_to_the_keys_of_its_collection(void **state)
{
    static const struct {
        const char *low, *high;
        bool low_stays, high_stays;
    } cases[] = {
        {"cc-low", "cc-up", true, true},
        {"c", "cd", false, false},  /* shorter than the prefix; of the one behind */
        {"ca-", "d", false, false}, /* as long, but another's */
        {"cc", "cc", true, true},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pt_gap gap = {.low = pt_text(cases[i].low), .high = pt_text(cases[i].high)};

        pt_damage_within(&gap, pt_text("cc"));
        PT_REQUIRE((gap.low.data != NULL) == cases[i].low_stays);
        PT_REQUIRE((gap.high.data != NULL) == cases[i].high_stays);
        pt_damage_within(&gap, pt_text("cc")); /* again, now perhaps without bounds */
        PT_REQUIRE((gap.low.data != NULL) == cases[i].low_stays);
        PT_REQUIRE((gap.high.data != NULL) == cases[i].high_stays);
    }
}

static void all_keys_are_of_the_collection_with_an_empty_prefix(void **state)
{
    struct pt_gap gap = {.low = pt_text("low"), .high = pt_text("up")};
    (void)state;

    pt_damage_within(&gap, pt_bytes(NULL, 0));
    PT_REQUIRE(pt_same(gap.low, pt_text("low")) && pt_same(gap.high, pt_text("up")));
}

static void the_range_of_a_gap_holds_its_keys_and_no_others(void **state)
{
    struct pt_gap gap = {.low = pt_text("#low"), .high = pt_text("#up")};
    struct peat_range range;
    uint8_t *place;
    (void)state;

    PT_REQUIRE_OK(pt_damage_range(&gap, 1, &place, &range));
    PT_REQUIRE(pt_same(range.low, pt_text("low")) && pt_same(range.high, pt_text("up")));
    pt_free(place);
    gap.low_open = true;
    gap.high_closed = true;
    PT_REQUIRE_OK(pt_damage_range(&gap, 1, &place, &range));
    PT_REQUIRE(pt_same(range.low, pt_bytes("low", 4)) && pt_same(range.high, pt_bytes("up", 3)));
    pt_free(place);
    gap.low = pt_bytes(NULL, 0);
    gap.high = pt_text("");
    PT_REQUIRE_OK(pt_damage_range(&gap, 1, &place, &range)); /* bounds of no collection's keys */
    PT_REQUIRE(range.low.data == NULL && range.high.data == NULL);
    pt_free(place);
}

/* ---- peat_last_damage() ---- */

static void *ask_in_a_new_thread(void *context)
{
    struct peat_range range;

    *(enum peat_status *)context = peat_last_damage(&range);
    return NULL;
}

static void a_thread_that_met_no_damage_is_told_of_none(void **state)
{
    const struct pt_gap gap = {.low = pt_text("a"), .high = pt_text("b"), .status = PEAT_CORRUPT};
    enum peat_status status = PEAT_OK;
    struct peat_range range;
    pthread_t thread;
    (void)state;

    PT_REQUIRE_STATUS(pt_damage_fail(NULL, &gap, 0), PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_last_damage(&range));
    PT_REQUIRE(pthread_create(&thread, NULL, ask_in_a_new_thread, &status) == 0);
    PT_REQUIRE(pthread_join(thread, NULL) == 0);
    PT_REQUIRE(status == PEAT_NOT_FOUND);
    (void)pt_fail(PEAT_INVALID, "something else");
    PT_REQUIRE_STATUS(peat_last_damage(&range), PEAT_NOT_FOUND);
}

static void keys_too_long_to_keep_make_the_range_wider(void **state)
{
    static uint8_t low[LONG_SIZE];
    static uint8_t high[LONG_SIZE];
    struct pt_gap gap = {.low = pt_bytes(low, sizeof(low)),
                         .high = pt_bytes(high, sizeof(high)),
                         .low_open = true,
                         .high_closed = true,
                         .status = PEAT_CORRUPT};
    struct peat_range range;
    (void)state;

    memset(low, 'l', sizeof(low));
    memset(high, 0xff, sizeof(high));
    high[0] = 'u';
    PT_REQUIRE_STATUS(pt_damage_fail(NULL, &gap, 0), PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_last_damage(&range));
    PT_REQUIRE(range.low.size > 0 && range.low.size < LONG_SIZE);
    PT_REQUIRE(memcmp(range.low.data, low, range.low.size) == 0);
    PT_REQUIRE(pt_same(range.high, pt_text("v")));
    high[0] = 0xff; /* no key of its size is behind it */
    PT_REQUIRE_STATUS(pt_damage_fail(NULL, &gap, 0), PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_last_damage(&range));
    PT_REQUIRE(range.high.data == NULL);
}

/* ---- Explaining ---- */

static void what_is_no_damage_of_a_run_is_passed_on_as_it_is(void **state)
{
    struct peat_options options = pt_test_options(0);
    struct pt_id_prefix prefix = pt_id_prefix(PT_ROOT_ID);
    struct peat_bytes start = pt_id_prefix_bytes(&prefix);
    struct peat_snapshot *snapshot;
    struct peat_db *db;
    (void)state;

    PT_REQUIRE_OK(peat_open(NULL, &options, &db));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_flush(db));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE(snapshot->pin.stack->run_count == 1);
    PT_REQUIRE_STATUS(
        pt_damage_explain(snapshot->pin.stack, pt_text("\001key"), start, PEAT_CORRUPT),
        PEAT_CORRUPT);
    PT_REQUIRE_STATUS(pt_damage_explain(snapshot->pin.stack, pt_text("\001key"), start, PEAT_IO),
                      PEAT_IO);
    PT_REQUIRE_STATUS(
        pt_damage_explain(snapshot->pin.stack, pt_text("\001key"), start, PEAT_NO_MEMORY),
        PEAT_NO_MEMORY);
    PT_REQUIRE_STATUS(
        pt_damage_explain(snapshot->pin.stack, pt_text("\377key"), start, PEAT_CORRUPT),
        PEAT_CORRUPT); /* behind all slices */
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_in_words_is_plain_ascii_and_cut_to_its_room),
        cmocka_unit_test(a_gap_is_cut_to_the_keys_of_its_collection),
        cmocka_unit_test(all_keys_are_of_the_collection_with_an_empty_prefix),
        cmocka_unit_test(the_range_of_a_gap_holds_its_keys_and_no_others),
        cmocka_unit_test(a_thread_that_met_no_damage_is_told_of_none),
        cmocka_unit_test(keys_too_long_to_keep_make_the_range_wider),
        cmocka_unit_test(what_is_no_damage_of_a_run_is_passed_on_as_it_is),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * The property: under load the number of runs stays bounded, and an old, large run is rewritten only
 * for as much new data; at rest one run is left.
 */
#include "core/db/merge_policy.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { FLUSHES = 2000, RUNS_ROOM = 64 };

/* Runs by size, newest first. */
struct runs {
    uint64_t sizes[RUNS_ROOM];
    size_t count;
};

static void flush(struct runs *runs, uint64_t size)
{
    PT_REQUIRE(runs->count < RUNS_ROOM);
    memmove(runs->sizes + 1, runs->sizes, runs->count * sizeof(runs->sizes[0]));
    runs->sizes[0] = size;
    runs->count++;
}

/* Do what the policy wants, once: the bytes rewritten. */
static uint64_t merge(struct runs *runs, enum pt_merge_load load)
{
    struct pt_merge_view view = {.sizes = runs->sizes, .run_count = runs->count, .load = load};
    uint64_t sum = 0;
    size_t width = 0;
    enum pt_merge_wish wish = pt_merge_policy(&view, &width);

    if (wish == PT_MERGE_NOTHING)
        return 0;
    PT_REQUIRE(width >= 2 && width <= runs->count);
    PT_REQUIRE((wish == PT_MERGE_WHOLE) == (width == runs->count));
    for (size_t i = 0; i < width; i++)
        sum += runs->sizes[i];
    runs->sizes[0] = sum;
    memmove(runs->sizes + 1, runs->sizes + width, (runs->count - width) * sizeof(runs->sizes[0]));
    runs->count -= width - 1;
    return sum;
}

static void under_load_runs_stay_few_and_data_is_rewritten_seldom(void **state)
{
    struct runs runs = {.count = 0};
    uint64_t merged = 0;

    (void)state;
    for (unsigned i = 0; i < FLUSHES; i++) {
        flush(&runs, 64);
        merged += merge(&runs, PT_MERGE_BUSY);
        PT_REQUIRE(runs.count <= PT_RUNS_MAX);
    }
    PT_REQUIRE(merged < UINT64_C(6) * 64 * FLUSHES);
}

static void under_pressure_more_runs_are_let_be(void **state)
{
    struct runs runs = {.count = 0};

    (void)state;
    for (unsigned i = 0; i < PT_RUNS_MAX_PRESSED; i++)
        flush(&runs, 64);
    PT_REQUIRE(merge(&runs, PT_MERGE_PRESSED) == 0);
    PT_REQUIRE(merge(&runs, PT_MERGE_BUSY) > 0);
    for (unsigned i = 0; i < FLUSHES; i++) {
        flush(&runs, 64);
        (void)merge(&runs, PT_MERGE_PRESSED);
        PT_REQUIRE(runs.count <= PT_RUNS_MAX_PRESSED);
    }
}

static void a_large_old_run_waits_for_as_much_new_data(void **state)
{
    struct runs runs = {.count = 0};

    (void)state;
    flush(&runs, 100000);
    for (unsigned i = 0; i < PT_RUNS_MAX; i++)
        flush(&runs, 64);
    PT_REQUIRE(merge(&runs, PT_MERGE_BUSY) == UINT64_C(64) * PT_RUNS_MAX);
    PT_REQUIRE(runs.count == 2 && runs.sizes[1] == 100000);
}

static void at_rest_one_run_is_left(void **state)
{
    struct runs runs = {.count = 0};

    (void)state;
    PT_REQUIRE(merge(&runs, PT_MERGE_IDLE) == 0);
    for (unsigned i = 0; i < 5; i++)
        flush(&runs, 64 + i);
    PT_REQUIRE(merge(&runs, PT_MERGE_IDLE) > 0);
    PT_REQUIRE(runs.count == 1);
    PT_REQUIRE(merge(&runs, PT_MERGE_IDLE) == 0);
}

static enum pt_merge_wish wish_of(const struct pt_merge_view *view)
{
    size_t width;

    return pt_merge_policy(view, &width);
}

static void much_garbage_has_all_runs_merged_whatever_the_load(void **state)
{
    static const uint64_t sizes[] = {100, 900};
    struct pt_merge_view view = {.sizes = sizes, .run_count = 2, .load = PT_MERGE_PRESSED};

    (void)state;
    PT_REQUIRE(wish_of(&view) == PT_MERGE_NOTHING);
    view.garbage_size = 50;
    PT_REQUIRE(wish_of(&view) == PT_MERGE_NOTHING);
    view.garbage_size = 400;
    PT_REQUIRE(wish_of(&view) == PT_MERGE_WHOLE);
    view.garbage_size = 1000; /* nothing at all is live */
    PT_REQUIRE(wish_of(&view) == PT_MERGE_WHOLE);
}

static void deletions_alone_at_the_bottom_are_merged_away_at_rest(void **state)
{
    static const uint64_t sizes[] = {900};
    struct pt_merge_view view = {.sizes = sizes, .run_count = 1, .load = PT_MERGE_IDLE};

    (void)state;
    PT_REQUIRE(wish_of(&view) == PT_MERGE_NOTHING);
    view.garbage_at_bottom = true;
    PT_REQUIRE(wish_of(&view) == PT_MERGE_WHOLE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(under_load_runs_stay_few_and_data_is_rewritten_seldom),
        cmocka_unit_test(under_pressure_more_runs_are_let_be),
        cmocka_unit_test(a_large_old_run_waits_for_as_much_new_data),
        cmocka_unit_test(at_rest_one_run_is_left),
        cmocka_unit_test(much_garbage_has_all_runs_merged_whatever_the_load),
        cmocka_unit_test(deletions_alone_at_the_bottom_are_merged_away_at_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

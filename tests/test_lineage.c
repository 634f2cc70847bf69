/*
 * The property: whoever has the same records has the same lineage, however often an epoch began without one; it never
 * has more rows than the limit, and what was there before a point is what is left when it is cut there.
 */
#include "core/db/lineage.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct pt_log_point at(uint64_t commit, uint64_t position)
{
    struct pt_log_point point = {.commit = commit, .position = position};

    pt_value_fill(position, point.chain.bytes, sizeof(point.chain.bytes));
    return point;
}

static void note(struct pt_lineage *lineage, uint64_t epoch, uint64_t commit, uint64_t position)
{
    struct pt_log_point point = at(commit, position);

    assert_true(pt_lineage_note(lineage, epoch, &point));
    assert_int_equal(pt_lineage_newest(lineage), epoch);
}

static bool is_same(const struct pt_lineage *a, const struct pt_lineage *b)
{
    return a->count == b->count &&
           memcmp(a->epochs, b->epochs, a->count * sizeof(a->epochs[0])) == 0;
}

static void an_epoch_is_noted_once_and_an_older_one_never(void **state)
{
    struct pt_lineage lineage;
    struct pt_log_point point = at(20, 2000);
    (void)state;

    pt_lineage_begin(&lineage, 1);
    assert_true(pt_lineage_is_plain(&lineage));
    note(&lineage, 3, 10, 1000);
    assert_false(pt_lineage_is_plain(&lineage));
    for (uint64_t epoch = 0; epoch <= 3; epoch++)
        assert_false(pt_lineage_note(&lineage, epoch, &point));
    assert_int_equal(lineage.count, 2);
    assert_int_equal(pt_lineage_at(&lineage, 999), 1);
    assert_int_equal(pt_lineage_at(&lineage, 1000), 3);
    assert_int_equal(lineage.epochs[1].first_commit, 11);
    assert_int_equal(lineage.epochs[1].position, 1000);
}

static void an_epoch_without_a_record_leaves_no_trace(void **state)
{
    struct pt_lineage lineage;
    struct pt_lineage other;
    (void)state;

    pt_lineage_begin(&lineage, 1);
    pt_lineage_begin(&other, 1);
    note(&lineage, 2, 10, 1000);
    note(&lineage, 4, 10, 1000);
    note(&other, 4, 10, 1000);
    assert_true(is_same(&lineage, &other));
}

static void cut_at_a_point_it_is_what_it_was_there(void **state)
{
    struct pt_lineage lineage;
    struct pt_lineage before;
    struct pt_log_point point;
    (void)state;

    pt_lineage_begin(&lineage, 1);
    note(&lineage, 2, 10, 1000);
    before = lineage;
    note(&lineage, 3, 10, 1072); /* only a seal lies between */
    note(&lineage, 4, 20, 2000);
    point = at(10, 1071);
    pt_lineage_cut(&lineage, &point);
    assert_true(is_same(&lineage, &before));
    point = at(10, 1000);
    pt_lineage_cut(&lineage, &point);
    assert_true(is_same(&lineage, &before));
    point = at(9, 1000); /* a claim that contradicts itself */
    point.epoch = 7;
    pt_lineage_cut(&lineage, &point);
    assert_int_equal(lineage.count, 1);
    lineage.count = 0;
    pt_lineage_cut(&lineage, &point);
    assert_true(pt_lineage_is_plain(&lineage) && pt_lineage_newest(&lineage) == 7);
}

static void what_is_newer_elsewhere_is_added(void **state)
{
    struct pt_lineage lineage;
    struct pt_lineage newer;
    (void)state;

    pt_lineage_begin(&lineage, 1);
    note(&lineage, 2, 10, 1000);
    newer = lineage;
    note(&newer, 3, 15, 1500);
    note(&newer, 4, 20, 2000);
    pt_lineage_extend(&newer, &lineage);
    assert_int_equal(newer.count, 4);
    pt_lineage_extend(&lineage, &newer);
    assert_true(is_same(&lineage, &newer));
    note(&lineage, 9, 30, 9000);
    newer.count = 0;
    pt_lineage_extend(&newer, &lineage);
    assert_true(is_same(&lineage, &newer));
}

static void beyond_the_limit_the_oldest_is_forgotten(void **state)
{
    struct pt_lineage lineage;
    struct pt_log_point log = at(5000, 500000);
    (void)state;

    pt_lineage_begin(&lineage, 1);
    for (uint64_t i = 1; i < PEAT_EPOCHS_MAX + 10; i++) {
        note(&lineage, 1 + i, 10 * i, 1000 * i);
        log.epoch = 1 + i;
        assert_true(pt_lineage_is_valid(&lineage, &log));
    }
    assert_int_equal(lineage.count, PEAT_EPOCHS_MAX);
    assert_int_equal(lineage.epochs[0].epoch, 11);
    assert_int_equal(pt_lineage_at(&lineage, 9999), 0);
    assert_int_equal(lineage.epochs[0].first_commit, 101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_is_noted_once_and_an_older_one_never),
        cmocka_unit_test(an_epoch_without_a_record_leaves_no_trace),
        cmocka_unit_test(cut_at_a_point_it_is_what_it_was_there),
        cmocka_unit_test(what_is_newer_elsewhere_is_added),
        cmocka_unit_test(beyond_the_limit_the_oldest_is_forgotten),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("lineage", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

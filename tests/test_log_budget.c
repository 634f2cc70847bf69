/* The property: what a replay would cost never looks smaller than it is, whoever asks in between. */
#include "core/db/log_budget.h"

#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void small_operations_cost_more_than_their_bytes(void **state)
{
    (void)state;
    assert_int_equal(pt_log_cost(1, 30), PT_LOG_COST_MIN);
    assert_int_equal(pt_log_cost(10, 30), 10 * PT_LOG_COST_MIN);
    assert_int_equal(pt_log_cost(1, 400000), 400000 + PT_LOG_RECORD_COST);
}

static void what_is_before_a_durable_point_is_settled(void **state)
{
    struct pt_log_budget budget;

    (void)state;
    pt_log_budget_init(&budget);
    pt_log_budget_spend(&budget, 100);
    pt_log_budget_seal(&budget, 1000);
    pt_log_budget_spend(&budget, 10);
    pt_log_budget_seal(&budget, 2000);
    pt_log_budget_spend(&budget, 1);
    assert_int_equal(pt_log_budget_used(&budget), 111);
    assert_int_equal(pt_log_budget_sealed(&budget), 110);
    pt_log_budget_settle(&budget, 999);
    assert_int_equal(pt_log_budget_used(&budget), 111);
    pt_log_budget_settle(&budget, 1000);
    assert_int_equal(pt_log_budget_used(&budget), 11);
    assert_int_equal(pt_log_budget_sealed(&budget), 10);
    pt_log_budget_settle(&budget, 5000);
    assert_int_equal(pt_log_budget_used(&budget), 1);
    assert_int_equal(pt_log_budget_sealed(&budget), 0);
    pt_log_budget_fini(&budget);
}

/* More buffers than there are marks: some are forgotten, and settled with the next one. */
static void many_seals_between_two_checkpoints_settle_late_but_surely(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_log_budget budget;
    uint64_t spent_at[10 * PT_LOG_MARKS_MAX];
    uint64_t spent = 0;
    uint64_t point = 0; /* never goes back */

    (void)state;
    pt_log_budget_init(&budget);
    for (uint64_t i = 0; i < 10 * PT_LOG_MARKS_MAX; i++) {
        uint64_t cost = pt_dice_below(&dice, 1000);

        spent += cost;
        spent_at[i] = spent;
        pt_log_budget_spend(&budget, cost);
        pt_log_budget_seal(&budget, i);
        if (pt_dice_one_in(&dice, 60)) {
            point += pt_dice_below(&dice, i - point + 1);
            pt_log_budget_settle(&budget, point);
            assert_true(pt_log_budget_used(&budget) >= spent - spent_at[point]);
        }
        assert_int_equal(pt_log_budget_used(&budget), pt_log_budget_sealed(&budget));
    }
    pt_log_budget_settle(&budget, 10 * PT_LOG_MARKS_MAX - 1);
    assert_int_equal(pt_log_budget_used(&budget), 0);
    pt_log_budget_fini(&budget);
}

/* Nothing of what was spent there is settled by a position any more: those begin anew. */
static void a_log_that_left_its_history_costs_nothing(void **state)
{
    struct pt_log_budget budget;
    (void)state;

    pt_log_budget_init(&budget);
    pt_log_budget_spend(&budget, 5000);
    pt_log_budget_seal(&budget, 5000);
    pt_log_budget_spend(&budget, 3000);
    pt_log_budget_restart(&budget, 1000);
    assert_int_equal(pt_log_budget_used(&budget), 0);
    assert_int_equal(pt_log_budget_sealed(&budget), 0);
    pt_log_budget_spend(&budget, 200);
    pt_log_budget_seal(&budget, 1200);
    assert_int_equal(pt_log_budget_used(&budget), 200);
    pt_log_budget_settle(&budget, 1200);
    assert_int_equal(pt_log_budget_used(&budget), 0);
    pt_log_budget_fini(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_operations_cost_more_than_their_bytes),
        cmocka_unit_test(what_is_before_a_durable_point_is_settled),
        cmocka_unit_test(many_seals_between_two_checkpoints_settle_late_but_surely),
        cmocka_unit_test(a_log_that_left_its_history_costs_nothing),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * Files of stores in several states, damaged in every way and every place: what is shown is right, or there
 * is an error that says so. tests/README.md says how; this is the short form, and peat-torture-tests
 * --scripts damage the long one. test_damage looks closer at a few.
 *
 * PEAT_SECONDS, or the first argument: how long the campaign goes on.
 */
#include "tests/campaign.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seconds;

static void p3_damage_anywhere_gives_right_answers_or_an_error(void **state)
{
    struct pt_campaign campaign = pt_campaign_default();
    struct pt_fault_counts counts;
    (void)state;

    campaign.scripts = PT_SCRIPTS_DAMAGE;
    campaign.seed = pt_test_seed();
    campaign.seconds = seconds;
    pt_campaign_run(&campaign, &counts);
    printf("# %" PRIu64 " damaged opens, %" PRIu64 " refused, %" PRIu64 " whole, %" PRIu64
           " failed\n",
           counts.damage.opens, counts.damage.refused, counts.damage.whole, counts.cuts.failed);
    PT_REQUIRE(counts.damage.opens > 0 && counts.cuts.failed == 0);
    PT_REQUIRE(counts.damage.whole < counts.damage.opens); /* or the damage damaged nothing */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p3_damage_anywhere_gives_right_answers_or_an_error),
    };
    int failed;

    pt_test_start();
    seconds = pt_test_number("PEAT_SECONDS", 20);
    if (argc > 1)
        seconds = strtoull(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * Whatever moment a process is killed at, one that writes, recovers or reads: the store holds a part of its
 * commits, no less than what was acknowledged, whole batches, and goes on. tests/README.md says how; this is
 * the short form, and peat-torture-tests --scripts kills, and places, the long one. test_kill does the same
 * with several threads that commit.
 *
 * PEAT_KILLS, or the first argument: how many at least (half of them at places, half at random moments).
 */
#include "tests/campaign.h"

#include "tests/tracer.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SECONDS_MAX = 400 /* of one test, on a machine that is busy with other things */ };

static uint64_t kills_wanted;

/* ---- The tracer itself ---- */

static int pipe_fds[2];

static void write_three_bytes(void *context)
{
    (void)context;
    for (unsigned i = 0; i < 3; i++)
        if (write(pipe_fds[1], "x", 1) != 1)
            _exit(1);
}

static void a_traced_process_is_killed_before_its_nth_call(void **state)
{
    uint64_t stops;
    char bytes[4];
    (void)state;

    if (!pt_tracer_works()) {
        printf("# skipped: processes cannot be traced here\n");
        skip();
    }
    PT_REQUIRE(pipe(pipe_fds) == 0);
    stops = pt_tracer_run(write_three_bytes, NULL, UINT64_MAX).stops;
    PT_REQUIRE(read(pipe_fds[0], bytes, sizeof(bytes)) == 3);
    for (uint64_t stop = 0; stop < stops; stop++) {
        struct pt_traced traced = pt_tracer_run(write_three_bytes, NULL, stop);
        ssize_t count;

        PT_REQUIRE(traced.killed && WIFSIGNALED(traced.outcome));
        PT_REQUIRE(write(pipe_fds[1], "end", 1) == 1);
        count = read(pipe_fds[0], bytes, sizeof(bytes));
        /* The last calls are the three writes and the process's end; a sanitizer's are among them. */
        if (!pt_test_is_sanitized())
            PT_REQUIRE(count == 1 + (stop + 4 < stops ? 0 : (ssize_t)(stop + 4 - stops)));
        PT_REQUIRE(count >= 1 && count <= 4);
    }
    PT_REQUIRE(close(pipe_fds[0]) == 0 && close(pipe_fds[1]) == 0);
}

/* ---- Kills ---- */

static void kills_require(enum pt_campaign_scripts scripts)
{
    struct pt_campaign campaign = pt_campaign_default();
    struct pt_fault_counts counts;

    campaign.scripts = scripts;
    campaign.seed = pt_test_seed();
    campaign.seconds = SECONDS_MAX;
    campaign.kills = kills_wanted / 2;
    pt_campaign_run(&campaign, &counts);
    printf("# %" PRIu64 " of readers, %" PRIu64 " while a store was opened, %" PRIu64
           " looks at %" PRIu64 " acknowledged commits\n# %" PRIu64 " kills, %" PRIu64 " failed\n",
           counts.kills.readers, counts.kills.recoveries, counts.kills.verifications,
           counts.kills.commits, counts.kills.kills, counts.cuts.failed);
    PT_REQUIRE(counts.kills.kills > 0 && counts.cuts.failed == 0);
}

static void p2_a_process_killed_at_any_call_leaves_what_was_acknowledged(void **state)
{
    (void)state;
    kills_require(PT_SCRIPTS_PLACES);
}

static void p2_processes_killed_at_any_moment_leave_what_was_acknowledged(void **state)
{
    (void)state;
    kills_require(PT_SCRIPTS_KILLS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traced_process_is_killed_before_its_nth_call),
        cmocka_unit_test(p2_a_process_killed_at_any_call_leaves_what_was_acknowledged),
        cmocka_unit_test(p2_processes_killed_at_any_moment_leave_what_was_acknowledged),
    };
    int failed;

    pt_test_start();
    kills_wanted = pt_test_number("PEAT_KILLS", 1200);
    if (argc > 1)
        kills_wanted = strtoull(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * Whatever a power cut leaves of a store's file, at any moment, the store opens, and shows what was committed
 * up to some commit that is not before what it had promised. tests/README.md says how; this is the short
 * form, and peat-torture-tests the long one.
 *
 * It ends when PEAT_STATES different states (100,000) have been opened; at the latest after PEAT_SECONDS, or
 * the first argument (900).
 */
#include "tests/campaign.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GO_ON_ONE_IN = 4 /* the long form does it with each state */ };
enum { SUPERBLOCK_SIZE = 4096, SEEDS = 30 };

static uint64_t seconds; /* at most */

/* ---- The simulated disk itself ---- */

enum { DISK_SIZE = 8192, STATES_MAX = 400 };

/* All states of one point, as far as the tests look. */
struct gathered {
    size_t count;
    uint64_t sizes[STATES_MAX];
    bool there[STATES_MAX];
    uint8_t first_bytes[STATES_MAX][DISK_SIZE / PT_SECTOR]; /* of each sector */
};

static struct gathered gathered; /* large */

static bool all_wanted(void *context, const struct pt_crash_state *state)
{
    (void)context;
    (void)state;
    return true;
}

static void gather(void *context, const struct pt_crash_state *state)
{
    (void)context;
    PT_REQUIRE(gathered.count < STATES_MAX);
    gathered.sizes[gathered.count] = state->size;
    gathered.there[gathered.count] = state->bytes != NULL;
    for (unsigned i = 0; i < DISK_SIZE / PT_SECTOR; i++)
        gathered.first_bytes[gathered.count][i] =
            state->bytes != NULL && (i + 1) * PT_SECTOR <= state->size
                ? state->bytes[(size_t)i * PT_SECTOR]
                : 0;
    gathered.count++;
}

/* The states at the end of the trace. */
static void gather_at_end(const struct pt_trace *trace)
{
    struct pt_crash_disk *disk = pt_crash_disk_new(trace);

    while (pt_crash_disk_step(disk))
        ;
    gathered.count = 0;
    pt_crash_disk_states(disk, 7, 100, all_wanted, gather, NULL);
    pt_crash_disk_free(disk);
}

/* In how many of the states the sector begins with the byte. */
static size_t states_with(unsigned sector, uint8_t byte)
{
    size_t count = 0;

    for (size_t i = 0; i < gathered.count; i++)
        count += gathered.first_bytes[i][sector] == byte;
    return count;
}

/* A disk that holds ones, of a file with a name. */
static void trace_start(struct pt_trace *trace)
{
    uint8_t ones[DISK_SIZE];
    struct pt_promise none = {.issued = 0};

    memset(ones, 1, sizeof(ones));
    pt_trace_init(trace);
    pt_trace_begin(trace, ones, sizeof(ones), ones, sizeof(ones), true, none);
}

static void write_sector(struct pt_trace *trace, unsigned sector, uint8_t byte)
{
    struct pt_disk_op op = {
        .kind = PT_DISK_WRITE, .offset = (uint64_t)sector * PT_SECTOR, .size = PT_SECTOR};
    uint8_t bytes[PT_SECTOR];

    memset(bytes, byte, sizeof(bytes));
    pt_trace_add(trace, op, bytes);
}

static void do_op(struct pt_trace *trace, enum pt_disk_op_kind kind, uint64_t offset, uint64_t size)
{
    struct pt_disk_op op = {.kind = kind, .offset = offset, .size = size};

    pt_trace_add(trace, op, NULL);
}

static void pending_sectors_are_lost_and_kept_in_every_combination(void **state)
{
    struct pt_trace trace;
    bool seen[8] = {false};
    (void)state;

    trace_start(&trace);
    for (unsigned i = 0; i < 3; i++)
        write_sector(&trace, i * 2, 2);
    gather_at_end(&trace);
    for (size_t i = 0; i < gathered.count; i++) {
        const uint8_t *bytes = gathered.first_bytes[i];

        PT_REQUIRE(bytes[1] == 1 && bytes[3] == 1); /* what was not written stays */
        if (bytes[0] <= 2 && bytes[2] <= 2 && bytes[4] <= 2 && bytes[0] * bytes[2] * bytes[4] > 0)
            seen[(bytes[0] - 1) * 4 + (bytes[2] - 1) * 2 + (bytes[4] - 1)] = true;
    }
    for (unsigned i = 0; i < 8; i++)
        PT_REQUIRE(seen[i]);
    PT_REQUIRE(states_with(0, 0) > 0); /* torn */
    pt_trace_fini(&trace);
}

static void a_range_sync_settles_that_range_and_nothing_else(void **state)
{
    struct pt_trace trace;
    (void)state;

    trace_start(&trace);
    write_sector(&trace, 0, 2);
    write_sector(&trace, 1, 2);
    do_op(&trace, PT_DISK_SET_SIZE, 0, DISK_SIZE * 2);
    do_op(&trace, PT_DISK_SYNC_RANGE, PT_SECTOR, PT_SECTOR);
    gather_at_end(&trace);
    PT_REQUIRE(states_with(1, 2) == gathered.count);
    PT_REQUIRE(states_with(0, 1) > 0 && states_with(0, 2) > 0);
    PT_REQUIRE(gathered.sizes[0] == DISK_SIZE * 2 && gathered.sizes[1] == DISK_SIZE);
    do_op(&trace, PT_DISK_SYNC, 0, UINT64_MAX);
    gather_at_end(&trace);
    PT_REQUIRE(states_with(0, 2) == gathered.count);
    for (size_t i = 0; i < gathered.count; i++)
        PT_REQUIRE(gathered.sizes[i] == DISK_SIZE * 2);
    pt_trace_fini(&trace);
}

static void what_a_failed_sync_lost_no_later_sync_brings_back(void **state)
{
    struct pt_trace trace;
    (void)state;

    trace_start(&trace);
    write_sector(&trace, 0, 2);
    do_op(&trace, PT_DISK_SYNC_LOST, 0, UINT64_MAX);
    write_sector(&trace, 1, 2);
    do_op(&trace, PT_DISK_SYNC, 0, UINT64_MAX);
    gather_at_end(&trace);
    PT_REQUIRE(states_with(0, 1) > 0 && states_with(1, 2) == gathered.count);
    write_sector(&trace, 0, 3);
    do_op(&trace, PT_DISK_SYNC, 0, UINT64_MAX);
    gather_at_end(&trace);
    PT_REQUIRE(states_with(0, 3) == gathered.count);
    pt_trace_fini(&trace);
}

static void no_two_sectors_go_back_behind_a_sync(void **state)
{
    struct pt_trace trace;
    size_t went_back = 0;
    (void)state;

    trace_start(&trace);
    write_sector(&trace, 0, 2);
    write_sector(&trace, 1, 2);
    do_op(&trace, PT_DISK_SYNC, 0, UINT64_MAX);
    write_sector(&trace, 0, 3);
    write_sector(&trace, 1, 3);
    for (unsigned i = 0; i < 50; i++) { /* each point has other states */
        gather_at_end(&trace);
        went_back += states_with(0, 1);
        for (size_t k = 0; k < gathered.count; k++)
            PT_REQUIRE(gathered.first_bytes[k][0] != 1 || gathered.first_bytes[k][1] != 1);
        do_op(&trace, PT_DISK_PROMISE, 0, 0);
    }
    PT_REQUIRE(went_back > 0);
    pt_trace_fini(&trace);
}

static void without_its_directory_synced_a_new_file_may_be_gone(void **state)
{
    struct pt_promise none = {.issued = 0};
    struct pt_trace trace;
    (void)state;

    pt_trace_init(&trace);
    pt_trace_begin(&trace, NULL, 0, NULL, 0, false, none);
    write_sector(&trace, 0, 2);
    do_op(&trace, PT_DISK_SYNC, 0, UINT64_MAX);
    gather_at_end(&trace);
    PT_REQUIRE(!gathered.there[0] && gathered.there[1] && states_with(0, 2) > 0);
    do_op(&trace, PT_DISK_SYNC_DIRECTORY, 0, 0);
    gather_at_end(&trace);
    PT_REQUIRE(gathered.there[0]);
    pt_trace_fini(&trace);
}

/* ---- Power cuts ---- */

static void require_none_failed(const struct pt_power_cut_counts *counts)
{
    printf("# %" PRIu64 " scripts, cut at %" PRIu64 " points, %" PRIu64
           " recoveries cut short\n# %" PRIu64 " different states, %" PRIu64 " failed\n",
           counts->scripts, counts->points, counts->recoveries, counts->states, counts->failed);
    PT_REQUIRE(counts->states > 0 && counts->failed == 0);
}

static void p1_p2_a_power_cut_leaves_a_prefix_with_all_that_was_promised(void **state)
{
    struct pt_campaign campaign = pt_campaign_default();
    struct pt_fault_counts counts;
    (void)state;

    campaign.seed = pt_test_seed();
    campaign.seconds = seconds;
    campaign.states_wanted = pt_test_number("PEAT_STATES", 100000);
    campaign.go_on_one_in = GO_ON_ONE_IN;
    pt_campaign_run(&campaign, &counts);
    require_none_failed(&counts.cuts);
}

/* Cases that failed once: all states of one script. */
static void script_require(const struct pt_step *steps, size_t count, unsigned flags)
{
    struct pt_power_cut_counts counts = {.failed = 0};
    struct pt_power_cut power_cut;
    struct pt_script script = {
        .name = "case", .seed = 1, .flags = flags, .steps = steps, .count = count};

    pt_disk_start();
    pt_power_cut_init(&power_cut, &counts);
    power_cut.script_states_max = 400;
    power_cut.nested_one_in = 0;
    power_cut.faulty_one_in = 0;
    pt_power_cut_script(&power_cut, &script);
    pt_power_cut_fini(&power_cut);
    pt_disk_stop();
    require_none_failed(&counts);
}

static void p2_a_commit_in_space_that_the_file_has_just_grown_by_is_durable(void **state)
{
    /* The second batch does not fit into the log's first region. */
    const struct pt_step steps[] = {
        {.kind = PT_STEP_PUT, .level = PEAT_DISK, .key = 1, .size = 100000, .seed = 1},
        {.kind = PT_STEP_PUT, .level = PEAT_DISK, .key = 2, .size = 100000, .seed = 2},
        {.kind = PT_STEP_PUT, .level = PEAT_DISK, .key = 3, .size = 100, .seed = 3},
    };
    (void)state;

    script_require(steps, sizeof(steps) / sizeof(steps[0]), 0);
    script_require(steps, sizeof(steps) / sizeof(steps[0]), PEAT_LOG_PWRITE);
}

/* A power cut has torn the second manifest's superblock, and it reads as one that was never written: what
 * was promised must outlive a second cut too, while the superblocks are written anew. */
static void p2_a_store_in_use_outlives_power_cuts_while_it_has_one_superblock(void **state)
{
    static const uint8_t zeros[SUPERBLOCK_SIZE];
    const struct pt_step put = {
        .kind = PT_STEP_PUT, .level = PEAT_DISK, .key = 1, .size = 100, .seed = 1};
    struct pt_script script = {.name = "one-superblock", .seed = 1};
    struct pt_session *session = calloc(1, sizeof(*session));
    struct pt_power_cut_counts counts = {.failed = 0};
    struct pt_power_cut power_cut;
    struct pt_trace trace;
    uint8_t *bytes;
    uint64_t size;
    (void)state;

    PT_REQUIRE(session != NULL);
    pt_disk_start();
    pt_power_cut_init(&power_cut, &counts);
    pt_session_init(session, 0);
    PT_REQUIRE(pt_session_open(session) && pt_session_step(session, &put));
    PT_REQUIRE(pt_session_end(session, false));
    size = pt_disk_size();
    bytes = malloc(size);
    PT_REQUIRE(bytes != NULL);
    pt_disk_save(bytes, size);
    memcpy(bytes, zeros, sizeof(zeros)); /* the first one, where generation 2 goes */
    pt_disk_load(bytes, size);
    pt_trace_init(&trace);
    pt_trace_begin(&trace, bytes, size, bytes, size, true, session->promise);
    pt_disk_record(&trace);
    PT_REQUIRE(pt_session_open(session));
    pt_disk_record(NULL);
    pt_session_abandon(session);
    for (; script.seed <= SEEDS; script.seed++) /* a few states of each point, others each time */
        pt_power_cut_trace(&power_cut, &script, &trace, &session->history, 0);
    pt_trace_fini(&trace);
    free(bytes);
    free(session);
    pt_power_cut_fini(&power_cut);
    pt_disk_stop();
    require_none_failed(&counts);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pending_sectors_are_lost_and_kept_in_every_combination),
        cmocka_unit_test(a_range_sync_settles_that_range_and_nothing_else),
        cmocka_unit_test(what_a_failed_sync_lost_no_later_sync_brings_back),
        cmocka_unit_test(no_two_sectors_go_back_behind_a_sync),
        cmocka_unit_test(without_its_directory_synced_a_new_file_may_be_gone),
        cmocka_unit_test(p2_a_commit_in_space_that_the_file_has_just_grown_by_is_durable),
        cmocka_unit_test(p2_a_store_in_use_outlives_power_cuts_while_it_has_one_superblock),
        cmocka_unit_test(p1_p2_a_power_cut_leaves_a_prefix_with_all_that_was_promised),
    };
    int failed;

    pt_test_start();
    seconds = pt_test_number("PEAT_SECONDS", 900);
    if (argc > 1)
        seconds = strtoull(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

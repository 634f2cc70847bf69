/*
 * The property: what flushes and merges publish is not durable before a checkpoint, and until then a
 * crash loses none of it: the log still has the commits. A checkpoint makes all of it durable, and what
 * the one before named alone is free then.
 */
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/db/db.h"

#include "tests/fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static struct peat_stats stats_of(struct pt_fixture *fixture)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(fixture->db, &stats));
    return stats;
}

/* Flush on this thread, with the merger out of the way, so that nothing else happens. */
static void flush_alone(struct pt_fixture *fixture)
{
    pt_merger_stop(fixture->db);
    PT_REQUIRE_OK(pt_commit_seal(fixture->db));
    PT_REQUIRE_OK(pt_flush_step(fixture->db));
}

static void what_was_flushed_but_not_checkpointed_comes_back_from_the_log(void **state)
{
    struct pt_fixture *fixture = *state;
    uint64_t generation = stats_of(fixture).generation;

    pt_fixture_put_letters(fixture, "abc");
    flush_alone(fixture);
    PT_REQUIRE(stats_of(fixture).run_count == 1);
    PT_REQUIRE(stats_of(fixture).generation == generation);
    pt_fixture_reopen(fixture, true);
    PT_REQUIRE(stats_of(fixture).replayed_commits == 3);
    pt_fixture_require_keys(fixture, NULL, NULL, "a b c");
}

static void what_was_checkpointed_needs_no_log(void **state)
{
    struct pt_fixture *fixture = *state;
    uint64_t generation = stats_of(fixture).generation;

    pt_fixture_put_letters(fixture, "abc");
    flush_alone(fixture);
    PT_REQUIRE_OK(pt_checkpoint(fixture->db));
    PT_REQUIRE(stats_of(fixture).generation == generation + 1);
    PT_REQUIRE_OK(pt_checkpoint(fixture->db)); /* nothing new: nothing is written */
    PT_REQUIRE(stats_of(fixture).generation == generation + 1);
    pt_fixture_put_letters(fixture, "d");
    pt_fixture_reopen(fixture, true);
    PT_REQUIRE(stats_of(fixture).replayed_commits == 1);
    pt_fixture_require_keys(fixture, NULL, NULL, "a b c d");
}

static void a_flush_that_the_caller_asked_for_is_durable(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_fixture_put_letters(fixture, "abc");
    PT_REQUIRE_OK(peat_flush(fixture->db));
    pt_fixture_reopen(fixture, true);
    PT_REQUIRE(stats_of(fixture).replayed_commits == 0);
    pt_fixture_require_keys(fixture, NULL, NULL, "a b c");
}

static void a_store_at_rest_is_checkpointed(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_fixture_rewrite(fixture, 3);
    PT_REQUIRE(stats_of(fixture).run_count == 1);
    pt_fixture_reopen(fixture, true);
    PT_REQUIRE(stats_of(fixture).replayed_commits == 0);
    PT_REQUIRE(stats_of(fixture).run_count == 1);
}

static void a_merge_without_a_checkpoint_may_be_lost_and_repeated(void **state)
{
    struct pt_fixture *fixture = *state;

    for (unsigned turn = 0; turn < 3; turn++) {
        pt_fixture_put_letters(fixture, turn == 0 ? "abc" : turn == 1 ? "bcd" : "cde");
        PT_REQUIRE_OK(peat_flush(fixture->db));
    }
    pt_merger_stop(fixture->db);
    while (pt_merge_step(fixture->db, true) == PEAT_OK)
        ;
    PT_REQUIRE(stats_of(fixture).run_count == 1);
    pt_fixture_reopen(fixture, true);
    pt_fixture_require_keys(fixture, NULL, NULL, "a b c d e");
}

static int fail_sync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

static void no_sync_succeeds_after_a_checkpoint_whose_sync_failed(void **state)
{
    struct pt_fixture *fixture = *state;
    struct pt_file_calls calls = *pt_file_calls_real();

    calls.sync = fail_sync;
    pt_fixture_put_letters(fixture, "abc");
    flush_alone(fixture);
    pt_file_set_calls(&calls);
    PT_REQUIRE_STATUS(pt_checkpoint(fixture->db), PEAT_IO);
    pt_file_set_calls(NULL);
    PT_REQUIRE_STATUS(peat_sync(fixture->db), PEAT_POISONED);
    PT_REQUIRE_STATUS(pt_checkpoint(fixture->db), PEAT_POISONED);
    pt_fixture_reopen(fixture, true);
    pt_fixture_require_keys(fixture, NULL, NULL, "a b c");
}

/* So that a store at rest takes little memory, and a crash leaves little to replay. */
static void much_that_is_left_in_memory_is_flushed_when_nobody_commits(void **state)
{
    enum { SIZE = 1 << 20, SPEED = 50 };
    static uint8_t bytes[SIZE];
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    struct peat_db *db;
    (void)state;

    pt_clock_set_speed(SPEED);
    PT_REQUIRE_OK(peat_open(pt_test_path("resting"), &options, &db));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("a"), pt_bytes(bytes, SIZE)));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("b"), pt_bytes(bytes, SIZE)));
    do {
        (void)usleep(1000);
        PT_REQUIRE_OK(peat_stats_get(db, &stats));
    } while (stats.flushes == 0 || stats.unflushed_log_size > 0);
    PT_REQUIRE(stats.run_count == 1 && stats.commit == 2);
    pt_clock_set_speed(1);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(what_was_flushed_but_not_checkpointed_comes_back_from_the_log),
        PT_FIXTURE_TEST(what_was_checkpointed_needs_no_log),
        PT_FIXTURE_TEST(a_flush_that_the_caller_asked_for_is_durable),
        PT_FIXTURE_TEST(a_store_at_rest_is_checkpointed),
        cmocka_unit_test(much_that_is_left_in_memory_is_flushed_when_nobody_commits),
        PT_FIXTURE_TEST(no_sync_succeeds_after_a_checkpoint_whose_sync_failed),
        PT_FIXTURE_TEST(a_merge_without_a_checkpoint_may_be_lost_and_repeated),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

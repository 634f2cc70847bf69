/*
 * The property: flush, merging, check and the statistics do what the public header says of them.
 */
#include "tests/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void p1_a_batch_larger_than_every_buffer_is_atomic(void **state)
{
    struct pt_fixture *fixture = *state;
    enum { COUNT = 20000 };
    char value[1000];
    struct peat_bytes bytes = {value, sizeof(value)};
    uint64_t commit = pt_fixture_commit_number(fixture);

    for (unsigned i = 0; i < COUNT; i++) {
        char key[32];

        (void)snprintf(key, sizeof(key), "key %06u", i * 7919 % COUNT);
        pt_value_fill(i * 7919 % COUNT, value, sizeof(value));
        PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text(key), bytes));
    }
    PT_REQUIRE(peat_batch_size(fixture->batch) > (size_t)COUNT * sizeof(value));
    pt_fixture_commit(fixture);
    PT_REQUIRE(pt_fixture_commit_number(fixture) == commit + 1);
    for (unsigned stage = 0; stage < 2; stage++) {
        struct peat_iterator *iterator;

        pt_fixture_reopen(fixture, stage == 0);
        iterator = pt_fixture_iterator(fixture, NULL);
        for (unsigned i = 0; i < COUNT; i++) {
            PT_REQUIRE_OK(peat_iterator_next(iterator));
            PT_REQUIRE(pt_value_matches(i, peat_iterator_value(iterator)));
        }
        PT_REQUIRE_STATUS(peat_iterator_next(iterator), PEAT_DONE);
        peat_iterator_close(iterator);
    }
}

static struct peat_stats stats_of(struct pt_fixture *fixture)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(fixture->db, &stats));
    return stats;
}

static void an_idle_store_ends_with_one_run(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_stats stats;

    pt_fixture_rewrite(fixture, 10);
    stats = stats_of(fixture);
    PT_REQUIRE(stats.run_count == 1);
    PT_REQUIRE(stats.entry_count == 500); /* older versions are gone */
    PT_REQUIRE(stats.flushes > 0 && stats.merges > 0);
}

static void p6_steady_writes_keep_the_number_of_runs_bounded(void **state)
{
    struct pt_fixture *fixture = *state;
    struct pt_dice dice = {1};
    char value[100];
    struct peat_bytes bytes = {value, sizeof(value)};

    pt_value_fill(1, value, sizeof(value));
    for (unsigned i = 0; i < 60; i++) { /* 15 MB through buffers of 128 KiB */
        for (unsigned j = 0; j < 2000; j++) {
            uint64_t random = pt_dice_next(&dice);
            struct peat_bytes key = {&random, sizeof(random)};

            PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, key, bytes));
        }
        pt_fixture_commit(fixture);
        PT_REQUIRE(stats_of(fixture).run_count < 30);
    }
}

static void flush_empties_the_write_buffers(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_fixture_put(fixture, "key", "value");
    PT_REQUIRE(stats_of(fixture).buffer_size > 0);
    PT_REQUIRE_OK(peat_flush(fixture->db));
    PT_REQUIRE(stats_of(fixture).buffer_size == 0);
    PT_REQUIRE(stats_of(fixture).entry_count == 1);
    PT_REQUIRE_OK(peat_flush(fixture->db)); /* nothing to do is done */
    pt_fixture_reopen(fixture, true);
    PT_REQUIRE(stats_of(fixture).replayed_commits == 0);
    pt_fixture_require(fixture, "key", "value");
}

static void stats_count_what_happened(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_stats before = stats_of(fixture);
    struct peat_stats after;
    struct peat_snapshot *snapshot;

    pt_fixture_put(fixture, "key", "value");
    pt_fixture_put(fixture, "key", "value");
    after = stats_of(fixture);
    PT_REQUIRE(after.commits == before.commits + 2);
    PT_REQUIRE(after.commit == before.commit + 2);
    PT_REQUIRE(after.bytes_put == before.bytes_put + 16);
    PT_REQUIRE(after.bytes_logged > before.bytes_logged + 16);
    snapshot = pt_fixture_snapshot(fixture);
    PT_REQUIRE(stats_of(fixture).snapshot_count > 0);
    peat_snapshot_close(snapshot);
    PT_REQUIRE(stats_of(fixture).snapshot_count == 0);
    pt_fixture_reopen(fixture, true);
    PT_REQUIRE(stats_of(fixture).replayed_commits == 2);
}

static void stats_fill_no_more_than_the_caller_has(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_stats stats;

    memset(&stats, 0xab, sizeof(stats));
    stats.struct_size = 0;
    PT_REQUIRE_STATUS(peat_stats_get(fixture->db, &stats), PEAT_INVALID);
    stats.struct_size = offsetof(struct peat_stats, entry_count); /* an older program's */
    PT_REQUIRE_OK(peat_stats_get(fixture->db, &stats));
    PT_REQUIRE(stats.commit == pt_fixture_commit_number(fixture));
    PT_REQUIRE(stats.entry_count == UINT64_C(0xabababababababab));
}

static bool progress_stop(void *context, uint64_t done, uint64_t total)
{
    *(bool *)context = true;
    PT_REQUIRE(done <= total);
    return false;
}

static void check_finds_nothing_in_a_sound_store_and_can_be_stopped(void **state)
{
    struct pt_fixture *fixture = *state;
    bool called = false;
    enum peat_status status;

    PT_REQUIRE_OK(peat_check(fixture->db, NULL, NULL, NULL));
    pt_fixture_rewrite(fixture, 3);
    pt_fixture_put(fixture, "key", "in the log alone");
    PT_REQUIRE_OK(peat_check(fixture->db, NULL, NULL, NULL));
    status = peat_check(fixture->db, NULL, progress_stop, &called);
    PT_REQUIRE_STATUS(status, called ? PEAT_DONE : PEAT_OK);
}

/* Older keys above and below, so that what is flushed over them is cut into small segments. */
static void lay_below(struct pt_fixture *fixture)
{
    pt_fixture_put_letters(fixture, "abklyz");
    PT_REQUIRE_OK(peat_flush(fixture->db));
}

static void put_large(struct pt_fixture *fixture, struct peat_bytes key, size_t size)
{
    void *place;

    PT_REQUIRE_OK(peat_batch_put_reserve(fixture->batch, NULL, key, size, &place));
    pt_value_fill(key.size + size, place, size);
}

static void require_large(struct pt_fixture *fixture, struct peat_bytes key, size_t size)
{
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    struct peat_bytes value;

    PT_REQUIRE_OK(peat_get(snapshot, NULL, key, &value));
    PT_REQUIRE(value.size == size && pt_value_matches(key.size + size, value));
    peat_snapshot_close(snapshot);
}

static void a_value_larger_than_segments_fits_behind_a_range_delete(void **state)
{
    enum { SIZE = 5 << 20 };
    struct pt_fixture *fixture = *state;

    lay_below(fixture);
    PT_REQUIRE_OK(peat_batch_delete_range(fixture->batch, NULL, pt_text("b"), pt_text("c")));
    put_large(fixture, pt_text("k"), SIZE);
    pt_fixture_commit(fixture);
    for (unsigned turn = 0; turn < 2; turn++) {
        PT_REQUIRE_OK(peat_flush(fixture->db));
        require_large(fixture, pt_text("k"), SIZE);
        pt_fixture_require_keys(fixture, NULL, NULL, "a k l y z");
        PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    }
}

static void a_range_delete_goes_on_over_segments_that_long_keys_end(void **state)
{
    enum { COUNT = 200, SHORT = 16, LONG = 200000, SIZE = 9000 };
    static char key[LONG];
    struct pt_fixture *fixture = *state;

    lay_below(fixture);
    PT_REQUIRE_OK(peat_batch_delete_range(fixture->batch, NULL, pt_text("b"), pt_text("y")));
    memset(key, 'x', sizeof(key));
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < COUNT; i++) {
            struct peat_bytes bytes = {key, i % 9 == 0 ? LONG : SHORT};

            (void)snprintf(key, SHORT, "key %03u", i);
            key[strlen(key)] = 'x';
            if (turn == 0)
                put_large(fixture, bytes, SIZE);
            else
                require_large(fixture, bytes, SIZE);
        }
        if (turn == 0)
            pt_fixture_commit(fixture);
        PT_REQUIRE_OK(turn == 0 ? peat_flush(fixture->db)
                                : peat_check(fixture->db, NULL, NULL, NULL));
    }
    pt_fixture_require(fixture, "b", NULL);
    pt_fixture_require(fixture, "k", NULL);
    pt_fixture_require(fixture, "l", NULL);
    pt_fixture_require(fixture, "y", "letter");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(p1_a_batch_larger_than_every_buffer_is_atomic),
        PT_FIXTURE_TEST(an_idle_store_ends_with_one_run),
        PT_FIXTURE_TEST(p6_steady_writes_keep_the_number_of_runs_bounded),
        PT_FIXTURE_TEST(flush_empties_the_write_buffers),
        PT_FIXTURE_TEST(stats_count_what_happened),
        PT_FIXTURE_TEST(stats_fill_no_more_than_the_caller_has),
        PT_FIXTURE_TEST(check_finds_nothing_in_a_sound_store_and_can_be_stopped),
        PT_FIXTURE_TEST(a_value_larger_than_segments_fits_behind_a_range_delete),
        PT_FIXTURE_TEST(a_range_delete_goes_on_over_segments_that_long_keys_end),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

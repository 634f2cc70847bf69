/*
 * The property: after a compaction what it covered is in one run, without deletions and without anything
 * that is hidden; what is shown does not change, whoever else works on the store; and what is free is
 * given back. It can be stopped, and any number may go on at a time.
 */
#include "tests/fixture.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { COUNT = 30000, VALUE_SIZE = 200, BATCH = 500 };

static struct peat_stats stats_of(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats;
}

static struct peat_bytes key_of(char name[16], unsigned number)
{
    struct peat_bytes key = {name, 0};

    key.size = (size_t)snprintf(name, 16, "%08u", number);
    return key;
}

/* Put entries @p first, @p first + @p step ... below @p end, as version @p version. */
static void put_some(struct pt_fixture *fixture, struct peat_collection *collection, unsigned first,
                     unsigned end, unsigned step, unsigned version)
{
    char value[VALUE_SIZE];
    struct peat_bytes bytes = {value, sizeof(value)};
    char name[16];

    for (unsigned i = first; i < end; i += step) {
        pt_value_fill((uint64_t)version << 32 | i, value, sizeof(value));
        PT_REQUIRE_OK(peat_batch_put(fixture->batch, collection, key_of(name, i), bytes));
        if (peat_batch_count(fixture->batch) == BATCH)
            pt_fixture_commit(fixture);
    }
    pt_fixture_commit(fixture);
}

static void delete_some(struct pt_fixture *fixture, unsigned first, unsigned end, unsigned step)
{
    char name[16];

    for (unsigned i = first; i < end; i += step)
        PT_REQUIRE_OK(peat_batch_delete(fixture->batch, NULL, key_of(name, i)));
    pt_fixture_commit(fixture);
}

static void delete_range(struct pt_fixture *fixture, unsigned low, unsigned high)
{
    char low_name[16];
    char high_name[16];

    PT_REQUIRE_OK(peat_batch_delete_range(fixture->batch, NULL, key_of(low_name, low),
                                          key_of(high_name, high)));
    pt_fixture_commit(fixture);
}

/* A digest of all there is, and how many entries. */
static uint64_t digest_of(const struct peat_snapshot *snapshot, uint8_t digest[32])
{
    uint64_t count = 0;

    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, &count));
    return count;
}

static uint64_t digest_now(struct pt_fixture *fixture, uint8_t digest[32])
{
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    uint64_t count = digest_of(snapshot, digest);

    peat_snapshot_close(snapshot);
    return count;
}

/* A store of several runs, with everything in them that can be in runs. */
static void make_layers(struct pt_fixture *fixture)
{
    put_some(fixture, NULL, 0, COUNT, 1, 1);
    PT_REQUIRE_OK(peat_flush(fixture->db));
    put_some(fixture, NULL, 0, COUNT, 3, 2);
    delete_some(fixture, 1, COUNT, 3);
    delete_some(fixture, COUNT, COUNT + 1000, 1); /* of what was never there */
    PT_REQUIRE_OK(peat_flush(fixture->db));
    delete_range(fixture, COUNT / 2, COUNT / 4 * 3);
    put_some(fixture, NULL, COUNT / 3, COUNT / 2, 7, 3);
}

static uint64_t blocks_size(struct pt_fixture *fixture)
{
    struct stat file;

    PT_REQUIRE(stat(fixture->path, &file) == 0);
    return (uint64_t)file.st_blocks * 512;
}

static void p6_a_whole_compaction_leaves_one_run_of_live_entries_and_no_free_space(void **state)
{
    struct pt_fixture *fixture = *state;
    uint8_t before[32];
    uint8_t after[32];
    uint64_t count;
    struct peat_stats stats;

    make_layers(fixture);
    count = digest_now(fixture, before);
    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, NULL, NULL, NULL));
    stats = stats_of(fixture->db);
    PT_REQUIRE(stats.run_count == 1);
    PT_REQUIRE(stats.entry_count == count); /* deletions would count, and what is hidden */
    PT_REQUIRE(stats.buffer_size == 0);
    /* At rest the merger may move the reserve: for a moment it is there twice. */
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    stats = stats_of(fixture->db);
    PT_REQUIRE(blocks_size(fixture) <= stats.segment_size + stats.log_size + stats.manifest_size +
                                           stats.reserve_size + (1 << 18));
    PT_REQUIRE(digest_now(fixture, after) == count && memcmp(before, after, 32) == 0);
    PT_REQUIRE_OK(peat_check(fixture->db, NULL, NULL, NULL));
    pt_fixture_reopen(fixture, true); /* it is durable */
    PT_REQUIRE(stats_of(fixture->db).run_count == 1);
    PT_REQUIRE(stats_of(fixture->db).replayed_commits == 0);
    PT_REQUIRE(digest_now(fixture, after) == count && memcmp(before, after, 32) == 0);
}

static void compacting_what_is_compact_writes_nothing(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_stats stats;

    put_some(fixture, NULL, 0, 6 * COUNT, 1, 1); /* above the size of what is put together */
    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, NULL, NULL, NULL));
    stats = stats_of(fixture->db);
    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, NULL, NULL, NULL));
    PT_REQUIRE(stats_of(fixture->db).bytes_merged - stats.bytes_merged <= stats.segment_size / 4);
}

static void an_empty_store_and_an_empty_range_are_done_at_once(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_range range = {pt_text("m"), pt_text("c"), 0};

    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, &range, NULL, NULL));
    pt_fixture_put_letters(fixture, "abc");
    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, &range, NULL, NULL));
    pt_fixture_require_keys(fixture, NULL, NULL, "a b c");
    range.low = pt_null_with_size;
    PT_REQUIRE_STATUS(peat_compact(fixture->db, NULL, &range, NULL, NULL), PEAT_INVALID);
}

static void compacting_a_collection_leaves_the_others_as_they_are(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_collection *collection;
    struct peat_range all = {.flags = 0};
    uint8_t before[32];
    uint8_t after[32];

    PT_REQUIRE_OK(peat_collection_open(fixture->db, NULL, "other", PEAT_CREATE, &collection));
    make_layers(fixture);
    put_some(fixture, collection, 0, COUNT, 1, 1);
    put_some(fixture, collection, 0, COUNT, 2, 2);
    (void)digest_now(fixture, before);
    PT_REQUIRE_OK(peat_compact(fixture->db, collection, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, &all, NULL, NULL)); /* the root's */
    (void)digest_now(fixture, after);
    PT_REQUIRE(memcmp(before, after, 32) == 0);
    PT_REQUIRE_OK(peat_collection_drop(fixture->db, collection));
    PT_REQUIRE_OK(
        peat_compact(fixture->db, collection, NULL, NULL, NULL)); /* gives its space back */
    peat_collection_close(collection);
    /* A merge beside may have put some of it into one segment with the others: at rest that is gone, too. */
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE(stats_of(fixture->db).segment_size < (uint64_t)COUNT * VALUE_SIZE); /* without it */
    PT_REQUIRE(blocks_size(fixture) < (uint64_t)COUNT * 2 * VALUE_SIZE);
    PT_REQUIRE_OK(peat_check(fixture->db, NULL, NULL, NULL));
}

static void deletions_that_are_left_alone_at_the_bottom_vanish_at_rest(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_range range = {pt_text("0"), pt_text("1"), 0};

    put_some(fixture, NULL, 0, 1000, 1, 1);
    PT_REQUIRE_OK(peat_flush(fixture->db));
    delete_some(fixture, 0, 1000, 1);
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("2"))); /* above the range */
    PT_REQUIRE_OK(peat_batch_delete_range(fixture->batch, NULL, pt_text("3"), pt_text("4")));
    pt_fixture_commit(fixture);
    /* The older run becomes empty and goes; the newer keeps what it says of 2 and 3. */
    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, &range, NULL, NULL));
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE(stats_of(fixture->db).run_count == 0);
    PT_REQUIRE(stats_of(fixture->db).segment_count == 0);
}

static void a_queue_comes_to_rest_without_deletions(void **state)
{
    enum { DEPTH = 2 * COUNT, STEP = COUNT / 10 };
    struct pt_fixture *fixture = *state;
    struct peat_stats stats;

    put_some(fixture, NULL, 0, DEPTH, 1, 1);
    for (unsigned i = 0; i < 2 * DEPTH; i += STEP) {
        put_some(fixture, NULL, DEPTH + i, DEPTH + i + STEP, 1, 1);
        delete_some(fixture, i, i + STEP, 1);
    }
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 120000));
    stats = stats_of(fixture->db);
    PT_REQUIRE(stats.run_count == 1);
    PT_REQUIRE(stats.entry_count == DEPTH); /* deletions would count */
}

static bool stop_at_once(void *context, uint64_t done, uint64_t total)
{
    PT_REQUIRE(done <= total);
    ++*(unsigned *)context;
    return false;
}

/* Progress must not go back, and ends with all. */
struct seen {
    uint64_t done;
    uint64_t total;
    unsigned calls;
};

static bool see(void *context, uint64_t done, uint64_t total)
{
    struct seen *seen = context;

    PT_REQUIRE(done >= seen->done && done <= total);
    PT_REQUIRE(seen->calls == 0 || total == seen->total);
    *seen = (struct seen){done, total, seen->calls + 1};
    return true;
}

static void it_tells_how_far_it_is_and_can_be_stopped(void **state)
{
    struct pt_fixture *fixture = *state;
    struct seen seen = {0, 0, 0};
    unsigned calls = 0;
    uint8_t before[32];
    uint8_t after[32];

    put_some(fixture, NULL, 0, 3 * COUNT, 1, 1);
    put_some(fixture, NULL, 0, 3 * COUNT, 2, 2);
    (void)digest_now(fixture, before);
    PT_REQUIRE_STATUS(peat_compact(fixture->db, NULL, NULL, stop_at_once, &calls), PEAT_DONE);
    PT_REQUIRE(calls == 1);
    (void)digest_now(fixture, after);
    PT_REQUIRE(memcmp(before, after, 32) == 0);
    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, NULL, see, &seen));
    PT_REQUIRE(seen.calls > 1 && seen.total > 0 && seen.done == seen.total);
}

static void a_read_only_store_cannot_be_compacted(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_db *reader;

    PT_REQUIRE_OK(peat_open(fixture->path, &options, &reader));
    PT_REQUIRE_STATUS(peat_compact(reader, NULL, NULL, NULL, NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_OK(peat_close(reader));
}

struct crowd {
    struct pt_fixture *fixture;
    _Atomic bool stop;
};

static void *compact_again_and_again(void *context)
{
    struct crowd *crowd = context;
    struct peat_range range = {pt_text("0001"), pt_text("00025"), 0};

    for (unsigned i = 0; !atomic_load(&crowd->stop); i++)
        PT_REQUIRE_OK(
            peat_compact(crowd->fixture->db, NULL, i % 2 == 0 ? NULL : &range, NULL, NULL));
    return NULL;
}

static void p4_several_go_on_beside_a_writer_and_a_snapshot_that_does_not_change(void **state)
{
    struct pt_fixture *fixture = *state;
    struct crowd crowd = {.fixture = fixture};
    struct peat_snapshot *snapshot;
    pthread_t threads[2];
    uint8_t before[32];
    uint8_t after[32];
    char name[16];

    make_layers(fixture);
    snapshot = pt_fixture_snapshot(fixture);
    (void)digest_of(snapshot, before);
    for (unsigned i = 0; i < 2; i++)
        PT_REQUIRE(pthread_create(&threads[i], NULL, compact_again_and_again, &crowd) == 0);
    for (unsigned version = 4; version < 9; version++)
        put_some(fixture, NULL, version, COUNT, 2, version);
    atomic_store(&crowd.stop, true);
    for (unsigned i = 0; i < 2; i++)
        PT_REQUIRE(pthread_join(threads[i], NULL) == 0);
    (void)digest_of(snapshot, after);
    peat_snapshot_close(snapshot);
    PT_REQUIRE(memcmp(before, after, 32) == 0);
    for (unsigned i = 8; i < COUNT; i++) { /* the last version of each is there */
        struct peat_bytes value;

        snapshot = pt_fixture_snapshot(fixture);
        PT_REQUIRE_OK(peat_get(snapshot, NULL, key_of(name, i), &value));
        PT_REQUIRE(pt_value_matches((uint64_t)(i % 2 == 0 ? 8 : 7) << 32 | i, value));
        peat_snapshot_close(snapshot);
    }
    PT_REQUIRE_OK(peat_check(fixture->db, NULL, NULL, NULL));
}

/* What the process to be killed tells when half of its compaction is done. */
struct half {
    struct peat_db *db;
    int pipe;
};

static bool wait_at_half(void *context, uint64_t done, uint64_t total)
{
    struct half *half = context;

    if (done >= total / 2) {
        struct peat_stats stats = stats_of(half->db);

        PT_REQUIRE(pt_pipe_write(half->pipe, &stats, sizeof(stats)));
        for (;;)
            (void)pause();
    }
    return true;
}

struct victim {
    const char *path;
    int pipe;
};

static void compact_half(void *context)
{
    struct victim *victim = context;
    struct peat_options options = pt_test_options(0);
    struct half half = {.pipe = victim->pipe};

    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(victim->path, &options, &half.db));
    PT_REQUIRE_OK(peat_compact(half.db, NULL, NULL, wait_at_half, &half));
}

static void what_was_merged_before_a_kill_is_not_merged_again(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(0);
    struct victim victim = {.path = fixture->path};
    struct peat_stats before;
    struct peat_stats after;
    int pipes[2];
    pid_t child;

    /* The second version is found by whoever opens the store: in the log alone, if the merger has not
     * come to it. */
    put_some(fixture, NULL, 0, 12 * COUNT, 1, 1);
    put_some(fixture, NULL, 0, 12 * COUNT, 2, 2);
    PT_REQUIRE_OK(peat_abort(fixture->db));
    PT_REQUIRE(pipe(pipes) == 0);
    victim.pipe = pipes[1];
    child = pt_child_start(compact_half, &victim);
    PT_REQUIRE(pt_pipe_read(pipes[0], &before, sizeof(before)));
    pt_child_kill(child);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
    PT_REQUIRE_OK(peat_compact(fixture->db, NULL, NULL, NULL, NULL));
    after = stats_of(fixture->db);
    /* The half that was left, and a few steps again. What the merger did by itself before the kill,
     * while runs came up, is no part of that. */
    if (after.bytes_merged > after.segment_size / 10 * 7)
        pt_test_fail(__FILE__, __LINE__,
                     "%" PRIu64 " MB merged before the kill, %" PRIu64 " after, of %" PRIu64,
                     before.bytes_merged >> 20, after.bytes_merged >> 20, after.segment_size >> 20);
    PT_REQUIRE(after.run_count == 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(p6_a_whole_compaction_leaves_one_run_of_live_entries_and_no_free_space),
        PT_FIXTURE_TEST(compacting_what_is_compact_writes_nothing),
        PT_FIXTURE_TEST(an_empty_store_and_an_empty_range_are_done_at_once),
        PT_FIXTURE_TEST(compacting_a_collection_leaves_the_others_as_they_are),
        PT_FIXTURE_TEST(deletions_that_are_left_alone_at_the_bottom_vanish_at_rest),
        PT_FIXTURE_TEST(a_queue_comes_to_rest_without_deletions),
        PT_FIXTURE_TEST(it_tells_how_far_it_is_and_can_be_stopped),
        PT_FIXTURE_TEST(a_read_only_store_cannot_be_compacted),
        PT_FIXTURE_TEST(what_was_merged_before_a_kill_is_not_merged_again),
        PT_FIXTURE_TEST(p4_several_go_on_beside_a_writer_and_a_snapshot_that_does_not_change),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

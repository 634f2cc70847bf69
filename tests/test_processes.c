/*
 * The property: while one process writes, others open the same store and read whole commits, newer
 * with each refresh; what they hold stays right however often the writer rewrites everything; and a
 * reader that is killed holds nothing.
 *
 * The writer's commit number says what every key must hold, so a reader can tell by itself.
 */
#include "tests/reader_process.h"
#include "tests/support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    READERS = 3,
    KEYS = 400, /* all rewritten by each commit */
    VALUE_SIZE_MAX = 3000,
    NAME_SIZE = 32
};

/* --- what a commit holds -------------------------------------------------------------------- */

static struct peat_bytes key_of(char name[NAME_SIZE], uint64_t number)
{
    struct peat_bytes key = {name, 0};

    key.size = (size_t)snprintf(name, NAME_SIZE, "key %06" PRIu64, number);
    return key;
}

/* Rewriting @p turn leaves out a few keys, others each time. */
static bool is_present(uint64_t turn, uint64_t number)
{
    return pt_mix(turn ^ number << 32) % 10 != 0;
}

static size_t value_size(uint64_t turn, uint64_t number)
{
    return 8 + pt_mix(turn * KEYS + number) % (VALUE_SIZE_MAX - 8);
}

/* Commit rewriting @p turn: every value starts with the turn. */
static uint64_t rewrite(struct peat_db *db, struct peat_batch *batch, uint64_t turn,
                        enum peat_durability durability)
{
    static const struct peat_bytes unbounded = {NULL, 0};
    uint64_t commit = 0;
    char name[NAME_SIZE];
    void *place = NULL;

    peat_batch_clear(batch);
    PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, unbounded, unbounded));
    for (uint64_t i = 0; i < KEYS; i++) {
        if (!is_present(turn, i))
            continue;
        PT_REQUIRE_OK(
            peat_batch_put_reserve(batch, NULL, key_of(name, i), value_size(turn, i), &place));
        memcpy(place, &turn, 8);
        pt_value_fill(turn ^ i, (uint8_t *)place + 8, value_size(turn, i) - 8);
    }
    PT_REQUIRE_OK(peat_write(db, batch, durability, &commit));
    return commit;
}

/* The turn that the snapshot shows, having read all of it; 0: the store is empty. */
static uint64_t turn_verify(const struct peat_snapshot *snapshot, bool forward)
{
    struct peat_iterator *iterator;
    enum peat_status status;
    uint64_t turn = 0;
    char name[NAME_SIZE];

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    if (status == PEAT_OK)
        memcpy(&turn, peat_iterator_value(iterator).data, 8);
    for (uint64_t i = 0; turn != 0 && i < KEYS; i++) {
        uint64_t number = forward ? i : KEYS - 1 - i;
        struct peat_bytes value;

        if (!is_present(turn, number))
            continue;
        PT_REQUIRE_OK(status);
        PT_REQUIRE(pt_same(peat_iterator_key(iterator), key_of(name, number)));
        value = peat_iterator_value(iterator);
        PT_REQUIRE(value.size == value_size(turn, number));
        PT_REQUIRE(memcmp(value.data, &turn, 8) == 0);
        value.data = (const uint8_t *)value.data + 8;
        value.size -= 8;
        PT_REQUIRE(pt_value_matches(turn ^ number, value));
        status = forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
    return turn;
}

static uint64_t newest_turn_verify(struct peat_db *db, uint64_t *commit_out)
{
    struct peat_snapshot *snapshot;
    uint64_t turn;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    turn = turn_verify(snapshot, *commit_out % 2 == 0);
    *commit_out = peat_snapshot_commit(snapshot);
    peat_snapshot_close(snapshot);
    return turn;
}

static struct peat_db *writer_open(const char *path)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    return db;
}

static struct peat_db *reader_open(const char *path)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(path, &options, &db));
    return db;
}

/* --- readers that run beside the writer ----------------------------------------------------- */

struct reader {
    const char *path;
    unsigned number;
    int from_writer[2]; /* closed by the writer when it has written all */
    int to_writer[2];   /* what the reader saw after that */
};

struct sighting {
    uint64_t commit;
    uint64_t turn;
};

/* Refresh and read until the writer's end of the pipe is closed, then look once more. */
static void reader_loop(void *context)
{
    struct reader *reader = context;
    struct sighting seen = {0, 0};
    struct peat_snapshot *held = NULL;
    uint64_t held_turn = 0;
    struct peat_db *db = NULL;
    bool last = false;

    pt_test_context("reader %u", reader->number);
    (void)close(reader->from_writer[1]);
    (void)close(reader->to_writer[0]);
    PT_REQUIRE(fcntl(reader->from_writer[0], F_SETFL, O_NONBLOCK) == 0);
    while (!last) {
        char byte;
        ssize_t count = read(reader->from_writer[0], &byte, 1);
        struct sighting before = seen;

        last = count == 0;
        if (db == NULL)
            db = reader_open(reader->path);
        else
            PT_REQUIRE_OK(peat_refresh(db));
        seen.turn = newest_turn_verify(db, &seen.commit);
        PT_REQUIRE(seen.commit >= before.commit && seen.turn >= before.turn);
        PT_REQUIRE(seen.turn - before.turn <= seen.commit - before.commit);
        if (held == NULL) {
            PT_REQUIRE_OK(peat_snapshot_open(db, &held));
            held_turn = turn_verify(held, true);
        }
        PT_REQUIRE(turn_verify(held, seen.commit % 2 == 0) == held_turn);
        if (seen.turn > held_turn + 20 || (reader->number == 0 && !last && seen.turn % 16 == 0)) {
            peat_snapshot_close(held);
            held = NULL;
        }
        if (reader->number == 1 && seen.turn % 8 == 7) { /* this one comes and goes */
            peat_snapshot_close(held);
            held = NULL;
            PT_REQUIRE_OK(peat_close(db));
            db = NULL;
        }
    }
    peat_snapshot_close(held);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(pt_pipe_write(reader->to_writer[1], &seen, sizeof(seen)));
}

static void p1_readers_see_whole_commits_and_never_older_ones(void **state)
{
    struct reader readers[READERS];
    pid_t processes[READERS];
    struct peat_batch *batch = peat_batch_new(0);
    char path[512];
    struct peat_db *db;
    uint64_t commit = 0;
    enum { TURNS = 300 };

    (void)state;
    (void)snprintf(path, sizeof(path), "%s", pt_test_path("beside"));
    db = writer_open(path);
    PT_REQUIRE_OK(peat_close(db)); /* it exists now; nobody forks with a store open */
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.path = path, .number = i};
        PT_REQUIRE(pipe2(readers[i].from_writer, O_CLOEXEC) == 0);
        PT_REQUIRE(pipe2(readers[i].to_writer, O_CLOEXEC) == 0);
        processes[i] = pt_child_start(reader_loop, &readers[i]);
        (void)close(readers[i].from_writer[0]);
        (void)close(readers[i].to_writer[1]);
    }
    db = writer_open(path);
    for (uint64_t turn = 1; turn <= TURNS; turn++)
        commit = rewrite(db, batch, turn, turn % 50 == 0 ? PEAT_DISK : PEAT_OS);
    for (unsigned i = READERS; i > 0; i--) { /* later children hold the earlier pipes' ends too */
        struct sighting seen;

        (void)close(readers[i - 1].from_writer[1]);
        PT_REQUIRE(pt_pipe_read(readers[i - 1].to_writer[0], &seen, sizeof(seen)));
        PT_REQUIRE(seen.commit == commit && seen.turn == TURNS);
        pt_child_join(processes[i - 1]);
        (void)close(readers[i - 1].to_writer[0]);
    }
    PT_REQUIRE_OK(peat_close(db));
    peat_batch_free(batch);
}

/* --- one reader, step by step --------------------------------------------------------------- */

static void refresh_shows_every_commit_acknowledged_before_it(void **state)
{
    struct pt_reader *reader = pt_reader_start();
    struct peat_batch *batch = peat_batch_new(0);
    struct pt_reader_view view;
    struct peat_db *db;

    (void)state;
    db = writer_open(pt_test_path("acknowledged"));
    view = pt_reader_open(reader, pt_test_path("acknowledged"));
    for (uint64_t turn = 1; turn < 60; turn++) {
        uint64_t commit = rewrite(db, batch, turn, PEAT_OS);

        if (turn % 20 == 0)
            PT_REQUIRE_OK(peat_flush(db));
        if (turn % 25 == 0)
            PT_REQUIRE_OK(peat_wait_idle(db, 60000));
        view = pt_reader_refresh(reader);
        PT_REQUIRE(view.commit == commit);
    }
    pt_reader_stop(reader);
    PT_REQUIRE_OK(peat_close(db));
    peat_batch_free(batch);
}

static void a_reader_opens_while_the_writer_has_unflushed_commits(void **state)
{
    struct pt_reader *reader = pt_reader_start();
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;
    struct pt_reader_view view;
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    (void)state;
    PT_REQUIRE_OK(peat_open(pt_test_path("unflushed"), &options, &db));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    view = pt_reader_open(reader, pt_test_path("unflushed"));
    PT_REQUIRE(view.commit == stats.commit);
    PT_REQUIRE(view.fingerprint ==
               pt_fingerprint(pt_fingerprint(0, pt_text("key")), pt_text("value")));
    pt_reader_stop(reader);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_reader_sees_no_later_commit_without_refresh(void **state)
{
    struct pt_reader *reader = pt_reader_start();
    struct pt_reader_view before;
    struct pt_reader_view after;
    struct peat_db *db;

    (void)state;
    db = writer_open(pt_test_path("no-refresh"));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    before = pt_reader_open(reader, pt_test_path("no-refresh"));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("another")));
    pt_reader_hold(reader); /* a snapshot as of now, without a refresh */
    after = pt_reader_held(reader);
    PT_REQUIRE(after.commit == before.commit && after.fingerprint == before.fingerprint);
    pt_reader_stop(reader);
    PT_REQUIRE_OK(peat_close(db));
}

static void p4_a_held_reader_reads_right_data_while_everything_is_rewritten(void **state)
{
    struct pt_reader *reader = pt_reader_start();
    struct peat_batch *batch = peat_batch_new(0);
    struct pt_reader_view held;
    struct peat_db *db;

    (void)state;
    db = writer_open(pt_test_path("held"));
    (void)rewrite(db, batch, 1, PEAT_OS);
    PT_REQUIRE_OK(peat_flush(db));
    held = pt_reader_open(reader, pt_test_path("held"));
    pt_reader_hold(reader);
    for (uint64_t turn = 2; turn < 120; turn++) {
        struct pt_reader_view again;

        (void)rewrite(db, batch, turn, PEAT_OS);
        if (turn % 10 == 0)
            PT_REQUIRE_OK(peat_flush(db));
        if (turn % 20 == 0)
            PT_REQUIRE_OK(peat_wait_idle(db, 60000));
        if (turn % 30 == 0)
            (void)pt_reader_refresh(reader); /* which must not let go of what is held */
        again = pt_reader_held(reader);
        PT_REQUIRE(again.commit == held.commit && again.fingerprint == held.fingerprint);
    }
    pt_reader_stop(reader);
    PT_REQUIRE_OK(peat_close(db));
    peat_batch_free(batch);
}

static void a_reader_outlives_the_writer_and_its_successor(void **state)
{
    struct pt_reader *reader = pt_reader_start();
    struct peat_batch *batch = peat_batch_new(0);
    struct pt_reader_view held;
    struct pt_reader_view view;
    uint64_t commit = 0;

    (void)state;
    for (uint64_t turn = 1; turn < 8; turn++) {
        struct peat_db *db = writer_open(pt_test_path("successors"));

        commit = rewrite(db, batch, turn, PEAT_OS);
        if (turn == 1) {
            held = pt_reader_open(reader, pt_test_path("successors"));
            pt_reader_hold(reader);
        }
        PT_REQUIRE_OK(turn % 2 == 0 ? peat_abort(db) : peat_close(db));
        view = pt_reader_held(reader);
        PT_REQUIRE(view.commit == held.commit && view.fingerprint == held.fingerprint);
        view = pt_reader_refresh(reader);
        PT_REQUIRE(view.commit == commit);
    }
    pt_reader_stop(reader);
    peat_batch_free(batch);
}

/* --- space ---------------------------------------------------------------------------------- */

static struct peat_stats stats_of(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats;
}

/* Rewriting a store of under 1 MB a hundred times takes 60 MB of segments if nothing is reused. */
enum { SIZE_BOUND = 16 << 20 };

/* Rewrite everything @p turns times with flushes, from @p *turn on. */
static void rewrite_often(struct peat_db *db, struct peat_batch *batch, uint64_t *turn,
                          unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        (void)rewrite(db, batch, ++*turn, PEAT_OS);
        PT_REQUIRE_OK(peat_flush(db));
    }
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
}

/* The same; what is not the log's must stay small. */
static void churn(struct peat_db *db, struct peat_batch *batch, uint64_t *turn, unsigned turns)
{
    struct peat_stats stats;

    rewrite_often(db, batch, turn, turns);
    stats = stats_of(db);
    if (stats.segment_size + stats.pending_size + stats.manifest_size > SIZE_BOUND)
        pt_test_fail(__FILE__, __LINE__,
                     "after %" PRIu64 " turns %" PRIu64 " bytes of segments, %" PRIu64
                     " freed but held, %" PRIu64 " of manifests",
                     *turn, stats.segment_size, stats.pending_size, stats.manifest_size);
}

static void p6_rewriting_reuses_the_space_of_what_nobody_sees(void **state)
{
    struct peat_batch *batch = peat_batch_new(0);
    uint64_t turn = 0;
    struct peat_db *db;

    (void)state;
    db = writer_open(pt_test_path("reused"));
    churn(db, batch, &turn, 100);
    if (stats_of(db).file_size > 2 * SIZE_BOUND)
        pt_test_fail(__FILE__, __LINE__, "the file has %" PRIu64 " bytes, %" PRIu64 " in the log",
                     stats_of(db).file_size, stats_of(db).log_size);
    PT_REQUIRE_OK(peat_close(db));
    peat_batch_free(batch);
}

static void p6_a_killed_reader_pins_nothing(void **state)
{
    struct pt_reader *reader = pt_reader_start();
    struct peat_batch *batch = peat_batch_new(0);
    uint64_t turn = 0;
    struct peat_db *db;

    (void)state;
    db = writer_open(pt_test_path("killed-reader"));
    churn(db, batch, &turn, 1);
    (void)pt_reader_open(reader, pt_test_path("killed-reader"));
    pt_reader_hold(reader);
    rewrite_often(db, batch, &turn, 10); /* whatever that takes, it is held */
    PT_REQUIRE(stats_of(db).pending_size > 0);
    pt_reader_kill(reader);
    churn(db, batch, &turn, 100);
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
    peat_batch_free(batch);
}

static void p6_a_reader_that_moves_on_pins_nothing_old(void **state)
{
    struct pt_reader *reader = pt_reader_start();
    struct peat_batch *batch = peat_batch_new(0);
    uint64_t turn = 0;
    struct peat_db *db;

    (void)state;
    db = writer_open(pt_test_path("moving-reader"));
    churn(db, batch, &turn, 1);
    (void)pt_reader_open(reader, pt_test_path("moving-reader"));
    for (unsigned i = 0; i < 50; i++) {
        churn(db, batch, &turn, 2);
        (void)pt_reader_refresh(reader);
    }
    pt_reader_stop(reader);
    PT_REQUIRE_OK(peat_close(db));
    peat_batch_free(batch);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p1_readers_see_whole_commits_and_never_older_ones),
        cmocka_unit_test(refresh_shows_every_commit_acknowledged_before_it),
        cmocka_unit_test(a_reader_opens_while_the_writer_has_unflushed_commits),
        cmocka_unit_test(a_reader_sees_no_later_commit_without_refresh),
        cmocka_unit_test(p4_a_held_reader_reads_right_data_while_everything_is_rewritten),
        cmocka_unit_test(a_reader_outlives_the_writer_and_its_successor),
        cmocka_unit_test(p6_rewriting_reuses_the_space_of_what_nobody_sees),
        cmocka_unit_test(p6_a_killed_reader_pins_nothing),
        cmocka_unit_test(p6_a_reader_that_moves_on_pins_nothing_old),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

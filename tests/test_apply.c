/*
 * The property (P7): a follower that is fed by a feed is, at every commit, what its primary was: same contents,
 * same log. Whatever else it is given changes nothing. Either side may die at any moment.
 */
#include "tests/pair.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { SOON_MS = 60000, TRIES = 50 };

static uint8_t value[2 * MIB];

static void a_follower_is_what_its_primary_was_at_every_commit(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    for (unsigned i = 0; i < 60; i++) {
        pt_pair_write(&pair, &dice, 1 + (unsigned)pt_dice_below(&dice, 40), true);
        pt_pair_follow(&pair, &dice);
        pt_pair_require_equal(&pair);
        if (pt_dice_one_in(&dice, 5))
            PT_REQUIRE_OK(peat_flush(pair.follower.db));
        if (pt_dice_one_in(&dice, 10))
            PT_REQUIRE_OK(peat_compact(pair.follower.db, NULL, NULL, NULL, NULL));
    }
    pt_pair_close(&pair);
}

/* The follower's own log hands out the same records: position, chain and all. */
static void the_log_of_a_follower_is_its_primarys(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_feed *feeds[2];
    struct peat_record records[2];
    struct pt_pair pair;
    unsigned seals = 0;
    (void)state;

    pt_pair_make(&pair);
    PT_REQUIRE_OK(peat_feed_open(pair.primary.db, 1, "all", PEAT_FEED_SEALS, &feeds[0]));
    PT_REQUIRE_OK(peat_feed_open(pair.follower.db, 1, "all", PEAT_FEED_SEALS, &feeds[1]));
    for (unsigned i = 0; i < 20; i++) {
        pt_pair_write(&pair, &dice, 30, true);
        pt_pair_follow(&pair, &dice);
        if (i % 3 == 0)
            PT_REQUIRE_OK(peat_flush(pair.follower.db)); /* which no record of its log tells */
    }
    for (;;) {
        enum peat_status status = peat_feed_next(feeds[0], 0, &records[0]);

        PT_REQUIRE_STATUS(peat_feed_next(feeds[1], 0, &records[1]), status);
        if (status == PEAT_TIMEOUT)
            break;
        PT_REQUIRE_OK(status);
        seals += records[0].kind == PEAT_RECORD_SEAL;
        PT_REQUIRE(records[0].kind == records[1].kind && records[0].epoch == records[1].epoch);
        PT_REQUIRE(records[0].commit == records[1].commit);
        PT_REQUIRE(records[0].time_us == records[1].time_us);
        PT_REQUIRE(records[0].position == records[1].position);
        PT_REQUIRE(memcmp(records[0].chain, records[1].chain, 16) == 0);
        PT_REQUIRE(pt_same(records[0].payload, records[1].payload));
    }
    PT_REQUIRE(seals > 5);
    peat_feed_close(feeds[0]);
    peat_feed_close(feeds[1]);
    pt_pair_close(&pair);
}

static void a_follower_goes_on_when_either_side_dies_or_closes(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    for (unsigned i = 0; i < 60; i++) {
        struct pt_side *side = pt_dice_one_in(&dice, 2) ? &pair.primary : &pair.follower;
        bool dies = pt_dice_one_in(&dice, 2);

        pt_pair_write(&pair, &dice, (unsigned)pt_dice_below(&dice, 40), true);
        if (!pt_dice_one_in(&dice, 3))
            pt_pair_follow(&pair, &dice);
        peat_feed_close(pair.feed);
        pair.feed = NULL;
        PT_REQUIRE_OK(dies ? peat_abort(side->db) : peat_close(side->db));
        pt_side_open(side);
        if (pt_dice_one_in(&dice, 2)) {
            pt_pair_follow(&pair, &dice);
            pt_pair_require_equal(&pair);
        }
    }
    pt_pair_follow(&pair, &dice);
    pt_pair_require_equal(&pair);
    pt_pair_close(&pair);
}

static void a_follower_made_of_a_backup_goes_on_from_there(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_backup_options options;
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    peat_feed_close(pair.feed);
    PT_REQUIRE_OK(peat_feed_drop(pair.primary.db, "follower"));
    PT_REQUIRE_OK(peat_close(pair.follower.db));
    (void)unlink(pair.follower.path);
    pt_pair_write(&pair, &dice, 100, true);
    PT_REQUIRE_OK(peat_flush(pair.primary.db));
    PT_REQUIRE_OK(peat_feed_open(pair.primary.db, PEAT_FEED_NEXT, "follower", PEAT_FEED_SEALS,
                                 &pair.feed)); /* first, so that nothing after it gets lost */
    peat_feed_close(pair.feed);
    pair.feed = NULL;
    pt_pair_write(&pair, &dice, 10, true);
    peat_backup_options_init(&options);
    options.path = pair.follower.path;
    PT_REQUIRE_OK(peat_backup(pair.primary.db, NULL, &options, NULL));
    pt_side_open(&pair.follower);
    for (unsigned i = 0; i < 5; i++) {
        pt_pair_write(&pair, &dice, 60, true);
        pt_pair_follow(&pair, &dice);
        pt_pair_require_equal(&pair);
    }
    pt_pair_close(&pair);
}

/* ---- What is refused ---- */

static void a_follower_takes_no_commits_of_its_own(void **state)
{
    struct peat_collection *collection;
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_options both = pt_test_options(PEAT_FOLLOWER | PEAT_READ_ONLY);
    struct peat_db *db;
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    PT_REQUIRE_STATUS(peat_put(pair.follower.db, NULL, pt_text("a"), pt_text("b")),
                      PEAT_NOT_WRITABLE);
    PT_REQUIRE(strstr(peat_last_error(), "follower") != NULL);
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("a"), pt_text("b")));
    PT_REQUIRE_STATUS(peat_write(pair.follower.db, batch, PEAT_DISK, NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(
        peat_collection_open(pair.follower.db, NULL, "name", PEAT_CREATE, &collection),
        PEAT_NOT_WRITABLE);
    PT_REQUIRE_OK(peat_snapshot_persist(pair.follower.db, "state", NULL));
    PT_REQUIRE_STATUS(peat_revert(pair.follower.db, "state", 0, NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_open(pair.follower.path, &both, &db), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_apply(pair.primary.db, NULL, 0, PEAT_OS, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_apply(NULL, NULL, 0, PEAT_OS, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_apply(pair.follower.db, NULL, 1, PEAT_OS, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_apply(pair.follower.db, NULL, 0, PEAT_REPLICAS, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_apply(pair.follower.db, NULL, 0, (enum peat_durability)9, NULL),
                      PEAT_INVALID);
    PT_REQUIRE_OK(peat_apply(pair.follower.db, NULL, 0, PEAT_OS, NULL));
    PT_REQUIRE(pt_test_newest(pair.follower.db) == 0);
    peat_batch_free(batch);
    pt_pair_close(&pair);
}

/* One thing about a record is wrong. */
static void spoil(struct pt_dice *dice, struct peat_record *record, unsigned kind)
{
    uint8_t *payload = (uint8_t *)(uintptr_t)record->payload.data;

    switch (kind) {
    case 0:
        record->commit++;
        break;
    case 1:
        record->time_us++;
        break;
    case 2:
        record->epoch++;
        break;
    case 3:
        record->chain[pt_dice_below(dice, 16)] ^= 1;
        break;
    case 4:
        payload[pt_dice_below(dice, record->payload.size)] ^= 1;
        break;
    case 5:
        record->payload.size--;
        break;
    case 6:
        record->kind = PEAT_RECORD_SEAL;
        break;
    case 7:
        record->kind = (enum peat_record_kind)3;
        break;
    case 8:
        record->epoch--;
        break;
    case 9:
        record->epoch = UINT64_MAX;
        break;
    default:
        record->payload.data = NULL;
        free(payload);
        break;
    }
}

static uint64_t group_count(struct peat_db *db)
{
    struct peat_stats all = {.struct_size = sizeof(all)};

    PT_REQUIRE_OK(peat_stats_get(db, &all));
    return all.commit_groups;
}

/* So that a reader of the follower does not wait for all of them. */
static void very_many_small_records_become_visible_in_parts(void **state)
{
    enum { COUNT = 3000 };
    struct peat_record *records = calloc(COUNT, sizeof(*records));
    uint64_t before;
    struct pt_pair pair;
    (void)state;

    PT_REQUIRE(records != NULL);
    pt_pair_make(&pair);
    peat_feed_close(pair.feed);
    pair.feed = NULL;
    PT_REQUIRE_OK(peat_close(pair.primary.db));
    pair.primary.options = pt_test_options(0); /* so large buffers that no seal comes in between */
    pt_side_open(&pair.primary);
    for (unsigned i = 0; i < COUNT; i++)
        PT_REQUIRE_OK(peat_put(pair.primary.db, NULL, pt_text("key"), pt_text("value")));
    pt_pair_feed(&pair);
    for (unsigned i = 0; i < COUNT; i++) {
        PT_REQUIRE_OK(peat_feed_next(pair.feed, 0, &records[i]));
        records[i].payload.data =
            memcpy(value + i * 100, records[i].payload.data, records[i].payload.size);
        PT_REQUIRE(records[i].kind == PEAT_RECORD_BATCH && records[i].payload.size <= 100);
    }
    before = group_count(pair.follower.db);
    PT_REQUIRE_OK(peat_apply(pair.follower.db, records, COUNT, PEAT_OS, NULL));
    PT_REQUIRE(group_count(pair.follower.db) == before + 3);
    pt_pair_require_equal(&pair);
    free(records);
    pt_pair_close(&pair);
}

/* So that the log that one of them takes at a time has a bound. */
static void large_records_become_visible_in_parts(void **state)
{
    enum { COUNT = 12 };
    uint64_t before;
    struct pt_pair pair;
    struct pt_kept_records kept;
    (void)state;

    pt_pair_make(&pair);
    peat_feed_close(pair.feed);
    pair.feed = NULL;
    PT_REQUIRE_OK(peat_close(pair.primary.db));
    pair.primary.options = pt_test_options(0); /* so large buffers that no seal comes in between */
    pt_side_open(&pair.primary);
    pt_pair_feed(&pair);
    pt_value_fill(1, value, MIB);
    for (unsigned i = 0; i < COUNT; i++)
        PT_REQUIRE_OK(
            peat_put(pair.primary.db, NULL, pt_text("key"), (struct peat_bytes){value, MIB}));
    pt_kept_records_take(&kept, pair.feed, COUNT);
    PT_REQUIRE(kept.count == COUNT && kept.records[COUNT - 1].kind == PEAT_RECORD_BATCH);
    before = group_count(pair.follower.db);
    PT_REQUIRE_OK(peat_apply(pair.follower.db, kept.records, COUNT, PEAT_OS, NULL));
    PT_REQUIRE(group_count(pair.follower.db) == before + 2);
    pt_pair_require_equal(&pair);
    pt_kept_records_clear(&kept);
    pt_pair_close(&pair);
}

static void what_is_wrong_with_a_record_changes_nothing(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    pt_pair_write(&pair, &dice, 20, false);
    pt_pair_follow(&pair, &dice);
    for (unsigned i = 0; i < 90; i++) {
        uint64_t before = pt_test_newest(pair.follower.db);
        struct pt_kept_records kept;
        size_t victim;
        enum peat_status status;

        pt_pair_write(&pair, &dice, 6, false);
        peat_feed_close(pair.feed);
        pair.feed = NULL;
        pt_pair_feed(&pair);
        pt_kept_records_take(&kept, pair.feed, PT_KEPT_RECORDS_MAX);
        do
            victim = (size_t)pt_dice_below(&dice, kept.count);
        while (kept.records[victim].kind != PEAT_RECORD_BATCH ||
               kept.records[victim].commit <= before);
        spoil(&dice, &kept.records[victim], i % 11);
        status = peat_apply(pair.follower.db, kept.records, kept.count, PEAT_OS, NULL);
        PT_REQUIRE(status == PEAT_CORRUPT || status == PEAT_INVALID);
        PT_REQUIRE(pt_test_newest(pair.follower.db) == before);
        pt_kept_records_clear(&kept);
        peat_feed_close(pair.feed);
        pair.feed = NULL;
        pt_pair_follow(&pair, &dice);
        pt_pair_require_equal(&pair);
    }
    pt_pair_close(&pair);
}

static void a_hole_is_a_gap_and_what_is_there_is_passed_over(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_record swapped[2];
    struct pt_pair pair;
    struct pt_kept_records kept;
    uint64_t commit = 0;
    (void)state;

    pt_pair_make(&pair);
    pt_pair_write(&pair, &dice, 20, false);
    pt_pair_feed(&pair);
    pt_kept_records_take(&kept, pair.feed, PT_KEPT_RECORDS_MAX);
    PT_REQUIRE(kept.count > 15);
    PT_REQUIRE_STATUS(peat_apply(pair.follower.db, kept.records + 1, 5, PEAT_OS, &commit),
                      PEAT_GAP);
    PT_REQUIRE(commit == 0 && pt_test_newest(pair.follower.db) == 0);
    PT_REQUIRE_OK(peat_apply(pair.follower.db, kept.records, 5, PEAT_OS, &commit));
    PT_REQUIRE(commit == kept.records[4].commit);
    for (unsigned i = 0; i < 3; i++) /* again, and a little more */
        PT_REQUIRE_OK(peat_apply(pair.follower.db, kept.records + i, 6, PEAT_OS, &commit));
    PT_REQUIRE(commit == kept.records[7].commit);
    PT_REQUIRE_STATUS(peat_apply(pair.follower.db, kept.records + 9, 2, PEAT_OS, &commit),
                      PEAT_GAP);
    swapped[0] = kept.records[8];
    swapped[1] = kept.records[7]; /* it is there, but not before the other one */
    PT_REQUIRE_STATUS(peat_apply(pair.follower.db, swapped, 2, PEAT_OS, &commit), PEAT_INVALID);
    PT_REQUIRE(commit == kept.records[7].commit);
    PT_REQUIRE_OK(peat_apply(pair.follower.db, kept.records, kept.count, PEAT_DISK, &commit));
    pt_pair_require_equal(&pair);
    pt_kept_records_clear(&kept);
    pt_pair_close(&pair);
}

static void another_history_is_seen_before_it_is_applied(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_pair pair;
    struct pt_pair other;
    struct pt_kept_records kept;
    (void)state;

    pt_pair_make(&pair);
    pt_pair_write(&pair, &dice, 10, false);
    pt_pair_follow(&pair, &dice);
    pt_side_make(&other.primary, "other", 0);
    PT_REQUIRE_OK(peat_feed_open(other.primary.db, 1, "all", PEAT_FEED_SEALS, &other.feed));
    pt_pair_write(&other, &dice, 30, false);
    pt_kept_records_take(&kept, other.feed, PT_KEPT_RECORDS_MAX);
    for (size_t i = 0; i < kept.count; i++) {
        enum peat_status status = peat_apply(pair.follower.db, &kept.records[i], 1, PEAT_OS, NULL);

        PT_REQUIRE(status == PEAT_OK || status == PEAT_CORRUPT || status == PEAT_GAP);
    }
    pt_pair_require_equal(&pair);
    pt_kept_records_clear(&kept);
    peat_feed_close(other.feed);
    PT_REQUIRE_OK(peat_close(other.primary.db));
    pt_pair_close(&pair);
}

enum { FULL_SIZE = 24 << 20, ENTRY_SIZE = 50 << 10, DELETES = 20 };

/* Put and follow up to @p count entries, into a follower that can only grow so far. How many it took. */
static uint32_t fill(struct pt_pair *pair, uint32_t count)
{
    enum peat_status status = PEAT_OK;
    uint32_t i;

    pt_pair_make(pair);
    PT_REQUIRE_OK(peat_close(pair->follower.db));
    pair->follower.options.file_size_max = FULL_SIZE;
    pt_side_open(&pair->follower);
    pt_pair_feed(pair);
    for (i = 0; i < count && status == PEAT_OK; i++) {
        struct pt_kept_records kept;

        PT_REQUIRE_OK(peat_put(pair->primary.db, NULL, (struct peat_bytes){&i, sizeof(i)},
                               (struct peat_bytes){value, ENTRY_SIZE}));
        pt_kept_records_take(&kept, pair->feed, PT_KEPT_RECORDS_MAX);
        status = peat_apply(pair->follower.db, kept.records, kept.count, PEAT_OS, NULL);
        pt_kept_records_clear(&kept);
    }
    PT_REQUIRE(status == PEAT_OK || status == PEAT_NO_SPACE);
    return status == PEAT_OK ? i : i - 1;
}

/* One entry, and many that are not there: so that there is log to be flushed. */
static void delete_many(struct peat_db *db, uint32_t number)
{
    struct peat_batch *batch = peat_batch_new(0);

    for (uint32_t i = 0; i < DELETES; i++) {
        uint32_t key = i == 0 ? number : 100000 + number * DELETES + i;

        PT_REQUIRE_OK(peat_batch_delete(batch, NULL, (struct peat_bytes){&key, sizeof(key)}));
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    peat_batch_free(batch);
}

/* As a store of its own does: what comes next in the history is a put that does not fit, or, where it was left out
 * in time, a delete. */
static void a_follower_at_a_full_disk_takes_deletes(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint32_t count = UINT32_MAX;
    struct pt_pair pair;
    uint32_t taken;
    (void)state;

    memset(value, 0, sizeof(value));
    for (;;) {
        taken = fill(&pair, count);
        if (taken == count)
            break;
        PT_REQUIRE(taken > 100); /* and what it took is all there */
        PT_REQUIRE(pt_test_newest(pair.follower.db) == taken);
        peat_feed_close(pair.feed);
        PT_REQUIRE_OK(peat_close(pair.primary.db));
        PT_REQUIRE_OK(peat_abort(pair.follower.db)); /* closing may find no space, either */
        count = taken;
    }
    for (uint32_t i = 0; i < count; i++) {
        delete_many(pair.primary.db, i);
        pt_pair_follow(&pair, &dice);
    }
    pt_pair_require_equal(&pair);
    pt_pair_close(&pair);
}

/* ---- SIGKILL ---- */

struct doomed {
    uint64_t seed;
};

static void pair_attach(struct pt_pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    for (unsigned i = 0; i < 2; i++) {
        struct pt_side *side = i == 0 ? &pair->primary : &pair->follower;

        (void)snprintf(side->path, sizeof(side->path), "%s",
                       pt_test_path(i == 0 ? "primary" : "follower"));
        side->options = pt_test_options(PEAT_CREATE | (i == 0 ? 0 : PEAT_FOLLOWER));
        pt_test_options_tiny(&side->options);
        pt_side_open(side);
    }
}

static void doomed_run(void *context)
{
    struct pt_dice dice = {((struct doomed *)context)->seed};
    struct pt_pair pair;

    pair_attach(&pair);
    for (;;) {
        pt_pair_write(&pair, &dice, 1 + (unsigned)pt_dice_below(&dice, 30), true);
        pt_pair_follow(&pair, &dice);
        if (pt_dice_one_in(&dice, 8))
            PT_REQUIRE_OK(peat_flush(pair.follower.db));
    }
}

static void a_follower_survives_sigkill_as_a_prefix_and_catches_up(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint64_t rounds = pt_test_number("PEAT_ROUNDS", 25);
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    pt_pair_close(&pair);
    for (uint64_t i = 0; i < rounds; i++) {
        struct doomed doomed = {pt_dice_next(&dice)};
        pid_t child = pt_child_start(doomed_run, &doomed);

        (void)usleep(1000 + (unsigned)pt_dice_below(&dice, 150000));
        pt_child_kill(child);
        pt_test_context("round %" PRIu64, i);
        pair_attach(&pair);
        PT_REQUIRE(pt_test_newest(pair.follower.db) <= pt_test_newest(pair.primary.db));
        PT_REQUIRE_OK(peat_check(pair.primary.db, NULL, NULL, NULL));
        pt_pair_follow(&pair, &dice);
        pt_pair_require_equal(&pair);
        pt_pair_close(&pair);
    }
    pt_test_context("%s", "");
}

struct waiting {
    struct peat_db *db;
    uint64_t commit;
    enum peat_status status;
};

static void *wait_for_commit(void *context)
{
    struct waiting *waiting = context;

    waiting->status = peat_wait_commit(waiting->db, waiting->commit, SOON_MS, NULL);
    return NULL;
}

static void waiting_for_a_commit_ends_when_readers_see_it(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct waiting waits[2];
    pthread_t threads[2];
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    pt_pair_write(&pair, &dice, 10, false);
    waits[0] = (struct waiting){.db = pair.follower.db, .commit = pt_test_newest(pair.primary.db)};
    waits[1] = waits[0];
    PT_REQUIRE_OK(peat_open(pair.follower.path, &options, &waits[1].db));
    PT_REQUIRE_STATUS(peat_wait_commit(pair.follower.db, 1, 0, NULL), PEAT_TIMEOUT);
    PT_REQUIRE_STATUS(peat_wait_commit(waits[1].db, 1, 20, NULL), PEAT_TIMEOUT);
    for (unsigned i = 0; i < 2; i++)
        PT_REQUIRE(pthread_create(&threads[i], NULL, wait_for_commit, &waits[i]) == 0);
    pt_pair_follow(&pair, &dice);
    for (unsigned i = 0; i < 2; i++) {
        PT_REQUIRE(pthread_join(threads[i], NULL) == 0);
        PT_REQUIRE_OK(waits[i].status);
        assert_int_equal(pt_test_newest(waits[i].db), waits[0].commit);
        PT_REQUIRE_OK(peat_wait_commit(waits[i].db, 1, 0, NULL));
    }
    PT_REQUIRE_OK(peat_close(waits[1].db));
    pt_pair_close(&pair);
}

static void P7_a_follower_that_has_caught_up_stands_where_its_primary_stands(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_position positions[4];
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_db *reader;
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    PT_REQUIRE_OK(peat_position_get(pair.primary.db, &positions[0]));
    PT_REQUIRE_OK(peat_position_get(pair.follower.db, &positions[1]));
    assert_int_equal(positions[0].commit, 0);
    assert_memory_equal(positions[0].chain, positions[1].chain, sizeof(positions[0].chain));
    pt_pair_write(&pair, &dice, 60, true);
    for (unsigned i = 0; i < TRIES && (i == 0 || positions[0].position != positions[1].position);
         i++) { /* a seal behind the newest commit may come with the next one */
        pt_test_commit_random(pair.primary.db, &dice, false);
        PT_REQUIRE_OK(peat_position_get(pair.primary.db, &positions[0]));
        assert_int_equal(positions[0].commit, pt_test_newest(pair.primary.db));
        assert_memory_not_equal(positions[0].chain, positions[1].chain, sizeof(positions[0].chain));
        pt_pair_follow(&pair, &dice);
        PT_REQUIRE_OK(peat_position_get(pair.follower.db, &positions[1]));
    }
    PT_REQUIRE_OK(peat_open(pair.follower.path, &options, &reader));
    PT_REQUIRE_OK(peat_position_get(reader, &positions[2]));
    PT_REQUIRE_OK(peat_wait_commit(reader, positions[2].commit, PEAT_FEED_FOREVER, NULL));
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE_OK(peat_close(pair.follower.db)); /* then it has no log */
    PT_REQUIRE_OK(peat_open(pair.follower.path, &options, &reader));
    PT_REQUIRE_OK(peat_position_get(reader, &positions[3]));
    PT_REQUIRE_OK(peat_close(reader));
    pt_side_open(&pair.follower);
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(positions[i].epoch, positions[0].epoch);
        assert_int_equal(positions[i].commit, positions[0].commit);
        assert_int_equal(positions[i].time_us, positions[0].time_us);
        assert_int_equal(positions[i].position, positions[0].position);
        assert_memory_equal(positions[i].chain, positions[0].chain, sizeof(positions[0].chain));
    }
    pt_pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_is_what_its_primary_was_at_every_commit),
        cmocka_unit_test(the_log_of_a_follower_is_its_primarys),
        cmocka_unit_test(a_follower_goes_on_when_either_side_dies_or_closes),
        cmocka_unit_test(a_follower_made_of_a_backup_goes_on_from_there),
        cmocka_unit_test(a_follower_takes_no_commits_of_its_own),
        cmocka_unit_test(very_many_small_records_become_visible_in_parts),
        cmocka_unit_test(large_records_become_visible_in_parts),
        cmocka_unit_test(what_is_wrong_with_a_record_changes_nothing),
        cmocka_unit_test(a_hole_is_a_gap_and_what_is_there_is_passed_over),
        cmocka_unit_test(another_history_is_seen_before_it_is_applied),
        cmocka_unit_test(a_follower_at_a_full_disk_takes_deletes),
        cmocka_unit_test(a_follower_survives_sigkill_as_a_prefix_and_catches_up),
        cmocka_unit_test(waiting_for_a_commit_ends_when_readers_see_it),
        cmocka_unit_test(P7_a_follower_that_has_caught_up_stands_where_its_primary_stands),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

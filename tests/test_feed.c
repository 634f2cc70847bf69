/*
 * The property: a feed hands out every commit from the one it was asked for on, once, in order, as it was
 * committed, over flushes, merges, closing, crashes and recovery; or it says PEAT_GAP. Nothing is left out
 * without a word. What has a name is kept for it, and no more than was allowed.
 */
#include "tests/support.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { COMMITS_MAX = 100000, KEYS = 50, SOON_MS = 60000, NAMES_MAX = 16 };

/* A store whose commit number n is one put: of a key and a value that follow from n and its size. */
struct world {
    struct peat_options options;
    struct peat_db *db;
    char path[512];
    uint64_t commit;
    uint32_t sizes[COMMITS_MAX]; /* of the values, by commit; UINT32_MAX: no put */
    uint8_t *value;              /* room for one */
};

static struct world world;

static void world_reopen(void)
{
    PT_REQUIRE_OK(peat_open(world.path, &world.options, &world.db));
}

static void world_open(void)
{
    (void)snprintf(world.path, sizeof(world.path), "%s", pt_test_path("store"));
    (void)unlink(world.path);
    world.options = pt_test_options(PEAT_CREATE);
    pt_test_options_tiny(&world.options);
    world.commit = 0;
    world.value = malloc(8 * MIB);
    PT_REQUIRE(world.value != NULL);
    world_reopen();
}

static void world_close(void)
{
    PT_REQUIRE_OK(peat_check(world.db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(world.db));
    free(world.value);
}

static struct peat_bytes key_of(uint64_t commit, char place[32])
{
    (void)snprintf(place, 32, "key-%02" PRIu64, commit % KEYS);
    return pt_text(place);
}

static void commit(size_t size)
{
    uint64_t number = world.commit + 1;
    char key[32];

    PT_REQUIRE(number < COMMITS_MAX && size <= 8 * MIB);
    pt_value_fill(number, world.value, size);
    PT_REQUIRE_OK(
        peat_put(world.db, NULL, key_of(number, key), (struct peat_bytes){world.value, size}));
    world.commit = number;
    world.sizes[number] = (uint32_t)size;
}

static size_t some_size(struct pt_dice *dice, bool large)
{
    if (large && pt_dice_one_in(dice, 20))
        return (size_t)pt_dice_below(dice, 1500 * KIB);
    return (size_t)pt_dice_below(dice, pt_dice_one_in(dice, 4) ? 20000 : 300);
}

static void commit_some(struct pt_dice *dice, unsigned count, bool large)
{
    for (unsigned i = 0; i < count; i++)
        commit(some_size(dice, large));
}

static struct peat_feed *feed_open(uint64_t from, const char *name)
{
    struct peat_feed *feed = NULL;

    PT_REQUIRE_OK(peat_feed_open(world.db, from, name, 0, &feed));
    return feed;
}

/* @p record is what was committed as @p number. */
static void require_record(const struct peat_record *record, uint64_t number)
{
    struct peat_operation operation;
    size_t place = 0;
    char key[32];

    PT_REQUIRE(record->kind == PEAT_RECORD_BATCH && record->commit == number);
    if (world.sizes[number] == UINT32_MAX)
        return;
    PT_REQUIRE_OK(peat_record_operation(record, &place, &operation));
    PT_REQUIRE(operation.kind == PEAT_OPERATION_PUT && operation.collection == 1);
    PT_REQUIRE(pt_same(operation.key, key_of(number, key)));
    PT_REQUIRE(operation.value.size == world.sizes[number] &&
               pt_value_matches(number, operation.value));
    PT_REQUIRE_STATUS(peat_record_operation(record, &place, &operation), PEAT_DONE);
}

/* The feed hands out the commits @p from to @p to. */
static void require_commits(struct peat_feed *feed, uint64_t from, uint64_t to)
{
    struct peat_record record;

    for (uint64_t number = from; number <= to; number++) {
        pt_test_context("commit %" PRIu64 " of %" PRIu64 " to %" PRIu64, number, from, to);
        PT_REQUIRE_OK(peat_feed_next(feed, SOON_MS, &record));
        require_record(&record, number);
    }
    pt_test_context("%s", "");
}

static void require_nothing_more(struct peat_feed *feed)
{
    struct peat_record record;

    PT_REQUIRE_STATUS(peat_feed_next(feed, 0, &record), PEAT_TIMEOUT);
}

static void require_gap(struct peat_feed *feed)
{
    struct peat_record record;

    for (unsigned i = 0; i < 2; i++)
        PT_REQUIRE_STATUS(peat_feed_next(feed, SOON_MS, &record), PEAT_GAP);
}

static struct peat_stats stats(void)
{
    struct peat_stats all = {.struct_size = sizeof(all)};

    PT_REQUIRE_OK(peat_stats_get(world.db, &all));
    return all;
}

/* Close it, or abandon it as a killed process does, and open it again. */
static void world_turn(bool abandon)
{
    PT_REQUIRE_OK(abandon ? peat_abort(world.db) : peat_close(world.db));
    world_reopen();
}

/* ---- Reading ---- */

static void a_feed_hands_out_what_is_committed_in_order(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_feed *feed;
    (void)state;

    world_open();
    feed = feed_open(PEAT_FEED_OLDEST, NULL);
    require_nothing_more(feed);
    for (unsigned i = 0; i < 40; i++) {
        uint64_t before = world.commit;

        commit_some(&dice, (unsigned)pt_dice_below(&dice, 40), true);
        if (pt_dice_one_in(&dice, 4))
            PT_REQUIRE_OK(peat_flush(world.db));
        require_commits(feed, before + 1, world.commit);
        require_nothing_more(feed);
    }
    peat_feed_close(feed);
    world_close();
}

static void commits_kept_in_memory_are_handed_out_too(void **state)
{
    struct peat_feed *feed;
    (void)state;

    world_open();
    PT_REQUIRE_OK(peat_close(world.db));
    world.options.flags |= PEAT_LOG_PWRITE;
    world.options.durability = PEAT_MEMORY;
    world.options.sync_interval_ms = 3600000;
    world_reopen();
    feed = feed_open(PEAT_FEED_NEXT, NULL);
    for (unsigned i = 0; i < 20; i++) {
        commit(100);
        require_commits(feed, world.commit, world.commit);
    }
    peat_feed_close(feed);
    world_close();
}

static void a_feed_begins_where_it_is_asked_to(void **state)
{
    struct peat_feed *feed;
    (void)state;

    world_open();
    for (unsigned i = 0; i < 10; i++)
        commit(10);
    for (uint64_t from = 1; from <= 11; from++) {
        feed = feed_open(from, NULL);
        require_commits(feed, from, 10);
        require_nothing_more(feed);
        peat_feed_close(feed);
    }
    feed = feed_open(PEAT_FEED_NEXT, NULL);
    require_nothing_more(feed);
    commit(10);
    require_commits(feed, 11, 11);
    peat_feed_close(feed);
    PT_REQUIRE_STATUS(peat_feed_open(world.db, 13, NULL, 0, &feed), PEAT_GAP);
    assert_null(feed);
    world_close();
}

static void a_feed_that_lags_loses_nothing_while_it_is_open(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_feed *feed;
    (void)state;

    world_open();
    commit(10);
    feed = feed_open(1, NULL);
    for (unsigned i = 0; i < 5; i++) {
        commit_some(&dice, 100, true);
        PT_REQUIRE_OK(peat_flush(world.db));
    }
    PT_REQUIRE(stats().feed_log_size > 0 && stats().feed_count == 0);
    require_commits(feed, 1, world.commit);
    commit(10);
    require_commits(feed, world.commit, world.commit);
    PT_REQUIRE_OK(peat_flush(world.db));
    peat_feed_close(feed);
    commit(10);
    PT_REQUIRE_OK(peat_flush(world.db));
    PT_REQUIRE(stats().feed_log_size == 0);
    PT_REQUIRE_STATUS(peat_feed_open(world.db, 1, NULL, 0, &feed), PEAT_GAP);
    world_close();
}

struct waiter {
    struct peat_feed *feed;
    _Atomic bool waits;
    enum peat_status status;
    struct peat_record record;
};

static void *wait_run(void *context)
{
    struct waiter *waiter = context;

    atomic_store(&waiter->waits, true);
    waiter->status = peat_feed_next(waiter->feed, PEAT_FEED_FOREVER, &waiter->record);
    return NULL;
}

static void a_feed_that_waits_is_woken_by_a_commit_or_by_cancelling(void **state)
{
    (void)state;

    world_open();
    for (unsigned i = 0; i < 50; i++) {
        struct waiter waiter = {.feed = feed_open(PEAT_FEED_NEXT, NULL)};
        pthread_t thread;

        PT_REQUIRE(pthread_create(&thread, NULL, wait_run, &waiter) == 0);
        while (!atomic_load(&waiter.waits))
            (void)usleep(100);
        if (i % 2 == 0)
            commit(10);
        else
            peat_feed_cancel(waiter.feed);
        PT_REQUIRE(pthread_join(thread, NULL) == 0);
        PT_REQUIRE(waiter.status == (i % 2 == 0 ? PEAT_OK : PEAT_DONE));
        if (i % 2 == 0)
            require_record(&waiter.record, world.commit);
        require_nothing_more(waiter.feed); /* it can go on */
        peat_feed_close(waiter.feed);
    }
    world_close();
}

static void operations_are_told_with_their_collections(void **state)
{
    static const struct {
        enum peat_operation_kind kind;
        uint64_t parent;
        const char *key;
        const char *value; /* NULL: data NULL */
    } expected[] = {
        {PEAT_OPERATION_CREATE, 1, "outer", NULL},  {PEAT_OPERATION_CREATE, 2, "inner", NULL},
        {PEAT_OPERATION_PUT, 0, "a", "1"},          {PEAT_OPERATION_DELETE, 0, "b", ""},
        {PEAT_OPERATION_DELETE_RANGE, 0, "c", "d"}, {PEAT_OPERATION_DELETE_RANGE, 0, "", NULL},
        {PEAT_OPERATION_DROP, 2, "inner", ""},      {PEAT_OPERATION_DELETE_RANGE, 0, "", NULL},
    };
    struct peat_collection *outer;
    struct peat_collection *inner;
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_bytes none = {NULL, 0};
    struct peat_feed *feed;
    struct peat_record record;
    size_t place = 0;
    (void)state;

    world_open();
    feed = feed_open(PEAT_FEED_OLDEST, NULL);
    PT_REQUIRE_OK(peat_collection_open(world.db, NULL, "outer", PEAT_CREATE, &outer));
    PT_REQUIRE_OK(peat_collection_open(world.db, outer, "inner", PEAT_CREATE, &inner));
    PT_REQUIRE_OK(peat_batch_put(batch, inner, pt_text("a"), pt_text("1")));
    PT_REQUIRE_OK(peat_batch_delete(batch, inner, pt_text("b")));
    PT_REQUIRE_OK(peat_batch_delete_range(batch, inner, pt_text("c"), pt_text("d")));
    PT_REQUIRE_OK(peat_batch_delete_range(batch, inner, none, none));
    PT_REQUIRE_OK(peat_write(world.db, batch, PEAT_OS, NULL));
    PT_REQUIRE_OK(peat_collection_drop(world.db, inner));
    PT_REQUIRE(peat_collection_number(NULL) == 1 && peat_collection_number(outer) == 2);
    PT_REQUIRE_OK(peat_feed_next(feed, 0, &record));
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct peat_operation operation;
        enum peat_status status = peat_record_operation(&record, &place, &operation);

        if (status == PEAT_DONE) {
            place = 0;
            PT_REQUIRE_OK(peat_feed_next(feed, 0, &record));
            status = peat_record_operation(&record, &place, &operation);
        }
        PT_REQUIRE_OK(status);
        PT_REQUIRE(operation.kind == expected[i].kind && operation.parent == expected[i].parent);
        PT_REQUIRE(pt_same(operation.key, pt_text(expected[i].key)));
        if (expected[i].value == NULL)
            PT_REQUIRE(operation.value.data == NULL);
        else
            PT_REQUIRE(pt_same(operation.value, pt_text(expected[i].value)));
        if (operation.kind == PEAT_OPERATION_CREATE)
            PT_REQUIRE(operation.collection == 2 + i);
        else if (operation.kind != PEAT_OPERATION_DROP)
            PT_REQUIRE(operation.collection == peat_collection_number(inner));
    }
    peat_collection_close(inner);
    peat_collection_close(outer);
    peat_batch_free(batch);
    peat_feed_close(feed);
    world_close();
}

static bool lies_within(struct peat_bytes part, const struct peat_record *record)
{
    const uint8_t *begin = record->payload.data;
    const uint8_t *bytes = part.data;

    return part.size == 0 || (bytes >= begin && part.size <= record->payload.size &&
                              (size_t)(bytes - begin) <= record->payload.size - part.size);
}

/* Every step of a record, whatever is in it, stays inside of it and goes on. False: it says that something is none. */
static bool steps_right(const struct peat_record *record)
{
    struct peat_operation operation;
    size_t place = 0;

    for (;;) {
        size_t before = place;
        enum peat_status status = peat_record_operation(record, &place, &operation);

        if (status == PEAT_CORRUPT)
            PT_REQUIRE(place == before && peat_last_error()[0] != '\0');
        if (status != PEAT_OK) {
            PT_REQUIRE(status == PEAT_DONE || status == PEAT_CORRUPT);
            return status == PEAT_DONE;
        }
        PT_REQUIRE(place > before && place <= record->payload.size);
        PT_REQUIRE(lies_within(operation.key, record) && lies_within(operation.value, record));
        PT_REQUIRE(operation.kind >= PEAT_OPERATION_PUT && operation.kind <= PEAT_OPERATION_DROP);
    }
}

/* With each byte in turn made each other one, and ending at each byte. Not all of it may pass. */
static void damage_steps_right(const struct peat_record *record)
{
    uint8_t *bytes = malloc(record->payload.size);
    struct peat_record damaged = *record;
    unsigned refused = 0;

    PT_REQUIRE(bytes != NULL && record->payload.size > 0 && steps_right(record));
    damaged.payload.data = bytes;
    for (size_t i = 0; i < record->payload.size; i++) {
        for (unsigned value = 0; value < 256; value++) {
            memcpy(bytes, record->payload.data, record->payload.size);
            bytes[i] = (uint8_t)value;
            refused += !steps_right(&damaged);
        }
    }
    PT_REQUIRE(refused > 0);
    memcpy(bytes, record->payload.data, record->payload.size);
    for (damaged.payload.size = 1; damaged.payload.size < record->payload.size;
         damaged.payload.size++)
        refused += !steps_right(&damaged);
    free(bytes);
}

static void p3_no_damage_to_a_record_leads_its_reader_out_of_it(void **state)
{
    struct peat_collection *collection;
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_operation operation;
    struct peat_record record;
    struct peat_feed *feed;
    size_t place;
    (void)state;

    world_open();
    feed = feed_open(PEAT_FEED_OLDEST, NULL);
    PT_REQUIRE_OK(peat_collection_open(world.db, NULL, "name", PEAT_CREATE, &collection));
    PT_REQUIRE_OK(peat_batch_put(batch, collection, pt_text("a"), pt_text("1")));
    PT_REQUIRE_OK(peat_batch_delete(batch, NULL, pt_text("b")));
    PT_REQUIRE_OK(peat_batch_delete_range(batch, collection, pt_text("c"), pt_text("d")));
    PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, pt_text("e"), (struct peat_bytes){NULL, 0}));
    PT_REQUIRE_OK(peat_write(world.db, batch, PEAT_OS, NULL));
    PT_REQUIRE_OK(peat_collection_drop(world.db, collection));
    for (unsigned i = 0; i < 3; i++) {
        PT_REQUIRE_OK(peat_feed_next(feed, 0, &record));
        damage_steps_right(&record);
    }
    place = record.payload.size + 1;
    PT_REQUIRE_STATUS(peat_record_operation(&record, &place, &operation), PEAT_INVALID);
    record.kind = PEAT_RECORD_SEAL;
    place = 0;
    PT_REQUIRE_STATUS(peat_record_operation(&record, &place, &operation), PEAT_DONE);
    peat_collection_close(collection);
    peat_batch_free(batch);
    peat_feed_close(feed);
    world_close();
}

/* ---- Names ---- */

struct listed {
    char names[NAMES_MAX][64];
    struct peat_feed_info infos[NAMES_MAX];
    size_t count;
};

static bool note(void *context, const struct peat_feed_info *info)
{
    struct listed *listed = context;

    PT_REQUIRE(info->struct_size == sizeof(*info) && listed->count < NAMES_MAX);
    (void)snprintf(listed->names[listed->count], 64, "%s", info->name);
    listed->infos[listed->count++] = *info;
    return true;
}

static struct listed list(struct peat_db *db)
{
    struct listed listed = {.count = 0};

    PT_REQUIRE_OK(peat_feed_list(db, note, &listed));
    return listed;
}

static void a_name_goes_on_where_it_left_off_over_closing_and_crashes(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint64_t acknowledged = 0;
    struct peat_feed *feed;
    (void)state;

    world_open();
    feed = feed_open(PEAT_FEED_NEXT, "reader");
    for (unsigned i = 0; i < 60; i++) {
        uint64_t to;
        bool abandon = pt_dice_one_in(&dice, 2);

        commit_some(&dice, (unsigned)pt_dice_below(&dice, 60), true);
        if (pt_dice_one_in(&dice, 3))
            PT_REQUIRE_OK(peat_flush(world.db));
        to = acknowledged + pt_dice_below(&dice, world.commit - acknowledged + 1);
        require_commits(feed, acknowledged + 1, to);
        PT_REQUIRE_OK(peat_feed_acknowledge(feed, to));
        PT_REQUIRE(list(world.db).infos[0].acknowledged == to);
        peat_feed_close(feed);
        if (pt_dice_one_in(&dice, 3)) {
            commit(100);
            PT_REQUIRE_OK(peat_flush(world.db));
            abandon = false; /* the acknowledgement is durable */
        }
        world_turn(abandon);
        PT_REQUIRE(list(world.db).count == 1 && strcmp(list(world.db).names[0], "reader") == 0);
        PT_REQUIRE(!list(world.db).infos[0].is_gone);
        if (abandon) /* never newer, perhaps older */
            PT_REQUIRE(list(world.db).infos[0].acknowledged <= to);
        else
            PT_REQUIRE(list(world.db).infos[0].acknowledged == to);
        acknowledged = list(world.db).infos[0].acknowledged;
        PT_REQUIRE_OK(peat_check(world.db, NULL, NULL, NULL));
        feed = feed_open(PEAT_FEED_ACKNOWLEDGED, "reader");
        if (pt_dice_one_in(&dice, 2)) {
            require_commits(feed, acknowledged + 1, world.commit);
            require_nothing_more(feed);
            peat_feed_close(feed);
            feed = feed_open(PEAT_FEED_ACKNOWLEDGED, "reader");
        }
    }
    peat_feed_close(feed);
    world_close();
}

/* Batches of several records go over regions' ends, so regions are entered in the middle of one. */
static void large_batches_over_the_ends_of_regions_leave_no_gap(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_feed *feed;
    (void)state;

    world_open();
    feed = feed_open(PEAT_FEED_NEXT, "reader");
    peat_feed_close(feed);
    for (unsigned i = 0; i < 12; i++) {
        uint64_t acknowledged;

        for (unsigned k = 0; k < 6; k++)
            commit(256 * KIB + (size_t)pt_dice_below(&dice, 2 * MIB));
        if (i % 3 == 0)
            PT_REQUIRE_OK(peat_flush(world.db));
        if (i % 3 == 1)
            world_turn(i % 2 == 0);
        acknowledged = list(world.db).infos[0].acknowledged;
        for (uint64_t from = acknowledged + 1; from <= world.commit; from++) { /* any of them */
            feed = feed_open(from, NULL);
            require_commits(feed, from, from);
            peat_feed_close(feed);
        }
        feed = feed_open(PEAT_FEED_ACKNOWLEDGED, "reader");
        require_commits(feed, acknowledged + 1, world.commit - 3);
        PT_REQUIRE_OK(peat_feed_acknowledge(feed, world.commit - 3));
        peat_feed_close(feed);
    }
    world_close();
}

static void an_acknowledgement_writes_nothing_until_it_is_worth_it(void **state)
{
    struct peat_feed *feed;
    uint64_t generation;
    (void)state;

    world_open();
    PT_REQUIRE_OK(peat_close(world.db));
    world.options.feed_log_size_max = 16 * MIB;
    world_reopen();
    feed = feed_open(PEAT_FEED_NEXT, "reader");
    for (unsigned i = 0; i < 40; i++)
        commit(100 * KIB);
    PT_REQUIRE_OK(peat_flush(world.db));
    PT_REQUIRE_OK(peat_wait_idle(world.db, SOON_MS));
    PT_REQUIRE(stats().feed_log_size > 3 * MIB);
    generation = stats().generation;
    require_commits(feed, 1, 2);
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, 1));
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, 2));
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, 1)); /* is one already */
    PT_REQUIRE_STATUS(peat_feed_acknowledge(feed, 3), PEAT_INVALID);
    PT_REQUIRE(list(world.db).infos[0].acknowledged == 2);
    PT_REQUIRE_OK(peat_wait_idle(world.db, SOON_MS));
    PT_REQUIRE(stats().generation == generation);
    require_commits(feed, 3, 40);
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, 40));
    while (stats().feed_log_size > 2 * MIB) /* it is asked for by itself */
        (void)usleep(1000);
    PT_REQUIRE(stats().generation > generation);
    peat_feed_close(feed);
    world_turn(true);
    PT_REQUIRE(list(world.db).infos[0].acknowledged == 40);
    world_close();
}

static void a_flush_makes_durable_what_was_acknowledged(void **state)
{
    struct peat_feed *feed;
    uint64_t generation;
    (void)state;

    world_open();
    feed = feed_open(PEAT_FEED_NEXT, "reader");
    commit(10);
    commit(10);
    PT_REQUIRE_OK(peat_flush(world.db));
    require_commits(feed, 1, 2);
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, 2));
    PT_REQUIRE_OK(peat_flush(world.db)); /* there is nothing else to write */
    generation = stats().generation;
    PT_REQUIRE_OK(peat_flush(world.db));
    PT_REQUIRE(stats().generation == generation);
    peat_feed_close(feed);
    world_turn(true);
    PT_REQUIRE(list(world.db).infos[0].acknowledged == 2);
    world_close();
}

/* What a name wants besides commits is as durable as the name. */
static void a_name_that_wants_seals_from_now_on_does_after_a_crash(void **state)
{
    struct peat_feed *feed;
    uint64_t generation;
    (void)state;

    world_open();
    peat_feed_close(feed_open(PEAT_FEED_NEXT, "reader"));
    generation = stats().generation;
    PT_REQUIRE_OK(
        peat_feed_open(world.db, PEAT_FEED_ACKNOWLEDGED, "reader", PEAT_FEED_SEALS, &feed));
    peat_feed_close(feed);
    PT_REQUIRE(stats().generation == generation + 1);
    PT_REQUIRE_OK(
        peat_feed_open(world.db, PEAT_FEED_ACKNOWLEDGED, "reader", PEAT_FEED_SEALS, &feed));
    peat_feed_close(feed);
    PT_REQUIRE(stats().generation == generation + 1);
    world_close();
}

static void beyond_the_bound_a_feed_gets_a_gap(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_feed *feeds[3];
    struct peat_record record;
    (void)state;

    world_open();
    PT_REQUIRE_OK(peat_close(world.db));
    world.options.feed_log_size_max = 2 * MIB;
    world_reopen();
    feeds[0] = feed_open(PEAT_FEED_NEXT, "slow");
    feeds[1] = feed_open(PEAT_FEED_NEXT, NULL);
    feeds[2] = feed_open(PEAT_FEED_NEXT, "quick");
    commit(100);
    PT_REQUIRE_OK(peat_feed_next(feeds[1], SOON_MS, &record));
    for (unsigned i = 0; i < 10; i++) {
        for (unsigned k = 0; k < 60; k++) {
            require_commits(feeds[2], world.commit, world.commit);
            PT_REQUIRE_OK(peat_feed_acknowledge(feeds[2], world.commit));
            commit_some(&dice, 1, true);
        }
        PT_REQUIRE_OK(peat_flush(world.db));
        PT_REQUIRE(stats().feed_log_size <= 2 * MIB);
    }
    require_record(&record, 1); /* what was handed out stays until the next call */
    require_gap(feeds[0]);
    require_gap(feeds[1]);
    commit(100);
    require_commits(feeds[2], world.commit - 1, world.commit);
    for (unsigned i = 0; i < 3; i++)
        peat_feed_close(feeds[i]);
    PT_REQUIRE(list(world.db).infos[1].is_gone && !list(world.db).infos[0].is_gone);
    world_turn(false);
    PT_REQUIRE_STATUS(peat_feed_open(world.db, PEAT_FEED_ACKNOWLEDGED, "slow", 0, &feeds[0]),
                      PEAT_GAP);
    feeds[0] = feed_open(PEAT_FEED_NEXT, "slow"); /* it begins anew */
    commit(100);
    require_commits(feeds[0], world.commit, world.commit);
    peat_feed_close(feeds[0]);
    world_close();
}

static void a_dropped_name_lets_its_log_go(void **state)
{
    struct peat_feed *feed;
    struct peat_feed *other;
    (void)state;

    world_open();
    feed = feed_open(PEAT_FEED_NEXT, "b");
    PT_REQUIRE_STATUS(peat_feed_open(world.db, PEAT_FEED_NEXT, "b", 0, &other), PEAT_BUSY);
    assert_null(other);
    PT_REQUIRE_STATUS(peat_feed_drop(world.db, "b"), PEAT_BUSY);
    PT_REQUIRE_STATUS(peat_feed_drop(world.db, "a"), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_feed_open(world.db, PEAT_FEED_ACKNOWLEDGED, "a", 0, &other),
                      PEAT_NOT_FOUND);
    PT_REQUIRE(list(world.db).count == 1 && list(world.db).infos[0].is_open);
    PT_REQUIRE_STATUS(peat_close(world.db), PEAT_BUSY);
    peat_feed_close(feed);
    peat_feed_close(feed_open(PEAT_FEED_NEXT, "a"));
    for (unsigned i = 0; i < 4; i++) {
        commit(MIB);
        PT_REQUIRE_OK(peat_flush(world.db));
    }
    PT_REQUIRE(stats().feed_count == 2 && stats().feed_log_size >= MIB);
    PT_REQUIRE(list(world.db).infos[0].held_size == stats().feed_log_size);
    PT_REQUIRE_OK(peat_feed_drop(world.db, "b"));
    PT_REQUIRE(stats().feed_count == 1 && stats().feed_log_size >= MIB);
    PT_REQUIRE_OK(peat_feed_drop(world.db, "a"));
    PT_REQUIRE(stats().feed_count == 0 && stats().feed_log_size == 0);
    world_turn(true);
    PT_REQUIRE(list(world.db).count == 0);
    world_close();
}

static void feeds_refuse_what_makes_no_sense(void **state)
{
    char name[PEAT_NAME_SIZE_MAX + 2];
    struct peat_record record;
    struct peat_feed *feed;
    (void)state;

    world_open();
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    PT_REQUIRE_STATUS(peat_feed_open(world.db, 1, name, 0, &feed), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_open(world.db, 1, "", 0, &feed), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_open(world.db, 1, NULL, 2, &feed), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_open(world.db, 1, NULL, 0, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_open(NULL, 1, NULL, 0, &feed), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_open(world.db, PEAT_FEED_ACKNOWLEDGED, NULL, 0, &feed),
                      PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_next(NULL, 0, &record), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_acknowledge(NULL, 0), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_list(NULL, note, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_drop(world.db, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_record_operation(NULL, NULL, NULL), PEAT_INVALID);
    peat_feed_close(NULL);
    peat_feed_cancel(NULL);
    feed = feed_open(PEAT_FEED_OLDEST, NULL);
    PT_REQUIRE_STATUS(peat_feed_next(feed, 0, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_acknowledge(feed, 0), PEAT_INVALID);
    peat_feed_close(feed);
    world_close();
}

/* ---- What is in no record ---- */

static void a_revert_is_a_gap_that_says_where_to_go_on(void **state)
{
    struct peat_feed *feeds[2];
    uint64_t reverted;
    (void)state;

    world_open();
    feeds[0] = feed_open(PEAT_FEED_NEXT, "reader");
    feeds[1] = feed_open(PEAT_FEED_NEXT, NULL);
    commit(10);
    PT_REQUIRE_OK(peat_snapshot_persist(world.db, "state", NULL));
    commit(10);
    require_commits(feeds[1], 1, 1);
    PT_REQUIRE_OK(peat_revert(world.db, "state", 0, &reverted));
    PT_REQUIRE(reverted == world.commit + 1);
    world.sizes[++world.commit] = UINT32_MAX;
    commit(10);
    require_commits(feeds[0], 1, 2);
    require_gap(feeds[0]);
    PT_REQUIRE(strstr(peat_last_error(), "revert") != NULL);
    require_commits(feeds[1], 2, 2);
    require_gap(feeds[1]);
    for (unsigned i = 0; i < 2; i++)
        peat_feed_close(feeds[i]);
    feeds[0] = feed_open(reverted + 1, "reader");
    require_commits(feeds[0], reverted + 1, world.commit);
    PT_REQUIRE_OK(peat_feed_acknowledge(feeds[0], world.commit));
    peat_feed_close(feeds[0]);
    world_turn(false);
    feeds[0] = feed_open(PEAT_FEED_ACKNOWLEDGED, "reader");
    commit(10);
    require_commits(feeds[0], world.commit, world.commit);
    peat_feed_close(feeds[0]);
    world_close();
}

/* ---- Processes that only read ---- */

static struct peat_db *reader_open(void)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(world.path, &options, &db));
    return db;
}

static void a_feed_in_a_reader_goes_on_behind_recoveries_and_closing(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_feed *feed;
    struct peat_db *db;
    (void)state;

    world_open();
    commit(10);
    db = reader_open();
    PT_REQUIRE_OK(peat_feed_open(db, 1, NULL, 0, &feed));
    require_commits(feed, 1, 1);
    for (unsigned i = 0; i < 40; i++) {
        uint64_t before = world.commit;

        commit_some(&dice, (unsigned)pt_dice_below(&dice, 40), true);
        if (pt_dice_one_in(&dice, 3))
            PT_REQUIRE_OK(peat_flush(world.db));
        require_commits(feed, before + 1, world.commit);
        require_nothing_more(feed);
        world_turn(pt_dice_one_in(&dice, 2));
        require_nothing_more(feed); /* from now on it holds what the new writer began */
    }
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_close(db));
    world_close();
}

static void what_is_kept_for_a_name_leads_a_reader_over_what_it_did_not_see(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_feed *feed;
    struct peat_db *db;
    (void)state;

    world_open();
    peat_feed_close(feed_open(PEAT_FEED_NEXT, "other"));
    commit(10);
    db = reader_open();
    PT_REQUIRE_OK(peat_feed_open(db, 1, NULL, 0, &feed));
    require_commits(feed, 1, 1);
    for (unsigned i = 0; i < 10; i++) {
        uint64_t before = world.commit;

        for (unsigned k = 0; k < 3; k++) {
            commit_some(&dice, (unsigned)pt_dice_below(&dice, 40), true);
            world_turn(pt_dice_one_in(&dice, 2));
        }
        require_commits(feed, before + 1, world.commit);
        require_nothing_more(feed);
    }
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_close(db));
    world_close();
}

static void a_feed_in_a_reader_says_so_when_what_it_wants_is_gone(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_feed *feed;
    struct peat_db *db;
    (void)state;

    world_open();
    commit(10);
    db = reader_open();
    PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_NEXT, NULL, 0, &feed));
    require_nothing_more(feed);
    commit_some(&dice, 50, true);
    world_turn(false); /* flushed, and the log is gone, but for who has held it */
    commit(10);
    require_commits(feed, 2, world.commit - 1); /* what it has held from before */
    require_commits(feed, world.commit, world.commit);
    peat_feed_close(feed);
    PT_REQUIRE_STATUS(peat_feed_open(db, 2, NULL, 0, &feed), PEAT_GAP);
    PT_REQUIRE_STATUS(peat_feed_open(db, 2, "name", 0, &feed), PEAT_NOT_WRITABLE);
    PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_OLDEST, NULL, 0, &feed));
    require_commits(feed, world.commit, world.commit);
    PT_REQUIRE_STATUS(peat_close(db), PEAT_BUSY);
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_close(db));
    world_close();
}

static void a_feed_opens_in_a_reader_that_was_not_refreshed(void **state)
{
    struct peat_feed *feed;
    struct peat_db *db;
    (void)state;

    world_open();
    peat_feed_close(feed_open(PEAT_FEED_NEXT, "keeper")); /* so the log is there from commit 1 on */
    for (unsigned i = 0; i < 3; i++) {
        uint64_t from[] = {PEAT_FEED_NEXT, PEAT_FEED_OLDEST, 0};
        uint64_t first[] = {0, 1, 0};

        commit(10);
        db = reader_open();
        for (unsigned k = 0; k < 10; k++) {
            commit(10);
            PT_REQUIRE_OK(peat_flush(world.db));
        }
        from[2] = first[2] = world.commit;
        PT_REQUIRE_OK(peat_feed_open(db, from[i], NULL, 0, &feed));
        if (first[i] > 0)
            require_commits(feed, first[i], world.commit);
        require_nothing_more(feed);
        commit(10);
        require_commits(feed, world.commit, world.commit);
        peat_feed_close(feed);
        PT_REQUIRE_OK(peat_close(db));
    }
    world_close();
}

static void a_reader_sees_names_and_reads_what_is_kept_for_them(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_feed *feed;
    struct peat_db *db;
    (void)state;

    world_open();
    peat_feed_close(feed_open(PEAT_FEED_NEXT, "reader"));
    for (unsigned i = 0; i < 6; i++) {
        commit_some(&dice, 60, true);
        world_turn(i % 2 == 0);
        db = reader_open();
        PT_REQUIRE(list(db).count == 1 && strcmp(list(db).names[0], "reader") == 0);
        PT_REQUIRE(list(db).infos[0].acknowledged == 0 && !list(db).infos[0].is_gone);
        PT_REQUIRE(list(db).infos[0].held_size > 0);
        PT_REQUIRE_OK(peat_feed_open(db, 1, NULL, 0, &feed));
        require_commits(feed, 1, world.commit);
        require_nothing_more(feed);
        peat_feed_close(feed);
        PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
        PT_REQUIRE_OK(peat_close(db));
    }
    world_close();
}

/* ---- Space, damage ---- */

static void a_full_disk_takes_the_log_of_feeds_before_a_commit_fails(void **state)
{
    struct peat_feed *feed;
    struct peat_feed *other;
    (void)state;

    world_open();
    PT_REQUIRE_OK(peat_close(world.db));
    world.options.file_size_max = 40 * MIB;
    world_reopen();
    feed = feed_open(PEAT_FEED_NEXT, "slow");
    for (unsigned i = 0; i < 400; i++) /* the same keys, 40 MB in all: without a feed they fit */
        commit(100 * KIB);
    require_gap(feed);
    peat_feed_close(feed);
    PT_REQUIRE_STATUS(peat_feed_open(world.db, PEAT_FEED_ACKNOWLEDGED, "slow", 0, &other),
                      PEAT_GAP);
    world_close();
}

/* What deletes log is kept for the feed, too, until there is no space for it. */
static void deletes_go_on_at_a_full_disk_beside_a_feed_that_stands_still(void **state)
{
    enum peat_status status = PEAT_OK;
    uint32_t count;
    (void)state;

    world_open();
    PT_REQUIRE_OK(peat_close(world.db));
    world.options.file_size_max = 40 * MIB;
    world_reopen();
    peat_feed_close(feed_open(PEAT_FEED_NEXT, "slow"));
    for (count = 0; status == PEAT_OK; count++)
        status = peat_put(world.db, NULL, (struct peat_bytes){&count, sizeof(count)},
                          (struct peat_bytes){world.value, 50 * KIB});
    PT_REQUIRE_STATUS(status, PEAT_NO_SPACE);
    PT_REQUIRE(count > 200);
    for (uint32_t i = 0; i < count; i++)
        PT_REQUIRE_OK(peat_delete(world.db, NULL, (struct peat_bytes){&i, sizeof(i)}));
    PT_REQUIRE_OK(peat_wait_idle(world.db, SOON_MS));
    for (uint32_t i = 0; i < 20; i++)
        PT_REQUIRE_OK(peat_put(world.db, NULL, (struct peat_bytes){&i, sizeof(i)},
                               (struct peat_bytes){world.value, 50 * KIB}));
    world_close();
}

static bool note_finding(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    (void)done;
    (void)total;
    return true;
}

static void count_finding(void *context, const struct peat_finding *finding)
{
    unsigned *count = context;

    PT_REQUIRE(strlen(finding->what) > 0);
    ++*count;
}

/* Flip a byte of the value of commit number @p number where the log has it; false: it is not there. */
static bool flip_in_log(uint64_t number)
{
    uint8_t value[2000];
    uint8_t *bytes;
    FILE *file;
    long size;
    bool found = false;

    pt_value_fill(number, value, sizeof(value));
    file = fopen(world.path, "r+b");
    PT_REQUIRE(file != NULL && fseek(file, 0, SEEK_END) == 0);
    size = ftell(file);
    bytes = malloc((size_t)size);
    PT_REQUIRE(bytes != NULL && fseek(file, 0, SEEK_SET) == 0);
    PT_REQUIRE(fread(bytes, 1, (size_t)size, file) == (size_t)size);
    for (long i = 0; i + (long)sizeof(value) <= size; i++) {
        if (memcmp(bytes + i, value, sizeof(value)) != 0)
            continue;
        PT_REQUIRE(fseek(file, i + 1000, SEEK_SET) == 0);
        PT_REQUIRE(fputc(bytes[i + 1000] ^ 1, file) != EOF);
        found = true;
    }
    free(bytes);
    PT_REQUIRE(fclose(file) == 0);
    return found;
}

static void damage_in_what_is_kept_is_found_and_told(void **state)
{
    struct peat_feed *feed;
    struct peat_record record;
    unsigned count = 0;
    (void)state;

    world_open();
    peat_feed_close(feed_open(PEAT_FEED_NEXT, "reader"));
    for (unsigned i = 0; i < 200; i++)
        commit(2000);
    world_turn(false);
    PT_REQUIRE_OK(peat_check(world.db, count_finding, note_finding, &count));
    PT_REQUIRE_OK(peat_close(world.db));
    /* Of keys that were written again the log alone has the old values. */
    PT_REQUIRE(flip_in_log(60));
    world_reopen();
    PT_REQUIRE_STATUS(peat_check(world.db, count_finding, note_finding, &count), PEAT_CORRUPT);
    PT_REQUIRE(count == 1);
    feed = feed_open(PEAT_FEED_ACKNOWLEDGED, "reader");
    require_commits(feed, 1, 59);
    PT_REQUIRE_STATUS(peat_feed_next(feed, 0, &record), PEAT_CORRUPT);
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_feed_drop(world.db, "reader"));
    PT_REQUIRE_OK(peat_check(world.db, count_finding, note_finding, &count));
    world_close();
}

/* ---- Threads ---- */

enum { WRITERS = 2, FEEDS = 4 };

static atomic_bool stop;
static _Atomic uint64_t last_commit; /* of all, once the writers have stopped; 0: not known yet */

/* Each batch puts its writer's next number under the writer's key, some with a load. */
static void *write_run(void *context)
{
    uint8_t writer = (uint8_t)(uintptr_t)context;
    struct pt_dice dice = {writer};
    static uint8_t load[2][700000];

    for (uint64_t number = 1; !atomic_load(&stop); number++) {
        struct peat_batch *batch = peat_batch_new(0);
        size_t size = pt_dice_one_in(&dice, 50) ? sizeof(load[0]) : pt_dice_below(&dice, 2000);
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, (struct peat_bytes){&writer, 1},
                                     (struct peat_bytes){&number, sizeof(number)}));
        PT_REQUIRE_OK(
            peat_batch_put(batch, NULL, pt_text("load"), (struct peat_bytes){load[writer], size}));
        PT_REQUIRE_OK(peat_write(world.db, batch, PEAT_OS, NULL));
        peat_batch_free(batch);
    }
    return NULL;
}

struct follower {
    struct peat_feed *feed;
    const char *name;
    uint64_t commit;
    uint64_t numbers[WRITERS];
};

/* Every commit is one more, and so is each writer's number, and readers see it already. */
static void follow_one(struct follower *follower, const struct peat_record *record)
{
    struct peat_operation operation;
    uint64_t number;
    size_t place = 0;
    uint8_t writer;
    uint64_t seen;
    size_t size;

    PT_REQUIRE(record->commit == follower->commit + 1);
    follower->commit = record->commit;
    PT_REQUIRE_OK(peat_record_operation(record, &place, &operation));
    PT_REQUIRE(operation.key.size == 1 && operation.value.size == sizeof(number));
    writer = *(const uint8_t *)operation.key.data;
    memcpy(&number, operation.value.data, sizeof(number));
    PT_REQUIRE(number == follower->numbers[writer] + 1);
    follower->numbers[writer] = number;
    PT_REQUIRE_OK(peat_get_copy(world.db, NULL, operation.key, &seen, sizeof(seen), &size));
    PT_REQUIRE(seen >= number);
}

static void *follow_run(void *context)
{
    struct follower *follower = context;
    struct pt_dice dice = {(uintptr_t)follower};

    for (;;) {
        struct peat_record record;
        enum peat_status status = peat_feed_next(follower->feed, 20, &record);

        if (status == PEAT_OK)
            follow_one(follower, &record);
        else
            PT_REQUIRE_STATUS(status, PEAT_TIMEOUT);
        if (follower->commit == atomic_load(&last_commit))
            return NULL;
        if (follower->name != NULL && pt_dice_one_in(&dice, 10))
            PT_REQUIRE_OK(peat_feed_acknowledge(follower->feed, follower->commit));
        if (follower->name != NULL && pt_dice_one_in(&dice, 500)) {
            PT_REQUIRE_OK(peat_feed_acknowledge(follower->feed, follower->commit));
            peat_feed_close(follower->feed);
            PT_REQUIRE_OK(peat_feed_open(world.db, PEAT_FEED_ACKNOWLEDGED, follower->name, 0,
                                         &follower->feed));
        }
    }
}

static void feeds_beside_writers_checkpoints_and_merges_miss_nothing(void **state)
{
    struct follower followers[FEEDS] = {
        {.name = "a"}, {.name = "b"}, {.name = NULL}, {.name = NULL}};
    uint64_t until_us = pt_test_now_us() + pt_test_number("PEAT_SECONDS", 2) * 1000000;
    pthread_t threads[WRITERS + FEEDS];
    (void)state;

    world_open();
    atomic_store(&stop, false);
    atomic_store(&last_commit, 0);
    commit(10);
    for (unsigned i = 0; i < FEEDS; i++) {
        PT_REQUIRE_OK(peat_feed_open(world.db, 2, followers[i].name, 0, &followers[i].feed));
        followers[i].commit = 1;
        PT_REQUIRE(pthread_create(&threads[WRITERS + i], NULL, follow_run, &followers[i]) == 0);
    }
    for (uintptr_t i = 0; i < WRITERS; i++)
        PT_REQUIRE(pthread_create(&threads[i], NULL, write_run, (void *)i) == 0);
    while (pt_test_now_us() < until_us) {
        struct listed listed = list(world.db);

        PT_REQUIRE(listed.count == 2 && !listed.infos[0].is_gone && !listed.infos[1].is_gone);
        PT_REQUIRE_OK(peat_flush(world.db));
        (void)usleep(20000);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WRITERS + FEEDS; i++) {
        PT_REQUIRE(pthread_join(threads[i], NULL) == 0);
        if (i + 1 == WRITERS)
            atomic_store(&last_commit, stats().commit);
    }
    for (unsigned i = 0; i < FEEDS; i++) {
        PT_REQUIRE(followers[i].commit == stats().commit);
        peat_feed_close(followers[i].feed);
    }
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_feed_hands_out_what_is_committed_in_order),
        cmocka_unit_test(commits_kept_in_memory_are_handed_out_too),
        cmocka_unit_test(a_feed_begins_where_it_is_asked_to),
        cmocka_unit_test(a_feed_that_lags_loses_nothing_while_it_is_open),
        cmocka_unit_test(a_feed_that_waits_is_woken_by_a_commit_or_by_cancelling),
        cmocka_unit_test(operations_are_told_with_their_collections),
        cmocka_unit_test(p3_no_damage_to_a_record_leads_its_reader_out_of_it),
        cmocka_unit_test(a_name_goes_on_where_it_left_off_over_closing_and_crashes),
        cmocka_unit_test(large_batches_over_the_ends_of_regions_leave_no_gap),
        cmocka_unit_test(an_acknowledgement_writes_nothing_until_it_is_worth_it),
        cmocka_unit_test(a_flush_makes_durable_what_was_acknowledged),
        cmocka_unit_test(a_name_that_wants_seals_from_now_on_does_after_a_crash),
        cmocka_unit_test(beyond_the_bound_a_feed_gets_a_gap),
        cmocka_unit_test(a_dropped_name_lets_its_log_go),
        cmocka_unit_test(feeds_refuse_what_makes_no_sense),
        cmocka_unit_test(a_revert_is_a_gap_that_says_where_to_go_on),
        cmocka_unit_test(a_feed_in_a_reader_goes_on_behind_recoveries_and_closing),
        cmocka_unit_test(what_is_kept_for_a_name_leads_a_reader_over_what_it_did_not_see),
        cmocka_unit_test(a_feed_in_a_reader_says_so_when_what_it_wants_is_gone),
        cmocka_unit_test(a_feed_opens_in_a_reader_that_was_not_refreshed),
        cmocka_unit_test(a_reader_sees_names_and_reads_what_is_kept_for_them),
        cmocka_unit_test(a_full_disk_takes_the_log_of_feeds_before_a_commit_fails),
        cmocka_unit_test(deletes_go_on_at_a_full_disk_beside_a_feed_that_stands_still),
        cmocka_unit_test(damage_in_what_is_kept_is_found_and_told),
        cmocka_unit_test(feeds_beside_writers_checkpoints_and_merges_miss_nothing),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * The property: a kept state shows exactly what the store showed when it was made, whatever has been
 * written, merged, dropped or reverted since, until it is dropped; and it costs no more than what
 * nothing newer shares.
 */
#include "tests/compare.h"
#include "tests/fixture.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ENTRIES_MAX = 32, NAME_SIZE = 64, KEYS = 2000, VALUE_SIZE = 200 };

/* ---- What is listed ---- */

struct listed {
    struct peat_history_entry entries[ENTRIES_MAX];
    char names[ENTRIES_MAX][NAME_SIZE];
    size_t count;
};

static bool note_entry(void *context, const struct peat_history_entry *entry)
{
    struct listed *listed = context;
    size_t i = listed->count++;

    PT_REQUIRE(i < ENTRIES_MAX && strlen(entry->name) < NAME_SIZE);
    PT_REQUIRE(entry->struct_size == sizeof(*entry));
    listed->entries[i] = *entry;
    (void)strcpy(listed->names[i], entry->name);
    listed->entries[i].name = listed->names[i];
    return true;
}

static struct listed *list(struct peat_db *db)
{
    static struct listed listed;

    listed.count = 0;
    PT_REQUIRE_OK(peat_history_list(db, note_entry, &listed));
    PT_REQUIRE(listed.count > 0);
    for (size_t i = 0; i < listed.count; i++) {
        PT_REQUIRE(listed.entries[i].is_newest == (i + 1 == listed.count));
        PT_REQUIRE(listed.entries[i].own_size <= listed.entries[i].size);
        if (i > 0)
            PT_REQUIRE(listed.entries[i].generation > listed.entries[i - 1].generation &&
                       listed.entries[i].time_us >= listed.entries[i - 1].time_us);
    }
    return &listed;
}

/* "a:3 :5 b:7!" - names and commits, oldest first; '!' damaged, '<' before a revert. */
static void require_list(struct peat_db *db, const char *expected)
{
    const struct listed *listed = list(db);
    char found[1024] = "";
    size_t used = 0;

    for (size_t i = 0; i < listed->count; i++) {
        const struct peat_history_entry *entry = &listed->entries[i];

        used += (size_t)snprintf(found + used, sizeof(found) - used, "%s%s:%" PRIu64 "%s%s",
                                 i == 0 ? "" : " ", entry->name, entry->commit,
                                 entry->is_damaged ? "!" : "", entry->is_before_revert ? "<" : "");
    }
    assert_string_equal(found, expected);
}

static uint64_t newest_generation(struct peat_db *db)
{
    const struct listed *listed = list(db);

    return listed->entries[listed->count - 1].generation;
}

/* ---- What is in it ---- */

/* "key=value key=value" of one collection. */
static void require_shows(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                          const char *expected)
{
    struct peat_iterator *iterator;
    enum peat_status status;
    char found[1024] = "";
    size_t used = 0;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, collection, NULL, &iterator));
    for (status = peat_iterator_first(iterator); status == PEAT_OK;
         status = peat_iterator_next(iterator)) {
        struct peat_bytes key = peat_iterator_key(iterator);
        struct peat_bytes value = peat_iterator_value(iterator);
        struct peat_bytes found_value;

        PT_REQUIRE_OK(peat_get(snapshot, collection, key, &found_value));
        PT_REQUIRE(pt_same(value, found_value));
        used += (size_t)snprintf(found + used, sizeof(found) - used, "%s%.*s=%.*s",
                                 used == 0 ? "" : " ", (int)key.size, (const char *)key.data,
                                 (int)value.size, (const char *)value.data);
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
    assert_string_equal(found, expected);
}

static void require_state(struct peat_db *db, const char *name, uint64_t generation,
                          const char *expected)
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_history_open(db, name, generation, &snapshot));
    require_shows(snapshot, NULL, expected);
    peat_snapshot_close(snapshot);
}

static void require_now(struct peat_db *db, const char *expected)
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    require_shows(snapshot, NULL, expected);
    peat_snapshot_close(snapshot);
}

static uint64_t persist(struct peat_db *db, const char *name)
{
    uint64_t generation = 0;

    PT_REQUIRE_OK(peat_snapshot_persist(db, name, &generation));
    PT_REQUIRE(generation > 0);
    return generation;
}

static struct peat_stats stats_of(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats;
}

static struct peat_db *reopen(struct pt_fixture *fixture, unsigned count, unsigned seconds)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);

    pt_test_options_tiny(&options);
    options.history_count = count;
    options.history_seconds = seconds;
    PT_REQUIRE_OK(peat_close(fixture->db));
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
    return fixture->db;
}

/* ---- Names ---- */

static void a_named_state_shows_what_was_committed_before_it(void **state)
{
    struct pt_fixture *fixture = *state;
    uint64_t generation;

    pt_test_put(fixture->db, "a", "1");
    pt_test_put(fixture->db, "b", "1");
    generation = persist(fixture->db, "first");
    pt_test_put(fixture->db, "a", "2");
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("b")));
    pt_test_put(fixture->db, "c", "2");
    require_state(fixture->db, "first", 0, "a=1 b=1");
    require_state(fixture->db, NULL, generation, "a=1 b=1");
    require_now(fixture->db, "a=2 c=2");
    persist(fixture->db, "second");
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    require_state(fixture->db, "first", 0, "a=1 b=1");
    require_state(fixture->db, "second", 0, "a=2 c=2");
    pt_fixture_reopen(fixture, false);
    pt_test_put(fixture->db, "d", "3");
    require_state(fixture->db, "first", 0, "a=1 b=1");
    require_state(fixture->db, NULL, generation, "a=1 b=1");
    require_state(fixture->db, "second", 0, "a=2 c=2");
    pt_fixture_reopen(fixture, true);
    require_state(fixture->db, "first", 0, "a=1 b=1");
    require_state(fixture->db, "second", 0, "a=2 c=2");
    require_now(fixture->db, "a=2 c=2 d=3");
    pt_compare_check(fixture->db);
}

static void an_empty_store_has_one_state(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot;

    require_list(fixture->db, ":0");
    require_state(fixture->db, NULL, newest_generation(fixture->db), "");
    PT_REQUIRE_STATUS(peat_history_open(fixture->db, "none", 0, &snapshot), PEAT_NOT_FOUND);
    assert_null(snapshot);
    PT_REQUIRE_STATUS(peat_history_open(fixture->db, NULL, 77, &snapshot), PEAT_NOT_FOUND);
    persist(fixture->db, "empty");
    require_list(fixture->db, "empty:0");
    pt_test_put(fixture->db, "a", "1");
    PT_REQUIRE_OK(peat_flush(fixture->db));
    require_list(fixture->db, "empty:0 :1");
    require_state(fixture->db, "empty", 0, "");
}

/* Nobody commits, and yet it goes: so that its space comes back. */
static void what_is_kept_for_a_time_expires_in_a_store_at_rest(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *db = reopen(fixture, 1, 1);
    uint64_t end_us = pt_test_now_us() + 600000000;

    pt_test_put(db, "a", "1");
    PT_REQUIRE_OK(peat_flush(db));
    persist(db, "named");
    pt_test_put(db, "a", "2");
    PT_REQUIRE_OK(peat_flush(db));
    pt_test_put(db, "a", "3");
    PT_REQUIRE_OK(peat_flush(db));
    while (stats_of(db).history_count > 1 && pt_test_now_us() < end_us)
        (void)sched_yield();
    require_list(db, "named:1 :3");
    require_now(db, "a=3");
}

static void names_are_checked(void **state)
{
    struct pt_fixture *fixture = *state;
    char name[PEAT_NAME_SIZE_MAX + 2];
    static const char *const wrong[] = {
        "",    "\x80", "a\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xff"};

    memset(name, 'n', sizeof(name));
    name[PEAT_NAME_SIZE_MAX + 1] = '\0';
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        PT_REQUIRE_STATUS(peat_snapshot_persist(fixture->db, wrong[i], NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_snapshot_persist(fixture->db, NULL, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_snapshot_persist(fixture->db, name, NULL), PEAT_INVALID);
    name[PEAT_NAME_SIZE_MAX] = '\0';
    persist(fixture->db, name);
    persist(fixture->db, "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8c\xb1");
    persist(fixture->db, "n");
    PT_REQUIRE_STATUS(peat_snapshot_persist(fixture->db, name, NULL), PEAT_EXISTS);
    PT_REQUIRE_STATUS(peat_snapshot_persist(fixture->db, "n", NULL), PEAT_EXISTS);
    pt_fixture_reopen(fixture, true);
    PT_REQUIRE_STATUS(peat_snapshot_persist(fixture->db, "n", NULL), PEAT_EXISTS);
    require_state(fixture->db, name, 0, "");
}

static void two_names_for_one_state_are_two_states(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_test_put(fixture->db, "a", "1");
    persist(fixture->db, "one");
    persist(fixture->db, "two");
    require_list(fixture->db, "one:1 two:1");
    PT_REQUIRE_OK(peat_history_drop(fixture->db, "one", 0));
    require_list(fixture->db, "two:1");
    require_state(fixture->db, "two", 0, "a=1");
}

static void dropping_lets_a_state_go(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot;
    struct peat_snapshot *held;
    uint64_t generation;

    pt_test_put(fixture->db, "a", "1");
    generation = persist(fixture->db, "one");
    pt_test_put(fixture->db, "a", "2");
    persist(fixture->db, "two");
    pt_test_put(fixture->db, "a", "3");
    PT_REQUIRE_OK(peat_flush(fixture->db));
    require_list(fixture->db, "one:1 two:2 :3");
    PT_REQUIRE_OK(peat_history_open(fixture->db, "one", 0, &held));
    PT_REQUIRE_STATUS(peat_history_drop(fixture->db, "three", 0), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_history_drop(fixture->db, NULL, 12345), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_history_drop(fixture->db, NULL, newest_generation(fixture->db)),
                      PEAT_INVALID);
    PT_REQUIRE_OK(peat_history_drop(fixture->db, NULL, generation));
    require_list(fixture->db, "two:2 :3");
    PT_REQUIRE_STATUS(peat_history_open(fixture->db, "one", 0, &snapshot), PEAT_NOT_FOUND);
    pt_fixture_rewrite(fixture, 3); /* its space would be used again */
    require_shows(held, NULL, "a=1");
    peat_snapshot_close(held);
    pt_fixture_reopen(fixture, true);
    PT_REQUIRE_STATUS(peat_history_drop(fixture->db, "one", 0), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(peat_history_drop(fixture->db, "two", 0));
    PT_REQUIRE(list(fixture->db)->count == 1);
}

static void the_newest_state_can_lose_its_name(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_test_put(fixture->db, "a", "1");
    persist(fixture->db, "now");
    require_list(fixture->db, "now:1");
    PT_REQUIRE_OK(peat_history_drop(fixture->db, "now", 0));
    require_list(fixture->db, ":1");
    persist(fixture->db, "now");
    require_list(fixture->db, "now:1");
}

static void a_merge_keeps_the_number_and_name_of_the_newest_state(void **state)
{
    struct pt_fixture *fixture = *state;
    uint64_t generation;

    pt_fixture_rewrite(fixture, 1);
    for (unsigned i = 0; i < 5; i++) {
        pt_test_put(fixture->db, "a", "1");
        PT_REQUIRE_OK(peat_flush(fixture->db));
    }
    generation = persist(fixture->db, "here");
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE(stats_of(fixture->db).run_count == 1);
    require_list(fixture->db, "here:6");
    PT_REQUIRE(newest_generation(fixture->db) == generation);
    PT_REQUIRE(stats_of(fixture->db).history_size == 0); /* what was merged is not held */
    pt_fixture_reopen(fixture, false);
    PT_REQUIRE(newest_generation(fixture->db) == generation);
    require_list(fixture->db, "here:6");
}

static void a_list_can_be_stopped(void **state)
{
    struct pt_fixture *fixture = *state;
    struct listed listed = {.count = ENTRIES_MAX - 1};

    persist(fixture->db, "a");
    pt_test_put(fixture->db, "a", "1");
    persist(fixture->db, "b");
    listed.count = 0;
    PT_REQUIRE_OK(peat_history_list(fixture->db, note_entry, &listed));
    PT_REQUIRE(listed.count == 2);
}

/* ---- By count and by age ---- */

static void without_options_the_newest_alone_is_kept(void **state)
{
    struct pt_fixture *fixture = *state;

    for (unsigned i = 0; i < 4; i++) {
        pt_test_put(fixture->db, "a", "1");
        PT_REQUIRE_OK(peat_flush(fixture->db));
    }
    require_list(fixture->db, ":4");
    PT_REQUIRE(stats_of(fixture->db).history_count == 0);
}

static void the_last_states_are_kept_by_number(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *db = reopen(fixture, 3, 0);
    char value[8];

    for (unsigned i = 1; i <= 6; i++) {
        (void)snprintf(value, sizeof(value), "%u", i);
        pt_test_put(db, "a", value);
        PT_REQUIRE_OK(peat_flush(db));
        if (i == 2)
            persist(db, "two");
    }
    require_list(db, "two:2 :4 :5 :6");
    PT_REQUIRE(stats_of(db).history_count == 3);
    require_state(db, NULL, list(db)->entries[1].generation, "a=4");
    db = reopen(fixture, 2, 0);
    pt_test_put(db, "a", "7");
    PT_REQUIRE_OK(peat_flush(db));
    require_list(db, "two:2 :6 :7");
    require_state(db, NULL, list(db)->entries[1].generation, "a=6");
}

static void states_of_the_last_seconds_are_kept(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *db = reopen(fixture, 1, 100000);

    for (unsigned i = 1; i <= 5; i++) {
        pt_test_put(db, "a", "1");
        PT_REQUIRE_OK(peat_flush(db));
    }
    require_list(db, ":0 :1 :2 :3 :4 :5");
    db = reopen(fixture, 1, 0);
    PT_REQUIRE_OK(peat_flush(db));
    pt_test_put(db, "a", "1");
    PT_REQUIRE_OK(peat_flush(db));
    require_list(db, ":6");
}

static void a_count_of_0_leaves_the_states_there_are(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *db = reopen(fixture, 3, 0);

    for (unsigned i = 1; i <= 4; i++) {
        pt_test_put(db, "a", "1");
        PT_REQUIRE_OK(peat_flush(db));
    }
    db = reopen(fixture, 0, 7);
    pt_test_put(db, "a", "2");
    PT_REQUIRE_OK(peat_flush(db));
    pt_test_put(db, "a", "3");
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    require_list(db, ":2 :3 :6");
    db = reopen(fixture, 3, 0);
    pt_test_put(db, "a", "4");
    PT_REQUIRE_OK(peat_flush(db));
    require_list(db, ":3 :6 :7");
}

/* ---- Space ---- */

static void fill(struct peat_db *db, uint64_t seed)
{
    struct peat_batch *batch = peat_batch_new(0);

    PT_REQUIRE(batch != NULL);
    for (unsigned i = 0; i < KEYS; i++) {
        char text[16];
        void *value;

        (void)snprintf(text, sizeof(text), "key%06u", i);
        PT_REQUIRE_OK(peat_batch_put_reserve(batch, NULL, pt_text(text), VALUE_SIZE, &value));
        pt_value_fill(seed + i, value, VALUE_SIZE);
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_DEFAULT, NULL));
    peat_batch_free(batch);
}

static void require_filled(const struct peat_snapshot *snapshot, uint64_t seed)
{
    struct peat_iterator *iterator;
    enum peat_status status;
    unsigned i = 0;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    for (status = peat_iterator_first(iterator); status == PEAT_OK;
         status = peat_iterator_next(iterator))
        PT_REQUIRE(pt_value_matches(seed + i++, peat_iterator_value(iterator)));
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    PT_REQUIRE(i == KEYS);
    peat_iterator_close(iterator);
}

/* Bytes of disk but for the log and the reserve, whose sizes at rest depend on when the merger came to look. */
static uint64_t allocated_of(const struct peat_stats *stats)
{
    return stats->allocated_size - stats->log_size - stats->reserve_size;
}

static void space_is_given_back_after_a_drop(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *db = fixture->db;
    struct peat_stats stats;
    uint64_t before;

    fill(db, 1);
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    stats = stats_of(db);
    before = allocated_of(&stats);
    persist(db, "one");
    fill(db, 100000);
    persist(db, "two");
    fill(db, 200000);
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    stats = stats_of(db);
    PT_REQUIRE(stats.history_count == 2);
    PT_REQUIRE(stats.history_size >= 2 * KEYS * VALUE_SIZE);
    PT_REQUIRE(allocated_of(&stats) >= before + stats.history_size / 2);
    PT_REQUIRE(list(db)->entries[0].own_size + list(db)->entries[1].own_size == stats.history_size);
    PT_REQUIRE_OK(peat_history_drop(db, "one", 0));
    PT_REQUIRE_OK(peat_history_drop(db, "two", 0));
    stats = pt_test_stats_at_rest(db);
    PT_REQUIRE(stats.history_count == 0 && stats.history_size == 0);
    PT_REQUIRE(allocated_of(&stats) <= before + before / 4);
}

static void what_a_newer_state_shares_costs_nothing(void **state)
{
    struct pt_fixture *fixture = *state;
    const struct listed *listed;

    fill(fixture->db, 1);
    PT_REQUIRE_OK(peat_flush(fixture->db));
    persist(fixture->db, "base");
    pt_test_put(fixture->db, "more", "1");
    PT_REQUIRE_OK(peat_flush(fixture->db));
    listed = list(fixture->db);
    PT_REQUIRE(listed->count == 2);
    PT_REQUIRE(listed->entries[0].size >= KEYS * VALUE_SIZE);
    PT_REQUIRE(listed->entries[0].own_size == 65536); /* its manifest */
}

static void states_stay_what_they_are_while_the_merger_works_beside_them(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot;
    uint64_t seeds[8];
    char name[16];
    (void)state;

    for (unsigned turn = 0; turn < 24; turn++) {
        fill(fixture->db, turn * 10000);
        if (turn % 3 != 0)
            continue;
        (void)snprintf(name, sizeof(name), "%u", turn / 3);
        seeds[turn / 3] = turn * 10000;
        persist(fixture->db, name);
        if (turn % 9 == 3)
            pt_fixture_reopen(fixture, turn % 2 == 0);
        for (unsigned i = 0; i <= turn / 3; i++) {
            (void)snprintf(name, sizeof(name), "%u", i);
            PT_REQUIRE_OK(peat_history_open(fixture->db, name, 0, &snapshot));
            require_filled(snapshot, seeds[i]);
            peat_snapshot_close(snapshot);
        }
    }
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    pt_compare_check(fixture->db);
    for (unsigned i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof(name), "%u", i);
        PT_REQUIRE_OK(peat_history_open(fixture->db, name, 0, &snapshot));
        require_filled(snapshot, seeds[i]);
        peat_snapshot_close(snapshot);
        if (i % 2 == 0)
            PT_REQUIRE_OK(peat_history_drop(fixture->db, name, 0));
    }
    pt_fixture_reopen(fixture, false);
    PT_REQUIRE_OK(peat_history_open(fixture->db, "3", 0, &snapshot));
    require_filled(snapshot, seeds[3]);
    peat_snapshot_close(snapshot);
}

/* ---- Other processes ---- */

static void a_reader_opens_a_state_and_keeps_it_while_the_writer_drops_it(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_snapshot *snapshot;
    struct peat_db *reader; /* file locks tell two opens of one process apart like two processes */

    fill(fixture->db, 5);
    persist(fixture->db, "kept");
    fill(fixture->db, 50000);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &reader));
    require_list(reader, "kept:1 :2");
    PT_REQUIRE(stats_of(reader).history_count == 1);
    PT_REQUIRE(stats_of(reader).history_size == stats_of(fixture->db).history_size);
    PT_REQUIRE_OK(peat_history_open(reader, "kept", 0, &snapshot));
    PT_REQUIRE_STATUS(peat_snapshot_persist(reader, "x", NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_history_drop(reader, "kept", 0), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_revert(reader, "kept", 0, NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_OK(peat_history_drop(fixture->db, "kept", 0));
    for (unsigned turn = 0; turn < 6; turn++) {
        fill(fixture->db, 100000 * turn);
        PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
        PT_REQUIRE_OK(peat_refresh(reader));
        require_filled(snapshot, 5);
    }
    require_list(reader, ":8");
    PT_REQUIRE(stats_of(fixture->db).pending_size >= KEYS * VALUE_SIZE);
    PT_REQUIRE_STATUS(peat_close(reader), PEAT_BUSY);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_refresh(reader));
    PT_REQUIRE_STATUS(peat_history_open(reader, "kept", 0, &snapshot), PEAT_NOT_FOUND);
    fill(fixture->db, 1);
    PT_REQUIRE_OK(peat_refresh(reader));
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE_OK(peat_refresh(reader));
    PT_REQUIRE_OK(peat_close(reader));
    (void)pt_test_stats_at_rest(fixture->db);
}

/* ---- Revert ---- */

static void a_revert_brings_the_state_back_and_can_be_undone(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *db = fixture->db;
    struct peat_snapshot *held;
    uint64_t commit = 0;
    uint64_t before;

    pt_test_put(db, "a", "1");
    pt_test_put(db, "b", "1");
    persist(db, "good");
    pt_test_put(db, "a", "2");
    PT_REQUIRE_OK(peat_delete(db, NULL, pt_text("b")));
    PT_REQUIRE_OK(peat_snapshot_open(db, &held));
    PT_REQUIRE_OK(peat_revert(db, "good", 0, &commit));
    PT_REQUIRE(commit == 5);
    require_now(db, "a=1 b=1");
    PT_REQUIRE(pt_fixture_commit_number(fixture) == 5);
    require_shows(held, NULL, "a=2");
    peat_snapshot_close(held);
    require_list(db, "good:2 :4< :5");
    before = list(db)->entries[1].generation;
    pt_test_put(db, "c", "6");
    require_now(db, "a=1 b=1 c=6");
    pt_fixture_reopen(fixture, true);
    db = fixture->db;
    require_now(db, "a=1 b=1 c=6");
    PT_REQUIRE(pt_fixture_commit_number(fixture) == 6);
    PT_REQUIRE_OK(peat_revert(db, NULL, before, &commit));
    PT_REQUIRE(commit == 7);
    require_now(db, "a=2");
    require_list(db, "good:2 :6< :7");
    pt_fixture_reopen(fixture, false);
    require_now(fixture->db, "a=2");
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    require_now(fixture->db, "a=2");
    pt_compare_check(fixture->db);
}

static void reverting_to_the_newest_state_undoes_what_is_only_in_the_log(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_test_put(fixture->db, "a", "1");
    persist(fixture->db, "now");
    PT_REQUIRE_OK(peat_revert(fixture->db, "now", 0, NULL));
    require_now(fixture->db, "a=1");
    require_list(fixture->db, "now:1< :2");
    PT_REQUIRE_STATUS(peat_revert(fixture->db, "none", 0, NULL), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_revert(fixture->db, NULL, 4711, NULL), PEAT_NOT_FOUND);
    require_now(fixture->db, "a=1");
    PT_REQUIRE(pt_fixture_commit_number(fixture) == 2);
}

static void only_the_last_state_before_a_revert_stays_by_itself(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *db = fixture->db;

    pt_test_put(db, "a", "1");
    persist(db, "one");
    for (unsigned i = 0; i < 4; i++) {
        pt_test_put(db, "b", "x");
        PT_REQUIRE_OK(peat_revert(db, "one", 0, NULL));
    }
    require_list(db, "one:1 :8< :9");
    pt_test_put(db, "b", "x");
    PT_REQUIRE_OK(peat_flush(db));
    require_list(db, "one:1 :8< :10");
    PT_REQUIRE_OK(peat_history_drop(db, NULL, list(db)->entries[1].generation));
    require_list(db, "one:1 :10");
}

static void collections_live_and_die_with_the_revert(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *db = fixture->db;
    struct peat_collection *old;
    struct peat_collection *child;
    struct peat_collection *fresh;
    struct peat_collection *again;
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_collection_open(db, NULL, "old", PEAT_CREATE, &old));
    PT_REQUIRE_OK(peat_collection_open(db, old, "child", PEAT_CREATE, &child));
    PT_REQUIRE_OK(peat_put(db, old, pt_text("k"), pt_text("1")));
    PT_REQUIRE_OK(peat_put(db, child, pt_text("k"), pt_text("2")));
    persist(db, "good");
    PT_REQUIRE_OK(peat_collection_drop(db, old));
    PT_REQUIRE_OK(peat_collection_open(db, NULL, "fresh", PEAT_CREATE, &fresh));
    PT_REQUIRE_OK(peat_put(db, fresh, pt_text("k"), pt_text("3")));
    PT_REQUIRE_OK(peat_history_open(db, "good", 0, &snapshot));
    PT_REQUIRE_STATUS(peat_collection_open_at(snapshot, NULL, "fresh", &again), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(peat_collection_open_at(snapshot, NULL, "old", &again));
    require_shows(snapshot, again, "k=1");
    PT_REQUIRE_STATUS(peat_put(db, again, pt_text("k"), pt_text("no")), PEAT_NOT_FOUND);
    peat_collection_close(again);
    peat_snapshot_close(snapshot);

    PT_REQUIRE_OK(peat_revert(db, "good", 0, NULL));
    PT_REQUIRE_STATUS(peat_put(db, fresh, pt_text("k"), pt_text("no")), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_collection_drop(db, fresh), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_collection_open(db, NULL, "fresh", 0, &again), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(peat_put(db, old, pt_text("l"), pt_text("4")));
    PT_REQUIRE_OK(peat_put(db, child, pt_text("l"), pt_text("5")));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    require_shows(snapshot, old, "k=1 l=4");
    require_shows(snapshot, child, "k=2 l=5");
    require_shows(snapshot, fresh, "");
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_collection_open(db, NULL, "old", 0, &again));
    PT_REQUIRE_OK(peat_put(db, again, pt_text("m"), pt_text("6")));
    peat_collection_close(again);
    /* A new collection never gets the id of one that was undone. */
    PT_REQUIRE_OK(peat_collection_open(db, NULL, "fresh", PEAT_CREATE, &again));
    PT_REQUIRE_OK(peat_put(db, again, pt_text("n"), pt_text("7")));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    require_shows(snapshot, again, "n=7");
    require_shows(snapshot, fresh, "");
    peat_snapshot_close(snapshot);
    peat_collection_close(again);
    peat_collection_close(fresh);
    peat_collection_close(child);
    peat_collection_close(old);
}

static void a_reader_follows_a_revert(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_snapshot *held;
    struct peat_db *reader;

    pt_test_put(fixture->db, "a", "1");
    persist(fixture->db, "good");
    pt_test_put(fixture->db, "a", "2");
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &reader));
    require_now(reader, "a=2");
    pt_test_put(fixture->db, "b", "3");
    PT_REQUIRE_OK(peat_refresh(reader));
    require_now(reader, "a=2 b=3");
    PT_REQUIRE_OK(peat_snapshot_open(reader, &held));
    PT_REQUIRE_OK(peat_revert(fixture->db, "good", 0, NULL));
    PT_REQUIRE_OK(peat_refresh(reader));
    require_now(reader, "a=1");
    pt_test_put(fixture->db, "c", "5");
    PT_REQUIRE_OK(peat_refresh(reader));
    require_now(reader, "a=1 c=5");
    PT_REQUIRE_OK(peat_revert(fixture->db, NULL, list(fixture->db)->entries[1].generation, NULL));
    pt_test_put(fixture->db, "d", "7");
    PT_REQUIRE_OK(peat_refresh(reader));
    require_now(reader, "a=2 b=3 d=7");
    pt_fixture_rewrite(fixture, 2);
    require_shows(held, NULL, "a=2 b=3");
    peat_snapshot_close(held);
    PT_REQUIRE_OK(peat_close(reader));
}

/* ---- Beside writers ---- */

enum { WRITERS = 3, REVERTS = 25 };

/* A thread that puts the same number under two keys, again and again. */
struct writer {
    struct peat_db *db;
    unsigned number;
    _Atomic bool stop;
    uint64_t commit; /* of the last batch */
    uint64_t value;  /* that it put */
    pthread_t thread;
};

static struct peat_bytes pair_key(char text[NAME_SIZE], char which, unsigned number)
{
    struct peat_bytes key = {text, (size_t)snprintf(text, NAME_SIZE, "%c%u", which, number)};

    return key;
}

static void *writer_run(void *context)
{
    struct writer *writer = context;
    struct peat_batch *batch = peat_batch_new(0);
    char text[NAME_SIZE];

    PT_REQUIRE(batch != NULL);
    while (!atomic_load(&writer->stop)) {
        struct peat_bytes value = {&writer->value, sizeof(writer->value)};

        writer->value++;
        peat_batch_clear(batch);
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, pair_key(text, 'x', writer->number), value));
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, pair_key(text, 'y', writer->number), value));
        PT_REQUIRE_OK(peat_write(writer->db, batch, PEAT_OS, &writer->commit));
    }
    peat_batch_free(batch);
    return NULL;
}

/* The number under both keys; 0: none. */
static uint64_t pair_of(const struct peat_snapshot *snapshot, unsigned number)
{
    struct peat_bytes x = {NULL, 0};
    struct peat_bytes y = {NULL, 0};
    char text[NAME_SIZE];
    uint64_t value = 0;
    enum peat_status status = peat_get(snapshot, NULL, pair_key(text, 'x', number), &x);

    PT_REQUIRE_STATUS(peat_get(snapshot, NULL, pair_key(text, 'y', number), &y), status);
    if (status == PEAT_NOT_FOUND)
        return 0;
    PT_REQUIRE_OK(status);
    PT_REQUIRE(pt_same(x, y) && x.size == sizeof(value));
    memcpy(&value, x.data, sizeof(value));
    return value;
}

static void pairs_of(const struct peat_snapshot *snapshot, uint64_t values_out[WRITERS])
{
    for (unsigned i = 0; i < WRITERS; i++)
        values_out[i] = pair_of(snapshot, i);
}

static void commits_wait_for_a_revert_and_build_on_it(void **state)
{
    struct pt_fixture *fixture = *state;
    struct writer writers[WRITERS];
    struct peat_snapshot *snapshot;
    uint64_t kept[WRITERS];
    uint64_t now[WRITERS];
    uint64_t commit = 0;

    memset(writers, 0, sizeof(writers));
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].db = fixture->db;
        writers[i].number = i;
        PT_REQUIRE(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]) == 0);
    }
    for (unsigned turn = 0; turn < REVERTS; turn++) {
        if (turn > 0)
            PT_REQUIRE_OK(peat_history_drop(fixture->db, "base", 0));
        persist(fixture->db, "base");
        PT_REQUIRE_OK(peat_history_open(fixture->db, "base", 0, &snapshot));
        pairs_of(snapshot, kept);
        peat_snapshot_close(snapshot);
        PT_REQUIRE_OK(peat_revert(fixture->db, "base", 0, &commit));
        PT_REQUIRE_OK(peat_snapshot_open(fixture->db, &snapshot));
        pairs_of(snapshot, now);
        PT_REQUIRE(peat_snapshot_commit(snapshot) >= commit);
        for (unsigned i = 0; i < WRITERS; i++) /* what it was, or what came after */
            PT_REQUIRE(now[i] >= kept[i]);
        if (peat_snapshot_commit(snapshot) == commit)
            PT_REQUIRE(memcmp(now, kept, sizeof(now)) == 0);
        peat_snapshot_close(snapshot);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        atomic_store(&writers[i].stop, true);
        PT_REQUIRE(pthread_join(writers[i].thread, NULL) == 0);
    }
    PT_REQUIRE_OK(peat_snapshot_open(fixture->db, &snapshot));
    pairs_of(snapshot, now);
    peat_snapshot_close(snapshot);
    for (unsigned i = 0; i < WRITERS; i++)
        PT_REQUIRE(now[i] == (writers[i].commit > commit ? writers[i].value : kept[i]));
    pt_fixture_reopen(fixture, true);
    PT_REQUIRE_OK(peat_snapshot_open(fixture->db, &snapshot));
    pairs_of(snapshot, kept);
    peat_snapshot_close(snapshot);
    PT_REQUIRE(memcmp(now, kept, sizeof(now)) == 0);
}

static void a_store_in_memory_has_a_history_too(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;
    (void)state;

    PT_REQUIRE_OK(peat_open(NULL, &options, &db));
    pt_test_put(db, "a", "1");
    persist(db, "one");
    pt_test_put(db, "a", "2");
    PT_REQUIRE_OK(peat_revert(db, "one", 0, NULL));
    require_now(db, "a=1");
    require_list(db, "one:1 :2< :3");
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(a_named_state_shows_what_was_committed_before_it),
        PT_FIXTURE_TEST(an_empty_store_has_one_state),
        PT_FIXTURE_TEST(what_is_kept_for_a_time_expires_in_a_store_at_rest),
        PT_FIXTURE_TEST(names_are_checked),
        PT_FIXTURE_TEST(two_names_for_one_state_are_two_states),
        PT_FIXTURE_TEST(dropping_lets_a_state_go),
        PT_FIXTURE_TEST(the_newest_state_can_lose_its_name),
        PT_FIXTURE_TEST(a_merge_keeps_the_number_and_name_of_the_newest_state),
        PT_FIXTURE_TEST(a_list_can_be_stopped),
        PT_FIXTURE_TEST(without_options_the_newest_alone_is_kept),
        PT_FIXTURE_TEST(the_last_states_are_kept_by_number),
        PT_FIXTURE_TEST(states_of_the_last_seconds_are_kept),
        PT_FIXTURE_TEST(a_count_of_0_leaves_the_states_there_are),
        PT_FIXTURE_TEST(space_is_given_back_after_a_drop),
        PT_FIXTURE_TEST(what_a_newer_state_shares_costs_nothing),
        PT_FIXTURE_TEST(states_stay_what_they_are_while_the_merger_works_beside_them),
        PT_FIXTURE_TEST(a_reader_opens_a_state_and_keeps_it_while_the_writer_drops_it),
        PT_FIXTURE_TEST(a_revert_brings_the_state_back_and_can_be_undone),
        PT_FIXTURE_TEST(reverting_to_the_newest_state_undoes_what_is_only_in_the_log),
        PT_FIXTURE_TEST(only_the_last_state_before_a_revert_stays_by_itself),
        PT_FIXTURE_TEST(collections_live_and_die_with_the_revert),
        PT_FIXTURE_TEST(a_reader_follows_a_revert),
        PT_FIXTURE_TEST(commits_wait_for_a_revert_and_build_on_it),
        cmocka_unit_test(a_store_in_memory_has_a_history_too),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("history", tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

/*
 * The property: what is kept of the log for feeds, and what a manifest says of them, is right at every moment
 * between the steps of an install, and after what should not have happened. (test_feed.c has the calls.)
 */
#include "core/db/db.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

enum { SOON_MS = 60000 };

static const struct pt_history_change no_change = {.name = NULL};

static struct peat_db *db;

static const char *store_path(void)
{
    return pt_test_path("store");
}

static void store_open(void)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);

    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(store_path(), &options, &db));
}

static void store_begin(void)
{
    (void)unlink(store_path());
    store_open();
}

static void store_end(void)
{
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
}

/* Close it, or abandon it as a killed process does, and open it again. */
static void store_turn(bool abandon)
{
    PT_REQUIRE_OK(abandon ? peat_abort(db) : peat_close(db));
    store_open();
}

static void commit(size_t size)
{
    uint8_t *value = calloc(1, size);

    PT_REQUIRE(value != NULL);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), (struct peat_bytes){value, size}));
    free(value);
}

static struct peat_feed *feed_open(uint64_t from)
{
    struct peat_feed *feed = NULL;

    PT_REQUIRE_OK(peat_feed_open(db, from, "reader", 0, &feed));
    return feed;
}

static void require_commit(struct peat_feed *feed, uint64_t number)
{
    struct peat_record record;

    PT_REQUIRE_OK(peat_feed_next(feed, SOON_MS, &record));
    PT_REQUIRE(record.commit == number);
}

static struct peat_stats stats(void)
{
    struct peat_stats all = {.struct_size = sizeof(all)};

    PT_REQUIRE_OK(peat_stats_get(db, &all));
    return all;
}

static bool note_gone(void *context, const struct peat_feed_info *info)
{
    *(bool *)context = info->is_gone;
    return true;
}

static bool is_gone(void)
{
    bool gone = false;

    PT_REQUIRE_OK(peat_feed_list(db, note_gone, &gone));
    return gone;
}

/* An acknowledgement that comes while a manifest is made, behind its sync of the log. */
static void a_manifest_has_no_acknowledgement_from_after_its_sync(void **state)
{
    struct pt_manifest manifest = {.feeds = NULL};
    struct pt_feeds_plan plan;
    struct peat_feed *feed;
    (void)state;

    store_begin();
    feed = feed_open(PEAT_FEED_NEXT);
    commit(10);
    commit(10);
    require_commit(feed, 1);
    require_commit(feed, 2);
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, 1));
    pt_mutex_lock(&db->checkpointer.install_mutex);
    PT_REQUIRE(pt_feeds_settle(db));
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, 2));
    PT_REQUIRE_OK(pt_feeds_plan(db, &db->log_start, &no_change, &plan, &manifest));
    PT_REQUIRE(manifest.feed_count == 1 && manifest.feeds[0].acknowledged == 1);
    pt_manifest_fini(&manifest);
    pt_feeds_plan_fini(&plan);
    pt_mutex_unlock(&db->checkpointer.install_mutex);
    peat_feed_close(feed);
    store_end();
}

/* As after a power cut on a disk that did not do what a sync promised. */
static void a_name_that_acknowledged_what_is_lost_gets_a_gap_for_good(void **state)
{
    struct peat_feed *feed;
    (void)state;

    store_begin();
    peat_feed_close(feed_open(PEAT_FEED_NEXT));
    commit(10);
    pt_mutex_lock(&db->feeds.mutex);
    db->feeds.slots[0]->acknowledged = 3;
    pt_mutex_unlock(&db->feeds.mutex);
    PT_REQUIRE_OK(peat_flush(db));
    store_turn(true);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 5; k++)
            commit(10);
        PT_REQUIRE_STATUS(peat_feed_open(db, PEAT_FEED_ACKNOWLEDGED, "reader", 0, &feed), PEAT_GAP);
        PT_REQUIRE(is_gone());
        store_turn(i == 1);
    }
    feed = feed_open(PEAT_FEED_NEXT); /* it begins anew */
    commit(10);
    require_commit(feed, stats().commit);
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, stats().commit));
    peat_feed_close(feed);
    store_turn(false);
    peat_feed_close(feed_open(PEAT_FEED_ACKNOWLEDGED));
    store_end();
}

/* A commit that finds no space while a manifest is made that was planned before. */
static void log_that_is_to_be_given_up_is_by_the_next_manifest_that_can(void **state)
{
    struct pt_manifest manifest = {.feeds = NULL};
    struct pt_feeds_plan plan;
    (void)state;

    store_begin();
    peat_feed_close(feed_open(PEAT_FEED_NEXT));
    for (unsigned i = 0; i < 4; i++) {
        commit(MIB);
        PT_REQUIRE_OK(peat_flush(db));
    }
    PT_REQUIRE_OK(peat_wait_idle(db, SOON_MS));
    pt_mutex_lock(&db->checkpointer.install_mutex);
    PT_REQUIRE_OK(pt_feeds_plan(db, &db->log_start, &no_change, &plan, &manifest));
    PT_REQUIRE(pt_feeds_give_up(db));
    pt_feeds_take(db, &plan, stats().generation);
    pt_manifest_fini(&manifest);
    pt_mutex_unlock(&db->checkpointer.install_mutex);
    PT_REQUIRE(stats().feed_log_size > 0);
    PT_REQUIRE_OK(pt_checkpoint(db));
    PT_REQUIRE(stats().feed_log_size == 0);
    store_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_has_no_acknowledgement_from_after_its_sync),
        cmocka_unit_test(a_name_that_acknowledged_what_is_lost_gets_a_gap_for_good),
        cmocka_unit_test(log_that_is_to_be_given_up_is_by_the_next_manifest_that_can),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * The property: a commit at PEAT_REPLICAS has returned PEAT_OK only when as many followers as were asked for have acknowledged it;
 * whatever they do, it is committed here, and nobody else waits. Followers are feeds that the test acknowledges by hand.
 */
#include "core/db/db.h"
#include "tests/support.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SOON_MS = 120000, LOOK_US = 200, THREADS = 16, COMMITS = 200 };

static struct peat_db *store_open(unsigned count, unsigned timeout_ms)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    (void)unlink(pt_test_path("store"));
    pt_test_options_tiny(&options);
    options.durability = PEAT_REPLICAS;
    options.replica_count = count;
    options.replica_timeout_ms = timeout_ms;
    PT_REQUIRE_OK(peat_open(pt_test_path("store"), &options, &db));
    return db;
}

static enum peat_status commit_one(struct peat_db *db, uint64_t *commit_out)
{
    struct peat_batch *batch = peat_batch_new(0);
    enum peat_status status;

    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("key"), pt_text("value")));
    status = peat_write(db, batch, PEAT_REPLICAS, commit_out);
    peat_batch_free(batch);
    return status;
}

static struct peat_feed *feed_open(struct peat_db *db, uint64_t from, const char *name,
                                   unsigned flags)
{
    struct peat_feed *feed;

    PT_REQUIRE_OK(peat_feed_open(db, from, name, flags, &feed));
    return feed;
}

/* Have it handed out, and acknowledged. */
static void feed_take(struct peat_feed *feed, uint64_t commit)
{
    struct peat_record record = {.commit = 0};

    while (record.kind != PEAT_RECORD_BATCH || record.commit < commit)
        PT_REQUIRE_OK(peat_feed_next(feed, SOON_MS, &record));
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, commit));
}

/* ---- A thread that commits ---- */

struct committer {
    pthread_t thread;
    struct peat_db *db;
    uint64_t commit;
    enum peat_status status;
    atomic_bool returned;
};

static void *committer_run(void *context)
{
    struct committer *committer = context;

    committer->status = commit_one(committer->db, &committer->commit);
    atomic_store(&committer->returned, true);
    return NULL;
}

static void waiting_await(struct peat_db *db, unsigned wanted)
{
    unsigned count = 0;

    while (count != wanted) {
        pt_mutex_lock(&db->feeds.mutex);
        count = db->feeds.replicas.count;
        pt_mutex_unlock(&db->feeds.mutex);
        (void)usleep(LOOK_US);
    }
}

/* Returns when it waits for followers, as the only one. */
static void committer_start(struct committer *committer, struct peat_db *db)
{
    *committer = (struct committer){.db = db};
    PT_REQUIRE(pthread_create(&committer->thread, NULL, committer_run, committer) == 0);
    waiting_await(db, 1);
}

static void committer_join(struct committer *committer, enum peat_status status)
{
    PT_REQUIRE(pthread_join(committer->thread, NULL) == 0);
    PT_REQUIRE_STATUS(committer->status, status);
}

/* ---- Tests ---- */

static void a_commit_returns_when_as_many_followers_have_it_as_asked_for(void **state)
{
    struct peat_db *db = store_open(2, PEAT_FEED_FOREVER);
    struct peat_feed *one = feed_open(db, PEAT_FEED_NEXT, "one", PEAT_FEED_SEALS);
    struct peat_feed *two = feed_open(db, PEAT_FEED_NEXT, "two", PEAT_FEED_SEALS);
    struct committer committer;
    unsigned reached = 9;
    (void)state;

    committer_start(&committer, db);
    PT_REQUIRE_STATUS(peat_wait_replicas(db, 1, 1, 0, &reached), PEAT_TIMEOUT);
    assert_int_equal(reached, 0);
    feed_take(one, 1);
    PT_REQUIRE_OK(peat_wait_replicas(db, 1, 1, PEAT_FEED_FOREVER, &reached));
    assert_int_equal(reached, 1);
    PT_REQUIRE_OK(peat_feed_acknowledge(one, 1)); /* the same follower again is no other one */
    waiting_await(db, 1);
    assert_false(atomic_load(&committer.returned));
    feed_take(two, 1);
    committer_join(&committer, PEAT_OK);
    assert_int_equal(committer.commit, 1);
    PT_REQUIRE_OK(peat_wait_replicas(db, 1, 2, 0, &reached));
    assert_int_equal(reached, 2);
    peat_feed_close(one);
    peat_feed_close(two);
    PT_REQUIRE_OK(peat_close(db));
}

static void without_enough_followers_a_commit_is_committed_and_says_timeout(void **state)
{
    struct peat_db *db = store_open(1, 1);
    struct peat_feed *unnamed = feed_open(db, PEAT_FEED_NEXT, NULL, PEAT_FEED_SEALS);
    struct peat_feed *programs = feed_open(db, PEAT_FEED_NEXT, "programs", 0);
    struct peat_snapshot *snapshot;
    struct peat_bytes value;
    uint64_t commit = 0;
    (void)state;

    PT_REQUIRE_STATUS(commit_one(db, &commit), PEAT_TIMEOUT);
    assert_int_equal(commit, 1);
    feed_take(programs, 1); /* a program's feed is no follower */
    PT_REQUIRE_STATUS(peat_wait_replicas(db, commit, 1, 0, NULL), PEAT_TIMEOUT);
    PT_REQUIRE_STATUS(peat_put(db, NULL, pt_text("more"), pt_text("value")), PEAT_TIMEOUT);
    PT_REQUIRE_STATUS(peat_delete(db, NULL, pt_text("none")), PEAT_TIMEOUT);
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text("key"), &value));
    PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text("more"), &value));
    peat_snapshot_close(snapshot);
    peat_feed_close(unnamed);
    peat_feed_close(programs);
    PT_REQUIRE_OK(peat_close(db));
}

static void nobody_else_waits(void **state)
{
    struct peat_db *db = store_open(1, PEAT_FEED_FOREVER);
    struct peat_feed *feed = feed_open(db, PEAT_FEED_NEXT, "one", PEAT_FEED_SEALS);
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_collection *collection;
    struct committer committer;
    uint64_t commit = 0;
    (void)state;

    committer_start(&committer, db);
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("other"), pt_text("value")));
    for (unsigned i = 0; i < 50; i++)
        PT_REQUIRE_OK(peat_write(db, batch, i % 2 == 0 ? PEAT_DISK : PEAT_OS, &commit));
    PT_REQUIRE_OK(peat_collection_open(db, NULL, "made", PEAT_CREATE, &collection));
    PT_REQUIRE_OK(peat_collection_drop(db, collection));
    peat_collection_close(collection);
    peat_batch_clear(batch);
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_REPLICAS, &commit)); /* nothing is committed */
    assert_int_equal(commit, 53);
    assert_false(atomic_load(&committer.returned));
    feed_take(feed, commit); /* what follows is acknowledged with it */
    committer_join(&committer, PEAT_OK);
    peat_batch_free(batch);
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_close(db));
}

static void *waiter_run(void *context)
{
    PT_REQUIRE_OK(peat_wait_replicas(context, 0, 1, SOON_MS, NULL));
    return NULL;
}

/* Returns when it waits for any follower. */
static void waiter_start(pthread_t *waiter, struct peat_db *db)
{
    PT_REQUIRE(pthread_create(waiter, NULL, waiter_run, db) == 0);
    waiting_await(db, 1);
}

static void a_follower_that_comes_back_says_what_it_has(void **state)
{
    struct peat_db *db = store_open(1, PEAT_FEED_FOREVER);
    struct committer committer;
    pthread_t waiter;
    (void)state;

    waiter_start(&waiter, db);
    peat_feed_close(feed_open(db, PEAT_FEED_NEXT, "one", PEAT_FEED_SEALS));
    PT_REQUIRE(pthread_join(waiter, NULL) == 0); /* a follower that has nothing is one */
    committer_start(&committer, db);
    peat_feed_close(feed_open(db, PEAT_FEED_ACKNOWLEDGED, "one", PEAT_FEED_SEALS));
    waiting_await(db, 1);
    peat_feed_close(feed_open(db, 2, "one", PEAT_FEED_SEALS));
    committer_join(&committer, PEAT_OK);
    /* Made anew of an old backup, it has it no more; nor has one that is dropped. */
    peat_feed_close(feed_open(db, 1, "one", PEAT_FEED_SEALS));
    PT_REQUIRE_STATUS(peat_wait_replicas(db, 1, 1, 0, NULL), PEAT_TIMEOUT);
    peat_feed_close(feed_open(db, 2, "one", PEAT_FEED_SEALS));
    PT_REQUIRE_OK(peat_wait_replicas(db, 1, 1, 0, NULL));
    PT_REQUIRE_OK(peat_feed_drop(db, "one"));
    PT_REQUIRE_STATUS(peat_wait_replicas(db, 1, 1, 0, NULL), PEAT_TIMEOUT);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_follower_that_a_state_is_sent_to_has_nothing_until_it_says_so(void **state)
{
    struct peat_db *db = store_open(1, PEAT_FEED_FOREVER);
    struct peat_feed *feed;
    struct committer committer;
    (void)state;

    for (uint64_t i = 1; i <= 3; i++) {
        committer_start(&committer, db);
        feed = feed_open(db, i + 1, "one", PEAT_FEED_SEALS | PEAT_FEED_AHEAD);
        PT_REQUIRE_STATUS(peat_wait_replicas(db, 0, 1, 0, NULL), PEAT_TIMEOUT);
        if (i == 1)
            PT_REQUIRE_OK(peat_feed_acknowledge(feed, 1));
        peat_feed_close(feed);
        if (i > 1)
            waiting_await(db, 1);
        if (i == 2)
            peat_feed_close(feed_open(db, 3, "one", PEAT_FEED_SEALS));
        if (i == 3)
            peat_feed_close(feed_open(db, PEAT_FEED_ACKNOWLEDGED, "one", PEAT_FEED_SEALS));
        committer_join(&committer, PEAT_OK);
    }
    PT_REQUIRE_STATUS(peat_feed_open(db, 1, "one", PEAT_FEED_AHEAD, &feed), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_feed_open(db, 1, NULL, PEAT_FEED_SEALS | PEAT_FEED_AHEAD, &feed),
                      PEAT_INVALID);
    PT_REQUIRE_OK(peat_close(db));
}

static void waits_end_when_they_are_cancelled_and_before_a_close(void **state)
{
    struct peat_db *db = store_open(1, PEAT_FEED_FOREVER);
    struct committer committer;
    uint64_t commit;
    (void)state;

    committer_start(&committer, db);
    peat_replicas_cancel(db);
    committer_join(&committer, PEAT_TIMEOUT);
    PT_REQUIRE_STATUS(commit_one(db, &commit), PEAT_TIMEOUT); /* though its limit is no limit */
    PT_REQUIRE_OK(peat_close(db));

    db = store_open(1, PEAT_FEED_FOREVER);
    committer_start(&committer, db);
    PT_REQUIRE_OK(peat_close(db));
    committer_join(&committer, PEAT_TIMEOUT);
}

static void what_cannot_be_is_refused(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;
    (void)state;

    options.replica_count = 0;
    PT_REQUIRE_STATUS(peat_open(NULL, &options, &db), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_wait_replicas(NULL, 1, 1, 0, NULL), PEAT_INVALID);
    peat_replicas_cancel(NULL);
    PT_REQUIRE_OK(peat_close(store_open(1, 0)));
    options = pt_test_options(PEAT_READ_ONLY);
    options.durability = PEAT_REPLICAS;
    PT_REQUIRE_OK(peat_open(pt_test_path("store"), &options, &db));
    PT_REQUIRE_STATUS(peat_wait_replicas(db, 0, 0, 0, NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Many threads ---- */

struct crowd {
    struct peat_db *db;
    _Atomic uint64_t acknowledged[2]; /* by each follower: noted just before it says so */
    atomic_bool stop;
};

struct acknowledger {
    pthread_t thread;
    struct crowd *crowd;
    struct peat_feed *feed;
    unsigned number;
};

static void *acknowledger_run(void *context)
{
    struct acknowledger *self = context;
    struct pt_dice dice = {self->number};

    while (!atomic_load(&self->crowd->stop)) {
        struct peat_record record;
        uint64_t newest = 0;

        for (uint64_t i = pt_dice_below(&dice, 8) + 1; i > 0; i--)
            if (peat_feed_next(self->feed, 1, &record) == PEAT_OK)
                newest = record.commit;
        if (newest == 0)
            continue;
        atomic_store(&self->crowd->acknowledged[self->number], newest);
        PT_REQUIRE_OK(peat_feed_acknowledge(self->feed, newest));
    }
    return NULL;
}

static void *member_run(void *context)
{
    struct crowd *crowd = context;
    struct pt_dice dice = {(uint64_t)(uintptr_t)&dice};

    for (unsigned i = 0; i < COMMITS; i++) {
        uint64_t commit = 0;

        PT_REQUIRE_OK(commit_one(crowd->db, &commit));
        for (unsigned k = 0; k < 2; k++)
            PT_REQUIRE(atomic_load(&crowd->acknowledged[k]) >= commit);
        if (pt_dice_one_in(&dice, 8))
            PT_REQUIRE_OK(
                peat_wait_replicas(crowd->db, commit + pt_dice_below(&dice, 3), 0, 0, NULL));
    }
    return NULL;
}

static void no_thread_of_many_returns_before_all_followers_have_its_commit(void **state)
{
    struct crowd crowd = {.db = store_open(2, PEAT_FEED_FOREVER)};
    struct acknowledger followers[2] = {{.crowd = &crowd, .number = 0},
                                        {.crowd = &crowd, .number = 1}};
    pthread_t threads[THREADS];
    (void)state;

    for (unsigned i = 0; i < 2; i++) {
        followers[i].feed =
            feed_open(crowd.db, PEAT_FEED_NEXT, i == 0 ? "one" : "two", PEAT_FEED_SEALS);
        PT_REQUIRE(pthread_create(&followers[i].thread, NULL, acknowledger_run, &followers[i]) ==
                   0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        PT_REQUIRE(pthread_create(&threads[i], NULL, member_run, &crowd) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        PT_REQUIRE(pthread_join(threads[i], NULL) == 0);
    atomic_store(&crowd.stop, true);
    for (unsigned i = 0; i < 2; i++) {
        PT_REQUIRE(pthread_join(followers[i].thread, NULL) == 0);
        peat_feed_close(followers[i].feed);
    }
    PT_REQUIRE_OK(peat_close(crowd.db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_returns_when_as_many_followers_have_it_as_asked_for),
        cmocka_unit_test(without_enough_followers_a_commit_is_committed_and_says_timeout),
        cmocka_unit_test(nobody_else_waits),
        cmocka_unit_test(a_follower_that_comes_back_says_what_it_has),
        cmocka_unit_test(a_follower_that_a_state_is_sent_to_has_nothing_until_it_says_so),
        cmocka_unit_test(waits_end_when_they_are_cancelled_and_before_a_close),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(no_thread_of_many_returns_before_all_followers_have_its_commit),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

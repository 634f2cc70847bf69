/*
 * The property: a follower that is promoted takes commits of its own from the newest that it shows
 * on, in a newer epoch, and does not go back to being a follower by itself; what is no follower is
 * not promoted, and a follower is not written to by mistake. Whatever fails meanwhile, and whoever
 * dies, the file is a follower as before, or a primary. What is fenced takes no commits until it
 * follows.
 */
#include "tests/failing_calls.h"
#include "tests/support.h"

#include <errno.h>
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

enum { POSITIONS_MAX = 2000 };

static struct peat_db *store_open(const char *name, unsigned flags)
{
    struct peat_options options = pt_test_options(flags);
    struct peat_db *db;

    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(pt_test_path(name), &options, &db));
    return db;
}

static enum peat_status store_try(const char *name, unsigned flags)
{
    struct peat_options options = pt_test_options(flags);
    struct peat_db *db;
    enum peat_status status = peat_open(pt_test_path(name), &options, &db);

    PT_REQUIRE_OK(peat_close(db));
    return status;
}

static void require_value(struct peat_db *db, const char *key, const char *value)
{
    char buffer[32];
    size_t size;

    PT_REQUIRE_OK(peat_get_copy(db, NULL, pt_text(key), buffer, sizeof(buffer), &size));
    PT_REQUIRE(pt_same(pt_text(value), (struct peat_bytes){buffer, size}));
}

/* Apply what @p from has and @p to has not, one record at a time. */
static void follow(struct peat_db *to, struct peat_db *from)
{
    struct peat_record record;
    struct peat_feed *feed;
    enum peat_status status;

    PT_REQUIRE_OK(
        peat_feed_open(from, pt_test_position(to).commit + 1, "follower", PEAT_FEED_SEALS, &feed));
    while ((status = peat_feed_next(feed, 0, &record)) == PEAT_OK)
        PT_REQUIRE_OK(peat_apply(to, &record, 1, PEAT_OS, NULL));
    PT_REQUIRE_STATUS(status, PEAT_TIMEOUT);
    peat_feed_close(feed);
}

static void require_role(struct peat_db *db, enum peat_role expected)
{
    enum peat_role role;

    PT_REQUIRE_OK(peat_role_get(db, &role));
    PT_REQUIRE(role == expected);
}

/* The epochs of @p db, of which there are @p count, the newest being @p newest. */
static void require_epochs(struct peat_db *db, size_t count, uint64_t newest)
{
    struct peat_epoch epochs[PEAT_EPOCHS_MAX];
    size_t found;

    PT_REQUIRE_OK(peat_epochs_get(db, epochs, PEAT_EPOCHS_MAX, &found));
    PT_REQUIRE(found == count && epochs[count - 1].epoch == newest);
    PT_REQUIRE(pt_test_position(db).epoch == newest);
}

static void require_same_epochs(struct peat_db *a, struct peat_db *b)
{
    struct peat_epoch epochs[2][PEAT_EPOCHS_MAX];
    size_t counts[2];

    PT_REQUIRE_OK(peat_epochs_get(a, epochs[0], PEAT_EPOCHS_MAX, &counts[0]));
    PT_REQUIRE_OK(peat_epochs_get(b, epochs[1], PEAT_EPOCHS_MAX, &counts[1]));
    assert_int_equal(counts[0], counts[1]);
    assert_memory_equal(epochs[0], epochs[1], counts[0] * sizeof(epochs[0][0]));
}

/* A primary with three commits, and a follower that has them. */
static void pair_make(struct peat_db **primary_out, struct peat_db **follower_out)
{
    *primary_out = pt_test_store_make("primary", 0);
    *follower_out = pt_test_store_make("follower", PEAT_FOLLOWER);
    pt_test_put(*primary_out, "a", "1");
    pt_test_put(*primary_out, "b", "2");
    PT_REQUIRE_OK(peat_flush(*primary_out));
    pt_test_put(*primary_out, "c", "3");
    follow(*follower_out, *primary_out);
}

static void a_promoted_follower_goes_on_in_a_newer_epoch(void **state)
{
    struct peat_db *primary;
    struct peat_db *follower;
    struct peat_position before;
    struct peat_epoch epochs[2];
    size_t count;
    uint64_t epoch;
    (void)state;

    pair_make(&primary, &follower);
    require_role(primary, PEAT_ROLE_PRIMARY);
    require_role(follower, PEAT_ROLE_FOLLOWER);
    require_epochs(follower, 1, 1);
    before = pt_test_position(follower);
    PT_REQUIRE_OK(peat_promote(follower, 0, &epoch));
    assert_int_equal(epoch, 2);
    require_role(follower, PEAT_ROLE_PRIMARY);
    require_epochs(follower, 2, 2);
    PT_REQUIRE_OK(peat_epochs_get(follower, epochs, 2, &count));
    assert_int_equal(epochs[1].first_commit, 4);
    assert_int_equal(epochs[1].position, before.position);
    assert_memory_equal(epochs[1].chain, before.chain, sizeof(before.chain));
    assert_int_equal(peat_flags(follower) & PEAT_FOLLOWER, 0);
    PT_REQUIRE_STATUS(peat_apply(follower, NULL, 0, PEAT_OS, NULL), PEAT_INVALID);
    pt_test_put(follower, "d", "4");
    require_value(follower, "c", "3");
    for (unsigned i = 0; i < 3; i++) { /* closed, and dead, it stays what it is */
        PT_REQUIRE_OK(i == 0 ? peat_abort(follower) : peat_close(follower));
        follower = store_open("follower", 0);
        require_epochs(follower, 2, 2);
        require_role(follower, PEAT_ROLE_PRIMARY);
        require_value(follower, "d", "4");
        pt_test_put(follower, "e", "5");
    }
    assert_int_equal(pt_test_position(follower).commit, 7);
    PT_REQUIRE_OK(peat_check(follower, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(follower));
    PT_REQUIRE_OK(peat_close(primary));
}

static void a_promotion_lasts_without_a_commit(void **state)
{
    struct peat_db *primary;
    struct peat_db *follower;
    struct peat_db *reader;
    (void)state;

    pair_make(&primary, &follower);
    reader = store_open("follower", PEAT_READ_ONLY);
    require_role(reader, PEAT_ROLE_FOLLOWER);
    PT_REQUIRE_OK(peat_promote(follower, 0, NULL));
    PT_REQUIRE_OK(peat_refresh(reader));
    require_role(reader, PEAT_ROLE_PRIMARY);
    require_epochs(reader, 2, 2);
    PT_REQUIRE_OK(peat_abort(follower));
    follower = store_open("follower", 0);
    require_epochs(follower, 2, 2);
    pt_test_put(follower, "d", "4");
    PT_REQUIRE_OK(peat_refresh(reader));
    require_epochs(reader, 2, 2);
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE_OK(peat_close(follower));
    PT_REQUIRE_OK(peat_close(primary));
}

static void what_is_no_follower_is_not_promoted(void **state)
{
    struct peat_db *primary;
    struct peat_db *follower;
    struct peat_db *reader;
    (void)state;

    pair_make(&primary, &follower);
    PT_REQUIRE_STATUS(peat_promote(primary, 0, NULL), PEAT_INVALID);
    reader = store_open("follower", PEAT_READ_ONLY);
    PT_REQUIRE_STATUS(peat_promote(reader, 0, NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_promote(NULL, 0, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_promote(follower, 1, NULL), PEAT_INVALID);
    require_role(follower, PEAT_ROLE_FOLLOWER);
    PT_REQUIRE_OK(peat_promote(follower, 0, NULL));
    PT_REQUIRE_STATUS(peat_promote(follower, 0, NULL), PEAT_INVALID);
    require_epochs(follower, 2, 2);
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE_OK(peat_close(follower));
    PT_REQUIRE_OK(peat_close(primary));
}

static void a_followers_file_is_not_opened_to_be_written_to(void **state)
{
    struct peat_db *primary;
    struct peat_db *follower;
    struct peat_position before;
    struct peat_position after;
    (void)state;

    pair_make(&primary, &follower);
    before = pt_test_position(follower);
    for (unsigned i = 0; i < 2; i++) {
        PT_REQUIRE_OK(i == 0 ? peat_abort(follower) : peat_close(follower));
        PT_REQUIRE_STATUS(store_try("follower", 0), PEAT_NOT_WRITABLE);
        PT_REQUIRE(strstr(peat_last_error(), "peat promote") != NULL);
        PT_REQUIRE_STATUS(store_try("follower", PEAT_CREATE), PEAT_NOT_WRITABLE);
        PT_REQUIRE_OK(store_try("follower", PEAT_READ_ONLY));
        follower = store_open("follower", PEAT_FOLLOWER);
        after = pt_test_position(follower);
        assert_memory_equal(&before, &after, sizeof(before));
    }
    PT_REQUIRE_OK(peat_close(follower));
    PT_REQUIRE_OK(peat_close(primary));
    primary = store_open("primary", PEAT_FOLLOWER); /* an old primary that is to follow */
    require_role(primary, PEAT_ROLE_FOLLOWER);
    PT_REQUIRE_OK(peat_abort(primary));
    PT_REQUIRE_STATUS(store_try("primary", 0), PEAT_NOT_WRITABLE);
}

/* The old primary, and another follower, have a part of what the new one had, and follow it. */
static void others_follow_over_the_change_of_epoch(void **state)
{
    struct peat_db *primary;
    struct peat_db *follower;
    struct peat_db *other = pt_test_store_make("other", PEAT_FOLLOWER);
    uint64_t epoch;
    (void)state;

    pair_make(&primary, &follower);
    PT_REQUIRE_OK(peat_close(primary));
    PT_REQUIRE_OK(peat_promote(follower, 0, NULL));
    pt_test_put(follower, "d", "4");
    primary = store_open("primary", PEAT_FOLLOWER);
    follow(primary, follower);
    require_value(primary, "d", "4");
    require_same_epochs(primary, follower);
    PT_REQUIRE_OK(peat_abort(primary)); /* what it noted is in its log */
    primary = store_open("primary", PEAT_FOLLOWER);
    require_same_epochs(primary, follower);
    PT_REQUIRE_OK(peat_close(follower)); /* and back again */
    PT_REQUIRE_OK(peat_promote(primary, 0, &epoch));
    assert_int_equal(epoch, 3);
    PT_REQUIRE_OK(peat_flush(primary));
    pt_test_put(primary, "e", "5");
    follow(other, primary);
    require_same_epochs(primary, other);
    require_epochs(other, 3, 3);
    require_value(other, "e", "5");
    PT_REQUIRE_OK(peat_flush(other));
    PT_REQUIRE_OK(peat_close(other));
    other = store_open("other", PEAT_READ_ONLY);
    require_same_epochs(primary, other);
    PT_REQUIRE_OK(peat_check(other, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(other));
    PT_REQUIRE_OK(peat_close(primary));
}

/* Where the one that is promoted has not all that its primary had, what that had beyond is another
 * history. */
static void what_was_committed_beyond_the_fork_does_not_go_on(void **state)
{
    struct peat_db *primary;
    struct peat_db *follower;
    struct peat_record record;
    struct peat_feed *feed;
    (void)state;

    pair_make(&primary, &follower);
    pt_test_put(primary, "lost", "x");
    PT_REQUIRE_OK(peat_close(primary));
    PT_REQUIRE_OK(peat_promote(follower, 0, NULL));
    pt_test_put(follower, "d", "4");
    pt_test_put(follower, "e", "5");
    primary = store_open("primary", PEAT_FOLLOWER);
    PT_REQUIRE_OK(peat_feed_open(follower, 4, NULL, PEAT_FEED_SEALS, &feed));
    PT_REQUIRE_OK(peat_feed_next(feed, 0, &record));
    assert_int_equal(record.epoch, 2);
    PT_REQUIRE_STATUS(peat_apply(primary, &record, 1, PEAT_OS, NULL), PEAT_CORRUPT);
    require_epochs(primary, 1, 1);
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_close(follower));
    PT_REQUIRE_OK(peat_close(primary));
}

static void a_promotion_without_a_commit_leaves_no_trace_in_the_next(void **state)
{
    struct peat_db *primary;
    struct peat_db *follower;
    (void)state;

    pair_make(&primary, &follower);
    for (uint64_t i = 0; i < 4; i++) {
        PT_REQUIRE_OK(peat_promote(follower, 0, NULL));
        require_epochs(follower, 2, 2 + i);
        PT_REQUIRE_OK(i % 2 == 0 ? peat_close(follower) : peat_abort(follower));
        follower = store_open("follower", PEAT_FOLLOWER);
        require_epochs(follower, 2, 2 + i);
    }
    PT_REQUIRE_OK(peat_close(follower));
    PT_REQUIRE_OK(peat_close(primary));
}

static void a_backup_has_the_epochs_and_no_role(void **state)
{
    struct peat_db *primary;
    struct peat_db *follower;
    struct peat_db *restored;
    char backup[512];
    const char *const chain[] = {backup};
    (void)state;

    pair_make(&primary, &follower);
    PT_REQUIRE_OK(peat_promote(follower, 0, NULL));
    pt_test_put(follower, "d", "4");
    (void)snprintf(backup, sizeof(backup), "%s", pt_test_path("backup"));
    PT_REQUIRE_OK(pt_test_backup(follower, backup, NULL));
    PT_REQUIRE_OK(peat_restore(pt_test_path("restored"), chain, 1, NULL, NULL, NULL));
    pt_test_put(follower, "e", "5");
    restored = store_open("restored", PEAT_FOLLOWER);
    require_same_epochs(restored, follower);
    follow(restored, follower);
    require_same_epochs(restored, follower);
    require_value(restored, "e", "5");
    (void)unlink(backup);
    PT_REQUIRE_OK(pt_test_backup(restored, backup, NULL));
    PT_REQUIRE_OK(peat_close(restored));
    PT_REQUIRE_OK(unlink(pt_test_path("restored")) == 0 ? PEAT_OK : PEAT_IO);
    PT_REQUIRE_OK(peat_restore(pt_test_path("restored"), chain, 1, NULL, NULL, NULL));
    restored = store_open("restored", 0);
    require_role(restored, PEAT_ROLE_PRIMARY);
    require_epochs(restored, 2, 2);
    PT_REQUIRE_OK(peat_close(restored));
    PT_REQUIRE_OK(peat_close(follower));
    PT_REQUIRE_OK(peat_close(primary));
}

/* ---- Fencing ---- */

static void a_fenced_store_takes_no_commits_until_it_follows(void **state)
{
    struct peat_db *db = pt_test_store_make("fenced", 0);
    struct peat_collection *collection;
    struct peat_position before;
    struct peat_position after;
    uint64_t epoch;
    (void)state;

    pt_test_put(db, "a", "1");
    PT_REQUIRE_OK(peat_snapshot_persist(db, "state", NULL));
    pt_test_put(db, "b", "2");
    before = pt_test_position(db);
    PT_REQUIRE_STATUS(peat_fence(db, 1), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_fence(db, 8192), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_fence(NULL, 2), PEAT_INVALID);
    require_role(db, PEAT_ROLE_PRIMARY);
    PT_REQUIRE_OK(peat_fence(db, 4));
    for (unsigned i = 0; i < 3; i++) {
        require_role(db, PEAT_ROLE_FENCED);
        PT_REQUIRE_OK(peat_fence(db, 3)); /* it is */
        PT_REQUIRE_STATUS(peat_put(db, NULL, pt_text("c"), pt_text("3")), PEAT_FENCED);
        PT_REQUIRE(strstr(peat_last_error(), "epoch 4") != NULL);
        PT_REQUIRE_STATUS(peat_collection_open(db, NULL, "name", PEAT_CREATE, &collection),
                          PEAT_FENCED);
        PT_REQUIRE_STATUS(peat_revert(db, "state", 0, NULL), PEAT_FENCED);
        PT_REQUIRE_STATUS(peat_promote(db, 0, NULL), PEAT_INVALID);
        PT_REQUIRE_STATUS(peat_apply(db, NULL, 0, PEAT_OS, NULL), PEAT_INVALID);
        require_value(db, "b", "2");
        PT_REQUIRE_OK(peat_flush(db)); /* not even a seal is added */
        after = pt_test_position(db);
        assert_memory_equal(&before, &after, sizeof(before));
        PT_REQUIRE_OK(i == 0 ? peat_abort(db) : peat_close(db));
        db = store_open("fenced", 0);
    }
    PT_REQUIRE_OK(peat_close(db));
    db = store_open("fenced", PEAT_READ_ONLY);
    require_role(db, PEAT_ROLE_FENCED);
    PT_REQUIRE_STATUS(peat_fence(db, 5), PEAT_NOT_WRITABLE);
    PT_REQUIRE_OK(peat_close(db));
    db = store_open("fenced", PEAT_FOLLOWER);
    require_role(db, PEAT_ROLE_FOLLOWER);
    PT_REQUIRE_STATUS(peat_fence(db, 5), PEAT_INVALID);
    PT_REQUIRE_OK(peat_promote(db, 0, &epoch)); /* above what it has met */
    assert_int_equal(epoch, 5);
    pt_test_put(db, "c", "3");
    PT_REQUIRE_OK(peat_close(db));
}

enum { WRITERS = 3 };

struct writer {
    struct peat_db *db;
    uint64_t commit; /* the last one that was acknowledged */
    _Atomic bool begun;
};

static void *write_until_fenced(void *context)
{
    struct writer *writer = context;
    struct peat_batch *batch = peat_batch_new(0);
    enum peat_status status;

    PT_REQUIRE(batch != NULL);
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("key"), pt_text("value")));
    do {
        status = peat_write(writer->db, batch, PEAT_OS, &writer->commit);
        atomic_store(&writer->begun, true);
    } while (status == PEAT_OK);
    PT_REQUIRE_STATUS(status, PEAT_FENCED);
    peat_batch_free(batch);
    return NULL;
}

/* Commits that are under way are made, or fail as those that come later do; flushes go on. */
static void no_commit_comes_after_the_fence(void **state)
{
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    struct peat_position position;
    struct peat_db *db = pt_test_store_make("fenced", 0);
    uint64_t newest = 0;
    (void)state;

    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.db = db};
        PT_REQUIRE(pthread_create(&threads[i], NULL, write_until_fenced, &writers[i]) == 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        while (!atomic_load(&writers[i].begun))
            PT_REQUIRE_OK(peat_flush(db));
    PT_REQUIRE_OK(peat_fence(db, 2));
    position = pt_test_position(db);
    PT_REQUIRE_OK(peat_flush(db));
    for (unsigned i = 0; i < WRITERS; i++) {
        PT_REQUIRE(pthread_join(threads[i], NULL) == 0);
        newest = writers[i].commit > newest ? writers[i].commit : newest;
    }
    assert_int_equal(newest, position.commit);
    assert_int_equal(pt_test_position(db).commit, position.commit);
    PT_REQUIRE_OK(peat_flush(db));
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Failures ---- */

/* What is left is a follower, or a primary in the next epoch: *promoted_out. Either shows all that
 * there was. */
static void require_either(bool *promoted_out)
{
    enum peat_status status = store_try("follower", PEAT_READ_ONLY);
    struct peat_db *db;

    PT_REQUIRE_OK(status);
    status = store_try("follower", 0);
    *promoted_out = status == PEAT_OK;
    if (status != PEAT_OK)
        PT_REQUIRE_STATUS(status, PEAT_NOT_WRITABLE);
    db = store_open("follower", *promoted_out ? 0 : PEAT_FOLLOWER);
    require_epochs(db, *promoted_out ? 2 : 1, *promoted_out ? 2 : 1);
    require_value(db, "a", "1");
    require_value(db, "c", "3");
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
}

/* A promotion in which the calls from number @p at on fail, @p count of them. Whether any did. */
static bool promotion_fails_at(enum pt_failing_kind kind, uint64_t at, uint64_t count)
{
    struct pt_failing failing = {
        .kind = kind, .at = at, .count = count, .error_number = EIO, .in_any_thread = true};
    struct peat_db *primary;
    struct peat_db *follower;
    enum peat_status status;
    bool is_promoted;
    uint64_t failures;

    pair_make(&primary, &follower);
    PT_REQUIRE_OK(peat_abort(primary));
    PT_REQUIRE_OK(peat_wait_idle(follower, 60000));
    pt_failing_start(&failing);
    status = peat_promote(follower, 0, NULL);
    failures = pt_failing_end();
    if (status == PEAT_NO_MEMORY ||
        status == PEAT_NO_SPACE) { /* as before, and it may be tried again */
        require_role(follower, PEAT_ROLE_FOLLOWER);
        require_epochs(follower, 1, 1);
        if (at % 2 == 0)
            PT_REQUIRE_OK(status = peat_promote(follower, 0, NULL));
    }
    PT_REQUIRE_OK(peat_abort(follower));
    require_either(&is_promoted);
    if (status == PEAT_OK)
        PT_REQUIRE(is_promoted);
    if (status == PEAT_NO_MEMORY || status == PEAT_NO_SPACE)
        PT_REQUIRE(!is_promoted);
    return failures > 0;
}

/* A fence in which the calls from number @p at on fail, @p count of them; then, if @p again, once more. Whether any
 * did. */
static bool fence_fails_at(enum pt_failing_kind kind, uint64_t at, uint64_t count, bool again)
{
    struct pt_failing failing = {
        .kind = kind, .at = at, .count = count, .error_number = EIO, .in_any_thread = true};
    struct peat_db *db = pt_test_store_make("fenced", 0);
    enum peat_status status;
    uint64_t failures;
    enum peat_role role;

    pt_test_put(db, "a", "1");
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    pt_failing_start(&failing);
    status = peat_fence(db, 2);
    failures = pt_failing_end();
    PT_REQUIRE(status == PEAT_OK || peat_last_error()[0] != '\0');
    require_role(db, PEAT_ROLE_FENCED);
    if (again) {
        enum peat_status second = peat_fence(db, 2);

        PT_REQUIRE(second == PEAT_OK || second == PEAT_POISONED);
        PT_REQUIRE(second == PEAT_OK || (status != PEAT_OK && status != PEAT_NO_MEMORY));
        status = second;
    }
    PT_REQUIRE_OK(peat_abort(db));
    db = store_open("fenced", 0);
    require_value(db, "a", "1");
    PT_REQUIRE_OK(peat_role_get(db, &role));
    PT_REQUIRE(role == PEAT_ROLE_FENCED || status != PEAT_OK);
    PT_REQUIRE_OK(peat_fence(db, 2));
    require_role(db, PEAT_ROLE_FENCED);
    PT_REQUIRE_OK(peat_close(db));
    return failures > 0;
}

static void a_fence_that_is_said_to_be_there_outlives_the_process_whatever_failed_before(
    void **state)
{
    static const enum pt_failing_kind kinds[] = {PT_FAILING_CALLS, PT_FAILING_ALLOCATIONS};
    (void)state;

    pt_failing_install();
    for (unsigned i = 0; i < 8; i++) {
        uint64_t at = 0;

        while (fence_fails_at(kinds[i % 2], at, i < 4 ? 1 : UINT64_MAX, i / 2 % 2 == 1)) {
            at++;
            pt_test_context("run %u, call %" PRIu64, i, at);
            PT_REQUIRE(at < POSITIONS_MAX);
        }
        PT_REQUIRE(at > 2);
    }
    pt_failing_remove();
}

static void whatever_fails_it_is_a_follower_or_a_primary(void **state)
{
    static const enum pt_failing_kind kinds[] = {PT_FAILING_CALLS, PT_FAILING_ALLOCATIONS};
    (void)state;

    pt_failing_install();
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = 0;

        while (promotion_fails_at(kinds[i % 2], at, i < 2 ? 1 : UINT64_MAX))
            PT_REQUIRE(++at < POSITIONS_MAX);
        PT_REQUIRE(at > 2);
    }
    pt_failing_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_promoted_follower_goes_on_in_a_newer_epoch),
        cmocka_unit_test(a_promotion_lasts_without_a_commit),
        cmocka_unit_test(what_is_no_follower_is_not_promoted),
        cmocka_unit_test(a_followers_file_is_not_opened_to_be_written_to),
        cmocka_unit_test(others_follow_over_the_change_of_epoch),
        cmocka_unit_test(what_was_committed_beyond_the_fork_does_not_go_on),
        cmocka_unit_test(a_promotion_without_a_commit_leaves_no_trace_in_the_next),
        cmocka_unit_test(a_backup_has_the_epochs_and_no_role),
        cmocka_unit_test(a_fenced_store_takes_no_commits_until_it_follows),
        cmocka_unit_test(no_commit_comes_after_the_fence),
        cmocka_unit_test(
            a_fence_that_is_said_to_be_there_outlives_the_process_whatever_failed_before),
        cmocka_unit_test(whatever_fails_it_is_a_follower_or_a_primary),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("promote", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

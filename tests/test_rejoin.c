/*
 * The property: an old primary comes back to the history that has gone on without it. What it has committed beyond
 * the fork is kept, by name, before anything of it goes; then it shows a state of the other history, or an
 * older one of both, and follows from there. Whatever fails meanwhile it shows the one or the other, and
 * nothing that counts in commits is taken for what it is not.
 */
#include "tests/failing_calls.h"
#include "tests/pair.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB  ((size_t)1024)
#define KEPT "forked"

enum { POSITIONS_MAX = 2000 };

/* ---- Two histories ---- */

/* An old primary, and the follower that was promoted while the other one went on. */
struct forked {
    struct pt_side old;
    struct pt_side new;
    struct peat_epoch row; /* of the epoch that begins at the fork */
    uint8_t digest[32];    /* of what the old one shows */
    uint64_t commit;       /* its newest */
    uint8_t chain[16];     /* of its history */
};

/* Have @p to apply what @p from has and it has not. */
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
    PT_REQUIRE_OK(peat_feed_acknowledge(feed, pt_test_position(to).commit));
    peat_feed_close(feed);
}

static void commit_some(struct peat_db *db, struct pt_dice *dice, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pt_test_commit_random(db, dice, false);
}

static void reopen(struct pt_side *side, unsigned flags)
{
    PT_REQUIRE_OK(peat_close(side->db));
    side->options.flags = (side->options.flags & ~(PEAT_FOLLOWER | PEAT_CREATE)) | flags;
    pt_side_open(side);
}

/* Have @p db keep its log from here on. */
static void log_keep(struct peat_db *db)
{
    struct peat_feed *feed;

    PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_NEXT, "follower", PEAT_FEED_SEALS, &feed));
    peat_feed_close(feed);
}

/* A primary, and a follower that has all its commits and is promoted. */
static void common_make(struct forked *fork, struct pt_dice *dice, unsigned count)
{
    struct peat_identity identity;

    memset(fork, 0, sizeof(*fork));
    pt_side_make(&fork->old, "old", 0);
    pt_side_make(&fork->new, "new", PEAT_FOLLOWER);
    PT_REQUIRE_OK(peat_identity_get(fork->old.db, &identity));
    PT_REQUIRE_OK(peat_identity_adopt(fork->new.db, &identity));
    log_keep(fork->old.db);
    commit_some(fork->old.db, dice, count);
    follow(fork->new.db, fork->old.db);
    PT_REQUIRE_OK(peat_promote(fork->new.db, 0, NULL));
    log_keep(fork->new.db);
}

/* Where the history of the new one forks. */
static void fork_find(struct forked *fork)
{
    struct peat_epoch epochs[PEAT_EPOCHS_MAX];
    size_t count;

    PT_REQUIRE_OK(peat_epochs_get(fork->new.db, epochs, PEAT_EPOCHS_MAX, &count));
    fork->row = epochs[count - 1];
}

/* Both have @p common commits, then the old one @p beyond more of its own and the new one @p ahead. */
static void fork_make(struct forked *fork, struct pt_dice *dice, unsigned common, unsigned beyond,
                      unsigned ahead)
{
    common_make(fork, dice, common);
    commit_some(fork->old.db, dice, beyond);
    pt_test_put(fork->old.db, "who", "old");
    commit_some(fork->new.db, dice, ahead);
    pt_test_put(fork->new.db, "who", "new");
    fork_find(fork);
    PT_REQUIRE_OK(peat_fence(fork->old.db, fork->row.epoch));
    reopen(&fork->old, PEAT_FOLLOWER);
    fork->commit = pt_test_newest(fork->old.db);
    memcpy(fork->chain, pt_test_position(fork->old.db).chain, sizeof(fork->chain));
    pt_test_digest(fork->old.db, fork->digest);
}

static void fork_close(struct forked *fork)
{
    PT_REQUIRE_OK(peat_check(fork->old.db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(fork->old.db));
    PT_REQUIRE_OK(peat_close(fork->new.db));
}

static void require_equal(struct forked *fork)
{
    uint8_t digests[2][32];
    struct peat_position ours = pt_test_position(fork->old.db);
    struct peat_position theirs = pt_test_position(fork->new.db);

    /* A primary that has come to rest ends its write buffer: that is a seal more, behind the same commit. */
    PT_REQUIRE(ours.epoch == theirs.epoch && ours.commit == theirs.commit);
    if (ours.position == theirs.position)
        PT_REQUIRE(memcmp(&ours, &theirs, sizeof(ours)) == 0);
    pt_test_digest(fork->old.db, digests[0]);
    pt_test_digest(fork->new.db, digests[1]);
    PT_REQUIRE(memcmp(digests[0], digests[1], 32) == 0);
}

/* What was beyond the fork can still be read. */
static void require_kept(struct forked *fork)
{
    struct peat_snapshot *snapshot;
    struct peat_bytes value;
    uint8_t digest[32];

    PT_REQUIRE_OK(peat_history_open(fork->old.db, KEPT, 0, &snapshot));
    PT_REQUIRE(peat_snapshot_commit(snapshot) == fork->commit);
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, NULL));
    PT_REQUIRE(memcmp(digest, fork->digest, 32) == 0);
    PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text("who"), &value));
    PT_REQUIRE(pt_same(value, pt_text("old")));
    peat_snapshot_close(snapshot);
}

/* ---- A state of the other history ---- */

static enum peat_status range_ship(struct peat_seed *seed, struct peat_seeding *seeding,
                                   const struct peat_seed_range *range)
{
    uint64_t done = 0;
    uint64_t part_size = UINT64_MAX;
    enum peat_status status = PEAT_OK;

    while (done < range->size && status == PEAT_OK && range->offset + done < part_size) {
        struct peat_bytes bytes;

        status = peat_seed_read(seed, range->part, range->offset + done, range->size - done, &bytes,
                                &part_size);
        if (status != PEAT_OK)
            return status;
        status = peat_seeding_write(seeding, range->part, range->offset + done, part_size, bytes);
        done += bytes.size;
    }
    return status;
}

/* Have the old one take a state of the new one, as far as that goes; @p kept_name: NULL, or what it may leave. */
static enum peat_status seed_take(struct forked *fork, struct peat_seed *seed,
                                  const char *kept_name)
{
    struct peat_seeding *seeding;
    struct peat_seed_range range;
    enum peat_status status = peat_seeding_open(fork->old.db, &seeding);

    if (status == PEAT_OK && kept_name != NULL)
        status = peat_seeding_part(seeding, kept_name);
    while (status == PEAT_OK && peat_seeding_next(seeding, 200 * KIB, &range))
        status = range_ship(seed, seeding, &range);
    if (status == PEAT_DONE)
        status = peat_seeding_finish(seeding);
    peat_seeding_close(seeding);
    return status;
}

/* Have the log behind the state kept. */
static void feed_begin(struct forked *fork, struct peat_seed *seed)
{
    struct peat_seed_info info;
    struct peat_feed *feed;

    peat_seed_about(seed, &info);
    PT_REQUIRE_OK(
        peat_feed_open(fork->new.db, info.position.commit + 1, "follower", PEAT_FEED_SEALS, &feed));
    peat_feed_close(feed);
}

static enum peat_status seed_try(struct forked *fork, const char *kept_name)
{
    struct peat_seed *seed;
    enum peat_status status;

    PT_REQUIRE_OK(peat_seed_open(fork->new.db, &seed));
    feed_begin(fork, seed);
    status = seed_take(fork, seed, kept_name);
    peat_seed_close(seed);
    return status;
}

/* ---- Tests ---- */

static void an_old_primary_with_nothing_beyond_the_fork_follows(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct forked fork;
    (void)state;

    common_make(&fork, &dice, 30);
    commit_some(fork.new.db, &dice, 30);
    reopen(&fork.old, PEAT_FOLLOWER);
    follow(fork.old.db, fork.new.db);
    require_equal(&fork);
    fork_close(&fork);
}

static void a_state_of_the_other_history_takes_the_place_of_the_forked_one(void **state)
{
    static const unsigned counts[][3] = {{40, 60, 10}, {40, 10, 60}, {1, 300, 1}, {300, 1, 1}};
    struct pt_dice dice = {pt_test_seed()};
    struct forked fork;
    (void)state;

    for (unsigned i = 0; i < 8; i++) {
        const unsigned *count = counts[i % 4];

        pt_test_context("fork %u", i);
        fork_make(&fork, &dice, count[0], count[1], count[2]);
        PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, KEPT, NULL));
        PT_REQUIRE_OK(seed_try(&fork, KEPT));
        require_kept(&fork);
        follow(fork.old.db, fork.new.db);
        require_equal(&fork);
        for (unsigned k = 0; k < 4; k++) { /* and goes on, also over its end */
            commit_some(fork.new.db, &dice, 30);
            follow(fork.old.db, fork.new.db);
            require_equal(&fork);
            if (k == 1)
                PT_REQUIRE_OK(peat_abort(fork.old.db));
            if (k == 1)
                pt_side_open(&fork.old);
            if (k == 2)
                reopen(&fork.old, PEAT_FOLLOWER);
            require_kept(&fork);
        }
        PT_REQUIRE_OK(peat_compact(fork.old.db, NULL, NULL, NULL, NULL));
        require_equal(&fork);
        require_kept(&fork);
        PT_REQUIRE_OK(peat_history_drop(fork.old.db, KEPT, 0));
        fork_close(&fork);
    }
}

static void what_is_not_kept_is_not_left(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct forked fork;
    uint8_t digest[32];
    (void)state;

    fork_make(&fork, &dice, 40, 60, 100);
    PT_REQUIRE_OK(peat_flush(fork.new.db)); /* else the state may be of the fork itself */
    PT_REQUIRE_STATUS(seed_try(&fork, NULL), PEAT_CORRUPT);
    PT_REQUIRE_STATUS(seed_try(&fork, KEPT), PEAT_INVALID);
    PT_REQUIRE(strstr(peat_last_error(), "is not kept as 'forked'") != NULL);
    PT_REQUIRE_STATUS(peat_retreat(fork.old.db, fork.row.position, KEPT, NULL), PEAT_INVALID);
    PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, "another", NULL));
    PT_REQUIRE_STATUS(seed_try(&fork, KEPT), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_retreat(fork.new.db, fork.row.position, KEPT, NULL), PEAT_INVALID);
    PT_REQUIRE(pt_test_newest(fork.old.db) == fork.commit);
    pt_test_digest(fork.old.db, digest);
    PT_REQUIRE(memcmp(digest, fork.digest, 32) == 0);
    fork_close(&fork);
}

static void it_goes_back_to_a_state_that_both_have_had(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct forked fork;
    uint64_t commit;
    (void)state;

    for (unsigned i = 0; i < 4; i++) {
        struct pt_side *old = &fork.old;

        memset(&fork, 0, sizeof(fork));
        pt_side_make(old, "old", 0);
        pt_side_make(&fork.new, "new", PEAT_FOLLOWER);
        log_keep(old->db);
        commit_some(old->db, &dice, 20);
        PT_REQUIRE_OK(peat_snapshot_persist(old->db, "early", NULL));
        commit_some(old->db, &dice, 20);
        PT_REQUIRE_OK(peat_snapshot_persist(old->db, "late", NULL));
        follow(fork.new.db, old->db);
        PT_REQUIRE_OK(peat_promote(fork.new.db, 0, NULL));
        log_keep(fork.new.db);
        commit_some(old->db, &dice, 20);
        PT_REQUIRE_OK(peat_snapshot_persist(old->db, "too late", NULL));
        commit_some(old->db, &dice, 20);
        pt_test_put(old->db, "who", "old");
        commit_some(fork.new.db, &dice, 1 + 90 * (i % 2));
        reopen(old, PEAT_FOLLOWER);
        fork.commit = pt_test_newest(old->db);
        pt_test_digest(old->db, fork.digest);
        PT_REQUIRE_OK(peat_snapshot_persist(old->db, KEPT, NULL));
        fork_find(&fork);
        if (i >= 2) /* none is early enough */
            PT_REQUIRE_STATUS(peat_retreat(old->db, 1, KEPT, &commit), PEAT_NOT_FOUND);
        PT_REQUIRE_OK(peat_retreat(old->db, fork.row.position, KEPT, &commit));
        /* A seal beyond the fork, written for the later one, makes that one too late; some have no name. */
        pt_test_context("turn %u: commit %" PRIu64 ", fork at %" PRIu64, i, commit,
                        fork.row.position);
        PT_REQUIRE(commit >= 20 && commit <= 40);
        PT_REQUIRE(pt_test_newest(old->db) == commit);
        require_kept(&fork);
        if (i >= 2) {
            PT_REQUIRE_OK(peat_abort(old->db));
            pt_side_open(old);
            PT_REQUIRE(pt_test_newest(old->db) == commit);
        }
        follow(old->db, fork.new.db);
        require_equal(&fork);
        require_kept(&fork);
        fork_close(&fork);
    }
}

static void an_epoch_that_was_left_is_not_used_again(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct forked fork;
    uint64_t epoch;
    (void)state;

    pt_side_make(&fork.old, "old", 0);
    pt_side_make(&fork.new, "new", PEAT_FOLLOWER);
    commit_some(fork.old.db, &dice, 20);
    follow(fork.new.db, fork.old.db);
    PT_REQUIRE_OK(peat_snapshot_persist(fork.new.db, "early", NULL));
    PT_REQUIRE_OK(peat_promote(fork.new.db, 0, &epoch));
    PT_REQUIRE(epoch == 2);
    commit_some(fork.new.db, &dice, 20);
    reopen(&fork.new, PEAT_FOLLOWER);
    PT_REQUIRE_OK(peat_snapshot_persist(fork.new.db, KEPT, NULL));
    PT_REQUIRE_OK(peat_retreat(fork.new.db, pt_test_position(fork.old.db).position, KEPT, NULL));
    PT_REQUIRE(pt_test_position(fork.new.db).epoch == 1);
    reopen(&fork.new, PEAT_FOLLOWER);
    PT_REQUIRE_OK(peat_promote(fork.new.db, 0, &epoch));
    PT_REQUIRE(epoch == 3);
    fork_close(&fork);
}

/* A reader in another process does not lay the new history upon what it has seen of the old one. */
static void readers_leave_the_history_too(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct forked fork;
    struct peat_db *reader;
    struct peat_record record;
    struct peat_feed *feed;
    struct peat_position positions[2];
    uint8_t digests[2][32];
    (void)state;

    for (unsigned i = 0; i < 6; i++) {
        pt_test_context("turn %u", i);
        fork_make(&fork, &dice, 10, 50, i % 2 == 0 ? 5 : 60);
        pt_test_put(fork.new.db, "more", "1");
        PT_REQUIRE_OK(peat_open(fork.old.path, &options, &reader));
        PT_REQUIRE(pt_test_newest(reader) == fork.commit);
        PT_REQUIRE_OK(peat_feed_open(reader, PEAT_FEED_NEXT, NULL, 0, &feed));
        PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, KEPT, NULL));
        if (i < 3)
            PT_REQUIRE_OK(peat_refresh(reader));
        PT_REQUIRE_OK(seed_try(&fork, KEPT));
        if (i >= 4) /* it has come to more than is in the file now */
            PT_REQUIRE_OK(peat_check(reader, NULL, NULL, NULL));
        commit_some(fork.new.db, &dice, 1 + 80 * (i % 3));
        follow(fork.old.db, fork.new.db);
        PT_REQUIRE_OK(peat_refresh(reader));
        pt_test_digest(reader, digests[0]);
        pt_test_digest(fork.old.db, digests[1]);
        PT_REQUIRE(memcmp(digests[0], digests[1], 32) == 0);
        PT_REQUIRE_OK(peat_position_get(reader, &positions[0]));
        positions[1] = pt_test_position(fork.old.db);
        PT_REQUIRE(memcmp(&positions[0], &positions[1], sizeof(positions[0])) == 0);
        commit_some(fork.new.db, &dice, 60); /* beyond what the feed has come to */
        follow(fork.old.db, fork.new.db);
        PT_REQUIRE_STATUS(peat_feed_next(feed, 0, &record), PEAT_GAP);
        peat_feed_close(feed);
        PT_REQUIRE_OK(peat_close(reader));
        fork_close(&fork);
    }
}

static void put_many(struct peat_db *db, unsigned from, unsigned to)
{
    static uint8_t value[1000];
    char name[16];

    for (unsigned i = from; i < to; i++) {
        (void)snprintf(name, sizeof(name), "key %08u", i);
        pt_value_fill(i, value, sizeof(value));
        PT_REQUIRE_OK(peat_put(db, NULL, pt_text(name), (struct peat_bytes){value, sizeof(value)}));
    }
}

/* The old one was given its segments by the new one. What comes to either later has higher keys: so a merge at
 * rest, which may come at any moment, moves those segments as they are. */
static void segments_that_both_have_are_not_sent_again(void **state)
{
    struct peat_seeding *seeding;
    struct peat_seeding_info about;
    struct peat_seed_range range;
    struct peat_seed *seed;
    struct forked fork = {.commit = 0};
    struct peat_identity identity;
    uint64_t asked = 0;
    (void)state;

    pt_side_make(&fork.new, "new", 0); /* the one that gives, first */
    pt_side_make(&fork.old, "old", PEAT_FOLLOWER);
    PT_REQUIRE_OK(peat_identity_get(fork.new.db, &identity));
    PT_REQUIRE_OK(peat_identity_adopt(fork.old.db, &identity));
    pt_test_put_segment(fork.new.db, 0, 3000);
    PT_REQUIRE_OK(seed_try(&fork, NULL));
    follow(fork.old.db, fork.new.db);
    PT_REQUIRE_OK(peat_promote(fork.old.db, 0, NULL));
    put_many(fork.old.db, 4000, 4010);
    reopen(&fork.new, PEAT_FOLLOWER); /* another one takes its place, in a later epoch */
    PT_REQUIRE_OK(peat_promote(fork.new.db, 0, NULL));
    PT_REQUIRE_OK(peat_close(fork.new.db));
    pt_side_open(&fork.new);
    PT_REQUIRE_OK(peat_promote(fork.new.db, 0, NULL));
    put_many(fork.new.db, 5000, 5010);
    PT_REQUIRE_OK(peat_flush(fork.new.db));
    reopen(&fork.old, PEAT_FOLLOWER);
    PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, KEPT, NULL));
    PT_REQUIRE_OK(peat_seed_open(fork.new.db, &seed));
    feed_begin(&fork, seed);
    PT_REQUIRE_OK(peat_seeding_open(fork.old.db, &seeding));
    PT_REQUIRE_OK(peat_seeding_part(seeding, KEPT));
    while (peat_seeding_next(seeding, 200 * KIB, &range)) {
        enum peat_status status = range_ship(seed, seeding, &range);

        PT_REQUIRE(status == PEAT_OK || status == PEAT_DONE);
        asked += range.part > 0 ? range.size : 0;
    }
    peat_seeding_about(seeding, &about);
    PT_REQUIRE_OK(peat_seeding_finish(seeding));
    pt_test_context("%" PRIu64 " of %" PRIu64 " bytes", asked, about.size);
    PT_REQUIRE(about.size > 3000 * 1000 && asked < about.size / 4);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    follow(fork.old.db, fork.new.db);
    require_equal(&fork);
    fork_close(&fork);
}

/* What a kept state alone still has comes again with a state, and is there twice then. */
static void a_segment_that_comes_again_leaves_the_kept_one_as_it_is(void **state)
{
    struct forked fork = {.commit = 0};
    struct peat_identity identity;
    (void)state;

    pt_side_make(&fork.new, "new", 0);
    pt_side_make(&fork.old, "old", PEAT_FOLLOWER);
    PT_REQUIRE_OK(peat_identity_get(fork.new.db, &identity));
    PT_REQUIRE_OK(peat_identity_adopt(fork.old.db, &identity));
    pt_test_put(fork.new.db, "who", "old");
    put_many(fork.new.db, 0, 3000);
    PT_REQUIRE_OK(peat_compact(fork.new.db, NULL, NULL, NULL, NULL));
    PT_REQUIRE_OK(seed_try(&fork, NULL));
    fork.commit = pt_test_newest(fork.old.db);
    pt_test_digest(fork.old.db, fork.digest);
    PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, KEPT, NULL));
    for (unsigned i = 0; i < 3000; i += 100)
        put_many(fork.new.db, i, i + 1);
    follow(fork.old.db, fork.new.db);
    PT_REQUIRE_OK(peat_compact(fork.old.db, NULL, NULL, NULL, NULL)); /* the new one does not */
    put_many(fork.new.db, 200, 210);
    PT_REQUIRE_OK(peat_flush(fork.new.db));
    PT_REQUIRE_OK(seed_try(&fork, NULL));
    require_kept(&fork);
    for (unsigned i = 0; i < 2; i++) {
        reopen(&fork.old, PEAT_FOLLOWER);
        require_kept(&fork);
        require_equal(&fork);
        PT_REQUIRE_OK(peat_check(fork.old.db, NULL, NULL, NULL));
    }
    PT_REQUIRE_OK(peat_history_drop(fork.old.db, KEPT, 0));
    fork_close(&fork);
}

static void feeds_of_the_forked_history_get_a_gap(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_record record;
    struct peat_feed *feed;
    struct forked fork;
    (void)state;

    fork_make(&fork, &dice, 20, 60, 20);
    PT_REQUIRE_OK(peat_feed_open(fork.old.db, PEAT_FEED_NEXT, "below", 0, &feed));
    PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, KEPT, NULL));
    PT_REQUIRE_OK(seed_try(&fork, KEPT));
    PT_REQUIRE_STATUS(peat_feed_next(feed, 0, &record), PEAT_GAP);
    peat_feed_close(feed);
    commit_some(fork.new.db, &dice, 100); /* beyond what it has acknowledged */
    follow(fork.old.db, fork.new.db);
    for (unsigned i = 0; i < 2; i++) {
        PT_REQUIRE_STATUS(peat_feed_open(fork.old.db, PEAT_FEED_ACKNOWLEDGED, "below", 0, &feed),
                          PEAT_GAP);
        reopen(&fork.old, PEAT_FOLLOWER);
    }
    PT_REQUIRE_OK(peat_feed_open(fork.old.db, PEAT_FEED_NEXT, "below", 0, &feed));
    commit_some(fork.new.db, &dice, 1);
    follow(fork.old.db, fork.new.db);
    PT_REQUIRE_OK(peat_feed_next(feed, 0, &record));
    PT_REQUIRE(record.commit == pt_test_newest(fork.new.db));
    peat_feed_close(feed);
    fork_close(&fork);
}

/* Both have given one number to two collections. */
static void a_collections_number_is_not_taken_for_the_other_ones(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_collection *ours;
    struct peat_collection *theirs;
    struct peat_collection *same;
    struct forked fork;
    char value[16];
    size_t size;
    (void)state;

    common_make(&fork, &dice, 10);
    PT_REQUIRE_OK(peat_collection_open(fork.new.db, NULL, "theirs", PEAT_CREATE, &theirs));
    PT_REQUIRE_OK(peat_put(fork.new.db, theirs, pt_text("key"), pt_text("theirs")));
    peat_collection_close(theirs);
    PT_REQUIRE_OK(peat_flush(fork.new.db)); /* so that the state has it */
    PT_REQUIRE_OK(peat_collection_open(fork.old.db, NULL, "ours", PEAT_CREATE, &ours));
    PT_REQUIRE_OK(peat_put(fork.old.db, ours, pt_text("key"), pt_text("ours")));
    peat_collection_close(ours);
    reopen(&fork.old, PEAT_FOLLOWER);
    PT_REQUIRE_OK(peat_collection_open(fork.old.db, NULL, "ours", 0, &ours));
    PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, KEPT, NULL));
    PT_REQUIRE_OK(seed_try(&fork, KEPT));
    PT_REQUIRE_OK(peat_collection_open(fork.old.db, NULL, "theirs", 0, &theirs));
    PT_REQUIRE(peat_collection_number(ours) == peat_collection_number(theirs) && ours != theirs);
    PT_REQUIRE_OK(peat_get_copy(fork.old.db, theirs, pt_text("key"), value, sizeof(value), &size));
    PT_REQUIRE(pt_same(pt_text("theirs"), (struct peat_bytes){value, size}));
    PT_REQUIRE_STATUS(peat_collection_open(fork.old.db, NULL, "ours", 0, &same), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(peat_promote(fork.old.db, 0, NULL));
    PT_REQUIRE_STATUS(peat_put(fork.old.db, ours, pt_text("key"), pt_text("x")), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(peat_put(fork.old.db, theirs, pt_text("key"), pt_text("x")));
    peat_collection_close(ours);
    peat_collection_close(theirs);
    fork_close(&fork);
}

/* ---- Beside others ---- */

/* Reads, syncs, flushes and checks while the history is left. */
struct beside {
    struct forked *fork;
    _Atomic bool stop;
    _Atomic uint64_t looks;
};

static void *look_beside(void *context)
{
    struct beside *beside = context;
    struct peat_db *db = beside->fork->old.db;

    while (!atomic_load(&beside->stop)) {
        struct peat_snapshot *snapshot;
        uint8_t digests[2][32];
        uint64_t commit;

        PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
        commit = peat_snapshot_commit(snapshot);
        PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digests[0], NULL));
        PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digests[1], NULL));
        PT_REQUIRE(memcmp(digests[0], digests[1], 32) == 0);
        PT_REQUIRE(commit == peat_snapshot_commit(snapshot));
        peat_snapshot_close(snapshot);
        atomic_fetch_add(&beside->looks, 1);
    }
    return NULL;
}

static void *sync_beside(void *context)
{
    struct beside *beside = context;

    while (!atomic_load(&beside->stop)) {
        struct peat_position position;

        PT_REQUIRE_OK(peat_sync(beside->fork->old.db));
        PT_REQUIRE_OK(peat_position_get(beside->fork->old.db, &position));
        PT_REQUIRE_OK(peat_flush(beside->fork->old.db));
    }
    return NULL;
}

static void *check_beside(void *context)
{
    struct beside *beside = context;

    while (!atomic_load(&beside->stop))
        PT_REQUIRE_OK(peat_check(beside->fork->old.db, NULL, NULL, NULL));
    return NULL;
}

static void readers_and_syncs_go_on_beside_it(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct forked fork;
    (void)state;

    for (unsigned i = 0; i < 6; i++) {
        struct beside beside = {.fork = &fork};
        pthread_t threads[3];

        fork_make(&fork, &dice, 20, 60, 10 + 80 * (i % 2));
        PT_REQUIRE(pthread_create(&threads[0], NULL, look_beside, &beside) == 0);
        PT_REQUIRE(pthread_create(&threads[1], NULL, sync_beside, &beside) == 0);
        PT_REQUIRE(pthread_create(&threads[2], NULL, check_beside, &beside) == 0);
        while (atomic_load(&beside.looks) == 0)
            (void)sched_yield();
        PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, KEPT, NULL));
        PT_REQUIRE_OK(seed_try(&fork, KEPT));
        follow(fork.old.db, fork.new.db);
        commit_some(fork.new.db, &dice, 20);
        follow(fork.old.db, fork.new.db);
        atomic_store(&beside.stop, true);
        for (unsigned k = 0; k < 3; k++)
            PT_REQUIRE(pthread_join(threads[k], NULL) == 0);
        require_equal(&fork);
        require_kept(&fork);
        fork_close(&fork);
    }
}

/* ---- Failures ---- */

/* Leaving the history, in which the calls from number @p at on fail, @p count of them. Whether any did. */
static bool rejoining_fails_at(enum pt_failing_kind kind, uint64_t at, uint64_t count)
{
    struct pt_failing failing = {
        .kind = kind, .at = at, .count = count, .error_number = EIO, .in_any_thread = true};
    struct pt_dice dice = {7};
    struct peat_seed *seed;
    struct forked fork;
    uint64_t failures;
    enum peat_status status;
    uint64_t newest;

    fork_make(&fork, &dice, 10, 20, 15);
    PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, KEPT, NULL));
    PT_REQUIRE_OK(peat_wait_idle(fork.old.db, 60000));
    PT_REQUIRE_OK(peat_seed_open(fork.new.db, &seed));
    feed_begin(&fork, seed);
    pt_failing_start(&failing);
    status = seed_take(&fork, seed, KEPT);
    failures = pt_failing_end();
    peat_seed_close(seed);
    if (status == PEAT_NO_MEMORY || status == PEAT_NO_SPACE) {
        PT_REQUIRE(pt_test_newest(fork.old.db) == fork.commit);
        if (at % 2 == 0)
            PT_REQUIRE_OK(status = seed_try(&fork, KEPT));
    }
    PT_REQUIRE_OK(peat_abort(fork.old.db));
    pt_side_open(&fork.old);
    newest = pt_test_newest(fork.old.db);
    PT_REQUIRE(newest == fork.commit || status == PEAT_OK || status == PEAT_IO ||
               status == PEAT_POISONED);
    if (newest == fork.commit) { /* it is as it was, and can be done again */
        PT_REQUIRE(status != PEAT_OK);
        PT_REQUIRE_OK(seed_try(&fork, KEPT));
    }
    require_kept(&fork);
    follow(fork.old.db, fork.new.db);
    require_equal(&fork);
    fork_close(&fork);
    return failures > 0;
}

static void whatever_fails_it_shows_the_one_history_or_the_other(void **state)
{
    static const enum pt_failing_kind kinds[] = {PT_FAILING_CALLS, PT_FAILING_ALLOCATIONS};
    (void)state;

    pt_failing_install();
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = 0;

        while (rejoining_fails_at(kinds[i % 2], at, i < 2 ? 1 : UINT64_MAX)) {
            at++;
            pt_test_context("kind %u, call %" PRIu64, i, at);
            PT_REQUIRE(at < POSITIONS_MAX);
        }
        PT_REQUIRE(at > 5);
    }
    pt_failing_remove();
}

/* Going back to a state that both have had, likewise. */
static bool going_back_fails_at(enum pt_failing_kind kind, uint64_t at, uint64_t count)
{
    struct pt_failing failing = {
        .kind = kind, .at = at, .count = count, .error_number = EIO, .in_any_thread = true};
    struct pt_dice dice = {9};
    struct forked fork;
    uint64_t failures;
    uint64_t newest;
    enum peat_status status;

    memset(&fork, 0, sizeof(fork));
    pt_side_make(&fork.old, "old", 0);
    commit_some(fork.old.db, &dice, 10);
    PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, "early", NULL));
    fork.row.position = pt_test_position(fork.old.db).position;
    newest = pt_test_newest(fork.old.db);
    commit_some(fork.old.db, &dice, 10);
    pt_test_put(fork.old.db, "who", "old");
    PT_REQUIRE_OK(peat_fence(fork.old.db, 2));
    reopen(&fork.old, PEAT_FOLLOWER);
    fork.commit = pt_test_newest(fork.old.db);
    pt_test_digest(fork.old.db, fork.digest);
    PT_REQUIRE_OK(peat_snapshot_persist(fork.old.db, KEPT, NULL));
    PT_REQUIRE_OK(peat_wait_idle(fork.old.db, 60000));
    pt_failing_start(&failing);
    status = peat_retreat(fork.old.db, fork.row.position, KEPT, NULL);
    failures = pt_failing_end();
    if (status == PEAT_NO_MEMORY || status == PEAT_NO_SPACE) {
        PT_REQUIRE(pt_test_newest(fork.old.db) == fork.commit);
        if (at % 2 == 0)
            PT_REQUIRE_OK(status = peat_retreat(fork.old.db, fork.row.position, KEPT, NULL));
    }
    PT_REQUIRE_OK(peat_abort(fork.old.db));
    pt_side_open(&fork.old);
    if (pt_test_newest(fork.old.db) == fork.commit) { /* as it was */
        PT_REQUIRE(status != PEAT_OK && failures > 0);
        PT_REQUIRE_OK(peat_retreat(fork.old.db, fork.row.position, KEPT, NULL));
    }
    PT_REQUIRE(status == PEAT_OK || failures > 0);
    PT_REQUIRE(pt_test_newest(fork.old.db) == newest);
    require_kept(&fork);
    PT_REQUIRE_OK(peat_check(fork.old.db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(fork.old.db));
    return failures > 0;
}

static void whatever_fails_it_has_gone_back_or_has_not(void **state)
{
    static const enum pt_failing_kind kinds[] = {PT_FAILING_CALLS, PT_FAILING_ALLOCATIONS};
    (void)state;

    pt_failing_install();
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = 0;

        while (going_back_fails_at(kinds[i % 2], at, i < 2 ? 1 : UINT64_MAX)) {
            at++;
            pt_test_context("kind %u, call %" PRIu64, i, at);
            PT_REQUIRE(at < POSITIONS_MAX);
        }
        PT_REQUIRE(at > 2);
    }
    pt_failing_remove();
}

/* ---- Deaths ---- */

/* In a process of its own, which is killed: keep, and take a state, as often as it gets to. */
static void rejoin_until_killed(struct forked *fork, int told)
{
    pt_side_open(&fork->old);
    pt_side_open(&fork->new);
    PT_REQUIRE(write(told, "b", 1) == 1);
    if (peat_snapshot_persist(fork->old.db, KEPT, NULL) == PEAT_OK)
        PT_REQUIRE(write(told, "k", 1) == 1);
    if (seed_try(fork, KEPT) == PEAT_OK)
        PT_REQUIRE(write(told, "r", 1) == 1);
    for (;;)
        (void)pause();
}

/* Kill it @p delay_us after it has begun. How far it came: 'b', 'k', 'r'. */
static char rejoin_killed(struct forked *stores, unsigned delay_us)
{
    int told[2];
    char came = '\0';
    char byte;
    pid_t child;

    PT_REQUIRE(pipe(told) == 0);
    child = fork();
    if (child == 0) {
        (void)close(told[0]);
        rejoin_until_killed(stores, told[1]);
    }
    (void)close(told[1]);
    PT_REQUIRE(read(told[0], &came, 1) == 1);
    (void)usleep(delay_us); /* the moment of its death, which is any */
    PT_REQUIRE(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    while (read(told[0], &byte, 1) == 1)
        came = byte;
    (void)close(told[0]);
    return came;
}

static void whenever_it_dies_it_shows_the_one_history_or_the_other(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint64_t rounds = pt_test_number("PEAT_ROUNDS", 40);
    unsigned counts[2] = {0, 0};
    struct forked fork;
    (void)state;

    for (uint64_t i = 0; i < rounds; i++) {
        unsigned delay_us = (unsigned)pt_dice_below(&dice, 30000);
        struct peat_position position;
        bool rejoined;
        char came;

        fork_make(&fork, &dice, 20, 40, 1 + (unsigned)pt_dice_below(&dice, 80));
        PT_REQUIRE_OK(peat_close(fork.old.db));
        PT_REQUIRE_OK(peat_close(fork.new.db));
        came = rejoin_killed(&fork, delay_us);
        pt_test_context("round %" PRIu64 ", killed after %u us, at '%c'", i, delay_us, came);
        pt_side_open(&fork.old);
        pt_side_open(&fork.new);
        position = pt_test_position(fork.old.db);
        rejoined = memcmp(position.chain, fork.chain, sizeof(fork.chain)) != 0;
        PT_REQUIRE(rejoined || came != 'r');
        counts[rejoined]++;
        if (!rejoined) {
            enum peat_status status = peat_snapshot_persist(fork.old.db, KEPT, NULL);

            PT_REQUIRE(status == PEAT_OK || status == PEAT_EXISTS);
            PT_REQUIRE(came != 'k' || status == PEAT_EXISTS);
            PT_REQUIRE_OK(seed_try(&fork, KEPT));
        }
        require_kept(&fork);
        follow(fork.old.db, fork.new.db);
        require_equal(&fork);
        fork_close(&fork);
    }
    printf("# %u died before it had left its history, %u after\n", counts[0], counts[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_primary_with_nothing_beyond_the_fork_follows),
        cmocka_unit_test(a_state_of_the_other_history_takes_the_place_of_the_forked_one),
        cmocka_unit_test(what_is_not_kept_is_not_left),
        cmocka_unit_test(it_goes_back_to_a_state_that_both_have_had),
        cmocka_unit_test(an_epoch_that_was_left_is_not_used_again),
        cmocka_unit_test(readers_leave_the_history_too),
        cmocka_unit_test(segments_that_both_have_are_not_sent_again),
        cmocka_unit_test(a_segment_that_comes_again_leaves_the_kept_one_as_it_is),
        cmocka_unit_test(feeds_of_the_forked_history_get_a_gap),
        cmocka_unit_test(a_collections_number_is_not_taken_for_the_other_ones),
        cmocka_unit_test(readers_and_syncs_go_on_beside_it),
        cmocka_unit_test(whenever_it_dies_it_shows_the_one_history_or_the_other),
        cmocka_unit_test(whatever_fails_it_shows_the_one_history_or_the_other),
        cmocka_unit_test(whatever_fails_it_has_gone_back_or_has_not),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("rejoin", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

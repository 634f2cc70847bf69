/*
 * The property (P7): a follower shows the state that its primary hands out, or the one before, whatever comes in
 * between; then it goes on with the log; and nothing that it has is sent to it again.
 */
#include "tests/pair.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)

enum { NAME_SIZE = 16, STATES = 12 };

/* ---- Handing a state over ---- */

/* What is done to the bytes on their way. */
struct trouble {
    struct pt_dice *dice;
    uint64_t stop_after; /* bytes; 0: it does not stop */
    uint64_t flip_at;    /* number of the byte that is changed; UINT64_MAX: none */
};

static const struct trouble none = {.flip_at = UINT64_MAX};

static void seed_begin(struct pt_pair *pair)
{
    struct peat_identity identity;

    PT_REQUIRE_OK(peat_identity_get(pair->primary.db, &identity));
    PT_REQUIRE_OK(peat_identity_adopt(pair->follower.db, &identity));
}

/* One answer, in small pieces. */
static enum peat_status range_ship(struct peat_seed *seed, struct peat_seeding *seeding,
                                   const struct peat_seed_range *range, uint64_t *shipped,
                                   const struct trouble *trouble)
{
    static uint8_t piece[100 * KIB];
    uint64_t done = 0;
    uint64_t part_size = 0;
    enum peat_status status = PEAT_OK;

    while (done < range->size && status == PEAT_OK) {
        size_t size =
            1 + (trouble->dice == NULL ? 50 * KIB : pt_dice_below(trouble->dice, sizeof(piece)));
        struct peat_bytes bytes;

        if (size > range->size - done)
            size = (size_t)(range->size - done);
        PT_REQUIRE_OK(
            peat_seed_read(seed, range->part, range->offset + done, size, &bytes, &part_size));
        memcpy(piece, bytes.data, bytes.size);
        if (trouble->flip_at >= *shipped && trouble->flip_at - *shipped < bytes.size)
            piece[trouble->flip_at - *shipped] ^= 16;
        status = peat_seeding_write(seeding, range->part, range->offset + done, part_size,
                                    (struct peat_bytes){piece, bytes.size});
        *shipped += bytes.size;
        done += bytes.size;
        if (range->offset + done == part_size)
            return status; /* more was asked for than there is */
    }
    return status;
}

/* All that is asked for, up to where the trouble is; *shipped_out: bytes. */
static enum peat_status seed_ship(struct peat_seed *seed, struct peat_seeding *seeding,
                                  uint64_t *shipped_out, const struct trouble *trouble)
{
    struct peat_seed_range range;
    enum peat_status status = PEAT_OK;

    *shipped_out = 0;
    while (status == PEAT_OK && peat_seeding_next(seeding, 200 * KIB, &range)) {
        status = range_ship(seed, seeding, &range, shipped_out, trouble);
        if (trouble->stop_after > 0 && *shipped_out >= trouble->stop_after && status == PEAT_OK)
            return PEAT_TIMEOUT;
    }
    return status;
}

/* From now on the follower is fed with what is behind commit @p commit. */
static void feed_anew(struct pt_pair *pair, uint64_t commit)
{
    peat_feed_close(pair->feed);
    PT_REQUIRE_OK(
        peat_feed_open(pair->primary.db, commit + 1, "follower", PEAT_FEED_SEALS, &pair->feed));
}

/* Have the follower show the primary's state, and be fed with what is behind it; gives how many bytes that took. */
static uint64_t seed_whole(struct pt_pair *pair)
{
    struct peat_seed *seed;
    struct peat_seeding *seeding;
    struct peat_seed_info info;
    uint64_t shipped;

    PT_REQUIRE_OK(peat_seed_open(pair->primary.db, &seed));
    PT_REQUIRE_OK(peat_seeding_open(pair->follower.db, &seeding));
    PT_REQUIRE_STATUS(seed_ship(seed, seeding, &shipped, &none), PEAT_DONE);
    PT_REQUIRE_OK(peat_seeding_finish(seeding));
    peat_seed_about(seed, &info);
    PT_REQUIRE(pt_test_newest(pair->follower.db) == info.position.commit);
    feed_anew(pair, info.position.commit);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    return shipped;
}

/* A primary whose log is gone, and a follower that is empty. */
static void pair_make(struct pt_pair *pair, struct pt_dice *dice)
{
    memset(pair, 0, sizeof(*pair));
    pt_side_make(&pair->primary, "primary", 0);
    pt_side_make(&pair->follower, "follower", PEAT_FOLLOWER);
    pt_pair_write(pair, dice, 200, true);
    PT_REQUIRE_OK(peat_flush(pair->primary.db));
    pt_pair_write(pair, dice, 50, true);
    seed_begin(pair);
}

/* The same, and it has nothing but one segment. */
static void pair_make_of_one_segment(struct pt_pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    pt_side_make(&pair->primary, "primary", 0);
    pt_side_make(&pair->follower, "follower", PEAT_FOLLOWER);
    pt_test_put_segment(pair->primary.db, 0, 4000);
    seed_begin(pair);
}

static void put_many(struct peat_db *db, unsigned from, unsigned to, uint64_t version)
{
    struct peat_batch *batch = peat_batch_new(0);
    uint8_t value[1000];
    char name[NAME_SIZE];

    for (unsigned i = from; i < to; i++) {
        (void)snprintf(name, sizeof(name), "key %08u", i);
        pt_value_fill(i + version, value, sizeof(value));
        peat_batch_clear(batch);
        PT_REQUIRE_OK(
            peat_batch_put(batch, NULL, pt_text(name), (struct peat_bytes){value, sizeof(value)}));
        PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    }
    peat_batch_free(batch);
}

/* ---- What it shows ---- */

static void a_follower_shows_the_state_and_goes_on_with_the_log_behind_it(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_pair pair;
    (void)state;

    for (unsigned i = 0; i < 8; i++) {
        pair_make(&pair, &dice);
        for (unsigned k = 0; k < 4; k++) {
            (void)seed_whole(&pair);
            pt_pair_write(&pair, &dice, (unsigned)pt_dice_below(&dice, 60), true);
            if (k % 2 == 0) {
                pt_pair_follow(&pair, &dice);
                pt_pair_require_equal(&pair);
            }
            peat_feed_close(pair.feed);
            pair.feed = NULL;
            PT_REQUIRE_OK(pt_dice_one_in(&dice, 2) ? peat_abort(pair.follower.db)
                                                   : peat_close(pair.follower.db));
            pt_side_open(&pair.follower);
            pt_pair_write(&pair, &dice, 100 + (unsigned)pt_dice_below(&dice, 200), true);
            PT_REQUIRE_OK(peat_flush(pair.primary.db));
        }
        (void)seed_whole(&pair);
        pt_pair_follow(&pair, &dice);
        pt_pair_require_equal(&pair);
        pt_pair_close(&pair);
    }
}

static void what_the_follower_has_is_not_asked_for(void **state)
{
    struct pt_pair pair;
    uint64_t all;
    uint64_t again;
    (void)state;

    pair_make_of_one_segment(&pair);
    all = seed_whole(&pair);
    put_many(pair.primary.db, 5000, 5010, 1);
    PT_REQUIRE_OK(peat_flush(pair.primary.db));
    again = seed_whole(&pair);
    pt_test_context("%" PRIu64 " bytes, then %" PRIu64, all, again);
    PT_REQUIRE(again < all / 2);
    pt_pair_require_equal(&pair);
    pt_pair_close(&pair);
}

/* The follower's own flushes gave out ids that the primary's have, too: the states that it keeps stay what they were. */
static void segments_of_equal_ids_are_not_taken_for_each_other(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_snapshot *before;
    struct peat_snapshot *kept;
    uint8_t digests[STATES][32];
    uint8_t digest[32];
    char name[NAME_SIZE];
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    seed_begin(&pair);
    for (unsigned i = 0; i < STATES; i++) {
        put_many(pair.primary.db, i * 40, i * 40 + 80, i);
        pt_pair_follow(&pair, &dice);
        (void)snprintf(name, sizeof(name), "state %u", i);
        PT_REQUIRE_OK(peat_flush(pair.follower.db));
        PT_REQUIRE_OK(peat_snapshot_persist(pair.follower.db, name, NULL));
        pt_test_digest(pair.follower.db, digests[i]);
    }
    PT_REQUIRE_OK(peat_snapshot_open(pair.follower.db, &before));
    put_many(pair.primary.db, 0, 40, 99);
    PT_REQUIRE_OK(peat_flush(pair.primary.db));
    (void)seed_whole(&pair);
    pt_pair_require_equal(&pair);
    PT_REQUIRE_OK(peat_digest(before, NULL, NULL, digest, NULL));
    PT_REQUIRE(memcmp(digest, digests[STATES - 1], 32) == 0);
    peat_snapshot_close(before);
    PT_REQUIRE_OK(peat_abort(pair.follower.db));
    pt_side_open(&pair.follower);
    for (unsigned i = 0; i < STATES; i++) {
        (void)snprintf(name, sizeof(name), "state %u", i);
        PT_REQUIRE_OK(peat_history_open(pair.follower.db, name, 0, &kept));
        PT_REQUIRE_OK(peat_digest(kept, NULL, NULL, digest, NULL));
        PT_REQUIRE(memcmp(digest, digests[i], 32) == 0);
        peat_snapshot_close(kept);
    }
    pt_pair_require_equal(&pair);
    pt_pair_write(&pair, &dice, 100, true);
    pt_pair_follow(&pair, &dice);
    pt_pair_require_equal(&pair);
    pt_pair_close(&pair);
}

static void a_reader_sees_the_state_in_one_step(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct pt_pair pair;
    struct peat_db *reader;
    uint8_t digests[2][32];
    (void)state;

    pair_make(&pair, &dice);
    PT_REQUIRE_OK(
        peat_close(pair.follower.db)); /* so that the reader's locks are not this process's own */
    pt_side_open(&pair.follower);
    PT_REQUIRE_OK(peat_open(pair.follower.path, &options, &reader));
    PT_REQUIRE(pt_test_newest(reader) == 0);
    (void)seed_whole(&pair);
    PT_REQUIRE_OK(peat_refresh(reader));
    PT_REQUIRE(pt_test_newest(reader) == pt_test_newest(pair.follower.db));
    pt_test_digest(reader, digests[0]);
    pt_test_digest(pair.follower.db, digests[1]);
    PT_REQUIRE(memcmp(digests[0], digests[1], 32) == 0);
    PT_REQUIRE_OK(peat_close(reader));
    pt_pair_close(&pair);
}

static void feeds_of_the_follower_get_a_gap(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_record record;
    struct peat_feed *feed;
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    seed_begin(&pair);
    PT_REQUIRE_OK(
        peat_feed_open(pair.follower.db, 1, "below", PEAT_FEED_SEALS, &feed)); /* keeps the log */
    pt_pair_write(&pair, &dice, 50, false);
    pt_pair_follow(&pair, &dice);
    PT_REQUIRE_OK(peat_feed_next(feed, 0, &record));
    pt_pair_write(&pair, &dice, 50, false);
    PT_REQUIRE_OK(peat_flush(pair.primary.db));
    (void)seed_whole(&pair);
    PT_REQUIRE_STATUS(peat_feed_next(feed, 0, &record), PEAT_GAP);
    peat_feed_close(feed);
    PT_REQUIRE_STATUS(
        peat_feed_open(pair.follower.db, PEAT_FEED_ACKNOWLEDGED, "below", PEAT_FEED_SEALS, &feed),
        PEAT_GAP);
    PT_REQUIRE_OK(peat_feed_open(pair.follower.db, pt_test_newest(pair.follower.db) + 1, "below",
                                 PEAT_FEED_SEALS, &feed));
    pt_pair_write(&pair, &dice, 5, false);
    pt_pair_follow(&pair, &dice);
    PT_REQUIRE_OK(peat_feed_next(feed, 0, &record));
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_flush(pair.follower.db));
    pt_pair_close(&pair);
}

/* ---- What comes in between ---- */

static void what_was_taken_before_it_stopped_is_not_asked_for_again(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct trouble trouble = {.dice = &dice, .flip_at = UINT64_MAX};
    struct peat_seed_info about;
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct pt_pair pair;
    uint64_t shipped = 0;
    uint64_t whole;
    enum peat_status status = PEAT_TIMEOUT;
    (void)state;

    pair_make_of_one_segment(&pair);
    PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    peat_seed_about(seed, &about);
    whole = about.size;
    while (status == PEAT_TIMEOUT) {
        uint64_t now;

        trouble.stop_after = whole / 8 + pt_dice_below(&dice, whole / 8);
        status = seed_ship(seed, seeding, &now, &trouble);
        shipped += now;
        if (status == PEAT_DONE)
            break;
        peat_seed_close(seed); /* the connection is lost; the next one hands out a newer state */
        put_many(pair.primary.db, 5000, 5010, shipped);
        PT_REQUIRE_OK(peat_flush(pair.primary.db));
        PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
        peat_seeding_restart(seeding);
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    PT_REQUIRE_OK(peat_seeding_finish(seeding));
    pt_test_context("%" PRIu64 " bytes shipped of %" PRIu64, shipped, whole);
    PT_REQUIRE(shipped < whole + whole / 2);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    pt_pair_require_equal(&pair);
    pt_pair_close(&pair);
}

/* Bytes that nothing else can use. */
static uint64_t used_size(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats.file_size - stats.free_size;
}

static void what_was_taken_takes_no_space_when_it_is_shown_or_forgotten(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct trouble half = {.stop_after = 2000000, .flip_at = UINT64_MAX};
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct pt_pair pair;
    uint64_t shipped;
    uint64_t used;
    (void)state;

    pt_pair_make(&pair);
    seed_begin(&pair);
    peat_feed_close(pair.feed); /* so that the log can go */
    pair.feed = NULL;
    PT_REQUIRE_OK(peat_feed_drop(pair.primary.db, "follower"));
    put_many(pair.primary.db, 0, 4000, 0);
    PT_REQUIRE_OK(peat_flush(pair.primary.db));
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
    used = used_size(pair.follower.db);
    PT_REQUIRE_STATUS(seed_ship(seed, seeding, &shipped, &half), PEAT_TIMEOUT);
    PT_REQUIRE(used_size(pair.follower.db) > used + half.stop_after / 2);
    peat_seeding_forget(seeding);
    PT_REQUIRE(used_size(pair.follower.db) <= used + half.stop_after / 8);
    PT_REQUIRE_STATUS(seed_ship(seed, seeding, &shipped, &none), PEAT_DONE);
    PT_REQUIRE_OK(peat_seeding_finish(seeding));
    peat_seed_close(seed);
    feed_anew(&pair, pt_test_newest(pair.follower.db));
    put_many(pair.primary.db, 0, 4000, 1);
    pt_pair_follow(&pair, &dice);
    PT_REQUIRE_OK(peat_compact(pair.follower.db, NULL, NULL, NULL, NULL));
    used = used_size(pair.follower.db);
    pt_test_context("%" PRIu64 " bytes used", used);
    PT_REQUIRE(used <
               UINT64_C(9) * 4000 * 1000 / 4); /* of the entries: the state is another once */
    peat_seeding_close(seeding);
    pt_pair_close(&pair);
}

static void damaged_bytes_are_refused_and_nothing_is_shown_of_them(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_seeding *seeding;
    struct peat_seed_info about;
    struct peat_seed *seed;
    struct pt_pair pair;
    uint64_t count = pt_test_number("PEAT_FLIPS", 400);
    (void)state;

    pair_make(&pair, &dice);
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    peat_seed_about(seed, &about);
    for (uint64_t i = 0; i < count; i++) {
        struct trouble trouble = {.flip_at = i < 100 ? i : pt_dice_below(&dice, about.size)};
        uint64_t shipped;
        enum peat_status status;

        pt_test_context("byte %" PRIu64, trouble.flip_at);
        PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
        status = seed_ship(seed, seeding, &shipped, &trouble);
        PT_REQUIRE(status == PEAT_CORRUPT || status == PEAT_VERSION);
        PT_REQUIRE_STATUS(peat_seeding_finish(seeding), PEAT_INVALID);
        PT_REQUIRE(pt_test_newest(pair.follower.db) == 0);
        if (i % 50 == 0) { /* it can begin anew */
            peat_seeding_restart(seeding);
            PT_REQUIRE_STATUS(seed_ship(seed, seeding, &shipped, &none), PEAT_DONE);
        }
        peat_seeding_close(seeding);
    }
    peat_seed_close(seed);
    PT_REQUIRE_OK(peat_check(pair.follower.db, NULL, NULL, NULL));
    (void)seed_whole(&pair);
    pt_pair_close(&pair);
}

static void bytes_that_were_not_asked_for_are_refused(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_seed_range range;
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct peat_bytes bytes;
    struct pt_pair pair;
    uint64_t size;
    (void)state;

    pair_make(&pair, &dice);
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
    PT_REQUIRE(peat_seeding_next(seeding, 10, &range) && range.part == 0 && range.size == 10);
    PT_REQUIRE(!peat_seeding_next(seeding, 10, &range)); /* it is not known how much there is */
    PT_REQUIRE_OK(peat_seed_read(seed, 0, 0, 10, &bytes, &size));
    PT_REQUIRE_STATUS(peat_seeding_write(seeding, 0, 1, size, bytes), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seeding_write(seeding, 1, 0, size, bytes), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seeding_write(seeding, 0, 0, 9, bytes), PEAT_CORRUPT);
    peat_seeding_restart(seeding);
    PT_REQUIRE_STATUS(peat_seeding_write(seeding, 0, 0, UINT64_MAX, bytes), PEAT_CORRUPT);
    PT_REQUIRE_STATUS(peat_seeding_finish(seeding), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seed_read(seed, UINT64_MAX, 0, 10, &bytes, &size), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seed_read(seed, 0, UINT64_MAX, 10, &bytes, &size), PEAT_INVALID);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    pt_pair_close(&pair);
}

static void a_state_that_is_not_newer_is_refused(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct pt_pair pair;
    uint64_t shipped;
    (void)state;

    pair_make(&pair, &dice);
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    (void)seed_whole(&pair);
    PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
    PT_REQUIRE_STATUS(seed_ship(seed, seeding, &shipped, &none), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seeding_finish(seeding), PEAT_INVALID);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    pt_pair_close(&pair);
}

/* ---- Identities ---- */

static void an_identity_is_taken_on_by_an_empty_follower_alone(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_identity ours;
    struct peat_identity theirs;
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    PT_REQUIRE_OK(peat_identity_get(pair.primary.db, &ours));
    PT_REQUIRE_OK(peat_identity_get(pair.follower.db, &theirs));
    PT_REQUIRE(memcmp(&ours, &theirs, sizeof(ours)) != 0);
    PT_REQUIRE_STATUS(peat_identity_adopt(pair.primary.db, &theirs), PEAT_INVALID);
    PT_REQUIRE_OK(peat_identity_adopt(pair.follower.db, &ours));
    PT_REQUIRE_OK(peat_identity_adopt(pair.follower.db, &ours));
    PT_REQUIRE_OK(peat_abort(pair.follower.db));
    pt_side_open(&pair.follower);
    PT_REQUIRE_OK(peat_identity_get(pair.follower.db, &theirs));
    PT_REQUIRE(memcmp(&ours, &theirs, sizeof(ours)) == 0);
    pt_pair_write(&pair, &dice, 100, true);
    pt_pair_follow(&pair, &dice);
    pt_pair_require_equal(&pair);
    theirs.bytes[3] ^= 1;
    PT_REQUIRE_STATUS(peat_identity_adopt(pair.follower.db, &theirs), PEAT_INVALID);
    PT_REQUIRE_OK(peat_flush(pair.follower.db));
    pt_pair_close(&pair);
}

static void a_state_of_another_identity_is_refused(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct pt_pair pair;
    uint64_t shipped;
    (void)state;

    memset(&pair, 0, sizeof(pair));
    pt_side_make(&pair.primary, "primary", 0);
    pt_side_make(&pair.follower, "follower", PEAT_FOLLOWER);
    pt_pair_write(&pair, &dice, 20, false);
    PT_REQUIRE_OK(peat_flush(pair.primary.db));
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
    PT_REQUIRE_STATUS(seed_ship(seed, seeding, &shipped, &none), PEAT_CORRUPT);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    PT_REQUIRE_STATUS(peat_seeding_open(pair.primary.db, &seeding), PEAT_INVALID);
    pt_pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_shows_the_state_and_goes_on_with_the_log_behind_it),
        cmocka_unit_test(what_the_follower_has_is_not_asked_for),
        cmocka_unit_test(segments_of_equal_ids_are_not_taken_for_each_other),
        cmocka_unit_test(a_reader_sees_the_state_in_one_step),
        cmocka_unit_test(feeds_of_the_follower_get_a_gap),
        cmocka_unit_test(what_was_taken_before_it_stopped_is_not_asked_for_again),
        cmocka_unit_test(what_was_taken_takes_no_space_when_it_is_shown_or_forgotten),
        cmocka_unit_test(damaged_bytes_are_refused_and_nothing_is_shown_of_them),
        cmocka_unit_test(bytes_that_were_not_asked_for_are_refused),
        cmocka_unit_test(a_state_that_is_not_newer_is_refused),
        cmocka_unit_test(an_identity_is_taken_on_by_an_empty_follower_alone),
        cmocka_unit_test(a_state_of_another_identity_is_refused),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

/*
 * The property: an earlier snapshot shows what the store showed at that commit, or there is none; and parts of a snapshot,
 * wherever they are cut, have the sums that they have by themselves, and the digest of all where they are not cut. PEAT_SEED=n
 * repeats a run.
 */
#include "tests/failing_calls.h"
#include "tests/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { COMMITS = 600, PARTS_MAX = 4000, KEY_MAX = 64, DIGEST_SIZE = 32 };

/* ---- Earlier snapshots ---- */

static uint8_t digests[COMMITS + 200][DIGEST_SIZE];

/* Some commits before the newest; how many of them could be shown. */
static unsigned earlier_check(struct peat_db *db, struct pt_dice *dice)
{
    struct peat_snapshot *snapshot;
    struct peat_snapshot *earlier;
    uint8_t digest[DIGEST_SIZE];
    unsigned shown = 0;
    uint64_t newest;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    newest = peat_snapshot_commit(snapshot);
    PT_REQUIRE_STATUS(peat_snapshot_open_at(snapshot, newest + 1, &earlier), PEAT_INVALID);
    for (unsigned i = 0; i < 5 && newest > 0; i++) {
        uint64_t commit = newest - pt_dice_below(dice, newest < 30 ? newest : 30);
        enum peat_status status = peat_snapshot_open_at(snapshot, commit, &earlier);

        if (status == PEAT_GAP && commit < newest)
            continue;
        PT_REQUIRE_OK(status);
        PT_REQUIRE(peat_snapshot_commit(earlier) == commit);
        PT_REQUIRE_OK(peat_digest(earlier, NULL, NULL, digest, NULL));
        PT_REQUIRE(memcmp(digest, digests[commit], DIGEST_SIZE) == 0);
        peat_snapshot_close(earlier);
        shown += commit < newest;
    }
    peat_snapshot_close(snapshot);
    return shown;
}

static void an_earlier_snapshot_shows_what_was_there_at_its_commit(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct pt_pair pair;
    struct peat_db *reader;
    unsigned shown[2] = {0, 0};
    (void)state;

    memset(&pair, 0, sizeof(pair));
    pt_side_make(&pair.primary, "primary", 0);
    PT_REQUIRE_OK(peat_sync(pair.primary.db));
    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(pair.primary.path, &options, &reader));
    for (unsigned i = 0; i < COMMITS; i++) {
        pt_test_commit_random(pair.primary.db, &dice, true);
        pt_test_digest(pair.primary.db, digests[pt_test_newest(pair.primary.db)]);
        if (pt_dice_one_in(&dice, 60))
            PT_REQUIRE_OK(peat_flush(pair.primary.db));
        if (pt_dice_one_in(&dice, 10))
            shown[0] += earlier_check(pair.primary.db, &dice);
        if (!pt_dice_one_in(&dice, 20))
            continue;
        PT_REQUIRE_OK(peat_refresh(reader));
        shown[1] += earlier_check(reader, &dice);
    }
    PT_REQUIRE(shown[0] > 20 && shown[1] > 10);
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE_OK(peat_close(pair.primary.db));
}

static void an_earlier_snapshot_outlives_the_one_it_is_of(void **state)
{
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_snapshot *snapshot;
    struct peat_snapshot *earlier;
    struct peat_bytes value;
    (void)state;

    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("old")));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("new")));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_snapshot_open_at(snapshot, peat_snapshot_commit(snapshot) - 1, &earlier));
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_flush(db));
    PT_REQUIRE_OK(peat_get(earlier, NULL, pt_text("key"), &value));
    PT_REQUIRE(pt_same(value, pt_text("old")));
    peat_snapshot_close(earlier);
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_STATUS(peat_snapshot_open_at(snapshot, peat_snapshot_commit(snapshot) - 1, &earlier),
                      PEAT_GAP);
    PT_REQUIRE(earlier == NULL);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

static void nothing_before_a_revert_is_shown_by_what_came_of_it(void **state)
{
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_snapshot *snapshot;
    struct peat_snapshot *earlier;
    struct peat_bytes value;
    uint64_t newest;
    (void)state;

    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("kept")));
    PT_REQUIRE_OK(peat_snapshot_persist(db, "kept", NULL));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("other")));
    PT_REQUIRE_OK(peat_revert(db, "kept", 0, NULL));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("newest")));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    newest = peat_snapshot_commit(snapshot);
    PT_REQUIRE_OK(peat_snapshot_open_at(snapshot, newest - 1, &earlier));
    PT_REQUIRE_OK(peat_get(earlier, NULL, pt_text("key"), &value));
    PT_REQUIRE(pt_same(value, pt_text("kept")));
    peat_snapshot_close(earlier);
    PT_REQUIRE_STATUS(peat_snapshot_open_at(snapshot, newest - 2, &earlier), PEAT_GAP);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Tallies ---- */

/* A part and its sum. */
struct part {
    struct peat_tally_sum sum;
    struct peat_place high; /* of all but the last */
    uint8_t key[KEY_MAX];
};

static struct part parts[PARTS_MAX];

static struct peat_tally_sum sum_of(const struct peat_snapshot *snapshot,
                                    const struct peat_place *low, const struct peat_place *high,
                                    uint64_t step)
{
    struct peat_tally_sum sum = {.struct_size = sizeof(sum)};
    struct peat_tally *tally;
    enum peat_status status;

    PT_REQUIRE_OK(peat_tally_open(snapshot, low, high, &tally));
    do {
        status = peat_tally_add(tally, step, NULL);
    } while (status == PEAT_OK);
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    PT_REQUIRE_OK(peat_tally_take(tally, &sum));
    peat_tally_close(tally);
    return sum;
}

/* Cut all of it into parts, here and there. */
static size_t parts_cut(const struct peat_snapshot *snapshot, struct pt_dice *dice)
{
    struct peat_tally *tally;
    size_t count = 0;
    enum peat_status status;

    PT_REQUIRE_OK(peat_tally_open(snapshot, NULL, NULL, &tally));
    do {
        struct part *part = &parts[count];
        struct peat_place place;
        uint64_t entries = 1 + pt_dice_below(dice, 3);
        uint64_t left = entries;

        status = peat_tally_add(tally, 1 + pt_dice_below(dice, 20 * KIB), &left);
        PT_REQUIRE(left <= entries);
        if (status != PEAT_OK)
            break;
        if (peat_tally_place(tally, pt_dice_below(dice, KEY_MAX), &place) != PEAT_OK)
            continue; /* within an entry, or nothing so short parts it */
        part->sum.struct_size = sizeof(part->sum);
        PT_REQUIRE_OK(peat_tally_take(tally, &part->sum));
        memcpy(part->key, place.key.data, place.key.size);
        part->high = (struct peat_place){place.collection, {part->key, place.key.size}};
        PT_REQUIRE(++count < PARTS_MAX);
    } while (status == PEAT_OK);
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    parts[count].sum.struct_size = sizeof(parts[count].sum);
    PT_REQUIRE_OK(peat_tally_take(tally, &parts[count].sum));
    peat_tally_close(tally);
    return count + 1;
}

static void require_same_sum(const struct peat_tally_sum *a, const struct peat_tally_sum *b)
{
    PT_REQUIRE(a->entry_count == b->entry_count && a->size == b->size);
    PT_REQUIRE(a->is_damaged == b->is_damaged);
    PT_REQUIRE(memcmp(a->digest, b->digest, DIGEST_SIZE) == 0);
}

/* Keys with long beginnings in common, large values, collections. */
static void store_fill(struct peat_db *db, struct pt_dice *dice)
{
    static uint8_t value[3 * MIB];
    struct peat_collection *collection;
    uint8_t key[200];

    for (unsigned i = 0; i < 300; i++)
        pt_test_commit_random(db, dice, true);
    for (unsigned i = 0; i < 300; i++) {
        char name[2] = {(char)('a' + i % 3), 0};
        size_t size = 1 + pt_dice_below(dice, sizeof(key));

        memset(key, 'k', sizeof(key));
        key[size - 1] = (uint8_t)pt_dice_next(dice);
        PT_REQUIRE_OK(peat_collection_open(db, NULL, name, PEAT_CREATE, &collection));
        PT_REQUIRE_OK(peat_put(
            db, collection, (struct peat_bytes){key, size},
            (struct peat_bytes){value, pt_dice_below(dice, i % 100 == 7 ? sizeof(value) : 90)}));
        peat_collection_close(collection);
    }
}

static void parts_have_the_sums_that_they_have_by_themselves(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_snapshot *snapshot;
    uint8_t digest[DIGEST_SIZE];
    struct peat_tally_sum whole;
    uint64_t entry_count;
    (void)state;

    store_fill(db, &dice);
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, &entry_count));
    whole = sum_of(snapshot, NULL, NULL, 1 + pt_dice_below(&dice, MIB));
    PT_REQUIRE(whole.entry_count == entry_count && !whole.is_damaged);
    PT_REQUIRE(memcmp(whole.digest, digest, DIGEST_SIZE) == 0);
    for (unsigned i = 0; i < 3; i++) {
        size_t count = parts_cut(snapshot, &dice);
        uint64_t sum = 0;

        PT_REQUIRE(count > 30);
        for (size_t j = 0; j < count; j++) {
            struct peat_tally_sum alone =
                sum_of(snapshot, j == 0 ? NULL : &parts[j - 1].high,
                       j + 1 == count ? NULL : &parts[j].high, 1 + pt_dice_below(&dice, MIB));

            require_same_sum(&alone, &parts[j].sum);
            sum += alone.entry_count;
        }
        PT_REQUIRE(sum == entry_count);
    }
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

static void bounds_that_hold_nothing_give_the_sum_of_nothing(void **state)
{
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_place low = {PEAT_PLACE_END, {NULL, 0}};
    struct peat_place high = {1, {"key", 3}};
    struct peat_snapshot *snapshot;
    struct peat_tally *tally;
    struct peat_tally_sum sums[2];
    (void)state;

    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    sums[0] = sum_of(snapshot, &low, NULL, MIB);
    sums[1] = sum_of(snapshot, &low, &high, MIB);
    require_same_sum(&sums[0], &sums[1]);
    PT_REQUIRE(sums[0].entry_count == 0);
    sums[1] = sum_of(snapshot, &high, &low, MIB);
    PT_REQUIRE(sums[1].entry_count == 1 && sums[1].size == 8 + 1 + 3 + 5);
    high.key.data = NULL;
    PT_REQUIRE_STATUS(peat_tally_open(snapshot, &high, NULL, &tally), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_open(NULL, NULL, NULL, &tally), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_add(NULL, 1, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_take(NULL, &sums[0]), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_place(NULL, 1, &low), PEAT_INVALID);
    peat_tally_close(NULL);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

static void what_is_damaged_is_passed_over_and_told(void **state)
{
    static uint8_t value[300 * KIB];
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_snapshot *snapshot;
    struct peat_tally_sum sum;
    const uint8_t mark[] = "the mark in the middle of a value";
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    char path[512];
    uint8_t *bytes;
    off_t size;
    int fd;
    (void)state;

    (void)strcpy(path, pt_test_path("store"));
    memcpy(value + sizeof(value) / 2, mark, sizeof(mark));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("a"), pt_text("before")));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("b"), (struct peat_bytes){value, sizeof(value)}));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("c"), pt_text("behind")));
    PT_REQUIRE_OK(peat_compact(db, NULL, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
    fd = open(path, O_RDWR | O_CLOEXEC);
    size = lseek(fd, 0, SEEK_END);
    bytes = malloc((size_t)size);
    PT_REQUIRE(bytes != NULL && pread(fd, bytes, (size_t)size, 0) == size);
    for (off_t i = 0; i + (off_t)sizeof(mark) <= size; i++) /* in the segment, and in old log */
        if (memcmp(bytes + i, mark, sizeof(mark)) == 0)
            PT_REQUIRE(pwrite(fd, "T", 1, i) == 1);
    free(bytes);
    PT_REQUIRE(close(fd) == 0);
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    sum = sum_of(snapshot, NULL, NULL, 1000);
    PT_REQUIRE(sum.is_damaged && sum.entry_count < 3);
    sum = sum_of(snapshot, NULL, &(struct peat_place){1, {"a", 1}}, 1000);
    PT_REQUIRE(!sum.is_damaged && sum.entry_count == 0);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Failures ---- */

/* The whole sum in steps, while calls fail; *later_out: what adding gives after that. */
static enum peat_status sum_try(const struct peat_snapshot *snapshot, struct peat_tally_sum *sum,
                                enum peat_status *later_out)
{
    static const struct peat_place low = {0, {"", 0}};
    struct peat_tally *tally;
    enum peat_status status = peat_tally_open(snapshot, &low, NULL, &tally);

    *later_out = status;
    PT_REQUIRE((tally != NULL) == (status == PEAT_OK));
    while (status == PEAT_OK)
        status = peat_tally_add(tally, 3000, NULL);
    if (status == PEAT_DONE)
        status = peat_tally_take(tally, sum);
    else if (tally != NULL)
        *later_out = peat_tally_add(tally, 3000, NULL);
    peat_tally_close(tally);
    return status;
}

/* A sum that fails fails for good, and one that is given is right, or says that something could not be read. */
static void whatever_fails_no_sum_is_a_wrong_one(void **state)
{
    static const enum pt_failing_kind kinds[] = {PT_FAILING_CALLS, PT_FAILING_ALLOCATIONS};
    struct pt_dice dice = {7};
    struct peat_snapshot *snapshot;
    struct peat_snapshot *earlier;
    struct peat_tally_sum right;
    struct pt_side side;
    (void)state;

    pt_failing_install();
    pt_side_make(&side, "store", 0);
    for (unsigned i = 0; i < 200; i++)
        pt_test_commit_random(side.db, &dice, false);
    PT_REQUIRE_OK(peat_flush(side.db));
    PT_REQUIRE_OK(peat_snapshot_open(side.db, &snapshot));
    right = sum_of(snapshot, NULL, NULL, 1000);
    peat_snapshot_close(snapshot);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t failures = 1;

        for (uint64_t at = 0; failures > 0; at++) {
            struct pt_failing failing = {.kind = kinds[i], .at = at, .error_number = EIO};
            struct peat_tally_sum sum = {.struct_size = sizeof(sum)};
            enum peat_status status;
            enum peat_status later;

            failing.count = 1 + at % 2;         /* one alone may be tried again */
            PT_REQUIRE_OK(peat_close(side.db)); /* so that nothing is verified */
            pt_side_open(&side);
            PT_REQUIRE_OK(peat_snapshot_open(side.db, &snapshot));
            pt_test_context("kind %u, call %" PRIu64, i, at);
            pt_failing_start(&failing);
            status = sum_try(snapshot, &sum, &later);
            failures = pt_failing_end();
            if (status != PEAT_OK) {
                PT_REQUIRE(failures > 0 && status == later);
                PT_REQUIRE(status == PEAT_NO_MEMORY || (i == 0 && status == PEAT_IO));
            } else if (sum.is_damaged) {
                PT_REQUIRE(failures > 0 && sum.entry_count < right.entry_count);
            } else {
                require_same_sum(&sum, &right);
            }
            sum = sum_of(snapshot, NULL, NULL, 1000);
            if (i == 1)
                require_same_sum(&sum, &right);
            peat_snapshot_close(snapshot);
            PT_REQUIRE(at < 2000);
        }
    }
    PT_REQUIRE_OK(peat_snapshot_open(side.db, &snapshot));
    pt_failing_start(&(struct pt_failing){.kind = PT_FAILING_ALLOCATIONS, .count = 1});
    PT_REQUIRE_STATUS(peat_snapshot_open_at(snapshot, peat_snapshot_commit(snapshot), &earlier),
                      PEAT_NO_MEMORY);
    PT_REQUIRE(pt_failing_end() == 1 && earlier == NULL);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(side.db));
    pt_failing_remove();
}

static void arguments_that_are_missing_are_refused(void **state)
{
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_tally_sum sum = {.struct_size = sizeof(sum)};
    struct peat_tally_sum no_size = {.struct_size = 0};
    struct peat_snapshot *snapshot;
    struct peat_snapshot *earlier;
    struct peat_tally *tally;
    struct peat_place place;
    uint64_t left = 1;
    (void)state;

    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("a value")));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_STATUS(peat_snapshot_open_at(NULL, 1, &earlier), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_snapshot_open_at(snapshot, 1, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_open(NULL, NULL, NULL, &tally), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_open(snapshot, NULL, NULL, NULL), PEAT_INVALID);
    PT_REQUIRE_OK(peat_tally_open(snapshot, NULL, NULL, &tally));
    PT_REQUIRE_STATUS(peat_tally_add(NULL, 1, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_place(NULL, 9, &place), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_place(tally, 9, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_place(tally, 9, &place),
                      PEAT_NOT_FOUND); /* nothing is before it */
    PT_REQUIRE_STATUS(peat_tally_take(NULL, &sum), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_take(tally, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_tally_take(tally, &no_size), PEAT_INVALID);
    PT_REQUIRE_OK(peat_tally_add(tally, 1, &left));
    PT_REQUIRE_STATUS(peat_tally_place(tally, 9, &place), PEAT_BUSY);
    PT_REQUIRE_STATUS(peat_tally_take(tally, &sum), PEAT_BUSY);
    PT_REQUIRE_STATUS(peat_tally_add(tally, 1000, &left), PEAT_DONE);
    PT_REQUIRE_STATUS(peat_tally_place(tally, 9, &place), PEAT_DONE);
    PT_REQUIRE_OK(peat_tally_take(tally, &sum)); /* what was refused is not in it */
    PT_REQUIRE(left == 0 && sum.entry_count == 1);
    peat_tally_close(tally);
    peat_tally_close(NULL);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_earlier_snapshot_shows_what_was_there_at_its_commit),
        cmocka_unit_test(an_earlier_snapshot_outlives_the_one_it_is_of),
        cmocka_unit_test(nothing_before_a_revert_is_shown_by_what_came_of_it),
        cmocka_unit_test(parts_have_the_sums_that_they_have_by_themselves),
        cmocka_unit_test(bounds_that_hold_nothing_give_the_sum_of_nothing),
        cmocka_unit_test(what_is_damaged_is_passed_over_and_told),
        cmocka_unit_test(whatever_fails_no_sum_is_a_wrong_one),
        cmocka_unit_test(arguments_that_are_missing_are_refused),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

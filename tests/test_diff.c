/*
 * The property: the difference of two snapshots is exactly the keys whose values differ, in order,
 * however the snapshots came about; and what both share is not read for it.
 */
#include "tests/compare.h"
#include "tests/fixture.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { STEPS = 600, KEYS = 400, KEY_SIZE = 16, SIDES = 6, COMPARES = 4 };

/* ---- Against the oracle ---- */

/* A snapshot and what it must show. */
struct side {
    struct peat_snapshot *snapshot; /* NULL: none */
    uint64_t commit;                /* of the oracle */
};

struct run {
    struct pt_fixture *fixture;
    struct pt_dice dice;
    struct pt_oracle_collection *root;
    struct pt_oracle_collection *models[2];
    struct peat_collection *collections[2]; /* the first is the root */
    uint64_t commit;
    struct side sides[SIDES];
    unsigned names; /* kept states so far: their names are numbers */
};

/* What is still to come of an expected difference. */
struct expectation {
    struct pt_oracle_view from;
    struct pt_oracle_view to;
    size_t i;
    size_t k;
    uint64_t told;
    uint64_t stop_after;
};

static bool value_is(struct pt_oracle_value expected, struct peat_bytes value)
{
    return value.data != NULL && value.size == expected.size &&
           pt_value_matches(expected.seed, value);
}

/* The next key that must be told, with its values; false: none. */
static bool expect_next(struct expectation *expected, const struct pt_oracle_entry **from,
                        const struct pt_oracle_entry **to)
{
    while (expected->i < expected->from.count || expected->k < expected->to.count) {
        int order = expected->k == expected->to.count ? -1 : 1;

        *from = NULL;
        *to = NULL;
        if (expected->i < expected->from.count && expected->k < expected->to.count)
            order = pt_oracle_compare(expected->from.entries[expected->i].key,
                                      expected->to.entries[expected->k].key);
        if (order <= 0)
            *from = &expected->from.entries[expected->i++];
        if (order >= 0)
            *to = &expected->to.entries[expected->k++];
        if (*from == NULL || *to == NULL || (*from)->value.seed != (*to)->value.seed ||
            (*from)->value.size != (*to)->value.size)
            return true;
    }
    return false;
}

static bool compare_told(void *context, const struct peat_difference *difference)
{
    struct expectation *expected = context;
    const struct pt_oracle_entry *from;
    const struct pt_oracle_entry *to;

    PT_REQUIRE(expect_next(expected, &from, &to));
    PT_REQUIRE(pt_same(difference->key, from != NULL ? from->key : to->key));
    PT_REQUIRE((difference->from.data == NULL) == (from == NULL));
    PT_REQUIRE((difference->to.data == NULL) == (to == NULL));
    PT_REQUIRE(from == NULL || value_is(from->value, difference->from));
    PT_REQUIRE(to == NULL || value_is(to->value, difference->to));
    return ++expected->told < expected->stop_after;
}

static void compare_sides(struct run *run, const struct side *from, const struct side *to)
{
    unsigned which = (unsigned)pt_dice_below(&run->dice, 2);
    struct expectation expected = {.stop_after = UINT64_MAX};
    const struct pt_oracle_entry *left[2];

    if (pt_dice_one_in(&run->dice, 5))
        expected.stop_after = 1 + pt_dice_below(&run->dice, 20);
    pt_oracle_view_init(&expected.from, run->models[which], from->commit, NULL);
    pt_oracle_view_init(&expected.to, run->models[which], to->commit, NULL);
    PT_REQUIRE_OK(
        peat_diff(from->snapshot, to->snapshot, run->collections[which], compare_told, &expected));
    PT_REQUIRE(expected.told <= expected.stop_after);
    if (expected.told < expected.stop_after)
        PT_REQUIRE(!expect_next(&expected, &left[0], &left[1]));
    pt_oracle_view_fini(&expected.from);
    pt_oracle_view_fini(&expected.to);
}

static struct peat_bytes key_choose(struct run *run, char text[KEY_SIZE])
{
    struct peat_bytes key = {text, 0};

    key.size = (size_t)snprintf(text, KEY_SIZE, "k%04" PRIu64, pt_dice_below(&run->dice, KEYS));
    return key;
}

static void operation_add(struct run *run, uint64_t commit)
{
    unsigned which = (unsigned)pt_dice_below(&run->dice, 2);
    uint64_t choice = pt_dice_below(&run->dice, 100);
    struct pt_oracle_value value = {pt_dice_next(&run->dice), pt_dice_below(&run->dice, 300)};
    char low_text[KEY_SIZE];
    char high_text[KEY_SIZE];
    struct peat_bytes low = key_choose(run, low_text);
    struct peat_bytes high = key_choose(run, high_text);
    struct peat_batch *batch = run->fixture->batch;
    void *place;

    if (choice < 75) {
        PT_REQUIRE_OK(
            peat_batch_put_reserve(batch, run->collections[which], low, value.size, &place));
        pt_value_fill(value.seed, place, value.size);
        pt_oracle_put(run->models[which], low, value, commit);
    } else if (choice < 97) {
        PT_REQUIRE_OK(peat_batch_delete(batch, run->collections[which], low));
        pt_oracle_delete(run->models[which], low, commit);
    } else {
        if (pt_dice_one_in(&run->dice, 10))
            high = pt_none;
        PT_REQUIRE_OK(peat_batch_delete_range(batch, run->collections[which], low, high));
        if (high.data == NULL || pt_oracle_compare(low, high) < 0)
            pt_oracle_delete_range(run->models[which], low, high, commit);
    }
}

static void step_write(struct run *run)
{
    uint64_t count = 1 + pt_dice_below(&run->dice, pt_dice_one_in(&run->dice, 10) ? 300 : 6);
    uint64_t commit = 0;

    for (uint64_t i = 0; i < count; i++)
        operation_add(run, run->commit + 1);
    if (peat_batch_count(run->fixture->batch) == 0)
        return;
    PT_REQUIRE_OK(peat_write(run->fixture->db, run->fixture->batch, PEAT_DEFAULT, &commit));
    peat_batch_clear(run->fixture->batch);
    PT_REQUIRE(commit == ++run->commit);
}

static void side_take(struct run *run)
{
    struct side *side = &run->sides[pt_dice_below(&run->dice, SIDES)];
    char name[16];

    peat_snapshot_close(side->snapshot);
    side->commit = run->commit;
    if (pt_dice_one_in(&run->dice, 3)) {
        (void)snprintf(name, sizeof(name), "%u", run->names++);
        PT_REQUIRE_OK(peat_snapshot_persist(run->fixture->db, name, NULL));
        PT_REQUIRE_OK(peat_history_open(run->fixture->db, name, 0, &side->snapshot));
        PT_REQUIRE(peat_snapshot_commit(side->snapshot) == run->commit);
        PT_REQUIRE_OK(peat_history_drop(run->fixture->db, name, 0));
    } else {
        PT_REQUIRE_OK(peat_snapshot_open(run->fixture->db, &side->snapshot));
    }
}

static void step(struct run *run)
{
    uint64_t choice = pt_dice_below(&run->dice, 100);

    if (choice < 55) {
        step_write(run);
    } else if (choice < 75) {
        side_take(run);
    } else if (choice < 85) {
        PT_REQUIRE_OK(peat_flush(run->fixture->db));
    } else if (choice < 87) {
        PT_REQUIRE_OK(peat_wait_idle(run->fixture->db, 60000));
    } else {
        for (unsigned i = 0; i < COMPARES; i++) {
            const struct side *from = &run->sides[pt_dice_below(&run->dice, SIDES)];
            const struct side *to = &run->sides[pt_dice_below(&run->dice, SIDES)];

            if (from->snapshot != NULL && to->snapshot != NULL)
                compare_sides(run, from, to);
        }
    }
}

static void differences_are_those_of_the_oracle(void **state)
{
    uint64_t seed = pt_test_seed();
    struct run run = {.fixture = *state, .dice = {seed}, .root = pt_oracle_new(), .commit = 1};

    run.models[0] = run.root;
    run.models[1] = pt_oracle_create(run.root, "other", 1);
    PT_REQUIRE_OK(
        peat_collection_open(run.fixture->db, NULL, "other", PEAT_CREATE, &run.collections[1]));
    for (unsigned i = 0; i < STEPS; i++) {
        pt_test_context("PEAT_SEED=%" PRIu64 ", step %u, commit %" PRIu64, seed, i, run.commit);
        step(&run);
    }
    pt_test_context("%s", "");
    for (unsigned i = 0; i < SIDES; i++)
        peat_snapshot_close(run.sides[i].snapshot);
    peat_collection_close(run.collections[1]);
    pt_oracle_free(run.root);
}

/* ---- What is told ---- */

static bool note(void *context, const struct peat_difference *difference)
{
    char *text = context;
    size_t used = strlen(text);

    (void)snprintf(text + used, 1000 - used, "%s%.*s:%.*s>%.*s", used == 0 ? "" : " ",
                   (int)difference->key.size, (const char *)difference->key.data,
                   difference->from.data == NULL ? 1 : (int)difference->from.size,
                   difference->from.data == NULL ? "-" : (const char *)difference->from.data,
                   difference->to.data == NULL ? 1 : (int)difference->to.size,
                   difference->to.data == NULL ? "-" : (const char *)difference->to.data);
    return true;
}

static void require_diff(const struct peat_snapshot *from, const struct peat_snapshot *to,
                         const char *expected)
{
    char found[1000] = "";

    PT_REQUIRE_OK(peat_diff(from, to, NULL, note, found));
    assert_string_equal(found, expected);
}

static void an_empty_value_is_told_from_an_absent_one(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *before;
    struct peat_snapshot *after;

    pt_fixture_put(fixture, "a", "");
    pt_fixture_put(fixture, "b", "1");
    pt_fixture_put(fixture, "same", "1");
    before = pt_fixture_snapshot(fixture);
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("a")));
    pt_fixture_put(fixture, "b", "");
    pt_fixture_put(fixture, "c", "");
    pt_fixture_put(fixture, "same", "2");
    pt_fixture_put(fixture, "same", "1");
    after = pt_fixture_snapshot(fixture);
    require_diff(before, after, "a:>- b:1> c:->");
    require_diff(after, before, "a:-> b:>1 c:>-");
    require_diff(after, after, "");
    peat_snapshot_close(before);
    peat_snapshot_close(after);
}

static void a_revert_shows_as_what_it_undid(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *before;
    struct peat_snapshot *after;
    struct peat_snapshot *kept;

    pt_fixture_put(fixture, "a", "1");
    pt_fixture_put(fixture, "b", "1");
    PT_REQUIRE_OK(peat_snapshot_persist(fixture->db, "good", NULL));
    pt_fixture_put(fixture, "a", "2");
    pt_fixture_put(fixture, "c", "2");
    before = pt_fixture_snapshot(fixture);
    PT_REQUIRE_OK(peat_revert(fixture->db, "good", 0, NULL));
    after = pt_fixture_snapshot(fixture);
    PT_REQUIRE_OK(peat_history_open(fixture->db, "good", 0, &kept));
    require_diff(before, after, "a:2>1 c:2>-");
    require_diff(kept, after, "");
    peat_snapshot_close(before);
    peat_snapshot_close(after);
    peat_snapshot_close(kept);
}

static void snapshots_of_two_stores_are_refused(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_snapshot *here = pt_fixture_snapshot(fixture);
    struct peat_snapshot *there;
    struct peat_db *other;
    char found[1000] = "";

    PT_REQUIRE_OK(peat_open(NULL, &options, &other));
    PT_REQUIRE_OK(peat_snapshot_open(other, &there));
    PT_REQUIRE_STATUS(peat_diff(here, there, NULL, note, found), PEAT_INVALID);
    peat_snapshot_close(there);
    peat_snapshot_close(here);
    PT_REQUIRE_OK(peat_close(other));
}

/* ---- What is not read ---- */

/* Change a byte of the file wherever the @p pattern stands in it. */
static unsigned spoil(const char *path, const char *pattern)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    char *bytes = malloc((size_t)size);
    size_t length = strlen(pattern);
    unsigned count = 0;

    PT_REQUIRE(fd >= 0 && bytes != NULL && pread(fd, bytes, (size_t)size, 0) == size);
    for (char *at = bytes; (at = memmem(at, (size_t)(bytes + size - at), pattern, length)) != NULL;
         at++) {
        PT_REQUIRE(pwrite(fd, "!", 1, at - bytes) == 1);
        count++;
    }
    free(bytes);
    PT_REQUIRE(close(fd) == 0);
    return count;
}

static void what_both_share_is_not_read(void **state)
{
    struct pt_fixture *fixture = *state;
    char key[16];
    struct peat_snapshot *kept;
    struct peat_snapshot *now;
    struct peat_bytes value;

    for (unsigned i = 0; i < 30000; i++) {
        (void)snprintf(key, sizeof(key), "key%06u", i);
        PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text(key),
                                     pt_text(i == 15000 ? "a value to be found" : "value")));
    }
    pt_fixture_commit(fixture);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE_OK(peat_snapshot_persist(fixture->db, "base", NULL));
    pt_fixture_put(fixture, "key000000", "new");
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("key029999")));
    PT_REQUIRE_OK(peat_close(fixture->db));
    fixture->db = NULL;
    PT_REQUIRE(spoil(fixture->path, "a value to be found") == 1);
    {
        struct peat_options options = pt_test_options(PEAT_READ_ONLY);

        PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
    }
    PT_REQUIRE_OK(peat_history_open(fixture->db, "base", 0, &kept));
    PT_REQUIRE_OK(peat_snapshot_open(fixture->db, &now));
    PT_REQUIRE_STATUS(peat_get(now, NULL, pt_text("key015000"), &value), PEAT_CORRUPT);
    require_diff(kept, now, "key000000:value>new key029999:value>-");
    peat_snapshot_close(kept);
    peat_snapshot_close(now);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(differences_are_those_of_the_oracle),
        PT_FIXTURE_TEST(an_empty_value_is_told_from_an_absent_one),
        PT_FIXTURE_TEST(a_revert_shows_as_what_it_undid),
        PT_FIXTURE_TEST(snapshots_of_two_stores_are_refused),
        PT_FIXTURE_TEST(what_both_share_is_not_read),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("diff", tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

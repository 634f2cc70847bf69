/*
 * The property: what is written is there, whole, in its order, at the limits too: one test for each
 * sentence of the public header about writing.
 */
#include "tests/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- writing ---------------------------------------------------------------------------------- */

static void put_get_overwrite_and_delete(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_fixture_require(fixture, "key", NULL);
    pt_fixture_put(fixture, "key", "first");
    pt_fixture_require(fixture, "key", "first");
    pt_fixture_put(fixture, "key", "second");
    pt_fixture_require(fixture, "key", "second");
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("key")));
    pt_fixture_require(fixture, "key", NULL);
}

static void deleting_what_is_not_there_is_done(void **state)
{
    struct pt_fixture *fixture = *state;

    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("never there")));
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_none));
}

static void a_deleted_key_is_found_by_no_get_at_any_stage(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_fixture_put(fixture, "key", "value");
    PT_REQUIRE_OK(peat_flush(fixture->db)); /* the value is in a segment, the deletion above it */
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("key")));
    pt_fixture_require(fixture, "key", NULL);
    PT_REQUIRE_OK(peat_flush(fixture->db));
    pt_fixture_require(fixture, "key", NULL);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    pt_fixture_require(fixture, "key", NULL);
    pt_fixture_reopen(fixture, false);
    pt_fixture_require(fixture, "key", NULL);
}

static void the_empty_key_and_the_empty_value_are_like_others(void **state)
{
    struct pt_fixture *fixture = *state;

    PT_REQUIRE_OK(peat_put(fixture->db, NULL, pt_none, pt_text("of the empty key")));
    pt_fixture_put(fixture, "key", "");
    PT_REQUIRE_OK(peat_put(fixture->db, NULL, pt_text("null"), pt_none));
    for (unsigned stage = 0; stage < 3; stage++) {
        pt_fixture_require_in(fixture, NULL, pt_none, "of the empty key");
        pt_fixture_require(fixture, "", "of the empty key");
        pt_fixture_require(fixture, "key", "");
        pt_fixture_require(fixture, "null", "");
        pt_fixture_require_keys(fixture, NULL, NULL, " key null");
        if (stage == 0)
            PT_REQUIRE_OK(peat_flush(fixture->db));
        else
            pt_fixture_reopen(fixture, true);
    }
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_none));
    pt_fixture_require_in(fixture, NULL, pt_none, NULL);
    PT_REQUIRE_OK(peat_put(fixture->db, NULL, pt_none, pt_none));
    pt_fixture_require_in(fixture, NULL, pt_none, "");
}

static void the_largest_key_fits_and_a_larger_one_does_not(void **state)
{
    struct pt_fixture *fixture = *state;
    char *bytes = malloc(PEAT_KEY_SIZE_MAX + 1);
    struct peat_bytes key = {bytes, PEAT_KEY_SIZE_MAX};
    struct peat_bytes longer = {bytes, PEAT_KEY_SIZE_MAX + 1};
    struct peat_bytes value;
    size_t size;

    PT_REQUIRE(bytes != NULL);
    memset(bytes, 'k', PEAT_KEY_SIZE_MAX + 1);
    PT_REQUIRE_OK(peat_put(fixture->db, NULL, key, pt_text("value")));
    PT_REQUIRE_STATUS(peat_put(fixture->db, NULL, longer, pt_text("value")), PEAT_TOO_LARGE);
    PT_REQUIRE_STATUS(peat_delete(fixture->db, NULL, longer), PEAT_TOO_LARGE);
    for (unsigned stage = 0; stage < 3; stage++) {
        struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);

        PT_REQUIRE_OK(peat_get(snapshot, NULL, key, &value));
        PT_REQUIRE(pt_same(value, pt_text("value")));
        key.size--;
        PT_REQUIRE_STATUS(peat_get(snapshot, NULL, key, &value), PEAT_NOT_FOUND);
        key.size++;
        peat_snapshot_close(snapshot);
        if (stage == 0)
            PT_REQUIRE_OK(peat_flush(fixture->db));
        else
            pt_fixture_reopen(fixture, true);
    }
    PT_REQUIRE_STATUS(peat_get_copy(fixture->db, NULL, key, NULL, 0, &size), PEAT_TOO_LARGE);
    PT_REQUIRE(size == 5);
    free(bytes);
}

static void a_value_of_70_mib_is_stored_and_read(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_bytes value = {NULL, (size_t)70 << 20};
    void *place = NULL;

    PT_REQUIRE_OK(
        peat_batch_put_reserve(fixture->batch, NULL, pt_text("jumbo"), value.size, &place));
    pt_value_fill(1, place, value.size);
    PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text("beside"), pt_text("value")));
    pt_fixture_commit(fixture);
    for (unsigned stage = 0; stage < 3; stage++) {
        struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);

        PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text("jumbo"), &value));
        PT_REQUIRE(value.size == (size_t)70 << 20 && pt_value_matches(1, value));
        pt_fixture_require(fixture, "beside", "value");
        peat_snapshot_close(snapshot);
        if (stage == 0)
            pt_fixture_reopen(fixture, true);
        else
            PT_REQUIRE_OK(peat_flush(fixture->db));
    }
}

static void a_value_above_the_limit_is_too_large(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_bytes value = {"unread", PEAT_VALUE_SIZE_MAX + 1};
    void *place = NULL;

    PT_REQUIRE_STATUS(peat_put(fixture->db, NULL, pt_text("key"), value), PEAT_TOO_LARGE);
    PT_REQUIRE_STATUS(peat_batch_put(fixture->batch, NULL, pt_text("key"), value), PEAT_TOO_LARGE);
    PT_REQUIRE_STATUS(peat_batch_put_reserve(fixture->batch, NULL, pt_text("key"),
                                             PEAT_VALUE_SIZE_MAX + 1, &place),
                      PEAT_TOO_LARGE);
    pt_fixture_require(fixture, "key", NULL);
}

static void null_bytes_with_a_size_are_invalid(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_batch *batch = fixture->batch;
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    struct peat_bytes value;
    void *place = NULL;
    size_t size;

    PT_REQUIRE_STATUS(peat_put(fixture->db, NULL, pt_null_with_size, pt_none), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_put(fixture->db, NULL, pt_none, pt_null_with_size), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_delete(fixture->db, NULL, pt_null_with_size), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_batch_put(batch, NULL, pt_null_with_size, pt_none), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_batch_put(batch, NULL, pt_none, pt_null_with_size), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_batch_put_reserve(batch, NULL, pt_null_with_size, 1, &place),
                      PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_batch_delete(batch, NULL, pt_null_with_size), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_batch_delete_range(batch, NULL, pt_null_with_size, pt_none),
                      PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_batch_delete_range(batch, NULL, pt_none, pt_null_with_size),
                      PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_get(snapshot, NULL, pt_null_with_size, &value), PEAT_INVALID);
    PT_REQUIRE_STATUS(
        peat_get_copy(fixture->db, NULL, pt_null_with_size, &size, sizeof(size), &size),
        PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_get_many(snapshot, NULL, &pt_null_with_size, 1, &value), PEAT_INVALID);
    peat_snapshot_close(snapshot);
    PT_REQUIRE(peat_batch_count(batch) == 0);
}

static void a_failed_operation_leaves_the_batch_as_it_was(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_batch *batch = fixture->batch;
    struct peat_bytes huge = {"unread", PEAT_VALUE_SIZE_MAX + 1};
    size_t size;

    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("key"), pt_text("value")));
    size = peat_batch_size(batch);
    PT_REQUIRE(size > 0);
    PT_REQUIRE_STATUS(peat_batch_put(batch, NULL, pt_text("key"), huge), PEAT_TOO_LARGE);
    PT_REQUIRE_STATUS(peat_batch_put(batch, NULL, pt_null_with_size, pt_none), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_batch_delete(batch, NULL, pt_null_with_size), PEAT_INVALID);
    PT_REQUIRE(peat_batch_count(batch) == 1 && peat_batch_size(batch) == size);
    pt_fixture_commit(fixture);
    pt_fixture_require(fixture, "key", "value");
}

static void the_last_of_several_operations_on_a_key_wins(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_batch *batch = fixture->batch;

    pt_fixture_put(fixture, "c", "old");
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("a"), pt_text("1")));
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("b"), pt_text("1")));
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("a"), pt_text("2")));
    PT_REQUIRE_OK(peat_batch_delete(batch, NULL, pt_text("b")));
    PT_REQUIRE_OK(peat_batch_delete(batch, NULL, pt_text("c")));
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("c"), pt_text("3")));
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("d"), pt_text("4")));
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("e"), pt_text("4")));
    PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, pt_text("d"), pt_text("f")));
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("e"), pt_text("5")));
    PT_REQUIRE(peat_batch_count(batch) == 10);
    pt_fixture_commit(fixture);
    for (unsigned stage = 0; stage < 3; stage++) {
        pt_fixture_require(fixture, "a", "2");
        pt_fixture_require(fixture, "c", "3");
        pt_fixture_require(fixture, "e", "5");
        pt_fixture_require_keys(fixture, NULL, NULL, "a c e");
        if (stage == 0)
            pt_fixture_reopen(fixture, true);
        else
            PT_REQUIRE_OK(peat_flush(fixture->db));
    }
}

static void a_batch_can_be_written_twice_and_cleared(void **state)
{
    struct pt_fixture *fixture = *state;
    uint64_t first = 0;
    uint64_t second = 0;

    PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_write(fixture->db, fixture->batch, PEAT_OS, &first));
    PT_REQUIRE(peat_batch_count(fixture->batch) == 1);
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("key")));
    PT_REQUIRE_OK(peat_write(fixture->db, fixture->batch, PEAT_OS, &second));
    PT_REQUIRE(second == first + 2);
    pt_fixture_require(fixture, "key", "value");
    peat_batch_clear(fixture->batch);
    PT_REQUIRE(peat_batch_count(fixture->batch) == 0);
    PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text("other"), pt_text("value")));
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("key")));
    pt_fixture_commit(fixture);
    pt_fixture_require_keys(fixture, NULL, NULL, "other");
}

static void bytes_of_a_batch_are_copied(void **state)
{
    struct pt_fixture *fixture = *state;
    char key[] = "key";
    char value[] = "value";

    PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text(key), pt_text(value)));
    memset(key, 'x', 3);
    memset(value, 'x', 5);
    pt_fixture_commit(fixture);
    pt_fixture_require(fixture, "key", "value");
    pt_fixture_require(fixture, "xxx", NULL);
}

static void a_reserved_value_is_filled_in_place(void **state)
{
    struct pt_fixture *fixture = *state;
    void *place = NULL;

    PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text("a"), pt_text("before")));
    PT_REQUIRE_OK(peat_batch_put_reserve(fixture->batch, NULL, pt_text("b"), 8, &place));
    memcpy(place, "in place", 8);
    PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text("c"), pt_text("after")));
    pt_fixture_commit(fixture);
    pt_fixture_require(fixture, "a", "before");
    pt_fixture_require(fixture, "b", "in place");
    pt_fixture_require(fixture, "c", "after");
}

static void commit_numbers_are_dense_and_snapshots_show_them(void **state)
{
    struct pt_fixture *fixture = *state;
    uint64_t last = pt_fixture_commit_number(fixture);

    PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text("key"), pt_text("value")));
    for (unsigned i = 0; i < 100; i++) {
        uint64_t commit = 0;

        PT_REQUIRE_OK(
            peat_write(fixture->db, fixture->batch, i % 2 == 0 ? PEAT_OS : PEAT_MEMORY, &commit));
        PT_REQUIRE(commit == ++last);
        PT_REQUIRE(pt_fixture_commit_number(fixture) == last);
        if (i % 30 == 0)
            PT_REQUIRE_OK(peat_flush(fixture->db));
    }
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE(pt_fixture_commit_number(fixture) == last);
    pt_fixture_reopen(fixture, false);
    PT_REQUIRE(pt_fixture_commit_number(fixture) == last);
}

static void an_empty_batch_commits_nothing_and_gives_the_newest_number(void **state)
{
    struct pt_fixture *fixture = *state;
    uint64_t commit = 0;

    pt_fixture_put(fixture, "key", "value");
    PT_REQUIRE_OK(peat_write(fixture->db, fixture->batch, PEAT_DEFAULT, &commit));
    PT_REQUIRE(commit == pt_fixture_commit_number(fixture));
    PT_REQUIRE_OK(peat_write(fixture->db, fixture->batch, PEAT_DISK, &commit));
    PT_REQUIRE(commit == pt_fixture_commit_number(fixture));
    PT_REQUIRE_OK(peat_write(fixture->db, fixture->batch, PEAT_DISK, NULL));
}

static void merging_an_operand_is_refused_and_harms_nothing(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_fixture_put(fixture, "key", "base");
    PT_REQUIRE_STATUS(peat_merge(fixture->db, NULL, pt_text("key"), pt_text("x")),
                      PEAT_UNSUPPORTED);
    PT_REQUIRE_STATUS(peat_batch_merge(fixture->batch, NULL, pt_text("key"), pt_text("x")),
                      PEAT_UNSUPPORTED);
    PT_REQUIRE(peat_batch_count(fixture->batch) == 0);
    pt_fixture_require(fixture, "key", "base");
}

/* --- range deletes ---------------------------------------------------------------------------- */

static void range_delete(struct pt_fixture *fixture, struct peat_bytes low, struct peat_bytes high)
{
    PT_REQUIRE_OK(peat_batch_delete_range(fixture->batch, NULL, low, high));
    pt_fixture_commit(fixture);
}

static void a_range_delete_takes_low_and_leaves_high(void **state)
{
    struct pt_fixture *fixture = *state;

    pt_fixture_put_letters(fixture, "abcdefg");
    range_delete(fixture, pt_text("b"), pt_text("d"));
    pt_fixture_require_keys(fixture, NULL, NULL, "a d e f g");
    range_delete(fixture, pt_none, pt_text("d"));
    pt_fixture_require_keys(fixture, NULL, NULL, "d e f g");
    range_delete(fixture, pt_text("f"), pt_none);
    pt_fixture_require_keys(fixture, NULL, NULL, "d e");
    pt_fixture_put_letters(fixture, "bg");
    pt_fixture_require_keys(fixture, NULL, NULL, "b d e g");
    pt_fixture_reopen(fixture, true);
    pt_fixture_require_keys(fixture, NULL, NULL, "b d e g");
    PT_REQUIRE_OK(peat_flush(fixture->db));
    pt_fixture_require_keys(fixture, NULL, NULL, "b d e g");
    range_delete(fixture, pt_none, pt_none);
    pt_fixture_require_keys(fixture, NULL, NULL, "");
    pt_fixture_require(fixture, "b", NULL);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    pt_fixture_require_keys(fixture, NULL, NULL, "");
}

static void an_empty_range_adds_nothing_to_a_batch(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_batch *batch = fixture->batch;

    pt_fixture_put_letters(fixture, "abc");
    PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, pt_text("b"), pt_text("b")));
    PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, pt_text("c"), pt_text("a")));
    PT_REQUIRE_OK(
        peat_batch_delete_range(batch, NULL, pt_none, pt_text(""))); /* before the first */
    PT_REQUIRE(peat_batch_count(batch) == 0);
    pt_fixture_commit(fixture);
    pt_fixture_require_keys(fixture, NULL, NULL, "a b c");
}

static void range_deletes_over_flushed_and_merged_entries_hold(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *before;
    struct peat_bytes value;

    pt_fixture_put_letters(fixture, "abcdef");
    PT_REQUIRE_OK(peat_flush(fixture->db));
    before = pt_fixture_snapshot(fixture);
    range_delete(fixture, pt_text("b"), pt_text("e"));
    PT_REQUIRE_OK(peat_flush(fixture->db));
    pt_fixture_put_letters(fixture, "c");
    pt_fixture_require_keys(fixture, NULL, NULL, "a c e f");
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    pt_fixture_require_keys(fixture, NULL, NULL, "a c e f");
    PT_REQUIRE_OK(peat_get(before, NULL, pt_text("d"), &value));
    PT_REQUIRE(pt_same(value, pt_text("letter")));
    peat_snapshot_close(before);
    pt_fixture_reopen(fixture, false);
    pt_fixture_require_keys(fixture, NULL, NULL, "a c e f");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(put_get_overwrite_and_delete),
        PT_FIXTURE_TEST(deleting_what_is_not_there_is_done),
        PT_FIXTURE_TEST(a_deleted_key_is_found_by_no_get_at_any_stage),
        PT_FIXTURE_TEST(the_empty_key_and_the_empty_value_are_like_others),
        PT_FIXTURE_TEST(the_largest_key_fits_and_a_larger_one_does_not),
        PT_FIXTURE_TEST(a_value_of_70_mib_is_stored_and_read),
        PT_FIXTURE_TEST(a_value_above_the_limit_is_too_large),
        PT_FIXTURE_TEST(null_bytes_with_a_size_are_invalid),
        PT_FIXTURE_TEST(a_failed_operation_leaves_the_batch_as_it_was),
        PT_FIXTURE_TEST(the_last_of_several_operations_on_a_key_wins),
        PT_FIXTURE_TEST(a_batch_can_be_written_twice_and_cleared),
        PT_FIXTURE_TEST(bytes_of_a_batch_are_copied),
        PT_FIXTURE_TEST(a_reserved_value_is_filled_in_place),
        PT_FIXTURE_TEST(commit_numbers_are_dense_and_snapshots_show_them),
        PT_FIXTURE_TEST(an_empty_batch_commits_nothing_and_gives_the_newest_number),
        PT_FIXTURE_TEST(merging_an_operand_is_refused_and_harms_nothing),
        PT_FIXTURE_TEST(a_range_delete_takes_low_and_leaves_high),
        PT_FIXTURE_TEST(an_empty_range_adds_nothing_to_a_batch),
        PT_FIXTURE_TEST(range_deletes_over_flushed_and_merged_entries_hold),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

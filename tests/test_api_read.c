/*
 * The property: gets and iterators show what their snapshot shows and stand where the public header
 * says: one test for each of its sentences about reading.
 */
#include "tests/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- reading ---------------------------------------------------------------------------------- */

static void get_leaves_the_output_when_nothing_is_found(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    struct peat_bytes value = {"as it was", 9};
    size_t size = 77;

    PT_REQUIRE_STATUS(peat_get(snapshot, NULL, pt_text("absent"), &value), PEAT_NOT_FOUND);
    PT_REQUIRE(pt_same(value, pt_text("as it was")));
    PT_REQUIRE_STATUS(peat_get_copy(fixture->db, NULL, pt_text("absent"), NULL, 0, &size),
                      PEAT_NOT_FOUND);
    PT_REQUIRE(size == 77);
    peat_snapshot_close(snapshot);
}

static void get_copy_tells_the_size_it_needs_and_copies_nothing(void **state)
{
    struct pt_fixture *fixture = *state;
    char buffer[] = "untouched";
    size_t size = 0;

    pt_fixture_put(fixture, "key", "value");
    PT_REQUIRE_STATUS(peat_get_copy(fixture->db, NULL, pt_text("key"), buffer, 4, &size),
                      PEAT_TOO_LARGE);
    PT_REQUIRE(size == 5);
    assert_string_equal(buffer, "untouched");
    PT_REQUIRE_STATUS(peat_get_copy(fixture->db, NULL, pt_text("key"), NULL, 0, &size),
                      PEAT_TOO_LARGE);
    PT_REQUIRE_OK(peat_get_copy(fixture->db, NULL, pt_text("key"), buffer, 5, &size));
    PT_REQUIRE(size == 5 && memcmp(buffer, "valueched", 9) == 0);
    pt_fixture_put(fixture, "key", "");
    PT_REQUIRE_OK(peat_get_copy(fixture->db, NULL, pt_text("key"), NULL, 0, &size));
    PT_REQUIRE(size == 0);
}

/* Among others, which are asked for together. Every third is absent. */
static void get_many_takes_keys_of_any_size(void **state)
{
    enum { COUNT = 90, SIZE = 9000 };
    static uint8_t bytes[COUNT][SIZE];
    struct pt_fixture *fixture = *state;
    struct peat_bytes keys[COUNT];
    struct peat_bytes values[COUNT];

    for (unsigned i = 0; i < COUNT; i++) {
        keys[i] = (struct peat_bytes){bytes[i], i % 7 == 0 ? SIZE : 1 + i};
        memset(bytes[i], 'k', SIZE);
        bytes[i][0] = (uint8_t)i;
        if (i % 3 != 0)
            PT_REQUIRE_OK(peat_put(fixture->db, NULL, keys[i], keys[i]));
    }
    for (unsigned round = 0; round < 3; round++) { /* in a write buffer; in a run; in both */
        struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);

        PT_REQUIRE_OK(peat_get_many(snapshot, NULL, keys, COUNT, values));
        for (unsigned i = 0; i < COUNT; i++)
            PT_REQUIRE(i % 3 == 0 ? values[i].data == NULL : pt_same(values[i], keys[i]));
        peat_snapshot_close(snapshot);
        if (round == 0)
            PT_REQUIRE_OK(peat_flush(fixture->db));
        else
            pt_fixture_put_letters(fixture, "xyz");
    }
}

static void get_many_tells_absent_from_empty(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_bytes keys[] = {pt_text("a"), pt_text("absent"), pt_text("empty"), pt_text("a")};
    struct peat_bytes values[4];

    pt_fixture_put(fixture, "a", "value");
    pt_fixture_put(fixture, "empty", "");
    for (unsigned stage = 0; stage < 2; stage++) {
        struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);

        PT_REQUIRE_OK(peat_get_many(snapshot, NULL, keys, 4, values));
        PT_REQUIRE(pt_same(values[0], pt_text("value")) && pt_same(values[3], pt_text("value")));
        PT_REQUIRE(values[1].data == NULL);
        PT_REQUIRE(values[2].data != NULL && values[2].size == 0);
        PT_REQUIRE_OK(peat_get_many(snapshot, NULL, keys, 0, values));
        peat_snapshot_close(snapshot);
        PT_REQUIRE_OK(peat_flush(fixture->db));
    }
}

static void p4_values_stay_where_they_are_until_the_snapshot_closes(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *buffered;
    struct peat_snapshot *flushed;
    struct peat_bytes from_buffer;
    struct peat_bytes from_segment;

    pt_fixture_rewrite(fixture, 1);
    flushed = pt_fixture_snapshot(fixture);
    PT_REQUIRE_OK(peat_get(flushed, NULL, pt_text("0123"), &from_segment));
    pt_fixture_put(fixture, "0123", "in the write buffer");
    buffered = pt_fixture_snapshot(fixture);
    PT_REQUIRE_OK(peat_get(buffered, NULL, pt_text("0123"), &from_buffer));
    pt_fixture_rewrite(fixture, 20);
    PT_REQUIRE(from_segment.size == 300 && pt_value_matches(123, from_segment));
    PT_REQUIRE(pt_same(from_buffer, pt_text("in the write buffer")));
    peat_snapshot_close(flushed);
    peat_snapshot_close(buffered);
}

static void a_snapshot_shows_nothing_committed_after_it(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot;
    struct peat_bytes value;

    pt_fixture_put(fixture, "key", "before");
    snapshot = pt_fixture_snapshot(fixture);
    pt_fixture_put(fixture, "key", "after");
    pt_fixture_put(fixture, "new", "after");
    PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text("key"), &value));
    PT_REQUIRE(pt_same(value, pt_text("before")));
    PT_REQUIRE_STATUS(peat_get(snapshot, NULL, pt_text("new"), &value), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(peat_flush(fixture->db));
    PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text("key"), &value));
    PT_REQUIRE(pt_same(value, pt_text("before")));
    PT_REQUIRE_STATUS(peat_get(snapshot, NULL, pt_text("new"), &value), PEAT_NOT_FOUND);
    peat_snapshot_close(snapshot);
    pt_fixture_require(fixture, "key", "after");
}

/* --- iterating -------------------------------------------------------------------------------- */

static void require_on(enum peat_status status, struct peat_iterator *iterator, const char *key)
{
    PT_REQUIRE_STATUS(status, key == NULL ? PEAT_DONE : PEAT_OK);
    if (key != NULL)
        PT_REQUIRE(pt_same(peat_iterator_key(iterator), pt_text(key)));
}

static void an_iterator_opens_before_its_first_entry(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_iterator *iterator;

    pt_fixture_put_letters(fixture, "ab");
    iterator = pt_fixture_iterator(fixture, NULL);
    require_on(peat_iterator_next(iterator), iterator, "a");
    require_on(peat_iterator_next(iterator), iterator, "b");
    peat_iterator_close(iterator);
    iterator = pt_fixture_iterator(fixture, NULL);
    require_on(peat_iterator_previous(iterator), iterator, NULL);
    require_on(peat_iterator_next(iterator), iterator, "a");
    peat_iterator_close(iterator);
}

static void an_iterator_comes_back_from_either_end(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_iterator *iterator;

    pt_fixture_put_letters(fixture, "abc");
    iterator = pt_fixture_iterator(fixture, NULL);
    require_on(peat_iterator_last(iterator), iterator, "c");
    require_on(peat_iterator_next(iterator), iterator, NULL);
    require_on(peat_iterator_previous(iterator), iterator, "c");
    require_on(peat_iterator_first(iterator), iterator, "a");
    require_on(peat_iterator_previous(iterator), iterator, NULL);
    require_on(peat_iterator_next(iterator), iterator, "a");
    require_on(peat_iterator_seek(iterator, pt_text("d")), iterator, NULL);
    require_on(peat_iterator_previous(iterator), iterator, "c");
    require_on(peat_iterator_seek_before(iterator, pt_text("A")), iterator, NULL);
    require_on(peat_iterator_next(iterator), iterator, "a");
    peat_iterator_close(iterator);
}

static void seeks_find_the_neighbour_on_their_side(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_iterator *iterator;

    pt_fixture_put_letters(fixture, "bdf");
    iterator = pt_fixture_iterator(fixture, NULL);
    require_on(peat_iterator_seek(iterator, pt_text("d")), iterator, "d");
    require_on(peat_iterator_seek(iterator, pt_text("c")), iterator, "d");
    require_on(peat_iterator_seek(iterator, pt_text("da")), iterator, "f");
    require_on(peat_iterator_seek(iterator, pt_none), iterator, "b");
    require_on(peat_iterator_seek_before(iterator, pt_text("d")), iterator, "d");
    require_on(peat_iterator_seek_before(iterator, pt_text("e")), iterator, "d");
    require_on(peat_iterator_seek_before(iterator, pt_text("zzz")), iterator, "f");
    require_on(peat_iterator_seek_before(iterator, pt_none), iterator, NULL);
    peat_iterator_close(iterator);
}

static void bounds_hold_low_and_not_high_and_clamp_seeks(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_range range = {pt_text("b"), pt_text("e"), 0};
    struct peat_iterator *iterator;

    pt_fixture_put_letters(fixture, "abcdef");
    pt_fixture_require_keys(fixture, NULL, &range, "b c d");
    iterator = pt_fixture_iterator(fixture, &range);
    require_on(peat_iterator_last(iterator), iterator, "d");
    require_on(peat_iterator_seek(iterator, pt_text("a")), iterator, "b");
    require_on(peat_iterator_seek(iterator, pt_text("e")), iterator, NULL);
    require_on(peat_iterator_previous(iterator), iterator, "d");
    require_on(peat_iterator_seek_before(iterator, pt_text("z")), iterator, "d");
    require_on(peat_iterator_seek_before(iterator, pt_text("a")), iterator, NULL);
    require_on(peat_iterator_next(iterator), iterator, "b");
    peat_iterator_close(iterator);
    range.low = pt_none;
    pt_fixture_require_keys(fixture, NULL, &range, "a b c d");
    range.low = pt_text("d");
    range.high = pt_none;
    pt_fixture_require_keys(fixture, NULL, &range, "d e f");
}

static void empty_bounds_hold_nothing(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_range same = {pt_text("b"), pt_text("b"), 0};
    struct peat_range inverted = {pt_text("c"), pt_text("a"), 0};
    struct peat_range before_all = {pt_none, pt_text(""), 0};
    struct peat_range from_empty = {pt_text(""), pt_text("b"), 0};

    pt_fixture_put_letters(fixture, "abc");
    PT_REQUIRE_OK(peat_put(fixture->db, NULL, pt_none, pt_text("of the empty key")));
    pt_fixture_require_keys(fixture, NULL, &same, "");
    pt_fixture_require_keys(fixture, NULL, &inverted, "");
    pt_fixture_require_keys(fixture, NULL, &before_all, "");
    pt_fixture_require_keys(fixture, NULL, &from_empty, " a");
}

static void an_iterator_over_nothing_is_done_everywhere(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_iterator *iterator = pt_fixture_iterator(fixture, NULL);
    struct peat_entry entry;
    size_t count = 7;

    require_on(peat_iterator_first(iterator), iterator, NULL);
    require_on(peat_iterator_last(iterator), iterator, NULL);
    require_on(peat_iterator_next(iterator), iterator, NULL);
    require_on(peat_iterator_previous(iterator), iterator, NULL);
    require_on(peat_iterator_seek(iterator, pt_text("a")), iterator, NULL);
    require_on(peat_iterator_seek_before(iterator, pt_text("a")), iterator, NULL);
    PT_REQUIRE_STATUS(peat_iterator_next_many(iterator, &entry, 1, &count), PEAT_DONE);
    PT_REQUIRE(count == 0);
    peat_iterator_close(iterator);
}

static void p4_an_iterator_outlives_its_snapshot_and_what_comes_after(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_iterator *iterator;
    enum peat_status status;
    unsigned count = 0;

    pt_fixture_rewrite(fixture, 1);
    iterator = pt_fixture_iterator(fixture, NULL);
    pt_fixture_rewrite(fixture, 10);
    for (status = peat_iterator_last(iterator); status == PEAT_OK;
         status = peat_iterator_previous(iterator)) {
        count++;
        PT_REQUIRE(pt_value_matches(500 - count, peat_iterator_value(iterator)));
    }
    PT_REQUIRE(count == 500);
    peat_iterator_close(iterator);
}

static void next_many_goes_on_from_the_current_entry(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_iterator *iterator;
    struct peat_entry entries[4];
    size_t count = 0;

    pt_fixture_put_letters(fixture, "abcdef");
    iterator = pt_fixture_iterator(fixture, NULL);
    require_on(peat_iterator_seek(iterator, pt_text("b")), iterator, "b");
    PT_REQUIRE_OK(peat_iterator_next_many(iterator, entries, 3, &count));
    PT_REQUIRE(count == 3);
    PT_REQUIRE(pt_same(entries[0].key, pt_text("b")) && pt_same(entries[2].key, pt_text("d")));
    PT_REQUIRE(pt_same(entries[1].value, pt_text("letter")));
    require_on(PEAT_OK, iterator, "e");
    PT_REQUIRE_STATUS(peat_iterator_next_many(iterator, entries, 4, &count), PEAT_DONE);
    PT_REQUIRE(count == 2 && pt_same(entries[1].key, pt_text("f")));
    PT_REQUIRE_STATUS(peat_iterator_next_many(iterator, entries, 4, &count), PEAT_DONE);
    PT_REQUIRE(count == 0);
    require_on(peat_iterator_previous(iterator), iterator, "f");
    require_on(peat_iterator_seek(iterator, pt_text("e")), iterator, "e");
    PT_REQUIRE_STATUS(peat_iterator_next_many(iterator, entries, 2, &count), PEAT_DONE);
    PT_REQUIRE(count == 2); /* filled to the brim by the last entries */
    peat_iterator_close(iterator);
}

static void keys_only_walks_the_same_keys(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_range range = {pt_none, pt_none, PEAT_KEYS_ONLY};

    pt_fixture_put_letters(fixture, "abc");
    pt_fixture_require_keys(fixture, NULL, &range, "a b c");
    PT_REQUIRE_OK(peat_flush(fixture->db));
    pt_fixture_require_keys(fixture, NULL, &range, "a b c");
}

static void keys_come_in_memcmp_order(void **state)
{
    static const unsigned char keys[][2] = {{0, 0},       {0, 1},    {0, 0xff}, {1, 0},
                                            {0x7f, 0xff}, {0x80, 0}, {0xff, 0}, {0xff, 0xff}};
    struct pt_fixture *fixture = *state;
    struct peat_iterator *iterator;
    enum { COUNT = sizeof(keys) / sizeof(keys[0]) };

    for (size_t i = COUNT; i > 0; i--) {
        struct peat_bytes key = {keys[i - 1], 2};

        PT_REQUIRE_OK(peat_put(fixture->db, NULL, key, pt_none));
    }
    for (unsigned stage = 0; stage < 2; stage++) {
        iterator = pt_fixture_iterator(fixture, NULL);
        for (size_t i = 0; i < COUNT; i++) {
            struct peat_bytes key = {keys[i], 2};

            PT_REQUIRE_OK(peat_iterator_next(iterator));
            PT_REQUIRE(pt_same(peat_iterator_key(iterator), key));
        }
        PT_REQUIRE_STATUS(peat_iterator_next(iterator), PEAT_DONE);
        peat_iterator_close(iterator);
        PT_REQUIRE_OK(peat_flush(fixture->db));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(get_leaves_the_output_when_nothing_is_found),
        PT_FIXTURE_TEST(get_copy_tells_the_size_it_needs_and_copies_nothing),
        PT_FIXTURE_TEST(get_many_takes_keys_of_any_size),
        PT_FIXTURE_TEST(get_many_tells_absent_from_empty),
        PT_FIXTURE_TEST(p4_values_stay_where_they_are_until_the_snapshot_closes),
        PT_FIXTURE_TEST(a_snapshot_shows_nothing_committed_after_it),
        PT_FIXTURE_TEST(an_iterator_opens_before_its_first_entry),
        PT_FIXTURE_TEST(an_iterator_comes_back_from_either_end),
        PT_FIXTURE_TEST(seeks_find_the_neighbour_on_their_side),
        PT_FIXTURE_TEST(bounds_hold_low_and_not_high_and_clamp_seeks),
        PT_FIXTURE_TEST(empty_bounds_hold_nothing),
        PT_FIXTURE_TEST(an_iterator_over_nothing_is_done_everywhere),
        PT_FIXTURE_TEST(p4_an_iterator_outlives_its_snapshot_and_what_comes_after),
        PT_FIXTURE_TEST(next_many_goes_on_from_the_current_entry),
        PT_FIXTURE_TEST(keys_only_walks_the_same_keys),
        PT_FIXTURE_TEST(keys_come_in_memcmp_order),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

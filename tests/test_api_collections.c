/*
 * The property: collections keep their keys apart, nest, and go and come back as the public header
 * says, through flushes, merges and reopening.
 */
#include "tests/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct peat_collection *collection_of(struct pt_fixture *fixture,
                                             struct peat_collection *parent, const char *name,
                                             unsigned flags)
{
    struct peat_collection *collection = NULL;

    PT_REQUIRE_OK(peat_collection_open(fixture->db, parent, name, flags, &collection));
    PT_REQUIRE(collection != NULL);
    return collection;
}

static void put_in(struct pt_fixture *fixture, struct peat_collection *collection, const char *key,
                   const char *value)
{
    PT_REQUIRE_OK(peat_put(fixture->db, collection, pt_text(key), pt_text(value)));
}

static void collections_keep_their_keys_apart(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_collection *a = collection_of(fixture, NULL, "a", PEAT_CREATE);
    struct peat_collection *b = collection_of(fixture, NULL, "b", PEAT_CREATE);
    struct peat_collection *inner = collection_of(fixture, a, "b", PEAT_CREATE);
    static const char last[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff";

    pt_fixture_put(fixture, "key", "root");
    put_in(fixture, a, "key", "a");
    put_in(fixture, a, last, "a's last");
    put_in(fixture, a, "", "a's first");
    put_in(fixture, b, "key", "b");
    put_in(fixture, inner, "key", "inner");
    for (unsigned stage = 0; stage < 2; stage++) {
        pt_fixture_require(fixture, "key", "root");
        pt_fixture_require_in(fixture, a, pt_text("key"), "a");
        pt_fixture_require_in(fixture, a, pt_text(last), "a's last");
        pt_fixture_require_in(fixture, b, pt_text("key"), "b");
        pt_fixture_require_in(fixture, inner, pt_text("key"), "inner");
        pt_fixture_require_keys(fixture, NULL, NULL, "key");
        pt_fixture_require_keys(fixture, a, NULL, " key \xff\xff\xff\xff\xff\xff\xff\xff\xff");
        pt_fixture_require_keys(fixture, b, NULL, "key");
        pt_fixture_require_keys(fixture, inner, NULL, "key");
        PT_REQUIRE_OK(peat_flush(fixture->db));
    }
    PT_REQUIRE_OK(peat_batch_delete_range(fixture->batch, a, pt_none, pt_none));
    pt_fixture_commit(fixture);
    pt_fixture_require_keys(fixture, a, NULL, "");
    pt_fixture_require_keys(fixture, NULL, NULL, "key");
    pt_fixture_require_keys(fixture, b, NULL, "key");
    pt_fixture_require_keys(fixture, inner, NULL, "key");
    peat_collection_close(a);
    peat_collection_close(b);
    peat_collection_close(inner);
}

static void a_collection_is_made_once_and_found_again(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_collection *collection = NULL;
    struct peat_collection *again;
    uint64_t commit;

    PT_REQUIRE_STATUS(peat_collection_open(fixture->db, NULL, "name", 0, &collection),
                      PEAT_NOT_FOUND);
    commit = pt_fixture_commit_number(fixture);
    collection = collection_of(fixture, NULL, "name", PEAT_CREATE);
    PT_REQUIRE(pt_fixture_commit_number(fixture) == commit + 1); /* a commit of its own */
    again = collection_of(fixture, NULL, "name", PEAT_CREATE);
    PT_REQUIRE(pt_fixture_commit_number(fixture) == commit + 1);
    put_in(fixture, collection, "key", "value");
    pt_fixture_require_in(fixture, again, pt_text("key"), "value");
    peat_collection_close(collection);
    pt_fixture_require_in(fixture, again, pt_text("key"),
                          "value"); /* the other handle stays good */
    peat_collection_close(again);
    pt_fixture_reopen(fixture, true);
    collection = collection_of(fixture, NULL, "name", 0);
    pt_fixture_require_in(fixture, collection, pt_text("key"), "value");
    peat_collection_close(collection);
}

static void collection_names_have_1_to_1024_bytes(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_collection *collection = NULL;
    char name[PEAT_NAME_SIZE_MAX + 2];

    PT_REQUIRE_STATUS(peat_collection_open(fixture->db, NULL, "", PEAT_CREATE, &collection),
                      PEAT_INVALID);
    memset(name, 'n', sizeof(name));
    name[PEAT_NAME_SIZE_MAX + 1] = '\0';
    PT_REQUIRE_STATUS(peat_collection_open(fixture->db, NULL, name, PEAT_CREATE, &collection),
                      PEAT_INVALID);
    name[PEAT_NAME_SIZE_MAX] = '\0';
    collection = collection_of(fixture, NULL, name, PEAT_CREATE);
    put_in(fixture, collection, "key", "value");
    peat_collection_close(collection);
    pt_fixture_reopen(fixture, false);
    collection = collection_of(fixture, NULL, name, 0);
    pt_fixture_require_in(fixture, collection, pt_text("key"), "value");
    peat_collection_close(collection);
}

static void a_dropped_collection_is_gone_with_all_below_it(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_collection *outer = collection_of(fixture, NULL, "outer", PEAT_CREATE);
    struct peat_collection *middle = collection_of(fixture, outer, "middle", PEAT_CREATE);
    struct peat_collection *inner = collection_of(fixture, middle, "inner", PEAT_CREATE);
    struct peat_collection *found = NULL;
    struct peat_snapshot *before;
    struct peat_bytes value;

    put_in(fixture, outer, "key", "outer");
    put_in(fixture, inner, "key", "inner");
    before = pt_fixture_snapshot(fixture);
    PT_REQUIRE_OK(peat_collection_drop(fixture->db, outer));
    PT_REQUIRE_STATUS(peat_collection_open(fixture->db, NULL, "outer", 0, &found), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_collection_open(fixture->db, outer, "middle", 0, &found),
                      PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_collection_open(fixture->db, middle, "new", PEAT_CREATE, &found),
                      PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_put(fixture->db, outer, pt_text("k"), pt_none), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_put(fixture->db, inner, pt_text("k"), pt_none), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_collection_drop(fixture->db, outer), PEAT_NOT_FOUND);
    PT_REQUIRE_STATUS(peat_collection_drop(fixture->db, inner), PEAT_NOT_FOUND);
    pt_fixture_require_in(fixture, outer, pt_text("key"), NULL);
    pt_fixture_require_in(fixture, inner, pt_text("key"), NULL);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE_OK(peat_get(before, outer, pt_text("key"), &value)); /* taken before: goes on */
    PT_REQUIRE(pt_same(value, pt_text("outer")));
    PT_REQUIRE_OK(peat_get(before, inner, pt_text("key"), &value));
    PT_REQUIRE(pt_same(value, pt_text("inner")));
    peat_snapshot_close(before);
    peat_collection_close(outer);
    peat_collection_close(middle);
    peat_collection_close(inner);
}

static void a_recreated_collection_starts_empty(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_collection *old = collection_of(fixture, NULL, "name", PEAT_CREATE);
    struct peat_collection *below = collection_of(fixture, old, "below", PEAT_CREATE);
    struct peat_collection *found = NULL;
    struct peat_collection *new;

    put_in(fixture, old, "old", "value");
    put_in(fixture, below, "old", "value");
    PT_REQUIRE_OK(peat_collection_drop(fixture->db, old));
    new = collection_of(fixture, NULL, "name", PEAT_CREATE);
    pt_fixture_require_keys(fixture, new, NULL, "");
    PT_REQUIRE_STATUS(peat_collection_open(fixture->db, new, "below", 0, &found), PEAT_NOT_FOUND);
    put_in(fixture, new, "new", "value");
    PT_REQUIRE_STATUS(peat_put(fixture->db, old, pt_text("k"), pt_none), PEAT_NOT_FOUND);
    peat_collection_close(old);
    peat_collection_close(below);
    peat_collection_close(new);
    pt_fixture_reopen(fixture, true);
    new = collection_of(fixture, NULL, "name", 0);
    pt_fixture_require_keys(fixture, new, NULL, "new");
    peat_collection_close(new);
}

static void p1_a_batch_that_names_a_dropped_collection_commits_nothing(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_collection *collection = collection_of(fixture, NULL, "name", PEAT_CREATE);
    uint64_t commit;

    PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text("root"), pt_text("value")));
    PT_REQUIRE_OK(peat_batch_put(fixture->batch, collection, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_collection_drop(fixture->db, collection));
    commit = pt_fixture_commit_number(fixture);
    PT_REQUIRE_STATUS(peat_write(fixture->db, fixture->batch, PEAT_OS, NULL), PEAT_NOT_FOUND);
    PT_REQUIRE(pt_fixture_commit_number(fixture) == commit);
    pt_fixture_require(fixture, "root", NULL);
    peat_collection_close(collection);
}

static void p1_a_batch_spans_collections(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_collection *a = collection_of(fixture, NULL, "a", PEAT_CREATE);
    struct peat_collection *inner = collection_of(fixture, a, "inner", PEAT_CREATE);
    uint64_t commit = pt_fixture_commit_number(fixture);

    PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text("key"), pt_text("root")));
    PT_REQUIRE_OK(peat_batch_put(fixture->batch, a, pt_text("key"), pt_text("a")));
    PT_REQUIRE_OK(peat_batch_put(fixture->batch, inner, pt_text("key"), pt_text("inner")));
    pt_fixture_commit(fixture);
    PT_REQUIRE(pt_fixture_commit_number(fixture) == commit + 1);
    pt_fixture_require(fixture, "key", "root");
    pt_fixture_require_in(fixture, a, pt_text("key"), "a");
    pt_fixture_require_in(fixture, inner, pt_text("key"), "inner");
    peat_collection_close(a);
    peat_collection_close(inner);
}

struct listing {
    char names[256];
    unsigned limit; /* names before the callback has enough */
};

static bool listing_add(void *context, const char *name)
{
    struct listing *listing = context;
    size_t used = strlen(listing->names);

    (void)snprintf(listing->names + used, sizeof(listing->names) - used, "%s%s",
                   used == 0 ? "" : " ", name);
    return --listing->limit > 0;
}

static void require_listing(const struct peat_snapshot *snapshot, struct peat_collection *parent,
                            unsigned limit, const char *expected)
{
    struct listing listing = {"", limit};

    PT_REQUIRE_OK(peat_collection_list(snapshot, parent, listing_add, &listing));
    assert_string_equal(listing.names, expected);
}

static void collections_are_listed_in_order_as_of_a_snapshot(void **state)
{
    static const char *const names[] = {"pear", "apple", "fig", "app"};
    struct pt_fixture *fixture = *state;
    struct peat_collection *handles[4];
    struct peat_collection *inner;
    struct peat_snapshot *before;
    struct peat_snapshot *after;

    for (size_t i = 0; i < 4; i++)
        handles[i] = collection_of(fixture, NULL, names[i], PEAT_CREATE);
    inner = collection_of(fixture, handles[1], "seed", PEAT_CREATE);
    before = pt_fixture_snapshot(fixture);
    PT_REQUIRE_OK(peat_collection_drop(fixture->db, handles[2]));
    PT_REQUIRE_OK(peat_collection_drop(fixture->db, inner));
    after = pt_fixture_snapshot(fixture);
    require_listing(before, NULL, 100, "app apple fig pear");
    require_listing(before, NULL, 2, "app apple");
    require_listing(before, handles[1], 100, "seed");
    require_listing(before, handles[0], 100, "");
    require_listing(after, NULL, 100, "app apple pear");
    require_listing(after, handles[1], 100, "");
    peat_snapshot_close(before);
    peat_snapshot_close(after);
    for (size_t i = 0; i < 4; i++)
        peat_collection_close(handles[i]);
    peat_collection_close(inner);
}

static void data_only_in_a_nested_collection_persists(void **state)
{
    struct pt_fixture *fixture = *state;

    for (unsigned stage = 0; stage < 4; stage++) {
        struct peat_collection *outer = collection_of(fixture, NULL, "outer", PEAT_CREATE);
        struct peat_collection *inner = collection_of(fixture, outer, "inner", PEAT_CREATE);

        if (stage == 0)
            put_in(fixture, inner, "key", "value");
        pt_fixture_require_in(fixture, inner, pt_text("key"), "value");
        if (stage == 1)
            PT_REQUIRE_OK(peat_flush(fixture->db));
        peat_collection_close(outer);
        peat_collection_close(inner);
        pt_fixture_reopen(fixture, stage % 2 == 0);
    }
}

/* A thousand collections of five keys, through many flushes and merges. */
static void collections_keep_all_their_keys_through_flush_and_merge(void **state)
{
    struct pt_fixture *fixture = *state;
    enum { COLLECTIONS = 1000, KEYS = 5 };

    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < COLLECTIONS; i++) {
            struct peat_collection *collection;
            char name[32];

            (void)snprintf(name, sizeof(name), "collection %u", i * 7 % COLLECTIONS);
            collection = collection_of(fixture, NULL, name, pass == 0 ? PEAT_CREATE : 0);
            for (unsigned j = 0; j < KEYS; j++) {
                char key[32];

                (void)snprintf(key, sizeof(key), "key %u", j);
                if (pass == 0)
                    PT_REQUIRE_OK(peat_put(fixture->db, collection, pt_text(key), pt_text(name)));
                else
                    pt_fixture_require_in(fixture, collection, pt_text(key), name);
            }
            peat_collection_close(collection);
            if (pass == 0 && i % 100 == 0)
                PT_REQUIRE_OK(peat_flush(fixture->db));
        }
        PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
        pt_fixture_reopen(fixture, false);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(collections_keep_their_keys_apart),
        PT_FIXTURE_TEST(a_collection_is_made_once_and_found_again),
        PT_FIXTURE_TEST(collection_names_have_1_to_1024_bytes),
        PT_FIXTURE_TEST(a_dropped_collection_is_gone_with_all_below_it),
        PT_FIXTURE_TEST(a_recreated_collection_starts_empty),
        PT_FIXTURE_TEST(p1_a_batch_that_names_a_dropped_collection_commits_nothing),
        PT_FIXTURE_TEST(p1_a_batch_spans_collections),
        PT_FIXTURE_TEST(collections_are_listed_in_order_as_of_a_snapshot),
        PT_FIXTURE_TEST(data_only_in_a_nested_collection_persists),
        PT_FIXTURE_TEST(collections_keep_all_their_keys_through_flush_and_merge),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

#include "tests/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* After those cmocka.h asks for. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

const struct peat_bytes pt_none = {NULL, 0};
const struct peat_bytes pt_null_with_size = {NULL, 5};

static struct peat_options fixture_options(void)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);

    pt_test_options_tiny(&options);
    return options;
}

int pt_fixture_open(void **state)
{
    struct pt_fixture *fixture = calloc(1, sizeof(*fixture));
    struct peat_options options = fixture_options();

    if (fixture == NULL)
        return -1;
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s", pt_test_path("api"));
    (void)unlink(fixture->path);
    fixture->batch = peat_batch_new(0);
    *state = fixture;
    return peat_open(fixture->path, &options, &fixture->db) == PEAT_OK && fixture->batch != NULL
               ? 0
               : -1;
}

int pt_fixture_close(void **state)
{
    struct pt_fixture *fixture = *state;
    enum peat_status status = peat_close(fixture->db);

    peat_batch_free(fixture->batch);
    free(fixture);
    return status == PEAT_OK ? 0 : -1;
}

void pt_fixture_reopen(struct pt_fixture *fixture, bool abandon)
{
    struct peat_options options = fixture_options();

    PT_REQUIRE_OK(abandon ? peat_abort(fixture->db) : peat_close(fixture->db));
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
}

void pt_fixture_put(struct pt_fixture *fixture, const char *key, const char *value)
{
    PT_REQUIRE_OK(peat_put(fixture->db, NULL, pt_text(key), pt_text(value)));
}

struct peat_snapshot *pt_fixture_snapshot(struct pt_fixture *fixture)
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(fixture->db, &snapshot));
    return snapshot;
}

uint64_t pt_fixture_commit_number(struct pt_fixture *fixture)
{
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    uint64_t commit = peat_snapshot_commit(snapshot);

    peat_snapshot_close(snapshot);
    return commit;
}

/* The newest value of the key, by every way to ask; NULL: absent. */
void pt_fixture_require_in(struct pt_fixture *fixture, struct peat_collection *collection,
                           struct peat_bytes key, const char *value)
{
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    enum peat_status expected = value == NULL ? PEAT_NOT_FOUND : PEAT_OK;
    struct peat_bytes found = {NULL, 0};
    struct peat_bytes many = {NULL, 0};
    char buffer[256];
    size_t size = 0;

    PT_REQUIRE_STATUS(peat_get(snapshot, collection, key, &found), expected);
    PT_REQUIRE_STATUS(peat_get_copy(fixture->db, collection, key, buffer, sizeof(buffer), &size),
                      expected);
    PT_REQUIRE_OK(peat_get_many(snapshot, collection, &key, 1, &many));
    PT_REQUIRE((many.data == NULL) == (value == NULL));
    if (value != NULL) {
        struct peat_bytes copied = {buffer, size};

        PT_REQUIRE(pt_same(found, pt_text(value)));
        PT_REQUIRE(pt_same(copied, pt_text(value)));
        PT_REQUIRE(pt_same(many, pt_text(value)));
    }
    peat_snapshot_close(snapshot);
}

void pt_fixture_require(struct pt_fixture *fixture, const char *key, const char *value)
{
    pt_fixture_require_in(fixture, NULL, pt_text(key), value);
}

/* The keys of the collection, forward, joined by blanks. */
void pt_fixture_require_keys(struct pt_fixture *fixture, struct peat_collection *collection,
                             const struct peat_range *range, const char *expected)
{
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    struct peat_iterator *iterator;
    enum peat_status status;
    char found[1024] = "";
    const char *separator = "";
    size_t used = 0;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, collection, range, &iterator));
    for (status = peat_iterator_first(iterator); status == PEAT_OK;
         status = peat_iterator_next(iterator)) {
        struct peat_bytes key = peat_iterator_key(iterator);

        used += (size_t)snprintf(found + used, sizeof(found) - used, "%s%.*s", separator,
                                 (int)key.size, (const char *)key.data);
        separator = " ";
        PT_REQUIRE(used < sizeof(found) - 64);
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
    assert_string_equal(found, expected);
}

void pt_fixture_commit(struct pt_fixture *fixture)
{
    PT_REQUIRE_OK(peat_write(fixture->db, fixture->batch, PEAT_DEFAULT, NULL));
    peat_batch_clear(fixture->batch);
}

void pt_fixture_put_letters(struct pt_fixture *fixture, const char *letters)
{
    for (; *letters != '\0'; letters++) {
        struct peat_bytes key = {letters, 1};

        PT_REQUIRE_OK(peat_put(fixture->db, NULL, key, pt_text("letter")));
    }
}

/* Overwrite everything again and again, with flushes and merges. */
void pt_fixture_rewrite(struct pt_fixture *fixture, unsigned turns)
{
    char value[300];
    struct peat_bytes bytes = {value, sizeof(value)};

    for (unsigned turn = 0; turn < turns; turn++) {
        for (unsigned i = 0; i < 500; i++) {
            char key[16];

            (void)snprintf(key, sizeof(key), "%04u", i);
            pt_value_fill(turn * 1000 + i, value, sizeof(value));
            PT_REQUIRE_OK(peat_batch_put(fixture->batch, NULL, pt_text(key), bytes));
        }
        pt_fixture_commit(fixture);
        PT_REQUIRE_OK(peat_flush(fixture->db));
    }
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
}

struct peat_iterator *pt_fixture_iterator(struct pt_fixture *fixture,
                                          const struct peat_range *range)
{
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    struct peat_iterator *iterator;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, range, &iterator));
    peat_snapshot_close(snapshot); /* it pins what it sees by itself */
    return iterator;
}

/* A store of its own for each test, on a file and with tiny buffers, and short ways to use it. */
#ifndef PEAT_TESTS_FIXTURE_H
#define PEAT_TESTS_FIXTURE_H

#include "tests/support.h"

struct pt_fixture {
    struct peat_db *db;
    struct peat_batch *batch; /* empty at the test's start */
    char path[512];
};

extern const struct peat_bytes pt_none;           /* NULL and 0: the empty key, or no bound */
extern const struct peat_bytes pt_null_with_size; /* what no call may read */

/* For cmocka: the test's state is a struct pt_fixture. */
int pt_fixture_open(void **state);
int pt_fixture_close(void **state);
#define PT_FIXTURE_TEST(name) \
    cmocka_unit_test_setup_teardown(name, pt_fixture_open, pt_fixture_close)

/* Close the store, or abandon it, and open it again. */
void pt_fixture_reopen(struct pt_fixture *fixture, bool abandon);

void pt_fixture_put(struct pt_fixture *fixture, const char *key, const char *value);
/* Each letter is a key. */
void pt_fixture_put_letters(struct pt_fixture *fixture, const char *letters);
/* Commit the fixture's batch and empty it. */
void pt_fixture_commit(struct pt_fixture *fixture);
/* Put keys "0000" to "0499" @p turns times, with a flush after each, then let the merger come to
 * rest. The last values are those of pt_value_fill() for (turns - 1) * 1000 + the key. */
void pt_fixture_rewrite(struct pt_fixture *fixture, unsigned turns);

struct peat_snapshot *pt_fixture_snapshot(struct pt_fixture *fixture);
/* Over a snapshot that is closed already. */
struct peat_iterator *pt_fixture_iterator(struct pt_fixture *fixture,
                                          const struct peat_range *range);
/* The newest commit's. */
uint64_t pt_fixture_commit_number(struct pt_fixture *fixture);

/* The newest value of the key, by every way to ask, is @p value; NULL: it is absent. */
void pt_fixture_require_in(struct pt_fixture *fixture, struct peat_collection *collection,
                           struct peat_bytes key, const char *value);
void pt_fixture_require(struct pt_fixture *fixture, const char *key, const char *value);
/* The collection's keys are these, joined by blanks. */
void pt_fixture_require_keys(struct pt_fixture *fixture, struct peat_collection *collection,
                             const struct peat_range *range, const char *expected);

#endif

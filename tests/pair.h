/* A primary and a follower in one process, and what ships the one's log to the other: for tests of the core alone. */
#ifndef PEAT_TESTS_PAIR_H
#define PEAT_TESTS_PAIR_H

#include "tests/support.h"

enum { PT_KEPT_RECORDS_MAX = 64 };

/* One side: a store in a file. */
struct pt_side {
    struct peat_options options;
    struct peat_db *db;
    char path[512];
};

struct pt_pair {
    struct pt_side primary;
    struct pt_side follower;
    struct peat_feed *feed; /* of the primary, for the follower; NULL: not open */
};

void pt_side_open(struct pt_side *side);
/* A new store with small buffers. */
void pt_side_make(struct pt_side *side, const char *name, unsigned flags);
void pt_pair_make(struct pt_pair *pair);
void pt_pair_close(struct pt_pair *pair);
/* Have the primary keep its log for the follower. */
void pt_pair_feed(struct pt_pair *pair);
/* Both show the same. */
void pt_pair_require_equal(struct pt_pair *pair);

uint64_t pt_test_newest(struct peat_db *db);
void pt_test_digest(struct peat_db *db, uint8_t digest[32]);

/* A batch of puts, deletes and range deletes over a few keys; @p large: now and then with a large value. */
void pt_test_commit_random(struct peat_db *db, struct pt_dice *dice, bool large);
/* @p count of those at the primary, with collections and flushes in between. */
void pt_pair_write(struct pt_pair *pair, struct pt_dice *dice, unsigned count, bool large);

/* Keys @p from to @p to - 1, "key 00000000" and on, with values of 1000 bytes, flushed as one segment. One of 2 MiB
 * is moved as it is by any merge that has no other keys between its own: for tests of what is sent, as
 * a merge may come at any moment. */
void pt_test_put_segment(struct peat_db *db, unsigned from, unsigned to);

/* Records with copies of their payloads. */
struct pt_kept_records {
    struct peat_record records[PT_KEPT_RECORDS_MAX];
    size_t count;
};

void pt_kept_records_clear(struct pt_kept_records *kept);
/* Up to @p max records, as far as there are any. */
void pt_kept_records_take(struct pt_kept_records *kept, struct peat_feed *feed, size_t max);
/* Apply what there is, some at a time, and acknowledge it. */
void pt_pair_follow(struct pt_pair *pair, struct pt_dice *dice);

#endif

#include "tests/pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { KEYS = 200 };

static uint8_t value[2 * MIB];

void pt_side_open(struct pt_side *side)
{
    PT_REQUIRE_OK(peat_open(side->path, &side->options, &side->db));
}

void pt_side_make(struct pt_side *side, const char *name, unsigned flags)
{
    (void)snprintf(side->path, sizeof(side->path), "%s", pt_test_path(name));
    (void)unlink(side->path);
    side->options = pt_test_options(PEAT_CREATE | flags);
    pt_test_options_tiny(&side->options);
    pt_side_open(side);
}

uint64_t pt_test_newest(struct peat_db *db)
{
    struct peat_snapshot *snapshot;
    uint64_t commit;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    commit = peat_snapshot_commit(snapshot);
    peat_snapshot_close(snapshot);
    return commit;
}

void pt_pair_feed(struct pt_pair *pair)
{
    uint64_t from = pt_test_newest(pair->follower.db) + 1;

    if (pair->feed == NULL)
        PT_REQUIRE_OK(
            peat_feed_open(pair->primary.db, from, "follower", PEAT_FEED_SEALS, &pair->feed));
}

void pt_pair_make(struct pt_pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    pt_side_make(&pair->primary, "primary", 0);
    pt_side_make(&pair->follower, "follower", PEAT_FOLLOWER);
    pt_pair_feed(pair);
}

void pt_test_digest(struct peat_db *db, uint8_t digest[32])
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, NULL));
    peat_snapshot_close(snapshot);
}

void pt_pair_require_equal(struct pt_pair *pair)
{
    uint8_t digests[2][32];

    PT_REQUIRE(pt_test_newest(pair->primary.db) == pt_test_newest(pair->follower.db));
    pt_test_digest(pair->primary.db, digests[0]);
    pt_test_digest(pair->follower.db, digests[1]);
    PT_REQUIRE(memcmp(digests[0], digests[1], 32) == 0);
}

void pt_pair_close(struct pt_pair *pair)
{
    peat_feed_close(pair->feed);
    PT_REQUIRE_OK(peat_check(pair->follower.db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(pair->primary.db));
    PT_REQUIRE_OK(peat_close(pair->follower.db));
}

/* ---- What the primary does ---- */

void pt_test_commit_random(struct peat_db *db, struct pt_dice *dice, bool large)
{
    struct peat_batch *batch = peat_batch_new(0);
    unsigned count = 1 + (unsigned)pt_dice_below(dice, 6);

    for (unsigned i = 0; i < count; i++) {
        uint8_t key = (uint8_t)pt_dice_below(dice, KEYS);
        uint8_t high = (uint8_t)(key + pt_dice_below(dice, 5));
        struct peat_bytes key_bytes = {&key, 1};
        size_t size = pt_dice_below(dice, 2000);

        if (large && pt_dice_one_in(dice, 60))
            size = 200 * KIB + pt_dice_below(dice, MIB);
        pt_value_fill(pt_dice_next(dice), value, size);
        if (pt_dice_one_in(dice, 6))
            PT_REQUIRE_OK(peat_batch_delete(batch, NULL, key_bytes));
        else if (pt_dice_one_in(dice, 12))
            PT_REQUIRE_OK(
                peat_batch_delete_range(batch, NULL, key_bytes, (struct peat_bytes){&high, 1}));
        else
            PT_REQUIRE_OK(peat_batch_put(batch, NULL, key_bytes, (struct peat_bytes){value, size}));
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    peat_batch_free(batch);
}

/* A collection is made, filled, perhaps dropped. */
static void collect_random(struct peat_db *db, struct pt_dice *dice)
{
    struct peat_collection *collection;
    char name[8];

    (void)snprintf(name, sizeof(name), "c%u", (unsigned)pt_dice_below(dice, 4));
    PT_REQUIRE_OK(peat_collection_open(db, NULL, name, PEAT_CREATE, &collection));
    PT_REQUIRE_OK(peat_put(db, collection, pt_text("key"), pt_text(name)));
    if (pt_dice_one_in(dice, 2))
        PT_REQUIRE_OK(peat_collection_drop(db, collection));
    peat_collection_close(collection);
}

void pt_pair_write(struct pt_pair *pair, struct pt_dice *dice, unsigned count, bool large)
{
    for (unsigned i = 0; i < count; i++) {
        pt_test_commit_random(pair->primary.db, dice, large);
        if (pt_dice_one_in(dice, 20))
            collect_random(pair->primary.db, dice);
        if (pt_dice_one_in(dice, 40))
            PT_REQUIRE_OK(peat_flush(pair->primary.db));
    }
}

void pt_test_put_segment(struct peat_db *db, unsigned from, unsigned to)
{
    struct peat_batch *batch = peat_batch_new(0); /* one, so that one write buffer has it */
    char name[32];
    void *place;

    for (unsigned i = from; i < to; i++) {
        (void)snprintf(name, sizeof(name), "key %08u", i);
        PT_REQUIRE_OK(peat_batch_put_reserve(batch, NULL, pt_text(name), 1000, &place));
        pt_value_fill(i, place, 1000);
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    peat_batch_free(batch);
    PT_REQUIRE_OK(peat_flush(db));
}

/* ---- Following ---- */

void pt_kept_records_clear(struct pt_kept_records *kept)
{
    for (size_t i = 0; i < kept->count; i++)
        free((void *)(uintptr_t)kept->records[i].payload.data);
    kept->count = 0;
}

void pt_kept_records_take(struct pt_kept_records *kept, struct peat_feed *feed, size_t max)
{
    kept->count = 0;
    while (kept->count < max) {
        struct peat_record *record = &kept->records[kept->count];
        enum peat_status status = peat_feed_next(feed, 0, record);
        uint8_t *copy;

        if (status == PEAT_TIMEOUT)
            return;
        PT_REQUIRE_OK(status);
        copy = malloc(record->payload.size + 1);
        PT_REQUIRE(copy != NULL);
        if (record->payload.size > 0)
            memcpy(copy, record->payload.data, record->payload.size);
        record->payload.data = copy;
        kept->count++;
    }
}

void pt_pair_follow(struct pt_pair *pair, struct pt_dice *dice)
{
    static const enum peat_durability levels[] = {PEAT_DEFAULT, PEAT_OS, PEAT_DISK};
    struct pt_kept_records kept;

    pt_pair_feed(pair);
    do {
        uint64_t commit = 0;

        pt_kept_records_take(&kept, pair->feed,
                             1 + (size_t)pt_dice_below(dice, PT_KEPT_RECORDS_MAX));
        PT_REQUIRE_OK(peat_apply(pair->follower.db, kept.records, kept.count,
                                 levels[pt_dice_below(dice, 3)], &commit));
        PT_REQUIRE(kept.count == 0 || commit == kept.records[kept.count - 1].commit);
        if (kept.count > 0)
            PT_REQUIRE_OK(peat_feed_acknowledge(pair->feed, commit));
        pt_kept_records_clear(&kept);
    } while (pt_test_newest(pair->follower.db) < pt_test_newest(pair->primary.db));
}

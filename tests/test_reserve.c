/*
 * The property: in a store that is full, however large it may be and whatever bounds it, everything can be
 * deleted, one entry by one: each of these commits succeeds, and in the end the space is free.
 *
 * Bounds, sizes and options are random; the full disk is the simulated one. PEAT_ROUNDS, or the first
 * argument: how many stores. tests/test_full_disk.c is the same property on real file systems.
 */
#include "tests/disk.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    ROUNDS = 6,
    NAME_SIZE = 16,
    MIB = 1 << 20,
    STORE_SIZE_MIN = 3 * MIB,
    STORE_SIZE_MAX = 16 * MIB,
    VALUE_SIZE_MAX = 20000
};

static uint64_t round_count = ROUNDS;

/* One store, and what bounds it. */
struct round {
    uint64_t seed;
    struct peat_options options;
    uint64_t size;   /* bytes that it may have */
    bool quota;      /* by file_size_max; else the disk has no more */
    bool keeps_part; /* as in pt_disk_set_capacity() */
    enum peat_durability durability;
    size_t value_size_max;
    uint64_t count;   /* entries that were put */
    uint64_t deleted; /* of them, in the order of deleting */
    uint64_t step;    /* from one that is deleted to the next: prime to count, 1 for in order */
};

static struct round round_roll(uint64_t seed)
{
    struct pt_dice dice = {pt_mix(seed)};
    struct round round = {.seed = seed, .options = pt_test_options(PEAT_CREATE)};

    pt_test_options_tiny(&round.options);
    round.options.address_space_size = (size_t)256 * MIB;
    round.options.write_buffer_size = (size_t)(64 << 10) << pt_dice_below(&dice, 6);
    round.size = STORE_SIZE_MIN + pt_dice_below(&dice, STORE_SIZE_MAX - STORE_SIZE_MIN);
    round.quota = pt_dice_one_in(&dice, 2);
    round.keeps_part = pt_dice_one_in(&dice, 2);
    if (round.quota)
        round.options.file_size_max = round.size;
    round.durability = pt_dice_one_in(&dice, 3) ? PEAT_OS : PEAT_DISK;
    if (pt_dice_one_in(&dice, 2))
        round.options.flags |= PEAT_LOG_PWRITE;
    round.value_size_max = pt_dice_one_in(&dice, 3) ? VALUE_SIZE_MAX : 3000;
    round.step = pt_dice_one_in(&dice, 2) ? 1 : 0;
    return round;
}

static struct peat_bytes key_of(char name[NAME_SIZE], uint64_t number)
{
    struct peat_bytes key = {name, 0};

    key.size = (size_t)snprintf(name, NAME_SIZE, "key %06" PRIu64, number);
    return key;
}

static struct peat_bytes value_of(const struct round *round, uint64_t number)
{
    static uint8_t bytes[VALUE_SIZE_MAX];
    struct peat_bytes value = {bytes, pt_mix(number) % round->value_size_max};

    pt_value_fill(number, bytes, value.size);
    return value;
}

static struct peat_stats stats_of(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats;
}

static void context_set(const struct round *round, struct peat_db *db, const char *what)
{
    struct peat_stats stats = stats_of(db);

    pt_test_context("PEAT_SEED=%" PRIu64 " and one round: %s of %" PRIu64 " bytes, %s %" PRIu64
                    " of %" PRIu64 ", segments %" PRIu64 ", log %" PRIu64 ", free %" PRIu64
                    ", pending %" PRIu64 ", reserve %" PRIu64,
                    round->seed, round->quota ? "a quota" : "a disk", round->size, what,
                    round->deleted, round->count, stats.segment_size, stats.log_size,
                    stats.free_size, stats.pending_size, stats.reserve_size);
}

static void fill(struct round *round, struct peat_db *db)
{
    struct peat_batch *batch = peat_batch_new(0);
    enum peat_status status;
    char name[NAME_SIZE];

    PT_REQUIRE(batch != NULL);
    do {
        peat_batch_clear(batch);
        PT_REQUIRE_OK(
            peat_batch_put(batch, NULL, key_of(name, round->count), value_of(round, round->count)));
        status = peat_write(db, batch, round->durability, NULL);
        round->count += status == PEAT_OK;
    } while (status == PEAT_OK);
    PT_REQUIRE_STATUS(status, PEAT_NO_SPACE);
    peat_batch_free(batch);
}

/* The number of the entry that is deleted as the @p position -th: each once. */
static uint64_t victim(const struct round *round, uint64_t position)
{
    uint64_t step = round->step;

    while (step == 0 || (step > 1 && round->count % step == 0))
        step = step == 0 ? 769 : step + 2;
    return position * step % round->count;
}

static void verify(const struct round *round, struct peat_db *db)
{
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;
    struct peat_bytes value;
    char name[NAME_SIZE];
    uint64_t shown = 0;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    for (uint64_t i = 0; i < round->count; i++) {
        uint64_t number = victim(round, i);

        if (i < round->deleted) {
            PT_REQUIRE_STATUS(peat_get(snapshot, NULL, key_of(name, number), &value),
                              PEAT_NOT_FOUND);
            continue;
        }
        PT_REQUIRE_OK(peat_get(snapshot, NULL, key_of(name, number), &value));
        PT_REQUIRE(pt_same(value, value_of(round, number)));
    }
    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    while (peat_iterator_next(iterator) == PEAT_OK)
        shown++;
    PT_REQUIRE(shown == round->count - round->deleted);
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
}

/* What was deleted is gone, also for the one that is half way. */
static void halfway(const struct round *round, struct peat_db *db)
{
    struct round done = *round;

    done.deleted++;
    verify(&done, db);
}

static void delete_all(struct round *round, struct peat_db *db)
{
    struct peat_batch *batch = peat_batch_new(0);
    char name[NAME_SIZE];

    PT_REQUIRE(batch != NULL);
    for (; round->deleted < round->count; round->deleted++) {
        peat_batch_clear(batch);
        PT_REQUIRE_OK(peat_batch_delete(batch, NULL, key_of(name, victim(round, round->deleted))));
        context_set(round, db, "deleting");
        PT_REQUIRE_OK(peat_write(db, batch, round->durability, NULL));
        if (round->deleted == round->count / 2)
            halfway(round, db);
    }
    peat_batch_free(batch);
}

static void round_do(struct round *round)
{
    struct peat_db *db;
    char name[NAME_SIZE];

    pt_disk_load(NULL, 0);
    pt_disk_set_capacity(round->quota ? UINT64_MAX : round->size, round->keeps_part);
    PT_REQUIRE_OK(peat_open("disk", &round->options, &db));
    fill(round, db);
    context_set(round, db, "full,");
    verify(round, db);
    delete_all(round, db);
    context_set(round, db, "all deleted,");
    verify(round, db);
    PT_REQUIRE_OK(peat_compact(db, NULL, NULL, NULL, NULL));
    PT_REQUIRE(stats_of(db).segment_size == 0);
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_put(db, NULL, key_of(name, 0), value_of(round, 0)));
    PT_REQUIRE_OK(peat_close(db));
}

static void p6_in_a_full_store_everything_can_be_deleted_one_by_one(void **state)
{
    uint64_t seed = pt_test_seed();
    (void)state;

    pt_disk_start();
    for (uint64_t i = 0; i < round_count; i++) {
        struct round round = round_roll(seed + i);

        round_do(&round);
    }
    pt_disk_stop();
}

/* Each flush makes a run of a few deletions, in a region unit; and a step over all runs comes into the middle
 * of many segments, of which nothing is freed. */
static void p6_durable_deletes_all_over_a_full_store_do_not_use_up_the_reserve(void **state)
{
    (void)state;
    pt_disk_start();
    for (unsigned i = 0; i < 3; i++) {
        struct round round = {.seed = i,
                              .options = pt_test_options(PEAT_CREATE | PEAT_LOG_PWRITE),
                              .size = 12 * MIB + i * 1300000,
                              .quota = i < 2,
                              .durability = PEAT_DISK,
                              .value_size_max = 3000};

        pt_test_options_tiny(&round.options);
        round.options.write_buffer_size =
            MIB; /* the merger is not busy: what is left are such flushes */
        round.options.address_space_size = (size_t)256 * MIB;
        round.options.file_size_max = round.quota ? round.size : 0;
        round_do(&round);
    }
    pt_disk_stop();
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p6_in_a_full_store_everything_can_be_deleted_one_by_one),
        cmocka_unit_test(p6_durable_deletes_all_over_a_full_store_do_not_use_up_the_reserve),
    };
    int failed;

    round_count = argc > 1 ? strtoull(argv[1], NULL, 10) : pt_test_number("PEAT_ROUNDS", ROUNDS);
    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

/*
 * The property: options change what a store costs, never what it shows. The same history is done to stores
 * with different options, flushed, merged, reopened and abandoned at different moments; at the same
 * commits all of them give the same digest, the same commit number, and the same scans.
 *
 *     test_options [STEPS]       PEAT_SEED=n repeats a run, PEAT_STEPS=n is another way to say STEPS
 */
#include "tests/support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    STEPS_DEFAULT = 1200, /* commits of the history */
    VARIANTS = 6,
    MARKS = 16, /* moments at which all are compared */
    KEYS = 400,
    COLLECTIONS = 3, /* the root, one in it, one in that */
    OPERATIONS_MAX = 30,
    IDLE_MS = 120000
};

/* What is compared at a mark. */
struct mark {
    uint64_t commit;
    uint64_t entry_count;
    uint8_t digest[32];
    uint64_t scanned; /* a number for a scan of the root */
};

/* One way to do the history. Chances: one in so many commits; 0: never. */
struct variant {
    struct peat_options options;
    bool in_memory;
    unsigned flush;
    unsigned idle;
    unsigned close;
    unsigned abort;
    unsigned persist;
};

struct run {
    const struct variant *variant;
    struct peat_db *db;
    struct peat_batch *batch;
    struct peat_collection *collections[COLLECTIONS]; /* [0]: NULL, the root */
    struct pt_dice history;                           /* what is committed: the same in each run */
    struct pt_dice timing;                            /* what else is done: the run's own */
    unsigned reopened;
    unsigned kept;
};

static unsigned steps_wanted;

/* ---- Variants ---- */

static unsigned chance_roll(struct pt_dice *dice, unsigned rare)
{
    return pt_dice_one_in(dice, 3) ? 0 : rare / 10 + (unsigned)pt_dice_below(dice, rare);
}

/* The first is the plainest: in memory, in one large buffer, and never disturbed. */
static void variant_roll(struct variant *variant, unsigned number, struct pt_dice *dice)
{
    static const unsigned flags[] = {0, PEAT_LOG_PWRITE};
    struct peat_options *options = &variant->options;

    memset(variant, 0, sizeof(*variant));
    *options = pt_test_options(PEAT_CREATE | flags[pt_dice_below(dice, 2)]);
    variant->in_memory = number == 0;
    if (number == 0)
        return;
    options->write_buffer_size = (size_t)65536 << pt_dice_below(dice, 8);
    options->memory_size_max = (size_t)8388608 << pt_dice_below(dice, 5);
    options->log_size_max = (size_t)1048576 << pt_dice_below(dice, 6);
    options->sync_interval_ms = 1 + (unsigned)pt_dice_below(dice, 200);
    options->durability = PEAT_MEMORY + (enum peat_durability)pt_dice_below(dice, 2);
    options->history_count = 1 + (unsigned)pt_dice_below(dice, 3);
    variant->flush = chance_roll(dice, 100);
    variant->idle = chance_roll(dice, 300);
    variant->close = chance_roll(dice, 400);
    variant->abort = chance_roll(dice, 400);
    variant->persist = chance_roll(dice, 500);
}

/* ---- A run's store ---- */

static void store_open(struct run *run)
{
    static const char *const names[COLLECTIONS] = {NULL, "one", "two"};
    const char *path = run->variant->in_memory ? NULL : pt_test_path("variant");

    PT_REQUIRE_OK(peat_open(path, &run->variant->options, &run->db));
    for (size_t i = 1; i < COLLECTIONS; i++)
        PT_REQUIRE_OK(peat_collection_open(run->db, run->collections[i - 1], names[i], PEAT_CREATE,
                                           &run->collections[i]));
}

static void collections_close(struct run *run)
{
    for (size_t i = 1; i < COLLECTIONS; i++)
        peat_collection_close(run->collections[i]);
}

/* What must survive an abandoned process is asked for first. */
static void store_reopen(struct run *run, bool clean)
{
    collections_close(run);
    if (!clean)
        PT_REQUIRE_OK(peat_sync(run->db));
    PT_REQUIRE_OK(clean ? peat_close(run->db) : peat_abort(run->db));
    run->reopened++;
    store_open(run);
}

/* ---- The history ---- */

static struct peat_bytes key_roll(struct pt_dice *dice, char room[32])
{
    uint64_t number = pt_dice_below(dice, KEYS);

    return (struct peat_bytes){
        room, (size_t)snprintf(room, 32, "k%0*" PRIu64, 1 + (int)(number % 9), number)};
}

static void operation_add(struct run *run)
{
    struct pt_dice *dice = &run->history;
    struct peat_collection *in = run->collections[pt_dice_below(dice, COLLECTIONS)];
    uint64_t roll = pt_dice_below(dice, 100);
    char low_room[32];
    char high_room[32];
    struct peat_bytes low = key_roll(dice, low_room);
    struct peat_bytes high = key_roll(dice, high_room);
    uint64_t size = pt_dice_below(dice, pt_dice_one_in(dice, 40) ? 60000 : 300);
    void *value;

    if (roll < 75) {
        PT_REQUIRE_OK(peat_batch_put_reserve(run->batch, in, low, (size_t)size, &value));
        pt_value_fill(pt_dice_next(dice), value, (size_t)size);
    } else if (roll < 97) {
        PT_REQUIRE_OK(peat_batch_delete(run->batch, in, low));
    } else {
        PT_REQUIRE_OK(peat_batch_delete_range(run->batch, in, low, high));
    }
}

/* Drop the inmost collection, and make it again: two commits. */
static void collection_renew(struct run *run)
{
    struct peat_collection **last = &run->collections[COLLECTIONS - 1];

    PT_REQUIRE_OK(peat_collection_drop(run->db, *last));
    peat_collection_close(*last);
    PT_REQUIRE_OK(
        peat_collection_open(run->db, run->collections[COLLECTIONS - 2], "two", PEAT_CREATE, last));
}

static void commit_do(struct run *run)
{
    uint64_t count = 1 + pt_dice_below(&run->history, OPERATIONS_MAX);

    if (pt_dice_one_in(&run->history, 200)) {
        collection_renew(run);
        return;
    }
    peat_batch_clear(run->batch);
    for (uint64_t i = 0; i < count; i++)
        operation_add(run);
    PT_REQUIRE_OK(peat_write(run->db, run->batch, PEAT_DEFAULT, NULL));
}

static bool happens(struct run *run, unsigned chance)
{
    return chance != 0 && pt_dice_one_in(&run->timing, chance);
}

static void disturb(struct run *run)
{
    const struct variant *variant = run->variant;
    char name[32];

    if (happens(run, variant->flush))
        PT_REQUIRE_OK(peat_flush(run->db));
    if (happens(run, variant->idle))
        PT_REQUIRE_OK(peat_wait_idle(run->db, IDLE_MS));
    if (happens(run, variant->persist)) {
        (void)snprintf(name, sizeof(name), "state %u", run->kept++);
        PT_REQUIRE_OK(peat_snapshot_persist(run->db, name, NULL));
    }
    if (happens(run, variant->close))
        store_reopen(run, true);
    if (happens(run, variant->abort))
        store_reopen(run, false);
}

/* ---- Comparing ---- */

/* A number for all entries of the root; the same in both directions. */
static uint64_t scan(const struct peat_snapshot *snapshot, bool forward)
{
    struct peat_iterator *iterator;
    uint64_t sum = 0;
    enum peat_status status;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    while (status == PEAT_OK) {
        sum += pt_fingerprint(pt_fingerprint(1, peat_iterator_key(iterator)),
                              peat_iterator_value(iterator));
        status = forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
    return sum;
}

static void mark_take(struct run *run, struct mark *mark)
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(run->db, &snapshot));
    mark->commit = peat_snapshot_commit(snapshot);
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, mark->digest, &mark->entry_count));
    mark->scanned = scan(snapshot, true);
    PT_REQUIRE(mark->scanned == scan(snapshot, false));
    peat_snapshot_close(snapshot);
}

static void require_same(const struct mark *mark, const struct mark *first)
{
    PT_REQUIRE(mark->commit == first->commit);
    PT_REQUIRE(mark->entry_count == first->entry_count);
    PT_REQUIRE(mark->scanned == first->scanned);
    PT_REQUIRE(memcmp(mark->digest, first->digest, sizeof(mark->digest)) == 0);
}

/* ---- The test ---- */

static void variant_do(const struct variant *variant, uint64_t seed, unsigned number,
                       struct mark marks[MARKS])
{
    struct run run = {.variant = variant, .history = {seed}, .timing = {pt_mix(seed) + number}};

    run.batch = peat_batch_new(0);
    PT_REQUIRE(run.batch != NULL);
    store_open(&run);
    for (unsigned i = 0; i < MARKS; i++) {
        pt_test_context("PEAT_SEED=%" PRIu64 ", variant %u, mark %u", seed, number, i);
        for (unsigned k = 0; k < steps_wanted / MARKS; k++) {
            commit_do(&run);
            disturb(&run);
        }
        mark_take(&run, &marks[i]);
    }
    PT_REQUIRE_OK(peat_check(run.db, NULL, NULL, NULL));
    collections_close(&run);
    PT_REQUIRE_OK(peat_close(run.db));
    peat_batch_free(run.batch);
    printf("# variant %u: buffer %zu KiB, memory %zu MiB, log %zu MiB, flags %#x, %u reopened, "
           "%u kept\n",
           number, variant->options.write_buffer_size >> 10, variant->options.memory_size_max >> 20,
           variant->options.log_size_max >> 20, variant->options.flags, run.reopened, run.kept);
}

static void p3_the_same_history_shows_the_same_under_all_options(void **state)
{
    static struct mark first[MARKS];
    static struct mark marks[MARKS];
    uint64_t seed = pt_test_seed();
    struct pt_dice dice = {seed};
    (void)state;

    for (unsigned i = 0; i < VARIANTS; i++) {
        struct variant variant;

        variant_roll(&variant, i, &dice);
        (void)remove(pt_test_path("variant"));
        variant_do(&variant, seed, i, i == 0 ? first : marks);
        for (unsigned k = 0; k < MARKS && i > 0; k++) {
            pt_test_context("PEAT_SEED=%" PRIu64 ", variant %u, mark %u", seed, i, k);
            require_same(&marks[k], &first[k]);
        }
    }
    pt_test_context("%s", "");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p3_the_same_history_shows_the_same_under_all_options),
    };
    int failed;

    pt_test_start();
    steps_wanted = (unsigned)pt_test_number("PEAT_STEPS", STEPS_DEFAULT);
    if (argc > 1)
        steps_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

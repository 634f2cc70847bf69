/*
 * The property: log_size_max holds. However fast it is written to, a store leaves no more log for a crash
 * to be replayed than was asked for (and one group of commits), and what open says that it replayed is
 * what there was.
 *
 *     test_recovery      PEAT_SEED=n repeats a run
 */
#include "tests/support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    LOG_SIZE_MAX = 4 << 20, /* bytes; enough for some buffers of 1.3 MB */
    COST_MIN = 128,         /* bytes that the header says an operation counts as */
    RECORD_SIZE_MAX = 256   /* bytes of a record besides its payload, and more */
};

/* One kind of load. */
struct load {
    size_t value_size;
    unsigned operations; /* in a batch */
    unsigned batches;
};

static const struct load loads[] = {{100, 100, 4000},
                                    {0, 200, 2000},
                                    {100, 1, 100000},
                                    {400000, 1, 100}};

static uint8_t noise[400000];

static struct peat_db *open_at(const char *path)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    options.log_size_max = LOG_SIZE_MAX;
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    return db;
}

static struct peat_stats stats_of(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats;
}

/* Bytes that a batch takes in the log, or its operations' least cost: whichever is more. */
static uint64_t batch_cost(const struct load *load)
{
    uint64_t size = load->operations * (load->value_size + 32 + COST_MIN);

    return size + RECORD_SIZE_MAX;
}

static void write_batch(struct peat_db *db, struct peat_batch *batch, const struct load *load,
                        uint64_t number)
{
    peat_batch_clear(batch);
    for (unsigned i = 0; i < load->operations; i++) {
        uint64_t key = pt_mix(number * load->operations + i);

        PT_REQUIRE_OK(peat_batch_put(batch, NULL, (struct peat_bytes){&key, sizeof(key)},
                                     (struct peat_bytes){noise, load->value_size}));
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_DEFAULT, NULL));
}

static void the_log_stays_within_its_budget_under_load(void **state)
{
    char path[512];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s", pt_test_path("budget"));
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        const struct load *load = &loads[i];
        struct peat_batch *batch = peat_batch_new(0);
        uint64_t most = 0;
        struct peat_db *db;

        (void)unlink(path);
        db = open_at(path);
        for (unsigned k = 0; k < load->batches; k++) {
            uint64_t size;

            write_batch(db, batch, load, k);
            size = stats_of(db).unflushed_log_size;
            most = size > most ? size : most;
        }
        (void)printf("# %" PRIu64 " bytes of log at most, values of %zu\n", most, load->value_size);
        PT_REQUIRE(most > LOG_SIZE_MAX / 8);
        PT_REQUIRE(most <= LOG_SIZE_MAX + batch_cost(load));
        peat_batch_free(batch);
        PT_REQUIRE_OK(peat_close(db));
    }
}

static void digest_take(struct peat_db *db, uint8_t digest[32])
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, NULL));
    peat_snapshot_close(snapshot);
}

/* What both processes see. */
struct told {
    uint64_t commit;
    uint64_t unflushed_size;
};

struct victim {
    const char *path;
    const struct load *load;
    volatile struct told *told;
};

/* Write, come to rest, write some more, tell how it stands, and go without a word. */
static void write_and_die(void *context)
{
    struct victim *victim = context;
    struct peat_db *db = open_at(victim->path);
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_stats stats;
    unsigned more = (unsigned)(LOG_SIZE_MAX / 8 / batch_cost(victim->load)) + 1;

    for (unsigned i = 0; i < victim->load->batches / 4; i++)
        write_batch(db, batch, victim->load, i);
    PT_REQUIRE_OK(peat_wait_idle(db, 600000));
    for (unsigned i = 0; i < more; i++)
        write_batch(db, batch, victim->load, victim->load->batches + i);
    stats = stats_of(db);
    victim->told->commit = stats.commit;
    victim->told->unflushed_size = stats.unflushed_log_size;
    _exit(0);
}

static void what_open_says_it_replayed_is_what_was_left(void **state)
{
    char path[512];
    volatile struct told *told =
        mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    PT_REQUIRE(told != MAP_FAILED);
    (void)snprintf(path, sizeof(path), "%s", pt_test_path("left"));
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        struct victim victim = {path, &loads[i], told};
        unsigned more = (unsigned)(LOG_SIZE_MAX / 8 / batch_cost(victim.load)) + 1;
        struct peat_stats stats;
        struct peat_db *db;

        (void)unlink(path);
        pt_child_join(pt_child_start(write_and_die, &victim));
        db = open_at(path);
        stats = stats_of(db);
        PT_REQUIRE(stats.commit == told->commit);
        PT_REQUIRE(stats.replayed_commits == more);
        PT_REQUIRE(stats.replayed_size == told->unflushed_size);
        PT_REQUIRE(stats.replay_time_us > 0);
        PT_REQUIRE(stats.unflushed_log_size == 0);
        PT_REQUIRE_OK(peat_close(db));
        db = open_at(path);
        PT_REQUIRE(stats_of(db).replayed_commits == 0 && stats_of(db).replayed_size == 0);
        PT_REQUIRE_OK(peat_close(db));
    }
    (void)munmap((void *)(uintptr_t)told, sizeof(*told));
}

/* Killed at any moment under load: no more is replayed than the budget allows, nothing is missing. */
static void a_crash_under_load_leaves_no_more_than_the_budget(void **state)
{
    const struct load load = {100, 100, UINT32_MAX};
    struct pt_dice dice = {pt_test_seed()};
    volatile struct told *told =
        mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char path[512];

    (void)state;
    PT_REQUIRE(told != MAP_FAILED);
    (void)snprintf(path, sizeof(path), "%s", pt_test_path("killed"));
    for (unsigned round = 0; round < 5; round++) {
        uint64_t die_at = 500 + pt_dice_below(&dice, 3000);
        struct peat_stats stats;
        struct peat_db *db;
        int far_enough[2];
        char sign;
        pid_t child;

        (void)unlink(path);
        told->commit = 0;
        PT_REQUIRE(pipe(far_enough) == 0);
        (void)fflush(NULL);
        child = fork();
        PT_REQUIRE(child >= 0);
        if (child == 0) {
            struct peat_batch *batch = peat_batch_new(0);

            db = open_at(path);
            for (uint64_t i = 0; i < load.batches; i++) {
                write_batch(db, batch, &load, i);
                told->commit = i + 1;
                if (i == die_at)
                    PT_REQUIRE(pt_pipe_write(far_enough[1], "x", 1));
            }
            _exit(1);
        }
        PT_REQUIRE(pt_pipe_read(far_enough[0], &sign, 1));
        pt_child_kill(child);
        (void)close(far_enough[0]);
        (void)close(far_enough[1]);
        db = open_at(path);
        stats = stats_of(db);
        PT_REQUIRE(stats.commit >= told->commit && stats.commit <= told->commit + 1);
        PT_REQUIRE(stats.replayed_commits * load.operations * COST_MIN <=
                   LOG_SIZE_MAX + batch_cost(&load));
        PT_REQUIRE_OK(peat_close(db));
    }
    (void)munmap((void *)(uintptr_t)told, sizeof(*told));
}

/* What a salvage replays, which opens nothing else of the store, is not kept in one buffer. */
static void a_salvage_brings_back_more_log_than_a_write_buffer_takes(void **state)
{
    enum { COUNT = 170 }; /* 68 MB: more than the default */
    struct peat_options options = pt_test_options(PEAT_CREATE);
    char path[512];
    char new_path[512];
    uint8_t digests[2][32];
    struct peat_db *db;
    (void)state;

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("store"));
    (void)snprintf(new_path, sizeof(new_path), "%s", pt_test_path("salvaged"));
    options.memory_size_max = (size_t)1 << 30;
    options.write_buffer_size = (size_t)256 << 20;
    options.log_size_max = (uint64_t)1 << 30;
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    for (unsigned i = 0; i < COUNT; i++) {
        struct peat_bytes key = {&i, sizeof(i)};
        struct peat_bytes value = {noise + i, sizeof(noise) - i};

        PT_REQUIRE_OK(peat_put(db, NULL, key, value));
    }
    PT_REQUIRE(stats_of(db).flushes == 0);
    digest_take(db, digests[0]);
    PT_REQUIRE_OK(peat_abort(db));
    PT_REQUIRE_OK(peat_salvage(path, new_path, NULL, NULL));
    options = pt_test_options(0);
    PT_REQUIRE_OK(peat_open(new_path, &options, &db));
    digest_take(db, digests[1]);
    assert_memory_equal(digests[0], digests[1], sizeof(digests[0]));
    PT_REQUIRE_OK(peat_close(db));
    (void)unlink(path);
    (void)unlink(new_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_stays_within_its_budget_under_load),
        cmocka_unit_test(what_open_says_it_replayed_is_what_was_left),
        cmocka_unit_test(a_crash_under_load_leaves_no_more_than_the_budget),
        cmocka_unit_test(a_salvage_brings_back_more_log_than_a_write_buffer_takes),
    };
    int failed;

    pt_test_start();
    pt_value_fill(pt_test_seed(), noise, sizeof(noise));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

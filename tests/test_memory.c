/*
 * The property: memory_size_max holds. Whatever is done to a store, the process's private memory stays
 * below it plus 16 MiB (and what the header says that a single large batch may take besides), and what
 * is asked is done all the same. And small stays small: an idle store, an empty one, one of a
 * thousand entries.
 *
 *     test_memory [MEGABYTES]      PEAT_SEED=n repeats a run
 */
#include "tests/private_memory.h"
#include "tests/support.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)

enum {
    MEGABYTES_DEFAULT = 48,
    BATCH_SIZE_MAX = 6 << 20, /* bytes */
    ITERATORS = 6,
    PUTTERS = 64,
    SNAPSHOTS_MAX = 64,
    LARGE_VALUE = 400000 /* bytes */
};

static const uint64_t limits[] = {8 * MIB, 32 * MIB, 128 * MIB};

static uint64_t megabytes_wanted;
static uint64_t seed;
static uint8_t noise[1 << 20]; /* values are windows into it: nothing of them is on the heap */

/* What is put into a store. */
struct load {
    size_t value_size;
    size_t batch_size;  /* bytes after which to commit */
    uint64_t key_count; /* keys are chosen from so many; 0: each once */
    uint64_t size;      /* bytes in all */
    unsigned iterators; /* that stand in the store meanwhile and move */
};

struct play {
    struct peat_db *db;
    struct peat_batch *batch;
    struct pt_dice dice;
    uint64_t put_count;
    struct peat_iterator *iterators[ITERATORS]; /* NULL: closed */
    char path[512];
};

static struct peat_options options_of(uint64_t memory_size_max)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);

    options.memory_size_max = memory_size_max;
    return options;
}

static void play_open(struct play *play, const char *name, uint64_t memory_size_max)
{
    struct peat_options options = options_of(memory_size_max);

    (void)snprintf(play->path, sizeof(play->path), "%s", pt_test_path(name));
    (void)unlink(play->path);
    play->dice = (struct pt_dice){seed};
    play->put_count = 0;
    PT_REQUIRE_OK(peat_open(play->path, &options, &play->db));
}

static uint64_t stalled_ms(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats.stall_time_us / 1000;
}

static void play_close(struct play *play)
{
    PT_REQUIRE_OK(peat_close(play->db));
    (void)unlink(play->path);
}

/* A batch whose memory is there before anything is measured: it is the test's own. */
static struct peat_batch *batch_new(size_t size)
{
    struct peat_batch *batch = peat_batch_new(size);
    void *place;

    PT_REQUIRE(batch != NULL);
    PT_REQUIRE_OK(peat_batch_put_reserve(batch, NULL, pt_text("k"), size - 64, &place));
    memset(place, 1, size - 64);
    peat_batch_clear(batch);
    return batch;
}

static void require_below(uint64_t peak, uint64_t limit, const char *what)
{
    (void)printf("# %s: %" PRIu64 " KiB at most, %" PRIu64 " allowed\n", what, peak >> 10,
                 limit >> 10);
    if (!pt_private_memory_counts())
        (void)printf("# not compared: the sanitizer takes memory of its own\n");
    else if (peak > limit)
        pt_test_fail(__FILE__, __LINE__,
                     "%s: %" PRIu64 " KiB of private memory, only %" PRIu64 " are allowed", what,
                     peak >> 10, limit >> 10);
}

/* --- loads ---------------------------------------------------------------------------------- */

static void iterators_close(struct play *play)
{
    for (unsigned i = 0; i < ITERATORS; i++) {
        peat_iterator_close(play->iterators[i]);
        play->iterators[i] = NULL;
    }
}

/* Iterators may keep so much that a commit fails, as the header says; it does not without them. */
static void commit(struct play *play)
{
    enum peat_status status = PEAT_OK;

    if (peat_batch_count(play->batch) > 0)
        status = peat_write(play->db, play->batch, PEAT_DEFAULT, NULL);
    if (status == PEAT_NO_MEMORY && play->iterators[0] != NULL) {
        iterators_close(play);
        status = peat_write(play->db, play->batch, PEAT_DEFAULT, NULL);
    }
    PT_REQUIRE_STATUS(status, PEAT_OK);
    peat_batch_clear(play->batch);
}

static void put_one(struct play *play, const struct load *load)
{
    uint64_t number = play->put_count++;
    uint64_t key;

    if (load->key_count > 0)
        number = pt_dice_below(&play->dice, load->key_count);
    key = pt_mix(number);
    PT_REQUIRE_OK(peat_batch_put(play->batch, NULL, (struct peat_bytes){&key, sizeof(key)},
                                 (struct peat_bytes){noise + number % 4096, load->value_size}));
    if (peat_batch_size(play->batch) + load->value_size + 64 > load->batch_size)
        commit(play);
}

static void step_all(struct play *play, unsigned count)
{
    struct peat_iterator **iterators = play->iterators;

    for (unsigned i = 0; i < count; i++) {
        struct peat_snapshot *snapshot;

        if (iterators[i] != NULL && !pt_dice_one_in(&play->dice, 50)) {
            for (int step = 0; step < 20; step++)
                if (peat_iterator_next(iterators[i]) != PEAT_OK)
                    break;
            continue;
        }
        peat_iterator_close(iterators[i]);
        PT_REQUIRE_OK(peat_snapshot_open(play->db, &snapshot));
        PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterators[i]));
        peat_snapshot_close(snapshot);
    }
}

static void run_load(struct play *play, const struct load *load)
{
    uint64_t done = 0;
    uint64_t step_at = 0;

    while (done < load->size) {
        put_one(play, load);
        done += load->value_size + 8 + 16;
        if (load->iterators > 0 && done >= step_at) {
            step_all(play, load->iterators);
            step_at = done + load->size / 1000;
        }
    }
    commit(play);
    iterators_close(play);
}

/* What the header promises: a batch above a quarter of the limit takes twice its size besides. */
static uint64_t bound_of(uint64_t limit, uint64_t batch_size)
{
    return limit + 16 * MIB + (batch_size > limit / 4 ? 2 * batch_size : 0);
}

/* The load under each limit: loading, what the merger does with it, closing. */
static void load_under_each_limit(const char *what, const struct load *load)
{
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct play play = {.batch = batch_new(BATCH_SIZE_MAX)};
        uint64_t start_us = pt_test_now_us();
        char words[128];

        pt_private_memory_watch();
        play_open(&play, "load", limits[i]);
        run_load(&play, load);
        (void)printf("# %" PRIu64 " ms to load, %" PRIu64 " ms of it slowed down\n",
                     (pt_test_now_us() - start_us) / 1000, stalled_ms(play.db));
        PT_REQUIRE_OK(peat_wait_idle(play.db, 600000));
        play_close(&play);
        (void)snprintf(words, sizeof(words), "%s at %" PRIu64 " MiB", what, limits[i] / MIB);
        require_below(pt_private_memory_peak(), bound_of(limits[i], load->batch_size), words);
        peat_batch_free(play.batch);
    }
}

static void a_load_of_usual_entries_stays_within_the_limit(void **state)
{
    (void)state;
    load_under_each_limit(
        "usual entries",
        &(struct load){.value_size = 100, .batch_size = 100000, .size = megabytes_wanted * MIB});
}

static void a_load_of_tiny_entries_stays_within_the_limit(void **state)
{
    (void)state;
    load_under_each_limit(
        "tiny entries",
        &(struct load){.value_size = 0, .batch_size = 30000, .size = megabytes_wanted * MIB / 2});
}

static void overwriting_beside_iterators_stays_within_the_limit(void **state)
{
    (void)state;
    load_under_each_limit("overwrites and iterators",
                          &(struct load){.value_size = 200,
                                         .batch_size = 50000,
                                         .key_count = megabytes_wanted * MIB / 1000,
                                         .size = megabytes_wanted * MIB,
                                         .iterators = ITERATORS});
}

static void large_values_stay_within_the_limit(void **state)
{
    (void)state;
    load_under_each_limit("values of 400 KB", &(struct load){.value_size = LARGE_VALUE,
                                                             .batch_size = 1 << 20,
                                                             .key_count = 200,
                                                             .size = 2 * megabytes_wanted * MIB});
}

static void large_batches_stay_within_the_limit(void **state)
{
    (void)state;
    load_under_each_limit("batches of 6 MB", &(struct load){.value_size = 100,
                                                            .batch_size = BATCH_SIZE_MAX,
                                                            .size = megabytes_wanted * MIB});
}

/* --- many threads --------------------------------------------------------------------------- */

static void *put_large(void *context)
{
    struct play *play = context;

    for (uint64_t i = 0; i < megabytes_wanted * MIB / PUTTERS / LARGE_VALUE + 2; i++) {
        uint64_t key[2] = {(uint64_t)(uintptr_t)&key, i}; /* the thread's own */

        PT_REQUIRE_OK(peat_put(play->db, NULL, (struct peat_bytes){key, sizeof(key)},
                               (struct peat_bytes){noise, LARGE_VALUE}));
    }
    return NULL;
}

static void puts_that_wait_in_many_threads_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct play play;
        pthread_t threads[PUTTERS];

        pt_private_memory_watch();
        play_open(&play, "threads", limits[i]);
        for (unsigned k = 0; k < PUTTERS; k++)
            PT_REQUIRE(pthread_create(&threads[k], NULL, put_large, &play) == 0);
        for (unsigned k = 0; k < PUTTERS; k++)
            PT_REQUIRE(pthread_join(threads[k], NULL) == 0);
        play_close(&play);
        require_below(pt_private_memory_peak(), limits[i] + 16 * MIB, "64 threads that put");
    }
}

/* --- snapshots ------------------------------------------------------------------------------ */

/* One batch; what the commit came to. */
static enum peat_status write_some(struct play *play, const struct load *load)
{
    enum peat_status status;

    for (int i = 0; i < 200; i++)
        put_one(play, load);
    status = peat_write(play->db, play->batch, PEAT_DEFAULT, NULL);
    peat_batch_clear(play->batch);
    return status;
}

static void snapshots_that_pin_memory_make_commits_fail_and_not_hang(void **state)
{
    const struct load load = {.value_size = 1000, .batch_size = SIZE_MAX, .key_count = 100000};
    struct peat_snapshot *snapshots[SNAPSHOTS_MAX];
    struct play play = {.batch = batch_new(BATCH_SIZE_MAX)};
    enum peat_status status = PEAT_OK;
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    unsigned count = 0;

    (void)state;
    pt_private_memory_watch();
    play_open(&play, "pinned", 8 * MIB);
    while (count < SNAPSHOTS_MAX && status == PEAT_OK) {
        PT_REQUIRE_OK(peat_snapshot_open(play.db, &snapshots[count++]));
        for (int i = 0; i < 10 && status == PEAT_OK; i++)
            status = write_some(&play, &load);
    }
    PT_REQUIRE_STATUS(status, PEAT_NO_MEMORY);
    PT_REQUIRE(strstr(peat_last_error(), "snapshots") != NULL);
    PT_REQUIRE_OK(peat_stats_get(play.db, &stats));
    PT_REQUIRE(stats.pinned_memory_size > 3 * MIB && stats.memory_size >= stats.pinned_memory_size);
    while (count > 0)
        peat_snapshot_close(snapshots[--count]);
    PT_REQUIRE_OK(write_some(&play, &load));
    play_close(&play);
    require_below(pt_private_memory_peak(), 24 * MIB, "snapshots that pin");
    peat_batch_free(play.batch);
}

/* --- other processes ------------------------------------------------------------------------ */

/* What the child does, and how far it came: in memory that both processes see. */
struct stage {
    const struct load *load;
    uint64_t limit;
    const char *path;
    int ready[2];
    int go[2];
};

/* Load with the stage's limit and die without closing. */
static void load_and_die(void *context)
{
    struct stage *stage = context;
    struct peat_options options = options_of(stage->limit);
    struct play play = {.batch = batch_new(BATCH_SIZE_MAX), .dice = {seed}};

    PT_REQUIRE_OK(peat_open(stage->path, &options, &play.db));
    run_load(&play, stage->load);
    PT_REQUIRE_OK(peat_abort(play.db));
    peat_batch_free(play.batch);
}

static void a_log_of_a_larger_limit_is_replayed_within_the_limit(void **state)
{
    const struct load loads[] = {
        {.value_size = 100, .batch_size = 100000, .size = megabytes_wanted * MIB},
        {.value_size = 0, .batch_size = 30000, .size = megabytes_wanted * MIB / 2},
        {.value_size = LARGE_VALUE, .batch_size = 1 << 20, .size = megabytes_wanted * MIB},
    };
    char path[512];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s", pt_test_path("larger"));
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        struct stage stage = {.load = &loads[i], .limit = 512 * MIB, .path = path};
        struct peat_options options = options_of(8 * MIB);
        struct peat_db *db;

        (void)unlink(path);
        pt_child_join(pt_child_start(load_and_die, &stage));
        pt_private_memory_watch();
        PT_REQUIRE_OK(peat_open(path, &options, &db));
        PT_REQUIRE_OK(peat_wait_idle(db, 600000));
        PT_REQUIRE_OK(peat_close(db));
        require_below(pt_private_memory_peak(), 24 * MIB, "replay");
    }
}

/* Follow the writer until it says that it is done. */
static void follow(void *context)
{
    struct stage *stage = context;
    struct peat_options options = options_of(stage->limit);
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    uint64_t target = 0;
    struct peat_db *db;

    options.flags = PEAT_READ_ONLY;
    PT_REQUIRE(pt_pipe_read(stage->go[0], &target, sizeof(target))); /* there is a store now */
    pt_private_memory_watch();
    PT_REQUIRE_OK(peat_open(stage->path, &options, &db));
    PT_REQUIRE(pt_pipe_write(stage->ready[1], "r", 1));
    while (pt_pipe_read(stage->go[0], &target, sizeof(target))) {
        PT_REQUIRE_OK(peat_refresh(db));
        PT_REQUIRE_OK(peat_stats_get(db, &stats));
        PT_REQUIRE(stats.commit >= target);
        PT_REQUIRE(pt_pipe_write(stage->ready[1], "r", 1));
    }
    PT_REQUIRE_OK(peat_close(db));
    require_below(pt_private_memory_peak(), stage->limit + 16 * MIB, "a reader");
}

static void a_reader_process_that_follows_stays_within_the_limit(void **state)
{
    const struct load load = {.value_size = 100, .batch_size = SIZE_MAX, .key_count = 400000};
    struct play play = {.batch = batch_new(BATCH_SIZE_MAX)};
    struct stage stage = {.limit = 8 * MIB, .path = play.path};
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    char answer;
    pid_t child;

    (void)state;
    PT_REQUIRE(pipe(stage.ready) == 0 && pipe(stage.go) == 0);
    (void)snprintf(play.path, sizeof(play.path), "%s", pt_test_path("followed"));
    (void)fflush(NULL);
    child = fork(); /* before there are threads, which a child cannot have from its parent */
    PT_REQUIRE(child >= 0);
    if (child == 0) {
        (void)close(stage.go[1]);
        follow(&stage);
        pt_test_exit(0);
    }
    (void)close(stage.go[0]);
    play_open(&play, "followed", stage.limit);
    PT_REQUIRE(pt_pipe_write(stage.go[1], &stats.commit, sizeof(stats.commit)));
    PT_REQUIRE(pt_pipe_read(stage.ready[0], &answer, 1));
    for (uint64_t i = 0; i < megabytes_wanted; i++) {
        for (int k = 0; k < 4; k++)
            PT_REQUIRE_OK(write_some(&play, &load));
        PT_REQUIRE_OK(peat_stats_get(play.db, &stats));
        PT_REQUIRE(pt_pipe_write(stage.go[1], &stats.commit, sizeof(stats.commit)));
        PT_REQUIRE(pt_pipe_read(stage.ready[0], &answer, 1));
    }
    (void)close(stage.go[1]);
    pt_child_join(child);
    (void)close(stage.ready[0]);
    (void)close(stage.ready[1]);
    play_close(&play);
    peat_batch_free(play.batch);
}

/* --- small ---------------------------------------------------------------------------------- */

static uint64_t disk_size(const char *path)
{
    struct stat file;

    PT_REQUIRE(stat(path, &file) == 0);
    return (uint64_t)file.st_blocks * 512;
}

static void p6_an_empty_store_takes_little_memory_and_disk(void **state)
{
    struct play play;

    (void)state;
    pt_private_memory_watch();
    play_open(&play, "empty", 512 * MIB);
    PT_REQUIRE_OK(peat_wait_idle(play.db, 60000));
    require_below(pt_private_memory_peak(), 2 * MIB, "an empty store");
    PT_REQUIRE(disk_size(play.path) < 512 * 1024);
    PT_REQUIRE_OK(peat_close(play.db));
    PT_REQUIRE(disk_size(play.path) < 512 * 1024);
}

static void p6_a_thousand_entries_take_little_memory_and_disk(void **state)
{
    struct play play;

    (void)state;
    pt_private_memory_watch();
    play_open(&play, "small", 512 * MIB);
    for (uint64_t i = 0; i < 1000; i++)
        PT_REQUIRE_OK(peat_put(play.db, NULL, (struct peat_bytes){&i, sizeof(i)},
                               (struct peat_bytes){noise, 100}));
    PT_REQUIRE(disk_size(play.path) < 2 * MIB);
    require_below(pt_private_memory_peak(), 2 * MIB, "a thousand entries");
    PT_REQUIRE_OK(peat_wait_idle(play.db, 60000));
    PT_REQUIRE(disk_size(play.path) < 2 * MIB);
    PT_REQUIRE_OK(peat_close(play.db));
    PT_REQUIRE(disk_size(play.path) < 2 * MIB);
}

/* What a load took is given back: to the heap perhaps, which may keep some of it. */
static void p6_a_store_at_rest_takes_little_memory_whatever_it_did(void **state)
{
    const struct load load = {
        .value_size = 100, .batch_size = 100000, .size = megabytes_wanted * MIB};
    struct play play = {.batch = batch_new(BATCH_SIZE_MAX)};
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    uint64_t base = pt_private_memory();
    uint64_t rest;

    (void)state;
    play_open(&play, "rest", 512 * MIB);
    run_load(&play, &load);
    do { /* by itself */
        PT_REQUIRE_OK(peat_stats_get(play.db, &stats));
    } while (stats.memory_size > MIB || stats.run_count > 1);
    rest = pt_private_memory();
    require_below(rest > base ? rest - base : 0, 2 * MIB, "a store at rest");
    play_close(&play);
    peat_batch_free(play.batch);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p6_an_empty_store_takes_little_memory_and_disk),
        cmocka_unit_test(p6_a_thousand_entries_take_little_memory_and_disk),
        cmocka_unit_test(p6_a_store_at_rest_takes_little_memory_whatever_it_did),
        cmocka_unit_test(a_load_of_usual_entries_stays_within_the_limit),
        cmocka_unit_test(a_load_of_tiny_entries_stays_within_the_limit),
        cmocka_unit_test(overwriting_beside_iterators_stays_within_the_limit),
        cmocka_unit_test(large_values_stay_within_the_limit),
        cmocka_unit_test(large_batches_stay_within_the_limit),
        cmocka_unit_test(puts_that_wait_in_many_threads_count),
        cmocka_unit_test(snapshots_that_pin_memory_make_commits_fail_and_not_hang),
        cmocka_unit_test(a_log_of_a_larger_limit_is_replayed_within_the_limit),
        cmocka_unit_test(a_reader_process_that_follows_stays_within_the_limit),
    };
    int failed;

    pt_test_start();
    megabytes_wanted = argc > 1 ? strtoull(argv[1], NULL, 10)
                                : pt_test_number("PEAT_MEGABYTES", MEGABYTES_DEFAULT);
    seed = pt_test_seed();
    pt_value_fill(seed, noise, sizeof(noise));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

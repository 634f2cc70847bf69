/*
 * The property: after SIGKILL a store holds a prefix of its commits, with every commit that was
 * acknowledged at the levels os and disk and no half batch, and goes on from there. A child process
 * commits from several threads and tells each acknowledgement through a pipe, until it is killed at
 * a random moment: while it creates the file, recovers, writes, flushes, merges or changes logs.
 *
 * What batch j of writer i does follows from i and j alone, and each writer has keys of its own.
 * So how far each writer came decides what the whole store must hold.
 *
 *     test_kill [ROUNDS]       PEAT_SEED=n repeats the choices, though not the moments
 */
#include "tests/compare.h"
#include "tests/oracle.h"
#include "tests/support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    ROUNDS_DEFAULT = 120, /* over all tests of this file */
    WRITERS_MAX = 4,
    COLLECTIONS = 3, /* the root, one in it, one in that */
    HISTORY = 64,    /* batches whose records a writer keeps */
    SLOTS = 300,     /* keys that a writer overwrites again and again */
    NAME_SIZE = 64
};

static const char *const collection_names[COLLECTIONS] = {NULL, "middle", "inner"};

/* One acknowledged commit, as it comes through the pipe. */
struct acknowledgement {
    uint32_t writer;
    uint32_t durability;
    uint64_t batch;
    uint64_t commit;
};

struct acknowledgements {
    struct acknowledgement *items;
    size_t count;
    size_t capacity;
};

/* What the parent knows of the store between two kills. */
struct state {
    struct pt_dice dice;
    char path[512];
    struct pt_oracle_collection *root;
    struct pt_oracle_collection *models[COLLECTIONS]; /* NULL: not made yet */
    uint64_t
        oracle_commit; /* the oracle's own clock: writers do not meet, so their order is free */
    uint64_t commit;   /* the store's, when it was last verified */
    uint64_t batches[WRITERS_MAX]; /* done by each writer then */
    struct acknowledgements acknowledged;
    uint64_t killed_commits; /* for the report */
};

/* What a child is to do. */
struct orders {
    char path[512];
    struct peat_options options;
    unsigned writer_count;
    uint64_t batches[WRITERS_MAX]; /* the last done by each */
    int levels;                    /* 0: any; else that enum peat_durability */
    int pipe_fd;
    bool only_open;
};

static unsigned rounds_wanted;

/* --- batches -------------------------------------------------------------------------------- */

/* Where the operations of a batch go: into a struct peat_batch, or into the oracle. */
struct sink {
    struct peat_batch *batch; /* NULL: into the oracle */
    struct peat_collection *collections[COLLECTIONS];
    struct pt_oracle_collection *models[COLLECTIONS];
    uint64_t commit; /* the oracle's */
};

static void sink_put(struct sink *sink, unsigned place, const char *name,
                     struct pt_oracle_value value)
{
    void *bytes = NULL;

    if (sink->batch == NULL) {
        pt_oracle_put(sink->models[place], pt_text(name), value, sink->commit);
        return;
    }
    PT_REQUIRE_OK(peat_batch_put_reserve(sink->batch, sink->collections[place], pt_text(name),
                                         value.size, &bytes));
    pt_value_fill(value.seed, bytes, value.size);
}

static void sink_delete(struct sink *sink, unsigned place, const char *name)
{
    if (sink->batch == NULL)
        pt_oracle_delete(sink->models[place], pt_text(name), sink->commit);
    else
        PT_REQUIRE_OK(peat_batch_delete(sink->batch, sink->collections[place], pt_text(name)));
}

static void sink_delete_range(struct sink *sink, unsigned place, const char *low, const char *high)
{
    if (sink->batch == NULL)
        pt_oracle_delete_range(sink->models[place], pt_text(low), pt_text(high), sink->commit);
    else
        PT_REQUIRE_OK(peat_batch_delete_range(sink->batch, sink->collections[place], pt_text(low),
                                              pt_text(high)));
}

static const char *name_of(char name[NAME_SIZE], unsigned writer, const char *kind, uint64_t number)
{
    (void)snprintf(name, NAME_SIZE, "writer %u/%s/%010" PRIu64, writer, kind, number);
    return name;
}

/* The seed of the value by which the parent finds out how far a writer came. */
static uint64_t progress_seed(unsigned writer, uint64_t batch)
{
    return pt_mix(writer + 1) ^ pt_mix(batch);
}

static size_t record_size(struct pt_dice *dice)
{
    if (pt_dice_one_in(dice, 50))
        return pt_dice_below(dice, 300000);
    return pt_dice_below(dice, pt_dice_one_in(dice, 10) ? 9000 : 300);
}

/* Batch @p number (from 1 on) of @p writer. */
static void batch_plan(struct sink *sink, unsigned writer, uint64_t number)
{
    struct pt_dice dice = {pt_mix(number) ^ writer};
    size_t changes = pt_dice_one_in(&dice, 150) ? 2000 : pt_dice_below(&dice, 12);
    char name[NAME_SIZE];
    char other[NAME_SIZE];

    for (unsigned place = 0; place < COLLECTIONS; place++) /* one batch over all collections */
        sink_put(sink, place, name_of(name, writer, "progress", 0),
                 (struct pt_oracle_value){progress_seed(writer, number), 16});
    sink_put(sink, 1, name_of(name, writer, "record", number),
             (struct pt_oracle_value){pt_dice_next(&dice), record_size(&dice)});
    if (number > HISTORY)
        sink_delete(sink, 1, name_of(name, writer, "record", number - HISTORY));
    for (size_t i = 0; i < changes; i++) {
        unsigned place = (unsigned)pt_dice_below(&dice, COLLECTIONS);
        const char *slot = name_of(name, writer, "slot", pt_dice_below(&dice, SLOTS));

        if (pt_dice_one_in(&dice, 4))
            sink_delete(sink, place, slot);
        else
            sink_put(sink, place, slot,
                     (struct pt_oracle_value){pt_dice_next(&dice), pt_dice_below(&dice, 200)});
    }
    if (pt_dice_one_in(&dice, 15)) {
        uint64_t low = pt_dice_below(&dice, SLOTS);

        sink_delete_range(sink, (unsigned)pt_dice_below(&dice, COLLECTIONS),
                          name_of(name, writer, "slot", low),
                          name_of(other, writer, "slot", low + pt_dice_below(&dice, 40)));
    }
}

/* --- the child ------------------------------------------------------------------------------ */

struct writer {
    const struct orders *orders;
    struct peat_db *db;
    struct sink sink;
    unsigned number;
};

static enum peat_durability level_choose(const struct orders *orders, struct pt_dice *dice)
{
    uint64_t choice = pt_dice_below(dice, 12);

    if (orders->levels != 0)
        return (enum peat_durability)orders->levels;
    if (choice == 0)
        return PEAT_DISK;
    return choice < 6 ? PEAT_OS : PEAT_MEMORY;
}

/* Commit and acknowledge until killed. */
static void *writer_run(void *context)
{
    struct writer *writer = context;
    struct pt_dice dice = {pt_test_now_us()};
    uint64_t batch = writer->orders->batches[writer->number];

    for (;;) {
        enum peat_durability level = level_choose(writer->orders, &dice);
        struct acknowledgement done = {writer->number, (uint32_t)level, ++batch, 0};

        peat_batch_clear(writer->sink.batch);
        batch_plan(&writer->sink, writer->number, batch);
        PT_REQUIRE_OK(peat_write(writer->db, writer->sink.batch, level, &done.commit));
        PT_REQUIRE(pt_pipe_write(writer->orders->pipe_fd, &done, sizeof(done)));
    }
    return NULL;
}

static void collections_open(struct peat_db *db, unsigned flags,
                             struct peat_collection *collections[COLLECTIONS])
{
    collections[0] = NULL;
    for (unsigned i = 1; i < COLLECTIONS; i++)
        PT_REQUIRE_OK(peat_collection_open(db, collections[i - 1], collection_names[i], flags,
                                           &collections[i]));
}

static void child_run(void *context)
{
    const struct orders *orders = context;
    struct writer writers[WRITERS_MAX];
    struct peat_collection *collections[COLLECTIONS];
    struct peat_db *db;
    pthread_t thread;

    pt_test_context("the process to be killed");
    PT_REQUIRE_OK(peat_open(orders->path, &orders->options, &db));
    while (orders->only_open)
        (void)pause();
    collections_open(db, PEAT_CREATE, collections);
    for (unsigned i = 0; i < orders->writer_count; i++) {
        struct writer *writer = &writers[i];

        *writer = (struct writer){.orders = orders, .db = db, .number = i};
        writer->sink.batch = peat_batch_new(0);
        memcpy(writer->sink.collections, collections, sizeof(collections));
        PT_REQUIRE(pthread_create(&thread, NULL, writer_run, writer) == 0);
    }
    for (;;)
        (void)pause();
}

/* --- killing -------------------------------------------------------------------------------- */

static void acknowledgement_add(struct acknowledgements *list,
                                const struct acknowledgement *acknowledgement)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity * 2 + 1024;
        list->items = realloc(list->items, list->capacity * sizeof(*list->items));
        PT_REQUIRE(list->items != NULL);
    }
    list->items[list->count++] = *acknowledgement;
}

/* Read acknowledgements until @p deadline_us, or the pipe's end. False: the end. */
static bool acknowledgements_read(struct state *state, int fd, uint64_t deadline_us)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    struct acknowledgement done;

    for (;;) {
        uint64_t now = pt_test_now_us();
        struct timespec left = {0, 0};

        if (now >= deadline_us)
            return true;
        left.tv_sec = (time_t)((deadline_us - now) / 1000000);
        left.tv_nsec = (long)((deadline_us - now) % 1000000 * 1000);
        if (ppoll(&waiting, 1, &left, NULL) <= 0)
            continue;
        if (!pt_pipe_read(fd, &done, sizeof(done)))
            return false;
        acknowledgement_add(&state->acknowledged, &done);
    }
}

/* A span between 20 us and @p max_us, short ones as likely as long ones. */
static uint64_t span_choose(struct pt_dice *dice, uint64_t max_us)
{
    uint64_t bound = max_us >> pt_dice_below(dice, 8);

    return 20 + pt_dice_below(dice, bound);
}

/* Let a child do @p orders and kill it: after a span from its first acknowledgement, or from its
 * start. */
static void child_run_and_kill(struct state *state, struct orders *orders, bool after_first,
                               uint64_t span_us)
{
    struct pollfd waiting = {.events = POLLIN};
    int fds[2];
    pid_t child;

    PT_REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    orders->pipe_fd = fds[1];
    child = pt_child_start(child_run, orders);
    (void)close(fds[1]);
    waiting.fd = fds[0];
    if (after_first)
        (void)poll(&waiting, 1, 60000);
    (void)acknowledgements_read(state, fds[0], pt_test_now_us() + span_us);
    pt_child_kill(child);
    PT_REQUIRE(!acknowledgements_read(state, fds[0], UINT64_MAX));
    (void)close(fds[0]);
}

/* --- verifying ------------------------------------------------------------------------------ */

/* How many collections of the chain there are, the root not counted; the oracle gets them too. */
static unsigned collections_adopt(struct state *state, struct peat_db *db,
                                  struct peat_collection *collections[COLLECTIONS])
{
    unsigned made = 0;

    collections[0] = NULL;
    for (unsigned i = 1; i < COLLECTIONS; i++) {
        enum peat_status status =
            peat_collection_open(db, collections[i - 1], collection_names[i], 0, &collections[i]);

        if (status == PEAT_NOT_FOUND && state->models[i] == NULL)
            break;
        PT_REQUIRE_OK(status);
        if (state->models[i] != NULL)
            continue;
        state->models[i] =
            pt_oracle_create(state->models[i - 1], collection_names[i], ++state->oracle_commit);
        made++;
    }
    return made;
}

/* The number of the last batch of @p writer that the snapshot shows. */
static uint64_t progress_find(struct state *state, const struct peat_snapshot *snapshot,
                              unsigned writer, uint64_t last_possible)
{
    char name[NAME_SIZE];
    struct peat_bytes value;
    enum peat_status status =
        peat_get(snapshot, NULL, pt_text(name_of(name, writer, "progress", 0)), &value);

    if (status == PEAT_NOT_FOUND)
        return 0;
    PT_REQUIRE_OK(status);
    PT_REQUIRE(value.size == 16);
    for (uint64_t batch = state->batches[writer]; batch <= last_possible; batch++)
        if (pt_value_matches(progress_seed(writer, batch), value))
            return batch;
    pt_test_fail(__FILE__, __LINE__,
                 "writer %u's progress is none of batches %" PRIu64 " to %" PRIu64, writer,
                 state->batches[writer], last_possible);
}

/* An acknowledged commit up to the store's is there; a later one is not, and was not promised. */
static void acknowledged_verify(const struct state *state, uint64_t commit,
                                const uint64_t batches[WRITERS_MAX])
{
    for (size_t i = 0; i < state->acknowledged.count; i++) {
        const struct acknowledgement *done = &state->acknowledged.items[i];

        if (done->commit > commit && done->durability >= PEAT_OS)
            pt_test_fail(__FILE__, __LINE__,
                         "commit %" PRIu64 " (writer %u, batch %" PRIu64
                         ") was acknowledged at level %u, but the store is at %" PRIu64,
                         done->commit, done->writer, done->batch, done->durability, commit);
        if ((done->batch <= batches[done->writer]) != (done->commit <= commit))
            pt_test_fail(__FILE__, __LINE__,
                         "the store is at commit %" PRIu64
                         " and shows writer %u up to batch %" PRIu64 ", but batch %" PRIu64
                         " was commit %" PRIu64,
                         commit, done->writer, batches[done->writer], done->batch, done->commit);
    }
}

static void contents_verify(struct state *state, const struct peat_snapshot *snapshot,
                            struct peat_collection *collections[COLLECTIONS])
{
    for (unsigned place = 0; place < COLLECTIONS && state->models[place] != NULL; place++) {
        struct pt_oracle_view view;

        pt_oracle_view_init(&view, state->models[place], state->oracle_commit, NULL);
        pt_compare_scan(snapshot, collections[place], &view);
        pt_compare_lookups(snapshot, collections[place], &view, &state->dice, 100);
        pt_oracle_view_fini(&view);
    }
}

/* The oracle does what the writers are known to have done. */
static void oracle_advance(struct state *state, const uint64_t batches[WRITERS_MAX])
{
    struct sink sink = {.batch = NULL};

    memcpy(sink.models, state->models, sizeof(sink.models));
    for (unsigned writer = 0; writer < WRITERS_MAX; writer++) {
        for (uint64_t batch = state->batches[writer] + 1; batch <= batches[writer]; batch++) {
            sink.commit = ++state->oracle_commit;
            batch_plan(&sink, writer, batch);
        }
        state->batches[writer] = batches[writer];
    }
    pt_oracle_prune(state->root, state->oracle_commit);
}

/* The open store holds what it must; from here on that is its known state. */
static void store_verify(struct state *state, struct peat_db *db)
{
    struct peat_collection *collections[COLLECTIONS] = {NULL};
    uint64_t batches[WRITERS_MAX];
    struct peat_snapshot *snapshot;
    uint64_t commits = collections_adopt(state, db, collections);
    uint64_t commit;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    commit = peat_snapshot_commit(snapshot);
    for (unsigned writer = 0; writer < WRITERS_MAX; writer++) {
        /* No writer can have done more batches than there were commits. */
        batches[writer] =
            progress_find(state, snapshot, writer, state->batches[writer] + commit - state->commit);
        commits += batches[writer] - state->batches[writer];
    }
    if (commit != state->commit + commits)
        pt_test_fail(__FILE__, __LINE__,
                     "at commit %" PRIu64 " with %" PRIu64
                     " commits' changes since commit %" PRIu64,
                     commit, commits, state->commit);
    acknowledged_verify(state, commit, batches);
    state->acknowledged.count = 0;
    state->killed_commits += commits;
    state->commit = commit;
    oracle_advance(state, batches);
    contents_verify(state, snapshot, collections);
    peat_snapshot_close(snapshot);
    for (unsigned i = 1; i < COLLECTIONS; i++)
        peat_collection_close(collections[i]);
    pt_compare_check(db);
}

/* Some more batches of writer 0, acknowledged to the parent itself. */
static void store_write_on(struct state *state, struct peat_db *db)
{
    struct sink sink = {.batch = peat_batch_new(0)};
    uint64_t count = pt_dice_below(&state->dice, 40);

    PT_REQUIRE(sink.batch != NULL);
    collections_open(db, PEAT_CREATE, sink.collections);
    for (uint64_t i = 0; i < count; i++) {
        struct acknowledgement done = {0, PEAT_OS, state->batches[0] + 1 + i, 0};

        peat_batch_clear(sink.batch);
        batch_plan(&sink, 0, done.batch);
        PT_REQUIRE_OK(peat_write(db, sink.batch, PEAT_OS, &done.commit));
        acknowledgement_add(&state->acknowledged, &done);
    }
    for (unsigned i = 1; i < COLLECTIONS; i++)
        peat_collection_close(sink.collections[i]);
    peat_batch_free(sink.batch);
}

static void store_leave(struct state *state, struct peat_db *db)
{
    if (pt_dice_one_in(&state->dice, 4))
        PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    if (pt_dice_one_in(&state->dice, 2))
        PT_REQUIRE_OK(peat_abort(db));
    else
        PT_REQUIRE_OK(peat_close(db));
}

static void store_open_and_verify(struct state *state, const struct orders *orders)
{
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(orders->path, &orders->options, &db));
    store_verify(state, db);
    if (pt_dice_one_in(&state->dice, 2)) {
        store_write_on(state, db);
        store_leave(state, db);
        PT_REQUIRE_OK(peat_open(orders->path, &orders->options, &db));
        store_verify(state, db);
    }
    store_leave(state, db);
}

/* --- rounds --------------------------------------------------------------------------------- */

static uint64_t empty_commit(const char *path)
{
    struct peat_options options = pt_test_options(PEAT_CREATE | PEAT_EXCLUSIVE);
    struct peat_snapshot *snapshot;
    struct peat_db *db;
    uint64_t commit;

    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    commit = peat_snapshot_commit(snapshot);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(unlink(path) == 0);
    return commit;
}

/* A new store, not created yet. */
static void state_restart(struct state *state)
{
    (void)unlink(state->path);
    pt_oracle_free(state->root);
    state->root = pt_oracle_new();
    memset(state->models, 0, sizeof(state->models));
    memset(state->batches, 0, sizeof(state->batches));
    state->models[0] = state->root;
    state->oracle_commit = 0;
    state->commit = empty_commit(state->path);
}

static void state_init(struct state *state, uint64_t seed)
{
    memset(state, 0, sizeof(*state));
    state->dice.state = seed;
    (void)snprintf(state->path, sizeof(state->path), "%s", pt_test_path("killed"));
    state_restart(state);
}

static void state_fini(struct state *state)
{
    pt_oracle_free(state->root);
    free(state->acknowledged.items);
    (void)unlink(state->path);
}

static struct orders orders_choose(struct state *state)
{
    static const size_t buffer_sizes[] = {64 << 10, 256 << 10, 2 << 20};
    struct orders orders = {.options = pt_test_options(PEAT_CREATE)};

    memcpy(orders.path, state->path, sizeof(orders.path));
    memcpy(orders.batches, state->batches, sizeof(orders.batches));
    orders.writer_count = 1 + (unsigned)pt_dice_below(&state->dice, WRITERS_MAX);
    orders.options.memory_size_max = 8 << 20;
    orders.options.write_buffer_size = buffer_sizes[pt_dice_below(&state->dice, 3)];
    if (pt_dice_one_in(&state->dice, 4))
        orders.options.flags |= PEAT_LOG_PWRITE;
    if (pt_dice_one_in(&state->dice, 3))
        orders.options.sync_interval_ms = 5;
    if (pt_dice_one_in(&state->dice, 2))
        orders.levels = PEAT_MEMORY + (int)pt_dice_below(&state->dice, 3);
    return orders;
}

struct kind {
    unsigned rounds_share; /* of 100 */
    unsigned restart;      /* a new store in one of so many rounds */
    bool after_first;      /* the span runs from the first acknowledgement */
    uint64_t span_max_us;
    unsigned recoveries; /* at most so many are killed */
};

static void run_rounds(const struct kind *kind)
{
    uint64_t seed = pt_test_seed();
    unsigned rounds = rounds_wanted * kind->rounds_share / 100;
    struct state state;

    state_init(&state, seed);
    for (unsigned round = 0; round < rounds; round++) {
        struct orders orders;
        uint64_t recoveries = pt_dice_below(&state.dice, kind->recoveries + 1);

        pt_test_context("PEAT_SEED=%" PRIu64 ", round %u of %u", seed, round, rounds);
        if (pt_dice_one_in(&state.dice, kind->restart))
            state_restart(&state);
        orders = orders_choose(&state);
        child_run_and_kill(&state, &orders, kind->after_first,
                           span_choose(&state.dice, kind->span_max_us));
        orders.only_open = true;
        for (uint64_t i = 0; i < recoveries; i++)
            child_run_and_kill(&state, &orders, false, span_choose(&state.dice, 30000));
        store_open_and_verify(&state, &orders);
    }
    printf("# %u kills, %" PRIu64 " commits survived\n", rounds, state.killed_commits);
    state_fini(&state);
    pt_test_context("%s", "");
}

static void p2_a_killed_writer_leaves_every_acknowledged_commit(void **unused)
{
    static const struct kind kind = {
        .rounds_share = 50, .restart = 8, .after_first = true, .span_max_us = 400000};

    (void)unused;
    run_rounds(&kind);
}

static void p2_a_store_killed_while_being_created_can_be_opened(void **unused)
{
    static const struct kind kind = {.rounds_share = 25, .restart = 1, .span_max_us = 10000};

    (void)unused;
    run_rounds(&kind);
}

static void p2_a_killed_recovery_can_be_repeated(void **unused)
{
    static const struct kind kind = {.rounds_share = 25,
                                     .restart = 10,
                                     .after_first = true,
                                     .span_max_us = 100000,
                                     .recoveries = 4};

    (void)unused;
    run_rounds(&kind);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p2_a_killed_writer_leaves_every_acknowledged_commit),
        cmocka_unit_test(p2_a_store_killed_while_being_created_can_be_opened),
        cmocka_unit_test(p2_a_killed_recovery_can_be_repeated),
    };
    int failed;

    pt_test_start();
    rounds_wanted = (unsigned)pt_test_number("PEAT_ROUNDS", ROUNDS_DEFAULT);
    if (argc > 1)
        rounds_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

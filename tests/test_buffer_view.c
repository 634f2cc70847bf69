/*
 * A view shows, run by run and in key order, what a buffer held at its commit, while the buffer goes
 * on; cursors reach the same entries whichever way they come. All of it beside a writer, without
 * waiting.
 */
#include "core/db/write_buffer.h"

#include "core/base/alloc.h"
#include "tests/buffer_model.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* What a walk over one run has met. */
struct walk {
    struct pt_entry *entries;
    size_t count;
};

/* All of a run, from first to last; checks the order, and that a walk back meets the same. */
static struct walk walk_run(const struct pt_buffer_model *model, const struct pt_buffer_view *view,
                            size_t run)
{
    struct walk walk = {calloc(model->key_count, sizeof(struct pt_entry)), 0};
    struct pt_buffer_cursor cursor;
    size_t left;

    PT_REQUIRE(walk.entries != NULL);
    pt_buffer_cursor_init(&cursor, view, run);
    for (bool found = pt_buffer_cursor_first(&cursor); found;
         found = pt_buffer_cursor_next(&cursor)) {
        PT_REQUIRE(walk.count < model->key_count);
        walk.entries[walk.count++] = cursor.entry;
    }
    for (size_t i = 1; i < walk.count; i++)
        PT_REQUIRE(pt_bytes_compare(walk.entries[i - 1].key, walk.entries[i].key) < 0);
    left = walk.count;
    for (bool found = pt_buffer_cursor_last(&cursor); found;
         found = pt_buffer_cursor_previous(&cursor)) {
        PT_REQUIRE(left > 0);
        PT_REQUIRE(cursor.entry.key.data == walk.entries[--left].key.data);
    }
    PT_REQUIRE(left == 0);
    return walk;
}

static void require_ranges_agree(const struct pt_buffer_model *model,
                                 const struct pt_buffer_view *view, uint64_t commit)
{
    size_t count;
    const struct pt_key_range *ranges = pt_buffer_view_ranges(view, &count);
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        PT_REQUIRE(pt_bytes_compare(ranges[i].low, ranges[i].high) < 0);
        PT_REQUIRE(i == 0 || pt_bytes_compare(ranges[i - 1].high, ranges[i].low) <= 0);
    }
    for (size_t k = 0; k < model->key_count; k++) {
        bool expected = false;
        bool covered;

        for (size_t i = 0; i < model->count && !expected; i++) {
            const struct pt_model_operation *operation = &model->operations[i];

            expected = operation->op == PT_OP_DELETE_RANGE && operation->commit <= commit &&
                       operation->key <= k && k < operation->high;
        }
        while (at < count && pt_bytes_compare(ranges[at].high, model->keys[k]) <= 0)
            at++;
        covered = at < count && pt_bytes_compare(ranges[at].low, model->keys[k]) <= 0;
        PT_REQUIRE(covered == expected);
    }
}

/* Of each key, the newest run that has it shows what the model says; what is hidden is in none. */
static void require_view(const struct pt_buffer_model *model, const struct pt_buffer_view *view,
                         uint64_t commit)
{
    size_t run_count = pt_buffer_view_run_count(view);
    struct walk walks[64];
    size_t at[64] = {0};

    PT_REQUIRE(run_count <= 64);
    for (size_t r = 0; r < run_count; r++)
        walks[r] = walk_run(model, view, r);
    for (size_t k = 0; k < model->key_count; k++) {
        const struct pt_model_operation *operation = pt_buffer_model_find(model, k, commit);
        const struct pt_entry *newest = NULL;

        for (size_t r = 0; r < run_count; r++) {
            if (at[r] < walks[r].count && pt_same(walks[r].entries[at[r]].key, model->keys[k])) {
                if (newest == NULL)
                    newest = &walks[r].entries[at[r]];
                at[r]++;
            }
        }
        if (operation == NULL || operation->op == PT_OP_DELETE_RANGE) {
            PT_REQUIRE(newest == NULL);
        } else {
            PT_REQUIRE(newest != NULL);
            pt_model_require_entry(model, operation, newest);
        }
    }
    for (size_t r = 0; r < run_count; r++) {
        PT_REQUIRE(at[r] == walks[r].count);
        free(walks[r].entries);
    }
    require_ranges_agree(model, view, commit);
}

/* Seeks to all keys, and a random walk from there, against the run's entries. */
static void require_seeks(const struct pt_buffer_model *model, const struct pt_buffer_view *view,
                          struct pt_dice *dice)
{
    for (size_t r = 0; r < pt_buffer_view_run_count(view); r++) {
        struct walk walk = walk_run(model, view, r);
        struct pt_buffer_cursor cursor;
        size_t behind = 0; /* entries before the key */

        pt_buffer_cursor_init(&cursor, view, r);
        for (size_t k = 0; k < model->key_count; k++) {
            struct peat_bytes key = model->keys[k];
            bool there;

            while (behind < walk.count && pt_bytes_compare(walk.entries[behind].key, key) < 0)
                behind++;
            there = behind < walk.count && pt_same(walk.entries[behind].key, key);
            PT_REQUIRE(pt_buffer_cursor_seek(&cursor, key) == (behind < walk.count));
            if (behind < walk.count)
                PT_REQUIRE(cursor.entry.key.data == walk.entries[behind].key.data);
            PT_REQUIRE(pt_buffer_cursor_seek_before(&cursor, key, true) == (behind > 0));
            if (behind > 0)
                PT_REQUIRE(cursor.entry.key.data == walk.entries[behind - 1].key.data);
            PT_REQUIRE(pt_buffer_cursor_seek_before(&cursor, key, false) == (behind + there > 0));
            if (behind + there > 0) {
                size_t at = behind + there - 1;
                bool found = true;

                for (int step = 0; step < 6 && found; step++) {
                    PT_REQUIRE(cursor.entry.key.data == walk.entries[at].key.data);
                    if (pt_dice_one_in(dice, 2)) {
                        found = pt_buffer_cursor_next(&cursor);
                        PT_REQUIRE(found == (++at < walk.count));
                    } else {
                        found = pt_buffer_cursor_previous(&cursor);
                        PT_REQUIRE(found == (at-- > 0));
                    }
                }
            }
        }
        free(walk.entries);
    }
}

enum { HELD_MAX = 6 };

struct held_view {
    struct pt_buffer_view *view;
    uint64_t commit;
};

static void random_views_show_their_commit_while_the_buffer_goes_on(void **state)
{
    uint64_t seed = pt_test_seed();
    struct pt_dice dice = {seed};
    (void)state;

    for (int round = 0; round < 12; round++) {
        uint64_t range_chance = round % 3 == 0 ? 0 : 10 + pt_dice_below(&dice, 200);
        struct held_view held[HELD_MAX] = {{NULL, 0}};
        struct pt_buffer_model model;
        struct pt_buffer_view *sealed;

        pt_test_context("seed %llu, round %d", (unsigned long long)seed, round);
        pt_buffer_model_open(&model, 1 << 20, pt_dice_below(&dice, 1000),
                             2 + pt_dice_below(&dice, 300));
        for (int n = 0; n < 60; n++) {
            struct held_view *one = &held[pt_dice_below(&dice, HELD_MAX)];

            (void)pt_buffer_model_commit(&model, &dice,
                                         pt_dice_below(&dice, 1u << pt_dice_below(&dice, 8)),
                                         range_chance, true);
            if (pt_dice_one_in(&dice, 3))
                continue;
            if (one->view != NULL)
                require_view(&model, one->view, one->commit);
            pt_buffer_view_close(one->view);
            one->commit = model.commit;
            if (pt_dice_one_in(&dice, 2))
                one->commit = pt_dice_below(&dice, model.commit);
            PT_REQUIRE_OK(pt_buffer_view_open(model.buffer, one->commit, &one->view));
            require_view(&model, one->view, one->commit);
        }
        for (size_t i = 0; i < HELD_MAX; i++) {
            if (held[i].view == NULL)
                continue;
            require_view(&model, held[i].view, held[i].commit);
            require_seeks(&model, held[i].view, &dice);
            pt_buffer_view_close(held[i].view);
        }
        PT_REQUIRE_OK(pt_buffer_view_open_sealed(model.buffer, &sealed));
        PT_REQUIRE(pt_buffer_view_run_count(sealed) <= 1);
        require_view(&model, sealed, model.commit);
        require_seeks(&model, sealed, &dice);
        pt_buffer_view_close(sealed);
        pt_buffer_model_close(&model);
    }
}

static void a_view_of_an_empty_buffer_has_no_run(void **state)
{
    struct pt_buffer_model model;
    struct pt_buffer_view *view;
    size_t count;
    (void)state;

    pt_buffer_model_open(&model, 65536, 0, 2);
    PT_REQUIRE_OK(pt_buffer_view_open(model.buffer, 100, &view));
    assert_int_equal(pt_buffer_view_run_count(view), 0);
    (void)pt_buffer_view_ranges(view, &count);
    assert_int_equal(count, 0);
    pt_buffer_view_close(view);
    PT_REQUIRE_OK(pt_buffer_view_open_sealed(model.buffer, &view));
    assert_int_equal(pt_buffer_view_run_count(view), 0);
    pt_buffer_view_close(view);
    pt_buffer_model_close(&model);
}

static void a_buffer_of_range_deletes_alone_has_ranges_and_no_entry(void **state)
{
    struct pt_buffer_model model;
    struct pt_dice dice = {3};
    (void)state;

    pt_buffer_model_open(&model, 1 << 20, 0, 100);
    for (int n = 0; n < 10; n++) {
        struct pt_buffer_view *view;

        assert_true(pt_buffer_model_commit(&model, &dice, 40, 1, true));
        PT_REQUIRE_OK(pt_buffer_view_open(model.buffer, model.commit, &view));
        require_view(&model, view, model.commit);
        pt_buffer_view_close(view);
    }
    pt_buffer_model_close(&model);
}

/* However often views are opened while the buffer fills. */
static void kept_runs_stay_few(void **state)
{
    struct pt_buffer_model model;
    struct pt_dice dice = {11};
    (void)state;

    pt_buffer_model_open(&model, 32 << 20, 0, 20000);
    while (model.count < 50000) {
        struct pt_buffer_view *view;

        assert_true(pt_buffer_model_commit(&model, &dice, 100, 0, true));
        PT_REQUIRE_OK(pt_buffer_view_open(model.buffer, model.commit, &view));
        assert_true(pt_buffer_view_run_count(view) <= 7);
        pt_buffer_view_close(view);
    }
    /* References to all entries once, and a few for the newest again. */
    assert_true(pt_write_buffer_memory_size(model.buffer) <
                pt_write_buffer_data_size(model.buffer) * 5 / 4 + 50000 * 16 + (2 << 20));
    pt_buffer_model_close(&model);
}

static size_t allocations_left;

static bool allow_some(size_t size)
{
    (void)size;
    return allocations_left > 0 && allocations_left-- > 0;
}

static void without_memory_a_view_is_refused_or_complete(void **state)
{
    struct pt_buffer_model model;
    struct pt_dice dice = {5};
    size_t refused = 0;
    (void)state;

    pt_buffer_model_open(&model, 4 << 20, 0, 300);
    for (size_t n = 0; n < 300; n++) {
        struct pt_buffer_view *view;
        enum peat_status status;

        assert_true(pt_buffer_model_commit(&model, &dice, 10, 20, true));
        allocations_left = n % 7;
        pt_alloc_set_hook(allow_some);
        status = n % 2 == 0 ? pt_buffer_view_open(model.buffer, model.commit, &view)
                            : pt_buffer_view_open_sealed(model.buffer, &view);
        pt_alloc_set_hook(NULL);
        if (status == PEAT_OK) {
            if (n % 3 == 0)
                require_view(&model, view, model.commit);
            pt_buffer_view_close(view);
            continue;
        }
        assert_int_equal(status, PEAT_NO_MEMORY);
        assert_null(view);
        refused++;
    }
    assert_true(refused > 0);
    pt_buffer_model_close(&model);
}

/* ---- Readers beside a writer ---- */

enum {
    THREAD_KEYS = 60,
    THREAD_COMMITS = 3000,
    THREAD_READERS = 3,
    COMMIT_OPERATIONS = 4,
    RANGE_EVERY = 40,  /* commits */
    ROUND_COMMITS = 10 /* for each round of a reader */
};

/* What each commit leaves, known before the threads start: the commit that wrote the key's visible
 * version, times 2, plus 1 if it is a put; 0: nothing. */
struct thread_script {
    struct pt_write_buffer *buffer;
    uint32_t states[THREAD_COMMITS + 1][THREAD_KEYS];
    uint64_t seed;
    _Atomic uint64_t rounds; /* of all readers: the writer keeps step with them */
    _Atomic bool done;
};

struct thread_key {
    uint8_t bytes[12];
};

/* In key order; every third is longer. */
static struct peat_bytes thread_key(size_t number, struct thread_key *room)
{
    memset(room->bytes, 'k', sizeof(room->bytes));
    room->bytes[9] = (uint8_t)('0' + number / 10);
    room->bytes[10] = (uint8_t)('0' + number % 10);
    return pt_bytes(room->bytes, number % 3 == 0 ? 12 : 11);
}

/* What operation @p i of @p commit does: the same each time it is asked. */
static struct pt_model_operation thread_operation(const struct thread_script *script,
                                                  uint64_t commit, uint64_t i)
{
    struct pt_dice dice = {pt_mix(script->seed + commit * COMMIT_OPERATIONS + i)};
    struct pt_model_operation operation = {.commit = commit};

    operation.key = pt_dice_below(&dice, THREAD_KEYS - 1);
    operation.op = pt_dice_one_in(&dice, 4) ? PT_OP_DELETE : PT_OP_PUT;
    if (commit % RANGE_EVERY == 0 && i == 1) {
        operation.op = PT_OP_DELETE_RANGE;
        operation.high = operation.key + 1 + pt_dice_below(&dice, THREAD_KEYS - operation.key - 1);
    }
    return operation;
}

static void script_note(struct thread_script *script, const struct pt_model_operation *operation)
{
    uint32_t *states = script->states[operation->commit];

    switch (operation->op) {
    case PT_OP_PUT:
        states[operation->key] = (uint32_t)operation->commit * 2 + 1;
        break;
    case PT_OP_DELETE:
        states[operation->key] = (uint32_t)operation->commit * 2;
        break;
    case PT_OP_DELETE_RANGE:
        for (size_t k = operation->key; k < operation->high; k++)
            states[k] = (uint32_t)operation->commit * 2;
        break;
    case PT_OP_MERGE:
    case PT_OP_PUT_ELSEWHERE:
    case PT_OP_LOST:
    case PT_OP_LOST_PAST:
        break;
    }
}

static void script_commit(struct thread_script *script, uint64_t commit)
{
    for (uint64_t i = 0; i < COMMIT_OPERATIONS; i++) {
        struct pt_model_operation operation = thread_operation(script, commit, i);
        struct thread_key low;
        struct thread_key high;
        struct peat_bytes key = thread_key(operation.key, &low);
        struct peat_bytes value = pt_bytes(&commit, operation.op == PT_OP_PUT ? 8 : 0);

        PT_REQUIRE_OK(pt_write_buffer_reserve(script->buffer, 1, 64));
        if (operation.op == PT_OP_DELETE_RANGE)
            pt_write_buffer_add_range(script->buffer, key, thread_key(operation.high, &high),
                                      commit);
        else
            pt_write_buffer_add(script->buffer, operation.op, key, value, pt_model_hash(key),
                                commit);
    }
    if (commit % 3 != 0) /* at times several commits are published at once */
        pt_write_buffer_publish(script->buffer, commit);
}

static void *write_script(void *context)
{
    struct thread_script *script = context;

    for (uint64_t commit = 1; commit <= THREAD_COMMITS; commit++) {
        script_commit(script, commit);
        while (atomic_load_explicit(&script->rounds, memory_order_relaxed) < commit / ROUND_COMMITS)
            (void)sched_yield();
    }
    pt_write_buffer_publish(script->buffer, THREAD_COMMITS);
    atomic_store_explicit(&script->done, true, memory_order_release);
    return NULL;
}

static void require_put(const struct pt_entry *entry, uint32_t state)
{
    uint64_t commit;

    PT_REQUIRE(entry->op == PT_OP_PUT && entry->value.size == sizeof(commit));
    memcpy(&commit, entry->value.data, sizeof(commit));
    PT_REQUIRE(commit == state / 2);
}

static void require_script_get(const struct thread_script *script, size_t k, uint64_t commit)
{
    uint32_t state = script->states[commit][k];
    struct thread_key room;
    struct peat_bytes key = thread_key(k, &room);
    struct pt_entry entry;
    enum peat_status status =
        pt_write_buffer_get(script->buffer, key, pt_model_hash(key), commit, &entry);

    if (state == 0) {
        PT_REQUIRE(status == PEAT_NOT_FOUND);
        return;
    }
    PT_REQUIRE(status == PEAT_OK);
    if (state % 2 == 1)
        require_put(&entry, state);
    else
        PT_REQUIRE(entry.op == PT_OP_DELETE);
}

static void require_script_view(const struct thread_script *script, uint64_t commit, bool forward)
{
    bool found[THREAD_KEYS] = {false};
    struct pt_buffer_view *view;

    PT_REQUIRE_OK(pt_buffer_view_open(script->buffer, commit, &view));
    for (size_t r = 0; r < pt_buffer_view_run_count(view); r++) {
        struct pt_buffer_cursor cursor;
        bool more;

        pt_buffer_cursor_init(&cursor, view, r);
        more = forward ? pt_buffer_cursor_first(&cursor) : pt_buffer_cursor_last(&cursor);
        while (more) {
            const uint8_t *bytes = cursor.entry.key.data;
            size_t k = (size_t)(bytes[9] - '0') * 10 + (size_t)(bytes[10] - '0');

            PT_REQUIRE(k < THREAD_KEYS);
            if (!found[k]) { /* else a newer run had it */
                uint32_t state = script->states[commit][k];

                if (cursor.entry.op == PT_OP_PUT)
                    require_put(&cursor.entry, state);
                else
                    PT_REQUIRE(state != 0 && state % 2 == 0);
            }
            found[k] = true;
            more = forward ? pt_buffer_cursor_next(&cursor) : pt_buffer_cursor_previous(&cursor);
        }
    }
    for (size_t k = 0; k < THREAD_KEYS; k++)
        PT_REQUIRE(found[k] || script->states[commit][k] % 2 == 0);
    pt_buffer_view_close(view);
}

static void *read_script(void *context)
{
    struct thread_script *script = context;
    struct pt_dice dice = {script->seed + pt_thread_slot()};
    bool done;

    do {
        uint64_t commit;

        done = atomic_load_explicit(&script->done, memory_order_acquire);
        commit = pt_write_buffer_commit(script->buffer);
        PT_REQUIRE(!done || commit == THREAD_COMMITS);
        if (pt_dice_one_in(&dice, 4))
            commit = pt_dice_below(&dice, commit + 1);
        for (int i = 0; i < 10; i++)
            require_script_get(script, pt_dice_below(&dice, THREAD_KEYS), commit);
        require_script_view(script, commit, pt_dice_one_in(&dice, 2));
        atomic_fetch_add_explicit(&script->rounds, 1, memory_order_relaxed);
    } while (!done);
    return NULL;
}

static void readers_see_whole_commits_beside_the_writer(void **state)
{
    struct thread_script *script = calloc(1, sizeof(*script));
    struct pt_thread readers[THREAD_READERS];
    struct pt_thread writer;
    (void)state;

    assert_non_null(script);
    script->seed = pt_test_seed();
    for (uint64_t commit = 1; commit <= THREAD_COMMITS; commit++) {
        memcpy(script->states[commit], script->states[commit - 1], sizeof(script->states[0]));
        for (uint64_t i = 0; i < COMMIT_OPERATIONS; i++) {
            struct pt_model_operation operation = thread_operation(script, commit, i);

            script_note(script, &operation);
        }
    }
    PT_REQUIRE_OK(pt_write_buffer_open(4 << 20, 0, PT_MODEL_HASH_SEED, 1, &script->buffer));
    for (size_t i = 0; i < THREAD_READERS; i++)
        PT_REQUIRE_OK(pt_thread_start(&readers[i], "reader", read_script, script));
    PT_REQUIRE_OK(pt_thread_start(&writer, "writer", write_script, script));
    pt_thread_join(&writer);
    for (size_t i = 0; i < THREAD_READERS; i++)
        pt_thread_join(&readers[i]);
    pt_write_buffer_close(script->buffer);
    free(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_views_show_their_commit_while_the_buffer_goes_on),
        cmocka_unit_test(a_view_of_an_empty_buffer_has_no_run),
        cmocka_unit_test(a_buffer_of_range_deletes_alone_has_ranges_and_no_entry),
        cmocka_unit_test(kept_runs_stay_few),
        cmocka_unit_test(without_memory_a_view_is_refused_or_complete),
        cmocka_unit_test(readers_see_whole_commits_beside_the_writer),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

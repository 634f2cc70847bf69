/*
 * The property: a step of a merge is bounded in what it writes, in what it reads and in the space it
 * needs, whatever the runs hold; and in the part of the key space that was merged nothing is left of
 * deletions and of what they hide, in any run.
 *
 * The store's merger is out of the way: flushes and steps are made here.
 */
#include "core/db/merge.h"

#include "core/db/garbage.h"
#include "core/db/range_bag.h"
#include "core/db/run_cursor.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { COUNT = 100000, VALUE_SIZE = 400, STEP_SIZE = 8 << 20 };

struct play {
    struct peat_db *db;
    struct peat_batch *batch;
    char path[512];
};

static void start(struct play *play, const char *name)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);

    (void)snprintf(play->path, sizeof(play->path), "%s", pt_test_path(name));
    PT_REQUIRE_OK(peat_open(play->path, &options, &play->db));
    play->batch = peat_batch_new(0);
    PT_REQUIRE(play->batch != NULL);
    pt_merger_stop(play->db);
}

static void end(struct play *play)
{
    PT_REQUIRE_OK(peat_check(play->db, NULL, NULL, NULL));
    peat_batch_free(play->batch);
    PT_REQUIRE_OK(peat_abort(play->db));
    (void)remove(play->path);
}

static struct peat_bytes key_of(char name[16], unsigned number)
{
    struct peat_bytes key = {name, 0};

    key.size = (size_t)snprintf(name, 16, "%08u", number);
    return key;
}

static void commit(struct play *play)
{
    PT_REQUIRE_OK(peat_write(play->db, play->batch, PEAT_DEFAULT, NULL));
    peat_batch_clear(play->batch);
}

static void put(struct play *play, unsigned first, unsigned last)
{
    static const char value[VALUE_SIZE];
    char name[16];

    for (unsigned i = first; i < last; i++) {
        PT_REQUIRE_OK(
            peat_batch_put(play->batch, NULL, key_of(name, i), pt_bytes(value, sizeof(value))));
        if (peat_batch_count(play->batch) == 1000)
            commit(play);
    }
    commit(play);
}

static void delete_each(struct play *play, unsigned first, unsigned last)
{
    char name[16];

    for (unsigned i = first; i < last; i++)
        PT_REQUIRE_OK(peat_batch_delete(play->batch, NULL, key_of(name, i)));
    commit(play);
}

static void delete_range(struct play *play, unsigned low, unsigned high)
{
    char low_name[16];
    char high_name[16];

    PT_REQUIRE_OK(
        peat_batch_delete_range(play->batch, NULL, key_of(low_name, low), key_of(high_name, high)));
    commit(play);
}

static void flush(struct play *play)
{
    PT_REQUIRE_OK(pt_commit_seal(play->db));
    PT_REQUIRE_OK(pt_flush_step(play->db));
}

static struct pt_stack *stack_of(struct play *play)
{
    struct pt_stack *stack;

    PT_REQUIRE_OK(pt_shelf_copy(&play->db->shelf, &stack));
    return stack;
}

/* One step over all runs from *low on, which moves on. Whether that was the last. */
static bool step(struct play *play, struct peat_bytes *low, struct peat_bytes high,
                 uint64_t *size_out)
{
    struct pt_stack *stack = stack_of(play);
    struct pt_merge_part part = {.width = stack->run_count, .low = *low, .end = high};
    struct pt_merge_result result;

    PT_REQUIRE_OK(pt_merge(play->db, stack, &part, &result));
    pt_stack_free(stack);
    pt_bytes_fini(low);
    *low = result.high;
    *size_out = result.size;
    return result.finished;
}

/* Bytes of the file that are in use, but for the log, once a checkpoint has let go what it can. */
static uint64_t used_size(struct play *play)
{
    struct pt_arena_space space;

    PT_REQUIRE_OK(pt_checkpoint(play->db));
    PT_REQUIRE_OK(pt_merger_make_room(play->db));
    pt_arena_space(play->db->arena, &space);
    return space.file_size - space.free_size - space.reserve_size - pt_log_size(play->db->log);
}

static void a_step_ends_also_where_deletions_leave_nothing_to_write(void **state)
{
    struct play play;
    struct peat_bytes low = {NULL, 0};
    uint64_t size;
    unsigned steps = 1;

    (void)state;
    start(&play, "nothing-left");
    put(&play, 0, COUNT);
    flush(&play);
    delete_each(&play, 0, COUNT);
    flush(&play);
    for (; !step(&play, &low, pt_bytes(NULL, 0), &size); steps++)
        PT_REQUIRE(size == 0);
    PT_REQUIRE(steps > 1); /* 45 MB are not read at once */
    PT_REQUIRE(play.db->shelf.current->run_count == 0);
    end(&play);
}

static void p6_steps_are_small_and_need_no_more_space_than_a_few_of_them(void **state)
{
    struct play play;
    struct peat_bytes low = {NULL, 0};
    uint64_t before;
    uint64_t size;
    unsigned steps = 0;
    bool finished = false;

    (void)state;
    start(&play, "space");
    for (unsigned i = 0; i < 3; i++) {
        put(&play, 0, COUNT);
        flush(&play);
    }
    before = used_size(&play);
    for (; !finished; steps++) {
        finished = step(&play, &low, pt_bytes(NULL, 0), &size);
        PT_REQUIRE(size <= STEP_SIZE);
        PT_REQUIRE(used_size(&play) <= before + 2 * STEP_SIZE);
    }
    PT_REQUIRE(steps >= 5);
    PT_REQUIRE(play.db->shelf.current->run_count == 1);
    PT_REQUIRE(used_size(&play) < before / 2);
    end(&play);
}

/* Every entry of a run with a key in [low, high), stored keys, is a live one. */
static void require_clean(const struct pt_stack *stack, struct peat_bytes low,
                          struct peat_bytes high)
{
    for (size_t i = 0; i < stack->run_count; i++) {
        struct pt_range_bag bag = {NULL, 0, 0};
        struct pt_run_cursor cursor;
        enum peat_status status;

        PT_REQUIRE_OK(pt_range_bag_add_run(&bag, stack->runs[i], low, high));
        PT_REQUIRE(bag.count == 0);
        pt_range_bag_fini(&bag);
        pt_run_cursor_init(&cursor, stack->runs[i], low, high);
        for (status = pt_run_cursor_first(&cursor); status == PEAT_OK;
             status = pt_run_cursor_next(&cursor)) {
            PT_REQUIRE(cursor.entry.op == PT_OP_PUT);
            PT_REQUIRE(i + 1 == stack->run_count);
        }
        PT_REQUIRE_STATUS(status, PEAT_DONE);
    }
}

static void in_the_part_that_was_merged_no_run_has_deletions_or_what_they_hide(void **state)
{
    struct peat_bytes low = {NULL, 0};
    struct peat_bytes stored_low = pt_text("\00100020000");
    struct peat_bytes stored_high = pt_text("\00100070000");
    struct pt_stack *stack;
    struct play play;
    uint64_t size;
    uint64_t outside;

    (void)state;
    start(&play, "part");
    put(&play, 0, COUNT);
    flush(&play);
    put(&play, 0, COUNT / 2);
    delete_each(&play, 30000, 45000);
    flush(&play);
    delete_range(&play, 10000, 25000);
    delete_range(&play, 65000, 80000);
    put(&play, 68000, 69000);
    flush(&play);
    stack = stack_of(&play);
    outside = pt_garbage_size(stack, play.db->hash_seed);
    PT_REQUIRE(outside > 0);
    pt_stack_free(stack);
    PT_REQUIRE_OK(pt_bytes_copy(stored_low, &low));
    while (!step(&play, &low, stored_high, &size))
        ;
    stack = stack_of(&play);
    require_clean(stack, stored_low, stored_high);
    PT_REQUIRE(stack->run_count == 3); /* outside all is as it was */
    PT_REQUIRE(pt_garbage_size(stack, play.db->hash_seed) < outside);
    pt_stack_free(stack);
    low = pt_bytes(NULL, 0);
    while (!step(&play, &low, pt_bytes(NULL, 0), &size))
        ;
    stack = stack_of(&play);
    PT_REQUIRE(stack->run_count == 1);
    require_clean(stack, pt_bytes(NULL, 0), pt_bytes(NULL, 0));
    PT_REQUIRE(pt_garbage_size(stack, play.db->hash_seed) == 0);
    PT_REQUIRE(!pt_garbage_at_bottom(stack));
    pt_stack_free(stack);
    end(&play);
}

static void garbage_is_estimated_within_a_tenth_of_what_there_is(void **state)
{
    struct play play;
    struct pt_stack *stack;
    uint64_t size = 0;
    uint64_t garbage;

    (void)state;
    start(&play, "garbage");
    put(&play, 0, COUNT);
    flush(&play);
    put(&play, COUNT / 4, COUNT / 2); /* hides a quarter */
    flush(&play);
    delete_range(&play, COUNT / 2, COUNT); /* and a half */
    flush(&play);
    stack = stack_of(&play);
    for (size_t i = 0; i < stack->run_count; i++)
        size += stack->runs[i]->size;
    garbage = pt_garbage_size(stack, play.db->hash_seed);
    PT_REQUIRE(garbage > size * 5 / 10 && garbage < size * 7 / 10); /* 0.75 of 1.25 */
    pt_stack_free(stack);
    end(&play);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_ends_also_where_deletions_leave_nothing_to_write),
        cmocka_unit_test(p6_steps_are_small_and_need_no_more_space_than_a_few_of_them),
        cmocka_unit_test(in_the_part_that_was_merged_no_run_has_deletions_or_what_they_hide),
        cmocka_unit_test(garbage_is_estimated_within_a_tenth_of_what_there_is),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

/*
 * What was appended is read again, all of it and in order, whatever its size, whichever way it was
 * written and wherever regions end; what was acknowledged as durable is not written again; what
 * fails leaves the log as it was, or poisons it.
 */
#include "wal/log.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/thread.h"
#include "tests/log_harness.h"
#include "wal/log_format.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KIB = 1024, MIB = 1048576 };

#define SPACE (UINT64_C(1) << 33)

static struct pt_harness harness; /* large */

static const struct pt_log_options mapped = {.region_size_min = 64 * KIB};
static const struct pt_log_options written = {.pwrite = true, .region_size_min = 64 * KIB};

static bool is_same_point(const struct pt_log_point *a, const struct pt_log_point *b)
{
    return a->epoch == b->epoch && a->commit == b->commit && a->time_us == b->time_us &&
           a->position == b->position && memcmp(&a->chain, &b->chain, sizeof(a->chain)) == 0;
}

/* ---- What goes in comes out ---- */

/* Random records with random pushes, syncs and stages between them. */
static void append_some(struct pt_dice *dice, unsigned count, bool large)
{
    for (unsigned i = 0; i < count; i++) {
        if (pt_dice_one_in(dice, 30))
            pt_harness_seal(&harness);
        else
            pt_harness_append(&harness, dice, pt_harness_size(dice, large));
        if (pt_dice_one_in(dice, 10))
            pt_log_stage(harness.log, pt_dice_one_in(dice, 2));
        if (pt_dice_one_in(dice, 10))
            PT_REQUIRE_OK(pt_log_push(harness.log));
        if (pt_dice_one_in(dice, 10))
            PT_REQUIRE_OK(pt_log_sync(harness.log));
        if (pt_log_prepare_wanted(harness.log) && pt_dice_one_in(dice, 3))
            PT_REQUIRE_OK(pt_log_prepare(harness.log));
    }
    PT_REQUIRE_OK(pt_log_push(harness.log));
}

static void records_come_back_in_order(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned round = 0; round < 6; round++) {
        pt_harness_open(&harness, round % 2 == 0 ? &mapped : &written, SPACE);
        append_some(&dice, 1000, true);
        pt_harness_require_all(&harness);
        pt_harness_close(&harness);
    }
}

static void an_empty_log_has_no_records(void **state)
{
    struct pt_log_point nowhere = {.commit = 5};
    struct pt_log_reader *reader;
    struct pt_record record;
    size_t count;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    pt_harness_require_all(&harness);
    PT_REQUIRE(!pt_log_unsynced(harness.log));
    PT_REQUIRE_OK(pt_log_sync(harness.log));
    PT_REQUIRE_OK(pt_log_reader_open(harness.arena, &nowhere, false, &reader));
    PT_REQUIRE_STATUS(pt_log_reader_next(reader, &record), PEAT_DONE);
    PT_REQUIRE(pt_log_reader_point(reader).commit == 5);
    (void)pt_log_reader_regions(reader, &count);
    PT_REQUIRE(count == 0);
    pt_log_reader_close(reader);
    pt_harness_close(&harness);
}

static void any_point_is_one_to_read_from(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    for (unsigned i = 0; i < 30; i++) {
        uint64_t before = harness.record_count;
        struct pt_log_point from = pt_log_point(harness.log);
        struct pt_log_point point;
        struct pt_log_point end;
        enum peat_status status;

        append_some(&dice, 60, true);
        end = pt_log_point(harness.log);
        PT_REQUIRE(pt_harness_read(&harness, harness.arena, &from, before, &status, &point) ==
                   harness.record_count - before);
        PT_REQUIRE(status == PEAT_DONE && is_same_point(&point, &end));
    }
    pt_harness_close(&harness);
}

static void a_payload_larger_than_all_regions_is_one_record(void **state)
{
    const struct pt_log_options small = {.region_size_min = 64 * KIB, .region_size_max = 64 * KIB};
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    pt_harness_open(&harness, &small, SPACE);
    for (unsigned i = 0; i < 5; i++) {
        pt_harness_append(&harness, &dice, PT_HARNESS_SIZE_MAX - i);
        pt_harness_append(&harness, &dice, i);
    }
    pt_harness_require_all(&harness);
    PT_REQUIRE(pt_log_bytes_written(harness.log) >= 5 * PT_HARNESS_SIZE_MAX);
    PT_REQUIRE(pt_log_size(harness.log) >= pt_log_bytes_written(harness.log));
    pt_harness_close(&harness);
}

/* The same records, by a seed, whatever @p options and @p calls do between them. */
static struct pt_log_point end_of(const struct pt_log_options *options, uint64_t seed,
                                  uint64_t calls_seed, bool chained)
{
    struct pt_dice sizes = {seed};
    struct pt_dice calls = {calls_seed};
    struct pt_log_point end;

    pt_harness_open(&harness, options, SPACE);
    harness.chained = chained;
    for (unsigned i = 0; i < 500; i++) {
        pt_log_stage(harness.log, pt_dice_one_in(&calls, 2));
        pt_harness_append(&harness, &calls, pt_harness_size(&sizes, true));
        if (pt_dice_one_in(&calls, 5))
            PT_REQUIRE_OK(pt_log_sync(harness.log));
    }
    end = pt_log_point(harness.log);
    PT_REQUIRE_OK(pt_log_push(harness.log));
    pt_harness_require_all(&harness);
    pt_harness_close(&harness);
    return end;
}

static void chain_and_position_depend_on_the_records_alone(void **state)
{
    const struct pt_log_options large = {.region_size_min = 64 * MIB};
    uint64_t seed = pt_test_seed();
    struct pt_log_point first = end_of(&mapped, seed, 1, false);
    struct pt_log_point second = end_of(&written, seed, 2, false);
    struct pt_log_point third = end_of(&large, seed, 3, false);
    struct pt_log_point fourth = end_of(&mapped, seed, 4, true);
    (void)state;

    PT_REQUIRE(is_same_point(&first, &second) && is_same_point(&first, &third));
    PT_REQUIRE(is_same_point(&first, &fourth));
    PT_REQUIRE(first.offset != third.offset);
}

static void another_history_has_another_chain(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_log_point first;
    struct pt_log_point second;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    harness.record_count = 1; /* stands for other bytes */
    pt_harness_append(&harness, &dice, 100);
    first = pt_log_point(harness.log);
    pt_harness_close(&harness);
    pt_harness_open(&harness, &mapped, SPACE);
    pt_harness_append(&harness, &dice, 100);
    second = pt_log_point(harness.log);
    pt_harness_close(&harness);
    PT_REQUIRE(first.position == second.position && !is_same_point(&first, &second));
}

/* ---- What was acknowledged stays ---- */

enum { BLOCKS_MAX = 65536 };
static bool block_written[BLOCKS_MAX];
static bool block_acknowledged[BLOCKS_MAX];

static void watch_blocks(uint64_t offset, const void *data, size_t size)
{
    static const uint8_t zeros[4096];

    if (size == sizeof(zeros) && memcmp(data, zeros, sizeof(zeros)) == 0)
        return; /* the next region is made ready */
    for (uint64_t block = offset / 4096; block <= (offset + size - 1) / 4096; block++) {
        PT_REQUIRE(block < BLOCKS_MAX);
        PT_REQUIRE(!block_acknowledged[block]);
        block_written[block] = true;
    }
}

static void no_block_is_written_again_once_it_was_acknowledged(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned round = 0; round < 4; round++) {
        memset(block_written, 0, sizeof(block_written));
        memset(block_acknowledged, 0, sizeof(block_acknowledged));
        pt_harness_open(&harness, round % 2 == 0 ? &mapped : &written, SPACE);
        pt_harness_watch(watch_blocks);
        for (unsigned i = 0; i < 200; i++) {
            append_some(&dice, (unsigned)pt_dice_below(&dice, 8), round >= 2);
            PT_REQUIRE_OK(pt_log_sync(harness.log));
            PT_REQUIRE(!pt_log_unsynced(harness.log));
            PT_REQUIRE(pt_log_point(harness.log).offset % 4096 == 0);
            for (unsigned block = 0; block < BLOCKS_MAX; block++)
                block_acknowledged[block] = block_acknowledged[block] || block_written[block];
        }
        pt_harness_watch(NULL);
        pt_harness_require_all(&harness);
        pt_harness_close(&harness);
    }
}

static unsigned write_count;

static void count_write(uint64_t offset, const void *data, size_t size)
{
    (void)offset;
    (void)data;
    (void)size;
    write_count++;
}

static void a_staged_group_is_one_write(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    pt_harness_watch(count_write);
    pt_log_stage(harness.log, true);
    for (unsigned i = 0; i < 10; i++) {
        write_count = 0;
        for (unsigned j = 0; j < 8; j++)
            pt_harness_append(&harness, &dice, 50);
        PT_REQUIRE(write_count == 0 && pt_log_unsynced(harness.log));
        pt_harness_fault(PT_LOG_FAULT_SYNC, 1, EIO); /* nothing else is synced */
        PT_REQUIRE_OK(pt_log_sync(harness.log));
        PT_REQUIRE(write_count == 1 && !pt_log_unsynced(harness.log));
    }
    pt_harness_require_all(&harness);
    pt_harness_close(&harness);
}

/* ---- Failing ---- */

static void no_space_leaves_the_log_as_it_was(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned round = 0; round < 2; round++) {
        struct pt_log_point before;
        struct pt_log_point after;
        uint64_t size;

        pt_harness_open(&harness, round == 0 ? &mapped : &written, 2 * (uint64_t)MIB);
        append_some(&dice, 50, false);
        for (unsigned i = 0; i < 3; i++) {
            before = pt_log_point(harness.log);
            size = pt_log_size(harness.log);
            PT_REQUIRE_STATUS(pt_harness_try(&harness, &dice, PT_HARNESS_SIZE_MAX), PEAT_NO_SPACE);
            after = pt_log_point(harness.log);
            PT_REQUIRE(memcmp(&before, &after, sizeof(before)) == 0);
            PT_REQUIRE(pt_log_size(harness.log) == size);
            append_some(&dice, 50, false);
            PT_REQUIRE_OK(pt_log_sync(harness.log));
        }
        pt_harness_require_all(&harness);
        pt_harness_close(&harness);
    }
}

static void a_full_disk_is_filled_to_the_end(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    enum peat_status status;
    (void)state;

    pt_harness_open(&harness, &mapped, 8 * (uint64_t)MIB);
    do
        status = pt_harness_try(&harness, &dice, 10000);
    while (status == PEAT_OK);
    PT_REQUIRE(status == PEAT_NO_SPACE);
    PT_REQUIRE(harness.record_count * 10000 > 6 * (uint64_t)MIB);
    PT_REQUIRE_OK(pt_log_sync(harness.log));
    pt_harness_require_all(&harness);
    pt_harness_close(&harness);
}

/* All space taken, every second unit of it then put into the reserve: pieces of a unit each. *hole_out: the
 * first of a few units side by side that are still taken. */
static uint64_t reserve_in_pieces(struct pt_extent *hole_out)
{
    static struct pt_extent units[64 * MIB / PT_REGION_UNIT];
    uint64_t size = 0;
    size_t count = 0;

    PT_REQUIRE_OK(pt_arena_alloc(harness.arena, 6 * PT_REGION_UNIT, hole_out));
    while (pt_arena_alloc(harness.arena, PT_REGION_UNIT, &units[count]) == PEAT_OK)
        count++;
    PT_REQUIRE(count > 8);
    for (size_t i = 0; i + 1 < count; i += 2) {
        pt_arena_release(harness.arena, units[i]);
        size += PT_REGION_UNIT;
    }
    PT_REQUIRE_OK(pt_arena_reserve_fill(harness.arena, size));
    return size;
}

/* Where space was freed bit by bit the reserve has it in small pieces, and deletes must go on all the same. A
 * large batch finds no room there, but once there is some it is appended behind them. */
static void the_reserve_is_used_up_whatever_pieces_it_is_in(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned round = 0; round < 2; round++) {
        enum peat_status status;
        struct pt_extent hole;
        uint64_t reserved;
        uint64_t before;

        pt_harness_open(&harness, round == 0 ? &mapped : &written, 4 * (uint64_t)MIB);
        reserved = reserve_in_pieces(&hole);
        pt_log_use_reserve(harness.log, 2 * PT_REGION_UNIT);
        before = pt_log_size(harness.log);
        do
            status = pt_harness_try(&harness, &dice, 1 + pt_dice_below(&dice, 3000));
        while (status == PEAT_OK);
        PT_REQUIRE_STATUS(status, PEAT_NO_SPACE);
        PT_REQUIRE(pt_arena_reserve_size(harness.arena) == 2 * PT_REGION_UNIT);
        PT_REQUIRE(pt_log_size(harness.log) == before + reserved - 2 * PT_REGION_UNIT);
        PT_REQUIRE_STATUS(pt_harness_try(&harness, &dice, 100000), PEAT_NO_SPACE);
        pt_arena_release(harness.arena, hole);
        pt_harness_append(&harness, &dice, 100000);
        PT_REQUIRE_OK(pt_log_sync(harness.log));
        pt_harness_require_all(&harness);
        pt_harness_close(&harness);
    }
}

/* One that was made for a small record may not be entered by then, because that fitted after all. */
static void a_region_too_small_for_a_record_is_never_left_empty(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned round = 0; round < 20; round++) {
        struct pt_extent hole;

        pt_harness_open(&harness, round % 2 == 0 ? &mapped : &written, 4 * (uint64_t)MIB);
        (void)reserve_in_pieces(&hole);
        pt_log_use_reserve(harness.log, 0);
        for (unsigned i = 0; i < 60; i++) {
            size_t size = pt_dice_below(&dice, i % 3 == 0 ? 60000 : 12000);
            enum peat_status status;

            if (i == 30) /* from here on large ones fit, too */
                pt_arena_release(harness.arena, hole);
            if (i > 30 && pt_dice_one_in(&dice, 8))
                size = 100000;
            status = pt_harness_try(&harness, &dice, size);
            PT_REQUIRE(status == PEAT_OK || status == PEAT_NO_SPACE);
            if (pt_dice_one_in(&dice, 4))
                PT_REQUIRE_OK(pt_log_sync(harness.log));
        }
        PT_REQUIRE_OK(pt_log_push(harness.log));
        pt_harness_require_all(&harness);
        pt_harness_close(&harness);
    }
}

static bool refuse(size_t size)
{
    (void)size;
    return false;
}

static void memory_refused_leaves_the_log_as_it_was(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    append_some(&dice, 20, false);
    pt_alloc_set_hook(refuse);
    PT_REQUIRE_STATUS(pt_harness_try(&harness, &dice, MIB), PEAT_NO_MEMORY);
    pt_alloc_set_hook(NULL);
    pt_harness_append(&harness, &dice, MIB);
    PT_REQUIRE_OK(pt_log_push(harness.log));
    pt_harness_require_all(&harness);
    pt_harness_close(&harness);
}

/* After a failure of kind @p fault, which a sync of a staged group or of another one meets. */
static void require_poison(enum pt_log_fault fault, bool staged, bool by_push)
{
    struct pt_dice dice = {1};
    struct pt_log_point point;
    enum peat_status status;
    uint64_t read;

    pt_harness_open(&harness, &mapped, SPACE);
    append_some(&dice, 20, false);
    PT_REQUIRE_OK(pt_log_sync(harness.log));
    pt_log_stage(harness.log, staged);
    pt_harness_append(&harness, &dice, 100);
    pt_harness_fault(fault, 1, EIO);
    PT_REQUIRE_STATUS(by_push ? pt_log_push(harness.log) : pt_log_sync(harness.log), PEAT_IO);
    PT_REQUIRE(strstr(peat_last_error(), "PEAT_IO") != NULL);
    pt_harness_fault(fault, 0, 0); /* the disk is well again: too late */
    PT_REQUIRE_STATUS(pt_log_sync(harness.log), PEAT_POISONED);
    PT_REQUIRE_STATUS(pt_log_push(harness.log), PEAT_POISONED);
    PT_REQUIRE_STATUS(pt_harness_try(&harness, &dice, 100), PEAT_POISONED);
    PT_REQUIRE_STATUS(pt_harness_try(&harness, &dice, MIB), PEAT_POISONED);
    PT_REQUIRE_OK(pt_log_prepare(harness.log));
    read = pt_harness_read(&harness, harness.arena, &harness.start, 0, &status, &point);
    PT_REQUIRE(status == PEAT_DONE && read + 1 >= harness.record_count);
    pt_harness_close(&harness);
}

static void a_failed_write_or_sync_poisons(void **state)
{
    (void)state;
    require_poison(PT_LOG_FAULT_SYNC, false, false);
    require_poison(PT_LOG_FAULT_WRITE_DURABLE, true, false);
    require_poison(PT_LOG_FAULT_WRITE, true, true);
}

static void a_failed_link_poisons(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    enum peat_status status;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    pt_harness_fault(PT_LOG_FAULT_WRITE, 2, ENOSPC); /* the second link of the first region */
    do
        status = pt_harness_try(&harness, &dice, 4096);
    while (status == PEAT_OK);
    PT_REQUIRE(status == PEAT_IO);
    PT_REQUIRE_STATUS(pt_harness_try(&harness, &dice, 4096), PEAT_POISONED);
    pt_harness_close(&harness);
}

/* ---- Beside each other ---- */

static atomic_bool stop;
static atomic_uint_least64_t acknowledged;

static void *sync_all_the_time(void *context)
{
    while (!atomic_load(&stop)) {
        PT_REQUIRE_OK(pt_log_sync(context));
        (void)pt_log_unsynced(context);
        (void)pt_log_size(context);
        (void)pt_log_bytes_written(context);
    }
    return NULL;
}

static void *prepare_all_the_time(void *context)
{
    while (!atomic_load(&stop)) {
        if (pt_log_prepare_wanted(context))
            PT_REQUIRE_OK(pt_log_prepare(context));
        pt_clock_sleep_us(50);
    }
    return NULL;
}

/* Up to where the appender no longer needs the log. */
static struct pt_mutex needed_mutex;
static struct pt_log_point needed;

static void *retire_all_the_time(void *context)
{
    uint64_t generation = 2;

    while (!atomic_load(&stop)) {
        struct pt_log_point point;

        pt_mutex_lock(&needed_mutex);
        point = needed;
        pt_mutex_unlock(&needed_mutex);
        pt_log_retire(context, &point, generation++, NULL, NULL);
        pt_clock_sleep_us(200);
    }
    return NULL;
}

/* Reads as another process does, through a mapping of its own. */
static void *read_live(void *context)
{
    struct pt_log_reader *reader;
    struct pt_record record;
    uint64_t count = 0;
    (void)context;

    PT_REQUIRE_OK(pt_log_reader_open(harness.arena, &harness.start, true, &reader));
    for (;;) {
        bool last = atomic_load(&stop);
        uint64_t promised = atomic_load(&acknowledged);
        enum peat_status status;

        while ((status = pt_log_reader_next(reader, &record)) == PEAT_OK) {
            PT_REQUIRE(pt_value_matches(count, record.payload));
            count++;
        }
        PT_REQUIRE(status == PEAT_DONE && count >= promised);
        if (last)
            break;
    }
    PT_REQUIRE(count == harness.record_count);
    pt_log_reader_close(reader);
    return NULL;
}

static void appending_syncing_preparing_retiring_and_reading_go_together(void **state)
{
    void *(*const bodies[])(void *) = {sync_all_the_time, sync_all_the_time, prepare_all_the_time,
                                       retire_all_the_time, read_live};
    enum { BODY_COUNT = sizeof(bodies) / sizeof(bodies[0]) };
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned round = 0; round < 2; round++) {
        struct pt_thread threads[BODY_COUNT];

        pt_harness_open(&harness, round == 0 ? &mapped : &written, SPACE);
        needed = harness.start;
        pt_mutex_init(&needed_mutex);
        atomic_store(&stop, false);
        atomic_store(&acknowledged, 0);
        for (unsigned i = 0; i < BODY_COUNT; i++)
            PT_REQUIRE_OK(pt_thread_start(&threads[i], "beside", bodies[i], harness.log));
        for (unsigned i = 0; i < 4000; i++) {
            pt_log_stage(harness.log, i % 64 < 32);
            pt_harness_append(&harness, &dice, pt_harness_size(&dice, i % 16 == 0));
            PT_REQUIRE_OK(pt_log_push(harness.log));
            atomic_store(&acknowledged, harness.record_count);
            pt_mutex_lock(&needed_mutex);
            if (i % 100 == 0)
                needed = pt_log_point(harness.log);
            pt_mutex_unlock(&needed_mutex);
        }
        atomic_store(&stop, true);
        for (unsigned i = 0; i < BODY_COUNT; i++)
            pt_thread_join(&threads[i]);
        PT_REQUIRE_OK(pt_log_sync(harness.log));
        pt_mutex_fini(&needed_mutex);
        pt_harness_require_all(&harness); /* what was retired is not yet anyone else's */
        pt_harness_close(&harness);
    }
}

static atomic_bool making_room;
static atomic_bool appended;

/* Takes until a record was appended meanwhile. An appender that waits for it is seen by its not coming. */
static int allocate_beside_an_append(int fd, uint64_t offset, uint64_t size)
{
    uint64_t until_us = pt_clock_monotonic_us() + 20000000;

    atomic_store(&making_room, true);
    while (!atomic_load(&appended)) {
        PT_REQUIRE(pt_clock_monotonic_us() < until_us);
        pt_clock_sleep_us(100);
    }
    return pt_file_calls_real()->allocate(fd, offset, size);
}

static void *prepare_once(void *context)
{
    PT_REQUIRE_OK(pt_log_prepare(context));
    return NULL;
}

static void a_record_that_fits_does_not_wait_until_the_next_region_is_made(void **state)
{
    const struct pt_log_options large = {.region_size_min = MIB};
    struct pt_dice dice = {pt_test_seed()};
    struct pt_file_calls calls = *pt_file_calls_real();
    struct pt_thread thread;
    (void)state;

    calls.allocate = allocate_beside_an_append;
    pt_harness_open(&harness, &large, SPACE);
    while (!pt_log_prepare_wanted(harness.log))
        pt_harness_append(&harness, &dice, 1000);
    pt_file_set_calls(&calls);
    PT_REQUIRE_OK(pt_thread_start(&thread, "beside", prepare_once, harness.log));
    while (!atomic_load(&making_room))
        pt_clock_sleep_us(100);
    for (unsigned i = 0; i < 350; i++) /* over pages that are not yet populated, too */
        pt_harness_append(&harness, &dice, 1000);
    atomic_store(&appended, true);
    pt_thread_join(&thread);
    pt_file_set_calls(NULL);
    pt_harness_require_all(&harness);
    pt_harness_close(&harness);
}

static void a_live_reader_goes_on_where_it_found_nothing(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_log_reader *reader;
    struct pt_record record;
    uint64_t count = 0;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    PT_REQUIRE_OK(pt_log_reader_open(harness.arena, &harness.start, true, &reader));
    for (unsigned i = 0; i < 300; i++) {
        size_t region_count;

        PT_REQUIRE_STATUS(pt_log_reader_next(reader, &record), PEAT_DONE);
        append_some(&dice, (unsigned)pt_dice_below(&dice, 4), true);
        while (count < harness.record_count) {
            PT_REQUIRE_OK(pt_log_reader_next(reader, &record));
            pt_harness_require_record(&harness, count++, &record);
        }
        PT_REQUIRE(pt_log_reader_regions(reader, &region_count) != NULL && region_count > 0);
    }
    pt_log_reader_close(reader);
    pt_harness_close(&harness);
}

/* ---- Regions ---- */

static void regions_before_a_point_are_retired(void **state)
{
    const struct pt_log_options small = {.region_size_min = 64 * KIB, .region_size_max = MIB};
    struct pt_dice dice = {pt_test_seed()};
    struct pt_arena_space space;
    (void)state;

    pt_harness_open(&harness, &small, SPACE);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t before = harness.record_count;
        struct pt_log_point point = pt_log_point(harness.log);
        enum peat_status status;

        append_some(&dice, 200, true);
        pt_log_retire(harness.log, &point, i + 2, NULL, NULL);
        pt_log_retire(harness.log, &point, i + 2, NULL, NULL); /* there is nothing left to do */
        PT_REQUIRE_OK(pt_log_sync(harness.log));
        PT_REQUIRE(pt_harness_read(&harness, harness.arena, &point, before, &status, NULL) ==
                   harness.record_count - before);
        pt_arena_space(harness.arena, &space);
        PT_REQUIRE(space.retired_size + space.free_size + pt_log_size(harness.log) +
                       PT_ARENA_START ==
                   space.file_size);
        pt_arena_reclaim(harness.arena, i + 2);
        pt_arena_space(harness.arena, &space);
        PT_REQUIRE(space.retired_size == 0);
    }
    PT_REQUIRE(pt_log_size(harness.log) < pt_log_bytes_written(harness.log));
    pt_harness_close(&harness);
}

/* Every byte of the arena is free, retired or the log's. */
static void require_accounted(void)
{
    struct pt_arena_space space;

    pt_arena_space(harness.arena, &space);
    PT_REQUIRE(space.retired_size + space.free_size + pt_log_size(harness.log) + PT_ARENA_START ==
               space.file_size);
}

static void after_a_jump_each_side_has_its_records_alone(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned i = 0; i < 12; i++) {
        struct pt_log_point from;
        struct pt_log_point end;
        struct pt_log_jump jump;
        enum peat_status status;
        uint64_t before;

        pt_harness_open(&harness, i % 2 == 0 ? &mapped : &written, SPACE);
        from = harness.start;
        if (i % 3 != 0)
            append_some(&dice, 300, true);
        if (i % 4 == 0)
            PT_REQUIRE_OK(pt_log_prepare(harness.log));
        before = harness.record_count;
        end = pt_log_point(harness.log);
        end = pt_log_point_reverted(&end, 77);
        PT_REQUIRE_OK(pt_log_jump_prepare(harness.log, &end, false, &jump));
        PT_REQUIRE(jump.point.commit == harness.commit + 1 && jump.point.time_us == 77);
        if (i % 2 == 0) /* a sync comes in between */
            PT_REQUIRE_OK(pt_log_sync(harness.log));
        pt_log_jump(harness.log, &jump);
        harness.commit++;
        pt_log_jump_cancel(harness.log, &jump, false); /* it is done: nothing happens */
        append_some(&dice, 300, true);
        PT_REQUIRE_OK(pt_log_sync(harness.log));
        PT_REQUIRE(pt_harness_read(&harness, harness.arena, &from, 0, &status, NULL) == before);
        PT_REQUIRE(status == PEAT_DONE); /* no trace of more: not taken for damage */
        PT_REQUIRE(pt_harness_read(&harness, harness.arena, &jump.point, before, &status, NULL) ==
                   harness.record_count - before);
        PT_REQUIRE(status == PEAT_DONE);
        require_accounted();
        pt_log_retire(harness.log, &jump.point, 2, NULL, NULL);
        append_some(&dice, 50, true);
        PT_REQUIRE_OK(pt_log_sync(harness.log));
        PT_REQUIRE(pt_harness_read(&harness, harness.arena, &jump.point, before, &status, NULL) ==
                   harness.record_count - before);
        require_accounted();
        pt_harness_close(&harness);
    }
}

static void a_jump_taken_back_leaves_the_log_as_it_was(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_log_point before;
    struct pt_log_point after;
    struct pt_log_jump jump;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    append_some(&dice, 100, true);
    before = pt_log_point(harness.log);
    after = pt_log_point_reverted(&before, 77);
    PT_REQUIRE_OK(pt_log_jump_prepare(harness.log, &after, false, &jump));
    pt_log_jump_cancel(harness.log, &jump, false);
    after = pt_log_point(harness.log);
    PT_REQUIRE(is_same_point(&before, &after));
    require_accounted();
    append_some(&dice, 100, true);
    pt_harness_require_all(&harness);
    pt_harness_close(&harness);
}

/* Appended over some regions, and read from a point in the middle of them. */
static void a_survey_finds_the_regions_that_a_reader_enters(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    for (unsigned i = 0; i < 20; i++) {
        struct pt_log_point from = pt_log_point(harness.log);
        struct pt_extent *surveyed = NULL;
        const struct pt_extent *entered;
        struct pt_log_reader *reader;
        struct pt_record record;
        size_t surveyed_count = 0;
        size_t entered_count = 0;

        append_some(&dice, 200, true);
        PT_REQUIRE_OK(pt_log_reader_open(harness.arena, &from, false, &reader));
        while (pt_log_reader_next(reader, &record) == PEAT_OK)
            ;
        entered = pt_log_reader_regions(reader, &entered_count);
        PT_REQUIRE_OK(pt_log_survey(harness.arena, &from, &surveyed, &surveyed_count));
        PT_REQUIRE(surveyed_count == entered_count);
        for (size_t k = 0; k < entered_count; k++)
            PT_REQUIRE(surveyed[k].offset == entered[k].offset &&
                       surveyed[k].size == entered[k].size);
        pt_log_reader_close(reader);
        pt_free(surveyed);
    }
    pt_harness_close(&harness);
}

/* When the reader asks for pages the so many-th time, the writer comes to run. */
static unsigned populates_left; /* 0: never */

static int populate_while_it_is_written(int fd, void *place, uint64_t size, bool writing)
{
    struct pt_dice dice = {7};

    if (!writing && populates_left > 0 && --populates_left == 0) {
        pt_harness_append(&harness, &dice, 100);
        PT_REQUIRE_OK(pt_log_sync(harness.log));
        pt_harness_append(&harness, &dice, 100);
    }
    return pt_file_calls_real()->populate(fd, place, size, writing);
}

static void what_is_written_while_the_end_is_looked_for_is_not_taken_for_damage(void **state)
{
    enum { PLACES = 6 };
    unsigned found = 0;
    struct pt_file_calls calls = *pt_file_calls_real();
    struct pt_dice dice = {7};
    (void)state;

    calls.populate = populate_while_it_is_written;
    pt_harness_open(&harness, &mapped, SPACE);
    pt_file_set_calls(&calls);
    for (unsigned i = 1; i <= PLACES; i++) {
        struct pt_log_reader *reader;
        struct pt_log_point point;
        struct pt_record record;
        enum peat_status status;

        pt_harness_append(&harness, &dice, 100);
        PT_REQUIRE_OK(pt_log_sync(harness.log));
        point = pt_log_point(harness.log);
        PT_REQUIRE_OK(pt_log_reader_open(harness.arena, &point, false, &reader));
        populates_left = i;
        status = pt_log_reader_next(reader, &record);
        PT_REQUIRE(status == PEAT_OK || status == PEAT_DONE);
        PT_REQUIRE((status == PEAT_DONE) == (populates_left > 0));
        if (status == PEAT_OK)
            PT_REQUIRE(record.commit == point.commit + 1);
        found += status == PEAT_OK;
        populates_left = 0;
        pt_log_reader_close(reader);
    }
    PT_REQUIRE(found >= 2); /* before the record was looked for, and after */
    pt_harness_require_all(&harness);
    pt_harness_close(&harness);
    pt_file_set_calls(NULL);
}

static void a_survey_of_no_log_or_no_place_says_so(void **state)
{
    struct pt_log_point nowhere = {.commit = 5};
    struct pt_extent *regions = NULL;
    struct pt_log_point wrong;
    size_t count = 7;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    PT_REQUIRE_OK(pt_log_survey(harness.arena, &nowhere, &regions, &count));
    PT_REQUIRE(count == 0);
    pt_free(regions);
    wrong = pt_log_point(harness.log);
    wrong.region.offset += SPACE;
    PT_REQUIRE_STATUS(pt_log_survey(harness.arena, &wrong, &regions, &count), PEAT_CORRUPT);
    PT_REQUIRE(regions == NULL && count == 0);
    pt_harness_close(&harness);
}

static void ending_the_log_retires_all_of_it(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_arena_space space;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    append_some(&dice, 300, true);
    PT_REQUIRE_OK(pt_log_prepare(harness.log));
    pt_log_end(harness.log, 2, NULL, NULL);
    harness.log = NULL;
    pt_arena_reclaim(harness.arena, 2);
    pt_arena_space(harness.arena, &space);
    PT_REQUIRE(space.free_size + PT_ARENA_START == space.file_size);
    pt_harness_close(&harness);
}

/* ---- Pieces ---- */

enum { PIECES_MAX = 4096 };
static struct pt_log_piece pieces[PIECES_MAX];
static struct pt_log_piece kept[PIECES_MAX];
static size_t kept_count;

static bool keep_piece(void *context, const struct pt_log_piece *piece)
{
    (void)context;
    PT_REQUIRE(kept_count < PIECES_MAX);
    kept[kept_count++] = *piece;
    return true;
}

/* Which of the records begins at @p start, of which only the history counts. */
static uint64_t number_at(const struct pt_log_point *start)
{
    struct pt_log_reader *reader;
    struct pt_record record;
    uint64_t number = 0;

    PT_REQUIRE_OK(pt_log_reader_open(harness.arena, &harness.start, true, &reader));
    while (pt_log_reader_point(reader).position < start->position) {
        PT_REQUIRE_OK(pt_log_reader_next(reader, &record));
        number++;
    }
    PT_REQUIRE(pt_log_reader_point(reader).position == start->position);
    pt_log_reader_close(reader);
    return number;
}

static void where_the_first_payload_of_a_region_begins_is_a_place_to_read_from(void **state)
{
    const struct pt_log_options small = {.region_size_min = 64 * KIB, .region_size_max = MIB};
    struct pt_dice dice = {pt_test_seed()};
    size_t middle_count = 0;
    size_t count;
    (void)state;

    pt_harness_open(&harness, &small, SPACE);
    pt_harness_append(&harness, &dice, 2900000); /* over regions in which nothing else begins */
    append_some(&dice, 200, true);
    for (unsigned i = 0; i < 4; i++)
        pt_harness_append(&harness, &dice, 700000 + 100000 * i);
    PT_REQUIRE_OK(pt_log_sync(harness.log));
    count = pt_log_pieces(harness.log, pieces, PIECES_MAX);
    PT_REQUIRE(count > 4 && count < PIECES_MAX && pt_log_pieces(harness.log, NULL, 0) == count);
    for (size_t i = 0; i < count; i++) {
        enum peat_status status;
        uint64_t first;

        PT_REQUIRE(pieces[i].start.region.size > 0);
        middle_count += !pieces[i].has_start;
        if (!pieces[i].has_start)
            continue;
        first = number_at(&pieces[i].start);
        PT_REQUIRE(pt_harness_read(&harness, harness.arena, &pieces[i].start, first, &status,
                                   NULL) == harness.record_count - first);
    }
    PT_REQUIRE(middle_count > 0); /* else this has shown nothing */
    pt_harness_close(&harness);
}

static void a_reader_finds_the_pieces_that_the_appender_made(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    const struct pt_log_piece *found;
    struct pt_log_reader *reader;
    struct pt_record record;
    size_t found_count;
    size_t count;
    (void)state;

    pt_harness_open(&harness, &written, SPACE);
    pt_harness_append(&harness, &dice, 2900000);
    append_some(&dice, 400, true);
    PT_REQUIRE_OK(pt_log_sync(harness.log));
    PT_REQUIRE_OK(pt_log_reader_open(harness.arena, &harness.start, true, &reader));
    for (uint64_t i = 0; i < harness.record_count; i++) {
        struct pt_log_point before = pt_log_reader_point(reader);
        struct pt_log_point begin;

        PT_REQUIRE_OK(pt_log_reader_next(reader, &record));
        begin = pt_log_reader_begin(reader);
        PT_REQUIRE(begin.position == before.position && begin.commit == before.commit);
        if (i % 16 == 0) {
            enum peat_status status;

            PT_REQUIRE(pt_harness_read(&harness, harness.arena, &begin, i, &status, NULL) ==
                       harness.record_count - i);
        }
    }
    found = pt_log_reader_pieces(reader, &found_count);
    count = pt_log_pieces(harness.log, pieces, PIECES_MAX);
    PT_REQUIRE(found_count == count);
    for (size_t i = 0; i < count; i++) {
        PT_REQUIRE(found[i].has_start == pieces[i].has_start);
        PT_REQUIRE(found[i].start.region.offset == pieces[i].start.region.offset);
        if (found[i].has_start)
            PT_REQUIRE(found[i].start.position == pieces[i].start.position &&
                       found[i].start.commit == pieces[i].start.commit);
    }
    pt_log_reader_close(reader);
    pt_harness_close(&harness);
}

static void what_is_kept_of_the_log_stays_readable_after_it_has_ended(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_log_point from;
    enum peat_status status;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    from = harness.start;
    append_some(&dice, 200, true);
    PT_REQUIRE_OK(pt_log_sync(harness.log));
    kept_count = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct pt_log_point point = pt_log_point(harness.log);

        pt_log_retire(harness.log, &point, 2 + i, keep_piece, NULL);
        append_some(&dice, 200, true);
        PT_REQUIRE_OK(pt_log_sync(harness.log));
    }
    pt_log_end(harness.log, 4, keep_piece, NULL);
    harness.log = NULL;
    pt_arena_reclaim(harness.arena, 4);
    PT_REQUIRE(kept_count > 2 && kept[0].has_start && kept[0].start.position == from.position);
    PT_REQUIRE(pt_harness_read(&harness, harness.arena, &kept[0].start, 0, &status, NULL) ==
               harness.record_count);
    pt_harness_close(&harness);
}

static void an_earlier_use_of_a_region_is_never_read(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    const struct pt_log_options fixed = {.region_size_min = 384 * KIB,
                                         .region_size_max = 384 * KIB};
    (void)state;

    pt_harness_open(&harness, &fixed, SPACE);
    for (unsigned i = 0; i < 20; i++) {
        static uint8_t old[384 * KIB];
        struct pt_extent region = harness.start.region;
        const uint8_t *place = pt_arena_base(harness.arena) + region.offset;

        append_some(&dice, 100, false);
        memcpy(old, place, sizeof(old));
        pt_log_close(harness.log);
        pt_arena_release(harness.arena, region);
        PT_REQUIRE_OK(pt_log_open(harness.arena, &fixed, &harness.start, &harness.log));
        /* The same history goes on in the same place, where its records still are. */
        harness.start = pt_log_point(harness.log);
        PT_REQUIRE(harness.start.region.offset == region.offset);
        PT_REQUIRE_OK(pt_file_write(pt_arena_file(harness.arena), region.offset, old, sizeof(old)));
        harness.commit = harness.start.commit;
        harness.record_count = 0;
        memset(harness.seals, 0, sizeof(harness.seals));
        pt_harness_require_all(&harness);
    }
    pt_harness_close(&harness);
}

static void a_start_that_is_no_place_is_damage(void **state)
{
    const struct pt_extent bad[] = {{0, 128 * KIB},
                                    {64 * KIB, 0},
                                    {64 * KIB, 1000},
                                    {65 * KIB, 128 * KIB},
                                    {64 * KIB, 1u << 30},
                                    {UINT64_MAX - 65535, 128 * KIB},
                                    {64 * KIB, UINT64_MAX - 65535}};
    const uint64_t bad_offsets[] = {0, 4095, 4097, 128 * KIB - 4088, UINT64_MAX - 7};
    struct pt_log_reader *reader;
    (void)state;

    pt_harness_open(&harness, &(struct pt_log_options){0}, SPACE);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pt_log_point start = harness.start;

        start.region = bad[i];
        if (bad[i].size == 0)
            continue; /* says that there is no log */
        PT_REQUIRE_STATUS(pt_log_reader_open(harness.arena, &start, false, &reader), PEAT_CORRUPT);
        PT_REQUIRE(reader == NULL);
    }
    for (unsigned i = 0; i < sizeof(bad_offsets) / sizeof(bad_offsets[0]); i++) {
        struct pt_log_point start = harness.start;

        start.offset = bad_offsets[i];
        PT_REQUIRE_STATUS(pt_log_reader_open(harness.arena, &start, false, &reader), PEAT_CORRUPT);
    }
    pt_harness_close(&harness);
}

static void a_small_log_takes_little_space(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    pt_harness_open(&harness, &(struct pt_log_options){0}, SPACE);
    PT_REQUIRE(pt_log_size(harness.log) == 128 * KIB);
    for (unsigned i = 0; i < 400; i++) {
        pt_harness_append(&harness, &dice, 140);
        PT_REQUIRE_OK(pt_log_prepare(harness.log));
    }
    PT_REQUIRE(pt_log_size(harness.log) <= 512 * KIB);
    pt_harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_in_order),
        cmocka_unit_test(an_empty_log_has_no_records),
        cmocka_unit_test(any_point_is_one_to_read_from),
        cmocka_unit_test(a_payload_larger_than_all_regions_is_one_record),
        cmocka_unit_test(chain_and_position_depend_on_the_records_alone),
        cmocka_unit_test(another_history_has_another_chain),
        cmocka_unit_test(no_block_is_written_again_once_it_was_acknowledged),
        cmocka_unit_test(a_staged_group_is_one_write),
        cmocka_unit_test(no_space_leaves_the_log_as_it_was),
        cmocka_unit_test(a_full_disk_is_filled_to_the_end),
        cmocka_unit_test(the_reserve_is_used_up_whatever_pieces_it_is_in),
        cmocka_unit_test(a_region_too_small_for_a_record_is_never_left_empty),
        cmocka_unit_test(memory_refused_leaves_the_log_as_it_was),
        cmocka_unit_test(a_failed_write_or_sync_poisons),
        cmocka_unit_test(a_failed_link_poisons),
        cmocka_unit_test(appending_syncing_preparing_retiring_and_reading_go_together),
        cmocka_unit_test(a_record_that_fits_does_not_wait_until_the_next_region_is_made),
        cmocka_unit_test(a_live_reader_goes_on_where_it_found_nothing),
        cmocka_unit_test(regions_before_a_point_are_retired),
        cmocka_unit_test(after_a_jump_each_side_has_its_records_alone),
        cmocka_unit_test(a_jump_taken_back_leaves_the_log_as_it_was),
        cmocka_unit_test(a_survey_finds_the_regions_that_a_reader_enters),
        cmocka_unit_test(what_is_written_while_the_end_is_looked_for_is_not_taken_for_damage),
        cmocka_unit_test(a_survey_of_no_log_or_no_place_says_so),
        cmocka_unit_test(ending_the_log_retires_all_of_it),
        cmocka_unit_test(where_the_first_payload_of_a_region_begins_is_a_place_to_read_from),
        cmocka_unit_test(a_reader_finds_the_pieces_that_the_appender_made),
        cmocka_unit_test(what_is_kept_of_the_log_stays_readable_after_it_has_ended),
        cmocka_unit_test(an_earlier_use_of_a_region_is_never_read),
        cmocka_unit_test(a_start_that_is_no_place_is_damage),
        cmocka_unit_test(a_small_log_takes_little_space),
    };
    int failed;

    pt_test_start();
    PT_REQUIRE_OK(pt_checksum_start());
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

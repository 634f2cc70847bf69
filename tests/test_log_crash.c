/*
 * Whatever a power cut leaves of a log, reading it gives a prefix of what was appended that holds all
 * that was acknowledged as durable. Whatever else happens to its bytes, reading gives right records or
 * none, and says so when records are lost that were on disk.
 */
#include "wal/log.h"

#include "tests/log_harness.h"
#include "wal/log_format.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KIB = 1024, SECTOR = 512 };

#define SPACE (UINT64_C(1) << 33)

static struct pt_harness harness; /* large */

static const struct pt_log_options mapped = {.region_size_min = 64 * KIB,
                                             .region_size_max = 64 * KIB};
static const struct pt_log_options written = {.pwrite = true,
                                              .region_size_min = 64 * KIB,
                                              .region_size_max = 64 * KIB};

/* Change bytes of the log behind its back. */
static void overwrite(uint64_t offset, const void *bytes, size_t size)
{
    PT_REQUIRE_OK(pt_file_write(pt_arena_file(harness.arena), offset, bytes, size));
}

static const uint8_t *live_bytes(void)
{
    return pt_arena_base(harness.arena);
}

/* Read what there is: right records, no error. */
static uint64_t read_torn(struct pt_arena *arena)
{
    enum peat_status status;
    uint64_t count = pt_harness_read(&harness, arena, &harness.start, 0, &status, NULL);

    PT_REQUIRE_STATUS(status, PEAT_DONE);
    return count;
}

/* ---- A torn tail ---- */

enum { TORN_MAX = 16 };

/* Where records end, as offsets in the file, without their padding. */
static uint64_t ends[TORN_MAX];

static void append_noting_end(struct pt_dice *dice, size_t size)
{
    struct pt_log_point point;

    pt_harness_append(&harness, dice, size);
    PT_REQUIRE_OK(pt_log_push(harness.log));
    point = pt_log_point(harness.log);
    PT_REQUIRE(harness.record_count <= TORN_MAX);
    ends[harness.record_count - 1] = point.region.offset + point.offset - (8 - (72 + size) % 8) % 8;
}

static uint64_t records_before(uint64_t offset)
{
    uint64_t count = 0;

    while (count < harness.record_count && ends[count] <= offset)
        count++;
    return count;
}

/* From @p from on, the bytes up to @p to are something else: zeros, garbage, or ones. */
static void tear(struct pt_dice *dice, unsigned kind, uint64_t from, uint64_t to)
{
    uint8_t bytes[16384];

    PT_REQUIRE(to - from <= sizeof(bytes));
    if (kind == 0)
        memset(bytes, 0, sizeof(bytes));
    else if (kind == 1)
        memset(bytes, 0xff, sizeof(bytes));
    else
        pt_value_fill(pt_dice_next(dice), bytes, to - from);
    overwrite(from, bytes, to - from);
}

static void a_tail_torn_at_any_byte_leaves_the_records_before_it(void **state)
{
    const size_t sizes[] = {100, 0, 8, 5000, 1, 140, 700};
    struct pt_dice dice = {pt_test_seed()};
    static uint8_t saved[64 * KIB];
    struct pt_log_point point;
    uint64_t start;
    uint64_t end;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    for (unsigned i = 0; i < 3; i++)
        append_noting_end(&dice, 300);
    PT_REQUIRE_OK(pt_log_sync(harness.log));
    point = pt_log_point(harness.log);
    start = point.region.offset + point.offset;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        append_noting_end(&dice, sizes[i]);
    point = pt_log_point(harness.log);
    end = point.region.offset + point.offset;
    PT_REQUIRE(end - start > 5000 && end - start < 8000);
    memcpy(saved, live_bytes() + point.region.offset, sizeof(saved));

    for (uint64_t from = start; from < end; from++) {
        for (unsigned kind = 0; kind < 3; kind++) {
            uint64_t count;

            tear(&dice, kind, from, end);
            count = read_torn(harness.arena);
            PT_REQUIRE(count >= 3 && count >= records_before(from));
            overwrite(start, saved + (start - point.region.offset), end - start);
        }
    }
    PT_REQUIRE(read_torn(harness.arena) == harness.record_count);
    pt_harness_close(&harness);
}

static void a_batch_whose_last_records_are_missing_is_not_there(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_log_point before;
    struct pt_log_point point;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    pt_harness_append(&harness, &dice, 10);
    before = pt_log_point(harness.log);
    pt_harness_append(&harness, &dice, 900000); /* four records in several regions */
    for (unsigned i = 0; i < 400; i++) {
        struct pt_log_reader *reader;
        struct pt_record record;
        uint64_t at = pt_dice_below(&dice, harness.start.region.size);
        struct pt_log_point last = pt_log_point(harness.log);
        uint8_t byte;
        uint8_t other;

        /* A byte of the last record. */
        at = last.region.offset + last.offset - 1 - at % 100000;
        byte = live_bytes()[at];
        other = (uint8_t)(byte ^ (1 + pt_dice_below(&dice, 255)));
        overwrite(at, &other, 1);
        PT_REQUIRE_OK(pt_log_reader_open(harness.arena, &harness.start, i % 2 == 0, &reader));
        PT_REQUIRE_OK(pt_log_reader_next(reader, &record));
        PT_REQUIRE_STATUS(pt_log_reader_next(reader, &record), PEAT_DONE);
        point = pt_log_reader_point(reader);
        PT_REQUIRE(memcmp(&point.chain, &before.chain, sizeof(point.chain)) == 0);
        PT_REQUIRE(point.position == before.position && point.commit == before.commit);
        overwrite(at, &byte, 1);
        if (i % 2 == 0) { /* a live reader finds it when it is there */
            PT_REQUIRE_OK(pt_log_reader_next(reader, &record));
            pt_harness_require_record(&harness, 1, &record);
        }
        pt_log_reader_close(reader);
    }
    pt_harness_close(&harness);
}

/* The same history, written again where it had been written before and not been erased: were its own
 * nonce not in it, the rest of the first use would follow the beginning of the second. */
static void what_an_older_use_of_a_region_left_does_not_follow(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    static uint8_t saved[64 * KIB];
    struct pt_log_point logical;
    struct pt_extent region;
    uint64_t behind;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    logical = harness.start;
    region = harness.start.region;
    for (unsigned i = 0; i < 5; i++)
        pt_harness_append(&harness, &dice, 300);
    memcpy(saved, live_bytes() + region.offset, sizeof(saved));
    pt_log_close(harness.log);
    pt_arena_release(harness.arena, region);

    PT_REQUIRE_OK(pt_log_open(harness.arena, &mapped, &logical, &harness.log));
    harness.start = pt_log_point(harness.log);
    PT_REQUIRE(harness.start.region.offset == region.offset);
    harness.commit = logical.commit;
    harness.record_count = 0;
    pt_harness_append(&harness, &dice, 300);
    behind = pt_log_point(harness.log).offset;
    overwrite(region.offset + behind, saved + behind, sizeof(saved) - behind);
    PT_REQUIRE(read_torn(harness.arena) == 1);
    pt_harness_close(&harness);
}

/* ---- Power cuts ---- */

/*
 * What the medium holds after a power cut: of each sector that was not synced since it was written,
 * the old bytes, the new ones, or garbage.
 */
static struct pt_arena *power_cut(struct pt_dice *dice)
{
    uint64_t size = pt_arena_size(harness.arena);
    const uint8_t *live = live_bytes();
    uint8_t *image = malloc(size);
    unsigned new_of_10 = (unsigned)pt_dice_below(dice, 11);
    bool with_garbage = pt_dice_one_in(dice, 2);
    struct pt_arena *arena;

    PT_REQUIRE(image != NULL);
    memcpy(image, pt_harness_disk_bytes(&harness), size);
    for (uint64_t offset = 0; offset < size; offset += SECTOR) {
        if (memcmp(image + offset, live + offset, SECTOR) == 0)
            continue;
        if (pt_dice_below(dice, 10) < new_of_10)
            memcpy(image + offset, live + offset, SECTOR);
        else if (with_garbage && pt_dice_one_in(dice, 4))
            pt_value_fill(pt_dice_next(dice), image + offset, SECTOR);
    }
    arena = pt_harness_arena_of(image, size);
    free(image);
    return arena;
}

/* Recovery: what can be read is written to a fresh log, which then stands where the reader does. */
static void require_rewritten(struct pt_arena *arena)
{
    struct pt_log_reader *reader;
    struct pt_record record;
    struct pt_log_point point;
    struct pt_log_point end;
    struct pt_log *log;

    PT_REQUIRE_OK(pt_log_reader_open(arena, &harness.start, false, &reader));
    PT_REQUIRE_OK(pt_log_open(arena, &mapped, &harness.start, &log));
    while (pt_log_reader_next(reader, &record) == PEAT_OK)
        PT_REQUIRE_OK(
            pt_log_append(log, record.kind, record.commit, record.time_us, &record.payload, 1));
    PT_REQUIRE_OK(pt_log_sync(log));
    point = pt_log_reader_point(reader);
    end = pt_log_point(log);
    PT_REQUIRE(point.position == end.position && point.commit == end.commit);
    PT_REQUIRE(memcmp(&point.chain, &end.chain, sizeof(end.chain)) == 0);
    pt_log_close(log);
    pt_log_reader_close(reader);
}

static void a_power_cut_takes_nothing_that_was_acknowledged(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint64_t lost = 0;
    uint64_t kept = 0;
    (void)state;

    for (unsigned round = 0; round < 12; round++) {
        uint64_t acknowledged = 0;

        pt_harness_disk_start();
        pt_harness_open(&harness, round % 3 == 0 ? &written : &mapped, SPACE);
        for (unsigned step = 0; step < 40; step++) {
            for (uint64_t i = pt_dice_below(&dice, 12); i > 0; i--) {
                pt_log_stage(harness.log, pt_dice_one_in(&dice, 2));
                pt_harness_append(&harness, &dice,
                                  pt_harness_size(&dice, pt_dice_one_in(&dice, 4)));
            }
            if (pt_dice_one_in(&dice, 3))
                PT_REQUIRE_OK(pt_log_prepare(harness.log));
            if (pt_dice_one_in(&dice, 2))
                PT_REQUIRE_OK(pt_log_push(harness.log));
            if (pt_dice_one_in(&dice, 2)) {
                PT_REQUIRE_OK(pt_log_sync(harness.log));
                acknowledged = harness.record_count;
            }
            if (pt_dice_one_in(&dice, 4)) {
                struct pt_arena *arena = power_cut(&dice);
                uint64_t count = read_torn(arena);

                PT_REQUIRE(count >= acknowledged);
                kept += count - acknowledged;
                lost += harness.record_count - count;
                pt_harness_disk_pause(true);
                require_rewritten(arena);
                pt_harness_disk_pause(false);
                pt_arena_close(arena);
            }
        }
        pt_harness_close(&harness);
        pt_harness_disk_stop();
    }
    PT_REQUIRE(lost > 0 && kept > 0); /* or the cuts cut nothing */
}

static void a_killed_process_loses_nothing_that_was_pushed(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    /* The page cache is the file as others see it: what it holds at any moment. */
    for (unsigned round = 0; round < 4; round++) {
        pt_harness_open(&harness, round % 2 == 0 ? &mapped : &written, SPACE);
        for (unsigned step = 0; step < 100; step++) {
            pt_harness_append(&harness, &dice, pt_harness_size(&dice, true));
            if (round % 2 != 0)
                PT_REQUIRE_OK(pt_log_push(harness.log));
            if (step % 10 == 0)
                PT_REQUIRE(read_torn(harness.arena) == harness.record_count);
        }
        pt_harness_close(&harness);
    }
}

/* ---- Damage ---- */

/* Records in groups, each synced; *traced_out: how many the last record knows to be on disk. */
static void append_groups(struct pt_dice *dice, unsigned groups, bool large, uint64_t *traced_out)
{
    for (unsigned i = 0; i < groups; i++) {
        *traced_out = harness.record_count;
        for (uint64_t j = 1 + pt_dice_below(dice, 5); j > 0; j--)
            pt_harness_append(&harness, dice, pt_harness_size(dice, large));
        PT_REQUIRE_OK(pt_log_sync(harness.log));
    }
}

/* With the byte at @p offset changed: right records; and damage if it hit what is known to be on
 * disk. True: the byte mattered. */
static bool require_damage_is_seen(struct pt_dice *dice, uint64_t offset, uint64_t traced)
{
    uint8_t byte = live_bytes()[offset];
    uint8_t other = (uint8_t)(byte ^ (1u << pt_dice_below(dice, 8)));
    enum peat_status status;
    uint64_t count;

    overwrite(offset, &other, 1);
    count = pt_harness_read(&harness, harness.arena, &harness.start, 0, &status, NULL);
    overwrite(offset, &byte, 1);
    if (count < traced)
        PT_REQUIRE_STATUS(status, PEAT_CORRUPT);
    if (count == harness.record_count)
        PT_REQUIRE_STATUS(status, PEAT_DONE);
    if (status == PEAT_CORRUPT) {
        char words[64];

        (void)snprintf(words, sizeof(words), "commits from %" PRIu64 " on",
                       (count == 0 ? harness.start.commit : harness.commits[count - 1]) + 1);
        PT_REQUIRE(strstr(peat_last_error(), words) != NULL);
    }
    return count < harness.record_count;
}

static void damage_to_any_byte_of_what_was_synced_is_seen(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint64_t traced = 0;
    uint64_t mattered = 0;
    struct pt_log_point end;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    append_groups(&dice, 5, false, &traced);
    end = pt_log_point(harness.log);
    PT_REQUIRE(end.region.offset == harness.start.region.offset);
    for (uint64_t offset = 0; offset < end.offset; offset++)
        mattered += require_damage_is_seen(&dice, end.region.offset + offset, traced) ? 1 : 0;
    PT_REQUIRE(mattered >= harness.record_count * 72);
    pt_harness_close(&harness);
}

static void damage_is_seen_across_regions(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint64_t traced = 0;
    uint64_t mattered = 0;
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    append_groups(&dice, 60, true, &traced);
    PT_REQUIRE(pt_log_point(harness.log).region.offset != harness.start.region.offset);
    for (unsigned i = 0; i < 600; i++) {
        uint64_t offset =
            PT_ARENA_START + pt_dice_below(&dice, pt_arena_size(harness.arena) - PT_ARENA_START);

        mattered += require_damage_is_seen(&dice, offset, traced) ? 1 : 0;
    }
    PT_REQUIRE(mattered > 0);
    pt_harness_close(&harness);
}

static void a_lost_block_with_a_link_does_not_matter(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint8_t garbage[PT_LOG_BLOCK];
    (void)state;

    pt_harness_disk_start();
    pt_harness_open(&harness, &mapped, SPACE);
    for (unsigned i = 0; i < 300; i++)
        pt_harness_append(&harness, &dice, 300);
    PT_REQUIRE_OK(pt_log_sync(harness.log));
    PT_REQUIRE(pt_log_point(harness.log).region.offset != harness.start.region.offset);
    for (unsigned i = 0; i < 2; i++) {
        struct pt_arena *arena =
            pt_harness_arena_of(pt_harness_disk_bytes(&harness), pt_arena_size(harness.arena));
        uint64_t block = i == 0 ? 0 : pt_log_data_end(harness.start.region.size);

        pt_value_fill(i, garbage, sizeof(garbage));
        PT_REQUIRE_OK(pt_file_write(pt_arena_file(arena), harness.start.region.offset + block,
                                    garbage, sizeof(garbage)));
        PT_REQUIRE(read_torn(arena) == harness.record_count);
        pt_arena_close(arena);
    }
    pt_harness_close(&harness);
    pt_harness_disk_stop();
}

/* ---- Bytes that lie ---- */

/* Give a header or link at @p offset, changed to @p bytes, a checksum that holds. */
static void overwrite_sealed(uint64_t offset, const struct pt_id *nonce,
                             uint8_t bytes[PT_LOG_HEADER_SIZE])
{
    struct pt_le64 checksum =
        pt_le64(pt_siphash(nonce, bytes + PT_LOG_CHECKED_OFFSET, PT_LOG_CHECKED_SIZE));

    memcpy(bytes, &checksum, sizeof(checksum));
    overwrite(offset, bytes, PT_LOG_HEADER_SIZE);
}

static uint64_t wild_number(struct pt_dice *dice)
{
    switch (pt_dice_below(dice, 5)) {
    case 0:
        return pt_dice_next(dice);
    case 1:
        return UINT64_MAX - pt_dice_below(dice, 70000);
    case 2:
        return pt_dice_below(dice, 200) * PT_REGION_UNIT;
    case 3:
        return pt_dice_below(dice, 300000);
    default:
        return pt_dice_below(dice, 3);
    }
}

static void headers_that_lie_under_a_checksum_that_holds_are_harmless(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    for (unsigned i = 0; i < 200; i++)
        pt_harness_append(&harness, &dice, 1000);
    for (unsigned i = 0; i < 4000; i++) {
        struct pt_extent region = harness.start.region;
        uint64_t second = pt_log_data_end(region.size);
        uint64_t offset = pt_dice_one_in(&dice, 2) ? pt_log_data_start() : second;
        uint64_t number = wild_number(&dice);
        uint8_t saved[PT_LOG_HEADER_SIZE];
        uint8_t first[PT_LOG_HEADER_SIZE];
        uint8_t bytes[PT_LOG_HEADER_SIZE];
        enum peat_status status;

        memcpy(saved, live_bytes() + region.offset + offset, sizeof(saved));
        memcpy(first, live_bytes() + region.offset, sizeof(first));
        memcpy(bytes, saved, sizeof(bytes));
        if (pt_dice_one_in(&dice, 2))
            memcpy(bytes + 8 * (1 + pt_dice_below(&dice, 8)), &number, sizeof(number));
        else
            bytes[8 + pt_dice_below(&dice, 64)] = (uint8_t)number;
        overwrite_sealed(region.offset + offset, &harness.start.nonce, bytes);
        if (offset == second)
            overwrite(region.offset, bytes, sizeof(bytes)); /* the other copy */
        (void)pt_harness_read(&harness, harness.arena, &harness.start, 0, &status, NULL);
        PT_REQUIRE(status == PEAT_DONE || status == PEAT_CORRUPT);
        overwrite(region.offset + offset, saved, sizeof(saved));
        overwrite(region.offset, first, sizeof(first));
    }
    PT_REQUIRE(read_torn(harness.arena) == harness.record_count);
    pt_harness_close(&harness);
}

static void a_link_that_leads_back_ends_the_log(void **state)
{
    struct pt_log_link link = {.kind = PT_LOG_KIND_LINK, .mark = pt_le16(PT_LOG_MARK)};
    uint8_t bytes[PT_LOG_HEADER_SIZE];
    (void)state;

    pt_harness_open(&harness, &mapped, SPACE);
    link.chain = harness.start.chain;
    link.region_offset = pt_le64(harness.start.region.offset);
    link.region_size = pt_le64(harness.start.region.size);
    link.nonce = harness.start.nonce;
    memcpy(bytes, &link, sizeof(bytes));
    overwrite_sealed(harness.start.region.offset, &harness.start.nonce, bytes);
    PT_REQUIRE(read_torn(harness.arena) == 0);
    pt_harness_close(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tail_torn_at_any_byte_leaves_the_records_before_it),
        cmocka_unit_test(a_batch_whose_last_records_are_missing_is_not_there),
        cmocka_unit_test(what_an_older_use_of_a_region_left_does_not_follow),
        cmocka_unit_test(a_power_cut_takes_nothing_that_was_acknowledged),
        cmocka_unit_test(a_killed_process_loses_nothing_that_was_pushed),
        cmocka_unit_test(damage_to_any_byte_of_what_was_synced_is_seen),
        cmocka_unit_test(damage_is_seen_across_regions),
        cmocka_unit_test(a_lost_block_with_a_link_does_not_matter),
        cmocka_unit_test(headers_that_lie_under_a_checksum_that_holds_are_harmless),
        cmocka_unit_test(a_link_that_leads_back_ends_the_log),
    };
    int failed;

    pt_test_start();
    PT_REQUIRE_OK(pt_checksum_start());
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

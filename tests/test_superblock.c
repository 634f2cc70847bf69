/*
 * Of the two superblock pages the newest valid one rules; whatever happens to bytes or to the power,
 * what is read is a superblock that was written, or a status that says why there is none.
 */
#include "core/arena/superblock.h"

#include "core/arena/superblock_format.h"
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { PAGE = PT_SUPERBLOCK_SIZE, SECTOR = 512, REGIONS_START = 65536 };

static struct pt_superblock superblock_of(uint64_t generation)
{
    struct pt_superblock superblock = {.generation = generation,
                                       .manifest_offset = REGIONS_START * (generation + 1),
                                       .manifest_size = 100 + generation};

    memset(superblock.store_id.bytes, 0x5a, sizeof(superblock.store_id.bytes));
    return superblock;
}

static struct pt_file *file_new(void)
{
    struct pt_file *file = NULL;

    PT_REQUIRE_OK(pt_file_open_memory(&file));
    PT_REQUIRE_OK(pt_file_truncate(file, REGIONS_START));
    return file;
}

/* A file whose pages hold what they do after generations 1 to @p generation. */
static struct pt_file *file_at(uint64_t generation)
{
    struct pt_file *file = file_new();

    for (uint64_t i = 1; i <= generation; i++) {
        struct pt_superblock superblock = superblock_of(i);

        PT_REQUIRE_OK(pt_superblock_write(file, &superblock));
    }
    return file;
}

static void assert_reads(struct pt_file *file, uint64_t generation)
{
    struct pt_superblock expected = superblock_of(generation);
    struct pt_superblock found;

    PT_REQUIRE_OK(pt_superblock_read(file, &found, NULL));
    assert_int_equal(found.generation, generation);
    assert_int_equal(found.manifest_offset, expected.manifest_offset);
    assert_int_equal(found.manifest_size, expected.manifest_size);
    assert_memory_equal(&found.store_id, &expected.store_id, sizeof(found.store_id));
}

static void flip(struct pt_file *file, uint64_t offset)
{
    uint8_t byte;

    PT_REQUIRE_OK(pt_file_read(file, offset, &byte, 1));
    byte ^= 0x40;
    PT_REQUIRE_OK(pt_file_write(file, offset, &byte, 1));
}

static void page_clear(struct pt_file *file, unsigned index)
{
    static const uint8_t zeros[PAGE];

    PT_REQUIRE_OK(pt_file_write(file, index * PAGE, zeros, sizeof(zeros)));
}

static void the_newest_generation_written_is_read(void **state)
{
    (void)state;
    for (uint64_t generation = 1; generation < 6; generation++) {
        struct pt_file *file = file_at(generation);

        assert_reads(file, generation);
        pt_file_close(file);
    }
}

static void each_page_alone_has_the_newest_generation(void **state)
{
    (void)state;
    for (uint64_t generation = 1; generation < 4; generation++)
        for (unsigned page = 0; page < PT_SUPERBLOCK_COUNT; page++) {
            struct pt_file *file = file_at(generation);

            page_clear(file, page);
            assert_reads(file, generation);
            pt_file_close(file);
        }
}

static void P3_a_flipped_byte_changes_nothing_and_is_noticed(void **state)
{
    struct pt_file *file = file_at(3);
    struct pt_superblock found;
    bool damaged;
    (void)state;

    PT_REQUIRE_OK(pt_superblock_read(file, &found, &damaged));
    assert_false(damaged);
    for (uint64_t offset = 0; offset < 2 * PAGE; offset++) {
        flip(file, offset);
        PT_REQUIRE_OK(pt_superblock_read(file, &found, &damaged));
        assert_int_equal(found.generation, 3);
        assert_true(damaged);
        flip(file, offset);
    }
    pt_file_close(file);
}

static void P3_damage_to_both_pages_is_corrupt(void **state)
{
    struct pt_superblock found;
    (void)state;

    for (uint64_t offset = 0; offset < PAGE; offset++) {
        struct pt_file *file = file_at(2);
        enum peat_status status;

        flip(file, offset);
        flip(file, 2 * PAGE - 1 - offset);
        status = pt_superblock_read(file, &found, NULL);
        assert_int_equal(status, PEAT_CORRUPT);
        pt_file_close(file);
    }
}

static void files_of_zeros_are_stores_not_yet_made(void **state)
{
    static const uint64_t sizes[] = {0, 1, 100, PAGE, PAGE + 5, 2 * PAGE, REGIONS_START, 1048576};
    struct pt_superblock found;
    (void)state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct pt_file *file = file_new();

        PT_REQUIRE_OK(pt_file_truncate(file, sizes[i]));
        assert_int_equal(pt_superblock_read(file, &found, NULL), PEAT_NOT_FOUND);
        pt_file_close(file);
    }
}

static void foreign_files_are_invalid(void **state)
{
    static const struct {
        uint64_t file_size;
        uint64_t byte_offset; /* of the one byte that is not zero */
    } cases[] = {{1, 0},
                 {10, 9},
                 {PAGE, 17},
                 {2 * PAGE, PAGE},
                 {REGIONS_START, REGIONS_START - 1},
                 {4 << 20, 3 << 20}};
    struct pt_superblock found;
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pt_file *file = file_new();

        PT_REQUIRE_OK(pt_file_truncate(file, 0));
        PT_REQUIRE_OK(pt_file_truncate(file, cases[i].file_size));
        PT_REQUIRE_OK(pt_file_write(file, cases[i].byte_offset, "x", 1));
        assert_int_equal(pt_superblock_read(file, &found, NULL), PEAT_INVALID);
        pt_file_close(file);
    }
}

static void a_newer_format_is_named_by_its_number(void **state)
{
    struct pt_file *file = file_at(2);
    static const struct pt_id no_store;
    struct pt_key key = pt_key_derive(&no_store, PT_KEY_SUPERBLOCK, 3, 0);
    struct pt_superblock_page page;
    struct pt_superblock found;
    (void)state;

    PT_REQUIRE_OK(pt_file_read(file, PAGE, &page, sizeof(page)));
    page.version = pt_le32(7);
    page.generation = pt_le64(3);
    memset(page.reserved_more, 0x11, sizeof(page.reserved_more));
    page.checksum = pt_checksum(&key, &page, offsetof(struct pt_superblock_page, checksum));
    PT_REQUIRE_OK(pt_file_write(file, PAGE, &page, sizeof(page)));
    assert_int_equal(pt_superblock_read(file, &found, NULL), PEAT_VERSION);
    assert_non_null(strstr(peat_last_error(), "version 7"));
    pt_file_close(file);
}

static void a_generation_beyond_all_bounds_is_damage(void **state)
{
    struct pt_file *file = file_at(2);
    static const struct pt_id no_store;
    struct pt_key key = pt_key_derive(&no_store, PT_KEY_SUPERBLOCK, UINT64_MAX, 0);
    struct pt_superblock_page page;
    struct pt_superblock found;
    bool damaged;
    (void)state;

    PT_REQUIRE_OK(pt_file_read(file, PAGE, &page, sizeof(page)));
    page.generation = pt_le64(UINT64_MAX);
    page.checksum = pt_checksum(&key, &page, offsetof(struct pt_superblock_page, checksum));
    PT_REQUIRE_OK(pt_file_write(file, PAGE, &page, sizeof(page)));
    PT_REQUIRE_OK(pt_superblock_read(file, &found, &damaged));
    assert_int_equal(found.generation, 2);
    assert_true(damaged);
    pt_file_close(file);
}

/* ---- What is written when, and what a power cut leaves of it ---- */

enum { EVENT_COUNT_MAX = 32 };

/* A write of a page, or a sync (page NULL). */
struct event {
    uint64_t offset;
    bool sync;
    uint8_t page[PAGE];
};

static struct event events[EVENT_COUNT_MAX];
static size_t event_count;
static size_t fail_at = SIZE_MAX; /* the event that fails instead */

static bool event_add(bool sync, uint64_t offset, const void *data, size_t size)
{
    struct event *event = &events[event_count];

    assert_true(event_count < EVENT_COUNT_MAX);
    if (event_count++ == fail_at) {
        errno = EIO;
        return false;
    }
    event->sync = sync;
    event->offset = offset;
    if (!sync) {
        assert_int_equal(size, PAGE);
        memcpy(event->page, data, size);
    }
    return true;
}

static ssize_t recorded_write(int fd, const void *data, size_t size, uint64_t offset)
{
    if (!event_add(false, offset, data, size))
        return -1;
    return pt_file_calls_real()->write(fd, data, size, offset);
}

static int recorded_sync(int fd)
{
    (void)fd;
    return event_add(true, 0, NULL, 0) ? 0 : -1;
}

static void record_start(void)
{
    static struct pt_file_calls calls;

    event_count = 0;
    calls = *pt_file_calls_real();
    calls.write = recorded_write;
    calls.sync = recorded_sync;
    pt_file_set_calls(&calls);
}

static void record_stop(void)
{
    pt_file_set_calls(NULL);
    fail_at = SIZE_MAX;
}

/* Apply @p event to @p file as a power cut may: each sector old, new or garbage. */
static void tear(struct pt_file *file, const struct event *event, struct pt_dice *dice)
{
    for (uint64_t at = 0; at < PAGE; at += SECTOR) {
        uint8_t sector[SECTOR];
        uint64_t fate = pt_dice_below(dice, 3);

        memcpy(sector, event->page + at, SECTOR);
        if (fate == 0)
            for (size_t i = 0; i < SECTOR; i++)
                sector[i] = (uint8_t)pt_dice_next(dice);
        if (fate != 1)
            PT_REQUIRE_OK(pt_file_write(file, event->offset + at, sector, SECTOR));
    }
}

/*
 * The file as the power cut after event @p cut leaves it: what was synced before is whole, what was
 * written since the last sync is torn. Returns whether a sync after the first write was passed.
 */
static bool replay(struct pt_file *file, size_t cut, struct pt_dice *dice)
{
    size_t synced = 0;
    bool durable = false;

    for (size_t i = 0; i < cut; i++)
        if (events[i].sync)
            synced = i;
    for (size_t i = 0; i < cut; i++) {
        if (events[i].sync)
            durable = durable || (i > 0 && i <= synced);
        else if (i < synced)
            PT_REQUIRE_OK(pt_file_write(file, events[i].offset, events[i].page, PAGE));
        else
            tear(file, &events[i], dice);
    }
    return durable;
}

static void P1_a_power_cut_while_writing_leaves_the_old_or_the_new(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (uint64_t generation = 2; generation < 5; generation++) {
        struct pt_superblock next = superblock_of(generation);
        struct pt_file *file = file_at(generation - 1);
        size_t count;

        record_start();
        PT_REQUIRE_OK(pt_superblock_write(file, &next));
        record_stop();
        pt_file_close(file);
        count = event_count;
        for (size_t cut = 0; cut <= count; cut++)
            for (unsigned round = 0; round < 200; round++) {
                struct pt_superblock found;
                bool durable;

                file = file_at(generation - 1);
                durable = replay(file, cut, &dice);
                PT_REQUIRE_OK(pt_superblock_read(file, &found, NULL));
                if (durable)
                    assert_int_equal(found.generation, generation);
                else
                    assert_in_range(found.generation, generation - 1, generation);
                pt_file_close(file);
            }
    }
}

static void P1_a_power_cut_while_making_leaves_no_store_or_a_whole_one(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_superblock first = superblock_of(1);
    struct pt_file *file = file_new();
    size_t count;
    (void)state;

    record_start();
    PT_REQUIRE_OK(pt_superblock_write(file, &first));
    record_stop();
    pt_file_close(file);
    count = event_count;
    for (size_t cut = 0; cut <= count; cut++)
        for (unsigned round = 0; round < 200; round++) {
            struct pt_superblock found;
            enum peat_status status;
            bool durable;

            file = file_new();
            PT_REQUIRE_OK(pt_file_truncate(file, (uint64_t)5 * REGIONS_START));
            durable = replay(file, cut, &dice);
            status = pt_superblock_read(file, &found, NULL);
            if (durable)
                assert_int_equal(status, PEAT_OK);
            assert_true(status == PEAT_OK || status == PEAT_NOT_FOUND);
            pt_file_close(file);
        }
}

static void a_damaged_store_is_never_taken_for_one_not_yet_made(void **state)
{
    struct pt_file *file = file_at(1);
    struct pt_superblock found;
    (void)state;

    flip(file, 100);
    flip(file, PAGE + 100);
    assert_int_equal(pt_superblock_read(file, &found, NULL), PEAT_CORRUPT);
    pt_file_close(file);
}

/* Settle generation 3 where the other page holds @p other (0: damage), recorded. */
static void settle_beside(uint64_t other)
{
    struct pt_superblock superblock = superblock_of(3);
    struct pt_file *file = file_at(other == 0 ? 3 : other);

    if (other == 0)
        flip(file, 5);
    if (other == 2) {
        uint8_t page[PAGE];

        PT_REQUIRE_OK(pt_file_read(file, 0, page, sizeof(page)));
        PT_REQUIRE_OK(pt_superblock_write(file, &superblock));
        PT_REQUIRE_OK(pt_file_write(file, 0, page, sizeof(page)));
    }
    record_start();
    PT_REQUIRE_OK(pt_superblock_settle(file, &superblock, true));
    record_stop();
    flip(file, 5);
    assert_reads(file, 3);
    flip(file, 5);
    flip(file, PAGE + 5);
    assert_reads(file, 3);
    pt_file_close(file);
}

/* The pages' order when generation 1 is settled beside a page of zeros. */
static void settle_beside_zeros(bool in_use, uint64_t first_offset)
{
    static const uint8_t zeros[PAGE];
    struct pt_superblock superblock = superblock_of(1);
    struct pt_file *file = file_at(1);

    PT_REQUIRE_OK(pt_file_write(file, 0, zeros, sizeof(zeros)));
    record_start();
    PT_REQUIRE_OK(pt_superblock_settle(file, &superblock, in_use));
    record_stop();
    assert_int_equal(events[0].offset, first_offset);
    assert_true(!events[0].sync && events[1].sync);
    pt_file_close(file);
}

static void settling_a_store_in_use_leaves_its_only_page_alone_until_there_is_another(void **state)
{
    (void)state;
    settle_beside_zeros(true, 0); /* torn, all sectors of it */
    assert_int_equal(event_count, 2);
    settle_beside_zeros(false, PAGE); /* never written: what was is in the page cache, perhaps */
    assert_int_equal(event_count, 4);
    assert_int_equal(events[2].offset, 0);
}

static void settling_writes_the_page_that_may_be_in_the_page_cache_only(void **state)
{
    (void)state;
    settle_beside(3); /* repeated: the repetition came last */
    assert_int_equal(event_count, 2);
    assert_int_equal(events[0].offset, 0);
    assert_true(!events[0].sync && events[1].sync);
    settle_beside(0); /* torn: so did it here */
    assert_int_equal(event_count, 2);
    assert_int_equal(events[0].offset, 0);
    assert_true(!events[0].sync && events[1].sync);
    settle_beside(2); /* not yet repeated: this page came last, and the other is good meanwhile */
    assert_int_equal(event_count, 4);
    assert_int_equal(events[0].offset, PAGE);
    assert_true(!events[0].sync && events[1].sync);
    assert_int_equal(events[2].offset, 0);
    assert_true(!events[2].sync && events[3].sync);
}

static void every_failure_is_reported(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct pt_superblock superblock = superblock_of(4);
        struct pt_file *file = file_at(3);

        fail_at = i;
        record_start();
        assert_int_equal(pt_superblock_write(file, &superblock), PEAT_IO);
        record_stop();
        pt_file_close(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_generation_written_is_read),
        cmocka_unit_test(each_page_alone_has_the_newest_generation),
        cmocka_unit_test(P3_a_flipped_byte_changes_nothing_and_is_noticed),
        cmocka_unit_test(P3_damage_to_both_pages_is_corrupt),
        cmocka_unit_test(files_of_zeros_are_stores_not_yet_made),
        cmocka_unit_test(foreign_files_are_invalid),
        cmocka_unit_test(a_newer_format_is_named_by_its_number),
        cmocka_unit_test(a_generation_beyond_all_bounds_is_damage),
        cmocka_unit_test(P1_a_power_cut_while_writing_leaves_the_old_or_the_new),
        cmocka_unit_test(P1_a_power_cut_while_making_leaves_no_store_or_a_whole_one),
        cmocka_unit_test(a_damaged_store_is_never_taken_for_one_not_yet_made),
        cmocka_unit_test(settling_writes_the_page_that_may_be_in_the_page_cache_only),
        cmocka_unit_test(settling_a_store_in_use_leaves_its_only_page_alone_until_there_is_another),
        cmocka_unit_test(every_failure_is_reported),
    };
    pt_test_start();
    PT_REQUIRE_OK(pt_checksum_start());
    return cmocka_run_group_tests_name("superblock", tests, NULL, NULL);
}

#include "tests/log_harness.h"

#include "core/base/endian.h"
#include "wal/log_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    DISK_SIZE = 1 << 28, /* bytes: no test's file is larger */
    FAULT_COUNT = PT_LOG_FAULT_ALLOCATE + 1
};

static uint8_t *disk; /* NULL: not kept */
static bool disk_paused;
static unsigned countdowns[FAULT_COUNT];
static int error_numbers[FAULT_COUNT];
static void (*watcher)(uint64_t offset, const void *data, size_t size);

/* ---- System calls that fail, are watched, and reach a disk ---- */

static bool faults(enum pt_log_fault fault)
{
    if (countdowns[fault] == 0)
        return false;
    if (countdowns[fault] > 1) {
        countdowns[fault]--;
        return false;
    }
    errno = error_numbers[fault];
    return true;
}

static void disk_take(uint64_t offset, const void *bytes, size_t size)
{
    if (disk == NULL || disk_paused)
        return;
    PT_REQUIRE(offset + size <= DISK_SIZE);
    memcpy(disk + offset, bytes, size);
}

static int harness_sync_range(int fd, uint64_t offset, void *place, size_t size)
{
    if (faults(PT_LOG_FAULT_SYNC))
        return -1;
    disk_take(offset, place, size);
    return pt_file_calls_real()->sync_range(fd, offset, place, size);
}

static ssize_t harness_write(int fd, const void *data, size_t size, uint64_t offset)
{
    if (faults(PT_LOG_FAULT_WRITE))
        return -1;
    if (watcher != NULL)
        watcher(offset, data, size);
    return pt_file_calls_real()->write(fd, data, size, offset);
}

static ssize_t harness_write_durable(int fd, const void *data, size_t size, uint64_t offset)
{
    ssize_t written;

    if (faults(PT_LOG_FAULT_WRITE_DURABLE))
        return -1;
    if (watcher != NULL)
        watcher(offset, data, size);
    written = pt_file_calls_real()->write_durable(fd, data, size, offset);
    if (written > 0)
        disk_take(offset, data, (size_t)written);
    return written;
}

static void harness_store(int fd, uint64_t offset, void *place, const void *data, size_t size)
{
    if (watcher != NULL)
        watcher(offset, data, size);
    pt_file_calls_real()->store(fd, offset, place, data, size);
}

static int harness_allocate(int fd, uint64_t offset, uint64_t size)
{
    return faults(PT_LOG_FAULT_ALLOCATE) ? -1 : pt_file_calls_real()->allocate(fd, offset, size);
}

void pt_harness_fault(enum pt_log_fault fault, unsigned countdown, int error_number)
{
    countdowns[fault] = countdown;
    error_numbers[fault] = error_number;
}

void pt_harness_watch(void (*watch)(uint64_t offset, const void *data, size_t size))
{
    watcher = watch;
}

void pt_harness_disk_start(void)
{
    pt_harness_disk_stop();
    disk = calloc(1, DISK_SIZE);
    PT_REQUIRE(disk != NULL);
}

void pt_harness_disk_stop(void)
{
    free(disk);
    disk = NULL;
}

void pt_harness_disk_pause(bool paused)
{
    disk_paused = paused;
}

const uint8_t *pt_harness_disk_bytes(const struct pt_harness *harness)
{
    PT_REQUIRE(disk != NULL && pt_arena_size(harness->arena) <= DISK_SIZE);
    return disk;
}

/* ---- The log ---- */

static struct pt_arena *arena_new(uint64_t address_space_size)
{
    const struct pt_arena_options options = {.flags = PEAT_CREATE,
                                             .address_space_size = address_space_size};
    struct pt_arena *arena;
    bool created;

    PT_REQUIRE_OK(pt_arena_open(NULL, &options, &arena, &created));
    return arena;
}

struct pt_arena *pt_harness_arena_of(const uint8_t *bytes, uint64_t size)
{
    struct pt_arena *arena = arena_new(UINT64_C(1) << 30);
    struct pt_extent extent;

    PT_REQUIRE(size > PT_ARENA_START);
    PT_REQUIRE_OK(pt_arena_alloc(arena, size - PT_ARENA_START, &extent));
    PT_REQUIRE(extent.offset == PT_ARENA_START);
    PT_REQUIRE_OK(pt_file_write(pt_arena_file(arena), 0, bytes, size));
    return arena;
}

void pt_harness_open(struct pt_harness *harness, const struct pt_log_options *options,
                     uint64_t address_space_size)
{
    const struct pt_log_point start = {
        .epoch = 3, .commit = 1000, .time_us = 1000, .position = 77, .chain = {"any chain"}};
    static struct pt_file_calls calls;

    calls = *pt_file_calls_real();
    calls.sync_range = harness_sync_range;
    calls.write = harness_write;
    calls.write_durable = harness_write_durable;
    calls.store = harness_store;
    calls.allocate = harness_allocate;
    pt_file_set_calls(&calls);
    memset(countdowns, 0, sizeof(countdowns));
    watcher = NULL;
    memset(harness, 0, sizeof(*harness));
    harness->arena = arena_new(address_space_size);
    PT_REQUIRE_OK(pt_log_open(harness->arena, options, &start, &harness->log));
    harness->start = pt_log_point(harness->log);
    harness->commit = start.commit;
}

void pt_harness_close(struct pt_harness *harness)
{
    pt_log_close(harness->log);
    pt_arena_close(harness->arena);
    pt_file_set_calls(NULL);
    harness->log = NULL;
    harness->arena = NULL;
}

static uint64_t time_of(uint64_t commit)
{
    return commit * 3;
}

static enum peat_status append_chained(struct pt_log *log, uint64_t commit,
                                       struct peat_bytes payload)
{
    static uint8_t scratch[PT_LOG_RECORD_SIZE_MAX];
    struct pt_log_point point = pt_log_point(log);
    struct pt_record record = {PT_RECORD_BATCH, point.epoch, commit, time_of(commit), payload};
    struct pt_log_point behind = pt_log_point_behind(&point, &record, scratch);

    return pt_log_append_chained(log, &record, &behind.chain);
}

enum peat_status pt_harness_try(struct pt_harness *harness, struct pt_dice *dice, size_t size)
{
    static uint8_t bytes[PT_HARNESS_SIZE_MAX];
    struct peat_bytes pieces[4];
    uint64_t commit = harness->commit + 1;
    size_t count = 1 + pt_dice_below(dice, 4);
    size_t used = 0;
    enum peat_status status;

    PT_REQUIRE(size <= sizeof(bytes) && harness->record_count < PT_HARNESS_RECORDS_MAX);
    pt_value_fill(harness->record_count, bytes, size);
    for (size_t i = 0; i < count; i++) {
        size_t piece = i + 1 == count ? size - used : pt_dice_below(dice, size - used + 1);

        pieces[i] = (struct peat_bytes){piece == 0 ? NULL : bytes + used, piece};
        used += piece;
    }
    status =
        harness->chained
            ? append_chained(harness->log, commit, (struct peat_bytes){bytes, size})
            : pt_log_append(harness->log, PT_RECORD_BATCH, commit, time_of(commit), pieces, count);
    if (status != PEAT_OK)
        return status;
    harness->sizes[harness->record_count] = size;
    harness->commits[harness->record_count++] = commit;
    harness->commit = commit;
    return PEAT_OK;
}

void pt_harness_append(struct pt_harness *harness, struct pt_dice *dice, size_t size)
{
    PT_REQUIRE_OK(pt_harness_try(harness, dice, size));
}

void pt_harness_seal(struct pt_harness *harness)
{
    PT_REQUIRE_OK(pt_log_append(harness->log, PT_RECORD_SEAL, harness->commit,
                                time_of(harness->commit), NULL, 0));
    harness->seals[harness->record_count] = true;
    harness->commits[harness->record_count++] = harness->commit;
}

size_t pt_harness_size(struct pt_dice *dice, bool large)
{
    if (large && pt_dice_one_in(dice, 40))
        return 262072 * pt_dice_below(dice, 4) + pt_dice_below(dice, 17);
    if (large && pt_dice_one_in(dice, 20))
        return pt_dice_below(dice, 400000);
    if (pt_dice_one_in(dice, 10))
        return 4096 - 72 - 8 + pt_dice_below(dice, 17);
    return pt_dice_below(dice, pt_dice_one_in(dice, 5) ? 3000 : 200);
}

void pt_harness_require_record(const struct pt_harness *harness, uint64_t index,
                               const struct pt_record *record)
{
    PT_REQUIRE(index < harness->record_count);
    PT_REQUIRE(record->kind == (harness->seals[index] ? PT_RECORD_SEAL : PT_RECORD_BATCH));
    PT_REQUIRE(record->epoch == harness->start.epoch);
    PT_REQUIRE(record->commit == harness->commits[index]);
    PT_REQUIRE(record->time_us == time_of(record->commit));
    PT_REQUIRE(record->payload.size == harness->sizes[index]);
    if (!harness->seals[index])
        PT_REQUIRE(pt_value_matches(index, record->payload));
}

uint64_t pt_harness_read(const struct pt_harness *harness, struct pt_arena *arena,
                         const struct pt_log_point *start, uint64_t first,
                         enum peat_status *status_out, struct pt_log_point *point_out)
{
    struct pt_log_reader *reader;
    struct pt_record record;
    uint64_t count = 0;

    PT_REQUIRE_OK(pt_log_reader_open(arena, start, false, &reader));
    while ((*status_out = pt_log_reader_next(reader, &record)) == PEAT_OK)
        pt_harness_require_record(harness, first + count++, &record);
    if (point_out != NULL)
        *point_out = pt_log_reader_point(reader);
    pt_log_reader_close(reader);
    return count;
}

void pt_harness_require_all(const struct pt_harness *harness)
{
    struct pt_log_point end = pt_log_point(harness->log);
    struct pt_log_point point;
    enum peat_status status;

    PT_REQUIRE(pt_harness_read(harness, harness->arena, &harness->start, 0, &status, &point) ==
               harness->record_count);
    PT_REQUIRE(status == PEAT_DONE);
    PT_REQUIRE(point.position == end.position && point.commit == end.commit);
    PT_REQUIRE(point.epoch == end.epoch && point.time_us == end.time_us);
    PT_REQUIRE(memcmp(&point.chain, &end.chain, sizeof(end.chain)) == 0);
}

#include "tests/disk.h"

#include "core/base/file.h"
#include "core/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCK = 4096 };

static struct pt_mutex
    mutex; /* guards all that follows; held across each call, so that the trace has
                                 the order in which the calls took effect */
static int memory_fd = -1;
static bool exists;
static struct pt_trace *trace; /* NULL: nothing is recorded */
static struct pt_disk_fault fault;
static uint64_t call_counts[PT_DISK_CALL_COUNT]; /* since the fault was set */
static uint64_t call_count;                      /* of the calls that may be to fail */
static uint64_t fault_count;
static bool
    owed[2]; /* to syncs of ranges, and of all: to fail, too, for what another one has lost */
static uint8_t *blocks; /* one byte for each block below blocks_end: whether it is on the disk */
static uint64_t blocks_end;
static uint64_t block_count;
static uint64_t capacity; /* blocks */
static bool keeps_part;

static const char *const call_names[PT_DISK_CALL_COUNT] = {
    "open",     "info",  "read",   "write",      "write_durable",  "allocate",
    "truncate", "punch", "sync",   "sync_range", "sync_directory", "map",
    "populate", "lock",  "unlock", "lock_query"};

/* ---- Recording and failing ---- */

static void record_locked(enum pt_disk_op_kind kind, uint64_t offset, uint64_t size,
                          const void *bytes)
{
    struct pt_disk_op op = {.kind = kind, .offset = offset, .size = size};

    if (trace != NULL && (size > 0 || kind != PT_DISK_WRITE))
        pt_trace_add(trace, op, bytes);
}

/* Whether this call is one to fail: sets errno. */
static bool fails_locked(enum pt_disk_call call)
{
    uint64_t number;

    call_counts[call]++;
    if ((fault.calls & 1u << call) == 0)
        return false;
    number = call_count++;
    if (fault.fills && number == fault.at)
        capacity = block_count + fault.room / BLOCK;
    if (fault.fills && number >= fault.at && number - fault.at >= fault.count)
        capacity = UINT64_MAX;
    if (fault.fills)
        return false;
    if (number < fault.at || number - fault.at >= fault.count)
        return false;
    fault_count++;
    errno = fault.error_number;
    return fault.error_number != 0;
}

static uint64_t size_locked(void)
{
    off_t size = lseek(memory_fd, 0, SEEK_END);

    PT_REQUIRE(size >= 0);
    return (uint64_t)size;
}

/* ---- Blocks ---- */

static void blocks_reach_locked(uint64_t end)
{
    uint64_t wanted = blocks_end == 0 ? 256 : blocks_end;
    uint8_t *grown;

    while (wanted < end)
        wanted *= 2;
    if (wanted == blocks_end)
        return;
    grown = realloc(blocks, wanted);
    PT_REQUIRE(grown != NULL);
    memset(grown + blocks_end, 0, wanted - blocks_end);
    blocks = grown;
    blocks_end = wanted;
}

/* Give the range its blocks, as far as the disk has room: false, it has not. */
static bool blocks_take_locked(uint64_t offset, uint64_t size)
{
    uint64_t end = (offset + size + BLOCK - 1) / BLOCK;
    uint64_t before = block_count;
    uint64_t i = offset / BLOCK;

    if (size == 0)
        return true;
    blocks_reach_locked(end);
    for (; i < end && (blocks[i] != 0 || block_count < capacity); i++) {
        block_count += blocks[i] == 0;
        blocks[i] |= 2; /* of this call */
    }
    for (uint64_t k = offset / BLOCK; k < i; k++) {
        bool undone = i < end && !keeps_part && blocks[k] == 2;

        blocks[k] = undone ? 0 : 1;
    }
    if (i < end && !keeps_part)
        block_count = before;
    if (i == end)
        return true;
    fault_count++;
    errno = ENOSPC;
    return false;
}

/* A store to a page of a mapping that has no block would be a signal on a full disk. */
static void blocks_require_locked(uint64_t offset, uint64_t size)
{
    for (uint64_t i = offset / BLOCK; i < (offset + size + BLOCK - 1) / BLOCK; i++)
        PT_REQUIRE(i < blocks_end && blocks[i] != 0);
}

/* Take them away: those that lie in the range wholly. */
static void blocks_give_locked(uint64_t offset, uint64_t end)
{
    for (uint64_t i = (offset + BLOCK - 1) / BLOCK; i < end / BLOCK && i < blocks_end; i++) {
        block_count -= blocks[i] != 0;
        blocks[i] = 0;
    }
}

/* ---- The calls ---- */

static int disk_open(const char *path, int flags, mode_t mode)
{
    char place[64];
    int fd = -1;

    (void)path;
    (void)snprintf(place, sizeof(place), "/proc/self/fd/%d", memory_fd);
    pt_mutex_lock(&mutex);
    if (fails_locked(PT_DISK_CALL_OPEN))
        fd = -1;
    else if (!exists && (flags & O_CREAT) == 0)
        errno = ENOENT;
    else if (exists && (flags & O_EXCL) != 0)
        errno = EEXIST;
    else
        fd = pt_file_calls_real()->open(place, flags & ~(O_CREAT | O_EXCL), mode);
    exists = exists || fd >= 0;
    owed[false] = owed[true] = false; /* who opens it is told of what is lost from here on */
    pt_mutex_unlock(&mutex);
    return fd;
}

static int disk_room(int fd, uint64_t *size)
{
    (void)fd;
    pt_mutex_lock(&mutex);
    *size = block_count < capacity ? (capacity - block_count) * BLOCK : 0;
    pt_mutex_unlock(&mutex);
    return 0;
}

static int disk_info(int fd, struct pt_file_info *info)
{
    bool fails;

    pt_mutex_lock(&mutex);
    fails = fails_locked(PT_DISK_CALL_INFO);
    pt_mutex_unlock(&mutex);
    return fails ? -1 : pt_file_calls_real()->info(fd, info);
}

static ssize_t disk_read(int fd, void *buffer, size_t size, uint64_t offset)
{
    bool fails;

    pt_mutex_lock(&mutex);
    fails = fails_locked(PT_DISK_CALL_READ);
    pt_mutex_unlock(&mutex);
    return fails ? -1 : pt_file_calls_real()->read(fd, buffer, size, offset);
}

/*
 * A sync of a range, or of all (@p whole), has failed: what was to be written since the last one is lost. The kernel
 * tells each of the two open file descriptions of that which peat has (core/base/file.c), once.
 */
static void lose_locked(bool whole)
{
    owed[!whole] = true;
    record_locked(PT_DISK_SYNC_LOST, 0, UINT64_MAX, NULL);
}

/* Whether it has to be told of what the other one has lost: sets errno. */
static bool told_locked(bool whole)
{
    bool told = owed[whole];

    owed[whole] = false;
    if (told)
        errno = EIO;
    return told;
}

/* A write that fails may have written a part before it did. */
static ssize_t write_locked(enum pt_disk_call call, int fd, const void *data, size_t size,
                            uint64_t offset)
{
    uint64_t before = fault_count;
    bool fails = fails_locked(call);
    size_t part = fault_count > before ? size / 2 : size;
    int error_number = errno;
    ssize_t written;

    if (fails && (error_number == ENOSPC || error_number == EINTR))
        return -1;
    if (part == 0)
        part = fails ? 0 : size;
    if (!fails && !blocks_take_locked(offset, part))
        return -1;
    written = part == 0 ? 0 : pwrite(fd, data, part, (off_t)offset);
    if (written > 0)
        record_locked(PT_DISK_WRITE, offset, (uint64_t)written, data);
    if (fails) {
        errno = error_number;
        return -1;
    }
    return written;
}

static ssize_t disk_write(int fd, const void *data, size_t size, uint64_t offset)
{
    ssize_t written;

    pt_mutex_lock(&mutex);
    written = write_locked(PT_DISK_CALL_WRITE, fd, data, size, offset);
    pt_mutex_unlock(&mutex);
    return written;
}

static ssize_t disk_write_durable(int fd, const void *data, size_t size, uint64_t offset)
{
    ssize_t written = -1;

    pt_mutex_lock(&mutex);
    if (!told_locked(false)) {
        written = write_locked(PT_DISK_CALL_WRITE_DURABLE, fd, data, size, offset);
        if (written > 0)
            record_locked(PT_DISK_SYNC_RANGE, offset, (uint64_t)written, NULL);
        else if (errno != EINTR && errno != ENOSPC)
            lose_locked(false);
    }
    pt_mutex_unlock(&mutex);
    return written;
}

static void disk_store(int fd, uint64_t offset, void *place, const void *data, size_t size)
{
    pt_mutex_lock(&mutex);
    blocks_require_locked(offset, size);
    pt_file_calls_real()->store(fd, offset, place, data, size);
    record_locked(PT_DISK_WRITE, offset, size, data);
    pt_mutex_unlock(&mutex);
}

static int disk_allocate(int fd, uint64_t offset, uint64_t size)
{
    int result = -1;

    pt_mutex_lock(&mutex);
    if (!fails_locked(PT_DISK_CALL_ALLOCATE) && blocks_take_locked(offset, size)) {
        uint64_t before = size_locked();

        result = pt_file_calls_real()->allocate(fd, offset, size);
        if (result == 0 && offset + size > before)
            record_locked(PT_DISK_SET_SIZE, 0, offset + size, NULL);
    }
    pt_mutex_unlock(&mutex);
    return result;
}

static int disk_truncate(int fd, uint64_t size)
{
    int result = -1;

    pt_mutex_lock(&mutex);
    if (!fails_locked(PT_DISK_CALL_TRUNCATE))
        result = pt_file_calls_real()->truncate(fd, size);
    if (result == 0) {
        blocks_give_locked(size, UINT64_MAX);
        record_locked(PT_DISK_SET_SIZE, 0, size, NULL);
    }
    pt_mutex_unlock(&mutex);
    return result;
}

static int disk_punch(int fd, uint64_t offset, uint64_t size)
{
    int result = -1;

    pt_mutex_lock(&mutex);
    if (!fails_locked(PT_DISK_CALL_PUNCH))
        result = pt_file_calls_real()->punch(fd, offset, size);
    if (result == 0) {
        blocks_give_locked(offset, offset + size);
        record_locked(PT_DISK_ZERO, offset, size, NULL);
    }
    pt_mutex_unlock(&mutex);
    return result;
}

/*
 * A sync that a signal ends has perhaps written something, and will be asked for again. What one that fails
 * reports may be the loss of any page of the file since the last sync, of whatever range: the kernel tells
 * each description of a lost page once, in the sync that asks first.
 */
static int sync_locked(enum pt_disk_call call, enum pt_disk_op_kind kind, uint64_t offset,
                       uint64_t size)
{
    bool fails = fails_locked(call);

    if (kind == PT_DISK_SYNC_DIRECTORY) {
        if (!fails)
            record_locked(kind, offset, size, NULL);
    } else if (fails && errno != EINTR) {
        lose_locked(kind == PT_DISK_SYNC);
    } else if (!fails) {
        fails = told_locked(kind == PT_DISK_SYNC);
        if (!fails)
            record_locked(kind, offset, size, NULL);
    }
    return fails ? -1 : 0;
}

static int disk_sync(int fd)
{
    int result;

    (void)fd;
    pt_mutex_lock(&mutex);
    result = sync_locked(PT_DISK_CALL_SYNC, PT_DISK_SYNC, 0, UINT64_MAX);
    pt_mutex_unlock(&mutex);
    return result;
}

static int disk_sync_range(int fd, uint64_t offset, void *place, size_t size)
{
    int result;

    (void)fd;
    (void)place;
    pt_mutex_lock(&mutex);
    result = sync_locked(PT_DISK_CALL_SYNC_RANGE, PT_DISK_SYNC_RANGE, offset, size);
    pt_mutex_unlock(&mutex);
    return result;
}

static int disk_sync_directory(const char *path)
{
    int result;

    (void)path;
    pt_mutex_lock(&mutex);
    result = sync_locked(PT_DISK_CALL_SYNC_DIRECTORY, PT_DISK_SYNC_DIRECTORY, 0, 0);
    pt_mutex_unlock(&mutex);
    return result;
}

static void *disk_map(int fd, uint64_t offset, void *place, uint64_t size, bool writable)
{
    bool fails;

    pt_mutex_lock(&mutex);
    fails = fails_locked(PT_DISK_CALL_MAP);
    pt_mutex_unlock(&mutex);
    return fails ? MAP_FAILED : pt_file_calls_real()->map(fd, offset, place, size, writable);
}

static int disk_populate(int fd, void *place, uint64_t size, bool writing)
{
    bool fails;

    pt_mutex_lock(&mutex);
    fails = fails_locked(PT_DISK_CALL_POPULATE);
    pt_mutex_unlock(&mutex);
    return fails ? -1 : pt_file_calls_real()->populate(fd, place, size, writing);
}

static int disk_lock(int fd, uint64_t offset, uint64_t size, bool exclusive)
{
    bool fails;

    pt_mutex_lock(&mutex);
    fails = fails_locked(PT_DISK_CALL_LOCK);
    pt_mutex_unlock(&mutex);
    return fails ? -1 : pt_file_calls_real()->lock(fd, offset, size, exclusive);
}

static int disk_unlock(int fd, uint64_t offset, uint64_t size)
{
    bool fails;

    pt_mutex_lock(&mutex);
    fails = fails_locked(PT_DISK_CALL_UNLOCK);
    pt_mutex_unlock(&mutex);
    return fails ? -1 : pt_file_calls_real()->unlock(fd, offset, size);
}

static int disk_lock_query(int fd, uint64_t offset, uint64_t size, bool *locked, uint64_t *found)
{
    bool fails;

    pt_mutex_lock(&mutex);
    fails = fails_locked(PT_DISK_CALL_LOCK_QUERY);
    pt_mutex_unlock(&mutex);
    return fails ? -1 : pt_file_calls_real()->lock_query(fd, offset, size, locked, found);
}

/* ---- The disk as a whole ---- */

void pt_disk_start(void)
{
    struct pt_file_calls calls = *pt_file_calls_real();
    static struct pt_file_calls installed;

    PT_REQUIRE(memory_fd < 0);
    pt_mutex_init(&mutex);
    memory_fd = memfd_create("disk", MFD_CLOEXEC);
    PT_REQUIRE(memory_fd >= 0);
    exists = false;
    trace = NULL;
    block_count = 0;
    pt_disk_set_fault(NULL);
    pt_disk_set_capacity(UINT64_MAX, false);
    calls.open = disk_open;
    calls.info = disk_info;
    calls.room = disk_room;
    calls.read = disk_read;
    calls.write = disk_write;
    calls.write_durable = disk_write_durable;
    calls.store = disk_store;
    calls.allocate = disk_allocate;
    calls.truncate = disk_truncate;
    calls.punch = disk_punch;
    calls.sync = disk_sync;
    calls.sync_range = disk_sync_range;
    calls.sync_directory = disk_sync_directory;
    calls.map = disk_map;
    calls.populate = disk_populate;
    calls.lock = disk_lock;
    calls.unlock = disk_unlock;
    calls.lock_query = disk_lock_query;
    installed = calls;
    pt_file_set_calls(&installed);
}

void pt_disk_stop(void)
{
    pt_file_set_calls(NULL);
    PT_REQUIRE(close(memory_fd) == 0);
    memory_fd = -1;
    free(blocks);
    blocks = NULL;
    blocks_end = 0;
    pt_mutex_fini(&mutex);
}

static bool all_zeros(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* How many bytes from @p offset on are written together: blocks that are not zeros, or one that is. */
static size_t piece_from(const uint8_t *bytes, uint64_t offset, uint64_t size)
{
    uint64_t end = offset;
    bool zeros;

    do {
        uint64_t block = size - end < BLOCK ? size - end : BLOCK;

        zeros = all_zeros(bytes + end, block);
        if (!zeros || end == offset)
            end += block;
    } while (!zeros && end < size);
    return end - offset;
}

void pt_disk_load(const uint8_t *bytes, uint64_t size)
{
    exists = bytes != NULL;
    pt_mutex_lock(&mutex);
    blocks_give_locked(0, UINT64_MAX);
    pt_mutex_unlock(&mutex);
    PT_REQUIRE(ftruncate(memory_fd, 0) == 0 && ftruncate(memory_fd, (off_t)size) == 0);
    for (uint64_t offset = 0; exists && offset < size;) {
        size_t piece = piece_from(bytes, offset, size);

        if (!all_zeros(bytes + offset, piece)) {
            PT_REQUIRE(pwrite(memory_fd, bytes + offset, piece, (off_t)offset) == (ssize_t)piece);
            pt_mutex_lock(&mutex);
            PT_REQUIRE(blocks_take_locked(offset, piece));
            pt_mutex_unlock(&mutex);
        }
        offset += piece;
    }
}

uint64_t pt_disk_size(void)
{
    return size_locked();
}

void pt_disk_save(uint8_t *bytes, uint64_t size)
{
    PT_REQUIRE(pread(memory_fd, bytes, size, 0) == (ssize_t)size);
}

void pt_disk_record(struct pt_trace *to)
{
    pt_mutex_lock(&mutex);
    trace = to;
    pt_mutex_unlock(&mutex);
}

void pt_disk_promise(struct pt_promise promise)
{
    struct pt_disk_op op = {.kind = PT_DISK_PROMISE, .promise = promise};

    pt_mutex_lock(&mutex);
    if (trace != NULL)
        pt_trace_add(trace, op, NULL);
    pt_mutex_unlock(&mutex);
}

void pt_disk_set_capacity(uint64_t size, bool keeps)
{
    pt_mutex_lock(&mutex);
    capacity = size == UINT64_MAX ? UINT64_MAX : size / BLOCK;
    keeps_part = keeps;
    pt_mutex_unlock(&mutex);
}

uint64_t pt_disk_block_size(void)
{
    uint64_t size;

    pt_mutex_lock(&mutex);
    size = block_count * BLOCK;
    pt_mutex_unlock(&mutex);
    return size;
}

void pt_disk_set_fault(const struct pt_disk_fault *to)
{
    static const struct pt_disk_fault none;

    pt_mutex_lock(&mutex);
    if (fault.fills)
        capacity = UINT64_MAX;
    fault = to == NULL ? none : *to;
    memset(call_counts, 0, sizeof(call_counts));
    call_count = 0;
    fault_count = 0;
    pt_mutex_unlock(&mutex);
}

uint64_t pt_disk_calls(unsigned calls)
{
    uint64_t count = 0;

    pt_mutex_lock(&mutex);
    for (unsigned i = 0; i < PT_DISK_CALL_COUNT; i++)
        count += (calls & 1u << i) != 0 ? call_counts[i] : 0;
    pt_mutex_unlock(&mutex);
    return count;
}

uint64_t pt_disk_faults(void)
{
    uint64_t count;

    pt_mutex_lock(&mutex);
    count = fault_count;
    pt_mutex_unlock(&mutex);
    return count;
}

const char *pt_disk_call_name(enum pt_disk_call call)
{
    PT_REQUIRE(call < PT_DISK_CALL_COUNT);
    return call_names[call];
}

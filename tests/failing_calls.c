#include "tests/failing_calls.h"

#include "core/base/alloc.h"
#include "core/base/file.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards these four */
static struct pt_failing wanted;
static bool active;
static uint64_t counted; /* of those that may be to fail */
static uint64_t failed;

static _Thread_local bool is_caller;

static bool fails_locked(enum pt_failing_kind kind)
{
    uint64_t number;

    if (!active || wanted.kind != kind || (!wanted.in_any_thread && !is_caller))
        return false;
    number = counted++;
    if (number < wanted.at || number - wanted.at >= wanted.count)
        return false;
    failed++;
    return true;
}

static bool fails(enum pt_failing_kind kind)
{
    int error_number;
    bool answer;

    (void)pthread_mutex_lock(&mutex);
    answer = fails_locked(kind);
    error_number = wanted.error_number;
    (void)pthread_mutex_unlock(&mutex);
    if (answer)
        errno = error_number;
    return answer;
}

static bool call_fails(void)
{
    return fails(PT_FAILING_CALLS);
}

static bool allocation_allowed(size_t size)
{
    (void)size;
    return !fails(PT_FAILING_ALLOCATIONS);
}

/* ---- The calls ---- */

#define REAL pt_file_calls_real()

static int failing_open(const char *path, int flags, mode_t mode)
{
    return call_fails() ? -1 : REAL->open(path, flags, mode);
}

static int failing_memory(const char *name)
{
    return call_fails() ? -1 : REAL->memory(name);
}

static int failing_reopen(int fd)
{
    return call_fails() ? -1 : REAL->reopen(fd);
}

static int failing_info(int fd, struct pt_file_info *info)
{
    return call_fails() ? -1 : REAL->info(fd, info);
}

static ssize_t failing_read(int fd, void *buffer, size_t size, uint64_t offset)
{
    return call_fails() ? -1 : REAL->read(fd, buffer, size, offset);
}

static ssize_t failing_write(int fd, const void *data, size_t size, uint64_t offset)
{
    return call_fails() ? -1 : REAL->write(fd, data, size, offset);
}

static ssize_t failing_write_durable(int fd, const void *data, size_t size, uint64_t offset)
{
    return call_fails() ? -1 : REAL->write(fd, data, size, offset);
}

static int failing_allocate(int fd, uint64_t offset, uint64_t size)
{
    return call_fails() ? -1 : REAL->allocate(fd, offset, size);
}

static int failing_truncate(int fd, uint64_t size)
{
    return call_fails() ? -1 : REAL->truncate(fd, size);
}

static int failing_punch(int fd, uint64_t offset, uint64_t size)
{
    return call_fails() ? -1 : REAL->punch(fd, offset, size);
}

static int failing_room(int fd, uint64_t *size_out)
{
    return call_fails() ? -1 : REAL->room(fd, size_out);
}

static int failing_sync(int fd)
{
    (void)fd;
    return call_fails() ? -1 : 0;
}

static int failing_sync_range(int fd, uint64_t offset, void *place, size_t size)
{
    (void)fd;
    (void)offset;
    (void)place;
    (void)size;
    return call_fails() ? -1 : 0;
}

static int failing_sync_directory(const char *path)
{
    (void)path;
    return call_fails() ? -1 : 0;
}

static int failing_rename(const char *from, const char *to, bool replace)
{
    return call_fails() ? -1 : REAL->rename(from, to, replace);
}

static void *failing_map(int fd, uint64_t offset, void *place, uint64_t size, bool writable)
{
    return call_fails() ? MAP_FAILED : REAL->map(fd, offset, place, size, writable);
}

static int failing_populate(int fd, void *place, uint64_t size, bool writing)
{
    return call_fails() ? -1 : REAL->populate(fd, place, size, writing);
}

static int failing_lock(int fd, uint64_t offset, uint64_t size, bool exclusive)
{
    return call_fails() ? -1 : REAL->lock(fd, offset, size, exclusive);
}

static int failing_unlock(int fd, uint64_t offset, uint64_t size)
{
    return call_fails() ? -1 : REAL->unlock(fd, offset, size);
}

static int failing_lock_query(int fd, uint64_t offset, uint64_t size, bool *locked, uint64_t *found)
{
    return call_fails() ? -1 : REAL->lock_query(fd, offset, size, locked, found);
}

void pt_failing_install(void)
{
    static struct pt_file_calls calls;

    /* A file that cannot be removed or closed is the test's own to clean up: those two do not fail. */
    calls = *REAL;
    calls.open = failing_open;
    calls.memory = failing_memory;
    calls.reopen = failing_reopen;
    calls.info = failing_info;
    calls.read = failing_read;
    calls.write = failing_write;
    calls.write_durable = failing_write_durable;
    calls.allocate = failing_allocate;
    calls.truncate = failing_truncate;
    calls.punch = failing_punch;
    calls.room = failing_room;
    calls.sync = failing_sync;
    calls.sync_range = failing_sync_range;
    calls.sync_directory = failing_sync_directory;
    calls.rename = failing_rename;
    calls.map = failing_map;
    calls.populate = failing_populate;
    calls.lock = failing_lock;
    calls.unlock = failing_unlock;
    calls.lock_query = failing_lock_query;
    pt_file_set_calls(&calls);
    pt_alloc_set_hook(allocation_allowed);
}

void pt_failing_remove(void)
{
    pt_file_set_calls(NULL);
    pt_alloc_set_hook(NULL);
}

void pt_failing_start(const struct pt_failing *failing)
{
    is_caller = true;
    (void)pthread_mutex_lock(&mutex);
    wanted = *failing;
    active = true;
    counted = 0;
    failed = 0;
    (void)pthread_mutex_unlock(&mutex);
}

uint64_t pt_failing_end(void)
{
    uint64_t count;

    (void)pthread_mutex_lock(&mutex);
    active = false;
    count = failed;
    (void)pthread_mutex_unlock(&mutex);
    return count;
}

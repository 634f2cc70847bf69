/*
 * The file seam does the whole of what it is asked, or says in words and status why not; it never
 * waits for another process, never kills the host, and leaves descriptors 0 to 2 alone.
 */
#include "core/base/file.h"

#include "core/base/endian.h"
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { KIB = 1024, MIB = 1048576 };

static struct pt_file_calls fake; /* the real calls, but for what a test replaces */
static int opened_fd;

static void fake_start(void)
{
    fake = *pt_file_calls_real();
    pt_file_set_calls(&fake);
}

static void fake_stop(void)
{
    pt_file_set_calls(NULL);
}

static struct pt_file *file_new(const char *name)
{
    struct pt_file *file;

    PT_REQUIRE_OK(pt_file_open(pt_test_path(name), O_RDWR | O_CREAT | O_TRUNC, &file));
    return file;
}

static struct pt_file *file_again(const char *name)
{
    struct pt_file *file;

    PT_REQUIRE_OK(pt_file_open(pt_test_path(name), O_RDWR, &file));
    return file;
}

/* ---- Opening ---- */

static int open_noting(const char *path, int flags, mode_t mode)
{
    opened_fd = pt_file_calls_real()->open(path, flags, mode);
    return opened_fd;
}

static void a_new_file_is_its_owners_and_closed_on_exec(void **state)
{
    struct pt_file *file;
    struct stat about;
    mode_t mask = umask(0);
    (void)state;

    fake_start();
    fake.open = open_noting;
    file = file_new("owners");
    fake_stop();
    (void)umask(mask);
    PT_REQUIRE(stat(pt_test_path("owners"), &about) == 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    assert_int_not_equal(fcntl(opened_fd, F_GETFD) & FD_CLOEXEC, 0);
    pt_file_close(file);
}

static void open_without_standard_descriptors(void *context)
{
    struct pt_file *file;
    struct pt_file *memory;

    (void)context;
    for (int fd = 0; fd < 3; fd++)
        (void)close(fd);
    file = file_new("standard");
    PT_REQUIRE_OK(pt_file_open_memory(&memory));
    (void)dprintf(0, "what the host");
    (void)dprintf(1, "program prints");
    (void)dprintf(2, "somewhere");
    pt_file_close(memory);
    pt_file_close(file);
}

static void what_the_host_prints_never_lands_in_a_store(void **state)
{
    struct stat about;
    (void)state;

    pt_child_join(pt_child_start(open_without_standard_descriptors, NULL));
    PT_REQUIRE(stat(pt_test_path("standard"), &about) == 0);
    assert_int_equal(about.st_size, 0);
}

static void opening_tells_what_is_wrong(void **state)
{
    struct pt_file *file;
    (void)state;

    assert_int_equal(pt_file_open(pt_test_path("absent"), O_RDWR, &file), PEAT_NOT_FOUND);
    assert_null(file);
    assert_non_null(strstr(peat_last_error(), "absent"));
    assert_int_equal(pt_file_open(pt_test_path("."), O_RDWR, &file), PEAT_INVALID);
    pt_file_close(file_new("present"));
    assert_int_equal(pt_file_open(pt_test_path("present"), O_RDWR | O_CREAT | O_EXCL, &file),
                     PEAT_EXISTS);
    assert_null(file);
}

static void opening_a_fifo_does_not_wait(void **state)
{
    struct pt_file_info info;
    struct pt_file *file;
    (void)state;

    PT_REQUIRE(mkfifo(pt_test_path("fifo"), 0600) == 0);
    PT_REQUIRE_OK(pt_file_open(pt_test_path("fifo"), O_RDONLY, &file));
    PT_REQUIRE_OK(pt_file_info(file, &info));
    assert_false(info.regular);
    pt_file_close(file);
}

/* ---- Reading and writing ---- */

static void what_was_written_is_read(void **state)
{
    struct pt_file *file = file_new("plain");
    char text[16] = {0};
    (void)state;

    PT_REQUIRE_OK(pt_file_write(file, 100000, "layers", 6));
    PT_REQUIRE_OK(pt_file_write_durable(file, 100006, " of peat", 8));
    PT_REQUIRE_OK(pt_file_read(file, 100000, text, 14));
    assert_string_equal(text, "layers of peat");
    assert_int_equal(pt_file_read(file, 100000, text, 15), PEAT_CORRUPT); /* it ends before */
    pt_file_close(file);
}

static unsigned turn;

/* Every other call is interrupted, the others move at most 3 bytes. */
static ssize_t read_haltingly(int fd, void *buffer, size_t size, uint64_t offset)
{
    if (turn++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return pt_file_calls_real()->read(fd, buffer, size < 3 ? size : 3, offset);
}

static ssize_t write_haltingly(int fd, const void *data, size_t size, uint64_t offset)
{
    if (turn++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return pt_file_calls_real()->write(fd, data, size < 3 ? size : 3, offset);
}

static void interrupted_and_short_transfers_are_completed(void **state)
{
    struct pt_file *file = file_new("halting");
    char text[32] = {0};
    (void)state;

    fake_start();
    fake.read = read_haltingly;
    fake.write = write_haltingly;
    fake.write_durable = write_haltingly;
    PT_REQUIRE_OK(pt_file_write(file, 0, "a sentence ", 11));
    PT_REQUIRE_OK(pt_file_write_durable(file, 11, "in two parts", 12));
    PT_REQUIRE_OK(pt_file_read(file, 0, text, 23));
    fake_stop();
    assert_string_equal(text, "a sentence in two parts");
    pt_file_close(file);
}

static int error_of_call;

static ssize_t write_failing(int fd, const void *data, size_t size, uint64_t offset)
{
    (void)fd;
    (void)data;
    (void)size;
    (void)offset;
    errno = error_of_call;
    return -1;
}

static int sync_failing(int fd)
{
    (void)fd;
    errno = error_of_call;
    return -1;
}

static void failures_have_their_status(void **state)
{
    static const struct {
        int error_number;
        enum peat_status status;
    } cases[] = {{ENOSPC, PEAT_NO_SPACE}, {EDQUOT, PEAT_NO_SPACE}, {EFBIG, PEAT_NO_SPACE},
                 {EIO, PEAT_IO},          {EBADF, PEAT_IO},        {ENOMEM, PEAT_NO_MEMORY}};
    (void)state;

    fake_start();
    fake.write = write_failing;
    fake.write_durable = write_failing;
    fake.sync = sync_failing;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pt_file *file = file_new("failing");

        error_of_call = cases[i].error_number;
        assert_int_equal(pt_file_write(file, 0, "x", 1), cases[i].status);
        assert_int_equal(pt_file_write_durable(file, 0, "x", 1), cases[i].status);
        pt_file_close(file);
        file = file_new("failing");
        assert_int_equal(pt_file_sync(file), cases[i].status);
        assert_non_null(strstr(peat_last_error(), "failing")); /* the file's name */
        pt_file_close(file);
    }
    fake_stop();
}

static void after_a_sync_that_failed_none_of_the_file_is_believed(void **state)
{
    struct pt_file *file = file_new("lost");
    struct pt_file *other = file_new("other");
    uint8_t *place;
    (void)state;

    PT_REQUIRE_OK(pt_file_allocate(file, 0, 64 * KIB));
    PT_REQUIRE_OK(pt_file_map_writable(file, 0, 64 * KIB, &place));
    fake_start();
    fake.sync = sync_failing;
    error_of_call = EIO;
    assert_int_equal(pt_file_sync(file), PEAT_IO);
    fake_stop();
    assert_int_equal(pt_file_sync(file), PEAT_POISONED);
    assert_int_equal(pt_file_sync_range(file, 0, place, 4096), PEAT_POISONED);
    assert_int_equal(pt_file_write_durable(file, 0, "x", 1), PEAT_POISONED);
    PT_REQUIRE_OK(pt_file_write(file, 0, "x", 1)); /* which promises nothing */
    PT_REQUIRE_OK(pt_file_sync(other));
    pt_file_unmap(place, 64 * KIB);
    pt_file_close(file);
    pt_file_close(other);
}

/* ---- Space ---- */

static int allocate_unknown(int fd, uint64_t offset, uint64_t size)
{
    (void)fd;
    (void)offset;
    (void)size;
    errno = EOPNOTSUPP;
    return -1;
}

static void where_allocation_is_unknown_zeros_are_written(void **state)
{
    struct pt_file *file = file_new("zeros");
    struct pt_file_info info;
    char bytes[8] = "xxxxxxx";
    (void)state;

    fake_start();
    fake.allocate = allocate_unknown;
    PT_REQUIRE_OK(pt_file_allocate(file, 64 * KIB, 100 * KIB + 5));
    fake_stop();
    PT_REQUIRE_OK(pt_file_info(file, &info));
    assert_int_equal(info.size, 164 * KIB + 5);
    PT_REQUIRE_OK(pt_file_read(file, 164 * KIB - 3, bytes, 8));
    assert_memory_equal(bytes, "\0\0\0\0\0\0\0", 8);
    pt_file_close(file);
}

/* As a memory file does under a fast timer: what is large is interrupted every time. */
static int allocate_interrupted(int fd, uint64_t offset, uint64_t size)
{
    if (size > 2 * MIB) {
        errno = EINTR;
        return -1;
    }
    return pt_file_calls_real()->allocate(fd, offset, size);
}

static void allocation_gets_done_under_steady_signals(void **state)
{
    struct pt_file *file = file_new("signals");
    struct pt_file_info info;
    (void)state;

    fake_start();
    fake.allocate = allocate_interrupted;
    PT_REQUIRE_OK(pt_file_allocate(file, 0, 37 * MIB + 4096));
    fake_stop();
    PT_REQUIRE_OK(pt_file_info(file, &info));
    assert_int_equal(info.size, 37 * MIB + 4096);
    pt_file_close(file);
}

static void grow_beyond_the_limit(void *context)
{
    const struct rlimit limit = {.rlim_cur = MIB, .rlim_max = MIB};
    struct pt_file *file = file_new("limited");
    struct pt_file *memory;
    (void)context;

    PT_REQUIRE_OK(pt_file_open_memory(&memory));
    PT_REQUIRE_OK(pt_file_allocate(file, 0, 2 * MIB));
    PT_REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    PT_REQUIRE_STATUS(pt_file_allocate(file, 2 * MIB, 1), PEAT_NO_SPACE);
    PT_REQUIRE_STATUS(pt_file_allocate(memory, 0, 2 * MIB), PEAT_NO_SPACE);
    PT_REQUIRE_STATUS(pt_file_write(file, MIB + 1, "x", 1), PEAT_NO_SPACE);
    PT_REQUIRE_STATUS(pt_file_write_durable(file, MIB - 1, "xy", 2), PEAT_NO_SPACE);
    PT_REQUIRE_STATUS(pt_file_truncate(file, 3 * MIB), PEAT_NO_SPACE);
    PT_REQUIRE_OK(pt_file_write(file, MIB - 1, "x", 1));
    PT_REQUIRE_OK(pt_file_truncate(file, MIB + 5)); /* shrinking is allowed */
    pt_file_close(memory);
    pt_file_close(file);
}

static void the_file_size_limit_is_an_error_not_a_signal(void **state)
{
    (void)state;
    pt_child_join(pt_child_start(grow_beyond_the_limit, NULL));
}

static void a_punched_range_reads_as_zeros_and_has_no_blocks(void **state)
{
    struct pt_file *file;
    struct pt_file_info before;
    struct pt_file_info after;
    uint8_t *data = malloc(MIB);
    (void)state;

    PT_REQUIRE(data != NULL);
    PT_REQUIRE_OK(pt_file_open_memory(&file)); /* memory files can always punch */
    memset(data, 0xee, MIB);
    PT_REQUIRE_OK(pt_file_write(file, 0, data, MIB));
    PT_REQUIRE_OK(pt_file_info(file, &before));
    PT_REQUIRE_OK(pt_file_punch(file, 128 * KIB, 256 * KIB));
    PT_REQUIRE_OK(pt_file_info(file, &after));
    assert_int_equal(after.size, MIB);
    assert_int_equal(before.allocated_size - after.allocated_size, 256 * KIB);
    PT_REQUIRE_OK(pt_file_read(file, 0, data, MIB));
    for (size_t i = 0; i < MIB; i++)
        assert_int_equal(data[i], i / (128 * KIB) == 1 || i / (128 * KIB) == 2 ? 0 : 0xee);
    pt_file_close(file);
    free(data);
}

static int punch_unknown(int fd, uint64_t offset, uint64_t size)
{
    (void)fd;
    (void)offset;
    (void)size;
    errno = EOPNOTSUPP;
    return -1;
}

static void where_punching_is_unknown_nothing_happens(void **state)
{
    struct pt_file *file = file_new("unpunched");
    (void)state;

    fake_start();
    fake.punch = punch_unknown;
    PT_REQUIRE_OK(pt_file_punch(file, 0, 4096));
    fake_stop();
    pt_file_close(file);
}

/* ---- Mapping ---- */

static void a_mapping_grows_in_reserved_space_under_its_readers(void **state)
{
    struct pt_file *file = file_new("mapped");
    const uint64_t reserved_size = 64 * MIB;
    uint8_t *base;
    (void)state;

    PT_REQUIRE_OK(pt_file_reserve(reserved_size, &base));
    assert_int_equal((uintptr_t)base % (2 * MIB), 0);
    PT_REQUIRE_OK(pt_file_allocate(file, 0, 64 * KIB));
    PT_REQUIRE_OK(pt_file_map(file, 0, base, MIB)); /* beyond the end of the file */
    PT_REQUIRE_OK(pt_file_write(file, 10, "first", 5));
    assert_memory_equal(base + 10, "first", 5);
    PT_REQUIRE_OK(pt_file_allocate(file, 64 * KIB, 2 * MIB));
    PT_REQUIRE_OK(pt_file_map(file, MIB, base + MIB, 2 * MIB));
    PT_REQUIRE_OK(pt_file_write(file, 2 * MIB, "second", 6));
    assert_memory_equal(base + 10, "first", 5);
    assert_memory_equal(base + 2 * MIB, "second", 6);
    pt_file_unreserve(base, reserved_size);
    pt_file_close(file);
}

static void stores_into_a_mapping_reach_the_file(void **state)
{
    struct pt_file *file = file_new("stored");
    uint8_t *place;
    char text[8] = {0};
    (void)state;

    PT_REQUIRE_OK(pt_file_allocate(file, 0, 256 * KIB));
    PT_REQUIRE_OK(pt_file_map_writable(file, 64 * KIB, 128 * KIB, &place));
    PT_REQUIRE_OK(pt_file_populate(file, place + 5, 5000, true));
    pt_file_store(file, 64 * KIB + 4090, place + 4090, "stored!", 7);
    PT_REQUIRE_OK(pt_file_sync_range(file, 64 * KIB + 4090, place + 4090, 7));
    PT_REQUIRE_OK(pt_file_read(file, 64 * KIB + 4090, text, 7));
    assert_string_equal(text, "stored!");
    pt_file_unmap(place, 128 * KIB);
    pt_file_close(file);
}

static void P6_a_truncated_file_is_an_error_not_a_signal(void **state)
{
    struct pt_file *file = file_new("cut");
    uint8_t *base;
    (void)state;

    PT_REQUIRE_OK(pt_file_reserve(2 * MIB, &base));
    PT_REQUIRE_OK(pt_file_allocate(file, 0, MIB));
    PT_REQUIRE_OK(pt_file_map(file, 0, base, MIB));
    PT_REQUIRE_OK(pt_file_populate(file, base, MIB, false));
    PT_REQUIRE_OK(pt_file_truncate(file, 64 * KIB));
    PT_REQUIRE_OK(pt_file_populate(file, base, 64 * KIB, false));
    assert_int_equal(pt_file_populate(file, base + 512 * KIB, 4096, false), PEAT_IO);
    assert_non_null(strstr(peat_last_error(), "truncated"));
    pt_file_unreserve(base, 2 * MIB);
    pt_file_close(file);
}

static int populate_unknown(int fd, void *place, uint64_t size, bool writing)
{
    (void)fd;
    (void)place;
    (void)size;
    (void)writing;
    errno = EINVAL;
    return -1;
}

static void older_kernels_populate_nothing(void **state)
{
    struct pt_file *file = file_new("old");
    (void)state;

    fake_start();
    fake.populate = populate_unknown;
    PT_REQUIRE_OK(pt_file_populate(file, NULL, 4096, false));
    fake_stop();
    pt_file_close(file);
}

/* ---- Syncs at the same time ---- */

/* A page is lost: each open file description that has been told of it. Guarded by its mutex, as what follows. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t change;
    int told_fd; /* by the sync of a range that stays in its call; -1: not yet */
    bool whole_done;
} loss = {.mutex = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER, .told_fd = -1};

/* The kernel has told of it, but the thread does not come to run before the other sync is over, or waits. */
static int sync_range_slow(int fd, uint64_t offset, void *place, size_t size)
{
    (void)offset;
    (void)place;
    (void)size;
    (void)pthread_mutex_lock(&loss.mutex);
    loss.told_fd = fd;
    (void)pthread_cond_broadcast(&loss.change);
    while (!loss.whole_done)
        (void)pthread_cond_wait(&loss.change, &loss.mutex);
    (void)pthread_mutex_unlock(&loss.mutex);
    errno = EIO;
    return -1;
}

static int sync_told(int fd)
{
    bool known;

    (void)pthread_mutex_lock(&loss.mutex);
    known = fd == loss.told_fd;
    (void)pthread_mutex_unlock(&loss.mutex);
    errno = EIO;
    return known ? 0 : -1;
}

static void *range_sync_run(void *context)
{
    char page[16];

    PT_REQUIRE_STATUS(pt_file_sync_range(context, 0, page, sizeof(page)), PEAT_IO);
    return NULL;
}

static void a_loss_that_one_sync_is_just_told_of_is_not_missed_by_another(void **state)
{
    struct pt_file *file = file_new("lossy");
    pthread_t thread;
    (void)state;

    fake_start();
    fake.sync_range = sync_range_slow;
    fake.sync = sync_told;
    PT_REQUIRE(pthread_create(&thread, NULL, range_sync_run, file) == 0);
    (void)pthread_mutex_lock(&loss.mutex);
    while (loss.told_fd < 0)
        (void)pthread_cond_wait(&loss.change, &loss.mutex);
    (void)pthread_mutex_unlock(&loss.mutex);
    PT_REQUIRE(pt_file_sync(file) < 0);
    (void)pthread_mutex_lock(&loss.mutex);
    loss.whole_done = true;
    (void)pthread_cond_broadcast(&loss.change);
    (void)pthread_mutex_unlock(&loss.mutex);
    PT_REQUIRE(pthread_join(thread, NULL) == 0);
    PT_REQUIRE_STATUS(pt_file_sync(file), PEAT_POISONED);
    fake_stop();
    pt_file_close(file);
}

static int reopen_never(int fd)
{
    (void)fd;
    errno = ENOENT;
    return -1;
}

static void without_a_second_description_both_kinds_of_syncs_go_on(void **state)
{
    struct pt_file *file;
    char bytes[16] = {0};
    (void)state;

    fake_start();
    fake.reopen = reopen_never;
    file = file_new("single");
    PT_REQUIRE_OK(pt_file_write_durable(file, 0, bytes, sizeof(bytes)));
    PT_REQUIRE_OK(pt_file_sync(file));
    fake_stop();
    pt_file_close(file);
}

/* ---- Locks ---- */

#define FAR_BYTE (UINT64_C(1) << 62)

struct holder {
    int ready[2]; /* pipe: the child holds the lock */
    int done[2];  /* pipe: closed by the parent */
};

static void hold_lock(void *context)
{
    struct holder *holder = context;
    struct pt_file *file = file_again("locked");
    char byte = 0;

    (void)close(holder->done[1]);
    PT_REQUIRE_OK(pt_file_lock(file, FAR_BYTE, 1, true));
    PT_REQUIRE(pt_pipe_write(holder->ready[1], &byte, 1));
    (void)pt_pipe_read(holder->done[0], &byte, 1);
    pt_file_close(file);
}

static void a_refused_lock_names_the_process_that_holds_it(void **state)
{
    struct pt_file *file = file_new("locked");
    struct holder holder;
    char name[32];
    char byte;
    pid_t child;
    (void)state;

    PT_REQUIRE(pipe2(holder.ready, O_CLOEXEC) == 0 && pipe2(holder.done, O_CLOEXEC) == 0);
    child = pt_child_start(hold_lock, &holder);
    PT_REQUIRE(pt_pipe_read(holder.ready[0], &byte, 1));
    assert_int_equal(pt_file_lock(file, FAR_BYTE, 1, true), PEAT_BUSY);
    (void)snprintf(name, sizeof(name), "process %d ", (int)child);
    assert_non_null(strstr(peat_last_error(), name));
    (void)close(holder.done[0]);
    (void)close(holder.done[1]);
    pt_child_join(child);
    PT_REQUIRE_OK(pt_file_lock(file, FAR_BYTE, 1, true)); /* it vanished with its holder */
    (void)close(holder.ready[0]);
    (void)close(holder.ready[1]);
    pt_file_close(file);
}

static void two_opens_in_one_process_exclude_each_other(void **state)
{
    struct pt_file *first = file_new("twice");
    struct pt_file *second = file_again("twice");
    char name[32];
    (void)state;

    PT_REQUIRE_OK(pt_file_lock(first, FAR_BYTE, 1, true));
    assert_int_equal(pt_file_lock(second, FAR_BYTE, 1, true), PEAT_BUSY);
    (void)snprintf(name, sizeof(name), "process %d (this one)", (int)getpid());
    assert_non_null(strstr(peat_last_error(), name));
    PT_REQUIRE_OK(pt_file_unlock(first, FAR_BYTE, 1));
    PT_REQUIRE_OK(pt_file_lock(second, FAR_BYTE, 1, true));
    pt_file_close(second);
    pt_file_close(first);
}

static void shared_locks_stand_side_by_side_and_are_found(void **state)
{
    struct pt_file *first = file_new("shared");
    struct pt_file *second = file_again("shared");
    struct pt_file *asking = file_again("shared");
    uint64_t offset = 0;
    bool locked = true;
    (void)state;

    PT_REQUIRE_OK(pt_file_lock_query(asking, FAR_BYTE, 100, &locked, &offset));
    assert_false(locked);
    PT_REQUIRE_OK(pt_file_lock(first, FAR_BYTE + 7, 1, false));
    PT_REQUIRE_OK(pt_file_lock(second, FAR_BYTE + 7, 1, false));
    PT_REQUIRE_OK(pt_file_lock_query(asking, FAR_BYTE, 100, &locked, &offset));
    assert_true(locked);
    assert_int_equal(offset, FAR_BYTE + 7);
    PT_REQUIRE_OK(pt_file_lock_query(asking, FAR_BYTE, 7, &locked, &offset));
    assert_false(locked);
    pt_file_close(first);
    pt_file_close(second);
    PT_REQUIRE_OK(pt_file_lock_query(asking, FAR_BYTE, 100, &locked, &offset));
    assert_false(locked);
    pt_file_close(asking);
}

/* ---- Directories ---- */

static void the_directory_of_a_file_is_synced_through_links_too(void **state)
{
    char link[512];
    (void)state;

    pt_file_close(file_new("target"));
    PT_REQUIRE_OK(pt_file_sync_directory(pt_test_path("target")));
    (void)snprintf(link, sizeof(link), "%s", pt_test_path("link"));
    PT_REQUIRE(symlink(pt_test_path("target"), link) == 0);
    PT_REQUIRE_OK(pt_file_sync_directory(link));
    PT_REQUIRE_OK(pt_file_sync_directory("/proc")); /* its name is in the root */
    assert_int_equal(pt_file_sync_directory(pt_test_path("absent")), PEAT_NOT_FOUND);
}

static void a_file_takes_a_name_that_is_free_or_may_be_replaced(void **state)
{
    char from[512];
    char to[512];
    char byte = 0;
    struct pt_file *file = file_new("new");
    (void)state;

    (void)snprintf(from, sizeof(from), "%s", pt_test_path("new"));
    (void)snprintf(to, sizeof(to), "%s", pt_test_path("old"));
    PT_REQUIRE_OK(pt_file_write(file, 0, "n", 1));
    pt_file_close(file);
    pt_file_close(file_new("old"));
    assert_int_equal(pt_file_rename(from, to, false), PEAT_EXISTS);
    PT_REQUIRE(access(from, F_OK) == 0);
    PT_REQUIRE_OK(pt_file_rename(from, to, true));
    PT_REQUIRE(access(from, F_OK) != 0);
    PT_REQUIRE_OK(pt_file_rename(to, from, false));
    PT_REQUIRE_OK(pt_file_open(from, O_RDONLY, &file));
    PT_REQUIRE_OK(pt_file_read(file, 0, &byte, 1));
    assert_int_equal(byte, 'n');
    pt_file_close(file);
    PT_REQUIRE_OK(pt_file_remove(from));
    assert_int_equal(pt_file_remove(from), PEAT_NOT_FOUND);
    assert_int_equal(pt_file_rename(from, to, false), PEAT_NOT_FOUND);
}

/* ---- Whatever call fails ---- */

/* How the calls below go: so many are ended by a signal, those that follow fail with this, if it is set. */
static unsigned interruptions;
static int error_number;

static bool fails(void)
{
    errno = interruptions > 0 ? EINTR : error_number;
    if (interruptions > 0) {
        interruptions--;
        return true;
    }
    return error_number != 0;
}

static int failing_open(const char *path, int flags, mode_t mode)
{
    return fails() ? -1 : pt_file_calls_real()->open(path, flags, mode);
}

static int failing_info(int fd, struct pt_file_info *info)
{
    return fails() ? -1 : pt_file_calls_real()->info(fd, info);
}

static int failing_allocate(int fd, uint64_t offset, uint64_t size)
{
    return fails() ? -1 : pt_file_calls_real()->allocate(fd, offset, size);
}

static int failing_truncate(int fd, uint64_t size)
{
    return fails() ? -1 : pt_file_calls_real()->truncate(fd, size);
}

static int failing_punch(int fd, uint64_t offset, uint64_t size)
{
    return fails() ? -1 : pt_file_calls_real()->punch(fd, offset, size);
}

static int failing_room(int fd, uint64_t *size_out)
{
    return fails() ? -1 : pt_file_calls_real()->room(fd, size_out);
}

static int failing_sync(int fd)
{
    return fails() ? -1 : pt_file_calls_real()->sync(fd);
}

static int failing_sync_range(int fd, uint64_t offset, void *place, size_t size)
{
    return fails() ? -1 : pt_file_calls_real()->sync_range(fd, offset, place, size);
}

static int failing_sync_directory(const char *path)
{
    return fails() ? -1 : pt_file_calls_real()->sync_directory(path);
}

static int failing_rename(const char *from, const char *to, bool replace)
{
    return fails() ? -1 : pt_file_calls_real()->rename(from, to, replace);
}

static int failing_remove(const char *path)
{
    return fails() ? -1 : pt_file_calls_real()->remove(path);
}

static int failing_populate(int fd, void *place, uint64_t size, bool writing)
{
    return fails() ? -1 : pt_file_calls_real()->populate(fd, place, size, writing);
}

static int failing_lock(int fd, uint64_t offset, uint64_t size, bool exclusive)
{
    return fails() ? -1 : pt_file_calls_real()->lock(fd, offset, size, exclusive);
}

static int failing_unlock(int fd, uint64_t offset, uint64_t size)
{
    return fails() ? -1 : pt_file_calls_real()->unlock(fd, offset, size);
}

static int failing_lock_query(int fd, uint64_t offset, uint64_t size, bool *locked, uint64_t *found)
{
    return fails() ? -1 : pt_file_calls_real()->lock_query(fd, offset, size, locked, found);
}

static void failing_start(void)
{
    fake_start();
    interruptions = 0;
    error_number = 0;
    fake.open = failing_open;
    fake.info = failing_info;
    fake.allocate = failing_allocate;
    fake.truncate = failing_truncate;
    fake.punch = failing_punch;
    fake.room = failing_room;
    fake.sync = failing_sync;
    fake.sync_range = failing_sync_range;
    fake.sync_directory = failing_sync_directory;
    fake.rename = failing_rename;
    fake.remove = failing_remove;
    fake.populate = failing_populate;
    fake.lock = failing_lock;
    fake.unlock = failing_unlock;
    fake.lock_query = failing_lock_query;
}

/* What may be interrupted: a file of two pages, the first of which is mapped. */
static enum peat_status interruptible(unsigned which, struct pt_file *file, uint8_t *place)
{
    char name[512];
    struct pt_file *other = NULL;
    enum peat_status status;

    (void)snprintf(name, sizeof(name), "%s", pt_test_path("each"));
    switch (which) {
    case 0:
        return pt_file_allocate(file, 0, 4 * KIB);
    case 1:
        return pt_file_truncate(file, 8 * KIB);
    case 2:
        return pt_file_punch(file, 4 * KIB, 4 * KIB);
    case 3:
        return pt_file_sync_directory(name);
    case 4:
        return pt_file_rename(name, pt_test_path("each again"), true);
    case 5:
        return pt_file_remove(pt_test_path("each again"));
    case 6:
        return pt_file_populate(file, place, 4 * KIB, false);
    case 7:
        return pt_file_lock(file, 0, 1, true);
    case 8:
        return pt_file_unlock(file, 0, 1);
    default:
        status = pt_file_open(name, O_RDWR | O_CREAT, &other);
        pt_file_close(other);
        return status;
    }
}
enum { INTERRUPTIBLE_COUNT = 10 };

static void every_call_goes_on_after_signals_and_tells_of_failures(void **state)
{
    struct pt_file *file = file_new("each");
    struct pt_file_info info;
    uint64_t found;
    uint64_t room;
    uint8_t *place;
    bool locked;
    (void)state;

    PT_REQUIRE_OK(pt_file_truncate(file, 8 * KIB));
    PT_REQUIRE_OK(pt_file_map_writable(file, 0, 4 * KIB, &place));
    failing_start();
    for (unsigned i = 0; i < INTERRUPTIBLE_COUNT; i++) {
        pt_test_context("call %u", i);
        error_number = EIO;
        assert_int_equal(interruptible(i, file, place), PEAT_IO);
        PT_REQUIRE(peat_last_error()[0] != '\0');
        interruptions = 3;
        error_number = 0;
        PT_REQUIRE_OK(interruptible(i, file, place));
        PT_REQUIRE(interruptions == 0);
    }
    pt_test_context("%s", "");
    interruptions = 1; /* in two halves, and what is left of them */
    PT_REQUIRE_OK(pt_file_allocate(file, 0, 2 * MIB + 1));
    interruptions = 3;
    PT_REQUIRE_OK(pt_file_sync(file));
    interruptions = 3;
    PT_REQUIRE_OK(pt_file_sync_range(file, 0, place, 4 * KIB));
    PT_REQUIRE(interruptions == 0);
    error_number = EFAULT;
    assert_int_equal(pt_file_populate(file, place, 4 * KIB, true), PEAT_IO);
    assert_non_null(strstr(peat_last_error(), "written"));
    error_number = EIO;
    assert_int_equal(pt_file_info(file, &info), PEAT_IO);
    assert_int_equal(pt_file_room(file, &room), PEAT_IO);
    assert_int_equal(pt_file_lock_query(file, 0, 1, &locked, &found), PEAT_IO);
    fake_stop();
    pt_file_unmap(place, 4 * KIB);
    pt_file_close(file);
}

static void each_real_call_tells_of_a_descriptor_that_is_none(void **state)
{
    const struct pt_file_calls *real = pt_file_calls_real();
    struct pt_file_info info;
    uint64_t number;
    uint8_t byte = 0;
    bool locked;
    (void)state;

#define REQUIRE_NONE(call_)      \
    do {                         \
        errno = 0;               \
        PT_REQUIRE((call_) < 0); \
        PT_REQUIRE(errno != 0);  \
    } while (0)
    REQUIRE_NONE(real->reopen(-1));
    REQUIRE_NONE(real->info(-1, &info));
    REQUIRE_NONE(real->room(-1, &number));
    REQUIRE_NONE(real->read(-1, &byte, 1, 0));
    REQUIRE_NONE(real->write(-1, &byte, 1, 0));
    REQUIRE_NONE(real->write_durable(-1, &byte, 1, 0));
    REQUIRE_NONE(real->allocate(-1, 0, 4 * KIB));
    REQUIRE_NONE(real->truncate(-1, 0));
    REQUIRE_NONE(real->punch(-1, 0, 4 * KIB));
    REQUIRE_NONE(real->sync(-1));
    REQUIRE_NONE(real->lock(-1, 0, 1, true));
    REQUIRE_NONE(real->unlock(-1, 0, 1));
    REQUIRE_NONE(real->lock_query(-1, 0, 1, &locked, &number));
#undef REQUIRE_NONE
}

static void what_a_system_does_not_have_is_done_without(void **state)
{
    static const char zeros[5 * KIB];
    char bytes[sizeof(zeros)];
    struct pt_file *file = file_new("without");
    (void)state;

    failing_start();
    error_number = ENOSYS;
    PT_REQUIRE_OK(pt_file_punch(file, 0, 4 * KIB));
    PT_REQUIRE_OK(pt_file_allocate(file, 0, sizeof(zeros)));
    PT_REQUIRE_OK(pt_file_read(file, 0, bytes, sizeof(bytes)));
    assert_memory_equal(bytes, zeros, sizeof(zeros));
    error_number = EINVAL;
    PT_REQUIRE_OK(pt_file_sync_directory(pt_test_path("without")));
    fake_stop();
    pt_file_close(file);
}

static void a_lock_is_refused_with_words_when_nothing_tells_its_holder(void **state)
{
    struct pt_file *file = file_new("refused");
    (void)state;

    failing_start();
    error_number = EACCES;
    assert_int_equal(pt_file_lock(file, 0, 1, true), PEAT_BUSY);
    assert_non_null(strstr(peat_last_error(), "another process"));
    fake_stop();
    pt_file_close(file);
}

/* More than there are zeros to write at a time, on a disk that is full. */
static ssize_t full_write(int fd, const void *data, size_t size, uint64_t offset)
{
    if (offset < MIB)
        return pt_file_calls_real()->write(fd, data, size, offset);
    errno = ENOSPC;
    return -1;
}

static ssize_t no_write(int fd, const void *data, size_t size, uint64_t offset)
{
    (void)fd;
    (void)data;
    (void)size;
    (void)offset;
    return 0;
}

static void zeros_that_find_the_disk_full_and_writes_that_do_nothing_are_errors(void **state)
{
    struct pt_file *file = file_new("full");
    (void)state;

    failing_start();
    error_number = EOPNOTSUPP;
    fake.write = full_write;
    assert_int_equal(pt_file_allocate(file, 0, 4 * MIB), PEAT_NO_SPACE);
    fake.write = no_write;
    assert_int_equal(pt_file_write(file, 0, "x", 1), PEAT_IO);
    fake_stop();
    pt_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_file_is_its_owners_and_closed_on_exec),
        cmocka_unit_test(what_the_host_prints_never_lands_in_a_store),
        cmocka_unit_test(opening_tells_what_is_wrong),
        cmocka_unit_test(opening_a_fifo_does_not_wait),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(interrupted_and_short_transfers_are_completed),
        cmocka_unit_test(failures_have_their_status),
        cmocka_unit_test(after_a_sync_that_failed_none_of_the_file_is_believed),
        cmocka_unit_test(where_allocation_is_unknown_zeros_are_written),
        cmocka_unit_test(allocation_gets_done_under_steady_signals),
        cmocka_unit_test(the_file_size_limit_is_an_error_not_a_signal),
        cmocka_unit_test(a_punched_range_reads_as_zeros_and_has_no_blocks),
        cmocka_unit_test(where_punching_is_unknown_nothing_happens),
        cmocka_unit_test(a_mapping_grows_in_reserved_space_under_its_readers),
        cmocka_unit_test(stores_into_a_mapping_reach_the_file),
        cmocka_unit_test(P6_a_truncated_file_is_an_error_not_a_signal),
        cmocka_unit_test(older_kernels_populate_nothing),
        cmocka_unit_test(a_loss_that_one_sync_is_just_told_of_is_not_missed_by_another),
        cmocka_unit_test(without_a_second_description_both_kinds_of_syncs_go_on),
        cmocka_unit_test(a_refused_lock_names_the_process_that_holds_it),
        cmocka_unit_test(two_opens_in_one_process_exclude_each_other),
        cmocka_unit_test(shared_locks_stand_side_by_side_and_are_found),
        cmocka_unit_test(the_directory_of_a_file_is_synced_through_links_too),
        cmocka_unit_test(a_file_takes_a_name_that_is_free_or_may_be_replaced),
        cmocka_unit_test(every_call_goes_on_after_signals_and_tells_of_failures),
        cmocka_unit_test(each_real_call_tells_of_a_descriptor_that_is_none),
        cmocka_unit_test(what_a_system_does_not_have_is_done_without),
        cmocka_unit_test(a_lock_is_refused_with_words_when_nothing_tells_its_holder),
        cmocka_unit_test(zeros_that_find_the_disk_full_and_writes_that_do_nothing_are_errors),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("file", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

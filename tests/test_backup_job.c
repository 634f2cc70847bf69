/*
 * The property: whichever call on the new file fails, and whenever memory runs out, a backup or restore
 * ends with that error, and there is neither the file nor its partial one; what the disk got wrong is
 * found before the file has its name.
 */
#include "core/base/alloc.h"
#include "core/base/file.h"

#include "tests/fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_SIZE = 512, CALLS_MAX = 2000 };

/* Which call fails: the counter goes down with each that counts. A thread's own, since the store's threads
 * make calls when they see fit; the backup makes its calls in the thread that asked for it. */
static _Thread_local struct {
    unsigned left;
    int error_number;
    bool failed;
} fault;

static bool fails(void)
{
    if (fault.left == 0 || --fault.left > 0)
        return false;
    fault.failed = true;
    errno = fault.error_number;
    return true;
}

static ssize_t faulty_write(int fd, const void *data, size_t size, uint64_t offset)
{
    return fails() ? -1 : pt_file_calls_real()->write(fd, data, size, offset);
}

static int faulty_sync(int fd)
{
    return fails() ? -1 : pt_file_calls_real()->sync(fd);
}

static int faulty_sync_directory(const char *path)
{
    (void)path;
    return 0; /* the file has its name by then: no call that may fail in this test */
}

static int faulty_rename(const char *from, const char *to, bool replace)
{
    return fails() ? -1 : pt_file_calls_real()->rename(from, to, replace);
}

static int faulty_open(const char *path, int flags, mode_t mode)
{
    return fails() ? -1 : pt_file_calls_real()->open(path, flags, mode);
}

/* A disk that gets one byte of the write wrong that counts. */
static ssize_t lying_write(int fd, const void *data, size_t size, uint64_t offset)
{
    ssize_t written = pt_file_calls_real()->write(fd, data, size, offset);
    uint8_t byte;

    if (written < 0 || !fails())
        return written;
    PT_REQUIRE(pread(fd, &byte, 1, (off_t)(offset + size / 3)) == 1);
    byte ^= 1;
    PT_REQUIRE(pwrite(fd, &byte, 1, (off_t)(offset + size / 3)) == 1);
    return written;
}

static bool faulty_alloc(size_t size)
{
    (void)size;
    return !fails();
}

static void require_no_file(const char *path)
{
    PT_REQUIRE(access(path, F_OK) != 0);
    PT_REQUIRE(pt_test_file_count(".partial") == 0);
}

struct paths {
    char full[PATH_SIZE];
    char increment[PATH_SIZE];
    char out[PATH_SIZE];
};

static enum peat_status restore(const struct paths *paths)
{
    const char *chain[] = {paths->full, paths->increment};

    return peat_restore(paths->out, chain, 2, NULL, NULL, NULL);
}

/* A store at rest, a full backup, and something new for an increment. */
static void paths_make(struct pt_fixture *fixture, struct paths *paths)
{
    (void)snprintf(paths->full, sizeof(paths->full), "%s", pt_test_path("full"));
    (void)snprintf(paths->increment, sizeof(paths->increment), "%s", pt_test_path("increment"));
    (void)snprintf(paths->out, sizeof(paths->out), "%s", pt_test_path("out"));
    (void)unlink(paths->full);
    (void)unlink(paths->increment);
    pt_fixture_rewrite(fixture, 1);
    PT_REQUIRE_OK(pt_test_backup(fixture->db, paths->full, NULL));
    PT_REQUIRE_OK(peat_batch_delete_range(fixture->batch, NULL, pt_text("00"), pt_text("01")));
    pt_fixture_commit(fixture);
    pt_fixture_put_letters(fixture, "abc");
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE_OK(pt_test_backup(fixture->db, paths->increment, paths->full));
}

/* Either of the two acts, into paths->out. */
static enum peat_status act(struct pt_fixture *fixture, const struct paths *paths, bool restoring)
{
    return restoring ? restore(paths) : pt_test_backup(fixture->db, paths->out, paths->full);
}

/* Fail the first call, then the second, until none is left to fail. */
static void each_call_fails(struct pt_fixture *fixture, const struct paths *paths, bool restoring,
                            int error_number, enum peat_status expected)
{
    unsigned nth = 0;

    do {
        enum peat_status status;

        PT_REQUIRE(++nth < CALLS_MAX);
        pt_test_context("%s, call %u", restoring ? "restore" : "backup", nth);
        fault.left = nth;
        fault.error_number = error_number;
        fault.failed = false;
        status = act(fixture, paths, restoring);
        fault.left = 0;
        if (fault.failed) {
            PT_REQUIRE_STATUS(status, expected);
            require_no_file(paths->out);
        } else {
            PT_REQUIRE_OK(status);
            PT_REQUIRE(unlink(paths->out) == 0);
        }
    } while (fault.failed);
    PT_REQUIRE(nth > 5);
}

static void each_failing_call_is_told_and_leaves_no_file(void **state)
{
    struct pt_fixture *fixture = *state;
    struct pt_file_calls faulty = *pt_file_calls_real();
    struct paths paths;

    paths_make(fixture, &paths);
    faulty.open = faulty_open;
    faulty.write = faulty_write;
    faulty.sync = faulty_sync;
    faulty.sync_directory = faulty_sync_directory;
    faulty.rename = faulty_rename;
    pt_file_set_calls(&faulty);
    each_call_fails(fixture, &paths, false, EIO, PEAT_IO);
    each_call_fails(fixture, &paths, true, ENOSPC, PEAT_NO_SPACE);
    pt_file_set_calls(NULL);
}

static void each_failing_allocation_is_told_and_leaves_no_file(void **state)
{
    struct pt_fixture *fixture = *state;
    struct paths paths;

    paths_make(fixture, &paths);
    PT_REQUIRE_OK(peat_close(fixture->db)); /* its threads allocate too */
    fixture->db = NULL;
    pt_alloc_set_hook(faulty_alloc);
    each_call_fails(fixture, &paths, true, ENOMEM, PEAT_NO_MEMORY);
    pt_alloc_set_hook(NULL);
    pt_fixture_reopen(fixture, false);
}

static void what_a_disk_gets_wrong_is_found_before_the_file_has_its_name(void **state)
{
    struct pt_fixture *fixture = *state;
    struct pt_file_calls lying = *pt_file_calls_real();
    struct paths paths;
    unsigned found = 0;

    paths_make(fixture, &paths);
    lying.write = lying_write;
    pt_file_set_calls(&lying);
    for (unsigned nth = 1;; nth++) {
        enum peat_status status;

        fault.left = nth;
        fault.failed = false;
        status = restore(&paths);
        if (status == PEAT_OK)
            PT_REQUIRE(unlink(paths.out) == 0);
        if (!fault.failed)
            break;
        if (status == PEAT_OK) /* it hit zeros that fill up */
            continue;
        PT_REQUIRE_STATUS(status, PEAT_CORRUPT);
        require_no_file(paths.out);
        found++;
    }
    fault.left = 0;
    pt_file_set_calls(NULL);
    PT_REQUIRE(found >= 2); /* the segment, the manifest */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(each_failing_call_is_told_and_leaves_no_file),
        PT_FIXTURE_TEST(each_failing_allocation_is_told_and_leaves_no_file),
        PT_FIXTURE_TEST(what_a_disk_gets_wrong_is_found_before_the_file_has_its_name),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

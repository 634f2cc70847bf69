/*
 * The property: a failure has the status that its cause calls for, and words with their origin that belong to
 * the thread; and before a broken promise stops the process, the host is told.
 */
#include "core/base/status.h"

#include "tests/support.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void each_error_number_has_its_status(void **state)
{
    static const struct {
        int error_number;
        enum peat_status status;
    } expected[] = {
        {ENOSPC, PEAT_NO_SPACE},  {EDQUOT, PEAT_NO_SPACE},  {EFBIG, PEAT_NO_SPACE},
        {ENOMEM, PEAT_NO_MEMORY}, {EACCES, PEAT_DENIED},    {EPERM, PEAT_DENIED},
        {EROFS, PEAT_DENIED},     {ENOENT, PEAT_NOT_FOUND}, {EEXIST, PEAT_EXISTS},
        {EIO, PEAT_IO},           {ENOLCK, PEAT_IO},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(pt_status_of_errno(expected[i].error_number), expected[i].status);
        assert_int_equal(pt_fail_errno(expected[i].error_number, "act %zu", i), expected[i].status);
        assert_non_null(strstr(peat_last_error(), strerror(expected[i].error_number)));
    }
}

static void words_end_with_their_origin_however_long_they_are(void **state)
{
    char words[2000];
    uint64_t count = pt_failure_count();
    (void)state;

    memset(words, 'w', sizeof(words) - 1);
    words[sizeof(words) - 1] = '\0';
    assert_int_equal(pt_fail_at("folder/file.c", 7, PEAT_IO, "%s", words), PEAT_IO);
    assert_non_null(strstr(peat_last_error(), "www (PEAT_IO at file.c:7)"));
    assert_int_equal(pt_fail_at("file.c", 8, PEAT_BUSY, "short"), PEAT_BUSY);
    assert_string_equal(peat_last_error(), "short (PEAT_BUSY at file.c:8)");
    assert_int_equal(pt_failure_count(), count + 2);
}

/* ---- Broken promises ---- */

static int told_fd;

static void tell(const char *message)
{
    (void)!write(told_fd, message, strlen(message) + 1);
#ifdef PEAT_COVERAGE
    pt_test_exit(0); /* whoever is stopped takes the counters along */
#endif
}

static void break_a_promise(void *context)
{
    (void)context;
    (void)freopen("/dev/null", "w", stderr);
    PT_ASSERT(told_fd < 0);
}

static void break_a_promise_with_a_listener(void *context)
{
    peat_on_panic(tell);
    break_a_promise(context);
}

static void a_broken_promise_stops_the_process_once_the_host_was_told(void **state)
{
    char message[512] = "";
    int fds[2];
    int outcome;
    (void)state;

    PT_REQUIRE(pipe(fds) == 0);
    told_fd = fds[1];
    PT_REQUIRE(waitpid(pt_child_start(break_a_promise_with_a_listener, NULL), &outcome, 0) > 0);
#ifndef PEAT_COVERAGE
    PT_REQUIRE(WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGABRT);
#endif
    PT_REQUIRE(read(fds[0], message, sizeof(message) - 1) > 0);
    assert_non_null(strstr(message, "test_status.c"));
    assert_non_null(strstr(message, "broken promise: told_fd < 0"));
    PT_REQUIRE(waitpid(pt_child_start(break_a_promise, NULL), &outcome, 0) > 0);
    PT_REQUIRE(WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGABRT);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_error_number_has_its_status),
        cmocka_unit_test(words_end_with_their_origin_however_long_they_are),
        cmocka_unit_test(a_broken_promise_stops_the_process_once_the_host_was_told),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

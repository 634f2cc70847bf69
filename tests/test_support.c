/*
 * The property: a test program that hangs says where it and its child processes are, before it ends; and
 * a child process that is gone is noticed by those who wait for what it does.
 */
#include "tests/support.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { OUTPUT_SIZE = 16384 };

/* ---- Programs, whose standard error is read ---- */

/* Run @p body in a process of its own to its end; what it wrote to @p output. Its wait status. */
static int program_run(void (*body)(void), char output[OUTPUT_SIZE])
{
    size_t used = 0;
    ssize_t count;
    int outcome;
    int fds[2];
    pid_t child;

    PT_REQUIRE(pipe(fds) == 0);
    (void)fflush(NULL);
    child = fork();
    PT_REQUIRE(child >= 0);
    if (child == 0) {
        (void)dup2(fds[1], STDERR_FILENO);
        (void)close(fds[0]);
        (void)close(fds[1]);
        body();
        _exit(0);
    }
    (void)close(fds[1]);
    while ((count = read(fds[0], output + used, OUTPUT_SIZE - 1 - used)) > 0)
        used += (size_t)count;
    output[used] = '\0';
    (void)close(fds[0]);
    PT_REQUIRE(waitpid(child, &outcome, 0) == child);
    return outcome;
}

/* Say that it is there, and stay. */
static void wait_for_ever(void *context)
{
    const int *fd = context;

    pt_test_context("the child, step %d", 5);
    (void)pt_pipe_write(*fd, "!", 1);
    for (;;)
        (void)pause();
}

/* A child process that has come to its loop. */
static pid_t child_start(void)
{
    pid_t child;
    char ready;
    int fds[2];

    PT_REQUIRE(pipe(fds) == 0);
    child = pt_child_start(wait_for_ever, &fds[1]);
    PT_REQUIRE(pt_pipe_read(fds[0], &ready, 1));
    return child;
}

/* Out of time, as after PEAT_TIMEOUT seconds. */
static void hang_alone(void)
{
    pt_test_start();
    pt_test_context("step %d", 7);
    (void)raise(SIGALRM);
}

static void hang_with_child(void)
{
    pt_test_start();
    (void)child_start();
    pt_test_context("step %d", 8);
    (void)raise(SIGALRM);
}

static void wait_for_the_dead(void)
{
    pid_t child;

    pt_test_start();
    child = child_start();
    pt_child_check(child);
    (void)kill(child, SIGTERM);
    pt_test_failures_abort();
    pt_test_context("step %d", 9);
    for (;;)
        pt_child_check(child);
}

/* ---- The tests ---- */

static void a_program_that_hangs_says_where(void **state)
{
    char output[OUTPUT_SIZE];
    int outcome = program_run(hang_alone, output);
    (void)state;

    PT_REQUIRE(WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGALRM);
    PT_REQUIRE(strstr(output, "# timed out (step 7)\n") == output);
    PT_REQUIRE(strstr(output, "child") == NULL);
}

static void a_program_that_hangs_has_its_child_processes_say_where(void **state)
{
    char output[OUTPUT_SIZE];
    int outcome = program_run(hang_with_child, output);
    (void)state;

    PT_REQUIRE(WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGALRM);
    PT_REQUIRE(strstr(output, "# timed out (step 8)\n") == output);
    PT_REQUIRE(strstr(output, "# its child process (the child, step 5)\n") != NULL);
}

static void a_child_process_that_is_gone_is_noticed(void **state)
{
    char output[OUTPUT_SIZE];
    int outcome = program_run(wait_for_the_dead, output);
    (void)state;

    PT_REQUIRE(WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGABRT);
    PT_REQUIRE(strstr(output, "the child process is gone (signal 15) (step 9)\n") != NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_that_hangs_says_where),
        cmocka_unit_test(a_program_that_hangs_has_its_child_processes_say_where),
        cmocka_unit_test(a_child_process_that_is_gone_is_noticed),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

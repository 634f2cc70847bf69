#include "tests/tracer.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child does. */
struct traced {
    void (*body)(void *context);
    void *context;
};

static void traced_run(void *context)
{
    const struct traced *traced = context;

    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(1);
    (void)raise(SIGSTOP); /* until the options are set */
    traced->body(traced->context);
    _exit(0); /* not pt_test_exit(), whose calls in a coverage build would be places to be killed at */
}

static void options_set(pid_t child)
{
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;

    (void)ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)options);
}

/* The signal that the stopped thread is to get as it goes on: none for a stop of ours. */
static long signal_of(int outcome)
{
    int number = WSTOPSIG(outcome);

    return number == (SIGTRAP | 0x80) || number == SIGTRAP || number == SIGSTOP ? 0 : number;
}

/* Whether it is stopped at a system call, before that is done. */
static bool at_call(pid_t thread, int outcome)
{
    struct __ptrace_syscall_info info = {.op = PTRACE_SYSCALL_INFO_NONE};

    if (WSTOPSIG(outcome) != (SIGTRAP | 0x80))
        return false;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof(info), &info) <= 0)
        return true; /* before Linux 5.3: count what comes after it, too */
    return info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

struct pt_traced pt_tracer_run(void (*body)(void *context), void *context, uint64_t stop)
{
    struct traced traced = {body, context};
    struct pt_traced result = {.stops = 0};
    pid_t child = pt_child_start(traced_run, &traced);
    bool begun = false;

    for (;;) {
        int outcome;
        pid_t thread = waitpid(-1, &outcome, __WALL);

        if (thread < 0 && errno == EINTR)
            continue;
        PT_REQUIRE(thread > 0);
        if (!WIFSTOPPED(outcome)) {
            if (thread != child)
                continue; /* a thread's end; the process's comes last */
            result.outcome = outcome;
            return result;
        }
        if (thread == child && !begun) {
            begun = true;
            options_set(child);
        }
        if (!result.killed && at_call(thread, outcome) && result.stops++ == stop) {
            result.killed = true;
            (void)kill(child, SIGKILL);
            continue;
        }
        (void)ptrace(PTRACE_SYSCALL, thread, NULL, (void *)signal_of(outcome));
    }
}

static void nothing(void *context)
{
    (void)context;
    (void)getppid();
}

bool pt_tracer_works(void)
{
    struct pt_traced traced = pt_tracer_run(nothing, NULL, UINT64_MAX);

    return WIFEXITED(traced.outcome) && WEXITSTATUS(traced.outcome) == 0 && traced.stops > 0;
}

#include "tests/support.h"

#include <dirent.h>
#include <errno.h>
#if defined(__GLIBC__)
#include <execinfo.h>
#endif
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* After those cmocka.h asks for. */
#include <cmocka.h>

#ifdef PEAT_COVERAGE
#include <gcov.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum {
    EXIT_FAILED = 99, /* a child's requirement failed: already reported */
    TIMEOUT_S = 1200, /* of a whole test program, should it hang; PEAT_TIMEOUT overrides it */
    TELL_S = 20,      /* to tell where it hangs */
    REST_MS = 60000,
    REST_LOOK_US = 1000,
    FRAMES_MAX = 64,
    CHILDREN_MAX = 64
};

static pid_t main_process;
static pthread_t main_thread;
static bool failures_abort;
static char directory[PATH_MAX];
static _Thread_local char context[256];

/* The last ones that were started, in a circle: some may be gone. */
static _Atomic pid_t children[CHILDREN_MAX];
static _Atomic unsigned child_count;

/* ---- When it hangs ----
 *
 * What is called here may be called in a signal handler; backtrace() once it was called before. Should it
 * hang nevertheless, a second alarm ends it.
 */

static void tell(const char *text, size_t size)
{
    (void)!write(STDERR_FILENO, text, size);
}

static void frames_tell(void)
{
#if defined(__GLIBC__)
    void *frames[FRAMES_MAX];

    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
#endif
}

/* Have each child process tell where it is, and end it. */
static void children_end(int number)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        pid_t child = atomic_load(&children[i]);

        /* As long as it was not waited for, its number is not given to another process. */
        if (child > 0 && waitpid(child, NULL, WNOHANG) == 0 && kill(child, number) == 0)
            (void)waitpid(child, NULL, 0);
    }
}

static void on_timeout(int number)
{
    static const char whole[] = "# timed out";
    static const char part[] = "# its child process";
    bool in_child = getpid() != main_process;

    if (!pthread_equal(pthread_self(), main_thread)) {
        (void)pthread_kill(main_thread, number);
        return;
    }
    (void)signal(number, SIG_DFL);
    (void)alarm(TELL_S);
    tell(in_child ? part : whole, in_child ? sizeof(part) - 1 : sizeof(whole) - 1);
    if (context[0] != '\0') {
        tell(" (", 2);
        tell(context, strnlen(context, sizeof(context))); /* it may be in the middle of being set */
        tell(")", 1);
    }
    tell("\n", 1);
    frames_tell();
    children_end(number);
    (void)raise(number);
}

/* In the main thread: it tells where it is when time is up. */
static void timeout_start(void)
{
    /* Not blocked in its handler, so that the second one ends it. */
    struct sigaction action = {.sa_handler = on_timeout, .sa_flags = SA_RESTART | SA_NODEFER};

    main_thread = pthread_self();
    (void)sigemptyset(&action.sa_mask);
#if defined(__GLIBC__)
    void *frame;

    (void)backtrace(&frame, 1); /* the first call loads a library */
#endif
    (void)sigaction(SIGALRM, &action, NULL);
}

/* ---- Starting and ending ---- */

void pt_test_start(void)
{
    main_process = getpid();
    timeout_start();
    (void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm((unsigned)pt_test_number("PEAT_TIMEOUT", TIMEOUT_S));
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

void pt_test_end(void)
{
    if (directory[0] == '\0')
        return;
    if (getenv("PEAT_KEEP") != NULL)
        printf("# kept: %s\n", directory);
    else
        (void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    directory[0] = '\0';
}

void pt_test_context(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(context, sizeof(context), format, arguments);
    va_end(arguments);
}

void pt_test_failures_abort(void)
{
    failures_abort = true;
}

_Noreturn void pt_test_fail(const char *file, int line, const char *format, ...)
{
    char words[1024];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s:%d: %s%s%s%s\n", file, line, words, context[0] == '\0' ? "" : " (", context,
            context[0] == '\0' ? "" : ")");
    context[0] = '\0';
    (void)fflush(NULL);
    if (failures_abort)
        abort();
    if (getpid() != main_process)
        _exit(EXIT_FAILED);
    if (pthread_equal(pthread_self(), main_thread))
        _fail(file, line);
    abort();
}

void pt_test_require_status(enum peat_status status, enum peat_status expected, const char *call,
                            const char *file, int line)
{
    if (status != expected)
        pt_test_fail(file, line, "%s gives %s, not %s; last error: %s", call,
                     peat_status_name(status), peat_status_name(expected), peat_last_error());
}

bool pt_test_is_sanitized(void)
{
    return SANITIZED == 1;
}

uint64_t pt_test_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL || text[0] == '\0' ? otherwise : strtoull(text, NULL, 0);
}

uint64_t pt_test_seed(void)
{
    uint64_t seed = pt_test_number("PEAT_SEED", 0);

    if (seed == 0)
        seed = pt_mix(pt_test_now_us() ^ (uint64_t)getpid() << 32) >> 32;
    printf("# PEAT_SEED=%" PRIu64 "\n", seed);
    return seed;
}

/* splitmix64: the state is a counter, so any state is a good one. */
uint64_t pt_mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

uint64_t pt_dice_next(struct pt_dice *dice)
{
    return pt_mix(dice->state++);
}

uint64_t pt_dice_below(struct pt_dice *dice, uint64_t bound)
{
    return pt_dice_next(dice) % bound;
}

bool pt_dice_one_in(struct pt_dice *dice, uint64_t chance)
{
    return pt_dice_below(dice, chance) == 0;
}

void pt_value_fill(uint64_t seed, void *data, size_t size)
{
    uint8_t *bytes = data;
    uint64_t start = pt_mix(seed); /* so that no seed's bytes are another's, shifted */

    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = pt_mix(start + i);

        memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
    }
}

bool pt_value_matches(uint64_t seed, struct peat_bytes value)
{
    const uint8_t *bytes = value.data;
    uint64_t start = pt_mix(seed);
    uint64_t difference = 0;
    size_t whole = value.size & ~(size_t)7;
    uint64_t word;

    for (size_t i = 0; i < whole; i += 8) {
        memcpy(&word, bytes + i, 8);
        difference |= word ^ pt_mix(start + i);
    }
    if (difference != 0)
        return false;
    word = pt_mix(start + whole);
    return whole == value.size || memcmp(bytes + whole, &word, value.size - whole) == 0;
}

uint64_t pt_fingerprint(uint64_t start, struct peat_bytes piece)
{
    const uint8_t *bytes = piece.data;
    uint64_t print = pt_mix(start ^ piece.size);
    uint64_t word;

    for (size_t i = 0; i < piece.size; i += 8) {
        word = 0;
        memcpy(&word, bytes + i, piece.size - i < 8 ? piece.size - i : 8);
        print = pt_mix(print ^ word);
    }
    return print;
}

struct peat_bytes pt_text(const char *text)
{
    struct peat_bytes bytes = {text, strlen(text)};

    return bytes;
}

bool pt_same(struct peat_bytes a, struct peat_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

const char *pt_test_path(const char *name)
{
    static char path[PATH_MAX + 256];
    const char *base = getenv("TMPDIR");

    if (directory[0] == '\0') {
        (void)snprintf(directory, sizeof(directory), "%s/peat-test-XXXXXX",
                       base == NULL || base[0] == '\0' ? "/tmp" : base);
        PT_REQUIRE(mkdtemp(directory) != NULL);
    }
    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

unsigned pt_test_file_count(const char *part)
{
    DIR *files = opendir(pt_test_path(""));
    struct dirent *entry;
    unsigned count = 0;

    PT_REQUIRE(files != NULL);
    while ((entry = readdir(files)) != NULL)
        count += strstr(entry->d_name, part) != NULL;
    (void)closedir(files);
    return count;
}

enum peat_status pt_test_backup(struct peat_db *db, const char *path, const char *since)
{
    struct peat_backup_options options;

    peat_backup_options_init(&options);
    options.path = path;
    options.since = &since;
    options.since_count = since != NULL;
    return peat_backup(db, NULL, &options, NULL);
}

struct peat_options pt_test_options(unsigned flags)
{
    struct peat_options options;

    peat_options_init(&options);
    options.flags = flags;
    options.address_space_size = (size_t)16 << 30;
    return options;
}

void pt_test_options_tiny(struct peat_options *options)
{
    options->memory_size_max = (size_t)8 << 20;
    options->write_buffer_size = (size_t)128 << 10;
}

struct peat_db *pt_test_store_make(const char *name, unsigned flags)
{
    struct peat_options options = pt_test_options(PEAT_CREATE | flags);
    struct peat_db *db;
    char path[512];

    (void)snprintf(path, sizeof(path), "%s", pt_test_path(name));
    (void)unlink(path);
    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    return db;
}

struct peat_stats pt_test_stats_at_rest(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    uint64_t begun_us = pt_test_now_us();

    PT_REQUIRE_OK(peat_wait_idle(db, REST_MS));
    for (;;) {
        PT_REQUIRE_OK(peat_stats_get(db, &stats));
        if (stats.pending_size == 0)
            return stats;
        if (pt_test_now_us() - begun_us > REST_MS * 1000ull)
            pt_test_fail(__FILE__, __LINE__, "%" PRIu64 " bytes never become free",
                         stats.pending_size);
        (void)usleep(REST_LOOK_US);
    }
}

void pt_test_put(struct peat_db *db, const char *key, const char *value)
{
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text(key), pt_text(value)));
}

void pt_test_spoil(const char *path, struct peat_bytes bytes)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *all;
    uint8_t *found;

    PT_REQUIRE(fd >= 0 && size > 0);
    all = malloc((size_t)size);
    PT_REQUIRE(all != NULL && pread(fd, all, (size_t)size, 0) == size);
    found = memmem(all, (size_t)size, bytes.data, bytes.size);
    PT_REQUIRE(found != NULL);
    *found ^= 4;
    PT_REQUIRE(pwrite(fd, found, 1, found - all) == 1 && close(fd) == 0);
    free(all);
}

struct peat_position pt_test_position(struct peat_db *db)
{
    struct peat_position position;

    PT_REQUIRE_OK(peat_position_get(db, &position));
    return position;
}

uint64_t pt_test_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

_Noreturn void pt_test_exit(int code)
{
    (void)fflush(NULL);
#ifdef PEAT_COVERAGE
    __gcov_dump();
#endif
    _exit(code);
}

pid_t pt_child_start(void (*body)(void *context), void *body_context)
{
    pid_t parent = getpid();
    pid_t child;

    (void)fflush(NULL);
    child = fork();
    PT_REQUIRE(child >= 0);
    if (child > 0) {
        atomic_store(&children[atomic_fetch_add(&child_count, 1) % CHILDREN_MAX], child);
        return child;
    }
    main_thread = pthread_self();
    memset(children, 0, sizeof(children)); /* they are not this one's */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILED);
    body(body_context);
    pt_test_exit(0);
}

static int wait_for(pid_t child)
{
    int outcome = 0;
    pid_t got;

    do
        got = waitpid(child, &outcome, 0);
    while (got < 0 && errno == EINTR);
    PT_REQUIRE(got == child);
    return outcome;
}

void pt_child_join(pid_t child)
{
    int outcome = wait_for(child);

    if (!WIFEXITED(outcome) || WEXITSTATUS(outcome) != 0)
        pt_test_fail(__FILE__, __LINE__, "the child process failed (wait status %#x)",
                     (unsigned)outcome);
}

void pt_child_check(pid_t child)
{
    siginfo_t info = {.si_pid = 0};

    /* It stays there to be waited for. */
    PT_REQUIRE(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
    if (info.si_pid != 0)
        pt_test_fail(__FILE__, __LINE__, "the child process is gone (%s %d)",
                     info.si_code == CLD_EXITED ? "exit status" : "signal", info.si_status);
}

void pt_child_kill(pid_t child)
{
    int outcome;

    (void)kill(child, SIGKILL);
    outcome = wait_for(child);
    if ((WIFEXITED(outcome) && WEXITSTATUS(outcome) != 0) ||
        (WIFSIGNALED(outcome) && WTERMSIG(outcome) != SIGKILL))
        pt_test_fail(__FILE__, __LINE__,
                     "the child process failed before it was killed "
                     "(wait status %#x)",
                     (unsigned)outcome);
}

bool pt_pipe_write(int fd, const void *message, size_t size)
{
    const char *bytes = message;
    size_t done = 0;

    while (done < size) {
        ssize_t count = write(fd, bytes + done, size - done);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        done += (size_t)count;
    }
    return true;
}

bool pt_pipe_read(int fd, void *message, size_t size)
{
    char *bytes = message;
    size_t done = 0;

    while (done < size) {
        ssize_t count = read(fd, bytes + done, size - done);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        done += (size_t)count;
    }
    return true;
}

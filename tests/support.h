/*
 * What the black-box tests share: a seed that is printed, dice, values that need not be kept to be
 * compared, a directory of the test's own, child processes, and requirements that may fail in any
 * thread and any process.
 */
#ifndef PEAT_TESTS_SUPPORT_H
#define PEAT_TESTS_SUPPORT_H

#include "core/peat.h"

#include <sys/types.h>

/* First in main(), before cmocka runs: makes the calling thread the one that cmocka's failures may
 * unwind, and the output whole lines. After PEAT_TIMEOUT seconds SIGALRM ends the program; before that it
 * and its child processes tell where their main threads are, on standard error. */
void pt_test_start(void);

/* Last in main(): removes the directory of pt_test_path(), unless PEAT_KEEP is set. */
void pt_test_end(void);

/* Words for failures in this thread, and for a hang in the main one: where a random test stands ("seed 7, step 12"). */
void pt_test_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* From now on a failure ends the process with a signal, in every thread. */
void pt_test_failures_abort(void);

/* Report and fail: through cmocka in the main thread, by ending the process elsewhere. */
_Noreturn void pt_test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define PT_REQUIRE(condition)                                                  \
    do {                                                                       \
        if (!(condition))                                                      \
            pt_test_fail(__FILE__, __LINE__, "does not hold: %s", #condition); \
    } while (0)

/* The call gives this status; else its name and peat_last_error() are printed. */
#define PT_REQUIRE_STATUS(call, expected) \
    pt_test_require_status((call), (expected), #call, __FILE__, __LINE__)
#define PT_REQUIRE_OK(call) PT_REQUIRE_STATUS(call, PEAT_OK)
void pt_test_require_status(enum peat_status status, enum peat_status expected, const char *call,
                            const char *file, int line);

/* Whether a sanitizer watches: it has memory and address space of its own, whose bounds mean nothing. */
bool pt_test_is_sanitized(void);

/* The number in environment variable @p name, or @p otherwise. */
uint64_t pt_test_number(const char *name, uint64_t otherwise);

/* PEAT_SEED, or one from the clock; printed, so that a failure can be repeated. */
uint64_t pt_test_seed(void);

/* Dice with a known seed. */
struct pt_dice {
    uint64_t state;
};

uint64_t pt_dice_next(struct pt_dice *dice);
uint64_t pt_dice_below(struct pt_dice *dice, uint64_t bound); /* 0 to bound - 1; bound above 0 */
bool pt_dice_one_in(struct pt_dice *dice, uint64_t chance);

/* A 64-bit mixing of @p value: equal inputs give equal outputs, neighbours far ones. */
uint64_t pt_mix(uint64_t value);

/* The @p size bytes that @p seed stands for. */
void pt_value_fill(uint64_t seed, void *data, size_t size);
/* Are @p value the bytes that @p seed stands for? */
bool pt_value_matches(uint64_t seed, struct peat_bytes value);

/* Go on with fingerprint @p start over the bytes of @p piece and their number. */
uint64_t pt_fingerprint(uint64_t start, struct peat_bytes piece);

struct peat_bytes pt_text(const char *text); /* the characters without the NUL */
bool pt_same(struct peat_bytes a, struct peat_bytes b);

/* The file @p name in a directory of this test program's own; static until the next call. */
const char *pt_test_path(const char *name);
/* Files there whose names contain @p part. */
unsigned pt_test_file_count(const char *part);

/* Defaults with @p flags and an address space that every sanitizer grants. */
struct peat_options pt_test_options(unsigned flags);
/* A backup of what is newest into the file @p path: of what is not in the backup @p since, if that is not NULL. */
enum peat_status pt_test_backup(struct peat_db *db, const char *path, const char *since);

/* Small write buffers, so that a few megabytes go through seals, flushes and merges. */
void pt_test_options_tiny(struct peat_options *options);
/* A new store with those at pt_test_path(@p name), made in place of one that is there; @p flags beside
 * PEAT_CREATE. */
struct peat_db *pt_test_store_make(const char *name, unsigned flags);

/* At rest, once nothing is freed and yet not free. The merger is at rest before the log has made its next region, whose space
 * is neither free nor the log's meanwhile. */
struct peat_stats pt_test_stats_at_rest(struct peat_db *db);

/* Put into the root. */
void pt_test_put(struct peat_db *db, const char *key, const char *value);
struct peat_position pt_test_position(struct peat_db *db);
/* Change a bit of the first place in the file @p path that has @p bytes, which must be there. */
void pt_test_spoil(const char *path, struct peat_bytes bytes);

/* Microseconds of a steady clock. */
uint64_t pt_test_now_us(void);

/* End this process at once, as _exit() does, after all output; in a coverage build after its counters. */
_Noreturn void pt_test_exit(int code);

/* Run @p body in a child process, which ends after it and dies with this one. */
pid_t pt_child_start(void (*body)(void *context), void *context);
/* Wait for its end, which must be a good one. */
void pt_child_join(pid_t child);
/* It must not have ended yet: for loops that wait for what it does. */
void pt_child_check(pid_t child);
/* SIGKILL it and wait; it must not have failed before. */
void pt_child_kill(pid_t child);

/* Whole messages through pipes; false where the other end is gone. */
bool pt_pipe_write(int fd, const void *message, size_t size);
bool pt_pipe_read(int fd, void *message, size_t size);

#endif

/* How peat reports failure: one status per call, words with their origin line per thread. */
#ifndef PEAT_CORE_BASE_STATUS_H
#define PEAT_CORE_BASE_STATUS_H

#include "core/peat.h"

/*
 * Record @p status with its origin and words for peat_last_error(), and return it. Called at the
 * place that first sees an error, nowhere above it: everyone above passes the status on. The one
 * place for a breakpoint.
 */
#define pt_fail(status, ...) pt_fail_at(__FILE__, __LINE__, (status), __VA_ARGS__)

/* The same for a system call that failed: picks the status for @p error_number (an errno value)
 * and ends the words with its text. */
#define pt_fail_errno(error_number, ...) \
    pt_fail_errno_at(__FILE__, __LINE__, (error_number), __VA_ARGS__)

enum peat_status pt_fail_at(const char *file, int line, enum peat_status status, const char *format,
                            ...) __attribute__((format(printf, 4, 5), cold));
enum peat_status pt_fail_errno_at(const char *file, int line, int error_number, const char *format,
                                  ...) __attribute__((format(printf, 4, 5), cold));

/* Hand on a failure that another thread recorded: @p words are its peat_last_error(), origin and all. */
enum peat_status pt_fail_passed_on(enum peat_status status, const char *words);

/* How often this thread has failed: tells whether something else did since. */
uint64_t pt_failure_count(void);

/* What an errno value means in peat's terms: ENOSPC is PEAT_NO_SPACE, most others PEAT_IO. */
enum peat_status pt_status_of_errno(int error_number);

/* The caller gave NULL where peat.h does not allow it: at the top of a public call. PEAT_INVALID. */
#define pt_fail_null() pt_fail(PEAT_INVALID, "%s() was given NULL", __func__)

/*
 * A promise of peat's own. Stays on in release: in a store a stopped program beats a wrong file.
 * Bytes from outside are checked and reported instead.
 */
#define PT_ASSERT(condition)                             \
    do {                                                 \
        if (__builtin_expect(!(condition), 0))           \
            pt_panic_at(__FILE__, __LINE__, #condition); \
    } while (0)

_Noreturn void pt_panic_at(const char *file, int line, const char *condition) __attribute__((cold));

#endif

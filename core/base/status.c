#include "core/base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_SIZE_MAX = 512 };

static _Thread_local char last_error[ERROR_SIZE_MAX];
static _Thread_local uint64_t failure_count;
static void (*_Atomic panic_callback)(const char *message);

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash == NULL ? file : slash + 1;
}

/* Write "words (STATUS at file:line)"; long words are cut, the origin never. */
static void record(const char *file, int line, enum peat_status status, const char *words)
{
    char origin[96];

    failure_count++;
    (void)snprintf(origin, sizeof(origin), " (%s at %s:%d)", peat_status_name(status),
                   base_name(file), line);
    (void)snprintf(last_error, sizeof(last_error), "%.*s%s",
                   (int)(sizeof(last_error) - strlen(origin) - 1), words, origin);
}

enum peat_status pt_fail_at(const char *file, int line, enum peat_status status, const char *format,
                            ...)
{
    char words[ERROR_SIZE_MAX];
    va_list arguments;

    PT_ASSERT(status != PEAT_OK);
    va_start(arguments, format);
    (void)vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    record(file, line, status, words);
    return status;
}

enum peat_status pt_fail_errno_at(const char *file, int line, int error_number, const char *format,
                                  ...)
{
    enum peat_status status = pt_status_of_errno(error_number);
    char words[ERROR_SIZE_MAX];
    char reason[128];
    size_t used;
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    used = strlen(words);
    (void)snprintf(words + used, sizeof(words) - used, ": %s",
                   strerror_r(error_number, reason, sizeof(reason)));
    record(file, line, status, words);
    return status;
}

enum peat_status pt_fail_passed_on(enum peat_status status, const char *words)
{
    PT_ASSERT(status != PEAT_OK);
    (void)snprintf(last_error, sizeof(last_error), "%s", words);
    failure_count++;
    return status;
}

uint64_t pt_failure_count(void)
{
    return failure_count;
}

enum peat_status pt_status_of_errno(int error_number)
{
    switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* RLIMIT_FSIZE, or the filesystem's largest file */
        return PEAT_NO_SPACE;
    case ENOMEM:
        return PEAT_NO_MEMORY;
    case EACCES:
    case EPERM:
    case EROFS:
        return PEAT_DENIED;
    case ENOENT:
        return PEAT_NOT_FOUND;
    case EEXIST:
        return PEAT_EXISTS;
    default:
        return PEAT_IO;
    }
}

void pt_panic_at(const char *file, int line, const char *condition)
{
    char message[ERROR_SIZE_MAX];
    void (*callback)(const char *) = atomic_load_explicit(&panic_callback, memory_order_acquire);

    (void)snprintf(message, sizeof(message), "peat: %s:%d: broken promise: %s", base_name(file),
                   line, condition);
    (void)fprintf(stderr, "%s\n", message);
    if (callback != NULL)
        callback(message);
    abort();
}

void peat_on_panic(void (*callback)(const char *message))
{
    atomic_store_explicit(&panic_callback, callback, memory_order_release);
}

const char *peat_last_error(void)
{
    return last_error;
}

const char *peat_version(void)
{
    return PEAT_VERSION_STRING;
}

const char *peat_status_name(enum peat_status status)
{
    switch (status) {
    case PEAT_OK:
        return "PEAT_OK";
    case PEAT_NOT_FOUND:
        return "PEAT_NOT_FOUND";
    case PEAT_DONE:
        return "PEAT_DONE";
    case PEAT_CONFLICT:
        return "PEAT_CONFLICT";
    case PEAT_TIMEOUT:
        return "PEAT_TIMEOUT";
    case PEAT_INVALID:
        return "PEAT_INVALID";
    case PEAT_NO_MEMORY:
        return "PEAT_NO_MEMORY";
    case PEAT_NO_SPACE:
        return "PEAT_NO_SPACE";
    case PEAT_IO:
        return "PEAT_IO";
    case PEAT_CORRUPT:
        return "PEAT_CORRUPT";
    case PEAT_BUSY:
        return "PEAT_BUSY";
    case PEAT_NOT_WRITABLE:
        return "PEAT_NOT_WRITABLE";
    case PEAT_VERSION:
        return "PEAT_VERSION";
    case PEAT_POISONED:
        return "PEAT_POISONED";
    case PEAT_TOO_LARGE:
        return "PEAT_TOO_LARGE";
    case PEAT_EXISTS:
        return "PEAT_EXISTS";
    case PEAT_GAP:
        return "PEAT_GAP";
    case PEAT_UNSUPPORTED:
        return "PEAT_UNSUPPORTED";
    case PEAT_DENIED:
        return "PEAT_DENIED";
    case PEAT_FENCED:
        return "PEAT_FENCED";
    }
    return "unknown status";
}

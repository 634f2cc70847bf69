#include "tools/complain.h"

#include "tools/progress.h"

#include <stdarg.h>
#include <stdio.h>

static const char *command_name;

/* What a person can do about a status. Statuses without an entry speak for themselves. */
static const struct {
    enum peat_status status;
    const char *words;
} remedies[] = {
    {PEAT_BUSY, "wait until that process ends, or use a command that only reads"},
    {PEAT_NO_SPACE, "make room on that disk and run this again; what was committed is kept"},
    {PEAT_CORRUPT, "'peat check' says what is hit; the rest can still be read"},
    {PEAT_VERSION, "use a newer peat"},
    {PEAT_POISONED, "look at the disk, then run this again"},
    {PEAT_FENCED, "have it follow the store that goes on: 'peat follow'"},
    {PEAT_NO_MEMORY, "make memory available, or use smaller batches"},
};

void pt_complain_as(const char *command)
{
    command_name = command;
}

/* Other threads' lines come before or after, whole. */
static void complain_start(const char *subject)
{
    flockfile(stderr);
    pt_progress_wipe();
    (void)fputs("peat", stderr);
    if (command_name != NULL)
        (void)fprintf(stderr, " %s", command_name);
    if (subject != NULL)
        (void)fprintf(stderr, ": %s", subject);
    (void)fputs(": ", stderr);
}

static void complain_end(void)
{
    (void)fputc('\n', stderr);
    funlockfile(stderr);
}

void pt_complain(const char *subject, const char *format, ...)
{
    va_list arguments;

    complain_start(subject);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    complain_end();
}

enum pt_exit pt_complain_status(const char *subject, enum peat_status status)
{
    const char *words = peat_last_error();

    complain_start(subject);
    (void)fputs(words[0] != '\0' ? words : peat_status_name(status), stderr);
    for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++) {
        if (remedies[i].status == status)
            (void)fprintf(stderr, "; %s", remedies[i].words);
    }
    complain_end();
    return status == PEAT_CORRUPT ? PT_EXIT_DAMAGE : PT_EXIT_ERROR;
}

enum pt_exit pt_complain_usage(const char *format, ...)
{
    va_list arguments;

    complain_start(NULL);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\nTry 'peat help%s%s'.", command_name == NULL ? "" : " ",
                  command_name == NULL ? "" : command_name);
    complain_end();
    return PT_EXIT_USAGE;
}

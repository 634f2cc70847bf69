/* How the command says that something went wrong: one line on standard error, one exit code. */
#ifndef PEAT_TOOLS_COMPLAIN_H
#define PEAT_TOOLS_COMPLAIN_H

#include "core/peat.h"

/* The exit codes, and the outcome of every step of a command: a step that gives anything but
 * PT_EXIT_DONE has already said why. */
enum pt_exit {
    PT_EXIT_DONE = 0,
    PT_EXIT_NOT_FOUND = 1,
    PT_EXIT_DIFFERENT = 1, /* of what was compared */
    PT_EXIT_USAGE = 2,
    PT_EXIT_ERROR = 3,
    PT_EXIT_DAMAGE = 4
};

/* Whose complaints follow; borrowed. */
void pt_complain_as(const char *command);

/* "peat COMMAND: SUBJECT: words". @p subject is the file it is about, or NULL. */
void pt_complain(const char *subject, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* Say what the library reported for @p subject with a remedy, if there is one, and give the exit
 * code: PT_EXIT_DAMAGE for PEAT_CORRUPT, else PT_EXIT_ERROR. */
enum pt_exit pt_complain_status(const char *subject, enum peat_status status);

/* A mistake in the command line: words, and where to read more. Gives PT_EXIT_USAGE. */
enum pt_exit pt_complain_usage(const char *format, ...) __attribute__((format(printf, 1, 2), cold));

#endif

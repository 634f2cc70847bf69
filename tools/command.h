/* The subcommands, and what they share in reading their command lines. */
#ifndef PEAT_TOOLS_COMMAND_H
#define PEAT_TOOLS_COMMAND_H

#include "tools/complain.h"
#include "tools/textbuf.h"

#include <getopt.h>

struct pt_command {
    const char *name;
    const char *summary; /* a line for 'peat help' */
    const char *help;    /* the whole text of 'peat help COMMAND'; starts with the usage */
    /* argv[0] is the command's name. Standard output is closed by the caller. */
    enum pt_exit (*run)(int argc, char **argv);
};

extern const struct pt_command pt_command_load;
extern const struct pt_command pt_command_dump;
extern const struct pt_command pt_command_get;
extern const struct pt_command pt_command_put;
extern const struct pt_command pt_command_delete;
extern const struct pt_command pt_command_scan;
extern const struct pt_command pt_command_stat;
extern const struct pt_command pt_command_check;
extern const struct pt_command pt_command_compact;
extern const struct pt_command pt_command_backup;
extern const struct pt_command pt_command_restore;
extern const struct pt_command pt_command_salvage;
extern const struct pt_command pt_command_digest;
extern const struct pt_command pt_command_history;
extern const struct pt_command pt_command_revert;
extern const struct pt_command pt_command_diff;
extern const struct pt_command pt_command_feed;
extern const struct pt_command pt_command_keygen;
extern const struct pt_command pt_command_serve;
extern const struct pt_command pt_command_follow;
extern const struct pt_command pt_command_promote;
extern const struct pt_command pt_command_status;
extern const struct pt_command pt_command_verify;
extern const struct pt_command pt_command_torture;
extern const struct pt_command pt_command_help;

/* All of them in the order of 'peat help', ended with NULL. */
extern const struct pt_command *const pt_commands[];

/* The command of that name; NULL: there is none. */
const struct pt_command *pt_command_find(const char *name);

/* The code of "help" in a command's options; pt_command_option() handles it. */
enum { PT_OPTION_HELP = 1000, PT_OPTION_BAD, PT_OPTION_HELPED, PT_OPTION_FILE_SIZE };

/*
 * The next option, as getopt_long() gives it; -1 after the last. PT_OPTION_BAD: it was wrong and
 * complained about, the command ends with PT_EXIT_USAGE. PT_OPTION_HELPED: the command's help was
 * written, it ends with PT_EXIT_DONE.
 */
int pt_command_option(const struct pt_command *command, int argc, char **argv, const char *letters,
                      const struct option *options);

/* Whether between @p min and @p max arguments are left; else complains. */
bool pt_command_arguments(int argc, int min, int max);

/* Read a whole number from @p text; false: it is none, complained about as the value of @p what. */
bool pt_command_number(const char *what, const char *text, uint64_t min, uint64_t max,
                       uint64_t *number_out);

/* Read the value of --file-size-max. */
bool pt_command_file_size(const char *text, uint64_t *size_out);

/* Read memory, os, disk or replicas, at most @p max: PEAT_DISK or PEAT_REPLICAS. */
bool pt_command_durability(const char *text, enum peat_durability max,
                           enum peat_durability *durability_out);

/* Set @p bytes to @p text, or, if @p is_hex, to what its hexadecimal digits stand for; complains
 * where that fails. @p bytes is initialized here; release with pt_textbuf_fini(). */
bool pt_command_bytes(const char *text, bool is_hex, struct pt_textbuf *bytes);

#endif

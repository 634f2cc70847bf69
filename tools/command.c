#include "tools/command.h"

#include "tools/coding.h"
#include "tools/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_SIZE_MIN = 1 << 20 /* bytes: peat_open() takes no less */ };

const struct pt_command *const pt_commands[] = {
    &pt_command_load,
    &pt_command_dump,
    &pt_command_get,
    &pt_command_put,
    &pt_command_delete,
    &pt_command_scan,
    &pt_command_stat,
    &pt_command_check,
    &pt_command_compact,
    &pt_command_backup,
    &pt_command_restore,
    &pt_command_salvage,
    &pt_command_digest,
    &pt_command_history,
    &pt_command_revert,
    &pt_command_diff,
    &pt_command_feed,
    &pt_command_keygen,
    &pt_command_serve,
    &pt_command_follow,
    &pt_command_promote,
    &pt_command_status,
    &pt_command_verify,
    &pt_command_torture,
    &pt_command_help,
    NULL,
};

const struct pt_command *pt_command_find(const char *name)
{
    for (size_t i = 0; pt_commands[i] != NULL; i++) {
        if (strcmp(pt_commands[i]->name, name) == 0)
            return pt_commands[i];
    }
    return NULL;
}

int pt_command_option(const struct pt_command *command, int argc, char **argv, const char *letters,
                      const struct option *options)
{
    int code;

    opterr = 0;
    code = getopt_long(argc, argv, letters, options, NULL);
    if (code == PT_OPTION_HELP) {
        pt_output_string(command->help);
        return PT_OPTION_HELPED;
    }
    if (code != '?' && code != ':')
        return code;
    /* What getopt leaves of a wrong option: optopt is 0 for a long one that it does not know, else
     * the letter; only an unknown letter may stand inside a word that is not taken yet. */
    if (code == ':')
        (void)pt_complain_usage("option %s needs a value", argv[optind - 1]);
    else if (optopt != 0 && optopt < 128 && strchr(letters, optopt) == NULL)
        (void)pt_complain_usage("no option -%c", optopt);
    else if (optopt == 0)
        (void)pt_complain_usage("no option %s, or several that start so", argv[optind - 1]);
    else
        (void)pt_complain_usage("option %s takes no value", argv[optind - 1]);
    return PT_OPTION_BAD;
}

bool pt_command_arguments(int argc, int min, int max)
{
    int count = argc - optind;

    if (count >= min && count <= max)
        return true;
    (void)pt_complain_usage(count < min ? "something is missing behind the command"
                                        : "there is too much behind the command");
    return false;
}

bool pt_command_number(const char *what, const char *text, uint64_t min, uint64_t max,
                       uint64_t *number_out)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && number >= min &&
        number <= max) {
        *number_out = number;
        return true;
    }
    (void)pt_complain_usage("%s takes a whole number from %llu on, not '%s'", what,
                            (unsigned long long)min, text);
    return false;
}

bool pt_command_file_size(const char *text, uint64_t *size_out)
{
    return pt_command_number("--file-size-max", text, FILE_SIZE_MIN, UINT64_MAX, size_out);
}

bool pt_command_durability(const char *text, enum peat_durability max,
                           enum peat_durability *durability_out)
{
    static const struct {
        const char *name;
        enum peat_durability durability;
    } levels[] = {
        {"memory", PEAT_MEMORY}, {"os", PEAT_OS}, {"disk", PEAT_DISK}, {"replicas", PEAT_REPLICAS}};

    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (levels[i].durability <= max && strcmp(levels[i].name, text) == 0) {
            *durability_out = levels[i].durability;
            return true;
        }
    }
    (void)pt_complain_usage(
        "--durability takes %s, not '%s'",
        max == PEAT_REPLICAS ? "memory, os, disk or replicas" : "memory, os or disk", text);
    return false;
}

bool pt_command_bytes(const char *text, bool is_hex, struct pt_textbuf *bytes)
{
    pt_textbuf_init(bytes, PEAT_VALUE_SIZE_MAX);
    pt_textbuf_append_string(bytes, text);
    if (bytes->status != PEAT_OK) {
        pt_complain(NULL, "no memory for an argument");
        return false;
    }
    if (!is_hex || pt_hex_decode(bytes))
        return true;
    (void)pt_complain_usage("'%s' is not hexadecimal", text);
    return false;
}

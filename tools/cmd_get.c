#include "tools/coding.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/target.h"

#include <unistd.h>

struct get_options {
    const char *path; /* of the collection, or NULL */
    const char *at;   /* the kept state, or NULL */
    bool is_hex;
    bool with_newline;
};

static void value_write(const struct get_options *options, struct peat_bytes value)
{
    if (options->is_hex)
        pt_hex_write(value);
    else
        pt_output_write(value.data, value.size);
    if (options->is_hex || options->with_newline || isatty(STDOUT_FILENO) == 1)
        pt_output_byte('\n');
}

static enum pt_exit get(const struct get_options *options, const char *store, const char *word)
{
    struct pt_target target = {0};
    struct pt_textbuf key;
    struct peat_bytes value;
    enum peat_status status;
    enum pt_exit outcome = PT_EXIT_USAGE;

    if (!pt_command_bytes(word, options->is_hex, &key))
        goto done;
    outcome = pt_target_open_at(&target, store, options->path, options->at);
    if (outcome != PT_EXIT_DONE)
        goto done;
    status = peat_get(target.snapshot, target.collection, pt_textbuf_bytes(&key), &value);
    if (status == PEAT_OK) {
        value_write(options, value);
        /* Before the snapshot that the value belongs to is closed: it may not have been copied. */
        pt_output_flush();
    } else if (status == PEAT_NOT_FOUND) {
        pt_complain(store, "no key '%s'", word);
        outcome = PT_EXIT_NOT_FOUND;
    } else {
        outcome = pt_complain_status(store, status);
    }
done:
    pt_textbuf_fini(&key);
    return pt_target_close(&target, outcome);
}

static enum pt_exit get_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"at", required_argument, NULL, 'a'},
                                                 {"collection", required_argument, NULL, 'c'},
                                                 {"hex", no_argument, NULL, 'x'},
                                                 {"newline", no_argument, NULL, 'n'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    struct get_options options = {0};
    int code;

    while ((code = pt_command_option(&pt_command_get, argc, argv, ":a:c:xn", long_options)) != -1) {
        if (code == 'c')
            options.path = optarg;
        else if (code == 'a')
            options.at = optarg;
        else if (code == 'x')
            options.is_hex = true;
        else if (code == 'n')
            options.with_newline = true;
        else
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 2, 2))
        return PT_EXIT_USAGE;
    return get(&options, argv[optind], argv[optind + 1]);
}

const struct pt_command pt_command_get = {
    .name = "get",
    .summary = "write the value of a key",
    .help = "usage: peat get [OPTION]... STORE KEY\n"
            "\n"
            "Write the value of KEY to standard output: its bytes and nothing else, but with a\n"
            "newline behind them on a terminal. Exit code 1: there is no such key.\n"
            "\n"
            "  -a, --at STATE         as of a kept state: its name, number or commit\n"
            "  -c, --collection PATH  in this collection (names with '/' between them)\n"
            "  -x, --hex              KEY is hexadecimal, and so is what is written\n"
            "  -n, --newline          write a newline behind the value\n",
    .run = get_run,
};

#include "tools/command.h"
#include "tools/load_work.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_COUNT_MAX = 1000000000 };

struct load_options {
    struct pt_load_options load;
    const char *path;       /* of the collection, or NULL */
    uint64_t file_size_max; /* bytes; 0: any */
};

/* One option into @p options; false: its value is wrong and complained about. */
static bool option_take(struct load_options *options, int code)
{
    switch (code) {
    case 'b':
        return pt_command_number("--batch", optarg, 1, BATCH_COUNT_MAX, &options->load.batch_count);
    case 'c':
        options->path = optarg;
        return true;
    case 'd':
        return pt_command_durability(optarg, PEAT_DISK, &options->load.durability);
    case 'f':
        return pt_load_format_take(&options->load, optarg);
    case PT_OPTION_FILE_SIZE:
        return pt_command_file_size(optarg, &options->file_size_max);
    case 'k':
        options->load.is_skipping = true;
        return true;
    case 'r':
        options->load.is_report = true;
        return true;
    case 'v':
        options->load.is_verbose = true;
        return true;
    default:
        return false;
    }
}

static enum pt_exit load_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"batch", required_argument, NULL, 'b'},
        {"collection", required_argument, NULL, 'c'},
        {"durability", required_argument, NULL, 'd'},
        {"format", required_argument, NULL, 'f'},
        {"report", no_argument, NULL, 'r'},
        {"skip-bad", no_argument, NULL, 'k'},
        {"verbose", no_argument, NULL, 'v'},
        {"file-size-max", required_argument, NULL, PT_OPTION_FILE_SIZE},
        {"help", no_argument, NULL, PT_OPTION_HELP},
        {0}};
    struct load_options options = {.load = PT_LOAD_OPTIONS_DEFAULT};
    struct pt_load_work *work;
    enum pt_exit outcome;
    int code;

    while ((code = pt_command_option(&pt_command_load, argc, argv, ":b:c:d:f:rkv", long_options)) !=
           -1) {
        if (code == PT_OPTION_HELPED)
            return PT_EXIT_DONE;
        if (!option_take(&options, code))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, argc))
        return PT_EXIT_USAGE;
    work = calloc(1, sizeof(*work)); /* the cache is large for a stack */
    if (work == NULL)
        return pt_complain_status(NULL, PEAT_NO_MEMORY);
    work->options = &options.load;
    outcome = pt_target_open_write(&work->target, argv[optind], options.path, PEAT_CREATE,
                                   options.file_size_max);
    if (outcome == PT_EXIT_DONE)
        outcome = pt_load_files(work, argc - optind - 1, argv + optind + 1);
    outcome = pt_load_finish(work, outcome);
    free(work);
    return outcome;
}

const struct pt_command pt_command_load = {
    .name = "load",
    .summary = "read entries from text into the store",
    .help =
        "usage: peat load [OPTION]... STORE [FILE]...\n"
        "\n"
        "Put the entries of each FILE ('-' or none: standard input) into STORE, which is created\n"
        "if it does not exist. A key that is there already gets the new value.\n"
        "\n"
        "  -f, --format FORMAT     tsv:    key, tab, value, with escapes \\t \\n \\\\ \\xHH\n"
        "                          json:   an object on each line, "
        "{\"key\":\"k\",\"value\":\"v\"}\n"
        "                          dump:   what mdb_dump and db_dump write\n"
        "                          deb822: Debian's Packages files; the key is the package's\n"
        "                                  name, a space and its version, the value the stanza\n"
        "                          Without it, the first line decides.\n"
        "  -b, --batch N           entries in a commit (1000); fewer where values are large\n"
        "  -d, --durability LEVEL  what each commit survives: memory (nothing yet), os (the end\n"
        "                          of the process; the default), disk (a power cut)\n"
        "      --file-size-max N   let the store grow to N bytes at most\n"
        "  -c, --collection PATH   into this collection (names with '/' between them)\n"
        "  -k, --skip-bad          leave records out that are wrong, instead of stopping\n"
        "  -r, --report            after each commit write how many entries are committed\n"
        "  -v, --verbose           say at the end how much was loaded and how fast; on a\n"
        "                          terminal that and the progress are shown anyway\n"
        "\n"
        "peat-text(5) describes the formats.\n",
    .run = load_run,
};

#include "tools/backup_report.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/target.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the command line asks for. */
struct wish {
    const char *store;
    const char *at;     /* the kept state, or NULL */
    const char *file;   /* "-": standard output */
    const char **since; /* owned list */
    size_t since_count;
    bool replace;
    bool is_json;
    bool is_quiet;
};

static bool bytes_take(void *context, const void *data, size_t size)
{
    (void)context;
    pt_output_write(data, size);
    return !pt_output_failed();
}

static void options_fill(const struct wish *wish, struct pt_progress *progress,
                         struct peat_backup_options *options)
{
    peat_backup_options_init(options);
    if (strcmp(wish->file, "-") == 0)
        options->write = bytes_take;
    else
        options->path = wish->file;
    options->flags = wish->replace ? PEAT_REPLACE : 0;
    options->since = wish->since;
    options->since_count = wish->since_count;
    options->progress = pt_backup_progress;
    options->context = progress;
}

static enum pt_exit backup_failed(const struct wish *wish, enum peat_status status)
{
    if (status == PEAT_DONE) /* stopped */
        return PT_EXIT_ERROR;
    if (pt_output_failed()) /* what ends the command says so */
        return PT_EXIT_DONE;
    if (status == PEAT_NOT_FOUND) {
        pt_complain(NULL, "%s", peat_last_error());
        return PT_EXIT_ERROR;
    }
    return pt_complain_status(wish->store, status);
}

static enum pt_exit backup(const struct wish *wish)
{
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    struct peat_backup_options options;
    struct pt_target target = {0};
    struct pt_progress progress;
    enum peat_status status;
    enum pt_exit outcome = pt_target_open_at(&target, wish->store, NULL, wish->at);

    if (outcome != PT_EXIT_DONE)
        goto done;
    pt_progress_init(&progress, NULL, 0);
    options_fill(wish, &progress, &options);
    status = peat_backup(target.db, target.snapshot, &options, &info);
    pt_progress_wipe();
    if (status != PEAT_OK) {
        outcome = backup_failed(wish, status);
        goto done;
    }
    if (!wish->is_quiet)
        pt_backup_summary(&progress, &info);
    if (wish->is_json)
        pt_backup_json_write(&info);
    else if (options.path != NULL)
        pt_backup_digest_write(info.digest, wish->file);
done:
    return pt_target_close(&target, outcome);
}

static enum pt_exit wish_check(const struct wish *wish)
{
    bool is_stream = strcmp(wish->file, "-") == 0;

    if (is_stream && wish->is_json)
        return pt_complain_usage("--json writes to standard output, where the backup goes");
    if (is_stream && wish->replace)
        return pt_complain_usage("--replace is for a file");
    if (is_stream && isatty(STDOUT_FILENO) == 1)
        return pt_complain_usage("standard output is a terminal: a backup is not to be read there");
    return PT_EXIT_DONE;
}

static enum pt_exit backup_read(struct wish *wish, int argc, char **argv)
{
    static const struct option long_options[] = {{"at", required_argument, NULL, 'a'},
                                                 {"since", required_argument, NULL, 's'},
                                                 {"replace", no_argument, NULL, 'r'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"quiet", no_argument, NULL, 'q'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    enum pt_exit outcome;
    int code;

    while ((code = pt_command_option(&pt_command_backup, argc, argv, ":a:s:rjq", long_options)) !=
           -1) {
        if (code == 's')
            wish->since[wish->since_count++] = optarg;
        else if (code == 'a')
            wish->at = optarg;
        else if (code == 'r')
            wish->replace = true;
        else if (code == 'j')
            wish->is_json = true;
        else if (code == 'q')
            wish->is_quiet = true;
        else
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 2, 2))
        return PT_EXIT_USAGE;
    wish->store = argv[optind];
    wish->file = argv[optind + 1];
    outcome = wish_check(wish);
    if (outcome != PT_EXIT_DONE)
        return outcome;
    pt_interrupt_catch();
    outcome = backup(wish);
    pt_interrupt_obey();
    return outcome;
}

static enum pt_exit backup_run(int argc, char **argv)
{
    struct wish wish = {.since = calloc((size_t)argc, sizeof(const char *))};
    enum pt_exit outcome = PT_EXIT_ERROR;

    if (wish.since == NULL)
        pt_complain(NULL, "no memory for the arguments");
    else
        outcome = backup_read(&wish, argc, argv);
    free(wish.since);
    return outcome;
}

const struct pt_command pt_command_backup = {
    .name = "backup",
    .summary = "write a verified, compacted copy, or what changed since one",
    .help =
        "usage: peat backup [OPTION]... STORE FILE\n"
        "       peat backup [OPTION]... STORE - > FILE\n"
        "\n"
        "Write the newest state of STORE, also while another process writes to it, into a file of\n"
        "its own, and its digest to standard output. The file is a store: it can be opened as it\n"
        "is. It appears when it is whole, verified and on disk. With - it goes to standard "
        "output,\n"
        "for a pipe, and the store is read twice.\n"
        "\n"
        "  -s, --since BACKUP  write only what changed since this backup; 'peat restore' makes a\n"
        "                      store of both. To go on from an increment, give the full backup "
        "and\n"
        "                      all increments up to it, in order: -s FULL -s FIRST -s SECOND\n"
        "  -a, --at STATE      as of a kept state: its name, number or commit\n"
        "  -r, --replace       replace FILE in one step, if it is there\n"
        "  -j, --json          write one JSON object instead of the digest\n"
        "  -q, --quiet         say nothing on standard error\n",
    .run = backup_run,
};

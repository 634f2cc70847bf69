#include "tools/backup_report.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/output.h"

static enum pt_exit restore(const char *store, char *const *backups, size_t count, bool is_json,
                            bool is_quiet)
{
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    struct pt_progress progress;
    enum peat_status status;

    pt_progress_init(&progress, NULL, 0);
    status = peat_restore(store, (const char *const *)backups, count, pt_backup_progress, &progress,
                          &info);
    pt_progress_wipe();
    if (status == PEAT_DONE) /* stopped */
        return PT_EXIT_ERROR;
    if (status != PEAT_OK) { /* the words name the file */
        pt_complain(NULL, "%s", peat_last_error());
        return status == PEAT_CORRUPT ? PT_EXIT_DAMAGE : PT_EXIT_ERROR;
    }
    if (!is_quiet)
        pt_backup_summary(&progress, &info);
    if (is_json)
        pt_backup_json_write(&info);
    else
        pt_backup_digest_write(info.digest, store);
    return PT_EXIT_DONE;
}

static enum pt_exit restore_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"json", no_argument, NULL, 'j'},
                                                 {"quiet", no_argument, NULL, 'q'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    bool is_json = false;
    bool is_quiet = false;
    enum pt_exit outcome;
    int code;

    while ((code = pt_command_option(&pt_command_restore, argc, argv, ":jq", long_options)) != -1) {
        if (code == 'j')
            is_json = true;
        else if (code == 'q')
            is_quiet = true;
        else
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 2, argc))
        return PT_EXIT_USAGE;
    pt_interrupt_catch();
    outcome =
        restore(argv[optind], argv + optind + 1, (size_t)(argc - optind - 1), is_json, is_quiet);
    pt_interrupt_obey();
    return outcome;
}

const struct pt_command pt_command_restore = {
    .name = "restore",
    .summary = "make a store of a backup and its increments",
    .help =
        "usage: peat restore [OPTION]... STORE BACKUP [INCREMENT]...\n"
        "\n"
        "Make the file STORE of a full backup and the increments that follow it, oldest first,\n"
        "and write its digest, which is that of what was backed up. Everything is verified; the\n"
        "file appears when it is whole and on disk. STORE must not exist.\n"
        "\n"
        "  -j, --json   write one JSON object instead of the digest\n"
        "  -q, --quiet  say nothing on standard error\n",
    .run = restore_run,
};

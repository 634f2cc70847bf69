#include "tools/backup_report.h"
#include "tools/coding.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/target.h"

#include <inttypes.h>

static enum pt_exit digest_show(const char *store, const char *at, bool is_json)
{
    struct pt_target target = {0};
    struct pt_progress progress;
    uint8_t digest[32];
    uint64_t entry_count;
    enum peat_status status;
    enum pt_exit outcome = pt_target_open_at(&target, store, NULL, at);

    if (outcome != PT_EXIT_DONE)
        goto done;
    pt_progress_init(&progress, NULL, 0);
    status = peat_digest(target.snapshot, pt_backup_progress, &progress, digest, &entry_count);
    pt_progress_wipe();
    if (status == PEAT_DONE) { /* stopped */
        outcome = PT_EXIT_ERROR;
    } else if (status != PEAT_OK) {
        outcome = pt_complain_status(store, status);
    } else if (is_json) {
        pt_output_string("{\"digest\":\"");
        pt_hex_write((struct peat_bytes){digest, sizeof(digest)});
        pt_output_format("\",\"commit\":%" PRIu64 ",\"entry_count\":%" PRIu64 "}\n",
                         peat_snapshot_commit(target.snapshot), entry_count);
    } else {
        pt_backup_digest_write(digest, store);
    }
done:
    return pt_target_close(&target, outcome);
}

static enum pt_exit digest_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"at", required_argument, NULL, 'a'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    const char *at = NULL;
    bool is_json = false;
    enum pt_exit outcome;
    int code;

    while ((code = pt_command_option(&pt_command_digest, argc, argv, ":a:j", long_options)) != -1) {
        if (code == 'j')
            is_json = true;
        else if (code == 'a')
            at = optarg;
        else
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    pt_interrupt_catch();
    outcome = digest_show(argv[optind], at, is_json);
    pt_interrupt_obey();
    return outcome;
}

const struct pt_command pt_command_digest = {
    .name = "digest",
    .summary = "write one number for everything in the store",
    .help = "usage: peat digest [OPTION]... STORE\n"
            "\n"
            "Write a digest of everything that the newest commit shows, all collections, and\n"
            "STORE. Two stores have the same digest if and only if they hold the same: a store,\n"
            "its backup, what was restored from that, and the store after merges and compactions.\n"
            "\n"
            "  -a, --at STATE  as of a kept state: its name, number or commit\n"
            "  -j, --json      write one JSON object, with the commit and the number of entries\n",
    .run = digest_run,
};

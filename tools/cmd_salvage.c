#include "tools/command.h"
#include "tools/human.h"
#include "tools/interrupt.h"
#include "tools/json_write.h"
#include "tools/lost_text.h"
#include "tools/output.h"
#include "tools/progress.h"

#include <inttypes.h>
#include <string.h>

struct salvage_work {
    struct pt_progress progress;
    bool is_json;
    uint64_t lost_count; /* told so far */
};

/* A line for each range in text; in JSON they are members of one array, begun with the first. */
static void lost_show(void *context, const struct peat_lost *lost)
{
    struct salvage_work *work = context;

    pt_progress_wipe();
    if (work->is_json) {
        if (work->lost_count > 0)
            pt_output_byte(',');
        pt_lost_json_write(lost);
    } else {
        pt_output_string("lost: ");
        pt_lost_write(lost);
        pt_output_byte('\n');
    }
    work->lost_count++;
}

static bool progress_show(void *context, uint64_t done, uint64_t total)
{
    struct salvage_work *work = context;

    work->progress.size_expected = total;
    pt_progress_show(&work->progress, 0, done);
    return !pt_interrupt_came() && !pt_output_failed();
}

static void summary_json_write(const struct peat_salvage_info *info)
{
    pt_output_format(
        "],\"lost_count\":%" PRIu64 ",\"generation\":%" PRIu64 ",\"commit\":%" PRIu64
        ",\"entry_count\":%" PRIu64 ",\"file_size\":%" PRIu64 ",\"nameless_count\":%" PRIu64
        ",\"superblocks_damaged\":%s,\"is_older\":%s,\"log_damaged\":%s",
        info->lost_count, info->generation, info->commit, info->entry_count, info->file_size,
        info->nameless_count, info->superblocks_damaged ? "true" : "false",
        info->is_older ? "true" : "false", info->log_damaged ? "true" : "false");
    if (info->log_damaged) {
        pt_output_byte(',');
        pt_json_member_write("log", (struct peat_bytes){info->log_words, strlen(info->log_words)});
    }
    pt_output_string("}\n");
}

static void summary_write(const struct peat_salvage_info *info)
{
    if (info->superblocks_damaged)
        pt_output_format("both superblocks are damaged: the newest state found in the file is that "
                         "of generation %" PRIu64 "\n",
                         info->generation);
    if (info->is_older)
        pt_output_format("the newest manifest is damaged: what was written is the older state of "
                         "generation %" PRIu64 ", and what is in the log behind it\n",
                         info->generation);
    if (info->log_damaged)
        pt_output_format("lost: commits after %" PRIu64 ": %s\n", info->commit, info->log_words);
    if (info->nameless_count > 0)
        pt_output_format("%s without a name: see salvaged-NUMBER in the root\n",
                         pt_human_count(info->nameless_count).text);
    pt_output_format("%s entries as of commit %" PRIu64 " written; ",
                     pt_human_count(info->entry_count).text, info->commit);
    if (info->lost_count == 0)
        pt_output_string("no keys lost\n");
    else
        pt_output_format("%s of keys lost\n", info->lost_count == 1 ? "one range" : "ranges");
}

static enum pt_exit salvage(const char *store, const char *new_store, bool is_json)
{
    struct salvage_work work = {.is_json = is_json};
    struct peat_salvage_info info = {.struct_size = sizeof(info)};
    struct peat_salvage_options options;
    enum peat_status status;

    peat_salvage_options_init(&options);
    options.lost = lost_show;
    options.progress = progress_show;
    options.context = &work;
    pt_progress_init(&work.progress, NULL, 0);
    if (is_json)
        pt_output_string("{\"lost\":[");
    status = peat_salvage(store, new_store, &options, &info);
    pt_progress_wipe();
    if (status == PEAT_OK && is_json)
        summary_json_write(&info);
    else if (status == PEAT_OK)
        summary_write(&info);
    else if (is_json)
        pt_output_string("]}\n");
    if (status == PEAT_DONE) /* stopped */
        return PT_EXIT_ERROR;
    if (status != PEAT_OK) { /* the words name the file */
        pt_complain(NULL, "%s", peat_last_error());
        return status == PEAT_CORRUPT ? PT_EXIT_DAMAGE : PT_EXIT_ERROR;
    }
    return info.lost_count > 0 || info.is_older || info.log_damaged || info.nameless_count > 0
               ? PT_EXIT_DAMAGE
               : PT_EXIT_DONE;
}

static enum pt_exit salvage_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, PT_OPTION_HELP}, {0}};
    bool is_json = false;
    enum pt_exit outcome;
    int code;

    while ((code = pt_command_option(&pt_command_salvage, argc, argv, ":j", long_options)) != -1) {
        if (code != 'j')
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
        is_json = true;
    }
    if (!pt_command_arguments(argc, 2, 2))
        return PT_EXIT_USAGE;
    pt_interrupt_catch();
    outcome = salvage(argv[optind], argv[optind + 1], is_json);
    pt_interrupt_obey();
    return outcome;
}

const struct pt_command pt_command_salvage = {
    .name = "salvage",
    .summary = "write what can be read of a damaged store into a new one",
    .help =
        "usage: peat salvage [OPTION]... STORE NEWSTORE\n"
        "\n"
        "Write everything that verifies of STORE, which is only read and may be damaged anywhere,\n"
        "into the new file NEWSTORE, and a line for each range of keys that is lost. What newer\n"
        "data that is damaged may have deleted or overwritten is lost as well, never brought "
        "back.\n"
        "Exit code 4: something is lost.\n"
        "\n"
        "  -j, --json  write one JSON object instead\n",
    .run = salvage_run,
};

#include "tools/coding.h"
#include "tools/command.h"
#include "tools/human.h"
#include "tools/json_write.h"
#include "tools/lost_text.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/target.h"

#include <inttypes.h>
#include <string.h>

struct check_work {
    struct pt_progress progress;
    uint64_t finding_count;
    uint64_t size; /* bytes verified */
    bool is_json;
};

static void bound_write(struct peat_bytes bound)
{
    if (bound.data == NULL)
        pt_output_byte('-');
    else
        pt_hex_write(bound);
}

/* As a member of the array of findings. */
static void finding_json_write(const struct check_work *work, const struct peat_finding *finding)
{
    if (work->finding_count > 1)
        pt_output_byte(',');
    pt_output_format("{\"offset\":%" PRIu64 ",", finding->offset);
    pt_json_member_write("what", (struct peat_bytes){finding->what, strlen(finding->what)});
    pt_output_string(",\"lost\":[");
    for (size_t i = 0; i < finding->lost_count; i++) {
        if (i > 0)
            pt_output_byte(',');
        pt_lost_json_write(&finding->lost[i]);
    }
    pt_output_string("]}");
}

static void finding_write(void *context, const struct peat_finding *finding)
{
    struct check_work *work = context;

    work->finding_count++;
    pt_progress_wipe();
    if (work->is_json) {
        finding_json_write(work, finding);
        return;
    }
    pt_output_format("offset %" PRIu64 ": ", finding->offset);
    pt_output_string(finding->what);
    if (finding->low.data != NULL || finding->high.data != NULL) {
        pt_output_string("; stored keys ");
        bound_write(finding->low);
        pt_output_string(" to ");
        bound_write(finding->high);
    }
    pt_output_byte('\n');
    for (size_t i = 0; i < finding->lost_count; i++) {
        pt_output_string("  lost: ");
        pt_lost_write(&finding->lost[i]);
        pt_output_byte('\n');
    }
    pt_output_flush();
}

static bool progress_show(void *context, uint64_t done, uint64_t total)
{
    struct check_work *work = context;

    work->progress.size_expected = total;
    work->size = done;
    pt_progress_show(&work->progress, 0, done);
    return !pt_output_failed();
}

static enum pt_exit check(const char *store, bool is_quiet, bool is_json)
{
    struct check_work work = {.is_json = is_json};
    struct pt_target target = {0};
    enum peat_status status;
    enum pt_exit outcome = pt_target_open_read(&target, store, NULL);

    if (outcome != PT_EXIT_DONE)
        goto done;
    pt_progress_init(&work.progress, NULL, 0);
    if (is_json)
        pt_output_string("{\"findings\":[");
    status = peat_check(target.db, finding_write, progress_show, &work);
    pt_progress_wipe();
    if (is_json)
        pt_output_format("],\"size\":%" PRIu64 "}\n", work.size);
    if (status == PEAT_OK) {
        if (!is_quiet && !is_json)
            pt_output_format("no damage; %s verified\n", pt_human_size(work.size).text);
    } else if (status == PEAT_CORRUPT && work.finding_count > 0) {
        if (!is_json)
            pt_output_format("damage in %s %s\n", pt_human_count(work.finding_count).text,
                             work.finding_count == 1 ? "place" : "places");
        outcome = PT_EXIT_DAMAGE;
    } else if (status != PEAT_DONE) { /* it is stopped when standard output has failed */
        outcome = pt_complain_status(store, status);
    }
done:
    return pt_target_close(&target, outcome);
}

static enum pt_exit check_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"json", no_argument, NULL, 'j'},
                                                 {"quiet", no_argument, NULL, 'q'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    bool is_json = false;
    bool is_quiet = false;
    int code;

    while ((code = pt_command_option(&pt_command_check, argc, argv, ":jq", long_options)) != -1) {
        if (code == 'j')
            is_json = true;
        else if (code == 'q')
            is_quiet = true;
        else
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    return check(argv[optind], is_quiet, is_json);
}

const struct pt_command pt_command_check = {
    .name = "check",
    .summary = "verify every byte of the store",
    .help = "usage: peat check [OPTION]... STORE\n"
            "\n"
            "Read and verify every byte in use, and write a line for each place that is damaged:\n"
            "where it is, what is wrong, and which stored keys it hits (in hexadecimal, with the\n"
            "collection's number in front); and which keys of which collections cannot be read\n"
            "because of it. Exit code 4: there is damage.\n"
            "\n"
            "  -j, --json   write one JSON object instead\n"
            "  -q, --quiet  write nothing if there is none\n",
    .run = check_run,
};

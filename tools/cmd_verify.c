#include "repl/peat_repl.h"
#include "tools/coding.h"
#include "tools/collection_names.h"
#include "tools/command.h"
#include "tools/human.h"
#include "tools/interrupt.h"
#include "tools/json_write.h"
#include "tools/output.h"
#include "tools/progress.h"

#include <inttypes.h>

enum { CATALOGUE = 0, ROOT = 1 };

struct verify_work {
    struct peat_verify_options options;
    struct pt_target target;
    struct pt_collection_names names;
    struct pt_progress progress;
    uint64_t range_count;
    bool is_json;
    bool is_quiet;
    bool is_damaged; /* here */
};

/* ---- What differs ---- */

static void place_write(const struct verify_work *work, const struct peat_place *place)
{
    struct peat_bytes path = pt_collection_names_find(&work->names, place->collection);

    if (place->collection == PEAT_PLACE_END) {
        pt_output_string("the end");
        return;
    }
    if (place->collection == CATALOGUE) {
        pt_output_string("names of collections");
    } else if (place->collection == ROOT) {
        pt_output_string("root");
    } else if (path.data == NULL) {
        pt_output_format("collection number %" PRIu64, place->collection);
    } else {
        pt_output_string("collection ");
        pt_output_write(path.data, path.size);
    }
    if (place->key.size == 0)
        return;
    pt_output_string(" \"");
    pt_escaped_write(place->key);
    pt_output_byte('"');
}

static void place_json_write(const struct verify_work *work, const char *name,
                             const struct peat_place *place)
{
    struct peat_bytes path = pt_collection_names_find(&work->names, place->collection);

    pt_output_format("\"%s\":", name);
    if (place->collection == PEAT_PLACE_END) {
        pt_output_string("null");
        return;
    }
    pt_output_format("{\"collection_number\":%" PRIu64, place->collection);
    if (path.size > 0) {
        pt_output_byte(',');
        pt_json_path_write(path);
    }
    pt_output_byte(',');
    pt_json_member_write("key", place->key);
    pt_output_byte('}');
}

static const char *truth(bool holds)
{
    return holds ? "true" : "false";
}

/* As a member of the array of differences. */
static void range_json_write(const struct verify_work *work, const struct peat_verify_range *range)
{
    pt_output_string(work->range_count > 1 ? ",{" : "{");
    place_json_write(work, "from", &range->low);
    pt_output_byte(',');
    place_json_write(work, "to", &range->high);
    pt_output_format(",\"entries_here\":%" PRIu64 ",\"entries_there\":%" PRIu64
                     ",\"damaged_here\":%s,\"damaged_there\":%s}",
                     range->entries_here, range->entries_there, truth(range->damaged_here),
                     truth(range->damaged_there));
}

static bool range_write(void *context, const struct peat_verify_range *range)
{
    struct verify_work *work = context;

    work->range_count++;
    work->is_damaged = work->is_damaged || range->damaged_here;
    pt_progress_wipe();
    if (work->is_json) {
        range_json_write(work, range);
    } else if (!work->is_quiet) {
        pt_output_string("from ");
        place_write(work, &range->low);
        pt_output_string(" to before ");
        place_write(work, &range->high);
        pt_output_format(": %" PRIu64 " %s here, %" PRIu64 " there", range->entries_here,
                         range->entries_here == 1 ? "entry" : "entries", range->entries_there);
        pt_output_string(range->damaged_here ? "; damaged here" : "");
        pt_output_string(range->damaged_there ? "; damaged there" : "");
        pt_output_byte('\n');
        pt_output_flush();
    }
    return !pt_output_failed();
}

static bool progress_show(void *context, uint64_t done)
{
    struct verify_work *work = context;

    pt_progress_show(&work->progress, 0, done);
    return !pt_output_failed() && !pt_interrupt_came();
}

/* ---- The result ---- */

static void result_write(const struct verify_work *work, const struct peat_verify_result *result)
{
    if (work->is_json) {
        pt_output_format("],\"equal\":%s,\"commit\":%" PRIu64 ",\"entries_here\":%" PRIu64
                         ",\"entries_there\":%" PRIu64 ",\"digest\":\"",
                         truth(result->range_count == 0), result->commit, result->entries_here,
                         result->entries_there);
        pt_hex_write((struct peat_bytes){result->digest, sizeof(result->digest)});
        pt_output_format("\",\"sent_size\":%" PRIu64 ",\"received_size\":%" PRIu64 "}\n",
                         result->sent_size, result->received_size);
    } else if (!work->is_quiet && result->range_count == 0) {
        pt_output_format("equal at commit %" PRIu64 ": %s entries\n", result->commit,
                         pt_human_count(result->entries_here).text);
    } else if (!work->is_quiet) {
        pt_output_format("different at commit %" PRIu64 ": %s %s of keys\n", result->commit,
                         pt_human_count(result->range_count).text,
                         result->range_count == 1 ? "range" : "ranges");
    }
}

static enum pt_exit compare(struct verify_work *work)
{
    struct peat_verify_result result = {.struct_size = sizeof(result)};
    struct peat_repl_error error;
    enum peat_status status;

    work->options.difference = range_write;
    work->options.progress = progress_show;
    work->options.context = work;
    pt_progress_init(&work->progress, NULL, 0);
    if (work->is_json)
        pt_output_string("{\"differences\":[");
    status = peat_verify(work->target.db, &work->options, &result, &error);
    pt_progress_wipe();
    if (status != PEAT_OK && work->is_json)
        pt_output_string("]}\n"); /* not all was compared */
    if (status == PEAT_DONE)      /* interrupted, or standard output has failed */
        return PT_EXIT_ERROR;
    if (status != PEAT_OK) {
        pt_complain(work->target.store, "%s", error.words);
        return status == PEAT_CORRUPT ? PT_EXIT_DAMAGE : PT_EXIT_ERROR;
    }
    result_write(work, &result);
    if (work->is_damaged)
        return PT_EXIT_DAMAGE;
    return result.range_count > 0 ? PT_EXIT_DIFFERENT : PT_EXIT_DONE;
}

static enum pt_exit verify(struct verify_work *work, const char *store)
{
    enum pt_exit outcome = pt_target_open_read(&work->target, store, NULL);

    if (outcome == PT_EXIT_DONE)
        outcome = pt_collection_names_load(&work->names, &work->target);
    if (outcome == PT_EXIT_DONE)
        outcome = compare(work);
    pt_collection_names_fini(&work->names);
    return pt_target_close(&work->target, outcome);
}

/* ---- The command ---- */

static bool option_take(struct verify_work *work, int code)
{
    uint64_t seconds;

    switch (code) {
    case 'i':
        work->options.flags |= PEAT_REPL_INSECURE;
        return true;
    case 'j':
        work->is_json = true;
        return true;
    case 'k':
        work->options.key_path = optarg;
        return true;
    case 'p':
        work->options.url = optarg;
        return true;
    case 'q':
        work->is_quiet = true;
        return true;
    default:
        if (!pt_command_number("--wait", optarg, 0, 3600, &seconds))
            return false;
        work->options.timeout_ms = (unsigned)seconds * 1000;
        return true;
    }
}

static enum pt_exit verify_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"insecure", no_argument, NULL, 'i'},        {"json", no_argument, NULL, 'j'},
        {"key", required_argument, NULL, 'k'},       {"peer", required_argument, NULL, 'p'},
        {"quiet", no_argument, NULL, 'q'},           {"wait", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, PT_OPTION_HELP}, {0}};
    struct verify_work work = {.is_json = false};
    enum pt_exit outcome;
    int code;

    peat_verify_options_init(&work.options);
    while ((code = pt_command_option(&pt_command_verify, argc, argv, ":ijk:p:qw:", long_options)) !=
           -1) {
        if (code == PT_OPTION_HELPED)
            return PT_EXIT_DONE;
        if (code == PT_OPTION_BAD || !option_take(&work, code))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    if (work.options.url == NULL)
        return pt_complain_usage("--peer is missing");
    pt_interrupt_catch();
    outcome = verify(&work, argv[optind]);
    pt_interrupt_obey();
    return outcome;
}

const struct pt_command pt_command_verify = {
    .name = "verify",
    .summary = "compare the store with one that is served",
    .help = "usage: peat verify --peer URL [OPTION]... STORE\n"
            "\n"
            "Compare what STORE holds with what the store at URL ('peat serve', 'peat follow\n"
            "--listen') holds at the same commit, by digests: entries do not go over the network.\n"
            "Both may be in use; a commit that both can show is found while others go on. Each\n"
            "range of keys that differs is a line on standard output.\n"
            "Exit code 1: they differ. 4: something cannot be read here.\n"
            "\n"
            "  -p, --peer URL      tcp://HOST:PORT or ipc://PATH\n"
            "  -k, --key FILE      the key that both sides have ('peat keygen')\n"
            "  -w, --wait SECONDS  for an answer, and for a commit that both can show (30)\n"
            "  -j, --json          write one JSON object instead\n"
            "  -q, --quiet         write nothing: the exit code tells\n"
            "  -i, --insecure      without a key, use addresses of other machines\n",
    .run = verify_run,
};

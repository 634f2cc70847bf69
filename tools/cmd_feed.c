#include "tools/command.h"
#include "tools/feed_json.h"
#include "tools/interrupt.h"
#include "tools/output.h"

#include <inttypes.h>
#include <string.h>

enum {
    WAIT_MS = 100, /* between two looks whether to stop */
    NO_LIMIT = 0
};

struct feed_options {
    const char *name; /* NULL: none */
    const char *drop; /* the name to forget, or NULL */
    uint64_t from;
    uint64_t limit; /* commits; NO_LIMIT: all */
    bool has_from;
    bool follow;
    bool keep; /* do not acknowledge */
};

/* The work of one command; owned by its thread. */
struct feed_work {
    const struct feed_options *options;
    struct pt_target target;
    struct pt_feed_json json;
    struct peat_feed *feed;
    uint64_t written; /* the last commit of which all is written; 0: none */
    uint64_t count;   /* commits written */
};

/* ---- One commit ---- */

/* The operations of a commit, each on a line. */
static enum pt_exit commit_write(struct feed_work *work, const struct peat_record *record)
{
    enum peat_status status = pt_feed_json_write(&work->json, record);

    if (status == PEAT_NO_MEMORY) {
        pt_complain(NULL, "out of memory");
        return PT_EXIT_ERROR;
    }
    if (status != PEAT_OK)
        return pt_complain_status(work->target.store, status);
    work->written = record->commit;
    work->count++;
    return PT_EXIT_DONE;
}

/* ---- All of them ---- */

/* What is written has arrived: acknowledge it. */
static enum pt_exit acknowledge(struct feed_work *work)
{
    enum peat_status status;

    pt_output_flush();
    if (pt_output_failed() || work->options->name == NULL || work->options->keep ||
        work->written == 0)
        return PT_EXIT_DONE;
    status = peat_feed_acknowledge(work->feed, work->written);
    return status == PEAT_OK ? PT_EXIT_DONE : pt_complain_status(work->target.store, status);
}

static bool wants_more(const struct feed_work *work)
{
    return !pt_interrupt_came() && !pt_output_failed() &&
           (work->options->limit == NO_LIMIT || work->count < work->options->limit);
}

/* Write what the feed hands out, to the end of what there is, or until it is stopped. */
static enum pt_exit feed_write(struct feed_work *work)
{
    enum pt_exit outcome = PT_EXIT_DONE;

    while (outcome == PT_EXIT_DONE && wants_more(work)) {
        struct peat_record record;
        enum peat_status status = peat_feed_next(work->feed, 0, &record);

        if (status == PEAT_TIMEOUT && !work->options->follow)
            break;
        if (status == PEAT_TIMEOUT) { /* what there is shall be seen before the next comes */
            outcome = acknowledge(work);
            status = outcome == PT_EXIT_DONE ? peat_feed_next(work->feed, WAIT_MS, &record)
                                             : PEAT_TIMEOUT;
        }
        if (status == PEAT_OK)
            outcome = commit_write(work, &record);
        else if (status != PEAT_TIMEOUT)
            outcome = pt_complain_status(work->target.store, status);
    }
    /* What was written before something failed has been handed out all the same. */
    if (acknowledge(work) != PT_EXIT_DONE && outcome == PT_EXIT_DONE)
        outcome = PT_EXIT_ERROR;
    return outcome;
}

/* Where to begin: a name that is there goes on, unless told otherwise. */
static enum pt_exit feed_begin(struct feed_work *work)
{
    const struct feed_options *options = work->options;
    enum peat_status status = PEAT_NOT_FOUND;

    if (options->name != NULL && !options->has_from)
        status =
            peat_feed_open(work->target.db, PEAT_FEED_ACKNOWLEDGED, options->name, 0, &work->feed);
    if (status == PEAT_NOT_FOUND)
        status = peat_feed_open(work->target.db, options->from, options->name, 0, &work->feed);
    return status == PEAT_OK ? PT_EXIT_DONE : pt_complain_status(work->target.store, status);
}

/* The names of the collections that there are now. */
static enum pt_exit names_load(struct feed_work *work)
{
    bool has_snapshot = work->target.snapshot != NULL;
    enum pt_exit outcome = PT_EXIT_DONE;
    enum peat_status status = PEAT_OK;

    if (!has_snapshot)
        status = peat_snapshot_open(work->target.db, &work->target.snapshot);
    if (status != PEAT_OK)
        return pt_complain_status(work->target.store, status);
    outcome = pt_collection_names_load(&work->json.names, &work->target);
    peat_snapshot_close(work->target.snapshot); /* it would keep what it sees */
    work->target.snapshot = NULL;
    return outcome;
}

static enum pt_exit feed_show(const struct feed_options *options, const char *store)
{
    struct feed_work work = {.options = options};
    enum pt_exit outcome;

    pt_feed_json_init(&work.json);
    if (options->name != NULL)
        outcome = pt_target_open_write(&work.target, store, NULL, 0, 0);
    else
        outcome = pt_target_open_read(&work.target, store, NULL);
    if (outcome == PT_EXIT_DONE)
        outcome = feed_begin(&work); /* before the names: whatever comes after them is told by it */
    if (outcome == PT_EXIT_DONE)
        outcome = names_load(&work);
    if (outcome == PT_EXIT_DONE)
        outcome = feed_write(&work);
    peat_feed_close(work.feed);
    pt_feed_json_fini(&work.json);
    return pt_target_close(&work.target, outcome);
}

static enum pt_exit feed_drop(const char *store, const char *name)
{
    struct pt_target target = {0};
    enum pt_exit outcome = pt_target_open_write(&target, store, NULL, 0, 0);
    enum peat_status status = PEAT_OK;

    if (outcome == PT_EXIT_DONE)
        status = peat_feed_drop(target.db, name);
    if (status == PEAT_NOT_FOUND) {
        pt_complain(store, "no feed '%s'; 'peat stat' lists them", name);
        outcome = PT_EXIT_NOT_FOUND;
    } else if (status != PEAT_OK) {
        outcome = pt_complain_status(store, status);
    }
    return pt_target_close(&target, outcome);
}

/* ---- The command ---- */

static bool from_read(const char *text, struct feed_options *options)
{
    options->has_from = true;
    options->from = PEAT_FEED_OLDEST;
    if (strcmp(text, "oldest") == 0)
        return true;
    options->from = PEAT_FEED_NEXT;
    if (strcmp(text, "next") == 0)
        return true;
    return pt_command_number("--from", text, 1, PEAT_FEED_ACKNOWLEDGED - 1, &options->from);
}

static bool option_take(int code, struct feed_options *options)
{
    switch (code) {
    case 'd':
        options->drop = optarg;
        return true;
    case 'f':
        options->follow = true;
        return true;
    case 'k':
        options->keep = true;
        return true;
    case 'l':
        return pt_command_number("--limit", optarg, 1, UINT64_MAX, &options->limit);
    case 'n':
        options->name = optarg;
        return true;
    default:
        return from_read(optarg, options);
    }
}

static enum pt_exit feed_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"drop", required_argument, NULL, 'd'},      {"follow", no_argument, NULL, 'f'},
        {"from", required_argument, NULL, 'F'},      {"keep", no_argument, NULL, 'k'},
        {"limit", required_argument, NULL, 'l'},     {"name", required_argument, NULL, 'n'},
        {"help", no_argument, NULL, PT_OPTION_HELP}, {0}};
    struct feed_options options = {.from = PEAT_FEED_OLDEST, .limit = NO_LIMIT};
    enum pt_exit outcome;
    int code;

    while ((code = pt_command_option(&pt_command_feed, argc, argv, ":d:fF:kl:n:", long_options)) !=
           -1) {
        if (code == PT_OPTION_HELPED)
            return PT_EXIT_DONE;
        if (code == PT_OPTION_BAD || !option_take(code, &options))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    if (options.keep && options.name == NULL)
        return pt_complain_usage("--keep is for a feed with --name");
    if (options.drop != NULL)
        return options.name != NULL || options.follow || options.has_from
                   ? pt_complain_usage("--drop reads nothing")
                   : feed_drop(argv[optind], options.drop);
    pt_interrupt_catch();
    outcome = feed_show(&options, argv[optind]);
    if (!options.follow) /* being stopped is how following ends */
        pt_interrupt_obey();
    return outcome;
}

const struct pt_command pt_command_feed = {
    .name = "feed",
    .summary = "write what is committed, in order, as JSON lines",
    .help =
        "usage: peat feed [OPTION]... STORE\n"
        "\n"
        "Write every operation of every commit that the log still has, in order, a JSON object\n"
        "on a line for each: commit, time_us, op (put, delete, delete_range, create, drop),\n"
        "collection, key and value; \"last\":true ends a commit. What is not to be had any more\n"
        "is an error, never left out.\n"
        "\n"
        "  -f, --follow       go on as more is committed, until interrupted\n"
        "  -F, --from COMMIT  begin with that one; 'oldest', the default, or 'next'\n"
        "  -n, --name NAME    go on where that name left off, and have the store keep the log\n"
        "                     for it from then on; opens the store for writing\n"
        "  -k, --keep         with --name: what is written is not dealt with, keep it\n"
        "  -l, --limit COUNT  stop after so many commits\n"
        "  -d, --drop NAME    forget that name, and write nothing\n",
    .run = feed_run,
};

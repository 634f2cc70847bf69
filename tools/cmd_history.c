#include "tools/coding.h"
#include "tools/command.h"
#include "tools/json_write.h"
#include "tools/kept_state.h"
#include "tools/output.h"
#include "tools/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct history_options {
    const char *persist; /* the name to keep the present state under, or NULL */
    const char *drop;    /* the state to let go, or NULL */
    bool is_json;
    uint64_t file_size_max; /* bytes; 0: any */
};

/* When it was made, as ISO 8601 in UTC. */
static void time_write(uint64_t time_us)
{
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm parts;
    char text[32];

    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        (void)snprintf(text, sizeof(text), "%" PRIu64, time_us / 1000000);
    pt_output_string(text);
}

/* What is special about it, in a word. */
static const char *kind_of(const struct peat_history_entry *entry)
{
    if (entry->is_damaged)
        return "damaged";
    if (entry->is_newest)
        return "newest";
    return entry->is_before_revert ? "before-revert" : "kept";
}

static bool line_write(void *context, const struct peat_history_entry *entry)
{
    (void)context;
    pt_output_format("%" PRIu64 "\t%" PRIu64 "\t", entry->generation, entry->commit);
    time_write(entry->time_us);
    pt_output_format("\t%" PRIu64 "\t%" PRIu64 "\t%s\t", entry->size, entry->own_size,
                     kind_of(entry));
    pt_escaped_write((struct peat_bytes){entry->name, strlen(entry->name)});
    pt_output_byte('\n');
    return !pt_output_failed();
}

static bool object_write(void *context, const struct peat_history_entry *entry)
{
    (void)context;
    pt_output_format("{\"generation\":%" PRIu64 ",\"commit\":%" PRIu64 ",\"time_us\":%" PRIu64
                     ",\"size\":%" PRIu64 ",\"own_size\":%" PRIu64 ",\"kind\":\"%s\",",
                     entry->generation, entry->commit, entry->time_us, entry->size, entry->own_size,
                     kind_of(entry));
    pt_json_member_write("name", (struct peat_bytes){entry->name, strlen(entry->name)});
    pt_output_string("}\n");
    return !pt_output_failed();
}

static enum pt_exit list_write(const struct history_options *options, const char *store)
{
    struct pt_target target = {0};
    enum pt_exit outcome = pt_target_open_read(&target, store, NULL);
    enum peat_status status;

    if (outcome == PT_EXIT_DONE) {
        if (!options->is_json && isatty(STDOUT_FILENO) == 1)
            pt_output_string("number\tcommit\tmade\tsize\town\tkind\tname\n");
        status = peat_history_list(target.db, options->is_json ? object_write : line_write, NULL);
        if (status != PEAT_OK)
            outcome = pt_complain_status(store, status);
    }
    return pt_target_close(&target, outcome);
}

static enum pt_exit change(const struct history_options *options, const char *store)
{
    struct pt_target target = {0};
    uint64_t generation = 0;
    enum peat_status status = PEAT_OK;
    enum pt_exit outcome = pt_target_open_write(&target, store, NULL, 0, options->file_size_max);

    if (outcome == PT_EXIT_DONE && options->drop != NULL) {
        outcome = pt_kept_state_find(target.db, store, options->drop, &generation);
        if (outcome == PT_EXIT_DONE)
            status = peat_history_drop(target.db, NULL, generation);
    }
    if (outcome == PT_EXIT_DONE && status == PEAT_OK && options->persist != NULL)
        status = peat_snapshot_persist(target.db, options->persist, NULL);
    if (status != PEAT_OK)
        outcome = pt_complain_status(store, status);
    return pt_target_close(&target, outcome);
}

static enum pt_exit history_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"drop", required_argument, NULL, 'd'},
        {"json", no_argument, NULL, 'j'},
        {"persist", required_argument, NULL, 'p'},
        {"file-size-max", required_argument, NULL, PT_OPTION_FILE_SIZE},
        {"help", no_argument, NULL, PT_OPTION_HELP},
        {0}};
    struct history_options options = {.is_json = false};
    int code;

    while ((code = pt_command_option(&pt_command_history, argc, argv, ":d:jp:", long_options)) !=
           -1) {
        if (code == 'd')
            options.drop = optarg;
        else if (code == 'p')
            options.persist = optarg;
        else if (code == 'j')
            options.is_json = true;
        else if (code == PT_OPTION_FILE_SIZE) {
            if (!pt_command_file_size(optarg, &options.file_size_max))
                return PT_EXIT_USAGE;
        } else
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    if (options.drop == NULL && options.persist == NULL)
        return list_write(&options, argv[optind]);
    if (options.is_json)
        return pt_complain_usage("--json is for listing");
    return change(&options, argv[optind]);
}

const struct pt_command pt_command_history = {
    .name = "history",
    .summary = "list the states that are kept, keep one, let one go",
    .help =
        "usage: peat history [OPTION]... STORE\n"
        "\n"
        "List the states of the store that are kept, oldest first, a line for each: number,\n"
        "last commit, when it was made, bytes it refers to, bytes that no newer one refers\n"
        "to, its kind (kept, newest, before-revert, damaged), name; with tabs between them.\n"
        "\n"
        "  -p, --persist NAME     keep the present state under that name, instead of listing\n"
        "  -d, --drop STATE       let that state go, first; STATE is its name, number or commit\n"
        "  -j, --json             list JSON objects\n"
        "      --file-size-max N  let the store grow to N bytes at most\n",
    .run = history_run,
};

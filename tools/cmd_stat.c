#include "tools/coding.h"
#include "tools/collection_tree.h"
#include "tools/command.h"
#include "tools/human.h"
#include "tools/json_write.h"
#include "tools/output.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

enum figure_kind { FIGURE_COUNT, FIGURE_SIZE, FIGURE_TIME };

/* The figures that mean something to a process that only reads: those about the file. */
static const struct {
    const char *name;  /* in JSON */
    const char *words; /* for people */
    size_t offset;     /* bytes into struct peat_stats */
    enum figure_kind kind;
} figures[] = {
    {"commit", "newest commit", offsetof(struct peat_stats, commit), FIGURE_COUNT},
    {"generation", "generation", offsetof(struct peat_stats, generation), FIGURE_COUNT},
    {"file_size", "size of the file", offsetof(struct peat_stats, file_size), FIGURE_SIZE},
    {"allocated_size", "of that on disk", offsetof(struct peat_stats, allocated_size), FIGURE_SIZE},
    {"segment_size", "in segments", offsetof(struct peat_stats, segment_size), FIGURE_SIZE},
    {"log_size", "in the log", offsetof(struct peat_stats, log_size), FIGURE_SIZE},
    {"manifest_size", "in manifests", offsetof(struct peat_stats, manifest_size), FIGURE_SIZE},
    {"history_count", "kept states", offsetof(struct peat_stats, history_count), FIGURE_COUNT},
    {"history_size", "in these alone", offsetof(struct peat_stats, history_size), FIGURE_SIZE},
    {"feed_count", "feeds with a name", offsetof(struct peat_stats, feed_count), FIGURE_COUNT},
    {"feed_log_size", "log kept for feeds", offsetof(struct peat_stats, feed_log_size),
     FIGURE_SIZE},
    {"reserve_size", "kept in reserve", offsetof(struct peat_stats, reserve_size), FIGURE_SIZE},
    {"free_size", "free inside", offsetof(struct peat_stats, free_size), FIGURE_SIZE},
    {"pending_size", "waiting to be free", offsetof(struct peat_stats, pending_size), FIGURE_SIZE},
    {"snapshot_pinned_size", "of that, snapshots",
     offsetof(struct peat_stats, snapshot_pinned_size), FIGURE_SIZE},
    {"reader_pinned_size", "of that, readers", offsetof(struct peat_stats, reader_pinned_size),
     FIGURE_SIZE},
    {"entry_count", "entries in segments", offsetof(struct peat_stats, entry_count), FIGURE_COUNT},
    {"segment_count", "segments", offsetof(struct peat_stats, segment_count), FIGURE_COUNT},
    {"run_count", "runs", offsetof(struct peat_stats, run_count), FIGURE_COUNT},
    {"buffer_size", "in write buffers", offsetof(struct peat_stats, buffer_size), FIGURE_SIZE},
    {"memory_size", "memory for these", offsetof(struct peat_stats, memory_size), FIGURE_SIZE},
    {"replayed_commits", "commits from the log", offsetof(struct peat_stats, replayed_commits),
     FIGURE_COUNT},
    {"replayed_size", "read from the log", offsetof(struct peat_stats, replayed_size), FIGURE_SIZE},
    {"replay_time_us", "which took", offsetof(struct peat_stats, replay_time_us), FIGURE_TIME},
};

static uint64_t figure_of(const struct peat_stats *stats, size_t i)
{
    uint64_t figure;

    memcpy(&figure, (const char *)stats + figures[i].offset, sizeof(figure));
    return figure;
}

static bool feed_line_write(void *context, const struct peat_feed_info *info)
{
    (void)context;
    pt_output_string("feed                  ");
    pt_escaped_write((struct peat_bytes){info->name, strlen(info->name)});
    pt_output_format("\tacknowledged %" PRIu64 ", %" PRIu64 " bytes kept%s\n", info->acknowledged,
                     info->held_size, info->is_gone ? ", what follows is gone" : "");
    return !pt_output_failed();
}

static bool feed_object_write(void *context, const struct peat_feed_info *info)
{
    bool *is_first = context;

    pt_output_string(*is_first ? "{" : ",{");
    *is_first = false;
    pt_json_member_write("name", (struct peat_bytes){info->name, strlen(info->name)});
    pt_output_format(",\"acknowledged\":%" PRIu64 ",\"held_size\":%" PRIu64 ",\"is_gone\":%s}",
                     info->acknowledged, info->held_size, info->is_gone ? "true" : "false");
    return !pt_output_failed();
}

static void text_write(const struct peat_stats *stats)
{
    pt_output_string("store                 ");
    pt_hex_write((struct peat_bytes){stats->store_id, sizeof(stats->store_id)});
    pt_output_byte('\n');
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        uint64_t figure = figure_of(stats, i);

        pt_output_format("%-20s  %s", figures[i].words, pt_human_count(figure).text);
        if (figures[i].kind == FIGURE_SIZE) {
            pt_output_string(" bytes");
            if (figure >= 1000)
                pt_output_format(" (%s)", pt_human_size(figure).text);
        }
        if (figures[i].kind == FIGURE_TIME)
            pt_output_string(" us");
        pt_output_byte('\n');
    }
}

static void json_write(const struct peat_stats *stats)
{
    pt_output_string("{\"store_id\":\"");
    pt_hex_write((struct peat_bytes){stats->store_id, sizeof(stats->store_id)});
    pt_output_byte('"');
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
        pt_output_format(",\"%s\":%" PRIu64, figures[i].name, figure_of(stats, i));
}

/* The figures, and the feeds with their names. */
static enum peat_status stats_write(const struct pt_target *target, const struct peat_stats *stats,
                                    bool is_json)
{
    bool is_first = true;
    enum peat_status status;

    if (!is_json) {
        text_write(stats);
        return peat_feed_list(target->db, feed_line_write, NULL);
    }
    json_write(stats);
    pt_output_string(",\"feeds\":[");
    status = peat_feed_list(target->db, feed_object_write, &is_first);
    pt_output_string("]}\n");
    return status;
}

static enum pt_exit path_write(void *context, struct peat_collection *collection,
                               struct peat_bytes path)
{
    (void)context;
    (void)collection;
    if (path.size > 0) {
        pt_output_write(path.data, path.size);
        pt_output_byte('\n');
    }
    return PT_EXIT_DONE;
}

static enum pt_exit stat_show(const char *store, const char *at, bool is_json, bool is_list)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    struct pt_target target = {0};
    enum peat_status status;
    enum pt_exit outcome = pt_target_open_at(&target, store, NULL, at);

    if (outcome != PT_EXIT_DONE)
        goto done;
    if (is_list) {
        outcome = pt_tree_walk(&target, path_write, NULL);
        goto done;
    }
    status = peat_stats_get(target.db, &stats);
    if (status == PEAT_OK)
        status = stats_write(&target, &stats, is_json);
    if (status != PEAT_OK)
        outcome = pt_complain_status(store, status);
done:
    return pt_target_close(&target, outcome);
}

static enum pt_exit stat_run(int argc, char **argv)
{
    static const struct option long_options[] = {{"at", required_argument, NULL, 'a'},
                                                 {"collections", no_argument, NULL, 'c'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"help", no_argument, NULL, PT_OPTION_HELP},
                                                 {0}};
    const char *at = NULL;
    bool is_json = false;
    bool is_list = false;
    int code;

    while ((code = pt_command_option(&pt_command_stat, argc, argv, ":a:cj", long_options)) != -1) {
        if (code == 'c')
            is_list = true;
        else if (code == 'a')
            at = optarg;
        else if (code == 'j')
            is_json = true;
        else
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
    }
    if (is_list && is_json)
        return pt_complain_usage("--collections writes no JSON");
    if (at != NULL && !is_list)
        return pt_complain_usage(
            "--at goes with --collections; 'peat history' has a state's sizes");
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    return stat_show(argv[optind], at, is_json, is_list);
}

const struct pt_command pt_command_stat = {
    .name = "stat",
    .summary = "say how large the store is and what it consists of",
    .help = "usage: peat stat [OPTION]... STORE\n"
            "\n"
            "Write sizes and counts of the store's file, and its feeds. Entries in segments "
            "include deletions and\n"
            "older versions that a merge has yet to drop; 'peat scan --count' counts exactly.\n"
            "\n"
            "  -j, --json         write one JSON object; sizes are bytes\n"
            "  -c, --collections  list the collections instead, one on a line\n"
            "  -a, --at STATE     with --collections: as of a kept state\n",
    .run = stat_run,
};

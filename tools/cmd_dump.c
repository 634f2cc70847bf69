#include "tools/collection_tree.h"
#include "tools/command.h"
#include "tools/entry_walk.h"
#include "tools/output.h"

#include <string.h>

struct dump_work {
    struct pt_target target;
    struct pt_entry_writer writer;
    const char *path; /* of the one collection wanted, or NULL: all */
    const char *at;   /* the kept state, or NULL */
};

static enum pt_exit collection_dump(void *context, struct peat_collection *collection,
                                    struct peat_bytes path)
{
    struct dump_work *work = context;
    const struct pt_text_format *format = work->writer.format;
    struct pt_entry_walk walk = {.limit = UINT64_MAX};
    enum pt_exit outcome;

    work->writer.path = path;
    if (format->begin != NULL)
        format->begin(&work->writer);
    outcome = pt_entry_walk(&walk, &work->target, collection, &work->writer);
    /* Without its end the dump is told from a whole one. */
    if (outcome == PT_EXIT_DONE && format->end != NULL)
        format->end(&work->writer);
    return outcome;
}

static bool is_there(void *context, const char *name)
{
    bool *found = context;

    (void)name;
    *found = true;
    return false;
}

/* A format without marks for collections takes the root alone: refused before anything is written,
 * so that what was written is never a part that looks whole. */
static enum pt_exit check_format(const struct dump_work *work)
{
    bool found = false;
    enum peat_status status;

    if (work->writer.format->begin != NULL)
        return PT_EXIT_DONE;
    status = peat_collection_list(work->target.snapshot, NULL, is_there, &found);
    if (status < 0)
        return pt_complain_status(work->target.store, status);
    if (!found)
        return PT_EXIT_DONE;
    pt_complain(work->target.store,
                "it has collections, which %s cannot tell apart; use --format json or dump, "
                "or --collection for one alone",
                work->writer.format->name);
    return PT_EXIT_ERROR;
}

/* Bytes that suit an LMDB environment for all of the store, so that mdb_load has room. */
static uint64_t mapsize_of(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    const uint64_t step = (uint64_t)1 << 20;

    if (peat_stats_get(db, &stats) != PEAT_OK)
        return 16 * step;
    return (4 * (stats.segment_size + stats.buffer_size) / step + 16) * step;
}

static enum pt_exit dump(struct dump_work *work, const char *store)
{
    enum pt_exit outcome = pt_target_open_at(&work->target, store, work->path, work->at);

    if (outcome == PT_EXIT_DONE && work->path == NULL)
        outcome = check_format(work);
    if (outcome == PT_EXIT_DONE) {
        work->writer.mapsize = mapsize_of(work->target.db);
        if (work->path != NULL)
            outcome = collection_dump(work, work->target.collection, (struct peat_bytes){"", 0});
        else
            outcome = pt_tree_walk(&work->target, collection_dump, work);
    }
    return pt_target_close(&work->target, outcome);
}

static enum pt_exit dump_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"at", required_argument, NULL, 'a'},        {"collection", required_argument, NULL, 'c'},
        {"format", required_argument, NULL, 'f'},    {"print", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, PT_OPTION_HELP}, {0}};
    struct dump_work work = {.writer = {.format = &pt_text_dump}};
    int code;

    while ((code = pt_command_option(&pt_command_dump, argc, argv, ":a:c:f:p", long_options)) !=
           -1) {
        if (code == 'c')
            work.path = optarg;
        else if (code == 'a')
            work.at = optarg;
        else if (code == 'p')
            work.writer.is_print = true;
        else if (code == 'f')
            work.writer.format = pt_text_format_find(optarg);
        else
            return code == PT_OPTION_HELPED ? PT_EXIT_DONE : PT_EXIT_USAGE;
        if (work.writer.format == NULL || work.writer.format->write == NULL)
            return pt_complain_usage("--format takes dump, json, tsv or hex, not '%s'", optarg);
    }
    if (!pt_command_arguments(argc, 1, 1))
        return PT_EXIT_USAGE;
    return dump(&work, argv[optind]);
}

const struct pt_command pt_command_dump = {
    .name = "dump",
    .summary = "write the whole store as text",
    .help = "usage: peat dump [OPTION]... STORE\n"
            "\n"
            "Write all entries of all collections, as of one moment, as text that 'peat load'\n"
            "reads back.\n"
            "\n"
            "  -f, --format FORMAT    dump: as mdb_dump and db_dump write (the default)\n"
            "                         json: one object per line\n"
            "                         tsv:  key, tab, value, with escapes; no collections\n"
            "                         hex:  key, tab, value, in hexadecimal; no collections\n"
            "  -p, --print            with --format dump: readable characters as they are\n"
            "  -a, --at STATE         as of a kept state: its name, number or commit\n"
            "  -c, --collection PATH  only this collection (names with '/' between them; '/' is\n"
            "                         the root), without those below it\n"
            "\n"
            "peat-text(5) describes the formats.\n",
    .run = dump_run,
};

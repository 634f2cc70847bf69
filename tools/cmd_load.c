#include "tools/collection_cache.h"
#include "tools/command.h"
#include "tools/entry_text.h"
#include "tools/human.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_COUNT_DEFAULT = 1000, BATCH_COUNT_MAX = 1000000000 };

/* A batch of large values is committed before it has this many bytes more than one value. */
static const size_t batch_size_max = (size_t)16 << 20;

struct load_options {
    const struct pt_text_format *format; /* NULL: to be found out */
    const char *path;                    /* of the collection, or NULL */
    enum peat_durability durability;
    uint64_t file_size_max; /* bytes; 0: any */
    uint64_t batch_count;   /* entries per commit */
    bool is_report;
    bool is_skipping;
    bool is_verbose;
};

/* One run of the command. */
struct load_work {
    const struct load_options *options;
    struct pt_target target;
    struct pt_collection_cache collections;
    struct peat_batch *batch;
    struct pt_progress progress;
    uint64_t entry_count;   /* committed */
    uint64_t skipped_count; /* bad records */
    uint64_t size;          /* bytes of the files before this one */
};

static enum pt_exit batch_renew(struct load_work *work)
{
    if (work->batch != NULL && peat_batch_size(work->batch) < 2 * batch_size_max) {
        peat_batch_clear(work->batch);
        return PT_EXIT_DONE;
    }
    /* A batch that held a huge value keeps its memory when it is cleared. */
    peat_batch_free(work->batch);
    work->batch = peat_batch_new(0);
    return work->batch != NULL ? PT_EXIT_DONE
                               : pt_complain_status(work->target.store, PEAT_NO_MEMORY);
}

static enum pt_exit batch_commit(struct load_work *work)
{
    size_t count = peat_batch_count(work->batch);
    enum peat_status status;

    if (count == 0)
        return PT_EXIT_DONE;
    status = peat_write(work->target.db, work->batch, work->options->durability, NULL);
    if (status != PEAT_OK)
        return pt_complain_status(work->target.store, status);
    work->entry_count += count;
    if (work->options->is_report) {
        pt_output_format("%" PRIu64 "\n", work->entry_count);
        pt_output_flush();
        if (pt_output_failed())
            return PT_EXIT_ERROR; /* said by who closes standard output */
    }
    return batch_renew(work);
}

/* Find the collection of the record that was just read, creating it if need be. */
static enum pt_exit collection_find(struct load_work *work, const struct pt_entry_reader *reader,
                                    struct peat_collection **collection_out)
{
    struct peat_bytes path = pt_textbuf_bytes(&reader->path);
    enum pt_exit outcome = PT_EXIT_DONE;
    enum peat_status status;

    if (pt_collection_cache_is_full(&work->collections, path)) {
        outcome = batch_commit(work);
        pt_collection_cache_clear(&work->collections);
    }
    if (outcome != PT_EXIT_DONE)
        return outcome;
    status = pt_collection_cache_find(&work->collections, path, collection_out);
    return status == PEAT_OK ? PT_EXIT_DONE : pt_complain_status(work->target.store, status);
}

static enum pt_exit entry_add(struct load_work *work, const struct pt_entry_reader *reader)
{
    struct peat_collection *collection;
    enum pt_exit outcome = collection_find(work, reader, &collection);
    enum peat_status status;

    if (outcome != PT_EXIT_DONE)
        return outcome;
    status = peat_batch_put(work->batch, collection, pt_textbuf_bytes(&reader->key),
                            pt_textbuf_bytes(&reader->value));
    if (status != PEAT_OK)
        return pt_complain_status(work->target.store, status);
    if (peat_batch_count(work->batch) < work->options->batch_count &&
        peat_batch_size(work->batch) < batch_size_max)
        return PT_EXIT_DONE;
    outcome = batch_commit(work);
    pt_progress_show(&work->progress, work->entry_count,
                     work->size + pt_source_offset(&reader->source));
    return outcome;
}

/* Say what is bad about a record, and whether the load goes on. */
static enum pt_exit bad_record(struct load_work *work, const struct pt_entry_reader *reader,
                               bool is_broken)
{
    char place[32];

    (void)snprintf(place, sizeof(place), "%" PRIu64, reader->line);
    if (work->options->is_skipping && !is_broken) {
        work->skipped_count++;
        pt_complain(reader->source.name, "line %s: %s; skipped", place, reader->words);
        return PT_EXIT_DONE;
    }
    pt_complain(reader->source.name, "line %s: %s; stopped with %s entries committed", place,
                reader->words, pt_human_count(work->entry_count).text);
    return PT_EXIT_ERROR;
}

static enum pt_exit records_load(struct load_work *work, struct pt_entry_reader *reader)
{
    enum pt_exit outcome = PT_EXIT_DONE;
    struct peat_collection *collection;

    while (outcome == PT_EXIT_DONE) {
        switch (pt_entry_reader_next(reader)) {
        case PT_READ_ENTRY:
            outcome = entry_add(work, reader);
            break;
        case PT_READ_COLLECTION:
            outcome = collection_find(work, reader, &collection);
            break;
        case PT_READ_END:
            return batch_commit(work);
        case PT_READ_BAD:
            outcome = bad_record(work, reader, false);
            break;
        case PT_READ_BROKEN:
            outcome = bad_record(work, reader, true);
            break;
        }
    }
    return outcome;
}

static enum pt_exit file_load(struct load_work *work, const char *name)
{
    struct pt_entry_reader reader;
    enum pt_exit outcome = PT_EXIT_ERROR;

    if (!pt_entry_reader_open(&reader, name, work->options->format)) {
        pt_complain(name, "%s", strerror(errno));
    } else {
        work->progress.size_expected = work->size == 0 ? reader.source.size : 0;
        outcome = records_load(work, &reader);
        work->size += pt_source_offset(&reader.source);
    }
    pt_entry_reader_close(&reader);
    return outcome;
}

static enum pt_exit load(struct load_work *work, const char *store, int count, char **names)
{
    static char standard_input[] = "-";
    enum pt_exit outcome;

    outcome = pt_target_open_write(&work->target, store, work->options->path, PEAT_CREATE,
                                   work->options->file_size_max);
    if (outcome != PT_EXIT_DONE)
        goto done;
    pt_collection_cache_init(&work->collections, work->target.db, work->target.collection);
    pt_progress_init(&work->progress, "entries", 0);
    outcome = batch_renew(work);
    if (outcome == PT_EXIT_DONE && count == 0)
        outcome = file_load(work, standard_input);
    for (int i = 0; i < count && outcome == PT_EXIT_DONE; i++)
        outcome = file_load(work, names[i]);
    if (work->skipped_count > 0)
        pt_complain(NULL, "%s bad records skipped", pt_human_count(work->skipped_count).text);
done:
    pt_collection_cache_clear(&work->collections);
    peat_batch_free(work->batch);
    outcome = pt_target_close(&work->target, outcome);
    /* Closing writes to the file what is still in memory: it belongs to the time a load takes. */
    if (outcome == PT_EXIT_DONE)
        pt_progress_finish(&work->progress, work->entry_count, work->size,
                           work->options->is_verbose);
    return outcome;
}

/* One option into @p options; false: its value is wrong and complained about. */
static bool option_take(struct load_options *options, int code)
{
    switch (code) {
    case 'b':
        return pt_command_number("--batch", optarg, 1, BATCH_COUNT_MAX, &options->batch_count);
    case 'c':
        options->path = optarg;
        return true;
    case 'd':
        return pt_command_durability(optarg, &options->durability);
    case 'f':
        options->format = pt_text_format_find(optarg);
        if (options->format != NULL && options->format->read != NULL)
            return true;
        (void)pt_complain_usage("--format takes tsv, json, dump or deb822, not '%s'", optarg);
        return false;
    case PT_OPTION_FILE_SIZE:
        return pt_command_file_size(optarg, &options->file_size_max);
    case 'k':
        options->is_skipping = true;
        return true;
    case 'r':
        options->is_report = true;
        return true;
    case 'v':
        options->is_verbose = true;
        return true;
    default:
        return false;
    }
}

static enum pt_exit load_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"batch", required_argument, NULL, 'b'},
        {"collection", required_argument, NULL, 'c'},
        {"durability", required_argument, NULL, 'd'},
        {"format", required_argument, NULL, 'f'},
        {"report", no_argument, NULL, 'r'},
        {"skip-bad", no_argument, NULL, 'k'},
        {"verbose", no_argument, NULL, 'v'},
        {"file-size-max", required_argument, NULL, PT_OPTION_FILE_SIZE},
        {"help", no_argument, NULL, PT_OPTION_HELP},
        {0}};
    struct load_options options = {.durability = PEAT_DEFAULT, .batch_count = BATCH_COUNT_DEFAULT};
    struct load_work *work;
    enum pt_exit outcome;
    int code;

    while ((code = pt_command_option(&pt_command_load, argc, argv, ":b:c:d:f:rkv", long_options)) !=
           -1) {
        if (code == PT_OPTION_HELPED)
            return PT_EXIT_DONE;
        if (!option_take(&options, code))
            return PT_EXIT_USAGE;
    }
    if (!pt_command_arguments(argc, 1, argc))
        return PT_EXIT_USAGE;
    work = calloc(1, sizeof(*work)); /* the cache is large for a stack */
    if (work == NULL)
        return pt_complain_status(NULL, PEAT_NO_MEMORY);
    work->options = &options;
    outcome = load(work, argv[optind], argc - optind - 1, argv + optind + 1);
    free(work);
    return outcome;
}

const struct pt_command pt_command_load = {
    .name = "load",
    .summary = "read entries from text into the store",
    .help =
        "usage: peat load [OPTION]... STORE [FILE]...\n"
        "\n"
        "Put the entries of each FILE ('-' or none: standard input) into STORE, which is created\n"
        "if it does not exist. A key that is there already gets the new value.\n"
        "\n"
        "  -f, --format FORMAT     tsv:    key, tab, value, with escapes \\t \\n \\\\ \\xHH\n"
        "                          json:   an object on each line, "
        "{\"key\":\"k\",\"value\":\"v\"}\n"
        "                          dump:   what mdb_dump and db_dump write\n"
        "                          deb822: Debian's Packages files; the key is the package's\n"
        "                                  name, a space and its version, the value the stanza\n"
        "                          Without it, the first line decides.\n"
        "  -b, --batch N           entries in a commit (1000); fewer where values are large\n"
        "  -d, --durability LEVEL  what each commit survives: memory (nothing yet), os (the end\n"
        "                          of the process; the default), disk (a power cut)\n"
        "      --file-size-max N   let the store grow to N bytes at most\n"
        "  -c, --collection PATH   into this collection (names with '/' between them)\n"
        "  -k, --skip-bad          leave records out that are wrong, instead of stopping\n"
        "  -r, --report            after each commit write how many entries are committed\n"
        "  -v, --verbose           say at the end how much was loaded and how fast; on a\n"
        "                          terminal that and the progress are shown anyway\n"
        "\n"
        "peat-text(5) describes the formats.\n",
    .run = load_run,
};

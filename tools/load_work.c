#include "tools/load_work.h"

#include "tools/human.h"
#include "tools/interrupt.h"
#include "tools/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 200 /* how often who waits for followers looks whether it is to stop */ };

/* A batch of large values is committed before it has this many bytes more than one value. */
static const size_t batch_size_max = (size_t)16 << 20;

static enum pt_exit batch_renew(struct pt_load_work *work)
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

/* No follower has @p commit yet: wait on, until it is to stop. */
static enum pt_exit replicas_await(const struct pt_load_work *work, uint64_t commit)
{
    enum peat_status status = PEAT_TIMEOUT;

    pt_complain(work->target.store,
                "commit %" PRIu64 " is here, but not on a follower's disk: waiting", commit);
    while (status == PEAT_TIMEOUT && !pt_interrupt_came())
        status = peat_wait_replicas(work->target.db, commit, 1, LOOK_MS, NULL);
    return status == PEAT_OK ? PT_EXIT_DONE : PT_EXIT_ERROR;
}

static enum pt_exit batch_commit(struct pt_load_work *work)
{
    size_t count = peat_batch_count(work->batch);
    enum pt_exit outcome = PT_EXIT_DONE;
    uint64_t commit = 0;
    enum peat_status status;

    if (count == 0)
        return PT_EXIT_DONE;
    status = peat_write(work->target.db, work->batch, work->options->durability, &commit);
    if (status == PEAT_TIMEOUT)
        outcome = replicas_await(work, commit);
    else if (status != PEAT_OK)
        outcome = pt_complain_status(work->target.store, status);
    if (outcome != PT_EXIT_DONE)
        return outcome;
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
static enum pt_exit collection_find(struct pt_load_work *work, const struct pt_entry_reader *reader,
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

static enum pt_exit entry_add(struct pt_load_work *work, const struct pt_entry_reader *reader)
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
static enum pt_exit bad_record(struct pt_load_work *work, const struct pt_entry_reader *reader,
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

static enum pt_exit records_load(struct pt_load_work *work, struct pt_entry_reader *reader)
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

static enum pt_exit file_load(struct pt_load_work *work, const char *name)
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

bool pt_load_format_take(struct pt_load_options *options, const char *text)
{
    options->format = pt_text_format_find(text);
    if (options->format != NULL && options->format->read != NULL)
        return true;
    (void)pt_complain_usage("--format takes tsv, json, dump or deb822, not '%s'", text);
    return false;
}

enum pt_exit pt_load_files(struct pt_load_work *work, int count, char **names)
{
    static char standard_input[] = "-";
    enum pt_exit outcome;

    pt_collection_cache_init(&work->collections, work->target.db, work->target.collection);
    pt_progress_init(&work->progress, "entries", 0);
    outcome = batch_renew(work);
    if (outcome == PT_EXIT_DONE && count == 0)
        outcome = file_load(work, standard_input);
    for (int i = 0; i < count && outcome == PT_EXIT_DONE; i++)
        outcome = file_load(work, names[i]);
    if (work->skipped_count > 0)
        pt_complain(NULL, "%s bad records skipped", pt_human_count(work->skipped_count).text);
    return outcome;
}

enum pt_exit pt_load_finish(struct pt_load_work *work, enum pt_exit outcome)
{
    pt_collection_cache_clear(&work->collections);
    peat_batch_free(work->batch);
    outcome = pt_target_close(&work->target, outcome);
    /* Closing writes to the file what is still in memory: it belongs to the time a load takes. */
    if (outcome == PT_EXIT_DONE)
        pt_progress_finish(&work->progress, work->entry_count, work->size,
                           work->options->is_verbose);
    return outcome;
}

/*
 * Flush: sealed write buffers become a run.
 *
 * All that are sealed go at once, so that after a burst there is one run instead of several; while a
 * sweep over all runs is under way, one after the other. The
 * buffers' commits stay in the log until a checkpoint has made the run durable.
 */
#include "core/base/alloc.h"
#include "core/db/flatten.h"
#include "core/db/reference_sort.h"

enum {
    SEGMENTS_MIN = 8, /* what is flushed is cut into so many segments, if it is large enough */
    SEGMENT_SIZE_MIN = 1 << 20, /* bytes */
    /*
     * Bytes per call. A merge writes 2 MiB at once, which lie in the page cache as one huge page and are
     * read back faster; what a flush writes is merged soon. Where memory is given to a virtual machine as
     * it is touched, a huge page costs much more than it holds: 0.9 GB/s written in pieces of 1 or 2 MiB,
     * 7 GB/s in these. And a commit that writes its batch waits for the file's lock no longer than one.
     */
    WRITE_SIZE = 128 * 1024
};

/* One flush: the sealed buffers of a pinned stack. */
struct flush {
    const struct pt_stack *stack;
    size_t first; /* number of the newest buffer that goes; all older ones go too */
    struct pt_buffer_view *views[PT_STACK_BUFFERS_MAX];
    struct pt_cover covers[PT_STACK_BUFFERS_MAX];
    struct pt_flatten flatten;
    uint64_t data_size;
    uint64_t entry_count;
};

static enum peat_status add_layer(struct peat_db *db, struct flush *flush, size_t number)
{
    struct pt_held_buffer *held = flush->stack->buffers[number];
    struct pt_write_buffer *buffer = held->buffer;
    uint64_t sort_size = pt_write_buffer_entry_count(buffer) * sizeof(struct pt_reference);
    struct pt_cover *cover = &flush->covers[flush->flatten.cover_count];
    struct peat_bytes none = pt_bytes(NULL, 0);
    enum peat_status status = PEAT_OK;

    flush->data_size += pt_write_buffer_data_size(buffer);
    flush->entry_count += pt_write_buffer_entry_count(buffer);
    if (pt_write_buffer_entry_count(buffer) == 0)
        return PEAT_OK;
    pt_work_memory_take(db, sort_size);
    status = pt_buffer_view_open_sealed(buffer, &flush->views[number]);
    pt_work_memory_give(db, sort_size);
    pt_held_buffer_account(held); /* the sorted run counts as the buffer's */
    if (status < 0)
        return status;
    PT_ASSERT(pt_buffer_view_run_count(flush->views[number]) <= 1);
    if (pt_buffer_view_run_count(flush->views[number]) == 1)
        pt_join_add_buffer(&flush->flatten.join, (unsigned)number, flush->views[number], 0, none,
                           none);
    pt_cover_init_buffer(cover, (unsigned)number, flush->views[number]);
    for (size_t i = 0; i < cover->range_count && status == PEAT_OK; i++)
        status =
            pt_range_bag_add(&flush->flatten.ranges, cover->ranges[i].low, cover->ranges[i].high);
    flush->flatten.cover_count += cover->range_count > 0;
    return status;
}

/* Behind what older runs have of keys up to @p key_max. */
static struct peat_bytes end_of_older(const struct pt_stack *stack, struct peat_bytes key_max)
{
    struct peat_bytes end = pt_bytes(NULL, 0);

    for (size_t i = 0; i < stack->run_count; i++) {
        const struct pt_run *run = stack->runs[i];
        size_t number = pt_run_find(run, key_max);

        if (number == run->slice_count || pt_bytes_compare(run->slices[number].low, key_max) > 0) {
            if (number == 0)
                continue;
            number--;
        }
        if (end.data == NULL || pt_bytes_compare(run->slices[number].high, end) > 0)
            end = run->slices[number].high;
    }
    return end;
}

/*
 * Where older runs have keys too, segments are small, because a merge can free a segment only when it
 * has come past its last key: of a run whose one segment spans all keys, nothing until the end. Behind
 * them a segment begins that is as large as can be: it meets nothing older, and will be moved, also
 * where the buffers have deletions at the other end.
 */
static enum peat_status choose_segment_size(struct flush *flush, struct pt_run_writer *writer)
{
    struct pt_join *join = &flush->flatten.join;
    uint64_t size = flush->data_size / SEGMENTS_MIN;
    enum peat_status status;

    if (flush->stack->run_count == 0 || join->count == 0)
        return PEAT_OK;
    if (size < SEGMENT_SIZE_MIN)
        size = SEGMENT_SIZE_MIN;
    if (size < writer->segment_size_max)
        writer->segment_size_max = size;
    status = pt_join_last(join);
    if (status < 0 || pt_join_top(join)->entry == NULL)
        return status;
    writer->bare_low = end_of_older(flush->stack, pt_join_top(join)->entry->key);
    if (writer->bare_low.data == NULL)
        writer->segment_size_max = PT_SEGMENT_SIZE_MAX;
    return PEAT_OK;
}

/* Write the buffers' contents as slices. */
static enum peat_status write_run(struct peat_db *db, struct flush *flush, struct pt_run **run_out)
{
    struct pt_slice_list slices = {NULL, 0, 0};
    struct pt_run_writer writer;
    struct peat_bytes stopped;
    enum peat_status status;

    *run_out = NULL;
    pt_run_writer_init(&writer, db, &slices, flush->data_size, flush->entry_count,
                       &db->counters.bytes_flushed);
    writer.write_size = WRITE_SIZE;
    status = choose_segment_size(flush, &writer);
    if (status == PEAT_OK)
        status = pt_flatten_run(&flush->flatten, &writer, &stopped);
    PT_ASSERT(status < 0 || stopped.data == NULL);
    if (status == PEAT_OK && slices.count > 0)
        status = pt_run_open(slices.slices, slices.count, run_out);
    pt_run_writer_fini(&writer);
    pt_slice_list_fini(&slices);
    return status;
}

static enum peat_status publish(struct peat_db *db, const struct flush *flush, struct pt_run *run)
{
    const struct pt_stack *stack = flush->stack;
    struct pt_run **runs = pt_calloc(stack->run_count + 1, sizeof(struct pt_run *));
    size_t run_count = 0;
    enum peat_status status;

    if (runs == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu runs", stack->run_count + 1);
    if (run != NULL)
        runs[run_count++] = run;
    memcpy(runs + run_count, stack->runs, stack->run_count * sizeof(struct pt_run *));
    run_count += stack->run_count;
    status = pt_publish_runs(db, stack->buffer_count - flush->first, runs, run_count, 0);
    pt_free(runs);
    return status;
}

enum peat_status pt_flush_step(struct peat_db *db)
{
    struct flush flush = {.first = 1};
    struct pt_stack *stack = NULL;
    struct pt_run *run = NULL;
    enum peat_status status = pt_shelf_copy(&db->shelf, &stack);

    if (status == PEAT_OK && stack->buffer_count == 1)
        status = PEAT_DONE;
    if (status != PEAT_OK)
        goto done;
    flush.stack = stack;
    flush.flatten.bottom = stack->run_count == 0;
    flush.flatten.covers = flush.covers;
    if (db->merger.whole_low.data != NULL) /* space is short: in pieces, with merging in between */
        flush.first = stack->buffer_count - 1;
    status = pt_join_init(&flush.flatten.join, stack->buffer_count - flush.first, 0);
    for (size_t i = flush.first; i < stack->buffer_count && status == PEAT_OK; i++)
        status = add_layer(db, &flush, i);
    if (status == PEAT_OK && db->log != NULL) /* nothing newer than the log may be in a segment */
        status = pt_log_push(db->log);
    if (status == PEAT_OK)
        status = write_run(db, &flush, &run);
    if (status == PEAT_OK)
        status = publish(db, &flush, run);
    if (status == PEAT_OK)
        atomic_fetch_add_explicit(&db->counters.flushes, 1, memory_order_relaxed);
done:
    pt_run_unpin(run);
    pt_flatten_fini(&flush.flatten);
    for (size_t i = 0; i < PT_STACK_BUFFERS_MAX; i++)
        pt_buffer_view_close(flush.views[i]);
    for (size_t i = 1; stack != NULL && i < stack->buffer_count; i++)
        pt_held_buffer_account(stack->buffers[i]); /* a snapshot may keep it */
    pt_stack_free(stack);
    return status;
}

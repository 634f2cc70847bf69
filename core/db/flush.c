/*
 * Flush: sealed write buffers become a run.
 *
 * All that are sealed go at once, so that after a burst there is one run instead of several. The new
 * manifest begins the log where the oldest remaining buffer begins.
 */
#include "core/base/alloc.h"
#include "core/db/flatten.h"

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

static enum peat_status add_layer(struct flush *flush, size_t number)
{
    struct pt_write_buffer *buffer = flush->stack->buffers[number]->buffer;
    struct pt_cover *cover = &flush->covers[flush->flatten.cover_count];
    struct peat_bytes none = pt_bytes(NULL, 0);
    enum peat_status status = PEAT_OK;

    flush->data_size += pt_write_buffer_data_size(buffer);
    flush->entry_count += pt_write_buffer_entry_count(buffer);
    if (pt_write_buffer_entry_count(buffer) == 0)
        return PEAT_OK;
    status = pt_buffer_view_open_sealed(buffer, &flush->views[number]);
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
    status = pt_flatten_run(&flush->flatten, &writer, &stopped);
    PT_ASSERT(status < 0 || stopped.data == NULL);
    if (status == PEAT_OK && slices.count > 0)
        status = pt_run_open(slices.slices, slices.count, run_out);
    pt_run_writer_fini(&writer);
    pt_slice_list_fini(&slices);
    return status;
}

static enum peat_status install(struct peat_db *db, const struct flush *flush, struct pt_run *run)
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
    status = pt_install(db, runs, run_count, &stack->buffers[flush->first - 1]->start);
    if (status == PEAT_OK)
        status = pt_publish_runs(db, stack->buffer_count - flush->first, runs, run_count);
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
    status = pt_join_init(&flush.flatten.join, stack->buffer_count - 1, 0);
    for (size_t i = 1; i < stack->buffer_count && status == PEAT_OK; i++)
        status = add_layer(&flush, i);
    if (status == PEAT_OK && db->log != NULL) /* nothing newer than the log may be in a segment */
        status = pt_log_push(db->log);
    if (status == PEAT_OK)
        status = write_run(db, &flush, &run);
    if (status == PEAT_OK)
        status = install(db, &flush, run);
    if (status == PEAT_OK)
        atomic_fetch_add_explicit(&db->counters.flushes, 1, memory_order_relaxed);
done:
    pt_run_unpin(run);
    pt_flatten_fini(&flush.flatten);
    for (size_t i = 0; i < PT_STACK_BUFFERS_MAX; i++)
        pt_buffer_view_close(flush.views[i]);
    pt_stack_free(stack);
    return status;
}

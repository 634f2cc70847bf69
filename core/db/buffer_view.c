#include "core/db/buffer_view.h"

enum { TAIL_COUNT_MAX = 32 /* entries: a longer unsorted tail becomes a kept run */ };

static enum peat_status covers_load(struct pt_buffer_view *view,
                                    const struct pt_write_buffer *buffer)
{
    /* Acquire pairs with the release in publish_ranges(). */
    uint32_t newest = atomic_load_explicit(&buffer->newest_range, memory_order_acquire);
    const struct pt_range_list *list;
    struct pt_range_list *own;
    size_t count_max;

    if (newest == 0)
        return PEAT_OK;
    list = pt_write_buffer_ranges(buffer, newest, &own);
    if (list == NULL)
        return pt_fail(PEAT_NO_MEMORY, "range deletes of a write buffer");
    count_max = pt_range_list_fragment_count(list);
    view->covers = pt_malloc(count_max * (sizeof(view->covers[0]) + sizeof(view->ranges[0])));
    if (view->covers != NULL) {
        view->cover_count = pt_range_list_covers(list, view->commit, view->covers);
        view->ranges = (void *)(view->covers + count_max);
    }
    pt_range_list_free(own);
    if (view->covers == NULL)
        return pt_fail(PEAT_NO_MEMORY, "%zu range deletes of a view", count_max);
    for (size_t i = 0; i < view->cover_count; i++)
        view->ranges[i] = (struct pt_key_range){view->covers[i].low, view->covers[i].high};
    return PEAT_OK;
}

/* What is published in a buffer, as a view finds it. */
struct published {
    uint64_t end;       /* offset */
    size_t entry_count; /* before end, or some more */
};

/* Entries that the view's set does not cover: none, or how many at most. */
static size_t tail_count(const struct pt_buffer_view *view, const struct published *published)
{
    if (view->set == NULL)
        return published->end > PT_AREA_START ? published->entry_count : 0;
    return published->end > view->set->end ? published->entry_count - view->set->entry_count : 0;
}

/* Pin the kept runs, and have the tail among them if it is long. */
static void set_load(struct pt_buffer_view *view, struct pt_write_buffer *buffer,
                     const struct published *published)
{
    view->set = pt_kept_runs_pin(&buffer->kept);
    if (tail_count(view, published) < TAIL_COUNT_MAX ||
        !pt_kept_runs_extend(&buffer->kept, buffer->area, published->end, published->entry_count))
        return;
    pt_run_set_unpin(view->set);
    view->set = pt_kept_runs_pin(&buffer->kept);
}

/* Sort the tail for this view alone. */
static enum peat_status own_load(struct pt_buffer_view *view, struct pt_write_buffer *buffer,
                                 const struct published *published)
{
    uint64_t begin = view->set == NULL ? PT_AREA_START : view->set->end;
    size_t count = tail_count(view, published);

    view->run_count = view->set == NULL ? 0 : view->set->count;
    if (count == 0)
        return PEAT_OK;
    view->own =
        pt_sorted_run_new(buffer->area, begin, published->end, count, &buffer->kept.memory_size);
    if (view->own == NULL)
        return pt_fail(PEAT_NO_MEMORY, "a sorted run of a write buffer");
    if (view->own->count > 0) {
        view->run_count++;
    } else { /* the tail is of range deletes alone */
        pt_sorted_run_unpin(view->own);
        view->own = NULL;
    }
    return PEAT_OK;
}

/* @p commit of @p buffer, with kept runs if @p keep. */
static enum peat_status view_open(struct pt_write_buffer *buffer, uint64_t commit, bool keep,
                                  struct pt_buffer_view **view_out)
{
    struct pt_buffer_view *view = pt_calloc(1, sizeof(*view));
    struct published published;
    enum peat_status status;

    *view_out = NULL;
    if (view == NULL)
        return pt_fail(PEAT_NO_MEMORY, "view of a write buffer");
    view->commit = commit;
    /* Acquire pairs with the release in pt_write_buffer_publish(): the entries before the end, and
     * the count, which is theirs or of a later end. */
    published.end = atomic_load_explicit(&buffer->published_end, memory_order_acquire);
    published.entry_count = atomic_load_explicit(&buffer->published_count, memory_order_relaxed);
    if (keep)
        set_load(view, buffer, &published);
    status = own_load(view, buffer, &published);
    if (status == PEAT_OK)
        status = covers_load(view, buffer);
    if (status < 0) {
        pt_buffer_view_close(view);
        view = NULL;
    }
    *view_out = view;
    return status;
}

enum peat_status pt_buffer_view_open(struct pt_write_buffer *buffer, uint64_t commit,
                                     struct pt_buffer_view **view_out)
{
    return view_open(buffer, commit, true, view_out);
}

enum peat_status pt_buffer_view_open_sealed(struct pt_write_buffer *buffer,
                                            struct pt_buffer_view **view_out)
{
    return view_open(buffer, pt_write_buffer_commit(buffer), false, view_out);
}

void pt_buffer_view_close(struct pt_buffer_view *view)
{
    if (view == NULL)
        return;
    pt_run_set_unpin(view->set);
    pt_sorted_run_unpin(view->own);
    pt_free(view->covers);
    pt_free(view);
}

size_t pt_buffer_view_run_count(const struct pt_buffer_view *view)
{
    return view->run_count;
}

const struct pt_key_range *pt_buffer_view_ranges(const struct pt_buffer_view *view,
                                                 size_t *count_out)
{
    *count_out = view->cover_count;
    return view->ranges;
}

size_t pt_buffer_view_cover_above(const struct pt_buffer_view *view, struct peat_bytes key)
{
    size_t from = 0;
    size_t to = view->cover_count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (pt_bytes_compare(view->covers[middle].high, key) > 0)
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

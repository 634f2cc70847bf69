/*
 * Cursors over one sorted run. In a run the versions of a key stand together, newest first, the
 * later ones marked as repeats; a cursor looks at one such group at a time and stops at the first
 * version that its view can see, unless a range delete hides it.
 */
#include "core/db/buffer_view.h"

/* A walk prefetches further and further ahead: a seek followed by few steps shall not pay for many
 * entries. */
enum {
    PREFETCH_DISTANCE_MIN = 3, /* references */
    PREFETCH_DISTANCE_MAX = 24,
    PREFETCH_SIZE = 192 /* bytes of an entry, from its header on */
};

void pt_buffer_cursor_init(struct pt_buffer_cursor *cursor, const struct pt_buffer_view *view,
                           size_t run)
{
    *cursor = (struct pt_buffer_cursor){.view = view, .run = pt_buffer_view_run(view, run)};
}

static PT_ALWAYS_INLINE void prefetch_entry(const struct pt_sorted_run *run, size_t i)
{
    const uint8_t *entry;

    if (i >= run->count) /* before the first, too: it wraps */
        return;
    entry = pt_area_at(run->area, run->references[i].place);
    for (size_t offset = 0; offset < PREFETCH_SIZE; offset += PT_CACHE_LINE)
        __builtin_prefetch(entry + offset);
}

/* Prefetch from a place that a walk comes to, at index @p i. */
static PT_ALWAYS_INLINE void prefetch_start(struct pt_buffer_cursor *cursor, size_t i, bool forward)
{
    for (size_t n = 0; n <= PREFETCH_DISTANCE_MIN; n++)
        prefetch_entry(cursor->run, forward ? i + n : i - n);
    cursor->fetched = PREFETCH_DISTANCE_MIN;
}

/* The same as it goes on, to index @p i. */
static PT_ALWAYS_INLINE void prefetch_next(struct pt_buffer_cursor *cursor, size_t i, bool forward)
{
    size_t first = cursor->fetched;

    if (cursor->fetched < PREFETCH_DISTANCE_MAX)
        cursor->fetched++;
    for (size_t n = first; n <= cursor->fetched; n++)
        prefetch_entry(cursor->run, forward ? i + n : i - n);
}

/* Keep cover at the first range delete that ends behind @p key. It moves with the cursor. */
static void follow(struct pt_buffer_cursor *cursor, struct peat_bytes key)
{
    const struct pt_buffer_view *view = cursor->view;

    while (cursor->cover < view->cover_count &&
           pt_bytes_compare(view->covers[cursor->cover].high, key) <= 0)
        cursor->cover++;
    while (cursor->cover > 0 && pt_bytes_compare(view->covers[cursor->cover - 1].high, key) > 0)
        cursor->cover--;
}

/* The range delete that hides the entry of @p key at @p place; NULL: none. */
static const struct pt_range_cover *cover_of(struct pt_buffer_cursor *cursor, struct peat_bytes key,
                                             uint32_t place)
{
    const struct pt_buffer_view *view = cursor->view;
    const struct pt_range_cover *cover;

    if (view->cover_count == 0)
        return NULL;
    follow(cursor, key);
    if (cursor->cover == view->cover_count)
        return NULL;
    cover = &view->covers[cursor->cover];
    return cover->place > place && pt_bytes_compare(cover->low, key) <= 0 ? cover : NULL;
}

/* Whether @p cover is newer than all of the run: then nothing in it is visible. */
static bool covers_run(const struct pt_range_cover *cover, const struct pt_sorted_run *run)
{
    return cover->place >= pt_area_place(run->end);
}

/* The index behind the group whose reference is at @p i. */
static size_t group_end(const struct pt_sorted_run *run, size_t i)
{
    do
        i++;
    while (i < run->count && run->references[i].repeats);
    return i;
}

static size_t group_start(const struct pt_sorted_run *run, size_t i)
{
    while (run->references[i].repeats)
        i--;
    return i;
}

/* The index of the version that the view sees in the group at [start, end); end if none. */
static size_t visible_version(const struct pt_buffer_cursor *cursor, size_t start, size_t end)
{
    const struct pt_sorted_run *run = cursor->run;
    size_t i = start;

    while (i < end &&
           pt_area_header(run->area, run->references[i].place)->commit > cursor->view->commit)
        i++;
    return i;
}

/* Stop at the first visible entry at or after index @p start, where a group starts. */
static bool stop_forward(struct pt_buffer_cursor *cursor, size_t start)
{
    const struct pt_sorted_run *run = cursor->run;

    while (start < run->count) {
        size_t end = group_end(run, start);
        size_t i = visible_version(cursor, start, end);
        const struct pt_range_cover *cover;

        prefetch_next(cursor, end, true);
        start = end;
        if (i == end)
            continue;
        (void)pt_area_entry(run->area, run->references[i].place, &cursor->entry);
        cover = cover_of(cursor, cursor->entry.key, run->references[i].place);
        if (cover == NULL) {
            cursor->index = i;
            return true;
        }
        if (covers_run(cover, run))
            start = pt_sorted_run_bound(run, cover->high, false);
    }
    return false;
}

/* Stop at the last visible entry before index @p end, where a group ends. */
static bool stop_backward(struct pt_buffer_cursor *cursor, size_t end)
{
    const struct pt_sorted_run *run = cursor->run;

    while (end > 0) {
        size_t start = group_start(run, end - 1);
        size_t i = visible_version(cursor, start, end);
        const struct pt_range_cover *cover;

        prefetch_next(cursor, start - 1, false);
        if (i == end) {
            end = start;
            continue;
        }
        end = start;
        (void)pt_area_entry(run->area, run->references[i].place, &cursor->entry);
        cover = cover_of(cursor, cursor->entry.key, run->references[i].place);
        if (cover == NULL) {
            cursor->index = i;
            return true;
        }
        if (covers_run(cover, run))
            end = pt_sorted_run_bound(run, cover->low, false);
    }
    return false;
}

bool pt_buffer_cursor_first(struct pt_buffer_cursor *cursor)
{
    prefetch_start(cursor, 0, true);
    return stop_forward(cursor, 0);
}

bool pt_buffer_cursor_last(struct pt_buffer_cursor *cursor)
{
    prefetch_start(cursor, cursor->run->count - 1, false);
    return stop_backward(cursor, cursor->run->count);
}

bool pt_buffer_cursor_seek(struct pt_buffer_cursor *cursor, struct peat_bytes key)
{
    size_t start = pt_sorted_run_bound(cursor->run, key, false);

    cursor->cover = pt_buffer_view_cover_above(cursor->view, key);
    prefetch_start(cursor, start, true);
    return stop_forward(cursor, start);
}

bool pt_buffer_cursor_seek_before(struct pt_buffer_cursor *cursor, struct peat_bytes key,
                                  bool strictly)
{
    size_t end = pt_sorted_run_bound(cursor->run, key, !strictly);

    cursor->cover = pt_buffer_view_cover_above(cursor->view, key);
    prefetch_start(cursor, end - 1, false);
    return stop_backward(cursor, end);
}

bool pt_buffer_cursor_next(struct pt_buffer_cursor *cursor)
{
    return stop_forward(cursor, group_end(cursor->run, cursor->index));
}

bool pt_buffer_cursor_previous(struct pt_buffer_cursor *cursor)
{
    return stop_backward(cursor, group_start(cursor->run, cursor->index));
}

#include "core/db/cover.h"

void pt_cover_init_buffer(struct pt_cover *cover, unsigned layer, const struct pt_buffer_view *view)
{
    memset(cover, 0, sizeof(*cover));
    cover->layer = layer;
    cover->ranges = pt_buffer_view_ranges(view, &cover->range_count);
}

void pt_cover_init_run(struct pt_cover *cover, unsigned layer, const struct pt_run *run)
{
    memset(cover, 0, sizeof(*cover));
    cover->layer = layer;
    cover->run = run;
}

/* The first range whose high is above @p key. */
static size_t range_find(const struct pt_cover *cover, struct peat_bytes key)
{
    size_t begin = 0;
    size_t end = cover->range_count;

    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;

        if (pt_bytes_compare(cover->ranges[middle].high, key) > 0)
            end = middle;
        else
            begin = middle + 1;
    }
    return begin;
}

static void ask_ranges(struct pt_cover *cover, struct peat_bytes key)
{
    size_t i = range_find(cover, key);
    struct peat_bytes none = pt_bytes(NULL, 0);

    cover->low = i == 0 ? none : cover->ranges[i - 1].high;
    cover->high = none;
    cover->covered = false;
    if (i == cover->range_count)
        return;
    cover->high = cover->ranges[i].low;
    if (pt_bytes_compare(cover->ranges[i].low, key) <= 0) {
        cover->covered = true;
        cover->low = cover->ranges[i].low;
        cover->high = cover->ranges[i].high;
    }
}

enum peat_status pt_cover_ask(struct pt_cover *cover, struct peat_bytes key)
{
    enum peat_status status = PEAT_OK;

    if (cover->known && (cover->low.data == NULL || pt_bytes_compare(cover->low, key) <= 0) &&
        (cover->high.data == NULL || pt_bytes_compare(key, cover->high) < 0))
        return PEAT_OK;
    cover->known = false;
    if (cover->run != NULL)
        status = pt_run_covers(cover->run, key, &cover->covered, &cover->low, &cover->high);
    else
        ask_ranges(cover, key);
    cover->known = status == PEAT_OK;
    return status;
}

enum peat_status pt_covers_find(struct pt_cover *covers, size_t count, unsigned layer,
                                struct peat_bytes key, const struct pt_cover **cover_out)
{
    *cover_out = NULL;
    for (size_t i = 0; i < count && covers[i].layer < layer; i++) {
        enum peat_status status = pt_cover_ask(&covers[i], key);

        if (status < 0)
            return status;
        if (covers[i].covered) {
            *cover_out = &covers[i];
            break;
        }
    }
    return PEAT_OK;
}

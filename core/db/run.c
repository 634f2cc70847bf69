#include "core/db/run.h"

#include "core/base/alloc.h"
#include "core/segment/rescue.h"

static bool is_below(struct peat_bytes a, struct peat_bytes b)
{
    return pt_bytes_compare(a, b) < 0;
}

/* ---- Opening ---- */

/* Whether the segment's entries and range deletes all lie in [low, high). */
static enum peat_status slice_is_whole(const struct pt_slice *slice, bool *whole_out)
{
    struct pt_segment *segment = slice->held->segment;
    struct pt_entry first;
    struct pt_entry last;
    enum peat_status status;

    *whole_out = false;
    if (segment->lost < 0) /* its limits are all that is known of it */
        return segment->lost;
    if (segment->entry_count > 0 &&
        (is_below(segment->min_key, slice->low) || !is_below(segment->max_key, slice->high)))
        return PEAT_OK;
    if (segment->range_count > 0) {
        status = pt_segment_range(segment, 0, &first);
        if (status == PEAT_OK)
            status = pt_segment_range(segment, segment->range_count - 1, &last);
        if (status < 0)
            return status;
        if (is_below(first.key, slice->low) || is_below(slice->high, last.value))
            return PEAT_OK;
    }
    *whole_out = true;
    return PEAT_OK;
}

/* The share of a slice that is not whole, by the number of entries in it. */
static enum peat_status slice_share(const struct pt_slice *slice, uint64_t *size_out)
{
    struct pt_segment *segment = slice->held->segment;
    uint64_t size = slice->held->summary.size;
    uint64_t first;
    uint64_t end;
    enum peat_status status;

    *size_out = size;
    if (segment->entry_count == 0) /* range deletes alone: small */
        return PEAT_OK;
    status = pt_segment_seek(segment, slice->low, &first);
    if (status == PEAT_OK)
        status = pt_segment_seek(segment, slice->high, &end);
    if (status < 0)
        return status;
    if (end < first) /* the index is not in order: leave it to whoever reads the entries */
        return PEAT_OK;
    *size_out = (uint64_t)((double)size * ((double)(end - first) / (double)segment->entry_count));
    return PEAT_OK;
}

/*
 * Fill size and whole. They are estimates for the merger, so damage is no reason to fail: the store
 * must open around it. A damaged segment counts in full and as cut, and whoever reads it is told.
 */
static void slice_measure(struct pt_slice *slice)
{
    slice->size = slice->held->summary.size;
    slice->whole = false;
    if (slice_is_whole(slice, &slice->whole) == PEAT_OK && !slice->whole)
        (void)slice_share(slice, &slice->size);
    if (slice->size == 0)
        slice->size = 1; /* sizes are compared by their ratio */
}

/* How many leading bytes all lows but the first have in common. */
static size_t lows_common(const struct pt_slice *slices, size_t slice_count)
{
    if (slice_count < 2)
        return 0;
    /* They ascend, so what the two ends share, all between them share. */
    return pt_bytes_common(slices[1].low, slices[slice_count - 1].low);
}

static struct peat_bytes key_place(uint8_t **place, struct peat_bytes key)
{
    struct peat_bytes copy = pt_bytes(*place, key.size);

    if (key.size > 0)
        memcpy(*place, key.data, key.size);
    *place += key.size;
    return copy;
}

static size_t keys_size(const struct pt_slice *slices, size_t slice_count)
{
    size_t size = 0;

    for (size_t i = 0; i < slice_count; i++) {
        PT_ASSERT(is_below(slices[i].low, slices[i].high));
        if (i > 0)
            PT_ASSERT(!is_below(slices[i].low, slices[i - 1].high));
        size += slices[i].low.size + slices[i].high.size;
    }
    return size;
}

/* Cells for each slice: so many that few of them hold a low. */
enum { GUIDE_CELLS = 8 };

/* Whether the quick get may ask the segment of @p slice alone. */
static bool slice_is_quick(const struct pt_slice *slice)
{
    const struct pt_segment *segment = slice->held->segment;

    return slice->whole && segment->range_count == 0 && segment->bucket_count > 0;
}

/* What is not in a list of its own. The prefixes are there. */
static void guide_fill(struct pt_run *run)
{
    struct pt_run_guide *guide = &run->guide;
    size_t count = run->slice_count - 1; /* of prefixes; [1] to [count] */
    size_t below = 0;
    uint64_t span;

    for (size_t i = 0; i < run->slice_count; i++)
        guide->segments[i] = slice_is_quick(&run->slices[i]) ? run->slices[i].held->segment : NULL;
    guide->usable = count == 0 || run->common_size > 0;
    guide->cell_count = 1;
    if (count == 0 || !guide->usable)
        return;
    guide->head = *(const uint8_t *)run->slices[1].low.data;
    guide->first_prefix = guide->prefixes[1];
    span = guide->prefixes[count] - guide->first_prefix;
    while (span >> guide->shift >= GUIDE_CELLS * run->slice_count)
        guide->shift++;
    guide->cell_count = (span >> guide->shift) + 1;
    for (uint64_t cell = 0; cell < guide->cell_count; cell++) {
        while (below < count &&
               (guide->prefixes[below + 1] - guide->first_prefix) >> guide->shift < cell)
            below++;
        guide->cells[cell] = (uint32_t)below;
    }
    guide->cells[guide->cell_count] = (uint32_t)count;
}

/* Where the lists behind the slices lie, by the size of their parts; then the keys. */
static void lists_place(struct pt_run *run, size_t slice_count)
{
    run->low_prefixes = (uint64_t *)(void *)(run->slices + slice_count);
    run->guide.prefixes = run->low_prefixes + slice_count;
    run->guide.segments = (struct pt_segment **)(void *)(run->guide.prefixes + slice_count);
    run->guide.cells = (uint32_t *)(void *)(run->guide.segments + slice_count);
    run->keys = (uint8_t *)(run->guide.cells + GUIDE_CELLS * slice_count + 1);
}

enum peat_status pt_run_open(const struct pt_slice *slices, size_t slice_count,
                             struct pt_run **run_out)
{
    size_t lists_size = slice_count * (sizeof(struct pt_slice) + 2 * sizeof(uint64_t) +
                                       sizeof(struct pt_segment *)) +
                        (GUIDE_CELLS * slice_count + 1) * sizeof(uint32_t);
    struct pt_run *run;
    uint8_t *place;

    PT_ASSERT(slice_count > 0);
    *run_out = NULL;
    run = pt_malloc(sizeof(*run) + lists_size + keys_size(slices, slice_count));
    if (run == NULL)
        return pt_fail(PEAT_NO_MEMORY, "run of %zu slices", slice_count);
    memset(run, 0, sizeof(*run));
    atomic_init(&run->pins, 1);
    run->slice_count = slice_count;
    run->common_size = lows_common(slices, slice_count);
    lists_place(run, slice_count);
    place = run->keys;
    for (size_t i = 0; i < slice_count; i++) {
        struct pt_slice *slice = &run->slices[i];

        slice->held = slices[i].held;
        pt_held_segment_pin(slice->held);
        slice->low = key_place(&place, slices[i].low);
        slice->high = key_place(&place, slices[i].high);
        slice_measure(slice);
        run->low_prefixes[i] = i == 0 ? 0 : pt_bytes_prefix(slice->low, run->common_size);
        run->guide.prefixes[i] =
            i == 0 || run->common_size == 0 ? 0 : pt_bytes_prefix(slice->low, 1);
        run->size += slice->size;
        run->has_ranges = run->has_ranges || slice->held->segment->range_count > 0;
    }
    guide_fill(run);
    *run_out = run;
    return PEAT_OK;
}

bool pt_run_damaged(const struct pt_run *run)
{
    for (size_t i = 0; i < run->slice_count; i++) {
        struct pt_segment *segment = run->slices[i].held->segment;
        const struct pt_rescue *rescue = pt_segment_rescued(segment);

        if (rescue != NULL && pt_rescue_loses(rescue)) /* perhaps no more */
            (void)pt_segment_rescue(segment, &rescue);
        if (segment->lost < 0 || (rescue != NULL && pt_rescue_loses(rescue)))
            return true;
    }
    return false;
}

void pt_run_pin(struct pt_run *run)
{
    uint64_t before = atomic_fetch_add_explicit(&run->pins, 1, memory_order_relaxed);

    PT_ASSERT(before > 0); /* only who has a pin may give another */
}

void pt_run_unpin(struct pt_run *run)
{
    uint64_t before;

    if (run == NULL)
        return;
    /* Pairs with itself: the last one sees what all others did before. */
    before = atomic_fetch_sub_explicit(&run->pins, 1, memory_order_acq_rel);
    PT_ASSERT(before > 0);
    if (before > 1)
        return;
    for (size_t i = 0; i < run->slice_count; i++)
        pt_held_segment_unpin(run->slices[i].held);
    pt_free(run);
}

/* ---- Finding ---- */

/* Among slices [first, end), whose prefixes are all @p key's, the first with low > @p key. */
static size_t tie_break(const struct pt_run *run, size_t first, size_t end, struct peat_bytes key)
{
    while (first < end) {
        size_t middle = first + (end - first) / 2;

        if (is_below(key, run->slices[middle].low))
            end = middle;
        else
            first = middle + 1;
    }
    return first;
}

/*
 * The number of the last slice with low <= @p key, or 0. The first slice's low plays no part: it is
 * the odd one out, since the smallest keys are the catalogue's, and without it the lows of a store
 * with one collection have all that its keys share in common.
 */
static size_t slice_at(const struct pt_run *run, struct peat_bytes key)
{
    size_t count = run->slice_count;
    size_t common = run->common_size;
    uint64_t prefix;
    size_t first;

    if (count == 1)
        return 0;
    if (common > 0) {
        size_t shared = key.size < common ? key.size : common;
        int order =
            pt_bytes_compare(pt_bytes(key.data, shared), pt_bytes(run->slices[1].low.data, common));

        if (order != 0)
            return order < 0 ? 0 : count - 1;
    }
    prefix = pt_bytes_prefix(key, common);
    first = 1 + pt_prefixes_below(run->low_prefixes + 1, count - 1, prefix);
    if (first < count && run->low_prefixes[first] == prefix) {
        size_t end = count;

        if (prefix < UINT64_MAX)
            end = first + pt_prefixes_below(run->low_prefixes + first, count - first, prefix + 1);
        first = tie_break(run, first, end, key);
    }
    return first - 1;
}

size_t pt_run_find(const struct pt_run *run, struct peat_bytes key)
{
    size_t index = slice_at(run, key);

    return is_below(key, run->slices[index].high) ? index : index + 1;
}

/* The slice that may hold @p key; NULL: it lies in a gap. The segment of a whole slice has nothing
 * outside its bounds, so asking it is as good as comparing them. */
static const struct pt_slice *slice_of(const struct pt_run *run, struct peat_bytes key)
{
    size_t index = slice_at(run, key);
    const struct pt_slice *slice = &run->slices[index];

    if (!slice->whole && (!is_below(key, slice->high) || (index == 0 && is_below(key, slice->low))))
        return NULL;
    return slice;
}

enum peat_status pt_run_get(const struct pt_run *run, struct peat_bytes key, uint64_t hash,
                            struct pt_entry *entry_out)
{
    const struct pt_slice *slice = slice_of(run, key);
    struct pt_segment *segment;
    struct pt_entry range;
    enum peat_status status;
    uint64_t index;

    if (slice == NULL)
        return PEAT_NOT_FOUND;
    segment = slice->held->segment;
    status = pt_segment_get(segment, key, hash, entry_out);
    if (status != PEAT_NOT_FOUND || segment->range_count == 0)
        return status;
    status = pt_segment_range_seek(segment, key, &index);
    if (status < 0)
        return status;
    if (index == segment->range_count)
        return PEAT_NOT_FOUND;
    status = pt_segment_range(segment, index, &range);
    if (status < 0)
        return status;
    if (is_below(key, range.key))
        return PEAT_NOT_FOUND;
    entry_out->op = PT_OP_DELETE;
    entry_out->key = key;
    entry_out->value = pt_bytes(NULL, 0);
    return PEAT_OK;
}

/* ---- Range deletes ---- */

/*
 * The first range delete of @p slice whose high is > @p key, clipped to the slice, as key and value.
 * PEAT_DONE: there is none.
 */
static enum peat_status range_at_or_above(const struct pt_slice *slice, struct peat_bytes key,
                                          struct pt_entry *range_out)
{
    struct pt_segment *segment = slice->held->segment;
    enum peat_status status;
    uint64_t index;

    if (segment->range_count == 0 || !is_below(key, slice->high))
        return PEAT_DONE;
    if (is_below(key, slice->low))
        key = slice->low;
    status = pt_segment_range_seek(segment, key, &index);
    if (status < 0)
        return status;
    if (index == segment->range_count)
        return PEAT_DONE;
    status = pt_segment_range(segment, index, range_out);
    if (status < 0)
        return status;
    if (!is_below(range_out->key, slice->high))
        return PEAT_DONE;
    if (is_below(range_out->key, slice->low))
        range_out->key = slice->low;
    if (is_below(slice->high, range_out->value))
        range_out->value = slice->high;
    return PEAT_OK;
}

/*
 * Where the last range delete of @p slice below @p key ends, clipped to the slice; @p key is in none
 * of its range deletes, or past the slice. PEAT_DONE: there is none.
 */
static enum peat_status range_end_below(const struct pt_slice *slice, struct peat_bytes key,
                                        struct peat_bytes *end_out)
{
    struct pt_segment *segment = slice->held->segment;
    struct pt_entry range;
    enum peat_status status;
    uint64_t index;

    if (segment->range_count == 0 || !is_below(slice->low, key))
        return PEAT_DONE;
    if (!is_below(key, slice->high))
        key = slice->high;
    status = pt_segment_range_seek(segment, key, &index);
    if (status < 0)
        return status;
    if (index < segment->range_count) { /* at the slice's end, one may reach past it */
        status = pt_segment_range(segment, index, &range);
        if (status < 0)
            return status;
        if (is_below(range.key, key)) {
            *end_out = key;
            return PEAT_OK;
        }
    }
    if (index == 0)
        return PEAT_DONE;
    status = pt_segment_range(segment, index - 1, &range);
    if (status < 0)
        return status;
    if (!is_below(slice->low, range.value))
        return PEAT_DONE;
    *end_out = range.value;
    return PEAT_OK;
}

static bool is_damage(enum peat_status status)
{
    return status == PEAT_CORRUPT || status == PEAT_IO;
}

/* What pt_run_covers() says of a key outside all range deletes: [end of the last one below, begin of
 * the next one above). */
static enum peat_status bare_interval(const struct pt_run *run, size_t index, struct peat_bytes key,
                                      struct peat_bytes *low_out, struct peat_bytes *high_out)
{
    enum peat_status status = PEAT_DONE;
    struct pt_entry range;

    for (size_t i = index; i < run->slice_count && status == PEAT_DONE; i++) {
        status = range_at_or_above(&run->slices[i], key, &range);
        if (is_damage(status)) { /* of another slice: what is told ends there */
            range.key = run->slices[i].low;
            status = PEAT_OK;
        }
    }
    if (status < 0)
        return status;
    *high_out = status == PEAT_OK ? range.key : pt_bytes(NULL, 0);

    status = PEAT_DONE;
    for (size_t i = index < run->slice_count ? index + 1 : index; i > 0 && status == PEAT_DONE;
         i--) {
        status = range_end_below(&run->slices[i - 1], key, low_out);
        if (is_damage(status)) {
            *low_out = run->slices[i - 1].high;
            status = PEAT_OK;
        }
    }
    if (status < 0)
        return status;
    if (status == PEAT_DONE)
        *low_out = pt_bytes(NULL, 0);
    return PEAT_OK;
}

enum peat_status pt_run_covers(const struct pt_run *run, struct peat_bytes key, bool *covered_out,
                               struct peat_bytes *low_out, struct peat_bytes *high_out)
{
    enum peat_status status;
    struct pt_entry range;
    size_t index;

    *covered_out = false;
    *low_out = pt_bytes(NULL, 0);
    *high_out = pt_bytes(NULL, 0);
    if (!run->has_ranges)
        return PEAT_OK;
    index = pt_run_find(run, key);
    if (index < run->slice_count && !is_below(key, run->slices[index].low)) {
        status = range_at_or_above(&run->slices[index], key, &range);
        if (status < 0)
            return status;
        if (status == PEAT_OK && !is_below(key, range.key)) {
            *covered_out = true;
            *low_out = range.key;
            *high_out = range.value;
            return PEAT_OK;
        }
    }
    return bare_interval(run, index, key, low_out, high_out);
}

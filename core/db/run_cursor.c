#include "core/db/run_cursor.h"

void pt_run_cursor_init(struct pt_run_cursor *cursor, const struct pt_run *run,
                        struct peat_bytes low, struct peat_bytes high)
{
    memset(cursor, 0, sizeof(*cursor));
    cursor->run = run;
    cursor->low = low;
    cursor->high = high;
}

/* Stand on entry number @p ordinal of the slice. */
static enum peat_status stand(struct pt_run_cursor *cursor, uint64_t ordinal)
{
    uint64_t offset;
    enum peat_status status;

    PT_ASSERT(ordinal >= cursor->begin && ordinal < cursor->end);
    cursor->ordinal = ordinal;
    status = pt_segment_ordinal(cursor->segment, ordinal, &offset);
    if (status == PEAT_OK)
        status = pt_segment_entry(cursor->segment, offset, &cursor->entry, &cursor->next_offset);
    return status;
}

/* The number of the segment's first entry >= @p bound, without a search where its smallest or
 * largest key tells. */
static enum peat_status rank(struct pt_segment *segment, struct peat_bytes bound,
                             uint64_t *ordinal_out)
{
    *ordinal_out = 0;
    if (segment->entry_count == 0 || pt_bytes_compare(bound, segment->min_key) <= 0)
        return PEAT_OK;
    *ordinal_out = segment->entry_count;
    if (pt_bytes_compare(bound, segment->max_key) > 0)
        return PEAT_OK;
    return pt_segment_seek(segment, bound, ordinal_out);
}

/* Go into slice number @p number and turn its limits and the bounds into entry numbers. */
static enum peat_status enter(struct pt_run_cursor *cursor, size_t number)
{
    const struct pt_slice *slice = &cursor->run->slices[number];
    struct pt_segment *segment = slice->held->segment;
    struct peat_bytes low = slice->low;
    struct peat_bytes high = slice->high;
    enum peat_status status = PEAT_OK;

    if (cursor->low.data != NULL && pt_bytes_compare(cursor->low, low) > 0)
        low = cursor->low;
    if (cursor->high.data != NULL && pt_bytes_compare(cursor->high, high) < 0)
        high = cursor->high;
    cursor->slice = number;
    cursor->segment = segment;
    status = rank(segment, low, &cursor->begin);
    if (status == PEAT_OK)
        status = rank(segment, high, &cursor->end);
    return status;
}

/* From slice @p number upwards, to the first entry. */
static enum peat_status first_from(struct pt_run_cursor *cursor, size_t number)
{
    enum peat_status status = PEAT_OK;

    for (; number < cursor->run->slice_count; number++) {
        if (cursor->high.data != NULL &&
            pt_bytes_compare(cursor->run->slices[number].low, cursor->high) >= 0)
            break;
        status = enter(cursor, number);
        if (status < 0)
            return status;
        if (cursor->begin < cursor->end)
            return stand(cursor, cursor->begin);
    }
    return PEAT_DONE;
}

/* From the slice below @p number downwards, to the last entry. */
static enum peat_status last_below(struct pt_run_cursor *cursor, size_t number)
{
    enum peat_status status = PEAT_OK;

    while (number-- > 0) {
        if (cursor->low.data != NULL &&
            pt_bytes_compare(cursor->run->slices[number].high, cursor->low) <= 0)
            break;
        status = enter(cursor, number);
        if (status < 0)
            return status;
        if (cursor->begin < cursor->end)
            return stand(cursor, cursor->end - 1);
    }
    return PEAT_DONE;
}

enum peat_status pt_run_cursor_first(struct pt_run_cursor *cursor)
{
    size_t number = 0;

    if (cursor->low.data != NULL)
        number = pt_run_find(cursor->run, cursor->low);
    return first_from(cursor, number);
}

enum peat_status pt_run_cursor_last(struct pt_run_cursor *cursor)
{
    size_t number = cursor->run->slice_count;

    /* The slice that holds the bound may have entries below it. */
    if (cursor->high.data != NULL) {
        number = pt_run_find(cursor->run, cursor->high);
        if (number < cursor->run->slice_count)
            number++;
    }
    return last_below(cursor, number);
}

enum peat_status pt_run_cursor_seek(struct pt_run_cursor *cursor, struct peat_bytes key)
{
    size_t number;
    uint64_t ordinal;
    enum peat_status status;

    if (cursor->low.data != NULL && pt_bytes_compare(key, cursor->low) < 0)
        key = cursor->low;
    number = pt_run_find(cursor->run, key);
    if (number == cursor->run->slice_count)
        return PEAT_DONE;
    if (pt_bytes_compare(key, cursor->run->slices[number].low) <= 0)
        return first_from(cursor, number);
    status = enter(cursor, number);
    if (status == PEAT_OK)
        status = rank(cursor->segment, key, &ordinal);
    if (status < 0)
        return status;
    if (ordinal < cursor->begin)
        ordinal = cursor->begin;
    if (ordinal < cursor->end)
        return stand(cursor, ordinal);
    return first_from(cursor, number + 1);
}

enum peat_status pt_run_cursor_seek_before(struct pt_run_cursor *cursor, struct peat_bytes key,
                                           bool strictly)
{
    size_t number = pt_run_find(cursor->run, key);
    uint64_t ordinal;
    enum peat_status status;

    if (number == cursor->run->slice_count ||
        pt_bytes_compare(key, cursor->run->slices[number].low) < 0)
        return last_below(cursor, number);
    status = enter(cursor, number);
    if (status == PEAT_OK)
        status = rank(cursor->segment, key, &ordinal);
    if (status < 0)
        return status;
    if (!strictly && ordinal >= cursor->begin && ordinal < cursor->end) {
        status = stand(cursor, ordinal);
        if (status < 0 || pt_bytes_equal(cursor->entry.key, key))
            return status;
    }
    if (ordinal > cursor->end)
        ordinal = cursor->end;
    if (ordinal > cursor->begin)
        return stand(cursor, ordinal - 1);
    return last_below(cursor, number);
}

enum peat_status pt_run_cursor_next_slice(struct pt_run_cursor *cursor)
{
    return first_from(cursor, cursor->slice + 1);
}

enum peat_status pt_run_cursor_previous(struct pt_run_cursor *cursor)
{
    if (cursor->ordinal > cursor->begin)
        return stand(cursor, cursor->ordinal - 1);
    return last_below(cursor, cursor->slice);
}

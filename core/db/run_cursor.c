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
    if (segment->entry_count == 0) /* there are none, or it is lost, as a seek tells */
        return pt_segment_seek(segment, bound, ordinal_out);
    if (pt_bytes_compare(bound, segment->min_key) <= 0)
        return PEAT_OK;
    *ordinal_out = segment->entry_count;
    if (pt_bytes_compare(bound, segment->max_key) > 0)
        return PEAT_OK;
    return pt_segment_seek(segment, bound, ordinal_out);
}

/* The slice's limits, cut by the bounds. */
static void limits(const struct pt_run_cursor *cursor, size_t number, struct peat_bytes *low_out,
                   struct peat_bytes *high_out)
{
    const struct pt_slice *slice = &cursor->run->slices[number];

    *low_out = slice->low;
    *high_out = slice->high;
    if (cursor->low.data != NULL && pt_bytes_compare(cursor->low, slice->low) > 0)
        *low_out = cursor->low;
    if (cursor->high.data != NULL && pt_bytes_compare(cursor->high, slice->high) < 0)
        *high_out = cursor->high;
}

/* Go into slice number @p number and turn its limits and the bounds into entry numbers. */
static enum peat_status enter(struct pt_run_cursor *cursor, size_t number)
{
    struct pt_segment *segment = cursor->run->slices[number].held->segment;
    struct peat_bytes low;
    struct peat_bytes high;
    enum peat_status status = PEAT_OK;

    limits(cursor, number, &low, &high);
    cursor->slice = number;
    cursor->segment = segment;
    cursor->rescue = NULL;
    cursor->in_gap = false;
    status = rank(segment, low, &cursor->begin);
    if (status == PEAT_OK)
        status = rank(segment, high, &cursor->end);
    return status;
}

/* ---- In a rescue ---- */

static enum peat_status first_from(struct pt_run_cursor *cursor, size_t number);
static enum peat_status last_below(struct pt_run_cursor *cursor, size_t number);

/*
 * Go on in the rescue of the slice in which @p status was met, anywhere: an error if that is none that
 * a rescue helps with. Nothing the inline step looks at lets it go on by itself.
 */
static enum peat_status rescue_enter(struct pt_run_cursor *cursor, enum peat_status status)
{
    struct peat_bytes low;
    struct peat_bytes high;

    if (status != PEAT_CORRUPT && status != PEAT_IO)
        return status;
    limits(cursor, cursor->slice, &low, &high);
    cursor->in_gap = false;
    status = pt_segment_rescue(cursor->segment, &cursor->rescue);
    if (status == PEAT_OK)
        status = pt_rescue_seek(cursor->segment, cursor->rescue, low, &cursor->begin);
    if (status == PEAT_OK)
        status = pt_rescue_seek(cursor->segment, cursor->rescue, high, &cursor->end);
    if (status < 0)
        cursor->rescue = NULL;
    cursor->ordinal = UINT64_MAX - 1; /* no entry number: every step takes the slow way */
    return status;
}

static enum peat_status rescue_stand(struct pt_run_cursor *cursor, uint64_t number)
{
    cursor->number = number;
    cursor->in_gap = false;
    return pt_rescue_entry(cursor->segment, cursor->rescue, number, &cursor->entry);
}

/* The gap before entry @p number, within slice and bounds. PEAT_NOT_FOUND: there is none. */
static enum peat_status rescue_gap(struct pt_run_cursor *cursor, uint64_t number,
                                   struct pt_gap *gap_out)
{
    struct peat_bytes low;
    struct peat_bytes high;
    enum peat_status status = pt_rescue_gap(cursor->segment, cursor->rescue, number, gap_out);

    if (status != PEAT_OK)
        return status;
    limits(cursor, cursor->slice, &low, &high);
    pt_gap_clip_low(gap_out, low, false);
    pt_gap_clip_high(gap_out, high, false);
    return pt_gap_is_empty(gap_out) ? PEAT_NOT_FOUND : PEAT_OK;
}

/* Stand on @p gap, before entry @p number. The gap's status. */
static enum peat_status rescue_stand_gap(struct pt_run_cursor *cursor, uint64_t number,
                                         const struct pt_gap *gap, bool backward)
{
    bool inclusive = backward ? gap->high_closed : !gap->low_open;

    cursor->number = number;
    cursor->in_gap = true;
    cursor->gap = *gap;
    cursor->entry.op = inclusive ? PT_OP_LOST : PT_OP_LOST_PAST;
    cursor->entry.key = backward ? gap->high : gap->low;
    cursor->entry.value = pt_bytes(NULL, 0);
    return pt_segment_unreadable(cursor->segment, gap->status, gap->offset);
}

/* To the gap before entry @p number, as far as it lies at or above @p from (data NULL: all of it), or,
 * if there is none, the entry; or on. */
static enum peat_status rescue_up(struct pt_run_cursor *cursor, uint64_t number,
                                  struct peat_bytes from)
{
    struct pt_gap gap;
    enum peat_status status = rescue_gap(cursor, number, &gap);

    if (status == PEAT_OK) {
        pt_gap_clip_low(&gap, from, false);
        if (!pt_gap_is_empty(&gap))
            return rescue_stand_gap(cursor, number, &gap, false);
    }
    if (status < 0)
        return status;
    return number < cursor->end ? rescue_stand(cursor, number)
                                : first_from(cursor, cursor->slice + 1);
}

/* The other way: to the gap before entry @p number, if it is not empty when clipped to @p to (data NULL:
 * all of it), or to the entry before. */
static enum peat_status rescue_down(struct pt_run_cursor *cursor, uint64_t number,
                                    struct peat_bytes to, bool closed)
{
    struct pt_gap gap;
    enum peat_status status = rescue_gap(cursor, number, &gap);

    if (status == PEAT_OK) {
        pt_gap_clip_high(&gap, to, closed);
        if (!pt_gap_is_empty(&gap))
            return rescue_stand_gap(cursor, number, &gap, true);
    }
    if (status < 0)
        return status;
    return number > cursor->begin ? rescue_stand(cursor, number - 1)
                                  : last_below(cursor, cursor->slice);
}

/* From the gap that it stands on: past its key, or to its other side. */
static enum peat_status leave_gap(struct pt_run_cursor *cursor, bool backward)
{
    struct pt_gap gap = cursor->gap;

    if (cursor->entry.op == PT_OP_LOST) {
        if (backward)
            gap.high_closed = false;
        else
            gap.low_open = true;
        if (!pt_gap_is_empty(&gap))
            return rescue_stand_gap(cursor, cursor->number, &gap, backward);
    }
    cursor->in_gap = false;
    if (backward)
        return cursor->number > cursor->begin ? rescue_stand(cursor, cursor->number - 1)
                                              : last_below(cursor, cursor->slice);
    return cursor->number < cursor->end ? rescue_stand(cursor, cursor->number)
                                        : first_from(cursor, cursor->slice + 1);
}

/* Begin the slice anew in its rescue. */
static enum peat_status rescue_first(struct pt_run_cursor *cursor, enum peat_status status)
{
    status = rescue_enter(cursor, status);
    return status < 0 ? status : rescue_up(cursor, cursor->begin, pt_bytes(NULL, 0));
}

static enum peat_status rescue_last(struct pt_run_cursor *cursor, enum peat_status status)
{
    status = rescue_enter(cursor, status);
    return status < 0 ? status : rescue_down(cursor, cursor->end, pt_bytes(NULL, 0), false);
}

/* An entry number of the rescue, within the slice. */
static uint64_t clamp(const struct pt_run_cursor *cursor, uint64_t number)
{
    if (number < cursor->begin)
        return cursor->begin;
    return number > cursor->end ? cursor->end : number;
}

static enum peat_status rescue_seek(struct pt_run_cursor *cursor, struct peat_bytes key,
                                    enum peat_status status)
{
    uint64_t number;

    status = rescue_enter(cursor, status);
    if (status == PEAT_OK)
        status = pt_rescue_seek(cursor->segment, cursor->rescue, key, &number);
    return status < 0 ? status : rescue_up(cursor, clamp(cursor, number), key);
}

static enum peat_status rescue_seek_before(struct pt_run_cursor *cursor, struct peat_bytes key,
                                           bool strictly, enum peat_status status)
{
    uint64_t number;

    status = rescue_enter(cursor, status);
    if (status == PEAT_OK)
        status = pt_rescue_seek(cursor->segment, cursor->rescue, key, &number);
    if (status < 0)
        return status;
    number = clamp(cursor, number);
    if (!strictly && number < cursor->end) {
        status = rescue_stand(cursor, number);
        if (status < 0 || pt_bytes_equal(cursor->entry.key, key))
            return status;
    }
    return rescue_down(cursor, number, key, !strictly);
}

enum peat_status pt_run_cursor_next_damaged(struct pt_run_cursor *cursor, enum peat_status status)
{
    uint64_t offset = cursor->next_offset; /* of the entry that could not be read */
    uint64_t number;

    status = rescue_enter(cursor, status);
    if (status == PEAT_OK)
        status = pt_rescue_rank(cursor->segment, cursor->rescue, offset, &number);
    return status < 0 ? status : rescue_up(cursor, clamp(cursor, number), pt_bytes(NULL, 0));
}

/* From an entry of a slice in which nothing was met so far. */
static enum peat_status previous_damaged(struct pt_run_cursor *cursor, enum peat_status status)
{
    uint64_t offset = cursor->next_offset; /* behind the entry under it */
    uint64_t number;

    status = rescue_enter(cursor, status);
    if (status == PEAT_OK)
        status = pt_rescue_rank(cursor->segment, cursor->rescue, offset, &number);
    if (status < 0)
        return status;
    PT_ASSERT(number > cursor->begin && number <= cursor->end);
    return rescue_down(cursor, number - 1, pt_bytes(NULL, 0), false);
}

/* ---- Walking slices ---- */

/* From slice @p number upwards, to the first entry. */
static enum peat_status first_from(struct pt_run_cursor *cursor, size_t number)
{
    enum peat_status status = PEAT_OK;

    for (; number < cursor->run->slice_count; number++) {
        if (cursor->high.data != NULL &&
            pt_bytes_compare(cursor->run->slices[number].low, cursor->high) >= 0)
            break;
        status = enter(cursor, number);
        if (status == PEAT_OK && cursor->begin < cursor->end)
            status = stand(cursor, cursor->begin);
        if (status < 0)
            return rescue_first(cursor, status);
        if (cursor->begin < cursor->end)
            return status;
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
        if (status == PEAT_OK && cursor->begin < cursor->end)
            status = stand(cursor, cursor->end - 1);
        if (status < 0)
            return rescue_last(cursor, status);
        if (cursor->begin < cursor->end)
            return status;
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
        return rescue_seek(cursor, key, status);
    if (ordinal < cursor->begin)
        ordinal = cursor->begin;
    if (ordinal >= cursor->end)
        return first_from(cursor, number + 1);
    status = stand(cursor, ordinal);
    return __builtin_expect(status < 0, 0) ? rescue_seek(cursor, key, status) : status;
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
    if (status == PEAT_OK && !strictly && ordinal >= cursor->begin && ordinal < cursor->end) {
        status = stand(cursor, ordinal);
        if (status == PEAT_OK && pt_bytes_equal(cursor->entry.key, key))
            return status;
    }
    if (status < 0)
        return rescue_seek_before(cursor, key, strictly, status);
    if (ordinal > cursor->end)
        ordinal = cursor->end;
    if (ordinal <= cursor->begin)
        return last_below(cursor, number);
    status = stand(cursor, ordinal - 1);
    return __builtin_expect(status < 0, 0) ? rescue_seek_before(cursor, key, strictly, status)
                                           : status;
}

/* Behind the slice's last entry, or in a rescue. */
enum peat_status pt_run_cursor_next_slice(struct pt_run_cursor *cursor)
{
    if (cursor->rescue == NULL)
        return first_from(cursor, cursor->slice + 1);
    if (cursor->in_gap)
        return leave_gap(cursor, false);
    return rescue_up(cursor, cursor->number + 1, pt_bytes(NULL, 0));
}

enum peat_status pt_run_cursor_previous(struct pt_run_cursor *cursor)
{
    if (cursor->rescue != NULL) {
        if (cursor->in_gap)
            return leave_gap(cursor, true);
        return rescue_down(cursor, cursor->number, pt_bytes(NULL, 0), false);
    }
    if (cursor->ordinal > cursor->begin) {
        enum peat_status status = stand(cursor, cursor->ordinal - 1);

        return __builtin_expect(status < 0, 0) ? previous_damaged(cursor, status) : status;
    }
    return last_below(cursor, cursor->slice);
}

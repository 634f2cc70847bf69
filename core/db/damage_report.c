#include "core/db/damage_report.h"

#include "core/base/alloc.h"

#include <stdio.h>

enum {
    KEY_TEXT_SIZE = 96,  /* bytes of a message that a key may take */
    KEY_KEPT_SIZE = 1024 /* bytes of a key that are kept for peat_last_damage() */
};

/* The last damage that this thread was told of, for as long as that was its last failure. */
struct kept_key {
    size_t size; /* bytes */
    uint8_t bytes[KEY_KEPT_SIZE + 1];
};

static _Thread_local struct {
    uint64_t failure; /* pt_failure_count() at that time; 0: none yet */
    bool has_low;
    bool has_high;
    struct kept_key low;
    struct kept_key high;
} last;

/* ---- In words ---- */

void pt_damage_key_text(struct peat_bytes key, char *text, size_t size)
{
    const uint8_t *bytes = key.data;
    size_t used = 0;

    for (size_t i = 0; i < key.size; i++) {
        bool plain = bytes[i] > 0x20 && bytes[i] < 0x7f && bytes[i] != '\\';
        int written;

        if (used + 8 > size) { /* room for one more and the dots */
            (void)snprintf(text + used, size - used, "...");
            return;
        }
        written = snprintf(text + used, size - used, plain ? "%c" : "\\%02x", bytes[i]);
        used += (size_t)written;
    }
    text[used] = 0;
}

static struct peat_bytes without(struct peat_bytes key, size_t skip)
{
    if (key.data == NULL || key.size < skip)
        return pt_bytes(NULL, 0);
    return pt_bytes((const uint8_t *)key.data + skip, key.size - skip);
}

/* "from KEY on", say; "" if there is no such bound. */
static void bound_text(struct peat_bytes key, const char *before, const char *behind, char *text,
                       size_t size)
{
    char key_text[KEY_TEXT_SIZE];

    text[0] = 0;
    if (key.data == NULL)
        return;
    pt_damage_key_text(key, key_text, sizeof(key_text));
    (void)snprintf(text, size, " %s \"%s\"%s", before, key_text, behind);
}

/* ---- For peat_last_damage() ---- */

/* Keep @p key, or the next one behind it (@p behind). One that is too long is cut, and as an upper bound
 * replaced by the next of its size, so that the range can only become wider. */
static bool keep(struct kept_key *kept, struct peat_bytes key, bool behind, bool upper)
{
    bool cut = key.size > KEY_KEPT_SIZE;

    if (key.data == NULL)
        return false;
    kept->size = cut ? KEY_KEPT_SIZE : key.size;
    if (kept->size > 0)
        memcpy(kept->bytes, key.data, kept->size);
    if (cut && upper) {
        while (kept->size > 0 && ++kept->bytes[kept->size - 1] == 0)
            kept->size--;
        return kept->size > 0;
    }
    if (behind && !cut)
        kept->bytes[kept->size++] = 0;
    return true;
}

static void remember(const struct pt_gap *gap, size_t skip)
{
    last.failure = pt_failure_count();
    last.has_low = keep(&last.low, without(gap->low, skip), gap->low_open, false);
    last.has_high = keep(&last.high, without(gap->high, skip), gap->high_closed, true);
}

enum peat_status peat_last_damage(struct peat_range *range_out)
{
    if (range_out == NULL)
        return pt_fail_null();
    if (last.failure == 0 || last.failure != pt_failure_count())
        return PEAT_NOT_FOUND;
    range_out->low = last.has_low ? pt_bytes(last.low.bytes, last.low.size) : pt_bytes(NULL, 0);
    range_out->high = last.has_high ? pt_bytes(last.high.bytes, last.high.size) : pt_bytes(NULL, 0);
    range_out->flags = 0;
    return PEAT_OK;
}

/* ---- Telling ---- */

enum peat_status pt_damage_fail(const struct pt_segment *segment, const struct pt_gap *gap,
                                size_t skip)
{
    char low[KEY_TEXT_SIZE + 32];
    char high[KEY_TEXT_SIZE + 32];
    char place[128] = "range deletes";

    bound_text(without(gap->low, skip), gap->low_open ? "behind" : "from", "", low, sizeof(low));
    bound_text(without(gap->high, skip), gap->high_closed ? "up to" : "to before", "", high,
               sizeof(high));
    if (segment != NULL)
        (void)snprintf(place, sizeof(place), "segment %llu, byte %llu of the file",
                       (unsigned long long)segment->identity.segment_id,
                       (unsigned long long)(segment->file_offset + gap->offset));
    (void)pt_fail(gap->status, "%s: damaged: keys%s%s%s cannot be read", place, low, high,
                  low[0] == 0 && high[0] == 0 ? " of the whole collection" : "");
    remember(gap, skip);
    return gap->status;
}

void pt_damage_within(struct pt_gap *gap, struct peat_bytes prefix)
{
    if (gap->low.data != NULL &&
        (gap->low.size < prefix.size ||
         (prefix.size > 0 && memcmp(gap->low.data, prefix.data, prefix.size) != 0)))
        gap->low = pt_bytes(NULL, 0);
    if (gap->high.data != NULL &&
        (gap->high.size < prefix.size ||
         (prefix.size > 0 && memcmp(gap->high.data, prefix.data, prefix.size) != 0)))
        gap->high = pt_bytes(NULL, 0);
}

/* The gap of @p slice in which @p key is; else the key by itself, if it is the range deletes that are
 * lost. PEAT_NOT_FOUND: neither. */
static enum peat_status slice_gap(const struct pt_slice *slice, struct peat_bytes key,
                                  struct pt_gap *gap_out)
{
    struct pt_segment *segment = slice->held->segment;
    const struct pt_rescue *rescue = pt_segment_rescued(segment);
    uint64_t number;

    if (rescue == NULL || !pt_rescue_loses(rescue) ||
        pt_rescue_seek(segment, rescue, key, &number) < 0)
        return PEAT_NOT_FOUND;
    if (pt_rescue_gap(segment, rescue, number, gap_out) == PEAT_OK && pt_gap_holds(gap_out, key)) {
        pt_gap_clip_low(gap_out, slice->low, false);
        pt_gap_clip_high(gap_out, slice->high, false);
        return PEAT_OK;
    }
    *gap_out = (struct pt_gap){.low = key,
                               .high = key,
                               .high_closed = true,
                               .offset = segment->entries_size,
                               .status = PEAT_CORRUPT};
    return pt_rescue_loses_ranges(rescue) ? PEAT_OK : PEAT_NOT_FOUND;
}

enum peat_status pt_damage_explain(const struct pt_stack *stack, struct peat_bytes key,
                                   struct peat_bytes prefix, enum peat_status status)
{
    for (size_t i = 0; i < stack->run_count && (status == PEAT_CORRUPT || status == PEAT_IO); i++) {
        const struct pt_run *run = stack->runs[i];
        size_t number = pt_run_find(run, key);
        struct pt_gap gap;

        if (number == run->slice_count || pt_bytes_compare(key, run->slices[number].low) < 0 ||
            slice_gap(&run->slices[number], key, &gap) != PEAT_OK)
            continue;
        gap.status = status;
        pt_damage_within(&gap, prefix);
        return pt_damage_fail(run->slices[number].held->segment, &gap, prefix.size);
    }
    return status;
}

enum peat_status pt_damage_range(const struct pt_gap *gap, size_t skip, uint8_t **place_out,
                                 struct peat_range *range_out)
{
    struct peat_bytes low = without(gap->low, skip);
    struct peat_bytes high = without(gap->high, skip);
    uint8_t *place = pt_malloc(low.size + high.size + 2);

    *place_out = place;
    if (place == NULL)
        return pt_fail(PEAT_NO_MEMORY, "keys of a gap");
    *range_out = (struct peat_range){low, high, 0};
    if (gap->low_open && low.data != NULL) { /* from just behind it */
        pt_bytes_put(place, low);
        place[low.size] = 0;
        range_out->low = pt_bytes(place, low.size + 1);
    }
    place += low.size + 1;
    if (gap->high_closed && high.data != NULL) { /* to just behind it */
        pt_bytes_put(place, high);
        place[high.size] = 0;
        range_out->high = pt_bytes(place, high.size + 1);
    }
    return PEAT_OK;
}

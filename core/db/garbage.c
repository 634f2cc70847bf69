/*
 * A sample is taken at every so many bytes of all runs and stands for these. Whether it is hidden shows
 * by asking the newer runs for its key, as a get does. The places depend on the stack alone, so what
 * was read for one estimate is mostly what the next one reads.
 */
#include "core/db/garbage.h"

enum {
    SAMPLES_MAX = 512,
    SAMPLE_SIZE_MIN =
        64 * 1024 /* bytes that a sample stands for, at least: small stores need few */
};

/* Whether a run newer than number @p run has something to say of @p key. */
static bool hidden(const struct pt_stack *stack, size_t run, struct peat_bytes key, uint64_t hash)
{
    struct pt_entry entry;

    for (size_t i = 0; i < run; i++)
        if (pt_run_get(stack->runs[i], key, hash, &entry) == PEAT_OK)
            return true;
    return false;
}

/* The entry at @p share (0 to below 1) of a slice. */
static enum peat_status entry_at(const struct pt_slice *slice, double share,
                                 struct pt_entry *entry_out)
{
    struct pt_segment *segment = slice->held->segment;
    uint64_t begin = 0;
    uint64_t end = segment->entry_count;
    uint64_t offset;
    enum peat_status status = PEAT_OK;

    if (!slice->whole) {
        status = pt_segment_seek(segment, slice->low, &begin);
        if (status == PEAT_OK)
            status = pt_segment_seek(segment, slice->high, &end);
    }
    if (status < 0)
        return status;
    if (begin >= end) /* range deletes alone */
        return PEAT_DONE;
    status =
        pt_segment_ordinal(segment, begin + (uint64_t)(share * (double)(end - begin)), &offset);
    if (status < 0)
        return status;
    return pt_segment_entry(segment, offset, entry_out, &offset);
}

/* Whether the sample is garbage. */
static bool is_garbage(const struct pt_stack *stack, size_t run, const struct pt_slice *slice,
                       double share, uint64_t hash_seed)
{
    struct pt_entry entry;

    if (entry_at(slice, share, &entry) != PEAT_OK)
        return false;
    return entry.op != PT_OP_PUT ||
           hidden(stack, run, entry.key, pt_hash(hash_seed, entry.key.data, entry.key.size));
}

uint64_t pt_garbage_size(const struct pt_stack *stack, uint64_t hash_seed)
{
    uint64_t size = 0;
    uint64_t step;
    uint64_t at; /* bytes from the start of a slice to the next sample */
    uint64_t garbage = 0;

    for (size_t i = 0; i < stack->run_count; i++)
        size += stack->runs[i]->size;
    step = size / SAMPLES_MAX;
    if (step < SAMPLE_SIZE_MIN)
        step = SAMPLE_SIZE_MIN;
    at = step / 2;
    for (size_t i = 0; i < stack->run_count; i++) {
        for (size_t k = 0; k < stack->runs[i]->slice_count; k++) {
            const struct pt_slice *slice = &stack->runs[i]->slices[k];

            for (; at < slice->size; at += step)
                if (is_garbage(stack, i, slice, (double)at / (double)slice->size, hash_seed))
                    garbage += step;
            at -= slice->size;
        }
    }
    return garbage < size ? garbage : size;
}

bool pt_garbage_at_bottom(const struct pt_stack *stack)
{
    const struct pt_run *run;

    if (stack->run_count == 0)
        return false;
    run = stack->runs[stack->run_count - 1];
    for (size_t i = 0; i < run->slice_count; i++) {
        const struct pt_segment_summary *summary = &run->slices[i].held->summary;

        if (summary->delete_count > 0 || summary->range_count > 0)
            return true;
    }
    return false;
}

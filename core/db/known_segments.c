#include "core/db/known_segments.h"

#include "core/base/alloc.h"

#include <stdlib.h>

static int segment_order(const void *left, const void *right)
{
    return pt_held_segment_order(*(struct pt_held_segment *const *)left,
                                 *(struct pt_held_segment *const *)right);
}

/* Those that are equal, by their places. */
static int place_order(const void *left, const void *right)
{
    uint64_t a = (*(struct pt_held_segment *const *)left)->extent.offset;
    uint64_t b = (*(struct pt_held_segment *const *)right)->extent.offset;
    int order = segment_order(left, right);

    return order != 0 ? order : (a > b) - (a < b);
}

static enum peat_status reserve(struct pt_known_segments *known, size_t more)
{
    size_t capacity = 2 * (known->count + more);
    struct pt_held_segment **held;

    if (known->capacity - known->count >= more)
        return PEAT_OK;
    held = pt_realloc(known->held, capacity * sizeof(struct pt_held_segment *));
    if (held == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu segments", capacity);
    known->held = held;
    known->capacity = capacity;
    return PEAT_OK;
}

enum peat_status pt_known_segments_add(struct pt_known_segments *known, struct pt_run *const *runs,
                                       size_t run_count)
{
    size_t count = 0;

    for (size_t i = 0; i < run_count; i++) {
        enum peat_status status = reserve(known, runs[i]->slice_count);

        if (status < 0)
            return status;
        for (size_t k = 0; k < runs[i]->slice_count; k++)
            known->held[known->count++] = runs[i]->slices[k].held;
    }
    if (known->count > 1)
        qsort(known->held, known->count, sizeof(struct pt_held_segment *), place_order);
    for (size_t i = 0; i < known->count; i++)
        if (count == 0 || place_order(&known->held[count - 1], &known->held[i]) != 0)
            known->held[count++] = known->held[i];
    known->count = count;
    return PEAT_OK;
}

static struct pt_held_segment *find(const struct pt_known_segments *known,
                                    const struct pt_held_segment *wanted,
                                    int (*order)(const void *left, const void *right))
{
    struct pt_held_segment *const *found =
        known == NULL || known->count == 0
            ? NULL
            : bsearch(&wanted, known->held, known->count, sizeof(struct pt_held_segment *), order);

    return found == NULL ? NULL : *found;
}

struct pt_held_segment *pt_known_segments_find_at(const struct pt_known_segments *known,
                                                  uint64_t id, const struct pt_digest *digest,
                                                  uint64_t offset)
{
    struct pt_held_segment wanted = {.id = id, .summary.digest = *digest, .extent.offset = offset};

    return find(known, &wanted, place_order);
}

struct pt_held_segment *pt_known_segments_find(const struct pt_known_segments *known, uint64_t id,
                                               const struct pt_digest *digest)
{
    struct pt_held_segment wanted = {.id = id, .summary.digest = *digest};

    return find(known, &wanted, segment_order);
}

void pt_known_segments_fini(struct pt_known_segments *known)
{
    pt_free(known->held);
    *known = (struct pt_known_segments){NULL, 0, 0};
}

#include "core/db/range_bag.h"

#include "core/base/alloc.h"

#include <stdlib.h>

enum peat_status pt_range_bag_add(struct pt_range_bag *bag, struct peat_bytes low,
                                  struct peat_bytes high)
{
    if (bag->count == bag->capacity) {
        size_t capacity = bag->capacity == 0 ? 16 : 2 * bag->capacity;
        struct pt_key_range *ranges = pt_realloc(bag->ranges, capacity * sizeof(*ranges));

        if (ranges == NULL)
            return pt_fail(PEAT_NO_MEMORY, "%zu range deletes", capacity);
        bag->ranges = ranges;
        bag->capacity = capacity;
    }
    PT_ASSERT(pt_bytes_compare(low, high) < 0);
    bag->ranges[bag->count++] = (struct pt_key_range){low, high};
    return PEAT_OK;
}

static int compare_lows(const void *a, const void *b)
{
    const struct pt_key_range *left = a;
    const struct pt_key_range *right = b;

    return pt_bytes_compare(left->low, right->low);
}

void pt_range_bag_unite(struct pt_range_bag *bag)
{
    size_t kept = 0;

    if (bag->count < 2)
        return;
    qsort(bag->ranges, bag->count, sizeof(*bag->ranges), compare_lows);
    for (size_t i = 1; i < bag->count; i++) {
        struct pt_key_range *last = &bag->ranges[kept];

        if (pt_bytes_compare(bag->ranges[i].low, last->high) > 0) {
            bag->ranges[++kept] = bag->ranges[i];
        } else if (pt_bytes_compare(bag->ranges[i].high, last->high) > 0) {
            last->high = bag->ranges[i].high;
        }
    }
    bag->count = kept + 1;
}

enum peat_status pt_range_bag_add_run(struct pt_range_bag *bag, const struct pt_run *run,
                                      struct peat_bytes low, struct peat_bytes high)
{
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; run->has_ranges && i < run->slice_count && status == PEAT_OK; i++) {
        const struct pt_slice *slice = &run->slices[i];
        struct pt_segment *segment = slice->held->segment;

        for (uint64_t k = 0; k < segment->range_count && status == PEAT_OK; k++) {
            struct pt_entry range;
            struct peat_bytes from;
            struct peat_bytes to;

            status = pt_segment_range(segment, k, &range);
            if (status < 0)
                break;
            from = pt_bytes_compare(range.key, slice->low) < 0 ? slice->low : range.key;
            to = pt_bytes_compare(range.value, slice->high) > 0 ? slice->high : range.value;
            if (low.data != NULL && pt_bytes_compare(from, low) < 0)
                from = low;
            if (high.data != NULL && pt_bytes_compare(to, high) > 0)
                to = high;
            if (pt_bytes_compare(from, to) < 0)
                status = pt_range_bag_add(bag, from, to);
        }
    }
    return status;
}

void pt_range_bag_fini(struct pt_range_bag *bag)
{
    pt_free(bag->ranges);
    *bag = (struct pt_range_bag){NULL, 0, 0};
}

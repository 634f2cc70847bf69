#include "core/db/flatten.h"

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

/* Sort, and join what overlaps or touches: sorted and disjoint after. */
static void coalesce(struct pt_range_bag *bag)
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

/* Hand on the range deletes that begin at or below @p key (data NULL: all that are left). */
static enum peat_status write_ranges(struct pt_flatten *flatten, struct pt_run_writer *writer,
                                     size_t *next, struct peat_bytes key)
{
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK && *next < flatten->ranges.count) {
        const struct pt_key_range *range = &flatten->ranges.ranges[*next];

        if (key.data != NULL && pt_bytes_compare(range->low, key) > 0)
            break;
        status = pt_run_writer_add_range(writer, range->low, range->high);
        ++*next;
    }
    return status;
}

/* Write the newest version of the first source's key, unless it is hidden or a dead deletion. */
static enum peat_status write_top(struct pt_flatten *flatten, struct pt_run_writer *writer)
{
    struct pt_join *join = &flatten->join;
    const struct pt_entry *entry = pt_join_top(join)->entry;
    struct peat_bytes key = entry->key;
    const struct pt_cover *cover = NULL;
    enum peat_status status = PEAT_OK;

    if (flatten->cover_count > 0)
        status = pt_covers_find(flatten->covers, flatten->cover_count, pt_join_top(join)->layer,
                                key, &cover);
    if (status < 0)
        return status;
    if (cover != NULL)
        return pt_join_skip(join, cover->high);
    if (entry->op == PT_OP_PUT || !flatten->bottom)
        status = pt_run_writer_add(writer, entry);
    if (status == PEAT_OK)
        status = join->count == 1 ? pt_join_step(join) : pt_join_pass(join, key);
    return status;
}

enum peat_status pt_flatten_run(struct pt_flatten *flatten, struct pt_run_writer *writer,
                                struct peat_bytes *stopped_out)
{
    enum peat_status status = pt_join_first(&flatten->join);
    uint64_t size_before = pt_run_writer_size(writer);
    size_t next_range = 0;

    *stopped_out = pt_bytes(NULL, 0);
    if (flatten->bottom)
        flatten->ranges.count = 0;
    coalesce(&flatten->ranges);
    while (status == PEAT_OK && pt_join_top(&flatten->join)->entry != NULL) {
        struct peat_bytes key = pt_join_top(&flatten->join)->entry->key;

        if (flatten->size_max != 0 &&
            pt_run_writer_size(writer) - size_before >= flatten->size_max &&
            pt_run_writer_at_end(writer, pt_join_top(&flatten->join)->entry)) {
            *stopped_out = key;
            status = write_ranges(flatten, writer, &next_range, key); /* those before it */
            break;
        }
        if (next_range < flatten->ranges.count)
            status = write_ranges(flatten, writer, &next_range, key);
        if (status == PEAT_OK)
            status = write_top(flatten, writer);
    }
    if (status == PEAT_OK && stopped_out->data == NULL)
        status = write_ranges(flatten, writer, &next_range, pt_bytes(NULL, 0));
    if (status == PEAT_OK)
        status = pt_run_writer_cut(writer, *stopped_out);
    return status;
}

void pt_flatten_fini(struct pt_flatten *flatten)
{
    pt_join_fini(&flatten->join);
    pt_free(flatten->ranges.ranges);
}

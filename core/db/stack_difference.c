#include "core/db/stack_difference.h"

#include "core/base/alloc.h"

#include <stdlib.h>

/* The slices of a stack, those of one segment side by side and ascending. */
struct slice_table {
    const struct pt_slice **slices; /* owned list */
    size_t count;
};

/* A growing list of cut slices; the keys are borrowed. */
struct cut_list {
    struct pt_slice *slices; /* owned */
    size_t count;
    size_t capacity;
};

static int slice_order(const void *left, const void *right)
{
    const struct pt_slice *a = *(const struct pt_slice *const *)left;
    const struct pt_slice *b = *(const struct pt_slice *const *)right;

    int order = pt_held_segment_order(a->held, b->held);

    return order != 0 ? order : pt_bytes_compare(a->low, b->low);
}

static enum peat_status table_init(struct slice_table *table, const struct pt_stack *stack)
{
    size_t count = 0;

    table->count = 0;
    for (size_t i = 0; i < stack->run_count; i++)
        count += stack->runs[i]->slice_count;
    table->slices = pt_calloc(count + 1, sizeof(const struct pt_slice *));
    if (table->slices == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu slices", count);
    for (size_t i = 0; i < stack->run_count; i++)
        for (size_t k = 0; k < stack->runs[i]->slice_count; k++)
            table->slices[table->count++] = &stack->runs[i]->slices[k];
    if (count > 1)
        qsort(table->slices, count, sizeof(const struct pt_slice *), slice_order);
    return PEAT_OK;
}

/* The number of the first slice of that segment. */
static size_t table_find(const struct slice_table *table, const struct pt_held_segment *held)
{
    size_t begin = 0;
    size_t end = table->count;

    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;

        if (pt_held_segment_order(table->slices[middle]->held, held) < 0)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

static enum peat_status cut_add(struct cut_list *list, const struct pt_slice *slice,
                                struct peat_bytes low, struct peat_bytes high)
{
    if (pt_bytes_compare(low, high) >= 0)
        return PEAT_OK;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        struct pt_slice *slices = pt_realloc(list->slices, capacity * sizeof(*slices));

        if (slices == NULL)
            return pt_fail(PEAT_NO_MEMORY, "list of %zu slices", capacity);
        list->slices = slices;
        list->capacity = capacity;
    }
    list->slices[list->count++] = (struct pt_slice){.held = slice->held, .low = low, .high = high};
    return PEAT_OK;
}

/* Add what of @p slice lies in [low, high) and in no slice that @p other has of the segment. */
static enum peat_status cut_slice(struct cut_list *list, const struct pt_slice *slice,
                                  const struct slice_table *other, struct peat_bytes low,
                                  struct peat_bytes high)
{
    enum peat_status status = PEAT_OK;

    if (pt_bytes_compare(low, slice->low) < 0)
        low = slice->low;
    if (pt_bytes_compare(high, slice->high) > 0)
        high = slice->high;
    for (size_t i = table_find(other, slice->held);
         i < other->count && pt_held_segment_order(other->slices[i]->held, slice->held) == 0 &&
         status == PEAT_OK;
         i++) {
        const struct pt_slice *shared = other->slices[i];

        if (pt_bytes_compare(shared->low, high) >= 0)
            break;
        status = cut_add(list, slice, low, shared->low);
        if (pt_bytes_compare(shared->high, low) > 0)
            low = shared->high;
    }
    return status == PEAT_OK ? cut_add(list, slice, low, high) : status;
}

/* Keep a run of what is cut out of @p run, if anything is, and note its range deletes. */
static enum peat_status add_run(struct pt_stack_difference *difference, const struct pt_run *run,
                                const struct slice_table *other, struct peat_bytes low,
                                struct peat_bytes high)
{
    struct cut_list list = {NULL, 0, 0};
    struct pt_run **place = &difference->runs[difference->run_count];
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < run->slice_count && status == PEAT_OK; i++) {
        status = cut_slice(&list, &run->slices[i], other, low, high);
        if (pt_bytes_compare(run->slices[i].low, high) < 0 &&
            pt_bytes_compare(low, run->slices[i].high) < 0)
            difference->all_size += run->slices[i].size;
    }
    if (status == PEAT_OK && list.count > 0)
        status = pt_run_open(list.slices, list.count, place);
    if (status == PEAT_OK && *place != NULL) {
        difference->run_count++;
        difference->size += (*place)->size;
        status = pt_range_bag_add_run(&difference->ranges, *place, low, high);
    }
    pt_free(list.slices);
    return status;
}

/* Whether both sides see the same of @p buffer: both have it, and nothing came to it between them. */
static bool is_shared(const struct pt_held_buffer *buffer, const struct pt_stack_side *own,
                      const struct pt_stack_side *other)
{
    uint64_t commit = own->commit < other->commit ? own->commit : other->commit;

    for (size_t i = 0; i < other->stack->buffer_count; i++)
        if (other->stack->buffers[i] == buffer)
            return pt_write_buffer_commit(buffer->buffer) <= commit;
    return false;
}

static enum peat_status add_buffer(struct pt_stack_difference *difference,
                                   struct pt_write_buffer *buffer, uint64_t commit,
                                   struct peat_bytes low, struct peat_bytes high)
{
    struct pt_buffer_view **place = &difference->views[difference->view_count];
    const struct pt_key_range *ranges;
    size_t count;
    enum peat_status status = pt_buffer_view_open(buffer, commit, place);

    if (status < 0)
        return status;
    difference->view_count++;
    difference->size += pt_write_buffer_data_size(buffer);
    difference->all_size += pt_write_buffer_data_size(buffer);
    ranges = pt_buffer_view_ranges(*place, &count);
    for (size_t i = 0; i < count && status == PEAT_OK; i++) {
        struct peat_bytes from = pt_bytes_compare(ranges[i].low, low) < 0 ? low : ranges[i].low;
        struct peat_bytes to = pt_bytes_compare(ranges[i].high, high) > 0 ? high : ranges[i].high;

        if (pt_bytes_compare(from, to) < 0)
            status = pt_range_bag_add(&difference->ranges, from, to);
    }
    return status;
}

/* Everything of @p own that @p other does not have. */
static enum peat_status add_side(struct pt_stack_difference *difference,
                                 const struct pt_stack_side *own, const struct pt_stack_side *other,
                                 struct peat_bytes low, struct peat_bytes high)
{
    struct slice_table table = {NULL, 0};
    enum peat_status status = table_init(&table, other->stack);

    for (size_t i = 0; i < own->stack->buffer_count && status == PEAT_OK; i++) {
        struct pt_held_buffer *buffer = own->stack->buffers[i];

        if (pt_write_buffer_entry_count(buffer->buffer) > 0 && !is_shared(buffer, own, other))
            status = add_buffer(difference, buffer->buffer, own->commit, low, high);
    }
    for (size_t i = 0; i < own->stack->run_count && status == PEAT_OK; i++)
        status = add_run(difference, own->stack->runs[i], &table, low, high);
    pt_free(table.slices);
    return status;
}

static enum peat_status open_join(struct pt_stack_difference *difference, struct peat_bytes low,
                                  struct peat_bytes high)
{
    size_t count = difference->run_count;
    enum peat_status status;

    for (size_t i = 0; i < difference->view_count; i++)
        count += pt_buffer_view_run_count(difference->views[i]);
    status = pt_join_init(&difference->join, count, 0);
    if (status < 0)
        return status;
    for (size_t i = 0; i < difference->view_count; i++)
        for (size_t k = 0; k < pt_buffer_view_run_count(difference->views[i]); k++)
            pt_join_add_buffer(&difference->join, 0, difference->views[i], k, low, high);
    for (size_t i = 0; i < difference->run_count; i++)
        pt_join_add_run(&difference->join, 0, difference->runs[i], low, high);
    return PEAT_OK;
}

enum peat_status pt_stack_difference_init(struct pt_stack_difference *difference,
                                          const struct pt_stack_side sides[2],
                                          struct peat_bytes low, struct peat_bytes high)
{
    enum peat_status status = PEAT_OK;

    memset(difference, 0, sizeof(*difference));
    difference->runs = pt_calloc(sides[0].stack->run_count + sides[1].stack->run_count + 1,
                                 sizeof(struct pt_run *));
    difference->views = pt_calloc(sides[0].stack->buffer_count + sides[1].stack->buffer_count,
                                  sizeof(struct pt_buffer_view *));
    if (difference->runs == NULL || difference->views == NULL)
        status = pt_fail(PEAT_NO_MEMORY, "difference of two snapshots");
    for (unsigned i = 0; i < 2 && status == PEAT_OK; i++)
        status = add_side(difference, &sides[i], &sides[1 - i], low, high);
    if (status == PEAT_OK)
        status = open_join(difference, low, high);
    pt_range_bag_unite(&difference->ranges);
    return status;
}

void pt_stack_difference_fini(struct pt_stack_difference *difference)
{
    pt_join_fini(&difference->join);
    pt_range_bag_fini(&difference->ranges);
    for (size_t i = 0; i < difference->view_count; i++)
        pt_buffer_view_close(difference->views[i]);
    for (size_t i = 0; i < difference->run_count; i++)
        pt_run_unpin(difference->runs[i]);
    pt_free(difference->views);
    pt_free(difference->runs);
    memset(difference, 0, sizeof(*difference));
}

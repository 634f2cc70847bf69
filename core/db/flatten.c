#include "core/db/flatten.h"

#include "core/base/alloc.h"

#include <stdlib.h>

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

/* Step behind @p key in all sources. */
static enum peat_status pass(struct pt_flatten *flatten, struct peat_bytes key)
{
    struct pt_join *join = &flatten->join;
    uint64_t prefix = pt_join_top(join)->prefix;
    enum peat_status status;

    do {
        const struct pt_entry *entry = pt_join_top(join)->entry;

        flatten->input += pt_entry_size(entry->key.size, entry->value.size);
        status = pt_join_step(join);
    } while (status == PEAT_OK && join->count > 1 && pt_join_top(join)->entry != NULL &&
             pt_join_top(join)->prefix == prefix &&
             pt_bytes_equal(pt_join_top(join)->entry->key, key));
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
    if (pt_join_at_gap(join))
        return pt_join_fail(join, 0, NULL);
    if (entry->op == PT_OP_PUT || !flatten->bottom)
        status = pt_run_writer_add(writer, entry);
    if (status == PEAT_OK)
        status = pass(flatten, key);
    return status;
}

/* Whether to leave @p entry and all behind it to another time. */
static bool enough(const struct pt_flatten *flatten, const struct pt_run_writer *writer,
                   uint64_t size_before, const struct pt_entry *entry)
{
    if (writer->gives_back && writer->drawn > 0) /* the further, the more it gives back */
        return pt_run_writer_at_end(writer, entry) && pt_run_writer_is_exhausted(writer);
    if (flatten->input_max != 0 && flatten->input >= flatten->input_max)
        return true;
    return flatten->size_max != 0 &&
           pt_run_writer_size(writer) - size_before >= flatten->size_max &&
           pt_run_writer_at_end(writer, entry);
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
    pt_range_bag_unite(&flatten->ranges);
    while (status == PEAT_OK && pt_join_top(&flatten->join)->entry != NULL) {
        const struct pt_entry *entry = pt_join_top(&flatten->join)->entry;

        if (enough(flatten, writer, size_before, entry)) {
            *stopped_out = entry->key;
            status = write_ranges(flatten, writer, &next_range, entry->key); /* those before it */
            break;
        }
        if (next_range < flatten->ranges.count)
            status = write_ranges(flatten, writer, &next_range, entry->key);
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

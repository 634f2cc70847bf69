/* The inside of a view: for the files that implement views and cursors, and no others. */
#ifndef PEAT_CORE_DB_BUFFER_VIEW_H
#define PEAT_CORE_DB_BUFFER_VIEW_H

#include "core/db/write_buffer_parts.h"

/* Immutable once opened. */
struct pt_buffer_view {
    uint64_t commit;
    size_t cover_count;
    struct pt_range_cover *covers; /* range deletes as of commit, in key order; NULL: none */
    struct pt_key_range *ranges;   /* the same for the caller; in the allocation of covers */
    struct pt_run_set *set;        /* pinned; NULL: none */
    struct pt_sorted_run *own;     /* newer than the set; NULL: none */
    size_t run_count;              /* of own and the set's */
};

/* The first cover whose high is above @p key; cover_count: none. */
size_t pt_buffer_view_cover_above(const struct pt_buffer_view *view, struct peat_bytes key);

/* Run @p i, 0 is the newest. */
static inline const struct pt_sorted_run *pt_buffer_view_run(const struct pt_buffer_view *view,
                                                             size_t i)
{
    PT_ASSERT(i < view->run_count);
    if (view->own == NULL)
        return view->set->runs[i];
    return i == 0 ? view->own : view->set->runs[i - 1];
}

#endif

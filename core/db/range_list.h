/*
 * The range deletes of a write buffer, cut into disjoint fragments in key order.
 *
 *   added:      [b, f) in commit 1 at place 2         [d, h) in commit 3 at place 40
 *   fragments:  [b, d): 1@2     [d, f): 3@40 -> 1@2     [f, h): 3@40
 *
 * Each fragment has the stamps of the range deletes that cover it, newest first. A range delete
 * hides the entries of its keys that have a smaller place. Of one commit only the newest counts.
 *
 * A list is immutable once built, so threads may share it without locking. Keys are borrowed from
 * the area. Stamps are shared with the list it was built from, which must outlive it.
 */
#ifndef PEAT_CORE_DB_RANGE_LIST_H
#define PEAT_CORE_DB_RANGE_LIST_H

#include "core/base/bytes.h"

struct pt_range_list;

/* A range delete as it was added. */
struct pt_range_delete {
    struct peat_bytes low;  /* inclusive */
    struct peat_bytes high; /* exclusive; low < high */
    uint64_t commit;
    uint32_t place; /* larger than that of all before it */
};

/* What covers a piece of the key space as of a commit. */
struct pt_range_cover {
    struct peat_bytes low;
    struct peat_bytes high;
    uint32_t place; /* of the newest range delete */
};

/* @p base (NULL: nothing yet) and @p deletes, oldest first, at least one. NULL: no memory. */
struct pt_range_list *pt_range_list_new(struct pt_range_list *base,
                                        const struct pt_range_delete *deletes, size_t count);
void pt_range_list_free(struct pt_range_list *list); /* NULL is allowed */
/* Free it, the list it was built from, and so on. */
void pt_range_list_free_all(struct pt_range_list *list);

size_t pt_range_list_memory_size(const struct pt_range_list *list); /* bytes, without the base's */
/* The place of the newest range delete in it: it says everything up to there. */
uint32_t pt_range_list_place(const struct pt_range_list *list);
size_t pt_range_list_fragment_count(const struct pt_range_list *list);

/* The place of the newest range delete with a commit up to @p commit that covers @p key; 0: none. */
uint32_t pt_range_list_find(const struct pt_range_list *list, struct peat_bytes key,
                            uint64_t commit);
/* What is covered as of @p commit, in key order, to @p covers, which has room for a cover per
 * fragment. Returns the number of covers. */
size_t pt_range_list_covers(const struct pt_range_list *list, uint64_t commit,
                            struct pt_range_cover *covers);

#endif

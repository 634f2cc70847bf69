/* A bag of key ranges, for those of several layers: gathered in any order, then sorted and united. */
#ifndef PEAT_CORE_DB_RANGE_BAG_H
#define PEAT_CORE_DB_RANGE_BAG_H

#include "core/db/run.h"

/* All zeros to begin with. The keys are borrowed. */
struct pt_range_bag {
    struct pt_key_range *ranges; /* owned */
    size_t count;
    size_t capacity;
};

/* low < high, asserted. PEAT_NO_MEMORY. */
enum peat_status pt_range_bag_add(struct pt_range_bag *bag, struct peat_bytes low,
                                  struct peat_bytes high);
/* The range deletes of @p run within [low, high) (data NULL: unbounded), cut to it and to their slices.
 * PEAT_CORRUPT, PEAT_IO, PEAT_NO_MEMORY. */
enum peat_status pt_range_bag_add_run(struct pt_range_bag *bag, const struct pt_run *run,
                                      struct peat_bytes low, struct peat_bytes high);
/* Sort, and join what overlaps or touches: sorted and disjoint after. */
void pt_range_bag_unite(struct pt_range_bag *bag);
void pt_range_bag_fini(struct pt_range_bag *bag);

#endif

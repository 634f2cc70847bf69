/* A walk over the entries of one collection that writes them to standard output. */
#ifndef PEAT_TOOLS_ENTRY_WALK_H
#define PEAT_TOOLS_ENTRY_WALK_H

#include "tools/entry_text.h"
#include "tools/target.h"

struct pt_entry_walk {
    struct peat_range range;
    uint64_t limit; /* entries at most */
    bool is_reverse;
    uint64_t count; /* entries so far: set by the walk */
};

/* Walk @p collection (NULL: the root) as of the target's snapshot. @p writer NULL: only count. It
 * also ends when standard output fails, which closing that reports. */
enum pt_exit pt_entry_walk(struct pt_entry_walk *walk, const struct pt_target *target,
                           struct peat_collection *collection,
                           const struct pt_entry_writer *writer);

#endif

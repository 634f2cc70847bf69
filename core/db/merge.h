/* A merge step: in a part of the key space the runs of a group become one. */
#ifndef PEAT_CORE_DB_MERGE_H
#define PEAT_CORE_DB_MERGE_H

#include "core/db/run_writer.h"

/* What is to be merged. */
struct pt_merge_part {
    size_t first;          /* the group: runs of the stack, newest first */
    size_t width;          /* at least 1 */
    struct peat_bytes low; /* keys from here on; borrowed; data NULL: from the first */
    struct peat_bytes end; /* up to, not including, this one; borrowed; data NULL: to the last */
};

/* What a step came to. */
struct pt_merge_result {
    bool finished;          /* all of the part is merged */
    struct peat_bytes high; /* else: it is up to here; on the heap, to pt_bytes_fini() */
    size_t run_count;       /* of the stack, after it */
    size_t width;           /* of the group, after it */
    uint64_t size;          /* bytes written, and moved */
};

/*
 * Merge as much of @p part, from its low on, as one step takes, and publish that, in memory. @p stack
 * is a copy of the current one. The merger's thread. PEAT_CORRUPT (an input is damaged: nothing has
 * changed), PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY.
 */
enum peat_status pt_merge(struct peat_db *db, const struct pt_stack *stack,
                          const struct pt_merge_part *part, struct pt_merge_result *result_out);

#endif

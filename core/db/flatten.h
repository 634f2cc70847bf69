/*
 * Flattening: what several layers say, written as one run. The common half of flush and merge.
 *
 * One version per key is kept, the newest; what a newer range delete covers is gone. At the bottom
 * deletions have nothing left to hide and are gone as well.
 */
#ifndef PEAT_CORE_DB_FLATTEN_H
#define PEAT_CORE_DB_FLATTEN_H

#include "core/db/cover.h"
#include "core/db/join.h"
#include "core/db/range_bag.h"
#include "core/db/run_writer.h"

/* What is flattened. Sources and covers are added by the caller. */
struct pt_flatten {
    struct pt_join join;
    struct pt_cover *covers; /* borrowed; newest first */
    size_t cover_count;
    struct pt_range_bag ranges; /* of all layers, in any order, until pt_flatten_run() */
    bool bottom;                /* nothing older is below */
    uint64_t size_max;  /* bytes of output after which to stop, when the segment that is being
                           written is full; 0: never */
    uint64_t input_max; /* bytes of input after which to stop at once; 0: never */
    uint64_t input;     /* bytes read so far, without what range deletes cover */
};

/*
 * Write everything through @p writer. *stopped_out: the first key not written, or data NULL if all
 * was. PEAT_CORRUPT (an input is damaged: nothing of the output may be used), PEAT_NO_SPACE,
 * PEAT_IO, PEAT_NO_MEMORY.
 */
enum peat_status pt_flatten_run(struct pt_flatten *flatten, struct pt_run_writer *writer,
                                struct peat_bytes *stopped_out);
void pt_flatten_fini(struct pt_flatten *flatten);

#endif

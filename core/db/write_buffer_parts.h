/* What a write buffer is made of: for the files that implement write_buffer.h, and no others. */
#ifndef PEAT_CORE_DB_WRITE_BUFFER_PARTS_H
#define PEAT_CORE_DB_WRITE_BUFFER_PARTS_H

#include "core/db/buffer_area.h"
#include "core/db/buffer_index.h"
#include "core/db/kept_runs.h"
#include "core/db/range_list.h"
#include "core/db/write_buffer.h"

#include <stdalign.h>

/* Fields are in groups by who writes them, a cache line or more to each, so that a get reads none
 * that changes with every add. */
struct pt_write_buffer {
    /* Fixed once opened. */
    uint8_t *area;
    size_t area_size; /* bytes of address space */
    uint64_t hash_seed;

    /*
     * Replaced by the writer now and then. Release when stored: pairs with the acquire of a reader,
     * which then sees what they point to. ranges says everything up to its own place; range deletes
     * after it (there are some only when memory ran out) hang on newest_range.
     */
    _Atomic(struct pt_buffer_index *) index;
    _Atomic(struct pt_range_list *) ranges; /* NULL: none yet */
    _Atomic uint32_t newest_range;          /* place of the newest one published; 0: none */

    /*
     * Stored by publish, in this order. Release on end and commit: who acquires a commit sees an
     * end and a count that include it (or more); who acquires an end sees the entries before it.
     */
    alignas(PT_CACHE_LINE) _Atomic uint64_t published_count; /* entries */
    _Atomic uint64_t published_end;                          /* offset */
    _Atomic uint64_t published_commit;

    /* The writer's. Atomic where other threads may ask, for statistics: relaxed. */
    alignas(PT_CACHE_LINE) _Atomic uint64_t end; /* offset: the next entry goes there */
    _Atomic uint64_t entry_count;
    _Atomic uint64_t range_count;
    _Atomic size_t populated_size;  /* bytes of the area that have memory */
    _Atomic size_t structures_size; /* bytes: index tables and range lists */
    uint64_t last_commit;           /* highest added */
    size_t index_used;              /* slots of the current index */
    size_t index_expected;          /* entries that it is made for once it is no small one */
    uint32_t last_range;            /* place of the newest range delete added; 0: none */

    alignas(PT_CACHE_LINE) struct pt_kept_runs kept;
};

/*
 * The range deletes up to place @p newest (not 0), as a list to look at; it ends with the buffer.
 * *own_out: NULL, or what the caller must free after use, because the buffer's own list is behind.
 * NULL: no memory.
 */
const struct pt_range_list *pt_write_buffer_ranges(const struct pt_write_buffer *buffer,
                                                   uint32_t newest, struct pt_range_list **own_out);

#endif

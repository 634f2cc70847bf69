/*
 * The hash index of a write buffer: where in the area the newest entry of a key lies.
 *
 * Open addressing with linear probing. A slot is 64 bits: the high half of the key's hash, which is
 * its tag, and the place; 0 is empty. A slot's home is the tag's highest bits, so a table is in the
 * order of tags (but for collisions), and the next larger one is filled in one sweep over this one,
 * without a look at entries. Slots are never emptied.
 *
 * One writer stores slots, any thread reads them. A table that a larger one replaced stays until the
 * buffer is closed: a reader may be in it, and finds there all that was published before it came.
 */
#ifndef PEAT_CORE_DB_BUFFER_INDEX_H
#define PEAT_CORE_DB_BUFFER_INDEX_H

#include "core/base/endian.h"
#include "core/base/thread.h"

struct pt_buffer_index {
    unsigned shift;                  /* home = tag >> shift */
    uint32_t mask;                   /* slots - 1 */
    size_t memory_size;              /* bytes: all of this */
    struct pt_buffer_index *smaller; /* the table it replaced; NULL: none */
    /* A tag above a place. Release when stored: the entry is there for whoever acquires the slot. */
    _Atomic uint64_t slots[];
};

/* A table with room for @p count keys, at 70 % at most, with the contents of @p smaller, which it
 * owns from then on (NULL: none). NULL: no memory, @p smaller is as before. */
struct pt_buffer_index *pt_buffer_index_new(size_t count, struct pt_buffer_index *smaller);
/* Free it and the tables it replaced. NULL is allowed. */
void pt_buffer_index_free_all(struct pt_buffer_index *index);

/* Keys that fit. */
static inline size_t pt_buffer_index_capacity(const struct pt_buffer_index *index)
{
    return ((size_t)index->mask + 1) / 10 * 7;
}

static inline uint32_t pt_slot_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static inline uint64_t pt_slot(uint32_t tag, uint32_t place)
{
    return (uint64_t)tag << 32 | place;
}

static inline uint32_t pt_slot_place(uint64_t slot)
{
    return (uint32_t)slot;
}

#endif

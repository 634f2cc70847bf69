/*
 * An entry: one operation on one key, as it lies in segments, in the log's batches and in memory.
 *
 *   OFFSET  SIZE  FIELD
 *        0     4  key_size and op   low 24 bits: bytes in the key; high 8 bits: enum pt_op
 *        4     4  value_size        bytes
 *        8     k  key               collection id first
 *      8+k     v  value             PT_OP_DELETE: none; PT_OP_DELETE_RANGE: the end of the range
 *    8+k+v     p  padding           zeros up to a multiple of 8
 *
 * Valid if the op is known and the entry lies within what holds it. Changing this needs a new format
 * version.
 */
#ifndef PEAT_CORE_SEGMENT_ENTRY_FORMAT_H
#define PEAT_CORE_SEGMENT_ENTRY_FORMAT_H

#include "core/base/bytes.h"

enum pt_op {
    PT_OP_PUT = 1,
    PT_OP_DELETE = 2,
    PT_OP_DELETE_RANGE = 3,  /* key: low, inclusive; value: high, exclusive */
    PT_OP_MERGE = 4,         /* reserved: an operand for the merge operator */
    PT_OP_PUT_ELSEWHERE = 5, /* reserved: the value stays where the log wrote it */
    /* Never written: what a cursor shows in place of entries that it cannot read. */
    PT_OP_LOST = 64,      /* from the key on, in the cursor's direction */
    PT_OP_LOST_PAST = 128 /* from just past the key on: the key itself is not hit */
};

enum { PT_ENTRY_HEADER_SIZE = 8, PT_ENTRY_ALIGN = 8, PT_STORED_KEY_SIZE_MAX = (1 << 24) - 1 };

struct pt_entry_header {
    struct pt_le32 key_size_and_op;
    struct pt_le32 value_size;
};
_Static_assert(sizeof(struct pt_entry_header) == PT_ENTRY_HEADER_SIZE, "on-disk size");

/* An entry decoded; key and value are borrowed from where it lies. */
struct pt_entry {
    struct peat_bytes key; /* with its collection id */
    struct peat_bytes value;
    enum pt_op op;
};

/* Bytes an entry takes, padding included. */
static inline uint64_t pt_entry_size(size_t key_size, size_t value_size)
{
    return (PT_ENTRY_HEADER_SIZE + (uint64_t)key_size + value_size + PT_ENTRY_ALIGN - 1) &
           ~(uint64_t)(PT_ENTRY_ALIGN - 1);
}

static inline void pt_entry_header_write(void *place, size_t key_size, enum pt_op op,
                                         size_t value_size)
{
    struct pt_entry_header header = {pt_le32(pt_u32(key_size) | (uint32_t)op << 24),
                                     pt_le32(pt_u32(value_size))};

    PT_ASSERT(key_size <= PT_STORED_KEY_SIZE_MAX);
    memcpy(place, &header, sizeof(header));
}

/* Write a whole entry to @p place, which has room for pt_entry_size() bytes. Returns that size. */
static inline uint64_t pt_entry_write(uint8_t *place, enum pt_op op, struct peat_bytes key,
                                      struct peat_bytes value)
{
    uint64_t size = pt_entry_size(key.size, value.size);

    memset(place + size - PT_ENTRY_ALIGN, 0, PT_ENTRY_ALIGN); /* the padding */
    pt_entry_header_write(place, key.size, op, value.size);
    if (key.size > 0)
        memcpy(place + PT_ENTRY_HEADER_SIZE, key.data, key.size);
    if (value.size > 0)
        memcpy(place + PT_ENTRY_HEADER_SIZE + key.size, value.data, value.size);
    return size;
}

/*
 * Decode the entry at @p place, of which @p available bytes may be read. False: it does not lie
 * within them, or its op is unknown.
 */
static inline bool pt_entry_read(const uint8_t *place, uint64_t available,
                                 struct pt_entry *entry_out, uint64_t *size_out)
{
    uint32_t first;
    uint32_t key_size;
    uint32_t value_size;

    if (available < PT_ENTRY_HEADER_SIZE)
        return false;
    first = pt_read_le32(place);
    key_size = first & 0xffffff;
    value_size = pt_read_le32(place + 4);
    *size_out = pt_entry_size(key_size, value_size);
    entry_out->op = (enum pt_op)(first >> 24);
    entry_out->key = pt_bytes(place + PT_ENTRY_HEADER_SIZE, key_size);
    entry_out->value = pt_bytes(place + PT_ENTRY_HEADER_SIZE + key_size, value_size);
    return *size_out <= available && entry_out->op >= PT_OP_PUT &&
           entry_out->op <= PT_OP_DELETE_RANGE;
}

#endif

/*
 * The area of a write buffer: entries one behind the other, in the order in which they were added.
 *
 *   OFFSET  SIZE  FIELD
 *        0     4  previous   place of the next older version of the key (of a range delete: of the
 *                            next older range delete); 0: none
 *        4     4  unused     zero
 *        8     8  commit     the commit number
 *       16     e  entry      as in entry_format.h, padded to 8
 *
 * An entry's place is its offset / 8, so 32 bits reach 32 GiB; nothing lies at place 0. Places grow
 * in the order of adding: of two entries with one key, the one with the larger place is newer, also
 * within one commit. In memory only, so the header holds native integers. Entries never change.
 */
#ifndef PEAT_CORE_DB_BUFFER_AREA_H
#define PEAT_CORE_DB_BUFFER_AREA_H

#include "core/segment/entry_format.h"

enum { PT_AREA_START = 16 /* offset of the first entry */, PT_AREA_HEADER_SIZE = 16 };

struct pt_area_header {
    uint32_t previous;
    uint32_t unused;
    uint64_t commit;
};
_Static_assert(sizeof(struct pt_area_header) == PT_AREA_HEADER_SIZE, "native layout");

static inline uint32_t pt_area_place(uint64_t offset)
{
    PT_ASSERT(offset % PT_ENTRY_ALIGN == 0);
    return pt_u32(offset / PT_ENTRY_ALIGN);
}

static inline const uint8_t *pt_area_at(const uint8_t *area, uint32_t place)
{
    return area + (uint64_t)place * PT_ENTRY_ALIGN;
}

static inline const struct pt_area_header *pt_area_header(const uint8_t *area, uint32_t place)
{
    return (const void *)pt_area_at(area, place);
}

/* Decode the entry at @p place; returns the offset behind it. */
static inline uint64_t pt_area_entry(const uint8_t *area, uint32_t place,
                                     struct pt_entry *entry_out)
{
    uint64_t size;

    PT_ASSERT(
        pt_entry_read(pt_area_at(area, place) + PT_AREA_HEADER_SIZE, UINT64_MAX, entry_out, &size));
    return (uint64_t)place * PT_ENTRY_ALIGN + PT_AREA_HEADER_SIZE + size;
}

/* The key alone, for comparisons. */
static inline struct peat_bytes pt_area_key(const uint8_t *area, uint32_t place)
{
    const uint8_t *entry = pt_area_at(area, place) + PT_AREA_HEADER_SIZE;

    return pt_bytes(entry + PT_ENTRY_HEADER_SIZE, pt_read_le32(entry) & PT_STORED_KEY_SIZE_MAX);
}

#endif

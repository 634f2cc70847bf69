/* Integers as they lie in the file: little-endian byte arrays without alignment or padding. */
#ifndef PEAT_CORE_BASE_ENDIAN_H
#define PEAT_CORE_BASE_ENDIAN_H

#include "core/base/status.h"

#include <endian.h>
#include <string.h>

struct pt_le16 {
    uint8_t bytes[2];
};
struct pt_le32 {
    uint8_t bytes[4];
};
struct pt_le64 {
    uint8_t bytes[8];
};

static inline struct pt_le16 pt_le16(uint16_t value)
{
    struct pt_le16 stored;
    value = htole16(value);
    memcpy(stored.bytes, &value, sizeof(value));
    return stored;
}

static inline struct pt_le32 pt_le32(uint32_t value)
{
    struct pt_le32 stored;
    value = htole32(value);
    memcpy(stored.bytes, &value, sizeof(value));
    return stored;
}

static inline struct pt_le64 pt_le64(uint64_t value)
{
    struct pt_le64 stored;
    value = htole64(value);
    memcpy(stored.bytes, &value, sizeof(value));
    return stored;
}

/* The value at @p place, which needs no alignment and has the type's size in bytes. */
static inline uint16_t pt_read_le16(const void *place)
{
    uint16_t value;
    memcpy(&value, place, sizeof(value));
    return le16toh(value);
}

static inline uint32_t pt_read_le32(const void *place)
{
    uint32_t value;
    memcpy(&value, place, sizeof(value));
    return le32toh(value);
}

static inline uint64_t pt_read_le64(const void *place)
{
    uint64_t value;
    memcpy(&value, place, sizeof(value));
    return le64toh(value);
}

/* Most significant byte first, so that comparing numbers is comparing bytes. */
static inline uint64_t pt_read_be64(const void *place)
{
    uint64_t value;
    memcpy(&value, place, sizeof(value));
    return be64toh(value);
}

static inline uint16_t pt_le16_value(struct pt_le16 stored)
{
    return pt_read_le16(stored.bytes);
}

static inline uint32_t pt_le32_value(struct pt_le32 stored)
{
    return pt_read_le32(stored.bytes);
}

static inline uint64_t pt_le64_value(struct pt_le64 stored)
{
    return pt_read_le64(stored.bytes);
}

/* Narrow a size that is known to fit. */
static inline uint32_t pt_u32(uint64_t value)
{
    PT_ASSERT(value <= UINT32_MAX);
    return (uint32_t)value;
}

static inline uint64_t pt_round_up(uint64_t value, uint64_t unit)
{
    PT_ASSERT(unit != 0 && (unit & (unit - 1)) == 0);
    return (value + unit - 1) & ~(unit - 1);
}

static inline uint64_t pt_round_down(uint64_t value, uint64_t unit)
{
    PT_ASSERT(unit != 0 && (unit & (unit - 1)) == 0);
    return value & ~(unit - 1);
}

#endif

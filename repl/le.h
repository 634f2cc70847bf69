/* Integers as they go over the wire: little-endian bytes, at any address. */
#ifndef PEAT_REPL_LE_H
#define PEAT_REPL_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t pt_wire_u16(const uint8_t place[2])
{
    uint16_t value;
    memcpy(&value, place, sizeof(value));
    return le16toh(value);
}

static inline uint32_t pt_wire_u32(const uint8_t place[4])
{
    uint32_t value;
    memcpy(&value, place, sizeof(value));
    return le32toh(value);
}

static inline uint64_t pt_wire_u64(const uint8_t place[8])
{
    uint64_t value;
    memcpy(&value, place, sizeof(value));
    return le64toh(value);
}

static inline void pt_wire_put_u16(uint8_t place[2], uint16_t value)
{
    value = htole16(value);
    memcpy(place, &value, sizeof(value));
}

static inline void pt_wire_put_u32(uint8_t place[4], uint32_t value)
{
    value = htole32(value);
    memcpy(place, &value, sizeof(value));
}

static inline void pt_wire_put_u64(uint8_t place[8], uint64_t value)
{
    value = htole64(value);
    memcpy(place, &value, sizeof(value));
}

#endif

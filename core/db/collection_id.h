/*
 * Collection ids as key prefixes: order-preserving and prefix-free, so that each collection's keys
 * are one range of the store's key space.
 *
 *   id below 240    one byte: the id
 *   else            a byte 239 + n, then the id's n bytes, most significant first (n is least)
 *
 * Ids are never reused: what a dropped collection left behind can never appear in another. So they
 * must not run out either: from PT_COLLECTION_ID_MAX on they are nobody's, and not counted on from.
 */
#ifndef PEAT_CORE_DB_COLLECTION_ID_H
#define PEAT_CORE_DB_COLLECTION_ID_H

#include "core/base/bytes.h"

enum {
    PT_CATALOGUE_ID = 0, /* parent id and name -> id */
    PT_ROOT_ID = 1,
    PT_FIRST_FREE_ID = 2,
    PT_ID_PREFIX_MAX = 9 /* bytes */
};

#define PT_COLLECTION_ID_MAX ((uint64_t)INT64_MAX)

struct pt_id_prefix {
    uint8_t bytes[PT_ID_PREFIX_MAX];
    uint8_t size;
};

static inline struct pt_id_prefix pt_id_prefix(uint64_t id)
{
    struct pt_id_prefix prefix = {{(uint8_t)id}, 1};
    unsigned n = 1;

    if (id < 240)
        return prefix;
    while (n < 8 && id >> (8 * n) != 0)
        n++;
    prefix.bytes[0] = (uint8_t)(239 + n);
    for (unsigned i = 0; i < n; i++)
        prefix.bytes[1 + i] = (uint8_t)(id >> (8 * (n - 1 - i)));
    prefix.size = (uint8_t)(n + 1);
    return prefix;
}

/* The first prefix above all keys that begin with @p prefix: the bytes as a number, plus one. */
static inline struct pt_id_prefix pt_id_prefix_end(struct pt_id_prefix prefix)
{
    unsigned i = prefix.size;

    PT_ASSERT(i > 0);
    while (++prefix.bytes[--i] == 0)
        PT_ASSERT(i > 0); /* the first byte is at most 247 */
    return prefix;
}

/* The id that a stored key begins with, and the bytes it takes there. False: that is none. */
static inline bool pt_id_read(struct peat_bytes key, uint64_t *id_out, size_t *size_out)
{
    const uint8_t *bytes = key.data;
    size_t size = key.size == 0 || bytes[0] < 240 ? 1 : (size_t)bytes[0] - 239 + 1;

    if (key.size < size || size > PT_ID_PREFIX_MAX)
        return false;
    *size_out = size;
    *id_out = size == 1 ? bytes[0] : 0;
    for (size_t i = 1; i < size; i++)
        *id_out = *id_out << 8 | bytes[i];
    return *id_out < PT_COLLECTION_ID_MAX;
}

static inline struct peat_bytes pt_id_prefix_bytes(const struct pt_id_prefix *prefix)
{
    return pt_bytes(prefix->bytes, prefix->size);
}

#endif

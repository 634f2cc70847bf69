/* Keys as byte strings: comparison in memcmp order, and prefixes as numbers that compare alike. */
#ifndef PEAT_CORE_BASE_BYTES_H
#define PEAT_CORE_BASE_BYTES_H

#include "core/base/endian.h"

/*
 * For what is called at two places and counted in instructions: compilers would share one copy. And for
 * what does nothing but prefetch: gcc (12) takes such a function for one without effect, and drops its calls.
 */
#define PT_ALWAYS_INLINE inline __attribute__((always_inline))

static inline struct peat_bytes pt_bytes(const void *data, size_t size)
{
    struct peat_bytes bytes = {data, size};
    return bytes;
}

/* <0, 0 or >0, in memcmp order; a prefix sorts before what it starts. */
static inline int pt_bytes_compare(struct peat_bytes a, struct peat_bytes b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);

    if (order != 0)
        return order;
    return (a.size > b.size) - (a.size < b.size);
}

/* Keys are short and mostly equal where this is asked: words in line beat a call of memcmp(). */
static inline bool pt_bytes_equal(struct peat_bytes a, struct peat_bytes b)
{
    const uint8_t *left = a.data;
    const uint8_t *right = b.data;
    size_t i;

    if (a.size != b.size)
        return false;
    if (a.size < 8 || a.size > 64)
        return a.size == 0 || memcmp(left, right, a.size) == 0;
    for (i = 0; i + 8 < a.size; i += 8) {
        if (pt_read_le64(left + i) != pt_read_le64(right + i))
            return false;
    }
    return pt_read_le64(left + a.size - 8) == pt_read_le64(right + a.size - 8);
}

/* memcpy() for what is mostly short, in line. */
static inline void pt_bytes_put(uint8_t *place, struct peat_bytes bytes)
{
    const uint8_t *data = bytes.data;
    size_t size = bytes.size;

    if (size > 64 || size < 8) {
        if (size > 0)
            memcpy(place, data, size);
        return;
    }
    for (size_t i = 0; i + 8 < size; i += 8)
        memcpy(place + i, data + i, 8);
    memcpy(place + size - 8, data + size - 8, 8);
}

/* How many leading bytes both have in common. */
size_t pt_bytes_common(struct peat_bytes a, struct peat_bytes b);

/*
 * The 8 bytes from @p skip on as a number, zeros where the key ends. If the first @p skip bytes
 * agree: prefix(a) < prefix(b) implies a < b, and equal prefixes decide nothing.
 */
static inline uint64_t pt_bytes_prefix(struct peat_bytes key, size_t skip)
{
    const uint8_t *data = key.data;
    uint64_t prefix = 0;

    if (key.size >= skip + 8)
        return pt_read_be64(data + skip);
    for (size_t i = skip; i < key.size; i++)
        prefix |= (uint64_t)data[i] << (56 - 8 * (i - skip));
    return prefix;
}

/* A copy of @p source on the heap with a size of its own; data NULL stays NULL. Release with
 * pt_bytes_fini(). PEAT_NO_MEMORY. */
enum peat_status pt_bytes_copy(struct peat_bytes source, struct peat_bytes *copy_out);
void pt_bytes_fini(struct peat_bytes *bytes);

#endif

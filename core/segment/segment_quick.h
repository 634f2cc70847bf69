/*
 * The hash index of a segment, in line, and the quick get: a lookup by it in as few instructions as can be.
 *
 * A get waits for memory twice, for a bucket and for an entry, and there is nothing else to do in that
 * lookup meanwhile. But the processor goes on with what comes after it, some two hundred instructions
 * far: if the next get's bucket is within them, the waits of both overlap. So what counts is not the
 * time that instructions take, but how many there are from one get's entry to the next get's bucket.
 */
#ifndef PEAT_CORE_SEGMENT_SEGMENT_QUICK_H
#define PEAT_CORE_SEGMENT_SEGMENT_QUICK_H

#include "core/base/bytes.h"
#include "core/segment/segment.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/*
 * Which slots of a bucket hold @p tag, as a set of bits; pt_bucket_slot() tells which slot its lowest bit
 * stands for. All tags at once where the processor has vectors (SSE2 is part of x86-64: 12 instructions
 * instead of 45), else four at a time in a word.
 */
#ifdef __SSE2__

static inline uint64_t pt_bucket_matching(const uint8_t *bucket, uint16_t tag)
{
    __m128i wanted = _mm_set1_epi16((short)tag);
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)bucket);
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(bucket + 16));
    __m128i equal = _mm_packs_epi16(_mm_cmpeq_epi16(low, wanted), _mm_cmpeq_epi16(high, wanted));

    /* The second vector is more than tags: its first two lanes are. */
    return (uint64_t)(unsigned)_mm_movemask_epi8(equal) & ((1U << PT_BUCKET_SLOTS) - 1);
}

static inline unsigned pt_bucket_slot(uint64_t matching)
{
    return (unsigned)__builtin_ctzll(matching);
}

#else

/*
 * Xor with the tag in each lane makes equal lanes zero. Adding 0x7fff to a lane's low 15 bits carries into
 * its top bit unless they are zero (never further), so the top bit of the sum, or-ed with the lane itself,
 * is clear just where the lane is zero.
 */
static inline uint64_t pt_lanes_equal(const uint8_t *lanes, uint64_t pattern)
{
    const uint64_t low_bits = UINT64_C(0x7fff7fff7fff7fff);
    uint64_t difference = pt_read_le64(lanes) ^ pattern;

    return ~(((difference & low_bits) + low_bits) | difference) & ~low_bits;
}

/* Bit 16 * i + j stands for slot 4 * j + i. */
static inline uint64_t pt_bucket_matching(const uint8_t *bucket, uint16_t tag)
{
    uint64_t pattern = tag * UINT64_C(0x0001000100010001);

    /* The third word ends in a place: only its first two lanes are tags. */
    return pt_lanes_equal(bucket, pattern) >> 15 | pt_lanes_equal(bucket + 8, pattern) >> 14 |
           (pt_lanes_equal(bucket + 16, pattern) & UINT64_C(0x80008000)) >> 13;
}

static inline unsigned pt_bucket_slot(uint64_t matching)
{
    unsigned bit = (unsigned)__builtin_ctzll(matching);

    return 4 * (bit % 16) + bit / 16;
}

#endif

/* The place in the slot that the lowest bit of @p matching stands for. */
static inline uint32_t pt_bucket_place(const uint8_t *bucket, uint64_t matching)
{
    return pt_read_le32(bucket + offsetof(struct pt_segment_bucket, places) +
                        sizeof(struct pt_le32) * pt_bucket_slot(matching));
}

static inline const uint8_t *pt_segment_bucket_at(const struct pt_segment *segment, uint64_t index)
{
    return segment->buckets + index * sizeof(struct pt_segment_bucket);
}

/* A small entry lies in two or three cache lines: fetch the later ones along with the first, rather
 * than one after the other when key and value are read. */
static inline void pt_segment_prefetch_rest(const struct pt_segment *segment, uint64_t offset)
{
    __builtin_prefetch(segment->base + offset + PT_CACHE_LINE);
    __builtin_prefetch(segment->base + offset + 2 * PT_CACHE_LINE);
}

/* A key in two parts, so that it need not be put together: its first byte, and PT_QUICK_SIZE_MIN to
 * PT_QUICK_SIZE_MAX bytes. */
struct pt_quick_key {
    uint8_t head;
    struct peat_bytes tail;
    uint64_t hash; /* pt_hash() of both, one behind the other */
};

enum { PT_QUICK_SIZE_MIN = 8, PT_QUICK_SIZE_MAX = 64 };

/*
 * The quick get in steps, so that whoever looks up many keys can let their cache misses overlap: the bucket,
 * the entry's place, the entry. They read nothing that has not been verified, and never fail: PEAT_DONE
 * says that pt_segment_get() must be asked.
 */

/* The bucket of a key with that hash. bucket_count is not 0. */
static inline const uint8_t *pt_segment_quick_bucket(const struct pt_segment *segment,
                                                     uint64_t hash)
{
    return pt_segment_bucket_at(segment, pt_hash_spread(hash, segment->bucket_count));
}

/* Where the entry lies, and fetch it. PEAT_OK, PEAT_NOT_FOUND, PEAT_DONE. */
static PT_ALWAYS_INLINE enum peat_status pt_segment_quick_place(const struct pt_segment *segment,
                                                                const uint8_t *bucket,
                                                                uint64_t hash, uint64_t *offset_out)
{
    uint64_t matching;
    uint64_t offset;

    if (!pt_segment_may_read(segment, (uint64_t)(bucket - segment->base),
                             sizeof(struct pt_segment_bucket)))
        return PEAT_DONE;
    matching = pt_bucket_matching(bucket, (uint16_t)hash);
    if (matching == 0)
        return (bucket[offsetof(struct pt_segment_bucket, flags)] & PT_BUCKET_OVERFLOWED) == 0
                   ? PEAT_NOT_FOUND
                   : PEAT_DONE;
    offset = (uint64_t)PT_ENTRY_ALIGN * pt_bucket_place(bucket, matching);
    if (offset >= segment->entries_size) /* a multiple of 8, as the size is */
        return PEAT_DONE;
    *offset_out = offset;
    return PEAT_OK;
}

/* What the entry at @p offset says, if it is verified and has that key: PEAT_OK and a PUT's value,
 * PEAT_NOT_FOUND for a DELETE. PEAT_DONE. */
static PT_ALWAYS_INLINE enum peat_status pt_segment_quick_value(const struct pt_segment *segment,
                                                                uint64_t offset,
                                                                const struct pt_quick_key *key,
                                                                struct peat_bytes *value_out)
{
    const uint8_t *place = segment->base + offset;
    struct pt_entry entry;
    uint64_t size;

    if (!pt_segment_may_read(segment, offset, PT_ENTRY_HEADER_SIZE) ||
        !pt_entry_read(place, segment->entries_size - offset, &entry, &size) ||
        entry.key.size != 1 + key->tail.size || !pt_segment_may_read(segment, offset, size) ||
        place[PT_ENTRY_HEADER_SIZE] != key->head ||
        !pt_bytes_equal(pt_bytes(place + PT_ENTRY_HEADER_SIZE + 1, key->tail.size), key->tail))
        return PEAT_DONE;
    if (entry.op != PT_OP_PUT)
        return entry.op == PT_OP_DELETE ? PEAT_NOT_FOUND : PEAT_DONE;
    *value_out = entry.value;
    return PEAT_OK;
}

#endif

/*
 * The layout of a segment: what lies where, and the sizes that say so.
 *
 *   SECTION         SIZE                      CONTENT
 *   entries         entries_size              entries as in entry_format.h, sorted by key
 *   ranges          ranges_size               range deletes as entries, sorted
 *   range ordinals  4 x range_count           u32 each: a range's offset / 8 from the ranges' start
 *   ordinals        4 x entry_count           u32 each: an entry's offset / 8
 *   fences          8 x each level's count    u64 each: an 8-byte key prefix; level 0 first
 *   buckets         64 x bucket_count         the hash index
 *   chunk table     16 x chunk_count          Poly1305 of each 64 KiB of all the sections above
 *   keys            what is copied of them    the smallest key and the largest one
 *   footer          128                       counts and sizes: everything else follows from them
 *
 * From the ordinals on, each section, each level of the fences too, starts at a multiple of 64
 * bytes, the footer at a multiple of 8; what is skipped is zeros, in the fences ones. Offsets are
 * not stored: they follow from the counts and sizes, see pt_segment_layout().
 *
 * A change of anything here needs a new magic, and keys of another purpose for the chunks'
 * checksums: segment_footless.c reads segments whose footer, and with it the magic, is damaged.
 */
#ifndef PEAT_CORE_SEGMENT_SEGMENT_FORMAT_H
#define PEAT_CORE_SEGMENT_SEGMENT_FORMAT_H

#include "core/base/checksum.h"
#include "core/base/endian.h"

enum {
    PT_CHUNK_SIZE = 65536,         /* bytes under one checksum; the last chunk may be shorter */
    PT_SECTION_ALIGN = 64,         /* bytes: a cache line */
    PT_FENCE_STEP = 8,             /* entries per fence */
    PT_FENCE_FANOUT = 8,           /* fences per node: one cache line */
    PT_FENCE_LEVELS_MAX = 12,      /* 2^32 entries take 10 */
    PT_BUCKET_SLOTS = 10,          /* entries that a bucket has room for */
    PT_BUCKET_LOAD = 7,            /* entries per bucket that the builder aims at */
    PT_FOOTER_KEY_SIZE_MAX = 16384 /* bytes: a longer key is not copied, but read from its entry */
};

#define PT_SEGMENT_MAGIC            UINT64_C(0x3147455354414550) /* "PEATSEG1" */
#define PT_SEGMENT_ENTRIES_SIZE_MAX (UINT64_C(8) * 0xffffffff)   /* bytes: offset / 8 is a u32 */
#define PT_PLACE_NONE               UINT32_C(0xffffffff)         /* in a bucket's slot: empty */

/*
 * A bucket of the hash index: one cache line.
 *
 *   OFFSET  SIZE  FIELD
 *        0    20  tags            10 x u16: the low 16 bits of the key's hash
 *       20    40  places          10 x u32: the entry's offset / 8, or PT_PLACE_NONE
 *       60     1  count           slots in use: the first ones
 *       61     1  flags           PT_BUCKET_OVERFLOWED: what found no room here went to the next
 *                                 bucket (the first one after the last)
 *       62     2  reserved        zero
 *
 * A key's bucket is pt_hash_spread(hash, bucket_count), or, while that one has overflowed, the next.
 */
struct pt_segment_bucket {
    struct pt_le16 tags[PT_BUCKET_SLOTS];
    struct pt_le32 places[PT_BUCKET_SLOTS];
    uint8_t count;
    uint8_t flags;
    uint8_t reserved[2];
};
_Static_assert(sizeof(struct pt_segment_bucket) == 64, "on-disk size");
_Static_assert(offsetof(struct pt_segment_bucket, places) == 20, "on-disk offset");
_Static_assert(offsetof(struct pt_segment_bucket, count) == 60, "on-disk offset");
_Static_assert(offsetof(struct pt_segment_bucket, flags) == 61, "on-disk offset");

enum { PT_BUCKET_OVERFLOWED = 1 };

/*
 * The footer: the segment's last 128 bytes.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  magic           PT_SEGMENT_MAGIC
 *        8     8  segment_id      as in the manifest
 *       16     8  size            bytes of the whole segment
 *       24     8  entries_size    bytes; a multiple of 8, at most PT_SEGMENT_ENTRIES_SIZE_MAX
 *       32     8  entry_count     puts and deletes
 *       40     8  delete_count    of those, deletes
 *       48     8  ranges_size     bytes; a multiple of 8, at most PT_SEGMENT_ENTRIES_SIZE_MAX
 *       56     8  range_count     range deletes; there is at least one entry or range
 *       64     8  bucket_count    entry_count / 10 at least, entry_count + 1 at most; 0 if no entries
 *       72     8  hash_seed       for pt_hash()
 *       80     8  common_size     bytes that all keys begin with; at most PT_FOOTER_KEY_SIZE_MAX
 *       88     4  min_key_size    bytes
 *       92     4  max_key_size    bytes
 *       96    16  table_checksum  Poly1305 of the chunk table, keyed by store and segment id
 *      112    16  checksum        Poly1305 of keys, padding and bytes 0..111, keyed likewise
 *
 * Valid if magic and both checksums match, each field is within its bounds, and the layout that
 * follows from them ends where the segment does.
 */
struct pt_segment_footer {
    struct pt_le64 magic;
    struct pt_le64 segment_id;
    struct pt_le64 size;
    struct pt_le64 entries_size;
    struct pt_le64 entry_count;
    struct pt_le64 delete_count;
    struct pt_le64 ranges_size;
    struct pt_le64 range_count;
    struct pt_le64 bucket_count;
    struct pt_le64 hash_seed;
    struct pt_le64 common_size;
    struct pt_le32 min_key_size;
    struct pt_le32 max_key_size;
    struct pt_checksum table_checksum;
    struct pt_checksum checksum;
};
_Static_assert(sizeof(struct pt_segment_footer) == 128, "on-disk size");
_Static_assert(offsetof(struct pt_segment_footer, size) == 16, "on-disk offset");
_Static_assert(offsetof(struct pt_segment_footer, entry_count) == 32, "on-disk offset");
_Static_assert(offsetof(struct pt_segment_footer, ranges_size) == 48, "on-disk offset");
_Static_assert(offsetof(struct pt_segment_footer, bucket_count) == 64, "on-disk offset");
_Static_assert(offsetof(struct pt_segment_footer, common_size) == 80, "on-disk offset");
_Static_assert(offsetof(struct pt_segment_footer, min_key_size) == 88, "on-disk offset");
_Static_assert(offsetof(struct pt_segment_footer, table_checksum) == 96, "on-disk offset");
_Static_assert(offsetof(struct pt_segment_footer, checksum) == 112, "on-disk offset");

/* The fields of a footer that decide where everything lies. */
struct pt_segment_counts {
    uint64_t entries_size;
    uint64_t entry_count;
    uint64_t ranges_size;
    uint64_t range_count;
    uint64_t bucket_count;
    uint64_t min_key_size;
    uint64_t max_key_size;
};

/* As the footer states them. */
static inline struct pt_segment_counts
pt_segment_footer_counts(const struct pt_segment_footer *footer)
{
    struct pt_segment_counts counts = {
        .entries_size = pt_le64_value(footer->entries_size),
        .entry_count = pt_le64_value(footer->entry_count),
        .ranges_size = pt_le64_value(footer->ranges_size),
        .range_count = pt_le64_value(footer->range_count),
        .bucket_count = pt_le64_value(footer->bucket_count),
        .min_key_size = pt_le32_value(footer->min_key_size),
        .max_key_size = pt_le32_value(footer->max_key_size),
    };

    return counts;
}

/* Offsets are bytes from the segment's start. */
struct pt_segment_layout {
    uint64_t range_ordinals_offset; /* the ranges themselves start at entries_size */
    uint64_t ordinals_offset;
    uint64_t fence_offsets[PT_FENCE_LEVELS_MAX];
    uint64_t fence_counts[PT_FENCE_LEVELS_MAX]; /* fences; the last level has at most 8 */
    unsigned fence_level_count;
    uint64_t buckets_offset;
    uint64_t table_offset; /* the bytes before it are checksummed by chunks */
    uint64_t chunk_count;
    uint64_t keys_offset;
    uint64_t footer_offset;
    uint64_t size;
};

/* The buckets that the builder makes. A footer may state others. */
static inline uint64_t pt_segment_bucket_count(uint64_t entry_count)
{
    return (entry_count + PT_BUCKET_LOAD - 1) / PT_BUCKET_LOAD;
}

/* Bytes that the footer keeps of a key of @p key_size bytes. */
static inline uint64_t pt_segment_key_copy_size(uint64_t key_size)
{
    return key_size <= PT_FOOTER_KEY_SIZE_MAX ? key_size : 0;
}

/* Where things are. Cannot overflow if entries_size and ranges_size are within their bounds and the
 * counts are no larger than those. */
static inline void pt_segment_layout(const struct pt_segment_counts *counts,
                                     struct pt_segment_layout *layout)
{
    uint64_t fence_count = (counts->entry_count + PT_FENCE_STEP - 1) / PT_FENCE_STEP;
    uint64_t offset = counts->entries_size + counts->ranges_size;

    layout->range_ordinals_offset = offset;
    offset = pt_round_up(offset + 4 * counts->range_count, PT_SECTION_ALIGN);
    layout->ordinals_offset = offset;
    offset = pt_round_up(offset + 4 * counts->entry_count, PT_SECTION_ALIGN);

    layout->fence_level_count = 0;
    while (fence_count > 0) {
        layout->fence_offsets[layout->fence_level_count] = offset;
        layout->fence_counts[layout->fence_level_count++] = fence_count;
        offset = pt_round_up(offset + 8 * fence_count, PT_SECTION_ALIGN);
        fence_count = fence_count <= PT_FENCE_FANOUT
                          ? 0
                          : (fence_count + PT_FENCE_FANOUT - 1) / PT_FENCE_FANOUT;
    }
    layout->buckets_offset = offset;
    layout->table_offset = offset + sizeof(struct pt_segment_bucket) * counts->bucket_count;
    layout->chunk_count = (layout->table_offset + PT_CHUNK_SIZE - 1) / PT_CHUNK_SIZE;
    layout->keys_offset = layout->table_offset + PT_CHECKSUM_SIZE * layout->chunk_count;
    layout->footer_offset =
        pt_round_up(layout->keys_offset + pt_segment_key_copy_size(counts->min_key_size) +
                        pt_segment_key_copy_size(counts->max_key_size),
                    8);
    layout->size = layout->footer_offset + sizeof(struct pt_segment_footer);
}

#endif

/*
 * A segment: an immutable sorted array of entries with its indexes, in one run of bytes.
 *
 * Each key occurs once. Puts and deletes are the entries; range deletes are a short section of
 * their own: sorted, disjoint, and older than the segment's entries (an entry inside a range of its
 * own segment is visible). What a reader asks of one place is verified the first time that place is
 * touched (a bitmap of verified chunks).
 *
 * Struct and inline functions are open here because a lookup costs a few dozen nanoseconds; only
 * core/segment and the readers in core/db use the fields.
 */
#ifndef PEAT_CORE_SEGMENT_SEGMENT_H
#define PEAT_CORE_SEGMENT_SEGMENT_H

#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/segment/entry_format.h"
#include "core/segment/segment_format.h"

#include <stdatomic.h>

/* What makes a segment this one and no other; checksums are keyed by it. */
struct pt_segment_identity {
    struct pt_id store_id;
    uint64_t segment_id; /* never reused in a store */
};

/* What the builder knows at the end, and the manifest keeps. */
struct pt_segment_summary {
    uint64_t size;           /* bytes, footer included, without the region's padding */
    uint64_t entry_count;    /* puts and deletes */
    uint64_t delete_count;   /* of those, deletes */
    uint64_t range_count;    /* range deletes */
    struct pt_digest digest; /* BLAKE2b over chunk checksums, key copies and footer */
};

/* ---- Building ---- */

/* Where the builder's bytes go: @p offset from the segment's start, always ascending. */
struct pt_segment_sink {
    enum peat_status (*write)(void *context, uint64_t offset, const void *data, size_t size);
    void *context;
};

struct pt_segment_builder; /* one thread at a time */

/* @p hash_seed: of the store's hash indexes, kept in the footer. PEAT_NO_MEMORY. */
enum peat_status pt_segment_builder_open(const struct pt_segment_identity *identity,
                                         uint64_t hash_seed, const struct pt_segment_sink *sink,
                                         struct pt_segment_builder **builder_out);
/* Keys strictly ascending (asserted). PUT or DELETE. @p hash is pt_hash(hash_seed, key). After an
 * error, here or below, all that can be done is to close. Sink's errors, PEAT_NO_MEMORY. */
enum peat_status pt_segment_builder_add(struct pt_segment_builder *builder, enum pt_op op,
                                        struct peat_bytes key, struct peat_bytes value,
                                        uint64_t hash);
/* Range deletes: sorted, disjoint, low < high (asserted); at any time before finish. */
enum peat_status pt_segment_builder_add_range(struct pt_segment_builder *builder,
                                              struct peat_bytes low, struct peat_bytes high);
/* Bytes of the finished segment, if it were finished after one more entry or range of
 * @p entry_size bytes (0: now): an upper bound, cheap, for whoever must fit it into a region. */
uint64_t pt_segment_builder_size_bound(const struct pt_segment_builder *builder,
                                       uint64_t entry_size);
/* The same before there is a builder: @p data_size is the sum of pt_entry_size() over entries and
 * ranges, @p entry_count their number. */
uint64_t pt_segment_size_bound(uint64_t data_size, uint64_t entry_count);
uint64_t pt_segment_builder_data_size(
    const struct pt_segment_builder *builder); /* entries' bytes */
uint64_t pt_segment_builder_entry_count(const struct pt_segment_builder *builder);
/* Private memory, in bytes, that a builder of @p entry_count entries comes to: touched, finishing
 * included. */
size_t pt_segment_builder_memory_for(uint64_t entry_count);
/* The other way round: entries for which @p memory_size bytes are enough, some thousands at least. */
uint64_t pt_segment_builder_entries_for(uint64_t memory_size);
/* Write indexes, checksums and footer. At least one entry or range was added. */
enum peat_status pt_segment_builder_finish(struct pt_segment_builder *builder,
                                           struct pt_segment_summary *summary_out);
void pt_segment_builder_close(struct pt_segment_builder *builder); /* NULL is allowed */

/* ---- Reading ---- */

/* Immutable once opened, but for the verified bits (atomic). The bytes must outlive it. What a get
 * needs comes first, in one cache line. */
struct pt_segment {
    const uint8_t *base;    /* borrowed: the segment's first byte, in the mapping */
    uint64_t entries_size;  /* bytes: entries are [0, entries_size) */
    const uint8_t *buckets; /* bucket_count x struct pt_segment_bucket */
    uint64_t bucket_count;
    _Atomic uint64_t chunks_left; /* not yet verified: 0 is the readers' fast path */
    _Atomic uint64_t *verified;   /* owned: a bit per chunk */
    const uint8_t *ordinals;      /* entry_count x u32: offset / 8 */
    uint64_t entry_count;
    uint64_t common_size; /* bytes: a prefix that all keys share */
    unsigned fence_level_count;
    const uint8_t
        *fence_levels[PT_FENCE_LEVELS_MAX]; /* [0]: every PT_FENCE_STEP-th entry's prefix */
    uint64_t fence_counts[PT_FENCE_LEVELS_MAX];
    uint64_t hash_seed;
    const uint8_t *ranges; /* range deletes as entries */
    uint64_t ranges_size;  /* bytes */
    uint64_t range_count;
    const uint8_t *range_ordinals; /* range_count x u32: offset / 8 from ranges */
    uint64_t delete_count;
    /* Of the entries; borrowed from the footer, or, if it is very long, from the entry; empty if there are
     * only ranges. */
    struct peat_bytes min_key;
    struct peat_bytes max_key;
    uint64_t size;             /* bytes in all */
    uint64_t checked_size;     /* bytes that the chunks' checksums cover: all before the table */
    uint64_t chunk_count;
    const uint8_t *checksums; /* the table: chunk_count x struct pt_checksum */
    struct pt_segment_identity identity;
    struct pt_file *file;             /* for pt_file_populate(); NULL: bytes in plain memory */
    uint64_t file_offset;             /* bytes: for messages */
    enum peat_status lost;            /* PEAT_OK; or nothing of it can be read, and this is why */
    struct pt_rescue *_Atomic rescue; /* owned: made when damage is met (rescue.h); NULL so far */
};

/*
 * Open the segment that fills @p map (summary.size bytes). Checks the footer and every size and
 * offset it states, not the entries: chunks are verified on first touch. @p file may be NULL (plain
 * memory, tests). PEAT_CORRUPT, PEAT_NO_MEMORY, PEAT_IO.
 * (A first or last key above PT_FOOTER_KEY_SIZE_MAX bytes is read, and its chunks verified, here.)
 */
enum peat_status pt_segment_open(struct peat_bytes map, const struct pt_segment_identity *identity,
                                 struct pt_file *file, uint64_t file_offset,
                                 struct pt_segment **segment_out);
/*
 * Open a segment that pt_segment_open() finds to be damaged, as far as can be. Where the chunk
 * table is, each chunk is verified against its own checksum there, and those whose checksum is hit
 * cannot be read. Where the footer is, what it said is found out from @p summary, which the
 * manifest vouches for, and from the segment's verified bytes (segment_footless.c). PEAT_CORRUPT:
 * it cannot be; PEAT_NO_MEMORY, PEAT_IO.
 */
enum peat_status pt_segment_open_damaged(struct peat_bytes map,
                                         const struct pt_segment_identity *identity,
                                         const struct pt_segment_summary *summary,
                                         struct pt_file *file, uint64_t file_offset,
                                         struct pt_segment **segment_out);
/*
 * Stand in for a segment of @p size bytes that cannot be opened, for the reason @p why (PEAT_CORRUPT,
 * PEAT_IO): it has no entries, and whatever is asked of it gives that status. Nothing in the file is
 * touched. PEAT_NO_MEMORY.
 */
enum peat_status pt_segment_open_lost(const struct pt_segment_identity *identity, uint64_t size,
                                      enum peat_status why, struct pt_file *file,
                                      uint64_t file_offset, struct pt_segment **segment_out);
/* Look anew at what pt_segment_open() has looked at: one that was opened as damaged may tell all that it
 * holds, and not be whole. It is not lost. PEAT_CORRUPT, PEAT_NO_MEMORY, PEAT_IO. */
enum peat_status pt_segment_verify_end(const struct pt_segment *segment);
void pt_segment_close(struct pt_segment *segment); /* NULL is allowed */

/* Verify the chunks that hold [offset, offset + size), which must lie inside checked_size. The slow half of pt_segment_verify(). PEAT_CORRUPT (counted again at each try), PEAT_IO. */
enum peat_status pt_segment_verify_slow(struct pt_segment *segment, uint64_t offset, uint64_t size);

/* Whether the chunk that holds byte @p offset has been verified. */
static inline bool pt_segment_chunk_verified(const struct pt_segment *segment, uint64_t offset)
{
    uint64_t index = offset / PT_CHUNK_SIZE;
    /* Acquire pairs with the fetch_or in the verifier: whoever sees the bit sees what it saw. */
    uint64_t word = atomic_load_explicit(&segment->verified[index / 64], memory_order_acquire);

    return (word >> (index % 64) & 1) != 0;
}

/* Whether the bytes, which lie inside checked_size, are known to be verified: at once where they lie in
 * one chunk, as nearly all that is asked for does. */
static inline bool pt_segment_may_read(const struct pt_segment *segment, uint64_t offset,
                                       uint64_t size)
{
    /* Acquire pairs with the release in the verifier that brought it to 0. */
    if (__builtin_expect(atomic_load_explicit(&segment->chunks_left, memory_order_acquire) == 0, 1))
        return true;
    return offset / PT_CHUNK_SIZE == (offset + size - 1) / PT_CHUNK_SIZE &&
           pt_segment_chunk_verified(segment, offset);
}

static inline enum peat_status pt_segment_verify(struct pt_segment *segment, uint64_t offset,
                                                 uint64_t size)
{
    return pt_segment_may_read(segment, offset, size)
               ? PEAT_OK
               : pt_segment_verify_slow(segment, offset, size);
}

/* Fault in and verify everything: used by merges' outputs and by check. */
enum peat_status pt_segment_verify_all(struct pt_segment *segment);
/* Compute the checksum of chunk @p index < chunk_count, whether it was verified before or not. */
enum peat_status pt_segment_verify_chunk(struct pt_segment *segment, uint64_t index);

/* Report damage found behind a right checksum or a wrong one: PEAT_CORRUPT with place. */
enum peat_status pt_segment_damaged(const struct pt_segment *segment, uint64_t offset,
                                    const char *what) __attribute__((cold));

/* Fail with @p status (PEAT_CORRUPT, PEAT_IO): what lies at byte @p offset cannot be read. */
enum peat_status pt_segment_unreadable(const struct pt_segment *segment, enum peat_status status,
                                       uint64_t offset) __attribute__((cold));

/* Decode and verify the entry at byte @p offset, a multiple of 8. *next_out: the offset behind it,
 * entries_size behind the last; set on PEAT_OK alone. */
static inline enum peat_status pt_segment_entry(struct pt_segment *segment, uint64_t offset,
                                                struct pt_entry *entry_out, uint64_t *next_out)
{
    enum peat_status status;
    uint64_t size;

    if (__builtin_expect(offset >= segment->entries_size,
                         0)) { /* a multiple of 8, as the size is */
        (void)pt_segment_damaged(segment, offset, "an entry outside the segment");
        return PEAT_CORRUPT; /* spelled out, so that compilers see that *entry_out is not used */
    }
    status = pt_segment_verify(segment, offset, PT_ENTRY_HEADER_SIZE);
    if (status < 0)
        return status;
    if (__builtin_expect(!pt_entry_read(segment->base + offset, segment->entries_size - offset,
                                        entry_out, &size) ||
                             entry_out->op > PT_OP_DELETE,
                         0)) {
        (void)pt_segment_damaged(segment, offset, "a malformed entry");
        return PEAT_CORRUPT;
    }
    status = pt_segment_verify(segment, offset, size);
    if (__builtin_expect(status < 0, 0))
        return status;
    *next_out = offset + size;
    return PEAT_OK;
}

/* The byte offset of entry number @p ordinal < entry_count. Verified and checked. */
static inline enum peat_status pt_segment_ordinal(struct pt_segment *segment, uint64_t ordinal,
                                                  uint64_t *offset_out)
{
    const uint8_t *place = segment->ordinals + 4 * ordinal;
    enum peat_status status;

    PT_ASSERT(ordinal < segment->entry_count);
    status = pt_segment_verify(segment, (uint64_t)(place - segment->base), 4);
    if (status < 0)
        return status;
    *offset_out = (uint64_t)PT_ENTRY_ALIGN * pt_read_le32(place);
    if (__builtin_expect(*offset_out >= segment->entries_size, 0)) {
        (void)pt_segment_damaged(segment, *offset_out, "an ordinal outside the entries");
        return PEAT_CORRUPT;
    }
    return PEAT_OK;
}

/* Look up one key by the hash index. PEAT_OK (a PUT or DELETE), PEAT_NOT_FOUND; PEAT_CORRUPT, PEAT_IO:
 * the key may be among the entries that are lost. */
enum peat_status pt_segment_get(struct pt_segment *segment, struct peat_bytes key, uint64_t hash,
                                struct pt_entry *entry_out);

/* The same by the index alone: damage there is an error, even where the entries are sound. For the
 * check. */
enum peat_status pt_segment_get_strictly(struct pt_segment *segment, struct peat_bytes key,
                                         uint64_t hash, struct pt_entry *entry_out);

/* Multi-get in steps, so that the misses of many keys overlap: prefetch the bucket; then find the
 * first entry whose tag matches and prefetch it; then pt_segment_get(). The steps never fail: what
 * cannot be read is left to pt_segment_get(). */
void pt_segment_prefetch_bucket(const struct pt_segment *segment, uint64_t hash);
void pt_segment_prefetch_entry(const struct pt_segment *segment, uint64_t hash);

/* The number of the first entry with key >= @p key; entry_count if none. */
enum peat_status pt_segment_seek(struct pt_segment *segment, struct peat_bytes key,
                                 uint64_t *ordinal_out);

/* Range delete number @p index < range_count; low and high as key and value. */
enum peat_status pt_segment_range(struct pt_segment *segment, uint64_t index,
                                  struct pt_entry *range_out);
/* The number of the first range whose high is > @p key: it covers @p key, or is the next one above.
 * range_count if none. */
enum peat_status pt_segment_range_seek(struct pt_segment *segment, struct peat_bytes key,
                                       uint64_t *index_out);

/* What a manifest has as the segment's digest. */
struct pt_digest pt_segment_digest(const struct pt_segment *segment);

/*
 * Read everything: checksums, order, every index against the entries, counts, digest against
 * @p summary (NULL: not compared). @p found (may be NULL) is called for each finding: @p offset is
 * bytes in the segment, what was hit lies between the keys low and high. PEAT_CORRUPT if there was
 * any; PEAT_IO, PEAT_NO_MEMORY.
 */
enum peat_status pt_segment_check(struct pt_segment *segment,
                                  const struct pt_segment_summary *summary,
                                  void (*found)(void *context, uint64_t offset, const char *what,
                                                struct peat_bytes low, struct peat_bytes high),
                                  void *context);

#endif

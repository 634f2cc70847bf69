/*
 * References to entries of a write buffer's area, in key order: what its sorted runs consist of.
 *
 * A reference carries 8 bytes of its key, those behind the prefix that all keys of the array share
 * (common_size bytes), so that most comparisons touch no entry. Sorted means: by key, versions of
 * one key newest first, that is by descending place.
 */
#ifndef PEAT_CORE_DB_REFERENCE_SORT_H
#define PEAT_CORE_DB_REFERENCE_SORT_H

#include "core/db/buffer_area.h"

struct pt_reference {
    uint64_t prefix; /* pt_bytes_prefix(key, common_size) */
    uint32_t place;  /* of the entry in the area */
    uint32_t
        repeats; /* sorted: 1 if an older version of the key of the reference before it, else 0;
                         before sorting: the entry's previous, see buffer_area.h */
};
_Static_assert(sizeof(struct pt_reference) == 16, "four to a cache line");

/*
 * The prefix that the keys of a growing array share. Start with {.count = 0} and add the
 * references in turn; @p references[0 .. count - 1] are kept to the same common_size.
 */
struct pt_common_prefix {
    const uint8_t *data; /* borrowed: the first key's bytes */
    size_t size;         /* bytes: the common_size so far */
    size_t count;        /* references so far */
};

/* Set the prefix of @p references[common->count], whose key is @p key. All keys are known to agree
 * in their first @p agreed bytes. */
void pt_common_prefix_add(struct pt_common_prefix *common, struct pt_reference *references,
                          struct peat_bytes key, size_t agreed);

/*
 * Sort @p count references by key, newest first; they are in the order of their places, with
 * prefixes behind @p common_size bytes. @p spare has room for as many. Cannot fail; about 20 ns a
 * reference where prefixes tell keys apart.
 */
void pt_reference_sort(const uint8_t *area, struct pt_reference *references,
                       struct pt_reference *spare, size_t count, size_t common_size);

/* One of two sorted arrays to be merged. */
struct pt_reference_run {
    const struct pt_reference *references;
    size_t count;       /* at least 1 */
    size_t common_size; /* bytes */
};

/* Merge into @p merged, which has room for both. All places of @p newer are larger than those of
 * @p older. Returns the common_size of the result. */
size_t pt_reference_merge(const uint8_t *area, const struct pt_reference_run *newer,
                          const struct pt_reference_run *older, struct pt_reference *merged);

#endif

/* A segment image: the bytes of a segment in memory, to be opened, damaged and sealed again. */
#ifndef PEAT_TESTS_SEGMENT_IMAGE_H
#define PEAT_TESTS_SEGMENT_IMAGE_H

#include "core/segment/segment.h"

#include <stddef.h>

struct pt_segment_image {
    uint8_t *bytes; /* owned; exactly size bytes, so that a sanitizer sees a read beyond them */
    size_t size;
    uint64_t hash_seed;
    struct pt_segment_identity identity;
    struct pt_segment_summary summary;
    struct pt_segment_layout layout;
};

/* What goes into an image: puts and deletes with ascending keys, ranges as low and high. */
struct pt_segment_content {
    const struct pt_entry *entries;
    size_t entry_count;
    const struct pt_entry *ranges; /* key and value: low and high */
    size_t range_count;
};

/* Build it, requiring that everything about the building is as promised. */
void pt_segment_image_init(struct pt_segment_image *image,
                           const struct pt_segment_content *content);
/* The same, with the hash of every key masked by @p hash_mask: collisions to order. */
void pt_segment_image_init_colliding(struct pt_segment_image *image,
                                     const struct pt_segment_content *content, uint64_t hash_mask);
void pt_segment_image_fini(struct pt_segment_image *image);

/* Open it. */
enum peat_status pt_segment_image_open(const struct pt_segment_image *image,
                                       struct pt_segment **segment_out);

/* Make all checksums right again, for what the bytes are now and where things were first. */
void pt_segment_image_seal(struct pt_segment_image *image);

/* The footer inside the image. */
struct pt_segment_footer *pt_segment_image_footer(const struct pt_segment_image *image);

/* The hash of @p key in this image. */
uint64_t pt_segment_image_hash(const struct pt_segment_image *image, struct peat_bytes key);

#endif

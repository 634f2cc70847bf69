#include "tests/segment_image.h"

#include "tests/support.h"

#include <stdlib.h>

/* Where the builder under test writes. */
struct recorder {
    uint8_t *bytes;
    size_t size;
};

static enum peat_status record(void *context, uint64_t offset, const void *data, size_t size)
{
    struct recorder *recorder = context;

    PT_REQUIRE(offset == recorder->size); /* ascending, without a hole */
    PT_REQUIRE(size > 0);
    recorder->bytes = realloc(recorder->bytes, recorder->size + size);
    PT_REQUIRE(recorder->bytes != NULL);
    memcpy(recorder->bytes + recorder->size, data, size);
    recorder->size += size;
    return PEAT_OK;
}

static void content_add(struct pt_segment_builder *builder,
                        const struct pt_segment_content *content, uint64_t hash_seed,
                        uint64_t hash_mask)
{
    for (size_t i = 0; i < content->entry_count; i++) {
        const struct pt_entry *entry = &content->entries[i];
        uint64_t hash = pt_hash(hash_seed, entry->key.data, entry->key.size) & hash_mask;

        PT_REQUIRE_OK(pt_segment_builder_add(builder, entry->op, entry->key, entry->value, hash));
    }
    for (size_t i = 0; i < content->range_count; i++)
        PT_REQUIRE_OK(pt_segment_builder_add_range(builder, content->ranges[i].key,
                                                   content->ranges[i].value));
}

/* Where everything lies, from the footer that the builder wrote. */
static void layout_read(struct pt_segment_image *image)
{
    const struct pt_segment_footer *footer = pt_segment_image_footer(image);
    struct pt_segment_counts counts = pt_segment_footer_counts(footer);

    pt_segment_layout(&counts, &image->layout);
    PT_REQUIRE(image->layout.size == image->size);
}

void pt_segment_image_init_colliding(struct pt_segment_image *image,
                                     const struct pt_segment_content *content, uint64_t hash_mask)
{
    struct recorder recorder = {NULL, 0};
    struct pt_segment_sink sink = {record, &recorder};
    struct pt_segment_builder *builder = NULL;
    uint64_t bound;

    memset(image, 0, sizeof(*image));
    image->hash_seed = 0x5eed;
    image->identity.segment_id = 42;
    memset(image->identity.store_id.bytes, 7, sizeof(image->identity.store_id.bytes));
    PT_REQUIRE_OK(pt_segment_builder_open(&image->identity, image->hash_seed, &sink, &builder));
    content_add(builder, content, image->hash_seed, hash_mask);
    bound = pt_segment_builder_size_bound(builder, 0);
    PT_REQUIRE_OK(pt_segment_builder_finish(builder, &image->summary));
    pt_segment_builder_close(builder);

    PT_REQUIRE(image->summary.size == recorder.size);
    PT_REQUIRE(image->summary.size <= bound);
    image->bytes = recorder.bytes;
    image->size = recorder.size;
    layout_read(image);
}

void pt_segment_image_init(struct pt_segment_image *image, const struct pt_segment_content *content)
{
    pt_segment_image_init_colliding(image, content, UINT64_MAX);
}

void pt_segment_image_fini(struct pt_segment_image *image)
{
    free(image->bytes);
}

enum peat_status pt_segment_image_open(const struct pt_segment_image *image,
                                       struct pt_segment **segment_out)
{
    return pt_segment_open(pt_bytes(image->bytes, image->size), &image->identity, NULL, 0,
                           segment_out);
}

static struct pt_checksum checksum_of(const struct pt_segment_image *image,
                                      enum pt_key_purpose purpose, uint64_t number, uint64_t offset,
                                      uint64_t end)
{
    struct pt_key key =
        pt_key_derive(&image->identity.store_id, purpose, image->identity.segment_id, number);

    return pt_checksum(&key, image->bytes + offset, (size_t)(end - offset));
}

void pt_segment_image_seal(struct pt_segment_image *image)
{
    const struct pt_segment_layout *layout = &image->layout;
    struct pt_segment_footer *footer = pt_segment_image_footer(image);

    for (uint64_t i = 0; i < layout->chunk_count; i++) {
        uint64_t end = (i + 1) * PT_CHUNK_SIZE;
        struct pt_checksum checksum =
            checksum_of(image, PT_KEY_SEGMENT_CHUNK, i, i * PT_CHUNK_SIZE,
                        end < layout->table_offset ? end : layout->table_offset);

        memcpy(image->bytes + layout->table_offset + i * PT_CHECKSUM_SIZE, &checksum,
               sizeof(checksum));
    }
    footer->table_checksum =
        checksum_of(image, PT_KEY_SEGMENT_TABLE, 0, layout->table_offset, layout->keys_offset);
    footer->checksum = checksum_of(image, PT_KEY_SEGMENT_FOOTER, 0, layout->keys_offset,
                                   layout->size - PT_CHECKSUM_SIZE);
}

struct pt_segment_footer *pt_segment_image_footer(const struct pt_segment_image *image)
{
    return (struct pt_segment_footer *)(void *)(image->bytes + image->size -
                                                sizeof(struct pt_segment_footer));
}

uint64_t pt_segment_image_hash(const struct pt_segment_image *image, struct peat_bytes key)
{
    return pt_hash(image->hash_seed, key.data, key.size);
}

/*
 * Target: a segment behind right checksums. Whatever its bytes are, each way of reading gives an answer
 * from inside it or PEAT_CORRUPT; and what the check accepts reads the same in every way.
 */
#include "tests/fuzz.h"
#include "tests/segment_image.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SIZE_MAX_INPUT = 32768,
    SEED = 0x5eed /* of the hashes, as segment_image.c has it */
};

/* What the first byte of an input asks for. */
enum { FIX_FOOTER = 1, SEAL = 2, FOOTLESS = 4 };

static uint64_t sum; /* of all bytes that were handed out, so that they are read */

static void touch(struct peat_bytes bytes)
{
    const uint8_t *data = bytes.data;

    for (size_t i = 0; i < bytes.size; i++)
        sum += data[i];
}

static bool came_through(enum peat_status status)
{
    PT_REQUIRE(status == PEAT_OK || status == PEAT_NOT_FOUND || status == PEAT_CORRUPT);
    return status == PEAT_OK;
}

/* ---- Sealing ---- */

static void identity_set(struct pt_segment_image *image)
{
    image->hash_seed = SEED;
    image->identity.segment_id = 42;
    memset(image->identity.store_id.bytes, 7, sizeof(image->identity.store_id.bytes));
}

/* What the footer says where that can be inside the image: the checksums of anything else are never
 * looked at. */
static bool layout_read(struct pt_segment_image *image)
{
    const struct pt_segment_footer *footer = pt_segment_image_footer(image);
    struct pt_segment_counts counts = pt_segment_footer_counts(footer);

    if (counts.entries_size > image->size || counts.entry_count > image->size ||
        counts.ranges_size > image->size || counts.range_count > image->size ||
        counts.bucket_count > image->size)
        return false;
    pt_segment_layout(&counts, &image->layout);
    return image->layout.size == image->size;
}

static void forge(struct pt_segment_image *image, uint8_t flags)
{
    struct pt_segment_footer *footer = pt_segment_image_footer(image);

    if ((flags & FIX_FOOTER) != 0) {
        footer->magic = pt_le64(PT_SEGMENT_MAGIC);
        footer->segment_id = pt_le64(image->identity.segment_id);
        footer->size = pt_le64(image->size);
    }
    if ((flags & SEAL) != 0 && layout_read(image))
        pt_segment_image_seal(image);
}

/* ---- Reading ---- */

static void key_try(struct pt_segment *segment, struct peat_bytes key)
{
    uint64_t hash = pt_hash(segment->hash_seed, key.data, key.size);
    struct pt_entry found;
    uint64_t number;

    pt_segment_prefetch_bucket(segment, hash);
    pt_segment_prefetch_entry(segment, hash);
    if (came_through(pt_segment_get(segment, key, hash, &found))) {
        touch(found.key);
        touch(found.value);
        PT_REQUIRE(pt_same(found.key, key));
    }
    if (came_through(pt_segment_seek(segment, key, &number)))
        PT_REQUIRE(number <= segment->entry_count);
    if (came_through(pt_segment_range_seek(segment, key, &number)))
        PT_REQUIRE(number <= segment->range_count);
}

static void entries_try(struct pt_segment *segment)
{
    struct pt_entry found;
    uint64_t offset = 0;

    while (offset < segment->entries_size &&
           came_through(pt_segment_entry(segment, offset, &found, &offset)))
        touch(found.value);
    for (uint64_t i = 0; i < segment->entry_count; i++) {
        if (!came_through(pt_segment_ordinal(segment, i, &offset)) ||
            !came_through(pt_segment_entry(segment, offset, &found, &offset)))
            continue;
        touch(found.key);
        key_try(segment, found.key);
    }
    for (uint64_t i = 0; i < segment->range_count; i++) {
        if (!came_through(pt_segment_range(segment, i, &found)))
            continue;
        touch(found.value);
        key_try(segment, found.key);
    }
}

/* The check found nothing: then there is one truth. */
static void require_consistent(struct pt_segment *segment)
{
    for (uint64_t i = 0; i < segment->entry_count; i++) {
        struct pt_entry entry = {.op = PT_OP_PUT};
        struct pt_entry found;
        uint64_t offset = 0;
        uint64_t number;

        PT_REQUIRE_OK(pt_segment_ordinal(segment, i, &offset));
        PT_REQUIRE_OK(pt_segment_entry(segment, offset, &entry, &offset));
        PT_REQUIRE_OK(pt_segment_get(segment, entry.key,
                                     pt_hash(segment->hash_seed, entry.key.data, entry.key.size),
                                     &found));
        PT_REQUIRE(found.op == entry.op && pt_same(found.value, entry.value));
        PT_REQUIRE_OK(pt_segment_seek(segment, entry.key, &number));
        PT_REQUIRE(number == i);
    }
}

/* Open it without its footer, as a manifest would have it opened that says what the footer does. */
static enum peat_status open_footless(struct pt_segment_image *image,
                                      struct pt_segment **segment_out)
{
    struct pt_segment_footer *footer = pt_segment_image_footer(image);
    struct pt_segment_summary summary = {.size = image->size,
                                         .entry_count = pt_le64_value(footer->entry_count),
                                         .delete_count = pt_le64_value(footer->delete_count),
                                         .range_count = pt_le64_value(footer->range_count)};

    memset(footer, 0, sizeof(*footer));
    return pt_segment_open_damaged(pt_bytes(image->bytes, image->size), &image->identity, &summary,
                                   NULL, 0, segment_out);
}

static void run(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {"", "a", "key-0007", "key-0008x", "zzz"};
    struct pt_segment_image image = {.size = size < 1 ? 0 : size - 1};
    struct pt_segment *segment = NULL;
    enum peat_status status;

    identity_set(&image);
    image.bytes = malloc(image.size + (image.size == 0));
    PT_REQUIRE(image.bytes != NULL);
    if (image.size > 0)
        memcpy(image.bytes, data + 1, image.size);
    if (image.size >= sizeof(struct pt_segment_footer))
        forge(&image, data[0]);
    status = size > 0 && (data[0] & FOOTLESS) != 0 && image.size >= sizeof(struct pt_segment_footer)
                 ? open_footless(&image, &segment)
                 : pt_segment_image_open(&image, &segment);
    PT_REQUIRE(status == PEAT_OK || (status == PEAT_CORRUPT && segment == NULL));
    if (status == PEAT_OK) {
        touch(segment->min_key);
        touch(segment->max_key);
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
            key_try(segment, pt_text(keys[i]));
        entries_try(segment);
        if (came_through(pt_segment_check(segment, NULL, NULL, NULL)))
            require_consistent(segment);
    }
    pt_segment_close(segment);
    pt_segment_image_fini(&image);
}

/* ---- Inputs to begin with ---- */

static void seed_give(void (*give)(void *context, const void *data, size_t size), void *context,
                      const struct pt_segment_content *content)
{
    struct pt_segment_image image;
    uint8_t *bytes;

    pt_segment_image_init(&image, content);
    bytes = malloc(image.size + 1);
    PT_REQUIRE(bytes != NULL);
    bytes[0] = FIX_FOOTER | SEAL;
    memcpy(bytes + 1, image.bytes, image.size);
    give(context, bytes, image.size + 1);
    bytes[0] |= FOOTLESS;
    give(context, bytes, image.size + 1);
    free(bytes);
    pt_segment_image_fini(&image);
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    enum { COUNT = 20, KEY_ROOM = 16 };
    static const unsigned counts[] = {1, 3, COUNT};
    struct pt_entry entries[COUNT];
    struct pt_entry ranges[2] = {{pt_text(""), pt_text("b"), PT_OP_DELETE_RANGE},
                                 {pt_text("key-0005"), pt_text("key-1"), PT_OP_DELETE_RANGE}};
    struct pt_segment_content content = {.entries = entries, .ranges = ranges, .range_count = 2};
    char keys[COUNT][KEY_ROOM];

    for (unsigned i = 0; i < COUNT; i++) {
        size_t size = (size_t)snprintf(keys[i], KEY_ROOM, "key-%04u", i);

        entries[i] = (struct pt_entry){pt_bytes(keys[i], size), pt_bytes(keys[i], i % 9),
                                       i % 7 == 4 ? PT_OP_DELETE : PT_OP_PUT};
        if (entries[i].op == PT_OP_DELETE)
            entries[i].value.size = 0;
    }
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        content.entry_count = counts[i];
        seed_give(give, context, &content);
        content.range_count = i;
    }
    content.entry_count = 0;
    seed_give(give, context, &content);
}

const struct pt_fuzz_target pt_fuzz_segment = {
    .name = "segment",
    .sentence = "a forged segment gives answers from inside it, or damage",
    .size_max = SIZE_MAX_INPUT,
    .run = run,
    .seeds = seeds};

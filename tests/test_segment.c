/* A segment gives back what it was built from: by hash, by order, by number; and its bytes depend on
 * nothing but what went in. */
#include "core/base/alloc.h"
#include "core/base/thread.h"
#include "tests/hard_keys.h"
#include "tests/segment_image.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- Content to build from ---- */

enum { KEY_ROOM = PT_HARD_KEY_SIZE_MAX };

/* Entries and the memory they lie in. */
struct collection {
    struct pt_entry *entries;
    size_t count;
    uint8_t *keys; /* KEY_ROOM bytes for each */
    struct pt_dice dice;
};

static uint8_t filler[400000];

static int by_key(const void *a, const void *b)
{
    const struct pt_entry *left = a;
    const struct pt_entry *right = b;

    return pt_bytes_compare(left->key, right->key);
}

/* Sort and drop repeated keys. */
static void collection_order(struct collection *collection)
{
    size_t kept = 0;

    qsort(collection->entries, collection->count, sizeof(*collection->entries), by_key);
    for (size_t i = 0; i < collection->count; i++) {
        if (kept == 0 ||
            !pt_bytes_equal(collection->entries[kept - 1].key, collection->entries[i].key))
            collection->entries[kept++] = collection->entries[i];
    }
    collection->count = kept;
}

static void value_choose(struct collection *collection, struct pt_entry *entry)
{
    size_t size = (size_t)pt_dice_below(&collection->dice, 60);

    if (pt_dice_one_in(&collection->dice, 400))
        size = (size_t)pt_dice_below(&collection->dice, 20000);
    entry->op = pt_dice_one_in(&collection->dice, 10) ? PT_OP_DELETE : PT_OP_PUT;
    entry->value = pt_bytes(filler + pt_dice_below(&collection->dice, 1000),
                            entry->op == PT_OP_DELETE ? 0 : size);
}

typedef size_t key_maker(struct collection *collection, uint64_t number, uint8_t *room);

static struct collection collection_new(uint64_t seed, size_t count, key_maker *make)
{
    struct collection collection = {.count = count, .dice = {seed}};

    collection.entries = calloc(count, sizeof(*collection.entries));
    collection.keys = calloc(count, KEY_ROOM);
    assert_non_null(collection.entries);
    assert_non_null(collection.keys);
    for (size_t i = 0; i < count; i++) {
        uint8_t *room = collection.keys + i * KEY_ROOM;

        collection.entries[i].key = pt_bytes(room, make(&collection, i, room));
        value_choose(&collection, &collection.entries[i]);
    }
    collection_order(&collection);
    return collection;
}

static void collection_free(struct collection *collection)
{
    free(collection->entries);
    free(collection->keys);
}

static struct pt_segment_content content_of(const struct collection *collection)
{
    struct pt_segment_content content = {.entries = collection->entries,
                                         .entry_count = collection->count};
    return content;
}

static size_t random_key(struct collection *collection, uint64_t number, uint8_t *room)
{
    (void)number;
    pt_value_fill(pt_dice_next(&collection->dice), room, 16);
    return 16;
}

static size_t hard_key(struct collection *collection, uint64_t number, uint8_t *room)
{
    struct peat_bytes key = pt_hard_key(number, room);

    (void)collection;
    if (key.size > 0)
        memmove(room, key.data, key.size);
    return key.size;
}

/* Decimal numbers: what all share gets shorter as the numbers get longer. */
static size_t decimal_key(struct collection *collection, uint64_t number, uint8_t *room)
{
    (void)collection;
    return (size_t)snprintf((char *)room, KEY_ROOM, "user/%llu", (unsigned long long)number);
}

/* Few different prefixes of 8 bytes, so that fences tie for long stretches. */
static size_t tied_key(struct collection *collection, uint64_t number, uint8_t *room)
{
    (void)collection;
    return (size_t)snprintf((char *)room, KEY_ROOM, "%c-these-are-all-alike-%07llu",
                            "aaab"[number % 4], (unsigned long long)number);
}

/* Strings over three letters, the empty one included. */
static size_t dense_key(struct collection *collection, uint64_t number, uint8_t *room)
{
    static const uint8_t letters[] = {0x00, 0x01, 0xff};
    size_t size = (size_t)pt_dice_below(&collection->dice, 20);

    (void)number;
    for (size_t i = 0; i < size; i++)
        room[i] = letters[pt_dice_below(&collection->dice, 3)];
    return size;
}

/* Ones only, of every length, behind something that all share. */
static size_t ones_key(struct collection *collection, uint64_t number, uint8_t *room)
{
    (void)collection;
    memset(room, 0xff, KEY_ROOM);
    memcpy(room, "shared", 6);
    return 6 + (size_t)number;
}

/* ---- Comparing a segment with what it was built from ---- */

/* The number of the first entry with key >= @p key. */
static uint64_t rank_of(const struct collection *collection, struct peat_bytes key)
{
    uint64_t low = 0;
    uint64_t high = collection->count;

    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (pt_bytes_compare(collection->entries[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void require_same(const struct pt_entry *found, const struct pt_entry *expected)
{
    PT_REQUIRE(found->op == expected->op);
    PT_REQUIRE(pt_bytes_equal(found->key, expected->key));
    PT_REQUIRE(pt_bytes_equal(found->value, expected->value));
}

static void require_seek(struct pt_segment *segment, const struct collection *collection,
                         struct peat_bytes key)
{
    uint64_t ordinal = UINT64_MAX;

    PT_REQUIRE_OK(pt_segment_seek(segment, key, &ordinal));
    PT_REQUIRE(ordinal == rank_of(collection, key));
}

/* A get of @p key, in the steps of a multi-get, gives what the collection has. */
static void require_get(struct pt_segment *segment, const struct collection *collection,
                        struct peat_bytes key)
{
    uint64_t hash = pt_hash(segment->hash_seed, key.data, key.size);
    uint64_t rank = rank_of(collection, key);
    bool present = rank < collection->count && pt_bytes_equal(collection->entries[rank].key, key);
    struct pt_entry found;

    pt_segment_prefetch_bucket(segment, hash);
    pt_segment_prefetch_entry(segment, hash);
    PT_REQUIRE_STATUS(pt_segment_get(segment, key, hash, &found),
                      present ? PEAT_OK : PEAT_NOT_FOUND);
    if (present)
        require_same(&found, &collection->entries[rank]);
}

/* Keys close to @p key: itself, with a byte less, more or another. */
static void require_neighbourhood(struct pt_segment *segment, const struct collection *collection,
                                  struct peat_bytes key)
{
    uint8_t near[KEY_ROOM + 1];

    if (key.size > 0)
        memcpy(near, key.data, key.size);
    for (unsigned last = 0; last < 256; last += 51) {
        near[key.size] = (uint8_t)last;
        require_seek(segment, collection, pt_bytes(near, key.size + 1));
        require_get(segment, collection, pt_bytes(near, key.size + 1));
    }
    require_seek(segment, collection, key);
    require_get(segment, collection, key);
    if (key.size == 0)
        return;
    for (size_t i = 0; i < key.size; i += 1 + key.size / 7) {
        require_seek(segment, collection, pt_bytes(near, i));
        near[i]++;
        require_seek(segment, collection, pt_bytes(near, key.size));
        near[i] = (uint8_t)(near[i] - 2);
        require_seek(segment, collection, pt_bytes(near, key.size));
        near[i]++;
    }
}

static void require_order(struct pt_segment *segment, const struct collection *collection)
{
    uint64_t offset = 0;
    uint64_t placed = 0;
    uint64_t next;
    struct pt_entry found;

    for (size_t i = 0; i < collection->count; i++) {
        PT_REQUIRE_OK(pt_segment_ordinal(segment, i, &placed));
        PT_REQUIRE(placed == offset);
        PT_REQUIRE_OK(pt_segment_entry(segment, offset, &found, &offset));
        require_same(&found, &collection->entries[i]);
    }
    PT_REQUIRE(offset == segment->entries_size);
    for (size_t i = collection->count; i-- > 0;) {
        PT_REQUIRE_OK(pt_segment_ordinal(segment, i, &placed));
        PT_REQUIRE_OK(pt_segment_entry(segment, placed, &found, &next));
        require_same(&found, &collection->entries[i]);
    }
}

static void require_counts(const struct pt_segment *segment,
                           const struct pt_segment_summary *summary,
                           const struct collection *collection)
{
    uint64_t delete_count = 0;

    for (size_t i = 0; i < collection->count; i++)
        delete_count += collection->entries[i].op == PT_OP_DELETE;
    PT_REQUIRE(segment->entry_count == collection->count);
    PT_REQUIRE(segment->delete_count == delete_count);
    PT_REQUIRE(summary->entry_count == collection->count);
    PT_REQUIRE(summary->delete_count == delete_count);
    PT_REQUIRE(pt_bytes_equal(segment->min_key, collection->entries[0].key));
    PT_REQUIRE(pt_bytes_equal(segment->max_key, collection->entries[collection->count - 1].key));
}

static void require_equal(const struct pt_segment_image *image, const struct collection *collection)
{
    struct pt_segment *segment;
    uint8_t room[KEY_ROOM];

    PT_REQUIRE_OK(pt_segment_image_open(image, &segment));
    require_counts(segment, &image->summary, collection);
    for (size_t i = 0; i < collection->count; i++)
        require_neighbourhood(segment, collection, collection->entries[i].key);
    for (uint64_t i = 0; i < 300; i++)
        require_neighbourhood(segment, collection, pt_hard_key(i, room));
    require_order(segment, collection);
    PT_REQUIRE_OK(pt_segment_check(segment, &image->summary, NULL, NULL));
    pt_segment_close(segment);
}

static void build_and_compare(key_maker *make, size_t count)
{
    struct collection collection = collection_new(pt_mix(count), count, make);
    struct pt_segment_content content = content_of(&collection);
    struct pt_segment_image image;

    pt_segment_image_init(&image, &content);
    require_equal(&image, &collection);
    pt_segment_image_fini(&image);
    collection_free(&collection);
}

/* ---- Content of many shapes ---- */

static void segments_of_every_small_size_hold_their_entries(void **state)
{
    (void)state;

    for (size_t count = 1; count < 80; count++) {
        build_and_compare(random_key, count);
        build_and_compare(decimal_key, count);
        build_and_compare(tied_key, count);
        build_and_compare(ones_key, count);
    }
}

static void random_keys_are_found(void **state)
{
    (void)state;
    build_and_compare(random_key, 5000);
}

static void keys_that_are_hard_to_order_are_found(void **state)
{
    (void)state;
    build_and_compare(hard_key, 3000);
}

static void numbered_keys_are_found(void **state)
{
    (void)state;
    build_and_compare(decimal_key, 5000);
}

static void keys_alike_in_their_first_bytes_are_found(void **state)
{
    (void)state;
    build_and_compare(tied_key, 5000);
}

static void dense_keys_are_found(void **state)
{
    (void)state;
    build_and_compare(dense_key, 5000);
}

static void random_content_is_found_again(void **state)
{
    static key_maker *const makers[] = {random_key, hard_key, decimal_key, tied_key, dense_key};
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned step = 0; step < 30; step++) {
        size_t count = 1 + (size_t)pt_dice_below(&dice, 700);
        struct collection collection =
            collection_new(pt_dice_next(&dice), count, makers[pt_dice_below(&dice, 5)]);
        struct pt_segment_content content = content_of(&collection);
        struct pt_segment_image image;

        pt_test_context("step %u", step);
        pt_segment_image_init(&image, &content);
        require_equal(&image, &collection);
        pt_segment_image_fini(&image);
        collection_free(&collection);
    }
}

static void a_segment_of_the_empty_key_alone_works(void **state)
{
    struct pt_entry entry = {pt_bytes(NULL, 0), pt_bytes(NULL, 0), PT_OP_PUT};
    struct collection collection = {.entries = &entry, .count = 1};
    struct pt_segment_content content = content_of(&collection);
    struct pt_segment_image image;
    (void)state;

    pt_segment_image_init(&image, &content);
    require_equal(&image, &collection);
    pt_segment_image_fini(&image);
}

/* ---- Hash index ---- */

/* All keys fall into few chains, which overflow from bucket to bucket and around the end. */
static void keys_that_collide_are_all_found(void **state)
{
    static const uint64_t masks[] = {0, 0xffff, UINT64_C(0xf000000000000000),
                                     UINT64_C(0xffff000000000000)};
    struct collection collection = collection_new(3, 500, random_key);
    struct pt_segment_content content = content_of(&collection);
    (void)state;

    for (size_t m = 0; m < sizeof(masks) / sizeof(masks[0]); m++) {
        struct pt_segment_image image;
        struct pt_segment *segment;

        pt_segment_image_init_colliding(&image, &content, masks[m]);
        assert_int_equal(pt_segment_image_open(&image, &segment), PEAT_OK);
        for (size_t i = 0; i < collection.count; i++) {
            struct peat_bytes key = collection.entries[i].key;
            struct peat_bytes absent = pt_bytes(key.data, key.size - 1);
            struct pt_entry found;

            assert_int_equal(
                pt_segment_get(segment, key, pt_segment_image_hash(&image, key) & masks[m], &found),
                PEAT_OK);
            require_same(&found, &collection.entries[i]);
            assert_int_equal(pt_segment_get(segment, absent,
                                            pt_segment_image_hash(&image, absent) & masks[m],
                                            &found),
                             PEAT_NOT_FOUND);
        }
        pt_segment_close(segment);
        pt_segment_image_fini(&image);
    }
    collection_free(&collection);
}

/* ---- Large things ---- */

static void values_larger_than_the_buffer_go_through(void **state)
{
    enum { LARGE = 5 * 1024 * 1024 + 3 };
    struct collection collection = collection_new(5, 40, decimal_key);
    struct pt_segment_content content = content_of(&collection);
    struct pt_segment_image image;
    uint8_t *large = malloc(LARGE);
    (void)state;

    assert_non_null(large);
    pt_value_fill(1, large, LARGE);
    for (size_t i = 0; i < 4; i++) {
        struct pt_entry *entry = &collection.entries[i * 11];

        entry->op = PT_OP_PUT;
        entry->value = pt_bytes(large + i, LARGE - i * 65537);
    }
    collection.entries[3].op = PT_OP_PUT;
    collection.entries[3].value = pt_bytes(large, 300000);
    pt_segment_image_init(&image, &content);
    require_equal(&image, &collection);
    pt_segment_image_fini(&image);
    collection_free(&collection);
    free(large);
}

/* At PT_FOOTER_KEY_SIZE_MAX the footer stops keeping copies; the format's largest key is last. */
static void keys_of_every_size_are_kept(void **state)
{
    static const size_t sizes[] = {8000,
                                   8184,
                                   8200,
                                   PT_FOOTER_KEY_SIZE_MAX - 1,
                                   PT_FOOTER_KEY_SIZE_MAX,
                                   PT_FOOTER_KEY_SIZE_MAX + 1,
                                   65536,
                                   PT_STORED_KEY_SIZE_MAX - 1,
                                   PT_STORED_KEY_SIZE_MAX};
    enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };
    uint8_t *bytes = malloc(PT_STORED_KEY_SIZE_MAX);
    (void)state;

    assert_non_null(bytes);
    memset(bytes, 'k', PT_STORED_KEY_SIZE_MAX);
    for (size_t first = 0; first < SIZES; first++) {
        struct pt_entry entries[SIZES];
        struct collection collection = {.entries = entries, .count = SIZES - first};
        struct pt_segment_content content = content_of(&collection);
        struct pt_segment_image image;
        struct pt_segment *segment;

        for (size_t i = 0; i < collection.count; i++)
            entries[i] =
                (struct pt_entry){pt_bytes(bytes, sizes[first + i]), pt_bytes("v", 1), PT_OP_PUT};
        pt_segment_image_init(&image, &content);
        assert_int_equal(pt_segment_image_open(&image, &segment), PEAT_OK);
        require_counts(segment, &image.summary, &collection);
        for (size_t i = 0; i < collection.count; i++) {
            require_seek(segment, &collection, entries[i].key);
            require_seek(segment, &collection, pt_bytes(bytes, entries[i].key.size - 1));
            require_get(segment, &collection, entries[i].key);
        }
        assert_int_equal(pt_segment_check(segment, &image.summary, NULL, NULL), PEAT_OK);
        pt_segment_close(segment);
        pt_segment_image_fini(&image);
    }
    free(bytes);
}

/* ---- Range deletes ---- */

static struct pt_entry range_of(const char *low, const char *high)
{
    struct pt_entry range = {pt_text(low), pt_text(high), PT_OP_DELETE_RANGE};
    return range;
}

static void require_range_seek(struct pt_segment *segment, const char *key, uint64_t expected)
{
    uint64_t index = UINT64_MAX;

    PT_REQUIRE_OK(pt_segment_range_seek(segment, pt_text(key), &index));
    PT_REQUIRE(index == expected);
}

static void range_deletes_are_found_by_number_and_by_key(void **state)
{
    struct pt_entry ranges[] = {range_of("", "b"), range_of("d", "f"), range_of("f", "g"),
                                range_of("m", "mm")};
    struct collection collection = collection_new(6, 100, random_key);
    (void)state;

    for (int with_entries = 0; with_entries < 2; with_entries++) {
        struct pt_segment_content content = {.entries = collection.entries,
                                             .entry_count = with_entries ? collection.count : 0,
                                             .ranges = ranges,
                                             .range_count = 4};
        struct pt_segment_image image;
        struct pt_segment *segment;

        pt_segment_image_init(&image, &content);
        assert_int_equal(image.summary.range_count, 4);
        assert_int_equal(pt_segment_image_open(&image, &segment), PEAT_OK);
        assert_int_equal(segment->range_count, 4);
        for (uint64_t i = 0; i < 4; i++) {
            struct pt_entry range;

            assert_int_equal(pt_segment_range(segment, i, &range), PEAT_OK);
            require_same(&range, &ranges[i]);
        }
        require_range_seek(segment, "", 0);
        require_range_seek(segment, "a", 0);
        require_range_seek(segment, "b", 1);
        require_range_seek(segment, "c", 1);
        require_range_seek(segment, "e", 1);
        require_range_seek(segment, "f", 2);
        require_range_seek(segment, "g", 3);
        require_range_seek(segment, "mlz", 3);
        require_range_seek(segment, "mm", 4);
        require_range_seek(segment, "z", 4);
        assert_int_equal(pt_segment_check(segment, &image.summary, NULL, NULL), PEAT_OK);
        pt_segment_close(segment);
        pt_segment_image_fini(&image);
    }
    collection_free(&collection);
}

static void a_segment_of_range_deletes_alone_has_no_entries(void **state)
{
    struct pt_entry range = range_of("a", "b");
    struct pt_segment_content content = {.ranges = &range, .range_count = 1};
    struct pt_segment_image image;
    struct pt_segment *segment;
    struct pt_entry found;
    uint64_t ordinal = 7;
    (void)state;

    pt_segment_image_init(&image, &content);
    assert_int_equal(pt_segment_image_open(&image, &segment), PEAT_OK);
    assert_int_equal(segment->entry_count, 0);
    assert_int_equal(segment->min_key.size, 0);
    assert_int_equal(pt_segment_get(segment, pt_text("a"), 1, &found), PEAT_NOT_FOUND);
    pt_segment_prefetch_bucket(segment, 1);
    pt_segment_prefetch_entry(segment, 1);
    assert_int_equal(pt_segment_seek(segment, pt_text("a"), &ordinal), PEAT_OK);
    assert_int_equal(ordinal, 0);
    pt_segment_close(segment);
    pt_segment_image_fini(&image);
}

/* ---- Building ---- */

static void the_same_content_gives_the_same_bytes(void **state)
{
    struct pt_entry range = range_of("a", "b");
    struct collection collection = collection_new(9, 2000, hard_key);
    struct pt_segment_content content = content_of(&collection);
    struct pt_segment_image first;
    struct pt_segment_image second;
    (void)state;

    content.ranges = &range;
    content.range_count = 1;
    pt_segment_image_init(&first, &content);
    pt_segment_image_init(&second, &content);
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.bytes, second.bytes, first.size);
    assert_memory_equal(&first.summary.digest, &second.summary.digest, PT_DIGEST_SIZE);
    pt_segment_image_fini(&first);
    pt_segment_image_fini(&second);
    collection_free(&collection);
}

/* A small segment's bytes. */
struct recording {
    uint8_t bytes[1024];
    size_t size;
};

static enum peat_status recording_write(void *context, uint64_t offset, const void *data,
                                        size_t size)
{
    struct recording *recording = context;

    assert_int_equal(offset, recording->size);
    assert_true(recording->size + size <= sizeof(recording->bytes));
    memcpy(recording->bytes + offset, data, size);
    recording->size += size;
    return PEAT_OK;
}

static void example_add(struct pt_segment_builder *builder, enum pt_op op, const char *key,
                        const char *value)
{
    struct peat_bytes bytes = pt_text(key);

    assert_int_equal(pt_segment_builder_add(builder, op, bytes, pt_text(value),
                                            pt_hash(1, bytes.data, bytes.size)),
                     PEAT_OK);
}

/* The example of core/segment/README.md. If this fails, the format has changed: old stores can no
 * longer be read, and it needs a new magic. */
static void the_example_of_the_readme_has_these_bytes(void **state)
{
    static const uint8_t expected_start[] = {
        4, 0, 0, 1, 3, 0, 0, 0, 'm', 'o', 'o', 'r', 'w', 'e', 't', 0, /* put moor = wet */
        4, 0, 0, 2, 0, 0, 0, 0, 'm', 'o', 's', 's', 0,   0,   0,   0, /* delete moss */
        3, 0, 0, 1, 0, 0, 0, 0, 'm', 'u', 'd', 0,   0,   0,   0,   0, /* put mud */
        1, 0, 0, 3, 1, 0, 0, 0, 'a', 'b', 0,   0,   0,   0,   0,   0, /* delete [a, b) */
    };
    const struct pt_id no_key = {{0}};
    struct pt_segment_identity identity = {.segment_id = 5};
    struct recording recording = {.size = 0};
    struct pt_segment_sink sink = {recording_write, &recording};
    struct pt_segment_builder *builder;
    struct pt_segment_summary summary;
    (void)state;

    assert_int_equal(pt_segment_builder_open(&identity, 1, &sink, &builder), PEAT_OK);
    example_add(builder, PT_OP_PUT, "moor", "wet");
    example_add(builder, PT_OP_DELETE, "moss", "");
    example_add(builder, PT_OP_PUT, "mud", "");
    assert_int_equal(pt_segment_builder_add_range(builder, pt_text("a"), pt_text("b")), PEAT_OK);
    assert_int_equal(pt_segment_builder_finish(builder, &summary), PEAT_OK);
    pt_segment_builder_close(builder);

    assert_int_equal(summary.size, 472);
    assert_int_equal(recording.size, 472);
    assert_memory_equal(recording.bytes, expected_start, sizeof(expected_start));
    assert_memory_equal(recording.bytes + 336, "moormud\0PEATSEG1", 16);
    assert_int_equal(pt_siphash(&no_key, recording.bytes, recording.size),
                     UINT64_C(0xa32220942c5413d1));
}

static enum peat_status discard(void *context, uint64_t offset, const void *data, size_t size)
{
    (void)context;
    (void)offset;
    (void)data;
    (void)size;
    return PEAT_OK;
}

static const struct pt_segment_identity any_identity = {.segment_id = 1};

static void build(const struct collection *collection, size_t count, uint64_t *bound_out,
                  uint64_t *early_bound_out, struct pt_segment_summary *summary)
{
    struct pt_segment_sink sink = {discard, NULL};
    struct pt_segment_builder *builder;
    uint64_t data_size = 0;

    assert_int_equal(pt_segment_builder_open(&any_identity, 1, &sink, &builder), PEAT_OK);
    for (size_t i = 0; i < count; i++) {
        const struct pt_entry *entry = &collection->entries[i];
        uint64_t size = pt_entry_size(entry->key.size, entry->value.size);

        *bound_out = pt_segment_builder_size_bound(builder, size);
        data_size += size;
        assert_int_equal(pt_segment_builder_add(builder, entry->op, entry->key, entry->value,
                                                pt_hash(1, entry->key.data, entry->key.size)),
                         PEAT_OK);
        assert_int_equal(pt_segment_builder_data_size(builder), data_size);
        assert_int_equal(pt_segment_builder_entry_count(builder), i + 1);
    }
    *early_bound_out = pt_segment_size_bound(data_size, count);
    assert_int_equal(pt_segment_builder_finish(builder, summary), PEAT_OK);
    pt_segment_builder_close(builder);
}

static void the_size_bound_holds_and_is_close(void **state)
{
    enum { SLACK = 4096, EARLY_SLACK = 2 * PT_FOOTER_KEY_SIZE_MAX + SLACK };
    static key_maker *const makers[] = {random_key, hard_key, decimal_key};
    (void)state;

    for (size_t m = 0; m < sizeof(makers) / sizeof(makers[0]); m++) {
        struct collection collection = collection_new(11, 3000, makers[m]);

        for (size_t count = 1; count <= collection.count; count += 1 + count / 3) {
            const struct pt_entry *last = &collection.entries[count - 1];
            uint64_t last_size = pt_entry_size(last->key.size, last->value.size);
            struct pt_segment_summary summary;
            uint64_t bound;
            uint64_t early_bound;

            build(&collection, count, &bound, &early_bound, &summary);
            assert_true(summary.size <= bound);
            assert_true(summary.size <= early_bound);
            /* The footer has two keys, which before the last entry might have been as large as that. */
            assert_true(bound <= summary.size + summary.size / 20 + 2 * last_size + SLACK);
            assert_true(early_bound <= summary.size + summary.size / 20 + EARLY_SLACK);
        }
        collection_free(&collection);
    }
}

static enum peat_status refuse(void *context, uint64_t offset, const void *data, size_t size)
{
    uint64_t *allowed = context;

    (void)data;
    return offset + size <= *allowed ? PEAT_OK : pt_fail(PEAT_NO_SPACE, "as the test wants it");
}

static enum peat_status try_to_build(const struct pt_segment_content *content,
                                     const struct pt_segment_sink *sink)
{
    struct pt_segment_builder *builder = NULL;
    struct pt_segment_summary summary;
    enum peat_status status = pt_segment_builder_open(&any_identity, 1, sink, &builder);

    for (size_t i = 0; i < content->entry_count && status >= 0; i++)
        status = pt_segment_builder_add(builder, content->entries[i].op, content->entries[i].key,
                                        content->entries[i].value, i);
    for (size_t i = 0; i < content->range_count && status >= 0; i++)
        status =
            pt_segment_builder_add_range(builder, content->ranges[i].key, content->ranges[i].value);
    if (status >= 0)
        status = pt_segment_builder_finish(builder, &summary);
    pt_segment_builder_close(builder);
    return status;
}

static void an_error_of_the_sink_comes_back(void **state)
{
    struct collection collection = collection_new(12, 300, random_key);
    struct pt_segment_content content = content_of(&collection);
    struct pt_segment_image image;
    (void)state;

    for (size_t i = 0; i < collection.count; i += 3) { /* so that there are several writes */
        collection.entries[i].op = PT_OP_PUT;
        collection.entries[i].value = pt_bytes(filler, sizeof(filler) / 4);
    }
    pt_segment_image_init(&image, &content);
    for (uint64_t allowed = 0; allowed < image.size; allowed += 500000) {
        struct pt_segment_sink sink = {refuse, &allowed};

        assert_int_equal(try_to_build(&content, &sink), PEAT_NO_SPACE);
    }
    pt_segment_image_fini(&image);
    collection_free(&collection);
}

static size_t allocations_left;

static bool allocation_allowed(size_t size)
{
    (void)size;
    return allocations_left > 0 && allocations_left-- > 0;
}

static void running_out_of_memory_is_a_status(void **state)
{
    struct pt_entry range = range_of("a", "b");
    struct collection collection = collection_new(13, 3000, random_key);
    struct pt_segment_content content = content_of(&collection);
    struct pt_segment_sink sink = {discard, NULL};
    enum peat_status status = PEAT_NO_MEMORY;
    (void)state;

    content.ranges = &range;
    content.range_count = 1;
    collection.entries[1500].op = PT_OP_PUT;
    collection.entries[1500].value = pt_bytes(filler, sizeof(filler));
    for (size_t allowed = 0; status == PEAT_NO_MEMORY; allowed++) {
        allocations_left = allowed;
        pt_alloc_set_hook(allocation_allowed);
        status = try_to_build(&content, &sink);
        pt_alloc_set_hook(NULL);
    }
    assert_int_equal(status, PEAT_OK);
    collection_free(&collection);
}

/* ---- Threads ---- */

enum { READERS = 4 };

struct reader {
    struct pt_segment *segment;
    const struct collection *collection;
    uint64_t seed;
};

static void *read_all(void *context)
{
    struct reader *reader = context;
    const struct collection *collection = reader->collection;

    for (size_t i = 0; i < collection->count; i++) {
        uint64_t number = pt_mix(reader->seed + i) % collection->count;

        require_get(reader->segment, collection, collection->entries[number].key);
        require_seek(reader->segment, collection, collection->entries[number].key);
    }
    return NULL;
}

static void threads_verify_each_chunk_and_count_it_once(void **state)
{
    struct collection collection = collection_new(14, 10000, random_key);
    struct pt_segment_content content = content_of(&collection);
    struct pt_segment_image image;
    struct pt_segment *segment;
    struct reader readers[READERS];
    pthread_t threads[READERS];
    (void)state;

    pt_segment_image_init(&image, &content);
    assert_int_equal(pt_segment_image_open(&image, &segment), PEAT_OK);
    assert_true(segment->chunk_count > 8);
    assert_int_equal(atomic_load(&segment->chunks_left), segment->chunk_count);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){segment, &collection, i * 1000};
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
    }
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&segment->chunks_left), 0);
    pt_segment_close(segment);
    pt_segment_image_fini(&image);
    collection_free(&collection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_of_every_small_size_hold_their_entries),
        cmocka_unit_test(random_keys_are_found),
        cmocka_unit_test(keys_that_are_hard_to_order_are_found),
        cmocka_unit_test(numbered_keys_are_found),
        cmocka_unit_test(keys_alike_in_their_first_bytes_are_found),
        cmocka_unit_test(dense_keys_are_found),
        cmocka_unit_test(random_content_is_found_again),
        cmocka_unit_test(a_segment_of_the_empty_key_alone_works),
        cmocka_unit_test(keys_that_collide_are_all_found),
        cmocka_unit_test(values_larger_than_the_buffer_go_through),
        cmocka_unit_test(keys_of_every_size_are_kept),
        cmocka_unit_test(range_deletes_are_found_by_number_and_by_key),
        cmocka_unit_test(a_segment_of_range_deletes_alone_has_no_entries),
        cmocka_unit_test(the_same_content_gives_the_same_bytes),
        cmocka_unit_test(the_example_of_the_readme_has_these_bytes),
        cmocka_unit_test(the_size_bound_holds_and_is_close),
        cmocka_unit_test(an_error_of_the_sink_comes_back),
        cmocka_unit_test(running_out_of_memory_is_a_status),
        cmocka_unit_test(threads_verify_each_chunk_and_count_it_once),
    };
    int failures;

    pt_test_start();
    if (pt_checksum_start() < 0)
        return 1;
    pt_value_fill(17, filler, sizeof(filler));
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failures;
}

/* P3, for the end of a segment: its table, its keys and its footer may be damaged, and nothing is
 * lost but the chunks whose checksums are; and what is opened without a footer is this segment or
 * nothing. */
#include "core/segment/rescue.h"

#include "tests/segment_image.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ENTRIES_MAX = 3000, RANGES_MAX = 40, NUMBER_SIZE = 6, NUMBER_ROOM = 24 };

/* What a segment is made of: keys of key_size bytes, the last of them a number; values up to
 * value_size. */
struct shape {
    const char *name;
    size_t count;
    size_t key_size;
    size_t value_size;
    size_t range_count;
};

static const struct shape shapes[] = {
    {"one chunk", 90, 9, 20, 3},
    {"several chunks", ENTRIES_MAX, 9, 199, 3},
    {"no ranges", 500, 9, 700, 0},
    {"ranges alone", 0, 9, 0, RANGES_MAX},
    {"one range", 0, 9, 0, 1},
    {"one entry", 1, 9, 10, 0},
    {"one entry that fills chunks", 1, 9, 400000, 1},
    {"keys that are copied", 40, PT_FOOTER_KEY_SIZE_MAX, 9, 0},
    {"keys that are not copied", 40, PT_FOOTER_KEY_SIZE_MAX + 1, 9, 2},
};
enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

struct subject {
    struct pt_entry entries[ENTRIES_MAX];
    struct pt_entry ranges[RANGES_MAX];
    char range_keys[RANGES_MAX + 1][NUMBER_ROOM];
    uint8_t *keys;  /* owned: count of key_size bytes */
    uint8_t *value; /* owned */
    struct pt_segment_content content;
    struct pt_segment_image image;
    struct pt_segment *sound; /* of a copy of the image's bytes */
    uint8_t *sound_bytes;     /* owned */
    bool trusted;             /* what is read must be right */
};

static void entry_fill(struct subject *subject, const struct shape *shape, size_t number)
{
    struct pt_entry *entry = &subject->entries[number];
    uint8_t *key = subject->keys + number * shape->key_size;
    char text[NUMBER_ROOM];

    (void)snprintf(text, sizeof(text), "%05zu", 2 * number);
    memset(key, 'k', shape->key_size);
    memcpy(key + shape->key_size - (NUMBER_SIZE - 1), text, NUMBER_SIZE - 1);
    entry->op = number % 9 == 4 ? PT_OP_DELETE : PT_OP_PUT;
    entry->key = pt_bytes(key, shape->key_size);
    entry->value = pt_bytes(subject->value, shape->value_size - number * 7 % (shape->value_size));
    if (entry->op == PT_OP_DELETE)
        entry->value.size = 0;
}

static struct subject *subject_new(const struct shape *shape)
{
    struct subject *subject = calloc(1, sizeof(*subject));

    PT_REQUIRE(subject != NULL);
    subject->keys = malloc(shape->count * shape->key_size + 1);
    subject->value = malloc(shape->value_size + 1);
    PT_REQUIRE(subject->keys != NULL && subject->value != NULL);
    pt_value_fill(1, subject->value, shape->value_size);
    for (size_t i = 0; i < shape->count; i++)
        entry_fill(subject, shape, i);
    for (size_t i = 0; i <= shape->range_count; i++)
        (void)snprintf(subject->range_keys[i], NUMBER_ROOM, "%05zu", i);
    for (size_t i = 0; i < shape->range_count; i++)
        subject->ranges[i] =
            (struct pt_entry){pt_text(subject->range_keys[i]), pt_text(subject->range_keys[i + 1]),
                              PT_OP_DELETE_RANGE};
    subject->content = (struct pt_segment_content){subject->entries, shape->count, subject->ranges,
                                                   shape->range_count};
    pt_segment_image_init(&subject->image, &subject->content);
    subject->sound_bytes = malloc(subject->image.size);
    PT_REQUIRE(subject->sound_bytes != NULL);
    memcpy(subject->sound_bytes, subject->image.bytes, subject->image.size);
    PT_REQUIRE_OK(pt_segment_open(pt_bytes(subject->sound_bytes, subject->image.size),
                                  &subject->image.identity, NULL, 0, &subject->sound));
    subject->trusted = true;
    return subject;
}

static void subject_free(struct subject *subject)
{
    pt_segment_close(subject->sound);
    pt_segment_image_fini(&subject->image);
    free(subject->sound_bytes);
    free(subject->keys);
    free(subject->value);
    free(subject);
}

static void restore(struct subject *subject)
{
    memcpy(subject->image.bytes, subject->sound_bytes, subject->image.size);
}

static enum peat_status open_damaged(const struct subject *subject, struct pt_segment **segment_out)
{
    return pt_segment_open_damaged(pt_bytes(subject->image.bytes, subject->image.size),
                                   &subject->image.identity, &subject->image.summary, NULL, 0,
                                   segment_out);
}

/* ---- Reading everything ---- */

static bool came_through(enum peat_status status, uint64_t *failed)
{
    PT_REQUIRE(status == PEAT_OK || status == PEAT_NOT_FOUND || status == PEAT_CORRUPT);
    *failed += status == PEAT_CORRUPT;
    return status == PEAT_OK;
}

static void entry_compare(const struct subject *subject, const struct pt_entry *found,
                          const struct pt_entry *expected)
{
    bool same = found->op == expected->op && pt_same(found->key, expected->key) &&
                pt_same(found->value, expected->value);

    PT_REQUIRE(same || !subject->trusted);
}

static void gets_try(const struct subject *subject, struct pt_segment *segment, uint64_t *failed)
{
    for (size_t i = 0; i < subject->content.entry_count; i++) {
        const struct pt_entry *expected = &subject->entries[i];
        uint64_t hash = pt_segment_image_hash(&subject->image, expected->key);
        struct pt_entry found;
        uint64_t ordinal;
        enum peat_status status = pt_segment_get(segment, expected->key, hash, &found);

        PT_REQUIRE(status != PEAT_NOT_FOUND || !subject->trusted);
        if (came_through(status, failed))
            entry_compare(subject, &found, expected);
        if (came_through(pt_segment_seek(segment, expected->key, &ordinal), failed))
            PT_REQUIRE(ordinal == i || !subject->trusted);
    }
    if (subject->content.entry_count > 0) { /* an absent key, the very next one */
        uint8_t *behind = calloc(1, subject->entries[0].key.size + 1);
        struct peat_bytes key = pt_bytes(behind, subject->entries[0].key.size + 1);
        struct pt_entry found;

        PT_REQUIRE(behind != NULL);
        memcpy(behind, subject->entries[0].key.data, subject->entries[0].key.size);
        PT_REQUIRE(
            !came_through(
                pt_segment_get(segment, key, pt_segment_image_hash(&subject->image, key), &found),
                failed) ||
            !subject->trusted);
        free(behind);
    }
}

/* Returns how many calls gave PEAT_CORRUPT. */
static uint64_t read_everything(const struct subject *subject, struct pt_segment *segment)
{
    uint64_t failed = 0;
    uint64_t offset = 0;
    struct pt_entry found = {.op = PT_OP_LOST};

    gets_try(subject, segment, &failed);
    for (size_t i = 0; i < segment->range_count; i++)
        if (came_through(pt_segment_range(segment, i, &found), &failed))
            entry_compare(subject, &found, &subject->ranges[i]);
    for (size_t i = 0; offset < segment->entries_size; i++) {
        if (!came_through(pt_segment_entry(segment, offset, &found, &offset), &failed))
            break;
        entry_compare(subject, &found, &subject->entries[i % ENTRIES_MAX]);
    }
    return failed;
}

/* All that the footer said, but for the hash seed. */
static void require_same_place(const struct pt_segment *found, const struct pt_segment *sound)
{
    PT_REQUIRE(found->entries_size == sound->entries_size);
    PT_REQUIRE(found->entry_count == sound->entry_count);
    PT_REQUIRE(found->delete_count == sound->delete_count);
    PT_REQUIRE(found->ranges_size == sound->ranges_size);
    PT_REQUIRE(found->range_count == sound->range_count);
    PT_REQUIRE(found->bucket_count == sound->bucket_count);
    PT_REQUIRE(found->common_size == sound->common_size);
    PT_REQUIRE(found->fence_level_count == sound->fence_level_count);
    PT_REQUIRE(found->checked_size == sound->checked_size);
    PT_REQUIRE(found->chunk_count == sound->chunk_count);
    PT_REQUIRE(found->size == sound->size);
    PT_REQUIRE(pt_same(found->min_key, sound->min_key));
    PT_REQUIRE(pt_same(found->max_key, sound->max_key));
}

static void require_all_there(const struct subject *subject)
{
    struct pt_segment *segment;

    PT_REQUIRE_STATUS(pt_segment_image_open(&subject->image, &segment), PEAT_CORRUPT);
    PT_REQUIRE_OK(open_damaged(subject, &segment));
    require_same_place(segment, subject->sound);
    PT_REQUIRE(read_everything(subject, segment) == 0);
    PT_REQUIRE_STATUS(pt_segment_check(segment, &subject->image.summary, NULL, NULL), PEAT_CORRUPT);
    pt_segment_close(segment);
}

/* ---- The footer ---- */

static void p3_nothing_is_lost_with_any_byte_of_a_footer(void **state)
{
    enum { BYTES_MAX = 400 /* tried of each shape */ };
    (void)state;

    for (size_t k = 0; k < SHAPES; k++) {
        struct subject *subject = subject_new(&shapes[k]);
        uint64_t start = subject->image.layout.keys_offset;
        uint64_t step = 1 + (subject->image.size - start) / BYTES_MAX;

        for (uint64_t i = subject->image.size - 1; i >= start; i -= step) {
            pt_test_context("%s, byte %llu of %zu", shapes[k].name, (unsigned long long)i,
                            subject->image.size);
            subject->image.bytes[i] ^= (uint8_t)(1u << i % 8);
            require_all_there(subject);
            restore(subject);
        }
        subject_free(subject);
    }
}

static void p3_nothing_is_lost_with_all_of_a_footer(void **state)
{
    (void)state;
    for (size_t k = 0; k < SHAPES; k++) {
        struct subject *subject = subject_new(&shapes[k]);
        uint64_t start = subject->image.layout.keys_offset;

        pt_test_context("%s", shapes[k].name);
        memset(subject->image.bytes + start, 0, subject->image.size - start);
        require_all_there(subject);
        pt_value_fill(k, subject->image.bytes + start, subject->image.size - start);
        require_all_there(subject);
        subject_free(subject);
    }
}

static void p3_what_is_opened_without_a_footer_is_this_segment_or_nothing(void **state)
{
    (void)state;
    for (size_t k = 0; k < SHAPES; k++) {
        struct subject *subject = subject_new(&shapes[k]);
        struct pt_segment_image *image = &subject->image;
        struct pt_segment_summary summary = image->summary;
        struct pt_segment_identity other = image->identity;
        struct peat_bytes bytes = pt_bytes(image->bytes, image->size);
        struct pt_segment *segment;

        pt_test_context("%s", shapes[k].name);
        image->bytes[image->size - 1] ^= 1;
        other.segment_id++;
        PT_REQUIRE_STATUS(pt_segment_open_damaged(bytes, &other, &summary, NULL, 0, &segment),
                          PEAT_CORRUPT);
        PT_REQUIRE(segment == NULL);
        for (int step = -1; step <= 1; step += 2) {
            struct pt_segment_summary more = summary;

            more.entry_count += (uint64_t)step;
            PT_REQUIRE_STATUS(
                pt_segment_open_damaged(bytes, &image->identity, &more, NULL, 0, &segment),
                PEAT_CORRUPT);
            more = summary;
            more.range_count += (uint64_t)step;
            PT_REQUIRE_STATUS(
                pt_segment_open_damaged(bytes, &image->identity, &more, NULL, 0, &segment),
                PEAT_CORRUPT);
        }
        for (uint64_t cut = 1; cut < 300 && cut < image->size; cut += 7) {
            struct peat_bytes shorter = pt_bytes(image->bytes, image->size - cut);

            summary.size = shorter.size;
            PT_REQUIRE_STATUS(
                pt_segment_open_damaged(shorter, &image->identity, &summary, NULL, 0, &segment),
                PEAT_CORRUPT);
        }
        subject_free(subject);
    }
}

/* ---- The table ---- */

static bool in_chunk(uint64_t chunk, uint64_t offset, uint64_t size)
{
    return offset / PT_CHUNK_SIZE <= chunk && (offset + size - 1) / PT_CHUNK_SIZE >= chunk;
}

/* Just the entries in chunk number @p chunk cannot be read. */
static void require_one_chunk_lost(const struct subject *subject, struct pt_segment *segment,
                                   uint64_t chunk)
{
    uint64_t offset = 0;

    for (uint64_t i = 0; i < segment->chunk_count; i++)
        PT_REQUIRE((pt_segment_verify_chunk(segment, i) == PEAT_OK) == (i != chunk));
    for (size_t i = 0; i < subject->content.entry_count; i++) {
        const struct pt_entry *expected = &subject->entries[i];
        uint64_t size = pt_entry_size(expected->key.size, expected->value.size);
        uint64_t hash = pt_segment_image_hash(&subject->image, expected->key);
        struct pt_entry found;
        enum peat_status status = pt_segment_get(segment, expected->key, hash, &found);

        PT_REQUIRE_STATUS(status, in_chunk(chunk, offset, size) ? PEAT_CORRUPT : PEAT_OK);
        offset += size;
    }
    (void)read_everything(subject, segment);
}

static void p3_a_damaged_table_loses_the_chunks_whose_checksums_it_held_and_no_others(void **state)
{
    struct subject *subject = subject_new(&shapes[1]);
    uint64_t table = subject->image.layout.table_offset;
    (void)state;

    PT_REQUIRE(subject->image.layout.chunk_count > 5);
    for (uint64_t i = 0; i < subject->image.layout.chunk_count; i++) {
        struct pt_segment *segment;

        pt_test_context("checksum %llu", (unsigned long long)i);
        subject->image.bytes[table + i * PT_CHECKSUM_SIZE + i % PT_CHECKSUM_SIZE] ^= 0x20;
        PT_REQUIRE_STATUS(pt_segment_image_open(&subject->image, &segment), PEAT_CORRUPT);
        PT_REQUIRE_OK(open_damaged(subject, &segment));
        require_same_place(segment, subject->sound);
        require_one_chunk_lost(subject, segment, i);
        PT_REQUIRE_STATUS(pt_segment_check(segment, &subject->image.summary, NULL, NULL),
                          PEAT_CORRUPT);
        pt_segment_close(segment);
        restore(subject);
    }
    subject_free(subject);
}

/* What the footer said is found by other chunks, but for what the first entry, the last one and the
 * last ordinal lie in. */
static void p3_a_footer_is_found_out_by_the_chunks_that_are_left(void **state)
{
    struct subject *subject = subject_new(&shapes[2]);
    const struct pt_segment_layout *layout = &subject->image.layout;
    uint64_t last_ordinal = layout->ordinals_offset + 4 * (subject->content.entry_count - 1);
    uint64_t entries_size = subject->sound->entries_size;
    uint64_t opened = 0;
    (void)state;

    for (uint64_t i = 0; i < layout->chunk_count; i++) {
        for (unsigned table = 0; table < 2; table++) {
            struct pt_segment *segment;
            enum peat_status status;
            uint64_t place =
                table == 0 ? i * PT_CHUNK_SIZE : layout->table_offset + i * PT_CHECKSUM_SIZE;
            bool needed = i == 0 || in_chunk(i, last_ordinal, 4) ||
                          in_chunk(i, entries_size - 1, layout->ordinals_offset - entries_size + 1);

            pt_test_context("chunk %llu, table %u", (unsigned long long)i, table);
            subject->image.bytes[place] ^= 1;
            memset(pt_segment_image_footer(&subject->image), 0x5a,
                   sizeof(struct pt_segment_footer));
            status = open_damaged(subject, &segment);
            PT_REQUIRE(status == PEAT_OK || (status == PEAT_CORRUPT && needed));
            if (status == PEAT_OK) {
                require_same_place(segment, subject->sound);
                require_one_chunk_lost(subject, segment, i);
                pt_segment_close(segment);
                opened++;
            }
            restore(subject);
        }
    }
    PT_REQUIRE(opened > 0);
    subject_free(subject);
}

/* ---- Forged bytes ---- */

/* Some bytes anywhere before the table, and some of the first ordinals, which much is found by. */
static void forge(struct subject *subject, struct pt_dice *dice)
{
    const struct pt_segment_layout *layout = &subject->image.layout;
    uint64_t count = 1 + pt_dice_below(dice, 20);

    for (uint64_t i = 0; i < count; i++) {
        uint64_t place = pt_dice_one_in(dice, 2) ? layout->ordinals_offset + pt_dice_below(dice, 16)
                                                 : pt_dice_below(dice, layout->table_offset);

        subject->image.bytes[place] = (uint8_t)pt_dice_next(dice);
    }
    pt_segment_image_seal(&subject->image);
    pt_segment_image_footer(&subject->image)->checksum.bytes[0] ^= 1;
}

static void p3_forged_bytes_without_a_footer_never_lead_astray(void **state)
{
    static const size_t small_ones[] = {0, 2, 3, 4, 5};
    enum { STEPS = 1000 };
    struct pt_dice dice = {pt_test_seed()};
    unsigned opened = 0;
    (void)state;

    for (size_t k = 0; k < sizeof(small_ones) / sizeof(small_ones[0]); k++) {
        struct subject *subject = subject_new(&shapes[small_ones[k]]);

        subject->trusted = false;
        for (unsigned step = 0; step < STEPS; step++) {
            struct pt_segment *segment;

            pt_test_context("%s, step %u", shapes[small_ones[k]].name, step);
            forge(subject, &dice);
            if (open_damaged(subject, &segment) == PEAT_OK) {
                (void)read_everything(subject, segment);
                (void)pt_segment_check(segment, &subject->image.summary, NULL, NULL);
                pt_segment_close(segment);
                opened++;
            }
            restore(subject);
        }
        subject_free(subject);
    }
    PT_REQUIRE(opened > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p3_nothing_is_lost_with_any_byte_of_a_footer),
        cmocka_unit_test(p3_nothing_is_lost_with_all_of_a_footer),
        cmocka_unit_test(p3_what_is_opened_without_a_footer_is_this_segment_or_nothing),
        cmocka_unit_test(p3_a_damaged_table_loses_the_chunks_whose_checksums_it_held_and_no_others),
        cmocka_unit_test(p3_a_footer_is_found_out_by_the_chunks_that_are_left),
        cmocka_unit_test(p3_forged_bytes_without_a_footer_never_lead_astray),
    };
    int failures;

    pt_test_start();
    if (pt_checksum_start() < 0)
        return 1;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failures;
}

/* P3, for one segment: whatever happened to its bytes, a read gives the right data or PEAT_CORRUPT;
 * and even behind right checksums wrong bytes never lead a read astray. */
#include "core/segment/rescue.h"

#include "tests/segment_image.h"
#include "tests/support.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SMALL = 90, LARGE = 3000, RANGES = 3, KEY_SIZE = 24, KEY_ROOM = KEY_SIZE + 1 };

/* Entries "key-00000", "key-00002", ...: odd numbers are absent. */
struct subject {
    struct pt_entry entries[LARGE];
    struct pt_entry ranges[RANGES];
    char keys[LARGE][KEY_ROOM];
    uint8_t values[LARGE][200];
    struct pt_segment_content content;
    struct pt_segment_image image;
};

static struct peat_bytes numbered_key(char *room, size_t number)
{
    return pt_bytes(room, (size_t)snprintf(room, KEY_ROOM, "key-%05zu", number));
}

static struct subject *subject_new(size_t count, size_t value_size)
{
    struct subject *subject = calloc(1, sizeof(*subject));

    assert_non_null(subject);
    for (size_t i = 0; i < count; i++) {
        struct pt_entry *entry = &subject->entries[i];
        size_t size = (i * 7) % (value_size + 1);

        pt_value_fill(i, subject->values[i], sizeof(subject->values[i]));
        entry->op = i % 9 == 4 ? PT_OP_DELETE : PT_OP_PUT;
        entry->key = numbered_key(subject->keys[i], 2 * i);
        entry->value = pt_bytes(subject->values[i], entry->op == PT_OP_DELETE ? 0 : size);
    }
    subject->ranges[0] = (struct pt_entry){pt_text(""), pt_text("b"), PT_OP_DELETE_RANGE};
    subject->ranges[1] = (struct pt_entry){pt_text("key-0"), pt_text("key-1"), PT_OP_DELETE_RANGE};
    subject->ranges[2] = (struct pt_entry){pt_text("x"), pt_text("z"), PT_OP_DELETE_RANGE};
    subject->content =
        (struct pt_segment_content){subject->entries, count, subject->ranges, RANGES};
    pt_segment_image_init(&subject->image, &subject->content);
    return subject;
}

static void subject_free(struct subject *subject)
{
    pt_segment_image_fini(&subject->image);
    free(subject);
}

/* ---- Reading everything ---- */

/* What came of reading: how often PEAT_CORRUPT, and a sum of all bytes read, so that they are. */
struct outcome {
    uint64_t corrupt_count;
    uint64_t sum;
    bool trusted; /* data must be right where a call succeeds */
};

static void touch(struct outcome *outcome, struct peat_bytes bytes)
{
    const uint8_t *data = bytes.data;

    for (size_t i = 0; i < bytes.size; i++)
        outcome->sum += data[i];
}

/* Whether the call gave a result to look at. */
static bool came_through(struct outcome *outcome, enum peat_status status)
{
    PT_REQUIRE(status == PEAT_OK || status == PEAT_NOT_FOUND || status == PEAT_CORRUPT);
    outcome->corrupt_count += status == PEAT_CORRUPT;
    return status == PEAT_OK;
}

static void entry_compare(struct outcome *outcome, const struct pt_entry *found,
                          const struct pt_entry *expected)
{
    touch(outcome, found->key);
    touch(outcome, found->value);
    if (outcome->trusted)
        PT_REQUIRE(found->op == expected->op && pt_same(found->key, expected->key) &&
                   pt_same(found->value, expected->value));
}

static void gets_try(struct pt_segment *segment, const struct subject *subject,
                     struct outcome *outcome)
{
    for (size_t i = 0; i < 2 * subject->content.entry_count; i++) {
        char room[KEY_ROOM];
        struct peat_bytes key = numbered_key(room, i);
        uint64_t hash = pt_segment_image_hash(&subject->image, key);
        struct pt_entry found;
        enum peat_status status;

        pt_segment_prefetch_bucket(segment, hash);
        pt_segment_prefetch_entry(segment, hash);
        status = pt_segment_get(segment, key, hash, &found);
        if (outcome->trusted && status != PEAT_CORRUPT)
            PT_REQUIRE(status == (i % 2 == 0 ? PEAT_OK : PEAT_NOT_FOUND));
        if (came_through(outcome, status))
            entry_compare(outcome, &found, &subject->entries[i / 2]);
    }
}

static void seeks_try(struct pt_segment *segment, const struct subject *subject,
                      struct outcome *outcome)
{
    for (size_t i = 0; i < 2 * subject->content.entry_count; i++) {
        char room[KEY_ROOM];
        uint64_t ordinal = 0;

        if (!came_through(outcome, pt_segment_seek(segment, numbered_key(room, i), &ordinal)))
            continue;
        PT_REQUIRE(ordinal <= segment->entry_count);
        if (outcome->trusted)
            PT_REQUIRE(ordinal == (i + 1) / 2);
    }
}

static void scans_try(struct pt_segment *segment, const struct subject *subject,
                      struct outcome *outcome)
{
    uint64_t offset = 0;
    struct pt_entry found;

    for (size_t i = 0; offset < segment->entries_size; i++) {
        if (!came_through(outcome, pt_segment_entry(segment, offset, &found, &offset)))
            break;
        entry_compare(outcome, &found, &subject->entries[i % LARGE]);
    }
    for (uint64_t i = segment->entry_count; i-- > 0;) {
        if (came_through(outcome, pt_segment_ordinal(segment, i, &offset)) &&
            came_through(outcome, pt_segment_entry(segment, offset, &found, &offset)))
            entry_compare(outcome, &found, &subject->entries[i % LARGE]);
    }
}

static void ranges_try(struct pt_segment *segment, const struct subject *subject,
                       struct outcome *outcome)
{
    static const struct {
        const char *key;
        uint64_t index;
    } seeks[] = {{"", 0}, {"b", 1}, {"key-0", 1}, {"key-05", 1}, {"key-1", 2}, {"y", 2}, {"z", 3}};

    for (uint64_t i = 0; i < segment->range_count; i++) {
        struct pt_entry range;

        if (came_through(outcome, pt_segment_range(segment, i, &range)))
            entry_compare(outcome, &range, &subject->ranges[i % RANGES]);
    }
    for (size_t i = 0; i < sizeof(seeks) / sizeof(seeks[0]); i++) {
        uint64_t index = 0;

        if (came_through(outcome, pt_segment_range_seek(segment, pt_text(seeks[i].key), &index)) &&
            outcome->trusted)
            PT_REQUIRE(index == seeks[i].index);
    }
}

static void read_everything(struct pt_segment *segment, const struct subject *subject,
                            struct outcome *outcome)
{
    gets_try(segment, subject, outcome);
    seeks_try(segment, subject, outcome);
    scans_try(segment, subject, outcome);
    ranges_try(segment, subject, outcome);
    touch(outcome, segment->min_key);
    touch(outcome, segment->max_key);
}

/* Open, read everything, check. Returns whether damage was found: by opening or by the check. */
static bool damage_found(const struct subject *subject, bool trusted)
{
    struct outcome outcome = {.trusted = trusted};
    struct pt_segment *segment;
    enum peat_status opened = pt_segment_image_open(&subject->image, &segment);
    enum peat_status checked;

    if (opened != PEAT_OK) {
        PT_REQUIRE(opened == PEAT_CORRUPT);
        PT_REQUIRE(segment == NULL);
        return true;
    }
    read_everything(segment, subject, &outcome);
    checked = pt_segment_check(segment, &subject->image.summary, NULL, NULL);
    PT_REQUIRE(checked == PEAT_OK || checked == PEAT_CORRUPT);
    pt_segment_close(segment);
    return checked == PEAT_CORRUPT;
}

/* ---- Damage that checksums see ---- */

static void an_undamaged_segment_reads_well(void **state)
{
    struct subject *subject = subject_new(SMALL, 20);
    struct outcome outcome = {.trusted = true};
    struct pt_segment *segment;
    (void)state;

    assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_OK);
    read_everything(segment, subject, &outcome);
    assert_int_equal(outcome.corrupt_count, 0);
    assert_int_equal(atomic_load(&segment->chunks_left), 0);
    pt_segment_close(segment);
    assert_false(damage_found(subject, true));
    subject_free(subject);
}

static void p3_every_flipped_byte_is_found_and_never_read_as_data(void **state)
{
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    struct subject *subject = subject_new(SMALL, 20);
    (void)state;

    for (size_t i = 0; i < subject->image.size; i++) {
        uint8_t flip = flips[i % sizeof(flips)];

        pt_test_context("byte %zu of %zu", i, subject->image.size);
        subject->image.bytes[i] ^= flip;
        PT_REQUIRE(damage_found(subject, true));
        subject->image.bytes[i] ^= flip;
    }
    PT_REQUIRE(!damage_found(subject, true));
    subject_free(subject);
}

/* Swap two items of @p size bytes. */
static void swap(uint8_t *bytes, uint64_t one, uint64_t other, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        uint8_t kept = bytes[one + i];

        bytes[one + i] = bytes[other + i];
        bytes[other + i] = kept;
    }
}

/* Each way of reading by itself, on a segment of which nothing has been verified yet, so that none
 * can rely on what another has verified. */
static void each_way_try(const struct subject *subject)
{
    static void (*const ways[])(struct pt_segment *, const struct subject *,
                                struct outcome *) = {gets_try, seeks_try, scans_try, ranges_try};

    for (size_t way = 0; way < sizeof(ways) / sizeof(ways[0]); way++) {
        struct outcome outcome = {.trusted = true};
        struct pt_segment *segment;

        PT_REQUIRE_OK(pt_segment_image_open(&subject->image, &segment));
        ways[way](segment, subject, &outcome);
        pt_segment_close(segment);
    }
}

/* Damage that looks like a segment: only a checksum tells. The last value is made so large that
 * entries, ordinals and fences lie in chunks of their own: none is verified by the way. */
static void p3_plausible_damage_is_not_believed(void **state)
{
    static uint8_t value[2 * PT_CHUNK_SIZE];
    struct subject *subject = subject_new(700, 60);
    struct pt_segment_layout *layout = &subject->image.layout;
    size_t missing = (size_t)(-layout->fence_offsets[0] % PT_CHUNK_SIZE);
    (void)state;

    subject->entries[699].value =
        pt_bytes(value, subject->entries[699].value.size + missing + PT_CHUNK_SIZE);
    pt_segment_image_fini(&subject->image);
    pt_segment_image_init(&subject->image, &subject->content);
    assert_int_equal(layout->fence_offsets[0] % PT_CHUNK_SIZE, 0);

    const struct {
        const char *name;
        uint64_t offset;
        uint64_t size;
        uint64_t count;
    } items[] = {{"range ordinal", layout->range_ordinals_offset, 4, RANGES},
                 {"ordinal", layout->ordinals_offset, 4, 700},
                 {"fence", layout->fence_offsets[0], 8, layout->fence_counts[0]},
                 {"bucket", layout->buckets_offset, 64, 100}};

    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        for (uint64_t item = 0; item + 1 < items[i].count; item += 1 + items[i].count / 8) {
            uint64_t other = item + 9 < items[i].count ? item + 9 : item + 1;
            uint64_t first_offset = items[i].offset + item * items[i].size;
            uint64_t other_offset = items[i].offset + other * items[i].size;

            pt_test_context("%s %llu", items[i].name, (unsigned long long)item);
            swap(subject->image.bytes, first_offset, other_offset, items[i].size);
            each_way_try(subject);
            swap(subject->image.bytes, first_offset, other_offset, items[i].size);
        }
    }
    subject_free(subject);
}

static void p3_a_segment_cut_short_or_longer_is_refused(void **state)
{
    struct subject *subject = subject_new(SMALL, 20);
    struct pt_segment *segment;
    uint8_t *longer = calloc(1, subject->image.size + 64);
    (void)state;

    assert_non_null(longer);
    for (size_t size = 0; size < subject->image.size; size++) {
        uint8_t *copy = malloc(size == 0 ? 1 : size); /* exact: a sanitizer sees a read beyond */

        assert_non_null(copy);
        memcpy(copy, subject->image.bytes, size);
        assert_int_equal(
            pt_segment_open(pt_bytes(copy, size), &subject->image.identity, NULL, 0, &segment),
            PEAT_CORRUPT);
        free(copy);
    }
    for (size_t extra = 1; extra <= 64; extra++) { /* zeros before it */
        memset(longer, 0, extra);
        memcpy(longer + extra, subject->image.bytes, subject->image.size);
        assert_int_equal(pt_segment_open(pt_bytes(longer, subject->image.size + extra),
                                         &subject->image.identity, NULL, 0, &segment),
                         PEAT_CORRUPT);
    }
    free(longer);
    subject_free(subject);
}

static void p3_a_segment_in_the_place_of_another_is_refused(void **state)
{
    struct subject *subject = subject_new(SMALL, 20);
    struct pt_segment_identity *identity = &subject->image.identity;
    struct pt_segment *segment;
    (void)state;

    identity->segment_id++;
    assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_CORRUPT);
    identity->segment_id--;
    identity->store_id.bytes[5] ^= 1;
    assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_CORRUPT);
    identity->store_id.bytes[5] ^= 1;
    assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_OK);
    pt_segment_close(segment);
    subject_free(subject);
}

/* ---- How far damage reaches ---- */

static bool in_chunk(uint64_t chunk, uint64_t offset, uint64_t size)
{
    return offset / PT_CHUNK_SIZE <= chunk && (offset + size - 1) / PT_CHUNK_SIZE >= chunk;
}

static void p3_damage_to_one_chunk_of_entries_leaves_the_others_readable(void **state)
{
    struct subject *subject = subject_new(LARGE, 199);
    struct outcome outcome = {.trusted = true};
    struct pt_segment *segment;
    uint64_t damaged = 2;
    uint64_t hit = 0;
    uint64_t next = 0;
    (void)state;

    subject->image.bytes[damaged * PT_CHUNK_SIZE + 100] ^= 4;
    assert_true(subject->image.layout.chunk_count > 4);
    assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_OK);
    for (size_t i = 0; i < LARGE; i++) {
        const struct pt_entry *expected = &subject->entries[i];
        uint64_t size = pt_entry_size(expected->key.size, expected->value.size);
        uint64_t hash = pt_segment_image_hash(&subject->image, expected->key);
        struct pt_entry found;
        enum peat_status status = pt_segment_get(segment, expected->key, hash, &found);

        assert_int_equal(status, in_chunk(damaged, next, size) ? PEAT_CORRUPT : PEAT_OK);
        if (status == PEAT_OK)
            entry_compare(&outcome, &found, expected);
        hit += status == PEAT_CORRUPT;
        next += size;
    }
    assert_true(hit > 0);
    read_everything(segment, subject, &outcome);
    assert_int_equal(atomic_load(&segment->chunks_left), 1);
    pt_segment_close(segment);
    subject_free(subject);
}

static void damage_to_a_chunk_is_not_seen_before_it_is_touched(void **state)
{
    struct subject *subject = subject_new(LARGE, 199);
    struct pt_segment *segment;
    struct pt_entry found;
    uint64_t next;
    (void)state;

    subject->image.bytes[2 * PT_CHUNK_SIZE] ^= 1;
    assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_OK);
    assert_int_equal(pt_segment_entry(segment, 0, &found, &next), PEAT_OK);
    assert_int_equal(pt_segment_verify_all(segment), PEAT_CORRUPT);
    assert_int_equal(pt_segment_entry(segment, 0, &found, &next), PEAT_OK);
    pt_segment_close(segment);
    subject_free(subject);
}

/* What the check said. */
struct findings {
    size_t count;
    uint64_t offset;
    char low[KEY_ROOM];
    char high[KEY_ROOM];
};

static void finding_keep(void *context, uint64_t offset, const char *what, struct peat_bytes low,
                         struct peat_bytes high)
{
    struct findings *findings = context;

    PT_REQUIRE(what != NULL);
    PT_REQUIRE(low.size < KEY_ROOM && high.size < KEY_ROOM);
    findings->count++;
    findings->offset = offset;
    memcpy(findings->low, low.data, low.size);
    memcpy(findings->high, high.data, high.size);
}

static void the_check_names_the_keys_that_a_damaged_chunk_may_hold(void **state)
{
    struct subject *subject = subject_new(LARGE, 199);
    struct findings findings = {.count = 0};
    struct pt_segment *segment;
    uint64_t next = 0;
    (void)state;

    assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_OK);
    subject->image.bytes[PT_CHUNK_SIZE + 7] ^= 1;
    assert_int_equal(pt_segment_verify_all(segment), PEAT_CORRUPT);
    assert_int_equal(pt_segment_check(segment, &subject->image.summary, finding_keep, &findings),
                     PEAT_CORRUPT);
    assert_int_equal(findings.count, 1);
    assert_int_equal(findings.offset, PT_CHUNK_SIZE);
    for (size_t i = 0; i < LARGE; i++) {
        uint64_t size = pt_entry_size(subject->entries[i].key.size, subject->entries[i].value.size);
        bool between = strcmp(subject->keys[i], findings.low) > 0 &&
                       strcmp(subject->keys[i], findings.high) < 0;

        assert_int_equal(in_chunk(1, next, size), between);
        next += size;
    }
    pt_segment_close(segment);
    subject_free(subject);
}

static void the_check_sees_damage_that_came_after_verification(void **state)
{
    struct subject *subject = subject_new(SMALL, 20);
    struct pt_segment *segment;
    (void)state;

    assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_OK);
    assert_int_equal(pt_segment_verify_all(segment), PEAT_OK);
    for (size_t i = 0; i < subject->image.size; i += 5) {
        subject->image.bytes[i] ^= 1;
        assert_int_equal(pt_segment_check(segment, NULL, NULL, NULL), PEAT_CORRUPT);
        subject->image.bytes[i] ^= 1;
    }
    assert_int_equal(pt_segment_check(segment, NULL, NULL, NULL), PEAT_OK);
    pt_segment_close(segment);
    subject_free(subject);
}

/* ---- Wrong bytes behind right checksums ---- */

static void p3_wrong_bytes_behind_right_checksums_never_lead_astray(void **state)
{
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    struct subject *subject = subject_new(SMALL, 20);
    (void)state;

    for (size_t i = 0; i < subject->image.size; i++) {
        for (size_t f = 0; f < sizeof(flips); f++) {
            pt_test_context("byte %zu of %zu", i, subject->image.size);
            subject->image.bytes[i] ^= flips[f];
            pt_segment_image_seal(&subject->image);
            (void)damage_found(subject, false);
            subject->image.bytes[i] ^= flips[f];
            pt_segment_image_seal(&subject->image);
        }
    }
    PT_REQUIRE(!damage_found(subject, true));
    subject_free(subject);
}

static void p3_random_bytes_behind_right_checksums_never_lead_astray(void **state)
{
    struct subject *subject = subject_new(SMALL, 20);
    uint8_t *original = malloc(subject->image.size);
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    assert_non_null(original);
    memcpy(original, subject->image.bytes, subject->image.size);
    for (unsigned step = 0; step < 3000; step++) {
        uint64_t count = 1 + pt_dice_below(&dice, 30);

        pt_test_context("step %u", step);
        memcpy(subject->image.bytes, original, subject->image.size);
        for (uint64_t i = 0; i < count; i++)
            subject->image.bytes[pt_dice_below(&dice, subject->image.layout.table_offset)] =
                (uint8_t)pt_dice_next(&dice);
        pt_segment_image_seal(&subject->image);
        (void)damage_found(subject, false);
    }
    free(original);
    subject_free(subject);
}

/* Every bucket full of nothing and overflowed: a chain without an end. */
static void a_hash_chain_without_an_end_ends(void **state)
{
    struct subject *subject = subject_new(SMALL, 20);
    struct outcome outcome = {.trusted = false};
    struct pt_segment *segment;
    uint8_t *buckets = subject->image.bytes + subject->image.layout.buckets_offset;
    size_t size = subject->image.layout.table_offset - subject->image.layout.buckets_offset;
    (void)state;

    memset(buckets, 0xff, size);
    pt_segment_image_seal(&subject->image);
    assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_OK);
    gets_try(segment, subject, &outcome);
    assert_int_equal(pt_segment_check(segment, NULL, NULL, NULL), PEAT_CORRUPT);
    pt_segment_close(segment);
    subject_free(subject);
}

static void p3_every_claim_of_a_footer_is_checked(void **state)
{
    struct subject *subject = subject_new(SMALL, 20);
    struct pt_segment_footer original = *pt_segment_image_footer(&subject->image);
    const size_t fields_size = offsetof(struct pt_segment_footer, table_checksum);
    (void)state;

    for (size_t offset = 0; offset < fields_size; offset += 4) {
        for (unsigned bit = 0; bit < 64; bit++) {
            uint64_t stated;
            uint8_t *field = (uint8_t *)pt_segment_image_footer(&subject->image) + offset;
            struct pt_le64 wrong;

            if (offset + sizeof(wrong) > fields_size && bit >= 32)
                continue;
            memcpy(&wrong, field, sizeof(wrong));
            stated = pt_le64_value(wrong);
            for (unsigned kind = 0; kind < 4; kind++) {
                uint64_t power = UINT64_C(1) << bit;
                uint64_t values[] = {stated ^ power, power - 1, stated + power, stated - power};

                wrong = pt_le64(values[kind]);
                memcpy(field, &wrong, offset + 8 > fields_size ? 4 : 8);
                pt_segment_image_seal(&subject->image);
                if (memcmp(field, (uint8_t *)&original + offset, 4) != 0)
                    (void)damage_found(subject, false);
                *pt_segment_image_footer(&subject->image) = original;
            }
        }
    }
    pt_segment_image_seal(&subject->image);
    PT_REQUIRE(!damage_found(subject, true));
    subject_free(subject);
}

/* The indexes are checked against the entries, not only against their checksums. */
static void the_check_finds_every_wrong_byte_of_an_index(void **state)
{
    struct subject *subject = subject_new(SMALL, 20);
    const struct pt_segment_layout *layout = &subject->image.layout;
    (void)state;

    for (uint64_t i = layout->range_ordinals_offset; i < layout->table_offset; i++) {
        bool padding =
            (i >= layout->range_ordinals_offset + 4 * RANGES && i < layout->ordinals_offset) ||
            (i >= layout->ordinals_offset + 4 * SMALL && i < layout->fence_offsets[0]);
        bool flags = i >= layout->buckets_offset &&
                     (i - layout->buckets_offset) % 64 == offsetof(struct pt_segment_bucket, flags);
        struct pt_segment *segment;

        if (padding || flags) /* a full bucket may, but need not have overflowed */
            continue;
        pt_test_context("byte %llu", (unsigned long long)i);
        subject->image.bytes[i] ^= 0x10;
        pt_segment_image_seal(&subject->image);
        assert_int_equal(pt_segment_image_open(&subject->image, &segment), PEAT_OK);
        assert_int_equal(pt_segment_check(segment, NULL, NULL, NULL), PEAT_CORRUPT);
        pt_segment_close(segment);
        subject->image.bytes[i] ^= 0x10;
        pt_segment_image_seal(&subject->image);
    }
    subject_free(subject);
}

/* ---- Errors of the medium ---- */

static bool medium_fails;

static int populate_or_fail(int fd, void *place, uint64_t size, bool writing)
{
    if (medium_fails) {
        errno = EFAULT;
        return -1;
    }
    return pt_file_calls_real()->populate(fd, place, size, writing);
}

static void an_error_of_the_medium_is_a_status(void **state)
{
    struct subject *subject = subject_new(LARGE, 199);
    struct pt_segment_image *image = &subject->image;
    uint64_t mapped_size = pt_round_up(image->size, PT_CHUNK_SIZE);
    struct pt_file_calls calls = *pt_file_calls_real();
    struct pt_segment *segment;
    struct pt_entry found;
    struct pt_file *file;
    uint8_t *place;
    uint64_t next;
    (void)state;

    calls.populate = populate_or_fail;
    pt_file_set_calls(&calls);
    assert_int_equal(pt_file_open_memory(&file), PEAT_OK);
    assert_int_equal(pt_file_write(file, 0, image->bytes, image->size), PEAT_OK);
    assert_int_equal(pt_file_map_writable(file, 0, mapped_size, &place), PEAT_OK);

    medium_fails = true;
    assert_int_equal(
        pt_segment_open(pt_bytes(place, image->size), &image->identity, file, 0, &segment),
        PEAT_IO);
    medium_fails = false;
    assert_int_equal(
        pt_segment_open(pt_bytes(place, image->size), &image->identity, file, 0, &segment),
        PEAT_OK);
    medium_fails = true;
    assert_int_equal(pt_segment_entry(segment, 0, &found, &next), PEAT_IO);
    assert_int_equal(pt_segment_verify_all(segment), PEAT_IO);
    assert_int_equal(pt_segment_check(segment, NULL, NULL, NULL), PEAT_IO);
    medium_fails = false;
    assert_int_equal(pt_segment_entry(segment, 0, &found, &next), PEAT_OK);
    assert_int_equal(pt_segment_verify_all(segment), PEAT_OK);

    pt_segment_close(segment);
    pt_file_unmap(place, mapped_size);
    pt_file_close(file);
    pt_file_set_calls(NULL);
    subject_free(subject);
}

static void a_truncated_file_is_a_status_too(void **state)
{
    struct subject *subject = subject_new(LARGE, 199);
    struct pt_segment_image *image = &subject->image;
    uint64_t mapped_size = pt_round_up(image->size, PT_CHUNK_SIZE);
    struct pt_segment *segment;
    struct pt_entry found;
    struct pt_file *file;
    uint8_t *place;
    uint64_t next;
    (void)state;

    assert_int_equal(pt_file_open_memory(&file), PEAT_OK);
    assert_int_equal(pt_file_write(file, 0, image->bytes, image->size), PEAT_OK);
    assert_int_equal(pt_file_map_writable(file, 0, mapped_size, &place), PEAT_OK);
    assert_int_equal(
        pt_segment_open(pt_bytes(place, image->size), &image->identity, file, 0, &segment),
        PEAT_OK);
    assert_int_equal(pt_file_truncate(file, 0), PEAT_OK);
    assert_int_equal(pt_segment_entry(segment, 0, &found, &next), PEAT_IO);
    pt_segment_close(segment);
    pt_file_unmap(place, mapped_size);
    pt_file_close(file);
    subject_free(subject);
}

/* ---- Gaps ---- */

/* Keys, ascending: each with the very next one behind it, where a bound may lie between the two. */
static const struct peat_bytes gap_keys[] = {
    {"\0", 1}, {"a", 1}, {"a\0", 2}, {"a\0\0", 3}, {"b", 1}, {"b\0", 2},
};
enum { GAP_KEYS = sizeof(gap_keys) / sizeof(gap_keys[0]), GAP_BOUNDS = GAP_KEYS - 1 };

/* Bound number @p i of 0 to GAP_BOUNDS: none, or a key that has its next one in the list. */
static struct peat_bytes gap_bound(unsigned i)
{
    return i == GAP_BOUNDS ? pt_bytes(NULL, 0) : gap_keys[i];
}

/* A bit for each key that lies in it. */
static unsigned gap_content(const struct pt_gap *gap)
{
    unsigned bits = 0;

    for (unsigned i = 0; i < GAP_KEYS; i++)
        bits |= (unsigned)pt_gap_holds(gap, gap_keys[i]) << i;
    return bits;
}

static unsigned bits_from(unsigned bound, bool open)
{
    return bound == GAP_BOUNDS ? ~0u : ~0u << (bound + open);
}

static unsigned bits_below(unsigned bound, bool closed)
{
    return bound == GAP_BOUNDS ? ~0u : ~(~0u << (bound + closed));
}

static void gap_clips_verify(const struct pt_gap *gap)
{
    unsigned content = gap_content(gap);

    for (unsigned i = 0; i <= GAP_BOUNDS; i++) {
        for (unsigned inclusive = 0; inclusive < 2; inclusive++) {
            struct pt_gap clipped = *gap;

            pt_gap_clip_low(&clipped, gap_bound(i), inclusive == 0);
            PT_REQUIRE(gap_content(&clipped) == (content & bits_from(i, inclusive == 0)));
            clipped = *gap;
            pt_gap_clip_high(&clipped, gap_bound(i), inclusive == 1);
            PT_REQUIRE(gap_content(&clipped) == (content & bits_below(i, inclusive == 1)));
        }
    }
}

static void a_gap_holds_what_its_bounds_say_however_it_is_clipped(void **state)
{
    const unsigned all = ~(~0u << GAP_KEYS);
    (void)state;

    for (unsigned i = 0; i < 4 * (GAP_BOUNDS + 1) * (GAP_BOUNDS + 1); i++) {
        unsigned low = i / 4 % (GAP_BOUNDS + 1);
        unsigned high = i / 4 / (GAP_BOUNDS + 1);
        struct pt_gap gap = {.low = gap_bound(low),
                             .high = gap_bound(high),
                             .low_open = low != GAP_BOUNDS && i % 2 == 1,
                             .high_closed = high != GAP_BOUNDS && i / 2 % 2 == 1};
        unsigned expected = all & bits_from(low, gap.low_open) & bits_below(high, gap.high_closed);

        pt_test_context("gap %u", i);
        PT_REQUIRE(gap_content(&gap) == expected);
        if (pt_gap_is_empty(&gap))
            PT_REQUIRE(expected == 0);
        else if (low < high &&
                 high != GAP_BOUNDS) /* what lies between two keys may not be in the list */
            PT_REQUIRE(expected != 0 || pt_bytes_compare(gap_keys[low], gap_keys[high]) < 0);
        gap_clips_verify(&gap);
    }
    pt_test_context("%s", "");
    /* Between a key and the very next one there is none; else there is. */
    PT_REQUIRE(pt_gap_is_empty(
        &(struct pt_gap){.low = pt_text("a"), .low_open = true, .high = pt_bytes("a\0", 2)}));
    PT_REQUIRE(!pt_gap_is_empty(&(struct pt_gap){.low = pt_text("a"), .high = pt_bytes("a\0", 2)}));
    PT_REQUIRE(!pt_gap_is_empty(
        &(struct pt_gap){.low = pt_text("a"), .low_open = true, .high = pt_bytes("a\1", 2)}));
    PT_REQUIRE(!pt_gap_is_empty(
        &(struct pt_gap){.low = pt_text("a"), .low_open = true, .high = pt_bytes("b\0", 2)}));
    PT_REQUIRE(pt_gap_is_empty(
        &(struct pt_gap){.low = pt_bytes("", 0), .low_open = true, .high = pt_bytes("\0", 1)}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_undamaged_segment_reads_well),
        cmocka_unit_test(p3_every_flipped_byte_is_found_and_never_read_as_data),
        cmocka_unit_test(p3_plausible_damage_is_not_believed),
        cmocka_unit_test(p3_a_segment_cut_short_or_longer_is_refused),
        cmocka_unit_test(p3_a_segment_in_the_place_of_another_is_refused),
        cmocka_unit_test(p3_damage_to_one_chunk_of_entries_leaves_the_others_readable),
        cmocka_unit_test(damage_to_a_chunk_is_not_seen_before_it_is_touched),
        cmocka_unit_test(the_check_names_the_keys_that_a_damaged_chunk_may_hold),
        cmocka_unit_test(the_check_sees_damage_that_came_after_verification),
        cmocka_unit_test(p3_wrong_bytes_behind_right_checksums_never_lead_astray),
        cmocka_unit_test(p3_random_bytes_behind_right_checksums_never_lead_astray),
        cmocka_unit_test(a_hash_chain_without_an_end_ends),
        cmocka_unit_test(p3_every_claim_of_a_footer_is_checked),
        cmocka_unit_test(the_check_finds_every_wrong_byte_of_an_index),
        cmocka_unit_test(an_error_of_the_medium_is_a_status),
        cmocka_unit_test(a_truncated_file_is_a_status_too),
        cmocka_unit_test(a_gap_holds_what_its_bounds_say_however_it_is_clipped),
    };
    int failures;

    pt_test_start();
    if (pt_checksum_start() < 0)
        return 1;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failures;
}

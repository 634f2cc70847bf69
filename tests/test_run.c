/*
 * The property: a run answers as the plain list of its slices would. Each slice shows its segment's
 * entries and range deletes between its bounds and nothing else; damage in one segment is told where
 * it is read and nowhere else.
 */
#include "core/db/run.h"

#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEY_MAX = 40, SEGMENTS = 9, ENTRIES_MAX = 40, RANGES_MAX = 4, ROUNDS = 120, PROBES = 400 };

static const struct pt_segment_identity identity = {{{1, 2, 3}}, 77};
static const uint64_t hash_seed = 12345;

/* A key that owns its bytes. */
struct text {
    uint8_t bytes[KEY_MAX];
    size_t size;
};

/* A segment in plain memory, and what was put into it. */
struct sample {
    struct pt_held_segment *held;
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    struct text keys[ENTRIES_MAX]; /* ascending */
    bool deleted[ENTRIES_MAX];
    size_t entry_count;
    struct text bounds[2 * RANGES_MAX]; /* low, high, low, high ... */
    size_t range_count;
};

/* A run and the list it is compared with. */
struct layer {
    struct sample samples[SEGMENTS];
    size_t sample_count;
    struct pt_slice slices[SEGMENTS];
    struct text bounds[2 * SEGMENTS];
    size_t slice_sample[SEGMENTS]; /* whose segment a slice is of */
    size_t slice_count;
    struct text stem; /* what most keys begin with */
    struct pt_run *run;
};

static struct peat_bytes bytes_of(const struct text *text)
{
    return pt_bytes(text->bytes, text->size);
}

static int text_order(const void *left, const void *right)
{
    return pt_bytes_compare(bytes_of(left), bytes_of(right));
}

/* A key of the stem and a few letters of a small alphabet, now and then without the stem. */
static struct text some_key(struct pt_dice *dice, const struct text *stem)
{
    struct text key = {.size = 0};
    size_t letters = (size_t)pt_dice_below(dice, 4);

    if (!pt_dice_one_in(dice, 12))
        key = *stem;
    else if (pt_dice_one_in(dice, 2))
        key.size = 0;
    else
        key.size = (size_t)pt_dice_below(dice, stem->size + 1);
    memcpy(key.bytes, stem->bytes, key.size);
    if (pt_dice_one_in(dice, 30) && key.size > 0)
        key.bytes[key.size - 1]++;
    for (size_t i = 0; i < letters; i++)
        key.bytes[key.size++] =
            (uint8_t)(pt_dice_one_in(dice, 8) ? 0 : 'a' + pt_dice_below(dice, 7));
    return key;
}

/* @p count ascending keys, fewer where the dice repeat themselves. */
static size_t some_keys(struct pt_dice *dice, const struct text *stem, struct text *keys,
                        size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        keys[i] = some_key(dice, stem);
    qsort(keys, count, sizeof(keys[0]), text_order);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || text_order(&keys[kept - 1], &keys[i]) != 0)
            keys[kept++] = keys[i];
    return kept;
}

static uint64_t hash_of(struct peat_bytes key)
{
    return pt_hash(hash_seed, key.data, key.size);
}

/* ---- Segments in plain memory ---- */

static enum peat_status sample_write(void *context, uint64_t offset, const void *data, size_t size)
{
    struct sample *sample = context;

    PT_REQUIRE(offset >= sample->size);
    if (offset + size > sample->capacity) {
        sample->capacity = 2 * (offset + size);
        sample->bytes = realloc(sample->bytes, sample->capacity);
        PT_REQUIRE(sample->bytes != NULL);
    }
    memset(sample->bytes + sample->size, 0, offset - sample->size);
    memcpy(sample->bytes + offset, data, size);
    sample->size = offset + size;
    return PEAT_OK;
}

static void sample_build(struct sample *sample, struct pt_segment_summary *summary)
{
    struct pt_segment_sink sink = {sample_write, sample};
    struct pt_segment_builder *builder;

    PT_REQUIRE_OK(pt_segment_builder_open(&identity, hash_seed, &sink, &builder));
    for (size_t i = 0; i < sample->entry_count; i++) {
        struct peat_bytes key = bytes_of(&sample->keys[i]);

        PT_REQUIRE_OK(pt_segment_builder_add(builder, sample->deleted[i] ? PT_OP_DELETE : PT_OP_PUT,
                                             key, sample->deleted[i] ? pt_bytes(NULL, 0) : key,
                                             hash_of(key)));
    }
    for (size_t i = 0; i < sample->range_count; i++)
        PT_REQUIRE_OK(pt_segment_builder_add_range(builder, bytes_of(&sample->bounds[2 * i]),
                                                   bytes_of(&sample->bounds[2 * i + 1])));
    PT_REQUIRE_OK(pt_segment_builder_finish(builder, summary));
    pt_segment_builder_close(builder);
}

/* The segment held as the store would, but for the arena. */
static void sample_open(struct sample *sample)
{
    struct pt_segment_summary summary;

    sample_build(sample, &summary);
    sample->bytes = realloc(sample->bytes, sample->size);
    sample->held = calloc(1, sizeof(*sample->held));
    PT_REQUIRE(sample->bytes != NULL && sample->held != NULL);
    atomic_init(&sample->held->pins, 2); /* the second is never given up: the test frees it */
    sample->held->id = identity.segment_id;
    sample->held->summary = summary;
    PT_REQUIRE_OK(pt_segment_open(pt_bytes(sample->bytes, sample->size), &identity, NULL, 0,
                                  &sample->held->segment));
}

static void sample_fill(struct pt_dice *dice, const struct text *stem, struct sample *sample,
                        bool ranges)
{
    memset(sample, 0, sizeof(*sample));
    sample->entry_count = some_keys(dice, stem, sample->keys, 1 + pt_dice_below(dice, ENTRIES_MAX));
    for (size_t i = 0; i < sample->entry_count; i++)
        sample->deleted[i] = pt_dice_one_in(dice, 4);
    if (ranges)
        sample->range_count =
            some_keys(dice, stem, sample->bounds, (size_t)pt_dice_below(dice, 2 * RANGES_MAX + 1)) /
            2;
    if (sample->range_count > 1 && pt_dice_one_in(dice, 2)) /* two that touch */
        sample->bounds[2] = sample->bounds[1];
    if (sample->range_count > 0 && pt_dice_one_in(dice, 5))
        sample->entry_count = 0;
    sample_open(sample);
}

static void sample_close(struct sample *sample)
{
    pt_segment_close(sample->held->segment);
    free(sample->held);
    free(sample->bytes);
}

/* ---- Layers ---- */

static void layer_open(struct pt_dice *dice, struct layer *layer, bool ranges)
{
    size_t bound_count;

    memset(layer, 0, sizeof(*layer));
    layer->stem.size = (size_t)pt_dice_below(dice, 24);
    memset(layer->stem.bytes, pt_dice_one_in(dice, 3) ? 0xff : 's', layer->stem.size);
    layer->sample_count = 1 + (size_t)pt_dice_below(dice, SEGMENTS);
    for (size_t i = 0; i < layer->sample_count; i++)
        sample_fill(dice, &layer->stem, &layer->samples[i], ranges && !pt_dice_one_in(dice, 3));
    do
        bound_count =
            some_keys(dice, &layer->stem, layer->bounds, 2 + pt_dice_below(dice, 2 * SEGMENTS - 1));
    while (bound_count < 2);
    for (size_t i = 0; i + 1 < bound_count; i++) {
        struct pt_slice *slice = &layer->slices[layer->slice_count];

        if (layer->slice_count == SEGMENTS || (layer->slice_count > 0 && pt_dice_one_in(dice, 4)))
            continue; /* a gap */
        layer->slice_sample[layer->slice_count] = (size_t)pt_dice_below(dice, layer->sample_count);
        slice->held = layer->samples[layer->slice_sample[layer->slice_count]].held;
        slice->low = bytes_of(&layer->bounds[i]);
        slice->high = bytes_of(&layer->bounds[i + 1]);
        layer->slice_count++;
    }
    PT_REQUIRE_OK(pt_run_open(layer->slices, layer->slice_count, &layer->run));
}

/* Each slice between the keys that begin with one letter behind the stem and with the next, of a segment
 * whose keys mostly begin so: many segments are in one slice whole. */
static void layer_open_by_letters(struct pt_dice *dice, struct layer *layer)
{
    bool ranges = pt_dice_one_in(dice, 2);

    memset(layer, 0, sizeof(*layer));
    layer->stem.size = (size_t)pt_dice_below(dice, 12);
    memset(layer->stem.bytes, 's', layer->stem.size);
    layer->sample_count = layer->slice_count = 1 + (size_t)pt_dice_below(dice, SEGMENTS);
    for (size_t i = 0; i <= layer->slice_count; i++) {
        layer->bounds[i] = layer->stem;
        layer->bounds[i].bytes[layer->bounds[i].size++] = (uint8_t)('a' + i);
    }
    for (size_t i = 0; i < layer->slice_count; i++) {
        struct text stem = layer->bounds[i];

        while (stem.size < 9)
            stem.bytes[stem.size++] = 's';
        sample_fill(dice, &stem, &layer->samples[i], ranges);
        layer->slice_sample[i] = i;
        layer->slices[i].held = layer->samples[i].held;
        layer->slices[i].low = bytes_of(&layer->bounds[i]);
        layer->slices[i].high = bytes_of(&layer->bounds[i + 1]);
    }
    PT_REQUIRE_OK(pt_run_open(layer->slices, layer->slice_count, &layer->run));
}

static void layer_close(struct layer *layer)
{
    pt_run_unpin(layer->run);
    for (size_t i = 0; i < layer->sample_count; i++) {
        PT_REQUIRE(atomic_load(&layer->samples[i].held->pins) == 2);
        sample_close(&layer->samples[i]);
    }
}

static bool slice_holds(const struct pt_slice *slice, struct peat_bytes key)
{
    return pt_bytes_compare(slice->low, key) <= 0 && pt_bytes_compare(key, slice->high) < 0;
}

static const struct sample *layer_sample(const struct layer *layer, struct peat_bytes key)
{
    for (size_t i = 0; i < layer->slice_count; i++)
        if (slice_holds(&layer->slices[i], key))
            return &layer->samples[layer->slice_sample[i]];
    return NULL;
}

static bool layer_covers(const struct layer *layer, struct peat_bytes key)
{
    const struct sample *sample = layer_sample(layer, key);

    for (size_t i = 0; sample != NULL && i < sample->range_count; i++)
        if (pt_bytes_compare(bytes_of(&sample->bounds[2 * i]), key) <= 0 &&
            pt_bytes_compare(key, bytes_of(&sample->bounds[2 * i + 1])) < 0)
            return true;
    return false;
}

/* The op that the run holds for @p key; 0: none. */
static int layer_op(const struct layer *layer, struct peat_bytes key)
{
    const struct sample *sample = layer_sample(layer, key);

    for (size_t i = 0; sample != NULL && i < sample->entry_count; i++)
        if (pt_same(bytes_of(&sample->keys[i]), key))
            return sample->deleted[i] ? PT_OP_DELETE : PT_OP_PUT;
    return layer_covers(layer, key) ? PT_OP_DELETE : 0;
}

/* Keys that are likely to hit something: random ones, slices' bounds, ranges' bounds. */
static struct text probe(struct pt_dice *dice, const struct layer *layer)
{
    const struct sample *sample = &layer->samples[pt_dice_below(dice, layer->sample_count)];

    switch (pt_dice_below(dice, 4)) {
    case 0:
        return layer->bounds[pt_dice_below(dice, layer->slice_count + 1)];
    case 1:
        if (sample->entry_count > 0)
            return sample->keys[pt_dice_below(dice, sample->entry_count)];
        break;
    case 2:
        if (sample->range_count > 0)
            return sample->bounds[pt_dice_below(dice, 2 * sample->range_count)];
        break;
    default:
        break;
    }
    return some_key(dice, &layer->stem);
}

/* ---- Tests ---- */

static void find_gives_the_first_slice_that_ends_above_the_key(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    static struct layer layer;
    (void)state;

    for (unsigned i = 0; i < ROUNDS; i++) {
        layer_open(&dice, &layer, false);
        for (unsigned k = 0; k < PROBES; k++) {
            struct text key = probe(&dice, &layer);
            size_t expected = 0;

            while (expected < layer.slice_count &&
                   pt_bytes_compare(layer.slices[expected].high, bytes_of(&key)) <= 0)
                expected++;
            PT_REQUIRE(pt_run_find(layer.run, bytes_of(&key)) == expected);
        }
        layer_close(&layer);
    }
}

static void get_says_what_the_slices_segment_says(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    static struct layer layer;
    (void)state;

    for (unsigned i = 0; i < ROUNDS; i++) {
        layer_open(&dice, &layer, true);
        for (unsigned k = 0; k < PROBES; k++) {
            struct text text = probe(&dice, &layer);
            struct peat_bytes key = bytes_of(&text);
            int expected = layer_op(&layer, key);
            struct pt_entry entry;
            enum peat_status status = pt_run_get(layer.run, key, hash_of(key), &entry);

            PT_REQUIRE(status == (expected == 0 ? PEAT_NOT_FOUND : PEAT_OK));
            if (status != PEAT_OK)
                continue;
            PT_REQUIRE((int)entry.op == expected);
            PT_REQUIRE(pt_same(entry.key, key));
            PT_REQUIRE(entry.op == PT_OP_PUT ? pt_same(entry.value, key) : entry.value.size == 0);
        }
        layer_close(&layer);
    }
}

/* What the quick get says of @p key, if its size is one that it is for. */
static enum peat_status quick_get(const struct pt_run *run, struct peat_bytes key,
                                  struct peat_bytes *value_out)
{
    const uint8_t *bytes = key.data;
    struct pt_quick_key quick;

    if (key.size < 1 + PT_QUICK_SIZE_MIN || key.size > 1 + PT_QUICK_SIZE_MAX)
        return PEAT_DONE;
    quick.head = bytes[0];
    quick.tail = pt_bytes(bytes + 1, key.size - 1);
    quick.hash = hash_of(key);
    return pt_run_quick_get(run, &quick, value_out);
}

static void a_quick_get_says_what_a_get_says_or_nothing(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    static struct layer layer;
    unsigned found = 0;
    unsigned absent = 0;
    (void)state;

    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        layer_open_by_letters(&dice, &layer);
        for (unsigned k = 0; k < PROBES; k++) {
            struct text text = probe(&dice, &layer);
            struct peat_bytes key = bytes_of(&text);
            struct peat_bytes quick;
            struct pt_entry entry;
            enum peat_status status = quick_get(layer.run, key, &quick);
            enum peat_status expected;

            if (status == PEAT_DONE) /* nothing, or nothing before its chunk is verified */
                status = pt_run_get(layer.run, key, hash_of(key), &entry) < 0
                             ? PEAT_CORRUPT
                             : quick_get(layer.run, key, &quick);
            if (status == PEAT_DONE)
                continue;
            expected = pt_run_get(layer.run, key, hash_of(key), &entry);
            if (expected == PEAT_OK && entry.op == PT_OP_DELETE)
                expected = PEAT_NOT_FOUND;
            PT_REQUIRE(status == expected);
            found += status == PEAT_OK;
            absent += status == PEAT_NOT_FOUND;
            if (status == PEAT_OK)
                PT_REQUIRE(pt_same(quick, entry.value));
        }
        layer_close(&layer);
    }
    PT_REQUIRE(found > 0 && absent > 0);
    printf("# %u found, %u absent\n", found, absent);
}

/* Between the bounds, as pt_run_covers() gives them. */
static bool is_between(struct peat_bytes key, struct peat_bytes low, struct peat_bytes high)
{
    return (low.data == NULL || pt_bytes_compare(low, key) <= 0) &&
           (high.data == NULL || pt_bytes_compare(key, high) < 0);
}

static void covers_answers_for_the_whole_interval_it_gives(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    static struct layer layer;
    (void)state;

    for (unsigned i = 0; i < ROUNDS; i++) {
        layer_open(&dice, &layer, !pt_dice_one_in(&dice, 8));
        for (unsigned k = 0; k < PROBES; k++) {
            struct text key = probe(&dice, &layer);
            struct text other = probe(&dice, &layer);
            struct peat_bytes low;
            struct peat_bytes high;
            bool covered;

            PT_REQUIRE_OK(pt_run_covers(layer.run, bytes_of(&key), &covered, &low, &high));
            PT_REQUIRE(covered == layer_covers(&layer, bytes_of(&key)));
            PT_REQUIRE(is_between(bytes_of(&key), low, high));
            if (is_between(bytes_of(&other), low, high))
                PT_REQUIRE(layer_covers(&layer, bytes_of(&other)) == covered);
            if (!covered && high.data != NULL) /* it reaches as far as it can */
                PT_REQUIRE(layer_covers(&layer, high));
        }
        layer_close(&layer);
    }
}

static void walking_the_intervals_upward_finds_every_range(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    static struct layer layer;
    (void)state;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct peat_bytes key = {"", 0};
        unsigned steps = 0;

        layer_open(&dice, &layer, true);
        while (key.data != NULL) {
            struct peat_bytes low;
            struct peat_bytes high;
            bool covered;

            PT_REQUIRE_OK(pt_run_covers(layer.run, key, &covered, &low, &high));
            PT_REQUIRE(high.data == NULL || pt_bytes_compare(key, high) < 0);
            PT_REQUIRE(!covered || high.data != NULL);
            PT_REQUIRE(covered || low.data == NULL || pt_bytes_compare(low, key) == 0);
            key = high;
            PT_REQUIRE(++steps <= 2 * SEGMENTS * (RANGES_MAX + 1));
        }
        layer_close(&layer);
    }
}

/* "k00", "k01" ... "k39", and perhaps range deletes ["a", "k05") and ["k38", "m"), in one segment. */
static void numbered_open(struct sample *sample, bool ranges)
{
    memset(sample, 0, sizeof(*sample));
    sample->entry_count = ENTRIES_MAX;
    for (unsigned i = 0; i < ENTRIES_MAX; i++)
        sample->keys[i].size = (size_t)snprintf((char *)sample->keys[i].bytes, KEY_MAX, "k%02u", i);
    if (ranges) {
        static const char *const bounds[] = {"a", "k05", "k38", "m"};

        sample->range_count = 2;
        for (unsigned i = 0; i < 4; i++) {
            sample->bounds[i].size = strlen(bounds[i]);
            memcpy(sample->bounds[i].bytes, bounds[i], sample->bounds[i].size);
        }
    }
    sample_open(sample);
}

static struct pt_run *run_of_one(const struct sample *sample, const char *low, const char *high)
{
    struct pt_slice slice = {.held = sample->held, .low = pt_text(low), .high = pt_text(high)};
    struct pt_run *run;

    PT_REQUIRE_OK(pt_run_open(&slice, 1, &run));
    return run;
}

static void a_slice_knows_whether_it_is_whole_and_how_large(void **state)
{
    struct sample plain;
    struct sample ranged;
    struct pt_run *run;
    (void)state;

    numbered_open(&plain, false);
    numbered_open(&ranged, true);
    run = run_of_one(&plain, "k00", "k391");
    assert_true(run->slices[0].whole);
    assert_int_equal(run->size, plain.held->summary.size);
    assert_false(run->has_ranges);
    pt_run_unpin(run);

    run = run_of_one(&plain, "k00", "k39");
    assert_false(run->slices[0].whole);
    assert_int_equal(run->size, plain.held->summary.size * 39 / 40);
    pt_run_unpin(run);

    run = run_of_one(&plain, "k10", "k20");
    assert_false(run->slices[0].whole);
    assert_int_equal(run->size, plain.held->summary.size / 4);
    pt_run_unpin(run);

    run = run_of_one(&plain, "x", "y");
    assert_false(run->slices[0].whole);
    assert_int_equal(run->size, 1);
    pt_run_unpin(run);

    run = run_of_one(&ranged, "a", "l"); /* all entries, but not all of the range deletes */
    assert_false(run->slices[0].whole);
    pt_run_unpin(run);

    run = run_of_one(&ranged, "b", "z");
    assert_false(run->slices[0].whole);
    assert_int_equal(run->size, ranged.held->summary.size);
    assert_true(run->has_ranges);
    pt_run_unpin(run);

    run = run_of_one(&ranged, "a", "z");
    assert_true(run->slices[0].whole);
    pt_run_unpin(run);
    sample_close(&plain);
    sample_close(&ranged);
}

static void a_run_keeps_copies_of_keys_and_pins_of_segments(void **state)
{
    struct sample sample;
    char low[] = "k00";
    char high[] = "z";
    struct pt_slice slice = {.low = pt_text(low), .high = pt_text(high)};
    struct pt_run *run;
    (void)state;

    numbered_open(&sample, false);
    slice.held = sample.held;
    PT_REQUIRE_OK(pt_run_open(&slice, 1, &run));
    assert_int_equal(atomic_load(&sample.held->pins), 3);
    memset(low, 'x', 3);
    memset(high, 'x', 1);
    assert_true(pt_same(run->slices[0].low, pt_text("k00")));
    assert_true(pt_same(run->slices[0].high, pt_text("z")));
    pt_run_pin(run);
    pt_run_unpin(run);
    assert_int_equal(atomic_load(&sample.held->pins), 3);
    pt_run_unpin(run);
    assert_int_equal(atomic_load(&sample.held->pins), 2);
    pt_run_unpin(NULL);
    sample_close(&sample);
}

static void damage_in_one_segment_is_told_where_it_is_read(void **state)
{
    struct sample good;
    struct sample bad;
    struct pt_slice slices[2];
    struct peat_bytes low;
    struct peat_bytes high;
    struct pt_entry entry;
    struct pt_run *run;
    bool covered;
    (void)state;

    numbered_open(&good, true);
    numbered_open(&bad, true);
    bad.bytes[20] ^= 1;
    slices[0] = (struct pt_slice){.held = good.held, .low = pt_text("a"), .high = pt_text("k10")};
    slices[1] = (struct pt_slice){.held = bad.held, .low = pt_text("k10"), .high = pt_text("k20")};
    PT_REQUIRE_OK(pt_run_open(slices, 2, &run));
    assert_false(run->slices[1].whole);
    assert_int_equal(run->slices[1].size, bad.held->summary.size);
    PT_REQUIRE_OK(pt_run_get(run, pt_text("k09"), hash_of(pt_text("k09")), &entry));
    PT_REQUIRE_STATUS(pt_run_get(run, pt_text("k10"), hash_of(pt_text("k10")), &entry),
                      PEAT_CORRUPT);
    PT_REQUIRE_OK(pt_run_covers(run, pt_text("b"), &covered, &low, &high));
    assert_true(covered);
    PT_REQUIRE_STATUS(pt_run_covers(run, pt_text("k11"), &covered, &low, &high), PEAT_CORRUPT);
    pt_run_unpin(run);
    sample_close(&good);
    sample_close(&bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(find_gives_the_first_slice_that_ends_above_the_key),
        cmocka_unit_test(get_says_what_the_slices_segment_says),
        cmocka_unit_test(a_quick_get_says_what_a_get_says_or_nothing),
        cmocka_unit_test(covers_answers_for_the_whole_interval_it_gives),
        cmocka_unit_test(walking_the_intervals_upward_finds_every_range),
        cmocka_unit_test(a_slice_knows_whether_it_is_whole_and_how_large),
        cmocka_unit_test(a_run_keeps_copies_of_keys_and_pins_of_segments),
        cmocka_unit_test(damage_in_one_segment_is_told_where_it_is_read),
    };
    int failed;

    pt_test_start();
    PT_REQUIRE_OK(pt_checksum_start());
    failed = cmocka_run_group_tests_name("run", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

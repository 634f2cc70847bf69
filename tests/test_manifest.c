/*
 * The property: a manifest comes back from its block exactly as it was, and a block that was not
 * written by this code (flipped, cut, from elsewhere, or sealed over nonsense) is refused without
 * touching anything outside it. What is accepted, however it came about, encodes to the same bytes.
 */
#include "core/db/manifest.h"

#include "core/base/alloc.h"
#include "core/db/manifest_format.h"
#include "tests/support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    SEGMENTS_MAX = 12,
    RUNS_MAX = 4,
    SLICES_MAX = 40,
    KEPT_MAX = 6,
    FEEDS_MAX = 5,
    KEY_MAX = 12,
    ROUNDS = 300
};

/* A manifest with what it points to. */
struct sample {
    struct pt_manifest manifest;
    struct pt_manifest_segment segments[SEGMENTS_MAX];
    size_t run_slice_counts[RUNS_MAX];
    struct pt_manifest_slice slices[SLICES_MAX];
    uint8_t keys[2 * SLICES_MAX][KEY_MAX];
    struct pt_manifest_kept kept[KEPT_MAX];
    char names[KEPT_MAX][KEY_MAX];
    struct pt_log_piece held[FEEDS_MAX];
    struct pt_manifest_feed feeds[FEEDS_MAX];
    char feed_names[FEEDS_MAX][KEY_MAX];
};

/* A heap block of exactly the encoded size, so that a sanitizer sees every step outside. */
struct block {
    uint8_t *data;
    size_t size;
};

static struct pt_id some_nonce(struct pt_dice *dice)
{
    struct pt_id id;

    pt_value_fill(pt_dice_next(dice), id.bytes, sizeof(id.bytes));
    return id;
}

static void log_fill(struct pt_dice *dice, struct pt_log_point *log)
{
    log->region.offset = PT_ARENA_START;
    log->region.size = PT_REGION_UNIT * (1 + pt_dice_below(dice, 4));
    log->nonce = some_nonce(dice);
    log->offset = pt_dice_below(dice, log->region.size + 1);
    log->epoch = pt_dice_next(dice) >> 1;
    log->commit = pt_dice_next(dice) >> 1;
    log->time_us = pt_dice_next(dice);
    log->position = pt_dice_next(dice) >> 1;
    log->chain = some_nonce(dice);
}

/* Regions behind the log's, some with gaps; in the file they lie in another order than by id. */
static void segments_fill(struct pt_dice *dice, struct sample *sample, size_t count)
{
    uint64_t offset = UINT64_C(1) << 40;
    uint64_t id = pt_dice_below(dice, 3);

    for (size_t i = 0; i < count; i++) {
        struct pt_manifest_segment *segment = &sample->segments[i];

        segment->extent.size = PT_REGION_UNIT * (1 + pt_dice_below(dice, 8));
        offset -= segment->extent.size + PT_REGION_UNIT * pt_dice_below(dice, 2);
        segment->extent.offset = offset;
        segment->id = id;
        id += 1 + pt_dice_below(dice, 3);
        segment->summary.size = 1 + pt_dice_below(dice, segment->extent.size);
        segment->summary.entry_count = pt_dice_below(dice, segment->summary.size);
        segment->summary.delete_count = pt_dice_below(dice, segment->summary.entry_count + 1);
        segment->summary.range_count = 1;
        pt_value_fill(id, &segment->summary.digest, sizeof(segment->summary.digest));
    }
    sample->manifest.segment_count = count;
    sample->manifest.next_segment_id = id + pt_dice_below(dice, 3);
}

/* The next key of a run: a short number, or a long one that begins with it. */
static struct peat_bytes key_fill(struct pt_dice *dice, struct sample *sample, size_t key_index,
                                  size_t step)
{
    uint8_t *place = sample->keys[key_index];

    place[0] = (uint8_t)step;
    pt_value_fill(key_index, place + 1, KEY_MAX - 1);
    return pt_bytes(place, 1 + (size_t)pt_dice_below(dice, KEY_MAX));
}

/* Each run takes some of the segments, the first one all that are left, so each has its slice. */
static void runs_fill(struct pt_dice *dice, struct sample *sample, size_t run_count)
{
    struct pt_manifest *manifest = &sample->manifest;
    size_t next = 0;

    for (size_t i = 0; i < run_count; i++) {
        size_t count = i == 0 ? manifest->segment_count : 1 + (size_t)pt_dice_below(dice, 8);
        size_t step = 0;

        sample->run_slice_counts[i] = count;
        for (size_t k = 0; k < count; k++, next++) {
            struct pt_manifest_slice *slice = &sample->slices[next];

            slice->segment_index = i == 0 ? k : pt_dice_below(dice, manifest->segment_count);
            slice->low = key_fill(dice, sample, 2 * next, step++);
            if (k > 0 && pt_dice_one_in(dice, 2))
                slice->low = slice[-1].high;
            slice->high = key_fill(dice, sample, 2 * next + 1, step++);
        }
        if (pt_dice_one_in(dice, 2))
            sample->slices[next - count].low = pt_bytes("", 0);
    }
    manifest->run_count = run_count;
    manifest->slice_count = next;
}

/* States with gaps between their numbers, their manifests between the log and the segments; perhaps a
 * damaged one, and the manifest's own. */
static void kept_fill(struct pt_dice *dice, struct sample *sample, size_t count)
{
    struct pt_manifest *manifest = &sample->manifest;
    uint64_t generation = 0;
    uint64_t offset = UINT64_C(1) << 30;

    for (size_t i = 0; i < count; i++) {
        struct pt_manifest_kept *kept = &sample->kept[i];

        kept->generation = generation + 1 + pt_dice_below(dice, 2);
        kept->manifest_generation = kept->generation + pt_dice_below(dice, 2);
        generation = kept->manifest_generation;
        kept->size = 1 + pt_dice_below(dice, 2 * PT_REGION_UNIT);
        kept->offset = offset;
        offset += pt_manifest_extent(offset, kept->size).size;
        kept->commit = pt_dice_next(dice);
        kept->time_us = pt_dice_next(dice);
        kept->flags = pt_dice_one_in(dice, 3) ? PT_KEPT_BEFORE_REVERT : 0;
        if (pt_dice_one_in(dice, 2))
            kept->name =
                pt_bytes(sample->names[i], (size_t)snprintf(sample->names[i], KEY_MAX, "n%zu", i));
        if (pt_dice_one_in(dice, 5))
            kept->flags |= PT_KEPT_DAMAGED;
        else if (i + 1 == count && pt_dice_one_in(dice, 2))
            manifest->generation = generation;
        if ((kept->flags & PT_KEPT_DAMAGED) != 0 || manifest->generation == generation)
            kept->offset = kept->size = 0;
    }
    if (manifest->generation == 0)
        manifest->generation = generation + 1 + pt_dice_below(dice, 1000);
    manifest->kept = sample->kept;
    manifest->kept_count = count;
}

/* Regions of the log behind all else, some entered in the middle of a payload; the last may be that in which
 * the log begins. And feeds, in the order of their names. */
static void feeds_fill(struct pt_dice *dice, struct sample *sample, size_t count)
{
    struct pt_manifest *manifest = &sample->manifest;
    uint64_t offset = UINT64_C(1) << 41;

    for (size_t i = 0; i < count; i++) {
        struct pt_log_point *start = &sample->held[i].start;

        start->region.offset = offset;
        start->region.size = PT_REGION_UNIT * (1 + pt_dice_below(dice, 8));
        start->nonce = some_nonce(dice);
        offset += start->region.size;
        sample->held[i].has_start = i == 0 || !pt_dice_one_in(dice, 3);
        if (!sample->held[i].has_start)
            continue;
        start->offset = 4096 + 8 * pt_dice_below(dice, 1000);
        start->epoch = manifest->log.epoch / 2;
        start->commit = manifest->log.commit / FEEDS_MAX * i;
        start->position = manifest->log.position / FEEDS_MAX * i;
        start->time_us = pt_dice_next(dice);
        start->chain = some_nonce(dice);
    }
    if (count > 0 && manifest->log.region.size > 0 && pt_dice_one_in(dice, 2)) {
        sample->held[count - 1].start.region = manifest->log.region;
        sample->held[count - 1].start.nonce = manifest->log.nonce;
    }
    for (size_t i = 0; i < count; i++) {
        int size = snprintf(sample->feed_names[i], KEY_MAX, "feed-%zu", i);

        sample->feeds[i].acknowledged = pt_dice_next(dice);
        sample->feeds[i].has_seals = pt_dice_one_in(dice, 2);
        sample->feeds[i].is_lost = pt_dice_one_in(dice, 4);
        sample->feeds[i].name = pt_bytes(sample->feed_names[i], (size_t)size);
    }
    manifest->held = sample->held;
    manifest->held_count = count;
    manifest->feeds = sample->feeds;
    manifest->feed_count = pt_dice_one_in(dice, 2) ? count : count / 2;
}

/* Epochs up to the log's, some of them of one commit number, which only seals keep apart; and a role. */
static void roles_fill(struct pt_dice *dice, struct pt_manifest *manifest)
{
    static const unsigned roles[] = {0, PT_ROLE_FOLLOWER, PT_ROLE_FENCED};
    size_t count = pt_dice_one_in(dice, 4) ? PEAT_EPOCHS_MAX : 1 + (size_t)pt_dice_below(dice, 5);
    struct peat_epoch row = {.first_commit = 1 + pt_dice_below(dice, 2)};

    for (size_t i = 0; i < count; i++) {
        row.epoch += 1 + pt_dice_below(dice, 3);
        manifest->lineage.epochs[i] = row;
        row.first_commit += pt_dice_below(dice, 9);
        row.position += 1 + pt_dice_below(dice, 900);
        pt_value_fill(pt_dice_next(dice), row.chain, sizeof(row.chain));
    }
    manifest->lineage.count = count;
    manifest->log.epoch = pt_lineage_newest(&manifest->lineage);
    manifest->log.commit = row.first_commit - 1 + pt_dice_below(dice, 9);
    manifest->log.position = row.position + pt_dice_below(dice, 9);
    manifest->role = roles[pt_dice_below(dice, 3)];
    manifest->met_epoch = pt_dice_one_in(dice, 2) ? 0 : 1 + pt_dice_below(dice, row.epoch);
    if (manifest->role == PT_ROLE_FENCED)
        manifest->met_epoch = row.epoch + 1;
}

static void sample_fill(struct pt_dice *dice, struct sample *sample)
{
    struct pt_manifest *manifest = &sample->manifest;
    size_t segment_count = 1 + (size_t)pt_dice_below(dice, SEGMENTS_MAX);

    memset(sample, 0, sizeof(*sample));
    manifest->store_id = some_nonce(dice);
    manifest->next_collection_id = pt_dice_next(dice) >> 1; /* below 2^63 */
    manifest->hash_seed = pt_dice_next(dice);
    manifest->segments = sample->segments;
    manifest->run_slice_counts = sample->run_slice_counts;
    manifest->slices = sample->slices;
    if (pt_dice_one_in(dice, 5))
        manifest->log.commit = pt_dice_next(dice) >> 1; /* and no region */
    else
        log_fill(dice, &manifest->log);
    if (pt_dice_one_in(dice, 2))
        roles_fill(dice, manifest);
    segments_fill(dice, sample, segment_count);
    runs_fill(dice, sample, 1 + (size_t)pt_dice_below(dice, RUNS_MAX));
    kept_fill(dice, sample, (size_t)pt_dice_below(dice, KEPT_MAX + 1));
    if (pt_dice_one_in(dice, 2))
        feeds_fill(dice, sample, 1 + (size_t)pt_dice_below(dice, FEEDS_MAX));
}

static struct block block_new(size_t size)
{
    struct block block = {malloc(size), size};

    PT_REQUIRE(block.data != NULL);
    return block;
}

static struct block encode(const struct pt_manifest *manifest)
{
    struct block block = block_new(pt_manifest_size(manifest));

    memset(block.data, 0xa5, block.size);
    pt_manifest_encode(manifest, block.data);
    return block;
}

/* Make the checksum right again. */
static void seal(const struct block *block, const struct pt_manifest *like)
{
    struct pt_key key = pt_key_derive(&like->store_id, PT_KEY_MANIFEST, like->generation, 0);
    struct pt_checksum checksum;

    PT_REQUIRE(block->size >= sizeof(checksum));
    checksum = pt_checksum(&key, block->data, block->size - sizeof(checksum));
    memcpy(block->data + block->size - sizeof(checksum), &checksum, sizeof(checksum));
}

static enum peat_status decode(const struct block *block, const struct pt_manifest *like,
                               struct pt_manifest *manifest_out)
{
    return pt_manifest_decode(pt_bytes(block->data, block->size), &like->store_id, like->generation,
                              manifest_out);
}

static void require_refused(const struct block *block, const struct pt_manifest *like)
{
    struct pt_manifest decoded;

    PT_REQUIRE_STATUS(decode(block, like, &decoded), PEAT_CORRUPT);
    pt_manifest_fini(&decoded);
}

static void require_same(const struct pt_manifest *a, const struct pt_manifest *b)
{
    PT_REQUIRE(memcmp(&a->store_id, &b->store_id, sizeof(a->store_id)) == 0);
    PT_REQUIRE(a->generation == b->generation);
    PT_REQUIRE(a->next_segment_id == b->next_segment_id);
    PT_REQUIRE(a->next_collection_id == b->next_collection_id);
    PT_REQUIRE(a->hash_seed == b->hash_seed);
    PT_REQUIRE(memcmp(&a->log, &b->log, sizeof(a->log)) == 0);
    PT_REQUIRE(a->segment_count == b->segment_count);
    for (size_t i = 0; i < a->segment_count; i++)
        PT_REQUIRE(memcmp(&a->segments[i], &b->segments[i], sizeof(a->segments[i])) == 0);
    PT_REQUIRE(a->run_count == b->run_count);
    for (size_t i = 0; i < a->run_count; i++)
        PT_REQUIRE(a->run_slice_counts[i] == b->run_slice_counts[i]);
    PT_REQUIRE(a->slice_count == b->slice_count);
    for (size_t i = 0; i < a->slice_count; i++) {
        PT_REQUIRE(a->slices[i].segment_index == b->slices[i].segment_index);
        PT_REQUIRE(pt_same(a->slices[i].low, b->slices[i].low));
        PT_REQUIRE(pt_same(a->slices[i].high, b->slices[i].high));
    }
    PT_REQUIRE(a->kept_count == b->kept_count);
    for (size_t i = 0; i < a->kept_count; i++) {
        PT_REQUIRE(a->kept[i].generation == b->kept[i].generation);
        PT_REQUIRE(a->kept[i].manifest_generation == b->kept[i].manifest_generation);
        PT_REQUIRE(a->kept[i].offset == b->kept[i].offset);
        PT_REQUIRE(a->kept[i].size == b->kept[i].size);
        PT_REQUIRE(a->kept[i].commit == b->kept[i].commit);
        PT_REQUIRE(a->kept[i].time_us == b->kept[i].time_us);
        PT_REQUIRE(a->kept[i].flags == b->kept[i].flags);
        PT_REQUIRE(pt_same(a->kept[i].name, b->kept[i].name));
    }
    PT_REQUIRE(a->held_count == b->held_count);
    for (size_t i = 0; i < a->held_count; i++) {
        PT_REQUIRE(a->held[i].has_start == b->held[i].has_start);
        PT_REQUIRE(memcmp(&a->held[i].start, &b->held[i].start, sizeof(a->held[i].start)) == 0);
    }
    PT_REQUIRE(a->role == b->role && a->met_epoch == b->met_epoch);
    for (size_t i = 0; i < a->lineage.count; i++)
        PT_REQUIRE(memcmp(&a->lineage.epochs[i], &b->lineage.epochs[i],
                          sizeof(a->lineage.epochs[i])) == 0);
    PT_REQUIRE(a->feed_count == b->feed_count);
    for (size_t i = 0; i < a->feed_count; i++) {
        PT_REQUIRE(a->feeds[i].acknowledged == b->feeds[i].acknowledged);
        PT_REQUIRE(a->feeds[i].has_seals == b->feeds[i].has_seals);
        PT_REQUIRE(a->feeds[i].is_lost == b->feeds[i].is_lost);
        PT_REQUIRE(pt_same(a->feeds[i].name, b->feeds[i].name));
    }
}

static void require_encodes_to(const struct pt_manifest *manifest, const struct block *block)
{
    struct block again = encode(manifest);

    PT_REQUIRE(again.size == block->size);
    PT_REQUIRE(memcmp(again.data, block->data, block->size) == 0);
    free(again.data);
}

static void a_manifest_comes_back_as_it_was(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct sample sample;
    struct pt_manifest decoded;
    (void)state;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct block block;

        sample_fill(&dice, &sample);
        block = encode(&sample.manifest);
        PT_REQUIRE_OK(decode(&block, &sample.manifest, &decoded));
        require_same(&sample.manifest, &decoded);
        require_encodes_to(&decoded, &block);
        pt_manifest_fini(&decoded);
        free(block.data);
    }
}

static void a_store_without_segments_has_a_manifest(void **state)
{
    struct pt_manifest manifest = {.generation = 1, .next_collection_id = 2};
    struct pt_manifest decoded;
    struct block block = encode(&manifest);
    (void)state;

    assert_int_equal(block.size, PT_MANIFEST_HEADER_SIZE + PT_CHECKSUM_SIZE);
    PT_REQUIRE_OK(decode(&block, &manifest, &decoded));
    require_same(&manifest, &decoded);
    pt_manifest_fini(&decoded);
    free(block.data);
}

static void what_knows_no_feeds_is_of_the_version_before_them(void **state)
{
    struct pt_manifest manifest = {.generation = 1, .next_collection_id = 2};
    struct pt_manifest_feed feed = {.acknowledged = 7, .name = pt_text("feed")};
    struct block plain = encode(&manifest);
    struct block block;
    (void)state;

    assert_int_equal(pt_le32_value(((struct pt_manifest_header *)plain.data)->version), 2);
    manifest.feeds = &feed;
    manifest.feed_count = 1;
    block = encode(&manifest);
    assert_int_equal(pt_le32_value(((struct pt_manifest_header *)block.data)->version), 3);
    assert_int_equal(block.size, plain.size + sizeof(struct pt_manifest_feed_header) +
                                     sizeof(struct pt_manifest_feed_row) + 4);
    free(block.data);
    free(plain.data);
}

static void what_is_of_one_epoch_and_no_role_is_of_a_version_before_them(void **state)
{
    struct pt_manifest manifest = {.generation = 1, .next_collection_id = 2};
    struct block plain = encode(&manifest);
    (void)state;

    pt_lineage_begin(&manifest.lineage, 0);
    require_encodes_to(&manifest, &plain);
    for (unsigned i = 0; i < 3; i++) {
        struct pt_manifest other = manifest;
        struct block block;

        other.lineage.epochs[0].chain[15] = i == 0;
        other.role = i == 1 ? PT_ROLE_FOLLOWER : 0;
        other.met_epoch = i == 2;
        block = encode(&other);
        assert_int_equal(pt_le32_value(((struct pt_manifest_header *)block.data)->version), 4);
        assert_int_equal(block.size, plain.size + sizeof(struct pt_manifest_feed_header) +
                                         sizeof(struct pt_manifest_role_header) +
                                         sizeof(struct pt_manifest_epoch_row));
        free(block.data);
    }
    free(plain.data);
}

static void every_flipped_byte_is_damage(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct sample sample;
    struct block block;
    (void)state;

    sample_fill(&dice, &sample);
    block = encode(&sample.manifest);
    for (size_t i = 0; i < block.size; i++) {
        uint8_t flip = (uint8_t)(1 + pt_dice_below(&dice, 255));

        pt_test_context("byte %zu", i);
        block.data[i] ^= flip;
        require_refused(&block, &sample.manifest);
        block.data[i] ^= flip;
    }
    pt_test_context("%s", "");
    free(block.data);
}

static void a_block_of_another_place_or_size_is_damage(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct sample sample;
    struct pt_manifest like;
    struct block block;
    struct block longer;
    (void)state;

    sample_fill(&dice, &sample);
    block = encode(&sample.manifest);
    like = sample.manifest;
    like.generation++;
    require_refused(&block, &like);
    seal(&block, &like); /* now only the header says which generation it is */
    require_refused(&block, &like);
    like = sample.manifest;
    like.store_id.bytes[3] ^= 1;
    require_refused(&block, &like);
    seal(&block, &like);
    require_refused(&block, &like);

    for (size_t size = 0; size < block.size; size++) {
        struct block cut = block_new(size);

        memcpy(cut.data, block.data, size);
        require_refused(&cut, &sample.manifest);
        if (size >= PT_CHECKSUM_SIZE) {
            seal(&cut, &sample.manifest);
            require_refused(&cut, &sample.manifest);
        }
        free(cut.data);
    }
    longer = block_new(block.size + 8);
    memset(longer.data, 0, longer.size);
    memcpy(longer.data, block.data, block.size);
    seal(&longer, &sample.manifest);
    require_refused(&longer, &sample.manifest);
    free(longer.data);
    free(block.data);
}

static void a_newer_version_is_told_from_damage(void **state)
{
    struct pt_manifest manifest = {.generation = 7};
    struct pt_manifest decoded;
    struct block block = encode(&manifest);
    struct pt_le32 version = pt_le32(PT_MANIFEST_VERSION + 1);
    (void)state;

    memcpy(block.data + offsetof(struct pt_manifest_header, version), &version, sizeof(version));
    require_refused(&block, &manifest);
    seal(&block, &manifest);
    PT_REQUIRE_STATUS(decode(&block, &manifest, &decoded), PEAT_VERSION);
    pt_manifest_fini(&decoded);
    free(block.data);
}

/* ---- Claims that are wrong behind a right checksum ---- */

/*
 * A small manifest to break: segments 3 and 5, 128 KiB each one behind the other, the log in front;
 * one run of two slices, ["a", "c") and ["c", "e"). Four kept states, one behind the other after the
 * segments: "x", one without a name, a damaged one "y", and its own, "z".
 */
static struct block plain_block(struct pt_manifest *manifest_out)
{
    static struct pt_manifest_segment segments[2];
    static size_t run_slice_counts[1] = {2};
    static struct pt_manifest_slice slices[2];
    static struct pt_manifest_kept kept[4];
    static const char *const names[] = {"x", "", "y", "z"};
    struct pt_manifest manifest = {.generation = 9, .next_segment_id = 6};

    for (unsigned i = 0; i < 2; i++) {
        segments[i].id = 3 + 2 * i;
        segments[i].extent.offset = 4 * PT_REGION_UNIT + i * 2 * PT_REGION_UNIT;
        segments[i].extent.size = 2 * PT_REGION_UNIT;
        segments[i].summary.size = PT_REGION_UNIT + 8;
        segments[i].summary.entry_count = 100;
        segments[i].summary.delete_count = 10;
        slices[i].segment_index = i;
    }
    slices[0].low = pt_text("a");
    slices[0].high = pt_text("c");
    slices[1].low = pt_text("c");
    slices[1].high = pt_text("e");
    manifest.log.region.offset = 2 * PT_REGION_UNIT;
    manifest.log.region.size = 2 * PT_REGION_UNIT;
    manifest.segments = segments;
    manifest.segment_count = 2;
    manifest.run_slice_counts = run_slice_counts;
    manifest.run_count = 1;
    manifest.slices = slices;
    manifest.slice_count = 2;
    for (unsigned i = 0; i < 4; i++) {
        kept[i] = (struct pt_manifest_kept){
            .generation = 2 * i + 2, .manifest_generation = 2 * i + 3, .name = pt_text(names[i])};
        if (i < 2) {
            kept[i].offset = (8 + i) * PT_REGION_UNIT;
            kept[i].size = PT_REGION_UNIT;
        }
    }
    kept[2].flags = PT_KEPT_DAMAGED;
    manifest.kept = kept;
    manifest.kept_count = 4;
    *manifest_out = manifest;
    return encode(&manifest);
}

#define HEADER(field) (offsetof(struct pt_manifest_header, field))
#define SEGMENT(i, field)                                                     \
    (PT_MANIFEST_HEADER_SIZE + (i) * sizeof(struct pt_manifest_segment_row) + \
     offsetof(struct pt_manifest_segment_row, field))
#define RUN_ROWS   (SEGMENT(2, id))
#define SLICE_ROWS (RUN_ROWS + sizeof(struct pt_manifest_run_row))
#define KEPT(i, field)                                       \
    (SLICE_ROWS + 2 * sizeof(struct pt_manifest_slice_row) + \
     (i) * sizeof(struct pt_manifest_kept_row) + offsetof(struct pt_manifest_kept_row, field))
#define KEYS  (KEPT(4, generation))
#define NAMES (KEYS + 4)

/* One number of the plain block replaced. */
struct lie {
    const char *what;
    size_t offset;
    uint64_t value;
    size_t size; /* bytes of the number: 1, 4 or 8 */
};

static const struct lie lies[] = {
    {"no generation", HEADER(generation), 0, 8},
    {"a kind that is none", HEADER(kind), 2, 4},
    {"version 0", HEADER(version), 0, 4},
    {"another magic", HEADER(magic), 1, 8},
    {"another size", HEADER(size), NAMES + 3 + 15, 8},
    {"next segment id in use", HEADER(next_segment_id), 5, 8},
    {"segment ids that run out", HEADER(next_segment_id), UINT64_MAX, 8},
    {"collection ids that run out", HEADER(next_collection_id), UINT64_MAX, 8},
    {"collection ids that soon run out", HEADER(next_collection_id), UINT64_C(1) << 63, 8},
    {"more segments than fit", HEADER(segment_count), 3, 8},
    {"segment count that overflows", HEADER(segment_count), UINT64_C(1) << 61, 8},
    {"fewer segments than there are", HEADER(segment_count), 1, 8},
    {"more runs than fit", HEADER(run_count), UINT64_MAX, 8},
    {"more slices than fit", HEADER(slice_count), UINT64_C(1) << 60, 8},
    {"more key bytes than fit", HEADER(key_size), UINT64_MAX - 100, 8},
    {"log region misaligned", HEADER(log.region_offset), 4096, 8},
    {"log region over a superblock", HEADER(log.region_offset), 0, 8},
    {"log region over a segment", HEADER(log.region_offset), 3 * PT_REGION_UNIT, 8},
    {"log region past all files", HEADER(log.region_size), UINT64_C(1) << 63, 8},
    {"log begins behind its region", HEADER(log.offset), 2 * PT_REGION_UNIT + 1, 8},
    {"one segment twice", SEGMENT(1, id), 3, 8},
    {"segments out of order", SEGMENT(1, id), 2, 8},
    {"segment id not given yet", SEGMENT(1, id), 6, 8},
    {"extent misaligned", SEGMENT(0, extent_offset), 4 * PT_REGION_UNIT + 8, 8},
    {"extent over a superblock", SEGMENT(0, extent_offset), 0, 8},
    {"extent over another", SEGMENT(0, extent_offset), 5 * PT_REGION_UNIT, 8},
    {"the same extent", SEGMENT(0, extent_offset), 6 * PT_REGION_UNIT, 8},
    {"extent past all files", SEGMENT(1, extent_offset), UINT64_MAX - PT_REGION_UNIT + 1, 8},
    {"empty extent", SEGMENT(0, extent_size), 0, 8},
    {"extent size misaligned", SEGMENT(0, extent_size), PT_REGION_UNIT + 4096, 8},
    {"extent size past all files", SEGMENT(1, extent_size), UINT64_MAX - PT_REGION_UNIT + 1, 8},
    {"empty segment", SEGMENT(0, size), 0, 8},
    {"segment larger than its extent", SEGMENT(0, size), 2 * PT_REGION_UNIT + 1, 8},
    {"no entries", SEGMENT(0, entry_count), 0, 8},
    {"more entries than bytes", SEGMENT(0, entry_count), PT_REGION_UNIT + 9, 8},
    {"more deletes than entries", SEGMENT(0, delete_count), 101, 8},
    {"more ranges than bytes", SEGMENT(0, range_count), UINT64_MAX - 99, 8},
    {"run without slices", RUN_ROWS, 0, 8},
    {"slice in no run", RUN_ROWS, 1, 8},
    {"run with more slices than there are", RUN_ROWS, 3, 8},
    {"slice of no segment", SLICE_ROWS, 2, 8},
    {"segment without slice", SLICE_ROWS, 1, 8},
    {"key longer than the keys", SLICE_ROWS + 8, 5, 4},
    {"key shorter than the keys", SLICE_ROWS + 16 + 12, 0, 4},
    {"low is high", KEYS, 'c', 1},
    {"low above high", KEYS, 'd', 1},
    {"slices overlap", KEYS + 1, 'd', 1},
    {"more kept states than fit", HEADER(kept_count), UINT64_C(1) << 60, 8},
    {"fewer kept states than there are", HEADER(kept_count), 3, 8},
    {"more bytes of names than fit", HEADER(name_size), UINT64_MAX - 100, 8},
    {"kept state of no generation", KEPT(0, generation), 0, 8},
    {"kept state newer than its manifest", KEPT(0, generation), 4, 8},
    {"kept states out of order", KEPT(1, generation), 2, 8},
    {"kept manifests out of order", KEPT(0, manifest_generation), 5, 8},
    {"kept manifest of the future", KEPT(3, manifest_generation), 10, 8},
    {"kept manifest misaligned", KEPT(0, offset), 8 * PT_REGION_UNIT + 8, 8},
    {"kept manifest over a superblock", KEPT(0, offset), 0, 8},
    {"kept manifest over a segment", KEPT(0, offset), 7 * PT_REGION_UNIT, 8},
    {"kept manifest over another", KEPT(1, offset), 8 * PT_REGION_UNIT, 8},
    {"kept manifest over the next", KEPT(0, size), PT_REGION_UNIT + 1, 8},
    {"kept manifest without bytes", KEPT(0, size), 0, 8},
    {"kept manifest past all files", KEPT(0, size), UINT64_MAX, 8},
    {"damaged state with a place", KEPT(2, offset), 12 * PT_REGION_UNIT, 8},
    {"own state with a place", KEPT(3, size), 100, 8},
    {"own state damaged", KEPT(3, flags), PT_KEPT_DAMAGED, 4},
    {"damaged state sound again without a place", KEPT(2, flags), 0, 4},
    {"unknown flag", KEPT(0, flags), 4, 4},
    {"name longer than the names", KEPT(0, name_size), 4, 4},
    {"name shorter than the names", KEPT(0, name_size), 0, 4},
    {"two of one name", NAMES, 'z', 1},
    {"name with a NUL", NAMES + 1, 0, 1},
};

/* @p plain is valid, and with each of @p count lies it is not. */
static void require_lies_refused(const struct block *plain, const struct pt_manifest *manifest,
                                 const struct lie *list, size_t count)
{
    struct pt_manifest decoded;

    PT_REQUIRE_OK(decode(plain, manifest, &decoded));
    pt_manifest_fini(&decoded);
    for (size_t i = 0; i < count; i++) {
        struct block block = block_new(plain->size);
        struct pt_le64 value = pt_le64(list[i].value);

        pt_test_context("%s", list[i].what);
        memcpy(block.data, plain->data, plain->size);
        memcpy(block.data + list[i].offset, value.bytes, list[i].size);
        PT_REQUIRE(memcmp(block.data, plain->data, plain->size) != 0);
        seal(&block, manifest);
        require_refused(&block, manifest);
        free(block.data);
    }
    pt_test_context("%s", "");
}

static void a_false_claim_behind_a_right_checksum_is_damage(void **state)
{
    struct pt_manifest manifest;
    struct block plain = plain_block(&manifest);
    (void)state;

    PT_REQUIRE(NAMES + 3 + PT_CHECKSUM_SIZE == plain.size);
    require_lies_refused(&plain, &manifest, lies, sizeof(lies) / sizeof(lies[0]));
    free(plain.data);
}

#define FEED_HEADER(field) \
    (PT_MANIFEST_HEADER_SIZE + offsetof(struct pt_manifest_feed_header, field))
#define FEED_ROWS (PT_MANIFEST_HEADER_SIZE + sizeof(struct pt_manifest_feed_header))
#define HELD(i, field) \
    (FEED_ROWS + (i) * sizeof(struct pt_manifest_log) + offsetof(struct pt_manifest_log, field))
#define FEED(i, field)                                                    \
    (HELD(4, region_offset) + (i) * sizeof(struct pt_manifest_feed_row) + \
     offsetof(struct pt_manifest_feed_row, field))
#define FEED_NAMES (FEED(2, acknowledged))

static const struct lie feed_lies[] = {
    {"a version without feeds", HEADER(version), 2, 4},
    {"a version with epochs", HEADER(version), 4, 4},
    {"more held rows than fit", FEED_HEADER(held_count), UINT64_C(1) << 60, 8},
    {"fewer held rows than there are", FEED_HEADER(held_count), 3, 8},
    {"more feeds than fit", FEED_HEADER(feed_count), UINT64_C(1) << 62, 8},
    {"more bytes of names of feeds than fit", FEED_HEADER(feed_name_size), UINT64_MAX - 50, 8},
    {"held region misaligned", HELD(0, region_offset), 4 * PT_REGION_UNIT + 8, 8},
    {"held region over a superblock", HELD(0, region_offset), 0, 8},
    {"held region without bytes", HELD(0, region_size), 0, 8},
    {"held region over the next", HELD(0, region_size), 2 * PT_REGION_UNIT, 8},
    {"held region over the log's", HELD(1, region_offset), 2 * PT_REGION_UNIT, 8},
    {"held region past all files", HELD(1, region_size), UINT64_C(1) << 63, 8},
    {"the first without a place to read from", HELD(0, offset), 0, 8},
    {"a place in a link block", HELD(0, offset), 8, 8},
    {"a place that is none", HELD(0, offset), 4097, 8},
    {"a place behind the records", HELD(0, offset), PT_REGION_UNIT - 4088, 8},
    {"commits that descend", HELD(2, commit), 9, 8},
    {"positions that descend", HELD(2, position), 999, 8},
    {"a commit beyond the log's", HELD(3, commit), 31, 8},
    {"a position beyond the log's", HELD(3, position), 4001, 8},
    {"an epoch beyond the log's", HELD(2, epoch), 2, 8},
    {"the middle of a payload with a commit", HELD(1, commit), 12, 8},
    {"the middle of a payload with a chain", HELD(1, chain), 1, 8},
    {"the log's region under another nonce", HELD(3, nonce), 1, 8},
    {"log commits that run out", HEADER(log.commit), UINT64_C(1) << 63, 8},
    {"log positions that run out", HEADER(log.position), UINT64_MAX, 8},
    {"log epochs that run out", HEADER(log.epoch), UINT64_MAX, 8},
    {"a log without bytes, where a held region is", HEADER(log.region_size), 0, 8},
    {"feed name longer than the names", FEED(1, name_size), 4, 4},
    {"feed name shorter than the names", FEED(1, name_size), 1, 4},
    {"feed without a name", FEED(0, name_size), 0, 4},
    {"unknown flag of a feed", FEED(0, flags), 4, 4},
    {"two feeds of one name", FEED_NAMES, 'b', 1},
    {"feeds out of order", FEED_NAMES, 'c', 1},
    {"feed name with a NUL", FEED_NAMES + 1, 0, 1},
};

/* Three held regions and the log's own, the second entered in the middle of a payload; two feeds. */
static void a_false_claim_about_feeds_is_damage(void **state)
{
    struct pt_log_piece held[4];
    struct pt_manifest_feed feeds[] = {{.acknowledged = 5, .name = pt_text("ac")},
                                       {.acknowledged = 6, .name = pt_text("bc")}};
    struct pt_manifest manifest = {.generation = 9, .held = held, .held_count = 4};
    struct block plain;
    (void)state;

    memset(held, 0, sizeof(held));
    manifest.feeds = feeds;
    manifest.feed_count = 2;
    manifest.log = (struct pt_log_point){.region = {2 * PT_REGION_UNIT, 2 * PT_REGION_UNIT},
                                         .offset = 8192,
                                         .epoch = 1,
                                         .commit = 30,
                                         .position = 4000};
    for (unsigned i = 0; i < 4; i++) {
        struct pt_log_point *start = &held[i].start;

        held[i].has_start = i != 1;
        start->region = (struct pt_extent){(4 + i) * PT_REGION_UNIT, PT_REGION_UNIT};
        if (held[i].has_start)
            *start = (struct pt_log_point){.region = start->region,
                                           .offset = 4096,
                                           .epoch = 1,
                                           .commit = 10 + i,
                                           .position = 1000 * (i + 1)};
    }
    held[3].start.region = manifest.log.region;
    plain = encode(&manifest);
    PT_REQUIRE(FEED_NAMES + 4 + PT_CHECKSUM_SIZE == plain.size);
    require_lies_refused(&plain, &manifest, feed_lies, sizeof(feed_lies) / sizeof(feed_lies[0]));
    free(plain.data);
}

#define ROLE_HEADER(field)                                              \
    (PT_MANIFEST_HEADER_SIZE + sizeof(struct pt_manifest_feed_header) + \
     offsetof(struct pt_manifest_role_header, field))
#define EPOCH(i, field)                                                                    \
    (PT_MANIFEST_HEADER_SIZE + sizeof(struct pt_manifest_feed_header) +                    \
     sizeof(struct pt_manifest_role_header) + (i) * sizeof(struct pt_manifest_epoch_row) + \
     offsetof(struct pt_manifest_epoch_row, field))

static const struct lie epoch_lies[] = {
    {"a version without epochs", HEADER(version), 3, 4},
    {"a version without feeds", HEADER(version), 2, 4},
    {"no epochs", ROLE_HEADER(epoch_count), 0, 8},
    {"fewer epochs than there are", ROLE_HEADER(epoch_count), 2, 8},
    {"more epochs than fit", ROLE_HEADER(epoch_count), 4, 8},
    {"more epochs than there may be", ROLE_HEADER(epoch_count), PEAT_EPOCHS_MAX + 1, 8},
    {"epochs whose bytes overflow", ROLE_HEADER(epoch_count), UINT64_C(1) << 61, 8},
    {"a role that is none", ROLE_HEADER(role), 4, 8},
    {"a role above all", ROLE_HEADER(role), UINT64_C(1) << 32, 8},
    {"two roles", ROLE_HEADER(role), PT_ROLES, 8},
    {"fenced by no newer epoch", ROLE_HEADER(met_epoch), 5, 8},
    {"fenced by an epoch that no number is above", ROLE_HEADER(met_epoch), UINT64_C(1) << 63, 8},
    {"no first commit", EPOCH(0, first_commit), 0, 8},
    {"first commits that descend", EPOCH(1, first_commit), 1, 8},
    {"a first commit beyond the next one's", EPOCH(1, first_commit), 21, 8},
    {"a first commit beyond the log's next", EPOCH(2, first_commit), 32, 8},
    {"one epoch twice", EPOCH(1, epoch), 1, 8},
    {"epochs that descend", EPOCH(1, epoch), 6, 8},
    {"an epoch beyond the log's", EPOCH(2, epoch), 6, 8},
    {"another epoch than the log's", HEADER(log.epoch), 6, 8},
    {"two epochs at one position", EPOCH(1, position), 100, 8},
    {"positions that descend", EPOCH(1, position), 3001, 8},
    {"a position beyond the log's", EPOCH(2, position), 4001, 8},
};

static void a_false_claim_about_epochs_is_damage(void **state)
{
    struct pt_manifest manifest = {.generation = 9, .role = PT_ROLE_FENCED, .met_epoch = 7};
    struct block plain;
    (void)state;

    manifest.log = (struct pt_log_point){.epoch = 5, .commit = 30, .position = 4000};
    manifest.lineage.epochs[0] =
        (struct peat_epoch){.epoch = 1, .first_commit = 2, .position = 100, .chain = "a"};
    manifest.lineage.epochs[1] =
        (struct peat_epoch){.epoch = 3, .first_commit = 20, .position = 2000, .chain = "b"};
    manifest.lineage.epochs[2] =
        (struct peat_epoch){.epoch = 5, .first_commit = 20, .position = 3000, .chain = "c"};
    manifest.lineage.count = 3;
    plain = encode(&manifest);
    PT_REQUIRE(EPOCH(3, epoch) + PT_CHECKSUM_SIZE == plain.size);
    require_lies_refused(&plain, &manifest, epoch_lies, sizeof(epoch_lies) / sizeof(epoch_lies[0]));
    free(plain.data);
}

/* Numbers near those that matter, in a random place of what is sealed. */
static void spoil(struct pt_dice *dice, struct block *block, size_t header_from)
{
    size_t end = block->size - PT_CHECKSUM_SIZE;
    unsigned changes = 1 + (unsigned)pt_dice_below(dice, 3);

    for (unsigned i = 0; i < changes; i++) {
        size_t offset = header_from + (size_t)pt_dice_below(dice, end - header_from);

        if (pt_dice_one_in(dice, 2)) {
            block->data[offset] = (uint8_t)pt_dice_next(dice);
        } else {
            struct pt_le64 value = pt_le64(pt_dice_below(dice, 4) - pt_dice_below(dice, 2));

            offset &= ~(size_t)7;
            memcpy(block->data + offset, &value, end - offset < 8 ? end - offset : 8);
        }
    }
}

static void sealed_nonsense_is_refused_or_means_what_it_says(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    unsigned accepted = 0;
    (void)state;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct sample sample;
        struct block block;

        sample_fill(&dice, &sample);
        block = encode(&sample.manifest);
        for (unsigned k = 0; k < 20; k++) {
            struct block spoilt = block_new(block.size);
            struct pt_manifest decoded;
            enum peat_status status;

            memcpy(spoilt.data, block.data, block.size);
            spoil(&dice, &spoilt, pt_dice_one_in(&dice, 2) ? 0 : HEADER(next_segment_id));
            seal(&spoilt, &sample.manifest);
            status = decode(&spoilt, &sample.manifest, &decoded);
            if (status == PEAT_OK) {
                accepted++;
                require_encodes_to(&decoded, &spoilt);
            } else {
                PT_REQUIRE(status == PEAT_CORRUPT || status == PEAT_VERSION);
            }
            pt_manifest_fini(&decoded);
            free(spoilt.data);
        }
        free(block.data);
    }
    PT_REQUIRE(accepted > 0); /* digests and times are free: the test reaches both sides */
}

static void sealed_noise_is_refused(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_manifest like = {.generation = 3};
    (void)state;

    for (unsigned i = 0; i < 4 * ROUNDS; i++) {
        struct block block = block_new(PT_CHECKSUM_SIZE + (size_t)pt_dice_below(&dice, 600));

        pt_value_fill(pt_dice_next(&dice), block.data, block.size);
        seal(&block, &like);
        require_refused(&block, &like);
        free(block.data);
    }
}

/* ---- Memory, and runs ---- */

static unsigned allocations_left;

static bool allow_some(size_t size)
{
    (void)size;
    return allocations_left > 0 && allocations_left-- > 0;
}

static void without_memory_decoding_fails_and_leaks_nothing(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct sample sample;
    struct pt_manifest decoded;
    struct block block;
    enum peat_status status = PEAT_NO_MEMORY;
    (void)state;

    sample_fill(&dice, &sample);
    block = encode(&sample.manifest);
    for (unsigned i = 0; status == PEAT_NO_MEMORY; i++) {
        allocations_left = i;
        pt_alloc_set_hook(allow_some);
        status = decode(&block, &sample.manifest, &decoded);
        pt_alloc_set_hook(NULL);
        PT_REQUIRE(i < 100);
        if (i == 0)
            PT_REQUIRE_STATUS(status, PEAT_NO_MEMORY);
        pt_manifest_fini(&decoded);
    }
    PT_REQUIRE_OK(status);
    free(block.data);
}

/* A run made by hand: what describing reads of it. */
static struct pt_run *run_of(struct pt_held_segment *const *helds, const char *const *keys,
                             size_t slice_count)
{
    struct pt_run *run = calloc(1, sizeof(*run) + slice_count * sizeof(run->slices[0]));

    PT_REQUIRE(run != NULL);
    run->slice_count = slice_count;
    for (size_t i = 0; i < slice_count; i++) {
        run->slices[i].held = helds[i];
        run->slices[i].low = pt_text(keys[2 * i]);
        run->slices[i].high = pt_text(keys[2 * i + 1]);
    }
    return run;
}

static void held_fill(struct pt_held_segment *held, uint64_t id, uint64_t place)
{
    memset(held, 0, sizeof(*held));
    held->id = id;
    held->extent.offset = place * PT_REGION_UNIT;
    held->extent.size = PT_REGION_UNIT;
    held->summary.size = 1000 + id;
    held->summary.entry_count = id;
}

static void runs_are_described_with_each_segment_once(void **state)
{
    struct pt_held_segment helds[3];
    struct pt_held_segment *const upper[] = {&helds[2], &helds[0], &helds[2]};
    struct pt_held_segment *const lower[] = {&helds[1], &helds[0]};
    const char *const upper_keys[] = {"a", "b", "c", "d", "d", "f"};
    const char *const lower_keys[] = {"a", "k", "k", "z"};
    struct pt_run *runs[2];
    struct pt_manifest manifest = {.generation = 4, .next_segment_id = 100, .hash_seed = 5};
    struct pt_manifest decoded;
    struct block block;
    (void)state;

    held_fill(&helds[0], 30, 9);
    held_fill(&helds[1], 20, 4);
    held_fill(&helds[2], 10, 6);
    runs[0] = run_of(upper, upper_keys, 3);
    runs[1] = run_of(lower, lower_keys, 2);
    PT_REQUIRE_OK(pt_manifest_describe(runs, 2, &manifest));
    assert_int_equal(manifest.generation, 4);
    assert_int_equal(manifest.hash_seed, 5);
    assert_int_equal(manifest.segment_count, 3);
    assert_int_equal(manifest.segments[0].id, 10);
    assert_int_equal(manifest.segments[1].id, 20);
    assert_int_equal(manifest.segments[2].id, 30);
    assert_int_equal(manifest.segments[2].extent.offset, 9 * PT_REGION_UNIT);
    assert_int_equal(manifest.segments[2].summary.size, 1030);
    assert_int_equal(manifest.run_count, 2);
    assert_int_equal(manifest.run_slice_counts[0], 3);
    assert_int_equal(manifest.run_slice_counts[1], 2);
    assert_int_equal(manifest.slices[0].segment_index, 0);
    assert_int_equal(manifest.slices[1].segment_index, 2);
    assert_int_equal(manifest.slices[2].segment_index, 0);
    assert_int_equal(manifest.slices[3].segment_index, 1);
    assert_int_equal(manifest.slices[4].segment_index, 2);
    assert_true(pt_same(manifest.slices[4].high, pt_text("z")));

    block = encode(&manifest);
    PT_REQUIRE_OK(decode(&block, &manifest, &decoded));
    require_same(&manifest, &decoded);
    pt_manifest_fini(&decoded);
    free(block.data);
    pt_manifest_fini(&manifest);
    free(runs[0]);
    free(runs[1]);
}

static void no_runs_are_described_as_none(void **state)
{
    struct pt_manifest manifest = {.generation = 1};
    (void)state;

    PT_REQUIRE_OK(pt_manifest_describe(NULL, 0, &manifest));
    assert_int_equal(manifest.segment_count, 0);
    assert_int_equal(manifest.run_count, 0);
    assert_int_equal(manifest.slice_count, 0);
    pt_manifest_fini(&manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_comes_back_as_it_was),
        cmocka_unit_test(a_store_without_segments_has_a_manifest),
        cmocka_unit_test(what_knows_no_feeds_is_of_the_version_before_them),
        cmocka_unit_test(what_is_of_one_epoch_and_no_role_is_of_a_version_before_them),
        cmocka_unit_test(every_flipped_byte_is_damage),
        cmocka_unit_test(a_block_of_another_place_or_size_is_damage),
        cmocka_unit_test(a_newer_version_is_told_from_damage),
        cmocka_unit_test(a_false_claim_behind_a_right_checksum_is_damage),
        cmocka_unit_test(a_false_claim_about_feeds_is_damage),
        cmocka_unit_test(a_false_claim_about_epochs_is_damage),
        cmocka_unit_test(sealed_nonsense_is_refused_or_means_what_it_says),
        cmocka_unit_test(sealed_noise_is_refused),
        cmocka_unit_test(without_memory_decoding_fails_and_leaks_nothing),
        cmocka_unit_test(runs_are_described_with_each_segment_once),
        cmocka_unit_test(no_runs_are_described_as_none),
    };
    int failed;

    pt_test_start();
    PT_REQUIRE_OK(pt_checksum_start());
    failed = cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

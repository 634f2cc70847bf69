#include "core/db/manifest.h"

#include "core/base/alloc.h"
#include "core/db/collection_id.h"
#include "wal/log_format.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- Sizes ---- */

/* Where the parts of a block begin, in bytes. */
struct layout {
    uint64_t roles; /* the role header; where the segments are, if there is none */
    uint64_t segments;
    uint64_t runs;
    uint64_t slices;
    uint64_t kept;
    uint64_t held;
    uint64_t feeds;
    uint64_t keys;
    uint64_t names;
    uint64_t feed_names;
    uint64_t checksum;
    uint64_t size; /* of the block */
};

/* How much there is of each. The counts are bounded by memory or by a block's size: nothing
 * overflows. */
struct counts {
    uint64_t segments;
    uint64_t runs;
    uint64_t slices;
    uint64_t kept;
    uint64_t held;
    uint64_t feeds;
    uint64_t key_size;       /* bytes */
    uint64_t name_size;      /* bytes */
    uint64_t feed_name_size; /* bytes */
    uint64_t epochs;         /* 0: there is no role header */
};

/* The version that it takes. */
static uint32_t counts_version(const struct counts *counts)
{
    if (counts->epochs > 0)
        return PT_MANIFEST_VERSION;
    return counts->held > 0 || counts->feeds > 0 ? PT_MANIFEST_VERSION_FEEDS
                                                 : PT_MANIFEST_VERSION_PLAIN;
}

static struct layout layout_of(const struct counts *counts)
{
    struct layout layout;

    layout.roles = PT_MANIFEST_HEADER_SIZE;
    if (counts_version(counts) >= PT_MANIFEST_VERSION_FEEDS)
        layout.roles += sizeof(struct pt_manifest_feed_header);
    layout.segments = layout.roles;
    if (counts_version(counts) >= PT_MANIFEST_VERSION)
        layout.segments += sizeof(struct pt_manifest_role_header) +
                           counts->epochs * sizeof(struct pt_manifest_epoch_row);
    layout.runs = layout.segments + counts->segments * sizeof(struct pt_manifest_segment_row);
    layout.slices = layout.runs + counts->runs * sizeof(struct pt_manifest_run_row);
    layout.kept = layout.slices + counts->slices * sizeof(struct pt_manifest_slice_row);
    layout.held = layout.kept + counts->kept * sizeof(struct pt_manifest_kept_row);
    layout.feeds = layout.held + counts->held * sizeof(struct pt_manifest_log);
    layout.keys = layout.feeds + counts->feeds * sizeof(struct pt_manifest_feed_row);
    layout.names = layout.keys + counts->key_size;
    layout.feed_names = layout.names + counts->name_size;
    layout.checksum = layout.feed_names + counts->feed_name_size;
    layout.size = layout.checksum + PT_CHECKSUM_SIZE;
    return layout;
}

/* Epoch rows that it takes; 0: it has nothing to say of epochs and roles. */
static size_t epoch_row_count(const struct pt_manifest *manifest)
{
    if (pt_lineage_is_plain(&manifest->lineage) && manifest->role == 0 && manifest->met_epoch == 0)
        return 0;
    return manifest->lineage.count == 0 ? 1 : manifest->lineage.count;
}

static struct layout manifest_layout(const struct pt_manifest *manifest)
{
    struct counts counts = {.segments = manifest->segment_count,
                            .runs = manifest->run_count,
                            .slices = manifest->slice_count,
                            .kept = manifest->kept_count,
                            .held = manifest->held_count,
                            .feeds = manifest->feed_count,
                            .epochs = epoch_row_count(manifest)};

    for (size_t i = 0; i < manifest->slice_count; i++)
        counts.key_size += manifest->slices[i].low.size + manifest->slices[i].high.size;
    for (size_t i = 0; i < manifest->kept_count; i++)
        counts.name_size += manifest->kept[i].name.size;
    for (size_t i = 0; i < manifest->feed_count; i++)
        counts.feed_name_size += manifest->feeds[i].name.size;
    return layout_of(&counts);
}

uint64_t pt_manifest_size(const struct pt_manifest *manifest)
{
    return manifest_layout(manifest).size;
}

struct pt_extent pt_manifest_extent(uint64_t offset, uint64_t size)
{
    struct pt_extent extent = {offset, pt_round_up(size, PT_REGION_UNIT)};

    return extent;
}

static struct pt_checksum block_checksum(const struct pt_id *store_id, uint64_t generation,
                                         const uint8_t *block, uint64_t size)
{
    struct pt_key key = pt_key_derive(store_id, PT_KEY_MANIFEST, generation, 0);

    return pt_checksum(&key, block, size);
}

/* Rule 2 of manifest_format.h, for one extent. */
static bool extent_is_valid(struct pt_extent extent)
{
    return extent.offset >= PT_ARENA_START && extent.offset % PT_REGION_UNIT == 0 &&
           extent.size > 0 && extent.size % PT_REGION_UNIT == 0 &&
           extent.size <= INT64_MAX - PT_REGION_UNIT &&
           extent.offset <= (uint64_t)INT64_MAX - extent.size;
}

/* ---- Encoding ---- */

static struct pt_manifest_log log_encode(const struct pt_log_point *log)
{
    struct pt_manifest_log stored = {
        .region_offset = pt_le64(log->region.offset),
        .region_size = pt_le64(log->region.size),
        .nonce = log->nonce,
        .offset = pt_le64(log->offset),
        .epoch = pt_le64(log->epoch),
        .commit = pt_le64(log->commit),
        .time_us = pt_le64(log->time_us),
        .position = pt_le64(log->position),
        .chain = log->chain,
    };

    return stored;
}

static void header_encode(const struct pt_manifest *manifest, const struct layout *layout,
                          uint8_t *place)
{
    bool has_feeds = layout->roles > PT_MANIFEST_HEADER_SIZE;
    bool has_roles = layout->segments > layout->roles;
    struct pt_manifest_feed_header feed_header = {
        .held_count = pt_le64(manifest->held_count),
        .feed_count = pt_le64(manifest->feed_count),
        .feed_name_size = pt_le64(layout->checksum - layout->feed_names),
    };
    struct pt_manifest_header header = {
        .magic = pt_le64(PT_MANIFEST_MAGIC),
        .version = pt_le32(has_roles   ? PT_MANIFEST_VERSION
                           : has_feeds ? PT_MANIFEST_VERSION_FEEDS
                                       : PT_MANIFEST_VERSION_PLAIN),
        .kind = pt_le32((uint32_t)manifest->kind),
        .size = pt_le64(layout->size),
        .store_id = manifest->store_id,
        .generation = pt_le64(manifest->generation),
        .next_segment_id = pt_le64(manifest->next_segment_id),
        .next_collection_id = pt_le64(manifest->next_collection_id),
        .hash_seed = pt_le64(manifest->hash_seed),
        .log = log_encode(&manifest->log),
        .segment_count = pt_le64(manifest->segment_count),
        .run_count = pt_le64(manifest->run_count),
        .slice_count = pt_le64(manifest->slice_count),
        .key_size = pt_le64(layout->names - layout->keys),
        .kept_count = pt_le64(manifest->kept_count),
        .name_size = pt_le64(layout->feed_names - layout->names),
    };

    PT_ASSERT(manifest->generation > 0 && manifest->next_collection_id <= PT_COLLECTION_ID_MAX);
    memcpy(place, &header, sizeof(header));
    if (has_feeds)
        memcpy(place + sizeof(header), &feed_header, sizeof(feed_header));
}

/* Rule 7, but for the epochs. */
static bool role_is_valid(const struct pt_manifest *manifest)
{
    return (manifest->role & ~(unsigned)PT_ROLES) == 0 && manifest->role != PT_ROLES &&
           manifest->met_epoch <= INT64_MAX &&
           (manifest->role != PT_ROLE_FENCED || manifest->met_epoch > manifest->log.epoch);
}

/* The role header and the epochs; of an empty lineage one from the beginning on. */
static void roles_encode(const struct pt_manifest *manifest, uint8_t *place)
{
    struct pt_lineage lineage = manifest->lineage;
    struct pt_manifest_role_header header = {.role = pt_le64(manifest->role),
                                             .met_epoch = pt_le64(manifest->met_epoch)};

    if (lineage.count == 0)
        pt_lineage_begin(&lineage, manifest->log.epoch);
    PT_ASSERT(pt_lineage_is_valid(&lineage, &manifest->log) && role_is_valid(manifest));
    header.epoch_count = pt_le64(lineage.count);
    memcpy(place, &header, sizeof(header));
    place += sizeof(header);
    for (size_t i = 0; i < lineage.count; i++) {
        const struct peat_epoch *epoch = &lineage.epochs[i];
        struct pt_manifest_epoch_row row = {.epoch = pt_le64(epoch->epoch),
                                            .first_commit = pt_le64(epoch->first_commit),
                                            .position = pt_le64(epoch->position)};

        memcpy(row.chain.bytes, epoch->chain, sizeof(row.chain));
        memcpy(place + i * sizeof(row), &row, sizeof(row));
    }
}

static void segments_encode(const struct pt_manifest *manifest, uint8_t *place)
{
    for (size_t i = 0; i < manifest->segment_count; i++) {
        const struct pt_manifest_segment *segment = &manifest->segments[i];
        struct pt_manifest_segment_row row = {
            .id = pt_le64(segment->id),
            .extent_offset = pt_le64(segment->extent.offset),
            .extent_size = pt_le64(segment->extent.size),
            .size = pt_le64(segment->summary.size),
            .entry_count = pt_le64(segment->summary.entry_count),
            .delete_count = pt_le64(segment->summary.delete_count),
            .range_count = pt_le64(segment->summary.range_count),
            .digest = segment->summary.digest,
        };

        PT_ASSERT(segment->id < manifest->next_segment_id);
        if (i > 0)
            PT_ASSERT(segment->id > segment[-1].id);
        PT_ASSERT(extent_is_valid(segment->extent));
        PT_ASSERT(segment->summary.size > 0 && segment->summary.size <= segment->extent.size);
        memcpy(place, &row, sizeof(row));
        place += sizeof(row);
    }
}

static uint8_t *key_encode(struct peat_bytes key, uint8_t *place)
{
    if (key.size > 0)
        memcpy(place, key.data, key.size);
    return place + key.size;
}

static void slices_encode(const struct pt_manifest *manifest, uint8_t *runs, uint8_t *slices,
                          uint8_t *keys)
{
    size_t number_in_all = 0;

    for (size_t i = 0; i < manifest->run_count; i++) {
        size_t count = manifest->run_slice_counts[i];
        struct pt_manifest_run_row run = {pt_le64(count)};

        PT_ASSERT(count > 0 && count <= manifest->slice_count - number_in_all);
        memcpy(runs + i * sizeof(run), &run, sizeof(run));
        for (size_t k = 0; k < count; k++) {
            const struct pt_manifest_slice *slice = &manifest->slices[number_in_all++];
            struct pt_manifest_slice_row row = {pt_le64(slice->segment_index),
                                                pt_le32(pt_u32(slice->low.size)),
                                                pt_le32(pt_u32(slice->high.size))};

            PT_ASSERT(slice->segment_index < manifest->segment_count);
            PT_ASSERT(pt_bytes_compare(slice->low, slice->high) < 0);
            if (k > 0)
                PT_ASSERT(pt_bytes_compare(slice[-1].high, slice->low) <= 0);
            memcpy(slices, &row, sizeof(row));
            slices += sizeof(row);
            keys = key_encode(slice->high, key_encode(slice->low, keys));
        }
    }
    PT_ASSERT(number_in_all == manifest->slice_count);
}

/* Rule 4: whether the row of that kind has a place. */
static bool kept_has_place(const struct pt_manifest *manifest, const struct pt_manifest_kept *kept)
{
    return kept->manifest_generation != manifest->generation &&
           (kept->flags & PT_KEPT_DAMAGED) == 0;
}

static void kept_encode(const struct pt_manifest *manifest, uint8_t *rows, uint8_t *names)
{
    for (size_t i = 0; i < manifest->kept_count; i++) {
        const struct pt_manifest_kept *kept = &manifest->kept[i];
        bool has_place = kept_has_place(manifest, kept);
        struct pt_manifest_kept_row row = {
            .generation = pt_le64(kept->generation),
            .manifest_generation = pt_le64(kept->manifest_generation),
            .offset = pt_le64(has_place ? kept->offset : 0),
            .size = pt_le64(has_place ? kept->size : 0),
            .commit = pt_le64(kept->commit),
            .time_us = pt_le64(kept->time_us),
            .name_size = pt_le32(pt_u32(kept->name.size)),
            .flags = pt_le32(kept->flags),
        };

        PT_ASSERT(kept->name.size <= PEAT_NAME_SIZE_MAX &&
                  (kept->flags & ~(unsigned)PT_KEPT_FLAGS) == 0);
        PT_ASSERT(kept->generation <= kept->manifest_generation);
        PT_ASSERT(kept->manifest_generation <= manifest->generation);
        if (i > 0)
            PT_ASSERT(kept->generation > kept[-1].generation &&
                      kept->manifest_generation > kept[-1].manifest_generation);
        if (has_place)
            PT_ASSERT(extent_is_valid(pt_manifest_extent(kept->offset, kept->size)));
        memcpy(rows + i * sizeof(row), &row, sizeof(row));
        names = key_encode(kept->name, names);
    }
}

/* Rule 5, for one row that is a place to read from, where *before is the last such place. */
static bool held_start_is_valid(const struct pt_manifest *manifest,
                                const struct pt_log_point *start, const struct pt_log_point *before)
{
    const struct pt_log_point *log = &manifest->log;

    return start->offset % PT_LOG_RECORD_ALIGNMENT == 0 && start->offset >= pt_log_data_start() &&
           start->offset <= pt_log_data_end(start->region.size) && start->epoch >= before->epoch &&
           start->commit >= before->commit && start->position >= before->position &&
           start->epoch <= log->epoch && start->commit <= log->commit &&
           start->position <= log->position;
}

/* Rule 5, for one row without. */
static bool held_middle_is_valid(const struct pt_log_point *start)
{
    static const struct pt_id no_chain;

    return start->offset == 0 && start->epoch == 0 && start->commit == 0 && start->time_us == 0 &&
           start->position == 0 && memcmp(&start->chain, &no_chain, sizeof(no_chain)) == 0;
}

/* Rule 5, for all rows but what overlaps. */
static bool held_is_valid(const struct pt_manifest *manifest)
{
    static const struct pt_log_point first;
    const struct pt_log_point *before = &first;

    for (size_t i = 0; i < manifest->held_count; i++) {
        const struct pt_log_piece *piece = &manifest->held[i];

        if (!extent_is_valid(piece->start.region) || (i == 0 && !piece->has_start))
            return false;
        if (!piece->has_start && !held_middle_is_valid(&piece->start))
            return false;
        if (piece->has_start && !held_start_is_valid(manifest, &piece->start, before))
            return false;
        if (piece->has_start)
            before = &piece->start;
    }
    return true;
}

/* Rule 6, for one feed. */
static bool feed_is_valid(const struct pt_manifest *manifest, size_t index)
{
    const struct pt_manifest_feed *feed = &manifest->feeds[index];

    return feed->name.size > 0 && feed->name.size <= PEAT_NAME_SIZE_MAX &&
           memchr(feed->name.data, 0, feed->name.size) == NULL &&
           (index == 0 || pt_bytes_compare(feed[-1].name, feed->name) < 0);
}

static void held_encode(const struct pt_manifest *manifest, uint8_t *rows)
{
    PT_ASSERT(held_is_valid(manifest));
    for (size_t i = 0; i < manifest->held_count; i++) {
        struct pt_manifest_log row = log_encode(&manifest->held[i].start);

        memcpy(rows + i * sizeof(row), &row, sizeof(row));
    }
}

static void feeds_encode(const struct pt_manifest *manifest, uint8_t *rows, uint8_t *names)
{
    for (size_t i = 0; i < manifest->feed_count; i++) {
        const struct pt_manifest_feed *feed = &manifest->feeds[i];
        uint32_t flags =
            (feed->has_seals ? PT_FEED_SEALS : 0u) | (feed->is_lost ? PT_FEED_LOST : 0u);
        struct pt_manifest_feed_row row = {.acknowledged = pt_le64(feed->acknowledged),
                                           .name_size = pt_le32(pt_u32(feed->name.size)),
                                           .flags = pt_le32(flags)};

        PT_ASSERT(feed_is_valid(manifest, i));
        memcpy(rows + i * sizeof(row), &row, sizeof(row));
        names = key_encode(feed->name, names);
    }
}

void pt_manifest_encode(const struct pt_manifest *manifest, uint8_t *block)
{
    struct layout layout = manifest_layout(manifest);
    struct pt_checksum checksum;

    header_encode(manifest, &layout, block);
    if (layout.segments > layout.roles)
        roles_encode(manifest, block + layout.roles);
    segments_encode(manifest, block + layout.segments);
    slices_encode(manifest, block + layout.runs, block + layout.slices, block + layout.keys);
    kept_encode(manifest, block + layout.kept, block + layout.names);
    held_encode(manifest, block + layout.held);
    feeds_encode(manifest, block + layout.feeds, block + layout.feed_names);
    checksum = block_checksum(&manifest->store_id, manifest->generation, block, layout.checksum);
    memcpy(block + layout.checksum, &checksum, sizeof(checksum));
}

/* ---- Decoding ---- */

/* Find damage first, then a newer version: a flipped bit is never taken for a newer peat. */
static enum peat_status block_check(struct peat_bytes block, const struct pt_id *store_id,
                                    uint64_t generation)
{
    const uint8_t *bytes = block.data;
    const struct pt_manifest_header *header = block.data;
    struct pt_checksum checksum;
    uint64_t body;
    uint32_t version;

    if (block.size < PT_MANIFEST_HEADER_SIZE + PT_CHECKSUM_SIZE)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": %zu bytes are too few", generation,
                       block.size);
    body = block.size - PT_CHECKSUM_SIZE;
    checksum = block_checksum(store_id, generation, bytes, body);
    if (memcmp(checksum.bytes, bytes + body, sizeof(checksum)) != 0)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": its checksum does not match",
                       generation);
    if (pt_le64_value(header->magic) != PT_MANIFEST_MAGIC)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": this is not a manifest", generation);
    version = pt_le32_value(header->version);
    if (version > PT_MANIFEST_VERSION)
        return pt_fail(PEAT_VERSION,
                       "manifest %" PRIu64 " has version %u, this peat knows up to %d", generation,
                       version, PT_MANIFEST_VERSION);
    if (version < PT_MANIFEST_VERSION_PLAIN ||
        pt_le32_value(header->kind) > PT_MANIFEST_INCREMENT ||
        pt_le64_value(header->size) != block.size ||
        pt_le64_value(header->generation) != generation || generation == 0 ||
        memcmp(&header->store_id, store_id, sizeof(*store_id)) != 0)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": its header is wrong", generation);
    return PEAT_OK;
}

/* What a version says that has feeds, or roles: 0 of each where the block ends before. */
static void later_counts_decode(const struct pt_manifest_header *header, struct counts *counts)
{
    const struct pt_manifest_feed_header *feeds = (const void *)(header + 1);
    const struct pt_manifest_role_header *roles = (const void *)(feeds + 1);
    uint32_t version = pt_le32_value(header->version);
    uint64_t room = pt_le64_value(header->size) - sizeof(*header) - PT_CHECKSUM_SIZE;

    if (version < PT_MANIFEST_VERSION_FEEDS || room < sizeof(*feeds))
        return;
    counts->held = pt_le64_value(feeds->held_count);
    counts->feeds = pt_le64_value(feeds->feed_count);
    counts->feed_name_size = pt_le64_value(feeds->feed_name_size);
    if (version >= PT_MANIFEST_VERSION && room >= sizeof(*feeds) + sizeof(*roles))
        counts->epochs = pt_le64_value(roles->epoch_count);
}

/* Counts against the size, before anything is allocated by them. */
static enum peat_status layout_decode(const struct pt_manifest_header *header,
                                      struct pt_manifest *manifest, struct layout *layout_out)
{
    uint64_t size = pt_le64_value(header->size);
    struct counts counts = {.segments = pt_le64_value(header->segment_count),
                            .runs = pt_le64_value(header->run_count),
                            .slices = pt_le64_value(header->slice_count),
                            .kept = pt_le64_value(header->kept_count),
                            .key_size = pt_le64_value(header->key_size),
                            .name_size = pt_le64_value(header->name_size)};

    later_counts_decode(header, &counts);
    if (counts.segments > size / sizeof(struct pt_manifest_segment_row) ||
        counts.runs > size / sizeof(struct pt_manifest_run_row) ||
        counts.slices > size / sizeof(struct pt_manifest_slice_row) ||
        counts.kept > size / sizeof(struct pt_manifest_kept_row) || counts.key_size > size ||
        counts.name_size > size || counts.held > size / sizeof(struct pt_manifest_log) ||
        counts.feeds > size / sizeof(struct pt_manifest_feed_row) || counts.feed_name_size > size ||
        counts.epochs > PEAT_EPOCHS_MAX ||
        counts_version(&counts) != pt_le32_value(header->version))
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": a count exceeds its size",
                       manifest->generation);
    *layout_out = layout_of(&counts);
    if (layout_out->size != size)
        return pt_fail(PEAT_CORRUPT,
                       "manifest %" PRIu64 ": its parts make %" PRIu64 " bytes, not %" PRIu64,
                       manifest->generation, layout_out->size, size);
    manifest->segment_count = counts.segments;
    manifest->run_count = counts.runs;
    manifest->slice_count = counts.slices;
    manifest->kept_count = counts.kept;
    manifest->held_count = counts.held;
    manifest->feed_count = counts.feeds;
    manifest->lineage.count = counts.epochs;
    return PEAT_OK;
}

/* An array of @p count elements, NULL for none. */
static enum peat_status array_new(size_t count, size_t element_size, void *array_out)
{
    void *array = NULL;

    if (count > 0) {
        array = pt_calloc(count, element_size);
        if (array == NULL)
            return pt_fail(PEAT_NO_MEMORY, "manifest: %zu elements of %zu bytes", count,
                           element_size);
    }
    memcpy(array_out, &array, sizeof(array));
    return PEAT_OK;
}

static enum peat_status arrays_new(struct pt_manifest *manifest)
{
    enum peat_status status;

    status = array_new(manifest->segment_count, sizeof(*manifest->segments), &manifest->segments);
    if (status == PEAT_OK)
        status = array_new(manifest->run_count, sizeof(*manifest->run_slice_counts),
                           &manifest->run_slice_counts);
    if (status == PEAT_OK)
        status = array_new(manifest->slice_count, sizeof(*manifest->slices), &manifest->slices);
    if (status == PEAT_OK)
        status = array_new(manifest->kept_count, sizeof(*manifest->kept), &manifest->kept);
    if (status == PEAT_OK)
        status = array_new(manifest->held_count, sizeof(*manifest->held), &manifest->held);
    if (status == PEAT_OK)
        status = array_new(manifest->feed_count, sizeof(*manifest->feeds), &manifest->feeds);
    return status;
}

static struct pt_log_point log_decode(const struct pt_manifest_log *row)
{
    struct pt_log_point point = {
        .region = {pt_le64_value(row->region_offset), pt_le64_value(row->region_size)},
        .nonce = row->nonce,
        .offset = pt_le64_value(row->offset),
        .epoch = pt_le64_value(row->epoch),
        .commit = pt_le64_value(row->commit),
        .time_us = pt_le64_value(row->time_us),
        .position = pt_le64_value(row->position),
        .chain = row->chain,
    };

    return point;
}

static enum peat_status header_decode(const struct pt_manifest_header *header,
                                      struct pt_manifest *manifest)
{
    manifest->next_segment_id = pt_le64_value(header->next_segment_id);
    manifest->next_collection_id = pt_le64_value(header->next_collection_id);
    manifest->kind = (enum pt_manifest_kind)pt_le32_value(header->kind);
    manifest->hash_seed = pt_le64_value(header->hash_seed);
    manifest->log = log_decode(&header->log);
    if (manifest->log.region.size > 0 ? !extent_is_valid(manifest->log.region) ||
                                            manifest->log.offset > manifest->log.region.size
                                      : manifest->log.region.offset > 0)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": the log cannot begin where it says",
                       manifest->generation);
    if (!pt_log_point_within(&manifest->log, INT64_MAX)) /* what is counted on would wrap around */
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": commit numbers have run out",
                       manifest->generation);
    if (manifest->next_segment_id > INT64_MAX) /* they would begin anew, at ids that are in use */
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": segment ids have run out",
                       manifest->generation);
    if (manifest->next_collection_id > PT_COLLECTION_ID_MAX)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": collection ids have run out",
                       manifest->generation);
    return PEAT_OK;
}

/* Rule 7; and what a version says that has no epochs. */
static enum peat_status roles_decode(const uint8_t *place, struct pt_manifest *manifest)
{
    const struct pt_manifest_role_header *header = (const void *)place;
    const struct pt_manifest_epoch_row *rows = (const void *)(header + 1);
    struct pt_lineage *lineage = &manifest->lineage;
    uint64_t role;

    if (lineage->count == 0) {
        pt_lineage_begin(lineage, manifest->log.epoch);
        return PEAT_OK;
    }
    role = pt_le64_value(header->role);
    manifest->role = (unsigned)(role & PT_ROLES);
    manifest->met_epoch = pt_le64_value(header->met_epoch);
    for (size_t i = 0; i < lineage->count; i++) {
        struct peat_epoch *epoch = &lineage->epochs[i];

        epoch->epoch = pt_le64_value(rows[i].epoch);
        epoch->first_commit = pt_le64_value(rows[i].first_commit);
        epoch->position = pt_le64_value(rows[i].position);
        memcpy(epoch->chain, rows[i].chain.bytes, sizeof(epoch->chain));
    }
    /* One that says nothing is of an older version. */
    if (role > PT_ROLES || !role_is_valid(manifest) ||
        !pt_lineage_is_valid(lineage, &manifest->log) || epoch_row_count(manifest) == 0)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": its epochs or its role are wrong",
                       manifest->generation);
    return PEAT_OK;
}

static enum peat_status segment_check(const struct pt_manifest *manifest, size_t index)
{
    const struct pt_manifest_segment *segment = &manifest->segments[index];
    const struct pt_segment_summary *summary = &segment->summary;

    if (segment->id >= manifest->next_segment_id || (index > 0 && segment->id <= segment[-1].id))
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": segment id %" PRIu64 " is out of order",
                       manifest->generation, segment->id);
    if (!extent_is_valid(segment->extent) || summary->size == 0 ||
        summary->size > segment->extent.size)
        return pt_fail(PEAT_CORRUPT,
                       "manifest %" PRIu64 ": segment %" PRIu64 " cannot lie where it says",
                       manifest->generation, segment->id);
    if (summary->delete_count > summary->entry_count || summary->entry_count > summary->size ||
        summary->range_count > summary->size || summary->entry_count + summary->range_count == 0)
        return pt_fail(PEAT_CORRUPT,
                       "manifest %" PRIu64 ": segment %" PRIu64 " cannot hold what it says",
                       manifest->generation, segment->id);
    return PEAT_OK;
}

static enum peat_status segments_decode(const uint8_t *place, struct pt_manifest *manifest)
{
    const struct pt_manifest_segment_row *rows = (const void *)place;

    for (size_t i = 0; i < manifest->segment_count; i++) {
        const struct pt_manifest_segment_row *row = &rows[i];
        struct pt_manifest_segment *segment = &manifest->segments[i];
        enum peat_status status;

        segment->id = pt_le64_value(row->id);
        segment->extent.offset = pt_le64_value(row->extent_offset);
        segment->extent.size = pt_le64_value(row->extent_size);
        segment->summary.size = pt_le64_value(row->size);
        segment->summary.entry_count = pt_le64_value(row->entry_count);
        segment->summary.delete_count = pt_le64_value(row->delete_count);
        segment->summary.range_count = pt_le64_value(row->range_count);
        segment->summary.digest = row->digest;
        status = segment_check(manifest, i);
        if (status < 0)
            return status;
    }
    return PEAT_OK;
}

static enum peat_status runs_decode(const uint8_t *place, struct pt_manifest *manifest)
{
    const struct pt_manifest_run_row *rows = (const void *)place;
    uint64_t left = manifest->slice_count;

    for (size_t i = 0; i < manifest->run_count; i++) {
        uint64_t count = pt_le64_value(rows[i].slice_count);

        if (count == 0 || count > left)
            return pt_fail(PEAT_CORRUPT,
                           "manifest %" PRIu64 ": run %zu cannot have %" PRIu64 " slices",
                           manifest->generation, i, count);
        manifest->run_slice_counts[i] = count;
        left -= count;
    }
    if (left > 0)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": %" PRIu64 " slices are in no run",
                       manifest->generation, left);
    return PEAT_OK;
}

/* A key of @p size bytes at *place, before @p end. */
static bool key_decode(const uint8_t **place, const uint8_t *end, uint32_t size,
                       struct peat_bytes *key_out)
{
    if (size > (size_t)(end - *place) || size > PT_STORED_KEY_SIZE_MAX)
        return false;
    *key_out = pt_bytes(*place, size);
    *place += size;
    return true;
}

static enum peat_status slices_decode(const uint8_t *place, const uint8_t *keys,
                                      const uint8_t *keys_end, struct pt_manifest *manifest)
{
    const struct pt_manifest_slice_row *rows = (const void *)place;

    for (size_t i = 0; i < manifest->slice_count; i++) {
        struct pt_manifest_slice *slice = &manifest->slices[i];

        slice->segment_index = pt_le64_value(rows[i].segment_index);
        if (slice->segment_index >= manifest->segment_count)
            return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": slice %zu is of no segment",
                           manifest->generation, i);
        if (!key_decode(&keys, keys_end, pt_le32_value(rows[i].low_size), &slice->low) ||
            !key_decode(&keys, keys_end, pt_le32_value(rows[i].high_size), &slice->high))
            return pt_fail(PEAT_CORRUPT,
                           "manifest %" PRIu64 ": the keys of slice %zu lie outside it",
                           manifest->generation, i);
    }
    if (keys != keys_end)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": %zu bytes of keys are no slice's",
                       manifest->generation, (size_t)(keys_end - keys));
    return PEAT_OK;
}

/* Rule 4, for one row: its numbers, its place, its name. */
static bool kept_is_valid(const struct pt_manifest *manifest, size_t index)
{
    const struct pt_manifest_kept *kept = &manifest->kept[index];

    if (kept->generation == 0 || kept->generation > kept->manifest_generation ||
        kept->manifest_generation > manifest->generation ||
        (kept->flags & ~(unsigned)PT_KEPT_FLAGS) != 0 ||
        (index > 0 && (kept->generation <= kept[-1].generation ||
                       kept->manifest_generation <= kept[-1].manifest_generation)))
        return false;
    if (kept->manifest_generation == manifest->generation && (kept->flags & PT_KEPT_DAMAGED) != 0)
        return false;
    if (!kept_has_place(manifest, kept))
        return kept->offset == 0 && kept->size == 0;
    return kept->size > 0 && kept->size <= INT64_MAX - 2 * PT_REGION_UNIT &&
           extent_is_valid(pt_manifest_extent(kept->offset, kept->size));
}

static int name_order(const void *left, const void *right)
{
    const struct peat_bytes *a = left;
    const struct peat_bytes *b = right;

    return pt_bytes_compare(*a, *b);
}

static enum peat_status names_check(const struct pt_manifest *manifest)
{
    struct peat_bytes *names = NULL;
    enum peat_status status = array_new(manifest->kept_count, sizeof(*names), &names);

    for (size_t i = 0; i < manifest->kept_count && status == PEAT_OK; i++)
        names[i] = manifest->kept[i].name;
    if (status == PEAT_OK && manifest->kept_count > 1)
        qsort(names, manifest->kept_count, sizeof(*names), name_order);
    for (size_t i = 0; i < manifest->kept_count && status == PEAT_OK; i++)
        if (names[i].size > 0 && (memchr(names[i].data, 0, names[i].size) != NULL ||
                                  (i > 0 && pt_bytes_equal(names[i - 1], names[i]))))
            status = pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": a name in its history is wrong",
                             manifest->generation);
    pt_free(names);
    return status;
}

static enum peat_status kept_decode(const uint8_t *place, const uint8_t *names,
                                    const uint8_t *names_end, struct pt_manifest *manifest)
{
    const struct pt_manifest_kept_row *rows = (const void *)place;

    for (size_t i = 0; i < manifest->kept_count; i++) {
        struct pt_manifest_kept *kept = &manifest->kept[i];
        uint32_t name_size = pt_le32_value(rows[i].name_size);

        kept->generation = pt_le64_value(rows[i].generation);
        kept->manifest_generation = pt_le64_value(rows[i].manifest_generation);
        kept->offset = pt_le64_value(rows[i].offset);
        kept->size = pt_le64_value(rows[i].size);
        kept->commit = pt_le64_value(rows[i].commit);
        kept->time_us = pt_le64_value(rows[i].time_us);
        kept->flags = pt_le32_value(rows[i].flags);
        if (!kept_is_valid(manifest, i) || name_size > PEAT_NAME_SIZE_MAX ||
            !key_decode(&names, names_end, name_size, &kept->name))
            return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": row %zu of its history is wrong",
                           manifest->generation, i);
    }
    if (names != names_end)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": %zu bytes of names are no row's",
                       manifest->generation, (size_t)(names_end - names));
    return names_check(manifest);
}

static enum peat_status held_decode(const uint8_t *place, struct pt_manifest *manifest)
{
    const struct pt_manifest_log *rows = (const void *)place;

    for (size_t i = 0; i < manifest->held_count; i++) {
        manifest->held[i].start = log_decode(&rows[i]);
        manifest->held[i].has_start = manifest->held[i].start.offset > 0;
    }
    if (!held_is_valid(manifest))
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": what it holds of the log is wrong",
                       manifest->generation);
    return PEAT_OK;
}

static enum peat_status feeds_decode(const uint8_t *place, const uint8_t *names,
                                     const uint8_t *names_end, struct pt_manifest *manifest)
{
    const struct pt_manifest_feed_row *rows = (const void *)place;

    for (size_t i = 0; i < manifest->feed_count; i++) {
        struct pt_manifest_feed *feed = &manifest->feeds[i];

        uint32_t flags = pt_le32_value(rows[i].flags);

        feed->acknowledged = pt_le64_value(rows[i].acknowledged);
        feed->has_seals = (flags & PT_FEED_SEALS) != 0;
        feed->is_lost = (flags & PT_FEED_LOST) != 0;
        if (!key_decode(&names, names_end, pt_le32_value(rows[i].name_size), &feed->name) ||
            !feed_is_valid(manifest, i) || flags > (PT_FEED_SEALS | PT_FEED_LOST))
            return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": feed %zu is wrong",
                           manifest->generation, i);
    }
    if (names != names_end)
        return pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": %zu bytes of names are no feed's",
                       manifest->generation, (size_t)(names_end - names));
    return PEAT_OK;
}

/* Rule 3: each run's slices ascend. */
static enum peat_status order_check(const struct pt_manifest *manifest)
{
    const struct pt_manifest_slice *slice = manifest->slices;

    for (size_t i = 0; i < manifest->run_count; i++) {
        for (size_t k = 0; k < manifest->run_slice_counts[i]; k++, slice++) {
            if (pt_bytes_compare(slice->low, slice->high) >= 0 ||
                (k > 0 && pt_bytes_compare(slice[-1].high, slice->low) > 0))
                return pt_fail(PEAT_CORRUPT,
                               "manifest %" PRIu64 ": run %zu: slice %zu is out of order",
                               manifest->generation, i, k);
        }
    }
    return PEAT_OK;
}

/* Rule 1: no segment without a slice. */
static enum peat_status use_check(const struct pt_manifest *manifest)
{
    enum peat_status status;
    bool *used = NULL;

    status = array_new(manifest->segment_count, sizeof(*used), &used);
    if (status < 0)
        goto done;
    for (size_t i = 0; i < manifest->slice_count; i++)
        used[manifest->slices[i].segment_index] = true;
    for (size_t i = 0; i < manifest->segment_count && status == PEAT_OK; i++)
        if (!used[i])
            status =
                pt_fail(PEAT_CORRUPT, "manifest %" PRIu64 ": segment %" PRIu64 " is in no slice",
                        manifest->generation, manifest->segments[i].id);
done:
    pt_free(used);
    return status;
}

static int extent_order(const void *left, const void *right)
{
    const struct pt_extent *a = left;
    const struct pt_extent *b = right;

    return (a->offset > b->offset) - (a->offset < b->offset);
}

bool pt_manifest_held_is_log(const struct pt_manifest *manifest, size_t index)
{
    const struct pt_log_point *start = &manifest->held[index].start;

    return index + 1 == manifest->held_count && manifest->log.region.size > 0 &&
           start->region.offset == manifest->log.region.offset &&
           start->region.size == manifest->log.region.size &&
           memcmp(&start->nonce, &manifest->log.nonce, sizeof(start->nonce)) == 0;
}

/* Rules 2, 4 and 5: extents, those of the log and of kept manifests among them, do not overlap. */
static enum peat_status overlap_check(const struct pt_manifest *manifest)
{
    size_t count = 0;
    struct pt_extent *extents = NULL;
    enum peat_status status;

    status = array_new(manifest->segment_count + manifest->kept_count + manifest->held_count + 1,
                       sizeof(*extents), &extents);
    if (status < 0)
        goto done;
    for (size_t i = 0; i < manifest->segment_count; i++)
        extents[count++] = manifest->segments[i].extent;
    for (size_t i = 0; i < manifest->kept_count; i++)
        if (kept_has_place(manifest, &manifest->kept[i]))
            extents[count++] = pt_manifest_extent(manifest->kept[i].offset, manifest->kept[i].size);
    for (size_t i = 0; i < manifest->held_count; i++)
        if (!pt_manifest_held_is_log(manifest, i))
            extents[count++] = manifest->held[i].start.region;
    if (manifest->log.region.size > 0)
        extents[count++] = manifest->log.region;
    if (count > 1)
        qsort(extents, count, sizeof(*extents), extent_order);
    for (size_t i = 1; i < count && status == PEAT_OK; i++)
        if (extents[i].offset - extents[i - 1].offset < extents[i - 1].size)
            status = pt_fail(PEAT_CORRUPT,
                             "manifest %" PRIu64 ": two regions overlap at offset %" PRIu64,
                             manifest->generation, extents[i].offset);
done:
    pt_free(extents);
    return status;
}

enum peat_status pt_manifest_decode(struct peat_bytes block, const struct pt_id *store_id,
                                    uint64_t generation, struct pt_manifest *manifest_out)
{
    const uint8_t *bytes = block.data;
    const struct pt_manifest_header *header = block.data;
    struct layout layout = {0};
    enum peat_status status;

    memset(manifest_out, 0, sizeof(*manifest_out));
    manifest_out->store_id = *store_id;
    manifest_out->generation = generation;
    status = block_check(block, store_id, generation);
    if (status == PEAT_OK)
        status = layout_decode(header, manifest_out, &layout);
    if (status == PEAT_OK)
        status = arrays_new(manifest_out);
    if (status == PEAT_OK)
        status = header_decode(header, manifest_out);
    if (status == PEAT_OK)
        status = roles_decode(bytes + layout.roles, manifest_out);
    if (status == PEAT_OK)
        status = segments_decode(bytes + layout.segments, manifest_out);
    if (status == PEAT_OK)
        status = runs_decode(bytes + layout.runs, manifest_out);
    if (status == PEAT_OK)
        status = slices_decode(bytes + layout.slices, bytes + layout.keys, bytes + layout.names,
                               manifest_out);
    if (status == PEAT_OK)
        status = kept_decode(bytes + layout.kept, bytes + layout.names, bytes + layout.feed_names,
                             manifest_out);
    if (status == PEAT_OK)
        status = held_decode(bytes + layout.held, manifest_out);
    if (status == PEAT_OK)
        status = feeds_decode(bytes + layout.feeds, bytes + layout.feed_names,
                              bytes + layout.checksum, manifest_out);
    if (status == PEAT_OK)
        status = order_check(manifest_out);
    if (status == PEAT_OK)
        status = use_check(manifest_out);
    if (status == PEAT_OK)
        status = overlap_check(manifest_out);
    return status;
}

void pt_manifest_fini(struct pt_manifest *manifest)
{
    pt_free(manifest->segments);
    pt_free(manifest->run_slice_counts);
    pt_free(manifest->slices);
    pt_free(manifest->kept);
    pt_free(manifest->held);
    pt_free(manifest->feeds);
    manifest->kept = NULL;
    manifest->kept_count = 0;
    manifest->held = NULL;
    manifest->held_count = 0;
    manifest->feeds = NULL;
    manifest->feed_count = 0;
    manifest->segments = NULL;
    manifest->run_slice_counts = NULL;
    manifest->slices = NULL;
    manifest->segment_count = 0;
    manifest->run_count = 0;
    manifest->slice_count = 0;
}

/* ---- Describing ---- */

static int segment_order(const void *left, const void *right)
{
    const struct pt_manifest_segment *a = left;
    const struct pt_manifest_segment *b = right;

    return (a->id > b->id) - (a->id < b->id);
}

/* Sort by id and keep one of each. */
static void segments_unite(struct pt_manifest *manifest)
{
    struct pt_manifest_segment *segments = manifest->segments;
    size_t count = 0;

    if (manifest->segment_count > 1)
        qsort(segments, manifest->segment_count, sizeof(*segments), segment_order);
    for (size_t i = 0; i < manifest->segment_count; i++) {
        if (count == 0 || segments[count - 1].id != segments[i].id)
            segments[count++] = segments[i];
        PT_ASSERT(segments[count - 1].extent.offset == segments[i].extent.offset);
    }
    manifest->segment_count = count;
}

static uint64_t segment_index_of(const struct pt_manifest *manifest, uint64_t id)
{
    struct pt_manifest_segment wanted = {.id = id};
    const struct pt_manifest_segment *found = bsearch(
        &wanted, manifest->segments, manifest->segment_count, sizeof(wanted), segment_order);

    PT_ASSERT(found != NULL);
    return (uint64_t)(found - manifest->segments);
}

enum peat_status pt_manifest_describe(struct pt_run *const *runs, size_t run_count,
                                      struct pt_manifest *manifest_out)
{
    enum peat_status status;
    size_t count = 0;

    manifest_out->segments = NULL;
    manifest_out->run_slice_counts = NULL;
    manifest_out->slices = NULL;
    manifest_out->kept = NULL;
    manifest_out->kept_count = 0;
    manifest_out->held = NULL;
    manifest_out->held_count = 0;
    manifest_out->feeds = NULL;
    manifest_out->feed_count = 0;
    manifest_out->lineage.count = 0;
    manifest_out->role = 0;
    manifest_out->met_epoch = 0;
    manifest_out->run_count = run_count;
    manifest_out->slice_count = 0;
    for (size_t i = 0; i < run_count; i++)
        manifest_out->slice_count += runs[i]->slice_count;
    manifest_out->segment_count = manifest_out->slice_count; /* at most; united below */
    status = arrays_new(manifest_out);
    if (status < 0)
        goto done;
    for (size_t i = 0; i < run_count; i++) {
        manifest_out->run_slice_counts[i] = runs[i]->slice_count;
        for (size_t k = 0; k < runs[i]->slice_count; k++) {
            const struct pt_slice *slice = &runs[i]->slices[k];
            struct pt_manifest_segment segment = {slice->held->id, slice->held->extent,
                                                  slice->held->summary};
            struct pt_manifest_slice named = {slice->held->id, slice->low, slice->high};

            manifest_out->segments[count] = segment;
            manifest_out->slices[count++] = named; /* by id for now */
        }
    }
    segments_unite(manifest_out);
    for (size_t i = 0; i < count; i++)
        manifest_out->slices[i].segment_index =
            segment_index_of(manifest_out, manifest_out->slices[i].segment_index);
done:
    if (status < 0)
        pt_manifest_fini(manifest_out);
    return status;
}

/*
 * Seeds: a state of the store as its parts, for a follower that has none that the log goes on from.
 *
 *  1. Part 0 is a manifest without log, history and role, as backups have it: it names segments,
 *     runs and slices, and the epochs that led there. Part 1 and
 *     those behind it are the segments that it names, in its order.
 *  2. The state is the one that the ruling manifest installed: from there on the log is there until the next install, and
 *     from then on for the seed's own feed, within feed_log_size_max.
 *  3. A seed pins runs, as a snapshot does: what it hands out lies in the map. It is handed out
 *     verified, and what is damaged is not handed out at all.
 */
#include "core/db/seed.h"

#include "core/base/alloc.h"
#include "core/db/db.h"
#include "core/db/identity.h"
#include "core/db/known_segments.h"
#include "core/segment/rescue.h"

#include <inttypes.h>

enum { TRIES = 16 };

struct peat_seed {
    struct peat_db *db;
    struct pt_run **runs; /* owned, pinned */
    size_t run_count;
    struct pt_known_segments segments; /* theirs, as the manifest has them */
    struct pt_log_point at;
    struct peat_feed *feed; /* keeps the log behind that for a feed that the caller will open */
    uint8_t *block;         /* owned: part 0 */
    uint64_t block_size;
    uint64_t size; /* bytes of all parts */
};

/* The installed state, and what its manifest says of the rest. */
static enum peat_status pin_installed(struct peat_db *db, struct peat_seed *seed,
                                      struct pt_manifest *rest_out)
{
    enum peat_status status;

    pt_mutex_lock(&db->checkpointer.install_mutex);
    seed->run_count = db->installed_count;
    status = pt_runs_copy(db->installed_runs, db->installed_count, &seed->runs);
    seed->at = db->log_start;
    *rest_out = (struct pt_manifest){
        .kind = PT_MANIFEST_STORE,
        .generation = PT_SEED_GENERATION,
        .next_segment_id = atomic_load_explicit(&db->next_segment_id, memory_order_relaxed),
        .next_collection_id = atomic_load_explicit(&db->catalogue->next_id, memory_order_relaxed),
        .log = pt_log_point_nowhere(&db->log_start)};
    pt_mutex_unlock(&db->checkpointer.install_mutex);
    return status;
}

/* The same, and the log behind it: (2). */
static enum peat_status pin_state(struct peat_db *db, struct peat_seed *seed,
                                  struct pt_manifest *rest_out)
{
    enum peat_status status = PEAT_GAP;

    for (unsigned i = 0; i < TRIES && status == PEAT_GAP;
         i++) { /* it may be installed anew in between */
        pt_runs_free(seed->runs, seed->run_count);
        status = pin_installed(db, seed, rest_out);
        if (status == PEAT_OK)
            status = peat_feed_open(db, seed->at.commit + 1, NULL, PEAT_FEED_SEALS, &seed->feed);
    }
    return status;
}

/* Part 0. */
static enum peat_status describe(struct peat_seed *seed, struct pt_manifest *manifest)
{
    struct pt_identity identity = pt_identity_get(seed->db);
    struct pt_lineage lineage = pt_epochs_copy(seed->db);
    enum peat_status status = pt_manifest_describe(seed->runs, seed->run_count, manifest);

    pt_epochs_describe(&lineage, manifest);
    manifest->store_id = identity.store_id;
    manifest->hash_seed = identity.hash_seed;
    if (status == PEAT_OK) {
        seed->block_size = pt_manifest_size(manifest);
        seed->block = pt_malloc(seed->block_size);
        if (seed->block == NULL)
            status = pt_fail(PEAT_NO_MEMORY, "a manifest of %" PRIu64 " bytes", seed->block_size);
    }
    if (status == PEAT_OK)
        pt_manifest_encode(manifest, seed->block);
    pt_manifest_fini(manifest);
    return status;
}

/* Whether it can be handed out: (3). */
static enum peat_status check_whole(const struct pt_held_segment *held)
{
    if (held->segment->lost == PEAT_OK && pt_segment_rescued(held->segment) == NULL)
        return pt_segment_verify_end(held->segment);
    return pt_fail(PEAT_CORRUPT, "segment %" PRIu64 " at offset %" PRIu64 " is damaged", held->id,
                   held->extent.offset);
}

enum peat_status peat_seed_open(struct peat_db *db, struct peat_seed **seed_out)
{
    struct pt_manifest manifest;
    struct peat_seed *seed;
    enum peat_status status;

    if (db == NULL || seed_out == NULL)
        return pt_fail_null();
    *seed_out = NULL;
    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only");
    status = pt_checkpoint(db); /* so that little of the log is left to be sent */
    if (status < 0)
        return status;
    seed = pt_calloc(1, sizeof(*seed));
    if (seed == NULL)
        return pt_fail(PEAT_NO_MEMORY, "a seed");
    seed->db = db;
    status = pin_state(db, seed, &manifest);
    if (status == PEAT_OK)
        status = describe(seed, &manifest);
    if (status == PEAT_OK)
        status = pt_known_segments_add(&seed->segments, seed->runs, seed->run_count);
    seed->size = seed->block_size;
    for (size_t i = 0; i < seed->segments.count && status == PEAT_OK; i++) {
        status = check_whole(seed->segments.held[i]);
        seed->size += seed->segments.held[i]->summary.size;
    }
    if (status != PEAT_OK) {
        peat_seed_close(seed);
        return status;
    }
    *seed_out = seed;
    return PEAT_OK;
}

void peat_seed_close(struct peat_seed *seed)
{
    if (seed == NULL)
        return;
    peat_feed_close(seed->feed);
    pt_known_segments_fini(&seed->segments);
    pt_runs_free(seed->runs, seed->run_count);
    pt_free(seed->block);
    pt_free(seed);
}

void peat_seed_about(const struct peat_seed *seed, struct peat_seed_info *info_out)
{
    if (seed == NULL || info_out == NULL)
        return;
    *info_out = (struct peat_seed_info){.position = pt_position_of(&seed->at),
                                        .part_count = 1 + seed->segments.count,
                                        .size = seed->size};
}

enum peat_status peat_seed_read(struct peat_seed *seed, uint64_t part, uint64_t offset,
                                size_t size_max, struct peat_bytes *bytes_out,
                                uint64_t *part_size_out)
{
    struct pt_segment *segment;
    uint64_t size;
    enum peat_status status = PEAT_OK;

    if (seed == NULL || bytes_out == NULL || part_size_out == NULL)
        return pt_fail_null();
    if (part > seed->segments.count)
        return pt_fail(PEAT_INVALID, "a seed of %zu segments has no part %" PRIu64,
                       seed->segments.count, part);
    segment = part == 0 ? NULL : seed->segments.held[part - 1]->segment;
    *part_size_out = segment == NULL ? seed->block_size : segment->size;
    if (offset >= *part_size_out)
        return pt_fail(PEAT_INVALID, "part %" PRIu64 " of a seed has %" PRIu64 " bytes", part,
                       *part_size_out);
    size = *part_size_out - offset < size_max ? *part_size_out - offset : size_max;
    if (segment != NULL && offset < segment->checked_size) {
        uint64_t end =
            offset + size < segment->checked_size ? offset + size : segment->checked_size;

        status = pt_segment_verify(segment, offset, end - offset);
    }
    if (status == PEAT_OK && segment != NULL && offset + size > segment->checked_size)
        status = check_whole(seed->segments.held[part - 1]);
    if (status == PEAT_OK)
        *bytes_out = pt_bytes((segment == NULL ? seed->block : segment->base) + offset, size);
    return status;
}

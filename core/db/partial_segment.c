#include "core/db/partial_segment.h"

#include "core/db/db.h"
#include "core/db/identity.h"

#include <inttypes.h>

bool pt_partial_segment_is(const struct pt_partial_segment *partial,
                           const struct pt_manifest_segment *segment)
{
    return partial->extent.size > 0 && partial->id == segment->id &&
           memcmp(&partial->digest, &segment->summary.digest, sizeof(partial->digest)) == 0;
}

void pt_partial_segment_drop(struct pt_partial_segment *partial, struct peat_db *db)
{
    if (partial->extent.size > 0)
        pt_arena_release(db->arena, partial->extent);
    memset(partial, 0, sizeof(*partial));
}

enum peat_status pt_partial_segment_begin(struct pt_partial_segment *partial, struct peat_db *db,
                                          const struct pt_manifest_segment *segment)
{
    enum peat_status status;

    pt_partial_segment_drop(partial, db);
    status = pt_arena_alloc(db->arena, segment->summary.size, &partial->extent);
    if (status < 0) {
        partial->extent.size = 0;
        return status;
    }
    partial->id = segment->id;
    partial->digest = segment->summary.digest;
    return PEAT_OK;
}

enum peat_status pt_partial_segment_write(struct pt_partial_segment *partial, struct peat_db *db,
                                          struct peat_bytes bytes)
{
    enum peat_status status =
        pt_file_write(pt_arena_file(db->arena), partial->extent.offset + partial->written,
                      bytes.data, bytes.size);

    if (status < 0)
        return status;
    partial->written += bytes.size;
    return PEAT_OK;
}

static enum peat_status sync_segment(struct peat_db *db, const struct pt_held_segment *held)
{
    enum peat_status status = pt_file_sync_range(
        pt_arena_file(db->arena), held->extent.offset,
        (void *)((uintptr_t)pt_arena_base(db->arena) + held->extent.offset), held->summary.size);

    if (status < 0)
        atomic_store_explicit(&db->poisoned, true, memory_order_release);
    return status;
}

/* Its sync now leaves less for that of the install. */
enum peat_status pt_partial_segment_finish(struct pt_partial_segment *partial, struct peat_db *db,
                                           const struct pt_manifest_segment *segment,
                                           struct pt_held_segment **held_out)
{
    struct pt_identity identity = pt_identity_get(db);
    struct pt_held_segment *held = NULL;
    struct pt_digest digest;
    enum peat_status status =
        pt_held_segment_open(db->arena, &identity.store_id, segment->id, partial->extent,
                             &segment->summary, false, &db->generation, &held);

    if (status < 0) {
        pt_partial_segment_drop(partial, db);
        return status;
    }
    memset(partial, 0, sizeof(*partial)); /* the region is the segment's */
    status = pt_segment_verify_all(held->segment);
    digest = pt_segment_digest(held->segment);
    if (status == PEAT_OK &&
        memcmp(&digest, &segment->summary.digest, sizeof(segment->summary.digest)) != 0)
        status = pt_fail(PEAT_CORRUPT, "segment %" PRIu64 " has not the digest that was said",
                         segment->id);
    if (status == PEAT_OK)
        status = sync_segment(db, held);
    if (status < 0)
        pt_held_segment_unpin(held);
    else
        *held_out = held;
    return status;
}

/*
 * Seeding: a follower takes a state that another store hands out (seed.c), and shows it instead of its own.
 *
 *      part 0                 | segments, in order     | finish
 *      which are there?       | written, verified,     | one install: the state, and the log
 *      the others are asked   | synced, one by one     | behind it
 *
 *  1. Until the end the store goes on as it is: what comes lies in regions that no manifest names, so a crash leaves nothing
 *     of it.
 *  2. What is there (described_state.h) is not asked for. So a state that is begun anew, perhaps a newer one, costs what is
 *     different in it.
 *  3. Nothing that comes is believed: the manifest is decoded as one in a file is, and a segment verified
 *     (partial_segment.h).
 *  4. It only goes forward: the state is behind the store's, and the store's last commit is of the
 *     epoch that the state's history has there. The epochs are the state's then. Unless the caller said
 *     that the store's history may be left for the state's, and keeps it under a name (parting.h); and to heal, the very same
 *     place will do.
 */
#include "core/base/alloc.h"
#include "core/db/db.h"
#include "core/db/described_state.h"
#include "core/db/identity.h"
#include "core/db/partial_segment.h"
#include "core/db/parting.h"
#include "core/db/seed.h"

#include <inttypes.h>

enum { BLOCK_SIZE_MAX = 1 << 30, BLOCK_SIZE_FIRST = 64 << 10 };

/* What comes next, or is to be asked for next. */
struct place {
    uint64_t part;
    uint64_t offset;
};

struct peat_seeding {
    struct peat_db *db;
    uint8_t *block; /* owned: of part 0, until that is whole */
    uint64_t block_size;
    uint64_t block_capacity;
    uint64_t block_total;          /* bytes that it will have; 0: not known */
    bool is_described;             /* what follows is of the state that is being taken */
    struct pt_described_state now; /* or, until then, of the one before */
    struct pt_partial_segment partial;
    struct place asked;
    struct place next;                      /* what must come next */
    uint64_t size;                          /* bytes of all segments */
    uint64_t missing;                       /* bytes of those that have not come */
    struct pt_healing healing;              /* what is damaged here */
    char kept_name[PEAT_NAME_SIZE_MAX + 1]; /* of the history that may be left; "": none may */
};

/* ---- Opening and closing ---- */

enum peat_status peat_seeding_open(struct peat_db *db, struct peat_seeding **seeding_out)
{
    if (db == NULL || seeding_out == NULL)
        return pt_fail_null();
    *seeding_out = NULL;
    if (!pt_role_is(db, PT_ROLE_FOLLOWER))
        return pt_fail(PEAT_INVALID,
                       "the store was not opened with PEAT_FOLLOWER: it has commits of its own");
    *seeding_out = pt_calloc(1, sizeof(**seeding_out));
    if (*seeding_out == NULL)
        return pt_fail(PEAT_NO_MEMORY, "a seeding");
    (*seeding_out)->db = db;
    return PEAT_OK;
}

enum peat_status peat_seeding_part(struct peat_seeding *seeding, const char *kept_name)
{
    size_t size = kept_name == NULL ? 0 : strnlen(kept_name, PEAT_NAME_SIZE_MAX + 1);

    if (seeding == NULL || kept_name == NULL)
        return pt_fail_null();
    if (size == 0 || size > PEAT_NAME_SIZE_MAX)
        return pt_fail(PEAT_INVALID, "the name of a kept state has 1 to %zu bytes",
                       PEAT_NAME_SIZE_MAX);
    memcpy(seeding->kept_name, kept_name, size + 1);
    return PEAT_OK;
}

enum peat_status peat_seeding_heal(struct peat_seeding *seeding,
                                   void (*callback)(void *context,
                                                    const struct peat_finding *finding),
                                   bool (*progress)(void *context, uint64_t done, uint64_t total),
                                   void *context, uint64_t *count_out)
{
    enum peat_status status;

    if (seeding == NULL || count_out == NULL)
        return pt_fail_null();
    *count_out = 0;
    pt_healing_fini(&seeding->healing);
    status = pt_healing_look(seeding->db, callback, progress, context, &seeding->healing);
    if (status == PEAT_OK)
        *count_out = seeding->healing.count;
    else
        pt_healing_fini(&seeding->healing);
    return status;
}

void peat_seeding_close(struct peat_seeding *seeding)
{
    if (seeding == NULL)
        return;
    pt_partial_segment_drop(&seeding->partial, seeding->db);
    pt_described_state_free(&seeding->now);
    pt_healing_fini(&seeding->healing);
    pt_free(seeding->block);
    pt_free(seeding);
}

void peat_seeding_forget(struct peat_seeding *seeding)
{
    if (seeding == NULL)
        return;
    pt_partial_segment_drop(&seeding->partial, seeding->db);
    pt_described_state_free(&seeding->now);
    peat_seeding_restart(seeding);
    seeding->missing = 0;
}

void peat_seeding_restart(struct peat_seeding *seeding)
{
    if (seeding == NULL)
        return;
    seeding->is_described = false;
    seeding->block_size = 0;
    seeding->block_total = 0;
    seeding->asked = seeding->next = (struct place){0, 0};
}

void peat_seeding_about(const struct peat_seeding *seeding, struct peat_seeding_info *info_out)
{
    if (seeding == NULL || info_out == NULL)
        return;
    *info_out = (struct peat_seeding_info){.size = seeding->size, .missing = seeding->missing};
    if (seeding->is_described)
        info_out->position = pt_position_of(&seeding->now.manifest.log);
}

/* ---- What is there ---- */

/* Count what is not there of @p now. A part of a segment stays if it comes next; else it would be gone once another one begins. */
static void count_missing(struct peat_seeding *seeding, const struct pt_described_state *now)
{
    bool partial_used = false;

    seeding->size = seeding->missing = 0;
    for (size_t i = 0; i < now->manifest.segment_count; i++) {
        const struct pt_manifest_segment *segment = &now->manifest.segments[i];

        seeding->size += segment->summary.size;
        if (now->held[i] != NULL)
            continue;
        if (seeding->missing == 0 && pt_partial_segment_is(&seeding->partial, segment)) {
            seeding->missing = segment->summary.size - seeding->partial.written;
            partial_used = true;
        } else {
            seeding->missing += segment->summary.size;
        }
    }
    if (!partial_used)
        pt_partial_segment_drop(&seeding->partial, seeding->db);
}

/* Go to the first part from @p part on that is not there; behind the last if all are. */
static struct place place_from(const struct peat_seeding *seeding, uint64_t part)
{
    const struct pt_described_state *now = &seeding->now;
    struct place place = {part, 0};

    while (place.part <= now->manifest.segment_count && now->held[place.part - 1] != NULL)
        place.part++;
    if (place.part <= now->manifest.segment_count &&
        pt_partial_segment_is(&seeding->partial, &now->manifest.segments[place.part - 1]))
        place.offset = seeding->partial.written;
    return place;
}

/* ---- Part 0 ---- */

/* Whether the store, which has come to @p ours, may leave its history for the state's, and has to. */
static bool will_part(const struct peat_seeding *seeding, const struct peat_position *ours,
                      const struct pt_manifest *manifest)
{
    return seeding->kept_name[0] != '\0' &&
           pt_has_parted(seeding->db, ours->position, &manifest->lineage);
}

/* Whether the state is behind @p ours: (4). Behind one commit there may be a seal that only one of them has. */
static enum peat_status check_newer(const struct peat_seeding *seeding,
                                    const struct pt_log_point *state,
                                    const struct peat_position *ours, bool parts)
{
    bool is_behind = state->position > ours->position ||
                     ((seeding->healing.count > 0 || state->commit > ours->commit) &&
                      state->position == ours->position); /* a revert takes no log */

    if (state->epoch >= ours->epoch && (parts || (state->commit >= ours->commit && is_behind)))
        return PEAT_OK;
    return pt_fail(PEAT_INVALID,
                   "the state is as of commit %" PRIu64 ", and commit %" PRIu64 " is here already",
                   state->commit, ours->commit);
}

/* What a seed's manifest must say besides what any must. */
static enum peat_status check_manifest(const struct peat_seeding *seeding,
                                       const struct pt_manifest *manifest)
{
    struct peat_db *db = seeding->db;
    struct peat_position ours;
    enum peat_status status;

    if (manifest->kind != PT_MANIFEST_STORE || manifest->hash_seed != pt_hash_seed(db) ||
        manifest->kept_count > 0 || manifest->held_count > 0 || manifest->feed_count > 0 ||
        manifest->log.region.size > 0 || !pt_log_point_can_go_on(&manifest->log) ||
        manifest->log.epoch > PT_EPOCH_MAX || manifest->role != 0 || manifest->met_epoch != 0 ||
        manifest->next_segment_id > PT_SEGMENT_ID_GO_ON_MAX)
        return pt_fail(PEAT_CORRUPT, "what describes the state is no seed's");
    status = peat_position_get(db, &ours);
    if (status < 0)
        return status;
    return check_newer(seeding, &manifest->log, &ours, will_part(seeding, &ours, manifest));
}

/* Part 0 is whole. */
static enum peat_status take_description(struct peat_seeding *seeding)
{
    struct pt_identity identity = pt_identity_get(seeding->db);
    struct pt_described_state now = {.block = seeding->block};
    enum peat_status status =
        pt_manifest_decode(pt_bytes(now.block, seeding->block_size), &identity.store_id,
                           PT_SEED_GENERATION, &now.manifest);

    seeding->block = NULL; /* the description's now */
    seeding->block_capacity = 0;
    if (status == PEAT_OK)
        status = check_manifest(seeding, &now.manifest);
    if (status == PEAT_OK)
        status = pt_described_state_match(&now, seeding->db, &seeding->now, &seeding->healing);
    if (status != PEAT_OK) {
        pt_described_state_free(&now);
        return status;
    }
    count_missing(seeding, &now);
    pt_described_state_free(&seeding->now);
    seeding->now = now;
    seeding->is_described = true;
    seeding->asked = seeding->next = place_from(seeding, 1);
    return PEAT_OK;
}

static enum peat_status block_grow(struct peat_seeding *seeding, uint64_t size)
{
    uint64_t capacity = seeding->block_capacity == 0 ? BLOCK_SIZE_FIRST : seeding->block_capacity;
    uint8_t *block;

    while (capacity < size) /* with what has come, not with what was said */
        capacity *= 2;
    if (capacity == seeding->block_capacity)
        return PEAT_OK;
    block = pt_realloc(seeding->block, capacity);
    if (block == NULL)
        return pt_fail(PEAT_NO_MEMORY, "a manifest of %" PRIu64 " bytes", capacity);
    seeding->block = block;
    seeding->block_capacity = capacity;
    return PEAT_OK;
}

static enum peat_status description_write(struct peat_seeding *seeding, uint64_t total,
                                          struct peat_bytes bytes)
{
    enum peat_status status;

    if (seeding->block_total == 0)
        seeding->block_total = total;
    if (total != seeding->block_total || total > BLOCK_SIZE_MAX ||
        bytes.size > total - seeding->block_size)
        return pt_fail(PEAT_CORRUPT, "what describes the state changes its size, or is too large");
    status = block_grow(seeding, seeding->block_size + bytes.size);
    if (status < 0)
        return status;
    memcpy(seeding->block + seeding->block_size, bytes.data, bytes.size);
    seeding->block_size += bytes.size;
    seeding->next.offset = seeding->block_size;
    return seeding->block_size == total ? take_description(seeding) : PEAT_OK;
}

/* ---- Segments ---- */

static enum peat_status segment_write(struct peat_seeding *seeding, uint64_t total,
                                      struct peat_bytes bytes)
{
    size_t index = seeding->next.part - 1;
    const struct pt_manifest_segment *segment = &seeding->now.manifest.segments[index];
    enum peat_status status = PEAT_OK;

    if (total != segment->summary.size || bytes.size > total - seeding->next.offset)
        return pt_fail(PEAT_CORRUPT, "segment %" PRIu64 " has not the size that was said",
                       segment->id);
    if (seeding->next.offset == 0)
        status = pt_partial_segment_begin(&seeding->partial, seeding->db, segment);
    if (status == PEAT_OK)
        status = pt_partial_segment_write(&seeding->partial, seeding->db, bytes);
    if (status < 0)
        return status;
    seeding->next.offset += bytes.size;
    seeding->missing -= bytes.size;
    if (seeding->next.offset == total) {
        status = pt_partial_segment_finish(&seeding->partial, seeding->db, segment,
                                           &seeding->now.held[index]);
        if (status == PEAT_OK)
            seeding->next = place_from(seeding, seeding->next.part + 1);
    }
    return status;
}

/* ---- Asking and taking ---- */

static bool is_behind_all(const struct peat_seeding *seeding, const struct place *place)
{
    return seeding->is_described && place->part > seeding->now.manifest.segment_count;
}

bool peat_seeding_next(struct peat_seeding *seeding, uint64_t size_max,
                       struct peat_seed_range *range_out)
{
    struct place *asked;
    uint64_t total;

    if (seeding == NULL || range_out == NULL)
        return false;
    asked = &seeding->asked;
    if (is_behind_all(seeding, asked) || size_max == 0)
        return false;
    if (!seeding->is_described) {
        total = seeding->block_total == 0 ? size_max : seeding->block_total;
        if (asked->offset >= total || (seeding->block_total == 0 && asked->offset > 0))
            return false; /* all of it, or as much as can be without knowing its size */
    } else {
        total = seeding->now.manifest.segments[asked->part - 1].summary.size;
    }
    *range_out = (struct peat_seed_range){asked->part, asked->offset, total - asked->offset};
    if (range_out->size > size_max)
        range_out->size = size_max;
    asked->offset += range_out->size;
    if (seeding->is_described && asked->offset == total)
        *asked = place_from(seeding, asked->part + 1);
    return true;
}

enum peat_status peat_seeding_write(struct peat_seeding *seeding, uint64_t part, uint64_t offset,
                                    uint64_t part_size, struct peat_bytes bytes)
{
    enum peat_status status;

    if (seeding == NULL || bytes.data == NULL)
        return pt_fail_null();
    if (part != seeding->next.part || offset != seeding->next.offset || bytes.size == 0 ||
        is_behind_all(seeding, &seeding->next))
        return pt_fail(PEAT_INVALID, "byte %" PRIu64 " of part %" PRIu64 " is not what comes next",
                       offset, part);
    if (atomic_load_explicit(&seeding->db->poisoned, memory_order_acquire))
        return pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    status = seeding->is_described ? segment_write(seeding, part_size, bytes)
                                   : description_write(seeding, part_size, bytes);
    if (status < 0)
        return status;
    return is_behind_all(seeding, &seeding->next) ? PEAT_DONE : PEAT_OK;
}

/* ---- The end ---- */

/* No number of ours goes back. */
static void number_raise(_Atomic uint64_t *number, uint64_t least)
{
    if (atomic_load_explicit(number, memory_order_relaxed) < least)
        atomic_store_explicit(number, least, memory_order_relaxed);
}

/* Whether what the store shows at @p end is what was reverted to the state. */
static bool is_reverted(const struct pt_log_point *end, const struct pt_log_point *state)
{
    struct pt_id chain = pt_log_jump_chain(&end->chain, state->commit, state->time_us);

    return state->commit == end->commit + 1 && memcmp(&chain, &state->chain, sizeof(chain)) == 0;
}

/* Whether the state may be shown in place of the store's, and how. */
static enum peat_status check_history(struct peat_seeding *seeding, const struct pt_log_point *end,
                                      struct pt_replacement *replacement)
{
    struct peat_db *db = seeding->db;
    const struct pt_manifest *manifest = &seeding->now.manifest;
    struct peat_position ours = pt_position_of(end);
    bool parts = will_part(seeding, &ours, manifest);
    enum peat_status status = check_newer(seeding, &manifest->log, &ours, parts);

    if (status < 0)
        return status;
    if (!pt_role_is(db, PT_ROLE_FOLLOWER))
        return pt_fail(PEAT_INVALID, "the store was promoted: it has commits of its own");
    if (parts)
        return pt_part(db, end, seeding->kept_name, replacement);
    if (pt_has_parted(db, end->position, &manifest->lineage))
        return pt_fail(PEAT_CORRUPT,
                       "the store has commits of another epoch than the state's history there: the "
                       "histories have parted");
    if (end->position == manifest->log.position &&
        memcmp(&end->chain, &manifest->log.chain, sizeof(end->chain)) != 0 &&
        !is_reverted(end, &manifest->log))
        return pt_fail(PEAT_CORRUPT,
                       "the state is of the store's place in the log, but of another history");
    return PEAT_OK;
}

static enum peat_status find_state(struct peat_db *db, void *context,
                                   struct pt_replacement *replacement)
{
    struct peat_seeding *seeding = context;
    const struct pt_manifest *manifest = &seeding->now.manifest;
    struct pt_log_point end = pt_log_point(db->log);
    enum peat_status status = check_history(seeding, &end, replacement);

    if (status < 0)
        return status;
    status = pt_manifest_build(manifest, seeding->now.held, &replacement->runs);
    if (status < 0)
        return status;
    replacement->run_count = manifest->run_count;
    replacement->behind = manifest->log;
    replacement->hash_seed = manifest->hash_seed;
    number_raise(&db->next_segment_id, manifest->next_segment_id);
    number_raise(&db->catalogue->next_id, manifest->next_collection_id);
    replacement->change.lets_log_go = true;
    replacement->change.lineage = &manifest->lineage;
    return PEAT_OK;
}

enum peat_status peat_seeding_finish(struct peat_seeding *seeding)
{
    enum peat_status status;

    if (seeding == NULL)
        return pt_fail_null();
    if (!is_behind_all(seeding, &seeding->next))
        return pt_fail(PEAT_INVALID, "%" PRIu64 " bytes of the state have not come",
                       seeding->missing);
    status = pt_replace(seeding->db, find_state, seeding);
    if (status < 0)
        return status;
    pt_healing_fini(&seeding->healing);
    peat_seeding_forget(seeding); /* else it would hold segments that merges have replaced */
    pt_arena_reclaim(seeding->db->arena,
                     atomic_load_explicit(&seeding->db->generation, memory_order_acquire));
    return PEAT_OK;
}

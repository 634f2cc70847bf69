/* The history as it is found in the file: what recovery claims and pins, what a reader notes, and how
 * many bytes it all comes to. */
#include "core/base/alloc.h"
#include "core/db/db.h"
#include "core/db/history_parts.h"
#include "core/db/manifest_format.h"

#include <inttypes.h>

/* ---- One manifest ---- */

enum peat_status pt_kept_row_load(struct peat_db *db, const struct pt_manifest_kept *row,
                                  struct pt_manifest *manifest_out, uint8_t **block_out)
{
    struct pt_superblock place = {db->store_id, row->manifest_generation, row->offset, row->size};
    enum peat_status status;

    memset(manifest_out, 0, sizeof(*manifest_out));
    *block_out = NULL;
    if ((row->flags & PT_KEPT_DAMAGED) != 0)
        return pt_fail(PEAT_CORRUPT,
                       "the state of generation %" PRIu64 " was found to be damaged: what it named "
                       "may have been overwritten since",
                       row->generation);
    status = pt_manifest_load(db, &place, manifest_out, block_out);
    if (status == PEAT_OK &&
        (manifest_out->log.commit != row->commit || manifest_out->hash_seed != pt_hash_seed(db))) {
        status = pt_fail(PEAT_CORRUPT,
                         "the manifest of generation %" PRIu64 " shows another state than it is "
                         "kept for",
                         row->generation);
    }
    return status;
}

enum peat_status pt_kept_manifest(struct peat_db *db, const struct pt_kept *kept,
                                  struct pt_manifest *manifest_out, uint8_t **block_out)
{
    if (kept->runs == NULL)
        return pt_kept_row_load(db, &kept->row, manifest_out, block_out);
    *block_out = NULL;
    return pt_manifest_describe(kept->runs, kept->run_count, manifest_out);
}

/* ---- Recovery ---- */

/* Claim what @p manifest names and no state before it has named. */
static enum peat_status claim(struct peat_db *db, const struct pt_manifest_kept *row,
                              const struct pt_manifest *manifest,
                              const struct pt_known_segments *known)
{
    enum peat_status status = pt_arena_claim(db->arena, pt_manifest_extent(row->offset, row->size));

    for (size_t i = 0; i < manifest->segment_count && status == PEAT_OK; i++) {
        const struct pt_manifest_segment *segment = &manifest->segments[i];
        const struct pt_held_segment *held = pt_known_segments_find_at(
            known, segment->id, &segment->summary.digest, segment->extent.offset);

        if (held == NULL)
            status = pt_arena_claim(db->arena, segment->extent);
        else if (held->extent.size != segment->extent.size ||
                 held->summary.size != segment->summary.size)
            status = pt_fail(PEAT_CORRUPT, "two manifests say different things of segment %" PRIu64,
                             segment->id);
    }
    return status;
}

/* Pin what the state names. */
static enum peat_status pin(struct peat_db *db, const struct pt_manifest *manifest,
                            const struct pt_known_segments *known, struct pt_kept *kept)
{
    struct pt_held_segment **held = NULL;
    enum peat_status status = pt_manifest_hold(db, manifest, known, false, &held);

    if (status == PEAT_OK)
        status = pt_manifest_build(manifest, held, &kept->runs);
    if (status == PEAT_OK)
        kept->run_count = manifest->run_count;
    if (status < 0) { /* the regions stay this process's until a manifest says that it is damaged */
        kept->loose = held;
        kept->loose_count = manifest->segment_count;
        return status;
    }
    pt_held_list_free(held, manifest->segment_count);
    return status;
}

/* Its bytes are not what they were (6). */
static void mark_damaged(struct pt_kept *kept)
{
    kept->row.flags |= PT_KEPT_DAMAGED;
    kept->row.offset = 0;
    kept->row.size = 0;
}

/* Whether it is the bytes that are wrong. Everything else may pass, and the mark would stay: then the store is
 * not opened. */
static bool is_damage(enum peat_status status)
{
    return status == PEAT_CORRUPT || status == PEAT_INVALID || status == PEAT_VERSION;
}

/* An error that may pass, while the state was loaded. */
static enum peat_status refuse_unread(const struct pt_kept *kept, enum peat_status status)
{
    if (status != PEAT_IO)
        return status;
    return pt_fail(PEAT_IO,
                   "the kept state of generation %" PRIu64 "%s%s cannot be read (%s): until it can "
                   "be, open for reading only; peat salvage makes a new store",
                   kept->row.generation, kept->name[0] == '\0' ? "" : ", ", kept->name,
                   peat_last_error());
}

/* Claim and pin one kept state, or mark it as damaged. */
static enum peat_status load_one(struct peat_db *db, struct pt_kept *kept,
                                 struct pt_known_segments *known)
{
    struct pt_manifest manifest;
    uint8_t *block = NULL;
    enum peat_status status;

    if ((kept->row.flags & PT_KEPT_DAMAGED) != 0)
        return PEAT_OK;
    status = pt_kept_row_load(db, &kept->row, &manifest, &block);
    if (status == PEAT_OK)
        status = claim(db, &kept->row, &manifest, known);
    if (is_damage(status))
        pt_arena_claims_doubtful(db->arena);
    if (status == PEAT_OK)
        status = pin(db, &manifest, known, kept);
    if (status == PEAT_OK)
        status = pt_known_segments_add(known, kept->runs, kept->run_count);
    pt_manifest_fini(&manifest);
    pt_free(block);
    if (!is_damage(status)) /* asked last: each step above may meet what passes */
        return refuse_unread(kept, status);
    mark_damaged(kept);
    return PEAT_OK;
}

/* Free a list of states. */
static void list_free(struct pt_kept **kept, size_t count)
{
    for (size_t i = 0; kept != NULL && i < count; i++)
        pt_kept_free(kept[i]);
    pt_free(kept);
}

/* The states of @p manifest, which lies at @p offset, without runs: the last one is its own. */
static enum peat_status list_new(const struct pt_manifest *manifest, uint64_t offset, uint64_t size,
                                 struct pt_kept ***kept_out, size_t *count_out)
{
    struct pt_manifest_kept own = {.generation = manifest->generation,
                                   .manifest_generation = manifest->generation,
                                   .commit = manifest->log.commit,
                                   .time_us = manifest->log.time_us};
    size_t count = manifest->kept_count;
    struct pt_kept **kept = pt_calloc(count + 1, sizeof(struct pt_kept *));
    enum peat_status status = PEAT_OK;

    *kept_out = NULL;
    if (count > 0 && manifest->kept[count - 1].manifest_generation == manifest->generation)
        own = manifest->kept[--count];
    own.offset = offset;
    own.size = size;
    for (size_t i = 0; i <= count && kept != NULL && status == PEAT_OK; i++) {
        const struct pt_manifest_kept *row = i < count ? &manifest->kept[i] : &own;

        kept[i] = pt_kept_new(row, row->name);
        if (kept[i] == NULL)
            status = PEAT_NO_MEMORY;
    }
    if (kept == NULL || status < 0) {
        list_free(kept, count + 1);
        return pt_fail(PEAT_NO_MEMORY, "history of %zu states", count + 1);
    }
    *kept_out = kept;
    *count_out = count + 1;
    return PEAT_OK;
}

enum peat_status pt_history_load(struct peat_db *db, const struct pt_manifest *manifest,
                                 uint64_t offset, uint64_t size, struct pt_run *const *runs,
                                 size_t run_count)
{
    struct pt_known_segments known = {NULL, 0, 0};
    struct pt_kept **kept = NULL;
    size_t count = 0;
    enum peat_status status = list_new(manifest, offset, size, &kept, &count);

    if (status == PEAT_OK)
        status = pt_kept_pin_runs(kept[count - 1], runs, run_count);
    if (status == PEAT_OK)
        status = pt_known_segments_add(&known, runs, run_count);
    for (size_t i = count; i-- > 1 && status == PEAT_OK;) /* newest first: it shares the most */
        status = load_one(db, kept[i - 1], &known);
    pt_known_segments_fini(&known);
    if (status < 0)
        list_free(kept, count);
    else
        pt_history_set(&db->history, kept, count);
    return status;
}

/* ---- Readers ---- */

enum peat_status pt_history_note(struct peat_db *db, const struct pt_manifest *manifest,
                                 uint64_t offset, uint64_t size)
{
    struct pt_kept **kept = NULL;
    size_t count = 0;
    enum peat_status status = list_new(manifest, offset, size, &kept, &count);

    if (status == PEAT_OK)
        pt_history_set(&db->history, kept, count);
    return status;
}

/* ---- Sizes ---- */

static size_t id_find(const uint64_t *ids, size_t count, uint64_t id)
{
    size_t begin = 0;
    size_t end = count;

    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;

        if (ids[middle] < id)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

/* Add the ids of @p manifest to *ids, both ascending. */
static enum peat_status ids_unite(uint64_t **ids, size_t *count, const struct pt_manifest *manifest)
{
    uint64_t *united = pt_calloc(*count + manifest->segment_count + 1, sizeof(*united));
    size_t i = 0;
    size_t k = 0;
    size_t n = 0;

    if (united == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of segments");
    while (i < *count || k < manifest->segment_count) {
        uint64_t left = i < *count ? (*ids)[i] : UINT64_MAX;
        uint64_t right = k < manifest->segment_count ? manifest->segments[k].id : UINT64_MAX;

        united[n++] = left < right ? left : right;
        i += left <= right;
        k += right <= left;
    }
    pt_free(*ids);
    *ids = united;
    *count = n;
    return PEAT_OK;
}

/* One state's sizes, where @p ids are the segments of all newer ones; its own are added to them. */
static enum peat_status measure_one(struct peat_db *db, const struct pt_kept *kept, uint64_t **ids,
                                    size_t *count, struct pt_kept_size *size_out)
{
    struct pt_manifest manifest;
    uint8_t *block = NULL;
    uint64_t region_size = pt_manifest_extent(kept->row.offset, kept->row.size).size;
    enum peat_status status;

    *size_out = (struct pt_kept_size){region_size, region_size};
    if ((kept->row.flags & PT_KEPT_DAMAGED) != 0)
        return PEAT_OK;
    status = pt_kept_manifest(db, kept, &manifest, &block);
    for (size_t i = 0; i < manifest.segment_count && status == PEAT_OK; i++) {
        size_t place = id_find(*ids, *count, manifest.segments[i].id);

        size_out->all += manifest.segments[i].extent.size;
        if (place == *count || (*ids)[place] != manifest.segments[i].id)
            size_out->own += manifest.segments[i].extent.size;
    }
    if (status == PEAT_OK)
        status = ids_unite(ids, count, &manifest);
    pt_manifest_fini(&manifest);
    pt_free(block);
    return status == PEAT_NO_MEMORY ? status : PEAT_OK; /* damage is shown when it is opened */
}

enum peat_status pt_history_measure_locked(struct peat_db *db, struct pt_kept_size *sizes_out)
{
    const struct pt_history *history = &db->history;
    uint64_t *ids = NULL;
    size_t count = 0;
    enum peat_status status = PEAT_OK;

    for (size_t i = history->count; i-- > 0 && status == PEAT_OK;)
        status = measure_one(db, history->kept[i], &ids, &count, &sizes_out[i]);
    pt_free(ids);
    return status;
}

static enum peat_status totals_locked(struct peat_db *db, struct pt_history_totals *totals)
    PT_REQUIRES(db->history.mutex)
{
    struct pt_history *history = &db->history;
    struct pt_kept_size *sizes;
    const struct pt_kept *own;
    enum peat_status status = PEAT_OK;

    if (history->count == 0)
        return PEAT_OK;
    own = history->kept[history->count - 1];
    totals->count = history->count - 1;
    totals->manifest_size = pt_manifest_extent(own->row.offset, own->row.size).size;
    if (!history->measured && history->count > 1) {
        sizes = pt_calloc(history->count, sizeof(*sizes));
        if (sizes == NULL)
            return pt_fail(PEAT_NO_MEMORY, "sizes of %zu states", history->count);
        status = pt_history_measure_locked(db, sizes);
        history->pinned_size = 0;
        for (size_t i = 0; i + 1 < history->count; i++)
            history->pinned_size += sizes[i].own;
        pt_free(sizes);
    } else if (!history->measured) {
        history->pinned_size = 0;
    }
    history->measured = status == PEAT_OK;
    totals->pinned_size = status == PEAT_OK ? history->pinned_size : 0;
    return status;
}

enum peat_status pt_history_totals(struct peat_db *db, struct pt_history_totals *totals_out)
{
    enum peat_status status;

    memset(totals_out, 0, sizeof(*totals_out));
    pt_mutex_lock(&db->refresh_mutex); /* in a reader: what is read stays in place (5) */
    pt_mutex_lock(&db->history.mutex);
    status = totals_locked(db, totals_out);
    pt_mutex_unlock(&db->history.mutex);
    pt_mutex_unlock(&db->refresh_mutex);
    return status;
}

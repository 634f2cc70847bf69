/*
 * peat_check(): read every byte in use, top down, beside readers and writers.
 *
 *  1. A snapshot pins the segments it sees: they are what is checked.
 *  2. The generation that rules on disk is held like a reader in another process holds it, so what
 *     its superblock names (manifest and log) stays in place while it is read.
 *  3. Kept states are pinned by snapshots, too, and checked as far as the newest does not share them.
 *  4. What is kept of the log for feeds must lead from place to place up to where the log begins. The log must
 *     reach the snapshot's commit. Beyond that it may be in the middle of being written;
 *     only where no writer is in this process is it read to its end.
 *
 * Damage is no reason to stop: it is reported, and what does not hang on it is checked nevertheless.
 */
#include "core/arena/superblock_format.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/db/damage_report.h"
#include "core/db/db.h"
#include "core/db/identity.h"
#include "core/db/places.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    APPEND_US = 10000,   /* an append takes less */
    WORDS_SIZE_MAX = 600 /* bytes of a finding's words */
};

/* A call of peat_check(); owned by its thread. */
struct check {
    struct peat_db *db;
    void (*callback)(void *context, const struct peat_finding *finding);
    bool (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
    uint64_t finding_count;
    uint64_t done;  /* bytes */
    uint64_t total; /* bytes, estimated */
    struct pt_pin pin;
    uint64_t commit;                 /* what the log must reach */
    uint64_t partings;               /* before that was looked at */
    struct pt_superblock superblock; /* of the held generation */
    struct pt_extent *regions;       /* owned: what was found in use; may overlap */
    size_t region_count;
    size_t region_capacity;
    struct peat_snapshot **states; /* owned: the kept states that can be opened */
    size_t state_count;
    struct pt_places places; /* what collections are called */
    struct peat_lost *lost;  /* owned, and the lists of names: for the next finding */
    size_t lost_count;
    const struct pt_slice **slices; /* owned: of all runs, in the order of their segments' places */
    size_t slice_count;
};

enum { GAPS_MAX = 64 /* that one chunk can have: entries of which only the first part is in it */ };

/* Memory of the keys of one finding. */
struct gap_keys {
    uint8_t *places[GAPS_MAX]; /* owned */
    size_t count;
};

/* Some slices of one segment, being checked. */
struct group {
    struct check *check;
    const struct pt_slice *const *slices;
    size_t count;
};

/* ---- What is lost ---- */

static void lost_clear(struct check *check)
{
    for (size_t i = 0; i < check->lost_count; i++)
        pt_free((void *)(uintptr_t)check->lost[i].names);
    pt_free(check->lost);
    check->lost = NULL;
    check->lost_count = 0;
}

/* Keep a copy of @p lost for the next finding. Without memory that one tells less. */
static void lost_add(void *context, const struct peat_lost *lost)
{
    struct check *check = context;
    struct peat_lost *list = pt_realloc(check->lost, (check->lost_count + 1) * sizeof(*list));
    const char **names = pt_calloc(lost->name_count + 1, sizeof(*names));

    if (list != NULL)
        check->lost = list;
    if (list == NULL || names == NULL) {
        pt_free(names);
        return;
    }
    for (size_t i = 0; i < lost->name_count; i++)
        names[i] = lost->names[i];
    list[check->lost_count] = *lost;
    list[check->lost_count++].names = names;
}

/* The stored keys in [@p low, @p high) are lost. */
static void lost_note(struct check *check, struct peat_bytes low, struct peat_bytes high)
{
    struct peat_range range = {low, high, 0};

    if (check->callback != NULL)
        (void)pt_places_split(&check->places, &range, lost_add, check);
}

/* Whether range deletes are lost to the chunk at @p offset of @p segment: any key may be hidden by one then. */
static bool loses_ranges(struct pt_segment *segment, uint64_t offset)
{
    const struct pt_rescue *rescue;

    return segment->range_count > 0 && offset < (uint64_t)(segment->ordinals - segment->base) &&
           offset + PT_CHUNK_SIZE > segment->entries_size &&
           pt_segment_rescue(segment, &rescue) == PEAT_OK && pt_rescue_loses_ranges(rescue);
}

/*
 * What of @p slice is lost to the chunk at @p offset of its segment: the gaps that begin in it. Keys that
 * have to be made for it go to @p places, to be freed once the finding is told.
 */
static void lost_in_chunk(struct check *check, const struct pt_slice *slice, uint64_t offset,
                          struct gap_keys *keys)
{
    struct pt_segment *segment = slice->held->segment;
    const struct pt_rescue *rescue;

    if (offset >= segment->checked_size || pt_segment_rescue(segment, &rescue) < 0)
        return; /* behind all chunks there are no keys but copies */
    for (uint64_t number = 0; number <= pt_rescue_count(rescue); number++) {
        struct peat_range range;
        struct pt_gap gap;

        if (pt_rescue_gap(segment, rescue, number, &gap) != PEAT_OK ||
            gap.offset / PT_CHUNK_SIZE != offset / PT_CHUNK_SIZE)
            continue;
        pt_gap_clip_low(&gap, slice->low, false);
        pt_gap_clip_high(&gap, slice->high, false);
        if (pt_gap_is_empty(&gap) || keys->count == GAPS_MAX ||
            pt_damage_range(&gap, 0, &keys->places[keys->count], &range) < 0)
            continue;
        keys->count++;
        lost_note(check, range.low, range.high);
    }
    if (loses_ranges(segment, offset))
        lost_note(check, slice->low, slice->high);
}

/* ---- Findings ---- */

static void report(struct check *check, uint64_t offset, const char *what, struct peat_bytes low,
                   struct peat_bytes high)
{
    struct peat_finding finding = {what, offset, low, high, check->lost, check->lost_count};

    check->finding_count++;
    if (check->callback != NULL)
        check->callback(check->context, &finding);
    lost_clear(check);
}

/* A finding that concerns the store as a whole. */
static void report_all(struct check *check, uint64_t offset, const char *what)
{
    report(check, offset, what, pt_bytes(NULL, 0), pt_bytes(NULL, 0));
}

/*
 * @p status is what looking at the bytes at @p offset came to. Whatever is wrong with them is a
 * finding in the words of whoever saw it, and the check goes on.
 */
static enum peat_status report_status(struct check *check, uint64_t offset, enum peat_status status)
{
    char words[WORDS_SIZE_MAX];

    if (status >= 0 || status == PEAT_NO_MEMORY || status == PEAT_BUSY)
        return status;
    (void)snprintf(words, sizeof(words), "%s", peat_last_error());
    report_all(check, offset, words);
    return PEAT_OK;
}

/* Count @p size bytes as done. PEAT_DONE: the caller wants no more. */
static enum peat_status advance(struct check *check, uint64_t size)
{
    check->done += size;
    if (check->done > check->total)
        check->total = check->done;
    if (check->progress != NULL && !check->progress(check->context, check->done, check->total))
        return PEAT_DONE;
    return PEAT_OK;
}

/* ---- Regions ---- */

static enum peat_status region_add(struct check *check, struct pt_extent extent)
{
    if (check->region_count == check->region_capacity) {
        size_t capacity = check->region_capacity == 0 ? 64 : 2 * check->region_capacity;
        struct pt_extent *regions = pt_realloc(check->regions, capacity * sizeof(*regions));

        if (regions == NULL)
            return pt_fail(PEAT_NO_MEMORY, "list of %zu regions", capacity);
        check->regions = regions;
        check->region_capacity = capacity;
    }
    check->regions[check->region_count++] = extent;
    return PEAT_OK;
}

static int region_order(const void *left, const void *right)
{
    const struct pt_extent *a = left;
    const struct pt_extent *b = right;

    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return (a->size > b->size) - (a->size < b->size);
}

static void regions_check(struct check *check)
{
    uint64_t file_size = pt_arena_size(check->db->arena);
    uint64_t end = PT_ARENA_START;
    char words[WORDS_SIZE_MAX];

    if (check->region_count > 1)
        qsort(check->regions, check->region_count, sizeof(*check->regions), region_order);
    for (size_t i = 0; i < check->region_count; i++) {
        struct pt_extent region = check->regions[i];

        if (i > 0 && region_order(&region, &check->regions[i - 1]) == 0)
            continue; /* several manifests name it */
        if (region.offset < end) {
            (void)snprintf(words, sizeof(words),
                           "the region at offset %" PRIu64 " overlaps the one before it",
                           region.offset);
            report_all(check, region.offset, words);
        }
        if (region.offset > file_size || region.size > file_size - region.offset) {
            (void)snprintf(words, sizeof(words),
                           "the region at offset %" PRIu64 " reaches beyond the end of the file",
                           region.offset);
            report_all(check, region.offset, words);
        }
        if (region.offset + region.size > end)
            end = region.offset + region.size;
    }
}

/* ---- Superblock and manifest ---- */

/* What the manifest names, its own region included. */
static enum peat_status regions_of_manifest(struct check *check, const struct pt_manifest *manifest)
{
    const struct pt_superblock *superblock = &check->superblock;
    struct pt_extent own = {superblock->manifest_offset,
                            pt_round_up(superblock->manifest_size, PT_REGION_UNIT)};
    enum peat_status status = region_add(check, own);

    for (size_t i = 0; i < manifest->segment_count && status == PEAT_OK; i++)
        status = region_add(check, manifest->segments[i].extent);
    return status;
}

/* Read the manifests that @p manifest keeps, and note their regions. */
static enum peat_status kept_check(struct check *check, const struct pt_manifest *manifest)
{
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < manifest->kept_count && status == PEAT_OK; i++) {
        const struct pt_manifest_kept *kept = &manifest->kept[i];
        struct pt_superblock place = {manifest->store_id, kept->manifest_generation, kept->offset,
                                      kept->size};
        struct pt_manifest decoded;
        uint8_t *block = NULL;

        if (kept->size == 0) /* its own, or damaged and told already */
            continue;
        status = region_add(check, pt_manifest_extent(kept->offset, kept->size));
        if (status < 0)
            break;
        status = report_status(check, kept->offset,
                               pt_manifest_load(check->db, &place, &decoded, &block));
        pt_manifest_fini(&decoded);
        pt_free(block);
        if (status == PEAT_OK)
            status = advance(check, kept->size);
    }
    return status;
}

/* ---- The log ---- */

/* The next record. Another process may be appending: what it is in the middle of may look damaged
 * once, but not again a moment later. */
static enum peat_status record_next(struct pt_log_reader *reader)
{
    struct pt_record record;
    enum peat_status status = pt_log_reader_next(reader, &record);

    if (status == PEAT_CORRUPT) {
        pt_clock_sleep_us(APPEND_US);
        status = pt_log_reader_next(reader, &record);
    }
    return status;
}

/* Read from *point on as far as (4) says, and note the regions. *point: how far it went. */
static enum peat_status log_read(struct check *check, struct pt_log_point *point)
{
    bool live = check->db->log != NULL;
    struct pt_log_reader *reader = NULL;
    const struct pt_extent *regions;
    enum peat_status status;
    size_t count;

    status = pt_log_reader_open(check->db->arena, point, live, &reader);
    while (status == PEAT_OK) {
        *point = pt_log_reader_point(reader);
        status = live && point->commit >= check->commit ? PEAT_DONE : record_next(reader);
    }
    if (reader != NULL) {
        regions = pt_log_reader_regions(reader, &count);
        for (size_t i = 0; i < count && status != PEAT_NO_MEMORY; i++)
            if (region_add(check, regions[i]) < 0)
                status = PEAT_NO_MEMORY;
    }
    pt_log_reader_close(reader);
    return status == PEAT_DONE ? PEAT_OK : status;
}

/* Whether @p place goes on where @p point is, with what a record or a revert says. */
static bool leads_to(const struct pt_log_point *point, const struct pt_log_point *place)
{
    struct pt_id jump = pt_log_jump_chain(&point->chain, place->commit, place->time_us);
    bool same = memcmp(&point->chain, &place->chain, sizeof(place->chain)) == 0;

    return point->position == place->position &&
           (same || memcmp(&jump, &place->chain, sizeof(jump)) == 0);
}

/* Read what is held of the log for feeds from @p start to @p end, the next place where the log is known to begin
 * or go on. */
static enum peat_status held_read(struct check *check, const struct pt_log_point *start,
                                  const struct pt_log_point *end)
{
    struct pt_log_point point = *start;
    struct pt_log_reader *reader = NULL;
    char words[WORDS_SIZE_MAX];
    enum peat_status status = pt_log_reader_open(check->db->arena, start, true, &reader);

    while (status == PEAT_OK && point.position < end->position) {
        struct pt_record record;

        status = pt_log_reader_next(reader, &record);
        point = pt_log_reader_point(reader);
    }
    pt_log_reader_close(reader);
    if (status < 0)
        return report_status(check, point.region.offset + point.offset, status);
    if (!leads_to(&point, end)) {
        (void)snprintf(words, sizeof(words),
                       "the log that is kept for feeds is damaged at offset %" PRIu64
                       ": what follows commit %" PRIu64 " is not there",
                       point.region.offset + point.offset, point.commit);
        report_all(check, point.region.offset + point.offset, words);
    }
    return advance(check, point.position - start->position);
}

/* What the manifest holds of the log for feeds: each place to read from leads to the next. */
static enum peat_status held_check(struct check *check, const struct pt_manifest *manifest)
{
    const struct pt_log_point *start = NULL;
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < manifest->held_count && status == PEAT_OK; i++) {
        const struct pt_log_piece *piece = &manifest->held[i];

        if (!pt_manifest_held_is_log(manifest, i)) /* that one is counted with the log */
            status = region_add(check, piece->start.region);
        if (status == PEAT_OK && piece->has_start && start != NULL)
            status = held_read(check, start, &piece->start);
        if (piece->has_start)
            start = &piece->start;
    }
    if (status == PEAT_OK && start != NULL)
        status = held_read(check, start, &manifest->log);
    return status;
}

/* Whether the store has left its history (parting.h) since the check began, or was about to: so what it had come to is in
 * another one. */
static bool has_left(struct check *check)
{
    if (check->db->read_only)
        (void)pt_refresh(check->db);
    return check->partings % 2 != 0 ||
           atomic_load_explicit(&check->db->partings, memory_order_seq_cst) != check->partings;
}

static enum peat_status log_check(struct check *check, const struct pt_log_point *start)
{
    struct pt_log_point point = *start;
    char words[WORDS_SIZE_MAX];
    uint64_t offset;
    enum peat_status status = PEAT_OK;

    if (start->region.size > 0)
        status = log_read(check, &point);
    offset = point.region.offset + point.offset;
    if (status < 0)
        return report_status(check, offset, status);
    if (point.commit < check->commit && !has_left(check)) {
        (void)snprintf(words, sizeof(words),
                       "the log at offset %" PRIu64 " ends after commit %" PRIu64 ", but %" PRIu64
                       " was acknowledged",
                       offset, point.commit, check->commit);
        report_all(check, offset, words);
    }
    return advance(check, point.position - start->position);
}

/* ---- From the superblocks down ---- */

/* What the held generation names. */
static enum peat_status generation_check(struct check *check)
{
    const struct pt_superblock *superblock = &check->superblock;
    struct peat_db *db = check->db;
    struct pt_identity identity = pt_identity_get(db);
    struct pt_manifest manifest;
    uint8_t *block = NULL;
    enum peat_status status;

    if (memcmp(&superblock->store_id, &identity.store_id, sizeof(identity.store_id)) != 0) {
        report_all(check, 0, "the superblocks are those of another store");
        return PEAT_OK;
    }
    status = pt_arena_refresh_size(db->arena);
    if (status == PEAT_OK)
        status = pt_manifest_load(db, superblock, &manifest, &block);
    if (status < 0)
        return report_status(check, superblock->manifest_offset, status);
    status = regions_of_manifest(check, &manifest);
    if (status == PEAT_OK)
        status = advance(check, superblock->manifest_size);
    if (status == PEAT_OK)
        status = kept_check(check, &manifest);
    if (status == PEAT_OK)
        status = held_check(check, &manifest);
    if (status == PEAT_OK)
        status = log_check(check, &manifest.log);
    if (status == PEAT_OK)
        regions_check(check);
    pt_manifest_fini(&manifest);
    pt_free(block);
    return status;
}

static enum peat_status file_check(struct check *check)
{
    bool damaged = false;
    enum peat_status status = pt_arena_hold_newest(check->db->arena, &check->superblock, &damaged);

    if (status < 0)
        return report_status(check, 0, status);
    if (damaged)
        report_all(check, 0,
                   "one of the two superblocks is damaged or half written; the other one rules, "
                   "and opening the store for writing writes both anew");
    status = advance(check, (uint64_t)PT_SUPERBLOCK_COUNT * PT_SUPERBLOCK_SIZE);
    if (status == PEAT_OK)
        status = generation_check(check);
    (void)pt_arena_unhold_generation(check->db->arena, check->superblock.generation);
    return status;
}

/* ---- Segments ---- */

static bool is_below(struct peat_bytes a, struct peat_bytes b)
{
    return pt_bytes_compare(a, b) < 0;
}

/* Report what was found between the keys @p low and @p high, both included, of a slice. */
static void report_slice(struct check *check, const struct pt_slice *slice, uint64_t offset,
                         const char *what, struct peat_bytes low, struct peat_bytes high)
{
    struct gap_keys keys = {.count = 0};
    uint8_t *behind = NULL;

    if (is_below(low, slice->low))
        low = slice->low;
    if (!is_below(high, slice->high)) {
        high = slice->high;
    } else { /* the end is excluded where it is told: the key right behind */
        behind = pt_calloc(1, high.size + 1);
        if (behind != NULL && high.size > 0)
            memcpy(behind, high.data, high.size);
        high = behind == NULL ? slice->high : pt_bytes(behind, high.size + 1);
    }
    lost_in_chunk(check, slice, offset - slice->held->extent.offset, &keys);
    report(check, offset, what, low, high);
    pt_free(behind);
    for (size_t i = 0; i < keys.count; i++)
        pt_free(keys.places[i]);
}

/* A finding in a group's segment: one for each slice that it hits. */
static void segment_found(void *context, uint64_t offset, const char *what, struct peat_bytes low,
                          struct peat_bytes high)
{
    const struct group *group = context;
    const struct pt_held_segment *held = group->slices[0]->held;
    char words[WORDS_SIZE_MAX];
    bool all_keys = loses_ranges(held->segment, offset); /* not only those near its entries */
    bool told = false;

    offset += held->extent.offset;
    (void)snprintf(words, sizeof(words), "segment %" PRIu64 ", offset %" PRIu64 " of the file: %s",
                   held->id, offset, what);
    if (is_below(high, low)) { /* two keys that are out of order */
        struct peat_bytes lower = high;

        high = low;
        low = lower;
    }
    for (size_t i = 0; i < group->count; i++) {
        const struct pt_slice *slice = group->slices[i];

        if (!all_keys && (!is_below(low, slice->high) || is_below(high, slice->low)))
            continue;
        report_slice(group->check, slice, offset, words, all_keys ? slice->low : low,
                     all_keys ? slice->high : high);
        told = true;
    }
    if (!told) /* in a part that no slice shows: no key is hit */
        report(group->check, offset, words, low, low);
}

/* All slices of a segment are in doubt. */
static void segment_unreadable(const struct group *group)
{
    uint64_t offset = group->slices[0]->held->extent.offset;
    char words[WORDS_SIZE_MAX];

    (void)snprintf(words, sizeof(words), "%s", peat_last_error());
    for (size_t i = 0; i < group->count; i++) {
        lost_note(group->check, group->slices[i]->low, group->slices[i]->high);
        report(group->check, offset, words, group->slices[i]->low, group->slices[i]->high);
    }
}

static enum peat_status group_check(struct group *group)
{
    const struct pt_held_segment *held = group->slices[0]->held;
    uint64_t findings_before = group->check->finding_count;
    enum peat_status status;

    if (held->segment->lost < 0) {
        (void)pt_segment_unreadable(held->segment, held->segment->lost, held->segment->size);
        segment_unreadable(group);
        return advance(group->check, held->summary.size);
    }
    status = pt_segment_check(held->segment, &held->summary, segment_found, group);
    if (status == PEAT_NO_MEMORY)
        return status;
    if (status < 0 && (status != PEAT_CORRUPT || group->check->finding_count == findings_before))
        segment_unreadable(group);
    return advance(group->check, held->summary.size);
}

static int slice_order(const void *left, const void *right)
{
    const struct pt_slice *a = *(const struct pt_slice *const *)left;
    const struct pt_slice *b = *(const struct pt_slice *const *)right;
    int order;

    if (a->held->extent.offset != b->held->extent.offset)
        return a->held->extent.offset < b->held->extent.offset ? -1 : 1;
    if (a->held != b->held)
        return (uintptr_t)a->held < (uintptr_t)b->held ? -1 : 1;
    order = pt_bytes_compare(a->low, b->low);
    return order != 0 ? order : pt_bytes_compare(a->high, b->high);
}

/* The stack number @p i of those that are checked: the newest's, then the kept states'. */
static const struct pt_stack *stack_at(const struct check *check, size_t i)
{
    return i == 0 ? check->pin.stack : check->states[i - 1]->pin.stack;
}

/* Leave one of each: states share slices. */
static void slices_unite(struct check *check)
{
    size_t count = 0;

    qsort(check->slices, check->slice_count, sizeof(const struct pt_slice *), slice_order);
    for (size_t i = 0; i < check->slice_count; i++)
        if (count == 0 || slice_order(&check->slices[count - 1], &check->slices[i]) != 0)
            check->slices[count++] = check->slices[i];
    check->slice_count = count;
}

/* The slices of the pinned stacks, those of one segment side by side, and their segments' regions. */
static enum peat_status slices_collect(struct check *check)
{
    enum peat_status status = PEAT_OK;
    size_t count = 0;

    for (size_t k = 0; k <= check->state_count; k++)
        for (size_t i = 0; i < stack_at(check, k)->run_count; i++)
            count += stack_at(check, k)->runs[i]->slice_count;
    if (count == 0)
        return PEAT_OK;
    check->slices = pt_calloc(count, sizeof(const struct pt_slice *));
    if (check->slices == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu slices", count);
    for (size_t k = 0; k <= check->state_count; k++) {
        const struct pt_stack *stack = stack_at(check, k);

        for (size_t i = 0; i < stack->run_count; i++)
            for (size_t n = 0; n < stack->runs[i]->slice_count; n++)
                check->slices[check->slice_count++] = &stack->runs[i]->slices[n];
    }
    slices_unite(check);
    for (size_t i = 0; i < check->slice_count && status == PEAT_OK; i++)
        if (i == 0 || check->slices[i]->held != check->slices[i - 1]->held)
            status = region_add(check, check->slices[i]->held->extent);
    return status;
}

/* ---- Kept states ---- */

/* The numbers of the kept states. */
struct numbers {
    uint64_t *generations; /* owned */
    size_t count;
    bool no_memory;
};

static bool number_note(void *context, const struct peat_history_entry *entry)
{
    struct numbers *numbers = context;
    uint64_t *generations =
        pt_realloc(numbers->generations, (numbers->count + 1) * sizeof(*generations));

    numbers->no_memory = generations == NULL;
    if (generations == NULL)
        return false;
    numbers->generations = generations;
    generations[numbers->count++] = entry->generation;
    return true;
}

/* Open them all; one that is damaged is a finding, and one that has been dropped meanwhile is not. */
static enum peat_status states_open(struct check *check)
{
    struct numbers numbers = {NULL, 0, false};
    enum peat_status status = peat_history_list(check->db, number_note, &numbers);

    if (status == PEAT_OK && !numbers.no_memory)
        check->states = pt_calloc(numbers.count + 1, sizeof(struct peat_snapshot *));
    if (status == PEAT_OK && check->states == NULL)
        status = pt_fail(PEAT_NO_MEMORY, "list of kept states");
    for (size_t i = 0; i < numbers.count && status == PEAT_OK; i++) {
        status = peat_history_open(check->db, NULL, numbers.generations[i],
                                   &check->states[check->state_count]);
        if (status == PEAT_OK)
            check->state_count++;
        else
            status = status == PEAT_NOT_FOUND ? PEAT_OK : report_status(check, 0, status);
    }
    pt_free(numbers.generations);
    return status;
}

static void states_close(struct check *check)
{
    for (size_t i = 0; i < check->state_count; i++)
        peat_snapshot_close(check->states[i]);
    pt_free(check->states);
}

/* ---- Segments, group by group ---- */

/* The group of the segment that slice number @p first begins. */
static struct group group_at(struct check *check, size_t first)
{
    struct group group = {check, check->slices + first, 1};

    while (first + group.count < check->slice_count &&
           group.slices[group.count]->held == group.slices[0]->held)
        group.count++;
    return group;
}

static enum peat_status segments_check(struct check *check)
{
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < check->slice_count && status == PEAT_OK;) {
        struct group group = group_at(check, i);

        status = group_check(&group);
        i += group.count;
    }
    return status;
}

/* ---- The whole ---- */

static enum peat_status places_load(struct check *check)
{
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_snapshot_open(check->db, &snapshot);

    if (status == PEAT_OK)
        status = pt_places_load(&check->places, snapshot);
    peat_snapshot_close(snapshot);
    return status;
}

/* Pin what is to be checked, and see how much it is. */
static enum peat_status check_begin(struct check *check)
{
    struct peat_db *db = check->db;
    enum peat_status status;

    check->partings = atomic_load_explicit(&db->partings, memory_order_seq_cst);
    check->pin = pt_shelf_pin(&db->shelf);
    check->commit = pt_stack_commit(check->pin.stack);
    /* What is not in the file yet cannot be asked of it. A log that failed writes no more: then only
     * what is there is read. */
    if (db->log != NULL && pt_log_push(db->log) < 0)
        check->commit = 0;
    status = places_load(check);
    if (status == PEAT_OK)
        status = states_open(check);
    if (status == PEAT_OK)
        status = slices_collect(check);
    for (size_t i = 0; i < check->slice_count;) {
        struct group group = group_at(check, i);

        check->total += group.slices[0]->held->summary.size;
        i += group.count;
    }
    if (db->log != NULL)
        check->total += pt_log_size(db->log);
    return status;
}

enum peat_status peat_check(struct peat_db *db,
                            void (*callback)(void *context, const struct peat_finding *finding),
                            bool (*progress)(void *context, uint64_t done, uint64_t total),
                            void *context)
{
    struct check check = {.db = db, .callback = callback, .progress = progress, .context = context};
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    status = check_begin(&check);
    if (status == PEAT_OK)
        status = file_check(&check);
    if (status == PEAT_OK)
        status = segments_check(&check);
    if (status == PEAT_OK && progress != NULL) /* the estimate was too high: it is done now */
        (void)progress(context, check.total, check.total);
    lost_clear(&check);
    pt_places_fini(&check.places);
    pt_free(check.slices);
    pt_free(check.regions);
    states_close(&check);
    pt_shelf_unpin(&db->shelf, check.pin);
    if (status == PEAT_OK && check.finding_count > 0)
        status = pt_fail(PEAT_CORRUPT, "%" PRIu64 " findings", check.finding_count);
    return status;
}

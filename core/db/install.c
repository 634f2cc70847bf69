/*
 * Install: making a new manifest rule.
 *
 *  1. Segments are written, then the manifest into a region of its own, then everything is synced:
 *     nothing on disk leads to any of it yet.
 *  2. Then the other superblock is written with the next generation, and synced: from here on the
 *     new manifest rules.
 *  3. Then only is retired what the old manifest alone named.
 *  4. The store itself pins the runs of the manifest that rules, so that a segment which the file
 *     names can never lose its last pin, whatever becomes of the stacks. history.c does the same for
 *     manifests that are kept.
 *
 * A failed sync poisons: the page cache can no longer be believed. So does a superblock that could not
 * be written, or not be repeated: it may rule or not. That is never PEAT_NO_SPACE, which says that
 * nothing has changed.
 */
#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/base/clock.h"
#include "core/db/db.h"
#include "core/db/identity.h"

enum { MANIFEST_SIZE_MAX = 1 << 30 }; /* bytes: what a superblock may claim */

/* Encode the manifest and write it to a new region; *plan_out: what it keeps. Sets the epoch of
 * the log's beginning, see epochs.c (3). */
static enum peat_status write_manifest(struct peat_db *db, struct pt_run *const *runs,
                                       size_t run_count, struct pt_log_point *log_start,
                                       uint64_t generation, const struct pt_history_change *change,
                                       struct pt_history_plan *plan_out,
                                       struct pt_feeds_plan *feeds_out,
                                       struct pt_superblock *superblock_out,
                                       struct pt_extent *extent_out)
{
    struct pt_identity identity =
        change->identity != NULL ? *change->identity : pt_identity_get(db);
    struct pt_manifest manifest;
    struct pt_lineage lineage;
    uint8_t *block = NULL;
    uint64_t size = 0;
    enum peat_status status = pt_manifest_describe(runs, run_count, &manifest);

    extent_out->size = 0;
    if (status == PEAT_OK)
        status = pt_history_plan(db, runs, run_count, log_start->commit, generation,
                                 pt_clock_wall_us(), change, plan_out, &manifest);
    if (status == PEAT_OK)
        status = pt_feeds_plan(db, log_start, change, feeds_out, &manifest);
    if (status == PEAT_OK) {
        manifest.kind = PT_MANIFEST_STORE;
        manifest.store_id = identity.store_id;
        manifest.generation = generation;
        manifest.next_segment_id = atomic_load_explicit(&db->next_segment_id, memory_order_relaxed);
        manifest.next_collection_id =
            atomic_load_explicit(&db->catalogue->next_id, memory_order_relaxed);
        manifest.hash_seed = identity.hash_seed;
        manifest.log = *log_start;
        /* Acquire pairs with peat_fence(): who sees the role sees its epoch. */
        manifest.role = atomic_load_explicit(&db->role, memory_order_acquire);
        manifest.met_epoch = atomic_load_explicit(&db->met_epoch, memory_order_relaxed);
        lineage = change->lineage == NULL ? pt_epochs_copy(db) : *change->lineage;
        if (change->promote_epoch > 0) {
            PT_ASSERT(manifest.role == PT_ROLE_FOLLOWER);
            manifest.role = 0;
            (void)pt_lineage_note(&lineage, change->promote_epoch, log_start);
        }
        pt_epochs_describe(&lineage, &manifest);
        PT_ASSERT(manifest.log.epoch >= log_start->epoch);
        log_start->epoch = manifest.log.epoch;
        size = pt_manifest_size(&manifest);
        block = pt_malloc(size);
        if (block == NULL)
            status = pt_fail(PEAT_NO_MEMORY, "manifest of %llu bytes", (unsigned long long)size);
    }
    if (status == PEAT_OK) {
        pt_manifest_encode(&manifest, block);
        status = pt_arena_alloc_reserved(db->arena, size, size, 0, extent_out, NULL);
    }
    if (status == PEAT_OK)
        status = pt_file_write(pt_arena_file(db->arena), extent_out->offset, block, size);
    *superblock_out =
        (struct pt_superblock){identity.store_id, generation, extent_out->offset, size};
    pt_manifest_fini(&manifest);
    pt_free(block);
    return status;
}

enum peat_status pt_runs_copy(struct pt_run *const *runs, size_t run_count,
                              struct pt_run ***copy_out)
{
    struct pt_run **copy = pt_calloc(run_count + 1, sizeof(struct pt_run *));

    *copy_out = copy;
    if (copy == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu runs", run_count);
    for (size_t i = 0; i < run_count; i++) {
        copy[i] = runs[i];
        pt_run_pin(runs[i]);
    }
    return PEAT_OK;
}

void pt_installed_set(struct peat_db *db, struct pt_run **runs, size_t run_count)
{
    pt_runs_free(db->installed_runs, db->installed_count);
    db->installed_runs = runs;
    db->installed_count = run_count;
}

/* Everything that the superblock will lead to is on disk. */
static enum peat_status sync_before_superblock(struct peat_db *db, struct pt_extent manifest)
{
    struct pt_file *file = pt_arena_file(db->arena);

    if (PT_BUG(DATA_SYNC_DROPPED) || PT_BUG(SUPERBLOCK_FIRST))
        return PEAT_OK;
    if (PT_BUG(RANGE_FOR_ALL))
        return pt_file_sync_range(file, manifest.offset,
                                  (void *)((uintptr_t)pt_arena_base(db->arena) + manifest.offset),
                                  manifest.size);
    return pt_file_sync(file);
}

/*
 * What the manifest will hold of the log must not be torn below what its segments hold, so it is synced, up to a
 * block of its own: a sync of the file alone leaves the log's last block to be written again.
 */
static enum peat_status sync_for_feeds(struct peat_db *db)
{
    bool named = pt_feeds_settle(db);
    enum peat_status status;

    if (db->log == NULL || !named || PT_BUG(DATA_SYNC_DROPPED) || PT_BUG(FEED_SYNC_DROPPED))
        return PEAT_OK;
    status = pt_log_sync(db->log);
    if (status < 0)
        atomic_store_explicit(&db->poisoned, true, memory_order_release);
    return status;
}

enum peat_status pt_install(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                            const struct pt_log_point *log_start,
                            const struct pt_history_change *change)
{
    uint64_t generation = atomic_load_explicit(&db->generation, memory_order_relaxed) + 1;
    struct pt_log_point start = *log_start; /* it may be db->log_start */
    struct pt_history_plan plan = {.kept = NULL};
    struct pt_feeds_plan feeds = {.pieces = NULL};
    struct pt_run **copy = NULL;
    struct pt_superblock superblock;
    struct pt_extent extent = {0, 0};
    enum peat_status status;

    if (atomic_load_explicit(&db->poisoned, memory_order_acquire))
        return pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    status = sync_for_feeds(db);
    if (status < 0)
        return status;
    status = pt_runs_copy(runs, run_count, &copy);
    if (status == PEAT_OK)
        status = write_manifest(db, runs, run_count, &start, generation, change, &plan, &feeds,
                                &superblock, &extent);
    if (status < 0) {
        if (extent.size > 0)
            pt_arena_release(db->arena, extent);
        pt_history_plan_fini(&plan);
        pt_feeds_plan_fini(&feeds);
        pt_runs_free(copy, copy == NULL ? 0 : run_count);
        return status;
    }
    if (PT_BUG(REUSED_EARLY) && db->log != NULL)
        pt_log_retire(db->log, &start, generation - 1, NULL, NULL);
    status = sync_before_superblock(db, extent);
    if (status == PEAT_OK)
        status = pt_superblock_write(pt_arena_file(db->arena), &superblock);
    if (PT_BUG(SUPERBLOCK_FIRST) && status == PEAT_OK)
        status = pt_file_sync(pt_arena_file(db->arena));
    if (status < 0) { /* which manifest rules is not known now: nothing is released any more */
        atomic_store_explicit(&db->poisoned, true, memory_order_release);
        pt_history_plan_fini(&plan);
        pt_feeds_plan_fini(&feeds);
        pt_runs_free(copy, run_count);
        if (status == PEAT_NO_SPACE && !PT_BUG(CHANGE_DENIED))
            status = pt_fail(PEAT_POISONED, "no space for a superblock: reopen the store");
        return status;
    }
    if (change->identity != NULL)
        pt_identity_set(db, change->identity);
    db->log_start = start;
    atomic_store_explicit(&db->reserve.manifest_size, extent.size, memory_order_relaxed);
    if (change->parts)
        pt_log_budget_restart(&db->log_budget, start.position);
    else
        pt_log_budget_settle(&db->log_budget, start.position);
    /* Release pairs with held.c: what loses its last pin from here on is retired with it. */
    atomic_store_explicit(&db->generation, generation, memory_order_release);
    pt_installed_set(db, copy, run_count);
    pt_history_take(db, &plan, superblock.manifest_offset, superblock.manifest_size);
    if (change->lineage != NULL)
        pt_epochs_set(db, change->lineage);
    if (change->promote_epoch > 0)
        pt_epochs_promoted(db, change->promote_epoch, &start);
    if (change->jump != NULL && !PT_BUG(JUMP_IGNORED))
        pt_log_jump(db->log, change->jump);
    pt_feeds_take(db, &feeds, generation);
    if (db->log != NULL)
        pt_log_retire(db->log, &start, generation, pt_feeds_keep, db);
    return PEAT_OK;
}

enum peat_status pt_publish_runs(struct peat_db *db, size_t flushed_count,
                                 struct pt_run *const *runs, size_t run_count, uint64_t floor)
{
    struct pt_stack *stack = NULL;
    uint64_t flushed_size = 0;
    enum peat_status status;

    pt_mutex_lock(&db->shelf.mutex);
    {
        const struct pt_stack *current = db->shelf.current;
        size_t kept = current->buffer_count - flushed_count;

        for (size_t i = kept; i < current->buffer_count; i++)
            flushed_size += pt_write_buffer_data_size(current->buffers[i]->buffer);
        status = pt_stack_new(current->buffers, kept, runs, run_count,
                              atomic_load_explicit(&db->generation, memory_order_relaxed),
                              floor > current->floor ? floor : current->floor, &stack);
        if (status == PEAT_OK) {
            pt_shelf_publish_locked(&db->shelf, stack);
            /* Release pairs with checkpoint.c: who sees the number finds the stack. */
            atomic_fetch_add_explicit(&db->checkpointer.published, 1, memory_order_release);
            atomic_fetch_sub_explicit(&db->sealed_size, flushed_size, memory_order_relaxed);
        }
    }
    pt_mutex_unlock(&db->shelf.mutex);
    return status;
}

enum peat_status pt_manifest_load(struct peat_db *db, const struct pt_superblock *superblock,
                                  struct pt_manifest *manifest_out, uint8_t **block_out)
{
    uint64_t file_size = pt_arena_size(db->arena);
    uint8_t *block;
    enum peat_status status;

    *block_out = NULL;
    memset(manifest_out, 0, sizeof(*manifest_out));
    if (superblock->manifest_size > MANIFEST_SIZE_MAX || superblock->manifest_offset > file_size ||
        superblock->manifest_size > file_size - superblock->manifest_offset)
        return pt_fail(PEAT_CORRUPT,
                       "%s was cut off: the manifest of generation %llu lies outside it; copy it "
                       "anew, or make a new store of what is left with peat salvage",
                       pt_file_name(pt_arena_file(db->arena)),
                       (unsigned long long)superblock->generation);
    block = pt_malloc(superblock->manifest_size + 1);
    if (block == NULL)
        return pt_fail(PEAT_NO_MEMORY, "manifest of %llu bytes",
                       (unsigned long long)superblock->manifest_size);
    status = pt_file_read(pt_arena_file(db->arena), superblock->manifest_offset, block,
                          superblock->manifest_size);
    if (status == PEAT_OK)
        status = pt_manifest_decode(pt_bytes(block, superblock->manifest_size),
                                    &superblock->store_id, superblock->generation, manifest_out);
    if (status == PEAT_OK && manifest_out->kind == PT_MANIFEST_INCREMENT && !db->is_backup)
        status = pt_fail(PEAT_INVALID,
                         "%s is an increment of a backup: peat restore makes a store of "
                         "it and what it is based on",
                         pt_file_name(pt_arena_file(db->arena)));
    if (status < 0) {
        pt_manifest_fini(manifest_out);
        pt_free(block);
        return status;
    }
    *block_out = block;
    return PEAT_OK;
}

void pt_manifest_take(struct peat_db *db, const struct pt_manifest *manifest)
{
    db->store_id = manifest->store_id;
    atomic_store_explicit(&db->hash_seed, manifest->hash_seed, memory_order_relaxed);
    db->log_start = manifest->log;
    atomic_store_explicit(&db->next_segment_id, manifest->next_segment_id, memory_order_relaxed);
    pt_epochs_take(db, &manifest->lineage);
    atomic_store_explicit(&db->role, manifest->role, memory_order_relaxed);
    atomic_store_explicit(&db->met_epoch, manifest->met_epoch, memory_order_relaxed);
    atomic_store_explicit(&db->fenced_epoch,
                          manifest->role == PT_ROLE_FENCED ? manifest->met_epoch : 0,
                          memory_order_relaxed);
    if (manifest->next_collection_id >
        atomic_load_explicit(&db->catalogue->next_id, memory_order_relaxed))
        atomic_store_explicit(&db->catalogue->next_id, manifest->next_collection_id,
                              memory_order_relaxed);
    atomic_store_explicit(&db->generation, manifest->generation, memory_order_release);
}

void pt_held_list_free(struct pt_held_segment **held, size_t count)
{
    for (size_t i = 0; held != NULL && i < count; i++)
        pt_held_segment_unpin(held[i]);
    pt_free(held);
}

/* Open one, a damaged one as far as it can be; @p around_damage: one that cannot be is held as
 * lost. But what a writer cannot read for an I/O error may be readable the next time, and must not
 * be taken for lost until it is opened again. */
static enum peat_status hold_one(struct peat_db *db, const struct pt_manifest_segment *segment,
                                 bool around_damage, struct pt_held_segment **held_out)
{
    const _Atomic uint64_t *generation = db->read_only ? NULL : &db->generation;
    enum peat_status status =
        pt_held_segment_open(db->arena, &db->store_id, segment->id, segment->extent,
                             &segment->summary, false, generation, held_out);

    if (status == PEAT_CORRUPT && !db->is_backup) /* a damaged backup is no base to build on */
        status = pt_held_segment_open(db->arena, &db->store_id, segment->id, segment->extent,
                                      &segment->summary, true, generation, held_out);

    if (around_damage && (status == PEAT_CORRUPT || (status == PEAT_IO && db->read_only)))
        status = pt_held_segment_open_lost(db->arena, &db->store_id, segment->id, segment->extent,
                                           &segment->summary, status, generation, held_out);
    return status;
}

/* The segment, if it is open, in this place: a copy elsewhere may be damaged. But one that a reader holds as lost for an I/O
 * error is opened anew. */
static struct pt_held_segment *find_open(const struct pt_known_segments *known,
                                         const struct pt_manifest_segment *segment)
{
    struct pt_held_segment *held = pt_known_segments_find_at(
        known, segment->id, &segment->summary.digest, segment->extent.offset);

    return held != NULL && held->segment->lost == PEAT_IO ? NULL : held;
}

enum peat_status pt_manifest_hold(struct peat_db *db, const struct pt_manifest *manifest,
                                  const struct pt_known_segments *known, bool around_damage,
                                  struct pt_held_segment ***held_out)
{
    struct pt_held_segment **held =
        pt_calloc(manifest->segment_count + 1, sizeof(struct pt_held_segment *));
    enum peat_status status = PEAT_OK;

    *held_out = held;
    if (held == NULL)
        return pt_fail(PEAT_NO_MEMORY, "%zu segments", manifest->segment_count);
    for (size_t i = 0; i < manifest->segment_count && status == PEAT_OK; i++) {
        const struct pt_manifest_segment *segment = &manifest->segments[i];

        held[i] = find_open(known, segment);
        if (held[i] != NULL)
            pt_held_segment_pin(held[i]);
        else
            status = hold_one(db, segment, around_damage, &held[i]);
    }
    return status;
}

void pt_runs_free(struct pt_run **runs, size_t run_count)
{
    for (size_t i = 0; runs != NULL && i < run_count; i++)
        pt_run_unpin(runs[i]);
    pt_free(runs);
}

enum peat_status pt_manifest_build(const struct pt_manifest *manifest,
                                   struct pt_held_segment *const *held, struct pt_run ***runs_out)
{
    struct pt_run **runs = pt_calloc(manifest->run_count + 1, sizeof(struct pt_run *));
    struct pt_slice *slices = pt_calloc(manifest->slice_count + 1, sizeof(*slices));
    size_t first = 0;
    enum peat_status status = PEAT_OK;

    *runs_out = NULL;
    if (runs == NULL || slices == NULL)
        status = pt_fail(PEAT_NO_MEMORY, "%zu slices", manifest->slice_count);
    for (size_t i = 0; i < manifest->run_count && status == PEAT_OK; i++) {
        for (size_t k = 0; k < manifest->run_slice_counts[i]; k++) {
            const struct pt_manifest_slice *slice = &manifest->slices[first + k];

            slices[first + k] = (struct pt_slice){
                .held = held[slice->segment_index], .low = slice->low, .high = slice->high};
        }
        status = pt_run_open(slices + first, manifest->run_slice_counts[i], &runs[i]);
        first += manifest->run_slice_counts[i];
    }
    if (status == PEAT_OK) {
        *runs_out = runs;
        runs = NULL; /* the caller's now */
    }
    pt_runs_free(runs, runs == NULL ? 0 : manifest->run_count);
    pt_free(slices);
    return status;
}

enum peat_status pt_manifest_runs(struct peat_db *db, const struct pt_manifest *manifest,
                                  const struct pt_known_segments *known, bool around_damage,
                                  struct pt_run ***runs_out)
{
    struct pt_held_segment **held = NULL;
    enum peat_status status = pt_manifest_hold(db, manifest, known, around_damage, &held);

    *runs_out = NULL;
    if (status == PEAT_OK)
        status = pt_manifest_build(manifest, held, runs_out);
    pt_held_list_free(held, manifest->segment_count);
    return status;
}

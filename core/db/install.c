/*
 * Install: making a new manifest rule.
 *
 *  1. Segments are written, then the manifest into a region of its own, then everything is synced:
 *     nothing on disk leads to any of it yet.
 *  2. Then the other superblock is written with the next generation, and synced: from here on the
 *     new manifest rules.
 *  3. Then only is retired what the old manifest alone named.
 *  4. The store itself pins the runs of the manifest that rules, so that a segment which the file
 *     names can never lose its last pin, whatever becomes of the stacks.
 *
 * A failed sync poisons: the page cache can no longer be believed.
 */
#include "core/base/alloc.h"
#include "core/db/db.h"

enum { MANIFEST_SIZE_MAX = 1 << 30 }; /* bytes: what a superblock may claim */

/* Encode the manifest and write it to a new region. */
static enum peat_status write_manifest(struct peat_db *db, struct pt_run *const *runs,
                                       size_t run_count, const struct pt_log_point *log_start,
                                       uint64_t generation, struct pt_superblock *superblock_out,
                                       struct pt_extent *extent_out)
{
    struct pt_manifest manifest;
    uint8_t *block = NULL;
    uint64_t size = 0;
    enum peat_status status = pt_manifest_describe(runs, run_count, &manifest);

    extent_out->size = 0;
    if (status == PEAT_OK) {
        manifest.store_id = db->store_id;
        manifest.generation = generation;
        manifest.next_segment_id = atomic_load_explicit(&db->next_segment_id, memory_order_relaxed);
        manifest.next_collection_id =
            atomic_load_explicit(&db->catalogue->next_id, memory_order_relaxed);
        manifest.hash_seed = db->hash_seed;
        manifest.log = *log_start;
        size = pt_manifest_size(&manifest);
        block = pt_malloc(size);
        if (block == NULL)
            status = pt_fail(PEAT_NO_MEMORY, "manifest of %llu bytes", (unsigned long long)size);
    }
    if (status == PEAT_OK) {
        pt_manifest_encode(&manifest, block);
        status = pt_arena_alloc(db->arena, size, extent_out);
    }
    if (status == PEAT_OK)
        status = pt_file_write(pt_arena_file(db->arena), extent_out->offset, block, size);
    *superblock_out = (struct pt_superblock){db->store_id, generation, extent_out->offset, size};
    pt_manifest_fini(&manifest);
    pt_free(block);
    return status;
}

/* A list of its own with a pin on each run. */
static enum peat_status copy_runs(struct pt_run *const *runs, size_t run_count,
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

enum peat_status pt_install(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                            const struct pt_log_point *log_start)
{
    uint64_t generation = atomic_load_explicit(&db->generation, memory_order_relaxed) + 1;
    struct pt_log_point start = *log_start; /* it may be db->log_start */
    struct pt_extent before = db->manifest_extent;
    struct pt_run **copy = NULL;
    struct pt_superblock superblock;
    struct pt_extent extent = {0, 0};
    enum peat_status status;

    if (atomic_load_explicit(&db->poisoned, memory_order_acquire))
        return pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    status = copy_runs(runs, run_count, &copy);
    if (status == PEAT_OK)
        status = write_manifest(db, runs, run_count, &start, generation, &superblock, &extent);
    if (status < 0) {
        if (extent.size > 0)
            pt_arena_release(db->arena, extent);
        pt_runs_free(copy, copy == NULL ? 0 : run_count);
        return status;
    }
    status = pt_file_sync(pt_arena_file(db->arena));
    if (status == PEAT_OK)
        status = pt_superblock_write(pt_arena_file(db->arena), &superblock);
    if (status < 0) { /* which manifest rules is not known now: nothing is released any more */
        atomic_store_explicit(&db->poisoned, true, memory_order_release);
        pt_runs_free(copy, run_count);
        return status;
    }
    db->manifest_extent = extent;
    db->log_start = start;
    /* Release pairs with held.c: what loses its last pin from here on is retired with it. */
    atomic_store_explicit(&db->generation, generation, memory_order_release);
    pt_installed_set(db, copy, run_count);
    if (before.size > 0)
        (void)pt_arena_retire(db->arena, before, generation);
    if (db->log != NULL)
        pt_log_retire(db->log, &start, generation);
    return PEAT_OK;
}

enum peat_status pt_publish_runs(struct peat_db *db, size_t flushed_count,
                                 struct pt_run *const *runs, size_t run_count)
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
                              atomic_load_explicit(&db->generation, memory_order_relaxed), &stack);
        if (status == PEAT_OK) {
            pt_shelf_publish_locked(&db->shelf, stack);
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
                       "the superblock of generation %llu names a manifest outside the file",
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
    db->hash_seed = manifest->hash_seed;
    db->log_start = manifest->log;
    atomic_store_explicit(&db->next_segment_id, manifest->next_segment_id, memory_order_relaxed);
    if (manifest->next_collection_id >
        atomic_load_explicit(&db->catalogue->next_id, memory_order_relaxed))
        atomic_store_explicit(&db->catalogue->next_id, manifest->next_collection_id,
                              memory_order_relaxed);
    atomic_store_explicit(&db->generation, manifest->generation, memory_order_release);
}

/* The segment @p id among the runs of @p known: pinned, or NULL. */
static struct pt_held_segment *find_known(const struct pt_stack *known, uint64_t id)
{
    for (size_t i = 0; known != NULL && i < known->run_count; i++) {
        for (size_t k = 0; k < known->runs[i]->slice_count; k++) {
            struct pt_held_segment *held = known->runs[i]->slices[k].held;

            if (held->id == id) {
                pt_held_segment_pin(held);
                return held;
            }
        }
    }
    return NULL;
}

static enum peat_status open_segments(struct peat_db *db, const struct pt_manifest *manifest,
                                      const struct pt_stack *known, struct pt_held_segment **held)
{
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < manifest->segment_count && status == PEAT_OK; i++) {
        const struct pt_manifest_segment *segment = &manifest->segments[i];

        held[i] = find_known(known, segment->id);
        if (held[i] == NULL)
            status = pt_held_segment_open(db->arena, &db->store_id, segment->id, segment->extent,
                                          &segment->summary, db->read_only ? NULL : &db->generation,
                                          &held[i]);
    }
    return status;
}

void pt_runs_free(struct pt_run **runs, size_t run_count)
{
    for (size_t i = 0; runs != NULL && i < run_count; i++)
        pt_run_unpin(runs[i]);
    pt_free(runs);
}

enum peat_status pt_manifest_runs(struct peat_db *db, const struct pt_manifest *manifest,
                                  const struct pt_stack *known, struct pt_run ***runs_out)
{
    struct pt_held_segment **held =
        pt_calloc(manifest->segment_count + 1, sizeof(struct pt_held_segment *));
    struct pt_run **runs = pt_calloc(manifest->run_count + 1, sizeof(struct pt_run *));
    struct pt_slice *slices = pt_calloc(manifest->slice_count + 1, sizeof(*slices));
    size_t first = 0;
    enum peat_status status = PEAT_OK;

    *runs_out = NULL;
    if (held == NULL || runs == NULL || slices == NULL) {
        status = pt_fail(PEAT_NO_MEMORY, "%zu segments", manifest->segment_count);
        goto done;
    }
    status = open_segments(db, manifest, known, held);
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
done:
    pt_runs_free(runs, runs == NULL ? 0 : manifest->run_count);
    for (size_t i = 0; held != NULL && i < manifest->segment_count; i++)
        pt_held_segment_unpin(held[i]);
    pt_free(held);
    pt_free(slices);
    return status;
}

/*
 * Opening, recovery, closing.
 *
 * Recovery, when a store is opened for writing:
 *
 *  1. The newer valid superblock names the manifest, the manifest the segments and where the log
 *     begins. The log is walked once to its end, to know its regions; with the manifest's they are
 *     claimed, and all else is free space.
 *  2. The log is replayed into write buffers; one that is full is flushed, as in normal work, and
 *     the manifest installed then begins the log behind it.
 *  3. What is left is flushed too, the log goes on in a fresh region, and the manifest that says so
 *     is installed before open returns. So what open shows is durable, and nothing that a torn tail
 *     left behind can ever line up behind later records.
 *
 * Closing flushes, and installs a manifest without a log: opening again has nothing to replay.
 */
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/db/db.h"

enum {
    MEMORY_SIZE_MIN = 8 << 20,
    WRITE_BUFFER_SIZE_MIN = 64 << 10,
    EPOCH_SHIFT = 48, /* a segment's id carries the epoch in its upper bits */
    FIRST_EPOCH = 1
};

/* ---- Options ---- */

void peat_options_init(struct peat_options *options)
{
    *options = (struct peat_options){.struct_size = sizeof(*options),
                                     .durability = PEAT_OS,
                                     .sync_interval_ms = 100,
                                     .memory_size_max = (size_t)512 << 20,
                                     .write_buffer_size = (size_t)64 << 20};
}

/* Fields that a program compiled against an older header does not know keep their defaults. */
static enum peat_status take_options(const struct peat_options *given,
                                     struct peat_options *options_out)
{
    peat_options_init(options_out);
    if (given == NULL)
        return PEAT_OK;
    if (given->struct_size < offsetof(struct peat_options, durability) || given->struct_size > 4096)
        return pt_fail(PEAT_INVALID, "options not set up with peat_options_init()");
    memcpy(options_out, given,
           given->struct_size < sizeof(*options_out) ? given->struct_size : sizeof(*options_out));
    options_out->struct_size = sizeof(*options_out);
    if ((options_out->flags & ~(PEAT_CREATE | PEAT_READ_ONLY | PEAT_EXCLUSIVE | PEAT_LOG_PWRITE)) !=
        0)
        return pt_fail(PEAT_INVALID, "unknown flags 0x%x in options", options_out->flags);
    if (options_out->durability == PEAT_DEFAULT)
        options_out->durability = PEAT_OS;
    if (options_out->durability < PEAT_MEMORY || options_out->durability > PEAT_DISK)
        return pt_fail(PEAT_INVALID, "durability %d cannot be a store's default",
                       (int)options_out->durability);
    if (options_out->memory_size_max < MEMORY_SIZE_MIN)
        return pt_fail(PEAT_INVALID, "memory_size_max of %zu bytes: at least %d",
                       options_out->memory_size_max, MEMORY_SIZE_MIN);
    if (options_out->write_buffer_size > options_out->memory_size_max / 4)
        options_out->write_buffer_size = options_out->memory_size_max / 4;
    if (options_out->write_buffer_size < WRITE_BUFFER_SIZE_MIN)
        options_out->write_buffer_size = WRITE_BUFFER_SIZE_MIN;
    return PEAT_OK;
}

/* ---- The store's parts ---- */

static void wake_merger(void *context)
{
    pt_merger_wake(context);
}

static struct peat_db *db_new(const struct peat_options *options)
{
    struct peat_db *db = pt_aligned_alloc(PT_CACHE_LINE, pt_round_up(sizeof(*db), PT_CACHE_LINE));

    struct pt_catalogue *catalogue = pt_catalogue_new();

    if (db == NULL || catalogue == NULL) {
        pt_catalogue_unpin(catalogue);
        pt_free(db);
        return NULL;
    }
    memset(db, 0, sizeof(*db));
    db->catalogue = catalogue;
    db->options = *options;
    db->read_only = (options->flags & PEAT_READ_ONLY) != 0;
    pt_shelf_init(&db->shelf, db->read_only ? NULL : wake_merger, db);
    pt_commit_queue_init(&db->queue);
    pt_mutex_init(&db->syncer.mutex);
    pt_condition_init(&db->syncer.wake);
    pt_mutex_init(&db->merger.mutex);
    pt_condition_init(&db->merger.wake);
    pt_condition_init(&db->merger.done);
    pt_mutex_init(&db->refresh_mutex);
    return db;
}

static void db_free(struct peat_db *db)
{
    pt_merge_forget_sweep(db);
    pt_shelf_fini(&db->shelf);
    pt_installed_set(db, NULL, 0);
    pt_mutex_lock(&db->refresh_mutex);
    pt_log_reader_close(db->tail);
    pt_free(db->held_generations);
    pt_mutex_unlock(&db->refresh_mutex);
    pt_log_close(db->log);
    pt_arena_close(db->arena);
    pt_mutex_fini(&db->refresh_mutex);
    pt_condition_fini(&db->merger.done);
    pt_condition_fini(&db->merger.wake);
    pt_mutex_fini(&db->merger.mutex);
    pt_condition_fini(&db->syncer.wake);
    pt_mutex_fini(&db->syncer.mutex);
    pt_commit_queue_fini(&db->queue);
    pt_catalogue_unpin(db->catalogue);
    pt_free(db);
}

enum peat_status pt_first_stack(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                                const struct pt_log_point *start)
{
    struct pt_held_buffer *buffer = NULL;
    struct pt_stack *stack = NULL;
    size_t capacity = pt_buffer_capacity(db, 0, 0);
    enum peat_status status =
        pt_held_buffer_open(capacity, 0, db->hash_seed, start, &db->buffer_memory, &buffer);

    if (status == PEAT_OK)
        status = pt_stack_new(&buffer, 1, runs, run_count,
                              atomic_load_explicit(&db->generation, memory_order_relaxed), &stack);
    if (status == PEAT_OK) {
        pt_mutex_lock(&db->shelf.mutex);
        pt_shelf_publish_locked(&db->shelf, stack);
        db->queue.active = buffer;
        pt_mutex_unlock(&db->shelf.mutex);
    }
    pt_held_buffer_unpin(buffer); /* the stack's now */
    return status;
}

/* ---- A new store ---- */

static enum peat_status start_log(struct peat_db *db, const struct pt_log_point *from)
{
    struct pt_log_options options = {.pwrite = (db->options.flags & PEAT_LOG_PWRITE) != 0,
                                     .region_size_max = db->options.write_buffer_size};

    return pt_log_open(db->arena, &options, from, &db->log);
}

static enum peat_status make_store(struct peat_db *db, const char *path)
{
    struct pt_log_point start = {.epoch = FIRST_EPOCH};
    enum peat_status status;

    pt_random(&db->store_id, sizeof(db->store_id));
    pt_random(&db->hash_seed, sizeof(db->hash_seed));
    atomic_store_explicit(&db->next_segment_id, (UINT64_C(1) * FIRST_EPOCH << EPOCH_SHIFT) | 1,
                          memory_order_relaxed);
    status = start_log(db, &start);
    if (status < 0)
        return status;
    start = pt_log_point(db->log);
    status = pt_install(db, NULL, 0, &start);
    if (status == PEAT_OK && path != NULL)
        status = pt_file_sync_directory(path);
    if (status == PEAT_OK)
        status = pt_first_stack(db, NULL, 0, &start);
    return status;
}

/* ---- Recovery ---- */

/* What recovery knows of the log. */
struct recovery {
    struct pt_log_point end;   /* behind the last whole record */
    struct pt_extent *regions; /* owned: the old log's */
    size_t region_count;
};

static enum peat_status claim_manifest(struct peat_db *db, const struct pt_superblock *superblock,
                                       const struct pt_manifest *manifest)
{
    enum peat_status status;

    db->manifest_extent.offset = superblock->manifest_offset;
    db->manifest_extent.size = pt_round_up(superblock->manifest_size, PT_REGION_UNIT);
    status = pt_arena_claim(db->arena, db->manifest_extent);
    for (size_t i = 0; i < manifest->segment_count && status == PEAT_OK; i++)
        status = pt_arena_claim(db->arena, manifest->segments[i].extent);
    return status;
}

/* Walk the log to its end, and claim its regions. */
static enum peat_status survey_log(struct peat_db *db, struct recovery *recovery)
{
    struct pt_log_reader *reader = NULL;
    struct pt_record record;
    const struct pt_extent *regions;
    enum peat_status status;

    recovery->end = db->log_start;
    if (db->log_start.region.size == 0)
        return PEAT_OK;
    status = pt_log_reader_open(db->arena, &db->log_start, false, &reader);
    while (status == PEAT_OK)
        status = pt_log_reader_next(reader, &record);
    if (status != PEAT_DONE)
        goto done;
    recovery->end = pt_log_reader_point(reader);
    regions = pt_log_reader_regions(reader, &recovery->region_count);
    recovery->regions = pt_calloc(recovery->region_count + 1, sizeof(*regions));
    status = recovery->regions == NULL ? pt_fail(PEAT_NO_MEMORY, "log regions") : PEAT_OK;
    for (size_t i = 0; i < recovery->region_count && status == PEAT_OK; i++) {
        recovery->regions[i] = regions[i];
        status = pt_arena_claim(db->arena, regions[i]);
    }
done:
    pt_log_reader_close(reader);
    return status;
}

/* Add one batch; a full buffer is flushed first. */
static enum peat_status replay_record(struct peat_db *db, const struct pt_log_point *before,
                                      const struct pt_record *record)
{
    enum peat_status status = PEAT_TOO_LARGE;

    if (record->kind != PT_RECORD_BATCH)
        return PEAT_OK;
    db->counters.replayed_commits++;
    if (pt_write_buffer_data_size(db->queue.active->buffer) < db->options.write_buffer_size)
        status = pt_replay_batch(db, db->queue.active, record->payload, record->commit);
    if (status != PEAT_TOO_LARGE)
        return status;
    status = pt_seal(db, before, record->payload.size / PT_ENTRY_HEADER_SIZE, record->payload.size);
    if (status == PEAT_OK)
        status = pt_flush_step(db);
    if (status == PEAT_OK)
        status = pt_replay_batch(db, db->queue.active, record->payload, record->commit);
    return status;
}

static enum peat_status replay_log(struct peat_db *db)
{
    struct pt_log_point before = db->log_start;
    struct pt_log_reader *reader = NULL;
    struct pt_record record;
    enum peat_status status;

    if (db->log_start.region.size == 0)
        return PEAT_OK;
    status = pt_log_reader_open(db->arena, &db->log_start, false, &reader);
    while (status == PEAT_OK) {
        status = pt_log_reader_next(reader, &record);
        if (status == PEAT_OK)
            status = replay_record(db, &before, &record);
        before = pt_log_reader_point(reader);
    }
    pt_log_reader_close(reader);
    return status == PEAT_DONE ? PEAT_OK : status;
}

/* Flush what was replayed and make the manifest rule whose log is the fresh region. */
static enum peat_status finish_recovery(struct peat_db *db, const struct recovery *recovery)
{
    struct pt_log_point start;
    enum peat_status status = start_log(db, &recovery->end);

    if (status < 0)
        return status;
    start = pt_log_point(db->log);
    /* The active buffer begins at the fresh log: what was replayed is in the one below it. */
    status = pt_seal(db, &start, 0, 0);
    if (status < 0)
        return status;
    status = pt_flush_step(db);
    if (status < 0)
        return status;
    for (size_t i = 0; i < recovery->region_count; i++)
        (void)pt_arena_retire(db->arena, recovery->regions[i],
                              atomic_load_explicit(&db->generation, memory_order_relaxed));
    return PEAT_OK;
}

static enum peat_status recover(struct peat_db *db)
{
    struct recovery recovery = {.regions = NULL};
    struct pt_superblock superblock;
    struct pt_manifest manifest;
    struct pt_run **runs = NULL;
    uint8_t *block = NULL;
    enum peat_status status = pt_superblock_read(pt_arena_file(db->arena), &superblock, NULL);

    if (status < 0 || status == PEAT_NOT_FOUND)
        return status;
    status = pt_manifest_load(db, &superblock, &manifest, &block);
    if (status < 0)
        return status;
    pt_manifest_take(db, &manifest);
    status = claim_manifest(db, &superblock, &manifest);
    if (status == PEAT_OK)
        status = survey_log(db, &recovery);
    if (status == PEAT_OK)
        status = pt_manifest_runs(db, &manifest, NULL, &runs);
    if (status == PEAT_OK) {
        pt_installed_set(db, runs, manifest.run_count);
        status = pt_first_stack(db, runs, manifest.run_count, &db->log_start);
    }
    db->counters.replayed_size = recovery.end.position - db->log_start.position;
    if (status == PEAT_OK)
        status = replay_log(db);
    db->queue.commit = recovery.end.commit;
    db->queue.time_us = recovery.end.time_us;
    if (status == PEAT_OK)
        status = finish_recovery(db, &recovery);
    pt_free(recovery.regions);
    pt_manifest_fini(&manifest);
    pt_free(block);
    return status;
}

/* ---- Public calls ---- */

static enum peat_status open_parts(struct peat_db *db, const char *path)
{
    struct pt_arena_options arena_options = {.flags = db->options.flags,
                                             .address_space_size = db->options.address_space_size};
    bool created = false;
    enum peat_status status = pt_arena_open(path, &arena_options, &db->arena, &created);

    if (status != PEAT_OK)
        return status;
    if (db->read_only)
        return pt_refresh(db);
    status = created ? make_store(db, path) : recover(db);
    if (status == PEAT_OK)
        status = pt_merger_start(db);
    if (status == PEAT_OK)
        status = pt_syncer_start(db);
    return status;
}

enum peat_status peat_open(const char *path, const struct peat_options *options,
                           struct peat_db **db_out)
{
    struct peat_options taken;
    struct peat_db *db = NULL;
    enum peat_status status = pt_checksum_start();

    *db_out = NULL;
    if (status == PEAT_OK)
        status = take_options(options, &taken);
    if (status == PEAT_OK && path == NULL) {
        if ((taken.flags & PEAT_READ_ONLY) != 0)
            status = pt_fail(PEAT_INVALID, "a store in memory cannot be read-only");
        taken.flags |= PEAT_CREATE;
    }
    if (status < 0)
        return status;
    db = db_new(&taken);
    if (db == NULL)
        return pt_fail(PEAT_NO_MEMORY, "store handle");
    status = open_parts(db, path);
    if (status == PEAT_OK) {
        *db_out = db;
        return PEAT_OK;
    }
    pt_syncer_stop(db);
    pt_merger_stop(db);
    db_free(db);
    return status;
}

/* Flush everything and make a manifest rule that needs no log. The threads are stopped. */
static enum peat_status close_clean(struct peat_db *db)
{
    struct pt_log_point end;
    enum peat_status status = PEAT_OK;

    if (atomic_load_explicit(&db->poisoned, memory_order_acquire))
        return pt_fail(PEAT_POISONED, "an earlier write or sync failed: what was acknowledged "
                                      "comes back from the log at the next open");
    if (pt_shelf_full(&db->shelf)) /* sealing would wait for the merger, which is no more */
        status = pt_flush_step(db);
    if (status == PEAT_OK)
        status = pt_commit_seal(db);
    while (status == PEAT_OK)
        status = pt_flush_step(db);
    if (status != PEAT_DONE)
        return status;
    end = pt_log_point(db->log);
    end.region = (struct pt_extent){0, 0};
    status = pt_install(db, db->installed_runs, db->installed_count, &end);
    if (status < 0)
        return status;
    pt_log_end(db->log, atomic_load_explicit(&db->generation, memory_order_relaxed));
    db->log = NULL;
    (void)pt_shelf_reap(&db->shelf);
    pt_arena_reclaim(db->arena, atomic_load_explicit(&db->generation, memory_order_relaxed));
    (void)pt_arena_trim(db->arena);
    return PEAT_OK;
}

static enum peat_status close_db(struct peat_db *db, bool clean)
{
    enum peat_status status = PEAT_OK;

    if (db == NULL)
        return PEAT_OK;
    if (pt_shelf_pinned(&db->shelf))
        return pt_fail(PEAT_BUSY, "a snapshot or iterator is still open: close it first");
    if (!db->read_only) {
        pt_syncer_stop(db);
        pt_merger_stop(db);
    }
    if (!db->read_only && clean)
        status = close_clean(db);
    db_free(db);
    return status;
}

enum peat_status peat_close(struct peat_db *db)
{
    return close_db(db, true);
}

enum peat_status peat_abort(struct peat_db *db)
{
    return close_db(db, false);
}

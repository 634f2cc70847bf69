/*
 * Opening, recovery, closing.
 *
 * Recovery, when a store is opened for writing:
 *
 *  1. The newer valid superblock names the manifest, the manifest the segments and where the log
 *     begins. The log's regions are found by their links; with the manifest's they are claimed, and
 *     all else is free space.
 *  2. The log is replayed into write buffers of moderate size, which the merger flushes meanwhile, as
 *     in normal work: on two processors reading and flushing overlap. Nothing is made durable yet, so
 *     a log that turns out to be damaged leaves the file as it was.
 *  3. What is left is flushed too, the log goes on in a fresh region, and the manifest that says so
 *     is installed before open returns. So what open shows is durable, and nothing that a torn tail
 *     left behind can ever line up behind later records.
 *
 * Closing flushes, and installs a manifest without a log: opening again has nothing to replay.
 */
#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/base/clock.h"
#include "core/db/db.h"

#include <fcntl.h>
#include <inttypes.h>

enum {
    MEMORY_SIZE_MIN = 8 << 20,
    WRITE_BUFFER_SIZE_MIN = 64 << 10,
    LOG_SIZE_MIN = 1 << 20,
    RECOVERY_BUFFER_SIZE = 16 << 20, /* bytes: flushed while the next one fills */
    FILE_SIZE_MAX_MIN = 1 << 20
};

/* ---- Options ---- */

void peat_options_init(struct peat_options *options)
{
    if (options == NULL)
        return;
    *options = (struct peat_options){.struct_size = sizeof(*options),
                                     .durability = PEAT_OS,
                                     .sync_interval_ms = 100,
                                     .memory_size_max = (size_t)512 << 20,
                                     .write_buffer_size = (size_t)64 << 20,
                                     .history_count = 1,
                                     .log_size_max = (size_t)192 << 20,
                                     .feed_log_size_max = UINT64_C(1) << 30,
                                     .replica_count = 1,
                                     .replica_timeout_ms = 10000};
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
    if ((options_out->flags &
         ~(PEAT_CREATE | PEAT_READ_ONLY | PEAT_EXCLUSIVE | PEAT_LOG_PWRITE | PEAT_FOLLOWER)) != 0)
        return pt_fail(PEAT_INVALID, "unknown flags 0x%x in options", options_out->flags);
    if ((options_out->flags & PEAT_FOLLOWER) != 0 && (options_out->flags & PEAT_READ_ONLY) != 0)
        return pt_fail(PEAT_INVALID, "a follower is written to: it cannot be read-only");
    if (options_out->durability == PEAT_DEFAULT)
        options_out->durability = PEAT_OS;
    if (options_out->durability < PEAT_MEMORY || options_out->durability > PEAT_REPLICAS)
        return pt_fail(PEAT_INVALID, "durability %d cannot be a store's default",
                       (int)options_out->durability);
    if (options_out->replica_count == 0)
        return pt_fail(PEAT_INVALID, "replica_count 0: for no follower there is PEAT_DISK");
    if (options_out->memory_size_max < MEMORY_SIZE_MIN)
        return pt_fail(PEAT_INVALID, "memory_size_max of %zu bytes: at least %d",
                       options_out->memory_size_max, MEMORY_SIZE_MIN);
    if (options_out->file_size_max > 0 && options_out->file_size_max < FILE_SIZE_MAX_MIN)
        return pt_fail(PEAT_INVALID, "file_size_max of %llu bytes: at least %d, or 0",
                       (unsigned long long)options_out->file_size_max, FILE_SIZE_MAX_MIN);
    if (options_out->write_buffer_size > options_out->memory_size_max / 4)
        options_out->write_buffer_size = options_out->memory_size_max / 4;
    if (options_out->write_buffer_size < WRITE_BUFFER_SIZE_MIN)
        options_out->write_buffer_size = WRITE_BUFFER_SIZE_MIN;
    if (options_out->log_size_max < LOG_SIZE_MIN)
        options_out->log_size_max = LOG_SIZE_MIN;
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
    pt_checkpointer_init(&db->checkpointer);
    pt_log_budget_init(&db->log_budget);
    pt_mutex_init(&db->put_gate.mutex);
    pt_condition_init(&db->put_gate.left);
    pt_mutex_init(&db->refresh_mutex);
    pt_history_init(&db->history);
    pt_feeds_init(&db->feeds);
    pt_epochs_init(db);
    return db;
}

static void db_free(struct peat_db *db)
{
    pt_merge_forget(db);
    pt_shelf_fini(&db->shelf);
    pt_installed_set(db, NULL, 0);
    pt_history_fini(&db->history);
    pt_feeds_fini(&db->feeds);
    pt_epochs_fini(db);
    pt_mutex_lock(&db->refresh_mutex);
    pt_log_reader_close(db->tail);
    pt_free(db->held_generations);
    pt_mutex_unlock(&db->refresh_mutex);
    pt_log_close(db->log);
    pt_arena_close(db->arena);
    pt_mutex_fini(&db->refresh_mutex);
    pt_condition_fini(&db->put_gate.left);
    pt_mutex_fini(&db->put_gate.mutex);
    pt_log_budget_fini(&db->log_budget);
    pt_checkpointer_fini(&db->checkpointer);
    pt_condition_fini(&db->merger.done);
    pt_condition_fini(&db->merger.wake);
    pt_mutex_fini(&db->merger.mutex);
    pt_condition_fini(&db->syncer.wake);
    pt_mutex_fini(&db->syncer.mutex);
    pt_commit_queue_fini(&db->queue);
    pt_catalogue_unpin(db->catalogue);
    pt_free(db);
}

enum peat_status pt_stack_begin(struct peat_db *db, size_t capacity, uint64_t hash_seed,
                                const struct pt_log_point *start, struct pt_run *const *runs,
                                size_t run_count, struct pt_stack **stack_out)
{
    struct pt_held_buffer *buffer = NULL;
    enum peat_status status =
        pt_held_buffer_open(capacity, 0, hash_seed, start, &db->buffer_memory, &buffer);

    *stack_out = NULL;
    if (status == PEAT_OK)
        status =
            pt_stack_new(&buffer, 1, runs, run_count,
                         atomic_load_explicit(&db->generation, memory_order_acquire), 0, stack_out);
    pt_held_buffer_unpin(buffer); /* the stack's now */
    return status;
}

enum peat_status pt_first_stack(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                                const struct pt_log_point *start)
{
    struct pt_stack *stack;
    enum peat_status status = pt_stack_begin(db, pt_buffer_capacity(db, 0, 0), pt_hash_seed(db),
                                             start, runs, run_count, &stack);

    if (status < 0)
        return status;
    pt_mutex_lock(&db->shelf.mutex);
    pt_shelf_publish_locked(&db->shelf, stack);
    db->queue.active = stack->buffers[0];
    pt_mutex_unlock(&db->shelf.mutex);
    return PEAT_OK;
}

/* ---- A new store ---- */

static enum peat_status start_log(struct peat_db *db, const struct pt_log_point *from)
{
    struct pt_log_options options = {.pwrite = (db->options.flags & PEAT_LOG_PWRITE) != 0,
                                     .region_size_max = db->options.write_buffer_size / 2};

    if (options.region_size_max > db->options.log_size_max / PT_LOG_BUDGET_BUFFERS)
        options.region_size_max = db->options.log_size_max / PT_LOG_BUDGET_BUFFERS;

    return pt_log_open(db->arena, &options, from, &db->log);
}

static enum peat_status make_store(struct peat_db *db, const char *path)
{
    static const struct pt_history_change none = {.name = NULL};
    struct pt_log_point start = {.epoch = PT_FIRST_EPOCH};
    uint64_t hash_seed;
    enum peat_status status;

    pt_random(&db->store_id, sizeof(db->store_id));
    pt_random(&hash_seed, sizeof(hash_seed));
    atomic_store_explicit(&db->hash_seed, hash_seed, memory_order_relaxed);
    (void)pt_role_open(db); /* a new one is what is asked for */
    pt_epochs_note(db, PT_FIRST_EPOCH, &start);
    status = start_log(db, &start);
    if (status < 0)
        return status;
    start = pt_log_point(db->log);
    status = pt_install(db, NULL, 0, &start, &none);
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
    size_t replayed_count; /* the first of them: records were read there, so they are the feeds' */
};

static enum peat_status claim_manifest(struct peat_db *db, const struct pt_superblock *superblock,
                                       const struct pt_manifest *manifest)
{
    enum peat_status status = pt_arena_claim(
        db->arena, pt_manifest_extent(superblock->manifest_offset, superblock->manifest_size));

    for (size_t i = 0; i < manifest->segment_count && status == PEAT_OK; i++)
        status = pt_arena_claim(db->arena, manifest->segments[i].extent);
    for (size_t i = 0; i < manifest->held_count && status == PEAT_OK; i++)
        if (!pt_manifest_held_is_log(manifest, i)) /* that one is claimed with the log */
            status = pt_arena_claim(db->arena, manifest->held[i].start.region);
    if (status == PEAT_OK)
        status = pt_feeds_load(db, manifest);
    return status;
}

/* Claim the log's regions, so that nothing is written over what is yet to be replayed. */
static enum peat_status claim_log(struct peat_db *db, struct recovery *recovery)
{
    enum peat_status status = PEAT_OK;

    recovery->end = db->log_start;
    if (db->log_start.region.size > 0)
        status =
            pt_log_survey(db->arena, &db->log_start, &recovery->regions, &recovery->region_count);
    for (size_t i = 0; i < recovery->region_count && status == PEAT_OK; i++)
        status = pt_arena_claim(db->arena, recovery->regions[i]);
    return status;
}

/* Whether anything was committed to a store of the first generation: else its making may have been cut
 * short. Damage in the log says that something was. */
static enum peat_status log_in_use(struct peat_db *db, bool *in_use_out)
{
    struct pt_log_reader *reader = NULL;
    struct pt_record record;
    enum peat_status status;

    *in_use_out = false;
    if (db->log_start.region.size == 0)
        return PEAT_OK;
    status = pt_log_reader_open(db->arena, &db->log_start, false, &reader);
    if (status == PEAT_OK)
        status = pt_log_reader_next(reader, &record);
    pt_log_reader_close(reader);
    *in_use_out = status == PEAT_OK || status == PEAT_CORRUPT;
    return *in_use_out || status == PEAT_DONE ? PEAT_OK : status;
}

/* Make durable what rules, before anything is written that it does not lead to. */
static enum peat_status settle(struct peat_db *db, const struct pt_superblock *superblock)
{
    bool in_use = superblock->generation > 1;
    enum peat_status status = in_use ? PEAT_OK : log_in_use(db, &in_use);

    return status == PEAT_OK ? pt_superblock_settle(pt_arena_file(db->arena), superblock, in_use)
                             : status;
}

/* Start the merger, or, when it runs already, let it do whatever it wants. */
static enum peat_status start_merger(struct peat_db *db, bool flush_only)
{
    bool running = db->merger.thread.started;

    pt_mutex_lock(&db->merger.mutex);
    db->merger.flush_only = flush_only;
    pt_mutex_unlock(&db->merger.mutex);
    if (!running)
        return pt_merger_start(db);
    pt_merger_wake(db);
    return PEAT_OK;
}

/* Whether buffers must be flushed before the replay goes on. */
static bool must_wait(struct peat_db *db)
{
    return pt_shelf_full(&db->shelf) ||
           (atomic_load_explicit(&db->sealed_size, memory_order_relaxed) > 0 &&
            pt_memory_used(db) > db->options.memory_size_max / 2);
}

/* End the active buffer, and have it flushed while the replay goes on. Waits while memory is short:
 * flushing may take as long as it wants, there is nobody to keep waiting but ourselves. */
static enum peat_status seal_replayed(struct peat_db *db, const struct pt_log_point *start,
                                      const struct pt_record *record)
{
    enum peat_status status = PEAT_OK;

    if (!db->merger.thread.started)
        status = start_merger(db, true);
    while (status == PEAT_OK && must_wait(db))
        status = pt_merger_wait(db, false, UINT64_MAX);
    if (status == PEAT_OK)
        status =
            pt_seal(db, start, record->payload.size / PT_ENTRY_HEADER_SIZE, record->payload.size);
    if (status == PEAT_OK)
        pt_merger_wake(db);
    return status;
}

/* Add one batch; a buffer that is large enough is left to the merger first. */
static enum peat_status replay_record(struct peat_db *db, const struct pt_log_point *before,
                                      const struct pt_record *record)
{
    uint64_t seal_size = db->options.write_buffer_size;
    enum peat_status status = PEAT_TOO_LARGE;

    if (record->kind != PT_RECORD_BATCH)
        return PEAT_OK;
    if (seal_size > RECOVERY_BUFFER_SIZE)
        seal_size = RECOVERY_BUFFER_SIZE;
    db->counters.replayed_commits++;
    if (pt_write_buffer_data_size(db->queue.active->buffer) < seal_size)
        status = pt_replay_batch(db, db->queue.active, record->payload, record->commit);
    if (status != PEAT_TOO_LARGE)
        return status;
    status = seal_replayed(db, before, record);
    if (status == PEAT_OK)
        status = pt_replay_batch(db, db->queue.active, record->payload, record->commit);
    return status;
}

static enum peat_status replay_log(struct peat_db *db, struct recovery *recovery)
{
    struct pt_log_reader *reader = NULL;
    const struct pt_log_piece *pieces;
    struct pt_record record;
    enum peat_status status;

    if (db->log_start.region.size == 0)
        return PEAT_OK;
    status = pt_log_reader_open(db->arena, &db->log_start, false, &reader);
    while (status == PEAT_OK) {
        status = pt_log_reader_next(reader, &record);
        if (status == PEAT_OK) {
            pt_epochs_note(db, record.epoch, &recovery->end);
            status = replay_record(db, &recovery->end, &record);
        }
        recovery->end = pt_log_reader_point(reader);
    }
    if (status == PEAT_DONE) {
        pieces = pt_log_reader_pieces(reader, &recovery->replayed_count);
        status = pt_feeds_add(db, pieces, recovery->replayed_count);
    }
    pt_log_reader_close(reader);
    return status;
}

/* Flush all that is sealed. */
static enum peat_status flush_replayed(struct peat_db *db)
{
    return db->merger.thread.started ? pt_merger_wait(db, false, UINT64_MAX) : pt_flush_step(db);
}

/* Flush what was replayed and make the manifest rule whose log is the fresh region. */
static enum peat_status finish_recovery(struct peat_db *db, const struct recovery *recovery)
{
    struct pt_log_point start;
    enum peat_status status = PEAT_OK;

    if (db->merger.thread.started) /* a flush asks for the log: none goes on as it is made */
        status = flush_replayed(db);
    if (status == PEAT_OK)
        status = start_log(db, &recovery->end);
    if (status < 0)
        return status;
    start = pt_log_point(db->log);
    /* The active buffer begins at the fresh log: what was replayed is in the one below it. */
    if (status == PEAT_OK)
        status = pt_seal(db, &start, 0, 0);
    if (status == PEAT_OK)
        status = flush_replayed(db);
    if (status == PEAT_OK && !PT_BUG(TAIL_NOT_REWRITTEN))
        status = pt_checkpoint(db);
    if (status < 0)
        return status;
    PT_ASSERT(recovery->replayed_count <= recovery->region_count);
    for (size_t i = recovery->replayed_count; i < recovery->region_count; i++)
        (void)pt_arena_retire(db->arena, recovery->regions[i],
                              atomic_load_explicit(&db->generation, memory_order_relaxed));
    return PEAT_OK;
}

/* Numbers that no store has counted up to are forged or damaged, and the next ones may be ones that nobody
 * could open again. */
static enum peat_status check_numbers(struct peat_db *db, const struct pt_log_point *end)
{
    uint64_t generation = atomic_load_explicit(&db->generation, memory_order_relaxed);
    uint64_t segment_id = atomic_load_explicit(&db->next_segment_id, memory_order_relaxed);

    if (pt_log_point_can_go_on(end) && end->epoch <= PT_EPOCH_MAX &&
        generation <= PT_GENERATION_END / 2 && segment_id <= PT_SEGMENT_ID_GO_ON_MAX)
        return PEAT_OK;
    return pt_fail(PEAT_CORRUPT,
                   "%s: its numbers are about to run out (commit %" PRIu64 ", generation %" PRIu64
                   "), so nothing can be written to it: open it read-only, or make a new store of "
                   "it with peat dump and peat load",
                   pt_file_name(pt_arena_file(db->arena)), end->commit, generation);
}

static enum peat_status recover(struct peat_db *db)
{
    uint64_t begin_us = pt_clock_monotonic_us();
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
    atomic_store_explicit(
        &db->reserve.manifest_size,
        pt_manifest_extent(superblock.manifest_offset, superblock.manifest_size).size,
        memory_order_relaxed);
    status = pt_role_open(db);
    if (status == PEAT_OK)
        status = claim_manifest(db, &superblock, &manifest);
    if (status == PEAT_OK)
        status = claim_log(db, &recovery);
    if (status == PEAT_OK)
        status = settle(db, &superblock);
    if (status == PEAT_OK)
        status = pt_manifest_runs(db, &manifest, NULL, true, &runs);
    if (status == PEAT_OK) {
        pt_installed_set(db, runs, manifest.run_count);
        status = pt_history_load(db, &manifest, superblock.manifest_offset,
                                 superblock.manifest_size, runs, manifest.run_count);
    }
    if (status == PEAT_OK)
        status = pt_first_stack(db, runs, manifest.run_count, &db->log_start);
    if (status == PEAT_OK)
        status = replay_log(db, &recovery);
    if (status == PEAT_OK)
        status = check_numbers(db, &recovery.end);
    db->counters.replayed_size = recovery.end.position - manifest.log.position;
    db->queue.commit = recovery.end.commit;
    db->queue.time_us = recovery.end.time_us;
    if (status == PEAT_OK) {
        pt_feeds_recovered(db, recovery.end.commit);
        status = finish_recovery(db, &recovery);
    }
    db->counters.replay_time_us = pt_clock_monotonic_us() - begin_us;
    pt_free(recovery.regions);
    pt_manifest_fini(&manifest);
    pt_free(block);
    return status;
}

/* ---- Public calls ---- */

/* A reader's first look, which counts as replay. */
static enum peat_status open_read_only(struct peat_db *db)
{
    uint64_t begin_us = pt_clock_monotonic_us();
    enum peat_status status = pt_refresh(db);

    pt_mutex_lock(&db->refresh_mutex);
    if (status == PEAT_OK && db->tail != NULL) {
        struct pt_log_point point = pt_log_reader_point(db->tail);

        db->counters.replayed_commits = point.commit - db->log_start.commit;
        db->counters.replayed_size = point.position - db->log_start.position;
        db->counters.replay_time_us = pt_clock_monotonic_us() - begin_us;
    }
    pt_mutex_unlock(&db->refresh_mutex);
    return status;
}

static enum peat_status open_parts(struct peat_db *db, const char *path)
{
    struct pt_arena_options arena_options = {.flags = db->options.flags,
                                             .address_space_size = db->options.address_space_size,
                                             .file_size_max = db->options.file_size_max};
    bool created = false;
    enum peat_status status = pt_arena_open(path, &arena_options, &db->arena, &created);

    if (status != PEAT_OK)
        return status;
    if (db->read_only)
        return open_read_only(db);
    db->in_memory = path == NULL;
    status = created ? make_store(db, path) : recover(db);
    if (status == PEAT_OK)
        pt_reserve_open(db);
    if (status == PEAT_OK)
        status = pt_checkpointer_start(db);
    if (status == PEAT_OK)
        status = start_merger(db, false);
    if (status == PEAT_OK)
        status = pt_syncer_start(db);
    return status;
}

static enum peat_status open_db(const char *path, const struct peat_options *options,
                                bool is_backup, struct peat_db **db_out)
{
    struct peat_options taken;
    struct peat_db *db = NULL;
    enum peat_status status;

    *db_out = NULL;
    status = pt_checksum_start();
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
    db->is_backup = is_backup;
    status = open_parts(db, path);
    if (status == PEAT_OK) {
        *db_out = db;
        return PEAT_OK;
    }
    pt_syncer_stop(db);
    pt_merger_stop(db);
    pt_checkpointer_stop(db);
    db_free(db);
    return status;
}

enum peat_status peat_open(const char *path, const struct peat_options *options,
                           struct peat_db **db_out)
{
    if (db_out == NULL)
        return pt_fail_null();
    return open_db(path, options, false, db_out);
}

enum peat_status pt_open_backup(const char *path, struct peat_db **db_out)
{
    struct peat_options options;
    struct pt_file_info info;
    struct pt_file *file = NULL;
    enum peat_status status = pt_file_open(path, O_RDONLY, &file);

    *db_out = NULL;
    if (status == PEAT_OK)
        status = pt_file_info(file, &info);
    pt_file_close(file);
    if (status != PEAT_OK)
        return status;
    /* No more address space than the file takes: any number may be open at a time. */
    peat_options_init(&options);
    options.flags = PEAT_READ_ONLY;
    options.address_space_size = pt_round_up(info.size + 1, PT_MAP_UNIT);
    return open_db(path, &options, true, db_out);
}

enum peat_status pt_open_to_salvage(const char *path, struct peat_db **db_out)
{
    struct pt_arena_options arena_options = {.flags = PEAT_READ_ONLY, .any_superblock = true};
    struct peat_options options;
    struct peat_db *db;
    bool created = false;
    enum peat_status status = pt_checksum_start();

    *db_out = NULL;
    if (status < 0)
        return status;
    peat_options_init(&options);
    options.flags = PEAT_READ_ONLY;
    db = db_new(&options);
    if (db == NULL)
        return pt_fail(PEAT_NO_MEMORY, "store handle");
    status = pt_arena_open(path, &arena_options, &db->arena, &created);
    if (status == PEAT_OK)
        *db_out = db;
    else
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
    db->is_closing = true;
    status = pt_log_push(db->log);                      /* if what follows fails, this is kept */
    if (status == PEAT_OK && pt_shelf_full(&db->shelf)) /* the merger, who makes room, is no more */
        status = pt_flush_step(db);
    if (status == PEAT_OK)
        status = pt_commit_seal(db);
    while (status == PEAT_OK)
        status = pt_flush_step(db);
    if (status != PEAT_DONE)
        return status;
    end = pt_log_point(db->log);
    end.region = (struct pt_extent){0, 0};
    status = pt_checkpoint_at(db, &end);
    if (status < 0)
        return status;
    pt_log_end(db->log, atomic_load_explicit(&db->generation, memory_order_relaxed), pt_feeds_keep,
               db);
    db->log = NULL;
    (void)pt_shelf_reap(&db->shelf);
    pt_arena_reclaim(db->arena, atomic_load_explicit(&db->generation, memory_order_relaxed));
    pt_reserve_close(db);
    (void)pt_arena_trim(db->arena);
    return PEAT_OK;
}

static bool feed_is_open(struct peat_db *db)
{
    bool is_open;

    pt_mutex_lock(&db->feeds.mutex);
    is_open = db->feeds.open != NULL;
    pt_mutex_unlock(&db->feeds.mutex);
    return is_open;
}

static enum peat_status close_db(struct peat_db *db, bool clean)
{
    enum peat_status status = PEAT_OK;

    if (db == NULL)
        return PEAT_OK;
    if (pt_shelf_pinned(&db->shelf))
        return pt_fail(PEAT_BUSY, "a snapshot or iterator is still open: close it first");
    if (feed_is_open(db))
        return pt_fail(PEAT_BUSY, "a feed is still open: close it first");
    pt_replicas_end(db);
    if (!db->read_only) {
        pt_syncer_stop(db);
        pt_merger_stop(db);
        pt_checkpointer_stop(db);
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

unsigned peat_flags(const struct peat_db *db)
{
    if (db == NULL)
        return 0;
    return pt_role_is(db, PT_ROLE_FOLLOWER) ? db->options.flags
                                            : db->options.flags & ~PEAT_FOLLOWER;
}

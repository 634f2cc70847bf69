/*
 * Read-only stores: a reader in another process than the writer.
 *
 *  1. A generation is held by a shared byte lock before its manifest is believed; then the
 *     superblock is read again, and if the generation still rules, nothing that it names is reused
 *     while the lock is held.
 *  2. The log's tail is replayed into write buffers of this process's own, and is read on from there
 *     at each refresh. Buffers hold a gapless range of commits, so when a newer manifest comes they
 *     stay as they are above its runs, as long as they reach at least as far as it does.
 *  3. A generation is given up when no stack of this process is left that shows it.
 *  4. What is shown never becomes older. When reading the tail fails it is begun anew at the manifest's log, and
 *     what the buffers have is passed over; meanwhile they stay, and so they do if it fails again.
 *  5. But a writer may have left the history for another one (parting.h). Then the log does not lead to what
 *     the buffers have, as the chain tells, and they go with the history.
 */
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/db/db.h"

enum {
    HOLD_TRIES = 1000, /* the writer may install faster than we look, but not for ever */
    LATE_BUFFER_SIZE =
        64 << 20, /* bytes: of buffers when the writer is far ahead of its manifest */
    TAIL_TRIES = 3,
    TAIL_WAIT_US = 10000
};

/* Whether the tail has been read in the log region that @p nonce stands for: then it is on the chain
 * of regions that goes on from there. A writer that recovered began another chain. */
static bool tail_passed_locked(const struct peat_db *db, const struct pt_id *nonce)
    PT_REQUIRES(db->refresh_mutex)
{
    for (size_t i = 0; i < PT_TAIL_NONCES; i++) {
        if (memcmp(&db->tail_nonces[i], nonce, sizeof(*nonce)) == 0)
            return true;
    }
    return false;
}

static void note_nonce_locked(struct peat_db *db) PT_REQUIRES(db->refresh_mutex)
{
    struct pt_log_point point = pt_log_reader_point(db->tail);

    if (!tail_passed_locked(db, &point.nonce))
        db->tail_nonces[db->tail_nonce_count++ % PT_TAIL_NONCES] = point.nonce;
}

/* ---- Generations ---- */

static enum peat_status hold_locked(struct peat_db *db, uint64_t generation)
    PT_REQUIRES(db->refresh_mutex)
{
    uint64_t *held = pt_realloc(db->held_generations, (db->held_count + 1) * sizeof(*held));
    enum peat_status status;

    if (held == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of generations");
    db->held_generations = held;
    status = pt_arena_hold_generation(db->arena, generation);
    if (status == PEAT_OK)
        held[db->held_count++] = generation;
    return status;
}

/* Give up all generations below @p oldest. */
static void unhold_below_locked(struct peat_db *db, uint64_t oldest) PT_REQUIRES(db->refresh_mutex)
{
    size_t kept = 0;

    for (size_t i = 0; i < db->held_count; i++) {
        if (db->held_generations[i] < oldest)
            (void)pt_arena_unhold_generation(db->arena, db->held_generations[i]);
        else
            db->held_generations[kept++] = db->held_generations[i];
    }
    db->held_count = kept;
}

/* The ruling superblock, its generation held (1). */
static enum peat_status hold_newest_locked(struct peat_db *db, struct pt_superblock *superblock_out)
    PT_REQUIRES(db->refresh_mutex)
{
    enum peat_status status = pt_superblock_read(pt_arena_file(db->arena), superblock_out, NULL);

    for (int i = 0; i < HOLD_TRIES && status == PEAT_OK; i++) {
        uint64_t generation = superblock_out->generation;

        if (generation == atomic_load_explicit(&db->generation, memory_order_relaxed))
            return PEAT_OK; /* held already */
        status = hold_locked(db, generation);
        if (status == PEAT_OK)
            status = pt_superblock_read(pt_arena_file(db->arena), superblock_out, NULL);
        if (status == PEAT_OK && superblock_out->generation == generation)
            return PEAT_OK;
    }
    if (status != PEAT_OK)
        return status;
    return pt_fail(PEAT_BUSY, "the writer installs generations faster than they can be read");
}

/* ---- The log's tail ---- */

/* Bytes after which a buffer is full: small ones are given back sooner, as manifests cover them; but
 * there are only so many places in a stack. */
static uint64_t seal_size(const struct peat_db *db)
{
    uint64_t size = db->options.write_buffer_size;

    return db->shelf.current->buffer_count > PT_STACK_BUFFERS_MAX / 2 && size < LATE_BUFFER_SIZE
               ? LATE_BUFFER_SIZE
               : size;
}

/* Make room on top: a sealed buffer stays in the stack until a manifest covers it. */
static enum peat_status seal_full(struct peat_db *db, struct peat_bytes payload)
{
    struct pt_log_point none = {.commit = pt_write_buffer_commit(db->queue.active->buffer)};
    uint64_t size = seal_size(db) > payload.size ? seal_size(db) : payload.size;

    return pt_seal(db, &none, payload.size / PT_ENTRY_HEADER_SIZE, size);
}

/* Read what the writer has appended since the last time. PEAT_GAP: in another history, see (5). */
static enum peat_status drain_locked(struct peat_db *db) PT_REQUIRES(db->refresh_mutex)
{
    struct pt_record record;
    struct pt_log_point before;
    struct pt_log_point behind;
    enum peat_status status = PEAT_OK;

    while (db->tail != NULL && status == PEAT_OK) {
        status = pt_log_reader_next(db->tail, &record);
        if (status != PEAT_OK)
            continue;
        note_nonce_locked(db);
        before = pt_log_reader_begin(db->tail);
        pt_epochs_note(db, record.epoch, &before);
        behind = pt_log_reader_point(db->tail);
        if (record.kind == PT_RECORD_BATCH && record.commit == db->reached.commit) {
            db->is_regained = memcmp(&behind.chain, &db->reached.chain, sizeof(behind.chain)) == 0;
            if (!db->is_regained) { /* (5): what comes next must not lie upon what the buffers have */
                status = PEAT_GAP;
                break;
            }
        }
        if (record.kind != PT_RECORD_BATCH ||
            record.commit <= pt_write_buffer_commit(db->queue.active->buffer)) /* regained: (4) */
            continue;
        status = PEAT_TOO_LARGE;
        if (pt_write_buffer_data_size(db->queue.active->buffer) < seal_size(db))
            status = pt_replay_batch(db, db->queue.active, record.payload, record.commit);
        if (status == PEAT_TOO_LARGE) {
            status = seal_full(db, record.payload);
            if (status == PEAT_OK)
                status = pt_replay_batch(db, db->queue.active, record.payload, record.commit);
        }
        if (status == PEAT_OK)
            db->reached = behind;
    }
    if (status < 0) { /* the record that was lost would leave a gap: begin again at the manifest */
        pt_log_reader_close(db->tail);
        db->tail = NULL;
    }
    return status == PEAT_DONE ? PEAT_OK : status;
}

/*
 * Whether the log really ends where the tail has come to. A writer's half-written records and damage
 * look alike to a reader that follows along; so when it begins, it asks as recovery would, and
 * believes in damage only if it is still there after a while. PEAT_CORRUPT.
 */
static enum peat_status verify_tail_locked(struct peat_db *db) PT_REQUIRES(db->refresh_mutex)
{
    enum peat_status status = PEAT_OK;

    for (int i = 0; i < TAIL_TRIES && db->tail != NULL; i++) {
        struct pt_log_point point = pt_log_reader_point(db->tail);
        struct pt_log_reader *reader = NULL;
        struct pt_record record;

        status = pt_log_reader_open(db->arena, &point, false, &reader);
        if (status == PEAT_OK)
            status = pt_log_reader_next(reader, &record);
        pt_log_reader_close(reader);
        if (status != PEAT_CORRUPT)
            return status < 0 ? status : PEAT_OK;
        pt_clock_sleep_us(TAIL_WAIT_US);
        if (drain_locked(db) < 0)
            break;
    }
    return status;
}

/* Read the log from where the manifest begins it. */
static enum peat_status open_tail_locked(struct peat_db *db, const struct pt_log_point *start)
    PT_REQUIRES(db->refresh_mutex)
{
    pt_log_reader_close(db->tail);
    db->tail = NULL;
    if (start->region.size == 0)
        return PEAT_OK;
    memset(db->tail_nonces, 0, sizeof(db->tail_nonces));
    db->tail_nonces[0] = start->nonce;
    db->tail_nonce_count = 1;
    return pt_log_reader_open(db->arena, start, true, &db->tail);
}

/* ---- Manifests ---- */

/* A stack of @p runs under those buffers that go beyond @p commit. */
static enum peat_status swap_runs(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                                  uint64_t commit)
{
    size_t covered = 0;

    pt_mutex_lock(&db->shelf.mutex);
    {
        const struct pt_stack *current = db->shelf.current;

        while (covered + 1 < current->buffer_count &&
               pt_write_buffer_commit(
                   current->buffers[current->buffer_count - 1 - covered]->buffer) <= commit)
            covered++;
    }
    pt_mutex_unlock(&db->shelf.mutex);
    return pt_publish_runs(db, covered, runs, run_count, commit);
}

/* The manifest was not shown after all: the generation that counts is the current stack's. */
static void fall_back_locked(struct peat_db *db) PT_REQUIRES(db->refresh_mutex)
{
    uint64_t generation;

    pt_mutex_lock(&db->shelf.mutex);
    generation = db->shelf.current == NULL ? 0 : db->shelf.current->generation;
    pt_mutex_unlock(&db->shelf.mutex);
    atomic_store_explicit(&db->generation, generation, memory_order_release);
}

/* Whether the log that follows the manifest should be read, and is not. */
static bool tail_lost_locked(const struct peat_db *db) PT_REQUIRES(db->refresh_mutex)
{
    return db->tail == NULL && db->log_start.region.size != 0;
}

/* The manifest's runs, which share segments with those of the current stack. */
static enum peat_status open_runs(struct peat_db *db, const struct pt_manifest *manifest,
                                  struct pt_run ***runs_out)
{
    const struct pt_stack *stack = db->shelf.slots[0].stack;
    struct pt_known_segments known = {NULL, 0, 0};
    enum peat_status status = PEAT_OK;

    if (stack != NULL)
        status = pt_known_segments_add(&known, stack->runs, stack->run_count);
    if (status == PEAT_OK)
        status = pt_manifest_runs(db, manifest, &known, !db->is_backup, runs_out);
    pt_known_segments_fini(&known);
    return status;
}

/* The buffers reach beyond the manifest, but not from where its log begins: find the tail's place, then show
 * them above its runs (4). PEAT_GAP: there is none (5). */
static enum peat_status regain_tail_locked(struct peat_db *db, const struct pt_manifest *manifest,
                                           struct pt_run *const *runs)
    PT_REQUIRES(db->refresh_mutex)
{
    enum peat_status status = open_tail_locked(db, &manifest->log);

    db->is_regained = false;
    if (status == PEAT_OK)
        status = drain_locked(db);
    if (status == PEAT_OK)
        status = verify_tail_locked(db);
    if (status == PEAT_OK && !db->is_regained)
        return PEAT_GAP;
    if (status == PEAT_OK)
        status = swap_runs(db, runs, manifest->run_count, manifest->log.commit);
    return status;
}

/* Show the manifest's runs, and the log behind them alone. */
static enum peat_status begin_anew_locked(struct peat_db *db, const struct pt_manifest *manifest,
                                          struct pt_run *const *runs) PT_REQUIRES(db->refresh_mutex)
{
    enum peat_status status = pt_first_stack(db, runs, manifest->run_count, &manifest->log);

    if (status < 0)
        return status;
    db->reached = manifest->log;
    pt_epochs_set(db, &manifest->lineage); /* none of what was there before may be left: (5) */
    status = open_tail_locked(db, &manifest->log);
    if (status == PEAT_OK)
        status = drain_locked(db);
    if (status == PEAT_OK)
        status = verify_tail_locked(db);
    return status;
}

/* Show the manifest's runs with the log that follows it. */
static enum peat_status take_manifest_locked(struct peat_db *db,
                                             const struct pt_superblock *superblock,
                                             const struct pt_manifest *manifest)
    PT_REQUIRES(db->refresh_mutex)
{
    struct pt_run **runs = NULL;
    uint64_t reached = 0;
    enum peat_status status;
    bool gapless;

    db->store_id = manifest->store_id; /* checksums are keyed by it */
    atomic_store_explicit(&db->hash_seed, manifest->hash_seed, memory_order_relaxed);
    status = open_runs(db, manifest, &runs);
    if (status < 0)
        return status;
    /* Before anything is shown: rows of a newer generation than the stack's do no harm, it is held. */
    status = pt_history_note(db, manifest, superblock->manifest_offset, superblock->manifest_size);
    if (status == PEAT_OK)
        status = pt_feeds_load(db, manifest);
    if (status < 0) {
        pt_runs_free(runs, manifest->run_count);
        return status;
    }
    pt_manifest_take(db, manifest);
    /* (2): the buffers reach as far as the manifest, and the tail goes on from its log. */
    if (db->queue.active != NULL)
        reached = pt_write_buffer_commit(db->queue.active->buffer);
    gapless = db->queue.active != NULL && db->tail != NULL && manifest->log.region.size != 0 &&
              tail_passed_locked(db, &manifest->log.nonce) && reached >= manifest->log.commit;
    if (gapless) {
        status = swap_runs(db, runs, manifest->run_count, manifest->log.commit);
    } else {
        status = PEAT_GAP;
        if (reached > manifest->log.commit && manifest->log.region.size != 0)
            status = regain_tail_locked(db, manifest, runs);
        if (status == PEAT_GAP) {
            uint64_t parting = reached > manifest->log.commit ? 1 : 0;

            atomic_fetch_add_explicit(&db->partings, parting, memory_order_seq_cst);
            status = begin_anew_locked(db, manifest, runs);
            atomic_fetch_add_explicit(&db->partings, parting, memory_order_seq_cst);
        }
    }
    if (status < 0)
        fall_back_locked(db);
    pt_runs_free(runs, manifest->run_count);
    return status;
}

static enum peat_status refresh_locked(struct peat_db *db) PT_REQUIRES(db->refresh_mutex)
{
    struct pt_superblock superblock;
    struct pt_manifest manifest;
    uint8_t *block = NULL;
    uint64_t oldest;
    enum peat_status status = pt_arena_refresh_size(db->arena);

    if (status == PEAT_OK)
        status = drain_locked(db);
    if (status == PEAT_OK)
        status = hold_newest_locked(db, &superblock);
    if (status == PEAT_OK)
        status = pt_arena_refresh_size(db->arena);
    if (status == PEAT_OK &&
        (superblock.generation != atomic_load_explicit(&db->generation, memory_order_relaxed) ||
         tail_lost_locked(db))) {
        status = pt_manifest_load(db, &superblock, &manifest, &block);
        if (status == PEAT_OK) {
            status = drain_locked(db);
            if (status == PEAT_OK)
                status = take_manifest_locked(db, &superblock, &manifest);
            pt_manifest_fini(&manifest);
            pt_free(block);
        }
        if (status == PEAT_OK)
            status = drain_locked(db);
    }
    oldest = pt_shelf_reap(&db->shelf);
    if (oldest > atomic_load_explicit(&db->generation, memory_order_relaxed))
        oldest = atomic_load_explicit(&db->generation, memory_order_relaxed);
    unhold_below_locked(db, oldest);
    return status;
}

enum peat_status pt_refresh(struct peat_db *db)
{
    enum peat_status status;

    pt_mutex_lock(&db->refresh_mutex);
    status = refresh_locked(db);
    pt_mutex_unlock(&db->refresh_mutex);
    return status;
}

enum peat_status peat_refresh(struct peat_db *db)
{
    if (db == NULL)
        return pt_fail_null();
    return db->read_only ? pt_refresh(db) : PEAT_OK;
}

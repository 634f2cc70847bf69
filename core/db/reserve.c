/*
 * When the reserve may be used, and how large it is.
 *
 * A full disk must not be the end: deletes, flushes and merges give space back, but take some first. So a
 * part of the file is kept back for them (core/arena/arena_reserve.c), in four parts:
 *
 *   manifests   a log region and two manifests: what opening and a checkpoint take
 *   log         what flushing the log takes that is not yet in segments: as large as commits are let
 *               go on (covered). So a store that is full can be flushed, and one that was killed there
 *               can be opened for writing. Not while there is room for three times the file: it is
 *               looked for again with each piece that commits go on by. None in memory: nobody opens
 *               that again
 *   deletes     what the log of deletes takes, until it is flushed
 *   step        what a merge step takes; a share of the file
 *
 *   who                          leaves alone
 *   ordinary commits, spare      all of it, and need all of it to be there when they go on beyond
 *   log regions                  what is covered
 *   commits that only delete     step, log, manifests: else no merge could free what they deleted
 *   merge steps                  log, manifests, while somebody commits deletes; and nothing is published that frees less than it took
 *   flushes                      manifests
 *   checkpoints, opening         nothing
 *
 *  1. All of these ask for ordinary space first. What they then draw from the reserve makes covered 0:
 *     the next commit asks for the reserve to be filled before it goes on.
 *  2. A commit that finds no space has what is in the log flushed, if that frees some of the log, and tries
 *     again, once; if it only deletes, with the reserve. So a commit costs what it did: a comparison
 *     more.
 *  3. What has been promised to the log is lowered only where nobody is committing.
 */
#include "core/db/batch.h"
#include "core/db/db.h"

enum {
    CHUNK_SIZE_MIN = 128 << 10, /* bytes of log to cover at a time: a share of what there is */
    CHUNK_SIZE_MAX = 16 << 20,
    CHUNK_SHARE = 4,
    STEP_FILE_MIN = 1 << 20,   /* bytes: a smaller file has nothing to merge */
    STEP_SIZE_MIN = 768 << 10, /* bytes: a log region, and to flush it; for small files less, */
    STEP_SHARE_SMALL = 4,      /* such a part of the file, */
    STEP_SHARE = 12,           /* for large ones more: such a part, about a segment of a merge, */
    STEP_SIZE_MAX = 80 << 20,
    STEP_MEMORY_SHARE = 2,    /* and at most such a part of memory_size_max */
    ROOM_SHARE = 2,           /* times the file's size: less is not much room */
    ROOM_SIZE_MIN = 16 << 20, /* bytes: nor are two times this */
    SHORT_SEGMENT_SIZE_MIN = 256 << 10,
    REGAIN_STEPS = 8, /* of merging, that a commit which only deletes waits for */
    /* Bytes of log: for less a flush is not worth it, of deletes least of all: it makes a segment, and the
     * reserve may give the log as little as a region unit at a time. */
    RELIEF_SIZE_MIN = 64 << 10,
    RELIEF_SIZE_MIN_DELETES = 320 << 10
};

/* ---- How large ---- */

static uint64_t for_manifests(const struct peat_db *db)
{
    return PT_REGION_UNIT +
           2 * atomic_load_explicit(&db->reserve.manifest_size, memory_order_relaxed);
}

/* Of @p cost of the log, as pt_log_cost() has it: segments are smaller than 5/4 of that. */
static uint64_t for_log(const struct peat_db *db, uint64_t cost)
{
    return db->in_memory ? 0 : cost + cost / 4;
}

/* Bytes of the file that are in use for something else. */
static uint64_t data_size(struct peat_db *db)
{
    return pt_arena_used_size(db->arena);
}

/* A log region and what it takes to flush it; for a small file less. */
static uint64_t for_deletes(uint64_t data)
{
    if (data < STEP_FILE_MIN)
        return 0;
    return data / STEP_SHARE_SMALL < STEP_SIZE_MIN ? data / STEP_SHARE_SMALL : STEP_SIZE_MIN;
}

/* As much, but of a large file about what a merge step writes. */
static uint64_t for_step(const struct peat_db *db, uint64_t data)
{
    uint64_t size = for_deletes(data);
    uint64_t size_max = db->options.memory_size_max / STEP_MEMORY_SHARE;

    if (size_max > STEP_SIZE_MAX)
        size_max = STEP_SIZE_MAX;
    if (data / STEP_SHARE > size)
        size = data / STEP_SHARE;
    return size < size_max ? size : size_max;
}

/* Whether there is so much room beside @p data that it cannot be gone before the next look. */
static bool is_roomy(struct peat_db *db, uint64_t data)
{
    return pt_arena_room(db->arena) / ROOM_SHARE > data + ROOM_SIZE_MIN;
}

/* Where there is much room the log's part is left out: it is the largest under load, and would be a quarter of
 * what 1 GB of live data takes at the worst moment of overwriting. */
static uint64_t target(struct peat_db *db, uint64_t cost)
{
    uint64_t data = data_size(db);

    return for_manifests(db) + (is_roomy(db, data) ? 0 : for_log(db, cost)) + for_deletes(data) +
           for_step(db, data);
}

uint64_t pt_reserve_for_flush(const struct peat_db *db)
{
    return for_manifests(db);
}

static uint64_t for_flushes(const struct peat_db *db)
{
    uint64_t used = pt_log_budget_used(&db->log_budget);
    uint64_t promised = atomic_load_explicit(&db->reserve.promised, memory_order_relaxed);

    return for_manifests(db) + for_log(db, used > promised ? used : promised);
}

uint64_t pt_reserve_for_merge(struct peat_db *db)
{
    return for_flushes(db) + (db->reserve.merge_at_rest ? 0 : for_deletes(data_size(db)));
}

/* What is left of a merge step's share. */
static uint64_t rest_of_step(struct peat_db *db)
{
    uint64_t drawn = atomic_load_explicit(&db->reserve.merge_drawn, memory_order_relaxed);
    uint64_t size = for_step(db, data_size(db));

    return size > drawn ? size - drawn : 0;
}

uint64_t pt_reserve_for_relief(struct peat_db *db)
{
    return for_flushes(db) + rest_of_step(db);
}

uint64_t pt_reserve_segment_size_max(struct peat_db *db)
{
    uint64_t data = data_size(db);
    uint64_t size = for_step(db, data) / 2;

    if (is_roomy(db, data))
        return UINT64_MAX;
    return size > SHORT_SEGMENT_SIZE_MIN ? size : SHORT_SEGMENT_SIZE_MIN;
}

/* ---- Commits ---- */

static void cover(struct peat_db *db, uint64_t cost)
{
    atomic_store_explicit(&db->reserve.promised, cost, memory_order_relaxed);
    atomic_store_explicit(&db->reserve.covered, cost, memory_order_relaxed);
}

void pt_reserve_drawn(struct peat_db *db)
{
    atomic_store_explicit(&db->reserve.covered, 0, memory_order_relaxed);
}

enum peat_status pt_reserve_cover(struct peat_db *db, uint64_t cost, bool relief)
{
    uint64_t chunk = cost / CHUNK_SHARE;
    enum peat_status status;

    if (chunk < CHUNK_SIZE_MIN)
        chunk = CHUNK_SIZE_MIN;
    if (chunk > CHUNK_SIZE_MAX)
        chunk = CHUNK_SIZE_MAX;
    status = pt_arena_reserve_fill(db->arena, target(db, cost + chunk));
    if (status == PEAT_OK) {
        cover(db, cost + chunk);
        return PEAT_OK;
    }
    if (status != PEAT_NO_SPACE)
        return status;
    status = pt_arena_reserve_fill(db->arena, target(db, cost));
    if (status == PEAT_NO_SPACE && relief &&
        pt_arena_reserve_size(db->arena) >=
            for_manifests(db) + for_log(db, cost) + rest_of_step(db))
        status = PEAT_OK;
    if (status == PEAT_OK)
        cover(db, cost);
    return status;
}

bool pt_reserve_is_relief(struct peat_bytes payload)
{
    struct pt_batch_cursor cursor = {payload.data, payload.size, {{NULL, 0}, {NULL, 0}, PT_OP_PUT}};

    while (pt_batch_cursor_next(&cursor))
        if (cursor.entry.op != PT_OP_DELETE && cursor.entry.op != PT_OP_DELETE_RANGE)
            return false;
    return true;
}

bool pt_reserve_relieve(struct peat_db *db, bool deletes, bool anyway)
{
    uint64_t size_min = deletes ? RELIEF_SIZE_MIN_DELETES : RELIEF_SIZE_MIN;
    bool gives_up = pt_feeds_give_up(db);

    if (!anyway && !gives_up &&
        (pt_log_left_size(db->log) < size_min || pt_merger_flush_status(db) < 0))
        return false;
    /* First: a flush may need the space that the feeds' log takes. */
    gives_up = gives_up && pt_checkpoint(db) == PEAT_OK;
    return (pt_merger_flush(db) == PEAT_OK && pt_checkpoint(db) == PEAT_OK) || gives_up;
}

/* ---- The merger ---- */

/* Nobody is committing: what is promised need not be more than what is used, and some. */
static void lower(struct peat_db *db)
{
    struct pt_commit_queue *queue = &db->queue;

    pt_mutex_lock(&queue->mutex);
    if (queue->head == NULL) {
        uint64_t cost = pt_log_budget_used(&db->log_budget) + CHUNK_SIZE_MIN;
        uint64_t covered = atomic_load_explicit(&db->reserve.covered, memory_order_relaxed);

        cover(db, covered < cost ? covered : cost);
    }
    pt_mutex_unlock(&queue->mutex);
}

void pt_reserve_tend(struct peat_db *db, bool rest)
{
    bool is_short = pt_arena_is_short(db->arena);
    uint64_t size;

    if (!rest && !is_short)
        return;
    lower(db);
    size = target(db, atomic_load_explicit(&db->reserve.promised, memory_order_relaxed));
    /* Before what is free is given back: on a full disk it would not come again. */
    (void)pt_arena_reserve_fill(db->arena, size);
    if (!rest)
        return;
    pt_arena_reserve_cut(db->arena, size);
    if (!is_short)
        pt_arena_reserve_settle(db->arena);
}

static enum peat_status regain_job(struct peat_db *db, void *context)
{
    enum peat_status status = PEAT_OK;

    (void)context;
    for (unsigned i = 0; i < REGAIN_STEPS && status == PEAT_OK; i++)
        status = pt_merge_step(db, true); /* begins with what the last one has freed */
    if (status >= 0 || status == PEAT_NO_SPACE)
        status = pt_checkpoint(db);
    if (status == PEAT_OK)
        status = pt_merger_make_room(db);
    return status == PEAT_TIMEOUT ? PEAT_OK : status;
}

void pt_reserve_regain(struct peat_db *db)
{
    (void)pt_merger_run(db, regain_job, NULL); /* what comes of it the next try shows */
}

enum peat_status pt_reserve_before_merge(struct peat_db *db)
{
    enum peat_status status;

    if (!pt_arena_is_short(db->arena))
        return PEAT_OK;
    (void)pt_shelf_reap(
        &db->shelf); /* else what the last one replaced is still held by its stack */
    status = pt_checkpoint(db);
    if (status == PEAT_OK)
        pt_reserve_tend(db, false);
    return status;
}

/* ---- Opening and closing ---- */

void pt_reserve_open(struct peat_db *db)
{
    (void)pt_arena_reserve_fill(db->arena, target(db, 0)); /* what cannot be now can be later */
}

void pt_reserve_close(struct peat_db *db)
{
    uint64_t size = pt_arena_is_short(db->arena) ? target(db, 0) : 0;

    /* A store that was full stays one that can be opened for writing. */
    (void)pt_arena_reserve_fill(db->arena, size);
    pt_arena_reserve_cut(db->arena, size);
}

/*
 * Revert: the store becomes what a kept state shows.
 *
 *      commits before   |  turn in the queue                                  |  commits after
 *      ... C-1, C       |  seal, flush | checkpoint: C | install: C+1 | show it |  C+2 ...
 *
 *  1. It takes its turn among the commits as a leader does, so none is under way; it is done on the
 *     merger's thread, so no flush or merge is; and under the install mutex, so no checkpoint is. A
 *     leader waits for the merger, and the merger for a checkpoint, never the other way.
 *  2. The commit C+1 is in no record of the log: the manifest alone tells of it. It begins the log in
 *     a region that nothing links to (pt_log_jump()). So the superblock decides: with the old one the
 *     store is as of C, with the new one as of C+1, and no reader can take records of the one for
 *     records of the other.
 *  3. Everything that can fail for want of memory or space comes before that superblock. What it
 *     replaces shows C without a log, and is kept.
 *  4. Ids of segments and collections never go back: what exists in the state before is not taken for
 *     what comes after.
 */
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/db/db.h"
#include "core/db/manifest_format.h"

#include <inttypes.h>
#include <stdlib.h>

/* One revert. */
struct revert {
    const char *name;
    uint64_t generation;
    struct pt_run **runs; /* the state's; owned, pinned */
    size_t run_count;
    struct pt_log_jump jump;
    struct pt_held_buffer *buffer; /* the active one afterwards; borrowed from the stack */
    struct pt_stack *stack;        /* what will be shown; owned until it is published */
    uint64_t *ids;                 /* owned: the collections that there will be, ascending */
    size_t id_count;
    uint64_t commit;
};

/* Pin the state's runs. */
static enum peat_status find_state_locked(struct peat_db *db, struct revert *revert)
    PT_REQUIRES(db->history.mutex)
{
    const struct pt_kept *kept = pt_history_find(&db->history, revert->name, revert->generation);

    if (kept == NULL)
        return PEAT_NOT_FOUND;
    if ((kept->row.flags & PT_KEPT_DAMAGED) != 0)
        return pt_fail(PEAT_CORRUPT, "the kept state of generation %" PRIu64 " is damaged",
                       kept->row.generation);
    revert->runs = pt_calloc(kept->run_count + 1, sizeof(struct pt_run *));
    if (revert->runs == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu runs", kept->run_count);
    for (size_t i = 0; i < kept->run_count; i++) {
        revert->runs[i] = kept->runs[i];
        pt_run_pin(revert->runs[i]);
    }
    revert->run_count = kept->run_count;
    return PEAT_OK;
}

/* Flush the rest, so that runs hold every commit. */
static enum peat_status flush_rest(struct peat_db *db)
{
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK)
        status = pt_flush_step(db);
    return status == PEAT_DONE ? PEAT_OK : status;
}

/* The stack that is shown afterwards, on top of it an empty buffer that goes on behind the jump. */
static enum peat_status make_stack(struct peat_db *db, struct revert *revert)
{
    struct pt_held_buffer *buffer = NULL;
    enum peat_status status = pt_held_buffer_open(pt_buffer_capacity(db, 0, 0), 0, db->hash_seed,
                                                  &revert->jump.point, &db->buffer_memory, &buffer);

    if (status == PEAT_OK)
        status = pt_stack_new(&buffer, 1, revert->runs, revert->run_count, 0, &revert->stack);
    revert->buffer = buffer;
    pt_held_buffer_unpin(buffer); /* the stack's now */
    return status;
}

/* ---- Collections ---- */

static int id_order(const void *left, const void *right)
{
    const uint64_t *a = left;
    const uint64_t *b = right;

    return (*a > *b) - (*a < *b);
}

/* The ids that the state's catalogue gives. */
static enum peat_status read_catalogue(struct peat_db *db, struct revert *revert)
{
    struct peat_snapshot snapshot = {
        .db = db, .pin = {revert->stack, 0}, .commit = revert->jump.point.commit};
    struct peat_collection catalogue = {.catalogue = db->catalogue,
                                        .prefix = pt_id_prefix(PT_CATALOGUE_ID)};
    struct peat_iterator *iterator = NULL;
    size_t capacity = 0;
    enum peat_status status = peat_iterator_open(&snapshot, &catalogue, NULL, &iterator);

    if (status == PEAT_OK)
        status = peat_iterator_first(iterator);
    while (status == PEAT_OK) {
        struct peat_bytes value = peat_iterator_value(iterator);

        if (revert->id_count == capacity) {
            uint64_t *ids;

            capacity = capacity == 0 ? 16 : 2 * capacity;
            ids = pt_realloc(revert->ids, capacity * sizeof(*ids));
            if (ids == NULL) {
                status = pt_fail(PEAT_NO_MEMORY, "catalogue of %zu collections", capacity);
                break;
            }
            revert->ids = ids;
        }
        if (value.size != 8) {
            status = pt_fail(PEAT_CORRUPT, "the catalogue holds an id of %zu bytes", value.size);
            break;
        }
        revert->ids[revert->id_count++] = pt_read_le64(value.data);
        status = peat_iterator_next(iterator);
    }
    peat_iterator_close(iterator);
    if (revert->id_count > 1)
        qsort(revert->ids, revert->id_count, sizeof(*revert->ids), id_order);
    return status == PEAT_DONE ? PEAT_OK : status;
}

/* ---- Steps ---- */

static enum peat_status prepare(struct peat_db *db, struct revert *revert)
{
    uint64_t now_us = pt_clock_wall_us();
    enum peat_status status;

    pt_mutex_lock(&db->history.mutex);
    status = find_state_locked(db, revert);
    pt_mutex_unlock(&db->history.mutex);
    if (status == PEAT_OK)
        status = flush_rest(db);
    if (status == PEAT_OK)
        status = pt_log_jump_prepare(db->log, db->queue.commit + 1,
                                     now_us > db->queue.time_us ? now_us : db->queue.time_us,
                                     &revert->jump);
    if (status == PEAT_OK)
        status = make_stack(db, revert);
    if (status == PEAT_OK)
        status = read_catalogue(db, revert);
    return status;
}

/* The leader's state, which waits for us: as after a commit. */
static void go_on(struct peat_db *db, struct revert *revert)
{
    revert->stack = NULL; /* the shelf's now */
    db->queue.active = revert->buffer;
    db->queue.commit = revert->commit = revert->jump.point.commit;
    db->queue.time_us = revert->jump.point.time_us;
    pt_merge_forget(db);
}

/* On the merger's thread, while the leader waits. */
static enum peat_status revert_job(struct peat_db *db, void *context)
{
    struct revert *revert = context;
    struct pt_history_change change = {.is_revert = true, .jump = &revert->jump};
    enum peat_status status = prepare(db, revert);

    if (status == PEAT_OK)
        status = pt_checkpoint_replace(db, revert->stack, &revert->jump.point, &change);
    if (status == PEAT_OK)
        go_on(db, revert);
    pt_log_jump_cancel(db->log, &revert->jump,
                       atomic_load_explicit(&db->poisoned, memory_order_relaxed));
    pt_stack_free(revert->stack);
    revert->stack = NULL;
    pt_runs_free(revert->runs, revert->run_count);
    return status;
}

/* As the leader of the commit queue. */
static enum peat_status revert_alone(struct peat_db *db, void *context)
{
    struct revert *revert = context;
    enum peat_status status = pt_commit_seal_alone(db);

    if (status == PEAT_OK)
        status = pt_merger_run(db, revert_job, revert);
    if (status == PEAT_OK) /* before the next batch asks whether its collections are there */
        pt_catalogue_replace(db->catalogue, revert->ids, revert->id_count);
    return status;
}

enum peat_status peat_revert(struct peat_db *db, const char *name, uint64_t generation,
                             uint64_t *commit_out)
{
    struct revert revert = {.name = name, .generation = generation};
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only");
    if ((db->options.flags & PEAT_FOLLOWER) != 0)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened as a follower");
    status = pt_merger_flush(db); /* most of the work, while others still commit */
    if (status < 0)
        return status;
    pt_mutex_lock(&db->catalogue->change_mutex);
    status = pt_commit_alone(db, revert_alone, &revert);
    pt_mutex_unlock(&db->catalogue->change_mutex);
    pt_free(revert.ids);
    if (status == PEAT_OK && commit_out != NULL)
        *commit_out = revert.commit;
    return status;
}

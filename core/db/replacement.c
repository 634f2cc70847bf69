#include "core/db/replacement.h"

#include "core/base/alloc.h"
#include "core/db/db.h"
#include "core/db/manifest_format.h"

#include <stdlib.h>

/* ---- What will be shown ---- */

/* Flush the rest, so that runs hold every commit. */
static enum peat_status flush_rest(struct peat_db *db)
{
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK)
        status = pt_flush_step(db);
    return status == PEAT_DONE ? PEAT_OK : status;
}

/* ---- Collections ---- */

static int id_order(const void *left, const void *right)
{
    const uint64_t *a = left;
    const uint64_t *b = right;

    return (*a > *b) - (*a < *b);
}

/* The ids that the state's catalogue gives. */
static enum peat_status read_catalogue(struct peat_db *db, struct pt_replacement *replacement)
{
    struct peat_snapshot snapshot = {
        .db = db, .pin = {replacement->stack, 0}, .commit = replacement->jump.point.commit};
    struct peat_collection catalogue = {.catalogue = db->catalogue,
                                        .prefix = pt_id_prefix(PT_CATALOGUE_ID)};
    struct peat_iterator *iterator = NULL;
    size_t capacity = 0;
    enum peat_status status = peat_iterator_open(&snapshot, &catalogue, NULL, &iterator);

    if (status == PEAT_OK)
        status = peat_iterator_first(iterator);
    while (status == PEAT_OK) {
        struct peat_bytes value = peat_iterator_value(iterator);

        if (replacement->id_count == capacity) {
            uint64_t *ids;

            capacity = capacity == 0 ? 16 : 2 * capacity;
            ids = pt_realloc(replacement->ids, capacity * sizeof(*ids));
            if (ids == NULL) {
                status = pt_fail(PEAT_NO_MEMORY, "catalogue of %zu collections", capacity);
                break;
            }
            replacement->ids = ids;
        }
        if (value.size == 8 && pt_catalogue_is_of_another(db->catalogue, pt_read_le64(value.data),
                                                          peat_iterator_key(iterator))) {
            status = peat_iterator_next(iterator); /* its handle is none of this one */
            continue;
        }
        if (value.size != 8) {
            status = pt_fail(PEAT_CORRUPT, "the catalogue holds an id of %zu bytes", value.size);
            break;
        }
        replacement->ids[replacement->id_count++] = pt_read_le64(value.data);
        status = peat_iterator_next(iterator);
    }
    peat_iterator_close(iterator);
    if (replacement->id_count > 1)
        qsort(replacement->ids, replacement->id_count, sizeof(*replacement->ids), id_order);
    return status == PEAT_DONE ? PEAT_OK : status;
}

/* ---- Steps ---- */

struct replacing {
    struct pt_replacement replacement;
    enum peat_status (*find)(struct peat_db *db, void *context, struct pt_replacement *replacement);
    void *context;
};

static enum peat_status prepare(struct peat_db *db, struct pt_replacement *replacement)
{
    enum peat_status status = flush_rest(db);

    if (status == PEAT_OK)
        status = pt_log_jump_prepare(db->log, &replacement->behind, replacement->change.parts,
                                     &replacement->jump);
    if (status == PEAT_OK)
        status = pt_stack_begin(db, pt_buffer_capacity(db, 0, 0), replacement->hash_seed,
                                &replacement->jump.point, replacement->runs, replacement->run_count,
                                &replacement->stack);
    if (status == PEAT_OK)
        status = read_catalogue(db, replacement);
    return status;
}

/* The leader's state, which waits for us: as after a commit. */
static void go_on(struct peat_db *db, struct pt_replacement *replacement)
{
    db->queue.active = replacement->stack->buffers[0];
    replacement->stack = NULL; /* the shelf's now */
    db->queue.commit = replacement->jump.point.commit;
    db->queue.time_us = replacement->jump.point.time_us;
    pt_merge_forget(db);
}

/* On the merger's thread, while the leader waits. */
static enum peat_status replace_job(struct peat_db *db, void *context)
{
    struct replacing *replacing = context;
    struct pt_replacement *replacement = &replacing->replacement;
    enum peat_status status = replacing->find(db, replacing->context, replacement);

    if (status == PEAT_OK)
        status = prepare(db, replacement);
    replacement->change.jump = &replacement->jump;
    if (status == PEAT_OK) {
        uint64_t parting = replacement->change.parts ? 1 : 0;

        atomic_fetch_add_explicit(&db->partings, parting, memory_order_seq_cst);
        status = pt_checkpoint_replace(db, replacement->stack, &replacement->jump.point,
                                       &replacement->change);
        atomic_fetch_add_explicit(&db->partings, parting, memory_order_seq_cst);
    }
    if (status == PEAT_OK)
        go_on(db, replacement);
    pt_log_jump_cancel(db->log, &replacement->jump,
                       atomic_load_explicit(&db->poisoned, memory_order_relaxed));
    pt_stack_free(replacement->stack);
    replacement->stack = NULL;
    pt_runs_free(replacement->runs, replacement->run_count);
    return status;
}

/* As the leader of the commit queue. */
static enum peat_status replace_alone(struct peat_db *db, void *context)
{
    struct replacing *replacing = context;
    enum peat_status status = pt_commit_seal_alone(db);

    if (status == PEAT_OK)
        status = pt_merger_run(db, replace_job, replacing);
    if (status == PEAT_OK) /* before the next batch asks whether its collections are there */
        pt_catalogue_replace(db->catalogue, replacing->replacement.ids,
                             replacing->replacement.id_count);
    return status;
}

enum peat_status pt_replace(struct peat_db *db,
                            enum peat_status (*find)(struct peat_db *db, void *context,
                                                     struct pt_replacement *replacement),
                            void *context)
{
    struct replacing replacing = {.find = find, .context = context};
    enum peat_status status;

    pt_mutex_lock(&db->catalogue->change_mutex);
    status = pt_commit_alone(db, replace_alone, &replacing);
    pt_mutex_unlock(&db->catalogue->change_mutex);
    pt_free(replacing.replacement.ids);
    return status;
}

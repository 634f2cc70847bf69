#include "core/db/history.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/db/db.h"
#include "core/db/history_parts.h"
#include "core/db/manifest_format.h"

#include <stdlib.h>

/* ---- One state ---- */

struct pt_kept *pt_kept_new(const struct pt_manifest_kept *row, struct peat_bytes name)
{
    struct pt_kept *kept = pt_calloc(1, sizeof(*kept) + name.size + 1);

    if (kept == NULL)
        return NULL;
    kept->row = *row;
    if (name.size > 0)
        memcpy(kept->name, name.data, name.size);
    kept->row.name = pt_bytes(kept->name, name.size);
    return kept;
}

enum peat_status pt_kept_pin_runs(struct pt_kept *kept, struct pt_run *const *runs,
                                  size_t run_count)
{
    enum peat_status status = pt_runs_copy(runs, run_count, &kept->runs);

    if (status == PEAT_OK)
        kept->run_count = run_count;
    return status;
}

void pt_kept_free(struct pt_kept *kept)
{
    if (kept == NULL)
        return;
    pt_runs_free(kept->runs, kept->run_count);
    pt_held_list_free(kept->loose, kept->loose_count);
    pt_free(kept);
}

static bool is_named(const struct pt_kept *kept)
{
    return kept->row.name.size > 0;
}

/* ---- All of them ---- */

void pt_history_init(struct pt_history *history)
{
    memset(history, 0, sizeof(*history));
    pt_mutex_init(&history->mutex);
}

void pt_history_set(struct pt_history *history, struct pt_kept **kept, size_t count)
{
    struct pt_kept **before;
    size_t before_count;

    pt_mutex_lock(&history->mutex);
    before = history->kept;
    before_count = history->count;
    history->kept = kept;
    history->count = count;
    history->measured = false;
    pt_mutex_unlock(&history->mutex);
    for (size_t i = 0; i < before_count; i++)
        pt_kept_free(before[i]);
    pt_free(before);
}

void pt_history_fini(struct pt_history *history)
{
    pt_history_set(history, NULL, 0);
    pt_mutex_fini(&history->mutex);
}

const struct pt_kept *pt_history_find(const struct pt_history *history, const char *name,
                                      uint64_t generation)
{
    struct peat_bytes wanted = pt_bytes(name, name == NULL ? 0 : strlen(name));

    for (size_t i = 0; i < history->count; i++) {
        const struct pt_kept *kept = history->kept[i];

        if (name != NULL ? is_named(kept) && pt_bytes_equal(kept->row.name, wanted)
                         : kept->row.generation == generation)
            return kept;
    }
    return NULL;
}

/* ---- What is kept ---- */

void pt_history_policy(const struct pt_manifest_kept *rows, bool *keep, size_t count,
                       uint64_t count_max, uint64_t age_us, uint64_t now_us)
{
    uint64_t rank = 1; /* of the one that rules */

    keep[count - 1] = true;
    for (size_t i = count - 1; i-- > 0;) {
        uint64_t replaced_us = rows[i + 1].time_us; /* until then it was what ruled */

        if (keep[i])
            continue;
        rank++;
        keep[i] = (rows[i].flags & PT_KEPT_DAMAGED) == 0 &&
                  (rank <= count_max || count_max == 0 ||
                   (age_us > 0 && (replaced_us > now_us || now_us - replaced_us < age_us)));
    }
}

/* Set what stays whatever the options say (3), then ask them. */
static enum peat_status choose(const struct peat_db *db, struct pt_kept *const *kept, size_t count,
                               uint64_t now_us, bool **keep_out)
{
    struct pt_manifest_kept *rows = pt_calloc(count + 1, sizeof(*rows));
    bool *keep = pt_calloc(count + 1, sizeof(*keep));
    bool is_last_before_revert = true;

    *keep_out = keep;
    if (rows == NULL || keep == NULL) {
        pt_free(rows);
        return pt_fail(PEAT_NO_MEMORY, "history of %zu states", count);
    }
    for (size_t i = count; i-- > 0;) {
        rows[i] = kept[i]->row;
        keep[i] = is_named(kept[i]);
        if ((rows[i].flags & PT_KEPT_BEFORE_REVERT) != 0) {
            keep[i] = keep[i] || is_last_before_revert;
            is_last_before_revert = false;
        }
    }
    if (count > 0)
        pt_history_policy(rows, keep, count, db->options.history_count,
                          (uint64_t)db->options.history_seconds * 1000000, now_us);
    pt_free(rows);
    return PEAT_OK;
}

/* ---- Planning ---- */

/* The state that will rule, under the number and name of @p carried (NULL: a new one) (2). */
static enum peat_status own_new(const struct pt_kept *before, const struct pt_kept *carried,
                                struct pt_run *const *runs, size_t run_count, uint64_t commit,
                                uint64_t generation, uint64_t now_us,
                                const struct pt_history_change *change, struct pt_kept **own_out)
{
    struct pt_manifest_kept row = {.generation = generation, .commit = commit, .time_us = now_us};
    struct peat_bytes name = pt_bytes(NULL, 0);
    enum peat_status status;

    if (before != NULL && before->row.time_us > now_us)
        row.time_us = before->row.time_us;
    if (carried != NULL) {
        row = carried->row;
        if (carried->row.generation != change->drop_generation)
            name = carried->row.name;
    }
    if (change->name != NULL)
        name = pt_bytes(change->name, strlen(change->name));
    row.manifest_generation = generation;
    *own_out = pt_kept_new(&row, name);
    if (*own_out == NULL)
        return pt_fail(PEAT_NO_MEMORY, "row of the history");
    status = pt_kept_pin_runs(*own_out, runs, run_count);
    return status;
}

/* The same state with one flag more. */
static enum peat_status flagged_new(const struct pt_kept *kept, unsigned flag,
                                    struct pt_kept **flagged_out)
{
    struct pt_manifest_kept row = kept->row;

    row.flags |= flag;
    *flagged_out = pt_kept_new(&row, kept->row.name);
    if (*flagged_out == NULL)
        return pt_fail(PEAT_NO_MEMORY, "row of the history");
    return pt_kept_pin_runs(*flagged_out, kept->runs, kept->run_count);
}

/* Leave out what is not kept. */
static enum peat_status plan_thin(const struct peat_db *db, struct pt_history_plan *plan,
                                  uint64_t now_us)
{
    bool *keep = NULL;
    size_t count = 0;
    enum peat_status status = choose(db, plan->kept, plan->count, now_us, &keep);

    for (size_t i = 0; i < plan->count && status == PEAT_OK; i++)
        if (keep[i])
            plan->kept[count++] = plan->kept[i];
    if (status == PEAT_OK)
        plan->count = count;
    pt_free(keep);
    return status;
}

static enum peat_status plan_rows(const struct pt_history_plan *plan, struct pt_manifest *manifest)
{
    manifest->kept = pt_calloc(plan->count, sizeof(*manifest->kept));
    if (manifest->kept == NULL)
        return pt_fail(PEAT_NO_MEMORY, "history of %zu states", plan->count);
    manifest->kept_count = plan->count;
    for (size_t i = 0; i < plan->count; i++)
        manifest->kept[i] = plan->kept[i]->row;
    return PEAT_OK;
}

enum peat_status pt_history_plan(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                                 uint64_t commit, uint64_t generation, uint64_t now_us,
                                 const struct pt_history_change *change,
                                 struct pt_history_plan *plan, struct pt_manifest *manifest_out)
{
    const struct pt_history *history = &db->history;
    struct pt_kept *before = history->count == 0 ? NULL : history->kept[history->count - 1];
    bool is_same = before != NULL && before->row.commit == commit && !change->is_revert &&
                   !change->parts && (change->name == NULL || !is_named(before));
    enum peat_status status;

    memset(plan, 0, sizeof(*plan));
    plan->kept = pt_calloc(history->count + 1, sizeof(struct pt_kept *));
    if (plan->kept == NULL)
        return pt_fail(PEAT_NO_MEMORY, "history of %zu states", history->count + 1);
    for (size_t i = 0; i < history->count; i++)
        if (history->kept[i] != before &&
            history->kept[i]->row.generation != change->drop_generation)
            plan->kept[plan->count++] = history->kept[i];
    if (before != NULL && change->is_revert) {
        status = flagged_new(before, PT_KEPT_BEFORE_REVERT, &plan->reverted);
        if (status < 0)
            return status;
        plan->kept[plan->count++] = plan->reverted;
    } else if (before != NULL && !is_same && before->row.generation != change->drop_generation &&
               (is_named(before) || db->options.history_count > 0)) {
        plan->kept[plan->count++] = before;
    }
    status = own_new(before, is_same ? before : NULL, runs, run_count, commit, generation, now_us,
                     change, &plan->own);
    if (status < 0)
        return status;
    plan->kept[plan->count++] = plan->own;
    status = plan_thin(db, plan, now_us);
    if (status == PEAT_OK)
        status = plan_rows(plan, manifest_out);
    return status;
}

void pt_history_plan_fini(struct pt_history_plan *plan)
{
    pt_kept_free(plan->own);
    pt_kept_free(plan->reverted);
    pt_free(plan->kept);
    memset(plan, 0, sizeof(*plan));
}

/* ---- Taking ---- */

static bool plan_has_manifest(const struct pt_history_plan *plan, uint64_t manifest_generation)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->kept[i]->row.manifest_generation == manifest_generation)
            return true;
    return false;
}

static bool plan_has(const struct pt_history_plan *plan, const struct pt_kept *kept)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->kept[i] == kept)
            return true;
    return false;
}

void pt_history_take(struct peat_db *db, struct pt_history_plan *plan, uint64_t offset,
                     uint64_t size)
{
    struct pt_history *history = &db->history;
    uint64_t generation = plan->own->row.manifest_generation;
    struct pt_kept **before = history->kept;
    size_t before_count = history->count;

    plan->own->row.offset = offset;
    plan->own->row.size = size;
    pt_mutex_lock(&history->mutex);
    history->kept = plan->kept;
    history->count = plan->count;
    history->measured = false;
    pt_mutex_unlock(&history->mutex);
    for (size_t i = 0; i < before_count; i++) {
        struct pt_manifest_kept *row = &before[i]->row;

        if (plan_has(plan, before[i]))
            continue;
        if (row->size > 0 && !plan_has_manifest(plan, row->manifest_generation))
            (void)pt_arena_retire(db->arena, pt_manifest_extent(row->offset, row->size),
                                  generation);
        pt_kept_free(before[i]);
    }
    pt_free(before);
    plan->kept = NULL; /* the history's now */
    plan->own = NULL;
    plan->reverted = NULL;
}

/* ---- Expiry ---- */

static uint64_t due_us_locked(struct peat_db *db, uint64_t now_us) PT_REQUIRES(db->history.mutex)
{
    const struct pt_history *history = &db->history;
    uint64_t age_us = (uint64_t)db->options.history_seconds * 1000000;
    uint64_t due_us = UINT64_MAX;
    bool *keep = NULL;

    /* At the end of time age keeps none. */
    if (choose(db, history->kept, history->count, UINT64_MAX, &keep) < 0)
        goto done;
    for (size_t i = 0; i + 1 < history->count; i++) {
        uint64_t until_us = history->kept[i + 1]->row.time_us + age_us;

        if (!keep[i] && (until_us <= now_us || until_us - now_us < due_us))
            due_us = until_us <= now_us ? 0 : until_us - now_us;
    }
done:
    pt_free(keep);
    return due_us;
}

uint64_t pt_history_due_us(struct peat_db *db, uint64_t now_us)
{
    uint64_t due_us = UINT64_MAX;

    if (db->options.history_seconds == 0 || db->options.history_count == 0)
        return due_us;
    pt_mutex_lock(&db->history.mutex);
    due_us = due_us_locked(db, now_us);
    pt_mutex_unlock(&db->history.mutex);
    return due_us;
}

static enum peat_status choose_nothing(struct peat_db *db, void *context,
                                       struct pt_history_change *change)
{
    (void)db;
    (void)context;
    (void)change;
    return PEAT_OK;
}

enum peat_status pt_history_expire(struct peat_db *db)
{
    if (pt_history_due_us(db, pt_clock_wall_us()) > 0)
        return PEAT_DONE;
    return pt_checkpoint_change(db, choose_nothing, NULL); /* what has expired goes with any */
}

/*
 * What a store is in replication, and how that changes.
 *
 *      follower  --- peat_promote() --->  primary, in a newer epoch
 *      primary   --- peat_fence() --->  fenced
 *      primary, fenced   --- opened with PEAT_FOLLOWER --->  follower
 *
 *  1. The manifest has the role. Whoever opens the file for writing says what it is to be: a
 *     follower is not opened as anything else, since a commit of its own would part it from its
 *     primary without a word.
 *  2. A promotion takes its turn among the commits and what is applied. All that is committed is
 *     flushed, and one manifest then says three things: there is nothing before the log's
 *     beginning that is not in segments, a newer epoch begins there, and the store is no follower.
 *     So the superblock decides, and a crash at any point leaves a follower of the old epoch or a
 *     primary of the new one. No record is written for it.
 *  3. With a promotion the role changes where the manifest that says so begins to rule
 *     (pt_epochs_promoted()), before another can be written; the log's epoch after that, in the
 *     same turn.
 *  4. Fencing takes effect in a turn among the commits, at once; the manifest has it after that. Where
 *     that failed, the next call tries again: what is in effect is not taken for what is durable.
 *     What is fenced writes no seals either: they would be of an epoch that is over.
 */
#include "core/db/commit_parts.h"

#include <inttypes.h>

/* One promotion. */
struct promotion {
    struct pt_log_point point; /* the log's end, where the epoch begins */
    uint64_t epoch;
};

enum peat_status pt_role_open(struct peat_db *db)
{
    bool is_follower = atomic_load_explicit(&db->role, memory_order_relaxed) == PT_ROLE_FOLLOWER;

    if ((db->options.flags & PEAT_FOLLOWER) != 0)
        atomic_store_explicit(&db->role, PT_ROLE_FOLLOWER, memory_order_relaxed);
    else if (is_follower && !db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE,
                       "%s follows another store: open it with PEAT_FOLLOWER, or read-only; 'peat "
                       "promote' has it take commits of its own",
                       pt_file_name(pt_arena_file(db->arena)));
    return PEAT_OK;
}

enum peat_status pt_role_check_commits(const struct peat_db *db)
{
    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only");
    if (pt_role_is(db, PT_ROLE_FOLLOWER))
        return pt_fail(PEAT_NOT_WRITABLE, "the store is a follower: it takes peat_apply() alone");
    if (pt_role_is(db, PT_ROLE_FENCED))
        return pt_fail(PEAT_FENCED,
                       "the store's history goes on elsewhere, in epoch %" PRIu64
                       ": it takes no commits until it has been opened as a follower",
                       atomic_load_explicit(&db->met_epoch, memory_order_relaxed));
    return PEAT_OK;
}

/* ---- Promotion ---- */

/* As what peat_promote() is refused where the store is none that can be promoted. */
static enum peat_status check_promotable(const struct peat_db *db)
{
    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only");
    if (pt_role_is(db, PT_ROLE_FENCED))
        return pt_fail(PEAT_INVALID, "the store is fenced: have it follow first");
    if (!pt_role_is(db, PT_ROLE_FOLLOWER))
        return pt_fail(PEAT_INVALID, "the store follows no other one: there is nothing to promote");
    return PEAT_OK;
}

/* The epoch to begin: above all of this store, and of what it has met. */
static enum peat_status choose_epoch(struct peat_db *db, struct promotion *promotion)
{
    uint64_t met = atomic_load_explicit(&db->met_epoch, memory_order_relaxed);
    struct pt_lineage lineage = pt_epochs_copy(db);
    uint64_t newest = pt_lineage_newest(&lineage);

    promotion->epoch = (met > newest ? met : newest) + 1;
    if (promotion->epoch > PT_EPOCH_MAX)
        return pt_fail(PEAT_INVALID,
                       "epoch %" PRIu64 " is the last there is: make a new store of this one with "
                       "peat dump and peat load",
                       promotion->epoch - 1);
    return PEAT_OK;
}

/* Begin another write buffer at the log's end, so that a manifest can begin the log there. */
static enum peat_status seal(struct peat_db *db, struct promotion *promotion)
{
    enum peat_status status = pt_wait_for_place(db);

    if (status == PEAT_OK)
        status = pt_log_push(db->log);
    if (status < 0)
        return status;
    promotion->point = pt_log_point(db->log);
    return pt_group_seal(db, &promotion->point, 0, 0);
}

static enum peat_status choose_change(struct peat_db *db, void *context,
                                      struct pt_history_change *change)
{
    const struct promotion *promotion = context;

    (void)db;
    change->promote_epoch = promotion->epoch;
    return PEAT_OK;
}

/* On the merger's thread, while the leader waits. */
static enum peat_status promote_job(struct peat_db *db, void *context)
{
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK)
        status = pt_flush_step(db);
    if (status == PEAT_DONE)
        status = pt_checkpoint_change(db, choose_change, context);
    return status;
}

/* As the leader of the commit queue. */
static enum peat_status promote_alone(struct peat_db *db, void *context)
{
    struct promotion *promotion = context;
    enum peat_status status;

    if (atomic_load_explicit(&db->poisoned, memory_order_acquire))
        return pt_fail(PEAT_POISONED, "an earlier write or sync failed: reopen the store");
    status = check_promotable(db); /* another call may have been first */
    if (status == PEAT_OK)
        status = choose_epoch(db, promotion);
    if (status == PEAT_OK)
        status = seal(db, promotion);
    if (status == PEAT_OK)
        status = pt_merger_run(db, promote_job, promotion);
    if (status == PEAT_OK) {
        PT_ASSERT(db->log_start.position >= promotion->point.position);
        pt_log_begin_epoch(db->log, promotion->epoch);
    }
    return status;
}

enum peat_status peat_promote(struct peat_db *db, unsigned flags, uint64_t *epoch_out)
{
    struct promotion promotion = {.epoch = 0};
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    if (flags != 0)
        return pt_fail(PEAT_INVALID, "unknown flags 0x%x", flags);
    status = check_promotable(db);
    if (status == PEAT_OK)
        status = pt_commit_alone(db, promote_alone, &promotion);
    if (status == PEAT_OK && epoch_out != NULL)
        *epoch_out = promotion.epoch;
    return status;
}

/* ---- Fencing ---- */

/* As the leader of the commit queue: no commit is under way, and none will be. */
static enum peat_status fence_alone(struct peat_db *db, void *context)
{
    uint64_t epoch = *(const uint64_t *)context;
    uint64_t met = atomic_load_explicit(&db->met_epoch, memory_order_relaxed);
    struct pt_lineage lineage = pt_epochs_copy(db);

    if (pt_role_is(db, PT_ROLE_FOLLOWER))
        return pt_fail(PEAT_INVALID, "the store is a follower: it takes no commits of its own");
    if (epoch <= pt_lineage_newest(&lineage) || epoch > PT_EPOCH_MAX)
        return pt_fail(PEAT_INVALID,
                       "epoch %" PRIu64 " is none that is newer than the store's, %" PRIu64, epoch,
                       pt_lineage_newest(&lineage));
    if (epoch <= atomic_load_explicit(&db->fenced_epoch, memory_order_relaxed))
        return PEAT_DONE;
    if (epoch > met)
        atomic_store_explicit(&db->met_epoch, epoch, memory_order_relaxed);
    /* Release pairs with install.c: a manifest that has the role has the epoch. */
    atomic_store_explicit(&db->role, PT_ROLE_FENCED, memory_order_release);
    return PEAT_OK;
}

/* Any manifest has the role as it is. */
static enum peat_status no_choice(struct peat_db *db, void *context,
                                  struct pt_history_change *change)
{
    (void)db;
    (void)context;
    (void)change;
    return PEAT_OK;
}

enum peat_status peat_fence(struct peat_db *db, uint64_t epoch)
{
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE, "the store was opened read-only");
    status = pt_commit_alone(db, fence_alone, &epoch);
    if (status == PEAT_DONE)
        return PEAT_OK;
    if (status == PEAT_OK)
        status = pt_checkpoint_change(db, no_choice, NULL);
    if (status == PEAT_OK)
        atomic_store_explicit(&db->fenced_epoch, epoch, memory_order_relaxed);
    return status;
}

/* ---- Looking ---- */

enum peat_status peat_role_get(struct peat_db *db, enum peat_role *role_out)
{
    if (db == NULL || role_out == NULL)
        return pt_fail_null();
    *role_out = PEAT_ROLE_PRIMARY;
    if (pt_role_is(db, PT_ROLE_FOLLOWER))
        *role_out = PEAT_ROLE_FOLLOWER;
    if (pt_role_is(db, PT_ROLE_FENCED))
        *role_out = PEAT_ROLE_FENCED;
    return PEAT_OK;
}

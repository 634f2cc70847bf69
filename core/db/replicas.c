#include "core/db/replicas.h"

#include "core/base/clock.h"
#include "core/db/db.h"

#include <limits.h>

/* One call that waits, on its stack. Guarded by feeds.mutex. */
struct pt_replica_wait {
    struct pt_replica_wait *previous;
    struct pt_replica_wait *next;
    uint64_t commit;
    unsigned count; /* followers that have to have it */
    bool done;      /* they have, or nobody waits any more: it is in the list no longer */
    struct pt_condition wake;
};

void pt_replica_waits_init(struct pt_replica_waits *waits)
{
    memset(waits, 0, sizeof(*waits));
    pt_condition_init(&waits->left);
}

void pt_replica_waits_fini(struct pt_replica_waits *waits)
{
    PT_ASSERT(waits->first == NULL && waits->count == 0);
    pt_condition_fini(&waits->left);
}

/* ---- The list ---- */

/* Commits of those who come are mostly newer than of those who are there. */
static void wait_enter_locked(struct pt_replica_waits *waits, struct pt_replica_wait *wait)
{
    struct pt_replica_wait *before = waits->last;

    while (before != NULL && before->commit > wait->commit)
        before = before->previous;
    wait->previous = before;
    wait->next = before == NULL ? waits->first : before->next;
    *(before == NULL ? &waits->first : &before->next) = wait;
    *(wait->next == NULL ? &waits->last : &wait->next->previous) = wait;
}

static void wait_leave_locked(struct pt_replica_waits *waits, struct pt_replica_wait *wait)
{
    *(wait->previous == NULL ? &waits->first : &wait->previous->next) = wait->next;
    *(wait->next == NULL ? &waits->last : &wait->next->previous) = wait->previous;
    wait->done = true;
}

/* ---- Followers ---- */

/* How many of them have @p commit; no more than @p enough are counted. */
static unsigned count_having_locked(const struct pt_feeds *feeds, uint64_t commit, unsigned enough)
    PT_REQUIRES(feeds->mutex)
{
    unsigned count = 0;

    for (size_t i = 0; i < feeds->slot_count && count < enough; i++) {
        const struct pt_feed_slot *slot = feeds->slots[i];

        count +=
            slot->has_seals && !slot->is_lost && !slot->is_ahead && slot->acknowledged >= commit;
    }
    return count;
}

void pt_replicas_note_locked(struct peat_db *db, uint64_t first, uint64_t last)
    PT_REQUIRES(db->feeds.mutex)
{
    struct pt_replica_waits *waits = &db->feeds.replicas;
    struct pt_replica_wait *next;

    for (struct pt_replica_wait *wait = waits->first; wait != NULL && wait->commit <= last;
         wait = next) {
        next = wait->next;
        if (wait->commit < first ||
            count_having_locked(&db->feeds, wait->commit, wait->count) < wait->count)
            continue;
        wait_leave_locked(waits, wait);
        pt_condition_signal(&wait->wake);
    }
}

/* ---- Waiting ---- */

/* In the list, until it has been taken out, or @p until_us. */
static void wait_locked(struct pt_feeds *feeds, struct pt_replica_wait *wait, uint64_t until_us)
    PT_REQUIRES(feeds->mutex)
{
    struct pt_replica_waits *waits = &feeds->replicas;
    bool in_time = true;

    pt_condition_init(&wait->wake);
    waits->count++;
    wait_enter_locked(waits, wait);
    while (!wait->done && in_time) {
        if (until_us == UINT64_MAX)
            pt_condition_wait(&wait->wake, &feeds->mutex);
        else
            in_time = pt_condition_wait_until(&wait->wake, &feeds->mutex, until_us);
    }
    if (!wait->done)
        wait_leave_locked(waits, wait);
    if (--waits->count == 0 && waits->ended)
        pt_condition_signal(&waits->left);
    pt_condition_fini(&wait->wake);
}

enum peat_status pt_replicas_wait(struct peat_db *db, uint64_t commit, unsigned count,
                                  unsigned timeout_ms, unsigned *reached_out)
{
    struct pt_feeds *feeds = &db->feeds;
    struct pt_replica_wait wait = {.commit = commit, .count = count};
    uint64_t until_us = UINT64_MAX;
    unsigned reached;

    if (timeout_ms != PEAT_FEED_FOREVER)
        until_us = pt_clock_monotonic_us() + (uint64_t)timeout_ms * 1000;
    pt_mutex_lock(&feeds->mutex);
    if (count_having_locked(feeds, commit, count) < count && timeout_ms > 0 &&
        !feeds->replicas.ended)
        wait_locked(feeds, &wait, until_us);
    reached = count_having_locked(feeds, commit, UINT_MAX);
    pt_mutex_unlock(&feeds->mutex);
    if (reached_out != NULL)
        *reached_out = reached;
    return reached >= count ? PEAT_OK : PEAT_TIMEOUT;
}

enum peat_status peat_wait_replicas(struct peat_db *db, uint64_t commit, unsigned count,
                                    unsigned timeout_ms, unsigned *reached_out)
{
    if (db == NULL)
        return pt_fail_null();
    if (db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE,
                       "the store was opened read-only: followers acknowledge to its writer alone");
    return pt_replicas_wait(db, commit, count, timeout_ms, reached_out);
}

/* ---- The end ---- */

static void cancel_locked(struct pt_replica_waits *waits)
{
    waits->ended = true;
    for (struct pt_replica_wait *wait = waits->first; wait != NULL; wait = waits->first) {
        wait_leave_locked(waits, wait);
        pt_condition_signal(&wait->wake);
    }
}

void peat_replicas_cancel(struct peat_db *db)
{
    if (db == NULL)
        return;
    pt_mutex_lock(&db->feeds.mutex);
    cancel_locked(&db->feeds.replicas);
    pt_mutex_unlock(&db->feeds.mutex);
}

void pt_replicas_end(struct peat_db *db)
{
    struct pt_replica_waits *waits = &db->feeds.replicas;

    pt_mutex_lock(&db->feeds.mutex);
    cancel_locked(waits);
    while (waits->count > 0)
        pt_condition_wait(&waits->left, &db->feeds.mutex);
    pt_mutex_unlock(&db->feeds.mutex);
}

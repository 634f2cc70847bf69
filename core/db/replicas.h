/*
 * Those who wait until followers have a commit on their disks.
 *
 *  1. A follower is a named feed with seals. It has a commit once it has acknowledged that one or a later one, which it
 *     does when the commit is on its own disk: whether it is connected now does not matter.
 *  2. Who waits is in one list, ascending by commit, with a condition of its own. An acknowledgement looks at those alone
 *     that it may concern, and wakes those alone that have enough.
 *  3. Nobody waits in the commit queue: a group is committed and dismissed first, so commits of others go on.
 */
#ifndef PEAT_CORE_DB_REPLICAS_H
#define PEAT_CORE_DB_REPLICAS_H

#include "core/base/thread.h"

struct peat_db;
struct pt_replica_wait;

/* Guarded by feeds.mutex. */
struct pt_replica_waits {
    struct pt_replica_wait *first; /* those who wait; by commit, borrowed from their stacks */
    struct pt_replica_wait *last;
    unsigned count;           /* calls that wait, or have been woken and are not back yet */
    struct pt_condition left; /* signalled when the last of them is back, if it has ended */
    bool ended;               /* nobody waits any more */
};

void pt_replica_waits_init(struct pt_replica_waits *waits);
void pt_replica_waits_fini(struct pt_replica_waits *waits);

/* Wait until @p count followers have @p commit. @p timeout_ms and @p reached_out as peat_wait_replicas(), which this is
 * but for its checks. */
enum peat_status pt_replicas_wait(struct peat_db *db, uint64_t commit, unsigned count,
                                  unsigned timeout_ms, unsigned *reached_out);
/* A follower's feed has now acknowledged the commits from @p first to @p last, too; with feeds.mutex held. One that was none
 * before has all of them from 0 on. */
void pt_replicas_note_locked(struct peat_db *db, uint64_t first, uint64_t last);
/* Nobody waits any more: returns when those who did are back. For closing. */
void pt_replicas_end(struct peat_db *db);

#endif

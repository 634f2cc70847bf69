/*
 * A state walk: everything that a snapshot shows, all collections, as one sequence of live entries by
 * stored key; and what goes along with such a walk: its progress, and the digest of what it passed.
 */
#ifndef PEAT_CORE_DB_STATE_WALK_H
#define PEAT_CORE_DB_STATE_WALK_H

#include "core/base/digester.h"
#include "core/db/snapshot.h"

/* One thread. All zeros before it is opened. */
struct pt_state_walk {
    struct peat_iterator *iterator; /* owned; NULL: none was opened */
    bool ended;
    struct peat_bytes key; /* valid unless it has ended; stays as long as the walk is open */
    struct peat_bytes value;
    /* Set before it is opened. NULL: damage is an error. Else it is called with the stored keys that
     * are lost, and the walk goes on behind them, or ends with the error that it gives. */
    enum peat_status (*lost)(void *context, const struct peat_range *keys);
    void *context;
};

/* On the first entry, or at the end: PEAT_OK either way. PEAT_CORRUPT, PEAT_IO, PEAT_NO_MEMORY. */
enum peat_status pt_state_walk_open(struct pt_state_walk *walk,
                                    const struct peat_snapshot *snapshot);
/* The same over the stored keys in [low, high); data NULL: unbounded. */
enum peat_status pt_state_walk_open_within(struct pt_state_walk *walk,
                                           const struct peat_snapshot *snapshot,
                                           struct peat_bytes low, struct peat_bytes high);
enum peat_status pt_state_walk_next(struct pt_state_walk *walk);
void pt_state_walk_close(struct pt_state_walk *walk);

/* Add the entry under @p walk to the digest of a state. */
void pt_state_digest_add(struct pt_digester *digester, const struct pt_state_walk *walk);

/* All of it but the value, which follows. */
void pt_state_digest_add_head(struct pt_digester *digester, const struct pt_state_walk *walk);

/* Bytes of entries that a snapshot leads to, roughly. */
uint64_t pt_state_estimate(const struct peat_snapshot *snapshot);

/* Progress, as the caller of a long call is told. */
struct pt_meter {
    bool (*progress)(void *context, uint64_t done, uint64_t total); /* NULL: nobody is told */
    void *context;
    uint64_t done;  /* bytes */
    uint64_t total; /* bytes, estimated */
    uint64_t told;  /* of done */
};

/* So many bytes more are done. PEAT_DONE: the caller wants no more. */
enum peat_status pt_meter_advance(struct pt_meter *meter, uint64_t size);
/* The call came to its end: tells so, in case the estimate was too high. */
void pt_meter_end(struct pt_meter *meter);

#endif

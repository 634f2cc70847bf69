/*
 * The follower's end of a log: records that come are applied, and what has become of them is told.
 *
 *  1. Each frame's records are applied at once, at the level asked for, and acknowledged when that is done. So what
 *     is acknowledged as durable is.
 *  2. It grants a window of bytes beyond what it has applied: that is all that can be under way.
 *  3. A primary waits for what is durable, and for credit: that is told at once. The rest is told of many frames at once.
 */
#ifndef PEAT_REPL_LOG_TAKER_H
#define PEAT_REPL_LOG_TAKER_H

#include "repl/joint.h"
#include "repl/peer.h"

enum { PT_LOG_TAKER_GROUP_MAX = 256 }; /* records that are applied by one call */

struct pt_log_taker {
    uint64_t window_size; /* bytes that may be under way */
    enum peat_durability durability;
    uint64_t taken;        /* bytes of records that came */
    uint64_t told_taken;   /* as the last acknowledgement had it */
    uint64_t told_durable; /* likewise */
    uint64_t told_us;      /* when that was */
    uint64_t ack_due_us;   /* when the next one goes; 0: there is nothing to tell */
    uint64_t begun;        /* the newest commit that was there before it followed */
    uint64_t received;
    uint64_t applied;
    uint64_t durable;
    uint64_t sync_due_us; /* below PEAT_DISK: when what was applied is synced */
    bool has_gap;         /* the log goes on nowhere from here */
    struct pt_joint joint;
    struct peat_record group[PT_LOG_TAKER_GROUP_MAX];
};

/* @p taker is all zeros. Batches have @p record_size_max bytes at most. */
void pt_log_taker_init(struct pt_log_taker *taker, uint64_t window_size,
                       enum peat_durability durability, uint64_t record_size_max);
void pt_log_taker_fini(struct pt_log_taker *taker);
/* The store stands at @p commit, durably. */
void pt_log_taker_begin(struct pt_log_taker *taker, uint64_t commit);

/* Take RECORDS or PART, of @p peer, which ends where that fails. */
void pt_log_taker_records(struct pt_log_taker *taker, struct pt_peer *peer,
                          const struct pt_frame *frame, uint64_t now_us);
void pt_log_taker_part(struct pt_log_taker *taker, struct pt_peer *peer,
                       const struct pt_frame *frame, uint64_t now_us);
/* Below PEAT_DISK: make durable what was applied, and say so, if it is time. */
void pt_log_taker_sync(struct pt_log_taker *taker, struct pt_peer *peer, uint64_t now_us);
/* Tell what nobody waits for, if it is time. When it will be; UINT64_MAX: there is nothing to tell. */
uint64_t pt_log_taker_tell(struct pt_log_taker *taker, struct pt_peer *peer, uint64_t now_us);

#endif

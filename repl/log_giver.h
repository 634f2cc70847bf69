/*
 * The primary's end of a log: what its follower gets of a feed, and has granted and acknowledged.
 *
 *  1. What is sent is granted by the follower byte by byte: there is never more under way than it has room for.
 *  2. Small records go many to a frame, as copies. A large one goes from where it lies in the log, before the feed moves, and
 *     one that does not fit into a frame, or into what is granted, in parts.
 *  3. An acknowledgement is of what was sent, and never of less than before.
 */
#ifndef PEAT_REPL_LOG_GIVER_H
#define PEAT_REPL_LOG_GIVER_H

#include "repl/peer.h"
#include "repl/records.h"

enum { PT_LOG_GIVER_STAGE_SIZE = 64 << 10 }; /* bytes of small records that go into one frame */

/* All zeros: there is none. */
struct pt_log_giver {
    struct peat_feed *feed;  /* NULL: nothing is given */
    struct pt_ack ack;       /* the last one */
    uint64_t spent;          /* bytes of what was granted */
    uint64_t sent_commit;    /* the newest that went out whole */
    struct peat_record next; /* borrowed from the feed, until it is sent */
    bool has_next;
    uint64_t part_offset;      /* bytes of next that went out in parts */
    struct pt_records records; /* of the frame that is being made */
    uint8_t stage[PT_LOG_GIVER_STAGE_SIZE];
};

/* A follower stands at @p commit, and grants @p credit bytes. */
void pt_log_giver_begin(struct pt_log_giver *giver, uint64_t commit, uint64_t credit);
/* Open its feed, under @p name, from the commit behind that on. Seals before @p position are passed over: it has them. Fails as
 * peat_feed_open(); and PEAT_GAP: nothing comes behind that for good, as where a revert comes next; PEAT_CORRUPT: what comes next
 * is damaged. */
enum peat_status pt_log_giver_open(struct pt_log_giver *giver, struct peat_db *db, const char *name,
                                   uint64_t position);
void pt_log_giver_close(struct pt_log_giver *giver);

/* What is wrong with it; NULL: nothing, and what is durable is acknowledged to the feed. */
const char *pt_log_giver_acknowledge(struct pt_log_giver *giver, const struct pt_ack *ack);
/* One frame of records to @p peer, which ends where that fails. false: there is nothing to send, or not enough granted. */
bool pt_log_giver_send(struct pt_log_giver *giver, struct pt_peer *peer, uint64_t now_us);

#endif

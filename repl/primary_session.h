/*
 * The primary's end of a connection: a follower says where it stands, and gets what comes after that in the log, as
 * far as it has granted bytes.
 *
 *  1. What is sent is read from a feed under the follower's name, which keeps the log for it. It is granted by the
 *     follower byte by byte, and no commit ever waits for it.
 *  2. What the follower has on disk is acknowledged to the feed, so the log that it needs no more goes.
 *  3. A follower that has what this store has not, or the same commit with another chain, has another history: it is told
 *     so, and gets nothing. Where this store follows, too, it may have what is missing later: a follower that is
 *     ahead of it is told to come again.
 *     What is behind the place where its epochs fork from this store's is another history, too.
 *  4. It moves no feed that is no follower's, and makes names up to a number only: what a follower says of itself
 *     takes no log from the program's own feeds.
 *  5. A peer may compare instead of follow (sum_giver.h): it has neither name nor feed.
 *  6. A follower of a newer epoch, whose history goes on from this store's, shows that another one
 *     has been promoted: this one is fenced. It can be told by the log, if that is still there; a
 *     stranger's epochs fence nobody. The follower is turned away, and is right to come again
 *     elsewhere.
 */
#ifndef PEAT_REPL_PRIMARY_SESSION_H
#define PEAT_REPL_PRIMARY_SESSION_H

#include "repl/peer.h"

struct pt_primary_session;

struct pt_primary_session_options {
    const struct pt_channel_key *keys; /* copied */
    size_t key_count;
    /* Another session has the feed under @p session's name; its connection may be dead without anyone knowing.
     * It is to end, so that the follower, which has been turned away, finds the feed free when it comes
     * again. May be NULL. */
    void (*displace)(void *context, const struct pt_primary_session *session);
    void *context;
};

/* PEAT_NO_MEMORY. */
enum peat_status pt_primary_session_open(struct peat_db *db,
                                         const struct pt_primary_session_options *options,
                                         uint64_t now_us, struct pt_primary_session **session_out);
void pt_primary_session_close(struct pt_primary_session *session); /* NULL is allowed */

/* How it goes, what is to be sent, and how it ended. */
struct pt_peer *pt_primary_session_base(struct pt_primary_session *session);

void pt_primary_session_receive(struct pt_primary_session *session, const void *bytes, size_t size,
                                uint64_t now_us);
/* Make what can be sent now, of records and of pings; gives when to call again at the latest, if nothing is
 * committed or received before. */
uint64_t pt_primary_session_step(struct pt_primary_session *session, uint64_t now_us);

/* Whether sums were asked for that are still to be made; and a turn of making them. The thread that receives calls that, and
 * may leave other calls, but for those of receiving and closing, to other threads meanwhile. */
bool pt_primary_session_is_summing(const struct pt_primary_session *session);
void pt_primary_session_sum(struct pt_primary_session *session);
/* Send them if they are made: called by the same thread. */
void pt_primary_session_sums_send(struct pt_primary_session *session, uint64_t now_us);

/* Whether there is nothing to send until something is committed: no record that waits for credit. */
bool pt_primary_session_has_all(const struct pt_primary_session *session);

/* What the peer gets; nothing before its HELLO, or the PIN of one that compares, has been taken. */
enum pt_serving { PT_SERVES_NOTHING, PT_SERVES_LOG, PT_SERVES_STATE, PT_SERVES_SUMS };
enum pt_serving pt_primary_session_serves(const struct pt_primary_session *session);
/* Whether it has told of an epoch for which the store was fenced, which it was not before: (6). */
bool pt_primary_session_has_fenced(const struct pt_primary_session *session);
/* What the follower has said last; zeros before. */
struct pt_ack pt_primary_session_ack(const struct pt_primary_session *session);
/* The feed's, for who waits for commits; NULL: it has none yet. */
struct peat_feed *pt_primary_session_feed(struct pt_primary_session *session);
/* The follower's name; "" before it has said so. */
const char *pt_primary_session_name(const struct pt_primary_session *session);

#endif

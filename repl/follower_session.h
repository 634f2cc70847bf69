/*
 * The follower's end of a connection: it says where its store stands, applies what comes, and says how far it has come.
 *
 *  1. Each frame's records are applied at once, at the level asked for, and acknowledged when that is done. So what
 *     is acknowledged as durable is.
 *  2. It grants a window of bytes beyond what it has applied: that is all that can be under way.
 *  3. What does not go on from its history ends following for good; what is missing, or damaged, the connection.
 *  4. Where the histories have parted, and it may leave its own (rejoin.h), the connection ends with that: the next one
 *     begins with what it has then.
 *  5. Where the log does not go on from what it has, it takes a state (seed_taker.h), and ends the connection: the next one goes
 *     on from there. It needs the primary's identity for that, which an empty store takes on.
 */
#ifndef PEAT_REPL_FOLLOWER_SESSION_H
#define PEAT_REPL_FOLLOWER_SESSION_H

#include "repl/peer.h"
#include "repl/rejoin.h"
#include "repl/seed_taker.h"

struct pt_follower_session_options {
    const char *name;         /* 1 to PEAT_NAME_SIZE_MAX bytes: that of its feed at the primary */
    uint64_t window_size;     /* bytes that may be under way */
    uint64_t record_size_max; /* bytes: of one batch */
    enum peat_durability durability; /* of what is applied */
    struct pt_seed_taker *taker;     /* outlives the session; NULL: it takes no states */
    struct pt_rejoin *rejoin;        /* the same; NULL: it leaves no history */
};

struct pt_follower_session;

/* @p options are borrowed. PEAT_NO_MEMORY, and what peat_position_get() gives. */
enum peat_status pt_follower_session_open(struct peat_db *db,
                                          const struct pt_follower_session_options *options,
                                          const struct pt_channel_key *key, uint64_t now_us,
                                          struct pt_follower_session **session_out);
void pt_follower_session_close(struct pt_follower_session *session); /* NULL is allowed */

struct pt_peer *pt_follower_session_base(struct pt_follower_session *session);

void pt_follower_session_receive(struct pt_follower_session *session, const void *bytes,
                                 size_t size, uint64_t now_us);
/* Gives when to call again at the latest. */
uint64_t pt_follower_session_step(struct pt_follower_session *session, uint64_t now_us);

/* Whether it takes a state. */
bool pt_follower_session_is_seeding(const struct pt_follower_session *session);
/* Whether the primary lets it follow. */
bool pt_follower_session_is_following(const struct pt_follower_session *session);
/* Whether, now that it has ended, another one may be tried soon: it has brought the store forward, or lasted. */
bool pt_follower_session_was_of_use(const struct pt_follower_session *session);

#endif

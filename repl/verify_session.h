/*
 * The verifier's end of a connection: it agrees with the peer on a commit that both can show, then compares the sums of
 * parts, and divides those that differ.
 *
 *  1. Both pin a state. Whoever is ahead goes back to the other's commit, as far as its write buffers reach
 *     (peat_snapshot_open_at()). Where they do not, the peer keeps its state until this store has come there, or is
 *     asked again: so it does not matter that commits go on, as long as one of the two follows closely.
 *  2. A part that differs is divided by its entries here, and the sums of those parts are asked for, depth first: what waits
 *     to be divided is bounded by the depth.
 *  3. A part that cannot be divided, or is not worth it, is told. Parts that lie side by side are told as one.
 *  4. Reading takes time: pt_verify_session_work() does a turn of it.
 */
#ifndef PEAT_REPL_VERIFY_SESSION_H
#define PEAT_REPL_VERIFY_SESSION_H

#include "repl/peat_repl.h"
#include "repl/peer.h"

struct pt_verify_session;

/* @p options are borrowed, and stay. PEAT_NO_MEMORY. */
enum peat_status pt_verify_session_open(struct peat_db *db,
                                        const struct peat_verify_options *options,
                                        const struct pt_channel_key *key, uint64_t now_us,
                                        struct pt_verify_session **session_out);
void pt_verify_session_close(struct pt_verify_session *session); /* NULL is allowed */

/* When its end is PT_PEER_CLOSED, the session's status says how it went. */
struct pt_peer *pt_verify_session_base(struct pt_verify_session *session);

void pt_verify_session_receive(struct pt_verify_session *session, const void *bytes, size_t size,
                               uint64_t now_us);
/* Gives when to call again at the latest. */
uint64_t pt_verify_session_step(struct pt_verify_session *session, uint64_t now_us);
/* Whether there is something to read here, and a turn of that. */
bool pt_verify_session_is_working(const struct pt_verify_session *session);
void pt_verify_session_work(struct pt_verify_session *session, uint64_t now_us);

/* Tell the caller how far it is, who may end it. */
void pt_verify_session_look(struct pt_verify_session *session, uint64_t now_us);

/* How it ended: PEAT_OK with a result that is whole; as peat_verify() otherwise. */
enum peat_status pt_verify_session_status(const struct pt_verify_session *session);
const struct peat_verify_result *pt_verify_session_result(const struct pt_verify_session *session);

#endif

/* What a follower says when it comes, and what it makes of the answer: to follow, to take a state, to leave its history, or that
 * this primary is none for it. */
#include "repl/follower_session_parts.h"

#include <inttypes.h>
#include <string.h>

/* ---- HELLO ---- */

static uint32_t flags_of(const struct pt_follower_session *session)
{
    uint32_t flags = PT_HELLO_SEALS;

    if (session->taker == NULL)
        return flags;
    if (session->taker->wanted || session->taker->heals)
        flags |= PT_HELLO_STATE;
    if (pt_rejoin_wants_state(session->rejoin))
        flags |= PT_HELLO_REJOIN;
    return flags | PT_HELLO_SEEDS;
}

void pt_follower_session_greet(struct pt_follower_session *session, uint64_t now_us)
{
    struct pt_hello hello = {.credit = session->log.window_size,
                             .flags = flags_of(session),
                             .name = {session->name, strlen(session->name)}};
    uint8_t body[PT_HELLO_SIZE_MAX];
    struct peat_bytes piece = {body, 0};
    enum peat_status status;
    const char *wrong;

    /* What it says that it has must be there after a power cut, too: the primary lets go of the log. */
    status = peat_sync(session->base.db);
    if (status == PEAT_OK)
        status = pt_branch_of(session->base.db, &session->ours);
    if (status != PEAT_OK) {
        pt_peer_store_failed(&session->base, status, now_us);
        return;
    }
    hello.position = session->ours.end;
    hello.epochs = session->ours.epochs;
    wrong = pt_hello_encode(&hello, body, sizeof(body), &piece.size);
    if (wrong != NULL) {
        pt_peer_stop(&session->base, PT_PEER_FAILED, PT_BYE_ERROR, now_us, "%s", wrong);
        return;
    }
    pt_log_taker_begin(&session->log, hello.position.commit);
    pt_peer_send(&session->base, PT_MESSAGE_HELLO, &piece, 1, now_us);
    session->greeted = true;
    /* The primary opens a feed, and cannot say anything meanwhile. */
    session->base.silence_us = PT_PEER_WELCOME_US;
}

/* ---- WELCOME ---- */

static enum pt_peer_end end_of(enum pt_verdict verdict)
{
    switch (verdict) {
    case PT_VERDICT_TAIL:
        break;
    case PT_VERDICT_SEED:
        return PT_PEER_SEED;
    case PT_VERDICT_FORKED:
        return PT_PEER_DIVERGED;
    case PT_VERDICT_REFUSED:
        return PT_PEER_REFUSED;
    }
    return PT_PEER_GOES_ON;
}

/* The histories have parted: leave ours, if that may be. */
static void parted(struct pt_follower_session *session, const struct pt_branch *theirs,
                   uint64_t now_us)
{
    struct peat_repl_error error;
    struct peat_fork fork;
    enum peat_status status;

    if (!pt_rejoin_possible(&session->ours, theirs, &fork)) {
        pt_peer_stop(&session->base, PT_PEER_DIVERGED, PT_BYE_DIVERGED, now_us,
                     "the histories have parted: commit %" PRIu64 " of epoch %" PRIu64
                     " is here, commit %" PRIu64 " of epoch %" PRIu64
                     " there, and the fork is not known; make this store anew of a backup",
                     session->ours.end.commit, session->ours.end.epoch, theirs->end.commit,
                     theirs->end.epoch);
    } else if (session->rejoin == NULL || !session->rejoin->allowed || session->taker == NULL) {
        pt_peer_stop(&session->base, PT_PEER_DIVERGED, PT_BYE_DIVERGED, now_us,
                     "the histories have parted behind commit %" PRIu64 ": commit %" PRIu64
                     " of epoch %" PRIu64 " is here, commit %" PRIu64 " of epoch %" PRIu64
                     " there; with --rejoin what is forked is saved, and it follows",
                     fork.commit, fork.ours.commit, fork.ours.epoch, fork.theirs.commit,
                     fork.theirs.epoch);
    } else if ((status = pt_rejoin_leave(session->rejoin, session->base.db, &fork, &error)) ==
               PEAT_OK) {
        session->left = true;
        pt_peer_stop(&session->base, PT_PEER_CLOSED, PT_BYE_CLOSING, now_us,
                     "what was committed here behind commit %" PRIu64
                     " is kept; it follows the history of epoch %" PRIu64 " now",
                     fork.commit, fork.theirs.epoch);
    } else {
        /* What may pass is tried again; all is here as before. */
        enum pt_peer_end end = status == PEAT_NO_SPACE    ? PT_PEER_NO_SPACE
                               : status == PEAT_NO_MEMORY ? PT_PEER_LOST
                               : status == PEAT_POISONED  ? PT_PEER_FAILED
                                                          : PT_PEER_DIVERGED;

        pt_peer_stop(&session->base, end, PT_BYE_CLOSING, now_us, "it cannot rejoin: %s",
                     error.words);
    }
}

/* What the primary said of its history; it borrows from that. */
static struct pt_branch branch_of(const struct pt_welcome *welcome)
{
    struct pt_branch branch;

    branch.epochs = welcome->epochs;
    branch.end = welcome->newest;
    return branch;
}

/* The primary lets us follow, but its history is none that ours can go on in: as it has not seen,
 * or does not know. */
static void epochs_check(struct pt_follower_session *session, const struct pt_welcome *welcome,
                         uint64_t now_us)
{
    struct pt_branch theirs = branch_of(welcome);
    bool to_a_state = welcome->verdict == PT_VERDICT_SEED && pt_rejoin_wants_state(session->rejoin);

    if (theirs.epochs.count == 0)
        return;
    if (pt_epochs_newest(&theirs.epochs) < pt_epochs_newest(&session->ours.epochs))
        pt_peer_stop(&session->base, PT_PEER_REFUSED, PT_BYE_CLOSING, now_us,
                     "the primary's epoch is over: this store's history is of a newer one");
    else if (!to_a_state && pt_branches_parted(&session->ours, &theirs))
        parted(session, &theirs, now_us);
}

/* Why it does not let us. */
static void turned_away(struct pt_follower_session *session, const struct pt_welcome *welcome,
                        uint64_t now_us)
{
    struct pt_branch theirs = branch_of(welcome);

    if (welcome->verdict == PT_VERDICT_FORKED && pt_branches_parted(&session->ours, &theirs))
        parted(session, &theirs, now_us);
    else
        pt_peer_stop(&session->base, end_of(welcome->verdict), PT_BYE_CLOSING, now_us, "%.*s",
                     (int)welcome->words.size, (const char *)welcome->words.data);
}

void pt_follower_session_welcome(struct pt_follower_session *session, const struct pt_frame *frame,
                                 uint64_t now_us)
{
    struct pt_welcome welcome;
    const char *wrong = pt_welcome_decode(frame->body, &welcome);
    bool offered; /* a state */

    if (wrong == NULL && (session->following || session->seeding))
        wrong = "a second welcome";
    if (wrong != NULL) {
        pt_peer_refuse(&session->base, wrong, now_us);
        return;
    }
    session->base.silence_us = PT_PEER_SILENCE_US;
    session->base.theirs = welcome.newest;
    session->following = welcome.verdict == PT_VERDICT_TAIL;
    if (session->following)
        pt_rejoin_forget(session->rejoin); /* this primary's history is ours */
    offered =
        welcome.verdict == PT_VERDICT_SEED && session->taker != NULL && welcome.words.size == 0;
    if (session->following || offered)
        epochs_check(session, &welcome, now_us);
    else
        turned_away(session, &welcome, now_us);
    if (offered && session->base.end == PT_PEER_GOES_ON)
        pt_follower_session_seed(session, now_us);
    else if (session->following && session->taker != NULL)
        peat_seeding_forget(session->taker->seeding); /* of a state that is not needed any more */
}

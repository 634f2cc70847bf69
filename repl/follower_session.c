#include "repl/follower_session.h"

#include "repl/fork.h"
#include "repl/log_taker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LASTED_US = 5000000 }; /* following for so long is of use by itself */

struct pt_follower_session {
    struct pt_peer base;
    char name[PEAT_NAME_SIZE_MAX + 1];
    bool greeted;                /* HELLO has been sent */
    bool following;              /* and answered with TAIL */
    bool seeding;                /* or with SEED, and a state is being taken */
    bool seeded;                 /* all of it */
    bool left;                   /* its history, for the primary's */
    struct pt_rejoin *rejoin;    /* borrowed; NULL: it leaves none */
    struct pt_seed_taker *taker; /* borrowed; NULL: it takes none */
    char unlike
        [PT_PEER_WORDS_MAX]; /* why the primary's states are not for this store; "": they are */
    struct pt_branch ours;   /* as HELLO has it */
    struct pt_log_taker log;
};

enum peat_status pt_follower_session_open(struct peat_db *db,
                                          const struct pt_follower_session_options *options,
                                          const struct pt_channel_key *key, uint64_t now_us,
                                          struct pt_follower_session **session_out)
{
    struct pt_follower_session *session = calloc(1, sizeof(*session));
    enum peat_status status;

    *session_out = NULL;
    if (session == NULL)
        return PEAT_NO_MEMORY;
    strncpy(session->name, options->name, PEAT_NAME_SIZE_MAX);
    session->taker = options->taker;
    session->rejoin = options->rejoin;
    pt_log_taker_init(&session->log, options->window_size, options->durability,
                      options->record_size_max);
    status = pt_peer_init(&session->base, db, PT_CHANNEL_DIALER, key, 1, now_us);
    if (status != PEAT_OK) {
        free(session);
        return status;
    }
    *session_out = session;
    return PEAT_OK;
}

void pt_follower_session_close(struct pt_follower_session *session)
{
    if (session == NULL)
        return;
    pt_log_taker_fini(&session->log);
    pt_peer_fini(&session->base);
    free(session);
}

struct pt_peer *pt_follower_session_base(struct pt_follower_session *session)
{
    return &session->base;
}

bool pt_follower_session_is_following(const struct pt_follower_session *session)
{
    return session->following && session->base.end == PT_PEER_GOES_ON;
}

bool pt_follower_session_is_seeding(const struct pt_follower_session *session)
{
    return session->seeding && session->base.end == PT_PEER_GOES_ON;
}

bool pt_follower_session_was_of_use(const struct pt_follower_session *session)
{
    const struct pt_peer *base = &session->base;

    if (session->seeded || session->left)
        return true;
    /* To let it follow costs the primary a sync: who cannot go on does not ask for it again at once. */
    if (!session->following || (base->end != PT_PEER_LOST && base->end != PT_PEER_CLOSED))
        return false;
    return session->log.applied > session->log.begun ||
           base->heard_us - base->begun_us >= LASTED_US;
}

/* ---- Beginning ---- */

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

static void greet(struct pt_follower_session *session, uint64_t now_us)
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

/* ---- A state ---- */

static void identity_take(struct pt_follower_session *session, const struct pt_frame *frame,
                          uint64_t now_us)
{
    struct peat_identity identity;
    const char *wrong = pt_identity_body_decode(frame->body, &identity);
    enum peat_status status;

    if (wrong != NULL) {
        pt_peer_refuse(&session->base, wrong, now_us);
        return;
    }
    status = peat_identity_adopt(session->base.db, &identity);
    if (status == PEAT_INVALID)
        (void)snprintf(session->unlike, sizeof(session->unlike), "%s", peat_last_error());
    else if (status != PEAT_OK)
        pt_peer_store_failed(&session->base, status, now_us);
}

static void asks_send(struct pt_follower_session *session, uint64_t now_us)
{
    struct pt_ask ask;
    struct pt_wire_ask body;
    struct peat_bytes piece = {&body, sizeof(body)};

    while (pt_follower_session_is_seeding(session) &&
           pt_seed_taker_ask(session->taker, session->log.window_size, &ask))
        if (pt_ask_encode(&ask, &body) == NULL)
            pt_peer_send(&session->base, PT_MESSAGE_ASK, &piece, 1, now_us);
}

static void seed_begin(struct pt_follower_session *session, uint64_t now_us)
{
    if (session->unlike[0] != '\0') {
        pt_peer_stop(&session->base, PT_PEER_SEED, PT_BYE_CLOSING, now_us, "%s", session->unlike);
        return;
    }
    if (pt_rejoin_wants_state(session->rejoin) &&
        peat_seeding_part(session->taker->seeding, session->rejoin->name) != PEAT_OK) {
        pt_peer_store_failed(&session->base, PEAT_INVALID, now_us);
        return;
    }
    session->seeding = true;
    pt_seed_taker_begin(session->taker);
    asks_send(session, now_us);
}

static void chunk_take(struct pt_follower_session *session, const struct pt_frame *frame,
                       uint64_t now_us)
{
    struct pt_chunk chunk;
    const char *wrong = pt_chunk_decode(frame->body, &chunk);
    uint64_t healed = session->taker->healed;
    enum peat_status status = PEAT_OK;

    if (wrong == NULL)
        status = pt_seed_taker_take(session->taker, &chunk);
    if (wrong == NULL &&
        (status == PEAT_CORRUPT || status == PEAT_INVALID || status == PEAT_VERSION))
        wrong = "what it sends is no state that can be taken here";
    if (wrong != NULL) {
        pt_peer_refuse(&session->base, wrong, now_us);
    } else if (status == PEAT_DONE) {
        session->seeded = true;
        pt_rejoin_done(session->rejoin);
        healed = session->taker->healed - healed;
        if (healed > 0)
            pt_peer_stop(&session->base, PT_PEER_CLOSED, PT_BYE_SEEDED, now_us,
                         "damaged segments: %" PRIu64
                         ", all healed by a state; the log behind it comes next",
                         healed);
        else
            pt_peer_stop(&session->base, PT_PEER_CLOSED, PT_BYE_SEEDED, now_us,
                         "a state was taken; the log behind it comes next");
    } else if (status != PEAT_OK) {
        pt_peer_store_failed(&session->base, status, now_us);
    } else {
        asks_send(session, now_us);
    }
}

/* ---- The answer ---- */

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

static void welcome_take(struct pt_follower_session *session, const struct pt_frame *frame,
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
        seed_begin(session, now_us);
    else if (session->following && session->taker != NULL)
        peat_seeding_forget(session->taker->seeding); /* of a state that is not needed any more */
}

/* ---- Receiving ---- */

static void handle(struct pt_peer *base, const struct pt_frame *frame, uint64_t now_us)
{
    struct pt_follower_session *session = (struct pt_follower_session *)base; /* its first field */

    if (frame->type == PT_MESSAGE_WELCOME && session->greeted)
        welcome_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_IDENTITY && session->greeted && session->taker != NULL &&
             !session->following && !session->seeding)
        identity_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_CHUNK && session->seeding)
        chunk_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_RECORDS && session->following)
        pt_log_taker_records(&session->log, base, frame, now_us);
    else if (frame->type == PT_MESSAGE_PART && session->following)
        pt_log_taker_part(&session->log, base, frame, now_us);
    else
        pt_peer_refuse_type(base, frame->type, now_us);
    if (session->log.has_gap && session->taker != NULL)
        session->taker->wanted = true;
}

void pt_follower_session_receive(struct pt_follower_session *session, const void *bytes,
                                 size_t size, uint64_t now_us)
{
    pt_peer_receive(&session->base, bytes, size, handle, now_us);
    (void)pt_follower_session_step(session, now_us);
}

uint64_t pt_follower_session_step(struct pt_follower_session *session, uint64_t now_us)
{
    uint64_t due_us;
    uint64_t tell_us;

    if (!session->greeted && session->base.end == PT_PEER_GOES_ON &&
        pt_channel_is_ready(session->base.channel))
        greet(session, now_us);
    if (pt_follower_session_is_following(session))
        pt_log_taker_sync(&session->log, &session->base, now_us);
    tell_us = pt_log_taker_tell(&session->log, &session->base, now_us);
    due_us = pt_peer_tick(&session->base, now_us);
    return tell_us < due_us ? tell_us : due_us;
}

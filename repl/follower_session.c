#include "repl/follower_session.h"

#include "repl/fork.h"
#include "repl/joint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUP_MAX = 256, /* records that are applied by one call */
    SYNC_US = 1000000,
    ACK_US = 2000,        /* so often what nobody waits for is acknowledged */
    ACK_LATE_US = 500000, /* and so late, when nothing more comes */
    LASTED_US = 5000000   /* following for so long is of use by itself */
};

struct pt_follower_session {
    struct pt_peer base;
    char name[PEAT_NAME_SIZE_MAX + 1];
    uint64_t window_size;
    enum peat_durability durability;
    bool greeted;                /* HELLO has been sent */
    bool following;              /* and answered with TAIL */
    bool seeding;                /* or with SEED, and a state is being taken */
    bool seeded;                 /* all of it */
    bool left;                   /* its history, for the primary's */
    struct pt_rejoin *rejoin;    /* borrowed; NULL: it leaves none */
    struct pt_seed_taker *taker; /* borrowed; NULL: it takes none */
    char unlike
        [PT_PEER_WORDS_MAX]; /* why the primary's states are not for this store; "": they are */
    uint64_t taken;          /* bytes of records that came */
    uint64_t told_taken;     /* as the last acknowledgement had it */
    uint64_t told_durable;   /* likewise */
    uint64_t told_us;        /* when that was */
    uint64_t ack_due_us;     /* when the next one goes; 0: there is nothing to tell */
    struct pt_branch ours;   /* as HELLO has it */
    uint64_t begun;          /* the newest commit that was there before it followed */
    uint64_t received;
    uint64_t applied;
    uint64_t durable;
    uint64_t sync_due_us; /* below PEAT_DISK: when what was applied is synced */
    struct pt_joint joint;
    struct peat_record group[GROUP_MAX];
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
    session->window_size = options->window_size;
    session->durability = options->durability;
    session->taker = options->taker;
    session->rejoin = options->rejoin;
    pt_joint_init(&session->joint, options->record_size_max);
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
    pt_joint_fini(&session->joint);
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
    return session->applied > session->begun || base->heard_us - base->begun_us >= LASTED_US;
}

/* What the store answered ends the session: for good, unless space or memory may be there later. */
static void store_failed(struct pt_follower_session *session, enum peat_status status,
                         uint64_t now_us)
{
    enum pt_peer_end end = PT_PEER_FAILED;

    if (status == PEAT_NO_SPACE)
        end = PT_PEER_NO_SPACE;
    else if (status == PEAT_NO_MEMORY)
        end = PT_PEER_LOST;
    pt_peer_stop(&session->base, end, status == PEAT_NO_SPACE ? PT_BYE_NO_SPACE : PT_BYE_ERROR,
                 now_us, "%s", peat_last_error());
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
    struct pt_hello hello = {.credit = session->window_size,
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
        store_failed(session, status, now_us);
        return;
    }
    hello.position = session->ours.end;
    hello.epochs = session->ours.epochs;
    wrong = pt_hello_encode(&hello, body, sizeof(body), &piece.size);
    if (wrong != NULL) {
        pt_peer_stop(&session->base, PT_PEER_FAILED, PT_BYE_ERROR, now_us, "%s", wrong);
        return;
    }
    session->begun = session->received = session->applied = session->durable =
        session->told_durable = hello.position.commit;
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
        store_failed(session, status, now_us);
}

static void asks_send(struct pt_follower_session *session, uint64_t now_us)
{
    struct pt_ask ask;
    struct pt_wire_ask body;
    struct peat_bytes piece = {&body, sizeof(body)};

    while (pt_follower_session_is_seeding(session) &&
           pt_seed_taker_ask(session->taker, session->window_size, &ask))
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
        store_failed(session, PEAT_INVALID, now_us);
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
        store_failed(session, status, now_us);
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

/* ---- Records ---- */

static void acknowledge(struct pt_follower_session *session, uint64_t now_us)
{
    struct pt_ack ack = {.received = session->received,
                         .durable = session->durable,
                         .applied = session->applied,
                         .credit = session->taken + session->window_size};
    struct pt_wire_ack body;
    struct peat_bytes piece = {&body, sizeof(body)};

    if (pt_ack_encode(&ack, &body) == NULL)
        pt_peer_send(&session->base, PT_MESSAGE_ACK, &piece, 1, now_us);
    session->told_taken = session->taken;
    session->told_durable = session->durable;
    session->told_us = now_us;
    session->ack_due_us = 0;
}

/* A primary waits for what is durable, and for credit. The rest is told of many frames at once: each acknowledgement
 * wakes two threads there, beside those that send. Late is not soon, since nng's clock is busy for a millisecond, and
 * keeps its streams waiting, whenever a time limit that was asked for passes, also one of what has long been done. */
static void acknowledge_soon(struct pt_follower_session *session, uint64_t now_us)
{
    if (session->durable != session->told_durable ||
        session->taken - session->told_taken >= session->window_size / 4 ||
        now_us - session->told_us >= ACK_US)
        acknowledge(session, now_us);
    else
        session->ack_due_us = session->told_us + ACK_LATE_US;
}

/* What became of a call of peat_apply() that failed. */
static void apply_failed(struct pt_follower_session *session, enum peat_status status,
                         uint64_t now_us)
{
    if (status == PEAT_CORRUPT) {
        pt_peer_stop(&session->base, PT_PEER_DIVERGED, PT_BYE_DIVERGED, now_us, "%s",
                     peat_last_error());
    } else if (status == PEAT_GAP) {
        /* A seal behind our newest commit is gone, which the primary's feed does not count. */
        pt_peer_stop(&session->base, PT_PEER_SEED, PT_BYE_ERROR, now_us, "%s", peat_last_error());
        if (session->taker != NULL)
            session->taker->wanted = true;
    } else {
        store_failed(session, status, now_us);
    }
}

static void group_apply(struct pt_follower_session *session, size_t count, uint64_t now_us)
{
    enum peat_status status;

    if (count == 0)
        return;
    session->received = session->group[count - 1].commit;
    status =
        peat_apply(session->base.db, session->group, count, session->durability, &session->applied);
    if (session->durability >= PEAT_DISK)
        session->durable = session->applied;
    if (status == PEAT_OK)
        session->base.records += count;
    else
        apply_failed(session, status, now_us);
}

/* Below PEAT_DISK: make durable what was applied, and say so. */
static void sync_applied(struct pt_follower_session *session, uint64_t now_us)
{
    enum peat_status status;

    session->sync_due_us = now_us + SYNC_US;
    if (session->durable == session->applied)
        return;
    status = peat_sync(session->base.db);
    if (status != PEAT_OK) {
        store_failed(session, status, now_us);
        return;
    }
    session->durable = session->applied;
    acknowledge(session, now_us);
}

static void records_take(struct pt_follower_session *session, const struct pt_frame *frame,
                         uint64_t now_us)
{
    size_t place = 0;
    size_t count = 0;
    const char *wrong = pt_records_check(frame->body, &count);

    if (wrong == NULL && pt_joint_is_open(&session->joint))
        wrong = "records in the middle of one";
    if (wrong != NULL) {
        pt_peer_refuse(&session->base, wrong, now_us);
        return;
    }
    while (count > 0 && session->base.end == PT_PEER_GOES_ON) {
        size_t taken = 0;

        for (; taken < GROUP_MAX && taken < count; taken++)
            (void)pt_records_next(frame->body, &place, &session->group[taken]); /* checked */
        group_apply(session, taken, now_us);
        count -= taken;
    }
    session->taken += frame->body.size;
    acknowledge_soon(session, now_us);
}

static void part_take(struct pt_follower_session *session, const struct pt_frame *frame,
                      uint64_t now_us)
{
    struct pt_part part;
    const char *wrong = pt_part_decode(frame->body, &part);
    enum peat_status status = PEAT_CORRUPT;

    if (wrong == NULL)
        status = pt_joint_add(&session->joint, &part, &session->group[0], &wrong);
    if (status < 0) {
        pt_peer_refuse(&session->base, wrong, now_us);
        return;
    }
    if (status == PEAT_DONE)
        group_apply(session, 1, now_us);
    session->taken += frame->body.size;
    acknowledge_soon(session, now_us);
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
        records_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_PART && session->following)
        part_take(session, frame, now_us);
    else
        pt_peer_refuse_type(base, frame->type, now_us);
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

    if (!session->greeted && session->base.end == PT_PEER_GOES_ON &&
        pt_channel_is_ready(session->base.channel))
        greet(session, now_us);
    if (pt_follower_session_is_following(session) && now_us >= session->sync_due_us)
        sync_applied(session, now_us);
    if (session->ack_due_us != 0 && now_us >= session->ack_due_us)
        acknowledge(session, now_us);
    due_us = pt_peer_tick(&session->base, now_us);
    return session->ack_due_us != 0 && session->ack_due_us < due_us ? session->ack_due_us : due_us;
}

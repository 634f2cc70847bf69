#include "repl/primary_session.h"

#include "repl/fork.h"
#include "repl/log_giver.h"
#include "repl/seed_giver.h"
#include "repl/sum_giver.h"

#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 1024 }; /* feeds with a name: beyond that no follower makes another one */

struct pt_primary_session {
    struct pt_peer base;
    struct pt_primary_session_options options; /* its keys are not looked at any more */
    struct pt_log_giver log;                   /* none: HELLO has not come, or a state is wanted */
    struct pt_seed_giver giver;
    struct pt_sum_giver sums; /* of who compares */
    uint32_t flags;           /* HELLO's */
    bool has_fenced;
    bool parted; /* it leaves its history for this one: a state is what it needs */
    char name[PEAT_NAME_SIZE_MAX + 1];
    struct pt_branch ours; /* when HELLO came */
};

enum peat_status pt_primary_session_open(struct peat_db *db,
                                         const struct pt_primary_session_options *options,
                                         uint64_t now_us, struct pt_primary_session **session_out)
{
    struct pt_primary_session *session = calloc(1, sizeof(*session));
    enum peat_status status;

    *session_out = NULL;
    if (session == NULL)
        return PEAT_NO_MEMORY;
    session->options = *options;
    status = pt_peer_init(&session->base, db, PT_CHANNEL_LISTENER, options->keys,
                          options->key_count, now_us);
    if (status != PEAT_OK) {
        free(session);
        return status;
    }
    *session_out = session;
    return PEAT_OK;
}

void pt_primary_session_close(struct pt_primary_session *session)
{
    if (session == NULL)
        return;
    pt_log_giver_close(&session->log);
    pt_seed_giver_close(&session->giver);
    pt_sum_giver_close(&session->sums);
    pt_peer_fini(&session->base);
    free(session);
}

struct pt_peer *pt_primary_session_base(struct pt_primary_session *session)
{
    return &session->base;
}

bool pt_primary_session_has_all(const struct pt_primary_session *session)
{
    return session->log.feed != NULL && session->base.end == PT_PEER_GOES_ON &&
           !session->log.has_next;
}

enum pt_serving pt_primary_session_serves(const struct pt_primary_session *session)
{
    if (session->log.feed != NULL)
        return PT_SERVES_LOG;
    if (session->giver.seed != NULL)
        return PT_SERVES_STATE;
    return session->sums.snapshot != NULL ? PT_SERVES_SUMS : PT_SERVES_NOTHING;
}

bool pt_primary_session_has_fenced(const struct pt_primary_session *session)
{
    return session->has_fenced;
}

struct pt_ack pt_primary_session_ack(const struct pt_primary_session *session)
{
    return session->log.ack;
}

struct peat_feed *pt_primary_session_feed(struct pt_primary_session *session)
{
    return session->log.feed;
}

const char *pt_primary_session_name(const struct pt_primary_session *session)
{
    return session->name;
}

/* ---- HELLO ---- */

static void welcome(struct pt_primary_session *session, enum pt_verdict verdict, const char *words,
                    uint64_t now_us)
{
    char room[PT_WORDS_SIZE_MAX];
    struct pt_welcome welcome = {
        .verdict = verdict, .newest = session->ours.end, .words = pt_peer_words(words, room)};
    uint8_t body[PT_WELCOME_SIZE_MAX];
    struct peat_bytes piece = {body, 0};
    const char *wrong;

    welcome.epochs = session->ours.epochs;
    wrong = pt_welcome_encode(&welcome, body, sizeof(body), &piece.size);
    if (wrong != NULL) {
        pt_peer_stop(&session->base, PT_PEER_FAILED, PT_BYE_ERROR, now_us, "%s", wrong);
        return;
    }
    pt_peer_send(&session->base, PT_MESSAGE_WELCOME, &piece, 1, now_us);
}

/* It does not follow, and @p verdict says so. */
static void turn_away(struct pt_primary_session *session, enum pt_verdict verdict,
                      enum pt_peer_end end, const char *words, uint64_t now_us)
{
    welcome(session, verdict, words, now_us);
    pt_peer_stop(&session->base, end, PT_BYE_CLOSING, now_us, "%s", words);
}

/* (3), as far as it can be seen without the log. */
static bool is_ahead(const struct peat_position *theirs, const struct peat_position *ours)
{
    return theirs->commit > ours->commit || theirs->position > ours->position;
}

static bool has_parted(const struct peat_position *theirs, const struct peat_position *ours)
{
    return is_ahead(theirs, ours) || (theirs->position == ours->position &&
                                      memcmp(theirs->chain, ours->chain, sizeof(ours->chain)) != 0);
}

/* The feeds with a name that there are. */
struct names {
    const char *wanted;
    size_t count;
    bool is_there;
    bool is_others; /* it is no follower's */
};

static bool name_look(void *context, const struct peat_feed_info *info)
{
    struct names *names = context;

    names->count++;
    if (strcmp(info->name, names->wanted) == 0) {
        names->is_there = true;
        names->is_others = !info->has_seals;
    }
    return true;
}

/* (4). NULL: the follower may have its name; else why not. */
static const char *name_wrong(struct pt_primary_session *session)
{
    struct names names = {.wanted = session->name};

    if (peat_feed_list(session->base.db, name_look, &names) != PEAT_OK)
        return peat_last_error();
    if (names.is_others)
        return "a feed that is no follower's has this name";
    if (!names.is_there && names.count >= NAMES_MAX)
        return "the store has too many feeds: drop those that nobody needs";
    return NULL;
}

static void refuse(struct pt_primary_session *session, const char *words, uint64_t now_us)
{
    turn_away(session, PT_VERDICT_REFUSED, PT_PEER_REFUSED, words, now_us);
}

static bool is_fenced(struct peat_db *db)
{
    enum peat_role role;

    return peat_role_get(db, &role) == PEAT_OK && role == PEAT_ROLE_FENCED;
}

/* The follower's history goes on from this store's, in a newer epoch: (5). */
static void epoch_is_over(struct pt_primary_session *session, const struct pt_branch *theirs,
                          uint64_t now_us)
{
    const char *words =
        "this store is fenced: its history goes on elsewhere, in the follower's epoch";
    bool was_fenced = is_fenced(session->base.db);

    if (peat_fence(session->base.db, pt_epochs_newest(&theirs->epochs)) != PEAT_OK)
        words = peat_last_error();
    /* Durable with the next manifest, where that failed. */
    session->has_fenced = !was_fenced && is_fenced(session->base.db);
    refuse(session, words, now_us);
}

/* Whether the follower's history is one that can go on here; if not, it has been told. */
static bool history_fits(struct pt_primary_session *session, const struct pt_branch *theirs,
                         uint64_t now_us)
{
    bool follows = (peat_flags(session->base.db) & PEAT_FOLLOWER) != 0;
    bool is_newer = pt_epochs_newest(&theirs->epochs) > pt_epochs_newest(&session->ours.epochs);

    if (follows && (is_newer || (is_ahead(&theirs->end, &session->ours.end) &&
                                 !pt_branches_parted(theirs, &session->ours)))) {
        refuse(session,
               "this store follows another one, and has not come as far as the follower yet",
               now_us);
        return false;
    }
    if (is_newer && pt_branch_goes_on(session->base.db, &session->ours, theirs)) {
        epoch_is_over(session, theirs, now_us);
        return false;
    }
    if (pt_branches_parted(theirs, &session->ours)) {
        if (!is_newer && (session->flags & PT_HELLO_REJOIN) != 0)
            return (session->parted = true);
        turn_away(session, PT_VERDICT_FORKED, PT_PEER_DIVERGED,
                  "the histories have parted: the follower has what is of another epoch here",
                  now_us);
        return false;
    }
    if (is_newer) {
        refuse(session,
               "the follower's epoch is newer, and cannot be told to go on from this store's",
               now_us);
        return false;
    }
    if (has_parted(&theirs->end, &session->ours.end)) {
        turn_away(session, PT_VERDICT_FORKED, PT_PEER_DIVERGED,
                  "the follower has a history that this store has not", now_us);
        return false;
    }
    return true;
}

/* What the follower's store must have to take a state of this one. false: there is nothing to tell yet, and it was told so. */
static bool identity_tell(struct pt_primary_session *session, uint64_t now_us)
{
    struct peat_identity identity;
    struct peat_bytes piece = {&identity, sizeof(identity)};

    if ((session->flags & PT_HELLO_SEEDS) == 0)
        return true;
    if ((peat_flags(session->base.db) & PEAT_FOLLOWER) != 0 && session->ours.end.position == 0) {
        refuse(session, "this store follows another one, and has nothing of it yet", now_us);
        return false;
    }
    if (peat_identity_get(session->base.db, &identity) == PEAT_OK)
        pt_peer_send(&session->base, PT_MESSAGE_IDENTITY, &piece, 1, now_us);
    return true;
}

/* Its feed; or, where there is none, a state, if it takes one. */
static enum peat_status feed_or_seed(struct pt_primary_session *session)
{
    enum peat_status status = PEAT_GAP;

    if ((session->flags & PT_HELLO_STATE) == 0 && !session->parted)
        status = pt_log_giver_open(&session->log, session->base.db, session->name);
    if (status == PEAT_GAP && (session->flags & PT_HELLO_SEEDS) != 0)
        status = pt_seed_giver_open(&session->giver, session->base.db, session->name,
                                    session->parted ? 0 : session->base.theirs.position);
    return status;
}

/* What it gets, or why it gets nothing. */
static void feed_begin(struct pt_primary_session *session, uint64_t now_us)
{
    const struct pt_primary_session_options *options = &session->options;
    enum peat_status status;

    if (!identity_tell(session, now_us))
        return;
    status = feed_or_seed(session);
    if (status == PEAT_OK) {
        welcome(session, session->log.feed != NULL ? PT_VERDICT_TAIL : PT_VERDICT_SEED, "", now_us);
    } else if (status == PEAT_GAP) {
        turn_away(session, PT_VERDICT_SEED, PT_PEER_SEED, peat_last_error(), now_us);
    } else {
        turn_away(session, PT_VERDICT_REFUSED,
                  status == PEAT_BUSY ? PT_PEER_REFUSED : PT_PEER_FAILED, peat_last_error(),
                  now_us);
    }
    if (status == PEAT_BUSY && options->displace != NULL)
        options->displace(options->context, session);
}

static void hello_take(struct pt_primary_session *session, const struct pt_frame *frame,
                       uint64_t now_us)
{
    struct pt_branch theirs;
    struct pt_hello hello;
    const char *wrong = pt_hello_decode(frame->body, &hello);

    if (wrong == NULL && session->sums.snapshot != NULL)
        wrong = "it follows and compares in one connection";
    if (wrong != NULL || session->name[0] != '\0') {
        pt_peer_refuse(&session->base, wrong != NULL ? wrong : "a second hello", now_us);
        return;
    }
    memcpy(session->name, hello.name.data, hello.name.size);
    session->flags = hello.flags;
    session->base.theirs = hello.position;
    pt_log_giver_begin(&session->log, hello.position.commit, hello.credit);
    theirs.epochs = hello.epochs;
    theirs.end = hello.position;
    if (pt_branch_of(session->base.db, &session->ours) != PEAT_OK) {
        pt_peer_stop(&session->base, PT_PEER_FAILED, PT_BYE_ERROR, now_us, "%s", peat_last_error());
        return;
    }
    if (!history_fits(session, &theirs, now_us))
        return;
    wrong = name_wrong(session);
    if (wrong != NULL)
        refuse(session, wrong, now_us);
    else
        feed_begin(session, now_us);
}

/* ---- ACK ---- */

static void ack_take(struct pt_primary_session *session, const struct pt_frame *frame,
                     uint64_t now_us)
{
    struct pt_ack ack;
    const char *wrong = pt_ack_decode(frame->body, &ack);

    if (wrong == NULL)
        wrong = pt_log_giver_acknowledge(&session->log, &ack);
    if (wrong != NULL)
        pt_peer_refuse(&session->base, wrong, now_us);
}

/* ---- A state ---- */

static void ask_take(struct pt_primary_session *session, const struct pt_frame *frame,
                     uint64_t now_us)
{
    struct pt_ask ask;
    const char *wrong = pt_ask_decode(frame->body, &ask);

    if (wrong == NULL)
        wrong = pt_seed_giver_ask(&session->giver, &ask);
    if (wrong != NULL)
        pt_peer_refuse(&session->base, wrong, now_us);
}

/* A piece of what was asked for. false: nothing was, or it cannot be had. */
static bool chunk_make(struct pt_primary_session *session, uint64_t now_us)
{
    struct pt_wire_chunk head;
    struct pt_chunk chunk;
    enum peat_status status = pt_seed_giver_next(&session->giver, &chunk);

    if (status == PEAT_DONE)
        return false;
    if (status == PEAT_INVALID) {
        pt_peer_refuse(&session->base, "it asks for what there is not", now_us);
    } else if (status != PEAT_OK) {
        pt_peer_stop(&session->base, PT_PEER_FAILED, PT_BYE_ERROR, now_us, "%s", peat_last_error());
    } else if (pt_chunk_encode(&chunk, &head) == NULL) {
        struct peat_bytes pieces[] = {{&head, sizeof(head)}, chunk.bytes};

        pt_peer_send(&session->base, PT_MESSAGE_CHUNK, pieces, 2, now_us);
    }
    return session->base.end == PT_PEER_GOES_ON;
}

/* ---- Sums ---- */

/* Whoever asks without taking the answers would have them kept here, as many as it likes. */
static bool is_full(struct pt_primary_session *session, uint64_t now_us)
{
    if (pt_channel_output(session->base.channel).size < PT_PEER_OUTPUT_MAX)
        return false;
    pt_peer_refuse(&session->base, "it asks, and takes no answers", now_us);
    return true;
}

static void pin_take(struct pt_primary_session *session, const struct pt_frame *frame,
                     uint64_t now_us)
{
    struct pt_wire_commit body;
    struct peat_bytes piece = {&body, sizeof(body)};
    uint64_t commit;
    const char *wrong = pt_commit_body_decode(frame->body, &commit);
    enum peat_status status;

    if (wrong == NULL && session->name[0] != '\0')
        wrong = "it follows and compares in one connection";
    if (wrong != NULL) {
        pt_peer_refuse(&session->base, wrong, now_us);
        return;
    }
    if (is_full(session, now_us))
        return;
    /* Sums are made by the thread that hears the peer, and a large value may take both of them long. */
    session->base.silence_us = PT_PEER_WELCOME_US;
    status = pt_sum_giver_pin(&session->sums, session->base.db, commit, now_us, &commit);
    if (status != PEAT_OK)
        pt_peer_stop(&session->base, PT_PEER_FAILED, PT_BYE_ERROR, now_us, "%s", peat_last_error());
    else if (pt_commit_body_encode(commit, &body) == NULL)
        pt_peer_send(&session->base, PT_MESSAGE_PINNED, &piece, 1, now_us);
}

static void sum_take(struct pt_primary_session *session, const struct pt_frame *frame,
                     uint64_t now_us)
{
    const char *wrong;

    if (is_full(session, now_us))
        return;
    wrong = pt_sum_giver_ask(&session->sums, frame->body, now_us);
    if (wrong != NULL)
        pt_peer_refuse(&session->base, wrong, now_us);
}

bool pt_primary_session_is_summing(const struct pt_primary_session *session)
{
    return session->sums.working && session->base.end == PT_PEER_GOES_ON;
}

void pt_primary_session_sum(struct pt_primary_session *session)
{
    pt_sum_giver_work(&session->sums);
}

void pt_primary_session_sums_send(struct pt_primary_session *session, uint64_t now_us)
{
    uint8_t body[PT_SUMS_SIZE_MAX];
    struct peat_bytes piece = {body, 0};
    struct pt_sums sums;
    enum peat_status status = pt_sum_giver_answer(&session->sums, now_us, &sums);

    if (status == PEAT_OK)
        return;
    if (status != PEAT_DONE || pt_sums_encode(&sums, body, sizeof(body), &piece.size) != NULL) {
        pt_peer_stop(&session->base, PT_PEER_FAILED, PT_BYE_ERROR, now_us,
                     "a part of the store cannot be summed up: %s", peat_status_name(status));
        return;
    }
    pt_peer_send(&session->base, PT_MESSAGE_SUMS, &piece, 1, now_us);
}

/* ---- Sending ---- */

uint64_t pt_primary_session_step(struct pt_primary_session *session, uint64_t now_us)
{
    uint64_t due_us = pt_peer_tick(&session->base, now_us);

    if (pt_sum_giver_is_over(&session->sums, now_us))
        pt_peer_refuse(&session->base, "it has asked for nothing for too long", now_us);
    while (session->base.end == PT_PEER_GOES_ON &&
           pt_channel_output(session->base.channel).size < PT_PEER_OUTPUT_MAX &&
           (session->log.feed != NULL ? pt_log_giver_send(&session->log, &session->base, now_us)
                                      : chunk_make(session, now_us)))
        ;
    return due_us;
}

/* ---- Receiving ---- */

static void handle(struct pt_peer *base, const struct pt_frame *frame, uint64_t now_us)
{
    struct pt_primary_session *session = (struct pt_primary_session *)base; /* its first field */

    if (frame->type == PT_MESSAGE_HELLO)
        hello_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_ACK)
        ack_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_ASK)
        ask_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_PIN)
        pin_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_SUM)
        sum_take(session, frame, now_us);
    else
        pt_peer_refuse_type(base, frame->type, now_us);
}

void pt_primary_session_receive(struct pt_primary_session *session, const void *bytes, size_t size,
                                uint64_t now_us)
{
    pt_peer_receive(&session->base, bytes, size, handle, now_us);
}

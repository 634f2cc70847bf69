#include "repl/primary_session.h"

#include "repl/primary_session_parts.h"

#include <stdlib.h>

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
        pt_primary_session_greet(session, frame, now_us);
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

#include "repl/follower_session_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LASTED_US = 5000000 }; /* following for so long is of use by itself */

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

void pt_follower_session_seed(struct pt_follower_session *session, uint64_t now_us)
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

/* ---- Receiving ---- */

static void handle(struct pt_peer *base, const struct pt_frame *frame, uint64_t now_us)
{
    struct pt_follower_session *session = (struct pt_follower_session *)base; /* its first field */

    if (frame->type == PT_MESSAGE_WELCOME && session->greeted)
        pt_follower_session_welcome(session, frame, now_us);
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
        pt_follower_session_greet(session, now_us);
    if (pt_follower_session_is_following(session))
        pt_log_taker_sync(&session->log, &session->base, now_us);
    tell_us = pt_log_taker_tell(&session->log, &session->base, now_us);
    due_us = pt_peer_tick(&session->base, now_us);
    return tell_us < due_us ? tell_us : due_us;
}

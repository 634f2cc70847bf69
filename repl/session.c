#include "repl/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum peat_status pt_session_init(struct pt_session *session, struct peat_db *db,
                                 enum pt_channel_role role, const struct pt_channel_key *keys,
                                 size_t key_count, uint64_t now_us)
{
    memset(session, 0, sizeof(*session));
    session->db = db;
    session->begun_us = session->heard_us = now_us;
    session->ping_due_us = now_us + PT_SESSION_PING_US;
    return pt_channel_open(role, keys, key_count, now_us, &session->channel);
}

void pt_session_fini(struct pt_session *session)
{
    pt_channel_close(session->channel);
    session->channel = NULL;
}

/* ---- Ends ---- */

static void end_set(struct pt_session *session, enum pt_session_end end, const char *format,
                    va_list arguments)
{
    session->end = end;
    (void)vsnprintf(session->words, sizeof(session->words), format, arguments);
}

void pt_session_lose(struct pt_session *session, enum pt_session_end end, const char *format, ...)
{
    va_list arguments;

    if (session->end != PT_SESSION_GOES_ON)
        return;
    va_start(arguments, format);
    end_set(session, end, format, arguments);
    va_end(arguments);
}

void pt_session_stop(struct pt_session *session, enum pt_session_end end, enum pt_bye_code code,
                     uint64_t now_us, const char *format, ...)
{
    struct pt_bye bye = {.code = code};
    uint8_t body[PT_BYE_SIZE_MAX];
    struct peat_bytes piece = {body, 0};
    char words[PT_WORDS_SIZE_MAX];
    va_list arguments;

    if (session->end != PT_SESSION_GOES_ON)
        return;
    va_start(arguments, format);
    end_set(session, end, format, arguments);
    va_end(arguments);
    if (!pt_channel_is_ready(session->channel))
        return;
    bye.words = pt_session_words(session->words, words);
    if (pt_bye_encode(&bye, body, sizeof(body), &piece.size) == NULL &&
        pt_channel_send(session->channel, PT_MESSAGE_BYE, &piece, 1, now_us) == PEAT_OK)
        (void)pt_channel_finish(session->channel, now_us);
}

struct peat_bytes pt_session_words(const char *text, char room[PT_WORDS_SIZE_MAX])
{
    size_t size = strnlen(text, PT_WORDS_SIZE_MAX);

    for (size_t i = 0; i < size; i++)
        room[i] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
    return (struct peat_bytes){room, size};
}

void pt_session_cut(struct pt_session *session, const char *why)
{
    pt_session_lose(session, PT_SESSION_LOST, "the connection was lost: %s", why);
}

/* ---- Sending ---- */

void pt_session_send(struct pt_session *session, enum pt_message_type type,
                     const struct peat_bytes *pieces, size_t count, uint64_t now_us)
{
    enum peat_status status;

    if (session->end != PT_SESSION_GOES_ON)
        return;
    status = pt_channel_send(session->channel, type, pieces, count, now_us);
    if (status != PEAT_OK)
        pt_session_lose(session, PT_SESSION_LOST, "a message could not be sent: %s",
                        peat_status_name(status));
}

/* ---- Pings ---- */

static uint64_t wall_clock_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void ping_send(struct pt_session *session, uint64_t now_us)
{
    struct pt_ping ping = {.time_us = wall_clock_us()};
    struct pt_wire_ping body;
    struct peat_bytes piece = {&body, sizeof(body)};

    if (peat_position_get(session->db, &ping.newest) != PEAT_OK ||
        pt_ping_encode(&ping, &body) != NULL) {
        pt_session_stop(session, PT_SESSION_FAILED, PT_BYE_ERROR, now_us, "%s", peat_last_error());
        return;
    }
    pt_session_send(session, PT_MESSAGE_PING, &piece, 1, now_us);
    session->ping_due_us = now_us + PT_SESSION_PING_US;
}

static void ping_take(struct pt_session *session, const struct pt_frame *frame, uint64_t now_us)
{
    struct pt_ping ping;
    const char *wrong = pt_ping_decode(frame->body, &ping);

    if (wrong != NULL) {
        pt_session_stop(session, PT_SESSION_LOST, PT_BYE_ERROR, now_us, "%s", wrong);
        return;
    }
    session->peer = ping.newest;
}

uint64_t pt_session_tick(struct pt_session *session, uint64_t now_us)
{
    uint64_t deadline_us;

    if (session->end != PT_SESSION_GOES_ON)
        return UINT64_MAX;
    if (!pt_channel_is_proven(session->channel)) {
        deadline_us = session->begun_us + PT_SESSION_HANDSHAKE_US;
        if (now_us >= deadline_us)
            pt_session_lose(session, PT_SESSION_LOST, "no handshake within %d s",
                            PT_SESSION_HANDSHAKE_US / 1000000);
        return deadline_us;
    }
    deadline_us = session->heard_us + PT_SESSION_SILENCE_US;
    if (now_us >= deadline_us) {
        pt_session_lose(session, PT_SESSION_LOST, "the peer has been silent for %d ms",
                        PT_SESSION_SILENCE_US / 1000);
        return UINT64_MAX;
    }
    if (now_us >= session->ping_due_us)
        ping_send(session, now_us);
    return session->ping_due_us < deadline_us ? session->ping_due_us : deadline_us;
}

/* ---- Receiving ---- */

static enum pt_session_end end_of(enum pt_bye_code code)
{
    switch (code) {
    case PT_BYE_CLOSING:
        return PT_SESSION_CLOSED;
    case PT_BYE_DIVERGED:
        return PT_SESSION_DIVERGED;
    case PT_BYE_NO_SPACE:
        return PT_SESSION_NO_SPACE;
    case PT_BYE_PROMOTED:
        return PT_SESSION_REFUSED;
    case PT_BYE_ERROR:
        break;
    }
    return PT_SESSION_LOST;
}

static void bye_take(struct pt_session *session, const struct pt_frame *frame)
{
    struct pt_bye bye;
    const char *wrong = pt_bye_decode(frame->body, &bye);

    if (wrong != NULL)
        pt_session_lose(session, PT_SESSION_LOST, "%s", wrong);
    else
        pt_session_lose(session, end_of(bye.code), "the peer says: %.*s", (int)bye.words.size,
                        (const char *)bye.words.data);
}

static void frame_take(struct pt_session *session, const struct pt_frame *frame,
                       pt_session_handler handler, uint64_t now_us)
{
    session->heard_us = now_us;
    if (frame->type == PT_MESSAGE_PING)
        ping_take(session, frame, now_us);
    else if (frame->type == PT_MESSAGE_BYE)
        bye_take(session, frame);
    else
        handler(session, frame, now_us);
}

void pt_session_receive(struct pt_session *session, const void *bytes, size_t size,
                        pt_session_handler handler, uint64_t now_us)
{
    const uint8_t *place = bytes;
    enum peat_status status = PEAT_OK;

    while (session->end == PT_SESSION_GOES_ON && status == PEAT_OK) {
        struct pt_frame frame;
        const char *why = "";
        bool was_proven = pt_channel_is_proven(session->channel);
        size_t taken = 0;

        status = pt_channel_receive(session->channel, place, size, &taken, &frame, &why);
        place += taken;
        size -= taken;
        if (!was_proven && pt_channel_is_proven(session->channel))
            session->heard_us = now_us;
        if (status == PEAT_OK)
            frame_take(session, &frame, handler, now_us);
        else if (status < 0)
            pt_session_lose(session, PT_SESSION_LOST, "what came is refused: %s", why);
    }
}

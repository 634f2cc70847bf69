#include "repl/peer.h"

#include "repl/settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum peat_status pt_peer_init(struct pt_peer *peer, struct peat_db *db, enum pt_channel_role role,
                              const struct pt_channel_key *keys, size_t key_count, uint64_t now_us)
{
    memset(peer, 0, sizeof(*peer));
    peer->db = db;
    peer->begun_us = peer->heard_us = now_us;
    peer->ping_due_us = now_us + PT_PEER_PING_US;
    peer->silence_us = PT_PEER_SILENCE_US;
    return pt_channel_open(role, keys, key_count, now_us, &peer->channel);
}

void pt_peer_fini(struct pt_peer *peer)
{
    pt_channel_close(peer->channel);
    peer->channel = NULL;
}

/* ---- Ends ---- */

static void end_set(struct pt_peer *peer, enum pt_peer_end end, const char *format,
                    va_list arguments) __attribute__((format(printf, 3, 0)));

static void end_set(struct pt_peer *peer, enum pt_peer_end end, const char *format,
                    va_list arguments)
{
    peer->end = end;
    (void)vsnprintf(peer->words, sizeof(peer->words), format, arguments);
}

void pt_peer_lose(struct pt_peer *peer, enum pt_peer_end end, const char *format, ...)
{
    va_list arguments;

    if (peer->end != PT_PEER_GOES_ON)
        return;
    va_start(arguments, format);
    end_set(peer, end, format, arguments);
    va_end(arguments);
}

void pt_peer_stop(struct pt_peer *peer, enum pt_peer_end end, enum pt_bye_code code,
                  uint64_t now_us, const char *format, ...)
{
    struct pt_bye bye = {.code = code};
    uint8_t body[PT_BYE_SIZE_MAX];
    struct peat_bytes piece = {body, 0};
    char words[PT_WORDS_SIZE_MAX];
    va_list arguments;

    if (peer->end != PT_PEER_GOES_ON)
        return;
    va_start(arguments, format);
    end_set(peer, end, format, arguments);
    va_end(arguments);
    if (!pt_channel_is_ready(peer->channel))
        return;
    peer->has_last_words = true;
    bye.words = pt_peer_words(peer->words, words);
    if (pt_bye_encode(&bye, body, sizeof(body), &piece.size) == NULL &&
        pt_channel_send(peer->channel, PT_MESSAGE_BYE, &piece, 1, now_us) == PEAT_OK)
        (void)pt_channel_finish(peer->channel);
}

struct peat_bytes pt_peer_words(const char *text, char room[PT_WORDS_SIZE_MAX])
{
    size_t size = strnlen(text, PT_WORDS_SIZE_MAX);

    for (size_t i = 0; i < size; i++)
        room[i] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
    return (struct peat_bytes){room, size};
}

void pt_peer_store_failed(struct pt_peer *peer, enum peat_status status, uint64_t now_us)
{
    enum pt_peer_end end = PT_PEER_FAILED;

    if (status == PEAT_NO_SPACE)
        end = PT_PEER_NO_SPACE;
    else if (status == PEAT_NO_MEMORY)
        end = PT_PEER_LOST;
    pt_peer_stop(peer, end, status == PEAT_NO_SPACE ? PT_BYE_NO_SPACE : PT_BYE_ERROR, now_us, "%s",
                 peat_last_error());
}

void pt_peer_refuse(struct pt_peer *peer, const char *wrong, uint64_t now_us)
{
    peer->is_damaged = peer->is_damaged || peer->end == PT_PEER_GOES_ON;
    pt_peer_stop(peer, PT_PEER_LOST, PT_BYE_ERROR, now_us, "%s", wrong);
}

void pt_peer_refuse_type(struct pt_peer *peer, uint8_t type, uint64_t now_us)
{
    peer->is_damaged = peer->is_damaged || peer->end == PT_PEER_GOES_ON;
    pt_peer_stop(peer, PT_PEER_LOST, PT_BYE_ERROR, now_us, "a message of type %u out of turn",
                 type);
}

void pt_peer_cut(struct pt_peer *peer, const char *why)
{
    pt_peer_lose(peer, PT_PEER_LOST, "the connection was lost: %s", why);
}

/* ---- Sending ---- */

void pt_peer_send(struct pt_peer *peer, enum pt_message_type type, const struct peat_bytes *pieces,
                  size_t count, uint64_t now_us)
{
    enum peat_status status;

    if (peer->end != PT_PEER_GOES_ON)
        return;
    status = pt_channel_send(peer->channel, (uint8_t)type, pieces, count, now_us);
    if (status != PEAT_OK)
        pt_peer_lose(peer, PT_PEER_LOST, "a message could not be sent: %s",
                     peat_status_name(status));
}

/* ---- Pings ---- */

static void ping_send(struct pt_peer *peer, uint64_t now_us)
{
    struct pt_ping ping = {.time_us = pt_wall_us()};
    struct pt_wire_ping body;
    struct peat_bytes piece = {&body, sizeof(body)};
    enum peat_status status = peat_position_get(peer->db, &ping.newest);
    const char *wrong = status == PEAT_OK ? pt_ping_encode(&ping, &body) : peat_last_error();

    if (wrong != NULL) {
        pt_peer_stop(peer, status == PEAT_NO_MEMORY ? PT_PEER_LOST : PT_PEER_FAILED, PT_BYE_ERROR,
                     now_us, "%s", wrong);
        return;
    }
    pt_peer_send(peer, PT_MESSAGE_PING, &piece, 1, now_us);
    peer->ping_due_us = now_us + PT_PEER_PING_US;
}

static void ping_take(struct pt_peer *peer, const struct pt_frame *frame, uint64_t now_us)
{
    struct pt_ping ping;
    const char *wrong = pt_ping_decode(frame->body, &ping);

    if (wrong != NULL) {
        pt_peer_refuse(peer, wrong, now_us);
        return;
    }
    peer->theirs = ping.newest;
}

uint64_t pt_peer_tick(struct pt_peer *peer, uint64_t now_us)
{
    uint64_t deadline_us;

    if (peer->end != PT_PEER_GOES_ON)
        return UINT64_MAX;
    if (!pt_channel_is_proven(peer->channel)) {
        deadline_us = peer->begun_us + PT_PEER_HANDSHAKE_US;
        if (now_us >= deadline_us)
            pt_peer_lose(peer, PT_PEER_LOST, "no handshake within %d s",
                         PT_PEER_HANDSHAKE_US / 1000000);
        return deadline_us;
    }
    deadline_us = peer->heard_us + peer->silence_us;
    if (now_us >= deadline_us) {
        pt_peer_lose(peer, PT_PEER_LOST, "the peer has been silent for %d ms",
                     (int)(peer->silence_us / 1000));
        return UINT64_MAX;
    }
    if (now_us >= peer->ping_due_us)
        ping_send(peer, now_us);
    return peer->ping_due_us < deadline_us ? peer->ping_due_us : deadline_us;
}

/* ---- Receiving ---- */

static enum pt_peer_end end_of(enum pt_bye_code code)
{
    switch (code) {
    case PT_BYE_CLOSING:
    case PT_BYE_SEEDED:
        return PT_PEER_CLOSED;
    case PT_BYE_DIVERGED:
        return PT_PEER_DIVERGED;
    case PT_BYE_NO_SPACE:
        return PT_PEER_NO_SPACE;
    case PT_BYE_PROMOTED:
        return PT_PEER_REFUSED;
    case PT_BYE_ERROR:
        break;
    }
    return PT_PEER_LOST;
}

static void bye_take(struct pt_peer *peer, const struct pt_frame *frame)
{
    struct pt_bye bye;
    const char *wrong = pt_bye_decode(frame->body, &bye);

    if (wrong != NULL) {
        peer->is_damaged = true;
        pt_peer_lose(peer, PT_PEER_LOST, "%s", wrong);
        return;
    }
    peer->bye = bye.code;
    pt_peer_lose(peer, end_of(bye.code), "the peer says: %.*s", (int)bye.words.size,
                 (const char *)bye.words.data);
}

static void frame_take(struct pt_peer *peer, const struct pt_frame *frame, pt_peer_handler handler,
                       uint64_t now_us)
{
    peer->heard_us = now_us;
    peer->unheard_size = 0;
    if (frame->type == PT_MESSAGE_PING)
        ping_take(peer, frame, now_us);
    else if (frame->type == PT_MESSAGE_BYE)
        bye_take(peer, frame);
    else
        handler(peer, frame, now_us);
}

/* A slow line needs longer for a large frame than a peer may be silent: so much of it is heard, too. Less is not, so
 * nobody in between holds a session for long by letting one byte through at a time. */
static void bytes_hear(struct pt_peer *peer, size_t size, uint64_t now_us)
{
    if (!pt_channel_is_proven(peer->channel))
        return;
    peer->unheard_size += size;
    if (peer->unheard_size < PT_PEER_HEARD_SIZE)
        return;
    peer->unheard_size = 0;
    peer->heard_us = now_us;
}

void pt_peer_receive(struct pt_peer *peer, const void *bytes, size_t size, pt_peer_handler handler,
                     uint64_t now_us)
{
    const uint8_t *place = bytes;
    enum peat_status status = PEAT_OK;

    bytes_hear(peer, size, now_us);
    while (peer->end == PT_PEER_GOES_ON && status == PEAT_OK) {
        struct pt_frame frame;
        const char *why = "";
        bool was_proven = pt_channel_is_proven(peer->channel);
        size_t taken = 0;

        status = pt_channel_receive(peer->channel, place, size, &taken, &frame, &why);
        place += taken;
        size -= taken;
        if (!was_proven && pt_channel_is_proven(peer->channel))
            peer->heard_us = now_us;
        if (status == PEAT_OK)
            frame_take(peer, &frame, handler, now_us);
        if (status < 0) {
            peer->is_damaged = status != PEAT_NO_MEMORY;
            pt_peer_lose(peer, PT_PEER_LOST, "what came is refused: %s", why);
        }
    }
}

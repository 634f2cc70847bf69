#include "repl/channel.h"

#include "repl/le.h"
#include "repl/noise.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_MIN = 4096 };

#define REKEY_FRAMES (UINT64_C(1) << 32)
#define REKEY_US     UINT64_C(3600000000)

struct buffer {
    uint8_t *data; /* owned */
    size_t begin;  /* what is before it was used */
    size_t end;
    size_t room;
};

/* One direction. */
struct direction {
    struct pt_noise_cipher cipher;
    uint64_t frames;   /* so far: the next one's counter */
    uint64_t key_left; /* frames that this key may have */
    uint64_t key_us;   /* since when there is this key */
    bool ended;        /* its last frame is through */
};

enum stage { HANDSHAKE, READY, FAILED };

struct pt_channel {
    enum pt_channel_role role;
    enum stage stage;
    struct pt_noise noise;          /* of the handshake */
    struct pt_wire_opening opening; /* the dialer's own; as it comes, the listener's peer's */
    struct direction out;
    struct direction in;
    struct buffer output;
    struct buffer input;
    uint64_t begun_us;
    uint64_t rekey_frames;
    size_t key_count;
    struct pt_channel_key keys[]; /* wiped once one is chosen */
};

/* ---- Buffers ---- */

/* Room for @p size bytes more behind the end. false: there is no memory. */
static bool buffer_grow(struct buffer *buffer, size_t size)
{
    size_t room = buffer->room < ROOM_MIN ? ROOM_MIN : buffer->room;
    uint8_t *data;

    if (size <= buffer->room - buffer->end)
        return true;
    if (buffer->begin > 0) {
        memmove(buffer->data, buffer->data + buffer->begin, buffer->end - buffer->begin);
        buffer->end -= buffer->begin;
        buffer->begin = 0;
    }
    if (size <= buffer->room - buffer->end)
        return true;
    while (room - buffer->end < size)
        room *= 2;
    data = realloc(buffer->data, room);
    if (data == NULL)
        return false;
    buffer->data = data;
    buffer->room = room;
    return true;
}

static void buffer_use(struct buffer *buffer, size_t size)
{
    buffer->begin += size;
    if (buffer->begin == buffer->end)
        buffer->begin = buffer->end = 0;
}

/* ---- Opening ---- */

static struct peat_bytes prologue_of(const struct pt_wire_opening *opening)
{
    return (struct peat_bytes){opening, PT_WIRE_PROLOGUE_SIZE};
}

/* The dialer's first bytes. */
static enum peat_status opening_send(struct pt_channel *channel)
{
    struct pt_wire_opening *opening = &channel->opening;

    memcpy(opening->magic, PT_WIRE_MAGIC, sizeof(opening->magic));
    pt_wire_put_u32(opening->version, PT_WIRE_VERSION);
    memcpy(opening->key_id, channel->keys[0].id, sizeof(opening->key_id));
    pt_noise_begin(&channel->noise, true, channel->keys[0].secret, prologue_of(opening), NULL);
    sodium_memzero(channel->keys, sizeof(channel->keys[0]));
    if (!buffer_grow(&channel->output, sizeof(*opening)))
        return PEAT_NO_MEMORY;
    (void)pt_noise_write(&channel->noise, (struct peat_bytes){NULL, 0}, opening->noise);
    memcpy(channel->output.data, opening, sizeof(*opening));
    channel->output.end = sizeof(*opening);
    return PEAT_OK;
}

enum peat_status pt_channel_open(enum pt_channel_role role, const struct pt_channel_key *keys,
                                 size_t key_count, uint64_t now_us, struct pt_channel **channel_out)
{
    size_t count = key_count > 0 ? key_count : 1; /* one of zeros */
    struct pt_channel *channel = calloc(1, sizeof(*channel) + count * sizeof(*keys));

    *channel_out = NULL;
    if (channel == NULL)
        return PEAT_NO_MEMORY;
    channel->role = role;
    channel->begun_us = now_us;
    channel->rekey_frames = REKEY_FRAMES;
    channel->key_count = count;
    if (key_count > 0)
        memcpy(channel->keys, keys, key_count * sizeof(*keys));
    if (role == PT_CHANNEL_DIALER && opening_send(channel) != PEAT_OK) {
        pt_channel_close(channel);
        return PEAT_NO_MEMORY;
    }
    *channel_out = channel;
    return PEAT_OK;
}

static void keys_forget(struct pt_channel *channel)
{
    sodium_memzero(channel->keys, channel->key_count * sizeof(channel->keys[0]));
}

void pt_channel_close(struct pt_channel *channel)
{
    if (channel == NULL)
        return;
    free(channel->output.data);
    free(channel->input.data);
    keys_forget(channel);
    sodium_memzero(channel, sizeof(*channel));
    free(channel);
}

void pt_channel_set_rekey(struct pt_channel *channel, uint64_t frames)
{
    channel->rekey_frames = frames;
}

/* ---- The handshake ---- */

static void become_ready(struct pt_channel *channel)
{
    bool is_dialer = channel->role == PT_CHANNEL_DIALER;

    pt_noise_split(&channel->noise, is_dialer ? &channel->out.cipher : &channel->in.cipher,
                   is_dialer ? &channel->in.cipher : &channel->out.cipher);
    pt_noise_forget(&channel->noise);
    keys_forget(channel);
    channel->out.key_left = channel->rekey_frames;
    channel->out.key_us = channel->begun_us;
    channel->stage = READY;
}

/* The key that the opening names, found in a time that does not tell where it is; NULL: none. */
static const struct pt_channel_key *key_find(const struct pt_channel *channel)
{
    const struct pt_channel_key *found = NULL;

    for (size_t i = 0; i < channel->key_count; i++)
        if (sodium_memcmp(channel->keys[i].id, channel->opening.key_id, PT_KEY_ID_SIZE) == 0)
            found = &channel->keys[i];
    return found;
}

static enum peat_status opening_take(struct pt_channel *channel, const char **why_out)
{
    static const uint8_t zeros[4];
    struct pt_wire_opening *opening = &channel->opening;
    uint8_t nothing[PT_NOISE_TAG_SIZE];
    const struct pt_channel_key *key;
    uint8_t nobodys[PT_KEY_SECRET_SIZE];

    if (memcmp(opening->magic, PT_WIRE_MAGIC, sizeof(opening->magic)) != 0) {
        *why_out = "it is no follower of peat";
        return PEAT_CORRUPT;
    }
    if (pt_wire_u32(opening->version) != PT_WIRE_VERSION ||
        memcmp(opening->zeros, zeros, sizeof(zeros)) != 0) {
        *why_out = "it speaks another version of the protocol";
        return PEAT_VERSION;
    }
    key = key_find(channel);
    *why_out = "it has no key of ours";
    /* An id that is not ours is tried with a secret of nobody's: it takes as long as a wrong secret, so nobody learns
     * by trying which ids there are. */
    randombytes_buf(nobodys, sizeof(nobodys));
    pt_noise_begin(&channel->noise, false, key == NULL ? nobodys : key->secret,
                   prologue_of(opening), NULL);
    if (pt_noise_read(&channel->noise, (struct peat_bytes){opening->noise, sizeof(opening->noise)},
                      nothing) != PEAT_OK ||
        key == NULL)
        return PEAT_DENIED;
    if (!buffer_grow(&channel->output, PT_WIRE_NOISE_SIZE))
        return PEAT_NO_MEMORY;
    if (pt_noise_write(&channel->noise, (struct peat_bytes){NULL, 0}, channel->output.data) !=
        PEAT_OK)
        return PEAT_DENIED;
    channel->output.end = PT_WIRE_NOISE_SIZE;
    become_ready(channel);
    return PEAT_OK;
}

static enum peat_status answer_take(struct pt_channel *channel, const char **why_out)
{
    uint8_t nothing[PT_NOISE_TAG_SIZE];
    struct buffer *input = &channel->input;

    if (pt_noise_read(&channel->noise, (struct peat_bytes){input->data, PT_WIRE_NOISE_SIZE},
                      nothing) != PEAT_OK) {
        *why_out = "the primary has not our key";
        return PEAT_DENIED;
    }
    buffer_use(input, PT_WIRE_NOISE_SIZE);
    become_ready(channel);
    return PEAT_OK;
}

/* As many of the bytes as the handshake still wants. PEAT_DONE: it wants more. */
static enum peat_status handshake_take(struct pt_channel *channel, const uint8_t *bytes,
                                       size_t size, size_t *taken_out, const char **why_out)
{
    bool is_listener = channel->role == PT_CHANNEL_LISTENER;
    size_t wanted = is_listener ? sizeof(channel->opening) : (size_t)PT_WIRE_NOISE_SIZE;
    struct buffer *input = &channel->input;
    size_t missing;

    if (!buffer_grow(input, wanted - (input->end - input->begin)))
        return PEAT_NO_MEMORY;
    missing = wanted - input->end;
    *taken_out = size < missing ? size : missing;
    if (*taken_out > 0)
        memcpy(input->data + input->end, bytes, *taken_out);
    input->end += *taken_out;
    if (input->end < wanted)
        return PEAT_DONE;
    if (!is_listener)
        return answer_take(channel, why_out);
    memcpy(&channel->opening, input->data, sizeof(channel->opening));
    buffer_use(input, sizeof(channel->opening));
    return opening_take(channel, why_out);
}

bool pt_channel_is_ready(const struct pt_channel *channel)
{
    return channel->stage == READY;
}

bool pt_channel_is_proven(const struct pt_channel *channel)
{
    return channel->stage == READY &&
           (channel->role == PT_CHANNEL_DIALER || channel->in.frames > 0);
}

/* ---- Frames in ---- */

bool pt_channel_has_ended(const struct pt_channel *channel)
{
    return channel->in.ended;
}

/* What is wrong with the head of the next frame; NULL: nothing. */
static const char *head_wrong(const struct pt_channel *channel, const struct pt_wire_frame *head)
{
    if (pt_wire_u32(head->body_size) > PT_FRAME_BODY_MAX)
        return "a frame that is too large";
    if ((head->flags & ~(PT_FRAME_REKEY | PT_FRAME_LAST)) != 0 || head->zeros[0] != 0 ||
        head->zeros[1] != 0)
        return "a frame with unknown flags";
    if ((head->flags & PT_FRAME_LAST) != 0 && (head->type != 0 || pt_wire_u32(head->body_size) > 0))
        return "a last frame that says something";
    if (pt_wire_u64(head->counter) != channel->in.frames)
        return "a frame out of turn";
    return NULL;
}

/* Take bytes until the input holds @p wanted; its room grows with what has come. PEAT_DONE: they do not suffice. */
static enum peat_status input_fill(struct buffer *input, size_t wanted, const uint8_t **bytes,
                                   size_t *size)
{
    size_t held = input->end - input->begin;
    size_t missing = wanted > held ? wanted - held : 0;
    size_t taken = *size < missing ? *size : missing;

    if (!buffer_grow(input, taken))
        return PEAT_NO_MEMORY;
    if (taken > 0)
        memcpy(input->data + input->end, *bytes, taken);
    input->end += taken;
    *bytes += taken;
    *size -= taken;
    return taken == missing ? PEAT_OK : PEAT_DONE;
}

static enum peat_status frame_open(struct pt_channel *channel, const struct pt_wire_frame *head,
                                   struct pt_frame *frame_out, const char **why_out)
{
    uint8_t *body = channel->input.data + channel->input.begin + sizeof(*head);
    size_t size = pt_wire_u32(head->body_size);

    if (!pt_noise_decrypt(&channel->in.cipher, (struct peat_bytes){head, sizeof(*head)}, body,
                          size)) {
        *why_out = "a frame that is not as it was sent";
        return PEAT_CORRUPT;
    }
    buffer_use(&channel->input, sizeof(*head) + size + PT_FRAME_TAG_SIZE);
    channel->in.frames++;
    if ((head->flags & PT_FRAME_REKEY) != 0)
        pt_noise_rekey(&channel->in.cipher);
    channel->in.ended = (head->flags & PT_FRAME_LAST) != 0;
    *frame_out = (struct pt_frame){.type = head->type, .body = {body, size}};
    return channel->in.ended ? PEAT_DONE : PEAT_OK;
}

static enum peat_status frame_take(struct pt_channel *channel, const uint8_t **bytes, size_t *size,
                                   struct pt_frame *frame_out, const char **why_out)
{
    struct buffer *input = &channel->input;
    struct pt_wire_frame head;
    enum peat_status status = input_fill(input, sizeof(head), bytes, size);

    if (status != PEAT_OK)
        return status;
    memcpy(&head, input->data + input->begin, sizeof(head));
    *why_out = head_wrong(channel, &head);
    if (*why_out != NULL)
        return PEAT_CORRUPT;
    *why_out = "out of memory";
    status = input_fill(input, sizeof(head) + pt_wire_u32(head.body_size) + PT_FRAME_TAG_SIZE,
                        bytes, size);
    return status == PEAT_OK ? frame_open(channel, &head, frame_out, why_out) : status;
}

enum peat_status pt_channel_receive(struct pt_channel *channel, const void *bytes, size_t size,
                                    size_t *taken_out, struct pt_frame *frame_out,
                                    const char **why_out)
{
    const uint8_t *place = bytes;
    size_t left = size;
    size_t taken = 0;
    enum peat_status status = PEAT_OK;

    *taken_out = 0;
    *why_out = "out of memory";
    if (channel->stage == FAILED || channel->in.ended) {
        *taken_out = size;
        *why_out = "it comes after what was refused";
        return channel->in.ended ? PEAT_DONE : PEAT_CORRUPT;
    }
    if (channel->stage == HANDSHAKE)
        status = handshake_take(channel, place, left, &taken, why_out);
    place += taken;
    left -= taken;
    if (status == PEAT_OK)
        status = frame_take(channel, &place, &left, frame_out, why_out);
    *taken_out = size - left;
    if (status < 0)
        channel->stage = FAILED;
    return status;
}

/* ---- Frames out ---- */

static enum peat_status frame_add(struct pt_channel *channel, uint8_t type, uint8_t flags,
                                  const struct peat_bytes *pieces, size_t count, size_t size)
{
    struct buffer *output = &channel->output;
    struct pt_wire_frame head = {.type = type, .flags = flags};
    uint8_t *body;

    if (!buffer_grow(output, sizeof(head) + size + PT_FRAME_TAG_SIZE))
        return PEAT_NO_MEMORY;
    pt_wire_put_u32(head.body_size, (uint32_t)size);
    pt_wire_put_u64(head.counter, channel->out.frames++);
    memcpy(output->data + output->end, &head, sizeof(head));
    body = output->data + output->end + sizeof(head);
    for (size_t i = 0, offset = 0; i < count; offset += pieces[i++].size)
        if (pieces[i].size > 0)
            memcpy(body + offset, pieces[i].data, pieces[i].size);
    pt_noise_encrypt(&channel->out.cipher, (struct peat_bytes){&head, sizeof(head)}, body, size);
    output->end += sizeof(head) + size + PT_FRAME_TAG_SIZE;
    return PEAT_OK;
}

static bool is_rekey_due(const struct pt_channel *channel, uint64_t now_us)
{
    return channel->out.key_left <= 1 || now_us - channel->out.key_us >= REKEY_US;
}

enum peat_status pt_channel_send(struct pt_channel *channel, uint8_t type,
                                 const struct peat_bytes *pieces, size_t count, uint64_t now_us)
{
    bool rekey = is_rekey_due(channel, now_us);
    size_t size = 0;
    enum peat_status status;

    if (channel->stage != READY || channel->out.ended)
        return PEAT_INVALID;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].size > PT_FRAME_BODY_MAX - size)
            return PEAT_INVALID;
        size += pieces[i].size;
    }
    status = frame_add(channel, type, rekey ? PT_FRAME_REKEY : 0, pieces, count, size);
    if (status != PEAT_OK)
        return status;
    channel->out.key_left--;
    if (rekey) {
        pt_noise_rekey(&channel->out.cipher);
        channel->out.key_left = channel->rekey_frames;
        channel->out.key_us = now_us;
    }
    return PEAT_OK;
}

enum peat_status pt_channel_finish(struct pt_channel *channel)
{
    enum peat_status status;

    if (channel->stage != READY || channel->out.ended)
        return PEAT_INVALID;
    status = frame_add(channel, 0, PT_FRAME_LAST, NULL, 0, 0);
    channel->out.ended = status == PEAT_OK;
    return status;
}

struct peat_bytes pt_channel_output(const struct pt_channel *channel)
{
    const struct buffer *output = &channel->output;

    return (struct peat_bytes){output->data == NULL ? NULL : output->data + output->begin,
                               output->end - output->begin};
}

void pt_channel_output_taken(struct pt_channel *channel, size_t size)
{
    buffer_use(&channel->output, size);
}

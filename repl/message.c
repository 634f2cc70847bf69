/*
 * Each message has one function that says what is wrong with its values: the decoder asks it of
 * what came, the encoder of what is to go. So no encoder makes what a decoder refuses.
 */
#include "repl/message.h"

#include "repl/le.h"

static const char cut_short[] = "it is cut short";
static const char too_long[] = "bytes follow its end";
static const char no_room[] = "the buffer is too small";

const char *pt_message_name(uint8_t type)
{
    static const char *const names[] = {
        [PT_MESSAGE_HELLO] = "HELLO",     [PT_MESSAGE_WELCOME] = "WELCOME",
        [PT_MESSAGE_RECORDS] = "RECORDS", [PT_MESSAGE_PART] = "PART",
        [PT_MESSAGE_ACK] = "ACK",         [PT_MESSAGE_PING] = "PING",
        [PT_MESSAGE_BYE] = "BYE",         [PT_MESSAGE_IDENTITY] = "IDENTITY",
        [PT_MESSAGE_ASK] = "ASK",         [PT_MESSAGE_CHUNK] = "CHUNK",
        [PT_MESSAGE_PIN] = "PIN",         [PT_MESSAGE_PINNED] = "PINNED",
        [PT_MESSAGE_SUM] = "SUM",         [PT_MESSAGE_SUMS] = "SUMS",
    };

    return type < sizeof(names) / sizeof(names[0]) ? names[type] : NULL;
}

/* ---- Bytes ---- */

/* The next @p size bytes of what is left of a body; NULL: there are not so many. */
static const void *take(struct peat_bytes *left, size_t size)
{
    const uint8_t *data = left->data;

    if (size > left->size)
        return NULL;
    *left = (struct peat_bytes){data + size, left->size - size};
    return data;
}

static const char *bytes_take(struct peat_bytes *left, size_t size, struct peat_bytes *bytes_out)
{
    bytes_out->size = size;
    bytes_out->data = take(left, size);
    return bytes_out->data == NULL ? cut_short : NULL;
}

/* Write @p data to @p place; what comes behind it. */
static uint8_t *put(uint8_t *place, const void *data, size_t size)
{
    if (size > 0)
        memcpy(place, data, size);
    return place + size;
}

/* ---- Parts that several messages have ---- */

struct peat_position pt_position_get(const struct pt_wire_position *stored)
{
    struct peat_position position = {.epoch = pt_wire_u64(stored->epoch),
                                     .commit = pt_wire_u64(stored->commit),
                                     .time_us = pt_wire_u64(stored->time_us),
                                     .position = pt_wire_u64(stored->position)};

    memcpy(position.chain, stored->chain, sizeof(position.chain));
    return position;
}

void pt_position_put(struct pt_wire_position *stored, const struct peat_position *position)
{
    pt_wire_put_u64(stored->epoch, position->epoch);
    pt_wire_put_u64(stored->commit, position->commit);
    pt_wire_put_u64(stored->time_us, position->time_us);
    pt_wire_put_u64(stored->position, position->position);
    memcpy(stored->chain, position->chain, sizeof(stored->chain));
}

const char *pt_position_wrong(const struct peat_position *position)
{
    if (position->epoch > PT_WIRE_NUMBER_MAX)
        return "its epoch is too large";
    if (position->commit > PT_WIRE_NUMBER_MAX)
        return "its commit is too large";
    if (position->position > PT_WIRE_NUMBER_MAX)
        return "its position is too large";
    return NULL;
}

struct peat_epoch pt_epoch_get(const struct pt_wire_epoch *row)
{
    struct peat_epoch epoch = {.epoch = pt_wire_u64(row->epoch),
                               .first_commit = pt_wire_u64(row->first_commit),
                               .position = pt_wire_u64(row->position)};

    memcpy(epoch.chain, row->chain, sizeof(epoch.chain));
    return epoch;
}

void pt_epoch_put(struct pt_wire_epoch *row, struct peat_epoch epoch)
{
    pt_wire_put_u64(row->position, epoch.position);
    memcpy(row->chain, epoch.chain, sizeof(row->chain));
    pt_wire_put_u64(row->epoch, epoch.epoch);
    pt_wire_put_u64(row->first_commit, epoch.first_commit);
}

static const char *epochs_wrong(const struct pt_epochs *epochs)
{
    struct peat_epoch before = {.epoch = 0};

    if (epochs->count > PT_EPOCH_COUNT_MAX)
        return "it has too many epochs";
    for (uint32_t i = 0; i < epochs->count; i++) {
        struct peat_epoch epoch = pt_epoch_get(&epochs->rows[i]);

        if (epoch.epoch > PT_WIRE_NUMBER_MAX || epoch.first_commit > PT_WIRE_NUMBER_MAX ||
            epoch.position > PT_WIRE_NUMBER_MAX)
            return "a number of its epochs is too large";
        if (i > 0 && (epoch.epoch <= before.epoch || epoch.first_commit < before.first_commit ||
                      epoch.position <= before.position))
            return "its epochs do not ascend";
        before = epoch;
    }
    return NULL;
}

/* They are the last part of a body. */
static const char *epochs_take(struct peat_bytes *left, struct pt_epochs *epochs_out)
{
    const uint8_t *count = take(left, sizeof(uint32_t));

    if (count == NULL)
        return cut_short;
    epochs_out->count = pt_wire_u32(count);
    if (left->size / sizeof(*epochs_out->rows) < epochs_out->count)
        return cut_short;
    epochs_out->rows = take(left, epochs_out->count * sizeof(*epochs_out->rows));
    return left->size > 0 ? too_long : NULL;
}

static size_t epochs_size(const struct pt_epochs *epochs)
{
    return sizeof(uint32_t) + epochs->count * sizeof(*epochs->rows);
}

static uint8_t *epochs_put(uint8_t *place, const struct pt_epochs *epochs)
{
    pt_wire_put_u32(place, epochs->count);
    return put(place + sizeof(uint32_t), epochs->rows, epochs->count * sizeof(*epochs->rows));
}

static const char *words_wrong(struct peat_bytes words)
{
    const uint8_t *bytes = words.data;

    if (words.size > PT_WORDS_SIZE_MAX)
        return "its words are too long";
    for (size_t i = 0; i < words.size; i++)
        if (bytes[i] < ' ' || bytes[i] > '~')
            return "its words are not printable ASCII";
    return NULL;
}

/* ---- HELLO ---- */

static const char *hello_wrong(const struct pt_hello *hello)
{
    const char *wrong = pt_position_wrong(&hello->position);

    if (wrong != NULL)
        return wrong;
    if ((hello->flags & ~PT_HELLO_FLAGS) != 0)
        return "it has flags that are not known";
    if ((hello->flags & (PT_HELLO_STATE | PT_HELLO_REJOIN)) != 0 &&
        (hello->flags & PT_HELLO_SEEDS) == 0)
        return "it wants a state, and takes none";
    if (hello->name.size == 0 || hello->name.size > PEAT_NAME_SIZE_MAX)
        return "its name is empty or too long";
    if (memchr(hello->name.data, '\0', hello->name.size) != NULL)
        return "its name has a NUL in it";
    return epochs_wrong(&hello->epochs);
}

const char *pt_hello_decode(struct peat_bytes body, struct pt_hello *hello_out)
{
    const struct pt_wire_hello *head = take(&body, sizeof(*head));
    struct pt_hello hello = {.credit = 0};
    const char *wrong;

    if (head == NULL)
        return cut_short;
    hello.position = pt_position_get(&head->position);
    hello.credit = pt_wire_u64(head->credit);
    hello.flags = pt_wire_u32(head->flags);
    wrong = bytes_take(&body, pt_wire_u16(head->name_size), &hello.name);
    if (wrong == NULL)
        wrong = epochs_take(&body, &hello.epochs);
    if (wrong == NULL)
        wrong = hello_wrong(&hello);
    if (wrong == NULL)
        *hello_out = hello;
    return wrong;
}

const char *pt_hello_encode(const struct pt_hello *hello, void *buffer, size_t room,
                            size_t *size_out)
{
    const char *wrong = hello_wrong(hello);
    struct pt_wire_hello head;
    uint8_t *place = buffer;
    size_t size;

    if (wrong != NULL)
        return wrong;
    size = sizeof(head) + hello->name.size + epochs_size(&hello->epochs);
    if (size > room)
        return no_room;
    pt_position_put(&head.position, &hello->position);
    pt_wire_put_u64(head.credit, hello->credit);
    pt_wire_put_u32(head.flags, hello->flags);
    pt_wire_put_u16(head.name_size, (uint16_t)hello->name.size);
    place = put(place, &head, sizeof(head));
    place = put(place, hello->name.data, hello->name.size);
    (void)epochs_put(place, &hello->epochs);
    *size_out = size;
    return NULL;
}

/* ---- WELCOME ---- */

static const char *welcome_wrong(const struct pt_welcome *welcome)
{
    const char *wrong = pt_position_wrong(&welcome->newest);

    if (wrong == NULL &&
        (welcome->verdict < PT_VERDICT_TAIL || welcome->verdict > PT_VERDICT_REFUSED))
        wrong = "its verdict is not known";
    if (wrong == NULL)
        wrong = words_wrong(welcome->words);
    return wrong != NULL ? wrong : epochs_wrong(&welcome->epochs);
}

const char *pt_welcome_decode(struct peat_bytes body, struct pt_welcome *welcome_out)
{
    const struct pt_wire_welcome *head = take(&body, sizeof(*head));
    struct pt_welcome welcome;
    const char *wrong;

    if (head == NULL)
        return cut_short;
    welcome.verdict = (enum pt_verdict)head->verdict;
    welcome.newest = pt_position_get(&head->newest);
    wrong = bytes_take(&body, head->words_size, &welcome.words);
    if (wrong == NULL)
        wrong = epochs_take(&body, &welcome.epochs);
    if (wrong == NULL)
        wrong = welcome_wrong(&welcome);
    if (wrong == NULL)
        *welcome_out = welcome;
    return wrong;
}

const char *pt_welcome_encode(const struct pt_welcome *welcome, void *buffer, size_t room,
                              size_t *size_out)
{
    const char *wrong = welcome_wrong(welcome);
    struct pt_wire_welcome head;
    uint8_t *place = buffer;
    size_t size;

    if (wrong != NULL)
        return wrong;
    size = sizeof(head) + welcome->words.size + epochs_size(&welcome->epochs);
    if (size > room)
        return no_room;
    head.verdict = (uint8_t)welcome->verdict;
    pt_position_put(&head.newest, &welcome->newest);
    head.words_size = (uint8_t)welcome->words.size;
    place = put(place, &head, sizeof(head));
    place = put(place, welcome->words.data, welcome->words.size);
    (void)epochs_put(place, &welcome->epochs);
    *size_out = size;
    return NULL;
}

/* ---- ACK ---- */

static const char *ack_wrong(const struct pt_ack *ack)
{
    if (ack->received > PT_WIRE_NUMBER_MAX)
        return "its commit is too large";
    if (ack->applied > ack->received)
        return "it has applied more than it has received";
    if (ack->durable > ack->applied)
        return "more is durable than it has applied";
    return NULL;
}

const char *pt_ack_decode(struct peat_bytes body, struct pt_ack *ack_out)
{
    const struct pt_wire_ack *stored = take(&body, sizeof(*stored));
    struct pt_ack ack;
    const char *wrong;

    if (stored == NULL)
        return cut_short;
    if (body.size > 0)
        return too_long;
    ack.received = pt_wire_u64(stored->received);
    ack.durable = pt_wire_u64(stored->durable);
    ack.applied = pt_wire_u64(stored->applied);
    ack.credit = pt_wire_u64(stored->credit);
    wrong = ack_wrong(&ack);
    if (wrong == NULL)
        *ack_out = ack;
    return wrong;
}

const char *pt_ack_encode(const struct pt_ack *ack, struct pt_wire_ack *body_out)
{
    const char *wrong = ack_wrong(ack);

    if (wrong != NULL)
        return wrong;
    pt_wire_put_u64(body_out->received, ack->received);
    pt_wire_put_u64(body_out->durable, ack->durable);
    pt_wire_put_u64(body_out->applied, ack->applied);
    pt_wire_put_u64(body_out->credit, ack->credit);
    return NULL;
}

/* ---- IDENTITY, ASK, CHUNK ---- */

const char *pt_identity_body_decode(struct peat_bytes body, struct peat_identity *identity_out)
{
    const struct peat_identity *identity = take(&body, sizeof(*identity));

    if (identity == NULL)
        return cut_short;
    if (body.size > 0)
        return too_long;
    *identity_out = *identity;
    return NULL;
}

static const char *ask_wrong(const struct pt_ask *ask)
{
    return ask->size == 0 ? "it asks for nothing" : NULL;
}

const char *pt_ask_decode(struct peat_bytes body, struct pt_ask *ask_out)
{
    const struct pt_wire_ask *stored = take(&body, sizeof(*stored));
    struct pt_ask ask;
    const char *wrong;

    if (stored == NULL)
        return cut_short;
    if (body.size > 0)
        return too_long;
    ask.part = pt_wire_u64(stored->part);
    ask.offset = pt_wire_u64(stored->offset);
    ask.size = pt_wire_u64(stored->size);
    wrong = ask_wrong(&ask);
    if (wrong == NULL)
        *ask_out = ask;
    return wrong;
}

const char *pt_ask_encode(const struct pt_ask *ask, struct pt_wire_ask *body_out)
{
    const char *wrong = ask_wrong(ask);

    if (wrong != NULL)
        return wrong;
    pt_wire_put_u64(body_out->part, ask->part);
    pt_wire_put_u64(body_out->offset, ask->offset);
    pt_wire_put_u64(body_out->size, ask->size);
    return NULL;
}

static const char *chunk_wrong(const struct pt_chunk *chunk)
{
    if (chunk->bytes.size == 0)
        return "it has no bytes";
    if (chunk->offset > chunk->part_size || chunk->bytes.size > chunk->part_size - chunk->offset)
        return "it reaches beyond its part";
    return NULL;
}

const char *pt_chunk_decode(struct peat_bytes body, struct pt_chunk *chunk_out)
{
    const struct pt_wire_chunk *head = take(&body, sizeof(*head));
    struct pt_chunk chunk;
    const char *wrong;

    if (head == NULL)
        return cut_short;
    chunk.part = pt_wire_u64(head->part);
    chunk.offset = pt_wire_u64(head->offset);
    chunk.part_size = pt_wire_u64(head->part_size);
    chunk.bytes = body;
    wrong = chunk_wrong(&chunk);
    if (wrong == NULL)
        *chunk_out = chunk;
    return wrong;
}

const char *pt_chunk_encode(const struct pt_chunk *chunk, struct pt_wire_chunk *head_out)
{
    const char *wrong = chunk_wrong(chunk);

    if (wrong != NULL)
        return wrong;
    pt_wire_put_u64(head_out->part, chunk->part);
    pt_wire_put_u64(head_out->offset, chunk->offset);
    pt_wire_put_u64(head_out->part_size, chunk->part_size);
    return NULL;
}

/* ---- PING ---- */

const char *pt_ping_decode(struct peat_bytes body, struct pt_ping *ping_out)
{
    const struct pt_wire_ping *stored = take(&body, sizeof(*stored));
    struct pt_ping ping;
    const char *wrong;

    if (stored == NULL)
        return cut_short;
    if (body.size > 0)
        return too_long;
    ping.time_us = pt_wire_u64(stored->time_us);
    ping.newest = pt_position_get(&stored->newest);
    wrong = pt_position_wrong(&ping.newest);
    if (wrong == NULL)
        *ping_out = ping;
    return wrong;
}

const char *pt_ping_encode(const struct pt_ping *ping, struct pt_wire_ping *body_out)
{
    const char *wrong = pt_position_wrong(&ping->newest);

    if (wrong != NULL)
        return wrong;
    pt_wire_put_u64(body_out->time_us, ping->time_us);
    pt_position_put(&body_out->newest, &ping->newest);
    return NULL;
}

/* ---- BYE ---- */

static const char *bye_wrong(const struct pt_bye *bye)
{
    if (bye->code < PT_BYE_CLOSING || bye->code > PT_BYE_SEEDED)
        return "its code is not known";
    return words_wrong(bye->words);
}

const char *pt_bye_decode(struct peat_bytes body, struct pt_bye *bye_out)
{
    const struct pt_wire_bye *head = take(&body, sizeof(*head));
    struct pt_bye bye;
    const char *wrong;

    if (head == NULL)
        return cut_short;
    bye.code = (enum pt_bye_code)head->code;
    wrong = bytes_take(&body, head->words_size, &bye.words);
    if (wrong == NULL && body.size > 0)
        wrong = too_long;
    if (wrong == NULL)
        wrong = bye_wrong(&bye);
    if (wrong == NULL)
        *bye_out = bye;
    return wrong;
}

const char *pt_bye_encode(const struct pt_bye *bye, void *buffer, size_t room, size_t *size_out)
{
    const char *wrong = bye_wrong(bye);
    struct pt_wire_bye head;
    uint8_t *place = buffer;

    if (wrong != NULL)
        return wrong;
    if (sizeof(head) + bye->words.size > room)
        return no_room;
    head.code = (uint8_t)bye->code;
    head.words_size = (uint8_t)bye->words.size;
    place = put(place, &head, sizeof(head));
    (void)put(place, bye->words.data, bye->words.size);
    *size_out = sizeof(head) + bye->words.size;
    return NULL;
}

#include "tests/message_sample.h"

#include "repl/sums.h"

#include <string.h>

/* ---- Values ---- */

/* Below 2^63; small, anything, or the largest. */
static uint64_t number(struct pt_dice *dice)
{
    switch (pt_dice_below(dice, 4)) {
    case 0:
        return pt_dice_below(dice, 3);
    case 1:
        return PT_WIRE_NUMBER_MAX - pt_dice_below(dice, 2);
    default:
        return pt_dice_next(dice) >> 1;
    }
}

struct peat_position pt_sample_position(struct pt_dice *dice)
{
    struct peat_position position = {.epoch = number(dice),
                                     .commit = number(dice),
                                     .time_us = pt_dice_next(dice),
                                     .position = number(dice)};

    pt_value_fill(pt_dice_next(dice), position.chain, sizeof(position.chain));
    return position;
}

struct peat_record pt_sample_record(struct pt_dice *dice, uint8_t *payload, size_t payload_size)
{
    struct peat_position position = pt_sample_position(dice);
    struct peat_record record = {.kind = payload_size == 0 ? PEAT_RECORD_SEAL : PEAT_RECORD_BATCH,
                                 .epoch = position.epoch,
                                 .commit = position.commit,
                                 .time_us = position.time_us,
                                 .position = position.position,
                                 .payload = {payload, payload_size}};

    memcpy(record.chain, position.chain, sizeof(record.chain));
    pt_value_fill(pt_dice_next(dice), payload, payload_size);
    return record;
}

bool pt_sample_same_record(const struct peat_record *a, const struct peat_record *b)
{
    return a->kind == b->kind && a->epoch == b->epoch && a->commit == b->commit &&
           a->time_us == b->time_us && a->position == b->position &&
           memcmp(a->chain, b->chain, sizeof(a->chain)) == 0 && pt_same(a->payload, b->payload);
}

/* Bytes of which none is below @p low or above @p high. */
static struct peat_bytes characters(struct pt_dice *dice, uint8_t *bytes, size_t size, uint8_t low,
                                    uint8_t high)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(low + pt_dice_below(dice, (uint64_t)high - low + 1));
    return (struct peat_bytes){bytes, size};
}

/* A size of up to @p size_max bytes, which is that now and then. */
static size_t size_of(struct pt_dice *dice, size_t size_max)
{
    return pt_dice_one_in(dice, 4) ? size_max : pt_dice_below(dice, size_max + 1);
}

static struct peat_bytes words(struct pt_dice *dice)
{
    static uint8_t bytes[PT_WORDS_SIZE_MAX];

    return characters(dice, bytes, size_of(dice, sizeof(bytes)), ' ', '~');
}

static struct pt_epochs epochs(struct pt_dice *dice)
{
    static struct pt_wire_epoch rows[PT_EPOCH_COUNT_MAX];
    struct pt_epochs epochs = {rows, 0};
    struct peat_epoch epoch = {pt_dice_below(dice, 2), pt_dice_below(dice, 2), 0, {0}};

    epochs.count = (uint32_t)pt_dice_below(dice, 8);
    if (pt_dice_one_in(dice, 16))
        epochs.count = PT_EPOCH_COUNT_MAX;
    for (uint32_t i = 0; i < epochs.count; i++) {
        pt_epoch_put(&rows[i], epoch);
        epoch.epoch += 1 + pt_dice_below(dice, 3);
        epoch.first_commit += pt_dice_below(dice, 1 << 20);
        epoch.position += 1 + pt_dice_below(dice, 1 << 20);
        pt_value_fill(pt_dice_next(dice), epoch.chain, sizeof(epoch.chain));
    }
    return epochs;
}

/* ---- Bodies ---- */

static const char *hello_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    static uint8_t name[PEAT_NAME_SIZE_MAX];
    struct pt_hello hello = {.position = pt_sample_position(dice),
                             .credit = pt_dice_next(dice),
                             .flags = (uint32_t)pt_dice_below(dice, PT_HELLO_FLAGS + 1),
                             .epochs = epochs(dice)};

    if ((hello.flags & (PT_HELLO_STATE | PT_HELLO_REJOIN)) != 0)
        hello.flags |= PT_HELLO_SEEDS;
    hello.name = characters(dice, name, 1 + size_of(dice, sizeof(name) - 1), 1, 255);
    return pt_hello_encode(&hello, buffer, PT_HELLO_SIZE_MAX, size_out);
}

static const char *welcome_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    struct pt_welcome welcome = {.verdict = (enum pt_verdict)(1 + pt_dice_below(dice, 4)),
                                 .newest = pt_sample_position(dice),
                                 .words = words(dice),
                                 .epochs = epochs(dice)};

    return pt_welcome_encode(&welcome, buffer, PT_WELCOME_SIZE_MAX, size_out);
}

/* The pieces, one after the other. */
static size_t pieces_join(const struct pt_records *records, uint8_t *buffer)
{
    size_t size = 0;

    for (size_t i = 0; i < records->piece_count; i++) {
        memcpy(buffer + size, records->pieces[i].data, records->pieces[i].size);
        size += records->pieces[i].size;
    }
    PT_REQUIRE(size == records->size && size <= PT_SAMPLE_SIZE_MAX);
    return size;
}

static size_t records_sample(struct pt_dice *dice, uint8_t *buffer)
{
    static uint8_t payloads[PT_SAMPLE_RECORDS_MAX][PT_SAMPLE_PAYLOAD_MAX];
    static uint8_t room[PT_SAMPLE_SIZE_MAX];
    struct pt_records records;
    size_t count = 1 + pt_dice_below(dice, PT_SAMPLE_RECORDS_MAX);

    pt_records_begin(&records, room, sizeof(room), PT_SAMPLE_SIZE_MAX);
    for (size_t i = 0; i < count; i++) {
        struct peat_record record =
            pt_sample_record(dice, payloads[i], size_of(dice, PT_SAMPLE_PAYLOAD_MAX));

        if (pt_dice_one_in(dice, 2))
            PT_REQUIRE_OK(pt_records_add(&records, &record));
        else
            PT_REQUIRE_OK(pt_records_copy(&records, &record));
    }
    PT_REQUIRE(records.count == count);
    return pieces_join(&records, buffer);
}

static size_t part_sample(struct pt_dice *dice, uint8_t *buffer)
{
    uint8_t payload[PT_SAMPLE_PAYLOAD_MAX];
    struct peat_record record =
        pt_sample_record(dice, payload, 1 + size_of(dice, sizeof(payload) - 1));
    struct pt_part part =
        pt_part_cut(&record, pt_dice_below(dice, record.payload.size),
                    sizeof(struct pt_wire_part) + 1 + pt_dice_below(dice, sizeof(payload)));
    struct pt_wire_part head;

    PT_REQUIRE(pt_part_encode(&part, &head) == NULL);
    memcpy(buffer, &head, sizeof(head));
    memcpy(buffer + sizeof(head), part.piece.data, part.piece.size);
    return sizeof(head) + part.piece.size;
}

static const char *ack_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    struct pt_ack ack = {.received = number(dice), .credit = pt_dice_next(dice)};
    struct pt_wire_ack stored;
    const char *wrong;

    ack.applied = pt_dice_below(dice, ack.received + 1);
    ack.durable = pt_dice_below(dice, ack.applied + 1);
    wrong = pt_ack_encode(&ack, &stored);
    memcpy(buffer, &stored, sizeof(stored));
    *size_out = sizeof(stored);
    return wrong;
}

static const char *ping_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    struct pt_ping ping = {pt_dice_next(dice), pt_sample_position(dice)};
    struct pt_wire_ping stored;
    const char *wrong = pt_ping_encode(&ping, &stored);

    memcpy(buffer, &stored, sizeof(stored));
    *size_out = sizeof(stored);
    return wrong;
}

static const char *bye_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    struct pt_bye bye = {(enum pt_bye_code)(1 + pt_dice_below(dice, 5)), words(dice)};

    return pt_bye_encode(&bye, buffer, PT_BYE_SIZE_MAX, size_out);
}

static size_t identity_sample(struct pt_dice *dice, uint8_t *buffer)
{
    pt_value_fill(pt_dice_next(dice), buffer, sizeof(struct peat_identity));
    return sizeof(struct peat_identity);
}

static const char *ask_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    struct pt_ask ask = {number(dice), number(dice), 1 + number(dice)};
    struct pt_wire_ask stored;
    const char *wrong = pt_ask_encode(&ask, &stored);

    memcpy(buffer, &stored, sizeof(stored));
    *size_out = sizeof(stored);
    return wrong;
}

static const char *chunk_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    size_t size = 1 + size_of(dice, PT_SAMPLE_PAYLOAD_MAX - 1);
    struct pt_chunk chunk = {.part = number(dice), .offset = number(dice)};
    struct pt_wire_chunk head;
    const char *wrong;

    chunk.part_size = chunk.offset + size + pt_dice_below(dice, 2) * number(dice) / 2;
    chunk.bytes = (struct peat_bytes){buffer + sizeof(head), size};
    pt_value_fill(pt_dice_next(dice), buffer + sizeof(head), size);
    wrong = pt_chunk_encode(&chunk, &head);
    memcpy(buffer, &head, sizeof(head));
    *size_out = sizeof(head) + size;
    return wrong;
}

static const char *commit_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    struct pt_wire_commit stored;
    const char *wrong = pt_commit_body_encode(number(dice), &stored);

    memcpy(buffer, &stored, sizeof(stored));
    *size_out = sizeof(stored);
    return wrong;
}

static const char *bounds_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    static uint8_t keys[PT_SUM_PARTS_MAX + 1][PT_PLACE_KEY_MAX];
    struct pt_bounds bounds = {.count = 2 + pt_dice_below(dice, PT_SUM_PARTS_MAX)};

    for (size_t i = 0; i < bounds.count; i++) {
        keys[i][0] = (uint8_t)i; /* ascending */
        pt_value_fill(pt_dice_next(dice), keys[i] + 1, PT_PLACE_KEY_MAX - 1);
        bounds.places[i].collection = i < 8 ? 1 : 1000;
        bounds.places[i].key =
            (struct peat_bytes){keys[i], 1 + size_of(dice, PT_PLACE_KEY_MAX - 1)};
    }
    if (pt_dice_one_in(dice, 3))
        bounds.places[bounds.count - 1] = (struct peat_place){.collection = PEAT_PLACE_END};
    return pt_bounds_encode(&bounds, buffer, PT_BOUNDS_SIZE_MAX, size_out);
}

static const char *sums_sample(struct pt_dice *dice, uint8_t *buffer, size_t *size_out)
{
    struct pt_sums sums = {.count = 1 + pt_dice_below(dice, PT_SUM_PARTS_MAX)};

    for (size_t i = 0; i < sums.count; i++) {
        sums.sums[i].entry_count = pt_dice_next(dice);
        sums.sums[i].size = pt_dice_next(dice);
        sums.sums[i].is_damaged = pt_dice_one_in(dice, 2);
        pt_value_fill(pt_dice_next(dice), sums.sums[i].digest, sizeof(sums.sums[i].digest));
    }
    return pt_sums_encode(&sums, buffer, PT_SUMS_SIZE_MAX, size_out);
}

size_t pt_sample_body(uint8_t type, struct pt_dice *dice, uint8_t *buffer)
{
    const char *wrong = "no such type";
    size_t size = 0;

    if (type == PT_MESSAGE_HELLO)
        wrong = hello_sample(dice, buffer, &size);
    else if (type == PT_MESSAGE_WELCOME)
        wrong = welcome_sample(dice, buffer, &size);
    else if (type == PT_MESSAGE_RECORDS)
        return records_sample(dice, buffer);
    else if (type == PT_MESSAGE_PART)
        return part_sample(dice, buffer);
    else if (type == PT_MESSAGE_ACK)
        wrong = ack_sample(dice, buffer, &size);
    else if (type == PT_MESSAGE_PING)
        wrong = ping_sample(dice, buffer, &size);
    else if (type == PT_MESSAGE_BYE)
        wrong = bye_sample(dice, buffer, &size);
    else if (type == PT_MESSAGE_IDENTITY)
        return identity_sample(dice, buffer);
    else if (type == PT_MESSAGE_ASK)
        wrong = ask_sample(dice, buffer, &size);
    else if (type == PT_MESSAGE_CHUNK)
        wrong = chunk_sample(dice, buffer, &size);
    else if (type == PT_MESSAGE_PIN || type == PT_MESSAGE_PINNED)
        wrong = commit_sample(dice, buffer, &size);
    else if (type == PT_MESSAGE_SUM)
        wrong = bounds_sample(dice, buffer, &size);
    else if (type == PT_MESSAGE_SUMS)
        wrong = sums_sample(dice, buffer, &size);
    if (wrong != NULL)
        pt_test_fail(__FILE__, __LINE__, "type %d: %s", (int)type, wrong);
    return size;
}

/* ---- Again ---- */

static const char *records_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    static uint8_t room[PT_SAMPLE_SIZE_MAX];
    struct pt_records records;
    size_t count;
    size_t place = 0;
    const char *wrong = pt_records_check(body, &count);

    if (wrong != NULL)
        return wrong;
    pt_records_begin(&records, room, sizeof(room), body.size);
    while (place < body.size) {
        struct peat_record record;

        PT_REQUIRE(pt_records_next(body, &place, &record) == NULL);
        if (records.count < PT_RECORDS_PIECES_MAX / 4)
            PT_REQUIRE_OK(pt_records_add(&records, &record));
        else
            PT_REQUIRE_OK(pt_records_copy(&records, &record));
    }
    PT_REQUIRE(records.count == count);
    *size_out = pieces_join(&records, buffer);
    return NULL;
}

static const char *part_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct pt_part part;
    struct pt_wire_part head;
    const char *wrong = pt_part_decode(body, &part);

    if (wrong != NULL)
        return wrong;
    PT_REQUIRE(pt_part_encode(&part, &head) == NULL);
    *size_out = sizeof(head) + part.piece.size;
    PT_REQUIRE(*size_out <= PT_SAMPLE_SIZE_MAX);
    memcpy(buffer, &head, sizeof(head));
    memcpy(buffer + sizeof(head), part.piece.data, part.piece.size);
    return NULL;
}

static const char *ack_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct pt_ack ack;
    struct pt_wire_ack stored;
    const char *wrong = pt_ack_decode(body, &ack);

    if (wrong != NULL)
        return wrong;
    PT_REQUIRE(pt_ack_encode(&ack, &stored) == NULL);
    memcpy(buffer, &stored, sizeof(stored));
    *size_out = sizeof(stored);
    return NULL;
}

static const char *ping_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct pt_ping ping;
    struct pt_wire_ping stored;
    const char *wrong = pt_ping_decode(body, &ping);

    if (wrong != NULL)
        return wrong;
    PT_REQUIRE(pt_ping_encode(&ping, &stored) == NULL);
    memcpy(buffer, &stored, sizeof(stored));
    *size_out = sizeof(stored);
    return NULL;
}

static const char *identity_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct peat_identity identity;
    const char *wrong = pt_identity_body_decode(body, &identity);

    if (wrong != NULL)
        return wrong;
    memcpy(buffer, &identity, sizeof(identity));
    *size_out = sizeof(identity);
    return NULL;
}

static const char *ask_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct pt_ask ask;
    struct pt_wire_ask stored;
    const char *wrong = pt_ask_decode(body, &ask);

    if (wrong != NULL)
        return wrong;
    PT_REQUIRE(pt_ask_encode(&ask, &stored) == NULL);
    memcpy(buffer, &stored, sizeof(stored));
    *size_out = sizeof(stored);
    return NULL;
}

static const char *chunk_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct pt_chunk chunk;
    struct pt_wire_chunk head;
    const char *wrong = pt_chunk_decode(body, &chunk);

    if (wrong != NULL)
        return wrong;
    PT_REQUIRE(pt_chunk_encode(&chunk, &head) == NULL);
    *size_out = sizeof(head) + chunk.bytes.size;
    PT_REQUIRE(*size_out <= PT_SAMPLE_SIZE_MAX);
    memcpy(buffer, &head, sizeof(head));
    memcpy(buffer + sizeof(head), chunk.bytes.data, chunk.bytes.size);
    return NULL;
}

static const char *commit_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct pt_wire_commit stored;
    uint64_t commit;
    const char *wrong = pt_commit_body_decode(body, &commit);

    if (wrong != NULL)
        return wrong;
    PT_REQUIRE(pt_commit_body_encode(commit, &stored) == NULL);
    memcpy(buffer, &stored, sizeof(stored));
    *size_out = sizeof(stored);
    return NULL;
}

static const char *bounds_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct pt_bounds bounds;
    const char *wrong = pt_bounds_decode(body, &bounds);

    if (wrong != NULL)
        return wrong;
    PT_REQUIRE(pt_bounds_encode(&bounds, buffer, PT_BOUNDS_SIZE_MAX, size_out) == NULL);
    return NULL;
}

static const char *sums_again(struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct pt_sums sums;
    const char *wrong = pt_sums_decode(body, &sums);

    if (wrong != NULL)
        return wrong;
    PT_REQUIRE(pt_sums_encode(&sums, buffer, PT_SUMS_SIZE_MAX, size_out) == NULL);
    return NULL;
}

const char *pt_sample_again(uint8_t type, struct peat_bytes body, uint8_t *buffer, size_t *size_out)
{
    struct pt_hello hello;
    struct pt_welcome welcome;
    struct pt_bye bye;
    const char *wrong = "no such type";

    if (type == PT_MESSAGE_RECORDS)
        return records_again(body, buffer, size_out);
    if (type == PT_MESSAGE_PART)
        return part_again(body, buffer, size_out);
    if (type == PT_MESSAGE_ACK)
        return ack_again(body, buffer, size_out);
    if (type == PT_MESSAGE_PING)
        return ping_again(body, buffer, size_out);
    if (type == PT_MESSAGE_IDENTITY)
        return identity_again(body, buffer, size_out);
    if (type == PT_MESSAGE_ASK)
        return ask_again(body, buffer, size_out);
    if (type == PT_MESSAGE_CHUNK)
        return chunk_again(body, buffer, size_out);
    if (type == PT_MESSAGE_PIN || type == PT_MESSAGE_PINNED)
        return commit_again(body, buffer, size_out);
    if (type == PT_MESSAGE_SUM)
        return bounds_again(body, buffer, size_out);
    if (type == PT_MESSAGE_SUMS)
        return sums_again(body, buffer, size_out);
    if (type == PT_MESSAGE_HELLO && (wrong = pt_hello_decode(body, &hello)) == NULL)
        PT_REQUIRE(pt_hello_encode(&hello, buffer, PT_HELLO_SIZE_MAX, size_out) == NULL);
    if (type == PT_MESSAGE_WELCOME && (wrong = pt_welcome_decode(body, &welcome)) == NULL)
        PT_REQUIRE(pt_welcome_encode(&welcome, buffer, PT_WELCOME_SIZE_MAX, size_out) == NULL);
    if (type == PT_MESSAGE_BYE && (wrong = pt_bye_decode(body, &bye)) == NULL)
        PT_REQUIRE(pt_bye_encode(&bye, buffer, PT_BYE_SIZE_MAX, size_out) == NULL);
    return wrong;
}

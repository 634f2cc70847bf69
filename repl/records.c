#include "repl/records.h"

#include "repl/le.h"
#include "repl/message.h"

static const char cut_short[] = "a record is cut short";
static const char not_zero[] = "bytes of a record that are zeros are not";

/* ---- What is in both messages ---- */

static struct peat_record record_of(uint8_t kind, const struct pt_wire_position *at)
{
    struct peat_position position = pt_position_get(at);
    struct peat_record record = {.kind = (enum peat_record_kind)kind,
                                 .epoch = position.epoch,
                                 .commit = position.commit,
                                 .time_us = position.time_us,
                                 .position = position.position};

    memcpy(record.chain, position.chain, sizeof(record.chain));
    return record;
}

static struct peat_position position_of(const struct peat_record *record)
{
    struct peat_position position = {.epoch = record->epoch,
                                     .commit = record->commit,
                                     .time_us = record->time_us,
                                     .position = record->position};

    memcpy(position.chain, record->chain, sizeof(position.chain));
    return position;
}

static const char *record_wrong(const struct peat_record *record, uint64_t payload_size)
{
    struct peat_position position = position_of(record);

    if (record->kind != PEAT_RECORD_BATCH && record->kind != PEAT_RECORD_SEAL)
        return "the kind of a record is not known";
    if (record->kind == PEAT_RECORD_SEAL && payload_size > 0)
        return "a seal has a payload";
    return pt_position_wrong(&position);
}

static bool are_zeros(const uint8_t zeros[3])
{
    return (zeros[0] | zeros[1] | zeros[2]) == 0;
}

/* ---- RECORDS, taken apart ---- */

const char *pt_records_next(struct peat_bytes body, size_t *place, struct peat_record *record_out)
{
    const struct pt_wire_record *head;
    struct peat_record record;
    const char *wrong;
    size_t left;

    if (*place >= body.size)
        return "there is no record";
    left = body.size - *place;
    if (left < sizeof(*head))
        return cut_short;
    head = (const void *)((const uint8_t *)body.data + *place);
    left -= sizeof(*head);
    record = record_of(head->kind, &head->at);
    record.payload = (struct peat_bytes){head + 1, pt_wire_u32(head->payload_size)};
    wrong = record_wrong(&record, record.payload.size);
    if (wrong != NULL)
        return wrong;
    if (!are_zeros(head->zeros))
        return not_zero;
    if (record.payload.size > left)
        return cut_short;
    *place += sizeof(*head) + record.payload.size;
    *record_out = record;
    return NULL;
}

const char *pt_records_check(struct peat_bytes body, size_t *count_out)
{
    struct peat_record record;
    const char *wrong;
    size_t count = 0;
    size_t place = 0;

    do {
        wrong = pt_records_next(body, &place, &record);
        if (wrong != NULL)
            return wrong;
        count++;
    } while (place < body.size);
    *count_out = count;
    return NULL;
}

/* ---- RECORDS, put together ---- */

void pt_records_begin(struct pt_records *records, void *buffer, size_t room, size_t size_max)
{
    records->buffer = buffer;
    records->room = room;
    records->used = 0;
    records->buffer_is_last = false;
    records->size = 0;
    records->size_max = size_max;
    records->count = 0;
    records->piece_count = 0;
}

/* Bytes into the buffer, as more of its last piece or as a new one. */
static void buffer_put(struct pt_records *records, const void *data, size_t size)
{
    uint8_t *place = records->buffer + records->used;

    if (size == 0)
        return;
    memcpy(place, data, size);
    if (!records->buffer_is_last)
        records->pieces[records->piece_count++] = (struct peat_bytes){place, 0};
    records->pieces[records->piece_count - 1].size += size;
    records->buffer_is_last = true;
    records->used += size;
}

static void piece_put(struct pt_records *records, struct peat_bytes piece)
{
    if (piece.size == 0)
        return;
    records->pieces[records->piece_count++] = piece;
    records->buffer_is_last = false;
}

/* Whether a record with that payload fits, of which the buffer takes @p copied bytes. */
static bool fits(const struct pt_records *records, size_t payload_size, size_t copied)
{
    const size_t head = sizeof(struct pt_wire_record);
    const size_t left = records->size_max - records->size;
    const size_t room = records->room - records->used;

    return payload_size <= UINT32_MAX && left >= head && left - head >= payload_size &&
           room >= head && room - head >= copied &&
           records->piece_count + 2 <= PT_RECORDS_PIECES_MAX;
}

static void head_put(struct pt_records *records, const struct peat_record *record)
{
    struct peat_position at = position_of(record);
    struct pt_wire_record head = {.kind = (uint8_t)record->kind};

    pt_wire_put_u32(head.payload_size, (uint32_t)record->payload.size);
    pt_position_put(&head.at, &at);
    buffer_put(records, &head, sizeof(head));
    records->size += sizeof(head) + record->payload.size;
    records->count++;
}

enum peat_status pt_records_add(struct pt_records *records, const struct peat_record *record)
{
    if (record_wrong(record, record->payload.size) != NULL)
        return PEAT_INVALID;
    if (!fits(records, record->payload.size, 0))
        return PEAT_DONE;
    head_put(records, record);
    piece_put(records, record->payload);
    return PEAT_OK;
}

enum peat_status pt_records_copy(struct pt_records *records, const struct peat_record *record)
{
    if (record_wrong(record, record->payload.size) != NULL)
        return PEAT_INVALID;
    if (!fits(records, record->payload.size, record->payload.size))
        return PEAT_DONE;
    head_put(records, record);
    buffer_put(records, record->payload.data, record->payload.size);
    return PEAT_OK;
}

/* ---- PART ---- */

static const char *part_wrong(const struct pt_part *part)
{
    if (part->piece.size == 0)
        return "a piece of a record is empty";
    if (part->offset > part->payload_size || part->piece.size > part->payload_size - part->offset)
        return "a piece goes beyond its record";
    return record_wrong(&part->record, part->payload_size);
}

const char *pt_part_decode(struct peat_bytes body, struct pt_part *part_out)
{
    const struct pt_wire_part *head = body.data;
    struct pt_part part;
    const char *wrong;

    if (body.size < sizeof(*head))
        return cut_short;
    if (!are_zeros(head->zeros))
        return not_zero;
    part.record = record_of(head->kind, &head->at);
    part.payload_size = pt_wire_u64(head->payload_size);
    part.offset = pt_wire_u64(head->offset);
    part.piece = (struct peat_bytes){head + 1, body.size - sizeof(*head)};
    wrong = part_wrong(&part);
    if (wrong == NULL)
        *part_out = part;
    return wrong;
}

const char *pt_part_encode(const struct pt_part *part, struct pt_wire_part *head_out)
{
    const char *wrong = part_wrong(part);
    struct peat_position at = position_of(&part->record);

    if (wrong != NULL)
        return wrong;
    *head_out = (struct pt_wire_part){.kind = (uint8_t)part->record.kind};
    pt_wire_put_u64(head_out->payload_size, part->payload_size);
    pt_position_put(&head_out->at, &at);
    pt_wire_put_u64(head_out->offset, part->offset);
    return NULL;
}

struct pt_part pt_part_cut(const struct peat_record *record, uint64_t offset, size_t size_max)
{
    const uint8_t *payload = record->payload.data;
    const size_t left = record->payload.size - (size_t)offset;
    const size_t room = size_max - sizeof(struct pt_wire_part);
    struct pt_part part = {
        .record = *record, .payload_size = record->payload.size, .offset = offset};

    part.record.payload = (struct peat_bytes){NULL, 0};
    part.piece = (struct peat_bytes){payload + offset, left < room ? left : room};
    return part;
}

/*
 * Target: a frame's type and body, taken apart and made again; records that came are cut to parts
 * and joined; and parts as they come from a peer, one after the other.
 */
#include "repl/joint.h"
#include "tests/fuzz.h"
#include "tests/message_sample.h"

#include <string.h>

enum {
    PARTS = 8,        /* the type that stands for bodies of PART: size (u16) and body, each */
    JOINT_MAX = 8192, /* bytes of a record in parts */
    INPUT_MAX = 1 + PT_SAMPLE_SIZE_MAX
};

static void require_joined(const struct peat_record *record)
{
    size_t body_max = sizeof(struct pt_wire_part) + 1 + record->chain[0];
    struct peat_record joined;
    struct pt_joint joint;
    enum peat_status status = PEAT_OK;
    const char *why;

    pt_joint_init(&joint, record->payload.size);
    for (size_t offset = 0; status == PEAT_OK && offset < record->payload.size;) {
        struct pt_part part = pt_part_cut(record, offset, body_max);

        offset += part.piece.size;
        status = pt_joint_add(&joint, &part, &joined, &why);
        PT_REQUIRE_STATUS(status, offset < record->payload.size ? PEAT_OK : PEAT_DONE);
    }
    if (record->payload.size > 0)
        PT_REQUIRE(pt_sample_same_record(&joined, record));
    pt_joint_fini(&joint);
}

static void records_cut(struct peat_bytes body)
{
    struct peat_record record;

    for (size_t place = 0; place < body.size;) {
        PT_REQUIRE(pt_records_next(body, &place, &record) == NULL);
        require_joined(&record);
    }
}

/* What the joint makes of a peer's parts is what this simple one does. */
static void parts_join(struct pt_fuzz_input *input)
{
    static uint8_t whole[JOINT_MAX];
    size_t size = 0;
    struct pt_joint joint;

    pt_joint_init(&joint, sizeof(whole));
    while (input->size > 0) {
        size_t body_size = (size_t)pt_fuzz_number(input, 2);
        struct peat_record record;
        struct pt_part part;
        enum peat_status status;
        const char *why = NULL;

        if (body_size > input->size)
            body_size = input->size;
        if (pt_part_decode((struct peat_bytes){input->data, body_size}, &part) == NULL) {
            status = pt_joint_add(&joint, &part, &record, &why);
            PT_REQUIRE((status < 0) == (why != NULL));
            PT_REQUIRE(joint.room <= sizeof(whole));
            if (status >= 0) {
                PT_REQUIRE(part.offset == size && part.piece.size <= sizeof(whole) - size);
                memcpy(whole + size, part.piece.data, part.piece.size);
                size += part.piece.size;
                PT_REQUIRE((status == PEAT_DONE) == (size == part.payload_size));
            }
            if (status == PEAT_DONE) {
                PT_REQUIRE(pt_same(record.payload, (struct peat_bytes){whole, size}));
                size = 0;
            }
        }
        input->data += body_size;
        input->size -= body_size;
    }
    pt_joint_fini(&joint);
}

static void run(const uint8_t *data, size_t size)
{
    static uint8_t again[PT_SAMPLE_SIZE_MAX];
    struct pt_fuzz_input input = {data, size};
    uint8_t type = pt_fuzz_byte(&input);
    struct peat_bytes body = {input.data, input.size};
    size_t again_size;

    if (type == PARTS) {
        parts_join(&input);
        return;
    }
    if (pt_sample_again(type, body, again, &again_size) != NULL)
        return;
    PT_REQUIRE(again_size == body.size && memcmp(again, body.data, body.size) == 0);
    if (type == PT_MESSAGE_RECORDS)
        records_cut(body);
}

/* A record in three parts, then the beginning of another. */
static size_t parts_seed(struct pt_dice *dice, uint8_t *bytes)
{
    uint8_t payload[PT_SAMPLE_PAYLOAD_MAX];
    struct peat_record record = pt_sample_record(dice, payload, 250);
    size_t size = 0;

    bytes[size++] = PARTS;
    for (uint64_t i = 0; i < 4; i++) {
        struct pt_part part = pt_part_cut(&record, i % 3 * 100, sizeof(struct pt_wire_part) + 100);
        struct pt_wire_part head;
        size_t body_size = sizeof(head) + part.piece.size;

        PT_REQUIRE(pt_part_encode(&part, &head) == NULL);
        bytes[size++] = (uint8_t)body_size;
        bytes[size++] = (uint8_t)(body_size >> 8);
        memcpy(bytes + size, &head, sizeof(head));
        memcpy(bytes + size + sizeof(head), part.piece.data, part.piece.size);
        size += body_size;
    }
    return size;
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    static uint8_t bytes[INPUT_MAX];
    struct pt_dice dice = {1};

    for (uint8_t type = PT_MESSAGE_HELLO; type <= PT_MESSAGE_SUMS; type++) {
        for (int i = 0; i < 2; i++) {
            bytes[0] = type;
            give(context, bytes, 1 + pt_sample_body(type, &dice, bytes + 1));
        }
    }
    give(context, bytes, parts_seed(&dice, bytes));
}

const struct pt_fuzz_target pt_fuzz_message = {
    .name = "message",
    .sentence =
        "bodies of frames are refused, or come back as they were, and parts make the record",
    .size_max = INPUT_MAX,
    .run = run,
    .seeds = seeds};

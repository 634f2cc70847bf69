/*
 * The property: records of the log come out of messages as they went in, in whole or in parts, or
 * not at all.
 */
#include "repl/records.h"

#include "repl/le.h"
#include "tests/message_sample.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    HEAD = sizeof(struct pt_wire_record),
    PART_HEAD = sizeof(struct pt_wire_part),
    ROUNDS = 200
};

static struct pt_dice dice;

/* ---- RECORDS ---- */

static size_t join_pieces(const struct pt_records *records, uint8_t *body)
{
    size_t size = 0;

    for (size_t i = 0; i < records->piece_count; i++) {
        memcpy(body + size, records->pieces[i].data, records->pieces[i].size);
        size += records->pieces[i].size;
    }
    return size;
}

static void records_come_out_as_they_went_in(void **state)
{
    static uint8_t buffer[PT_SAMPLE_SIZE_MAX];
    static uint8_t body[PT_SAMPLE_SIZE_MAX];
    uint8_t payloads[PT_SAMPLE_RECORDS_MAX][PT_SAMPLE_PAYLOAD_MAX];
    struct peat_record sent[PT_SAMPLE_RECORDS_MAX];
    struct pt_records records;
    (void)state;

    for (int round = 0; round < ROUNDS; round++) {
        size_t count = 1 + pt_dice_below(&dice, PT_SAMPLE_RECORDS_MAX);
        size_t place = 0;
        struct peat_bytes bytes = {body, 0};

        pt_records_begin(&records, buffer, sizeof(buffer), sizeof(body));
        for (size_t i = 0; i < count; i++) {
            sent[i] =
                pt_sample_record(&dice, payloads[i], pt_dice_below(&dice, PT_SAMPLE_PAYLOAD_MAX));
            PT_REQUIRE_OK(pt_dice_one_in(&dice, 2) ? pt_records_add(&records, &sent[i])
                                                   : pt_records_copy(&records, &sent[i]));
        }
        bytes.size = join_pieces(&records, body);
        PT_REQUIRE(bytes.size == records.size);
        for (size_t i = 0; i < count; i++) {
            struct peat_record came;

            PT_REQUIRE(pt_records_next(bytes, &place, &came) == NULL);
            PT_REQUIRE(pt_sample_same_record(&came, &sent[i]));
        }
        PT_REQUIRE(place == bytes.size);
    }
}

static void a_payload_that_is_added_is_not_copied(void **state)
{
    uint8_t buffer[3 * HEAD];
    uint8_t payload[100];
    struct peat_record record = pt_sample_record(&dice, payload, sizeof(payload));
    struct peat_record seal = pt_sample_record(&dice, payload, 0);
    struct pt_records records;
    (void)state;

    pt_records_begin(&records, buffer, sizeof(buffer), 1000);
    PT_REQUIRE_OK(pt_records_add(&records, &seal));
    PT_REQUIRE_OK(pt_records_add(&records, &record));
    PT_REQUIRE_OK(pt_records_add(&records, &seal));
    assert_int_equal(records.piece_count, 3); /* both heads before it are one */
    assert_int_equal(records.pieces[0].size, 2 * HEAD);
    assert_ptr_equal(records.pieces[1].data, payload);
    assert_int_equal(records.pieces[2].size, HEAD);
    assert_int_equal(records.size, 3 * HEAD + sizeof(payload));
}

static void a_record_that_does_not_fit_changes_nothing(void **state)
{
    uint8_t buffer[2 * HEAD + 100];
    uint8_t payload[100];
    struct peat_record record = pt_sample_record(&dice, payload, sizeof(payload));
    struct pt_records records;
    (void)state;

    pt_records_begin(&records, buffer, sizeof(buffer), HEAD + 99); /* the body */
    PT_REQUIRE_STATUS(pt_records_add(&records, &record), PEAT_DONE);
    PT_REQUIRE(records.size == 0 && records.piece_count == 0 && records.count == 0);
    pt_records_begin(&records, buffer, sizeof(buffer), HEAD + 100);
    PT_REQUIRE_OK(pt_records_add(&records, &record));
    PT_REQUIRE_STATUS(pt_records_add(&records, &record), PEAT_DONE);
    pt_records_begin(&records, buffer, HEAD + 99, 10000); /* the buffer */
    PT_REQUIRE_STATUS(pt_records_copy(&records, &record), PEAT_DONE);
    pt_records_begin(&records, buffer, 2 * HEAD - 1, 10000);
    PT_REQUIRE_OK(pt_records_add(&records, &record));
    PT_REQUIRE_STATUS(pt_records_add(&records, &record), PEAT_DONE);
    PT_REQUIRE(records.size == HEAD + 100 && records.piece_count == 2 && records.count == 1);
}

static void a_body_has_no_more_pieces_than_there_is_room_for(void **state)
{
    static uint8_t buffer[PT_RECORDS_PIECES_MAX * HEAD];
    uint8_t payload[1];
    struct peat_record record = pt_sample_record(&dice, payload, sizeof(payload));
    struct pt_records records;
    (void)state;

    pt_records_begin(&records, buffer, sizeof(buffer), 1 << 20);
    while (pt_records_add(&records, &record) == PEAT_OK)
        PT_REQUIRE(records.piece_count <= PT_RECORDS_PIECES_MAX);
    assert_int_equal(records.count, PT_RECORDS_PIECES_MAX / 2);
}

static void what_is_no_record_is_not_sent(void **state)
{
    uint8_t buffer[1000];
    uint8_t payload[10];
    struct peat_record record = pt_sample_record(&dice, payload, sizeof(payload));
    struct pt_records records;
    (void)state;

    pt_records_begin(&records, buffer, sizeof(buffer), sizeof(buffer));
    record.kind = PEAT_RECORD_SEAL; /* with a payload */
    PT_REQUIRE_STATUS(pt_records_add(&records, &record), PEAT_INVALID);
    record.kind = (enum peat_record_kind)(256 + PEAT_RECORD_BATCH);
    PT_REQUIRE_STATUS(pt_records_copy(&records, &record), PEAT_INVALID);
    record.kind = PEAT_RECORD_BATCH;
    record.commit = PT_WIRE_NUMBER_MAX + 1;
    PT_REQUIRE_STATUS(pt_records_add(&records, &record), PEAT_INVALID);
    assert_int_equal(records.size, 0);
}

/* What comes before the cut is a body only where a record ends there. */
static void records_that_are_cut_short_are_refused(void **state)
{
    static uint8_t body[PT_SAMPLE_SIZE_MAX];
    size_t size = pt_sample_body(PT_MESSAGE_RECORDS, &dice, body);
    struct peat_record record;
    size_t end = 0;
    (void)state;

    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t *exact = malloc(cut + (cut == 0));
        size_t count;
        const char *wrong;

        PT_REQUIRE(exact != NULL);
        memcpy(exact, body, cut);
        wrong = pt_records_check((struct peat_bytes){exact, cut}, &count);
        PT_REQUIRE((wrong == NULL) == (cut == end && cut > 0));
        free(exact);
        if (cut == end && cut < size)
            PT_REQUIRE(pt_records_next((struct peat_bytes){body, size}, &end, &record) == NULL);
    }
}

static void there_is_no_record_behind_the_last_one(void **state)
{
    uint8_t body[3 * HEAD] = {0};
    struct peat_bytes bytes = {body, HEAD};
    struct peat_record record;
    (void)state;

    for (size_t i = 0; i < 3; i++) /* the memory goes on, the body does not */
        body[i * HEAD] = PEAT_RECORD_SEAL;
    for (size_t begin = 0; begin < sizeof(body); begin += HEAD) {
        size_t place = begin;

        PT_REQUIRE((pt_records_next(bytes, &place, &record) == NULL) == (begin == 0));
        PT_REQUIRE(place == (begin == 0 ? HEAD : begin));
    }
}

static void a_record_s_head_has_only_values_in_their_bounds(void **state)
{
    static uint8_t body[HEAD + 8];
    struct peat_bytes bytes = {body, sizeof(body)};
    struct pt_wire_record *head = (struct pt_wire_record *)body;
    uint8_t *const numbers[] = {head->at.epoch, head->at.commit, head->at.position};
    size_t count;
    (void)state;

    head->kind = PEAT_RECORD_BATCH;
    pt_wire_put_u32(head->payload_size, 8);
    for (int value = 0; value <= UINT8_MAX; value++) { /* a seal has a payload here */
        head->kind = (uint8_t)value;
        PT_REQUIRE((pt_records_check(bytes, &count) == NULL) == (value == PEAT_RECORD_BATCH));
    }
    head->kind = PEAT_RECORD_BATCH;
    for (size_t i = 0; i < 3; i++) {
        head->zeros[i] = 1;
        assert_non_null(pt_records_check(bytes, &count));
        head->zeros[i] = 0;
        pt_wire_put_u64(numbers[i], PT_WIRE_NUMBER_MAX + 1);
        assert_non_null(pt_records_check(bytes, &count));
        pt_wire_put_u64(numbers[i], PT_WIRE_NUMBER_MAX);
    }
    assert_null(pt_records_check(bytes, &count));
    pt_wire_put_u32(head->payload_size, UINT32_MAX);
    assert_non_null(pt_records_check(bytes, &count));
    head->kind = PEAT_RECORD_SEAL;
    pt_wire_put_u32(head->payload_size, 0);
    assert_null(pt_records_check((struct peat_bytes){body, HEAD}, &count));
}

/* ---- PART ---- */

static void a_part_comes_out_as_it_went_in(void **state)
{
    uint8_t payload[300];
    uint8_t body[PART_HEAD + 120];
    struct peat_record record = pt_sample_record(&dice, payload, sizeof(payload));
    struct pt_part part = pt_part_cut(&record, 100, sizeof(body));
    struct pt_wire_part head;
    struct pt_part came;
    (void)state;

    assert_int_equal(part.piece.size, 120);
    assert_ptr_equal(part.piece.data, payload + 100);
    assert_null(pt_part_encode(&part, &head));
    memcpy(body, &head, sizeof(head));
    memcpy(body + sizeof(head), part.piece.data, part.piece.size);
    assert_null(pt_part_decode((struct peat_bytes){body, sizeof(body)}, &came));
    PT_REQUIRE(pt_sample_same_record(&came.record, &part.record));
    PT_REQUIRE(came.payload_size == 300 && came.offset == 100);
    PT_REQUIRE(pt_same(came.piece, part.piece));
    assert_int_equal(pt_part_cut(&record, 200, sizeof(body)).piece.size, 100);
}

static void a_part_lies_within_its_record_and_is_not_empty(void **state)
{
    uint8_t body[PART_HEAD + 10] = {PEAT_RECORD_BATCH};
    struct pt_wire_part *head = (struct pt_wire_part *)body;
    struct pt_part part;
    (void)state;

    for (size_t size = 0; size <= sizeof(body); size++) {
        uint8_t *exact = malloc(size + (size == 0));

        PT_REQUIRE(exact != NULL);
        pt_wire_put_u64(head->payload_size, 110);
        pt_wire_put_u64(head->offset, 100);
        memcpy(exact, body, size);
        PT_REQUIRE((pt_part_decode((struct peat_bytes){exact, size}, &part) == NULL) ==
                   (size > PART_HEAD));
        free(exact);
    }
    pt_wire_put_u64(head->payload_size, 109);
    assert_non_null(pt_part_decode((struct peat_bytes){body, sizeof(body)}, &part));
    pt_wire_put_u64(head->payload_size, UINT64_MAX);
    assert_null(pt_part_decode((struct peat_bytes){body, sizeof(body)}, &part));
    pt_wire_put_u64(head->offset, UINT64_MAX - 9);
    assert_non_null(pt_part_decode((struct peat_bytes){body, sizeof(body)}, &part));
    pt_wire_put_u64(head->offset, UINT64_MAX - 10);
    assert_null(pt_part_decode((struct peat_bytes){body, sizeof(body)}, &part));
    part.offset++;
    assert_non_null(pt_part_encode(&part, head));
    part.offset = 0;
    part.piece.size = 0;
    assert_non_null(pt_part_encode(&part, head));
}

static void a_part_s_head_has_only_values_in_their_bounds(void **state)
{
    uint8_t body[PART_HEAD + 1] = {PEAT_RECORD_BATCH};
    struct peat_bytes bytes = {body, sizeof(body)};
    struct pt_wire_part *head = (struct pt_wire_part *)body;
    uint8_t *const numbers[] = {head->at.epoch, head->at.commit, head->at.position};
    struct pt_part part;
    (void)state;

    pt_wire_put_u64(head->payload_size, 1);
    for (int value = 0; value <= UINT8_MAX; value++) {
        head->kind = (uint8_t)value;
        PT_REQUIRE((pt_part_decode(bytes, &part) == NULL) == (value == PEAT_RECORD_BATCH));
    }
    head->kind = PEAT_RECORD_BATCH;
    for (size_t i = 0; i < 3; i++) {
        head->zeros[i] = 1;
        assert_non_null(pt_part_decode(bytes, &part));
        head->zeros[i] = 0;
        pt_wire_put_u64(numbers[i], PT_WIRE_NUMBER_MAX + 1);
        assert_non_null(pt_part_decode(bytes, &part));
        pt_wire_put_u64(numbers[i], PT_WIRE_NUMBER_MAX);
    }
    assert_null(pt_part_decode(bytes, &part));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_as_they_went_in),
        cmocka_unit_test(a_payload_that_is_added_is_not_copied),
        cmocka_unit_test(a_record_that_does_not_fit_changes_nothing),
        cmocka_unit_test(a_body_has_no_more_pieces_than_there_is_room_for),
        cmocka_unit_test(what_is_no_record_is_not_sent),
        cmocka_unit_test(records_that_are_cut_short_are_refused),
        cmocka_unit_test(there_is_no_record_behind_the_last_one),
        cmocka_unit_test(a_record_s_head_has_only_values_in_their_bounds),
        cmocka_unit_test(a_part_comes_out_as_it_went_in),
        cmocka_unit_test(a_part_lies_within_its_record_and_is_not_empty),
        cmocka_unit_test(a_part_s_head_has_only_values_in_their_bounds),
    };
    int failed;

    pt_test_start();
    dice.state = pt_test_seed();
    failed = cmocka_run_group_tests_name("records", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

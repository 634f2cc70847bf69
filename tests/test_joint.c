/*
 * The property: a record that comes in parts is the record that was cut, or there is none, and
 * what comes takes no more memory than has come.
 */
#include "repl/joint.h"

#include "tests/message_sample.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PART_HEAD = sizeof(struct pt_wire_part), LARGE = 1 << 20, LIMIT = LARGE, ROUNDS = 30 };

static struct pt_dice dice;
static uint8_t payload[LARGE];

static const char *why;
static struct peat_record came;

static enum peat_status add(struct pt_joint *joint, const struct pt_part *part)
{
    enum peat_status status;

    why = NULL;
    status = pt_joint_add(joint, part, &came, &why);
    PT_REQUIRE((status < 0) == (why != NULL));
    return status;
}

/* Add all parts of @p record, with up to @p piece_max bytes each, from @p offset on. */
static void add_all(struct pt_joint *joint, const struct peat_record *record, uint64_t offset,
                    size_t piece_max)
{
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK) {
        struct pt_part part =
            pt_part_cut(record, offset, PART_HEAD + 1 + pt_dice_below(&dice, piece_max));

        offset += part.piece.size;
        status = add(joint, &part);
        PT_REQUIRE(pt_joint_is_open(joint) == (offset < record->payload.size));
        PT_REQUIRE(joint->room <= 2 * joint->size || joint->room <= 4096);
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    PT_REQUIRE(offset == record->payload.size);
    PT_REQUIRE(pt_sample_same_record(&came, record));
}

static void parts_in_order_are_the_record(void **state)
{
    struct pt_joint joint;
    (void)state;

    for (int round = 0; round < ROUNDS; round++) {
        pt_joint_init(&joint, LIMIT);
        for (int i = 0; i < 3; i++) {
            size_t size = 1 + pt_dice_below(&dice, (uint64_t)1 << (1 + pt_dice_below(&dice, 20)));
            struct peat_record record = pt_sample_record(&dice, payload, size);

            if (i == 2) /* without what the ones before left */
                pt_joint_fini(&joint);
            add_all(&joint, &record, 0, size);
        }
        pt_joint_fini(&joint);
    }
}

static void a_part_out_of_order_is_refused_and_changes_nothing(void **state)
{
    struct peat_record record = pt_sample_record(&dice, payload, 1000);
    struct pt_part first = pt_part_cut(&record, 0, PART_HEAD + 300);
    struct pt_part part;
    struct pt_joint joint;
    (void)state;

    pt_joint_init(&joint, LIMIT);
    part = pt_part_cut(&record, 300, PART_HEAD + 300);
    PT_REQUIRE_STATUS(add(&joint, &part), PEAT_CORRUPT); /* to begin with */
    PT_REQUIRE(!pt_joint_is_open(&joint));
    PT_REQUIRE_OK(add(&joint, &first));
    PT_REQUIRE_STATUS(add(&joint, &first), PEAT_CORRUPT); /* once more */
    part = pt_part_cut(&record, 299, PART_HEAD + 300);
    PT_REQUIRE_STATUS(add(&joint, &part), PEAT_CORRUPT); /* overlapping */
    part = pt_part_cut(&record, 301, PART_HEAD + 300);
    PT_REQUIRE_STATUS(add(&joint, &part), PEAT_CORRUPT); /* with a gap */
    PT_REQUIRE(pt_joint_is_open(&joint));
    add_all(&joint, &record, 300, 100);
    PT_REQUIRE_STATUS(add(&joint, &part), PEAT_CORRUPT); /* in place of the next record's first */
    PT_REQUIRE(!pt_joint_is_open(&joint));
    pt_joint_fini(&joint);
}

static void a_part_of_another_record_is_refused(void **state)
{
    struct peat_record record = pt_sample_record(&dice, payload, 1000);
    struct pt_part part = pt_part_cut(&record, 0, PART_HEAD + 300);
    struct pt_joint joint;
    (void)state;

    pt_joint_init(&joint, LIMIT);
    PT_REQUIRE_OK(add(&joint, &part));
    for (int field = 0; field < 7; field++) {
        part = pt_part_cut(&record, 300, PART_HEAD + 300);
        part.record.kind = field == 0 ? PEAT_RECORD_SEAL : PEAT_RECORD_BATCH;
        part.record.epoch ^= field == 1;
        part.record.commit ^= field == 2;
        part.record.time_us ^= field == 3;
        part.record.position ^= field == 4;
        part.record.chain[15] ^= field == 5;
        part.payload_size += field == 6;
        PT_REQUIRE_STATUS(add(&joint, &part), PEAT_CORRUPT);
    }
    part = pt_part_cut(&record, 0, PART_HEAD + 300); /* another one's first part */
    part.record.commit ^= 1;
    PT_REQUIRE_STATUS(add(&joint, &part), PEAT_CORRUPT);
    add_all(&joint, &record, 300, 1000);
    pt_joint_fini(&joint);
}

static void a_part_beyond_its_record_is_refused(void **state)
{
    struct peat_record record = pt_sample_record(&dice, payload, 1000);
    struct pt_part part = pt_part_cut(&record, 0, PART_HEAD + 300);
    struct pt_joint joint;
    (void)state;

    pt_joint_init(&joint, LIMIT);
    PT_REQUIRE_OK(add(&joint, &part));
    part = pt_part_cut(&record, 300, PART_HEAD + 700);
    part.piece.size = 701;
    PT_REQUIRE_STATUS(add(&joint, &part), PEAT_CORRUPT);
    part.piece.size = 0;
    PT_REQUIRE_STATUS(add(&joint, &part), PEAT_CORRUPT);
    add_all(&joint, &record, 300, 1000);
    pt_joint_fini(&joint);
}

static void a_record_above_the_limit_is_refused_at_its_first_part(void **state)
{
    struct peat_record record = pt_sample_record(&dice, payload, 1000);
    struct pt_part part = pt_part_cut(&record, 0, PART_HEAD + 1);
    struct pt_joint joint;
    (void)state;

    pt_joint_init(&joint, 999);
    PT_REQUIRE_STATUS(add(&joint, &part), PEAT_TOO_LARGE);
    PT_REQUIRE(joint.room == 0);
    part.payload_size = UINT64_MAX;
    PT_REQUIRE_STATUS(add(&joint, &part), PEAT_TOO_LARGE);
    pt_joint_init(&joint, 1000);
    add_all(&joint, &record, 0, 1000);
    pt_joint_fini(&joint);
    pt_joint_fini(&joint);
}

static void memory_follows_what_has_come_not_what_is_said_to_come(void **state)
{
    struct peat_record record = pt_sample_record(&dice, payload, 10);
    struct pt_part part = pt_part_cut(&record, 0, PART_HEAD + 10);
    struct pt_joint joint;
    (void)state;

    pt_joint_init(&joint, SIZE_MAX);
    part.payload_size = SIZE_MAX;
    PT_REQUIRE_OK(add(&joint, &part));
    PT_REQUIRE(joint.room <= 4096);
    pt_joint_fini(&joint);
}

/* What a very large one took is not kept for the small ones that follow. */
static void memory_of_a_large_record_goes_with_the_next_one(void **state)
{
    const size_t size = (size_t)5 << 20;
    uint8_t *large = malloc(size);
    struct peat_record record = pt_sample_record(&dice, large, size);
    struct pt_joint joint;
    (void)state;

    pt_joint_init(&joint, size);
    add_all(&joint, &record, 0, 1 << 20);
    PT_REQUIRE(joint.room >= size);
    record = pt_sample_record(&dice, large, 100);
    add_all(&joint, &record, 0, 10);
    PT_REQUIRE(joint.room <= 4096);
    pt_joint_fini(&joint);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_in_order_are_the_record),
        cmocka_unit_test(a_part_out_of_order_is_refused_and_changes_nothing),
        cmocka_unit_test(a_part_of_another_record_is_refused),
        cmocka_unit_test(a_part_beyond_its_record_is_refused),
        cmocka_unit_test(a_record_above_the_limit_is_refused_at_its_first_part),
        cmocka_unit_test(memory_follows_what_has_come_not_what_is_said_to_come),
        cmocka_unit_test(memory_of_a_large_record_goes_with_the_next_one),
    };
    int failed;

    pt_test_start();
    dice.state = pt_test_seed();
    failed = cmocka_run_group_tests_name("joint", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * The property: a body of a frame says exactly what its sender meant, or is refused: whatever is
 * cut off, added or out of bounds. Those of RECORDS and PART, as far as they differ, are in
 * test_records.
 */
#include "repl/message.h"

#include "repl/le.h"
#include "tests/message_sample.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROUNDS = 300 };

static const uint8_t types[] = {
    PT_MESSAGE_HELLO, PT_MESSAGE_WELCOME, PT_MESSAGE_RECORDS,  PT_MESSAGE_PART, PT_MESSAGE_ACK,
    PT_MESSAGE_PING,  PT_MESSAGE_BYE,     PT_MESSAGE_IDENTITY, PT_MESSAGE_ASK,  PT_MESSAGE_CHUNK,
    PT_MESSAGE_PIN,   PT_MESSAGE_PINNED,  PT_MESSAGE_SUM,      PT_MESSAGE_SUMS};
enum { TYPE_COUNT = sizeof(types) };

static struct pt_dice dice;

/* ---- Bodies as a whole ---- */

/* The words for the first @p size bytes of @p body, from a block of exactly that size. */
static const char *words_for(uint8_t type, const uint8_t *body, size_t size)
{
    static uint8_t again[PT_SAMPLE_SIZE_MAX];
    uint8_t *exact = malloc(size + (size == 0));
    const char *wrong;
    size_t again_size;

    PT_REQUIRE(exact != NULL);
    memcpy(exact, body, size);
    wrong = pt_sample_again(type, (struct peat_bytes){exact, size}, again, &again_size);
    PT_REQUIRE(wrong != NULL || (again_size == size && memcmp(again, exact, size) == 0));
    free(exact);
    return wrong;
}

static void a_body_that_is_decoded_and_encoded_has_the_same_bytes(void **state)
{
    static uint8_t body[PT_SAMPLE_SIZE_MAX];
    (void)state;

    for (int round = 0; round < ROUNDS * TYPE_COUNT; round++) {
        uint8_t type = types[round % TYPE_COUNT];

        pt_test_context("round %d, %s", round, pt_message_name(type));
        PT_REQUIRE(words_for(type, body, pt_sample_body(type, &dice, body)) == NULL);
    }
}

static bool ends_with_bytes_of_any_number(uint8_t type)
{
    return type == PT_MESSAGE_RECORDS || type == PT_MESSAGE_PART || type == PT_MESSAGE_CHUNK;
}

static void a_body_that_is_cut_short_is_refused_wherever_it_is_cut(void **state)
{
    static uint8_t body[PT_SAMPLE_SIZE_MAX];
    (void)state;

    for (int round = 0; round < 10 * TYPE_COUNT; round++) {
        uint8_t type = types[round % TYPE_COUNT];
        size_t size = pt_sample_body(type, &dice, body);

        if (ends_with_bytes_of_any_number(type))
            continue;
        for (size_t cut = 0; cut < size; cut++) {
            pt_test_context("%s, %zu of %zu bytes", pt_message_name(type), cut, size);
            PT_REQUIRE(words_for(type, body, cut) != NULL);
        }
    }
}

static void bytes_behind_a_body_s_end_are_refused(void **state)
{
    static uint8_t body[PT_SAMPLE_SIZE_MAX];
    (void)state;

    for (int round = 0; round < 10 * TYPE_COUNT; round++) {
        uint8_t type = types[round % TYPE_COUNT];
        size_t size = pt_sample_body(type, &dice, body);

        if (ends_with_bytes_of_any_number(type))
            continue;
        memset(body + size, round % 2 == 0 ? 0 : 0xff, 16);
        pt_test_context("%s", pt_message_name(type));
        PT_REQUIRE(words_for(type, body, size + 1) != NULL);
        PT_REQUIRE(words_for(type, body, size + 16) != NULL);
    }
}

static void types_that_there_are_have_names(void **state)
{
    (void)state;

    for (int type = 0; type <= UINT8_MAX; type++)
        PT_REQUIRE((pt_message_name((uint8_t)type) != NULL) ==
                   (type >= PT_MESSAGE_HELLO && type <= PT_MESSAGE_SUMS));
    assert_string_equal(pt_message_name(PT_MESSAGE_WELCOME), "WELCOME");
}

/* ---- Values: what is put in comes out ---- */

static bool same_position(const struct peat_position *a, const struct peat_position *b)
{
    return a->epoch == b->epoch && a->commit == b->commit && a->time_us == b->time_us &&
           a->position == b->position && memcmp(a->chain, b->chain, sizeof(a->chain)) == 0;
}

static struct pt_epochs two_epochs(uint64_t first, uint64_t second, uint64_t first_commit,
                                   uint64_t second_commit)
{
    static struct pt_wire_epoch rows[2];

    pt_epoch_put(&rows[0], (struct peat_epoch){first, first_commit, 70, "before"});
    pt_epoch_put(&rows[1], (struct peat_epoch){second, second_commit, 71, "later"});
    return (struct pt_epochs){rows, 2};
}

static struct pt_hello hello_plain(void)
{
    return (struct pt_hello){.position = pt_sample_position(&dice),
                             .credit = 1 << 20,
                             .flags = PT_HELLO_SEALS,
                             .name = pt_text("follower-1"),
                             .epochs = two_epochs(1, 3, 0, 700)};
}

static struct pt_welcome welcome_plain(void)
{
    return (struct pt_welcome){.verdict = PT_VERDICT_FORKED,
                               .newest = pt_sample_position(&dice),
                               .words = pt_text("commit 12 is another one"),
                               .epochs = two_epochs(1, 2, 0, 1)};
}

static void a_hello_says_what_was_put_into_it(void **state)
{
    struct pt_hello hello = hello_plain();
    struct pt_hello came;
    uint8_t body[PT_HELLO_SIZE_MAX];
    size_t size;
    (void)state;

    assert_null(pt_hello_encode(&hello, body, sizeof(body), &size));
    assert_int_equal(size, sizeof(struct pt_wire_hello) + 10 + 4 + 2 * 40);
    assert_null(pt_hello_decode((struct peat_bytes){body, size}, &came));
    PT_REQUIRE(same_position(&came.position, &hello.position));
    assert_int_equal(came.credit, 1 << 20);
    assert_int_equal(came.flags, PT_HELLO_SEALS);
    PT_REQUIRE(pt_same(came.name, hello.name));
    assert_int_equal(came.epochs.count, 2);
    assert_int_equal(pt_epoch_get(&came.epochs.rows[1]).epoch, 3);
    assert_int_equal(pt_epoch_get(&came.epochs.rows[1]).first_commit, 700);
    assert_int_equal(pt_epoch_get(&came.epochs.rows[1]).position, 71);
    assert_string_equal(pt_epoch_get(&came.epochs.rows[1]).chain, "later");
}

static void a_welcome_says_what_was_put_into_it(void **state)
{
    struct pt_welcome welcome = welcome_plain();
    struct pt_welcome came;
    uint8_t body[PT_WELCOME_SIZE_MAX];
    size_t size;
    (void)state;

    assert_null(pt_welcome_encode(&welcome, body, sizeof(body), &size));
    assert_null(pt_welcome_decode((struct peat_bytes){body, size}, &came));
    assert_int_equal(came.verdict, PT_VERDICT_FORKED);
    PT_REQUIRE(same_position(&came.newest, &welcome.newest));
    PT_REQUIRE(pt_same(came.words, welcome.words));
    assert_int_equal(came.epochs.count, 2);
    assert_int_equal(pt_epoch_get(&came.epochs.rows[0]).epoch, 1);
}

static void the_small_messages_say_what_was_put_into_them(void **state)
{
    const struct pt_ack ack = {.received = 9, .durable = 7, .applied = 8, .credit = UINT64_MAX};
    const struct pt_ping ping = {.time_us = 5, .newest = pt_sample_position(&dice)};
    const struct pt_bye bye = {PT_BYE_NO_SPACE, pt_text("full")};
    struct pt_ack ack_came;
    struct pt_ping ping_came;
    struct pt_bye bye_came;
    union {
        struct pt_wire_ack ack;
        struct pt_wire_ping ping;
        uint8_t bye[PT_BYE_SIZE_MAX];
    } body;
    size_t size;
    (void)state;

    assert_null(pt_ack_encode(&ack, &body.ack));
    assert_null(pt_ack_decode((struct peat_bytes){&body, sizeof(body.ack)}, &ack_came));
    assert_memory_equal(&ack_came, &ack, sizeof(ack));
    assert_null(pt_ping_encode(&ping, &body.ping));
    assert_null(pt_ping_decode((struct peat_bytes){&body, sizeof(body.ping)}, &ping_came));
    assert_int_equal(ping_came.time_us, 5);
    PT_REQUIRE(same_position(&ping_came.newest, &ping.newest));
    assert_null(pt_bye_encode(&bye, body.bye, sizeof(body.bye), &size));
    assert_null(pt_bye_decode((struct peat_bytes){&body, size}, &bye_came));
    assert_int_equal(bye_came.code, PT_BYE_NO_SPACE);
    PT_REQUIRE(pt_same(bye_came.words, bye.words));
}

/* The layout is what the tables say, whatever encoder and decoder agree upon. */
static void bytes_lie_where_the_format_says(void **state)
{
    static const uint8_t ack_bytes[32] = {3, 2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
                                          2, 1, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
    static const uint8_t bye_bytes[] = {PT_BYE_DIVERGED, 2, 'n', 'o'};
    const struct pt_ack ack = {0x10203, 1, 0x102, 0x102030405060708};
    const struct pt_bye bye = {PT_BYE_DIVERGED, pt_text("no")};
    struct pt_wire_ack stored;
    uint8_t body[PT_BYE_SIZE_MAX];
    size_t size;
    (void)state;

    assert_null(pt_ack_encode(&ack, &stored));
    assert_memory_equal(&stored, ack_bytes, sizeof(stored));
    assert_null(pt_bye_encode(&bye, body, sizeof(body), &size));
    assert_int_equal(size, sizeof(bye_bytes));
    assert_memory_equal(body, bye_bytes, size);
}

/* ---- Bounds: encoders and decoders refuse alike ---- */

/* The body of @p hello, whatever is in it. */
static size_t hello_forge(const struct pt_hello *hello, uint8_t *body)
{
    struct pt_wire_hello *head = (struct pt_wire_hello *)body;
    uint8_t *place = body + sizeof(*head);

    pt_position_put(&head->position, &hello->position);
    pt_wire_put_u64(head->credit, hello->credit);
    pt_wire_put_u32(head->flags, hello->flags);
    pt_wire_put_u16(head->name_size, (uint16_t)hello->name.size);
    memcpy(place, hello->name.data, hello->name.size);
    place += hello->name.size;
    pt_wire_put_u32(place, hello->epochs.count);
    place += 4;
    for (uint32_t i = 0; i < hello->epochs.count; i++, place += 40) {
        memcpy(place, hello->epochs.rows[i].epoch, 8);
        memcpy(place + 8, hello->epochs.rows[i].first_commit, 8);
        memcpy(place + 16, hello->epochs.rows[i].position, 8);
        memcpy(place + 24, hello->epochs.rows[i].chain, 16);
    }
    return (size_t)(place - body);
}

/* Encoder and decoder take it, or both refuse it. */
static void require_hello(const struct pt_hello *hello, bool good)
{
    static uint8_t forged[PT_HELLO_SIZE_MAX + 64];
    static uint8_t body[PT_HELLO_SIZE_MAX + 64];
    struct pt_hello came;
    size_t forged_size = hello_forge(hello, forged);
    size_t size;

    PT_REQUIRE((pt_hello_decode((struct peat_bytes){forged, forged_size}, &came) == NULL) == good);
    PT_REQUIRE((pt_hello_encode(hello, body, sizeof(body), &size) == NULL) == good);
    if (good)
        PT_REQUIRE(size == forged_size && memcmp(body, forged, size) == 0);
}

static void a_hello_has_known_flags_and_a_name_in_its_bounds(void **state)
{
    static char name[PEAT_NAME_SIZE_MAX + 1];
    struct pt_hello hello = hello_plain();
    (void)state;

    require_hello(&hello, true);
    hello.flags = PT_HELLO_FLAGS + 1;
    require_hello(&hello, false);
    hello.flags = 0;
    memset(name, 0xff, sizeof(name));
    hello.name = (struct peat_bytes){name, PEAT_NAME_SIZE_MAX};
    require_hello(&hello, true);
    hello.name.size++;
    require_hello(&hello, false);
    hello.name.size = 0;
    require_hello(&hello, false);
    name[7] = '\0';
    hello.name.size = 8;
    require_hello(&hello, false);
    hello.name.size = 7;
    require_hello(&hello, true);
}

static void a_hello_wants_no_state_unless_it_takes_one(void **state)
{
    struct pt_hello hello = hello_plain();
    (void)state;

    for (hello.flags = 0; hello.flags <= PT_HELLO_FLAGS; hello.flags++)
        require_hello(&hello, (hello.flags & PT_HELLO_SEEDS) != 0 ||
                                  (hello.flags & (PT_HELLO_STATE | PT_HELLO_REJOIN)) == 0);
}

static void epochs_ascend_and_are_no_more_than_the_limit(void **state)
{
    static struct pt_wire_epoch rows[PT_EPOCH_COUNT_MAX + 1];
    struct pt_hello hello = hello_plain();
    (void)state;

    hello.epochs = two_epochs(3, 3, 1, 2);
    require_hello(&hello, false);
    hello.epochs = two_epochs(3, 2, 1, 2);
    require_hello(&hello, false);
    hello.epochs = two_epochs(2, 3, 2, 1);
    require_hello(&hello, false);
    hello.epochs = two_epochs(2, 3, 2, 2);
    require_hello(&hello, true);
    hello.epochs = two_epochs(2, PT_WIRE_NUMBER_MAX, 2, PT_WIRE_NUMBER_MAX);
    require_hello(&hello, true);
    hello.epochs = two_epochs(2, PT_WIRE_NUMBER_MAX + 1, 2, 2);
    require_hello(&hello, false);
    hello.epochs = two_epochs(2, 3, 2, PT_WIRE_NUMBER_MAX + 1);
    require_hello(&hello, false);
    for (uint32_t i = 0; i <= PT_EPOCH_COUNT_MAX; i++)
        pt_epoch_put(&rows[i], (struct peat_epoch){i, i, i, ""});
    hello.epochs = (struct pt_epochs){rows, PT_EPOCH_COUNT_MAX};
    require_hello(&hello, true);
    hello.epochs.count++;
    require_hello(&hello, false);
    hello.epochs = (struct pt_epochs){NULL, 0};
    require_hello(&hello, true);
    hello.epochs = (struct pt_epochs){rows, 2};
    pt_epoch_put(&rows[1], (struct peat_epoch){1, 1, 0, ""});
    require_hello(&hello, false);
    pt_epoch_put(&rows[1], (struct peat_epoch){1, 1, PT_WIRE_NUMBER_MAX, ""});
    require_hello(&hello, true);
    pt_epoch_put(&rows[1], (struct peat_epoch){1, 1, PT_WIRE_NUMBER_MAX + 1, ""});
    require_hello(&hello, false);
}

static void numbers_of_a_position_are_below_2_to_the_63(void **state)
{
    struct pt_ping ping = {.newest = {.epoch = PT_WIRE_NUMBER_MAX,
                                      .commit = PT_WIRE_NUMBER_MAX,
                                      .time_us = UINT64_MAX,
                                      .position = PT_WIRE_NUMBER_MAX}};
    struct pt_wire_ping body;
    struct peat_bytes bytes = {&body, sizeof(body)};
    uint8_t *const numbers[] = {body.newest.epoch, body.newest.commit, body.newest.position};
    (void)state;

    assert_null(pt_ping_encode(&ping, &body));
    for (size_t i = 0; i < 3; i++) {
        assert_null(pt_ping_decode(bytes, &ping));
        pt_wire_put_u64(numbers[i], PT_WIRE_NUMBER_MAX + 1);
        assert_non_null(pt_ping_decode(bytes, &ping));
        pt_wire_put_u64(numbers[i], PT_WIRE_NUMBER_MAX);
    }
    ping.newest.commit++;
    assert_non_null(pt_ping_encode(&ping, &body));
}

static void verdicts_and_codes_are_known_ones(void **state)
{
    static uint8_t body[PT_WELCOME_SIZE_MAX];
    struct pt_welcome welcome = welcome_plain();
    struct pt_bye bye = {PT_BYE_CLOSING, {NULL, 0}};
    size_t size;
    (void)state;

    assert_null(pt_welcome_encode(&welcome, body, sizeof(body), &size));
    for (int value = 0; value <= UINT8_MAX; value++) {
        body[0] = (uint8_t)value;
        PT_REQUIRE((pt_welcome_decode((struct peat_bytes){body, size}, &welcome) == NULL) ==
                   (value >= PT_VERDICT_TAIL && value <= PT_VERDICT_REFUSED));
    }
    assert_null(pt_bye_encode(&bye, body, sizeof(body), &size));
    for (int value = 0; value <= UINT8_MAX; value++) {
        body[0] = (uint8_t)value;
        PT_REQUIRE((pt_bye_decode((struct peat_bytes){body, size}, &bye) == NULL) ==
                   (value >= PT_BYE_CLOSING && value <= PT_BYE_SEEDED));
    }
    bye.code = (enum pt_bye_code)(256 + PT_BYE_ERROR);
    assert_non_null(pt_bye_encode(&bye, body, sizeof(body), &size));
}

static void words_are_printable_and_no_longer_than_the_limit(void **state)
{
    uint8_t text[PT_WORDS_SIZE_MAX + 1];
    uint8_t body[PT_BYE_SIZE_MAX];
    struct pt_bye bye = {PT_BYE_ERROR, {text, PT_WORDS_SIZE_MAX}};
    size_t size;
    (void)state;

    memset(text, '~', sizeof(text));
    assert_null(pt_bye_encode(&bye, body, sizeof(body), &size));
    bye.words.size++;
    assert_non_null(pt_bye_encode(&bye, body, sizeof(body), &size));
    bye.words.size = 3;
    assert_null(pt_bye_encode(&bye, body, sizeof(body), &size));
    for (int value = 0; value <= UINT8_MAX; value++) {
        body[4] = (uint8_t)value;
        PT_REQUIRE((pt_bye_decode((struct peat_bytes){body, size}, &bye) == NULL) ==
                   (value >= ' ' && value <= '~'));
    }
}

static void an_ack_s_commits_are_in_order(void **state)
{
    static const struct {
        uint64_t received, durable, applied;
        bool good;
    } cases[] = {
        {0, 0, 0, true},
        {5, 5, 5, true},
        {5, 0, 5, true},
        {5, 0, 6, false},
        {5, 5, 4, false},
        {5, 6, 6, false},
        {PT_WIRE_NUMBER_MAX, 1, 1, true},
        {PT_WIRE_NUMBER_MAX + 1, 1, 1, false},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pt_ack ack = {.received = cases[i].received,
                             .durable = cases[i].durable,
                             .applied = cases[i].applied};
        struct pt_wire_ack body;

        PT_REQUIRE((pt_ack_encode(&ack, &body) == NULL) == cases[i].good);
        pt_wire_put_u64(body.received, cases[i].received);
        pt_wire_put_u64(body.durable, cases[i].durable);
        pt_wire_put_u64(body.applied, cases[i].applied);
        pt_wire_put_u64(body.credit, 0);
        PT_REQUIRE((pt_ack_decode((struct peat_bytes){&body, sizeof(body)}, &ack) == NULL) ==
                   cases[i].good);
    }
}

static void an_encoder_writes_no_more_than_its_buffer_has(void **state)
{
    static uint8_t body[PT_HELLO_SIZE_MAX];
    struct pt_hello hello = hello_plain();
    struct pt_welcome welcome = welcome_plain();
    struct pt_bye bye = {PT_BYE_ERROR, pt_text("why")};
    size_t size;
    size_t ignored = 77;
    (void)state;

    assert_null(pt_hello_encode(&hello, body, sizeof(body), &size));
    assert_null(pt_hello_encode(&hello, body, size, &size));
    assert_non_null(pt_hello_encode(&hello, body, size - 1, &ignored));
    assert_null(pt_welcome_encode(&welcome, body, sizeof(body), &size));
    assert_non_null(pt_welcome_encode(&welcome, body, size - 1, &ignored));
    assert_null(pt_bye_encode(&bye, body, 5, &size));
    assert_non_null(pt_bye_encode(&bye, body, 4, &ignored));
    assert_int_equal(ignored, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_that_is_decoded_and_encoded_has_the_same_bytes),
        cmocka_unit_test(a_body_that_is_cut_short_is_refused_wherever_it_is_cut),
        cmocka_unit_test(bytes_behind_a_body_s_end_are_refused),
        cmocka_unit_test(types_that_there_are_have_names),
        cmocka_unit_test(a_hello_says_what_was_put_into_it),
        cmocka_unit_test(a_welcome_says_what_was_put_into_it),
        cmocka_unit_test(the_small_messages_say_what_was_put_into_them),
        cmocka_unit_test(bytes_lie_where_the_format_says),
        cmocka_unit_test(a_hello_has_known_flags_and_a_name_in_its_bounds),
        cmocka_unit_test(a_hello_wants_no_state_unless_it_takes_one),
        cmocka_unit_test(epochs_ascend_and_are_no_more_than_the_limit),
        cmocka_unit_test(numbers_of_a_position_are_below_2_to_the_63),
        cmocka_unit_test(verdicts_and_codes_are_known_ones),
        cmocka_unit_test(words_are_printable_and_no_longer_than_the_limit),
        cmocka_unit_test(an_ack_s_commits_are_in_order),
        cmocka_unit_test(an_encoder_writes_no_more_than_its_buffer_has),
    };
    int failed;

    pt_test_start();
    dice.state = pt_test_seed();
    failed = cmocka_run_group_tests_name("message", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

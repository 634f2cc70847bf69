/*
 * What one end of a channel hands out is what the other end was given, in the same order, or nothing from some frame on.
 */
#include "repl/channel.h"
#include "tests/support.h"

#include <inttypes.h>
#include <malloc.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FRAMES = 6, STREAM_MAX = 4 << 20, NOW = 1000000, OPENING_SIZE = 80, ANSWER_SIZE = 48 };

static const struct pt_channel_key keys[] = {{.id = "first", .secret = "one"},
                                             {.id = "second", .secret = "two"},
                                             {.id = "first", .secret = "not one"}};

struct pair {
    struct pt_channel *dialer;
    struct pt_channel *listener;
};

static struct pt_channel *channel_new(enum pt_channel_role role, const struct pt_channel_key *key,
                                      size_t count)
{
    struct pt_channel *channel;

    PT_REQUIRE_OK(pt_channel_open(role, key, count, NOW, &channel));
    return channel;
}

/* Hand @p size bytes to @p to; what became of the last call. */
static enum peat_status give(struct pt_channel *to, const uint8_t *bytes, size_t size,
                             struct pt_frame *frame_out)
{
    const char *why = NULL;
    size_t taken;
    enum peat_status status = pt_channel_receive(to, bytes, size, &taken, frame_out, &why);

    if (status < 0)
        PT_REQUIRE(why != NULL);
    else if (status == PEAT_DONE)
        PT_REQUIRE(taken == size);
    return status;
}

/* All that @p from has to say goes to @p to, which is to hand out nothing. */
static enum peat_status pass(struct pt_channel *from, struct pt_channel *to)
{
    struct peat_bytes output = pt_channel_output(from);
    struct pt_frame frame;
    enum peat_status status = give(to, output.data, output.size, &frame);

    pt_channel_output_taken(from, output.size);
    return status;
}

static struct pair pair_new(void)
{
    struct pair pair = {channel_new(PT_CHANNEL_DIALER, &keys[1], 1),
                        channel_new(PT_CHANNEL_LISTENER, keys, 2)};

    PT_REQUIRE_STATUS(pass(pair.dialer, pair.listener), PEAT_DONE);
    PT_REQUIRE(pt_channel_is_ready(pair.listener) && !pt_channel_is_ready(pair.dialer));
    PT_REQUIRE_STATUS(pass(pair.listener, pair.dialer), PEAT_DONE);
    PT_REQUIRE(pt_channel_is_ready(pair.dialer));
    return pair;
}

static void pair_free(struct pair *pair)
{
    pt_channel_close(pair->dialer);
    pt_channel_close(pair->listener);
}

static void body_of(unsigned number, uint8_t *bytes, size_t *size_out)
{
    static const size_t sizes[FRAMES] = {0, 1, 100, 5000, 70000, PT_FRAME_BODY_MAX};

    *size_out = sizes[number % FRAMES];
    pt_value_fill(number + 1, bytes, *size_out);
}

static void send_frame(struct pt_channel *channel, unsigned number)
{
    static uint8_t bytes[PT_FRAME_BODY_MAX];
    struct peat_bytes pieces[3];
    size_t size;

    body_of(number, bytes, &size);
    pieces[0] = (struct peat_bytes){bytes, size / 3};
    pieces[1] = (struct peat_bytes){NULL, 0};
    pieces[2] = (struct peat_bytes){bytes + size / 3, size - size / 3};
    PT_REQUIRE_OK(pt_channel_send(channel, (uint8_t)(number + 1), pieces, 3, NOW));
}

static void require_frame(const struct pt_frame *frame, unsigned number)
{
    static uint8_t bytes[PT_FRAME_BODY_MAX];
    size_t size;

    body_of(number, bytes, &size);
    assert_int_equal(frame->type, number + 1);
    assert_int_equal(frame->body.size, size);
    if (size > 0)
        assert_memory_equal(frame->body.data, bytes, size);
}

/* Give bytes in pieces of up to @p max; how many frames came out, each the next one; *status_out: how it ended. */
static unsigned take_all(struct pt_channel *channel, const uint8_t *bytes, size_t size, size_t max,
                         struct pt_dice *dice, enum peat_status *status_out)
{
    unsigned count = 0;

    *status_out = PEAT_DONE;
    while (size > 0 && *status_out >= 0) {
        size_t piece = 1 + pt_dice_below(dice, max);
        const char *why = NULL;
        struct pt_frame frame;
        size_t taken;

        if (piece > size)
            piece = size;
        *status_out = pt_channel_receive(channel, bytes, piece, &taken, &frame, &why);
        if (*status_out == PEAT_OK)
            require_frame(&frame, count++);
        bytes += taken;
        size -= taken;
    }
    return count;
}

/* A whole session of the dialer's direction, recorded behind its handshake. */
static size_t session_record(struct pair *pair, unsigned count, uint8_t *stream)
{
    struct peat_bytes output;

    for (unsigned i = 0; i < count; i++)
        send_frame(pair->dialer, i);
    PT_REQUIRE_OK(pt_channel_finish(pair->dialer));
    output = pt_channel_output(pair->dialer);
    PT_REQUIRE(output.size <= STREAM_MAX);
    memcpy(stream, output.data, output.size);
    return output.size;
}

static void frames_come_out_as_they_went_in(void **state)
{
    static uint8_t stream[STREAM_MAX];
    struct pt_dice dice = {pt_test_seed()};
    static const size_t sizes[] = {1, 100, 100000};
    (void)state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct pair pair = pair_new();
        size_t size = session_record(&pair, sizes[i] == 1 ? FRAMES - 1 : FRAMES, stream);
        enum peat_status status;

        assert_int_equal(take_all(pair.listener, stream, size, sizes[i], &dice, &status),
                         sizes[i] == 1 ? FRAMES - 1 : FRAMES);
        assert_int_equal(status, PEAT_DONE);
        assert_true(pt_channel_has_ended(pair.listener));
        send_frame(pair.listener, 0); /* the other direction goes on */
        PT_REQUIRE_STATUS(pt_channel_send(pair.dialer, 1, NULL, 0, NOW), PEAT_INVALID);
        pair_free(&pair);
    }
}

/* The keys of a pair are its own: a listener that is to see changed bytes is a copy of it, by its handshake's
 * beginning anew. So each case has a pair of its own. */
static void from_a_changed_byte_on_nothing_comes_out(void **state)
{
    static uint8_t stream[STREAM_MAX];
    struct pt_dice dice = {pt_test_seed()};
    enum { FEW = 4 };
    struct pair first = pair_new();
    size_t size = session_record(&first, FEW, stream);
    (void)state;

    pair_free(&first);
    for (size_t at = 0; at < size; at += at < 200 || at + 100 > size ? 1 : 97) {
        struct pair pair = pair_new();
        enum peat_status status;
        unsigned count;

        PT_REQUIRE(session_record(&pair, FEW, stream) == size);
        stream[at] ^= (uint8_t)(1u << pt_dice_below(&dice, 8));
        count = take_all(pair.listener, stream, size, 1000, &dice, &status);
        assert_true(count < FEW || at + 32 >= size); /* the last one is 32 bytes */
        assert_true(status < 0 || !pt_channel_has_ended(pair.listener));
        assert_int_equal(give(pair.listener, stream, 0, &(struct pt_frame){0}) < 0, status < 0);
        pair_free(&pair);
    }
}

static void a_stream_that_was_cut_has_not_ended(void **state)
{
    static uint8_t stream[STREAM_MAX];
    struct pt_dice dice = {pt_test_seed()};
    struct pair pair = pair_new();
    size_t size = session_record(&pair, 3, stream);
    enum peat_status status;
    (void)state;

    for (size_t at = 0; at < size; at++) { /* byte by byte: it goes on where it was */
        assert_false(pt_channel_has_ended(pair.listener));
        (void)take_all(pair.listener, stream + at, 0, 1, &dice, &status);
        if (at == 0) {
            const char *why;
            struct pt_frame frame;
            size_t taken;

            PT_REQUIRE(pt_channel_receive(pair.listener, stream, 1, &taken, &frame, &why) ==
                       PEAT_DONE);
        } else {
            (void)give(pair.listener, stream + at, 1, &(struct pt_frame){0});
        }
    }
    assert_true(pt_channel_has_ended(pair.listener));
    pair_free(&pair);
}

static void a_recorded_session_is_refused_whole_spliced_or_in_another_order(void **state)
{
    static uint8_t stream[STREAM_MAX];
    uint8_t opening[OPENING_SIZE];
    struct pt_channel *dialer = channel_new(PT_CHANNEL_DIALER, &keys[0], 1);
    struct pt_channel *listener = channel_new(PT_CHANNEL_LISTENER, keys, 2);
    struct pair recorded = {dialer, listener};
    struct pair other;
    struct pt_frame frame;
    enum { FRAME_SIZE = 32 + 1 };
    size_t size;
    (void)state;

    assert_int_equal(pt_channel_output(dialer).size, OPENING_SIZE);
    memcpy(opening, pt_channel_output(dialer).data, OPENING_SIZE);
    PT_REQUIRE_STATUS(pass(dialer, listener), PEAT_DONE);
    assert_int_equal(pt_channel_output(listener).size, ANSWER_SIZE);
    PT_REQUIRE_STATUS(pass(listener, dialer), PEAT_DONE);
    size = session_record(&recorded, 2, stream);
    pair_free(&recorded);

    /* Whole: the opening is taken, for it proves nothing yet; what follows is for another key. */
    listener = channel_new(PT_CHANNEL_LISTENER, keys, 2);
    assert_int_equal(give(listener, opening, sizeof(opening), &frame), PEAT_DONE);
    assert_int_equal(give(listener, stream, size, &frame), PEAT_CORRUPT);
    pt_channel_close(listener);
    /* Behind another handshake. */
    other = pair_new();
    assert_int_equal(give(other.listener, stream, size, &frame), PEAT_CORRUPT);
    pair_free(&other);
    /* A frame left out, and one twice. */
    other = pair_new();
    size = session_record(&other, 2, stream);
    assert_int_equal(give(other.listener, stream + 32, size - 32, &frame), PEAT_CORRUPT);
    pair_free(&other);
    other = pair_new();
    (void)session_record(&other, 2, stream);
    assert_int_equal(give(other.listener, stream, 32, &frame), PEAT_OK);
    assert_int_equal(give(other.listener, stream, 32, &frame), PEAT_CORRUPT);
    pair_free(&other);
    /* What a side has said itself. */
    other = pair_new();
    size = session_record(&other, 1, stream);
    assert_int_equal(give(other.dialer, stream, size, &frame), PEAT_CORRUPT);
    pair_free(&other);
}

static void who_has_no_key_of_ours_gets_no_answer(void **state)
{
    static const struct pt_channel_key unknown = {.id = "third", .secret = "three"};
    const struct pt_channel_key *theirs[] = {&unknown, &keys[2], NULL};
    struct pt_frame frame;
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        struct pt_channel *dialer =
            channel_new(PT_CHANNEL_DIALER, theirs[i], theirs[i] == NULL ? 0 : 1);
        struct pt_channel *listener = channel_new(PT_CHANNEL_LISTENER, keys, 2);

        assert_int_equal(pass(dialer, listener), PEAT_DENIED);
        assert_int_equal(pt_channel_output(listener).size, 0);
        assert_false(pt_channel_is_ready(listener));
        pt_channel_close(dialer);
        pt_channel_close(listener);
    }
    for (size_t at = 0; at < OPENING_SIZE; at++) {
        struct pt_channel *dialer = channel_new(PT_CHANNEL_DIALER, &keys[0], 1);
        struct pt_channel *listener = channel_new(PT_CHANNEL_LISTENER, keys, 2);
        uint8_t opening[OPENING_SIZE];

        memcpy(opening, pt_channel_output(dialer).data, OPENING_SIZE);
        opening[at] ^= 0x20;
        assert_int_equal(give(listener, opening, sizeof(opening), &frame), at < 8    ? PEAT_CORRUPT
                                                                           : at < 16 ? PEAT_VERSION
                                                                                     : PEAT_DENIED);
        assert_int_equal(pt_channel_output(listener).size, 0);
        pt_channel_close(dialer);
        pt_channel_close(listener);
    }
}

static void frames_that_cannot_be_are_refused_before_they_have_come(void **state)
{
    static const uint8_t heads[][16] = {
        {1, 0, 0x10, 0, 1},          /* one byte more than there may be */
        {0xff, 0xff, 0xff, 0xff, 1}, /* 4 GiB */
        {1, 0, 0, 0, 1, 4},          /* an unknown flag */
        {1, 0, 0, 0, 1, 0, 1},       /* no zeros */
        {1, 0, 0, 0, 1, 0, 0, 0, 1}, /* the second as the first */
    };
    static uint8_t large[PT_FRAME_BODY_MAX + 1];
    struct peat_bytes piece = {large, sizeof(large)};
    struct pt_frame frame;
    struct pair pair;
    (void)state;

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        pair = pair_new();
        assert_int_equal(give(pair.listener, heads[i], sizeof(heads[i]), &frame), PEAT_CORRUPT);
        pair_free(&pair);
    }
    pair = pair_new();
    PT_REQUIRE_STATUS(pt_channel_send(pair.dialer, 1, &piece, 1, NOW), PEAT_INVALID);
    pair_free(&pair);
}

static void keys_are_changed_after_so_many_frames_and_after_an_hour(void **state)
{
    static uint8_t stream[STREAM_MAX];
    struct pt_dice dice = {pt_test_seed()};
    struct pair pair = {channel_new(PT_CHANNEL_DIALER, &keys[1], 1),
                        channel_new(PT_CHANNEL_LISTENER, keys, 2)};
    struct peat_bytes output;
    enum peat_status status;
    uint64_t now_us = NOW;
    unsigned changed = 0;
    size_t place = 0;
    (void)state;

    pt_channel_set_rekey(pair.dialer, 3);
    PT_REQUIRE_STATUS(pass(pair.dialer, pair.listener), PEAT_DONE);
    PT_REQUIRE_STATUS(pass(pair.listener, pair.dialer), PEAT_DONE);
    for (unsigned i = 0; i < FRAMES - 1; i++)
        send_frame(pair.dialer, i);
    output = pt_channel_output(pair.dialer);
    memcpy(stream, output.data, output.size);
    for (unsigned i = 0; i < FRAMES - 1; i++) {
        uint32_t size;

        memcpy(&size, stream + place, sizeof(size));
        changed += stream[place + 5] & PT_FRAME_REKEY;
        place += 32 + size;
    }
    assert_int_equal(changed, 1);
    assert_int_equal(take_all(pair.listener, stream, output.size, 500, &dice, &status), FRAMES - 1);
    pair_free(&pair);

    pair = pair_new();
    for (unsigned i = 0; i < 3; i++) {
        PT_REQUIRE_OK(pt_channel_send(pair.dialer, 1, NULL, 0, now_us));
        output = pt_channel_output(pair.dialer);
        assert_int_equal(((const uint8_t *)output.data)[5] & PT_FRAME_REKEY, i > 0);
        assert_int_equal(give(pair.listener, output.data, output.size, &(struct pt_frame){0}),
                         PEAT_OK);
        pt_channel_output_taken(pair.dialer, output.size);
        now_us += UINT64_C(3600000000);
    }
    PT_REQUIRE_OK(pt_channel_send(pair.dialer, 1, NULL, 0, now_us - 1)); /* the hour is not over */
    assert_int_equal(((const uint8_t *)pt_channel_output(pair.dialer).data)[5], 0);
    pair_free(&pair);
}

/* ---- What strangers and the network may do ---- */

static void after_any_changed_bit_no_frame_comes_out_of_turn(void **state)
{
    static uint8_t stream[STREAM_MAX];
    enum { FEW = 3, SIZE = 4 * 32 + 101 };
    static const size_t ends[] = {32, 32 + 33, 32 + 33 + 132}; /* of the frames */
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (size_t bit = 0; bit < 8 * (size_t)SIZE; bit++) {
        struct pair pair = pair_new();
        size_t size = session_record(&pair, FEW, stream);
        unsigned whole = 0; /* frames before the changed bit */
        enum peat_status status;

        assert_int_equal(size, SIZE);
        while (whole < FEW && ends[whole] <= bit / 8)
            whole++;
        stream[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(take_all(pair.listener, stream, size, 60, &dice, &status), whole);
        assert_false(pt_channel_has_ended(pair.listener));
        /* What is right again does not heal it. */
        stream[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(take_all(pair.listener, stream, size, 60, &dice, &status), 0);
        pair_free(&pair);
    }
}

static void frames_in_another_order_are_refused(void **state)
{
    static uint8_t stream[STREAM_MAX];
    enum { FRAME = 32, COUNT = 4 };
    (void)state;

    for (size_t first = 0; first < COUNT; first++) {
        for (size_t second = 0; second < COUNT; second++) {
            struct pair pair = pair_new();
            struct pt_frame frame;

            for (size_t i = 0; i < COUNT; i++)
                PT_REQUIRE_OK(pt_channel_send(pair.dialer, 1, NULL, 0, NOW));
            memcpy(stream, pt_channel_output(pair.dialer).data, COUNT * FRAME);
            assert_int_equal(give(pair.listener, stream + first * FRAME, FRAME, &frame),
                             first == 0 ? PEAT_OK : PEAT_CORRUPT);
            assert_int_equal(give(pair.listener, stream + second * FRAME, FRAME, &frame),
                             first == 0 && second == 1 ? PEAT_OK : PEAT_CORRUPT);
            pair_free(&pair);
        }
    }
}

static void an_answer_with_a_changed_bit_is_refused(void **state)
{
    struct pt_frame frame;
    (void)state;

    for (size_t bit = 0; bit < 8 * (size_t)ANSWER_SIZE; bit++) {
        struct pt_channel *dialer = channel_new(PT_CHANNEL_DIALER, &keys[0], 1);
        struct pt_channel *listener = channel_new(PT_CHANNEL_LISTENER, keys, 2);
        uint8_t answer[ANSWER_SIZE];

        PT_REQUIRE_STATUS(pass(dialer, listener), PEAT_DONE);
        memcpy(answer, pt_channel_output(listener).data, ANSWER_SIZE);
        answer[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(give(dialer, answer, ANSWER_SIZE, &frame), PEAT_DENIED);
        assert_false(pt_channel_is_ready(dialer));
        PT_REQUIRE_STATUS(pt_channel_send(dialer, 1, NULL, 0, NOW), PEAT_INVALID);
        pt_channel_close(dialer);
        pt_channel_close(listener);
    }
}

static void garbage_in_place_of_an_opening_is_refused(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct pt_frame frame;
    (void)state;

    for (unsigned i = 0; i < 200; i++) {
        static const uint8_t zeros[32] = {0};
        struct pt_channel *listener = channel_new(PT_CHANNEL_LISTENER, keys, i % 3);
        uint8_t bytes[2 * OPENING_SIZE];

        /* Ever more of it is as it should be. */
        pt_value_fill(pt_dice_next(&dice), bytes, sizeof(bytes));
        if (i >= 40)
            memcpy(bytes, "peatrepl", 8);
        if (i >= 80)
            memcpy(bytes + 8, "\1\0\0\0\0\0\0\0", 8);
        if (i >= 120)
            memcpy(bytes + 16, i % 3 == 0 ? zeros : keys[0].id, PT_KEY_ID_SIZE);
        if (i >= 160)
            memcpy(bytes + 32, zeros, 32);
        assert_true(give(listener, bytes, sizeof(bytes), &frame) < 0);
        assert_false(pt_channel_is_ready(listener) || pt_channel_is_proven(listener));
        assert_int_equal(pt_channel_output(listener).size, 0);
        pt_channel_close(listener);
    }
}

static void an_opening_that_was_recorded_proves_nothing(void **state)
{
    uint8_t opening[OPENING_SIZE];
    struct pair pair = {channel_new(PT_CHANNEL_DIALER, &keys[0], 1),
                        channel_new(PT_CHANNEL_LISTENER, keys, 2)};
    struct pt_channel *listener = channel_new(PT_CHANNEL_LISTENER, keys, 2);
    struct peat_bytes frame_bytes;
    struct pt_frame frame;
    const char *why = NULL;
    size_t taken;
    (void)state;

    memcpy(opening, pt_channel_output(pair.dialer).data, OPENING_SIZE);
    PT_REQUIRE_STATUS(pass(pair.dialer, pair.listener), PEAT_DONE);
    assert_false(pt_channel_is_proven(pair.listener) || pt_channel_is_proven(pair.dialer));
    PT_REQUIRE_STATUS(pass(pair.listener, pair.dialer), PEAT_DONE);
    assert_true(pt_channel_is_proven(pair.dialer));
    PT_REQUIRE_OK(pt_channel_send(pair.dialer, 1, NULL, 0, NOW));
    frame_bytes = pt_channel_output(pair.dialer);
    PT_REQUIRE_OK(give(pair.listener, frame_bytes.data, frame_bytes.size, &frame));
    assert_true(pt_channel_is_proven(pair.listener));

    PT_REQUIRE_STATUS(give(listener, opening, sizeof(opening), &frame), PEAT_DONE);
    assert_true(pt_channel_is_ready(listener));
    assert_false(pt_channel_is_proven(listener));
    assert_int_equal(give(listener, frame_bytes.data, frame_bytes.size, &frame), PEAT_CORRUPT);
    assert_false(pt_channel_is_ready(listener) || pt_channel_is_proven(listener));
    assert_int_equal(pt_channel_receive(listener, "", 1, &taken, &frame, &why), PEAT_CORRUPT);
    assert_null(strstr(why, "memory"));
    pt_channel_close(listener);
    pair_free(&pair);
}

static void an_unknown_id_looks_like_a_wrong_secret(void **state)
{
    static const struct pt_channel_key wrong[] = {{.id = "third", .secret = "one"},
                                                  {.id = "first", .secret = "three"}};
    const char *why[2] = {NULL, NULL};
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        struct pt_channel *dialer = channel_new(PT_CHANNEL_DIALER, &wrong[i], 1);
        struct pt_channel *listener = channel_new(PT_CHANNEL_LISTENER, keys, 2);
        struct peat_bytes opening = pt_channel_output(dialer);
        struct pt_frame frame;
        size_t taken;

        assert_int_equal(
            pt_channel_receive(listener, opening.data, opening.size, &taken, &frame, &why[i]),
            PEAT_DENIED);
        assert_int_equal(taken, OPENING_SIZE);
        assert_int_equal(pt_channel_output(listener).size, 0);
        pt_channel_close(dialer);
        pt_channel_close(listener);
    }
    assert_string_equal(why[0], why[1]);
}

static void what_is_to_come_takes_no_memory(void **state)
{
    static const uint8_t head[16] = {0, 0, 0x10, 0, 1}; /* of a body of 1 MiB */
    static uint8_t body[PT_FRAME_BODY_MAX];
    enum { KIB = 1024 };
    struct pair pair;
    struct pt_channel *listener;
    struct pt_channel *dialer;
    struct pt_frame frame;
    size_t before;
    (void)state;

    if (pt_test_is_sanitized())
        skip(); /* it has an allocator of its own, which mallinfo2() knows nothing of */
    dialer = channel_new(PT_CHANNEL_DIALER, &keys[0], 1);
    before = mallinfo2().uordblks;
    listener = channel_new(PT_CHANNEL_LISTENER, keys, 2);
    PT_REQUIRE_STATUS(give(listener, pt_channel_output(dialer).data, OPENING_SIZE - 1, &frame),
                      PEAT_DONE);
    assert_true(mallinfo2().uordblks - before < 8 * KIB);
    pt_channel_close(listener);
    pt_channel_close(dialer);

    pair = pair_new();
    before = mallinfo2().uordblks;
    PT_REQUIRE_STATUS(give(pair.listener, head, sizeof(head), &frame), PEAT_DONE);
    assert_true(mallinfo2().uordblks - before < KIB);
    for (size_t size = 0; size < 1000 * KIB; size += 50 * KIB) {
        PT_REQUIRE_STATUS(give(pair.listener, body, 50 * KIB, &frame), PEAT_DONE);
        assert_true(mallinfo2().uordblks + mallinfo2().hblkhd - before < 2 * (size + 60 * KIB));
    }
    pair_free(&pair);
}

static void both_directions_change_keys_as_they_please(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned round = 0; round < 30; round++) {
        struct pair pair = {channel_new(PT_CHANNEL_DIALER, &keys[1], 1),
                            channel_new(PT_CHANNEL_LISTENER, keys, 2)};
        struct pt_channel *ends[] = {pair.dialer, pair.listener};
        uint64_t now_us = NOW;
        unsigned changed = 0;

        pt_channel_set_rekey(pair.dialer, 1 + pt_dice_below(&dice, 5));
        pt_channel_set_rekey(pair.listener, 1 + pt_dice_below(&dice, 5));
        PT_REQUIRE_STATUS(pass(pair.dialer, pair.listener), PEAT_DONE);
        PT_REQUIRE_STATUS(pass(pair.listener, pair.dialer), PEAT_DONE);
        for (unsigned i = 0; i < 60; i++) {
            size_t from = pt_dice_below(&dice, 2);
            uint64_t word = pt_dice_next(&dice);
            struct peat_bytes piece = {&word, sizeof(word)};
            struct peat_bytes output;
            struct pt_frame frame;

            if (pt_dice_one_in(&dice, 10))
                now_us += UINT64_C(3600000000);
            PT_REQUIRE_OK(pt_channel_send(ends[from], (uint8_t)i, &piece, 1, now_us));
            output = pt_channel_output(ends[from]);
            changed += ((const uint8_t *)output.data)[5] & PT_FRAME_REKEY;
            PT_REQUIRE_OK(give(ends[1 - from], output.data, output.size, &frame));
            pt_channel_output_taken(ends[from], output.size);
            assert_int_equal(frame.type, i);
            assert_true(pt_same(frame.body, piece));
        }
        assert_true(changed >= 10);
        pair_free(&pair);
    }
}

static void output_that_is_taken_in_pieces_stays_whole(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    static uint8_t stream[STREAM_MAX];
    struct pair pair = pair_new();
    size_t size = 0;
    enum { COUNT = 200 };
    (void)state;

    for (unsigned i = 0; i < COUNT; i++) {
        send_frame(pair.dialer, i % (FRAMES - 2));
        for (uint64_t k = pt_dice_below(&dice, 4); k > 0; k--) {
            struct peat_bytes output = pt_channel_output(pair.dialer);
            size_t piece = pt_dice_below(&dice, output.size + 1);

            memcpy(stream + size, output.data, piece);
            pt_channel_output_taken(pair.dialer, piece);
            size += piece;
        }
    }
    memcpy(stream + size, pt_channel_output(pair.dialer).data, pt_channel_output(pair.dialer).size);
    size += pt_channel_output(pair.dialer).size;
    for (unsigned i = 0; i < COUNT; i++) {
        struct pt_frame frame;
        uint32_t body_size;

        memcpy(&body_size, stream, sizeof(body_size));
        PT_REQUIRE_OK(give(pair.listener, stream, 32 + body_size, &frame));
        require_frame(&frame, i % (FRAMES - 2));
        memmove(stream, stream + 32 + body_size, size -= 32 + body_size);
    }
    assert_int_equal(size, 0);
    pair_free(&pair);
}

static void a_last_frame_says_nothing_and_is_the_last(void **state)
{
    static const uint8_t heads[][16] = {{0, 0, 0, 0, 1, PT_FRAME_LAST},
                                        {1, 0, 0, 0, 0, PT_FRAME_LAST}};
    struct peat_bytes huge[2] = {{"", SIZE_MAX}, {"", 2}}; /* 1 in all, if one cannot add up */
    struct pt_frame frame;
    struct pair pair;
    (void)state;

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        pair = pair_new();
        assert_int_equal(give(pair.listener, heads[i], sizeof(heads[i]), &frame), PEAT_CORRUPT);
        pair_free(&pair);
    }
    pair = pair_new();
    PT_REQUIRE_STATUS(pt_channel_send(pair.dialer, 1, huge, 2, NOW), PEAT_INVALID);
    PT_REQUIRE_OK(pt_channel_finish(pair.dialer));
    PT_REQUIRE_STATUS(pt_channel_finish(pair.dialer), PEAT_INVALID);
    PT_REQUIRE_STATUS(pass(pair.dialer, pair.listener), PEAT_DONE);
    assert_true(pt_channel_has_ended(pair.listener));
    PT_REQUIRE_STATUS(give(pair.listener, heads[0], sizeof(heads[0]), &frame), PEAT_DONE);
    pair_free(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_as_they_went_in),
        cmocka_unit_test(from_a_changed_byte_on_nothing_comes_out),
        cmocka_unit_test(a_stream_that_was_cut_has_not_ended),
        cmocka_unit_test(a_recorded_session_is_refused_whole_spliced_or_in_another_order),
        cmocka_unit_test(who_has_no_key_of_ours_gets_no_answer),
        cmocka_unit_test(frames_that_cannot_be_are_refused_before_they_have_come),
        cmocka_unit_test(keys_are_changed_after_so_many_frames_and_after_an_hour),
        cmocka_unit_test(after_any_changed_bit_no_frame_comes_out_of_turn),
        cmocka_unit_test(frames_in_another_order_are_refused),
        cmocka_unit_test(an_answer_with_a_changed_bit_is_refused),
        cmocka_unit_test(garbage_in_place_of_an_opening_is_refused),
        cmocka_unit_test(an_opening_that_was_recorded_proves_nothing),
        cmocka_unit_test(an_unknown_id_looks_like_a_wrong_secret),
        cmocka_unit_test(what_is_to_come_takes_no_memory),
        cmocka_unit_test(both_directions_change_keys_as_they_please),
        cmocka_unit_test(output_that_is_taken_in_pieces_stays_whole),
        cmocka_unit_test(a_last_frame_says_nothing_and_is_the_last),
    };
    int failed;

    pt_test_start();
    PT_REQUIRE(sodium_init() >= 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

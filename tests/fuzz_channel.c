/*
 * Target: bytes as they come to a listener: any at all, from the opening on; and, behind a right handshake, frames under the
 * right key whose heads, counters and tags are right or forged.
 */
#include "repl/channel.h"
#include "repl/le.h"
#include "repl/noise.h"
#include "tests/fuzz.h"

#include <string.h>

/* What an input's first byte asks for. Its second: how many bytes the listener gets at once; 0: all. */
enum mode { STRANGER, PEER, MODES };

/* What is not as it should be with a frame: the bits of its first byte. Then come type and flags, and the bytes that
 * take the place of what is forged; then the body's size in a byte, and the body. */
enum { SIZE_FORGED = 1, COUNTER_FORGED = 2, TAG_FORGED = 4, ZEROS_FORGED = 8, LONG = 16 };

enum { LEAD = 2, INPUT_MAX = 4096, BODY_MAX = 255 * 257, NOW = 1 };

static const struct pt_channel_key key = {.id = "fuzz", .secret = "known to the target"};
static const uint8_t dialers_secret[PT_NOISE_KEY_SIZE] = "a key that is always the same";

struct run {
    struct pt_channel *listener;
    size_t piece_max; /* bytes at once; 0: all */
    uint64_t frames;  /* that were sent */
    bool is_refused;  /* or waits for what never comes: nothing may come out any more */
    bool has_ended;
};

/* The dialer's opening, and its side of the handshake. */
static void opening_make(struct pt_wire_opening *opening, struct pt_noise *noise)
{
    memset(opening, 0, sizeof(*opening));
    memcpy(opening->magic, PT_WIRE_MAGIC, sizeof(opening->magic));
    pt_wire_put_u32(opening->version, PT_WIRE_VERSION);
    memcpy(opening->key_id, key.id, sizeof(opening->key_id));
    pt_noise_begin(noise, true, key.secret, (struct peat_bytes){opening, PT_WIRE_PROLOGUE_SIZE},
                   dialers_secret);
    PT_REQUIRE_OK(pt_noise_write(noise, (struct peat_bytes){NULL, 0}, opening->noise));
}

/* Hand the bytes to the listener; whether a frame came out, and nothing behind it was left. */
static bool give(struct run *run, const uint8_t *bytes, size_t size, struct pt_frame *frame_out)
{
    enum peat_status status = PEAT_DONE;

    while (size > 0 && status == PEAT_DONE) {
        size_t piece = run->piece_max == 0 || size < run->piece_max ? size : run->piece_max;
        const char *why = NULL;
        size_t taken = SIZE_MAX;

        status = pt_channel_receive(run->listener, bytes, piece, &taken, frame_out, &why);
        PT_REQUIRE(taken <= piece && (status >= 0 || why != NULL));
        PT_REQUIRE(status != PEAT_DONE || taken == piece || pt_channel_has_ended(run->listener));
        bytes += taken;
        size -= taken;
    }
    PT_REQUIRE(status != PEAT_OK || size == 0);
    if (status < 0) {
        run->is_refused = true;
        PT_REQUIRE(!pt_channel_is_ready(run->listener));
    }
    return status == PEAT_OK;
}

/* ---- A stranger ---- */

/* It may have recorded an opening, and nothing more. */
static void stranger_run(struct run *run, struct pt_fuzz_input *input)
{
    struct pt_frame frame;

    PT_REQUIRE(!give(run, input->data, input->size, &frame));
    PT_REQUIRE(!pt_channel_is_proven(run->listener) && !pt_channel_has_ended(run->listener));
    if (!pt_channel_is_ready(run->listener) && !run->is_refused)
        PT_REQUIRE(pt_channel_output(run->listener).size == 0);
}

/* ---- A peer that has the key ---- */

static size_t body_make(struct pt_fuzz_input *input, unsigned forged, uint8_t *body)
{
    size_t size = pt_fuzz_byte(input);

    for (size_t i = 0; i < size; i++)
        body[i] = pt_fuzz_byte(input);
    if ((forged & LONG) == 0)
        return size;
    pt_value_fill(size, body, size * 257);
    return size * 257;
}

/* What the format says of a head whose tag is right, all but its size. */
static bool head_is_right(const struct run *run, const struct pt_wire_frame *head, size_t size)
{
    bool is_last = (head->flags & PT_FRAME_LAST) != 0;

    return pt_wire_u32(head->body_size) == size && pt_wire_u64(head->counter) == run->frames &&
           head->flags <= (PT_FRAME_REKEY | PT_FRAME_LAST) && head->zeros[0] == 0 &&
           head->zeros[1] == 0 && (!is_last || (head->type == 0 && size == 0));
}

struct made {
    struct pt_wire_frame head;
    size_t body_size;
    uint8_t tag_change; /* 0: the tag is right */
    uint8_t body[BODY_MAX];
    uint8_t bytes[sizeof(struct pt_wire_frame) + BODY_MAX + PT_FRAME_TAG_SIZE];
};

static void frame_make(const struct run *run, struct pt_fuzz_input *input,
                       struct pt_noise_cipher *cipher, struct made *made)
{
    unsigned forged = pt_fuzz_byte(input);
    uint32_t size_forged;
    uint64_t counter;

    made->head = (struct pt_wire_frame){.type = pt_fuzz_byte(input)};
    made->head.flags = pt_fuzz_byte(input);
    size_forged = (forged & SIZE_FORGED) != 0 ? (uint32_t)pt_fuzz_number(input, 4) : 0;
    counter = (forged & COUNTER_FORGED) != 0 ? pt_fuzz_number(input, 8) : run->frames;
    made->tag_change = (forged & TAG_FORGED) != 0 ? pt_fuzz_byte(input) : 0;
    for (size_t i = 0; (forged & ZEROS_FORGED) != 0 && i < sizeof(made->head.zeros); i++)
        made->head.zeros[i] = pt_fuzz_byte(input);
    made->body_size = body_make(input, forged, made->body);
    pt_wire_put_u32(made->head.body_size,
                    (forged & SIZE_FORGED) != 0 ? size_forged : (uint32_t)made->body_size);
    pt_wire_put_u64(made->head.counter, counter);
    memcpy(made->bytes, &made->head, sizeof(made->head));
    memcpy(made->bytes + sizeof(made->head), made->body, made->body_size);
    pt_noise_encrypt(cipher, (struct peat_bytes){&made->head, sizeof(made->head)},
                     made->bytes + sizeof(made->head), made->body_size);
    made->bytes[sizeof(made->head) + made->body_size + made->tag_change % PT_FRAME_TAG_SIZE] ^=
        made->tag_change;
}

static void frame_run(struct run *run, struct pt_fuzz_input *input, struct pt_noise_cipher *cipher)
{
    static struct made made;
    bool was_good = !run->is_refused && !run->has_ended;
    bool is_right, is_last;
    struct pt_frame frame;

    frame_make(run, input, cipher, &made);
    is_last = (made.head.flags & PT_FRAME_LAST) != 0;
    is_right = was_good && made.tag_change == 0 && head_is_right(run, &made.head, made.body_size);
    if (give(run, made.bytes, sizeof(made.head) + made.body_size + PT_FRAME_TAG_SIZE, &frame)) {
        PT_REQUIRE(is_right && !is_last && frame.type == made.head.type);
        PT_REQUIRE(pt_same(frame.body, (struct peat_bytes){made.body, made.body_size}));
    } else {
        PT_REQUIRE(!is_right || is_last);
    }
    if (was_good && pt_wire_u32(made.head.body_size) > PT_FRAME_BODY_MAX)
        PT_REQUIRE(run->is_refused); /* at once, not when so much has come */
    run->is_refused = run->is_refused || (was_good && !is_right);
    run->has_ended = run->has_ended || (is_right && is_last);
    PT_REQUIRE(pt_channel_has_ended(run->listener) == run->has_ended);
    run->frames++;
    if ((made.head.flags & PT_FRAME_REKEY) != 0)
        pt_noise_rekey(cipher);
}

static void peer_run(struct run *run, struct pt_fuzz_input *input)
{
    struct pt_wire_opening opening;
    struct pt_noise_cipher sending;
    struct pt_noise_cipher receiving;
    struct pt_noise noise;
    struct peat_bytes answer;
    uint8_t nothing[PT_NOISE_TAG_SIZE];
    struct pt_frame frame;

    opening_make(&opening, &noise);
    PT_REQUIRE(!give(run, (const uint8_t *)&opening, sizeof(opening), &frame));
    answer = pt_channel_output(run->listener);
    PT_REQUIRE_OK(pt_noise_read(&noise, answer, nothing));
    pt_noise_split(&noise, &sending, &receiving);
    while (input->size > 0)
        frame_run(run, input, &sending);
}

static void run_input(const uint8_t *data, size_t size)
{
    struct pt_fuzz_input input = {data, size};
    enum mode mode = pt_fuzz_byte(&input) % MODES;
    struct run run = {.piece_max = pt_fuzz_byte(&input)};

    PT_REQUIRE_OK(pt_channel_open(PT_CHANNEL_LISTENER, &key, 1, NOW, &run.listener));
    if (mode == STRANGER)
        stranger_run(&run, &input);
    else
        peer_run(&run, &input);
    pt_channel_close(run.listener);
}

static void seeds(void (*give_input)(void *context, const void *data, size_t size), void *context)
{
    static const uint8_t peers[][40] = {
        {PEER, 0, 0, 1, 0, 3, 'o', 'n', 'e', 0, 2, PT_FRAME_REKEY, 0, LONG, 3, 0, 2},
        {PEER, 1, 0, 1, 0, 0, 0, 0, PT_FRAME_LAST, 0, 0, 1, 0, 0},
        {PEER, 7, SIZE_FORGED, 1, 0, 1, 0, 0x10, 0, 0, 0, 1, 0, 0},
        {PEER, 9, COUNTER_FORGED, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
        {PEER, 0, TAG_FORGED, 1, 0, 0x80, 0, ZEROS_FORGED, 1, 0, 0, 1, 0},
    };
    struct {
        uint8_t lead[LEAD];
        struct pt_wire_opening opening;
        uint8_t frame[sizeof(struct pt_wire_frame) + PT_FRAME_TAG_SIZE];
    } stranger = {.lead = {STRANGER, 0}};
    struct pt_noise noise;

    opening_make(&stranger.opening, &noise);
    give_input(context, &stranger, sizeof(stranger));
    stranger.lead[1] = 1;
    stranger.opening.noise[0] ^= 1;
    give_input(context, &stranger, sizeof(stranger));
    give_input(context, &stranger, LEAD + 79);
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
        give_input(context, peers[i], sizeof(peers[i]));
}

const struct pt_fuzz_target pt_fuzz_channel = {
    .name = "channel",
    .sentence = "of forged openings and frames a listener hands out what was sent, or nothing more",
    .size_max = INPUT_MAX,
    .run = run_input,
    .seeds = seeds};

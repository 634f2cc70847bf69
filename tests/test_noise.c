/*
 * The handshake does what the Noise specification says, and what is not by who has the key is refused. The vector is that of
 * Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b in cacophony's published ones (github.com/haskell-cryptography/cacophony,
 * vectors/cacophony.txt).
 */
#include "repl/noise.h"
#include "tests/support.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES_MAX = 256, MESSAGES = 6 };

struct bytes {
    uint8_t data[BYTES_MAX];
    size_t size;
};

static struct bytes from_hex(const char *digits)
{
    struct bytes bytes;

    PT_REQUIRE(sodium_hex2bin(bytes.data, sizeof(bytes.data), digits, strlen(digits), NULL,
                              &bytes.size, NULL) == 0);
    return bytes;
}

static struct peat_bytes view(const struct bytes *bytes)
{
    return (struct peat_bytes){bytes->data, bytes->size};
}

/* ---- The vector ---- */

#define PROLOGUE  "4a6f686e2047616c74"
#define PSK       "54686973206973206d7920417573747269616e20706572737065637469766521"
#define DIALERS   "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"
#define LISTENERS "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"

static const struct {
    const char *payload;
    const char *text;
} messages[MESSAGES] = {
    {"4c756477696720766f6e204d69736573",
     "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
     "ed63df2f5a12aee1185ee9c50305f2ecf12421dcb53c047a63b784cf7c54a105"},
    {"4d757272617920526f746862617264",
     "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
     "0e0fe7d5c0c9b92f7478716c8852f1b4f389edb75e3ebe546fafafd5b6f0f7"},
    {"462e20412e20486179656b", "0fe04b26dcfbb69f8a6a94c61f1a26ef88769218d32f5d17c068a6"},
    {"4361726c204d656e676572", "2239e0c540c01f09eb1f4cc5258fd5acfefff18a5a3773f21b7bfe"},
    {"4a65616e2d426170746973746520536179",
     "f216cb03d30fb8af1e561fe02a07552d09b416e27a75e62c77d193718b0bdaae9f"},
    {"457567656e2042f6686d20766f6e2042617765726b",
     "6e8baf98b944184dd7dc5ef14d8108cbeca626de118a5460f3308e294d61e17238bce29bd9"}};

struct pair {
    struct pt_noise dialer;
    struct pt_noise listener;
};

static struct pair pair_begin(const char *dialers_psk, const char *listeners_psk,
                              const char *dialers_prologue, const char *listeners_prologue)
{
    struct bytes psks[] = {from_hex(dialers_psk), from_hex(listeners_psk)};
    struct bytes prologues[] = {from_hex(dialers_prologue), from_hex(listeners_prologue)};
    struct bytes secrets[] = {from_hex(DIALERS), from_hex(LISTENERS)};
    struct pair pair;

    pt_noise_begin(&pair.dialer, true, psks[0].data, view(&prologues[0]), secrets[0].data);
    pt_noise_begin(&pair.listener, false, psks[1].data, view(&prologues[1]), secrets[1].data);
    return pair;
}

/* The handshake's message @p number. */
static void require_message(unsigned number, struct pt_noise *writer, struct pt_noise *reader)
{
    struct bytes payload = from_hex(messages[number].payload);
    struct bytes text = from_hex(messages[number].text);
    uint8_t written[BYTES_MAX];
    uint8_t read[BYTES_MAX];

    PT_REQUIRE_OK(pt_noise_write(writer, view(&payload), written));
    assert_int_equal(text.size, payload.size + PT_NOISE_MESSAGE_SIZE);
    assert_memory_equal(written, text.data, text.size);
    PT_REQUIRE_OK(pt_noise_read(reader, view(&text), read));
    assert_memory_equal(read, payload.data, payload.size);
}

static void the_published_vector_comes_out(void **state)
{
    struct pair pair = pair_begin(PSK, PSK, PROLOGUE, PROLOGUE);
    struct pt_noise_cipher ends[2][2]; /* of each end: the dialer's direction, the listener's */
    struct peat_bytes nothing = {NULL, 0};
    (void)state;

    require_message(0, &pair.dialer, &pair.listener);
    require_message(1, &pair.listener, &pair.dialer);
    pt_noise_split(&pair.dialer, &ends[0][0], &ends[0][1]);
    pt_noise_split(&pair.listener, &ends[1][0], &ends[1][1]);
    for (unsigned i = 2; i < MESSAGES; i++) {
        struct bytes payload = from_hex(messages[i].payload);
        struct bytes text = from_hex(messages[i].text);
        struct bytes made = payload;

        pt_noise_encrypt(&ends[i % 2][i % 2], nothing, made.data, payload.size);
        assert_memory_equal(made.data, text.data, text.size);
        assert_true(pt_noise_decrypt(&ends[1 - i % 2][i % 2], nothing, made.data, payload.size));
        assert_memory_equal(made.data, payload.data, payload.size);
    }
}

/* ---- Others ---- */

/* @p flipped: number of the byte that is changed on the way, BYTES_MAX: none. */
static bool first_is_taken(struct pair pair, size_t flipped)
{
    struct bytes text = from_hex(messages[0].text);
    uint8_t read[BYTES_MAX];

    if (flipped < text.size && flipped < BYTES_MAX)
        text.data[flipped] ^= 1;
    return pt_noise_read(&pair.listener, view(&text), read) == PEAT_OK;
}

static void another_key_another_prologue_and_every_flipped_byte_are_refused(void **state)
{
    const char *other = "00686973206973206d7920417573747269616e20706572737065637469766521";
    struct pair pair = pair_begin(PSK, PSK, PROLOGUE, PROLOGUE);
    struct bytes text = from_hex(messages[1].text);
    struct bytes payload = from_hex(messages[0].payload);
    uint8_t room[BYTES_MAX];
    (void)state;

    assert_true(first_is_taken(pair, BYTES_MAX));
    assert_false(first_is_taken(pair_begin(PSK, other, PROLOGUE, PROLOGUE), BYTES_MAX));
    assert_false(first_is_taken(pair_begin(PSK, PSK, PROLOGUE, "4a"), BYTES_MAX));
    for (size_t i = 0; i < PT_NOISE_MESSAGE_SIZE + payload.size; i++)
        assert_false(first_is_taken(pair, i));
    PT_REQUIRE_OK(pt_noise_write(&pair.dialer, view(&payload), room));
    for (size_t i = 0; i < text.size; i++) {
        struct pt_noise dialer = pair.dialer;
        struct bytes changed = text;

        changed.data[i] ^= 0x40;
        assert_int_equal(pt_noise_read(&dialer, view(&changed), room), PEAT_DENIED);
    }
    text.size = PT_NOISE_MESSAGE_SIZE - 1;
    assert_int_equal(pt_noise_read(&pair.dialer, view(&text), room), PEAT_DENIED);
}

static void a_key_with_which_everybody_knows_the_secret_is_refused(void **state)
{
    struct pair pair = pair_begin(PSK, PSK, PROLOGUE, PROLOGUE);
    struct bytes zeros = {.size = PT_NOISE_MESSAGE_SIZE};
    uint8_t room[BYTES_MAX];
    (void)state;

    memset(zeros.data, 0, sizeof(zeros.data));
    PT_REQUIRE_OK(pt_noise_write(&pair.dialer, (struct peat_bytes){NULL, 0}, room));
    assert_int_equal(pt_noise_read(&pair.dialer, view(&zeros), room), PEAT_DENIED);

    /* By one who has the pre-shared key, so that all else is right. */
    pair = pair_begin(PSK, PSK, PROLOGUE, PROLOGUE);
    memset(pair.dialer.own_public, 0, sizeof(pair.dialer.own_public));
    PT_REQUIRE_OK(pt_noise_write(&pair.dialer, (struct peat_bytes){NULL, 0}, zeros.data));
    PT_REQUIRE_OK(pt_noise_read(&pair.listener, view(&zeros), room));
    assert_int_equal(pt_noise_write(&pair.listener, (struct peat_bytes){NULL, 0}, room),
                     PEAT_DENIED);
}

/* Section 4.2 of the specification: what zeros are encrypted to under the largest nonce. */
static void the_next_key_is_what_the_specification_says(void **state)
{
    static const uint8_t nonce[12] = {0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255};
    static const uint8_t zeros[PT_NOISE_KEY_SIZE];
    struct pt_noise_cipher cipher = {.key = "one and the same key to begin", .counter = 7};
    uint8_t wanted[PT_NOISE_KEY_SIZE + PT_NOISE_TAG_SIZE];
    (void)state;

    PT_REQUIRE(crypto_aead_chacha20poly1305_ietf_encrypt(wanted, NULL, zeros, sizeof(zeros), NULL,
                                                         0, NULL, nonce, cipher.key) == 0);
    pt_noise_rekey(&cipher);
    assert_memory_equal(cipher.key, wanted, sizeof(cipher.key));
    assert_int_equal(cipher.counter, 7); /* messages are counted on */
}

static void both_sides_change_their_key_together(void **state)
{
    struct pt_noise_cipher ends[2] = {{.key = "one and the same key to begin"}};
    uint8_t text[64] = "what is said";
    uint8_t copy[64];
    struct peat_bytes nothing = {NULL, 0};
    uint8_t before[PT_NOISE_KEY_SIZE];
    (void)state;

    memcpy(before, ends[0].key, sizeof(before));
    ends[1] = ends[0];
    pt_noise_rekey(&ends[0]);
    assert_memory_not_equal(ends[0].key, before, sizeof(before));
    pt_noise_encrypt(&ends[0], nothing, text, 12);
    memcpy(copy, text, sizeof(copy));
    assert_false(pt_noise_decrypt(&ends[1], nothing, copy, 12));
    pt_noise_rekey(&ends[1]);
    assert_true(pt_noise_decrypt(&ends[1], nothing, text, 12));
    assert_memory_equal(text, "what is said", 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vector_comes_out),
        cmocka_unit_test(another_key_another_prologue_and_every_flipped_byte_are_refused),
        cmocka_unit_test(a_key_with_which_everybody_knows_the_secret_is_refused),
        cmocka_unit_test(the_next_key_is_what_the_specification_says),
        cmocka_unit_test(both_sides_change_their_key_together),
    };
    int failed;

    pt_test_start();
    PT_REQUIRE(sodium_init() >= 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

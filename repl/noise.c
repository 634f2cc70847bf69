#include "repl/noise.h"

#include "repl/le.h"

#include <sodium.h>
#include <string.h>

enum { BLOCK_SIZE = 128, NONCE_SIZE = 12 };

static const char name[] = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b";

/* ---- Hashing ---- */

static void hash(struct peat_bytes first, struct peat_bytes second, uint8_t out[PT_NOISE_HASH_SIZE])
{
    crypto_generichash_state state;

    (void)crypto_generichash_init(&state, NULL, 0, PT_NOISE_HASH_SIZE);
    (void)crypto_generichash_update(&state, first.data, first.size);
    (void)crypto_generichash_update(&state, second.data, second.size);
    (void)crypto_generichash_final(&state, out, PT_NOISE_HASH_SIZE);
    sodium_memzero(&state, sizeof(state)); /* it has had keys in it */
}

/* HMAC (RFC 2104) with BLAKE2b, of two inputs one after the other. */
static void hmac(const uint8_t key[PT_NOISE_HASH_SIZE], struct peat_bytes first,
                 struct peat_bytes second, uint8_t out[PT_NOISE_HASH_SIZE])
{
    crypto_generichash_state state;
    uint8_t block[BLOCK_SIZE];
    uint8_t inner[PT_NOISE_HASH_SIZE];

    for (size_t i = 0; i < BLOCK_SIZE; i++)
        block[i] = (uint8_t)((i < PT_NOISE_HASH_SIZE ? key[i] : 0) ^ 0x36);
    (void)crypto_generichash_init(&state, NULL, 0, PT_NOISE_HASH_SIZE);
    (void)crypto_generichash_update(&state, block, sizeof(block));
    (void)crypto_generichash_update(&state, first.data, first.size);
    (void)crypto_generichash_update(&state, second.data, second.size);
    (void)crypto_generichash_final(&state, inner, sizeof(inner));
    for (size_t i = 0; i < BLOCK_SIZE; i++)
        block[i] ^= 0x36 ^ 0x5c;
    hash((struct peat_bytes){block, sizeof(block)}, (struct peat_bytes){inner, sizeof(inner)}, out);
    sodium_memzero(block, sizeof(block));
    sodium_memzero(inner, sizeof(inner));
    sodium_memzero(&state, sizeof(state));
}

/* HKDF of the specification, section 4.3: @p count (2 or 3) outputs. */
static void hkdf(const uint8_t chaining_key[PT_NOISE_HASH_SIZE], struct peat_bytes input,
                 unsigned count, uint8_t outputs[][PT_NOISE_HASH_SIZE])
{
    struct peat_bytes before = {NULL, 0};
    uint8_t key[PT_NOISE_HASH_SIZE];

    hmac(chaining_key, input, before, key);
    for (uint8_t i = 1; i <= count; i++) {
        hmac(key, before, (struct peat_bytes){&i, 1}, outputs[i - 1]);
        before = (struct peat_bytes){outputs[i - 1], PT_NOISE_HASH_SIZE};
    }
    sodium_memzero(key, sizeof(key));
}

/* ---- Ciphers ---- */

static void nonce_make(uint64_t counter, uint8_t nonce[NONCE_SIZE])
{
    memset(nonce, 0, NONCE_SIZE);
    pt_wire_put_u64(nonce + 4, counter);
}

void pt_noise_encrypt(struct pt_noise_cipher *cipher, struct peat_bytes data, uint8_t *text,
                      size_t size)
{
    uint8_t nonce[NONCE_SIZE];

    nonce_make(cipher->counter++, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(text, NULL, text, size, data.data, data.size,
                                                    NULL, nonce, cipher->key);
}

bool pt_noise_decrypt(struct pt_noise_cipher *cipher, struct peat_bytes data, uint8_t *text,
                      size_t size)
{
    uint8_t nonce[NONCE_SIZE];

    nonce_make(cipher->counter, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(text, NULL, NULL, text, size + PT_NOISE_TAG_SIZE,
                                                  data.data, data.size, nonce, cipher->key) != 0)
        return false;
    cipher->counter++;
    return true;
}

void pt_noise_rekey(struct pt_noise_cipher *cipher)
{
    uint8_t text[PT_NOISE_KEY_SIZE + PT_NOISE_TAG_SIZE] = {0};
    uint8_t nonce[NONCE_SIZE];

    nonce_make(UINT64_MAX, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(text, NULL, text, PT_NOISE_KEY_SIZE, NULL, 0,
                                                    NULL, nonce, cipher->key);
    memcpy(cipher->key, text, sizeof(cipher->key));
    sodium_memzero(text, sizeof(text));
}

/* ---- The symmetric state, section 5.2 ---- */

static void mix_hash(struct pt_noise *noise, struct peat_bytes data)
{
    hash((struct peat_bytes){noise->hash, sizeof(noise->hash)}, data, noise->hash);
}

static void key_set(struct pt_noise *noise, const uint8_t key[PT_NOISE_HASH_SIZE])
{
    memcpy(noise->cipher.key, key, sizeof(noise->cipher.key)); /* cut to 32 bytes */
    noise->cipher.counter = 0;
}

static void mix_key(struct pt_noise *noise, struct peat_bytes input)
{
    uint8_t outputs[2][PT_NOISE_HASH_SIZE];

    hkdf(noise->chaining_key, input, 2, outputs);
    memcpy(noise->chaining_key, outputs[0], sizeof(noise->chaining_key));
    key_set(noise, outputs[1]);
    sodium_memzero(outputs, sizeof(outputs));
}

/* Token psk. */
static void mix_key_and_hash(struct pt_noise *noise, struct peat_bytes input)
{
    uint8_t outputs[3][PT_NOISE_HASH_SIZE];

    hkdf(noise->chaining_key, input, 3, outputs);
    memcpy(noise->chaining_key, outputs[0], sizeof(noise->chaining_key));
    mix_hash(noise, (struct peat_bytes){outputs[1], PT_NOISE_HASH_SIZE});
    key_set(noise, outputs[2]);
    sodium_memzero(outputs, sizeof(outputs));
}

/* Token e: with a pre-shared key the public key is mixed into the key as well. */
static void mix_public(struct pt_noise *noise, const uint8_t key[PT_NOISE_KEY_SIZE])
{
    struct peat_bytes bytes = {key, PT_NOISE_KEY_SIZE};

    mix_hash(noise, bytes);
    mix_key(noise, bytes);
}

/* Token ee. false: the other's key is one with which everybody knows the result. */
static bool mix_shared(struct pt_noise *noise, const uint8_t others[PT_NOISE_KEY_SIZE])
{
    uint8_t shared[PT_NOISE_KEY_SIZE];
    bool secret = crypto_scalarmult(shared, noise->own_secret, others) == 0;

    if (secret)
        mix_key(noise, (struct peat_bytes){shared, sizeof(shared)});
    sodium_memzero(shared, sizeof(shared));
    return secret;
}

/* ---- The handshake, section 5.3 ---- */

void pt_noise_begin(struct pt_noise *noise, bool is_dialer, const uint8_t psk[PT_NOISE_KEY_SIZE],
                    struct peat_bytes prologue, const uint8_t *own_secret)
{
    memset(noise, 0, sizeof(*noise));
    noise->is_dialer = is_dialer;
    memcpy(noise->psk, psk, sizeof(noise->psk));
    if (own_secret != NULL)
        memcpy(noise->own_secret, own_secret, sizeof(noise->own_secret));
    else
        randombytes_buf(noise->own_secret, sizeof(noise->own_secret));
    (void)crypto_scalarmult_base(noise->own_public, noise->own_secret);
    memcpy(noise->hash, name, sizeof(name) - 1); /* shorter than a hash, so padded with zeros */
    memcpy(noise->chaining_key, noise->hash, sizeof(noise->chaining_key));
    mix_hash(noise, prologue);
}

/* Payload and tag behind the public key. */
static void payload_encrypt(struct pt_noise *noise, struct peat_bytes payload, uint8_t *place)
{
    if (payload.size > 0)
        memcpy(place, payload.data, payload.size);
    pt_noise_encrypt(&noise->cipher, (struct peat_bytes){noise->hash, sizeof(noise->hash)}, place,
                     payload.size);
    mix_hash(noise, (struct peat_bytes){place, payload.size + PT_NOISE_TAG_SIZE});
}

enum peat_status pt_noise_write(struct pt_noise *noise, struct peat_bytes payload, uint8_t *message)
{
    uint8_t others[PT_NOISE_KEY_SIZE];

    memcpy(others, noise->others_public, sizeof(others));
    if (noise->is_dialer)
        mix_key_and_hash(noise, (struct peat_bytes){noise->psk, sizeof(noise->psk)});
    memcpy(message, noise->own_public, sizeof(noise->own_public));
    mix_public(noise, noise->own_public);
    if (!noise->is_dialer && !mix_shared(noise, others))
        return PEAT_DENIED;
    payload_encrypt(noise, payload, message + PT_NOISE_KEY_SIZE);
    return PEAT_OK;
}

enum peat_status pt_noise_read(struct pt_noise *noise, struct peat_bytes message, uint8_t *payload)
{
    const uint8_t *bytes = message.data;
    size_t size;
    uint8_t before[PT_NOISE_HASH_SIZE];

    if (message.size < PT_NOISE_MESSAGE_SIZE)
        return PEAT_DENIED;
    size = message.size - PT_NOISE_MESSAGE_SIZE;
    if (!noise->is_dialer)
        mix_key_and_hash(noise, (struct peat_bytes){noise->psk, sizeof(noise->psk)});
    memcpy(noise->others_public, bytes, sizeof(noise->others_public));
    mix_public(noise, noise->others_public);
    if (noise->is_dialer && !mix_shared(noise, noise->others_public))
        return PEAT_DENIED;
    memcpy(before, noise->hash, sizeof(before));
    mix_hash(noise, (struct peat_bytes){bytes + PT_NOISE_KEY_SIZE, size + PT_NOISE_TAG_SIZE});
    memcpy(payload, bytes + PT_NOISE_KEY_SIZE, size + PT_NOISE_TAG_SIZE);
    return pt_noise_decrypt(&noise->cipher, (struct peat_bytes){before, sizeof(before)}, payload,
                            size)
               ? PEAT_OK
               : PEAT_DENIED;
}

void pt_noise_split(const struct pt_noise *noise, struct pt_noise_cipher *dialers_out,
                    struct pt_noise_cipher *listeners_out)
{
    uint8_t outputs[2][PT_NOISE_HASH_SIZE];

    hkdf(noise->chaining_key, (struct peat_bytes){NULL, 0}, 2, outputs);
    memcpy(dialers_out->key, outputs[0], sizeof(dialers_out->key));
    memcpy(listeners_out->key, outputs[1], sizeof(listeners_out->key));
    dialers_out->counter = listeners_out->counter = 0;
    sodium_memzero(outputs, sizeof(outputs));
}

void pt_noise_forget(struct pt_noise *noise)
{
    sodium_memzero(noise, sizeof(*noise));
}

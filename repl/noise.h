/*
 * The handshake Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b (The Noise Protocol Framework, revision 34), and the ciphers that
 * come of it. Two messages of PT_NOISE_MESSAGE_SIZE bytes, without payloads: the dialer's, then the listener's.
 *
 * Who does not have the pre-shared key cannot make a message that the other takes, and what was recorded cannot be used again,
 * since both sides add a key of their own that is thrown away.
 */
#ifndef PEAT_REPL_NOISE_H
#define PEAT_REPL_NOISE_H

#include "core/peat.h"

enum {
    PT_NOISE_KEY_SIZE = 32,
    PT_NOISE_TAG_SIZE = 16,
    PT_NOISE_HASH_SIZE = 64,
    PT_NOISE_MESSAGE_SIZE = PT_NOISE_KEY_SIZE + PT_NOISE_TAG_SIZE
};

/* One direction. All zeros: without a key. */
struct pt_noise_cipher {
    uint8_t key[PT_NOISE_KEY_SIZE];
    uint64_t counter; /* the next message's */
};

struct pt_noise {
    bool is_dialer;
    uint8_t psk[PT_NOISE_KEY_SIZE];
    uint8_t own_secret[PT_NOISE_KEY_SIZE];
    uint8_t own_public[PT_NOISE_KEY_SIZE];
    uint8_t others_public[PT_NOISE_KEY_SIZE];
    uint8_t chaining_key[PT_NOISE_HASH_SIZE];
    uint8_t hash[PT_NOISE_HASH_SIZE];
    struct pt_noise_cipher cipher; /* of the handshake */
};

/* Begin. @p own_secret: NULL, or the key of its own, which the test vectors give; else it is random. Wipe with pt_noise_forget(). */
void pt_noise_begin(struct pt_noise *noise, bool is_dialer, const uint8_t psk[PT_NOISE_KEY_SIZE],
                    struct peat_bytes prologue, const uint8_t *own_secret);
/* This side's message, with the payload @p payload (the vectors have some); @p message has room for PT_NOISE_MESSAGE_SIZE +
 * payload.size bytes. */
enum peat_status pt_noise_write(struct pt_noise *noise, struct peat_bytes payload,
                                uint8_t *message);
/* The other side's; @p payload has room for its size less PT_NOISE_KEY_SIZE. PEAT_DENIED: it is none by who has the key. */
enum peat_status pt_noise_read(struct pt_noise *noise, struct peat_bytes message, uint8_t *payload);
/* After both: the ciphers of both directions. */
void pt_noise_split(const struct pt_noise *noise, struct pt_noise_cipher *dialers_out,
                    struct pt_noise_cipher *listeners_out);
void pt_noise_forget(struct pt_noise *noise);

/* Encrypt @p size bytes in place, with @p data bound to them; the tag is behind them. */
void pt_noise_encrypt(struct pt_noise_cipher *cipher, struct peat_bytes data, uint8_t *text,
                      size_t size);
/* Decrypt in place; the tag is behind the @p size bytes. false: it is not what was encrypted next, and is gone. */
bool pt_noise_decrypt(struct pt_noise_cipher *cipher, struct peat_bytes data, uint8_t *text,
                      size_t size);
/* Both sides at the same message: the next key follows from this one, and not the other way round. */
void pt_noise_rekey(struct pt_noise_cipher *cipher);

#endif

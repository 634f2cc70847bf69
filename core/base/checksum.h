/*
 * Checksums and digests, all libsodium's: SipHash-2-4 for short things, Poly1305 for long ones,
 * BLAKE2b where identity matters.
 *
 * Every checksum is keyed, and the key says what the block is (which store, which segment and
 * chunk, which use of a log region), so bytes that are right but in the wrong place do not verify.
 * Poly1305 is a one-time authenticator: its key must differ from block to block, which deriving it
 * from the block's place gives. It guards against accidents, not against an adversary who can read
 * the file: the key material lies in it.
 */
#ifndef PEAT_CORE_BASE_CHECKSUM_H
#define PEAT_CORE_BASE_CHECKSUM_H

#include "core/base/status.h"

enum {
    PT_CHECKSUM_SIZE = 16, /* bytes of a Poly1305 checksum */
    PT_DIGEST_SIZE = 32,   /* bytes of a BLAKE2b digest */
    PT_KEY_SIZE = 32,      /* bytes of a checksum key */
    PT_ID_SIZE = 16        /* bytes of a store id or nonce: also a SipHash key */
};

/* 16 bytes that name a store, a use of a log region, or a state of the chain. */
struct pt_id {
    uint8_t bytes[PT_ID_SIZE];
};

struct pt_checksum {
    uint8_t bytes[PT_CHECKSUM_SIZE];
};

struct pt_digest {
    uint8_t bytes[PT_DIGEST_SIZE];
};

/* A key for checksums: made by pt_key_derive(). */
struct pt_key {
    uint8_t bytes[PT_KEY_SIZE];
};

/* What a derived key is for; each block of the file has one. */
enum pt_key_purpose {
    PT_KEY_SUPERBLOCK = 1,     /* a: generation */
    PT_KEY_MANIFEST = 2,       /* a: generation */
    PT_KEY_SEGMENT_CHUNK = 3,  /* a: segment id, b: chunk number */
    PT_KEY_SEGMENT_FOOTER = 4, /* a: segment id */
    PT_KEY_SEGMENT_TABLE = 5,  /* a: segment id: the chunk checksums */
    PT_KEY_BACKUP = 16         /* a: commit */
};

/* Once before anything else here; safe to repeat. PEAT_UNSUPPORTED if libsodium does not start. */
enum peat_status pt_checksum_start(void);

/* The key of block (@p a, @p b) of kind @p purpose in the store @p store_id (zeros for what must be
 * readable before the store is known). Two SipHash calls. */
struct pt_key pt_key_derive(const struct pt_id *store_id, enum pt_key_purpose purpose, uint64_t a,
                            uint64_t b);

/* Poly1305 of @p size bytes. */
struct pt_checksum pt_checksum(const struct pt_key *key, const void *data, size_t size);
bool pt_checksum_equal(const struct pt_checksum *a, const struct pt_checksum *b);

/* SipHash-2-4 with 64 and 128 bits of result. */
uint64_t pt_siphash(const struct pt_id *key, const void *data, size_t size);
struct pt_id pt_siphash128(const struct pt_id *key, const void *data, size_t size);

/* BLAKE2b-256 of two pieces, one after the other; the second may be empty. */
struct pt_digest pt_digest(const void *first, size_t first_size, const void *second,
                           size_t second_size);

/* Random bytes from the kernel. */
void pt_random(void *bytes, size_t size);

#endif

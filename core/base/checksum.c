#include "core/base/checksum.h"

#include "core/base/endian.h"

#include <sodium.h>

_Static_assert(crypto_onetimeauth_BYTES == PT_CHECKSUM_SIZE, "Poly1305");
_Static_assert(crypto_onetimeauth_KEYBYTES == PT_KEY_SIZE, "Poly1305 key");
_Static_assert(crypto_shorthash_KEYBYTES == PT_ID_SIZE, "SipHash key");
_Static_assert(crypto_shorthash_siphashx24_BYTES == PT_ID_SIZE, "SipHash-128");

enum peat_status pt_checksum_start(void)
{
    if (sodium_init() < 0)
        return pt_fail(PEAT_UNSUPPORTED, "libsodium does not start");
    return PEAT_OK;
}

struct pt_key pt_key_derive(const struct pt_id *store_id, enum pt_key_purpose purpose, uint64_t a,
                            uint64_t b)
{
    struct {
        struct pt_le32 purpose;
        struct pt_le32 part;
        struct pt_le64 a;
        struct pt_le64 b;
    } place = {pt_le32((uint32_t)purpose), pt_le32(0), pt_le64(a), pt_le64(b)};
    struct pt_key key;

    _Static_assert(sizeof(place) == 24, "no padding");
    for (uint32_t part = 0; part < 2; part++) {
        struct pt_id half;

        place.part = pt_le32(part);
        half = pt_siphash128(store_id, &place, sizeof(place));
        memcpy(key.bytes + part * sizeof(half), &half, sizeof(half));
    }
    return key;
}

struct pt_checksum pt_checksum(const struct pt_key *key, const void *data, size_t size)
{
    struct pt_checksum checksum;

    (void)crypto_onetimeauth(checksum.bytes, data, size, key->bytes);
    return checksum;
}

bool pt_checksum_equal(const struct pt_checksum *a, const struct pt_checksum *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

uint64_t pt_siphash(const struct pt_id *key, const void *data, size_t size)
{
    struct pt_le64 hash;

    (void)crypto_shorthash(hash.bytes, data, size, key->bytes);
    return pt_le64_value(hash);
}

struct pt_id pt_siphash128(const struct pt_id *key, const void *data, size_t size)
{
    struct pt_id hash;

    (void)crypto_shorthash_siphashx24(hash.bytes, data, size, key->bytes);
    return hash;
}

struct pt_digest pt_digest(const void *first, size_t first_size, const void *second,
                           size_t second_size)
{
    crypto_generichash_state state;
    struct pt_digest digest;

    (void)crypto_generichash_init(&state, NULL, 0, sizeof(digest.bytes));
    (void)crypto_generichash_update(&state, first, first_size);
    if (second_size > 0)
        (void)crypto_generichash_update(&state, second, second_size);
    (void)crypto_generichash_final(&state, digest.bytes, sizeof(digest.bytes));
    return digest;
}

void pt_random(void *bytes, size_t size)
{
    randombytes_buf(bytes, size);
}

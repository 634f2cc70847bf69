#include "core/base/digester.h"

#include "core/base/alloc.h"

#include <sodium.h>
#include <string.h>

enum { GATHERED_SIZE_MAX = 16384 }; /* bytes: libsodium is slow at taking small pieces */

struct pt_digester {
    crypto_generichash_state state;
    size_t gathered; /* bytes that the state has not seen yet */
    uint8_t buffer[GATHERED_SIZE_MAX];
};

enum peat_status pt_digester_new(struct pt_digester **digester_out)
{
    size_t size = sizeof(struct pt_digester);
    struct pt_digester *digester =
        pt_aligned_alloc(_Alignof(struct pt_digester), (size + _Alignof(struct pt_digester) - 1) &
                                                           ~(_Alignof(struct pt_digester) - 1));

    *digester_out = digester;
    if (digester == NULL)
        return pt_fail(PEAT_NO_MEMORY, "digest");
    pt_digester_restart(digester);
    return PEAT_OK;
}

void pt_digester_restart(struct pt_digester *digester)
{
    digester->gathered = 0;
    (void)crypto_generichash_init(&digester->state, NULL, 0, PT_DIGEST_SIZE);
}

void pt_digester_free(struct pt_digester *digester)
{
    pt_free(digester);
}

static void pass_on(struct pt_digester *digester)
{
    (void)crypto_generichash_update(&digester->state, digester->buffer, digester->gathered);
    digester->gathered = 0;
}

void pt_digester_add(struct pt_digester *digester, const void *data, size_t size)
{
    if (size > GATHERED_SIZE_MAX - digester->gathered)
        pass_on(digester);
    if (size > GATHERED_SIZE_MAX) {
        (void)crypto_generichash_update(&digester->state, data, size);
        return;
    }
    if (size > 0)
        memcpy(digester->buffer + digester->gathered, data, size);
    digester->gathered += size;
}

struct pt_digest pt_digester_finish(struct pt_digester *digester)
{
    struct pt_digest digest;

    pass_on(digester);
    (void)crypto_generichash_final(&digester->state, digest.bytes, sizeof(digest.bytes));
    return digest;
}

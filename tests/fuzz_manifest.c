/*
 * Target: a manifest behind right checksums, decoded by itself, and then in a store that has everything
 * else that its superblock and log lead to.
 */
#include "core/db/manifest.h"
#include "tests/forge.h"
#include "tests/fuzz_store.h"

#include <stdlib.h>
#include <string.h>

/* What the first byte of an input asks for; its upper bits choose the store. */
enum { FIX_HEADER = 1, SEAL = 2, BASE_SHIFT = 2 };
enum { INPUT_MAX = 4096 };

static void forge(const struct pt_fuzz_base *base, uint8_t *block, uint64_t size, uint8_t flags)
{
    struct pt_manifest_header *header = (void *)block;

    if ((flags & FIX_HEADER) != 0 && size >= sizeof(*header)) {
        header->magic = pt_le64(PT_MANIFEST_MAGIC);
        if (pt_le32_value(header->version) > PT_MANIFEST_VERSION ||
            pt_le32_value(header->version) < PT_MANIFEST_VERSION_PLAIN)
            header->version = pt_le32(PT_MANIFEST_VERSION_PLAIN);
        header->size = pt_le64(size);
        header->store_id = base->page.store_id;
        header->generation = base->page.generation;
    }
    if ((flags & SEAL) != 0)
        pt_forge_manifest(block, size, &base->page.store_id, pt_le64_value(base->page.generation));
}

/* What is valid comes back as the same bytes. */
static void require_same_again(const struct pt_manifest *manifest, const uint8_t *block,
                               uint64_t size)
{
    uint8_t *again = malloc(size);

    PT_REQUIRE(again != NULL && pt_manifest_size(manifest) == size);
    pt_manifest_encode(manifest, again);
    PT_REQUIRE(memcmp(block, again, size) == 0);
    free(again);
}

static bool decodes(const struct pt_fuzz_base *base, const uint8_t *block, uint64_t size)
{
    struct pt_manifest manifest;
    enum peat_status status = pt_manifest_decode(pt_bytes(block, size), &base->page.store_id,
                                                 pt_le64_value(base->page.generation), &manifest);

    PT_REQUIRE(status == PEAT_OK || status == PEAT_CORRUPT || status == PEAT_VERSION);
    if (status == PEAT_OK)
        require_same_again(&manifest, block, size);
    pt_manifest_fini(&manifest);
    return status == PEAT_OK;
}

static void run(const uint8_t *data, size_t size)
{
    const struct pt_fuzz_base *base;
    struct pt_superblock_page page;
    uint8_t *store;
    uint8_t *block;

    if (size < 2)
        return;
    base = pt_fuzz_base(data[0] >> BASE_SHIFT);
    block = malloc(size - 1);
    PT_REQUIRE(block != NULL);
    memcpy(block, data + 1, size - 1);
    forge(base, block, size - 1, data[0]);
    /* What does not decode ends the opening early: a few of those are enough. */
    if (decodes(base, block, size - 1) || pt_fingerprint(0, pt_bytes(block, size - 1)) % 64 == 0) {
        store = pt_fuzz_copy(base);
        memcpy(store + base->manifest_offset, block, size - 1);
        page = base->page;
        page.manifest_size = pt_le64(size - 1);
        pt_forge_superblock(&page);
        for (size_t i = 0; i < PT_SUPERBLOCK_COUNT; i++)
            memcpy(store + i * PT_SUPERBLOCK_SIZE, &page, sizeof(page));
        pt_fuzz_store_try(store, base->size);
    }
    free(block);
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    for (unsigned i = 0; i < PT_FUZZ_BASES; i++) {
        const struct pt_fuzz_base *base = pt_fuzz_base(i);
        uint8_t bytes[INPUT_MAX];

        PT_REQUIRE(base->manifest_size < sizeof(bytes));
        bytes[0] = (uint8_t)(FIX_HEADER | SEAL | i << BASE_SHIFT);
        memcpy(bytes + 1, base->bytes + base->manifest_offset, base->manifest_size);
        give(context, bytes, base->manifest_size + 1);
    }
}

const struct pt_fuzz_target pt_fuzz_manifest = {
    .name = "manifest",
    .sentence = "a forged manifest gives an error, or a store that is safe to use",
    .size_max = INPUT_MAX,
    .run = run,
    .seeds = seeds};

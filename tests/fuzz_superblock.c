/*
 * Target: the two superblocks behind right checksums, on a store that is otherwise whole, and the file's
 * length.
 */
#include "tests/forge.h"
#include "tests/fuzz_store.h"

#include <stdlib.h>
#include <string.h>

/* What the first byte of an input asks for; its upper bits choose the store. The second and third say how
 * many sectors the file has, 0 for all; then come the fields of both pages. */
enum { SEAL_FIRST = 1, SEAL_SECOND = 2, BASE_SHIFT = 2 };
enum {
    FIELDS_SIZE = offsetof(struct pt_superblock_page, reserved_more),
    LEAD = 3,
    INPUT_MAX = LEAD + 2 * FIELDS_SIZE,
    SECTOR = 512
};

static void run(const uint8_t *data, size_t size)
{
    struct pt_fuzz_input input = {data, size};
    uint8_t flags = pt_fuzz_byte(&input);
    uint64_t sectors = pt_fuzz_number(&input, 2);
    const struct pt_fuzz_base *base = pt_fuzz_base(flags >> BASE_SHIFT);
    uint8_t *bytes = pt_fuzz_copy(base);
    uint64_t length = sectors * SECTOR;

    for (size_t i = 0; i < PT_SUPERBLOCK_COUNT; i++) {
        struct pt_superblock_page *page = (void *)(bytes + i * PT_SUPERBLOCK_SIZE);
        size_t taken = input.size < FIELDS_SIZE ? input.size : FIELDS_SIZE;

        memcpy(page, input.data, taken);
        input.data += taken;
        input.size -= taken;
        if ((flags & (SEAL_FIRST << i)) != 0)
            pt_forge_superblock(page);
    }
    pt_fuzz_store_try(bytes, length == 0 || length > base->size ? base->size : length);
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    for (unsigned i = 0; i < PT_FUZZ_BASES; i++) {
        uint8_t bytes[INPUT_MAX] = {(uint8_t)(SEAL_FIRST | SEAL_SECOND | i << BASE_SHIFT)};

        for (size_t k = 0; k < PT_SUPERBLOCK_COUNT; k++)
            memcpy(bytes + LEAD + k * FIELDS_SIZE, pt_fuzz_base(i)->bytes + k * PT_SUPERBLOCK_SIZE,
                   FIELDS_SIZE);
        give(context, bytes, sizeof(bytes));
    }
}

const struct pt_fuzz_target pt_fuzz_superblock = {
    .name = "superblock",
    .sentence = "forged superblocks and lengths give errors, or a store that is safe to use",
    .size_max = INPUT_MAX,
    .run = run,
    .seeds = seeds};

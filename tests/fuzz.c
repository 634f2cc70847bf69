#include "tests/fuzz.h"

#include "core/base/alloc.h"
#include "core/base/checksum.h"

#include <stdlib.h>
#include <string.h>

/* Write buffers are mapped as a whole, and touched as they are used. */
enum { ALLOCATION_MAX = 128 << 20 /* bytes */ };

const struct pt_fuzz_target *const pt_fuzz_targets[] = {
    &pt_fuzz_superblock,
    &pt_fuzz_manifest,
    &pt_fuzz_segment,
    &pt_fuzz_log,
    &pt_fuzz_backup,
    &pt_fuzz_channel,
    &pt_fuzz_message,
    &pt_fuzz_dump,
    &pt_fuzz_jsonl,
    &pt_fuzz_tsv,
    &pt_fuzz_deb822,
    &pt_fuzz_model,
    NULL,
};

const struct pt_fuzz_target *pt_fuzz_find(const char *name)
{
    for (size_t i = 0; pt_fuzz_targets[i] != NULL; i++)
        if (strcmp(pt_fuzz_targets[i]->name, name) == 0)
            return pt_fuzz_targets[i];
    return NULL;
}

static bool allocation_justified(size_t size)
{
    PT_REQUIRE(size <= ALLOCATION_MAX);
    return true;
}

void pt_fuzz_start(void)
{
    pt_test_failures_abort();
    PT_REQUIRE_OK(pt_checksum_start());
    pt_alloc_set_hook(allocation_justified);
}

void pt_fuzz_run(const struct pt_fuzz_target *target, const uint8_t *data, size_t size)
{
    uint8_t *bytes;

    if (size > target->size_max)
        size = target->size_max;
    bytes = malloc(size + (size == 0));
    PT_REQUIRE(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    target->run(bytes, size);
    free(bytes);
}

uint8_t pt_fuzz_byte(struct pt_fuzz_input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

uint64_t pt_fuzz_number(struct pt_fuzz_input *input, unsigned size)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < size; i++)
        number |= (uint64_t)pt_fuzz_byte(input) << 8 * i;
    return number;
}

/*
 * libFuzzer's way in: the target is the one that PEAT_FUZZ_TARGET names, and sets how long inputs get.
 * tests/fuzz.sh builds and runs it.
 */
#include "tests/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argument_count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pt_fuzz_target *target;

int LLVMFuzzerInitialize(int *argument_count, char ***arguments)
{
    static char *longer[64];
    static char length[32];
    const char *name = getenv("PEAT_FUZZ_TARGET");

    target = name == NULL ? NULL : pt_fuzz_find(name);
    if (target == NULL) {
        fprintf(stderr, "PEAT_FUZZ_TARGET names no target:");
        for (size_t i = 0; pt_fuzz_targets[i] != NULL; i++)
            fprintf(stderr, " %s", pt_fuzz_targets[i]->name);
        fprintf(stderr, "\n");
        exit(2);
    }
    (void)snprintf(length, sizeof(length), "-max_len=%zu", target->size_max);
    PT_REQUIRE(*argument_count < 62);
    for (int i = 0; i < *argument_count; i++)
        longer[i] = (*arguments)[i];
    longer[(*argument_count)++] = length;
    *arguments = longer;
    pt_fuzz_start();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pt_fuzz_run(target, data, size);
    return 0;
}

#include "bench/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct pt_driver *const peers[] = {&pt_driver_lmdb};

const struct pt_driver *pt_driver_find_peer(const char *name)
{
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
        if (strcmp(peers[i]->name, name) == 0)
            return peers[i];
    return NULL;
}

void pt_driver_die(const char *name, const char *what, const char *why)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "bench: %s: %s: %s\n", name, what, why);
    exit(3);
}

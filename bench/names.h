/* Lists of names, as --only takes them. */
#ifndef PEAT_BENCH_NAMES_H
#define PEAT_BENCH_NAMES_H

#include <stdbool.h>
#include <string.h>

/* Whether @p name is one of @p names, which have commas between them. */
static inline bool pt_name_is_among(const char *name, const char *names)
{
    size_t size = strlen(name);

    for (const char *at = names; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, size) == 0 && (at[size] == ',' || at[size] == 0))
            return true;
    }
    return false;
}

#endif

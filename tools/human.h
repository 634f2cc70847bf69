/* Numbers as people read them: 1,234,567 entries, 12.3 MB. */
#ifndef PEAT_TOOLS_HUMAN_H
#define PEAT_TOOLS_HUMAN_H

#include <stdint.h>

enum { PT_HUMAN_SIZE_MAX = 32 };

struct pt_human {
    char text[PT_HUMAN_SIZE_MAX];
};

/* With a comma between groups of three digits. */
struct pt_human pt_human_count(uint64_t count);

/* Three figures and a unit of 1000s: B, kB, MB, GB, TB. */
struct pt_human pt_human_size(uint64_t size);

#endif

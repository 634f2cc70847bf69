#include "tests/hard_keys.h"

#include "tests/support.h"

#include <stdio.h>
#include <string.h>

/* The first byte says of which kind a key is, but for the keys of zeros. */
struct peat_bytes pt_hard_key(uint64_t number, uint8_t *room)
{
    uint64_t kind = number % 8;
    uint64_t n = number / 8;
    uint64_t random = pt_mix(kind == 7 ? n / 16 : n); /* one to one */
    size_t size = 0;

    if (kind < 2 && n < PT_HARD_KEY_SIZE_MAX) { /* each the start of the next; n 0, kind 0: empty */
        size = n + kind;
        memset(room, kind == 0 ? 0 : 'a', size);
        return (struct peat_bytes){room, size};
    }
    room[size++] = (uint8_t)('b' + kind);
    if (kind == 2 || kind == 3) { /* long alike, then different */
        size_t alike = kind == 2 ? 13 : 40 + n % 3 * 8;

        memset(room + size, 'x', alike);
        size += alike;
    }
    if (kind == 4 || kind == 5) { /* decimal numbers */
        size += (size_t)snprintf((char *)room + size, 32, "%0*llu", kind == 4 ? 1 : 12,
                                 (unsigned long long)n);
        return (struct peat_bytes){room, size};
    }
    memcpy(room + size, &random, sizeof(random));
    size += sizeof(random);
    if (kind == 7) { /* different in the number of zeros alone */
        memset(room + size, 0, n % 16);
        size += n % 16;
    }
    return (struct peat_bytes){room, size};
}

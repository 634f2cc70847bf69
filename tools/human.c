#include "tools/human.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct pt_human pt_human_count(uint64_t count)
{
    struct pt_human human = {""};
    char digits[PT_HUMAN_SIZE_MAX];
    size_t length, used = 0;

    (void)snprintf(digits, sizeof(digits), "%" PRIu64, count);
    length = strlen(digits);
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            human.text[used++] = ',';
        human.text[used++] = digits[i];
    }
    return human;
}

struct pt_human pt_human_size(uint64_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    struct pt_human human;
    double figure = (double)size;
    size_t unit = 0;

    while (figure >= 999.5) {
        figure /= 1000;
        unit++;
    }
    (void)snprintf(human.text, sizeof(human.text), "%.*f %s",
                   unit == 0 || figure >= 99.95 ? 0 : (figure >= 9.995 ? 1 : 2), figure,
                   units[unit]);
    return human;
}

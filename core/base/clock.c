#include "core/base/clock.h"

#include <time.h>

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t pt_clock_monotonic_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

uint64_t pt_clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

void pt_clock_sleep_us(uint64_t duration_us)
{
    struct timespec rest = {.tv_sec = (time_t)(duration_us / 1000000),
                            .tv_nsec = (long)(duration_us % 1000000) * 1000};

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, &rest) != 0)
        ;
}

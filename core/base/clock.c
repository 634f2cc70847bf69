#include "core/base/clock.h"

#include <time.h>

static unsigned clock_speed = 1;

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t pt_clock_monotonic_us(void)
{
    return clock_us(CLOCK_MONOTONIC) * clock_speed;
}

uint64_t pt_clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

void pt_clock_sleep_us(uint64_t duration_us)
{
    uint64_t system_us = pt_clock_system_us(duration_us);
    struct timespec rest = {.tv_sec = (time_t)(system_us / 1000000),
                            .tv_nsec = (long)(system_us % 1000000) * 1000};

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, &rest) != 0)
        ;
}

void pt_clock_set_speed(unsigned speed)
{
    clock_speed = speed;
}

uint64_t pt_clock_system_us(uint64_t time_us)
{
    return time_us / clock_speed;
}

/* Time and chance, as every measuring loop needs them: a clock in nanoseconds and a mixer. */
#ifndef PEAT_BENCH_STOPWATCH_H
#define PEAT_BENCH_STOPWATCH_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds on a clock that never goes back. About 20 ns a call. */
static inline uint64_t pt_stopwatch_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A permutation of the 64-bit numbers that looks random (SplitMix64's last steps): different
 * numbers in, different numbers out. About 2 ns. */
static inline uint64_t pt_mix(uint64_t number)
{
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

/* A number from 0 to @p count - 1, from the high bits of @p random. */
static inline uint64_t pt_spread(uint64_t random, uint64_t count)
{
    __extension__ unsigned __int128 product = (unsigned __int128)random * count;

    return (uint64_t)(product >> 64);
}

#endif

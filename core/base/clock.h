/* Time: a steady clock for waiting, the wall clock for commit times. */
#ifndef PEAT_CORE_BASE_CLOCK_H
#define PEAT_CORE_BASE_CLOCK_H

#include <stdint.h>

uint64_t pt_clock_monotonic_us(void);
uint64_t pt_clock_wall_us(void); /* microseconds since 1970 */
void pt_clock_sleep_us(uint64_t duration_us);

#endif

/* Time: a steady clock for waiting, the wall clock for commit times. */
#ifndef PEAT_CORE_BASE_CLOCK_H
#define PEAT_CORE_BASE_CLOCK_H

#include <stdint.h>

uint64_t pt_clock_monotonic_us(void);
uint64_t pt_clock_wall_us(void); /* microseconds since 1970 */
void pt_clock_sleep_us(uint64_t duration_us);

/* Tests only: the steady clock, and with it every wait and sleep, runs so many times as fast. Set while no
 * store is open. */
void pt_clock_set_speed(unsigned speed);
/* What the system's steady clock says when ours says @p time_us. */
uint64_t pt_clock_system_us(uint64_t time_us);

#endif

#include "repl/redial.h"

enum { DELAY_MIN_US = 100000, DELAY_MAX_US = 5000000, DELAY_UNANSWERED_US = 250000 };

/* splitmix64, of which any seed is good (Steele, Lea and Flood 2014). */
static uint64_t next(uint64_t *dice)
{
    uint64_t value = *dice += UINT64_C(0x9e3779b97f4a7c15);

    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

void pt_redial_init(struct pt_redial *redial, uint64_t seed)
{
    *redial = (struct pt_redial){.dice = seed, .delay_us = DELAY_MIN_US};
}

void pt_redial_failed(struct pt_redial *redial, enum pt_redial_cause cause, uint64_t now_us)
{
    if (cause == PT_REDIAL_OF_USE)
        redial->delay_us = DELAY_MIN_US;
    if (cause == PT_REDIAL_UNANSWERED && redial->delay_us > DELAY_UNANSWERED_US)
        redial->delay_us = DELAY_UNANSWERED_US;
    /* from a half of the delay to all of it */
    redial->due_us = now_us + redial->delay_us / 2 + next(&redial->dice) % (redial->delay_us / 2);
    redial->delay_us *= 2;
    if (redial->delay_us > DELAY_MAX_US)
        redial->delay_us = DELAY_MAX_US;
}

/*
 * When a follower dials again, and never all followers at the same time: soon, and ever later while it is answered and
 * nothing comes of it, which costs the primary more than it is worth. Where nobody answers, a try costs next to nothing,
 * and a primary that is started again is to be followed at once.
 */
#ifndef PEAT_REPL_REDIAL_H
#define PEAT_REPL_REDIAL_H

#include <stdbool.h>
#include <stdint.h>

struct pt_redial {
    uint64_t dice;     /* state of a generator that needs not be good */
    uint64_t delay_us; /* of the next failure, before it is spread */
    uint64_t due_us;   /* dial from then on */
};

/* Due at once. @p seed: another one for each follower. */
void pt_redial_init(struct pt_redial *redial, uint64_t seed);
enum pt_redial_cause {
    PT_REDIAL_UNANSWERED,
    PT_REDIAL_OF_NO_USE,
    PT_REDIAL_OF_USE /* it had done something, so the next one is tried soon */
};

/* A connection could not be had, or is gone. */
void pt_redial_failed(struct pt_redial *redial, enum pt_redial_cause cause, uint64_t now_us);

#endif

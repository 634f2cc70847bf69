/* When a follower dials again: soon at first, ever later, and never all followers at the same time. */
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
/* A connection could not be had, or is gone. @p was_of_use: it had done something, so the next one is tried soon. */
void pt_redial_failed(struct pt_redial *redial, bool was_of_use, uint64_t now_us);

#endif

/*
 * The log's budget: how much of the log a crash now would leave to be replayed, so that commits can
 * keep it below what was asked for.
 *
 * It is counted in bytes of log, an operation as PT_LOG_COST_MIN at least: replaying a small one takes
 * as long as one of that size. What a durable manifest no longer needs is settled.
 */
#ifndef PEAT_CORE_DB_LOG_BUDGET_H
#define PEAT_CORE_DB_LOG_BUDGET_H

#include "core/base/thread.h"

enum {
    PT_LOG_COST_MIN = 128,   /* bytes that an operation counts as, at least */
    PT_LOG_RECORD_COST = 80, /* bytes that a batch takes besides its operations */
    PT_LOG_MARKS_MAX = 32
};

/* What had been spent where a write buffer begins. */
struct pt_log_mark {
    uint64_t position; /* of the log, as in struct pt_log_point */
    uint64_t spent;
};

struct pt_log_budget {
    _Atomic uint64_t spent;            /* by commits since open; the leader's */
    _Atomic uint64_t sealed;           /* of that, before the active buffer; the leader's */
    _Atomic uint64_t settled;          /* of that, not needed by a replay any more */
    _Atomic uint64_t settled_position; /* where the ruling manifest begins the log */
    struct pt_mutex mutex;
    size_t mark_count PT_GUARDED_BY(mutex);
    struct pt_log_mark marks[PT_LOG_MARKS_MAX] PT_GUARDED_BY(mutex); /* oldest first */
};

void pt_log_budget_init(struct pt_log_budget *budget);
void pt_log_budget_fini(struct pt_log_budget *budget);

/* What a batch of @p count operations in @p size bytes costs. */
static inline uint64_t pt_log_cost(uint64_t count, uint64_t size)
{
    uint64_t cost = size + PT_LOG_RECORD_COST;

    return cost > count * PT_LOG_COST_MIN ? cost : count * PT_LOG_COST_MIN;
}

/* The leader: a batch was appended; the active buffer begins at @p position from now on. */
void pt_log_budget_spend(struct pt_log_budget *budget, uint64_t cost);
void pt_log_budget_seal(struct pt_log_budget *budget, uint64_t position);
/* A manifest is durable that begins the log at @p position. Any thread. */
void pt_log_budget_settle(struct pt_log_budget *budget, uint64_t position);

/* The same, of a log that has left what was spent so far: nothing of that will be replayed. */
void pt_log_budget_restart(struct pt_log_budget *budget, uint64_t position);

/* Any thread: what a replay now would cost; and the part of it that flushing and a checkpoint can
 * settle, because it is before the active buffer. */
uint64_t pt_log_budget_used(const struct pt_log_budget *budget);
uint64_t pt_log_budget_sealed(const struct pt_log_budget *budget);

#endif

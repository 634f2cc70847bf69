#include "core/db/log_budget.h"

void pt_log_budget_init(struct pt_log_budget *budget)
{
    *budget = (struct pt_log_budget){.mark_count = 0};
    pt_mutex_init(&budget->mutex);
}

void pt_log_budget_fini(struct pt_log_budget *budget)
{
    pt_mutex_fini(&budget->mutex);
}

void pt_log_budget_spend(struct pt_log_budget *budget, uint64_t cost)
{
    /* One writer: no need for a locked instruction. */
    atomic_store_explicit(&budget->spent,
                          atomic_load_explicit(&budget->spent, memory_order_relaxed) + cost,
                          memory_order_relaxed);
}

void pt_log_budget_seal(struct pt_log_budget *budget, uint64_t position)
{
    uint64_t spent = atomic_load_explicit(&budget->spent, memory_order_relaxed);

    pt_mutex_lock(&budget->mutex);
    /* Without room for another mark the last one goes: what is settled there is settled later. */
    if (budget->mark_count == PT_LOG_MARKS_MAX)
        budget->mark_count--;
    budget->marks[budget->mark_count++] = (struct pt_log_mark){position, spent};
    pt_mutex_unlock(&budget->mutex);
    atomic_store_explicit(&budget->sealed, spent, memory_order_relaxed);
}

void pt_log_budget_settle(struct pt_log_budget *budget, uint64_t position)
{
    size_t passed = 0;

    pt_mutex_lock(&budget->mutex);
    while (passed < budget->mark_count && budget->marks[passed].position <= position)
        passed++;
    if (passed > 0) {
        /* Release pairs with the readers' acquire: they see at least as much spent. */
        atomic_store_explicit(&budget->settled, budget->marks[passed - 1].spent,
                              memory_order_release);
        budget->mark_count -= passed;
        for (size_t i = 0; i < budget->mark_count; i++)
            budget->marks[i] = budget->marks[passed + i];
    }
    atomic_store_explicit(&budget->settled_position, position, memory_order_relaxed);
    pt_mutex_unlock(&budget->mutex);
}

void pt_log_budget_restart(struct pt_log_budget *budget, uint64_t position)
{
    uint64_t spent = atomic_load_explicit(&budget->spent, memory_order_relaxed);

    pt_mutex_lock(&budget->mutex);
    budget->mark_count = 0;
    atomic_store_explicit(&budget->sealed, spent, memory_order_relaxed);
    atomic_store_explicit(&budget->settled, spent, memory_order_release);
    atomic_store_explicit(&budget->settled_position, position, memory_order_relaxed);
    pt_mutex_unlock(&budget->mutex);
}

/* Settled is read first: it only grows, and never beyond the others. */
uint64_t pt_log_budget_used(const struct pt_log_budget *budget)
{
    uint64_t settled = atomic_load_explicit(&budget->settled, memory_order_acquire);

    return atomic_load_explicit(&budget->spent, memory_order_relaxed) - settled;
}

uint64_t pt_log_budget_sealed(const struct pt_log_budget *budget)
{
    uint64_t settled = atomic_load_explicit(&budget->settled, memory_order_acquire);

    return atomic_load_explicit(&budget->sealed, memory_order_relaxed) - settled;
}

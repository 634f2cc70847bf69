#include "core/db/stack.h"

#include "core/base/bug.h"

#include <sched.h>

static void slot_lock(struct pt_shelf_slot *slot)
{
    /* Acquire pairs with the release in slot_unlock(). Held for a few instructions, and contended
     * only by threads of the same slot or a publisher. */
    while (atomic_exchange_explicit(&slot->locked, true, memory_order_acquire))
        (void)sched_yield();
}

static void slot_unlock(struct pt_shelf_slot *slot)
{
    atomic_store_explicit(&slot->locked, false, memory_order_release);
}

void pt_shelf_init(struct pt_shelf *shelf, void (*on_unpin)(void *context), void *context)
{
    memset(shelf, 0, sizeof(*shelf));
    pt_mutex_init(&shelf->mutex);
    shelf->on_unpin = on_unpin;
    shelf->context = context;
}

static int64_t stack_pins(const struct pt_stack *stack)
{
    int64_t pins = 0;

    for (unsigned i = 0; i < PT_SHARD_COUNT; i++)
        pins += atomic_load_explicit(&stack->shards[i].pins, memory_order_seq_cst);
    return pins;
}

enum peat_status pt_stack_new(struct pt_held_buffer *const *buffers, size_t buffer_count,
                              struct pt_run *const *runs, size_t run_count, uint64_t generation,
                              uint64_t floor, struct pt_stack **stack_out)
{
    size_t lists_size = buffer_count * sizeof(*buffers) + run_count * sizeof(*runs);
    struct pt_stack *stack;

    PT_ASSERT(buffer_count >= 1 && buffer_count <= PT_STACK_BUFFERS_MAX);
    *stack_out = NULL;
    stack =
        pt_aligned_alloc(PT_CACHE_LINE, pt_round_up(sizeof(*stack) + lists_size, PT_CACHE_LINE));
    if (stack == NULL)
        return pt_fail(PEAT_NO_MEMORY, "stack of %zu buffers and %zu runs", buffer_count,
                       run_count);
    memset(stack, 0, sizeof(*stack));
    stack->generation = generation;
    stack->floor = buffers[buffer_count - 1]->start.commit;
    if (stack->floor < floor)
        stack->floor = floor;
    stack->buffer_count = buffer_count;
    stack->run_count = run_count;
    stack->buffers = (struct pt_held_buffer **)(void *)(stack + 1);
    stack->runs = (struct pt_run **)(void *)(stack->buffers + buffer_count);
    for (size_t i = 0; i < buffer_count; i++) {
        stack->buffers[i] = buffers[i];
        pt_held_buffer_pin(buffers[i]);
    }
    for (size_t i = 0; i < run_count; i++) {
        stack->runs[i] = runs[i];
        pt_run_pin(runs[i]);
    }
    stack->only_run = buffer_count == 1 && run_count == 1 ? runs[0] : NULL;
    stack->active_count = pt_write_buffer_entry_counter(buffers[0]->buffer);
    *stack_out = stack;
    return PEAT_OK;
}

void pt_stack_free(struct pt_stack *stack)
{
    if (stack == NULL)
        return;
    PT_ASSERT(stack_pins(stack) == 0);
    for (size_t i = 0; i < stack->buffer_count; i++)
        pt_held_buffer_unpin(stack->buffers[i]);
    for (size_t i = 0; i < stack->run_count; i++)
        pt_run_unpin(stack->runs[i]);
    pt_free(stack);
}

void pt_shelf_publish_locked(struct pt_shelf *shelf, struct pt_stack *stack)
{
    struct pt_stack *before = shelf->current;

    shelf->current = stack;
    for (unsigned i = 0; i < PT_SHARD_COUNT; i++) {
        slot_lock(&shelf->slots[i]);
        shelf->slots[i].stack = stack;
        slot_unlock(&shelf->slots[i]);
    }
    if (before == NULL)
        return;
    before->next = shelf->replaced;
    shelf->replaced = before;
    atomic_fetch_add_explicit(&shelf->replaced_count, 1, memory_order_relaxed);
    atomic_store_explicit(&before->replaced, true, memory_order_seq_cst);
}

uint64_t pt_shelf_reap(struct pt_shelf *shelf)
{
    struct pt_stack *free_list = NULL;
    uint64_t oldest = UINT64_MAX;

    atomic_store_explicit(&shelf->reap_wanted, false, memory_order_seq_cst);
    pt_mutex_lock(&shelf->mutex);
    for (struct pt_stack **link = &shelf->replaced; *link != NULL;) {
        struct pt_stack *stack = *link;

        if (stack_pins(stack) != 0) {
            if (stack->generation < oldest)
                oldest = stack->generation;
            link = &stack->next;
            continue;
        }
        *link = stack->next;
        stack->next = free_list;
        free_list = stack;
        atomic_fetch_sub_explicit(&shelf->replaced_count, 1, memory_order_relaxed);
    }
    pt_mutex_unlock(&shelf->mutex);
    while (free_list != NULL) { /* outside the lock: unmapping a buffer takes its time */
        struct pt_stack *stack = free_list;

        free_list = stack->next;
        pt_stack_free(stack);
    }
    return oldest;
}

enum peat_status pt_shelf_copy(struct pt_shelf *shelf, struct pt_stack **stack_out)
{
    enum peat_status status;

    pt_mutex_lock(&shelf->mutex);
    status = pt_stack_new(shelf->current->buffers, shelf->current->buffer_count,
                          shelf->current->runs, shelf->current->run_count,
                          shelf->current->generation, shelf->current->floor, stack_out);
    pt_mutex_unlock(&shelf->mutex);
    return status;
}

enum peat_status pt_shelf_copy_runs(struct pt_shelf *shelf, struct pt_run ***runs_out,
                                    size_t *run_count_out, struct pt_log_point *start_out)
{
    const struct pt_stack *stack;
    struct pt_run **runs;

    pt_mutex_lock(&shelf->mutex);
    stack = shelf->current;
    runs = pt_calloc(stack->run_count + 1, sizeof(struct pt_run *));
    for (size_t i = 0; runs != NULL && i < stack->run_count; i++) {
        runs[i] = stack->runs[i];
        pt_run_pin(runs[i]);
    }
    *run_count_out = stack->run_count;
    *start_out = stack->buffers[PT_BUG(LOG_START_NEWEST) ? 0 : stack->buffer_count - 1]->start;
    pt_mutex_unlock(&shelf->mutex);
    *runs_out = runs;
    return runs == NULL ? pt_fail(PEAT_NO_MEMORY, "list of runs") : PEAT_OK;
}

static bool stack_has(const struct pt_stack *stack, const struct pt_held_buffer *buffer)
{
    for (size_t i = 0; i < stack->buffer_count; i++)
        if (stack->buffers[i] == buffer)
            return true;
    return false;
}

/* The list is in the order of time, newest first, and a buffer is in stacks that follow each other: if
 * any newer stack has it, then the next newer one has. */
uint64_t pt_shelf_pinned_memory(struct pt_shelf *shelf)
{
    const struct pt_stack *newer;
    uint64_t size = 0;

    pt_mutex_lock(&shelf->mutex);
    newer = shelf->current;
    for (const struct pt_stack *stack = shelf->replaced; stack != NULL; stack = stack->next) {
        if (stack_pins(stack) == 0)
            continue;
        for (size_t i = 0; i < stack->buffer_count; i++)
            if (!stack_has(newer, stack->buffers[i]))
                size += pt_write_buffer_memory_size(stack->buffers[i]->buffer);
        newer = stack;
    }
    pt_mutex_unlock(&shelf->mutex);
    return size;
}

enum peat_status pt_shelf_note_pinned_locked(struct pt_shelf *shelf,
                                             struct pt_known_segments *known)
{
    enum peat_status status = PEAT_OK;

    if (stack_pins(shelf->current) != 0)
        status = pt_known_segments_add(known, shelf->current->runs, shelf->current->run_count);
    for (const struct pt_stack *stack = shelf->replaced; stack != NULL && status == PEAT_OK;
         stack = stack->next)
        if (stack_pins(stack) != 0)
            status = pt_known_segments_add(known, stack->runs, stack->run_count);
    return status;
}

bool pt_shelf_pinned(struct pt_shelf *shelf)
{
    bool pinned;

    pt_mutex_lock(&shelf->mutex);
    pinned = shelf->current != NULL && stack_pins(shelf->current) != 0;
    for (const struct pt_stack *stack = shelf->replaced; stack != NULL; stack = stack->next)
        pinned = pinned || stack_pins(stack) != 0;
    pt_mutex_unlock(&shelf->mutex);
    return pinned;
}

bool pt_shelf_full(struct pt_shelf *shelf)
{
    bool full;

    pt_mutex_lock(&shelf->mutex);
    full = shelf->current->buffer_count == PT_STACK_BUFFERS_MAX;
    pt_mutex_unlock(&shelf->mutex);
    return full;
}

uint64_t pt_shelf_pin_count(struct pt_shelf *shelf)
{
    int64_t pins = 0;

    pt_mutex_lock(&shelf->mutex);
    if (shelf->current != NULL)
        pins += stack_pins(shelf->current);
    for (const struct pt_stack *stack = shelf->replaced; stack != NULL; stack = stack->next)
        pins += stack_pins(stack);
    pt_mutex_unlock(&shelf->mutex);
    return pins > 0 ? (uint64_t)pins : 0;
}

void pt_shelf_fini(struct pt_shelf *shelf)
{
    PT_ASSERT(!pt_shelf_pinned(shelf));
    (void)pt_shelf_reap(shelf);
    pt_mutex_lock(&shelf->mutex);
    PT_ASSERT(shelf->replaced == NULL);
    pt_stack_free(shelf->current);
    shelf->current = NULL;
    pt_mutex_unlock(&shelf->mutex);
    pt_mutex_fini(&shelf->mutex);
}

struct pt_pin pt_shelf_pin(struct pt_shelf *shelf)
{
    unsigned shard = pt_thread_slot() % PT_SHARD_COUNT;
    struct pt_shelf_slot *slot = &shelf->slots[shard];
    struct pt_pin pin = {NULL, shard};

    slot_lock(slot);
    pin.stack = slot->stack;
    (void)pt_pin_copy(pin);
    slot_unlock(slot);
    return pin;
}

struct pt_pin pt_shelf_adopt(struct pt_shelf *shelf, struct pt_stack *stack)
{
    struct pt_pin pin = {stack, pt_thread_slot() % PT_SHARD_COUNT};

    (void)pt_pin_copy(pin);
    atomic_store_explicit(&stack->replaced, true, memory_order_relaxed); /* the mutex orders it */
    pt_mutex_lock(&shelf->mutex);
    stack->next = shelf->replaced;
    shelf->replaced = stack;
    atomic_fetch_add_explicit(&shelf->replaced_count, 1, memory_order_relaxed);
    pt_mutex_unlock(&shelf->mutex);
    return pin;
}

struct pt_pin pt_pin_copy(struct pt_pin pin)
{
    atomic_fetch_add_explicit(&pin.stack->shards[pin.shard].pins, 1, memory_order_relaxed);
    return pin;
}

void pt_shelf_unpin(struct pt_shelf *shelf, struct pt_pin pin)
{
    struct pt_stack *stack = pin.stack;
    bool replaced = atomic_load_explicit(&stack->replaced, memory_order_seq_cst);
    int64_t before =
        atomic_fetch_sub_explicit(&stack->shards[pin.shard].pins, 1, memory_order_seq_cst);

    PT_ASSERT(before > 0);
    /* The stack may be freed from here on by a reaper, so it is not touched again. Where it was
     * replaced just between the two lines above, the periodic reap finds it: see stack.h, rule 2. */
    if (replaced && !atomic_exchange_explicit(&shelf->reap_wanted, true, memory_order_seq_cst) &&
        shelf->on_unpin != NULL)
        shelf->on_unpin(shelf->context);
}

/*
 * The stack: the immutable, counted list of what a reader must look at, newest first: write buffers,
 * then runs. And the shelf: the place where readers find the current stack.
 *
 * Pins are sharded. A thread pins and unpins in the shard of its slot, so that readers on different
 * cores write to different cache lines; only publishing a new stack visits them all.
 *
 *  1. A stack is pinned only through its shelf slot, under that slot's lock, by copying a pin in the
 *     same shard, or by being adopted with its first pin. So once it is replaced in every slot, a shard whose count is 0 stays 0.
 *  2. Whoever unpins a replaced stack raises shelf->reap_wanted; reaping frees replaced stacks
 *     whose shards are all 0. Readers never free anything themselves. A stack that is replaced while
 *     it is being unpinned may go unannounced, so whoever reaps also looks from time to time while
 *     replaced_count is not 0.
 *  3. The commit number that goes with a stack is the published commit of its newest buffer: a
 *     sealed buffer's stays what it was, so stack and number are one pair.
 */
#ifndef PEAT_CORE_DB_STACK_H
#define PEAT_CORE_DB_STACK_H

#include "core/db/known_segments.h"

enum { PT_SHARD_COUNT = 32, PT_STACK_BUFFERS_MAX = 64 };

struct pt_shard_count {
    _Alignas(PT_CACHE_LINE) _Atomic int64_t pins;
};

/* Immutable but for the counts. */
struct pt_stack {
    struct pt_shard_count shards[PT_SHARD_COUNT];
    _Atomic bool replaced; /* it is in no slot any more */
    struct pt_stack *next; /* in the list of replaced stacks; guarded by shelf->mutex */
    uint64_t generation;   /* of the manifest that its runs are from */
    uint64_t floor;      /* what its runs hold is of this commit and before; newer is in buffers */
    size_t buffer_count; /* at least 1; [0] takes commits, the others are sealed */
    size_t run_count;
    struct pt_held_buffer **buffers; /* newest first; pinned */
    struct pt_run **runs;            /* newest first; pinned */
    const struct pt_run *only_run; /* runs[0], if there are no other run and one buffer; or NULL */
    const _Atomic uint64_t *active_count; /* entries ever added to buffers[0] */
};

struct pt_shelf_slot {
    _Alignas(PT_CACHE_LINE) _Atomic bool locked;
    struct pt_stack *stack;
};

struct pt_shelf {
    struct pt_shelf_slot slots[PT_SHARD_COUNT];
    struct pt_mutex mutex;                          /* publishing and reaping */
    struct pt_stack *current PT_GUARDED_BY(mutex);  /* what all slots hold */
    struct pt_stack *replaced PT_GUARDED_BY(mutex); /* list: replaced, perhaps still pinned */
    _Atomic uint64_t replaced_count;
    _Atomic bool reap_wanted;
    void (*on_unpin)(void *context); /* may be NULL: called when reap_wanted is raised */
    void *context;
};

void pt_shelf_init(struct pt_shelf *shelf, void (*on_unpin)(void *context), void *context);
/* Free the current stack and all replaced ones. Nothing is pinned (asserted). */
void pt_shelf_fini(struct pt_shelf *shelf);
/* Whether any stack is pinned by a reader. */
bool pt_shelf_pinned(struct pt_shelf *shelf);
/* Whether the current stack has no place for another write buffer. */
bool pt_shelf_full(struct pt_shelf *shelf);

/* A stack with pins of its own on @p buffers and @p runs. @p floor: a commit that the runs may reach to, beyond
 * where the oldest buffer begins; 0: they do not. PEAT_NO_MEMORY. */
enum peat_status pt_stack_new(struct pt_held_buffer *const *buffers, size_t buffer_count,
                              struct pt_run *const *runs, size_t run_count, uint64_t generation,
                              uint64_t floor, struct pt_stack **stack_out);
/* For a stack that was never published. */
void pt_stack_free(struct pt_stack *stack);

/* Make @p stack (now the shelf's) what new readers get. */
void pt_shelf_publish_locked(struct pt_shelf *shelf, struct pt_stack *stack)
    PT_REQUIRES(shelf->mutex);
/* Free replaced stacks that nobody pins; the generation of the oldest that remains, or UINT64_MAX. */
uint64_t pt_shelf_reap(struct pt_shelf *shelf);
/* A private stack of the same parts, for whoever works on them without being a reader: the merger.
 * Release with pt_stack_free(). PEAT_NO_MEMORY. */
enum peat_status pt_shelf_copy(struct pt_shelf *shelf, struct pt_stack **stack_out);
/* The current stack's runs, each pinned once, without its buffers; and where the oldest of those
 * begins the log. The list is to be given to pt_runs_free(). PEAT_NO_MEMORY. */
enum peat_status pt_shelf_copy_runs(struct pt_shelf *shelf, struct pt_run ***runs_out,
                                    size_t *run_count_out, struct pt_log_point *start_out);
/* Bytes of write buffers that readers' stacks hold and the current one does not. */
uint64_t pt_shelf_pinned_memory(struct pt_shelf *shelf);
/* Add the segments of all stacks that readers pin. The list is good while the mutex is held.
 * PEAT_NO_MEMORY. */
enum peat_status pt_shelf_note_pinned_locked(struct pt_shelf *shelf,
                                             struct pt_known_segments *known)
    PT_REQUIRES(shelf->mutex);
/* Stacks in use by readers, estimated. */
uint64_t pt_shelf_pin_count(struct pt_shelf *shelf);

/* A pin: which stack, and in which shard it is counted. */
struct pt_pin {
    struct pt_stack *stack;
    unsigned shard;
};

struct pt_pin pt_shelf_pin(struct pt_shelf *shelf);
struct pt_pin pt_pin_copy(struct pt_pin pin);
void pt_shelf_unpin(struct pt_shelf *shelf, struct pt_pin pin);

/* Take over @p stack, which was never published and never will be, pinned once: nobody finds it but
 * by that pin, and it is freed as replaced ones are. */
struct pt_pin pt_shelf_adopt(struct pt_shelf *shelf, struct pt_stack *stack);

/* The commit number that goes with a pinned stack, now. */
static inline uint64_t pt_stack_commit(const struct pt_stack *stack)
{
    return pt_write_buffer_commit(stack->buffers[0]->buffer);
}

/* The run that alone says what is there, for the quick get: see core/segment/segment_quick.h. NULL: there
 * is none, as in a store that is not at rest. */
static inline const struct pt_run *pt_stack_quick_run(const struct pt_stack *stack)
{
    return stack->only_run != NULL &&
                   atomic_load_explicit(stack->active_count, memory_order_relaxed) == 0
               ? stack->only_run
               : NULL;
}

/*
 * What the store says of the stored key @p key as of @p commit. PEAT_OK and its PUT, or
 * PEAT_NOT_FOUND. PEAT_CORRUPT, PEAT_IO. In line, as all on the way of a get: the fewer instructions
 * lie between two gets' cache misses, the more of them the processor overlaps.
 */
static inline enum peat_status pt_stack_get(const struct pt_stack *stack, uint64_t commit,
                                            struct peat_bytes key, uint64_t hash,
                                            struct peat_bytes *value_out)
{
    enum peat_status status = PEAT_NOT_FOUND;
    struct pt_entry entry;

    for (size_t i = 0; i < stack->buffer_count && status == PEAT_NOT_FOUND; i++)
        status = pt_write_buffer_get(stack->buffers[i]->buffer, key, hash, commit, &entry);
    for (size_t i = 0; i < stack->run_count && status == PEAT_NOT_FOUND; i++)
        status = pt_run_get(stack->runs[i], key, hash, &entry);
    if (status != PEAT_OK)
        return status;
    if (entry.op != PT_OP_PUT)
        return PEAT_NOT_FOUND;
    *value_out = entry.value;
    return PEAT_OK;
}

#endif

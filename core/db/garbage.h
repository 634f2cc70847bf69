/* Garbage: what the runs of a stack hold and no reader of it is shown. */
#ifndef PEAT_CORE_DB_GARBAGE_H
#define PEAT_CORE_DB_GARBAGE_H

#include "core/db/stack.h"

/*
 * Bytes of the runs that a merge of them all would leave out: entries that a newer run hides, and
 * deletions. Estimated from some hundred entries, evenly spread; a millisecond or two. What cannot be
 * read counts as live. @p hash_seed: of the store's hash indexes.
 */
uint64_t pt_garbage_size(const struct pt_stack *stack, uint64_t hash_seed);

/* Whether the oldest run alone holds deletions: they have nothing to hide. */
bool pt_garbage_at_bottom(const struct pt_stack *stack);

#endif

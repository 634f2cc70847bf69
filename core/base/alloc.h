/* Private memory: every allocation of the library goes through here, so that tests can fail it. */
#ifndef PEAT_CORE_BASE_ALLOC_H
#define PEAT_CORE_BASE_ALLOC_H

#include "core/base/status.h"

/* As malloc() and friends; NULL when there is no memory, which the caller reports. */
void *pt_malloc(size_t size) __attribute__((malloc));
void *pt_calloc(size_t count, size_t size) __attribute__((malloc));
void *pt_realloc(void *memory, size_t size);
void *pt_aligned_alloc(size_t alignment, size_t size) __attribute__((malloc));
void pt_free(void *memory);

/* Anonymous pages that cost memory only once touched; NULL when refused. The size is a multiple of
 * the page size. */
void *pt_pages_map(size_t size);
void pt_pages_unmap(void *memory, size_t size);
/* Have memory for pages of a mapping by pt_pages_map() now, instead of by a fault for each. No promise. */
void pt_pages_populate(void *memory, size_t size);

/* Zeroed memory for one structure of any size: a large one has pages of its own, preferably huge, and
 * so goes back to the system when it is freed, which heaps put off. */
void *pt_block_alloc(size_t size) __attribute__((malloc));
/* Make it larger; what is new in it is not zeroed. @p memory NULL with @p size 0 is allowed. NULL: no
 * memory, and the block is as it was. */
void *pt_block_grow(void *memory, size_t size, size_t size_new);
void pt_block_free(void *memory, size_t size); /* NULL is allowed */

/* Tests only: called before each allocation; false fails it. NULL takes it back. Set while no other
 * thread is inside the library. */
void pt_alloc_set_hook(bool (*hook)(size_t size));

#endif

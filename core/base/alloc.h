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
/* Advice on pages of a mapping by pt_pages_map(), all of which will be used: take huge ones where
 * the system grants them; or have them now, instead of a fault for each. Both make no promise. */
void pt_pages_prefer_huge(void *memory, size_t size);
void pt_pages_populate(void *memory, size_t size);

/* Zeroed memory for one structure of any size: a large one has pages of its own, preferably huge. */
void *pt_block_alloc(size_t size) __attribute__((malloc));
void pt_block_free(void *memory, size_t size); /* NULL is allowed */

/* Tests only: called before each allocation; false fails it. NULL takes it back. Set while no other
 * thread is inside the library. */
void pt_alloc_set_hook(bool (*hook)(size_t size));

#endif

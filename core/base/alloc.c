#include "core/base/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    BLOCK_PAGES_MIN = 128 * 1024,    /* bytes: the heap has blocks below */
    BLOCK_HUGE_MIN = 4 * 1024 * 1024 /* bytes: below, huge pages would round too much up */
};

static bool (*allocation_hook)(size_t size);

static bool allowed(size_t size)
{
    return allocation_hook == NULL || allocation_hook(size);
}

void *pt_malloc(size_t size)
{
    return allowed(size) ? malloc(size) : NULL;
}

void *pt_calloc(size_t count, size_t size)
{
    return allowed(size) ? calloc(count, size) : NULL;
}

void *pt_realloc(void *memory, size_t size)
{
    return allowed(size) ? realloc(memory, size) : NULL;
}

void *pt_aligned_alloc(size_t alignment, size_t size)
{
    PT_ASSERT(size % alignment == 0);
    return allowed(size) ? aligned_alloc(alignment, size) : NULL;
}

void pt_free(void *memory)
{
    free(memory);
}

void *pt_pages_map(size_t size)
{
    void *memory;

    PT_ASSERT(size > 0);
    if (!allowed(size))
        return NULL;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void pt_pages_unmap(void *memory, size_t size)
{
    if (memory != NULL)
        PT_ASSERT(munmap(memory, size) == 0);
}

void pt_pages_populate(void *memory, size_t size)
{
    (void)madvise(memory, size,
                  MADV_POPULATE_WRITE); /* Linux 5.14; without it pages fault singly */
}

/* All of it will be used: huge pages, where the system grants them. */
static void prefer_huge(void *memory, size_t size)
{
    (void)madvise(memory, size, MADV_HUGEPAGE);
}

void *pt_block_alloc(size_t size)
{
    void *memory;

    if (size < BLOCK_PAGES_MIN)
        return pt_calloc(1, size);
    memory = pt_pages_map(size);
    if (memory != NULL && size >= BLOCK_HUGE_MIN)
        prefer_huge(memory, size);
    return memory;
}

/* Pages are moved, not copied. */
static void *pages_remap(void *memory, size_t size, size_t size_new)
{
    void *moved;

    if (!allowed(size_new))
        return NULL;
    moved = mremap(memory, size, size_new, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED)
        return NULL;
    if (size_new >= BLOCK_HUGE_MIN)
        prefer_huge(moved, size_new);
    return moved;
}

void *pt_block_grow(void *memory, size_t size, size_t size_new)
{
    void *moved;

    PT_ASSERT(size_new >= size);
    if (memory != NULL && size >= BLOCK_PAGES_MIN)
        return pages_remap(memory, size, size_new);
    if (size_new < BLOCK_PAGES_MIN)
        return pt_realloc(memory, size_new);
    moved = pt_block_alloc(size_new);
    if (moved != NULL && memory != NULL) {
        memcpy(moved, memory, size);
        pt_free(memory);
    }
    return moved;
}

void pt_block_free(void *memory, size_t size)
{
    if (size < BLOCK_PAGES_MIN)
        pt_free(memory);
    else
        pt_pages_unmap(memory, size);
}

void pt_alloc_set_hook(bool (*hook)(size_t size))
{
    allocation_hook = hook;
}

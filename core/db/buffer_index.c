#include "core/db/buffer_index.h"

#include "core/base/alloc.h"

enum { SLOT_BITS_MIN = 6, SLOT_BITS_MAX = 32 };

static struct pt_buffer_index *table_new(unsigned slot_bits)
{
    size_t size = sizeof(struct pt_buffer_index) + (sizeof(uint64_t) << slot_bits);
    struct pt_buffer_index *index = pt_block_alloc(size);

    if (index == NULL)
        return NULL;
    index->shift = SLOT_BITS_MAX - slot_bits;
    index->mask = (uint32_t)((UINT64_C(1) << slot_bits) - 1);
    index->memory_size = size;
    return index;
}

/* No thread but ours sees @p to: its slots need no order. */
static void copy(struct pt_buffer_index *to, const struct pt_buffer_index *from)
{
    for (uint64_t i = 0; i <= from->mask; i++) {
        uint64_t slot = atomic_load_explicit(&from->slots[i], memory_order_relaxed);
        uint32_t position = (uint32_t)(slot >> 32) >> to->shift;

        if (slot == 0)
            continue;
        while (atomic_load_explicit(&to->slots[position], memory_order_relaxed) != 0)
            position = (position + 1) & to->mask;
        atomic_store_explicit(&to->slots[position], slot, memory_order_relaxed);
    }
}

struct pt_buffer_index *pt_buffer_index_new(size_t count, struct pt_buffer_index *smaller)
{
    struct pt_buffer_index *index;
    unsigned slot_bits = SLOT_BITS_MIN;

    while (slot_bits < SLOT_BITS_MAX && (UINT64_C(1) << slot_bits) / 10 * 7 < count)
        slot_bits++;
    PT_ASSERT((UINT64_C(1) << slot_bits) / 10 * 7 >= count);
    index = table_new(slot_bits);
    if (index == NULL)
        return NULL;
    if (smaller != NULL)
        copy(index, smaller);
    index->smaller = smaller;
    return index;
}

void pt_buffer_index_free_all(struct pt_buffer_index *index)
{
    while (index != NULL) {
        struct pt_buffer_index *smaller = index->smaller;

        pt_block_free(index, index->memory_size);
        index = smaller;
    }
}

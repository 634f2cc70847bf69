#include "bench/key_source.h"
#include "bench/stopwatch.h"

#include <endian.h>
#include <string.h>

void pt_key_source_init(struct pt_key_source *source, uint64_t seed, uint64_t entry_count)
{
    source->seed = pt_mix(seed);
    source->entry_count = entry_count;
    for (size_t i = 0; i < sizeof(source->pool); i++)
        source->pool[i] = (uint8_t)(pt_mix(source->seed + i) >> 56);
}

static void key_set(uint8_t *key, uint64_t high, uint64_t seed)
{
    uint64_t halves[2] = {htobe64(high), htobe64(pt_mix(high ^ ~seed))};

    memcpy(key, halves, PT_SOURCE_KEY_SIZE);
}

/* pt_mix() is a permutation: different numbers give different keys. */
static uint64_t scattered(const struct pt_key_source *source, uint64_t number)
{
    return pt_mix(number ^ source->seed);
}

/* The space of keys cut into entry_count equal parts, one key at random in each. */
static uint64_t ascending(const struct pt_key_source *source, uint64_t number)
{
    uint64_t stride = UINT64_MAX / source->entry_count;

    return number * stride + pt_spread(scattered(source, number), stride);
}

static void entry_fill(struct pt_block *block, size_t at, const struct pt_key_source *source,
                       uint64_t number, bool sorted)
{
    uint8_t *key = block->key_bytes[at];
    size_t window = (size_t)pt_spread(pt_mix(number + source->seed), PT_SOURCE_POOL_SIZE);

    key_set(key, sorted ? ascending(source, number) : scattered(source, number), source->seed);
    block->keys[at] = (struct peat_bytes){key, PT_SOURCE_KEY_SIZE};
    block->entries[at] = (struct peat_entry){
        .key = block->keys[at],
        .value = {source->pool + window, PT_SOURCE_VALUE_SIZE},
    };
}

void pt_block_fill(struct pt_block *block, const struct pt_key_source *source,
                   enum pt_choice choice, uint64_t series, uint64_t first, size_t count)
{
    uint64_t stream = pt_mix(source->seed ^ (series + 1));

    block->count = count;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = first + i;

        if (choice == PT_CHOOSE_EXISTING)
            number = pt_spread(pt_mix(stream + number), source->entry_count);
        else if (choice == PT_CHOOSE_ABSENT)
            number = source->entry_count + (pt_mix(stream + number) >> 16);
        entry_fill(block, i, source, number, choice == PT_CHOOSE_NEXT_SORTED);
    }
}

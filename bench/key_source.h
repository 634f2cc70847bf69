/*
 * Keys and values made from a number, so that only the stores take memory: entry i of a seed is
 * always the same, whoever asks.
 */
#ifndef PEAT_BENCH_KEY_SOURCE_H
#define PEAT_BENCH_KEY_SOURCE_H

#include "core/peat.h"

enum {
    PT_SOURCE_KEY_SIZE = 16,
    PT_SOURCE_VALUE_SIZE = 100,
    PT_SOURCE_ENTRY_SIZE = PT_SOURCE_KEY_SIZE + PT_SOURCE_VALUE_SIZE,
    PT_SOURCE_POOL_SIZE = 65536, /* values are windows into a pool that stays in the L2 cache */
    PT_BLOCK_SIZE = 1000         /* entries in a block: a batch of the loads */
};

/* Immutable once made. */
struct pt_key_source {
    uint64_t seed;
    uint64_t entry_count;
    uint8_t pool[PT_SOURCE_POOL_SIZE + PT_SOURCE_VALUE_SIZE];
};

/* Which entries a block holds. */
enum pt_choice {
    PT_CHOOSE_NEXT,        /* those of the store, each once, in an order that has no order */
    PT_CHOOSE_NEXT_SORTED, /* as many others, in key order */
    PT_CHOOSE_EXISTING,    /* from PT_CHOOSE_NEXT's, at random */
    PT_CHOOSE_ABSENT       /* never one of PT_CHOOSE_NEXT's */
};

/* Some entries, ready before the clock starts. */
struct pt_block {
    size_t count;
    uint8_t key_bytes[PT_BLOCK_SIZE][PT_SOURCE_KEY_SIZE];
    struct peat_entry entries[PT_BLOCK_SIZE];
    struct peat_bytes keys[PT_BLOCK_SIZE]; /* the entries' keys, side by side */
};

void pt_key_source_init(struct pt_key_source *source, uint64_t seed, uint64_t entry_count);

/* Fill @p block with the choices number @p first to @p first + @p count - 1 of series @p series
 * (the two PT_CHOOSE_NEXT have one series only). */
void pt_block_fill(struct pt_block *block, const struct pt_key_source *source,
                   enum pt_choice choice, uint64_t series, uint64_t first, size_t count);

#endif

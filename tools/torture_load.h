/*
 * The load of 'peat torture': numbered batches, each of which does what follows from its number and the
 * load's seed; so what a store must show follows from the number of the last batch in it.
 */
#ifndef PEAT_TOOLS_TORTURE_LOAD_H
#define PEAT_TOOLS_TORTURE_LOAD_H

#include "core/peat.h"

enum { PT_LOAD_SLOTS = 512, PT_LOAD_WORDS = 200 };

/* What is under one key: written by which batch. */
struct pt_load_slot {
    uint64_t batch; /* 0: the key is absent */
    uint32_t size;  /* bytes of the value */
};

/* What a store shows after batch @p batch. Owned by one thread. */
struct pt_load {
    uint64_t seed;
    uint64_t batch;
    struct pt_load_slot slots[PT_LOAD_SLOTS];
    char finding[PT_LOAD_WORDS]; /* what is wrong, once pt_load_verify() has said so */
};

/* Of an empty store. */
void pt_load_init(struct pt_load *load, uint64_t seed);
/* As after batch @p batch, which is not before load->batch. */
void pt_load_advance(struct pt_load *load, uint64_t batch);

/* The collection that batches write to, beside the root; made if it is not there. It is the caller's. */
enum peat_status pt_load_collection(struct peat_db *db, struct peat_collection **collection_out);

/* Commit batch @p batch of the load with @p seed. */
enum peat_status pt_load_write(struct peat_db *db, struct peat_collection *collection,
                               uint64_t seed, uint64_t batch, enum peat_durability durability);

/* The number of the last batch that the snapshot shows (0: none), and the load's seed. PEAT_DONE: they are
 * not the same in both places that each batch writes them to: a batch is there by half. */
enum peat_status pt_load_position(const struct peat_snapshot *snapshot, uint64_t *batch_out,
                                  uint64_t *seed_out);

/* Whether the snapshot shows load->batch, in full, both ways: PEAT_OK, PEAT_DONE (not: see finding), or
 * what reading gives. */
enum peat_status pt_load_verify(struct pt_load *load, const struct peat_snapshot *snapshot);

/* A number that looks random, made of another one. */
uint64_t pt_load_mix(uint64_t number);

#endif

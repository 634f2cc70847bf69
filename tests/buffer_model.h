/*
 * A write buffer beside a plain list of what was done to it: the list is searched from its end, so
 * what it answers is easy to believe.
 */
#ifndef PEAT_TESTS_BUFFER_MODEL_H
#define PEAT_TESTS_BUFFER_MODEL_H

#include "core/db/write_buffer.h"
#include "tests/hard_keys.h"
#include "tests/support.h"

enum { PT_MODEL_HASH_SEED = 77, PT_MODEL_FIRST_COMMIT = 5 };

struct pt_model_operation {
    enum pt_op op;
    size_t key;          /* number; of the low end of a range delete */
    size_t high;         /* number, of a range delete */
    uint64_t value_seed; /* of a put, see pt_value_fill() */
    size_t value_size;
    uint64_t commit;
};

struct pt_buffer_model {
    struct pt_write_buffer *buffer;
    uint64_t commit; /* the last one, published */
    size_t key_count;
    uint8_t (*rooms)[PT_HARD_KEY_SIZE_MAX];
    struct peat_bytes *keys; /* in key order; number: index */
    struct pt_model_operation *operations;
    size_t count;
    size_t capacity;
};

/* An empty buffer, and hard keys from number @p first_key on. */
void pt_buffer_model_open(struct pt_buffer_model *model, size_t capacity, uint64_t first_key,
                          size_t key_count);
void pt_buffer_model_close(struct pt_buffer_model *model);

uint64_t pt_model_hash(struct peat_bytes key);

/* One commit of @p count random operations, one in @p range_chance of them a range delete (0: none),
 * published if @p publish. False: the buffer is full, and nothing was done. */
bool pt_buffer_model_commit(struct pt_buffer_model *model, struct pt_dice *dice, size_t count,
                            uint64_t range_chance, bool publish);
void pt_buffer_model_publish(struct pt_buffer_model *model);

/* The newest operation on key number @p key as of @p commit; NULL: none. */
const struct pt_model_operation *pt_buffer_model_find(const struct pt_buffer_model *model,
                                                      size_t key, uint64_t commit);
/* @p entry is what the put or delete @p operation wrote. */
void pt_model_require_entry(const struct pt_buffer_model *model,
                            const struct pt_model_operation *operation,
                            const struct pt_entry *entry);
/* A get of each key as of @p commit gives what it should. */
void pt_model_require_gets(const struct pt_buffer_model *model, uint64_t commit);

#endif

/*
 * What a store must hold: every version of every key of every collection, each under the commit
 * number that wrote it, so that any snapshot can be compared in full. Plain sorted arrays; values
 * are kept as a seed and a size (see pt_value_fill()).
 */
#ifndef PEAT_TESTS_ORACLE_H
#define PEAT_TESTS_ORACLE_H

#include "core/peat.h"

struct pt_oracle_value {
    uint64_t seed;
    size_t size; /* bytes */
};

/* A live key as of some commit. The key is the oracle's, valid until pruned or rolled back. */
struct pt_oracle_entry {
    struct peat_bytes key;
    struct pt_oracle_value value;
};

struct pt_oracle_key; /* a key with its versions */

struct pt_oracle_collection {
    struct pt_oracle_collection *parent; /* NULL: this is the root */
    char *name;
    uint64_t created;           /* the commit that made it; 0 for the root */
    uint64_t dropped;           /* the commit that dropped it; UINT64_MAX: none */
    struct pt_oracle_key *keys; /* sorted */
    size_t key_count;
    size_t key_capacity;
    struct pt_oracle_collection **children; /* in the order they were made */
    size_t child_count;
};

/* All keys live at one commit within bounds, in order. */
struct pt_oracle_view {
    struct pt_oracle_entry *entries;
    size_t count;
};

/* The root collection; release with pt_oracle_free(). */
struct pt_oracle_collection *pt_oracle_new(void);
void pt_oracle_free(struct pt_oracle_collection *root);

/* <0, 0 or >0 in memcmp order; a prefix sorts before what it starts. */
int pt_oracle_compare(struct peat_bytes a, struct peat_bytes b);

bool pt_oracle_is_live(const struct pt_oracle_collection *collection, uint64_t commit);
struct pt_oracle_collection *pt_oracle_create(struct pt_oracle_collection *parent, const char *name,
                                              uint64_t commit);
/* The child of that name as of @p commit; NULL: none. */
struct pt_oracle_collection *pt_oracle_find(struct pt_oracle_collection *parent, const char *name,
                                            uint64_t commit);
/* With everything below it. */
void pt_oracle_drop(struct pt_oracle_collection *collection, uint64_t commit);

/* Changes come in commit order; several of one commit apply one after the other. */
void pt_oracle_put(struct pt_oracle_collection *collection, struct peat_bytes key,
                   struct pt_oracle_value value, uint64_t commit);
void pt_oracle_delete(struct pt_oracle_collection *collection, struct peat_bytes key,
                      uint64_t commit);
/* Bounds as in peat_batch_delete_range(). */
void pt_oracle_delete_range(struct pt_oracle_collection *collection, struct peat_bytes low,
                            struct peat_bytes high, uint64_t commit);

bool pt_oracle_get(const struct pt_oracle_collection *collection, struct peat_bytes key,
                   uint64_t commit, struct pt_oracle_value *value_out);

/* A range of NULL is everything. Release with pt_oracle_view_fini(). */
void pt_oracle_view_init(struct pt_oracle_view *view, const struct pt_oracle_collection *collection,
                         uint64_t commit, const struct peat_range *range);
void pt_oracle_view_fini(struct pt_oracle_view *view);
/* Index of the first entry >= @p key; count: none. */
size_t pt_oracle_view_seek(const struct pt_oracle_view *view, struct peat_bytes key);

/* One number for everything in the collection and below it: equal to pt_compare_fingerprint() of a
 * store that holds the same. */
uint64_t pt_oracle_fingerprint(const struct pt_oracle_collection *collection, uint64_t commit);
uint64_t pt_oracle_fingerprint_entry(uint64_t start, struct peat_bytes key,
                                     struct peat_bytes value);
uint64_t pt_oracle_fingerprint_child(uint64_t start, const char *name, uint64_t child);

/* Forget what nobody at @p oldest or later can see. */
void pt_oracle_prune(struct pt_oracle_collection *root, uint64_t oldest);
/* Undo everything after @p commit. */
void pt_oracle_rollback(struct pt_oracle_collection *root, uint64_t commit);

#endif

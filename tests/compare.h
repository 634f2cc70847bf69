/* The comparison of a store with the oracle: whole scans, look-ups, random walks of iterators. */
#ifndef PEAT_TESTS_COMPARE_H
#define PEAT_TESTS_COMPARE_H

#include "tests/oracle.h"
#include "tests/support.h"

/* A key to probe @p view with: one of its own, or a near miss, or an end. It lies in @p buffer
 * where it is not the view's own. */
enum {
    PT_PROBE_SIZE = 4096 /* bytes of buffer; longer keys are cut */
};
struct peat_bytes pt_compare_probe(const struct pt_oracle_view *view, struct pt_dice *dice,
                                   uint8_t buffer[PT_PROBE_SIZE]);

/* The whole collection forward, backward and by next_many. */
void pt_compare_scan(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                     const struct pt_oracle_view *view);

/* Every key forward, values included; cheaper than pt_compare_scan(). */
void pt_compare_forward(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                        const struct pt_oracle_view *view);

/* @p count look-ups of present and absent keys: get, and get_many over all of them. */
void pt_compare_lookups(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                        const struct pt_oracle_view *view, struct pt_dice *dice, size_t count);

/* @p count random moves of an iterator that shows exactly @p view, with values unless
 * @p keys_only. */
void pt_compare_walk(struct peat_iterator *iterator, const struct pt_oracle_view *view,
                     struct pt_dice *dice, size_t count, bool keys_only);

/* Open an iterator with random bounds over what @p model holds at the snapshot's commit, and walk
 * it. */
void pt_compare_bounded(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                        const struct pt_oracle_collection *model, struct pt_dice *dice,
                        size_t count);

/* Handles of all collections that a snapshot shows, so that it can be read in full later, when
 * their names may mean others. */
struct pt_tree;

/* @p snapshot must show the newest state that @p db knows. Close it before the store. */
struct pt_tree *pt_tree_open(struct peat_db *db, const struct peat_snapshot *snapshot);
/* One number for everything in it, see pt_oracle_fingerprint(). */
uint64_t pt_tree_fingerprint(const struct pt_tree *tree, const struct peat_snapshot *snapshot);
void pt_tree_close(struct pt_tree *tree);

/* peat_check() finds nothing. */
void pt_compare_check(struct peat_db *db);

#endif

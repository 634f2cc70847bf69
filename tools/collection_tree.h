/* All collections of a store, as of a snapshot, from the root down. */
#ifndef PEAT_TOOLS_COLLECTION_TREE_H
#define PEAT_TOOLS_COLLECTION_TREE_H

#include "tools/target.h"

/*
 * Call @p visit for the root and every collection below it, parents first, siblings in order, until
 * it gives anything but PT_EXIT_DONE. The collection and its path (see collection_path.h) are
 * borrowed.
 */
enum pt_exit pt_tree_walk(const struct pt_target *target,
                          enum pt_exit (*visit)(void *context, struct peat_collection *collection,
                                                struct peat_bytes path),
                          void *context);

#endif

/*
 * Collections: handles, and the catalogue that gives names their ids.
 *
 * The catalogue is the collection with id 0. Its keys are the parent's id prefix followed by the
 * name, its values the id as 8 bytes, little-endian. One handle exists per open id, shared and
 * counted, so that a drop is seen through all of them.
 */
#ifndef PEAT_CORE_DB_COLLECTION_H
#define PEAT_CORE_DB_COLLECTION_H

#include "core/base/thread.h"
#include "core/db/collection_id.h"
#include "core/segment/entry_format.h"

struct pt_catalogue;

/* Immutable but for pins and dropped. */
struct peat_collection {
    struct pt_catalogue *catalogue;
    _Atomic uint64_t pins;
    _Atomic bool dropped; /* set by the commit leader when the drop is in the log */
    uint64_t id;
    struct pt_id_prefix prefix;
    struct peat_bytes entry_key;  /* owned: its key in the catalogue, parent's prefix and name */
    struct peat_collection *next; /* guarded by catalogue->mutex */
};

/* The open handles of a store, and who may change the catalogue. Counted, because handles, and batches
 * that name them, may be released after the store. */
struct pt_catalogue {
    _Atomic uint64_t pins;
    struct pt_mutex change_mutex; /* one creation or drop at a time; held across the commit */
    struct pt_mutex mutex;        /* the list */
    struct peat_collection *handles PT_GUARDED_BY(mutex);
    _Atomic uint64_t next_id; /* the next collection's */
};

struct pt_catalogue *pt_catalogue_new(void);             /* pinned once; NULL: no memory */
void pt_catalogue_unpin(struct pt_catalogue *catalogue); /* NULL is allowed */

/* The shared handle for @p id, which stands in the catalogue under @p entry_key. PEAT_NO_MEMORY. */
enum peat_status pt_catalogue_handle(struct pt_catalogue *catalogue, uint64_t id,
                                     struct peat_bytes entry_key,
                                     struct peat_collection **collection_out);
/* Mark the handle of @p id, if there is one. */
void pt_catalogue_mark_dropped(struct pt_catalogue *catalogue, uint64_t id);
/* Whether there is a handle of that id, but of another entry than the one with that key. */
bool pt_catalogue_is_of_another(struct pt_catalogue *catalogue, uint64_t id,
                                struct peat_bytes entry_key);
/* The collections are those of @p ids (ascending) from now on: mark all handles as dropped or not. */
void pt_catalogue_replace(struct pt_catalogue *catalogue, const uint64_t *ids, size_t count);
/* An entry of the catalogue was read back from the log: its id is taken. */
void pt_catalogue_note(struct pt_catalogue *catalogue, const struct pt_entry *entry);

static inline void pt_collection_pin(struct peat_collection *collection)
{
    atomic_fetch_add_explicit(&collection->pins, 1, memory_order_relaxed);
}

extern const struct pt_id_prefix pt_root_prefix;

/* Whether the store of @p catalogue gave it out; the root (NULL) is every store's. */
static inline bool pt_collection_is_of(const struct peat_collection *collection,
                                       const struct pt_catalogue *catalogue)
{
    return collection == NULL || collection->catalogue == catalogue;
}

/* PEAT_INVALID, in words. */
enum peat_status pt_fail_foreign(void) __attribute__((cold));

/* The prefix of its keys; NULL is the root collection. */
static inline const struct pt_id_prefix *pt_collection_prefix(
    const struct peat_collection *collection)
{
    return collection == NULL ? &pt_root_prefix : &collection->prefix;
}

#endif

/* The collections that a load writes to, kept open and found by their path. */
#ifndef PEAT_TOOLS_COLLECTION_CACHE_H
#define PEAT_TOOLS_COLLECTION_CACHE_H

#include "tools/textbuf.h"

enum { PT_COLLECTION_CACHE_MAX = 512 };

struct pt_cached_collection {
    struct pt_textbuf path;
    struct peat_collection *collection;
};

/* Owned by one thread. */
struct pt_collection_cache {
    struct peat_db *db;             /* borrowed */
    struct peat_collection *parent; /* of all the paths; borrowed, NULL: the root */
    size_t count;
    size_t last;                                                  /* index of the one found last */
    struct pt_cached_collection entries[PT_COLLECTION_CACHE_MAX]; /* sorted by path */
};

void pt_collection_cache_init(struct pt_collection_cache *cache, struct peat_db *db,
                              struct peat_collection *parent);
/* Close all of them: what refers to them, a batch for instance, must be done with. */
void pt_collection_cache_clear(struct pt_collection_cache *cache);

/* Whether the collection at @p path is to be opened but there is no room: clear it first. */
bool pt_collection_cache_is_full(struct pt_collection_cache *cache, struct peat_bytes path);

/* The collection at @p path, created if it is not there; the cache keeps it. Fails as
 * peat_collection_open() does. */
enum peat_status pt_collection_cache_find(struct pt_collection_cache *cache, struct peat_bytes path,
                                          struct peat_collection **collection_out);

#endif

#include "tools/collection_cache.h"

#include "tools/collection_path.h"

#include <string.h>

void pt_collection_cache_init(struct pt_collection_cache *cache, struct peat_db *db,
                              struct peat_collection *parent)
{
    cache->db = db;
    cache->parent = parent;
    cache->count = 0;
    cache->last = 0;
}

void pt_collection_cache_clear(struct pt_collection_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++) {
        peat_collection_close(cache->entries[i].collection);
        pt_textbuf_fini(&cache->entries[i].path);
    }
    cache->count = 0;
}

/* <0, 0 or >0; the order is only for searching. */
static int path_compare(const struct pt_cached_collection *entry, struct peat_bytes path)
{
    struct peat_bytes own = pt_textbuf_bytes(&entry->path);

    if (own.size != path.size)
        return own.size < path.size ? -1 : 1;
    return memcmp(own.data, path.data, path.size);
}

/* Set last to the entry for @p path and return true, or to where it belongs and return false. */
static bool locate(struct pt_collection_cache *cache, struct peat_bytes path)
{
    size_t low = 0, high = cache->count;

    if (cache->last < cache->count && path_compare(&cache->entries[cache->last], path) == 0)
        return true;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (path_compare(&cache->entries[middle], path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    cache->last = low;
    return low < cache->count && path_compare(&cache->entries[low], path) == 0;
}

bool pt_collection_cache_is_full(struct pt_collection_cache *cache, struct peat_bytes path)
{
    return cache->count == PT_COLLECTION_CACHE_MAX && !locate(cache, path);
}

enum peat_status pt_collection_cache_find(struct pt_collection_cache *cache, struct peat_bytes path,
                                          struct peat_collection **collection_out)
{
    struct pt_cached_collection entry;
    enum peat_status status;

    *collection_out = cache->parent;
    if (path.size == 0)
        return PEAT_OK;
    if (locate(cache, path)) {
        *collection_out = cache->entries[cache->last].collection;
        return PEAT_OK;
    }
    status = pt_path_open(cache->db, cache->parent, path, PEAT_CREATE, &entry.collection);
    if (status != PEAT_OK)
        return status;
    pt_textbuf_init(&entry.path, path.size);
    pt_textbuf_append(&entry.path, path.data, path.size);
    if (entry.path.status != PEAT_OK) {
        status = entry.path.status;
        peat_collection_close(entry.collection);
        return status;
    }
    memmove(&cache->entries[cache->last + 1], &cache->entries[cache->last],
            (cache->count - cache->last) * sizeof(entry));
    cache->entries[cache->last] = entry;
    cache->count++;
    *collection_out = entry.collection;
    return PEAT_OK;
}

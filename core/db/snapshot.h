/* A snapshot: a pinned stack and a commit number; and the stored keys that reads ask it for. */
#ifndef PEAT_CORE_DB_SNAPSHOT_H
#define PEAT_CORE_DB_SNAPSHOT_H

#include "core/base/alloc.h"
#include "core/db/collection.h"
#include "core/db/stack.h"

/* Immutable. */
struct peat_snapshot {
    struct peat_db *db;
    struct pt_pin pin;
    uint64_t commit;
};

/* A key with its collection's prefix: short ones in place, long ones on the heap. */
struct pt_stored_key {
    struct peat_bytes bytes;
    void *heap; /* NULL: in place */
    uint8_t place[120];
};

/* The general case of pt_stored_key_init(). */
enum peat_status pt_stored_key_init_long(struct pt_stored_key *stored,
                                         const struct pt_id_prefix *prefix, struct peat_bytes key);

/* PEAT_INVALID, PEAT_TOO_LARGE, PEAT_NO_MEMORY. Release with pt_stored_key_fini(). */
static inline enum peat_status pt_stored_key_init(struct pt_stored_key *stored,
                                                  const struct pt_id_prefix *prefix,
                                                  struct peat_bytes key)
{
    if (__builtin_expect(key.size > sizeof(stored->place) - PT_ID_PREFIX_MAX || key.data == NULL,
                         0))
        return pt_stored_key_init_long(stored, prefix, key);
    stored->heap = NULL;
    memcpy(stored->place, prefix->bytes, PT_ID_PREFIX_MAX); /* all: a fixed size is faster */
    pt_bytes_put(stored->place + prefix->size, key);
    stored->bytes = pt_bytes(stored->place, prefix->size + key.size);
    return PEAT_OK;
}

static inline void pt_stored_key_fini(struct pt_stored_key *stored)
{
    if (__builtin_expect(stored->heap != NULL, 0))
        pt_free(stored->heap);
}

/*
 * An iterator over everything that a snapshot shows, all collections and the catalogue, by stored
 * keys: peat_iterator_key() gives them with their collections' ids. As peat_iterator_open() otherwise.
 */
enum peat_status pt_iterator_open_all(const struct peat_snapshot *snapshot,
                                      struct peat_iterator **iterator_out);
/* The same over stored keys in [low, high), which are copied; data NULL: unbounded. */
enum peat_status pt_iterator_open_stored(const struct peat_snapshot *snapshot,
                                         struct peat_bytes low, struct peat_bytes high,
                                         struct peat_iterator **iterator_out);

#endif

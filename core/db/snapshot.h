/* A snapshot: a pinned stack and a commit number; and the stored keys that reads ask it for. */
#ifndef PEAT_CORE_DB_SNAPSHOT_H
#define PEAT_CORE_DB_SNAPSHOT_H

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

/* PEAT_INVALID, PEAT_TOO_LARGE, PEAT_NO_MEMORY. Release with pt_stored_key_fini(). */
enum peat_status pt_stored_key_init(struct pt_stored_key *stored, const struct pt_id_prefix *prefix,
                                    struct peat_bytes key);
void pt_stored_key_fini(struct pt_stored_key *stored);

#endif

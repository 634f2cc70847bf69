/*
 * A batch: operations encoded once, as entries one after the other, which is what the log stores and
 * the write buffer takes.
 */
#ifndef PEAT_CORE_DB_BATCH_H
#define PEAT_CORE_DB_BATCH_H

#include "core/db/collection.h"

/* One thread at a time. */
struct peat_batch {
    uint8_t *data; /* owned: entries, see entry_format.h */
    size_t size;   /* bytes used */
    size_t capacity;
    size_t count;                         /* operations */
    uint64_t put_size;                    /* bytes of keys and values handed in */
    struct peat_collection **collections; /* pinned: each that an operation names, once */
    size_t collection_count;
    size_t collection_capacity;
};

/* Add an operation on the key (@p prefix, @p key); *value_out (may be NULL): where the value lies.
 * PEAT_TOO_LARGE, PEAT_NO_MEMORY, PEAT_INVALID. */
enum peat_status pt_batch_add(struct peat_batch *batch, enum pt_op op,
                              const struct pt_id_prefix *prefix, struct peat_bytes key,
                              struct peat_bytes value, void **value_out);

void pt_batch_init(struct peat_batch *batch);
void pt_batch_fini(struct peat_batch *batch);

/* Check a key and a value from outside. PEAT_INVALID, PEAT_TOO_LARGE. */
enum peat_status pt_check_bytes(struct peat_bytes key, struct peat_bytes value);

/*
 * Step through encoded operations: false at the end, or where what follows is not a whole entry
 * (then *rest is not 0).
 */
struct pt_batch_cursor {
    const uint8_t *place;
    size_t rest; /* bytes */
    struct pt_entry entry;
};

static inline bool pt_batch_cursor_next(struct pt_batch_cursor *cursor)
{
    uint64_t size;

    if (cursor->rest == 0 || !pt_entry_read(cursor->place, cursor->rest, &cursor->entry, &size))
        return false;
    cursor->place += size;
    cursor->rest -= (size_t)size;
    return true;
}

#endif

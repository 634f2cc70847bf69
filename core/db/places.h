/* Places: which collection of a snapshot is called what, to say of stored keys whose they are. */
#ifndef PEAT_CORE_DB_PLACES_H
#define PEAT_CORE_DB_PLACES_H

#include "core/db/snapshot.h"

/* One collection. */
struct pt_place {
    uint64_t id;
    uint64_t parent; /* id; 0: not known */
    char *name;      /* owned; NULL: not known */
};

/* All zeros before it is loaded; one thread. */
struct pt_places {
    struct pt_place *places; /* owned; ascending by id; neither catalogue nor root are among them */
    size_t count;
    size_t capacity;
};

/* What the catalogue says as of @p snapshot, as far as it can be read. Release with pt_places_fini(), also
 * after a failure. PEAT_NO_MEMORY. */
enum peat_status pt_places_load(struct pt_places *places, const struct peat_snapshot *snapshot);
void pt_places_fini(struct pt_places *places);

/* Add collections without a name: the ids under which @p snapshot has entries, or collections, and which
 * nothing names. PEAT_NO_MEMORY, PEAT_IO, PEAT_CORRUPT. */
enum peat_status pt_places_add_nameless(struct pt_places *places,
                                        const struct peat_snapshot *snapshot);

/* Tell of each collection that has keys in @p stored, a range of stored keys, which ones. PEAT_NO_MEMORY. */
enum peat_status pt_places_split(const struct pt_places *places, const struct peat_range *stored,
                                 void (*tell)(void *context, const struct peat_lost *lost),
                                 void *context);

#endif

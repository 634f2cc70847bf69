#include "core/db/places.h"

#include "core/db/collection_id.h"

#include <stdlib.h>

enum { DEPTH_MAX = 1000 /* collections above one another: more is a circle */ };

/* ---- The list ---- */

static int id_order(const void *left, const void *right)
{
    const struct pt_place *a = left;
    const struct pt_place *b = right;

    return (a->id > b->id) - (a->id < b->id);
}

static void sort(struct pt_places *places)
{
    if (places->count > 1)
        qsort(places->places, places->count, sizeof(*places->places), id_order);
}

static const struct pt_place *find(const struct pt_places *places, uint64_t id)
{
    struct pt_place wanted = {.id = id};

    return places->count == 0
               ? NULL
               : bsearch(&wanted, places->places, places->count, sizeof(wanted), id_order);
}

/* Not sorted in. @p name data NULL: not known. */
static enum peat_status add(struct pt_places *places, uint64_t id, uint64_t parent,
                            struct peat_bytes name)
{
    struct pt_place place = {id, parent, NULL};

    if (places->count == places->capacity) {
        size_t capacity = places->capacity == 0 ? 16 : 2 * places->capacity;
        struct pt_place *grown = pt_realloc(places->places, capacity * sizeof(*grown));

        if (grown == NULL)
            return pt_fail(PEAT_NO_MEMORY, "list of %zu collections", capacity);
        places->places = grown;
        places->capacity = capacity;
    }
    if (name.data != NULL) {
        place.name = pt_calloc(1, name.size + 1);
        if (place.name == NULL)
            return pt_fail(PEAT_NO_MEMORY, "name of a collection");
        pt_bytes_put((uint8_t *)place.name, name);
    }
    places->places[places->count++] = place;
    return PEAT_OK;
}

void pt_places_fini(struct pt_places *places)
{
    for (size_t i = 0; i < places->count; i++)
        pt_free(places->places[i].name);
    pt_free(places->places);
    memset(places, 0, sizeof(*places));
}

/* ---- Reading the catalogue ---- */

/* The next entry that can be read, wherever the iterator stands. */
static enum peat_status past_damage(struct peat_iterator *iterator, enum peat_status status)
{
    struct peat_range range;

    while ((status == PEAT_CORRUPT || status == PEAT_IO) &&
           peat_iterator_damage(iterator, &range) == PEAT_OK)
        status = peat_iterator_pass_damage(iterator);
    return status;
}

/* A catalogue's entry: behind its own id the parent's, then the name. */
static enum peat_status take_entry(struct pt_places *places, struct peat_bytes key,
                                   struct peat_bytes value)
{
    const uint8_t *bytes = key.data;
    uint64_t parent;
    size_t size;

    if (value.size != 8 || pt_read_le64(value.data) >= PT_COLLECTION_ID_MAX ||
        !pt_id_read(pt_bytes(bytes + 1, key.size - 1), &parent, &size))
        return PEAT_OK;
    return add(places, pt_read_le64(value.data), parent,
               pt_bytes(bytes + 1 + size, key.size - 1 - size));
}

enum peat_status pt_places_load(struct pt_places *places, const struct peat_snapshot *snapshot)
{
    struct peat_iterator *iterator = NULL;
    enum peat_status status = pt_iterator_open_all(snapshot, &iterator);

    if (status == PEAT_OK)
        status = past_damage(iterator, peat_iterator_first(iterator));
    while (status == PEAT_OK) {
        struct peat_bytes key = peat_iterator_key(iterator);

        if (key.size == 0 || *(const uint8_t *)key.data != PT_CATALOGUE_ID)
            break;
        status = take_entry(places, key, peat_iterator_value(iterator));
        if (status == PEAT_OK)
            status = past_damage(iterator, peat_iterator_next(iterator));
    }
    peat_iterator_close(iterator);
    sort(places);
    return status == PEAT_NO_MEMORY ? status : PEAT_OK;
}

/* Add @p id unless it is known. */
static enum peat_status add_missing(struct pt_places *places, uint64_t id)
{
    enum peat_status status = PEAT_OK;

    if (id < PT_FIRST_FREE_ID || find(places, id) != NULL)
        return PEAT_OK;
    status = add(places, id, 0, pt_bytes(NULL, 0));
    sort(places);
    return status;
}

enum peat_status pt_places_add_nameless(struct pt_places *places,
                                        const struct peat_snapshot *snapshot)
{
    struct peat_iterator *iterator = NULL;
    size_t named_count = places->count;
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < named_count && status == PEAT_OK; i++)
        status = add_missing(places, places->places[i].parent);
    if (status == PEAT_OK)
        status = pt_iterator_open_all(snapshot, &iterator);
    if (status == PEAT_OK)
        status = past_damage(iterator, peat_iterator_first(iterator));
    while (status == PEAT_OK) { /* from collection to collection */
        struct pt_id_prefix end;
        uint64_t id;
        size_t size;

        if (!pt_id_read(peat_iterator_key(iterator), &id, &size))
            break;
        status = add_missing(places, id);
        end = pt_id_prefix_end(pt_id_prefix(id));
        if (status == PEAT_OK)
            status = past_damage(iterator, peat_iterator_seek(iterator, pt_id_prefix_bytes(&end)));
    }
    peat_iterator_close(iterator);
    return status == PEAT_DONE ? PEAT_OK : status;
}

/* ---- Telling ---- */

/* The names from the root down to @p id, on the heap; NULL: no memory. *known_out: all are known. */
static const char **names_of(const struct pt_places *places, uint64_t id, size_t *count_out,
                             bool *known_out)
{
    const struct pt_place *place = find(places, id);
    const char **names;
    size_t depth = 0;

    *count_out = 0;
    *known_out = id == PT_ROOT_ID;
    for (; place != NULL && place->name != NULL && depth < DEPTH_MAX; depth++) {
        *known_out = place->parent == PT_ROOT_ID;
        place = *known_out ? NULL : find(places, place->parent);
    }
    names = pt_calloc(depth + 1, sizeof(*names));
    if (names == NULL || !*known_out)
        return names;
    *count_out = depth;
    place = find(places, id);
    while (depth > 0) {
        names[--depth] = place->name;
        place = find(places, place->parent);
    }
    return names;
}

/* Tell what of collection @p id lies in @p stored, if anything does. */
static enum peat_status split_one(const struct pt_places *places, uint64_t id,
                                  const struct peat_range *stored, bool *told,
                                  void (*tell)(void *context, const struct peat_lost *lost),
                                  void *context)
{
    struct pt_id_prefix prefix = pt_id_prefix(id);
    struct pt_id_prefix end = pt_id_prefix_end(prefix);
    struct peat_lost lost = {.collection = id};
    const char **names;

    if ((stored->low.data != NULL &&
         pt_bytes_compare(stored->low, pt_id_prefix_bytes(&end)) >= 0) ||
        (stored->high.data != NULL &&
         pt_bytes_compare(stored->high, pt_id_prefix_bytes(&prefix)) <= 0))
        return PEAT_OK;
    names = names_of(places, id, &lost.name_count, &lost.is_named);
    if (names == NULL)
        return pt_fail(PEAT_NO_MEMORY, "names of a collection");
    lost.names = names;
    if (stored->low.data != NULL && pt_bytes_compare(stored->low, pt_id_prefix_bytes(&prefix)) > 0)
        lost.keys.low = pt_bytes((const uint8_t *)stored->low.data + prefix.size,
                                 stored->low.size - prefix.size);
    if (stored->high.data != NULL && pt_bytes_compare(stored->high, pt_id_prefix_bytes(&end)) < 0)
        lost.keys.high = pt_bytes((const uint8_t *)stored->high.data + prefix.size,
                                  stored->high.size - prefix.size);
    *told = true;
    tell(context, &lost);
    pt_free(names);
    return PEAT_OK;
}

enum peat_status pt_places_split(const struct pt_places *places, const struct peat_range *stored,
                                 void (*tell)(void *context, const struct peat_lost *lost),
                                 void *context)
{
    bool told = false;
    uint64_t id;
    size_t size;
    enum peat_status status = split_one(places, PT_CATALOGUE_ID, stored, &told, tell, context);

    if (status == PEAT_OK)
        status = split_one(places, PT_ROOT_ID, stored, &told, tell, context);
    for (size_t i = 0; i < places->count && status == PEAT_OK; i++)
        status = split_one(places, places->places[i].id, stored, &told, tell, context);
    /* Of a collection that nothing else tells of. */
    if (status == PEAT_OK && !told && stored->low.data != NULL &&
        pt_id_read(stored->low, &id, &size))
        status = split_one(places, id, stored, &told, tell, context);
    return status;
}

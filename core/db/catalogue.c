#include "core/db/db.h"

#include "core/base/alloc.h"

const struct pt_id_prefix pt_root_prefix = {{PT_ROOT_ID}, 1};

struct pt_catalogue *pt_catalogue_new(void)
{
    struct pt_catalogue *catalogue = pt_calloc(1, sizeof(*catalogue));

    if (catalogue == NULL)
        return NULL;
    pt_mutex_init(&catalogue->change_mutex);
    pt_mutex_init(&catalogue->mutex);
    atomic_store_explicit(&catalogue->pins, 1, memory_order_relaxed);
    atomic_store_explicit(&catalogue->next_id, PT_FIRST_FREE_ID, memory_order_relaxed);
    return catalogue;
}

void pt_catalogue_unpin(struct pt_catalogue *catalogue)
{
    if (catalogue == NULL ||
        atomic_fetch_sub_explicit(&catalogue->pins, 1, memory_order_acq_rel) > 1)
        return;
    PT_ASSERT(catalogue->handles == NULL);
    pt_mutex_fini(&catalogue->mutex);
    pt_mutex_fini(&catalogue->change_mutex);
    pt_free(catalogue);
}

/* ---- Handles ---- */

/* An id alone does not say which: it may have stood for another one, in a history that was left. */
static struct peat_collection *handle_find_locked(struct pt_catalogue *catalogue, uint64_t id,
                                                  struct peat_bytes entry_key)
    PT_REQUIRES(catalogue->mutex)
{
    struct peat_collection *collection = catalogue->handles;

    while (collection != NULL &&
           (collection->id != id || !pt_bytes_equal(collection->entry_key, entry_key)))
        collection = collection->next;
    return collection;
}

static struct peat_collection *handle_new(struct pt_catalogue *catalogue, uint64_t id,
                                          struct peat_bytes entry_key)
{
    struct peat_collection *collection = pt_calloc(1, sizeof(*collection));

    if (collection == NULL || pt_bytes_copy(entry_key, &collection->entry_key) < 0) {
        pt_free(collection);
        return NULL;
    }
    collection->catalogue = catalogue;
    atomic_fetch_add_explicit(&catalogue->pins, 1, memory_order_relaxed);
    collection->id = id;
    collection->prefix = pt_id_prefix(id);
    atomic_store_explicit(&collection->pins, 1, memory_order_relaxed);
    return collection;
}

enum peat_status pt_catalogue_handle(struct pt_catalogue *catalogue, uint64_t id,
                                     struct peat_bytes entry_key,
                                     struct peat_collection **collection_out)
{
    struct peat_collection *collection;

    pt_mutex_lock(&catalogue->mutex);
    collection = handle_find_locked(catalogue, id, entry_key);
    if (collection != NULL) {
        pt_collection_pin(collection);
    } else {
        collection = handle_new(catalogue, id, entry_key);
        if (collection != NULL) {
            collection->next = catalogue->handles;
            catalogue->handles = collection;
        }
    }
    pt_mutex_unlock(&catalogue->mutex);
    *collection_out = collection;
    return collection == NULL ? pt_fail(PEAT_NO_MEMORY, "collection handle") : PEAT_OK;
}

enum peat_status pt_fail_foreign(void)
{
    return pt_fail(PEAT_INVALID, "the collection was opened in another store");
}

void peat_collection_close(struct peat_collection *collection)
{
    struct pt_catalogue *catalogue;
    struct peat_collection **link;
    uint64_t pins;

    if (collection == NULL)
        return;
    /* Not the last pin: no lock. The last goes under the lock, where nobody can find it meanwhile. */
    pins = atomic_load_explicit(&collection->pins, memory_order_relaxed);
    while (pins > 1) {
        if (atomic_compare_exchange_weak_explicit(&collection->pins, &pins, pins - 1,
                                                  memory_order_release, memory_order_relaxed))
            return;
    }
    catalogue = collection->catalogue;
    pt_mutex_lock(&catalogue->mutex);
    if (atomic_fetch_sub_explicit(&collection->pins, 1, memory_order_acq_rel) == 1) {
        link = &catalogue->handles;
        while (*link != collection)
            link = &(*link)->next;
        *link = collection->next;
    } else {
        collection = NULL;
    }
    pt_mutex_unlock(&catalogue->mutex);
    if (collection == NULL)
        return;
    pt_bytes_fini(&collection->entry_key);
    pt_free(collection);
    pt_catalogue_unpin(catalogue);
}

uint64_t peat_collection_number(const struct peat_collection *collection)
{
    return collection == NULL ? PT_ROOT_ID : collection->id;
}

void pt_catalogue_mark_dropped(struct pt_catalogue *catalogue, uint64_t id)
{
    pt_mutex_lock(&catalogue->mutex);
    for (struct peat_collection *collection = catalogue->handles; collection != NULL;
         collection = collection->next)
        if (collection->id == id)
            atomic_store_explicit(&collection->dropped, true, memory_order_release);
    pt_mutex_unlock(&catalogue->mutex);
}

bool pt_catalogue_is_of_another(struct pt_catalogue *catalogue, uint64_t id,
                                struct peat_bytes entry_key)
{
    bool found = false;

    pt_mutex_lock(&catalogue->mutex);
    for (struct peat_collection *collection = catalogue->handles; collection != NULL && !found;
         collection = collection->next)
        found = collection->id == id && !pt_bytes_equal(collection->entry_key, entry_key);
    pt_mutex_unlock(&catalogue->mutex);
    return found;
}

static bool has_id(const uint64_t *ids, size_t count, uint64_t id)
{
    size_t begin = 0;

    while (count > 0) {
        size_t half = count / 2;

        if (ids[begin + half] == id)
            return true;
        if (ids[begin + half] < id) {
            begin += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return false;
}

void pt_catalogue_replace(struct pt_catalogue *catalogue, const uint64_t *ids, size_t count)
{
    pt_mutex_lock(&catalogue->mutex);
    for (struct peat_collection *collection = catalogue->handles; collection != NULL;
         collection = collection->next)
        atomic_store_explicit(&collection->dropped, !has_id(ids, count, collection->id),
                              memory_order_release);
    pt_mutex_unlock(&catalogue->mutex);
}

void pt_catalogue_note(struct pt_catalogue *catalogue, const struct pt_entry *entry)
{
    const uint8_t *key = entry->key.data;
    uint64_t id;

    if (entry->key.size == 0 || key[0] != PT_CATALOGUE_ID || entry->op != PT_OP_PUT ||
        entry->value.size != 8)
        return;
    id = pt_read_le64(entry->value.data);
    if (id < PT_COLLECTION_ID_MAX &&
        id >= atomic_load_explicit(&catalogue->next_id, memory_order_relaxed))
        atomic_store_explicit(&catalogue->next_id, id + 1, memory_order_relaxed);
}

/* ---- The catalogue's entries ---- */

/* The key of a child of @p parent in @p catalogue, without the catalogue's own prefix. */
static enum peat_status entry_key(const struct pt_catalogue *catalogue,
                                  const struct peat_collection *parent, const char *name,
                                  struct pt_stored_key *key_out)
{
    size_t size = strnlen(name, PEAT_NAME_SIZE_MAX + 1);

    if (!pt_collection_is_of(parent, catalogue))
        return pt_fail_foreign();
    if (size == 0 || size > PEAT_NAME_SIZE_MAX)
        return pt_fail(PEAT_INVALID, "a collection's name has 1 to %zu bytes", PEAT_NAME_SIZE_MAX);
    return pt_stored_key_init(key_out, pt_collection_prefix(parent), pt_bytes(name, size));
}

static struct pt_id_prefix catalogue_prefix(void)
{
    return pt_id_prefix(PT_CATALOGUE_ID);
}

/* The id that the catalogue gave @p key as of @p commit. */
static enum peat_status find_id_in(struct peat_db *db, const struct pt_stack *stack,
                                   uint64_t commit, struct peat_bytes key, uint64_t *id_out)
{
    struct pt_id_prefix prefix = catalogue_prefix();
    struct pt_stored_key stored;
    struct peat_bytes value = pt_bytes(NULL, 0);
    enum peat_status status = pt_stored_key_init(&stored, &prefix, key);

    if (status == PEAT_OK) {
        status =
            pt_stack_get(stack, commit, stored.bytes,
                         pt_hash(pt_hash_seed(db), stored.bytes.data, stored.bytes.size), &value);
        pt_stored_key_fini(&stored);
    }
    if (status == PEAT_OK && value.size != 8)
        status = pt_fail(PEAT_CORRUPT, "the catalogue holds an id of %zu bytes", value.size);
    if (status == PEAT_OK)
        *id_out = pt_read_le64(value.data);
    return status;
}

/* The id that it gives @p key now. */
static enum peat_status find_id(struct peat_db *db, struct peat_bytes key, uint64_t *id_out)
{
    struct pt_pin pin = pt_shelf_pin(&db->shelf);
    enum peat_status status = find_id_in(db, pin.stack, pt_stack_commit(pin.stack), key, id_out);

    pt_shelf_unpin(&db->shelf, pin);
    return status;
}

static bool parent_dropped(const struct peat_collection *parent)
{
    return parent != NULL && atomic_load_explicit(&parent->dropped, memory_order_acquire);
}

/* Give @p key the next id, in a commit of its own. change_mutex is held. */
static enum peat_status create(struct peat_db *db, struct peat_collection *parent,
                               struct peat_bytes key, uint64_t *id_out)
{
    struct pt_id_prefix prefix = catalogue_prefix();
    uint64_t id = atomic_fetch_add_explicit(&db->catalogue->next_id, 1, memory_order_relaxed);
    struct pt_le64 stored_id = pt_le64(id);
    struct peat_batch batch;
    enum peat_status status;

    if (id >= PT_COLLECTION_ID_MAX) { /* nobody makes so many: a number was forged */
        atomic_store_explicit(&db->catalogue->next_id, PT_COLLECTION_ID_MAX, memory_order_relaxed);
        return pt_fail(PEAT_CORRUPT, "collection ids have run out: no collection can be made");
    }
    pt_batch_init(&batch);
    status = pt_batch_add(&batch, PT_OP_PUT, &prefix, key, pt_bytes(&stored_id, sizeof(stored_id)),
                          NULL);
    if (status == PEAT_OK) {
        batch.collections = &parent; /* a parent dropped meanwhile refuses the commit */
        batch.collection_count = parent != NULL;
        status = pt_commit(db, &batch, PEAT_DEFAULT, NULL, 0, NULL);
        batch.collections = NULL;
        batch.collection_count = 0;
    }
    pt_batch_fini(&batch);
    *id_out = id;
    return status;
}

enum peat_status peat_collection_open(struct peat_db *db, struct peat_collection *parent,
                                      const char *name, unsigned flags,
                                      struct peat_collection **collection_out)
{
    struct pt_stored_key key;
    uint64_t id = 0;
    enum peat_status status;

    if (db == NULL || name == NULL || collection_out == NULL)
        return pt_fail_null();
    *collection_out = NULL;
    if ((flags & ~PEAT_CREATE) != 0)
        return pt_fail(PEAT_INVALID, "unknown flags 0x%x for a collection", flags);
    status = entry_key(db->catalogue, parent, name, &key);
    if (status < 0)
        return status;
    /* Held also when only looking, so that a handle is made before a drop marks it, or after. */
    pt_mutex_lock(&db->catalogue->change_mutex);
    if (parent_dropped(parent))
        status = PEAT_NOT_FOUND;
    else
        status = find_id(db, key.bytes, &id);
    if (status == PEAT_NOT_FOUND && (flags & PEAT_CREATE) != 0 && !parent_dropped(parent))
        status = create(db, parent, key.bytes, &id);
    if (status == PEAT_OK)
        status = pt_catalogue_handle(db->catalogue, id, key.bytes, collection_out);
    pt_mutex_unlock(&db->catalogue->change_mutex);
    pt_stored_key_fini(&key);
    return status;
}

enum peat_status peat_collection_open_at(const struct peat_snapshot *snapshot,
                                         struct peat_collection *parent, const char *name,
                                         struct peat_collection **collection_out)
{
    struct peat_db *db;
    struct pt_stored_key key;
    uint64_t newest_id = 0;
    uint64_t id = 0;
    enum peat_status newest = PEAT_OK;
    enum peat_status status;

    if (snapshot == NULL || name == NULL || collection_out == NULL)
        return pt_fail_null();
    *collection_out = NULL;
    db = snapshot->db;
    status = entry_key(db->catalogue, parent, name, &key);
    if (status < 0)
        return status;
    pt_mutex_lock(&db->catalogue->change_mutex); /* as in peat_collection_open() */
    status = find_id_in(db, snapshot->pin.stack, snapshot->commit, key.bytes, &id);
    if (status == PEAT_OK)
        newest = find_id(db, key.bytes, &newest_id);
    if (newest < 0)
        status = newest;
    if (status == PEAT_OK)
        status = pt_catalogue_handle(db->catalogue, id, key.bytes, collection_out);
    if (status == PEAT_OK && (newest == PEAT_NOT_FOUND || newest_id != id))
        pt_catalogue_mark_dropped(db->catalogue, id);
    pt_mutex_unlock(&db->catalogue->change_mutex);
    pt_stored_key_fini(&key);
    return status;
}

/* ---- Dropping ---- */

/* What a drop is about to do. */
struct drop {
    struct peat_batch batch;
    uint64_t *ids; /* owned: the collections that go */
    size_t id_count;
    size_t id_capacity;
    size_t visited; /* of ids: their children are in ids too */
};

static enum peat_status drop_add(struct drop *drop, uint64_t id)
{
    struct pt_id_prefix prefix = pt_id_prefix(id);
    struct pt_id_prefix end = pt_id_prefix_end(prefix);

    if (drop->id_count == drop->id_capacity) {
        size_t capacity = drop->id_capacity == 0 ? 8 : 2 * drop->id_capacity;
        uint64_t *ids = pt_realloc(drop->ids, capacity * sizeof(*ids));

        if (ids == NULL)
            return pt_fail(PEAT_NO_MEMORY, "drop of %zu collections", capacity);
        drop->ids = ids;
        drop->id_capacity = capacity;
    }
    drop->ids[drop->id_count++] = id;
    return pt_batch_add(&drop->batch, PT_OP_DELETE_RANGE, &prefix, pt_bytes(NULL, 0),
                        pt_id_prefix_bytes(&end), NULL);
}

/* Add what lies directly below @p id, and the catalogue's entries of it, to the drop. */
static enum peat_status drop_children(const struct peat_snapshot *snapshot, struct drop *drop,
                                      uint64_t id)
{
    struct peat_collection catalogue = {.catalogue = snapshot->db->catalogue,
                                        .prefix = catalogue_prefix()};
    struct pt_id_prefix prefix = pt_id_prefix(id);
    struct pt_id_prefix end = pt_id_prefix_end(prefix);
    struct peat_range range = {pt_id_prefix_bytes(&prefix), pt_id_prefix_bytes(&end), 0};
    struct peat_iterator *iterator = NULL;
    enum peat_status status = peat_iterator_open(snapshot, &catalogue, &range, &iterator);

    if (status == PEAT_OK)
        status = peat_iterator_first(iterator);
    while (status == PEAT_OK) {
        struct peat_bytes value = peat_iterator_value(iterator);

        if (value.size != 8)
            status = pt_fail(PEAT_CORRUPT, "the catalogue holds an id of %zu bytes", value.size);
        else
            status = drop_add(drop, pt_read_le64(value.data));
        if (status == PEAT_OK)
            status = pt_batch_add(&drop->batch, PT_OP_DELETE, &catalogue.prefix,
                                  peat_iterator_key(iterator), pt_bytes(NULL, 0), NULL);
        if (status == PEAT_OK)
            status = peat_iterator_next(iterator);
    }
    peat_iterator_close(iterator);
    return status == PEAT_DONE ? PEAT_OK : status;
}

enum peat_status peat_collection_drop(struct peat_db *db, struct peat_collection *collection)
{
    struct peat_snapshot *snapshot = NULL;
    struct drop drop = {.ids = NULL};
    struct pt_id_prefix prefix = catalogue_prefix();
    enum peat_status status;

    if (db == NULL)
        return pt_fail_null();
    if (!pt_collection_is_of(collection, db->catalogue))
        return pt_fail_foreign();
    if (collection == NULL)
        return pt_fail(PEAT_INVALID, "the root collection cannot be dropped: delete its range");
    pt_batch_init(&drop.batch);
    pt_mutex_lock(&db->catalogue->change_mutex);
    status = parent_dropped(collection) ? PEAT_NOT_FOUND : peat_snapshot_open(db, &snapshot);
    if (status == PEAT_OK)
        status = pt_batch_add(&drop.batch, PT_OP_DELETE, &prefix, collection->entry_key,
                              pt_bytes(NULL, 0), NULL);
    if (status == PEAT_OK)
        status = drop_add(&drop, collection->id);
    while (status == PEAT_OK && drop.visited < drop.id_count)
        status = drop_children(snapshot, &drop, drop.ids[drop.visited++]);
    if (status == PEAT_OK)
        status = pt_commit(db, &drop.batch, PEAT_DEFAULT, drop.ids, drop.id_count, NULL);
    peat_snapshot_close(snapshot);
    pt_mutex_unlock(&db->catalogue->change_mutex);
    pt_batch_fini(&drop.batch);
    pt_free(drop.ids);
    return status;
}

enum peat_status peat_collection_list(const struct peat_snapshot *snapshot,
                                      struct peat_collection *parent,
                                      bool (*callback)(void *context, const char *name),
                                      void *context)
{
    struct peat_collection catalogue = {.prefix = catalogue_prefix()};
    struct pt_id_prefix prefix = *pt_collection_prefix(parent);
    struct pt_id_prefix end = pt_id_prefix_end(prefix);
    struct peat_range range = {pt_id_prefix_bytes(&prefix), pt_id_prefix_bytes(&end), 0};
    struct peat_iterator *iterator = NULL;
    enum peat_status status;
    bool wanted = true;

    if (snapshot == NULL || callback == NULL)
        return pt_fail_null();
    if (!pt_collection_is_of(parent, snapshot->db->catalogue))
        return pt_fail_foreign();
    catalogue.catalogue = snapshot->db->catalogue;
    status = peat_iterator_open(snapshot, &catalogue, &range, &iterator);
    if (status == PEAT_OK)
        status = peat_iterator_first(iterator);
    while (status == PEAT_OK && wanted) {
        struct peat_bytes key = peat_iterator_key(iterator);
        char name[PEAT_NAME_SIZE_MAX + 1];
        size_t size = key.size - prefix.size;

        if (size > PEAT_NAME_SIZE_MAX) {
            status = pt_fail(PEAT_CORRUPT, "the catalogue holds a name of %zu bytes", size);
            break;
        }
        memcpy(name, (const char *)key.data + prefix.size, size);
        name[size] = '\0';
        wanted = callback(context, name);
        if (wanted)
            status = peat_iterator_next(iterator);
    }
    peat_iterator_close(iterator);
    return status == PEAT_DONE ? PEAT_OK : status;
}

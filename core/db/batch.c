#include "core/db/batch.h"

#include "core/base/alloc.h"

void pt_batch_init(struct peat_batch *batch)
{
    memset(batch, 0, sizeof(*batch));
}

void pt_batch_fini(struct peat_batch *batch)
{
    peat_batch_clear(batch);
    pt_free(batch->data);
    pt_free(batch->collections);
}

struct peat_batch *peat_batch_new(size_t bytes_hint)
{
    struct peat_batch *batch = pt_malloc(sizeof(*batch));

    if (batch == NULL)
        return NULL;
    pt_batch_init(batch);
    if (bytes_hint == 0)
        return batch;
    batch->data = pt_malloc(bytes_hint);
    if (batch->data == NULL) {
        pt_free(batch);
        return NULL;
    }
    batch->capacity = bytes_hint;
    return batch;
}

void peat_batch_free(struct peat_batch *batch)
{
    if (batch == NULL)
        return;
    pt_batch_fini(batch);
    pt_free(batch);
}

void peat_batch_clear(struct peat_batch *batch)
{
    if (batch == NULL)
        return;
    for (size_t i = 0; i < batch->collection_count; i++)
        peat_collection_close(batch->collections[i]);
    batch->collection_count = 0;
    batch->size = 0;
    batch->count = 0;
    batch->put_size = 0;
}

size_t peat_batch_count(const struct peat_batch *batch)
{
    return batch == NULL ? 0 : batch->count;
}

size_t peat_batch_size(const struct peat_batch *batch)
{
    return batch == NULL ? 0 : batch->size;
}

/* Room for @p size more bytes. */
static enum peat_status reserve(struct peat_batch *batch, uint64_t size)
{
    uint64_t capacity = batch->capacity < 256 ? 256 : batch->capacity;
    uint8_t *data;

    if (batch->capacity - batch->size >= size)
        return PEAT_OK;
    while (capacity - batch->size < size)
        capacity *= 2;
    data = pt_realloc(batch->data, capacity);
    if (data == NULL)
        return pt_fail(PEAT_NO_MEMORY, "batch of %llu bytes", (unsigned long long)capacity);
    batch->data = data;
    batch->capacity = capacity;
    return PEAT_OK;
}

enum peat_status pt_check_bytes(struct peat_bytes key, struct peat_bytes value)
{
    if ((key.data == NULL && key.size > 0) || (value.data == NULL && value.size > 0))
        return pt_fail(PEAT_INVALID, "NULL given as %zu bytes",
                       key.data == NULL && key.size > 0 ? key.size : value.size);
    if (key.size > PEAT_KEY_SIZE_MAX)
        return pt_fail(PEAT_TOO_LARGE, "a key of %zu bytes: at most %zu", key.size,
                       PEAT_KEY_SIZE_MAX);
    if (value.size > PEAT_VALUE_SIZE_MAX)
        return pt_fail(PEAT_TOO_LARGE, "a value of %zu bytes: at most %zu", value.size,
                       PEAT_VALUE_SIZE_MAX);
    return PEAT_OK;
}

enum peat_status pt_batch_add(struct peat_batch *batch, enum pt_op op,
                              const struct pt_id_prefix *prefix, struct peat_bytes key,
                              struct peat_bytes value, void **value_out)
{
    size_t key_size = prefix->size + key.size;
    uint64_t size = pt_entry_size(key_size, value.size);
    enum peat_status status = reserve(batch, size);
    uint8_t *place;

    if (status < 0)
        return status;
    place = batch->data + batch->size;
    memset(place + size - PT_ENTRY_ALIGN, 0, PT_ENTRY_ALIGN); /* the padding */
    pt_entry_header_write(place, key_size, op, value.size);
    place += PT_ENTRY_HEADER_SIZE;
    memcpy(place, prefix->bytes, prefix->size);
    pt_bytes_put(place + prefix->size, key);
    place += key_size;
    if (value.data != NULL)
        memcpy(place, value.data, value.size);
    if (value_out != NULL)
        *value_out = place;
    batch->size += size;
    batch->put_size += key.size + value.size;
    batch->count++;
    return PEAT_OK;
}

/* Remember that the batch names @p collection, so that a drop before the commit is noticed. */
static enum peat_status note_collection(struct peat_batch *batch,
                                        struct peat_collection *collection)
{
    if (collection == NULL)
        return PEAT_OK;
    for (size_t i = batch->collection_count; i > 0; i--) { /* mostly the one named last */
        if (batch->collections[i - 1] == collection)
            return PEAT_OK;
    }
    if (batch->collection_count > 0 &&
        !pt_collection_is_of(collection, batch->collections[0]->catalogue))
        return pt_fail_foreign();
    if (batch->collection_count == batch->collection_capacity) {
        size_t capacity = batch->collection_capacity == 0 ? 4 : 2 * batch->collection_capacity;
        struct peat_collection **collections =
            pt_realloc(batch->collections, capacity * sizeof(struct peat_collection *));

        if (collections == NULL)
            return pt_fail(PEAT_NO_MEMORY, "batch over %zu collections", capacity);
        batch->collections = collections;
        batch->collection_capacity = capacity;
    }
    pt_collection_pin(collection);
    batch->collections[batch->collection_count++] = collection;
    return PEAT_OK;
}

static enum peat_status add(struct peat_batch *batch, enum pt_op op,
                            struct peat_collection *collection, struct peat_bytes key,
                            struct peat_bytes value)
{
    const struct pt_id_prefix *prefix = pt_collection_prefix(collection);
    enum peat_status status = pt_check_bytes(key, value);

    if (batch == NULL)
        return pt_fail(PEAT_INVALID, "NULL given as batch");
    if (status == PEAT_OK)
        status = note_collection(batch, collection);
    if (status == PEAT_OK)
        status = pt_batch_add(batch, op, prefix, key, value, NULL);
    return status;
}

enum peat_status peat_batch_put(struct peat_batch *batch, struct peat_collection *collection,
                                struct peat_bytes key, struct peat_bytes value)
{
    return add(batch, PT_OP_PUT, collection, key, value);
}

enum peat_status peat_batch_put_reserve(struct peat_batch *batch,
                                        struct peat_collection *collection, struct peat_bytes key,
                                        size_t value_size, void **value_out)
{
    const struct pt_id_prefix *prefix = pt_collection_prefix(collection);
    enum peat_status status = pt_check_bytes(key, pt_bytes("", value_size));

    if (batch == NULL || value_out == NULL)
        return pt_fail_null();
    *value_out = NULL;
    if (status == PEAT_OK)
        status = note_collection(batch, collection);
    if (status == PEAT_OK)
        status = pt_batch_add(batch, PT_OP_PUT, prefix, key, pt_bytes(NULL, value_size), value_out);
    if (status == PEAT_OK)
        memset(*value_out, 0, value_size); /* what the caller leaves out is not stale memory */
    return status;
}

enum peat_status peat_batch_delete(struct peat_batch *batch, struct peat_collection *collection,
                                   struct peat_bytes key)
{
    return add(batch, PT_OP_DELETE, collection, key, pt_bytes(NULL, 0));
}

/* The stored key of a bound, as the value of a range delete: on the heap. */
static enum peat_status bound_bytes(const struct pt_id_prefix *prefix, struct peat_bytes bound,
                                    struct peat_bytes *bytes_out)
{
    uint8_t *data = pt_malloc(prefix->size + bound.size);

    if (data == NULL)
        return pt_fail(PEAT_NO_MEMORY, "bound of %zu bytes", bound.size);
    memcpy(data, prefix->bytes, prefix->size);
    if (bound.size > 0)
        memcpy(data + prefix->size, bound.data, bound.size);
    *bytes_out = pt_bytes(data, prefix->size + bound.size);
    return PEAT_OK;
}

enum peat_status peat_batch_delete_range(struct peat_batch *batch,
                                         struct peat_collection *collection, struct peat_bytes low,
                                         struct peat_bytes high)
{
    const struct pt_id_prefix *prefix = pt_collection_prefix(collection);
    struct pt_id_prefix end = pt_id_prefix_end(*prefix);
    struct peat_bytes stored_high = pt_bytes(NULL, 0);
    enum peat_status status = pt_check_bytes(low, high);

    if (batch == NULL)
        return pt_fail_null();
    if (status == PEAT_OK && high.size > PEAT_KEY_SIZE_MAX)
        status = pt_fail(PEAT_TOO_LARGE, "a bound of %zu bytes: at most %zu", high.size,
                         PEAT_KEY_SIZE_MAX);
    if (status < 0 || (high.data != NULL && pt_bytes_compare(low, high) >= 0))
        return status;
    if (high.data == NULL)
        status = bound_bytes(&end, pt_bytes(NULL, 0), &stored_high);
    else
        status = bound_bytes(prefix, high, &stored_high);
    if (status == PEAT_OK)
        status = note_collection(batch, collection);
    if (status == PEAT_OK)
        status = pt_batch_add(batch, PT_OP_DELETE_RANGE, prefix, low, stored_high, NULL);
    pt_bytes_fini(&stored_high);
    return status;
}

enum peat_status peat_batch_merge(struct peat_batch *batch, struct peat_collection *collection,
                                  struct peat_bytes key, struct peat_bytes operand)
{
    (void)batch;
    (void)collection;
    (void)key;
    (void)operand;
    return pt_fail(PEAT_UNSUPPORTED, "the store has no merge operator: put a whole value instead");
}

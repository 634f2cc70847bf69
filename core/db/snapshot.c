#include "core/db/snapshot.h"

#include "core/base/alloc.h"
#include "core/db/batch.h"
#include "core/db/db.h"

enum {
    MANY_GROUP = 64,      /* keys looked up together by peat_get_many(): their misses overlap */
    MANY_KEYS_SIZE = 8192 /* bytes for their stored keys; a group ends where they are full */
};

/* ---- Stored keys ---- */

enum peat_status pt_stored_key_init_long(struct pt_stored_key *stored,
                                         const struct pt_id_prefix *prefix, struct peat_bytes key)
{
    enum peat_status status = pt_check_bytes(key, pt_bytes(NULL, 0));
    uint8_t *place;

    stored->heap = NULL;
    if (status < 0)
        return status;
    place = stored->heap = pt_malloc(PT_ID_PREFIX_MAX + key.size);
    if (place == NULL)
        return pt_fail(PEAT_NO_MEMORY, "key of %zu bytes", key.size);
    memcpy(place, prefix->bytes, PT_ID_PREFIX_MAX);
    pt_bytes_put(place + prefix->size, key);
    stored->bytes = pt_bytes(place, prefix->size + key.size);
    return PEAT_OK;
}

/* ---- Snapshots ---- */

enum peat_status peat_snapshot_open(struct peat_db *db, struct peat_snapshot **snapshot_out)
{
    struct peat_snapshot *snapshot = pt_malloc(sizeof(*snapshot));

    *snapshot_out = NULL;
    if (snapshot == NULL)
        return pt_fail(PEAT_NO_MEMORY, "snapshot");
    snapshot->db = db;
    snapshot->pin = pt_shelf_pin(&db->shelf);
    snapshot->commit = pt_stack_commit(snapshot->pin.stack);
    *snapshot_out = snapshot;
    return PEAT_OK;
}

void peat_snapshot_close(struct peat_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    pt_shelf_unpin(&snapshot->db->shelf, snapshot->pin);
    pt_free(snapshot);
}

uint64_t peat_snapshot_commit(const struct peat_snapshot *snapshot)
{
    return snapshot->commit;
}

/* ---- Lookups ---- */

static inline enum peat_status lookup(const struct peat_db *db, const struct pt_stack *stack,
                                      uint64_t commit, const struct peat_collection *collection,
                                      struct peat_bytes key, struct peat_bytes *value_out)
{
    struct pt_stored_key stored;
    enum peat_status status = pt_stored_key_init(&stored, pt_collection_prefix(collection), key);

    if (status < 0)
        return status;
    status = pt_stack_get(stack, commit, stored.bytes,
                          pt_hash(db->hash_seed, stored.bytes.data, stored.bytes.size), value_out);
    pt_stored_key_fini(&stored);
    return status;
}

enum peat_status peat_get(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                          struct peat_bytes key, struct peat_bytes *value_out)
{
    return lookup(snapshot->db, snapshot->pin.stack, snapshot->commit, collection, key, value_out);
}

enum peat_status peat_get_copy(struct peat_db *db, struct peat_collection *collection,
                               struct peat_bytes key, void *buffer, size_t capacity,
                               size_t *size_out)
{
    struct pt_pin pin = pt_shelf_pin(&db->shelf);
    struct peat_bytes value;
    enum peat_status status =
        lookup(db, pin.stack, pt_stack_commit(pin.stack), collection, key, &value);

    if (status == PEAT_OK) {
        *size_out = value.size;
        if (value.size > capacity)
            status = pt_fail(PEAT_TOO_LARGE, "the value has %zu bytes, the buffer %zu", value.size,
                             capacity);
        else if (value.size > 0)
            memcpy(buffer, value.data, value.size);
    }
    pt_shelf_unpin(&db->shelf, pin);
    return status;
}

/* One group of keys on its way down the stack. */
struct key_group {
    size_t count;
    struct peat_bytes keys[MANY_GROUP]; /* stored; in place */
    uint64_t hashes[MANY_GROUP];
    uint8_t missing[MANY_GROUP]; /* numbers of the keys not yet decided */
    size_t missing_count;
    size_t used; /* bytes of place */
    uint8_t place[MANY_KEYS_SIZE];
};

/* Take as many of @p keys as fit: 0 if not even the first does. */
static size_t group_fill(struct key_group *group, uint64_t hash_seed,
                         const struct pt_id_prefix *prefix, const struct peat_bytes *keys,
                         size_t count)
{
    group->count = 0;
    group->used = 0;
    while (group->count < count && group->count < MANY_GROUP) {
        struct peat_bytes key = keys[group->count];
        uint8_t *place = group->place + group->used;

        if (key.size > MANY_KEYS_SIZE - PT_ID_PREFIX_MAX - group->used ||
            group->used > MANY_KEYS_SIZE - PT_ID_PREFIX_MAX)
            break;
        memcpy(place, prefix->bytes, prefix->size);
        pt_bytes_put(place + prefix->size, key);
        group->keys[group->count] = pt_bytes(place, prefix->size + key.size);
        group->hashes[group->count] = pt_hash(hash_seed, place, prefix->size + key.size);
        group->used += prefix->size + key.size;
        group->missing[group->count] = (uint8_t)group->count;
        group->count++;
    }
    group->missing_count = group->count;
    return group->count;
}

/* Note what a layer said of key number @p number; keep it as missing if it said nothing. */
static enum peat_status group_decide(struct key_group *group, size_t number,
                                     enum peat_status status, const struct pt_entry *entry,
                                     struct peat_bytes *values_out)
{
    if (status == PEAT_NOT_FOUND) {
        group->missing[group->missing_count++] = (uint8_t)number;
        return PEAT_OK;
    }
    if (status == PEAT_OK && entry->op == PT_OP_PUT)
        values_out[number] = entry->value;
    return status;
}

static enum peat_status group_ask_buffer(struct key_group *group, uint64_t commit,
                                         const struct pt_write_buffer *buffer,
                                         struct peat_bytes *values_out)
{
    size_t count = group->missing_count;
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < count; i++)
        pt_write_buffer_prefetch(buffer, group->hashes[group->missing[i]]);
    group->missing_count = 0;
    for (size_t i = 0; i < count && status >= 0; i++) {
        size_t number = group->missing[i];
        struct pt_entry entry;

        status =
            pt_write_buffer_get(buffer, group->keys[number], group->hashes[number], commit, &entry);
        status = group_decide(group, number, status, &entry, values_out);
    }
    return status;
}

static enum peat_status group_ask_run(struct key_group *group, const struct pt_run *run,
                                      struct peat_bytes *values_out)
{
    struct pt_segment *segments[MANY_GROUP];
    size_t count = group->missing_count;
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < count; i++) {
        size_t number = group->missing[i];
        size_t slice = pt_run_find(run, group->keys[number]);

        segments[i] = slice == run->slice_count ? NULL : run->slices[slice].held->segment;
        if (segments[i] != NULL)
            pt_segment_prefetch_bucket(segments[i], group->hashes[number]);
    }
    for (size_t i = 0; i < count; i++) {
        if (segments[i] != NULL)
            pt_segment_prefetch_entry(segments[i], group->hashes[group->missing[i]]);
    }
    group->missing_count = 0;
    for (size_t i = 0; i < count && status >= 0; i++) {
        size_t number = group->missing[i];
        struct pt_entry entry;

        status = pt_run_get(run, group->keys[number], group->hashes[number], &entry);
        status = group_decide(group, number, status, &entry, values_out);
    }
    return status;
}

static enum peat_status group_ask(struct key_group *group, const struct peat_snapshot *snapshot,
                                  struct peat_bytes *values_out)
{
    const struct pt_stack *stack = snapshot->pin.stack;
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < stack->buffer_count && group->missing_count > 0 && status >= 0; i++) {
        const struct pt_write_buffer *buffer = stack->buffers[i]->buffer;

        if (pt_write_buffer_entry_count(buffer) > 0)
            status = group_ask_buffer(group, snapshot->commit, buffer, values_out);
    }
    for (size_t i = 0; i < stack->run_count && group->missing_count > 0 && status >= 0; i++)
        status = group_ask_run(group, stack->runs[i], values_out);
    return status < 0 ? status : PEAT_OK;
}

enum peat_status peat_get_many(const struct peat_snapshot *snapshot,
                               struct peat_collection *collection, const struct peat_bytes *keys,
                               size_t count, struct peat_bytes *values_out)
{
    const struct pt_id_prefix *prefix = pt_collection_prefix(collection);
    struct key_group group;
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < count && status == PEAT_OK; i++) {
        values_out[i] = pt_bytes(NULL, 0);
        status = pt_check_bytes(keys[i], pt_bytes(NULL, 0));
    }
    for (size_t done = 0; done < count && status == PEAT_OK;) {
        size_t taken =
            group_fill(&group, snapshot->db->hash_seed, prefix, keys + done, count - done);

        if (taken > 0) {
            status = group_ask(&group, snapshot, values_out + done);
            done += taken;
            continue;
        }
        status = peat_get(snapshot, collection, keys[done], &values_out[done]); /* a long key */
        if (status == PEAT_NOT_FOUND)
            status = PEAT_OK;
        done++;
    }
    return status;
}

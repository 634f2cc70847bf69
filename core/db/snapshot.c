#include "core/db/snapshot.h"

#include "core/base/alloc.h"
#include "core/db/batch.h"
#include "core/db/damage_report.h"
#include "core/db/db.h"

#include <inttypes.h>

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
    struct peat_snapshot *snapshot;

    if (db == NULL || snapshot_out == NULL)
        return pt_fail_null();
    *snapshot_out = NULL;
    snapshot = pt_malloc(sizeof(*snapshot));
    if (snapshot == NULL)
        return pt_fail(PEAT_NO_MEMORY, "snapshot");
    snapshot->db = db;
    snapshot->pin = pt_shelf_pin(&db->shelf);
    snapshot->commit = pt_stack_commit(snapshot->pin.stack);
    *snapshot_out = snapshot;
    return PEAT_OK;
}

enum peat_status peat_snapshot_open_at(const struct peat_snapshot *snapshot, uint64_t commit,
                                       struct peat_snapshot **snapshot_out)
{
    struct peat_snapshot *earlier;

    if (snapshot == NULL || snapshot_out == NULL)
        return pt_fail_null();
    *snapshot_out = NULL;
    if (commit > snapshot->commit)
        return pt_fail(PEAT_INVALID, "commit %" PRIu64 " is newer than the snapshot's, %" PRIu64,
                       commit, snapshot->commit);
    if (commit < snapshot->pin.stack->floor && commit < snapshot->commit)
        return pt_fail(PEAT_GAP,
                       "commit %" PRIu64 " cannot be told apart any more: what was committed up "
                       "to %" PRIu64 " is in segments",
                       commit, snapshot->pin.stack->floor);
    earlier = pt_malloc(sizeof(*earlier));
    if (earlier == NULL)
        return pt_fail(PEAT_NO_MEMORY, "snapshot");
    earlier->db = snapshot->db;
    earlier->pin = pt_pin_copy(snapshot->pin);
    earlier->commit = commit;
    *snapshot_out = earlier;
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
    return snapshot == NULL ? 0 : snapshot->commit;
}

/* ---- Lookups ---- */

/* Whatever the key and the stack are like. */
static enum peat_status lookup_any(const struct peat_db *db, const struct pt_stack *stack,
                                   uint64_t commit, const struct pt_id_prefix *prefix,
                                   struct peat_bytes key, struct peat_bytes *value_out)
{
    struct pt_stored_key stored;
    enum peat_status status = pt_stored_key_init(&stored, prefix, key);

    if (status < 0)
        return status;
    status =
        pt_stack_get(stack, commit, stored.bytes,
                     pt_hash(pt_hash_seed(db), stored.bytes.data, stored.bytes.size), value_out);
    if (__builtin_expect(status < 0, 0))
        status = pt_damage_explain(stack, stored.bytes, pt_id_prefix_bytes(prefix), status);
    pt_stored_key_fini(&stored);
    return status;
}

/* What the quick get is for: with the parts of the key in @p quick_out. */
static PT_ALWAYS_INLINE bool key_is_quick(const struct peat_db *db,
                                          const struct pt_id_prefix *prefix, struct peat_bytes key,
                                          struct pt_quick_key *quick_out)
{
    if (prefix->size != 1 || key.size < PT_QUICK_SIZE_MIN || key.size > PT_QUICK_SIZE_MAX ||
        key.data == NULL)
        return false;
    *quick_out = (struct pt_quick_key){
        prefix->bytes[0], key,
        pt_hash_joined(pt_hash_seed(db), prefix->bytes[0], 1, key.data, key.size)};
    return true;
}

/* PEAT_DONE: that is not quickly known. See core/segment/segment_quick.h. */
static PT_ALWAYS_INLINE enum peat_status lookup_quickly(const struct peat_db *db,
                                                        const struct pt_stack *stack,
                                                        const struct peat_collection *collection,
                                                        struct peat_bytes key,
                                                        struct peat_bytes *value_out)
{
    const struct pt_run *run = pt_stack_quick_run(stack);
    struct pt_quick_key quick;

    if (run == NULL || !key_is_quick(db, pt_collection_prefix(collection), key, &quick))
        return PEAT_DONE;
    return pt_run_quick_get(run, &quick, value_out);
}

/* peat_get(), whatever is asked; not in line, so that what is quickly known need not save registers. */
static __attribute__((noinline)) enum peat_status get_any(const struct peat_snapshot *snapshot,
                                                          struct peat_collection *collection,
                                                          struct peat_bytes key,
                                                          struct peat_bytes *value_out)
{
    if (snapshot == NULL || value_out == NULL)
        return pt_fail_null();
    if (!pt_collection_is_of(collection, snapshot->db->catalogue))
        return pt_fail_foreign();
    return lookup_any(snapshot->db, snapshot->pin.stack, snapshot->commit,
                      pt_collection_prefix(collection), key, value_out);
}

enum peat_status peat_get(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                          struct peat_bytes key, struct peat_bytes *value_out)
{
    enum peat_status status = PEAT_DONE;

    if (__builtin_expect(snapshot != NULL && value_out != NULL &&
                             pt_collection_is_of(collection, snapshot->db->catalogue),
                         1))
        status = lookup_quickly(snapshot->db, snapshot->pin.stack, collection, key, value_out);
    return __builtin_expect(status != PEAT_DONE, 1) ? status
                                                    : get_any(snapshot, collection, key, value_out);
}

enum peat_status peat_get_copy(struct peat_db *db, struct peat_collection *collection,
                               struct peat_bytes key, void *buffer, size_t capacity,
                               size_t *size_out)
{
    struct peat_bytes value;
    enum peat_status status;
    struct pt_pin pin;

    if (db == NULL || size_out == NULL || (buffer == NULL && capacity > 0))
        return pt_fail_null();
    if (!pt_collection_is_of(collection, db->catalogue))
        return pt_fail_foreign();
    pin = pt_shelf_pin(&db->shelf);
    status = lookup_quickly(db, pin.stack, collection, key, &value);
    if (status == PEAT_DONE)
        status = lookup_any(db, pin.stack, pt_stack_commit(pin.stack),
                            pt_collection_prefix(collection), key, &value);
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

/* ---- Many keys in a store at rest ---- */

/* One key on its way: what the steps of the quick get have found so far. */
struct quick_way {
    struct pt_quick_key key;
    const struct pt_segment *segment;
    const uint8_t *bucket;
    uint64_t offset;
    enum peat_status status; /* PEAT_OK: go on */
};

/* Up to MANY_GROUP keys, each step for all of them, so that their misses overlap. What is not quickly known
 * is asked for one by one. */
static enum peat_status quick_group(const struct peat_snapshot *snapshot, const struct pt_run *run,
                                    struct peat_collection *collection,
                                    const struct peat_bytes *keys, size_t count,
                                    struct peat_bytes *values_out)
{
    const struct pt_id_prefix *prefix = pt_collection_prefix(collection);
    struct quick_way ways[MANY_GROUP];
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < count; i++) {
        struct quick_way *way = &ways[i];

        way->status = PEAT_DONE;
        if (!key_is_quick(snapshot->db, prefix, keys[i], &way->key))
            continue;
        way->segment = pt_run_quick_segment(run, &way->key);
        if (way->segment == NULL)
            continue;
        way->bucket = pt_segment_quick_bucket(way->segment, way->key.hash);
        __builtin_prefetch(way->bucket);
        way->status = PEAT_OK;
    }
    for (size_t i = 0; i < count; i++) {
        struct quick_way *way = &ways[i];

        if (way->status != PEAT_OK)
            continue;
        way->status =
            pt_segment_quick_place(way->segment, way->bucket, way->key.hash, &way->offset);
        if (way->status != PEAT_OK)
            continue;
        __builtin_prefetch(way->segment->base + way->offset);
        pt_segment_prefetch_rest(way->segment, way->offset);
    }
    for (size_t i = 0; i < count && status == PEAT_OK; i++) {
        struct quick_way *way = &ways[i];

        values_out[i] = pt_bytes(NULL, 0);
        if (way->status == PEAT_OK)
            way->status =
                pt_segment_quick_value(way->segment, way->offset, &way->key, &values_out[i]);
        if (way->status == PEAT_DONE)
            way->status = peat_get(snapshot, collection, keys[i], &values_out[i]);
        if (way->status < 0)
            status = way->status;
    }
    return status;
}

/* ---- Many keys in any store ---- */

/* One group of keys on its way down the stack. */
struct key_group {
    size_t count;
    struct peat_bytes keys[MANY_GROUP]; /* stored; in place */
    uint64_t hashes[MANY_GROUP];
    uint8_t missing[MANY_GROUP]; /* numbers of the keys not yet decided */
    size_t missing_count;
    size_t failed; /* number of the key that could not be read */
    size_t used;   /* bytes of place */
    uint8_t place[MANY_KEYS_SIZE];
};

/* Take as many of @p keys as fit: 0 if not even the first does. */
static size_t group_fill(struct key_group *group, uint64_t hash_seed,
                         const struct pt_id_prefix *prefix, const struct peat_bytes *keys,
                         size_t count)
{
    group->count = 0;
    group->failed = 0;
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
        if (__builtin_expect(status < 0, 0))
            group->failed = number;
        status = group_decide(group, number, status, &entry, values_out);
    }
    return status;
}

static enum peat_status group_ask(struct key_group *group, const struct peat_snapshot *snapshot,
                                  const struct pt_id_prefix *prefix, struct peat_bytes *values_out)
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
    if (status < 0)
        return pt_damage_explain(stack, group->keys[group->failed], pt_id_prefix_bytes(prefix),
                                 status);
    return PEAT_OK;
}

static enum peat_status many_quickly(const struct peat_snapshot *snapshot, const struct pt_run *run,
                                     struct peat_collection *collection,
                                     const struct peat_bytes *keys, size_t count,
                                     struct peat_bytes *values_out)
{
    enum peat_status status = PEAT_OK;

    for (size_t done = 0; done < count && status == PEAT_OK;) {
        size_t taken = count - done < MANY_GROUP ? count - done : MANY_GROUP;

        status = quick_group(snapshot, run, collection, keys + done, taken, values_out + done);
        done += taken;
    }
    return status;
}

static enum peat_status many_any(const struct peat_snapshot *snapshot,
                                 struct peat_collection *collection, const struct peat_bytes *keys,
                                 size_t count, struct peat_bytes *values_out)
{
    const struct pt_id_prefix *prefix = pt_collection_prefix(collection);
    struct key_group group;
    enum peat_status status = PEAT_OK;

    for (size_t done = 0; done < count && status == PEAT_OK;) {
        size_t taken =
            group_fill(&group, pt_hash_seed(snapshot->db), prefix, keys + done, count - done);

        if (taken > 0) {
            status = group_ask(&group, snapshot, prefix, values_out + done);
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

enum peat_status peat_get_many(const struct peat_snapshot *snapshot,
                               struct peat_collection *collection, const struct peat_bytes *keys,
                               size_t count, struct peat_bytes *values_out)
{
    const struct pt_run *run;

    if (snapshot == NULL || (count > 0 && (keys == NULL || values_out == NULL)))
        return pt_fail_null();
    if (!pt_collection_is_of(collection, snapshot->db->catalogue))
        return pt_fail_foreign();
    for (size_t i = 0; i < count; i++) {
        enum peat_status status = pt_check_bytes(keys[i], pt_bytes(NULL, 0));

        if (status < 0)
            return status;
    }
    run = pt_stack_quick_run(snapshot->pin.stack);
    if (run != NULL)
        return many_quickly(snapshot, run, collection, keys, count, values_out);
    for (size_t i = 0; i < count; i++)
        values_out[i] = pt_bytes(NULL, 0);
    return many_any(snapshot, collection, keys, count, values_out);
}

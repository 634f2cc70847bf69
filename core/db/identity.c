#include "core/db/identity.h"

#include "core/base/endian.h"
#include "core/db/db.h"

_Static_assert(sizeof(((struct peat_identity *)NULL)->bytes) == 24, "an id and a seed");

struct pt_identity pt_identity_get(struct peat_db *db)
{
    struct pt_identity identity;

    pt_mutex_lock(&db->refresh_mutex);
    identity = (struct pt_identity){db->store_id, pt_hash_seed(db)};
    pt_mutex_unlock(&db->refresh_mutex);
    return identity;
}

void pt_identity_set(struct peat_db *db, const struct pt_identity *identity)
{
    pt_mutex_lock(&db->refresh_mutex);
    db->store_id = identity->store_id;
    atomic_store_explicit(&db->hash_seed, identity->hash_seed, memory_order_relaxed);
    pt_mutex_unlock(&db->refresh_mutex);
}

bool pt_identity_equal(const struct pt_identity *a, const struct pt_identity *b)
{
    return memcmp(&a->store_id, &b->store_id, sizeof(a->store_id)) == 0 &&
           a->hash_seed == b->hash_seed;
}

void pt_identity_encode(const struct pt_identity *identity, struct peat_identity *encoded_out)
{
    struct pt_le64 seed = pt_le64(identity->hash_seed);

    memcpy(encoded_out->bytes, &identity->store_id, sizeof(identity->store_id));
    memcpy(encoded_out->bytes + sizeof(identity->store_id), &seed, sizeof(seed));
}

struct pt_identity pt_identity_decode(const struct peat_identity *encoded)
{
    struct pt_identity identity;

    memcpy(&identity.store_id, encoded->bytes, sizeof(identity.store_id));
    identity.hash_seed = pt_read_le64(encoded->bytes + sizeof(identity.store_id));
    return identity;
}

enum peat_status peat_identity_get(struct peat_db *db, struct peat_identity *identity_out)
{
    struct pt_identity identity;

    if (db == NULL || identity_out == NULL)
        return pt_fail_null();
    identity = pt_identity_get(db);
    pt_identity_encode(&identity, identity_out);
    return PEAT_OK;
}

/* ---- Taking another one on ---- */

/* Nothing in the file, and nobody's handle, depends on the identity yet. */
static enum peat_status check_empty(struct peat_db *db, const struct pt_log_point *end)
{
    size_t kept_count;
    size_t run_count;

    pt_mutex_lock(&db->checkpointer.install_mutex);
    run_count = db->installed_count;
    pt_mutex_unlock(&db->checkpointer.install_mutex);
    pt_mutex_lock(&db->history.mutex);
    kept_count = db->history.count;
    pt_mutex_unlock(&db->history.mutex);
    if (end->commit == 0 && end->position == 0 && run_count == 0 && kept_count <= 1)
        return PEAT_OK;
    return pt_fail(PEAT_INVALID,
                   "%s was made by itself and is not empty: make it anew of a backup of the store "
                   "that it is to follow",
                   pt_file_name(pt_arena_file(db->arena)));
}

/* On the merger's thread, while the leader waits: an install of the empty store, with a write buffer that hashes
 * as the identity wants. */
static enum peat_status adopt_job(struct peat_db *db, void *context)
{
    const struct pt_identity *identity = context;
    struct pt_history_change change = {.identity = identity};
    struct pt_log_point end = pt_log_point(db->log);
    struct pt_stack *stack = NULL;
    enum peat_status status = check_empty(db, &end);

    if (status == PEAT_OK)
        status = pt_stack_begin(db, pt_buffer_capacity(db, 0, 0), identity->hash_seed, &end, NULL,
                                0, &stack);
    if (status == PEAT_OK)
        status = pt_checkpoint_replace(db, stack, &end, &change);
    if (status == PEAT_OK)
        db->queue.active = stack->buffers[0]; /* the stack is the shelf's now */
    else
        pt_stack_free(stack);
    return status;
}

/* As the leader of the commit queue: nothing is written meanwhile. */
static enum peat_status adopt_alone(struct peat_db *db, void *context)
{
    return pt_merger_run(db, adopt_job, context);
}

enum peat_status peat_identity_adopt(struct peat_db *db, const struct peat_identity *identity)
{
    struct pt_identity wanted;
    struct pt_identity ours;

    if (db == NULL || identity == NULL)
        return pt_fail_null();
    if (!pt_role_is(db, PT_ROLE_FOLLOWER))
        return pt_fail(PEAT_INVALID, "the store was not opened with PEAT_FOLLOWER");
    wanted = pt_identity_decode(identity);
    ours = pt_identity_get(db);
    if (pt_identity_equal(&ours, &wanted))
        return PEAT_OK;
    return pt_commit_alone(db, adopt_alone, &wanted);
}

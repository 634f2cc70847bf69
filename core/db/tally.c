/*
 * Tallies: the sums of parts of what a snapshot shows, made a bounded number of bytes at a time.
 *
 * The sum of a part is that of the state walk over it (state_walk.h), so all parts in one give what peat_digest() does. Damage is no
 * end: whoever compares two stores wants to know what else differs.
 */
#include "core/base/alloc.h"
#include "core/db/db.h"
#include "core/db/state_walk.h"

struct peat_tally {
    struct pt_state_walk walk; /* on the entry that is to be added next, or is being added */
    struct pt_digester *digester;
    struct peat_bytes
        passed; /* the stored key of the entry before; data NULL: none. Lives as long as the walk */
    bool is_within;            /* the head and the key of the entry under the walk are added */
    uint64_t value_done;       /* and so many bytes of its value */
    enum peat_status failed;   /* PEAT_OK: it is of use */
    struct peat_tally_sum sum; /* since it was begun, without the digest */
};

static enum peat_status note_lost(void *context, const struct peat_range *keys)
{
    struct peat_tally *tally = context;
    (void)keys;

    tally->sum.is_damaged = true;
    return PEAT_OK;
}

/* @p place as a stored key, unbounded where there is none. Release with pt_stored_key_fini(). */
static enum peat_status bound_of(const struct peat_place *place, struct pt_stored_key *bound)
{
    struct pt_id_prefix prefix;

    *bound = (struct pt_stored_key){.heap = NULL};
    if (place == NULL)
        return PEAT_OK;
    prefix = pt_id_prefix(place->collection);
    return pt_stored_key_init(bound, &prefix, place->key);
}

static enum peat_status walk_open(struct peat_tally *tally, const struct peat_snapshot *snapshot,
                                  const struct peat_place *low, const struct peat_place *high)
{
    struct pt_stored_key bounds[2];
    enum peat_status status = bound_of(low, &bounds[0]);

    if (status == PEAT_OK) {
        status = bound_of(high, &bounds[1]);
        if (status == PEAT_OK)
            status =
                pt_state_walk_open_within(&tally->walk, snapshot, bounds[0].bytes, bounds[1].bytes);
        pt_stored_key_fini(&bounds[1]);
    }
    pt_stored_key_fini(&bounds[0]);
    return status;
}

enum peat_status peat_tally_open(const struct peat_snapshot *snapshot, const struct peat_place *low,
                                 const struct peat_place *high, struct peat_tally **tally_out)
{
    struct peat_tally *tally;
    enum peat_status status;

    if (snapshot == NULL || tally_out == NULL)
        return pt_fail_null();
    *tally_out = NULL;
    tally = pt_calloc(1, sizeof(*tally));
    if (tally == NULL)
        return pt_fail(PEAT_NO_MEMORY, "tally");
    tally->walk.lost = note_lost;
    tally->walk.context = tally;
    status = pt_digester_new(&tally->digester);
    if (status == PEAT_OK)
        status = walk_open(tally, snapshot, low, high);
    if (status == PEAT_OK) {
        *tally_out = tally;
        tally = NULL;
    }
    peat_tally_close(tally);
    return status;
}

void peat_tally_close(struct peat_tally *tally)
{
    if (tally == NULL)
        return;
    pt_state_walk_close(&tally->walk);
    pt_digester_free(tally->digester);
    pt_free(tally);
}

/* A piece of the entry under the walk, of @p size_max bytes at most, but for its key. How much there was. */
static uint64_t piece_add(struct peat_tally *tally, uint64_t size_max)
{
    const struct pt_state_walk *walk = &tally->walk;
    uint64_t left = walk->value.size - tally->value_done;
    uint64_t size = left < size_max ? left : size_max;
    uint64_t done = size;

    if (!tally->is_within) {
        pt_state_digest_add_head(tally->digester, walk);
        tally->is_within = true;
        done += pt_entry_size(walk->key.size, 0);
    }
    if (size > 0)
        pt_digester_add(tally->digester, (const uint8_t *)walk->value.data + tally->value_done,
                        size);
    tally->value_done += size;
    return done;
}

/* The entry under the walk is added whole: go on to the next. */
static enum peat_status entry_pass(struct peat_tally *tally)
{
    tally->sum.entry_count++;
    tally->sum.size += 8 + tally->walk.key.size + tally->walk.value.size;
    tally->passed = tally->walk.key;
    tally->is_within = false;
    tally->value_done = 0;
    return pt_state_walk_next(&tally->walk);
}

enum peat_status peat_tally_add(struct peat_tally *tally, uint64_t size_max, uint64_t *entries_left)
{
    uint64_t done = 0;

    if (tally == NULL)
        return pt_fail_null();
    if (tally->failed != PEAT_OK)
        return pt_fail(tally->failed, "the tally has failed before");
    while (!tally->walk.ended && done < size_max && (entries_left == NULL || *entries_left > 0)) {
        done += piece_add(tally, size_max - done);
        if (tally->value_done < tally->walk.value.size)
            break; /* as far as it was to go */
        tally->failed = entry_pass(tally);
        if (tally->failed != PEAT_OK)
            return tally->failed;
        if (entries_left != NULL)
            (*entries_left)--;
    }
    return tally->walk.ended ? PEAT_DONE : PEAT_OK;
}

enum peat_status peat_tally_place(const struct peat_tally *tally, size_t key_size_max,
                                  struct peat_place *place_out)
{
    struct peat_bytes next;
    uint64_t collection;
    size_t prefix_size;
    size_t size;

    if (tally == NULL || place_out == NULL)
        return pt_fail_null();
    if (tally->is_within)
        return pt_fail(PEAT_BUSY, "the tally is within an entry");
    if (tally->walk.ended)
        return PEAT_DONE;
    next = tally->walk.key;
    if (tally->passed.data == NULL || !pt_id_read(next, &collection, &prefix_size))
        return PEAT_NOT_FOUND;
    size = next.size;
    if (size - prefix_size > key_size_max) /* the shortest that is above the one before */
        size = pt_bytes_common(tally->passed, next) + 1;
    if (size < prefix_size)
        size = prefix_size;
    if (size - prefix_size > key_size_max)
        return PEAT_NOT_FOUND;
    place_out->collection = collection;
    place_out->key = pt_bytes((const uint8_t *)next.data + prefix_size, size - prefix_size);
    return PEAT_OK;
}

enum peat_status peat_tally_take(struct peat_tally *tally, struct peat_tally_sum *sum_out)
{
    struct pt_digest digest;
    size_t room;

    if (tally == NULL || sum_out == NULL || sum_out->struct_size < sizeof(room))
        return pt_fail(PEAT_INVALID, "no tally, or no sum to set, or its struct_size is not set");
    if (tally->is_within)
        return pt_fail(PEAT_BUSY, "the tally is within an entry");
    room = sum_out->struct_size < sizeof(tally->sum) ? sum_out->struct_size : sizeof(tally->sum);
    digest = pt_digester_finish(tally->digester);
    pt_digester_restart(tally->digester);
    tally->sum.struct_size = sum_out->struct_size;
    memcpy(tally->sum.digest, digest.bytes, sizeof(digest.bytes));
    memcpy(sum_out, &tally->sum, room);
    tally->sum = (struct peat_tally_sum){.entry_count = 0};
    return PEAT_OK;
}

/*
 * peat_diff(): what differs between two snapshots.
 *
 * Only keys that the difference of the two stacks says something of can differ. Each of them is looked
 * up on both sides. Where the difference has range deletes, any key under them can differ, so both sides are
 * walked there side by side; and everywhere, where most of the store is in the difference: then look-ups
 * cost more than walking does.
 */
#include "core/db/db.h"
#include "core/db/stack_difference.h"

enum { WALK_SHARE = 8 }; /* a look-up costs as much as walking over so many entries */

/* A call of peat_diff(). */
struct diff {
    const struct peat_snapshot *sides[2]; /* from, to */
    struct pt_id_prefix prefix;
    struct peat_iterator *iterators[2];
    bool (*callback)(void *context, const struct peat_difference *difference);
    void *context;
};

/* A value there is, which has data even when it is empty. */
static struct peat_bytes present(struct peat_bytes value)
{
    return value.data == NULL ? pt_bytes("", 0) : value;
}

static bool is_same(struct peat_bytes a, struct peat_bytes b)
{
    return a.size == b.size && (a.data == b.data || memcmp(a.data, b.data, a.size) == 0);
}

/* Tell if the values differ. PEAT_DONE: the caller wants no more. */
static enum peat_status tell(struct diff *diff, struct peat_bytes key, struct peat_bytes from,
                             struct peat_bytes to)
{
    struct peat_difference difference = {key, from, to};

    if (from.data == NULL && to.data == NULL)
        return PEAT_OK;
    if (from.data != NULL && to.data != NULL && is_same(from, to))
        return PEAT_OK;
    return diff->callback(diff->context, &difference) ? PEAT_OK : PEAT_DONE;
}

/* ---- One key ---- */

static enum peat_status compare_key(struct diff *diff, struct peat_bytes stored)
{
    uint64_t hash = pt_hash(pt_hash_seed(diff->sides[0]->db), stored.data, stored.size);
    struct peat_bytes key =
        pt_bytes((const uint8_t *)stored.data + diff->prefix.size, stored.size - diff->prefix.size);
    struct peat_bytes values[2];

    for (unsigned i = 0; i < 2; i++) {
        const struct peat_snapshot *side = diff->sides[i];
        enum peat_status status =
            pt_stack_get(side->pin.stack, side->commit, stored, hash, &values[i]);

        if (status < 0)
            return status;
        values[i] = status == PEAT_OK ? present(values[i]) : pt_bytes(NULL, 0);
    }
    return tell(diff, key, values[0], values[1]);
}

/* ---- A range ---- */

/* A side's entry, as far as it is below @p high (data NULL: unbounded). */
static bool entry_of(const struct peat_iterator *iterator, enum peat_status status,
                     struct peat_bytes high, struct peat_bytes *key_out)
{
    if (status != PEAT_OK)
        return false;
    *key_out = peat_iterator_key(iterator);
    return high.data == NULL || pt_bytes_compare(*key_out, high) < 0;
}

/* Tell what differs from the keys under the iterators on, and move on. */
static enum peat_status walk(struct diff *diff, enum peat_status stands[2], struct peat_bytes high)
{
    for (;;) {
        struct peat_bytes keys[2];
        struct peat_bytes values[2] = {{NULL, 0}, {NULL, 0}};
        bool there[2];
        int order;
        enum peat_status status;

        for (unsigned i = 0; i < 2; i++) {
            if (stands[i] < 0)
                return stands[i];
            there[i] = entry_of(diff->iterators[i], stands[i], high, &keys[i]);
        }
        if (!there[0] && !there[1])
            return PEAT_OK;
        order = !there[1] ? -1 : (!there[0] ? 1 : pt_bytes_compare(keys[0], keys[1]));
        if (order <= 0)
            values[0] = present(peat_iterator_value(diff->iterators[0]));
        if (order >= 0)
            values[1] = present(peat_iterator_value(diff->iterators[1]));
        status = tell(diff, order <= 0 ? keys[0] : keys[1], values[0], values[1]);
        if (status != PEAT_OK)
            return status;
        if (order <= 0)
            stands[0] = peat_iterator_next(diff->iterators[0]);
        if (order >= 0)
            stands[1] = peat_iterator_next(diff->iterators[1]);
    }
}

/* A bound without the collection's prefix; data NULL where it lies beyond the collection. */
static struct peat_bytes bare_bound(const struct diff *diff, struct peat_bytes stored)
{
    if (stored.size < diff->prefix.size ||
        memcmp(stored.data, diff->prefix.bytes, diff->prefix.size) != 0)
        return pt_bytes(NULL, 0);
    return pt_bytes((const uint8_t *)stored.data + diff->prefix.size,
                    stored.size - diff->prefix.size);
}

/* Compare all keys in [low, high), stored ones within the collection. */
static enum peat_status compare_range(struct diff *diff, struct peat_collection *collection,
                                      struct peat_bytes low, struct peat_bytes high)
{
    enum peat_status stands[2];

    for (unsigned i = 0; i < 2; i++) {
        if (diff->iterators[i] == NULL) {
            enum peat_status status =
                peat_iterator_open(diff->sides[i], collection, NULL, &diff->iterators[i]);
            if (status < 0)
                return status;
        }
        stands[i] = peat_iterator_seek(diff->iterators[i], bare_bound(diff, low));
    }
    return walk(diff, stands, bare_bound(diff, high));
}

/* ---- All ---- */

/* Candidates and ranges in key order. */
static enum peat_status compare_all(struct diff *diff, struct peat_collection *collection,
                                    struct pt_stack_difference *difference)
{
    struct pt_join *join = &difference->join;
    size_t next = 0;
    enum peat_status status = PEAT_OK;

    if (join->count > 0)
        status = pt_join_first(join);
    while (status == PEAT_OK) {
        const struct pt_entry *entry = join->count > 0 ? pt_join_top(join)->entry : NULL;
        const struct pt_key_range *range =
            next < difference->ranges.count ? &difference->ranges.ranges[next] : NULL;

        if (entry == NULL && range == NULL)
            break;
        if (entry != NULL && pt_join_at_gap(join))
            return pt_join_fail(join, diff->prefix.size, NULL);
        if (range != NULL && (entry == NULL || pt_bytes_compare(range->low, entry->key) <= 0)) {
            status = compare_range(diff, collection, range->low, range->high);
            if (status == PEAT_OK && entry != NULL)
                status = pt_join_seek(join, range->high, false);
            next++;
        } else {
            struct peat_bytes key = entry->key; /* it stays where it is while the join moves */

            status = compare_key(diff, key);
            if (status == PEAT_OK)
                status = pt_join_pass(join, key);
        }
    }
    return status;
}

enum peat_status peat_diff(const struct peat_snapshot *from, const struct peat_snapshot *to,
                           struct peat_collection *collection,
                           bool (*callback)(void *context,
                                            const struct peat_difference *difference),
                           void *context)
{
    struct diff diff = {.sides = {from, to},
                        .prefix = *pt_collection_prefix(collection),
                        .callback = callback,
                        .context = context};
    struct pt_stack_side sides[2];
    struct pt_id_prefix end = pt_id_prefix_end(diff.prefix);
    struct peat_bytes low = pt_id_prefix_bytes(&diff.prefix);
    struct peat_bytes high = pt_id_prefix_bytes(&end);
    struct pt_stack_difference difference;
    enum peat_status status;

    if (from == NULL || to == NULL || callback == NULL)
        return pt_fail_null();
    if (from->db != to->db)
        return pt_fail(PEAT_INVALID, "the two snapshots are of two stores");
    if (!pt_collection_is_of(collection, from->db->catalogue))
        return pt_fail_foreign();
    sides[0] = (struct pt_stack_side){from->pin.stack, from->commit};
    sides[1] = (struct pt_stack_side){to->pin.stack, to->commit};
    status = pt_stack_difference_init(&difference, sides, low, high);
    if (status == PEAT_OK && difference.size > difference.all_size / WALK_SHARE)
        status = compare_range(&diff, collection, low, high);
    else if (status == PEAT_OK)
        status = compare_all(&diff, collection, &difference);
    peat_iterator_close(diff.iterators[0]);
    peat_iterator_close(diff.iterators[1]);
    pt_stack_difference_fini(&difference);
    return status == PEAT_DONE ? PEAT_OK : status;
}

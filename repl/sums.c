#include "repl/sums.h"

#include "repl/le.h"

static const char cut_short[] = "it is cut short";
static const char too_long[] = "bytes follow its end";
static const char no_room[] = "the buffer is too small";

enum { COUNT_SIZE = 2 }; /* bytes */

/* ---- PIN, PINNED ---- */

const char *pt_commit_body_decode(struct peat_bytes body, uint64_t *commit_out)
{
    const struct pt_wire_commit *stored = body.data;
    uint64_t commit;

    if (body.size < sizeof(*stored))
        return cut_short;
    if (body.size > sizeof(*stored))
        return too_long;
    commit = pt_wire_u64(stored->commit);
    if (commit > PT_WIRE_NUMBER_MAX)
        return "its commit is too large";
    *commit_out = commit;
    return NULL;
}

const char *pt_commit_body_encode(uint64_t commit, struct pt_wire_commit *body_out)
{
    if (commit > PT_WIRE_NUMBER_MAX)
        return "its commit is too large";
    pt_wire_put_u64(body_out->commit, commit);
    return NULL;
}

/* ---- SUM ---- */

/* The count that a body begins with: at most @p max. */
static const char *count_take(const uint8_t **data, size_t *left, size_t max, size_t *count_out)
{
    *count_out = 0;
    if (*left < COUNT_SIZE)
        return cut_short;
    *count_out = pt_wire_u16(*data);
    if (*count_out > max)
        return "it has too many parts";
    *data += COUNT_SIZE;
    *left -= COUNT_SIZE;
    return NULL;
}

int pt_place_compare(const struct peat_place *a, const struct peat_place *b)
{
    size_t common = a->key.size < b->key.size ? a->key.size : b->key.size;
    int order;

    if (a->collection != b->collection)
        return a->collection < b->collection ? -1 : 1;
    order = common == 0 ? 0 : memcmp(a->key.data, b->key.data, common);
    if (order != 0 || a->key.size == b->key.size)
        return order;
    return a->key.size < b->key.size ? -1 : 1;
}

static const char *bounds_wrong(const struct pt_bounds *bounds)
{
    if (bounds->count < 2 || bounds->count > PT_SUM_PARTS_MAX + 1)
        return "it has no part, or too many";
    for (size_t i = 0; i < bounds->count; i++) {
        if (bounds->places[i].key.size > PT_PLACE_KEY_MAX)
            return "a key is too large";
        if (i > 0 && pt_place_compare(&bounds->places[i - 1], &bounds->places[i]) >= 0)
            return "its places do not ascend";
    }
    return NULL;
}

const char *pt_bounds_decode(struct peat_bytes body, struct pt_bounds *bounds_out)
{
    const uint8_t *data = body.data;
    struct pt_bounds bounds;
    size_t left = body.size;
    const char *wrong = count_take(&data, &left, PT_SUM_PARTS_MAX + 1, &bounds.count);

    for (size_t i = 0; i < bounds.count && wrong == NULL; i++) {
        const struct pt_wire_place *head = (const void *)data;
        size_t key_size;

        if (left < sizeof(*head))
            return cut_short;
        key_size = pt_wire_u16(head->key_size);
        if (left - sizeof(*head) < key_size)
            return cut_short;
        bounds.places[i] = (struct peat_place){pt_wire_u64(head->collection), {head + 1, key_size}};
        data += sizeof(*head) + key_size;
        left -= sizeof(*head) + key_size;
    }
    if (wrong == NULL && left > 0)
        wrong = too_long;
    if (wrong == NULL)
        wrong = bounds_wrong(&bounds);
    if (wrong == NULL)
        *bounds_out = bounds;
    return wrong;
}

const char *pt_bounds_encode(const struct pt_bounds *bounds, void *buffer, size_t room,
                             size_t *size_out)
{
    const char *wrong = bounds_wrong(bounds);
    uint8_t *place = buffer;
    size_t size = COUNT_SIZE;

    if (wrong != NULL)
        return wrong;
    if (room < COUNT_SIZE)
        return no_room;
    pt_wire_put_u16(place, (uint16_t)bounds->count);
    for (size_t i = 0; i < bounds->count; i++) {
        struct peat_bytes key = bounds->places[i].key;
        struct pt_wire_place head;

        if (room - size < sizeof(head) + key.size)
            return no_room;
        pt_wire_put_u64(head.collection, bounds->places[i].collection);
        pt_wire_put_u16(head.key_size, (uint16_t)key.size);
        memcpy(place + size, &head, sizeof(head));
        if (key.size > 0)
            memcpy(place + size + sizeof(head), key.data, key.size);
        size += sizeof(head) + key.size;
    }
    *size_out = size;
    return NULL;
}

/* ---- SUMS ---- */

const char *pt_sums_decode(struct peat_bytes body, struct pt_sums *sums_out)
{
    const uint8_t *data = body.data;
    const struct pt_wire_sum *stored;
    struct pt_sums sums;
    size_t left = body.size;
    const char *wrong = count_take(&data, &left, PT_SUM_PARTS_MAX, &sums.count);

    if (wrong != NULL)
        return wrong;
    if (left < sums.count * sizeof(*stored))
        return cut_short;
    if (left > sums.count * sizeof(*stored))
        return too_long;
    if (sums.count == 0)
        return "it has no part";
    stored = (const void *)data;
    for (size_t i = 0; i < sums.count; i++) {
        struct peat_tally_sum *sum = &sums.sums[i];

        if (stored[i].is_damaged > 1)
            return "it says neither that a part is damaged nor that it is not";
        sum->struct_size = sizeof(*sum);
        sum->entry_count = pt_wire_u64(stored[i].entry_count);
        sum->size = pt_wire_u64(stored[i].size);
        sum->is_damaged = stored[i].is_damaged == 1;
        memcpy(sum->digest, stored[i].digest, sizeof(sum->digest));
    }
    *sums_out = sums;
    return NULL;
}

const char *pt_sums_encode(const struct pt_sums *sums, void *buffer, size_t room, size_t *size_out)
{
    uint8_t *place = buffer;

    if (sums->count == 0 || sums->count > PT_SUM_PARTS_MAX)
        return "it has no part, or too many";
    if (room < COUNT_SIZE + sums->count * sizeof(struct pt_wire_sum))
        return no_room;
    pt_wire_put_u16(place, (uint16_t)sums->count);
    place += COUNT_SIZE;
    for (size_t i = 0; i < sums->count; i++, place += sizeof(struct pt_wire_sum)) {
        const struct peat_tally_sum *sum = &sums->sums[i];
        struct pt_wire_sum stored = {.is_damaged = sum->is_damaged};

        pt_wire_put_u64(stored.entry_count, sum->entry_count);
        pt_wire_put_u64(stored.size, sum->size);
        memcpy(stored.digest, sum->digest, sizeof(stored.digest));
        memcpy(place, &stored, sizeof(stored));
    }
    *size_out = COUNT_SIZE + sums->count * sizeof(struct pt_wire_sum);
    return NULL;
}

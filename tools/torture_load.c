#include "tools/torture_load.h"

#include <endian.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHANGES_MAX = 8,   /* of one batch */
    RANGE_MAX = 24,    /* slots that one batch deletes at once */
    SMALL_SIZE = 240,  /* bytes: of most values */
    LARGE_SIZE = 60000 /* and of some */
};

static const char collection_name[] = "torture";
static const char position_key[] = "position"; /* sorts before the slots */

/* What stands under it: the batch's number and the load's seed. */
struct position {
    uint64_t batch; /* little-endian */
    uint64_t seed;
};

/* splitmix64. */
uint64_t pt_load_mix(uint64_t number)
{
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

/* ---- What a batch does ---- */

/* One change: a value for the slot @p low, or slots from @p low up to @p high are deleted. */
struct change {
    unsigned low;
    unsigned high;
    bool is_delete;
    uint32_t size;
};

static unsigned changes_of(uint64_t seed, uint64_t batch, struct change changes[CHANGES_MAX])
{
    uint64_t dice = pt_load_mix(seed ^ pt_load_mix(batch));
    unsigned count = 1 + (unsigned)(dice % CHANGES_MAX);

    for (unsigned i = 0; i < count; i++) {
        uint64_t roll = pt_load_mix(dice + i);
        unsigned low = (unsigned)(roll % PT_LOAD_SLOTS);
        uint64_t kind = roll >> 32 & 63;

        changes[i] = (struct change){low, low + 1, kind < 14, 0};
        if (kind == 0)
            changes[i].high += (unsigned)(roll >> 40) % RANGE_MAX;
        if (changes[i].high > PT_LOAD_SLOTS)
            changes[i].high = PT_LOAD_SLOTS;
        changes[i].size = (uint32_t)((roll >> 40) % (kind == 63 ? LARGE_SIZE : SMALL_SIZE));
    }
    return count;
}

static struct peat_bytes slot_key(char key[32], unsigned slot)
{
    return (struct peat_bytes){key, (size_t)snprintf(key, 32, "slot %06u", slot)};
}

/* The byte at @p offset of a value's start does not tell what the others are: each is looked at. */
static uint64_t value_word(uint64_t seed, uint64_t batch, unsigned slot, size_t offset)
{
    return pt_load_mix(pt_load_mix(seed ^ batch << 16 ^ slot) + offset);
}

static void value_fill(uint64_t seed, uint64_t batch, unsigned slot, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = htole64(value_word(seed, batch, slot, i));

        memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
    }
}

static bool value_matches(const struct pt_load *load, unsigned slot, struct peat_bytes value)
{
    const uint8_t *bytes = value.data;

    if (value.size != load->slots[slot].size)
        return false;
    for (size_t i = 0; i < value.size; i += 8) {
        uint64_t word = htole64(value_word(load->seed, load->slots[slot].batch, slot, i));

        if (memcmp(bytes + i, &word, value.size - i < 8 ? value.size - i : 8) != 0)
            return false;
    }
    return true;
}

/* ---- The model ---- */

void pt_load_init(struct pt_load *load, uint64_t seed)
{
    memset(load, 0, sizeof(*load));
    load->seed = seed;
}

void pt_load_advance(struct pt_load *load, uint64_t batch)
{
    struct change changes[CHANGES_MAX];

    while (load->batch < batch) {
        unsigned count = changes_of(load->seed, ++load->batch, changes);

        for (unsigned i = 0; i < count; i++) {
            uint64_t writer = changes[i].is_delete ? 0 : load->batch;

            for (unsigned slot = changes[i].low; slot < changes[i].high; slot++)
                load->slots[slot] = (struct pt_load_slot){writer, changes[i].size};
        }
    }
}

/* ---- Writing ---- */

enum peat_status pt_load_collection(struct peat_db *db, struct peat_collection **collection_out)
{
    return peat_collection_open(db, NULL, collection_name, PEAT_CREATE, collection_out);
}

static enum peat_status position_put(struct peat_batch *batch, struct peat_collection *collection,
                                     const struct position *position)
{
    struct peat_bytes key = {position_key, sizeof(position_key) - 1};

    return peat_batch_put(batch, collection, key, (struct peat_bytes){position, sizeof(*position)});
}

static enum peat_status change_add(struct peat_batch *batch, struct peat_collection *collection,
                                   uint64_t seed, uint64_t number, const struct change *change)
{
    char low[32];
    char high[32];
    void *value = NULL;
    enum peat_status status;

    if (change->is_delete && change->high == change->low + 1)
        return peat_batch_delete(batch, collection, slot_key(low, change->low));
    if (change->is_delete)
        return peat_batch_delete_range(batch, collection, slot_key(low, change->low),
                                       slot_key(high, change->high));
    status =
        peat_batch_put_reserve(batch, collection, slot_key(low, change->low), change->size, &value);
    if (status == PEAT_OK)
        value_fill(seed, number, change->low, value, change->size);
    return status;
}

enum peat_status pt_load_write(struct peat_db *db, struct peat_collection *collection,
                               uint64_t seed, uint64_t batch, enum peat_durability durability)
{
    struct position position = {htole64(batch), htole64(seed)};
    struct change changes[CHANGES_MAX];
    unsigned count = changes_of(seed, batch, changes);
    struct peat_batch *operations = peat_batch_new(0);
    enum peat_status status = PEAT_NO_MEMORY;

    if (operations != NULL)
        status = position_put(operations, NULL, &position);
    for (unsigned i = 0; i < count && status == PEAT_OK; i++)
        status = change_add(operations, collection, seed, batch, &changes[i]);
    if (status == PEAT_OK)
        status = position_put(operations, collection, &position);
    if (status == PEAT_OK)
        status = peat_write(db, operations, durability, NULL);
    peat_batch_free(operations);
    return status;
}

/* ---- Reading ---- */

static enum peat_status position_get(const struct peat_snapshot *snapshot,
                                     struct peat_collection *collection,
                                     struct position *position_out)
{
    struct peat_bytes key = {position_key, sizeof(position_key) - 1};
    struct peat_bytes value;
    enum peat_status status = peat_get(snapshot, collection, key, &value);

    memset(position_out, 0, sizeof(*position_out));
    if (status == PEAT_NOT_FOUND)
        return PEAT_OK;
    if (status == PEAT_OK && value.size != sizeof(*position_out))
        return PEAT_DONE;
    if (status == PEAT_OK)
        memcpy(position_out, value.data, sizeof(*position_out));
    return status;
}

enum peat_status pt_load_position(const struct peat_snapshot *snapshot, uint64_t *batch_out,
                                  uint64_t *seed_out)
{
    struct peat_collection *collection = NULL;
    struct position outer;
    struct position inner = {0, 0};
    enum peat_status status = position_get(snapshot, NULL, &outer);

    if (status == PEAT_OK)
        status = peat_collection_open_at(snapshot, NULL, collection_name, &collection);
    if (status == PEAT_OK)
        status = position_get(snapshot, collection, &inner);
    else if (status == PEAT_NOT_FOUND)
        status = PEAT_OK;
    peat_collection_close(collection);
    if (status == PEAT_OK && (inner.batch != outer.batch || inner.seed != outer.seed))
        status = PEAT_DONE;
    *batch_out = le64toh(outer.batch);
    *seed_out = le64toh(outer.seed);
    return status;
}

static enum peat_status found(struct pt_load *load, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum peat_status found(struct pt_load *load, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(load->finding, sizeof(load->finding), format, arguments);
    va_end(arguments);
    return PEAT_DONE;
}

/* Whether the iterator's entry is that of @p slot; PT_LOAD_SLOTS: there is no further slot. */
static enum peat_status entry_verify(struct pt_load *load, const struct peat_iterator *iterator,
                                     unsigned slot)
{
    struct peat_bytes shown = peat_iterator_key(iterator);
    struct peat_bytes value = peat_iterator_value(iterator);
    struct peat_bytes key;
    char buffer[32];

    if (slot >= PT_LOAD_SLOTS)
        return found(load, "a key is shown that is not there after batch %" PRIu64, load->batch);
    key = slot_key(buffer, slot);
    if (shown.size != key.size || memcmp(shown.data, key.data, key.size) != 0)
        return found(load, "'%s' is not shown though it is there after batch %" PRIu64, buffer,
                     load->batch);
    if (!value_matches(load, slot, value))
        return found(load, "the value of '%s' is not what batch %" PRIu64 " wrote", buffer,
                     load->slots[slot].batch);
    return PEAT_OK;
}

static enum peat_status scan_verify(struct pt_load *load, const struct peat_snapshot *snapshot,
                                    struct peat_collection *collection, bool forward)
{
    struct peat_range range = {.low = {"slot ", 5}};
    struct peat_iterator *iterator = NULL;
    unsigned slot = forward ? 0 : PT_LOAD_SLOTS - 1; /* below 0 it is above PT_LOAD_SLOTS */
    enum peat_status wrong = PEAT_OK;
    enum peat_status status = peat_iterator_open(snapshot, collection, &range, &iterator);

    if (status == PEAT_OK)
        status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    while (status == PEAT_OK && wrong == PEAT_OK) {
        while (slot < PT_LOAD_SLOTS && load->slots[slot].batch == 0)
            slot += forward ? 1u : -1u;
        wrong = entry_verify(load, iterator, slot);
        slot += forward ? 1u : -1u;
        status = forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
    }
    peat_iterator_close(iterator);
    if (wrong != PEAT_OK || status != PEAT_DONE)
        return wrong != PEAT_OK ? wrong : status;
    for (; slot < PT_LOAD_SLOTS; slot += forward ? 1u : -1u)
        if (load->slots[slot].batch != 0)
            return found(load, "slot %u is missing after batch %" PRIu64, slot, load->batch);
    return PEAT_OK;
}

enum peat_status pt_load_verify(struct pt_load *load, const struct peat_snapshot *snapshot)
{
    struct peat_collection *collection = NULL;
    enum peat_status status = peat_collection_open_at(snapshot, NULL, collection_name, &collection);

    if (status == PEAT_NOT_FOUND)
        return load->batch == 0 ? PEAT_OK : found(load, "the collection is missing");
    if (status == PEAT_OK)
        status = scan_verify(load, snapshot, collection, true);
    if (status == PEAT_OK)
        status = scan_verify(load, snapshot, collection, false);
    peat_collection_close(collection);
    return status;
}

#include "core/db/state_walk.h"

enum { TICK_SIZE = 1 << 20 /* bytes between two calls of progress */ };

/* ---- Walking ---- */

static enum peat_status arrive(struct pt_state_walk *walk, enum peat_status status)
{
    struct peat_range keys;

    while (walk->lost != NULL && (status == PEAT_CORRUPT || status == PEAT_IO) &&
           peat_iterator_damage(walk->iterator, &keys) == PEAT_OK) {
        status = walk->lost(walk->context, &keys);
        if (status == PEAT_OK)
            status = peat_iterator_pass_damage(walk->iterator);
    }
    walk->ended = status != PEAT_OK;
    if (status == PEAT_OK) {
        walk->key = peat_iterator_key(walk->iterator);
        walk->value = peat_iterator_value(walk->iterator);
    }
    return status == PEAT_DONE ? PEAT_OK : status;
}

enum peat_status pt_state_walk_open(struct pt_state_walk *walk,
                                    const struct peat_snapshot *snapshot)
{
    return pt_state_walk_open_within(walk, snapshot, pt_bytes(NULL, 0), pt_bytes(NULL, 0));
}

enum peat_status pt_state_walk_open_within(struct pt_state_walk *walk,
                                           const struct peat_snapshot *snapshot,
                                           struct peat_bytes low, struct peat_bytes high)
{
    enum peat_status status = pt_iterator_open_stored(snapshot, low, high, &walk->iterator);

    return status == PEAT_OK ? arrive(walk, peat_iterator_first(walk->iterator)) : status;
}

enum peat_status pt_state_walk_next(struct pt_state_walk *walk)
{
    PT_ASSERT(!walk->ended);
    return arrive(walk, peat_iterator_next(walk->iterator));
}

void pt_state_walk_close(struct pt_state_walk *walk)
{
    peat_iterator_close(walk->iterator);
    memset(walk, 0, sizeof(*walk));
}

uint64_t pt_state_estimate(const struct peat_snapshot *snapshot)
{
    const struct pt_stack *stack = snapshot->pin.stack;
    uint64_t size = 0;

    for (size_t i = 0; i < stack->buffer_count; i++)
        size += pt_write_buffer_data_size(stack->buffers[i]->buffer);
    for (size_t i = 0; i < stack->run_count; i++)
        size += stack->runs[i]->size;
    return size;
}

/* ---- Progress ---- */

/* PEAT_DONE: the caller wants no more. */
static enum peat_status tell(struct pt_meter *meter)
{
    meter->told = meter->done;
    if (meter->done > meter->total)
        meter->total = meter->done;
    if (meter->progress != NULL && !meter->progress(meter->context, meter->done, meter->total))
        return PEAT_DONE;
    return PEAT_OK;
}

enum peat_status pt_meter_advance(struct pt_meter *meter, uint64_t size)
{
    meter->done += size;
    return meter->done - meter->told < TICK_SIZE ? PEAT_OK : tell(meter);
}

void pt_meter_end(struct pt_meter *meter)
{
    if (meter->done < meter->total)
        meter->done = meter->total;
    (void)tell(meter);
}

/* ---- The digest ---- */

void pt_state_digest_add_head(struct pt_digester *digester, const struct pt_state_walk *walk)
{
    struct pt_le32 sizes[2] = {pt_le32(pt_u32(walk->key.size)), pt_le32(pt_u32(walk->value.size))};

    pt_digester_add(digester, sizes, sizeof(sizes));
    pt_digester_add(digester, walk->key.data, walk->key.size);
}

void pt_state_digest_add(struct pt_digester *digester, const struct pt_state_walk *walk)
{
    pt_state_digest_add_head(digester, walk);
    pt_digester_add(digester, walk->value.data, walk->value.size);
}

enum peat_status peat_digest(const struct peat_snapshot *snapshot,
                             bool (*progress)(void *context, uint64_t done, uint64_t total),
                             void *context, uint8_t digest_out[32], uint64_t *entry_count_out)
{
    struct pt_meter meter = {.progress = progress, .context = context};
    struct pt_digester *digester = NULL;
    struct pt_state_walk walk = {.iterator = NULL};
    struct pt_digest digest;
    uint64_t entry_count = 0;
    enum peat_status status;

    if (snapshot == NULL || digest_out == NULL)
        return pt_fail_null();
    meter.total = pt_state_estimate(snapshot);
    status = pt_digester_new(&digester);
    if (status == PEAT_OK)
        status = pt_state_walk_open(&walk, snapshot);
    while (status == PEAT_OK && !walk.ended) {
        pt_state_digest_add(digester, &walk);
        entry_count++;
        status = pt_meter_advance(&meter, pt_entry_size(walk.key.size, walk.value.size));
        if (status == PEAT_OK)
            status = pt_state_walk_next(&walk);
    }
    if (status == PEAT_OK) {
        digest = pt_digester_finish(digester);
        memcpy(digest_out, digest.bytes, sizeof(digest.bytes));
        if (entry_count_out != NULL)
            *entry_count_out = entry_count;
        pt_meter_end(&meter);
    }
    pt_state_walk_close(&walk);
    pt_digester_free(digester);
    return status;
}

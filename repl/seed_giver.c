#include "repl/seed_giver.h"

enum peat_status pt_seed_giver_open(struct pt_seed_giver *giver, struct peat_db *db,
                                    const char *name, uint64_t position)
{
    struct peat_seed_info info;
    struct peat_feed *feed = NULL;
    enum peat_status status = peat_seed_open(db, &giver->seed);

    if (status != PEAT_OK)
        return status;
    peat_seed_about(giver->seed, &info);
    /* It takes no state that goes back; and one of its own place only if that was reverted since, or to heal. */
    if (info.position.position <= position) {
        pt_seed_giver_close(giver);
        status = peat_flush(db);
        if (status == PEAT_OK)
            status = peat_seed_open(db, &giver->seed);
        if (status != PEAT_OK)
            return status;
        peat_seed_about(giver->seed, &info);
    }
    /* Its name keeps the log until the follower comes back for it; until then it has nothing of the state. */
    status = peat_feed_open(db, info.position.commit + 1, name, PEAT_FEED_SEALS | PEAT_FEED_AHEAD,
                            &feed);
    peat_feed_close(feed);
    if (status != PEAT_OK)
        pt_seed_giver_close(giver);
    return status;
}

void pt_seed_giver_close(struct pt_seed_giver *giver)
{
    peat_seed_close(giver->seed);
    *giver = (struct pt_seed_giver){.seed = NULL};
}

const char *pt_seed_giver_ask(struct pt_seed_giver *giver, const struct pt_ask *ask)
{
    if (giver->seed == NULL)
        return "it asks for a state that it was not offered";
    if (giver->count == PT_SEED_ASKS_MAX)
        return "it asks for too much at once";
    giver->asks[(giver->first + giver->count++) % PT_SEED_ASKS_MAX] = *ask;
    return NULL;
}

enum peat_status pt_seed_giver_next(struct pt_seed_giver *giver, struct pt_chunk *chunk_out)
{
    struct pt_ask *ask = &giver->asks[giver->first];
    struct pt_chunk chunk = {.part = ask->part, .offset = ask->offset};
    uint64_t size = ask->size < PT_SEED_CHUNK_MAX ? ask->size : PT_SEED_CHUNK_MAX;
    enum peat_status status;

    if (giver->count == 0)
        return PEAT_DONE;
    status = peat_seed_read(giver->seed, ask->part, ask->offset, (size_t)size, &chunk.bytes,
                            &chunk.part_size);
    if (status != PEAT_OK)
        return status;
    ask->offset += chunk.bytes.size;
    ask->size -= chunk.bytes.size;
    if (ask->size == 0 || ask->offset == chunk.part_size) {
        giver->first = (giver->first + 1) % PT_SEED_ASKS_MAX;
        giver->count--;
    }
    *chunk_out = chunk;
    return PEAT_OK;
}

#include "repl/seed_taker.h"

enum {
    ASK_MAX = 1 << 20, /* bytes */
    ASK_FIRST = 64 << 10,
    HEAL_TRIES = 4
};

enum peat_status pt_seed_taker_open(struct pt_seed_taker *taker, struct peat_db *db)
{
    *taker = (struct pt_seed_taker){.seeding = NULL};
    return peat_seeding_open(db, &taker->seeding);
}

void pt_seed_taker_close(struct pt_seed_taker *taker)
{
    peat_seeding_close(taker->seeding);
    taker->seeding = NULL;
}

void pt_seed_taker_heal(struct pt_seed_taker *taker, uint64_t damaged)
{
    taker->damaged = damaged;
    taker->heals = damaged > 0;
    taker->tries = 0;
    taker->least = UINT64_MAX;
}

bool pt_seed_taker_gives_up(struct pt_seed_taker *taker)
{
    struct peat_seeding_info info;

    if (!taker->heals)
        return false;
    peat_seeding_about(taker->seeding, &info);
    if (info.size > 0 && info.missing < taker->least) {
        taker->least = info.missing;
        taker->tries = 0;
        return false;
    }
    taker->heals = ++taker->tries < HEAL_TRIES;
    return !taker->heals;
}

void pt_seed_taker_begin(struct pt_seed_taker *taker)
{
    peat_seeding_restart(taker->seeding);
    taker->ask_count = 0;
    taker->under_way = 0;
}

bool pt_seed_taker_ask(struct pt_seed_taker *taker, uint64_t window, struct pt_ask *ask_out)
{
    struct peat_seed_range range;
    uint64_t size = taker->under_way == 0 ? ASK_FIRST : ASK_MAX;

    if (taker->ask_count == PT_SEED_ASKS_MAX || taker->under_way >= window)
        return false;
    if (size > window - taker->under_way)
        size = window - taker->under_way;
    if (!peat_seeding_next(taker->seeding, size, &range))
        return false;
    *ask_out = (struct pt_ask){.part = range.part, .offset = range.offset, .size = range.size};
    taker->asks[(taker->first + taker->ask_count++) % PT_SEED_ASKS_MAX] = *ask_out;
    taker->under_way += range.size;
    return true;
}

enum peat_status pt_seed_taker_take(struct pt_seed_taker *taker, const struct pt_chunk *chunk)
{
    struct pt_ask *ask = &taker->asks[taker->first];
    enum peat_status status;

    if (taker->ask_count == 0 || chunk->part != ask->part || chunk->offset != ask->offset ||
        chunk->bytes.size > ask->size)
        return PEAT_INVALID;
    ask->offset += chunk->bytes.size;
    ask->size -= chunk->bytes.size;
    taker->under_way -= chunk->bytes.size;
    if (ask->size == 0 || ask->offset == chunk->part_size) {
        taker->under_way -= ask->size;
        taker->first = (taker->first + 1) % PT_SEED_ASKS_MAX;
        taker->ask_count--;
    }
    status = peat_seeding_write(taker->seeding, chunk->part, chunk->offset, chunk->part_size,
                                chunk->bytes);
    if (status != PEAT_DONE)
        return status;
    status = peat_seeding_finish(taker->seeding);
    if (status != PEAT_OK)
        return status;
    taker->wanted = false;
    taker->heals = false;
    taker->healed += taker->damaged; /* what is shown now is what has come */
    taker->damaged = 0;
    taker->count++;
    return PEAT_DONE;
}

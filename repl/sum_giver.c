#include "repl/sum_giver.h"

#include <string.h>

enum { TURN_SIZE = 8 << 20 /* bytes: some ten milliseconds */ };

void pt_sum_giver_close(struct pt_sum_giver *giver)
{
    peat_tally_close(giver->tally);
    peat_snapshot_close(giver->snapshot);
    giver->tally = NULL;
    giver->snapshot = NULL;
    giver->working = false;
}

enum peat_status pt_sum_giver_pin(struct pt_sum_giver *giver, struct peat_db *db, uint64_t commit,
                                  uint64_t now_us, uint64_t *pinned_out)
{
    struct peat_snapshot *earlier = NULL;
    enum peat_status status;

    pt_sum_giver_close(giver);
    status = peat_refresh(db);
    if (status == PEAT_OK)
        status = peat_snapshot_open(db, &giver->snapshot);
    if (status != PEAT_OK)
        return status;
    if (commit <= peat_snapshot_commit(giver->snapshot) &&
        peat_snapshot_open_at(giver->snapshot, commit, &earlier) == PEAT_OK) {
        peat_snapshot_close(giver->snapshot);
        giver->snapshot = earlier;
    }
    giver->asked_us = now_us;
    *pinned_out = peat_snapshot_commit(giver->snapshot);
    return PEAT_OK;
}

const char *pt_sum_giver_ask(struct pt_sum_giver *giver, struct peat_bytes body, uint64_t now_us)
{
    const char *wrong;

    if (giver->snapshot == NULL)
        return "it asks for sums of a state that it has not pinned";
    if (giver->working)
        return "it asks for sums before it has the last ones";
    if (body.size > sizeof(giver->body))
        return "it asks for too much at once";
    if (body.size > 0)
        memcpy(giver->body, body.data, body.size);
    wrong = pt_bounds_decode((struct peat_bytes){giver->body, body.size}, &giver->bounds);
    if (wrong != NULL)
        return wrong;
    giver->working = true;
    giver->asked_us = now_us;
    giver->sums.count = 0;
    giver->status = PEAT_OK;
    return NULL;
}

/* The part under way is through. PEAT_DONE: it was the last one. */
static enum peat_status part_take(struct pt_sum_giver *giver)
{
    struct peat_tally_sum *sum = &giver->sums.sums[giver->sums.count];
    enum peat_status status;

    *sum = (struct peat_tally_sum){.struct_size = sizeof(*sum)};
    status = peat_tally_take(giver->tally, sum);
    peat_tally_close(giver->tally);
    giver->tally = NULL;
    if (status != PEAT_OK)
        return status;
    return ++giver->sums.count + 1 == giver->bounds.count ? PEAT_DONE : PEAT_OK;
}

void pt_sum_giver_work(struct pt_sum_giver *giver)
{
    const struct peat_place *low = &giver->bounds.places[giver->sums.count];
    enum peat_status status = PEAT_OK;

    if (!giver->working || giver->status != PEAT_OK)
        return;
    if (giver->tally == NULL)
        status = peat_tally_open(giver->snapshot, low, low + 1, &giver->tally);
    if (status == PEAT_OK)
        status = peat_tally_add(giver->tally, TURN_SIZE, NULL);
    if (status == PEAT_DONE)
        status = part_take(giver);
    giver->status = status;
}

enum peat_status pt_sum_giver_answer(struct pt_sum_giver *giver, uint64_t now_us,
                                     struct pt_sums *sums_out)
{
    if (!giver->working || giver->status == PEAT_OK)
        return PEAT_OK;
    giver->working = false;
    giver->asked_us = now_us;
    *sums_out = giver->sums;
    return giver->status;
}

bool pt_sum_giver_is_over(const struct pt_sum_giver *giver, uint64_t now_us)
{
    return giver->snapshot != NULL && !giver->working &&
           now_us >= giver->asked_us + PT_SUM_LEASE_US;
}

#include "core/db/lineage.h"

#include "core/base/status.h"

#include <string.h>

void pt_lineage_begin(struct pt_lineage *lineage, uint64_t epoch)
{
    lineage->epochs[0] = (struct peat_epoch){.epoch = epoch, .first_commit = 1};
    lineage->count = 1;
}

bool pt_lineage_is_plain(const struct pt_lineage *lineage)
{
    static const uint8_t no_chain[sizeof(lineage->epochs[0].chain)];
    const struct peat_epoch *first = &lineage->epochs[0];

    return lineage->count == 0 ||
           (lineage->count == 1 && first->first_commit == 1 && first->position == 0 &&
            memcmp(first->chain, no_chain, sizeof(no_chain)) == 0);
}

uint64_t pt_lineage_newest(const struct pt_lineage *lineage)
{
    return lineage->count == 0 ? 0 : lineage->epochs[lineage->count - 1].epoch;
}

uint64_t pt_lineage_at(const struct pt_lineage *lineage, uint64_t position)
{
    size_t count = lineage->count;

    while (count > 0 && lineage->epochs[count - 1].position > position)
        count--;
    return count == 0 ? 0 : lineage->epochs[count - 1].epoch;
}

/* Behind all that there are, or in place of the last one, if that has no record (1). */
static void add(struct pt_lineage *lineage, const struct peat_epoch *epoch)
{
    PT_ASSERT(lineage->count == 0 || epoch->epoch > pt_lineage_newest(lineage));
    if (lineage->count > 0 && lineage->epochs[lineage->count - 1].position == epoch->position)
        lineage->count--;
    if (lineage->count == PEAT_EPOCHS_MAX) {
        lineage->count--;
        memmove(lineage->epochs, lineage->epochs + 1, lineage->count * sizeof(*epoch));
    }
    PT_ASSERT(lineage->count == 0 ||
              epoch->position > lineage->epochs[lineage->count - 1].position);
    lineage->epochs[lineage->count++] = *epoch;
}

bool pt_lineage_note(struct pt_lineage *lineage, uint64_t epoch, const struct pt_log_point *point)
{
    struct peat_epoch row = {
        .epoch = epoch, .first_commit = point->commit + 1, .position = point->position};

    if (lineage->count > 0 && epoch <= pt_lineage_newest(lineage))
        return false;
    memcpy(row.chain, point->chain.bytes, sizeof(row.chain));
    add(lineage, &row);
    return true;
}

void pt_lineage_extend(struct pt_lineage *lineage, const struct pt_lineage *newer)
{
    for (size_t i = 0; i < newer->count; i++)
        if (newer->epochs[i].epoch > pt_lineage_newest(lineage) &&
            (lineage->count == 0 ||
             newer->epochs[i].position >= lineage->epochs[lineage->count - 1].position))
            add(lineage, &newer->epochs[i]);
}

static bool begins_behind(const struct peat_epoch *epoch, const struct pt_log_point *point)
{
    return epoch->position > point->position || epoch->first_commit - 1 > point->commit;
}

void pt_lineage_cut(struct pt_lineage *lineage, const struct pt_log_point *point)
{
    while (lineage->count > 0 && begins_behind(&lineage->epochs[lineage->count - 1], point))
        lineage->count--;
    if (lineage->count == 0)
        pt_lineage_begin(lineage, point->epoch);
}

bool pt_lineage_is_valid(const struct pt_lineage *lineage, const struct pt_log_point *log)
{
    const struct peat_epoch *epochs = lineage->epochs;

    if (lineage->count == 0 || lineage->count > PEAT_EPOCHS_MAX || epochs[0].first_commit == 0)
        return false;
    for (size_t i = 1; i < lineage->count; i++)
        if (epochs[i].epoch <= epochs[i - 1].epoch ||
            epochs[i].first_commit < epochs[i - 1].first_commit ||
            epochs[i].position <= epochs[i - 1].position)
            return false;
    epochs += lineage->count - 1;
    return epochs->epoch == log->epoch && !begins_behind(epochs, log);
}

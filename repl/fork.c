#include "repl/fork.h"

#include <string.h>

enum { RECORDS_MAX = 64 /* a commit and its seals; more is not looked at for a peer's word */ };

static struct peat_epoch row_at(const struct pt_epochs *epochs, uint32_t index)
{
    return pt_epoch_get(&epochs->rows[index]);
}

uint64_t pt_epochs_newest(const struct pt_epochs *epochs)
{
    return epochs->count == 0 ? 0 : row_at(epochs, epochs->count - 1).epoch;
}

enum peat_status pt_branch_of(struct peat_db *db, struct pt_branch *branch)
{
    struct peat_epoch epochs[PT_EPOCH_COUNT_MAX];
    size_t count = 0;
    enum peat_status status = peat_position_get(db, &branch->end);

    if (status == PEAT_OK)
        status = peat_epochs_get(db, epochs, PT_EPOCH_COUNT_MAX, &count);
    for (size_t i = 0; i < count; i++)
        pt_epoch_put(&branch->rows[i], epochs[i]);
    branch->epochs = (struct pt_epochs){branch->rows, (uint32_t)count};
    return status;
}

/* The row that says of which epoch what is at @p position is; the first, where that begins later.
 * */
static uint32_t index_at(const struct pt_epochs *epochs, uint64_t position)
{
    uint32_t index = epochs->count - 1;

    while (index > 0 && row_at(epochs, index).position > position)
        index--;
    return index;
}

/* Where the row of that number begins; UINT64_MAX: there is none. */
static uint64_t begin_of(const struct pt_epochs *epochs, uint32_t index)
{
    return index < epochs->count ? row_at(epochs, index).position : UINT64_MAX;
}

/* Where they fork; UINT64_MAX: nowhere, as far as both know. */
static uint64_t fork_of(const struct pt_epochs *a, const struct pt_epochs *b)
{
    uint64_t start = begin_of(a, 0) > begin_of(b, 0) ? begin_of(a, 0) : begin_of(b, 0);
    uint32_t i = index_at(a, start);
    uint32_t k = index_at(b, start);

    if (row_at(a, i).epoch != row_at(b, k).epoch)
        return start;
    for (i++, k++; i < a->count && k < b->count; i++, k++)
        if (memcmp(&a->rows[i], &b->rows[k], sizeof(a->rows[i])) != 0)
            break;
    return begin_of(a, i) < begin_of(b, k) ? begin_of(a, i) : begin_of(b, k);
}

bool pt_branches_parted(const struct pt_branch *a, const struct pt_branch *b)
{
    uint64_t fork;
    uint64_t epochs[2];

    if (a->epochs.count == 0 || b->epochs.count == 0)
        return false;
    fork = fork_of(&a->epochs, &b->epochs);
    if (fork == UINT64_MAX)
        return false;
    epochs[0] = row_at(&a->epochs, index_at(&a->epochs, fork)).epoch;
    epochs[1] = row_at(&b->epochs, index_at(&b->epochs, fork)).epoch;
    if (epochs[0] == epochs[1]) /* one epoch that begins in two ways */
        return true;
    return (epochs[0] < epochs[1] ? a : b)->end.position > fork;
}

bool pt_branches_fork(const struct pt_branch *a, const struct pt_branch *b,
                      struct peat_epoch *row_out)
{
    const struct pt_epochs *both[] = {&a->epochs, &b->epochs};
    uint64_t fork;

    if (a->epochs.count == 0 || b->epochs.count == 0)
        return false;
    fork = fork_of(&a->epochs, &b->epochs);
    if (fork <= begin_of(&a->epochs, 0) || fork <= begin_of(&b->epochs, 0))
        return false; /* what is before the oldest row is not known: they may fork there */
    for (unsigned i = 0; i < 2; i++) {
        for (uint32_t k = 1; k < both[i]->count; k++) {
            *row_out = row_at(both[i], k);
            if (row_out->position == fork)
                return row_out->first_commit > 0;
        }
    }
    return false;
}

/* Whether the history of @p db has the chain that @p row has where it begins. */
static bool chain_is_there(struct peat_db *db, const struct peat_epoch *row)
{
    struct peat_record record = {.position = 0};
    struct peat_feed *feed = NULL;
    unsigned count = 0;
    uint8_t chain[sizeof(row->chain)] = {0};

    if (row->first_commit < 2 ||
        peat_feed_open(db, row->first_commit - 1, NULL, PEAT_FEED_SEALS, &feed) != PEAT_OK)
        return false;
    while (peat_feed_next(feed, 0, &record) == PEAT_OK && record.position < row->position &&
           count++ < RECORDS_MAX)
        memcpy(chain, record.chain, sizeof(chain));
    peat_feed_close(feed);
    return count > 0 && record.position == row->position &&
           memcmp(chain, row->chain, sizeof(chain)) == 0;
}

bool pt_branch_goes_on(struct peat_db *db, const struct pt_branch *ours,
                       const struct pt_branch *other)
{
    uint64_t newest = pt_epochs_newest(&ours->epochs);
    struct peat_epoch row = {.epoch = 0};

    for (uint32_t i = 0; i < other->epochs.count && row.epoch <= newest; i++)
        row = row_at(&other->epochs, i);
    if (row.epoch <= newest || row.position == 0 || row.position > ours->end.position)
        return false;
    if (row.position == ours->end.position)
        return memcmp(row.chain, ours->end.chain, sizeof(row.chain)) == 0;
    return chain_is_there(db, &row);
}

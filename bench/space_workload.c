#include "bench/space.h"

#include "bench/stopwatch.h"

#include <math.h>
#include <string.h>

static const double zipf_skew = 0.99;
static const double idle_max = 1.6;
static const double idle_max_of_rest =
    2.5; /* one log region weighs more beside a tenth of the data */
enum {
    EXPIRIES = 20,  /* in which a series' live data goes */
    KEPT_SHARE = 10 /* one entry in so many is not deleted */
};

/* Put entries @p first to @p first + @p count - 1. */
static void put_all(struct pt_space_store *store, uint64_t first, uint64_t count, bool scattered)
{
    for (uint64_t i = 0; i < count;) {
        uint64_t begin = i;

        for (; i < count && i - begin < PT_SPACE_BATCH; i++)
            pt_space_put(store, first + i, scattered);
        pt_space_commit(store, i - begin, 0);
    }
}

/* Until all is there what is live is not told: the file is compared with the whole. */
static void load(struct pt_space_store *store)
{
    put_all(store, 0, store->entry_count, true);
    atomic_store(&store->measured, true);
}

static void fill(struct pt_space_store *store)
{
    load(store);
    if (peat_wait_idle(store->db, 1000000) != PEAT_OK)
        pt_space_die("coming to rest");
}

static void overwrite(struct pt_space_store *store)
{
    uint64_t count = store->entry_count * store->plan->turns;

    fill(store);
    for (uint64_t i = 0; i < count;) {
        for (uint64_t end = i + PT_SPACE_BATCH; i < end; i++)
            pt_space_put(store, pt_spread(pt_mix(~i), store->entry_count), true);
        pt_space_commit(store, 0, 0);
    }
}

/* Numbers of which low ones are frequent: Gray et al., "Quickly generating billion-record synthetic
 * databases". */
struct zipf {
    double count, theta, zeta, alpha, eta;
};

static void zipf_init(struct zipf *zipf, uint64_t count)
{
    double theta = zipf_skew;

    *zipf = (struct zipf){(double)count, theta, 0, 1 / (1 - theta), 0};
    for (uint64_t i = 1; i <= count; i++)
        zipf->zeta += pow((double)i, -theta);
    zipf->eta = (1 - pow(2 / zipf->count, 1 - theta)) / (1 - (1 + pow(2, -theta)) / zipf->zeta);
}

static uint64_t zipf_next(const struct zipf *zipf, uint64_t random)
{
    double u = (double)(random >> 11) / (double)(UINT64_C(1) << 53);
    double number;

    if (u * zipf->zeta < 1)
        return 0;
    if (u * zipf->zeta < 1 + pow(2, -zipf->theta))
        return 1;
    number = zipf->count * pow(zipf->eta * u - zipf->eta + 1, zipf->alpha);
    return number < zipf->count ? (uint64_t)number : (uint64_t)zipf->count - 1;
}

static void overwrite_zipf(struct pt_space_store *store)
{
    uint64_t count = store->entry_count * store->plan->turns;
    struct zipf zipf;

    zipf_init(&zipf, store->entry_count);
    fill(store);
    for (uint64_t i = 0; i < count;) {
        for (uint64_t end = i + PT_SPACE_BATCH; i < end; i++)
            pt_space_put(store, zipf_next(&zipf, pt_mix(~i)), true);
        pt_space_commit(store, 0, 0);
    }
}

static void series(struct pt_space_store *store)
{
    uint64_t step = store->entry_count / EXPIRIES;
    uint64_t next = step * EXPIRIES;

    put_all(store, 0, next, false);
    atomic_store(&store->measured, true);
    for (unsigned i = 0; i < EXPIRIES * store->plan->turns; i++) {
        put_all(store, next, step, false);
        next += step;
        pt_space_delete_below(store, next - step * EXPIRIES);
        pt_space_commit(store, 0, step);
    }
}

static void queue(struct pt_space_store *store)
{
    uint64_t count = store->entry_count;
    uint64_t end = count * (store->plan->turns + 1);

    put_all(store, 0, count, false);
    atomic_store(&store->measured, true);
    for (uint64_t i = count; i < end;) {
        for (uint64_t last = i + PT_SPACE_BATCH; i < last; i++) {
            pt_space_put(store, i, false);
            pt_space_delete(store, i - count, false);
        }
        pt_space_commit(store, 0, 0);
    }
}

/* The entries that stay are one in ten, all over. The snapshot holds the space of the others until it is
 * closed, so the file is compared with what is left at rest alone. */
static void delete_most(struct pt_space_store *store)
{
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;
    uint64_t seen = 0;

    fill(store);
    atomic_store(&store->measured, false);
    if (peat_snapshot_open(store->db, &snapshot) != PEAT_OK ||
        peat_iterator_open(snapshot, NULL, NULL, &iterator) != PEAT_OK)
        pt_space_die("a snapshot");
    for (uint64_t i = 0; i < store->entry_count;) {
        uint64_t gone = 0;

        for (; i < store->entry_count && gone < PT_SPACE_BATCH; i++)
            if (i % KEPT_SHARE != 0) {
                pt_space_delete(store, i, true);
                gone++;
            }
        pt_space_commit(store, 0, gone);
    }
    while (peat_iterator_next(iterator) == PEAT_OK)
        seen++;
    if (seen != store->entry_count)
        pt_space_die("the snapshot does not show what it did");
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
}

const struct pt_space_workload pt_space_workloads[] = {
    {"load", "put entries in random order", load, idle_max},
    {"overwrite", "put random ones again", overwrite, idle_max},
    {"zipfian", "the same, a few of them most of the time", overwrite_zipf, idle_max},
    {"series", "append in order, and delete the oldest by range", series, idle_max},
    {"queue", "append in order, and delete the oldest one by one", queue, idle_max},
    {"deletion", "delete nine of ten, while a snapshot shows them all", delete_most,
     idle_max_of_rest},
    {NULL, NULL, NULL, 0},
};

/*
 * Snapshots: taken and released, by one thread and by two at a time.
 *
 * What is required is a rate, not a ratio: 100 ns each in every thread.
 */
#include "bench/stopwatch.h"
#include "bench/workload.h"

#include <pthread.h>

enum { SNAPSHOTS = 200000 /* in each thread */, THREADS = 2 };

static void *take(void *context)
{
    struct pt_side *side = context;

    side->driver->snapshots(side->store, SNAPSHOTS);
    return NULL;
}

static struct pt_tally alone(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    uint64_t start = pt_stopwatch_ns();
    (void)bench;
    (void)number;

    (void)take(side);
    return (struct pt_tally){.ns = pt_stopwatch_ns() - start, .count = SNAPSHOTS};
}

static struct pt_tally together(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    uint64_t start = pt_stopwatch_ns();
    pthread_t threads[THREADS];
    (void)bench;
    (void)number;

    for (unsigned i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, take, side) != 0)
            pt_driver_die(side->driver->name, "thread", "cannot be started");
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    return (struct pt_tally){.ns = pt_stopwatch_ns() - start, .count = THREADS * SNAPSHOTS};
}

void pt_workload_snapshots(struct pt_bench *bench)
{
    if (pt_bench_wants(bench, "snapshot"))
        pt_bench_paired(bench, "snapshot", bench->rounds, (struct pt_required){.rate = 10e6},
                        alone);
    if (pt_bench_wants(bench, "snapshot-2-threads"))
        pt_bench_paired(bench, "snapshot-2-threads", bench->rounds,
                        (struct pt_required){.rate = THREADS * 10e6}, together);
}

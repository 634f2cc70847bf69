/* Commits that wait for a follower's disk, by one thread and by sixteen; beside them those that wait for this one alone. */
#include "bench/repl_bench.h"
#include "bench/stopwatch.h"

#include <pthread.h>

enum { THREADS = 16, COMMITS = 4000 };

struct writer {
    pthread_t thread;
    struct pt_repl_bench *bench;
    struct peat_db *db;
    uint64_t number;
    uint64_t end_ns;
    uint64_t count;
};

/* Commit some, one after the other; how long each took, in milliseconds, into times. How many. */
static size_t commit_some(struct pt_repl_bench *bench, struct peat_db *db,
                          enum peat_durability durability)
{
    struct peat_batch *batch = peat_batch_new(0);
    uint64_t end_ns = pt_stopwatch_ns() + UINT64_C(1000000000) * bench->choices.seconds;
    static struct pt_block block;
    size_t count = 0;

    pt_block_fill(&block, &bench->source, PT_CHOOSE_EXISTING, 0, 0, PT_BLOCK_SIZE);
    for (uint64_t now_ns = pt_stopwatch_ns(); count < COMMITS && now_ns < end_ns;) {
        const struct peat_entry *entry = &block.entries[count % PT_BLOCK_SIZE];
        uint64_t after_ns;

        peat_batch_clear(batch);
        pt_repl_need(peat_batch_put(batch, NULL, entry->key, entry->value), "put");
        pt_repl_need(peat_write(db, batch, durability, NULL), "commit");
        after_ns = pt_stopwatch_ns();
        bench->shared->times[count++] = (double)(after_ns - now_ns) / 1e6;
        now_ns = after_ns;
    }
    peat_batch_free(batch);
    return count;
}

static void *writer_run(void *context)
{
    struct writer *writer = context;
    struct peat_batch *batch = peat_batch_new(0);

    while (pt_stopwatch_ns() < writer->end_ns) {
        uint64_t key = pt_mix(writer->number << 32 | writer->count);

        peat_batch_clear(batch);
        pt_repl_need(
            peat_batch_put(batch, NULL, (struct peat_bytes){&key, sizeof(key)},
                           (struct peat_bytes){writer->bench->source.pool, PT_SOURCE_VALUE_SIZE}),
            "put");
        pt_repl_need(peat_write(writer->db, batch, PEAT_REPLICAS, NULL), "commit");
        writer->count++;
    }
    peat_batch_free(batch);
    return NULL;
}

/* Commits a second by all threads together. */
static double threads_run(struct pt_repl_bench *bench, struct peat_db *db)
{
    struct writer writers[THREADS];
    uint64_t begin_ns = pt_stopwatch_ns();
    uint64_t count = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] =
            (struct writer){.bench = bench,
                            .db = db,
                            .number = i,
                            .end_ns = begin_ns + UINT64_C(1000000000) * bench->choices.seconds};
        if (pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]) != 0)
            pt_repl_die("a thread", "none could be started");
    }
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(writers[i].thread, NULL);
        count += writers[i].count;
    }
    return (double)count * 1e9 / (double)(pt_stopwatch_ns() - begin_ns);
}

static void waiting_primary(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    struct pt_repl_end end = {.db = pt_repl_store_make(bench, PEAT_OS)};
    size_t count;
    (void)context;

    count = commit_some(bench, end.db, PEAT_DISK);
    shared->figures[0] = pt_repl_quantile(shared->times, count, 0.5);
    pt_repl_offer(bench, &end, 0);
    pt_repl_await(bench, &shared->following);
    count = commit_some(bench, end.db, PEAT_REPLICAS);
    shared->figures[1] = pt_repl_quantile(shared->times, count, 0.5);
    shared->figures[2] = pt_repl_quantile(shared->times, count, 0.99);
    shared->figures[3] = threads_run(bench, end.db);
    atomic_store(&shared->done, true);
    pt_repl_await(bench, &shared->over);
    pt_repl_end_close(&end);
}

static void syncing_follower(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_end end = {.db = NULL};
    (void)context;

    pt_repl_follow(bench, &end, PEAT_DISK);
    while (!atomic_load(&bench->shared->following)) {
        struct peat_follower_status status = {.struct_size = sizeof(status)};

        peat_follower_status_get(end.follower, &status);
        atomic_store(&bench->shared->following, status.state == PEAT_FOLLOWER_FOLLOWING);
    }
    pt_repl_await(bench, &bench->shared->over); /* nobody reads there: that is lag's matter */
    pt_repl_end_close(&end);
}

void pt_repl_replicas(struct pt_repl_bench *bench)
{
    static const char name[] = "replicas, k = 1";
    struct pt_repl_shared *shared = bench->shared;

    pt_repl_reset(bench);
    (void)pt_repl_start(bench, waiting_primary, NULL);
    (void)pt_repl_start(bench, syncing_follower, NULL);
    pt_repl_await(bench, &shared->done);
    pt_repl_finish(bench);
    pt_report_bound(&bench->report, name, "a commit on this disk alone, p50", shared->figures[0],
                    "ms", pt_none_required);
    pt_report_bound(&bench->report, name, "a commit, p50", shared->figures[1], "ms",
                    pt_at_most(0.3));
    pt_report_bound(&bench->report, name, "a commit, p99", shared->figures[2], "ms",
                    pt_none_required);
    pt_report_bound(&bench->report, name, "commits by 16 threads", shared->figures[3], "/s",
                    pt_at_least(15000));
}

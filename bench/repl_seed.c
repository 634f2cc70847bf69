/* Taking a state: how fast a follower whose log is gone comes to show what its primary has, verified and synced. */
#include "bench/repl_bench.h"
#include "bench/stopwatch.h"

#include <stdio.h>

enum { BATCH_COUNT = 1000 };

static uint64_t load(struct pt_repl_bench *bench, struct peat_db *db)
{
    uint64_t count = (bench->choices.megabytes << 20) / PT_SOURCE_ENTRY_SIZE;
    struct peat_batch *batch = peat_batch_new(0);
    static struct pt_block block;
    uint64_t commit = 0;

    for (uint64_t i = 0; i < count; i += PT_BLOCK_SIZE) {
        pt_block_fill(&block, &bench->source, PT_CHOOSE_NEXT, 0, i, PT_BLOCK_SIZE);
        for (size_t k = 0; k < block.count; k++)
            pt_repl_need(peat_batch_put(batch, NULL, block.entries[k].key, block.entries[k].value),
                         "put");
        if (peat_batch_count(batch) < BATCH_COUNT && i + PT_BLOCK_SIZE < count)
            continue;
        pt_repl_need(peat_write(db, batch, PEAT_OS, &commit), "commit");
        peat_batch_clear(batch);
    }
    peat_batch_free(batch);
    return commit;
}

/* Nobody has a feed there, so the log goes as it is flushed. */
static void loaded_primary(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    struct pt_repl_end end = {.db = pt_repl_store_make(bench, PEAT_OS)};
    (void)context;

    atomic_store(&shared->newest, load(bench, end.db));
    pt_repl_need(peat_flush(end.db), "flushing");
    pt_repl_need(peat_wait_idle(end.db, UINT32_MAX), "settling");
    pt_repl_offer(bench, &end, 0);
    atomic_store(&shared->loaded, true);
    pt_repl_await(bench, &shared->over);
    pt_repl_end_close(&end);
}

static void seeding(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    struct peat_follower_status status = {.struct_size = sizeof(status)};
    struct pt_repl_end end = {.db = NULL};
    uint64_t commit = atomic_load(&shared->newest);
    uint64_t begin_ns = pt_stopwatch_ns();
    (void)context;

    pt_repl_follow(bench, &end, PEAT_DISK);
    pt_repl_need(peat_wait_commit(end.db, commit, PEAT_FEED_FOREVER, NULL), "taking a state");
    shared->figures[0] = (double)(pt_stopwatch_ns() - begin_ns) / 1e9;
    peat_follower_status_get(end.follower, &status);
    shared->figures[1] = (double)status.seed_size / 1e6;
    atomic_store(&shared->seen, commit);
    pt_repl_await(bench, &shared->over);
    pt_repl_end_close(&end);
}

void pt_repl_seed(struct pt_repl_bench *bench)
{
    struct pt_repl_shared *shared = bench->shared;

    pt_repl_reset(bench);
    (void)pt_repl_start(bench, loaded_primary, NULL);
    pt_repl_await(bench, &shared->loaded);
    (void)pt_repl_start(bench, seeding, NULL);
    pt_repl_await_commit(bench, &shared->seen, atomic_load(&shared->newest));
    pt_repl_finish(bench);
    pt_report_bound(&bench->report, "state", "bytes of segments", shared->figures[1], "MB",
                    pt_none_required);
    pt_report_bound(&bench->report, "state", "taken, verified, synced and shown",
                    shared->figures[1] / shared->figures[0], "MB/s", pt_at_least(300));
}

/* Catching up from the log: how fast what a follower missed gets there, and how fast it is applied. */
#include "bench/repl_bench.h"
#include "bench/stopwatch.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How what was missed was committed. */
struct missed {
    const char *name;
    size_t batch_count; /* puts in a commit */
    double min;         /* MB/s without applying; 0: none required */
};

static void feed_name(struct peat_db *db, const char *name)
{
    struct peat_feed *feed;

    pt_repl_need(peat_feed_open(db, PEAT_FEED_NEXT, name, PEAT_FEED_SEALS, &feed), name);
    peat_feed_close(feed);
}

static uint64_t fill(struct pt_repl_bench *bench, struct peat_db *db, size_t batch_count)
{
    uint64_t count = (bench->choices.megabytes << 20) / PT_SOURCE_ENTRY_SIZE;
    struct peat_batch *batch = peat_batch_new(0);
    static struct pt_block block;
    uint64_t commit = 0;

    for (uint64_t i = 0; i < count; i += PT_BLOCK_SIZE) {
        pt_block_fill(&block, &bench->source, PT_CHOOSE_EXISTING, 0, i, PT_BLOCK_SIZE);
        for (size_t k = 0; k < block.count; k++) {
            pt_repl_need(peat_batch_put(batch, NULL, block.entries[k].key, block.entries[k].value),
                         "put");
            if (peat_batch_count(batch) < batch_count)
                continue;
            pt_repl_need(peat_write(db, batch, PEAT_OS, &commit), "commit");
            peat_batch_clear(batch);
        }
    }
    peat_batch_free(batch);
    return commit;
}

static void filled_primary(struct pt_repl_bench *bench, const void *context)
{
    const struct missed *missed = context;
    struct pt_repl_shared *shared = bench->shared;
    struct pt_repl_end end = {.db = pt_repl_store_make(bench, PEAT_OS)};
    struct peat_position before;
    struct peat_position after;

    feed_name(end.db, "sink");
    feed_name(end.db, "follower");
    pt_repl_need(peat_position_get(end.db, &before), "position");
    atomic_store(&shared->newest, fill(bench, end.db, missed->batch_count));
    pt_repl_need(peat_wait_idle(end.db, UINT32_MAX), "settling");
    pt_repl_need(peat_position_get(end.db, &after), "position");
    atomic_store(&shared->position, after.position - before.position);
    pt_repl_offer(bench, &end, 0);
    atomic_store(&shared->loaded, true);
    pt_repl_await(bench, &shared->over);
    pt_repl_end_close(&end);
}

static void catching_up(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    struct pt_repl_end end = {.db = NULL};
    uint64_t commit = atomic_load(&shared->newest);
    uint64_t begin_ns = pt_stopwatch_ns();
    (void)context;

    pt_repl_follow(bench, &end, PEAT_OS);
    pt_repl_need(peat_wait_commit(end.db, commit, PEAT_FEED_FOREVER, NULL), "catching up");
    shared->figures[0] = (double)(pt_stopwatch_ns() - begin_ns) / 1e9;
    atomic_store(&shared->seen, commit);
    pt_repl_await(bench, &shared->over);
    pt_repl_end_close(&end);
}

static void sinking(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    struct peat_position from = {.commit = 0}; /* the feeds were named before the first commit */
    (void)context;

    shared->figures[1] = pt_repl_sink(bench, "sink", &from, atomic_load(&shared->newest));
    atomic_store(&shared->done, true);
}

static void measure(struct pt_repl_bench *bench, const struct missed *missed)
{
    struct pt_repl_shared *shared = bench->shared;
    double megabytes;
    pid_t sink;

    pt_repl_reset(bench);
    (void)pt_repl_start(bench, filled_primary, missed);
    pt_repl_await(bench, &shared->loaded);
    megabytes = (double)atomic_load(&shared->position) / 1e6;
    sink = pt_repl_start(bench, sinking, NULL);
    while (!atomic_load(&shared->done))
        (void)usleep(PT_REPL_LOOK_US);
    pt_repl_kill(bench, sink);
    (void)pt_repl_start(bench, catching_up, NULL);
    pt_repl_await_commit(bench, &shared->seen, atomic_load(&shared->newest));
    pt_repl_finish(bench);
    pt_report_bound(&bench->report, missed->name, "catch-up, not applied",
                    megabytes / shared->figures[1], "MB/s", pt_at_least(missed->min));
    pt_report_bound(&bench->report, missed->name, "catch-up, applied",
                    megabytes / shared->figures[0], "MB/s", pt_none_required);
}

void pt_repl_catch_up(struct pt_repl_bench *bench)
{
    static const struct missed kinds[] = {
        {"log of batches of 100", 100, 350},
        {"log of single puts", 1, 0},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        measure(bench, &kinds[i]);
}

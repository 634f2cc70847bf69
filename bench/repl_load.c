/* What a follower costs its primary, and how far behind it is: at a pace, and under all the load that one thread makes. */
#include "bench/repl_bench.h"
#include "bench/stopwatch.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ENTRIES = 1000000, LAG_LOOK_US = 50000, ROUNDS = 3 };

/* ---- Lag at a pace ---- */

struct pace {
    const char *name;
    unsigned per_second; /* commits of one put */
    unsigned burst;      /* of them one right after the other */
    double p99_max_ms;
    enum peat_durability durability; /* of the follower */
};

static void sleep_until(uint64_t ns)
{
    struct timespec until = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void paced_primary(struct pt_repl_bench *bench, const void *context)
{
    const struct pace *pace = context;
    struct pt_repl_shared *shared = bench->shared;
    struct pt_repl_end end = {.db = pt_repl_store_make(bench, PEAT_OS)};
    uint64_t count = (uint64_t)pace->per_second * bench->choices.seconds;
    uint64_t step_ns = UINT64_C(1000000000) * pace->burst / pace->per_second;
    static struct pt_block block;
    uint64_t begin_ns;

    if (count > PT_REPL_TIMES_MAX - 1)
        count = PT_REPL_TIMES_MAX - 1;
    pt_repl_offer(bench, &end, 0);
    pt_repl_await(bench, &shared->following);
    begin_ns = pt_stopwatch_ns();
    for (uint64_t i = 0; i < count; i++) {
        size_t at = (size_t)(i % PT_BLOCK_SIZE);

        if (at == 0)
            pt_block_fill(&block, &bench->source, PT_CHOOSE_EXISTING, 0, i, PT_BLOCK_SIZE);
        if (i % pace->burst == 0)
            sleep_until(begin_ns + i / pace->burst * step_ns);
        pt_repl_need(peat_put(end.db, NULL, block.entries[at].key, block.entries[at].value), "put");
        shared->returned_ns[i + 1] = pt_stopwatch_ns();
    }
    atomic_store(&shared->newest, count);
    shared->figures[0] = (double)count * 1e9 / (double)(pt_stopwatch_ns() - begin_ns);
    atomic_store(&shared->done, true);
    pt_repl_await(bench, &shared->over);
    pt_repl_end_close(&end);
}

static void following(struct pt_repl_bench *bench, const void *context)
{
    const enum peat_durability *durability = context;
    struct pt_repl_end end = {.db = NULL};

    pt_repl_follow(bench, &end, *durability);
    pt_repl_watch(bench, &end);
    pt_repl_end_close(&end);
}

static void lag_measure(struct pt_repl_bench *bench, const struct pace *pace)
{
    struct pt_repl_shared *shared = bench->shared;
    uint64_t count;
    size_t kept = 0;
    double p50;
    double p99;

    pt_repl_reset(bench);
    (void)pt_repl_start(bench, paced_primary, pace);
    (void)pt_repl_start(bench, following, &pace->durability);
    pt_repl_await(bench, &shared->done);
    count = atomic_load(&shared->newest);
    pt_repl_await_commit(bench, &shared->seen, count);
    pt_repl_finish(bench);
    for (uint64_t i = count / 10 + 1; i <= count; i++) { /* the first tenth fills caches */
        double ns = (double)shared->seen_ns[i] - (double)shared->returned_ns[i];

        shared->times[kept++] = ns > 0 ? ns / 1e6 : 0;
    }
    p50 = pt_repl_quantile(shared->times, kept, 0.5);
    p99 = pt_repl_quantile(shared->times, kept, 0.99);
    pt_report_bound(&bench->report, pace->name, "pace reached", shared->figures[0], "/s",
                    pt_none_required);
    pt_report_bound(&bench->report, pace->name, "lag, p50", p50, "ms", pt_none_required);
    pt_report_bound(&bench->report, pace->name, "lag, p99", p99, "ms",
                    pt_at_most(pace->p99_max_ms));
}

void pt_repl_lag(struct pt_repl_bench *bench)
{
    static const struct pace paces[] = {
        {"lag, 10 k commits/s", 10000, 1, 0.5, PEAT_OS},
        {"lag, 100 k puts/s", 100000, 20, 1.0, PEAT_OS},
        {"lag, 10 k/s, synced", 10000, 1, 0, PEAT_DISK},
    };

    for (size_t i = 0; i < sizeof(paces) / sizeof(paces[0]); i++)
        lag_measure(bench, &paces[i]);
}

/* ---- Sustained load ---- */

static void loaded_primary(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    const bool *has_follower = context;
    struct pt_repl_end end = {.db = pt_repl_store_make(bench, PEAT_OS)};
    static struct pt_block block;
    uint64_t begin_ns;
    uint64_t end_ns;
    uint64_t count = 0;

    pt_repl_offer(bench, &end, 0);
    if (*has_follower)
        pt_repl_await(bench, &shared->following);
    begin_ns = pt_stopwatch_ns();
    end_ns = begin_ns + UINT64_C(1000000000) * bench->choices.seconds;
    atomic_store(&shared->loaded, true);
    while (pt_stopwatch_ns() < end_ns) {
        pt_block_fill(&block, &bench->source, PT_CHOOSE_EXISTING, 0, count, PT_BLOCK_SIZE);
        for (size_t i = 0; i < block.count; i++)
            pt_repl_need(peat_put(end.db, NULL, block.entries[i].key, block.entries[i].value),
                         "put");
        count += block.count;
        atomic_store(&shared->newest, count);
    }
    shared->figures[0] = (double)count * 1e9 / (double)(pt_stopwatch_ns() - begin_ns);
    atomic_store(&shared->done, true);
    pt_repl_await(bench, &shared->over);
    pt_repl_end_close(&end);
}

/* The lag, again and again, in milliseconds of what the primary does: into times, which has room; how many. */
static size_t lag_sample(struct pt_repl_bench *bench)
{
    struct pt_repl_shared *shared = bench->shared;
    uint64_t begin_ns;
    size_t count = 0;

    pt_repl_await(bench, &shared->loaded);
    begin_ns = pt_stopwatch_ns();
    while (!atomic_load(&shared->done) && count < PT_REPL_TIMES_MAX) {
        double newest = (double)atomic_load(&shared->newest);
        double seen = (double)atomic_load(&shared->seen);
        double per_ms = newest * 1e6 / (double)(pt_stopwatch_ns() - begin_ns);

        if (per_ms > 0)
            shared->times[count++] = newest > seen ? (newest - seen) / per_ms : 0;
        (void)usleep(LAG_LOOK_US);
    }
    return count;
}

static double mean(const double *values, size_t begin, size_t end)
{
    double sum = 0;

    for (size_t i = begin; i < end; i++)
        sum += values[i];
    return end > begin ? sum / (double)(end - begin) : 0;
}

/* One load; the rate. With a follower also the lag, and how it has grown, in milliseconds. */
static double load_run(struct pt_repl_bench *bench, bool has_follower, double *lag_out,
                       double *growth_out)
{
    static const enum peat_durability durability = PEAT_OS;
    struct pt_repl_shared *shared = bench->shared;
    size_t count = 0;

    pt_repl_reset(bench);
    (void)pt_repl_start(bench, loaded_primary, &has_follower);
    if (has_follower) {
        (void)pt_repl_start(bench, following, &durability);
        count = lag_sample(bench);
    }
    pt_repl_await(bench, &shared->done);
    if (has_follower)
        pt_repl_await_commit(bench, &shared->seen, atomic_load(&shared->newest));
    pt_repl_finish(bench);
    *lag_out = mean(shared->times, count / 2, count);
    *growth_out =
        mean(shared->times, count * 3 / 4, count) - mean(shared->times, count / 4, count / 2);
    return shared->figures[0];
}

void pt_repl_load(struct pt_repl_bench *bench)
{
    static const char name[] = "random load";
    double ratios[ROUNDS];
    double alone[ROUNDS];
    double followed[ROUNDS];
    double lags[ROUNDS];
    double growths[ROUNDS];

    for (unsigned i = 0; i < ROUNDS; i++) {
        double unused[2];

        if (i % 2 == 0)
            alone[i] = load_run(bench, false, &unused[0], &unused[1]);
        followed[i] = load_run(bench, true, &lags[i], &growths[i]);
        if (i % 2 != 0)
            alone[i] = load_run(bench, false, &unused[0], &unused[1]);
        ratios[i] = followed[i] / alone[i] * 100;
    }
    pt_report_bound(&bench->report, name, "primary alone", pt_repl_quantile(alone, ROUNDS, 0.5),
                    "/s", pt_none_required);
    pt_report_bound(&bench->report, name, "primary with a follower",
                    pt_repl_quantile(followed, ROUNDS, 0.5), "/s", pt_none_required);
    pt_report_bound(&bench->report, name, "rate that it keeps",
                    pt_repl_quantile(ratios, ROUNDS, 0.5), "%", pt_at_least(65));
    pt_report_bound(&bench->report, name, "lag, mean of the second half",
                    pt_repl_quantile(lags, ROUNDS, 0.5), "ms", pt_none_required);
    /* What grows does so by a part of the time that passes: half of the load lies between the two quarters. */
    pt_report_bound(&bench->report, name, "growth of lag, of the time passed",
                    pt_repl_quantile(growths, ROUNDS, 0.5) / (bench->choices.seconds * 500.0) * 100,
                    "%", pt_at_most(1));
}

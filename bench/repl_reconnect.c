/* Coming together again, and doing nothing: bytes that a connection ships for what was missed, the time from the primary's return
 * until it is followed, and the processor's time while nothing happens. */
#include "bench/repl_bench.h"
#include "bench/stopwatch.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RETURNS = 5, IDLE_LOOK_US = 200000 };

/* ---- Bytes ---- */

static uint64_t position_of(struct peat_db *db)
{
    struct peat_position position;

    pt_repl_need(peat_position_get(db, &position), "position");
    return position.position;
}

static void put_some(struct pt_repl_bench *bench, struct peat_db *db, uint64_t first,
                     uint64_t count)
{
    static struct pt_block block;

    for (uint64_t i = 0; i < count; i += PT_BLOCK_SIZE) {
        pt_block_fill(&block, &bench->source, PT_CHOOSE_EXISTING, 0, first + i, PT_BLOCK_SIZE);
        for (size_t k = 0; k < block.count; k++)
            pt_repl_need(peat_put(db, NULL, block.entries[k].key, block.entries[k].value), "put");
    }
}

/* Some commits; while the follower is cut off, more of them; then it comes back. */
static void missed_primary(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    struct pt_repl_end end = {.db = pt_repl_store_make(bench, PEAT_OS)};
    uint64_t count = (bench->choices.megabytes << 20) / 16 / PT_SOURCE_ENTRY_SIZE / PT_BLOCK_SIZE *
                     PT_BLOCK_SIZE;
    uint64_t before;
    (void)context;

    while (atomic_load(&shared->relay_port) == 0)
        (void)usleep(PT_REPL_LOOK_US);
    pt_repl_offer(bench, &end, 0);
    put_some(bench, end.db, 0, count);
    pt_repl_await_commit(bench, &shared->seen, count);
    atomic_store(&shared->cut, true);
    (void)usleep(300000); /* what was under way is not */
    before = position_of(end.db);
    put_some(bench, end.db, count, count);
    atomic_store(&shared->position, position_of(end.db) - before);
    atomic_store(&shared->shipped, 0);
    atomic_store(&shared->cut, false);
    atomic_store(&shared->newest, 2 * count);
    pt_repl_await_commit(bench, &shared->seen, 2 * count);
    shared->figures[0] = (double)atomic_load(&shared->shipped);
    atomic_store(&shared->done, true);
    pt_repl_await(bench, &shared->over);
    pt_repl_end_close(&end);
}

static void watching(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_end end = {.db = NULL};
    (void)context;

    pt_repl_follow(bench, &end, PEAT_OS);
    pt_repl_watch(bench, &end);
    pt_repl_end_close(&end);
}

static void bytes_measure(struct pt_repl_bench *bench)
{
    struct pt_repl_shared *shared = bench->shared;

    pt_repl_reset(bench);
    (void)pt_repl_start(bench, pt_repl_relay, NULL);
    (void)pt_repl_start(bench, missed_primary, NULL);
    (void)pt_repl_start(bench, watching, NULL);
    pt_repl_await(bench, &shared->done);
    pt_repl_finish(bench);
    pt_report_bound(&bench->report, "reconnect", "bytes shipped, of log missed",
                    shared->figures[0] / (double)atomic_load(&shared->position), "",
                    pt_at_most(1.02));
}

/* ---- Time ---- */

static void returning_primary(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_end end = {.db = NULL};
    const unsigned *port = context;

    pt_repl_offer(bench, &end, *port);
    pt_repl_await(bench, &bench->shared->following);
    pt_repl_need(peat_put(end.db, NULL, (struct peat_bytes){"key", 3}, (struct peat_bytes){"", 0}),
                 "put"); /* a connection that was of use */
    pt_repl_await(bench, &bench->shared->over);
    pt_repl_end_close(&end);
}

/* When it follows again, it says so. */
static void returning_follower(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    struct peat_follower_status status = {.struct_size = sizeof(status)};
    struct pt_repl_end end = {.db = NULL};
    uint64_t connections = 0;
    (void)context;

    pt_repl_follow(bench, &end, PEAT_OS);
    while (!atomic_load(&shared->over)) {
        (void)usleep(PT_REPL_LOOK_US);
        peat_follower_status_get(end.follower, &status);
        if (status.state != PEAT_FOLLOWER_FOLLOWING || status.connections == connections)
            continue;
        connections = status.connections;
        atomic_store(&shared->following_ns, pt_stopwatch_ns());
        atomic_store(&shared->following, true);
    }
    pt_repl_end_close(&end);
}

static void returns_measure(struct pt_repl_bench *bench, unsigned away_ms, const char *what)
{
    struct pt_repl_shared *shared = bench->shared;
    char path[PATH_MAX];
    double seconds[RETURNS];
    unsigned port = 0;
    pid_t primary;

    pt_repl_path(bench, "primary", path);
    (void)unlink(path);
    pt_repl_reset(bench);
    primary = pt_repl_start(bench, returning_primary, &port);
    (void)pt_repl_start(bench, returning_follower, NULL);
    pt_repl_await(bench, &shared->following);
    port = atomic_load(&shared->port);
    for (unsigned i = 0; i < RETURNS; i++) {
        (void)usleep(300000 + i * 10000);
        pt_repl_kill(bench, primary);
        (void)usleep(away_ms * 1000 + i * 70000);
        atomic_store(&shared->following, false);
        primary = pt_repl_start(bench, returning_primary, &port);
        pt_repl_await(bench, &shared->following);
        seconds[i] = ((double)atomic_load(&shared->following_ns) -
                      (double)atomic_load(&shared->listening_ns)) /
                     1e9;
    }
    pt_repl_finish(bench);
    pt_report_bound(&bench->report, "reconnect", what, pt_repl_quantile(seconds, RETURNS, 1), "s",
                    pt_at_most(0.3));
}

void pt_repl_reconnect(struct pt_repl_bench *bench)
{
    bytes_measure(bench);
    returns_measure(bench, 500, "primary away for 0.5 s, worst of five");
    returns_measure(bench, 6000, "primary away for 6 s, worst of five");
}

/* ---- Nothing to do ---- */

static void idle_primary(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    struct pt_repl_end end = {.db = pt_repl_store_make(bench, PEAT_OS)};
    (void)context;

    pt_repl_offer(bench, &end, 0);
    while (!atomic_load(&shared->over))
        (void)usleep(IDLE_LOOK_US);
    pt_repl_end_close(&end);
}

static void idle_follower(struct pt_repl_bench *bench, const void *context)
{
    struct pt_repl_shared *shared = bench->shared;
    struct peat_follower_status status = {.struct_size = sizeof(status)};
    struct pt_repl_end end = {.db = NULL};
    (void)context;

    pt_repl_follow(bench, &end, PEAT_OS);
    while (!atomic_load(&shared->over)) {
        (void)usleep(IDLE_LOOK_US);
        if (atomic_load(&shared->following))
            continue;
        peat_follower_status_get(end.follower, &status);
        atomic_store(&shared->following, status.state == PEAT_FOLLOWER_FOLLOWING);
    }
    pt_repl_end_close(&end);
}

static double processor_ms(pid_t child)
{
    struct timespec used = {0, 0};
    clockid_t clock;

    if (clock_getcpuclockid(child, &clock) != 0 || clock_gettime(clock, &used) != 0)
        pt_repl_die("processor time", "it cannot be had");
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

void pt_repl_idle(struct pt_repl_bench *bench)
{
    struct pt_repl_shared *shared = bench->shared;
    pid_t children[2];
    double before[2];
    double share[2];
    uint64_t begin_ns;

    pt_repl_reset(bench);
    children[0] = pt_repl_start(bench, idle_primary, NULL);
    children[1] = pt_repl_start(bench, idle_follower, NULL);
    pt_repl_await(bench, &shared->following);
    (void)sleep(1);
    begin_ns = pt_stopwatch_ns();
    for (unsigned i = 0; i < 2; i++)
        before[i] = processor_ms(children[i]);
    (void)sleep(bench->choices.seconds);
    for (unsigned i = 0; i < 2; i++)
        share[i] =
            (processor_ms(children[i]) - before[i]) * 1e8 / (double)(pt_stopwatch_ns() - begin_ns);
    pt_repl_finish(bench);
    pt_report_bound(&bench->report, "idle", "primary, of one processor", share[0], "%",
                    pt_at_most(0.5));
    pt_report_bound(&bench->report, "idle", "follower, of one processor", share[1], "%",
                    pt_at_most(0.5));
}

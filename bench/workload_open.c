/* Opening a store: after a clean close, and after its process was killed while it loaded. */
#include "bench/stopwatch.h"
#include "bench/workload.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pt_tally open_close(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    uint64_t start = pt_stopwatch_ns();
    struct pt_tally tally = {.count = 1};
    void *store;
    (void)number;

    store = side->driver->open(side->path, PT_LEVEL_OS, bench->source.entry_count,
                               PT_SOURCE_ENTRY_SIZE);
    tally.ns = pt_stopwatch_ns() - start;
    side->driver->close(store);
    return tally;
}

/* "A few milliseconds", at any size: ten at most. */
void pt_workload_open(struct pt_bench *bench)
{
    if (pt_bench_wants(bench, "open"))
        pt_bench_paired(bench, "open", bench->rounds, (struct pt_required){.rate = 100},
                        open_close);
}

/* In a child: load, tell in @p acknowledged how many entries are committed, die by SIGKILL. */
static void load_and_die(struct pt_bench *bench, const struct pt_side *side, const char *path,
                         volatile uint64_t *acknowledged)
{
    static struct pt_block block;
    void *store =
        side->driver->open(path, PT_LEVEL_OS, bench->source.entry_count, PT_SOURCE_ENTRY_SIZE);

    while (*acknowledged < bench->source.entry_count) {
        uint64_t left = bench->source.entry_count - *acknowledged;

        pt_block_fill(&block, &bench->source, PT_CHOOSE_NEXT, 0, *acknowledged,
                      left < PT_BLOCK_SIZE ? (size_t)left : PT_BLOCK_SIZE);
        side->driver->write(store, block.entries, block.count, false);
        *acknowledged += block.count;
    }
    (void)raise(SIGKILL);
}

/* Fork, wait for the child's end; what it had acknowledged. */
static uint64_t load_killed(struct pt_bench *bench, const struct pt_side *side, const char *path)
{
    volatile uint64_t *acknowledged = mmap(NULL, sizeof(*acknowledged), PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t count;
    int status = 0;
    pid_t child;

    (void)fflush(stdout);
    child = acknowledged == MAP_FAILED ? -1 : fork();
    if (child < 0)
        pt_driver_die(side->driver->name, "fork", strerror(errno));
    if (child == 0) {
        load_and_die(bench, side, path, acknowledged);
        _exit(3);
    }
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
        pt_driver_die(side->driver->name, "loading child", "did not die as it should");
    count = *acknowledged;
    (void)munmap((void *)(uintptr_t)acknowledged, sizeof(*acknowledged));
    return count;
}

static struct pt_tally open_killed(struct pt_bench *bench, struct pt_side *side, bool report)
{
    struct pt_tally tally = {.count = 1};
    struct pt_own_figures own;
    struct pt_seen seen;
    char path[PATH_MAX];
    uint64_t acknowledged, start;
    void *store, *reader;

    pt_bench_progress(side->driver->name, "open-killed");
    pt_bench_path(bench, side, "killed", path, sizeof(path));
    side->driver->remove(path);
    acknowledged = load_killed(bench, side, path);
    start = pt_stopwatch_ns();
    store = side->driver->open(path, PT_LEVEL_OS, bench->source.entry_count, PT_SOURCE_ENTRY_SIZE);
    tally.ns = pt_stopwatch_ns() - start;
    own = side->driver->own_figures(store);
    reader = side->driver->reader_open(store);
    seen = side->driver->scan(reader, PT_FORWARD);
    if (seen.count != acknowledged)
        pt_driver_die(side->driver->name, "after SIGKILL", "not the entries acknowledged");
    tally.sum = seen.sum;
    side->driver->reader_close(reader);
    side->driver->close(store);
    side->driver->remove(path);
    if (report) {
        pt_report_figure(&bench->report, "open-killed", "commits replayed",
                         (double)own.replayed_commits, "");
        pt_report_figure(&bench->report, "open-killed", "log replayed",
                         (double)own.replayed_size / 1e6, "MB");
    }
    return tally;
}

void pt_workload_killed(struct pt_bench *bench)
{
    struct pt_pair pair = {.count = 0};

    if (!pt_bench_wants(bench, "open-killed"))
        return;
    for (unsigned round = 0; round < bench->write_rounds; round++) {
        struct pt_tally ours = open_killed(bench, &bench->sides[0], round == 0);
        struct pt_tally peers = open_killed(bench, &bench->sides[1], false);

        if (ours.sum != peers.sum)
            pt_driver_die("open-killed", "scan", "the sides do not agree");
        pt_pair_add(&pair, &ours, &peers);
    }
    pt_report_row(&bench->report, "open-killed", bench->sides[1].driver->name, &pair,
                  (struct pt_required){0});
}

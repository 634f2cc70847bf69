/*
 * Loads: every entry once, in batches of 1000, at the os level.
 *
 * Making the keys is not on the clock; filling the batch is, for both.
 */
#include "bench/stopwatch.h"
#include "bench/workload.h"

#include <stdio.h>
#include <sys/stat.h>

/* Nanoseconds of a load. */
struct load_time {
    uint64_t committed_ns; /* until the last entry was committed */
    uint64_t settled_ns;   /* until work in the background was done too */
};

static struct load_time load(struct pt_bench *bench, struct pt_side *side, void *store,
                             enum pt_choice choice)
{
    static struct pt_block block;
    struct load_time time = {0, 0};
    uint64_t entry_count = bench->source.entry_count;
    uint64_t start;

    for (uint64_t at = 0; at < entry_count; at += block.count) {
        uint64_t left = entry_count - at;

        pt_block_fill(&block, &bench->source, choice, 0, at,
                      left < PT_BLOCK_SIZE ? (size_t)left : PT_BLOCK_SIZE);
        start = pt_stopwatch_ns();
        side->driver->write(store, block.entries, block.count, choice == PT_CHOOSE_NEXT_SORTED);
        time.committed_ns += pt_stopwatch_ns() - start;
    }
    start = pt_stopwatch_ns();
    side->driver->settle(store);
    time.settled_ns = time.committed_ns + (pt_stopwatch_ns() - start);
    return time;
}

/* What the store of @p side cost to write and to keep, right after its load. */
static void figures(struct pt_bench *bench, const char *workload, const struct pt_side *side,
                    const char *path, void *store)
{
    struct pt_own_figures own = side->driver->own_figures(store);
    double live = (double)bench->source.entry_count * PT_SOURCE_ENTRY_SIZE;
    struct stat file;
    char name[64];

    if (own.bytes_put > 0) {
        double put = (double)own.bytes_put;
        const struct {
            const char *name;
            uint64_t bytes;
        } parts[] = {{"bytes written per byte put", own.bytes_written},
                     {"  of these logged", own.bytes_logged},
                     {"  of these flushed", own.bytes_flushed},
                     {"  of these merged", own.bytes_merged}};

        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            (void)snprintf(name, sizeof(name), "%s: %s", side->driver->name, parts[i].name);
            pt_report_figure(&bench->report, workload, name, (double)parts[i].bytes / put, "");
        }
        (void)snprintf(name, sizeof(name), "%s: commits slowed down for", side->driver->name);
        pt_report_figure(&bench->report, workload, name, (double)own.stall_time_us / 1e3, "ms");
    }
    if (stat(path, &file) != 0)
        pt_driver_die(side->driver->name, path, "cannot be looked at");
    (void)snprintf(name, sizeof(name), "%s: file size over live data", side->driver->name);
    pt_report_figure(&bench->report, workload, name, (double)file.st_size / live, "");
    (void)snprintf(name, sizeof(name), "%s: disk blocks over live data", side->driver->name);
    pt_report_figure(&bench->report, workload, name, (double)file.st_blocks * 512 / live, "");
}

static void *open_empty(const struct pt_bench *bench, const struct pt_side *side, const char *path)
{
    side->driver->remove(path);
    pt_bench_calm(bench);
    return side->driver->open(path, PT_LEVEL_OS, bench->source.entry_count, PT_SOURCE_ENTRY_SIZE);
}

static struct pt_tally tally_of(const struct pt_bench *bench, uint64_t ns)
{
    return (struct pt_tally){.ns = ns, .count = bench->source.entry_count};
}

/* Load both sides @p write_rounds times and report under @p name. The last round's stores stay in
 * the sides if @p keep, and @p kind names the files. */
static void paired_loads(struct pt_bench *bench, const char *name, const char *kind,
                         enum pt_choice choice, struct pt_required committed,
                         struct pt_required settled, bool keep)
{
    struct pt_pair pairs[2] = {{.count = 0}, {.count = 0}};
    char row[64];

    for (unsigned round = 0; round < bench->write_rounds; round++) {
        bool last = round + 1 == bench->write_rounds;
        struct load_time times[PT_SIDES];

        for (unsigned turn = 0; turn < PT_SIDES; turn++) {
            unsigned which = (turn + round) % PT_SIDES;
            struct pt_side *side = &bench->sides[which];
            char path[PATH_MAX];
            void *store;

            pt_bench_progress(side->driver->name, name);
            pt_bench_path(bench, side, kind, path, sizeof(path));
            store = open_empty(bench, side, path);
            times[which] = load(bench, side, store, choice);
            side->driver->sync(store);
            if (last && pt_bench_wants(bench, name))
                figures(bench, name, side, path, store);
            if (last && keep) {
                side->store = store;
                continue;
            }
            side->driver->close(store);
            side->driver->remove(path);
        }
        for (unsigned i = 0; i < 2; i++) {
            struct pt_tally ours =
                tally_of(bench, i == 0 ? times[0].committed_ns : times[0].settled_ns);
            struct pt_tally peers =
                tally_of(bench, i == 0 ? times[1].committed_ns : times[1].settled_ns);

            pt_pair_add(&pairs[i], &ours, &peers);
        }
    }
    if (!pt_bench_wants(bench, name))
        return;
    pt_report_row(&bench->report, name, bench->sides[1].driver->name, &pairs[0], committed);
    (void)snprintf(row, sizeof(row), "%s, settled", name);
    pt_report_row(&bench->report, row, bench->sides[1].driver->name, &pairs[1], settled);
}

void pt_workload_load_sorted(struct pt_bench *bench)
{
    if (pt_bench_wants(bench, "load-sorted"))
        paired_loads(bench, "load-sorted", "sorted", PT_CHOOSE_NEXT_SORTED,
                     pt_bench_required(bench, 0.5, 0.5), (struct pt_required){0}, false);
}

void pt_workload_load(struct pt_bench *bench)
{
    unsigned write_rounds = bench->write_rounds;

    if (!pt_bench_wants(bench, "load"))
        bench->write_rounds = 1;
    paired_loads(bench, "load", "store", PT_CHOOSE_NEXT, pt_bench_required(bench, 3, 6),
                 pt_bench_required(bench, 1.5, 3), true);
    bench->write_rounds = write_rounds;
}

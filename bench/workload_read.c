/*
 * Reads of the stores that the random-order load left, in one snapshot or read transaction each.
 *
 * Keys are made in blocks outside the clock. What is read is touched (sizes, and the first bytes of
 * values) and compared with what was written.
 */
#include "bench/stopwatch.h"
#include "bench/workload.h"

#include <string.h>

enum {
    GETS = 200000,
    SEEKS = 50000,
    SEEK_ENTRIES = 11, /* the one found and ten more */
    MANY = 100         /* keys in a multi-get */
};

/* The readers of both sides while this file's workloads run. */
static void *readers[PT_SIDES];

static void *reader_of(const struct pt_bench *bench, const struct pt_side *side)
{
    return readers[side - bench->sides];
}

/* Touch a value: its size and first bytes. */
static uint64_t touched(struct peat_bytes value)
{
    uint64_t first = 0;

    if (value.size >= sizeof(first))
        memcpy(&first, value.data, sizeof(first));
    return first + value.size;
}

static void expect(const struct pt_side *side, uint64_t got, uint64_t wanted)
{
    if (got != wanted)
        pt_driver_die(side->driver->name, "read", "not what was written");
}

static uint64_t expected_sum(const struct pt_block *block, enum pt_choice choice)
{
    uint64_t sum = 0;

    if (choice == PT_CHOOSE_EXISTING)
        for (size_t i = 0; i < block->count; i++)
            sum += touched(block->entries[i].value);
    return sum;
}

static uint64_t get_block(const struct pt_driver *driver, void *reader,
                          const struct pt_block *block)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < block->count; i++) {
        struct peat_bytes value;

        if (driver->get(reader, block->keys[i], &value))
            sum += touched(value);
    }
    return sum;
}

static uint64_t get_many_block(const struct pt_driver *driver, void *reader,
                               const struct pt_block *block)
{
    struct peat_bytes values[MANY];
    uint64_t sum = 0;

    for (size_t at = 0; at < block->count; at += MANY) {
        driver->get_many(reader, block->keys + at, MANY, values);
        for (size_t i = 0; i < MANY; i++)
            if (values[i].data != NULL)
                sum += touched(values[i]);
    }
    return sum;
}

static struct pt_tally get_round(struct pt_bench *bench, struct pt_side *side, unsigned number,
                                 enum pt_choice choice,
                                 uint64_t (*run)(const struct pt_driver *driver, void *reader,
                                                 const struct pt_block *block))
{
    static struct pt_block block;
    struct pt_tally tally = {0};

    while (tally.count < GETS) {
        uint64_t start, sum;

        pt_block_fill(&block, &bench->source, choice, number, tally.count, PT_BLOCK_SIZE);
        start = pt_stopwatch_ns();
        sum = run(side->driver, reader_of(bench, side), &block);
        tally.ns += pt_stopwatch_ns() - start;
        expect(side, sum, expected_sum(&block, choice));
        tally.count += block.count;
        tally.sum += sum;
    }
    return tally;
}

static struct pt_tally get(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    return get_round(bench, side, number, PT_CHOOSE_EXISTING, get_block);
}

static struct pt_tally absent(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    return get_round(bench, side, number, PT_CHOOSE_ABSENT, get_block);
}

static struct pt_tally multiget(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    return get_round(bench, side, number, PT_CHOOSE_EXISTING, get_many_block);
}

static struct pt_tally multiget_absent(struct pt_bench *bench, struct pt_side *side,
                                       unsigned number)
{
    return get_round(bench, side, number, PT_CHOOSE_ABSENT, get_many_block);
}

static struct pt_tally scan(struct pt_bench *bench, struct pt_side *side,
                            enum pt_direction direction)
{
    uint64_t start = pt_stopwatch_ns();
    struct pt_seen seen = side->driver->scan(reader_of(bench, side), direction);
    uint64_t ns = pt_stopwatch_ns() - start;

    expect(side, seen.count, bench->source.entry_count);
    return (struct pt_tally){.ns = ns, .count = seen.count, .sum = seen.sum};
}

static struct pt_tally scan_next(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    (void)number;
    return scan(bench, side, PT_FORWARD);
}

static struct pt_tally scan_many(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    (void)number;
    return scan(bench, side, PT_FORWARD_MANY);
}

static struct pt_tally scan_back(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    (void)number;
    return scan(bench, side, PT_BACKWARD);
}

static struct pt_tally seek(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    static struct pt_block block;
    struct pt_tally tally = {0};

    while (tally.count < SEEKS) {
        uint64_t start;

        pt_block_fill(&block, &bench->source, PT_CHOOSE_ABSENT, number, tally.count, PT_BLOCK_SIZE);
        start = pt_stopwatch_ns();
        for (size_t i = 0; i < block.count; i++)
            tally.sum +=
                side->driver->seek(reader_of(bench, side), block.keys[i], SEEK_ENTRIES).sum;
        tally.ns += pt_stopwatch_ns() - start;
        tally.count += block.count;
    }
    return tally;
}

void pt_workload_reads(struct pt_bench *bench)
{
    const struct {
        const char *name;
        double at_1m; /* required ratios */
        double at_10m;
        struct pt_tally (*round)(struct pt_bench *bench, struct pt_side *side, unsigned number);
    } workloads[] = {
        {"get", 3, 5, get},
        {"get-absent", 6, 6, absent},
        {"multiget-100", 8, 8, multiget},
        {"multiget-100-absent", 0, 0, multiget_absent},
        {"scan-next", 1, 1, scan_next},
        {"scan-next-many", 1, 1, scan_many},
        {"scan-backward", 1, 1, scan_back},
        {"seek-10", 1, 1, seek},
    };

    for (unsigned i = 0; i < PT_SIDES; i++) {
        readers[i] = bench->sides[i].driver->reader_open(bench->sides[i].store);
        /* Warm-up: every page is mapped, every checksum verified. Neither is on the clock. */
        pt_bench_progress(bench->sides[i].driver->name, "warm-up");
        (void)scan(bench, &bench->sides[i], PT_FORWARD);
    }
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (pt_bench_wants(bench, workloads[i].name))
            pt_bench_paired(bench, workloads[i].name, bench->rounds,
                            pt_bench_required(bench, workloads[i].at_1m, workloads[i].at_10m),
                            workloads[i].round);
    for (unsigned i = 0; i < PT_SIDES; i++)
        bench->sides[i].driver->reader_close(readers[i]);
}

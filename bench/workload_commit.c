/*
 * Commits of one entry: at the os level against the peer's transactions, and durable ones against
 * the bare loop that nothing durable can beat, and against the peer's.
 *
 * They put keys that are there already, with the values these have.
 */
#include "bench/stopwatch.h"
#include "bench/workload.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    PUTS_MAX = 500000, /* in a round */
    DURABLE_PUTS = 200,
    BLOCK = 4096,
    BARE_FILE_SIZE = 16384 * BLOCK
};

static struct pt_tally put_some(struct pt_bench *bench, struct pt_side *side, unsigned number,
                                uint64_t count)
{
    static struct pt_block block;
    struct pt_tally tally = {0};

    while (tally.count < count) {
        uint64_t left = count - tally.count;
        uint64_t start;

        pt_block_fill(&block, &bench->source, PT_CHOOSE_EXISTING, number, tally.count,
                      left < PT_BLOCK_SIZE ? (size_t)left : PT_BLOCK_SIZE);
        start = pt_stopwatch_ns();
        for (size_t i = 0; i < block.count; i++)
            side->driver->put(side->store, &block.entries[i]);
        tally.ns += pt_stopwatch_ns() - start;
        tally.count += block.count;
    }
    return tally;
}

/* Half the entries, so that flushes fall into the round; settled before the other side's turn. Not
 * synced: a peer that writes through its mapping would take a fault on every page again. */
static struct pt_tally put(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    uint64_t count = bench->source.entry_count / 2;
    struct pt_tally tally =
        put_some(bench, side, number, count < PUTS_MAX ? count : (uint64_t)PUTS_MAX);

    side->driver->settle(side->store);
    return tally;
}

static struct pt_tally put_durable(struct pt_bench *bench, struct pt_side *side, unsigned number)
{
    return put_some(bench, side, number, DURABLE_PUTS);
}

/* A file of BARE_FILE_SIZE written zeros that is gone when it is closed. */
static int bare_file(const struct pt_bench *bench)
{
    static const uint8_t zeros[BLOCK];
    int fd = open(bench->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        pt_driver_die("bare loop", bench->dir, strerror(errno));
    for (off_t at = 0; at < BARE_FILE_SIZE; at += BLOCK)
        if (pwrite(fd, zeros, BLOCK, at) != BLOCK)
            pt_driver_die("bare loop", "write", strerror(errno));
    if (fsync(fd) != 0)
        pt_driver_die("bare loop", "sync", strerror(errno));
    return fd;
}

/* Where the bare loop is: its file, and how many blocks it has written. */
struct bare {
    int fd;
    uint64_t block_count;
};

static struct pt_tally bare_loop(struct bare *bare)
{
    static uint8_t data[BLOCK];
    uint64_t start = pt_stopwatch_ns();

    for (unsigned i = 0; i < DURABLE_PUTS; i++) {
        off_t at = (off_t)(bare->block_count++ * BLOCK % BARE_FILE_SIZE);

        data[i % BLOCK]++;
        if (pwrite(bare->fd, data, BLOCK, at) != BLOCK || fdatasync(bare->fd) != 0)
            pt_driver_die("bare loop", "write and sync", strerror(errno));
    }
    return (struct pt_tally){.ns = pt_stopwatch_ns() - start, .count = DURABLE_PUTS};
}

static void put_durable_against_bare(struct pt_bench *bench)
{
    struct pt_pair pair = {.count = 0};
    struct bare bare = {.fd = bare_file(bench)};
    /* The disk's speed varies more than the processor's: more, shorter rounds. */
    unsigned rounds = bench->rounds * 4 < PT_ROUNDS_MAX ? bench->rounds * 4 : PT_ROUNDS_MAX;

    pt_bench_progress("peat", "put-durable");
    for (unsigned round = 0; round < rounds; round++) {
        struct pt_tally first = {0};
        struct pt_tally ours, after = {0};

        if (round % 2 == 0)
            first = bare_loop(&bare);
        ours = put_durable(bench, &bench->sides[0], round);
        if (round % 2 != 0)
            after = bare_loop(&bare);
        pt_pair_add(&pair, &ours, round % 2 == 0 ? &first : &after);
    }
    (void)close(bare.fd);
    pt_report_row(&bench->report, "put-durable", "pwrite + fdatasync, 4 KiB", &pair,
                  (struct pt_required){.ratio = 0.85});
}

void pt_workload_commits(struct pt_bench *bench)
{
    if (pt_bench_wants(bench, "put"))
        pt_bench_paired(bench, "put", bench->write_rounds, (struct pt_required){.ratio = 4}, put);
    if (!pt_bench_wants(bench, "put-durable"))
        return;
    pt_bench_close(bench);
    pt_bench_open(bench, PT_LEVEL_DISK);
    pt_bench_calm(bench);
    put_durable_against_bare(bench);
    pt_bench_paired(bench, "put-durable, to peer", bench->rounds, (struct pt_required){0},
                    put_durable);
    pt_bench_close(bench);
    pt_bench_open(bench, PT_LEVEL_OS);
}

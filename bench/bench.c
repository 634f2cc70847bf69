/* peat-bench: peat against a peer, both in this process, round by round. */
#include "bench/bench.h"
#include "bench/stopwatch.h"
#include "bench/workload.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char help[] =
    "usage: peat-bench [OPTION]...\n"
    "Measure peat against a peer in the same run: 16-byte random keys, 100-byte values.\n"
    "\n"
    "  --entries N        entries in the store (default 1000000)\n"
    "  --dir DIR          where the stores are made and removed (default: here)\n"
    "  --only WORKLOADS   only these, separated by commas; scan* means all that begin so:\n"
    "                     open-killed load-sorted load get get-absent multiget-100\n"
    "                     multiget-100-absent scan-next scan-next-many scan-backward seek-10\n"
    "                     snapshot snapshot-2-threads put put-durable open\n"
    "  --rounds N         rounds of each read workload (default 7)\n"
    "  --write-rounds N   rounds of each load (default 3, or 1 from 5000000 entries on)\n"
    "  --reuse            keep the loaded stores, and take those that an earlier run with the\n"
    "                     same --entries and --seed kept\n"
    "  --peer NAME        the store to compare with (default lmdb)\n"
    "  --seed N           another set of keys (default 1)\n"
    "  --tsv              tab-separated output\n"
    "  --help             this text\n"
    "\n"
    "bench/README.md explains the figures.\n";

/* ---- what the workloads share ---------------------------------------------------------------- */

/* The workloads, those first that need no loaded store. */
static const char *const workloads[] = {"open-killed",
                                        "load-sorted",
                                        "load",
                                        "get",
                                        "get-absent",
                                        "multiget-100",
                                        "multiget-100-absent",
                                        "scan-next",
                                        "scan-next-many",
                                        "scan-backward",
                                        "seek-10",
                                        "snapshot",
                                        "snapshot-2-threads",
                                        "put",
                                        "put-durable",
                                        "open"};

enum { WORKLOADS = sizeof(workloads) / sizeof(workloads[0]), WORKLOADS_WITHOUT_STORE = 2 };

/* A word is a workload's name, or the beginning of one and a star. */
static bool word_matches(const char *word, size_t size, const char *workload)
{
    if (size > 0 && word[size - 1] == '*')
        return strncmp(word, workload, size - 1) == 0;
    return strlen(workload) == size && strncmp(word, workload, size) == 0;
}

bool pt_bench_wants(const struct pt_bench *bench, const char *workload)
{
    const char *word = bench->only;

    if (word == NULL)
        return true;
    while (*word != '\0') {
        size_t size = strcspn(word, ",");

        if (word_matches(word, size, workload))
            return true;
        word += size + (word[size] == ',');
    }
    return false;
}

struct pt_required pt_bench_required(const struct pt_bench *bench, double at_1m, double at_10m)
{
    bool large = bench->source.entry_count >= 5000000;

    return (struct pt_required){.ratio = large ? at_10m : at_1m};
}

void pt_bench_paired(struct pt_bench *bench, const char *workload, unsigned rounds,
                     struct pt_required required,
                     struct pt_tally (*round)(struct pt_bench *bench, struct pt_side *side,
                                              unsigned number))
{
    struct pt_pair pair = {.count = 0};

    for (unsigned number = 0; number <= rounds; number++) {
        struct pt_tally tallies[PT_SIDES];

        for (unsigned turn = 0; turn < PT_SIDES; turn++) {
            unsigned which = (turn + number) % PT_SIDES;

            pt_bench_progress(bench->sides[which].driver->name, workload);
            tallies[which] = round(bench, &bench->sides[which], number);
        }
        if (tallies[0].count != tallies[1].count || tallies[0].sum != tallies[1].sum)
            pt_driver_die("bench", workload, "the sides do not agree on what they read");
        if (number > 0) /* the first does not count */
            pt_pair_add(&pair, &tallies[0], &tallies[1]);
    }
    pt_report_row(&bench->report, workload, bench->sides[1].driver->name, &pair, required);
}

void pt_bench_calm(const struct pt_bench *bench)
{
    int fd = open(bench->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || syncfs(fd) != 0)
        pt_driver_die("bench", bench->dir, strerror(errno));
    (void)close(fd);
}

void pt_bench_path(const struct pt_bench *bench, const struct pt_side *side, const char *kind,
                   char *path_out, size_t capacity)
{
    int size = snprintf(path_out, capacity, "%s/bench-%s.%s", bench->dir, side->driver->name, kind);

    if (size < 0 || (size_t)size >= capacity)
        pt_driver_die("bench", bench->dir, "too long a path");
}

void pt_bench_open(struct pt_bench *bench, enum pt_level level)
{
    for (unsigned i = 0; i < PT_SIDES; i++) {
        struct pt_side *side = &bench->sides[i];

        side->store =
            side->driver->open(side->path, level, bench->source.entry_count, PT_SOURCE_ENTRY_SIZE);
    }
}

void pt_bench_close(struct pt_bench *bench)
{
    for (unsigned i = 0; i < PT_SIDES; i++) {
        struct pt_side *side = &bench->sides[i];

        if (side->store != NULL)
            side->driver->close(side->store);
        side->store = NULL;
    }
}

void pt_bench_progress(const char *side, const char *what)
{
    if (isatty(STDERR_FILENO) == 1)
        (void)fprintf(stderr, "\r\033[K%s: %s\r", what, side);
}

/* ---- the run ---------------------------------------------------------------------------------- */

/* What is wanted needs the loaded stores. */
static bool stores_wanted(const struct pt_bench *bench)
{
    for (size_t i = WORKLOADS_WITHOUT_STORE; i < WORKLOADS; i++)
        if (pt_bench_wants(bench, workloads[i]))
            return true;
    return false;
}

static void context(const struct pt_bench *bench)
{
    const struct pt_driver *peer = bench->sides[1].driver;
    struct utsname system;

    if (uname(&system) != 0)
        pt_driver_die("bench", "uname", strerror(errno));
    pt_report_context(&bench->report, "%s %s, %s; %ld processors, %.1f GB of memory",
                      system.sysname, system.release, system.machine, sysconf(_SC_NPROCESSORS_ONLN),
                      (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1e9);
    pt_report_context(&bench->report, "peat %s (%s) against %s (%s)",
                      bench->sides[0].driver->version(), bench->sides[0].driver->os_mode,
                      peer->version(), peer->os_mode);
    pt_report_context(&bench->report,
                      "%" PRIu64 " entries, %d-byte keys, %d-byte values, seed %" PRIu64
                      ", %u rounds, %u write rounds, in %s",
                      bench->source.entry_count, PT_SOURCE_KEY_SIZE, PT_SOURCE_VALUE_SIZE,
                      bench->seed, bench->rounds, bench->write_rounds, bench->dir);
}

static bool stores_kept(const struct pt_bench *bench)
{
    return bench->reuse && access(bench->sides[0].path, F_OK) == 0 &&
           access(bench->sides[1].path, F_OK) == 0;
}

static void run(struct pt_bench *bench)
{
    context(bench);
    pt_workload_killed(bench);
    pt_workload_load_sorted(bench);
    if (stores_wanted(bench)) {
        if (stores_kept(bench))
            pt_bench_open(bench, PT_LEVEL_OS);
        else
            pt_workload_load(bench);
        pt_workload_reads(bench);
        pt_workload_snapshots(bench);
        pt_workload_commits(bench);
        pt_bench_close(bench);
        pt_workload_open(bench);
        for (unsigned i = 0; i < PT_SIDES && !bench->reuse; i++)
            bench->sides[i].driver->remove(bench->sides[i].path);
    }
    pt_report_finish(&bench->report);
}

/* ---- command line ----------------------------------------------------------------------------- */

static _Noreturn void usage_error(const char *words)
{
    (void)fprintf(stderr, "peat-bench: %s; --help tells more\n", words);
    exit(2);
}

/* A number from @p low to @p high. */
static uint64_t number_read(const char *text, uint64_t low, uint64_t high)
{
    char *end;
    uint64_t number;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || number < low || number > high)
        usage_error("a number is missing or out of bounds");
    return number;
}

/* Every word of --only must mean something. */
static void only_check(const char *only)
{
    while (*only != '\0') {
        size_t size = strcspn(only, ",");
        bool known = false;

        for (size_t i = 0; i < WORKLOADS; i++)
            known = known || word_matches(only, size, workloads[i]);
        if (!known)
            usage_error("no such workload");
        only += size + (only[size] == ',');
    }
}

/* Everything but what comes from all options together. */
static void option_read(struct pt_bench *bench, int letter, const char *argument,
                        uint64_t *entry_count)
{
    switch (letter) {
    case 'e':
        *entry_count = number_read(argument, 1000, UINT64_C(1) << 40);
        break;
    case 'd':
        bench->dir = argument;
        break;
    case 'o':
        only_check(argument);
        bench->only = argument;
        break;
    case 'r':
        bench->rounds = (unsigned)number_read(argument, 1, PT_ROUNDS_MAX);
        break;
    case 'w':
        bench->write_rounds = (unsigned)number_read(argument, 1, PT_ROUNDS_MAX);
        break;
    case 'k':
        bench->reuse = true;
        break;
    case 'p':
        bench->sides[1].driver = pt_driver_find_peer(argument);
        if (bench->sides[1].driver == NULL)
            usage_error("no such peer");
        break;
    case 's':
        bench->seed = number_read(argument, 0, UINT64_MAX);
        break;
    case 't':
        bench->report.tsv = true;
        break;
    case 'h':
        (void)fputs(help, stdout);
        exit(0);
    default:
        usage_error("unknown option");
    }
}

static void options_read(struct pt_bench *bench, int argc, char **argv)
{
    static const struct option options[] = {{"entries", required_argument, NULL, 'e'},
                                            {"dir", required_argument, NULL, 'd'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"write-rounds", required_argument, NULL, 'w'},
                                            {"reuse", no_argument, NULL, 'k'},
                                            {"peer", required_argument, NULL, 'p'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"tsv", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    uint64_t entry_count = 1000000;
    int letter;

    bench->dir = ".";
    bench->seed = 1;
    bench->rounds = 7;
    bench->sides[0].driver = &pt_driver_peat;
    bench->sides[1].driver = pt_driver_find_peer("lmdb");
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1)
        option_read(bench, letter, optarg, &entry_count);
    if (optind < argc)
        usage_error("it takes options only");
    if (bench->write_rounds == 0)
        bench->write_rounds = entry_count < 5000000 ? 3 : 1;
    pt_key_source_init(&bench->source, bench->seed, entry_count);
    bench->report.entry_count = entry_count;
    for (unsigned i = 0; i < PT_SIDES; i++)
        pt_bench_path(bench, &bench->sides[i], "store", bench->sides[i].path,
                      sizeof(bench->sides[i].path));
}

int main(int argc, char **argv)
{
    static struct pt_bench bench;

    options_read(&bench, argc, argv);
    run(&bench);
    return 0;
}

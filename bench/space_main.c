/*
 * peat-space: write, read and space amplification by workload, and whether they are within bounds.
 *
 *     peat-space [--dir DIR] [--megabytes N] [--turns N] [--value-size N] [--only NAME[,NAME]...]
 *                [--worst RATIO]
 */
#include "bench/space.h"

#include "bench/names.h"
#include "bench/stopwatch.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the file may come to while it is worked on, over what is live. */
static double worst_max = 2.5;

static const char usage[] =
    "usage: peat-space [OPTION]...\n"
    "\n"
    "  --dir DIR        where the stores are made (default: .)\n"
    "  --megabytes N    live data, keys and values (default: 1024)\n"
    "  --turns N        so many times as much is written on top (default: 10)\n"
    "  --value-size N   bytes (default: 100); keys have 16\n"
    "  --only NAMES     of workloads, with commas between them\n"
    "  --worst RATIO    what the file may come to, over what is live (default: 2.5)\n"
    "\n"
    "Exit code 1: the file became larger than that, or was larger at rest than 1.6 times what is\n"
    "live (deletion: 2.5 times).\n";

/* Run one and print its row; whether it is within bounds. */
static bool measure(const struct pt_space_plan *plan, const struct pt_space_workload *workload)
{
    struct pt_space_store *store = malloc(sizeof(*store));
    struct pt_space_figures figures;
    uint64_t start_ns;
    bool is_within;

    if (store == NULL)
        pt_space_die("no memory");
    pt_space_open(store, plan, workload->name);
    start_ns = pt_stopwatch_ns();
    workload->run(store);
    pt_space_close(store, start_ns, &figures);
    free(store);
    is_within = figures.worst <= worst_max && figures.idle <= workload->idle_max;
    (void)printf(
        "%-10s %7.1f %7.1f %7.0f %6.2f %6.2f %6.2f %6.2f %6.1f %4llu %6.2f %6.2f %6.2f %7.1f%s\n",
        workload->name, figures.seconds, figures.settle_seconds, (double)figures.put_size / 1e6,
        figures.logged, figures.flushed, figures.merged,
        figures.logged + figures.flushed + figures.merged, figures.runs_mean,
        (unsigned long long)figures.runs_max, figures.longest, figures.worst, figures.idle,
        figures.pause_ms, is_within ? "" : "  ABOVE");
    (void)fflush(stdout);
    return is_within;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},   {"megabytes", required_argument, NULL, 'm'},
        {"turns", required_argument, NULL, 't'}, {"value-size", required_argument, NULL, 'v'},
        {"only", required_argument, NULL, 'o'},  {"worst", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    struct pt_space_plan plan = {
        .directory = ".", .live_size = UINT64_C(1024) << 20, .turns = 10, .value_size = 100};
    const char *only = NULL;
    bool is_within = true;
    int code;

    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (code) {
        case 'd':
            plan.directory = optarg;
            break;
        case 'm':
            plan.live_size = strtoull(optarg, NULL, 10) << 20;
            break;
        case 't':
            plan.turns = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'v':
            plan.value_size = strtoul(optarg, NULL, 10);
            break;
        case 'o':
            only = optarg;
            break;
        case 'w':
            worst_max = strtod(optarg, NULL);
            break;
        default:
            (void)fputs(usage, code == 'h' ? stdout : stderr);
            return code == 'h' ? 0 : 2;
        }
    }
    if (optind < argc || plan.live_size == 0) {
        (void)fputs(usage, stderr);
        return 2;
    }
    (void)printf(
        "%llu MB live, values of %zu bytes, %u turns\n"
        "             write  settle      MB  bytes written per byte put      runs      file/live  "
        "        pause\n"
        "workload         s       s     put logged  flush  merge in all   mean  max   long  "
        "worst   idle      ms\n",
        (unsigned long long)(plan.live_size >> 20), plan.value_size, plan.turns);
    for (const struct pt_space_workload *workload = pt_space_workloads; workload->name != NULL;
         workload++)
        if (only == NULL || pt_name_is_among(workload->name, only))
            is_within = measure(&plan, workload) && is_within;
    return is_within ? 0 : 1;
}

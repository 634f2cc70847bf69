/* The benchmark of replication: options, and one workload after the other. README.md says what each measures. */
#include "bench/names.h"
#include "bench/repl_bench.h"
#include "bench/stopwatch.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ENTRIES = 1000000, SEED = 1 };

static const struct {
    const char *name;
    void (*run)(struct pt_repl_bench *bench);
} workloads[] = {
    {"lag", pt_repl_lag},   {"load", pt_repl_load},         {"catch-up", pt_repl_catch_up},
    {"seed", pt_repl_seed}, {"replicas", pt_repl_replicas}, {"reconnect", pt_repl_reconnect},
    {"idle", pt_repl_idle},
};

static const char usage[] =
    "usage: peat-repl-bench [OPTION]...\n"
    "\n"
    "  --dir DIR        where the stores are made (default: .)\n"
    "  --seconds N      of each load (default: 10)\n"
    "  --megabytes N    of log to catch up with, of entries to take (default: 256)\n"
    "  --only NAMES     of lag, load, catch-up, seed, replicas, reconnect, idle; with\n"
    "                   commas\n"
    "  --tsv            for programs\n"
    "\n"
    "Exit code 1: a requirement was missed.\n";

static bool options_take(struct pt_repl_bench *bench, int argc, char **argv)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"megabytes", required_argument, NULL, 'm'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"tsv", no_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    int code;

    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (code) {
        case 'd':
            bench->dir = optarg;
            break;
        case 's':
            bench->seconds = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            bench->megabytes = strtoull(optarg, NULL, 10);
            break;
        case 'o':
            bench->only = optarg;
            break;
        case 't':
            bench->report.tsv = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc && bench->seconds > 0 && bench->megabytes > 0;
}

static void files_remove(const struct pt_repl_bench *bench)
{
    static const char *const roles[] = {"primary", "follower", "key"};
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        pt_repl_path(bench, roles[i], path);
        (void)unlink(path);
    }
}

/* Before any process is started: a key is made without nng. */
static void prepare(struct pt_repl_bench *bench)
{
    char id[PEAT_KEY_ID_TEXT_SIZE];
    struct peat_repl_error error;

    files_remove(bench);
    pt_repl_path(bench, "key", bench->key_path);
    if (peat_key_make(bench->key_path, id, &error) != PEAT_OK)
        pt_repl_die(bench->key_path, error.words);
    bench->shared = mmap(NULL, sizeof(*bench->shared), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bench->shared == MAP_FAILED)
        pt_repl_die("shared memory", "none");
    pt_key_source_init(&bench->source, SEED, ENTRIES);
}

int main(int argc, char **argv)
{
    static struct pt_repl_bench bench = {.dir = ".", .seconds = 10, .megabytes = 256};

    if (!options_take(&bench, argc, argv)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    prepare(&bench);
    pt_report_context(&bench.report, "peat %s, tcp over loopback, encrypted, %ld processors",
                      peat_version(), sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (bench.only == NULL || pt_name_is_among(workloads[i].name, bench.only))
            workloads[i].run(&bench);
    files_remove(&bench);
    pt_report_finish(&bench.report);
    return bench.report.below_count > 0 ? 1 : 0;
}

/* The benchmark of replication: options, and one workload after the other. README.md says what each measures. */
#include "bench/repl_bench.h"
#include "bench/stopwatch.h"

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
    static struct pt_repl_bench bench;

    bench.choices = pt_repl_choices_default;
    if (!pt_repl_choices_take(&bench.choices, argc, argv)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    prepare(&bench);
    bench.report.tsv = bench.choices.tsv;
    pt_report_context(&bench.report, "peat %s, tcp over loopback, encrypted, %ld processors",
                      peat_version(), sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (pt_repl_choices_have(&bench.choices, workloads[i].name))
            workloads[i].run(&bench);
    files_remove(&bench);
    pt_report_finish(&bench.report);
    return bench.report.below_count > 0 ? 1 : 0;
}

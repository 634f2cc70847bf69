/* The options that the benchmarks of replication have in common. */
#ifndef PEAT_BENCH_REPL_CHOICES_H
#define PEAT_BENCH_REPL_CHOICES_H

#include <stdbool.h>
#include <stdint.h>

struct pt_repl_choices {
    const char *dir;
    const char *only;   /* NULL: all workloads */
    unsigned seconds;   /* of each load */
    uint64_t megabytes; /* to catch up with, or to take */
    bool tsv;
};

static const struct pt_repl_choices pt_repl_choices_default = {.dir = ".",
                                                               .seconds = 10,
                                                               .megabytes = 256};

/* false: they are not understood. */
bool pt_repl_choices_take(struct pt_repl_choices *choices, int argc, char **argv);
/* Whether the workload @p name is one of those to run. */
bool pt_repl_choices_have(const struct pt_repl_choices *choices, const char *name);

#endif

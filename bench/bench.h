/*
 * A run of the benchmark: what was asked for, the two stores side by side, the report.
 *
 * Everything is paired: in each round peat and the peer do the same work on the same keys right
 * after each other, who goes first alternates, and the report gives the median of the rounds'
 * ratios. A machine that is slower for a while slows both.
 */
#ifndef PEAT_BENCH_BENCH_H
#define PEAT_BENCH_BENCH_H

#include "bench/driver.h"
#include "bench/key_source.h"
#include "bench/report.h"

#include <limits.h>

enum { PT_SIDES = 2 /* peat, then the peer */ };

/* One of the two, with its store of random-order entries while that is open. */
struct pt_side {
    const struct pt_driver *driver;
    char path[PATH_MAX];
    void *store; /* NULL: not open */
};

/* Owned by main(). */
struct pt_bench {
    const char *dir;
    const char *only; /* workloads wanted, as --only gives them; NULL: all */
    uint64_t seed;
    unsigned rounds;       /* of read workloads */
    unsigned write_rounds; /* of loads */
    bool reuse;            /* keep the loaded stores, and take those that are there */
    struct pt_key_source source;
    struct pt_side sides[PT_SIDES];
    struct pt_report report;
};

/* Whether @p workload is wanted: --only names it, or is not given. */
bool pt_bench_wants(const struct pt_bench *bench, const char *workload);

/* The ratio required at a million entries or at ten million: whichever is nearer. */
struct pt_required pt_bench_required(const struct pt_bench *bench, double at_1m, double at_10m);

/* Let @p round run on both sides, @p rounds times after one time that does not count, and report.
 * The sums must agree. */
void pt_bench_paired(struct pt_bench *bench, const char *workload, unsigned rounds,
                     struct pt_required required,
                     struct pt_tally (*round)(struct pt_bench *bench, struct pt_side *side,
                                              unsigned number));

/* Write back what earlier work left in the page cache, so that it does not run into what follows. */
void pt_bench_calm(const struct pt_bench *bench);

/* The path of the file @p kind of @p side. */
void pt_bench_path(const struct pt_bench *bench, const struct pt_side *side, const char *kind,
                   char *path_out, size_t capacity);

/* Open the sides' stores of random-order entries at @p level, which must be closed; close them. */
void pt_bench_open(struct pt_bench *bench, enum pt_level level);
void pt_bench_close(struct pt_bench *bench);

/* A line about what goes on, on standard error if that is a terminal. */
void pt_bench_progress(const char *side, const char *what);

#endif

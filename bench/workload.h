/*
 * The workloads, in the order they run. Each reports the rows that are wanted (pt_bench_wants())
 * and does only what these need.
 */
#ifndef PEAT_BENCH_WORKLOAD_H
#define PEAT_BENCH_WORKLOAD_H

#include "bench/bench.h"

/* Kill a process that loads; the open after it. Forks, so it runs while no store is open. */
void pt_workload_killed(struct pt_bench *bench);

/* Load in key order, into stores of its own. */
void pt_workload_load_sorted(struct pt_bench *bench);

/* Load in random order into the sides' stores and leave them open, settled and synced. */
void pt_workload_load(struct pt_bench *bench);

/* Gets, scans, seeks and snapshots on the sides' open stores. */
void pt_workload_reads(struct pt_bench *bench);
void pt_workload_snapshots(struct pt_bench *bench);

/* Single commits on the sides' open stores, which it may close and open again. */
void pt_workload_commits(struct pt_bench *bench);

/* Open and close the sides' stores, which are closed cleanly before and after. */
void pt_workload_open(struct pt_bench *bench);

#endif

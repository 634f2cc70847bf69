/*
 * Space: workloads that overwrite, delete and expire, and what the file comes to meanwhile.
 *
 * What peat-space's files share. All sizes are bytes.
 */
#ifndef PEAT_BENCH_SPACE_H
#define PEAT_BENCH_SPACE_H

#include "core/peat.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PT_SPACE_KEY_SIZE = 16, PT_SPACE_BATCH = 500, PT_SPACE_POOL_SIZE = 65536 };

/* What is to be done. */
struct pt_space_plan {
    const char *directory;
    uint64_t live_size; /* keys and values that are live at a time */
    unsigned turns;     /* so many times as much is written on top */
    size_t value_size;
};

/* What a workload came to. */
struct pt_space_figures {
    double seconds;        /* of writing */
    double settle_seconds; /* and until the merger had nothing left to do */
    uint64_t put_size;
    double logged, flushed, merged; /* bytes written per byte put */
    double runs_mean;               /* that a get may have to ask */
    uint64_t runs_max;
    double longest;  /* the file's length, holes included, over what was live then */
    double worst;    /* and its disk blocks */
    double idle;     /* and those at rest */
    double pause_ms; /* the longest that a commit took */
};

/* A store under work, watched by a thread. */
struct pt_space_store {
    const struct pt_space_plan *plan;
    struct peat_db *db;
    struct peat_batch *batch;
    char path[4096];
    uint8_t pool[PT_SPACE_POOL_SIZE]; /* noise: values are windows into it */
    uint64_t entry_count;             /* that come to the plan's live size */
    _Atomic uint64_t live_size;       /* committed */
    _Atomic bool measured;            /* the watch counts what it sees: the store is filled */
    _Atomic bool stop;
    pthread_t watch;
    uint64_t look_count; /* the watch's */
    uint64_t run_sum;
    uint64_t run_max;
    double worst;
    double longest;
    uint64_t pause_ns; /* the committing thread's */
};

/* Make a new store and begin to watch it; whatever fails ends the program, here and below. */
void pt_space_open(struct pt_space_store *store, const struct pt_space_plan *plan,
                   const char *name);
/* Let it come to rest, say what it came to, and remove it. */
void pt_space_close(struct pt_space_store *store, uint64_t start_ns,
                    struct pt_space_figures *figures_out);

/* Put entry @p number; its key is @p number in big-endian, or a hash of it if @p scattered. */
void pt_space_put(struct pt_space_store *store, uint64_t number, bool scattered);
void pt_space_delete(struct pt_space_store *store, uint64_t number, bool scattered);
/* Delete all keys below @p number's, which is not scattered. */
void pt_space_delete_below(struct pt_space_store *store, uint64_t number);
/* Commit what is in the batch; what is live changes by @p gone entries less and @p come more. */
void pt_space_commit(struct pt_space_store *store, uint64_t come, uint64_t gone);

struct pt_space_workload {
    const char *name;
    const char *what; /* in words */
    void (*run)(struct pt_space_store *store);
    double idle_max; /* what the file may come to at rest, over what is live */
};

extern const struct pt_space_workload pt_space_workloads[]; /* ended by one without a name */

void pt_space_die(const char *what) __attribute__((noreturn));

#endif

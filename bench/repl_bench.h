/*
 * A run of the benchmark of replication: a primary and a follower, each a process of its own, which share a piece of memory
 * with the process that started them. That one opens no store and no connection: who has used nng cannot fork.
 *
 * Whoever meets an error says so and ends, and the run ends with it: a benchmark has nobody to hand an error to.
 */
#ifndef PEAT_BENCH_REPL_BENCH_H
#define PEAT_BENCH_REPL_BENCH_H

#include "bench/key_source.h"
#include "bench/repl_choices.h"
#include "bench/report.h"
#include "repl/peat_repl.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { PT_REPL_TIMES_MAX = 1 << 21, PT_REPL_ROLES_MAX = 4, PT_REPL_LOOK_US = 500 };

/* What the processes tell each other. */
struct pt_repl_shared {
    _Atomic unsigned port;     /* the primary's; 0: it does not listen yet */
    _Atomic bool loaded;       /* the primary has done what is to be done before anybody follows */
    _Atomic bool following;    /* the follower follows */
    _Atomic bool done;         /* the primary has done its work */
    _Atomic bool over;         /* all are to end */
    _Atomic uint64_t newest;   /* commit at the primary */
    _Atomic uint64_t seen;     /* the same at the follower */
    _Atomic uint64_t position; /* bytes of log at the primary */
    _Atomic uint64_t shipped;  /* bytes that a relay has let through to the follower */
    _Atomic unsigned relay_port;
    _Atomic bool cut;                /* the relay lets nothing through */
    _Atomic uint64_t listening_ns;   /* when a primary came back */
    _Atomic uint64_t following_ns;   /* when the follower followed it */
    double figures[8];               /* of the work that was done; by the primary unless said */
    double times[PT_REPL_TIMES_MAX]; /* what else is measured one by one */
    uint64_t returned_ns[PT_REPL_TIMES_MAX]; /* when commit i had returned */
    uint64_t seen_ns[PT_REPL_TIMES_MAX];     /* when the follower's readers saw it */
};

/* Owned by main(); each process has a copy. */
struct pt_repl_bench {
    struct pt_repl_choices choices;
    char key_path[PATH_MAX];
    struct pt_key_source source;
    struct pt_report report;
    struct pt_repl_shared *shared;
    pid_t children[PT_REPL_ROLES_MAX]; /* 0: none */
};

/* Prints what went wrong, with words for the reason, and ends this process. */
_Noreturn void pt_repl_die(const char *what, const char *why);
/* The call gives PEAT_OK. */
void pt_repl_need(enum peat_status status, const char *what);

/* ---- Roles ---- */

/* A store with what belongs to its role. */
struct pt_repl_end {
    struct peat_db *db;
    struct peat_primary *primary;
    struct peat_follower *follower;
};

/* Begin anew: nobody is there, and the shared memory is as at first. */
void pt_repl_reset(struct pt_repl_bench *bench);
/* Run @p work in a process of its own. */
pid_t pt_repl_start(struct pt_repl_bench *bench,
                    void (*work)(struct pt_repl_bench *bench, const void *context),
                    const void *context);
/* Tell all that it is over, and wait for their end. */
void pt_repl_finish(struct pt_repl_bench *bench);
/* Kill one of them. */
void pt_repl_kill(struct pt_repl_bench *bench, pid_t child);
/* Wait until @p flag is set; in the process that started the others, they must be alive. */
void pt_repl_await(struct pt_repl_bench *bench, _Atomic bool *flag);
void pt_repl_await_commit(struct pt_repl_bench *bench, _Atomic uint64_t *commit, uint64_t wanted);

/* The path of the store of @p role. */
void pt_repl_path(const struct pt_repl_bench *bench, const char *role, char path_out[PATH_MAX]);
/* A new store for the primary, at @p durability by default. */
struct peat_db *pt_repl_store_make(const struct pt_repl_bench *bench,
                                   enum peat_durability durability);
/* Offer it; @p port 0: any. */
void pt_repl_offer(struct pt_repl_bench *bench, struct pt_repl_end *end, unsigned port);
/* A new store for a follower, which begins to follow as soon as somebody listens. */
void pt_repl_follow(struct pt_repl_bench *bench, struct pt_repl_end *end,
                    enum peat_durability durability);
/* Tell the newest commit that readers see, with its time, until it is over. */
void pt_repl_watch(struct pt_repl_bench *bench, struct pt_repl_end *end);
/* Stop and close. */
void pt_repl_end_close(struct pt_repl_end *end);

/* The @p part (0 to 1) of @p count values, which are sorted by this. */
double pt_repl_quantile(double *values, size_t count, double part);

/* ---- Receiving without applying ---- */

/* Follow as @p name from where @p from stands until @p commit has come, and apply nothing. Seconds from dialing on. */
double pt_repl_sink(struct pt_repl_bench *bench, const char *name, const struct peat_position *from,
                    uint64_t commit);

/* ---- A relay between the two ---- */

/* The work of a process that lets one connection at a time through, and counts; context: none. */
void pt_repl_relay(struct pt_repl_bench *bench, const void *context);

/* ---- Workloads ---- */

void pt_repl_lag(struct pt_repl_bench *bench);
void pt_repl_load(struct pt_repl_bench *bench);
void pt_repl_catch_up(struct pt_repl_bench *bench);
void pt_repl_seed(struct pt_repl_bench *bench);
void pt_repl_replicas(struct pt_repl_bench *bench);
void pt_repl_reconnect(struct pt_repl_bench *bench);
void pt_repl_idle(struct pt_repl_bench *bench);

#endif

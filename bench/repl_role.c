#include "bench/repl_bench.h"
#include "bench/stopwatch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void pt_repl_die(const char *what, const char *why)
{
    (void)fprintf(stderr, "peat-repl-bench: %s: %s\n", what, why);
    exit(2);
}

void pt_repl_need(enum peat_status status, const char *what)
{
    if (status != PEAT_OK)
        pt_repl_die(what, status < 0 ? peat_last_error() : peat_status_name(status));
}

/* ---- Processes ---- */

/* Nobody is left when one has failed. */
static _Noreturn void give_up(struct pt_repl_bench *bench)
{
    for (unsigned i = 0; i < PT_REPL_ROLES_MAX; i++)
        if (bench->children[i] > 0)
            (void)kill(bench->children[i], SIGKILL);
    exit(2);
}

static void children_check(struct pt_repl_bench *bench)
{
    for (unsigned i = 0; i < PT_REPL_ROLES_MAX; i++) {
        int status;

        if (bench->children[i] > 0 && waitpid(bench->children[i], &status, WNOHANG) != 0)
            give_up(bench);
    }
}

void pt_repl_reset(struct pt_repl_bench *bench)
{
    memset(bench->children, 0, sizeof(bench->children));
    memset(bench->shared, 0, sizeof(*bench->shared));
}

pid_t pt_repl_start(struct pt_repl_bench *bench,
                    void (*work)(struct pt_repl_bench *bench, const void *context),
                    const void *context)
{
    unsigned place = 0;
    pid_t child;

    (void)fflush(stdout);
    child = fork();
    if (child < 0)
        pt_repl_die("a process", strerror(errno));
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)prctl(PR_SET_TIMERSLACK, 1UL); /* a pace of 100 us is kept */
        memset(bench->children, 0, sizeof(bench->children));
        work(bench, context);
        exit(0);
    }
    while (bench->children[place] != 0)
        place++;
    bench->children[place] = child;
    return child;
}

void pt_repl_finish(struct pt_repl_bench *bench)
{
    atomic_store(&bench->shared->over, true);
    for (unsigned i = 0; i < PT_REPL_ROLES_MAX; i++) {
        int status = 0;

        if (bench->children[i] == 0)
            continue;
        if (waitpid(bench->children[i], &status, 0) < 0 || status != 0) {
            bench->children[i] = 0;
            give_up(bench);
        }
        bench->children[i] = 0;
    }
}

void pt_repl_kill(struct pt_repl_bench *bench, pid_t child)
{
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    for (unsigned i = 0; i < PT_REPL_ROLES_MAX; i++)
        if (bench->children[i] == child)
            bench->children[i] = 0;
}

void pt_repl_await(struct pt_repl_bench *bench, _Atomic bool *flag)
{
    while (!atomic_load(flag)) {
        children_check(bench);
        (void)usleep(PT_REPL_LOOK_US);
    }
}

void pt_repl_await_commit(struct pt_repl_bench *bench, _Atomic uint64_t *commit, uint64_t wanted)
{
    while (atomic_load(commit) < wanted) {
        children_check(bench);
        (void)usleep(PT_REPL_LOOK_US);
    }
}

/* ---- Stores ---- */

void pt_repl_path(const struct pt_repl_bench *bench, const char *role, char path_out[PATH_MAX])
{
    (void)snprintf(path_out, PATH_MAX, "%s/peat-repl-bench.%s", bench->choices.dir, role);
}

static struct peat_db *store_open(const struct pt_repl_bench *bench, const char *role,
                                  unsigned flags, enum peat_durability durability)
{
    struct peat_options options;
    struct peat_db *db;
    char path[PATH_MAX];

    pt_repl_path(bench, role, path);
    peat_options_init(&options);
    options.flags = PEAT_CREATE | flags;
    options.durability = durability;
    options.feed_log_size_max = UINT64_MAX;
    options.replica_timeout_ms = PEAT_FEED_FOREVER;
    pt_repl_need(peat_open(path, &options, &db), path);
    return db;
}

struct peat_db *pt_repl_store_make(const struct pt_repl_bench *bench,
                                   enum peat_durability durability)
{
    char path[PATH_MAX];

    pt_repl_path(bench, "primary", path);
    (void)unlink(path);
    return store_open(bench, "primary", 0, durability);
}

void pt_repl_offer(struct pt_repl_bench *bench, struct pt_repl_end *end, unsigned port)
{
    const char *const keys[] = {bench->key_path};
    struct peat_primary_status status = {.struct_size = sizeof(status)};
    struct peat_primary_options options;
    struct peat_repl_error error;
    char url[64];
    const char *const urls[] = {url};

    if (end->db == NULL) /* it comes back */
        end->db = store_open(bench, "primary", 0, PEAT_OS);
    (void)snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", port);
    peat_primary_options_init(&options);
    options.urls = urls;
    options.url_count = 1;
    options.key_paths = keys;
    options.key_count = 1;
    if (peat_primary_start(end->db, &options, &end->primary, &error) != PEAT_OK)
        pt_repl_die(url, error.words);
    peat_primary_status_get(end->primary, &status);
    atomic_store(&bench->shared->listening_ns, pt_stopwatch_ns());
    atomic_store(&bench->shared->port, status.port);
}

void pt_repl_follow(struct pt_repl_bench *bench, struct pt_repl_end *end,
                    enum peat_durability durability)
{
    struct pt_repl_shared *shared = bench->shared;
    struct peat_follower_options options;
    struct peat_repl_error error;
    char path[PATH_MAX];
    char url[64];
    unsigned port;

    pt_repl_path(bench, "follower", path);
    (void)unlink(path);
    end->db = store_open(bench, "follower", PEAT_FOLLOWER, PEAT_OS);
    while (atomic_load(&shared->port) == 0)
        (void)usleep(PT_REPL_LOOK_US);
    port = atomic_load(&shared->relay_port);
    (void)snprintf(url, sizeof(url), "tcp://127.0.0.1:%u",
                   port != 0 ? port : atomic_load(&shared->port));
    peat_follower_options_init(&options);
    options.url = url;
    options.key_path = bench->key_path;
    options.name = "follower";
    options.durability = durability;
    if (peat_follower_start(end->db, &options, &end->follower, &error) != PEAT_OK)
        pt_repl_die(url, error.words);
}

void pt_repl_watch(struct pt_repl_bench *bench, struct pt_repl_end *end)
{
    struct pt_repl_shared *shared = bench->shared;
    struct peat_follower_status status = {.struct_size = sizeof(status)};
    uint64_t seen = 0;
    uint64_t newest = 0;

    while (!atomic_load(&shared->over)) {
        enum peat_status waited = peat_wait_commit(end->db, seen + 1, 100, &newest);
        uint64_t now_ns = pt_stopwatch_ns();

        if (waited != PEAT_TIMEOUT)
            pt_repl_need(waited, "waiting for a commit");
        while (seen < newest)
            shared->seen_ns[++seen % PT_REPL_TIMES_MAX] = now_ns;
        atomic_store(&shared->seen, seen);
        if (atomic_load(&shared->following))
            continue;
        peat_follower_status_get(end->follower, &status);
        if (status.state == PEAT_FOLLOWER_DIVERGED || status.state == PEAT_FOLLOWER_FAILED)
            pt_repl_die("the follower", status.words);
        atomic_store(&shared->following, status.state == PEAT_FOLLOWER_FOLLOWING);
    }
}

void pt_repl_end_close(struct pt_repl_end *end)
{
    peat_follower_stop(end->follower);
    peat_primary_stop(end->primary);
    pt_repl_need(peat_close(end->db), "closing");
}

/* ---- Figures ---- */

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double pt_repl_quantile(double *values, size_t count, double part)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof(*values), compare_double);
    return values[(size_t)((double)(count - 1) * part)];
}

#include "tools/torture_kill.h"

#include "tools/interrupt.h"
#include "tools/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SPAN_MIN_US = 50,
    SPAN_MAX_US = 200000, /* until a process's end */
    OPEN_LOOK_US = 100,
    OPEN_LOOKS_MAX = 50000,
    FLUSH_EACH = 97, /* batches */
    SYNC_EACH = 41,
    BUFFER_SIZE = 128 << 10, /* bytes: so that flushes and merges are under way, too */
    MEMORY_SIZE = 16 << 20,
    REFRESH_US = 200
};

/* In memory that outlives who is killed. */
struct shared {
    _Atomic uint64_t tried;        /* the batch that was begun last */
    _Atomic uint64_t acknowledged; /* the last one that must survive */
    _Atomic bool is_open;
    _Atomic bool failed;
    char finding[PT_LOAD_WORDS];
};

struct torture {
    const char *store;
    uint64_t seed;
    uint64_t dice;
    struct shared *shared;
    struct pt_load load; /* what the store was last seen to show */
    struct pt_torture_kills *kills;
};

uint64_t pt_torture_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t roll(struct torture *torture, uint64_t bound)
{
    torture->dice = pt_load_mix(torture->dice);
    return torture->dice % bound;
}

static struct peat_options options_of(const struct torture *torture, unsigned flags)
{
    struct peat_options options;

    peat_options_init(&options);
    options.flags = flags;
    options.memory_size_max = MEMORY_SIZE;
    options.write_buffer_size = BUFFER_SIZE;
    options.sync_interval_ms = 20;
    if (torture->dice % 3 == 0 && (flags & PEAT_READ_ONLY) == 0)
        options.flags |= PEAT_LOG_PWRITE;
    return options;
}

/* ---- Who is killed ---- */

/* In a process that is to be killed: something is wrong, and it ends. */
_Noreturn static void give_up(struct torture *torture, const char *what, enum peat_status status)
{
    (void)snprintf(torture->shared->finding, sizeof(torture->shared->finding), "%s gives %s: %s",
                   what, peat_status_name(status), peat_last_error());
    atomic_store(&torture->shared->failed, true);
    _exit(1);
}

static enum peat_durability level_of(uint64_t batch)
{
    uint64_t roll_of_batch = pt_load_mix(batch) % 10;

    return roll_of_batch == 0 ? PEAT_DISK : roll_of_batch < 4 ? PEAT_MEMORY : PEAT_OS;
}

/* Commit, and tell, until the end. */
_Noreturn static void writer_run(struct torture *torture)
{
    struct peat_options options = options_of(torture, PEAT_CREATE);
    struct shared *shared = torture->shared;
    struct peat_collection *collection = NULL;
    struct peat_db *db = NULL;
    uint64_t batch = torture->load.batch;
    enum peat_status status = peat_open(torture->store, &options, &db);

    if (status == PEAT_OK)
        status = pt_load_collection(db, &collection);
    if (status != PEAT_OK)
        give_up(torture, "open", status);
    atomic_store(&shared->is_open, true);
    for (;;) {
        enum peat_durability level = level_of(++batch);

        atomic_store(&shared->tried, batch);
        status = pt_load_write(db, collection, torture->seed, batch, level);
        if (status != PEAT_OK)
            give_up(torture, "a commit", status);
        if (level != PEAT_MEMORY)
            atomic_store(&shared->acknowledged, batch);
        if (batch % FLUSH_EACH == 0)
            status = peat_flush(db);
        else if (batch % SYNC_EACH == 0)
            status = peat_sync(db);
        if (status != PEAT_OK)
            give_up(torture, "flush or sync", status);
        if (batch % FLUSH_EACH == 0 || batch % SYNC_EACH == 0)
            atomic_store(&shared->acknowledged, batch);
    }
}

/* Look again and again: whole batches, none that was acknowledged missing, never an older one. */
_Noreturn static void reader_run(struct torture *torture)
{
    struct peat_options options = options_of(torture, PEAT_READ_ONLY);
    struct timespec pause_time = {0, REFRESH_US * 1000};
    struct peat_snapshot *snapshot;
    struct peat_db *db = NULL;
    uint64_t last = 0;
    uint64_t seed;
    enum peat_status status = peat_open(torture->store, &options, &db);

    while (status == PEAT_OK) {
        uint64_t acknowledged = atomic_load(&torture->shared->acknowledged);
        uint64_t batch;

        status = peat_refresh(db);
        if (status == PEAT_OK)
            status = peat_snapshot_open(db, &snapshot);
        if (status != PEAT_OK)
            break;
        status = pt_load_position(snapshot, &batch, &seed);
        peat_snapshot_close(snapshot);
        if (status == PEAT_DONE)
            give_up(torture, "a reader sees a batch by half, and", status);
        if (status == PEAT_OK && (batch < acknowledged || batch < last))
            give_up(torture, "a reader misses a batch, and", status);
        last = batch;
        (void)nanosleep(&pause_time, NULL);
    }
    give_up(torture, "a reader's call", status);
}

static pid_t start(struct torture *torture, void (*run)(struct torture *torture))
{
    pid_t parent = getpid();
    pid_t child = fork();

    if (child != 0)
        return child;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGINT, SIG_IGN); /* the terminal's is the parent's matter */
    if (getppid() == parent)
        run(torture);
    _exit(1);
}

/* ---- The verifier ---- */

bool pt_torture_look(struct pt_load *load, struct peat_db *db, uint64_t *batch_out)
{
    struct peat_snapshot *snapshot;
    uint64_t seed = 0;
    enum peat_status status = peat_snapshot_open(db, &snapshot);

    if (status == PEAT_OK) {
        status = pt_load_position(snapshot, batch_out, &seed);
        if (status == PEAT_DONE)
            (void)snprintf(load->finding, sizeof(load->finding), "a batch is there by half");
        if (status == PEAT_OK && *batch_out >= load->batch) {
            pt_load_advance(load, *batch_out);
            status = pt_load_verify(load, snapshot);
        }
        peat_snapshot_close(snapshot);
    }
    if (status == PEAT_OK)
        status = peat_check(db, NULL, NULL, NULL);
    if (status < 0)
        (void)snprintf(load->finding, sizeof(load->finding), "%s: %s", peat_status_name(status),
                       peat_last_error());
    return status == PEAT_OK;
}

static bool fails(struct torture *torture, const char *words)
{
    (void)snprintf(torture->kills->finding, sizeof(torture->kills->finding), "%s", words);
    torture->kills->failed++;
    return false;
}

static bool verify(struct torture *torture)
{
    struct peat_options options = options_of(torture, PEAT_CREATE);
    uint64_t acknowledged = atomic_load(&torture->shared->acknowledged);
    uint64_t tried = atomic_load(&torture->shared->tried);
    uint64_t before = torture->load.batch;
    char words[PT_LOAD_WORDS];
    struct peat_db *db = NULL;
    uint64_t batch = 0;
    bool right;

    if (peat_open(torture->store, &options, &db) != PEAT_OK)
        return fails(torture, peat_last_error());
    right = pt_torture_look(&torture->load, db, &batch);
    if (roll(torture, 2) == 0)
        (void)peat_abort(db);
    else if (peat_close(db) != PEAT_OK && right)
        return fails(torture, peat_last_error());
    if (!right)
        return fails(torture, torture->load.finding);
    if (batch < acknowledged || batch < before || batch > tried) {
        (void)snprintf(words, sizeof(words),
                       "batch %" PRIu64 " is shown; %" PRIu64 " was acknowledged, %" PRIu64
                       " begun last",
                       batch, acknowledged, tried);
        return fails(torture, words);
    }
    torture->kills->acknowledged += acknowledged > before ? acknowledged - before : 0;
    torture->kills->lost += tried - batch;
    return true;
}

/* ---- Rounds ---- */

/* Mostly from the moment on at which the store is open, else from the process's start. */
static void wait_a_while(struct torture *torture)
{
    struct timespec look_again = {0, OPEN_LOOK_US * 1000};
    uint64_t looks = roll(torture, 4) == 0 ? 0 : OPEN_LOOKS_MAX;
    uint64_t bound = SPAN_MAX_US >> roll(torture, 11);
    uint64_t span_us = SPAN_MIN_US + roll(torture, bound);
    struct timespec span = {0, (long)(span_us * 1000)};

    for (; looks > 0 && !atomic_load(&torture->shared->is_open); looks--)
        (void)nanosleep(&look_again, NULL);
    (void)nanosleep(&span, NULL);
}

/* SIGKILL it, if it is there, and wait for its end. False: it came to one by itself. */
static bool end(pid_t process)
{
    int outcome = 0;

    if (process <= 0)
        return true;
    (void)kill(process, SIGKILL);
    while (waitpid(process, &outcome, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGKILL;
}

static bool round_do(struct torture *torture, enum pt_exit *outcome_out)
{
    struct shared *shared = torture->shared;
    bool with_reader = torture->load.batch > 0 && roll(torture, 2) == 0;
    pid_t reader = 0;
    pid_t writer;
    bool right;

    atomic_store(&shared->tried, torture->load.batch);
    atomic_store(&shared->acknowledged, torture->load.batch);
    atomic_store(&shared->is_open, false);
    (void)roll(torture, 2); /* the writer's options */
    writer = start(torture, writer_run);
    if (writer > 0 && with_reader)
        reader = start(torture, reader_run);
    if (writer < 0 || reader < 0) {
        pt_complain(torture->store, "no process can be started: %s", strerror(errno));
        (void)end(writer);
        *outcome_out = PT_EXIT_ERROR;
        return false;
    }
    wait_a_while(torture);
    right = end(writer);
    torture->kills->kills++;
    torture->kills->while_opened += !atomic_load(&shared->is_open);
    right = end(reader) && right;
    torture->kills->readers += with_reader;
    if (!right)
        return fails(torture,
                     atomic_load(&shared->failed) ? shared->finding : "a process ended by itself");
    return verify(torture);
}

enum pt_exit pt_torture_kill(const char *store, uint64_t seed, uint64_t end_ns,
                             struct pt_torture_kills *kills_out)
{
    struct torture *torture = calloc(1, sizeof(*torture));
    enum pt_exit outcome = PT_EXIT_DONE;
    struct pt_progress progress;

    memset(kills_out, 0, sizeof(*kills_out));
    if (torture != NULL)
        torture->shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (torture == NULL || torture->shared == MAP_FAILED) {
        free(torture);
        pt_complain(NULL, "no memory");
        return PT_EXIT_ERROR;
    }
    torture->store = store;
    torture->seed = seed;
    torture->dice = seed;
    torture->kills = kills_out;
    pt_load_init(&torture->load, seed);
    pt_progress_init(&progress, "kills", 0);
    /* At least one, however slow the device: a report of no kill at all would say nothing. */
    while ((kills_out->kills == 0 || pt_torture_now_ns() < end_ns) && !pt_interrupt_came() &&
           round_do(torture, &outcome))
        pt_progress_show(&progress, kills_out->kills, 0);
    pt_progress_wipe();
    if (outcome == PT_EXIT_DONE && kills_out->failed > 0)
        outcome = PT_EXIT_DAMAGE;
    (void)munmap(torture->shared, sizeof(struct shared));
    free(torture);
    return outcome;
}

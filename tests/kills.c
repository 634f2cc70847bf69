#include "tests/kills.h"

#include "tests/script_steps.h"
#include "tests/tracer.h"

#include "core/base/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS = 12, /* with one store, at random moments */
    READERS_MAX = 3,
    COMMITS_ENOUGH = PT_COMMITS_MAX - 100, /* then a writer waits to be killed */
    SPAN_MAX_US = 40000,                   /* until a kill */
    SPAN_MIN_US = 20,
    TAKE_OVER_US = 50, /* between two tries to open a store that another one writes */
    IDLE_MS = 60000,
    READER_SEED = 4,
    READER_TURNS = 8
};

/* What the verifier shares with the processes that it kills. It alone survives them. */
struct shared {
    struct pt_session session;
    _Atomic bool is_open;     /* the writer has opened the store */
    _Atomic bool reader_ends; /* readers that are alive come to their end */
    struct pt_difference reader_finding;
    _Atomic bool reader_failed;
};

static struct shared *shared;

/* ---- One worker's store ---- */

static char store_path[512];

static void worker_start(void)
{
    if (shared != NULL)
        return;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PT_REQUIRE(shared != MAP_FAILED);
}

static void store_name(void)
{
    const char *directory = getenv("TMPDIR");

    /* What the page cache holds outlives a process, on whatever file system: so it takes none that
     * waits for a disk. */
    if (directory == NULL || directory[0] == '\0')
        directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(store_path, sizeof(store_path), "%s/peat-kills-%d", directory, (int)getpid());
}

/* A new session, without a file. */
static void store_start(unsigned flags, bool loose)
{
    worker_start();
    store_name();
    (void)unlink(store_path);
    memset(shared, 0, sizeof(*shared));
    pt_session_init(&shared->session, flags);
    shared->session.path = store_path;
    shared->session.loose = loose;
}

static void store_keep(const char *path)
{
    static uint8_t buffer[1 << 16];
    int from = open(store_path, O_RDONLY | O_CLOEXEC);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t count;

    while (from >= 0 && to >= 0 && (count = read(from, buffer, sizeof(buffer))) > 0)
        (void)pt_pipe_write(to, buffer, (size_t)count);
    (void)close(from);
    (void)close(to);
}

static void report(struct pt_power_cut *campaign, const char *scripts, uint64_t seed, uint64_t step,
                   const char *words)
{
    char path[600];

    atomic_fetch_add(&campaign->counts->failed, 1);
    (void)snprintf(path, sizeof(path), "%s-%s-%" PRIu64 ".image", store_path, scripts, seed);
    store_keep(path);
    printf("FAIL %s seed %" PRIu64 ", step %" PRIu64
           ": %s; kept: %s; repeat: %s --scripts %s --seed %" PRIu64 "\n",
           scripts, seed, step, words, path, campaign->program, scripts, seed);
    (void)fflush(stdout);
}

/* ---- The verifier ---- */

/* What the dead held is free once everything is flushed and merged: space waits for nobody. */
static bool nothing_is_pinned(struct pt_session *session)
{
    struct pt_step flush = {.kind = PT_STEP_FLUSH};
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    if (!pt_session_step(session, &flush))
        return false;
    for (unsigned i = 0; i < 3; i++) { /* the last checkpoint's own leavings go with the next one */
        struct pt_step put = {
            .kind = PT_STEP_PUT, .level = PEAT_OS, .key = 1, .size = 10, .seed = i};

        if (!pt_session_step(session, &put) || !pt_session_step(session, &flush))
            return false;
    }
    PT_REQUIRE_OK(peat_wait_idle(session->db, IDLE_MS));
    PT_REQUIRE_OK(peat_stats_get(session->db, &stats));
    if (stats.pending_size == 0)
        return true;
    (void)snprintf(session->finding.words, sizeof(session->finding.words),
                   "%" PRIu64 " bytes are held though every reader is dead", stats.pending_size);
    return false;
}

/* Everybody is dead: the store shows what it must, and goes on. */
static bool verify(struct pt_kill_counts *counts, uint64_t salt)
{
    struct pt_session *session = &shared->session;
    struct pt_dice dice = {salt};
    struct pt_step put = {.kind = PT_STEP_PUT, .level = PEAT_DISK, .key = 3, .size = 40};
    struct pt_step step = pt_step_roll(&dice, 3000);
    uint64_t acknowledged = session->promise.os;
    bool right;

    pt_session_orphan(session);
    atomic_fetch_add_explicit(&counts->verifications, 1, memory_order_relaxed);
    put.seed = (uint32_t)salt;
    right = pt_session_open(session) && pt_session_look(session, true);
    atomic_fetch_add_explicit(&counts->commits, acknowledged, memory_order_relaxed);
    right = right && pt_session_step(session, &put);
    if (right && salt % 4 == 0)
        right = nothing_is_pinned(session);
    right = right && pt_session_step(session, &step);
    right = right && pt_session_end(session, salt % 3 == 0) && pt_session_open(session) &&
            pt_session_look(session, false) && pt_session_end(session, salt % 5 == 0);
    if (!right && session->db != NULL)
        pt_session_abandon(session);
    return right;
}

/* ---- Who is killed: writers ---- */

/* A campaign's own handlers would speak for the worker. */
static void signals_reset(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)signal(signals[i], SIG_DFL);
}

_Noreturn static void wait_to_be_killed(void)
{
    for (;;)
        (void)pause();
}

/* Wait until the other writer is dead, not only between two steps of its own with the store closed, and
 * the store free. */
static void writers_death_wait(int life)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct timespec pause_time = {0, TAKE_OVER_US * 1000};
    struct peat_db *db;
    enum peat_status status;
    uint8_t nothing;

    PT_REQUIRE(read(life, &nothing, 1) == 0);
    while ((status = peat_open(store_path, &options, &db)) == PEAT_BUSY)
        (void)nanosleep(&pause_time, NULL);
    if (status ==
        PEAT_NOT_WRITABLE) /* free, and a follower's: the other one died while it promoted it */
        return;
    PT_REQUIRE_OK(status);
    PT_REQUIRE_OK(peat_abort(db));
}

struct writer {
    uint64_t seed;
    int other_life; /* the other writer's end of a pipe ends with it: then this one takes over; -1: it is the first */
    uint32_t size_max;
};

static void writer_run(void *context)
{
    const struct writer *writer = context;
    struct pt_session *session = &shared->session;
    struct pt_dice dice = {pt_mix(writer->seed)};
    bool right;

    signals_reset();
    if (writer->other_life >= 0)
        writers_death_wait(writer->other_life);
    pt_session_orphan(session);
    right = pt_session_open(session);
    atomic_store(&shared->is_open, right);
    right = right && pt_session_look(session, false);
    while (right && session->history.count < COMMITS_ENOUGH) {
        struct pt_step step = pt_step_roll(&dice, writer->size_max);

        right = pt_session_step(session, &step);
    }
    if (!right)
        _exit(1);
    wait_to_be_killed();
}

/* ---- Who is killed: readers ---- */

static bool reader_finds(const char *what, uint64_t commit)
{
    (void)snprintf(shared->reader_finding.words, sizeof(shared->reader_finding.words),
                   "a reader %s commit %" PRIu64, what, commit);
    return false;
}

/* What the reader's newest snapshot shows is whole, and lies between what was acknowledged before it looked
 * and what was tried by the time it has. */
static bool reader_looks(const struct peat_snapshot *snapshot, uint64_t acknowledged,
                         uint64_t *commit)
{
    const volatile uint64_t *tried = &shared->session.history.count;
    static struct pt_model model;
    uint64_t shown = peat_snapshot_commit(snapshot);

    if (shown < acknowledged)
        return reader_finds("misses acknowledged", acknowledged);
    if (shown > *tried)
        return reader_finds("sees what nobody made,", shown);
    if (shown < *commit)
        return reader_finds("goes back to", shown);
    *commit = shown;
    pt_commits_model(&shared->session.history, shown, &model);
    return pt_model_shown(&model, snapshot, NULL, &shared->reader_finding);
}

struct reader {
    uint64_t seed;
    uint64_t turns; /* then it ends; 0: when it is told */
};

static bool reader_loop(const struct reader *reader)
{
    const volatile uint64_t *os = &shared->session.promise.os;
    struct pt_dice dice = {pt_mix(reader->seed)};
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_snapshot *held = NULL;
    struct peat_db *db = NULL;
    uint64_t held_commit = 0;
    uint64_t commit = 0;
    bool right = true;

    for (uint64_t i = 1; right && !atomic_load(&shared->reader_ends); i++) {
        uint64_t acknowledged = *os;
        struct peat_snapshot *snapshot;

        if (db == NULL)
            PT_REQUIRE_OK(peat_open(store_path, &options, &db));
        else
            PT_REQUIRE_OK(peat_refresh(db));
        PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
        if (i == reader->turns)
            atomic_store(&shared->reader_ends, true);
        right = reader_looks(snapshot, acknowledged, &commit);
        if (held != NULL && right) /* it shows what it did */
            right = reader_looks(held, 0, &held_commit);
        if (held == NULL && right) {
            held = snapshot;
            held_commit = commit;
            continue;
        }
        peat_snapshot_close(snapshot);
        if (pt_dice_one_in(&dice, 8) || !right) {
            peat_snapshot_close(held);
            held = NULL;
        }
        if (held == NULL && pt_dice_one_in(&dice, 4)) {
            PT_REQUIRE_OK(peat_close(db));
            db = NULL;
        }
    }
    peat_snapshot_close(held);
    PT_REQUIRE_OK(peat_close(db));
    return right;
}

static void reader_run(void *context)
{
    signals_reset();
    if (!reader_loop(context)) {
        atomic_store(&shared->reader_failed, true);
        _exit(1);
    }
}

/* ---- Kills at random moments ---- */

/* The processes of one round. */
struct round {
    struct pt_power_cut *campaign;
    struct pt_kill_counts *counts;
    struct pt_dice dice;
    pid_t readers[READERS_MAX];
    unsigned reader_count;
};

static void span_wait(struct pt_dice *dice)
{
    uint64_t bound = SPAN_MAX_US >> pt_dice_below(dice, 10);
    uint64_t span_us = SPAN_MIN_US + pt_dice_below(dice, bound);
    struct timespec span = {0, (long)(span_us * 1000)};

    (void)nanosleep(&span, NULL);
}

/* SIGKILL, and wait for the end. False: it had come to an end by itself. */
static bool kill_one(struct round *round, pid_t process, bool is_reader)
{
    int outcome = 0;

    (void)kill(process, SIGKILL);
    PT_REQUIRE(waitpid(process, &outcome, 0) == process);
    if (!WIFSIGNALED(outcome) || WTERMSIG(outcome) != SIGKILL)
        return false;
    atomic_fetch_add_explicit(&round->counts->kills, 1, memory_order_relaxed);
    if (is_reader)
        atomic_fetch_add_explicit(&round->counts->readers, 1, memory_order_relaxed);
    else if (!atomic_load(&shared->is_open))
        atomic_fetch_add_explicit(&round->counts->recoveries, 1, memory_order_relaxed);
    return true;
}

static void readers_start(struct round *round)
{
    uint64_t count = pt_dice_below(&round->dice, READERS_MAX + 1);

    atomic_store(&shared->reader_ends, false);
    round->reader_count = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct reader reader = {pt_dice_next(&round->dice), 0};

        round->readers[round->reader_count++] = pt_child_start(reader_run, &reader);
    }
}

/* Some are killed; the others must have seen nothing wrong. */
static bool readers_end(struct round *round)
{
    bool right = true;
    int outcome;

    for (unsigned i = 0; i < round->reader_count; i++) {
        if (pt_dice_one_in(&round->dice, 4))
            continue;
        right = kill_one(round, round->readers[i], true) && right;
        round->readers[i] = 0;
    }
    atomic_store(&shared->reader_ends, true);
    for (unsigned i = 0; i < round->reader_count; i++) {
        if (round->readers[i] == 0)
            continue;
        PT_REQUIRE(waitpid(round->readers[i], &outcome, 0) == round->readers[i]);
        right = right && outcome == 0;
    }
    round->reader_count = 0;
    return right;
}

static const char *finding(bool reader)
{
    if (reader && shared->reader_finding.words[0] != '\0')
        return shared->reader_finding.words;
    if (shared->session.finding.words[0] != '\0')
        return shared->session.finding.words;
    return reader ? "a reader came to an end by itself" : "a writer came to an end by itself";
}

/* Another writer, which takes over when the first one is killed, and is killed in its turn. */
static bool successor_run_and_kill(struct round *round, struct writer *successor, pid_t first)
{
    pid_t process = pt_child_start(writer_run, successor);
    bool right;

    span_wait(&round->dice);
    right = kill_one(round, first, false);
    atomic_store(&shared->is_open, false);
    span_wait(&round->dice);
    return kill_one(round, process, false) && right;
}

/* One writer, and perhaps a second one. */
static bool writers_run_and_kill(struct round *round, uint64_t seed)
{
    static const uint32_t sizes[] = {500, 2000, 60000, 200000};
    uint32_t size_max = sizes[pt_dice_below(&round->dice, 4)];
    struct writer writer = {seed, -1, size_max};
    bool second = pt_dice_one_in(&round->dice, 2);
    int life[2]; /* the first one alone has the end that is written to */
    pid_t process;
    bool right;

    atomic_store(&shared->is_open, false);
    PT_REQUIRE(pipe2(life, O_CLOEXEC) == 0);
    process = pt_child_start(writer_run, &writer);
    (void)close(life[1]);
    span_wait(&round->dice);
    if (second && atomic_load(&shared->is_open)) { /* it must not be the first to open */
        writer = (struct writer){seed + 1, life[0], size_max};
        right = successor_run_and_kill(round, &writer, process);
    } else {
        right = kill_one(round, process, false);
    }
    (void)close(life[0]);
    return right;
}

void pt_kills_random(struct pt_power_cut *campaign, struct pt_kill_counts *counts, uint64_t seed)
{
    struct round round = {.campaign = campaign, .counts = counts, .dice = {pt_mix(seed)}};
    bool right = true;

    pt_power_cut_note("kills seed %" PRIu64, seed);
    store_start(pt_dice_one_in(&round.dice, 3) ? PEAT_LOG_PWRITE : 0,
                pt_dice_one_in(&round.dice, 2));
    for (uint64_t i = 0; i < ROUNDS && right; i++) {
        uint64_t recoveries =
            pt_dice_one_in(&round.dice, 3) ? 1 + pt_dice_below(&round.dice, 3) : 0;
        bool readers_right;

        if (shared->session.history.count > COMMITS_ENOUGH / 2)
            break;
        if (i > 0) /* the file is there */
            readers_start(&round);
        right = writers_run_and_kill(&round, pt_dice_next(&round.dice));
        for (; recoveries > 0 && right; recoveries--) /* without a look in between */
            right = writers_run_and_kill(&round, pt_dice_next(&round.dice));
        readers_right = readers_end(&round);
        if (!right || !readers_right)
            report(campaign, "kills", seed, i, finding(!readers_right));
        else if (!verify(counts, pt_dice_next(&round.dice)))
            report(campaign, "kills", seed, i, shared->session.finding.words);
        else
            continue;
        right = false;
    }
    (void)unlink(store_path);
    pt_power_cut_note(NULL);
}

/* ---- Kills at each place in turn ---- */

static const struct pt_step beginning[] = {
    PUT(1, 100, PEAT_OS),
    STEP(CREATE),
    BATCH(300, PEAT_DISK),
    STEP(FLUSH),
    PUT(2, 500, PEAT_OS),
    STEP(SYNC),
    PUT(3, 100, PEAT_MEMORY),
    STEP(SNAPSHOT),
    BATCH(2000, PEAT_OS),
    STEP(MERGE),
    STEP(CLOSE),
};
static const struct pt_step keeping[] = {
    BATCH(300, PEAT_OS),    STEP(PERSIST), PUT(2, 9000, PEAT_OS), STEP(DROP),
    PUT(3, 100, PEAT_DISK), STEP(REVERT),  PUT(4, 100, PEAT_OS),  STEP(PERSIST),
};
static const struct pt_step growing[] = {
    PUT(5, 70000, PEAT_OS),
    PUT(6, 90000, PEAT_DISK),
    STEP(ABORT),
    PUT(7, 70000, PEAT_OS),
    STEP(MERGE),
    PUT(5, 40, PEAT_OS),
};
static const struct pt_step logged[] = {
    PUT(1, 3000, PEAT_OS), STEP(CREATE),           STEP(FLUSH),
    BATCH(900, PEAT_OS),   PUT(2, 70000, PEAT_OS), PUT(3, 9, PEAT_OS),
};

/* What is done to be killed: a script, from what another has left. */
static const struct place_script {
    const struct pt_step *before; /* and then the process died */
    size_t before_count;
    const struct pt_step *steps; /* NULL: a reader reads */
    size_t count;
    unsigned flags;
} place_scripts[] = {
#define STEPS(steps_) steps_, sizeof(steps_) / sizeof(steps_[0])
    {NULL, 0, STEPS(beginning), 0},
    {STEPS(logged), STEPS(keeping), PEAT_LOG_PWRITE}, /* recovers first */
    {STEPS(logged), STEPS(growing), 0},
    {STEPS(logged), NULL, 0, 0},
};
enum { PLACE_SCRIPTS = sizeof(place_scripts) / sizeof(place_scripts[0]) };

/* How many places each has: stops at system calls, and stores. */
static uint64_t stop_counts[PLACE_SCRIPTS];
static uint64_t store_counts[PLACE_SCRIPTS];

/* Of the process that is to kill itself in a store; in shared memory, so that they can be counted. */
struct stores {
    _Atomic uint64_t count;
    uint64_t fatal; /* number of the store that is not finished */
};

static struct stores *stores;

static void store_and_die(int fd, uint64_t offset, void *place, const void *data, size_t size)
{
    if (atomic_fetch_add(&stores->count, 1) == stores->fatal) {
        memcpy(place, data, size / 2);
        (void)kill(getpid(), SIGKILL);
        wait_to_be_killed();
    }
    pt_file_calls_real()->store(fd, offset, place, data, size);
}

struct place {
    const struct place_script *script;
    bool counted; /* stores are, and one may be fatal */
};

static void place_run(void *context)
{
    const struct place *place = context;
    struct pt_file_calls calls = *pt_file_calls_real();
    struct pt_session *session = &shared->session;
    bool right;

    signals_reset();
    calls.store = store_and_die;
    if (place->counted)
        pt_file_set_calls(&calls);
    if (place->script->steps == NULL) {
        struct reader reader = {READER_SEED, READER_TURNS};

        reader_run(&reader);
        return;
    }
    pt_session_orphan(session);
    right = pt_session_open(session);
    atomic_store(&shared->is_open, right);
    for (size_t i = 0; i < place->script->count && right; i++)
        right = pt_session_step(session, &place->script->steps[i]);
    right = right && pt_session_end(session, true);
    if (!right)
        _exit(1);
}

/* The store as it is when the process to be killed begins. */
static void place_prepare(const struct place_script *script)
{
    struct pt_session *session;
    bool right;

    store_start(script->flags, false);
    session = &shared->session;
    if (script->before == NULL)
        return;
    right = pt_session_open(session);
    for (size_t i = 0; i < script->before_count && right; i++)
        right = pt_session_step(session, &script->before[i]);
    if (!right || !pt_session_end(session, false))
        pt_test_fail(__FILE__, __LINE__, "%s", session->finding.words);
}

/* How many stores the script makes through the mapping when nothing stops it. */
static uint64_t stores_count(const struct place_script *script)
{
    struct place place = {script, true};

    place_prepare(script);
    atomic_store(&stores->count, 0);
    stores->fatal = UINT64_MAX;
    pt_child_join(pt_child_start(place_run, &place));
    return atomic_load(&stores->count);
}

static uint64_t stops_count(const struct place_script *script)
{
    struct place place = {script, false};
    struct pt_traced traced;

    place_prepare(script);
    traced = pt_tracer_run(place_run, &place, UINT64_MAX);
    PT_REQUIRE(WIFEXITED(traced.outcome) && WEXITSTATUS(traced.outcome) == 0);
    return traced.stops;
}

uint64_t pt_kills_place_count(void)
{
    bool traces = pt_tracer_works();
    uint64_t count = 0;

    stores = mmap(NULL, sizeof(*stores), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PT_REQUIRE(stores != MAP_FAILED);
    for (size_t i = 0; i < PLACE_SCRIPTS; i++) {
        stop_counts[i] = traces ? stops_count(&place_scripts[i]) : 0;
        store_counts[i] = stores_count(&place_scripts[i]);
        count += stop_counts[i] + store_counts[i];
    }
    (void)unlink(store_path);
    (void)munmap(shared, sizeof(*shared)); /* each worker has one of its own */
    shared = NULL;
    return count;
}

/* Kill it at stop number @p stop. False: it came to an end by itself, and not a good one. */
static bool kill_at_stop(const struct place_script *script, uint64_t stop, bool *killed_out)
{
    struct place place = {script, false};
    struct pt_traced traced = pt_tracer_run(place_run, &place, stop);

    *killed_out = traced.killed;
    return traced.killed || traced.outcome == 0;
}

static bool kill_in_store(const struct place_script *script, uint64_t number, bool *killed_out)
{
    struct place place = {script, true};
    pid_t child;
    int outcome = 0;

    atomic_store(&stores->count, 0);
    stores->fatal = number;
    child = pt_child_start(place_run, &place);
    PT_REQUIRE(waitpid(child, &outcome, 0) == child);
    *killed_out = WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGKILL;
    return *killed_out || outcome == 0;
}

void pt_kills_place(struct pt_power_cut *campaign, struct pt_kill_counts *counts, uint64_t number)
{
    const struct place_script *script = place_scripts;
    uint64_t rest = number;
    size_t i = 0;
    bool killed;
    bool right;

    while (i + 1 < PLACE_SCRIPTS && rest >= stop_counts[i] + store_counts[i]) {
        rest -= stop_counts[i] + store_counts[i];
        i++;
    }
    script = &place_scripts[i];
    pt_power_cut_note("places seed %" PRIu64, number);
    if (stores == NULL || stores == MAP_FAILED)
        return;
    place_prepare(script);
    right = rest < stop_counts[i] ? kill_at_stop(script, rest, &killed)
                                  : kill_in_store(script, rest - stop_counts[i], &killed);
    if (killed) { /* if not, the threads ran otherwise than when places were counted */
        atomic_fetch_add_explicit(&counts->kills, 1, memory_order_relaxed);
        if (script->steps == NULL)
            atomic_fetch_add_explicit(&counts->readers, 1, memory_order_relaxed);
        else if (!atomic_load(&shared->is_open))
            atomic_fetch_add_explicit(&counts->recoveries, 1, memory_order_relaxed);
    }
    if (!right)
        report(campaign, "places", number, rest, finding(script->steps == NULL));
    else if (!verify(counts, number * 4 + (script->steps == NULL ? 0 : 1 + number % 3)))
        report(campaign, "places", number, rest, shared->session.finding.words);
    (void)unlink(store_path);
    pt_power_cut_note(NULL);
}

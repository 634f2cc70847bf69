#include "tests/campaign.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS_MAX = 64, RANDOM_STEPS = 40, SEQUENCE_MAX = 3, PREFIX = 5 };

/* By the workers. */
struct shared {
    struct pt_fault_counts counts;
    _Atomic uint64_t next; /* number of the next script */
};

static struct shared *shared;
static uint64_t fault_runs;               /* until everything has failed in every position */
static struct pt_damage_runs damage_runs; /* until everything has been damaged in every way */
static uint64_t kill_places;              /* until a process has been killed at each */

static const char *const names[] = {"all",    "sequences", "random", "threads",
                                    "faults", "damage",    "places", "kills"};

const char *pt_campaign_scripts_name(enum pt_campaign_scripts scripts)
{
    return names[scripts];
}

/* ---- Scripts ---- */

/* All sequences of up to SEQUENCE_MAX of these, after a start that leaves something in a segment, in a kept
 * state, in the log and in the write buffer, and a feed. */
static const struct pt_step alphabet[] = {
    {.kind = PT_STEP_PUT, .level = PEAT_DISK, .key = 7, .size = 100, .seed = 1},
    {.kind = PT_STEP_DELETE, .level = PEAT_DISK, .key = 2},
    {.kind = PT_STEP_BATCH, .level = PEAT_OS, .key = 1, .size = 900, .seed = 2, .nested = true},
    {.kind = PT_STEP_SYNC},
    {.kind = PT_STEP_PUT, .level = PEAT_MEMORY, .key = 9, .size = 700, .seed = 3},
    {.kind = PT_STEP_FLUSH},
    {.kind = PT_STEP_MERGE},
    {.kind = PT_STEP_SNAPSHOT},
    {.kind = PT_STEP_PERSIST},
    {.kind = PT_STEP_REVERT},
    {.kind = PT_STEP_FEED},
    {.kind = PT_STEP_PROMOTE},
    {.kind = PT_STEP_CLOSE},
};
enum {
    LETTERS = sizeof(alphabet) / sizeof(alphabet[0]),
    SEQUENCES = LETTERS + LETTERS * LETTERS + LETTERS * LETTERS * LETTERS,
    SEQUENCE_SCRIPTS = 2 * SEQUENCES, /* with both ways to write the log */
    FAULTS_MIXING = 1000003,
    SUPERBLOCKS_ONE_IN = 64,
    HANG_S = 120, /* seconds: no script takes so long in between */
    MIXING = 1009 /* prime: neighbours in time are not neighbours in kind */
};

static const struct pt_step start[PREFIX] = {
    {.kind = PT_STEP_CREATE},
    {.kind = PT_STEP_BATCH, .level = PEAT_DISK, .key = 1, .size = 400, .seed = 4, .nested = true},
    {.kind = PT_STEP_PERSIST},
    {.kind = PT_STEP_FEED},
    {.kind = PT_STEP_PUT, .level = PEAT_OS, .key = 2, .size = 300, .seed = 5},
};

static void sequence_run(struct pt_power_cut *power_cut, uint64_t number)
{
    struct pt_step steps[PREFIX + SEQUENCE_MAX];
    struct pt_script script = {.seed = number,
                               .flags =
                                   number % SEQUENCE_SCRIPTS >= SEQUENCES ? PEAT_LOG_PWRITE : 0,
                               .steps = steps,
                               .count = PREFIX,
                               .skipped = number == 0 ? 0 : PREFIX};
    uint64_t rest = number * MIXING % SEQUENCES;
    uint64_t count = LETTERS;
    size_t length = 1;

    (void)snprintf(script.name, sizeof(script.name), "%s", names[PT_SCRIPTS_SEQUENCES]);
    memcpy(steps, start, sizeof(start));
    for (; rest >= count; count *= LETTERS, length++)
        rest -= count;
    for (; length > 0; length--, rest /= LETTERS)
        steps[script.count++] = alphabet[rest % LETTERS];
    pt_power_cut_script(power_cut, &script);
}

static void random_run(struct pt_power_cut *power_cut, uint64_t seed, bool loose)
{
    static const uint32_t sizes[] = {2000, 2000, 40000, 40000, 120000, 600000};
    struct pt_step steps[RANDOM_STEPS];
    struct pt_dice dice = {pt_mix(seed)};
    struct pt_script script = {.seed = seed,
                               .flags = pt_dice_one_in(&dice, 3) ? PEAT_LOG_PWRITE : 0,
                               .loose = loose,
                               .steps = steps,
                               .count = RANDOM_STEPS};
    uint32_t size_max = sizes[pt_dice_below(&dice, sizeof(sizes) / sizeof(sizes[0]))];

    (void)snprintf(script.name, sizeof(script.name), "%s",
                   names[loose ? PT_SCRIPTS_THREADS : PT_SCRIPTS_RANDOM]);
    for (size_t i = 0; i < RANDOM_STEPS; i++)
        steps[i] = pt_step_roll(&dice, size_max);
    pt_power_cut_script(power_cut, &script);
}

static void kills_run(struct pt_power_cut *power_cut, const struct pt_campaign *campaign,
                      uint64_t number)
{
    if (campaign->scripts == PT_SCRIPTS_KILLS)
        pt_kills_random(power_cut, &shared->counts.kills, campaign->seed + number);
    else if (campaign->single)
        pt_kills_place(power_cut, &shared->counts.kills, campaign->seed);
    else
        pt_kills_place(power_cut, &shared->counts.kills,
                       (campaign->seed % kill_places + number) * FAULTS_MIXING % kill_places);
}

/* Where there is no time for all, some are of a superblock: they are few bytes, and much hangs on them. */
static void damage_run(struct pt_power_cut *power_cut, const struct pt_campaign *campaign,
                       uint64_t number)
{
    uint64_t mixed = (campaign->seed % damage_runs.count + number) * FAULTS_MIXING;
    uint64_t chosen = damage_runs.first + mixed % damage_runs.count;

    if (campaign->single)
        chosen = campaign->seed;
    else if (campaign->seconds != 0 && campaign->base == NULL && number % SUPERBLOCKS_ONE_IN == 0)
        chosen = pt_damage_of_superblocks(campaign->seed + number / SUPERBLOCKS_ONE_IN);
    pt_damage_run(power_cut, &shared->counts.damage, chosen);
}

/* Script @p number. Of all: two sequences, while there are any, then two random ones. */
static void script_run(struct pt_power_cut *power_cut, const struct pt_campaign *campaign,
                       uint64_t number)
{
    enum pt_campaign_scripts scripts = campaign->scripts;
    uint64_t sequence = campaign->single ? campaign->seed : number;

    if (scripts == PT_SCRIPTS_DAMAGE) {
        damage_run(power_cut, campaign, number);
        return;
    }
    if (scripts == PT_SCRIPTS_PLACES || scripts == PT_SCRIPTS_KILLS) {
        kills_run(power_cut, campaign, number);
        return;
    }
    if (scripts == PT_SCRIPTS_FAULTS) {
        if (!campaign->single &&
            number < fault_runs) /* from some place on, in an order that mixes */
            number = (campaign->seed % fault_runs + number) * FAULTS_MIXING % fault_runs;
        (void)pt_faults_run(power_cut, &shared->counts,
                            campaign->single ? campaign->seed : pt_faults_id(number));
        return;
    }
    if (scripts == PT_SCRIPTS_ALL) {
        sequence = number / 4 * 2 + number % 2;
        scripts = number % 4 >= 2 || sequence >= SEQUENCE_SCRIPTS
                      ? PT_SCRIPTS_RANDOM + (number % 2 == 0 ? 0 : 1)
                      : PT_SCRIPTS_SEQUENCES;
    }
    if (scripts == PT_SCRIPTS_SEQUENCES)
        sequence_run(power_cut, sequence);
    else
        random_run(power_cut, campaign->seed + number, scripts == PT_SCRIPTS_THREADS);
}

/* ---- Workers ---- */

static void on_signal(int number)
{
    static char words[64];
    static uint64_t alarmed_us; /* by a first alarm: the whole machine may have stood still */

    if (number == SIGALRM && pt_test_now_us() - alarmed_us > (uint64_t)2 * HANG_S * 1000000) {
        alarmed_us = pt_test_now_us();
        (void)alarm(HANG_S);
        return;
    }
    (void)signal(number, SIG_DFL);
    if (number == SIGALRM)
        (void)snprintf(words, sizeof(words), "it hangs");
    else
        (void)snprintf(words, sizeof(words), "signal %d", number);
    pt_power_cut_report_signal(words);
    _exit(1);
}

/* Stay on one processor: the threads of a store that is opened and closed all the time then wake each
 * other, and change their common mappings, without asking another one. Twice as fast. */
static void stay(unsigned worker)
{
    cpu_set_t processors;

    CPU_ZERO(&processors);
    CPU_SET(worker % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &processors);
    (void)sched_setaffinity(0, sizeof(processors), &processors);
}

/* How many scripts there are to do. */
static uint64_t script_count(const struct pt_campaign *campaign)
{
    if (campaign->single)
        return 1;
    if (campaign->scripts == PT_SCRIPTS_DAMAGE)
        return damage_runs.count;
    if (campaign->scripts == PT_SCRIPTS_PLACES)
        return kill_places;
    if (campaign->scripts == PT_SCRIPTS_KILLS)
        return UINT64_MAX;
    if (campaign->seconds != 0 || campaign->states_wanted != 0)
        return UINT64_MAX;
    if (campaign->scripts == PT_SCRIPTS_FAULTS)
        return fault_runs;
    return campaign->scripts == PT_SCRIPTS_ALL ? 2 * SEQUENCE_SCRIPTS : SEQUENCE_SCRIPTS;
}

/* In real files, by processes of their own: not on the simulated disk. */
static bool on_files(const struct pt_campaign *campaign)
{
    return campaign->scripts == PT_SCRIPTS_PLACES || campaign->scripts == PT_SCRIPTS_KILLS;
}

static bool is_enough(const struct pt_campaign *campaign)
{
    return (campaign->kills != 0 && atomic_load(&shared->counts.kills.kills) >= campaign->kills) ||
           (campaign->states_wanted != 0 &&
            atomic_load(&shared->counts.cuts.states) >= campaign->states_wanted);
}

static void work(const struct pt_campaign *campaign, unsigned worker, uint64_t end_us)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
    uint64_t count = script_count(campaign);
    struct pt_power_cut power_cut;
    uint64_t number;

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)signal(signals[i], on_signal);
    if (!on_files(campaign)) {
        stay(worker);
        pt_disk_start();
    }
    pt_power_cut_init(&power_cut, &shared->counts.cuts);
    power_cut.end_us = end_us;
    power_cut.program = campaign->program;
    power_cut.failures_max = campaign->failures_max;
    power_cut.script_states_max = campaign->states;
    power_cut.go_on_one_in = campaign->go_on_one_in;
    while (pt_test_now_us() < end_us && !is_enough(campaign) &&
           atomic_load(&shared->counts.cuts.failed) < campaign->failures_max) {
        number = atomic_fetch_add(&shared->next, 1);
        if (number >= count)
            break;
        (void)alarm(HANG_S);
        script_run(&power_cut, campaign, number);
    }
    pt_power_cut_fini(&power_cut);
    if (!on_files(campaign))
        pt_disk_stop();
}

static pid_t worker_start(const struct pt_campaign *campaign, unsigned worker, uint64_t end_us)
{
    pid_t child;

    (void)fflush(stdout);
    child = fork();
    PT_REQUIRE(child >= 0);
    if (child != 0)
        return child;
    work(campaign, worker, end_us);
    pt_test_exit(0);
}

/* One that a signal ended is replaced, until there are too many failures. */
static void workers_run(const struct pt_campaign *campaign, uint64_t end_us)
{
    unsigned running = campaign->jobs < WORKERS_MAX ? campaign->jobs : WORKERS_MAX;
    pid_t workers[WORKERS_MAX];
    int outcome;

    for (unsigned i = 0; i < running; i++)
        workers[i] = worker_start(campaign, i, end_us);
    while (running > 0) {
        pid_t ended = wait(&outcome);
        unsigned worker = 0;

        PT_REQUIRE(ended > 0);
        while (workers[worker] != ended)
            worker++;
        if (outcome != 0 && !WIFEXITED(outcome))
            atomic_fetch_add(&shared->counts.cuts.failed, 1);
        if (outcome != 0 && atomic_load(&shared->counts.cuts.failed) < campaign->failures_max)
            workers[worker] = worker_start(campaign, worker, end_us);
        else
            running--;
    }
}

struct pt_campaign pt_campaign_default(void)
{
    struct pt_campaign campaign = {.seconds = 40,
                                   .jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN),
                                   .states = 100,
                                   .go_on_one_in = 1,
                                   .failures_max = 10,
                                   .program = "tests/peat-torture-tests"};
    return campaign;
}

void pt_campaign_run(const struct pt_campaign *campaign, struct pt_fault_counts *counts_out)
{
    uint64_t end_us =
        campaign->seconds == 0 ? UINT64_MAX : pt_test_now_us() + campaign->seconds * 1000000;

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PT_REQUIRE(shared != MAP_FAILED);
    if (campaign->scripts == PT_SCRIPTS_FAULTS)
        fault_runs = pt_faults_run_count();
    if (campaign->scripts == PT_SCRIPTS_DAMAGE)
        damage_runs = pt_damage_prepare(campaign->base);
    PT_REQUIRE(campaign->scripts != PT_SCRIPTS_DAMAGE || damage_runs.count > 0);
    if (campaign->scripts == PT_SCRIPTS_PLACES)
        kill_places = pt_kills_place_count();
    workers_run(campaign, end_us);
    memcpy(counts_out, &shared->counts, sizeof(*counts_out));
    (void)munmap(shared, sizeof(*shared));
}

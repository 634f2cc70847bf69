#include "tests/faults.h"

#include "tests/script_steps.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CLOCK_SPEED = 200, /* what is tried again after a second is tried again after 5 ms */
    CUT_EACH = 8,      /* runs: then the power is cut, too, */
    CUT_STATES = 10,   /* in about so many states */
    LOOK_EACH = 3,     /* steps */
    RANDOM_STEPS = 20,
    POSITION_BITS = 16, /* of a run's id */
    LEAKS_EACH = 16,    /* runs: then the address sanitizer looks for leaks, where there is one */
    MAPPINGS_SLACK = 8, /* what the heap and stacks of threads that ended may come to */
    FDS_MAX = 256
};

/* ---- Scripts: between them they do everything ---- */

#define DELETE_RANGE(key_, high_)                                                          \
    {                                                                                      \
        .kind = PT_STEP_DELETE_RANGE, .key = (key_), .key_high = (high_), .level = PEAT_OS \
    }

static const struct pt_step everything[] = {
    PUT(1, 100, PEAT_DISK),
    STEP(CREATE),
    BATCH(300, PEAT_OS),
    STEP(FLUSH),
    PUT(2, 500, PEAT_MEMORY),
    STEP(SNAPSHOT),
    BATCH(300, PEAT_DISK),
    STEP(MERGE),
    STEP(SNAPSHOT),
    DELETE_RANGE(3, 9),
    STEP(DROP),
    STEP(SYNC),
    STEP(CLOSE),
    PUT(4, 50, PEAT_DISK),
};
static const struct pt_step growing[] = {
    PUT(1, 40000, PEAT_OS),
    PUT(2, 40000, PEAT_DISK),
    PUT(3, 40000, PEAT_OS),
    PUT(4, 60000, PEAT_OS),
    STEP(SYNC),
    PUT(5, 60000, PEAT_DISK),
    DELETE_RANGE(2, 4),
    PUT(6, 60000, PEAT_OS),
    STEP(MERGE),
    PUT(7, 60000, PEAT_DISK),
    STEP(FLUSH),
    PUT(8, 100, PEAT_DISK),
};
static const struct pt_step recovering[] = {
    PUT(1, 100, PEAT_DISK),
    PUT(2, 3000, PEAT_OS),
    STEP(ABORT),
    BATCH(2000, PEAT_OS),
    STEP(FLUSH),
    PUT(3, 70000, PEAT_OS),
    STEP(ABORT),
    PUT(4, 100, PEAT_DISK),
    STEP(ABORT),
    PUT(5, 100, PEAT_DISK),
};
static const struct pt_step large[] = {
    PUT(1, 100, PEAT_DISK), PUT(2, 600000, PEAT_OS),   STEP(ABORT),
    PUT(3, 100, PEAT_DISK), PUT(4, 300000, PEAT_DISK), STEP(CLOSE),
    PUT(5, 100, PEAT_OS),
};
static const struct pt_step recycling[] = {
    PUT(1, 9000, PEAT_DISK),
    STEP(FLUSH),
    PUT(1, 9000, PEAT_OS),
    STEP(FLUSH),
    STEP(SNAPSHOT),
    STEP(MERGE),
    PUT(2, 9000, PEAT_OS),
    STEP(FLUSH),
    PUT(3, 9000, PEAT_OS),
    STEP(MERGE),
    STEP(SNAPSHOT),
    PUT(4, 100, PEAT_DISK),
    STEP(MERGE),
    DELETE_RANGE(0, PT_KEY_COUNT),
    STEP(MERGE),
    PUT(5, 100, PEAT_DISK),
};

static const struct pt_step promoting[] = {
    PUT(1, 100, PEAT_DISK),
    BATCH(900, PEAT_OS),
    STEP(PROMOTE),
    PUT(2, 3000, PEAT_OS),
    STEP(PERSIST),
    STEP(ABORT),
    PUT(3, 100, PEAT_MEMORY),
    STEP(PROMOTE),
    STEP(REVERT),
    PUT(4, 100, PEAT_DISK),
};

static const struct pt_step keeping[] = {
    PUT(1, 100, PEAT_DISK),
    STEP(CREATE),
    BATCH(300, PEAT_OS),
    STEP(PERSIST),
    PUT(2, 500, PEAT_OS),
    STEP(DROP),
    STEP(FLUSH),
    PUT(3, 9000, PEAT_MEMORY),
    STEP(REVERT),
    BATCH(300, PEAT_DISK),
    STEP(PERSIST),
    PUT(4, 100, PEAT_OS),
    STEP(MERGE),
    STEP(REVERT),
    STEP(ABORT),
    DELETE_RANGE(0, PT_KEY_COUNT),
    STEP(MERGE), /* from here on the newest state shares nothing with the kept one */
    STEP(ABORT),
    PUT(5, 100, PEAT_DISK),
};

#define DELETE(key_, level_)                                     \
    {                                                            \
        .kind = PT_STEP_DELETE, .key = (key_), .level = (level_) \
    }
/* More than a MiB, from where on there is a reserve, for all that may draw from it. */
static const struct pt_step filling[] = {
    PUT(0, 60000, PEAT_OS),
    PUT(1, 60000, PEAT_OS),
    PUT(2, 60000, PEAT_OS),
    PUT(3, 60000, PEAT_OS),
    PUT(4, 60000, PEAT_OS),
    PUT(5, 60000, PEAT_OS),
    PUT(6, 60000, PEAT_OS),
    PUT(7, 60000, PEAT_OS),
    PUT(8, 60000, PEAT_OS),
    STEP(FLUSH),
    PUT(9, 60000, PEAT_OS),
    PUT(10, 60000, PEAT_OS),
    PUT(11, 60000, PEAT_OS),
    PUT(12, 60000, PEAT_OS),
    PUT(13, 60000, PEAT_OS),
    PUT(14, 60000, PEAT_OS),
    PUT(15, 60000, PEAT_OS),
    PUT(16, 60000, PEAT_DISK),
    DELETE(1, PEAT_DISK),
    DELETE(9, PEAT_OS),
    STEP(SNAPSHOT),
    DELETE_RANGE(2, 5),
    STEP(MERGE),
    PUT(17, 60000, PEAT_OS),
    STEP(SNAPSHOT),
    STEP(CLOSE),
    PUT(18, 60000, PEAT_OS),
    DELETE(10, PEAT_DISK),
    STEP(FLUSH),
    STEP(ABORT),
    DELETE(11, PEAT_DISK),
    STEP(MERGE),
    PUT(19, 60000, PEAT_DISK),
    DELETE_RANGE(12, PT_KEY_COUNT),
    STEP(MERGE),
    STEP(CLOSE),
    PUT(20, 100, PEAT_DISK),
};

static const struct {
    const struct pt_step *steps;
    size_t count;
    unsigned flags;
} scripts[] = {
#define SCRIPT(steps_, flags_)                             \
    {                                                      \
        steps_, sizeof(steps_) / sizeof(steps_[0]), flags_ \
    }
    SCRIPT(everything, 0), SCRIPT(everything, PEAT_LOG_PWRITE),
    SCRIPT(growing, 0),    SCRIPT(growing, PEAT_LOG_PWRITE),
    SCRIPT(recovering, 0), SCRIPT(recovering, PEAT_LOG_PWRITE),
    SCRIPT(large, 0),      SCRIPT(recycling, 0),
    SCRIPT(keeping, 0),    SCRIPT(keeping, PEAT_LOG_PWRITE),
    SCRIPT(filling, 0),    SCRIPT(filling, PEAT_LOG_PWRITE),
    SCRIPT(promoting, 0),
};
enum { SCRIPT_COUNT = sizeof(scripts) / sizeof(scripts[0]) };

/* ---- Plans: what fails, and how ---- */

#define CALL(name) (1u << PT_DISK_CALL_##name)
#define SYNCS      (CALL(SYNC) | CALL(SYNC_RANGE) | CALL(SYNC_DIRECTORY) | CALL(WRITE_DURABLE))
#define CHANGES    (SYNCS | CALL(WRITE) | CALL(ALLOCATE) | CALL(TRUNCATE) | CALL(PUNCH))
#define SPACE      (CALL(WRITE) | CALL(WRITE_DURABLE) | CALL(ALLOCATE))
#define OTHERS                                                                        \
    (CALL(OPEN) | CALL(INFO) | CALL(READ) | CALL(MAP) | CALL(POPULATE) | CALL(LOCK) | \
     CALL(UNLOCK) | CALL(LOCK_QUERY))

struct plan {
    const char *name;
    unsigned calls; /* 0: allocations */
    uint64_t count; /* of failures, from the position on */
    int error_number;
    bool harmless; /* nothing may come of it */
    bool fills;    /* instead of failing, the disk is full for so many calls, */
    uint64_t room; /* but for so many bytes */
};

static const struct plan plans[] = {
    {"EIO", CHANGES, 1, EIO, false, false, 0},
    {"EIO for good", CHANGES, UINT64_MAX, EIO, false, false, 0},
    {"EIO of a sync", SYNCS, 1, EIO, false, false, 0},
    {"EIO of a sync for good", SYNCS, UINT64_MAX, EIO, false, false, 0},
    {"EIO elsewhere", OTHERS, 1, EIO, false, false, 0},
    {"EIO elsewhere for good", OTHERS, UINT64_MAX, EIO, false, false, 0},
    {"ENOSPC", SPACE, 1, ENOSPC, false, false, 0},
    {"ENOSPC for good", SPACE, UINT64_MAX, ENOSPC, false, false, 0},
    {"ENOSPC of a sync", SYNCS, 1, ENOSPC, false, false, 0},
    {"EINTR", CHANGES | CALL(READ) | CALL(POPULATE) | CALL(LOCK) | CALL(UNLOCK), 3, EINTR, true,
     false, 0},
    {"a short write", CALL(WRITE) | CALL(WRITE_DURABLE), 1, 0, true, false, 0},
    {"short writes for good", CALL(WRITE) | CALL(WRITE_DURABLE), UINT64_MAX, 0, true, false, 0},
    {"no fallocate", CALL(ALLOCATE) | CALL(PUNCH), UINT64_MAX, EOPNOTSUPP, true, false, 0},
    {"EFAULT of pages", CALL(POPULATE), 1, EFAULT, false, false, 0},
    {"EFAULT of pages for good", CALL(POPULATE), UINT64_MAX, EFAULT, false, false, 0},
    {"ENOMEM of maps", CALL(MAP), 1, ENOMEM, false, false, 0},
    {"ENOLCK", CALL(LOCK) | CALL(UNLOCK) | CALL(LOCK_QUERY), 1, ENOLCK, false, false, 0},
    {"a full disk", SPACE, UINT64_MAX, 0, false, true, 0},
    {"a full disk for a while", SPACE, 30, 0, false, true, 0},
    {"a disk with little room", SPACE, UINT64_MAX, 0, false, true, 5 * 65536},
    {"no memory", 0, 1, 0, false, false, 0},
    {"no memory three times", 0, 3, 0, false, false, 0},
    {"no memory for good", 0, UINT64_MAX, 0, false, false, 0},
};
enum { PLAN_COUNT = sizeof(plans) / sizeof(plans[0]) };

/* One run. */
struct run {
    uint64_t id;
    struct pt_script script;
    const struct plan *plan;
    uint64_t position; /* of what fails first */
    struct pt_step random_steps[RANDOM_STEPS];
};

/* How many positions each plan has in each script; counted by runs in which nothing fails. */
static uint64_t position_counts[SCRIPT_COUNT][PLAN_COUNT];
static uint64_t run_count;              /* their sum; 0: not yet counted */
static uint64_t calls_made[PLAN_COUNT]; /* in the last run, of those that each plan has fail */
static uint64_t allocations_made;

/* ---- Allocations that fail ---- */

static _Atomic uint64_t allocation_count;
static _Atomic uint64_t allocation_faults;
static _Atomic uint64_t allocation_at = UINT64_MAX;
static _Atomic uint64_t allocation_fault_count;

static bool allocation_allowed(size_t size)
{
    uint64_t number = atomic_fetch_add(&allocation_count, 1);
    uint64_t at = atomic_load(&allocation_at);

    (void)size;
    if (number < at || number - at >= atomic_load(&allocation_fault_count))
        return true;
    atomic_fetch_add(&allocation_faults, 1);
    return false;
}

static void faults_start(const struct plan *plan, uint64_t position)
{
    struct pt_disk_fault fault = {.calls = plan->calls,
                                  .at = position,
                                  .count = plan->count,
                                  .error_number = plan->error_number,
                                  .fills = plan->fills,
                                  .room = plan->room};

    pt_disk_set_fault(&fault);
    atomic_store(&allocation_count, 0);
    atomic_store(&allocation_faults, 0);
    atomic_store(&allocation_fault_count, plan->count);
    atomic_store(&allocation_at, plan->calls == 0 ? position : UINT64_MAX);
}

/* Nothing fails any more; how often something has. */
static uint64_t faults_end(void)
{
    uint64_t count = pt_disk_faults() + atomic_load(&allocation_faults);

    for (size_t i = 0; i < PLAN_COUNT; i++)
        calls_made[i] = pt_disk_calls(plans[i].calls);
    allocations_made = atomic_load(&allocation_count);
    pt_disk_set_fault(NULL);
    atomic_store(&allocation_at, UINT64_MAX);
    return count;
}

/* ---- A run ---- */

/* While things fail: what is shown is right, or a call says that it failed. */
static bool steps_do(struct pt_session *session, const struct pt_script *script)
{
    bool right = pt_session_open(session);

    for (size_t i = 0; i < script->count && right; i++) {
        right = pt_session_step(session, &script->steps[i]);
        if (right && i % LOOK_EACH == LOOK_EACH - 1 && session->db != NULL)
            right = pt_session_look(session, i % (2 * LOOK_EACH) == LOOK_EACH - 1);
    }
    return right;
}

/* There is space again: a store goes on by itself. */
static bool widened_do(struct pt_session *session)
{
    const struct pt_step steps[] = {PUT(6, 3000, PEAT_OS), STEP(MERGE), PUT(7, 60000, PEAT_DISK)};
    bool right = true;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && right && !session->unsure; i++)
        right = pt_session_step(session, &steps[i]);
    return right;
}

/* And when nothing fails any more: the store that went through it still shows what is right, and one
 * that is opened afresh shows all that was promised, and goes on. */
static bool aftermath_do(struct pt_session *session, const struct run *run)
{
    const struct pt_step steps[] = {PUT(3, 40, PEAT_DISK), BATCH(200, PEAT_OS), STEP(CLOSE)};
    bool right = true;

    if (session->db != NULL) {
        session->may_fail = false;
        right = pt_session_look(session, !session->broken);
        if (right && run->plan->fills)
            right = widened_do(session);
        session->may_fail = true; /* a store that is broken does not close without a word */
        right = right && pt_session_end(session, run->id % 2 == 0);
    }
    session->may_fail = false;
    right = right && pt_session_open(session) && pt_session_look(session, true);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && right; i++)
        right = pt_session_step(session, &steps[i]);
    return right && pt_session_look(session, false) && pt_session_end(session, true);
}

static bool session_do(const struct run *run, struct pt_session *session, struct pt_trace *trace,
                       uint64_t *faults_out, bool *broken_out)
{
    struct pt_promise none = {.may_gap = run->plan->fills || run->plan->error_number == ENOSPC};
    bool right;

    pt_session_random(run->script.seed);
    pt_session_init(session, run->script.flags);
    session->may_fail = !run->plan->harmless;
    session->full = run->plan->fills;
    session->promise = none;
    session->hasty = true;
    pt_disk_load(NULL, 0);
    pt_trace_begin(trace, NULL, 0, NULL, 0, false, none);
    pt_disk_record(trace);
    pt_alloc_set_hook(allocation_allowed);
    pt_clock_set_speed(CLOCK_SPEED);
    faults_start(run->plan, run->position);
    right = steps_do(session, &run->script);
    *faults_out = faults_end();
    *broken_out = session->broken;
    right = right && aftermath_do(session, run);
    pt_disk_record(NULL);
    if (session->db != NULL)
        pt_session_abandon(session);
    pt_clock_set_speed(1);
    pt_alloc_set_hook(NULL);
    return right;
}

/* ---- What a run may leave behind: nothing ---- */

static size_t fds_open(void)
{
    size_t count = 0;

    for (int fd = 0; fd < FDS_MAX; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static size_t mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    size_t count = 0;
    int character;

    PT_REQUIRE(maps != NULL);
    while ((character = getc(maps)) != EOF)
        count += character == '\n';
    (void)fclose(maps);
    return count;
}

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static bool sanitizer_finds_leaks(uint64_t id)
{
    return id % LEAKS_EACH == 0 && __lsan_do_recoverable_leak_check != NULL &&
           __lsan_do_recoverable_leak_check() != 0;
}

/* ---- Numbers and runs ---- */

uint64_t pt_faults_id(uint64_t number)
{
    uint64_t rest = number;

    for (uint64_t i = 0; i < SCRIPT_COUNT * PLAN_COUNT; i++) {
        uint64_t positions = position_counts[i / PLAN_COUNT][i % PLAN_COUNT];

        if (rest < positions)
            return i << POSITION_BITS | rest;
        rest -= positions;
    }
    return ((uint64_t)SCRIPT_COUNT * PLAN_COUNT << POSITION_BITS) + rest;
}

static void run_describe(uint64_t id, struct run *run)
{
    uint64_t which = id >> POSITION_BITS;
    struct pt_dice dice = {pt_mix(id)};

    run->id = id;
    run->script = (struct pt_script){.name = "faults", .seed = id};
    if (which < SCRIPT_COUNT * PLAN_COUNT) {
        run->script.steps = scripts[which / PLAN_COUNT].steps;
        run->script.count = scripts[which / PLAN_COUNT].count;
        run->script.flags = scripts[which / PLAN_COUNT].flags;
        run->plan = &plans[which % PLAN_COUNT];
        run->position = id & ((1u << POSITION_BITS) - 1);
        return;
    }
    /* Every position has been done: random scripts. */
    for (size_t i = 0; i < RANDOM_STEPS; i++)
        run->random_steps[i] = pt_step_roll(&dice, i % 3 == 0 ? 60000 : 2000);
    run->script.steps = run->random_steps;
    run->script.count = RANDOM_STEPS;
    run->script.flags = pt_dice_one_in(&dice, 3) ? PEAT_LOG_PWRITE : 0;
    run->plan = &plans[pt_dice_below(&dice, PLAN_COUNT)];
    run->position = pt_dice_below(&dice, pt_dice_one_in(&dice, 2) ? 100 : 1500);
}

uint64_t pt_faults_run_count(void)
{
    struct pt_session *session = malloc(sizeof(*session));
    struct pt_trace trace;
    uint64_t faults;
    bool broken;

    PT_REQUIRE(session != NULL);
    pt_trace_init(&trace);
    run_count = 0;
    for (size_t i = 0; i < SCRIPT_COUNT; i++) {
        struct run run = {.script = {.seed = i,
                                     .steps = scripts[i].steps,
                                     .count = scripts[i].count,
                                     .flags = scripts[i].flags},
                          .plan = &plans[0],
                          .position = UINT64_MAX};

        pt_disk_start();
        if (!session_do(&run, session, &trace, &faults, &broken))
            pt_test_fail(__FILE__, __LINE__, "nothing fails, yet: %s", session->finding.words);
        for (size_t k = 0; k < PLAN_COUNT; k++) {
            position_counts[i][k] = plans[k].calls == 0 ? allocations_made : calls_made[k];
            run_count += position_counts[i][k];
        }
        pt_disk_stop();
    }
    pt_trace_fini(&trace);
    free(session);
    return run_count;
}

static void report(struct pt_power_cut *campaign, const struct run *run, const char *words)
{
    atomic_fetch_add(&campaign->counts->failed, 1);
    printf("FAIL faults seed %" PRIu64 ", script %zu, %s at %" PRIu64
           ": %s; repeat: %s --scripts faults --seed %" PRIu64 "\n",
           run->id, run->script.count, run->plan->name, run->position, words, campaign->program,
           run->id);
    (void)fflush(stdout);
}

bool pt_faults_run(struct pt_power_cut *campaign, struct pt_fault_counts *counts, uint64_t id)
{
    static struct pt_session session;
    static struct pt_trace trace; /* it keeps its memory, so that it does not look like a leak */
    uint64_t failed_before = atomic_load(&campaign->counts->failed);
    size_t fds = fds_open();
    size_t maps = mappings();
    uint64_t faults = 0;
    bool broken = false;
    struct run run;

    pt_power_cut_note("faults seed %" PRIu64, id);
    run_describe(id, &run);
    if (!session_do(&run, &session, &trace, &faults, &broken))
        report(campaign, &run, session.finding.words);
    else if (fds_open() != fds)
        report(campaign, &run, "a file stays open");
    else if (mappings() > maps + MAPPINGS_SLACK && !pt_test_is_sanitized()) /* it has its own */
        report(campaign, &run, "mappings stay");
    else if (sanitizer_finds_leaks(id))
        report(campaign, &run, "memory leaks");
    else if (id % CUT_EACH == 0)
        pt_power_cut_trace(campaign, &run.script, &trace, &session.history, CUT_STATES);
    pt_power_cut_note(NULL);
    atomic_fetch_add_explicit(&counts->runs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->hit, faults > 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->broken, broken, memory_order_relaxed);
    return atomic_load(&campaign->counts->failed) == failed_before;
}

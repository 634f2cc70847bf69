#include "tests/power_cut.h"

#include "core/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HANG_S = 60,       /* seconds: no state takes one */
    CLOCK_SPEED = 200, /* what is tried again after a second is tried again after 5 ms */
    NESTED_DEPTH_MAX = 2,
    NESTED_STATES = 3,         /* at a point of a recovery */
    NESTED_SCRIPT_STATES = 20, /* of one recovery */
    STATES_SHARE = 4,          /* of the states that are tried about one in so many is a new one */
    SUPERBLOCKS_SIZE = 8192,
    SHOWN = 40, /* operations printed when a state is repeated */
    FORMAT_MAGIC = 0x74726332
};

/* One recorded trace that is being cut short. */
struct cutting {
    struct pt_power_cut *campaign;
    struct pt_trace *trace;
    const struct pt_commits *history;
    const struct pt_script *script;
    struct pt_crash_disk *disk;
    uint64_t seed;
    unsigned states_max;
    unsigned script_states_max;
    unsigned depth;                     /* 0: of a script; above: of a recovery */
    const struct pt_crash_state *state; /* the one that is being looked at */
};

/* Everything that a state depends on, at the head of a file that keeps a trace. */
struct kept {
    uint64_t magic;
    uint64_t seed;
    uint64_t states_max;
    uint64_t depth;
    uint64_t flags;
    struct pt_commits history;
};

static struct cutting *current; /* for the report when a signal comes */

/* ---- States that were seen ---- */

static void seen_grow(struct pt_power_cut *campaign)
{
    size_t before = campaign->seen_capacity;
    uint64_t *old = campaign->seen;

    campaign->seen_capacity = before == 0 ? 1 << 16 : before * 2;
    campaign->seen = calloc(campaign->seen_capacity, sizeof(*campaign->seen));
    PT_REQUIRE(campaign->seen != NULL);
    for (size_t i = 0; i < before; i++) {
        size_t place = old[i] % campaign->seen_capacity;

        if (old[i] == 0)
            continue;
        while (campaign->seen[place] != 0)
            place = (place + 1) % campaign->seen_capacity;
        campaign->seen[place] = old[i];
    }
    free(old);
}

/* Whether @p hash is new; it is noted. */
static bool seen_add(struct pt_power_cut *campaign, uint64_t hash)
{
    size_t place;

    if (campaign->seen_count * 2 >= campaign->seen_capacity)
        seen_grow(campaign);
    if (hash == 0)
        hash = 1;
    place = hash % campaign->seen_capacity;
    while (campaign->seen[place] != 0) {
        if (campaign->seen[place] == hash)
            return false;
        place = (place + 1) % campaign->seen_capacity;
    }
    campaign->seen[place] = hash;
    campaign->seen_count++;
    return true;
}

/* ---- Failures ---- */

/* Keep @p cutting's trace, so that each of its states can be made again, and this state's image. */
static bool keep(const struct cutting *cutting, const char *path)
{
    struct kept *kept = calloc(1, sizeof(*kept));
    char image_path[600];
    int fd;
    bool written = false;

    if (kept == NULL)
        return false;
    *kept = (struct kept){.magic = FORMAT_MAGIC,
                          .seed = cutting->seed,
                          .states_max = cutting->states_max,
                          .depth = cutting->depth,
                          .flags = cutting->script->flags,
                          .history = *cutting->history};
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        written = pt_pipe_write(fd, kept, sizeof(*kept)) && pt_trace_write(cutting->trace, fd);
        (void)close(fd);
    }
    (void)snprintf(image_path, sizeof(image_path), "%s.image", path);
    fd = open(image_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (cutting->state->bytes != NULL)
            written = pt_pipe_write(fd, cutting->state->bytes, cutting->state->size) && written;
        (void)close(fd);
    }
    free(kept);
    return written;
}

static void report(const struct cutting *cutting, const char *words)
{
    const struct pt_script *script = cutting->script;
    const char *base = getenv("TMPDIR");
    size_t point = pt_crash_disk_point(cutting->disk);
    char path[512];

    atomic_fetch_add(&cutting->campaign->counts->failed, 1);
    (void)snprintf(path, sizeof(path), "%s/peat-power-cut-%s-%" PRIu64 "-%zu-%" PRIu64 ".trace",
                   base == NULL || base[0] == '\0' ? "/tmp" : base, script->name, script->seed,
                   point, cutting->state->number);
    printf("FAIL %s seed %" PRIu64 ", step %zu, state %" PRIu64 "%s: %s; repeat: %s --from %s "
           "--point %zu --state %" PRIu64 "\n",
           script->name, script->seed, point, cutting->state->number,
           cutting->depth > 0 ? " of a recovery" : "", words, cutting->campaign->program,
           keep(cutting, path) ? path : "(not kept)", point, cutting->state->number);
    (void)fflush(stdout);
}

static char noted[200];

void pt_power_cut_note(const char *format, ...)
{
    va_list arguments;

    noted[0] = '\0';
    if (format == NULL)
        return;
    va_start(arguments, format);
    (void)vsnprintf(noted, sizeof(noted), format, arguments);
    va_end(arguments);
}

void pt_power_cut_report_signal(const char *what)
{
    if (noted[0] != '\0')
        printf("FAIL %s: %s\n", noted, what);
    if (current != NULL && current->state != NULL)
        report(current, what);
    else if (noted[0] == '\0')
        printf("FAIL while a script was done: %s\n", what);
    (void)fflush(stdout);
}

/* ---- One state ---- */

static void cut_everywhere(struct cutting *cutting, size_t from);

/* What is done to a store that has come back. */
static bool go_on(struct pt_session *session, uint64_t salt)
{
    struct pt_dice dice = {pt_mix(salt)};
    const struct pt_step steps[] = {
        {.kind = PT_STEP_PUT, .level = PEAT_DISK, .key = 3, .size = 40, .seed = (uint32_t)salt},
        {.kind = PT_STEP_BATCH, .level = PEAT_OS, .size = 200, .seed = (uint32_t)(salt >> 32)},
        pt_step_roll(&dice, 3000),
        {.kind = salt % 3 == 0 ? PT_STEP_CLOSE : PT_STEP_ABORT}};
    bool right = true;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && right; i++)
        right = pt_session_step(session, &steps[i]);
    return right && pt_session_look(session, false) && pt_session_end(session, salt % 5 == 0);
}

/* Cut the recovery that was recorded in @p trace short. */
static void cut_recovery(const struct cutting *above, struct pt_trace *trace,
                         const struct pt_commits *history)
{
    struct cutting cutting = {.campaign = above->campaign,
                              .trace = trace,
                              .history = history,
                              .script = above->script,
                              .seed = pt_mix(above->seed ^ above->state->number),
                              .states_max = NESTED_STATES,
                              .script_states_max = NESTED_SCRIPT_STATES,
                              .depth = above->depth + 1};

    atomic_fetch_add(&above->campaign->counts->recoveries, 1);
    cut_everywhere(&cutting, 0);
    current = NULL;
}

/* The session knows what it must show of the state, and nothing else. */
static void session_begin(const struct cutting *cutting, struct pt_session *session)
{
    const struct pt_crash_state *state = cutting->state;
    uint64_t floor = state->all_written ? state->promise.os : state->promise.durable;

    pt_session_init(session, cutting->script->flags);
    session->history.count = state->promise.issued;
    memcpy(session->history.commits, cutting->history->commits,
           (state->promise.issued + 1) * sizeof(session->history.commits[0]));
    session->promise = (struct pt_promise){floor,
                                           floor,
                                           state->promise.issued,
                                           state->promise.kept,
                                           state->promise.feed,
                                           state->promise.may_gap,
                                           state->promise.may_follow};
    pt_disk_load(state->bytes, state->size);
}

/* How far what a recovery shows hangs on more than one superblock: a revert that nobody was promised is in no
 * record of the log, so it may go, as a kept state may, while that superblock is written anew. */
static uint64_t owed_while_recovering(const struct pt_session *session, uint64_t floor)
{
    for (uint64_t commit = floor + 1; commit <= session->promise.durable; commit++)
        if (session->history.commits[commit].kind == PT_STEP_REVERT)
            return commit - 1;
    return session->promise.durable;
}

/* Open what is left, look, go on. *trace (may be NULL) records it, from a base of which all but the
 * promise is set. */
static bool state_verify(const struct cutting *cutting, struct pt_session *session,
                         struct pt_trace *trace)
{
    const struct pt_crash_state *state = cutting->state;
    uint64_t floor;
    bool right;

    session_begin(cutting, session);
    floor = session->promise.durable;
    if (trace != NULL)
        pt_disk_record(trace);
    right = pt_session_open(session);
    if (trace != NULL) { /* what the recovery shows is what it must show again, cut short or not */
        trace->base.promise = session->promise;
        trace->base.promise.durable = trace->base.promise.os =
            owed_while_recovering(session, floor);
        /* But a kept state that nobody was promised, and that one superblock alone leads to, may go while
         * that is written anew; it is promised once open has returned (adopt()). */
        trace->base.promise.kept = state->promise.kept;
        if (state->all_written) /* and what only the page cache holds the power may still take */
            trace->base.promise.durable = state->promise.durable;
    }
    right = right && pt_session_look(session, true);
    if (right && pt_mix(state->hash) % cutting->campaign->go_on_one_in == 0)
        right = go_on(session, state->hash);
    else if (right)
        right = pt_session_end(session, false);
    pt_disk_record(NULL);
    if (!right && session->db != NULL)
        pt_session_abandon(session);
    return right;
}

/* The death of the process just after it wrote a superblock is what recovery must beware of most: what
 * rules is not on disk yet. */
static bool superblock_written(const struct cutting *cutting)
{
    size_t point = pt_crash_disk_point(cutting->disk);
    const struct pt_disk_op *op = &cutting->trace->ops[point - 1];

    return cutting->state->all_written && op->kind == PT_DISK_WRITE &&
           op->offset < SUPERBLOCKS_SIZE;
}

static bool nested_wanted(const struct cutting *cutting)
{
    unsigned chance = cutting->campaign->nested_one_in;

    if (superblock_written(cutting))
        chance = (chance + 15) / 16;
    return chance != 0 && cutting->depth + 1 < NESTED_DEPTH_MAX &&
           pt_mix(cutting->state->hash ^ cutting->seed) % chance == 0;
}

static bool faulty_wanted(const struct cutting *cutting)
{
    unsigned chance = cutting->campaign->faulty_one_in;

    return chance != 0 && cutting->depth + 1 < NESTED_DEPTH_MAX &&
           pt_mix(cutting->state->hash + cutting->seed) % chance == 0;
}

/* The base of a recovery: all of the state is on disk; or, if only the process died, what is not yet there
 * is still in the page cache. */
static void recovery_begin(const struct cutting *cutting, struct pt_trace *trace)
{
    const struct pt_crash_state *state = cutting->state;
    uint64_t size = state->bytes == NULL ? 0 : state->size;
    struct pt_promise none = {.issued = 0};
    uint64_t settled_size;
    uint8_t *settled;
    bool named;

    if (!state->all_written) {
        pt_trace_begin(trace, state->bytes, size, state->bytes, size, state->bytes != NULL, none);
        return;
    }
    settled = pt_crash_disk_settled(cutting->disk, &settled_size, &named);
    pt_trace_begin(trace, settled, settled_size, state->bytes, size, named, none);
    free(settled);
}

/* Some call fails, once or from then on. */
static struct pt_disk_fault fault_roll(uint64_t seed)
{
    static const int errors[] = {EIO, EIO, ENOSPC, 0};
    struct pt_dice dice = {seed};
    struct pt_disk_fault fault = {.at = pt_dice_below(&dice, pt_dice_one_in(&dice, 2) ? 20 : 100),
                                  .count = pt_dice_one_in(&dice, 2) ? 1 : UINT64_MAX,
                                  .error_number = errors[pt_dice_below(&dice, 4)]};

    fault.calls = fault.error_number != 0
                      ? (1u << PT_DISK_CALL_COUNT) - 1 - (1u << PT_DISK_CALL_LOCK_QUERY)
                      : 1u << PT_DISK_CALL_WRITE | 1u << PT_DISK_CALL_WRITE_DURABLE;
    if (fault.error_number == ENOSPC)
        fault.calls = 1u << PT_DISK_CALL_WRITE | 1u << PT_DISK_CALL_WRITE_DURABLE |
                      1u << PT_DISK_CALL_ALLOCATE | 1u << PT_DISK_CALL_SYNC;
    return fault;
}

/* Recover the state while calls fail; then the power goes. What was promised before is owed after it. */
static void recover_with_faults(struct cutting *cutting)
{
    const struct pt_crash_state *state = cutting->state;
    struct pt_disk_fault fault = fault_roll(state->hash ^ cutting->seed);
    struct pt_session *session = malloc(sizeof(*session));
    struct pt_trace trace;
    bool right;

    PT_REQUIRE(session != NULL);
    pt_trace_init(&trace);
    recovery_begin(cutting, &trace);
    session_begin(cutting, session);
    session->may_fail = true;
    session->hasty = true;
    trace.base.promise = session->promise;
    if (state->all_written)
        trace.base.promise.durable = state->promise.durable;
    pt_disk_record(&trace);
    pt_clock_set_speed(CLOCK_SPEED);
    pt_disk_set_fault(&fault);
    right = pt_session_open(session) && (session->db == NULL || pt_session_look(session, false));
    if (session->db != NULL)
        pt_session_abandon(session);
    if (pt_disk_faults() > 0)
        atomic_fetch_add(&cutting->campaign->counts->faulty, 1);
    pt_disk_set_fault(NULL);
    pt_clock_set_speed(1);
    pt_disk_record(NULL);
    if (right)
        cut_recovery(cutting, &trace, &session->history);
    else
        report(cutting, session->finding.words);
    current = cutting;
    pt_trace_fini(&trace);
    free(session);
}

static void state_visit(void *context, const struct pt_crash_state *state)
{
    struct cutting *cutting = context;
    struct pt_session *session = malloc(sizeof(*session));
    struct pt_trace trace;
    bool nested;

    PT_REQUIRE(session != NULL);
    pt_trace_init(&trace);
    cutting->state = state;
    current = cutting;
    nested = nested_wanted(cutting);
    if (nested)
        recovery_begin(cutting, &trace);
    (void)alarm(HANG_S);
    if (faulty_wanted(cutting))
        recover_with_faults(cutting);
    if (!state_verify(cutting, session, nested ? &trace : NULL))
        report(cutting, session->finding.words);
    else if (nested)
        cut_recovery(cutting, &trace, &session->history);
    current = cutting;
    cutting->state = NULL;
    atomic_fetch_add_explicit(&cutting->campaign->counts->states, 1, memory_order_relaxed);
    pt_trace_fini(&trace);
    free(session);
}

/* A state is new if its bytes are, or what they must show is. */
static bool state_wanted(void *context, const struct pt_crash_state *state)
{
    struct cutting *cutting = context;
    uint64_t floor = state->all_written ? state->promise.os : state->promise.durable;
    uint64_t history = pt_commits_hash(cutting->history, state->promise.issued);

    return seen_add(cutting->campaign,
                    state->hash ^ pt_mix(history ^ pt_mix(floor ^ state->promise.kept << 32 ^
                                                          (uint64_t)state->promise.feed << 60)));
}

/* Whether the power is cut at this point: of scripts with many a share is left out. */
static bool point_wanted(const struct cutting *cutting, size_t from)
{
    size_t point = pt_crash_disk_point(cutting->disk);
    uint64_t count = cutting->trace->op_count - from;
    uint64_t tries = count * cutting->states_max / STATES_SHARE;

    if (point < from || cutting->trace->ops[point - 1].kind == PT_DISK_PROMISE)
        return false;
    return cutting->script_states_max == 0 || tries <= cutting->script_states_max ||
           pt_mix(cutting->seed + point) % tries < cutting->script_states_max;
}

static bool goes_on(const struct pt_power_cut *campaign)
{
    return pt_test_now_us() < campaign->end_us &&
           atomic_load(&campaign->counts->failed) < campaign->failures_max;
}

/* Cut the power after each operation from number @p from on. */
static void cut_everywhere(struct cutting *cutting, size_t from)
{
    struct pt_power_cut *campaign = cutting->campaign;

    cutting->disk = pt_crash_disk_new(cutting->trace);
    while (pt_crash_disk_step(cutting->disk) && goes_on(campaign)) {
        if (!point_wanted(cutting, from))
            continue;
        atomic_fetch_add_explicit(&campaign->counts->points, 1, memory_order_relaxed);
        pt_crash_disk_states(cutting->disk, cutting->seed, cutting->states_max, state_wanted,
                             state_visit, cutting);
    }
    pt_crash_disk_free(cutting->disk);
    cutting->disk = NULL;
}

/* ---- A script ---- */

/* Do the script, recorded. *from_out: the operation with which its steps that count begin. */
static bool script_record(const struct pt_script *script, struct pt_session *session,
                          struct pt_trace *trace, size_t *from_out)
{
    struct pt_promise none = {.issued = 0};
    bool right;

    pt_session_random(script->seed);
    pt_session_init(session, script->flags);
    session->loose = script->loose;
    pt_disk_load(NULL, 0);
    pt_trace_begin(trace, NULL, 0, NULL, 0, false, none);
    pt_disk_record(trace);
    right = pt_session_open(session);
    *from_out = 0;
    for (size_t i = 0; i < script->count && right; i++) {
        if (i == script->skipped)
            *from_out = trace->op_count;
        right = pt_session_step(session, &script->steps[i]);
    }
    right = right && pt_session_look(session, true) && pt_session_end(session, true);
    pt_disk_record(NULL);
    if (!right && session->db != NULL)
        pt_session_abandon(session);
    return right;
}

void pt_power_cut_script(struct pt_power_cut *campaign, const struct pt_script *script)
{
    struct pt_session *session = malloc(sizeof(*session));
    struct pt_trace trace;
    struct cutting cutting = {.campaign = campaign,
                              .trace = &trace,
                              .script = script,
                              .seed = script->seed,
                              .states_max = campaign->states_max,
                              .script_states_max = campaign->script_states_max};
    unsigned before; /* seconds left of the program's own alarm */
    size_t from;

    PT_REQUIRE(session != NULL);
    pt_trace_init(&trace);
    before = alarm(HANG_S);
    if (script_record(script, session, &trace, &from)) {
        cutting.history = &session->history;
        cut_everywhere(&cutting, from);
    } else {
        atomic_fetch_add(&campaign->counts->failed, 1);
        printf("FAIL %s seed %" PRIu64 ": %s; repeat: %s --scripts %s --seed %" PRIu64 "\n",
               script->name, script->seed, session->finding.words, campaign->program, script->name,
               script->seed);
    }
    current = NULL;
    (void)alarm(before);
    atomic_fetch_add_explicit(&campaign->counts->scripts, 1, memory_order_relaxed);
    pt_trace_fini(&trace);
    free(session);
}

void pt_power_cut_trace(struct pt_power_cut *campaign, const struct pt_script *script,
                        struct pt_trace *trace, const struct pt_commits *history,
                        unsigned states_max)
{
    struct cutting cutting = {.campaign = campaign,
                              .trace = trace,
                              .history = history,
                              .script = script,
                              .seed = script->seed,
                              .states_max = 2,
                              .script_states_max = states_max};
    unsigned before = alarm(HANG_S);

    cut_everywhere(&cutting, 0);
    current = NULL;
    (void)alarm(before);
}

/* ---- The campaign as a whole, and repeating ---- */

void pt_power_cut_init(struct pt_power_cut *campaign, struct pt_power_cut_counts *counts)
{
    *campaign = (struct pt_power_cut){.states_max = 8,
                                      .script_states_max = 100,
                                      .nested_one_in = 100,
                                      .faulty_one_in = 150,
                                      .go_on_one_in = 1,
                                      .failures_max = 10,
                                      .end_us = UINT64_MAX,
                                      .program = "peat-torture-tests",
                                      .counts = counts};
}

void pt_power_cut_fini(struct pt_power_cut *campaign)
{
    free(campaign->seen);
    campaign->seen = NULL;
}

/* The one state that is to be repeated. */
struct repeating {
    struct cutting cutting;
    uint64_t state;
    bool found;
};

static bool repeated_wanted(void *context, const struct pt_crash_state *state)
{
    const struct repeating *repeating = context;

    return state->number == repeating->state;
}

/* The operations before the cut, for who looks for the reason. */
static void operations_print(const struct pt_trace *trace, size_t point)
{
    static const char *const names[] = {"write",      "zero",           "size",      "sync",
                                        "sync range", "sync directory", "sync lost", "promise"};

    for (size_t i = point < SHOWN ? 0 : point - SHOWN; i < point; i++) {
        const struct pt_disk_op *op = &trace->ops[i];

        if (op->kind == PT_DISK_PROMISE)
            printf("%6zu promise: durable %" PRIu64 ", os %" PRIu64 ", issued %" PRIu64
                   ", kept %" PRIu64 "\n",
                   i, op->promise.durable, op->promise.os, op->promise.issued, op->promise.kept);
        else
            printf("%6zu %-14s %#10" PRIx64 " + %#" PRIx64 "\n", i, names[op->kind], op->offset,
                   op->size);
    }
}

static void repeated_visit(void *context, const struct pt_crash_state *state)
{
    struct repeating *repeating = context;

    operations_print(repeating->cutting.trace, pt_crash_disk_point(repeating->cutting.disk));
    printf("the state: %" PRIu64 " bytes%s; of ", state->size,
           state->bytes == NULL ? ", no file"
           : state->all_written ? ", all written"
                                : "");
    pt_crash_disk_print(repeating->cutting.disk);

    repeating->found = true;
    state_visit(&repeating->cutting, state);
}

bool pt_power_cut_repeat(struct pt_power_cut *campaign, const char *path, uint64_t point,
                         uint64_t state)
{
    struct kept *kept = calloc(1, sizeof(*kept));
    struct pt_trace trace;
    struct pt_script script = {.name = "repeated"};
    struct repeating repeating = {.state = state};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    pt_trace_init(&trace);
    PT_REQUIRE(kept != NULL && fd >= 0);
    PT_REQUIRE(pt_pipe_read(fd, kept, sizeof(*kept)) && kept->magic == FORMAT_MAGIC);
    PT_REQUIRE(pt_trace_read(&trace, fd) && close(fd) == 0);
    script.flags = (unsigned)kept->flags;
    script.seed = kept->seed;
    repeating.cutting = (struct cutting){.campaign = campaign,
                                         .trace = &trace,
                                         .history = &kept->history,
                                         .script = &script,
                                         .disk = pt_crash_disk_new(&trace),
                                         .seed = kept->seed,
                                         .states_max = (unsigned)kept->states_max,
                                         .depth = (unsigned)kept->depth};
    while (pt_crash_disk_point(repeating.cutting.disk) < point)
        PT_REQUIRE(pt_crash_disk_step(repeating.cutting.disk));
    pt_session_random(kept->seed ^ 1);
    pt_crash_disk_states(repeating.cutting.disk, kept->seed, repeating.cutting.states_max,
                         repeated_wanted, repeated_visit, &repeating);
    PT_REQUIRE(repeating.found);
    pt_crash_disk_free(repeating.cutting.disk);
    pt_trace_fini(&trace);
    free(kept);
    return atomic_load(&campaign->counts->failed) == 0;
}

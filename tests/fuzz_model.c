/*
 * Target: what is done to a store. The bytes are steps: commits, maintenance, kept states and reverts,
 * walks, reopening, calls that fail, the death of the process, and power cuts; after each, the store on the
 * simulated disk must show what the model does.
 */
#include "core/base/clock.h"
#include "tests/crash_disk.h"
#include "tests/fuzz.h"
#include "tests/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEP_SIZE = 6, /* bytes of an input */
    STEPS_MAX = 60,
    NAMES = 3,
    VALUE_UNIT = 40,   /* bytes: values are up to 255 times as large */
    CLOCK_SPEED = 200, /* what is tried again after a second is tried again after 5 ms */
    CRASH_STATES = 40,
    WALK_MOVES = 24
};

/* Steps beyond those of script.h. */
enum {
    STEP_FORGET = PT_STEP_KIND_COUNT, /* a kept state */
    STEP_LOOK_AT_KEPT,
    STEP_WALK,
    STEP_POWER_CUT,
    STEP_FAULT,
    STEP_CHECK,
    STEP_COUNT
};

/* A state under a name. */
struct kept {
    bool present;
    bool unsure; /* whether it is there or not: a call failed */
    uint64_t commit;
};

/* One input's work. */
struct work {
    struct pt_session session;
    struct pt_trace trace;
    struct kept kept[NAMES];
};

static void require(const struct work *work, bool right)
{
    if (!right)
        pt_test_fail(__FILE__, __LINE__, "%s", work->session.finding.words);
}

/* ---- Kept states ---- */

/* Number 0 of script.h is the session's. */
static const char *kept_name(unsigned number, char room[PT_STEP_NAME_SIZE])
{
    return pt_step_name_kept(number + 1, room);
}

static bool certain(const struct work *work)
{
    return work->session.db != NULL && !work->session.unsure && !work->session.broken;
}

/* A call that may fail did, but not for damage. */
static void require_may_fail(const struct work *work, enum peat_status status)
{
    if (!work->session.may_fail || status >= 0 || status == PEAT_CORRUPT)
        PT_REQUIRE_STATUS(status, PEAT_OK);
}

static void persist(struct work *work, unsigned number)
{
    struct kept *kept = &work->kept[number];
    struct pt_promise *promise = &work->session.promise;
    char name[PT_STEP_NAME_SIZE];
    enum peat_status status;

    if (!certain(work))
        return;
    status = peat_snapshot_persist(work->session.db, kept_name(number, name), NULL);
    if (status == PEAT_EXISTS) {
        PT_REQUIRE(kept->present || kept->unsure);
    } else if (status == PEAT_OK) {
        PT_REQUIRE(!kept->present || kept->unsure);
        *kept = (struct kept){.present = true, .commit = work->session.history.count};
        promise->durable = promise->os = kept->commit;
    } else {
        require_may_fail(work, status);
        if (!kept->present)
            *kept = (struct kept){.unsure = true, .commit = work->session.history.count};
    }
}

static void forget(struct work *work, unsigned number)
{
    struct kept *kept = &work->kept[number];
    char name[PT_STEP_NAME_SIZE];
    enum peat_status status;

    if (!certain(work) || kept->unsure)
        return;
    status = peat_history_drop(work->session.db, kept_name(number, name), 0);
    if (status == PEAT_OK || status == PEAT_NOT_FOUND) {
        PT_REQUIRE(kept->present == (status == PEAT_OK));
        kept->present = false;
    } else {
        require_may_fail(work, status);
        kept->unsure = true;
    }
}

static void kept_look(struct work *work, unsigned number)
{
    const struct kept *kept = &work->kept[number];
    struct pt_session *session = &work->session;
    struct peat_snapshot *snapshot;
    struct pt_model model;
    char name[PT_STEP_NAME_SIZE];
    enum peat_status status;

    if (session->db == NULL || kept->unsure)
        return;
    status = peat_history_open(session->db, kept_name(number, name), 0, &snapshot);
    if (status == PEAT_NOT_FOUND) {
        PT_REQUIRE(!kept->present);
        return;
    }
    if (status != PEAT_OK) {
        require_may_fail(work, status);
        return;
    }
    PT_REQUIRE(kept->present && peat_snapshot_commit(snapshot) == kept->commit);
    pt_commits_model(&session->history, kept->commit, &model);
    if (!pt_model_shown(&model, snapshot, NULL, &session->finding) &&
        (session->finding.status == PEAT_OK || !session->may_fail))
        require(work, false);
    peat_snapshot_close(snapshot);
}

static bool entry_note(void *context, const struct peat_history_entry *entry)
{
    struct kept *listed = context;
    unsigned number;

    if (sscanf(entry->name, "kept-%u", &number) == 1) {
        PT_REQUIRE(number > 0 && number <= NAMES && !listed[number - 1].present);
        listed[number - 1] = (struct kept){.present = true, .commit = entry->commit};
    }
    return true;
}

/* After opening: what is kept for certain is there, and nothing else but what may be. */
static void kept_settle(struct work *work)
{
    struct kept listed[NAMES] = {{0}};
    enum peat_status status = peat_history_list(work->session.db, entry_note, listed);

    if (status != PEAT_OK) {
        require_may_fail(work, status);
        return;
    }
    for (size_t i = 0; i < NAMES; i++) {
        const struct kept *kept = &work->kept[i];

        if (!kept->unsure)
            PT_REQUIRE(listed[i].present == kept->present);
        if (listed[i].present)
            PT_REQUIRE(listed[i].commit == kept->commit);
        listed[i].commit = kept->commit;
        work->kept[i] = listed[i];
    }
}

/* Whether it could be done, and the store must be opened again if not. */
static bool revert(struct work *work, unsigned number)
{
    const struct kept *kept = &work->kept[number];
    struct pt_step step = {.kind = PT_STEP_REVERT,
                           .level = PEAT_DISK,
                           .key = (uint8_t)(number + 1),
                           .seed = (uint32_t)kept->commit};

    if (!certain(work) || kept->unsure || !kept->present)
        return true;
    require(work, pt_session_step(&work->session, &step));
    return certain(work);
}

/* ---- Opening, and what ends it ---- */

static void reopen(struct work *work)
{
    require(work, pt_session_open(&work->session));
    if (work->session.db != NULL)
        kept_settle(work);
}

static void faults_end(struct work *work)
{
    pt_disk_set_fault(NULL);
    work->session.may_fail = false;
}

/* The process dies, and nothing fails any more. */
static void die(struct work *work)
{
    if (work->session.db != NULL)
        require(work, pt_session_end(&work->session, false));
    faults_end(work);
    reopen(work);
}

/* One state of the disk after a power cut. */
struct cut {
    uint64_t wanted; /* number */
    uint8_t *bytes;  /* owned; NULL: there is no file */
    uint64_t size;
    bool found;
    bool all_written;
};

static bool state_wanted(void *context, const struct pt_crash_state *state)
{
    const struct cut *cut = context;

    return !cut->found && state->number >= cut->wanted;
}

static void state_take(void *context, const struct pt_crash_state *state)
{
    struct cut *cut = context;

    cut->found = true;
    cut->all_written = state->all_written;
    cut->size = state->bytes == NULL ? 0 : state->size;
    if (state->bytes == NULL)
        return;
    cut->bytes = malloc(cut->size + 1);
    PT_REQUIRE(cut->bytes != NULL);
    memcpy(cut->bytes, state->bytes, cut->size);
}

static void trace_begin(struct work *work, const uint8_t *bytes, uint64_t size)
{
    struct pt_promise none = {.durable = 0};

    pt_trace_begin(&work->trace, bytes, size, bytes, size, bytes != NULL, none);
    pt_disk_record(&work->trace);
}

static void power_cut(struct work *work, uint64_t seed)
{
    struct pt_session *session = &work->session;
    struct pt_promise *promise = &session->promise;
    struct cut cut = {.wanted = seed % CRASH_STATES};
    struct pt_crash_disk *disk;

    /* Its threads may write until it has ended: if there are fewer states, the trace goes on from there. */
    if (session->db != NULL)
        require(work, pt_session_end(session, false));
    pt_disk_record(NULL);
    faults_end(work);
    disk = pt_crash_disk_new(&work->trace);
    while (pt_crash_disk_step(disk))
        ;
    pt_crash_disk_states(disk, seed, CRASH_STATES, state_wanted, state_take, &cut);
    pt_crash_disk_free(disk);
    if (cut.found) { /* else there are fewer: the process died */
        promise->os = cut.all_written ? promise->os : promise->durable;
        promise->durable = promise->os;
        pt_disk_load(cut.bytes, cut.size);
        trace_begin(work, cut.bytes, cut.size);
        free(cut.bytes);
    } else {
        pt_disk_record(&work->trace);
    }
    reopen(work);
}

static void faults_start(struct work *work, const struct pt_step *step)
{
    static const int errors[] = {EIO, ENOSPC, ENOMEM, EINTR, 0};
    struct pt_disk_fault fault = {.calls = step->seed % ((1u << PT_DISK_CALL_COUNT) - 1) + 1,
                                  .at = step->key,
                                  .count = step->level == PEAT_DISK ? UINT64_MAX : step->level,
                                  .error_number =
                                      errors[step->size % (sizeof(errors) / sizeof(errors[0]))]};

    if (fault.error_number == EINTR) /* as often as a signal comes, not for ever */
        fault.count = 2;
    work->session.may_fail = true;
    pt_disk_set_fault(&fault);
}

/* ---- Walks ---- */

/* The number of the first present key from @p number on in a direction; PT_KEY_COUNT: none. */
static unsigned present_from(const struct pt_model *model, unsigned number, bool forward)
{
    while (number < PT_KEY_COUNT && !model->entries[0][number].present)
        number += forward ? 1u : -1u; /* wraps below 0 to above PT_KEY_COUNT */
    return number < PT_KEY_COUNT ? number : PT_KEY_COUNT;
}

/* Move an iterator of the root about, beside the model. */
static void walk(struct work *work, uint64_t seed)
{
    struct pt_session *session = &work->session;
    struct peat_snapshot *snapshot = NULL;
    struct peat_iterator *iterator = NULL;
    struct pt_dice dice = {seed};
    struct pt_model model;
    enum peat_status status = peat_snapshot_open(session->db, &snapshot);

    if (status == PEAT_OK)
        status = peat_iterator_open(snapshot, NULL, NULL, &iterator);
    if (status == PEAT_OK)
        pt_commits_model(&session->history, peat_snapshot_commit(snapshot), &model);
    for (unsigned i = 0, at = PT_KEY_COUNT; i < WALK_MOVES && status >= 0; i++) {
        uint64_t roll = pt_dice_below(&dice, 6);
        unsigned key = (unsigned)pt_dice_below(&dice, PT_KEY_COUNT);

        if (at == PT_KEY_COUNT && roll > 3)
            roll -= 2;
        if (roll == 0 || roll == 1) {
            at = present_from(&model, roll == 0 ? 0 : PT_KEY_COUNT - 1, roll == 0);
            status = roll == 0 ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
        } else if (roll == 2 || roll == 3) {
            at = present_from(&model, key, roll == 2);
            status = roll == 2 ? peat_iterator_seek(iterator, pt_step_key(key))
                               : peat_iterator_seek_before(iterator, pt_step_key(key));
        } else {
            at = present_from(&model, roll == 4 ? at + 1 : at - 1u, roll == 4);
            status = roll == 4 ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
        }
        if (status >= 0)
            PT_REQUIRE((status == PEAT_OK) == (at < PT_KEY_COUNT));
        if (status == PEAT_OK)
            PT_REQUIRE(pt_same(peat_iterator_key(iterator), pt_step_key(at)) &&
                       pt_value_matches(model.entries[0][at].seed, peat_iterator_value(iterator)));
    }
    if (status < 0)
        require_may_fail(work, status);
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
}

/* ---- Steps ---- */

static struct pt_step step_decode(struct pt_fuzz_input *input)
{
    struct pt_step step = {.kind = (uint8_t)(pt_fuzz_byte(input) % STEP_COUNT)};
    uint8_t bits = pt_fuzz_byte(input);

    step.level = (uint8_t)(PEAT_MEMORY + bits % 3);
    step.nested = (bits & 0x80) != 0;
    step.key = pt_fuzz_byte(input) % PT_KEY_COUNT;
    step.key_high = (uint8_t)(step.key + 1 + pt_fuzz_byte(input) % (PT_KEY_COUNT - step.key));
    step.size = VALUE_UNIT * (uint32_t)pt_fuzz_byte(input);
    step.seed = (uint32_t)pt_mix(pt_fuzz_number(input, 1));
    return step;
}

static void step_do(struct work *work, const struct pt_step *step)
{
    struct pt_session *session = &work->session;

    if (session->db == NULL) { /* an earlier open failed */
        reopen(work);
        return;
    }
    switch (step->kind) {
    case PT_STEP_REVERT:
        if (!revert(work, step->key % NAMES))
            die(work);
        break;
    case PT_STEP_PERSIST:
        persist(work, step->key % NAMES);
        break;
    case STEP_FORGET:
        forget(work, step->key % NAMES);
        break;
    case STEP_LOOK_AT_KEPT:
        kept_look(work, step->key % NAMES);
        break;
    case STEP_WALK:
        if (certain(work))
            walk(work, step->seed);
        break;
    case STEP_POWER_CUT:
        power_cut(work, step->seed);
        break;
    case STEP_FAULT:
        faults_start(work, step);
        break;
    case STEP_CHECK:
        require(work, pt_session_look(session, true));
        break;
    case PT_STEP_CLOSE:
    case PT_STEP_ABORT:
        require(work, pt_session_end(session, step->kind == PT_STEP_CLOSE));
        reopen(work);
        break;
    default:
        require(work, pt_session_step(session, step));
        break;
    }
}

/* Nothing fails any more: the store shows what it must, also once it was closed. */
static void finish(struct work *work)
{
    die(work);
    for (unsigned i = 0; i < NAMES; i++)
        kept_look(work, i);
    require(work, pt_session_look(&work->session, true));
    require(work, pt_session_end(&work->session, true));
    reopen(work);
    require(work, pt_session_look(&work->session, true));
    require(work, pt_session_end(&work->session, true));
}

static void run(const uint8_t *data, size_t size)
{
    struct pt_fuzz_input input = {data, size};
    struct work *work = calloc(1, sizeof(*work));
    uint8_t flags = pt_fuzz_byte(&input);

    PT_REQUIRE(work != NULL);
    pt_session_random(flags);
    pt_session_init(&work->session, (flags & 1) != 0 ? PEAT_LOG_PWRITE : 0);
    work->session.hasty = true;
    pt_trace_init(&work->trace);
    pt_disk_start();
    pt_disk_load(NULL, 0);
    trace_begin(work, NULL, 0);
    pt_clock_set_speed(CLOCK_SPEED);
    reopen(work);
    for (unsigned i = 0; i < STEPS_MAX && input.size > 0; i++) {
        struct pt_step step = step_decode(&input);

        pt_test_context("step %u, kind %u", i, (unsigned)step.kind);
        step_do(work, &step);
    }
    finish(work);
    pt_clock_set_speed(1);
    pt_disk_stop();
    pt_trace_fini(&work->trace);
    free(work);
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    static const uint8_t kinds[] = {
        PT_STEP_PUT,    PT_STEP_CREATE, PT_STEP_PERSIST,   PT_STEP_BATCH,  PT_STEP_FLUSH,
        STEP_POWER_CUT, PT_STEP_DELETE, STEP_LOOK_AT_KEPT, PT_STEP_REVERT, STEP_WALK,
        STEP_FAULT,     PT_STEP_PUT,    PT_STEP_SYNC,      PT_STEP_CLOSE,  PT_STEP_DELETE_RANGE,
        PT_STEP_MERGE,  PT_STEP_DROP,   PT_STEP_SNAPSHOT,  PT_STEP_ABORT,  STEP_CHECK};

    for (uint8_t i = 0; i < 3; i++) {
        uint8_t bytes[1 + sizeof(kinds) * STEP_SIZE];

        pt_value_fill(i, bytes, sizeof(bytes));
        for (size_t k = 0; k < sizeof(kinds); k++)
            bytes[1 + k * STEP_SIZE] = kinds[k * (1 + 2 * (size_t)i) % sizeof(kinds)];
        give(context, bytes, sizeof(bytes));
    }
}

const struct pt_fuzz_target pt_fuzz_model = {
    .name = "model",
    .sentence = "whatever is done to a store, it shows what the model does",
    .size_max = 1 + STEPS_MAX * STEP_SIZE,
    .run = run,
    .seeds = seeds};

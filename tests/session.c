#include "tests/session.h"

#include "core/base/clock.h"
#include "core/db/db.h"
#include "tests/feed_look.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { IDLE_TIMEOUT_MS = 60000 };

/* ---- Random bytes that are the same each time ---- */

static _Atomic uint64_t random_state;

static const char *random_name(void)
{
    return "seeded";
}

static uint32_t random_number(void)
{
    return (uint32_t)pt_mix(atomic_fetch_add(&random_state, 1));
}

static void random_fill(void *bytes, size_t size)
{
    pt_value_fill(atomic_fetch_add(&random_state, 1), bytes, size);
}

void pt_session_random(uint64_t seed)
{
    static struct randombytes_implementation seeded = {
        .implementation_name = random_name, .random = random_number, .buf = random_fill};

    atomic_store(&random_state, pt_mix(seed));
    PT_REQUIRE(randombytes_set_implementation(&seeded) == 0);
}

/* ---- Findings ---- */

static bool found(struct pt_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool found(struct pt_session *session, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(session->finding.words, sizeof(session->finding.words), format, arguments);
    va_end(arguments);
    session->finding.status = PEAT_OK;
    return false;
}

/* A call gave a status that is an error: a finding, unless calls may fail. They may not find damage. */
static bool failed(struct pt_session *session, const char *what, enum peat_status status)
{
    if (session->may_fail && status < 0 && status != PEAT_CORRUPT &&
        (!session->full || (status == PEAT_NO_SPACE && !session->broken)))
        return true;
    return found(session, "%s gives %s: %s", what, peat_status_name(status), peat_last_error());
}

/* ---- Opening and closing ---- */

void pt_session_init(struct pt_session *session, unsigned flags)
{
    memset(session, 0, sizeof(*session));
    session->flags = flags;
}

static void promise(struct pt_session *session, uint64_t durable, uint64_t os)
{
    struct pt_promise *now = &session->promise;

    if (durable > now->durable)
        now->durable = durable;
    if (os < durable)
        os = durable;
    if (os > now->os)
        now->os = os;
    now->issued = session->history.count;
    pt_disk_promise(*now);
}

/* The kept state is there, if it must be, and shows what was committed up to its commit. *kept_out: that
 * commit; 0: there is none; what is promised, where it cannot be opened. */
static bool kept_look(struct pt_session *session, uint64_t *kept_out)
{
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_history_open(session->db, PT_STEP_KEPT, 0, &snapshot);
    struct pt_model model;
    uint64_t commit;
    bool shown;

    *kept_out = 0;
    if (status == PEAT_NOT_FOUND)
        return session->promise.kept == 0 || found(session, "the kept state is gone");
    if (status != PEAT_OK) {
        *kept_out = session->promise.kept;
        return failed(session, "opening the kept state", status);
    }
    commit = peat_snapshot_commit(snapshot);
    if (commit > session->history.count ||
        (session->promise.kept != 0 && commit != session->promise.kept)) {
        peat_snapshot_close(snapshot);
        return found(session, "the kept state is of commit %" PRIu64 ", not %" PRIu64, commit,
                     session->promise.kept);
    }
    pt_commits_model(&session->history, commit, &model);
    shown = pt_model_shown(&model, snapshot, NULL, &session->finding);
    peat_snapshot_close(snapshot);
    *kept_out = commit;
    if (!shown && session->finding.status != PEAT_OK)
        return failed(session, "a look at the kept state", session->finding.status);
    return shown;
}

/* What is shown after opening is a part of the history, and durable; and so is what is kept. */
static bool adopt(struct pt_session *session)
{
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_snapshot_open(session->db, &snapshot);
    uint64_t shown;
    uint64_t kept;

    if (status != PEAT_OK) {
        pt_session_abandon(session); /* what it shows is not known */
        return failed(session, "snapshot", status);
    }
    shown = peat_snapshot_commit(snapshot);
    peat_snapshot_close(snapshot);
    if (shown < session->promise.os || shown > session->history.count)
        return found(session, "commit %" PRIu64 " is shown, not one from %" PRIu64 " to %" PRIu64,
                     shown, session->promise.os, session->history.count);
    session->history.count = shown;
    session->unsure = false;
    session->broken = false;
    if (!kept_look(session, &kept))
        return false;
    session->promise.kept = kept;
    promise(session, shown, shown);
    return true;
}

struct peat_options pt_session_options(const struct pt_session *session)
{
    struct peat_options options = pt_test_options(PEAT_CREATE | session->flags);

    pt_test_options_tiny(&options);
    options.write_buffer_size = (size_t)64 << 10;
    options.address_space_size =
        (size_t)4 << 30; /* readers that get no time may pin hundreds of generations */
    options.sync_interval_ms = session->loose || session->hasty ? 1 : 3600000;
    return options;
}

void pt_session_orphan(struct pt_session *session)
{
    session->db = NULL;
    session->snapshot = NULL;
}

static enum peat_status store_open(struct pt_session *session, unsigned flags)
{
    struct peat_options options = pt_session_options(session);

    options.flags |= flags;
    return peat_open(session->path == NULL ? "disk" : session->path, &options, &session->db);
}

/* Open it as a follower's, and promote it. */
static bool promoted_open(struct pt_session *session)
{
    enum peat_status status;

    session->promise.may_follow = true;
    pt_disk_promise(session->promise);
    status = store_open(session, PEAT_FOLLOWER);
    if (status != PEAT_OK)
        return failed(session, "open as a follower", status);
    status = peat_promote(session->db, 0, NULL);
    if (status != PEAT_OK) {
        pt_session_abandon(session);
        return failed(session, "promote", status);
    }
    session->promise.may_follow = false;
    return adopt(session);
}

bool pt_session_open(struct pt_session *session)
{
    enum peat_status status;

    PT_REQUIRE(session->db == NULL);
    status = store_open(session, 0);
    if (status == PEAT_NOT_WRITABLE)
        return session->promise.may_follow
                   ? promoted_open(session)
                   : found(session, "it is a follower's, though it was promoted, or never one");
    if (status != PEAT_OK)
        return failed(session, "open", status);
    return adopt(session);
}

static bool snapshot_end(struct pt_session *session)
{
    bool shown;

    if (session->snapshot == NULL)
        return true;
    shown = pt_model_shown(&session->snapshot_model, session->snapshot, NULL, &session->finding);
    peat_snapshot_close(session->snapshot);
    session->snapshot = NULL;
    if (!shown && session->finding.status != PEAT_OK)
        return failed(session, "a look at a snapshot", session->finding.status);
    return shown;
}

bool pt_session_end(struct pt_session *session, bool clean)
{
    bool shown = snapshot_end(session);
    struct peat_db *db = session->db;
    enum peat_status status;

    session->db = NULL;
    status = clean ? peat_close(db) : peat_abort(db);
    if (!shown)
        return false;
    if (status != PEAT_OK)
        return failed(session, clean ? "close" : "abort", status);
    if (clean && !session->unsure && !session->broken)
        promise(session, session->history.count, 0);
    return true;
}

void pt_session_abandon(struct pt_session *session)
{
    peat_snapshot_close(session->snapshot);
    session->snapshot = NULL;
    (void)peat_abort(session->db);
    session->db = NULL;
}

/* ---- Steps ---- */

static bool has_collection(const struct pt_session *session)
{
    struct pt_model model;

    if (session->unsure || session->broken) /* the last commit is perhaps not there */
        return false;
    pt_commits_model(&session->history, session->history.count, &model);
    return model.has_collection;
}

/*
 * A commit failed. Where space or memory was missing, or it was not @p tried, it is not there; else perhaps
 * it is, and if it was a batch, no other is until the store is reopened.
 */
static bool commit_failed(struct pt_session *session, const struct pt_step *step, uint64_t before,
                          bool tried, enum peat_status status)
{
    bool revert = step->kind == PT_STEP_REVERT;
    bool batch = step->kind != PT_STEP_CREATE && step->kind != PT_STEP_DROP && !revert;
    bool certain =
        !tried || ((batch || revert) && (status == PEAT_NO_SPACE || status == PEAT_NO_MEMORY));

    if (certain || session->broken || session->unsure) {
        session->history.count = before; /* if one was unsure before, it is that */
    } else {
        session->unsure = true;
    }
    session->broken = session->broken || (batch && !certain);
    promise(session, 0, 0);
    return failed(session, pt_step_name(step->kind), status);
}

/* It succeeded, as number @p number: then the one before that was unsure is there, or not. */
static bool commit_succeeded(struct pt_session *session, const struct pt_step *step,
                             uint64_t number)
{
    struct pt_commits *history = &session->history;

    if (session->broken)
        return found(session, "a commit succeeds after one that failed, without reopening");
    if (session->unsure && number == history->count - 1)
        history->commits[--history->count] = *step;
    session->unsure = false;
    if (number != history->count)
        return found(session, "commit %" PRIu64 " became number %" PRIu64, history->count, number);
    if (step->kind == PT_STEP_REVERT)
        promise(session, number, number);
    else if (step->kind == PT_STEP_CREATE || step->kind == PT_STEP_DROP || step->level == PEAT_OS)
        promise(session, 0, number);
    else if (step->level == PEAT_DISK)
        promise(session, number, number);
    return true;
}

static bool commit_step(struct pt_session *session, const struct pt_step *step)
{
    bool collection = has_collection(session);
    struct pt_step as_done = *step;
    uint64_t before = session->history.count;
    uint64_t number = 0;
    enum peat_status status;
    bool tried;

    if ((step->kind == PT_STEP_CREATE || step->kind == PT_STEP_DROP) &&
        (session->unsure || collection == (step->kind == PT_STEP_CREATE)))
        return true;
    if (step->kind == PT_STEP_REVERT && as_done.seed == 0)
        as_done.seed = (uint32_t)session->promise.kept;
    if (step->kind == PT_STEP_REVERT && (as_done.seed == 0 || session->unsure))
        return true;
    if (session->unsure && session->history.commits[before].kind == PT_STEP_REVERT)
        return true; /* as the header says: whether it was done shows when the store is reopened */
    PT_REQUIRE(before < PT_COMMITS_MAX);
    as_done.nested = step->nested && collection;
    session->history.commits[++session->history.count] = as_done;
    promise(session, 0, 0);
    status = pt_step_commit(&as_done, collection, session->db, &number, &tried);
    return status == PEAT_OK ? commit_succeeded(session, &as_done, number)
                             : commit_failed(session, &as_done, before, tried, status);
}

static bool snapshot_step(struct pt_session *session)
{
    enum peat_status status;

    if (session->snapshot != NULL)
        return snapshot_end(session);
    if (session->unsure || session->broken) /* what is committed is not known */
        return true;
    status = peat_snapshot_open(session->db, &session->snapshot);
    if (status != PEAT_OK)
        return failed(session, "snapshot", status);
    pt_commits_model(&session->history, peat_snapshot_commit(session->snapshot),
                     &session->snapshot_model);
    return true;
}

/* Whether there is a kept state is not known from here on; or it is that of commit @p kept. */
static void kept_promise(struct pt_session *session, uint64_t kept)
{
    session->promise.kept = kept;
    promise(session, kept, 0);
}

static bool persist_step(struct pt_session *session)
{
    enum peat_status status;

    if (session->unsure || session->broken) /* what is committed is not known */
        return true;
    kept_promise(session, 0);
    status = peat_history_drop(session->db, PT_STEP_KEPT, 0);
    if (status == PEAT_OK || status == PEAT_NOT_FOUND)
        status = peat_snapshot_persist(session->db, PT_STEP_KEPT, NULL);
    if (status != PEAT_OK)
        return failed(session, pt_step_name(PT_STEP_PERSIST), status);
    kept_promise(session, session->history.count);
    return true;
}

/* What the feed has not acknowledged; a gap is one only where calls fail: then its log may have been let go. */
static bool feed_look(struct pt_session *session, bool acknowledge)
{
    const struct pt_difference *difference = &session->finding;

    if (session->unsure || session->broken) /* what is committed is not known */
        return true;
    if (pt_feed_look(session->db, &session->history, acknowledge, &session->finding))
        return true;
    if (difference->status == PEAT_NOT_FOUND && !session->promise.feed)
        return true;
    if (difference->status == PEAT_GAP && session->promise.may_gap)
        return true;
    return session->may_fail && difference->status != PEAT_OK && difference->status != PEAT_CORRUPT;
}

static bool feed_step(struct pt_session *session)
{
    bool right = feed_look(session, true);

    if (right && !session->may_fail && !session->unsure && !session->broken) {
        session->promise.feed = true;
        promise(session, 0, 0);
    }
    return right;
}

static bool maintenance_step(struct pt_session *session, const struct pt_step *step)
{
    enum peat_status status;

    if (step->kind == PT_STEP_SYNC)
        status = peat_sync(session->db);
    else if (step->kind == PT_STEP_FLUSH)
        status = peat_flush(session->db);
    else
        status = peat_wait_idle(session->db, IDLE_TIMEOUT_MS);
    if (status == PEAT_TIMEOUT && session->hasty)
        return true;
    if (status != PEAT_OK)
        return failed(session, pt_step_name(step->kind), status);
    if (step->kind != PT_STEP_MERGE && !session->unsure && !session->broken)
        promise(session, session->history.count, 0);
    return true;
}

void pt_session_settle(struct pt_session *session)
{
    if (session->loose || session->hasty || session->db == NULL || session->unsure ||
        session->broken)
        return;
    (void)pt_log_prepare(session->db->log);
    (void)pt_merger_wait(session->db, false, pt_clock_monotonic_us() + 10000000);
}

bool pt_session_step(struct pt_session *session, const struct pt_step *step)
{
    bool right;

    if (session->db == NULL) /* an earlier open failed */
        return pt_session_open(session);
    if (step->kind <= PT_STEP_LAST_COMMIT)
        right = commit_step(session, step);
    else if (step->kind == PT_STEP_SNAPSHOT)
        right = snapshot_step(session);
    else if (step->kind == PT_STEP_PERSIST)
        right = persist_step(session);
    else if (step->kind == PT_STEP_FEED)
        right = feed_step(session);
    else if (step->kind == PT_STEP_PROMOTE)
        right = pt_session_end(session, true) && promoted_open(session);
    else if (step->kind == PT_STEP_CLOSE || step->kind == PT_STEP_ABORT)
        right = pt_session_end(session, step->kind == PT_STEP_CLOSE) && pt_session_open(session);
    else
        right = maintenance_step(session, step);
    if (right)
        pt_session_settle(session);
    return right;
}

/* What a check told, but for the half of a superblock that a write which failed may leave. */
struct told {
    uint64_t count;
    char what[200]; /* the first of it */
};

static void finding_take(void *context, const struct peat_finding *finding)
{
    struct told *told = context;

    if (strstr(finding->what, "one of the two superblocks") != NULL)
        return;
    if (told->count++ == 0)
        (void)snprintf(told->what, sizeof(told->what), "%s", finding->what);
}

static bool check_look(struct pt_session *session)
{
    struct told told = {.count = 0};
    enum peat_status status = peat_check(session->db, finding_take, NULL, &told);

    if (status == PEAT_OK)
        return true;
    if (status != PEAT_CORRUPT)
        return failed(session, "check", status);
    if (session->may_fail) /* what cannot be read is a finding, too */
        return true;
    if (told.count > 0)
        return found(session, "check: %s", told.what);
    /* Who could not write a superblock writes none again, until the store is reopened. */
    return atomic_load_explicit(&session->db->poisoned, memory_order_acquire) ||
           found(session, "check: a superblock is damaged");
}

bool pt_session_look(struct pt_session *session, bool check)
{
    struct peat_snapshot *snapshot;
    struct pt_model model;
    enum peat_status status = peat_snapshot_open(session->db, &snapshot);
    uint64_t kept;
    bool shown;

    if (status != PEAT_OK)
        return failed(session, "snapshot", status);
    if (peat_snapshot_commit(snapshot) > session->history.count) {
        peat_snapshot_close(snapshot);
        return found(session, "more is shown than was committed");
    }
    pt_commits_model(&session->history, peat_snapshot_commit(snapshot), &model);
    shown = pt_model_shown(&model, snapshot, session->db, &session->finding);
    peat_snapshot_close(snapshot);
    if (!shown)
        return session->finding.status != PEAT_OK &&
               failed(session, "a look", session->finding.status);
    if (check && !kept_look(session, &kept))
        return false;
    if (check && !feed_look(session, false))
        return false;
    return !check || check_look(session);
}

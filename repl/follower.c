/*
 * A follower: one thread that dials, follows, and dials again. What it sends is little, so it sends and receives in
 * turn; the primary always reads. Whoever stops it shuts what the thread may wait in.
 */
#include "repl/follower_session.h"
#include "repl/peat_repl.h"
#include "repl/redial.h"
#include "repl/settings.h"
#include "repl/stream.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIAL_MS = 3000,
    SEND_MS = 1500,  /* a peer that takes no more for so long is gone */
    LOOK_MS = 500,   /* so often it looks whether a time has come */
    LEAVE_MS = 1000, /* to say that it stops; after that the connection is shut */
    WINDOW_MIN = 64 << 10,
    WINDOW_DEFAULT = 8 << 20
};

#define WINDOW_MAX (UINT64_C(1) << 40) /* credit is counted from a session's beginning in 64 bits */

struct peat_follower {
    struct peat_db *db;
    struct pt_follower_session_options session_options;
    char name[PEAT_NAME_SIZE_MAX + 1];
    struct pt_keys keys;
    struct pt_seed_taker taker; /* the thread's */
    struct pt_rejoin rejoin;    /* the same */
    struct pt_dialer *dialer;
    pthread_t thread;
    _Atomic bool stopping;
    _Atomic bool promoting;   /* it is not to follow any more */
    bool heals;               /* it was asked to */
    bool joined;              /* the thread is gone: who promotes or stops it alone looks */
    pthread_mutex_t mutex;    /* guards what follows */
    pthread_cond_t changed;   /* it is to stop, or has */
    bool is_over;             /* the thread does nothing any more */
    struct pt_stream *stream; /* NULL: there is no connection */
    enum peat_follower_state state;
    uint64_t state_us; /* when it came into that */
    uint64_t heard_us; /* when the primary was heard last */
    struct peat_position primary;
    uint64_t connections;
    uint64_t seed_count;
    uint64_t rejoin_count;
    uint64_t damaged_segments;
    uint64_t healed_segments;
    struct peat_seeding_info seeding;
    char words[PT_PEER_WORDS_MAX];
    uint64_t failed_dials;
    uint64_t damaged;
    uint64_t records; /* of the connections before this one */
    uint64_t session_records;
    _Atomic uint64_t sent_size; /* the thread counts, at each message, without the mutex */
    _Atomic uint64_t received_size;
    /* The thread's, then its joiner's: */
    void (*event)(void *context, const struct peat_follower_event *event);
    void *event_context;
    enum peat_follower_state told; /* of the last event */
    char told_words[PT_PEER_WORDS_MAX];
};

/* ---- States ---- */

static void state_set_locked(struct peat_follower *follower, enum peat_follower_state state)
{
    if (follower->state != state)
        follower->state_us = pt_now_us();
    follower->state = state;
}

static bool is_connected(enum peat_follower_state state)
{
    return state == PEAT_FOLLOWER_FOLLOWING || state == PEAT_FOLLOWER_SEEDING;
}

/* An event, if the state is another one than was told, or has another reason. */
static void state_tell(struct peat_follower *follower)
{
    struct peat_follower_event event = {.struct_size = sizeof(event), .before = follower->told};
    char words[PT_PEER_WORDS_MAX] = "";

    pthread_mutex_lock(&follower->mutex);
    event.state = follower->state;
    if (!is_connected(event.state)) /* else these are the last connection's */
        (void)strcpy(words, follower->words);
    pthread_mutex_unlock(&follower->mutex);
    if (event.state == event.before && strcmp(words, follower->told_words) == 0)
        return;
    follower->told = event.state;
    (void)strcpy(follower->told_words, words);
    if (follower->event == NULL)
        return;
    event.words = words;
    (void)peat_position_get(follower->db, &event.position);
    follower->event(follower->event_context, &event);
}

/* ---- One connection ---- */

/* Send all that there is. */
static enum peat_status flush(struct peat_follower *follower, struct pt_channel *channel)
{
    struct peat_bytes output = pt_channel_output(channel);
    enum peat_status status;

    if (output.size == 0)
        return PEAT_OK;
    status = pt_stream_write(follower->stream, output.data, output.size, SEND_MS);
    pt_channel_output_taken(channel, output.size);
    atomic_fetch_add(&follower->sent_size, output.size);
    return status;
}

static void status_note(struct peat_follower *follower, struct pt_follower_session *session)
{
    const struct pt_peer *base = pt_follower_session_base(session);

    pthread_mutex_lock(&follower->mutex);
    if (pt_follower_session_is_following(session))
        state_set_locked(follower, PEAT_FOLLOWER_FOLLOWING);
    if (pt_follower_session_is_seeding(session))
        state_set_locked(follower, PEAT_FOLLOWER_SEEDING);
    peat_seeding_about(follower->taker.seeding, &follower->seeding);
    follower->seed_count = follower->taker.count;
    follower->rejoin_count = follower->rejoin.count;
    follower->damaged_segments = follower->taker.damaged;
    follower->healed_segments = follower->taker.healed;
    if (base->theirs.position > 0) /* else what the connection before said is the newest known */
        follower->primary = base->theirs;
    follower->session_records = base->records;
    follower->heard_us = base->heard_us;
    pthread_mutex_unlock(&follower->mutex);
    if (base->end == PT_PEER_GOES_ON)
        state_tell(follower);
}

/* How long to wait for bytes. */
static unsigned wait_of(uint64_t due_us)
{
    uint64_t now_us = pt_now_us();
    uint64_t wait_ms = due_us > now_us ? (due_us - now_us) / 1000 + 1 : 1;

    return wait_ms < LOOK_MS ? (unsigned)wait_ms : LOOK_MS;
}

/* What comes within a while, and what time has brought. */
static enum peat_status listen(struct peat_follower *follower, struct pt_follower_session *session,
                               uint64_t *due_us)
{
    uint8_t bytes[64 << 10];
    const char *why = "";
    size_t size;
    enum peat_status status =
        pt_stream_receive(follower->stream, bytes, sizeof(bytes), wait_of(*due_us), &size, &why);
    /* What has come may take longer to apply than a peer may be silent: that is not the peer's time. */
    uint64_t now_us = pt_now_us();

    if (status == PEAT_TIMEOUT)
        status = PEAT_OK;
    if (status != PEAT_OK)
        pt_peer_cut(pt_follower_session_base(session), why);
    atomic_fetch_add(&follower->received_size, size);
    if (size > 0)
        pt_follower_session_receive(session, bytes, size, now_us);
    *due_us = pt_follower_session_step(session, now_us);
    return status;
}

static void converse(struct peat_follower *follower, struct pt_follower_session *session)
{
    struct pt_peer *base = pt_follower_session_base(session);
    enum peat_status status = PEAT_OK;
    uint64_t due_us = 0;

    while (base->end == PT_PEER_GOES_ON) {
        if (atomic_load(&follower->stopping))
            pt_peer_stop(base, PT_PEER_CLOSED,
                         atomic_load(&follower->promoting) ? PT_BYE_PROMOTED : PT_BYE_CLOSING,
                         pt_now_us(), "the follower is being stopped");
        status = flush(follower, base->channel);
        if (status != PEAT_OK) /* a part may have gone: nothing can follow it */
            pt_peer_cut(base, "the primary takes nothing");
        if (base->end == PT_PEER_GOES_ON)
            status = listen(follower, session, &due_us);
        status_note(follower, session);
    }
    if (status == PEAT_OK)
        (void)flush(follower, base->channel);
}

/* ---- Dialing ---- */

static enum peat_follower_state state_of(enum pt_peer_end end)
{
    switch (end) {
    case PT_PEER_GOES_ON:
    case PT_PEER_LOST:
    case PT_PEER_CLOSED:
    case PT_PEER_REFUSED:
        break;
    case PT_PEER_SEED:
        return PEAT_FOLLOWER_NEEDS_SEED;
    case PT_PEER_DIVERGED:
        return PEAT_FOLLOWER_DIVERGED;
    case PT_PEER_NO_SPACE:
        return PEAT_FOLLOWER_NO_SPACE;
    case PT_PEER_FAILED:
        return PEAT_FOLLOWER_FAILED;
    }
    return PEAT_FOLLOWER_CONNECTING;
}

static bool is_over(enum peat_follower_state state)
{
    return state == PEAT_FOLLOWER_DIVERGED || state == PEAT_FOLLOWER_FAILED;
}

static void ended(struct peat_follower *follower, enum peat_follower_state state, const char *words)
{
    pthread_mutex_lock(&follower->mutex);
    state_set_locked(follower, state);
    (void)snprintf(follower->words, sizeof(follower->words), "%s", words);
    pthread_mutex_unlock(&follower->mutex);
}

/* It goes on without having been healed, unless the connection has ended it. */
static void unhealed(struct peat_follower *follower, const char *why)
{
    char words[PT_PEER_WORDS_MAX];

    (void)snprintf(words, sizeof(words),
                   "damaged segments: %llu, not healed until it is started again: %.180s",
                   (unsigned long long)follower->taker.damaged, why);
    ended(follower, follower->state, words);
}

static void stream_set(struct peat_follower *follower, struct pt_stream *stream)
{
    pthread_mutex_lock(&follower->mutex);
    follower->stream = stream;
    follower->connections += stream != NULL;
    follower->heard_us = pt_now_us();
    pthread_mutex_unlock(&follower->mutex);
}

/* Add up what the connection has come to. */
static void count(struct peat_follower *follower, const struct pt_peer *base)
{
    pthread_mutex_lock(&follower->mutex);
    follower->damaged += base->is_damaged;
    follower->records += base->records;
    follower->session_records = 0;
    pthread_mutex_unlock(&follower->mutex);
}

/* Dial, and follow as long as it goes. What came of the connection. */
static enum pt_redial_cause follow_once(struct peat_follower *follower)
{
    struct pt_follower_session *session = NULL;
    struct pt_stream *stream = NULL;
    const char *why = "nobody answers";
    enum peat_status status = pt_dialer_dial(follower->dialer, DIAL_MS, &stream, &why);
    enum pt_redial_cause cause;

    if (status == PEAT_OK)
        status = pt_follower_session_open(follower->db, &follower->session_options,
                                          follower->keys.keys, pt_now_us(), &session);
    if (status != PEAT_OK) {
        cause = stream == NULL ? PT_REDIAL_UNANSWERED : PT_REDIAL_OF_NO_USE;
        pthread_mutex_lock(&follower->mutex);
        follower->failed_dials += stream == NULL;
        pthread_mutex_unlock(&follower->mutex);
        pt_stream_close(stream);
        ended(follower, PEAT_FOLLOWER_CONNECTING, why);
        return cause;
    }
    stream_set(follower, stream);
    converse(follower, session);
    cause = pt_follower_session_was_of_use(session) ? PT_REDIAL_OF_USE : PT_REDIAL_OF_NO_USE;
    stream_set(follower, NULL);
    pt_stream_close(stream);
    count(follower, pt_follower_session_base(session));
    ended(follower, state_of(pt_follower_session_base(session)->end),
          pt_follower_session_base(session)->words);
    if (pt_seed_taker_gives_up(&follower->taker))
        unhealed(follower, pt_follower_session_base(session)->words);
    pt_follower_session_close(session);
    return cause;
}

static void wait_until(struct peat_follower *follower, uint64_t due_us)
{
    uint64_t now_us = pt_now_us();
    struct timespec until;

    pt_deadline(due_us > now_us ? (unsigned)((due_us - now_us) / 1000 + 1) : 0, &until);
    pthread_mutex_lock(&follower->mutex);
    while (!atomic_load(&follower->stopping) &&
           pthread_cond_timedwait(&follower->changed, &follower->mutex, &until) == 0)
        ;
    pthread_mutex_unlock(&follower->mutex);
}

/* ---- Healing ---- */

static void damage_came(void *context, const struct peat_finding *finding)
{
    struct peat_follower *follower = context;
    char words[PT_PEER_WORDS_MAX];

    (void)snprintf(words, sizeof(words), "damaged: %s", finding->what);
    ended(follower, PEAT_FOLLOWER_CONNECTING, words);
    state_tell(follower);
}

static bool may_look_on(void *context, uint64_t done, uint64_t total)
{
    struct peat_follower *follower = context;

    (void)done;
    (void)total;
    return !atomic_load(&follower->stopping);
}

/* See what is damaged, and have a state asked for if anything is. */
static void heal_begin(struct peat_follower *follower)
{
    char words[PT_PEER_WORDS_MAX];
    uint64_t count = 0;
    enum peat_status status;

    if (!follower->heals)
        return;
    status = peat_seeding_heal(follower->taker.seeding, damage_came, may_look_on, follower, &count);
    pt_seed_taker_heal(&follower->taker, count);
    pthread_mutex_lock(&follower->mutex);
    follower->damaged_segments = count;
    pthread_mutex_unlock(&follower->mutex);
    if (status >= 0)
        return;
    (void)snprintf(words, sizeof(words), "whether segments are damaged cannot be seen: %s",
                   peat_last_error());
    ended(follower, PEAT_FOLLOWER_CONNECTING, words);
    state_tell(follower);
}

static void *follower_run(void *context)
{
    struct peat_follower *follower = context;
    struct pt_redial redial;
    uint64_t seed;
    bool over = false;

    (void)pthread_setname_np(pthread_self(), "peat-follow");
    randombytes_buf(&seed, sizeof(seed));
    pt_redial_init(&redial, seed);
    heal_begin(follower);
    while (!over && !atomic_load(&follower->stopping)) {
        enum pt_redial_cause cause = follow_once(follower);

        pt_redial_failed(&redial, cause, pt_now_us());
        over = is_over(follower->state);               /* this thread alone writes it */
        if (over || !atomic_load(&follower->stopping)) /* else that it is stopped is why */
            state_tell(follower);
        if (!over)
            wait_until(follower, redial.due_us);
    }
    pthread_mutex_lock(&follower->mutex);
    follower->is_over = true;
    pthread_cond_broadcast(&follower->changed);
    pthread_mutex_unlock(&follower->mutex);
    return NULL;
}

/* ---- Starting and stopping ---- */

void peat_follower_options_init(struct peat_follower_options *options)
{
    if (options != NULL)
        *options = (struct peat_follower_options){.struct_size = sizeof(*options),
                                                  .durability = PEAT_DISK,
                                                  .window_size = WINDOW_DEFAULT,
                                                  .record_size_max = UINT64_C(1) << 30};
}

static enum peat_status options_check(const struct peat_follower_options *options,
                                      struct peat_repl_error *error)
{
    size_t size = options->name == NULL ? 0 : strnlen(options->name, PEAT_NAME_SIZE_MAX + 1);

    if (options->url == NULL)
        return pt_repl_fail(error, PEAT_INVALID, "no address to follow from");
    if ((options->flags & ~(PEAT_REPL_INSECURE | PEAT_FOLLOWER_REJOIN | PEAT_FOLLOWER_HEAL)) != 0)
        return pt_repl_fail(error, PEAT_INVALID, "unknown flags 0x%x", options->flags);
    if (size == 0 || size > PEAT_NAME_SIZE_MAX)
        return pt_repl_fail(error, PEAT_INVALID, "a follower's name has 1 to %zu bytes",
                            (size_t)PEAT_NAME_SIZE_MAX);
    if (options->durability < PEAT_MEMORY || options->durability > PEAT_DISK)
        return pt_repl_fail(error, PEAT_INVALID, "durability %d cannot be a follower's",
                            (int)options->durability);
    if (options->window_size < WINDOW_MIN || options->window_size > WINDOW_MAX)
        return pt_repl_fail(error, PEAT_INVALID, "a window of %llu bytes: %d to %llu",
                            (unsigned long long)options->window_size, WINDOW_MIN,
                            (unsigned long long)WINDOW_MAX);
    if (options->record_size_max == 0)
        return pt_repl_fail(error, PEAT_INVALID, "no batch is so small as record_size_max, 0");
    return PEAT_OK;
}

static enum peat_status follower_make(struct peat_follower *follower,
                                      const struct peat_follower_options *options,
                                      struct peat_repl_error *error)
{
    const char *why = "";
    enum peat_status status =
        pt_keys_read(&options->key_path, options->key_path != NULL ? 1 : 0, &follower->keys, error);

    if (status == PEAT_OK)
        status = pt_url_check(options->url, follower->keys.count > 0,
                              options->flags & PEAT_REPL_INSECURE, error);
    if (status != PEAT_OK)
        return status;
    status = pt_dialer_open(options->url, &follower->dialer, &why);
    if (status != PEAT_OK)
        return pt_repl_fail(error, status, "cannot dial %s: %s", options->url, why);
    (void)snprintf(follower->name, sizeof(follower->name), "%s", options->name);
    follower->session_options =
        (struct pt_follower_session_options){.name = follower->name,
                                             .window_size = options->window_size,
                                             .record_size_max = options->record_size_max,
                                             .durability = options->durability,
                                             .taker = &follower->taker};
    follower->session_options.rejoin = &follower->rejoin;
    follower->rejoin = (struct pt_rejoin){.allowed = (options->flags & PEAT_FOLLOWER_REJOIN) != 0,
                                          .save = options->save,
                                          .context = options->save_context};
    status = pt_seed_taker_open(&follower->taker, follower->db);
    if (status != PEAT_OK)
        return pt_repl_fail(error, status, "%s", peat_last_error());
    if (pthread_create(&follower->thread, NULL, follower_run, follower) != 0)
        return pt_repl_fail(error, PEAT_NO_MEMORY, "no thread could be started");
    return PEAT_OK;
}

static void follower_free(struct peat_follower *follower)
{
    pt_dialer_close(follower->dialer);
    pt_seed_taker_close(&follower->taker);
    (void)pthread_cond_destroy(&follower->changed);
    (void)pthread_mutex_destroy(&follower->mutex);
    pt_keys_forget(&follower->keys);
    free(follower);
}

enum peat_status peat_follower_start(struct peat_db *db, const struct peat_follower_options *given,
                                     struct peat_follower **follower_out,
                                     struct peat_repl_error *error_out)
{
    struct peat_repl_error unwanted;
    struct peat_repl_error *error = error_out == NULL ? &unwanted : error_out;
    struct peat_follower_options taken;
    const struct peat_follower_options *options = &taken;
    struct peat_follower *follower;
    enum peat_status status;

    peat_follower_options_init(&taken);
    if (follower_out != NULL)
        *follower_out = NULL;
    if (db == NULL || given == NULL || follower_out == NULL ||
        !pt_options_take(&taken, sizeof(taken), given,
                         offsetof(struct peat_follower_options, event)))
        return pt_repl_fail(error, PEAT_INVALID,
                            "an argument is missing, or its options are not set up");
    if ((peat_flags(db) & PEAT_FOLLOWER) == 0)
        return pt_repl_fail(error, PEAT_INVALID,
                            "the store was not opened with PEAT_FOLLOWER: it has commits of its "
                            "own");
    status = options_check(options, error);
    if (status != PEAT_OK)
        return status;
    follower = calloc(1, sizeof(*follower));
    if (follower == NULL)
        return pt_repl_fail(error, PEAT_NO_MEMORY, "out of memory");
    follower->db = db;
    follower->heals = (options->flags & PEAT_FOLLOWER_HEAL) != 0;
    follower->event = options->event;
    follower->event_context = options->event_context;
    follower->state_us = pt_now_us();
    (void)pthread_mutex_init(&follower->mutex, NULL);
    pt_condition_make(&follower->changed);
    status = follower_make(follower, options, error);
    if (status != PEAT_OK) {
        follower_free(follower);
        return status;
    }
    *follower_out = follower;
    return PEAT_OK;
}

/* Have the thread end. */
static void follower_end(struct peat_follower *follower)
{
    struct timespec until;

    if (follower->joined)
        return;
    pt_deadline(LEAVE_MS, &until);
    pthread_mutex_lock(&follower->mutex);
    atomic_store(&follower->stopping, true);
    pthread_cond_broadcast(&follower->changed);
    pthread_mutex_unlock(&follower->mutex);
    pt_dialer_cancel(follower->dialer);
    pthread_mutex_lock(&follower->mutex);
    while (!follower->is_over &&
           pthread_cond_timedwait(&follower->changed, &follower->mutex, &until) == 0)
        ;
    if (follower->stream != NULL) /* a primary that reads nothing holds it up */
        pt_stream_shut(follower->stream);
    pthread_mutex_unlock(&follower->mutex);
    (void)pthread_join(follower->thread, NULL);
    follower->joined = true;
}

void peat_follower_stop(struct peat_follower *follower)
{
    if (follower == NULL)
        return;
    follower_end(follower);
    follower_free(follower);
}

enum peat_status peat_follower_promote(struct peat_follower *follower, unsigned flags,
                                       uint64_t *epoch_out, struct peat_repl_error *error_out)
{
    struct peat_repl_error unwanted;
    struct peat_repl_error *error = error_out == NULL ? &unwanted : error_out;
    enum peat_status status;
    bool sees_primary;

    if (follower == NULL || (flags & ~PEAT_PROMOTE_FORCED) != 0)
        return pt_repl_fail(error, PEAT_INVALID, "no follower, or unknown flags 0x%x", flags);
    if ((peat_flags(follower->db) & PEAT_FOLLOWER) == 0)
        return pt_repl_fail(error, PEAT_INVALID, "it was promoted: it follows nobody any more");
    pthread_mutex_lock(&follower->mutex);
    sees_primary = is_connected(follower->state);
    pthread_mutex_unlock(&follower->mutex);
    if (sees_primary && (flags & PEAT_PROMOTE_FORCED) == 0)
        return pt_repl_fail(error, PEAT_BUSY,
                            "the primary is alive, and takes commits: stop it first");
    atomic_store(&follower->promoting, true);
    follower_end(follower);
    status = peat_promote(follower->db, 0, epoch_out);
    if (status != PEAT_OK) {
        ended(follower, PEAT_FOLLOWER_FAILED, peat_last_error());
        state_tell(follower);
        return pt_repl_fail(error, status, "%s", peat_last_error());
    }
    ended(follower, PEAT_FOLLOWER_PROMOTED, "it was promoted");
    state_tell(follower);
    return PEAT_OK;
}

/* ---- Status ---- */

const char *peat_follower_state_name(enum peat_follower_state state)
{
    static const char *const names[] = {"connecting", "following", "seeding", "needs a seed",
                                        "no space",   "diverged",  "failed",  "promoted"};

    return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

void peat_follower_status_get(struct peat_follower *follower,
                              struct peat_follower_status *status_out)
{
    struct peat_follower_status status = {.struct_size = status_out->struct_size};

    (void)peat_position_get(follower->db, &status.position);
    pthread_mutex_lock(&follower->mutex);
    status.state = follower->state;
    status.primary = follower->primary;
    status.connections = follower->connections;
    status.seed_size = follower->seeding.size;
    status.seed_missing = follower->seeding.missing;
    status.seed_count = follower->seed_count;
    status.rejoin_count = follower->rejoin_count;
    status.damaged_segments = follower->damaged_segments;
    status.healed_segments = follower->healed_segments;
    memcpy(status.words, follower->words, sizeof(status.words));
    status.failed_dials = follower->failed_dials;
    status.damaged = follower->damaged;
    status.records = follower->records + follower->session_records;
    status.sent_size = atomic_load(&follower->sent_size);
    status.received_size = atomic_load(&follower->received_size);
    status.state_us = pt_above(pt_now_us(), follower->state_us);
    if (follower->stream != NULL)
        status.silent_us = pt_above(pt_now_us(), follower->heard_us);
    pthread_mutex_unlock(&follower->mutex);
    status.lag_commits = pt_above(status.primary.commit, status.position.commit);
    status.lag_bytes = pt_above(status.primary.position, status.position.position);
    if (status.lag_commits > 0)
        status.lag_us = pt_above(status.primary.time_us, status.position.time_us);
    pt_struct_copy(status_out, &status, sizeof(status));
}

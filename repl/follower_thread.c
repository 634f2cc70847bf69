/* The thread of a follower: it dials, follows as long as it goes, and dials again. */
#include "repl/follower_parts.h"
#include "repl/redial.h"

#include <sodium.h>
#include <stdio.h>

enum {
    DIAL_MS = 3000,
    SEND_MS = 1500, /* a peer that takes no more for so long is gone */
    LOOK_MS = 500   /* so often it looks whether a time has come */
};

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
        pt_follower_note(follower, session);
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

/* It goes on without having been healed, unless the connection has ended it. */
static void unhealed(struct peat_follower *follower, const char *why)
{
    char words[PT_PEER_WORDS_MAX];

    (void)snprintf(words, sizeof(words),
                   "damaged segments: %llu, not healed until it is started again: %.180s",
                   (unsigned long long)follower->taker.damaged, why);
    pt_follower_ended(follower, follower->state, words);
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
        pt_follower_ended(follower, PEAT_FOLLOWER_CONNECTING, why);
        return cause;
    }
    pt_follower_stream_set(follower, stream);
    converse(follower, session);
    cause = pt_follower_session_was_of_use(session) ? PT_REDIAL_OF_USE : PT_REDIAL_OF_NO_USE;
    pt_follower_stream_set(follower, NULL);
    pt_stream_close(stream);
    pt_follower_count(follower, pt_follower_session_base(session));
    pt_follower_ended(follower, state_of(pt_follower_session_base(session)->end),
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
    pt_follower_ended(follower, PEAT_FOLLOWER_CONNECTING, words);
    pt_follower_tell(follower);
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
    pt_follower_ended(follower, PEAT_FOLLOWER_CONNECTING, words);
    pt_follower_tell(follower);
}

void *pt_follower_run(void *context)
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
            pt_follower_tell(follower);
        if (!over)
            wait_until(follower, redial.due_us);
    }
    pthread_mutex_lock(&follower->mutex);
    follower->is_over = true;
    pthread_cond_broadcast(&follower->changed);
    pthread_mutex_unlock(&follower->mutex);
    return NULL;
}

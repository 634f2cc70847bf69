/* What a follower tells of itself: by events, and when it is asked. */
#include "repl/follower_parts.h"

#include <stdio.h>
#include <string.h>

/* ---- Telling ---- */

static void state_set_locked(struct peat_follower *follower, enum peat_follower_state state)
{
    if (follower->state != state)
        follower->state_us = pt_now_us();
    follower->state = state;
}

bool pt_follower_is_connected(enum peat_follower_state state)
{
    return state == PEAT_FOLLOWER_FOLLOWING || state == PEAT_FOLLOWER_SEEDING;
}

void pt_follower_tell(struct peat_follower *follower)
{
    struct peat_follower_event event = {.struct_size = sizeof(event), .before = follower->told};
    char words[PT_PEER_WORDS_MAX] = "";

    pthread_mutex_lock(&follower->mutex);
    event.state = follower->state;
    if (!pt_follower_is_connected(event.state)) /* else these are the last connection's */
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

/* ---- Noting ---- */

void pt_follower_ended(struct peat_follower *follower, enum peat_follower_state state,
                       const char *words)
{
    pthread_mutex_lock(&follower->mutex);
    state_set_locked(follower, state);
    (void)snprintf(follower->words, sizeof(follower->words), "%s", words);
    pthread_mutex_unlock(&follower->mutex);
}

void pt_follower_note(struct peat_follower *follower, struct pt_follower_session *session)
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
        pt_follower_tell(follower);
}

void pt_follower_stream_set(struct peat_follower *follower, struct pt_stream *stream)
{
    pthread_mutex_lock(&follower->mutex);
    follower->stream = stream;
    follower->connections += stream != NULL;
    follower->heard_us = pt_now_us();
    pthread_mutex_unlock(&follower->mutex);
}

void pt_follower_count(struct peat_follower *follower, const struct pt_peer *base)
{
    pthread_mutex_lock(&follower->mutex);
    follower->damaged += base->is_damaged;
    follower->records += base->records;
    follower->session_records = 0;
    pthread_mutex_unlock(&follower->mutex);
}

/* ---- Asked ---- */

const char *peat_follower_state_name(enum peat_follower_state state)
{
    static const char *const names[] = {"connecting", "following", "seeding", "needs a seed",
                                        "no space",   "diverged",  "failed",  "promoted"};

    return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

void peat_follower_status_get(struct peat_follower *follower,
                              struct peat_follower_status *status_out)
{
    struct peat_follower_status status = {.connections = 0};

    if (follower == NULL || status_out == NULL)
        return;
    status.struct_size = status_out->struct_size;
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

#include "repl/connection.h"

#include "repl/primary_parts.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_MS = 1000,  /* a reader looks at the time, too, should others hold up the waker */
    GLANCE_MS = 1,   /* and between two turns of making sums */
    SEND_MS = 10000, /* a peer that takes nothing for so long is gone */
    STACK_SIZE = 256 << 10
};

/* ---- Sending ---- */

static void piece_sent(void *context, enum peat_status status);

static void broken_set(struct pt_connection *connection)
{
    connection->broken = true;
    pt_peer_cut(pt_primary_session_base(connection->session), "nothing could be sent");
    pt_stream_shut(connection->stream);
}

/* @p size bytes of what is to be sent are the stream's now. */
static void output_taken(struct pt_connection *connection, size_t size)
{
    pt_channel_output_taken(pt_primary_session_base(connection->session)->channel, size);
    connection->sent_size += size;
    atomic_fetch_add(&connection->primary->list.sent_size, size);
}

/* Send what goes at once, from where it lies: to hand it to another thread takes longer than sending it. */
static void send_at_once(struct pt_connection *connection)
{
    struct pt_channel *channel = pt_primary_session_base(connection->session)->channel;
    struct peat_bytes output = pt_channel_output(channel);
    size_t size = 0;

    if (connection->sending || connection->broken || output.size == 0)
        return;
    if (pt_stream_try(connection->stream, output.data, output.size, &size) != PEAT_OK)
        broken_set(connection);
    output_taken(connection, size);
}

/* Send what there is, unless something is under way. With the connection's mutex held. */
static void flush(struct pt_connection *connection)
{
    struct pt_channel *channel = pt_primary_session_base(connection->session)->channel;
    struct peat_bytes output = pt_channel_output(channel);
    size_t size = output.size < PT_CONNECTION_PIECE_SIZE ? output.size : PT_CONNECTION_PIECE_SIZE;

    if (connection->sending || connection->broken || size == 0)
        return;
    memcpy(connection->piece, output.data, size);
    output_taken(connection, size);
    connection->sending = true;
    pt_stream_send(connection->stream, connection->piece, size, SEND_MS, piece_sent, connection);
}

/* With the mutex held. */
static void step(struct pt_connection *connection)
{
    const struct pt_peer *base = pt_primary_session_base(connection->session);

    (void)pt_primary_session_step(connection->session, pt_now_us());
    send_at_once(connection);
    /* What comes after that goes a piece at a time, so that a follower that takes much does not keep others waiting. */
    (void)pt_primary_session_step(connection->session, pt_now_us());
    atomic_fetch_add(&connection->primary->list.sent_records,
                     base->records - connection->sent_records);
    connection->sent_records = base->records;
    flush(connection);
    if (!connection->sending && pt_primary_session_has_all(connection->session))
        pt_waker_want(&connection->primary->waker);
    if (base->end != PT_PEER_GOES_ON && (!connection->sending || !base->has_last_words)) /* (2) */
        pt_stream_shut(connection->stream);
}

void pt_connection_step(struct pt_connection *connection)
{
    pthread_mutex_lock(&connection->mutex);
    step(connection);
    pthread_mutex_unlock(&connection->mutex);
}

static void piece_sent(void *context, enum peat_status status)
{
    struct pt_connection *connection = context;

    pthread_mutex_lock(&connection->mutex);
    connection->sending = false;
    if (status == PEAT_OK) {
        step(connection);
    } else {
        broken_set(connection);
    }
    pthread_cond_broadcast(&connection->idle);
    pthread_mutex_unlock(&connection->mutex);
}

/* ---- Reading ---- */

/* What the peer sent, and what time has brought. false: it is over. *sums_out: there are sums to be made (3). */
static bool take(struct pt_connection *connection, const uint8_t *bytes, size_t size,
                 bool *sums_out)
{
    struct pt_connection_list *list = &connection->primary->list;
    struct pt_peer *base = pt_primary_session_base(connection->session);
    bool was_proven;
    bool goes_on;

    pthread_mutex_lock(&connection->mutex);
    was_proven = pt_channel_is_proven(base->channel);
    connection->received_size += size;
    atomic_fetch_add(&list->received_size, size);
    if (size > 0)
        pt_primary_session_receive(connection->session, bytes, size, pt_now_us());
    if (!was_proven && pt_channel_is_proven(base->channel) &&
        !pt_connection_list_admit(list, connection))
        pt_peer_stop(base, PT_PEER_REFUSED, PT_BYE_CLOSING, pt_now_us(),
                     "%d followers follow already", PT_FOLLOWERS_MAX);
    pt_connection_list_name(list, connection);
    pt_primary_session_sums_send(connection->session, pt_now_us());
    step(connection);
    *sums_out = pt_primary_session_is_summing(connection->session);
    goes_on = base->end == PT_PEER_GOES_ON;
    pthread_mutex_unlock(&connection->mutex);
    return goes_on;
}

/* Count an event, and tell it. */
static void tell(struct pt_connection *connection, enum peat_primary_event_kind kind)
{
    struct peat_primary *primary = connection->primary;
    const struct pt_peer *base = pt_primary_session_base(connection->session);
    struct peat_primary_event event = {.kind = kind};
    char name[PEAT_NAME_SIZE_MAX + 1];
    char words[PT_PEER_WORDS_MAX];

    pt_connection_list_count(&primary->list, kind);
    pthread_mutex_lock(&connection->mutex);
    (void)strcpy(name, pt_primary_session_name(connection->session));
    (void)strcpy(words, base->words);
    event.position = base->theirs;
    pthread_mutex_unlock(&connection->mutex);
    event.name = name;
    if (kind != PEAT_PRIMARY_CONNECTED &&
        kind != PEAT_PRIMARY_SEED_BEGUN) /* it may have ended since */
        event.words = words;
    pt_primary_events_tell(&primary->events, event);
}

/* Tell what the follower gets, once that is known. Who compares is none, and nothing is told of it. */
static void beginning_tell(struct pt_connection *connection)
{
    if (connection->told != PT_SERVES_NOTHING)
        return;
    pthread_mutex_lock(&connection->mutex);
    connection->told = pt_primary_session_serves(connection->session);
    pthread_mutex_unlock(&connection->mutex);
    if (connection->told == PT_SERVES_LOG)
        tell(connection, PEAT_PRIMARY_CONNECTED);
    else if (connection->told == PT_SERVES_STATE)
        tell(connection, PEAT_PRIMARY_SEED_BEGUN);
}

/* Tell how it ended; it has left the list. Strangers are told by their number. */
static void end_tell(struct pt_connection *connection)
{
    const struct pt_peer *base = pt_primary_session_base(connection->session);

    if (connection->is_stranger || connection->told == PT_SERVES_SUMS)
        return;
    if (connection->told == PT_SERVES_NOTHING)
        tell(connection, PEAT_PRIMARY_REFUSED);
    else if (connection->told == PT_SERVES_STATE && base->bye == PT_BYE_SEEDED)
        tell(connection, PEAT_PRIMARY_SEED_DONE);
    else
        tell(connection, PEAT_PRIMARY_DISCONNECTED);
    if (pt_primary_session_has_fenced(connection->session))
        tell(connection, PEAT_PRIMARY_FENCED);
}

/* What is left to be sent has a little time to go. */
static void say_last_words(struct pt_connection *connection)
{
    struct timespec until;

    pt_deadline(PT_LAST_WORDS_MS, &until);
    pthread_mutex_lock(&connection->mutex);
    while (connection->sending &&
           pthread_cond_timedwait(&connection->idle, &connection->mutex, &until) == 0)
        ;
    connection->broken = true; /* nothing more is begun */
    pthread_mutex_unlock(&connection->mutex);
}

static void *reader_run(void *context)
{
    struct pt_connection *connection = context;
    struct pt_connection_list *list = &connection->primary->list;
    uint8_t bytes[64 << 10];
    bool goes_on = true;
    bool sums = false;

    (void)pthread_setname_np(pthread_self(), "peat-session");
    while (goes_on) {
        const char *why = "";
        size_t size;
        enum peat_status status = pt_stream_receive(connection->stream, bytes, sizeof(bytes),
                                                    sums ? GLANCE_MS : READ_MS, &size, &why);

        if (status != PEAT_OK && status != PEAT_TIMEOUT) {
            pthread_mutex_lock(&connection->mutex);
            pt_peer_cut(pt_primary_session_base(connection->session), why);
            pthread_mutex_unlock(&connection->mutex);
        }
        goes_on = take(connection, bytes, size, &sums);
        beginning_tell(connection);
        if (goes_on && sums)
            pt_primary_session_sum(connection->session);
    }
    say_last_words(connection);
    pt_stream_shut(connection->stream);
    pt_connection_list_leave(list, connection);
    end_tell(connection);
    pt_connection_list_unpin(list, connection);
    return NULL;
}

/* ---- Beginning and ending ---- */

/* An older connection of this follower may be dead without our knowing: it is shut, and when the follower dials
 * again its feed is free. */
static void displace(void *context, const struct pt_primary_session *session)
{
    struct peat_primary *primary = context;

    pt_connection_list_shut(&primary->list, pt_primary_session_name(session));
}

/* A detached thread of @p connection, which has it from now on. */
static bool reader_start(struct pt_connection *connection)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int error;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &attributes, reader_run, connection);
    (void)pthread_attr_destroy(&attributes);
    return error == 0;
}

static struct pt_connection *connection_new(struct peat_primary *primary, struct pt_stream *stream)
{
    struct pt_primary_session_options options = {.keys = primary->keys.keys,
                                                 .key_count = primary->keys.count,
                                                 .displace = displace,
                                                 .context = primary};
    struct pt_connection *connection = calloc(1, sizeof(*connection));

    if (connection == NULL)
        return NULL;
    if (pt_primary_session_open(primary->db, &options, pt_now_us(), &connection->session) !=
        PEAT_OK) {
        free(connection);
        return NULL;
    }
    connection->primary = primary;
    connection->stream = stream;
    connection->pins = 1;
    connection->is_stranger = true;
    (void)pthread_mutex_init(&connection->mutex, NULL);
    pt_condition_make(&connection->idle);
    return connection;
}

void pt_connection_free(struct pt_connection *connection)
{
    pt_stream_close(connection->stream); /* no callback runs after that */
    pt_primary_session_close(connection->session);
    (void)pthread_cond_destroy(&connection->idle);
    (void)pthread_mutex_destroy(&connection->mutex);
    free(connection);
}

void pt_connection_begin(struct peat_primary *primary, struct pt_stream *stream)
{
    struct pt_connection *connection;

    if (!pt_connection_list_let_in(&primary->list)) {
        pt_stream_close(stream);
        return;
    }
    connection = connection_new(primary, stream);
    if (connection == NULL) {
        pt_stream_close(stream);
        pt_connection_list_take_back(&primary->list);
        return;
    }
    pt_connection_list_enter(&primary->list, connection);
    if (!reader_start(connection)) {
        pt_connection_list_leave(&primary->list, connection);
        pt_connection_list_unpin(&primary->list, connection);
    }
}

void pt_connection_stop(struct pt_connection *connection)
{
    pthread_mutex_lock(&connection->mutex);
    pt_peer_stop(pt_primary_session_base(connection->session), PT_PEER_CLOSED, PT_BYE_CLOSING,
                 pt_now_us(), "the primary is being stopped");
    step(connection);
    pthread_mutex_unlock(&connection->mutex);
}

/* ---- Status ---- */

bool pt_connection_about(struct pt_connection *connection, const struct peat_position *newest,
                         bool (*callback)(void *context,
                                          const struct peat_primary_follower *follower),
                         void *context)
{
    struct peat_primary_follower follower = {.struct_size = sizeof(follower)};
    struct pt_primary_session *session = connection->session;
    const struct pt_peer *base = pt_primary_session_base(session);
    char name[PEAT_NAME_SIZE_MAX + 1];
    enum pt_serving serves;
    struct pt_ack ack;
    uint64_t now_us;

    pthread_mutex_lock(&connection->mutex);
    now_us = pt_now_us();
    serves = pt_primary_session_serves(session);
    (void)strcpy(name, pt_primary_session_name(session));
    ack = pt_primary_session_ack(session);
    follower.silent_us = pt_above(now_us, base->heard_us);
    follower.connected_us = pt_above(now_us, base->begun_us);
    follower.lag_bytes = pt_above(newest->position, base->theirs.position);
    follower.lag_us =
        newest->commit > base->theirs.commit ? pt_above(newest->time_us, base->theirs.time_us) : 0;
    follower.sent_size = connection->sent_size;
    follower.received_size = connection->received_size;
    follower.sent_records = connection->sent_records;
    pthread_mutex_unlock(&connection->mutex);
    if (serves != PT_SERVES_LOG && serves != PT_SERVES_STATE)
        return true;
    follower.is_seeding = serves == PT_SERVES_STATE;
    follower.name = name;
    follower.received = ack.received;
    follower.durable = ack.durable;
    follower.applied = ack.applied;
    follower.lag = pt_above(newest->commit, ack.applied);
    return callback(context, &follower);
}

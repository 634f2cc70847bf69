/*
 * A follower: one thread that dials, follows, and dials again. What it sends is little, so it sends and receives in
 * turn; the primary always reads. Whoever stops it shuts what the thread may wait in.
 *
 * What its parts share: follower.c (the public calls), follower_thread.c (the thread), follower_status.c (what it tells of
 * itself).
 */
#ifndef PEAT_REPL_FOLLOWER_PARTS_H
#define PEAT_REPL_FOLLOWER_PARTS_H

#include "repl/follower_session.h"
#include "repl/peat_repl.h"
#include "repl/settings.h"
#include "repl/stream.h"

#include <pthread.h>
#include <stdatomic.h>

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

/* The thread; @p context is the follower. */
void *pt_follower_run(void *context);

/* Whether there is a primary at the other end. */
bool pt_follower_is_connected(enum peat_follower_state state);
/* It is in @p state from now on, and @p words say why. Takes the mutex. */
void pt_follower_ended(struct peat_follower *follower, enum peat_follower_state state,
                       const char *words);
/* Note how far the connection has come, and tell of it while it goes on. Takes the mutex. */
void pt_follower_note(struct peat_follower *follower, struct pt_follower_session *session);
/* There is a connection, or none any more: NULL. Takes the mutex. */
void pt_follower_stream_set(struct peat_follower *follower, struct pt_stream *stream);
/* Add up what the connection has come to. Takes the mutex. */
void pt_follower_count(struct peat_follower *follower, const struct pt_peer *base);
/* An event, if the state is another one than was told, or has another reason. Without the mutex: the program may look at everything. */
void pt_follower_tell(struct peat_follower *follower);

#endif

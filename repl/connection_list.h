/*
 * The connections of a primary: which there are, how many there may be, and what has become of those that were.
 *
 *  1. Who connects is a stranger until it has shown a key. Of strangers there are few at a time, and those that were are a
 *     number; of those that have a key there are more.
 *  2. The list's mutex comes after a connection's, and nobody who holds it takes another one: who walks the list pins what it
 *     needs, and lets the list go.
 *  3. Whoever lets the last pin go frees a connection. Its reader holds one until its session has ended and the stream is shut.
 */
#ifndef PEAT_REPL_CONNECTION_LIST_H
#define PEAT_REPL_CONNECTION_LIST_H

#include "repl/peat_repl.h"
#include "repl/peer.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    PT_STRANGERS_MAX = 16, /* connections that have not shown a key yet */
    PT_FOLLOWERS_MAX = 64,
    PT_CONNECTIONS_MAX = PT_FOLLOWERS_MAX + PT_STRANGERS_MAX
};

struct pt_connection;

struct pt_connection_list {
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t left;   /* a connection is gone */
    struct pt_connection *first;
    size_t connection_count; /* those that are not listed yet, or not any more, but there, too */
    size_t stranger_count;   /* of those that are listed */
    size_t follower_count;   /* likewise: those that have shown a key */
    uint64_t accepted;
    uint64_t refused;
    uint64_t turned_away;
    uint64_t damaged;
    uint64_t seeds_begun;
    uint64_t seeds_done;
    char words[PT_PEER_WORDS_MAX];          /* of the connection with a key that ended last */
    char stranger_words[PT_PEER_WORDS_MAX]; /* of the one without */
    /* Of all connections, counted without the mutex. */
    _Atomic uint64_t sent_size;
    _Atomic uint64_t received_size;
    _Atomic uint64_t sent_records;
};

void pt_connection_list_init(struct pt_connection_list *list);
void pt_connection_list_fini(struct pt_connection_list *list);

/* Whether one more stranger is let in; it is counted then. */
bool pt_connection_list_let_in(struct pt_connection_list *list);
/* It came to nothing. */
void pt_connection_list_take_back(struct pt_connection_list *list);
/* It is there from now on, with one pin, which is its reader's. */
void pt_connection_list_enter(struct pt_connection_list *list, struct pt_connection *connection);
/* It has shown that it has a key. false: there are too many. */
bool pt_connection_list_admit(struct pt_connection_list *list, struct pt_connection *connection);
/* Its follower's name may be known by now. With the connection's mutex held. */
void pt_connection_list_name(struct pt_connection_list *list, struct pt_connection *connection);
void pt_connection_list_leave(struct pt_connection_list *list, struct pt_connection *connection);

/* All connections, pinned; the number of them. */
size_t pt_connection_list_pin(struct pt_connection_list *list,
                              struct pt_connection *pinned[PT_CONNECTIONS_MAX]);
void pt_connection_list_unpin(struct pt_connection_list *list, struct pt_connection *connection);

/* Shut those under that name. */
void pt_connection_list_shut(struct pt_connection_list *list, const char *name);
/* Wait until all are gone; those that are not after @p ms are shut. */
void pt_connection_list_wait_gone(struct pt_connection_list *list, unsigned ms);

/* What was told of one. */
void pt_connection_list_count(struct pt_connection_list *list, enum peat_primary_event_kind kind);
/* How many strangers were refused, and why the last one was. */
uint64_t pt_connection_list_refused(struct pt_connection_list *list, char words[PT_PEER_WORDS_MAX]);
/* All but the port. */
void pt_connection_list_about(struct pt_connection_list *list,
                              struct peat_primary_status *status_out);

#endif

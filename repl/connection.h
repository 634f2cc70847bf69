/*
 * One connection of a primary: a session, the stream that it speaks through, and a thread that reads from that.
 *
 *  1. What is to be sent goes out by itself, a piece at a time; the next is made when that has gone.
 *  2. Whose session has ended, wherever, is shut when its last words have gone, and at once where it has none, as a silent peer's:
 *     so its reader, who waits for bytes, learns of it.
 *  3. A reader also makes the sums that its peer asks for, without the mutex.
 *  4. What the program is told of it its reader tells, without a lock.
 */
#ifndef PEAT_REPL_CONNECTION_H
#define PEAT_REPL_CONNECTION_H

#include "repl/peat_repl.h"
#include "repl/primary_session.h"
#include "repl/stream.h"

#include <pthread.h>

enum {
    PT_CONNECTION_PIECE_SIZE = 256 << 10,
    PT_LAST_WORDS_MS = 500 /* for what is left to be sent of a session that has ended */
};

struct peat_primary;

struct pt_connection {
    struct peat_primary *primary;
    struct pt_stream *stream;
    /* Guarded by the list's mutex. */
    struct pt_connection *next;
    unsigned pins;
    bool is_stranger;
    char name[PEAT_NAME_SIZE_MAX + 1]; /* the follower's, "" before it is known */
    enum pt_serving told; /* its reader's: what the program has been told that it gets */
    /* Guarded by this one. */
    pthread_mutex_t mutex;
    pthread_cond_t idle; /* nothing is being sent */
    struct pt_primary_session *session;
    bool sending;
    bool broken;
    uint64_t sent_size;
    uint64_t received_size;
    uint64_t sent_records;
    uint8_t piece[PT_CONNECTION_PIECE_SIZE]; /* what is under way */
};

/* @p stream, which it has from now on, was accepted: a connection of @p primary begins, if there may be one more. */
void pt_connection_begin(struct peat_primary *primary, struct pt_stream *stream);
/* Send what can be sent, or end what is over. Takes its mutex. */
void pt_connection_step(struct pt_connection *connection);
/* The primary is being stopped: it ends, and its peer is told. */
void pt_connection_stop(struct pt_connection *connection);
/* Tell of it, if it is a follower's, when @p newest is the primary's newest commit. What @p callback gives; else true. */
bool pt_connection_about(struct pt_connection *connection, const struct peat_position *newest,
                         bool (*callback)(void *context,
                                          const struct peat_primary_follower *follower),
                         void *context);
/* Of who let its last pin go. */
void pt_connection_free(struct pt_connection *connection);

#endif

/* One connection of a primary: a session, the stream that it speaks through, and a thread that reads from that. */
#ifndef PEAT_REPL_CONNECTION_H
#define PEAT_REPL_CONNECTION_H

#include "repl/primary_session.h"
#include "repl/stream.h"

#include <pthread.h>

enum { PT_CONNECTION_PIECE_SIZE = 256 << 10 };

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

/* Send what can be sent, or end what is over. Takes its mutex. */
void pt_connection_step(struct pt_connection *connection);
/* Of who let its last pin go. */
void pt_connection_free(struct pt_connection *connection);

#endif

/*
 * The thread that ships: it waits for commits, and has every connection of a primary send what is new.
 *
 *  1. No commit waits for a connection, nor has to wake the waker, while no connection wants it: those that send find by
 *     themselves what was committed meanwhile, and those that wait for credit have enough.
 *  2. Its mutex comes after a connection's, and nobody who holds it takes another one.
 *  3. It looks now and then, too, whether a time has come for a connection, and tells of strangers.
 */
#ifndef PEAT_REPL_WAKER_H
#define PEAT_REPL_WAKER_H

#include "repl/connection_list.h"
#include "repl/primary_events.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    PT_WAKER_LOOK_MS = 200 /* so often it looks whether it is to stop, and at the time */
};

struct pt_waker {
    struct peat_db *db;               /* borrowed, as what follows */
    struct pt_connection_list *list;  /* whom it wakes */
    struct pt_primary_events *events; /* whom it tells of strangers */
    pthread_t thread;
    bool has_thread;
    _Atomic bool stopping;
    pthread_mutex_t mutex;
    pthread_cond_t wanted;  /* a connection wants the next commit */
    _Atomic bool is_wanted; /* set with the mutex held */
};

void pt_waker_init(struct pt_waker *waker, struct peat_db *db, struct pt_connection_list *list,
                   struct pt_primary_events *events);
/* false: there are no more threads. */
bool pt_waker_start(struct pt_waker *waker);
/* A connection has sent all that there is: it wants the next commit. Any thread. */
void pt_waker_want(struct pt_waker *waker);
/* It is to end. */
void pt_waker_shut(struct pt_waker *waker);
/* After shutting it: waits for it, and tells of the last strangers. */
void pt_waker_close(struct pt_waker *waker);

#endif

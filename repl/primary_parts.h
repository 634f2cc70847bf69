/*
 * A primary: listens, and serves whoever has a key. What its parts share: primary.c (the public calls, and the threads that
 * accept), connection.c (one connection), connection_list.c (all of them), waker.c (the thread that ships).
 *
 *  1. Each connection has a thread that reads from it. What is to be sent goes out by itself, a piece at a time; the next
 *     is made when that has gone. One more thread, the waker, waits for commits, and has every connection send what is new.
 *  2. A connection's mutex guards its session. The list's mutex and the waker's come after it, and nobody who holds one of them
 *     takes another one.
 */
#ifndef PEAT_REPL_PRIMARY_PARTS_H
#define PEAT_REPL_PRIMARY_PARTS_H

#include "repl/connection.h"
#include "repl/connection_list.h"
#include "repl/primary_events.h"
#include "repl/settings.h"
#include "repl/stream.h"
#include "repl/waker.h"

enum { PT_LISTENERS_MAX = 8 };

struct pt_primary_listener {
    struct peat_primary *primary;
    struct pt_listener *listener;
    pthread_t thread;
    bool has_thread;
};

struct peat_primary {
    struct peat_db *db;
    struct pt_keys keys;
    struct pt_primary_listener listeners[PT_LISTENERS_MAX];
    size_t listener_count;
    unsigned port; /* the first one's: events are told, and looked at, while listeners close */
    _Atomic bool stopping;
    struct pt_connection_list list;
    struct pt_primary_events events;
    struct pt_waker waker;
};

#endif

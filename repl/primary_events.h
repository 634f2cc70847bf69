/*
 * What a primary tells its program while it runs. One event at a time; whoever tells holds no lock that a public call takes, so
 * that the program may call from its callback.
 *
 * Strangers come as often as they like: they are counted, and told as a number, the first at once and then at most each
 * PT_STRANGERS_US.
 */
#ifndef PEAT_REPL_PRIMARY_EVENTS_H
#define PEAT_REPL_PRIMARY_EVENTS_H

#include "repl/peat_repl.h"

#include <pthread.h>

enum { PT_STRANGERS_US = 10000000 };

struct pt_primary_events {
    void (*callback)(void *context,
                     const struct peat_primary_event *event); /* NULL: nobody listens */
    void *context;
    pthread_mutex_t mutex; /* held while it runs */
    /* The waker's. */
    uint64_t strangers_told;
    uint64_t strangers_due_us; /* not before */
};

void pt_primary_events_init(struct pt_primary_events *events,
                            const struct peat_primary_options *options);
void pt_primary_events_fini(struct pt_primary_events *events);

/* Fills in what all events have. */
void pt_primary_events_tell(struct pt_primary_events *events, struct peat_primary_event event);
/* @p refused: strangers since the beginning. @p is_last: it is the last time, whatever the time is. */
void pt_primary_events_strangers(struct pt_primary_events *events, uint64_t refused,
                                 const char *words, uint64_t now_us, bool is_last);

#endif

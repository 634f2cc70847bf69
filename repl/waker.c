#include "repl/waker.h"

#include "repl/connection.h"
#include "repl/settings.h"

void pt_waker_want(struct pt_waker *waker)
{
    if (atomic_load(&waker->is_wanted))
        return;
    pthread_mutex_lock(&waker->mutex);
    atomic_store(&waker->is_wanted, true);
    pthread_cond_signal(&waker->wanted);
    pthread_mutex_unlock(&waker->mutex);
}

/* Whether a connection wants the next commit now, or within a while. */
static bool is_wanted(struct pt_waker *waker)
{
    struct timespec until;
    bool wanted;

    pt_deadline(PT_WAKER_LOOK_MS, &until);
    pthread_mutex_lock(&waker->mutex);
    while (!atomic_load(&waker->is_wanted) &&
           pthread_cond_timedwait(&waker->wanted, &waker->mutex, &until) == 0)
        ;
    wanted = atomic_exchange(&waker->is_wanted, false);
    pthread_mutex_unlock(&waker->mutex);
    return wanted;
}

/* Who came without a key: how many, and why the last one was refused. */
static void strangers_tell(struct pt_waker *waker, bool is_last)
{
    char words[PT_PEER_WORDS_MAX];
    uint64_t refused = pt_connection_list_refused(waker->list, words);

    pt_primary_events_strangers(waker->events, refused, words, pt_now_us(), is_last);
}

static void *waker_run(void *context)
{
    struct pt_waker *waker = context;
    struct pt_connection *pinned[PT_CONNECTIONS_MAX];
    uint64_t newest = 0;

    (void)pthread_setname_np(pthread_self(), "peat-ship");
    while (!atomic_load(&waker->stopping)) {
        unsigned wait_ms =
            is_wanted(waker) && !atomic_load(&waker->stopping) ? PT_WAKER_LOOK_MS : 0;
        /* The newest before anyone looks: what comes later ends the next wait at once. */
        enum peat_status status = peat_wait_commit(waker->db, newest + 1, wait_ms, &newest);
        size_t count = pt_connection_list_pin(waker->list, pinned);

        for (size_t i = 0; i < count; i++) {
            pt_connection_step(pinned[i]);
            pt_connection_list_unpin(waker->list, pinned[i]);
        }
        strangers_tell(waker, false);
        if (status != PEAT_OK && status != PEAT_TIMEOUT)
            pt_sleep_ms(PT_WAKER_LOOK_MS);
    }
    return NULL;
}

void pt_waker_init(struct pt_waker *waker, struct peat_db *db, struct pt_connection_list *list,
                   struct pt_primary_events *events)
{
    waker->db = db;
    waker->list = list;
    waker->events = events;
    (void)pthread_mutex_init(&waker->mutex, NULL);
    pt_condition_make(&waker->wanted);
}

bool pt_waker_start(struct pt_waker *waker)
{
    waker->has_thread = pthread_create(&waker->thread, NULL, waker_run, waker) == 0;
    return waker->has_thread;
}

void pt_waker_shut(struct pt_waker *waker)
{
    atomic_store(&waker->stopping, true);
    pt_waker_want(waker); /* it may be waiting for somebody to want it */
}

void pt_waker_close(struct pt_waker *waker)
{
    if (waker->has_thread)
        (void)pthread_join(waker->thread, NULL);
    strangers_tell(waker, true);
    (void)pthread_cond_destroy(&waker->wanted);
    (void)pthread_mutex_destroy(&waker->mutex);
}

/* A primary as its program has it: it starts, listens, is looked at and stops. primary_parts.h says how it works. */
#include "repl/peat_repl.h"
#include "repl/primary_parts.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    AGAIN_MS = 200,  /* after a connection could not be accepted */
    ACCEPT_MS = 5000 /* pt_listener_shut() ends it before */
};

/* ---- Accepting ---- */

static void *listener_run(void *context)
{
    struct pt_primary_listener *listener = context;
    struct peat_primary *primary = listener->primary;

    (void)pthread_setname_np(pthread_self(), "peat-listen");
    while (!atomic_load(&primary->stopping)) {
        const char *why = "";
        struct pt_stream *stream = NULL;
        enum peat_status status = pt_listener_accept(listener->listener, ACCEPT_MS, &stream, &why);

        if (status == PEAT_OK)
            pt_connection_begin(primary, stream);
        else if (status != PEAT_TIMEOUT && status != PEAT_DONE)
            pt_sleep_ms(AGAIN_MS); /* out of descriptors, say: others may free some */
    }
    return NULL;
}

/* ---- Starting and stopping ---- */

void peat_primary_options_init(struct peat_primary_options *options)
{
    if (options != NULL)
        *options = (struct peat_primary_options){.struct_size = sizeof(*options)};
}

static enum peat_status listeners_open(struct peat_primary *primary,
                                       const struct peat_primary_options *options,
                                       struct peat_repl_error *error)
{
    enum peat_status status = PEAT_OK;

    for (size_t i = 0; i < options->url_count && status == PEAT_OK; i++) {
        struct pt_primary_listener *listener = &primary->listeners[i];
        const char *why = "";

        listener->primary = primary;
        status = pt_url_check(options->urls[i], primary->keys.count > 0, options->flags, error);
        if (status != PEAT_OK)
            return status;
        status = pt_listener_open(options->urls[i], &listener->listener, &why);
        if (status != PEAT_OK)
            return pt_repl_fail(error, status, "cannot listen on %s: %s", options->urls[i], why);
        primary->listener_count++;
    }
    if (status == PEAT_OK)
        primary->port = pt_listener_port(primary->listeners[0].listener);
    return status;
}

static enum peat_status threads_start(struct peat_primary *primary, struct peat_repl_error *error)
{
    if (!pt_waker_start(&primary->waker))
        return pt_repl_fail(error, PEAT_NO_MEMORY, "no thread could be started");
    for (size_t i = 0; i < primary->listener_count; i++) {
        struct pt_primary_listener *listener = &primary->listeners[i];

        listener->has_thread = pthread_create(&listener->thread, NULL, listener_run, listener) == 0;
        if (!listener->has_thread)
            return pt_repl_fail(error, PEAT_NO_MEMORY, "no thread could be started");
    }
    return PEAT_OK;
}

enum peat_status peat_primary_start(struct peat_db *db, const struct peat_primary_options *given,
                                    struct peat_primary **primary_out,
                                    struct peat_repl_error *error_out)
{
    struct peat_repl_error unwanted;
    struct peat_repl_error *error = error_out == NULL ? &unwanted : error_out;
    struct peat_primary_options taken;
    const struct peat_primary_options *options = &taken;
    struct peat_primary *primary;
    enum peat_status status;

    peat_primary_options_init(&taken);
    if (primary_out != NULL)
        *primary_out = NULL;
    if (db == NULL || given == NULL || primary_out == NULL ||
        !pt_options_take(&taken, sizeof(taken), given,
                         offsetof(struct peat_primary_options, event)) ||
        (options->url_count > 0 && options->urls == NULL) ||
        (options->key_count > 0 && options->key_paths == NULL))
        return pt_repl_fail(error, PEAT_INVALID,
                            "an argument is missing, or its options are not set up");
    if ((options->flags & ~PEAT_REPL_INSECURE) != 0)
        return pt_repl_fail(error, PEAT_INVALID, "unknown flags 0x%x", options->flags);
    if ((peat_flags(db) & PEAT_READ_ONLY) != 0)
        return pt_repl_fail(error, PEAT_INVALID,
                            "the store was opened read-only: only its writer can keep log for "
                            "followers");
    if (options->url_count == 0 || options->url_count > PT_LISTENERS_MAX)
        return pt_repl_fail(error, PEAT_INVALID, "%zu addresses to listen on: 1 to %d",
                            options->url_count, PT_LISTENERS_MAX);
    primary = calloc(1, sizeof(*primary));
    if (primary == NULL)
        return pt_repl_fail(error, PEAT_NO_MEMORY, "out of memory");
    primary->db = db;
    pt_connection_list_init(&primary->list);
    pt_primary_events_init(&primary->events, options);
    pt_waker_init(&primary->waker, db, &primary->list, &primary->events);
    status = pt_keys_read(options->key_paths, options->key_count, &primary->keys, error);
    if (status == PEAT_OK)
        status = listeners_open(primary, options, error);
    if (status == PEAT_OK)
        status = threads_start(primary, error);
    if (status != PEAT_OK) {
        peat_primary_stop(primary);
        return status;
    }
    *primary_out = primary;
    return PEAT_OK;
}

/* Connections end by themselves, told that it is over; those that do not in time are shut. */
static void connections_stop(struct peat_primary *primary)
{
    struct pt_connection *pinned[PT_CONNECTIONS_MAX];
    size_t count = pt_connection_list_pin(&primary->list, pinned);

    for (size_t i = 0; i < count; i++) {
        pt_connection_stop(pinned[i]);
        pt_connection_list_unpin(&primary->list, pinned[i]);
    }
    pt_connection_list_wait_gone(&primary->list, PT_LAST_WORDS_MS + 2 * PT_WAKER_LOOK_MS);
}

void peat_primary_stop(struct peat_primary *primary)
{
    if (primary == NULL)
        return;
    atomic_store(&primary->stopping, true);
    pt_waker_shut(&primary->waker);
    for (size_t i = 0; i < primary->listener_count; i++)
        pt_listener_shut(primary->listeners[i].listener);
    for (size_t i = 0; i < primary->listener_count; i++) {
        if (primary->listeners[i].has_thread)
            (void)pthread_join(primary->listeners[i].thread, NULL);
        pt_listener_close(primary->listeners[i].listener);
    }
    connections_stop(primary);
    pt_waker_close(&primary->waker);
    pt_primary_events_fini(&primary->events);
    pt_connection_list_fini(&primary->list);
    pt_keys_forget(&primary->keys);
    free(primary);
}

/* ---- Status ---- */

void peat_primary_status_get(struct peat_primary *primary, struct peat_primary_status *status_out)
{
    struct peat_primary_status status = {.connected = 0};

    if (primary == NULL || status_out == NULL)
        return;
    status.struct_size = status_out->struct_size;
    pt_connection_list_about(&primary->list, &status);
    status.port = primary->port;
    pt_struct_copy(status_out, &status, sizeof(status));
}

void peat_primary_list(struct peat_primary *primary,
                       bool (*callback)(void *context,
                                        const struct peat_primary_follower *follower),
                       void *context)
{
    struct pt_connection *pinned[PT_CONNECTIONS_MAX];
    struct peat_position newest;
    size_t count;
    bool goes_on;

    if (primary == NULL || callback == NULL)
        return;
    count = pt_connection_list_pin(&primary->list, pinned);
    goes_on = peat_position_get(primary->db, &newest) == PEAT_OK;
    for (size_t i = 0; i < count; i++) {
        goes_on = goes_on && pt_connection_about(pinned[i], &newest, callback, context);
        pt_connection_list_unpin(&primary->list, pinned[i]);
    }
}

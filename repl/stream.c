/*
 * Rules for nng (1.5.2 of Debian 12), found by measuring and kept here alone:
 *
 *  1. NNG_OPT_TCP_NODELAY is set on dialers and on listeners: without it a small message waits for 40 ms.
 *  2. Every operation has a time limit, so nothing waits for ever for a peer that says nothing.
 *  3. Closing: first the stream, dialer or listener is closed, then its aios are stopped, which waits for callbacks, then they are
 *     freed, and only then what they worked on. nng's clock may just be about to end an operation whose time is up: stopping
 *     its aio does not wait for that, freeing it does; else the clock finds what is gone, and nng ends the process.
 *  4. When a time limit passes, also that of an operation that has long been done, nng's clock is busy for up to a millisecond
 *     and keeps other operations waiting: so limits are long, and what is due sooner waits for something that comes.
 *  5. What is asked of a stream that has been closed is not refused: it waits for its time limit. So whoever waits looks whether the
 *     stream is shut before it asks, and again when it has asked.
 *  6. nng starts threads, and does not survive fork(): a process that forks does so before.
 */
#include "repl/stream.h"

#include <nng/nng.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct pt_stream {
    nng_stream *stream;
    _Atomic bool shut; /* (5) */
    nng_aio *receiving;
    nng_aio *sending;
    nng_aio *writing;
    nng_aio *trying;
    const uint8_t *rest; /* of what is being sent */
    size_t rest_size;
    unsigned send_timeout_ms;
    void (*done)(void *context, enum peat_status status);
    void *context;
};

struct pt_listener {
    nng_stream_listener *listener;
    nng_aio *accepting;
    _Atomic bool shut;
};

struct pt_dialer {
    nng_stream_dialer *dialer;
    nng_aio *dialing;
    _Atomic bool cancelled;
};

static enum peat_status status_of(int error, const char **why_out)
{
    switch (error) {
    case 0:
        return PEAT_OK;
    case NNG_ETIMEDOUT:
        return PEAT_TIMEOUT;
    case NNG_ECLOSED:
    case NNG_ECONNSHUT:
    case NNG_ECONNRESET:
        *why_out = "the peer has closed the connection";
        return PEAT_DONE;
    case NNG_ECANCELED:
        return PEAT_DONE;
    case NNG_ENOMEM:
        *why_out = "out of memory";
        return PEAT_NO_MEMORY;
    case NNG_EADDRINUSE:
        *why_out = "the address is in use";
        return PEAT_BUSY;
    case NNG_EINVAL:
    case NNG_ENOTSUP:
    case NNG_EADDRINVAL:
        *why_out = "no address of the kind tcp://host:port or ipc://path";
        return PEAT_INVALID;
    default:
        *why_out = nng_strerror(error);
        return PEAT_IO;
    }
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_supported(const char *url)
{
    return begins(url, "tcp://") || begins(url, "ipc://");
}

/* Nothing else may follow a host: what is before an @ is none, and names may begin as an address does. */
static bool is_port(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

bool pt_url_is_local(const char *url)
{
    static const char *const hosts[] = {"tcp://localhost:", "tcp://[::1]:"};
    static const char numbers[] = "tcp://127.";

    if (begins(url, "ipc://"))
        return true;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        if (begins(url, hosts[i]))
            return is_port(url + strlen(hosts[i]));
    if (!begins(url, numbers))
        return false;
    url += strlen(numbers);
    url += strspn(url, "0123456789.");
    return *url == ':' && is_port(url + 1);
}

/* ---- Streams ---- */

static void send_finished(void *argument);

static enum peat_status stream_new(nng_stream *taken, struct pt_stream **stream_out)
{
    struct pt_stream *stream = calloc(1, sizeof(*stream));

    if (stream != NULL && nng_aio_alloc(&stream->receiving, NULL, NULL) == 0 &&
        nng_aio_alloc(&stream->writing, NULL, NULL) == 0 &&
        nng_aio_alloc(&stream->trying, NULL, NULL) == 0 &&
        nng_aio_alloc(&stream->sending, send_finished, stream) == 0) {
        stream->stream = taken;
        *stream_out = stream;
        return PEAT_OK;
    }
    if (stream != NULL) {
        nng_aio_free(stream->receiving);
        nng_aio_free(stream->writing);
        nng_aio_free(stream->trying);
    }
    free(stream);
    nng_stream_free(taken);
    return PEAT_NO_MEMORY;
}

enum peat_status pt_dialer_open(const char *url, struct pt_dialer **dialer_out,
                                const char **why_out)
{
    struct pt_dialer *dialer = calloc(1, sizeof(*dialer));
    int error;

    *dialer_out = NULL;
    if (dialer == NULL)
        return PEAT_NO_MEMORY;
    error = is_supported(url) ? nng_stream_dialer_alloc(&dialer->dialer, url) : NNG_EINVAL;
    if (error == 0)
        error = nng_aio_alloc(&dialer->dialing, NULL, NULL);
    if (error != 0) {
        pt_dialer_close(dialer);
        return status_of(error, why_out);
    }
    (void)nng_stream_dialer_set_bool(dialer->dialer, NNG_OPT_TCP_NODELAY, true); /* ipc has none */
    *dialer_out = dialer;
    return PEAT_OK;
}

enum peat_status pt_dialer_dial(struct pt_dialer *dialer, unsigned timeout_ms,
                                struct pt_stream **stream_out, const char **why_out)
{
    int error;

    *stream_out = NULL;
    nng_aio_set_timeout(dialer->dialing, (nng_duration)timeout_ms);
    nng_stream_dialer_dial(dialer->dialer, dialer->dialing);
    if (atomic_load(&dialer->cancelled)) /* before there was anything to cancel */
        nng_aio_cancel(dialer->dialing);
    nng_aio_wait(dialer->dialing);
    error = nng_aio_result(dialer->dialing);
    return error != 0 ? status_of(error, why_out)
                      : stream_new(nng_aio_get_output(dialer->dialing, 0), stream_out);
}

void pt_dialer_cancel(struct pt_dialer *dialer)
{
    atomic_store(&dialer->cancelled, true);
    nng_aio_cancel(dialer->dialing);
}

void pt_dialer_close(struct pt_dialer *dialer)
{
    if (dialer == NULL)
        return;
    if (dialer->dialer != NULL)
        nng_stream_dialer_close(dialer->dialer);
    if (dialer->dialing != NULL) {
        nng_aio_stop(dialer->dialing);
        nng_aio_free(dialer->dialing);
    }
    if (dialer->dialer != NULL)
        nng_stream_dialer_free(dialer->dialer);
    free(dialer);
}

enum peat_status pt_stream_receive(struct pt_stream *stream, void *bytes, size_t size,
                                   unsigned timeout_ms, size_t *size_out, const char **why_out)
{
    nng_iov part = {bytes, size};
    int error = nng_aio_set_iov(stream->receiving, 1, &part);

    *size_out = 0;
    if (error == 0 && atomic_load(&stream->shut))
        error = NNG_ECLOSED;
    if (error != 0)
        return status_of(error, why_out);
    nng_aio_set_timeout(stream->receiving, (nng_duration)timeout_ms);
    nng_stream_recv(stream->stream, stream->receiving);
    if (atomic_load(&stream->shut)) /* it may have been closed in between */
        nng_aio_cancel(stream->receiving);
    nng_aio_wait(stream->receiving);
    *size_out = nng_aio_count(stream->receiving);
    return status_of(nng_aio_result(stream->receiving), why_out);
}

/* Send the rest, or as much of it as goes. */
static void send_rest(struct pt_stream *stream)
{
    nng_iov part = {(void *)(uintptr_t)stream->rest, stream->rest_size};

    (void)nng_aio_set_iov(stream->sending, 1, &part); /* one part always fits */
    nng_aio_set_timeout(stream->sending, (nng_duration)stream->send_timeout_ms);
    nng_stream_send(stream->stream, stream->sending);
}

static void send_finished(void *argument)
{
    struct pt_stream *stream = argument;
    const char *why = NULL;
    enum peat_status status = status_of(nng_aio_result(stream->sending), &why);
    size_t size = nng_aio_count(stream->sending);

    if (status == PEAT_OK && size < stream->rest_size) {
        stream->rest += size;
        stream->rest_size -= size;
        send_rest(stream);
        return;
    }
    stream->done(stream->context, status);
}

void pt_stream_send(struct pt_stream *stream, const void *bytes, size_t size, unsigned timeout_ms,
                    void (*done)(void *context, enum peat_status status), void *context)
{
    stream->rest = bytes;
    stream->rest_size = size;
    stream->send_timeout_ms = timeout_ms;
    stream->done = done;
    stream->context = context;
    send_rest(stream);
}

/* nng writes what goes at once on the caller's thread, and an aio without a callback wakes nobody; what does not go at
 * all is taken back. */
enum peat_status pt_stream_try(struct pt_stream *stream, const void *bytes, size_t size,
                               size_t *size_out)
{
    nng_iov part = {(void *)(uintptr_t)bytes, size};
    const char *why = NULL;
    int error;

    (void)nng_aio_set_iov(stream->trying, 1, &part); /* one part always fits */
    nng_aio_set_timeout(stream->trying, NNG_DURATION_INFINITE);
    nng_stream_send(stream->stream, stream->trying);
    nng_aio_cancel(stream->trying);
    nng_aio_wait(stream->trying);
    *size_out = nng_aio_count(stream->trying);
    error = nng_aio_result(stream->trying);
    return error == NNG_ECANCELED ? PEAT_OK : status_of(error, &why);
}

enum peat_status pt_stream_write(struct pt_stream *stream, const void *bytes, size_t size,
                                 unsigned timeout_ms)
{
    enum peat_status status = PEAT_OK;
    const char *why = NULL;
    const uint8_t *rest = bytes;

    while (size > 0 && status == PEAT_OK) {
        nng_iov part = {(void *)(uintptr_t)rest, size};

        if (atomic_load(&stream->shut))
            return PEAT_DONE;
        (void)nng_aio_set_iov(stream->writing, 1, &part); /* one part always fits */
        nng_aio_set_timeout(stream->writing, (nng_duration)timeout_ms);
        nng_stream_send(stream->stream, stream->writing);
        if (atomic_load(&stream->shut)) /* (5) */
            nng_aio_cancel(stream->writing);
        nng_aio_wait(stream->writing);
        status = status_of(nng_aio_result(stream->writing), &why);
        rest += nng_aio_count(stream->writing);
        size -= nng_aio_count(stream->writing);
    }
    return status;
}

void pt_stream_shut(struct pt_stream *stream)
{
    atomic_store(&stream->shut, true);
    nng_stream_close(stream->stream);
}

void pt_stream_close(struct pt_stream *stream)
{
    if (stream == NULL)
        return;
    nng_stream_close(stream->stream);
    nng_aio_stop(stream->receiving);
    nng_aio_stop(stream->writing);
    nng_aio_stop(stream->trying);
    nng_aio_stop(stream->sending);
    nng_aio_free(stream->receiving);
    nng_aio_free(stream->writing);
    nng_aio_free(stream->trying);
    nng_aio_free(stream->sending);
    nng_stream_free(stream->stream);
    free(stream);
}

/* ---- Listeners ---- */

enum peat_status pt_listener_open(const char *url, struct pt_listener **listener_out,
                                  const char **why_out)
{
    struct pt_listener *listener = calloc(1, sizeof(*listener));
    int error;

    *listener_out = NULL;
    if (listener == NULL)
        return PEAT_NO_MEMORY;
    error = is_supported(url) ? nng_stream_listener_alloc(&listener->listener, url) : NNG_EINVAL;
    if (error == 0)
        error = nng_aio_alloc(&listener->accepting, NULL, NULL);
    if (error == 0) {
        (void)nng_stream_listener_set_bool(listener->listener, NNG_OPT_TCP_NODELAY, true);
        error = nng_stream_listener_listen(listener->listener);
    }
    if (error != 0) {
        pt_listener_close(listener);
        return status_of(error, why_out);
    }
    *listener_out = listener;
    return PEAT_OK;
}

enum peat_status pt_listener_accept(struct pt_listener *listener, unsigned timeout_ms,
                                    struct pt_stream **stream_out, const char **why_out)
{
    int error;

    *stream_out = NULL;
    nng_aio_set_timeout(listener->accepting, (nng_duration)timeout_ms);
    nng_stream_listener_accept(listener->listener, listener->accepting);
    nng_aio_wait(listener->accepting);
    error = nng_aio_result(listener->accepting);
    if (atomic_load(&listener->shut)) {
        if (error == 0)
            nng_stream_free(nng_aio_get_output(listener->accepting, 0));
        return PEAT_DONE;
    }
    /* A peer that has gone again, or no descriptor to take one with, is no reason to stop listening. */
    return error != 0 ? (status_of(error, why_out) == PEAT_TIMEOUT ? PEAT_TIMEOUT : PEAT_IO)
                      : stream_new(nng_aio_get_output(listener->accepting, 0), stream_out);
}

void pt_listener_shut(struct pt_listener *listener)
{
    atomic_store(&listener->shut, true);
    nng_stream_listener_close(listener->listener);
}

void pt_listener_close(struct pt_listener *listener)
{
    if (listener == NULL)
        return;
    if (listener->listener != NULL)
        nng_stream_listener_close(listener->listener);
    if (listener->accepting != NULL) {
        nng_aio_stop(listener->accepting);
        nng_aio_free(listener->accepting);
    }
    if (listener->listener != NULL)
        nng_stream_listener_free(listener->listener);
    free(listener);
}

uint16_t pt_listener_port(struct pt_listener *listener)
{
    int port = 0;

    if (nng_stream_listener_get_int(listener->listener, NNG_OPT_TCP_BOUND_PORT, &port) != 0)
        return 0;
    return (uint16_t)port;
}

/*
 * Streams of bytes between nodes, over tcp:// and ipc://: what is needed of nng, with a bound on every wait. Which
 * rules that follows from is in stream.c.
 */
#ifndef PEAT_REPL_STREAM_H
#define PEAT_REPL_STREAM_H

#include "core/peat.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_stream;
struct pt_listener;
struct pt_dialer;

/* Each gives words of its own that say what was wrong, in *why_out: static, or the library's. */

/* PEAT_INVALID: a URL of another kind; PEAT_BUSY: the address is in use; PEAT_IO, PEAT_NO_MEMORY. */
enum peat_status pt_listener_open(const char *url, struct pt_listener **listener_out,
                                  const char **why_out);
/* The next connection. PEAT_TIMEOUT after @p timeout_ms; PEAT_DONE: pt_listener_shut() was called. */
enum peat_status pt_listener_accept(struct pt_listener *listener, unsigned timeout_ms,
                                    struct pt_stream **stream_out, const char **why_out);
/* No more are accepted; whoever waits returns. Any thread. */
void pt_listener_shut(struct pt_listener *listener);
void pt_listener_close(struct pt_listener *listener);
/* The port that was given to tcp://...:0; 0: it has none. */
uint16_t pt_listener_port(struct pt_listener *listener);

/* PEAT_INVALID: a URL of another kind; PEAT_NO_MEMORY. */
enum peat_status pt_dialer_open(const char *url, struct pt_dialer **dialer_out,
                                const char **why_out);
/* A connection. PEAT_TIMEOUT, PEAT_DONE: pt_dialer_cancel() was called, now or ever; PEAT_IO, PEAT_NO_MEMORY. */
enum peat_status pt_dialer_dial(struct pt_dialer *dialer, unsigned timeout_ms,
                                struct pt_stream **stream_out, const char **why_out);
/* Whoever dials returns. Any thread. */
void pt_dialer_cancel(struct pt_dialer *dialer);
void pt_dialer_close(struct pt_dialer *dialer); /* NULL is allowed */

/* Up to @p size bytes, at least one. PEAT_TIMEOUT; PEAT_DONE: the peer has closed it, or pt_stream_shut() was
 * called; PEAT_IO. One thread at a time. */
enum peat_status pt_stream_receive(struct pt_stream *stream, void *bytes, size_t size,
                                   unsigned timeout_ms, size_t *size_out, const char **why_out);
/* All of the bytes, which must stay until @p done is called, on another thread. One at a time. */
void pt_stream_send(struct pt_stream *stream, const void *bytes, size_t size, unsigned timeout_ms,
                    void (*done)(void *context, enum peat_status status), void *context);
/* As many of the bytes as go at once, perhaps none: nobody waits, and no other thread is woken. Not beside
 * pt_stream_send(). Fails as pt_stream_receive(). */
enum peat_status pt_stream_try(struct pt_stream *stream, const void *bytes, size_t size,
                               size_t *size_out);
/* All of the bytes, and wait until they are gone, or PEAT_TIMEOUT: no other thread is woken for it. Fails as
 * pt_stream_receive(). One thread at a time. */
enum peat_status pt_stream_write(struct pt_stream *stream, const void *bytes, size_t size,
                                 unsigned timeout_ms);
/* Whoever waits in a call on it returns. Any thread. */
void pt_stream_shut(struct pt_stream *stream);
/* After shutting it: waits until no callback runs any more. Not from one. */
void pt_stream_close(struct pt_stream *stream); /* NULL is allowed */

/* Whether only this machine's processes can reach @p url. */
bool pt_url_is_local(const char *url);

#endif

/*
 * A follower that applies nothing: what a connection brings, decrypted, checked and acknowledged. It speaks to replication's own
 * parts, as no program does: peat_repl.h has nothing that does not apply.
 */
#include "bench/repl_bench.h"
#include "bench/stopwatch.h"
#include "repl/message.h"
#include "repl/records.h"
#include "repl/settings.h"
#include "repl/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW_SIZE = 8 << 20, WAIT_MS = 60000, LOOK_MS = 5 };

/* One connection. */
struct sink {
    struct pt_stream *stream;
    struct pt_channel *channel;
    _Atomic bool sending;
    uint8_t piece[4096]; /* what is under way */
    uint64_t taken;      /* bytes of records */
    uint64_t received;   /* commit */
};

static void gone(void *context, enum peat_status status)
{
    struct sink *sink = context;

    pt_repl_need(status, "sending");
    atomic_store(&sink->sending, false);
}

/* Send what there is, unless something is under way: then it goes with what is next. */
static void flush(struct sink *sink)
{
    struct peat_bytes output = pt_channel_output(sink->channel);
    size_t size = output.size < sizeof(sink->piece) ? output.size : sizeof(sink->piece);

    if (size == 0 || atomic_load(&sink->sending))
        return;
    memcpy(sink->piece, output.data, size);
    pt_channel_output_taken(sink->channel, size);
    atomic_store(&sink->sending, true);
    pt_stream_send(sink->stream, sink->piece, size, WAIT_MS, gone, sink);
}

static void say(struct sink *sink, enum pt_message_type type, const void *body, size_t size)
{
    struct peat_bytes piece = {body, size};

    pt_repl_need(pt_channel_send(sink->channel, (uint8_t)type, &piece, 1, pt_now_us()),
                 "a message");
}

static void greet(struct sink *sink, const char *name, const struct peat_position *from)
{
    struct pt_hello hello = {.position = *from,
                             .credit = WINDOW_SIZE,
                             .flags = PT_HELLO_SEALS,
                             .name = {name, strlen(name)}};
    uint8_t body[PT_HELLO_SIZE_MAX];
    size_t size;
    const char *wrong = pt_hello_encode(&hello, body, sizeof(body), &size);

    if (wrong != NULL)
        pt_repl_die("hello", wrong);
    say(sink, PT_MESSAGE_HELLO, body, size);
}

/* Go through the records, as a follower does before it applies them. */
static void records_take(struct sink *sink, struct peat_bytes body)
{
    struct peat_record record;
    size_t place = 0;
    size_t count;
    const char *wrong = pt_records_check(body, &count);

    for (; wrong == NULL && count > 0; count--) {
        wrong = pt_records_next(body, &place, &record);
        sink->received = record.commit;
    }
    if (wrong != NULL)
        pt_repl_die("records", wrong);
}

static void frame_take(struct sink *sink, const struct pt_frame *frame)
{
    struct pt_wire_ack body;
    struct pt_ack ack;

    if (frame->type == PT_MESSAGE_BYE || frame->type == PT_MESSAGE_PART)
        pt_repl_die("the primary", "it has nothing to send that fits");
    if (frame->type != PT_MESSAGE_RECORDS)
        return;
    records_take(sink, frame->body);
    sink->taken += frame->body.size;
    ack = (struct pt_ack){.received = sink->received, .credit = sink->taken + WINDOW_SIZE};
    if (pt_ack_encode(&ack, &body) == NULL)
        say(sink, PT_MESSAGE_ACK, &body, sizeof(body));
}

static void bytes_take(struct sink *sink, const uint8_t *bytes, size_t size)
{
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK) {
        const char *why = "";
        struct pt_frame frame;
        size_t taken;

        status = pt_channel_receive(sink->channel, bytes, size, &taken, &frame, &why);
        bytes += taken;
        size -= taken;
        if (status == PEAT_OK)
            frame_take(sink, &frame);
        else if (status < 0)
            pt_repl_die("receiving", why);
    }
}

double pt_repl_sink(struct pt_repl_bench *bench, const char *name, const struct peat_position *from,
                    uint64_t commit)
{
    static uint8_t bytes[64 << 10];
    const char *path = bench->key_path;
    struct sink sink = {.received = from->commit, .sending = false};
    struct pt_dialer *dialer;
    struct peat_repl_error error;
    struct pt_keys keys;
    const char *why = "";
    bool greeted = false;
    char url[64];
    uint64_t begin_ns;
    double seconds;

    if (pt_keys_read(&path, 1, &keys, &error) != PEAT_OK)
        pt_repl_die("key", error.words);
    (void)snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", atomic_load(&bench->shared->port));
    pt_repl_need(pt_dialer_open(url, &dialer, &why), url);
    begin_ns = pt_stopwatch_ns();
    pt_repl_need(pt_dialer_dial(dialer, WAIT_MS, &sink.stream, &why), url);
    pt_repl_need(pt_channel_open(PT_CHANNEL_DIALER, keys.keys, 1, pt_now_us(), &sink.channel), url);
    flush(&sink);
    while (sink.received < commit) {
        size_t size;
        enum peat_status status =
            pt_stream_receive(sink.stream, bytes, sizeof(bytes), LOOK_MS, &size, &why);

        if (status != PEAT_TIMEOUT)
            pt_repl_need(status, "receiving");
        bytes_take(&sink, bytes, size);
        if (!greeted && pt_channel_is_ready(sink.channel))
            greet(&sink, name, from);
        greeted = greeted || pt_channel_is_ready(sink.channel);
        flush(&sink);
    }
    seconds = (double)(pt_stopwatch_ns() - begin_ns) / 1e9;
    pt_stream_close(sink.stream);
    pt_channel_close(sink.channel);
    pt_dialer_close(dialer);
    pt_keys_forget(&keys);
    return seconds;
}

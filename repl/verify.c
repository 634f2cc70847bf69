/* peat_verify(): dials, and drives the session until it has come to an end. All on the caller's thread. */
#include "repl/settings.h"
#include "repl/stream.h"
#include "repl/verify_session.h"

#include <stddef.h>

enum {
    TIMEOUT_DEFAULT_MS = 30000,
    DIAL_MS = 3000,
    REDIAL_MS = 100,
    SEND_MS = 5000, /* a peer that takes no more for so long is gone */
    LOOK_MS = 100,  /* so often the caller is asked, while it waits */
    GLANCE_MS = 1   /* between two turns of reading the store */
};

/* A call. */
struct verify {
    const struct peat_verify_options *options;
    struct pt_verify_session *session;
    struct pt_stream *stream;
    uint64_t due_us;
    uint64_t sent_size;
    uint64_t received_size;
};

void peat_verify_options_init(struct peat_verify_options *options)
{
    if (options != NULL)
        *options = (struct peat_verify_options){.struct_size = sizeof(*options),
                                                .timeout_ms = TIMEOUT_DEFAULT_MS};
}

static enum peat_status options_check(const struct peat_verify_options *options,
                                      struct peat_repl_error *error)
{
    if (options->url == NULL)
        return pt_repl_fail(error, PEAT_INVALID, "no address of a store to compare with");
    if ((options->flags & ~PEAT_REPL_INSECURE) != 0)
        return pt_repl_fail(error, PEAT_INVALID, "unknown flags 0x%x", options->flags);
    return PEAT_OK;
}

/* Dial until somebody answers, or the time is over. */
static enum peat_status dial(struct verify *verify, struct peat_repl_error *error)
{
    const struct peat_verify_options *options = verify->options;
    uint64_t until_us = pt_now_us() + (uint64_t)options->timeout_ms * 1000;
    struct pt_dialer *dialer = NULL;
    const char *why = "nobody answers";
    bool ended = false;
    enum peat_status status = pt_dialer_open(options->url, &dialer, &why);

    if (status != PEAT_OK)
        return pt_repl_fail(error, status, "cannot dial %s: %s", options->url, why);
    for (;;) {
        status = pt_dialer_dial(dialer, DIAL_MS, &verify->stream, &why);
        if (status == PEAT_OK || pt_now_us() >= until_us)
            break;
        ended = options->progress != NULL && !options->progress(options->context, 0);
        if (ended)
            break;
        pt_sleep_ms(REDIAL_MS);
    }
    pt_dialer_close(dialer);
    if (status == PEAT_OK)
        return PEAT_OK;
    if (ended) /* by the caller; a dial gives PEAT_DONE, too, where the peer resets it */
        return pt_repl_fail(error, PEAT_DONE, "the caller wants no more");
    return pt_repl_fail(error, PEAT_TIMEOUT, "nobody answers at %s: %s", options->url, why);
}

/* ---- One connection ---- */

static void flush(struct verify *verify)
{
    struct pt_peer *base = pt_verify_session_base(verify->session);
    struct peat_bytes output = pt_channel_output(base->channel);

    if (output.size == 0)
        return;
    if (pt_stream_write(verify->stream, output.data, output.size, SEND_MS) != PEAT_OK)
        pt_peer_cut(base, "the peer takes nothing");
    verify->sent_size += output.size;
    pt_channel_output_taken(base->channel, output.size);
}

/* How long to wait for bytes. */
static unsigned wait_of(const struct verify *verify)
{
    uint64_t now_us = pt_now_us();
    uint64_t wait_ms = verify->due_us > now_us ? (verify->due_us - now_us) / 1000 + 1 : 1;

    if (pt_verify_session_is_working(verify->session))
        return GLANCE_MS;
    return wait_ms < LOOK_MS ? (unsigned)wait_ms : LOOK_MS;
}

static void listen(struct verify *verify)
{
    struct pt_peer *base = pt_verify_session_base(verify->session);
    uint8_t bytes[64 << 10];
    const char *why = "";
    size_t size;
    enum peat_status status =
        pt_stream_receive(verify->stream, bytes, sizeof(bytes), wait_of(verify), &size, &why);

    verify->received_size += size;
    if (size > 0)
        pt_verify_session_receive(verify->session, bytes, size, pt_now_us());
    if (status != PEAT_OK && status != PEAT_TIMEOUT)
        pt_peer_cut(base, why);
}

static void converse(struct verify *verify)
{
    const struct peat_verify_options *options = verify->options;
    struct pt_peer *base = pt_verify_session_base(verify->session);

    while (base->end == PT_PEER_GOES_ON) {
        flush(verify);
        listen(verify);
        verify->due_us = pt_verify_session_step(verify->session, pt_now_us());
        if (pt_verify_session_is_working(verify->session))
            pt_verify_session_work(verify->session, pt_now_us());
        else if (options->progress != NULL)
            pt_verify_session_look(verify->session, pt_now_us());
    }
    flush(verify);
}

static enum peat_status compare(struct peat_db *db, struct verify *verify,
                                const struct pt_channel_key *key, struct peat_repl_error *error)
{
    enum peat_status status = dial(verify, error);

    if (status != PEAT_OK)
        return status;
    status = pt_verify_session_open(db, verify->options, key, pt_now_us(), &verify->session);
    if (status != PEAT_OK)
        return pt_repl_fail(error, status, "out of memory");
    converse(verify);
    status = pt_verify_session_status(verify->session);
    if (status != PEAT_OK)
        return pt_repl_fail(error, status, "%s", pt_verify_session_base(verify->session)->words);
    return PEAT_OK;
}

enum peat_status peat_verify(struct peat_db *db, const struct peat_verify_options *given,
                             struct peat_verify_result *result_out,
                             struct peat_repl_error *error_out)
{
    struct peat_repl_error unwanted;
    struct peat_repl_error *error = error_out == NULL ? &unwanted : error_out;
    struct peat_verify_options taken;
    const struct peat_verify_options *options = &taken;
    struct verify verify = {.options = options};
    struct peat_verify_result result;
    struct pt_keys keys;
    enum peat_status status;

    peat_verify_options_init(&taken);
    if (db == NULL || given == NULL ||
        !pt_options_take(&taken, sizeof(taken), given,
                         offsetof(struct peat_verify_options, context) + sizeof(taken.context)))
        return pt_repl_fail(error, PEAT_INVALID,
                            "an argument is missing, or its options are not set up");
    status = options_check(options, error);
    if (status != PEAT_OK)
        return status;
    keys = (struct pt_keys){.count = 0};
    status = pt_keys_read(&options->key_path, options->key_path != NULL ? 1 : 0, &keys, error);
    if (status == PEAT_OK)
        status = pt_url_check(options->url, keys.count > 0, options->flags, error);
    if (status == PEAT_OK)
        status = compare(db, &verify, keys.keys, error);
    pt_keys_forget(&keys);
    if ((status == PEAT_OK || status == PEAT_DONE) && result_out != NULL) {
        result = (struct peat_verify_result){.commit = 0};
        if (verify.session != NULL) /* else it was ended before there was a connection */
            result = *pt_verify_session_result(verify.session);
        result.sent_size = verify.sent_size;
        result.received_size = verify.received_size;
        pt_struct_copy(result_out, &result, sizeof(result));
    }
    pt_verify_session_close(verify.session);
    pt_stream_close(verify.stream);
    return status;
}

/*
 * The property: whoever waits in a stream that is shut, or comes to wait in one that has been, returns: it does not wait until its time
 * is up.
 */
#include "repl/stream.h"
#include "tests/support.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { LONG_MS = 600000, MANY = 8 << 20 /* bytes: more than a socket takes */ };

/* Two ends of a connection; nobody reads from the far one. */
struct ends {
    struct pt_listener *listener;
    struct pt_dialer *dialer;
    struct pt_stream *near;
    struct pt_stream *far;
};

static void ends_open(struct ends *ends)
{
    char url[512];
    const char *why = "";

    (void)snprintf(url, sizeof(url), "ipc://%s", pt_test_path("socket"));
    (void)unlink(pt_test_path("socket"));
    PT_REQUIRE_OK(pt_listener_open(url, &ends->listener, &why));
    PT_REQUIRE_OK(pt_dialer_open(url, &ends->dialer, &why));
    PT_REQUIRE_OK(pt_dialer_dial(ends->dialer, LONG_MS, &ends->near, &why));
    PT_REQUIRE_OK(pt_listener_accept(ends->listener, LONG_MS, &ends->far, &why));
}

static void ends_close(struct ends *ends)
{
    pt_stream_close(ends->near);
    pt_stream_close(ends->far);
    pt_dialer_close(ends->dialer);
    pt_listener_close(ends->listener);
}

static void in_a_stream_that_is_shut_nobody_begins_to_wait(void **state)
{
    struct ends ends;
    uint8_t bytes[100] = {0};
    const char *why = "";
    size_t size;
    (void)state;

    ends_open(&ends);
    PT_REQUIRE_OK(pt_stream_write(ends.near, bytes, sizeof(bytes), LONG_MS));
    pt_stream_shut(ends.near);
    PT_REQUIRE_STATUS(pt_stream_write(ends.near, bytes, sizeof(bytes), LONG_MS), PEAT_DONE);
    PT_REQUIRE_STATUS(pt_stream_receive(ends.near, bytes, sizeof(bytes), LONG_MS, &size, &why),
                      PEAT_DONE);
    assert_int_equal(size, 0);
    ends_close(&ends);
}

static void *shut_run(void *context)
{
    pt_stream_shut(context);
    return NULL;
}

static void who_writes_what_nobody_takes_returns_when_the_stream_is_shut(void **state)
{
    static const uint8_t bytes[MANY];
    (void)state;

    for (unsigned i = 0; i < 50; i++) {
        struct ends ends;
        pthread_t thread;

        ends_open(&ends);
        PT_REQUIRE(pthread_create(&thread, NULL, shut_run, ends.near) == 0);
        PT_REQUIRE_STATUS(pt_stream_write(ends.near, bytes, sizeof(bytes), LONG_MS), PEAT_DONE);
        (void)pthread_join(thread, NULL);
        ends_close(&ends);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_stream_that_is_shut_nobody_begins_to_wait),
        cmocka_unit_test(who_writes_what_nobody_takes_returns_when_the_stream_is_shut),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * The property: a primary starts and stops at any moment, over and over, while a follower dials it each millisecond and is itself
 * stopped wherever it has come to: nothing hangs, nothing is left behind, and in the end it follows. PEAT_STARTS=n is how
 * often over each transport (100).
 */
#include "tests/link.h"
#include "tests/private_memory.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    STARTS = 100,
    WARM_UP = 30, /* starts after which whatever stays is there */
    DIAL_EACH_US = 1000,
    UP_US_MAX = 6000,     /* a primary is there for so long at most */
    GROWTH_MAX = 8 << 20, /* bytes, of which threads that come and go scatter some */
    FDS_MAX = 16          /* of connections that are just being closed */
};

/* Files or threads of this process. */
static unsigned entries_of(const char *path)
{
    DIR *directory = opendir(path);
    unsigned count = 0;

    PT_REQUIRE(directory != NULL);
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count;
}

/* Followers one after another, each of which dials at once. */
struct dialer {
    pthread_t thread;
    const struct pt_link *link;
    struct peat_db *db;
    atomic_bool stop;
    uint64_t dialed;
    uint64_t connected;
    uint64_t slowest_us; /* stop */
};

static void *dialer_run(void *context)
{
    struct dialer *dialer = context;
    struct peat_follower_options options = pt_link_options(dialer->link, "one");

    while (!atomic_load(&dialer->stop)) {
        struct peat_follower *follower = pt_link_follow(dialer->db, &options);
        uint64_t begun_us;

        (void)usleep(DIAL_EACH_US);
        dialer->connected += pt_link_status(follower).connections;
        begun_us = pt_test_now_us();
        peat_follower_stop(follower);
        if (pt_test_now_us() - begun_us > dialer->slowest_us)
            dialer->slowest_us = pt_test_now_us() - begun_us;
        dialer->dialed++;
    }
    return NULL;
}

struct left {
    unsigned fds;
    unsigned threads;
    uint64_t memory;
};

static struct left left_now(void)
{
    return (struct left){entries_of("/proc/self/fd"), entries_of("/proc/self/task"),
                         pt_private_memory()};
}

static void starts_and_stops_over(const char *url)
{
    uint64_t starts = pt_test_number("PEAT_STARTS", STARTS);
    struct pt_dice dice = {pt_test_seed()};
    struct dialer dialer = {.db = pt_test_store_make("follower", PEAT_FOLLOWER)};
    struct left before = {0}, after;
    struct peat_follower_options options;
    struct peat_follower *follower;
    uint64_t slowest_us = 0;
    struct pt_link link;

    pt_link_begin(&link, url, NULL);
    dialer.link = &link;
    PT_REQUIRE(pthread_create(&dialer.thread, NULL, dialer_run, &dialer) == 0);
    for (uint64_t i = 0; i < starts + WARM_UP; i++) {
        uint64_t begun_us;

        pt_test_context("start %llu", (unsigned long long)i);
        (void)usleep((unsigned)pt_dice_below(&dice, UP_US_MAX));
        if (pt_dice_one_in(&dice, 4))
            (void)pt_link_write(link.db, 1, 100);
        begun_us = pt_test_now_us();
        pt_link_stop(&link);
        if (pt_test_now_us() - begun_us > slowest_us)
            slowest_us = pt_test_now_us() - begun_us;
        if (i == WARM_UP)
            before = left_now();
        pt_link_start(&link, link.url);
    }
    atomic_store(&dialer.stop, true);
    PT_REQUIRE(pthread_join(dialer.thread, NULL) == 0);
    after = left_now();
    printf("# %llu starts, %llu followers, %llu connections; slowest stop %llu and %llu us; memory "
           "%+lld\n",
           (unsigned long long)(starts + WARM_UP), (unsigned long long)dialer.dialed,
           (unsigned long long)dialer.connected, (unsigned long long)slowest_us,
           (unsigned long long)dialer.slowest_us, (long long)(after.memory - before.memory));
    assert_in_range(after.fds, 0, before.fds + FDS_MAX);
    assert_in_range(after.threads, 0, before.threads + FDS_MAX);
    if (pt_private_memory_counts())
        assert_in_range(after.memory, 0, before.memory + GROWTH_MAX);
    options = pt_link_options(&link, "one");
    follower = pt_link_follow(dialer.db, &options);
    PT_REQUIRE_OK(
        peat_wait_commit(dialer.db, pt_link_write(link.db, 1, 100), PT_LINK_SOON_MS, NULL));
    pt_link_require_same(link.db, dialer.db);
    peat_follower_stop(follower);
    pt_link_end(&link);
    PT_REQUIRE_OK(peat_close(dialer.db));
}

static void over_tcp_both_ends_start_and_stop_at_any_moment(void **state)
{
    (void)state;
    starts_and_stops_over("tcp://127.0.0.1:0");
}

static void over_ipc_both_ends_start_and_stop_at_any_moment(void **state)
{
    char url[300];
    (void)state;

    (void)snprintf(url, sizeof(url), "ipc://%s", pt_test_path("socket"));
    starts_and_stops_over(url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_tcp_both_ends_start_and_stop_at_any_moment),
        cmocka_unit_test(over_ipc_both_ends_start_and_stop_at_any_moment),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

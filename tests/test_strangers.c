/*
 * The property: connections by the thousands that say nothing, garbage, half of something, or what is far too large, some of
 * them with the key, cost no memory and no descriptor when they are gone, and whoever follows is served meanwhile.
 * PEAT_STRANGERS=n is how many over each transport (5,000).
 */
#include "repl/channel.h"
#include "repl/le.h"
#include "repl/primary_events.h"
#include "tests/link.h"
#include "tests/private_memory.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    STRANGERS = 5000,
    OPEN_MAX_AT_ONCE = 48, /* more than may be unknown at a time */
    FOLLOWED_EACH = 100,   /* so often a commit must have come to the follower */
    PARTS = 4,
    GROWTH_MAX = 512 << 10 /* bytes, over that part of the strangers for which it grew least */
};

enum kind {
    SAYS_NOTHING,
    SAYS_GARBAGE,
    SAYS_HALF, /* of an opening with the key */
    HAS_NO_KEY,
    SENDS_AGAIN, /* an opening that somebody has sent before, and then garbage */
    TOO_LARGE,   /* it has the key, and announces 4 GiB */
    HALF_FRAME,  /* it has the key, and announces 1 MiB of which little comes */
    KINDS
};

static unsigned fds_open(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned count = 0;

    PT_REQUIRE(directory != NULL);
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count;
}

static int knock(const char *url)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool is_tcp = strncmp(url, "tcp://", 6) == 0;
    int fd = socket(is_tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result;

    PT_REQUIRE(fd >= 0);
    if (is_tcp) {
        in.sin_port = htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10));
        result = connect(fd, (struct sockaddr *)&in, sizeof(in));
    } else {
        (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", url + strlen("ipc://"));
        result = connect(fd, (struct sockaddr *)&un, sizeof(un));
    }
    PT_REQUIRE(result == 0);
    return fd;
}

/* The key in the file that "peat keygen" makes: "peat-key 1 ID SECRET". */
static struct pt_channel_key key_read(const char *path)
{
    struct pt_channel_key key;
    char id[33], secret[65];
    FILE *file = fopen(path, "r");

    PT_REQUIRE(file != NULL && fscanf(file, "peat-key 1 %32s %64s", id, secret) == 2);
    (void)fclose(file);
    for (unsigned i = 0; i < PT_KEY_ID_SIZE; i++)
        PT_REQUIRE(sscanf(id + 2 * i, "%2hhx", &key.id[i]) == 1);
    for (unsigned i = 0; i < PT_KEY_SECRET_SIZE; i++)
        PT_REQUIRE(sscanf(secret + 2 * i, "%2hhx", &key.secret[i]) == 1);
    return key;
}

/* An opening by whoever has @p key. */
static void opening_make(const struct pt_channel_key *key, struct pt_wire_opening *opening)
{
    struct pt_channel *channel;

    PT_REQUIRE_OK(pt_channel_open(PT_CHANNEL_DIALER, key, 1, 1000000, &channel));
    PT_REQUIRE(pt_channel_output(channel).size == sizeof(*opening));
    memcpy(opening, pt_channel_output(channel).data, sizeof(*opening));
    pt_channel_close(channel);
}

static void visit(int fd, enum kind kind, const struct pt_channel_key *key,
                  const struct pt_wire_opening *used, struct pt_dice *dice)
{
    struct {
        struct pt_wire_opening opening;
        struct pt_wire_frame head;
        uint8_t body[1000];
    } said;
    struct pt_channel_key other = *key;
    size_t size = sizeof(said);

    pt_value_fill(pt_dice_next(dice), &said, sizeof(said));
    if (kind == SAYS_NOTHING)
        return;
    if (kind == HAS_NO_KEY)
        other.secret[3] ^= 1;
    if (kind == SENDS_AGAIN)
        said.opening = *used;
    else if (kind != SAYS_GARBAGE)
        opening_make(&other, &said.opening);
    if (kind == TOO_LARGE || kind == HALF_FRAME) {
        said.head = (struct pt_wire_frame){.type = 1};
        pt_wire_put_u32(said.head.body_size, kind == TOO_LARGE ? UINT32_MAX : 1 << 20);
    }
    if (kind == SAYS_HALF)
        size = (size_t)pt_dice_below(dice, sizeof(said.opening));
    (void)!send(fd, &said, size, MSG_NOSIGNAL); /* it may have been closed already */
}

static void strangers_come(struct pt_link *link, struct peat_db *db, uint64_t count,
                           struct pt_dice *dice)
{
    struct pt_channel_key key = key_read(link->key_path);
    struct pt_wire_opening used;
    int fds[OPEN_MAX_AT_ONCE];

    opening_make(&key, &used);
    for (size_t i = 0; i < OPEN_MAX_AT_ONCE; i++)
        fds[i] = -1;
    for (uint64_t i = 0; i < count; i++) {
        int *fd = &fds[i % OPEN_MAX_AT_ONCE];

        pt_test_context("stranger %llu", (unsigned long long)i);
        if (*fd >= 0)
            (void)close(*fd);
        *fd = knock(link->url);
        visit(*fd, (enum kind)pt_dice_below(dice, KINDS), &key, &used, dice);
        if (i % FOLLOWED_EACH == 0)
            PT_REQUIRE_OK(
                peat_wait_commit(db, pt_link_write(link->db, 1, 100), PT_LINK_SOON_MS, NULL));
    }
    for (size_t i = 0; i < OPEN_MAX_AT_ONCE; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
}

/* All that have come so far were let in, and are gone again: they may have left before they were accepted. */
static bool are_gone(struct pt_link *link, uint64_t accepted, unsigned fds)
{
    struct peat_primary_status status = pt_link_primary_status(link);

    return status.accepted >= accepted && status.strangers == 0 && fds_open() <= fds;
}

static void thousands_of_strangers_cost_nothing_over(const char *url)
{
    uint64_t count = pt_test_number("PEAT_STRANGERS", STRANGERS);
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct pt_dice dice = {pt_test_seed()};
    struct peat_follower_options options;
    struct peat_primary_status status;
    struct peat_follower *follower;
    struct pt_link link;
    uint64_t growth = UINT64_MAX;
    uint64_t accepted = 1 + count / 10 + OPEN_MAX_AT_ONCE;
    unsigned fds;

    pt_link_begin(&link, url, NULL);
    options = pt_link_options(&link, "one");
    follower = pt_link_follow(db, &options);
    PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(link.db, 1, 100), PT_LINK_SOON_MS, NULL));
    fds = fds_open();
    strangers_come(&link, db, count / 10 + OPEN_MAX_AT_ONCE, &dice); /* what stays is there now */
    PT_LINK_UNTIL(are_gone(&link, accepted, fds));
    for (unsigned i = 0; i < PARTS; i++) {
        uint64_t before = pt_private_memory();
        uint64_t after;
        uint64_t grown;

        strangers_come(&link, db, count / PARTS, &dice);
        accepted += count / PARTS;
        PT_LINK_UNTIL(are_gone(&link, accepted, fds));
        after = pt_private_memory();
        grown = after > before ? after - before : 0;
        if (grown < growth)
            growth = grown;
    }
    if (pt_private_memory_counts()) /* the allocator may keep more for a while: what leaks grows always */
        assert_in_range(growth, 0, GROWTH_MAX);
    status = pt_link_primary_status(&link);
    assert_int_equal(status.connected, 1);
    assert_int_equal(status.accepted, accepted);
    assert_int_equal(status.refused, status.accepted - 1); /* what came last showed no key either */
    assert_int_equal(pt_link_status(follower).connections, 1);
    pt_link_require_same(link.db, db);
    peat_follower_stop(follower);
    pt_link_end(&link);
    PT_REQUIRE_OK(peat_close(db));
}

static void over_tcp_thousands_of_strangers_cost_nothing(void **state)
{
    (void)state;
    thousands_of_strangers_cost_nothing_over("tcp://127.0.0.1:0");
}

static void over_ipc_thousands_of_strangers_cost_nothing(void **state)
{
    char url[300];
    (void)state;

    (void)snprintf(url, sizeof(url), "ipc://%s", pt_test_path("socket"));
    thousands_of_strangers_cost_nothing_over(url);
}

static void event_add(void *context, const struct peat_primary_event *event)
{
    uint64_t *counts = context;

    assert_int_equal(event->kind, PEAT_PRIMARY_STRANGERS);
    assert_string_equal(event->words, "why");
    counts[0]++;
    counts[1] += event->count;
}

static void they_are_told_at_once_then_seldom_and_all_of_them(void **state)
{
    /* microseconds, refused so far, and what has been told then: how often, and how many. */
    static const uint64_t steps[][4] = {{1000, 0, 0, 0},
                                        {2000, 3, 1, 3},
                                        {2001, 9, 1, 3},
                                        {2000 + PT_STRANGERS_US - 1, 70, 1, 3},
                                        {2000 + PT_STRANGERS_US, 70, 2, 70},
                                        {9000 + 3 * (uint64_t)PT_STRANGERS_US, 70, 2, 70},
                                        {9001 + 3 * (uint64_t)PT_STRANGERS_US, 71, 3, 71},
                                        {9002 + 3 * (uint64_t)PT_STRANGERS_US, 75, 3, 71}};
    uint64_t counts[2] = {0, 0};
    struct peat_primary_options options;
    struct pt_primary_events events;
    (void)state;

    peat_primary_options_init(&options);
    options.event = event_add;
    options.event_context = counts;
    pt_primary_events_init(&events, &options);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        pt_primary_events_strangers(&events, steps[i][1], "why", steps[i][0], false);
        assert_int_equal(counts[0], steps[i][2]);
        assert_int_equal(counts[1], steps[i][3]);
    }
    pt_primary_events_strangers(&events, 75, "why", steps[7][0], true); /* it is being stopped */
    assert_int_equal(counts[0], 4);
    assert_int_equal(counts[1], 75);
    pt_primary_events_fini(&events);
}

static void all_send(int fd, struct pt_channel *channel)
{
    struct peat_bytes output = pt_channel_output(channel);

    PT_REQUIRE(send(fd, output.data, output.size, MSG_NOSIGNAL) == (ssize_t)output.size);
    pt_channel_output_taken(channel, output.size);
}

/* It shows the key, and then says what no follower says. */
static void who_has_the_key_and_talks_nonsense_is_counted_apart(void **state)
{
    static const uint8_t nonsense[40] = {1, 2, 3};
    const struct peat_bytes body = {nonsense, sizeof(nonsense)};
    uint8_t answer[PT_WIRE_NOISE_SIZE];
    struct pt_channel *channel;
    struct pt_channel_key key;
    struct peat_primary_status status;
    struct pt_frame frame;
    struct pt_link link;
    const char *why = "";
    size_t taken;
    int fd;
    (void)state;

    pt_link_begin(&link, "tcp://127.0.0.1:0", NULL);
    key = key_read(link.key_path);
    PT_REQUIRE_OK(pt_channel_open(PT_CHANNEL_DIALER, &key, 1, 1000000, &channel));
    fd = knock(link.url);
    all_send(fd, channel);
    PT_REQUIRE(recv(fd, answer, sizeof(answer), MSG_WAITALL) == (ssize_t)sizeof(answer));
    PT_REQUIRE_STATUS(pt_channel_receive(channel, answer, sizeof(answer), &taken, &frame, &why),
                      PEAT_DONE);
    PT_REQUIRE_OK(pt_channel_send(channel, 1, &body, 1, 1000000));
    all_send(fd, channel);
    PT_LINK_UNTIL((status = pt_link_primary_status(&link)).damaged == 1);
    PT_LINK_UNTIL((status = pt_link_primary_status(&link)).turned_away == 1);
    assert_int_equal(status.refused, 0);
    assert_int_equal(status.connected, 0);
    PT_REQUIRE(status.words[0] != '\0');
    pt_channel_close(channel);
    (void)close(fd);
    pt_link_end(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_tcp_thousands_of_strangers_cost_nothing),
        cmocka_unit_test(over_ipc_thousands_of_strangers_cost_nothing),
        cmocka_unit_test(they_are_told_at_once_then_seldom_and_all_of_them),
        cmocka_unit_test(who_has_the_key_and_talks_nonsense_is_counted_apart),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

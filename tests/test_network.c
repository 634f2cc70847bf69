/*
 * The property (P7, and P2 at PEAT_REPLICAS) on a network that is one: primary and follower are processes in network namespaces
 * of their own, a cable between them, and commits go on all the time. A *cycle* is one or two disturbances (packets lost, all of
 * them, or one way; connections reset; a relay that spoils frames; either process killed, frozen, or with a clock that jumps; the
 * follower's disk full), and then their end. At every look the follower shows what the primary showed at some commit, never an older one than
 * before, and whatever a commit at PEAT_REPLICAS was told to be with it; no death takes what was acknowledged; and after each cycle
 * both come together, by peat_digest().
 *
 * Needs root, or user namespaces, and ip and iptables: else it is skipped. All it makes is gone with its processes. PEAT_CYCLES=n is how
 * many (200). Cycle n of seed s is cycle 0 of seed s + n.
 */
#include "repl/peat_repl.h"
#include "tests/network_nodes.h"
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum {
    CYCLES = 200,
    TROUBLE_US = 150000,    /* most disturbances last as long at most */
    RELAY_US = 300000,      /* the way through the relay comes first */
    DEAD_US = 5000000,      /* and one that a peer's silence has to tell */
    COMMITS_A_CYCLE = 4000, /* at most, on the average */
    JUMP_S_MAX = 100000000
};

static const size_t disk_size = 24 * MIB;

static struct pt_network *shared;
static char ballast_path[512];

/* ---- The network, and who is on it ---- */

enum trouble {
    LOSS,
    PARTITION,
    ONE_WAY,
    RESET_FAR,
    RESET_NEAR,
    SPOILT_FRAMES,
    PRIMARY_KILLED,
    FOLLOWER_KILLED,
    PRIMARY_FROZEN,
    FOLLOWER_FROZEN,
    DISK_FULL,
    PRIMARY_CLOCK,
    FOLLOWER_CLOCK,
    TROUBLES
};

static const char *const trouble_names[TROUBLES] = {
    "loss",          "partition",       "one way",         "resets to the far", "to the near",
    "spoilt frames", "primary killed",  "follower killed", "primary frozen",    "follower frozen",
    "disk full",     "primary's clock", "follower's clock"};

static char why_not[256]; /* there is no network; "": there is one */
static pid_t primary_pid; /* 0: it was killed */
static pid_t follower_pid;
static bool is_whole; /* the test before has not failed */
static uint64_t trouble_counts[TROUBLES];
static uint64_t cycles_begun;

static void primary_process_start(void)
{
    atomic_store(&shared->primary_is_up, false);
    primary_pid = pt_child_start(pt_network_primary_run, shared);
}

static void follower_process_start(void)
{
    atomic_store(&shared->state, (int)PEAT_FOLLOWER_CONNECTING);
    follower_pid = pt_child_start(pt_network_follower_run, shared);
}

static void process_kill(pid_t *pid)
{
    pid_t killed = *pid;

    *pid = 0;
    pt_child_kill(killed);
}

/* One that was killed gets none. */
static void process_signal(pid_t pid, int number)
{
    if (pid > 0)
        (void)kill(pid, number);
}

/* For loops that wait: both are still there, and it is not too late. */
static void wait_a_little(uint64_t end_us, const char *what)
{
    if (primary_pid > 0)
        pt_child_check(primary_pid);
    if (follower_pid > 0)
        pt_child_check(follower_pid);
    if (pt_test_now_us() > end_us)
        pt_test_fail(
            __FILE__, __LINE__,
            "%s has not come: commit %" PRIu64 " there, %" PRIu64 " seen here, state %s", what,
            atomic_load(&shared->commits), atomic_load(&shared->seen),
            peat_follower_state_name((enum peat_follower_state)atomic_load(&shared->state)));
    (void)usleep(PT_NETWORK_LOOK_US);
}

static void ballast_load(void)
{
    static const char zeros[64 * KIB];
    int fd = open(ballast_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    PT_REQUIRE(fd >= 0);
    while (write(fd, zeros, sizeof(zeros)) > 0)
        ;
    PT_REQUIRE(errno == ENOSPC);
    (void)close(fd);
}

static int64_t clock_jump(struct pt_dice *dice)
{
    return (int64_t)pt_dice_below(dice, 2 * (uint64_t)JUMP_S_MAX) - JUMP_S_MAX;
}

static void trouble_begin(enum trouble trouble, struct pt_dice *dice)
{
    static const enum pt_net_trouble net[] = {PT_NET_LOSS, PT_NET_PARTITION, PT_NET_ONE_WAY,
                                              PT_NET_RESET_FAR, PT_NET_RESET_NEAR};

    trouble_counts[trouble]++;
    if (trouble <= RESET_NEAR) {
        pt_netspace_trouble(net[trouble]);
    } else if (trouble == SPOILT_FRAMES) {
        atomic_store(&shared->relay.is_bad, true);
        atomic_store(&shared->through_relay, true);
    } else if (trouble == PRIMARY_KILLED) {
        process_kill(&primary_pid);
    } else if (trouble == FOLLOWER_KILLED) {
        process_kill(&follower_pid);
    } else if (trouble == PRIMARY_FROZEN) {
        process_signal(primary_pid, SIGSTOP);
    } else if (trouble == FOLLOWER_FROZEN) {
        process_signal(follower_pid, SIGSTOP);
    } else if (trouble == DISK_FULL) {
        ballast_load();
    } else {
        atomic_store(&shared->clock_jump_s[trouble == PRIMARY_CLOCK ? PT_NETWORK_PRIMARY
                                                                    : PT_NETWORK_FOLLOWER],
                     clock_jump(dice));
    }
}

/* A clock that has jumped stays where it is. */
static void trouble_end(enum trouble trouble, struct pt_dice *dice)
{
    if (trouble <= RESET_NEAR) {
        pt_netspace_heal();
    } else if (trouble == SPOILT_FRAMES) {
        atomic_store(&shared->relay.is_bad, false);
        atomic_store(&shared->through_relay, pt_dice_one_in(dice, 2));
    } else if (trouble == PRIMARY_KILLED) {
        primary_process_start();
    } else if (trouble == FOLLOWER_KILLED) {
        follower_process_start();
    } else if (trouble == PRIMARY_FROZEN) {
        process_signal(primary_pid, SIGCONT);
    } else if (trouble == FOLLOWER_FROZEN) {
        process_signal(follower_pid, SIGCONT);
    } else if (trouble == DISK_FULL) {
        PT_REQUIRE(unlink(ballast_path) == 0);
    }
}

static bool is_possible(enum trouble trouble)
{
    if (trouble == LOSS)
        return shared->netspace.has_loss;
    return (trouble != RESET_FAR && trouble != RESET_NEAR) || shared->netspace.has_reset;
}

static enum trouble trouble_choose(struct pt_dice *dice)
{
    enum trouble trouble;

    do
        trouble = (enum trouble)pt_dice_below(dice, TROUBLES);
    while (!is_possible(trouble));
    return trouble;
}

/* The follower has what was acknowledged while commits go on, and the same as the primary once they do not. */
static void come_together(void)
{
    uint64_t end_us = pt_test_now_us() + PT_NETWORK_SOON_US;
    uint64_t target = atomic_load(&shared->acknowledged);
    uint64_t paused_at;

    while (atomic_load(&shared->seen) < target)
        wait_a_little(end_us, "what was acknowledged");
    atomic_store(&shared->pause, true);
    while ((paused_at = atomic_load(&shared->paused_at)) == 0 ||
           atomic_load(&shared->same_as) != paused_at)
        wait_a_little(end_us, "the same state");
    atomic_store(&shared->pause, false);
    while (atomic_load(&shared->paused_at) != 0 && atomic_load(&shared->commits) < target)
        wait_a_little(end_us, "the next commit");
}

/* A few of them are long enough for a peer that is not heard any more to be given up. */
static void cycle_run(uint64_t number)
{
    struct pt_dice dice = {pt_mix(shared->seed + number)};
    enum trouble first = trouble_choose(&dice);
    enum trouble second = pt_dice_one_in(&dice, 3) ? trouble_choose(&dice) : first;
    uint64_t lasts_us = pt_dice_one_in(&dice, 40) ? DEAD_US : pt_dice_below(&dice, TROUBLE_US);

    if (first == SPOILT_FRAMES || second == SPOILT_FRAMES)
        lasts_us += RELAY_US;
    atomic_store(&shared->cycle, number);
    pt_network_context_set(shared, PT_NETWORK_TEST);
    cycles_begun++;
    trouble_begin(first, &dice);
    (void)usleep((unsigned)(lasts_us / 2));
    if (second != first)
        trouble_begin(second, &dice);
    (void)usleep((unsigned)(lasts_us / 2));
    trouble_end(first, &dice);
    if (second != first)
        trouble_end(second, &dice);
    come_together();
}

static void scene_begin(void)
{
    uint64_t end_us = pt_test_now_us() + PT_NETWORK_SOON_US;

    (void)pt_child_start(pt_bad_relay_run, &shared->relay);
    primary_process_start();
    follower_process_start();
    while (!atomic_load(&shared->relay.listens))
        wait_a_little(end_us, "the relay");
    while (atomic_load(&shared->state) != PEAT_FOLLOWER_FOLLOWING)
        wait_a_little(end_us, "the first connection");
}

/* ---- Tests ---- */

/* Without a network there is no test, and after a failure nothing to go on with. */
static void begin_or_skip(void)
{
    if (why_not[0] != '\0' || !is_whole)
        skip();
    is_whole = false;
}

static void P7_after_any_trouble_on_a_real_network_a_follower_is_what_its_primary_is(void **state)
{
    uint64_t cycles = pt_test_number("PEAT_CYCLES", CYCLES);
    uint64_t begin_us = pt_test_now_us();
    (void)state;

    begin_or_skip();
    for (uint64_t i = 0; i < cycles; i++)
        cycle_run(i);
    printf("# %" PRIu64 " commits, %" PRIu64 " frames spoilt, %" PRIu64 " states taken, %" PRIu64
           " ms a cycle;",
           atomic_load(&shared->commits), atomic_load(&shared->relay.spoilt),
           atomic_load(&shared->states_taken),
           (pt_test_now_us() - begin_us) / 1000 / (cycles == 0 ? 1 : cycles));
    for (unsigned i = 0; i < TROUBLES; i++)
        printf(" %s %" PRIu64 "%s", trouble_names[i], trouble_counts[i],
               i + 1 < TROUBLES ? "," : "\n");
    is_whole = true;
}

/* Milliseconds until the follower follows, or does not. */
static uint64_t state_wait(bool follows, const char *what)
{
    uint64_t begin_us = pt_test_now_us();

    while ((atomic_load(&shared->state) == PEAT_FOLLOWER_FOLLOWING) != follows)
        wait_a_little(begin_us + PT_NETWORK_SOON_US, what);
    return (pt_test_now_us() - begin_us) / 1000;
}

/* Times are told, not judged: they are the machine's, too. */
static void silence(unsigned further_us)
{
    uint64_t begin_us = pt_test_now_us();
    uint64_t noticed_ms;

    pt_netspace_trouble(PT_NET_PARTITION);
    noticed_ms = state_wait(false, "the end of the silence");
    while (atomic_load(&shared->connected) != 0)
        wait_a_little(begin_us + PT_NETWORK_SOON_US, "the primary's notice");
    printf("# a silent peer: given up by the follower after %" PRIu64
           " ms, by the primary after %" PRIu64 " ms",
           noticed_ms, (pt_test_now_us() - begin_us) / 1000);
    (void)usleep(further_us);
    pt_netspace_heal();
    printf("; found again %" PRIu64 " ms after the silence\n", state_wait(true, "the peer"));
    come_together();
}

static void a_peer_that_falls_silent_is_given_up_and_found_again(void **state)
{
    uint64_t end_us = pt_test_now_us() + PT_NETWORK_SOON_US;
    (void)state;

    begin_or_skip();
    pt_network_context_set(shared, PT_NETWORK_TEST);
    silence(0);
    silence(1200000);
    process_kill(&primary_pid);
    (void)state_wait(false, "the primary's end");
    primary_process_start();
    while (!atomic_load(&shared->primary_is_up))
        wait_a_little(end_us, "the primary");
    printf("# a primary that is back: followed after %" PRIu64 " ms\n",
           state_wait(true, "the primary that is back"));
    come_together();
    is_whole = true;
}

static void after_all_that_both_stores_are_sound(void **state)
{
    (void)state;

    begin_or_skip();
    atomic_store(&shared->stop, true);
    pt_child_join(follower_pid);
    pt_child_join(primary_pid);
    is_whole = true;
}

/* ---- Beginning and end ---- */

static void path_make(char path[512], const char *name)
{
    (void)snprintf(path, 512, "%s", pt_test_path(name));
}

static void shared_make(void)
{
    uint64_t commits_max = (pt_test_number("PEAT_CYCLES", CYCLES) + 100) * COMMITS_A_CYCLE;

    shared = mmap(NULL, sizeof(*shared) + (commits_max + 1) * sizeof(shared->prints[0]),
                  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    PT_REQUIRE(shared != MAP_FAILED);
    shared->commits_max = commits_max;
    shared->seed = pt_test_seed();
    shared->relay.seed = shared->seed;
    shared->relay.address = PT_NETSPACE_NEAR;
    shared->relay.port = PT_NETWORK_RELAY_PORT;
    shared->relay.peer_port = PT_NETWORK_PRIMARY_PORT;
}

static int all_begin(void **state)
{
    char id[PEAT_KEY_ID_TEXT_SIZE];
    char disk[512];
    (void)state;

    shared_make();
    path_make(disk, "disk");
    PT_REQUIRE(mkdir(disk, 0700) == 0);
    path_make(shared->primary_path, "primary");
    path_make(shared->follower_path, "disk/follower");
    path_make(ballast_path, "disk/ballast");
    path_make(shared->key_path, "key");
    if (!pt_netspace_open(&shared->netspace, disk, disk_size, why_not)) {
        printf("# skipped: %s\n", why_not);
        return 0;
    }
    if (!shared->netspace.has_loss)
        printf("# left out: loss, for which iptables has no module here\n");
    if (!shared->netspace.has_reset)
        printf("# left out: resets, for which iptables has no module here\n");
    PT_REQUIRE(peat_key_make(shared->key_path, id, NULL) == PEAT_OK);
    scene_begin();
    is_whole = true;
    return 0;
}

/* The processes are gone with this one. */
static void all_end(int failed)
{
    if (why_not[0] == '\0')
        printf("# %" PRIu64 " cycles, %d failed\n", cycles_begun, failed != 0 || !is_whole);
    (void)umount2(pt_test_path("disk"), MNT_DETACH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_falls_silent_is_given_up_and_found_again),
        cmocka_unit_test(P7_after_any_trouble_on_a_real_network_a_follower_is_what_its_primary_is),
        cmocka_unit_test(after_all_that_both_stores_are_sound),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, all_begin, NULL);
    all_end(failed);
    pt_test_end();
    return failed;
}

/*
 * The property: followers cost their primary a bounded amount of memory, also those that take nothing: eight, of which four have been
 * stopped with SIGSTOP, cost at most 96 MiB while commits go on, and the others follow.
 */
#include "tests/link.h"
#include "tests/private_memory.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    FOLLOWERS = 8,
    STOPPED = 4,
    COMMITS = 40000, /* more than the sockets and the windows of those that stopped take */
    VALUE_SIZE = 1000,
    COST_MAX = 96 << 20 /* bytes */
};

/* A process that follows when it is told where. It is forked before anybody has used nng. */
struct child {
    pid_t pid;
    int begin[2];
    char name[16];
    char key_path[256];
};

static void child_run(void *context)
{
    struct child *child = context;
    struct peat_follower_options options;
    struct peat_follower *follower;
    struct peat_db *db;
    char url[256];

    PT_REQUIRE(pt_pipe_read(child->begin[0], url, sizeof(url)));
    db = pt_test_store_make(child->name, PEAT_FOLLOWER);
    peat_follower_options_init(&options);
    options.url = url;
    options.key_path = child->key_path;
    options.name = child->name;
    PT_REQUIRE_OK(peat_follower_start(db, &options, &follower, NULL));
    for (;;)
        (void)pause();
}

static void children_start(struct child children[FOLLOWERS])
{
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        struct child *child = &children[i];

        PT_REQUIRE(pipe(child->begin) == 0);
        (void)snprintf(child->name, sizeof(child->name), "follower-%u", i);
        (void)snprintf(child->key_path, sizeof(child->key_path), "%s", pt_test_path("key"));
        child->pid = pt_child_start(child_run, child);
    }
}

/* What the commits cost by themselves is not the followers' doing: so they are done before, too. */
static void commit_many(struct pt_link *link)
{
    (void)pt_link_write(link->db, COMMITS, VALUE_SIZE);
    PT_REQUIRE_OK(peat_wait_idle(link->db, PT_LINK_SOON_MS));
}

static void eight_followers_four_of_them_stopped_cost_little(void **state)
{
    struct child children[FOLLOWERS];
    struct pt_link link;
    uint64_t alone;
    uint64_t peak;
    uint64_t commit;
    (void)state;

    children_start(children);
    pt_link_begin(&link, "tcp://127.0.0.1:0", NULL);
    pt_private_memory_watch();
    commit_many(&link);
    alone = pt_private_memory_peak();
    for (unsigned i = 0; i < FOLLOWERS; i++)
        PT_REQUIRE(pt_pipe_write(children[i].begin[1], link.url, sizeof(link.url)));
    PT_LINK_UNTIL(pt_link_primary_status(&link).connected == FOLLOWERS);
    for (unsigned i = 0; i < STOPPED; i++)
        PT_REQUIRE(kill(children[i].pid, SIGSTOP) == 0);
    pt_private_memory_watch();
    commit_many(&link);
    commit = pt_link_write(link.db, 1, VALUE_SIZE);
    PT_REQUIRE_OK(peat_wait_replicas(link.db, commit, FOLLOWERS - STOPPED, PT_LINK_SOON_MS, NULL));
    peak = pt_private_memory_peak();
    (void)printf("# bytes above what was there before: alone %llu, followed %llu\n",
                 (unsigned long long)alone, (unsigned long long)peak);
    if (pt_private_memory_counts())
        assert_in_range(peak, 0, alone + COST_MAX);
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        PT_REQUIRE(kill(children[i].pid, SIGCONT) == 0);
        pt_child_kill(children[i].pid);
        (void)close(children[i].begin[0]);
        (void)close(children[i].begin[1]);
    }
    pt_link_end(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_followers_four_of_them_stopped_cost_little)};
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

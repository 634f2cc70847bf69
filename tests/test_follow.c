/*
 * The property (P7) over real connections: a follower that is started against a primary holds what that holds, whatever
 * goes, comes back, or knocks without a key. PEAT_ROUNDS=n is how often starting and stopping is tried (60).
 */
#include "tests/link.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum {
    REPLICA_MS = 1000,
    LOOK_US = 2000,
    ROUNDS = 60,
    STRANGERS = 120,
    KILLS = 3,
    REPLICATED = 30
};

/* A store that is offered, and stores that follow. */
struct scene {
    struct pt_link link;
    char other_key_path[256];
};

/* Commits at PEAT_REPLICAS do not wait long for a follower that is not there. */
static struct peat_db *primary_store_make(void)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    (void)unlink(pt_test_path("primary"));
    pt_test_options_tiny(&options);
    options.replica_timeout_ms = REPLICA_MS;
    PT_REQUIRE_OK(peat_open(pt_test_path("primary"), &options, &db));
    return db;
}

static void scene_begin(struct scene *scene, const char *url)
{
    memset(scene, 0, sizeof(*scene));
    pt_link_key_make("key", scene->link.key_path);
    pt_link_key_make("other-key", scene->other_key_path);
    peat_primary_options_init(&scene->link.options);
    scene->link.db = primary_store_make();
    pt_link_start(&scene->link, url);
}

static void scene_end(struct scene *scene)
{
    pt_link_end(&scene->link);
}

static struct peat_follower *follow(struct peat_db *db, const char *url, const char *key_path,
                                    const char *name)
{
    struct peat_follower_options options;

    peat_follower_options_init(&options);
    options.url = url;
    options.key_path = key_path;
    options.name = name;
    options.durability = PEAT_OS;
    return pt_link_follow(db, &options);
}

static void follows_over(const char *url)
{
    struct scene scene;
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower_status status = {.struct_size = sizeof(status)};
    struct peat_follower *follower;

    scene_begin(&scene, url);
    follower = follow(db, scene.link.url, scene.link.key_path, "one");
    PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(scene.link.db, 1, 10), PT_LINK_SOON_MS, NULL));
    pt_link_write(scene.link.db, 300, 700);
    pt_link_write(scene.link.db, 2, 3 * MIB); /* larger than a frame */
    PT_REQUIRE_OK(
        peat_wait_commit(db, pt_link_write(scene.link.db, 300, 100), PT_LINK_SOON_MS, NULL));
    pt_link_require_same(scene.link.db, db);
    peat_follower_status_get(follower, &status);
    assert_int_equal(status.state, PEAT_FOLLOWER_FOLLOWING);
    assert_int_equal(status.connections, 1);
    peat_follower_stop(follower);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
}

static void P7_over_tcp_a_follower_holds_what_its_primary_holds(void **state)
{
    (void)state;
    follows_over("tcp://127.0.0.1:0");
}

static void P7_over_ipc_a_follower_holds_what_its_primary_holds(void **state)
{
    char url[300];
    (void)state;

    (void)snprintf(url, sizeof(url), "ipc://%s", pt_test_path("socket"));
    follows_over(url);
}

static void a_follower_goes_on_when_its_primary_comes_back_and_one_of_its_own_with_it(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_db *last_db = pt_test_store_make("last", PEAT_FOLLOWER);
    struct scene scene;
    struct pt_link between = {.db = db};
    struct peat_follower *follower;
    struct peat_follower *last;
    char url[256];
    (void)state;

    scene_begin(&scene, "tcp://127.0.0.1:0");
    (void)strcpy(between.key_path, scene.link.key_path);
    peat_primary_options_init(&between.options);
    pt_link_start(&between, "tcp://127.0.0.1:0");
    (void)strcpy(url, scene.link.url);
    follower = follow(db, scene.link.url, scene.link.key_path, "one");
    last = follow(last_db, between.url, scene.link.key_path, "last");
    PT_REQUIRE_OK(
        peat_wait_commit(last_db, pt_link_write(scene.link.db, 50, 900), PT_LINK_SOON_MS, NULL));
    for (unsigned i = 0; i < 3; i++) {
        uint64_t commit;

        peat_primary_stop(scene.link.primary);
        commit = pt_link_write(scene.link.db, 50, 900);
        pt_link_start(&scene.link, url);
        PT_REQUIRE_OK(peat_wait_commit(last_db, commit, PT_LINK_SOON_MS, NULL));
        pt_link_require_same(scene.link.db, last_db);
    }
    peat_follower_stop(last);
    peat_primary_stop(between.primary);
    peat_follower_stop(follower);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_close(last_db));
    PT_REQUIRE_OK(peat_close(db));
}

/* The primary keeps no log for that follower any more, once it has seen that it is gone. */
static void forget(const struct scene *scene, const char *name)
{
    enum peat_status status = PEAT_BUSY;

    while (status == PEAT_BUSY) {
        status = peat_feed_drop(scene->link.db, name);
        (void)usleep(LOOK_US);
    }
    PT_REQUIRE_OK(status);
}

/* The log is let go while the follower is away, at first before it has ever been there. */
static void a_follower_that_missed_the_log_takes_a_state(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower_status status = {.struct_size = sizeof(status)};
    struct scene scene;
    (void)state;

    scene_begin(&scene, "tcp://127.0.0.1:0");
    for (unsigned i = 0; i < 3; i++) {
        struct peat_follower *follower;
        uint64_t commit;

        (void)pt_link_write(scene.link.db, 2000, 900);
        PT_REQUIRE_OK(peat_flush(scene.link.db));
        follower = follow(db, scene.link.url, scene.link.key_path, "one");
        commit = pt_link_write(scene.link.db, 50, 900);
        PT_REQUIRE_OK(peat_wait_commit(db, commit, PT_LINK_SOON_MS, NULL));
        pt_link_require_same(scene.link.db, db);
        peat_follower_status_get(follower, &status);
        assert_int_equal(status.seed_count, 1);
        assert_int_equal(status.seed_missing, 0);
        PT_REQUIRE(status.seed_size > 0);
        peat_follower_stop(follower);
        forget(&scene, "one");
    }
    scene_end(&scene);
    PT_REQUIRE_OK(peat_close(db));
}

/* What a revert does is in no record: it comes as a state, whether the follower is there meanwhile, and whatever comes after. */
static void P7_a_follower_shows_what_its_primary_was_reverted_to(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower *follower;
    struct scene scene;
    (void)state;

    scene_begin(&scene, "tcp://127.0.0.1:0");
    (void)pt_link_write(scene.link.db, 10, 100);
    PT_REQUIRE_OK(peat_snapshot_persist(scene.link.db, "kept", NULL));
    follower = follow(db, scene.link.url, scene.link.key_path, "one");
    for (unsigned i = 0; i < 4; i++) {
        uint64_t commit = pt_link_write(scene.link.db, 10, 100);

        PT_REQUIRE_OK(peat_wait_commit(db, commit, PT_LINK_SOON_MS, NULL));
        if (i % 2 == 1) {
            peat_follower_stop(follower);
            (void)pt_link_write(scene.link.db, 3, 100);
        }
        PT_REQUIRE_OK(peat_revert(scene.link.db, "kept", 0, &commit));
        if (i >= 2)
            commit = pt_link_write(scene.link.db, 3, 100);
        if (i % 2 == 1)
            follower = follow(db, scene.link.url, scene.link.key_path, "one");
        PT_REQUIRE_OK(peat_wait_commit(db, commit, PT_LINK_SOON_MS, NULL));
        pt_link_require_same(scene.link.db, db);
    }
    peat_follower_stop(follower);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void whoever_has_another_key_gets_nothing(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_primary_status status = {.struct_size = sizeof(status)};
    struct peat_follower_status follower_status = {.struct_size = sizeof(follower_status)};
    struct peat_follower *follower;
    struct scene scene;
    (void)state;

    scene_begin(&scene, "tcp://127.0.0.1:0");
    pt_link_write(scene.link.db, 10, 100);
    follower = follow(db, scene.link.url, scene.other_key_path, "one");
    do {
        peat_primary_status_get(scene.link.primary, &status);
        (void)usleep(LOOK_US);
    } while (status.refused < 3);
    peat_follower_status_get(follower, &follower_status);
    assert_int_equal(follower_status.position.commit, 0);
    assert_int_equal(follower_status.state, PEAT_FOLLOWER_CONNECTING);
    assert_int_equal(status.connected, 0);
    peat_follower_stop(follower);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void without_a_key_only_this_machine_is_served(void **state)
{
    static const char *const far[] = {"tcp://0.0.0.0:0", "tcp://:0", "tcp://[::]:0",
                                      "tcp://127.0.0.1.example.org:0",
                                      "tcp://localhost:1@example.org:0"};
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct peat_primary_options options;
    struct peat_primary *primary;
    struct peat_repl_error error;
    (void)state;

    peat_primary_options_init(&options);
    options.url_count = 1;
    for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
        options.urls = &far[i];
        assert_int_equal(peat_primary_start(db, &options, &primary, &error), PEAT_INVALID);
        assert_non_null(strstr(error.words, far[i]));
    }
    options.flags = PEAT_REPL_INSECURE;
    options.urls = &far[0];
    assert_int_equal(peat_primary_start(db, &options, &primary, &error), PEAT_OK);
    peat_primary_stop(primary);
    options.urls = (const char *const[]){"udp://127.0.0.1:1"};
    assert_int_equal(peat_primary_start(db, &options, &primary, &error), PEAT_INVALID);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_follower_that_comes_back_takes_the_place_of_its_dead_connection(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower *followers[2];
    struct scene scene;
    (void)state;

    scene_begin(&scene, "tcp://127.0.0.1:0");
    followers[0] = follow(db, scene.link.url, scene.link.key_path, "one");
    PT_REQUIRE_OK(
        peat_wait_commit(db, pt_link_write(scene.link.db, 1, 100), PT_LINK_SOON_MS, NULL));
    followers[1] =
        follow(db, scene.link.url, scene.link.key_path, "one"); /* the first is not dead at all */
    PT_REQUIRE_OK(
        peat_wait_commit(db, pt_link_write(scene.link.db, 1, 100), PT_LINK_SOON_MS, NULL));
    peat_follower_stop(followers[0]);
    PT_REQUIRE_OK(
        peat_wait_commit(db, pt_link_write(scene.link.db, 1, 100), PT_LINK_SOON_MS, NULL));
    peat_follower_stop(followers[1]);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void options_that_cannot_be_are_refused(void **state)
{
    static const char *const urls[] = {"tcp://127.0.0.1:0"};
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_db *writable = pt_test_store_make("primary", 0);
    struct peat_follower_options options;
    struct peat_primary_options primary_options;
    struct peat_follower *follower;
    struct peat_primary *primary;
    (void)state;

    for (unsigned i = 0; i < 6; i++) {
        peat_follower_options_init(&options);
        options.url = "tcp://127.0.0.1:1";
        options.name = i == 0 ? "" : "one";
        options.flags = i == 1 ? 8 : 0;
        options.window_size = i == 2 ? UINT64_MAX : i == 3 ? 1 : options.window_size;
        options.record_size_max = i == 4 ? 0 : options.record_size_max;
        assert_int_equal(peat_follower_start(i == 5 ? writable : db, &options, &follower, NULL),
                         PEAT_INVALID);
        assert_null(follower);
        assert_int_equal(peat_follower_check(&options, NULL), i == 5 ? PEAT_OK : PEAT_INVALID);
    }
    for (unsigned i = 0; i < 4; i++) {
        peat_follower_options_init(&options);
        options.url = i == 0 ? "tcp://192.0.2.1:1" : i == 1 ? "nothing://to:dial" : "ipc:///none";
        options.key_path = i == 2 ? pt_test_path("no key") : NULL;
        options.flags = i == 1 ? PEAT_REPL_INSECURE : 0;
        options.name = "one";
        options.struct_size = i == 3 ? 8 : options.struct_size;
        PT_REQUIRE(peat_follower_check(&options, NULL) != PEAT_OK);
    }
    PT_REQUIRE_STATUS(peat_follower_check(NULL, NULL), PEAT_INVALID);
    peat_follower_status_get(NULL, NULL);
    peat_primary_status_get(NULL, NULL);
    peat_primary_list(NULL, NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        peat_primary_options_init(&primary_options);
        primary_options.urls = i == 0 ? NULL : urls;
        primary_options.url_count = 1;
        primary_options.key_count = i == 1 ? 1 : 0;
        primary_options.flags = i == 2 ? 2 : 0;
        assert_int_equal(peat_primary_start(writable, &primary_options, &primary, NULL),
                         PEAT_INVALID);
        assert_null(primary);
    }
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_close(writable));
}

/* ---- PEAT_REPLICAS ---- */

/* A process that follows when it is told to, until it is killed. It is forked before anybody has used nng. */
struct replica {
    pid_t child;
    int begin[2]; /* pipe */
    char path[256];
    char url[256];
    char key_path[256];
};

static struct peat_db *replica_open(const char *path)
{
    struct peat_options options = pt_test_options(PEAT_CREATE | PEAT_FOLLOWER);
    struct peat_db *db;

    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    return db;
}

static struct peat_follower *replica_follow(struct peat_db *db, const char *url,
                                            const char *key_path)
{
    struct peat_follower_options options;
    struct peat_follower *follower;

    peat_follower_options_init(&options);
    options.url = url;
    options.key_path = key_path;
    options.name = "replica";
    PT_REQUIRE_OK(peat_follower_start(db, &options, &follower, NULL));
    return follower;
}

static void replica_run(void *context)
{
    const struct replica *replica = context;
    char byte;

    PT_REQUIRE(pt_pipe_read(replica->begin[0], &byte, 1));
    (void)replica_follow(replica_open(replica->path), replica->url, replica->key_path);
    for (;;)
        (void)pause();
}

/* A thread that commits, follower or not. */
struct committer {
    pthread_t thread;
    struct peat_db *db;
    atomic_bool stop;
    _Atomic uint64_t replicated; /* the newest commit that returned PEAT_OK */
};

static void *committer_run(void *context)
{
    struct committer *committer = context;
    struct peat_batch *batch = peat_batch_new(0);

    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("key"), pt_text("value")));
    while (!atomic_load(&committer->stop)) {
        uint64_t commit = 0;
        enum peat_status status = peat_write(committer->db, batch, PEAT_REPLICAS, &commit);

        PT_REQUIRE(commit > 0);
        if (status != PEAT_TIMEOUT)
            PT_REQUIRE_OK(status);
        if (status == PEAT_OK)
            atomic_store(&committer->replicated, commit);
    }
    peat_batch_free(batch);
    return NULL;
}

static void replica_kill(struct replica *replica, struct committer *committer)
{
    uint64_t before = atomic_load(&committer->replicated);
    struct peat_position position;
    struct peat_db *db;
    char byte = 0;

    PT_REQUIRE(pt_pipe_write(replica->begin[1], &byte, 1));
    while (atomic_load(&committer->replicated) < before + REPLICATED) {
        pt_child_check(replica->child);
        (void)usleep(LOOK_US);
    }
    pt_child_kill(replica->child);
    db = replica_open(replica->path);
    PT_REQUIRE_OK(peat_position_get(db, &position));
    PT_REQUIRE(position.commit >= atomic_load(&committer->replicated));
    PT_REQUIRE_OK(peat_abort(db));
    (void)close(replica->begin[0]);
    (void)close(replica->begin[1]);
}

static void what_was_committed_at_replicas_is_in_a_follower_that_was_killed(void **state)
{
    struct replica replicas[KILLS];
    struct committer committer = {.stop = false};
    struct scene scene;
    (void)state;

    for (unsigned i = 0; i < KILLS; i++) {
        struct replica *replica = &replicas[i];

        PT_REQUIRE(pipe(replica->begin) == 0);
        (void)snprintf(replica->path, sizeof(replica->path), "%s", pt_test_path("replica"));
        (void)snprintf(replica->url, sizeof(replica->url), "ipc://%s", pt_test_path("socket"));
        (void)snprintf(replica->key_path, sizeof(replica->key_path), "%s", pt_test_path("key"));
        replica->child = pt_child_start(replica_run, replica);
    }
    scene_begin(&scene, replicas[0].url);
    committer.db = scene.link.db;
    PT_REQUIRE(pthread_create(&committer.thread, NULL, committer_run, &committer) == 0);
    for (unsigned i = 0; i < KILLS; i++)
        replica_kill(&replicas[i], &committer);
    atomic_store(&committer.stop, true);
    peat_replicas_cancel(scene.link.db);
    PT_REQUIRE(pthread_join(committer.thread, NULL) == 0);
    scene_end(&scene);
}

static void a_commit_at_replicas_waits_for_a_follower_that_comes_back(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_follower *follower;
    struct scene scene;
    uint64_t commit = 0;
    (void)state;

    scene_begin(&scene, "tcp://127.0.0.1:0");
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("key"), pt_text("value")));
    for (unsigned i = 0; i < 3; i++) {
        follower = replica_follow(db, scene.link.url, scene.link.key_path);
        PT_REQUIRE_OK(peat_wait_replicas(scene.link.db, commit, 1, PT_LINK_SOON_MS, NULL));
        PT_REQUIRE_OK(peat_write(scene.link.db, batch, PEAT_OS, &commit));
        PT_REQUIRE_OK(peat_wait_replicas(scene.link.db, commit, 1, PT_LINK_SOON_MS, NULL));
        PT_REQUIRE_OK(peat_wait_commit(db, commit, 0, NULL)); /* it is there already */
        peat_follower_stop(follower);
        PT_REQUIRE_STATUS(peat_write(scene.link.db, batch, PEAT_REPLICAS, &commit), PEAT_TIMEOUT);
    }
    peat_batch_free(batch);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Strangers ---- */

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
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port =
                                      htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    PT_REQUIRE(fd >= 0);
    PT_REQUIRE(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

static void strangers_disturb_nobody(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_primary_status status = {.struct_size = sizeof(status)};
    struct pt_dice dice = {pt_test_seed()};
    struct peat_follower *follower;
    int fds[STRANGERS];
    struct scene scene;
    unsigned before;
    (void)state;

    scene_begin(&scene, "tcp://127.0.0.1:0");
    follower = follow(db, scene.link.url, scene.link.key_path, "one");
    PT_REQUIRE_OK(
        peat_wait_commit(db, pt_link_write(scene.link.db, 1, 100), PT_LINK_SOON_MS, NULL));
    before = fds_open();
    for (unsigned i = 0; i < STRANGERS; i++) {
        uint8_t bytes[256];
        size_t size = pt_dice_below(&dice, sizeof(bytes));

        fds[i] = knock(scene.link.url);
        pt_value_fill(pt_dice_next(&dice), bytes, sizeof(bytes));
        if (pt_dice_one_in(&dice, 2))
            memcpy(bytes, "peatrepl", 8);
        if (pt_dice_one_in(&dice, 3))
            (void)!send(fds[i], bytes, size, MSG_NOSIGNAL); /* it may have been closed already */
        if (i % 10 == 0)
            PT_REQUIRE_OK(
                peat_wait_commit(db, pt_link_write(scene.link.db, 1, 100), PT_LINK_SOON_MS, NULL));
    }
    for (unsigned i = 0; i < STRANGERS; i++)
        (void)close(fds[i]);
    do {
        peat_primary_status_get(scene.link.primary, &status);
        (void)usleep(LOOK_US);
    } while (status.strangers > 0 || status.accepted < STRANGERS + 1 || fds_open() > before);
    assert_int_equal(status.connected, 1);
    PT_REQUIRE_OK(
        peat_wait_commit(db, pt_link_write(scene.link.db, 1, 100), PT_LINK_SOON_MS, NULL));
    peat_follower_stop(follower);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Starting and stopping ---- */

static void both_ends_start_and_stop_at_any_moment(void **state)
{
    uint64_t rounds = pt_test_number("PEAT_ROUNDS", ROUNDS);
    struct pt_dice dice = {pt_test_seed()};
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower *follower;
    struct scene scene;
    char url[256];
    unsigned before = 0;
    (void)state;

    scene_begin(&scene, "tcp://127.0.0.1:0");
    (void)strcpy(url, scene.link.url);
    for (uint64_t i = 0; i < rounds; i++) {
        follower = follow(db, url, scene.link.key_path, "one");
        (void)usleep((unsigned)pt_dice_below(&dice, 20000));
        pt_link_write(scene.link.db, 3, 100);
        if (pt_dice_one_in(&dice, 2)) {
            peat_primary_stop(scene.link.primary);
            scene.link.primary = NULL;
        } else {
            PT_REQUIRE_OK(
                peat_wait_commit(db, pt_link_write(scene.link.db, 1, 10), PT_LINK_SOON_MS, NULL));
        }
        peat_follower_stop(follower);
        if (i % 2 == 0) {
            peat_primary_stop(scene.link.primary);
            scene.link.primary = NULL;
        }
        if (scene.link.primary == NULL)
            pt_link_start(&scene.link, url);
        if (i == 4)
            before = fds_open();
    }
    if (rounds > 5)
        assert_in_range(fds_open(), 0, before + 16);
    follower = follow(db, url, scene.link.key_path, "one");
    PT_REQUIRE_OK(peat_wait_commit(db, pt_link_write(scene.link.db, 1, 10), PT_LINK_SOON_MS, NULL));
    pt_link_require_same(scene.link.db, db);
    peat_follower_stop(follower);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_follower_is_promoted_only_when_its_primary_is_gone_or_by_force(void **state)
{
    struct scene scene;
    struct peat_repl_error error;
    uint64_t epoch;
    (void)state;

    scene_begin(&scene, "tcp://127.0.0.1:0");
    for (unsigned forced = 0; forced < 2; forced++) {
        struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
        struct peat_follower *follower = follow(db, scene.link.url, scene.link.key_path, "one");

        PT_REQUIRE_OK(
            peat_wait_commit(db, pt_link_write(scene.link.db, 1, 10), PT_LINK_SOON_MS, NULL));
        while (pt_link_status(follower).state != PEAT_FOLLOWER_FOLLOWING)
            (void)usleep(1000);
        PT_REQUIRE(peat_follower_promote(follower, 0, &epoch, &error) == PEAT_BUSY);
        PT_REQUIRE(peat_follower_promote(follower, 2, &epoch, &error) == PEAT_INVALID);
        PT_REQUIRE_OK(
            peat_wait_commit(db, pt_link_write(scene.link.db, 1, 10), PT_LINK_SOON_MS, NULL));
        if (forced == 0) {
            peat_primary_stop(scene.link.primary);
            scene.link.primary = NULL;
            while (pt_link_status(follower).state == PEAT_FOLLOWER_FOLLOWING)
                (void)usleep(1000);
        }
        if (peat_follower_promote(follower, forced == 1 ? PEAT_PROMOTE_FORCED : 0, &epoch,
                                  &error) != PEAT_OK)
            pt_test_fail(__FILE__, __LINE__, "%s", error.words);
        assert_int_equal(epoch, 2);
        assert_int_equal(pt_link_status(follower).state, PEAT_FOLLOWER_PROMOTED);
        pt_link_write(db, 1, 10);
        PT_REQUIRE(peat_follower_promote(follower, 0, &epoch, &error) == PEAT_INVALID);
        assert_int_equal(pt_link_status(follower).state, PEAT_FOLLOWER_PROMOTED);
        peat_follower_stop(follower);
        PT_REQUIRE_OK(peat_close(db));
        if (scene.link.primary == NULL)
            pt_link_start(&scene.link, "tcp://127.0.0.1:0");
    }
    scene_end(&scene);
}

/* ---- An old primary comes back ---- */

/* What saves what is forked: it counts the commits, the first time it fails. */
struct saved {
    uint64_t calls;
    uint64_t commits;
    struct peat_fork fork;
};

static enum peat_status forked_save(void *context, struct peat_db *db, const struct peat_fork *fork,
                                    struct peat_repl_error *error_out)
{
    struct saved *saved = context;
    struct peat_record record;
    struct peat_feed *feed;

    saved->fork = *fork;
    if (saved->calls++ == 0) {
        (void)snprintf(error_out->words, sizeof(error_out->words), "nowhere to save it");
        return PEAT_NO_SPACE;
    }
    PT_REQUIRE_OK(peat_feed_open(db, fork->commit + 1, NULL, 0, &feed));
    while (peat_feed_next(feed, 0, &record) == PEAT_OK)
        saved->commits++;
    peat_feed_close(feed);
    return PEAT_OK;
}

static struct peat_follower *rejoin(struct peat_db *db, const struct scene *scene, unsigned flags,
                                    struct saved *saved)
{
    struct peat_follower_options options;
    struct peat_follower *follower;

    peat_follower_options_init(&options);
    options.url = scene->link.url;
    options.key_path = scene->link.key_path;
    options.name = "back";
    options.flags = flags;
    options.save = forked_save;
    options.save_context = saved;
    PT_REQUIRE_OK(peat_follower_start(db, &options, &follower, NULL));
    return follower;
}

static enum peat_follower_state state_wait(struct peat_follower *follower,
                                           enum peat_follower_state wanted,
                                           struct peat_follower_status *status)
{
    for (unsigned i = 0; i < PT_LINK_SOON_MS; i++) {
        *status = (struct peat_follower_status){.struct_size = sizeof(*status)};
        peat_follower_status_get(follower, status);
        if (status->state == wanted)
            break;
        (void)usleep(LOOK_US);
    }
    return status->state;
}

/* An old primary that runs, and has @p forked commits that the one promoted in its place has not. It is fenced. */
static void scene_fork(struct scene *scene, struct peat_db **old_out, unsigned forked)
{
    struct peat_options options = pt_test_options(PEAT_FOLLOWER);
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_follower *follower;

    scene_begin(scene, "tcp://127.0.0.1:0");
    follower = follow(db, scene->link.url, scene->link.key_path, "one");
    PT_REQUIRE_OK(
        peat_wait_commit(db, pt_link_write(scene->link.db, 40, 1000), PT_LINK_SOON_MS, NULL));
    PT_REQUIRE_OK(peat_follower_promote(follower, PEAT_PROMOTE_FORCED, NULL, NULL));
    peat_follower_stop(follower);
    if (forked > 0)
        pt_link_write(scene->link.db, forked, 1000);
    pt_link_write(db, 30, 1000);
    PT_REQUIRE_OK(peat_fence(scene->link.db, 2)); /* while it is served */
    PT_REQUIRE_STATUS(peat_put(scene->link.db, NULL, pt_text("a"), pt_text("b")), PEAT_FENCED);
    peat_primary_stop(scene->link.primary);
    PT_REQUIRE_OK(peat_close(scene->link.db));
    scene->link.db = db;
    pt_link_start(&scene->link, "tcp://127.0.0.1:0");
    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(pt_test_path("primary"), &options, old_out));
}

static void an_old_primary_that_was_fenced_follows_when_it_has_nothing_more(void **state)
{
    struct peat_follower_status status;
    struct peat_follower *follower;
    struct saved saved = {.calls = 0};
    struct scene scene;
    struct peat_db *db;
    (void)state;

    scene_fork(&scene, &db, 0);
    follower = rejoin(db, &scene, 0, &saved);
    PT_REQUIRE_OK(
        peat_wait_commit(db, pt_link_write(scene.link.db, 10, 100), PT_LINK_SOON_MS, NULL));
    pt_link_require_same(scene.link.db, db);
    PT_REQUIRE(state_wait(follower, PEAT_FOLLOWER_FOLLOWING, &status) == PEAT_FOLLOWER_FOLLOWING);
    PT_REQUIRE(status.rejoin_count == 0);
    PT_REQUIRE(saved.calls == 0);
    peat_follower_stop(follower);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void an_old_primary_with_more_says_so_and_rejoins_when_it_may(void **state)
{
    struct peat_follower_status status;
    struct peat_follower *follower;
    struct saved saved = {.calls = 0};
    struct peat_snapshot *snapshot;
    struct scene scene;
    struct peat_db *db;
    (void)state;

    scene_fork(&scene, &db, 25);
    follower = rejoin(db, &scene, 0, &saved);
    PT_REQUIRE(state_wait(follower, PEAT_FOLLOWER_DIVERGED, &status) == PEAT_FOLLOWER_DIVERGED);
    pt_test_context("%s", status.words);
    PT_REQUIRE(strstr(status.words, "behind commit 40: commit 65 of epoch 1 is here, commit 70 of "
                                    "epoch 2 there; with --rejoin") != NULL);
    peat_follower_stop(follower);
    PT_REQUIRE(saved.calls == 0);
    follower = rejoin(db, &scene, PEAT_FOLLOWER_REJOIN, &saved);
    PT_REQUIRE(state_wait(follower, PEAT_FOLLOWER_FOLLOWING, &status) == PEAT_FOLLOWER_FOLLOWING);
    PT_REQUIRE_OK(
        peat_wait_commit(db, pt_link_write(scene.link.db, 10, 100), PT_LINK_SOON_MS, NULL));
    pt_link_require_same(scene.link.db, db);
    (void)state_wait(follower, PEAT_FOLLOWER_FOLLOWING, &status);
    PT_REQUIRE(status.rejoin_count == 1);
    PT_REQUIRE(saved.calls == 2 && saved.commits == 25 && saved.fork.commit == 40);
    PT_REQUIRE(saved.fork.ours.commit == 65 && saved.fork.theirs.epoch == 2);
    PT_REQUIRE_OK(peat_history_open(db, "forked-1-65", 0, &snapshot));
    PT_REQUIRE(peat_snapshot_commit(snapshot) == 65);
    peat_snapshot_close(snapshot);
    peat_follower_stop(follower);
    scene_end(&scene);
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* The first, as it forks: */
        cmocka_unit_test(what_was_committed_at_replicas_is_in_a_follower_that_was_killed),
        cmocka_unit_test(a_commit_at_replicas_waits_for_a_follower_that_comes_back),
        cmocka_unit_test(P7_over_tcp_a_follower_holds_what_its_primary_holds),
        cmocka_unit_test(P7_over_ipc_a_follower_holds_what_its_primary_holds),
        cmocka_unit_test(a_follower_goes_on_when_its_primary_comes_back_and_one_of_its_own_with_it),
        cmocka_unit_test(a_follower_that_missed_the_log_takes_a_state),
        cmocka_unit_test(P7_a_follower_shows_what_its_primary_was_reverted_to),
        cmocka_unit_test(whoever_has_another_key_gets_nothing),
        cmocka_unit_test(without_a_key_only_this_machine_is_served),
        cmocka_unit_test(a_follower_that_comes_back_takes_the_place_of_its_dead_connection),
        cmocka_unit_test(options_that_cannot_be_are_refused),
        cmocka_unit_test(strangers_disturb_nobody),
        cmocka_unit_test(a_follower_is_promoted_only_when_its_primary_is_gone_or_by_force),
        cmocka_unit_test(an_old_primary_that_was_fenced_follows_when_it_has_nothing_more),
        cmocka_unit_test(an_old_primary_with_more_says_so_and_rejoins_when_it_may),
        cmocka_unit_test(both_ends_start_and_stop_at_any_moment),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

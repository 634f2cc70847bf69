/*
 * The property: whichever node dies, and whenever, what was committed at PEAT_REPLICAS is in the follower that is
 * promoted in its place, whole batches and in order (P2, P7).
 *
 * Two nodes, each a process with a store of its own, take turns: one writes at PEAT_REPLICAS and the other follows, until
 * the first is killed. The second is promoted, looks whether it has all that was acknowledged, and writes on; the first comes
 * back as its follower, and leaves what nobody else has. Now and then the second is killed, too, before or while it is promoted, and is promoted at rest.
 *
 * What batch number n of a writer does follows from the two alone, so the newest number tells all that a store must hold.
 *
 *     test_failover [ROUNDS]       PEAT_SEED=n repeats the choices, though not the moments
 */
#include "tests/link.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    ROUNDS = 40,
    NODES = 2,
    WRITERS = 2,
    SLOTS = 100, /* keys that a writer overwrites again and again */
    VALUE_SIZE_MAX = 600,
    BATCHES_MAX = 60, /* acknowledged in a round, before the kill */
    LATER_US = 3000,
    LOOK_US = 500,
    STATES_MAX = 16, /* that are kept, of those that rejoined */
    NAME_SIZE = 32
};

/* What all processes see. */
struct shared {
    _Atomic unsigned port;                  /* of the node that writes; 0: there is none yet */
    _Atomic bool promote;                   /* the follower is to take its place */
    _Atomic uint64_t acknowledged[WRITERS]; /* the newest batch whose commit returned PEAT_OK */
    _Atomic uint64_t count;                 /* of all of them */
    _Atomic uint64_t rejoined;              /* stores that had parted from the new history */
};

enum role {
    ROLE_PRIMARY, /* write: promote the store at rest, if it is a follower's */
    ROLE_FOLLOWER /* follow until promoted, then write */
};

struct node {
    struct shared *shared;
    char path[256];
    char key_path[256];
    enum role role;
    pid_t child;
};

struct writer {
    struct shared *shared;
    struct peat_db *db;
    unsigned number;
    uint64_t done; /* batches that are in the store */
};

/* ---- What a writer does ---- */

static const char *slot_name(char name[NAME_SIZE], unsigned writer, uint64_t batch)
{
    (void)snprintf(name, NAME_SIZE, "writer %u/%03" PRIu64, writer, batch % SLOTS);
    return name;
}

static const char *last_name(char name[NAME_SIZE], unsigned writer)
{
    (void)snprintf(name, NAME_SIZE, "writer %u", writer);
    return name;
}

static uint64_t value_seed(unsigned writer, uint64_t batch)
{
    return pt_mix(writer + 1) ^ pt_mix(batch);
}

static void batch_write(struct writer *writer, uint64_t number)
{
    struct peat_batch *batch = peat_batch_new(0);
    size_t size = value_seed(writer->number, number) % VALUE_SIZE_MAX;
    char name[NAME_SIZE];
    enum peat_status status;
    void *value;

    PT_REQUIRE(batch != NULL);
    PT_REQUIRE_OK(peat_batch_put_reserve(
        batch, NULL, pt_text(slot_name(name, writer->number, number)), size, &value));
    pt_value_fill(value_seed(writer->number, number), value, size);
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text(last_name(name, writer->number)),
                                 (struct peat_bytes){&number, sizeof(number)}));
    status = peat_write(writer->db, batch, PEAT_REPLICAS, NULL);
    peat_batch_free(batch);
    PT_REQUIRE_OK(status);
    atomic_store(&writer->shared->acknowledged[writer->number], number);
    atomic_fetch_add(&writer->shared->count, 1);
}

static void *writer_run(void *context)
{
    struct writer *writer = context;

    for (;;)
        batch_write(writer, ++writer->done);
    return NULL;
}

/* ---- What a store must hold then ---- */

static void slot_check(const struct peat_snapshot *snapshot, unsigned writer, uint64_t batch)
{
    struct peat_bytes value;
    char name[NAME_SIZE];

    PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text(slot_name(name, writer, batch)), &value));
    PT_REQUIRE(value.size == value_seed(writer, batch) % VALUE_SIZE_MAX);
    PT_REQUIRE(pt_value_matches(value_seed(writer, batch), value));
}

/* The newest batch of the writer, all of whose doing must be there. */
static uint64_t last_check(struct peat_db *db, unsigned writer)
{
    struct peat_snapshot *snapshot;
    struct peat_bytes value;
    enum peat_status status;
    char name[NAME_SIZE];
    uint64_t last = 0;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    status = peat_get(snapshot, NULL, pt_text(last_name(name, writer)), &value);
    if (status != PEAT_NOT_FOUND) {
        PT_REQUIRE_OK(status);
        PT_REQUIRE(value.size == sizeof(last));
        memcpy(&last, value.data, sizeof(last));
    }
    for (uint64_t i = 0; i < SLOTS && i < last; i++)
        slot_check(snapshot, writer, last - i);
    peat_snapshot_close(snapshot);
    return last;
}

/* ---- A node ---- */

static struct peat_db *store_open(const struct node *node, unsigned flags,
                                  enum peat_status *status_out)
{
    struct peat_options options = pt_test_options(PEAT_CREATE | flags);
    struct peat_db *db;

    pt_test_options_tiny(&options);
    options.replica_timeout_ms = PEAT_FEED_FOREVER;
    *status_out = peat_open(node->path, &options, &db);
    return db;
}

struct names {
    char names[STATES_MAX][PEAT_NAME_SIZE_MAX + 1];
    size_t count;
};

static bool name_take(void *context, const struct peat_history_entry *entry)
{
    struct names *names = context;

    if (entry->name != NULL && strncmp(entry->name, "forked-", strlen("forked-")) == 0)
        (void)strcpy(names->names[names->count++], entry->name);
    return names->count < STATES_MAX;
}

/* What a rejoin left is kept under a name. */
static void left_drop(struct peat_db *db)
{
    struct names names = {.count = 0};

    PT_REQUIRE_OK(peat_history_list(db, name_take, &names));
    for (size_t i = 0; i < names.count; i++)
        PT_REQUIRE_OK(peat_history_drop(db, names.names[i], 0));
}

static struct peat_db *primary_open(const struct node *node)
{
    enum peat_status status;
    struct peat_db *db = store_open(node, 0, &status);

    if (status == PEAT_NOT_WRITABLE) { /* a follower's */
        db = store_open(node, PEAT_FOLLOWER, &status);
        PT_REQUIRE_OK(status);
        PT_REQUIRE_OK(peat_promote(db, 0, NULL));
    }
    PT_REQUIRE_OK(status);
    left_drop(db);
    return db;
}

static struct pt_link link_of(const struct node *node, struct peat_db *db)
{
    struct pt_link link = {.db = db};

    peat_primary_options_init(&link.options);
    (void)snprintf(link.url, sizeof(link.url), "tcp://127.0.0.1:%u",
                   atomic_load(&node->shared->port));
    (void)strcpy(link.key_path, node->key_path);
    return link;
}

static struct peat_follower *follower_start(const struct node *node, struct peat_db *db)
{
    struct pt_link link = link_of(node, db);
    struct peat_follower_options options = pt_link_options(&link, "other");

    options.durability = PEAT_DISK;
    options.flags = PEAT_FOLLOWER_REJOIN;
    return pt_link_follow(db, &options);
}

/* Follow until it is to be promoted. A store that has commits which nobody else has rejoins. */
static struct peat_db *promoted_open(const struct node *node)
{
    struct peat_follower_status about;
    enum peat_status status;
    struct peat_db *db = store_open(node, PEAT_FOLLOWER, &status);
    struct peat_follower *follower;

    PT_REQUIRE_OK(status);
    follower = follower_start(node, db);
    do {
        about = pt_link_status(follower);
        if (about.state == PEAT_FOLLOWER_FAILED || about.state == PEAT_FOLLOWER_DIVERGED)
            pt_test_fail(__FILE__, __LINE__, "the follower does not follow: %s", about.words);
        (void)usleep(LOOK_US);
    } while (!atomic_load(&node->shared->promote));
    atomic_fetch_add(&node->shared->rejoined, about.rejoin_count);
    while ((status = peat_follower_promote(follower, 0, NULL, NULL)) == PEAT_BUSY)
        (void)usleep(LOOK_US); /* it has not noticed yet that the primary is gone */
    PT_REQUIRE_OK(status);
    peat_follower_stop(follower);
    left_drop(db);
    return db;
}

static void offer(const struct node *node, struct peat_db *db)
{
    struct pt_link link = link_of(node, db);

    pt_link_start(&link, "tcp://127.0.0.1:0");
    atomic_store(&node->shared->port, pt_link_primary_status(&link).port);
}

static void node_run(void *context)
{
    const struct node *node = context;
    struct peat_db *db = node->role == ROLE_PRIMARY ? primary_open(node) : promoted_open(node);
    static struct writer writers[WRITERS];

    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){node->shared, db, i, last_check(db, i)};
        if (writers[i].done < atomic_load(&node->shared->acknowledged[i]))
            pt_test_fail(__FILE__, __LINE__,
                         "writer %u: batch %" PRIu64 " was acknowledged, and %" PRIu64
                         " is the newest that is there",
                         i, atomic_load(&node->shared->acknowledged[i]), writers[i].done);
    }
    offer(node, db);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_t thread;

        PT_REQUIRE(pthread_create(&thread, NULL, writer_run, &writers[i]) == 0);
    }
    for (;;)
        (void)pause();
}

static void node_start(struct node *node, enum role role)
{
    node->role = role;
    node->child = pt_child_start(node_run, node);
}

/* ---- Rounds ---- */

static void port_await(const struct node *node)
{
    while (atomic_load(&node->shared->port) == 0) {
        pt_child_check(node->child);
        (void)usleep(LOOK_US);
    }
}

/* The follower takes the primary's place: by itself, or after a death of its own. */
static void take_over(struct node *follower, struct pt_dice *dice)
{
    struct shared *shared = follower->shared;
    uint64_t how = pt_dice_below(dice, 6);

    if (how != 0)
        atomic_store(&shared->promote, true);
    if (how <= 1) {
        (void)usleep((useconds_t)pt_dice_below(dice, LATER_US));
        pt_child_kill(follower->child);
        atomic_store(&shared->port, 0); /* it may have come as far as that */
        node_start(follower, ROLE_PRIMARY);
    }
    port_await(follower);
    atomic_store(&shared->promote, false);
}

static unsigned rounds_wanted;

static void P7_what_was_acknowledged_at_replicas_is_in_whoever_is_promoted(void **state)
{
    uint64_t seed = pt_test_seed();
    struct pt_dice dice = {seed};
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct node nodes[NODES];
    char id[PEAT_KEY_ID_TEXT_SIZE];
    unsigned primary = 0;
    (void)state;

    PT_REQUIRE(shared != MAP_FAILED);
    for (unsigned i = 0; i < NODES; i++) {
        nodes[i].shared = shared;
        (void)snprintf(nodes[i].path, sizeof(nodes[i].path), "%s",
                       pt_test_path(i == 0 ? "one" : "other"));
        (void)snprintf(nodes[i].key_path, sizeof(nodes[i].key_path), "%s", pt_test_path("key"));
    }
    PT_REQUIRE_OK(peat_key_make(nodes[0].key_path, id, NULL));
    node_start(&nodes[primary], ROLE_PRIMARY);
    port_await(&nodes[primary]);
    for (unsigned round = 0; round < rounds_wanted; round++) {
        uint64_t wanted = atomic_load(&shared->count) + 1 + pt_dice_below(&dice, BATCHES_MAX);

        pt_test_context("seed %" PRIu64 ", round %u", seed, round);
        node_start(&nodes[!primary], ROLE_FOLLOWER);
        while (atomic_load(&shared->count) < wanted) {
            pt_child_check(nodes[0].child);
            pt_child_check(nodes[1].child);
            (void)usleep(LOOK_US);
        }
        (void)usleep((useconds_t)pt_dice_below(&dice, LATER_US));
        pt_child_kill(nodes[primary].child);
        atomic_store(&shared->port, 0);
        primary = !primary;
        take_over(&nodes[primary], &dice);
    }
    pt_child_kill(nodes[primary].child);
    (void)printf("# %u promotions, %" PRIu64 " commits acknowledged, %" PRIu64
                 " stores that had parted and rejoined, 0 failed\n",
                 rounds_wanted, atomic_load(&shared->count), atomic_load(&shared->rejoined));
    (void)munmap(shared, sizeof(*shared));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(P7_what_was_acknowledged_at_replicas_is_in_whoever_is_promoted)};
    int failed;

    pt_test_start();
    rounds_wanted = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10)
                             : (unsigned)pt_test_number("PEAT_ROUNDS", ROUNDS);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

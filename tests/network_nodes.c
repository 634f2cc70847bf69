#include "tests/network_nodes.h"
#include "repl/peat_repl.h"
#include "tests/support.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum {
    PAUSE_US = 400, /* between commits */
    REPLICA_MS = 20,
    KEYS = 64,
    VALUE_MAX = 100000
};

static struct pt_network *shared;
static enum pt_network_role role = PT_NETWORK_TEST; /* this process's */

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

/* The linker puts it in the place of the C library's, for all of peat: so its wall clock can jump. nng's cannot: it waits by
 * that one, and so would wait for a clock that the system has not. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int outcome = __real_clock_gettime(clock, now);

    if (clock == CLOCK_REALTIME && role != PT_NETWORK_TEST && outcome == 0)
        now->tv_sec += atomic_load(&shared->clock_jump_s[role]);
    return outcome;
}

/* ---- Both ---- */

void pt_network_context_set(const struct pt_network *network, enum pt_network_role who)
{
    static const char *const names[] = {"primary", "follower", "both"};
    uint64_t cycle = atomic_load(&network->cycle);

    pt_test_context("%s, cycle %" PRIu64 ", repeated by PEAT_SEED=%" PRIu64 " PEAT_CYCLES=1",
                    names[who], cycle, network->seed + cycle);
}

static uint64_t print_of(struct peat_db *db, uint64_t *commit_out)
{
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;
    enum peat_status status;
    uint64_t print = 0;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    *commit_out = peat_snapshot_commit(snapshot);
    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    for (status = peat_iterator_first(iterator); status == PEAT_OK;
         status = peat_iterator_next(iterator)) {
        print = pt_fingerprint(print, peat_iterator_key(iterator));
        print = pt_fingerprint(print, peat_iterator_value(iterator));
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
    return print;
}

static void digest_of(struct peat_db *db, uint8_t digest[PT_NETWORK_DIGEST_SIZE])
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, NULL));
    peat_snapshot_close(snapshot);
}

/* ---- The primary's process ---- */

static struct peat_db *primary_open(struct pt_dice *dice)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_position position;
    struct peat_db *db;

    pt_test_options_tiny(&options);
    options.replica_timeout_ms = REPLICA_MS;
    options.feed_log_size_max = pt_dice_one_in(dice, 3) ? 128 * KIB : 64 * MIB;
    PT_REQUIRE_OK(peat_open(shared->primary_path, &options, &db));
    PT_REQUIRE_OK(peat_position_get(db, &position));
    PT_REQUIRE(position.commit >= atomic_load(&shared->acknowledged));
    return db;
}

static struct peat_primary *primary_start(struct peat_db *db)
{
    static const char *const urls[] = {"tcp://" PT_NETSPACE_NEAR ":7000"};
    const char *const keys[] = {shared->key_path};
    struct peat_primary_options options;
    struct peat_primary *primary;
    struct peat_repl_error error;

    peat_primary_options_init(&options);
    options.urls = urls;
    options.url_count = 1;
    options.key_paths = keys;
    options.key_count = 1;
    if (peat_primary_start(db, &options, &primary, &error) != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%s", error.words);
    return primary;
}

/* What it shows now, which a process that was killed may have shown before. */
static void print_note(struct peat_db *db)
{
    uint64_t noted = atomic_load(&shared->commits);
    uint64_t commit;
    uint64_t print = print_of(db, &commit);

    PT_REQUIRE(commit == noted || commit == noted + 1);
    if (commit == noted && commit > 0)
        PT_REQUIRE(print == shared->prints[commit]);
    shared->prints[commit] = print;
    atomic_store(&shared->commits, commit);
}

static void batch_fill(struct peat_batch *batch, struct pt_dice *dice)
{
    static uint8_t value[VALUE_MAX];
    uint64_t count = 1 + pt_dice_below(dice, 4);
    uint64_t salt = pt_dice_next(dice);

    for (uint64_t i = 0; i < count; i++) {
        uint8_t number = (uint8_t)pt_dice_below(dice, KEYS);
        uint8_t high = (uint8_t)(number + 1 + pt_dice_below(dice, 5));
        struct peat_bytes key = {&number, 1};
        size_t size = pt_dice_below(dice, pt_dice_one_in(dice, 100) ? VALUE_MAX : 1500);

        pt_value_fill(pt_dice_next(dice), value, size);
        if (pt_dice_one_in(dice, 8))
            PT_REQUIRE_OK(peat_batch_delete(batch, NULL, key));
        else if (pt_dice_one_in(dice, 16))
            PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, key, (struct peat_bytes){&high, 1}));
        else
            PT_REQUIRE_OK(peat_batch_put(batch, NULL, key, (struct peat_bytes){value, size}));
    }
    /* No two commits show the same. */
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("salt"), (struct peat_bytes){&salt, 8}));
}

static void commit_one(struct peat_db *db, struct pt_dice *dice)
{
    struct peat_batch *batch = peat_batch_new(0);
    bool waits = pt_dice_one_in(dice, 16);
    enum peat_status status;
    uint64_t commit;

    batch_fill(batch, dice);
    status = peat_write(db, batch, waits ? PEAT_REPLICAS : PEAT_OS, &commit);
    if (!waits || status != PEAT_TIMEOUT)
        PT_REQUIRE_OK(status);
    peat_batch_free(batch);
    PT_REQUIRE(commit == atomic_load(&shared->commits) + 1);
    atomic_store(&shared->acknowledged, commit);
    if (waits && status == PEAT_OK)
        atomic_store(&shared->replicated, commit);
    print_note(db);
}

static void pause_note(struct peat_db *db)
{
    if (atomic_load(&shared->paused_at) == 0) {
        digest_of(db, shared->paused_digest);
        atomic_store(&shared->paused_at, atomic_load(&shared->commits));
    }
}

void pt_network_primary_run(void *context)
{
    struct pt_dice dice;
    struct peat_primary_status status = {.struct_size = sizeof(status)};
    struct peat_primary *primary;
    struct peat_db *db;

    shared = context;
    role = PT_NETWORK_PRIMARY;
    dice = (struct pt_dice){pt_mix(shared->seed + atomic_load(&shared->commits))};
    pt_network_context_set(shared, role);
    db = primary_open(&dice);
    print_note(db);
    primary = primary_start(db);
    atomic_store(&shared->primary_is_up, true);
    while (!atomic_load(&shared->stop)) {
        pt_network_context_set(shared, role);
        peat_primary_status_get(primary, &status);
        atomic_store(&shared->connected, status.connected);
        if (atomic_load(&shared->pause) ||
            atomic_load(&shared->commits) + 1 == shared->commits_max) {
            pause_note(db);
        } else {
            atomic_store(&shared->paused_at, 0);
            commit_one(db, &dice);
        }
        (void)usleep(PAUSE_US);
    }
    peat_primary_stop(primary);
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- The follower's process ---- */

/* Where the disk is full it may have to wait for space. */
static struct peat_db *follower_open(void)
{
    struct peat_options options = pt_test_options(PEAT_CREATE | PEAT_FOLLOWER);
    uint64_t end_us = pt_test_now_us() + PT_NETWORK_SOON_US;
    struct peat_position position;
    struct peat_db *db;
    enum peat_status status;

    pt_test_options_tiny(&options);
    while ((status = peat_open(shared->follower_path, &options, &db)) == PEAT_NO_SPACE) {
        PT_REQUIRE(pt_test_now_us() < end_us);
        (void)usleep(PT_NETWORK_LOOK_US);
    }
    PT_REQUIRE_OK(status);
    PT_REQUIRE_OK(peat_position_get(db, &position));
    PT_REQUIRE(position.commit >= atomic_load(&shared->replicated));
    return db;
}

static struct peat_follower *follow(struct peat_db *db, bool through_relay, bool to_disk)
{
    struct peat_follower_options options;
    struct peat_follower *follower;
    struct peat_repl_error error;

    peat_follower_options_init(&options);
    options.url =
        through_relay ? "tcp://" PT_NETSPACE_NEAR ":7001" : "tcp://" PT_NETSPACE_NEAR ":7000";
    options.key_path = shared->key_path;
    options.name = "far";
    options.durability = to_disk ? PEAT_DISK : PEAT_OS;
    if (peat_follower_start(db, &options, &follower, &error) != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%s", error.words);
    return follower;
}

/* A commit whose number a killed primary could not note any more is noted by the next one. */
static void look(struct peat_db *db)
{
    uint64_t replicated = atomic_load(&shared->replicated);
    uint64_t seen = atomic_load(&shared->seen);
    uint64_t end_us = pt_test_now_us() + PT_NETWORK_SOON_US;
    uint8_t digest[PT_NETWORK_DIGEST_SIZE];
    uint64_t commit;
    uint64_t print = print_of(db, &commit);

    while (commit > atomic_load(&shared->commits) && !atomic_load(&shared->stop)) {
        PT_REQUIRE(pt_test_now_us() < end_us);
        (void)usleep(PT_NETWORK_LOOK_US);
    }
    PT_REQUIRE(commit >= seen);       /* it does not go back */
    PT_REQUIRE(commit >= replicated); /* nor has it less than it said */
    PT_REQUIRE(commit == 0 || print == shared->prints[commit]);
    atomic_store(&shared->seen, commit);
    if (commit > 0 && commit == atomic_load(&shared->paused_at) &&
        commit != atomic_load(&shared->same_as)) {
        digest_of(db, digest);
        PT_REQUIRE(memcmp(digest, shared->paused_digest, sizeof(digest)) == 0);
        atomic_store(&shared->same_as, commit);
    }
}

static void state_note(struct peat_follower *follower, uint64_t *taken)
{
    struct peat_follower_status status = {.struct_size = sizeof(status)};

    peat_follower_status_get(follower, &status);
    PT_REQUIRE(status.state != PEAT_FOLLOWER_DIVERGED && status.state != PEAT_FOLLOWER_FAILED);
    atomic_store(&shared->state, (int)status.state);
    if (status.seed_count > *taken)
        atomic_fetch_add(&shared->states_taken, status.seed_count - *taken);
    *taken = status.seed_count;
}

void pt_network_follower_run(void *context)
{
    struct pt_dice dice;
    bool through_relay;
    struct peat_follower *follower;
    struct peat_db *db;
    uint64_t taken = 0;

    shared = context;
    role = PT_NETWORK_FOLLOWER;
    dice = (struct pt_dice){pt_mix(shared->seed + atomic_load(&shared->seen))};
    through_relay = atomic_load(&shared->through_relay);
    pt_network_context_set(shared, role);
    pt_netspace_go_far(&shared->netspace);
    db = follower_open();
    follower = follow(db, through_relay, !pt_dice_one_in(&dice, 4));
    while (!atomic_load(&shared->stop)) {
        pt_network_context_set(shared, role);
        look(db);
        state_note(follower, &taken);
        (void)usleep(PT_NETWORK_LOOK_US);
        if (atomic_load(&shared->through_relay) == through_relay)
            continue;
        through_relay = !through_relay;
        peat_follower_stop(follower);
        follower = follow(db, through_relay, !pt_dice_one_in(&dice, 4));
        taken = 0;
    }
    peat_follower_stop(follower);
    look(db);
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
}

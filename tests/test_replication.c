/*
 * The property (P7): whatever the network does, and whoever dies when, what a follower shows is what its primary showed
 * at some commit, never older than before; and once the network is whole again, all stand where the primary stands. What a
 * follower has told its primary to have on its disk, which PEAT_REPLICAS goes by, no death of its takes.
 * When a primary is dead a follower may be promoted: from then on the others are what that one is, and whoever has
 * what it has not is told so. It rejoins, and what it had beyond the fork is handed to whoever saves it, and can be read as a
 * kept state ever after; or it is made anew of a backup.
 *
 * The protocol's state machines get bytes and time from here: a primary, two followers of it, and one of a follower, on
 * one thread, with virtual time. The network delays, cuts, swallows, flips, repeats, leaves out and swaps. Stores lie in real
 * files. Needs no clock and no socket. PEAT_SEED=n repeats a run, PEAT_WORLDS=n is how many worlds there are (10,000),
 * which PEAT_WORKERS=n processes (one for each processor) share; none is begun after PEAT_WORLDS_SECONDS=n (600).
 */
#include "repl/follower_session.h"
#include "repl/primary_session.h"
#include "repl/redial.h"
#include "tests/support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum {
    NODES = 4,
    LINKS_MAX = 64, /* that somebody still believes in */
    COMMITS_MAX = 4000,
    STEPS = 250,           /* of trouble */
    STEP_US_MAX = 60000,   /* of virtual time */
    HEALED_US = 120000000, /* by when all must have come together again */
    LATENCY_US_MAX = 40000,
    CHUNK_MAX = 20000, /* bytes that arrive at once */
    WORLDS = 10000,
    SECONDS = 600,
    FORGETFUL_MS = 3600000, /* nothing is synced in the background */
    DIGEST_SIZE = 32,
    PRINT_LANES = 4,
    WORKERS_MAX = 16
};

static const int upstream_first[NODES] = {-1, 0, 0, 2};
static const struct pt_channel_key key = {.id = "simulation", .secret = "known to all nodes of it"};

/* Bytes under way in one direction. */
struct chunk {
    struct chunk *next;
    uint64_t due_us;
    size_t size;
    uint8_t bytes[];
};

struct pipe {
    struct chunk *head;
    struct chunk **tail;
    uint64_t due_us; /* of the last chunk */
};

/* A connection, as long as one of its ends believes in it. */
struct link {
    int follower;
    int above;                              /* whom it follows */
    struct pt_primary_session *primary_end; /* NULL: it is gone */
    struct pt_follower_session *follower_end;
    struct pipe up; /* to the primary */
    struct pipe down;
    bool swallows; /* nothing arrives any more, and nobody is told */
};

struct node {
    char path[512];
    struct peat_options options;
    struct peat_db *db; /* NULL: it is dead */
    struct pt_seed_taker taker;
    bool takes; /* states; else it is made anew of a backup */
    struct pt_rejoin rejoin;
    bool rejoins;         /* else it is made anew of a backup where it has parted */
    uint64_t rejoined;    /* times, since it was opened */
    char forked_name[64]; /* of what it had beyond the last fork; "": nothing */
    uint64_t forked_commit;
    uint8_t forked_digest[DIGEST_SIZE];
    struct pt_redial redial;
    uint64_t seen;      /* the newest commit that was looked at */
    uint64_t durable;   /* the newest that it has told another node to be on its disk */
    bool forgets;       /* a death takes what it has not synced */
    uint64_t frozen_us; /* it does nothing until then */
    bool full;
    bool may_stray;                /* it may have what the new primary has not */
    char words[PT_PEER_WORDS_MAX]; /* why its last session ended */
};

/* What was shown, in short. */
struct print {
    uint64_t lanes[PRINT_LANES];
};

struct world {
    struct pt_dice dice;
    uint64_t seed;
    uint64_t now_us;
    bool healed;
    bool short_log; /* the primary soon lets go of its log */
    int primary;
    int upstream[NODES];  /* whom each follows; the primary -1 */
    uint64_t fork_commit; /* the last one before the newest epoch */
    uint64_t epoch;       /* that one */
    struct node nodes[NODES];
    struct link links[LINKS_MAX];
    size_t link_count;
    uint64_t commits;
    struct print prints[COMMITS_MAX + 1];
};

/* What happened in all worlds of a process: a test that met nothing proves nothing. All of it is uint64_t. */
struct totals {
    uint64_t commits, links, cuts, damaged, crashes, forgotten, full, states, seeds, looks,
        promotions, parted, saved, gone, rejoined;
};
static struct totals totals;

/* Processes that share the worlds out among themselves; in memory that all of them see. */
struct crew {
    uint64_t seed_first;
    uint64_t count;        /* of worlds, at most */
    uint64_t end_us;       /* none is begun after that */
    _Atomic uint64_t next; /* the first that nobody has taken */
    _Atomic uint64_t done;
    unsigned workers;
    struct totals totals[WORKERS_MAX];
};
static struct crew *crew;
static unsigned worker; /* this process's number */

/* ---- The disk ---- */

/* The linker puts these in the place of the C library's, for all of peat. What a death takes is taken here, by going back to a
 * copy: this machine loses no power, so nothing is proven by waiting for its disk, for most of a world's time. */

int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);
int __wrap_msync(void *address, size_t size, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags);
ssize_t __real_pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags);

int __wrap_fdatasync(int fd)
{
    (void)fd;
    return 0;
}

int __wrap_fsync(int fd)
{
    (void)fd;
    return 0;
}

int __wrap_msync(void *address, size_t size, int flags)
{
    (void)address;
    (void)size;
    (void)flags;
    return 0;
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return __real_pwritev2(fd, parts, count, offset, flags & ~RWF_DSYNC);
}

static void require(const struct world *world, bool holds, const char *words)
{
    if (!holds)
        pt_test_fail(__FILE__, __LINE__, "world %" PRIu64 " at %" PRIu64 " us: %s", world->seed,
                     world->now_us, words);
}

/* ---- Stores ---- */

/* What it has said to have on its disk has outlived it. */
static void durable_check(const struct world *world, struct node *node)
{
    struct peat_position position;

    PT_REQUIRE_OK(peat_position_get(node->db, &position));
    require(world, position.commit >= node->durable,
            "a follower lost what it had told to be on its disk");
    totals.forgotten += position.commit < node->seen;
    if (node->forgets && node->seen > position.commit) /* nobody was promised more */
        node->seen = position.commit;
}

/* ---- Rejoining ---- */

/* All that @p db has beyond the fork comes out of its log, to the last record; the chain tells. */
static enum peat_status forked_check(struct peat_db *db, const struct peat_fork *fork)
{
    uint64_t commit = fork->commit;
    uint8_t chain[sizeof(fork->ours.chain)] = {0};
    struct peat_record record;
    struct peat_feed *feed = NULL;
    enum peat_status status = peat_feed_open(db, fork->commit + 1, NULL, PEAT_FEED_SEALS, &feed);

    while (status == PEAT_OK) {
        status = peat_feed_next(feed, 0, &record);
        if (status != PEAT_OK)
            break;
        PT_REQUIRE(record.commit == commit + (record.kind == PEAT_RECORD_BATCH));
        commit = record.commit;
        memcpy(chain, record.chain, sizeof(chain));
    }
    peat_feed_close(feed);
    if (status == PEAT_GAP)
        return status;
    PT_REQUIRE_STATUS(status, PEAT_TIMEOUT);
    PT_REQUIRE(commit == fork->ours.commit && memcmp(chain, fork->ours.chain, sizeof(chain)) == 0);
    return PEAT_OK;
}

static void digest_of(struct peat_db *db, uint64_t *commit_out, uint8_t digest[DIGEST_SIZE])
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    *commit_out = peat_snapshot_commit(snapshot);
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, NULL));
    peat_snapshot_close(snapshot);
}

/* What saves it: it may fail, as where the log is gone. */
static enum peat_status forked_save(void *context, struct peat_db *db, const struct peat_fork *fork,
                                    struct peat_repl_error *error_out)
{
    struct node *node = context;
    enum peat_status status = forked_check(db, fork);

    if (status != PEAT_OK) {
        totals.gone++;
        (void)snprintf(error_out->words, sizeof(error_out->words), "the log is gone");
        return status;
    }
    PT_REQUIRE(strlen(fork->name) < sizeof(node->forked_name));
    (void)strcpy(node->forked_name, fork->name);
    digest_of(db, &node->forked_commit, node->forked_digest);
    PT_REQUIRE(node->forked_commit == fork->ours.commit);
    totals.saved++;
    return PEAT_OK;
}

/* What was forked is there as it was. */
static void forked_require(const struct world *world, const struct node *node)
{
    struct peat_snapshot *snapshot;
    uint8_t digest[DIGEST_SIZE];

    if (node->forked_name[0] == '\0')
        return;
    PT_REQUIRE_OK(peat_history_open(node->db, node->forked_name, 0, &snapshot));
    require(world, peat_snapshot_commit(snapshot) == node->forked_commit, "another forked state");
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, NULL));
    require(world, memcmp(digest, node->forked_digest, sizeof(digest)) == 0,
            "what was forked is not what it was");
    peat_snapshot_close(snapshot);
}

/* It has left its history: commits count anew from the fork. */
static void rejoined_note(const struct world *world, struct node *node)
{
    if (node->rejoin.count == node->rejoined)
        return;
    node->rejoined = node->rejoin.count;
    require(world, node->may_stray, "a follower left the history that it is to follow");
    forked_require(world, node);
    node->durable = 0;
    totals.rejoined++;
}

static void node_open(struct world *world, int number)
{
    struct node *node = &world->nodes[number];
    enum peat_status status;

    node->options.file_size_max = node->full ? MIB : 0;
    status = peat_open(node->path, &node->options, &node->db);
    if (status == PEAT_NO_SPACE && node->full) { /* not even for what is in its log */
        node->full = false;
        node->options.file_size_max = 0;
        status = peat_open(node->path, &node->options, &node->db);
    }
    PT_REQUIRE_OK(status);
    durable_check(world, node);
    node->takes = (node->options.flags & PEAT_FOLLOWER) != 0 && !pt_dice_one_in(&world->dice, 4);
    if (node->takes)
        PT_REQUIRE_OK(pt_seed_taker_open(&node->taker, node->db));
    node->rejoins = !pt_dice_one_in(&world->dice, 3);
    node->rejoin =
        (struct pt_rejoin){.allowed = node->rejoins, .save = forked_save, .context = node};
    node->rejoined = 0;
    pt_redial_init(&node->redial, pt_dice_next(&world->dice));
    node->redial.due_us = world->now_us;
}

static void node_close(struct node *node, bool clean)
{
    enum peat_status status;

    if (node->takes) {
        totals.states += node->taker.count;
        pt_seed_taker_close(&node->taker);
    }
    status = clean ? peat_close(node->db) : peat_abort(node->db);

    if (status != PEAT_NO_SPACE || !node->full) /* without space the log stays as it is */
        PT_REQUIRE_OK(status);
    node->db = NULL;
}

static void node_make(struct world *world, int number)
{
    struct node *node = &world->nodes[number];
    char name[32];

    (void)snprintf(name, sizeof(name), "node-%u-%d", worker, number);
    (void)snprintf(node->path, sizeof(node->path), "%s", pt_test_path(name));
    (void)unlink(node->path);
    node->options = pt_test_options(PEAT_CREATE | (number == 0 ? 0 : PEAT_FOLLOWER));
    pt_test_options_tiny(&node->options);
    node->forgets =
        number % 2 == 1 && pt_dice_one_in(&world->dice, 2); /* none that others follow */
    if (node->forgets) {
        node->options.flags |= PEAT_LOG_PWRITE;
        node->options.sync_interval_ms = FORGETFUL_MS;
    }
    if (world->short_log)
        node->options.feed_log_size_max = 128 * KIB;
    node_open(world, number);
}

static void print_mix(struct print *print, struct peat_bytes piece)
{
    const uint8_t *bytes = piece.data;
    uint64_t words[PRINT_LANES];

    for (size_t i = 0; i < piece.size; i += sizeof(words)) {
        size_t rest = piece.size - i;

        if (rest < sizeof(words))
            memset(words, 0, sizeof(words));
        memcpy(words, bytes + i, rest < sizeof(words) ? rest : sizeof(words));
        for (unsigned k = 0; k < PRINT_LANES; k++) {
            uint64_t mixed = print->lanes[k] ^ words[k];

            print->lanes[k] = (mixed << 29 | mixed >> 35) * UINT64_C(0x9e3779b97f4a7c15);
        }
    }
    print->lanes[0] = pt_mix(print->lanes[0] ^ piece.size);
}

/* Of all that is shown, every byte of it: peat_digest() would take most of a world's time. */
static void print_of(struct peat_db *db, uint64_t *commit_out, struct print *print_out)
{
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;
    enum peat_status status;

    memset(print_out, 0, sizeof(*print_out));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    *commit_out = peat_snapshot_commit(snapshot);
    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    for (status = peat_iterator_first(iterator); status == PEAT_OK;
         status = peat_iterator_next(iterator)) {
        print_mix(print_out, peat_iterator_key(iterator));
        print_mix(print_out, peat_iterator_value(iterator));
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
}

static void commit_some(struct world *world)
{
    static uint8_t value[160 * KIB]; /* more than a write buffer, or a window */
    struct peat_batch *batch = peat_batch_new(0);
    uint64_t count = 1 + pt_dice_below(&world->dice, 5);
    uint64_t salt = pt_dice_next(&world->dice);
    uint64_t commit;

    if (world->commits == COMMITS_MAX)
        return;
    for (uint64_t i = 0; i < count; i++) {
        uint8_t number = (uint8_t)pt_dice_below(&world->dice, 100);
        uint8_t high = (uint8_t)(number + 1 + pt_dice_below(&world->dice, 5));
        struct peat_bytes name = {&number, 1};
        size_t size =
            pt_dice_below(&world->dice, pt_dice_one_in(&world->dice, 100) ? sizeof(value) : 3000);

        pt_value_fill(pt_dice_next(&world->dice), value, size);
        if (pt_dice_one_in(&world->dice, 6))
            PT_REQUIRE_OK(peat_batch_delete(batch, NULL, name));
        else if (pt_dice_one_in(&world->dice, 12))
            PT_REQUIRE_OK(
                peat_batch_delete_range(batch, NULL, name, (struct peat_bytes){&high, 1}));
        else
            PT_REQUIRE_OK(peat_batch_put(batch, NULL, name, (struct peat_bytes){value, size}));
    }
    /* No two commits show the same. */
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("salt"), (struct peat_bytes){&salt, 8}));
    PT_REQUIRE_OK(peat_write(world->nodes[world->primary].db, batch, PEAT_OS, NULL));
    peat_batch_free(batch);
    print_of(world->nodes[world->primary].db, &commit, &world->prints[world->commits + 1]);
    require(world, commit == ++world->commits, "the primary counts otherwise");
    totals.commits++;
}

/* A node shows a state of the history, and never an older one than before. */
static void look(struct world *world, int number)
{
    struct node *node = &world->nodes[number];
    struct print print;
    uint64_t commit;

    if (node->db == NULL)
        return;
    print_of(node->db, &commit, &print);
    if (node->may_stray) { /* until it shows what was committed since */
        if (commit <= world->fork_commit || commit > world->commits ||
            memcmp(&print, &world->prints[commit], sizeof(print)) != 0)
            return;
        node->may_stray = false;
    }
    require(world, commit <= world->commits, "a follower has more than its primary");
    require(world, commit >= node->seen, "a follower went back");
    require(world, commit == 0 || memcmp(&print, &world->prints[commit], sizeof(print)) == 0,
            "a follower shows what its primary never showed");
    node->seen = commit;
    totals.looks++;
}

/* ---- The network ---- */

static void pipe_clear(struct pipe *pipe)
{
    while (pipe->head != NULL) {
        struct chunk *chunk = pipe->head;

        pipe->head = chunk->next;
        free(chunk);
    }
    pipe->tail = &pipe->head;
}

static void chunk_add(struct world *world, struct pipe *pipe, const uint8_t *bytes, size_t size)
{
    struct chunk *chunk = malloc(sizeof(*chunk) + size);

    PT_REQUIRE(chunk != NULL);
    *chunk = (struct chunk){.due_us = world->now_us + pt_dice_below(&world->dice, LATENCY_US_MAX),
                            .size = size};
    memcpy(chunk->bytes, bytes, size);
    if (chunk->due_us < pipe->due_us)
        chunk->due_us = pipe->due_us;
    pipe->due_us = chunk->due_us;
    *pipe->tail = chunk;
    pipe->tail = &chunk->next;
}

/* What the network does to bytes that it ought to carry. */
static void chunk_carry(struct world *world, struct pipe *pipe, uint8_t *bytes, size_t size)
{
    uint64_t what = world->healed ? 100 : pt_dice_below(&world->dice, 1500);

    totals.damaged += what < 4;
    if (what == 0)
        bytes[pt_dice_below(&world->dice, size)] ^= (uint8_t)(1 + pt_dice_below(&world->dice, 255));
    if (what == 1)
        size = pt_dice_below(&world->dice, size) + 1;
    if (what == 2)
        chunk_add(world, pipe, bytes, size);
    if (what == 3) { /* the halves change places */
        chunk_add(world, pipe, bytes + size / 2, size - size / 2);
        size /= 2;
    }
    if (size > 0)
        chunk_add(world, pipe, bytes, size);
}

static void output_carry(struct world *world, struct link *link, struct pipe *pipe,
                         struct pt_peer *session)
{
    struct peat_bytes output = pt_channel_output(session->channel);

    while (output.size > 0) {
        size_t size = 1 + pt_dice_below(&world->dice, CHUNK_MAX);
        uint8_t bytes[CHUNK_MAX];

        if (size > output.size)
            size = output.size;
        if (size > sizeof(bytes))
            size = sizeof(bytes);
        memcpy(bytes, output.data, size);
        pt_channel_output_taken(session->channel, size);
        if (!link->swallows)
            chunk_carry(world, pipe, bytes, size);
        output = pt_channel_output(session->channel);
    }
}

/* The next chunk that has arrived; the caller frees it. */
static struct chunk *chunk_take(const struct world *world, struct pipe *pipe)
{
    struct chunk *chunk = pipe->head;

    if (chunk == NULL || chunk->due_us > world->now_us)
        return NULL;
    pipe->head = chunk->next;
    if (pipe->head == NULL)
        pipe->tail = &pipe->head;
    return chunk;
}

/* ---- Connections ---- */

static void displace(void *context, const struct pt_primary_session *session)
{
    struct world *world = context;

    for (size_t i = 0; i < world->link_count; i++) {
        struct pt_primary_session *other = world->links[i].primary_end;

        if (other == NULL || other == session || pt_primary_session_feed(other) == NULL ||
            strcmp(pt_primary_session_name(other), pt_primary_session_name(session)) != 0)
            continue;
        pt_peer_cut(pt_primary_session_base(other), "the follower has come back");
    }
}

static struct link *link_of(struct world *world, int number)
{
    for (size_t i = 0; i < world->link_count; i++)
        if (world->links[i].follower == number && world->links[i].follower_end != NULL)
            return &world->links[i];
    return NULL;
}

static void dial(struct world *world, int number)
{
    struct node *node = &world->nodes[number];
    struct node *above = &world->nodes[world->upstream[number]];
    struct link *link = &world->links[world->link_count];
    char name[32];
    struct pt_follower_session_options options = {
        .name = name,
        .window_size = 64 * KIB << pt_dice_below(&world->dice, 6),
        .record_size_max = 64 * MIB,
        .durability = pt_dice_one_in(&world->dice, 2) ? PEAT_DISK
                      : node->forgets                 ? PEAT_MEMORY
                                                      : PEAT_OS,
        .taker = node->takes ? &node->taker : NULL,
        .rejoin = &node->rejoin};
    struct pt_primary_session_options primary = {
        .keys = &key, .key_count = 1, .displace = displace, .context = world};

    (void)snprintf(name, sizeof(name), "node-%d", number);
    if (above->db == NULL || world->link_count == LINKS_MAX) {
        pt_redial_failed(&node->redial, PT_REDIAL_UNANSWERED, world->now_us);
        return;
    }
    *link = (struct link){.follower = number, .above = world->upstream[number]};
    pipe_clear(&link->up);
    pipe_clear(&link->down);
    PT_REQUIRE_OK(pt_primary_session_open(above->db, &primary, world->now_us, &link->primary_end));
    PT_REQUIRE_OK(
        pt_follower_session_open(node->db, &options, &key, world->now_us, &link->follower_end));
    world->link_count++;
    totals.links++;
}

static void follower_end_close(struct world *world, struct link *link)
{
    struct node *node = &world->nodes[link->follower];

    if (link->follower_end == NULL)
        return;
    if (node->db != NULL)
        pt_redial_failed(&node->redial,
                         pt_follower_session_was_of_use(link->follower_end) ? PT_REDIAL_OF_USE
                                                                            : PT_REDIAL_OF_NO_USE,
                         world->now_us);
    pt_follower_session_close(link->follower_end);
    link->follower_end = NULL;
}

static void primary_end_close(struct link *link)
{
    pt_primary_session_close(link->primary_end);
    link->primary_end = NULL;
}

/* A node is made anew of a backup of the one above it, as an operator would. */
static void seed(struct world *world, int number)
{
    struct node *node = &world->nodes[number];
    struct node *above = &world->nodes[world->upstream[number]];
    struct peat_backup_options options;
    char path[600];
    const char *const chain[] = {path};

    if (above->db == NULL || above->may_stray)
        return;
    for (size_t i = 0; i < world->link_count; i++) {
        if (world->links[i].follower == number)
            follower_end_close(world, &world->links[i]);
        else if (world->links[i].above == number)
            primary_end_close(&world->links[i]);
    }
    node_close(node, true);
    (void)snprintf(path, sizeof(path), "%s.backup", node->path);
    (void)unlink(path);
    (void)unlink(node->path);
    peat_backup_options_init(&options);
    options.path = path;
    PT_REQUIRE_OK(peat_backup(above->db, NULL, &options, NULL));
    PT_REQUIRE_OK(peat_restore(node->path, chain, 1, NULL, NULL, NULL));
    (void)unlink(path);
    node->durable = 0;
    node->may_stray = false;
    node->forked_name[0] = '\0';
    node_open(world, number);
    totals.seeds++;
}

/* When somebody has hung up the other end learns of it, behind what was sent before; or at once, as by a reset; or never. */
static void link_hung_up(struct world *world, struct link *link)
{
    bool reset = !world->healed && pt_dice_one_in(&world->dice, 20);

    if (link->swallows)
        return;
    if (link->primary_end != NULL && link->follower_end == NULL && (link->up.head == NULL || reset))
        pt_peer_cut(pt_primary_session_base(link->primary_end), "hung up");
    if (link->follower_end != NULL && link->primary_end == NULL &&
        (link->down.head == NULL || reset))
        pt_peer_cut(pt_follower_session_base(link->follower_end), "hung up");
}

/* What the follower has told: never more than it sent, so what a death takes had not been told. */
static void durable_note(struct world *world, const struct link *link)
{
    struct node *node = &world->nodes[link->follower];
    uint64_t durable = pt_primary_session_ack(link->primary_end).durable;

    if (pt_primary_session_feed(link->primary_end) != NULL && durable > node->durable)
        node->durable = durable;
}

static void primary_end_step(struct world *world, struct link *link)
{
    struct pt_peer *base;
    struct chunk *chunk;

    if (link->primary_end == NULL)
        return;
    base = pt_primary_session_base(link->primary_end);
    while ((chunk = chunk_take(world, &link->up)) != NULL) {
        pt_primary_session_receive(link->primary_end, chunk->bytes, chunk->size, world->now_us);
        free(chunk);
    }
    durable_note(world, link);
    (void)pt_primary_session_step(link->primary_end, world->now_us);
    output_carry(world, link, &link->down, base);
    if (base->end != PT_PEER_GOES_ON)
        primary_end_close(link);
}

/* Whether the histories of both ends may have parted: or the one above may be of the old one. */
static bool may_part(const struct world *world, const struct link *link)
{
    return world->nodes[link->follower].may_stray || world->nodes[link->above].may_stray;
}

static void follower_end_step(struct world *world, struct link *link)
{
    struct node *node = &world->nodes[link->follower];
    struct pt_peer *base;
    struct chunk *chunk;
    enum pt_peer_end end;
    int number = link->follower;

    if (link->follower_end == NULL || node->frozen_us > world->now_us)
        return;
    base = pt_follower_session_base(link->follower_end);
    while ((chunk = chunk_take(world, &link->down)) != NULL) {
        pt_follower_session_receive(link->follower_end, chunk->bytes, chunk->size, world->now_us);
        free(chunk);
    }
    (void)pt_follower_session_step(link->follower_end, world->now_us);
    rejoined_note(world, node);
    output_carry(world, link, &link->up, base);
    end = base->end;
    if (end == PT_PEER_GOES_ON)
        return;
    (void)strcpy(world->nodes[link->follower].words, base->words);
    require(world, end != PT_PEER_DIVERGED || may_part(world, link), base->words);
    require(world, end != PT_PEER_FAILED, base->words);
    require(world, end != PT_PEER_NO_SPACE || world->nodes[link->follower].full, base->words);
    totals.full += end == PT_PEER_NO_SPACE;
    follower_end_close(world, link);
    totals.parted += end == PT_PEER_DIVERGED;
    if (end == PT_PEER_DIVERGED || (end == PT_PEER_SEED && !(node->takes && node->taker.wanted)))
        seed(world, number);
}

static void links_step(struct world *world)
{
    for (size_t i = 0; i < world->link_count; i++) {
        struct link *link = &world->links[i];

        primary_end_step(world, link);
        follower_end_step(world, link);
        link_hung_up(world, link);
    }
    for (size_t i = 0; i < world->link_count; i++) {
        struct link *link = &world->links[i];

        if (link->primary_end != NULL || link->follower_end != NULL)
            continue;
        pipe_clear(&link->up);
        pipe_clear(&link->down);
        *link = world->links[--world->link_count];
        if (link->up.head == NULL)
            link->up.tail = &link->up.head;
        if (link->down.head == NULL)
            link->down.tail = &link->down.head;
        i--;
    }
}

/* ---- Trouble ---- */

static void crash(struct world *world, int number)
{
    struct node *node = &world->nodes[number];

    if (node->db == NULL)
        return;
    for (size_t i = 0; i < world->link_count; i++) {
        struct link *link = &world->links[i];

        if (link->follower == number && link->follower_end != NULL) {
            pt_follower_session_close(link->follower_end);
            link->follower_end = NULL;
        } else if (link->above == number) {
            primary_end_close(link);
        }
    }
    node_close(node, pt_dice_one_in(&world->dice, 4));
    totals.crashes++;
}

static void trouble(struct world *world)
{
    int number = (int)pt_dice_below(&world->dice, NODES);
    struct node *node = &world->nodes[number];
    struct link *link = world->link_count == 0
                            ? NULL
                            : &world->links[pt_dice_below(&world->dice, world->link_count)];

    switch (pt_dice_below(&world->dice, 60)) {
    case 0:
        crash(world, number);
        break;
    case 1:
    case 2:
        node->frozen_us = world->now_us + pt_dice_below(&world->dice, 8000000);
        break;
    case 3:
    case 4:
        if (link != NULL && link->follower_end != NULL)
            pt_peer_cut(pt_follower_session_base(link->follower_end), "cut");
        totals.cuts++;
        break;
    case 5:
        if (link != NULL)
            link->swallows = true;
        break;
    case 6:
        crash(world, number);
        node->full = number != world->primary && pt_dice_one_in(&world->dice, 2);
        break;
    default:
        break;
    }
}

/* A link's ends are closed, whoever has them. */
static void follower_leave(struct world *world, int number)
{
    for (size_t i = 0; i < world->link_count; i++)
        if (world->links[i].follower == number)
            follower_end_close(world, &world->links[i]);
}

/* @p number is promoted, as an operator would when the primary is dead. What the others have is
 * looked at, so that it is known who may have parted; the dead are not asked. */
static void promote(struct world *world, int number)
{
    struct node *node = &world->nodes[number];
    int old = world->primary;
    struct peat_position fork;
    struct peat_position other = {.commit = 0};
    uint64_t epoch;

    look(world, number);
    follower_leave(world, number);
    PT_REQUIRE_OK(peat_promote(node->db, 0, &epoch));
    while (epoch <= world->epoch) { /* it has not heard of a later one: the operator has */
        crash(world, number);
        node_open(world, number);
        PT_REQUIRE_OK(peat_promote(node->db, 0, &epoch));
    }
    world->epoch = epoch;
    PT_REQUIRE_OK(peat_position_get(node->db, &fork));
    for (int i = 0; i < NODES; i++) {
        if (world->nodes[i].db != NULL)
            PT_REQUIRE_OK(peat_position_get(world->nodes[i].db, &other));
        if (i != number && (world->nodes[i].db == NULL || world->nodes[i].may_stray ||
                            other.position > fork.position)) {
            world->nodes[i].may_stray = true;
            world->nodes[i].seen = 0;
        }
        if (i != number && (i == old || world->upstream[i] == old)) {
            follower_leave(world, i);
            world->upstream[i] = number;
        }
    }
    for (int i = 0; i < NODES * NODES; i++) /* and whoever follows such a one */
        if (i % NODES != number && world->nodes[world->upstream[i % NODES]].may_stray) {
            world->nodes[i % NODES].may_stray = true;
            world->nodes[i % NODES].seen = 0;
        }
    node->options.flags &= ~PEAT_FOLLOWER;
    world->nodes[old].options.flags |= PEAT_FOLLOWER;
    world->upstream[number] = -1;
    world->primary = number;
    world->commits = world->fork_commit = fork.commit;
    totals.promotions++;
}

/* The primary is dead, and somebody may take its place, who has nothing that is of an old history.
 * */
static void promote_perhaps(struct world *world)
{
    int number = (int)pt_dice_below(&world->dice, NODES);
    const struct node *node = &world->nodes[number];

    if (world->healed || world->nodes[world->primary].db != NULL || node->db == NULL ||
        node->full || node->may_stray || !pt_dice_one_in(&world->dice, 20))
        return;
    promote(world, number);
}

static void nodes_step(struct world *world)
{
    promote_perhaps(world);
    for (int i = 0; i < NODES; i++) {
        struct node *node = &world->nodes[i];

        if (node->db == NULL && (world->healed || pt_dice_one_in(&world->dice, 10)))
            node_open(world, i);
        if (node->db != NULL && i != world->primary && link_of(world, i) == NULL &&
            world->now_us >= node->redial.due_us)
            dial(world, i);
    }
}

static void step(struct world *world)
{
    world->now_us += 1 + pt_dice_below(&world->dice, STEP_US_MAX);
    if (!world->healed) {
        if (world->nodes[world->primary].db != NULL && pt_dice_one_in(&world->dice, 2))
            commit_some(world);
        trouble(world);
    }
    nodes_step(world);
    links_step(world);
    look(world, (int)pt_dice_below(&world->dice, NODES));
}

/* ---- Coming together ---- */

/* All have the same commits. A seal behind the newest one may come with the next. */
static bool is_together(struct world *world)
{
    for (int i = 0; i < NODES; i++) {
        struct peat_position position;

        if (world->nodes[i].db == NULL)
            return false;
        PT_REQUIRE_OK(peat_position_get(world->nodes[i].db, &position));
        if (position.commit != world->commits)
            return false;
        look(world, i);
        if (world->nodes[i].may_stray)
            return false;
    }
    return true;
}

/* For who looks for the reason. */
static void nodes_print(struct world *world)
{
    for (int i = 0; i < NODES; i++) {
        struct peat_position position = {.commit = 0};
        struct link *link = link_of(world, i);

        if (world->nodes[i].db != NULL)
            (void)peat_position_get(world->nodes[i].db, &position);
        printf("# node %d: %s, commit %" PRIu64 ", position %" PRIu64 ", %s; before: %s\n", i,
               world->nodes[i].db == NULL ? "dead" : "alive", position.commit, position.position,
               link == NULL                                           ? "alone"
               : pt_follower_session_is_following(link->follower_end) ? "following"
                                                                      : "connecting",
               world->nodes[i].words);
    }
}

static void heal(struct world *world)
{
    uint64_t end_us = world->now_us + HEALED_US;
    uint64_t commit;
    uint8_t digest[DIGEST_SIZE];

    world->healed = true;
    if (world->nodes[world->primary].db == NULL)
        node_open(world, world->primary);
    commit_some(world); /* whoever has it has the newest epoch */
    for (int i = 0; i < NODES; i++) {
        world->nodes[i].frozen_us = 0;
        if (world->nodes[i].full) {
            crash(world, i);
            world->nodes[i].full = false;
        }
    }
    for (size_t i = 0; i < world->link_count; i++)
        if (world->links[i].swallows && world->links[i].follower_end != NULL)
            pt_peer_cut(pt_follower_session_base(world->links[i].follower_end), "healed");
    while (!is_together(world)) {
        if (world->now_us >= end_us)
            nodes_print(world);
        require(world, world->now_us < end_us, "they have not come together");
        step(world);
    }
    digest_of(world->nodes[world->primary].db, &commit, digest);
    for (int i = 0; i < NODES; i++) {
        uint8_t other[DIGEST_SIZE];

        look(world, i);
        require(world, world->nodes[i].seen == world->commits, "a follower is behind");
        digest_of(world->nodes[i].db, &commit, other);
        require(world, memcmp(digest, other, sizeof(digest)) == 0, "a follower's digest differs");
    }
}

static void finding_print(void *context, const struct peat_finding *finding)
{
    printf("# node %d: %s\n", *(int *)context, finding->what);
}

static void world_end(struct world *world)
{
    for (size_t i = 0; i < world->link_count; i++) {
        struct link *link = &world->links[i];

        pt_primary_session_close(link->primary_end);
        pt_follower_session_close(link->follower_end);
        pipe_clear(&link->up);
        pipe_clear(&link->down);
    }
    for (int i = 0; i < NODES; i++) {
        PT_REQUIRE_OK(peat_check(world->nodes[i].db, finding_print, NULL, &i));
        forked_require(world, &world->nodes[i]);
        node_close(&world->nodes[i], true);
    }
}

static void world_run(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->seed = seed;
    pt_test_context("world PEAT_SEED=%" PRIu64, seed);
    world->dice = (struct pt_dice){pt_mix(world->seed)};
    world->now_us = 1000000;
    world->short_log = pt_dice_one_in(&world->dice, 3);
    memcpy(world->upstream, upstream_first, sizeof(upstream_first));
    world->epoch = 1;
    for (int k = 0; k < NODES; k++)
        node_make(world, k);
    for (unsigned k = 0; k < STEPS; k++)
        step(world);
    heal(world);
    world_end(world);
}

/* ---- Workers ---- */

static void worker_run(void *context)
{
    struct world *world = malloc(sizeof(*world));
    uint64_t number;

    worker = *(unsigned *)context;
    PT_REQUIRE(world != NULL);
    while (pt_test_now_us() < crew->end_us &&
           (number = atomic_fetch_add(&crew->next, 1)) < crew->count) {
        world_run(world, crew->seed_first + number);
        atomic_fetch_add(&crew->done, 1);
    }
    crew->totals[worker] = totals;
    free(world);
}

static void crew_make(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    crew = mmap(NULL, sizeof(*crew), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PT_REQUIRE(crew != MAP_FAILED);
    crew->seed_first = pt_test_seed();
    crew->count = pt_test_number("PEAT_WORLDS", WORLDS);
    crew->end_us = pt_test_now_us() + pt_test_number("PEAT_WORLDS_SECONDS", SECONDS) * 1000000;
    crew->workers =
        (unsigned)pt_test_number("PEAT_WORKERS", processors < 1 ? 1 : (uint64_t)processors);
    if (crew->workers > WORKERS_MAX)
        crew->workers = WORKERS_MAX;
    if (crew->workers > crew->count)
        crew->workers = crew->count == 0 ? 1 : (unsigned)crew->count;
}

/* Whoever fails first ends it: the others die with this process. */
static void crew_work(void)
{
    unsigned numbers[WORKERS_MAX];

    (void)pt_test_path(""); /* the directory is this process's */
    for (unsigned i = 0; i < crew->workers; i++) {
        numbers[i] = i;
        (void)pt_child_start(worker_run, &numbers[i]);
    }
    for (unsigned i = 0; i < crew->workers; i++) {
        siginfo_t info;

        PT_REQUIRE(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0);
        pt_child_join(info.si_pid);
    }
}

static void totals_add(void)
{
    for (unsigned i = 0; i < crew->workers; i++)
        for (size_t k = 0; k < sizeof(totals) / sizeof(uint64_t); k++)
            ((uint64_t *)&totals)[k] += ((const uint64_t *)&crew->totals[i])[k];
}

static void P7_whatever_the_network_does_a_follower_shows_its_primarys_history(void **state)
{
    (void)state;

    crew_make();
    crew_work();
    totals_add();
    printf("# %" PRIu64 " worlds, 0 failed: %" PRIu64 " commits, %" PRIu64 " connections, %" PRIu64
           " cut, %" PRIu64 " damaged, %" PRIu64 " deaths, %" PRIu64 " that took commits, %" PRIu64
           " times full, %" PRIu64 " states taken, %" PRIu64 " made anew of a backup, %" PRIu64
           " promotions, %" PRIu64 " parted, %" PRIu64 " saved, %" PRIu64 " not, %" PRIu64
           " rejoined, %" PRIu64 " looks\n",
           atomic_load(&crew->done), totals.commits, totals.links, totals.cuts, totals.damaged,
           totals.crashes, totals.forgotten, totals.full, totals.states, totals.seeds,
           totals.promotions, totals.parted, totals.saved, totals.gone, totals.rejoined,
           totals.looks);
    (void)munmap(crew, sizeof(*crew));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(P7_whatever_the_network_does_a_follower_shows_its_primarys_history),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

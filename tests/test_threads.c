/*
 * The property: threads that read never see half a batch, never go back in time, never miss an
 * acknowledged commit, and what a snapshot shows never changes, while others write, flush, merge,
 * drop collections, keep states, compare and back up: all public calls but peat_revert(), which
 * test_history does beside commits. Meant for ThreadSanitizer too.
 *
 *     test_threads [SECONDS]       PEAT_SEED=n repeats the choices, though not the schedule
 */
#include "tests/support.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    SECONDS_DEFAULT = 10, /* over all tests of this file */
    WRITERS = 2,
    READERS = 4,
    DISTURBERS = 2,
    PLAYERS = WRITERS + READERS + DISTURBERS,
    ACCOUNTS = 64,  /* of each writer */
    BALANCE = 1000, /* of each account on average: batches move it about, but keep the sum */
    FILLERS = 2000, /* other keys of each writer, so that there is something to merge */
    FILLER_SIZE_MAX = 2000,
    HELD_MAX = 3, /* snapshots held by each reader */
    NAME_SIZE = 64
};

struct play {
    struct peat_db *db;
    struct peat_collection *stamps; /* beside the root, so that batches span collections */
    uint64_t seed;
    _Atomic uint64_t acknowledged; /* the highest commit whose peat_write() has returned */
    _Atomic bool stop;
    _Atomic uint64_t snapshots;
    _Atomic uint64_t others; /* states kept, backups and comparisons made */
    const char *path;        /* NULL: the store is in memory */
};

struct player {
    struct play *play;
    unsigned number;
};

static unsigned seconds_wanted;

static struct peat_bytes name_of(char name[NAME_SIZE], const char *kind, unsigned writer,
                                 uint64_t number)
{
    struct peat_bytes bytes = {name, 0};

    bytes.size = (size_t)snprintf(name, NAME_SIZE, "%s %u/%06" PRIu64, kind, writer, number);
    return bytes;
}

/* --- writers -------------------------------------------------------------------------------- */

static void number_put(struct peat_batch *batch, struct peat_collection *collection,
                       struct peat_bytes key, uint64_t number)
{
    struct peat_bytes value = {&number, sizeof(number)};

    PT_REQUIRE_OK(peat_batch_put(batch, collection, key, value));
}

/* A value that says by itself what it must be: its first 8 bytes are the seed of the rest. */
static void filler_put(struct peat_batch *batch, struct peat_bytes key, struct pt_dice *dice)
{
    size_t size = 8 + pt_dice_below(dice, pt_dice_one_in(dice, 4) ? FILLER_SIZE_MAX : 100);
    uint64_t seed = pt_dice_next(dice);
    void *place = NULL;

    PT_REQUIRE_OK(peat_batch_put_reserve(batch, NULL, key, size, &place));
    memcpy(place, &seed, 8);
    pt_value_fill(seed, (uint8_t *)place + 8, size - 8);
}

static void transfers_add(struct peat_batch *batch, unsigned writer, uint64_t balances[ACCOUNTS],
                          struct pt_dice *dice)
{
    uint64_t transfers = 1 + pt_dice_below(dice, 3);
    char name[NAME_SIZE];

    for (uint64_t i = 0; i < transfers; i++) {
        uint64_t from = pt_dice_below(dice, ACCOUNTS);
        uint64_t to = pt_dice_below(dice, ACCOUNTS);
        uint64_t amount = pt_dice_below(dice, balances[from] + 1);

        balances[from] -= amount;
        balances[to] += amount;
        number_put(batch, NULL, name_of(name, "account", writer, from), balances[from]);
        number_put(batch, NULL, name_of(name, "account", writer, to), balances[to]);
    }
}

static void fillers_add(struct peat_batch *batch, unsigned writer, struct pt_dice *dice)
{
    uint64_t count = pt_dice_below(dice, 20);
    char name[NAME_SIZE];
    char other[NAME_SIZE];

    for (uint64_t i = 0; i < count; i++) {
        struct peat_bytes key = name_of(name, "filler", writer, pt_dice_below(dice, FILLERS));

        if (pt_dice_one_in(dice, 4))
            PT_REQUIRE_OK(peat_batch_delete(batch, NULL, key));
        else
            filler_put(batch, key, dice);
    }
    if (pt_dice_one_in(dice, 50)) {
        uint64_t low = pt_dice_below(dice, FILLERS);

        PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, name_of(name, "filler", writer, low),
                                              name_of(other, "filler", writer, low + 100)));
    }
}

static void acknowledge(struct play *play, uint64_t commit)
{
    uint64_t seen = atomic_load_explicit(&play->acknowledged, memory_order_relaxed);

    while (seen < commit &&
           !atomic_compare_exchange_weak_explicit(&play->acknowledged, &seen, commit,
                                                  memory_order_release, memory_order_relaxed))
        continue;
}

static enum peat_durability level_choose(struct pt_dice *dice)
{
    if (pt_dice_one_in(dice, 40))
        return PEAT_DISK;
    return pt_dice_one_in(dice, 3) ? PEAT_MEMORY : PEAT_OS;
}

static void *writer_run(void *context)
{
    const struct player *player = context;
    struct play *play = player->play;
    struct pt_dice dice = {pt_mix(play->seed) + player->number};
    struct peat_batch *batch = peat_batch_new(0);
    uint64_t balances[ACCOUNTS];
    uint64_t last = 0;
    char name[NAME_SIZE];

    PT_REQUIRE(batch != NULL);
    for (uint64_t i = 0; i < ACCOUNTS; i++) {
        balances[i] = BALANCE;
        number_put(batch, NULL, name_of(name, "account", player->number, i), BALANCE);
    }
    for (uint64_t turn = 1; !atomic_load_explicit(&play->stop, memory_order_relaxed); turn++) {
        uint64_t commit = 0;

        transfers_add(batch, player->number, balances, &dice);
        number_put(batch, NULL, name_of(name, "stamp", player->number, 0), turn);
        number_put(batch, play->stamps, name_of(name, "stamp", player->number, 0), turn);
        fillers_add(batch, player->number, &dice);
        PT_REQUIRE_OK(peat_write(play->db, batch, level_choose(&dice), &commit));
        PT_REQUIRE(commit > last);
        last = commit;
        acknowledge(play, commit);
        peat_batch_clear(batch);
    }
    peat_batch_free(batch);
    return NULL;
}

/* --- readers -------------------------------------------------------------------------------- */

struct held {
    struct peat_snapshot *snapshot;
    uint64_t fingerprint;
    uint8_t digest[32];
};

/* A sum over all entries, the same in either direction; values that tell what they must be do. */
static uint64_t entry_fingerprint(const struct peat_iterator *iterator)
{
    struct peat_bytes key = peat_iterator_key(iterator);
    struct peat_bytes value = peat_iterator_value(iterator);

    if (key.size > 6 && memcmp(key.data, "filler", 6) == 0) {
        struct peat_bytes rest = {(const uint8_t *)value.data + 8, value.size - 8};
        uint64_t seed;

        PT_REQUIRE(value.size >= 8);
        memcpy(&seed, value.data, 8);
        PT_REQUIRE(pt_value_matches(seed, rest));
    }
    return pt_fingerprint(pt_fingerprint(0, key), value);
}

static uint64_t snapshot_fingerprint(const struct peat_snapshot *snapshot, bool forward)
{
    enum peat_status (*move)(struct peat_iterator *) =
        forward ? peat_iterator_next : peat_iterator_previous;
    struct peat_iterator *iterator;
    enum peat_status status;
    uint64_t print = 0;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    for (; status == PEAT_OK; status = move(iterator))
        print += entry_fingerprint(iterator);
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
    return print;
}

static uint64_t number_of(struct peat_bytes value)
{
    uint64_t number;

    PT_REQUIRE(value.size == sizeof(number));
    memcpy(&number, value.data, sizeof(number));
    return number;
}

/* The sum of a writer's accounts by an iterator; 0 before its first batch. */
static uint64_t sum_by_iterator(const struct peat_snapshot *snapshot, unsigned writer, bool forward)
{
    char low[NAME_SIZE];
    char high[NAME_SIZE];
    struct peat_range range = {name_of(low, "account", writer, 0),
                               name_of(high, "account", writer, ACCOUNTS), 0};
    struct peat_iterator *iterator;
    enum peat_status status;
    uint64_t sum = 0;
    uint64_t count = 0;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, &range, &iterator));
    status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    while (status == PEAT_OK) {
        sum += number_of(peat_iterator_value(iterator));
        count++;
        status = forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
    PT_REQUIRE(count == 0 || count == ACCOUNTS);
    return sum;
}

static uint64_t sum_by_get_many(const struct peat_snapshot *snapshot, unsigned writer)
{
    char names[ACCOUNTS][NAME_SIZE];
    struct peat_bytes keys[ACCOUNTS];
    struct peat_bytes values[ACCOUNTS];
    uint64_t sum = 0;

    for (uint64_t i = 0; i < ACCOUNTS; i++)
        keys[i] = name_of(names[i], "account", writer, i);
    PT_REQUIRE_OK(peat_get_many(snapshot, NULL, keys, ACCOUNTS, values));
    for (uint64_t i = 0; i < ACCOUNTS; i++) {
        PT_REQUIRE((values[i].data == NULL) == (values[0].data == NULL));
        if (values[i].data != NULL)
            sum += number_of(values[i]);
    }
    return sum;
}

/* The number of the writer's last batch that the snapshot shows; 0: none. */
static uint64_t stamp_of(const struct play *play, const struct peat_snapshot *snapshot,
                         unsigned writer)
{
    char name[NAME_SIZE];
    struct peat_bytes key = name_of(name, "stamp", writer, 0);
    struct peat_bytes first = {NULL, 0};
    struct peat_bytes second = {NULL, 0};
    enum peat_status status = peat_get(snapshot, NULL, key, &first);

    PT_REQUIRE_STATUS(peat_get(snapshot, play->stamps, key, &second), status);
    if (status == PEAT_NOT_FOUND)
        return 0;
    PT_REQUIRE_OK(status);
    PT_REQUIRE(number_of(first) == number_of(second));
    return number_of(first);
}

static void snapshot_verify(const struct play *play, const struct peat_snapshot *snapshot,
                            uint64_t stamps[WRITERS], struct pt_dice *dice)
{
    for (unsigned writer = 0; writer < WRITERS; writer++) {
        uint64_t stamp = stamp_of(play, snapshot, writer);
        uint64_t sum = pt_dice_one_in(dice, 2)
                           ? sum_by_get_many(snapshot, writer)
                           : sum_by_iterator(snapshot, writer, pt_dice_one_in(dice, 2));

        PT_REQUIRE(stamp >= stamps[writer]);
        stamps[writer] = stamp;
        PT_REQUIRE(sum == (stamp == 0 ? 0 : (uint64_t)ACCOUNTS * BALANCE));
    }
}

/* The newest value without a snapshot is never older than what a snapshot showed. */
static void newest_verify(const struct play *play, const uint64_t stamps[WRITERS])
{
    char name[NAME_SIZE];
    uint64_t number = 0;
    size_t size = 0;

    for (unsigned writer = 0; writer < WRITERS; writer++) {
        if (stamps[writer] == 0)
            continue;
        PT_REQUIRE_OK(peat_get_copy(play->db, play->stamps, name_of(name, "stamp", writer, 0),
                                    &number, sizeof(number), &size));
        PT_REQUIRE(size == sizeof(number) && number >= stamps[writer]);
    }
}

static void held_replace(struct held *held, struct peat_snapshot *snapshot, struct pt_dice *dice)
{
    uint8_t digest[32];

    if (held->snapshot != NULL) {
        PT_REQUIRE(snapshot_fingerprint(held->snapshot, pt_dice_one_in(dice, 2)) ==
                   held->fingerprint);
        PT_REQUIRE_OK(peat_digest(held->snapshot, NULL, NULL, digest, NULL));
        PT_REQUIRE(memcmp(digest, held->digest, sizeof(digest)) == 0);
        peat_snapshot_close(held->snapshot);
    }
    held->snapshot = snapshot;
    if (snapshot == NULL)
        return;
    held->fingerprint = snapshot_fingerprint(snapshot, pt_dice_one_in(dice, 2));
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, held->digest, NULL));
}

static void *reader_run(void *context)
{
    const struct player *player = context;
    struct play *play = player->play;
    struct pt_dice dice = {pt_mix(play->seed) + 1000 + player->number};
    struct held held[HELD_MAX] = {{.snapshot = NULL}};
    uint64_t stamps[WRITERS] = {0};
    uint64_t last = 0;

    while (!atomic_load_explicit(&play->stop, memory_order_relaxed)) {
        uint64_t acknowledged = atomic_load_explicit(&play->acknowledged, memory_order_acquire);
        struct peat_snapshot *snapshot;

        PT_REQUIRE_OK(peat_snapshot_open(play->db, &snapshot));
        PT_REQUIRE(peat_snapshot_commit(snapshot) >= acknowledged);
        PT_REQUIRE(peat_snapshot_commit(snapshot) >= last);
        last = peat_snapshot_commit(snapshot);
        snapshot_verify(play, snapshot, stamps, &dice);
        newest_verify(play, stamps);
        atomic_fetch_add_explicit(&play->snapshots, 1, memory_order_relaxed);
        if (pt_dice_one_in(&dice, 20))
            held_replace(&held[pt_dice_below(&dice, HELD_MAX)], snapshot, &dice);
        else
            peat_snapshot_close(snapshot);
    }
    for (size_t i = 0; i < HELD_MAX; i++)
        held_replace(&held[i], NULL, &dice);
    return NULL;
}

/* --- those who disturb ---------------------------------------------------------------------- */

static void collection_come_and_go(const struct play *play, unsigned number)
{
    struct peat_collection *collection;
    struct peat_snapshot *before;
    struct peat_bytes value;
    char own_name[NAME_SIZE];

    (void)name_of(own_name, "temporary", number, 0);
    PT_REQUIRE_OK(peat_collection_open(play->db, NULL, own_name, PEAT_CREATE, &collection));
    for (unsigned i = 0; i < 10; i++) {
        char name[NAME_SIZE];

        PT_REQUIRE_OK(peat_put(play->db, collection, name_of(name, "t", 0, i), pt_text("value")));
    }
    PT_REQUIRE_OK(peat_snapshot_open(play->db, &before));
    PT_REQUIRE_OK(peat_collection_drop(play->db, collection));
    PT_REQUIRE_OK(peat_get(before, collection, pt_text("t 0/000003"), &value));
    PT_REQUIRE(pt_same(value, pt_text("value")));
    peat_snapshot_close(before);
    PT_REQUIRE_STATUS(peat_put(play->db, collection, pt_text("t"), pt_text("v")), PEAT_NOT_FOUND);
    peat_collection_close(collection);
}

/* A state that is kept shows whole batches, and is what it is until it is dropped. */
static void state_come_and_go(const struct play *play, unsigned number, struct pt_dice *dice)
{
    uint64_t stamps[WRITERS] = {0};
    struct held held = {.snapshot = NULL};
    struct peat_snapshot *snapshot;
    char own_name[NAME_SIZE];
    uint64_t generation;

    (void)name_of(own_name, "kept", number, 0);
    PT_REQUIRE_OK(peat_snapshot_persist(play->db, own_name, &generation));
    PT_REQUIRE_OK(peat_history_open(play->db, own_name, 0, &snapshot));
    snapshot_verify(play, snapshot, stamps, dice);
    held_replace(&held, snapshot, dice);
    PT_REQUIRE_OK(peat_flush(play->db));
    held_replace(&held, NULL, dice);
    PT_REQUIRE_OK(peat_history_drop(play->db, own_name, 0));
    PT_REQUIRE_STATUS(peat_history_open(play->db, own_name, 0, &snapshot), PEAT_NOT_FOUND);
}

static bool bytes_dropped(void *context, const void *data, size_t size)
{
    uint64_t *count = context;

    (void)data;
    *count += size;
    return true;
}

/* A backup, into a file or a stream, is of the snapshot that was asked for. */
static void backup_make(const struct play *play, unsigned number)
{
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    struct peat_backup_options options;
    struct peat_snapshot *snapshot;
    char path[600];
    uint8_t digest[32];
    uint64_t count = 0;

    peat_backup_options_init(&options);
    (void)snprintf(path, sizeof(path), "%s.backup-%u", play->path == NULL ? "" : play->path,
                   number);
    if (play->path != NULL)
        options.path = path;
    else
        options.write = bytes_dropped;
    options.context = &count;
    PT_REQUIRE_OK(peat_snapshot_open(play->db, &snapshot));
    PT_REQUIRE_OK(peat_backup(play->db, snapshot, &options, &info));
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, NULL));
    PT_REQUIRE(info.commit == peat_snapshot_commit(snapshot));
    PT_REQUIRE(memcmp(info.digest, digest, sizeof(digest)) == 0);
    peat_snapshot_close(snapshot);
    if (play->path != NULL) {
        PT_REQUIRE_OK(peat_backup_inspect(path, &info));
        PT_REQUIRE(unlink(path) == 0);
    } else {
        PT_REQUIRE(count == info.file_size);
    }
}

struct comparison {
    const struct peat_snapshot *from;
    const struct peat_snapshot *to;
    uint64_t count;
};

static bool same_in(const struct peat_snapshot *snapshot, struct peat_bytes key,
                    struct peat_bytes told)
{
    struct peat_bytes value;
    enum peat_status status = peat_get(snapshot, NULL, key, &value);

    return told.data == NULL ? status == PEAT_NOT_FOUND : status == PEAT_OK && pt_same(value, told);
}

static bool difference_verify(void *context, const struct peat_difference *difference)
{
    struct comparison *comparison = context;

    PT_REQUIRE(same_in(comparison->from, difference->key, difference->from));
    PT_REQUIRE(same_in(comparison->to, difference->key, difference->to));
    return ++comparison->count < 200;
}

/* What changes between two moments is told as the two moments show it. */
static void moments_compare(const struct play *play)
{
    struct peat_snapshot *from;
    struct peat_snapshot *to;
    struct comparison comparison = {.count = 0};

    PT_REQUIRE_OK(peat_snapshot_open(play->db, &from));
    (void)usleep(2000);
    PT_REQUIRE_OK(peat_snapshot_open(play->db, &to));
    comparison.from = from;
    comparison.to = to;
    PT_REQUIRE_OK(peat_diff(from, to, NULL, difference_verify, &comparison));
    peat_snapshot_close(from);
    peat_snapshot_close(to);
}

static bool name_found(void *context, const char *name)
{
    bool *found = context;

    *found = *found || strcmp(name, "stamps") == 0;
    return true;
}

static bool entry_seen(void *context, const struct peat_history_entry *entry)
{
    uint64_t *last = context;

    PT_REQUIRE(entry->commit >= *last);
    *last = entry->commit;
    return true;
}

/* Calls that look at the store as a whole. */
static void lists_look(const struct play *play)
{
    struct peat_snapshot *snapshot;
    struct peat_collection *collection;
    bool found = false;
    uint64_t last = 0;
    enum peat_status status;

    PT_REQUIRE_OK(peat_snapshot_open(play->db, &snapshot));
    PT_REQUIRE_OK(peat_collection_list(snapshot, NULL, name_found, &found));
    PT_REQUIRE(found);
    PT_REQUIRE_OK(peat_collection_open_at(snapshot, NULL, "stamps", &collection));
    peat_collection_close(collection);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_history_list(play->db, entry_seen, &last));
    PT_REQUIRE_OK(peat_refresh(play->db));
    status = peat_wait_idle(play->db, 1);
    PT_REQUIRE(status == PEAT_OK || status == PEAT_TIMEOUT);
}

static void *disturber_run(void *context)
{
    const struct player *player = context;
    struct play *play = player->play;
    struct pt_dice dice = {pt_mix(play->seed) + 2000 + player->number};
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    while (!atomic_load_explicit(&play->stop, memory_order_relaxed)) {
        switch (pt_dice_below(&dice, 30)) {
        case 0:
            PT_REQUIRE_OK(peat_check(play->db, NULL, NULL, NULL));
            break;
        case 1:
            PT_REQUIRE_OK(peat_flush(play->db));
            break;
        case 2:
            PT_REQUIRE_OK(peat_sync(play->db));
            break;
        case 3:
            collection_come_and_go(play, player->number);
            break;
        case 4:
            state_come_and_go(play, player->number, &dice);
            atomic_fetch_add_explicit(&play->others, 1, memory_order_relaxed);
            break;
        case 5:
            backup_make(play, player->number);
            atomic_fetch_add_explicit(&play->others, 1, memory_order_relaxed);
            break;
        case 6:
            moments_compare(play);
            atomic_fetch_add_explicit(&play->others, 1, memory_order_relaxed);
            break;
        case 7:
            lists_look(play);
            break;
        default:
            PT_REQUIRE_OK(peat_stats_get(play->db, &stats));
            (void)usleep(1000); /* not to wait for anything: to leave the others their time */
            break;
        }
    }
    return NULL;
}

/* --- plays ---------------------------------------------------------------------------------- */

static void play_run(const char *path, uint64_t duration_us)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct player players[PLAYERS];
    pthread_t threads[PLAYERS];
    struct play play = {.seed = pt_test_seed(), .path = path};
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    uint64_t end = pt_test_now_us() + duration_us;

    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(path, &options, &play.db));
    PT_REQUIRE_OK(peat_collection_open(play.db, NULL, "stamps", PEAT_CREATE, &play.stamps));
    for (unsigned i = 0; i < PLAYERS; i++) {
        void *(*run)(void *) = i < WRITERS             ? writer_run
                               : i < WRITERS + READERS ? reader_run
                                                       : disturber_run;

        players[i] = (struct player){&play, i};
        PT_REQUIRE(pthread_create(&threads[i], NULL, run, &players[i]) == 0);
    }
    while (pt_test_now_us() < end)
        (void)usleep(10000);
    atomic_store(&play.stop, true);
    for (unsigned i = 0; i < PLAYERS; i++)
        PT_REQUIRE(pthread_join(threads[i], NULL) == 0);
    PT_REQUIRE_OK(peat_stats_get(play.db, &stats));
    printf("# %" PRIu64 " commits, %" PRIu64 " snapshots, %" PRIu64 " flushes, %" PRIu64
           " merges, %" PRIu64 " states kept, backups and comparisons\n",
           stats.commit, atomic_load(&play.snapshots), stats.flushes, stats.merges,
           atomic_load(&play.others));
    PT_REQUIRE_OK(peat_check(play.db, NULL, NULL, NULL));
    peat_collection_close(play.stamps);
    PT_REQUIRE_OK(peat_close(play.db));
}

static void p4_threads_on_a_file_see_whole_batches_in_order(void **state)
{
    (void)state;
    play_run(pt_test_path("threads"), (uint64_t)seconds_wanted * 700000);
}

static void p4_threads_in_memory_see_whole_batches_in_order(void **state)
{
    (void)state;
    play_run(NULL, (uint64_t)seconds_wanted * 300000);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p4_threads_on_a_file_see_whole_batches_in_order),
        cmocka_unit_test(p4_threads_in_memory_see_whole_batches_in_order),
    };
    int failed;

    pt_test_start();
    seconds_wanted = (unsigned)pt_test_number("PEAT_SECONDS", SECONDS_DEFAULT);
    if (argc > 1)
        seconds_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

/*
 * The property: a store of many segments, whose merges go on in steps over the key space and move
 * slices without rewriting them, shows exactly what was committed at each moment, ends as one run
 * when idle, writes a sequential load once, and gives the space of what was deleted back.
 *
 *     test_large [MEGABYTES]       PEAT_SEED=n repeats a run
 */
#include "tests/support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum {
    MEGABYTES_DEFAULT = 240, /* several segments of 64 MiB */
    VALUE_SIZE_MAX = 8000,   /* bytes; half of it on average */
    BATCH = 200,             /* operations */
    SMALL_BUFFER_SIZE = 4 << 20,
    NAME_SIZE = 16
};

/* Which version of each key is there: 0 is none. A version is the number of the change. */
struct contents {
    uint32_t *versions;
    uint32_t key_count;
};

struct play {
    struct peat_db *db;
    struct peat_batch *batch;
    struct contents contents;
    uint32_t version; /* the last given out */
    struct pt_dice dice;
    bool has_small_buffers; /* else the defaults */
    char path[512];
};

static unsigned megabytes_wanted;

/* --- contents ------------------------------------------------------------------------------- */

static struct peat_bytes key_of(char name[NAME_SIZE], uint32_t number)
{
    struct peat_bytes key = {name, 0};

    key.size = (size_t)snprintf(name, NAME_SIZE, "%08" PRIu32, number);
    return key;
}

static size_t value_size(uint32_t number, uint32_t version)
{
    return pt_mix((uint64_t)version << 32 | number) % VALUE_SIZE_MAX;
}

static uint64_t value_seed(uint32_t number, uint32_t version)
{
    return (uint64_t)number << 32 | version;
}

static struct contents contents_copy(const struct contents *contents)
{
    struct contents copy = *contents;

    copy.versions = malloc(copy.key_count * sizeof(*copy.versions));
    PT_REQUIRE(copy.versions != NULL);
    memcpy(copy.versions, contents->versions, copy.key_count * sizeof(*copy.versions));
    return copy;
}

static uint64_t contents_size(const struct contents *contents)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < contents->key_count; i++)
        if (contents->versions[i] != 0)
            size += 16 + 8 + value_size(i, contents->versions[i]);
    return size;
}

static void require_entry(const struct contents *contents, uint32_t number, struct peat_bytes value)
{
    uint32_t version = contents->versions[number];

    if (value.size != value_size(number, version) ||
        !pt_value_matches(value_seed(number, version), value))
        pt_test_fail(__FILE__, __LINE__, "key %08" PRIu32 " has not the value of change %" PRIu32,
                     number, version);
}

/* --- changes -------------------------------------------------------------------------------- */

static void commit_when(struct play *play, size_t operations)
{
    if (peat_batch_count(play->batch) < operations)
        return;
    PT_REQUIRE_OK(peat_write(play->db, play->batch, PEAT_DEFAULT, NULL));
    peat_batch_clear(play->batch);
}

static void put(struct play *play, uint32_t number)
{
    uint32_t version = ++play->version;
    char name[NAME_SIZE];
    void *place = NULL;

    PT_REQUIRE_OK(peat_batch_put_reserve(play->batch, NULL, key_of(name, number),
                                         value_size(number, version), &place));
    pt_value_fill(value_seed(number, version), place, value_size(number, version));
    play->contents.versions[number] = version;
    commit_when(play, BATCH);
}

static void put_all_in_order(struct play *play)
{
    for (uint32_t i = 0; i < play->contents.key_count; i++)
        put(play, i);
    commit_when(play, 1);
}

static uint32_t number_choose(struct play *play)
{
    return (uint32_t)pt_dice_below(&play->dice, play->contents.key_count);
}

/* Random puts and some deletes of @p count keys from @p low to @p high. */
static void change_randomly(struct play *play, uint32_t count, uint32_t low, uint32_t high)
{
    char name[NAME_SIZE];

    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = low + (uint32_t)pt_dice_below(&play->dice, high - low);

        if (!pt_dice_one_in(&play->dice, 5)) {
            put(play, number);
            continue;
        }
        PT_REQUIRE_OK(peat_batch_delete(play->batch, NULL, key_of(name, number)));
        play->contents.versions[number] = 0;
        commit_when(play, BATCH);
    }
    commit_when(play, 1);
}

static void delete_range(struct play *play, uint32_t low, uint32_t high)
{
    char low_name[NAME_SIZE];
    char high_name[NAME_SIZE];

    PT_REQUIRE_OK(
        peat_batch_delete_range(play->batch, NULL, key_of(low_name, low), key_of(high_name, high)));
    commit_when(play, 1);
    memset(play->contents.versions + low, 0, (high - low) * sizeof(*play->contents.versions));
}

/* --- comparing ------------------------------------------------------------------------------ */

static void scan_verify(const struct peat_snapshot *snapshot, const struct contents *contents,
                        bool forward)
{
    struct peat_iterator *iterator;
    enum peat_status status;
    char name[NAME_SIZE];

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    for (uint32_t i = 0; i < contents->key_count; i++) {
        uint32_t number = forward ? i : contents->key_count - 1 - i;

        if (contents->versions[number] == 0)
            continue;
        PT_REQUIRE_OK(status);
        PT_REQUIRE(pt_same(peat_iterator_key(iterator), key_of(name, number)));
        require_entry(contents, number, peat_iterator_value(iterator));
        status = forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
}

/* The first live key from @p number on; key_count: none. */
static uint32_t live_from(const struct contents *contents, uint32_t number)
{
    while (number < contents->key_count && contents->versions[number] == 0)
        number++;
    return number;
}

static void seeks_verify(struct play *play, const struct peat_snapshot *snapshot,
                         const struct contents *contents)
{
    struct peat_iterator *iterator;
    char name[NAME_SIZE];

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t number = number_choose(play);
        uint32_t found = live_from(contents, number);
        struct peat_bytes value;

        PT_REQUIRE_STATUS(peat_get(snapshot, NULL, key_of(name, number), &value),
                          found == number ? PEAT_OK : PEAT_NOT_FOUND);
        if (found == number)
            require_entry(contents, number, value);
        for (unsigned steps = 0; steps < 3 && found < contents->key_count; steps++) {
            PT_REQUIRE_OK(steps == 0 ? peat_iterator_seek(iterator, key_of(name, number))
                                     : peat_iterator_next(iterator));
            PT_REQUIRE(pt_same(peat_iterator_key(iterator), key_of(name, found)));
            require_entry(contents, found, peat_iterator_value(iterator));
            found = live_from(contents, found + 1);
        }
    }
    peat_iterator_close(iterator);
}

static void snapshot_verify(struct play *play, const struct peat_snapshot *snapshot,
                            const struct contents *contents)
{
    scan_verify(snapshot, contents, true);
    scan_verify(snapshot, contents, false);
    seeks_verify(play, snapshot, contents);
}

static void newest_verify(struct play *play)
{
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(play->db, &snapshot));
    snapshot_verify(play, snapshot, &play->contents);
    peat_snapshot_close(snapshot);
}

/* --- the play ------------------------------------------------------------------------------- */

static struct peat_stats stats_of(struct play *play)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(play->db, &stats));
    return stats;
}

static void store_open(struct play *play)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);

    if (play->has_small_buffers) {
        options.memory_size_max = (size_t)32 << 20;
        options.write_buffer_size = SMALL_BUFFER_SIZE;
    }
    PT_REQUIRE_OK(peat_open(play->path, &options, &play->db));
}

static void play_start(struct play *play, const char *name, bool has_small_buffers)
{
    uint64_t seed = pt_test_seed();

    memset(play, 0, sizeof(*play));
    play->dice.state = seed;
    play->has_small_buffers = has_small_buffers;
    (void)snprintf(play->path, sizeof(play->path), "%s", pt_test_path(name));
    play->contents.key_count =
        (uint32_t)(((uint64_t)megabytes_wanted << 20) / (VALUE_SIZE_MAX / 2));
    play->contents.versions = calloc(play->contents.key_count, sizeof(uint32_t));
    play->batch = peat_batch_new(0);
    PT_REQUIRE(play->contents.versions != NULL && play->batch != NULL);
    store_open(play);
    pt_test_context("PEAT_SEED=%" PRIu64, seed);
}

static void play_end(struct play *play)
{
    PT_REQUIRE_OK(peat_check(play->db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(play->db));
    PT_REQUIRE(remove(play->path) == 0);
    peat_batch_free(play->batch);
    free(play->contents.versions);
    pt_test_context("%s", "");
}

static void come_to_rest(struct play *play)
{
    struct peat_stats stats;

    PT_REQUIRE_OK(peat_wait_idle(play->db, 300000));
    stats = stats_of(play);
    PT_REQUIRE(stats.run_count <= 1);
    printf("# %" PRIu64 " segments, MB: %" PRIu64 " live, %" PRIu64 " put, %" PRIu64
           " flushed, %" PRIu64 " merged, %" PRIu64 " moved, %" PRIu64 " on disk (log %" PRIu64
           ", pending %" PRIu64 ")\n",
           stats.segment_count, contents_size(&play->contents) >> 20, stats.bytes_put >> 20,
           stats.bytes_flushed >> 20, stats.bytes_merged >> 20, stats.bytes_moved >> 20,
           stats.allocated_size >> 20, stats.log_size >> 20, stats.pending_size >> 20);
}

static void a_sequential_load_is_written_once(void **state)
{
    struct play play;

    (void)state;
    play_start(&play, "sequential", false);
    put_all_in_order(&play);
    come_to_rest(&play);
    PT_REQUIRE(stats_of(&play).bytes_merged <= stats_of(&play).bytes_flushed / 4);
    newest_verify(&play);
    play_end(&play);
}

/* Random changes over all segments, with snapshots of before each round held to its end. */
static void sweeps_show_every_snapshot_what_it_saw(void **state)
{
    enum { ROUNDS = 3 };
    struct peat_snapshot *snapshots[ROUNDS];
    struct contents seen[ROUNDS];
    struct play play;
    uint32_t count;

    (void)state;
    play_start(&play, "sweeps", true);
    count = play.contents.key_count;
    put_all_in_order(&play);
    for (unsigned i = 0; i < ROUNDS; i++) {
        PT_REQUIRE_OK(peat_snapshot_open(play.db, &snapshots[i]));
        seen[i] = contents_copy(&play.contents);
        change_randomly(&play, count / 5, 0, count);
        change_randomly(&play, count / 10, count / 3, count / 2);
        delete_range(&play, count / 4 * i, count / 4 * i + count / 10);
        newest_verify(&play);
    }
    come_to_rest(&play);
    newest_verify(&play);
    for (unsigned i = 0; i < ROUNDS; i++) {
        snapshot_verify(&play, snapshots[i], &seen[i]);
        peat_snapshot_close(snapshots[i]);
        free(seen[i].versions);
    }
    PT_REQUIRE_OK(peat_abort(play.db));
    store_open(&play);
    newest_verify(&play);
    play_end(&play);
}

static void p6_deleting_most_of_a_store_gives_its_space_back(void **state)
{
    struct play play;
    struct stat file;
    uint64_t live;

    (void)state;
    play_start(&play, "space", true);
    put_all_in_order(&play);
    change_randomly(&play, play.contents.key_count / 4, 0, play.contents.key_count);
    come_to_rest(&play);
    delete_range(&play, play.contents.key_count / 20, play.contents.key_count);
    come_to_rest(&play);
    newest_verify(&play);
    live = contents_size(&play.contents);
    PT_REQUIRE(stat(play.path, &file) == 0);
    /* While in use: the log, what lives, as much again. */
    if ((uint64_t)file.st_blocks * 512 > stats_of(&play).log_size + 2 * live + (8 << 20))
        pt_test_fail(__FILE__, __LINE__, "%" PRIu64 " MB on disk for %" PRIu64 " MB",
                     (uint64_t)file.st_blocks * 512 >> 20, live >> 20);
    put_all_in_order(&play); /* and it is used again */
    come_to_rest(&play);
    newest_verify(&play);
    play_end(&play);
}

/* Nor does it take a pause: there is always a snapshot open and read, though not the same one for ever, and
 * commits go on. */
static void p6_space_comes_back_while_the_store_is_read_and_written(void **state)
{
    enum { ROUNDS_MAX = 3000, ROUNDS_SEEN = 50 };
    struct peat_snapshot *snapshot = NULL;
    struct contents seen = {NULL, 0};
    struct play play;
    uint64_t limit = 0;
    uint64_t size = UINT64_MAX;

    (void)state;
    play_start(&play, "space-meanwhile", true);
    put_all_in_order(&play);
    come_to_rest(&play);
    delete_range(&play, play.contents.key_count / 10, play.contents.key_count);
    for (unsigned i = 0; i < ROUNDS_MAX && size > limit; i++) {
        struct stat file;

        if (i % ROUNDS_SEEN == 0) {
            if (snapshot != NULL)
                scan_verify(snapshot, &seen, true);
            peat_snapshot_close(snapshot);
            free(seen.versions);
            PT_REQUIRE_OK(peat_snapshot_open(play.db, &snapshot));
            seen = contents_copy(&play.contents);
        }
        change_randomly(&play, BATCH, 0, play.contents.key_count / 20);
        PT_REQUIRE(stat(play.path, &file) == 0);
        size = (uint64_t)file.st_blocks * 512;
        /* What lives, what the snapshot keeps of it, as much again, and what is not worth trimming. */
        limit = stats_of(&play).log_size + 3 * contents_size(&play.contents) + (24 << 20);
    }
    if (size > limit)
        pt_test_fail(__FILE__, __LINE__, "%" PRIu64 " MB on disk, more than %" PRIu64, size >> 20,
                     limit >> 20);
    snapshot_verify(&play, snapshot, &seen);
    peat_snapshot_close(snapshot);
    free(seen.versions);
    newest_verify(&play);
    play_end(&play);
}

/* The log is there for what is in write buffers, so it need not be much larger. */
static void p6_the_log_stays_in_proportion_to_the_write_buffers(void **state)
{
    struct play play;

    (void)state;
    play_start(&play, "log-size", true);
    put_all_in_order(&play);
    come_to_rest(&play);
    if (stats_of(&play).log_size > 4 * SMALL_BUFFER_SIZE)
        pt_test_fail(__FILE__, __LINE__, "%" PRIu64 " MB of log with write buffers of %d MB",
                     stats_of(&play).log_size >> 20, SMALL_BUFFER_SIZE >> 20);
    play_end(&play);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequential_load_is_written_once),
        cmocka_unit_test(sweeps_show_every_snapshot_what_it_saw),
        cmocka_unit_test(p6_deleting_most_of_a_store_gives_its_space_back),
        cmocka_unit_test(p6_space_comes_back_while_the_store_is_read_and_written),
        cmocka_unit_test(p6_the_log_stays_in_proportion_to_the_write_buffers),
    };
    int failed;

    pt_test_start();
    megabytes_wanted = (unsigned)pt_test_number("PEAT_MEGABYTES", MEGABYTES_DEFAULT);
    if (argc > 1)
        megabytes_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

/*
 * The property: of two stores that are compared each key that differs is told, within ranges that have such a key each; nothing
 * is told of stores that hold the same, whatever is committed meanwhile; and how much is sent grows with what differs.
 * PEAT_SEED=n repeats a run.
 */
#include "repl/peat_repl.h"
#include "tests/pair.h"

#include <fcntl.h>
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

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { KEYS = 3000, NAME_SIZE = 32, RANGES_MAX = 2 * KEYS, SOON_MS = 120000, DIGEST_SIZE = 32 };

/* ---- Comparing ---- */

struct told {
    struct peat_verify_range ranges[RANGES_MAX];
    uint8_t keys[RANGES_MAX][2][NAME_SIZE];
    size_t count;
    size_t stop_after; /* 0: never */
};

static struct told told;

static void key_keep(struct peat_place *place, uint8_t *room)
{
    PT_REQUIRE(place->key.size <= NAME_SIZE);
    if (place->key.size > 0)
        memcpy(room, place->key.data, place->key.size);
    place->key.data = room;
}

static bool range_note(void *context, const struct peat_verify_range *range)
{
    struct told *noted = context;

    PT_REQUIRE(noted->count < RANGES_MAX && range->struct_size == sizeof(*range));
    noted->ranges[noted->count] = *range;
    key_keep(&noted->ranges[noted->count].low, noted->keys[noted->count][0]);
    key_keep(&noted->ranges[noted->count].high, noted->keys[noted->count][1]);
    return ++noted->count != noted->stop_after;
}

static enum peat_status compare_within(struct peat_db *db, const char *url, unsigned timeout_ms,
                                       struct peat_verify_result *result,
                                       struct peat_repl_error *error)
{
    struct peat_verify_options options;

    peat_verify_options_init(&options);
    options.url = url;
    options.timeout_ms = timeout_ms;
    options.difference = range_note;
    options.context = &told;
    told.count = 0;
    *result = (struct peat_verify_result){.struct_size = sizeof(*result)};
    return peat_verify(db, &options, result, error);
}

static struct peat_verify_result compare(struct peat_db *db, const char *url)
{
    struct peat_verify_result result;
    struct peat_repl_error error;

    if (compare_within(db, url, SOON_MS, &result, &error) != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%s", error.words);
    PT_REQUIRE(result.range_count == told.count);
    return result;
}

static struct peat_primary *offer(struct peat_db *db, const char *name, char url[512])
{
    struct peat_primary_options options;
    struct peat_primary *primary;
    struct peat_repl_error error;
    const char *const urls[] = {url};

    (void)snprintf(url, 512, "ipc://%s", pt_test_path(name));
    (void)unlink(pt_test_path(name));
    peat_primary_options_init(&options);
    options.urls = urls;
    options.url_count = 1;
    if (peat_primary_start(db, &options, &primary, &error) != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%s", error.words);
    return primary;
}

/* ---- Two stores of the same commits, that need not have the same in them ---- */

enum difference { SAME, CHANGED, MISSING_HERE, MISSING_THERE };

struct twins {
    struct peat_db *here;
    struct peat_db *there;
    struct peat_primary *primary;
    char url[512];
};

/* What key i is like, of the root if i is even, of the collection "more" if not. */
static enum difference differences[KEYS];

static struct peat_bytes key_of(char name[NAME_SIZE], unsigned number)
{
    return (struct peat_bytes){name, (size_t)snprintf(name, NAME_SIZE, "key %06u", number)};
}

static struct peat_db *twin_make(const char *name, bool is_here)
{
    struct peat_db *db = pt_test_store_make(name, 0);
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_collection *more;

    PT_REQUIRE_OK(peat_collection_open(db, NULL, "more", PEAT_CREATE, &more));
    for (unsigned i = 0; i < KEYS; i++) {
        char room[NAME_SIZE];
        uint8_t value[200];
        struct peat_bytes key = key_of(room, i);

        pt_value_fill(i, value, sizeof(value));
        value[0] ^= differences[i] == CHANGED && is_here;
        if (differences[i] != (is_here ? MISSING_HERE : MISSING_THERE))
            PT_REQUIRE_OK(peat_batch_put(batch, i % 2 == 0 ? NULL : more, key,
                                         (struct peat_bytes){value, 1 + i % sizeof(value)}));
        if (i % 100 != 99)
            continue;
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("salt"), key)); /* none is empty */
        PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
        peat_batch_clear(batch);
    }
    peat_batch_free(batch);
    peat_collection_close(more);
    return db;
}

static void twins_make(struct twins *twins)
{
    twins->here = twin_make("here", true);
    twins->there = twin_make("there", false);
    PT_REQUIRE_OK(
        peat_compact(twins->there, NULL, NULL, NULL, NULL)); /* how they lie is not asked */
    twins->primary = offer(twins->there, "socket", twins->url);
}

static void twins_close(struct twins *twins)
{
    peat_primary_stop(twins->primary);
    PT_REQUIRE_OK(peat_close(twins->here));
    PT_REQUIRE_OK(peat_close(twins->there));
}

static int place_compare(const struct peat_place *a, uint64_t collection, struct peat_bytes key)
{
    size_t common = a->key.size < key.size ? a->key.size : key.size;
    int order;

    if (a->collection != collection)
        return a->collection < collection ? -1 : 1;
    order = memcmp(a->key.data, key.data, common);
    return order != 0 ? order : (a->key.size > key.size) - (a->key.size < key.size);
}

/* The told range that has the key in it; NULL: none. */
static const struct peat_verify_range *range_with(uint64_t collection, struct peat_bytes key)
{
    for (size_t i = 0; i < told.count; i++)
        if (place_compare(&told.ranges[i].low, collection, key) <= 0 &&
            place_compare(&told.ranges[i].high, collection, key) > 0)
            return &told.ranges[i];
    return NULL;
}

/* All that differs is told, and nothing else. */
static void told_check(void)
{
    static bool has_difference[RANGES_MAX];

    memset(has_difference, 0, sizeof(has_difference));
    for (unsigned i = 0; i < KEYS; i++) {
        char room[NAME_SIZE];
        const struct peat_verify_range *range =
            range_with(i % 2 == 0 ? 1 : 2, key_of(room, i)); /* the root; the only other one */

        if (differences[i] == SAME)
            continue;
        if (range == NULL)
            pt_test_fail(__FILE__, __LINE__, "key %u differs, and was not told", i);
        has_difference[range - told.ranges] = true;
    }
    for (size_t i = 0; i < told.count; i++)
        PT_REQUIRE(has_difference[i]);
}

static void differences_clear(void)
{
    memset(differences, 0, sizeof(differences));
}

/* ---- What there is to compare ---- */

static void of_stores_that_hold_the_same_nothing_is_told_and_little_sent(void **state)
{
    struct peat_verify_result result;
    uint8_t digest[DIGEST_SIZE];
    struct twins twins;
    (void)state;

    differences_clear();
    twins_make(&twins);
    result = compare(twins.here, twins.url);
    PT_REQUIRE(result.range_count == 0 && result.commit == pt_test_newest(twins.here));
    PT_REQUIRE(result.entries_here == KEYS + 2 && result.entries_there == KEYS + 2);
    PT_REQUIRE(result.sent_size < KIB && result.received_size < KIB);
    PT_REQUIRE_OK(compare_within(twins.here, twins.url, 0, &result, NULL)); /* without waiting */
    pt_test_digest(twins.here, digest);
    PT_REQUIRE(memcmp(digest, result.digest, DIGEST_SIZE) == 0);
    twins_close(&twins);
}

static void a_single_key_is_told_by_itself(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (enum difference difference = CHANGED; difference <= MISSING_THERE; difference++) {
        unsigned number = (unsigned)pt_dice_below(&dice, KEYS - 2);
        struct peat_verify_result result;
        struct twins twins;

        differences_clear();
        differences[number] = difference;
        twins_make(&twins);
        result = compare(twins.here, twins.url);
        told_check();
        PT_REQUIRE(told.count == 1);
        PT_REQUIRE(told.ranges[0].entries_here + told.ranges[0].entries_there <= 3);
        PT_REQUIRE(result.sent_size < 8 * KIB && result.received_size < 8 * KIB);
        twins_close(&twins);
    }
}

static void all_that_differs_is_told_and_nothing_else(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned round = 0; round < 6; round++) {
        uint64_t one_in = round == 0 ? 1 : 1 + pt_dice_below(&dice, 300);
        struct twins twins;

        differences_clear();
        for (unsigned i = 0; i < KEYS; i++)
            if (pt_dice_one_in(&dice, one_in))
                differences[i] = (enum difference)(1 + pt_dice_below(&dice, 3));
        for (unsigned i = 0, from = (unsigned)pt_dice_below(&dice, KEYS - 200); i < 200; i++)
            if (round % 2 == 1) /* a range of them */
                differences[from + i] = round == 3 ? MISSING_HERE : MISSING_THERE;
        twins_make(&twins);
        (void)compare(twins.here, twins.url);
        told_check();
        twins_close(&twins);
    }
}

static void collections_that_one_of_them_lacks_are_told(void **state)
{
    struct peat_collection *collection;
    struct twins twins;
    (void)state;

    differences_clear();
    twins_make(&twins);
    PT_REQUIRE_OK(peat_collection_open(twins.there, NULL, "new", PEAT_CREATE, &collection));
    PT_REQUIRE_OK(peat_put(twins.there, collection, pt_text("key"), pt_text("value")));
    peat_collection_close(collection);
    PT_REQUIRE_OK(peat_put(twins.here, NULL, pt_text("key 000000"), pt_text("other")));
    PT_REQUIRE_OK(peat_put(twins.here, NULL, pt_text("key 000000"), pt_text("again other")));
    (void)compare(twins.here, twins.url);
    PT_REQUIRE(range_with(3, pt_text("key")) != NULL);
    PT_REQUIRE(range_with(1, pt_text("key 000000")) != NULL);
    PT_REQUIRE(told.ranges[0].low.collection == 0 && told.ranges[0].entries_there == 2);
    twins_close(&twins);
}

static void long_keys_are_compared(void **state)
{
    static uint8_t key[2 * MIB];
    struct peat_db *dbs[2] = {pt_test_store_make("here", 0), pt_test_store_make("there", 0)};
    struct peat_verify_result result;
    struct peat_primary *primary;
    char url[512];
    (void)state;

    memset(key, 'k', sizeof(key));
    for (unsigned i = 0; i < 40; i++) /* what parts them comes late in them, or soon */
        for (unsigned side = 0; side < 2; side++) {
            key[i % 2 == 0 ? 10 : sizeof(key) / 2] = (uint8_t)i;
            PT_REQUIRE_OK(peat_put(dbs[side], NULL, (struct peat_bytes){key, sizeof(key) / 2 + 10},
                                   pt_text(i == 7 && side == 1 ? "other" : "value")));
        }
    primary = offer(dbs[1], "socket", url);
    told.stop_after = 0;
    result = (struct peat_verify_result){.struct_size = sizeof(result)};
    {
        struct peat_verify_options options;

        peat_verify_options_init(&options);
        options.url = url;
        PT_REQUIRE_OK(peat_verify(dbs[0], &options, &result, NULL));
    }
    PT_REQUIRE(result.range_count == 1 && result.sent_size < 200 * KIB);
    peat_primary_stop(primary);
    PT_REQUIRE_OK(peat_close(dbs[0]));
    PT_REQUIRE_OK(peat_close(dbs[1]));
}

/* ---- While commits go on ---- */

struct writer {
    struct peat_db *db;
    _Atomic bool stop;
    pthread_t thread;
};

static void *writer_run(void *context)
{
    struct writer *writer = context;
    struct pt_dice dice = {pt_test_seed()};

    while (!atomic_load(&writer->stop)) {
        pt_test_commit_random(writer->db, &dice, false);
        (void)usleep(200); /* a load, not a wait */
    }
    return NULL;
}

static void a_follower_is_found_equal_while_its_primary_writes(void **state)
{
    struct peat_follower_options options;
    struct peat_options reader_options = pt_test_options(PEAT_READ_ONLY);
    struct peat_repl_error error;
    struct peat_primary *primaries[2];
    struct peat_follower *follower;
    struct writer writer = {.stop = false};
    struct pt_side sides[2];
    struct peat_db *reader;
    char urls[2][512];
    (void)state;

    pt_side_make(&sides[0], "primary", 0);
    pt_side_make(&sides[1], "follower", PEAT_FOLLOWER);
    primaries[0] = offer(sides[0].db, "socket", urls[0]);
    primaries[1] = offer(sides[1].db, "socket-2", urls[1]);
    peat_follower_options_init(&options);
    options.url = urls[0];
    options.name = "follower";
    options.durability = PEAT_OS;
    if (peat_follower_start(sides[1].db, &options, &follower, &error) != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%s", error.words);
    writer.db = sides[0].db;
    PT_REQUIRE(pthread_create(&writer.thread, NULL, writer_run, &writer) == 0);
    PT_REQUIRE_OK(peat_wait_commit(sides[1].db, 200, SOON_MS, NULL));
    pt_test_options_tiny(&reader_options);
    PT_REQUIRE_OK(peat_open(sides[1].path, &reader_options, &reader));
    for (unsigned i = 0; i < 5; i++) {
        struct peat_verify_result results[3] = {
            compare(sides[1].db, urls[0]), compare(reader, urls[0]), compare(sides[0].db, urls[1])};

        for (unsigned j = 0; j < 3; j++)
            PT_REQUIRE(results[j].range_count == 0 && results[j].commit >= 200);
    }
    atomic_store(&writer.stop, true);
    PT_REQUIRE(pthread_join(writer.thread, NULL) == 0);
    PT_REQUIRE_OK(peat_close(reader));
    peat_follower_stop(follower);
    peat_primary_stop(primaries[0]);
    peat_primary_stop(primaries[1]);
    PT_REQUIRE_OK(peat_close(sides[0].db));
    PT_REQUIRE_OK(peat_close(sides[1].db));
}

/* ---- What goes wrong ---- */

/* Change the bytes of the file at the last place that has @p mark. */
static void mark_damage(const char *path, const void *mark, size_t mark_size)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *bytes = malloc((size_t)size);
    unsigned count = 0;

    PT_REQUIRE(bytes != NULL && pread(fd, bytes, (size_t)size, 0) == size);
    for (off_t i = 0; i + (off_t)mark_size <= size; i++)
        if (memcmp(bytes + i, mark, mark_size) == 0)
            count += pwrite(fd, "damage", 6, i) == 6;
    PT_REQUIRE(count > 0);
    free(bytes);
    PT_REQUIRE(close(fd) == 0);
}

static void what_is_damaged_is_told_and_the_rest_compared(void **state)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_verify_result result;
    struct twins twins;
    char path[512];
    uint8_t value[200];
    bool is_told = false;
    (void)state;

    differences_clear();
    twins_make(&twins);
    PT_REQUIRE_OK(peat_compact(twins.here, NULL, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(twins.here));
    (void)strcpy(path, pt_test_path("here"));
    pt_value_fill(199, value, sizeof(value));
    mark_damage(path, value, 199);
    PT_REQUIRE_OK(peat_open(path, &options, &twins.here));
    result = compare(twins.here, twins.url);
    PT_REQUIRE(result.range_count > 0 && result.entries_here < result.entries_there);
    for (size_t i = 0; i < told.count; i++) {
        is_told = is_told || told.ranges[i].damaged_here;
        PT_REQUIRE(!told.ranges[i].damaged_there);
    }
    PT_REQUIRE(is_told);
    twins_close(&twins);
}

static void stores_that_do_not_come_to_the_same_commit_are_not_compared(void **state)
{
    struct peat_verify_result result;
    struct peat_repl_error error;
    struct twins twins;
    (void)state;

    differences_clear();
    twins_make(&twins);
    for (unsigned i = 0; i < 2; i++) { /* here behind, then ahead */
        struct peat_db *db = i == 0 ? twins.there : twins.here;

        for (unsigned j = 0; j < 2 + i; j++) {
            PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
            PT_REQUIRE_OK(peat_flush(db));
        }
        PT_REQUIRE_STATUS(compare_within(twins.here, twins.url, 300, &result, &error),
                          PEAT_TIMEOUT);
        PT_REQUIRE(strstr(error.words, "this store is at") != NULL);
    }
    twins_close(&twins);
}

static void event_count(void *context, const struct peat_primary_event *event)
{
    atomic_uint *count = context;

    (void)event;
    atomic_fetch_add(count, 1);
}

static void who_compares_is_told_as_no_follower_and_as_none_that_was_refused(void **state)
{
    struct peat_primary_options options;
    struct peat_primary_status status = {.struct_size = sizeof(status)};
    struct peat_repl_error error;
    struct twins twins;
    const char *const urls[] = {twins.url};
    atomic_uint events = 0;
    (void)state;

    differences_clear();
    twins_make(&twins);
    peat_primary_stop(twins.primary);
    (void)unlink(pt_test_path("socket"));
    peat_primary_options_init(&options);
    options.urls = urls;
    options.url_count = 1;
    options.event = event_count;
    options.event_context = &events;
    PT_REQUIRE_OK(peat_primary_start(twins.there, &options, &twins.primary, &error));
    assert_int_equal(compare(twins.here, twins.url).range_count, 0);
    do
        peat_primary_status_get(twins.primary, &status);
    while (status.connected > 0);
    assert_int_equal(status.turned_away, 0);
    assert_string_equal(status.words, "the peer says: all is compared");
    peat_primary_stop(twins.primary);
    twins.primary = NULL;
    assert_int_equal(events, 0);
    twins_close(&twins);
}

static bool refuse(void *context, uint64_t done)
{
    (void)context;
    (void)done;
    return false;
}

static void who_calls_may_end_it(void **state)
{
    struct peat_verify_options options;
    struct peat_verify_result result;
    struct peat_repl_error error;
    struct twins twins;
    (void)state;

    differences_clear();
    differences[10] = differences[1000] = differences[2000] = CHANGED;
    twins_make(&twins);
    told.stop_after = 2;
    PT_REQUIRE_STATUS(compare_within(twins.here, twins.url, SOON_MS, &result, &error), PEAT_DONE);
    PT_REQUIRE(result.range_count == 2 && told.count == 2);
    told.stop_after = 0;
    peat_verify_options_init(&options);
    options.url = twins.url;
    options.progress = refuse;
    PT_REQUIRE_STATUS(peat_verify(twins.here, &options, NULL, NULL), PEAT_DONE);
    peat_primary_stop(twins.primary);
    twins.primary = NULL;
    result.range_count = 99;
    PT_REQUIRE_STATUS(peat_verify(twins.here, &options, &result, NULL), PEAT_DONE);
    PT_REQUIRE(result.range_count == 0 && result.commit == 0);
    twins_close(&twins);
}

static void options_of_a_newer_program_are_taken_as_far_as_they_are_known(void **state)
{
    struct {
        struct peat_verify_options options;
        uint64_t more;
    } newer = {.more = 1};
    struct twins twins;
    (void)state;

    differences_clear();
    twins_make(&twins);
    peat_verify_options_init(&newer.options);
    newer.options.struct_size = sizeof(newer);
    newer.options.url = twins.url;
    PT_REQUIRE_OK(peat_verify(twins.here, &newer.options, NULL, NULL));
    newer.options.struct_size = sizeof(newer.options) - 1; /* there never were fewer */
    PT_REQUIRE_STATUS(peat_verify(twins.here, &newer.options, NULL, NULL), PEAT_INVALID);
    twins_close(&twins);
}

static void what_cannot_be_is_refused(void **state)
{
    struct peat_verify_options options;
    struct peat_verify_result result;
    struct peat_repl_error error;
    struct twins twins;
    char id[PEAT_KEY_ID_TEXT_SIZE];
    (void)state;

    differences_clear();
    twins_make(&twins);
    peat_verify_options_init(&options);
    PT_REQUIRE_STATUS(peat_verify(twins.here, &options, NULL, &error), PEAT_INVALID);
    options.url = "tcp://192.0.2.1:1"; /* without a key */
    PT_REQUIRE_STATUS(peat_verify(twins.here, &options, NULL, &error), PEAT_INVALID);
    options.url = twins.url;
    PT_REQUIRE_STATUS(peat_verify(NULL, &options, NULL, &error), PEAT_INVALID);
    options.flags = 8;
    PT_REQUIRE_STATUS(peat_verify(twins.here, &options, NULL, &error), PEAT_INVALID);
    options.flags = 0;
    options.key_path = pt_test_path("key");
    (void)unlink(options.key_path);
    PT_REQUIRE_STATUS(peat_verify(twins.here, &options, NULL, &error), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(peat_key_make(options.key_path, id, &error));
    options.timeout_ms = 500;
    PT_REQUIRE_STATUS(peat_verify(twins.here, &options, NULL, &error), PEAT_IO);
    options.struct_size = 1;
    PT_REQUIRE_STATUS(peat_verify(twins.here, &options, NULL, &error), PEAT_INVALID);
    peat_primary_stop(twins.primary);
    twins.primary = NULL;
    PT_REQUIRE_STATUS(compare_within(twins.here, twins.url, 200, &result, &error), PEAT_TIMEOUT);
    twins_close(&twins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_stores_that_hold_the_same_nothing_is_told_and_little_sent),
        cmocka_unit_test(a_single_key_is_told_by_itself),
        cmocka_unit_test(all_that_differs_is_told_and_nothing_else),
        cmocka_unit_test(collections_that_one_of_them_lacks_are_told),
        cmocka_unit_test(long_keys_are_compared),
        cmocka_unit_test(a_follower_is_found_equal_while_its_primary_writes),
        cmocka_unit_test(what_is_damaged_is_told_and_the_rest_compared),
        cmocka_unit_test(stores_that_do_not_come_to_the_same_commit_are_not_compared),
        cmocka_unit_test(who_compares_is_told_as_no_follower_and_as_none_that_was_refused),
        cmocka_unit_test(who_calls_may_end_it),
        cmocka_unit_test(options_of_a_newer_program_are_taken_as_far_as_they_are_known),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

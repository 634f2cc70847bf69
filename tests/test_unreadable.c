/*
 * The property: where a part of the file cannot be read, every way to look at the store shows what is right or
 * says PEAT_IO, or PEAT_NO_MEMORY if that is short as well; and shows all again once it can be read.
 *
 * The store is so large that each section of a segment, entries, ordinals, fences and hash index, lies in blocks of
 * its own, and in runs that lie over each other, with range deletes and slices that are cut. In turn each block of
 * 64 KiB fails, always or for some of the times that it is asked for. PEAT_SEED: which keys are looked at.
 */
#include "core/base/alloc.h"
#include "core/base/file.h"
#include "tests/support.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    KEYS = 10000,
    KEY_SIZE = 8,
    RANGES = 40, /* range deletes, of RANGE_KEYS each */
    RANGE_KEYS = 20,
    VALUE_MAX = 40,
    BLOCK = 65536, /* bytes: as large as a segment's chunks */
    LOOKS = 12,    /* places that each kind of look begins at */
    STEPS = 40     /* of an iterator, from each */
};

/* The values' seeds; 0: there is none. */
static uint64_t now[KEYS];
static uint64_t kept[KEYS];
static char store_path[512];
static uint64_t seed;

/* ---- The medium ---- */

/* From which on, and how often, asking for a block fails. Atomic: the store's threads ask, too. */
static struct {
    _Atomic bool fails;
    _Atomic uint64_t block;
    _Atomic uint64_t left; /* asked so often more it still succeeds */
    _Atomic uint64_t failures;
    _Atomic int error_number;
    _Atomic uintptr_t base; /* where the store is mapped */
    _Atomic uint64_t allocations_left;
} medium;

static bool fails_at(uint64_t offset, uint64_t size)
{
    uint64_t block = atomic_load(&medium.block);
    uint64_t left;

    if (!atomic_load(&medium.fails) || offset >= (block + 1) * BLOCK ||
        offset + size <= block * BLOCK)
        return false;
    left = atomic_load(&medium.left);
    while (left > 0 && !atomic_compare_exchange_weak(&medium.left, &left, left - 1))
        ;
    if (left > 0 || atomic_load(&medium.failures) == 0)
        return false;
    atomic_fetch_sub(&medium.failures, 1);
    return true;
}

static void *map_noted(int fd, uint64_t offset, void *place, uint64_t size, bool writable)
{
    if (place != NULL)
        atomic_store(&medium.base, (uintptr_t)place - offset);
    return pt_file_calls_real()->map(fd, offset, place, size, writable);
}

static int populate_or_fail(int fd, void *place, uint64_t size, bool writing)
{
    if (!writing && fails_at((uintptr_t)place - atomic_load(&medium.base), size)) {
        errno = atomic_load(&medium.error_number);
        return -1;
    }
    return pt_file_calls_real()->populate(fd, place, size, writing);
}

static ssize_t read_or_fail(int fd, void *buffer, size_t size, uint64_t offset)
{
    if (fails_at(offset, size)) {
        errno = atomic_load(&medium.error_number);
        return -1;
    }
    return pt_file_calls_real()->read(fd, buffer, size, offset);
}

static bool allocation_allowed(size_t size)
{
    uint64_t left = atomic_load(&medium.allocations_left);

    (void)size;
    if (left != UINT64_MAX)
        atomic_store(&medium.allocations_left, left == 0 ? UINT64_MAX : left - 1);
    return left != 0;
}

static void medium_fail(uint64_t block, uint64_t from, uint64_t count)
{
    atomic_store(&medium.block, block);
    atomic_store(&medium.left, from);
    atomic_store(&medium.failures, count);
    atomic_store(&medium.error_number, EFAULT);
    atomic_store(&medium.fails, true);
}

/* ---- The store ---- */

static struct peat_bytes key_of(char name[KEY_SIZE + 1], unsigned number)
{
    return (struct peat_bytes){name, (size_t)snprintf(name, KEY_SIZE + 1, "k%06u", number)};
}

static struct peat_bytes value_of(uint8_t room[VALUE_MAX], uint64_t value)
{
    struct peat_bytes bytes = {room, 8 + value % (VALUE_MAX - 8)};

    pt_value_fill(value, room, bytes.size);
    return bytes;
}

static struct peat_options options_of(unsigned flags)
{
    struct peat_options options = pt_test_options(flags);

    options.memory_size_max = (size_t)16 << 20;
    options.write_buffer_size = (size_t)2 << 20;
    return options;
}

static struct peat_db *store_open(unsigned flags)
{
    struct peat_options options = options_of(flags);
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(store_path, &options, &db));
    return db;
}

static void write_all(struct peat_db *db, struct peat_batch *batch)
{
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    peat_batch_clear(batch);
}

static void put_some(struct peat_db *db, unsigned first, unsigned end, unsigned step,
                     unsigned version)
{
    struct peat_batch *batch = peat_batch_new(0);

    for (unsigned i = first; i < end; i += step) {
        uint8_t room[VALUE_MAX];
        char name[KEY_SIZE + 1];

        now[i] = (uint64_t)version * KEYS + i;
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, key_of(name, i), value_of(room, now[i])));
    }
    write_all(db, batch);
    peat_batch_free(batch);
}

/* Ranges, and behind each a key by itself. */
static void delete_some(struct peat_db *db, unsigned first)
{
    struct peat_batch *batch = peat_batch_new(0);

    for (unsigned i = 0; i < RANGES; i++) {
        unsigned low = first + i * (KEYS / RANGES);
        char names[2][KEY_SIZE + 1];

        PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, key_of(names[0], low),
                                              key_of(names[1], low + RANGE_KEYS)));
        PT_REQUIRE_OK(peat_batch_delete(batch, NULL, key_of(names[0], low + RANGE_KEYS + 2)));
        memset(now + low, 0, RANGE_KEYS * sizeof(now[0]));
        now[low + RANGE_KEYS + 2] = 0;
    }
    write_all(db, batch);
    peat_batch_free(batch);
}

/* A large run, of which the middle was merged by itself, and two over it. */
static void store_make(void)
{
    struct peat_db *db = store_open(PEAT_CREATE);
    char names[2][KEY_SIZE + 1];
    struct peat_range middle = {key_of(names[0], KEYS / 3 + 7), key_of(names[1], KEYS / 2), 0};

    put_some(db, 0, KEYS, 1, 1);
    PT_REQUIRE_OK(peat_wait_idle(db, 600000));
    PT_REQUIRE_OK(peat_snapshot_persist(db, "kept", NULL));
    memcpy(kept, now, sizeof(now));
    put_some(db, KEYS / 4, KEYS / 4 * 3, 3, 2);
    PT_REQUIRE_OK(peat_compact(db, NULL, &middle, NULL, NULL));
    put_some(db, 3, KEYS, 5, 3);
    delete_some(db, 50);
    PT_REQUIRE_OK(peat_flush(db));
    put_some(db, 1, KEYS, 37, 4);
    delete_some(db, 150);
    PT_REQUIRE_OK(peat_close(db));
}

static uint64_t block_count(void)
{
    struct stat info;

    PT_REQUIRE(stat(store_path, &info) == 0);
    return ((uint64_t)info.st_size + BLOCK - 1) / BLOCK;
}

/* ---- Looks, which require that what they see is right ---- */

/* The key's number. */
static unsigned require_right(const uint64_t *state, struct peat_bytes key, struct peat_bytes value)
{
    char name[KEY_SIZE + 1] = {0};
    unsigned number;

    PT_REQUIRE(key.size == strlen("k000000"));
    memcpy(name, key.data, key.size);
    number = (unsigned)strtoul(name + 1, NULL, 10);
    PT_REQUIRE(number < KEYS && state[number] != 0);
    PT_REQUIRE(pt_value_matches(state[number], value));
    return number;
}

static bool is_expected(enum peat_status status)
{
    return status >= 0 || status == PEAT_IO || status == PEAT_NO_MEMORY;
}

/* A key for look number @p i: spread over all, ends of ranges among them. */
static unsigned place(struct pt_dice *dice, unsigned i)
{
    if (i % 3 == 0)
        return (unsigned)pt_dice_below(dice, RANGES) * (KEYS / RANGES) + 50 +
               (unsigned)pt_dice_below(dice, 2) * (RANGE_KEYS - 1);
    return (unsigned)pt_dice_below(dice, KEYS);
}

static enum peat_status gets_do(const struct peat_snapshot *snapshot, struct pt_dice *dice)
{
    enum peat_status last = PEAT_OK;

    for (unsigned i = 0; i < 4 * LOOKS; i++) {
        unsigned number = place(dice, i);
        char name[KEY_SIZE + 1];
        struct peat_bytes value;
        enum peat_status status = peat_get(snapshot, NULL, key_of(name, number), &value);

        PT_REQUIRE(is_expected(status));
        if (status >= 0)
            PT_REQUIRE((status == PEAT_OK) == (now[number] != 0));
        if (status == PEAT_OK)
            (void)require_right(now, key_of(name, number), value);
        else if (status < 0)
            last = status;
    }
    return last;
}

/* No key was passed over between two that were seen one after the other; @p before KEYS: there was none before. */
static void require_none_between(unsigned before, unsigned number)
{
    unsigned low = before < number ? before : number;
    unsigned high = before < number ? number : before;

    for (unsigned i = low + 1; before < KEYS && i < high; i++)
        PT_REQUIRE(now[i] == 0);
    PT_REQUIRE(before != number);
}

/* On from where it is, past what cannot be read. */
static enum peat_status steps_do(struct peat_iterator *iterator, enum peat_status status,
                                 enum peat_status (*step)(struct peat_iterator *iterator),
                                 unsigned steps)
{
    enum peat_status last = PEAT_OK;
    unsigned before = KEYS;

    for (unsigned i = 0; i < steps && status != PEAT_DONE && status != PEAT_NOT_FOUND; i++) {
        struct peat_range range;

        PT_REQUIRE(is_expected(status));
        if (status == PEAT_OK) {
            unsigned number =
                require_right(now, peat_iterator_key(iterator), peat_iterator_value(iterator));

            require_none_between(before, number);
            before = number;
            status = step(iterator);
            continue;
        }
        last = status;
        before = KEYS;
        if (peat_iterator_damage(iterator, &range) != PEAT_OK)
            return status;
        status = peat_iterator_pass_damage(iterator);
    }
    return last;
}

static enum peat_status seeks_do(const struct peat_snapshot *snapshot, struct pt_dice *dice)
{
    struct peat_iterator *iterator;
    enum peat_status last = peat_iterator_open(snapshot, NULL, NULL, &iterator);

    if (last < 0)
        return last;
    for (unsigned i = 0; i < LOOKS; i++) {
        char name[KEY_SIZE + 1];
        struct peat_bytes key = key_of(name, place(dice, i));
        enum peat_status status;

        status = i % 2 == 0 ? steps_do(iterator, peat_iterator_seek(iterator, key),
                                       peat_iterator_next, STEPS)
                            : steps_do(iterator, peat_iterator_seek_before(iterator, key),
                                       peat_iterator_previous, STEPS);
        if (status >= 0) /* and back, the same way and further */
            status = i % 2 == 0 ? steps_do(iterator, peat_iterator_previous(iterator),
                                           peat_iterator_previous, 2 * STEPS)
                                : steps_do(iterator, peat_iterator_next(iterator),
                                           peat_iterator_next, 2 * STEPS);
        last = status < 0 ? status : last;
    }
    peat_iterator_close(iterator);
    return last;
}

static enum peat_status walk(const struct peat_snapshot *snapshot, const struct peat_range *range,
                             bool forward)
{
    struct peat_iterator *iterator;
    enum peat_status status = peat_iterator_open(snapshot, NULL, range, &iterator);

    if (status < 0)
        return status;
    status = forward
                 ? steps_do(iterator, peat_iterator_first(iterator), peat_iterator_next, KEYS)
                 : steps_do(iterator, peat_iterator_last(iterator), peat_iterator_previous, KEYS);
    peat_iterator_close(iterator);
    return status;
}

static enum peat_status walk_do(const struct peat_snapshot *snapshot, struct pt_dice *dice)
{
    (void)dice;
    return walk(snapshot, NULL, true);
}

static enum peat_status walk_back_do(const struct peat_snapshot *snapshot, struct pt_dice *dice)
{
    (void)dice;
    return walk(snapshot, NULL, false);
}

static enum peat_status parts_do(const struct peat_snapshot *snapshot, struct pt_dice *dice)
{
    enum peat_status last = PEAT_OK;

    for (unsigned i = 0; i < LOOKS / 2; i++) {
        char names[2][KEY_SIZE + 1];
        unsigned low = place(dice, i);
        struct peat_range range = {key_of(names[0], low), key_of(names[1], low + 3 * STEPS), 0};
        enum peat_status status = walk(snapshot, &range, i % 2 == 0);

        last = status < 0 ? status : last;
    }
    return last;
}

static enum peat_status many_do(const struct peat_snapshot *snapshot, struct pt_dice *dice)
{
    enum { MANY = 100 };
    char names[MANY][KEY_SIZE + 1];
    struct peat_bytes keys[MANY];
    struct peat_bytes values[MANY];
    unsigned numbers[MANY];
    enum peat_status status;

    for (unsigned i = 0; i < MANY; i++) {
        numbers[i] = place(dice, i);
        keys[i] = key_of(names[i], numbers[i]);
    }
    status = peat_get_many(snapshot, NULL, keys, MANY, values);
    PT_REQUIRE(is_expected(status));
    for (unsigned i = 0; i < MANY && status == PEAT_OK; i++) {
        PT_REQUIRE((values[i].data != NULL) == (now[numbers[i]] != 0));
        if (values[i].data != NULL)
            (void)require_right(now, keys[i], values[i]);
    }
    return status;
}

static enum peat_status digest_do(const struct peat_snapshot *snapshot, struct pt_dice *dice)
{
    uint8_t digest[32];

    (void)dice;
    return peat_digest(snapshot, NULL, NULL, digest, NULL);
}

struct look {
    const char *name;
    enum peat_status (*run)(const struct peat_snapshot *snapshot, struct pt_dice *dice);
};

static const struct look looks[] = {
    {"get", gets_do},         {"seek", seeks_do},
    {"walk", walk_do},        {"walk back", walk_back_do},
    {"walk parts", parts_do}, {"get many", many_do},
    {"digest", digest_do},
};
enum { LOOK_COUNT = sizeof(looks) / sizeof(looks[0]) };

/* ---- What goes on beside ---- */

static bool difference_seen(void *context, const struct peat_difference *difference)
{
    (void)context;
    if (difference->from.data != NULL)
        (void)require_right(kept, difference->key, difference->from);
    if (difference->to.data != NULL)
        (void)require_right(now, difference->key, difference->to);
    return true;
}

static enum peat_status diff_do(struct peat_db *db)
{
    struct peat_snapshot *from = NULL;
    struct peat_snapshot *to = NULL;
    enum peat_status status = peat_history_open(db, "kept", 0, &from);

    if (status == PEAT_OK)
        status = peat_snapshot_open(db, &to);
    if (status == PEAT_OK)
        status = peat_diff(from, to, NULL, difference_seen, NULL);
    peat_snapshot_close(to);
    peat_snapshot_close(from);
    return status;
}

static void finding_seen(void *context, const struct peat_finding *finding)
{
    (void)context;
    PT_REQUIRE(finding->what != NULL);
}

static enum peat_status check_do(struct peat_db *db)
{
    enum peat_status status = peat_check(db, finding_seen, NULL, NULL);

    return status == PEAT_CORRUPT ? PEAT_IO : status; /* what cannot be read is a finding */
}

static bool piece_taken(void *context, const void *data, size_t size)
{
    (void)context;
    return data != NULL && size > 0;
}

static enum peat_status backup_do(struct peat_db *db)
{
    struct peat_backup_options options;

    peat_backup_options_init(&options);
    options.write = piece_taken;
    return peat_backup(db, NULL, &options, NULL);
}

struct work {
    const char *name;
    enum peat_status (*run)(struct peat_db *db);
};

static const struct work works[] = {{"diff", diff_do}, {"check", check_do}, {"backup", backup_do}};
enum { WORK_COUNT = sizeof(works) / sizeof(works[0]) };

/* ---- Tests ---- */

/* From which time on that a block is asked for it fails, and how often. */
static const struct {
    uint64_t from;
    uint64_t count;
} times[] = {{0, UINT64_MAX}, {0, 1}, {1, 1}, {1, UINT64_MAX}, {2, UINT64_MAX}};
enum { TIMES = sizeof(times) / sizeof(times[0]), WAYS = 2 };

/* Of the ways in which @p block is tried: always, and one that its neighbours are not tried in. */
static void medium_fail_as(uint64_t block, unsigned way)
{
    uint64_t i = way == 0 ? 0 : 1 + block % (TIMES - 1);

    medium_fail(block, times[i].from, times[i].count);
}

static void medium_heal(void)
{
    atomic_store(&medium.fails, false);
    atomic_store(&medium.allocations_left, UINT64_MAX);
}

/* What could not be read can be now. */
static void require_all_shown(struct peat_db *db)
{
    struct peat_snapshot *snapshot;
    struct pt_dice dice = {seed};

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(gets_do(snapshot, &dice));
    PT_REQUIRE_OK(seeks_do(snapshot, &dice));
    peat_snapshot_close(snapshot);
}

/* One look through a handle that has read nothing yet; *short_out: an allocation failed that was to. */
static void look_do(const struct look *look, uint64_t block, unsigned way, uint64_t allocations,
                    bool *short_out)
{
    struct peat_db *db = store_open(PEAT_READ_ONLY);
    struct pt_dice dice = {pt_mix(seed + block)};
    struct peat_snapshot *snapshot;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    medium_fail_as(block, way);
    atomic_store(&medium.allocations_left, allocations);
    PT_REQUIRE(is_expected(look->run(snapshot, &dice)));
    *short_out = atomic_load(&medium.allocations_left) == UINT64_MAX;
    medium_heal();
    peat_snapshot_close(snapshot);
    require_all_shown(db);
    PT_REQUIRE_OK(peat_close(db));
}

static void each_look_shows_what_is_right_around_each_block(void **state)
{
    uint64_t blocks = block_count();
    bool was_short;
    (void)state;

    for (unsigned i = 0; i < LOOK_COUNT; i++)
        for (uint64_t block = 1; block < blocks; block++)
            for (unsigned k = 0; k < WAYS; k++) {
                pt_test_context("PEAT_SEED=%" PRIu64 ", %s, block %" PRIu64 ", way %u", seed,
                                looks[i].name, block, k);
                look_do(&looks[i], block, k, UINT64_MAX, &was_short);
            }
    pt_test_context("%s", "");
}

static void the_same_where_memory_is_short_as_well(void **state)
{
    uint64_t blocks = block_count();
    struct pt_dice dice = {seed};
    (void)state;

    for (unsigned i = 0; i < LOOK_COUNT; i++)
        for (uint64_t block = 1; block < blocks; block += 1 + pt_dice_below(&dice, 3)) {
            bool was_short = true;

            for (uint64_t left = 0; was_short && left < 60; left += 1 + left / 8) {
                pt_test_context("PEAT_SEED=%" PRIu64 ", %s, block %" PRIu64 ", allocation %" PRIu64,
                                seed, looks[i].name, block, left);
                look_do(&looks[i], block, 0, left, &was_short);
            }
        }
    pt_test_context("%s", "");
}

/* The kernel has no page to read into: nothing is lost then, and nothing is told as lost. */
static void medium_without_memory(uint64_t block)
{
    medium_fail(block, 0, UINT64_MAX);
    atomic_store(&medium.error_number, ENOMEM);
}

static void without_memory_to_read_into_it_says_so(void **state)
{
    uint64_t blocks = block_count();
    (void)state;

    for (uint64_t block = 1; block < blocks; block++)
        for (unsigned i = 0; i < LOOK_COUNT + WORK_COUNT; i++) {
            struct peat_db *db = store_open(PEAT_READ_ONLY);
            struct pt_dice dice = {pt_mix(seed + block)};
            struct peat_snapshot *snapshot;

            pt_test_context("PEAT_SEED=%" PRIu64 ", look or work %u, block %" PRIu64, seed, i,
                            block);
            PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
            medium_without_memory(block);
            PT_REQUIRE(is_expected(i < LOOK_COUNT ? looks[i].run(snapshot, &dice)
                                                  : works[i - LOOK_COUNT].run(db)));
            medium_heal();
            peat_snapshot_close(snapshot);
            require_all_shown(db);
            PT_REQUIRE_OK(peat_close(db));
        }
    pt_test_context("%s", "");
}

static void what_reads_all_says_that_it_cannot(void **state)
{
    uint64_t blocks = block_count();
    (void)state;

    for (unsigned i = 0; i < WORK_COUNT; i++)
        for (uint64_t block = 1; block < blocks; block++)
            for (unsigned k = 0; k < WAYS; k++) {
                struct peat_db *db = store_open(PEAT_READ_ONLY);

                pt_test_context("%s, block %" PRIu64 ", way %u", works[i].name, block, k);
                medium_fail_as(block, k);
                PT_REQUIRE(is_expected(works[i].run(db)));
                medium_heal();
                if (block % 8 == k)
                    PT_REQUIRE_OK(works[i].run(db));
                PT_REQUIRE_OK(peat_close(db));
            }
    pt_test_context("%s", "");
}

static void opening_says_so_or_opens_around_it(void **state)
{
    uint64_t blocks = block_count();
    (void)state;

    for (uint64_t block = 0; block < blocks; block++)
        for (unsigned k = 0; k < WAYS; k++) {
            struct peat_options options = options_of(PEAT_READ_ONLY);
            struct pt_dice dice = {seed};
            struct peat_snapshot *snapshot;
            struct peat_db *db;
            enum peat_status status;

            pt_test_context("block %" PRIu64 ", way %u", block, k);
            medium_fail_as(block, k);
            status = peat_open(store_path, &options, &db);
            if (status == PEAT_OK) {
                PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
                PT_REQUIRE(is_expected(gets_do(snapshot, &dice)));
                PT_REQUIRE(is_expected(seeks_do(snapshot, &dice)));
                peat_snapshot_close(snapshot);
                PT_REQUIRE_OK(peat_close(db));
            }
            PT_REQUIRE(is_expected(status));
            medium_heal();
        }
    pt_test_context("%s", "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_look_shows_what_is_right_around_each_block),
        cmocka_unit_test(the_same_where_memory_is_short_as_well),
        cmocka_unit_test(without_memory_to_read_into_it_says_so),
        cmocka_unit_test(what_reads_all_says_that_it_cannot),
        cmocka_unit_test(opening_says_so_or_opens_around_it),
    };
    static struct pt_file_calls calls;
    int failed;

    pt_test_start();
    seed = pt_test_seed();
    (void)snprintf(store_path, sizeof(store_path), "%s", pt_test_path("store"));
    calls = *pt_file_calls_real();
    calls.map = map_noted;
    calls.populate = populate_or_fail;
    calls.read = read_or_fail;
    pt_file_set_calls(&calls);
    atomic_store(&medium.allocations_left, UINT64_MAX);
    pt_alloc_set_hook(allocation_allowed);
    store_make();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_alloc_set_hook(NULL);
    pt_file_set_calls(NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

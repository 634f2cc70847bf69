/*
 * The property: whatever system call or allocation fails while one of the public calls goes on, the call says so
 * with words, or has done what it was to do; what it shows is right; and the store that is opened afterwards is
 * as it was before or as the call was to make it. Of damaged stores: what is shown is right, and they open.
 *
 * Each call is made again and again, and each time another position fails, once or from then on, until nothing
 * is left to fail. PEAT_SEED: which positions, of the later ones, are left out.
 */
#include "core/base/clock.h"

#include "tests/failing_calls.h"
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    KEYS = 240,
    NESTED = 1, /* the root is 0 */
    COLLECTIONS,
    SIZE_MAX_VALUE = 3000,
    NAME_SIZE = 32,
    LONG_KEY_SIZE = 200,
    PATH_SIZE = 512,
    SECTOR = 512,
    CLOCK_SPEED = 50, /* what is tried again after a second is tried again after 20 ms */
    POSITIONS_ALL =
        24, /* so many are tried, of those behind them fewer and fewer: PEAT_POSITIONS; */
    POSITIONS_LOG = 6, /* where there is much to replay */
    IDLE_MS = 600000,
    LOST_KEY = 130, /* of the root, in a damaged store */
    FDS_MAX = 256,
    RECORDS_MAX = 8,
    PARTS_MAX = 64,
    PIECE_SIZE = 40000, /* of a part: most come in several */
    FENCED_EPOCH = 5
};

/* What the keys of both collections show: the values' seeds; 0: there is none. */
struct state {
    uint64_t seeds[COLLECTIONS][KEYS];
};

static struct {
    char path[PATH_SIZE];
    char full[PATH_SIZE];      /* a full backup of it, */
    char increment[PATH_SIZE]; /* and an increment */
    char out[PATH_SIZE];
    uint8_t *image; /* the store as each run begins */
    size_t image_size;
    bool damaged;
    bool much_log;
    bool calls_fail;                         /* in this run */
    struct state now, kept;                  /* kept under the name "kept" */
    struct peat_db *db;                      /* NULL: it is closed */
    struct peat_record records[RECORDS_MAX]; /* what follows, of one commit; payloads are owned */
    size_t record_count;
    struct peat_bytes parts[PARTS_MAX]; /* of a state that is further on; owned */
    size_t part_count;
    uint8_t parts_digest[32]; /* of what it shows */
} stage;

static uint64_t seed; /* of the test */
static uint64_t positions_all;

/* ---- The store ---- */

static struct peat_bytes key_of(char name[NAME_SIZE], unsigned number)
{
    struct peat_bytes key = {name, (size_t)snprintf(name, NAME_SIZE, "key %04u", number)};

    return key;
}

static size_t size_of(uint64_t value)
{
    return value % 7 == 0 ? SIZE_MAX_VALUE : 50 + value % 200;
}

static struct peat_bytes value_of(uint8_t room[SIZE_MAX_VALUE], uint64_t value)
{
    pt_value_fill(value, room, size_of(value));
    return (struct peat_bytes){room, size_of(value)};
}

static struct peat_options options_of(unsigned flags)
{
    struct peat_options options = pt_test_options(flags);

    pt_test_options_tiny(&options);
    return options;
}

static enum peat_status store_open(unsigned flags, struct peat_db **db_out)
{
    struct peat_options options = options_of(flags);

    return peat_open(stage.path, &options, db_out);
}

static enum peat_status nested_open(struct peat_db *db, unsigned flags,
                                    struct peat_collection **collection_out)
{
    return peat_collection_open(db, NULL, "nested", flags, collection_out);
}

/* Every @p step-th key gets version @p version. */
static void keys_put(struct peat_batch *batch, struct peat_collection *nested, unsigned step,
                     unsigned version)
{
    for (unsigned i = 0; i < COLLECTIONS * KEYS; i += step) {
        uint64_t value = (uint64_t)version * 10000 + i + 1;
        uint8_t room[SIZE_MAX_VALUE];
        char name[NAME_SIZE];

        PT_REQUIRE_OK(peat_batch_put(batch, i / KEYS == NESTED ? nested : NULL,
                                     key_of(name, i % KEYS), value_of(room, value)));
        stage.now.seeds[i / KEYS][i % KEYS] = value;
    }
}

static void commit(struct peat_batch *batch)
{
    PT_REQUIRE_OK(peat_write(stage.db, batch, PEAT_OS, NULL));
    peat_batch_clear(batch);
}

static void range_delete(struct peat_batch *batch, unsigned low, unsigned high)
{
    char low_name[NAME_SIZE];
    char high_name[NAME_SIZE];

    PT_REQUIRE_OK(
        peat_batch_delete_range(batch, NULL, key_of(low_name, low), key_of(high_name, high)));
    for (unsigned i = low; i < high; i++)
        stage.now.seeds[0][i] = 0;
}

/* From now on the log is kept for a feed, and for a follower. */
static void feed_begin(void)
{
    struct peat_feed *feed;

    PT_REQUIRE_OK(peat_feed_open(stage.db, PEAT_FEED_NEXT, "held", PEAT_FEED_SEALS, &feed));
    peat_feed_close(feed);
}

/* Two collections, a kept state, two backups, range deletes; with @p log_pending, commits that are in
 * the log alone, and log that is kept for a feed. */
static void store_make(bool log_pending)
{
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_collection *nested;

    memset(&stage.now, 0, sizeof(stage.now));
    (void)unlink(stage.path);
    (void)unlink(stage.full);
    (void)unlink(stage.increment);
    PT_REQUIRE_OK(store_open(PEAT_CREATE, &stage.db));
    if (log_pending)
        feed_begin();
    PT_REQUIRE_OK(nested_open(stage.db, PEAT_CREATE, &nested));
    keys_put(batch, nested, 1, 1);
    commit(batch);
    PT_REQUIRE_OK(peat_wait_idle(stage.db, IDLE_MS));
    PT_REQUIRE_OK(pt_test_backup(stage.db, stage.full, NULL));
    PT_REQUIRE_OK(peat_snapshot_persist(stage.db, "kept", NULL));
    stage.kept = stage.now;
    keys_put(batch, nested, 3, 2);
    range_delete(batch, 40, 60);
    commit(batch);
    PT_REQUIRE_OK(peat_flush(stage.db));
    PT_REQUIRE_OK(pt_test_backup(stage.db, stage.increment, stage.full));
    keys_put(batch, nested, 5, 3);
    range_delete(batch, 100, 120);
    commit(batch);
    if (!log_pending)
        PT_REQUIRE_OK(peat_flush(stage.db));
    peat_collection_close(nested);
    PT_REQUIRE_OK(log_pending ? peat_abort(stage.db) : peat_close(stage.db));
    stage.db = NULL;
    peat_batch_free(batch);
}

static void image_take(void)
{
    int fd = open(stage.path, O_RDONLY | O_CLOEXEC);
    struct stat info;

    PT_REQUIRE(fd >= 0 && fstat(fd, &info) == 0);
    free(stage.image);
    stage.image_size = (size_t)info.st_size;
    stage.image = malloc(stage.image_size);
    PT_REQUIRE(stage.image != NULL &&
               read(fd, stage.image, stage.image_size) == (ssize_t)stage.image_size);
    (void)close(fd);
}

static void image_put(void)
{
    int fd = open(stage.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    PT_REQUIRE(fd >= 0 && write(fd, stage.image, stage.image_size) == (ssize_t)stage.image_size);
    (void)close(fd);
}

static void records_forget(void)
{
    for (size_t i = 0; i < stage.record_count; i++)
        free((void *)(uintptr_t)stage.records[i].payload.data);
    stage.record_count = 0;
}

static void record_take(const struct peat_record *record)
{
    uint8_t *payload = malloc(record->payload.size + 1);

    PT_REQUIRE(payload != NULL && stage.record_count < RECORDS_MAX);
    if (record->payload.size > 0)
        memcpy(payload, record->payload.data, record->payload.size);
    stage.records[stage.record_count] = *record;
    stage.records[stage.record_count++].payload.data = payload;
}

/* A primary goes on from the image: it puts each @p step-th key in that version, deletes those from @p low to @p high, and
 * flushes. What the stage says of the image stays. */
static void image_go_on(unsigned step, unsigned version, unsigned low, unsigned high)
{
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_collection *nested;
    struct state before = stage.now;

    PT_REQUIRE_OK(nested_open(stage.db, 0, &nested));
    keys_put(batch, nested, step, version);
    range_delete(batch, low, high);
    commit(batch);
    stage.now = before;
    PT_REQUIRE_OK(peat_flush(stage.db));
    peat_collection_close(nested);
    peat_batch_free(batch);
}

static void primary_give_up(void)
{
    PT_REQUIRE_OK(peat_abort(stage.db));
    stage.db = NULL;
}

/* What a primary that went on from the image would have a follower apply: a commit, and the seal of a flush. */
static void records_make(void)
{
    struct peat_record record;
    struct peat_feed *feed;

    records_forget();
    image_put();
    PT_REQUIRE_OK(store_open(0, &stage.db));
    PT_REQUIRE_OK(peat_feed_open(stage.db, PEAT_FEED_NEXT, NULL, PEAT_FEED_SEALS, &feed));
    image_go_on(4, 9, 70, 80);
    while (peat_feed_next(feed, 0, &record) == PEAT_OK)
        record_take(&record);
    PT_REQUIRE(stage.record_count == 2);
    peat_feed_close(feed);
    primary_give_up();
}

static enum peat_status digest_of(struct peat_db *db, uint8_t digest[32])
{
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_snapshot_open(db, &snapshot);

    if (status < 0)
        return status;
    status = peat_digest(snapshot, NULL, NULL, digest, NULL);
    peat_snapshot_close(snapshot);
    return status;
}

static void parts_forget(void)
{
    for (size_t i = 0; i < stage.part_count; i++)
        free((void *)(uintptr_t)stage.parts[i].data);
    stage.part_count = 0;
}

static struct peat_bytes part_read(struct peat_seed *seed_of, uint64_t part)
{
    uint8_t *copy = NULL;
    struct peat_bytes bytes;
    uint64_t size = 1;

    for (uint64_t done = 0; done < size; done += bytes.size) {
        PT_REQUIRE_OK(peat_seed_read(seed_of, part, done, PIECE_SIZE, &bytes, &size));
        copy = copy == NULL ? malloc(size) : copy;
        PT_REQUIRE(copy != NULL);
        memcpy(copy + done, bytes.data, bytes.size);
    }
    return (struct peat_bytes){copy, size};
}

/* What a primary that went on from the image would hand out to a follower. */
static void parts_make(void)
{
    struct peat_seed_info about;
    struct peat_seed *given;

    parts_forget();
    image_put();
    PT_REQUIRE_OK(store_open(0, &stage.db));
    image_go_on(2, 8, 60, 70);
    PT_REQUIRE_OK(digest_of(stage.db, stage.parts_digest));
    PT_REQUIRE_OK(peat_seed_open(stage.db, &given));
    peat_seed_about(given, &about);
    PT_REQUIRE(about.part_count > 1 && about.part_count <= PARTS_MAX);
    for (; stage.part_count < about.part_count; stage.part_count++)
        stage.parts[stage.part_count] = part_read(given, stage.part_count);
    peat_seed_close(given);
    primary_give_up();
}

/* The sectors that have the beginning of this key's value. */
static void image_damage(uint64_t value)
{
    uint8_t room[SIZE_MAX_VALUE];
    struct peat_bytes bytes = value_of(room, value);
    uint8_t *place = stage.image;
    unsigned found = 0;

    while ((place = memmem(place, stage.image_size - (size_t)(place - stage.image), bytes.data,
                           bytes.size)) != NULL) {
        memset(stage.image + (size_t)(place - stage.image) / SECTOR * SECTOR, 0x5a, SECTOR);
        place++;
        found++;
    }
    PT_REQUIRE(found > 0);
}

/* ---- Looks, which require that what they see is right ---- */

static void require_right(const struct state *state, unsigned collection, struct peat_bytes key,
                          struct peat_bytes value)
{
    char name[NAME_SIZE] = {0};
    unsigned number;

    PT_REQUIRE(key.size == strlen("key 0000"));
    memcpy(name, key.data, key.size);
    number = (unsigned)strtoul(name + 4, NULL, 10);
    PT_REQUIRE(number < KEYS && state->seeds[collection][number] != 0);
    PT_REQUIRE(value.size == size_of(state->seeds[collection][number]) &&
               pt_value_matches(state->seeds[collection][number], value));
}

/* After a positioning call: what is there, and past damage to the next, until the end. */
static enum peat_status walk(struct peat_iterator *iterator, enum peat_status status,
                             enum peat_status (*step)(struct peat_iterator *),
                             const struct state *state, unsigned collection, unsigned *count)
{
    while (status == PEAT_OK || (status == PEAT_CORRUPT && stage.damaged)) {
        if (status == PEAT_CORRUPT) {
            struct peat_range range;

            if (peat_iterator_damage(iterator, &range) != PEAT_OK)
                return status;
            status = peat_iterator_pass_damage(iterator);
            continue;
        }
        require_right(state, collection, peat_iterator_key(iterator),
                      peat_iterator_value(iterator));
        (*count)++;
        status = step(iterator);
    }
    return status;
}

static unsigned count_of(const struct state *state, unsigned collection)
{
    unsigned count = 0;

    for (unsigned i = 0; i < KEYS; i++)
        count += state->seeds[collection][i] != 0;
    return count;
}

static enum peat_status walks(struct peat_iterator *iterator, const struct state *state,
                              unsigned collection)
{
    unsigned forward = 0;
    unsigned back = 0;
    unsigned rest = 0;
    char name[NAME_SIZE];
    enum peat_status status = walk(iterator, peat_iterator_first(iterator), peat_iterator_next,
                                   state, collection, &forward);

    if (status >= 0)
        status = walk(iterator, peat_iterator_last(iterator), peat_iterator_previous, state,
                      collection, &back);
    if (status >= 0)
        status = walk(iterator, peat_iterator_seek(iterator, key_of(name, KEYS / 2)),
                      peat_iterator_next, state, collection, &rest);
    if (status >= 0)
        status = walk(iterator, peat_iterator_seek_before(iterator, key_of(name, KEYS / 2)),
                      peat_iterator_previous, state, collection, &rest);
    if (status >= 0 && !stage.damaged)
        PT_REQUIRE(forward == count_of(state, collection) && back == forward && rest >= forward);
    return status;
}

static enum peat_status iterate(const struct peat_snapshot *snapshot,
                                struct peat_collection *collection, const struct state *state)
{
    struct peat_iterator *iterator;
    enum peat_status status = peat_iterator_open(snapshot, collection, NULL, &iterator);

    if (status < 0)
        return status;
    status = walks(iterator, state, collection == NULL ? 0 : NESTED);
    peat_iterator_close(iterator);
    return status;
}

static enum peat_status get_each(const struct peat_snapshot *snapshot,
                                 struct peat_collection *collection, const struct state *state)
{
    unsigned which = collection == NULL ? 0 : NESTED;

    for (unsigned i = 0; i < KEYS; i++) {
        char name[NAME_SIZE];
        struct peat_bytes value;
        enum peat_status status = peat_get(snapshot, collection, key_of(name, i), &value);

        if (status == PEAT_CORRUPT && stage.damaged)
            continue;
        if (status < 0)
            return status;
        PT_REQUIRE((status == PEAT_OK) == (state->seeds[which][i] != 0));
        if (status == PEAT_OK)
            require_right(state, which, key_of(name, i), value);
    }
    return PEAT_OK;
}

static enum peat_status get_many(const struct peat_snapshot *snapshot,
                                 struct peat_collection *collection, const struct state *state)
{
    unsigned which = collection == NULL ? 0 : NESTED;
    char names[KEYS][NAME_SIZE];
    struct peat_bytes keys[KEYS];
    struct peat_bytes values[KEYS];
    enum peat_status status;

    for (unsigned i = 0; i < KEYS; i++)
        keys[i] = key_of(names[i], i);
    status = peat_get_many(snapshot, collection, keys, KEYS, values);
    for (unsigned i = 0; i < KEYS && status == PEAT_OK; i++) {
        PT_REQUIRE((values[i].data != NULL) == (state->seeds[which][i] != 0));
        if (values[i].data != NULL)
            require_right(state, which, keys[i], values[i]);
    }
    return status;
}

/* By every way to look at a collection. */
static enum peat_status look_at(const struct peat_snapshot *snapshot,
                                struct peat_collection *collection, const struct state *state)
{
    enum peat_status status = get_each(snapshot, collection, state);

    if (status >= 0)
        status = iterate(snapshot, collection, state);
    if (status >= 0)
        status = get_many(snapshot, collection, state);
    return status;
}

static bool name_seen(void *context, const char *name)
{
    (void)context;
    PT_REQUIRE(strcmp(name, "nested") == 0);
    return true;
}

static enum peat_status snapshot_look(const struct peat_snapshot *snapshot,
                                      const struct state *state)
{
    struct peat_collection *nested = NULL;
    enum peat_status status = peat_collection_list(snapshot, NULL, name_seen, NULL);

    if (status >= 0)
        status = peat_collection_open_at(snapshot, NULL, "nested", &nested);
    if (status >= 0)
        status = look_at(snapshot, NULL, state);
    if (status >= 0)
        status = look_at(snapshot, nested, state);
    peat_collection_close(nested);
    return status;
}

/* ---- The calls ---- */

static enum peat_status look_do(void)
{
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_snapshot_open(stage.db, &snapshot);

    if (status < 0)
        return status;
    status = snapshot_look(snapshot, &stage.now);
    peat_snapshot_close(snapshot);
    return status;
}

static enum peat_status kept_look_do(void)
{
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_history_open(stage.db, "kept", 0, &snapshot);

    if (status != PEAT_OK)
        return status;
    status = snapshot_look(snapshot, &stage.kept);
    peat_snapshot_close(snapshot);
    return status;
}

/* Walks by themselves: what they come across first, nothing has read before. */
static enum peat_status walk_only(enum peat_status (*start)(struct peat_iterator *iterator),
                                  enum peat_status (*step)(struct peat_iterator *iterator))
{
    struct peat_iterator *iterator = NULL;
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_snapshot_open(stage.db, &snapshot);
    unsigned count = 0;

    if (status < 0)
        return status;
    status = peat_iterator_open(snapshot, NULL, NULL, &iterator);
    peat_snapshot_close(snapshot);
    if (status >= 0)
        status = walk(iterator, start(iterator), step, &stage.now, 0, &count);
    peat_iterator_close(iterator);
    return status;
}

static enum peat_status walk_do(void)
{
    return walk_only(peat_iterator_first, peat_iterator_next);
}

static enum peat_status walk_back_do(void)
{
    return walk_only(peat_iterator_last, peat_iterator_previous);
}

/* To a key that is lost in a damaged store, and on. */
static enum peat_status seek_lost(struct peat_iterator *iterator)
{
    char name[NAME_SIZE];

    return peat_iterator_seek(iterator, key_of(name, LOST_KEY));
}

static enum peat_status seek_before_lost(struct peat_iterator *iterator)
{
    char name[NAME_SIZE];

    return peat_iterator_seek_before(iterator, key_of(name, LOST_KEY));
}

static enum peat_status seek_do(void)
{
    return walk_only(seek_lost, peat_iterator_next);
}

static enum peat_status seek_before_do(void)
{
    return walk_only(seek_before_lost, peat_iterator_previous);
}

static enum peat_status get_copy_do(void)
{
    enum peat_status status = PEAT_OK;

    for (unsigned i = 0; i < KEYS && status >= 0; i += 7) {
        uint8_t room[SIZE_MAX_VALUE];
        char name[NAME_SIZE];
        size_t size;

        status = peat_get_copy(stage.db, NULL, key_of(name, i), room, sizeof(room), &size);
        if (status == PEAT_OK)
            require_right(&stage.now, 0, key_of(name, i), (struct peat_bytes){room, size});
    }
    return status;
}

/* Keys that have no room in place. None of them is there. */
static struct peat_bytes long_key(char room[LONG_KEY_SIZE], char letter)
{
    memset(room, letter, LONG_KEY_SIZE);
    return (struct peat_bytes){room, LONG_KEY_SIZE};
}

/* All keys are on one side of @p key: behind it (@p behind), or before it. */
static enum peat_status long_walk(struct peat_iterator *iterator, struct peat_bytes key,
                                  bool behind)
{
    unsigned all = count_of(&stage.now, 0);
    unsigned forward = 0;
    unsigned back = 0;
    enum peat_status status = walk(iterator, peat_iterator_seek(iterator, key), peat_iterator_next,
                                   &stage.now, 0, &forward);

    if (status >= 0)
        status = walk(iterator, peat_iterator_seek_before(iterator, key), peat_iterator_previous,
                      &stage.now, 0, &back);
    if (status >= 0 && !stage.damaged)
        PT_REQUIRE(forward == (behind ? all : 0) && back == (behind ? 0 : all));
    return status;
}

static enum peat_status long_keys_do(void)
{
    char rooms[2][LONG_KEY_SIZE];
    struct peat_bytes keys[] = {long_key(rooms[0], 'a'), long_key(rooms[1], 'z')};
    struct peat_range range = {keys[0], keys[1], 0};
    struct peat_bytes values[2];
    struct peat_iterator *iterator = NULL;
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_snapshot_open(stage.db, &snapshot);

    if (status < 0)
        return status;
    status = peat_get(snapshot, NULL, keys[0], &values[0]);
    if (status >= 0)
        status = peat_get_many(snapshot, NULL, keys, 2, values);
    if (status >= 0)
        status = peat_iterator_open(snapshot, NULL, &range, &iterator);
    if (status >= 0)
        status = long_walk(iterator, keys[0], true);
    if (status >= 0)
        status = long_walk(iterator, keys[1], false);
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
    return status;
}

/* With segments that a snapshot alone still shows. Without memory some sums are left at 0. */
static enum peat_status stats_do(void)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_snapshot_open(stage.db, &snapshot);

    if (status < 0)
        return status;
    status = peat_compact(stage.db, NULL, NULL, NULL, NULL);
    if (status >= 0)
        status = peat_stats_get(stage.db, &stats);
    peat_snapshot_close(snapshot);
    return status;
}

static bool difference_seen(void *context, const struct peat_difference *difference)
{
    unsigned collection = *(const unsigned *)context;

    if (difference->from.data != NULL)
        require_right(&stage.kept, collection, difference->key, difference->from);
    if (difference->to.data != NULL)
        require_right(&stage.now, collection, difference->key, difference->to);
    return true;
}

static enum peat_status diff_do(void)
{
    struct peat_snapshot *from = NULL;
    struct peat_snapshot *to = NULL;
    struct peat_collection *nested = NULL;
    enum peat_status status = peat_history_open(stage.db, "kept", 0, &from);

    if (status >= 0)
        status = peat_snapshot_open(stage.db, &to);
    if (status >= 0)
        status = nested_open(stage.db, 0, &nested);
    for (unsigned i = 0; i < COLLECTIONS && status >= 0; i++)
        status = peat_diff(from, to, i == NESTED ? nested : NULL, difference_seen, &i);
    peat_collection_close(nested);
    peat_snapshot_close(to);
    peat_snapshot_close(from);
    return status;
}

static enum peat_status put_do(void)
{
    return peat_put(stage.db, NULL, pt_text("key 0000"), pt_text("new"));
}

/* Too large for the caller's stack. */
static enum peat_status put_large_do(void)
{
    uint8_t room[SIZE_MAX_VALUE] = {0};

    return peat_put(stage.db, NULL, pt_text("key 0001"), (struct peat_bytes){room, sizeof(room)});
}

static enum peat_status batch_write_do(void)
{
    struct peat_batch *batch = peat_batch_new(100);
    struct peat_collection *nested = NULL;
    enum peat_status status = batch == NULL ? PEAT_NO_MEMORY : nested_open(stage.db, 0, &nested);
    void *room;

    if (status >= 0)
        status = peat_batch_put_reserve(batch, nested, pt_text("key 0001"), 30000, &room);
    if (status >= 0) {
        pt_value_fill(1, room, 30000);
        status = peat_batch_delete(batch, NULL, pt_text("key 0002"));
    }
    if (status >= 0)
        status = peat_batch_delete_range(batch, nested, pt_text("key 0010"), pt_text("key 0020"));
    if (status >= 0)
        status = peat_write(stage.db, batch, PEAT_DISK, NULL);
    peat_collection_close(nested);
    peat_batch_free(batch);
    return status;
}

static enum peat_status create_do(void)
{
    struct peat_collection *collection = NULL;
    enum peat_status status =
        peat_collection_open(stage.db, NULL, "another", PEAT_CREATE, &collection);

    peat_collection_close(collection);
    return status;
}

static enum peat_status drop_do(void)
{
    struct peat_collection *nested;
    enum peat_status status = nested_open(stage.db, 0, &nested);

    if (status < 0)
        return status;
    status = peat_collection_drop(stage.db, nested);
    peat_collection_close(nested);
    return status;
}

static bool kept_seen(void *context, const struct peat_history_entry *entry)
{
    (void)context;
    (void)entry;
    return true;
}

static enum peat_status persist_do(void)
{
    enum peat_status status = peat_snapshot_persist(stage.db, "another", NULL);

    return status < 0 ? status : peat_history_list(stage.db, kept_seen, NULL);
}

static enum peat_status history_drop_do(void)
{
    return peat_history_drop(stage.db, "kept", 0);
}

static enum peat_status revert_do(void)
{
    return peat_revert(stage.db, "kept", 0, NULL);
}

static enum peat_status flush_do(void)
{
    enum peat_status status = put_do();

    return status < 0 ? status : peat_flush(stage.db);
}

static enum peat_status sync_do(void)
{
    enum peat_status status = put_do();

    return status < 0 ? status : peat_sync(stage.db);
}

static enum peat_status compact_do(void)
{
    return peat_compact(stage.db, NULL, NULL, NULL, NULL);
}

static enum peat_status compact_part_do(void)
{
    const struct peat_range range = {.low = pt_text("key 0030"), .high = pt_text("key 0110")};
    struct peat_collection *nested = NULL;
    enum peat_status status = nested_open(stage.db, 0, &nested);

    if (status >= 0)
        status = peat_compact(stage.db, nested, &range, NULL, NULL);
    peat_collection_close(nested);
    return status < 0 ? status : peat_compact(stage.db, NULL, &range, NULL, NULL);
}

/* What cannot be read is a finding, too. */
static void finding_seen(void *context, const struct peat_finding *finding)
{
    (void)context;
    PT_REQUIRE(finding->what != NULL && (stage.damaged || stage.calls_fail));
}

static enum peat_status check_do(void)
{
    return peat_check(stage.db, finding_seen, NULL, NULL);
}

static enum peat_status digest_do(void)
{
    uint8_t digest[32];

    return digest_of(stage.db, digest);
}

static enum peat_status backup_do(void)
{
    return pt_test_backup(stage.db, stage.out, NULL);
}

/* Of a state whose place in the log is to be found in the file. */
static enum peat_status kept_backup_do(void)
{
    struct peat_snapshot *snapshot;
    struct peat_backup_options options;
    enum peat_status status = peat_history_open(stage.db, "kept", 0, &snapshot);

    if (status < 0)
        return status;
    peat_backup_options_init(&options);
    options.path = stage.out;
    status = peat_backup(stage.db, snapshot, &options, NULL);
    peat_snapshot_close(snapshot);
    return status;
}

/* In place of a file that is there. */
static enum peat_status replacement_do(void)
{
    int fd = open(stage.out, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct peat_backup_options options;

    PT_REQUIRE(fd >= 0 && close(fd) == 0);
    peat_backup_options_init(&options);
    options.path = stage.out;
    options.flags = PEAT_REPLACE;
    return peat_backup(stage.db, NULL, &options, NULL);
}

static enum peat_status increment_do(void)
{
    return pt_test_backup(stage.db, stage.out, stage.full);
}

static bool piece_taken(void *context, const void *data, size_t size)
{
    (void)context;
    (void)data;
    (void)size;
    return true;
}

static enum peat_status stream_do(void)
{
    struct peat_backup_options options;

    peat_backup_options_init(&options);
    options.write = piece_taken;
    return peat_backup(stage.db, NULL, &options, NULL);
}

static enum peat_status restore_do(void)
{
    const char *chain[] = {stage.full, stage.increment};

    return peat_restore(stage.out, chain, 2, NULL, NULL, NULL);
}

static enum peat_status inspect_do(void)
{
    struct peat_backup_info info = {.struct_size = sizeof(info)};

    return peat_backup_inspect(stage.increment, &info);
}

static void lost_seen(void *context, const struct peat_lost *lost)
{
    (void)context;
    (void)lost;
}

static enum peat_status salvage_do(void)
{
    struct peat_salvage_info info = {.struct_size = sizeof(info)};
    struct peat_salvage_options options;

    peat_salvage_options_init(&options);
    options.lost = lost_seen;
    return peat_salvage(stage.path, stage.out, &options, &info);
}

static enum peat_status open_do(void)
{
    struct peat_db *db;
    enum peat_status status = store_open(0, &db);

    return status < 0 ? status : peat_close(db);
}

static enum peat_status open_by_write_do(void)
{
    struct peat_db *db;
    enum peat_status status = store_open(PEAT_LOG_PWRITE, &db);

    if (status < 0)
        return status;
    status = peat_put(db, NULL, pt_text("key 0000"), pt_text("new"));
    return status < 0 ? (void)peat_abort(db), status : peat_close(db);
}

static enum peat_status make_do(void)
{
    struct peat_options options = options_of(PEAT_CREATE | PEAT_EXCLUSIVE);
    struct peat_db *db;
    enum peat_status status = peat_open(stage.out, &options, &db);

    return status < 0 ? status : peat_close(db);
}

static enum peat_status memory_do(void)
{
    struct peat_options options = options_of(PEAT_CREATE);
    struct peat_db *db;
    enum peat_status status = peat_open(NULL, &options, &db);

    if (status < 0)
        return status;
    status = peat_put(db, NULL, pt_text("a"), pt_text("b"));
    return status < 0 ? (void)peat_abort(db), status : peat_close(db);
}

/* A reader, beside a store that is open for writing or not. */
static enum peat_status reader_do(void)
{
    struct peat_db *writer = stage.db;
    enum peat_status status = store_open(PEAT_READ_ONLY, &stage.db);

    if (status >= 0) {
        status = look_do();
        if (status >= 0)
            status = peat_refresh(stage.db);
        if (status >= 0)
            status = peat_wait_commit(stage.db, 1, 0, NULL);
        if (status >= 0)
            status = kept_look_do();
        (void)peat_close(stage.db);
    }
    stage.db = writer;
    return status;
}

/* A reader follows the writer, which changes everything about the store but what it shows. */
static enum peat_status refresh_do(void)
{
    struct peat_db *writer = stage.db;
    enum peat_status status = store_open(PEAT_READ_ONLY, &stage.db);
    enum peat_status written;

    if (status < 0) {
        stage.db = writer;
        return status;
    }
    written = peat_snapshot_persist(writer, "another", NULL);
    if (written >= 0)
        written = peat_history_drop(writer, "another", 0);
    if (written >= 0)
        written = peat_delete(writer, NULL, pt_text("not there"));
    status = peat_refresh(stage.db);
    if (status >= 0)
        status = look_do();
    (void)peat_close(stage.db);
    stage.db = writer;
    return status < 0 ? status : written;
}

static bool feed_seen(void *context, const struct peat_feed_info *info)
{
    (void)context;
    (void)info;
    return true;
}

/* A feed is made, read and dropped; one in a process that only reads sees the same. */
static enum peat_status feed_do(void)
{
    struct peat_record record;
    struct peat_feed *feed = NULL;
    enum peat_status status = peat_feed_open(stage.db, PEAT_FEED_NEXT, "feed", 0, &feed);

    if (status == PEAT_OK)
        status = put_do();
    if (status == PEAT_OK)
        status = peat_feed_next(feed, 0, &record);
    if (status == PEAT_OK)
        status = peat_feed_acknowledge(feed, record.commit);
    if (status == PEAT_OK)
        status = peat_feed_list(stage.db, feed_seen, NULL);
    peat_feed_close(feed);
    return status == PEAT_OK ? peat_feed_drop(stage.db, "feed") : status;
}

static enum peat_status reader_feed_do(void)
{
    struct peat_record record;
    struct peat_feed *feed = NULL;
    struct peat_db *db;
    enum peat_status status = store_open(PEAT_READ_ONLY, &db);

    if (status != PEAT_OK)
        return status;
    status = peat_feed_open(db, PEAT_FEED_OLDEST, NULL, 0, &feed);
    while (status == PEAT_OK)
        status = peat_feed_next(feed, 0, &record);
    peat_feed_close(feed);
    PT_REQUIRE_OK(peat_close(db));
    return status == PEAT_TIMEOUT ? PEAT_OK : status;
}

/* What is kept of the log for a feed. PEAT_NOT_FOUND: nothing is. */
static enum peat_status held_feed_do(void)
{
    struct peat_record record;
    struct peat_feed *feed = NULL;
    enum peat_status status =
        peat_feed_open(stage.db, PEAT_FEED_ACKNOWLEDGED, "held", PEAT_FEED_SEALS, &feed);

    while (status == PEAT_OK)
        status = peat_feed_next(feed, 0, &record);
    peat_feed_close(feed);
    return status == PEAT_TIMEOUT ? PEAT_OK : status;
}

/* A name that was there begins anew: what was kept for it goes with the next install. */
static enum peat_status move_feed_do(void)
{
    struct peat_feed *feed = NULL;
    enum peat_status status = peat_feed_open(stage.db, PEAT_FEED_NEXT, "held", 0, &feed);

    peat_feed_close(feed);
    return status;
}

/* A follower goes on from the store, shows where it has come to, and has what it took in a segment. */
static enum peat_status apply_do(void)
{
    struct peat_position position;
    enum peat_status status = store_open(PEAT_FOLLOWER, &stage.db);

    if (status < 0)
        return status;
    status = peat_apply(stage.db, stage.records, stage.record_count, PEAT_DISK, NULL);
    if (status <
        0) /* what failed once may be applied again, or the store says that it is to be reopened */
        status = peat_apply(stage.db, stage.records, stage.record_count, PEAT_DISK, NULL);
    if (status == PEAT_OK)
        status = peat_position_get(stage.db, &position);
    if (status == PEAT_OK)
        PT_REQUIRE(position.commit == stage.records[0].commit);
    if (status == PEAT_OK)
        status = peat_wait_commit(stage.db, position.commit, 0, NULL);
    return status == PEAT_OK ? peat_flush(stage.db) : status;
}

/* A follower becomes a primary, and takes a commit. */
static enum peat_status promote_do(void)
{
    enum peat_status status = store_open(PEAT_FOLLOWER, &stage.db);
    enum peat_role role;

    if (status < 0)
        return status;
    status = peat_promote(stage.db, 0, NULL);
    if (status == PEAT_NO_MEMORY) /* it is a follower as before */
        status = peat_promote(stage.db, 0, NULL);
    if (status < 0)
        return status;
    PT_REQUIRE_OK(peat_role_get(stage.db, &role));
    PT_REQUIRE(role == PEAT_ROLE_PRIMARY);
    return put_do();
}

static enum peat_status fence_do(void)
{
    enum peat_status status = peat_fence(stage.db, FENCED_EPOCH);

    if (status < 0) /* it is in effect, and is to be durable yet */
        status = peat_fence(stage.db, FENCED_EPOCH);
    PT_REQUIRE_STATUS(put_do(), PEAT_FENCED);
    if (status < 0)
        return status;
    PT_REQUIRE_OK(peat_abort(stage.db));
    stage.db = NULL;
    status = store_open(0, &stage.db);
    if (status == PEAT_OK)
        PT_REQUIRE_STATUS(put_do(), PEAT_FENCED);
    return status;
}

static enum peat_status seed_do(void)
{
    struct peat_seed_info about = {.part_count = 0};
    struct peat_seed *given;
    struct peat_bytes bytes;
    enum peat_status status = peat_seed_open(stage.db, &given);

    if (status == PEAT_OK)
        peat_seed_about(given, &about);
    for (uint64_t part = 0; part < about.part_count && status == PEAT_OK; part++) {
        uint64_t size = 1;

        for (uint64_t done = 0; done < size && status == PEAT_OK; done += bytes.size)
            status = peat_seed_read(given, part, done, PIECE_SIZE, &bytes, &size);
    }
    peat_seed_close(given);
    return status;
}

static void damage_seen(void *context, const struct peat_finding *finding)
{
    (void)context;
    PT_REQUIRE(finding->what[0] != '\0' && (stage.damaged || stage.calls_fail));
}

/* All of the state that is asked for. */
static enum peat_status parts_write(struct peat_seeding *seeding)
{
    enum peat_status status = PEAT_OK;
    struct peat_seed_range range;

    while (status == PEAT_OK && peat_seeding_next(seeding, PIECE_SIZE, &range)) {
        struct peat_bytes part = stage.parts[range.part];

        PT_REQUIRE(range.offset < part.size);
        if (range.size > part.size - range.offset)
            range.size = part.size - range.offset;
        status = peat_seeding_write(
            seeding, range.part, range.offset, part.size,
            (struct peat_bytes){(const uint8_t *)part.data + range.offset, range.size});
    }
    return status;
}

/* What has failed once may be begun anew, or the store says that it is to be reopened. */
static enum peat_status parts_take(struct peat_seeding *seeding)
{
    enum peat_status status = parts_write(seeding);

    if (status < 0) {
        peat_seeding_restart(seeding);
        status = parts_write(seeding);
    }
    if (status != PEAT_DONE)
        return status;
    status = peat_seeding_finish(seeding);
    return status == PEAT_NO_MEMORY ? peat_seeding_finish(seeding) : status;
}

/* A follower that looks for damage takes a state, in place of its own, which is not as far. */
static enum peat_status take_do(void)
{
    struct peat_seeding *seeding = NULL;
    uint8_t digest[32];
    uint64_t count;
    enum peat_status status = store_open(PEAT_FOLLOWER, &stage.db);

    if (status == PEAT_OK)
        status = peat_seeding_open(stage.db, &seeding);
    if (status == PEAT_OK)
        status = peat_seeding_heal(seeding, damage_seen, NULL, NULL, &count);
    if (status == PEAT_OK)
        status = parts_take(seeding);
    peat_seeding_close(seeding);
    if (status == PEAT_OK)
        status = digest_of(stage.db, digest);
    if (status == PEAT_OK)
        PT_REQUIRE(memcmp(digest, stage.parts_digest, sizeof(digest)) == 0);
    return status;
}

/* A follower leaves its history for the kept state. */
static enum peat_status retreat_do(void)
{
    enum peat_status status = store_open(PEAT_FOLLOWER, &stage.db);

    if (status == PEAT_OK)
        status = peat_snapshot_persist(stage.db, "left", NULL);
    if (status != PEAT_OK)
        return status;
    status = peat_retreat(stage.db, UINT64_MAX, "left", NULL);
    return status == PEAT_NO_MEMORY ? peat_retreat(stage.db, UINT64_MAX, "left", NULL) : status;
}

/* ---- Runs ---- */

struct act {
    const char *name;
    enum peat_status (*run)(void);
    bool on_closed;     /* the store is not open */
    bool in_any_thread; /* what the store's threads call and allocate may fail, too */
    bool makes_file;    /* stage.out, if it is done, and none otherwise */
    bool reads_log;     /* and little else */
};

static const struct act acts[] = {
    {"look", look_do, false, false, false, false},
    {"walk", walk_do, false, false, false, false},
    {"walk back", walk_back_do, false, false, false, false},
    {"seek", seek_do, false, false, false, false},
    {"seek before", seek_before_do, false, false, false, false},
    {"look at a kept state", kept_look_do, false, false, false, false},
    {"get by copying", get_copy_do, false, false, false, false},
    {"get and seek long keys", long_keys_do, false, false, false, false},
    {"count what is there", stats_do, false, false, false, false},
    {"diff", diff_do, false, false, false, false},
    {"check", check_do, false, false, false, false},
    {"digest", digest_do, false, false, false, false},
    {"back up", backup_do, false, false, true, false},
    {"back up a kept state", kept_backup_do, false, false, true, false},
    {"back up in place of a file", replacement_do, false, false, false, false},
    {"back up as an increment", increment_do, false, false, true, false},
    {"back up as a stream", stream_do, false, false, false, false},
    {"restore", restore_do, true, false, true, false},
    {"inspect", inspect_do, true, false, false, false},
    {"salvage", salvage_do, true, true, true, true},
    {"read beside a writer", reader_do, false, false, false, false},
    {"read", reader_do, true, false, false, true},
    {"follow a writer", refresh_do, false, false, false, false},
    {"put", put_do, false, false, false, false},
    {"put a large value", put_large_do, false, false, false, false},
    {"write a batch", batch_write_do, false, true, false, false},
    {"create a collection", create_do, false, false, false, false},
    {"drop a collection", drop_do, false, false, false, false},
    {"keep a state", persist_do, false, true, false, false},
    {"feed", feed_do, false, true, false, false},
    {"feed in a reader", reader_feed_do, false, false, false, false},
    {"read what is kept for a feed", held_feed_do, false, false, false, false},
    {"have a feed begin anew", move_feed_do, false, true, false, false},
    {"apply", apply_do, true, true, false, false},
    {"promote", promote_do, true, true, false, false},
    {"fence", fence_do, false, true, false, false},
    {"hand out a state", seed_do, false, true, false, false},
    {"take a state", take_do, true, true, false, false},
    {"go back to a kept state", retreat_do, true, true, false, false},
    {"drop a kept state", history_drop_do, false, true, false, false},
    {"revert", revert_do, false, true, false, false},
    {"sync", sync_do, false, true, false, false},
    {"flush", flush_do, false, true, false, false},
    {"compact", compact_do, false, true, false, false},
    {"compact a part", compact_part_do, false, true, false, false},
    {"open", open_do, true, true, false, true},
    {"open, to write with calls", open_by_write_do, true, true, false, true},
    {"make a store", make_do, true, true, false, false},
    {"make one in memory", memory_do, true, true, false, false},
};
enum { ACT_COUNT = sizeof(acts) / sizeof(acts[0]) };

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Nothing is left behind: no file that is not whole, no descriptor. */
static unsigned fds_open(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < FDS_MAX; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* The store is opened, by whom nothing fails any more. */
static void digest_afterwards(uint8_t digest[32])
{
    struct peat_snapshot *kept;
    struct peat_db *db;
    enum peat_status status;

    memset(digest, 0, 32);
    status = store_open(0, &db);
    if (status == PEAT_NOT_WRITABLE) /* it remembers that it was a follower */
        status = store_open(PEAT_FOLLOWER, &db);
    PT_REQUIRE_OK(status);
    if (!stage.damaged) {
        PT_REQUIRE_OK(digest_of(db, digest));
        status = peat_history_open(db, "kept", 0, &kept);
        PT_REQUIRE(status == PEAT_OK || status == PEAT_NOT_FOUND); /* it was dropped, or is whole */
        peat_snapshot_close(kept);
    }
    PT_REQUIRE_OK(peat_abort(db));
}

/* Do it once; *failed_out: how often something has failed. */
static enum peat_status act_do(const struct act *act, const struct pt_failing *failing,
                               uint64_t *failed_out)
{
    unsigned fds = fds_open();
    enum peat_status status;

    (void)unlink(stage.out);
    image_put();
    if (!act->on_closed)
        PT_REQUIRE_OK(store_open(0, &stage.db));
    stage.calls_fail = failing != NULL && failing->kind == PT_FAILING_CALLS;
    if (failing != NULL)
        pt_failing_start(failing);
    status = act->run();
    *failed_out = failing != NULL ? pt_failing_end() : 0;
    PT_REQUIRE(status >= 0 || peat_last_error()[0] != '\0');
    if (stage.db != NULL)
        PT_REQUIRE_OK(peat_abort(stage.db));
    stage.db = NULL;
    PT_REQUIRE(fds_open() == fds);
    PT_REQUIRE(pt_test_file_count(".partial") == 0);
    return status;
}

/* Every position of @p failing, which is done with when nothing fails any more. */
static void positions_do(const struct act *act, struct pt_failing failing, enum peat_status normal,
                         const uint8_t before[32], const uint8_t after[32])
{
    struct pt_dice dice = {pt_mix(seed)};
    uint64_t all = stage.much_log ? POSITIONS_LOG : positions_all;
    uint64_t failed;

    for (failing.at = 0;; failing.at += 1 + pt_dice_below(&dice, 1 + failing.at / all)) {
        uint8_t digest[32];
        enum peat_status status;

        pt_test_context("%s%s, %s %" PRIu64 "%s", act->name, stage.damaged ? ", damaged" : "",
                        failing.kind == PT_FAILING_CALLS ? "call" : "allocation", failing.at,
                        failing.count > 1 ? " for good" : "");
        status = act_do(act, &failing, &failed);
        if (failed == 0)
            PT_REQUIRE(status == normal);
        if (act->makes_file && status < 0 && status != PEAT_IO)
            PT_REQUIRE(!exists(stage.out));
        digest_afterwards(digest);
        if (status == PEAT_OK)
            PT_REQUIRE(memcmp(digest, after, 32) == 0);
        else
            PT_REQUIRE(memcmp(digest, before, 32) == 0 || memcmp(digest, after, 32) == 0);
        if (failed == 0)
            return;
    }
}

static void act_with_failures(const struct act *act)
{
    struct pt_failing failing = {.error_number = EIO, .in_any_thread = act->in_any_thread};
    uint8_t before[32];
    uint8_t after[32];
    uint64_t failed;
    enum peat_status normal;

    image_put();
    digest_afterwards(before);
    pt_test_context("%s%s, nothing fails", act->name, stage.damaged ? ", damaged" : "");
    normal = act_do(act, NULL, &failed);
    PT_REQUIRE(normal >= 0 || (stage.damaged && normal == PEAT_CORRUPT));
    digest_afterwards(after);
    for (unsigned i = 0; i < (stage.much_log ? 2 : 4); i++) {
        failing.kind = i % 2 == 0 ? PT_FAILING_CALLS : PT_FAILING_ALLOCATIONS;
        failing.count = i < 2 ? 1 : UINT64_MAX;
        positions_do(act, failing, normal, before, after);
    }
}

static void acts_with_failures(void)
{
    pt_failing_install();
    pt_clock_set_speed(CLOCK_SPEED);
    for (unsigned i = 0; i < ACT_COUNT; i++) {
        uint64_t begin_us = pt_test_now_us();

        if (stage.much_log && !acts[i].reads_log)
            continue;
        act_with_failures(&acts[i]);
        printf("# %s: %" PRIu64 " ms\n", acts[i].name, (pt_test_now_us() - begin_us) / 1000);
        (void)fflush(stdout);
    }
    pt_clock_set_speed(1);
    pt_failing_remove();
    pt_test_context("%s", "");
}

static void p2_p3_each_public_call_tells_what_fails_and_leaves_the_store_right(void **state)
{
    (void)state;
    stage.damaged = false;
    store_make(true);
    image_take();
    records_make();
    parts_make();
    acts_with_failures();
}

/* More of it than the write buffers of whom opens the store take at a time. */
static void p2_p3_the_same_where_much_log_is_pending(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_collection *nested;
    (void)state;

    stage.damaged = false;
    store_make(true);
    PT_REQUIRE_OK(peat_open(stage.path, &options, &stage.db));
    PT_REQUIRE_OK(nested_open(stage.db, 0, &nested));
    for (unsigned version = 4; version < 7; version++) {
        keys_put(batch, nested, 1, version);
        range_delete(batch, 20 * version, 20 * version + 10);
        commit(batch);
    }
    peat_collection_close(nested);
    PT_REQUIRE_OK(peat_abort(stage.db));
    stage.db = NULL;
    peat_batch_free(batch);
    image_take();
    records_make();
    parts_make();
    stage.much_log = true;
    acts_with_failures();
    stage.much_log = false;
}

/* Its first superblock is the only one, so the log alone tells that anything was promised. */
static void p2_p3_the_same_where_a_store_has_just_been_made(void **state)
{
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_collection *nested;
    (void)state;

    stage.damaged = false;
    store_make(false); /* the backups are of another one */
    (void)unlink(stage.path);
    memset(&stage.now, 0, sizeof(stage.now));
    PT_REQUIRE_OK(store_open(PEAT_CREATE, &stage.db));
    PT_REQUIRE_OK(nested_open(stage.db, PEAT_CREATE, &nested));
    keys_put(batch, nested, 7, 1);
    commit(batch);
    peat_collection_close(nested);
    PT_REQUIRE_OK(peat_abort(stage.db));
    stage.db = NULL;
    peat_batch_free(batch);
    image_take();
    stage.much_log = true;
    acts_with_failures();
    stage.much_log = false;
}

static void p3_the_same_where_a_log_is_not_pending_and_sectors_are_damaged(void **state)
{
    (void)state;
    store_make(false);
    image_take();
    records_make();
    parts_make();
    stage.damaged = true;
    image_damage(stage.now.seeds[0][3]);
    image_damage(stage.now.seeds[0][LOST_KEY]);
    image_damage(stage.now.seeds[NESTED][77]);
    image_damage(stage.kept.seeds[NESTED][200]);
    acts_with_failures();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(p2_p3_each_public_call_tells_what_fails_and_leaves_the_store_right),
        cmocka_unit_test(p2_p3_the_same_where_much_log_is_pending),
        cmocka_unit_test(p2_p3_the_same_where_a_store_has_just_been_made),
        cmocka_unit_test(p3_the_same_where_a_log_is_not_pending_and_sectors_are_damaged),
    };
    int failed;

    pt_test_start();
    seed = pt_test_seed();
    positions_all = pt_test_number("PEAT_POSITIONS", POSITIONS_ALL);
    (void)snprintf(stage.path, sizeof(stage.path), "%s", pt_test_path("store"));
    (void)snprintf(stage.full, sizeof(stage.full), "%s", pt_test_path("full"));
    (void)snprintf(stage.increment, sizeof(stage.increment), "%s", pt_test_path("increment"));
    (void)snprintf(stage.out, sizeof(stage.out), "%s", pt_test_path("out"));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(stage.image);
    records_forget();
    parts_forget();
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

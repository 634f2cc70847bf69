/*
 * The property: whatever happens to a store, it shows exactly what was committed. Random steps
 * (batches over nested collections, held snapshots, flushes, reopening, abandoning, a second
 * process that reads) are done to a store and to the oracle, and both are compared.
 *
 *     test_model [STEPS]       PEAT_SEED=n repeats a run, PEAT_STEPS=n is another way to say STEPS
 */
#include "tests/compare.h"
#include "tests/oracle.h"
#include "tests/reader_process.h"
#include "tests/support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    STEPS_DEFAULT = 24000, /* over all tests of this file */
    KEY_COUNT = 1200,      /* different keys in a collection */
    KEY_SIZE_MAX = 3200,
    VALUE_SIZE_MAX = 400 << 10,
    OPERATIONS_MAX = 400, /* in a batch */
    HANDLES_MAX = 12,
    DEPTH_MAX = 3, /* of nested collections */
    SNAPSHOTS_MAX = 6,
    KEPT_MAX = 4,
    ITERATORS_MAX = 3
};

/* A collection's handle beside what it must hold; the first is the root. */
struct handle {
    struct peat_collection *collection;
    struct pt_oracle_collection *model;
};

/* An iterator whose snapshot is closed already. */
struct held_iterator {
    struct peat_iterator *iterator;
    struct pt_oracle_view view;
    uint64_t commit;
};

struct operation {
    enum { OPERATION_PUT, OPERATION_DELETE, OPERATION_DELETE_RANGE } kind;
    const struct handle *handle;
    unsigned key_id;
    struct pt_oracle_value value;
    struct peat_bytes low; /* of the range: keys of the oracle */
    struct peat_bytes high;
};

/* How a run differs from others. */
struct setting {
    const char *name; /* of the file; NULL: in memory */
    unsigned flags;
    enum peat_durability durability;
    size_t write_buffer_size; /* 0: tiny */
    size_t memory_size_max;
    bool rolls;           /* each time the store is opened it gets other options than these */
    unsigned steps_share; /* of 100 */
};

struct run {
    const struct setting *setting;
    char *path; /* NULL: in memory */
    struct peat_db *db;
    struct pt_oracle_collection *root;
    struct pt_dice dice;
    uint64_t commit;      /* the newest */
    uint64_t commit_kept; /* what must survive the death of the process */
    struct handle handles[HANDLES_MAX];
    size_t handle_count;
    struct peat_snapshot *snapshots[SNAPSHOTS_MAX];
    size_t snapshot_count;
    struct held_iterator iterators[ITERATORS_MAX];
    size_t iterator_count;
    uint64_t kept[KEPT_MAX]; /* commits of kept states, which are their names too */
    size_t kept_count;
    struct peat_batch *batch;
    struct operation operations[OPERATIONS_MAX];
    size_t operation_count;
    struct pt_reader *reader;
    bool reader_is_open;
    uint64_t reader_commit;
    uint64_t reader_held; /* commit; UINT64_MAX: none */
    uint8_t *value_buffer;
    uint64_t flushes; /* for the report */
    uint64_t merges;
    uint64_t replayed; /* commits */
};

static unsigned steps_wanted;

/* --- keys and values ------------------------------------------------------------------------ */

/* The key of that number: among them the empty one, prefixes of each other, long common beginnings,
 * all byte values, and 3 KB. */
static struct peat_bytes key_make(unsigned id, uint8_t buffer[KEY_SIZE_MAX])
{
    uint64_t mixed = pt_mix(id);
    struct peat_bytes key = {buffer, 0};

    switch (id % 16) {
    default:
        key.size = (size_t)snprintf((char *)buffer, KEY_SIZE_MAX, "user/%06u/name", id);
        break;
    case 6:
    case 7:
    case 8:
        key.size = 16;
        pt_value_fill(mixed, buffer, 16);
        break;
    case 9:
    case 10:
        memset(buffer, 'c', 40);
        key.size = 40 + (size_t)snprintf((char *)buffer + 40, 20, "%u", id);
        break;
    case 11:
        key.size = 3072 + mixed % 100;
        memset(buffer, 'L', key.size);
        memcpy(buffer + key.size - 8, &mixed, 8);
        break;
    case 12:
        key.size = 1 + id / 16 % 3;
        for (size_t i = 0; i < key.size; i++)
            buffer[i] = (uint8_t)(mixed >> i & 1 ? 0xff : mixed >> 8 * (i + 1));
        break;
    case 13:
        key.size = 1 + mixed % 9;
        for (size_t i = 0; i < key.size; i++)
            buffer[i] = (uint8_t)('a' + (mixed >> 7 * i) % 4);
        break;
    case 14:
        key.size = 100 + mixed % 300;
        pt_value_fill(mixed, buffer, key.size);
        break;
    case 15:
        key.size = id / 16;
        memset(buffer, id / 16 % 2 == 0 ? 0 : 'z', key.size);
        break;
    }
    return key;
}

static struct pt_oracle_value value_choose(struct run *run)
{
    struct pt_oracle_value value = {pt_dice_next(&run->dice), 0};
    uint64_t choice = pt_dice_below(&run->dice, 600);

    if (choice < 2)
        value.size = pt_dice_below(&run->dice, VALUE_SIZE_MAX + 1);
    else if (choice < 20)
        value.size = pt_dice_below(&run->dice, 20000);
    else if (choice < 80)
        value.size = pt_dice_below(&run->dice, 3000);
    else if (choice < 540)
        value.size = pt_dice_below(&run->dice, 150);
    return value;
}

/* --- the state of a run --------------------------------------------------------------------- */

static uint64_t oldest_needed(const struct run *run)
{
    uint64_t oldest = run->commit_kept;

    for (size_t i = 0; i < run->snapshot_count; i++)
        if (peat_snapshot_commit(run->snapshots[i]) < oldest)
            oldest = peat_snapshot_commit(run->snapshots[i]);
    for (size_t i = 0; i < run->iterator_count; i++)
        if (run->iterators[i].commit < oldest)
            oldest = run->iterators[i].commit;
    for (size_t i = 0; i < run->kept_count; i++)
        if (run->kept[i] < oldest)
            oldest = run->kept[i];
    return run->reader_held < oldest ? run->reader_held : oldest;
}

static void handles_close(struct run *run)
{
    for (size_t i = 0; i < run->handle_count; i++)
        peat_collection_close(run->handles[i].collection);
    run->handle_count = 0;
}

static void handle_remove(struct run *run, size_t index)
{
    peat_collection_close(run->handles[index].collection);
    run->handles[index] = run->handles[--run->handle_count];
}

/* Handles for @p model, which @p handle is open on, and for what lies below it. */
static void handles_open_below(struct run *run, struct handle handle)
{
    PT_REQUIRE(run->handle_count < HANDLES_MAX);
    run->handles[run->handle_count++] = handle;
    for (size_t i = 0; i < handle.model->child_count; i++) {
        struct handle child = {NULL, handle.model->children[i]};

        if (!pt_oracle_is_live(child.model, run->commit))
            continue;
        PT_REQUIRE_OK(peat_collection_open(run->db, handle.collection, child.model->name, 0,
                                           &child.collection));
        handles_open_below(run, child);
    }
}

static struct handle *handle_choose(struct run *run)
{
    return &run->handles[pt_dice_below(&run->dice, run->handle_count)];
}

static bool handle_is_live(const struct run *run, const struct handle *handle)
{
    return pt_oracle_is_live(handle->model, run->commit);
}

/* A commit was acknowledged. Numbers are dense. */
static void commit_arrived(struct run *run, uint64_t commit, enum peat_durability durability)
{
    if (commit != run->commit + 1)
        pt_test_fail(__FILE__, __LINE__, "commit number %" PRIu64 " after %" PRIu64, commit,
                     run->commit);
    run->commit = commit;
    if (durability == PEAT_DEFAULT)
        durability = run->setting->durability;
    if (durability != PEAT_MEMORY)
        run->commit_kept = commit;
}

static uint64_t newest_commit(const struct run *run)
{
    struct peat_snapshot *snapshot;
    uint64_t commit;

    PT_REQUIRE_OK(peat_snapshot_open(run->db, &snapshot));
    commit = peat_snapshot_commit(snapshot);
    peat_snapshot_close(snapshot);
    return commit;
}

static void stats_add(struct run *run)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(run->db, &stats));
    run->flushes += stats.flushes;
    run->merges += stats.merges;
    run->replayed += stats.replayed_commits;
}

/* Any that there can be, but for the durability: what must survive follows from it. */
static void options_roll(struct run *run, struct peat_options *options)
{
    struct pt_dice *dice = &run->dice;

    options->flags |= pt_dice_one_in(dice, 2) ? PEAT_LOG_PWRITE : 0;
    options->sync_interval_ms = 1 + (unsigned)pt_dice_below(dice, 300);
    options->memory_size_max = (size_t)8 << 20 << pt_dice_below(dice, 6);
    options->write_buffer_size = (size_t)64 << 10 << pt_dice_below(dice, 11);
    options->log_size_max = (size_t)1 << 20 << pt_dice_below(dice, 8);
    options->history_count = 1 + (unsigned)pt_dice_below(dice, 3);
    options->history_seconds = (unsigned)pt_dice_below(dice, 2);
}

static void store_open(struct run *run)
{
    struct peat_options options = pt_test_options(PEAT_CREATE | run->setting->flags);

    pt_test_options_tiny(&options);
    if (run->setting->write_buffer_size != 0) {
        options.write_buffer_size = run->setting->write_buffer_size;
        options.memory_size_max = run->setting->memory_size_max;
    }
    options.durability = run->setting->durability;
    if (run->setting->rolls)
        options_roll(run, &options);
    PT_REQUIRE_OK(peat_open(run->path, &options, &run->db));
}

/* --- comparing ------------------------------------------------------------------------------ */

static void compare_handle(struct run *run, const struct peat_snapshot *snapshot,
                           const struct handle *handle)
{
    struct pt_oracle_view view;

    pt_oracle_view_init(&view, handle->model, peat_snapshot_commit(snapshot), NULL);
    switch (pt_dice_below(&run->dice, 4)) {
    case 0:
        pt_compare_scan(snapshot, handle->collection, &view);
        break;
    case 1:
        pt_compare_lookups(snapshot, handle->collection, &view, &run->dice, 60);
        break;
    default:
        pt_compare_bounded(snapshot, handle->collection, handle->model, &run->dice, 80);
        break;
    }
    pt_oracle_view_fini(&view);
}

static void compare_everything(struct run *run, const struct peat_snapshot *snapshot)
{
    for (size_t i = 0; i < run->handle_count; i++) {
        const struct handle *handle = &run->handles[i];
        struct pt_oracle_view view;

        pt_oracle_view_init(&view, handle->model, peat_snapshot_commit(snapshot), NULL);
        pt_compare_scan(snapshot, handle->collection, &view);
        pt_compare_lookups(snapshot, handle->collection, &view, &run->dice, 100);
        pt_oracle_view_fini(&view);
    }
}

static void compare_newest(struct run *run)
{
    struct peat_snapshot *snapshot;
    struct pt_tree *tree;

    PT_REQUIRE_OK(peat_snapshot_open(run->db, &snapshot));
    PT_REQUIRE(peat_snapshot_commit(snapshot) == run->commit);
    compare_everything(run, snapshot);
    tree = pt_tree_open(run->db, snapshot);
    PT_REQUIRE(pt_tree_fingerprint(tree, snapshot) ==
               pt_oracle_fingerprint(run->root, run->commit));
    pt_tree_close(tree);
    peat_snapshot_close(snapshot);
}

/* --- steps: writing ------------------------------------------------------------------------- */

/* Bounds around a few neighbours mostly, everything rarely. */
static void range_choose(struct run *run, struct operation *operation)
{
    struct pt_oracle_view view;
    static const struct peat_bytes unbounded = {NULL, 0};

    pt_oracle_view_init(&view, operation->handle->model, run->commit, NULL);
    operation->low = unbounded;
    operation->high = unbounded;
    if (view.count > 0) {
        size_t low = pt_dice_below(&run->dice, view.count);
        size_t high = low + pt_dice_below(&run->dice, 25);

        if (!pt_dice_one_in(&run->dice, 40))
            operation->low = view.entries[low].key;
        if (high < view.count && !pt_dice_one_in(&run->dice, 60))
            operation->high = view.entries[high].key;
    }
    pt_oracle_view_fini(&view);
}

static bool range_is_empty(const struct operation *operation)
{
    return operation->low.data != NULL && operation->high.data != NULL &&
           pt_oracle_compare(operation->low, operation->high) >= 0;
}

static void operation_choose(struct run *run, const struct handle *handle)
{
    struct operation *operation = &run->operations[run->operation_count++];
    uint64_t choice = pt_dice_below(&run->dice, 100);

    operation->handle = handle;
    operation->key_id = (unsigned)pt_dice_below(&run->dice, KEY_COUNT);
    if (run->operation_count > 1 && pt_dice_one_in(&run->dice, 8)) { /* repeat a key */
        operation->key_id = run->operations[run->operation_count - 2].key_id;
        operation->handle = run->operations[run->operation_count - 2].handle;
    }
    if (choice < 72) {
        operation->kind = OPERATION_PUT;
        operation->value = value_choose(run);
    } else if (choice < 97) {
        operation->kind = OPERATION_DELETE;
    } else {
        operation->kind = OPERATION_DELETE_RANGE;
        range_choose(run, operation);
    }
}

static void operation_add_put(struct run *run, const struct operation *operation,
                              struct peat_bytes key)
{
    struct peat_bytes value = {run->value_buffer, operation->value.size};
    void *place = NULL;

    if (pt_dice_one_in(&run->dice, 6)) {
        PT_REQUIRE_OK(peat_batch_put_reserve(run->batch, operation->handle->collection, key,
                                             value.size, &place));
        pt_value_fill(operation->value.seed, place, value.size);
        return;
    }
    pt_value_fill(operation->value.seed, run->value_buffer, value.size);
    if (value.size == 0 && pt_dice_one_in(&run->dice, 2))
        value.data = NULL;
    PT_REQUIRE_OK(peat_batch_put(run->batch, operation->handle->collection, key, value));
}

static void operation_add(struct run *run, const struct operation *operation)
{
    uint8_t buffer[KEY_SIZE_MAX];
    struct peat_bytes key = key_make(operation->key_id, buffer);
    size_t count = peat_batch_count(run->batch);
    bool is_empty = false;

    switch (operation->kind) {
    case OPERATION_PUT:
        operation_add_put(run, operation, key);
        break;
    case OPERATION_DELETE:
        PT_REQUIRE_OK(peat_batch_delete(run->batch, operation->handle->collection, key));
        break;
    case OPERATION_DELETE_RANGE:
        is_empty = range_is_empty(operation);
        PT_REQUIRE_OK(peat_batch_delete_range(run->batch, operation->handle->collection,
                                              operation->low, operation->high));
        break;
    }
    PT_REQUIRE(peat_batch_count(run->batch) == count + (is_empty ? 0 : 1));
}

static void operation_apply(const struct operation *operation, uint64_t commit)
{
    uint8_t buffer[KEY_SIZE_MAX];
    struct peat_bytes key = key_make(operation->key_id, buffer);
    struct pt_oracle_collection *model = operation->handle->model;

    switch (operation->kind) {
    case OPERATION_PUT:
        pt_oracle_put(model, key, operation->value, commit);
        break;
    case OPERATION_DELETE:
        pt_oracle_delete(model, key, commit);
        break;
    case OPERATION_DELETE_RANGE:
        pt_oracle_delete_range(model, operation->low, operation->high, commit);
        break;
    }
}

static enum peat_durability durability_choose(struct run *run)
{
    static const enum peat_durability levels[] = {PEAT_DEFAULT, PEAT_MEMORY, PEAT_OS,
                                                  PEAT_DEFAULT, PEAT_MEMORY, PEAT_OS};

    if (pt_dice_one_in(&run->dice, 25))
        return PEAT_DISK;
    return levels[pt_dice_below(&run->dice, sizeof(levels) / sizeof(levels[0]))];
}

static void batch_write(struct run *run, bool is_refused)
{
    enum peat_durability durability = durability_choose(run);
    uint64_t commit = 0;

    if (is_refused) {
        PT_REQUIRE_STATUS(peat_write(run->db, run->batch, durability, &commit), PEAT_NOT_FOUND);
        PT_REQUIRE(newest_commit(run) == run->commit);
        return;
    }
    PT_REQUIRE_OK(peat_write(run->db, run->batch, durability, &commit));
    if (peat_batch_count(run->batch) == 0) {
        PT_REQUIRE(commit == run->commit);
        return;
    }
    commit_arrived(run, commit, durability);
    for (size_t i = 0; i < run->operation_count; i++)
        operation_apply(&run->operations[i], run->commit);
}

static void batch_new(struct run *run)
{
    if (pt_dice_one_in(&run->dice, 3)) {
        peat_batch_free(run->batch);
        run->batch = peat_batch_new(pt_dice_one_in(&run->dice, 2) ? 0 : 10000);
        PT_REQUIRE(run->batch != NULL);
    } else {
        peat_batch_clear(run->batch);
    }
    PT_REQUIRE(peat_batch_count(run->batch) == 0);
    run->operation_count = 0;
}

static void step_batch(struct run *run)
{
    bool large = pt_dice_one_in(&run->dice, 12);
    size_t count = pt_dice_below(&run->dice, large ? OPERATIONS_MAX : 25);
    const struct handle *handle = handle_choose(run);
    bool is_refused = false;

    batch_new(run);
    for (size_t i = 0; i < count; i++) {
        if (pt_dice_one_in(&run->dice, 4))
            handle = handle_choose(run);
        if (!handle_is_live(run, handle) && !pt_dice_one_in(&run->dice, 10))
            handle = &run->handles[0];
        operation_choose(run, handle);
        operation_add(run, &run->operations[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (!handle_is_live(run, run->operations[i].handle) &&
            !(run->operations[i].kind == OPERATION_DELETE_RANGE &&
              range_is_empty(&run->operations[i])))
            is_refused = true;
    batch_write(run, is_refused);
    if (pt_dice_one_in(&run->dice, 30)) /* a batch that was written can be written again */
        batch_write(run, is_refused);
}

static void step_single(struct run *run)
{
    uint8_t buffer[KEY_SIZE_MAX];
    struct operation operation = {
        .handle = handle_choose(run),
        .key_id = (unsigned)pt_dice_below(&run->dice, KEY_COUNT),
        .value = value_choose(run),
        .kind = pt_dice_one_in(&run->dice, 3) ? OPERATION_DELETE : OPERATION_PUT,
    };
    struct peat_bytes key = key_make(operation.key_id, buffer);
    struct peat_bytes value = {run->value_buffer, operation.value.size};
    bool is_live = handle_is_live(run, operation.handle);
    enum peat_status status;

    pt_value_fill(operation.value.seed, run->value_buffer, operation.value.size);
    if (operation.kind == OPERATION_PUT)
        status = peat_put(run->db, operation.handle->collection, key, value);
    else
        status = peat_delete(run->db, operation.handle->collection, key);
    PT_REQUIRE_STATUS(status, is_live ? PEAT_OK : PEAT_NOT_FOUND);
    if (!is_live)
        return;
    commit_arrived(run, newest_commit(run), PEAT_DEFAULT);
    operation_apply(&operation, run->commit);
}

/* --- steps: collections --------------------------------------------------------------------- */

static size_t depth_of(const struct pt_oracle_collection *collection)
{
    size_t depth = 0;

    for (; collection->parent != NULL; collection = collection->parent)
        depth++;
    return depth;
}

static void step_collection_open(struct run *run)
{
    static const char *const names[] = {"a", "b", "orders", "\xc3\xa4 name with spaces"};
    const struct handle *parent = handle_choose(run);
    const char *name = names[pt_dice_below(&run->dice, sizeof(names) / sizeof(names[0]))];
    unsigned flags = pt_dice_one_in(&run->dice, 5) ? 0 : PEAT_CREATE;
    struct handle handle = {NULL, NULL};
    enum peat_status status;

    if (run->handle_count == HANDLES_MAX || depth_of(parent->model) == DEPTH_MAX)
        return;
    status = peat_collection_open(run->db, parent->collection, name, flags, &handle.collection);
    if (!handle_is_live(run, parent)) {
        PT_REQUIRE_STATUS(status, PEAT_NOT_FOUND);
        return;
    }
    handle.model = pt_oracle_find(parent->model, name, run->commit);
    if (handle.model == NULL && flags == 0) {
        PT_REQUIRE_STATUS(status, PEAT_NOT_FOUND);
        return;
    }
    PT_REQUIRE_OK(status);
    if (handle.model == NULL) {
        commit_arrived(run, newest_commit(run), PEAT_DEFAULT);
        handle.model = pt_oracle_create(parent->model, name, run->commit);
    }
    run->handles[run->handle_count++] = handle;
}

static void step_collection_drop(struct run *run)
{
    size_t index = pt_dice_below(&run->dice, run->handle_count);
    struct handle *handle = &run->handles[index];

    if (index == 0)
        return;
    if (!handle_is_live(run, handle)) {
        PT_REQUIRE_STATUS(peat_collection_drop(run->db, handle->collection), PEAT_NOT_FOUND);
        handle_remove(run, index);
        return;
    }
    PT_REQUIRE_OK(peat_collection_drop(run->db, handle->collection));
    commit_arrived(run, newest_commit(run), PEAT_DEFAULT);
    pt_oracle_drop(handle->model, run->commit);
}

/* --- steps: reading ------------------------------------------------------------------------- */

static void step_snapshot_open(struct run *run)
{
    struct peat_snapshot **place = &run->snapshots[run->snapshot_count];

    if (run->snapshot_count == SNAPSHOTS_MAX)
        return;
    PT_REQUIRE_OK(peat_snapshot_open(run->db, place));
    PT_REQUIRE(peat_snapshot_commit(*place) == run->commit);
    run->snapshot_count++;
}

static void step_snapshot_compare(struct run *run)
{
    if (run->snapshot_count > 0)
        compare_handle(run, run->snapshots[pt_dice_below(&run->dice, run->snapshot_count)],
                       handle_choose(run));
}

/* Open an iterator that is to outlive the snapshot. */
static void iterator_hold(struct run *run, const struct peat_snapshot *snapshot)
{
    struct held_iterator *held = &run->iterators[run->iterator_count];
    const struct handle *handle = handle_choose(run);

    if (run->iterator_count == ITERATORS_MAX)
        return;
    held->commit = peat_snapshot_commit(snapshot);
    PT_REQUIRE_OK(peat_iterator_open(snapshot, handle->collection, NULL, &held->iterator));
    pt_oracle_view_init(&held->view, handle->model, held->commit, NULL);
    run->iterator_count++;
}

/* Keep the present state under its commit's number. */
static void step_persist(struct run *run)
{
    char name[32];
    bool is_taken = false;

    (void)snprintf(name, sizeof(name), "%" PRIu64, run->commit);
    for (size_t i = 0; i < run->kept_count; i++)
        is_taken = is_taken || run->kept[i] == run->commit;
    if (run->kept_count == KEPT_MAX && !is_taken)
        return;
    PT_REQUIRE_STATUS(peat_snapshot_persist(run->db, name, NULL), is_taken ? PEAT_EXISTS : PEAT_OK);
    run->commit_kept = run->commit;
    if (!is_taken)
        run->kept[run->kept_count++] = run->commit;
}

/* Compare a kept state, and perhaps let it go, then or before it is read. */
static void step_kept(struct run *run)
{
    struct peat_snapshot *snapshot;
    bool is_early = pt_dice_one_in(&run->dice, 3);
    bool is_late = pt_dice_one_in(&run->dice, 3);
    char name[32];
    size_t index;

    if (run->kept_count == 0)
        return;
    index = pt_dice_below(&run->dice, run->kept_count);
    (void)snprintf(name, sizeof(name), "%" PRIu64, run->kept[index]);
    PT_REQUIRE_OK(peat_history_open(run->db, name, 0, &snapshot));
    PT_REQUIRE(peat_snapshot_commit(snapshot) == run->kept[index]);
    if (is_early)
        PT_REQUIRE_OK(peat_history_drop(run->db, name, 0));
    compare_handle(run, snapshot, handle_choose(run));
    peat_snapshot_close(snapshot);
    if (is_late && !is_early)
        PT_REQUIRE_OK(peat_history_drop(run->db, name, 0));
    if (is_early || is_late)
        run->kept[index] = run->kept[--run->kept_count];
}

static void snapshot_close(struct run *run, size_t index)
{
    peat_snapshot_close(run->snapshots[index]);
    run->snapshots[index] = run->snapshots[--run->snapshot_count];
}

static void step_snapshot_close(struct run *run)
{
    size_t index;

    if (run->snapshot_count == 0)
        return;
    index = pt_dice_below(&run->dice, run->snapshot_count);
    if (pt_dice_one_in(&run->dice, 3))
        compare_everything(run, run->snapshots[index]);
    if (pt_dice_one_in(&run->dice, 2))
        iterator_hold(run, run->snapshots[index]);
    snapshot_close(run, index);
}

static void iterator_close(struct run *run, size_t index)
{
    peat_iterator_close(run->iterators[index].iterator);
    pt_oracle_view_fini(&run->iterators[index].view);
    run->iterators[index] = run->iterators[--run->iterator_count];
}

static void step_iterator_walk(struct run *run)
{
    size_t index;

    if (run->iterator_count == 0)
        return;
    index = pt_dice_below(&run->dice, run->iterator_count);
    pt_compare_walk(run->iterators[index].iterator, &run->iterators[index].view, &run->dice, 200,
                    false);
    if (pt_dice_one_in(&run->dice, 2))
        iterator_close(run, index);
}

static void step_get_copy(struct run *run)
{
    uint8_t buffer[KEY_SIZE_MAX];
    const struct handle *handle = handle_choose(run);
    struct peat_bytes key = key_make((unsigned)pt_dice_below(&run->dice, KEY_COUNT), buffer);
    struct pt_oracle_value expected = {0, 0};
    bool present = pt_oracle_get(handle->model, key, run->commit, &expected);
    size_t size = 12345;
    struct peat_bytes value = {run->value_buffer, expected.size};

    PT_REQUIRE_STATUS(
        peat_get_copy(run->db, handle->collection, key, run->value_buffer, VALUE_SIZE_MAX, &size),
        present ? PEAT_OK : PEAT_NOT_FOUND);
    if (!present)
        return;
    PT_REQUIRE(size == expected.size && pt_value_matches(expected.seed, value));
    if (size == 0)
        return;
    size = 12345;
    PT_REQUIRE_STATUS(peat_get_copy(run->db, handle->collection, key, run->value_buffer,
                                    pt_dice_below(&run->dice, expected.size), &size),
                      PEAT_TOO_LARGE);
    PT_REQUIRE(size == expected.size);
}

/* --- steps: maintenance --------------------------------------------------------------------- */

static void step_flush(struct run *run)
{
    if (pt_dice_one_in(&run->dice, 3)) {
        PT_REQUIRE_OK(peat_sync(run->db));
    } else {
        PT_REQUIRE_OK(peat_flush(run->db));
        if (pt_dice_one_in(&run->dice, 3))
            PT_REQUIRE_OK(peat_wait_idle(run->db, 60000));
    }
    run->commit_kept = run->commit;
}

static void step_check(struct run *run)
{
    pt_compare_check(run->db);
}

static void everything_release(struct run *run)
{
    while (run->iterator_count > 0)
        iterator_close(run, 0);
    while (run->snapshot_count > 0)
        snapshot_close(run, 0);
    handles_close(run);
}

/* Close or abandon the store and open it again. */
static void step_reopen(struct run *run)
{
    bool abandoned = pt_dice_one_in(&run->dice, 2);
    struct handle root = {NULL, run->root};
    uint64_t commit;

    if (run->path == NULL)
        return;
    if (run->snapshot_count + run->iterator_count > 0)
        PT_REQUIRE_STATUS(abandoned ? peat_abort(run->db) : peat_close(run->db), PEAT_BUSY);
    everything_release(run);
    stats_add(run);
    if (abandoned) {
        PT_REQUIRE_OK(peat_abort(run->db));
    } else {
        PT_REQUIRE_OK(peat_close(run->db));
        run->commit_kept = run->commit;
    }
    store_open(run);
    commit = newest_commit(run);
    if (commit < run->commit_kept || commit > run->commit ||
        (run->reader_is_open && commit < run->reader_commit))
        pt_test_fail(__FILE__, __LINE__,
                     "%s at commit %" PRIu64 ", reopened at %" PRIu64 "; must keep %" PRIu64
                     ", a reader saw %" PRIu64,
                     abandoned ? "abandoned" : "closed", run->commit, commit, run->commit_kept,
                     run->reader_commit);
    pt_oracle_rollback(run->root, commit);
    run->commit = commit;
    run->commit_kept = commit;
    handles_open_below(run, root);
    if (pt_dice_one_in(&run->dice, 2))
        compare_newest(run);
}

static void reader_compare(struct run *run, struct pt_reader_view view, uint64_t at_least,
                           const char *what)
{
    if (view.commit < at_least || view.commit > run->commit)
        pt_test_fail(__FILE__, __LINE__,
                     "%s shows commit %" PRIu64 ", must be %" PRIu64 " to %" PRIu64, what,
                     view.commit, at_least, run->commit);
    if (view.fingerprint != pt_oracle_fingerprint(run->root, view.commit))
        pt_test_fail(__FILE__, __LINE__, "%s shows other data than was committed up to %" PRIu64,
                     what, view.commit);
}

static void step_reader(struct run *run)
{
    struct pt_reader_view view;

    if (run->path == NULL)
        return;
    if (run->reader_is_open && pt_dice_one_in(&run->dice, 8)) {
        pt_reader_close(run->reader);
        run->reader_is_open = false;
        run->reader_held = UINT64_MAX;
        return;
    }
    if (run->reader_is_open && run->reader_held != UINT64_MAX) {
        view = pt_reader_held(run->reader);
        PT_REQUIRE(view.commit == run->reader_held);
        reader_compare(run, view, view.commit, "a reader's held snapshot");
    }
    view = run->reader_is_open ? pt_reader_refresh(run->reader)
                               : pt_reader_open(run->reader, run->path);
    reader_compare(run, view, run->commit_kept, run->reader_is_open ? "refresh" : "a new reader");
    run->reader_is_open = true;
    run->reader_commit = view.commit;
    if (run->reader_held == UINT64_MAX || pt_dice_one_in(&run->dice, 3)) {
        pt_reader_hold(run->reader);
        run->reader_held = view.commit;
    }
}

/* --- runs ----------------------------------------------------------------------------------- */

static void step(struct run *run)
{
    static const struct {
        unsigned weight;
        void (*step)(struct run *run);
    } kinds[] = {
        {400, step_batch},          {120, step_single},       {40, step_collection_open},
        {20, step_collection_drop}, {60, step_snapshot_open}, {120, step_snapshot_compare},
        {50, step_snapshot_close},  {40, step_iterator_walk}, {120, step_get_copy},
        {10, step_flush},           {2, step_check},          {6, step_reopen},
        {12, step_reader},          {8, step_persist},        {16, step_kept},
    };
    unsigned total = 0;
    uint64_t choice;
    size_t kind = 0;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        total += kinds[i].weight;
    choice = pt_dice_below(&run->dice, total);
    while (choice >= kinds[kind].weight)
        choice -= kinds[kind++].weight;
    kinds[kind].step(run);
}

/* Let the oracle forget what nobody looks at any more, with the handles on it. */
static void history_prune(struct run *run)
{
    uint64_t oldest = oldest_needed(run);

    for (size_t i = run->handle_count; i > 0; i--)
        if (run->handles[i - 1].model->dropped <= oldest)
            handle_remove(run, i - 1);
    pt_oracle_prune(run->root, oldest);
}

static void run_start(struct run *run, const struct setting *setting, uint64_t seed)
{
    struct handle root = {NULL, NULL};

    memset(run, 0, sizeof(*run));
    run->setting = setting;
    run->dice.state = seed;
    run->root = pt_oracle_new();
    run->reader_held = UINT64_MAX;
    run->value_buffer = malloc(VALUE_SIZE_MAX);
    run->batch = peat_batch_new(0);
    PT_REQUIRE(run->value_buffer != NULL && run->batch != NULL);
    if (setting->name != NULL) {
        run->path = strdup(pt_test_path(setting->name));
        PT_REQUIRE(run->path != NULL);
        run->reader = pt_reader_start();
    }
    store_open(run);
    run->commit = newest_commit(run);
    run->commit_kept = run->commit;
    root.model = run->root;
    handles_open_below(run, root);
}

static void run_finish(struct run *run)
{
    compare_newest(run);
    everything_release(run);
    stats_add(run);
    PT_REQUIRE_OK(peat_close(run->db));
    if (run->reader != NULL)
        pt_reader_stop(run->reader);
    if (run->path != NULL)
        PT_REQUIRE(unlink(run->path) == 0);
    peat_batch_free(run->batch);
    pt_oracle_free(run->root);
    free(run->value_buffer);
    free(run->path);
}

static void run_model(const struct setting *setting)
{
    uint64_t seed = pt_test_seed();
    unsigned steps = steps_wanted * setting->steps_share / 100;
    struct run run;

    run_start(&run, setting, seed);
    for (unsigned i = 0; i < steps; i++) {
        pt_test_context("PEAT_SEED=%" PRIu64 ", step %u of %u, commit %" PRIu64, seed, i, steps,
                        run.commit);
        step(&run);
        if (i % 256 == 255)
            history_prune(&run);
    }
    run_finish(&run);
    pt_test_context("%s", "");
    printf("# %u steps, %" PRIu64 " flushes, %" PRIu64 " merges, %" PRIu64 " commits replayed\n",
           steps, run.flushes, run.merges, run.replayed);
}

static void random_steps_on_a_file_match_the_model(void **state)
{
    static const struct setting setting = {
        .name = "tiny", .durability = PEAT_OS, .steps_share = 25};

    (void)state;
    run_model(&setting);
}

static void random_steps_with_a_log_by_pwrite_match_the_model(void **state)
{
    static const struct setting setting = {
        .name = "pwrite", .flags = PEAT_LOG_PWRITE, .durability = PEAT_OS, .steps_share = 20};

    (void)state;
    run_model(&setting);
}

static void random_steps_at_memory_durability_match_the_model(void **state)
{
    static const struct setting setting = {.name = "memory-level",
                                           .durability = PEAT_MEMORY,
                                           .write_buffer_size = 1 << 20,
                                           .memory_size_max = 16 << 20,
                                           .steps_share = 15};

    (void)state;
    run_model(&setting);
}

static void random_steps_with_large_buffers_match_the_model(void **state)
{
    static const struct setting setting = {.name = "large",
                                           .durability = PEAT_OS,
                                           .write_buffer_size = 64 << 20,
                                           .memory_size_max = 256 << 20,
                                           .steps_share = 10};

    (void)state;
    run_model(&setting);
}

static void random_steps_under_random_options_match_the_model(void **state)
{
    static const struct setting setting = {
        .name = "rolled", .durability = PEAT_OS, .rolls = true, .steps_share = 15};

    (void)state;
    run_model(&setting);
}

static void random_steps_in_memory_match_the_model(void **state)
{
    static const struct setting setting = {.durability = PEAT_OS, .steps_share = 15};

    (void)state;
    run_model(&setting);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps_on_a_file_match_the_model),
        cmocka_unit_test(random_steps_with_a_log_by_pwrite_match_the_model),
        cmocka_unit_test(random_steps_at_memory_durability_match_the_model),
        cmocka_unit_test(random_steps_with_large_buffers_match_the_model),
        cmocka_unit_test(random_steps_under_random_options_match_the_model),
        cmocka_unit_test(random_steps_in_memory_match_the_model),
    };
    int failed;

    pt_test_start();
    steps_wanted = (unsigned)pt_test_number("PEAT_STEPS", STEPS_DEFAULT);
    if (argc > 1)
        steps_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

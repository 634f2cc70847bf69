#include "tests/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 800 };

static const char *const names[PT_STEP_KIND_COUNT] = {
    "put",   "delete", "batch",    "delete-range", "create", "drop",    "revert", "sync",
    "flush", "merge",  "snapshot", "persist",      "feed",   "promote", "close",  "abort"};

const char *pt_step_name(enum pt_step_kind kind)
{
    PT_REQUIRE(kind < PT_STEP_KIND_COUNT);
    return names[kind];
}

/* The empty key, short ones, and one that is longer than a sector. */
struct peat_bytes pt_step_key(unsigned number)
{
    static char keys[PT_KEY_COUNT][NAME_SIZE];
    static size_t sizes[PT_KEY_COUNT];

    PT_REQUIRE(number < PT_KEY_COUNT);
    if (sizes[PT_KEY_COUNT - 1] == 0) {
        for (unsigned i = 1; i < PT_KEY_COUNT; i++) {
            sizes[i] = (size_t)snprintf(keys[i], NAME_SIZE, "key-%02u", i);
            while (i == 5 && sizes[i] < 700)
                keys[i][sizes[i]++] = 'x';
        }
    }
    return (struct peat_bytes){keys[number], sizes[number]};
}

const char *pt_step_name_kept(unsigned number, char room[PT_STEP_NAME_SIZE])
{
    (void)snprintf(room, PT_STEP_NAME_SIZE, "kept-%u", number);
    return room;
}

static uint32_t roll_size(struct pt_dice *dice, uint32_t size_max)
{
    uint32_t bound = size_max;

    if (bound > 300 && !pt_dice_one_in(dice, 5))
        bound = 300;
    else if (bound > 6000 && !pt_dice_one_in(dice, 8))
        bound = 6000;
    return (uint32_t)pt_dice_below(dice, (uint64_t)bound + 1);
}

struct pt_step pt_step_roll(struct pt_dice *dice, uint32_t size_max)
{
    static const uint8_t kinds[] = {
        PT_STEP_PUT,      PT_STEP_PUT,    PT_STEP_PUT,    PT_STEP_PUT,    PT_STEP_PUT,
        PT_STEP_PUT,      PT_STEP_PUT,    PT_STEP_PUT,    PT_STEP_BATCH,  PT_STEP_BATCH,
        PT_STEP_BATCH,    PT_STEP_BATCH,  PT_STEP_DELETE, PT_STEP_DELETE, PT_STEP_DELETE_RANGE,
        PT_STEP_CREATE,   PT_STEP_DROP,   PT_STEP_SYNC,   PT_STEP_FLUSH,  PT_STEP_FLUSH,
        PT_STEP_SNAPSHOT, PT_STEP_MERGE,  PT_STEP_MERGE,  PT_STEP_CLOSE,  PT_STEP_ABORT,
        PT_STEP_PERSIST,  PT_STEP_REVERT, PT_STEP_FEED,   PT_STEP_PROMOTE};
    struct pt_step step = {.kind = kinds[pt_dice_below(dice, sizeof(kinds))],
                           .level = (uint8_t)(PEAT_MEMORY + pt_dice_below(dice, 3)),
                           .key = (uint8_t)pt_dice_below(dice, PT_KEY_COUNT),
                           .size = roll_size(dice, size_max),
                           .seed = (uint32_t)pt_dice_next(dice),
                           .nested = pt_dice_one_in(dice, 3)};

    if (step.kind == PT_STEP_REVERT) { /* to the state that the session keeps */
        step.key = 0;
        step.seed = 0;
    }
    step.key_high =
        (uint8_t)(step.key + 1 + pt_dice_below(dice, (uint64_t)PT_KEY_COUNT - step.key));
    return step;
}

/* ---- What a step does, as a list of plain operations ---- */

enum { OPERATIONS_MAX = 8 };

struct operation {
    enum pt_step_kind kind; /* PUT, DELETE or DELETE_RANGE */
    bool nested;
    unsigned key;
    unsigned key_high;
    uint32_t size;
    uint64_t seed;
};

static size_t operations_of(const struct pt_step *step, bool has_collection,
                            struct operation operations[OPERATIONS_MAX])
{
    struct pt_dice dice = {step->seed};
    struct operation single = {.kind = step->kind,
                               .nested = step->nested && has_collection,
                               .key = step->key,
                               .key_high = step->key_high,
                               .size = step->size,
                               .seed = step->seed};
    size_t count = 2 + pt_dice_below(&dice, OPERATIONS_MAX - 1);

    operations[0] = single;
    if (step->kind != PT_STEP_BATCH)
        return 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t roll = pt_dice_below(&dice, 10);

        operations[i].kind = roll < 7   ? PT_STEP_PUT
                             : roll < 9 ? PT_STEP_DELETE
                                        : PT_STEP_DELETE_RANGE;
        operations[i].nested = single.nested && pt_dice_one_in(&dice, 2);
        operations[i].key = (unsigned)pt_dice_below(&dice, PT_KEY_COUNT);
        operations[i].key_high = operations[i].key + 1 + (unsigned)pt_dice_below(&dice, 4);
        operations[i].size = (uint32_t)pt_dice_below(&dice, (uint64_t)step->size + 1);
        operations[i].seed = pt_dice_next(&dice);
    }
    return count;
}

/* ---- The model ---- */

static void model_apply(struct pt_model *model, const struct pt_step *step)
{
    struct operation operations[OPERATIONS_MAX];
    size_t count;

    if (step->kind == PT_STEP_CREATE || step->kind == PT_STEP_DROP) {
        model->has_collection = step->kind == PT_STEP_CREATE;
        memset(model->entries[1], 0, sizeof(model->entries[1]));
        return;
    }
    count = operations_of(step, model->has_collection, operations);
    for (size_t i = 0; i < count; i++) {
        const struct operation *operation = &operations[i];
        struct pt_model_entry *entries = model->entries[operation->nested];
        unsigned high =
            operation->kind == PT_STEP_DELETE_RANGE ? operation->key_high : operation->key + 1;

        for (unsigned key = operation->key; key < high && key < PT_KEY_COUNT; key++)
            entries[key] = (struct pt_model_entry){operation->kind == PT_STEP_PUT, operation->size,
                                                   operation->seed};
    }
}

void pt_commits_model(const struct pt_commits *history, uint64_t commit, struct pt_model *model_out)
{
    uint64_t base =
        commit; /* the last revert up to it, if there is one: what was before is undone */

    PT_REQUIRE(commit <= history->count);
    while (base > 0 && history->commits[base].kind != PT_STEP_REVERT)
        base--;
    if (base > 0)
        pt_commits_model(history, history->commits[base].seed, model_out);
    else
        memset(model_out, 0, sizeof(*model_out));
    for (uint64_t i = base + 1; i <= commit; i++)
        model_apply(model_out, &history->commits[i]);
}

uint64_t pt_commits_hash(const struct pt_commits *history, uint64_t count)
{
    uint64_t hash = count;

    for (uint64_t i = 1; i <= count; i++) {
        const struct pt_step *step = &history->commits[i];

        hash = pt_mix(hash ^ step->seed ^ (uint64_t)step->size << 32 ^ (uint64_t)step->kind << 48 ^
                      (uint64_t)step->key << 56);
    }
    return hash;
}

/* ---- What the log says of it ---- */

static bool operation_recorded(const struct operation *operation,
                               const struct peat_operation *recorded)
{
    struct peat_bytes key = pt_step_key(operation->key);
    bool is_whole = operation->key_high >= PT_KEY_COUNT;

    if ((recorded->collection != 1) != operation->nested)
        return false;
    switch ((unsigned)operation->kind) {
    case PT_STEP_PUT:
        return recorded->kind == PEAT_OPERATION_PUT && pt_same(recorded->key, key) &&
               recorded->value.size == operation->size &&
               pt_value_matches(operation->seed, recorded->value);
    case PT_STEP_DELETE:
        return recorded->kind == PEAT_OPERATION_DELETE && pt_same(recorded->key, key);
    default:
        return recorded->kind == PEAT_OPERATION_DELETE_RANGE &&
               (operation->key == 0 ? recorded->key.size == 0 : pt_same(recorded->key, key)) &&
               (is_whole ? recorded->value.data == NULL
                         : pt_same(recorded->value, pt_step_key(operation->key_high)));
    }
}

bool pt_step_recorded(const struct pt_step *step, const struct peat_record *record)
{
    struct operation operations[OPERATIONS_MAX];
    struct peat_operation recorded;
    size_t place = 0;
    size_t count;

    if (step->kind == PT_STEP_CREATE || step->kind == PT_STEP_DROP)
        return peat_record_operation(record, &place, &recorded) == PEAT_OK &&
               recorded.kind ==
                   (step->kind == PT_STEP_CREATE ? PEAT_OPERATION_CREATE : PEAT_OPERATION_DROP) &&
               pt_same(recorded.key, pt_text(PT_STEP_COLLECTION));
    count = operations_of(step, true, operations);
    for (size_t i = 0; i < count; i++)
        if (peat_record_operation(record, &place, &recorded) != PEAT_OK ||
            !operation_recorded(&operations[i], &recorded))
            return false;
    return peat_record_operation(record, &place, &recorded) == PEAT_DONE;
}

/* ---- Doing a step ---- */

static enum peat_status batch_fill(struct peat_batch *batch, const struct operation *operation,
                                   struct peat_collection *collection)
{
    struct peat_collection *in = operation->nested ? collection : NULL;
    struct peat_bytes low = pt_step_key(operation->key);
    struct peat_bytes high = {NULL, 0};
    enum peat_status status;
    void *value;

    switch ((unsigned)operation->kind) {
    case PT_STEP_PUT:
        status = peat_batch_put_reserve(batch, in, low, operation->size, &value);
        if (status == PEAT_OK)
            pt_value_fill(operation->seed, value, operation->size);
        return status;
    case PT_STEP_DELETE:
        return peat_batch_delete(batch, in, low);
    default:
        if (operation->key_high < PT_KEY_COUNT)
            high = pt_step_key(operation->key_high);
        if (operation->key == 0)
            low.data = NULL;
        return peat_batch_delete_range(batch, in, low, high);
    }
}

static enum peat_status batch_commit(const struct pt_step *step, bool has_collection,
                                     struct peat_db *db, uint64_t *commit_out, bool *tried_out)
{
    struct operation operations[OPERATIONS_MAX];
    size_t count = operations_of(step, has_collection, operations);
    struct peat_collection *collection = NULL;
    struct peat_batch *batch = peat_batch_new(0);
    enum peat_status status = batch == NULL ? PEAT_NO_MEMORY : PEAT_OK;

    if (status == PEAT_OK && step->nested && has_collection)
        status = peat_collection_open(db, NULL, PT_STEP_COLLECTION, 0, &collection);
    for (size_t i = 0; i < count && status == PEAT_OK; i++)
        status = batch_fill(batch, &operations[i], collection);
    *tried_out = status == PEAT_OK;
    if (status == PEAT_OK)
        status = peat_write(db, batch, step->level, commit_out);
    peat_collection_close(collection);
    peat_batch_free(batch);
    return status;
}

static enum peat_status newest_commit(struct peat_db *db, uint64_t *commit_out)
{
    struct peat_snapshot *snapshot;
    enum peat_status status = peat_snapshot_open(db, &snapshot);

    if (status == PEAT_OK)
        *commit_out = peat_snapshot_commit(snapshot);
    peat_snapshot_close(snapshot);
    return status;
}

enum peat_status pt_step_commit(const struct pt_step *step, bool has_collection, struct peat_db *db,
                                uint64_t *commit_out, bool *tried_out)
{
    struct peat_collection *collection = NULL;
    enum peat_status status;
    char name[PT_STEP_NAME_SIZE];

    *tried_out = true;
    PT_REQUIRE(step->kind <= PT_STEP_LAST_COMMIT);
    if (step->kind == PT_STEP_REVERT)
        return peat_revert(db, pt_step_name_kept(step->key, name), 0, commit_out);
    if (step->kind != PT_STEP_CREATE && step->kind != PT_STEP_DROP)
        return batch_commit(step, has_collection, db, commit_out, tried_out);
    if (has_collection == (step->kind == PT_STEP_CREATE))
        return PEAT_DONE;
    status = peat_collection_open(db, NULL, PT_STEP_COLLECTION,
                                  step->kind == PT_STEP_CREATE ? PEAT_CREATE : 0, &collection);
    if (status == PEAT_OK && step->kind == PT_STEP_DROP)
        status = peat_collection_drop(db, collection);
    peat_collection_close(collection);
    return status == PEAT_OK ? newest_commit(db, commit_out) : status;
}

/* ---- Looking ---- */

/* One look at a store. */
struct look {
    const struct pt_model *model;
    const struct peat_snapshot *snapshot;
    struct pt_difference *difference;
};

static bool differs(const struct look *look, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool differs(const struct look *look, const char *format, ...)
{
    struct pt_difference *difference = look->difference;
    va_list arguments;

    difference->status = PEAT_OK;
    va_start(arguments, format);
    (void)vsnprintf(difference->words, sizeof(difference->words), format, arguments);
    va_end(arguments);
    return false;
}

static bool fails(const struct look *look, const char *way, enum peat_status status)
{
    (void)differs(look, "%s: %s: %s", way, peat_status_name(status), peat_last_error());
    look->difference->status = status;
    return false;
}

/* Whether the iterator's entry is key @p number with its value. */
static bool entry_shown(const struct look *look, const struct pt_model_entry *entries,
                        unsigned number, struct peat_iterator *iterator, const char *way)
{
    struct peat_bytes key = peat_iterator_key(iterator);
    struct peat_bytes value = peat_iterator_value(iterator);

    if (number >= PT_KEY_COUNT || !pt_same(key, pt_step_key(number)))
        return differs(look, "%s: key '%.*s' is shown, '%.*s' is next", way, (int)key.size,
                       (const char *)key.data,
                       number < PT_KEY_COUNT ? (int)pt_step_key(number).size : 0,
                       number < PT_KEY_COUNT ? (const char *)pt_step_key(number).data : "");
    if (value.size != entries[number].size || !pt_value_matches(entries[number].seed, value))
        return differs(look, "%s: the value of key %u is wrong", way, number);
    return true;
}

static bool scan_shown(const struct look *look, struct peat_collection *collection,
                       const struct pt_model_entry *entries, bool forward)
{
    const char *way = forward ? "scan" : "scan back";
    struct peat_iterator *iterator;
    enum peat_status status = peat_iterator_open(look->snapshot, collection, NULL, &iterator);
    unsigned next = forward ? 0 : PT_KEY_COUNT - 1; /* wraps below 0 to above PT_KEY_COUNT */
    bool shown = true;

    if (status == PEAT_OK)
        status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    while (status == PEAT_OK && shown) {
        while (next < PT_KEY_COUNT && !entries[next].present)
            next += forward ? 1u : -1u;
        shown = entry_shown(look, entries, next, iterator, way);
        next += forward ? 1u : -1u;
        status = forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
    }
    peat_iterator_close(iterator);
    if (shown && status != PEAT_DONE)
        return fails(look, way, status);
    while (shown && next < PT_KEY_COUNT) {
        shown = !entries[next].present || differs(look, "%s: key %u is missing", way, next);
        next += forward ? 1u : -1u;
    }
    return shown;
}

static bool gets_shown(const struct look *look, struct peat_collection *collection,
                       const struct pt_model_entry *entries)
{
    struct peat_bytes keys[PT_KEY_COUNT];
    struct peat_bytes values[PT_KEY_COUNT];
    enum peat_status status;

    for (unsigned i = 0; i < PT_KEY_COUNT; i++)
        keys[i] = pt_step_key(i);
    status = peat_get_many(look->snapshot, collection, keys, PT_KEY_COUNT, values);
    if (status != PEAT_OK)
        return fails(look, "get many", status);
    for (unsigned i = 0; i < PT_KEY_COUNT; i++) {
        bool present = values[i].data != NULL;

        if (present != entries[i].present)
            return differs(look, "get: key %u is %s", i, present ? "there" : "missing");
        if (present &&
            (values[i].size != entries[i].size || !pt_value_matches(entries[i].seed, values[i])))
            return differs(look, "get: the value of key %u is wrong", i);
    }
    return true;
}

static bool collection_noted(void *context, const char *name)
{
    bool *found = context;

    *found = strcmp(name, PT_STEP_COLLECTION) == 0;
    return true;
}

/* The collection by a handle as programs have one, or, if the snapshot may be older than the
 * collection's end, by one of that moment. */
static bool collection_shown(const struct look *look, struct peat_db *db)
{
    struct peat_collection *collection;
    bool listed = false;
    bool shown;
    enum peat_status status = peat_collection_list(look->snapshot, NULL, collection_noted, &listed);

    if (status != PEAT_OK)
        return fails(look, "list", status);
    if (listed != look->model->has_collection)
        return differs(look, "the collection is %s", listed ? "there" : "missing");
    if (!listed)
        return true;
    status = db != NULL
                 ? peat_collection_open(db, NULL, PT_STEP_COLLECTION, 0, &collection)
                 : peat_collection_open_at(look->snapshot, NULL, PT_STEP_COLLECTION, &collection);
    if (status != PEAT_OK)
        return fails(look, "open collection", status);
    shown = gets_shown(look, collection, look->model->entries[1]) &&
            scan_shown(look, collection, look->model->entries[1], true) &&
            scan_shown(look, collection, look->model->entries[1], false);
    peat_collection_close(collection);
    return shown;
}

bool pt_model_shown(const struct pt_model *model, const struct peat_snapshot *snapshot,
                    struct peat_db *db, struct pt_difference *difference_out)
{
    struct look look = {model, snapshot, difference_out};

    return gets_shown(&look, NULL, model->entries[0]) &&
           scan_shown(&look, NULL, model->entries[0], true) &&
           scan_shown(&look, NULL, model->entries[0], false) && collection_shown(&look, db);
}

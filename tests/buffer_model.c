#include "tests/buffer_model.h"

#include "core/base/hash.h"

#include <stdlib.h>

static int compare_keys(const void *a, const void *b)
{
    return pt_bytes_compare(*(const struct peat_bytes *)a, *(const struct peat_bytes *)b);
}

void pt_buffer_model_open(struct pt_buffer_model *model, size_t capacity, uint64_t first_key,
                          size_t key_count)
{
    *model = (struct pt_buffer_model){.commit = PT_MODEL_FIRST_COMMIT - 1, .key_count = key_count};
    model->rooms = calloc(key_count, sizeof(model->rooms[0]));
    model->keys = calloc(key_count, sizeof(model->keys[0]));
    PT_REQUIRE(model->rooms != NULL && model->keys != NULL);
    for (size_t i = 0; i < key_count; i++)
        model->keys[i] = pt_hard_key(first_key + i, model->rooms[i]);
    qsort(model->keys, key_count, sizeof(model->keys[0]), compare_keys);
    PT_REQUIRE_OK(pt_write_buffer_open(capacity, 0, PT_MODEL_HASH_SEED, PT_MODEL_FIRST_COMMIT,
                                       &model->buffer));
}

void pt_buffer_model_close(struct pt_buffer_model *model)
{
    pt_write_buffer_close(model->buffer);
    free(model->rooms);
    free(model->keys);
    free(model->operations);
}

uint64_t pt_model_hash(struct peat_bytes key)
{
    return pt_hash(PT_MODEL_HASH_SEED, key.data, key.size);
}

static void make_room(struct pt_buffer_model *model, size_t count)
{
    if (model->count + count <= model->capacity)
        return;
    model->capacity = 2 * (model->count + count);
    model->operations = realloc(model->operations, model->capacity * sizeof(model->operations[0]));
    PT_REQUIRE(model->operations != NULL);
}

static void roll(struct pt_buffer_model *model, struct pt_dice *dice, uint64_t range_chance,
                 struct pt_model_operation *operation)
{
    operation->commit = model->commit + 1;
    operation->key = pt_dice_below(dice, model->key_count);
    if (range_chance > 0 && pt_dice_one_in(dice, range_chance)) {
        operation->op = PT_OP_DELETE_RANGE;
        operation->key = pt_dice_below(dice, model->key_count - 1);
        operation->high = operation->key + 1 +
                          pt_dice_below(dice, model->key_count - 1 - operation->key) /
                              (1 + pt_dice_below(dice, 20));
    } else if (pt_dice_one_in(dice, 4)) {
        operation->op = PT_OP_DELETE;
    } else {
        operation->op = PT_OP_PUT;
        operation->value_seed = pt_dice_next(dice);
        operation->value_size = pt_dice_below(dice, 1u << pt_dice_below(dice, 8));
    }
}

static uint64_t size_of(const struct pt_buffer_model *model,
                        const struct pt_model_operation *operation)
{
    size_t value_size = operation->value_size;

    if (operation->op == PT_OP_DELETE_RANGE)
        value_size = model->keys[operation->high].size;
    return pt_entry_size(model->keys[operation->key].size, value_size);
}

static void add(struct pt_buffer_model *model, const struct pt_model_operation *operation)
{
    struct peat_bytes key = model->keys[operation->key];
    uint8_t value[256];

    if (operation->op == PT_OP_DELETE_RANGE) {
        pt_write_buffer_add_range(model->buffer, key, model->keys[operation->high],
                                  operation->commit);
        return;
    }
    pt_value_fill(operation->value_seed, value, operation->value_size);
    pt_write_buffer_add(model->buffer, operation->op, key, pt_bytes(value, operation->value_size),
                        pt_model_hash(key), operation->commit);
}

bool pt_buffer_model_commit(struct pt_buffer_model *model, struct pt_dice *dice, size_t count,
                            uint64_t range_chance, bool publish)
{
    enum peat_status status;
    uint64_t size = 0;

    make_room(model, count);
    for (size_t i = 0; i < count; i++) {
        struct pt_model_operation *operation = &model->operations[model->count + i];

        *operation = (struct pt_model_operation){.op = PT_OP_DELETE};
        roll(model, dice, range_chance, operation);
        size += size_of(model, operation);
    }
    status = pt_write_buffer_reserve(model->buffer, count, size);
    if (status == PEAT_TOO_LARGE)
        return false;
    PT_REQUIRE_OK(status);
    for (size_t i = 0; i < count; i++)
        add(model, &model->operations[model->count + i]);
    model->count += count;
    model->commit++;
    if (publish)
        pt_buffer_model_publish(model);
    return true;
}

void pt_buffer_model_publish(struct pt_buffer_model *model)
{
    pt_write_buffer_publish(model->buffer, model->commit);
}

const struct pt_model_operation *pt_buffer_model_find(const struct pt_buffer_model *model,
                                                      size_t key, uint64_t commit)
{
    for (size_t i = model->count; i-- > 0;) {
        const struct pt_model_operation *operation = &model->operations[i];

        if (operation->commit > commit)
            continue;
        if (operation->op == PT_OP_DELETE_RANGE ? operation->key <= key && key < operation->high
                                                : operation->key == key)
            return operation;
    }
    return NULL;
}

void pt_model_require_entry(const struct pt_buffer_model *model,
                            const struct pt_model_operation *operation,
                            const struct pt_entry *entry)
{
    PT_REQUIRE(entry->op == operation->op);
    PT_REQUIRE(pt_same(entry->key, model->keys[operation->key]));
    PT_REQUIRE(entry->value.size == operation->value_size);
    if (entry->op == PT_OP_PUT)
        PT_REQUIRE(pt_value_matches(operation->value_seed, entry->value));
}

void pt_model_require_gets(const struct pt_buffer_model *model, uint64_t commit)
{
    for (size_t k = 0; k < model->key_count; k++) {
        const struct pt_model_operation *operation = pt_buffer_model_find(model, k, commit);
        uint64_t hash = pt_model_hash(model->keys[k]);
        enum peat_status status;
        struct pt_entry entry;

        pt_write_buffer_prefetch(model->buffer, hash);
        pt_write_buffer_prefetch_entry(model->buffer, hash);
        status = pt_write_buffer_get(model->buffer, model->keys[k], hash, commit, &entry);
        if (operation == NULL) {
            PT_REQUIRE(status == PEAT_NOT_FOUND);
        } else if (operation->op == PT_OP_DELETE_RANGE) {
            PT_REQUIRE(status == PEAT_OK && entry.op == PT_OP_DELETE && entry.value.size == 0);
            PT_REQUIRE(pt_same(entry.key, model->keys[k]));
        } else {
            PT_REQUIRE(status == PEAT_OK);
            pt_model_require_entry(model, operation, &entry);
        }
    }
}

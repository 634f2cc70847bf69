/*
 * A write buffer answers for each key and commit what the newest operation up to that commit was,
 * range deletes included; what does not fit, or has no memory, changes nothing.
 */
#include "core/db/write_buffer.h"

#include "core/base/alloc.h"
#include "tests/buffer_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void put(struct pt_write_buffer *buffer, const char *key, const char *value, uint64_t commit)
{
    struct peat_bytes bytes = pt_text(key);

    PT_REQUIRE_OK(pt_write_buffer_reserve(buffer, 1, pt_entry_size(bytes.size, strlen(value))));
    pt_write_buffer_add(buffer, PT_OP_PUT, bytes, pt_text(value), pt_model_hash(bytes), commit);
}

static void delete_range(struct pt_write_buffer *buffer, const char *low, const char *high,
                         uint64_t commit)
{
    PT_REQUIRE_OK(pt_write_buffer_reserve(buffer, 1, pt_entry_size(strlen(low), strlen(high))));
    pt_write_buffer_add_range(buffer, pt_text(low), pt_text(high), commit);
}

/* The value as text, "(deleted)" or "(nothing)"; static until the next call. */
static const char *get(struct pt_write_buffer *buffer, const char *key, uint64_t commit)
{
    static char text[64];
    struct peat_bytes bytes = pt_text(key);
    struct pt_entry entry;
    enum peat_status status =
        pt_write_buffer_get(buffer, bytes, pt_model_hash(bytes), commit, &entry);

    if (status == PEAT_NOT_FOUND)
        return "(nothing)";
    PT_REQUIRE(status == PEAT_OK);
    if (entry.op == PT_OP_DELETE)
        return "(deleted)";
    assert_true(entry.value.size < sizeof(text));
    memcpy(text, entry.value.data, entry.value.size);
    text[entry.value.size] = '\0';
    return text;
}

static struct pt_write_buffer *open_buffer(size_t capacity)
{
    struct pt_write_buffer *buffer;

    PT_REQUIRE_OK(
        pt_write_buffer_open(capacity, 0, PT_MODEL_HASH_SEED, PT_MODEL_FIRST_COMMIT, &buffer));
    return buffer;
}

static void a_get_sees_the_newest_version_up_to_its_commit(void **state)
{
    struct pt_write_buffer *buffer = open_buffer(65536);
    (void)state;

    assert_int_equal(pt_write_buffer_commit(buffer), 4);
    put(buffer, "a", "one", 5);
    put(buffer, "b", "other", 5);
    put(buffer, "a", "two", 6);
    pt_write_buffer_publish(buffer, 7);
    assert_int_equal(pt_write_buffer_commit(buffer), 7);
    assert_string_equal(get(buffer, "a", 4), "(nothing)");
    assert_string_equal(get(buffer, "a", 5), "one");
    assert_string_equal(get(buffer, "a", 6), "two");
    assert_string_equal(get(buffer, "a", 100), "two");
    assert_string_equal(get(buffer, "b", 6), "other");
    assert_string_equal(get(buffer, "c", 6), "(nothing)");
    pt_write_buffer_close(buffer);
}

static void of_a_key_named_twice_in_a_commit_the_last_wins(void **state)
{
    struct pt_write_buffer *buffer = open_buffer(65536);
    struct peat_bytes key = pt_text("a");
    (void)state;

    put(buffer, "a", "first", 5);
    put(buffer, "a", "last", 5);
    pt_write_buffer_publish(buffer, 5);
    assert_string_equal(get(buffer, "a", 5), "last");
    PT_REQUIRE_OK(pt_write_buffer_reserve(buffer, 1, 16));
    pt_write_buffer_add(buffer, PT_OP_DELETE, key, pt_bytes(NULL, 0), pt_model_hash(key), 6);
    pt_write_buffer_publish(buffer, 6);
    assert_string_equal(get(buffer, "a", 6), "(deleted)");
    assert_string_equal(get(buffer, "a", 5), "last");
    pt_write_buffer_close(buffer);
}

static void a_range_delete_hides_what_came_before_it_in_its_batch(void **state)
{
    struct pt_write_buffer *buffer = open_buffer(65536);
    (void)state;

    put(buffer, "b", "before", 5);
    put(buffer, "x", "outside", 5);
    delete_range(buffer, "b", "c", 5);
    put(buffer, "bb", "after", 5);
    pt_write_buffer_publish(buffer, 5);
    assert_int_equal(pt_write_buffer_range_count(buffer), 1);
    assert_int_equal(pt_write_buffer_entry_count(buffer), 4);
    assert_string_equal(get(buffer, "b", 5), "(deleted)");
    assert_string_equal(get(buffer, "ba", 5), "(deleted)"); /* was never put: may lie below */
    assert_string_equal(get(buffer, "bb", 5), "after");
    assert_string_equal(get(buffer, "c", 5), "(nothing)");
    assert_string_equal(get(buffer, "x", 5), "outside");
    assert_string_equal(get(buffer, "ba", 4), "(nothing)");
    pt_write_buffer_close(buffer);
}

static void random_commits_are_read_back_as_of_each_commit(void **state)
{
    uint64_t seed = pt_test_seed();
    struct pt_dice dice = {seed};
    (void)state;

    for (int round = 0; round < 12; round++) {
        uint64_t range_chance = pt_dice_below(&dice, 3) * 10;
        struct pt_buffer_model model;

        pt_test_context("seed %llu, round %d", (unsigned long long)seed, round);
        pt_buffer_model_open(&model, 1 << 20, pt_dice_below(&dice, 1000),
                             2 + pt_dice_below(&dice, 300));
        for (int n = 0; n < 60; n++) {
            (void)pt_buffer_model_commit(&model, &dice, pt_dice_below(&dice, 20), range_chance,
                                         pt_dice_one_in(&dice, 2));
        }
        pt_buffer_model_publish(&model);
        assert_int_equal(pt_write_buffer_entry_count(model.buffer), model.count);
        for (uint64_t commit = PT_MODEL_FIRST_COMMIT - 1; commit <= model.commit + 1; commit += 5)
            pt_model_require_gets(&model, commit);
        pt_model_require_gets(&model, model.commit);
        pt_buffer_model_close(&model);
    }
}

static void the_index_grows_through_many_keys(void **state)
{
    struct pt_buffer_model model;
    struct pt_dice dice = {1};
    struct pt_entry entry;
    (void)state;

    pt_buffer_model_open(&model, 16 << 20, 0, 20000);
    while (model.count < 60000)
        assert_true(pt_buffer_model_commit(&model, &dice, 500, 0, true));
    for (size_t i = model.count; i-- > model.count - 500;) {
        const struct pt_model_operation *operation = &model.operations[i];
        struct peat_bytes key = model.keys[operation->key];

        PT_REQUIRE_OK(
            pt_write_buffer_get(model.buffer, key, pt_model_hash(key), model.commit, &entry));
        pt_model_require_entry(&model, pt_buffer_model_find(&model, operation->key, model.commit),
                               &entry);
    }
    pt_buffer_model_close(&model);
}

/* Bytes that a buffer of @p count keys takes if @p hint were expected. */
static size_t memory_with_hint(size_t count, size_t hint)
{
    struct pt_write_buffer *buffer;
    size_t memory_size;

    PT_REQUIRE_OK(pt_write_buffer_open(16 << 20, hint, PT_MODEL_HASH_SEED, 1, &buffer));
    for (size_t i = 0; i < count; i++) {
        struct peat_bytes key = pt_bytes(&i, sizeof(i));

        PT_REQUIRE_OK(pt_write_buffer_reserve(buffer, 1, 16));
        pt_write_buffer_add(buffer, PT_OP_DELETE, key, pt_bytes(NULL, 0), pt_model_hash(key), 1);
    }
    memory_size = pt_write_buffer_memory_size(buffer);
    pt_write_buffer_close(buffer);
    return memory_size;
}

/* Tables that were outgrown stay: with them it is twice the size of the last one. */
static void a_hint_spares_the_growth(void **state)
{
    (void)state;
    assert_true(memory_with_hint(100000, 0) >= memory_with_hint(100000, 100000) + 8 * 200000);
}

static void a_hint_costs_nothing_before_thousands_have_come(void **state)
{
    (void)state;
    assert_int_equal(memory_with_hint(1000, 100000), memory_with_hint(1000, 0));
    assert_true(memory_with_hint(3000, 100000) >= memory_with_hint(3000, 0) + 8 * 100000);
}

static void an_empty_buffer_costs_a_few_kilobytes(void **state)
{
    struct pt_write_buffer *buffer = open_buffer(64 << 20);
    (void)state;

    assert_true(pt_write_buffer_memory_size(buffer) < 8192);
    assert_int_equal(pt_write_buffer_data_size(buffer), 0);
    put(buffer, "a", "b", 5);
    assert_true(pt_write_buffer_memory_size(buffer) < 256 * 1024);
    assert_int_equal(pt_write_buffer_data_size(buffer), 32);
    pt_write_buffer_close(buffer);
}

static void what_does_not_fit_is_refused_and_what_was_asked_for_fits(void **state)
{
    size_t capacity = pt_write_buffer_capacity_for(1000, 1000 * 24);
    struct pt_write_buffer *buffer = open_buffer(capacity);
    size_t added = 0;
    (void)state;

    PT_REQUIRE_OK(pt_write_buffer_reserve(buffer, 1000, 1000 * 24));
    while (pt_write_buffer_reserve(buffer, 1, 24) == PEAT_OK) {
        struct peat_bytes key = pt_bytes(&added, sizeof(added));

        pt_write_buffer_add(buffer, PT_OP_PUT, key, key, pt_model_hash(key), 5);
        added++;
    }
    assert_true(added >= 1000);
    assert_int_equal(pt_write_buffer_reserve(buffer, 1, 24), PEAT_TOO_LARGE);
    pt_write_buffer_close(buffer);
    assert_int_equal(pt_write_buffer_open((size_t)33 << 30, 0, 0, 1, &buffer), PEAT_TOO_LARGE);
    assert_null(buffer);
}

static size_t allocations_left;

static bool allow_some(size_t size)
{
    (void)size;
    return allocations_left > 0 && allocations_left-- > 0;
}

static void opening_without_memory_fails_cleanly(void **state)
{
    enum peat_status status = PEAT_NO_MEMORY;
    size_t failures = 0;
    (void)state;

    for (; status != PEAT_OK; failures++) {
        struct pt_write_buffer *buffer;

        allocations_left = failures;
        pt_alloc_set_hook(allow_some);
        status = pt_write_buffer_open(1 << 20, 1000, 0, 1, &buffer);
        pt_alloc_set_hook(NULL);
        assert_true(status == PEAT_OK ? buffer != NULL : status == PEAT_NO_MEMORY);
        pt_write_buffer_close(buffer);
    }
    assert_int_equal(failures, 4);
}

static void a_reserve_without_memory_leaves_the_buffer_as_it_was(void **state)
{
    struct pt_write_buffer *buffer = open_buffer(1 << 20);
    (void)state;

    put(buffer, "a", "b", 5);
    allocations_left = 0;
    pt_alloc_set_hook(allow_some);
    assert_int_equal(pt_write_buffer_reserve(buffer, 1000, 24000), PEAT_NO_MEMORY);
    pt_alloc_set_hook(NULL);
    put(buffer, "c", "d", 5);
    pt_write_buffer_publish(buffer, 5);
    assert_string_equal(get(buffer, "a", 5), "b");
    assert_string_equal(get(buffer, "c", 5), "d");
    PT_REQUIRE_OK(pt_write_buffer_reserve(buffer, 1000, 24000));
    assert_string_equal(get(buffer, "a", 5), "b");
    pt_write_buffer_close(buffer);
}

/* Memory runs out and comes back; range deletes are seen all the time. */
static void range_deletes_without_memory_are_seen_all_the_same(void **state)
{
    uint64_t seed = pt_test_seed();
    struct pt_dice dice = {seed};
    struct pt_buffer_model model;
    (void)state;

    pt_test_context("seed %llu", (unsigned long long)seed);
    pt_buffer_model_open(&model, 1 << 20, 0, 200);
    for (int n = 0; n < 100; n++) {
        allocations_left = pt_dice_below(&dice, 6);
        assert_true(pt_buffer_model_commit(&model, &dice, 10, 3, false));
        pt_alloc_set_hook(pt_dice_one_in(&dice, 2) ? allow_some : NULL);
        pt_buffer_model_publish(&model);
        pt_alloc_set_hook(NULL);
        if (n % 10 == 0)
            pt_model_require_gets(&model, model.commit);
    }
    for (uint64_t commit = PT_MODEL_FIRST_COMMIT; commit <= model.commit; commit += 3)
        pt_model_require_gets(&model, commit);
    pt_buffer_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_sees_the_newest_version_up_to_its_commit),
        cmocka_unit_test(of_a_key_named_twice_in_a_commit_the_last_wins),
        cmocka_unit_test(a_range_delete_hides_what_came_before_it_in_its_batch),
        cmocka_unit_test(random_commits_are_read_back_as_of_each_commit),
        cmocka_unit_test(the_index_grows_through_many_keys),
        cmocka_unit_test(a_hint_spares_the_growth),
        cmocka_unit_test(a_hint_costs_nothing_before_thousands_have_come),
        cmocka_unit_test(an_empty_buffer_costs_a_few_kilobytes),
        cmocka_unit_test(what_does_not_fit_is_refused_and_what_was_asked_for_fits),
        cmocka_unit_test(opening_without_memory_fails_cleanly),
        cmocka_unit_test(a_reserve_without_memory_leaves_the_buffer_as_it_was),
        cmocka_unit_test(range_deletes_without_memory_are_seen_all_the_same),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

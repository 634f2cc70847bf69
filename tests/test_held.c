/*
 * The property: a segment stays readable as long as anybody holds it, its region goes back to the
 * arena when the last one lets go, and one whose place or contents are not what the manifest says is
 * refused. A held write buffer's memory is in the store's account as long as it is held.
 */
#include "core/db/held.h"

#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ENTRIES = 500, SEGMENT_ID = 9 };

static const struct pt_id store_id = {{4, 5, 6}};
static const uint64_t hash_seed = 11;

/* An arena in memory with one segment in it. */
struct place {
    struct pt_arena *arena;
    struct pt_extent extent;
    struct pt_segment_summary summary;
};

static enum peat_status place_write(void *context, uint64_t offset, const void *data, size_t size)
{
    const struct place *place = context;

    return pt_file_write(pt_arena_file(place->arena), place->extent.offset + offset, data, size);
}

static void place_open(struct place *place)
{
    struct pt_arena_options options = {.flags = PEAT_CREATE,
                                       .address_space_size = UINT64_C(1) << 30};
    struct pt_segment_identity identity = {store_id, SEGMENT_ID};
    struct pt_segment_sink sink = {place_write, place};
    struct pt_segment_builder *builder;
    bool created;

    PT_REQUIRE_OK(pt_arena_open(NULL, &options, &place->arena, &created));
    PT_REQUIRE_OK(pt_arena_alloc(place->arena, 1 << 20, &place->extent));
    PT_REQUIRE_OK(pt_segment_builder_open(&identity, hash_seed, &sink, &builder));
    for (unsigned i = 0; i < ENTRIES; i++) {
        char text[16];
        struct peat_bytes key = {text, (size_t)snprintf(text, sizeof(text), "key%04u", i)};

        PT_REQUIRE_OK(pt_segment_builder_add(builder, PT_OP_PUT, key, key,
                                             pt_hash(hash_seed, key.data, key.size)));
    }
    PT_REQUIRE_OK(pt_segment_builder_finish(builder, &place->summary));
    pt_segment_builder_close(builder);
}

static enum peat_status held_open(struct place *place, const struct pt_segment_summary *summary,
                                  const _Atomic uint64_t *generation,
                                  struct pt_held_segment **held_out)
{
    return pt_held_segment_open(place->arena, &store_id, SEGMENT_ID, place->extent, summary,
                                false, generation, held_out);
}

static uint64_t retired_size(const struct place *place)
{
    struct pt_arena_space space;

    pt_arena_space(place->arena, &space);
    return space.retired_size;
}

static void the_last_pin_retires_the_region(void **state)
{
    _Atomic uint64_t generation = 5;
    struct place place;
    struct pt_held_segment *held;
    struct pt_entry entry;
    (void)state;

    place_open(&place);
    PT_REQUIRE_OK(held_open(&place, &place.summary, &generation, &held));
    pt_held_segment_pin(held);
    pt_held_segment_unpin(held);
    assert_int_equal(retired_size(&place), 0);
    PT_REQUIRE_OK(pt_segment_get(held->segment, pt_text("key0123"),
                                 pt_hash(hash_seed, "key0123", 7), &entry));
    assert_true(pt_same(entry.value, pt_text("key0123")));

    atomic_store(&generation, 8);
    pt_held_segment_unpin(held);
    assert_int_equal(retired_size(&place), place.extent.size);
    pt_arena_reclaim(place.arena, 7);
    assert_int_equal(retired_size(&place), place.extent.size);
    pt_arena_reclaim(place.arena, 8);
    assert_int_equal(retired_size(&place), 0);
    pt_held_segment_unpin(NULL);
    pt_arena_close(place.arena);
}

static void without_a_generation_nothing_is_retired(void **state)
{
    struct place place;
    struct pt_held_segment *held;
    (void)state;

    place_open(&place);
    PT_REQUIRE_OK(held_open(&place, &place.summary, NULL, &held));
    pt_held_segment_unpin(held);
    assert_int_equal(retired_size(&place), 0);
    pt_arena_close(place.arena);
}

static void a_place_outside_the_file_is_refused(void **state)
{
    struct place place;
    struct place moved;
    struct pt_segment_summary summary;
    struct pt_held_segment *held;
    (void)state;

    place_open(&place);
    moved = place;
    moved.extent.offset = pt_arena_size(place.arena);
    PT_REQUIRE_STATUS(held_open(&moved, &place.summary, NULL, &held), PEAT_CORRUPT);
    assert_null(held);
    moved.extent.offset = UINT64_MAX - PT_REGION_UNIT + 1;
    PT_REQUIRE_STATUS(held_open(&moved, &place.summary, NULL, &held), PEAT_CORRUPT);
    moved = place;
    moved.extent.size = pt_arena_size(place.arena) + PT_REGION_UNIT;
    summary = place.summary;
    summary.size = moved.extent.size;
    PT_REQUIRE_STATUS(held_open(&moved, &summary, NULL, &held), PEAT_CORRUPT);
    summary.size = place.extent.size + 1;
    PT_REQUIRE_STATUS(held_open(&place, &summary, NULL, &held), PEAT_CORRUPT);
    summary.size = 0;
    PT_REQUIRE_STATUS(held_open(&place, &summary, NULL, &held), PEAT_CORRUPT);
    pt_arena_close(place.arena);
}

static void a_summary_that_the_footer_contradicts_is_refused(void **state)
{
    struct place place;
    struct pt_segment_summary summary;
    struct pt_held_segment *held;
    (void)state;

    place_open(&place);
    summary = place.summary;
    summary.entry_count--;
    PT_REQUIRE_STATUS(held_open(&place, &summary, NULL, &held), PEAT_CORRUPT);
    assert_null(held);
    summary = place.summary;
    summary.range_count++;
    PT_REQUIRE_STATUS(held_open(&place, &summary, NULL, &held), PEAT_CORRUPT);
    summary = place.summary;
    summary.size -= 8;
    PT_REQUIRE_STATUS(held_open(&place, &summary, NULL, &held), PEAT_CORRUPT);
    pt_arena_close(place.arena);
}

static void a_held_buffer_is_in_the_account_until_it_is_let_go(void **state)
{
    struct pt_log_point start = {.commit = 41};
    _Atomic uint64_t memory_size = 100;
    struct pt_held_buffer *held;
    char value[1000] = {0};
    uint64_t empty_size;
    (void)state;

    PT_REQUIRE_OK(pt_held_buffer_open(1 << 20, 0, hash_seed, &start, &memory_size, &held));
    assert_int_equal(held->start.commit, 41);
    assert_int_equal(pt_write_buffer_commit(held->buffer), 41);
    empty_size = pt_write_buffer_memory_size(held->buffer);
    assert_int_equal(atomic_load(&memory_size), 100 + empty_size);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct peat_bytes bytes = {value, sizeof(value)};

        PT_REQUIRE_OK(pt_write_buffer_reserve(held->buffer, 1, pt_entry_size(1, sizeof(value))));
        pt_write_buffer_add(held->buffer, PT_OP_PUT, pt_text("k"), bytes,
                            pt_hash(hash_seed, "k", 1), 42 + i);
        pt_write_buffer_publish(held->buffer, 42 + i);
    }
    pt_held_buffer_account(held);
    assert_int_equal(atomic_load(&memory_size), 100 + pt_write_buffer_memory_size(held->buffer));
    assert_true(atomic_load(&memory_size) > 100 + empty_size);
    pt_held_buffer_pin(held);
    pt_held_buffer_unpin(held);
    assert_true(atomic_load(&memory_size) > 100);
    pt_held_buffer_unpin(held);
    assert_int_equal(atomic_load(&memory_size), 100);
    pt_held_buffer_unpin(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_pin_retires_the_region),
        cmocka_unit_test(without_a_generation_nothing_is_retired),
        cmocka_unit_test(a_place_outside_the_file_is_refused),
        cmocka_unit_test(a_summary_that_the_footer_contradicts_is_refused),
        cmocka_unit_test(a_held_buffer_is_in_the_account_until_it_is_let_go),
    };
    int failed;

    pt_test_start();
    PT_REQUIRE_OK(pt_checksum_start());
    failed = cmocka_run_group_tests_name("held", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

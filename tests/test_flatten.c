/*
 * The property: whatever the size at which it stops and goes on, flattening loses neither an entry
 * nor a range delete.
 */
#include "core/base/alloc.h"
#include "core/db/flatten.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { PAIRS = 200, VALUE_SIZE = 1000, NAME_SIZE = 16 };

/* Keys k000, k001, ... with a range delete between each and the next. */
static struct peat_bytes name_of(char name[NAME_SIZE], unsigned number, const char *tail)
{
    int size = snprintf(name, NAME_SIZE, "k%03u%s", number, tail);

    return pt_bytes(name, (size_t)size);
}

static struct pt_write_buffer *buffer_make(void)
{
    static const uint8_t value[VALUE_SIZE];
    size_t size = PAIRS * (size_t)pt_entry_size(NAME_SIZE, VALUE_SIZE) * 2;
    struct pt_write_buffer *buffer;

    PT_REQUIRE_OK(
        pt_write_buffer_open(pt_write_buffer_capacity_for(2 * PAIRS, size), 0, 0, 1, &buffer));
    PT_REQUIRE_OK(pt_write_buffer_reserve(buffer, 2 * PAIRS, size));
    for (unsigned i = 0; i < PAIRS; i++) {
        char low[NAME_SIZE];
        char high[NAME_SIZE];
        struct peat_bytes key = name_of(low, i, "");

        pt_write_buffer_add(buffer, PT_OP_PUT, key, pt_bytes(value, VALUE_SIZE),
                            pt_hash(0, key.data, key.size), 1);
        pt_write_buffer_add_range(buffer, name_of(low, i, "m"), name_of(high, i, "n"), 1);
    }
    pt_write_buffer_publish(buffer, 1);
    return buffer;
}

/* Flatten from @p low on until the first segment is full. *stopped_out as in pt_flatten_run(). */
static void flatten_piece(struct peat_db *db, const struct pt_buffer_view *view,
                          struct peat_bytes low, struct pt_slice_list *slices,
                          struct pt_run_writer *writer, struct peat_bytes *stopped_out)
{
    struct pt_cover cover;
    struct pt_flatten flatten = {.covers = &cover, .cover_count = 1, .size_max = 1};
    const struct pt_key_range *ranges;
    size_t count;

    PT_REQUIRE_OK(pt_join_init(&flatten.join, 1, 0));
    pt_join_add_buffer(&flatten.join, 0, view, 0, low, pt_bytes(NULL, 0));
    pt_cover_init_buffer(&cover, 0, view);
    ranges = pt_buffer_view_ranges(view, &count);
    for (size_t i = 0; i < count; i++) {
        if (low.data == NULL || pt_bytes_compare(ranges[i].low, low) >= 0)
            PT_REQUIRE_OK(pt_range_bag_add(&flatten.ranges, ranges[i].low, ranges[i].high));
    }
    pt_run_writer_init(writer, db, slices, 0, 0, &db->counters.bytes_merged);
    PT_REQUIRE_OK(pt_flatten_run(&flatten, writer, stopped_out));
    pt_flatten_fini(&flatten);
}

static void pieces_together_hold_every_entry_and_range_delete(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct pt_write_buffer *buffer = buffer_make();
    struct peat_bytes low = pt_bytes(NULL, 0);
    struct pt_buffer_view *view;
    struct peat_db *db;
    uint64_t entries = 0;
    uint64_t ranges = 0;
    unsigned pieces = 0;

    (void)state;
    PT_REQUIRE_OK(peat_open(NULL, &options, &db));
    PT_REQUIRE_OK(pt_buffer_view_open_sealed(buffer, &view));
    do {
        struct pt_slice_list slices = {NULL, 0, 0};
        struct pt_run_writer writer;

        flatten_piece(db, view, low, &slices, &writer, &low);
        for (size_t i = 0; i < slices.count; i++) {
            entries += slices.slices[i].held->summary.entry_count;
            ranges += slices.slices[i].held->summary.range_count;
        }
        pt_run_writer_fini(&writer);
        pt_slice_list_fini(&slices);
        pieces++;
    } while (low.data != NULL);
    PT_REQUIRE(pieces > 3);
    PT_REQUIRE(entries == PAIRS);
    PT_REQUIRE(ranges == PAIRS);
    pt_buffer_view_close(view);
    pt_write_buffer_close(buffer);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_together_hold_every_entry_and_range_delete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The property: wherever in a segment its builder comes to write, in whichever section or at the edge of two, an
 * error of the sink comes back, and a sink that takes everything gets the segment.
 */
#include "core/segment/chunk_writer.h"

#include "tests/support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sizes in bytes. There are so many entries that fences have two levels, and that ordinals and fences end where
 * a section may begin. */
enum {
    SMALL = 158, /* entries of ENTRY_SIZE */
    ENTRY_SIZE = 24,
    RANGES = 3, /* range deletes of RANGE_SIZE */
    RANGE_SIZE = 24,
    LARGE_SIZE = PT_CHUNK_WRITER_PIECE_MAX + 64, /* of a value, written in pieces */
    INDEX_SIZE = 3072,                           /* of all indexes, and more */
    EDGE_SIZE = 64,
    KEY_ROOM = 16
};

/* The value of the first entry, which moves all that is behind it. */
static uint8_t filler[2 * PT_CHUNK_WRITER_WRITE_SIZE];

static const struct pt_segment_identity identity = {.segment_id = 7};

static enum peat_status refuse(void *context, uint64_t offset, const void *data, size_t size)
{
    (void)data;
    (void)size;
    *(uint64_t *)context = offset;
    return pt_fail(PEAT_NO_SPACE, "as the test wants it");
}

static enum peat_status take(void *context, uint64_t offset, const void *data, size_t size)
{
    uint64_t *taken = context;

    (void)data;
    PT_REQUIRE(offset == *taken);
    *taken += size;
    return PEAT_OK;
}

static enum peat_status add(struct pt_segment_builder *builder, char letter, unsigned number,
                            size_t value_size)
{
    char room[KEY_ROOM];
    struct peat_bytes key = {room, (size_t)snprintf(room, sizeof(room), "%c%06u", letter, number)};

    return pt_segment_builder_add(builder, PT_OP_PUT, key, pt_bytes(filler, value_size), number);
}

static enum peat_status add_range(struct pt_segment_builder *builder, unsigned number)
{
    char rooms[2][KEY_ROOM];
    struct peat_bytes low = {rooms[0], (size_t)snprintf(rooms[0], KEY_ROOM, "k%06u", 2 * number)};
    struct peat_bytes high = {rooms[1],
                              (size_t)snprintf(rooms[1], KEY_ROOM, "k%06u", 2 * number + 1)};

    return pt_segment_builder_add_range(builder, low, high);
}

/* An entry of @p first_size bytes, a large one, small ones, range deletes. */
static enum peat_status build(size_t first_size, const struct pt_segment_sink *sink,
                              struct pt_segment_summary *summary)
{
    struct pt_segment_builder *builder = NULL;
    enum peat_status status = pt_segment_builder_open(&identity, 1, sink, &builder);

    if (status >= 0)
        status = add(builder, 'a', 0, first_size);
    if (status >= 0)
        status = add(builder, 'b', 1, LARGE_SIZE);
    for (unsigned i = 0; i < SMALL && status >= 0; i++)
        status = add(builder, 'k', 2 + i, ENTRY_SIZE - PT_ENTRY_HEADER_SIZE - 7);
    for (unsigned i = 0; i < RANGES && status >= 0; i++)
        status = add_range(builder, i);
    if (status >= 0)
        status = pt_segment_builder_finish(builder, summary);
    pt_segment_builder_close(builder);
    return status;
}

/* The first write is due at byte @p behind of what comes behind the first entry. */
static void require_refused(uint64_t behind)
{
    struct pt_segment_summary summary;
    uint64_t offset = UINT64_MAX;
    struct pt_segment_sink sink = {refuse, &offset};
    size_t size = PT_CHUNK_WRITER_WRITE_SIZE - (size_t)behind - PT_ENTRY_HEADER_SIZE - KEY_ROOM;

    pt_test_context("byte %" PRIu64 " behind the first entry", behind);
    PT_REQUIRE_STATUS(build(size, &sink, &summary), PEAT_NO_SPACE);
    PT_REQUIRE(offset == 0);
    pt_test_context("%s", "");
}

static void an_error_comes_back_wherever_the_first_write_is_due(void **state)
{
    const uint64_t small = LARGE_SIZE + EDGE_SIZE;
    const uint64_t indexes = LARGE_SIZE + SMALL * ENTRY_SIZE;
    (void)state;

    for (uint64_t at = 0; at < EDGE_SIZE; at += PT_ENTRY_ALIGN)
        require_refused(at);
    for (uint64_t at = LARGE_SIZE - EDGE_SIZE; at < small; at += PT_ENTRY_ALIGN)
        require_refused(at);
    for (uint64_t at = indexes; at < indexes + RANGES * RANGE_SIZE + INDEX_SIZE;
         at += PT_ENTRY_ALIGN)
        require_refused(at);
}

static void an_error_comes_back_from_what_is_written_past_the_buffer(void **state)
{
    struct pt_segment_summary summary;
    uint64_t offset = UINT64_MAX;
    struct pt_segment_sink sink = {refuse, &offset};
    struct pt_segment_builder *builder;
    (void)state;

    PT_REQUIRE_STATUS(build(sizeof(filler), &sink, &summary), PEAT_NO_SPACE);
    PT_REQUIRE_OK(pt_segment_builder_open(&identity, 1, &sink, &builder));
    PT_REQUIRE_OK(add(builder, 'a', 0, 1));
    /* what is in the buffer goes first */
    PT_REQUIRE_STATUS(add(builder, 'b', 1, sizeof(filler)), PEAT_NO_SPACE);
    PT_REQUIRE(offset == 0);
    pt_segment_builder_close(builder);
}

static void a_sink_that_takes_everything_gets_the_segment(void **state)
{
    struct pt_segment_summary summary;
    uint64_t taken = 0;
    struct pt_segment_sink sink = {take, &taken};
    (void)state;

    PT_REQUIRE_OK(build(sizeof(filler), &sink, &summary));
    PT_REQUIRE(taken == summary.size);
    PT_REQUIRE(summary.entry_count == 2 + SMALL && summary.range_count == RANGES);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_comes_back_wherever_the_first_write_is_due),
        cmocka_unit_test(an_error_comes_back_from_what_is_written_past_the_buffer),
        cmocka_unit_test(a_sink_that_takes_everything_gets_the_segment),
    };
    int failed;

    pt_test_start();
    pt_value_fill(17, filler, sizeof(filler));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

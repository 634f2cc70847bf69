/*
 * The property: the statistics account for every byte of the file, and what they count is what the
 * store holds, for the writer and for a reader beside it.
 */
#include "core/arena/arena.h"

#include "tests/support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ENTRIES = 20000, VALUE_SIZE = 100, ROUNDS = 6 };

static struct peat_db *store_open(const char *path, unsigned flags)
{
    struct peat_options options = pt_test_options(flags);
    struct peat_db *db;

    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    return db;
}

static void entries_put(struct peat_db *db, uint64_t seed)
{
    struct peat_batch *batch = peat_batch_new(0);

    PT_REQUIRE(batch != NULL);
    for (unsigned i = 0; i < ENTRIES; i++) {
        char text[32];
        struct peat_bytes key = {text, (size_t)snprintf(text, sizeof(text), "key%06u", i)};
        void *value;

        PT_REQUIRE_OK(peat_batch_put_reserve(batch, NULL, key, VALUE_SIZE, &value));
        pt_value_fill(seed + i, value, VALUE_SIZE);
        if (peat_batch_count(batch) < 1000)
            continue;
        PT_REQUIRE_OK(peat_write(db, batch, PEAT_DEFAULT, NULL));
        peat_batch_clear(batch);
    }
    peat_batch_free(batch);
}

static struct peat_stats stats_of(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats;
}

static void require_accounted(const struct peat_stats *stats)
{
    PT_REQUIRE(stats->file_size == PT_ARENA_START + stats->segment_size + stats->log_size +
                                       stats->manifest_size + stats->history_size +
                                       stats->free_size + stats->reserve_size +
                                       stats->pending_size);
}

static void every_byte_of_an_idle_store_is_accounted_for(void **state)
{
    struct peat_stats stats;
    struct peat_db *db;
    (void)state;

    db = store_open(pt_test_path("idle"), PEAT_CREATE);
    stats = stats_of(db);
    require_accounted(&stats);
    PT_REQUIRE(stats.segment_count == 0 && stats.run_count == 0 && stats.entry_count == 0);
    PT_REQUIRE(stats.buffer_count == 1 && stats.buffer_size == 0);
    for (unsigned i = 0; i < ROUNDS; i++)
        entries_put(db, i);
    stats = pt_test_stats_at_rest(db);
    require_accounted(&stats);
    PT_REQUIRE(stats.run_count == 1 && stats.segment_count >= 1);
    PT_REQUIRE(stats.entry_count == ENTRIES);
    PT_REQUIRE(stats.segment_size > ENTRIES * VALUE_SIZE);
    PT_REQUIRE(stats.bytes_put == ROUNDS * ENTRIES * (uint64_t)(9 + VALUE_SIZE));
    PT_REQUIRE(stats.bytes_flushed > stats.bytes_put / 2);
    PT_REQUIRE(stats.memory_size > 0 && stats.allocated_size > 0);
    PT_REQUIRE_OK(peat_close(db));
}

static void what_a_snapshot_keeps_is_pending(void **state)
{
    struct peat_snapshot *snapshot;
    struct peat_stats stats;
    struct peat_db *db;
    (void)state;

    db = store_open(NULL, 0);
    entries_put(db, 0);
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE(stats_of(db).snapshot_count == 1);
    entries_put(db, 1);
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    stats = stats_of(db);
    require_accounted(&stats);
    PT_REQUIRE(stats.pending_size > ENTRIES * VALUE_SIZE);
    PT_REQUIRE(stats.entry_count == ENTRIES);
    peat_snapshot_close(snapshot);
    stats = pt_test_stats_at_rest(db);
    PT_REQUIRE(stats.snapshot_count == 0);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_reader_counts_what_it_sees(void **state)
{
    struct peat_stats written;
    struct peat_stats seen;
    struct peat_db *reader;
    struct peat_db *db;
    (void)state;

    db = store_open(pt_test_path("seen"), PEAT_CREATE);
    entries_put(db, 0);
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    written = stats_of(db);
    reader = store_open(pt_test_path("seen"), PEAT_READ_ONLY);
    seen = stats_of(reader);
    require_accounted(&seen);
    PT_REQUIRE(memcmp(seen.store_id, written.store_id, sizeof(seen.store_id)) == 0);
    PT_REQUIRE(seen.commit == written.commit && seen.generation == written.generation);
    PT_REQUIRE(seen.entry_count == written.entry_count);
    PT_REQUIRE(seen.segment_count == written.segment_count);
    PT_REQUIRE(seen.segment_size == written.segment_size);
    PT_REQUIRE(seen.bytes_logged == 0 && seen.free_size == 0);
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE_OK(peat_close(db));
}

static void what_an_older_reader_holds_is_pending_where_no_writer_is(void **state)
{
    struct peat_stats stats;
    struct peat_db *older;
    struct peat_db *newer;
    struct peat_db *db;
    (void)state;

    db = store_open(pt_test_path("held"), PEAT_CREATE);
    entries_put(db, 0);
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    older = store_open(pt_test_path("held"), PEAT_READ_ONLY);
    entries_put(db, 1);
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    PT_REQUIRE_OK(peat_close(db));
    newer = store_open(pt_test_path("held"), PEAT_READ_ONLY);
    stats = stats_of(newer);
    require_accounted(&stats);
    PT_REQUIRE(stats.reader_pinned_size > ENTRIES * VALUE_SIZE);
    PT_REQUIRE(stats.reader_pinned_size == stats.pending_size);
    PT_REQUIRE_OK(peat_close(older));
    stats = stats_of(newer);
    require_accounted(&stats);
    PT_REQUIRE(stats.reader_pinned_size == 0 && stats.pending_size == 0);
    PT_REQUIRE(stats.free_size > ENTRIES * VALUE_SIZE);
    PT_REQUIRE_OK(peat_close(newer));
}

static void a_newer_programs_struct_is_filled_up_with_zeros(void **state)
{
    struct {
        struct peat_stats known;
        uint64_t newer[3];
    } stats;
    struct peat_db *db;
    (void)state;

    db = store_open(NULL, 0);
    memset(&stats, 0xab, sizeof(stats));
    stats.known.struct_size = sizeof(stats);
    PT_REQUIRE_OK(peat_stats_get(db, &stats.known));
    PT_REQUIRE(stats.known.struct_size == sizeof(stats) && stats.known.buffer_count == 1);
    PT_REQUIRE(stats.newer[0] == 0 && stats.newer[2] == 0);
    stats.known.struct_size = SIZE_MAX;
    PT_REQUIRE_STATUS(peat_stats_get(db, &stats.known), PEAT_INVALID);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_of_an_idle_store_is_accounted_for),
        cmocka_unit_test(what_a_snapshot_keeps_is_pending),
        cmocka_unit_test(a_reader_counts_what_it_sees),
        cmocka_unit_test(what_an_older_reader_holds_is_pending_where_no_writer_is),
        cmocka_unit_test(a_newer_programs_struct_is_filled_up_with_zeros),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("stats", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

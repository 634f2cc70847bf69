/*
 * The property: what a wrong program hands in is refused with a status by every public call, and
 * changes nothing: NULL, flags that do not exist, handles that another store gave out.
 */
#include "tests/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUIRE_INVALID(call) PT_REQUIRE_STATUS(call, PEAT_INVALID)

/* --- helpers -------------------------------------------------------------------------------- */

static struct peat_db *memory_store(void)
{
    struct peat_options options = pt_test_options(0);
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(NULL, &options, &db));
    return db;
}

static struct peat_collection *collection_in(struct peat_db *db, const char *name)
{
    struct peat_collection *collection;

    PT_REQUIRE_OK(peat_collection_open(db, NULL, name, PEAT_CREATE, &collection));
    return collection;
}

static bool never_called(void *context, const char *name)
{
    (void)context;
    (void)name;
    pt_test_fail(__FILE__, __LINE__, "a callback of a refused call");
}

static bool no_difference(void *context, const struct peat_difference *difference)
{
    (void)context;
    (void)difference;
    pt_test_fail(__FILE__, __LINE__, "a callback of a refused call");
}

static bool no_piece(void *context, const void *data, size_t size)
{
    (void)context;
    (void)data;
    (void)size;
    pt_test_fail(__FILE__, __LINE__, "a callback of a refused call");
}

static bool no_feed(void *context, const struct peat_feed_info *info)
{
    (void)context;
    (void)info;
    pt_test_fail(__FILE__, __LINE__, "a callback of a refused call");
}

/* --- NULL ----------------------------------------------------------------------------------- */

static void calls_on_a_store_refuse_null(void **state)
{
    struct peat_bytes key = pt_text("key");
    struct peat_snapshot *snapshot;
    struct peat_collection *collection;
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    struct peat_position position;
    uint64_t newest;
    char buffer[8];
    size_t size;
    (void)state;

    REQUIRE_INVALID(peat_open("there is none", NULL, NULL));
    REQUIRE_INVALID(peat_sync(NULL));
    REQUIRE_INVALID(peat_refresh(NULL));
    REQUIRE_INVALID(peat_flush(NULL));
    REQUIRE_INVALID(peat_wait_idle(NULL, 1));
    REQUIRE_INVALID(peat_check(NULL, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_compact(NULL, NULL, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_stats_get(NULL, &stats));
    REQUIRE_INVALID(peat_put(NULL, NULL, key, key));
    REQUIRE_INVALID(peat_delete(NULL, NULL, key));
    REQUIRE_INVALID(peat_snapshot_open(NULL, &snapshot));
    REQUIRE_INVALID(peat_get_copy(NULL, NULL, key, buffer, sizeof(buffer), &size));
    REQUIRE_INVALID(peat_collection_open(NULL, NULL, "name", 0, &collection));
    REQUIRE_INVALID(peat_collection_drop(NULL, NULL));
    REQUIRE_INVALID(peat_history_list(NULL, NULL, NULL));
    REQUIRE_INVALID(peat_history_open(NULL, NULL, 1, &snapshot));
    REQUIRE_INVALID(peat_history_drop(NULL, NULL, 1));
    REQUIRE_INVALID(peat_snapshot_persist(NULL, "name", NULL));
    REQUIRE_INVALID(peat_revert(NULL, NULL, 1, NULL));
    REQUIRE_INVALID(peat_position_get(NULL, &position));
    REQUIRE_INVALID(peat_wait_commit(NULL, 1, 0, &newest));
    REQUIRE_INVALID(peat_feed_list(NULL, no_feed, NULL));
    REQUIRE_INVALID(peat_feed_drop(NULL, "name"));
}

static void calls_on_other_handles_refuse_null(void **state)
{
    struct peat_bytes key = pt_text("key");
    struct peat_bytes value;
    struct peat_entry entry;
    struct peat_iterator *iterator;
    struct peat_collection *collection;
    uint8_t digest[32];
    void *place;
    size_t size;
    (void)state;

    REQUIRE_INVALID(peat_batch_put(NULL, NULL, key, key));
    REQUIRE_INVALID(peat_batch_put_reserve(NULL, NULL, key, 1, &place));
    REQUIRE_INVALID(peat_batch_delete(NULL, NULL, key));
    REQUIRE_INVALID(peat_batch_delete_range(NULL, NULL, pt_none, pt_none));
    REQUIRE_INVALID(peat_get(NULL, NULL, key, &value));
    REQUIRE_INVALID(peat_get_many(NULL, NULL, &key, 1, &value));
    REQUIRE_INVALID(peat_collection_list(NULL, NULL, never_called, NULL));
    REQUIRE_INVALID(peat_collection_open_at(NULL, NULL, "name", &collection));
    REQUIRE_INVALID(peat_diff(NULL, NULL, NULL, no_difference, NULL));
    REQUIRE_INVALID(peat_digest(NULL, NULL, NULL, digest, NULL));
    REQUIRE_INVALID(peat_iterator_open(NULL, NULL, NULL, &iterator));
    REQUIRE_INVALID(peat_iterator_first(NULL));
    REQUIRE_INVALID(peat_iterator_last(NULL));
    REQUIRE_INVALID(peat_iterator_seek(NULL, key));
    REQUIRE_INVALID(peat_iterator_seek_before(NULL, key));
    REQUIRE_INVALID(peat_iterator_next(NULL));
    REQUIRE_INVALID(peat_iterator_previous(NULL));
    REQUIRE_INVALID(peat_iterator_next_many(NULL, &entry, 1, &size));
}

static void outputs_that_are_null_are_refused(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_bytes key = pt_text("key");
    struct peat_bytes value;
    struct peat_entry entry;
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;
    struct peat_range range;
    struct peat_record record = {.kind = PEAT_RECORD_BATCH};
    struct peat_operation operation;
    size_t place = 0;
    char buffer[8];
    size_t size;

    pt_fixture_put(fixture, "key", "value");
    snapshot = pt_fixture_snapshot(fixture);
    iterator = pt_fixture_iterator(fixture, NULL);
    REQUIRE_INVALID(peat_write(fixture->db, NULL, PEAT_DEFAULT, NULL));
    REQUIRE_INVALID(peat_batch_put_reserve(fixture->batch, NULL, key, 1, NULL));
    REQUIRE_INVALID(peat_snapshot_open(fixture->db, NULL));
    REQUIRE_INVALID(peat_get(snapshot, NULL, key, NULL));
    REQUIRE_INVALID(peat_get_copy(fixture->db, NULL, key, NULL, 8, &size));
    REQUIRE_INVALID(peat_get_copy(fixture->db, NULL, key, buffer, sizeof(buffer), NULL));
    REQUIRE_INVALID(peat_get_many(snapshot, NULL, NULL, 1, &value));
    REQUIRE_INVALID(peat_get_many(snapshot, NULL, &key, 1, NULL));
    REQUIRE_INVALID(peat_iterator_open(snapshot, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_iterator_next_many(iterator, NULL, 1, &size));
    REQUIRE_INVALID(peat_iterator_next_many(iterator, &entry, 1, NULL));
    PT_REQUIRE_OK(
        peat_iterator_next_many(iterator, NULL, 0, &size)); /* room for none is no error */
    PT_REQUIRE(size == 0);
    REQUIRE_INVALID(peat_collection_open(fixture->db, NULL, "name", PEAT_CREATE, NULL));
    REQUIRE_INVALID(peat_collection_open_at(snapshot, NULL, "name", NULL));
    REQUIRE_INVALID(peat_history_open(fixture->db, NULL, 1, NULL));
    REQUIRE_INVALID(peat_digest(snapshot, NULL, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_stats_get(fixture->db, NULL));
    REQUIRE_INVALID(peat_backup_inspect(fixture->path, NULL));
    REQUIRE_INVALID(peat_last_damage(NULL));
    REQUIRE_INVALID(peat_iterator_damage(NULL, &range));
    REQUIRE_INVALID(peat_iterator_damage(iterator, NULL));
    REQUIRE_INVALID(peat_iterator_pass_damage(NULL));
    REQUIRE_INVALID(peat_salvage(NULL, "new", NULL, NULL));
    REQUIRE_INVALID(peat_salvage(fixture->path, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_position_get(fixture->db, NULL));
    REQUIRE_INVALID(peat_feed_list(fixture->db, NULL, NULL));
    REQUIRE_INVALID(peat_record_operation(&record, NULL, &operation));
    REQUIRE_INVALID(peat_record_operation(&record, &place, NULL));
    REQUIRE_INVALID(peat_record_operation(NULL, &place, &operation));
    PT_REQUIRE(peat_batch_count(fixture->batch) == 0);
    pt_fixture_require_keys(fixture, NULL, NULL, "key");
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
}

static void names_paths_and_callbacks_that_are_null_are_refused(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    struct peat_collection *collection = (struct peat_collection *)(uintptr_t)1;
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    struct peat_backup_options options;
    const char *paths[] = {fixture->path, NULL};

    REQUIRE_INVALID(peat_collection_open(fixture->db, NULL, NULL, PEAT_CREATE, &collection));
    REQUIRE_INVALID(peat_collection_open_at(snapshot, NULL, NULL, &collection));
    REQUIRE_INVALID(peat_collection_list(snapshot, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_diff(snapshot, snapshot, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_diff(snapshot, NULL, NULL, no_difference, NULL));
    REQUIRE_INVALID(peat_history_list(fixture->db, NULL, NULL));
    REQUIRE_INVALID(peat_snapshot_persist(fixture->db, NULL, NULL));
    REQUIRE_INVALID(peat_backup(fixture->db, NULL, NULL, NULL));
    peat_backup_options_init(&options);
    options.path = pt_test_path("backup");
    REQUIRE_INVALID(peat_backup(NULL, NULL, &options, NULL));
    options.since = paths;
    options.since_count = 2;
    REQUIRE_INVALID(peat_backup(fixture->db, NULL, &options, NULL));
    REQUIRE_INVALID(peat_restore(pt_test_path("restored"), paths, 2, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_restore(pt_test_path("restored"), paths, 0, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_restore(pt_test_path("restored"), NULL, 1, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_restore(NULL, paths, 1, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_backup_inspect(NULL, &info));
    peat_snapshot_close(snapshot);
}

static void releases_and_looks_take_null(void **state)
{
    (void)state;
    PT_REQUIRE_OK(peat_close(NULL));
    PT_REQUIRE_OK(peat_abort(NULL));
    peat_collection_close(NULL);
    peat_snapshot_close(NULL);
    peat_iterator_close(NULL);
    peat_batch_free(NULL);
    peat_batch_clear(NULL);
    peat_options_init(NULL);
    peat_backup_options_init(NULL);
    peat_salvage_options_init(NULL);
    PT_REQUIRE(peat_batch_count(NULL) == 0 && peat_batch_size(NULL) == 0);
    PT_REQUIRE(peat_snapshot_commit(NULL) == 0);
    PT_REQUIRE(peat_collection_number(NULL) == 1 && peat_flags(NULL) == 0);
    PT_REQUIRE(peat_iterator_key(NULL).data == NULL && peat_iterator_value(NULL).data == NULL);
}

/* --- flags and sizes ------------------------------------------------------------------------ */

static void unknown_flags_are_refused(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    struct peat_range range = {.flags = 0x4000};
    struct peat_collection *collection;
    struct peat_iterator *iterator;

    REQUIRE_INVALID(peat_iterator_open(snapshot, NULL, &range, &iterator));
    PT_REQUIRE(iterator == NULL);
    REQUIRE_INVALID(
        peat_collection_open(fixture->db, NULL, "name", PEAT_CREATE | 0x4000, &collection));
    PT_REQUIRE(collection == NULL);
    PT_REQUIRE_STATUS(peat_collection_open(fixture->db, NULL, "name", 0, &collection),
                      PEAT_NOT_FOUND);
    peat_snapshot_close(snapshot);
}

static void a_bound_of_null_with_a_size_is_refused_on_either_side(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    struct peat_range low = {.low = pt_null_with_size};
    struct peat_range high = {.high = pt_null_with_size};
    struct peat_iterator *iterator;

    REQUIRE_INVALID(peat_iterator_open(snapshot, NULL, &low, &iterator));
    REQUIRE_INVALID(peat_iterator_open(snapshot, NULL, &high, &iterator));
    assert_non_null(strstr(peat_last_error(), "NULL given as 5 bytes"));
    peat_snapshot_close(snapshot);
}

static void an_address_space_that_no_system_has_is_refused(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;
    (void)state;

    options.address_space_size = SIZE_MAX;
    PT_REQUIRE_STATUS(peat_open(pt_test_path("vast"), &options, &db), PEAT_NO_MEMORY);
    options.address_space_size = SIZE_MAX - 4095;
    PT_REQUIRE_STATUS(peat_open(NULL, &options, &db), PEAT_NO_MEMORY);
}

/* --- another store's handles ---------------------------------------------------------------- */

static void p3_reads_refuse_a_collection_of_another_store(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *other = memory_store();
    struct peat_collection *own = collection_in(fixture->db, "same");
    struct peat_collection *foreign = collection_in(other, "same"); /* with the same id */
    struct peat_snapshot *snapshot = pt_fixture_snapshot(fixture);
    struct peat_collection *collection;
    struct peat_iterator *iterator;
    struct peat_bytes key = pt_text("key");
    struct peat_bytes value;
    char buffer[8];
    size_t size;

    REQUIRE_INVALID(peat_get(snapshot, foreign, key, &value));
    REQUIRE_INVALID(peat_get_copy(fixture->db, foreign, key, buffer, sizeof(buffer), &size));
    REQUIRE_INVALID(peat_get_many(snapshot, foreign, &key, 1, &value));
    REQUIRE_INVALID(peat_iterator_open(snapshot, foreign, NULL, &iterator));
    REQUIRE_INVALID(peat_collection_open(fixture->db, foreign, "child", 0, &collection));
    REQUIRE_INVALID(peat_collection_open_at(snapshot, foreign, "child", &collection));
    REQUIRE_INVALID(peat_collection_list(snapshot, foreign, never_called, NULL));
    REQUIRE_INVALID(peat_diff(snapshot, snapshot, foreign, no_difference, NULL));
    PT_REQUIRE_STATUS(peat_get(snapshot, own, key, &value), PEAT_NOT_FOUND);
    peat_snapshot_close(snapshot);
    peat_collection_close(own);
    peat_collection_close(foreign);
    PT_REQUIRE_OK(peat_close(other));
}

static void p3_writes_refuse_a_collection_of_another_store(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *other = memory_store();
    struct peat_collection *own = collection_in(fixture->db, "same");
    struct peat_collection *foreign = collection_in(other, "same");
    struct peat_collection *collection;
    struct peat_bytes key = pt_text("key");
    struct peat_batch *batch = fixture->batch;

    REQUIRE_INVALID(peat_put(fixture->db, foreign, key, key));
    REQUIRE_INVALID(peat_delete(fixture->db, foreign, key));
    REQUIRE_INVALID(peat_collection_drop(fixture->db, foreign));
    REQUIRE_INVALID(peat_compact(fixture->db, foreign, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_collection_open(fixture->db, foreign, "child", PEAT_CREATE, &collection));
    PT_REQUIRE_OK(peat_batch_put(batch, foreign, key, key));
    REQUIRE_INVALID(peat_batch_put(batch, own, key, key)); /* a batch is of one store */
    PT_REQUIRE(peat_batch_count(batch) == 1);
    REQUIRE_INVALID(peat_write(fixture->db, batch, PEAT_DEFAULT, NULL));
    PT_REQUIRE_OK(peat_write(other, batch, PEAT_DEFAULT, NULL));
    peat_batch_clear(batch);
    pt_fixture_require_keys(fixture, own, NULL, "");
    PT_REQUIRE_OK(peat_batch_put(batch, own, key, key));
    pt_fixture_commit(fixture);
    peat_collection_close(own);
    peat_collection_close(foreign);
    PT_REQUIRE_OK(peat_close(other));
}

static void a_handle_from_before_the_store_was_reopened_is_of_another_store(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_collection *collection = collection_in(fixture->db, "name");

    pt_fixture_reopen(fixture, false);
    REQUIRE_INVALID(peat_put(fixture->db, collection, pt_text("key"), pt_text("value")));
    peat_collection_close(collection);
}

static void snapshots_of_another_store_are_refused(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_db *other = memory_store();
    struct peat_snapshot *own = pt_fixture_snapshot(fixture);
    struct peat_snapshot *foreign;
    struct peat_backup_options options;

    PT_REQUIRE_OK(peat_snapshot_open(other, &foreign));
    peat_backup_options_init(&options);
    options.path = pt_test_path("backup");
    REQUIRE_INVALID(peat_backup(fixture->db, foreign, &options, NULL));
    REQUIRE_INVALID(peat_diff(own, foreign, NULL, no_difference, NULL));
    peat_snapshot_close(own);
    peat_snapshot_close(foreign);
    PT_REQUIRE_OK(peat_close(other));
}

static void options_out_of_bounds_are_refused_or_taken_as_the_nearest(void **state)
{
    struct peat_options options = pt_test_options(0);
    struct peat_db *db;
    (void)state;

    options.durability = (enum peat_durability)77;
    REQUIRE_INVALID(peat_open(NULL, &options, &db));
    options.durability = (enum peat_durability) - 1;
    REQUIRE_INVALID(peat_open(NULL, &options, &db));
    options.durability = PEAT_DEFAULT;
    options.memory_size_max = 4096;
    REQUIRE_INVALID(peat_open(NULL, &options, &db));
    pt_test_options_tiny(&options);
    options.struct_size = 5000;
    REQUIRE_INVALID(peat_open(NULL, &options, &db));
    options.struct_size = 8;
    REQUIRE_INVALID(peat_open(NULL, &options, &db));
    options.struct_size = sizeof(options);
    options.flags = PEAT_READ_ONLY;
    REQUIRE_INVALID(peat_open(NULL, &options, &db));
    options.flags = 0;
    options.file_size_max = 4096;
    REQUIRE_INVALID(peat_open(NULL, &options, &db));
    options.file_size_max = 0;
    options.write_buffer_size = options.memory_size_max; /* more than its share */
    PT_REQUIRE_OK(peat_open(NULL, &options, &db));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_close(db));
    options.write_buffer_size = 1;
    options.log_size_max = 1;
    PT_REQUIRE_OK(peat_open(NULL, &options, &db));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_refresh(db)); /* a writer is up to date */
    PT_REQUIRE_OK(peat_close(db));
}

static void what_only_a_writer_may_do_is_refused_in_a_reader(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_collection *collection;
    struct peat_db *reader;

    PT_REQUIRE_OK(peat_open(fixture->path, &options, &reader));
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_STATUS(peat_write(reader, batch, PEAT_OS, NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_put(reader, NULL, pt_text("key"), pt_text("value")), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_collection_open(reader, NULL, "new", PEAT_CREATE, &collection),
                      PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_flush(reader), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_sync(reader), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_compact(reader, NULL, NULL, NULL, NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_snapshot_persist(reader, "name", NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_history_drop(reader, NULL, 1), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_revert(reader, NULL, 1, NULL), PEAT_NOT_WRITABLE);
    PT_REQUIRE_OK(peat_wait_idle(reader, 1)); /* there is nothing that it would wait for */
    peat_batch_free(batch);
    PT_REQUIRE_OK(peat_close(reader));
}

static void what_a_commit_cannot_be_is_refused(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_batch *batch = fixture->batch;
    const struct peat_bytes large = {"", (size_t)PEAT_KEY_SIZE_MAX + 1}; /* not looked at */

    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("key"), pt_text("value")));
    REQUIRE_INVALID(peat_write(fixture->db, batch, (enum peat_durability)77, NULL));
    REQUIRE_INVALID(peat_write(fixture->db, NULL, PEAT_OS, NULL));
    REQUIRE_INVALID(peat_write(NULL, batch, PEAT_OS, NULL));
    PT_REQUIRE_STATUS(peat_batch_delete_range(batch, NULL, large, pt_none), PEAT_TOO_LARGE);
    PT_REQUIRE_STATUS(peat_batch_delete_range(batch, NULL, pt_none, large), PEAT_TOO_LARGE);
    PT_REQUIRE_STATUS(peat_batch_put(batch, NULL, large, pt_text("value")), PEAT_TOO_LARGE);
    REQUIRE_INVALID(peat_batch_put(batch, NULL, pt_text("key"), pt_null_with_size));
    REQUIRE_INVALID(peat_collection_drop(fixture->db, NULL)); /* the root */
    pt_fixture_require_keys(fixture, NULL, NULL, "");
    PT_REQUIRE(peat_batch_count(batch) == 1);
}

static void without_damage_there_is_none_to_pass(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_iterator *iterator;
    struct peat_range range;

    pt_fixture_put_letters(fixture, "ab");
    iterator = pt_fixture_iterator(fixture, NULL);
    PT_REQUIRE(peat_iterator_key(iterator).data == NULL); /* before the first */
    PT_REQUIRE(peat_iterator_value(iterator).data == NULL);
    PT_REQUIRE(peat_iterator_key(NULL).data == NULL && peat_iterator_value(NULL).data == NULL);
    PT_REQUIRE_OK(peat_iterator_first(iterator));
    PT_REQUIRE_STATUS(peat_iterator_damage(iterator, &range), PEAT_NOT_FOUND);
    REQUIRE_INVALID(peat_iterator_pass_damage(iterator));
    REQUIRE_INVALID(peat_iterator_damage(NULL, &range));
    REQUIRE_INVALID(peat_iterator_pass_damage(NULL));
    REQUIRE_INVALID(peat_last_damage(NULL));
    PT_REQUIRE_STATUS(peat_last_damage(&range), PEAT_NOT_FOUND);
    PT_REQUIRE(pt_same(peat_iterator_key(iterator), pt_text("a")));
    peat_iterator_close(iterator);
}

static void structures_whose_size_is_not_set_are_refused(void **state)
{
    static const size_t wrong[] = {0, 5000};
    struct pt_fixture *fixture = *state;
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    struct peat_backup_options options;
    char path[512];

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("sizes"));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct peat_salvage_options salvage;
        struct peat_salvage_info salvaged = {.struct_size = wrong[i]};
        struct peat_stats stats = {.struct_size = i == 0 ? 0 : sizeof(stats)};

        peat_backup_options_init(&options);
        options.path = path;
        options.struct_size = wrong[i];
        REQUIRE_INVALID(peat_backup(fixture->db, NULL, &options, NULL));
        options.struct_size = sizeof(options);
        info.struct_size = wrong[i];
        REQUIRE_INVALID(peat_backup(fixture->db, NULL, &options, &info));
        REQUIRE_INVALID(peat_backup_inspect(fixture->path, &info));
        peat_salvage_options_init(&salvage);
        REQUIRE_INVALID(peat_salvage(fixture->path, path, &salvage, &salvaged));
        salvage.struct_size = wrong[i];
        REQUIRE_INVALID(peat_salvage(fixture->path, path, &salvage, NULL));
        PT_REQUIRE_STATUS(peat_stats_get(fixture->db, &stats), i == 0 ? PEAT_INVALID : PEAT_OK);
    }
    peat_backup_options_init(&options);
    peat_backup_options_init(NULL);
    peat_salvage_options_init(NULL);
    peat_options_init(NULL);
    options.flags = PEAT_REPLACE;
    REQUIRE_INVALID(peat_backup(fixture->db, NULL, &options, NULL)); /* nothing to replace */
    options.write = no_piece;
    REQUIRE_INVALID(peat_backup(fixture->db, NULL, &options, NULL)); /* in a stream as well */
}

static void a_salvage_refuses_what_it_cannot_begin_with(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_salvage_options options;

    peat_salvage_options_init(&options);
    options.flags = 64;
    REQUIRE_INVALID(peat_salvage(fixture->path, pt_test_path("salvaged"), &options, NULL));
    REQUIRE_INVALID(peat_salvage(NULL, pt_test_path("salvaged"), NULL, NULL));
    REQUIRE_INVALID(peat_salvage(fixture->path, NULL, NULL, NULL));
    REQUIRE_INVALID(peat_restore(NULL, NULL, 0, NULL, NULL, NULL));
    PT_REQUIRE_STATUS(peat_salvage(fixture->path, pt_test_path("salvaged"), NULL, NULL), PEAT_BUSY);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_on_a_store_refuse_null),
        cmocka_unit_test(calls_on_other_handles_refuse_null),
        PT_FIXTURE_TEST(outputs_that_are_null_are_refused),
        PT_FIXTURE_TEST(names_paths_and_callbacks_that_are_null_are_refused),
        cmocka_unit_test(releases_and_looks_take_null),
        PT_FIXTURE_TEST(unknown_flags_are_refused),
        PT_FIXTURE_TEST(a_bound_of_null_with_a_size_is_refused_on_either_side),
        cmocka_unit_test(an_address_space_that_no_system_has_is_refused),
        PT_FIXTURE_TEST(p3_reads_refuse_a_collection_of_another_store),
        PT_FIXTURE_TEST(p3_writes_refuse_a_collection_of_another_store),
        PT_FIXTURE_TEST(a_handle_from_before_the_store_was_reopened_is_of_another_store),
        PT_FIXTURE_TEST(snapshots_of_another_store_are_refused),
        cmocka_unit_test(options_out_of_bounds_are_refused_or_taken_as_the_nearest),
        PT_FIXTURE_TEST(what_only_a_writer_may_do_is_refused_in_a_reader),
        PT_FIXTURE_TEST(what_a_commit_cannot_be_is_refused),
        PT_FIXTURE_TEST(without_damage_there_is_none_to_pass),
        PT_FIXTURE_TEST(structures_whose_size_is_not_set_are_refused),
        PT_FIXTURE_TEST(a_salvage_refuses_what_it_cannot_begin_with),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

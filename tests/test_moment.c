/*
 * The property: a backup stands where its commit stands in the history: the same epoch, position, time
 * and chain that the log had right behind it. Where the log no longer tells, nothing is made up.
 */
#include "core/db/moment.h"

#include "tests/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { COMMITS = 12 };

/* Put a key; the log's point behind that commit. */
static struct pt_log_point put(struct pt_fixture *fixture)
{
    PT_REQUIRE_OK(peat_put(fixture->db, NULL, pt_text("key"), pt_text("value")));
    return pt_log_point(fixture->db->log);
}

static void require_same(const struct pt_log_point *found, const struct pt_log_point *expected)
{
    PT_REQUIRE(found->commit == expected->commit && found->epoch == expected->epoch);
    PT_REQUIRE(found->time_us == expected->time_us && found->position == expected->position);
    PT_REQUIRE(memcmp(&found->chain, &expected->chain, sizeof(found->chain)) == 0);
}

static struct pt_log_point find(struct peat_db *db, uint64_t commit)
{
    struct pt_pin pin = pt_shelf_pin(&db->shelf);
    struct pt_log_point point;

    pt_moment_find(db, pin.stack, commit, &point);
    pt_shelf_unpin(&db->shelf, pin);
    return point;
}

static void each_commit_in_the_log_is_found_where_it_was(void **state)
{
    struct pt_fixture *fixture = *state;
    struct pt_log_point points[COMMITS];

    for (unsigned i = 0; i < COMMITS; i++)
        points[i] = put(fixture);
    for (unsigned i = COMMITS; i-- > 0;) {
        struct pt_log_point found = find(fixture->db, i + 1);

        require_same(&found, &points[i]);
    }
}

static void what_waits_in_memory_is_found_too(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_LOG_PWRITE);
    struct pt_log_point expected;
    struct pt_log_point found;

    PT_REQUIRE_OK(peat_close(fixture->db));
    options.durability = PEAT_MEMORY;
    options.sync_interval_ms = 3600000;
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
    (void)put(fixture);
    expected = put(fixture);
    found = find(fixture->db, 2);
    require_same(&found, &expected);
}

static void a_reader_beside_the_writer_finds_the_same(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct pt_log_point expected;
    struct pt_log_point found;
    struct peat_db *reader;

    (void)put(fixture);
    PT_REQUIRE_OK(peat_flush(fixture->db));
    (void)put(fixture);
    expected = put(fixture);
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &reader));
    found = find(reader, 3);
    require_same(&found, &expected);
    PT_REQUIRE_OK(peat_close(reader));
}

static void a_backup_and_what_is_restored_from_it_stand_there(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_backup_options options;
    struct peat_db *copy;
    struct pt_log_point expected;
    char paths[2][512];
    const char *chain[] = {paths[0]};

    for (unsigned i = 0; i < 2; i++)
        (void)strncpy(paths[i], pt_test_path(i == 0 ? "full" : "restored"), sizeof(paths[i]) - 1);
    expected = put(fixture);
    peat_backup_options_init(&options);
    options.path = paths[0];
    PT_REQUIRE_OK(peat_backup(fixture->db, NULL, &options, NULL));
    PT_REQUIRE_OK(peat_restore(paths[1], chain, 1, NULL, NULL, NULL));
    for (unsigned i = 0; i < 2; i++) {
        PT_REQUIRE_OK(pt_open_backup(paths[i], &copy));
        require_same(&copy->log_start, &expected);
        PT_REQUIRE(copy->log_start.region.size == 0);
        PT_REQUIRE_OK(peat_close(copy));
    }
}

static void a_kept_state_knows_where_it_stands(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot;
    struct pt_log_point expected;
    struct pt_log_point found;

    (void)put(fixture);
    PT_REQUIRE_OK(peat_snapshot_persist(fixture->db, "kept", NULL));
    expected = fixture->db->log_start;
    PT_REQUIRE(expected.commit == 1 && expected.position > 0);
    (void)put(fixture);
    PT_REQUIRE_OK(peat_flush(fixture->db));
    PT_REQUIRE_OK(peat_history_open(fixture->db, "kept", 0, &snapshot));
    pt_moment_find(fixture->db, snapshot->pin.stack, 1, &found);
    require_same(&found, &expected);
    peat_snapshot_close(snapshot);
}

static void a_commit_that_the_log_has_lost_has_no_chain(void **state)
{
    struct pt_fixture *fixture = *state;
    static const struct pt_id zeros;
    struct peat_snapshot *snapshot;
    struct pt_log_point found;

    (void)put(fixture);
    snapshot = pt_fixture_snapshot(fixture);
    (void)put(fixture);
    PT_REQUIRE_OK(peat_flush(fixture->db));
    (void)put(fixture);
    pt_moment_find(fixture->db, snapshot->pin.stack, 1, &found);
    PT_REQUIRE(found.commit == 1 && found.epoch == fixture->db->log_start.epoch);
    PT_REQUIRE(found.position == 0 && found.time_us == 0);
    PT_REQUIRE(memcmp(&found.chain, &zeros, sizeof(zeros)) == 0);
    peat_snapshot_close(snapshot);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(each_commit_in_the_log_is_found_where_it_was),
        PT_FIXTURE_TEST(what_waits_in_memory_is_found_too),
        PT_FIXTURE_TEST(a_reader_beside_the_writer_finds_the_same),
        PT_FIXTURE_TEST(a_backup_and_what_is_restored_from_it_stand_there),
        PT_FIXTURE_TEST(a_kept_state_knows_where_it_stands),
        PT_FIXTURE_TEST(a_commit_that_the_log_has_lost_has_no_chain),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

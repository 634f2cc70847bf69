/*
 * Whatever call through the file seam fails, or which allocation, once or for good: nothing that was
 * promised is lost, nothing wrong is shown, nothing leaks, and the store opens again. tests/README.md says
 * how; this is the short form, and peat-torture-tests --scripts faults the long one.
 *
 * PEAT_SECONDS, or the first argument: how long the campaign goes on.
 */
#include "tests/campaign.h"

#include "core/arena/superblock.h"
#include "core/arena/superblock_format.h"
#include "core/base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seconds;

static void p2_p3_whatever_fails_nothing_promised_is_lost_and_nothing_wrong_is_shown(void **state)
{
    struct pt_campaign campaign = pt_campaign_default();
    struct pt_fault_counts counts;
    (void)state;

    campaign.scripts = PT_SCRIPTS_FAULTS;
    campaign.seed = pt_test_seed();
    campaign.seconds = seconds;
    pt_campaign_run(&campaign, &counts);
    printf("# %" PRIu64 " fault runs, %" PRIu64 " states, %" PRIu64 " failed\n", counts.runs,
           counts.cuts.states, counts.cuts.failed);
    PT_REQUIRE(counts.runs > 0 && counts.hit > 0 && counts.cuts.failed == 0);
}

/* Zeros are written and synced ahead of the log, in the background, and it does not matter if that fails.
 * But the sync may have told of the loss of anything. */
static void p2_a_failed_sync_of_zeros_ahead_of_the_log_is_not_passed_over(void **state)
{
    static struct pt_session session;
    struct pt_disk_fault fault = {
        .calls = 1u << PT_DISK_CALL_SYNC_RANGE, .count = 1, .error_number = EIO};
    struct pt_step put = {.kind = PT_STEP_PUT, .level = PEAT_DISK, .key = 1, .size = 3000};
    (void)state;

    pt_disk_start();
    pt_session_init(&session, 0);
    PT_REQUIRE(pt_session_open(&session));
    pt_disk_set_fault(&fault);
    session.may_fail = true;
    for (unsigned i = 0; i < 100 && pt_disk_faults() == 0; i++)
        PT_REQUIRE(pt_session_step(&session, &put));
    PT_REQUIRE(pt_disk_faults() == 1);
    PT_REQUIRE(peat_flush(session.db) < 0);
    (void)pt_session_step(&session, &put);
    PT_REQUIRE(session.broken);
    PT_REQUIRE_STATUS(peat_sync(session.db), PEAT_POISONED);
    PT_REQUIRE_STATUS(peat_snapshot_persist(session.db, "kept", NULL), PEAT_POISONED);
    PT_REQUIRE(peat_compact(session.db, NULL, NULL, NULL, NULL) < 0);
    PT_REQUIRE_STATUS(peat_put(session.db, NULL, pt_text("key"), pt_text("value")), PEAT_POISONED);
    PT_REQUIRE(pt_session_look(&session, false) && pt_session_end(&session, true));
    session.may_fail = false;
    PT_REQUIRE(pt_session_open(&session) && pt_session_look(&session, true));
    PT_REQUIRE(pt_session_step(&session, &put) && pt_session_end(&session, true));
    pt_disk_stop();
}

static const unsigned space_calls = 1u << PT_DISK_CALL_WRITE | 1u << PT_DISK_CALL_WRITE_DURABLE |
                                    1u << PT_DISK_CALL_ALLOCATE | 1u << PT_DISK_CALL_SYNC |
                                    1u << PT_DISK_CALL_SYNC_RANGE;

/* Revert while the call with number @p position finds the disk full. False: it made fewer calls. */
static bool revert_on_a_full_disk(uint64_t position)
{
    static struct pt_session session;
    struct pt_disk_fault fault = {
        .calls = space_calls, .at = position, .count = 1, .error_number = ENOSPC};
    struct pt_step put = {.kind = PT_STEP_PUT, .level = PEAT_OS, .key = 1, .size = 300};
    struct pt_step persist = {.kind = PT_STEP_PERSIST};
    enum peat_status status;
    uint64_t faults;

    pt_disk_load(NULL, 0);
    pt_session_init(&session, 0);
    PT_REQUIRE(pt_session_open(&session) && pt_session_step(&session, &put));
    PT_REQUIRE(pt_session_step(&session, &persist) && pt_session_step(&session, &put));
    pt_disk_set_fault(&fault);
    status = peat_revert(session.db, PT_STEP_KEPT, 0, NULL);
    faults = pt_disk_faults();
    pt_disk_set_fault(NULL);
    PT_REQUIRE(status == PEAT_OK || peat_last_error()[0] != '\0');
    if (status == PEAT_OK || status == PEAT_POISONED) { /* it was done, or perhaps: commit 3 */
        session.history.commits[++session.history.count] =
            (struct pt_step){.kind = PT_STEP_REVERT, .seed = 1};
    } else {
        PT_REQUIRE_STATUS(status, PEAT_NO_SPACE);
    }
    PT_REQUIRE_OK(peat_abort(session.db));
    session.db = NULL;
    PT_REQUIRE(pt_session_open(&session) && pt_session_look(&session, true));
    PT_REQUIRE(pt_session_end(&session, true));
    return faults > 0;
}

static void p1_a_revert_that_finds_the_disk_full_has_changed_nothing(void **state)
{
    uint64_t position = 0;
    (void)state;

    pt_disk_start();
    while (revert_on_a_full_disk(position))
        position++;
    PT_REQUIRE(position > 3);
    pt_disk_stop();
}

/* What a check told. */
struct told {
    unsigned count;
    char what[200]; /* the first finding */
};

static void finding_take(void *context, const struct peat_finding *finding)
{
    struct told *told = context;

    if (told->count++ == 0)
        (void)snprintf(told->what, sizeof(told->what), "%s", finding->what);
}

/* That one superblock is no more, or only half, is all that is found; or, @p whole, nothing is. */
static void require_told(struct peat_db *db, bool whole)
{
    struct told told = {.count = 0};

    PT_REQUIRE_STATUS(peat_check(db, finding_take, NULL, &told), whole ? PEAT_OK : PEAT_CORRUPT);
    PT_REQUIRE(whole || (told.count == 1 && strstr(told.what, "half written") != NULL));
}

static bool superblocks_whole(void)
{
    struct pt_superblock superblock;
    struct pt_file *file;
    bool damaged;

    PT_REQUIRE_OK(pt_file_open("disk", O_RDWR, &file));
    PT_REQUIRE_OK(pt_superblock_read(file, &superblock, &damaged));
    pt_file_close(file);
    return !damaged;
}

/* Keep a state while the write with number @p position writes half of what it is to, and fails; then open the store
 * again. *half_out: a superblock was that. False: there were fewer writes. */
static bool reopen_after_half_a_write(uint64_t position, unsigned flags, bool *half_out)
{
    struct pt_disk_fault fault = {
        .calls = 1u << PT_DISK_CALL_WRITE, .at = position, .count = 1, .error_number = EIO};
    struct peat_options options = pt_test_options(PEAT_CREATE | flags);
    struct peat_options reading = pt_test_options(PEAT_READ_ONLY);
    enum peat_status status;
    struct peat_db *reader;
    struct peat_db *db;
    bool failed;

    options.address_space_size = reading.address_space_size = (size_t)256 << 20;
    options.sync_interval_ms = 3600000;
    pt_disk_load(NULL, 0);
    PT_REQUIRE_OK(peat_open("disk", &options, &db));
    pt_disk_set_fault(&fault);
    status = peat_snapshot_persist(db, "kept", NULL);
    failed = pt_disk_faults() > 0;
    pt_disk_set_fault(NULL);
    PT_REQUIRE_STATUS(status, failed ? PEAT_IO : PEAT_OK);
    *half_out = !superblocks_whole();
    require_told(db, !*half_out);
    PT_REQUIRE_OK(peat_open("disk", &reading, &reader));
    require_told(reader, !*half_out);
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE_OK(peat_abort(db));

    PT_REQUIRE_OK(peat_open("disk", &options, &db));
    PT_REQUIRE(superblocks_whole());
    require_told(db, true);
    PT_REQUIRE_OK(peat_close(db));
    return failed;
}

/* Who has written half a page may not write it again, not knowing which generation rules. */
static void p3_half_a_superblock_is_told_until_the_store_is_opened_for_writing(void **state)
{
    static const unsigned flags[] = {0, PEAT_FOLLOWER};
    (void)state;

    pt_disk_start();
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        unsigned half_count = 0;
        bool half;

        for (uint64_t position = 0; reopen_after_half_a_write(position, flags[i], &half);
             position++)
            half_count += half;
        PT_REQUIRE(half_count == PT_SUPERBLOCK_COUNT);
    }
    pt_disk_stop();
}

static _Atomic uint64_t allocation_count;
static uint64_t allocation_at; /* the number of the one that fails; UINT64_MAX: none does */

static bool allow_all_but_one(size_t size)
{
    (void)size;
    return atomic_fetch_add(&allocation_count, 1) != allocation_at;
}

/* A store that is closed, with a kept state of which nothing is in the newest. */
static void kept_state_make(struct pt_session *session)
{
    const struct pt_step steps[] = {
        {.kind = PT_STEP_PUT, .level = PEAT_OS, .key = 1, .size = 300, .seed = 1},
        {.kind = PT_STEP_PERSIST},
        {.kind = PT_STEP_DELETE_RANGE, .level = PEAT_OS, .key = 0, .key_high = PT_KEY_COUNT},
        {.kind = PT_STEP_MERGE},
        {.kind = PT_STEP_PUT, .level = PEAT_OS, .key = 2, .size = 300, .seed = 2},
    };

    pt_disk_load(NULL, 0);
    pt_session_init(session, 0);
    PT_REQUIRE(pt_session_open(session));
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        PT_REQUIRE(pt_session_step(session, &steps[i]));
    PT_REQUIRE(pt_session_end(session, true));
    PT_REQUIRE(session->promise.kept == 1);
}

/* Open such a store while the call of these kinds, or without kinds the allocation, with number
 * @p position fails; then again. False: there were fewer. */
static bool open_where_one_fails(unsigned calls, uint64_t position)
{
    static struct pt_session session;
    struct pt_disk_fault fault = {
        .calls = calls, .at = position, .count = 1, .error_number = calls == 0 ? 0 : EIO};
    bool failed;

    kept_state_make(&session);
    session.may_fail = true;
    session.hasty = true;
    pt_disk_set_fault(&fault);
    atomic_store(&allocation_count, 0);
    allocation_at = calls == 0 ? position : UINT64_MAX;
    pt_alloc_set_hook(allow_all_but_one);
    PT_REQUIRE(pt_session_open(&session));
    failed = calls == 0 ? atomic_load(&allocation_count) > position : pt_disk_faults() > 0;
    if (session.db != NULL)
        pt_session_abandon(&session);
    pt_alloc_set_hook(NULL);
    pt_disk_set_fault(NULL);
    session.may_fail = false;
    PT_REQUIRE(session.promise.kept == 1);
    PT_REQUIRE(pt_session_open(&session) && pt_session_look(&session, true));
    PT_REQUIRE(pt_session_end(&session, true));
    return failed;
}

static void p3_a_kept_state_stays_whatever_fails_once_while_the_store_is_opened(void **state)
{
    static const unsigned kinds[] = {
        1u << PT_DISK_CALL_READ,
        1u << PT_DISK_CALL_POPULATE,
        1u << PT_DISK_CALL_INFO,
        0,
    };
    (void)state;

    pt_disk_start();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        uint64_t position = 0;

        while (open_where_one_fails(kinds[i], position))
            position++;
        PT_REQUIRE(position > 1);
    }
    pt_disk_stop();
}

/* A reader opens the store, and asks, while the page with number @p position cannot be read; *hidden_out: it did
 * not get an answer. What is there is there after a refresh. False: fewer pages were asked for. */
static bool read_where_one_fails(uint64_t position, bool *hidden_out)
{
    struct pt_disk_fault fault = {
        .calls = 1u << PT_DISK_CALL_POPULATE, .at = position, .count = 1, .error_number = EIO};
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_options read_only = pt_test_options(PEAT_READ_ONLY);
    struct peat_db *writer;
    struct peat_db *reader;
    char value[8];
    size_t size;
    bool failed;

    options.address_space_size = read_only.address_space_size = (size_t)256 << 20;
    pt_disk_load(NULL, 0);
    PT_REQUIRE_OK(peat_open("disk", &options, &writer));
    PT_REQUIRE_OK(peat_put(writer, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_close(writer));

    pt_disk_set_fault(&fault);
    PT_REQUIRE_OK(peat_open("disk", &read_only, &reader));
    *hidden_out = peat_get_copy(reader, NULL, pt_text("key"), value, sizeof(value), &size) < 0;
    failed = pt_disk_faults() > 0;
    pt_disk_set_fault(NULL);

    PT_REQUIRE_OK(
        peat_open("disk", &options, &writer)); /* another generation of the same segments */
    PT_REQUIRE_OK(peat_refresh(reader));
    PT_REQUIRE_OK(peat_get_copy(reader, NULL, pt_text("key"), value, sizeof(value), &size));
    PT_REQUIRE(size == 5 && memcmp(value, "value", 5) == 0);
    PT_REQUIRE_OK(peat_close(writer));
    PT_REQUIRE_OK(peat_close(reader));
    return failed;
}

static void p3_what_a_reader_could_not_read_once_is_there_after_a_refresh(void **state)
{
    uint64_t position = 0;
    unsigned hidden_count = 0;
    bool hidden;
    (void)state;

    pt_disk_start();
    while (read_where_one_fails(position, &hidden)) {
        position++;
        hidden_count += hidden;
    }
    PT_REQUIRE(hidden_count > 1); /* by its footer, and by its entries */
    pt_disk_stop();
}

/* Refresh @p reader; what it shows is not older than @p commit, which becomes what it shows. */
static enum peat_status refresh_onward(struct peat_db *reader, uint64_t *commit)
{
    enum peat_status status = peat_refresh(reader);
    struct peat_snapshot *snapshot;
    struct peat_bytes value;

    PT_REQUIRE_OK(peat_snapshot_open(reader, &snapshot));
    PT_REQUIRE(peat_snapshot_commit(snapshot) >= *commit);
    *commit = peat_snapshot_commit(snapshot);
    PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text("key"), &value));
    peat_snapshot_close(snapshot);
    return status;
}

/* Refresh a reader that is ahead of the manifest while @p fault holds. False: nothing failed. */
static bool refresh_while_some_fail(const struct pt_disk_fault *fault)
{
    static const char large[300000]; /* more than the first region of the log */
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_options read_only = pt_test_options(PEAT_READ_ONLY);
    struct peat_db *writer;
    struct peat_db *reader;
    uint64_t commit = 2;
    bool failed;

    options.address_space_size = read_only.address_space_size = (size_t)256 << 20;
    pt_disk_load(NULL, 0);
    PT_REQUIRE_OK(peat_open("disk", &options, &writer));
    PT_REQUIRE_OK(peat_put(writer, NULL, pt_text("key"), pt_text("1")));
    PT_REQUIRE_OK(peat_put(writer, NULL, pt_text("key"), pt_text("2")));
    PT_REQUIRE_OK(peat_open("disk", &read_only, &reader));
    PT_REQUIRE_OK(
        peat_put(writer, NULL, pt_text("large"), (struct peat_bytes){large, sizeof(large)}));
    pt_disk_set_fault(fault);
    for (unsigned i = 0; i < 3; i++)
        (void)refresh_onward(reader, &commit);
    failed = pt_disk_faults() > 0;
    pt_disk_set_fault(NULL);
    PT_REQUIRE_OK(refresh_onward(reader, &commit));
    PT_REQUIRE(commit == 3);
    PT_REQUIRE_OK(peat_put(writer, NULL, pt_text("key"), pt_text("4")));
    PT_REQUIRE_OK(refresh_onward(reader, &commit));
    PT_REQUIRE(commit == 4);
    PT_REQUIRE_OK(peat_flush(writer));
    PT_REQUIRE_OK(refresh_onward(reader, &commit));
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE_OK(peat_close(writer));
    return failed;
}

static void p1_a_reader_shows_nothing_older_when_its_refresh_fails(void **state)
{
    static const unsigned kinds[] = {1u << PT_DISK_CALL_READ, 1u << PT_DISK_CALL_POPULATE,
                                     1u << PT_DISK_CALL_INFO, 1u << PT_DISK_CALL_MAP};
    unsigned failed_count = 0;
    (void)state;

    pt_disk_start();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (unsigned for_good = 0; for_good < 2; for_good++) {
            struct pt_disk_fault fault = {
                .calls = kinds[i], .count = for_good ? UINT64_MAX : 1, .error_number = EIO};

            for (; refresh_while_some_fail(&fault); fault.at++)
                failed_count++;
        }
    }
    PT_REQUIRE(failed_count > 10);
    pt_disk_stop();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p2_a_failed_sync_of_zeros_ahead_of_the_log_is_not_passed_over),
        cmocka_unit_test(p1_a_revert_that_finds_the_disk_full_has_changed_nothing),
        cmocka_unit_test(p3_half_a_superblock_is_told_until_the_store_is_opened_for_writing),
        cmocka_unit_test(p3_a_kept_state_stays_whatever_fails_once_while_the_store_is_opened),
        cmocka_unit_test(p3_what_a_reader_could_not_read_once_is_there_after_a_refresh),
        cmocka_unit_test(p1_a_reader_shows_nothing_older_when_its_refresh_fails),
        cmocka_unit_test(p2_p3_whatever_fails_nothing_promised_is_lost_and_nothing_wrong_is_shown),
    };
    int failed;

    pt_test_start();
    seconds = pt_test_number("PEAT_SECONDS", 40);
    if (argc > 1)
        seconds = strtoull(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

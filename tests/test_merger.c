/*
 * The property: whoever waits for the merger is told of rest when what was there as the wait began has been
 * looked at, not when a look ends that began before it.
 */
#include "core/base/file.h"
#include "core/db/db.h"

#include "tests/support.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#include <cmocka.h>

enum { TURNS = 50, LOOK_US = 200 };

/* A sync that is held up. */
static struct {
    atomic_bool wanted;
    atomic_bool begun;
    atomic_bool goes_on;
} held;

static int sync_held(int fd)
{
    if (atomic_exchange(&held.wanted, false)) {
        atomic_store(&held.begun, true);
        while (!atomic_load(&held.goes_on))
            (void)usleep(LOOK_US);
    }
    return pt_file_calls_real()->sync(fd);
}

/* Each waits, and tells how many bytes of the log are in no segment once it has waited. */
struct waiter {
    struct peat_db *db;
    pthread_t thread;
    uint64_t left_size;
};

static void *wait_for_rest(void *context)
{
    struct waiter *waiter = context;
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_wait_idle(waiter->db, 600000));
    PT_REQUIRE_OK(peat_stats_get(waiter->db, &stats));
    waiter->left_size = stats.unflushed_log_size;
    return NULL;
}

static void wait_begin(struct waiter *waiter, struct peat_db *db)
{
    waiter->db = db;
    PT_REQUIRE(pthread_create(&waiter->thread, NULL, wait_for_rest, waiter) == 0);
}

static unsigned waiting(struct peat_db *db)
{
    unsigned count;

    pt_mutex_lock(&db->merger.mutex);
    count = db->merger.hurry;
    pt_mutex_unlock(&db->merger.mutex);
    return count;
}

static void what_is_committed_during_a_look_is_flushed_before_the_wait_ends(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct pt_file_calls calls = *pt_file_calls_real();
    struct waiter waiters[2];
    struct peat_db *db;
    (void)state;

    pt_test_options_tiny(&options);
    options.sync_interval_ms = 3600000; /* the merger alone is to be held up */
    calls.sync = sync_held;
    pt_file_set_calls(&calls);
    PT_REQUIRE_OK(peat_open(pt_test_path("store"), &options, &db));
    for (unsigned turn = 0; turn < TURNS; turn++) {
        atomic_store(&held.begun, false);
        atomic_store(&held.goes_on, false);
        atomic_store(&held.wanted, true);
        pt_test_put(db, "before", "it");
        wait_begin(&waiters[0], db);
        while (!atomic_load(&held.begun)) /* of the checkpoint, with which a look ends */
            (void)usleep(LOOK_US);
        pt_test_put(db, "during", "it");
        wait_begin(&waiters[1], db);
        while (waiting(db) < 2)
            (void)usleep(LOOK_US);
        atomic_store(&held.goes_on, true);
        for (unsigned i = 0; i < 2; i++)
            PT_REQUIRE(pthread_join(waiters[i].thread, NULL) == 0);
        assert_int_equal(waiters[1].left_size, 0);
    }
    PT_REQUIRE_OK(peat_close(db));
    pt_file_set_calls(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_committed_during_a_look_is_flushed_before_the_wait_ends),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

/*
 * The property: a kept state that gives I/O errors is no reason not to open a store for writing, is not
 * given up, and nothing of it is overwritten meanwhile; where its manifest gives one, the error says so.
 */
#include "core/base/file.h"

#include "tests/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { KEYS = 300, VALUE_SIZE = 120, REGION = 65536, PLACES_MAX = 256 };

/* ---- A store whose every value tells the commit that wrote it ---- */

static void write_all(struct peat_db *db, uint64_t mark)
{
    struct peat_batch *batch = peat_batch_new(0);

    PT_REQUIRE(batch != NULL);
    for (unsigned i = 0; i < KEYS; i++) {
        char text[16];
        void *value;

        (void)snprintf(text, sizeof(text), "key%03u", i);
        PT_REQUIRE_OK(peat_batch_put_reserve(batch, NULL, pt_text(text), VALUE_SIZE, &value));
        pt_value_fill(mark * KEYS + i, value, VALUE_SIZE);
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    peat_batch_free(batch);
}

static void require_mark(const struct peat_snapshot *snapshot, uint64_t mark)
{
    for (unsigned i = 0; i < KEYS; i++) {
        struct peat_bytes value;
        char text[16];

        (void)snprintf(text, sizeof(text), "key%03u", i);
        PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text(text), &value));
        PT_REQUIRE(pt_value_matches(mark * KEYS + i, value));
    }
}

static bool count_sound(void *context, const struct peat_history_entry *entry)
{
    *(unsigned *)context += !entry->is_damaged;
    return true;
}

static void require_two_sound(struct peat_db *db)
{
    unsigned count = 0;

    PT_REQUIRE_OK(peat_history_list(db, count_sound, &count));
    PT_REQUIRE(count == 2);
}

/* ---- The medium ---- */

/* Where the medium gives an error: a page at byte bad_offset of the file, in the mapping or
 * read. */
static uint64_t bad_offset;
static _Atomic unsigned bad_count; /* how often it was asked for */
static uint8_t *map_base;

static void *map_noted(int fd, uint64_t offset, void *place, uint64_t size, bool writable)
{
    uint8_t *mapped = pt_file_calls_real()->map(fd, offset, place, size, writable);

    if (!writable && offset == 0)
        map_base = mapped;
    return mapped;
}

static bool is_bad(uint64_t offset, uint64_t size)
{
    bool bad = offset <= bad_offset && bad_offset - offset < size;

    if (bad) {
        bad_count++;
        errno = EIO;
    }
    return bad;
}

static int populate_around(int fd, void *place, uint64_t size, bool writing)
{
    if (!writing && is_bad((uint64_t)((uint8_t *)place - map_base), size))
        return -1;
    return pt_file_calls_real()->populate(fd, place, size, writing);
}

static ssize_t read_around(int fd, void *buffer, size_t size, uint64_t offset)
{
    if (is_bad(offset, size))
        return -1;
    return pt_file_calls_real()->read(fd, buffer, size, offset);
}

static void medium_fail_at(uint64_t offset)
{
    static struct pt_file_calls calls;

    calls = *pt_file_calls_real();
    calls.map = map_noted;
    calls.populate = populate_around;
    calls.read = read_around;
    bad_offset = offset;
    bad_count = 0;
    pt_file_set_calls(&calls);
}

/* The places in the file where @p text of 8 bytes stands. */
static size_t places_find(const char *path, const char *text, uint64_t places[PLACES_MAX])
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *bytes = malloc((size_t)size);
    size_t count = 0;

    PT_REQUIRE(fd >= 0 && bytes != NULL && pread(fd, bytes, (size_t)size, 0) == size);
    for (off_t i = REGION; i + 8 <= size; i += 8)
        if (memcmp(bytes + i, text, 8) == 0 && count < PLACES_MAX)
            places[count++] = (uint64_t)i;
    free(bytes);
    PT_REQUIRE(close(fd) == 0);
    return count;
}

/* Two states that share nothing: "one", and what rules. Closed. */
static void two_states_make(struct pt_fixture *fixture)
{
    write_all(fixture->db, 1);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE_OK(peat_snapshot_persist(fixture->db, "one", NULL));
    write_all(fixture->db, 2);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE_OK(peat_close(fixture->db));
}

/* All of it can be read again. */
static void require_both_states(struct pt_fixture *fixture, uint64_t newest_mark)
{
    struct peat_snapshot *snapshot;

    require_two_sound(fixture->db);
    PT_REQUIRE_OK(peat_snapshot_open(fixture->db, &snapshot));
    require_mark(snapshot, newest_mark);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_history_open(fixture->db, "one", 0, &snapshot));
    require_mark(snapshot, 1);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_check(fixture->db, NULL, NULL, NULL));
}

static void a_state_that_gives_an_io_error_is_kept_beside_a_writer(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(0);
    uint64_t places[PLACES_MAX];
    uint64_t mark = 2;
    unsigned unread = 0;
    size_t count;

    pt_test_options_tiny(&options);
    two_states_make(fixture);
    count = places_find(fixture->path, "PEATSEG1", places);
    PT_REQUIRE(count >= 2);
    for (size_t i = 0; i < count; i++) {
        struct peat_snapshot *snapshot;
        struct peat_bytes value;

        pt_test_context("footer at %" PRIu64, places[i]);
        medium_fail_at(places[i]);
        if (peat_open(fixture->path, &options, &fixture->db) != PEAT_OK) {
            PT_REQUIRE(bad_count > 0); /* of what rules */
        } else if (bad_count == 0) {
            PT_REQUIRE_OK(peat_abort(fixture->db)); /* of nothing that is in use */
        } else {
            require_two_sound(fixture->db);
            PT_REQUIRE_OK(peat_history_open(fixture->db, "one", 0, &snapshot));
            PT_REQUIRE_STATUS(peat_get(snapshot, NULL, pt_text("key000"), &value), PEAT_IO);
            peat_snapshot_close(snapshot);
            PT_REQUIRE_STATUS(peat_check(fixture->db, NULL, NULL, NULL), PEAT_CORRUPT);
            for (unsigned turn = 0; turn < 3; turn++) /* whatever is free is used again */
                write_all(fixture->db, ++mark);
            PT_REQUIRE_OK(peat_close(fixture->db));
            unread++;
        }
        pt_file_set_calls(NULL);
        PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
        require_both_states(fixture, mark);
        PT_REQUIRE_OK(peat_close(fixture->db));
    }
    pt_test_context("%s", "");
    PT_REQUIRE(unread > 0);
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
}

static void a_state_whose_manifest_cannot_be_read_is_named_and_not_given_up(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(0);
    uint64_t places[PLACES_MAX];
    unsigned refused = 0;
    size_t count;

    two_states_make(fixture);
    count = places_find(fixture->path, "PEATMAN1", places);
    for (size_t i = 0; i < count; i++) {
        enum peat_status status;

        medium_fail_at(places[i]);
        status = peat_open(fixture->path, &options, &fixture->db);
        if (status == PEAT_OK)
            PT_REQUIRE_OK(peat_abort(fixture->db));
        else if (strstr(peat_last_error(), "kept state") != NULL) {
            PT_REQUIRE(status == PEAT_IO && strstr(peat_last_error(), ", one cannot be read"));
            PT_REQUIRE(strstr(peat_last_error(), "peat salvage") != NULL);
            refused++;
        }
        pt_file_set_calls(NULL);
    }
    PT_REQUIRE(refused == 1);
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
    require_both_states(fixture, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(a_state_that_gives_an_io_error_is_kept_beside_a_writer),
        PT_FIXTURE_TEST(a_state_whose_manifest_cannot_be_read_is_named_and_not_given_up),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("history medium", tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

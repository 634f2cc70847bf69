/*
 * The property: a backup is a store that holds exactly what was committed at one moment, or there is
 * none: not when it is stopped, the disk is full or the store is damaged. Damage to a backup is found
 * before it becomes a store.
 *
 *     test_backup [MEGABYTES]      for the last test; PEAT_SEED=n repeats a run
 */
#include "tests/compare.h"
#include "tests/fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    MEGABYTES_DEFAULT = 100,
    FLIPS = 400,
    PATH_SIZE = 512,
    GROUP = 100, /* keys that every batch of the writer thread sets alike */
    GROUP_VALUE_SIZE = 200,
    BACKUPS_BESIDE = 12,
    HEADER_OFFSET = 8192, /* bytes: where a backup's header lies */
    HEADER_SIZE = 256
};

static unsigned megabytes_wanted;

/* ---- Short ways ---- */

static const char *path_of(char path[PATH_SIZE], const char *name)
{
    (void)snprintf(path, PATH_SIZE, "%s", pt_test_path(name));
    (void)unlink(path);
    return path;
}

static enum peat_status backup(struct peat_db *db, const char *path)
{
    return pt_test_backup(db, path, NULL);
}

static enum peat_status restore(const char *path, const char *first, const char *second)
{
    const char *paths[] = {first, second};

    return peat_restore(path, paths, second == NULL ? 1 : 2, NULL, NULL, NULL);
}

static void digest_of(const char *path, uint8_t digest[32])
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_snapshot *snapshot;
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, NULL));
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

static void require_no_file(const char *path)
{
    PT_REQUIRE(access(path, F_OK) != 0);
    PT_REQUIRE(pt_test_file_count(".partial") == 0);
}

static uint8_t *file_read(const char *path, size_t *size_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    uint8_t *bytes;

    PT_REQUIRE(fd >= 0 && fstat(fd, &status) == 0);
    *size_out = (size_t)status.st_size;
    bytes = malloc(*size_out + 1);
    PT_REQUIRE(bytes != NULL && read(fd, bytes, *size_out) == (ssize_t)*size_out);
    PT_REQUIRE(close(fd) == 0);
    return bytes;
}

static void file_write(const char *path, const uint8_t *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    PT_REQUIRE(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
}

static void flip(const char *path, uint64_t offset, uint8_t mask)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    PT_REQUIRE(fd >= 0 && pread(fd, &byte, 1, (off_t)offset) == 1);
    byte ^= mask;
    PT_REQUIRE(pwrite(fd, &byte, 1, (off_t)offset) == 1 && close(fd) == 0);
}

/* ---- What a backup is ---- */

static void a_backup_is_a_store_that_goes_on_by_itself(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct pt_fixture copy = {.batch = fixture->batch};
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    pt_fixture_rewrite(fixture, 3);
    pt_fixture_put(fixture, "only in the log", "1");
    PT_REQUIRE_OK(backup(fixture->db, path_of(copy.path, "copy")));
    PT_REQUIRE_OK(peat_open(copy.path, &options, &copy.db));
    pt_fixture_require(&copy, "only in the log", "1");
    PT_REQUIRE(pt_fixture_commit_number(&copy) == pt_fixture_commit_number(fixture));
    PT_REQUIRE_OK(peat_stats_get(copy.db, &stats));
    PT_REQUIRE(stats.run_count == 1 && stats.log_size == 0 && stats.entry_count == 501);
    pt_fixture_reopen(&copy, false);
    PT_REQUIRE_STATUS(peat_put(copy.db, NULL, pt_text("x"), pt_text("y")), PEAT_OK);
    PT_REQUIRE(pt_fixture_commit_number(&copy) == pt_fixture_commit_number(fixture) + 1);
    pt_fixture_reopen(&copy, false);
    pt_fixture_require(&copy, "x", "y");
    pt_compare_check(copy.db);
    PT_REQUIRE_OK(peat_close(copy.db));
}

static void a_backup_shows_the_snapshot_it_was_given(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot;
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    struct peat_backup_options options;
    uint8_t digest[32];
    uint8_t found[32];
    char path[PATH_SIZE];

    pt_fixture_put_letters(fixture, "abc");
    PT_REQUIRE_OK(peat_flush(fixture->db));
    pt_fixture_put_letters(fixture, "de");
    snapshot = pt_fixture_snapshot(fixture);
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, digest, NULL));
    pt_fixture_rewrite(fixture, 4);
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("a")));
    peat_backup_options_init(&options);
    options.path = path_of(path, "copy");
    PT_REQUIRE_OK(peat_backup(fixture->db, snapshot, &options, &info));
    PT_REQUIRE(info.commit == 5 && info.entry_count == 5);
    digest_of(path, found);
    PT_REQUIRE(memcmp(found, digest, sizeof(found)) == 0);
    peat_snapshot_close(snapshot);
}

static void an_empty_store_and_an_empty_increment_are_fine(void **state)
{
    struct pt_fixture *fixture = *state;
    char full[PATH_SIZE];
    char increment[PATH_SIZE];
    char out[PATH_SIZE];
    struct peat_backup_info info = {.struct_size = sizeof(info)};

    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    PT_REQUIRE_OK(pt_test_backup(fixture->db, path_of(increment, "increment"), full));
    PT_REQUIRE_OK(restore(path_of(out, "out"), full, increment));
    PT_REQUIRE_OK(peat_backup_inspect(increment, &info));
    PT_REQUIRE(info.is_increment && info.put_count == 0 && info.delete_count == 0);
    PT_REQUIRE_OK(peat_backup_inspect(out, &info));
    PT_REQUIRE(!info.is_increment && info.commit == 0 && info.entry_count == 0);
    PT_REQUIRE(info.file_size == 2 * 65536);
}

static void an_increment_holds_only_what_changed(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    char full[PATH_SIZE];
    char increment[PATH_SIZE];

    pt_fixture_rewrite(fixture, 2);
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    pt_fixture_put(fixture, "0007", "changed");
    pt_fixture_put(fixture, "0007a", "new");
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("0009")));
    PT_REQUIRE_OK(peat_delete(fixture->db, NULL, pt_text("0011")));
    PT_REQUIRE_OK(peat_batch_delete_range(fixture->batch, NULL, pt_text("01"), pt_text("02")));
    pt_fixture_commit(fixture);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000)); /* all is in new segments */
    PT_REQUIRE_OK(pt_test_backup(fixture->db, path_of(increment, "increment"), full));
    PT_REQUIRE_OK(peat_backup_inspect(increment, &info));
    PT_REQUIRE(info.put_count == 2 && info.delete_count == 3); /* two keys, and one range */
    PT_REQUIRE(info.entry_count == 500 + 1 - 2 - 100);
}

static void an_increment_does_not_open_and_is_left_untouched(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options reading = pt_test_options(PEAT_READ_ONLY);
    struct peat_options writing = pt_test_options(PEAT_CREATE);
    char full[PATH_SIZE];
    char increment[PATH_SIZE];
    uint8_t *before;
    uint8_t *after;
    size_t size;
    struct peat_db *db;

    pt_fixture_put_letters(fixture, "ab");
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    pt_fixture_put_letters(fixture, "c");
    PT_REQUIRE_OK(pt_test_backup(fixture->db, path_of(increment, "increment"), full));
    before = file_read(increment, &size);
    PT_REQUIRE_STATUS(peat_open(increment, &reading, &db), PEAT_INVALID);
    assert_non_null(strstr(peat_last_error(), "peat restore"));
    PT_REQUIRE_STATUS(peat_open(increment, &writing, &db), PEAT_INVALID);
    after = file_read(increment, &size);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
}

static void a_store_in_memory_can_be_backed_up(void **state)
{
    struct peat_options options = pt_test_options(0);
    struct pt_fixture copy = {.batch = NULL};
    struct peat_db *db;

    (void)state;
    PT_REQUIRE_OK(peat_open(NULL, &options, &db));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("a"), pt_text("1")));
    PT_REQUIRE_OK(backup(db, path_of(copy.path, "copy")));
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_open(copy.path, &options, &copy.db));
    pt_fixture_require(&copy, "a", "1");
    PT_REQUIRE_OK(peat_close(copy.db));
}

static void collections_keep_their_ids_and_new_ones_get_others(void **state)
{
    struct pt_fixture *fixture = *state;
    struct pt_fixture copy = {.batch = fixture->batch};
    struct peat_options options = pt_test_options(0);
    struct peat_collection *first;
    struct peat_collection *second;

    PT_REQUIRE_OK(peat_collection_open(fixture->db, NULL, "first", PEAT_CREATE, &first));
    PT_REQUIRE_OK(peat_put(fixture->db, first, pt_text("a"), pt_text("1")));
    PT_REQUIRE_OK(backup(fixture->db, path_of(copy.path, "copy")));
    peat_collection_close(first);
    PT_REQUIRE_OK(peat_open(copy.path, &options, &copy.db));
    PT_REQUIRE_OK(peat_collection_open(copy.db, NULL, "second", PEAT_CREATE, &second));
    PT_REQUIRE_OK(peat_collection_open(copy.db, NULL, "first", 0, &first));
    pt_fixture_require_in(&copy, first, pt_text("a"), "1");
    pt_fixture_require_in(&copy, second, pt_text("a"), NULL);
    peat_collection_close(first);
    peat_collection_close(second);
    PT_REQUIRE_OK(peat_close(copy.db));
}

/* ---- What is refused ---- */

static void wrong_options_are_invalid(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_backup_options options;
    struct peat_backup_info info = {.struct_size = 0};
    char path[PATH_SIZE];

    peat_backup_options_init(&options);
    PT_REQUIRE_STATUS(peat_backup(fixture->db, NULL, &options, NULL), PEAT_INVALID);
    options.path = path_of(path, "copy");
    PT_REQUIRE_STATUS(peat_backup(fixture->db, NULL, &options, &info), PEAT_INVALID);
    options.flags = 1u << 30;
    PT_REQUIRE_STATUS(peat_backup(fixture->db, NULL, &options, NULL), PEAT_INVALID);
    options.flags = 0;
    options.since_count = 1;
    PT_REQUIRE_STATUS(peat_backup(fixture->db, NULL, &options, NULL), PEAT_INVALID);
    options.struct_size = 0;
    PT_REQUIRE_STATUS(peat_backup(fixture->db, NULL, &options, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_restore(path, NULL, 0, NULL, NULL, NULL), PEAT_INVALID);
    require_no_file(path);
}

static void only_an_earlier_backup_of_the_same_store_can_be_a_base(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *other;
    char full[PATH_SIZE];
    char path[PATH_SIZE];
    char other_path[PATH_SIZE];

    pt_fixture_put_letters(fixture, "ab");
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    PT_REQUIRE_OK(peat_open(path_of(other_path, "other"), &options, &other));
    PT_REQUIRE_OK(peat_put(other, NULL, pt_text("x"), pt_text("y")));
    PT_REQUIRE_STATUS(pt_test_backup(other, path_of(path, "increment"), full), PEAT_INVALID);
    PT_REQUIRE_STATUS(pt_test_backup(fixture->db, path, other_path), PEAT_INVALID);
    PT_REQUIRE_STATUS(pt_test_backup(fixture->db, path, pt_test_path("nothing")), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(peat_close(other));
    /* The backup went on by itself and is ahead. */
    PT_REQUIRE_OK(peat_open(full, &options, &other));
    PT_REQUIRE_OK(peat_put(other, NULL, pt_text("x"), pt_text("y")));
    PT_REQUIRE_OK(backup(other, path_of(other_path, "later")));
    PT_REQUIRE_OK(peat_close(other));
    PT_REQUIRE_STATUS(pt_test_backup(fixture->db, path, other_path), PEAT_INVALID);
    assert_non_null(strstr(peat_last_error(), "later than"));
    PT_REQUIRE_STATUS(pt_test_backup(fixture->db, path, full), PEAT_INVALID);
    assert_non_null(strstr(peat_last_error(), "opened for writing"));
    require_no_file(path);
}

static void an_increment_of_another_store_is_not_laid_on_a_backup(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_CREATE);
    char full[PATH_SIZE];
    char other_full[PATH_SIZE];
    char other_increment[PATH_SIZE];
    char out[PATH_SIZE];
    struct peat_db *other;

    PT_REQUIRE_OK(peat_open(NULL, &options, &other));
    pt_fixture_put(fixture, "a", "same");
    PT_REQUIRE_OK(peat_put(other, NULL, pt_text("a"), pt_text("same")));
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "own")));
    PT_REQUIRE_OK(backup(other, path_of(other_full, "other")));
    PT_REQUIRE_OK(peat_put(other, NULL, pt_text("b"), pt_text("more")));
    PT_REQUIRE_OK(pt_test_backup(other, path_of(other_increment, "others"), other_full));
    PT_REQUIRE_STATUS(restore(path_of(out, "mixed"), full, other_increment), PEAT_INVALID);
    require_no_file(out);
    PT_REQUIRE_OK(restore(out, other_full, other_increment));
    PT_REQUIRE_OK(peat_close(other));
}

static void an_increment_on_another_content_of_the_same_commit_is_refused(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(0);
    struct peat_db *other;
    char full[PATH_SIZE];
    char twin[PATH_SIZE];
    char twin_full[PATH_SIZE];
    char increment[PATH_SIZE];

    pt_fixture_put_letters(fixture, "ab");
    PT_REQUIRE_OK(backup(fixture->db, path_of(twin, "twin")));
    PT_REQUIRE_OK(peat_open(twin, &options, &other)); /* two histories with one past */
    PT_REQUIRE_OK(peat_put(other, NULL, pt_text("c"), pt_text("there")));
    PT_REQUIRE_OK(backup(other, path_of(twin_full, "twin-full")));
    PT_REQUIRE_OK(peat_close(other));
    pt_fixture_put(fixture, "c", "here");
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    pt_fixture_put(fixture, "d", "here");
    PT_REQUIRE_OK(pt_test_backup(fixture->db, path_of(increment, "increment"), full));
    PT_REQUIRE_STATUS(restore(path_of(twin, "out"), twin_full, increment), PEAT_INVALID);
    assert_non_null(strstr(peat_last_error(), "another content"));
    require_no_file(twin);
}

static void a_file_that_is_there_is_kept_unless_it_may_be_replaced(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_backup_options options;
    uint8_t before[32];
    uint8_t after[32];
    char full[PATH_SIZE];
    char precious[PATH_SIZE];
    uint8_t *bytes;
    size_t size;

    pt_fixture_put_letters(fixture, "ab");
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    digest_of(full, before);
    pt_fixture_put_letters(fixture, "c");
    file_write(path_of(precious, "precious"), (const uint8_t *)"text", 4);
    PT_REQUIRE_STATUS(backup(fixture->db, precious), PEAT_EXISTS);
    PT_REQUIRE_STATUS(restore(precious, full, NULL), PEAT_EXISTS);
    bytes = file_read(precious, &size);
    PT_REQUIRE(size == 4 && memcmp(bytes, "text", 4) == 0);
    free(bytes);
    peat_backup_options_init(&options);
    options.path = full;
    options.flags = PEAT_REPLACE;
    PT_REQUIRE_OK(peat_backup(fixture->db, NULL, &options, NULL));
    digest_of(full, after);
    PT_REQUIRE(memcmp(before, after, sizeof(before)) != 0);
    PT_REQUIRE(pt_test_file_count(".partial") == 0);
}

static void neither_the_store_nor_the_base_is_replaced(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_backup_options options;
    char full[PATH_SIZE];
    char increment[PATH_SIZE];
    char fresh[PATH_SIZE];
    const char *since[] = {full, increment};

    pt_fixture_put_letters(fixture, "ab");
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    pt_fixture_put_letters(fixture, "c");
    PT_REQUIRE_OK(pt_test_backup(fixture->db, path_of(increment, "increment"), full));
    peat_backup_options_init(&options);
    options.path = fixture->path;
    options.flags = PEAT_REPLACE;
    PT_REQUIRE_STATUS(peat_backup(fixture->db, NULL, &options, NULL), PEAT_INVALID);
    options.since = since;
    options.since_count = 2;
    for (size_t i = 0; i < options.since_count; i++) {
        options.path = since[i];
        PT_REQUIRE_STATUS(peat_backup(fixture->db, NULL, &options, NULL), PEAT_INVALID);
    }
    options.path = pt_test_path(""); /* no file, but there */
    PT_REQUIRE(peat_backup(fixture->db, NULL, &options, NULL) < 0);
    options.path = path_of(fresh, "fresh"); /* nothing to replace */
    PT_REQUIRE_OK(peat_backup(fixture->db, NULL, &options, NULL));
    PT_REQUIRE_OK(peat_backup(fixture->db, NULL, &options, NULL));
    pt_fixture_reopen(fixture, false);
    pt_fixture_require(fixture, "a", "letter");
    PT_REQUIRE_OK(peat_backup_inspect(full, &(struct peat_backup_info){.struct_size = 64}));
}

/* ---- What ends early ---- */

static bool stop_at_once(void *context, uint64_t done, uint64_t total)
{
    PT_REQUIRE(done <= total);
    ++*(unsigned *)context;
    return false;
}

/* Enough that progress is told. */
static void put_megabytes(struct pt_fixture *fixture, unsigned megabytes)
{
    static char value[65536];

    for (unsigned i = 0; i < megabytes * 16; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "big%06u", i);
        pt_value_fill(i, value, sizeof(value));
        PT_REQUIRE_OK(
            peat_put(fixture->db, NULL, pt_text(key), (struct peat_bytes){value, sizeof(value)}));
    }
}

static void what_is_stopped_leaves_no_file(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot;
    struct peat_backup_options options;
    unsigned calls = 0;
    uint8_t digest[32];
    char path[PATH_SIZE];
    char full[PATH_SIZE];
    const char *paths[] = {full};

    put_megabytes(fixture, 4);
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    peat_backup_options_init(&options);
    options.path = path_of(path, "copy");
    options.progress = stop_at_once;
    options.context = &calls;
    PT_REQUIRE_STATUS(peat_backup(fixture->db, NULL, &options, NULL), PEAT_DONE);
    PT_REQUIRE_STATUS(peat_restore(path, paths, 1, stop_at_once, &calls, NULL), PEAT_DONE);
    snapshot = pt_fixture_snapshot(fixture);
    PT_REQUIRE_STATUS(peat_digest(snapshot, stop_at_once, &calls, digest, NULL), PEAT_DONE);
    peat_snapshot_close(snapshot);
    PT_REQUIRE(calls == 3);
    require_no_file(path);
}

struct progress_seen {
    uint64_t done;
    uint64_t total;
};

static bool progress_follow(void *context, uint64_t done, uint64_t total)
{
    struct progress_seen *seen = context;

    PT_REQUIRE(done >= seen->done && done <= total);
    *seen = (struct progress_seen){done, total};
    return true;
}

static void progress_goes_up_and_ends_at_the_whole(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_backup_options options;
    struct progress_seen seen = {0, 0};
    char path[PATH_SIZE];

    put_megabytes(fixture, 3);
    peat_backup_options_init(&options);
    options.path = path_of(path, "copy");
    options.progress = progress_follow;
    options.context = &seen;
    PT_REQUIRE_OK(peat_backup(fixture->db, NULL, &options, NULL));
    PT_REQUIRE(seen.done == seen.total && seen.total > 3000000);
}

/* Takes so many bytes and no more. */
static bool take_some(void *context, const void *data, size_t size)
{
    uint64_t *left = context;

    (void)data;
    if (size > *left)
        return false;
    *left -= size;
    return true;
}

static void a_stream_that_is_not_taken_ends_the_backup(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_backup_options options;
    uint64_t left = 200000;

    put_megabytes(fixture, 1);
    peat_backup_options_init(&options);
    options.write = take_some;
    options.context = &left;
    PT_REQUIRE_STATUS(peat_backup(fixture->db, NULL, &options, NULL), PEAT_IO);
    left = UINT64_MAX;
    PT_REQUIRE_OK(peat_backup(fixture->db, NULL, &options, NULL));
}

static void full_disk_run(void *context)
{
    struct pt_fixture *fixture = context;
    char full[PATH_SIZE];
    char path[PATH_SIZE];

    (void)path_of(path, "copy");
    (void)snprintf(full, sizeof(full), "%s", pt_test_path("full"));
    /* From a megabyte on, and where only the last page is missing. */
    for (rlim_t limit = 1 << 20; limit < 3 << 20; limit += 700 << 10) {
        struct rlimit rlimit = {limit, RLIM_INFINITY};
        struct peat_options options = pt_test_options(PEAT_READ_ONLY);
        struct peat_db *db;

        PT_REQUIRE(setrlimit(RLIMIT_FSIZE, &rlimit) == 0);
        PT_REQUIRE_OK(peat_open(fixture->path, &options, &db));
        PT_REQUIRE_STATUS(backup(db, path), PEAT_NO_SPACE);
        require_no_file(path);
        PT_REQUIRE_OK(peat_close(db));
        PT_REQUIRE_STATUS(restore(path, full, NULL), PEAT_NO_SPACE);
        require_no_file(path);
    }
}

static void a_full_disk_is_a_status_and_leaves_no_file(void **state)
{
    struct pt_fixture *fixture = *state;
    char full[PATH_SIZE];

    put_megabytes(fixture, 3);
    PT_REQUIRE_OK(peat_sync(fixture->db));
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    pt_child_join(pt_child_start(full_disk_run, fixture));
}

/* ---- Damage ---- */

static void a_damaged_store_gives_no_backup(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_db *db;
    char path[PATH_SIZE];
    uint8_t *bytes;
    uint8_t value[300];
    size_t size;
    uint8_t *place;

    pt_fixture_rewrite(fixture, 1);
    PT_REQUIRE_OK(peat_close(fixture->db));
    fixture->db = NULL;
    bytes = file_read(fixture->path, &size);
    pt_value_fill(250, value, sizeof(value));
    place = memmem(bytes, size, value, sizeof(value));
    PT_REQUIRE(place != NULL);
    flip(fixture->path, (uint64_t)(place - bytes) + 100, 4);
    free(bytes);
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &db));
    PT_REQUIRE_STATUS(backup(db, path_of(path, "copy")), PEAT_CORRUPT);
    assert_non_null(strstr(peat_last_error(), "of the file"));
    require_no_file(path);
    PT_REQUIRE_OK(peat_close(db));
    options.flags = 0;
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
}

/* Restoring @p first and @p second (may be NULL) is refused, or gives what it must. */
static void damage_is_found(const char *first, const char *second, const uint8_t digest[32])
{
    char out[PATH_SIZE];
    uint8_t found[32];
    enum peat_status status = restore(path_of(out, "out"), first, second);

    if (status == PEAT_OK) { /* what was hit is not in use: padding, or one of the superblocks */
        digest_of(out, found);
        PT_REQUIRE(memcmp(found, digest, sizeof(found)) == 0);
        return;
    }
    PT_REQUIRE(status == PEAT_CORRUPT || status == PEAT_INVALID || status == PEAT_VERSION);
    require_no_file(out);
}

/* A full backup and an increment, and the digest of both together. */
struct pair {
    char full[PATH_SIZE];
    char increment[PATH_SIZE];
    uint8_t digest[32];
};

static void pair_make(struct pt_fixture *fixture, struct pair *pair)
{
    char out[PATH_SIZE];

    pt_fixture_rewrite(fixture, 1);
    PT_REQUIRE_OK(backup(fixture->db, path_of(pair->full, "full")));
    PT_REQUIRE_OK(peat_batch_delete_range(fixture->batch, NULL, pt_text("02"), pt_text("03")));
    pt_fixture_commit(fixture);
    for (unsigned i = 0; i < 50; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "00%02ux", i);
        pt_fixture_put(fixture, key, "in the increment alone");
    }
    PT_REQUIRE_OK(pt_test_backup(fixture->db, path_of(pair->increment, "increment"), pair->full));
    PT_REQUIRE_OK(restore(path_of(out, "out"), pair->full, pair->increment));
    digest_of(out, pair->digest);
}

/* An offset where flipping tells something: not in the long stretches of zeros, mostly. */
static uint64_t offset_of(struct pt_dice *dice, const uint8_t *bytes, size_t size)
{
    for (int i = 0; i < 50; i++) {
        uint64_t offset = pt_dice_below(dice, size);

        if (bytes[offset] != 0)
            return offset;
    }
    return pt_dice_below(dice, size);
}

static void p3_no_flipped_byte_of_a_backup_gets_into_a_store(void **state)
{
    struct pt_fixture *fixture = *state;
    struct pt_dice dice = {pt_test_seed()};
    struct pair pair;
    uint8_t *bytes;
    size_t size;

    pair_make(fixture, &pair);
    for (unsigned part = 0; part < 2; part++) {
        const char *path = part == 0 ? pair.full : pair.increment;

        bytes = file_read(path, &size);
        for (unsigned i = 0; i < FLIPS / 2 + HEADER_SIZE / 4; i++) {
            uint64_t offset = i < HEADER_SIZE / 4 ? HEADER_OFFSET + 4 * i + pt_dice_below(&dice, 4)
                                                  : offset_of(&dice, bytes, size);
            uint8_t mask = (uint8_t)(1u << pt_dice_below(&dice, 8));

            pt_test_context("%s, offset %llu, mask %u", part == 0 ? "full" : "increment",
                            (unsigned long long)offset, mask);
            flip(path, offset, mask);
            damage_is_found(pair.full, pair.increment, pair.digest);
            flip(path, offset, mask);
        }
        free(bytes);
    }
}

static void p3_a_backup_that_was_cut_short_is_refused(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    char out[PATH_SIZE];
    struct pair pair;
    uint8_t *bytes;
    size_t size;

    pair_make(fixture, &pair);
    bytes = file_read(pair.full, &size);
    for (size_t cut = 1; cut < size; cut += 30011) {
        struct peat_db *db;
        enum peat_status status;

        file_write(pair.full, bytes, size - cut);
        status = restore(path_of(out, "out"), pair.full, pair.increment);
        PT_REQUIRE(status == PEAT_CORRUPT || status == PEAT_INVALID);
        require_no_file(out);
        if (peat_open(pair.full, &options, &db) == PEAT_OK) /* only padding is missing */
            PT_REQUIRE_OK(peat_close(db));
        else
            PT_REQUIRE(cut >= 16);
    }
    free(bytes);
}

/* ---- Beside writers ---- */

struct writing {
    struct peat_db *db;
    _Atomic bool stop;
};

/* Batch n is commit n, and sets all keys of the group to n. */
static void *group_write(void *context)
{
    struct writing *writing = context;
    struct peat_batch *batch = peat_batch_new(0);
    uint8_t value[GROUP_VALUE_SIZE];
    uint64_t commit;

    for (uint64_t n = 1; !atomic_load(&writing->stop); n++) {
        peat_batch_clear(batch);
        pt_value_fill(n, value, sizeof(value));
        for (unsigned i = 0; i < GROUP; i++) {
            char key[16];

            (void)snprintf(key, sizeof(key), "group%03u", i);
            PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text(key),
                                         (struct peat_bytes){value, sizeof(value)}));
        }
        PT_REQUIRE_OK(peat_write(writing->db, batch, PEAT_DEFAULT, &commit));
        PT_REQUIRE(commit == n);
    }
    peat_batch_free(batch);
    return NULL;
}

static void group_require(const char *path, uint64_t commit)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;
    enum peat_status status;
    unsigned count = 0;
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(path, &options, &db));
    pt_compare_check(db);
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE(peat_snapshot_commit(snapshot) == commit);
    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    for (status = peat_iterator_first(iterator); status == PEAT_OK;
         status = peat_iterator_next(iterator)) {
        PT_REQUIRE(pt_value_matches(commit, peat_iterator_value(iterator)));
        count++;
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    PT_REQUIRE(count == (commit == 0 ? 0 : GROUP));
    peat_iterator_close(iterator);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(db));
}

static void backups_beside_commits_and_merges_are_each_of_one_moment(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options reading = pt_test_options(PEAT_READ_ONLY);
    struct writing writing = {.db = fixture->db};
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    char full[PATH_SIZE];
    char path[PATH_SIZE];
    char out[PATH_SIZE];
    const char *since[] = {full};
    const char *chain[] = {full, path};
    struct peat_db *reader;
    pthread_t thread;

    PT_REQUIRE_OK(peat_open(fixture->path, &reading, &reader));
    PT_REQUIRE_OK(backup(fixture->db, path_of(full, "full")));
    PT_REQUIRE(pthread_create(&thread, NULL, group_write, &writing) == 0);
    for (unsigned i = 0; i < BACKUPS_BESIDE; i++) {
        struct peat_backup_options options;
        struct peat_db *db = i % 2 == 0 ? fixture->db : reader;

        peat_backup_options_init(&options);
        options.path = path_of(path, "copy");
        if (i % 3 == 2) {
            options.since = since;
            options.since_count = 1;
        }
        PT_REQUIRE_OK(peat_refresh(reader));
        PT_REQUIRE_OK(peat_backup(db, NULL, &options, &info));
        if (options.since_count == 1) {
            PT_REQUIRE_OK(peat_restore(path_of(out, "out"), chain, 2, NULL, NULL, NULL));
            group_require(out, info.commit);
        } else {
            group_require(path, info.commit);
        }
    }
    atomic_store(&writing.stop, true);
    PT_REQUIRE(pthread_join(thread, NULL) == 0);
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE(info.commit > 0);
}

/* ---- How fast ---- */

static void tell_rate(const char *what, uint64_t size, uint64_t since_us)
{
    uint64_t time_us = pt_test_now_us() - since_us;

    printf("# %-9s %6.1f MB/s\n", what, (double)size / (double)(time_us + 1));
}

static void megabytes_put(struct peat_db *db, unsigned megabytes)
{
    struct peat_batch *batch = peat_batch_new(0);
    uint8_t value[1000];

    for (unsigned i = 0; i < megabytes * 1000; i++) {
        char key[20];

        (void)snprintf(key, sizeof(key), "%016llx", (unsigned long long)pt_mix(i));
        pt_value_fill(i, value, sizeof(value));
        PT_REQUIRE_OK(
            peat_batch_put(batch, NULL, pt_text(key), (struct peat_bytes){value, sizeof(value)}));
        if (i % 1000 == 999) {
            PT_REQUIRE_OK(peat_write(db, batch, PEAT_DEFAULT, NULL));
            peat_batch_clear(batch);
        }
    }
    peat_batch_free(batch);
}

/* With default options, so segments are large; the rates are told, not judged. */
static void many_megabytes_come_back(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    struct peat_backup_options stream;
    uint64_t left = UINT64_MAX;
    char store[PATH_SIZE];
    char full[PATH_SIZE];
    char increment[PATH_SIZE];
    char out[PATH_SIZE];
    const char *paths[] = {full, increment};
    uint8_t digest[32];
    struct peat_db *db;
    uint64_t begin_us;

    (void)state;
    PT_REQUIRE_OK(peat_open(path_of(store, "large"), &options, &db));
    megabytes_put(db, megabytes_wanted);
    begin_us = pt_test_now_us();
    PT_REQUIRE_OK(backup(db, path_of(full, "full")));
    PT_REQUIRE_OK(peat_backup_inspect(full, &info));
    tell_rate("backup", info.file_size, begin_us);
    peat_backup_options_init(&stream);
    stream.write = take_some;
    stream.context = &left;
    begin_us = pt_test_now_us();
    PT_REQUIRE_OK(peat_backup(db, NULL, &stream, NULL));
    tell_rate("stream", info.file_size, begin_us);
    PT_REQUIRE_OK(peat_delete(db, NULL, pt_text("0000000000000000")));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("new"), pt_text("1")));
    begin_us = pt_test_now_us();
    PT_REQUIRE_OK(pt_test_backup(db, path_of(increment, "increment"), full));
    tell_rate("increment", info.file_size, begin_us);
    PT_REQUIRE_OK(peat_close(db));
    begin_us = pt_test_now_us();
    digest_of(store, digest);
    tell_rate("digest", info.file_size, begin_us);
    begin_us = pt_test_now_us();
    PT_REQUIRE_OK(peat_restore(path_of(out, "out"), paths, 2, NULL, NULL, &info));
    tell_rate("restore", info.file_size, begin_us);
    PT_REQUIRE(memcmp(info.digest, digest, sizeof(digest)) == 0);
    PT_REQUIRE(info.entry_count == 1000ull * megabytes_wanted + 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        PT_FIXTURE_TEST(a_backup_is_a_store_that_goes_on_by_itself),
        PT_FIXTURE_TEST(a_backup_shows_the_snapshot_it_was_given),
        PT_FIXTURE_TEST(an_empty_store_and_an_empty_increment_are_fine),
        PT_FIXTURE_TEST(an_increment_holds_only_what_changed),
        PT_FIXTURE_TEST(an_increment_does_not_open_and_is_left_untouched),
        cmocka_unit_test(a_store_in_memory_can_be_backed_up),
        PT_FIXTURE_TEST(collections_keep_their_ids_and_new_ones_get_others),
        PT_FIXTURE_TEST(wrong_options_are_invalid),
        PT_FIXTURE_TEST(only_an_earlier_backup_of_the_same_store_can_be_a_base),
        PT_FIXTURE_TEST(an_increment_of_another_store_is_not_laid_on_a_backup),
        PT_FIXTURE_TEST(an_increment_on_another_content_of_the_same_commit_is_refused),
        PT_FIXTURE_TEST(a_file_that_is_there_is_kept_unless_it_may_be_replaced),
        PT_FIXTURE_TEST(neither_the_store_nor_the_base_is_replaced),
        PT_FIXTURE_TEST(what_is_stopped_leaves_no_file),
        PT_FIXTURE_TEST(progress_goes_up_and_ends_at_the_whole),
        PT_FIXTURE_TEST(a_stream_that_is_not_taken_ends_the_backup),
        PT_FIXTURE_TEST(a_full_disk_is_a_status_and_leaves_no_file),
        PT_FIXTURE_TEST(a_damaged_store_gives_no_backup),
        PT_FIXTURE_TEST(p3_no_flipped_byte_of_a_backup_gets_into_a_store),
        PT_FIXTURE_TEST(p3_a_backup_that_was_cut_short_is_refused),
        PT_FIXTURE_TEST(backups_beside_commits_and_merges_are_each_of_one_moment),
        cmocka_unit_test(many_megabytes_come_back),
    };
    int failed;

    pt_test_start();
    megabytes_wanted = (unsigned)pt_test_number("PEAT_MEGABYTES", MEGABYTES_DEFAULT);
    if (argc > 1)
        megabytes_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

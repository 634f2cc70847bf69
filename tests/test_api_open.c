/*
 * The property: opening gives a store or a status that says why not, and a file that is not ours is
 * left as it was; a store is one small file with one writer; closing waits for those who look.
 */
#include "tests/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_SIZE = 512 };

/* --- helpers -------------------------------------------------------------------------------- */

static enum peat_status try_open(const char *path, unsigned flags, struct peat_db **db)
{
    struct peat_options options = pt_test_options(flags);

    *db = (struct peat_db *)(uintptr_t)1; /* must be set, whatever happens */
    return peat_open(path, &options, db);
}

/* It is refused with that status, in words, and no handle. */
static void require_refused(const char *path, unsigned flags, enum peat_status expected)
{
    struct peat_db *db;

    PT_REQUIRE_STATUS(try_open(path, flags, &db), expected);
    PT_REQUIRE(db == NULL);
    PT_REQUIRE(peat_last_error()[0] != '\0');
}

static struct peat_db *opened(const char *path, unsigned flags)
{
    struct peat_db *db;

    PT_REQUIRE_OK(try_open(path, flags, &db));
    return db;
}

/* A path in the test's directory that stays when pt_test_path() is called again. */
static const char *path_of(char path[PATH_SIZE], const char *name)
{
    PT_REQUIRE(snprintf(path, PATH_SIZE, "%s", pt_test_path(name)) < PATH_SIZE);
    return path;
}

/* A closed store with one entry. */
static void store_make(const char *path)
{
    struct peat_db *db = opened(path, PEAT_CREATE);

    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_close(db));
}

static void require_value(struct peat_db *db, const char *key, const char *value)
{
    char buffer[256];
    size_t size = 0;
    struct peat_bytes found = {buffer, 0};

    PT_REQUIRE_OK(peat_get_copy(db, NULL, pt_text(key), buffer, sizeof(buffer), &size));
    found.size = size;
    PT_REQUIRE(pt_same(found, pt_text(value)));
}

static void file_write(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    PT_REQUIRE(fd >= 0 && pt_pipe_write(fd, data, size));
    (void)close(fd);
}

static char *file_read(const char *path, size_t *size_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    char *data;

    PT_REQUIRE(fd >= 0 && fstat(fd, &stat) == 0);
    *size_out = (size_t)stat.st_size;
    data = malloc(*size_out + 1);
    PT_REQUIRE(data != NULL && pt_pipe_read(fd, data, *size_out));
    (void)close(fd);
    return data;
}

static uint64_t disk_size(const char *path)
{
    struct stat stat_now;

    PT_REQUIRE(stat(path, &stat_now) == 0);
    return (uint64_t)stat_now.st_blocks * 512;
}

/* --- what can be opened --------------------------------------------------------------------- */

static void options_start_with_the_defaults_of_the_header(void **state)
{
    struct peat_options options;

    (void)state;
    memset(&options, 0xff, sizeof(options));
    peat_options_init(&options);
    PT_REQUIRE(options.struct_size == sizeof(options));
    PT_REQUIRE(options.flags == 0);
    PT_REQUIRE(options.durability == PEAT_OS);
    PT_REQUIRE(options.sync_interval_ms == 100);
    PT_REQUIRE(options.memory_size_max == (size_t)512 << 20);
    PT_REQUIRE(options.write_buffer_size == (size_t)64 << 20);
}

static void open_with_default_options_creates_and_reopens(void **state)
{
    struct peat_options options;
    char path[PATH_SIZE];
    struct peat_db *db;

    (void)state;
    peat_options_init(&options);
    options.flags = PEAT_CREATE;
#ifdef __SANITIZE_THREAD__
    options.address_space_size = (size_t)64 << 30; /* it grants no more than 256 GiB */
#endif
    PT_REQUIRE_OK(peat_open(path_of(path, "defaults"), &options, &db));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_close(db));
    options.flags = 0;
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
}

static void open_without_options_opens_what_exists(void **state)
{
    char path[PATH_SIZE];
    struct peat_db *db;

    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* the default address space is more than it grants */
#endif
    PT_REQUIRE_STATUS(peat_open(path_of(path, "no-options"), NULL, &db), PEAT_NOT_FOUND);
    store_make(path);
    PT_REQUIRE_OK(peat_open(path, NULL, &db));
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
}

static void open_takes_the_options_of_an_older_program(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    (void)state;
#ifdef __SANITIZE_THREAD__
    skip();
#endif
    /* As if address_space_size had been added since: what lies there is not to be read. */
    options.struct_size = offsetof(struct peat_options, address_space_size);
    options.address_space_size = 1;
    PT_REQUIRE_OK(peat_open(pt_test_path("older-options"), &options, &db));
    PT_REQUIRE_OK(peat_close(db));
}

static void open_refuses_bad_options(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    char path[PATH_SIZE];
    struct peat_db *db;

    (void)state;
    (void)path_of(path, "bad-options");
    options.struct_size = 0;
    PT_REQUIRE_STATUS(peat_open(path, &options, &db), PEAT_INVALID);
    options = pt_test_options(PEAT_CREATE | 1u << 31);
    PT_REQUIRE_STATUS(peat_open(path, &options, &db), PEAT_INVALID);
    options = pt_test_options(PEAT_CREATE);
    options.durability = (enum peat_durability)77;
    PT_REQUIRE_STATUS(peat_open(path, &options, &db), PEAT_INVALID);
    PT_REQUIRE(access(path, F_OK) != 0); /* and nothing was made */
}

static void open_without_create_finds_no_missing_file_and_makes_none(void **state)
{
    char path[PATH_SIZE];

    (void)state;
    require_refused(path_of(path, "missing"), 0, PEAT_NOT_FOUND);
    require_refused(path, PEAT_READ_ONLY, PEAT_NOT_FOUND);
    PT_REQUIRE(access(path, F_OK) != 0);
}

static void open_finds_no_file_in_a_missing_directory(void **state)
{
    (void)state;
    require_refused(pt_test_path("no/such/directory"), PEAT_CREATE, PEAT_NOT_FOUND);
}

static void exclusive_creates_a_new_file_and_refuses_an_existing_one(void **state)
{
    char path[PATH_SIZE];
    struct peat_db *db;

    (void)state;
    db = opened(path_of(path, "exclusive"), PEAT_CREATE | PEAT_EXCLUSIVE);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_close(db));
    require_refused(path, PEAT_CREATE | PEAT_EXCLUSIVE, PEAT_EXISTS);
    db = opened(path, 0);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
}

static void a_new_file_has_mode_0600_whatever_the_mask(void **state)
{
    static const mode_t masks[] = {0, 022, 077};
    char path[PATH_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        mode_t before = umask(masks[i]);
        struct stat stat_now;

        store_make(path_of(path, "mode"));
        (void)umask(before);
        PT_REQUIRE(stat(path, &stat_now) == 0);
        PT_REQUIRE((stat_now.st_mode & 07777) == 0600);
        PT_REQUIRE(unlink(path) == 0);
    }
}

static void open_refuses_what_is_not_a_regular_file(void **state)
{
    static const unsigned flags[] = {0, PEAT_CREATE, PEAT_READ_ONLY};
    char directory[PATH_SIZE];
    char fifo[PATH_SIZE];

    (void)state;
    PT_REQUIRE(mkdir(path_of(directory, "directory"), 0700) == 0);
    PT_REQUIRE(mkfifo(path_of(fifo, "fifo"), 0600) == 0);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        require_refused(directory, flags[i], PEAT_INVALID);
        require_refused(fifo, flags[i], PEAT_INVALID);
        require_refused("/dev/null", flags[i], PEAT_INVALID);
    }
}

static void open_refuses_files_of_others_and_leaves_every_byte(void **state)
{
    static const unsigned flags[] = {0, PEAT_CREATE, PEAT_READ_ONLY};
    static const size_t sizes[] = {1, 5, 4095, 4096, 8192, 65536, 300000, 2 << 20};
    char path[PATH_SIZE];

    (void)state;
    (void)path_of(path, "foreign");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *data = malloc(sizes[i]);
        size_t size_after;

        PT_REQUIRE(data != NULL);
        pt_value_fill(i, data, sizes[i]);
        file_write(path, data, sizes[i]);
        for (size_t j = 0; j < sizeof(flags) / sizeof(flags[0]); j++) {
            char *after;

            require_refused(path, flags[j], PEAT_INVALID);
            after = file_read(path, &size_after);
            PT_REQUIRE(size_after == sizes[i] && memcmp(after, data, size_after) == 0);
            free(after);
        }
        free(data);
    }
}

static void open_makes_a_store_of_an_empty_file(void **state)
{
    char path[PATH_SIZE];
    struct peat_db *db;

    (void)state;
    file_write(path_of(path, "empty"), "", 0); /* what a crash in creation may leave */
    db = opened(path, PEAT_CREATE);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_close(db));
    db = opened(path, 0);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
}

static void denied_open(void *context)
{
    if (geteuid() == 0) /* whom permissions do not stop */
        PT_REQUIRE(setresuid(65534, 65534, 65534) == 0);
    require_refused(context, 0, PEAT_DENIED);
    require_refused(context, PEAT_CREATE, PEAT_DENIED);
    require_refused(context, PEAT_READ_ONLY, PEAT_DENIED);
}

static void open_without_permission_is_denied(void **state)
{
    char path[PATH_SIZE];

    (void)state;
    store_make(path_of(path, "denied"));
    PT_REQUIRE(chmod(path, 0) == 0);
    pt_child_join(pt_child_start(denied_open, path));
}

static void p5_a_store_can_be_renamed_and_copied(void **state)
{
    char path[PATH_SIZE];
    char moved[PATH_SIZE];
    char copied[PATH_SIZE];
    struct peat_db *db;
    char *data;
    size_t size;

    (void)state;
    store_make(path_of(path, "before"));
    PT_REQUIRE(rename(path, path_of(moved, "moved")) == 0);
    data = file_read(moved, &size);
    file_write(path_of(copied, "copied"), data, size);
    free(data);
    db = opened(moved, 0);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
    db = opened(copied, PEAT_READ_ONLY);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
}

static void stores_have_ids_of_their_own_and_keep_them(void **state)
{
    struct peat_stats first = {.struct_size = sizeof(first)};
    struct peat_stats second = {.struct_size = sizeof(second)};
    struct peat_db *db;

    (void)state;
    db = opened(pt_test_path("id"), PEAT_CREATE);
    PT_REQUIRE_OK(peat_stats_get(db, &first));
    PT_REQUIRE_OK(peat_close(db));
    db = opened(pt_test_path("id"), 0);
    PT_REQUIRE_OK(peat_stats_get(db, &second));
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(memcmp(first.store_id, second.store_id, sizeof(first.store_id)) == 0);
    db = opened(pt_test_path("another-id"), PEAT_CREATE);
    PT_REQUIRE_OK(peat_stats_get(db, &second));
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(memcmp(first.store_id, second.store_id, sizeof(first.store_id)) != 0);
}

/* --- one file ------------------------------------------------------------------------------- */

/* Enough for a few flushes and merges with tiny buffers. */
static void work_a_little(struct peat_db *db, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned j = 0; j < 50; j++) {
            char key[32];
            char value[200];
            struct peat_bytes bytes = {value, sizeof(value)};

            pt_value_fill(i * 50 + j, value, sizeof(value));
            (void)snprintf(key, sizeof(key), "key %u", j * 7919 % 1000);
            PT_REQUIRE_OK(peat_put(db, NULL, pt_text(key), bytes));
        }
        PT_REQUIRE_OK(peat_flush(db));
    }
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
}

static unsigned entries_of(const char *path)
{
    DIR *directory = opendir(path);
    unsigned count = 0;

    PT_REQUIRE(directory != NULL);
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count;
}

static void p5_a_store_is_one_file_with_nothing_beside_it(void **state)
{
    char directory[PATH_SIZE];
    char path[PATH_SIZE];
    struct peat_db *db;

    (void)state;
    PT_REQUIRE(mkdir(path_of(directory, "alone"), 0700) == 0);
    db = opened(path_of(path, "alone/store"), PEAT_CREATE);
    PT_REQUIRE(entries_of(directory) == 3); /* itself, its parent, the store */
    work_a_little(db, 20);
    PT_REQUIRE(entries_of(directory) == 3);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(entries_of(directory) == 3);
}

static void flushes_and_merges_leave_no_file_descriptor_open(void **state)
{
    struct peat_db *db;
    unsigned before_open = entries_of("/proc/self/fd");
    unsigned before_work;

    (void)state;
    db = opened(pt_test_path("descriptors"), PEAT_CREATE);
    work_a_little(db, 1);
    before_work = entries_of("/proc/self/fd");
    work_a_little(db, 30);
    PT_REQUIRE(entries_of("/proc/self/fd") == before_work);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(entries_of("/proc/self/fd") == before_open);
}

/* Every descriptor opened since; the library's own must not pass to other programs. */
static void descriptors_are_closed_on_exec(void **state)
{
    bool was_open[256];
    struct peat_db *db;
    unsigned found = 0;

    (void)state;
    for (int fd = 0; fd < 256; fd++)
        was_open[fd] = fcntl(fd, F_GETFD) >= 0;
    db = opened(pt_test_path("close-on-exec"), PEAT_CREATE);
    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);

        if (was_open[fd] || flags < 0)
            continue;
        found++;
        PT_REQUIRE((flags & FD_CLOEXEC) != 0);
    }
    PT_REQUIRE(found > 0);
    PT_REQUIRE_OK(peat_close(db));
}

static void p6_an_empty_store_is_below_512_kib_on_disk(void **state)
{
    char path[PATH_SIZE];
    struct peat_db *db = opened(path_of(path, "small-empty"), PEAT_CREATE);

    (void)state;
    PT_REQUIRE(disk_size(path) < 512 << 10);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(disk_size(path) < 512 << 10);
    db = opened(path, 0);
    PT_REQUIRE(disk_size(path) < 512 << 10);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(disk_size(path) < 512 << 10);
}

static void p6_a_thousand_small_entries_are_below_2_mib_on_disk(void **state)
{
    char path[PATH_SIZE];
    struct peat_db *db = opened(path_of(path, "small-thousand"), PEAT_CREATE);

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        char key[32];

        (void)snprintf(key, sizeof(key), "key %06u", i);
        PT_REQUIRE_OK(peat_put(db, NULL, pt_text(key), pt_text("a value of some twenty bytes")));
        PT_REQUIRE(disk_size(path) < 2 << 20);
    }
    PT_REQUIRE_OK(peat_flush(db));
    PT_REQUIRE(disk_size(path) < 2 << 20);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE(disk_size(path) < 2 << 20);
}

static size_t private_memory(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    size_t size_kib = 0;

    PT_REQUIRE(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0)
            size_kib = strtoul(line + 8, NULL, 10);
    (void)fclose(file);
    return size_kib << 10;
}

static void p6_an_idle_open_store_costs_below_2_mib_of_private_memory(void **state)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};
    struct peat_db *db;
    size_t before;

    (void)state;
    store_make(pt_test_path("idle"));
    before = private_memory();
    db = opened(pt_test_path("idle"), 0);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("another"), pt_text("value")));
    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    PT_REQUIRE(stats.memory_size < 2 << 20);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    PT_REQUIRE(private_memory() < before + (2 << 20));
#endif
    PT_REQUIRE_OK(peat_close(db));
    (void)before;
}

/* --- one writer ----------------------------------------------------------------------------- */

struct rival {
    const char *path;
    pid_t holder;
};

static void rival_run(void *context)
{
    const struct rival *rival = context;
    char holder[32];
    struct peat_db *db;

    require_refused(rival->path, 0, PEAT_BUSY);
    (void)snprintf(holder, sizeof(holder), "%ld", (long)rival->holder);
    if (strstr(peat_last_error(), holder) == NULL)
        pt_test_fail(__FILE__, __LINE__, "process %s is not named: %s", holder, peat_last_error());
    require_refused(rival->path, PEAT_CREATE, PEAT_BUSY);
    db = opened(rival->path, PEAT_READ_ONLY);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
}

/* Open the store and stay until killed. */
static void holder_run(void *context)
{
    int fd = *(int *)context;
    struct peat_db *db = opened(pt_test_path("busy"), PEAT_CREATE);

    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE(pt_pipe_write(fd, "x", 1));
    for (;;)
        (void)pause();
}

static void a_second_writer_is_busy_and_told_the_first_ones_process(void **state)
{
    struct rival rival = {pt_test_path("busy"), 0};
    struct peat_db *db;
    char byte;
    int fds[2];

    (void)state;
    PT_REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    rival.holder = pt_child_start(holder_run, &fds[1]);
    PT_REQUIRE(pt_pipe_read(fds[0], &byte, 1));
    pt_child_join(pt_child_start(rival_run, &rival));
    pt_child_kill(rival.holder);
    db = opened(rival.path, 0); /* a killed writer's hold is gone with it */
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void a_second_writer_in_the_same_process_is_busy_too(void **state)
{
    char path[PATH_SIZE];
    struct peat_db *db = opened(path_of(path, "same-process"), PEAT_CREATE);
    struct peat_db *reader;

    (void)state;
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    require_refused(path, 0, PEAT_BUSY);
    reader = opened(path, PEAT_READ_ONLY);
    require_value(reader, "key", "value");
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("newer")));
    require_value(reader, "key", "value");
    PT_REQUIRE_OK(peat_refresh(reader));
    require_value(reader, "key", "newer");
    PT_REQUIRE_OK(peat_close(reader));
    require_refused(path, 0, PEAT_BUSY); /* the reader's end did not end the writer's hold */
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_close(opened(path, 0)));
}

static void a_read_only_store_refuses_any_number_of_writes(void **state)
{
    struct peat_batch *batch = peat_batch_new(0);
    struct peat_collection *collection;
    struct peat_db *db;
    uint64_t commit = 0;

    (void)state;
    db = opened(pt_test_path("read-only"), PEAT_CREATE);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_collection_open(db, NULL, "there", PEAT_CREATE, &collection));
    peat_collection_close(collection);
    PT_REQUIRE_OK(peat_close(db));
    db = opened(pt_test_path("read-only"), PEAT_READ_ONLY);
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("key"), pt_text("other")));
    for (unsigned i = 0; i < 50; i++) {
        PT_REQUIRE_STATUS(peat_write(db, batch, PEAT_DEFAULT, &commit), PEAT_NOT_WRITABLE);
        PT_REQUIRE_STATUS(peat_put(db, NULL, pt_text("k"), pt_text("v")), PEAT_NOT_WRITABLE);
        PT_REQUIRE_STATUS(peat_delete(db, NULL, pt_text("key")), PEAT_NOT_WRITABLE);
    }
    PT_REQUIRE_STATUS(peat_sync(db), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_collection_open(db, NULL, "new", PEAT_CREATE, &collection),
                      PEAT_NOT_WRITABLE);
    PT_REQUIRE_OK(peat_collection_open(db, NULL, "there", PEAT_CREATE, &collection));
    PT_REQUIRE_STATUS(peat_collection_drop(db, collection), PEAT_NOT_WRITABLE);
    peat_collection_close(collection);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
    peat_batch_free(batch);
}

static void a_read_only_open_changes_no_byte(void **state)
{
    char path[PATH_SIZE];
    struct peat_db *db;
    char *before;
    char *after;
    size_t size;
    size_t size_after;

    (void)state;
    db = opened(path_of(path, "unchanged"), PEAT_CREATE);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_abort(db)); /* with a log to replay */
    before = file_read(path, &size);
    db = opened(path, PEAT_READ_ONLY);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
    after = file_read(path, &size_after);
    PT_REQUIRE(size == size_after && memcmp(before, after, size) == 0);
    free(before);
    free(after);
}

static void a_file_that_cannot_be_written_can_be_read(void **state)
{
    char path[PATH_SIZE];
    struct peat_db *db;

    (void)state;
    store_make(path_of(path, "mode-0400"));
    PT_REQUIRE(chmod(path, 0400) == 0);
    db = opened(path, PEAT_READ_ONLY);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
}

/* --- closing -------------------------------------------------------------------------------- */

static void closing_nothing_is_done(void **state)
{
    (void)state;
    PT_REQUIRE_OK(peat_close(NULL));
    PT_REQUIRE_OK(peat_abort(NULL));
    peat_snapshot_close(NULL);
    peat_iterator_close(NULL);
    peat_collection_close(NULL);
    peat_batch_free(NULL);
}

static void close_is_busy_while_a_snapshot_is_open_and_nothing_happens(void **state)
{
    struct peat_db *db = opened(pt_test_path("close-busy"), PEAT_CREATE);
    struct peat_snapshot *snapshot;
    struct peat_iterator *iterator;

    (void)state;
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_STATUS(peat_close(db), PEAT_BUSY);
    PT_REQUIRE_STATUS(peat_abort(db), PEAT_BUSY);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("newer")));
    require_value(db, "key", "newer");
    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    peat_snapshot_close(snapshot);
    PT_REQUIRE_STATUS(peat_close(db), PEAT_BUSY);
    PT_REQUIRE_OK(peat_iterator_first(iterator));
    PT_REQUIRE(pt_same(peat_iterator_value(iterator), pt_text("value")));
    peat_iterator_close(iterator);
    PT_REQUIRE_OK(peat_close(db));
}

static void p2_a_commit_right_before_close_is_there_after_it(void **state)
{
    static const enum peat_durability levels[] = {PEAT_MEMORY, PEAT_OS, PEAT_DISK};
    struct peat_batch *batch = peat_batch_new(0);

    (void)state;
    for (unsigned i = 0; i < 51; i++) {
        struct peat_db *db = opened(pt_test_path("right-before-close"), PEAT_CREATE);
        char text[32];

        (void)snprintf(text, sizeof(text), "turn %u", i);
        peat_batch_clear(batch);
        PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("key"), pt_text(text)));
        PT_REQUIRE_OK(peat_write(db, batch, levels[i % 3], NULL));
        PT_REQUIRE_OK(peat_close(db));
        db = opened(pt_test_path("right-before-close"), 0);
        require_value(db, "key", text);
        PT_REQUIRE_OK(peat_close(db));
    }
    peat_batch_free(batch);
}

static void p2_a_commit_at_os_level_survives_abort(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        struct peat_db *db = opened(pt_test_path("abort"), PEAT_CREATE);
        char text[32];

        (void)snprintf(text, sizeof(text), "turn %u", i);
        PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text(text)));
        PT_REQUIRE_OK(peat_abort(db));
        db = opened(pt_test_path("abort"), 0);
        require_value(db, "key", text);
        PT_REQUIRE_OK(peat_abort(db));
    }
}

static void p2_a_synced_memory_commit_survives_abort(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    (void)state;
    options.durability = PEAT_MEMORY;
    options.sync_interval_ms = 3600000;
    PT_REQUIRE_OK(peat_open(pt_test_path("synced"), &options, &db));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_sync(db));
    PT_REQUIRE_OK(peat_abort(db));
    db = opened(pt_test_path("synced"), 0);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
}

static void p2_a_memory_commit_reaches_the_file_by_itself(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *reader;
    struct peat_db *db;
    enum peat_status status;
    char value[8];
    size_t size;

    (void)state;
    options.durability = PEAT_MEMORY;
    options.sync_interval_ms = 20;
    PT_REQUIRE_OK(peat_open(pt_test_path("by-itself"), &options, &db));
    reader = opened(pt_test_path("by-itself"), PEAT_READ_ONLY);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    do { /* if it never does, the program's time is up at last */
        PT_REQUIRE_OK(peat_refresh(reader));
        status = peat_get_copy(reader, NULL, pt_text("key"), value, sizeof(value), &size);
    } while (status == PEAT_NOT_FOUND);
    PT_REQUIRE_OK(status);
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE_OK(peat_close(db));
}

static void a_store_in_memory_starts_empty_and_needs_no_create(void **state)
{
    struct peat_db *db = opened(NULL, 0);
    struct peat_db *other = opened(NULL, PEAT_CREATE);
    char buffer[8];
    size_t size;

    (void)state;
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_STATUS(peat_get_copy(other, NULL, pt_text("key"), buffer, sizeof(buffer), &size),
                      PEAT_NOT_FOUND);
    work_a_little(db, 10);
    require_value(db, "key", "value");
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_close(other));
}

/* --- status --------------------------------------------------------------------------------- */

static void every_status_has_its_name(void **state)
{
    static const struct {
        enum peat_status status;
        const char *name;
    } names[] = {
        {PEAT_OK, "PEAT_OK"},
        {PEAT_NOT_FOUND, "PEAT_NOT_FOUND"},
        {PEAT_DONE, "PEAT_DONE"},
        {PEAT_CONFLICT, "PEAT_CONFLICT"},
        {PEAT_TIMEOUT, "PEAT_TIMEOUT"},
        {PEAT_INVALID, "PEAT_INVALID"},
        {PEAT_NO_MEMORY, "PEAT_NO_MEMORY"},
        {PEAT_NO_SPACE, "PEAT_NO_SPACE"},
        {PEAT_IO, "PEAT_IO"},
        {PEAT_CORRUPT, "PEAT_CORRUPT"},
        {PEAT_BUSY, "PEAT_BUSY"},
        {PEAT_NOT_WRITABLE, "PEAT_NOT_WRITABLE"},
        {PEAT_VERSION, "PEAT_VERSION"},
        {PEAT_POISONED, "PEAT_POISONED"},
        {PEAT_TOO_LARGE, "PEAT_TOO_LARGE"},
        {PEAT_EXISTS, "PEAT_EXISTS"},
        {PEAT_GAP, "PEAT_GAP"},
        {PEAT_UNSUPPORTED, "PEAT_UNSUPPORTED"},
        {PEAT_DENIED, "PEAT_DENIED"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_string_equal(peat_status_name(names[i].status), names[i].name);
    assert_non_null(peat_status_name((enum peat_status)12345));
    assert_string_equal(peat_version(), PEAT_VERSION_STRING);
}

static void *error_of_a_new_thread(void *context)
{
    (void)context;
    return (void *)(uintptr_t)(peat_last_error()[0] == '\0');
}

static void the_last_error_belongs_to_the_thread(void **state)
{
    pthread_t thread;
    void *was_empty = NULL;

    (void)state;
    require_refused(pt_test_path("nothing-here"), 0, PEAT_NOT_FOUND);
    PT_REQUIRE(pthread_create(&thread, NULL, error_of_a_new_thread, NULL) == 0);
    PT_REQUIRE(pthread_join(thread, &was_empty) == 0);
    PT_REQUIRE(was_empty != NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_start_with_the_defaults_of_the_header),
        cmocka_unit_test(open_with_default_options_creates_and_reopens),
        cmocka_unit_test(open_without_options_opens_what_exists),
        cmocka_unit_test(open_takes_the_options_of_an_older_program),
        cmocka_unit_test(open_refuses_bad_options),
        cmocka_unit_test(open_without_create_finds_no_missing_file_and_makes_none),
        cmocka_unit_test(open_finds_no_file_in_a_missing_directory),
        cmocka_unit_test(exclusive_creates_a_new_file_and_refuses_an_existing_one),
        cmocka_unit_test(a_new_file_has_mode_0600_whatever_the_mask),
        cmocka_unit_test(open_refuses_what_is_not_a_regular_file),
        cmocka_unit_test(open_refuses_files_of_others_and_leaves_every_byte),
        cmocka_unit_test(open_makes_a_store_of_an_empty_file),
        cmocka_unit_test(open_without_permission_is_denied),
        cmocka_unit_test(p5_a_store_can_be_renamed_and_copied),
        cmocka_unit_test(stores_have_ids_of_their_own_and_keep_them),
        cmocka_unit_test(p5_a_store_is_one_file_with_nothing_beside_it),
        cmocka_unit_test(flushes_and_merges_leave_no_file_descriptor_open),
        cmocka_unit_test(descriptors_are_closed_on_exec),
        cmocka_unit_test(p6_an_empty_store_is_below_512_kib_on_disk),
        cmocka_unit_test(p6_a_thousand_small_entries_are_below_2_mib_on_disk),
        cmocka_unit_test(p6_an_idle_open_store_costs_below_2_mib_of_private_memory),
        cmocka_unit_test(a_second_writer_is_busy_and_told_the_first_ones_process),
        cmocka_unit_test(a_second_writer_in_the_same_process_is_busy_too),
        cmocka_unit_test(a_read_only_store_refuses_any_number_of_writes),
        cmocka_unit_test(a_read_only_open_changes_no_byte),
        cmocka_unit_test(a_file_that_cannot_be_written_can_be_read),
        cmocka_unit_test(closing_nothing_is_done),
        cmocka_unit_test(close_is_busy_while_a_snapshot_is_open_and_nothing_happens),
        cmocka_unit_test(p2_a_commit_right_before_close_is_there_after_it),
        cmocka_unit_test(p2_a_commit_at_os_level_survives_abort),
        cmocka_unit_test(p2_a_synced_memory_commit_survives_abort),
        cmocka_unit_test(p2_a_memory_commit_reaches_the_file_by_itself),
        cmocka_unit_test(a_store_in_memory_starts_empty_and_needs_no_create),
        cmocka_unit_test(every_status_has_its_name),
        cmocka_unit_test(the_last_error_belongs_to_the_thread),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

/*
 * The property: a store file of every format there has been opens, reads the same and takes commits; a
 * file of a format that is yet to come is refused by name, and not touched.
 *
 * The files are in tests/data, one folder for each format (make_data.c).
 */
#include "tests/forge.h"
#include "tests/recorded.h"
#include "tests/thin_file.h"

#include "core/db/manifest_format.h"

#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- The files ---- */

static const char *data_path(const char *folder, const char *name)
{
    static char path[4096];
    const char *root = getenv("top_srcdir");

    (void)snprintf(path, sizeof(path), "%s/tests/data%s%s%s%s", root == NULL ? "." : root,
                   folder[0] == '\0' ? "" : "/", folder, name[0] == '\0' ? "" : "/", name);
    return path;
}

/* Call @p look with every entry of a folder of tests/data that ends in @p suffix. */
static size_t for_each(const char *folder, const char *suffix,
                       void (*look)(const char *folder, const char *name))
{
    struct dirent **entries = NULL;
    int count = scandir(data_path(folder, ""), &entries, NULL, alphasort);
    size_t looked = 0;

    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        size_t size = strlen(name);

        if (name[0] != '.' && size > strlen(suffix) &&
            strcmp(name + size - strlen(suffix), suffix) == 0) {
            look(folder, name);
            looked++;
        }
        free(entries[i]);
    }
    free(entries);
    return looked;
}

static bool name_is(const char *name, const char *wanted)
{
    return strncmp(name, wanted, strlen(wanted)) == 0 && name[strlen(wanted)] == '.';
}

/* Unpack the thin file @p name of @p folder as the test's own file @p as. */
static void unpack(const char *folder, const char *name, const char *as)
{
    uint64_t size;
    uint8_t *bytes = pt_thin_read(data_path(folder, name), &size);

    pt_file_make(pt_test_path(as), bytes, size);
    free(bytes);
}

static struct peat_db *store_open(const char *name, unsigned flags)
{
    struct peat_options options = pt_test_options(flags);
    struct peat_db *db;

    options.history_count = 0; /* let no state go */
    PT_REQUIRE_OK(peat_open(pt_test_path(name), &options, &db));
    return db;
}

/* ---- What they show ---- */

/* The store shows the states that are recorded for @p name, in this order. */
static void require_states(const char *folder, const char *name, struct peat_db *db, bool newest)
{
    char recorded_name[300];
    char *shown = NULL;
    size_t shown_size = 0;
    uint64_t recorded_size;
    uint8_t *recorded;
    FILE *file = open_memstream(&shown, &shown_size);

    assert_non_null(file);
    if (newest)
        pt_recorded_write_newest(file, db);
    else
        pt_recorded_write(file, db);
    assert_int_equal(fclose(file), 0);
    (void)snprintf(recorded_name, sizeof(recorded_name), "%.*s.states",
                   (int)(strchr(name, '.') - name), name);
    recorded = pt_file_bytes(data_path(folder, recorded_name), &recorded_size);
    assert_non_null(recorded);
    if (recorded_size < shown_size ||
        memcmp(recorded + recorded_size - shown_size, shown, shown_size) != 0 ||
        (!newest && recorded_size != shown_size))
        pt_test_fail(__FILE__, __LINE__, "%s/%s shows\n%s\nnot\n%.*s", folder, name, shown,
                     (int)recorded_size, (const char *)recorded);
    free(recorded);
    free(shown);
}

static void require_untouched(const char *folder, const char *name, const char *as)
{
    uint64_t before;
    uint64_t after;
    uint8_t *packed = pt_thin_read(data_path(folder, name), &before);
    uint8_t *found = pt_file_bytes(pt_test_path(as), &after);

    assert_int_equal(before, after);
    assert_memory_equal(packed, found, before);
    free(packed);
    free(found);
}

static void read_only_look(const char *folder, const char *name)
{
    struct peat_db *db;

    if (name_is(name, "increment"))
        return;
    unpack(folder, name, "store");
    db = store_open("store", PEAT_READ_ONLY);
    require_states(folder, name, db, false);
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
    require_untouched(folder, name, "store");
}

static void read_only_folder(const char *folder, const char *name)
{
    (void)folder;
    assert_true(for_each(name, ".thin", read_only_look) > 0);
}

static void every_file_of_every_format_reads_as_recorded_and_stays_as_it_is(void **state)
{
    (void)state;
    assert_true(for_each("", "", read_only_folder) > 0);
}

static void writing_look(const char *folder, const char *name)
{
    struct peat_collection *collection;
    struct peat_db *db;
    char value[16];
    size_t size;

    if (name_is(name, "increment"))
        return;
    unpack(folder, name, "store");
    db = store_open("store", 0);
    require_states(folder, name, db, true);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("new"), pt_text("value")));
    PT_REQUIRE_OK(peat_collection_open(db, NULL, "new collection", PEAT_CREATE, &collection));
    PT_REQUIRE_OK(peat_put(db, collection, pt_text("new"), pt_text("other")));
    peat_collection_close(collection);
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
    db = store_open("store", PEAT_READ_ONLY);
    PT_REQUIRE_OK(peat_get_copy(db, NULL, pt_text("new"), value, sizeof(value), &size));
    assert_true(size == 5 && memcmp(value, "value", 5) == 0);
    PT_REQUIRE_OK(peat_check(db, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
}

static void writing_folder(const char *folder, const char *name)
{
    (void)folder;
    assert_true(for_each(name, ".thin", writing_look) > 0);
}

static void every_file_of_every_format_opens_for_writing_and_goes_on(void **state)
{
    (void)state;
    assert_true(for_each("", "", writing_folder) > 0);
}

static void restore_folder(const char *folder, const char *name)
{
    char full[4096];
    char increment[4096];
    const char *const chain[] = {full, increment};
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    struct peat_db *db;

    (void)folder;
    unpack(name, "full.thin", "full");
    unpack(name, "increment.thin", "increment");
    (void)strcpy(full, pt_test_path("full"));
    (void)strcpy(increment, pt_test_path("increment"));
    PT_REQUIRE_OK(peat_backup_inspect(full, &info));
    assert_false(info.is_increment);
    PT_REQUIRE_OK(peat_backup_inspect(increment, &info));
    assert_true(info.is_increment);
    (void)remove(pt_test_path("restored"));
    PT_REQUIRE_OK(peat_restore(pt_test_path("restored"), chain, 2, NULL, NULL, NULL));
    db = store_open("restored", PEAT_READ_ONLY);
    require_states(name, "increment.thin", db, false);
    PT_REQUIRE_OK(peat_close(db));
    require_untouched(name, "full.thin", "full");
    require_untouched(name, "increment.thin", "increment");
}

static void backups_of_every_format_are_restored(void **state)
{
    (void)state;
    assert_true(for_each("", "", restore_folder) > 0);
}

/* The feed @p name hands out the commits from @p from to @p to. */
static void require_commits(struct peat_db *db, const char *name, uint64_t from, uint64_t to)
{
    struct peat_record record;
    struct peat_feed *feed;

    PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_ACKNOWLEDGED, name, 0, &feed));
    for (uint64_t i = from; i <= to; i++) {
        PT_REQUIRE_OK(peat_feed_next(feed, 0, &record));
        assert_int_equal(record.commit, i);
    }
    PT_REQUIRE_STATUS(peat_feed_next(feed, 0, &record), PEAT_TIMEOUT);
    peat_feed_close(feed);
}

static void feeds_go_on_where_they_left_off(void **state)
{
    struct peat_db *db;
    (void)state;

    unpack("format-1.3", "feeds.thin", "store");
    for (unsigned i = 0; i < 2; i++) {
        db = store_open("store", 0);
        require_commits(db, "copy", 1, 40);
        require_commits(db, "follower-\xc3\xa9", 31, 40);
        PT_REQUIRE_OK(peat_close(db));
    }
}

/* The last of three epochs, of ten commits each, goes on. */
static void epochs_are_where_they_began(void **state)
{
    (void)state;

    unpack("format-1.4", "epochs.thin", "store");
    for (unsigned i = 0; i < 3; i++) {
        struct peat_db *db = store_open("store", i == 0 ? PEAT_READ_ONLY : 0);
        struct peat_epoch epochs[PEAT_EPOCHS_MAX];
        struct peat_position position;
        size_t count;

        PT_REQUIRE_OK(peat_epochs_get(db, epochs, PEAT_EPOCHS_MAX, &count));
        assert_int_equal(count, 3);
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(epochs[k].epoch, k + 1);
            assert_int_equal(epochs[k].first_commit, 10 * k + 1);
        }
        if (i > 0)
            PT_REQUIRE_OK(peat_put(db, NULL, pt_text("more"), pt_text("value")));
        PT_REQUIRE_OK(peat_position_get(db, &position));
        assert_int_equal(position.epoch, 3);
        PT_REQUIRE_OK(peat_close(db));
    }
}

/* ---- Newer ones ---- */

/* A store as this peat makes it, in memory. */
struct subject {
    uint8_t *bytes;
    uint64_t size;
};

static bool has_words(const char *words)
{
    return strstr(peat_last_error(), words) != NULL;
}

static struct subject subject_new(void)
{
    struct peat_db *db;
    struct subject subject;

    (void)remove(pt_test_path("newer"));
    db = store_open("newer", PEAT_CREATE);
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_OK(peat_close(db));
    subject.bytes = pt_file_bytes(pt_test_path("newer"), &subject.size);
    assert_non_null(subject.bytes);
    return subject;
}

/* No way of opening takes the subject, each says why, and the file is as it was. Frees it. */
static void require_refused(struct subject *subject, const char *words)
{
    static const unsigned ways[] = {0, PEAT_READ_ONLY, PEAT_CREATE, PEAT_CREATE | PEAT_LOG_PWRITE};
    uint64_t size;
    uint8_t *bytes;

    pt_file_make(pt_test_path("newer"), subject->bytes, subject->size);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct peat_options options = pt_test_options(ways[i]);
        struct peat_db *db;

        PT_REQUIRE_STATUS(peat_open(pt_test_path("newer"), &options, &db), PEAT_VERSION);
        assert_null(db);
        if (!has_words(words))
            pt_test_fail(__FILE__, __LINE__, "'%s' is not in: %s", words, peat_last_error());
    }
    bytes = pt_file_bytes(pt_test_path("newer"), &size);
    assert_non_null(bytes);
    assert_int_equal(size, subject->size);
    assert_memory_equal(bytes, subject->bytes, size);
    free(bytes);
    free(subject->bytes);
}

static void superblocks_set_version(struct subject *subject, uint32_t version)
{
    for (size_t i = 0; i < PT_SUPERBLOCK_COUNT; i++) {
        struct pt_superblock_page *page = (void *)(subject->bytes + i * PT_SUPERBLOCK_SIZE);

        page->version = pt_le32(version);
        pt_forge_superblock(page);
    }
}

static void a_file_of_a_newer_format_is_refused_by_name_and_left_untouched(void **state)
{
    static const uint32_t versions[] = {PT_FORMAT_VERSION + 1, UINT32_MAX};
    (void)state;

    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        struct subject subject = subject_new();
        char words[64];

        superblocks_set_version(&subject, versions[i]);
        (void)snprintf(words, sizeof(words), "format version %" PRIu32, versions[i]);
        require_refused(&subject, words);
    }
}

static void a_newer_superblock_beside_an_older_one_rules(void **state)
{
    struct subject subject = subject_new();
    struct pt_superblock_page *page = pt_forge_newest(subject.bytes);
    (void)state;

    page->version = pt_le32(PT_FORMAT_VERSION + 1);
    page->generation = pt_le64(pt_le64_value(page->generation) + 1);
    pt_forge_superblock(page);
    require_refused(&subject, "format version");
}

static void a_newer_manifest_is_refused_by_name_and_left_untouched(void **state)
{
    struct subject subject = subject_new();
    const struct pt_superblock_page *page = pt_forge_newest(subject.bytes);
    uint8_t *block = subject.bytes + pt_le64_value(page->manifest_offset);
    struct pt_manifest_header *header = (void *)block;
    (void)state;

    header->version = pt_le32(PT_MANIFEST_VERSION + 1);
    pt_forge_manifest(block, pt_le64_value(page->manifest_size), &page->store_id,
                      pt_le64_value(page->generation));
    require_refused(&subject, "has version");
}

/* ---- Numbers that no store counts up to ---- */

/* What @p change makes of the subject's manifest is sealed again. */
static void manifest_forge(struct subject *subject,
                           void (*change)(struct pt_manifest_header *header))
{
    const struct pt_superblock_page *page = pt_forge_newest(subject->bytes);
    uint8_t *block = subject->bytes + pt_le64_value(page->manifest_offset);

    change((void *)block);
    pt_forge_manifest(block, pt_le64_value(page->manifest_size), &page->store_id,
                      pt_le64_value(page->generation));
}

static void raise_commit(struct pt_manifest_header *header)
{
    header->log.commit = pt_le64(INT64_MAX);
}

static void raise_position(struct pt_manifest_header *header)
{
    header->log.position = pt_le64(INT64_MAX);
}

static void raise_epoch(struct pt_manifest_header *header)
{
    header->log.epoch = pt_le64(INT64_MAX);
}

static void raise_segment_id(struct pt_manifest_header *header)
{
    header->next_segment_id = pt_le64(INT64_MAX);
}

static void a_store_whose_numbers_run_out_is_read_and_not_written_to(void **state)
{
    void (*const changes[])(struct pt_manifest_header * header) = {raise_commit, raise_position,
                                                                   raise_epoch, raise_segment_id};
    (void)state;

    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct subject subject = subject_new();
        struct peat_options options = pt_test_options(0);
        struct peat_bytes value;
        struct peat_snapshot *snapshot;
        struct peat_db *db;
        uint64_t size;
        uint8_t *bytes;

        manifest_forge(&subject, changes[i]);
        pt_file_make(pt_test_path("newer"), subject.bytes, subject.size);
        PT_REQUIRE_STATUS(peat_open(pt_test_path("newer"), &options, &db), PEAT_CORRUPT);
        if (!has_words("run out"))
            pt_test_fail(__FILE__, __LINE__, "change %zu: %s", i, peat_last_error());
        bytes = pt_file_bytes(pt_test_path("newer"), &size);
        assert_int_equal(size, subject.size);
        assert_memory_equal(bytes, subject.bytes, size);
        db = store_open("newer", PEAT_READ_ONLY);
        PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
        PT_REQUIRE_OK(peat_get(snapshot, NULL, pt_text("key"), &value));
        peat_snapshot_close(snapshot);
        PT_REQUIRE_OK(peat_close(db));
        free(bytes);
        free(subject.bytes);
    }
}

static void a_newer_backup_is_refused_by_name_and_left_untouched(void **state)
{
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    char path[4096];
    const char *const chain[] = {path};
    uint64_t size;
    uint64_t size_after;
    uint8_t *bytes;
    uint8_t *after;
    struct pt_backup_page *page;
    (void)state;

    (void)strcpy(path, pt_test_path("newer"));
    (void)remove(path);
    (void)remove(pt_test_path("full"));
    struct peat_db *db = store_open("full", PEAT_CREATE);
    struct peat_backup_options options;
    peat_backup_options_init(&options);
    options.path = path;
    PT_REQUIRE_OK(peat_backup(db, NULL, &options, NULL));
    PT_REQUIRE_OK(peat_close(db));
    bytes = pt_file_bytes(path, &size);
    assert_non_null(bytes);
    page = (void *)(bytes + PT_BACKUP_HEADER_OFFSET);
    page->version = pt_le32(PT_BACKUP_VERSION + 1);
    pt_forge_backup(page);
    pt_file_make(path, bytes, size);

    PT_REQUIRE_STATUS(peat_backup_inspect(path, &info), PEAT_VERSION);
    assert_true(has_words("backup version"));
    (void)remove(pt_test_path("restored"));
    PT_REQUIRE_STATUS(peat_restore(pt_test_path("restored"), chain, 1, NULL, NULL, NULL),
                      PEAT_VERSION);
    assert_null(pt_file_bytes(pt_test_path("restored"), &size_after));
    after = pt_file_bytes(path, &size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(bytes, after, size);
    free(after);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_of_every_format_reads_as_recorded_and_stays_as_it_is),
        cmocka_unit_test(every_file_of_every_format_opens_for_writing_and_goes_on),
        cmocka_unit_test(backups_of_every_format_are_restored),
        cmocka_unit_test(feeds_go_on_where_they_left_off),
        cmocka_unit_test(epochs_are_where_they_began),
        cmocka_unit_test(a_file_of_a_newer_format_is_refused_by_name_and_left_untouched),
        cmocka_unit_test(a_newer_superblock_beside_an_older_one_rules),
        cmocka_unit_test(a_newer_manifest_is_refused_by_name_and_left_untouched),
        cmocka_unit_test(a_newer_backup_is_refused_by_name_and_left_untouched),
        cmocka_unit_test(a_store_whose_numbers_run_out_is_read_and_not_written_to),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * The property: peat_check() finds every byte in use that is not what was written there, tells where
 * it is and which keys it hits, and finds nothing in a store that is whole, however busy.
 *
 * The stores are damaged while they are open, through the file: the mapping shows it at once.
 */
#include "core/db/manifest.h"

#include "core/arena/superblock_format.h"
#include "core/base/alloc.h"
#include "core/db/db.h"
#include "tests/forge.h"
#include "tests/support.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ENTRIES = 6000, VALUE_SIZE = 100, FLIPS = 150, TEXT_SIZE = 32 };

/* A store in segments and log, and what its file is made of. */
struct sample {
    struct peat_db *db;
    struct pt_file *file; /* another handle on the same file */
    struct pt_superblock superblock;
    struct pt_manifest manifest;
    uint8_t *block; /* the manifest's */
};

/* What a check told. */
struct told {
    unsigned count;
    uint64_t offset; /* of the first finding */
    char what[600];
    uint8_t low[TEXT_SIZE]; /* of the first finding: keys without their collection id */
    size_t low_size;
    uint8_t high[TEXT_SIZE];
    size_t high_size;
    bool bounded; /* the finding has a key range */
    uint64_t done;
    uint64_t total;
    uint64_t stop_after; /* bytes; 0: never */
};

static struct peat_bytes key_of(char text[TEXT_SIZE], unsigned number)
{
    return pt_bytes(text, (size_t)snprintf(text, TEXT_SIZE, "key%06u", number));
}

static void entries_put(struct peat_db *db, unsigned first, unsigned count)
{
    struct peat_batch *batch = peat_batch_new(0);

    PT_REQUIRE(batch != NULL);
    for (unsigned i = first; i < first + count; i++) {
        char text[TEXT_SIZE];
        void *value;

        PT_REQUIRE_OK(peat_batch_put_reserve(batch, NULL, key_of(text, i), VALUE_SIZE, &value));
        pt_value_fill(i, value, VALUE_SIZE);
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_DEFAULT, NULL));
    peat_batch_free(batch);
}

static struct peat_db *store_open(const char *path, unsigned flags)
{
    struct peat_options options = pt_test_options(flags);
    struct peat_db *db;

    options.sync_interval_ms = 3600000;
    PT_REQUIRE_OK(peat_open(path, &options, &db));
    return db;
}

static void sample_look(struct sample *sample)
{
    pt_manifest_fini(&sample->manifest);
    free(sample->block);
    PT_REQUIRE_OK(pt_superblock_read(sample->file, &sample->superblock, NULL));
    sample->block = malloc(sample->superblock.manifest_size);
    PT_REQUIRE(sample->block != NULL);
    PT_REQUIRE_OK(pt_file_read(sample->file, sample->superblock.manifest_offset, sample->block,
                               sample->superblock.manifest_size));
    PT_REQUIRE_OK(pt_manifest_decode(pt_bytes(sample->block, sample->superblock.manifest_size),
                                     &sample->superblock.store_id, sample->superblock.generation,
                                     &sample->manifest));
}

/* Merge nothing by itself any more, and seal no buffer, however long a test takes: what was looked at stays where it is. */
static void merger_still(struct peat_db *db)
{
    pt_mutex_lock(&db->merger.mutex);
    db->merger.flush_only = true;
    pt_mutex_unlock(&db->merger.mutex);
}

/* Entries 0 to ENTRIES - 1 in segments, and a range delete; then as many in the log. */
static void sample_open(struct sample *sample, const char *name)
{
    const char *path = pt_test_path(name);
    struct peat_batch *batch = peat_batch_new(0);

    memset(sample, 0, sizeof(*sample));
    sample->db = store_open(path, PEAT_CREATE);
    PT_REQUIRE_OK(pt_file_open(path, O_RDWR, &sample->file));
    entries_put(sample->db, 0, ENTRIES);
    PT_REQUIRE_OK(peat_flush(sample->db));
    PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, pt_text("key000100"), pt_text("key000200")));
    PT_REQUIRE_OK(peat_write(sample->db, batch, PEAT_DEFAULT, NULL));
    peat_batch_free(batch);
    PT_REQUIRE_OK(peat_wait_idle(sample->db, 60000));
    merger_still(sample->db);
    entries_put(sample->db, ENTRIES, ENTRIES);
    sample_look(sample);
}

static void sample_close(struct sample *sample)
{
    pt_manifest_fini(&sample->manifest);
    free(sample->block);
    pt_file_close(sample->file);
    PT_REQUIRE_OK(peat_close(sample->db));
}

static void flip(struct sample *sample, uint64_t offset, uint8_t mask)
{
    uint8_t byte;

    PT_REQUIRE_OK(pt_file_read(sample->file, offset, &byte, 1));
    byte ^= mask;
    PT_REQUIRE_OK(pt_file_write(sample->file, offset, &byte, 1));
}

/* Where in the file the value of entry @p number lies, from @p start on and before @p end. */
static uint64_t place_of(struct sample *sample, unsigned number, uint64_t start, uint64_t end)
{
    uint8_t value[VALUE_SIZE];
    uint8_t *image = malloc(end - start);
    const uint8_t *found;
    uint64_t place;

    PT_REQUIRE(image != NULL);
    PT_REQUIRE_OK(pt_file_read(sample->file, start, image, end - start));
    pt_value_fill(number, value, sizeof(value));
    found = memmem(image, end - start, value, sizeof(value));
    PT_REQUIRE(found != NULL);
    place = start + (uint64_t)(found - image);
    free(image);
    return place;
}

/* A stored key without the id of the root collection, cut to what a test looks at. */
static size_t key_copy(uint8_t place[TEXT_SIZE], struct peat_bytes key)
{
    size_t size = key.size > TEXT_SIZE ? TEXT_SIZE : key.size;

    PT_REQUIRE(size > 0);
    memcpy(place, (const uint8_t *)key.data + 1, size - 1);
    return size - 1;
}

static void finding_take(void *context, const struct peat_finding *finding)
{
    struct told *told = context;

    PT_REQUIRE(finding->what != NULL && finding->what[0] != '\0');
    PT_REQUIRE((finding->low.data == NULL) == (finding->high.data == NULL));
    if (told->count++ > 0)
        return;
    told->offset = finding->offset;
    (void)snprintf(told->what, sizeof(told->what), "%s", finding->what);
    told->bounded = finding->low.data != NULL;
    if (!told->bounded)
        return;
    PT_REQUIRE(pt_bytes_compare(finding->low, finding->high) <= 0);
    told->low_size = key_copy(told->low, finding->low);
    told->high_size = key_copy(told->high, finding->high);
}

static bool progress_take(void *context, uint64_t done, uint64_t total)
{
    struct told *told = context;

    PT_REQUIRE(done >= told->done && done <= total);
    told->done = done;
    told->total = total;
    return told->stop_after == 0 || done < told->stop_after;
}

static enum peat_status check(struct peat_db *db, struct told *told)
{
    memset(told, 0, sizeof(*told));
    return peat_check(db, finding_take, progress_take, told);
}

static void require_whole(struct peat_db *db)
{
    struct told told;
    enum peat_status status = check(db, &told);

    if (status != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%u findings, the first: %s (%s)", told.count, told.what,
                     peat_last_error());
    PT_REQUIRE(told.count == 0);
    PT_REQUIRE(told.total > 0 && told.done == told.total);
}

static void a_whole_store_has_no_findings(void **state)
{
    struct sample sample;
    struct peat_db *db;
    (void)state;

    db = store_open(NULL, 0);
    require_whole(db); /* empty, in memory */
    entries_put(db, 0, 100);
    require_whole(db);
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    require_whole(db);
    PT_REQUIRE_OK(peat_close(db));

    sample_open(&sample, "whole");
    PT_REQUIRE(sample.manifest.segment_count > 0);
    require_whole(sample.db);
    db = store_open(pt_test_path("whole"), PEAT_READ_ONLY);
    require_whole(db);
    sample_close(&sample);
    require_whole(db); /* what it holds stays, though a newer generation rules */
    PT_REQUIRE_OK(peat_close(db));
    db = store_open(pt_test_path("whole"), PEAT_READ_ONLY);
    require_whole(db);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_check(db = store_open(pt_test_path("whole"), 0), NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_close(db));
}

static void every_byte_in_use_is_looked_at(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct sample sample;
    struct told told;
    (void)state;

    sample_open(&sample, "flips");
    pt_merger_stop(
        sample.db); /* it flushes a store at rest, and a flip would hit what is no more in use */
    sample_look(&sample);
    for (unsigned i = 0; i < FLIPS; i++) {
        const struct pt_manifest_segment *segment =
            &sample.manifest.segments[pt_dice_below(&dice, sample.manifest.segment_count)];
        uint8_t mask = (uint8_t)(1 + pt_dice_below(&dice, 255));
        uint64_t offset;

        switch (pt_dice_below(&dice, 4)) {
        case 0:
            offset = pt_dice_below(&dice, PT_SUPERBLOCK_COUNT * PT_SUPERBLOCK_SIZE);
            break;
        case 1:
            offset = sample.superblock.manifest_offset +
                     pt_dice_below(&dice, sample.superblock.manifest_size);
            break;
        case 2: /* indexes, checksums and footer */
            offset = segment->extent.offset + segment->summary.size - 1 -
                     pt_dice_below(&dice, segment->summary.size / 8);
            break;
        default:
            offset = segment->extent.offset + pt_dice_below(&dice, segment->summary.size);
            break;
        }
        pt_test_context("flip %u: byte %" PRIu64 " by %02x", i, offset, mask);
        flip(&sample, offset, mask);
        PT_REQUIRE_STATUS(check(sample.db, &told), PEAT_CORRUPT);
        PT_REQUIRE(told.count > 0);
        flip(&sample, offset, mask);
    }
    pt_test_context("%s", "");
    require_whole(sample.db);
    sample_close(&sample);
}

static void a_damaged_entry_is_told_with_its_place_and_keys(void **state)
{
    enum { VICTIM = 3000, FAR = 1200 /* a chunk holds about 500 */ };
    const struct pt_extent *extent;
    struct sample sample;
    struct told told;
    char text[TEXT_SIZE];
    struct peat_bytes low;
    struct peat_bytes high;
    uint64_t place;
    (void)state;

    sample_open(&sample, "entry");
    PT_REQUIRE(sample.manifest.segment_count == 1);
    extent = &sample.manifest.segments[0].extent;
    place = place_of(&sample, VICTIM, extent->offset, extent->offset + extent->size);
    flip(&sample, place, 1);
    PT_REQUIRE_STATUS(check(sample.db, &told), PEAT_CORRUPT);
    flip(&sample, place, 1);
    PT_REQUIRE(told.count == 1);
    PT_REQUIRE(place >= told.offset && place < told.offset + PT_CHUNK_SIZE);
    PT_REQUIRE(told.bounded);
    low = pt_bytes(told.low, told.low_size);
    high = pt_bytes(told.high, told.high_size);
    PT_REQUIRE(pt_bytes_compare(low, key_of(text, VICTIM)) <= 0);
    PT_REQUIRE(pt_bytes_compare(key_of(text, VICTIM), high) < 0);
    PT_REQUIRE(pt_bytes_compare(key_of(text, VICTIM - FAR), low) < 0);
    PT_REQUIRE(pt_bytes_compare(high, key_of(text, VICTIM + FAR)) < 0);
    require_whole(sample.db);
    sample_close(&sample);
}

static void a_damaged_log_record_is_told(void **state)
{
    struct pt_file_info info;
    struct sample sample;
    struct told told;
    struct peat_db *reader;
    uint64_t place;
    (void)state;

    sample_open(&sample, "log");
    PT_REQUIRE_OK(pt_file_info(sample.file, &info));
    place = place_of(&sample, ENTRIES + 7, sample.manifest.log.region.offset, info.size);
    reader = store_open(pt_test_path("log"), PEAT_READ_ONLY);
    require_whole(reader);
    flip(&sample, place, 4);
    PT_REQUIRE_STATUS(check(sample.db, &told), PEAT_CORRUPT);
    PT_REQUIRE(told.count == 1 && !told.bounded);
    PT_REQUIRE_STATUS(check(reader, &told), PEAT_CORRUPT);
    PT_REQUIRE(told.count == 1 && !told.bounded);
    flip(&sample, place, 4);
    require_whole(sample.db);
    require_whole(reader);
    PT_REQUIRE_OK(peat_close(reader));
    sample_close(&sample);
}

static void damage_at_the_top_does_not_hide_damage_below(void **state)
{
    struct sample sample;
    struct told told;
    uint64_t place;
    (void)state;

    sample_open(&sample, "both");
    place = sample.manifest.segments[0].extent.offset + 100;
    flip(&sample, sample.superblock.manifest_offset + 50, 1);
    flip(&sample, place, 1);
    PT_REQUIRE_STATUS(check(sample.db, &told), PEAT_CORRUPT);
    PT_REQUIRE(told.count == 2);
    PT_REQUIRE(told.offset == sample.superblock.manifest_offset);
    flip(&sample, sample.superblock.manifest_offset + 50, 1);
    flip(&sample, 16, 1);
    flip(&sample, PT_SUPERBLOCK_SIZE + 16, 1);
    PT_REQUIRE_STATUS(check(sample.db, &told), PEAT_CORRUPT);
    PT_REQUIRE(told.count == 2);
    flip(&sample, 16, 1);
    flip(&sample, PT_SUPERBLOCK_SIZE + 16, 1);
    flip(&sample, place, 1);
    require_whole(sample.db);
    sample_close(&sample);
}

static void progress_can_stop_it(void **state)
{
    struct sample sample;
    struct told told;
    (void)state;

    sample_open(&sample, "stopped");
    memset(&told, 0, sizeof(told));
    told.stop_after = 1;
    PT_REQUIRE_STATUS(peat_check(sample.db, finding_take, progress_take, &told), PEAT_DONE);
    PT_REQUIRE(told.done < told.total);
    told = (struct told){.stop_after = PT_SUPERBLOCK_COUNT * PT_SUPERBLOCK_SIZE + 1};
    PT_REQUIRE_STATUS(peat_check(sample.db, finding_take, progress_take, &told), PEAT_DONE);
    sample_close(&sample);
}

static _Thread_local bool counts_allocations; /* the store's own threads have what they want */
static _Thread_local unsigned allocations_left;

static bool allow_some(size_t size)
{
    (void)size;
    return !counts_allocations || (allocations_left > 0 && allocations_left-- > 0);
}

/* A check that may allocate @p count times. */
static enum peat_status check_with(struct peat_db *db, unsigned count, struct told *told)
{
    enum peat_status status;

    allocations_left = count;
    counts_allocations = true;
    pt_alloc_set_hook(allow_some);
    status = check(db, told);
    pt_alloc_set_hook(NULL);
    counts_allocations = false;
    return status;
}

static void without_memory_it_says_so(void **state)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct sample sample;
    struct told told;
    struct peat_db *db;
    enum peat_status status = PEAT_NO_MEMORY;
    (void)state;

    sample_open(&sample, "memory");
    sample_close(&sample);
    PT_REQUIRE_OK(peat_open(pt_test_path("memory"), &options, &db)); /* no thread beside this one */
    for (unsigned i = 0; status == PEAT_NO_MEMORY; i++) {
        status = check_with(db, i, &told);
        PT_REQUIRE(i < 1000 && told.count == 0);
    }
    PT_REQUIRE_OK(status);
    PT_REQUIRE_OK(peat_close(db));
}

/* Check @p db with fewer allocations and then more, until it comes to @p expected with none refused. */
static void check_with_little_memory(struct peat_db *db, enum peat_status expected)
{
    bool refused = true;

    for (unsigned i = 0; refused; i++) {
        struct told told;
        enum peat_status status = check_with(db, i, &told);

        refused = allocations_left == 0;
        PT_REQUIRE(i < 3000 && (status == expected || (refused && status == PEAT_NO_MEMORY)));
        PT_REQUIRE(status != PEAT_CORRUPT || told.count > 0);
    }
}

static void without_memory_damage_is_told_or_that_memory_is_short(void **state)
{
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct sample sample;
    struct peat_db *db;
    (void)state;

    sample_open(&sample, "short");
    flip(&sample, sample.manifest.segments[0].extent.offset + 100, 1);
    PT_REQUIRE_OK(peat_open(pt_test_path("short"), &options, &db));
    check_with_little_memory(db, PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_close(db));
    sample_close(&sample);
}

static void many_kept_states_are_checked_and_it_can_stop_at_each(void **state)
{
    enum {
        STATES = 63
    }; /* with the manifest's own region as many as a list has room for at first */
    struct peat_db *db = store_open(NULL, 0);
    struct told told;
    uint64_t all;
    (void)state;

    for (unsigned i = 0; i < STATES; i++) {
        char name[TEXT_SIZE];

        (void)snprintf(name, sizeof(name), "state %u", i);
        entries_put(db, i, 1);
        PT_REQUIRE_OK(peat_snapshot_persist(db, name, NULL));
    }
    entries_put(db, STATES, 1);
    require_whole(db);
    PT_REQUIRE_OK(check(db, &told));
    all = told.done;
    for (uint64_t stop = 1; stop < all; stop = told.done + 1) {
        memset(&told, 0, sizeof(told));
        told.stop_after = stop;
        PT_REQUIRE_STATUS(peat_check(db, finding_take, progress_take, &told), PEAT_DONE);
        PT_REQUIRE(told.done >= stop && told.count == 0);
    }
    check_with_little_memory(db, PEAT_OK);
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- What nothing shows, and what is another's ---- */

static void damage_in_a_part_that_no_slice_shows_hits_no_key(void **state)
{
    enum { LOW = 2000, HIGH = 4000, VICTIM = 3000 };
    char texts[2][TEXT_SIZE];
    struct peat_range middle = {key_of(texts[0], LOW), key_of(texts[1], HIGH), 0};
    struct sample sample;
    struct told told;
    uint64_t place;
    (void)state;

    sample_open(&sample, "hidden");
    place = place_of(&sample, VICTIM, sample.manifest.segments[0].extent.offset,
                     sample.manifest.segments[0].extent.offset +
                         sample.manifest.segments[0].extent.size);
    entries_put(sample.db, LOW, HIGH - LOW);
    PT_REQUIRE_OK(peat_compact(sample.db, NULL, &middle, NULL, NULL));
    require_whole(sample.db);
    flip(&sample, place, 1);
    PT_REQUIRE_STATUS(check(sample.db, &told), PEAT_CORRUPT);
    flip(&sample, place, 1);
    PT_REQUIRE(told.count == 1 && told.bounded);
    PT_REQUIRE(told.low_size == told.high_size && memcmp(told.low, told.high, told.low_size) == 0);
    sample_close(&sample);
}

static void superblocks_of_another_store_are_told(void **state)
{
    struct pt_superblock_page right[PT_SUPERBLOCK_COUNT];
    struct sample sample;
    struct told told;
    (void)state;

    _Static_assert(sizeof(right) == PT_SUPERBLOCK_COUNT * PT_SUPERBLOCK_SIZE, "whole pages");
    sample_open(&sample, "another");
    PT_REQUIRE_OK(pt_file_read(sample.file, 0, right, sizeof(right)));
    for (unsigned i = 0; i < PT_SUPERBLOCK_COUNT; i++) {
        struct pt_superblock_page page = right[i];

        page.store_id.bytes[0] ^= 1;
        pt_forge_superblock(&page);
        PT_REQUIRE_OK(
            pt_file_write(sample.file, (uint64_t)i * PT_SUPERBLOCK_SIZE, &page, sizeof(page)));
    }
    PT_REQUIRE_STATUS(check(sample.db, &told), PEAT_CORRUPT);
    PT_REQUIRE(told.count == 1 && !told.bounded);
    assert_non_null(strstr(told.what, "another store"));
    PT_REQUIRE_OK(pt_file_write(sample.file, 0, right, sizeof(right)));
    require_whole(sample.db);
    sample_close(&sample);
}

/* ---- Beside writers ---- */

struct busy {
    struct peat_db *db;
    _Atomic bool stop;
};

static void *write_on(void *context)
{
    struct busy *busy = context;

    for (unsigned i = 0; !atomic_load(&busy->stop); i++) {
        entries_put(busy->db, i * 37 % ENTRIES, 50);
        if (i % 64 == 63)
            PT_REQUIRE_OK(peat_flush(busy->db));
        if (i % 16 == 15)
            PT_REQUIRE_OK(peat_sync(busy->db));
    }
    return NULL;
}

static void a_busy_store_has_no_findings(void **state)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    unsigned rounds = (unsigned)pt_test_number("PEAT_ROUNDS", 40);
    struct busy busy = {.stop = false};
    struct peat_db *reader;
    pthread_t writer;
    (void)state;

    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(pt_test_path("busy"), &options, &busy.db));
    entries_put(busy.db, 0, 10);
    PT_REQUIRE(pthread_create(&writer, NULL, write_on, &busy) == 0);
    reader = store_open(pt_test_path("busy"), PEAT_READ_ONLY);
    for (unsigned i = 0; i < rounds; i++) {
        require_whole(busy.db);
        require_whole(reader);
        if (i % 4 == 3)
            PT_REQUIRE_OK(peat_refresh(reader));
    }
    atomic_store(&busy.stop, true);
    PT_REQUIRE(pthread_join(writer, NULL) == 0);
    require_whole(busy.db);
    require_whole(reader);
    PT_REQUIRE_OK(peat_close(reader));
    PT_REQUIRE_OK(peat_close(busy.db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_store_has_no_findings),
        cmocka_unit_test(every_byte_in_use_is_looked_at),
        cmocka_unit_test(a_damaged_entry_is_told_with_its_place_and_keys),
        cmocka_unit_test(a_damaged_log_record_is_told),
        cmocka_unit_test(damage_at_the_top_does_not_hide_damage_below),
        cmocka_unit_test(progress_can_stop_it),
        cmocka_unit_test(without_memory_it_says_so),
        cmocka_unit_test(without_memory_damage_is_told_or_that_memory_is_short),
        cmocka_unit_test(many_kept_states_are_checked_and_it_can_stop_at_each),
        cmocka_unit_test(damage_in_a_part_that_no_slice_shows_hits_no_key),
        cmocka_unit_test(superblocks_of_another_store_are_told),
        cmocka_unit_test(a_busy_store_has_no_findings),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests_name("check", tests, NULL, NULL);
    pt_test_end();
    return failed;
}

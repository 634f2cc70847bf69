#include "tests/fuzz_store.h"

#include "tests/disk.h"
#include "tests/forge.h"
#include "tests/thin_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "format-1.2" /* the folder of tests/data that forge.c knows the blocks of */

enum {
    ENTRIES_MAX = 20000, /* in a scan: forged segments may hold the same entries again and again */
    DEPTH_MAX = 4,       /* of collections: forged ones may contain themselves */
    STATES_MAX = 16,
    IDLE_MS = 60000,
    NAMES_MAX = 8
};

static struct pt_fuzz_base bases[PT_FUZZ_BASES] = {
    {.name = "log"},
    {.name = "history"},
    {.name = "runs"},
    {.name = "collections"},
    {.name = "full"},
    {.name = "feeds", .folder = "format-1.3"},
    {.name = "epochs", .folder = "format-1.4"},
};

/* ---- Bases ---- */

static uint8_t *data_read(const char *folder, const char *name, uint64_t *size_out)
{
    const char *root = getenv("top_srcdir");
    char path[4096];

    (void)snprintf(path, sizeof(path), "%s/tests/data/%s/%s.thin", root == NULL ? "." : root,
                   folder == NULL ? FORMAT : folder, name);
    return pt_thin_read(path, size_out);
}

uint8_t *pt_fuzz_data(const char *name, uint64_t *size_out)
{
    return data_read(NULL, name, size_out);
}

const struct pt_fuzz_base *pt_fuzz_base(unsigned number)
{
    struct pt_fuzz_base *base = &bases[number % PT_FUZZ_BASES];

    if (base->bytes != NULL)
        return base;
    base->bytes = data_read(base->folder, base->name, &base->size);
    base->page = *pt_forge_newest(base->bytes);
    base->manifest_offset = pt_le64_value(base->page.manifest_offset);
    base->manifest_size = pt_le64_value(base->page.manifest_size);
    return base;
}

const struct pt_fuzz_base *pt_fuzz_base_named(const char *name)
{
    unsigned number = 0;

    while (strcmp(bases[number].name, name) != 0)
        PT_REQUIRE(++number < PT_FUZZ_BASES);
    return pt_fuzz_base(number);
}

uint8_t *pt_fuzz_copy(const struct pt_fuzz_base *base)
{
    static uint8_t *copy;
    static uint64_t size;

    if (base->size > size) {
        copy = realloc(copy, base->size);
        PT_REQUIRE(copy != NULL);
        size = base->size;
    }
    memcpy(copy, base->bytes, base->size);
    return copy;
}

/* ---- Reading ---- */

static uint64_t sum; /* of all bytes that were handed out, so that they are read */

static void touch(struct peat_bytes bytes)
{
    const uint8_t *data = bytes.data;

    for (size_t i = 0; i < bytes.size; i++)
        sum += data[i];
}

/* Whether the call gave something. Forged bytes are no reason for any other failure. */
static bool came_through(enum peat_status status)
{
    if (status < 0 && status != PEAT_CORRUPT && status != PEAT_VERSION && status != PEAT_INVALID &&
        status != PEAT_NO_SPACE && status != PEAT_NO_MEMORY)
        PT_REQUIRE_STATUS(status, PEAT_CORRUPT);
    return status == PEAT_OK;
}

static void scan(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                 bool forward)
{
    struct peat_iterator *iterator;
    struct peat_bytes value;
    size_t count = 0;
    enum peat_status status;

    if (!came_through(peat_iterator_open(snapshot, collection, NULL, &iterator)))
        return;
    status = forward ? peat_iterator_first(iterator) : peat_iterator_last(iterator);
    while (came_through(status) && count++ < ENTRIES_MAX) {
        touch(peat_iterator_key(iterator));
        touch(peat_iterator_value(iterator));
        if (forward && count < 100 &&
            came_through(peat_get(snapshot, collection, peat_iterator_key(iterator), &value)))
            touch(value);
        status = forward ? peat_iterator_next(iterator) : peat_iterator_previous(iterator);
    }
    peat_iterator_close(iterator);
}

struct names {
    size_t count;
    char names[NAMES_MAX][PEAT_NAME_SIZE_MAX + 1];
};

static bool name_note(void *context, const char *name)
{
    struct names *names = context;

    (void)snprintf(names->names[names->count++], PEAT_NAME_SIZE_MAX + 1, "%s", name);
    return names->count < NAMES_MAX;
}

static void read_collection(const struct peat_snapshot *snapshot,
                            struct peat_collection *collection, unsigned depth)
{
    struct names *names = calloc(1, sizeof(*names));

    PT_REQUIRE(names != NULL);
    scan(snapshot, collection, true);
    scan(snapshot, collection, false);
    if (depth < DEPTH_MAX)
        (void)came_through(peat_collection_list(snapshot, collection, name_note, names));
    for (size_t i = 0; i < names->count; i++) {
        struct peat_collection *child;

        if (!came_through(peat_collection_open_at(snapshot, collection, names->names[i], &child)))
            continue;
        read_collection(snapshot, child, depth + 1);
        peat_collection_close(child);
    }
    free(names);
}

static void read_snapshot(const struct peat_snapshot *snapshot)
{
    struct peat_bytes keys[] = {{"", 0}, {"key-0005", 8}, {"after", 5}, {"zzz", 3}};
    struct peat_bytes values[4];

    if (came_through(peat_get_many(snapshot, NULL, keys, 4, values)))
        for (size_t i = 0; i < 4; i++)
            touch(values[i]);
    read_collection(snapshot, NULL, 0);
}

struct states {
    size_t count;
    uint64_t generations[STATES_MAX];
};

static bool state_note(void *context, const struct peat_history_entry *entry)
{
    struct states *states = context;

    touch(pt_text(entry->name));
    PT_REQUIRE(entry->own_size <= entry->size);
    states->generations[states->count++] = entry->generation;
    return states->count < STATES_MAX;
}

static void read_store(struct peat_db *db)
{
    struct states states = {0};
    struct peat_snapshot *snapshot;
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    if (came_through(peat_snapshot_open(db, &snapshot))) {
        uint8_t digest[32];

        read_snapshot(snapshot);
        (void)came_through(peat_digest(snapshot, NULL, NULL, digest, NULL));
        peat_snapshot_close(snapshot);
    }
    (void)came_through(peat_history_list(db, state_note, &states));
    for (size_t i = 0; i < states.count; i++) {
        if (!came_through(peat_history_open(db, NULL, states.generations[i], &snapshot)))
            continue;
        read_snapshot(snapshot);
        peat_snapshot_close(snapshot);
    }
    (void)came_through(peat_check(db, NULL, NULL, NULL));
}

/* ---- Doing everything ---- */

static struct peat_db *store_open(unsigned flags)
{
    struct peat_options options = pt_test_options(flags);
    struct peat_db *db = NULL;
    enum peat_status status;

    pt_test_options_tiny(&options);
    options.memory_size_max = (size_t)8 << 20;
    options.write_buffer_size = (size_t)64 << 10;
    options.address_space_size = (size_t)64 << 20;
    options.sync_interval_ms = 3600000;
    options.history_count = 0;
    status = peat_open("disk", &options, &db);
    PT_REQUIRE((status == PEAT_OK) == (db != NULL));
    (void)came_through(status);
    return db;
}

static void require_untouched(const uint8_t *bytes, uint64_t size)
{
    static uint8_t *found;
    static uint64_t room;

    PT_REQUIRE(pt_disk_size() == size);
    if (size > room) {
        found = realloc(found, size);
        PT_REQUIRE(found != NULL);
        room = size;
    }
    pt_disk_save(found, size);
    PT_REQUIRE(size == 0 || memcmp(found, bytes, size) == 0);
}

/* Whether a feed may fail so: forged bytes may leave gaps. */
static bool feed_came_through(enum peat_status status)
{
    return status == PEAT_GAP || status == PEAT_NOT_FOUND || status == PEAT_TIMEOUT ||
           came_through(status);
}

/* Read on in a feed as far as it goes. */
static void feed_read(struct peat_db *db, uint64_t from, const char *name)
{
    struct peat_feed *feed;
    struct peat_record record;
    enum peat_status status = peat_feed_open(db, from, name, 0, &feed);

    (void)feed_came_through(status);
    if (status != PEAT_OK)
        return;
    for (unsigned i = 0; i < ENTRIES_MAX && status == PEAT_OK; i++) {
        struct peat_operation operation;
        size_t place = 0;

        status = peat_feed_next(feed, 0, &record);
        (void)feed_came_through(status);
        while (status == PEAT_OK &&
               came_through(peat_record_operation(&record, &place, &operation))) {
            touch(operation.key);
            touch(operation.value);
        }
    }
    peat_feed_close(feed);
}

static bool note_name(void *context, const struct peat_feed_info *info)
{
    (void)snprintf(context, PEAT_NAME_SIZE_MAX + 1, "%s", info->name);
    return false;
}

/* What is kept of the log, and the first of the names, which only a writer can open. */
static void feeds_read(struct peat_db *db, bool writes)
{
    char name[PEAT_NAME_SIZE_MAX + 1] = "";

    feed_read(db, PEAT_FEED_OLDEST, NULL);
    (void)came_through(peat_feed_list(db, note_name, name));
    if (name[0] == '\0' || !writes)
        return;
    feed_read(db, PEAT_FEED_ACKNOWLEDGED, name);
    (void)came_through(peat_feed_drop(db, name));
}

/* Commits, and what makes them durable; whether all of it was done. */
static bool write_on(struct peat_db *db)
{
    struct peat_batch *batch = peat_batch_new(0);
    bool done;

    PT_REQUIRE(batch != NULL);
    PT_REQUIRE_OK(peat_batch_delete_range(batch, NULL, pt_text("key-0002"), pt_text("key-0030")));
    PT_REQUIRE_OK(peat_batch_put(batch, NULL, pt_text("fuzzed"), pt_text("value")));
    done = came_through(peat_write(db, batch, PEAT_DISK, NULL));
    peat_batch_free(batch);
    done = came_through(peat_flush(db)) && done;
    (void)came_through(peat_snapshot_persist(db, "fuzzed", NULL));
    (void)came_through(peat_wait_idle(db, IDLE_MS));
    feeds_read(db, true);
    read_store(db);
    return done;
}

static void require_written(struct peat_db *db)
{
    char value[8];
    size_t size = 0;
    enum peat_status status =
        peat_get_copy(db, NULL, pt_text("fuzzed"), value, sizeof(value), &size);

    PT_REQUIRE(status == PEAT_CORRUPT ||
               (status == PEAT_OK && size == 5 && memcmp(value, "value", 5) == 0));
}

void pt_fuzz_store_try(const uint8_t *bytes, uint64_t size)
{
    struct peat_db *db;
    bool written;

    pt_disk_start();
    pt_disk_load(bytes, size);
    db = store_open(PEAT_READ_ONLY);
    if (db != NULL) {
        feeds_read(db, false);
        read_store(db);
        PT_REQUIRE_OK(peat_close(db));
    }
    require_untouched(bytes, size);
    db = store_open(0);
    if (db != NULL) {
        written = write_on(db);
        written = came_through(peat_close(db)) && written;
        db = store_open(PEAT_READ_ONLY);
        if (written)
            PT_REQUIRE(db != NULL);
        if (db != NULL && written)
            require_written(db);
        PT_REQUIRE_OK(peat_close(db));
    }
    pt_disk_stop();
}

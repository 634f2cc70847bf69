/*
 * The property: collections and their names stay what they are, however many there are; and a catalogue that
 * contradicts itself behind right checksums is damage, which is told, and changes nothing.
 */
#include "core/db/db.h"

#include "core/base/alloc.h"
#include "tests/forge.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { CHILDREN = 40, NAME_SIZE = 200 /* more than a key in place has room for */ };

/* ---- Helpers ---- */

static struct peat_db *store_open(const char *path)
{
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(path, &options, &db));
    return db;
}

static struct peat_collection *make(struct peat_db *db, struct peat_collection *parent,
                                    const char *name)
{
    struct peat_collection *collection;

    PT_REQUIRE_OK(peat_collection_open(db, parent, name, PEAT_CREATE, &collection));
    return collection;
}

/* "n" over and over, then @p number. */
static const char *name_of(char name[NAME_SIZE + 1], unsigned number)
{
    memset(name, 'n', NAME_SIZE);
    (void)snprintf(name + NAME_SIZE - 8, 9, "%08u", number);
    return name;
}

/* An entry of the catalogue: the child @p name of @p parent has the id @p value. */
static void entry_put(struct peat_db *db, uint64_t parent, struct peat_bytes name,
                      struct peat_bytes value)
{
    struct pt_id_prefix prefix = pt_id_prefix(parent);
    uint8_t key[PT_ID_PREFIX_MAX + 2 * PEAT_NAME_SIZE_MAX];

    PT_REQUIRE(prefix.size + name.size <= sizeof(key));
    memcpy(key, prefix.bytes, prefix.size);
    memcpy(key + prefix.size, name.data, name.size);
    pt_forge_put(db, pt_id_prefix(PT_CATALOGUE_ID), pt_bytes(key, prefix.size + name.size), value);
}

static bool name_count(void *context, const char *name)
{
    PT_REQUIRE(name[0] != '\0');
    ++*(unsigned *)context;
    return true;
}

static enum peat_status list(struct peat_db *db, struct peat_collection *parent, unsigned *count)
{
    struct peat_snapshot *snapshot;
    enum peat_status status;

    *count = 0;
    status = peat_snapshot_open(db, &snapshot);
    if (status < 0)
        return status;
    status = peat_collection_list(snapshot, parent, name_count, count);
    peat_snapshot_close(snapshot);
    return status;
}

static void require_value(struct peat_db *db, struct peat_collection *collection, const char *value)
{
    char room[16];
    size_t size;

    PT_REQUIRE_OK(peat_get_copy(db, collection, pt_text("key"), room, sizeof(room), &size));
    PT_REQUIRE(pt_same(pt_bytes(room, size), pt_text(value)));
}

/* ---- Many ---- */

static void children_make(struct peat_db *db, struct peat_collection *parent)
{
    for (unsigned i = 0; i < CHILDREN; i++) {
        char name[NAME_SIZE + 1];
        struct peat_collection *child = make(db, parent, name_of(name, i));

        PT_REQUIRE_OK(peat_put(db, child, pt_text("key"), pt_text(name + NAME_SIZE - 8)));
        peat_collection_close(child);
    }
}

static void a_drop_takes_all_below_along_and_a_revert_brings_all_back(void **state)
{
    struct peat_db *db = store_open(NULL);
    struct peat_collection *parent = make(db, NULL, "parent");
    struct peat_collection *child;
    char name[NAME_SIZE + 1];
    unsigned count;
    (void)state;

    children_make(db, parent);
    PT_REQUIRE_OK(peat_snapshot_persist(db, "kept", NULL));
    PT_REQUIRE_OK(peat_collection_open(db, parent, name_of(name, 7), 0, &child));
    PT_REQUIRE_OK(peat_collection_drop(db, parent)); /* most children are open nowhere */
    PT_REQUIRE_STATUS(peat_put(db, child, pt_text("key"), pt_text("value")), PEAT_NOT_FOUND);
    PT_REQUIRE_OK(list(db, NULL, &count));
    PT_REQUIRE(count == 0);
    PT_REQUIRE_OK(peat_revert(db, "kept", 0, NULL));
    PT_REQUIRE_OK(list(db, parent, &count));
    PT_REQUIRE(count == CHILDREN);
    require_value(db, child, name_of(name, 7) + NAME_SIZE - 8);
    PT_REQUIRE_OK(peat_put(db, child, pt_text("key"), pt_text("value")));
    peat_collection_close(child);
    peat_collection_close(parent);
    PT_REQUIRE_OK(peat_close(db));
}

/* Of the most bytes, and the last of them such that the next id's prefix differs in two. */
static void a_collection_with_a_very_large_id_is_like_any_other(void **state)
{
    const uint64_t large = (UINT64_C(1) << 62) + 0xfe;
    struct pt_le64 id = pt_le64(large);
    struct peat_db *db = store_open(pt_test_path("large"));
    struct peat_collection *first;
    struct peat_collection *second;
    unsigned count;
    (void)state;

    entry_put(db, PT_ROOT_ID, pt_text("forged"), pt_bytes(&id, sizeof(id)));
    PT_REQUIRE_OK(peat_abort(db));
    db = store_open(pt_test_path("large")); /* ids go on behind those that are in the log */
    first = make(db, NULL, "first");
    second = make(db, NULL, "second");
    PT_REQUIRE(first->id == large + 1 && second->id == large + 2);
    peat_collection_close(make(db, first, "child"));
    PT_REQUIRE_OK(peat_put(db, first, pt_text("key"), pt_text("one")));
    PT_REQUIRE_OK(peat_put(db, second, pt_text("key"), pt_text("two")));
    require_value(db, first, "one");
    PT_REQUIRE_OK(list(db, first, &count));
    PT_REQUIRE(count == 1);
    PT_REQUIRE_OK(peat_collection_drop(db, first));
    require_value(db, second, "two");
    peat_collection_close(first);
    peat_collection_close(second);
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Memory ---- */

static _Thread_local bool counts_allocations; /* the store's own threads have what they want */
static _Thread_local unsigned allocations_left;

static bool allow_some(size_t size)
{
    (void)size;
    return !counts_allocations || (allocations_left > 0 && allocations_left-- > 0);
}

static enum peat_status make_look_and_drop(struct peat_db *db)
{
    struct peat_collection *collection = NULL;
    struct peat_snapshot *snapshot = NULL;
    char name[NAME_SIZE + 1];
    unsigned count;
    enum peat_status status =
        peat_collection_open(db, NULL, name_of(name, 1), PEAT_CREATE, &collection);

    peat_collection_close(collection);
    collection = NULL;
    if (status == PEAT_OK)
        status = list(db, NULL, &count);
    if (status == PEAT_OK)
        status = peat_snapshot_open(db, &snapshot);
    if (status == PEAT_OK)
        status = peat_collection_open_at(snapshot, NULL, name_of(name, 1), &collection);
    peat_snapshot_close(snapshot);
    peat_collection_close(collection);
    collection = NULL;
    if (status == PEAT_OK)
        status = peat_collection_open(db, NULL, "parent", 0, &collection);
    if (status == PEAT_OK)
        status = peat_collection_drop(db, collection);
    peat_collection_close(collection);
    return status;
}

static void without_memory_nothing_is_dropped(void **state)
{
    struct peat_db *db = store_open(NULL);
    struct peat_collection *parent = make(db, NULL, "parent");
    enum peat_status status = PEAT_NO_MEMORY;
    unsigned count;
    (void)state;

    children_make(db, parent);
    peat_collection_close(parent);
    pt_alloc_set_hook(allow_some);
    for (unsigned i = 0; status == PEAT_NO_MEMORY; i++) {
        allocations_left = i;
        counts_allocations = true;
        status = make_look_and_drop(db);
        counts_allocations = false;
        PT_REQUIRE(i < 1000 && (status == PEAT_OK || status == PEAT_NO_MEMORY));
        if (status == PEAT_OK)
            break;
        parent = make(db, NULL, "parent");
        PT_REQUIRE_OK(list(db, parent, &count));
        PT_REQUIRE(count == CHILDREN);
        peat_collection_close(parent);
    }
    pt_alloc_set_hook(NULL);
    PT_REQUIRE_OK(list(db, NULL, &count));
    PT_REQUIRE(count == 1);
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Contradictions ---- */

static void an_id_of_another_size_is_damage(void **state)
{
    struct peat_db *db = store_open(pt_test_path("size"));
    struct peat_collection *collection;
    struct peat_snapshot *snapshot;
    (void)state;

    entry_put(db, PT_ROOT_ID, pt_text("bad"), pt_text("four"));
    PT_REQUIRE_STATUS(peat_collection_open(db, NULL, "bad", PEAT_CREATE, &collection),
                      PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_STATUS(peat_collection_open_at(snapshot, NULL, "bad", &collection), PEAT_CORRUPT);
    peat_snapshot_close(snapshot);
    peat_collection_close(make(db, NULL, "good"));
    PT_REQUIRE_OK(peat_abort(db));
    db = store_open(pt_test_path("size")); /* the log is replayed */
    PT_REQUIRE_STATUS(peat_collection_open(db, NULL, "bad", 0, &collection), PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_collection_open(db, NULL, "good", 0, &collection));
    peat_collection_close(collection);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_collection_with_such_a_child_is_not_dropped(void **state)
{
    struct peat_db *db = store_open(NULL);
    struct peat_collection *parent = make(db, NULL, "parent");
    (void)state;

    PT_REQUIRE_OK(peat_put(db, parent, pt_text("key"), pt_text("value")));
    entry_put(db, parent->id, pt_text("bad"), pt_text("nine byte"));
    PT_REQUIRE_STATUS(peat_collection_drop(db, parent), PEAT_CORRUPT);
    require_value(db, parent, "value");
    peat_collection_close(parent);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_state_with_such_an_id_is_not_reverted_to(void **state)
{
    struct peat_db *db = store_open(NULL);
    (void)state;

    entry_put(db, PT_ROOT_ID, pt_text("bad"), pt_bytes(NULL, 0));
    PT_REQUIRE_OK(peat_snapshot_persist(db, "kept", NULL));
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
    PT_REQUIRE_STATUS(peat_revert(db, "kept", 0, NULL), PEAT_CORRUPT);
    require_value(db, NULL, "value");
    PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("next")));
    require_value(db, NULL, "next");
    PT_REQUIRE_OK(peat_close(db));
}

static void a_name_longer_than_names_can_be_is_damage(void **state)
{
    char name[PEAT_NAME_SIZE_MAX + 1];
    struct pt_le64 id = pt_le64(9);
    struct peat_db *db = store_open(NULL);
    unsigned count;
    (void)state;

    peat_collection_close(make(db, NULL, "a"));
    memset(name, 'b', sizeof(name));
    entry_put(db, PT_ROOT_ID, pt_bytes(name, sizeof(name)), pt_bytes(&id, sizeof(id)));
    PT_REQUIRE_STATUS(list(db, NULL, &count), PEAT_CORRUPT);
    PT_REQUIRE(count == 1);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drop_takes_all_below_along_and_a_revert_brings_all_back),
        cmocka_unit_test(a_collection_with_a_very_large_id_is_like_any_other),
        cmocka_unit_test(without_memory_nothing_is_dropped),
        cmocka_unit_test(an_id_of_another_size_is_damage),
        cmocka_unit_test(a_collection_with_such_a_child_is_not_dropped),
        cmocka_unit_test(a_state_with_such_an_id_is_not_reverted_to),
        cmocka_unit_test(a_name_longer_than_names_can_be_is_damage),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

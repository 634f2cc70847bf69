/*
 * The property: whatever the catalogue says, each stretch of lost keys is told by the collections whose keys lie
 * in it: by their names as far as those are known, else by their ids.
 */
#include "core/db/places.h"

#include "core/base/alloc.h"
#include "tests/forge.h"
#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TOLD_MAX = 8, TEXT_SIZE = 64, UNKNOWN_ID = 777 };

/* What was told. */
struct told {
    unsigned count;
    struct {
        uint64_t collection;
        bool is_named;
        char path[TEXT_SIZE]; /* the names, with slashes between */
        char keys[TEXT_SIZE]; /* "low..high" */
    } of[TOLD_MAX];
};

/* ---- Helpers ---- */

static struct peat_db *store_new(void)
{
    struct peat_options options = pt_test_options(0);
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(NULL, &options, &db));
    return db;
}

static void told_take(void *context, const struct peat_lost *lost)
{
    struct told *told = context;
    unsigned i = told->count++;

    PT_REQUIRE(i < TOLD_MAX);
    told->of[i].collection = lost->collection;
    told->of[i].is_named = lost->is_named;
    for (size_t k = 0; k < lost->name_count; k++) {
        size_t used = strlen(told->of[i].path);

        (void)snprintf(told->of[i].path + used, TEXT_SIZE - used, "/%s", lost->names[k]);
    }
    (void)snprintf(told->of[i].keys, TEXT_SIZE, "%.*s..%.*s", (int)lost->keys.low.size,
                   lost->keys.low.size > 0 ? (const char *)lost->keys.low.data : "",
                   (int)lost->keys.high.size,
                   lost->keys.high.size > 0 ? (const char *)lost->keys.high.data : "");
}

/* A stored key: an id's prefix, then @p text. */
static struct peat_bytes stored(uint8_t room[TEXT_SIZE], uint64_t id, const char *text)
{
    struct pt_id_prefix prefix = pt_id_prefix(id);

    memcpy(room, prefix.bytes, prefix.size);
    memcpy(room + prefix.size, text, strlen(text));
    return pt_bytes(room, prefix.size + strlen(text));
}

/* An entry of the catalogue: @p id is called @p name in @p parent. */
static void name_put(struct peat_db *db, uint64_t parent, const char *name, uint64_t id)
{
    struct pt_le64 value = pt_le64(id);
    uint8_t room[TEXT_SIZE];

    pt_forge_put(db, pt_id_prefix(PT_CATALOGUE_ID), stored(room, parent, name),
                 pt_bytes(&value, sizeof(value)));
}

/* All places of @p db, those without a name too. */
static enum peat_status load(struct peat_db *db, struct pt_places *places)
{
    struct peat_snapshot *snapshot;
    enum peat_status status;

    memset(places, 0, sizeof(*places));
    status = peat_snapshot_open(db, &snapshot);
    if (status < 0)
        return status;
    status = pt_places_load(places, snapshot);
    if (status == PEAT_OK)
        status = pt_places_add_nameless(places, snapshot);
    peat_snapshot_close(snapshot);
    return status;
}

static enum peat_status split(const struct pt_places *places, struct peat_bytes low,
                              struct peat_bytes high, struct told *told)
{
    struct peat_range range = {low, high, 0};

    memset(told, 0, sizeof(*told));
    return pt_places_split(places, &range, told_take, told);
}

static void require_told(const struct told *told, unsigned i, uint64_t collection, bool is_named,
                         const char *path, const char *keys)
{
    PT_REQUIRE(i < told->count && told->of[i].collection == collection);
    PT_REQUIRE(told->of[i].is_named == is_named);
    assert_string_equal(told->of[i].path, path);
    assert_string_equal(told->of[i].keys, keys);
}

/* ---- Tests ---- */

static void lost_keys_are_told_by_the_names_of_their_collections(void **state)
{
    static const struct peat_bytes unbounded = {NULL, 0};
    struct peat_db *db = store_new();
    struct peat_collection *a;
    struct peat_collection *b;
    struct pt_places places;
    uint8_t low[TEXT_SIZE];
    uint8_t high[TEXT_SIZE];
    struct told told;
    (void)state;

    PT_REQUIRE_OK(peat_collection_open(db, NULL, "a", PEAT_CREATE, &a));
    PT_REQUIRE_OK(peat_collection_open(db, a, "b", PEAT_CREATE, &b));
    PT_REQUIRE_OK(load(db, &places));
    PT_REQUIRE(places.count == 2);
    PT_REQUIRE_OK(split(&places, unbounded, unbounded, &told));
    PT_REQUIRE(told.count == 4); /* the catalogue and the root, too */
    require_told(&told, 1, PT_ROOT_ID, true, "", "..");
    require_told(&told, 2, a->id, true, "/a", "..");
    require_told(&told, 3, b->id, true, "/a/b", "..");
    PT_REQUIRE_OK(
        split(&places, stored(low, PT_ROOT_ID, "from"), stored(high, a->id, "to"), &told));
    PT_REQUIRE(told.count == 2);
    require_told(&told, 0, PT_ROOT_ID, true, "", "from..");
    require_told(&told, 1, a->id, true, "/a", "..to");
    pt_places_fini(&places);
    peat_collection_close(b);
    peat_collection_close(a);
    PT_REQUIRE_OK(peat_close(db));
}

static void entries_of_the_catalogue_that_cannot_be_are_passed_over(void **state)
{
    static const uint8_t too_long[] = {0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const uint8_t cut[] = {0xf3, 1};
    struct pt_id_prefix catalogue = pt_id_prefix(PT_CATALOGUE_ID);
    struct pt_le64 id = pt_le64(5);
    struct peat_bytes value = pt_bytes(&id, sizeof(id));
    struct peat_db *db = store_new();
    struct pt_places places;
    (void)state;

    name_put(db, PT_ROOT_ID, "good", 6);
    name_put(db, PT_ROOT_ID, "beyond all ids", PT_COLLECTION_ID_MAX);
    pt_forge_put(db, catalogue, pt_text("\001short"), pt_text("four"));
    pt_forge_put(db, catalogue, pt_bytes(NULL, 0), value); /* of no parent */
    pt_forge_put(db, catalogue, pt_bytes(too_long, sizeof(too_long)), value);
    pt_forge_put(db, catalogue, pt_bytes(cut, sizeof(cut)), value);
    PT_REQUIRE_OK(load(db, &places));
    PT_REQUIRE(places.count == 1 && places.places[0].id == 6);
    pt_places_fini(&places);
    PT_REQUIRE_OK(peat_close(db));
}

static void an_empty_stored_key_is_no_collections(void **state)
{
    struct pt_id_prefix none = {.size = 0};
    struct peat_db *db = store_new();
    struct pt_places places;
    (void)state;

    pt_forge_put(db, none, pt_bytes(NULL, 0), pt_text("of nobody"));
    name_put(db, PT_ROOT_ID, "behind it", 6);
    PT_REQUIRE_OK(load(db, &places));
    PT_REQUIRE(places.count == 0);
    pt_places_fini(&places);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_name_in_a_circle_of_parents_is_not_known(void **state)
{
    struct peat_db *db = store_new();
    struct pt_places places;
    uint8_t low[TEXT_SIZE];
    uint8_t high[TEXT_SIZE];
    struct told told;
    (void)state;

    name_put(db, 5, "upper", 6);
    name_put(db, 6, "lower", 5);
    PT_REQUIRE_OK(load(db, &places));
    PT_REQUIRE_OK(split(&places, stored(low, 5, "a"), stored(high, 6, ""), &told));
    PT_REQUIRE(told.count == 1);
    require_told(&told, 0, 5, false, "", "a..");
    pt_places_fini(&places);
    PT_REQUIRE_OK(peat_close(db));
}

static void keys_below_no_name_are_told_by_their_id(void **state)
{
    struct peat_db *db = store_new();
    struct pt_places places;
    uint8_t low[TEXT_SIZE];
    uint8_t high[TEXT_SIZE];
    struct told told;
    (void)state;

    name_put(db, 300, "child", 400); /* nothing names its parent */
    pt_forge_put(db, pt_id_prefix(UNKNOWN_ID), pt_text("key"), pt_text("value"));
    pt_forge_put(db, pt_id_prefix(UNKNOWN_ID - 1), pt_bytes(NULL, 0), pt_text("value"));
    pt_forge_put(db, pt_id_prefix(PT_COLLECTION_ID_MAX), pt_text("key"), pt_text("of nobody"));
    PT_REQUIRE_OK(load(db, &places));
    PT_REQUIRE(places.count == 4);
    PT_REQUIRE_OK(split(&places, stored(low, 300, "a"), stored(high, 400, "b"), &told));
    PT_REQUIRE(told.count == 2);
    require_told(&told, 0, 300, false, "", "a..");
    require_told(&told, 1, 400, false, "", "..b");
    PT_REQUIRE_OK(
        split(&places, stored(low, UNKNOWN_ID, "x"), stored(high, UNKNOWN_ID, "y"), &told));
    PT_REQUIRE(told.count == 1);
    require_told(&told, 0, UNKNOWN_ID, false, "", "x..y");
    PT_REQUIRE_OK(split(&places, stored(low, 9999, "x"), stored(high, 9999, "y"), &told));
    PT_REQUIRE(told.count == 1); /* of which nothing else tells */
    require_told(&told, 0, 9999, false, "", "x..y");
    PT_REQUIRE_OK(split(&places, pt_text("\377a"), pt_text("\377b"), &told));
    PT_REQUIRE(told.count == 0); /* no collection's */
    PT_REQUIRE_OK(split(&places, pt_bytes(NULL, 0), pt_text(""), &told));
    PT_REQUIRE(told.count == 0); /* before all keys */
    pt_places_fini(&places);
    PT_REQUIRE_OK(peat_close(db));
}

static unsigned allocations_left;

static bool allow_some(size_t size)
{
    (void)size;
    return allocations_left > 0 && allocations_left-- > 0;
}

static void without_memory_it_says_so(void **state)
{
    static const struct peat_bytes unbounded = {NULL, 0};
    struct peat_db *db = store_new();
    enum peat_status status = PEAT_NO_MEMORY;
    struct told told;
    (void)state;

    for (uint64_t id = 10; id < 40; id++) { /* more than a list has room for at first */
        name_put(db, id % 4 == 0 ? PT_ROOT_ID : id * 1000, "name", id);
        pt_forge_put(db, pt_id_prefix(id * 100), pt_text("key"), pt_text("value"));
    }
    for (unsigned i = 0; status == PEAT_NO_MEMORY; i++) {
        struct pt_places places;
        uint8_t room[2][TEXT_SIZE];

        allocations_left = i;
        pt_alloc_set_hook(allow_some);
        status = load(db, &places);
        if (status == PEAT_OK)
            status = split(&places, stored(room[0], 11, ""), stored(room[1], 12, "z"), &told);
        if (status == PEAT_OK)
            status = split(&places, unbounded, stored(room[0], PT_ROOT_ID, "z"), &told);
        pt_alloc_set_hook(NULL);
        pt_places_fini(&places);
        PT_REQUIRE(i < 1000 && (status == PEAT_OK || status == PEAT_NO_MEMORY));
    }
    PT_REQUIRE_OK(status);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_keys_are_told_by_the_names_of_their_collections),
        cmocka_unit_test(entries_of_the_catalogue_that_cannot_be_are_passed_over),
        cmocka_unit_test(an_empty_stored_key_is_no_collections),
        cmocka_unit_test(a_name_in_a_circle_of_parents_is_not_known),
        cmocka_unit_test(keys_below_no_name_are_told_by_their_id),
        cmocka_unit_test(without_memory_it_says_so),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

/*
 * The property: a state that takes the place of what a store shows does so with all its collections, or not at all:
 * where its catalogue is wrong, or there is no memory to hold it, the store shows what it showed, and can be
 * reverted after that.
 */
#include "tests/failing_calls.h"
#include "tests/forge.h"
#include "tests/pair.h"

#include "core/db/db.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COLLECTIONS = 40, NAME_SIZE = 16, POSITIONS_MAX = 2000, DIGEST_SIZE = 32 };

static void collection_put(struct peat_db *db, unsigned number, const char *value)
{
    struct peat_collection *collection;
    char name[NAME_SIZE];

    (void)snprintf(name, sizeof(name), "c%u", number);
    PT_REQUIRE_OK(peat_collection_open(db, NULL, name, PEAT_CREATE, &collection));
    PT_REQUIRE_OK(peat_put(db, collection, pt_text("key"), pt_text(value)));
    peat_collection_close(collection);
}

static bool has_collection(struct peat_db *db, unsigned number)
{
    struct peat_collection *collection;
    char name[NAME_SIZE];
    enum peat_status status;

    (void)snprintf(name, sizeof(name), "c%u", number);
    status = peat_collection_open(db, NULL, name, 0, &collection);
    if (status != PEAT_OK)
        PT_REQUIRE_STATUS(status, PEAT_NOT_FOUND);
    peat_collection_close(collection);
    return status == PEAT_OK;
}

/* Kept as "kept": all collections. Then the even ones are dropped and one more is made. */
static struct peat_db *store_make(uint8_t kept[DIGEST_SIZE], uint8_t now[DIGEST_SIZE])
{
    struct peat_db *db = pt_test_store_make("store", 0);

    for (unsigned i = 0; i < COLLECTIONS; i++)
        collection_put(db, i, "kept");
    PT_REQUIRE_OK(peat_snapshot_persist(db, "kept", NULL));
    pt_test_digest(db, kept);
    for (unsigned i = 0; i < COLLECTIONS; i += 2) {
        struct peat_collection *collection;
        char name[NAME_SIZE];

        (void)snprintf(name, sizeof(name), "c%u", i);
        PT_REQUIRE_OK(peat_collection_open(db, NULL, name, 0, &collection));
        PT_REQUIRE_OK(peat_collection_drop(db, collection));
        peat_collection_close(collection);
    }
    collection_put(db, COLLECTIONS, "new");
    pt_test_digest(db, now);
    return db;
}

static void require_digest(struct peat_db *db, const uint8_t expected[DIGEST_SIZE])
{
    uint8_t digest[DIGEST_SIZE];

    pt_test_digest(db, digest);
    PT_REQUIRE(memcmp(digest, expected, DIGEST_SIZE) == 0);
}

/* All that was kept is there, and no more. */
static void require_kept(struct peat_db *db, const uint8_t kept[DIGEST_SIZE])
{
    require_digest(db, kept);
    for (unsigned i = 0; i <= COLLECTIONS; i++)
        PT_REQUIRE(has_collection(db, i) == (i < COLLECTIONS));
}

/* Some of what there is no memory for can be done without. */
static void without_memory_all_takes_its_place_or_nothing(void **state)
{
    uint8_t kept[DIGEST_SIZE];
    uint8_t now[DIGEST_SIZE];
    uint64_t failures = 1;
    unsigned refused = 0;
    (void)state;

    pt_failing_install();
    for (uint64_t at = 0; failures > 0; at++) {
        struct pt_failing failing = {
            .kind = PT_FAILING_ALLOCATIONS, .at = at, .count = 1, .in_any_thread = true};
        struct peat_db *db = store_make(kept, now);
        enum peat_status status;

        PT_REQUIRE(at < POSITIONS_MAX);
        PT_REQUIRE_OK(peat_wait_idle(db, 60000));
        pt_test_context("allocation %" PRIu64, at);
        pt_failing_start(&failing);
        status = peat_revert(db, "kept", 0, NULL);
        failures = pt_failing_end();
        if (status != PEAT_OK) {
            PT_REQUIRE_STATUS(status, PEAT_NO_MEMORY);
            PT_REQUIRE(failures > 0);
            require_digest(db, now);
            PT_REQUIRE(!has_collection(db, 2) && has_collection(db, COLLECTIONS));
            PT_REQUIRE_OK(peat_revert(db, "kept", 0, NULL));
            refused++;
        }
        require_kept(db, kept);
        PT_REQUIRE_OK(peat_close(db));
    }
    PT_REQUIRE(refused > 5);
    pt_failing_remove();
}

static void a_state_whose_catalogue_is_wrong_is_not_shown(void **state)
{
    struct pt_id_prefix catalogue = pt_id_prefix(PT_CATALOGUE_ID);
    uint8_t kept[DIGEST_SIZE];
    uint8_t now[DIGEST_SIZE];
    struct peat_db *db = store_make(kept, now);
    (void)state;

    pt_forge_put(db, catalogue, pt_text("\1wrong"), pt_text("abc"));
    PT_REQUIRE_OK(peat_snapshot_persist(db, "wrong", NULL));
    PT_REQUIRE_OK(peat_revert(db, "kept", 0, NULL));
    require_digest(db, kept);
    PT_REQUIRE_STATUS(peat_revert(db, "wrong", 0, NULL), PEAT_CORRUPT);
    PT_REQUIRE(strstr(peat_last_error(), "an id of 3 bytes") != NULL);
    require_digest(db, kept);
    PT_REQUIRE(has_collection(db, 2) && !has_collection(db, COLLECTIONS));
    collection_put(db, 2, "goes on");
    PT_REQUIRE_OK(peat_close(db));
}

/* Whoever forges a number cannot have the store give out one that is nobody's. */
static void numbers_of_collections_run_out_in_words(void **state)
{
    struct peat_db *db = pt_test_store_make("store", 0);
    struct peat_collection *collection;
    (void)state;

    collection_put(db, 0, "first");
    atomic_store(&db->catalogue->next_id, PT_COLLECTION_ID_MAX);
    for (unsigned i = 0; i < 2; i++) {
        PT_REQUIRE_STATUS(peat_collection_open(db, NULL, "more", PEAT_CREATE, &collection),
                          PEAT_CORRUPT);
        PT_REQUIRE(collection == NULL && strstr(peat_last_error(), "have run out") != NULL);
    }
    PT_REQUIRE(has_collection(db, 0));
    collection_put(db, 0, "again");
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_all_takes_its_place_or_nothing),
        cmocka_unit_test(a_state_whose_catalogue_is_wrong_is_not_shown),
        cmocka_unit_test(numbers_of_collections_run_out_in_words),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

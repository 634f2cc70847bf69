/*
 * The property: what is damaged of a follower's segments is sent again, and nothing else; then it shows what its primary shows, and its
 * file is whole. Where it cannot be had, that is said, and the follower follows.
 */
#include "tests/link.h"
#include "tests/pair.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1024)

/* So much that it is several segments, of some 8 MiB. */
enum { KEYS = 6000, VALUE_SIZE = 4000, NOTES_MAX = 64 };

/* ---- Damage ---- */

/* Where of a segment, in bytes from its footer. */
static const struct {
    const char *name;
    long from_footer;
} places[] = {{"entries", -100000}, {"indexes", -10000}, {"table", -40}, {"footer", 20}};

enum { PLACES = sizeof(places) / sizeof(places[0]), FOOTER = PLACES - 1 };

/* Change a byte of the file @p path, @p from_footer bytes from where footer number @p number begins. false: there is none. */
static bool flip(const char *path, unsigned number, long from_footer)
{
    static const char magic[] = "PEATSEG1";
    FILE *file = fopen(path, "r+b");
    const char *found;
    uint8_t *bytes;
    long size;
    long place;

    PT_REQUIRE(file != NULL && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0);
    bytes = malloc((size_t)size);
    PT_REQUIRE(bytes != NULL && fseek(file, 0, SEEK_SET) == 0 &&
               fread(bytes, 1, (size_t)size, file) == (size_t)size);
    found = (const char *)bytes;
    for (unsigned i = 0; i <= number && found != NULL; i++)
        found = memmem(found + (i > 0), (size_t)((const char *)bytes + size - found) - (i > 0),
                       magic, 8);
    if (found != NULL) {
        place = (long)(found - (const char *)bytes) + from_footer;
        PT_REQUIRE(place > 0 && fseek(file, place, SEEK_SET) == 0 &&
                   fputc(bytes[place] ^ 4, file) != EOF);
    }
    PT_REQUIRE(fclose(file) == 0);
    free(bytes);
    return found != NULL;
}

/* The first finding, and how many there were. */
struct found {
    unsigned count;
    char words[512];
};

static void finding_note(void *context, const struct peat_finding *finding)
{
    struct found *found = context;

    PT_REQUIRE(finding->offset > 0 && finding->lost_count == 0);
    if (found->count++ == 0)
        (void)snprintf(found->words, sizeof(found->words), "%s", finding->what);
}

static uint64_t look(struct peat_seeding *seeding, struct found *found)
{
    uint64_t count;

    *found = (struct found){0};
    PT_REQUIRE_OK(peat_seeding_heal(seeding, finding_note, NULL, found, &count));
    PT_REQUIRE(found->count == count);
    return count;
}

/* ---- Two stores ---- */

static void put_many(struct peat_db *db, unsigned from, unsigned to, uint64_t version)
{
    struct peat_batch *batch = peat_batch_new(0);
    uint8_t value[VALUE_SIZE];
    char name[16];

    for (unsigned i = from; i < to; i++) {
        (void)snprintf(name, sizeof(name), "key %08u", i);
        pt_value_fill(i + version, value, sizeof(value));
        peat_batch_clear(batch);
        PT_REQUIRE_OK(
            peat_batch_put(batch, NULL, pt_text(name), (struct peat_bytes){value, sizeof(value)}));
        PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, NULL));
    }
    peat_batch_free(batch);
}

/* Hand the state over, as far as @p most bytes; gives how many that took. */
static uint64_t ship(struct pt_pair *pair, struct peat_seeding *seeding, uint64_t most,
                     enum peat_status expected)
{
    struct peat_seed *seed;
    struct peat_seed_range range;
    uint64_t shipped = 0;
    enum peat_status status = PEAT_OK;

    PT_REQUIRE_OK(
        peat_flush(pair->primary.db)); /* so that its state is none before the follower's */
    PT_REQUIRE_OK(peat_seed_open(pair->primary.db, &seed));
    while (status == PEAT_OK && shipped < most && peat_seeding_next(seeding, 50 * KIB, &range)) {
        struct peat_bytes bytes;
        uint64_t size;

        status = peat_seed_read(seed, range.part, range.offset, (size_t)range.size, &bytes, &size);
        if (status != PEAT_OK)
            break;
        status = peat_seeding_write(seeding, range.part, range.offset, size, bytes);
        shipped += bytes.size;
    }
    PT_REQUIRE_STATUS(status, expected);
    if (status == PEAT_DONE)
        PT_REQUIRE_OK(peat_seeding_finish(seeding));
    peat_seed_close(seed);
    return shipped;
}

/* Both hold the same, in the same segments. */
static uint64_t pair_seeded(struct pt_pair *pair)
{
    struct peat_seeding *seeding;
    struct peat_identity identity;
    uint64_t shipped;

    memset(pair, 0, sizeof(*pair));
    pt_side_make(&pair->primary, "primary", 0);
    pt_side_make(&pair->follower, "follower", PEAT_FOLLOWER);
    put_many(pair->primary.db, 0, KEYS, 0);
    PT_REQUIRE_OK(peat_compact(pair->primary.db, NULL, NULL, NULL, NULL));
    PT_REQUIRE_OK(peat_identity_get(pair->primary.db, &identity));
    PT_REQUIRE_OK(peat_identity_adopt(pair->follower.db, &identity));
    PT_REQUIRE_OK(peat_seeding_open(pair->follower.db, &seeding));
    shipped = ship(pair, seeding, UINT64_MAX, PEAT_DONE);
    peat_seeding_close(seeding);
    pt_pair_feed(pair);
    pt_pair_require_equal(pair);
    return shipped;
}

/* Damage one segment that the follower shows; what is seen of it is in *found. */
static struct peat_seeding *damage_one(struct pt_side *side, long from_footer, struct found *found)
{
    struct peat_seeding *seeding = NULL;
    uint64_t count = 0;

    for (unsigned i = 0; count == 0; i++) { /* some regions are not in use any more */
        peat_seeding_close(seeding);
        PT_REQUIRE_OK(peat_close(side->db));
        PT_REQUIRE(flip(side->path, i, from_footer));
        pt_side_open(side);
        PT_REQUIRE_OK(peat_seeding_open(side->db, &seeding));
        count = look(seeding, found);
    }
    PT_REQUIRE(count == 1);
    return seeding;
}

/* ---- Healing ---- */

static void what_is_damaged_is_sent_again_and_nothing_else(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    (void)state;

    for (unsigned i = 0; i < PLACES; i++) {
        struct peat_seeding *seeding;
        struct found found;
        struct pt_pair pair;
        uint64_t all = pair_seeded(&pair);
        uint64_t again;

        seeding = damage_one(&pair.follower, places[i].from_footer, &found);
        pt_test_context("%s: %s", places[i].name, found.words);
        PT_REQUIRE(strstr(found.words, "offset") != NULL && strstr(found.words, "\"key") != NULL);
        PT_REQUIRE_STATUS(peat_check(pair.follower.db, NULL, NULL, NULL), PEAT_CORRUPT);
        again = ship(&pair, seeding, UINT64_MAX, PEAT_DONE);
        pt_test_context("%s: %" PRIu64 " bytes, then %" PRIu64, places[i].name, all, again);
        PT_REQUIRE(again > 0 && again < all / 2);
        pt_pair_require_equal(&pair);
        PT_REQUIRE_OK(peat_check(pair.follower.db, NULL, NULL, NULL));
        PT_REQUIRE(look(seeding, &found) == 0);
        peat_seeding_close(seeding);
        PT_REQUIRE_OK(peat_abort(pair.follower.db));
        pt_side_open(&pair.follower);
        pt_pair_require_equal(&pair);
        put_many(pair.primary.db, 10, 20, 7);
        pt_pair_follow(&pair, &dice);
        pt_pair_require_equal(&pair);
        pt_pair_close(&pair);
    }
}

static void a_crash_on_the_way_leaves_what_can_be_healed(void **state)
{
    struct peat_seeding *seeding;
    struct found found;
    struct pt_pair pair;
    (void)state;

    (void)pair_seeded(&pair);
    seeding = damage_one(&pair.follower, places[0].from_footer, &found);
    for (unsigned i = 1; i < 4; i++) {
        (void)ship(&pair, seeding, i * 40 * KIB, PEAT_OK);
        peat_seeding_close(seeding);
        PT_REQUIRE_OK(peat_abort(pair.follower.db));
        pt_side_open(&pair.follower);
        PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
        PT_REQUIRE(look(seeding, &found) == 1);
    }
    (void)ship(&pair, seeding, UINT64_MAX, PEAT_DONE);
    peat_seeding_close(seeding);
    pt_pair_require_equal(&pair);
    pt_pair_close(&pair);
}

/* What is shown in place of the newest state has its number and name; those before it are not written anew. */
static void a_kept_state_before_the_newest_keeps_its_copy(void **state)
{
    static const char *const names[] = {"one", "two", "newest"};
    struct pt_dice dice = {pt_test_seed()};
    struct peat_snapshot *kept;
    struct peat_seeding *seeding;
    struct found found;
    struct pt_pair pair;
    uint8_t digest[32];
    (void)state;

    (void)pair_seeded(&pair);
    PT_REQUIRE_OK(peat_snapshot_persist(pair.follower.db, names[0], NULL));
    peat_seeding_close(damage_one(&pair.follower, places[0].from_footer, &found));
    for (unsigned i = 1; i < 3; i++) {
        put_many(pair.primary.db, i, i + 1, 3);
        pt_pair_follow(&pair, &dice);
        PT_REQUIRE_OK(peat_snapshot_persist(pair.follower.db, names[i], NULL));
    }
    PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
    PT_REQUIRE(look(seeding, &found) == 1);
    (void)ship(&pair, seeding, UINT64_MAX, PEAT_DONE);
    peat_seeding_close(seeding);
    for (unsigned again = 0; again < 2; again++) {
        pt_pair_require_equal(&pair);
        PT_REQUIRE_STATUS(peat_check(pair.follower.db, NULL, NULL, NULL), PEAT_CORRUPT);
        for (unsigned i = 0; i < 3; i++) {
            PT_REQUIRE_OK(peat_history_open(pair.follower.db, names[i], 0, &kept));
            PT_REQUIRE_STATUS(peat_digest(kept, NULL, NULL, digest, NULL),
                              i < 2 ? PEAT_CORRUPT : PEAT_OK);
            peat_snapshot_close(kept);
        }
        PT_REQUIRE_OK(peat_close(pair.follower.db));
        pt_side_open(&pair.follower);
    }
    PT_REQUIRE_OK(peat_history_drop(pair.follower.db, names[0], 0));
    PT_REQUIRE_OK(peat_history_drop(pair.follower.db, names[1], 0));
    pt_pair_require_equal(&pair);
    pt_pair_close(&pair);
}

static void what_the_primary_cannot_read_is_not_taken(void **state)
{
    struct peat_seeding *seeding;
    struct found found;
    struct pt_pair pair;
    (void)state;

    (void)pair_seeded(&pair);
    seeding = damage_one(&pair.follower, places[0].from_footer, &found);
    peat_feed_close(pair.feed);
    pair.feed = NULL;
    PT_REQUIRE_OK(peat_close(pair.primary.db));
    for (unsigned i = 0; flip(pair.primary.path, i, places[0].from_footer); i++)
        ;
    pt_side_open(&pair.primary);
    (void)ship(&pair, seeding, UINT64_MAX, PEAT_CORRUPT);
    peat_seeding_close(seeding);
    PT_REQUIRE(pt_test_newest(pair.follower.db) == pt_test_newest(pair.primary.db));
    PT_REQUIRE_OK(peat_close(pair.primary.db));
    PT_REQUIRE_STATUS(peat_check(pair.follower.db, NULL, NULL, NULL), PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_close(pair.follower.db));
}

/* ---- Over a connection ---- */

/* The words of events. */
struct notes {
    pthread_mutex_t mutex;
    unsigned count;
    char words[NOTES_MAX][256];
};

static void event_note(void *context, const struct peat_follower_event *event)
{
    struct notes *notes = context;

    pthread_mutex_lock(&notes->mutex);
    if (notes->count < NOTES_MAX)
        (void)snprintf(notes->words[notes->count++], 256, "%s", event->words);
    pthread_mutex_unlock(&notes->mutex);
}

static bool was_told(struct notes *notes, const char *part)
{
    bool told = false;

    pthread_mutex_lock(&notes->mutex);
    for (unsigned i = 0; i < notes->count; i++)
        told = told || strstr(notes->words[i], part) != NULL;
    pthread_mutex_unlock(&notes->mutex);
    return told;
}

/* Follow until all is there; gives what it has come to. */
static struct peat_follower_status follow(struct pt_link *link, struct pt_side *side,
                                          unsigned flags, struct notes *notes)
{
    struct peat_follower_options options = pt_link_options(link, "follower");
    struct peat_follower_status status;
    struct peat_follower *follower;
    uint64_t newest = pt_test_newest(link->db);

    memset(notes, 0, sizeof(*notes));
    (void)pthread_mutex_init(&notes->mutex, NULL);
    options.flags = flags;
    options.event = event_note;
    options.event_context = notes;
    follower = pt_link_follow(side->db, &options);
    PT_LINK_UNTIL(pt_link_status(follower).state == PEAT_FOLLOWER_FOLLOWING &&
                  pt_link_status(follower).position.commit == newest);
    status = pt_link_status(follower);
    peat_follower_stop(follower);
    return status;
}

static void link_make(struct pt_link *link, struct pt_side *side, struct notes *notes)
{
    pt_link_begin(link, "tcp://127.0.0.1:0", NULL);
    put_many(link->db, 0, KEYS, 0);
    PT_REQUIRE_OK(peat_compact(link->db, NULL, NULL, NULL, NULL));
    pt_side_make(side, "follower", PEAT_FOLLOWER);
    PT_REQUIRE(follow(link, side, 0, notes).seed_count == 1);
}

/* Whether merges have gone on since the store was opened. */
static bool has_merged(struct peat_db *db)
{
    struct peat_stats stats = {.struct_size = sizeof(stats)};

    PT_REQUIRE_OK(peat_stats_get(db, &stats));
    return stats.merges > 0;
}

/* A segment that has lost its footer alone can be read in full: a merge may have made a sound one of it before it is looked at. */
static void a_follower_heals_when_it_is_asked_to(void **state)
{
    struct peat_follower_status status;
    struct pt_link link;
    struct pt_side side;
    struct notes notes;
    struct found found;
    (void)state;

    link_make(&link, &side, &notes);
    status = follow(&link, &side, PEAT_FOLLOWER_HEAL, &notes);
    PT_REQUIRE(status.seed_count == 0 && status.healed_segments == 0);
    PT_REQUIRE(status.received_size < 100 * KIB);
    for (unsigned i = 0; i < PLACES; i++) {
        put_many(link.db, i, i + 1, 5); /* nothing flushes that by itself */
        (void)follow(&link, &side, 0, &notes);
        peat_seeding_close(damage_one(&side, places[i].from_footer, &found));
        status = follow(&link, &side, 0, &notes);
        PT_REQUIRE(status.seed_count == 0 && !was_told(&notes, "damaged"));
        status = follow(&link, &side, PEAT_FOLLOWER_HEAL, &notes);
        pt_test_context("%s", places[i].name);
        PT_REQUIRE(status.damaged_segments == 0);
        if (status.healed_segments == 0)
            PT_REQUIRE(i == FOOTER && has_merged(side.db) && !was_told(&notes, "damaged"));
        else
            PT_REQUIRE(status.healed_segments == 1 && was_told(&notes, "damaged: segment") &&
                       was_told(&notes, "all healed"));
        pt_link_require_same(link.db, side.db);
        PT_REQUIRE_OK(peat_check(side.db, NULL, NULL, NULL));
    }
    PT_REQUIRE_OK(peat_close(side.db));
    pt_link_end(&link);
}

static void what_cannot_be_healed_is_told_and_it_follows(void **state)
{
    struct peat_follower_status status;
    struct peat_options options;
    struct pt_link link;
    struct pt_side side;
    struct notes notes;
    struct found found;
    char path[512];
    (void)state;

    link_make(&link, &side, &notes);
    peat_seeding_close(damage_one(&side, places[0].from_footer, &found));
    pt_link_stop(&link);
    PT_REQUIRE_OK(peat_close(link.db));
    (void)snprintf(path, sizeof(path), "%s", pt_test_path("primary"));
    for (unsigned i = 0; flip(path, i, places[0].from_footer); i++)
        ;
    options = pt_test_options(0);
    pt_test_options_tiny(&options);
    PT_REQUIRE_OK(peat_open(path, &options, &link.db));
    pt_link_start(&link, "tcp://127.0.0.1:0");
    put_many(link.db, KEYS, KEYS + 5, 0);
    status = follow(&link, &side, PEAT_FOLLOWER_HEAL, &notes);
    PT_REQUIRE(status.healed_segments == 0 && status.damaged_segments == 1);
    PT_REQUIRE(was_told(&notes, "not healed"));
    PT_REQUIRE_OK(peat_close(side.db));
    pt_link_end(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_damaged_is_sent_again_and_nothing_else),
        cmocka_unit_test(a_crash_on_the_way_leaves_what_can_be_healed),
        cmocka_unit_test(a_kept_state_before_the_newest_keeps_its_copy),
        cmocka_unit_test(what_the_primary_cannot_read_is_not_taken),
        cmocka_unit_test(a_follower_heals_when_it_is_asked_to),
        cmocka_unit_test(what_cannot_be_healed_is_told_and_it_follows),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

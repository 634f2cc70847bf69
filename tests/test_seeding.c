/*
 * The property: what one store hands out and another takes is refused with words where it is wrong, though every
 * checksum of it may be right, and nothing is shown of it; and whatever system call or allocation fails meanwhile, both
 * show what they showed, and the state can be handed over after that.
 */
#include "core/db/db.h"
#include "core/db/identity.h"
#include "core/db/manifest.h"
#include "core/db/seed.h"
#include "wal/log_format.h"

#include "tests/failing_calls.h"
#include "tests/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB      ((size_t)1024)
#define FAR_AWAY (UINT64_C(1) << 40) /* bytes in a file: where no segment is */

enum { POSITIONS_MAX = 2000, NAME_SIZE = 16, KEYS = 2200 };

/* ---- Two stores ---- */

/* Version @p version of values of 1000 bytes; one commit each. */
static void put_many(struct peat_db *db, unsigned from, unsigned to, uint64_t version)
{
    uint8_t value[1000];
    char name[NAME_SIZE];

    for (unsigned i = from; i < to; i++) {
        (void)snprintf(name, sizeof(name), "key %08u", i);
        pt_value_fill(i + 100000 * version, value, sizeof(value));
        PT_REQUIRE_OK(peat_put(db, NULL, pt_text(name), (struct peat_bytes){value, sizeof(value)}));
    }
}

/* Parts of the state of @p db, once merges have come to rest. */
static uint64_t part_count(struct peat_db *db)
{
    struct peat_seed_info about;
    struct peat_seed *seed;

    PT_REQUIRE_OK(peat_flush(db));
    PT_REQUIRE_OK(peat_wait_idle(db, 60000));
    PT_REQUIRE_OK(peat_seed_open(db, &seed));
    peat_seed_about(seed, &about);
    peat_seed_close(seed);
    return about.part_count;
}

/* A primary with something to hand out, in two segments at least, and a follower that is empty, of its identity. */
static void stores_make(struct pt_pair *pair)
{
    struct peat_identity identity;

    memset(pair, 0, sizeof(*pair));
    pt_side_make(&pair->primary, "primary", 0);
    pt_side_make(&pair->follower, "follower", PEAT_FOLLOWER);
    put_many(pair->primary.db, 0, KEYS, 0);
    for (unsigned i = 0; part_count(pair->primary.db) < 3; i++) {
        PT_REQUIRE(i < 50);
        put_many(pair->primary.db, KEYS + 100 * i, KEYS + 100 * (i + 1), 0);
    }
    PT_REQUIRE_OK(peat_identity_get(pair->primary.db, &identity));
    PT_REQUIRE_OK(peat_identity_adopt(pair->follower.db, &identity));
}

/* A state of the primary's, and a follower that is to take it. */
static void handing_begin(struct pt_pair *pair, struct peat_seed **seed_out,
                          struct peat_seeding **seeding_out)
{
    stores_make(pair);
    PT_REQUIRE_OK(peat_seed_open(pair->primary.db, seed_out));
    PT_REQUIRE_OK(peat_seeding_open(pair->follower.db, seeding_out));
}

static void reopen(struct pt_side *side, unsigned flags)
{
    PT_REQUIRE_OK(peat_close(side->db));
    side->options.flags = flags;
    pt_side_open(side);
}

/* The call was refused, and said why. */
static void require_refused(enum peat_status status, enum peat_status expected, const char *words)
{
    PT_REQUIRE_STATUS(status, expected);
    pt_test_context("said: %s", peat_last_error());
    PT_REQUIRE(strstr(peat_last_error(), words) != NULL);
}

/* ---- Parts ---- */

static struct peat_bytes part_read(struct peat_seed *seed, uint64_t part)
{
    struct peat_bytes bytes;
    uint64_t size;

    PT_REQUIRE_OK(peat_seed_read(seed, part, 0, SIZE_MAX, &bytes, &size));
    PT_REQUIRE(bytes.size == size);
    return bytes;
}

static enum peat_status part_write(struct peat_seeding *seeding, uint64_t part,
                                   struct peat_bytes bytes)
{
    return peat_seeding_write(seeding, part, 0, bytes.size, bytes);
}

/* All that is asked for from where @p seeding is, as far as it goes. */
static enum peat_status ship(struct peat_seed *seed, struct peat_seeding *seeding)
{
    struct peat_seed_range range;
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK && peat_seeding_next(seeding, 64 * KIB, &range)) {
        uint64_t part_size = UINT64_MAX;

        for (uint64_t done = 0;
             done < range.size && status == PEAT_OK && range.offset + done < part_size;) {
            struct peat_bytes bytes;

            status = peat_seed_read(seed, range.part, range.offset + done, range.size - done,
                                    &bytes, &part_size);
            if (status != PEAT_OK)
                return status;
            status = peat_seeding_write(seeding, range.part, range.offset + done, part_size, bytes);
            done += bytes.size;
        }
    }
    return status;
}

/* Have the follower take the primary's state, whatever it has been through. */
static void take_whole(struct pt_pair *pair)
{
    struct peat_seeding *seeding;
    struct peat_seed *seed;

    PT_REQUIRE_OK(peat_flush(pair->primary.db));
    PT_REQUIRE_OK(peat_seed_open(pair->primary.db, &seed));
    PT_REQUIRE_OK(peat_seeding_open(pair->follower.db, &seeding));
    PT_REQUIRE_STATUS(ship(seed, seeding), PEAT_DONE);
    PT_REQUIRE_OK(peat_seeding_finish(seeding));
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    pt_pair_require_equal(pair);
}

/* ---- Forging ---- */

/* Part 0 of @p seed, to be changed; its keys are borrowed from that. Release with pt_manifest_fini(). */
static void manifest_read(struct pt_pair *pair, struct peat_seed *seed,
                          struct pt_manifest *manifest)
{
    struct pt_identity identity = pt_identity_get(pair->primary.db);

    PT_REQUIRE_OK(
        pt_manifest_decode(part_read(seed, 0), &identity.store_id, PT_SEED_GENERATION, manifest));
    PT_REQUIRE(manifest->segment_count > 1);
}

/* It as part 0, under a right checksum. */
static enum peat_status manifest_write(struct peat_seeding *seeding,
                                       const struct pt_manifest *manifest)
{
    uint64_t size = pt_manifest_size(manifest);
    uint8_t *block = malloc(size);
    enum peat_status status;

    PT_REQUIRE(block != NULL);
    pt_manifest_encode(manifest, block);
    status = part_write(seeding, 0, (struct peat_bytes){block, size});
    free(block);
    return status;
}

/* As if the state were of a newer epoch, which begins where it ends. */
static void begin_epoch(struct pt_manifest *manifest, uint64_t epoch)
{
    PT_REQUIRE(pt_lineage_note(&manifest->lineage, epoch, &manifest->log));
    manifest->log.epoch = epoch;
}

static void forge_kind(struct pt_manifest *manifest)
{
    manifest->kind = PT_MANIFEST_INCREMENT;
}

static void forge_hash_seed(struct pt_manifest *manifest)
{
    manifest->hash_seed ^= 1;
}

static void forge_history(struct pt_manifest *manifest)
{
    static struct pt_manifest_kept kept = {.generation = 1, .manifest_generation = 1};

    manifest->kept = &kept;
    manifest->kept_count = 1;
}

static void forge_held_log(struct pt_manifest *manifest)
{
    static struct pt_log_piece piece = {.has_start = true};

    piece.start = (struct pt_log_point){.region = {FAR_AWAY, 16 * PT_REGION_UNIT},
                                        .offset = pt_log_data_start()};
    manifest->held = &piece;
    manifest->held_count = 1;
}

static void forge_feed(struct pt_manifest *manifest)
{
    static struct pt_manifest_feed feed;

    feed.name = pt_text("feed");
    manifest->feeds = &feed;
    manifest->feed_count = 1;
}

static void forge_log(struct pt_manifest *manifest)
{
    manifest->log.region = (struct pt_extent){FAR_AWAY, PT_REGION_UNIT};
}

static void forge_commit(struct pt_manifest *manifest)
{
    manifest->log.commit = PT_LOG_NUMBER_MAX + 1;
}

static void forge_epoch(struct pt_manifest *manifest)
{
    begin_epoch(manifest, PT_EPOCH_MAX + 1);
}

static void forge_role(struct pt_manifest *manifest)
{
    manifest->role = PT_ROLE_FOLLOWER;
}

static void forge_met_epoch(struct pt_manifest *manifest)
{
    manifest->met_epoch = 3;
}

static void forge_next_segment_id(struct pt_manifest *manifest)
{
    manifest->next_segment_id = PT_SEGMENT_ID_GO_ON_MAX + 1;
}

static void a_manifest_that_is_no_seeds_is_refused_though_it_is_a_right_one(void **state)
{
    static void (*const forge[])(struct pt_manifest * manifest) = {
        forge_kind, forge_hash_seed, forge_history,        forge_held_log,
        forge_feed, forge_log,       forge_commit,         forge_epoch,
        forge_role, forge_met_epoch, forge_next_segment_id};
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct pt_pair pair;
    (void)state;

    handing_begin(&pair, &seed, &seeding);
    for (size_t i = 0; i < sizeof(forge) / sizeof(forge[0]); i++) {
        struct pt_manifest manifest;
        struct pt_manifest forged;
        struct peat_seed_range range;

        manifest_read(&pair, seed, &manifest);
        forged = manifest;
        forge[i](&forged);
        pt_test_context("forgery %zu", i);
        require_refused(manifest_write(seeding, &forged), PEAT_CORRUPT, "is no seed's");
        PT_REQUIRE_STATUS(peat_seeding_finish(seeding), PEAT_INVALID);
        PT_REQUIRE(!peat_seeding_next(seeding, 100, &range) || range.part == 0);
        PT_REQUIRE(pt_test_newest(pair.follower.db) == 0);
        pt_manifest_fini(&manifest);
        peat_seeding_restart(seeding);
    }
    PT_REQUIRE_STATUS(ship(seed, seeding), PEAT_DONE);
    PT_REQUIRE_OK(peat_seeding_finish(seeding));
    pt_pair_require_equal(&pair);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    pt_pair_close(&pair);
}

static void a_segment_that_is_not_the_one_described_is_refused(void **state)
{
    struct pt_manifest manifest;
    struct peat_seeding *seeding;
    struct peat_seed_info about;
    struct peat_seed *seed;
    struct peat_bytes first;
    struct pt_pair pair;
    (void)state;

    handing_begin(&pair, &seed, &seeding);
    manifest_read(&pair, seed, &manifest);
    first = part_read(seed, 1);
    manifest.segments[0].summary.digest.bytes[0] ^= 1;
    PT_REQUIRE_OK(manifest_write(seeding, &manifest));
    require_refused(part_write(seeding, 1, first), PEAT_CORRUPT, "not the digest that was said");
    PT_REQUIRE_STATUS(part_write(seeding, 1, first), PEAT_INVALID);
    peat_seeding_restart(seeding);
    manifest.segments[0].summary.digest.bytes[0] ^= 1;
    manifest.segments[0].summary.entry_count++;
    PT_REQUIRE_OK(manifest_write(seeding, &manifest));
    PT_REQUIRE_STATUS(part_write(seeding, 1, first), PEAT_CORRUPT);
    pt_manifest_fini(&manifest);
    peat_seeding_restart(seeding);
    PT_REQUIRE_OK(part_write(seeding, 0, part_read(seed, 0)));
    require_refused(peat_seeding_write(seeding, 1, 0, first.size + 1, first), PEAT_CORRUPT,
                    "not the size that was said");
    require_refused(peat_seeding_write(seeding, 1, 0, first.size - 1,
                                       (struct peat_bytes){first.data, first.size - 1}),
                    PEAT_CORRUPT, "not the size that was said");
    PT_REQUIRE_OK(peat_seeding_write(seeding, 1, 0, first.size,
                                     (struct peat_bytes){first.data, first.size - 1}));
    require_refused(peat_seeding_write(seeding, 1, first.size - 1, first.size, first), PEAT_CORRUPT,
                    "not the size that was said");
    PT_REQUIRE(pt_test_newest(pair.follower.db) == 0);
    peat_seed_about(seed, &about);
    PT_REQUIRE(about.part_count > 2);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    take_whole(&pair);
    pt_pair_close(&pair);
}

/* What has come of a state counts for the next one by its digest: an id alone says nothing. */
static void a_segment_that_was_given_is_not_taken_for_another_one_of_its_id(void **state)
{
    struct pt_manifest manifest;
    struct peat_seeding *seeding;
    struct peat_seeding_info about;
    struct peat_seed_range range;
    struct peat_seed *seed;
    struct peat_bytes second;
    struct pt_pair pair;
    (void)state;

    handing_begin(&pair, &seed, &seeding);
    manifest_read(&pair, seed, &manifest);
    PT_REQUIRE_OK(part_write(seeding, 0, part_read(seed, 0)));
    PT_REQUIRE_OK(part_write(seeding, 1, part_read(seed, 1)));
    second = part_read(seed, 2);
    PT_REQUIRE_OK(peat_seeding_write(seeding, 2, 0, second.size,
                                     (struct peat_bytes){second.data, second.size / 2}));
    peat_seeding_about(seeding, &about);
    PT_REQUIRE(about.missing == about.size - manifest.segments[0].summary.size - second.size / 2);
    /* The same again: it goes on where it was. */
    peat_seeding_restart(seeding);
    PT_REQUIRE_OK(part_write(seeding, 0, part_read(seed, 0)));
    PT_REQUIRE(peat_seeding_next(seeding, 100, &range) && range.part == 2 &&
               range.offset == second.size / 2);
    /* Others of these ids: neither counts. */
    peat_seeding_restart(seeding);
    manifest.segments[0].summary.digest.bytes[31] ^= 1;
    manifest.segments[1].summary.digest.bytes[31] ^= 1;
    PT_REQUIRE_OK(manifest_write(seeding, &manifest));
    peat_seeding_about(seeding, &about);
    PT_REQUIRE(about.missing == about.size);
    PT_REQUIRE(peat_seeding_next(seeding, 100, &range) && range.part == 1 && range.offset == 0);
    pt_manifest_fini(&manifest);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    take_whole(&pair);
    pt_pair_close(&pair);
}

/* What was there of a state goes between two connections, so that a segment before the one that has come in part has to be sent again:
 * then the part is gone when that begins, and neither counted nor left out of what is asked for. */
static void a_part_of_a_segment_that_does_not_come_next_is_let_go(void **state)
{
    struct peat_seeding *seeding;
    struct peat_seeding_info about;
    struct peat_seed_range range;
    uint64_t part = 0;
    struct peat_seed *seed;
    struct peat_bytes first;
    struct peat_bytes second;
    struct pt_pair pair;
    (void)state;

    handing_begin(&pair, &seed, &seeding);
    first = part_read(seed, 1);
    second = part_read(seed, 2);
    PT_REQUIRE_OK(part_write(seeding, 0, part_read(seed, 0)));
    PT_REQUIRE_OK(part_write(seeding, 1, first));
    PT_REQUIRE_OK(peat_seeding_write(seeding, 2, 0, second.size,
                                     (struct peat_bytes){second.data, second.size / 2}));
    pt_test_spoil(pair.follower.path,
                  (struct peat_bytes){(const uint8_t *)first.data + first.size - 64, 64});
    peat_seeding_restart(seeding);
    PT_REQUIRE_OK(part_write(seeding, 0, part_read(seed, 0)));
    peat_seeding_about(seeding, &about);
    PT_REQUIRE(about.missing == about.size);
    while (peat_seeding_next(seeding, UINT64_MAX, &range)) /* before anything of it comes */
        PT_REQUIRE(range.part == ++part && range.offset == 0);
    for (uint64_t i = 1; i < part; i++)
        PT_REQUIRE_OK(part_write(seeding, i, part_read(seed, i)));
    PT_REQUIRE_STATUS(part_write(seeding, part, part_read(seed, part)), PEAT_DONE);
    peat_seeding_about(seeding, &about);
    PT_REQUIRE(about.missing == 0);
    PT_REQUIRE_OK(peat_seeding_finish(seeding));
    pt_pair_require_equal(&pair);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    pt_pair_close(&pair);
}

/* ---- Order and arguments ---- */

static void what_describes_a_state_grows_with_what_comes(void **state)
{
    enum { SIZE = 300 * 1024, PIECE = 50 * 1024 };
    struct pt_failing failing = {.kind = PT_FAILING_ALLOCATIONS, .count = UINT64_MAX};
    uint8_t *junk = calloc(1, SIZE);
    struct peat_seeding *seeding;
    struct pt_pair pair;
    unsigned refused = 0;
    (void)state;

    PT_REQUIRE(junk != NULL);
    pt_failing_install();
    stores_make(&pair);
    PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
    for (size_t done = 0; done < SIZE; done += PIECE) {
        struct peat_bytes piece = {junk + done, SIZE - done < PIECE ? SIZE - done : PIECE};
        enum peat_status status;

        pt_failing_start(&failing);
        status = peat_seeding_write(seeding, 0, done, SIZE, piece);
        (void)pt_failing_end();
        if (status == PEAT_NO_MEMORY) { /* nothing was taken: the same bytes come again */
            refused++;
            status = peat_seeding_write(seeding, 0, done, SIZE, piece);
        }
        if (done + piece.size < SIZE)
            PT_REQUIRE_OK(status);
        else
            require_refused(status, PEAT_CORRUPT, "checksum");
    }
    PT_REQUIRE(refused == 4); /* at 64, 128, 256 and 512 KiB */
    PT_REQUIRE(pt_test_newest(pair.follower.db) == 0);
    peat_seeding_close(seeding);
    take_whole(&pair);
    pt_pair_close(&pair);
    pt_failing_remove();
    free(junk);
}

static void arguments_that_are_missing_or_wrong_are_refused(void **state)
{
    static char long_name[PEAT_NAME_SIZE_MAX + 2];
    struct peat_seed_range range;
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct peat_bytes bytes;
    enum peat_role role;
    struct pt_pair pair;
    uint64_t size;
    (void)state;

    stores_make(&pair);
    memset(long_name, 'n', sizeof(long_name) - 1);
    PT_REQUIRE_STATUS(peat_seed_open(NULL, &seed), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seed_open(pair.primary.db, NULL), PEAT_INVALID);
    peat_seed_about(NULL, NULL);
    peat_seeding_about(NULL, NULL);
    peat_seeding_restart(NULL);
    peat_seeding_forget(NULL);
    PT_REQUIRE(!peat_seeding_next(NULL, 1, NULL));
    PT_REQUIRE_STATUS(peat_seeding_open(NULL, &seeding), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seeding_open(pair.follower.db, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seeding_open(pair.primary.db, &seeding), PEAT_INVALID);
    PT_REQUIRE(seeding == NULL);
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
    PT_REQUIRE_STATUS(peat_seed_read(NULL, 0, 0, 1, &bytes, &size), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seed_read(seed, 0, 0, 1, NULL, &size), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seed_read(seed, 0, 0, 1, &bytes, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seeding_part(NULL, "kept"), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seeding_part(seeding, NULL), PEAT_INVALID);
    require_refused(peat_seeding_part(seeding, ""), PEAT_INVALID, "the name of a kept state");
    require_refused(peat_seeding_part(seeding, long_name), PEAT_INVALID,
                    "the name of a kept state");
    PT_REQUIRE(!peat_seeding_next(seeding, 0, &range));
    bytes = part_read(seed, 0);
    PT_REQUIRE_STATUS(part_write(NULL, 0, bytes), PEAT_INVALID);
    PT_REQUIRE_STATUS(part_write(seeding, 0, (struct peat_bytes){NULL, 1}), PEAT_INVALID);
    PT_REQUIRE_STATUS(part_write(seeding, 0, (struct peat_bytes){bytes.data, 0}), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_seeding_finish(NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_retreat(NULL, 1, "kept", NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_retreat(pair.follower.db, 1, NULL, NULL), PEAT_INVALID);
    require_refused(peat_retreat(pair.primary.db, 1, "kept", NULL), PEAT_INVALID, "PEAT_FOLLOWER");
    PT_REQUIRE_STATUS(peat_role_get(NULL, &role), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_role_get(pair.primary.db, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_promote(NULL, 0, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_promote(pair.follower.db, 1, NULL), PEAT_INVALID);
    PT_REQUIRE_STATUS(peat_fence(NULL, 2), PEAT_INVALID);
    PT_REQUIRE_STATUS(ship(seed, seeding), PEAT_DONE); /* what was refused has spoilt nothing */
    require_refused(peat_seeding_write(seeding, 100, 0, 1, pt_text("x")), PEAT_INVALID,
                    "is not what comes next");
    PT_REQUIRE_OK(peat_seeding_finish(seeding));
    pt_pair_require_equal(&pair);
    peat_seeding_close(seeding);
    peat_seeding_close(NULL);
    peat_seed_close(seed);
    peat_seed_close(NULL);
    reopen(&pair.primary, PEAT_READ_ONLY);
    require_refused(peat_seed_open(pair.primary.db, &seed), PEAT_NOT_WRITABLE, "read-only");
    PT_REQUIRE(seed == NULL);
    PT_REQUIRE_STATUS(peat_fence(pair.primary.db, 2), PEAT_NOT_WRITABLE);
    PT_REQUIRE_STATUS(peat_promote(pair.primary.db, 0, NULL), PEAT_NOT_WRITABLE);
    pt_pair_close(&pair);
}

/* ---- Meanwhile ---- */

static void a_store_that_was_promoted_meanwhile_does_not_show_the_state(void **state)
{
    struct pt_manifest manifest;
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct pt_pair pair;
    uint64_t epoch;
    (void)state;

    handing_begin(&pair, &seed, &seeding);
    manifest_read(&pair, seed, &manifest);
    begin_epoch(&manifest, 5); /* so that it is newer than the promotion */
    PT_REQUIRE_OK(manifest_write(seeding, &manifest));
    pt_manifest_fini(&manifest);
    PT_REQUIRE_STATUS(ship(seed, seeding), PEAT_DONE);
    PT_REQUIRE_OK(peat_promote(pair.follower.db, 0, &epoch));
    PT_REQUIRE(epoch == 2);
    PT_REQUIRE_OK(peat_put(pair.follower.db, NULL, pt_text("own"), pt_text("1")));
    require_refused(peat_seeding_finish(seeding), PEAT_INVALID, "was promoted");
    PT_REQUIRE(pt_test_newest(pair.follower.db) == 1);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    pt_pair_close(&pair);
}

static void a_state_of_an_epoch_that_is_over_is_refused(void **state)
{
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct pt_pair pair;
    (void)state;

    stores_make(&pair);
    PT_REQUIRE_OK(peat_promote(pair.follower.db, 0, NULL));
    reopen(&pair.follower, PEAT_FOLLOWER);
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
    require_refused(ship(seed, seeding), PEAT_INVALID, "is here already");
    PT_REQUIRE(pt_test_newest(pair.follower.db) == 0);
    peat_seeding_close(seeding);
    peat_seed_close(seed);
    pt_pair_close(&pair);
}

static void the_last_epoch_there_is_ends_in_words(void **state)
{
    enum peat_role role;
    struct pt_pair pair;
    (void)state;

    stores_make(&pair);
    require_refused(peat_fence(pair.follower.db, 2), PEAT_INVALID, "is a follower");
    require_refused(peat_fence(pair.primary.db, PT_EPOCH_MAX + 1), PEAT_INVALID, "is none that");
    require_refused(peat_fence(pair.primary.db, 1), PEAT_INVALID, "is none that");
    PT_REQUIRE_OK(peat_fence(pair.primary.db, PT_EPOCH_MAX));
    PT_REQUIRE_OK(peat_fence(pair.primary.db, 2)); /* it is fenced already */
    require_refused(peat_promote(pair.primary.db, 0, NULL), PEAT_INVALID, "is fenced");
    reopen(&pair.primary, PEAT_FOLLOWER);
    require_refused(peat_promote(pair.primary.db, 0, NULL), PEAT_INVALID, "peat dump");
    PT_REQUIRE_OK(peat_role_get(pair.primary.db, &role));
    PT_REQUIRE(role == PEAT_ROLE_FOLLOWER);
    pt_pair_close(&pair);
}

/* ---- Damage ---- */

/* Where the @p size bytes at @p data, which are in the file @p path, are there. */
static uint64_t place_in_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    uint8_t *file;
    uint8_t *found;
    uint64_t place;

    PT_REQUIRE(fd >= 0 && fstat(fd, &info) == 0);
    file = malloc((size_t)info.st_size);
    PT_REQUIRE(file != NULL && read(fd, file, (size_t)info.st_size) == info.st_size);
    found = memmem(file, (size_t)info.st_size, data, size);
    PT_REQUIRE(found != NULL);
    place = (uint64_t)(found - file);
    free(file);
    (void)close(fd);
    return place;
}

/* Change a byte of the file of @p side while that is closed. */
static void flip(struct pt_side *side, uint64_t place)
{
    int fd;
    uint8_t byte;

    PT_REQUIRE_OK(peat_close(side->db));
    fd = open(side->path, O_RDWR | O_CLOEXEC);
    PT_REQUIRE(fd >= 0 && pread(fd, &byte, 1, (off_t)place) == 1);
    byte ^= 4;
    PT_REQUIRE(pwrite(fd, &byte, 1, (off_t)place) == 1);
    (void)close(fd);
    pt_side_open(side);
}

/* Begin to read each part, then the rest. */
static enum peat_status read_all(struct peat_seed *seed)
{
    struct peat_seed_info about;
    struct peat_bytes bytes;
    uint64_t size;
    enum peat_status status = PEAT_OK;

    peat_seed_about(seed, &about);
    for (uint64_t part = 0; part < about.part_count && status == PEAT_OK; part++) {
        for (uint64_t done = 0; status == PEAT_OK && (done == 0 || done < size); done += bytes.size)
            status = peat_seed_read(seed, part, done, 20 * KIB, &bytes, &size);
    }
    return status;
}

static void a_damaged_segment_is_not_handed_out(void **state)
{
    static const uint64_t eighths[] = {0, 1, 3, 5, 7, 8};
    struct peat_bytes first;
    struct peat_seed *seed;
    struct pt_pair pair;
    uint64_t begin;
    uint64_t size;
    unsigned refused[2] = {0, 0}; /* while it was read, and before */
    (void)state;

    stores_make(&pair);
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    first = part_read(seed, 1);
    begin = place_in_file(pair.primary.path, first.data, first.size);
    size = first.size;
    peat_seed_close(seed);
    for (size_t i = 0; i < sizeof(eighths) / sizeof(eighths[0]); i++) {
        uint64_t place = begin + (eighths[i] == 8 ? size - 1 : size / 8 * eighths[i]);
        enum peat_status status;

        flip(&pair.primary, place);
        status = peat_seed_open(pair.primary.db, &seed);
        refused[status != PEAT_OK]++;
        PT_REQUIRE((seed == NULL) == (status != PEAT_OK));
        pt_test_context("byte %" PRIu64 " of %" PRIu64 ", opened %d", place - begin, size, status);
        if (status == PEAT_OK)
            status = read_all(seed);
        PT_REQUIRE_STATUS(status, PEAT_CORRUPT);
        peat_seed_close(seed);
        flip(&pair.primary, place); /* it is as it was */
        PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
        PT_REQUIRE_OK(read_all(seed));
        peat_seed_close(seed);
    }
    PT_REQUIRE(refused[0] > 0 && refused[1] > 0);
    take_whole(&pair);
    pt_pair_close(&pair);
}

/* Read all that there is, so that damage is met. */
static void meet_damage(struct peat_db *db)
{
    struct peat_snapshot *snapshot;
    uint8_t digest[32];

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE_STATUS(peat_digest(snapshot, NULL, NULL, digest, NULL), PEAT_CORRUPT);
    peat_snapshot_close(snapshot);
}

static void damage_that_was_met_is_told_at_once(void **state)
{
    struct peat_bytes first;
    struct peat_seed *seed;
    struct pt_pair pair;
    uint64_t place;
    (void)state;

    stores_make(&pair);
    PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
    first = part_read(seed, 1);
    place = place_in_file(pair.primary.path, first.data, first.size) + first.size / 2;
    peat_seed_close(seed);
    flip(&pair.primary, place);
    meet_damage(pair.primary.db);
    require_refused(peat_seed_open(pair.primary.db, &seed), PEAT_CORRUPT, "is damaged");
    PT_REQUIRE(seed == NULL);
    flip(&pair.primary, place);
    take_whole(&pair);
    pt_pair_close(&pair);
}

/* Part 0, where the store has segments: whatever allocation fails, it can be written after that. */
static void describe_without_memory(struct peat_seed *seed, struct peat_seeding *seeding)
{
    enum peat_status status = PEAT_NO_MEMORY;

    for (uint64_t at = 0; status != PEAT_OK; at++) {
        struct pt_failing failing = {.kind = PT_FAILING_ALLOCATIONS, .at = at, .count = 1};

        PT_REQUIRE(at < POSITIONS_MAX);
        peat_seeding_restart(seeding);
        pt_failing_start(&failing);
        status = part_write(seeding, 0, part_read(seed, 0));
        PT_REQUIRE((pt_failing_end() > 0) == (status == PEAT_NO_MEMORY));
    }
}

/* In its end, which is looked at when it is opened, or in the middle, where it is met by who reads it. */
static void what_is_damaged_is_asked_for_and_is_whole_then(void **state)
{
    struct peat_seeding_info about;
    struct peat_seeding *seeding;
    struct peat_seed *seed;
    struct peat_bytes first;
    struct pt_pair pair;
    uint64_t place;
    (void)state;

    pt_failing_install();
    for (unsigned i = 0; i < 2; i++) {
        stores_make(&pair);
        take_whole(&pair);
        put_many(pair.primary.db, KEYS, KEYS + 3, 7);
        PT_REQUIRE_OK(peat_flush(pair.primary.db));
        PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
        first = part_read(seed, 1);
        place = place_in_file(pair.follower.path, first.data, first.size);
        flip(&pair.follower, place + (i == 0 ? first.size - 1 : first.size / 2));
        if (i == 1)
            meet_damage(pair.follower.db);
        PT_REQUIRE_STATUS(peat_check(pair.follower.db, NULL, NULL, NULL), PEAT_CORRUPT);
        PT_REQUIRE_OK(peat_seeding_open(pair.follower.db, &seeding));
        describe_without_memory(seed, seeding);
        peat_seeding_about(seeding, &about);
        PT_REQUIRE(about.missing >= first.size && about.missing < about.size);
        PT_REQUIRE_STATUS(ship(seed, seeding), PEAT_DONE);
        PT_REQUIRE_OK(peat_seeding_finish(seeding));
        peat_seeding_close(seeding);
        peat_seed_close(seed);
        pt_pair_require_equal(&pair);
        pt_pair_close(&pair); /* which checks it */
    }
    pt_failing_remove();
}

/* ---- Failures ---- */

/* Handing out, in which the calls from number @p at on fail, @p count of them. Whether any did. */
static bool handing_out_fails_at(struct pt_side *side, enum pt_failing_kind kind, uint64_t at,
                                 uint64_t count)
{
    struct pt_failing failing = {
        .kind = kind, .at = at, .count = count, .error_number = EIO, .in_any_thread = true};
    uint64_t newest = pt_test_newest(side->db) + 1;
    struct peat_seed_info about;
    struct peat_seed *seed;
    enum peat_status status;
    uint64_t failures;

    put_many(side->db, (unsigned)at, (unsigned)at + 1, 1 + count % 2);
    pt_failing_start(&failing);
    status = peat_seed_open(side->db, &seed);
    failures = pt_failing_end();
    PT_REQUIRE((status == PEAT_OK) == (seed != NULL));
    if (status != PEAT_OK) {
        /* A merge beside it may have failed before. */
        PT_REQUIRE((failures > 0 || status == PEAT_CORRUPT) && peat_last_error()[0] != '\0');
        pt_test_context("call %" PRIu64 ", %" PRIu64 " of them: %d, %s", at, count, status,
                        peat_last_error());
        /* What a merge could not read meanwhile is taken for damaged until the store is reopened. */
        PT_REQUIRE(status == PEAT_NO_MEMORY || status == PEAT_IO || status == PEAT_POISONED ||
                   status == PEAT_CORRUPT);
        PT_REQUIRE(kind == PT_FAILING_CALLS || status == PEAT_NO_MEMORY);
        if (status != PEAT_NO_MEMORY) {
            PT_REQUIRE_OK(peat_abort(side->db));
            pt_side_open(side);
        }
        PT_REQUIRE_OK(peat_seed_open(side->db, &seed));
    }
    peat_seed_about(seed, &about);
    PT_REQUIRE(about.position.commit <= newest && about.position.commit >= KEYS);
    PT_REQUIRE(pt_test_newest(side->db) == newest);
    peat_seed_close(seed);
    return failures > 0;
}

/* Taking the state, likewise, where half of an older one has come. */
static bool taking_fails_at(struct pt_pair *pair, struct peat_seed *seed, enum pt_failing_kind kind,
                            uint64_t at, uint64_t count)
{
    struct pt_failing failing = {.kind = kind, .at = at, .count = count, .error_number = EIO};
    struct peat_bytes second = part_read(seed, 2);
    struct peat_seeding *seeding = NULL;
    enum peat_status status;
    uint64_t failures;

    PT_REQUIRE_OK(peat_seeding_open(pair->follower.db, &seeding));
    PT_REQUIRE_OK(part_write(seeding, 0, part_read(seed, 0)));
    PT_REQUIRE_OK(part_write(seeding, 1, part_read(seed, 1)));
    PT_REQUIRE_OK(peat_seeding_write(seeding, 2, 0, second.size,
                                     (struct peat_bytes){second.data, second.size / 2}));
    peat_seeding_restart(seeding);
    pt_failing_start(&failing);
    status = ship(seed, seeding);
    failures = pt_failing_end();
    if (status != PEAT_DONE) {
        PT_REQUIRE(failures > 0 && peat_last_error()[0] != '\0');
        PT_REQUIRE(status == PEAT_NO_MEMORY || status == PEAT_IO);
        PT_REQUIRE(kind == PT_FAILING_CALLS || status == PEAT_NO_MEMORY);
        PT_REQUIRE_STATUS(peat_seeding_finish(seeding), PEAT_INVALID);
        peat_seeding_restart(seeding);
        status = ship(seed, seeding);
    }
    PT_REQUIRE(pt_test_newest(pair->follower.db) == 0);
    peat_seeding_close(seeding);
    if (status == PEAT_POISONED) { /* a sync has failed */
        PT_REQUIRE(kind == PT_FAILING_CALLS);
        PT_REQUIRE_STATUS(peat_promote(pair->follower.db, 0, NULL), PEAT_POISONED);
        PT_REQUIRE_OK(peat_abort(pair->follower.db));
        pt_side_open(&pair->follower);
    } else {
        PT_REQUIRE_STATUS(status, PEAT_DONE);
    }
    return failures > 0;
}

static void whatever_fails_the_state_can_be_handed_over_after_that(void **state)
{
    static const enum pt_failing_kind kinds[] = {PT_FAILING_CALLS, PT_FAILING_ALLOCATIONS};
    struct peat_seed *seed = NULL;
    struct pt_pair pair;
    (void)state;

    pt_failing_install();
    stores_make(&pair);
    for (unsigned i = 0; i < 8; i++) {
        enum pt_failing_kind kind = kinds[i % 2];
        uint64_t count = i / 2 % 2 == 0 ? 1 : UINT64_MAX;
        bool has_failed = true;

        if (i < 4)
            PT_REQUIRE_OK(peat_seed_open(pair.primary.db, &seed));
        for (uint64_t at = 0; has_failed; at++) {
            pt_test_context("run %u, call %" PRIu64, i, at);
            PT_REQUIRE(at < POSITIONS_MAX);
            has_failed = i >= 4 ? handing_out_fails_at(&pair.primary, kind, at, count)
                                : taking_fails_at(&pair, seed, kind, at, count);
            PT_REQUIRE(has_failed || at > 2);
        }
        peat_seed_close(seed);
        seed = NULL;
    }
    take_whole(&pair);
    pt_pair_close(&pair);
    pt_failing_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_that_is_no_seeds_is_refused_though_it_is_a_right_one),
        cmocka_unit_test(a_segment_that_is_not_the_one_described_is_refused),
        cmocka_unit_test(a_segment_that_was_given_is_not_taken_for_another_one_of_its_id),
        cmocka_unit_test(a_part_of_a_segment_that_does_not_come_next_is_let_go),
        cmocka_unit_test(what_describes_a_state_grows_with_what_comes),
        cmocka_unit_test(arguments_that_are_missing_or_wrong_are_refused),
        cmocka_unit_test(a_store_that_was_promoted_meanwhile_does_not_show_the_state),
        cmocka_unit_test(a_state_of_an_epoch_that_is_over_is_refused),
        cmocka_unit_test(the_last_epoch_there_is_ends_in_words),
        cmocka_unit_test(a_damaged_segment_is_not_handed_out),
        cmocka_unit_test(damage_that_was_met_is_told_at_once),
        cmocka_unit_test(what_is_damaged_is_asked_for_and_is_whole_then),
        cmocka_unit_test(whatever_fails_the_state_can_be_handed_over_after_that),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

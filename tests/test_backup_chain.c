/*
 * The property: whatever was done to a store, a full backup and the increments on it restore to exactly
 * the state of their commit, at any moment and from any handle, into a file or through a stream; in any
 * other order, or with a part missing, they are refused.
 *
 *     test_backup_chain [ROUNDS]       PEAT_SEED=n repeats a run
 */
#include "tests/compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    ROUNDS_DEFAULT = 6,
    CHAIN_MAX = 4, /* a full backup and three increments */
    KEYS = 300,
    PATH_SIZE = 512,
    SLOTS = 4,
    VALUE_SIZE_MAX = 200000 /* bytes */
};

/* A collection that may be there. */
struct slot {
    const char *name;
    int parent; /* number of a slot; -1: the root */
    struct peat_collection *handle;
    struct pt_oracle_collection *model; /* NULL: not there */
};

struct link {
    char path[PATH_SIZE];
    uint64_t commit;
    struct peat_backup_info info;
};

struct play {
    struct peat_db *db;
    struct peat_db *reader; /* the same file, read-only */
    struct pt_oracle_collection *model;
    struct slot slots[SLOTS];
    uint64_t commit;
    struct pt_dice dice;
    struct link chain[CHAIN_MAX];
    size_t chain_count;
    unsigned file_count;
    char path[PATH_SIZE];
    uint8_t *value; /* VALUE_SIZE_MAX bytes */
};

static unsigned rounds_wanted;

/* ---- Random changes ---- */

/* The handle and the model of a random live collection. */
static struct pt_oracle_collection *pick(struct play *play, struct peat_collection **handle_out)
{
    struct slot *slot = &play->slots[pt_dice_below(&play->dice, SLOTS)];

    *handle_out = slot->model == NULL ? NULL : slot->handle;
    return slot->model == NULL ? play->model : slot->model;
}

static struct peat_bytes key_of(char text[32], uint64_t number)
{
    struct peat_bytes key = {text, (size_t)snprintf(text, 32, "key%05u", (unsigned)number)};

    return key;
}

static size_t value_size(struct pt_dice *dice)
{
    if (pt_dice_one_in(dice, 100))
        return pt_dice_below(dice, VALUE_SIZE_MAX);
    return pt_dice_below(dice, pt_dice_one_in(dice, 3) ? 2000 : 60);
}

static void add_put(struct play *play, struct peat_batch *batch)
{
    struct pt_oracle_value value = {pt_dice_next(&play->dice), value_size(&play->dice)};
    struct peat_collection *handle;
    struct pt_oracle_collection *model = pick(play, &handle);
    char text[32];
    struct peat_bytes key = key_of(text, pt_dice_below(&play->dice, KEYS));

    pt_value_fill(value.seed, play->value, value.size);
    PT_REQUIRE_OK(peat_batch_put(batch, handle, key, (struct peat_bytes){play->value, value.size}));
    pt_oracle_put(model, key, value, play->commit);
}

static void add_delete(struct play *play, struct peat_batch *batch)
{
    struct peat_collection *handle;
    struct pt_oracle_collection *model = pick(play, &handle);
    char text[32];
    struct peat_bytes key = key_of(text, pt_dice_below(&play->dice, KEYS));

    PT_REQUIRE_OK(peat_batch_delete(batch, handle, key));
    pt_oracle_delete(model, key, play->commit);
}

static void add_delete_range(struct play *play, struct peat_batch *batch)
{
    struct peat_collection *handle;
    struct pt_oracle_collection *model = pick(play, &handle);
    uint64_t low = pt_dice_below(&play->dice, KEYS);
    char low_text[32];
    char high_text[32];
    struct peat_bytes low_key = key_of(low_text, low);
    struct peat_bytes high_key = key_of(high_text, low + 1 + pt_dice_below(&play->dice, 60));

    PT_REQUIRE_OK(peat_batch_delete_range(batch, handle, low_key, high_key));
    pt_oracle_delete_range(model, low_key, high_key, play->commit);
}

static void write_batch(struct play *play)
{
    struct peat_batch *batch = peat_batch_new(0);
    uint64_t count = 1 + pt_dice_below(&play->dice, 40);
    uint64_t commit;

    play->commit++;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t roll = pt_dice_below(&play->dice, 20);

        if (roll < 14)
            add_put(play, batch);
        else if (roll < 19)
            add_delete(play, batch);
        else
            add_delete_range(play, batch);
    }
    PT_REQUIRE_OK(peat_write(play->db, batch, PEAT_DEFAULT, &commit));
    PT_REQUIRE(commit == play->commit);
    peat_batch_free(batch);
}

static void slot_forget(struct play *play, int number)
{
    for (int i = 0; i < SLOTS; i++) {
        if (play->slots[i].parent == number && play->slots[i].model != NULL)
            slot_forget(play, i);
    }
    peat_collection_close(play->slots[number].handle);
    play->slots[number].handle = NULL;
    play->slots[number].model = NULL;
}

/* Make a collection that is not there, or now and then drop one that is. */
static void change_collections(struct play *play)
{
    int number = (int)pt_dice_below(&play->dice, SLOTS);
    struct slot *slot = &play->slots[number];
    struct slot *parent = slot->parent < 0 ? NULL : &play->slots[slot->parent];

    if (slot->model == NULL) {
        if (parent != NULL && parent->model == NULL)
            return;
        PT_REQUIRE_OK(peat_collection_open(play->db, parent == NULL ? NULL : parent->handle,
                                           slot->name, PEAT_CREATE, &slot->handle));
        slot->model = pt_oracle_create(parent == NULL ? play->model : parent->model, slot->name,
                                       ++play->commit);
    } else if (pt_dice_one_in(&play->dice, 3)) {
        PT_REQUIRE_OK(peat_collection_drop(play->db, slot->handle));
        pt_oracle_drop(slot->model, ++play->commit);
        slot_forget(play, number);
    }
}

static void change(struct play *play)
{
    uint64_t batches = pt_dice_below(&play->dice, 40);

    for (uint64_t i = 0; i < batches; i++) {
        if (pt_dice_one_in(&play->dice, 8))
            change_collections(play);
        write_batch(play);
        if (pt_dice_one_in(&play->dice, 20))
            PT_REQUIRE_OK(peat_flush(play->db));
    }
    if (pt_dice_one_in(&play->dice, 3))
        PT_REQUIRE_OK(peat_wait_idle(play->db, 60000));
}

/* ---- Backups ---- */

static bool bytes_take(void *context, const void *data, size_t size)
{
    return fwrite(data, 1, size, context) == size;
}

/* Of @p snapshot (NULL: the newest) into @p link's path, by file or by stream. */
static void take(struct play *play, struct peat_db *db, const struct peat_snapshot *snapshot,
                 struct link *link, const char *const *since, size_t since_count)
{
    struct peat_backup_options options;
    FILE *file = NULL;

    peat_backup_options_init(&options);
    options.since = since;
    options.since_count = since_count;
    link->info.struct_size = sizeof(link->info);
    if (pt_dice_one_in(&play->dice, 2)) {
        options.path = link->path;
    } else {
        file = fopen(link->path, "wbx");
        PT_REQUIRE(file != NULL);
        options.write = bytes_take;
        options.context = file;
    }
    PT_REQUIRE_OK(peat_backup(db, snapshot, &options, &link->info));
    if (file != NULL)
        PT_REQUIRE(fclose(file) == 0);
}

static void digest_require(struct peat_db *db, uint64_t commit, const uint8_t digest[32])
{
    struct peat_snapshot *snapshot;
    uint8_t found[32];

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE(peat_snapshot_commit(snapshot) == commit);
    PT_REQUIRE_OK(peat_digest(snapshot, NULL, NULL, found, NULL));
    PT_REQUIRE(memcmp(found, digest, sizeof(found)) == 0);
    peat_snapshot_close(snapshot);
}

/* The store @p path holds what the model held at the commit of @p link. */
static void store_require(struct play *play, const char *path, const struct link *link)
{
    struct peat_options options =
        pt_test_options(pt_dice_one_in(&play->dice, 2) ? PEAT_READ_ONLY : 0);
    struct peat_snapshot *snapshot;
    struct pt_oracle_view view;
    struct pt_tree *tree;
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(path, &options, &db));
    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    PT_REQUIRE(peat_snapshot_commit(snapshot) == link->commit);
    tree = pt_tree_open(db, snapshot);
    PT_REQUIRE(pt_tree_fingerprint(tree, snapshot) ==
               pt_oracle_fingerprint(play->model, link->commit));
    pt_tree_close(tree);
    pt_oracle_view_init(&view, play->model, link->commit, NULL);
    pt_compare_scan(snapshot, NULL, &view);
    pt_oracle_view_fini(&view);
    peat_snapshot_close(snapshot);
    pt_compare_check(db);
    digest_require(db, link->commit, link->info.digest);
    PT_REQUIRE_OK(peat_close(db));
}

/* The first @p count links restore to the state of the last of them. */
static void restore_require(struct play *play, size_t count)
{
    const struct link *last = &play->chain[count - 1];
    struct peat_backup_info info = {.struct_size = sizeof(info)};
    const char *paths[CHAIN_MAX];
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), "%s", pt_test_path("restored"));
    for (size_t i = 0; i < count; i++)
        paths[i] = play->chain[i].path;
    PT_REQUIRE_OK(peat_restore(path, paths, count, NULL, NULL, &info));
    PT_REQUIRE(!info.is_increment && info.commit == last->commit);
    PT_REQUIRE(memcmp(info.digest, last->info.digest, sizeof(info.digest)) == 0);
    PT_REQUIRE(memcmp(info.store_id, last->info.store_id, sizeof(info.store_id)) == 0);
    PT_REQUIRE(info.entry_count == last->info.entry_count && info.time_us == last->info.time_us);
    store_require(play, path, last);
    PT_REQUIRE(unlink(path) == 0);
}

/* Add a link to the chain: of the newest commit or of a snapshot that was held meanwhile, through
 * the writer or the reader. */
static void chain_grow(struct play *play)
{
    struct link *link = &play->chain[play->chain_count];
    struct peat_db *db = pt_dice_one_in(&play->dice, 2) ? play->reader : play->db;
    struct peat_snapshot *snapshot = NULL;
    const char *since[CHAIN_MAX];

    (void)snprintf(link->path, sizeof(link->path), "%s-%u", pt_test_path("backup"),
                   play->file_count++);
    for (size_t i = 0; i < play->chain_count; i++)
        since[i] = play->chain[i].path;
    PT_REQUIRE_OK(peat_refresh(play->reader));
    link->commit = play->commit;
    if (pt_dice_one_in(&play->dice, 2)) {
        PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
        change(play);
    }
    take(play, db, snapshot, link, since, play->chain_count);
    PT_REQUIRE(link->info.commit == link->commit);
    PT_REQUIRE(link->info.is_increment == (play->chain_count > 0));
    if (snapshot == NULL)
        digest_require(db, link->commit, link->info.digest);
    peat_snapshot_close(snapshot);
    play->chain_count++;
}

static void restore_refuses(const char *const *paths, size_t count)
{
    const char *path = pt_test_path("refused");

    PT_REQUIRE_STATUS(peat_restore(path, paths, count, NULL, NULL, NULL), PEAT_INVALID);
    PT_REQUIRE(access(path, F_OK) != 0);
}

static void wrong_orders_are_refused(const struct play *play)
{
    const struct link *chain = play->chain;
    const char *no_base[] = {chain[1].path};
    const char *gap[] = {chain[0].path, chain[2].path};
    const char *twice[] = {chain[0].path, chain[1].path, chain[1].path};
    const char *swapped[] = {chain[0].path, chain[2].path, chain[1].path};
    const char *two_full[] = {chain[0].path, chain[0].path};

    /* Where nothing changed, an increment may stand on either side of it. */
    for (size_t i = 1; i < CHAIN_MAX; i++) {
        if (chain[i].commit == chain[i - 1].commit)
            return;
    }
    restore_refuses(no_base, 1);
    restore_refuses(gap, 2);
    restore_refuses(twice, 3);
    restore_refuses(swapped, 3);
    restore_refuses(two_full, 2);
}

/* ---- The play ---- */

static void play_open(struct play *play, uint64_t seed)
{
    static const struct slot slots[SLOTS] = {
        {"a", -1, NULL, NULL}, {"b", -1, NULL, NULL}, {"a", 0, NULL, NULL}, {"c", 2, NULL, NULL}};
    struct peat_options options = pt_test_options(PEAT_CREATE);

    memset(play, 0, sizeof(*play));
    memcpy(play->slots, slots, sizeof(slots));
    play->dice.state = seed;
    play->model = pt_oracle_new();
    play->value = malloc(VALUE_SIZE_MAX);
    PT_REQUIRE(play->value != NULL);
    (void)snprintf(play->path, sizeof(play->path), "%s", pt_test_path("store"));
    pt_test_options_tiny(&options);
    if (pt_dice_one_in(&play->dice, 3))
        options.flags |= PEAT_LOG_PWRITE;
    PT_REQUIRE_OK(peat_open(play->path, &options, &play->db));
    options.flags = PEAT_READ_ONLY;
    PT_REQUIRE_OK(peat_open(play->path, &options, &play->reader));
}

static void play_close(struct play *play)
{
    for (int i = 0; i < SLOTS; i++)
        peat_collection_close(play->slots[i].handle);
    PT_REQUIRE_OK(peat_close(play->reader));
    PT_REQUIRE_OK(peat_close(play->db));
    for (size_t i = 0; i < play->chain_count; i++)
        PT_REQUIRE(unlink(play->chain[i].path) == 0);
    PT_REQUIRE(unlink(play->path) == 0);
    pt_oracle_free(play->model);
    free(play->value);
}

static void a_chain_restores_to_every_state_that_it_was_taken_of(void **state)
{
    uint64_t seed = pt_test_seed();
    struct play play;

    (void)state;
    for (unsigned round = 0; round < rounds_wanted; round++) {
        pt_test_context("seed %llu, round %u", (unsigned long long)seed, round);
        play_open(&play, seed + round);
        while (play.chain_count < CHAIN_MAX) {
            change(&play);
            chain_grow(&play);
            restore_require(&play, play.chain_count);
        }
        wrong_orders_are_refused(&play);
        play_close(&play);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_restores_to_every_state_that_it_was_taken_of),
    };
    int failed;

    pt_test_start();
    rounds_wanted = (unsigned)pt_test_number("PEAT_ROUNDS", ROUNDS_DEFAULT);
    if (argc > 1)
        rounds_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

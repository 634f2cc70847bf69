/*
 * The property: whenever a process is killed while it persists, drops and reverts, the store shows
 * either what it did before that or what it does after, and so do its kept states; and one that is
 * damaged harms nothing but itself.
 *
 *     test_history_crash [ROUNDS]
 */
#include "tests/compare.h"
#include "tests/fixture.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 30, KEYS = 300, NAMES = 6, VALUE_SIZE = 120, NAME_SIZE = 16 };

/* ---- A store whose every value tells the commit that wrote it ---- */

static void write_all(struct peat_db *db, uint64_t mark, uint64_t *commit_out)
{
    struct peat_batch *batch = peat_batch_new(0);

    PT_REQUIRE(batch != NULL);
    for (unsigned i = 0; i < KEYS; i++) {
        char text[16];
        void *value;

        (void)snprintf(text, sizeof(text), "key%04u", i);
        PT_REQUIRE_OK(peat_batch_put_reserve(batch, NULL, pt_text(text), VALUE_SIZE, &value));
        pt_value_fill(mark * KEYS + i, value, VALUE_SIZE);
    }
    PT_REQUIRE_OK(peat_write(db, batch, PEAT_OS, commit_out));
    peat_batch_free(batch);
}

/* Everything there is was written by commit @p mark; 0: there is nothing. */
static void require_mark(const struct peat_snapshot *snapshot, uint64_t mark)
{
    struct peat_iterator *iterator;
    enum peat_status status;
    uint64_t i = 0;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, NULL, NULL, &iterator));
    for (status = peat_iterator_first(iterator); status == PEAT_OK;
         status = peat_iterator_next(iterator))
        PT_REQUIRE(pt_value_matches(mark * KEYS + i++, peat_iterator_value(iterator)));
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    PT_REQUIRE(i == (mark == 0 ? 0 : KEYS));
    peat_iterator_close(iterator);
}

static uint64_t require_newest_mark(struct peat_db *db, uint64_t mark)
{
    struct peat_snapshot *snapshot;
    uint64_t commit;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    require_mark(snapshot, mark);
    commit = peat_snapshot_commit(snapshot);
    peat_snapshot_close(snapshot);
    return commit;
}

static const char *name_of(char text[NAME_SIZE], unsigned number)
{
    (void)snprintf(text, NAME_SIZE, "state %u", number);
    return text;
}

/* ---- What is known of it ---- */

/* The store at one moment. */
struct known {
    uint64_t commit;
    uint64_t mark;
    uint64_t names[NAMES]; /* the mark that each kept state shows, plus one; 0: there is none */
};

static bool shows(struct peat_db *db, const struct known *known)
{
    struct peat_snapshot *snapshot;
    char text[NAME_SIZE];
    uint64_t commit;

    PT_REQUIRE_OK(peat_snapshot_open(db, &snapshot));
    commit = peat_snapshot_commit(snapshot);
    peat_snapshot_close(snapshot);
    if (commit != known->commit)
        return false;
    for (unsigned i = 0; i < NAMES; i++) {
        enum peat_status status = peat_history_open(db, name_of(text, i), 0, &snapshot);

        if (status == PEAT_NOT_FOUND && known->names[i] == 0)
            continue;
        if (status == PEAT_NOT_FOUND || known->names[i] == 0) {
            peat_snapshot_close(snapshot);
            return false;
        }
        PT_REQUIRE_OK(status);
        require_mark(snapshot, known->names[i] - 1);
        peat_snapshot_close(snapshot);
    }
    (void)require_newest_mark(db, known->mark);
    return true;
}

/* ---- The child ---- */

struct orders {
    char path[512];
    struct peat_options options;
    uint64_t seed;
    int fd; /* before each change: what will be; after it: the same again */
    struct known known;
};

/* Do one thing, of which @p after tells what comes of it. */
static void do_one(struct peat_db *db, uint64_t kind, unsigned number, const struct known *after)
{
    char text[NAME_SIZE];
    uint64_t commit = 0;

    switch (kind) {
    case 0:
        PT_REQUIRE_OK(peat_snapshot_persist(db, name_of(text, number), NULL));
        break;
    case 1:
        PT_REQUIRE_OK(peat_history_drop(db, name_of(text, number), 0));
        break;
    case 2:
        PT_REQUIRE_OK(peat_revert(db, name_of(text, number), 0, &commit));
        PT_REQUIRE(commit == after->commit);
        break;
    default:
        write_all(db, after->mark, &commit);
        PT_REQUIRE(commit == after->commit);
        break;
    }
}

static void child_run(void *context)
{
    struct orders *orders = context;
    struct known *known = &orders->known;
    struct pt_dice dice = {orders->seed};
    struct peat_db *db;

    PT_REQUIRE_OK(peat_open(orders->path, &orders->options, &db));
    PT_REQUIRE(pt_pipe_write(orders->fd, known, sizeof(*known)));
    for (;;) {
        unsigned number = (unsigned)pt_dice_below(&dice, NAMES);
        uint64_t kind = pt_dice_below(&dice, 6);

        if (kind < 3 && (kind == 0) != (known->names[number] == 0))
            kind = 3;
        if (kind == 0)
            known->names[number] = known->mark + 1;
        else if (kind == 1)
            known->names[number] = 0;
        else if (kind == 2)
            known->mark = known->names[number] - 1;
        if (kind >= 2)
            known->commit++;
        if (kind >= 3)
            known->mark = known->commit;
        PT_REQUIRE(pt_pipe_write(orders->fd, known, sizeof(*known)));
        do_one(db, kind, number, known);
        PT_REQUIRE(pt_pipe_write(orders->fd, known, sizeof(*known)));
    }
}

/* ---- The parent ---- */

/* What the child said: all its messages, until it was killed after @p span_us. The last two of them:
 * before and after the change that was under way, or the same twice. */
static void child_watch(struct orders *orders, uint64_t span_us, struct known last[2])
{
    struct pollfd waiting = {.events = POLLIN};
    struct known message;
    uint64_t until_us = UINT64_MAX; /* from the first message on it is known */
    uint64_t count = 0;
    int fds[2];
    pid_t child;
    bool alive = true;

    PT_REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    orders->fd = fds[1];
    child = pt_child_start(child_run, orders);
    (void)close(fds[1]);
    waiting.fd = fds[0];
    for (;;) {
        if (alive && count > 0 && pt_test_now_us() >= until_us) {
            pt_child_kill(child);
            alive = false;
        }
        if (alive && poll(&waiting, 1, 1) <= 0)
            continue;
        if (!pt_pipe_read(fds[0], &message, sizeof(message)))
            break;
        if (count++ == 0)
            until_us = pt_test_now_us() + span_us;
        last[0] = count == 1 ? message : last[1];
        last[1] = message;
    }
    PT_REQUIRE(!alive);
    (void)close(fds[0]);
    PT_REQUIRE(count > 0);
}

static unsigned rounds_wanted = ROUNDS;

static void a_killed_persist_drop_or_revert_is_done_or_not_at_all(void **state)
{
    uint64_t seed = pt_test_seed();
    struct pt_dice dice = {seed};
    struct orders orders = {.options = pt_test_options(PEAT_CREATE)};
    struct known last[2];
    (void)state;

    pt_test_options_tiny(&orders.options);
    (void)snprintf(orders.path, sizeof(orders.path), "%s", pt_test_path("killed"));
    for (unsigned round = 0; round < rounds_wanted; round++) {
        struct peat_db *db;

        pt_test_context("PEAT_SEED=%" PRIu64 ", round %u", seed, round);
        orders.seed = pt_dice_next(&dice);
        orders.options.history_count = 1 + (unsigned)pt_dice_below(&dice, 3);
        child_watch(&orders, pt_dice_below(&dice, 60000), last);
        PT_REQUIRE_OK(peat_open(orders.path, &orders.options, &db));
        if (!shows(db, &last[0]))
            PT_REQUIRE(shows(db, &last[1]));
        else
            last[1] = last[0];
        pt_compare_check(db);
        PT_REQUIRE_OK(pt_dice_one_in(&dice, 2) ? peat_close(db) : peat_abort(db));
        orders.known = last[1];
    }
    pt_test_context("%s", "");
    (void)unlink(orders.path);
}

/* ---- Damage ---- */

enum { MANIFEST_GENERATION_OFFSET = 40, REGION = 65536 };

/* Spoil every manifest in the file but the newest. */
static void spoil_old_manifests(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    uint64_t newest = 0;
    unsigned spoilt = 0;

    PT_REQUIRE(fd >= 0);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (off_t offset = REGION; offset < size; offset += REGION) {
            uint8_t header[64];
            uint64_t generation;

            if (pread(fd, header, sizeof(header), offset) != sizeof(header) ||
                memcmp(header, "PEATMAN1", 8) != 0)
                continue;
            memcpy(&generation, header + MANIFEST_GENERATION_OFFSET, 8);
            if (pass == 0 && generation > newest)
                newest = generation;
            if (pass == 1 && generation != newest) {
                header[60] ^= 1;
                PT_REQUIRE(pwrite(fd, header, sizeof(header), offset) == sizeof(header));
                spoilt++;
            }
        }
    }
    PT_REQUIRE(spoilt > 0);
    PT_REQUIRE(close(fd) == 0);
}

static bool count_damaged(void *context, const struct peat_history_entry *entry)
{
    unsigned *counts = context;

    counts[entry->is_damaged]++;
    return true;
}

static void require_counts(struct peat_db *db, unsigned sound, unsigned damaged)
{
    unsigned counts[2] = {0, 0};

    PT_REQUIRE_OK(peat_history_list(db, count_damaged, counts));
    assert_int_equal(counts[false], sound);
    assert_int_equal(counts[true], damaged);
}

static void a_damaged_state_is_listed_and_can_only_be_dropped(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_snapshot *snapshot;
    struct peat_options options = pt_test_options(PEAT_CREATE);

    pt_test_options_tiny(&options);
    write_all(fixture->db, 1, NULL);
    PT_REQUIRE_OK(peat_snapshot_persist(fixture->db, "one", NULL));
    write_all(fixture->db, 2, NULL);
    PT_REQUIRE_OK(peat_snapshot_persist(fixture->db, "two", NULL));
    write_all(fixture->db, 3, NULL);
    PT_REQUIRE_OK(peat_close(fixture->db));
    spoil_old_manifests(fixture->path);
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
    for (unsigned turn = 0; turn < 2; turn++) {
        require_counts(fixture->db, 1, 2);
        (void)require_newest_mark(fixture->db, 3 + turn);
        PT_REQUIRE_STATUS(peat_history_open(fixture->db, "one", 0, &snapshot), PEAT_CORRUPT);
        PT_REQUIRE_STATUS(peat_revert(fixture->db, "two", 0, NULL), PEAT_CORRUPT);
        PT_REQUIRE_STATUS(peat_snapshot_persist(fixture->db, "two", NULL), PEAT_EXISTS);
        write_all(fixture->db, 4 + turn, NULL);
        (void)require_newest_mark(fixture->db, 4 + turn);
        PT_REQUIRE_STATUS(peat_check(fixture->db, NULL, NULL, NULL), PEAT_CORRUPT);
        pt_fixture_reopen(fixture, turn == 0);
    }
    PT_REQUIRE_OK(peat_history_drop(fixture->db, "one", 0));
    PT_REQUIRE_OK(peat_history_drop(fixture->db, "two", 0));
    require_counts(fixture->db, 1, 0);
    pt_compare_check(fixture->db);
    PT_REQUIRE_OK(peat_snapshot_persist(fixture->db, "two", NULL));
    pt_fixture_reopen(fixture, true);
    require_counts(fixture->db, 1, 0);
    (void)require_newest_mark(fixture->db, 5);
}

static void damage_in_what_a_state_alone_refers_to_harms_it_alone(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_READ_ONLY);
    struct peat_snapshot *snapshot;
    struct peat_bytes value;

    write_all(fixture->db, 1, NULL);
    pt_fixture_put(fixture, "key0000", "a value to be found");
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE_OK(peat_snapshot_persist(fixture->db, "one", NULL));
    write_all(fixture->db, 2, NULL);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
    PT_REQUIRE_OK(peat_close(fixture->db));
    pt_test_spoil(fixture->path, pt_text("a value to be found"));
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
    (void)require_newest_mark(fixture->db, 2);
    require_counts(fixture->db, 2, 0);
    PT_REQUIRE_STATUS(peat_check(fixture->db, NULL, NULL, NULL), PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_history_open(fixture->db, "one", 0, &snapshot));
    PT_REQUIRE_STATUS(peat_get(snapshot, NULL, pt_text("key0000"), &value), PEAT_CORRUPT);
    peat_snapshot_close(snapshot);
}

static void a_reader_of_a_state_that_is_damaged_then_keeps_what_it_sees(void **state)
{
    struct pt_fixture *fixture = *state;
    struct peat_options options = pt_test_options(PEAT_CREATE);
    struct peat_options reading = pt_test_options(PEAT_READ_ONLY);
    struct peat_snapshot *snapshot;
    struct peat_snapshot *none;
    struct peat_db *reader;

    pt_test_options_tiny(&options);
    write_all(fixture->db, 1, NULL);
    PT_REQUIRE_OK(peat_snapshot_persist(fixture->db, "one", NULL));
    write_all(fixture->db, 2, NULL);
    PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000)); /* now they share nothing */
    PT_REQUIRE_OK(peat_close(fixture->db));
    PT_REQUIRE_OK(peat_open(fixture->path, &reading, &reader));
    PT_REQUIRE_OK(peat_history_open(reader, "one", 0, &snapshot));
    spoil_old_manifests(fixture->path);
    PT_REQUIRE_STATUS(peat_history_open(reader, "one", 0, &none), PEAT_CORRUPT);
    PT_REQUIRE_OK(peat_open(fixture->path, &options, &fixture->db));
    for (uint64_t turn = 0; turn < 5; turn++) {
        write_all(fixture->db, 10 + turn, NULL);
        PT_REQUIRE_OK(peat_wait_idle(fixture->db, 60000));
        require_mark(snapshot, 1);
        PT_REQUIRE_OK(peat_refresh(reader));
        (void)require_newest_mark(reader, 10 + turn);
    }
    pt_fixture_rewrite(fixture, 20); /* whatever is free is used again */
    require_mark(snapshot, 1);
    require_counts(reader, 1, 1);
    peat_snapshot_close(snapshot);
    PT_REQUIRE_OK(peat_close(reader));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_persist_drop_or_revert_is_done_or_not_at_all),
        PT_FIXTURE_TEST(a_damaged_state_is_listed_and_can_only_be_dropped),
        PT_FIXTURE_TEST(damage_in_what_a_state_alone_refers_to_harms_it_alone),
        PT_FIXTURE_TEST(a_reader_of_a_state_that_is_damaged_then_keeps_what_it_sees),
    };
    int failed;

    pt_test_start();
    rounds_wanted = (unsigned)pt_test_number("PEAT_ROUNDS", ROUNDS);
    if (argc > 1)
        rounds_wanted = (unsigned)strtoul(argv[1], NULL, 0);
    failed = cmocka_run_group_tests_name("history crash", tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

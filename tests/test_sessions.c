/*
 * What a peer with a key can do to a session is what the protocol lets it: a primary's session is driven by a follower, and
 * a follower's by a primary, that say what they like. No sockets or clocks: bytes and time come from here.
 */
#include "repl/fork.h"
#include "repl/records.h"
#include "tests/scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { EPOCH_MAX = 8191 };

/* ---- Memory that there is not ---- */

static size_t failing_size = SIZE_MAX; /* bytes: nobody gets so many */

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_realloc(void *memory, size_t size)
{
    return size == failing_size ? NULL : __real_realloc(memory, size);
}

/* ---- What is said ---- */

static void write_some(struct peat_db *db, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
}

static void hello_flags(struct pt_scene *scene, const char *name, struct peat_position position,
                        uint64_t credit, struct pt_epochs epochs, uint32_t flags)
{
    struct pt_hello message = {.position = position,
                               .credit = credit,
                               .flags = PT_HELLO_SEALS | flags,
                               .name = pt_text(name),
                               .epochs = epochs};
    uint8_t body[PT_HELLO_SIZE_MAX];
    size_t size;

    PT_REQUIRE(pt_hello_encode(&message, body, sizeof(body), &size) == NULL);
    pt_scene_say(scene, PT_MESSAGE_HELLO, body, size);
}

static void hello_of(struct pt_scene *scene, const char *name, struct peat_position position,
                     uint64_t credit, struct pt_epochs epochs)
{
    hello_flags(scene, name, position, credit, epochs, 0);
}

static void hello(struct pt_scene *scene, const char *name, struct peat_position position,
                  uint64_t credit)
{
    hello_of(scene, name, position, credit, (struct pt_epochs){NULL, 0});
}

static enum pt_verdict verdict_of(const struct pt_scene *scene)
{
    struct pt_welcome message;

    PT_REQUIRE(scene->counts[PT_MESSAGE_WELCOME] == 1);
    PT_REQUIRE(pt_welcome_decode(pt_scene_body(scene, PT_MESSAGE_WELCOME), &message) == NULL);
    return message.verdict;
}

static void acknowledge(struct pt_scene *scene, struct pt_ack ack)
{
    struct pt_wire_ack body;

    PT_REQUIRE(pt_ack_encode(&ack, &body) == NULL);
    pt_scene_say(scene, PT_MESSAGE_ACK, &body, sizeof(body));
}

static void welcome_of(struct pt_scene *scene, enum pt_verdict verdict, struct pt_epochs epochs)
{
    struct pt_welcome message = {
        .verdict = verdict, .words = pt_text("so it is"), .epochs = epochs};
    uint8_t body[PT_WELCOME_SIZE_MAX];
    size_t size;

    PT_REQUIRE(pt_welcome_encode(&message, body, sizeof(body), &size) == NULL);
    pt_scene_say(scene, PT_MESSAGE_WELCOME, body, size);
}

static void welcome(struct pt_scene *scene, enum pt_verdict verdict)
{
    welcome_of(scene, verdict, (struct pt_epochs){NULL, 0});
}

/* ---- A primary's ---- */

static uint64_t noted_commit;

static bool note_acknowledged(void *context, const struct peat_feed_info *info)
{
    if (strcmp(info->name, context) == 0)
        noted_commit = info->acknowledged;
    return true;
}

static uint64_t acknowledged_of(struct peat_db *db, char *name)
{
    noted_commit = UINT64_MAX;
    PT_REQUIRE_OK(peat_feed_list(db, note_acknowledged, name));
    return noted_commit;
}

static void a_follower_gets_no_feed_that_is_the_programs(void **state)
{
    char name[] = "billing";
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct peat_feed *feed;
    struct pt_scene *scene;
    (void)state;

    PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_NEXT, name, 0, &feed));
    peat_feed_close(feed);
    write_some(db, 10);
    scene = pt_scene_primary(db);
    hello(scene, name, (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
    assert_int_equal(verdict_of(scene), PT_VERDICT_REFUSED);
    assert_int_equal(scene->base->end, PT_PEER_REFUSED);
    assert_int_equal(acknowledged_of(db, name), 0);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_ACKNOWLEDGED, name, 0, &feed));
    peat_feed_close(feed);

    scene = pt_scene_primary(db);
    hello(scene, "one", (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
    assert_int_equal(verdict_of(scene), PT_VERDICT_TAIL);
    pt_scene_end(scene);
    scene = pt_scene_primary(db); /* its own it gets again */
    hello(scene, "one", (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
    assert_int_equal(verdict_of(scene), PT_VERDICT_TAIL);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_follower_makes_only_so_many_names(void **state)
{
    struct peat_db *db = pt_test_store_make("primary", 0);
    unsigned made = 0;
    bool refused = false;
    (void)state;

    while (!refused) {
        struct pt_scene *scene = pt_scene_primary(db);
        char name[32];

        (void)snprintf(name, sizeof(name), "name-%u", made);
        hello(scene, name, (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
        refused = verdict_of(scene) == PT_VERDICT_REFUSED;
        made += !refused;
        pt_scene_end(scene);
        PT_REQUIRE(made <= 2000);
    }
    assert_int_equal(made, 1024);
    PT_REQUIRE_OK(peat_close(db));
}

/* What @p ack ends in, of a follower that got ten commits, and has acknowledged four with 70,000 bytes of credit. */
static enum pt_peer_end end_after(struct pt_ack ack)
{
    char name[] = "one";
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct pt_scene *scene = pt_scene_primary(db);
    enum pt_peer_end end;

    write_some(db, 10);
    hello(scene, name, (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
    pt_scene_step(scene);
    pt_scene_hear(scene);
    PT_REQUIRE(scene->counts[PT_MESSAGE_RECORDS] > 0);
    acknowledge(scene, (struct pt_ack){4, 4, 4, 70000});
    assert_int_equal(acknowledged_of(db, name), 4);
    PT_REQUIRE(scene->base->end == PT_PEER_GOES_ON);
    acknowledge(scene, ack);
    end = scene->base->end;
    assert_int_equal(acknowledged_of(db, name), end == PT_PEER_GOES_ON ? ack.durable : 4);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
    return end;
}

static void only_what_was_sent_can_be_acknowledged_and_never_less_than_before(void **state)
{
    (void)state;

    assert_int_equal(end_after((struct pt_ack){10, 10, 10, 70000}), PT_PEER_GOES_ON);
    assert_int_equal(end_after((struct pt_ack){11, 4, 4, 70000}), PT_PEER_LOST);
    assert_int_equal(end_after((struct pt_ack){3, 3, 3, 70000}), PT_PEER_LOST);
    assert_int_equal(end_after((struct pt_ack){4, 3, 4, 70000}), PT_PEER_LOST);
    assert_int_equal(end_after((struct pt_ack){4, 4, 4, 69999}), PT_PEER_LOST);
    assert_int_equal(end_after((struct pt_ack){4, 4, 4, UINT64_MAX}), PT_PEER_GOES_ON);
}

static void nothing_is_sent_beyond_the_credit(void **state)
{
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct pt_scene *scene = pt_scene_primary(db);
    uint64_t sent = 0;
    (void)state;

    write_some(db, 100);
    hello(scene, "one", (struct peat_position){.commit = 0}, 10);
    assert_int_equal(scene->counts[PT_MESSAGE_RECORDS] + scene->counts[PT_MESSAGE_PART], 0);
    for (uint64_t credit = 100; credit < 3000; credit += 100) {
        unsigned count = scene->counts[PT_MESSAGE_RECORDS];

        acknowledge(scene, (struct pt_ack){.credit = credit});
        if (scene->counts[PT_MESSAGE_RECORDS] > count)
            sent += scene->sizes[PT_MESSAGE_RECORDS];
        assert_in_range(sent, 0, credit);
    }
    assert_int_not_equal(sent, 0);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

/* Else a follower that lacks any would ask for them for ever, and never for the state behind the gap. */
static void what_comes_before_a_gap_is_sent_before_it_is_told(void **state)
{
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct peat_position position;
    struct peat_record record = {.commit = 0};
    struct peat_bytes body;
    struct pt_scene *scene;
    size_t count;
    (void)state;

    write_some(db, 1);
    PT_REQUIRE_OK(peat_snapshot_persist(db, "kept", NULL));
    PT_REQUIRE_OK(peat_position_get(db, &position));
    for (unsigned i = 0; i < 2; i++) {
        scene = pt_scene_primary(db);
        hello(scene, "one", position, PT_SCENE_WINDOW_SIZE);
        if (i == 0) { /* so that its name keeps the log */
            pt_scene_end(scene);
            write_some(db, 2);
            PT_REQUIRE_OK(peat_revert(db, "kept", 0, NULL));
            continue;
        }
        pt_scene_step(scene);
        pt_scene_hear(scene);
        assert_int_equal(verdict_of(scene), PT_VERDICT_TAIL);
        assert_int_equal(scene->counts[PT_MESSAGE_RECORDS], 1);
        body = pt_scene_body(scene, PT_MESSAGE_RECORDS);
        assert_null(pt_records_check(body, &count));
        for (size_t place = 0; count > 0; count--)
            PT_REQUIRE(pt_records_next(body, &place, &record) == NULL);
        assert_int_equal(record.commit, 3); /* the revert is commit 4 */
        assert_int_equal(scene->base->end, PT_PEER_SEED);
        pt_scene_end(scene);
    }
    PT_REQUIRE_OK(peat_close(db));
}

/* It would be sent what comes before the damage, dial again, and so on for ever. */
static void where_the_log_is_damaged_a_follower_gets_a_state(void **state)
{
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct peat_position before = {.commit = 0};
    struct pt_scene *scene;
    (void)state;

    scene = pt_scene_primary(db); /* its name keeps the log */
    hello(scene, "one", before, PT_SCENE_WINDOW_SIZE);
    pt_scene_end(scene);
    write_some(db, 2);
    PT_REQUIRE_OK(peat_position_get(db, &before));
    pt_test_put(db, "damaged", "a value that is in the log alone");
    pt_test_spoil(pt_test_path("primary"), pt_text("a value that is in the log alone"));
    scene = pt_scene_primary(db);
    hello_flags(scene, "one", (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE,
                (struct pt_epochs){NULL, 0}, PT_HELLO_SEEDS);
    pt_scene_step(scene);
    pt_scene_hear(scene);
    assert_int_equal(verdict_of(scene), PT_VERDICT_TAIL); /* as far as it goes */
    assert_int_equal(scene->counts[PT_MESSAGE_RECORDS], 1);
    pt_scene_end(scene);
    for (unsigned i = 0; i < 2; i++) {
        scene = pt_scene_primary(db);
        hello_flags(scene, "one", before, PT_SCENE_WINDOW_SIZE, (struct pt_epochs){NULL, 0},
                    i == 0 ? 0 : PT_HELLO_SEEDS);
        assert_int_equal(verdict_of(scene), i == 0 ? PT_VERDICT_REFUSED : PT_VERDICT_SEED);
        pt_scene_end(scene);
    }
    PT_REQUIRE_OK(peat_close(db));
}

static void a_follower_says_hello_once_and_acknowledges_nothing_before(void **state)
{
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct pt_scene *scene = pt_scene_primary(db);
    (void)state;

    acknowledge(scene, (struct pt_ack){.credit = 1});
    assert_int_equal(scene->base->end, PT_PEER_LOST);
    pt_scene_end(scene);
    scene = pt_scene_primary(db);
    hello(scene, "one", (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
    hello(scene, "two", (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
    assert_int_equal(scene->base->end, PT_PEER_LOST);
    assert_int_equal(acknowledged_of(db, (char[]){"two"}), UINT64_MAX);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void only_a_store_that_does_not_follow_says_that_who_is_ahead_has_parted(void **state)
{
    static const unsigned flags[] = {0, PEAT_FOLLOWER};
    static const enum pt_verdict verdicts[] = {PT_VERDICT_FORKED, PT_VERDICT_REFUSED};
    (void)state;

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        struct peat_db *db = pt_test_store_make("primary", flags[i]);
        struct pt_scene *scene = pt_scene_primary(db);

        hello(scene, "one", (struct peat_position){.commit = 7, .position = 7000},
              PT_SCENE_WINDOW_SIZE);
        assert_int_equal(verdict_of(scene), verdicts[i]);
        assert_int_not_equal(scene->base->end, PT_PEER_GOES_ON);
        pt_scene_end(scene);
        PT_REQUIRE_OK(peat_close(db));
    }
}

static enum peat_role role_of(struct peat_db *db)
{
    enum peat_role role;

    PT_REQUIRE_OK(peat_role_get(db, &role));
    return role;
}

/* Epoch 1, and a newer one that begins at @p fork. */
static struct pt_epochs epochs_from(const struct peat_position *fork, uint64_t epoch)
{
    static struct pt_wire_epoch rows[2];
    struct peat_epoch row = {epoch, fork->commit + 1, fork->position, {0}};

    memcpy(row.chain, fork->chain, sizeof(row.chain));
    pt_epoch_put(&rows[0], (struct peat_epoch){1, 1, 0, {0}});
    pt_epoch_put(&rows[1], row);
    return (struct pt_epochs){rows, 2};
}

/* Whoever leaves its history gets a state; whoever says so, and has none to leave, the log as ever. */
static void who_rejoins_gets_a_state_where_the_histories_have_parted(void **state)
{
    (void)state;

    for (unsigned i = 0; i < 4; i++) {
        struct peat_db *db = pt_test_store_make("primary", PEAT_FOLLOWER);
        struct peat_db *old = pt_test_store_make("old", 0);
        struct pt_branch theirs;
        struct peat_record record;
        struct peat_feed *feed;
        struct pt_scene *scene;

        write_some(old, 3);
        PT_REQUIRE_OK(peat_feed_open(old, 1, NULL, PEAT_FEED_SEALS, &feed));
        while (peat_feed_next(feed, 0, &record) == PEAT_OK)
            PT_REQUIRE_OK(peat_apply(db, &record, 1, PEAT_OS, NULL));
        peat_feed_close(feed);
        PT_REQUIRE_OK(peat_promote(db, 0, NULL));
        PT_REQUIRE_OK(peat_feed_open(db, PEAT_FEED_NEXT, "one", PEAT_FEED_SEALS, &feed));
        peat_feed_close(feed);
        write_some(db, 1);
        if (i < 2)
            write_some(old, 5);
        PT_REQUIRE_OK(pt_branch_of(old, &theirs));
        scene = pt_scene_primary(db);
        hello_flags(scene, "one", theirs.end, PT_SCENE_WINDOW_SIZE, theirs.epochs,
                    i % 2 == 0 ? PT_HELLO_SEEDS : PT_HELLO_SEEDS | PT_HELLO_REJOIN);
        assert_int_equal(verdict_of(scene), i == 0   ? PT_VERDICT_FORKED
                                            : i == 1 ? PT_VERDICT_SEED
                                                     : PT_VERDICT_TAIL);
        pt_scene_end(scene);
        PT_REQUIRE_OK(peat_close(old));
        PT_REQUIRE_OK(peat_close(db));
    }
}

/* A commit at PEAT_REPLICAS must not return for a follower that is only about to be sent what holds it. */
static void who_is_given_a_state_counts_as_having_it_when_it_comes_back_with_it(void **state)
{
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct peat_position position;
    struct pt_scene *scene;
    char name[] = "one";
    (void)state;

    write_some(db, 3);
    PT_REQUIRE_OK(peat_flush(db));
    PT_REQUIRE_OK(peat_position_get(db, &position));
    scene = pt_scene_primary(db);
    hello_flags(scene, "one", (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE,
                (struct pt_epochs){NULL, 0}, PT_HELLO_SEEDS | PT_HELLO_STATE);
    assert_int_equal(verdict_of(scene), PT_VERDICT_SEED);
    assert_int_equal(acknowledged_of(db, name), 3); /* the log from there on is kept */
    PT_REQUIRE_STATUS(peat_wait_replicas(db, 1, 1, 0, NULL), PEAT_TIMEOUT);
    pt_scene_end(scene);
    PT_REQUIRE_STATUS(peat_wait_replicas(db, 1, 1, 0, NULL), PEAT_TIMEOUT);

    scene = pt_scene_primary(db);
    hello(scene, "one", position, PT_SCENE_WINDOW_SIZE);
    assert_int_equal(verdict_of(scene), PT_VERDICT_TAIL);
    PT_REQUIRE_OK(peat_wait_replicas(db, 3, 1, 0, NULL));
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

/* It is told by its end, or by its log, wherever the newer epoch begins there. */
static void a_primary_that_learns_of_a_newer_epoch_is_fenced(void **state)
{
    (void)state;

    for (unsigned beyond = 0; beyond < 2; beyond++) {
        struct peat_db *db = pt_test_store_make("primary", 0);
        struct peat_position fork;
        struct pt_scene *scene;

        write_some(db, 3);
        fork = pt_test_position(db);
        write_some(db, beyond);
        for (unsigned i = 0; i < 2; i++) { /* the second time it is known */
            scene = pt_scene_primary(db);
            hello_of(scene, "one", fork, PT_SCENE_WINDOW_SIZE, epochs_from(&fork, 2));
            assert_int_equal(verdict_of(scene), PT_VERDICT_REFUSED);
            assert_int_equal(role_of(db), PEAT_ROLE_FENCED);
            assert_int_equal(pt_primary_session_has_fenced(scene->primary), i == 0);
            PT_REQUIRE_STATUS(peat_put(db, NULL, pt_text("key"), pt_text("value")), PEAT_FENCED);
            pt_scene_end(scene);
        }
        PT_REQUIRE_OK(peat_close(db));
    }
}

static void a_strangers_epochs_fence_nobody(void **state)
{
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct peat_position fork;
    (void)state;

    write_some(db, 3);
    for (unsigned i = 0; i < 5; i++) {
        struct pt_scene *scene = pt_scene_primary(db);

        fork = pt_test_position(db);
        if (i == 0)
            fork.chain[5] ^= 1;
        else if (i == 1)
            fork.position++;
        else if (i == 2)
            fork.position--;
        else if (i == 3)
            fork = (struct peat_position){.commit = 7, .position = fork.position + 700};
        hello_of(scene, "one", fork, PT_SCENE_WINDOW_SIZE,
                 epochs_from(&fork, i < 4 ? 9 : EPOCH_MAX + 1));
        assert_int_equal(verdict_of(scene), i == 2 ? PT_VERDICT_FORKED : PT_VERDICT_REFUSED);
        assert_int_equal(role_of(db), PEAT_ROLE_PRIMARY);
        PT_REQUIRE(!pt_primary_session_has_fenced(scene->primary));
        pt_scene_end(scene);
    }
    write_some(db, 1);
    PT_REQUIRE_OK(peat_close(db));
}

static struct peat_db *reopen(struct peat_db *db, unsigned flags)
{
    struct peat_options options = pt_test_options(flags);

    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_open(pt_test_path("primary"), &options, &db));
    return db;
}

/* A primary in epoch 2 from commit 4 on, with two commits in it; *fork_out: where that begins. */
static struct peat_db *promoted_make(struct peat_position *fork_out)
{
    struct peat_db *db = pt_test_store_make("primary", 0);

    write_some(db, 3);
    db = reopen(db, PEAT_FOLLOWER);
    *fork_out = pt_test_position(db);
    PT_REQUIRE_OK(peat_promote(db, 0, NULL));
    write_some(db, 2);
    return db;
}

static void who_has_anything_beyond_the_fork_has_parted_and_who_has_not_follows(void **state)
{
    struct peat_position fork;
    struct peat_db *db = promoted_make(&fork);
    (void)state;

    for (unsigned i = 0; i < 3; i++) {
        struct pt_scene *scene = pt_scene_primary(db);
        struct peat_position theirs = fork;
        struct pt_epochs epochs = epochs_from(&fork, 2);

        if (i < 2)
            epochs.count = 1;
        if (i == 1)
            theirs.position += 72; /* a seal */
        hello_of(scene, "one", theirs, PT_SCENE_WINDOW_SIZE, epochs);
        assert_int_equal(verdict_of(scene), i == 1 ? PT_VERDICT_FORKED : PT_VERDICT_TAIL);
        assert_int_equal(scene->base->end, i == 1 ? PT_PEER_DIVERGED : PT_PEER_GOES_ON);
        pt_scene_end(scene);
    }
    assert_int_equal(role_of(db), PEAT_ROLE_PRIMARY);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_follower_follows_nobody_whose_epoch_is_over(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct peat_position fork;
    struct pt_scene *scene;
    (void)state;

    scene = pt_scene_follower(db); /* its history is a beginning of that */
    fork = (struct peat_position){.commit = 5, .position = 500};
    welcome_of(scene, PT_VERDICT_TAIL, epochs_from(&fork, 2));
    assert_int_equal(scene->base->end, PT_PEER_GOES_ON);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));

    db = reopen(promoted_make(&fork), PEAT_FOLLOWER);
    for (unsigned i = 0; i < 2; i++) {
        struct pt_epochs epochs = epochs_from(&fork, 3);

        scene = pt_scene_follower(db);
        epochs.count = i == 0 ? 1 : 2;
        welcome_of(scene, PT_VERDICT_TAIL, epochs);
        assert_int_equal(scene->base->end, i == 0 ? PT_PEER_REFUSED : PT_PEER_DIVERGED);
        pt_scene_end(scene);
    }
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Time ---- */

/* How long a session goes on whose peer sends a frame of 1 MiB, @p size bytes each second. */
static uint64_t heard_for(size_t size)
{
    static uint8_t body[PT_FRAME_BODY_MAX];
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct pt_scene *scene = pt_scene_primary(db);
    struct peat_bytes piece = {body, sizeof(body)};
    struct peat_bytes output;
    size_t place = 0;
    uint64_t seconds = 0;

    hello(scene, "one", (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
    PT_REQUIRE_OK(pt_channel_send(scene->peer, PT_MESSAGE_PART, &piece, 1, scene->now_us));
    output = pt_channel_output(scene->peer);
    while (scene->base->end == PT_PEER_GOES_ON && place + size < output.size) {
        pt_scene_take(scene, (const uint8_t *)output.data + place, size);
        place += size;
        seconds++;
        scene->now_us += 1000000;
        pt_scene_step(scene);
    }
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
    return seconds;
}

static void a_large_frame_on_a_slow_line_is_no_silence_but_a_trickle_is(void **state)
{
    (void)state;

    assert_int_equal(heard_for(16384), PT_FRAME_BODY_MAX / 16384);
    assert_in_range(heard_for(1), 3, 4);
}

static void a_peer_is_told_why_unless_it_has_fallen_silent(void **state)
{
    struct peat_db *db = pt_test_store_make("primary", 0);
    struct pt_scene *scene;
    (void)state;

    for (unsigned silent = 0; silent < 2; silent++) {
        scene = pt_scene_primary(db);
        hello(scene, "one", (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
        assert_int_equal(scene->base->end, PT_PEER_GOES_ON);
        if (silent == 1) {
            scene->now_us += PT_PEER_SILENCE_US;
            pt_scene_step(scene);
        } else {
            pt_scene_say(scene, PT_MESSAGE_WELCOME, "", 0);
        }
        assert_int_equal(scene->base->end, PT_PEER_LOST);
        assert_int_equal(scene->base->has_last_words, silent == 0);
        pt_scene_end(scene);
    }
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- A follower's ---- */

static void a_follower_dials_again_soon_only_after_what_was_of_use(void **state)
{
    struct peat_db *primary_db = pt_test_store_make("primary", 0);
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct pt_scene *primary;
    struct pt_scene *scene = pt_scene_follower(db);
    (void)state;

    welcome(scene, PT_VERDICT_TAIL);
    assert_true(pt_follower_session_is_following(scene->follower));
    pt_peer_cut(scene->base, "hung up");
    assert_false(pt_follower_session_was_of_use(scene->follower));
    pt_scene_end(scene);

    scene = pt_scene_follower(db); /* it lasts */
    welcome(scene, PT_VERDICT_TAIL);
    scene->now_us += 6000000;
    pt_scene_say(scene, PT_MESSAGE_WELCOME, "", 0);
    assert_int_equal(scene->base->end, PT_PEER_LOST);
    assert_true(pt_follower_session_was_of_use(scene->follower));
    pt_scene_end(scene);

    write_some(primary_db, 1); /* or it brings something */
    primary = pt_scene_primary(primary_db);
    hello(primary, "one", (struct peat_position){.commit = 0}, PT_SCENE_WINDOW_SIZE);
    PT_REQUIRE(primary->counts[PT_MESSAGE_RECORDS] == 1);
    scene = pt_scene_follower(db);
    welcome(scene, PT_VERDICT_TAIL);
    pt_scene_say(scene, PT_MESSAGE_RECORDS, primary->bodies[PT_MESSAGE_RECORDS],
                 primary->sizes[PT_MESSAGE_RECORDS]);
    pt_peer_cut(scene->base, "hung up");
    assert_true(pt_follower_session_was_of_use(scene->follower));
    pt_scene_end(scene);
    pt_scene_end(primary);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_close(primary_db));
}

static void a_follower_waits_longer_for_its_welcome_than_for_a_ping(void **state)
{
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    (void)state;

    for (unsigned is_welcome = 0; is_welcome < 2; is_welcome++) {
        struct pt_scene *scene = pt_scene_follower(db);

        if (is_welcome == 1)
            welcome(scene, PT_VERDICT_TAIL);
        scene->now_us += PT_PEER_SILENCE_US;
        pt_scene_step(scene);
        assert_int_equal(scene->base->end, is_welcome == 1 ? PT_PEER_LOST : PT_PEER_GOES_ON);
        scene->now_us += PT_PEER_WELCOME_US;
        pt_scene_step(scene);
        assert_int_equal(scene->base->end, PT_PEER_LOST);
        pt_scene_end(scene);
    }
    PT_REQUIRE_OK(peat_close(db));
}

static void a_follower_takes_nothing_before_it_is_welcome(void **state)
{
    static const enum pt_message_type types[] = {PT_MESSAGE_RECORDS, PT_MESSAGE_PART,
                                                 PT_MESSAGE_HELLO, PT_MESSAGE_ACK};
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    (void)state;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct pt_scene *scene = pt_scene_follower(db);

        pt_scene_say(scene, types[i], "x", 1);
        assert_int_equal(scene->base->end, PT_PEER_LOST);
        assert_int_equal(scene->counts[PT_MESSAGE_BYE], 1);
        pt_scene_end(scene);
    }
    PT_REQUIRE_OK(peat_close(db));
}

static void a_follower_without_memory_for_a_record_does_not_call_it_damaged(void **state)
{
    enum { PAYLOAD_SIZE = 12345, PIECE_SIZE = 7000 };
    static uint8_t body[sizeof(struct pt_wire_part) + PIECE_SIZE];
    struct pt_part part = {.record = {.kind = PEAT_RECORD_BATCH, .epoch = 1, .commit = 1},
                           .payload_size = PAYLOAD_SIZE,
                           .piece = {body, PIECE_SIZE}};
    struct peat_db *db = pt_test_store_make("follower", PEAT_FOLLOWER);
    struct pt_scene *scene = pt_scene_follower(db);
    (void)state;

    welcome(scene, PT_VERDICT_TAIL);
    PT_REQUIRE(pt_part_encode(&part, (struct pt_wire_part *)body) == NULL);
    failing_size = PAYLOAD_SIZE;
    pt_scene_say(scene, PT_MESSAGE_PART, body, sizeof(body));
    failing_size = SIZE_MAX;
    assert_int_equal(scene->base->end, PT_PEER_LOST);
    assert_int_equal(scene->counts[PT_MESSAGE_BYE], 1);
    PT_REQUIRE(strstr(scene->base->words, "no memory") != NULL);
    assert_false(scene->base->is_damaged);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_gets_no_feed_that_is_the_programs),
        cmocka_unit_test(a_follower_makes_only_so_many_names),
        cmocka_unit_test(only_what_was_sent_can_be_acknowledged_and_never_less_than_before),
        cmocka_unit_test(nothing_is_sent_beyond_the_credit),
        cmocka_unit_test(what_comes_before_a_gap_is_sent_before_it_is_told),
        cmocka_unit_test(where_the_log_is_damaged_a_follower_gets_a_state),
        cmocka_unit_test(a_follower_says_hello_once_and_acknowledges_nothing_before),
        cmocka_unit_test(only_a_store_that_does_not_follow_says_that_who_is_ahead_has_parted),
        cmocka_unit_test(who_rejoins_gets_a_state_where_the_histories_have_parted),
        cmocka_unit_test(who_is_given_a_state_counts_as_having_it_when_it_comes_back_with_it),
        cmocka_unit_test(a_primary_that_learns_of_a_newer_epoch_is_fenced),
        cmocka_unit_test(a_strangers_epochs_fence_nobody),
        cmocka_unit_test(who_has_anything_beyond_the_fork_has_parted_and_who_has_not_follows),
        cmocka_unit_test(a_follower_follows_nobody_whose_epoch_is_over),
        cmocka_unit_test(a_large_frame_on_a_slow_line_is_no_silence_but_a_trickle_is),
        cmocka_unit_test(a_peer_is_told_why_unless_it_has_fallen_silent),
        cmocka_unit_test(a_follower_dials_again_soon_only_after_what_was_of_use),
        cmocka_unit_test(a_follower_waits_longer_for_its_welcome_than_for_a_ping),
        cmocka_unit_test(a_follower_takes_nothing_before_it_is_welcome),
        cmocka_unit_test(a_follower_without_memory_for_a_record_does_not_call_it_damaged),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

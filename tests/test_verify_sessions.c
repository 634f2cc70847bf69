/*
 * What a peer with a key can do to either end of a comparison is what the protocol lets it: each end is driven by a peer that says what it
 * likes. And two ends that mean well come to an end while commits go on. No sockets or clocks: bytes and time come from here. PEAT_SEED=n repeats a run.
 */
#include "repl/sum_giver.h"
#include "tests/message_sample.h"
#include "tests/pair.h"
#include "tests/scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FOREIGN = 500, PINS_MAX = 100000 };

static struct peat_db *store_make(void)
{
    struct peat_db *db = pt_test_store_make("store", 0);

    for (uint8_t i = 0; i < 100; i++)
        PT_REQUIRE_OK(peat_put(db, NULL, (struct peat_bytes){&i, 1}, pt_text("value")));
    return db;
}

static void pin_say(struct pt_scene *scene, enum pt_message_type type, uint64_t commit)
{
    struct pt_wire_commit body;

    PT_REQUIRE(pt_commit_body_encode(commit, &body) == NULL);
    pt_scene_say(scene, type, &body, sizeof(body));
}

static void sum_say(struct pt_scene *scene)
{
    struct pt_bounds all = {.places = {{0, {NULL, 0}}, {PEAT_PLACE_END, {NULL, 0}}}, .count = 2};
    uint8_t body[PT_BOUNDS_SIZE_MAX];
    size_t size;

    PT_REQUIRE(pt_bounds_encode(&all, body, sizeof(body), &size) == NULL);
    pt_scene_say(scene, PT_MESSAGE_SUM, body, size);
}

static void sums_say(struct pt_scene *scene, size_t count)
{
    struct pt_sums sums = {.count = count};
    uint8_t body[PT_SUMS_SIZE_MAX];
    size_t size;

    for (size_t i = 0; i < count; i++)
        sums.sums[i].entry_count = FOREIGN;
    PT_REQUIRE(pt_sums_encode(&sums, body, sizeof(body), &size) == NULL);
    pt_scene_say(scene, PT_MESSAGE_SUMS, body, size);
}

/* ---- A primary's ---- */

static void a_primary_sums_up_what_is_pinned(void **state)
{
    struct peat_db *db = store_make();
    struct pt_scene *scene = pt_scene_primary(db);
    struct pt_sums sums;
    uint64_t commit;
    (void)state;

    pin_say(scene, PT_MESSAGE_PIN, 40);
    PT_REQUIRE(scene->counts[PT_MESSAGE_PINNED] == 1);
    PT_REQUIRE(pt_commit_body_decode(pt_scene_body(scene, PT_MESSAGE_PINNED), &commit) == NULL);
    PT_REQUIRE(commit == 40);
    sum_say(scene);
    PT_REQUIRE(scene->counts[PT_MESSAGE_SUMS] == 1);
    PT_REQUIRE(pt_sums_decode(pt_scene_body(scene, PT_MESSAGE_SUMS), &sums) == NULL);
    PT_REQUIRE(sums.count == 1 && sums.sums[0].entry_count == 40);
    pin_say(scene, PT_MESSAGE_PIN, 1000); /* which is not there */
    PT_REQUIRE(scene->base->end == PT_PEER_GOES_ON && scene->counts[PT_MESSAGE_PINNED] == 2);
    sum_say(scene);
    PT_REQUIRE(pt_sums_decode(pt_scene_body(scene, PT_MESSAGE_SUMS), &sums) == NULL);
    PT_REQUIRE(sums.sums[0].entry_count == 100);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_primary_sums_up_nothing_that_is_not_pinned(void **state)
{
    struct peat_db *db = store_make();
    struct pt_scene *scene = pt_scene_primary(db);
    (void)state;

    sum_say(scene);
    PT_REQUIRE(scene->base->end == PT_PEER_LOST && scene->counts[PT_MESSAGE_SUMS] == 0);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void who_compares_does_not_follow(void **state)
{
    struct pt_hello hello = {.name = {"one", 3}, .flags = PT_HELLO_SEALS};
    struct peat_db *db = store_make();
    uint8_t body[PT_HELLO_SIZE_MAX];
    size_t size;
    (void)state;

    PT_REQUIRE(pt_hello_encode(&hello, body, sizeof(body), &size) == NULL);
    for (unsigned i = 0; i < 2; i++) {
        struct pt_scene *scene = pt_scene_primary(db);

        for (unsigned j = 0; j < 2; j++) {
            PT_REQUIRE(scene->base->end == PT_PEER_GOES_ON);
            if (i == j)
                pin_say(scene, PT_MESSAGE_PIN, 1);
            else
                pt_scene_say(scene, PT_MESSAGE_HELLO, body, size);
        }
        PT_REQUIRE(scene->base->end == PT_PEER_LOST);
        pt_scene_end(scene);
    }
    PT_REQUIRE_OK(peat_close(db));
}

static void a_pin_that_nobody_uses_ends(void **state)
{
    struct peat_db *db = store_make();
    struct pt_scene *scene = pt_scene_primary(db);
    uint64_t until_us = scene->now_us + PT_SUM_LEASE_US;
    (void)state;

    pin_say(scene, PT_MESSAGE_PIN, 1);
    while (scene->now_us < until_us && scene->base->end == PT_PEER_GOES_ON) {
        struct pt_ping ping = {.time_us = 1};
        struct pt_wire_ping body;

        scene->now_us += PT_PEER_PING_US;
        PT_REQUIRE(pt_ping_encode(&ping, &body) == NULL);
        pt_scene_say(scene, PT_MESSAGE_PING, &body, sizeof(body));
    }
    PT_REQUIRE(scene->now_us >= until_us && scene->base->end == PT_PEER_LOST);
    PT_REQUIRE(strstr(scene->base->words, "too long") != NULL);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void answers_that_nobody_takes_are_not_kept_without_end(void **state)
{
    struct peat_db *db = store_make();
    struct pt_scene *scene = pt_scene_primary(db);
    unsigned asked = 0;
    (void)state;

    while (scene->base->end == PT_PEER_GOES_ON && asked < PINS_MAX) {
        struct pt_wire_commit body;
        struct peat_bytes piece = {&body, sizeof(body)};
        struct peat_bytes output;

        PT_REQUIRE(pt_commit_body_encode(1, &body) == NULL);
        for (unsigned i = 0; i < 100; i++, asked++)
            PT_REQUIRE_OK(pt_channel_send(scene->peer, PT_MESSAGE_PIN, &piece, 1, scene->now_us));
        output = pt_channel_output(scene->peer);
        pt_primary_session_receive(scene->primary, output.data, output.size, scene->now_us);
        pt_channel_output_taken(scene->peer, output.size);
    }
    PT_REQUIRE(asked < PINS_MAX);
    PT_REQUIRE(pt_channel_output(scene->base->channel).size < 2 * PT_PEER_OUTPUT_MAX);
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void whatever_comes_to_a_primary_it_goes_on_or_ends(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    struct peat_db *db = store_make();
    unsigned ended = 0;
    (void)state;

    for (unsigned i = 0; i < 300; i++) {
        static uint8_t body[PT_SAMPLE_SIZE_MAX];
        struct pt_scene *scene = pt_scene_primary(db);

        if (!pt_dice_one_in(&dice, 5))
            pin_say(scene, PT_MESSAGE_PIN, pt_dice_below(&dice, 200));
        for (unsigned j = 0; j < 10 && scene->base->end == PT_PEER_GOES_ON; j++) {
            uint8_t type = pt_dice_one_in(&dice, 4) ? PT_MESSAGE_PIN : PT_MESSAGE_SUM;
            size_t size = pt_sample_body(type, &dice, body);

            if (pt_dice_one_in(&dice, 3))
                body[pt_dice_below(&dice, size)] ^= (uint8_t)(1u << pt_dice_below(&dice, 8));
            if (pt_dice_one_in(&dice, 9))
                size = pt_dice_below(&dice, size);
            pt_scene_say(scene, type, body, size);
        }
        ended += scene->base->end != PT_PEER_GOES_ON;
        pt_scene_end(scene);
    }
    PT_REQUIRE(ended > 0 && ended < 300);
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- A verifier's ---- */

static void a_peer_that_says_that_all_differs_gets_an_end(void **state)
{
    struct peat_db *db = store_make();
    struct pt_scene *scene = pt_scene_verifier(db);
    unsigned asked = 0;
    (void)state;

    pin_say(scene, PT_MESSAGE_PINNED, 100);
    while (scene->base->end == PT_PEER_GOES_ON) {
        struct pt_bounds bounds;

        PT_REQUIRE(scene->counts[PT_MESSAGE_SUM] == ++asked && asked < PT_SCENE_TURNS_MAX);
        PT_REQUIRE(pt_bounds_decode(pt_scene_body(scene, PT_MESSAGE_SUM), &bounds) == NULL);
        sums_say(scene, bounds.count - 1);
    }
    PT_REQUIRE_OK(pt_verify_session_status(scene->verifier));
    PT_REQUIRE(pt_verify_session_result(scene->verifier)->range_count > 0);
    PT_REQUIRE(asked < 20); /* a hundred entries are divided so often */
    pt_scene_end(scene);
    PT_REQUIRE_OK(peat_close(db));
}

static void a_verifier_refuses_what_it_did_not_ask_for(void **state)
{
    struct peat_db *db = store_make();
    (void)state;

    for (unsigned i = 0; i < 5; i++) {
        struct pt_scene *scene = pt_scene_verifier(db);
        uint8_t byte = 0;

        if (i == 0) { /* sums before a commit */
            sums_say(scene, 1);
        } else if (i == 1) { /* too many */
            pin_say(scene, PT_MESSAGE_PINNED, 100);
            sums_say(scene, 2);
        } else if (i == 2) { /* two commits */
            pin_say(scene, PT_MESSAGE_PINNED, 100);
            pin_say(scene, PT_MESSAGE_PINNED, 100);
        } else if (i == 3) { /* too few */
            pin_say(scene, PT_MESSAGE_PINNED, 100);
            sums_say(scene, 1);
            sums_say(scene, 1);
        } else { /* what nobody sends to it */
            pt_scene_say(scene, PT_MESSAGE_CHUNK, &byte, 1);
        }
        PT_REQUIRE(scene->base->end == PT_PEER_LOST);
        PT_REQUIRE_STATUS(pt_verify_session_status(scene->verifier), PEAT_IO);
        pt_scene_end(scene);
    }
    PT_REQUIRE_OK(peat_close(db));
}

static void a_peer_that_never_comes_to_a_commit_is_given_up(void **state)
{
    struct peat_db *db = store_make();
    unsigned pins = 0;
    (void)state;

    for (unsigned i = 0; i < 2; i++) { /* ahead of what is here; behind what is in segments */
        struct pt_scene *scene = pt_scene_verifier(db);

        PT_REQUIRE_OK(peat_put(db, NULL, pt_text("key"), pt_text("value")));
        PT_REQUIRE_OK(peat_flush(db));
        for (unsigned j = 0; j < 100000 && scene->base->end == PT_PEER_GOES_ON; j++) {
            struct pt_wire_ping body;

            if (scene->counts[PT_MESSAGE_PIN] != pins) {
                pins = scene->counts[PT_MESSAGE_PIN];
                pin_say(scene, PT_MESSAGE_PINNED, i == 0 ? 1000000 : 0);
            }
            scene->now_us += 10000;
            PT_REQUIRE(pt_ping_encode(&(struct pt_ping){.time_us = 1}, &body) == NULL);
            pt_scene_say(scene, PT_MESSAGE_PING, &body, sizeof(body));
        }
        PT_REQUIRE_STATUS(pt_verify_session_status(scene->verifier), PEAT_TIMEOUT);
        pins = 0;
        pt_scene_end(scene);
    }
    PT_REQUIRE_OK(peat_close(db));
}

/* ---- Both ---- */

/* Some of what @p from has to send arrives: the rest later. */
static void bytes_move(struct pt_peer *from, struct pt_primary_session *primary,
                       struct pt_verify_session *verifier, struct pt_dice *dice, uint64_t now_us)
{
    struct peat_bytes output = pt_channel_output(from->channel);
    size_t size = pt_dice_one_in(dice, 3) ? output.size : pt_dice_below(dice, output.size + 1);

    if (size == 0)
        return;
    if (primary != NULL)
        pt_primary_session_receive(primary, output.data, size, now_us);
    else
        pt_verify_session_receive(verifier, output.data, size, now_us);
    pt_channel_output_taken(from->channel, size);
}

/* The one compares, the other is compared with; between any two steps commits go on. Gives the virtual time that it took. */
static uint64_t pair_compare(struct pt_pair *pair, struct pt_dice *dice, bool is_follower)
{
    struct pt_primary_session_options options = {.keys = &pt_scene_key, .key_count = 1};
    struct peat_db *db = is_follower ? pair->follower.db : pair->primary.db;
    struct peat_db *other = is_follower ? pair->primary.db : pair->follower.db;
    struct peat_verify_options wanted;
    struct pt_primary_session *primary;
    struct pt_verify_session *verifier;
    struct pt_peer *peers[2];
    uint64_t now_us = PT_SCENE_BEGIN_US;

    peat_verify_options_init(&wanted);
    PT_REQUIRE_OK(pt_primary_session_open(other, &options, now_us, &primary));
    PT_REQUIRE_OK(pt_verify_session_open(db, &wanted, &pt_scene_key, now_us, &verifier));
    peers[0] = pt_primary_session_base(primary);
    peers[1] = pt_verify_session_base(verifier);
    while (peers[1]->end == PT_PEER_GOES_ON) {
        now_us += 1 + pt_dice_below(dice, 20000);
        pt_pair_write(pair, dice, (unsigned)pt_dice_below(dice, 4), false);
        if (pt_dice_one_in(dice, 3))
            pt_pair_follow(pair, dice);
        if (pt_dice_one_in(dice, 30))
            PT_REQUIRE_OK(peat_flush(pair->follower.db));
        bytes_move(peers[1], primary, NULL, dice, now_us);
        bytes_move(peers[0], NULL, verifier, dice, now_us);
        pt_primary_session_sum(primary);
        pt_primary_session_sums_send(primary, now_us);
        (void)pt_primary_session_step(primary, now_us);
        (void)pt_verify_session_step(verifier, now_us);
        pt_verify_session_work(verifier, now_us);
    }
    if (pt_verify_session_status(verifier) != PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "%s", peers[1]->words);
    PT_REQUIRE(pt_verify_session_result(verifier)->range_count == 0);
    PT_REQUIRE(pt_verify_session_result(verifier)->commit > 0);
    pt_verify_session_close(verifier);
    pt_primary_session_close(primary);
    return now_us - PT_SCENE_BEGIN_US;
}

static void both_come_to_one_commit_while_commits_go_on(void **state)
{
    struct pt_dice dice = {pt_test_seed()};
    uint64_t longest_us = 0;
    struct pt_pair pair;
    (void)state;

    pt_pair_make(&pair);
    pt_pair_write(&pair, &dice, 50, false);
    pt_pair_follow(&pair, &dice);
    for (unsigned i = 0; i < 60; i++) {
        uint64_t took_us = pair_compare(&pair, &dice, i % 2 == 0);

        longest_us = took_us > longest_us ? took_us : longest_us;
    }
    printf("# at most %u ms of virtual time\n", (unsigned)(longest_us / 1000));
    pt_pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_sums_up_what_is_pinned),
        cmocka_unit_test(a_primary_sums_up_nothing_that_is_not_pinned),
        cmocka_unit_test(who_compares_does_not_follow),
        cmocka_unit_test(a_pin_that_nobody_uses_ends),
        cmocka_unit_test(answers_that_nobody_takes_are_not_kept_without_end),
        cmocka_unit_test(whatever_comes_to_a_primary_it_goes_on_or_ends),
        cmocka_unit_test(a_peer_that_says_that_all_differs_gets_an_end),
        cmocka_unit_test(a_verifier_refuses_what_it_did_not_ask_for),
        cmocka_unit_test(both_come_to_one_commit_while_commits_go_on),
        cmocka_unit_test(a_peer_that_never_comes_to_a_commit_is_given_up),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed == 0 ? 0 : 1;
}

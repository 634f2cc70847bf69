/*
 * The property: of a session that was recorded and is sent again, whole or in pieces, or in which a byte is another one on the
 * way, nothing is applied, and nobody is served; at both ends, with sessions and stores and no network.
 */
#include "repl/follower_session.h"
#include "repl/le.h"
#include "repl/primary_session.h"
#include "tests/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { STREAM_MAX = 64 << 10, COMMITS = 3, TO_PRIMARY = 0, TO_FOLLOWER = 1 };

static const struct pt_channel_key key = {.id = "replay", .secret = "known to both"};

struct stream {
    uint8_t bytes[STREAM_MAX];
    size_t size;
};

/* Two sessions, and what lies between them. */
struct line {
    struct pt_primary_session *primary;
    struct pt_follower_session *follower;
    struct stream streams[2]; /* as they were sent */
    size_t flipped[2];        /* this byte comes as another one; SIZE_MAX: none does */
    size_t spliced_from;      /* from this byte on the follower gets what was recorded */
    const struct stream *recorded;
    uint64_t now_us;
};

static struct pt_peer *base_of(struct line *line, int to)
{
    return to == TO_PRIMARY ? pt_follower_session_base(line->follower)
                            : pt_primary_session_base(line->primary);
}

static struct line *line_new(struct peat_db *primary_db, struct peat_db *follower_db)
{
    struct pt_primary_session_options primary = {.keys = &key, .key_count = 1};
    struct pt_follower_session_options follower = {
        .name = "one", .window_size = 1 << 20, .record_size_max = 1 << 20, .durability = PEAT_OS};
    struct line *line = calloc(1, sizeof(*line));

    PT_REQUIRE(line != NULL);
    line->now_us = 1000000;
    line->flipped[0] = line->flipped[1] = line->spliced_from = SIZE_MAX;
    PT_REQUIRE_OK(pt_primary_session_open(primary_db, &primary, line->now_us, &line->primary));
    PT_REQUIRE_OK(
        pt_follower_session_open(follower_db, &follower, &key, line->now_us, &line->follower));
    return line;
}

static void line_free(struct line *line)
{
    pt_primary_session_close(line->primary);
    pt_follower_session_close(line->follower);
    free(line);
}

static void receive(struct line *line, int to, const void *bytes, size_t size)
{
    if (to == TO_PRIMARY)
        pt_primary_session_receive(line->primary, bytes, size, line->now_us);
    else
        pt_follower_session_receive(line->follower, bytes, size, line->now_us);
}

/* What is to be sent goes over the line. false: there was nothing. */
static bool carry(struct line *line, int to)
{
    struct pt_channel *channel = base_of(line, to)->channel;
    struct peat_bytes output = pt_channel_output(channel);
    struct stream *stream = &line->streams[to];
    size_t begin = stream->size;
    uint8_t *came;

    if (output.size == 0)
        return false;
    PT_REQUIRE(output.size <= STREAM_MAX - begin);
    memcpy(stream->bytes + begin, output.data, output.size);
    stream->size += output.size;
    pt_channel_output_taken(channel, output.size);
    came = malloc(stream->size - begin);
    PT_REQUIRE(came != NULL);
    for (size_t i = begin; i < stream->size; i++) {
        uint8_t byte = stream->bytes[i];

        if (to == TO_FOLLOWER && i >= line->spliced_from && i < line->recorded->size)
            byte = line->recorded->bytes[i];
        came[i - begin] = i == line->flipped[to] ? byte ^ (uint8_t)(1 << i % 8) : byte;
    }
    receive(line, to, came, stream->size - begin);
    free(came);
    return true;
}

/* Until nobody says anything more. */
static void converse(struct line *line)
{
    bool said = true;

    while (said) {
        (void)pt_follower_session_step(line->follower, line->now_us);
        said = carry(line, TO_PRIMARY);
        (void)pt_primary_session_step(line->primary, line->now_us);
        said = carry(line, TO_FOLLOWER) || said;
    }
}

/* Where the first frame of a type ends in a stream, whose frames begin at @p at. */
static size_t frame_end(const struct stream *stream, size_t at, uint8_t type)
{
    struct pt_wire_frame head;

    do {
        PT_REQUIRE(at + sizeof(head) <= stream->size);
        memcpy(&head, stream->bytes + at, sizeof(head));
        at += sizeof(head) + pt_wire_u32(head.body_size) + PT_FRAME_TAG_SIZE;
    } while (head.type != type);
    return at;
}

struct scene {
    struct peat_db *primary_db;
    struct peat_db *follower_db; /* empty, as nothing is ever applied */
    struct stream recorded[2];   /* of a session that went well, with another follower */
    size_t hello_end; /* bytes of the one stream, and of the other up to the records' end */
    size_t records_end;
};

static void scene_begin(struct scene *scene)
{
    struct peat_db *db = pt_test_store_make("other", PEAT_FOLLOWER);
    struct line *line;

    scene->primary_db = pt_test_store_make("primary", 0);
    scene->follower_db = pt_test_store_make("follower", PEAT_FOLLOWER);
    (void)pt_link_write(scene->primary_db, COMMITS, 40);
    line = line_new(scene->primary_db, db);
    converse(line);
    pt_link_require_same(scene->primary_db, db);
    memcpy(scene->recorded, line->streams, sizeof(scene->recorded));
    scene->hello_end =
        frame_end(&line->streams[TO_PRIMARY], sizeof(struct pt_wire_opening), PT_MESSAGE_HELLO);
    scene->records_end =
        frame_end(&line->streams[TO_FOLLOWER], PT_WIRE_NOISE_SIZE, PT_MESSAGE_RECORDS);
    line_free(line);
    PT_REQUIRE_OK(peat_close(db));
    PT_REQUIRE_OK(peat_feed_drop(scene->primary_db, "one"));
}

static void require_untouched(struct scene *scene)
{
    struct peat_position position;

    PT_REQUIRE_OK(peat_position_get(scene->follower_db, &position));
    PT_REQUIRE(position.commit == 0 && position.position == 0);
}

static void scene_end(struct scene *scene)
{
    struct line *line = line_new(scene->primary_db, scene->follower_db);

    require_untouched(scene);
    converse(line); /* nothing of all that keeps the follower from following */
    pt_link_require_same(scene->primary_db, scene->follower_db);
    line_free(line);
    PT_REQUIRE_OK(peat_close(scene->follower_db));
    PT_REQUIRE_OK(peat_close(scene->primary_db));
}

static bool name_seen(void *context, const struct peat_feed_info *info)
{
    (void)info;
    *(bool *)context = true;
    return true;
}

static bool has_feeds(struct peat_db *db)
{
    bool seen = false;

    PT_REQUIRE_OK(peat_feed_list(db, name_seen, &seen));
    return seen;
}

static void a_session_sent_again_whole_is_refused_by_either_end(void **state)
{
    static struct scene scene;
    (void)state;

    scene_begin(&scene);
    for (unsigned pieces = 1; pieces < 200; pieces += 66) {
        struct line *line = line_new(scene.primary_db, scene.follower_db);

        for (int to = TO_PRIMARY; to <= TO_FOLLOWER; to++) {
            const struct stream *stream = &scene.recorded[to];
            size_t size = stream->size / pieces + 1;

            for (size_t at = 0; at < stream->size; at += size)
                receive(line, to, stream->bytes + at,
                        size < stream->size - at ? size : stream->size - at);
        }
        assert_int_equal(pt_primary_session_serves(line->primary), PT_SERVES_NOTHING);
        assert_int_equal(pt_primary_session_base(line->primary)->end, PT_PEER_LOST);
        assert_int_equal(pt_follower_session_base(line->follower)->end, PT_PEER_LOST);
        assert_true(pt_follower_session_base(line->follower)->is_damaged);
        line_free(line);
        require_untouched(&scene);
        assert_false(has_feeds(scene.primary_db));
    }
    scene_end(&scene);
}

static void a_session_that_goes_on_as_another_one_did_ends_there(void **state)
{
    static struct scene scene;
    static const uint8_t types[] = {0, PT_MESSAGE_WELCOME};
    (void)state;

    scene_begin(&scene);
    for (size_t i = 0; i < sizeof(types); i++) {
        struct line *line = line_new(scene.primary_db, scene.follower_db);
        struct pt_peer *base = pt_follower_session_base(line->follower);

        line->recorded = &scene.recorded[TO_FOLLOWER];
        line->spliced_from =
            i == 0 ? PT_WIRE_NOISE_SIZE : frame_end(line->recorded, PT_WIRE_NOISE_SIZE, types[i]);
        converse(line);
        assert_int_equal(base->end, PT_PEER_LOST);
        assert_true(base->is_damaged);
        line_free(line);
        require_untouched(&scene);
    }
    scene_end(&scene);
}

/* Each byte up to the last that a record has, on its way to the follower. */
static void with_any_byte_changed_on_its_way_nothing_is_applied(void **state)
{
    static struct scene scene;
    (void)state;

    scene_begin(&scene);
    for (size_t at = 0; at < scene.records_end; at++) {
        struct line *line = line_new(scene.primary_db, scene.follower_db);
        struct pt_peer *base = pt_follower_session_base(line->follower);

        pt_test_context("byte %zu of %zu", at, scene.records_end);
        line->flipped[TO_FOLLOWER] = at;
        converse(line);
        require_untouched(&scene);
        line->now_us += 10 * PT_PEER_WELCOME_US; /* it may still wait for a frame of that size */
        (void)pt_follower_session_step(line->follower, line->now_us);
        assert_int_equal(base->end, PT_PEER_LOST);
        line_free(line);
    }
    scene_end(&scene);
}

/* Each byte up to the last of HELLO, on its way to the primary. */
static void with_any_byte_changed_on_its_way_nobody_is_served(void **state)
{
    static struct scene scene;
    (void)state;

    scene_begin(&scene);
    for (size_t at = 0; at < scene.hello_end; at++) {
        struct line *line = line_new(scene.primary_db, scene.follower_db);

        pt_test_context("byte %zu of %zu", at, scene.hello_end);
        line->flipped[TO_PRIMARY] = at;
        converse(line);
        assert_int_equal(pt_primary_session_serves(line->primary), PT_SERVES_NOTHING);
        assert_false(has_feeds(scene.primary_db));
        require_untouched(&scene);
        line_free(line);
    }
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_sent_again_whole_is_refused_by_either_end),
        cmocka_unit_test(a_session_that_goes_on_as_another_one_did_ends_there),
        cmocka_unit_test(with_any_byte_changed_on_its_way_nothing_is_applied),
        cmocka_unit_test(with_any_byte_changed_on_its_way_nobody_is_served),
    };
    int failed;

    pt_test_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pt_test_end();
    return failed;
}

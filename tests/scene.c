#include "tests/scene.h"

#include <stdlib.h>
#include <string.h>

const struct pt_channel_key pt_scene_key = {.id = "sessions", .secret = "known to both"};

/* ---- Carrying ---- */

void pt_scene_take(struct pt_scene *scene, const void *bytes, size_t size)
{
    if (scene->primary != NULL)
        pt_primary_session_receive(scene->primary, bytes, size, scene->now_us);
    else if (scene->follower != NULL)
        pt_follower_session_receive(scene->follower, bytes, size, scene->now_us);
    else
        pt_verify_session_receive(scene->verifier, bytes, size, scene->now_us);
}

static void primary_step(struct pt_scene *scene)
{
    struct pt_primary_session *session = scene->primary;

    for (unsigned i = 0; i < PT_SCENE_TURNS_MAX && pt_primary_session_is_summing(session); i++) {
        pt_primary_session_sum(session);
        pt_primary_session_sums_send(session, scene->now_us);
    }
    (void)pt_primary_session_step(session, scene->now_us);
}

static void verifier_step(struct pt_scene *scene)
{
    struct pt_verify_session *session = scene->verifier;

    (void)pt_verify_session_step(session, scene->now_us);
    for (unsigned i = 0; i < PT_SCENE_TURNS_MAX && pt_verify_session_is_working(session); i++)
        pt_verify_session_work(session, scene->now_us);
}

void pt_scene_step(struct pt_scene *scene)
{
    if (scene->primary != NULL)
        primary_step(scene);
    else if (scene->follower != NULL)
        (void)pt_follower_session_step(scene->follower, scene->now_us);
    else
        verifier_step(scene);
}

static void frame_note(struct pt_scene *scene, const struct pt_frame *frame)
{
    PT_REQUIRE(frame->type < PT_SCENE_TYPES);
    scene->counts[frame->type]++;
    scene->sizes[frame->type] = frame->body.size;
    if (frame->body.size <= PT_SCENE_BODY_MAX && frame->body.size > 0)
        memcpy(scene->bodies[frame->type], frame->body.data, frame->body.size);
}

void pt_scene_hear(struct pt_scene *scene)
{
    struct peat_bytes output = pt_channel_output(scene->base->channel);
    const uint8_t *place = output.data;
    size_t left = output.size;
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK && left > 0) {
        struct pt_frame frame;
        const char *why = "";
        size_t taken = 0;

        status = pt_channel_receive(scene->peer, place, left, &taken, &frame, &why);
        PT_REQUIRE(status >= 0);
        place += taken;
        left -= taken;
        if (status == PEAT_OK)
            frame_note(scene, &frame);
    }
    pt_channel_output_taken(scene->base->channel, output.size);
}

/* What the peer has said comes to the session, and the answers back. */
static void carry(struct pt_scene *scene)
{
    struct peat_bytes output = pt_channel_output(scene->peer);

    if (output.size > 0)
        pt_scene_take(scene, output.data, output.size);
    pt_channel_output_taken(scene->peer, output.size);
    pt_scene_step(scene);
    pt_scene_hear(scene);
}

void pt_scene_say(struct pt_scene *scene, enum pt_message_type type, const void *body, size_t size)
{
    struct peat_bytes piece = {body, size};

    PT_REQUIRE_OK(pt_channel_send(scene->peer, (uint8_t)type, &piece, 1, scene->now_us));
    carry(scene);
}

struct peat_bytes pt_scene_body(const struct pt_scene *scene, enum pt_message_type type)
{
    PT_REQUIRE(scene->counts[type] > 0 && scene->sizes[type] <= PT_SCENE_BODY_MAX);
    return (struct peat_bytes){scene->bodies[type], scene->sizes[type]};
}

/* ---- Beginning and ending ---- */

static struct pt_scene *scene_new(void)
{
    struct pt_scene *scene = calloc(1, sizeof(*scene));

    PT_REQUIRE(scene != NULL);
    scene->now_us = PT_SCENE_BEGIN_US;
    return scene;
}

static void peer_open(struct pt_scene *scene, enum pt_channel_role role)
{
    PT_REQUIRE_OK(pt_channel_open(role, &pt_scene_key, 1, scene->now_us, &scene->peer));
    pt_scene_hear(scene); /* the opening, if it is the session's */
    carry(scene);
    PT_REQUIRE(pt_channel_is_ready(scene->peer));
}

struct pt_scene *pt_scene_primary(struct peat_db *db)
{
    struct pt_primary_session_options options = {.keys = &pt_scene_key, .key_count = 1};
    struct pt_scene *scene = scene_new();

    PT_REQUIRE_OK(pt_primary_session_open(db, &options, scene->now_us, &scene->primary));
    scene->base = pt_primary_session_base(scene->primary);
    peer_open(scene, PT_CHANNEL_DIALER);
    return scene;
}

struct pt_scene *pt_scene_follower(struct peat_db *db)
{
    struct pt_follower_session_options options = {.name = "one",
                                                  .window_size = PT_SCENE_WINDOW_SIZE,
                                                  .record_size_max = 1 << 20,
                                                  .durability = PEAT_OS};
    struct pt_scene *scene = scene_new();

    PT_REQUIRE_OK(
        pt_follower_session_open(db, &options, &pt_scene_key, scene->now_us, &scene->follower));
    scene->base = pt_follower_session_base(scene->follower);
    peer_open(scene, PT_CHANNEL_LISTENER);
    PT_REQUIRE(scene->counts[PT_MESSAGE_HELLO] == 1);
    return scene;
}

struct pt_scene *pt_scene_verifier(struct peat_db *db)
{
    struct pt_scene *scene = scene_new();

    peat_verify_options_init(&scene->options);
    PT_REQUIRE_OK(pt_verify_session_open(db, &scene->options, &pt_scene_key, scene->now_us,
                                         &scene->verifier));
    scene->base = pt_verify_session_base(scene->verifier);
    peer_open(scene, PT_CHANNEL_LISTENER);
    PT_REQUIRE(scene->counts[PT_MESSAGE_PIN] == 1);
    return scene;
}

void pt_scene_end(struct pt_scene *scene)
{
    pt_primary_session_close(scene->primary);
    pt_follower_session_close(scene->follower);
    pt_verify_session_close(scene->verifier);
    pt_channel_close(scene->peer);
    free(scene);
}

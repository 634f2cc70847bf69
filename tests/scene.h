/*
 * A scene: one end of a connection, and a peer with the key that says what the test likes: a channel that it speaks through.
 * No sockets or clocks: bytes and time come from the test.
 */
#ifndef PEAT_TESTS_SCENE_H
#define PEAT_TESTS_SCENE_H

#include "repl/follower_session.h"
#include "repl/primary_session.h"
#include "repl/verify_session.h"
#include "tests/support.h"

enum {
    PT_SCENE_BEGIN_US = 1000000,
    PT_SCENE_WINDOW_SIZE = 64 << 10, /* of a follower */
    PT_SCENE_TYPES = 16,
    PT_SCENE_BODY_MAX = 4096, /* bytes that are kept of a frame */
    PT_SCENE_TURNS_MAX = 20000
};

extern const struct pt_channel_key pt_scene_key;

struct pt_scene {
    struct pt_primary_session *primary; /* two of the three are NULL */
    struct pt_follower_session *follower;
    struct pt_verify_session *verifier;
    struct pt_peer *base; /* of that one */
    struct pt_channel *peer;
    struct peat_verify_options options; /* the verifier's */
    uint64_t now_us;
    /* What came last of a type, by its number, and how many of it: see pt_scene_body(). */
    uint8_t bodies[PT_SCENE_TYPES][PT_SCENE_BODY_MAX];
    size_t sizes[PT_SCENE_TYPES];
    unsigned counts[PT_SCENE_TYPES];
};

/* A primary's session in @p db, and a peer that has shown its key. */
struct pt_scene *pt_scene_primary(struct peat_db *db);
/* A follower's session in @p db, and a primary that has shown its key, and got HELLO. */
struct pt_scene *pt_scene_follower(struct peat_db *db);
/* A verifier's session in @p db, and a primary that has got PIN. */
struct pt_scene *pt_scene_verifier(struct peat_db *db);
void pt_scene_end(struct pt_scene *scene);

/* Bytes come to the session. */
void pt_scene_take(struct pt_scene *scene, const void *bytes, size_t size);
/* The session does what is to be done now, with all its work. */
void pt_scene_step(struct pt_scene *scene);
/* What the session says comes to its peer. */
void pt_scene_hear(struct pt_scene *scene);
/* The peer says something, and gets what is answered. */
void pt_scene_say(struct pt_scene *scene, enum pt_message_type type, const void *body, size_t size);
/* The body that came last of that type, which must have been kept. */
struct peat_bytes pt_scene_body(const struct pt_scene *scene, enum pt_message_type type);

#endif

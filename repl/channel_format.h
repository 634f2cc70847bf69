/*
 * What goes over a connection: one message each way, of fixed size, and then frames.
 *
 * The dialer's first bytes; the first PT_WIRE_PROLOGUE_SIZE of them are the handshake's prologue.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  magic             "peatrepl"
 *        8     4  version           PT_WIRE_VERSION
 *       12     4  zeros
 *       16    16  key_id            which pre-shared key; zeros: none, a key of zeros is used
 *       32    48  noise             the first message of the handshake, see noise.h
 *
 * The listener's: 48 bytes, the second message. A listener that has no such key, or does not take the message, closes the
 * connection without a byte.
 *
 * Then frames in both directions, numbered from 0 in each.
 *
 *   OFFSET  SIZE  FIELD
 *        0     4  body_size         bytes, at most PT_FRAME_BODY_MAX
 *        4     1  type              enum pt_message_type; zero in the last frame, which has no body
 *        5     1  flags             PT_FRAME_REKEY: the next frame has another key; PT_FRAME_LAST: there is none
 *        6     2  zeros
 *        8     8  counter           its number
 *       16     n  body              encrypted, with the 16 bytes above bound to it
 *     16+n    16  tag
 *
 * Integers are little-endian. Changing any of this needs another PT_WIRE_VERSION.
 */
#ifndef PEAT_REPL_CHANNEL_FORMAT_H
#define PEAT_REPL_CHANNEL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define PT_WIRE_MAGIC   "peatrepl"
#define PT_WIRE_VERSION 1u

enum {
    PT_WIRE_PROLOGUE_SIZE = 32,
    PT_WIRE_NOISE_SIZE = 48,
    PT_FRAME_BODY_MAX = 1 << 20,
    PT_FRAME_TAG_SIZE = 16
};

#define PT_FRAME_REKEY 1u
#define PT_FRAME_LAST  2u

struct pt_wire_opening {
    uint8_t magic[8];
    uint8_t version[4];
    uint8_t zeros[4];
    uint8_t key_id[16];
    uint8_t noise[PT_WIRE_NOISE_SIZE];
};
_Static_assert(sizeof(struct pt_wire_opening) == 80, "size on the wire");
_Static_assert(offsetof(struct pt_wire_opening, key_id) == 16, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_opening, noise) == PT_WIRE_PROLOGUE_SIZE,
               "offset on the wire");

struct pt_wire_frame {
    uint8_t body_size[4];
    uint8_t type;
    uint8_t flags;
    uint8_t zeros[2];
    uint8_t counter[8];
};
_Static_assert(sizeof(struct pt_wire_frame) == 16, "size on the wire");
_Static_assert(offsetof(struct pt_wire_frame, counter) == 8, "offset on the wire");

#endif

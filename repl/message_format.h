/*
 * The bodies of the frames that primary and follower exchange: what lies where, by the frame's
 * type. The layout and nothing else.
 *
 *   TYPE       FROM      BODY
 *   1 HELLO    follower  struct pt_wire_hello, name, epochs
 *   2 WELCOME  primary   struct pt_wire_welcome, words, epochs
 *   3 RECORDS  primary   records of the log, one at least: struct pt_wire_record, payload, each
 *   4 PART     primary   struct pt_wire_part, a piece of its record's payload, 1 byte at least
 *   5 ACK      follower  struct pt_wire_ack
 *   6 PING     either    struct pt_wire_ping
 *   7 BYE      either    struct pt_wire_bye, words
 *   8 IDENTITY primary   struct peat_identity
 *   9 ASK      follower  struct pt_wire_ask
 *  10 CHUNK    primary   struct pt_wire_chunk, bytes of a part, 1 at least
 *  11 PIN      verifier  struct pt_wire_commit
 *  12 PINNED   primary   struct pt_wire_commit
 *  13 SUM      verifier  count (u16), places: struct pt_wire_place, key, each
 *  14 SUMS     primary   count (u16), struct pt_wire_sum for each part between two of those places
 *
 * A verifier is a peer that compares: it sends PIN where a follower sends HELLO.
 *
 *   epochs     their count (u32, at most PT_EPOCH_COUNT_MAX), then a struct pt_wire_epoch for each
 *   words      printable ASCII, at most PT_WORDS_SIZE_MAX bytes, perhaps none
 *
 * Integers are little-endian. A body ends where its last field does. Epochs, commits and positions
 * of the log are below 2^63, so that what follows one is a number, too. Changing any of this needs
 * a new version of the protocol.
 */
#ifndef PEAT_REPL_MESSAGE_FORMAT_H
#define PEAT_REPL_MESSAGE_FORMAT_H

#include "core/peat.h"

enum pt_message_type {
    PT_MESSAGE_HELLO = 1,
    PT_MESSAGE_WELCOME = 2,
    PT_MESSAGE_RECORDS = 3,
    PT_MESSAGE_PART = 4,
    PT_MESSAGE_ACK = 5,
    PT_MESSAGE_PING = 6,
    PT_MESSAGE_BYE = 7,
    PT_MESSAGE_IDENTITY = 8,
    PT_MESSAGE_ASK = 9,
    PT_MESSAGE_CHUNK = 10,
    PT_MESSAGE_PIN = 11,
    PT_MESSAGE_PINNED = 12,
    PT_MESSAGE_SUM = 13,
    PT_MESSAGE_SUMS = 14
};

/* What a primary says to a follower's history. */
enum pt_verdict {
    PT_VERDICT_TAIL = 1,   /* the log goes on from the follower's position */
    PT_VERDICT_SEED = 2,   /* the log from there on is gone: it needs a newer state first */
    PT_VERDICT_FORKED = 3, /* the histories have parted */
    PT_VERDICT_REFUSED = 4 /* for a reason that the words tell */
};

enum pt_bye_code {
    PT_BYE_CLOSING = 1,
    PT_BYE_ERROR = 2,
    PT_BYE_DIVERGED = 3, /* chains differ at the same commit */
    PT_BYE_NO_SPACE = 4,
    PT_BYE_PROMOTED = 5, /* it follows nobody any more */
    PT_BYE_SEEDED = 6    /* it has taken a state, and comes back for the log behind it */
};

/* Flags of HELLO. */
#define PT_HELLO_SEALS  1u  /* the follower wants seals, too */
#define PT_HELLO_SEEDS  2u  /* it takes a state, where the log does not go on from what it has */
#define PT_HELLO_STATE  4u  /* and wants one: it has seen that the log does not; with SEEDS only */
#define PT_HELLO_REJOIN 8u  /* even one of a history that its own has parted from: it keeps that; likewise */
#define PT_HELLO_FLAGS  15u /* all that there are */

enum {
    PT_EPOCH_COUNT_MAX = 128, /* PEAT_EPOCHS_MAX */
    PT_WORDS_SIZE_MAX = 200, /* bytes */
    PT_SUM_PARTS_MAX = 16,   /* that are asked for at once */
    PT_PLACE_KEY_MAX = 1024  /* bytes of a place's key */
};

#define PT_WIRE_NUMBER_MAX ((uint64_t)INT64_MAX) /* the largest epoch, commit or position */

/*
 * Where a history has come to: struct peat_position.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  epoch             below 2^63
 *        8     8  commit            below 2^63; 0: before the first
 *       16     8  time_us           of the commit, microseconds since 1970
 *       24     8  position          bytes of log before what comes next; below 2^63
 *       32    16  chain             over the whole history
 *
 * In a record (struct pt_wire_record, struct pt_wire_part) it is the record's own: position is
 * that of the record's beginning, chain that of its end.
 */
struct pt_wire_position {
    uint8_t epoch[8];
    uint8_t commit[8];
    uint8_t time_us[8];
    uint8_t position[8];
    uint8_t chain[16];
};
_Static_assert(sizeof(struct pt_wire_position) == 48, "size on the wire");
_Static_assert(offsetof(struct pt_wire_position, position) == 24, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_position, chain) == 32, "offset on the wire");

/*
 * A row of an epoch history.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  epoch             above that of the row before; below 2^63
 *        8     8  first_commit      not below that of the row before (the same: the one before
 *                                   has no commit); below 2^63
 *       16     8  position          where it begins: above that of the row before; below 2^63
 *       24    16  chain             over the history before it
 */
struct pt_wire_epoch {
    uint8_t epoch[8];
    uint8_t first_commit[8];
    uint8_t position[8];
    uint8_t chain[16];
};
_Static_assert(sizeof(struct pt_wire_epoch) == 40, "size on the wire");
_Static_assert(offsetof(struct pt_wire_epoch, position) == 16, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_epoch, chain) == 24, "offset on the wire");
_Static_assert((size_t)PT_EPOCH_COUNT_MAX == PEAT_EPOCHS_MAX, "all that a store has");
_Static_assert(offsetof(struct pt_wire_epoch, first_commit) == 8, "offset on the wire");

/*
 * HELLO: what comes before the name and the epochs.
 *
 *   OFFSET  SIZE  FIELD
 *        0    48  position          struct pt_wire_position: what the follower has; zeros: nothing
 *       48     8  credit            bytes that it grants from the beginning, see ACK
 *       56     4  flags             of PT_HELLO_...; the others zero
 *       60     2  name_size         bytes of the name that follows: 1 to PEAT_NAME_SIZE_MAX, no NUL
 */
struct pt_wire_hello {
    struct pt_wire_position position;
    uint8_t credit[8];
    uint8_t flags[4];
    uint8_t name_size[2];
};
_Static_assert(sizeof(struct pt_wire_hello) == 62, "size on the wire");
_Static_assert(offsetof(struct pt_wire_hello, credit) == 48, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_hello, flags) == 56, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_hello, name_size) == 60, "offset on the wire");
_Static_assert(PEAT_NAME_SIZE_MAX <= UINT16_MAX, "name_size has room");

/*
 * WELCOME: what comes before the words and the epochs.
 *
 *   OFFSET  SIZE  FIELD
 *        0     1  verdict           enum pt_verdict
 *        1    48  newest            struct pt_wire_position: what the primary has
 *       49     1  words_size        bytes of the words that follow
 */
struct pt_wire_welcome {
    uint8_t verdict;
    struct pt_wire_position newest;
    uint8_t words_size;
};
_Static_assert(sizeof(struct pt_wire_welcome) == 50, "size on the wire");
_Static_assert(offsetof(struct pt_wire_welcome, newest) == 1, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_welcome, words_size) == 49, "offset on the wire");
_Static_assert(PT_WORDS_SIZE_MAX <= UINT8_MAX, "words_size has room");

/*
 * RECORDS: what comes before each record's payload.
 *
 *   OFFSET  SIZE  FIELD
 *        0     1  kind              enum peat_record_kind
 *        1     3  zeros
 *        4     4  payload_size      bytes of the payload that follows; of a seal 0
 *        8    48  at                struct pt_wire_position
 */
struct pt_wire_record {
    uint8_t kind;
    uint8_t zeros[3];
    uint8_t payload_size[4];
    struct pt_wire_position at;
};
_Static_assert(sizeof(struct pt_wire_record) == 56, "size on the wire");
_Static_assert(offsetof(struct pt_wire_record, payload_size) == 4, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_record, at) == 8, "offset on the wire");

/*
 * PART: what comes before the piece of a payload that is too large for a frame. Pieces come in
 * order, the first one from offset 0; the one that ends at payload_size completes the record.
 *
 *   OFFSET  SIZE  FIELD
 *        0     1  kind              PEAT_RECORD_BATCH: seals have no payload
 *        1     3  zeros
 *        4     8  payload_size      bytes of the whole payload; at least offset + the piece's
 *       12    48  at                struct pt_wire_position
 *       60     8  offset            bytes of the payload before this piece
 */
struct pt_wire_part {
    uint8_t kind;
    uint8_t zeros[3];
    uint8_t payload_size[8];
    struct pt_wire_position at;
    uint8_t offset[8];
};
_Static_assert(sizeof(struct pt_wire_part) == 68, "size on the wire");
_Static_assert(offsetof(struct pt_wire_part, payload_size) == 4, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_part, at) == 12, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_part, offset) == 60, "offset on the wire");

/*
 * ACK.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  received          commit up to which records have come; below 2^63
 *        8     8  durable           commit up to which all is on disk; at most applied
 *       16     8  applied           commit up to which all is seen by readers; at most received
 *       24     8  credit            bytes of bodies of RECORDS and PART granted since the session
 *                                   began; never falls
 */
struct pt_wire_ack {
    uint8_t received[8];
    uint8_t durable[8];
    uint8_t applied[8];
    uint8_t credit[8];
};
_Static_assert(sizeof(struct pt_wire_ack) == 32, "size on the wire");
_Static_assert(offsetof(struct pt_wire_ack, applied) == 16, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_ack, credit) == 24, "offset on the wire");

/*
 * PING.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  time_us           the sender's clock, microseconds since 1970
 *        8    48  newest            struct pt_wire_position: what the sender has
 */
struct pt_wire_ping {
    uint8_t time_us[8];
    struct pt_wire_position newest;
};
_Static_assert(sizeof(struct pt_wire_ping) == 56, "size on the wire");
_Static_assert(offsetof(struct pt_wire_ping, newest) == 8, "offset on the wire");

/*
 * BYE: what comes before the words.
 *
 *   OFFSET  SIZE  FIELD
 *        0     1  code              enum pt_bye_code
 *        1     1  words_size        bytes of the words that follow
 */
struct pt_wire_bye {
    uint8_t code;
    uint8_t words_size;
};
_Static_assert(sizeof(struct pt_wire_bye) == 2, "size on the wire");
_Static_assert(offsetof(struct pt_wire_bye, words_size) == 1, "offset on the wire");

/*
 * ASK: bytes of a state's part (peat_seed_read()).
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  part
 *        8     8  offset
 *       16     8  size              1 at least; where the part ends before, less comes
 */
struct pt_wire_ask {
    uint8_t part[8];
    uint8_t offset[8];
    uint8_t size[8];
};
_Static_assert(sizeof(struct pt_wire_ask) == 24, "size on the wire");

/*
 * CHUNK: what comes before the bytes. What was asked for comes in order.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  part
 *        8     8  offset            of the bytes
 *       16     8  part_size         bytes of the whole part; at least offset + those that follow
 */
struct pt_wire_chunk {
    uint8_t part[8];
    uint8_t offset[8];
    uint8_t part_size[8];
};
_Static_assert(sizeof(struct pt_wire_chunk) == 24, "size on the wire");

/*
 * PIN, PINNED: the commit that the verifier would have the primary show, and the one that it shows from now on, until the next PIN:
 * that, or its newest.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  commit            below 2^63
 */
struct pt_wire_commit {
    uint8_t commit[8];
};
_Static_assert(sizeof(struct pt_wire_commit) == 8, "size on the wire");

/*
 * SUM: what comes before each place's key. 2 to PT_SUM_PARTS_MAX + 1 places, ascending; each but the last
 * begins a part, which ends before the next one.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  collection        its number; PEAT_PLACE_END: behind all
 *        8     2  key_size          bytes of the key that follows: at most PT_PLACE_KEY_MAX
 */
struct pt_wire_place {
    uint8_t collection[8];
    uint8_t key_size[2];
};
_Static_assert(sizeof(struct pt_wire_place) == 10, "size on the wire");
_Static_assert(offsetof(struct pt_wire_place, key_size) == 8, "offset on the wire");

/*
 * SUMS: a part's struct peat_tally_sum.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  entry_count
 *        8     8  size
 *       16    32  digest
 *       48     1  is_damaged        0 or 1
 */
struct pt_wire_sum {
    uint8_t entry_count[8];
    uint8_t size[8];
    uint8_t digest[32];
    uint8_t is_damaged;
};
_Static_assert(sizeof(struct pt_wire_sum) == 49, "size on the wire");
_Static_assert(offsetof(struct pt_wire_sum, digest) == 16, "offset on the wire");
_Static_assert(offsetof(struct pt_wire_sum, is_damaged) == 48, "offset on the wire");

/* Bytes of the largest body of a type. */
enum {
    PT_BOUNDS_SIZE_MAX =
        2 + (PT_SUM_PARTS_MAX + 1) * ((int)sizeof(struct pt_wire_place) + PT_PLACE_KEY_MAX),
    PT_SUMS_SIZE_MAX = 2 + PT_SUM_PARTS_MAX * (int)sizeof(struct pt_wire_sum),
    PT_EPOCHS_SIZE_MAX = 4 + PT_EPOCH_COUNT_MAX * (int)sizeof(struct pt_wire_epoch),
    PT_HELLO_SIZE_MAX =
        (int)sizeof(struct pt_wire_hello) + (int)PEAT_NAME_SIZE_MAX + PT_EPOCHS_SIZE_MAX,
    PT_WELCOME_SIZE_MAX =
        (int)sizeof(struct pt_wire_welcome) + PT_WORDS_SIZE_MAX + PT_EPOCHS_SIZE_MAX,
    PT_BYE_SIZE_MAX = (int)sizeof(struct pt_wire_bye) + PT_WORDS_SIZE_MAX
};

#endif

/*
 * Messages between primary and follower: the bodies of frames as structs, see message_format.h.
 * RECORDS and PART are in records.h, PIN, PINNED, SUM and SUMS in sums.h.
 *
 * A decoder takes any bytes. It allocates nothing; what it sets points into the body. An encoder
 * writes no body that a decoder would refuse. Both return NULL, or constant words that say what is
 * wrong, and have then set nothing. What is decoded and encoded again has the same bytes.
 */
#ifndef PEAT_REPL_MESSAGE_H
#define PEAT_REPL_MESSAGE_H

#include "repl/message_format.h"

/* The type's name, "HELLO" for instance; NULL: there is no such type. */
const char *pt_message_name(uint8_t type);

/* Where a history has come to; all zeros: nowhere yet. */
struct peat_position pt_position_get(const struct pt_wire_position *stored);
void pt_position_put(struct pt_wire_position *stored, const struct peat_position *position);
/* What is wrong with it; NULL: nothing. */
const char *pt_position_wrong(const struct peat_position *position);

/* An epoch history, as it goes over the wire. */
struct pt_epochs {
    const struct pt_wire_epoch *rows; /* borrowed */
    uint32_t count;
};

struct peat_epoch pt_epoch_get(const struct pt_wire_epoch *row);
void pt_epoch_put(struct pt_wire_epoch *row, struct peat_epoch epoch);

struct pt_hello {
    struct peat_position position;
    uint64_t credit;        /* bytes */
    uint32_t flags;         /* of PT_HELLO_... */
    struct peat_bytes name; /* borrowed */
    struct pt_epochs epochs;
};

const char *pt_hello_decode(struct peat_bytes body, struct pt_hello *hello_out);
/* @p buffer: for the body, @p room bytes; PT_HELLO_SIZE_MAX do for all. */
const char *pt_hello_encode(const struct pt_hello *hello, void *buffer, size_t room,
                            size_t *size_out);

struct pt_welcome {
    enum pt_verdict verdict;
    struct peat_position newest;
    struct peat_bytes words; /* borrowed */
    struct pt_epochs epochs;
};

const char *pt_welcome_decode(struct peat_bytes body, struct pt_welcome *welcome_out);
/* PT_WELCOME_SIZE_MAX bytes do for all. */
const char *pt_welcome_encode(const struct pt_welcome *welcome, void *buffer, size_t room,
                              size_t *size_out);

struct pt_ack {
    uint64_t received; /* a commit, as the next two */
    uint64_t durable;
    uint64_t applied;
    uint64_t credit; /* bytes since the session began */
};

const char *pt_ack_decode(struct peat_bytes body, struct pt_ack *ack_out);
const char *pt_ack_encode(const struct pt_ack *ack, struct pt_wire_ack *body_out);

struct pt_ask {
    uint64_t part;
    uint64_t offset; /* bytes */
    uint64_t size;
};

const char *pt_ask_decode(struct peat_bytes body, struct pt_ask *ask_out);
const char *pt_ask_encode(const struct pt_ask *ask, struct pt_wire_ask *body_out);

struct pt_chunk {
    uint64_t part;
    uint64_t offset;
    uint64_t part_size;
    struct peat_bytes bytes; /* borrowed */
};

const char *pt_chunk_decode(struct peat_bytes body, struct pt_chunk *chunk_out);
/* All but the bytes, which follow. */
const char *pt_chunk_encode(const struct pt_chunk *chunk, struct pt_wire_chunk *head_out);

const char *pt_identity_body_decode(struct peat_bytes body, struct peat_identity *identity_out);

struct pt_ping {
    uint64_t time_us; /* the sender's clock */
    struct peat_position newest;
};

const char *pt_ping_decode(struct peat_bytes body, struct pt_ping *ping_out);
const char *pt_ping_encode(const struct pt_ping *ping, struct pt_wire_ping *body_out);

struct pt_bye {
    enum pt_bye_code code;
    struct peat_bytes words; /* borrowed */
};

const char *pt_bye_decode(struct peat_bytes body, struct pt_bye *bye_out);
/* PT_BYE_SIZE_MAX bytes do for all. */
const char *pt_bye_encode(const struct pt_bye *bye, void *buffer, size_t room, size_t *size_out);

#endif

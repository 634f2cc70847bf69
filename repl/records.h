/*
 * Records of the log in messages: RECORDS, which has whole ones, and PART, which has a piece of
 * one that is too large for a frame. See message_format.h; the rules of message.h hold here, too.
 *
 * Whether a record goes on from a follower's history is for peat_apply() to say.
 */
#ifndef PEAT_REPL_RECORDS_H
#define PEAT_REPL_RECORDS_H

#include "repl/message_format.h"

/* ---- RECORDS ---- */

/*
 * The next record of a RECORDS body. @p place: 0 to begin with; behind the record then, which was
 * the last one if that is body.size. To call it there once more is wrong: a body has a record at
 * least.
 */
const char *pt_records_next(struct peat_bytes body, size_t *place, struct peat_record *record_out);

/* Walk all records: nothing is to be done with a body whose end is wrong. *count_out: how many. */
const char *pt_records_check(struct peat_bytes body, size_t *count_out);

enum { PT_RECORDS_PIECES_MAX = 256 };

/*
 * A RECORDS body in the making: pieces that make it up one after the other. Records' headers are
 * in a buffer; a payload is copied there, or stays where it is and is a piece of its own. Owned by
 * one thread.
 */
struct pt_records {
    uint8_t *buffer;     /* borrowed */
    size_t room;         /* bytes of buffer */
    size_t used;         /* bytes of buffer */
    bool buffer_is_last; /* the last piece ends at buffer + used */
    size_t size;         /* bytes of the body so far */
    size_t size_max;     /* bytes that it may have */
    size_t count;        /* records; a body has one at least */
    size_t piece_count;
    struct peat_bytes pieces[PT_RECORDS_PIECES_MAX]; /* borrowed */
};

/* Begin a body of at most @p size_max bytes, which uses @p buffer until it is sent. */
void pt_records_begin(struct pt_records *records, void *buffer, size_t room, size_t size_max);

/*
 * Add a record, whose payload must stay until the body is sent: one that a feed has handed out is
 * gone with the feed's next call. PEAT_OK; PEAT_DONE: it does not fit, and nothing has changed (if
 * the body has none yet: it goes in parts); PEAT_INVALID: it is no record that a log can have.
 */
enum peat_status pt_records_add(struct pt_records *records, const struct peat_record *record);

/* The same with a copy of the payload in the buffer. */
enum peat_status pt_records_copy(struct pt_records *records, const struct peat_record *record);

/* ---- PART ---- */

struct pt_part {
    struct peat_record record; /* without its payload */
    uint64_t payload_size;     /* bytes of the whole payload */
    uint64_t offset;           /* bytes of it before the piece */
    struct peat_bytes piece;   /* borrowed; 1 byte at least */
};

const char *pt_part_decode(struct peat_bytes body, struct pt_part *part_out);

/* What comes before the piece in the body. */
const char *pt_part_encode(const struct pt_part *part, struct pt_wire_part *head_out);

/* The part of @p record from @p offset on, which is below its payload's size, for a body of at most
 * @p size_max bytes: more than a struct pt_wire_part has. */
struct pt_part pt_part_cut(const struct peat_record *record, uint64_t offset, size_t size_max);

#endif

/*
 * A joint: the parts of one record, as they come, made the record again.
 *
 * What it allocates grows with the bytes that have come (at most twice as many, and no more than
 * the record has), never by a size that a part tells.
 */
#ifndef PEAT_REPL_JOINT_H
#define PEAT_REPL_JOINT_H

#include "repl/records.h"

/* Owned by one thread. */
struct pt_joint {
    struct peat_record record; /* without its payload */
    uint64_t payload_size;     /* bytes of the whole payload; 0: no part has come */
    uint8_t *data;             /* owned: the payload so far */
    size_t size;               /* bytes that have come */
    size_t room;               /* bytes of data */
    size_t size_max;           /* bytes that a payload may have */
};

/* Release with pt_joint_fini(). */
void pt_joint_init(struct pt_joint *joint, size_t size_max);
void pt_joint_fini(struct pt_joint *joint); /* it is as after pt_joint_init() */

/* Whether the parts so far make no whole record. No other record may come meanwhile. */
bool pt_joint_is_open(const struct pt_joint *joint);

/*
 * Add the next part. After an error the joint is as it was before.
 *
 * @param record_out  set on PEAT_DONE; its payload is valid until the joint's next call
 * @param why_out     set on an error: what is wrong, in constant words
 * @retval PEAT_OK         more is to come
 * @retval PEAT_DONE       the record is whole; the next part begins another one
 * @retval PEAT_CORRUPT    it is not the next part of this record, or not the first one of another
 * @retval PEAT_TOO_LARGE  its record is above the limit
 * @retval PEAT_NO_MEMORY
 */
enum peat_status pt_joint_add(struct pt_joint *joint, const struct pt_part *part,
                              struct peat_record *record_out, const char **why_out);

#endif

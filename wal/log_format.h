/*
 * The log as it lies in the file: regions, records, links. The layout and nothing else; wal/README.md
 * has the protocol.
 *
 * A region of the log:
 *
 *   OFFSET         SIZE  CONTENT
 *        0         4096  link block: a link to the next region, or anything
 *     4096            -  records, each at a multiple of 8; the rest may be anything
 *   size - 4096    4096  link block: the same link again, far from the first
 *
 * What was in the space before is left there: every use of a region has a fresh random nonce, which
 * keys the checksums of its records and links, so nothing older can be taken for one of them.
 */
#ifndef PEAT_WAL_LOG_FORMAT_H
#define PEAT_WAL_LOG_FORMAT_H

#include "core/base/checksum.h"
#include "core/base/endian.h"

enum {
    PT_LOG_BLOCK = 4096,              /* bytes: what a power cut may damage around a write */
    PT_LOG_RECORD_ALIGNMENT = 8,      /* bytes */
    PT_LOG_HEADER_SIZE = 72,          /* bytes */
    PT_LOG_RECORD_SIZE_MAX = 262144,  /* bytes with header and padding: larger payloads are split */
    PT_LOG_PAYLOAD_SIZE_MAX = 262072, /* bytes: PT_LOG_RECORD_SIZE_MAX - PT_LOG_HEADER_SIZE */
    PT_LOG_MARK = 0x6c70,             /* in every record and link: makes looking for them cheap */
    PT_LOG_KIND_LINK = 0x4c           /* beside enum pt_record_kind */
};

#define PT_LOG_MORE 1u /* flag: the payload goes on in the next record */

/*
 * Record: this header, then the payload, then padding (of any content) to a multiple of 8.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  checksum          SipHash-2-4 of bytes 8..71, keyed by the region's nonce
 *        8     8  durable_position  the log was on disk up to here when this was written
 *       16    16  chain             SipHash-2-4-128 of bytes 32..(72 + size - 1), keyed by the chain of
 *                                   the record before
 *       32     4  size              of the payload, bytes; at most PT_LOG_PAYLOAD_SIZE_MAX
 *       36     1  kind              enum pt_record_kind
 *       37     1  flags             PT_LOG_MORE
 *       38     2  mark              PT_LOG_MARK
 *       40     8  epoch             never falls
 *       48     8  commit            batch: the one before + 1; otherwise the one before
 *       56     8  time_us           of the commit, microseconds since 1970
 *       64     8  position          bytes of records (with headers and padding) before this one
 *
 * Bytes 32 on are the logical record: the same on all nodes, and so is the chain. Bytes 0..15 belong
 * to this file alone. Valid if the checksum matches, every field is in its bounds, position, epoch
 * and commit continue what was before, and the chain matches.
 *
 * A payload above PT_LOG_PAYLOAD_SIZE_MAX is split into records of exactly that size, all with
 * PT_LOG_MORE, and a last one with the rest: by this rule alone, never by the space left in a region,
 * since it shows in position and chain. Changing any of this needs a new file version.
 */
struct pt_log_header {
    struct pt_le64 checksum;
    struct pt_le64 durable_position;
    struct pt_id chain;
    struct pt_le32 size;
    uint8_t kind;
    uint8_t flags;
    struct pt_le16 mark;
    struct pt_le64 epoch;
    struct pt_le64 commit;
    struct pt_le64 time_us;
    struct pt_le64 position;
};
_Static_assert(sizeof(struct pt_log_header) == PT_LOG_HEADER_SIZE, "on-disk size");
_Static_assert(offsetof(struct pt_log_header, chain) == 16, "on-disk offset");
_Static_assert(offsetof(struct pt_log_header, size) == 32, "on-disk offset");
_Static_assert(offsetof(struct pt_log_header, mark) == 38, "on-disk offset");
_Static_assert(offsetof(struct pt_log_header, position) == 64, "on-disk offset");
_Static_assert(PT_LOG_PAYLOAD_SIZE_MAX + PT_LOG_HEADER_SIZE == PT_LOG_RECORD_SIZE_MAX, "split");
_Static_assert(PT_LOG_RECORD_SIZE_MAX % PT_LOG_RECORD_ALIGNMENT == 0, "split");

/*
 * Link: where the log goes on. In both link blocks of a region, once its last record is written.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  checksum          SipHash-2-4 of bytes 8..71, keyed by this region's nonce
 *        8     8  durable_position  as in a record
 *       16    16  chain             of the last record of this region
 *       32     4  size              0
 *       36     1  kind              PT_LOG_KIND_LINK
 *       37     1  flags             0
 *       38     2  mark              PT_LOG_MARK
 *       40     8  region_offset     of the next region, bytes in the file
 *       48     8  region_size       of the next region, bytes
 *       56    16  nonce             of the next region
 *
 * Valid if the checksum matches and every field is in its bounds. Followed if the chain is the one of
 * the last record read. Changing any of this needs a new file version.
 */
struct pt_log_link {
    struct pt_le64 checksum;
    struct pt_le64 durable_position;
    struct pt_id chain;
    struct pt_le32 size;
    uint8_t kind;
    uint8_t flags;
    struct pt_le16 mark;
    struct pt_le64 region_offset;
    struct pt_le64 region_size;
    struct pt_id nonce;
};
_Static_assert(sizeof(struct pt_log_link) == PT_LOG_HEADER_SIZE, "on-disk size");
_Static_assert(offsetof(struct pt_log_link, mark) == 38, "on-disk offset");
_Static_assert(offsetof(struct pt_log_link, nonce) == 56, "on-disk offset");

/* What the checksum of a header or link covers: all that follows it. */
enum {
    PT_LOG_CHECKED_OFFSET = 8,
    PT_LOG_CHECKED_SIZE = PT_LOG_HEADER_SIZE - PT_LOG_CHECKED_OFFSET,
    PT_LOG_CHAINED_OFFSET = 32, /* the chain covers the rest of the header and the payload */
    PT_LOG_CHAINED_SIZE = PT_LOG_HEADER_SIZE - PT_LOG_CHAINED_OFFSET
};

/* Bytes of a record with a payload of @p size bytes: what it adds to the position. */
static inline uint64_t pt_log_record_size(uint64_t size)
{
    return pt_round_up(PT_LOG_HEADER_SIZE + size, PT_LOG_RECORD_ALIGNMENT);
}

/* Where records begin and end in a region of @p size bytes; the link blocks' offsets are 0 and the
 * latter. */
static inline uint64_t pt_log_data_start(void)
{
    return PT_LOG_BLOCK;
}

static inline uint64_t pt_log_data_end(uint64_t size)
{
    return size - PT_LOG_BLOCK;
}

#endif

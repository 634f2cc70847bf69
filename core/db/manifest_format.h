/*
 * The manifest as it lies in the file: one block, written once, named by a superblock.
 *
 *   header             PT_MANIFEST_HEADER_SIZE bytes
 *   feed header        24 bytes; from version 3 on
 *   role header        24 bytes; from version 4 on
 *   epoch rows         epoch_count x 40 bytes, oldest first; from version 4 on
 *   segment rows       segment_count x 88 bytes, ascending by segment id
 *   run rows           run_count x 8 bytes, newest run first
 *   slice rows         slice_count x 16 bytes: the first run's in key order, then the next run's
 *   history rows       kept_count x 56 bytes: the manifests that are kept, oldest first
 *   held rows          held_count x 88 bytes: regions of the log that feeds have yet to read, oldest first
 *   feed rows          feed_count x 16 bytes: the feeds that have a name
 *   keys               key_size bytes: each slice's low, then its high, in the order of the rows
 *   names              name_size bytes: each history row's, in the order of the rows
 *   feed names         feed_name_size bytes: each feed row's, in the order of the rows
 *   checksum           16 bytes: Poly1305 of everything before it, keyed by store id and generation
 *
 * Valid if magic, version and checksum match, the parts fill the block exactly, and:
 *
 *  1. segment ids ascend and are below next_segment_id, and every segment is named by a slice;
 *  2. extents are aligned as arena.h (1) wants it, hold their segment, and overlap neither each other
 *     nor the log's region;
 *  3. a run has at least one slice; its slices have low < high, ascend and do not overlap;
 *  4. history rows ascend by generation and by manifest_generation, and a generation is at most its
 *     manifest_generation; names are PEAT_NAME_SIZE_MAX bytes at most, without NUL, and no two are
 *     the same but empty. A row has a place, aligned and overlapping nothing of (2), but for two
 *     kinds: the last row may be the manifest's own, with its own generation as
 *     manifest_generation; and a row flagged as damaged has lost its place;
 *  5. held rows lie where nothing of (2) and (4) does, except that the last may be the region in which the
 *     log begins, with the same nonce: what is in it before that. A row with an offset is a place to read
 *     from, at a multiple of 8 inside its region; the first row has one. Epoch, commit and position of
 *     these rows do not descend, and none is beyond that of log, which are below 2^63. A row without (offset 0) goes on with a
 *     payload of the row before: its other numbers are 0;
 *  6. feed names are 1 to PEAT_NAME_SIZE_MAX bytes without NUL and ascend. What a feed has acknowledged may
 *     be any number.
 *
 *  7. there are 1 to PEAT_EPOCHS_MAX epoch rows; epoch and position ascend, first_commit does not
 *     descend and is 1 at least. The last row's epoch is that of log, and it begins at or before
 *     log. The role is of PT_ROLE_..., and what is fenced has met an epoch above its newest; what
 *     is not fenced may have.
 *
 * A version is never newer than what is in it needs, so that older peats open what they know:
 *
 *   version 2   neither held rows nor feed rows: the feed header is not there, nor what (7) is about
 *   version 3   one epoch, that of log, from the beginning on (first_commit 1, position and chain 0),
 *               no role, and no met_epoch: what (7) is about is not there
 *   version 4   anything else
 *
 * Changing any of this needs a new PT_MANIFEST_VERSION.
 */
#ifndef PEAT_CORE_DB_MANIFEST_FORMAT_H
#define PEAT_CORE_DB_MANIFEST_FORMAT_H

#include "core/base/checksum.h"
#include "core/base/endian.h"

#define PT_MANIFEST_MAGIC UINT64_C(0x314e414d54414550) /* "PEATMAN1" */

enum {
    PT_MANIFEST_VERSION_PLAIN = 2, /* without feeds */
    PT_MANIFEST_VERSION_FEEDS = 3, /* without a role, and of one epoch */
    PT_MANIFEST_VERSION = 4        /* the newest there is */
};

/* What the file is of which this is the manifest. */
enum pt_manifest_kind {
    PT_MANIFEST_STORE = 0,
    PT_MANIFEST_INCREMENT =
        1 /* what changed since a backup (backup_format.h): no store by itself */
};

/*
 * Where the log begins for whoever replays it (struct pt_log_point).
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  region_offset  bytes in the file; 0 where there is no log
 *        8     8  region_size    bytes; 0: there is no log
 *       16    16  nonce          of this use of the region
 *       32     8  offset         bytes in the region
 *       40     8  epoch
 *       48     8  commit         the last one that the segments hold
 *       56     8  time_us        of that commit, microseconds since 1970
 *       64     8  position       bytes of records since the store began
 *       72    16  chain          over all records so far
 */
struct pt_manifest_log {
    struct pt_le64 region_offset;
    struct pt_le64 region_size;
    struct pt_id nonce;
    struct pt_le64 offset;
    struct pt_le64 epoch;
    struct pt_le64 commit;
    struct pt_le64 time_us;
    struct pt_le64 position;
    struct pt_id chain;
};
_Static_assert(sizeof(struct pt_manifest_log) == 88, "on-disk size");
_Static_assert(offsetof(struct pt_manifest_log, nonce) == 16, "on-disk offset");
_Static_assert(offsetof(struct pt_manifest_log, chain) == 72, "on-disk offset");

/*
 * The header.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  magic               PT_MANIFEST_MAGIC
 *        8     4  version             PT_MANIFEST_VERSION_PLAIN to PT_MANIFEST_VERSION
 *       12     4  kind                enum pt_manifest_kind
 *       16     8  size                bytes of the block, checksum included
 *       24    16  store_id
 *       40     8  generation          at least 1
 *       48     8  next_segment_id     above every id in use; below 2^63, so that ids never run out
 *       56     8  next_collection_id  above every id in use; below 2^63 likewise
 *       64     8  hash_seed           of the hash indexes
 *       72    88  log                 struct pt_manifest_log; its epoch, commit and position below 2^63
 *      160     8  segment_count
 *      168     8  run_count
 *      176     8  slice_count
 *      184     8  key_size            bytes of all keys
 *      192     8  kept_count
 *      200     8  name_size           bytes of all names
 */
struct pt_manifest_header {
    struct pt_le64 magic;
    struct pt_le32 version;
    struct pt_le32 kind;
    struct pt_le64 size;
    struct pt_id store_id;
    struct pt_le64 generation;
    struct pt_le64 next_segment_id;
    struct pt_le64 next_collection_id;
    struct pt_le64 hash_seed;
    struct pt_manifest_log log;
    struct pt_le64 segment_count;
    struct pt_le64 run_count;
    struct pt_le64 slice_count;
    struct pt_le64 key_size;
    struct pt_le64 kept_count;
    struct pt_le64 name_size;
};
enum { PT_MANIFEST_HEADER_SIZE = 208 };
_Static_assert(sizeof(struct pt_manifest_header) == PT_MANIFEST_HEADER_SIZE, "on-disk size");
_Static_assert(offsetof(struct pt_manifest_header, store_id) == 24, "on-disk offset");
_Static_assert(offsetof(struct pt_manifest_header, log) == 72, "on-disk offset");
_Static_assert(offsetof(struct pt_manifest_header, segment_count) == 160, "on-disk offset");
_Static_assert(offsetof(struct pt_manifest_header, kept_count) == 192, "on-disk offset");

/*
 * The feed header, right behind the header, from version 3 on.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  held_count
 *        8     8  feed_count
 *       16     8  feed_name_size  bytes of all names of feeds
 */
struct pt_manifest_feed_header {
    struct pt_le64 held_count;
    struct pt_le64 feed_count;
    struct pt_le64 feed_name_size;
};
_Static_assert(sizeof(struct pt_manifest_feed_header) == 24, "on-disk size");

/* What a store is in replication. None of these: it takes commits of its own. */
enum {
    PT_ROLE_FOLLOWER = 1, /* it takes another store's commits alone */
    PT_ROLE_FENCED = 2,   /* its history goes on elsewhere: it takes none */
    PT_ROLES = 3          /* all that there are; never both */
};

/*
 * The role header, right behind the feed header, in version 4.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  epoch_count  1 to PEAT_EPOCHS_MAX
 *        8     8  role         PT_ROLE_..., or 0
 *       16     8  met_epoch    the newest epoch of its history that it knows to be elsewhere; 0:
 *       none; below 2^63
 */
struct pt_manifest_role_header {
    struct pt_le64 epoch_count;
    struct pt_le64 role;
    struct pt_le64 met_epoch;
};
_Static_assert(sizeof(struct pt_manifest_role_header) == 24, "on-disk size");

/*
 * One epoch.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  epoch
 *        8     8  first_commit
 *       16     8  position  bytes of records before it, since the store began
 *       24    16  chain     over these records
 */
struct pt_manifest_epoch_row {
    struct pt_le64 epoch;
    struct pt_le64 first_commit;
    struct pt_le64 position;
    struct pt_id chain;
};
_Static_assert(sizeof(struct pt_manifest_epoch_row) == 40, "on-disk size");
_Static_assert(offsetof(struct pt_manifest_epoch_row, chain) == 24, "on-disk offset");

/*
 * One segment.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  id
 *        8     8  extent_offset  bytes in the file
 *       16     8  extent_size    bytes of the region
 *       24     8  size           bytes of the segment; at most extent_size
 *       32     8  entry_count    puts and deletes
 *       40     8  delete_count   of those, deletes
 *       48     8  range_count    range deletes
 *       56    32  digest         BLAKE2b over chunk checksums and footer
 */
struct pt_manifest_segment_row {
    struct pt_le64 id;
    struct pt_le64 extent_offset;
    struct pt_le64 extent_size;
    struct pt_le64 size;
    struct pt_le64 entry_count;
    struct pt_le64 delete_count;
    struct pt_le64 range_count;
    struct pt_digest digest;
};
_Static_assert(sizeof(struct pt_manifest_segment_row) == 88, "on-disk size");
_Static_assert(offsetof(struct pt_manifest_segment_row, digest) == 56, "on-disk offset");

/*
 * One run.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  slice_count  at least 1
 */
struct pt_manifest_run_row {
    struct pt_le64 slice_count;
};
_Static_assert(sizeof(struct pt_manifest_run_row) == 8, "on-disk size");

/*
 * One slice.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  segment_index  number of the segment's row
 *        8     4  low_size       bytes of the key that begins it
 *       12     4  high_size      bytes of the key that ends it
 */
struct pt_manifest_slice_row {
    struct pt_le64 segment_index;
    struct pt_le32 low_size;
    struct pt_le32 high_size;
};
_Static_assert(sizeof(struct pt_manifest_slice_row) == 16, "on-disk size");

/* Flags of a history row. */
enum {
    PT_KEPT_DAMAGED = 1,       /* it could not be read, and its space may be in use again */
    PT_KEPT_BEFORE_REVERT = 2, /* what the store showed before it was reverted */
    PT_KEPT_FLAGS = 3          /* all that there are */
};

/*
 * One state of the store that is kept.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  generation           that began to show the state; its number for the caller
 *        8     8  manifest_generation  of the manifest that shows it: a merge replaces it
 *       16     8  offset               bytes in the file; 0: see (4)
 *       24     8  size                 bytes of the manifest, without padding; 0: see (4)
 *       32     8  commit               the last one it shows
 *       40     8  time_us              when that generation was made, microseconds since 1970
 *       48     4  name_size            bytes; 0: it has no name
 *       52     4  flags                PT_KEPT_...
 */
struct pt_manifest_kept_row {
    struct pt_le64 generation;
    struct pt_le64 manifest_generation;
    struct pt_le64 offset;
    struct pt_le64 size;
    struct pt_le64 commit;
    struct pt_le64 time_us;
    struct pt_le32 name_size;
    struct pt_le32 flags;
};
_Static_assert(sizeof(struct pt_manifest_kept_row) == 56, "on-disk size");
_Static_assert(offsetof(struct pt_manifest_kept_row, name_size) == 48, "on-disk offset");

/* Of a feed row. */
enum {
    PT_FEED_SEALS = 1, /* it needs the seals that follow the commit, too */
    PT_FEED_LOST =
        2 /* what it acknowledged was lost by the store: its number may stand for another commit */
};

/*
 * One feed that has a name. (A held row is a struct pt_manifest_log.)
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  acknowledged  the commit up to which it needs nothing any more
 *        8     4  name_size     bytes
 *       12     4  flags         of PT_FEED_...
 */
struct pt_manifest_feed_row {
    struct pt_le64 acknowledged;
    struct pt_le32 name_size;
    struct pt_le32 flags;
};
_Static_assert(sizeof(struct pt_manifest_feed_row) == 16, "on-disk size");

#endif

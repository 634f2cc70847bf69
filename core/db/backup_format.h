/*
 * A backup as it lies in a file. It is a store, laid out so that it can be written from front to back:
 *
 *   offset 0     both superblocks, of generation 1
 *       8 KiB    the backup header, PT_BACKUP_HEADER_SIZE bytes, then zeros
 *      64 KiB    segments in key order, one behind the other, each padded with zeros to 64 KiB
 *      the end   the manifest, of generation 1 and with no log, padded likewise
 *
 * There are two kinds. A full backup (PT_MANIFEST_STORE) holds one run, only puts, and opens as a
 * store. An increment (PT_MANIFEST_INCREMENT) holds one run of puts, deletes and range deletes which,
 * laid upon the state of its base, makes the state of its commit; only a restore opens it.
 *
 * Who opens a full backup for writing makes another generation rule: then it is a store as any other,
 * and what the header says of it holds no longer.
 */
#ifndef PEAT_CORE_DB_BACKUP_FORMAT_H
#define PEAT_CORE_DB_BACKUP_FORMAT_H

#include "core/base/checksum.h"
#include "core/base/endian.h"

#define PT_BACKUP_MAGIC UINT64_C(0x314b414254414550) /* "PEATBAK1" */

enum {
    PT_BACKUP_VERSION = 1,
    PT_BACKUP_GENERATION = 1,
    PT_BACKUP_HEADER_OFFSET = 8192 /* bytes */
};

/*
 * The header. The state is what the store held at the commit, all collections; its digest is what
 * content.h says.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  magic         PT_BACKUP_MAGIC
 *        8     4  version       PT_BACKUP_VERSION
 *       12     4  kind          enum pt_manifest_kind, as in the manifest
 *       16    16  store_id
 *       32     8  commit
 *       40     8  time_us       of that commit, microseconds since 1970; 0: not known
 *       48     8  entry_count   of the state
 *       56     8  put_count     in this file
 *       64     8  delete_count  in this file: deletes and range deletes
 *       72     8  file_size     bytes
 *       80    32  digest        of the state
 *      112     8  base_commit   increments: the base's; else 0
 *      120    32  base_digest   increments: of the base's state; else zeros
 *      152    88  reserved      zero
 *      240    16  checksum      Poly1305 of bytes 0..239, keyed by store id and commit
 *
 * Valid if magic, version and checksum match. Changing any of this needs a new PT_BACKUP_VERSION.
 */
struct pt_backup_page {
    struct pt_le64 magic;
    struct pt_le32 version;
    struct pt_le32 kind;
    struct pt_id store_id;
    struct pt_le64 commit;
    struct pt_le64 time_us;
    struct pt_le64 entry_count;
    struct pt_le64 put_count;
    struct pt_le64 delete_count;
    struct pt_le64 file_size;
    struct pt_digest digest;
    struct pt_le64 base_commit;
    struct pt_digest base_digest;
    uint8_t reserved[88];
    struct pt_checksum checksum;
};
enum { PT_BACKUP_HEADER_SIZE = 256 };
_Static_assert(sizeof(struct pt_backup_page) == PT_BACKUP_HEADER_SIZE, "on-disk size");
_Static_assert(offsetof(struct pt_backup_page, digest) == 80, "on-disk offset");
_Static_assert(offsetof(struct pt_backup_page, base_commit) == 112, "on-disk offset");
_Static_assert(offsetof(struct pt_backup_page, reserved) == 152, "on-disk offset");
_Static_assert(offsetof(struct pt_backup_page, checksum) == 240, "on-disk offset");

#endif

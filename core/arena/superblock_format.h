/*
 * A superblock: one 4 KiB page that names the manifest that rules.
 *
 *   OFFSET  SIZE  FIELD
 *        0     8  magic            PT_SUPERBLOCK_MAGIC
 *        8     4  version          PT_FORMAT_VERSION: of the whole file
 *       12     4  reserved         zero
 *       16     8  generation       1 to PT_GENERATION_END - 1
 *       24    16  store_id         random, given when the store is made
 *       40     8  manifest_offset  bytes from the start of the file
 *       48     8  manifest_size    bytes, without padding
 *       56  4016  reserved         zero
 *     4072     8  magic_again      PT_SUPERBLOCK_MAGIC: a sector's damage does not hide what it was
 *     4080    16  checksum         Poly1305 of bytes 0..4079, key pt_key_derive(zeros,
 *                                  PT_KEY_SUPERBLOCK, generation, 0)
 *
 * The pages are at offset 0 and PT_SUPERBLOCK_SIZE. Valid if both magics and the checksum match,
 * version is at least 1 and generation is in its bounds. Of two valid pages the one of the higher generation rules.
 *
 * Magics, version, generation and checksum keep place and meaning in all versions to come, so that
 * any library can tell a newer store from a damaged one. Changing anything else in the file needs a
 * new PT_FORMAT_VERSION.
 */
#ifndef PEAT_CORE_ARENA_SUPERBLOCK_FORMAT_H
#define PEAT_CORE_ARENA_SUPERBLOCK_FORMAT_H

#include "core/base/checksum.h"
#include "core/base/endian.h"

/* The bytes 0x89 "peat" CR LF 0x1a: a transfer that takes the file for text breaks them. */
#define PT_SUPERBLOCK_MAGIC UINT64_C(0x1a0a0d7461657089)

enum {
    PT_FORMAT_VERSION = 1,
    PT_SUPERBLOCK_SIZE = 4096, /* bytes per page */
    PT_SUPERBLOCK_COUNT = 2
};

struct pt_superblock_page {
    struct pt_le64 magic;
    struct pt_le32 version;
    uint8_t reserved[4];
    struct pt_le64 generation;
    struct pt_id store_id;
    struct pt_le64 manifest_offset;
    struct pt_le64 manifest_size;
    uint8_t reserved_more[4016];
    struct pt_le64 magic_again;
    struct pt_checksum checksum;
};
_Static_assert(sizeof(struct pt_superblock_page) == PT_SUPERBLOCK_SIZE, "on-disk size");
_Static_assert(offsetof(struct pt_superblock_page, version) == 8, "on-disk offset");
_Static_assert(offsetof(struct pt_superblock_page, generation) == 16, "on-disk offset");
_Static_assert(offsetof(struct pt_superblock_page, store_id) == 24, "on-disk offset");
_Static_assert(offsetof(struct pt_superblock_page, manifest_offset) == 40, "on-disk offset");
_Static_assert(offsetof(struct pt_superblock_page, manifest_size) == 48, "on-disk offset");
_Static_assert(offsetof(struct pt_superblock_page, magic_again) == 4072, "on-disk offset");
_Static_assert(offsetof(struct pt_superblock_page, checksum) == 4080, "on-disk offset");

#endif

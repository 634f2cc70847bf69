/*
 * The two superblocks: which manifest rules.
 *
 *  1. A generation is first written to the page that its parity picks (odd: the second), and synced.
 *     Until then the other page rules, which the write does not touch.
 *  2. Then it is repeated in the other page, and synced again, before anything that only older
 *     generations name is used again. So damage to one page does not take a store in use back to an
 *     older generation; and where the pages differ, both of their generations are whole.
 *  3. So a page of zeros means that making the store was cut short, and nothing was ever promised; or,
 *     beside generation 1, that a power cut tore generation 2 so badly. The log tells which: if anything
 *     was committed, the store had been made.
 *  4. Who opens a store for writing first makes what rules durable in both pages (settling): it may
 *     come from a process that was killed before its sync, or whose sync failed.
 */
#ifndef PEAT_CORE_ARENA_SUPERBLOCK_H
#define PEAT_CORE_ARENA_SUPERBLOCK_H

#include "core/base/checksum.h"
#include "core/base/file.h"

/* Above every generation that can be reached; byte locks have no room for more. */
#define PT_GENERATION_END (UINT64_C(1) << 61)

/* What a superblock says, decoded. */
struct pt_superblock {
    struct pt_id store_id;
    /* 1 to PT_GENERATION_END - 1; its parity picks the page it is first written to */
    uint64_t generation;
    uint64_t manifest_offset; /* bytes in the file */
    uint64_t manifest_size;   /* bytes, without padding */
};

/*
 * Read both and give the valid one of the higher generation; its manifest's place is not checked.
 * PEAT_NOT_FOUND: an empty file, or a store whose making was cut short (3). PEAT_INVALID: neither
 * page ever was a superblock (not a peat store). PEAT_VERSION: a newer format. PEAT_CORRUPT: it was
 * a store, and neither page is valid any more. PEAT_IO.
 * *damaged_out (may be NULL): one of the two pages holds something that is neither valid nor zeros.
 */
enum peat_status pt_superblock_read(struct pt_file *file, struct pt_superblock *superblock_out,
                                    bool *damaged_out);

/* The page that says @p superblock, PT_SUPERBLOCK_SIZE bytes, for a file that is written from front to
 * back by others. */
void pt_superblock_encode(const struct pt_superblock *superblock, void *page);

/* Write, make durable and repeat. The caller has made everything durable that it leads to. After a
 * failure it is not known which generation rules. PEAT_IO, PEAT_NO_SPACE. */
enum peat_status pt_superblock_write(struct pt_file *file, const struct pt_superblock *superblock);

/*
 * Rule 4, for @p superblock as pt_superblock_read() gave it. @p in_use: something was committed to the
 * store, so it was made, and a page of zeros is one that a power cut tore. PEAT_IO, PEAT_NO_SPACE.
 */
enum peat_status pt_superblock_settle(struct pt_file *file, const struct pt_superblock *superblock,
                                      bool in_use);

#endif

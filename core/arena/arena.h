/*
 * The arena: the file as space. Regions are allocated, released and reused here; the whole file is
 * mapped for reading in one reserved range of addresses, so pointers into it stay valid while it
 * grows.
 *
 *  1. A region's offset and size are multiples of PT_REGION_UNIT; the first is at PT_ARENA_START.
 *  2. Nothing on disk says what is free: whoever opens a store claims what the manifest names, and
 *     the rest is free.
 *  3. A region that the newest manifest no longer names is retired with that manifest's generation,
 *     once nothing in this process uses it. It becomes free when that generation's superblock is
 *     durable and no other process holds an older generation.
 *  4. Free space is reused first-fit from the front. At the end of the file it is truncated away,
 *     in the middle its blocks are given back (punched), both by pt_arena_trim().
 *
 * core/arena/README.md has the rules in full.
 *
 * Thread rule: all calls are safe from any thread (one mutex inside; it is not held across system
 * calls that can take long, except those that change the file's size).
 */
#ifndef PEAT_CORE_ARENA_ARENA_H
#define PEAT_CORE_ARENA_ARENA_H

#include "core/arena/superblock.h"

enum {
    PT_REGION_UNIT = 65536, /* bytes: the largest page size there is */
    PT_ARENA_START = 65536, /* bytes: where regions begin; the superblocks are before */
    PT_MAP_UNIT = 1048576   /* bytes: the mapping grows in multiples of this */
};

struct pt_arena;

/* A region: where it is and how large. */
struct pt_extent {
    uint64_t offset; /* bytes in the file; a multiple of PT_REGION_UNIT */
    uint64_t size;   /* bytes; a multiple of PT_REGION_UNIT */
};

struct pt_arena_options {
    unsigned flags;              /* PEAT_CREATE, PEAT_READ_ONLY, PEAT_EXCLUSIVE */
    uint64_t address_space_size; /* bytes to reserve, rounded up to 2 MiB; 0: 1 TiB, or less if that
                                    is refused */
};

struct pt_arena_space {
    uint64_t file_size;      /* bytes */
    uint64_t allocated_size; /* bytes of disk */
    uint64_t free_size;      /* bytes free inside the file */
    uint64_t retired_size;   /* bytes waiting by rule 3 */
};

/*
 * Open or create the file and map it. *created_out: the store is new (no file, an empty one, or one
 * whose making was cut short, see superblock.h): the caller makes the first generation. Otherwise
 * what rules on disk is durable. A writable arena holds the writer's lock. @p path NULL: in memory.
 *
 * PEAT_NOT_FOUND      no file, or an empty one, and PEAT_CREATE is not set (or PEAT_READ_ONLY is)
 * PEAT_EXISTS         PEAT_CREATE and PEAT_EXCLUSIVE are set and there is a file
 * PEAT_BUSY           another writer has it, named in the words
 * PEAT_INVALID        not a regular file, or not a peat store (untouched), or larger than
 *                     address_space_size
 * PEAT_VERSION, PEAT_CORRUPT, PEAT_DENIED, PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_IO
 */
enum peat_status pt_arena_open(const char *path, const struct pt_arena_options *options,
                               struct pt_arena **arena_out, bool *created_out);
void pt_arena_close(struct pt_arena *arena); /* NULL is allowed */

struct pt_file *pt_arena_file(struct pt_arena *arena);
/* Where offset 0 is mapped; constant for the arena's life. */
const uint8_t *pt_arena_base(const struct pt_arena *arena);
/* Bytes that may be touched from the base on. Read-only arenas: as of the last
 * pt_arena_refresh_size(). */
uint64_t pt_arena_size(struct pt_arena *arena);
/* Read-only arenas: look how large the file is now, and map it. On writable ones nothing happens.
 * PEAT_NO_MEMORY: it outgrew the address space reserved. PEAT_IO. */
enum peat_status pt_arena_refresh_size(struct pt_arena *arena);

/* Mark what the manifest names as used. PEAT_CORRUPT if it is misaligned, outside the file or
 * overlaps another claim. Only between open and the first allocation. In a read-only arena it may be
 * called at any time, keeps nothing, and so does not see overlaps. PEAT_NO_MEMORY. */
enum peat_status pt_arena_claim(struct pt_arena *arena, struct pt_extent extent);

/* A free region of at least @p size bytes (above 0), with disk blocks, mapped; what it holds is not
 * defined. PEAT_NO_SPACE (also: the address space reserved is used up), PEAT_NO_MEMORY, PEAT_IO. */
enum peat_status pt_arena_alloc(struct pt_arena *arena, uint64_t size,
                                struct pt_extent *extent_out);
/* Free at once: for what no manifest ever named (a failed or shortened allocation). */
void pt_arena_release(struct pt_arena *arena, struct pt_extent extent);
/* Free by rule 3; @p generation is the first that no longer names it. PEAT_NO_MEMORY: the space is
 * free again only after the next open. */
enum peat_status pt_arena_retire(struct pt_arena *arena, struct pt_extent extent,
                                 uint64_t generation);
/* Free what was retired and may be free now; @p durable_generation is on disk. */
void pt_arena_reclaim(struct pt_arena *arena, uint64_t durable_generation);
/* Truncate the free tail, punch free space in the middle that is not yet punched. Errors are not
 * fatal: the space stays free. PEAT_IO. */
enum peat_status pt_arena_trim(struct pt_arena *arena);

void pt_arena_space(struct pt_arena *arena, struct pt_arena_space *space_out);

/*
 * Readers in other processes, and a check in this one: hold @p generation, so that the writer keeps what
 * it names. The caller then checks that it still rules, and holds the newer one if not. Any number
 * may be held, one several times too; each is given up singly. PEAT_NO_MEMORY, PEAT_IO.
 */
enum peat_status pt_arena_hold_generation(struct pt_arena *arena, uint64_t generation);
enum peat_status pt_arena_unhold_generation(struct pt_arena *arena, uint64_t generation);

#endif

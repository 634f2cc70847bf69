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
 *  4. Free space is reused from the front, by a close fit if there is one. At the end of the file it is
 *     truncated away, in the middle its blocks are given back (punched), both by pt_arena_trim().
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
    uint64_t file_size_max;      /* bytes; 0: as far as the address space goes */
    bool any_superblock;         /* read-only: it may hold no valid superblock */
};

struct pt_arena_space {
    uint64_t file_size;      /* bytes */
    uint64_t allocated_size; /* bytes of disk */
    uint64_t free_size;      /* bytes free inside the file, the reserve not counted */
    uint64_t reserve_size;   /* bytes of the reserve */
    uint64_t retired_size;   /* bytes waiting by rule 3 */
    uint64_t reader_size; /* bytes of these that wait for other processes, as of the last reclaim */
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

/*
 * The file's size is on disk at least up to byte @p end, which a sync of a range does not see to. Cheap
 * unless the file has grown since the last call; then everything is synced. Fails as pt_file_sync().
 */
enum peat_status pt_arena_settle_size(struct pt_arena *arena, uint64_t end);

/* Mark what the manifest names as used. PEAT_CORRUPT if it is misaligned, outside the file or
 * overlaps another claim. Only between open and the first allocation. In a read-only arena it may be
 * called at any time, keeps nothing, and so does not see overlaps. PEAT_NO_MEMORY. */
enum peat_status pt_arena_claim(struct pt_arena *arena, struct pt_extent extent);

/* Not all that the ruling generation names could be read: what was not claimed may be of it, so it is
 * retired with the next generation instead of being free. Between claims and the first allocation. */
void pt_arena_claims_doubtful(struct pt_arena *arena);

/* A free region of at least @p size bytes (above 0), with disk blocks, mapped; what it holds is not
 * defined. PEAT_NO_SPACE (also: the address space reserved, file_size_max or RLIMIT_FSIZE is used up),
 * PEAT_NO_MEMORY, PEAT_IO. */
enum peat_status pt_arena_alloc(struct pt_arena *arena, uint64_t size,
                                struct pt_extent *extent_out);
/* The same for what will be free again soon: it takes the last space that fits, not the first, so that it
 * does not break up what large regions need. */
enum peat_status pt_arena_alloc_brief(struct pt_arena *arena, uint64_t size,
                                      struct pt_extent *extent_out);
/*
 * The reserve: space with blocks that is kept back for what gives space back, so that there is some
 * when the disk is full. It is not on disk that it is one: at the next open it is free space like any
 * other, and its blocks are found again.
 *
 * A region for such use, from @p size_min to @p size bytes: as pt_arena_alloc(), or if there is no
 * space from the reserve, of which @p keep_size bytes are left alone. *drawn_out (may be NULL) is
 * increased by what came from there.
 */
enum peat_status pt_arena_alloc_reserved(struct pt_arena *arena, uint64_t size, uint64_t size_min,
                                         uint64_t keep_size, struct pt_extent *extent_out,
                                         uint64_t *drawn_out);
/* Back to the reserve, what came from it and was not needed. */
void pt_arena_release_reserved(struct pt_arena *arena, struct pt_extent extent);
/* Of more than there can be: nothing is taken from the reserve. */
#define PT_KEEP_ALL UINT64_MAX
/* Whether pt_arena_alloc_reserved() can take @p size bytes from the reserve. */
bool pt_arena_reserve_has(struct pt_arena *arena, uint64_t size, uint64_t keep_size);
/* Make the reserve at least @p size bytes large. Cheap if it is. PEAT_NO_SPACE: it is as large as it can
 * be. PEAT_NO_MEMORY, PEAT_IO. */
enum peat_status pt_arena_reserve_fill(struct pt_arena *arena, uint64_t size);
/* Make what is beyond @p size bytes free space. */
void pt_arena_reserve_cut(struct pt_arena *arena, uint64_t size);
/* Move it to the front, out of the way of pt_arena_trim(), if there is room. */
void pt_arena_reserve_settle(struct pt_arena *arena);
uint64_t pt_arena_reserve_size(struct pt_arena *arena);
/* Bytes of the file that are neither free nor in the reserve. */
uint64_t pt_arena_used_size(struct pt_arena *arena);
/* Bytes that can be allocated, about, by all that bounds them: a hint. */
uint64_t pt_arena_room(struct pt_arena *arena);
/* Whether space has run short: something was drawn from the reserve and it could not be filled since, or there is
 * hardly any left below file_size_max and the like. */
bool pt_arena_is_short(struct pt_arena *arena);

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
/*
 * Hold the generation that rules: what *superblock_out names stays in place until
 * pt_arena_unhold_generation(). *damaged_out (may be NULL) as from pt_superblock_read(). PEAT_BUSY: a
 * writer installs faster than can be read. PEAT_CORRUPT, PEAT_NO_MEMORY, PEAT_IO.
 */
enum peat_status pt_arena_hold_newest(struct pt_arena *arena, struct pt_superblock *superblock_out,
                                      bool *damaged_out);

#endif

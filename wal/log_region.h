/*
 * A region of the log in the hands of its writer: its space, its writable mapping, its links.
 *
 * What is known of it besides (how far it is used and synced) is the log's, see log.c.
 */
#ifndef PEAT_WAL_LOG_REGION_H
#define PEAT_WAL_LOG_REGION_H

#include "wal/log.h"
#include "wal/log_format.h"

/*
 * A region: extent and nonce are immutable once opened; the map belongs to whoever holds the log's
 * room mutex, and to the appender while it writes here; the rest is guarded by the log's tail mutex.
 */
struct pt_log_region {
    struct pt_log_region *next; /* the region after this one; the last is NULL */
    struct pt_extent extent;
    struct pt_id nonce;
    uint8_t *map;       /* of the whole region, writable; NULL: none */
    bool zero_wanted;   /* the rest of it is to be written with zeros; the room mutex */
    uint64_t zeroed;    /* bytes from its start that were written with zeros; the room mutex */
    uint64_t used;      /* bytes from its start: where the next record goes */
    uint64_t synced;    /* bytes from its start: on disk; a block boundary while all is synced */
    uint64_t populated; /* bytes from its start: may be stored to; the appender's */
    uint64_t detached;  /* bytes from its start: full, out of the page tables; the appender's */
    bool left;          /* linked to the next one: nothing is written here any more */
    bool has_start;     /* a payload begins here, the first of them at start: */
    struct pt_log_point start;
};

/*
 * A fresh region of @p size bytes, or less, down to @p size_min, if the disk is too full for that. It
 * may come from the arena's reserve if that keeps @p keep_size bytes (PT_KEEP_ALL: not from there), and
 * then has at least @p size_reserved_min, which is no more than @p size_min.
 * PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY.
 */
enum peat_status pt_log_region_open(struct pt_arena *arena, uint64_t size, uint64_t size_min,
                                    uint64_t size_reserved_min, uint64_t keep_size, bool mapped,
                                    struct pt_log_region **region_out);
void pt_log_region_close(struct pt_log_region *region); /* NULL is allowed; the space stays */
void pt_log_region_unmap(struct pt_log_region *region);

/* Write zeros over the next @p size_max bytes that were not, while no record is in the region. With
 * @p durable, those are on disk then. PEAT_IO. */
enum peat_status pt_log_region_zero(struct pt_log_region *region, struct pt_arena *arena,
                                    uint64_t size_max, bool durable);

/* Write both links to @p next. @p durable_position and @p chain as in struct pt_log_link. */
enum peat_status pt_log_region_link(const struct pt_log_region *region, struct pt_arena *arena,
                                    const struct pt_log_region *next, uint64_t durable_position,
                                    const struct pt_id *chain);

/* Make [@p from, @p to) durable, offsets in the region. */
enum peat_status pt_log_region_sync(const struct pt_log_region *region, struct pt_arena *arena,
                                    uint64_t from, uint64_t to);
/* The same for a region that was left, with the links. */
enum peat_status pt_log_region_sync_left(const struct pt_log_region *region, struct pt_arena *arena,
                                         uint64_t from, uint64_t to);

#endif

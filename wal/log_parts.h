/*
 * What the parts of the appender share: log.c (the log as a whole), log_room.c (regions), log_append.c
 * (records) and log_sync.c (push and sync). wal/README.md has the protocol.
 *
 *   first ... left regions ... -> current -> regions made ready
 *                                 |synced ..... used|populated ...... |
 *                                  on disk       tail  may be stored to
 *
 * Four mutexes, taken in this order, any of them may be skipped:
 *
 *   sync   one sync at a time; keeps regions that a sync works on from being retired
 *   room   making, mapping, zeroing and leaving regions
 *   push   one write of staged records at a time, so that they arrive in order
 *   tail   where the tail is, and the list of regions; never held across a system call. The appender
 *          holds it while it writes a record, so a sync never sees half of one.
 */
#ifndef PEAT_WAL_LOG_PARTS_H
#define PEAT_WAL_LOG_PARTS_H

#include "core/base/thread.h"
#include "wal/log.h"
#include "wal/log_region.h"

enum {
    PT_LOG_STAGE_SIZE = 524288 /* bytes staged before the appender writes them itself */
};
_Static_assert(PT_LOG_STAGE_SIZE % PT_LOG_BLOCK == 0, "the last block of a stage can be padded");
_Static_assert(PT_LOG_STAGE_SIZE >= (int)PT_LOG_RECORD_SIZE_MAX, "an empty stage takes any record");

/* Records that wait in memory, to be written to one region in one piece. */
struct pt_log_stage {
    uint8_t *data;   /* PT_LOG_STAGE_SIZE bytes */
    uint64_t offset; /* in the region: where the first of them goes */
    uint64_t size;   /* bytes used */
};

struct pt_log {
    struct pt_arena *arena; /* borrowed */
    struct pt_file *file;   /* the arena's */
    uint64_t region_size_min;
    uint64_t region_size_max;
    bool pwrite;        /* nothing is written through a mapping */
    bool staged;        /* the appender's: records go to the stage; true with pwrite */
    uint64_t keep_size; /* the appender's: see pt_log_use_reserve() */

    atomic_bool poisoned;       /* set once, never taken back: relaxed, it orders nothing */
    atomic_bool unpushed;       /* the stage holds records, or they are just being written */
    atomic_bool prepare_wanted; /* a hint: relaxed */
    atomic_bool appender_waits; /* for the room mutex; a hint: relaxed */

    struct pt_mutex sync_mutex;
    struct pt_log_region *sync_region PT_GUARDED_BY(sync_mutex); /* what is before is on disk */

    struct pt_mutex room_mutex;
    uint64_t region_size PT_GUARDED_BY(room_mutex); /* bytes: of the next region */
    uint64_t made_us PT_GUARDED_BY(room_mutex);     /* when the last region was made */
    uint64_t made_position PT_GUARDED_BY(room_mutex);
    uint64_t made_sync_count PT_GUARDED_BY(room_mutex);

    struct pt_mutex push_mutex;
    uint8_t *idle PT_GUARDED_BY(push_mutex); /* the data of the stage that is not in use */

    struct pt_mutex tail_mutex;
    struct pt_log_region *first PT_GUARDED_BY(tail_mutex);
    struct pt_log_region *current PT_GUARDED_BY(tail_mutex);
    struct pt_log_region *last PT_GUARDED_BY(tail_mutex);
    struct pt_log_point end PT_GUARDED_BY(tail_mutex);   /* without the physical half */
    struct pt_log_stage stage PT_GUARDED_BY(tail_mutex); /* of the current region */
    uint64_t durable_position PT_GUARDED_BY(tail_mutex);
    uint64_t retry_position PT_GUARDED_BY(tail_mutex); /* no region is asked for before this */
    uint64_t sync_count PT_GUARDED_BY(tail_mutex);
    uint64_t bytes_written PT_GUARDED_BY(tail_mutex);
};

static inline bool pt_log_is_poisoned(const struct pt_log *log)
{
    return atomic_load_explicit(&log->poisoned, memory_order_relaxed);
}

enum peat_status pt_log_refuse_poisoned(void);
/* A write or sync failed with @p status: what the page cache holds can no longer be believed. What to
 * return; the words of the failure stand. */
enum peat_status pt_log_poison(struct pt_log *log, enum peat_status status);

/* ---- log_room.c ---- */

/* The first region, the whole of it zeroed: it is small. The caller syncs the file before it names
 * the region. */
enum peat_status pt_log_first_region_open(struct pt_log *log, struct pt_log_region **region_out);

/* Find all the space that @p payload_size bytes can take. When that fails, nothing has changed. */
enum peat_status pt_log_room_reserve(struct pt_log *log, uint64_t payload_size);

/* Records of @p region, which has none yet, will begin behind @p end: of its log, or a jump's. */
void pt_log_region_begin(struct pt_log_region *region, const struct pt_log_point *end);

/* Link the current region to the next and go on there. Everything staged is written. */
enum peat_status pt_log_region_leave(struct pt_log *log);

/* Release what was made ready after @p last. */
void pt_log_regions_release_after(struct pt_log *log, struct pt_log_region *last)
    PT_REQUIRES(log->room_mutex);

/* Whether the next region is to be made ready. */
static inline bool pt_log_spare_wanted_locked(const struct pt_log *log) PT_REQUIRES(log->tail_mutex)
{
    const struct pt_log_region *region = log->current;

    return region->next == NULL && region->used > region->extent.size / 2 &&
           log->end.position >= log->retry_position;
}

#endif

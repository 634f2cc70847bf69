/*
 * The log: records appended to regions of the arena, in commit order, and read back after a crash
 * or by another process. It knows records, not what is in them.
 *
 * Appending, thread rule: one appender at a time (the commit leader): it alone calls pt_log_append(),
 * pt_log_stage() and pt_log_point(). All the rest runs beside it on any thread.
 */
#ifndef PEAT_WAL_LOG_H
#define PEAT_WAL_LOG_H

#include "core/arena/arena.h"

/* What a record is; the log itself also writes records to link its regions. */
enum pt_record_kind {
    PT_RECORD_BATCH = 1,  /* a batch: what is in it is the reader's matter */
    PT_RECORD_SEAL = 2,   /* the write buffer ends after this commit */
    PT_RECORD_INSTALL = 3 /* reserved: the merger replaced slices by segments */
};

/*
 * The state of the history at one point: what a manifest keeps to say where replay begins. The
 * physical half (region, nonce, offset) is this file's own; the logical half is the same on all
 * nodes.
 */
struct pt_log_point {
    struct pt_extent region; /* size 0: there is no log after this point */
    struct pt_id nonce;      /* of this use of the region */
    uint64_t offset;         /* bytes in the region: where the next record begins */
    uint64_t epoch;
    uint64_t commit;    /* the last one before this point */
    uint64_t time_us;   /* of that commit */
    uint64_t position;  /* bytes of records since the store began */
    struct pt_id chain; /* SipHash-2-4-128 over all records so far, each keyed by the last */
};

/* An epoch, a commit number or a position above this was never reached by counting: who goes on from there
 * runs out of numbers. Twice as many are read, so that what is written always is. */
#define PT_LOG_NUMBER_MAX (UINT64_C(1) << 62)

static inline bool pt_log_point_within(const struct pt_log_point *point, uint64_t max)
{
    return point->epoch <= max && point->commit <= max && point->position <= max;
}

static inline bool pt_log_point_can_go_on(const struct pt_log_point *point)
{
    return pt_log_point_within(point, PT_LOG_NUMBER_MAX);
}

/*
 * One region of the log, for whoever keeps it when replay does not need it any more: where a reader can
 * begin in it, which is where the first payload does that begins in it. A region that was entered in the
 * middle of a large payload has no such place before that payload's end, perhaps none at all.
 */
struct pt_log_piece {
    struct pt_log_point start; /* region and nonce are set in any case */
    bool has_start;
};

struct pt_log_options {
    bool pwrite;              /* PEAT_LOG_PWRITE: no writable mapping */
    uint64_t region_size_min; /* bytes: the first region; 0: the default (128 KiB) */
    uint64_t region_size_max; /* bytes: what regions grow to; 0: the default (64 MiB) */
};

/* ---- Appending ---- */

struct pt_log;

/*
 * Begin a log that goes on from @p start's logical half in a fresh region (its physical half is
 * ignored). PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY.
 */
enum peat_status pt_log_open(struct pt_arena *arena, const struct pt_log_options *options,
                             const struct pt_log_point *start, struct pt_log **log_out);
/* Writes nothing. The regions stay as they are, except those that were only made ready: nothing names
 * them, so they are released. NULL is allowed. */
void pt_log_close(struct pt_log *log);

/*
 * Append one record of the pieces @p payload, one after the other. All space is found before the
 * first byte is written: on PEAT_NO_SPACE and PEAT_NO_MEMORY the log is as before. @p commit is the
 * last one's number + 1 for a batch, the last one's number for a seal. Larger than a region is fine.
 * The record has reached PEAT_OS when this returns, unless it is staged (below): then after
 * pt_log_push() or pt_log_sync(). PEAT_NO_SPACE, PEAT_IO (also poisons), PEAT_POISONED,
 * PEAT_NO_MEMORY.
 */
enum peat_status pt_log_append(struct pt_log *log, enum pt_record_kind kind, uint64_t commit,
                               uint64_t time_us, const struct peat_bytes *payload,
                               size_t payload_count);
/*
 * Whether what is appended from now on is staged: it waits in private memory until pt_log_push() or
 * pt_log_sync(). Said before appending a group that will be synced at once, which then takes one
 * write of just its bytes. With PEAT_LOG_PWRITE everything is staged, whatever is said here.
 */
void pt_log_stage(struct pt_log *log, bool staged);
/*
 * What is appended from now on may take regions from the arena's reserve, but for @p keep_size bytes of
 * it. To begin with, and with PT_KEEP_ALL, it may not.
 */
void pt_log_use_reserve(struct pt_log *log, uint64_t keep_size);
/* What was appended is in the page cache: it survives the process. As pt_log_sync() otherwise. */
enum peat_status pt_log_push(struct pt_log *log);
/*
 * What was appended before the call is on disk when this returns; later records begin in a block of
 * their own. Does nothing if that is so already. A failure poisons: PEAT_IO, then PEAT_POISONED for
 * ever.
 */
enum peat_status pt_log_sync(struct pt_log *log);
bool pt_log_unsynced(struct pt_log *log);

/*
 * Work ahead of the appender, on a background thread: have the next region ready before the current
 * one is full, and unmap those that were left. What it does not get done the appender does itself.
 * PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY: harmless, the appender will see for itself.
 */
enum peat_status pt_log_prepare(struct pt_log *log);
/* Whether pt_log_prepare() has something to do. Cheap: asked after each group of appends. */
bool pt_log_prepare_wanted(const struct pt_log *log);

/* The epoch of what is appended from now on; it never falls. The appender's thread. */
void pt_log_begin_epoch(struct pt_log *log, uint64_t epoch);

/* Where the next record will begin. The appender's thread only, or while there is none. */
struct pt_log_point pt_log_point(struct pt_log *log);

/*
 * Records before @p point are in segments, and a manifest of generation @p generation, which begins
 * the log at @p point, is durable: the regions before it are no longer the log's. Each in turn is given
 * to @p keep (NULL: none is wanted); where that returns true it is the caller's, the others are retired to
 * the arena with that generation.
 */
void pt_log_retire(struct pt_log *log, const struct pt_log_point *point, uint64_t generation,
                   bool (*keep)(void *context, const struct pt_log_piece *piece), void *context);

/* A durable manifest of generation @p generation begins no log: the same with all regions, and close. */
void pt_log_end(struct pt_log *log, uint64_t generation,
                bool (*keep)(void *context, const struct pt_log_piece *piece), void *context);

/* The regions that records were appended to, in order: up to @p capacity of them are set in @p pieces_out,
 * the last of those that there are is the current one. How many there are. */
size_t pt_log_pieces(struct pt_log *log, struct pt_log_piece *pieces_out, size_t capacity);

/*
 * Going on after what is in no record here: what comes next does not follow from the records so
 * far, so it begins in a fresh region that nothing links to. The log's old end stays its end for
 * whoever reads from an older point.
 *
 * Prepared, a jump changes nothing yet: the caller makes a manifest durable that begins the log at
 * jump->point, and then jumps, which cannot fail, or takes it back. The appender's thread, or another
 * while that waits; nothing is appended in between.
 */
struct pt_log_jump {
    struct pt_log_region *region; /* NULL: nothing is prepared, or it was done */
    struct pt_log_point point;
    bool parts; /* numbers of commits and positions may go back */
};

/* The chain of a point behind the commit @p commit, which is in no record, made at @p time_us, where the
 * chain before it was @p chain. */
struct pt_id pt_log_jump_chain(const struct pt_id *chain, uint64_t commit, uint64_t time_us);

/* The history behind one such commit, made at @p time_us, where it was @p end. */
struct pt_log_point pt_log_point_reverted(const struct pt_log_point *end, uint64_t time_us);

/* The log goes on where the history is @p behind: at no earlier commit and position, unless @p parts, which says
 * that it leaves its own history for another one. Where @p behind lies is not
 * looked at. PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_IO, PEAT_POISONED. */
enum peat_status pt_log_jump_prepare(struct pt_log *log, const struct pt_log_point *behind,
                                     bool parts, struct pt_log_jump *jump_out);
void pt_log_jump(struct pt_log *log, struct pt_log_jump *jump);
/* Take it back. @p named: a manifest may name the region, so its space is left alone. Does nothing
 * once it was done. */
void pt_log_jump_cancel(struct pt_log *log, struct pt_log_jump *jump, bool named);

uint64_t pt_log_size(struct pt_log *log); /* bytes of regions held */
/* Bytes of those before the one that is appended to: what a checkpoint of everything would free. */
uint64_t pt_log_left_size(struct pt_log *log);
uint64_t pt_log_position(struct pt_log *log);      /* of the point where the next record begins */
uint64_t pt_log_bytes_written(struct pt_log *log); /* since open, headers and padding included */

/* ---- Reading ---- */

struct pt_record {
    enum pt_record_kind kind;
    uint64_t epoch;
    uint64_t commit;
    uint64_t time_us;
    struct peat_bytes payload; /* valid until the reader's next call */
};

/* Bytes that a payload of @p size takes as records: what it adds to the position. */
uint64_t pt_log_payload_extent(uint64_t size);
/* The history that @p point stands for, which lies nowhere: there is no log. */
static inline struct pt_log_point pt_log_point_nowhere(const struct pt_log_point *point)
{
    struct pt_log_point nowhere = {.epoch = point->epoch,
                                   .commit = point->commit,
                                   .time_us = point->time_us,
                                   .position = point->position,
                                   .chain = point->chain};

    return nowhere;
}
/* The history behind @p record, where it is @p point before it: without a place. @p scratch: room for
 * pt_log_payload_extent() of its payload, or PT_LOG_RECORD_SIZE_MAX bytes if that is less. */
struct pt_log_point pt_log_point_behind(const struct pt_log_point *point,
                                        const struct pt_record *record, uint8_t *scratch);
/*
 * pt_log_append() of a record that the caller has checked, and whose chain it so knows: pt_log_point_behind() the end of
 * the log. Making it again would be half of what appending a small record costs. The epoch is the log's.
 */
enum peat_status pt_log_append_chained(struct pt_log *log, const struct pt_record *record,
                                       const struct pt_id *chain);

struct pt_log_reader; /* one thread at a time */

/*
 * Read from @p start on. @p live: another process appends meanwhile, so whatever does not verify is
 * simply not there yet. Otherwise what does not verify is the torn tail of a crash, or, if a later
 * record says that the log was durable beyond it, damage. PEAT_CORRUPT: @p start is no place in the
 * file. PEAT_IO, PEAT_NO_MEMORY.
 */
enum peat_status pt_log_reader_open(struct pt_arena *arena, const struct pt_log_point *start,
                                    bool live, struct pt_log_reader **reader_out);
/*
 * PEAT_OK: *record_out is the next record. PEAT_DONE: no more (a live reader may be asked again
 * later). PEAT_CORRUPT: acknowledged records are damaged; the message says from which commit on.
 * PEAT_IO, PEAT_NO_MEMORY.
 */
enum peat_status pt_log_reader_next(struct pt_log_reader *reader, struct pt_record *record_out);
/* From now on records of later commits than @p commit_max are as if they were not there yet. */
void pt_log_reader_limit(struct pt_log_reader *reader, uint64_t commit_max);
/* The point before the last record given: a reader that begins there gives it first. */
struct pt_log_point pt_log_reader_begin(const struct pt_log_reader *reader);
/* The point behind the last record given: where a log that goes on begins. */
struct pt_log_point pt_log_reader_point(const struct pt_log_reader *reader);
/* The regions entered so far, in order, also by a link behind which nothing was found: the writer
 * claims or retires them. Valid until the next call. */
const struct pt_extent *pt_log_reader_regions(const struct pt_log_reader *reader,
                                              size_t *count_out);
/* Of these, the regions that the records given so far are in. Where the reader began in the middle of one,
 * its place is where the reader began. Valid until the next call. */
const struct pt_log_piece *pt_log_reader_pieces(const struct pt_log_reader *reader,
                                                size_t *count_out);
void pt_log_reader_close(struct pt_log_reader *reader); /* NULL is allowed */

/*
 * The regions that a log from @p start on may lie in, found by their links alone, without a look at
 * records: those that a reader will enter, and perhaps some that a torn tail had been linked to. So
 * their space can be kept out of use before the log is read. *regions_out is the caller's, to
 * pt_free(). PEAT_CORRUPT: @p start is no place in the file. PEAT_IO, PEAT_NO_MEMORY.
 */
enum peat_status pt_log_survey(struct pt_arena *arena, const struct pt_log_point *start,
                               struct pt_extent **regions_out, size_t *count_out);

#endif

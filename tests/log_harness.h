/*
 * A log in an arena in memory, whose records hold what their number stands for, and a second arena
 * that plays the disk: it has what was synced.
 */
#ifndef PEAT_TESTS_LOG_HARNESS_H
#define PEAT_TESTS_LOG_HARNESS_H

#include "tests/support.h"
#include "wal/log.h"

#define PT_HARNESS_SIZE_MAX ((size_t)3000000) /* bytes of a payload */
enum { PT_HARNESS_RECORDS_MAX = 50000 };

struct pt_harness {
    struct pt_arena *arena;
    struct pt_log *log;
    struct pt_log_point start;
    bool chained;                             /* append by pt_log_append_chained() */
    uint64_t commit;                          /* the last one appended */
    uint64_t record_count;                    /* appended */
    uint64_t commits[PT_HARNESS_RECORDS_MAX]; /* by record */
    uint64_t sizes[PT_HARNESS_RECORDS_MAX];   /* of the payloads */
    bool seals[PT_HARNESS_RECORDS_MAX];
};

/* A new arena and a log in it. Open one harness at a time. */
void pt_harness_open(struct pt_harness *harness, const struct pt_log_options *options,
                     uint64_t address_space_size);
void pt_harness_close(struct pt_harness *harness);

/* Append a batch of @p size bytes, in a random number of pieces; or a seal. */
enum peat_status pt_harness_try(struct pt_harness *harness, struct pt_dice *dice, size_t size);
void pt_harness_append(struct pt_harness *harness, struct pt_dice *dice, size_t size);
void pt_harness_seal(struct pt_harness *harness);
/* A size that is mostly small, at times on or about a limit, rarely large. */
size_t pt_harness_size(struct pt_dice *dice, bool large);

/* Read in @p arena from @p start, behind record number @p first, until there is no more; every record
 * must be right. The number read; *status_out how it ended; *point_out (may be NULL) where. */
uint64_t pt_harness_read(const struct pt_harness *harness, struct pt_arena *arena,
                         const struct pt_log_point *start, uint64_t first,
                         enum peat_status *status_out, struct pt_log_point *point_out);
/* All records, and nothing else. */
void pt_harness_require_all(const struct pt_harness *harness);
/* The record is what number @p index stands for. */
void pt_harness_require_record(const struct pt_harness *harness, uint64_t index,
                               const struct pt_record *record);

/* ---- The disk ---- */

/* From now on, what is synced is copied to a second file; before pt_harness_open(). */
void pt_harness_disk_start(void);
void pt_harness_disk_stop(void);
void pt_harness_disk_pause(bool paused); /* while another file is written */
/* What is on it: as many bytes as the arena has. */
const uint8_t *pt_harness_disk_bytes(const struct pt_harness *harness);
/* An arena with the @p size bytes @p bytes as its file. */
struct pt_arena *pt_harness_arena_of(const uint8_t *bytes, uint64_t size);

/* Let the system calls of these kinds fail from the @p countdown-th on; 0: none. */
enum pt_log_fault {
    PT_LOG_FAULT_SYNC,
    PT_LOG_FAULT_WRITE,
    PT_LOG_FAULT_WRITE_DURABLE,
    PT_LOG_FAULT_ALLOCATE
};
void pt_harness_fault(enum pt_log_fault fault, unsigned countdown, int error_number);

/* Called for each write and store, before it is done. NULL: no more. */
void pt_harness_watch(void (*watch)(uint64_t offset, const void *data, size_t size));

#endif

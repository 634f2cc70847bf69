/*
 * What a power cut may leave of a file: a trace is walked operation by operation, and at each point the
 * states are made that the medium may be in.
 *
 *  1. A sector of 512 bytes that was written since it was last synced is pending: it may hold what it
 *     held before, anything that was written to it since, zeros, garbage, or (one sector of a state at
 *     most) what was there before what it held. Sectors do not wait for each other.
 *  2. A sync of a range settles the sectors of that range, fdatasync all of them and the size.
 *  3. The size is the one that was last synced, or any that the file had since, or a larger one.
 *  4. Until its directory is synced the file may not be there.
 *  5. A sync that fails leaves its sectors pending for ever: only writing them again, and then a sync,
 *     settles them.
 */
#ifndef PEAT_TESTS_CRASH_DISK_H
#define PEAT_TESTS_CRASH_DISK_H

#include "tests/trace.h"

enum { PT_SECTOR = 512 };

/* One thing that the disk may hold. */
struct pt_crash_state {
    const uint8_t *bytes; /* borrowed for the call; NULL: there is no file */
    uint64_t size;
    uint64_t hash;             /* equal for equal states, nearly always different for others */
    bool all_written;          /* nothing is lost: also what the death of the process leaves */
    uint64_t number;           /* at its point: the same each time the same trace is walked */
    struct pt_promise promise; /* as of the point */
};

struct pt_crash_disk;

/* At the beginning of @p trace, which must stay. */
struct pt_crash_disk *pt_crash_disk_new(const struct pt_trace *trace);
void pt_crash_disk_free(struct pt_crash_disk *disk);
/* Do the next operation; false: there is none. */
bool pt_crash_disk_step(struct pt_crash_disk *disk);
/* Operations done. */
size_t pt_crash_disk_point(const struct pt_crash_disk *disk);
/* Print which sectors are pending, for who looks for a reason. */
void pt_crash_disk_print(const struct pt_crash_disk *disk);

/*
 * Give about @p count_max of the states at this point to @p visit: all of them where they are so few,
 * otherwise a choice by @p seed. Whether it is taken is asked before a state is made: @p wanted sees
 * everything but the bytes.
 */
void pt_crash_disk_states(struct pt_crash_disk *disk, uint64_t seed, unsigned count_max,
                          bool (*wanted)(void *context, const struct pt_crash_state *state),
                          void (*visit)(void *context, const struct pt_crash_state *state),
                          void *context);

/* Within a visit: what is on disk for certain, whatever the state says. The caller frees it. */
uint8_t *pt_crash_disk_settled(const struct pt_crash_disk *disk, uint64_t *size_out,
                               bool *named_out);

#endif

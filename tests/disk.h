/*
 * A simulated disk behind the file seam (core/base/file.h). It holds one file, whose bytes are a real
 * memfd, so that what the store reads through its mapping is real; what is done to it is recorded in a
 * trace, in the order in which it happened, and any call can be made to fail.
 *
 * A store on it is opened by any path. A sync does nothing but being recorded: what a power cut leaves
 * is worked out from the trace, never taken from the memfd.
 */
#ifndef PEAT_TESTS_DISK_H
#define PEAT_TESTS_DISK_H

#include "tests/trace.h"

/* The calls that can be made to fail. */
enum pt_disk_call {
    PT_DISK_CALL_OPEN,
    PT_DISK_CALL_INFO,
    PT_DISK_CALL_READ,
    PT_DISK_CALL_WRITE,
    PT_DISK_CALL_WRITE_DURABLE,
    PT_DISK_CALL_ALLOCATE,
    PT_DISK_CALL_TRUNCATE,
    PT_DISK_CALL_PUNCH,
    PT_DISK_CALL_SYNC,
    PT_DISK_CALL_SYNC_RANGE,
    PT_DISK_CALL_SYNC_DIRECTORY,
    PT_DISK_CALL_MAP,
    PT_DISK_CALL_POPULATE,
    PT_DISK_CALL_LOCK,
    PT_DISK_CALL_UNLOCK,
    PT_DISK_CALL_LOCK_QUERY,
    PT_DISK_CALL_COUNT
};

/* Which calls fail: from the one with number @p at on (the first is 0, counted over those in @p calls),
 * @p count of them. */
struct pt_disk_fault {
    unsigned calls; /* bits: 1 << enum pt_disk_call; 0: none fails */
    uint64_t at;
    uint64_t count;
    int error_number; /* 0: writes are cut short, and say so; other calls are done */
    bool fills;    /* instead: from then on, for so many calls, the disk has no more than @p room */
    uint64_t room; /* bytes */
};

/* Make the disk what pt_file_... reaches, with no file on it. */
void pt_disk_start(void);
void pt_disk_stop(void);

/* The file holds these bytes now, and nothing else is on the disk. NULL: there is no file. No store is
 * open. */
void pt_disk_load(const uint8_t *bytes, uint64_t size);
uint64_t pt_disk_size(void);
/* The file's @p size first bytes. */
void pt_disk_save(uint8_t *bytes, uint64_t size);

/* Record what is done from now on at the end of @p trace; NULL: do not. */
void pt_disk_record(struct pt_trace *trace);
/* Record what the store owes. */
void pt_disk_promise(struct pt_promise promise);

/* How many bytes of blocks the file may have from now on; UINT64_MAX: any. Less than it has: it gets none
 * more. An allocation that does not fit fails; @p keeps_part: what of it did fit is allocated all the
 * same, as ext4 does, else nothing is, as on tmpfs. */
void pt_disk_set_capacity(uint64_t size, bool keeps_part);
uint64_t pt_disk_block_size(void); /* bytes of blocks that it has */

/* Let calls fail; counts anew. NULL: none. */
void pt_disk_set_fault(const struct pt_disk_fault *fault);
/* Calls of these kinds (bits, as above) since then, and how many calls failed. */
uint64_t pt_disk_calls(unsigned calls);
uint64_t pt_disk_faults(void);
const char *pt_disk_call_name(enum pt_disk_call call);

#endif

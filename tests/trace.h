/*
 * A trace: all that was done to a store's file, in order, from a disk's state before it to the promises
 * that the store made meanwhile. What a power cut may leave at any of its points is crash_disk.h's
 * matter. A trace is kept in a file when a state of it fails, so that the state can be made again.
 */
#ifndef PEAT_TESTS_TRACE_H
#define PEAT_TESTS_TRACE_H

#include "tests/support.h"

enum pt_disk_op_kind {
    PT_DISK_WRITE,          /* bytes at offset, by a call or through the mapping */
    PT_DISK_ZERO,           /* size bytes at offset given back: they read as zeros */
    PT_DISK_SET_SIZE,       /* the file has size bytes now */
    PT_DISK_SYNC,           /* all bytes and the size are on disk */
    PT_DISK_SYNC_RANGE,     /* size bytes at offset are on disk, and nothing else */
    PT_DISK_SYNC_DIRECTORY, /* the file's name is on disk */
    PT_DISK_SYNC_LOST,      /* a sync of size bytes at offset failed: what it was to write stays
                               readable, and no later sync will write it */
    PT_DISK_PROMISE         /* what the store owes from here on: see struct pt_promise */
};

/* What a store owes to whoever looks at it after a crash. */
struct pt_promise {
    uint64_t durable; /* commits that a power cut must leave */
    uint64_t os;      /* commits that the death of the process must leave; at least durable */
    uint64_t issued;  /* commits that there may be at all; at least os */
    uint64_t
        kept;     /* the commit of the state that is kept under a name and must be there; 0: whether
                         there is one is not known */
    bool feed;    /* the session's feed must be there */
    bool may_gap; /* but space was short: the log that is kept for it may have been let go */
    bool may_follow; /* the file may be a follower's: a promotion has begun */
};

struct pt_disk_op {
    enum pt_disk_op_kind kind;
    uint64_t offset;
    uint64_t size;
    size_t data; /* PT_DISK_WRITE: where its bytes begin in the trace's data */
    struct pt_promise promise;
};

/* What the disk is before the first operation: what is on it, and what the page cache says. */
struct pt_disk_base {
    uint8_t *durable; /* owned; durable_size bytes */
    uint64_t durable_size;
    uint8_t *live; /* owned; live_size bytes */
    uint64_t live_size;
    bool named; /* the directory entry is on disk */
    struct pt_promise promise;
};

struct pt_trace {
    struct pt_disk_base base;
    struct pt_disk_op *ops;
    size_t op_count;
    size_t op_capacity;
    uint8_t *data;
    size_t data_size; /* bytes */
    size_t data_capacity;
};

/* Empty, of a disk without the file. */
void pt_trace_init(struct pt_trace *trace);
void pt_trace_fini(struct pt_trace *trace);
/* Empty again, from a disk that holds the @p durable_size bytes @p durable, and of which the page cache
 * holds the @p live_size bytes @p live; both are copied. */
void pt_trace_begin(struct pt_trace *trace, const uint8_t *durable, uint64_t durable_size,
                    const uint8_t *live, uint64_t live_size, bool named, struct pt_promise promise);
/* Add an operation; @p bytes are copied (PT_DISK_WRITE alone has some). */
void pt_trace_add(struct pt_trace *trace, struct pt_disk_op op, const void *bytes);

/* Whole traces to and from an open file. */
bool pt_trace_write(const struct pt_trace *trace, int fd);
bool pt_trace_read(struct pt_trace *trace, int fd);

#endif

/*
 * A region of the log as a reader sees it: bytes that nothing is believed of before it is checked.
 *
 * What verifies here was written in this use of the region. Whether it continues what was read before
 * is the reader's matter.
 */
#ifndef PEAT_WAL_LOG_VIEW_H
#define PEAT_WAL_LOG_VIEW_H

#include "core/arena/arena.h"
#include "wal/log_format.h"

/* Owned by its reader's thread. Borrows the arena's mapping: nothing to release. */
struct pt_log_view {
    struct pt_file *file;
    const uint8_t *base; /* of the region, in the arena's mapping */
    struct pt_extent extent;
    struct pt_id nonce;
    uint64_t faulted_from; /* bytes from its start: pages in [faulted_from, faulted_to) are there */
    uint64_t faulted_to;
    bool links_faulted;
};

/* PEAT_DONE: a region cannot be there, or the file ends before. PEAT_NO_MEMORY, PEAT_IO. */
enum peat_status pt_log_view_init(struct pt_log_view *view, struct pt_arena *arena,
                                  struct pt_extent extent, const struct pt_id *nonce);

/*
 * The record at @p offset, any number. *record_out is where it lies, faulted in with its payload;
 * *header_out a private copy of its header. Only the chain is not checked. PEAT_DONE: there is none.
 * PEAT_IO.
 */
enum peat_status pt_log_view_record(struct pt_log_view *view, uint64_t offset,
                                    struct pt_log_header *header_out, const uint8_t **record_out);

/* The link to the next region, from either link block. PEAT_DONE: there is none. PEAT_IO. */
enum peat_status pt_log_view_link(struct pt_log_view *view, struct pt_log_link *link_out);

/*
 * Look from @p from on for a record or link that says that the log was durable beyond @p position.
 * PEAT_OK: *commit_out is its commit, 0 for a link. PEAT_DONE: there is none. PEAT_IO.
 */
enum peat_status pt_log_view_find_durable(struct pt_log_view *view, uint64_t from,
                                          uint64_t position, uint64_t *commit_out);

#endif

/*
 * A run writer: turns sorted entries and range deletes into segments in the arena, and those into
 * slices.
 *
 * What it is given is borrowed until finish: the keys come from pinned runs and views.
 */
#ifndef PEAT_CORE_DB_RUN_WRITER_H
#define PEAT_CORE_DB_RUN_WRITER_H

#include "core/db/db.h"

enum { PT_SEGMENT_SIZE_MAX = 64 << 20 }; /* bytes, but for a single entry that is larger */

/* A growing list of slices that pins their segments; keys are borrowed, or in keys. */
struct pt_slice_list {
    struct pt_slice *slices; /* owned */
    size_t count;
    size_t capacity;
};

/* PEAT_NO_MEMORY. Pins @p held once more. */
enum peat_status pt_slice_list_add(struct pt_slice_list *list, struct pt_held_segment *held,
                                   struct peat_bytes low, struct peat_bytes high);
void pt_slice_list_fini(struct pt_slice_list *list);

/* One thread at a time. */
struct pt_run_writer {
    struct peat_db *db;
    struct pt_slice_list *out;       /* borrowed: finished slices are added here */
    _Atomic uint64_t *bytes_written; /* the counter for what it writes */
    bool verify;                     /* read back each segment; false after init */
    bool gives_back; /* a merge: of the reserve it leaves what deletes and flushes need */
    uint64_t drawn;  /* bytes that came from the reserve and were not given back */
    bool is_drawn;   /* the builder's region did */
    struct pt_segment_builder *builder; /* NULL between segments */
    struct pt_extent extent;            /* the builder's region */
    uint64_t segment_id;
    uint64_t input_left; /* bytes of entries that may still come: how large a region to ask for */
    uint64_t entries_left;
    uint64_t segment_size_max;   /* bytes; PT_SEGMENT_SIZE_MAX after init */
    size_t write_size;           /* bytes per call at most; what the builder gathers, after init */
    uint64_t room_size_max;      /* bytes: the same, where there is not much room */
    struct peat_bytes bare_low;  /* data NULL, or: segments below this key are there briefly, those
                                     from it on are as large as any; borrowed */
    bool is_brief;               /* the segment in the making is one of those below */
    uint64_t entries_max;        /* in a segment, for the memory that its indexes take meanwhile */
    uint64_t charged;            /* bytes of work memory: the builder's */
    struct peat_bytes low;       /* of the slice in the making; data NULL: nothing was added yet */
    struct peat_bytes last_key;  /* added to this segment; data NULL: none */
    struct peat_bytes last_high; /* of the last range added to this segment; data NULL: none */
    struct pt_key_range pending; /* a range delete not yet written whole; low.data NULL: none */
    void **ends;                 /* owned: keys made up for the last slices' high ends */
    size_t end_count;
    uint64_t written; /* bytes of finished segments */
};

void pt_run_writer_init(struct pt_run_writer *writer, struct peat_db *db, struct pt_slice_list *out,
                        uint64_t input_size, uint64_t entry_count, _Atomic uint64_t *bytes_written);
/* Ascending by key. PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY. */
enum peat_status pt_run_writer_add(struct pt_run_writer *writer, const struct pt_entry *entry);
/* Whether adding @p entry would end the segment in the making, or there is none. */
bool pt_run_writer_at_end(const struct pt_run_writer *writer, const struct pt_entry *entry);
/* Whether space is short and what the reserve has left is not worth beginning another segment in: a merge
 * stops there. Between segments. */
bool pt_run_writer_is_exhausted(const struct pt_run_writer *writer);
/* Ascending, disjoint; before any entry with a key >= @p low. */
enum peat_status pt_run_writer_add_range(struct pt_run_writer *writer, struct peat_bytes low,
                                         struct peat_bytes high);
/* End the segment in the making; what follows has keys >= @p end (data NULL: nothing follows). */
enum peat_status pt_run_writer_cut(struct pt_run_writer *writer, struct peat_bytes end);
/* Bytes of entries in the segment in the making and those finished. */
uint64_t pt_run_writer_size(const struct pt_run_writer *writer);
/* Release what it holds; the slices in out stay, but their keys may point into the writer: build
 * the run before. */
void pt_run_writer_fini(struct pt_run_writer *writer);

#endif

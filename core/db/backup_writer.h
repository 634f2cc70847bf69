/*
 * A backup writer: turns sorted operations into the body of a backup, from front to back: segments,
 * then the manifest that names them. backup_format.h has the layout.
 *
 * The same calls give the same bytes.
 */
#ifndef PEAT_CORE_DB_BACKUP_WRITER_H
#define PEAT_CORE_DB_BACKUP_WRITER_H

#include "core/db/backup_target.h"
#include "core/db/manifest.h"

/* One thread. Set up by pt_backup_writer_init(). */
struct pt_backup_writer {
    struct pt_backup_target *target;    /* borrowed */
    struct pt_manifest manifest;        /* what is known of it so far; owns its lists */
    size_t slice_capacity;              /* and that of segments: there is one for each */
    uint64_t segment_size_max;          /* bytes, but for a single entry that is larger */
    struct pt_segment_builder *builder; /* NULL between segments */
    uint64_t segment_offset;            /* bytes in the file: where the builder's begins */
    struct peat_bytes low;              /* owned: of the slice in the making; data NULL: none yet */
    struct peat_bytes last_high;        /* owned: of the last range in it; data NULL: none */
    struct peat_bytes last_key;         /* of the last entry in it, borrowed; data NULL: none */
};

/* @p manifest: store id, seed, kind, next ids and log of what is to be written; its next segment id is
 * the first that is given out. The target stands where the segments begin. */
void pt_backup_writer_init(struct pt_backup_writer *writer, struct pt_backup_target *target,
                           const struct pt_manifest *manifest, uint64_t segment_size_max);
void pt_backup_writer_fini(struct pt_backup_writer *writer);

/* Ascending by key; the key is borrowed until finish. The target's errors, PEAT_NO_MEMORY. */
enum peat_status pt_backup_writer_add(struct pt_backup_writer *writer, enum pt_op op,
                                      struct peat_bytes key, struct peat_bytes value);
/* A range delete [@p low, @p high), copied: ascending with entries and other ranges, touching none. */
enum peat_status pt_backup_writer_add_range(struct pt_backup_writer *writer, struct peat_bytes low,
                                            struct peat_bytes high);
/* Write what is left, and the manifest: *extent_out is where it lies, without padding. */
enum peat_status pt_backup_writer_finish(struct pt_backup_writer *writer,
                                         struct pt_extent *extent_out);

#endif

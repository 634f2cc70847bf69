/* What the parts of an open segment share: segment.c; segment_footless.c, which opens damaged
 * ones. */
#ifndef PEAT_CORE_SEGMENT_SEGMENT_PARTS_H
#define PEAT_CORE_SEGMENT_SEGMENT_PARTS_H

#include "core/segment/segment.h"

/* A segment of which nothing is known but where it lies. PEAT_NO_MEMORY. */
enum peat_status pt_segment_new(struct peat_bytes map, const struct pt_segment_identity *identity,
                                struct pt_file *file, uint64_t file_offset,
                                struct pt_segment **segment_out);
/* Make it what its footer says, all of it checked; @p whole_table: the chunk table's own checksum
 * too. As pt_segment_open(). */
enum peat_status pt_segment_take_footer(struct pt_segment *segment, bool whole_table);

/* Fault in what is about to be read, so that an I/O error is PEAT_IO. */
enum peat_status pt_segment_populate(struct pt_segment *segment, uint64_t offset, uint64_t size);
/* A bit for each of chunk_count chunks, none of them verified yet. PEAT_NO_MEMORY. */
enum peat_status pt_segment_bitmap_new(struct pt_segment *segment);

/* Whether there can be such a segment: then its layout does not overflow. */
bool pt_segment_counts_plausible(const struct pt_segment_counts *counts, uint64_t delete_count);
/* Make its sections lie where @p layout says, which follows from @p counts. */
void pt_segment_apply(struct pt_segment *segment, const struct pt_segment_counts *counts,
                      const struct pt_segment_layout *layout);

#endif

/*
 * A rescue: what can still be read of a segment in which damage was met, and where it cannot.
 *
 * The entries of a segment lie one after the other, each with its size, so they can be found without
 * any index; and each chunk has a checksum of its own. So damage in an index loses nothing, and damage
 * among the entries those that lie in it: gaps, each between two keys that can be read.
 *
 *        entries   |a |b |c |d |e |f |g |        chunk 1 is damaged
 *        chunks    0      |1     |2
 *        readable   a  b           e  f  g       numbers 0 1 2 3 4
 *        gap               (c .. e)              before number 2; c, of which the key can be read, included
 *
 * It is made when damage is met for the first time, which reads the segment once, and stays with it; but
 * what could not be read for an I/O error is tried again, and then another one takes its place.
 */
#ifndef PEAT_CORE_SEGMENT_RESCUE_H
#define PEAT_CORE_SEGMENT_RESCUE_H

#include "core/segment/segment.h"

/* Immutable. Of a segment; freed with it. */
struct pt_rescue;

/* A stretch of keys that cannot be read. The keys are borrowed from the segment. */
struct pt_gap {
    struct peat_bytes low;   /* data NULL: unbounded */
    struct peat_bytes high;  /* data NULL: unbounded */
    bool low_open;           /* low itself is not hit */
    bool high_closed;        /* high is hit as well */
    uint64_t offset;         /* bytes in the segment: the first damaged place */
    enum peat_status status; /* PEAT_CORRUPT or PEAT_IO: what reading there gives */
};

/* The rescue of @p segment, made if there is none yet. Any thread. PEAT_NO_MEMORY. */
enum peat_status pt_segment_rescue(struct pt_segment *segment, const struct pt_rescue **rescue_out);
/* The one that was made; NULL: no damage was met so far. */
const struct pt_rescue *pt_segment_rescued(const struct pt_segment *segment);
/* With all that it has replaced, for pt_segment_close(); NULL is allowed. */
void pt_rescue_free(struct pt_rescue *rescue);

/* Whether any entry or range delete is lost: else only indexes are damaged. */
bool pt_rescue_loses(const struct pt_rescue *rescue);
/* Whether range deletes are: then nothing is known of keys that the segment has no entry for. */
bool pt_rescue_loses_ranges(const struct pt_rescue *rescue);

/* Entries that can be read; they are numbered in key order. */
uint64_t pt_rescue_count(const struct pt_rescue *rescue);
enum peat_status pt_rescue_entry(struct pt_segment *segment, const struct pt_rescue *rescue,
                                 uint64_t number, struct pt_entry *entry_out);
/* The number of the first one with key >= @p key; the count if none. */
enum peat_status pt_rescue_seek(struct pt_segment *segment, const struct pt_rescue *rescue,
                                struct peat_bytes key, uint64_t *number_out);
/* How many of them begin before byte @p offset of the segment. */
enum peat_status pt_rescue_rank(struct pt_segment *segment, const struct pt_rescue *rescue,
                                uint64_t offset, uint64_t *number_out);
/* Whether there is a gap before number @p number (the count: after the last one): *gap_out. PEAT_OK,
 * PEAT_NOT_FOUND; errors as of pt_rescue_entry(). */
enum peat_status pt_rescue_gap(struct pt_segment *segment, const struct pt_rescue *rescue,
                               uint64_t number, struct pt_gap *gap_out);

/* Whether no key can lie in @p gap. */
bool pt_gap_is_empty(const struct pt_gap *gap);
/* Make @p gap end before @p high, and begin at @p low or just behind it (@p open): data NULL: leave it. */
void pt_gap_clip_low(struct pt_gap *gap, struct peat_bytes low, bool open);
void pt_gap_clip_high(struct pt_gap *gap, struct peat_bytes high, bool closed);
/* Whether @p key lies in it. */
bool pt_gap_holds(const struct pt_gap *gap, struct peat_bytes key);

/* pt_segment_get() came to @p status: PEAT_CORRUPT or PEAT_IO only if @p key may have been lost. */
enum peat_status pt_rescue_get(struct pt_segment *segment, enum peat_status status,
                               struct peat_bytes key, struct pt_entry *entry_out)
    __attribute__((cold));

#endif

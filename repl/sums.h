/*
 * What two stores say to each other to be compared: the bodies of PIN, PINNED, SUM and SUMS as structs, see
 * message_format.h. Decoders and encoders keep the rules of message.h.
 */
#ifndef PEAT_REPL_SUMS_H
#define PEAT_REPL_SUMS_H

#include "repl/message_format.h"

/* Bounds of parts that lie side by side: part i goes from place i to place i + 1. */
struct pt_bounds {
    struct peat_place places[PT_SUM_PARTS_MAX + 1]; /* ascending; keys are borrowed */
    size_t count;                                   /* 2 at least */
};

/* Sums of parts, in order; struct_size of each is set. */
struct pt_sums {
    struct peat_tally_sum sums[PT_SUM_PARTS_MAX];
    size_t count; /* 1 at least */
};

const char *pt_commit_body_decode(struct peat_bytes body, uint64_t *commit_out);
const char *pt_commit_body_encode(uint64_t commit, struct pt_wire_commit *body_out);

const char *pt_bounds_decode(struct peat_bytes body, struct pt_bounds *bounds_out);
/* PT_BOUNDS_SIZE_MAX bytes do for all. */
const char *pt_bounds_encode(const struct pt_bounds *bounds, void *buffer, size_t room,
                             size_t *size_out);

const char *pt_sums_decode(struct peat_bytes body, struct pt_sums *sums_out);
/* PT_SUMS_SIZE_MAX bytes do for all. */
const char *pt_sums_encode(const struct pt_sums *sums, void *buffer, size_t room, size_t *size_out);

/* Less than, equal to or greater than 0, as @p a lies before, at or behind @p b. */
int pt_place_compare(const struct peat_place *a, const struct peat_place *b);

#endif

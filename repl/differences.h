/*
 * Ranges that two stores differ in, on their way to the caller of peat_verify(): in order, and those that lie side by side in one
 * collection are told as one. Owned by one thread.
 */
#ifndef PEAT_REPL_DIFFERENCES_H
#define PEAT_REPL_DIFFERENCES_H

#include "repl/message_format.h"
#include "repl/peat_repl.h"

/* A place with its key. */
struct pt_kept_place {
    struct peat_place place; /* its key's bytes are not looked at */
    uint8_t key[PT_PLACE_KEY_MAX];
};

/* @p place has at most PT_PLACE_KEY_MAX bytes of key, which may be those of @p kept. */
void pt_place_keep(struct pt_kept_place *kept, const struct peat_place *place);
/* With the key as it lies in @p kept now. */
struct peat_place pt_place_of(const struct pt_kept_place *kept);

/* From low, inclusive, to high, exclusive: what both stores have there. */
struct pt_range {
    struct pt_kept_place low;
    struct pt_kept_place high;
    struct peat_tally_sum here;
    struct peat_tally_sum there;
};

/* All zeros but for the options: nothing was found yet. */
struct pt_differences {
    const struct peat_verify_options *options; /* borrowed */
    uint64_t count;                            /* ranges that were told */
    struct pt_range found;                     /* not told yet: what comes may be one with it */
    bool has_found;
};

/* @p range differs, and lies behind all before. false: the caller wants no more. */
bool pt_differences_add(struct pt_differences *differences, const struct pt_range *range);
/* No more come: tell the last one. false: likewise. */
bool pt_differences_end(struct pt_differences *differences);

#endif

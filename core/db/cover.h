/* A cover: the range deletes of one layer of the stack, asked key by key. */
#ifndef PEAT_CORE_DB_COVER_H
#define PEAT_CORE_DB_COVER_H

#include "core/db/run.h"

/* One thread at a time. Remembers the interval around the last key asked, since walks ask nearby
 * keys one after the other. */
struct pt_cover {
    unsigned layer;                    /* hides entries of layers with higher numbers */
    const struct pt_key_range *ranges; /* of a write buffer's view, borrowed; NULL: of a run */
    size_t range_count;
    const struct pt_run *run; /* borrowed; NULL: of a buffer */
    bool known;               /* the three below are valid */
    bool covered;             /* everything in [low, high) is deleted, or nothing is */
    struct peat_bytes low;    /* borrowed; data NULL: unbounded */
    struct peat_bytes high;
};

void pt_cover_init_buffer(struct pt_cover *cover, unsigned layer,
                          const struct pt_buffer_view *view);
void pt_cover_init_run(struct pt_cover *cover, unsigned layer, const struct pt_run *run);

/* Set covered, low and high for @p key. PEAT_CORRUPT, PEAT_IO. */
enum peat_status pt_cover_ask(struct pt_cover *cover, struct peat_bytes key);

/*
 * The first of @p covers, newest first, that hides @p key of layer @p layer: *cover_out, or NULL.
 */
enum peat_status pt_covers_find(struct pt_cover *covers, size_t count, unsigned layer,
                                struct peat_bytes key, const struct pt_cover **cover_out);

#endif

/* The inside of the history, for the files that implement it: history*.c. */
#ifndef PEAT_CORE_DB_HISTORY_PARTS_H
#define PEAT_CORE_DB_HISTORY_PARTS_H

#include "core/db/history.h"

/* A state under @p row with a copy of @p name, without runs. NULL: no memory. */
struct pt_kept *pt_kept_new(const struct pt_manifest_kept *row, struct peat_bytes name);
/* Give it pins of its own on @p runs. PEAT_NO_MEMORY. */
enum peat_status pt_kept_pin_runs(struct pt_kept *kept, struct pt_run *const *runs,
                                  size_t run_count);
void pt_kept_free(struct pt_kept *kept); /* NULL is allowed */

/* Make @p kept (owned now, with its states) all that there is. */
void pt_history_set(struct pt_history *history, struct pt_kept **kept, size_t count);

/* The manifest of a state, its segments at least: described by its runs, or read. The block behind it
 * is *block_out, to pt_free(), also after a failure; release the manifest with pt_manifest_fini().
 * In a reader refresh_mutex is held. PEAT_CORRUPT, PEAT_IO, PEAT_NO_MEMORY. */
enum peat_status pt_kept_manifest(struct peat_db *db, const struct pt_kept *kept,
                                  struct pt_manifest *manifest_out, uint8_t **block_out);

/* The manifest that @p row names, from the file; release as above. Who calls sees to it that it stays there. */
enum peat_status pt_kept_row_load(struct peat_db *db, const struct pt_manifest_kept *row,
                                  struct pt_manifest *manifest_out, uint8_t **block_out);

/* Bytes of regions, the manifest's own included. */
struct pt_kept_size {
    uint64_t all; /* that the state refers to */
    uint64_t own; /* of these, what no newer one refers to */
};

/* The sizes of all states; of one that is damaged, what is known. In a reader refresh_mutex is held.
 * PEAT_NO_MEMORY. */
enum peat_status pt_history_measure_locked(struct peat_db *db, struct pt_kept_size *sizes_out);

#endif

/*
 * A kept state of the store as the command line names it: by its name, else by its number (the
 * generation), else by the number of the last commit that it shows.
 */
#ifndef PEAT_TOOLS_KEPT_STATE_H
#define PEAT_TOOLS_KEPT_STATE_H

#include "tools/complain.h"

/* Find the state that @p text names; its number. PT_EXIT_NOT_FOUND: there is none. Complains about
 * @p store. */
enum pt_exit pt_kept_state_find(struct peat_db *db, const char *store, const char *text,
                                uint64_t *generation_out);

/* Find and open it. */
enum pt_exit pt_kept_state_open(struct peat_db *db, const char *store, const char *text,
                                struct peat_snapshot **snapshot_out);

#endif

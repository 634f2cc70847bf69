/* What a store has committed beyond a fork, written to a file beside it, before it rejoins. */
#ifndef PEAT_TOOLS_FORK_SAVE_H
#define PEAT_TOOLS_FORK_SAVE_H

#include "repl/peat_repl.h"

#include <pthread.h>

struct pt_fork_save {
    const char *store;            /* its file's name; borrowed */
    pthread_mutex_t output_mutex; /* who writes to standard output meanwhile holds it */
};

/*
 * For struct peat_follower_options; @p context is a struct pt_fork_save. Writes the commits behind the fork as 'peat feed' does, to
 * STORE.NAME.jsonl, NAME being the fork's: all of them, synced, under that name at last. Where the log has not all of them any
 * more it writes a backup of the whole store instead, to STORE.NAME.backup. A file that is there already is never written to,
 * and does as well if it has the same in it. PEAT_EXISTS: it has not. PEAT_IO, PEAT_NO_SPACE, PEAT_NO_MEMORY, PEAT_TIMEOUT
 * (interrupted), and what feeds and backups give.
 */
enum peat_status pt_fork_save(void *context, struct peat_db *db, const struct peat_fork *fork,
                              struct peat_repl_error *error_out);

#endif

/* A backup chain: a full backup and the increments that follow it, opened as the one state they make. */
#ifndef PEAT_CORE_DB_BACKUP_CHAIN_H
#define PEAT_CORE_DB_BACKUP_CHAIN_H

#include "core/db/backup_header.h"
#include "core/db/db.h"

/* Owned by one thread; all zeros before it is opened. */
struct pt_backup_chain {
    struct peat_db **parts; /* owned; [0] shows the state of them all */
    size_t count;
    struct pt_backup_header last; /* the last one's: its commit and digest are the chain's */
    const char *last_path;        /* borrowed */
};

/*
 * Open @p paths, the full backup first, and check that each follows the one before: same store, and
 * based on its commit and digest. Segments are verified as they are read. Release with
 * pt_backup_chain_close(), also after a failure. PEAT_INVALID, PEAT_CORRUPT, PEAT_VERSION,
 * PEAT_NOT_FOUND, PEAT_DENIED, PEAT_IO, PEAT_NO_MEMORY.
 */
enum peat_status pt_backup_chain_open(struct pt_backup_chain *chain, const char *const *paths,
                                      size_t count);
void pt_backup_chain_close(struct pt_backup_chain *chain);

#endif

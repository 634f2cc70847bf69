/* What a command works on: an open store and the collection in it that the command line names. */
#ifndef PEAT_TOOLS_TARGET_H
#define PEAT_TOOLS_TARGET_H

#include "tools/complain.h"

/* Owned by one thread. All zeros before it is opened. */
struct pt_target {
    const char *store; /* the file's name; borrowed */
    struct peat_db *db;
    struct peat_snapshot *snapshot;     /* NULL when opened for writing */
    struct peat_collection *collection; /* NULL: the root */
};

/* Open for reading, beside a writer if there is one, with a snapshot. @p path: the collection's,
 * or NULL. PT_EXIT_NOT_FOUND if the store has no such collection. Release with pt_target_close(),
 * whatever this gives. */
enum pt_exit pt_target_open_read(struct pt_target *target, const char *store, const char *path);

/* The same as of the kept state that @p at names, see kept_state.h; NULL: as it is now. */
enum pt_exit pt_target_open_at(struct pt_target *target, const char *store, const char *path,
                               const char *at);

/* Open for writing. @p flags: PEAT_CREATE makes the store and the collection if they are not there.
 * @p file_size_max: bytes that the file may grow to; 0: any. */
enum pt_exit pt_target_open_write(struct pt_target *target, const char *store, const char *path,
                                  unsigned flags, uint64_t file_size_max);

/* Close it. A failure to close is complained about and turns @p outcome PT_EXIT_DONE into the
 * exit code for it; any other outcome stays. */
enum pt_exit pt_target_close(struct pt_target *target, enum pt_exit outcome);

#endif

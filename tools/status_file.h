/* A file that says each second how a process's replication goes: for whoever looks from outside. */
#ifndef PEAT_TOOLS_STATUS_FILE_H
#define PEAT_TOOLS_STATUS_FILE_H

#include "repl/peat_repl.h"
#include "tools/complain.h"

struct pt_status_file;

/*
 * Write @p path now and each second, always whole: a new file, with .new behind that name, takes its name. The name's end decides the
 * format: .prom is OpenMetrics, .json is JSON, all else text. All that is given is borrowed until pt_status_file_stop(); either role
 * may be NULL. That it cannot be written is complained about once, and it is tried again.
 *
 * PT_EXIT_ERROR, complained about: there is a file of one of these names that is no status of that format, a store perhaps, and it is
 * left as it is; or no memory. NULL for @p path: nothing is done.
 */
enum pt_exit pt_status_file_start(const char *path, const char *store, struct peat_db *db,
                                  struct peat_primary *primary, struct peat_follower *follower,
                                  struct pt_status_file **file_out);
/* Stop, before the roles are, and remove the file: there is nothing to say any more. NULL is allowed. */
void pt_status_file_stop(struct pt_status_file *file);

#endif

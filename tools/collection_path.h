/*
 * A collection's place as text: the names from the root down, with '/' between them.
 *
 * In a name '/' is written '\/', '\' is written '\\', and a control character or a byte that is
 * not UTF-8 is written '\xHH'. The empty path and '/' are the root; one '/' may lead.
 */
#ifndef PEAT_TOOLS_COLLECTION_PATH_H
#define PEAT_TOOLS_COLLECTION_PATH_H

#include "tools/textbuf.h"

/* Append one more @p name to @p path. */
void pt_path_append(struct pt_textbuf *path, struct peat_bytes name);

/*
 * Take the first name off @p path into @p name_out, ended with a NUL. PEAT_DONE: there was none;
 * PEAT_INVALID: it is no name: empty, too long, with a NUL or with an unknown escape.
 */
enum peat_status pt_path_next(struct peat_bytes *path, char name_out[PEAT_NAME_SIZE_MAX + 1]);

/* Whether @p path can be walked with pt_path_next() to its end. */
bool pt_path_valid(struct peat_bytes path);

/*
 * Open the collection at @p path below @p parent (NULL: the root). The root itself is *out NULL.
 * @p flags as for peat_collection_open(), for each name on the way. The path must be valid.
 */
enum peat_status pt_path_open(struct peat_db *db, struct peat_collection *parent,
                              struct peat_bytes path, unsigned flags,
                              struct peat_collection **collection_out);
/* The same below the root as of @p snapshot, for reading in it. */
enum peat_status pt_path_open_at(const struct peat_snapshot *snapshot, struct peat_bytes path,
                                 struct peat_collection **collection_out);

#endif

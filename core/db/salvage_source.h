/*
 * What a salvage reads from: the newest state that can be found in a file that may be damaged anywhere.
 *
 *  1. The manifest that the superblocks name, if both verify. Else every place where a region may begin
 *     is looked at, and of the manifests that verify the one of the highest generation is taken.
 *  2. Its segments, those that do not open as lost ones.
 *  3. The log behind it, up to the first record that is damaged.
 */
#ifndef PEAT_CORE_DB_SALVAGE_SOURCE_H
#define PEAT_CORE_DB_SALVAGE_SOURCE_H

#include "core/db/db.h"

/*
 * Open the file @p path as a read-only store that shows that state. Fills what @p info says of it.
 * Release with peat_close(). PEAT_CORRUPT: no manifest verifies. Else as peat_salvage().
 */
enum peat_status pt_salvage_source_open(const char *path, struct peat_salvage_info *info,
                                        struct peat_db **db_out);

#endif

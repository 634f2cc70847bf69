/* Who holds an open-file-description lock: F_OFD_GETLK does not tell, /proc does. */
#ifndef PEAT_CORE_BASE_LOCK_HOLDER_H
#define PEAT_CORE_BASE_LOCK_HOLDER_H

#include "core/base/status.h"

/*
 * The id of a process that holds an open-file-description lock for writing which begins at byte
 * @p offset of the file @p inode on @p device; 0: none is visible (no /proc, another user's process,
 * another container). For messages: it may be out of date when it is read.
 */
long pt_lock_holder_find(uint64_t device, uint64_t inode, uint64_t offset);

#endif

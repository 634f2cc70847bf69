/*
 * The file seam: every system call that touches a store's file, one function each, so that tests
 * can record, fail and reorder them.
 *
 * All functions retry EINTR and short transfers, and report through pt_fail_errno() with the file's
 * name. All are safe from any thread.
 */
#ifndef PEAT_CORE_BASE_FILE_H
#define PEAT_CORE_BASE_FILE_H

#include "core/base/status.h"

#include <sys/types.h>

/* What the file is, as fstat() tells. */
struct pt_file_info {
    uint64_t size;           /* bytes */
    uint64_t allocated_size; /* bytes of disk: st_blocks */
    uint64_t device;         /* with the inode: which file it is on this machine */
    uint64_t inode;
    bool regular;
};

/* An open file. Immutable once opened. */
struct pt_file;

/* @p path with O_CLOEXEC and the open(2) flags @p flags; a new file gets mode 0600. Opening never
 * waits (a FIFO). PEAT_NOT_FOUND, PEAT_EXISTS, PEAT_DENIED, PEAT_INVALID (a directory or a device),
 * PEAT_IO, PEAT_NO_MEMORY. */
enum peat_status pt_file_open(const char *path, int flags, struct pt_file **file_out);
/* An anonymous file in memory (memfd). */
enum peat_status pt_file_open_memory(struct pt_file **file_out);
void pt_file_close(struct pt_file *file); /* NULL is allowed; gives up its locks */
const char *pt_file_name(const struct pt_file *file);

enum peat_status pt_file_info(struct pt_file *file, struct pt_file_info *info_out);
/* Bytes that the file system has left for this process: a hint, others take from them too. */
enum peat_status pt_file_room(struct pt_file *file, uint64_t *size_out);

/* All @p size bytes, or an error (PEAT_CORRUPT if the file ends before). */
enum peat_status pt_file_read(struct pt_file *file, uint64_t offset, void *buffer, size_t size);
enum peat_status pt_file_write(struct pt_file *file, uint64_t offset, const void *data,
                               size_t size);
/* Write and make just this range durable (RWF_DSYNC). */
enum peat_status pt_file_write_durable(struct pt_file *file, uint64_t offset, const void *data,
                                       size_t size);
/* Copy into @p place, which is @p offset's address in a writable mapping of the file. */
void pt_file_store(struct pt_file *file, uint64_t offset, void *place, const void *data,
                   size_t size);

/* Give [offset, offset + size) blocks on disk, extending the file. What the range held before may
 * read as zeros afterwards (where the filesystem cannot allocate, zeros are written). PEAT_NO_SPACE:
 * a part may have been allocated, and the file may have grown. */
enum peat_status pt_file_allocate(struct pt_file *file, uint64_t offset, uint64_t size);
enum peat_status pt_file_truncate(struct pt_file *file, uint64_t size);
/* Give the blocks of a range back to the filesystem; it reads as zeros then. Where the filesystem
 * cannot, nothing happens: PEAT_OK. */
enum peat_status pt_file_punch(struct pt_file *file, uint64_t offset, uint64_t size);

/* Once one of the syncs of a file has failed (pt_file_write_durable() is one, too), all that follow give
 * PEAT_POISONED: see file.c. */

/* fdatasync: all data and the size. */
enum peat_status pt_file_sync(struct pt_file *file);
/* msync: the mapped range that starts at @p place, @p offset in the file, and nothing else. Page
 * boundaries are the callee's matter. */
enum peat_status pt_file_sync_range(struct pt_file *file, uint64_t offset, void *place,
                                    size_t size);
/* fsync of the directory that holds @p path: the new file's name is durable. */
enum peat_status pt_file_sync_directory(const char *path);
/* Give the file @p from the name @p to, in the same directory. What had that name is gone if
 * @p replace; else PEAT_EXISTS if there is anything. */
enum peat_status pt_file_rename(const char *from, const char *to, bool replace);
/* Take the name away. */
enum peat_status pt_file_remove(const char *path);

/* @p size bytes of address space, 2 MiB-aligned, without access and without cost. PEAT_NO_MEMORY. */
enum peat_status pt_file_reserve(uint64_t size, uint8_t **base_out);
void pt_file_unreserve(uint8_t *base, uint64_t size);
/* Map [offset, offset + size) shared, for reading, over reserved address space at @p place. May
 * reach beyond the file's end: those bytes must not be touched until the file has grown. */
enum peat_status pt_file_map(struct pt_file *file, uint64_t offset, uint8_t *place, uint64_t size);
/* Map a range shared, for reading and writing, anywhere. */
enum peat_status pt_file_map_writable(struct pt_file *file, uint64_t offset, uint64_t size,
                                      uint8_t **place_out);
void pt_file_unmap(uint8_t *place, uint64_t size);
/* Drop whole pages of a mapping from the page tables, with one flush of address translations for all:
 * the page cache keeps what was stored through them, and a later sync finds no page to take the dirty
 * mark from, which costs a flush each. They may be touched again. */
void pt_file_detach(uint8_t *place, uint64_t size);
/* Fault the pages of a mapped range in, for reading or writing: an I/O error, a truncated file or a
 * full disk is a status here (PEAT_IO), where touching would be a signal. A kernel that does not know
 * how (before 5.14) does nothing: PEAT_OK. */
enum peat_status pt_file_populate(struct pt_file *file, void *place, uint64_t size, bool writing);

/* Open-file-description locks on byte ranges. PEAT_BUSY when another open file holds one that is in
 * the way, this process's included; the words name the holder's process, if /proc tells it. */
enum peat_status pt_file_lock(struct pt_file *file, uint64_t offset, uint64_t size, bool exclusive);
enum peat_status pt_file_unlock(struct pt_file *file, uint64_t offset, uint64_t size);
/* Whether another open file holds any lock in the range, and where the one that was found begins:
 * not necessarily the lowest. */
enum peat_status pt_file_lock_query(struct pt_file *file, uint64_t offset, uint64_t size,
                                    bool *locked_out, uint64_t *offset_out);

/* The mapped range's contents are not wanted any more: drop its pages from the page tables and, as far
 * as they are clean, from the page cache, so that what is written there next is cached and mapped
 * afresh. Whole pages that nobody reads now. */
void pt_file_forget(struct pt_file *file, uint64_t offset, void *place, uint64_t size);

/*
 * Tests only: the system calls as a table. A test copies pt_file_calls_real(), replaces members and
 * installs the result before it opens a store. Each has its system call's contract (-1 and errno);
 * store is memcpy() into a mapping.
 */
struct pt_file_calls {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*memory)(const char *name);
    int (*reopen)(int fd); /* the same file anew, for reading and writing */
    int (*close)(int fd);
    int (*info)(int fd, struct pt_file_info *info);
    int (*room)(int fd, uint64_t *size);
    ssize_t (*read)(int fd, void *buffer, size_t size, uint64_t offset);
    ssize_t (*write)(int fd, const void *data, size_t size, uint64_t offset);
    ssize_t (*write_durable)(int fd, const void *data, size_t size, uint64_t offset);
    void (*store)(int fd, uint64_t offset, void *place, const void *data, size_t size);
    int (*allocate)(int fd, uint64_t offset, uint64_t size);
    int (*truncate)(int fd, uint64_t size);
    int (*punch)(int fd, uint64_t offset, uint64_t size);
    int (*sync)(int fd);
    int (*sync_range)(int fd, uint64_t offset, void *place, size_t size);
    int (*sync_directory)(const char *path);
    int (*rename)(const char *from, const char *to, bool replace);
    int (*remove)(const char *path);
    void *(*map)(int fd, uint64_t offset, void *place, uint64_t size, bool writable);
    int (*populate)(int fd, void *place, uint64_t size, bool writing);
    int (*forget)(int fd, uint64_t offset, void *place, uint64_t size);
    int (*lock)(int fd, uint64_t offset, uint64_t size, bool exclusive);
    int (*unlock)(int fd, uint64_t offset, uint64_t size);
    int (*lock_query)(int fd, uint64_t offset, uint64_t size, bool *locked, uint64_t *found);
};

const struct pt_file_calls *pt_file_calls_real(void);
void pt_file_set_calls(const struct pt_file_calls *calls); /* NULL: the real ones */

#endif

/*
 * Two halves: the system calls as they are (real_..., the members of the table that tests replace),
 * and what peat calls, which adds retries, words and statuses.
 */
#include "core/base/file.h"

#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/base/endian.h"
#include "core/base/lock_holder.h"
#include "core/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8, "offsets of 64 bits");
_Static_assert(sizeof(size_t) == 8, "an address space of 64 bits");

#ifndef MADV_POPULATE_READ /* kernel headers before 5.14 */
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

enum {
    STANDARD_FD_COUNT = 3,       /* input, output, errors */
    ZEROS_SIZE = 4096,           /* bytes per write where allocating means writing zeros */
    ALLOCATE_SIZE_MIN = 1048576, /* bytes: pieces get no smaller when signals interrupt */
    RESERVE_ALIGN = 2097152      /* bytes: so that the kernel can map files with huge pages */
};

/* An open file description that is synced by one thread at a time: see "Syncing". */
struct sync_line {
    int fd;
    struct pt_mutex mutex; /* held across a sync */
};

/* Immutable once opened, but for the mark. */
struct pt_file {
    int fd;
    atomic_bool sync_failed; /* set once, never taken back */
    struct sync_line ranges; /* fd's own description: ranges of the file */
    /* One of its own: all of the file; fd -1: there is none, ranges serves both. */
    struct sync_line wholes;
    char name[]; /* for messages */
};

/* ---- The system calls ---- */

/*
 * Beyond RLIMIT_FSIZE the kernel sends SIGXFSZ, which ends a host program that does not expect it.
 * So ask before each call that could write there, and make it the error it also is.
 */
static bool file_size_allowed(uint64_t size)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        size <= limit.rlim_cur)
        return true;
    errno = EFBIG;
    return false;
}

/* A store must not become a descriptor that the host's printf() or perror() writes to. */
static int beyond_standard_fds(int fd)
{
    int moved;
    int error_number;

    if (fd < 0 || fd >= STANDARD_FD_COUNT)
        return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, STANDARD_FD_COUNT);
    error_number = errno;
    (void)close(fd);
    errno = error_number;
    return moved;
}

static int real_open(const char *path, int flags, mode_t mode)
{
    return beyond_standard_fds(open(path, flags, mode));
}

static int real_memory(const char *name)
{
    return beyond_standard_fds(memfd_create(name, MFD_CLOEXEC));
}

static int real_reopen(int fd)
{
    char path[32];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return beyond_standard_fds(open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
}

static int real_info(int fd, struct pt_file_info *info)
{
    struct stat about;

    if (fstat(fd, &about) != 0)
        return -1;
    info->size = (uint64_t)about.st_size;
    info->allocated_size = (uint64_t)about.st_blocks * 512;
    info->device = (uint64_t)about.st_dev;
    info->inode = (uint64_t)about.st_ino;
    info->regular = S_ISREG(about.st_mode);
    return 0;
}

static int real_room(int fd, uint64_t *size)
{
    struct statvfs about;

    if (fstatvfs(fd, &about) != 0)
        return -1;
    *size = (uint64_t)about.f_bavail * about.f_frsize;
    return 0;
}

static ssize_t real_read(int fd, void *buffer, size_t size, uint64_t offset)
{
    return pread(fd, buffer, size, (off_t)offset);
}

static ssize_t real_write(int fd, const void *data, size_t size, uint64_t offset)
{
    return file_size_allowed(offset + size) ? pwrite(fd, data, size, (off_t)offset) : -1;
}

static ssize_t real_write_durable(int fd, const void *data, size_t size, uint64_t offset)
{
    struct iovec piece = {.iov_len = size};
    ssize_t written;

    if (!file_size_allowed(offset + size))
        return -1;
    memcpy(&piece.iov_base, &data, sizeof(data)); /* the kernel only reads it */
    written = pwritev2(fd, &piece, 1, (off_t)offset, RWF_DSYNC);
    if (written >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
        return written;
    written = pwrite(fd, data, size, (off_t)offset); /* kernels before 4.7 */
    return written >= 0 && fdatasync(fd) != 0 ? -1 : written;
}

static void real_store(int fd, uint64_t offset, void *place, const void *data, size_t size)
{
    (void)fd;
    (void)offset;
    memcpy(place, data, size);
}

static int real_allocate(int fd, uint64_t offset, uint64_t size)
{
    return file_size_allowed(offset + size) ? fallocate(fd, 0, (off_t)offset, (off_t)size) : -1;
}

static int real_truncate(int fd, uint64_t size)
{
    struct pt_file_info info;

    if (!file_size_allowed(size) && (real_info(fd, &info) != 0 || info.size < size)) {
        errno = EFBIG; /* it would grow; shrinking is allowed */
        return -1;
    }
    return ftruncate(fd, (off_t)size);
}

static int real_punch(int fd, uint64_t offset, uint64_t size)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
}

/* @p place and @p size widened to whole pages. */
static uint8_t *page_start(void *place, uint64_t *size)
{
    uint64_t page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t inside = (uint64_t)(uintptr_t)place & (page_size - 1);

    *size = pt_round_up(*size + inside, page_size);
    return (uint8_t *)place - inside;
}

static int real_sync_range(int fd, uint64_t offset, void *place, size_t size)
{
    uint64_t mapped_size = size;
    uint8_t *start = page_start(place, &mapped_size);

    (void)fd;
    (void)offset;
    return msync(start, mapped_size, MS_SYNC);
}

static int real_sync_directory(const char *path)
{
    char directory[PATH_MAX];
    char *slash;
    int fd;
    int result;
    int error_number;

    /* Of the file itself, should the path be a symbolic link to it. */
    if (realpath(path, directory) == NULL)
        return -1;
    slash = strrchr(directory, '/');
    slash[slash == directory ? 1 : 0] = '\0';
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    result = fsync(fd);
    error_number = errno;
    (void)close(fd);
    errno = error_number;
    return result;
}

static int real_rename(const char *from, const char *to, bool replace)
{
    if (replace)
        return rename(from, to);
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (link(from, to) != 0) /* a file system that cannot do it in one step */
        return -1;
    (void)unlink(from); /* two names for one file: no harm */
    return 0;
}

static void *real_map(int fd, uint64_t offset, void *place, uint64_t size, bool writable)
{
    return mmap(place, size, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                place == NULL ? MAP_SHARED : MAP_SHARED | MAP_FIXED, fd, (off_t)offset);
}

static int real_populate(int fd, void *place, uint64_t size, bool writing)
{
    uint64_t mapped_size = size;
    uint8_t *start = page_start(place, &mapped_size);

    (void)fd;
    return madvise(start, mapped_size, writing ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

static int real_forget(int fd, uint64_t offset, void *place, uint64_t size)
{
    if (madvise(place, size, MADV_DONTNEED) != 0)
        return -1;
    return posix_fadvise(fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
}

static struct flock lock_of(int type, uint64_t offset, uint64_t size)
{
    struct flock lock = {.l_type = (short)type,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)offset,
                         .l_len = (off_t)size};
    return lock;
}

static int real_lock(int fd, uint64_t offset, uint64_t size, bool exclusive)
{
    struct flock lock = lock_of(exclusive ? F_WRLCK : F_RDLCK, offset, size);

    return fcntl(fd, F_OFD_SETLK, &lock);
}

static int real_unlock(int fd, uint64_t offset, uint64_t size)
{
    struct flock lock = lock_of(F_UNLCK, offset, size);

    return fcntl(fd, F_OFD_SETLK, &lock);
}

static int real_lock_query(int fd, uint64_t offset, uint64_t size, bool *locked, uint64_t *found)
{
    struct flock lock = lock_of(F_WRLCK, offset, size); /* any lock is in the way of this one */

    if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
        return -1;
    *locked = lock.l_type != F_UNLCK;
    *found = (uint64_t)lock.l_start;
    return 0;
}

static const struct pt_file_calls real_calls = {
    .open = real_open,
    .memory = real_memory,
    .reopen = real_reopen,
    .close = close,
    .info = real_info,
    .room = real_room,
    .read = real_read,
    .write = real_write,
    .write_durable = real_write_durable,
    .store = real_store,
    .allocate = real_allocate,
    .truncate = real_truncate,
    .punch = real_punch,
    .sync = fdatasync,
    .sync_range = real_sync_range,
    .sync_directory = real_sync_directory,
    .rename = real_rename,
    .remove = unlink,
    .map = real_map,
    .populate = real_populate,
    .forget = real_forget,
    .lock = real_lock,
    .unlock = real_unlock,
    .lock_query = real_lock_query,
};

/* Relaxed everywhere: tests set it while no other thread is inside the library. */
static const struct pt_file_calls *_Atomic calls_in_use = &real_calls;

static const struct pt_file_calls *calls(void)
{
    return atomic_load_explicit(&calls_in_use, memory_order_relaxed);
}

const struct pt_file_calls *pt_file_calls_real(void)
{
    return &real_calls;
}

void pt_file_set_calls(const struct pt_file_calls *replacement)
{
    atomic_store_explicit(&calls_in_use, replacement == NULL ? &real_calls : replacement,
                          memory_order_relaxed);
}

/* ---- Opening ---- */

static enum peat_status file_new(const char *name, struct pt_file **file_out)
{
    size_t name_size = strlen(name) + 1;
    struct pt_file *file = pt_malloc(sizeof(*file) + name_size);

    *file_out = file;
    if (file == NULL)
        return pt_fail(PEAT_NO_MEMORY, "file handle for %s", name);
    file->fd = file->ranges.fd = file->wholes.fd = -1;
    atomic_init(&file->sync_failed, false);
    pt_mutex_init(&file->ranges.mutex);
    pt_mutex_init(&file->wholes.mutex);
    memcpy(file->name, name, name_size);
    return PEAT_OK;
}

static void file_free(struct pt_file *file)
{
    pt_mutex_fini(&file->wholes.mutex);
    pt_mutex_fini(&file->ranges.mutex);
    pt_free(file);
}

static enum peat_status open_failed(int error_number, const char *path)
{
    if (error_number == EISDIR || error_number == ENXIO || error_number == ENODEV)
        return pt_fail(PEAT_INVALID, "%s is not a regular file", path);
    return pt_fail_errno(error_number, "open %s", path);
}

enum peat_status pt_file_open(const char *path, int flags, struct pt_file **file_out)
{
    struct pt_file *file = NULL;
    enum peat_status status = file_new(path, &file);

    *file_out = NULL;
    if (status < 0)
        return status;
    do
        file->fd = calls()->open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0) {
        status = open_failed(errno, path);
        file_free(file);
        return status;
    }
    file->ranges.fd = file->fd;
    if ((flags & O_ACCMODE) != O_RDONLY) /* without /proc, or descriptors, there is none */
        file->wholes.fd = calls()->reopen(file->fd);
    *file_out = file;
    return PEAT_OK;
}

enum peat_status pt_file_open_memory(struct pt_file **file_out)
{
    struct pt_file *file = NULL;
    enum peat_status status = file_new("(memory)", &file);

    *file_out = NULL;
    if (status < 0)
        return status;
    file->fd = calls()->memory("peat");
    if (file->fd < 0) {
        status = pt_fail_errno(errno, "make a file in memory");
        file_free(file);
        return status;
    }
    file->ranges.fd = file->fd;
    *file_out = file;
    return PEAT_OK;
}

void pt_file_close(struct pt_file *file)
{
    if (file == NULL)
        return;
    if (file->wholes.fd >= 0)
        (void)calls()->close(file->wholes.fd);
    (void)calls()->close(file->fd); /* what had to be durable was synced: no error to learn here */
    file_free(file);
}

const char *pt_file_name(const struct pt_file *file)
{
    return file->name;
}

enum peat_status pt_file_info(struct pt_file *file, struct pt_file_info *info_out)
{
    if (calls()->info(file->fd, info_out) != 0)
        return pt_fail_errno(errno, "look at %s", file->name);
    return PEAT_OK;
}

enum peat_status pt_file_room(struct pt_file *file, uint64_t *size_out)
{
    if (calls()->room(file->fd, size_out) != 0)
        return pt_fail_errno(errno, "look how much room %s has", file->name);
    return PEAT_OK;
}

/* ---- Reading and writing ---- */

enum peat_status pt_file_read(struct pt_file *file, uint64_t offset, void *buffer, size_t size)
{
    uint8_t *place = buffer;
    size_t done = 0;

    while (done < size) {
        ssize_t count = calls()->read(file->fd, place + done, size - done, offset + done);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return pt_fail_errno(errno, "read %zu bytes at %" PRIu64 " of %s", size, offset,
                                 file->name);
        if (count == 0)
            return pt_fail(PEAT_CORRUPT, "%s ends at %" PRIu64 ", inside %zu bytes at %" PRIu64,
                           file->name, offset + done, size, offset);
        PT_ASSERT((size_t)count <= size - done);
        done += (size_t)count;
    }
    return PEAT_OK;
}

static enum peat_status write_all(struct pt_file *file,
                                  ssize_t (*write_some)(int, const void *, size_t, uint64_t),
                                  uint64_t offset, const void *data, size_t size)
{
    const uint8_t *place = data;
    size_t done = 0;

    while (done < size) {
        ssize_t count = write_some(file->fd, place + done, size - done, offset + done);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) /* a regular file that takes nothing and says nothing is broken, too */
            return pt_fail_errno(count < 0 ? errno : EIO, "write %zu bytes at %" PRIu64 " of %s",
                                 size, offset, file->name);
        PT_ASSERT((size_t)count <= size - done);
        done += (size_t)count;
    }
    return PEAT_OK;
}

enum peat_status pt_file_write(struct pt_file *file, uint64_t offset, const void *data, size_t size)
{
    return write_all(file, calls()->write, offset, data, size);
}

void pt_file_store(struct pt_file *file, uint64_t offset, void *place, const void *data,
                   size_t size)
{
    calls()->store(file->fd, offset, place, data, size);
}

/* ---- Space ---- */

static enum peat_status write_zeros(struct pt_file *file, uint64_t offset, uint64_t size)
{
    static const uint8_t zeros[ZEROS_SIZE];
    enum peat_status status = PEAT_OK;

    for (uint64_t done = 0; done < size && status >= 0; done += ZEROS_SIZE) {
        uint64_t rest = size - done;

        status = pt_file_write(file, offset + done, zeros, rest < ZEROS_SIZE ? rest : ZEROS_SIZE);
    }
    return status;
}

enum peat_status pt_file_allocate(struct pt_file *file, uint64_t offset, uint64_t size)
{
    uint64_t piece = size;
    uint64_t done = 0;

    while (done < size) {
        if (piece > size - done)
            piece = size - done;
        if (calls()->allocate(file->fd, offset + done, piece) == 0) {
            done += piece;
        } else if (errno == EINTR) {
            /* Memory files undo everything when a signal comes: under a steady timer a large piece
             * would never be done. */
            if (piece > ALLOCATE_SIZE_MIN)
                piece /= 2;
        } else if (errno == EOPNOTSUPP || errno == ENOSYS) {
            return write_zeros(file, offset + done, size - done);
        } else {
            return pt_fail_errno(errno, "allocate %" PRIu64 " bytes at %" PRIu64 " of %s", size,
                                 offset, file->name);
        }
    }
    return PEAT_OK;
}

enum peat_status pt_file_truncate(struct pt_file *file, uint64_t size)
{
    while (calls()->truncate(file->fd, size) != 0)
        if (errno != EINTR)
            return pt_fail_errno(errno, "set the size of %s to %" PRIu64, file->name, size);
    return PEAT_OK;
}

enum peat_status pt_file_punch(struct pt_file *file, uint64_t offset, uint64_t size)
{
    while (calls()->punch(file->fd, offset, size) != 0) {
        if (errno == EOPNOTSUPP || errno == ENOSYS)
            return PEAT_OK;
        if (errno != EINTR)
            return pt_fail_errno(errno, "free %" PRIu64 " bytes at %" PRIu64 " of %s", size, offset,
                                 file->name);
    }
    return PEAT_OK;
}

/*
 * ---- Syncing ----
 *
 * Never retried but for signals: a second try may succeed without the data. The kernel tells of a page
 * that it could not write once to each open file description, in the sync that asks first, whichever range
 * that was for (since 4.13; before that once in all). So once a sync has failed none of this file is
 * believed any more.
 *
 * Nor may one be believed that asks just after it, before that is noted: so the syncs of one description run
 * one at a time. There are two, since what commits sync, ranges of the log, must not wait for a checkpoint,
 * which syncs all of the file: the one may fail while the other succeeds, but not for a page of its own.
 */

static enum peat_status syncs_believed(struct pt_file *file)
{
    if (!atomic_load_explicit(&file->sync_failed, memory_order_acquire))
        return PEAT_OK;
    return pt_fail(PEAT_POISONED, "a sync of %s failed earlier: reopen the store", file->name);
}

static enum peat_status sync_lost(struct pt_file *file, enum peat_status status)
{
    atomic_store_explicit(&file->sync_failed, !PT_BUG(POISON_FORGOTTEN), memory_order_release);
    return status;
}

static enum peat_status sync_locked(struct pt_file *file, struct sync_line *line)
    PT_REQUIRES(line->mutex)
{
    enum peat_status status = syncs_believed(file);

    while (status == PEAT_OK && calls()->sync(line->fd) != 0) {
        if (PT_BUG(SYNC_ERROR_IGNORED))
            break;
        if (errno != EINTR && !PT_BUG(SYNC_RETRIED))
            status = sync_lost(file, pt_fail_errno(errno, "sync %s", file->name));
    }
    return status == PEAT_OK ? syncs_believed(file) : status;
}

enum peat_status pt_file_sync(struct pt_file *file)
{
    struct sync_line *line = file->wholes.fd >= 0 ? &file->wholes : &file->ranges;
    enum peat_status status;

    pt_mutex_lock(&line->mutex);
    status = sync_locked(file, line);
    pt_mutex_unlock(&line->mutex);
    return status;
}

static enum peat_status sync_range_locked(struct pt_file *file, uint64_t offset, void *place,
                                          size_t size) PT_REQUIRES(file->ranges.mutex)
{
    enum peat_status status = syncs_believed(file);

    while (status == PEAT_OK && calls()->sync_range(file->fd, offset, place, size) != 0) {
        if (PT_BUG(SYNC_ERROR_IGNORED))
            break;
        if (errno != EINTR && !PT_BUG(SYNC_RETRIED))
            status = sync_lost(file, pt_fail_errno(errno, "sync %zu bytes at %" PRIu64 " of %s",
                                                   size, offset, file->name));
    }
    return status == PEAT_OK ? syncs_believed(file) : status;
}

enum peat_status pt_file_sync_range(struct pt_file *file, uint64_t offset, void *place, size_t size)
{
    enum peat_status status;

    pt_mutex_lock(&file->ranges.mutex);
    status = sync_range_locked(file, offset, place, size);
    pt_mutex_unlock(&file->ranges.mutex);
    return status;
}

enum peat_status pt_file_write_durable(struct pt_file *file, uint64_t offset, const void *data,
                                       size_t size)
{
    enum peat_status status;

    pt_mutex_lock(&file->ranges.mutex);
    status = syncs_believed(file);
    if (status == PEAT_OK) {
        status = write_all(file, calls()->write_durable, offset, data, size);
        status = status < 0 ? sync_lost(file, status) : syncs_believed(file);
    }
    pt_mutex_unlock(&file->ranges.mutex);
    return status;
}

enum peat_status pt_file_sync_directory(const char *path)
{
    while (!PT_BUG(DIRECTORY_SYNC_DROPPED) && calls()->sync_directory(path) != 0) {
        if (errno == EINVAL) /* the filesystem has no such thing as an unsynced directory */
            return PEAT_OK;
        if (errno != EINTR)
            return pt_fail_errno(errno, "sync the directory of %s", path);
    }
    return PEAT_OK;
}

enum peat_status pt_file_rename(const char *from, const char *to, bool replace)
{
    while (calls()->rename(from, to, replace) != 0) {
        if (errno == EEXIST)
            return pt_fail(PEAT_EXISTS, "%s is there already", to);
        if (errno != EINTR)
            return pt_fail_errno(errno, "rename %s to %s", from, to);
    }
    return PEAT_OK;
}

enum peat_status pt_file_remove(const char *path)
{
    while (calls()->remove(path) != 0) {
        if (errno != EINTR)
            return pt_fail_errno(errno, "remove %s", path);
    }
    return PEAT_OK;
}

/* ---- Mapping ---- */

enum peat_status pt_file_reserve(uint64_t size, uint8_t **base_out)
{
    uint8_t *start;
    uint64_t before; /* bytes below the aligned base: given back, like those above its end */

    PT_ASSERT(size > 0 && size % RESERVE_ALIGN == 0);
    *base_out = NULL;
    start = mmap(NULL, size + RESERVE_ALIGN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1, 0);
    if (start == MAP_FAILED)
        return pt_fail(PEAT_NO_MEMORY, "reserve %" PRIu64 " bytes of address space", size);
    before = pt_round_up((uintptr_t)start, RESERVE_ALIGN) - (uintptr_t)start;
    if (before > 0)
        pt_file_unmap(start, before);
    if (before < RESERVE_ALIGN)
        pt_file_unmap(start + before + size, RESERVE_ALIGN - before);
    *base_out = start + before;
    return PEAT_OK;
}

void pt_file_unreserve(uint8_t *base, uint64_t size)
{
    if (base != NULL)
        pt_file_unmap(base, size);
}

enum peat_status pt_file_map(struct pt_file *file, uint64_t offset, uint8_t *place, uint64_t size)
{
    PT_ASSERT(place != NULL && size > 0);
    if (calls()->map(file->fd, offset, place, size, false) == MAP_FAILED)
        return pt_fail_errno(errno, "map %" PRIu64 " bytes at %" PRIu64 " of %s", size, offset,
                             file->name);
    return PEAT_OK;
}

enum peat_status pt_file_map_writable(struct pt_file *file, uint64_t offset, uint64_t size,
                                      uint8_t **place_out)
{
    void *place = calls()->map(file->fd, offset, NULL, size, true);

    *place_out = NULL;
    if (place == MAP_FAILED)
        return pt_fail_errno(errno, "map %" PRIu64 " bytes at %" PRIu64 " of %s for writing", size,
                             offset, file->name);
    *place_out = place;
    return PEAT_OK;
}

void pt_file_unmap(uint8_t *place, uint64_t size)
{
    PT_ASSERT(munmap(place, size) == 0);
}

void pt_file_detach(uint8_t *place, uint64_t size)
{
    (void)madvise(place, size, MADV_DONTNEED); /* the pages stay mapped: no harm */
}

void pt_file_forget(struct pt_file *file, uint64_t offset, void *place, uint64_t size)
{
    (void)calls()->forget(file->fd, offset, place, size); /* the pages stay as they are: no harm */
}

enum peat_status pt_file_populate(struct pt_file *file, void *place, uint64_t size, bool writing)
{
    while (calls()->populate(file->fd, place, size, writing) != 0) {
        if (errno == EINVAL) /* a kernel before 5.14 */
            return PEAT_OK;
        if (errno == EFAULT)
            return pt_fail(PEAT_IO,
                           writing ? "%s: pages cannot be written: the disk is full, the medium "
                                     "failed or the file was truncated"
                                   : "%s: pages cannot be read: the medium failed or the file was "
                                     "truncated",
                           file->name);
        if (errno != EINTR && errno != EAGAIN)
            return pt_fail_errno(errno, "read pages of %s", file->name);
    }
    return PEAT_OK;
}

/* ---- Locks ---- */

static enum peat_status lock_refused(struct pt_file *file, uint64_t offset)
{
    struct pt_file_info info;
    long holder = 0;

    if (calls()->info(file->fd, &info) == 0)
        holder = pt_lock_holder_find(info.device, info.inode, offset);
    if (holder == 0)
        return pt_fail(PEAT_BUSY, "%s is in use by another process", file->name);
    return pt_fail(PEAT_BUSY, "%s is in use by process %ld%s", file->name, holder,
                   holder == (long)getpid() ? " (this one)" : "");
}

enum peat_status pt_file_lock(struct pt_file *file, uint64_t offset, uint64_t size, bool exclusive)
{
    while (calls()->lock(file->fd, offset, size, exclusive) != 0) {
        if (errno == EAGAIN || errno == EACCES)
            return lock_refused(file, offset);
        if (errno != EINTR)
            return pt_fail_errno(errno, "lock %s", file->name);
    }
    return PEAT_OK;
}

enum peat_status pt_file_unlock(struct pt_file *file, uint64_t offset, uint64_t size)
{
    while (calls()->unlock(file->fd, offset, size) != 0)
        if (errno != EINTR)
            return pt_fail_errno(errno, "unlock %s", file->name);
    return PEAT_OK;
}

enum peat_status pt_file_lock_query(struct pt_file *file, uint64_t offset, uint64_t size,
                                    bool *locked_out, uint64_t *offset_out)
{
    if (calls()->lock_query(file->fd, offset, size, locked_out, offset_out) != 0)
        return pt_fail_errno(errno, "ask for locks on %s", file->name);
    return PEAT_OK;
}

#include "core/db/backup_target.h"

#include "core/arena/arena.h"
#include "core/base/alloc.h"
#include "core/base/endian.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { NAME_TRIES = 100, SUFFIX_SIZE_MAX = 32 /* bytes of what the partial file's name ends in */ };

/* A name beside the other one, which nobody else uses. */
static enum peat_status open_partial(struct pt_backup_target *target)
{
    size_t size = strlen(target->path) + SUFFIX_SIZE_MAX;
    enum peat_status status = PEAT_EXISTS;
    char *name = pt_malloc(size);

    if (name == NULL)
        return pt_fail(PEAT_NO_MEMORY, "name of %zu bytes", size);
    for (int i = 0; i < NAME_TRIES && status == PEAT_EXISTS; i++) {
        uint32_t number;

        pt_random(&number, sizeof(number));
        (void)snprintf(name, size, "%s.partial-%08x", target->path, number);
        status = pt_file_open(name, O_RDWR | O_CREAT | O_EXCL, &target->file);
    }
    if (status == PEAT_OK) {
        target->partial = name;
        name = NULL;
    }
    pt_free(name);
    return status;
}

/* Say at once what would be found at the end: there is a file, a directory, or what is not ours. */
static enum peat_status refuse_existing(const char *path)
{
    struct pt_file *file = NULL;
    enum peat_status status = pt_file_open(path, O_RDONLY, &file);

    pt_file_close(file);
    if (status == PEAT_NOT_FOUND)
        return PEAT_OK;
    if (status == PEAT_OK || status == PEAT_INVALID || status == PEAT_DENIED)
        status = pt_fail(PEAT_EXISTS, "%s is there already", path);
    return status;
}

enum peat_status pt_backup_target_file(struct pt_backup_target *target, const char *path,
                                       bool replace)
{
    size_t size = strlen(path) + 1;
    enum peat_status status = replace ? PEAT_OK : refuse_existing(path);

    memset(target, 0, sizeof(*target));
    if (status < 0)
        return status;
    target->replace = replace;
    target->path = pt_malloc(size);
    if (target->path == NULL)
        return pt_fail(PEAT_NO_MEMORY, "name of %zu bytes", size);
    memcpy(target->path, path, size);
    return open_partial(target);
}

void pt_backup_target_stream(struct pt_backup_target *target,
                             bool (*write)(void *context, const void *data, size_t size),
                             void *context)
{
    memset(target, 0, sizeof(*target));
    target->write = write;
    target->context = context;
}

void pt_backup_target_fini(struct pt_backup_target *target)
{
    pt_file_close(target->file);
    if (target->partial != NULL)
        (void)pt_file_remove(target->partial); /* the first error wins */
    pt_free(target->partial);
    pt_free(target->path);
    memset(target, 0, sizeof(*target));
}

enum peat_status pt_backup_target_write(struct pt_backup_target *target, const void *data,
                                        size_t size)
{
    uint64_t offset = target->offset;

    target->offset += size;
    if (target->file != NULL)
        return pt_file_write(target->file, offset, data, size);
    if (target->write != NULL && !target->write(target->context, data, size))
        return pt_fail(PEAT_IO, "the backup's bytes were not taken, at %llu",
                       (unsigned long long)offset);
    return PEAT_OK;
}

enum peat_status pt_backup_target_pad(struct pt_backup_target *target)
{
    static const uint8_t zeros[PT_REGION_UNIT];
    uint64_t end = pt_round_up(target->offset, PT_REGION_UNIT);

    return end == target->offset
               ? PEAT_OK
               : pt_backup_target_write(target, zeros, (size_t)(end - target->offset));
}

enum peat_status pt_backup_target_begin_anew(struct pt_backup_target *target, const void *data,
                                             size_t size)
{
    enum peat_status status = pt_file_sync(target->file);

    PT_ASSERT(size <= target->offset);
    if (status == PEAT_OK)
        status = pt_file_write(target->file, 0, data, size);
    if (status == PEAT_OK)
        status = pt_file_sync(target->file);
    return status;
}

enum peat_status pt_backup_target_name(struct pt_backup_target *target)
{
    enum peat_status status = pt_file_rename(target->partial, target->path, target->replace);

    if (status < 0)
        return status;
    pt_free(target->partial);
    target->partial = NULL;
    return pt_file_sync_directory(target->path);
}

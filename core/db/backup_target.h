/*
 * A backup's target: a sequence of bytes that goes into a new file, to the caller's function, or, to
 * learn how long it gets, nowhere.
 *
 * A file has a name of its own until it is whole, and is removed if it never gets there.
 */
#ifndef PEAT_CORE_DB_BACKUP_TARGET_H
#define PEAT_CORE_DB_BACKUP_TARGET_H

#include "core/base/file.h"

/* One thread. */
struct pt_backup_target {
    uint64_t offset;      /* bytes written */
    struct pt_file *file; /* NULL: not into a file */
    char *partial;        /* owned: its name for now; NULL: none, or it has its own */
    char *path;           /* owned */
    bool replace;
    bool (*write)(void *context, const void *data, size_t size);
    void *context;
};

/* Into the file @p path. PEAT_EXISTS unless @p replace. PEAT_NOT_FOUND (the directory), PEAT_DENIED,
 * PEAT_NO_SPACE, PEAT_IO, PEAT_NO_MEMORY. Release with pt_backup_target_fini(), also then. */
enum peat_status pt_backup_target_file(struct pt_backup_target *target, const char *path,
                                       bool replace);
/* To @p write; NULL: nowhere. */
void pt_backup_target_stream(struct pt_backup_target *target,
                             bool (*write)(void *context, const void *data, size_t size),
                             void *context);
/* A file that did not get its name is removed. */
void pt_backup_target_fini(struct pt_backup_target *target);

enum peat_status pt_backup_target_write(struct pt_backup_target *target, const void *data,
                                        size_t size);
/* Zeros up to the next multiple of PT_REGION_UNIT. */
enum peat_status pt_backup_target_pad(struct pt_backup_target *target);
/* Files: make all durable, then write the @p size bytes at the start anew and make them durable. */
enum peat_status pt_backup_target_begin_anew(struct pt_backup_target *target, const void *data,
                                             size_t size);
/* Files: give it its name. PEAT_EXISTS. */
enum peat_status pt_backup_target_name(struct pt_backup_target *target);

#endif

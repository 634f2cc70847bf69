/* The public calls of backup and restore; backup_job.h has how they work. */
#include "core/db/backup_job.h"
#include "core/db/moment.h"

#include <fcntl.h>

void peat_backup_options_init(struct peat_backup_options *options)
{
    if (options == NULL)
        return;
    *options = (struct peat_backup_options){.struct_size = sizeof(*options)};
}

static enum peat_status check_paths(const char *const *paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (paths[i] == NULL)
            return pt_fail(PEAT_INVALID, "backup %zu of the list is NULL", i);
    return PEAT_OK;
}

/* Fields that a program compiled against an older header does not know keep their defaults. */
static enum peat_status take_options(const struct peat_backup_options *given,
                                     struct peat_backup_options *options_out)
{
    peat_backup_options_init(options_out);
    if (given->struct_size < offsetof(struct peat_backup_options, since) ||
        given->struct_size > 4096)
        return pt_fail(PEAT_INVALID, "options not set up with peat_backup_options_init()");
    memcpy(options_out, given,
           given->struct_size < sizeof(*options_out) ? given->struct_size : sizeof(*options_out));
    if ((options_out->flags & ~PEAT_REPLACE) != 0)
        return pt_fail(PEAT_INVALID, "unknown flags 0x%x in options", options_out->flags);
    if ((options_out->path == NULL) == (options_out->write == NULL))
        return pt_fail(PEAT_INVALID, "a backup goes either to a path or to a function");
    if ((options_out->flags & PEAT_REPLACE) != 0 && options_out->path == NULL)
        return pt_fail(PEAT_INVALID, "PEAT_REPLACE is for a path");
    if (options_out->since == NULL && options_out->since_count > 0)
        return pt_fail(PEAT_INVALID, "no list of %zu backups", options_out->since_count);
    return check_paths(options_out->since, options_out->since_count);
}

static enum peat_status check_info(const struct peat_backup_info *info)
{
    if (info != NULL &&
        (info->struct_size < offsetof(struct peat_backup_info, commit) || info->struct_size > 4096))
        return pt_fail(PEAT_INVALID, "struct_size of the info is not set");
    return PEAT_OK;
}

/* The base must be an earlier state of the same store. */
static enum peat_status check_since(const struct pt_backup_job *job)
{
    const struct pt_backup_chain *since = job->since;

    if (since == NULL)
        return PEAT_OK;
    if (memcmp(&since->last.store_id, &job->header.store_id, sizeof(since->last.store_id)) != 0)
        return pt_fail(PEAT_INVALID, "%s is a backup of another store", since->last_path);
    if (since->last.commit > job->header.commit)
        return pt_fail(PEAT_INVALID,
                       "%s is of commit %llu, later than what is to be backed up (%llu)",
                       since->last_path, (unsigned long long)since->last.commit,
                       (unsigned long long)job->header.commit);
    return PEAT_OK;
}

/* Whether @p path is the file that @p db has open. */
static bool is_file_of(const struct pt_file_info *path, struct peat_db *db)
{
    struct pt_file_info own;

    return pt_file_info(pt_arena_file(db->arena), &own) == PEAT_OK && own.device == path->device &&
           own.inode == path->inode;
}

/* What is replaced must not be what the backup is made of: the store, or a part of the base, without
 * which an increment is worth nothing. */
static enum peat_status check_replaced(const char *path, const struct pt_backup_job *job)
{
    struct pt_file_info info;
    struct pt_file *file = NULL;
    enum peat_status status = pt_file_open(path, O_RDONLY, &file);

    if (status == PEAT_NOT_FOUND)
        return PEAT_OK;
    if (status == PEAT_OK)
        status = pt_file_info(file, &info);
    pt_file_close(file);
    if (status != PEAT_OK)
        return status;
    if (is_file_of(&info, job->snapshot->db))
        return pt_fail(PEAT_INVALID, "%s is the store itself", path);
    for (size_t i = 0; job->since != NULL && i < job->since->count; i++) {
        if (is_file_of(&info, job->since->parts[i]))
            return pt_fail(PEAT_INVALID, "%s is what the increment is based on", path);
    }
    return PEAT_OK;
}

static enum peat_status backup_snapshot(const struct peat_snapshot *snapshot,
                                        const struct peat_backup_options *options,
                                        struct peat_backup_info *info_out)
{
    struct pt_backup_chain since = {.parts = NULL};
    struct pt_backup_job job = {
        .meter = {.progress = options->progress, .context = options->context}};
    struct pt_log_point log;
    struct pt_lineage lineage;
    enum peat_status status = PEAT_OK;

    if (options->since_count > 0)
        status = pt_backup_chain_open(&since, options->since, options->since_count);
    if (status == PEAT_OK) {
        pt_moment_find(snapshot->db, snapshot->pin.stack, snapshot->commit, &log);
        lineage = pt_epochs_copy(snapshot->db); /* after the point: it is never behind it */
        status = pt_backup_job_init(&job, snapshot, options->since_count > 0 ? &since : NULL, &log,
                                    &lineage);
    }
    if (status == PEAT_OK)
        status = check_since(&job);
    if (status == PEAT_OK && (options->flags & PEAT_REPLACE) != 0)
        status = check_replaced(options->path, &job);
    if (status == PEAT_OK && options->path != NULL)
        status = pt_backup_job_write_file(&job, options->path, (options->flags & PEAT_REPLACE) != 0,
                                          NULL);
    else if (status == PEAT_OK)
        status = pt_backup_job_write_stream(&job, options->write, options->context);
    if (status == PEAT_OK) {
        pt_meter_end(&job.meter);
        if (info_out != NULL)
            pt_backup_header_tell(&job.header, info_out);
    }
    pt_backup_job_fini(&job);
    pt_backup_chain_close(&since);
    return status;
}

enum peat_status peat_backup(struct peat_db *db, const struct peat_snapshot *snapshot,
                             const struct peat_backup_options *options,
                             struct peat_backup_info *info_out)
{
    struct peat_backup_options taken;
    struct peat_snapshot *newest = NULL;
    enum peat_status status;

    if (db == NULL || options == NULL)
        return pt_fail_null();
    if (snapshot != NULL && snapshot->db != db)
        return pt_fail(PEAT_INVALID, "the snapshot is of another store");
    status = take_options(options, &taken);
    if (status == PEAT_OK)
        status = check_info(info_out);
    if (status == PEAT_OK && snapshot == NULL) {
        status = peat_snapshot_open(db, &newest);
        snapshot = newest;
    }
    if (status == PEAT_OK)
        status = backup_snapshot(snapshot, &taken, info_out);
    peat_snapshot_close(newest);
    return status;
}

/* ---- Restore ---- */

/* The last part says where its state stands in the history. */
static struct pt_log_point chain_point(const struct pt_backup_chain *chain)
{
    return chain->parts[chain->count - 1]->log_start;
}

/* Ids are above all that any part has used. */
static void take_ids(struct pt_backup_job *job, const struct pt_backup_chain *chain)
{
    const struct peat_db *last = chain->parts[chain->count - 1];

    job->manifest.next_segment_id =
        atomic_load_explicit(&last->next_segment_id, memory_order_relaxed);
    job->manifest.next_collection_id =
        atomic_load_explicit(&last->catalogue->next_id, memory_order_relaxed);
}

enum peat_status peat_restore(const char *path, const char *const *backups, size_t backup_count,
                              bool (*progress)(void *context, uint64_t done, uint64_t total),
                              void *context, struct peat_backup_info *info_out)
{
    struct pt_backup_job job = {.meter = {.progress = progress, .context = context}};
    struct pt_backup_chain chain = {.parts = NULL};
    struct peat_snapshot *snapshot = NULL;
    struct pt_log_point log;
    struct pt_lineage lineage;
    enum peat_status status = check_info(info_out);

    if (status == PEAT_OK && (path == NULL || backups == NULL || backup_count == 0))
        status = pt_fail(PEAT_INVALID, "a restore needs a path and a backup");
    if (status == PEAT_OK)
        status = check_paths(backups, backup_count);
    if (status == PEAT_OK)
        status = pt_backup_chain_open(&chain, backups, backup_count);
    if (status == PEAT_OK)
        status = peat_snapshot_open(chain.parts[0], &snapshot);
    if (status == PEAT_OK) {
        log = chain_point(&chain);
        lineage = pt_epochs_copy(chain.parts[chain.count - 1]);
        status = pt_backup_job_init(&job, snapshot, NULL, &log, &lineage);
    }
    if (status == PEAT_OK) {
        take_ids(&job, &chain);
        status = pt_backup_job_write_file(&job, path, false, &chain.last);
    }
    if (status == PEAT_OK) {
        pt_meter_end(&job.meter);
        if (info_out != NULL)
            pt_backup_header_tell(&job.header, info_out);
    }
    pt_backup_job_fini(&job);
    peat_snapshot_close(snapshot);
    pt_backup_chain_close(&chain);
    return status;
}

enum peat_status peat_backup_inspect(const char *path, struct peat_backup_info *info_out)
{
    struct pt_backup_header header;
    struct pt_file *file = NULL;
    enum peat_status status;

    if (path == NULL || info_out == NULL)
        return pt_fail_null();
    status = pt_checksum_start();
    if (status == PEAT_OK)
        status = check_info(info_out);
    if (status == PEAT_OK)
        status = pt_file_open(path, O_RDONLY, &file);
    if (status == PEAT_OK)
        status = pt_backup_header_read(file, &header);
    if (status == PEAT_OK)
        pt_backup_header_tell(&header, info_out);
    pt_file_close(file);
    return status;
}

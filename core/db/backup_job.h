/*
 * A backup job: one state of a store, written as one backup.
 *
 *  1. What is written is a state: all live entries of a snapshot, by stored key. A restore is the same
 *     act, its snapshot being that of a backup chain.
 *  2. An increment is the difference of two states, found by walking both in key order: what merging
 *     does to segments does not show in it. Neighbours that are all gone become one range delete.
 *  3. The superblocks come first in the file and name the manifest, which comes last, so that nothing
 *     must be kept in memory. Into a file they are written at the end, and until then nothing in the
 *     file is valid. For a stream the state is walked twice: first to learn where the manifest will
 *     lie, then for the bytes. The state cannot change in between, and the same walk gives the same
 *     bytes.
 *  4. A file is read back and verified before it gets its name.
 */
#ifndef PEAT_CORE_DB_BACKUP_JOB_H
#define PEAT_CORE_DB_BACKUP_JOB_H

#include "core/db/backup_chain.h"
#include "core/db/backup_writer.h"
#include "core/db/state_walk.h"

/* Owned by its thread. */
struct pt_backup_job {
    const struct peat_snapshot *snapshot; /* of the state that is written */
    const struct pt_backup_chain *since;  /* NULL: write it all */
    uint64_t segment_size_max;            /* bytes */
    /* Of the backup: identity, ids and log; the rest is the writer's. */
    struct pt_manifest manifest;
    struct pt_backup_header header;
    struct pt_digester *digester; /* owned; NULL: the digest is known already */
    struct pt_backup_writer writer;
    struct pt_extent manifest_extent; /* known once the body was written */
    struct pt_meter meter;            /* progress and context are the caller's to set */
    /* For a salvage, set after init; full backups only. */
    /* As in struct pt_state_walk. */
    enum peat_status (*lost)(void *context, const struct peat_range *keys);
    void *lost_context;
    const struct pt_state_walk
        *extras; /* entries to write besides, ascending, of keys that are free */
    size_t extra_count;
};

/*
 * @p log is the state's place in the history, @p since what an increment is made to (NULL: a full
 * backup), @p lineage its epochs up to there or beyond, which are not looked at if it has no
 * place. All and @p snapshot outlive the job. PEAT_NO_MEMORY. Release with pt_backup_job_fini().
 */
enum peat_status pt_backup_job_init(struct pt_backup_job *job, const struct peat_snapshot *snapshot,
                                    const struct pt_backup_chain *since,
                                    const struct pt_log_point *log,
                                    const struct pt_lineage *lineage);
void pt_backup_job_fini(struct pt_backup_job *job);

/*
 * Write the file @p path. @p expected (NULL: nothing is known before): what digest and number of
 * entries must come out. PEAT_OK: it is whole, verified and on disk. Otherwise there is no file:
 * PEAT_DONE (stopped), PEAT_EXISTS, PEAT_CORRUPT, and what pt_backup_target_file() gives.
 */
enum peat_status pt_backup_job_write_file(struct pt_backup_job *job, const char *path, bool replace,
                                          const struct pt_backup_header *expected);
/* Give the bytes to @p write. PEAT_IO: it returned false. */
enum peat_status pt_backup_job_write_stream(struct pt_backup_job *job,
                                            bool (*write)(void *context, const void *data,
                                                          size_t size),
                                            void *context);

#endif

#include "core/db/backup_job.h"

#include "core/arena/superblock_format.h"
#include "core/db/identity.h"
#include "core/db/run_writer.h"

enum {
    STRETCH_MIN = 4,         /* so many neighbours that are gone become a range delete */
    SEGMENT_MEMORY_SHARE = 8 /* a segment in the making takes at most this part of the memory */
};

enum peat_status pt_backup_job_init(struct pt_backup_job *job, const struct peat_snapshot *snapshot,
                                    const struct pt_backup_chain *since,
                                    const struct pt_log_point *log,
                                    const struct pt_lineage *lineage)
{
    struct peat_db *db = snapshot->db;
    struct pt_identity identity = pt_identity_get(db);
    size_t share = db->options.memory_size_max / SEGMENT_MEMORY_SHARE;

    job->snapshot = snapshot;
    job->since = since;
    job->segment_size_max = share < PT_SEGMENT_SIZE_MAX ? share : PT_SEGMENT_SIZE_MAX;
    job->manifest = (struct pt_manifest){
        .kind = since == NULL ? PT_MANIFEST_STORE : PT_MANIFEST_INCREMENT,
        .store_id = identity.store_id,
        .next_segment_id = atomic_load_explicit(&db->next_segment_id, memory_order_relaxed),
        .next_collection_id = atomic_load_explicit(&db->catalogue->next_id, memory_order_relaxed),
        .hash_seed = identity.hash_seed,
        .log = pt_log_point_nowhere(log),
    };
    if (log->position > 0) /* else it has no place in the history, see pt_moment_find() */
        pt_epochs_describe(lineage, &job->manifest);
    job->header = (struct pt_backup_header){.kind = job->manifest.kind,
                                            .store_id = identity.store_id,
                                            .commit = log->commit,
                                            .time_us = log->time_us};
    if (since != NULL) {
        job->header.base_commit = since->last.commit;
        job->header.base_digest = since->last.digest;
    }
    job->meter.total = 2 * pt_state_estimate(snapshot);
    return pt_digester_new(&job->digester);
}

void pt_backup_job_fini(struct pt_backup_job *job)
{
    pt_digester_free(job->digester);
}

/* ---- What is written ---- */

static enum peat_status write_put(struct pt_backup_job *job, const struct pt_state_walk *walk)
{
    job->header.put_count++;
    return pt_backup_writer_add(&job->writer, PT_OP_PUT, walk->key, walk->value);
}

static enum peat_status note_state(struct pt_backup_job *job, const struct pt_state_walk *walk)
{
    job->header.entry_count++;
    if (job->digester != NULL)
        pt_state_digest_add(job->digester, walk);
    return pt_meter_advance(&job->meter, pt_entry_size(walk->key.size, walk->value.size));
}

/* Write the extra entries from number *next on whose keys are below @p walk's. */
static enum peat_status write_extras(struct pt_backup_job *job, const struct pt_state_walk *walk,
                                     size_t *next)
{
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK && *next < job->extra_count &&
           (walk->ended || pt_bytes_compare(job->extras[*next].key, walk->key) < 0)) {
        const struct pt_state_walk *extra = &job->extras[(*next)++];

        status = write_put(job, extra);
        if (status == PEAT_OK)
            status = note_state(job, extra);
    }
    return status;
}

static enum peat_status write_full(struct pt_backup_job *job)
{
    struct pt_state_walk walk = {.lost = job->lost, .context = job->lost_context};
    size_t extras = 0;
    enum peat_status status = pt_state_walk_open(&walk, job->snapshot);

    if (status == PEAT_OK)
        status = write_extras(job, &walk, &extras);
    while (status == PEAT_OK && !walk.ended) {
        status = write_put(job, &walk);
        if (status == PEAT_OK)
            status = note_state(job, &walk);
        if (status == PEAT_OK)
            status = pt_state_walk_next(&walk);
        if (status == PEAT_OK && extras < job->extra_count)
            status = write_extras(job, &walk, &extras);
    }
    pt_state_walk_close(&walk);
    return status;
}

/* Neighbouring keys of the base that are gone, with no key of the new state between them. */
struct stretch {
    struct peat_bytes keys[STRETCH_MIN]; /* the first ones */
    struct peat_bytes last;
    uint64_t count;
};

static void stretch_add(struct stretch *stretch, struct peat_bytes key)
{
    if (stretch->count < STRETCH_MIN)
        stretch->keys[stretch->count] = key;
    stretch->last = key;
    stretch->count++;
}

/* A range delete from the first to just behind the last. */
static enum peat_status write_range(struct pt_backup_job *job, const struct stretch *stretch)
{
    size_t size = stretch->last.size + 1;
    uint8_t *end = pt_malloc(size);
    enum peat_status status;

    if (end == NULL)
        return pt_fail(PEAT_NO_MEMORY, "key of %zu bytes", size);
    if (size > 1)
        memcpy(end, stretch->last.data, size - 1);
    end[size - 1] = 0;
    job->header.delete_count++;
    status = pt_backup_writer_add_range(&job->writer, stretch->keys[0], pt_bytes(end, size));
    pt_free(end);
    return status;
}

static enum peat_status stretch_write(struct pt_backup_job *job, struct stretch *stretch)
{
    enum peat_status status = PEAT_OK;

    if (stretch->count >= STRETCH_MIN) {
        status = write_range(job, stretch);
        stretch->count = 0;
    }
    for (uint64_t i = 0; i < stretch->count && status == PEAT_OK; i++) {
        job->header.delete_count++;
        status =
            pt_backup_writer_add(&job->writer, PT_OP_DELETE, stretch->keys[i], pt_bytes(NULL, 0));
    }
    stretch->count = 0;
    return status;
}

/* Take the lower of both walks' keys, write the difference, and step. */
static enum peat_status write_step(struct pt_backup_job *job, struct pt_state_walk *base,
                                   struct pt_state_walk *state, struct stretch *stretch)
{
    int order = base->ended ? 1 : state->ended ? -1 : pt_bytes_compare(base->key, state->key);
    enum peat_status status = PEAT_OK;

    if (order < 0) {
        stretch_add(stretch, base->key);
        status = pt_meter_advance(&job->meter, pt_entry_size(base->key.size, base->value.size));
        return status == PEAT_OK ? pt_state_walk_next(base) : status;
    }
    status = stretch_write(job, stretch);
    if (status == PEAT_OK && (order > 0 || !pt_bytes_equal(base->value, state->value)))
        status = write_put(job, state);
    if (status == PEAT_OK)
        status = note_state(job, state);
    if (status == PEAT_OK && order == 0)
        status = pt_state_walk_next(base);
    return status == PEAT_OK ? pt_state_walk_next(state) : status;
}

static enum peat_status write_difference(struct pt_backup_job *job)
{
    struct peat_snapshot *base_snapshot = NULL;
    struct stretch stretch = {.count = 0};
    struct pt_state_walk base = {.iterator = NULL};
    struct pt_state_walk state = {.iterator = NULL};
    enum peat_status status = peat_snapshot_open(job->since->parts[0], &base_snapshot);

    if (status == PEAT_OK)
        status = pt_state_walk_open(&base, base_snapshot);
    if (status == PEAT_OK)
        status = pt_state_walk_open(&state, job->snapshot);
    while (status == PEAT_OK && !(base.ended && state.ended))
        status = write_step(job, &base, &state, &stretch);
    if (status == PEAT_OK)
        status = stretch_write(job, &stretch);
    pt_state_walk_close(&state);
    pt_state_walk_close(&base);
    peat_snapshot_close(base_snapshot);
    return status;
}

/* Segments and manifest to @p target. */
static enum peat_status write_body(struct pt_backup_job *job, struct pt_backup_target *target)
{
    enum peat_status status;

    job->header.entry_count = job->header.put_count = job->header.delete_count = 0;
    pt_backup_writer_init(&job->writer, target, &job->manifest, job->segment_size_max);
    status = job->since == NULL ? write_full(job) : write_difference(job);
    if (status == PEAT_OK)
        status = pt_backup_writer_finish(&job->writer, &job->manifest_extent);
    job->header.file_size = target->offset;
    pt_backup_writer_fini(&job->writer);
    return status;
}

/* What comes before the segments, @p place being PT_ARENA_START zeros. */
static void encode_front(const struct pt_backup_job *job, uint8_t *place)
{
    struct pt_superblock superblock = {job->header.store_id, PT_BACKUP_GENERATION,
                                       job->manifest_extent.offset, job->manifest_extent.size};
    struct pt_backup_page page;

    for (size_t i = 0; i < PT_SUPERBLOCK_COUNT; i++)
        pt_superblock_encode(&superblock, place + i * PT_SUPERBLOCK_SIZE);
    pt_backup_header_encode(&job->header, &page);
    memcpy(place + PT_BACKUP_HEADER_OFFSET, &page, sizeof(page));
}

/* ---- Into a file ---- */

/* Read everything in the file that @p target wrote: the chain that ends with it is not opened for it,
 * an increment is verified by itself. */
static enum peat_status read_back(struct pt_backup_job *job, const struct pt_backup_target *target)
{
    struct peat_db *db = NULL;
    enum peat_status status = pt_open_backup(target->partial, &db);
    struct pt_pin pin;

    if (status != PEAT_OK)
        return status;
    pin = pt_shelf_pin(&db->shelf);
    for (size_t i = 0; i < pin.stack->run_count; i++) {
        const struct pt_run *run = pin.stack->runs[i];

        for (size_t k = 0; k < run->slice_count && status == PEAT_OK; k++) {
            status = pt_segment_verify_all(run->slices[k].held->segment);
            if (status == PEAT_OK)
                status = pt_meter_advance(&job->meter, run->slices[k].held->summary.size);
        }
    }
    pt_shelf_unpin(&db->shelf, pin);
    PT_ASSERT(peat_close(db) == PEAT_OK);
    return status;
}

/* The state's digest is known now; a restore knows already what it must be. */
static enum peat_status take_digest(struct pt_backup_job *job,
                                    const struct pt_backup_header *expected)
{
    job->header.digest = pt_digester_finish(job->digester);
    pt_digester_free(job->digester);
    job->digester = NULL;
    if (expected != NULL && (!pt_digest_equal(&job->header.digest, &expected->digest) ||
                             job->header.entry_count != expected->entry_count))
        return pt_fail(PEAT_CORRUPT, "what the backups hold has not the digest that they state");
    return PEAT_OK;
}

enum peat_status pt_backup_job_write_file(struct pt_backup_job *job, const char *path, bool replace,
                                          const struct pt_backup_header *expected)
{
    static const uint8_t zeros[PT_ARENA_START];
    struct pt_backup_target target;
    uint8_t *front = pt_calloc(1, PT_ARENA_START);
    enum peat_status status = pt_backup_target_file(&target, path, replace);

    if (status == PEAT_OK && front == NULL)
        status = pt_fail(PEAT_NO_MEMORY, "backup header");
    if (status == PEAT_OK)
        status = pt_backup_target_write(&target, zeros, sizeof(zeros));
    if (status == PEAT_OK)
        status = write_body(job, &target);
    if (status == PEAT_OK)
        status = take_digest(job, expected);
    if (status == PEAT_OK) {
        encode_front(job, front);
        status = pt_backup_target_begin_anew(&target, front, PT_ARENA_START);
    }
    if (status == PEAT_OK)
        status = read_back(job, &target);
    if (status == PEAT_OK)
        status = pt_backup_target_name(&target);
    pt_backup_target_fini(&target);
    pt_free(front);
    return status;
}

/* ---- To a stream ---- */

enum peat_status pt_backup_job_write_stream(struct pt_backup_job *job,
                                            bool (*write)(void *context, const void *data,
                                                          size_t size),
                                            void *context)
{
    struct pt_backup_target target;
    struct pt_extent planned;
    uint64_t planned_size;
    uint8_t *front = pt_calloc(1, PT_ARENA_START);
    enum peat_status status = PEAT_OK;

    if (front == NULL)
        return pt_fail(PEAT_NO_MEMORY, "backup header");
    pt_backup_target_stream(&target, NULL, NULL);
    target.offset = PT_ARENA_START;
    status = write_body(job, &target);
    if (status == PEAT_OK)
        status = take_digest(job, NULL);
    if (status != PEAT_OK)
        goto done;
    planned = job->manifest_extent;
    planned_size = job->header.file_size;
    encode_front(job, front);
    pt_backup_target_stream(&target, write, context);
    status = pt_backup_target_write(&target, front, PT_ARENA_START);
    if (status == PEAT_OK)
        status = write_body(job, &target);
    if (status == PEAT_OK &&
        (planned.offset != job->manifest_extent.offset ||
         planned.size != job->manifest_extent.size || planned_size != target.offset))
        status =
            pt_fail(PEAT_CORRUPT, "the store changed below a snapshot: the backup is not valid");
done:
    pt_free(front);
    return status;
}

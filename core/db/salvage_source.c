#include "core/db/salvage_source.h"

#include "core/base/alloc.h"

#include <stdio.h>

/* ---- The manifest ---- */

/* A manifest that was found, decoded. */
struct found {
    struct pt_superblock superblock; /* that would name it; generation 0: none was found */
    struct pt_manifest manifest;     /* borrows from block */
    uint8_t *block;                  /* owned */
};

static void found_fini(struct found *found)
{
    pt_manifest_fini(&found->manifest);
    pt_free(found->block);
    memset(found, 0, sizeof(*found));
}

/* Whether what lies at @p offset says that it is a manifest; what it says of itself. */
static bool looks_like_one(struct peat_db *db, uint64_t offset,
                           struct pt_superblock *superblock_out)
{
    struct pt_manifest_header header;

    if (pt_arena_size(db->arena) - offset < sizeof(header) ||
        pt_file_read(pt_arena_file(db->arena), offset, &header, sizeof(header)) < 0 ||
        pt_le64_value(header.magic) != PT_MANIFEST_MAGIC)
        return false;
    *superblock_out = (struct pt_superblock){header.store_id, pt_le64_value(header.generation),
                                             offset, pt_le64_value(header.size)};
    return superblock_out->generation > 0;
}

/* Take the manifest that @p superblock names, if it verifies and is newer than the one there is. */
static enum peat_status consider(struct peat_db *db, const struct pt_superblock *superblock,
                                 struct found *found)
{
    struct found newer = {.superblock = *superblock};
    enum peat_status status;

    if (superblock->generation <= found->superblock.generation)
        return PEAT_OK;
    status = pt_manifest_load(db, superblock, &newer.manifest, &newer.block);
    if (status < 0)
        return status == PEAT_NO_MEMORY || status == PEAT_VERSION ? status : PEAT_OK;
    found_fini(found);
    *found = newer;
    return PEAT_OK;
}

/* Look everywhere; @p store_id: whose it must be, NULL: whoever's. */
static enum peat_status search(struct peat_db *db, const struct pt_id *store_id,
                               struct found *found)
{
    uint64_t size = pt_arena_size(db->arena);
    enum peat_status status = PEAT_OK;

    for (uint64_t offset = PT_ARENA_START; offset < size && status == PEAT_OK;
         offset += PT_REGION_UNIT) {
        struct pt_superblock superblock;

        if (looks_like_one(db, offset, &superblock) &&
            (store_id == NULL || memcmp(&superblock.store_id, store_id, sizeof(*store_id)) == 0))
            status = consider(db, &superblock, found);
    }
    return status;
}

/* (1) */
static enum peat_status find_manifest(struct peat_db *db, struct found *found,
                                      struct peat_salvage_info *info)
{
    struct pt_file *file = pt_arena_file(db->arena);
    struct pt_superblock superblock;
    enum peat_status status = pt_superblock_read(file, &superblock, NULL);
    bool named = status == PEAT_OK;

    if (status == PEAT_VERSION || status == PEAT_NO_MEMORY)
        return status;
    info->superblocks_damaged = !named;
    status = named ? consider(db, &superblock, found) : PEAT_OK;
    if (status == PEAT_OK && found->superblock.generation == 0) {
        info->is_older = named;
        status = search(db, named ? &superblock.store_id : NULL, found);
    }
    if (status == PEAT_OK && found->superblock.generation == 0)
        status = named ? pt_fail(PEAT_CORRUPT,
                                 "%s: no manifest verifies: what the segments are of "
                                 "is not known",
                                 pt_file_name(file))
                       : pt_fail(PEAT_INVALID,
                                 "%s: there is neither a superblock nor a manifest "
                                 "that verifies",
                                 pt_file_name(file));
    return status;
}

/* ---- The log ---- */

/* Add one batch, in a fresh buffer if the active one has no room for it. */
static enum peat_status replay(struct peat_db *db, const struct pt_record *record)
{
    struct pt_log_point none = {.commit = pt_write_buffer_commit(db->queue.active->buffer)};
    uint64_t seal_size = db->options.write_buffer_size;
    enum peat_status status = PEAT_TOO_LARGE;

    if (pt_write_buffer_data_size(db->queue.active->buffer) < seal_size)
        status = pt_replay_batch(db, db->queue.active, record->payload, record->commit);
    if (status != PEAT_TOO_LARGE)
        return status;
    if (record->payload.size > seal_size)
        seal_size = record->payload.size;
    status = pt_seal(db, &none, record->payload.size / PT_ENTRY_HEADER_SIZE, seal_size);
    if (status < 0)
        return status;
    return pt_replay_batch(db, db->queue.active, record->payload, record->commit);
}

/* (3). What is wrong with the log ends it, and is told. */
static enum peat_status replay_log(struct peat_db *db, struct peat_salvage_info *info)
{
    struct pt_log_reader *reader = NULL;
    struct pt_record record;
    enum peat_status status;

    if (db->log_start.region.size == 0)
        return PEAT_OK;
    status = pt_log_reader_open(db->arena, &db->log_start, false, &reader);
    while (status == PEAT_OK) {
        status = pt_log_reader_next(reader, &record);
        if (status == PEAT_OK && record.kind == PT_RECORD_BATCH)
            status = replay(db, &record);
    }
    pt_log_reader_close(reader);
    if (status == PEAT_CORRUPT || status == PEAT_IO) {
        info->log_damaged = true;
        (void)snprintf(info->log_words, sizeof(info->log_words), "%s", peat_last_error());
        return PEAT_OK;
    }
    return status == PEAT_DONE ? PEAT_OK : status;
}

/* ---- Both ---- */

static enum peat_status show(struct peat_db *db, const struct found *found,
                             struct peat_salvage_info *info)
{
    const struct pt_manifest *manifest = &found->manifest;
    struct pt_run **runs = NULL;
    enum peat_status status;

    pt_manifest_take(db, manifest);
    info->generation = manifest->generation;
    status = pt_manifest_runs(db, manifest, NULL, true, &runs);
    if (status == PEAT_OK)
        status = pt_first_stack(db, runs, manifest->run_count, &manifest->log);
    if (status == PEAT_OK)
        status = replay_log(db, info);
    if (status == PEAT_OK)
        info->commit = pt_write_buffer_commit(db->queue.active->buffer);
    pt_runs_free(runs, runs == NULL ? 0 : manifest->run_count);
    return status;
}

enum peat_status pt_salvage_source_open(const char *path, struct peat_salvage_info *info,
                                        struct peat_db **db_out)
{
    struct found found = {.block = NULL};
    struct peat_db *db = NULL;
    enum peat_status status = pt_open_to_salvage(path, &db);

    *db_out = NULL;
    if (status == PEAT_OK)
        status = find_manifest(db, &found, info);
    if (status == PEAT_OK)
        status = show(db, &found, info);
    found_fini(&found);
    if (status == PEAT_OK) {
        *db_out = db;
        return PEAT_OK;
    }
    (void)peat_close(db);
    return status;
}

#include "core/db/backup_chain.h"

#include <fcntl.h>
#include <inttypes.h>

/* Whether @p next continues what @p chain has come to. */
static enum peat_status check_order(const struct pt_backup_chain *chain,
                                    const struct pt_backup_header *next, const char *path)
{
    const struct pt_backup_header *last = &chain->last;

    if (chain->count == 0 && next->kind == PT_MANIFEST_INCREMENT)
        return pt_fail(PEAT_INVALID,
                       "%s is an increment, based on a backup of commit %" PRIu64
                       ": a full backup must come first",
                       path, next->base_commit);
    if (chain->count == 0)
        return PEAT_OK;
    if (next->kind != PT_MANIFEST_INCREMENT)
        return pt_fail(PEAT_INVALID, "%s is a full backup: only increments may follow the first",
                       path);
    if (memcmp(&next->store_id, &last->store_id, sizeof(next->store_id)) != 0)
        return pt_fail(PEAT_INVALID, "%s is of another store than %s", path, chain->last_path);
    if (next->base_commit != last->commit || !pt_digest_equal(&next->base_digest, &last->digest))
        return pt_fail(PEAT_INVALID,
                       "%s is based on a backup of commit %" PRIu64 "%s; %s is of commit %" PRIu64,
                       path, next->base_commit,
                       next->base_commit == last->commit ? " with another content" : "",
                       chain->last_path, last->commit);
    return PEAT_OK;
}

static enum peat_status header_read(const char *path, struct pt_backup_header *header)
{
    struct pt_file *file = NULL;
    enum peat_status status = pt_file_open(path, O_RDONLY, &file);

    if (status == PEAT_OK)
        status = pt_backup_header_read(file, header);
    pt_file_close(file);
    return status;
}

/* Header and manifest have checksums of their own: what both say must agree. */
static enum peat_status check_agreement(struct peat_db *db, const struct pt_backup_header *header,
                                        const char *path)
{
    struct pt_pin pin = pt_shelf_pin(&db->shelf);
    uint64_t commit = pt_stack_commit(pin.stack);
    size_t run_count = pin.stack->run_count;

    pt_shelf_unpin(&db->shelf, pin);
    if (commit != header->commit || run_count > 1 ||
        memcmp(&db->store_id, &header->store_id, sizeof(db->store_id)) != 0)
        return pt_fail(PEAT_CORRUPT, "%s: its header and its manifest differ", path);
    return PEAT_OK;
}

static enum peat_status part_open(struct pt_backup_chain *chain, const char *path)
{
    struct pt_backup_header header;
    struct peat_db *db = NULL;
    enum peat_status status = header_read(path, &header);

    if (status == PEAT_OK)
        status = check_order(chain, &header, path);
    if (status == PEAT_OK)
        status = pt_open_backup(path, &db);
    if (status != PEAT_OK)
        return status;
    chain->parts[chain->count++] = db;
    status = check_agreement(db, &header, path);
    if (status == PEAT_OK && pt_hash_seed(db) != pt_hash_seed(chain->parts[0]))
        status = pt_fail(PEAT_CORRUPT, "%s and the backup before it differ in their store", path);
    chain->last = header;
    chain->last_path = path;
    return status;
}

/* Lay the increments' runs upon the full backup's. */
static enum peat_status join_runs(struct pt_backup_chain *chain)
{
    struct pt_run **runs = pt_calloc(chain->count, sizeof(struct pt_run *));
    size_t run_count = 0;
    enum peat_status status;

    if (runs == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu runs", chain->count);
    for (size_t i = chain->count; i-- > 0;) { /* newest first */
        struct pt_pin pin = pt_shelf_pin(&chain->parts[i]->shelf);

        if (pin.stack->run_count == 1) {
            runs[run_count] = pin.stack->runs[0];
            pt_run_pin(runs[run_count++]);
        }
        pt_shelf_unpin(&chain->parts[i]->shelf, pin);
    }
    status = pt_publish_runs(chain->parts[0], 0, runs, run_count, 0);
    pt_runs_free(runs, run_count);
    return status;
}

enum peat_status pt_backup_chain_open(struct pt_backup_chain *chain, const char *const *paths,
                                      size_t count)
{
    enum peat_status status = PEAT_OK;

    PT_ASSERT(chain->parts == NULL && count > 0);
    chain->parts = pt_calloc(count, sizeof(struct peat_db *));
    if (chain->parts == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu backups", count);
    for (size_t i = 0; i < count && status == PEAT_OK; i++)
        status = part_open(chain, paths[i]);
    if (status == PEAT_OK && count > 1)
        status = join_runs(chain);
    return status;
}

void pt_backup_chain_close(struct pt_backup_chain *chain)
{
    for (size_t i = 0; i < chain->count;
         i++) /* the first one's stack has pins on the others' runs */
        PT_ASSERT(peat_close(chain->parts[i]) == PEAT_OK);
    pt_free(chain->parts);
    memset(chain, 0, sizeof(*chain));
}

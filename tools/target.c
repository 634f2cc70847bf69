#include "tools/target.h"

#include "tools/collection_path.h"
#include "tools/kept_state.h"

#include <string.h>

enum { REPLICA_TIMEOUT_MS = 1000 /* then the user is told what is being waited for */ };

static enum pt_exit store_open(struct pt_target *target, const char *store, unsigned flags,
                               uint64_t file_size_max)
{
    struct peat_options options;
    enum peat_status status;

    peat_options_init(&options);
    options.flags = flags;
    options.file_size_max = file_size_max;
    options.history_count = 0; /* what is kept is up to the program whose store it is */
    options.feed_log_size_max = UINT64_MAX;
    options.replica_timeout_ms = REPLICA_TIMEOUT_MS;
    status = peat_open(store, &options, &target->db);
    if (status == PEAT_OK)
        return PT_EXIT_DONE;
    if (status != PEAT_NOT_FOUND)
        return pt_complain_status(store, status);
    pt_complain(store, (flags & PEAT_CREATE) != 0
                           ? "its directory does not exist; create it first"
                           : "no such store; 'peat load' and 'peat put' create one");
    return PT_EXIT_ERROR;
}

static bool path_check(const char *path)
{
    if (path == NULL || pt_path_valid((struct peat_bytes){path, strlen(path)}))
        return true;
    (void)pt_complain_usage("'%s' is no path of a collection", path);
    return false;
}

/* In the snapshot, if there is one. */
static enum pt_exit collection_open(struct pt_target *target, const char *path, unsigned flags)
{
    struct peat_bytes bytes = {path, path == NULL ? 0 : strlen(path)};
    enum peat_status status;

    if (target->snapshot != NULL)
        status = pt_path_open_at(target->snapshot, bytes, &target->collection);
    else
        status = pt_path_open(target->db, NULL, bytes, flags, &target->collection);
    if (status == PEAT_OK)
        return PT_EXIT_DONE;
    if (status != PEAT_NOT_FOUND)
        return pt_complain_status(target->store, status);
    pt_complain(target->store, "no collection '%s'; 'peat stat --collections' lists them", path);
    return PT_EXIT_NOT_FOUND;
}

enum pt_exit pt_target_open_at(struct pt_target *target, const char *store, const char *path,
                               const char *at)
{
    enum peat_status status = PEAT_OK;
    enum pt_exit outcome;

    memset(target, 0, sizeof(*target));
    target->store = store;
    if (!path_check(path))
        return PT_EXIT_USAGE;
    outcome = store_open(target, store, PEAT_READ_ONLY, 0);
    if (outcome != PT_EXIT_DONE)
        return outcome;
    if (at != NULL)
        outcome = pt_kept_state_open(target->db, store, at, &target->snapshot);
    else
        status = peat_snapshot_open(target->db, &target->snapshot);
    if (status != PEAT_OK)
        return pt_complain_status(store, status);
    return outcome == PT_EXIT_DONE ? collection_open(target, path, 0) : outcome;
}

enum pt_exit pt_target_open_read(struct pt_target *target, const char *store, const char *path)
{
    return pt_target_open_at(target, store, path, NULL);
}

enum pt_exit pt_target_open_write(struct pt_target *target, const char *store, const char *path,
                                  unsigned flags, uint64_t file_size_max)
{
    enum pt_exit outcome;

    memset(target, 0, sizeof(*target));
    target->store = store;
    if (!path_check(path))
        return PT_EXIT_USAGE;
    outcome = store_open(target, store, flags, file_size_max);
    return outcome == PT_EXIT_DONE ? collection_open(target, path, flags & PEAT_CREATE) : outcome;
}

enum pt_exit pt_target_close(struct pt_target *target, enum pt_exit outcome)
{
    enum peat_status status;

    peat_collection_close(target->collection);
    peat_snapshot_close(target->snapshot);
    status = peat_close(target->db);
    if (status != PEAT_OK && outcome == PT_EXIT_DONE)
        outcome = pt_complain_status(target->store, status);
    memset(target, 0, sizeof(*target));
    return outcome;
}

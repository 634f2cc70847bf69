#include "tools/target.h"

#include "tools/collection_path.h"

#include <string.h>

static enum pt_exit store_open(struct pt_target *target, const char *store, unsigned flags)
{
    struct peat_options options;
    enum peat_status status;

    peat_options_init(&options);
    options.flags = flags;
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

static enum pt_exit collection_open(struct pt_target *target, const char *path, unsigned flags)
{
    struct peat_bytes bytes = {path, path == NULL ? 0 : strlen(path)};
    enum peat_status status;

    status = pt_path_open(target->db, NULL, bytes, flags, &target->collection);
    if (status == PEAT_OK)
        return PT_EXIT_DONE;
    if (status != PEAT_NOT_FOUND)
        return pt_complain_status(target->store, status);
    pt_complain(target->store, "no collection '%s'; 'peat stat --collections' lists them", path);
    return PT_EXIT_NOT_FOUND;
}

static enum pt_exit target_open(struct pt_target *target, const char *store, const char *path,
                                unsigned flags)
{
    enum pt_exit outcome;

    memset(target, 0, sizeof(*target));
    target->store = store;
    if (path != NULL && !pt_path_valid((struct peat_bytes){path, strlen(path)}))
        return pt_complain_usage("'%s' is no path of a collection", path);
    outcome = store_open(target, store, flags);
    if (outcome == PT_EXIT_DONE)
        outcome = collection_open(target, path, flags & PEAT_CREATE);
    return outcome;
}

enum pt_exit pt_target_open_read(struct pt_target *target, const char *store, const char *path)
{
    enum pt_exit outcome = target_open(target, store, path, PEAT_READ_ONLY);
    enum peat_status status;

    if (outcome != PT_EXIT_DONE)
        return outcome;
    status = peat_snapshot_open(target->db, &target->snapshot);
    return status == PEAT_OK ? PT_EXIT_DONE : pt_complain_status(store, status);
}

enum pt_exit pt_target_open_write(struct pt_target *target, const char *store, const char *path,
                                  unsigned flags)
{
    return target_open(target, store, path, flags);
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

#include "repl/rejoin.h"

#include "repl/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool pt_rejoin_possible(const struct pt_branch *ours, const struct pt_branch *theirs,
                        struct peat_fork *fork_out)
{
    struct peat_epoch row;

    if (!pt_branches_parted(ours, theirs) || !pt_branches_fork(ours, theirs, &row) ||
        pt_epochs_newest(&theirs->epochs) < pt_epochs_newest(&ours->epochs))
        return false;
    *fork_out = (struct peat_fork){.struct_size = sizeof(*fork_out),
                                   .ours = ours->end,
                                   .theirs = theirs->end,
                                   .commit = row.first_commit - 1,
                                   .position = row.position};
    return ours->end.position > row.position;
}

/* ---- Keeping ---- */

struct kept_look {
    const struct peat_fork *fork;
    bool is_kept;
};

static bool kept_look(void *context, const struct peat_history_entry *entry)
{
    struct kept_look *look = context;

    if (entry->is_newest && !entry->is_damaged && entry->commit == look->fork->ours.commit &&
        strcmp(entry->name, look->fork->name) == 0)
        look->is_kept = true;
    return true;
}

/* Whether an earlier try has come so far: what the store shows is kept under the name, and was saved before. */
static enum peat_status is_kept(struct peat_db *db, const struct peat_fork *fork, bool *kept_out)
{
    struct kept_look look = {.fork = fork};
    enum peat_status status = peat_history_list(db, kept_look, &look);

    *kept_out = look.is_kept;
    return status;
}

static enum peat_status keep(struct peat_db *db, const struct peat_fork *fork,
                             struct peat_repl_error *error)
{
    enum peat_status status = peat_snapshot_persist(db, fork->name, NULL);

    if (status == PEAT_OK)
        return PEAT_OK;
    if (status == PEAT_EXISTS)
        return pt_repl_fail(
            error, status,
            "there is a kept state '%s' of another history: let it go first ('peat history "
            "--drop')",
            fork->name);
    return pt_repl_fail(error, status, "%s", peat_last_error());
}

static enum peat_status save(const struct pt_rejoin *rejoin, struct peat_db *db,
                             const struct peat_fork *fork, struct peat_repl_error *error)
{
    bool kept = false;
    enum peat_status status = is_kept(db, fork, &kept);

    if (status != PEAT_OK)
        return pt_repl_fail(error, status, "%s", peat_last_error());
    if (kept)
        return PEAT_OK;
    if (rejoin->save != NULL && fork->ours.commit > fork->commit) /* else there are seals alone */
        status = rejoin->save(rejoin->context, db, fork, error);
    return status == PEAT_OK ? keep(db, fork, error) : status;
}

/* ---- Leaving ---- */

enum peat_status pt_rejoin_leave(struct pt_rejoin *rejoin, struct peat_db *db,
                                 struct peat_fork *fork, struct peat_repl_error *error_out)
{
    char name[PT_FORKED_NAME_SIZE];
    enum peat_status status;

    (void)snprintf(name, sizeof(name), "forked-%" PRIu64 "-%" PRIu64, fork->ours.epoch,
                   fork->ours.commit);
    fork->name = name;
    (void)snprintf(error_out->words, sizeof(error_out->words), "what is forked cannot be saved");
    status = save(rejoin, db, fork, error_out);
    fork->name = NULL;
    if (status != PEAT_OK)
        return status;
    status = peat_retreat(db, fork->position, name, NULL);
    if (status == PEAT_OK) {
        rejoin->count++;
        return PEAT_OK;
    }
    if (status != PEAT_NOT_FOUND)
        return pt_repl_fail(error_out, status, "%s", peat_last_error());
    (void)snprintf(rejoin->name, sizeof(rejoin->name), "%s", name);
    return PEAT_OK;
}

bool pt_rejoin_wants_state(const struct pt_rejoin *rejoin)
{
    return rejoin != NULL && rejoin->name[0] != '\0';
}

void pt_rejoin_done(struct pt_rejoin *rejoin)
{
    if (!pt_rejoin_wants_state(rejoin))
        return;
    rejoin->name[0] = '\0';
    rejoin->count++;
}

void pt_rejoin_forget(struct pt_rejoin *rejoin)
{
    if (rejoin != NULL)
        rejoin->name[0] = '\0';
}

/*
 * The history: the states of the store that the ruling manifest keeps, each as a manifest of its own,
 * oldest first. The last one is what rules now.
 *
 *  1. A kept manifest is complete without any log: it shows the store as of its commit.
 *  2. An install whose commit is that of the manifest before shows the same in other segments. It
 *     takes that one's place, and its number and name too: so what is kept does not hold segments
 *     that a merge has replaced, until the next commit comes. Any other install begins a new state.
 *  3. A state is kept as long as it has a name; as long as it is the last one before a revert; and
 *     without either as long as the options want (pt_history_policy()).
 *  4. In the writer each state pins its runs, so no segment that it names is retired. When one is let
 *     go, that is after the manifest without it rules.
 *  5. In a reader states have no runs. What they name stays in place while the generation is held
 *     that named them: opening one begins with reading its manifest.
 *  6. One whose bytes are wrong is damaged: from the next manifest on it has no place, only a row. What
 *     it named alone is not known to be in use, and is retired with that manifest's generation, not
 *     freed: a reader of the one before may be using it (pt_arena_claims_doubtful()).
 *
 * Guarded by its mutex; changed only under checkpointer.install_mutex (in a reader: refresh_mutex),
 * so who holds that one may look without it.
 */
#ifndef PEAT_CORE_DB_HISTORY_H
#define PEAT_CORE_DB_HISTORY_H

#include "core/base/thread.h"
#include "core/db/known_segments.h"
#include "core/db/manifest.h"

struct peat_db;
struct pt_identity;
struct pt_log_jump;

/* One state. Immutable. */
struct pt_kept {
    struct pt_manifest_kept row; /* of the one that rules: with its place */
    struct pt_run **runs;        /* owned, pinned; NULL in a reader, and when damaged */
    size_t run_count;
    struct pt_held_segment **loose; /* owned, pinned: of a damaged one, what could be opened */
    size_t loose_count;
    char name[]; /* the row's */
};

struct pt_history {
    struct pt_mutex mutex;
    struct pt_kept **kept PT_GUARDED_BY(mutex); /* owned; oldest first */
    size_t count PT_GUARDED_BY(mutex);          /* 0: no manifest rules yet */
    bool measured PT_GUARDED_BY(mutex);         /* the next one is known */
    uint64_t pinned_size PT_GUARDED_BY(mutex);  /* bytes: regions that the last one does not name */
};

/* What an install does to the history besides. All zeros: nothing. */
struct pt_history_change {
    const char *name;         /* give it to the state that is installed; NULL: none */
    uint64_t drop_generation; /* let that state go, or take the newest one's name; 0: none */
    bool is_revert;           /* the state before is kept as one before a revert */
    struct pt_log_jump *jump; /* the log goes on there; NULL: where it is */
    bool lets_log_go;         /* what is kept of the log for feeds does not lead to the state */
    const struct pt_identity *identity; /* the store takes it on; NULL: it keeps its own */
    const struct pt_lineage *lineage;   /* the same */
    bool parts; /* the state is of another history, whatever its commit: numbers may go back */
    uint64_t promote_epoch; /* begins where the log does, and the store is a primary; 0: neither */
};

/* What is kept after an install, as it is planned. */
struct pt_history_plan {
    struct pt_kept **kept; /* owned list */
    size_t count;
    struct pt_kept *own;      /* the last of them, owned until it is taken */
    struct pt_kept *reverted; /* the one before it, if that is a revert's; owned likewise */
};

void pt_history_init(struct pt_history *history);
void pt_history_fini(struct pt_history *history);

/*
 * Which of @p count states, the last of them the one that rules, are kept, as far as the options
 * decide: keep[i] is set for those that stay anyway, and set here for the others where they do.
 * Without a name the last @p count_max are kept, the one that rules included, and those that ruled
 * at any moment of the last @p age_us before @p now_us. A @p count_max of 0 keeps all there are.
 */
void pt_history_policy(const struct pt_manifest_kept *rows, bool *keep, size_t count,
                       uint64_t count_max, uint64_t age_us, uint64_t now_us);

/* The state of that name, or without one (NULL) of that generation; borrowed. NULL: none. With the mutex
 * held, or by who alone changes the history. */
const struct pt_kept *pt_history_find(const struct pt_history *history, const char *name,
                                      uint64_t generation);

/* ---- For install.c ---- */

/*
 * Plan what is kept when a manifest of @p runs and @p commit is installed as @p generation, at
 * @p now_us. Sets the rows of @p manifest_out, whose names are borrowed from the plan; release both,
 * also after a failure. PEAT_NO_MEMORY.
 */
enum peat_status pt_history_plan(struct peat_db *db, struct pt_run *const *runs, size_t run_count,
                                 uint64_t commit, uint64_t generation, uint64_t now_us,
                                 const struct pt_history_change *change,
                                 struct pt_history_plan *plan, struct pt_manifest *manifest_out);
/* The manifest rules now, in the block of @p size bytes at @p offset: what is not in the plan is let
 * go. */
void pt_history_take(struct peat_db *db, struct pt_history_plan *plan, uint64_t offset,
                     uint64_t size);
/* After a failure, or once it was taken. */
void pt_history_plan_fini(struct pt_history_plan *plan);

/* ---- For open.c, refresh.c and the merger ---- */

/* Recovery: claim what the kept states of @p manifest name and pin it; those that are damaged are
 * marked so. @p runs: its own. PEAT_NO_MEMORY, and what reading fails with: that may pass, so nothing is
 * marked. */
enum peat_status pt_history_load(struct peat_db *db, const struct pt_manifest *manifest,
                                 uint64_t offset, uint64_t size, struct pt_run *const *runs,
                                 size_t run_count);
/* In a reader: what @p manifest, which it shows now, keeps. PEAT_NO_MEMORY. */
enum peat_status pt_history_note(struct peat_db *db, const struct pt_manifest *manifest,
                                 uint64_t offset, uint64_t size);

/* Microseconds from @p now_us until a state expires by age (0: one has); UINT64_MAX: none will. */
uint64_t pt_history_due_us(struct peat_db *db, uint64_t now_us);
/* Let expired states go. PEAT_DONE: there are none. As pt_checkpoint(). */
enum peat_status pt_history_expire(struct peat_db *db);

/* ---- Statistics ---- */

struct pt_history_totals {
    uint64_t count;         /* states beside the one that rules */
    uint64_t pinned_size;   /* bytes: regions that only they name, their manifests included */
    uint64_t manifest_size; /* bytes: region of the manifest that rules */
};

/* PEAT_NO_MEMORY, PEAT_IO, PEAT_CORRUPT: pinned_size is not known, and 0. */
enum peat_status pt_history_totals(struct peat_db *db, struct pt_history_totals *totals_out);

#endif

/*
 * A script: steps that are done to a store. What a step does follows from its few numbers, so what a store
 * must hold after any commit follows from the list of steps that committed: the history.
 */
#ifndef PEAT_TESTS_SCRIPT_H
#define PEAT_TESTS_SCRIPT_H

#include "tests/support.h"

enum pt_step_kind {
    PT_STEP_PUT,
    PT_STEP_DELETE,
    PT_STEP_BATCH,
    PT_STEP_DELETE_RANGE,
    PT_STEP_CREATE, /* the collection, if it is not there */
    PT_STEP_DROP,   /* the collection, if it is there */
    PT_STEP_REVERT, /* to the state that is kept under the name of number key */
    PT_STEP_LAST_COMMIT = PT_STEP_REVERT,
    PT_STEP_SYNC,
    PT_STEP_FLUSH,
    PT_STEP_MERGE,    /* until nothing is left to merge */
    PT_STEP_SNAPSHOT, /* take one; or look at the one there is, and close it */
    PT_STEP_PERSIST,  /* keep the state under a name, in place of the one kept before */
    PT_STEP_FEED,     /* read what the feed has not acknowledged, and acknowledge it */
    PT_STEP_PROMOTE,  /* close, open as a follower's, and promote: a new epoch */
    PT_STEP_CLOSE,    /* and open again */
    PT_STEP_ABORT,    /* and open again: the death of the process */
    PT_STEP_KIND_COUNT
};

/* One step. Equal steps do the same, whenever they are done. */
struct pt_step {
    uint8_t kind;     /* enum pt_step_kind */
    uint8_t level;    /* enum peat_durability, of a commit */
    uint8_t key;      /* number of a key */
    uint8_t key_high; /* PT_STEP_DELETE_RANGE: above key; PT_KEY_COUNT: to the end */
    uint32_t size;    /* bytes of a value; of a batch's values: up to so many each */
    uint32_t seed; /* of the values, and of what a batch does; of PT_STEP_REVERT: the commit whose
                         state comes back, 0 (not in a history): that of the session's kept one */
    bool nested;   /* in the collection, if it is there */
};

enum { PT_KEY_COUNT = 24, PT_COMMITS_MAX = 1500 };

/* The steps that committed; entry n became commit n, entry 0 is not used. */
struct pt_commits {
    uint64_t count; /* the last commit */
    struct pt_step commits[PT_COMMITS_MAX + 1];
};

/* What a store holds of one key. */
struct pt_model_entry {
    bool present;
    uint32_t size;
    uint64_t seed; /* of pt_value_fill() */
};

/* What a store holds. */
struct pt_model {
    bool has_collection;
    struct pt_model_entry entries[2][PT_KEY_COUNT]; /* of the root, and of the collection */
};

const char *pt_step_name(enum pt_step_kind kind);
/* The name of key @p number; those with higher numbers are higher. */
struct peat_bytes pt_step_key(unsigned number);
#define PT_STEP_COLLECTION "collection"
#define PT_STEP_KEPT       "kept-0" /* pt_step_name_kept() of 0 */
/* The name that a state is kept under: PT_STEP_REVERT reverts to it. */
enum { PT_STEP_NAME_SIZE = 16 };
const char *pt_step_name_kept(unsigned number, char room[PT_STEP_NAME_SIZE]);

/* A random step. Values are up to @p size_max bytes, small ones mostly. */
struct pt_step pt_step_roll(struct pt_dice *dice, uint32_t size_max);

/* What there is after the first @p commit commits of @p history. */
void pt_commits_model(const struct pt_commits *history, uint64_t commit,
                      struct pt_model *model_out);
/* Commits come from a history that says nothing about two different ones: a number for the first
 * @p count of its commits. */
uint64_t pt_commits_hash(const struct pt_commits *history, uint64_t count);

/* Do @p step, one that commits, to the store; *commit_out is its number. PEAT_DONE: it has nothing to
 * commit. @p has_collection: as the model before it says. *tried_out: it did not fail before it came to
 * committing. */
enum peat_status pt_step_commit(const struct pt_step *step, bool has_collection, struct peat_db *db,
                                uint64_t *commit_out, bool *tried_out);

/* Whether @p record is what @p step, one that committed, put into the log. */
bool pt_step_recorded(const struct pt_step *step, const struct peat_record *record);

/* Where a look at a store differs from what was expected. */
struct pt_difference {
    enum peat_status status; /* PEAT_OK: it shows something else; otherwise: it fails with this */
    char words[400];
};

/* Whether @p snapshot shows @p model, to every way of looking at it. @p db: the snapshot is its newest;
 * NULL: it is not, and the collection is opened as of it. */
bool pt_model_shown(const struct pt_model *model, const struct peat_snapshot *snapshot,
                    struct peat_db *db, struct pt_difference *difference_out);

#endif

/*
 * A session: a store on the simulated disk, worked on step by step, with its history, with what it has
 * promised so far, and with a look at whether it shows what it should. Promises go to the disk's trace.
 *
 * It may lie in memory that processes share, with the store in a real file: then whoever is left when the
 * one that worked on it is dead forgets its handles (pt_session_orphan()) and goes on.
 */
#ifndef PEAT_TESTS_SESSION_H
#define PEAT_TESTS_SESSION_H

#include "tests/disk.h"
#include "tests/script.h"

struct pt_session {
    const char *path; /* borrowed; NULL: the simulated disk's */
    unsigned flags;   /* of peat_open(), beside PEAT_CREATE */
    bool may_fail;    /* calls may fail, and then say so; else a failure is a finding */
    bool full;  /* with may_fail: they do so for want of space alone, and that breaks nothing */
    bool hasty; /* as loose, and the store's clock runs fast: a wait may end too soon */
    bool loose; /* the background threads are not waited for after each step */
    struct peat_db *db;        /* NULL: it is not open */
    struct pt_commits history; /* with what may have been committed by a call that failed */
    struct pt_promise promise;
    bool unsure; /* whether the last of the history was committed: a call failed */
    bool broken; /* nothing more is committed until the store is reopened, either */
    struct peat_snapshot *snapshot;
    struct pt_model snapshot_model;
    struct pt_difference finding; /* what is wrong, once a call below has returned false */
};

/* A session without a history, nothing promised. */
void pt_session_init(struct pt_session *session, unsigned flags);

/* Each of these: false, something is wrong, and session->finding says what. */

/* Open the store, made if it is not there. It must show a part of the history within the promise,
 * which is all of the history then. */
bool pt_session_open(struct pt_session *session);
bool pt_session_step(struct pt_session *session, const struct pt_step *step);
/* The store shows its history, to every look; @p check: and to peat_check(). */
bool pt_session_look(struct pt_session *session, bool check);
/* Close it, cleanly or not. */
bool pt_session_end(struct pt_session *session, bool clean);
/* Let the background threads come to rest, as each step does: then the file depends on the steps alone. */
void pt_session_settle(struct pt_session *session);
/* Who worked on it is dead, and the handles with it. */
void pt_session_orphan(struct pt_session *session);
/* The options that it opens its store with. */
struct peat_options pt_session_options(const struct pt_session *session);
/* Give up a store of which something is wrong. */
void pt_session_abandon(struct pt_session *session);

/* Random bytes, of which nonces and ids are made, come from @p seed from now on, in this process. */
void pt_session_random(uint64_t seed);

#endif

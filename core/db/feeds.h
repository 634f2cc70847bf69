/*
 * The feeds of a store, as its log sees them: what is kept of the log for whom.
 *
 *      pieces (kept for feeds)         |            the log, which replay needs
 *      R1 ~~> R2      R3 ~~> R4  R5    |  R6 ~~> R7 ~~> ...         ~~> a link
 *                  ^ recovery, revert
 *
 *  1. Regions that replay no longer needs are kept from the one on in which the first commit that a feed wants
 *     begins: a piece whose place to read from is at or before it. A region that was entered in the middle
 *     of a large payload is kept too, but nothing ever begins to read there.
 *  2. A feed with a name wants what follows the commit that it acknowledged, and the manifest names what is
 *     kept for it: regions and feeds come back at the next open, after a crash too. Any open feed keeps
 *     what follows the place where it is, in this process.
 *  3. What the manifest names is as durable as the segments beside it: the log is synced up to the install's
 *     commit before, so no power cut tears it below what they hold.
 *  4. Beyond feed_log_size_max the oldest pieces are let go, and all of them when a commit finds no space.
 *     A feed that wanted them gets PEAT_GAP. The region that an open feed is in lingers until its next
 *     call: what it handed out points there.
 *  5. Names are added and freed by who holds checkpointer.install_mutex, so a manifest that is being
 *     written may borrow them. Pieces change only in an install, too.
 *  6. An acknowledgement writes nothing. The next manifest has it; one is asked for when a sixteenth of
 *     feed_log_size_max would be free then.
 */
#ifndef PEAT_CORE_DB_FEEDS_H
#define PEAT_CORE_DB_FEEDS_H

#include "core/base/thread.h"
#include "core/db/manifest.h"
#include "core/db/replicas.h"

struct peat_db;
struct peat_feed;
struct pt_history_change;

/* One use of a region of the log. Both, since what a file names may have one nonce twice. */
struct pt_region_use {
    uint64_t offset; /* bytes in the file; 0: none */
    struct pt_id nonce;
};

/* A feed that has a name. Guarded by feeds.mutex. */
struct pt_feed_slot {
    uint64_t acknowledged; /* it wants what follows this commit */
    uint64_t planned;      /* that of the install under way: before its sync of the log */
    uint64_t durable;      /* that of the manifest that rules */
    /* Acknowledged up to here, it is worth a manifest; UINT64_MAX: nothing is. */
    uint64_t worth_commit;
    bool has_seals;         /* and the seals that follow it */
    bool is_lost;           /* the store lost what it acknowledged: it can only begin anew */
    bool is_ahead;          /* it has not come there yet: a state that is on its way takes it */
    struct peat_feed *feed; /* that is open under the name; NULL: none */
    size_t name_size;
    char name[]; /* with NUL */
};

struct pt_feeds {
    struct pt_mutex mutex;
    /* Broadcast when a feed is no longer busy and somebody waits for that. */
    struct pt_condition idle;
    struct pt_feed_slot **slots PT_GUARDED_BY(mutex); /* owned; ascending by name */
    size_t slot_count PT_GUARDED_BY(mutex);
    struct peat_feed *open PT_GUARDED_BY(mutex);      /* list */
    struct pt_log_piece *pieces PT_GUARDED_BY(mutex); /* owned; oldest first */
    size_t piece_count PT_GUARDED_BY(mutex);
    uint64_t held_size
        PT_GUARDED_BY(mutex); /* bytes: of the pieces that are not the log's own region */
    unsigned waiting PT_GUARDED_BY(mutex); /* for idle */
    struct pt_replica_waits replicas PT_GUARDED_BY(mutex);
    _Atomic bool install_wanted; /* a manifest is worth writing for what was acknowledged */
    _Atomic bool give_up;        /* the next install lets all go */
};

/* What an install keeps for feeds. All zeros: nothing. */
struct pt_feeds_plan {
    struct pt_log_piece *pieces; /* owned until it is taken */
    size_t count;
    uint64_t held_size;
    bool gives_up; /* it was asked to, before it was made */
    bool parts;    /* names have acknowledged commits of another history: they are lost */
};

void pt_feeds_init(struct pt_feeds *feeds);
void pt_feeds_fini(struct pt_feeds *feeds);

/* ---- For install.c; who calls holds checkpointer.install_mutex ---- */

/* What is kept when a manifest begins the log at @p log_start, with that @p change: sets held and feeds of
 * @p manifest_out, whose names are borrowed. Release both, also after a failure. PEAT_NO_MEMORY. */
enum peat_status pt_feeds_plan(struct peat_db *db, const struct pt_log_point *log_start,
                               const struct pt_history_change *change, struct pt_feeds_plan *plan,
                               struct pt_manifest *manifest_out);
void pt_feeds_plan_fini(struct pt_feeds_plan *plan);
/* The manifest rules, as generation @p generation: what is not in the plan is retired. Before the log's
 * regions are. */
void pt_feeds_take(struct peat_db *db, struct pt_feeds_plan *plan, uint64_t generation);
/* For pt_log_retire() and pt_log_end(), after that: @p context is the store. */
bool pt_feeds_keep(void *context, const struct pt_log_piece *piece);
/* What is acknowledged now is what the plan will have: a sync of the log comes after this and before that, so
 * no power cut leaves an acknowledgement of more than there is. Whether any feed has a name. */
bool pt_feeds_settle(struct peat_db *db);

/* ---- For open.c and refresh.c ---- */

/* What @p manifest names, in place of what there was. PEAT_NO_MEMORY. */
enum peat_status pt_feeds_load(struct peat_db *db, const struct pt_manifest *manifest);
/* Recovery: add the @p count regions that were replayed, until an install keeps them or lets them go.
 * PEAT_NO_MEMORY. */
enum peat_status pt_feeds_add(struct peat_db *db, const struct pt_log_piece *pieces, size_t count);
/* Recovery came to @p commit: a name that acknowledged more is lost, whatever is committed from now on. */
void pt_feeds_recovered(struct peat_db *db, uint64_t commit);

/* ---- For merger.c, reserve.c and stats.c ---- */

/* The next checkpoint makes durable what was acknowledged, though there may be nothing else to do. */
void pt_feeds_want_durable(struct peat_db *db);

/* A commit finds no space: the next checkpoint lets go what is kept for feeds. Whether there is anything. */
bool pt_feeds_give_up(struct peat_db *db);

struct pt_feeds_totals {
    uint64_t count;     /* feeds with a name */
    uint64_t held_size; /* bytes */
};
void pt_feeds_totals(struct peat_db *db, struct pt_feeds_totals *totals_out);

/* ---- For feed.c ---- */

/* The use that @p point lies in. */
struct pt_region_use pt_region_use(const struct pt_log_point *point);
bool pt_region_use_equal(const struct pt_region_use *a, const struct pt_region_use *b);

/* The slot of that name; NULL: there is none. */
struct pt_feed_slot *pt_feeds_find_locked(struct pt_feeds *feeds, const char *name)
    PT_REQUIRES(feeds->mutex);
/* A new one, with checkpointer.install_mutex held. PEAT_NO_MEMORY. */
enum peat_status pt_feeds_insert_locked(struct pt_feeds *feeds, const char *name,
                                        struct pt_feed_slot **slot_out) PT_REQUIRES(feeds->mutex);
/* Take @p slot out and free it, with checkpointer.install_mutex held. */
void pt_feeds_remove_locked(struct pt_feeds *feeds, struct pt_feed_slot *slot)
    PT_REQUIRES(feeds->mutex);
/* Where a feed that wants what follows @p commit begins among @p count pieces. SIZE_MAX: its commits are
 * gone. @p has_seals: the seals that follow @p commit are wanted, too. */
size_t pt_feeds_begin(const struct pt_log_piece *pieces, size_t count, uint64_t commit,
                      bool has_seals);

#endif

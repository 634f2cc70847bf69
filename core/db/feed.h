/*
 * A feed: a reader of the log that goes on as the store does, over every place where the log begins anew.
 *
 *  1. It hands out a record only if its commit is visible in this process.
 *  2. Where the regions that links lead through end, it goes on at the piece that begins with the history that it
 *     has come to (position and chain). Where there is none, but later commits are, there is a gap: it says so.
 *  3. In the writer's process what it may touch is kept by feeds.h (2) and (4). It is busy while it reads, without
 *     a lock: an install that lets its region go waits for that.
 *  4. In a process that only reads, it holds a generation of its own (refresh.c (1)), and takes a newer one
 *     as soon as that names the place where it is.
 */
#ifndef PEAT_CORE_DB_FEED_H
#define PEAT_CORE_DB_FEED_H

#include "core/db/db.h"

/* One thread at a time, but for cancelled; what is guarded by feeds.mutex is the installs' too. */
struct peat_feed {
    struct peat_db *db;
    unsigned flags;               /* PEAT_FEED_... */
    struct pt_feed_slot *slot;    /* NULL: it has no name */
    struct pt_log_reader *reader; /* NULL: there is no log where it is */
    struct pt_log_point at;       /* behind the last record that was read */
    uint64_t wanted;              /* commits below are passed over */
    uint64_t delivered;           /* the last commit handed out; one before wanted: none */
    atomic_bool cancelled; /* relaxed, set and cleared with queue.mutex held where somebody waits */
    uint64_t generation;   /* a reader's: held; 0: none */
    /* Guarded by feeds.mutex: */
    struct peat_feed *next;
    struct pt_region_use in; /* the region it is in; offset 0: none that an install knows */
    bool busy;
    bool lost;                  /* the region it is in was let go */
    struct pt_extent lingering; /* that region, to be retired when it moves on; size 0: none */
};

/* Retire the region that lingers for @p feed, if no other feed is in it. */
void pt_feed_let_linger_go_locked(struct peat_db *db, struct peat_feed *feed)
    PT_REQUIRES(db->feeds.mutex);

/* ---- feed_places.c: where the log goes on ---- */

/* The places where the log begins, as of now. */
struct pt_feed_places {
    struct pt_log_piece *pieces; /* owned; oldest first */
    size_t count;
    /* A reader's: where its manifest begins the log, with or without a region. */
    struct pt_log_point end;
    uint64_t generation; /* a reader's: held by the places; 0: not */
};

/* PEAT_NO_MEMORY, PEAT_IO, PEAT_CORRUPT, PEAT_BUSY. Release with pt_feed_places_fini() in any case. */
enum peat_status pt_feed_places_look(struct peat_db *db, struct pt_feed_places *places);
void pt_feed_places_fini(struct peat_db *db, struct pt_feed_places *places);

/* Begin to read behind @p commit. PEAT_GAP. */
enum peat_status pt_feed_begin(struct peat_feed *feed, struct pt_feed_places *places,
                               uint64_t commit);
/* Go on behind the end of the regions that links led through. PEAT_DONE: nothing follows. PEAT_GAP, and as
 * pt_feed_places_look(). */
enum peat_status pt_feed_follow(struct peat_feed *feed);
/* A reader's: hold the newest generation instead, if that names the place. As pt_feed_places_look(). */
enum peat_status pt_feed_hold_newest(struct peat_feed *feed);

#endif

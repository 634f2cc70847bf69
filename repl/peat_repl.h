/**
 * @file
 * Replication of peat stores: followers that hold what their primary holds, commit by commit.
 *
 * A primary is a store that a program writes to, and that peat_primary_start() offers to others. A follower is a store that was opened
 * with PEAT_FOLLOWER, and that peat_follower_start() has filled by another one. Other processes read it as any store; it may be offered
 * to further followers in turn.
 *
 * Connections are encrypted, and both sides prove that they have the same key (peat keygen makes one). Without a key only this
 * machine's addresses are allowed, unless PEAT_REPL_INSECURE says otherwise.
 *
 * The calls start threads. Do not fork() between a start and its stop. Any thread may call, but for a stop, which is the last call.
 */
#ifndef PEAT_REPL_H
#define PEAT_REPL_H

#include <peat.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEAT_REPL_INSECURE 1u /* without a key, addresses of other machines are allowed */

/** What was wrong, for a person. */
struct peat_repl_error {
    char words[512];
};

/**
 * @defgroup key Keys
 * @{
 */

enum { PEAT_KEY_ID_TEXT_SIZE = 33 };

/**
 * Make a new key, and a file at @p path that holds it, which its owner alone can read. Both sides need the file.
 *
 * @param id_out     set on PEAT_OK: its number in hexadecimal digits, which is no secret
 * @param error_out  NULL, or set to words unless PEAT_OK is returned
 * @retval PEAT_OK
 * @retval PEAT_EXISTS  there is such a file: it is left as it is
 * @retval PEAT_INVALID, PEAT_IO, PEAT_UNSUPPORTED (libsodium cannot be used here)
 */
PEAT_API enum peat_status peat_key_make(const char *path, char id_out[PEAT_KEY_ID_TEXT_SIZE],
                                        struct peat_repl_error *error_out);
/** @} */
/**
 * @defgroup primary Offering a store
 * @{
 */

struct peat_primary;

enum peat_primary_event_kind {
    PEAT_PRIMARY_CONNECTED,    /* a follower follows: it gets the log */
    PEAT_PRIMARY_DISCONNECTED, /* one that did, or took a state, does not any more */
    PEAT_PRIMARY_REFUSED,      /* one that has a key was turned away, or ended before it could be served */
    PEAT_PRIMARY_SEED_BEGUN,   /* a follower takes a state, since the log that it lacks is gone */
    PEAT_PRIMARY_SEED_DONE,    /* it has taken it, and comes back for the log behind it */
    PEAT_PRIMARY_STRANGERS,    /* connections without a key were refused: told at most each ten seconds */
    PEAT_PRIMARY_FENCED /* a follower has told of a newer epoch, and the store takes no commits any more, which it did before */
};

/** What has happened; valid until the callback returns. Nothing is told of who compares: peat_verify(). */
struct peat_primary_event {
    size_t struct_size; /* bytes that are filled in */
    enum peat_primary_event_kind kind;
    const char *name;  /* the follower's, as it has told it: any bytes but NUL; "": not known */
    const char *words; /* why, for a person; "" where there is nothing to say */
    struct peat_position position; /* of the follower, as it told it last; zeros: it has not */
    uint64_t count; /* PEAT_PRIMARY_STRANGERS: connections since they were told last; else 1 */
};

PEAT_API const char *peat_primary_event_name(enum peat_primary_event_kind kind);

struct peat_primary_options {
    size_t struct_size;      /* set by peat_primary_options_init() */
    unsigned flags;          /* PEAT_REPL_INSECURE, or 0 */
    const char *const *urls; /* tcp://host:port or ipc://path, to listen on; at most 8 */
    size_t url_count;
    const char *const
        *key_paths; /* files with keys, at most 64: whoever has one of them may follow */
    size_t key_count;
    /* NULL, or called for each event until peat_primary_stop() returns, on threads of the primary, one at a time. No lock is
     * held: it may call whatever reads, peat_primary_status_get(), peat_primary_list() and peat_replication_report() among
     * them, and must not start, stop or promote. Followers wait for it: what takes long is for another thread. The first may
     * come before peat_primary_start() has returned. */
    void (*event)(void *context, const struct peat_primary_event *event);
    void *event_context;
};

PEAT_API void peat_primary_options_init(struct peat_primary_options *options);

/**
 * Listen, and let followers follow @p db, which stays the caller's to write to. Each follower has a named feed, which
 * keeps the log for it within feed_log_size_max; peat_feed_drop() forgets one that will not come back.
 *
 * @param db           open, not read-only; stop the primary before peat_close()
 * @param options      borrowed for the call
 * @param primary_out  set on PEAT_OK, else NULL; release with peat_primary_stop()
 * @param error_out    NULL, or set to words unless PEAT_OK is returned
 * @retval PEAT_OK
 * @retval PEAT_INVALID    @p db is read-only; no URL, or one of another kind; a key file that is none, or that others can read; no key, and
 *                         a URL that other machines can reach
 * @retval PEAT_NOT_FOUND  there is no such key file
 * @retval PEAT_BUSY       an address is in use
 * @retval PEAT_IO, PEAT_NO_MEMORY, PEAT_UNSUPPORTED (libsodium cannot be used here)
 */
PEAT_API enum peat_status peat_primary_start(struct peat_db *db,
                                             const struct peat_primary_options *options,
                                             struct peat_primary **primary_out,
                                             struct peat_repl_error *error_out);

/** Tell followers that it closes, and stop: within two seconds, whatever the network does. NULL is allowed. */
PEAT_API void peat_primary_stop(struct peat_primary *primary);

struct peat_primary_status {
    size_t struct_size; /* bytes that the caller has room for */
    uint64_t connected; /* followers that follow now, and who compares */
    uint64_t strangers; /* connections that have not shown a key yet */
    uint64_t accepted;  /* connections since it was started */
    uint64_t refused;   /* of them, those without a key, with damage, or too many */
    unsigned
        port; /* of the first URL, which may have asked for any with tcp://...:0; 0: it has none */
    uint64_t turned_away;   /* connections with a key that were not served: why was told to the follower, and by an event */
    uint64_t damaged;       /* connections with a key that ended over what came: not as it was sent, or nothing that a follower says */
    uint64_t sent_size;     /* bytes to whoever connected */
    uint64_t received_size; /* bytes from them */
    uint64_t sent_records;  /* of log: commits, parts of large ones, seals */
    uint64_t seeds_begun;   /* states that followers were let take */
    uint64_t seeds_done;    /* of them, those that were taken whole, one connection after another perhaps */
    char words[256];        /* why a connection with a key ended last; "": none has */
};

PEAT_API void peat_primary_status_get(struct peat_primary *primary,
                                      struct peat_primary_status *status_out);

/** A follower that follows. */
struct peat_primary_follower {
    size_t struct_size; /* bytes that are filled in */
    const char *name;
    uint64_t received;  /* commits that it has */
    uint64_t durable;   /* that are on its disk */
    uint64_t applied;   /* that its readers see */
    uint64_t lag;       /* commits that its readers do not see yet */
    uint64_t silent_us; /* since it was heard last: at most some three seconds */
    bool is_seeding;    /* it takes a state: the numbers above are those that it came with */
    uint64_t connected_us; /* since it connected */
    uint64_t lag_bytes;    /* of log, between what it told last of itself, each second, and the newest here */
    uint64_t lag_us;       /* the same, from its newest commit to the newest here, as their clocks went */
    uint64_t sent_size;    /* bytes, over this connection */
    uint64_t received_size;
    uint64_t sent_records; /* of log */
};

/** Call @p callback for each of them until it returns false; it must not stop the primary. */
PEAT_API void peat_primary_list(struct peat_primary *primary,
                                bool (*callback)(void *context,
                                                 const struct peat_primary_follower *follower),
                                void *context);
/** @} */
/**
 * @defgroup follower Following
 * @{
 */

struct peat_follower;

struct peat_follower_event;
#define PEAT_FOLLOWER_REJOIN 2u /* it may leave its history, see struct peat_fork */
/**
 * Before it dials it reads all segments of the store's newest state. If any is damaged it takes a state of the primary, of which those are
 * sent, and whatever else it has not, and shows that instead. A segment is told as an event of PEAT_FOLLOWER_CONNECTING, with its place and
 * keys, and so is that all are healed; damaged_segments and healed_segments of the status count them. Where four connections in turn
 * have brought that no nearer (a segment is damaged at the primary, too, say), an event says so, and it follows as it is: start it
 * again to try again. Damage that comes later is not looked for, nor is any in the log; kept states before the newest keep what they have.
 */
#define PEAT_FOLLOWER_HEAL 4u

/**
 * Where the history of a store has parted from that of the primary that it is to follow: another one was promoted, and this
 * one, the old primary, has committed more. With PEAT_FOLLOWER_REJOIN it comes back: what it shows is kept under a name, which is "forked-EPOCH-COMMIT" of its
 * position (peat_history_open() shows it, until peat_history_drop()); then the store goes back to its newest kept state that
 * both have had, or takes a state of the primary, and follows. Without the flag it ends as PEAT_FOLLOWER_DIVERGED.
 */
struct peat_fork {
    size_t struct_size;          /* bytes that are filled in */
    struct peat_position ours;   /* of this store */
    struct peat_position theirs; /* of the primary */
    uint64_t commit;             /* the newest that both have: what follows it here is left */
    uint64_t position;           /* bytes of log that both have */
    const char *name;            /* under which what this store shows will be kept */
};

struct peat_follower_options {
    size_t struct_size;   /* set by peat_follower_options_init() */
    unsigned flags;       /* PEAT_REPL_INSECURE, PEAT_FOLLOWER_REJOIN, PEAT_FOLLOWER_HEAL, or 0 */
    const char *url;      /* of the primary, or of another follower */
    const char *key_path; /* NULL: none */
    const char *
        name; /* 1 to PEAT_NAME_SIZE_MAX bytes, no other follower's: the primary keeps the log under it */
    enum peat_durability
        durability; /* of what is applied; default PEAT_DISK. Below that it is synced every second, and
                        * commits at PEAT_REPLICAS wait for that */
    uint64_t window_size; /* bytes that may be under way; default 8 MiB, 64 KiB to 1 TiB */
    uint64_t
        record_size_max; /* bytes: of one batch, as far as memory is given to it; default 1 GiB */
    /* NULL, or called at each change of state, the first of which is one from PEAT_FOLLOWER_CONNECTING: on the follower's thread,
     * or in peat_follower_promote(); one at a time, and not after peat_follower_stop() has returned. That it is being stopped is
     * no event. No lock is held: it may call whatever reads, peat_follower_status_get() and peat_replication_report() among them,
     * and must not start, stop or promote. Following waits for it. The first may come before peat_follower_start() has returned. */
    void (*event)(void *context, const struct peat_follower_event *event);
    void *event_context;
    /**
     * With PEAT_FOLLOWER_REJOIN: called on the follower's thread before anything is left, to save the commits behind fork->commit in a way
     * of the program's own, durably, for instance with a feed from fork->commit + 1 on. What it has not returned PEAT_OK for
     * is not left: PEAT_NO_SPACE and PEAT_NO_MEMORY are tried again, others end as PEAT_FOLLOWER_DIVERGED. It may be called again for the same fork, after a
     * crash too, and must not stop the follower, which waits for it in peat_follower_stop(). NULL: what is kept under the name is
     * enough. The log of those commits is there as long as a feed with a name has not acknowledged them, within feed_log_size_max.
     */
    enum peat_status (*save)(void *context, struct peat_db *db, const struct peat_fork *fork,
                             struct peat_repl_error *error_out);
    void *save_context;
};

PEAT_API void peat_follower_options_init(struct peat_follower_options *options);

/**
 * See whether anything could follow with @p options, before a store is opened for it: to be opened with PEAT_FOLLOWER makes a
 * store a follower. Nobody is dialed.
 *
 * @retval PEAT_OK
 * @retval PEAT_INVALID, PEAT_NOT_FOUND, PEAT_IO, PEAT_NO_MEMORY, PEAT_UNSUPPORTED  as peat_follower_start()
 */
PEAT_API enum peat_status peat_follower_check(const struct peat_follower_options *options,
                                              struct peat_repl_error *error_out);

/**
 * Have @p db follow, until it is stopped. It dials, and dials again when a connection is lost: after 0.1 to 5 seconds,
 * the longer the less came of connections; a primary that nobody answers for is tried each quarter of a second.
 *
 * @param db            opened with PEAT_FOLLOWER; new, or made of a backup of the primary; stop before peat_close()
 * @param options       borrowed for the call
 * @param follower_out  set on PEAT_OK, else NULL; release with peat_follower_stop()
 * @param error_out     NULL, or set to words unless PEAT_OK is returned
 * @retval PEAT_OK         it dials: whether anybody answers is in peat_follower_status_get()
 * @retval PEAT_INVALID    @p db was opened without PEAT_FOLLOWER, an option is out of its bounds, or as
 *                         peat_primary_start()
 * @retval PEAT_NOT_FOUND, PEAT_IO, PEAT_NO_MEMORY, PEAT_UNSUPPORTED  as peat_primary_start()
 */
PEAT_API enum peat_status peat_follower_start(struct peat_db *db,
                                              const struct peat_follower_options *options,
                                              struct peat_follower **follower_out,
                                              struct peat_repl_error *error_out);

/** Stop following, within two seconds: the store keeps what it has. NULL is allowed. */
PEAT_API void peat_follower_stop(struct peat_follower *follower);

#define PEAT_PROMOTE_FORCED 1u /* although the primary is there */

/**
 * Stop following, as peat_follower_stop() does, and have the store take commits of its own:
 * peat_promote(). It waits for nothing that the primary may still have. @p follower stays, to be
 * stopped in the end.
 *
 * @param flags      PEAT_PROMOTE_FORCED, or 0
 * @param epoch_out  NULL, or set on PEAT_OK to the new epoch
 * @param error_out  NULL, or set to words unless PEAT_OK is returned
 * @retval PEAT_OK
 * @retval PEAT_BUSY  it is following, or takes a state: its primary is alive, and it goes on. With PEAT_PROMOTE_FORCED it
 *                    is promoted all the same
 * @retval PEAT_INVALID  it was promoted before, or an argument is wrong
 * @retval PEAT_NO_SPACE and all else that peat_promote() returns: it has stopped following
 */
PEAT_API enum peat_status peat_follower_promote(struct peat_follower *follower, unsigned flags,
                                                uint64_t *epoch_out,
                                                struct peat_repl_error *error_out);

enum peat_follower_state {
    PEAT_FOLLOWER_CONNECTING, /* it dials, or waits until it dials again */
    PEAT_FOLLOWER_FOLLOWING,
    PEAT_FOLLOWER_SEEDING, /* the primary has not the log any more that is missing here, so it takes a state: meanwhile the store shows
                              what it has */
    PEAT_FOLLOWER_NEEDS_SEED, /* the same, and the primary's states are not for this store, which was not made for it: make it anew
                                 of a backup. It goes on trying */
    PEAT_FOLLOWER_NO_SPACE, /* the disk is full; it goes on trying */
    PEAT_FOLLOWER_DIVERGED, /* the histories have parted, and it may not rejoin, or what is forked could not be saved: it has stopped */
    PEAT_FOLLOWER_FAILED,   /* the store cannot be written to: it has stopped */
    PEAT_FOLLOWER_PROMOTED  /* it follows nobody any more */
};

PEAT_API const char *peat_follower_state_name(enum peat_follower_state state);

/** A change of state, or another reason for the same one; valid until the callback returns. */
struct peat_follower_event {
    size_t struct_size; /* bytes that are filled in */
    enum peat_follower_state before;
    enum peat_follower_state state;
    const char *words; /* why, for a person; "" for PEAT_FOLLOWER_FOLLOWING and PEAT_FOLLOWER_SEEDING */
    struct peat_position position; /* of this store */
};

struct peat_follower_status {
    size_t struct_size; /* bytes that the caller has room for */
    enum peat_follower_state state;
    struct peat_position position; /* of this store */
    struct peat_position primary;  /* the newest known of the one that it follows; zeros: none */
    uint64_t lag_commits;
    uint64_t lag_bytes; /* of log */
    uint64_t lag_us;    /* from the newest commit here to the newest there, as their clocks went */
    uint64_t connections; /* that it has had */
    char words[256];      /* why the last connection ended; "": none has */
    uint64_t seed_size;    /* bytes of the state that it takes, or has taken; 0: none */
    uint64_t seed_missing; /* of them, that have not come */
    uint64_t seed_count;   /* states that it has taken */
    uint64_t failed_dials; /* that nobody answered */
    uint64_t damaged;      /* connections that ended over what came: not as it was sent, or nothing that a primary says */
    uint64_t received_size; /* bytes, over all connections */
    uint64_t sent_size;     /* bytes */
    uint64_t records;       /* of log, that came and were applied: commits, seals */
    uint64_t state_us;      /* since it came into this state */
    uint64_t silent_us;     /* since the primary was heard last; 0: there is no connection */
    uint64_t rejoin_count; /* histories that it has left, each for the primary's */
    uint64_t damaged_segments; /* with PEAT_FOLLOWER_HEAL: found, and not healed so far */
    uint64_t healed_segments;  /* with others in their place by now */
};

PEAT_API void peat_follower_status_get(struct peat_follower *follower,
                                       struct peat_follower_status *status_out);
/** @} */
/**
 * @defgroup report Reports
 * @{
 */

enum peat_report_format {
    PEAT_REPORT_TEXT,       /* for people; may change */
    PEAT_REPORT_JSON,       /* one object on a line; members are added, and mean what they meant */
    PEAT_REPORT_OPENMETRICS /* text format 1.0, application/openmetrics-text; older readers of Prometheus take it, too */
};

struct peat_report_options {
    size_t struct_size; /* set by peat_report_options_init() */
    enum peat_report_format format;
    const char *store;              /* what the store is called in it: its path, say; NULL: "" */
    struct peat_primary *primary;   /* that offers the store; NULL: none, or not in this process */
    struct peat_follower *follower; /* that has it follow; NULL likewise */
};

/** Text, for which there is nothing but a file. */
PEAT_API void peat_report_options_init(struct peat_report_options *options);

/**
 * Write all that is known of the replication of @p db: role, epochs, position, feeds with their lag, whoever follows it, and how
 * it follows. Opened read-only, beside the process that writes, it is what the file says; who is connected only that process
 * knows, which can offer this as it likes: on a page of its own, or in a file.
 *
 * Text goes to @p write in pieces, as one document; no lock is held. Feeds and followers whose names are not UTF-8 are named in
 * base64 (name64, label feed64 and follower64). Any thread may call, in the callback of an event, too.
 *
 * @param options  borrowed for the call; its primary and follower are not stopped meanwhile
 * @param write    takes @p size bytes of text; false: it wants no more
 * @retval PEAT_OK         written whole
 * @retval PEAT_DONE       @p write has returned false
 * @retval PEAT_INVALID    an argument is missing, or there is no such format
 * @retval PEAT_NO_MEMORY  nothing was written
 */
PEAT_API enum peat_status
peat_replication_report(struct peat_db *db, const struct peat_report_options *options,
                        bool (*write)(void *context, const char *text, size_t size), void *context);
/** @} */
/**
 * @defgroup verify Comparing
 *
 * Whether two stores hold the same, entry by entry, without sending the entries: both go through what they hold, and exchange the
 * digests of ranges of keys, which are divided where they differ. So what goes over the network grows with what differs: some
 * hundred bytes where nothing does.
 *
 * Both sides show one and the same commit meanwhile: what one of them has beyond it is left out of account, and
 * nobody's commits wait. A commit that both can show is found while commits go on, if one of the two stores follows the other, or
 * another one's feed, at a distance that is below what it keeps in its write buffers (struct peat_options' write_buffer_size).
 * @{
 */

/** Keys under which the two stores do not hold the same. */
struct peat_verify_range {
    size_t struct_size; /* bytes that are filled in */
    struct peat_place low;  /* inclusive; the keys of both are valid until the callback returns */
    struct peat_place high; /* exclusive; often of the next collection, where low's ends */
    uint64_t entries_here;
    uint64_t entries_there;
    bool damaged_here; /* something in between cannot be read here; what can be may be the same */
    bool damaged_there;
};

struct peat_verify_options {
    size_t struct_size; /* set by peat_verify_options_init() */
    unsigned flags;     /* PEAT_REPL_INSECURE, or 0 */
    const char *url;    /* of a store that is offered: peat_primary_start() */
    const char *key_path; /* NULL: none */
    unsigned timeout_ms;  /* for connecting, and then for agreeing on a commit; default 30000; 0: each is tried once */
    /** NULL, or called with what differs, in order; false ends it. Ranges are as small as a single entry, but where very much
     * differs. */
    bool (*difference)(void *context, const struct peat_verify_range *range);
    /** NULL, or called now and then with about how many bytes were read here; false ends it. */
    bool (*progress)(void *context, uint64_t done);
    void *context; /* handed to both */
};

PEAT_API void peat_verify_options_init(struct peat_verify_options *options);

struct peat_verify_result {
    size_t struct_size;  /* bytes that the caller has room for */
    uint64_t commit;     /* that was compared */
    uint64_t range_count; /* that differ; 0: both hold the same */
    uint64_t entries_here; /* in all */
    uint64_t entries_there;
    uint8_t digest[32];     /* of all that is here at that commit: peat_digest() */
    uint64_t sent_size;     /* bytes to the peer */
    uint64_t received_size; /* and from it */
};

/**
 * Compare @p db with the store that is offered at options->url. It takes as long as reading both once, at the same time, and
 * what differs a few times more. On the other side it takes one of 64 places for followers, a pin on a state, and a thread's time.
 *
 * @param db          open in any way: a follower that follows, a primary, or a read-only store beside the process that writes
 * @param options     borrowed for the call
 * @param result_out  NULL, or, its struct_size set, filled in on PEAT_OK and PEAT_DONE
 * @param error_out   NULL, or set to words unless PEAT_OK is returned
 * @retval PEAT_OK       all was compared: result_out->range_count says whether they are the same
 * @retval PEAT_DONE     a callback ended it
 * @retval PEAT_TIMEOUT  no commit was found that both can show, or nobody answered
 * @retval PEAT_IO       the connection was lost, or refused; or this store cannot be read
 * @retval PEAT_INVALID  an argument is missing or wrong, or as peat_primary_start()
 * @retval PEAT_NOT_FOUND, PEAT_CORRUPT, PEAT_NO_MEMORY, PEAT_UNSUPPORTED  as peat_primary_start() and peat_refresh()
 */
PEAT_API enum peat_status peat_verify(struct peat_db *db, const struct peat_verify_options *options,
                                      struct peat_verify_result *result_out,
                                      struct peat_repl_error *error_out);
/** @} */

#ifdef __cplusplus
}
#endif

#endif

#include "core/db/feed.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"

#include <inttypes.h>

/* ---- Busy ---- */

/* From here to leave() an install keeps what the feed reads. PEAT_GAP: it has let that go. */
static enum peat_status feed_enter(struct peat_feed *feed)
{
    struct peat_db *db = feed->db;
    bool lost;

    pt_mutex_lock(&db->feeds.mutex);
    lost = feed->lost;
    if (lost)
        pt_feed_let_linger_go_locked(db, feed);
    feed->busy = !lost;
    pt_mutex_unlock(&db->feeds.mutex);
    if (!lost)
        return PEAT_OK;
    return pt_fail(PEAT_GAP,
                   "the log that held commit %" PRIu64
                   " was let go, because feed_log_size_max was exceeded or space was short",
                   feed->delivered + 1);
}

static void feed_leave(struct peat_feed *feed)
{
    struct pt_feeds *feeds = &feed->db->feeds;

    pt_mutex_lock(&feeds->mutex);
    feed->busy = false;
    if (!feed->db->read_only)
        feed->in = pt_region_use(&feed->at);
    if (feeds->waiting > 0)
        pt_condition_broadcast(&feeds->idle);
    pt_mutex_unlock(&feeds->mutex);
}

/* ---- One record ---- */

/* The newest commit that readers in this process see. */
/* The next record where links lead, if its commit is visible. PEAT_DONE: there is none. */
static enum peat_status read_here(struct peat_feed *feed, uint64_t visible,
                                  struct pt_record *record_out)
{
    enum peat_status status;

    if (feed->reader == NULL)
        return PEAT_DONE;
    pt_log_reader_limit(feed->reader, visible);
    status = pt_log_reader_next(feed->reader, record_out);
    if (status == PEAT_OK)
        feed->at = pt_log_reader_point(feed->reader);
    return status;
}

/* The same, wherever the log goes on. */
static enum peat_status read_on(struct peat_feed *feed, uint64_t visible,
                                struct pt_record *record_out)
{
    enum peat_status status = read_here(feed, visible, record_out);

    while (status == PEAT_DONE && feed->at.commit < visible) {
        if (!feed->db->read_only) { /* it may have waited in memory */
            status = pt_log_push(feed->db->log);
            if (status < 0)
                return status;
        }
        status = read_here(feed, visible, record_out);
        if (status == PEAT_DONE) {
            status = pt_feed_follow(feed);
            if (status == PEAT_OK)
                status = read_here(feed, visible, record_out);
        }
    }
    return status;
}

/* Whether the record is one to hand out. */
static bool is_wanted(const struct peat_feed *feed, const struct pt_record *record)
{
    if (record->kind == PT_RECORD_BATCH)
        return record->commit >= feed->wanted;
    return record->kind == PT_RECORD_SEAL && (feed->flags & PEAT_FEED_SEALS) != 0 &&
           record->commit + 1 >= feed->wanted;
}

static void hand_out(struct peat_feed *feed, const struct pt_record *record,
                     struct peat_record *record_out)
{
    *record_out = (struct peat_record){
        .kind = record->kind == PT_RECORD_BATCH ? PEAT_RECORD_BATCH : PEAT_RECORD_SEAL,
        .epoch = record->epoch,
        .commit = record->commit,
        .time_us = record->time_us,
        .position = pt_log_reader_begin(feed->reader).position,
        .payload = record->payload,
    };
    memcpy(record_out->chain, feed->at.chain.bytes, sizeof(record_out->chain));
    feed->delivered = record->commit;
}

/* PEAT_DONE: there is nothing to hand out now. */
static enum peat_status take(struct peat_feed *feed, struct peat_record *record_out)
{
    uint64_t visible = pt_newest_commit(feed->db);
    struct pt_record record;
    enum peat_status status;

    do
        status = read_on(feed, visible, &record);
    while (status == PEAT_OK && !is_wanted(feed, &record));
    if (status == PEAT_OK)
        hand_out(feed, &record, record_out);
    return status;
}

/* ---- Waiting ---- */

static enum peat_status try_here(struct peat_feed *feed, struct peat_record *record_out)
{
    enum peat_status status = feed_enter(feed);

    if (status < 0)
        return status;
    status = take(feed, record_out);
    feed_leave(feed);
    return status;
}

static enum peat_status try_reader(struct peat_feed *feed, struct peat_record *record_out)
{
    struct peat_db *db = feed->db;
    enum peat_status status = take(feed, record_out);

    if (status != PEAT_DONE)
        return status;
    status = pt_refresh(db);
    if (status == PEAT_OK &&
        feed->generation != atomic_load_explicit(&db->generation, memory_order_acquire))
        status = pt_feed_hold_newest(feed);
    return status == PEAT_OK ? take(feed, record_out) : status;
}

static enum peat_status try_once(struct peat_feed *feed, struct peat_record *record_out)
{
    return feed->db->read_only ? try_reader(feed, record_out) : try_here(feed, record_out);
}

/* Whether peat_feed_cancel() was called since the last time. */
static bool was_cancelled(struct peat_feed *feed)
{
    return atomic_exchange_explicit(&feed->cancelled, false, memory_order_relaxed);
}

enum peat_status peat_feed_next(struct peat_feed *feed, unsigned timeout_ms,
                                struct peat_record *record_out)
{
    uint64_t until_us = UINT64_MAX;
    enum peat_status status;

    if (feed == NULL || record_out == NULL)
        return pt_fail_null();
    if (timeout_ms != PEAT_FEED_FOREVER)
        until_us = pt_clock_monotonic_us() + (uint64_t)timeout_ms * 1000;
    for (;;) {
        uint64_t seen;

        if (was_cancelled(feed))
            return PEAT_DONE;
        status = try_once(feed, record_out);
        if (status != PEAT_DONE)
            return status;
        if (pt_clock_monotonic_us() >= until_us)
            return PEAT_TIMEOUT;
        seen = pt_groups_led(feed->db); /* before the last look, so no group is missed */
        status = try_once(feed, record_out);
        if (status != PEAT_DONE)
            return status;
        pt_wait_for_group(feed->db, seen, until_us, &feed->cancelled);
    }
}

void peat_feed_cancel(struct peat_feed *feed)
{
    if (feed == NULL)
        return;
    atomic_store_explicit(&feed->cancelled, true, memory_order_relaxed);
    pt_mutex_lock(&feed->db->queue.mutex);
    pt_condition_broadcast(&feed->db->queue.led);
    pt_mutex_unlock(&feed->db->queue.mutex);
}

/* ---- Opening ---- */

/* What a call of peat_feed_open() wants. */
struct opening {
    struct peat_feed *feed;
    uint64_t from;
    const char *name;             /* NULL: none */
    struct pt_feed_slot *created; /* by this call; NULL: none */
    struct pt_feed_slot *moved;
    uint64_t acknowledged; /* what moved had, before; and so on */
    bool has_seals;
    bool is_lost;
    bool is_ahead;
};

/* The commit behind which to begin. */
static enum peat_status choose_commit(const struct opening *opening,
                                      const struct pt_feed_slot *slot,
                                      const struct pt_feed_places *places, uint64_t *commit_out)
{
    uint64_t visible = pt_newest_commit(opening->feed->db);
    size_t first = 0;

    if (opening->from == PEAT_FEED_ACKNOWLEDGED && slot->is_lost)
        return pt_fail(PEAT_GAP,
                       "%s acknowledged commit %" PRIu64
                       ", which the store has lost since: read the state anew, then begin anew",
                       opening->name, slot->acknowledged);
    if (opening->from == PEAT_FEED_ACKNOWLEDGED) {
        *commit_out = slot->acknowledged;
    } else if (opening->from == PEAT_FEED_NEXT) {
        *commit_out = visible;
    } else if (opening->from == PEAT_FEED_OLDEST) {
        while (first < places->count && !places->pieces[first].has_start)
            first++;
        *commit_out =
            first < places->count ? places->pieces[first].start.commit : places->end.commit;
    } else {
        *commit_out = opening->from - 1;
    }
    if (*commit_out > visible)
        return pt_fail(PEAT_GAP,
                       "the newest commit is %" PRIu64 ": nothing is known of what comes before "
                       "%" PRIu64,
                       visible, *commit_out + 1);
    return PEAT_OK;
}

/* The feed is one of those that are open, under the name that it was given. */
static enum peat_status feed_register_locked(struct peat_db *db, struct opening *opening,
                                             struct pt_feed_slot *slot) PT_REQUIRES(db->feeds.mutex)
{
    struct peat_feed *feed = opening->feed;
    enum peat_status status = PEAT_OK;

    if (opening->name != NULL && slot == NULL) {
        status = pt_feeds_insert_locked(&db->feeds, opening->name, &slot);
        opening->created = slot;
    }
    if (status < 0)
        return status;
    if (slot != NULL) {
        bool has_seals = (feed->flags & PEAT_FEED_SEALS) != 0;

        if (opening->from != PEAT_FEED_ACKNOWLEDGED || slot->has_seals != has_seals)
            opening->moved = slot;
        opening->acknowledged = slot->acknowledged;
        opening->has_seals = slot->has_seals;
        opening->is_lost = slot->is_lost;
        opening->is_ahead = slot->is_ahead;
        if (opening->from != PEAT_FEED_ACKNOWLEDGED)
            slot->acknowledged = feed->delivered;
        slot->has_seals = has_seals;
        slot->is_lost = false; /* it begins anew */
        slot->is_ahead = (feed->flags & PEAT_FEED_AHEAD) != 0;
        slot->feed = feed;
    }
    feed->slot = slot;
    if (!db->read_only)
        feed->in = pt_region_use(&feed->at);
    feed->next = db->feeds.open;
    db->feeds.open = feed;
    return PEAT_OK;
}

/* With the install mutex held: the place is found, and no install takes the log away before it is kept.
 * PEAT_DONE: done, and nothing has to be made durable. */
static enum peat_status attach(struct peat_db *db, void *context, struct pt_history_change *change)
{
    struct opening *opening = context;
    struct pt_feed_places places;
    struct pt_feed_slot *slot = NULL;
    uint64_t commit = 0;
    enum peat_status status = pt_feed_places_look(db, &places);

    (void)change;
    if (status == PEAT_OK && db->read_only)
        status = pt_refresh(db); /* else what is visible may be older than the places */
    pt_mutex_lock(&db->feeds.mutex);
    if (status == PEAT_OK && opening->name != NULL)
        slot = pt_feeds_find_locked(&db->feeds, opening->name);
    if (slot != NULL && slot->feed != NULL)
        status = pt_fail(PEAT_BUSY, "a feed named %s is open", opening->name);
    else if (status == PEAT_OK && slot == NULL && opening->from == PEAT_FEED_ACKNOWLEDGED)
        status = PEAT_NOT_FOUND;
    pt_mutex_unlock(&db->feeds.mutex); /* slots are freed by who holds the install mutex */
    if (status == PEAT_OK)
        status = choose_commit(opening, slot, &places, &commit);
    if (status == PEAT_OK)
        status = pt_feed_begin(opening->feed, &places, commit);
    if (status == PEAT_OK) {
        pt_mutex_lock(&db->feeds.mutex);
        status = feed_register_locked(db, opening, slot);
        pt_mutex_unlock(&db->feeds.mutex);
    }
    pt_feed_places_fini(db, &places);
    if (status == PEAT_OK && opening->moved == NULL)
        return PEAT_DONE;
    return status;
}

static void feed_unlink_locked(struct peat_db *db, struct peat_feed *feed)
    PT_REQUIRES(db->feeds.mutex)
{
    struct peat_feed **link = &db->feeds.open;

    while (*link != NULL && *link != feed)
        link = &(*link)->next;
    if (*link == feed)
        *link = feed->next;
    if (feed->slot != NULL)
        feed->slot->feed = NULL;
    feed->slot = NULL;
    pt_feed_let_linger_go_locked(db, feed);
}

/* What was to be durable is not: the name is as it was. */
static void take_back(struct peat_db *db, struct opening *opening)
{
    pt_mutex_lock(&db->checkpointer.install_mutex);
    pt_mutex_lock(&db->feeds.mutex);
    if (opening->moved != NULL) {
        opening->moved->acknowledged = opening->acknowledged;
        opening->moved->has_seals = opening->has_seals;
        opening->moved->is_lost = opening->is_lost;
        opening->moved->is_ahead = opening->is_ahead;
    }
    feed_unlink_locked(db, opening->feed);
    if (opening->created != NULL)
        pt_feeds_remove_locked(&db->feeds, opening->created);
    pt_mutex_unlock(&db->feeds.mutex);
    pt_mutex_unlock(&db->checkpointer.install_mutex);
}

static void feed_free(struct peat_feed *feed)
{
    pt_log_reader_close(feed->reader);
    if (feed->generation > 0)
        (void)pt_arena_unhold_generation(feed->db->arena, feed->generation);
    pt_free(feed);
}

/* A follower that comes back tells with its first wish what it has. */
static void replica_note(const struct peat_feed *feed)
{
    struct peat_db *db = feed->db;

    if (feed->slot == NULL || (feed->flags & PEAT_FEED_SEALS) == 0)
        return;
    pt_mutex_lock(&db->feeds.mutex);
    pt_replicas_note_locked(db, 0, feed->slot->acknowledged);
    pt_mutex_unlock(&db->feeds.mutex);
}

static enum peat_status check_opening(const struct peat_db *db, uint64_t from, const char *name,
                                      unsigned flags)
{
    size_t size = name == NULL ? 0 : strnlen(name, PEAT_NAME_SIZE_MAX + 1);

    if ((flags & ~(PEAT_FEED_SEALS | PEAT_FEED_AHEAD)) != 0)
        return pt_fail(PEAT_INVALID, "unknown flags 0x%x for a feed", flags);
    if ((flags & PEAT_FEED_AHEAD) != 0 && (name == NULL || (flags & PEAT_FEED_SEALS) == 0))
        return pt_fail(PEAT_INVALID, "only a follower, with a name and seals, can be ahead");
    if (name == NULL && from == PEAT_FEED_ACKNOWLEDGED)
        return pt_fail(PEAT_INVALID, "a feed without a name has acknowledged nothing");
    if (name != NULL && (size == 0 || size > PEAT_NAME_SIZE_MAX))
        return pt_fail(PEAT_INVALID, "the name of a feed has 1 to %zu bytes", PEAT_NAME_SIZE_MAX);
    if (name != NULL && db->read_only)
        return pt_fail(PEAT_NOT_WRITABLE,
                       "the store was opened read-only: a feed with a name is the writer's");
    return PEAT_OK;
}

enum peat_status peat_feed_open(struct peat_db *db, uint64_t from_commit, const char *name,
                                unsigned flags, struct peat_feed **feed_out)
{
    struct opening opening = {.from = from_commit, .name = name};
    enum peat_status status;

    if (db == NULL || feed_out == NULL)
        return pt_fail_null();
    *feed_out = NULL;
    status = check_opening(db, from_commit, name, flags);
    if (status < 0)
        return status;
    opening.feed = pt_calloc(1, sizeof(*opening.feed));
    if (opening.feed == NULL)
        return pt_fail(PEAT_NO_MEMORY, "feed");
    opening.feed->db = db;
    opening.feed->flags = flags;
    status = pt_checkpoint_change(db, attach, &opening);
    if (status == PEAT_DONE)
        status = PEAT_OK;
    if (status != PEAT_OK) {
        if (opening.moved != NULL)
            take_back(db, &opening);
        feed_free(opening.feed);
        return status;
    }
    replica_note(opening.feed);
    *feed_out = opening.feed;
    return PEAT_OK;
}

void peat_feed_close(struct peat_feed *feed)
{
    struct peat_db *db;

    if (feed == NULL)
        return;
    db = feed->db;
    pt_mutex_lock(&db->feeds.mutex);
    feed_unlink_locked(db, feed);
    pt_mutex_unlock(&db->feeds.mutex);
    feed_free(feed);
}

/* ---- Names ---- */

enum peat_status peat_feed_acknowledge(struct peat_feed *feed, uint64_t commit)
{
    struct peat_db *db;
    uint64_t before;
    bool is_worth;

    if (feed == NULL)
        return pt_fail_null();
    if (feed->slot == NULL)
        return pt_fail(PEAT_INVALID, "a feed without a name has nothing to acknowledge");
    if (commit > feed->delivered)
        return pt_fail(PEAT_INVALID,
                       "commit %" PRIu64 " was not handed out yet: the last was %" PRIu64, commit,
                       feed->delivered);
    db = feed->db;
    pt_mutex_lock(&db->feeds.mutex);
    before = feed->slot->acknowledged;
    if (commit > before || (commit == before && feed->slot->is_ahead)) {
        uint64_t first = feed->slot->is_ahead ? 0 : before + 1;

        feed->slot->acknowledged = commit;
        feed->slot->is_ahead = false;
        if (feed->slot->has_seals)
            pt_replicas_note_locked(db, first, commit);
    }
    is_worth = commit >= feed->slot->worth_commit;
    if (is_worth)
        feed->slot->worth_commit = UINT64_MAX; /* until that manifest is planned */
    pt_mutex_unlock(&db->feeds.mutex);
    if (is_worth) {
        atomic_store_explicit(&db->feeds.install_wanted, true, memory_order_release);
        pt_checkpoint_ask(db);
    }
    return PEAT_OK;
}

static enum peat_status detach(struct peat_db *db, void *context, struct pt_history_change *change)
{
    const char *name = context;
    struct pt_feed_slot *slot;
    enum peat_status status = PEAT_OK;

    (void)change;
    pt_mutex_lock(&db->feeds.mutex);
    slot = pt_feeds_find_locked(&db->feeds, name);
    if (slot == NULL)
        status = PEAT_NOT_FOUND;
    else if (slot->feed != NULL)
        status = pt_fail(PEAT_BUSY, "the feed named %s is open", name);
    else
        pt_feeds_remove_locked(&db->feeds, slot);
    pt_mutex_unlock(&db->feeds.mutex);
    return status;
}

enum peat_status peat_feed_drop(struct peat_db *db, const char *name)
{
    char copy[PEAT_NAME_SIZE_MAX + 1] = "";
    enum peat_status status;

    if (db == NULL || name == NULL)
        return pt_fail_null();
    status = check_opening(db, 0, name, 0);
    if (status < 0)
        return status;
    (void)strcpy(copy, name);
    status = pt_checkpoint_change(db, detach, copy);
    if (status == PEAT_OK)
        pt_arena_reclaim(db->arena, atomic_load_explicit(&db->generation, memory_order_acquire));
    return status;
}

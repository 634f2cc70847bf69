#include "core/base/alloc.h"
#include "core/db/feed.h"

#include <inttypes.h>

/* ---- Looking ---- */

/* The writer's own: what is kept for feeds, then the log. */
static enum peat_status look_here(struct peat_db *db, struct pt_feed_places *places)
{
    struct pt_feeds *feeds = &db->feeds;
    enum peat_status status = PEAT_OK;
    size_t own;

    pt_mutex_lock(&feeds->mutex);
    own = pt_log_pieces(db->log, NULL, 0);
    places->pieces = pt_calloc(feeds->piece_count + own, sizeof(*places->pieces));
    if (places->pieces == NULL) {
        status = pt_fail(PEAT_NO_MEMORY, "list of %zu log regions", feeds->piece_count + own);
    } else {
        if (feeds->piece_count > 0)
            memcpy(places->pieces, feeds->pieces, feeds->piece_count * sizeof(*places->pieces));
        (void)pt_log_pieces(db->log, places->pieces + feeds->piece_count, own);
        places->count = feeds->piece_count + own;
    }
    pt_mutex_unlock(&feeds->mutex);
    return status;
}

/* What @p manifest names. */
static enum peat_status take_manifest(const struct pt_manifest *manifest,
                                      struct pt_feed_places *places)
{
    places->end = manifest->log;
    places->pieces = pt_calloc(manifest->held_count + 1, sizeof(*places->pieces));
    if (places->pieces == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu log regions", manifest->held_count);
    places->count = manifest->held_count;
    if (places->count > 0)
        memcpy(places->pieces, manifest->held, places->count * sizeof(*places->pieces));
    if (manifest->log.region.size > 0)
        places->pieces[places->count++] = (struct pt_log_piece){manifest->log, true};
    return PEAT_OK;
}

enum peat_status pt_feed_places_look(struct peat_db *db, struct pt_feed_places *places)
{
    struct pt_superblock superblock;
    struct pt_manifest manifest;
    uint8_t *block = NULL;
    enum peat_status status;

    memset(places, 0, sizeof(*places));
    if (!db->read_only)
        return look_here(db, places);
    status = pt_arena_hold_newest(db->arena, &superblock, NULL);
    if (status != PEAT_OK)
        return status;
    places->generation = superblock.generation;
    status = pt_arena_refresh_size(db->arena);
    if (status == PEAT_OK)
        status = pt_manifest_load(db, &superblock, &manifest, &block);
    if (status < 0)
        return status;
    status = take_manifest(&manifest, places);
    pt_manifest_fini(&manifest);
    pt_free(block);
    return status;
}

static void unhold(struct peat_db *db, uint64_t *generation)
{
    if (*generation > 0)
        (void)pt_arena_unhold_generation(db->arena, *generation);
    *generation = 0;
}

void pt_feed_places_fini(struct peat_db *db, struct pt_feed_places *places)
{
    unhold(db, &places->generation);
    pt_free(places->pieces);
    memset(places, 0, sizeof(*places));
}

/* ---- Going there ---- */

/* The feed holds what the places do, from now on. */
static void take_hold(struct peat_feed *feed, struct pt_feed_places *places)
{
    unhold(feed->db, &feed->generation);
    feed->generation = places->generation;
    places->generation = 0;
}

/* Read on from @p place, where the history is the feed's. */
static enum peat_status enter(struct peat_feed *feed, struct pt_feed_places *places,
                              const struct pt_log_point *place)
{
    struct pt_log_reader *reader = NULL;
    enum peat_status status = PEAT_OK;

    if (place->region.size > 0)
        status = pt_log_reader_open(feed->db->arena, place, true, &reader);
    if (status < 0)
        return status;
    pt_log_reader_close(feed->reader);
    feed->reader = reader;
    feed->at = *place;
    take_hold(feed, places);
    return PEAT_OK;
}

enum peat_status pt_feed_begin(struct peat_feed *feed, struct pt_feed_places *places,
                               uint64_t commit)
{
    bool has_seals = (feed->flags & PEAT_FEED_SEALS) != 0;
    size_t found = pt_feeds_begin(places->pieces, places->count, commit, has_seals);

    feed->wanted = commit + 1;
    feed->delivered = commit;
    if (feed->db->read_only && places->end.region.size == 0 && places->end.commit <= commit)
        return enter(feed, places, &places->end); /* a store that was closed: there is no log yet */
    if (found == SIZE_MAX)
        return pt_fail(PEAT_GAP, "%s: the log that held commit %" PRIu64 " is gone",
                       pt_file_name(pt_arena_file(feed->db->arena)), commit + 1);
    return enter(feed, places, &places->pieces[found].start);
}

static bool is_same_history(const struct pt_log_point *a, const struct pt_log_point *b)
{
    return a->position == b->position && memcmp(&a->chain, &b->chain, sizeof(a->chain)) == 0;
}

static bool is_same_use(const struct pt_log_point *a, const struct pt_log_point *b)
{
    struct pt_region_use of_a = pt_region_use(a);
    struct pt_region_use of_b = pt_region_use(b);

    return pt_region_use_equal(&of_a, &of_b);
}

/* The last place that begins with the history that the feed has come to, but for where it is; NULL: there is
 * none. */
static const struct pt_log_point *find_next(const struct peat_feed *feed,
                                            const struct pt_feed_places *places)
{
    for (size_t i = places->count; i-- > 0;) {
        const struct pt_log_piece *piece = &places->pieces[i];

        if (piece->has_start && is_same_history(&piece->start, &feed->at) &&
            !is_same_use(&piece->start, &feed->at))
            return &piece->start;
    }
    return NULL;
}

/* Whether the store has left the history that the feed has read (parting.h). Then positions do not tell. */
static bool is_left(const struct peat_feed *feed)
{
    struct pt_lineage lineage = pt_epochs_copy(feed->db);
    uint64_t position = feed->at.position;
    uint64_t before = position == 0 ? 0 : pt_lineage_at(&lineage, position - 1);

    /* A place where an epoch begins may be of that one, or of the one before. */
    return before > 0 && before != feed->at.epoch &&
           pt_lineage_at(&lineage, position) != feed->at.epoch;
}

/* Whether the region that the feed is in is one of those. */
static bool knows(const struct peat_feed *feed, const struct pt_feed_places *places)
{
    if (is_left(feed))
        return false;
    for (size_t i = 0; i < places->count; i++)
        if (is_same_use(&places->pieces[i].start, &feed->at))
            return true;
    return places->end.region.size > 0 && feed->at.position > places->end.position;
}

/* Nothing begins where the feed has come to, though there are later commits: why. */
static enum peat_status fail_gap(const struct peat_feed *feed, const struct pt_feed_places *places)
{
    const char *name = pt_file_name(pt_arena_file(feed->db->arena));
    const struct pt_log_point *at = &feed->at;

    for (size_t i = 0; i <= places->count; i++) {
        const struct pt_log_point *start =
            i < places->count ? &places->pieces[i].start : &places->end;
        struct pt_id chain = pt_log_jump_chain(&at->chain, start->commit, start->time_us);

        if (start->position == at->position && start->commit == at->commit + 1 &&
            memcmp(&chain, &start->chain, sizeof(chain)) == 0)
            return pt_fail(PEAT_GAP,
                           "%s: commit %" PRIu64
                           " is a revert, which no record tells of: read the state anew, then go "
                           "on with a feed from commit %" PRIu64,
                           name, start->commit, start->commit + 1);
    }
    if (knows(feed, places))
        return pt_fail(PEAT_CORRUPT,
                       "%s: the log is damaged at byte %" PRIu64 ", behind commit %" PRIu64, name,
                       at->region.offset + at->offset, at->commit);
    return pt_fail(PEAT_GAP, "%s: the log that held commit %" PRIu64 " is gone", name,
                   at->commit + 1);
}

enum peat_status pt_feed_follow(struct peat_feed *feed)
{
    struct pt_feed_places places;
    const struct pt_log_point *next;
    enum peat_status status = pt_feed_places_look(feed->db, &places);

    if (status == PEAT_OK) {
        next = find_next(feed, &places);
        status = next == NULL ? fail_gap(feed, &places) : enter(feed, &places, next);
    }
    pt_feed_places_fini(feed->db, &places);
    return status;
}

enum peat_status pt_feed_hold_newest(struct peat_feed *feed)
{
    struct pt_feed_places places;
    const struct pt_log_point *next;
    enum peat_status status = pt_feed_places_look(feed->db, &places);

    if (status == PEAT_OK) {
        next = find_next(feed, &places);
        if (next != NULL)
            status = enter(feed, &places, next);
        else if (places.end.region.size == 0 && is_same_history(&places.end, &feed->at))
            status = enter(feed, &places, &places.end);
        else if (knows(feed, &places))
            take_hold(feed, &places);
        /* Else the generation that is held is the last that names the place: read on in that. */
    }
    pt_feed_places_fini(feed->db, &places);
    return status;
}

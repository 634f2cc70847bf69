#include "core/db/feeds.h"

#include "core/base/alloc.h"
#include "core/base/bug.h"
#include "core/db/feed.h"

enum { WORTH_SHARE = 16 /* of feed_log_size_max: what is worth a manifest to be freed */ };

void pt_feeds_init(struct pt_feeds *feeds)
{
    memset(feeds, 0, sizeof(*feeds));
    pt_mutex_init(&feeds->mutex);
    pt_condition_init(&feeds->idle);
    pt_replica_waits_init(&feeds->replicas);
}

static void slots_free(struct pt_feed_slot **slots, size_t count)
{
    for (size_t i = 0; slots != NULL && i < count; i++)
        pt_free(slots[i]);
    pt_free(slots);
}

void pt_feeds_fini(struct pt_feeds *feeds)
{
    PT_ASSERT(feeds->open == NULL);
    slots_free(feeds->slots, feeds->slot_count);
    pt_free(feeds->pieces);
    pt_replica_waits_fini(&feeds->replicas);
    pt_condition_fini(&feeds->idle);
    pt_mutex_fini(&feeds->mutex);
}

/* ---- Names ---- */

static struct pt_feed_slot *slot_new(struct peat_bytes name)
{
    struct pt_feed_slot *slot = pt_calloc(1, sizeof(*slot) + name.size + 1);

    if (slot == NULL)
        return NULL;
    memcpy(slot->name, name.data, name.size);
    slot->name_size = name.size;
    slot->worth_commit = UINT64_MAX;
    return slot;
}

static struct peat_bytes slot_name(const struct pt_feed_slot *slot)
{
    return pt_bytes(slot->name, slot->name_size);
}

/* Where @p name stands, or would. */
static size_t slot_place(const struct pt_feeds *feeds, struct peat_bytes name)
{
    size_t begin = 0;
    size_t end = feeds->slot_count;

    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;

        if (pt_bytes_compare(slot_name(feeds->slots[middle]), name) < 0)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

struct pt_feed_slot *pt_feeds_find_locked(struct pt_feeds *feeds, const char *name)
    PT_REQUIRES(feeds->mutex)
{
    struct peat_bytes wanted = pt_bytes(name, strlen(name));
    size_t place = slot_place(feeds, wanted);

    return place < feeds->slot_count && pt_bytes_equal(slot_name(feeds->slots[place]), wanted)
               ? feeds->slots[place]
               : NULL;
}

enum peat_status pt_feeds_insert_locked(struct pt_feeds *feeds, const char *name,
                                        struct pt_feed_slot **slot_out) PT_REQUIRES(feeds->mutex)
{
    struct peat_bytes wanted = pt_bytes(name, strlen(name));
    size_t place = slot_place(feeds, wanted);
    struct pt_feed_slot **slots =
        pt_realloc(feeds->slots, (feeds->slot_count + 1) * sizeof(struct pt_feed_slot *));
    struct pt_feed_slot *slot = slot_new(wanted);

    if (slots != NULL)
        feeds->slots = slots;
    if (slots == NULL || slot == NULL) {
        pt_free(slot);
        return pt_fail(PEAT_NO_MEMORY, "the name of a feed");
    }
    memmove(slots + place + 1, slots + place, (feeds->slot_count - place) * sizeof(slots[0]));
    slots[place] = slot;
    feeds->slot_count++;
    *slot_out = slot;
    return PEAT_OK;
}

void pt_feeds_remove_locked(struct pt_feeds *feeds, struct pt_feed_slot *slot)
    PT_REQUIRES(feeds->mutex)
{
    size_t place = slot_place(feeds, slot_name(slot));

    PT_ASSERT(place < feeds->slot_count && feeds->slots[place] == slot && slot->feed == NULL);
    feeds->slot_count--;
    memmove(feeds->slots + place, feeds->slots + place + 1,
            (feeds->slot_count - place) * sizeof(feeds->slots[0]));
    pt_free(slot);
}

bool pt_feeds_settle(struct peat_db *db)
{
    struct pt_feeds *feeds = &db->feeds;
    bool named;

    pt_mutex_lock(&feeds->mutex);
    for (size_t i = 0; i < feeds->slot_count; i++)
        feeds->slots[i]->planned = feeds->slots[i]->acknowledged;
    named = feeds->slot_count > 0;
    pt_mutex_unlock(&feeds->mutex);
    return named;
}

/* ---- Pieces ---- */

struct pt_region_use pt_region_use(const struct pt_log_point *point)
{
    struct pt_region_use use = {point->region.offset, point->nonce};

    return use;
}

bool pt_region_use_equal(const struct pt_region_use *a, const struct pt_region_use *b)
{
    return a->offset == b->offset && memcmp(&a->nonce, &b->nonce, sizeof(a->nonce)) == 0;
}

static bool is_same_use(const struct pt_log_point *a, const struct pt_log_point *b)
{
    struct pt_region_use of_a = pt_region_use(a);
    struct pt_region_use of_b = pt_region_use(b);

    return pt_region_use_equal(&of_a, &of_b);
}

size_t pt_feeds_begin(const struct pt_log_piece *pieces, size_t count, uint64_t commit,
                      bool has_seals)
{
    size_t found = SIZE_MAX;

    for (size_t i = count; i-- > 0;) {
        if (!pieces[i].has_start || pieces[i].start.commit > commit)
            continue;
        found = i;
        if (!has_seals || pieces[i].start.commit < commit)
            break;
    }
    return found;
}

/* What could be kept: the pieces so far, the log's regions up to the one in which the manifest begins it, and at
 * the end that place itself. */
struct candidates {
    struct pt_log_piece *list; /* owned; count + 1 of them */
    size_t count;
    /* Of them are of no use to a replay: the one after, if there is one, is the log's own. */
    size_t before;
    const struct pt_log_point *log_start;
};

static enum peat_status candidates_gather_locked(struct peat_db *db, struct candidates *all)
    PT_REQUIRES(db->feeds.mutex)
{
    struct pt_feeds *feeds = &db->feeds;
    size_t own = db->log == NULL ? 0 : pt_log_pieces(db->log, NULL, 0);
    size_t capacity = feeds->piece_count + own + 1;
    size_t i;

    all->list = pt_calloc(capacity + 1, sizeof(*all->list));
    if (all->list == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu log regions", capacity);
    if (feeds->piece_count > 0)
        memcpy(all->list, feeds->pieces, feeds->piece_count * sizeof(*all->list));
    all->count = feeds->piece_count;
    if (own > 0) /* more regions may have come, all of them later ones */
        (void)pt_log_pieces(db->log, all->list + all->count, own);
    for (i = 0; i < own; i++, all->count++) {
        const struct pt_log_piece *piece = &all->list[all->count];

        if (all->log_start->region.size > 0 && is_same_use(&piece->start, all->log_start))
            break;
    }
    all->before = all->count;
    all->count += i < own;
    all->list[all->count] = (struct pt_log_piece){*all->log_start, true};
    return PEAT_OK;
}

/* Whether an open feed is in that region. */
static bool is_entered_locked(const struct pt_feeds *feeds, const struct pt_log_point *start)
    PT_REQUIRES(feeds->mutex)
{
    struct pt_region_use use = pt_region_use(start);

    for (const struct peat_feed *feed = feeds->open; feed != NULL; feed = feed->next)
        if (pt_region_use_equal(&feed->in, &use))
            return true;
    return false;
}

/* The first that an open feed is in. */
static size_t first_entered_locked(const struct pt_feeds *feeds, const struct candidates *all)
    PT_REQUIRES(feeds->mutex)
{
    size_t first = 0;

    while (first < all->before && !is_entered_locked(feeds, &all->list[first].start))
        first++;
    return first;
}

/* Leave out pieces without a record: whoever would begin there can begin at the next. But none that an open feed may
 * be coming to, without the mutex. */
static void candidates_thin_locked(const struct pt_feeds *feeds, struct candidates *all)
    PT_REQUIRES(feeds->mutex)
{
    size_t first = first_entered_locked(feeds, all);
    size_t kept = 0;
    size_t before = 0;

    for (size_t i = 0; i <= all->count; i++) {
        const struct pt_log_piece *piece = &all->list[i];
        bool is_empty = i < first && piece->has_start && piece[1].has_start &&
                        piece[1].start.position == piece->start.position &&
                        piece[1].start.commit == piece->start.commit;

        if (is_empty)
            continue;
        before += i < all->before;
        all->list[kept++] = *piece;
    }
    all->count = kept - 1;
    all->before = before;
}

/* The first that is kept for any named feed (all->count: none is), and how much each has to acknowledge to be worth
 * a manifest. */
static size_t first_for_names_locked(struct peat_db *db, const struct candidates *all)
    PT_REQUIRES(db->feeds.mutex)
{
    uint64_t worth_size = db->options.feed_log_size_max / WORTH_SHARE;
    size_t first = all->count;

    for (size_t i = 0; i < db->feeds.slot_count; i++) {
        struct pt_feed_slot *slot = db->feeds.slots[i];
        size_t begin = slot->is_lost ? SIZE_MAX
                                     : pt_feeds_begin(all->list, all->count + 1, slot->planned,
                                                      slot->has_seals);
        uint64_t size = 0;

        if (begin < first)
            first = begin;
        slot->worth_commit = UINT64_MAX;
        for (size_t k = begin; k < all->before && slot->worth_commit == UINT64_MAX; k++) {
            size += all->list[k].start.region.size;
            if (size > worth_size && all->list[k + 1].has_start)
                slot->worth_commit = all->list[k + 1].start.commit + slot->has_seals;
        }
    }
    return first;
}

/* Bytes from piece number @p first on that no replay needs. */
static uint64_t size_from(const struct candidates *all, size_t first)
{
    uint64_t size = 0;

    for (size_t i = first; i < all->before; i++)
        size += all->list[i].start.region.size;
    return size;
}

/* The rows of the manifest: from number @p first on, up to the log's own if that holds more than a replay reads. */
static enum peat_status held_rows(const struct candidates *all, size_t first,
                                  struct pt_manifest *manifest)
{
    size_t end = all->before;

    while (first < all->count && !all->list[first].has_start)
        first++;
    if (end < all->count && all->list[end].has_start &&
        all->list[end].start.position < all->log_start->position)
        end++;
    if (first >= end)
        return PEAT_OK;
    manifest->held = pt_calloc(end - first, sizeof(*manifest->held));
    if (manifest->held == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu log regions", end - first);
    memcpy(manifest->held, all->list + first, (end - first) * sizeof(*manifest->held));
    manifest->held_count = end - first;
    return PEAT_OK;
}

static enum peat_status feed_rows_locked(const struct pt_feeds *feeds, struct pt_manifest *manifest)
    PT_REQUIRES(feeds->mutex)
{
    if (feeds->slot_count == 0)
        return PEAT_OK;
    manifest->feeds = pt_calloc(feeds->slot_count, sizeof(*manifest->feeds));
    if (manifest->feeds == NULL)
        return pt_fail(PEAT_NO_MEMORY, "list of %zu feeds", feeds->slot_count);
    for (size_t i = 0; i < feeds->slot_count; i++) {
        const struct pt_feed_slot *slot = feeds->slots[i];

        manifest->feeds[i] = (struct pt_manifest_feed){.acknowledged = slot->planned,
                                                       .has_seals = slot->has_seals,
                                                       .is_lost = slot->is_lost,
                                                       .name = slot_name(slot)};
    }
    manifest->feed_count = feeds->slot_count;
    return PEAT_OK;
}

static enum peat_status plan_locked(struct peat_db *db, struct candidates *all,
                                    const struct pt_history_change *change,
                                    struct pt_feeds_plan *plan, struct pt_manifest *manifest)
    PT_REQUIRES(db->feeds.mutex)
{
    bool give_up = atomic_load_explicit(&db->feeds.give_up, memory_order_relaxed);
    uint64_t size_max = give_up || change->lets_log_go ? 0 : db->options.feed_log_size_max;
    size_t for_names;
    size_t first;
    enum peat_status status = candidates_gather_locked(db, all);

    if (status < 0)
        return status;
    plan->gives_up = give_up;
    candidates_thin_locked(&db->feeds, all);
    for_names = first_for_names_locked(db, all);
    first = first_entered_locked(&db->feeds, all);
    if (for_names < first)
        first = for_names;
    plan->held_size = size_from(all, first);
    while (first < all->before && plan->held_size > size_max)
        plan->held_size -= all->list[first++].start.region.size;
    if (first > all->before)
        first = all->before;
    status = held_rows(all, for_names > first ? for_names : first, manifest);
    if (status == PEAT_OK)
        status = feed_rows_locked(&db->feeds, manifest);
    if (status < 0)
        return status;
    for (size_t i = 0; i < manifest->feed_count && change->parts; i++)
        manifest->feeds[i].is_lost = true;
    plan->parts = change->parts;
    plan->count = all->before - first; /* the log's own region stays the log's */
    memmove(all->list, all->list + first, plan->count * sizeof(*all->list));
    plan->pieces = all->list;
    all->list = NULL;
    return PEAT_OK;
}

enum peat_status pt_feeds_plan(struct peat_db *db, const struct pt_log_point *log_start,
                               const struct pt_history_change *change, struct pt_feeds_plan *plan,
                               struct pt_manifest *manifest_out)
{
    struct candidates all = {.log_start = log_start};
    enum peat_status status;

    memset(plan, 0, sizeof(*plan));
    pt_mutex_lock(&db->feeds.mutex);
    status = plan_locked(db, &all, change, plan, manifest_out);
    pt_mutex_unlock(&db->feeds.mutex);
    pt_free(all.list);
    return status;
}

void pt_feeds_plan_fini(struct pt_feeds_plan *plan)
{
    pt_free(plan->pieces);
    memset(plan, 0, sizeof(*plan));
}

/* ---- Letting go ---- */

/* Feeds that are in the region @p piece lose it, and keep its space until they move on. Whether there are any. */
static bool linger_locked(struct pt_feeds *feeds, const struct pt_log_piece *piece)
    PT_REQUIRES(feeds->mutex)
{
    struct pt_region_use use = pt_region_use(&piece->start);
    bool lingers = false;

    for (struct peat_feed *feed = feeds->open; feed != NULL;) {
        if (!pt_region_use_equal(&feed->in, &use)) {
            feed = feed->next;
        } else if (feed->busy) { /* it is reading on from there: see where it comes to */
            feeds->waiting++;
            pt_condition_wait(&feeds->idle, &feeds->mutex);
            feeds->waiting--;
            feed = feeds->open;
        } else {
            feed->lost = true;
            feed->lingering = piece->start.region;
            memset(&feed->in, 0, sizeof(feed->in));
            lingers = true;
            feed = feed->next;
        }
    }
    return lingers;
}

void pt_feeds_take(struct peat_db *db, struct pt_feeds_plan *plan, uint64_t generation)
{
    struct pt_feeds *feeds = &db->feeds;
    struct pt_log_piece *before;
    size_t before_count;
    size_t kept = 0;

    pt_mutex_lock(&feeds->mutex);
    before = feeds->pieces;
    before_count = feeds->piece_count;
    feeds->pieces = plan->pieces;
    feeds->piece_count = plan->count;
    feeds->held_size = plan->held_size;
    for (size_t i = 0; i < feeds->slot_count; i++) {
        feeds->slots[i]->durable = feeds->slots[i]->planned;
        feeds->slots[i]->is_lost = feeds->slots[i]->is_lost || plan->parts;
    }
    if (plan->gives_up)
        atomic_store_explicit(&feeds->give_up, false, memory_order_relaxed);
    for (size_t i = 0; i < before_count; i++) {
        const struct pt_log_piece *piece = &before[i];

        if (kept < plan->count && is_same_use(&plan->pieces[kept].start, &piece->start)) {
            kept++;
        } else if (!linger_locked(feeds, piece)) {
            (void)pt_arena_retire(db->arena, piece->start.region, generation);
        }
    }
    pt_mutex_unlock(&feeds->mutex);
    pt_free(before);
    plan->pieces = NULL; /* the feeds' now */
}

bool pt_feeds_keep(void *context, const struct pt_log_piece *piece)
{
    struct peat_db *db = context;
    struct pt_feeds *feeds = &db->feeds;
    bool keep = false;

    pt_mutex_lock(&feeds->mutex);
    for (size_t i = feeds->piece_count; i-- > 0 && !keep;) /* the newest are what the log gives */
        keep = is_same_use(&feeds->pieces[i].start, &piece->start);
    keep = keep || linger_locked(feeds, piece);
    pt_mutex_unlock(&feeds->mutex);
    return keep && !PT_BUG(FEED_LOG_FREED);
}

void pt_feed_let_linger_go_locked(struct peat_db *db, struct peat_feed *feed)
    PT_REQUIRES(db->feeds.mutex)
{
    struct pt_extent region = feed->lingering;
    const struct peat_feed *other = db->feeds.open;

    feed->lingering = (struct pt_extent){0, 0};
    while (other != NULL && other->lingering.offset != region.offset)
        other = other->next;
    if (region.size > 0 && other == NULL)
        (void)pt_arena_retire(db->arena, region,
                              atomic_load_explicit(&db->generation, memory_order_acquire));
}

void pt_feeds_want_durable(struct peat_db *db)
{
    struct pt_feeds *feeds = &db->feeds;

    pt_mutex_lock(&feeds->mutex);
    for (size_t i = 0; i < feeds->slot_count; i++)
        if (feeds->slots[i]->acknowledged != feeds->slots[i]->durable)
            atomic_store_explicit(&feeds->install_wanted, true, memory_order_relaxed);
    pt_mutex_unlock(&feeds->mutex);
}

bool pt_feeds_give_up(struct peat_db *db)
{
    struct pt_feeds *feeds = &db->feeds;
    bool any;

    pt_mutex_lock(&feeds->mutex);
    any = feeds->piece_count > 0;
    if (any) {
        atomic_store_explicit(&feeds->give_up, true, memory_order_relaxed);
        atomic_store_explicit(&feeds->install_wanted, true, memory_order_relaxed);
    }
    pt_mutex_unlock(&feeds->mutex);
    return any;
}

/* ---- From a manifest ---- */

/* The pieces and slots of @p manifest, into @p loaded, which nobody else sees. */
static enum peat_status manifest_load(const struct pt_manifest *manifest, struct pt_feeds *loaded)
{
    loaded->slots = pt_calloc(manifest->feed_count + 1, sizeof(struct pt_feed_slot *));
    loaded->pieces = pt_calloc(manifest->held_count + 1, sizeof(*loaded->pieces));
    if (loaded->slots == NULL || loaded->pieces == NULL)
        return pt_fail(PEAT_NO_MEMORY, "%zu feeds", manifest->feed_count);
    for (size_t i = 0; i < manifest->held_count; i++) {
        loaded->pieces[loaded->piece_count++] = manifest->held[i];
        if (!pt_manifest_held_is_log(manifest, i))
            loaded->held_size += manifest->held[i].start.region.size;
    }
    for (size_t i = 0; i < manifest->feed_count; i++) {
        struct pt_feed_slot *slot = slot_new(manifest->feeds[i].name);

        if (slot == NULL)
            return pt_fail(PEAT_NO_MEMORY, "%zu feeds", manifest->feed_count);
        slot->acknowledged = slot->planned = slot->durable = manifest->feeds[i].acknowledged;
        slot->has_seals = manifest->feeds[i].has_seals;
        slot->is_lost = manifest->feeds[i].is_lost;
        loaded->slots[loaded->slot_count++] = slot;
    }
    return PEAT_OK;
}

enum peat_status pt_feeds_load(struct peat_db *db, const struct pt_manifest *manifest)
{
    struct pt_feeds *feeds = &db->feeds;
    struct pt_feeds loaded = {.slots = NULL};
    struct pt_feeds before = {.slots = NULL};
    enum peat_status status = manifest_load(manifest, &loaded);

    if (status == PEAT_OK) {
        pt_mutex_lock(&feeds->mutex);
        before.slots = feeds->slots;
        before.slot_count = feeds->slot_count;
        before.pieces = feeds->pieces;
        feeds->slots = loaded.slots;
        feeds->slot_count = loaded.slot_count;
        feeds->pieces = loaded.pieces;
        feeds->piece_count = loaded.piece_count;
        feeds->held_size = loaded.held_size;
        pt_mutex_unlock(&feeds->mutex);
        loaded = before;
    }
    slots_free(loaded.slots, loaded.slot_count);
    pt_free(loaded.pieces);
    return status;
}

enum peat_status pt_feeds_add(struct peat_db *db, const struct pt_log_piece *pieces, size_t count)
{
    struct pt_feeds *feeds = &db->feeds;
    enum peat_status status = PEAT_OK;
    struct pt_log_piece *grown;

    pt_mutex_lock(&feeds->mutex);
    /* Of the region in which the log begins, more may be known already. */
    if (count > 0 && feeds->piece_count > 0 &&
        is_same_use(&feeds->pieces[feeds->piece_count - 1].start, &pieces[0].start)) {
        pieces++;
        count--;
    }
    grown = pt_realloc(feeds->pieces, (feeds->piece_count + count + 1) * sizeof(*grown));
    if (grown == NULL) {
        status = pt_fail(PEAT_NO_MEMORY, "list of %zu log regions", feeds->piece_count + count);
    } else {
        feeds->pieces = grown;
        if (count > 0)
            memcpy(grown + feeds->piece_count, pieces, count * sizeof(*grown));
        feeds->piece_count += count;
    }
    pt_mutex_unlock(&feeds->mutex);
    return status;
}

void pt_feeds_recovered(struct peat_db *db, uint64_t commit)
{
    struct pt_feeds *feeds = &db->feeds;

    pt_mutex_lock(&feeds->mutex);
    for (size_t i = 0; i < feeds->slot_count; i++) {
        struct pt_feed_slot *slot = feeds->slots[i];

        if (slot->acknowledged <= commit || slot->is_lost)
            continue;
        slot->is_lost = true; /* durable before commits take those numbers */
        atomic_store_explicit(&feeds->install_wanted, true, memory_order_relaxed);
    }
    pt_mutex_unlock(&feeds->mutex);
}

void pt_feeds_totals(struct peat_db *db, struct pt_feeds_totals *totals_out)
{
    pt_mutex_lock(&db->feeds.mutex);
    totals_out->count = db->feeds.slot_count;
    totals_out->held_size = db->feeds.held_size;
    pt_mutex_unlock(&db->feeds.mutex);
}

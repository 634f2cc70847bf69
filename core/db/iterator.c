/*
 * Iterators: a join over everything the snapshot sees, with deletions and overwritten versions
 * hidden.
 *
 * The common case of a store at rest is one run and nothing else. Then the join is left out and
 * each step is one step of the run's cursor.
 */
#include "core/base/alloc.h"
#include "core/db/cover.h"
#include "core/db/damage_report.h"
#include "core/db/db.h"
#include "core/db/join.h"

enum position { BEFORE_FIRST, ON_ENTRY, AFTER_LAST, AT_DAMAGE };

struct peat_iterator {
    struct pt_entry current; /* valid ON_ENTRY; the key with its prefix */
    enum position position;
    bool single; /* one run, no write buffers, no covers: sources[0]'s cursor is all */
    struct pt_id_prefix prefix;
    struct pt_join join;
    struct pt_cover *covers; /* owned; newest first */
    size_t cover_count;
    struct pt_buffer_view **views; /* owned */
    size_t view_count;
    struct peat_bytes low; /* owned: stored keys */
    struct peat_bytes high;
    struct pt_stored_key sought; /* of the last seek: gaps may borrow it */
    struct pt_gap gap;           /* AT_DAMAGE: stored keys */
    bool gap_backward;           /* AT_DAMAGE: it came from above */
    uint8_t *gap_keys;           /* owned: keys just behind the gap's, where those are its bounds */
    struct peat_db *db;
    struct pt_pin pin;
    uint64_t charged; /* bytes of work memory */
};

/* ---- Opening ---- */

/* The bounds as stored keys: the collection's own where the caller gave none. */
static enum peat_status set_bounds(struct peat_iterator *iterator, const struct peat_range *range)
{
    struct pt_id_prefix end = pt_id_prefix_end(iterator->prefix);
    struct peat_bytes low = range == NULL ? pt_bytes(NULL, 0) : range->low;
    struct peat_bytes high = range == NULL ? pt_bytes(NULL, 0) : range->high;
    struct pt_stored_key stored;
    enum peat_status status = pt_stored_key_init(&stored, &iterator->prefix, low);

    if (status < 0)
        return status;
    status = pt_bytes_copy(stored.bytes, &iterator->low);
    pt_stored_key_fini(&stored);
    if (status < 0)
        return status;
    if (high.data == NULL && high.size == 0)
        return pt_bytes_copy(pt_id_prefix_bytes(&end), &iterator->high);
    status = pt_stored_key_init(&stored, &iterator->prefix, high);
    if (status < 0)
        return status;
    status = pt_bytes_copy(stored.bytes, &iterator->high);
    pt_stored_key_fini(&stored);
    return status;
}

static enum peat_status open_views(struct peat_iterator *iterator, uint64_t commit,
                                   size_t *source_count_out)
{
    const struct pt_stack *stack = iterator->pin.stack;
    enum peat_status status = PEAT_OK;

    *source_count_out = stack->run_count;
    iterator->views = pt_calloc(stack->buffer_count, sizeof(struct pt_buffer_view *));
    iterator->covers =
        pt_calloc(stack->buffer_count + stack->run_count + 1, sizeof(struct pt_cover));
    if (iterator->views == NULL || iterator->covers == NULL)
        return pt_fail(PEAT_NO_MEMORY, "iterator");
    iterator->view_count = stack->buffer_count;
    for (size_t i = 0; i < stack->buffer_count && status == PEAT_OK; i++) {
        if (pt_write_buffer_entry_count(stack->buffers[i]->buffer) == 0)
            continue;
        status = pt_buffer_view_open(stack->buffers[i]->buffer, commit, &iterator->views[i]);
        pt_held_buffer_account(stack->buffers[i]);
        if (status == PEAT_OK)
            *source_count_out += pt_buffer_view_run_count(iterator->views[i]);
    }
    return status;
}

static void add_sources(struct peat_iterator *iterator)
{
    const struct pt_stack *stack = iterator->pin.stack;
    unsigned layer = 0;

    for (size_t i = 0; i < stack->buffer_count; i++, layer++) {
        const struct pt_buffer_view *view = iterator->views[i];

        if (view == NULL)
            continue;
        for (size_t run = 0; run < pt_buffer_view_run_count(view); run++)
            pt_join_add_buffer(&iterator->join, layer, view, run, iterator->low, iterator->high);
        pt_cover_init_buffer(&iterator->covers[iterator->cover_count], layer, view);
        if (iterator->covers[iterator->cover_count].range_count > 0)
            iterator->cover_count++;
    }
    for (size_t i = 0; i < stack->run_count; i++, layer++) {
        pt_join_add_run(&iterator->join, layer, stack->runs[i], iterator->low, iterator->high);
        if (stack->runs[i]->has_ranges && i + 1 < stack->run_count)
            pt_cover_init_run(&iterator->covers[iterator->cover_count++], layer, stack->runs[i]);
    }
    iterator->single = iterator->join.count == 1 && !iterator->join.sources[0].is_buffer &&
                       iterator->cover_count == 0;
}

/* An iterator with pins of its own, without sources yet. */
static enum peat_status iterator_new(const struct peat_snapshot *snapshot,
                                     struct peat_iterator **iterator_out)
{
    struct peat_iterator *iterator = pt_calloc(1, sizeof(*iterator));

    *iterator_out = iterator;
    if (iterator == NULL)
        return pt_fail(PEAT_NO_MEMORY, "iterator");
    iterator->db = snapshot->db;
    iterator->pin = pt_pin_copy(snapshot->pin);
    return PEAT_OK;
}

/* The sources within the bounds that are set. */
static enum peat_status open_sources(struct peat_iterator *iterator, uint64_t commit)
{
    size_t source_count;
    enum peat_status status = open_views(iterator, commit, &source_count);

    if (status == PEAT_OK)
        status = pt_join_init(&iterator->join, source_count, iterator->prefix.size);
    if (status < 0)
        return status;
    add_sources(iterator);
    iterator->charged = sizeof(*iterator) + source_count * sizeof(struct pt_source);
    pt_work_memory_take(iterator->db, iterator->charged);
    return PEAT_OK;
}

enum peat_status peat_iterator_open(const struct peat_snapshot *snapshot,
                                    struct peat_collection *collection,
                                    const struct peat_range *range,
                                    struct peat_iterator **iterator_out)
{
    struct peat_iterator *iterator;
    enum peat_status status;

    if (snapshot == NULL || iterator_out == NULL)
        return pt_fail_null();
    *iterator_out = NULL;
    if (!pt_collection_is_of(collection, snapshot->db->catalogue))
        return pt_fail_foreign();
    if (range != NULL && (range->flags & ~PEAT_KEYS_ONLY) != 0)
        return pt_fail(PEAT_INVALID, "unknown flags 0x%x in the range", range->flags);
    status = iterator_new(snapshot, &iterator);
    if (status < 0)
        return status;
    iterator->prefix = *pt_collection_prefix(collection);
    status = set_bounds(iterator, range);
    if (status == PEAT_OK)
        status = open_sources(iterator, snapshot->commit);
    if (status == PEAT_OK) {
        *iterator_out = iterator;
        iterator = NULL; /* the caller's now */
    }
    peat_iterator_close(iterator);
    return status;
}

enum peat_status pt_iterator_open_all(const struct peat_snapshot *snapshot,
                                      struct peat_iterator **iterator_out)
{
    return pt_iterator_open_stored(snapshot, pt_bytes(NULL, 0), pt_bytes(NULL, 0), iterator_out);
}

enum peat_status pt_iterator_open_stored(const struct peat_snapshot *snapshot,
                                         struct peat_bytes low, struct peat_bytes high,
                                         struct peat_iterator **iterator_out)
{
    struct peat_iterator *iterator;
    enum peat_status status = iterator_new(snapshot, &iterator); /* no prefix */

    *iterator_out = NULL;
    if (status == PEAT_OK && low.data != NULL)
        status = pt_bytes_copy(low, &iterator->low);
    if (status == PEAT_OK && high.data != NULL)
        status = pt_bytes_copy(high, &iterator->high);
    if (status == PEAT_OK)
        status = open_sources(iterator, snapshot->commit);
    if (status == PEAT_OK) {
        *iterator_out = iterator;
        iterator = NULL;
    }
    peat_iterator_close(iterator);
    return status;
}

void peat_iterator_close(struct peat_iterator *iterator)
{
    if (iterator == NULL)
        return;
    pt_join_fini(&iterator->join);
    for (size_t i = 0; i < iterator->view_count; i++)
        pt_buffer_view_close(iterator->views[i]);
    for (size_t i = 0; i < iterator->view_count; i++)
        pt_held_buffer_account(iterator->pin.stack->buffers[i]);
    pt_work_memory_give(iterator->db, iterator->charged);
    pt_free(iterator->views);
    pt_free(iterator->covers);
    pt_free(iterator->gap_keys);
    pt_stored_key_fini(&iterator->sought);
    pt_bytes_fini(&iterator->low);
    pt_bytes_fini(&iterator->high);
    pt_shelf_unpin(&iterator->db->shelf, iterator->pin);
    pt_free(iterator);
}

/* ---- Walking ---- */

/* Note the end of a walk, or an error; pass @p status on. */
static enum peat_status leave(struct peat_iterator *iterator, enum peat_status status,
                              bool backward)
{
    iterator->position = backward ? BEFORE_FIRST : AFTER_LAST;
    return status;
}

/* Entries are lost here: nothing is known of what comes next but behind them. */
static enum peat_status stop_at_gap(struct peat_iterator *iterator, const struct pt_gap *gap,
                                    bool backward)
{
    iterator->position = AT_DAMAGE;
    iterator->gap = *gap;
    iterator->gap_backward = backward;
    pt_damage_within(&iterator->gap, pt_id_prefix_bytes(&iterator->prefix));
    return gap->status;
}

/* The join stands on lost keys. */
static enum peat_status stop_at_lost(struct peat_iterator *iterator)
{
    struct pt_gap gap;

    (void)pt_join_fail(&iterator->join, iterator->prefix.size, &gap);
    return stop_at_gap(iterator, &gap, iterator->join.backward);
}

/*
 * The range deletes of a run that may hide @p key, where the join stands, could not be read: it alone is
 * in doubt. Where lost keys begin they are lost, hidden or not: to doubt but the first one would lead from
 * there to the next key there may be, and so on, or nowhere, where they begin just past it.
 */
static enum peat_status stop_at_cover(struct peat_iterator *iterator, struct peat_bytes key,
                                      enum peat_status status)
{
    struct pt_gap gap = {.low = key, .high = key, .high_closed = true, .status = status};

    if (status != PEAT_CORRUPT && status != PEAT_IO)
        return leave(iterator, status, iterator->join.backward);
    if (pt_join_at_gap(&iterator->join))
        return stop_at_lost(iterator);
    (void)pt_damage_fail(NULL, &gap, iterator->prefix.size);
    return stop_at_gap(iterator, &gap, iterator->join.backward);
}

/* Whether @p entry is lost keys that begin below the lowest key of @p cover, so that going back to there
 * leads nowhere else. */
static bool is_below_cover(const struct pt_entry *entry, const struct pt_cover *cover,
                           bool backward)
{
    return backward && entry->op == PT_OP_LOST_PAST && pt_bytes_equal(entry->key, cover->low);
}

/* From where the join stands, in its direction, to the next entry that is not hidden. */
static enum peat_status settle(struct peat_iterator *iterator)
{
    struct pt_join *join = &iterator->join;
    enum peat_status status = PEAT_OK;

    while (status == PEAT_OK) {
        const struct pt_source *top = pt_join_top(join);
        const struct pt_cover *cover = NULL;

        if (top->entry == NULL)
            return leave(iterator, PEAT_DONE, join->backward);
        if (iterator->cover_count > 0)
            status = pt_covers_find(iterator->covers, iterator->cover_count, top->layer,
                                    top->entry->key, &cover);
        if (status < 0)
            return stop_at_cover(iterator, top->entry->key, status);
        if (cover != NULL && !is_below_cover(top->entry, cover, join->backward)) {
            status = pt_join_skip(join, join->backward ? cover->low : cover->high);
        } else if (__builtin_expect(top->entry->op == PT_OP_PUT, 1)) {
            iterator->current = *top->entry;
            iterator->position = ON_ENTRY;
            return PEAT_OK;
        } else if (top->entry->op == PT_OP_DELETE) {
            status = pt_join_pass(join, top->entry->key);
        } else {
            return stop_at_lost(iterator);
        }
    }
    return leave(iterator, status, join->backward);
}

enum peat_status peat_iterator_first(struct peat_iterator *iterator)
{
    enum peat_status status;

    if (iterator == NULL)
        return pt_fail_null();
    status = pt_join_first(&iterator->join);

    return status == PEAT_OK ? settle(iterator) : leave(iterator, status, true);
}

enum peat_status peat_iterator_last(struct peat_iterator *iterator)
{
    enum peat_status status;

    if (iterator == NULL)
        return pt_fail_null();
    status = pt_join_last(&iterator->join);

    return status == PEAT_OK ? settle(iterator) : leave(iterator, status, false);
}

/* The key of a seek, which stays until the next one. */
static inline enum peat_status set_sought(struct peat_iterator *iterator, struct peat_bytes key)
{
    pt_stored_key_fini(&iterator->sought);
    return pt_stored_key_init(&iterator->sought, &iterator->prefix, key);
}

enum peat_status peat_iterator_seek(struct peat_iterator *iterator, struct peat_bytes key)
{
    enum peat_status status;

    if (iterator == NULL)
        return pt_fail_null();
    status = set_sought(iterator, key);
    if (status == PEAT_OK)
        status = pt_join_seek(&iterator->join, iterator->sought.bytes, false);
    return status == PEAT_OK ? settle(iterator) : leave(iterator, status, false);
}

enum peat_status peat_iterator_seek_before(struct peat_iterator *iterator, struct peat_bytes key)
{
    enum peat_status status;

    if (iterator == NULL)
        return pt_fail_null();
    status = set_sought(iterator, key);
    if (status == PEAT_OK)
        status = pt_join_seek_before(&iterator->join, iterator->sought.bytes, false);
    return status == PEAT_OK ? settle(iterator) : leave(iterator, status, true);
}

/* The only source came to @p status. */
static enum peat_status leave_single(struct peat_iterator *iterator, enum peat_status status,
                                     bool backward)
{
    const struct pt_run_cursor *cursor = &iterator->join.sources[0].at.run;

    if (status == PEAT_DONE || !cursor->in_gap)
        return leave(iterator, status, backward);
    (void)pt_damage_fail(cursor->segment, &cursor->gap, iterator->prefix.size);
    return stop_at_gap(iterator, &cursor->gap, backward);
}

/* It stands where entries are lost: to go on is a seek's matter. */
static enum peat_status still_damaged(const struct peat_iterator *iterator)
{
    return pt_fail(iterator->gap.status,
                   "the iterator stands where entries are lost: seek past them");
}

/* One step of the only source. */
static inline enum peat_status step_single(struct peat_iterator *iterator, bool backward)
{
    struct pt_run_cursor *cursor = &iterator->join.sources[0].at.run;
    enum peat_status status;

    do {
        status = backward ? pt_run_cursor_previous(cursor) : pt_run_cursor_next(cursor);
    } while (status == PEAT_OK && __builtin_expect(cursor->entry.op == PT_OP_DELETE, 0));
    if (__builtin_expect(status != PEAT_OK, 0))
        return leave_single(iterator, status, backward);
    iterator->current = cursor->entry;
    return PEAT_OK;
}

enum peat_status peat_iterator_next(struct peat_iterator *iterator)
{
    struct pt_join *join;
    enum peat_status status;

    if (__builtin_expect(iterator == NULL, 0))
        return pt_fail_null();
    join = &iterator->join;
    if (__builtin_expect(iterator->position != ON_ENTRY, 0)) {
        if (iterator->position == BEFORE_FIRST)
            return peat_iterator_first(iterator);
        return iterator->position == AFTER_LAST ? PEAT_DONE : still_damaged(iterator);
    }
    if (iterator->single)
        return step_single(iterator, false);
    if (join->backward)
        status = pt_join_seek(join, iterator->current.key, true);
    else
        status = pt_join_pass(join, iterator->current.key);
    return status == PEAT_OK ? settle(iterator) : leave(iterator, status, false);
}

enum peat_status peat_iterator_previous(struct peat_iterator *iterator)
{
    struct pt_join *join;
    enum peat_status status;

    if (__builtin_expect(iterator == NULL, 0))
        return pt_fail_null();
    join = &iterator->join;
    if (__builtin_expect(iterator->position != ON_ENTRY, 0)) {
        if (iterator->position == AFTER_LAST)
            return peat_iterator_last(iterator);
        return iterator->position == BEFORE_FIRST ? PEAT_DONE : still_damaged(iterator);
    }
    if (iterator->single)
        return step_single(iterator, true);
    if (join->backward)
        status = pt_join_pass(join, iterator->current.key);
    else
        status = pt_join_seek_before(join, iterator->current.key, true);
    return status == PEAT_OK ? settle(iterator) : leave(iterator, status, true);
}

static inline struct peat_bytes user_key(const struct peat_iterator *iterator)
{
    const uint8_t *key = iterator->current.key.data;

    return pt_bytes(key + iterator->prefix.size,
                    iterator->current.key.size - iterator->prefix.size);
}

enum peat_status peat_iterator_next_many(struct peat_iterator *iterator,
                                         struct peat_entry *entries_out, size_t capacity,
                                         size_t *count_out)
{
    enum peat_status status = PEAT_OK;
    size_t count = 0;

    if (iterator == NULL || count_out == NULL || (entries_out == NULL && capacity > 0))
        return pt_fail_null();
    *count_out = 0;
    if (iterator->position == AFTER_LAST)
        return PEAT_DONE;
    if (iterator->position == BEFORE_FIRST)
        status = peat_iterator_first(iterator);
    else if (iterator->position == AT_DAMAGE)
        status = still_damaged(iterator);
    while (status == PEAT_OK && count < capacity) {
        entries_out[count].key = user_key(iterator);
        entries_out[count].value = iterator->current.value;
        count++;
        status = iterator->single ? step_single(iterator, false) : peat_iterator_next(iterator);
    }
    *count_out = count;
    return status;
}

enum peat_status peat_iterator_damage(struct peat_iterator *iterator, struct peat_range *range_out)
{
    if (iterator == NULL || range_out == NULL)
        return pt_fail_null();
    if (iterator->position != AT_DAMAGE)
        return PEAT_NOT_FOUND;
    pt_free(iterator->gap_keys);
    iterator->gap_keys = NULL;
    return pt_damage_range(&iterator->gap, iterator->prefix.size, &iterator->gap_keys, range_out);
}

enum peat_status peat_iterator_pass_damage(struct peat_iterator *iterator)
{
    const struct pt_gap *gap;
    struct peat_bytes end;
    enum peat_status status;
    bool backward;

    if (iterator == NULL)
        return pt_fail_null();
    if (iterator->position != AT_DAMAGE)
        return pt_fail(PEAT_INVALID, "the iterator does not stand on damage");
    gap = &iterator->gap;
    backward = iterator->gap_backward;
    end = backward ? gap->low : gap->high;
    if (end.data == NULL)
        return leave(iterator, PEAT_DONE, backward);
    status = backward ? pt_join_seek_before(&iterator->join, end, !gap->low_open)
                      : pt_join_seek(&iterator->join, end, gap->high_closed);
    return status == PEAT_OK ? settle(iterator) : leave(iterator, status, backward);
}

struct peat_bytes peat_iterator_key(const struct peat_iterator *iterator)
{
    return iterator != NULL && iterator->position == ON_ENTRY ? user_key(iterator)
                                                              : pt_bytes(NULL, 0);
}

struct peat_bytes peat_iterator_value(const struct peat_iterator *iterator)
{
    return iterator != NULL && iterator->position == ON_ENTRY ? iterator->current.value
                                                              : pt_bytes(NULL, 0);
}

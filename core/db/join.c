/*
 * The loser tree: a tournament whose inner nodes remember who lost there. Replaying the path of the
 * source that moved takes log2(count) comparisons, each of two 8-byte prefixes in the common case.
 *
 *          losers[0]: the winner
 *          losers[1]                 nodes 1 .. count-1; node i's children are 2i and 2i+1;
 *         /         \                source s stands at leaf count + s
 *    losers[2]    losers[3]
 */
#include "core/db/join.h"

#include "core/base/alloc.h"
#include "core/db/damage_report.h"

enum { NOBODY = UINT32_MAX };

enum peat_status pt_join_init(struct pt_join *join, size_t capacity, size_t common_size)
{
    memset(join, 0, sizeof(*join));
    join->sources = pt_calloc(capacity == 0 ? 1 : capacity, sizeof(*join->sources));
    join->losers = pt_calloc(capacity + 1, sizeof(*join->losers));
    join->common_size = common_size;
    if (join->sources == NULL || join->losers == NULL) {
        pt_join_fini(join);
        return pt_fail(PEAT_NO_MEMORY, "join of %zu sources", capacity);
    }
    return PEAT_OK;
}

void pt_join_fini(struct pt_join *join)
{
    pt_free(join->sources);
    pt_free(join->losers);
    memset(join, 0, sizeof(*join));
}

static struct pt_source *add(struct pt_join *join, unsigned layer, struct peat_bytes low,
                             struct peat_bytes high)
{
    struct pt_source *source = &join->sources[join->count++];

    source->layer = layer;
    source->low = low;
    source->high = high;
    return source;
}

void pt_join_add_buffer(struct pt_join *join, unsigned layer, const struct pt_buffer_view *view,
                        size_t run, struct peat_bytes low, struct peat_bytes high)
{
    struct pt_source *source = add(join, layer, low, high);

    source->is_buffer = true;
    pt_buffer_cursor_init(&source->at.buffer, view, run);
}

void pt_join_add_run(struct pt_join *join, unsigned layer, const struct pt_run *run,
                     struct peat_bytes low, struct peat_bytes high)
{
    struct pt_source *source = add(join, layer, low, high);

    source->is_buffer = false;
    pt_run_cursor_init(&source->at.run, run, low, high);
}

/* ---- One source ---- */

/* The cursor stands on a gap: its key may be a bound, which need not begin as all keys do. */
static enum peat_status settle_gap(struct pt_join *join, struct pt_source *source)
{
    const struct pt_entry *entry = &source->at.run.entry;

    source->entry = entry;
    source->prefix = source->high.data != NULL && pt_bytes_compare(entry->key, source->high) >= 0
                         ? UINT64_MAX
                         : pt_bytes_prefix(entry->key, join->common_size);
    return PEAT_OK;
}

/* Take over what a cursor call came to. */
static enum peat_status settle_run(struct pt_join *join, struct pt_source *source,
                                   enum peat_status status)
{
    source->entry = NULL;
    if (status == PEAT_DONE)
        return PEAT_OK;
    if (status < 0)
        return source->at.run.in_gap ? settle_gap(join, source) : status;
    source->entry = &source->at.run.entry;
    source->prefix = pt_bytes_prefix(source->entry->key, join->common_size);
    return PEAT_OK;
}

/* A buffer's cursor knows no bounds: beyond them is the end. */
static enum peat_status settle_buffer(struct pt_join *join, struct pt_source *source, bool found)
{
    const struct pt_entry *entry = &source->at.buffer.entry;

    source->entry = NULL;
    if (!found)
        return PEAT_OK;
    if (source->high.data != NULL && pt_bytes_compare(entry->key, source->high) >= 0)
        return PEAT_OK;
    if (source->low.data != NULL && pt_bytes_compare(entry->key, source->low) < 0)
        return PEAT_OK;
    source->entry = entry;
    source->prefix = pt_bytes_prefix(entry->key, join->common_size);
    return PEAT_OK;
}

static enum peat_status source_first(struct pt_join *join, struct pt_source *source)
{
    if (!source->is_buffer)
        return settle_run(join, source, pt_run_cursor_first(&source->at.run));
    if (source->low.data == NULL)
        return settle_buffer(join, source, pt_buffer_cursor_first(&source->at.buffer));
    return settle_buffer(join, source, pt_buffer_cursor_seek(&source->at.buffer, source->low));
}

static enum peat_status source_last(struct pt_join *join, struct pt_source *source)
{
    if (!source->is_buffer)
        return settle_run(join, source, pt_run_cursor_last(&source->at.run));
    if (source->high.data == NULL)
        return settle_buffer(join, source, pt_buffer_cursor_last(&source->at.buffer));
    return settle_buffer(join, source,
                         pt_buffer_cursor_seek_before(&source->at.buffer, source->high, true));
}

static enum peat_status source_step(struct pt_join *join, struct pt_source *source)
{
    if (source->is_buffer)
        return settle_buffer(join, source,
                             join->backward ? pt_buffer_cursor_previous(&source->at.buffer)
                                            : pt_buffer_cursor_next(&source->at.buffer));
    return settle_run(join, source,
                      join->backward ? pt_run_cursor_previous(&source->at.run)
                                     : pt_run_cursor_next(&source->at.run));
}

static enum peat_status source_seek(struct pt_join *join, struct pt_source *source,
                                    struct peat_bytes key, bool strictly)
{
    enum peat_status status;

    if (source->low.data != NULL && pt_bytes_compare(key, source->low) < 0)
        return source_first(join, source);
    if (source->is_buffer)
        status = settle_buffer(join, source, pt_buffer_cursor_seek(&source->at.buffer, key));
    else
        status = settle_run(join, source, pt_run_cursor_seek(&source->at.run, key));
    if (status == PEAT_OK && strictly && source->entry != NULL &&
        pt_bytes_equal(source->entry->key, key))
        status = source_step(join, source);
    return status;
}

static enum peat_status source_seek_before(struct pt_join *join, struct pt_source *source,
                                           struct peat_bytes key, bool strictly)
{
    if (source->high.data != NULL && pt_bytes_compare(key, source->high) >= 0)
        return source_last(join, source);
    if (source->is_buffer)
        return settle_buffer(join, source,
                             pt_buffer_cursor_seek_before(&source->at.buffer, key, strictly));
    return settle_run(join, source, pt_run_cursor_seek_before(&source->at.run, key, strictly));
}

/* ---- The tournament ---- */

/* Whether source @p a comes before source @p b in the join's direction; who is at its end comes
 * last. Among equal keys the newer, of the lower number, comes first in both directions. */
static bool before(const struct pt_join *join, uint32_t a, uint32_t b)
{
    const struct pt_source *left = &join->sources[a];
    const struct pt_source *right = &join->sources[b];
    int order;

    if (left->entry == NULL || right->entry == NULL)
        return right->entry == NULL && (left->entry != NULL || a < b);
    if (left->prefix != right->prefix)
        return (left->prefix < right->prefix) != join->backward;
    order = pt_bytes_compare(left->entry->key, right->entry->key);
    if (order == 0 && ((left->entry->op | right->entry->op) & PT_OP_LOST_PAST) != 0)
        return right->entry->op == PT_OP_LOST_PAST && (left->entry->op != PT_OP_LOST_PAST || a < b);
    if (order == 0)
        return a < b;
    return (order < 0) != join->backward;
}

/* Source @p winner has moved: play its path to the root again. */
static void replay(struct pt_join *join, uint32_t winner)
{
    for (uint32_t node = (join->count + winner) / 2; node > 0; node /= 2) {
        uint32_t other = join->losers[node];

        if (other == NOBODY) { /* while building: wait here for an opponent */
            join->losers[node] = winner;
            return;
        }
        if (before(join, other, winner)) {
            join->losers[node] = winner;
            winner = other;
        }
    }
    join->losers[0] = winner;
}

static void build(struct pt_join *join)
{
    for (uint32_t node = 1; node < join->count; node++)
        join->losers[node] = NOBODY;
    join->losers[0] = 0;
    for (uint32_t i = 0; i < join->count; i++)
        replay(join, i);
}

/* What is done to each source before the tournament. */
enum placement { TO_FIRST, TO_LAST, TO_KEY, TO_BEFORE_KEY };

static enum peat_status place_all(struct pt_join *join, enum placement placement,
                                  struct peat_bytes key, bool strictly)
{
    enum peat_status status = PEAT_OK;

    join->backward = placement == TO_LAST || placement == TO_BEFORE_KEY;
    for (uint32_t i = 0; i < join->count && status == PEAT_OK; i++) {
        struct pt_source *source = &join->sources[i];

        switch (placement) {
        case TO_FIRST:
            status = source_first(join, source);
            break;
        case TO_LAST:
            status = source_last(join, source);
            break;
        case TO_KEY:
            status = source_seek(join, source, key, strictly);
            break;
        case TO_BEFORE_KEY:
            status = source_seek_before(join, source, key, strictly);
            break;
        }
    }
    if (status == PEAT_OK)
        build(join);
    return status;
}

enum peat_status pt_join_first(struct pt_join *join)
{
    return place_all(join, TO_FIRST, pt_bytes(NULL, 0), false);
}

enum peat_status pt_join_last(struct pt_join *join)
{
    return place_all(join, TO_LAST, pt_bytes(NULL, 0), false);
}

enum peat_status pt_join_seek(struct pt_join *join, struct peat_bytes key, bool strictly)
{
    return place_all(join, TO_KEY, key, strictly);
}

enum peat_status pt_join_seek_before(struct pt_join *join, struct peat_bytes key, bool strictly)
{
    return place_all(join, TO_BEFORE_KEY, key, strictly);
}

enum peat_status pt_join_step(struct pt_join *join)
{
    uint32_t winner = join->losers[0];
    enum peat_status status = source_step(join, &join->sources[winner]);

    if (status == PEAT_OK)
        replay(join, winner);
    return status;
}

enum peat_status pt_join_skip(struct pt_join *join, struct peat_bytes key)
{
    uint32_t winner = join->losers[0];
    struct pt_source *source = &join->sources[winner];
    enum peat_status status = join->backward ? source_seek_before(join, source, key, true)
                                             : source_seek(join, source, key, false);

    if (status == PEAT_OK)
        replay(join, winner);
    return status;
}

enum peat_status pt_join_pass(struct pt_join *join, struct peat_bytes key)
{
    uint64_t prefix = pt_bytes_prefix(key, join->common_size);
    enum peat_status status = PEAT_OK;

    do {
        status = pt_join_step(join);
    } while (status == PEAT_OK && pt_join_top(join)->entry != NULL &&
             pt_join_top(join)->prefix == prefix &&
             pt_bytes_equal(pt_join_top(join)->entry->key, key) &&
             pt_join_top(join)->entry->op != PT_OP_LOST_PAST);
    return status;
}

enum peat_status pt_join_fail(const struct pt_join *join, size_t skip, struct pt_gap *gap_out)
{
    const struct pt_source *top = pt_join_top(join);
    const struct pt_run_cursor *cursor = &top->at.run;

    PT_ASSERT(pt_join_at_gap(join) && !top->is_buffer && cursor->in_gap);
    if (gap_out != NULL)
        *gap_out = cursor->gap;
    return pt_damage_fail(cursor->segment, &cursor->gap, skip);
}

#include "core/db/range_list.h"

#include "core/base/alloc.h"

/* One range delete, on top of the older ones that cover the same keys. */
struct stamp {
    uint64_t commit;
    uint32_t place;
    const struct stamp *older; /* of an older commit; NULL: none */
};

struct fragment {
    struct peat_bytes low;
    struct peat_bytes high;
    const struct stamp *stamps; /* newest first; at least one */
};

/* Stamps are taken from blocks, and live as long as the list for which they were made. */
struct block {
    struct block *next;
    size_t count; /* of stamps taken */
    size_t capacity;
    struct stamp stamps[];
};

struct pt_range_list {
    struct pt_range_list *base; /* NULL: none */
    struct fragment *fragments; /* disjoint, in key order */
    size_t count;
    size_t capacity;
    struct fragment *pieces; /* while building: room for 2 x count + 3 */
    struct block *blocks;    /* newest first */
    size_t memory_size;
    uint32_t place;
};

/* ---- Building ---- */

/* Make room for @p count fragments, and for the pieces of one more range delete. */
static bool grow(struct pt_range_list *list, size_t count)
{
    struct fragment *fragments;
    struct fragment *pieces;
    size_t capacity = count + count / 2;

    if (count <= list->capacity)
        return true;
    fragments = pt_realloc(list->fragments, capacity * sizeof(*fragments));
    if (fragments == NULL)
        return false;
    list->fragments = fragments;
    pieces = pt_realloc(list->pieces, (2 * capacity + 3) * sizeof(*pieces));
    if (pieces == NULL)
        return false;
    list->pieces = pieces;
    list->capacity = capacity;
    return true;
}

static struct stamp *stamp_take(struct pt_range_list *list)
{
    struct block *block = list->blocks;
    size_t capacity;

    if (block == NULL || block->count == block->capacity) {
        capacity = block == NULL ? 4 : 2 * block->capacity;
        block = pt_malloc(sizeof(*block) + capacity * sizeof(block->stamps[0]));
        if (block == NULL)
            return NULL;
        *block = (struct block){.next = list->blocks, .capacity = capacity};
        list->blocks = block;
        list->memory_size += sizeof(*block) + capacity * sizeof(block->stamps[0]);
    }
    return &block->stamps[block->count++];
}

/* One range delete on its way into a list. */
struct insertion {
    struct pt_range_list *list;
    const struct pt_range_delete *delete;
    const struct stamp *last; /* the stamp made last; neighbours share it */
    size_t piece_count;
};

/* Add the piece [low, high) unless it is empty; one that continues the piece before it joins it. */
static void piece_add(struct insertion *insertion, struct peat_bytes low, struct peat_bytes high,
                      const struct stamp *stamps)
{
    struct fragment *pieces = insertion->list->pieces;
    size_t count = insertion->piece_count;

    if (pt_bytes_compare(low, high) >= 0)
        return;
    if (count > 0 && pieces[count - 1].stamps == stamps &&
        pt_bytes_equal(pieces[count - 1].high, low)) {
        pieces[count - 1].high = high;
        return;
    }
    pieces[insertion->piece_count++] = (struct fragment){low, high, stamps};
}

/* The same, covered by the new range delete as well. False: no memory. */
static bool piece_cover(struct insertion *insertion, struct peat_bytes low, struct peat_bytes high,
                        const struct stamp *stamps)
{
    const struct pt_range_delete *delete = insertion->delete;
    struct stamp *stamp;

    if (pt_bytes_compare(low, high) >= 0)
        return true;
    if (stamps != NULL && stamps->commit == delete->commit)
        stamps = stamps->older; /* of one commit only the newest counts */
    if (insertion->last == NULL || insertion->last->older != stamps) {
        stamp = stamp_take(insertion->list);
        if (stamp == NULL)
            return false;
        *stamp = (struct stamp){delete->commit, delete->place, stamps};
        insertion->last = stamp;
    }
    piece_add(insertion, low, high, insertion->last);
    return true;
}

static struct peat_bytes smaller_of(struct peat_bytes a, struct peat_bytes b)
{
    return pt_bytes_compare(a, b) <= 0 ? a : b;
}

static struct peat_bytes larger_of(struct peat_bytes a, struct peat_bytes b)
{
    return pt_bytes_compare(a, b) >= 0 ? a : b;
}

/* The first fragment whose high is above @p key. */
static size_t first_above(const struct pt_range_list *list, struct peat_bytes key)
{
    size_t from = 0;
    size_t to = list->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (pt_bytes_compare(list->fragments[middle].high, key) > 0)
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

/*
 * Cut the fragments that the new range delete overlaps, and fill the gaps between them:
 *
 *   fragments      |---a---|      |--b--|   |----c----|
 *   delete             |-----------------------|
 *   pieces         |-a-|-a'|--d---|--b'-|-d-|-c'|--c--|       x': the stamps of x under d's
 */
static bool insert(struct pt_range_list *list, const struct pt_range_delete *delete)
{
    struct insertion insertion = {.list = list, .delete = delete};
    struct peat_bytes at = delete->low; /* pieces reach up to here */
    size_t begin = first_above(list, delete->low);
    size_t end = begin;

    for (; end < list->count; end++) {
        const struct fragment *old = &list->fragments[end];

        if (pt_bytes_compare(old->low, delete->high) >= 0)
            break;
        piece_add(&insertion, old->low, delete->low, old->stamps);
        if (!piece_cover(&insertion, at, old->low, NULL) ||
            !piece_cover(&insertion, larger_of(old->low, delete->low),
                         smaller_of(old->high, delete->high), old->stamps))
            return false;
        piece_add(&insertion, delete->high, old->high, old->stamps);
        at = old->high;
    }
    if (!piece_cover(&insertion, at, delete->high, NULL))
        return false;
    if (!grow(list, list->count - (end - begin) + insertion.piece_count))
        return false;
    memmove(list->fragments + begin + insertion.piece_count, list->fragments + end,
            (list->count - end) * sizeof(list->fragments[0]));
    memcpy(list->fragments + begin, list->pieces,
           insertion.piece_count * sizeof(list->fragments[0]));
    list->count = list->count - (end - begin) + insertion.piece_count;
    list->place = delete->place;
    return true;
}

/* Give back what only building needed. */
static void trim(struct pt_range_list *list)
{
    struct fragment *fragments =
        pt_realloc(list->fragments, list->count * sizeof(list->fragments[0]));

    if (fragments != NULL) {
        list->fragments = fragments;
        list->capacity = list->count;
    }
    pt_free(list->pieces);
    list->pieces = NULL;
    list->memory_size += sizeof(*list) + list->capacity * sizeof(list->fragments[0]);
}

struct pt_range_list *pt_range_list_new(struct pt_range_list *base,
                                        const struct pt_range_delete *deletes, size_t count)
{
    struct pt_range_list *list = pt_calloc(1, sizeof(*list));
    bool done = false;

    PT_ASSERT(count > 0);
    if (list == NULL)
        return NULL;
    list->base = base;
    if (!grow(list, (base == NULL ? 0 : base->count) + 2))
        goto done;
    if (base != NULL) {
        memcpy(list->fragments, base->fragments, base->count * sizeof(base->fragments[0]));
        list->count = base->count;
        list->place = base->place;
    }
    for (size_t i = 0; i < count; i++) {
        PT_ASSERT(pt_bytes_compare(deletes[i].low, deletes[i].high) < 0);
        PT_ASSERT(deletes[i].place > list->place);
        if (!insert(list, &deletes[i]))
            goto done;
    }
    trim(list);
    done = true;
done:
    if (!done) {
        pt_range_list_free(list);
        list = NULL;
    }
    return list;
}

void pt_range_list_free(struct pt_range_list *list)
{
    if (list == NULL)
        return;
    while (list->blocks != NULL) {
        struct block *next = list->blocks->next;

        pt_free(list->blocks);
        list->blocks = next;
    }
    pt_free(list->pieces);
    pt_free(list->fragments);
    pt_free(list);
}

void pt_range_list_free_all(struct pt_range_list *list)
{
    while (list != NULL) {
        struct pt_range_list *base = list->base;

        pt_range_list_free(list);
        list = base;
    }
}

/* ---- Reading ---- */

size_t pt_range_list_memory_size(const struct pt_range_list *list)
{
    return list->memory_size;
}

uint32_t pt_range_list_place(const struct pt_range_list *list)
{
    return list->place;
}

size_t pt_range_list_fragment_count(const struct pt_range_list *list)
{
    return list->count;
}

/* The newest of @p stamps with a commit up to @p commit; NULL: none. */
static const struct stamp *stamp_as_of(const struct stamp *stamps, uint64_t commit)
{
    while (stamps != NULL && stamps->commit > commit)
        stamps = stamps->older;
    return stamps;
}

uint32_t pt_range_list_find(const struct pt_range_list *list, struct peat_bytes key,
                            uint64_t commit)
{
    size_t i = first_above(list, key);
    const struct stamp *stamp;

    if (i == list->count || pt_bytes_compare(list->fragments[i].low, key) > 0)
        return 0;
    stamp = stamp_as_of(list->fragments[i].stamps, commit);
    return stamp == NULL ? 0 : stamp->place;
}

size_t pt_range_list_covers(const struct pt_range_list *list, uint64_t commit,
                            struct pt_range_cover *covers)
{
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct fragment *fragment = &list->fragments[i];
        const struct stamp *stamp = stamp_as_of(fragment->stamps, commit);

        if (stamp == NULL)
            continue;
        if (count > 0 && covers[count - 1].place == stamp->place &&
            pt_bytes_equal(covers[count - 1].high, fragment->low))
            covers[count - 1].high = fragment->high;
        else
            covers[count++] = (struct pt_range_cover){fragment->low, fragment->high, stamp->place};
    }
    return count;
}

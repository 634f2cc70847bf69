#include "tests/compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MANY = 100 /* entries or keys at once */
};

/* The first bytes of a key, readable. */
static const char *shown(struct peat_bytes key)
{
    static _Thread_local char text[2][96];
    static _Thread_local unsigned turn;
    char *place = text[turn++ % 2];
    const uint8_t *bytes = key.data;
    int used = snprintf(place, sizeof(text[0]), "%zu:", key.size);

    for (size_t i = 0; i < key.size && i < 20; i++)
        used += snprintf(place + used, sizeof(text[0]) - (size_t)used,
                         bytes[i] > ' ' && bytes[i] < 127 ? "%c" : "<%02x>", bytes[i]);
    return place;
}

static void require_key(struct peat_bytes found, struct peat_bytes expected, const char *where)
{
    if (!pt_same(found, expected))
        pt_test_fail(__FILE__, __LINE__, "%s: key %s instead of %s", where, shown(found),
                     shown(expected));
}

static void require_value(struct peat_bytes found, const struct pt_oracle_entry *expected,
                          const char *where)
{
    if (found.size != expected->value.size)
        pt_test_fail(__FILE__, __LINE__, "%s: key %s has a value of %zu bytes instead of %zu",
                     where, shown(expected->key), found.size, expected->value.size);
    if (!pt_value_matches(expected->value.seed, found))
        pt_test_fail(__FILE__, __LINE__, "%s: key %s has a wrong value of %zu bytes", where,
                     shown(expected->key), found.size);
}

static void require_entry(const struct peat_iterator *iterator,
                          const struct pt_oracle_entry *expected, bool keys_only, const char *where)
{
    require_key(peat_iterator_key(iterator), expected->key, where);
    if (!keys_only)
        require_value(peat_iterator_value(iterator), expected, where);
}

struct peat_bytes pt_compare_probe(const struct pt_oracle_view *view, struct pt_dice *dice,
                                   uint8_t buffer[PT_PROBE_SIZE])
{
    struct peat_bytes probe = {buffer, 0};

    if (view->count > 0 && !pt_dice_one_in(dice, 20)) {
        struct peat_bytes key = view->entries[pt_dice_below(dice, view->count)].key;

        if (pt_dice_one_in(dice, 2))
            return key;
        probe.size = key.size < PT_PROBE_SIZE ? key.size : PT_PROBE_SIZE - 1;
        memcpy(buffer, key.data, probe.size);
    }
    switch (pt_dice_below(dice, 5)) {
    case 0: /* just behind */
        buffer[probe.size++] = 0;
        break;
    case 1: /* a prefix */
        probe.size = pt_dice_below(dice, probe.size + 1);
        break;
    case 2: /* a neighbour in the last byte */
        if (probe.size > 0)
            buffer[probe.size - 1] =
                (uint8_t)(buffer[probe.size - 1] + (pt_dice_one_in(dice, 2) ? 1 : 255));
        break;
    case 3: /* another byte anywhere */
        if (probe.size > 0)
            buffer[pt_dice_below(dice, probe.size)] = (uint8_t)pt_dice_next(dice);
        break;
    default: /* anything short */
        probe.size = pt_dice_below(dice, 9);
        pt_value_fill(pt_dice_next(dice), buffer, probe.size);
        break;
    }
    return probe;
}

static struct peat_iterator *iterator_over(const struct peat_snapshot *snapshot,
                                           struct peat_collection *collection,
                                           const struct peat_range *range)
{
    struct peat_iterator *iterator = NULL;

    PT_REQUIRE_OK(peat_iterator_open(snapshot, collection, range, &iterator));
    PT_REQUIRE(iterator != NULL);
    return iterator;
}

static void scan_forward(struct peat_iterator *iterator, const struct pt_oracle_view *view)
{
    enum peat_status status = peat_iterator_first(iterator);

    for (size_t i = 0; i < view->count; i++) {
        if (status != PEAT_OK)
            pt_test_fail(__FILE__, __LINE__, "forward scan: %s after %zu of %zu entries; next: %s",
                         peat_status_name(status), i, view->count, shown(view->entries[i].key));
        require_entry(iterator, &view->entries[i], false, "forward scan");
        status = peat_iterator_next(iterator);
    }
    if (status == PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "forward scan: entry %s after the last of %zu",
                     shown(peat_iterator_key(iterator)), view->count);
    PT_REQUIRE_STATUS(status, PEAT_DONE);
}

static void scan_backward(struct peat_iterator *iterator, const struct pt_oracle_view *view)
{
    enum peat_status status = peat_iterator_last(iterator);

    for (size_t i = view->count; i > 0; i--) {
        if (status != PEAT_OK)
            pt_test_fail(__FILE__, __LINE__, "backward scan: %s with %zu of %zu entries to come",
                         peat_status_name(status), i, view->count);
        require_entry(iterator, &view->entries[i - 1], false, "backward scan");
        status = peat_iterator_previous(iterator);
    }
    if (status == PEAT_OK)
        pt_test_fail(__FILE__, __LINE__, "backward scan: entry %s before the first of %zu",
                     shown(peat_iterator_key(iterator)), view->count);
    PT_REQUIRE_STATUS(status, PEAT_DONE);
}

/* By arrays, with the entries of the previous array compared only after the next was filled: they
 * stay valid until the iterator is closed. */
static void scan_many(struct peat_iterator *iterator, const struct pt_oracle_view *view)
{
    struct peat_entry entries[2][MANY];
    size_t counts[2] = {0, 0};
    size_t done = 0;
    unsigned turn = 0;
    enum peat_status status = peat_iterator_first(iterator);

    for (;; turn ^= 1) {
        size_t *count = &counts[turn];
        const struct peat_entry *older = entries[turn ^ 1];

        *count = 0;
        if (status == PEAT_OK)
            status = peat_iterator_next_many(iterator, entries[turn], MANY, count);
        for (size_t i = 0; i < counts[turn ^ 1]; i++, done++) {
            PT_REQUIRE(done < view->count);
            require_key(older[i].key, view->entries[done].key, "next_many");
            require_value(older[i].value, &view->entries[done], "next_many");
        }
        if (*count == 0)
            break;
        PT_REQUIRE(status == PEAT_DONE || *count == MANY);
    }
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    if (done != view->count)
        pt_test_fail(__FILE__, __LINE__, "next_many: %zu of %zu entries", done, view->count);
}

void pt_compare_forward(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                        const struct pt_oracle_view *view)
{
    struct peat_iterator *iterator = iterator_over(snapshot, collection, NULL);

    scan_forward(iterator, view);
    peat_iterator_close(iterator);
}

void pt_compare_scan(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                     const struct pt_oracle_view *view)
{
    struct peat_iterator *iterator = iterator_over(snapshot, collection, NULL);

    scan_forward(iterator, view);
    scan_backward(iterator, view);
    scan_many(iterator, view);
    peat_iterator_close(iterator);
}

void pt_compare_lookups(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                        const struct pt_oracle_view *view, struct pt_dice *dice, size_t count)
{
    uint8_t(*buffers)[PT_PROBE_SIZE] = malloc(MANY * sizeof(*buffers));
    struct peat_bytes keys[MANY] = {{NULL, 0}};
    struct peat_bytes values[MANY];

    PT_REQUIRE(buffers != NULL);
    if (count > MANY)
        count = MANY;
    for (size_t i = 0; i < count; i++) {
        struct peat_bytes value = {&value, 77}; /* must stay where nothing is found */
        size_t index;
        bool present;

        keys[i] = pt_compare_probe(view, dice, buffers[i]);
        index = pt_oracle_view_seek(view, keys[i]);
        present = index < view->count && pt_same(view->entries[index].key, keys[i]);
        PT_REQUIRE_STATUS(peat_get(snapshot, collection, keys[i], &value),
                          present ? PEAT_OK : PEAT_NOT_FOUND);
        if (present)
            require_value(value, &view->entries[index], "get");
        else
            PT_REQUIRE(value.data == &value && value.size == 77);
    }
    PT_REQUIRE_OK(peat_get_many(snapshot, collection, keys, count, values));
    for (size_t i = 0; i < count; i++) {
        size_t index = pt_oracle_view_seek(view, keys[i]);
        bool present = index < view->count && pt_same(view->entries[index].key, keys[i]);

        if (present != (values[i].data != NULL))
            pt_test_fail(__FILE__, __LINE__, "get_many: key %s is %s", shown(keys[i]),
                         present ? "missing" : "there but should not be");
        if (present)
            require_value(values[i], &view->entries[index], "get_many");
    }
    free(buffers);
}

/* Where an iterator stands in a view: an index, or before the first (-1), or past the last (count).
 */
struct walk {
    struct peat_iterator *iterator;
    const struct pt_oracle_view *view;
    ptrdiff_t position;
    bool keys_only;
};

static bool walk_is_on_entry(const struct walk *walk)
{
    return walk->position >= 0 && walk->position < (ptrdiff_t)walk->view->count;
}

static void walk_arrive(const struct walk *walk, enum peat_status status, const char *move)
{
    bool on_entry = walk_is_on_entry(walk);

    if (status != (on_entry ? PEAT_OK : PEAT_DONE))
        pt_test_fail(__FILE__, __LINE__, "%s gives %s at position %td of %zu; last error: %s", move,
                     peat_status_name(status), walk->position, walk->view->count,
                     peat_last_error());
    if (on_entry)
        require_entry(walk->iterator, &walk->view->entries[walk->position], walk->keys_only, move);
}

static void walk_next(struct walk *walk)
{
    enum peat_status status = peat_iterator_next(walk->iterator);

    if (walk->position < (ptrdiff_t)walk->view->count)
        walk->position++;
    walk_arrive(walk, status, "next");
}

static void walk_previous(struct walk *walk)
{
    enum peat_status status = peat_iterator_previous(walk->iterator);

    if (walk->position >= 0)
        walk->position--;
    walk_arrive(walk, status, "previous");
}

static void walk_seek(struct walk *walk, struct pt_dice *dice)
{
    uint8_t buffer[PT_PROBE_SIZE];
    struct peat_bytes probe = pt_compare_probe(walk->view, dice, buffer);

    walk->position = (ptrdiff_t)pt_oracle_view_seek(walk->view, probe);
    walk_arrive(walk, peat_iterator_seek(walk->iterator, probe), "seek");
}

static void walk_seek_before(struct walk *walk, struct pt_dice *dice)
{
    uint8_t buffer[PT_PROBE_SIZE];
    struct peat_bytes probe = pt_compare_probe(walk->view, dice, buffer);
    size_t index = pt_oracle_view_seek(walk->view, probe);

    if (index == walk->view->count || !pt_same(walk->view->entries[index].key, probe))
        walk->position = (ptrdiff_t)index - 1;
    else
        walk->position = (ptrdiff_t)index;
    walk_arrive(walk, peat_iterator_seek_before(walk->iterator, probe), "seek_before");
}

static void walk_many(struct walk *walk, struct pt_dice *dice)
{
    struct peat_entry entries[MANY];
    size_t capacity = 1 + pt_dice_below(dice, pt_dice_one_in(dice, 4) ? MANY : 5);
    size_t count = 0;
    enum peat_status status;

    if (walk->position < 0) /* what it gives from before the first is not stated */
        return;
    status = peat_iterator_next_many(walk->iterator, entries, capacity, &count);
    for (size_t i = 0; i < count; i++, walk->position++) {
        PT_REQUIRE(walk_is_on_entry(walk));
        require_key(entries[i].key, walk->view->entries[walk->position].key, "next_many");
        if (!walk->keys_only)
            require_value(entries[i].value, &walk->view->entries[walk->position], "next_many");
    }
    PT_REQUIRE(count == capacity || walk->position == (ptrdiff_t)walk->view->count);
    walk_arrive(walk, status, "next_many");
}

void pt_compare_walk(struct peat_iterator *iterator, const struct pt_oracle_view *view,
                     struct pt_dice *dice, size_t count, bool keys_only)
{
    struct walk walk = {iterator, view, -1, keys_only};
    bool forward = true;

    switch (pt_dice_below(dice, 3)) {
    case 0:
        walk.position = 0;
        walk_arrive(&walk, peat_iterator_first(iterator), "first");
        break;
    case 1:
        walk.position = (ptrdiff_t)view->count - 1;
        walk_arrive(&walk, peat_iterator_last(iterator), "last");
        break;
    default:
        walk_seek(&walk, dice);
        break;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t move = pt_dice_below(dice, 24);

        if (move == 0)
            walk_seek(&walk, dice);
        else if (move == 1)
            walk_seek_before(&walk, dice);
        else if (move == 2)
            walk_many(&walk, dice);
        else if (move < 6)
            forward = !forward;
        else if (forward)
            walk_next(&walk);
        else
            walk_previous(&walk);
    }
}

void pt_compare_bounded(const struct peat_snapshot *snapshot, struct peat_collection *collection,
                        const struct pt_oracle_collection *model, struct pt_dice *dice,
                        size_t count)
{
    uint64_t commit = peat_snapshot_commit(snapshot);
    uint8_t low[PT_PROBE_SIZE];
    uint8_t high[PT_PROBE_SIZE];
    struct peat_range range = {{NULL, 0}, {NULL, 0}, 0};
    struct pt_oracle_view whole;
    struct pt_oracle_view view;
    struct peat_iterator *iterator;

    pt_oracle_view_init(&whole, model, commit, NULL);
    if (!pt_dice_one_in(dice, 3))
        range.low = pt_compare_probe(&whole, dice, low);
    if (!pt_dice_one_in(dice, 3))
        range.high = pt_compare_probe(&whole, dice, high);
    if (range.low.data != NULL && range.high.data != NULL &&
        pt_oracle_compare(range.low, range.high) > 0) {
        struct peat_bytes swapped = range.low;

        range.low = range.high;
        range.high = swapped;
    }
    if (pt_dice_one_in(dice, 4))
        range.flags = PEAT_KEYS_ONLY;
    pt_oracle_view_init(&view, model, commit, &range);
    iterator = iterator_over(snapshot, collection, &range);
    pt_compare_walk(iterator, &view, dice, count, range.flags == PEAT_KEYS_ONLY);
    peat_iterator_close(iterator);
    pt_oracle_view_fini(&view);
    pt_oracle_view_fini(&whole);
}

struct pt_tree {
    struct peat_collection *collection; /* NULL: the root */
    char *name;
    struct pt_tree *children;
    size_t child_count;
};

static bool child_add(void *context, const char *name)
{
    struct pt_tree *tree = context;
    struct pt_tree child = {NULL, strdup(name), NULL, 0};

    tree->children = realloc(tree->children, (tree->child_count + 1) * sizeof(child));
    PT_REQUIRE(tree->children != NULL && child.name != NULL);
    tree->children[tree->child_count++] = child;
    return true;
}

static void tree_fill(struct pt_tree *tree, struct peat_db *db,
                      const struct peat_snapshot *snapshot)
{
    PT_REQUIRE_OK(peat_collection_list(snapshot, tree->collection, child_add, tree));
    for (size_t i = 0; i < tree->child_count; i++) {
        struct pt_tree *child = &tree->children[i];

        PT_REQUIRE_OK(
            peat_collection_open(db, tree->collection, child->name, 0, &child->collection));
        tree_fill(child, db, snapshot);
    }
}

static void tree_fini(struct pt_tree *tree)
{
    for (size_t i = 0; i < tree->child_count; i++)
        tree_fini(&tree->children[i]);
    peat_collection_close(tree->collection);
    free(tree->children);
    free(tree->name);
}

struct pt_tree *pt_tree_open(struct peat_db *db, const struct peat_snapshot *snapshot)
{
    struct pt_tree *tree = calloc(1, sizeof(*tree));

    PT_REQUIRE(tree != NULL);
    tree_fill(tree, db, snapshot);
    return tree;
}

void pt_tree_close(struct pt_tree *tree)
{
    if (tree == NULL)
        return;
    tree_fini(tree);
    free(tree);
}

uint64_t pt_tree_fingerprint(const struct pt_tree *tree, const struct peat_snapshot *snapshot)
{
    struct peat_iterator *iterator = iterator_over(snapshot, tree->collection, NULL);
    enum peat_status status = peat_iterator_first(iterator);
    uint64_t print = 0;

    for (; status == PEAT_OK; status = peat_iterator_next(iterator))
        print = pt_oracle_fingerprint_entry(print, peat_iterator_key(iterator),
                                            peat_iterator_value(iterator));
    PT_REQUIRE_STATUS(status, PEAT_DONE);
    peat_iterator_close(iterator);
    for (size_t i = 0; i < tree->child_count; i++) {
        const struct pt_tree *child = &tree->children[i];

        print =
            pt_oracle_fingerprint_child(print, child->name, pt_tree_fingerprint(child, snapshot));
    }
    return print;
}

static void finding_report(void *context, const struct peat_finding *finding)
{
    (void)context;
    fprintf(stderr, "peat_check: %s (at %" PRIu64 ")\n", finding->what, finding->offset);
}

void pt_compare_check(struct peat_db *db)
{
    PT_REQUIRE_OK(peat_check(db, finding_report, NULL, NULL));
}

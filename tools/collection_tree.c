#include "tools/collection_tree.h"

#include "tools/collection_path.h"

#include <stdlib.h>
#include <string.h>

/* The collections still to be visited, the next one last. A list instead of recursion: how deep
 * collections nest is up to who wrote the store. */
struct walk {
    const struct pt_target *target;
    enum pt_exit (*visit)(void *context, struct peat_collection *collection,
                          struct peat_bytes path);
    void *context;            /* for visit */
    struct pt_textbuf *paths; /* heap */
    size_t count;
    size_t capacity;
    struct peat_bytes parent; /* the path of the one whose children are being listed */
    enum peat_status status;
};

static bool walk_push(struct walk *walk, struct peat_bytes parent, const char *name)
{
    struct pt_textbuf *path;

    if (walk->count == walk->capacity) {
        size_t capacity = walk->capacity == 0 ? 16 : 2 * walk->capacity;
        struct pt_textbuf *paths = realloc(walk->paths, capacity * sizeof(*paths));

        if (paths == NULL) {
            walk->status = PEAT_NO_MEMORY;
            return false;
        }
        walk->paths = paths;
        walk->capacity = capacity;
    }
    path = &walk->paths[walk->count++];
    pt_textbuf_init(path, SIZE_MAX / 4);
    pt_textbuf_append(path, parent.data, parent.size);
    if (name != NULL)
        pt_path_append(path, (struct peat_bytes){name, strlen(name)});
    walk->status = path->status;
    return walk->status == PEAT_OK;
}

static bool child_push(void *context, const char *name)
{
    struct walk *walk = context;
    return walk_push(walk, walk->parent, name);
}

/* Add the children of @p collection so that the first is visited next. */
static enum peat_status children_push(struct walk *walk, struct peat_collection *collection,
                                      struct peat_bytes path)
{
    size_t first = walk->count;
    enum peat_status status;

    walk->parent = path;
    status = peat_collection_list(walk->target->snapshot, collection, child_push, walk);
    if (status == PEAT_OK)
        status = walk->status;
    for (size_t i = first, k = walk->count; i + 1 < k; i++) {
        struct pt_textbuf other = walk->paths[--k];

        walk->paths[k] = walk->paths[i];
        walk->paths[i] = other;
    }
    return status;
}

/* Visit the collection at @p path and add its children. */
static enum pt_exit one_visit(struct walk *walk, struct peat_bytes path)
{
    struct peat_collection *collection = NULL;
    enum pt_exit outcome = PT_EXIT_DONE;
    enum peat_status status;

    status = pt_path_open_at(walk->target->snapshot, path, &collection);
    if (status == PEAT_OK)
        outcome = walk->visit(walk->context, collection, path);
    if (status == PEAT_OK && outcome == PT_EXIT_DONE)
        status = children_push(walk, collection, path);
    if (status != PEAT_OK)
        outcome = pt_complain_status(walk->target->store, status);
    peat_collection_close(collection);
    return outcome;
}

enum pt_exit pt_tree_walk(const struct pt_target *target,
                          enum pt_exit (*visit)(void *context, struct peat_collection *collection,
                                                struct peat_bytes path),
                          void *context)
{
    struct walk walk = {.target = target, .visit = visit, .context = context};
    enum pt_exit outcome = PT_EXIT_DONE;

    if (!walk_push(&walk, (struct peat_bytes){"", 0}, NULL))
        outcome = pt_complain_status(target->store, walk.status);
    while (walk.count > 0) {
        struct pt_textbuf path = walk.paths[--walk.count];

        if (outcome == PT_EXIT_DONE)
            outcome = one_visit(&walk, pt_textbuf_bytes(&path));
        pt_textbuf_fini(&path);
    }
    free(walk.paths);
    return outcome;
}

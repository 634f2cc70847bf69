#include "tools/collection_names.h"

#include "tools/collection_tree.h"

#include <stdlib.h>
#include <string.h>

enum { ROOT = 1 };

struct pt_collection_name {
    uint64_t number;
    char *path; /* owned */
    size_t size;
};

/* Where @p number stands, or would. */
static size_t place_of(const struct pt_collection_names *names, uint64_t number)
{
    size_t begin = 0;
    size_t end = names->count;

    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;

        if (names->names[middle].number < number)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

static bool has_at(const struct pt_collection_names *names, size_t place, uint64_t number)
{
    return place < names->count && names->names[place].number == number;
}

static bool grow(struct pt_collection_names *names)
{
    size_t capacity = names->capacity == 0 ? 16 : 2 * names->capacity;
    struct pt_collection_name *grown;

    if (names->count < names->capacity)
        return true;
    grown = realloc(names->names, capacity * sizeof(*grown));
    if (grown == NULL)
        return false;
    names->names = grown;
    names->capacity = capacity;
    return true;
}

bool pt_collection_names_add(struct pt_collection_names *names, uint64_t number,
                             struct peat_bytes path)
{
    size_t place = place_of(names, number);
    char *copy;

    if (has_at(names, place, number)) /* numbers are not used twice: it is the same */
        return true;
    copy = malloc(path.size + 1);
    if (copy == NULL || !grow(names)) {
        free(copy);
        return false;
    }
    if (path.size > 0)
        memcpy(copy, path.data, path.size);
    memmove(names->names + place + 1, names->names + place,
            (names->count - place) * sizeof(names->names[0]));
    names->names[place] = (struct pt_collection_name){number, copy, path.size};
    names->count++;
    return true;
}

struct peat_bytes pt_collection_names_find(const struct pt_collection_names *names, uint64_t number)
{
    size_t place = place_of(names, number);

    if (number == ROOT)
        return (struct peat_bytes){"", 0};
    if (!has_at(names, place, number))
        return (struct peat_bytes){NULL, 0};
    return (struct peat_bytes){names->names[place].path, names->names[place].size};
}

static enum pt_exit note(void *context, struct peat_collection *collection, struct peat_bytes path)
{
    if (pt_collection_names_add(context, peat_collection_number(collection), path))
        return PT_EXIT_DONE;
    pt_complain(NULL, "out of memory");
    return PT_EXIT_ERROR;
}

enum pt_exit pt_collection_names_load(struct pt_collection_names *names,
                                      const struct pt_target *target)
{
    return pt_tree_walk(target, note, names);
}

void pt_collection_names_fini(struct pt_collection_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i].path);
    free(names->names);
    *names = (struct pt_collection_names){NULL, 0, 0};
}

#include "tests/oracle.h"

#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

struct version {
    uint64_t commit;
    bool deleted;
    struct pt_oracle_value value;
};

struct pt_oracle_key {
    struct peat_bytes bytes;
    struct version *versions; /* oldest first */
    size_t version_count;
};

static void *grown(void *memory, size_t size)
{
    void *larger = realloc(memory, size);

    PT_REQUIRE(larger != NULL);
    return larger;
}

static struct pt_oracle_collection *collection_new(struct pt_oracle_collection *parent,
                                                   const char *name, uint64_t commit)
{
    struct pt_oracle_collection *collection = calloc(1, sizeof(*collection));

    PT_REQUIRE(collection != NULL);
    collection->parent = parent;
    collection->name = strdup(name);
    PT_REQUIRE(collection->name != NULL);
    collection->created = commit;
    collection->dropped = UINT64_MAX;
    return collection;
}

static void key_fini(struct pt_oracle_key *key)
{
    free((void *)(uintptr_t)key->bytes.data);
    free(key->versions);
}

static void collection_free(struct pt_oracle_collection *collection)
{
    for (size_t i = 0; i < collection->child_count; i++)
        collection_free(collection->children[i]);
    for (size_t i = 0; i < collection->key_count; i++)
        key_fini(&collection->keys[i]);
    free(collection->children);
    free(collection->keys);
    free(collection->name);
    free(collection);
}

struct pt_oracle_collection *pt_oracle_new(void)
{
    return collection_new(NULL, "", 0);
}

void pt_oracle_free(struct pt_oracle_collection *root)
{
    if (root != NULL)
        collection_free(root);
}

int pt_oracle_compare(struct peat_bytes a, struct peat_bytes b)
{
    const unsigned char *left = a.data;
    const unsigned char *right = b.data;
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(left, right, shared);

    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

bool pt_oracle_is_live(const struct pt_oracle_collection *collection, uint64_t commit)
{
    return collection->created <= commit && commit < collection->dropped;
}

struct pt_oracle_collection *pt_oracle_create(struct pt_oracle_collection *parent, const char *name,
                                              uint64_t commit)
{
    struct pt_oracle_collection *child = collection_new(parent, name, commit);

    parent->children =
        grown(parent->children, (parent->child_count + 1) * sizeof(struct pt_oracle_collection *));
    parent->children[parent->child_count++] = child;
    return child;
}

struct pt_oracle_collection *pt_oracle_find(struct pt_oracle_collection *parent, const char *name,
                                            uint64_t commit)
{
    for (size_t i = 0; i < parent->child_count; i++) {
        struct pt_oracle_collection *child = parent->children[i];

        if (pt_oracle_is_live(child, commit) && strcmp(child->name, name) == 0)
            return child;
    }
    return NULL;
}

void pt_oracle_drop(struct pt_oracle_collection *collection, uint64_t commit)
{
    if (collection->dropped != UINT64_MAX)
        return;
    collection->dropped = commit;
    for (size_t i = 0; i < collection->child_count; i++)
        pt_oracle_drop(collection->children[i], commit);
}

/* Index of the first key >= @p key. */
static size_t key_seek(const struct pt_oracle_collection *collection, struct peat_bytes key)
{
    size_t low = 0;
    size_t high = collection->key_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (pt_oracle_compare(collection->keys[middle].bytes, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct pt_oracle_key *key_find(const struct pt_oracle_collection *collection,
                                      struct peat_bytes key)
{
    size_t index = key_seek(collection, key);

    if (index == collection->key_count || !pt_same(collection->keys[index].bytes, key))
        return NULL;
    return &collection->keys[index];
}

static struct pt_oracle_key *key_insert(struct pt_oracle_collection *collection,
                                        struct peat_bytes bytes)
{
    size_t index = key_seek(collection, bytes);
    struct pt_oracle_key *key;
    char *copy;

    if (collection->key_count == collection->key_capacity) {
        collection->key_capacity = collection->key_capacity * 2 + 64;
        collection->keys =
            grown(collection->keys, collection->key_capacity * sizeof(struct pt_oracle_key));
    }
    key = &collection->keys[index];
    memmove(key + 1, key, (collection->key_count - index) * sizeof(*key));
    collection->key_count++;
    copy = grown(NULL, bytes.size + 1);
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    key->bytes.data = copy;
    key->bytes.size = bytes.size;
    key->versions = NULL;
    key->version_count = 0;
    return key;
}

/* The state of the key as of @p commit; NULL: it was never there. */
static const struct version *key_version(const struct pt_oracle_key *key, uint64_t commit)
{
    for (size_t i = key->version_count; i > 0; i--)
        if (key->versions[i - 1].commit <= commit)
            return &key->versions[i - 1];
    return NULL;
}

static void key_change(struct pt_oracle_key *key, struct version version)
{
    size_t count = key->version_count;

    if (count > 0 && key->versions[count - 1].commit == version.commit) {
        key->versions[count - 1] = version;
        return;
    }
    PT_REQUIRE(count == 0 || key->versions[count - 1].commit < version.commit);
    key->versions = grown(key->versions, (count + 1) * sizeof(version));
    key->versions[count] = version;
    key->version_count++;
}

void pt_oracle_put(struct pt_oracle_collection *collection, struct peat_bytes key,
                   struct pt_oracle_value value, uint64_t commit)
{
    struct pt_oracle_key *place = key_find(collection, key);
    struct version version = {.commit = commit, .value = value};

    if (place == NULL)
        place = key_insert(collection, key);
    key_change(place, version);
}

static void key_delete(struct pt_oracle_key *key, uint64_t commit)
{
    const struct version *newest = key_version(key, UINT64_MAX);
    struct version version = {.commit = commit, .deleted = true};

    if (newest != NULL && !newest->deleted)
        key_change(key, version);
}

void pt_oracle_delete(struct pt_oracle_collection *collection, struct peat_bytes key,
                      uint64_t commit)
{
    struct pt_oracle_key *place = key_find(collection, key);

    if (place != NULL)
        key_delete(place, commit);
}

void pt_oracle_delete_range(struct pt_oracle_collection *collection, struct peat_bytes low,
                            struct peat_bytes high, uint64_t commit)
{
    for (size_t i = low.data == NULL ? 0 : key_seek(collection, low); i < collection->key_count;
         i++) {
        if (high.data != NULL && pt_oracle_compare(collection->keys[i].bytes, high) >= 0)
            return;
        key_delete(&collection->keys[i], commit);
    }
}

bool pt_oracle_get(const struct pt_oracle_collection *collection, struct peat_bytes key,
                   uint64_t commit, struct pt_oracle_value *value_out)
{
    const struct pt_oracle_key *place = key_find(collection, key);
    const struct version *version = place == NULL ? NULL : key_version(place, commit);

    if (!pt_oracle_is_live(collection, commit) || version == NULL || version->deleted)
        return false;
    *value_out = version->value;
    return true;
}

void pt_oracle_view_init(struct pt_oracle_view *view, const struct pt_oracle_collection *collection,
                         uint64_t commit, const struct peat_range *range)
{
    bool has_low = range != NULL && range->low.data != NULL;
    bool has_high = range != NULL && range->high.data != NULL;

    view->entries = NULL;
    view->count = 0;
    if (!pt_oracle_is_live(collection, commit) || collection->key_count == 0)
        return;
    view->entries = grown(NULL, collection->key_count * sizeof(*view->entries));
    for (size_t i = has_low ? key_seek(collection, range->low) : 0; i < collection->key_count;
         i++) {
        const struct pt_oracle_key *key = &collection->keys[i];
        const struct version *version = key_version(key, commit);

        if (has_high && pt_oracle_compare(key->bytes, range->high) >= 0)
            break;
        if (version == NULL || version->deleted)
            continue;
        view->entries[view->count].key = key->bytes;
        view->entries[view->count].value = version->value;
        view->count++;
    }
}

void pt_oracle_view_fini(struct pt_oracle_view *view)
{
    free(view->entries);
    view->entries = NULL;
    view->count = 0;
}

size_t pt_oracle_view_seek(const struct pt_oracle_view *view, struct peat_bytes key)
{
    size_t low = 0;
    size_t high = view->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (pt_oracle_compare(view->entries[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t pt_oracle_fingerprint_entry(uint64_t start, struct peat_bytes key, struct peat_bytes value)
{
    return pt_fingerprint(pt_fingerprint(start, key), value);
}

/* A sum, so that the order in which children come does not count. */
uint64_t pt_oracle_fingerprint_child(uint64_t start, const char *name, uint64_t child)
{
    return start + pt_fingerprint(child, pt_text(name));
}

uint64_t pt_oracle_fingerprint(const struct pt_oracle_collection *collection, uint64_t commit)
{
    struct pt_oracle_view view;
    uint64_t print = 0;
    char *buffer = NULL;

    pt_oracle_view_init(&view, collection, commit, NULL);
    for (size_t i = 0; i < view.count; i++) {
        struct pt_oracle_value value = view.entries[i].value;
        struct peat_bytes bytes;

        buffer = grown(buffer, value.size + 1);
        pt_value_fill(value.seed, buffer, value.size);
        bytes.data = buffer;
        bytes.size = value.size;
        print = pt_oracle_fingerprint_entry(print, view.entries[i].key, bytes);
    }
    free(buffer);
    pt_oracle_view_fini(&view);
    for (size_t i = 0; i < collection->child_count; i++) {
        const struct pt_oracle_collection *child = collection->children[i];

        if (pt_oracle_is_live(child, commit))
            print = pt_oracle_fingerprint_child(print, child->name,
                                                pt_oracle_fingerprint(child, commit));
    }
    return print;
}

/* Drop the versions that a newer one hides from @p oldest on; true: nothing of the key is left. */
static bool key_prune(struct pt_oracle_key *key, uint64_t oldest)
{
    size_t kept = 0;

    while (kept + 1 < key->version_count && key->versions[kept + 1].commit <= oldest)
        kept++;
    key->version_count -= kept;
    memmove(key->versions, key->versions + kept, key->version_count * sizeof(*key->versions));
    return key->version_count == 1 && key->versions[0].deleted && key->versions[0].commit <= oldest;
}

/* Drop the versions after @p commit; true: nothing of the key is left. */
static bool key_rollback(struct pt_oracle_key *key, uint64_t commit)
{
    while (key->version_count > 0 && key->versions[key->version_count - 1].commit > commit)
        key->version_count--;
    return key->version_count == 0;
}

static void keys_filter(struct pt_oracle_collection *collection,
                        bool (*is_gone)(struct pt_oracle_key *, uint64_t), uint64_t commit)
{
    size_t kept = 0;

    for (size_t i = 0; i < collection->key_count; i++) {
        if (is_gone(&collection->keys[i], commit))
            key_fini(&collection->keys[i]);
        else
            collection->keys[kept++] = collection->keys[i];
    }
    collection->key_count = kept;
}

void pt_oracle_prune(struct pt_oracle_collection *root, uint64_t oldest)
{
    size_t kept = 0;

    keys_filter(root, key_prune, oldest);
    for (size_t i = 0; i < root->child_count; i++) {
        struct pt_oracle_collection *child = root->children[i];

        if (child->dropped <= oldest) {
            collection_free(child);
            continue;
        }
        pt_oracle_prune(child, oldest);
        root->children[kept++] = child;
    }
    root->child_count = kept;
}

void pt_oracle_rollback(struct pt_oracle_collection *root, uint64_t commit)
{
    size_t kept = 0;

    keys_filter(root, key_rollback, commit);
    if (root->dropped > commit)
        root->dropped = UINT64_MAX;
    for (size_t i = 0; i < root->child_count; i++) {
        struct pt_oracle_collection *child = root->children[i];

        if (child->created > commit) {
            collection_free(child);
            continue;
        }
        pt_oracle_rollback(child, commit);
        root->children[kept++] = child;
    }
    root->child_count = kept;
}

#include "tools/collection_path.h"

#include "tools/coding.h"

#include <stdio.h>
#include <string.h>

static void append_escaped(struct pt_textbuf *path, unsigned char byte)
{
    char escape[8];

    if (byte == '/' || byte == '\\')
        (void)snprintf(escape, sizeof(escape), "\\%c", byte);
    else
        (void)snprintf(escape, sizeof(escape), "\\x%02x", byte);
    pt_textbuf_append_string(path, escape);
}

void pt_path_append(struct pt_textbuf *path, struct peat_bytes name)
{
    const unsigned char *data = name.data;
    size_t i = 0;

    if (path->size > 0)
        pt_textbuf_push(path, '/');
    while (i < name.size) {
        size_t size = pt_utf8_size(data + i, name.size - i);

        if (size == 0 || data[i] == '/' || data[i] == '\\' || pt_utf8_is_control(data + i, size)) {
            append_escaped(path, data[i]);
            i++;
        } else {
            pt_textbuf_append(path, data + i, size);
            i += size;
        }
    }
}

/* The byte that the escape behind a backslash stands for; -1: none. Takes it off @p path. */
static int unescape(struct peat_bytes *path)
{
    const char *data = path->data;
    size_t taken = 1;
    int byte = -1;

    if (path->size >= 1 && (data[0] == '/' || data[0] == '\\')) {
        byte = data[0];
    } else if (path->size >= 3 && data[0] == 'x') {
        int high = pt_hex_digit(data[1]);
        int low = pt_hex_digit(data[2]);

        taken = 3;
        byte = high < 0 || low < 0 ? -1 : high << 4 | low;
    }
    if (byte >= 0) {
        path->data = data + taken;
        path->size -= taken;
    }
    return byte;
}

static int take_byte(struct peat_bytes *path)
{
    const char *data = path->data;

    path->data = data + 1;
    path->size--;
    return (unsigned char)data[0];
}

enum peat_status pt_path_next(struct peat_bytes *path, char name_out[PEAT_NAME_SIZE_MAX + 1])
{
    size_t size = 0;

    if (path->size == 0)
        return PEAT_DONE;
    while (path->size > 0) {
        int byte = take_byte(path);

        if (byte == '/') {
            if (path->size == 0) /* a name must follow */
                return PEAT_INVALID;
            break;
        }
        if (byte == '\\')
            byte = unescape(path);
        if (byte <= 0 || size == PEAT_NAME_SIZE_MAX)
            return PEAT_INVALID;
        name_out[size++] = (char)byte;
    }
    name_out[size] = '\0';
    return size == 0 ? PEAT_INVALID : PEAT_OK;
}

/* The path without the '/' that may lead it. */
static struct peat_bytes without_lead(struct peat_bytes path)
{
    if (path.size > 0 && ((const char *)path.data)[0] == '/')
        (void)take_byte(&path);
    return path;
}

bool pt_path_valid(struct peat_bytes path)
{
    char name[PEAT_NAME_SIZE_MAX + 1];
    enum peat_status status;

    path = without_lead(path);
    do
        status = pt_path_next(&path, name);
    while (status == PEAT_OK);
    return status == PEAT_DONE;
}

/* Where a path is walked: in a store, or as of a snapshot. */
struct place {
    struct peat_db *db;
    const struct peat_snapshot *snapshot; /* NULL: the store as it is */
    unsigned flags;                       /* for each name on the way */
};

static enum peat_status child_open(const struct place *place, struct peat_collection *parent,
                                   const char *name, struct peat_collection **child_out)
{
    if (place->snapshot != NULL)
        return peat_collection_open_at(place->snapshot, parent, name, child_out);
    return peat_collection_open(place->db, parent, name, place->flags, child_out);
}

static enum peat_status path_walk(const struct place *place, struct peat_collection *parent,
                                  struct peat_bytes path, struct peat_collection **collection_out)
{
    struct peat_collection *collection = NULL; /* ours; NULL while still at the parent */
    char name[PEAT_NAME_SIZE_MAX + 1];
    enum peat_status status;

    *collection_out = NULL;
    path = without_lead(path);
    while ((status = pt_path_next(&path, name)) == PEAT_OK) {
        struct peat_collection *child = NULL;

        status = child_open(place, collection == NULL ? parent : collection, name, &child);
        if (status != PEAT_OK)
            goto done;
        peat_collection_close(collection);
        collection = child;
    }
    if (status == PEAT_DONE)
        status = PEAT_OK;
    if (status == PEAT_OK) {
        *collection_out = collection;
        collection = NULL; /* the caller's now */
    }
done:
    peat_collection_close(collection);
    return status;
}

enum peat_status pt_path_open(struct peat_db *db, struct peat_collection *parent,
                              struct peat_bytes path, unsigned flags,
                              struct peat_collection **collection_out)
{
    const struct place place = {db, NULL, flags};

    return path_walk(&place, parent, path, collection_out);
}

enum peat_status pt_path_open_at(const struct peat_snapshot *snapshot, struct peat_bytes path,
                                 struct peat_collection **collection_out)
{
    const struct place place = {NULL, snapshot, 0};

    return path_walk(&place, NULL, path, collection_out);
}

#include "tools/feed_json.h"

#include "tools/collection_path.h"
#include "tools/json_write.h"
#include "tools/output.h"

#include <inttypes.h>
#include <string.h>

enum { PATH_MAX_SIZE = 1 << 20 /* bytes of a collection's path */ };

void pt_feed_json_init(struct pt_feed_json *json)
{
    memset(json, 0, sizeof(*json));
    pt_textbuf_init(&json->path, PATH_MAX_SIZE);
}

void pt_feed_json_fini(struct pt_feed_json *json)
{
    pt_collection_names_fini(&json->names);
    pt_textbuf_fini(&json->path);
}

static const char *const kinds[] = {[PEAT_OPERATION_PUT] = "put",
                                    [PEAT_OPERATION_DELETE] = "delete",
                                    [PEAT_OPERATION_DELETE_RANGE] = "delete_range",
                                    [PEAT_OPERATION_CREATE] = "create",
                                    [PEAT_OPERATION_DROP] = "drop"};

/* Which collection it is about, if not the root: by its path, or by its number where that is not known. */
static void collection_write(const struct pt_feed_json *json, uint64_t number)
{
    struct peat_bytes path = pt_collection_names_find(&json->names, number);

    if (path.data == NULL)
        pt_output_format(",\"collection_number\":%" PRIu64, number);
    if (path.size == 0)
        return;
    pt_output_byte(',');
    pt_json_path_write(path);
}

/* A collection comes or goes: its path, if that of its parent is known, and note it. False: no memory. */
static bool change_write(struct pt_feed_json *json, const struct peat_operation *operation)
{
    struct peat_bytes parent = pt_collection_names_find(&json->names, operation->parent);

    if (parent.data == NULL) {
        pt_output_format(",\"parent_number\":%" PRIu64 ",", operation->parent);
        pt_json_member_write("name", operation->key);
        return true;
    }
    pt_textbuf_clear(&json->path);
    pt_textbuf_append(&json->path, parent.data, parent.size);
    pt_path_append(&json->path, operation->key);
    pt_output_byte(',');
    pt_json_path_write(pt_textbuf_bytes(&json->path));
    if (json->path.status != PEAT_OK)
        return false;
    return operation->kind != PEAT_OPERATION_CREATE ||
           pt_collection_names_add(&json->names, operation->collection,
                                   pt_textbuf_bytes(&json->path));
}

static bool operation_write(struct pt_feed_json *json, const struct peat_record *record,
                            const struct peat_operation *operation, bool is_last)
{
    bool is_range = operation->kind == PEAT_OPERATION_DELETE_RANGE;
    bool done = true;

    pt_output_format("{\"commit\":%" PRIu64 ",\"time_us\":%" PRIu64 ",\"op\":\"%s\"",
                     record->commit, record->time_us, kinds[operation->kind]);
    if (operation->kind >= PEAT_OPERATION_CREATE) {
        done = change_write(json, operation);
    } else {
        collection_write(json, operation->collection);
        pt_output_byte(',');
        pt_json_member_write(is_range ? "from" : "key", operation->key);
    }
    if (operation->kind == PEAT_OPERATION_PUT || (is_range && operation->value.data != NULL)) {
        pt_output_byte(',');
        pt_json_member_write(is_range ? "below" : "value", operation->value);
    }
    pt_output_string(is_last ? ",\"last\":true}\n" : "}\n");
    return done;
}

enum peat_status pt_feed_json_write(struct pt_feed_json *json, const struct peat_record *record)
{
    struct peat_operation operation;
    struct peat_operation next;
    size_t place = 0;
    enum peat_status status = peat_record_operation(record, &place, &next);

    while (status == PEAT_OK) {
        operation = next;
        status = peat_record_operation(record, &place, &next);
        if (!operation_write(json, record, &operation, status != PEAT_OK))
            return PEAT_NO_MEMORY;
    }
    return status == PEAT_DONE ? PEAT_OK : status;
}

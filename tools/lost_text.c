#include "tools/lost_text.h"

#include "tools/coding.h"
#include "tools/collection_path.h"
#include "tools/json_write.h"
#include "tools/output.h"

#include <inttypes.h>
#include <string.h>

enum { ROOT = 1, CATALOGUE = 0 };

static void path_make(const struct peat_lost *lost, struct pt_textbuf *path)
{
    for (size_t i = 0; i < lost->name_count; i++)
        pt_path_append(path, (struct peat_bytes){lost->names[i], strlen(lost->names[i])});
}

static void bound_write(const char *before, struct peat_bytes key)
{
    if (key.data == NULL)
        return;
    pt_output_string(before);
    pt_output_byte('"');
    pt_escaped_write(key);
    pt_output_byte('"');
}

void pt_lost_write(const struct peat_lost *lost)
{
    struct pt_textbuf path;

    if (lost->collection == CATALOGUE) {
        pt_output_string("names of collections");
        return;
    }
    pt_textbuf_init(&path, SIZE_MAX);
    if (lost->collection == ROOT) {
        pt_output_string("root");
    } else if (!lost->is_named) {
        pt_output_format("collection number %" PRIu64, lost->collection);
    } else {
        path_make(lost, &path);
        pt_output_string("collection ");
        pt_output_write(path.data, path.size);
    }
    if (lost->keys.low.data == NULL && lost->keys.high.data == NULL)
        pt_output_string(": all keys");
    else
        pt_output_string(": keys");
    bound_write(" from ", lost->keys.low);
    bound_write(" to before ", lost->keys.high);
    pt_textbuf_fini(&path);
}

void pt_lost_json_write(const struct peat_lost *lost)
{
    struct pt_textbuf path;

    pt_textbuf_init(&path, SIZE_MAX);
    pt_output_format("{\"number\":%" PRIu64, lost->collection);
    if (lost->is_named) {
        path_make(lost, &path);
        pt_output_byte(',');
        pt_json_path_write((struct peat_bytes){path.data, path.size});
    }
    if (lost->keys.low.data != NULL) {
        pt_output_byte(',');
        pt_json_member_write("low", lost->keys.low);
    }
    if (lost->keys.high.data != NULL) {
        pt_output_byte(',');
        pt_json_member_write("high", lost->keys.high);
    }
    pt_output_byte('}');
    pt_textbuf_fini(&path);
}

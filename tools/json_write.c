#include "tools/json_write.h"

#include "tools/coding.h"
#include "tools/collection_path.h"
#include "tools/output.h"

#include <string.h>

/* The characters of a JSON string, controls escaped; @p bytes is UTF-8. */
static void characters_write(struct peat_bytes bytes)
{
    const unsigned char *data = bytes.data;
    size_t i = 0;

    while (i < bytes.size) {
        size_t plain = pt_plain_size(data + i, bytes.size - i);
        size_t size;

        pt_output_write(data + i, plain);
        i += plain;
        if (i == bytes.size)
            break;
        size = pt_utf8_size(data + i, bytes.size - i);
        if (data[i] == '"' || data[i] == '\\') {
            pt_output_byte('\\');
            pt_output_byte(data[i]);
        } else if (data[i] == '\n' || data[i] == '\t') {
            pt_output_string(data[i] == '\n' ? "\\n" : "\\t");
        } else if (pt_utf8_is_control(data + i, size)) {
            pt_output_format("\\u%04x", (unsigned)data[i + size - 1]);
        } else {
            pt_output_write(data + i, size);
        }
        i += size;
    }
}

void pt_json_member_write(const char *name, struct peat_bytes bytes)
{
    bool is_text = pt_utf8_valid(bytes);

    pt_output_format("\"%s%s\":\"", name, is_text ? "" : "64");
    if (is_text)
        characters_write(bytes);
    else
        pt_base64_write(bytes);
    pt_output_byte('"');
}

void pt_json_path_write(struct peat_bytes path)
{
    char name[PEAT_NAME_SIZE_MAX + 1];
    struct peat_bytes rest = path;
    bool is_text = true;
    bool is_first = true;

    while (pt_path_next(&rest, name) == PEAT_OK)
        is_text = is_text && pt_utf8_valid((struct peat_bytes){name, strlen(name)});
    pt_output_format("\"collection%s\":[", is_text ? "" : "64");
    while (pt_path_next(&path, name) == PEAT_OK) {
        struct peat_bytes bytes = {name, strlen(name)};

        pt_output_string(is_first ? "\"" : ",\"");
        is_first = false;
        if (is_text)
            characters_write(bytes);
        else
            pt_base64_write(bytes);
        pt_output_byte('"');
    }
    pt_output_byte(']');
}

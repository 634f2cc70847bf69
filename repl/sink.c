#include "repl/sink.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FORMATTED_MAX = 256, BASE64_MAX = 8192 };

void pt_sink_init(struct pt_sink *sink, bool (*write)(void *context, const char *text, size_t size),
                  void *context)
{
    sink->write = write;
    sink->context = context;
    sink->failed = false;
    sink->used = 0;
}

bool pt_sink_finish(struct pt_sink *sink)
{
    if (!sink->failed && sink->used > 0)
        sink->failed = !sink->write(sink->context, sink->buffer, sink->used);
    sink->used = 0;
    return !sink->failed;
}

void pt_sink_bytes(struct pt_sink *sink, const void *bytes, size_t size)
{
    const char *place = bytes;

    while (size > 0 && !sink->failed) {
        size_t room = sizeof(sink->buffer) - sink->used;
        size_t taken = size < room ? size : room;

        memcpy(sink->buffer + sink->used, place, taken);
        sink->used += taken;
        place += taken;
        size -= taken;
        if (sink->used == sizeof(sink->buffer))
            (void)pt_sink_finish(sink);
    }
}

void pt_sink_string(struct pt_sink *sink, const char *string)
{
    pt_sink_bytes(sink, string, strlen(string));
}

void pt_sink_format(struct pt_sink *sink, const char *format, ...)
{
    char text[FORMATTED_MAX];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    pt_sink_string(sink, text);
}

void pt_sink_hex(struct pt_sink *sink, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        pt_sink_format(sink, "%02x", bytes[i]);
}

/* ---- UTF-8 ---- */

/* How many bytes the character at @p text takes; 0: it is not UTF-8. A NUL ends it, and is no part of a character. */
static size_t character_size(const unsigned char *text)
{
    static const struct {
        unsigned char mask, lead;
        unsigned first; /* the lowest that is not to be said shorter */
    } kinds[] = {{0x80, 0, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

    for (size_t more = 0; more < 4; more++) {
        unsigned code = text[0] & (unsigned char)~kinds[more].mask;

        if ((text[0] & kinds[more].mask) != kinds[more].lead)
            continue;
        for (size_t i = 1; i <= more; i++) {
            if ((text[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (text[i] & 0x3f);
        }
        return code < kinds[more].first || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)
                   ? 0
                   : more + 1;
    }
    return 0;
}

static bool is_utf8(const char *name)
{
    size_t size = 1;

    for (; *name != '\0' && size > 0; name += size)
        size = character_size((const unsigned char *)name);
    return size > 0;
}

static void base64(struct pt_sink *sink, const char *name)
{
    char text[BASE64_MAX];
    size_t size = strlen(name);

    if (size > BASE64_MAX / 2) /* a path, at most: cut, for it says something all the same */
        size = BASE64_MAX / 2;
    (void)sodium_bin2base64(text, sizeof(text), (const unsigned char *)name, size,
                            sodium_base64_VARIANT_ORIGINAL);
    pt_sink_string(sink, text);
}

void pt_sink_shown(struct pt_sink *sink, const char *name)
{
    while (*name != '\0') {
        const unsigned char *place = (const unsigned char *)name;
        size_t size = character_size(place);
        /* U+0080 to U+009F drive terminals, too. */
        bool is_control = place[0] < ' ' || place[0] == 0x7f ||
                          (place[0] == 0xc2 && size == 2 && place[1] < 0xa0);

        if (size > 0 && !is_control) {
            pt_sink_bytes(sink, name, size);
        } else {
            size = size == 0 ? 1 : size;
            for (size_t i = 0; i < size; i++)
                pt_sink_format(sink, "\\x%02x", place[i]);
        }
        name += size;
    }
}

void pt_sink_json(struct pt_sink *sink, const char *member, const char *name)
{
    bool is_text = is_utf8(name);

    pt_sink_format(sink, "\"%s%s\":\"", member, is_text ? "" : "64");
    if (!is_text)
        base64(sink, name);
    for (; is_text && *name != '\0'; name++) {
        if ((unsigned char)*name < ' ' || *name == 0x7f)
            pt_sink_format(sink, "\\u%04x", (unsigned)*name);
        else if (*name == '"' || *name == '\\')
            pt_sink_format(sink, "\\%c", *name);
        else
            pt_sink_bytes(sink, name, 1);
    }
    pt_sink_string(sink, "\"");
}

void pt_sink_label(struct pt_sink *sink, const char *member, const char *name)
{
    bool is_text = is_utf8(name);

    pt_sink_format(sink, "%s%s=\"", member, is_text ? "" : "64");
    if (!is_text)
        base64(sink, name);
    for (; is_text && *name != '\0'; name++) {
        if (*name == '\n')
            pt_sink_string(sink, "\\n");
        else if (*name == '"' || *name == '\\')
            pt_sink_format(sink, "\\%c", *name);
        else
            pt_sink_bytes(sink, name, 1);
    }
    pt_sink_string(sink, "\"");
}

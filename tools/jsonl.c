/* JSON lines: one object per line, with base64 where bytes are not UTF-8. */
#include "tools/coding.h"
#include "tools/collection_path.h"
#include "tools/entry_text.h"
#include "tools/json_write.h"
#include "tools/output.h"

#include <string.h>

/* A JSON string ends or needs care at these: the quote, the backslash, and the controls. */
static const bool string_stops[256] = {
    true, true, true, true, true, true, true, true, true,         true,         true, true,
    true, true, true, true, true, true, true, true, true,         true,         true, true,
    true, true, true, true, true, true, true, true, ['"'] = true, ['\\'] = true};

enum member { MEMBER_KEY = 1, MEMBER_VALUE = 2, MEMBER_COLLECTION = 4 };

static const struct {
    const char *name;
    enum member member;
    bool is_base64;
} members[] = {
    {"key", MEMBER_KEY, false},
    {"key64", MEMBER_KEY, true},
    {"value", MEMBER_VALUE, false},
    {"value64", MEMBER_VALUE, true},
    {"collection", MEMBER_COLLECTION, false},
    {"collection64", MEMBER_COLLECTION, true},
};
enum { MEMBER_COUNT = sizeof(members) / sizeof(members[0]) };

static size_t blanks_skip(const char *data, size_t size)
{
    size_t i = 0;

    while (i < size && (data[i] == ' ' || data[i] == '\t' || data[i] == '\r'))
        i++;
    return i;
}

static bool json_recognize(struct peat_bytes first_line)
{
    const char *data = first_line.data;
    size_t i = blanks_skip(data, first_line.size);

    if (i == first_line.size || data[i] != '{')
        return false;
    i++;
    i += blanks_skip(data + i, first_line.size - i);
    return i < first_line.size && (data[i] == '"' || data[i] == '}');
}

/* The next byte that is not blank; not taken. */
static int token_peek(struct pt_source *source)
{
    int byte = pt_source_peek(source);

    while (byte == ' ' || byte == '\t' || byte == '\r') {
        (void)pt_source_get(source);
        byte = pt_source_peek(source);
    }
    return byte;
}

/* Take the token @p wanted; @p where ends the complaint if something else is there. */
static bool token_expect(struct pt_entry_reader *reader, int wanted, const char *where)
{
    int byte = token_peek(&reader->source);

    if (byte == PT_SOURCE_END || byte == '\n')
        return pt_entry_reader_bad(reader, "the line ends where '%c' is wanted %s", wanted, where);
    if (byte != wanted)
        return pt_entry_reader_bad(reader, "'%c' is wanted %s", wanted, where);
    (void)pt_source_get(&reader->source);
    return true;
}

/* Take the four digits of \uXXXX; -1: they are not there. */
static int unicode_digits(struct pt_source *source)
{
    int code = 0;

    for (int i = 0; i < 4; i++) {
        int digit = pt_hex_digit(pt_source_peek(source));

        if (digit < 0)
            return -1;
        (void)pt_source_get(source);
        code = code << 4 | digit;
    }
    return code;
}

/* Take what follows \u: a character, or the two halves of one above U+FFFF. */
static bool unicode_read(struct pt_entry_reader *reader, struct pt_textbuf *text)
{
    struct pt_source *source = &reader->source;
    int code = unicode_digits(source);

    if (code >= 0xd800 && code < 0xdc00) {
        int low = -1;

        if (pt_source_peek(source) == '\\') {
            (void)pt_source_get(source);
            if (pt_source_peek(source) == 'u') {
                (void)pt_source_get(source);
                low = unicode_digits(source);
            }
        }
        code =
            low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : -1;
    } else if (code >= 0xdc00 && code < 0xe000) {
        code = -1;
    }
    if (code < 0)
        return pt_entry_reader_bad(reader, "bad \\u escape in a string");
    pt_utf8_append(text, (unsigned)code);
    return true;
}

/* Take what follows a backslash. */
static bool escape_read(struct pt_entry_reader *reader, struct pt_textbuf *text)
{
    static const char names[] = "\"\\/bfnrt";
    static const char bytes[] = "\"\\/\b\f\n\r\t";
    int byte = pt_source_peek(&reader->source);
    const char *place = byte <= 0 ? NULL : strchr(names, byte);

    if (byte != 'u' && place == NULL)
        return pt_entry_reader_bad(reader, "unknown escape in a string");
    (void)pt_source_get(&reader->source);
    if (byte == 'u')
        return unicode_read(reader, text);
    pt_textbuf_push(text, bytes[place - names]);
    return true;
}

/* Take a string with its quotes. */
static bool string_read(struct pt_entry_reader *reader, struct pt_textbuf *text, const char *where)
{
    int stop;

    if (!token_expect(reader, '"', where))
        return false;
    while ((stop = pt_source_span(&reader->source, string_stops, text)) == '\\') {
        (void)pt_source_get(&reader->source);
        if (!escape_read(reader, text))
            return false;
    }
    if (stop == PT_SOURCE_END || stop == '\n')
        return pt_entry_reader_bad(reader, "the line ends inside a string");
    if (stop != '"')
        return pt_entry_reader_bad(reader, "control character %d in a string; write \\u%04x", stop,
                                   (unsigned)stop);
    (void)pt_source_get(&reader->source);
    return true;
}

/* Take the string of member @p name and turn it into bytes. */
static bool bytes_read(struct pt_entry_reader *reader, struct pt_textbuf *text, const char *name,
                       bool is_base64)
{
    if (!string_read(reader, text, "to start a string"))
        return false;
    if (text->status != PEAT_OK)
        return true; /* what it holds is cut, and reported as that */
    if (is_base64 && !pt_base64_decode(text))
        return pt_entry_reader_bad(reader, "\"%s\" is not base64", name);
    if (!is_base64 && !pt_utf8_valid(pt_textbuf_bytes(text)))
        return pt_entry_reader_bad(reader, "\"%s\" is not UTF-8; use \"%s64\" with base64", name,
                                   name);
    return true;
}

/* Take the array of names from the root down to the collection. */
static bool path_read(struct pt_entry_reader *reader, const char *name, bool is_base64)
{
    struct pt_textbuf *scratch = &reader->scratch;

    if (!token_expect(reader, '[', "to start the collection's array of names"))
        return false;
    if (token_peek(&reader->source) == ']') {
        (void)pt_source_get(&reader->source);
        return true;
    }
    for (;;) {
        pt_textbuf_clear(scratch);
        if (!bytes_read(reader, scratch, name, is_base64))
            return false;
        if (scratch->size == 0 || scratch->size > PEAT_NAME_SIZE_MAX ||
            memchr(scratch->data, 0, scratch->size) != NULL)
            return pt_entry_reader_bad(reader, "a collection's name has 1 to %zu bytes, none zero",
                                       PEAT_NAME_SIZE_MAX);
        pt_path_append(&reader->path, pt_textbuf_bytes(scratch));
        if (token_peek(&reader->source) != ',')
            return token_expect(reader, ']', "to end the collection's array of names");
        (void)pt_source_get(&reader->source);
    }
}

/* Take one "name": value; adds it to *@p seen. */
static bool member_read(struct pt_entry_reader *reader, unsigned *seen)
{
    struct pt_textbuf *scratch = &reader->scratch;
    size_t which = 0;

    pt_textbuf_clear(scratch);
    if (!string_read(reader, scratch, "to start a member's name"))
        return false;
    while (which < MEMBER_COUNT && !pt_text_is(pt_textbuf_bytes(scratch), members[which].name))
        which++;
    if (which == MEMBER_COUNT)
        return pt_entry_reader_bad(
            reader, "unknown member; known are key, key64, value, value64, collection");
    if ((*seen & members[which].member) != 0)
        return pt_entry_reader_bad(reader, "\"%s\" comes twice", members[which].name);
    *seen |= members[which].member;
    if (!token_expect(reader, ':', "behind a member's name"))
        return false;
    if (members[which].member == MEMBER_COLLECTION)
        return path_read(reader, members[which].name, members[which].is_base64);
    return bytes_read(reader, members[which].member == MEMBER_KEY ? &reader->key : &reader->value,
                      members[which].name, members[which].is_base64);
}

/* Take an object, and check that the line ends behind it. */
static bool object_read(struct pt_entry_reader *reader, unsigned *seen)
{
    struct pt_source *source = &reader->source;
    int byte;

    if (!token_expect(reader, '{', "to start an object"))
        return false;
    if (token_peek(source) == '}') {
        (void)pt_source_get(source);
    } else {
        for (;;) {
            if (!member_read(reader, seen))
                return false;
            if (token_peek(source) != ',')
                break;
            (void)pt_source_get(source);
        }
        if (!token_expect(reader, '}', "to end the object"))
            return false;
    }
    byte = token_peek(source);
    if (byte != '\n' && byte != PT_SOURCE_END)
        return pt_entry_reader_bad(reader, "something follows the object on its line");
    if (*seen != MEMBER_COLLECTION && (*seen & MEMBER_KEY) == 0)
        return pt_entry_reader_bad(reader, "no \"key\"");
    if (*seen != MEMBER_COLLECTION && (*seen & MEMBER_VALUE) == 0)
        return pt_entry_reader_bad(reader, "no \"value\"");
    return true;
}

static enum pt_read json_read(struct pt_entry_reader *reader)
{
    struct pt_source *source = &reader->source;
    unsigned seen = 0;
    bool is_good;

    while (token_peek(source) == '\n')
        (void)pt_source_get(source);
    reader->line = source->line;
    if (pt_source_peek(source) == PT_SOURCE_END)
        return PT_READ_END;
    pt_textbuf_clear(&reader->path);
    is_good = object_read(reader, &seen);
    pt_source_skip_line(source);
    if (!is_good)
        return PT_READ_BAD;
    return seen == MEMBER_COLLECTION ? PT_READ_COLLECTION : PT_READ_ENTRY;
}

/* A line of its own for each collection but the root, so that empty ones are not lost. */
static void json_begin(const struct pt_entry_writer *writer)
{
    if (writer->path.size == 0)
        return;
    pt_output_byte('{');
    pt_json_path_write(writer->path);
    pt_output_string("}\n");
}

static void json_write(const struct pt_entry_writer *writer, struct peat_bytes key,
                       struct peat_bytes value)
{
    pt_output_byte('{');
    if (writer->path.size > 0) {
        pt_json_path_write(writer->path);
        pt_output_byte(',');
    }
    pt_json_member_write("key", key);
    if (!writer->keys_only) {
        pt_output_byte(',');
        pt_json_member_write("value", value);
    }
    pt_output_string("}\n");
}

const struct pt_text_format pt_text_json = {.name = "json",
                                            .recognize = json_recognize,
                                            .read = json_read,
                                            .begin = json_begin,
                                            .write = json_write};

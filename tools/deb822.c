/* Debian's Packages files: stanzas of "Field: value" lines with empty lines between them. The key
 * is the package's name and its version with a space between, the value is the stanza. */
#include "tools/entry_text.h"

#include <string.h>
#include <strings.h>

static bool deb822_recognize(struct peat_bytes first_line)
{
    return pt_text_starts(first_line, "Package:");
}

/* Set @p text to what follows the colon, without the blanks around it. */
static void field_value(struct pt_textbuf *text, const char *value, size_t size)
{
    while (size > 0 && (value[0] == ' ' || value[0] == '\t')) {
        value++;
        size--;
    }
    while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t'))
        size--;
    pt_textbuf_clear(text);
    pt_textbuf_append(text, value, size);
}

/* Look at one line of a stanza, and keep the package's name and version. */
static bool field_read(struct pt_entry_reader *reader, const char *line, size_t size)
{
    const char *colon;
    size_t name_size;

    if (size > 0 && (line[0] == ' ' || line[0] == '\t'))
        return reader->line != reader->source.line - 1 ||
               pt_entry_reader_bad(reader, "a stanza starts with a continuation line");
    colon = memchr(line, ':', size);
    if (colon == NULL || colon == line)
        return pt_entry_reader_bad(reader, "a line of a stanza is 'Field: value'");
    name_size = (size_t)(colon - line);
    if (name_size == 7 && strncasecmp(line, "Package", 7) == 0)
        field_value(&reader->scratch, colon + 1, size - name_size - 1);
    if (name_size == 7 && strncasecmp(line, "Version", 7) == 0)
        field_value(&reader->last, colon + 1, size - name_size - 1);
    return true;
}

/* Take the lines of a stanza to the empty line behind it, also those after a bad one. */
static bool stanza_read(struct pt_entry_reader *reader)
{
    struct pt_source *source = &reader->source;
    struct pt_textbuf *value = &reader->value;
    bool is_good = true;

    while (pt_source_peek(source) != '\n' && pt_source_peek(source) != PT_SOURCE_END) {
        size_t start = value->size;
        uint64_t line = source->line;

        (void)pt_source_line(source, value);
        /* A value that has outgrown its limit holds no line any more. */
        if (is_good && value->status == PEAT_OK &&
            !field_read(reader, value->data + start, value->size - start)) {
            is_good = false;
            reader->line = line;
        }
        pt_textbuf_push(value, '\n');
    }
    return is_good;
}

static enum pt_read deb822_read(struct pt_entry_reader *reader)
{
    struct pt_source *source = &reader->source;

    while (pt_source_peek(source) == '\n')
        (void)pt_source_get(source);
    reader->line = source->line;
    if (pt_source_peek(source) == PT_SOURCE_END)
        return PT_READ_END;
    pt_textbuf_clear(&reader->last);
    if (!stanza_read(reader))
        return PT_READ_BAD;
    if (reader->value.status == PEAT_OK && (reader->scratch.size == 0 || reader->last.size == 0)) {
        (void)pt_entry_reader_bad(reader, "a stanza without %s",
                                  reader->scratch.size == 0 ? "Package" : "Version");
        return PT_READ_BAD;
    }
    pt_textbuf_append(&reader->key, reader->scratch.data, reader->scratch.size);
    pt_textbuf_push(&reader->key, ' ');
    pt_textbuf_append(&reader->key, reader->last.data, reader->last.size);
    return PT_READ_ENTRY;
}

const struct pt_text_format pt_text_deb822 = {.name = "deb822",
                                              .recognize = deb822_recognize,
                                              .read = deb822_read};

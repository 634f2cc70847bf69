/* Tab-separated lines, with escapes or in hexadecimal: scan's text, and the simplest to write. */
#include "tools/coding.h"
#include "tools/entry_text.h"
#include "tools/output.h"

#include <string.h>

static const bool key_stops[256] = {['\t'] = true, ['\n'] = true, ['\\'] = true};
static const bool value_stops[256] = {['\n'] = true, ['\\'] = true};

static bool tsv_recognize(struct peat_bytes first_line)
{
    return memchr(first_line.data, '\t', first_line.size) != NULL;
}

/* Take the two digits of \xHH. */
static bool hex_escape_read(struct pt_entry_reader *reader, struct pt_textbuf *text)
{
    int byte = 0;

    for (int i = 0; i < 2; i++) {
        int digit = pt_hex_digit(pt_source_peek(&reader->source));

        if (digit < 0)
            return pt_entry_reader_bad(reader, "\\x needs two hexadecimal digits");
        (void)pt_source_get(&reader->source);
        byte = byte << 4 | digit;
    }
    pt_textbuf_push(text, byte);
    return true;
}

/* Take what follows a backslash. */
static bool escape_read(struct pt_entry_reader *reader, struct pt_textbuf *text)
{
    int byte = pt_source_peek(&reader->source);

    if (byte == PT_SOURCE_END || byte == '\n')
        return pt_entry_reader_bad(reader, "the line ends in a lone backslash");
    if (byte != 't' && byte != 'n' && byte != '\\' && byte != 'x')
        return pt_entry_reader_bad(reader, "unknown escape; known are \\t \\n \\\\ \\xHH");
    (void)pt_source_get(&reader->source);
    if (byte == 'x')
        return hex_escape_read(reader, text);
    pt_textbuf_push(text, byte == 't' ? '\t' : (byte == 'n' ? '\n' : '\\'));
    return true;
}

static bool field_read(struct pt_entry_reader *reader, const bool stops[256],
                       struct pt_textbuf *text)
{
    while (pt_source_span(&reader->source, stops, text) == '\\') {
        (void)pt_source_get(&reader->source);
        if (!escape_read(reader, text))
            return false;
    }
    return true;
}

static bool line_read(struct pt_entry_reader *reader)
{
    if (!field_read(reader, key_stops, &reader->key))
        return false;
    if (pt_source_peek(&reader->source) != '\t')
        return pt_entry_reader_bad(reader, "no tab between key and value");
    (void)pt_source_get(&reader->source);
    return field_read(reader, value_stops, &reader->value);
}

static enum pt_read tsv_read(struct pt_entry_reader *reader)
{
    struct pt_source *source = &reader->source;
    bool is_good;

    while (pt_source_peek(source) == '\n')
        (void)pt_source_get(source);
    reader->line = source->line;
    if (pt_source_peek(source) == PT_SOURCE_END)
        return PT_READ_END;
    is_good = line_read(reader);
    pt_source_skip_line(source);
    return is_good ? PT_READ_ENTRY : PT_READ_BAD;
}

static void line_write(const struct pt_entry_writer *writer, struct peat_bytes key,
                       struct peat_bytes value, void (*field_write)(struct peat_bytes bytes))
{
    field_write(key);
    if (!writer->keys_only) {
        pt_output_byte('\t');
        field_write(value);
    }
    pt_output_byte('\n');
}

static void tsv_write(const struct pt_entry_writer *writer, struct peat_bytes key,
                      struct peat_bytes value)
{
    line_write(writer, key, value, pt_escaped_write);
}

static void hex_write(const struct pt_entry_writer *writer, struct peat_bytes key,
                      struct peat_bytes value)
{
    line_write(writer, key, value, pt_hex_write);
}

const struct pt_text_format pt_text_tsv = {.name = "tsv",
                                           .recognize = tsv_recognize,
                                           .read = tsv_read,
                                           .write = tsv_write};

const struct pt_text_format pt_text_hex = {.name = "hex", .write = hex_write};

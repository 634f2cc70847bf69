/* The text of mdb_dump and db_dump: a header, then keys and values on lines of their own. */
#include "tools/coding.h"
#include "tools/collection_path.h"
#include "tools/entry_text.h"
#include "tools/output.h"

#include <inttypes.h>
#include <string.h>

static const bool print_stops[256] = {['\n'] = true, ['\\'] = true};

static bool dump_recognize(struct peat_bytes first_line)
{
    return pt_text_starts(first_line, "VERSION=");
}

/* What follows "database=". */
static bool database_read(struct pt_entry_reader *reader, struct peat_bytes line)
{
    const char *name = (const char *)line.data + strlen("database=");

    pt_textbuf_clear(&reader->path);
    pt_textbuf_append(&reader->path, name, line.size - strlen("database="));
    if (pt_path_valid(pt_textbuf_bytes(&reader->path)))
        return true;
    return pt_entry_reader_bad(reader, "database= names no collection; write '\\/' for a '/' and "
                                       "'\\\\' for a '\\' in a name");
}

/* One line of the header. Words that say nothing about the entries (mapsize, db_pagesize and the
 * like) are passed over. */
static bool header_line_read(struct pt_entry_reader *reader, struct peat_bytes line)
{
    if (pt_text_is(line, "VERSION=3") || pt_text_is(line, "type=btree") ||
        pt_text_is(line, "type=hash") || pt_text_is(line, "keys=1"))
        return true;
    if (pt_text_is(line, "format=print") || pt_text_is(line, "format=bytevalue")) {
        reader->is_print = pt_text_is(line, "format=print");
        return true;
    }
    if (pt_text_is(line, "duplicates=1") || pt_text_is(line, "dupsort=1"))
        reader->may_repeat = true;
    if (pt_text_starts(line, "database="))
        return database_read(reader, line);
    if (pt_text_starts(line, "VERSION="))
        return pt_entry_reader_bad(reader, "only VERSION=3 is known");
    if (pt_text_starts(line, "format="))
        return pt_entry_reader_bad(reader, "only format=bytevalue and format=print are known");
    if (pt_text_starts(line, "type=") || pt_text_starts(line, "keys="))
        return pt_entry_reader_bad(reader, "a dump without keys cannot be loaded; dump it with -k");
    if (memchr(line.data, '=', line.size) == NULL)
        return pt_entry_reader_bad(reader, "a line without '=' in the header");
    return true;
}

/* The header up to HEADER=END. PT_READ_END: there is none, because the text ends. */
static enum pt_read header_read(struct pt_entry_reader *reader)
{
    struct pt_source *source = &reader->source;
    struct pt_textbuf *line = &reader->scratch;
    bool is_first = true;

    pt_textbuf_clear(&reader->path);
    reader->is_print = false;
    reader->may_repeat = false;
    reader->has_last = false;
    for (;;) {
        reader->line = source->line;
        pt_textbuf_clear(line);
        if (!pt_source_line(source, line)) {
            if (is_first)
                return PT_READ_END;
            (void)pt_entry_reader_bad(reader, "the text ends inside a header");
            return PT_READ_BROKEN;
        }
        if (line->size == 0 && line->status == PEAT_OK && is_first)
            continue;
        if (pt_text_is(pt_textbuf_bytes(line), "HEADER=END"))
            break;
        if (is_first && !dump_recognize(pt_textbuf_bytes(line))) {
            (void)pt_entry_reader_bad(reader, "a header starts with VERSION=3");
            return PT_READ_BROKEN;
        }
        is_first = false;
        if (!header_line_read(reader, pt_textbuf_bytes(line)))
            return PT_READ_BROKEN;
    }
    reader->in_section = true;
    return PT_READ_COLLECTION;
}

/* Take two hexadecimal digits and append their byte. */
static bool digits_read(struct pt_entry_reader *reader, struct pt_textbuf *text)
{
    struct pt_source *source = &reader->source;
    int high = pt_hex_digit(pt_source_peek(source));
    int low;

    if (high < 0)
        return pt_entry_reader_bad(reader, "not a hexadecimal digit");
    (void)pt_source_get(source);
    low = pt_hex_digit(pt_source_peek(source));
    if (low < 0)
        return pt_entry_reader_bad(reader, "a byte takes two hexadecimal digits");
    (void)pt_source_get(source);
    pt_textbuf_push(text, high << 4 | low);
    return true;
}

static bool bytevalue_read(struct pt_entry_reader *reader, struct pt_textbuf *text)
{
    int byte;

    while ((byte = pt_source_peek(&reader->source)) != '\n' && byte != PT_SOURCE_END) {
        if (!digits_read(reader, text))
            return false;
    }
    return true;
}

static bool print_read(struct pt_entry_reader *reader, struct pt_textbuf *text)
{
    while (pt_source_span(&reader->source, print_stops, text) == '\\') {
        (void)pt_source_get(&reader->source);
        if (pt_source_peek(&reader->source) == '\\')
            pt_textbuf_push(text, pt_source_get(&reader->source));
        else if (!digits_read(reader, text)) /* as old versions of mdb_dump write */
            return pt_entry_reader_bad(reader, "a backslash alone, where \\\\ or \\ and two "
                                               "hexadecimal digits belong; dump without -p");
    }
    return true;
}

/* Take a line of data, of which the space in front is already known to be there. */
static bool data_read(struct pt_entry_reader *reader, struct pt_textbuf *text)
{
    bool is_good;

    (void)pt_source_get(&reader->source);
    is_good = reader->is_print ? print_read(reader, text) : bytevalue_read(reader, text);
    pt_source_skip_line(&reader->source);
    return is_good;
}

/* Take a key's line and its value's. A bad pair is taken whole too. */
static bool pair_read(struct pt_entry_reader *reader)
{
    struct pt_source *source = &reader->source;
    bool is_good;

    is_good = data_read(reader, &reader->key);
    if (pt_source_peek(source) != ' ')
        return is_good && pt_entry_reader_bad(reader, "a key without a value");
    if (!is_good) {
        pt_source_skip_line(source);
        return false;
    }
    reader->line = source->line;
    return data_read(reader, &reader->value);
}

/* Whether the key is the one before again: what peat cannot hold must not vanish unnoticed. */
static bool repeat_check(struct pt_entry_reader *reader)
{
    struct pt_textbuf *last = &reader->last;
    struct peat_bytes key = pt_textbuf_bytes(&reader->key);

    if (!reader->may_repeat)
        return true;
    if (reader->has_last && last->size == key.size && memcmp(last->data, key.data, key.size) == 0)
        return pt_entry_reader_bad(reader,
                                   "the key has a second value; a store keeps one for each key");
    pt_textbuf_clear(last);
    pt_textbuf_append(last, key.data, key.size);
    reader->has_last = true;
    return true;
}

static enum pt_read dump_read(struct pt_entry_reader *reader)
{
    struct pt_source *source = &reader->source;

    if (!reader->in_section)
        return header_read(reader);
    reader->line = source->line;
    if (pt_source_peek(source) == ' ')
        return pair_read(reader) && repeat_check(reader) ? PT_READ_ENTRY : PT_READ_BAD;
    if (!pt_source_line(source, &reader->scratch)) {
        (void)pt_entry_reader_bad(reader, "the text ends without DATA=END: it is cut off");
        return PT_READ_BROKEN;
    }
    if (!pt_text_is(pt_textbuf_bytes(&reader->scratch), "DATA=END")) {
        (void)pt_entry_reader_bad(reader, "a line of data starts with a space");
        return PT_READ_BAD;
    }
    reader->in_section = false;
    return header_read(reader);
}

static void dump_begin(const struct pt_entry_writer *writer)
{
    pt_output_format("VERSION=3\nformat=%s\n", writer->is_print ? "print" : "bytevalue");
    if (writer->path.size > 0) {
        pt_output_string("database=");
        pt_output_write(writer->path.data, writer->path.size);
        pt_output_byte('\n');
    }
    pt_output_format("type=btree\nmapsize=%" PRIu64 "\nHEADER=END\n", writer->mapsize);
}

/* Readable ASCII as it is, the rest as \HH. */
static void print_write(struct peat_bytes bytes)
{
    const unsigned char *data = bytes.data;

    for (size_t i = 0; i < bytes.size; i++) {
        if (data[i] >= ' ' && data[i] <= '~' && data[i] != '\\') {
            pt_output_byte(data[i]);
        } else {
            pt_output_byte('\\');
            pt_hex_write((struct peat_bytes){data + i, 1});
        }
    }
}

static void data_write(const struct pt_entry_writer *writer, struct peat_bytes bytes)
{
    pt_output_byte(' ');
    if (writer->is_print)
        print_write(bytes);
    else
        pt_hex_write(bytes);
    pt_output_byte('\n');
}

static void dump_write(const struct pt_entry_writer *writer, struct peat_bytes key,
                       struct peat_bytes value)
{
    data_write(writer, key);
    data_write(writer, value);
}

static void dump_end(const struct pt_entry_writer *writer)
{
    (void)writer;
    pt_output_string("DATA=END\n");
}

const struct pt_text_format pt_text_dump = {.name = "dump",
                                            .recognize = dump_recognize,
                                            .read = dump_read,
                                            .begin = dump_begin,
                                            .write = dump_write,
                                            .end = dump_end};

#include "tools/entry_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE_MAX = 1 << 20, SCRATCH_SIZE_MAX = 1 << 20 };

/* In the order in which they are tried on a first line: tsv takes whatever has a tab. */
static const struct pt_text_format *const formats[] = {
    &pt_text_dump, &pt_text_json, &pt_text_deb822, &pt_text_tsv, &pt_text_hex,
};
enum { FORMAT_COUNT = sizeof(formats) / sizeof(formats[0]) };

const struct pt_text_format *pt_text_format_find(const char *name)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    }
    return NULL;
}

bool pt_entry_reader_open(struct pt_entry_reader *reader, const char *name,
                          const struct pt_text_format *format)
{
    memset(reader, 0, sizeof(*reader));
    reader->format = format;
    reader->line = 1;
    pt_textbuf_init(&reader->path, PATH_SIZE_MAX);
    pt_textbuf_init(&reader->key, PEAT_KEY_SIZE_MAX);
    pt_textbuf_init(&reader->value, PEAT_VALUE_SIZE_MAX);
    pt_textbuf_init(&reader->scratch, SCRATCH_SIZE_MAX);
    pt_textbuf_init(&reader->last, PEAT_KEY_SIZE_MAX);
    return pt_source_open(&reader->source, name);
}

void pt_entry_reader_close(struct pt_entry_reader *reader)
{
    pt_source_close(&reader->source);
    pt_textbuf_fini(&reader->path);
    pt_textbuf_fini(&reader->key);
    pt_textbuf_fini(&reader->value);
    pt_textbuf_fini(&reader->scratch);
    pt_textbuf_fini(&reader->last);
}

bool pt_entry_reader_bad(struct pt_entry_reader *reader, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(reader->words, sizeof(reader->words), format, arguments);
    va_end(arguments);
    return false;
}

/* Find the format by the first line that is not empty; false: it cannot be told. */
static bool detect(struct pt_entry_reader *reader)
{
    struct peat_bytes head;

    while (pt_source_peek(&reader->source) == '\n')
        (void)pt_source_get(&reader->source);
    reader->line = reader->source.line;
    head = pt_source_head(&reader->source);
    for (size_t i = 0; i < FORMAT_COUNT && reader->format == NULL; i++) {
        if (formats[i]->recognize != NULL && formats[i]->recognize(head))
            reader->format = formats[i];
    }
    if (reader->format != NULL)
        return true;
    return pt_entry_reader_bad(reader, "cannot tell the format from the first line; name it with "
                                       "--format tsv, json, dump or deb822");
}

/* What became of the record's bytes while they were gathered. */
static enum pt_read sizes_check(struct pt_entry_reader *reader, enum pt_read read)
{
    const struct pt_textbuf *const parts[] = {&reader->path, &reader->key, &reader->value,
                                              &reader->scratch, &reader->last};
    static const char *const names[] = {"collection path", "key", "value", "line", "key"};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i]->status == PEAT_NO_MEMORY) {
            (void)pt_entry_reader_bad(reader, "no memory for the %s", names[i]);
            return PT_READ_BROKEN;
        }
        if (parts[i]->status == PEAT_TOO_LARGE && read < PT_READ_END) {
            (void)pt_entry_reader_bad(reader, "the %s is larger than %zu bytes", names[i],
                                      parts[i]->size_max);
            read = PT_READ_BAD;
        }
    }
    return read;
}

enum pt_read pt_entry_reader_next(struct pt_entry_reader *reader)
{
    struct pt_source *source = &reader->source;
    enum pt_read read = PT_READ_BROKEN;

    pt_textbuf_clear(&reader->key);
    pt_textbuf_clear(&reader->value);
    pt_textbuf_clear(&reader->scratch);
    if (reader->format == NULL && !detect(reader))
        read = source->ended && source->at == source->end ? PT_READ_END : PT_READ_BROKEN;
    else
        read = sizes_check(reader, reader->format->read(reader));
    if (source->error_number != 0) {
        (void)pt_entry_reader_bad(reader, "%s", strerror(source->error_number));
        return PT_READ_BROKEN;
    }
    return read;
}

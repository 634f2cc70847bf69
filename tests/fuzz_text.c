#include "tests/fuzz_text.h"

#include "tests/support.h"
#include "tools/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SOURCE_BUFFER = 256 << 10, RECORDS_MAX = 2 * PT_FUZZ_TEXT_MAX };

/* ---- Standard output, kept here instead ---- */

static struct pt_textbuf output = {.size_max = (size_t)64 << 20};

void pt_output_write(const void *data, size_t size)
{
    pt_textbuf_append(&output, data, size);
}

void pt_output_byte(int byte)
{
    pt_textbuf_push(&output, byte);
}

void pt_output_string(const char *string)
{
    pt_textbuf_append_string(&output, string);
}

void pt_output_format(const char *format, ...)
{
    char words[1024];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    pt_output_string(words);
}

/* ---- What was read ---- */

struct record {
    enum pt_read read; /* PT_READ_ENTRY or PT_READ_COLLECTION */
    struct peat_bytes path;
    struct peat_bytes key;
    struct peat_bytes value;
    bool is_print;
};

struct records {
    size_t count;
    struct record records[RECORDS_MAX];
};

static struct peat_bytes copy_of(const struct pt_textbuf *text)
{
    struct peat_bytes bytes = pt_textbuf_bytes(text);
    char *copy = malloc(bytes.size + 1);

    PT_REQUIRE(copy != NULL);
    memcpy(copy, bytes.data, bytes.size);
    return (struct peat_bytes){copy, bytes.size};
}

static void bytes_free(struct peat_bytes bytes)
{
    union {
        const void *borrowed;
        void *owned;
    } data = {bytes.data};

    free(data.owned);
}

static void record_keep(struct records *records, const struct pt_entry_reader *reader,
                        enum pt_read read)
{
    struct record *record = &records->records[records->count];

    PT_REQUIRE(records->count++ < RECORDS_MAX);
    record->read = read;
    record->path = copy_of(&reader->path);
    record->key = copy_of(&reader->key);
    record->value = copy_of(&reader->value);
    record->is_print = reader->is_print;
}

static void records_fini(struct records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        bytes_free(records->records[i].path);
        bytes_free(records->records[i].key);
        bytes_free(records->records[i].value);
    }
    records->count = 0;
}

/* ---- Reading ---- */

/* The name of a file in memory that holds @p lead newlines and the bytes. */
static const char *file_with(const void *data, size_t size, size_t lead)
{
    static int fd = -1;
    static char name[64];
    static char newlines[SOURCE_BUFFER];

    if (fd < 0) {
        fd = memfd_create("text", MFD_CLOEXEC);
        PT_REQUIRE(fd >= 0);
        (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        memset(newlines, '\n', sizeof(newlines));
    }
    PT_REQUIRE(ftruncate(fd, (off_t)(lead + size)) == 0);
    PT_REQUIRE(pwrite(fd, newlines, lead, 0) == (ssize_t)lead);
    PT_REQUIRE(size == 0 || pwrite(fd, data, size, (off_t)lead) == (ssize_t)size);
    return name;
}

/* Read the file to its end. @p size: of what is in it beside empty lines. */
static void read_all(const struct pt_text_format *format, const char *name, size_t size,
                     bool all_good, struct records *records)
{
    struct pt_entry_reader reader;
    enum pt_read read = PT_READ_ENTRY;
    size_t steps = 0;
    uint64_t line = 0;

    PT_REQUIRE(pt_entry_reader_open(&reader, name, format));
    while (read != PT_READ_END && read != PT_READ_BROKEN) {
        read = pt_entry_reader_next(&reader);
        PT_REQUIRE(steps++ <= size + 1);
        PT_REQUIRE(reader.line >= line && reader.line <= SOURCE_BUFFER + size + 1);
        line = reader.line;
        if (read == PT_READ_BAD || read == PT_READ_BROKEN)
            PT_REQUIRE(!all_good && reader.words[0] != '\0');
        if (read != PT_READ_ENTRY && read != PT_READ_COLLECTION)
            continue;
        PT_REQUIRE(reader.key.size <= size && reader.value.size <= size + 1 &&
                   reader.path.size <= 4 * size);
        record_keep(records, &reader, read);
    }
    pt_entry_reader_close(&reader);
}

/* ---- Writing what was read ---- */

static void write_all(const struct pt_text_format *format, const struct records *records)
{
    struct pt_entry_writer writer = {.format = format, .mapsize = 1048576};
    bool is_open = false;

    pt_textbuf_clear(&output);
    for (size_t i = 0; i < records->count; i++) {
        const struct record *record = &records->records[i];

        writer.path = record->path;
        writer.is_print = record->is_print;
        if (record->read == PT_READ_ENTRY) {
            format->write(&writer, record->key, record->value);
            continue;
        }
        if (is_open && format->end != NULL)
            format->end(&writer);
        format->begin(&writer);
        is_open = true;
    }
    if (is_open && format->end != NULL)
        format->end(&writer);
    PT_REQUIRE(output.status == PEAT_OK);
}

static bool record_same(const struct record *a, const struct record *b)
{
    return a->read == b->read && pt_same(a->path, b->path) && pt_same(a->key, b->key) &&
           pt_same(a->value, b->value);
}

/* The first record from number @p i on that is not the root collection, which is always there, so that a
 * format need not write it. */
static size_t past_root(const struct records *records, size_t i)
{
    while (i < records->count && records->records[i].read == PT_READ_COLLECTION &&
           records->records[i].path.size == 0)
        i++;
    return i;
}

static void require_same(const struct records *a, const struct records *b)
{
    size_t i = past_root(a, 0);
    size_t k = past_root(b, 0);

    while (i < a->count && k < b->count) {
        PT_REQUIRE(record_same(&a->records[i], &b->records[k]));
        i = past_root(a, i + 1);
        k = past_root(b, k + 1);
    }
    PT_REQUIRE(i == a->count && k == b->count);
}

void pt_fuzz_text(const struct pt_text_format *format, const uint8_t *data, size_t size)
{
    static struct records first;
    static struct records second;
    uint64_t number = pt_fingerprint(0, (struct peat_bytes){data, size});

    read_all(format, file_with(data, size, 0), size, false, &first);
    if (number % 64 == 0) { /* by its bytes, so that an input always does the same */
        size_t before = (size_t)(number / 64 % (size + 1));

        read_all(format, file_with(data, size, SOURCE_BUFFER - before), size, false, &second);
        require_same(&first, &second);
        records_fini(&second);
    }
    if (format->write != NULL) {
        write_all(format, &first);
        read_all(format, file_with(output.data, output.size, 0), output.size, true, &second);
        require_same(&first, &second);
    }
    records_fini(&first);
    records_fini(&second);
}

#include "tools/textbuf.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 256, CAPACITY_KEPT_MAX = 8 << 20 };

void pt_textbuf_init(struct pt_textbuf *text, size_t size_max)
{
    memset(text, 0, sizeof(*text));
    text->size_max = size_max;
}

void pt_textbuf_fini(struct pt_textbuf *text)
{
    free(text->data);
    pt_textbuf_init(text, text->size_max);
}

void pt_textbuf_clear(struct pt_textbuf *text)
{
    /* One huge value must not hold its memory for the rest of a load. */
    if (text->capacity > CAPACITY_KEPT_MAX)
        pt_textbuf_fini(text);
    text->size = 0;
    text->status = PEAT_OK;
}

bool pt_textbuf_grow(struct pt_textbuf *text, size_t size)
{
    size_t capacity = text->capacity < CAPACITY_MIN ? CAPACITY_MIN : text->capacity;
    char *data;

    if (text->status != PEAT_OK)
        return false;
    if (size > text->size_max - text->size) {
        text->status = PEAT_TOO_LARGE;
        return false;
    }
    while (capacity < text->size + size)
        capacity = capacity > text->size_max / 2 ? text->size_max : 2 * capacity;
    if (capacity <= text->capacity)
        return true;
    data = realloc(text->data, capacity);
    if (data == NULL) {
        text->status = PEAT_NO_MEMORY;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void pt_textbuf_append(struct pt_textbuf *text, const void *data, size_t size)
{
    if (size == 0 || !pt_textbuf_grow(text, size))
        return;
    memcpy(text->data + text->size, data, size);
    text->size += size;
}

void pt_textbuf_append_string(struct pt_textbuf *text, const char *string)
{
    pt_textbuf_append(text, string, strlen(string));
}

bool pt_text_starts(struct peat_bytes bytes, const char *string)
{
    size_t size = strlen(string);
    return bytes.size >= size && memcmp(bytes.data, string, size) == 0;
}

bool pt_text_is(struct peat_bytes bytes, const char *string)
{
    return bytes.size == strlen(string) && pt_text_starts(bytes, string);
}

/* Growing bytes that remember the first failure, so that a reader checks once per record. */
#ifndef PEAT_TOOLS_TEXTBUF_H
#define PEAT_TOOLS_TEXTBUF_H

#include "core/peat.h"

/* Owned by one thread. Bytes appended after a failure are dropped. */
struct pt_textbuf {
    char *data;              /* heap; NULL while nothing was appended */
    size_t size;             /* bytes in use */
    size_t capacity;         /* bytes allocated */
    size_t size_max;         /* bytes it may grow to */
    enum peat_status status; /* PEAT_OK, PEAT_NO_MEMORY or PEAT_TOO_LARGE: the first failure */
};

void pt_textbuf_init(struct pt_textbuf *text, size_t size_max);
void pt_textbuf_fini(struct pt_textbuf *text);

/* Make it empty and forget its failure. Keeps its memory, unless that has become large. */
void pt_textbuf_clear(struct pt_textbuf *text);

void pt_textbuf_append(struct pt_textbuf *text, const void *data, size_t size);
void pt_textbuf_append_string(struct pt_textbuf *text, const char *string);

/* Make room for @p size more bytes; false: it failed. */
bool pt_textbuf_grow(struct pt_textbuf *text, size_t size);

static inline void pt_textbuf_push(struct pt_textbuf *text, int byte)
{
    if (text->status != PEAT_OK || (text->size == text->capacity && !pt_textbuf_grow(text, 1)))
        return;
    text->data[text->size++] = (char)byte;
}

/* What it holds, valid until the next change; data is never NULL. */
static inline struct peat_bytes pt_textbuf_bytes(const struct pt_textbuf *text)
{
    struct peat_bytes bytes = {text->size == 0 ? "" : text->data, text->size};
    return bytes;
}

/* Whether @p bytes are those of @p string, and whether they start with them. */
bool pt_text_is(struct peat_bytes bytes, const char *string);
bool pt_text_starts(struct peat_bytes bytes, const char *string);

#endif

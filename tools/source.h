/* Text that is read once, front to back: a file or standard input, with its place for messages. */
#ifndef PEAT_TOOLS_SOURCE_H
#define PEAT_TOOLS_SOURCE_H

#include "tools/textbuf.h"

/* What pt_source_get() and pt_source_peek() give when there is no further byte. */
enum { PT_SOURCE_END = -1 };

/* Owned by one thread. */
struct pt_source {
    const char *name; /* for messages; borrowed */
    int fd;
    int error_number; /* of a failed read; 0: none. What follows looks like the end */
    bool ended;       /* no further byte will come after buffer[end - 1] */
    uint64_t line;    /* the line that the next byte is in; from 1 */
    uint64_t taken;   /* bytes of the buffers before this one */
    uint64_t size;    /* bytes in all if it is a regular file, else 0 */
    size_t at;        /* the next byte in the buffer */
    size_t end;       /* past the last byte in the buffer */
    unsigned char *buffer;
};

/* Open the file @p name, "-" being standard input. False: it failed, with errno set. */
bool pt_source_open(struct pt_source *source, const char *name);
void pt_source_close(struct pt_source *source);

/* Read on, so that the buffer holds a byte; false: there is none. */
bool pt_source_fill(struct pt_source *source);

/* The line that comes next, or as much of it as the buffer has room for, without taking it. */
struct peat_bytes pt_source_head(struct pt_source *source);

/* Bytes taken so far. */
static inline uint64_t pt_source_offset(const struct pt_source *source)
{
    return source->taken + source->at;
}

static inline int pt_source_peek(struct pt_source *source)
{
    if (source->at == source->end && !pt_source_fill(source))
        return PT_SOURCE_END;
    return source->buffer[source->at];
}

static inline int pt_source_get(struct pt_source *source)
{
    int byte = pt_source_peek(source);

    if (byte != PT_SOURCE_END)
        source->at++;
    if (byte == '\n')
        source->line++;
    return byte;
}

/*
 * Append the bytes up to the next one that @p stops has a true for, or to the end. '\n' must be
 * among the stops. Gives the stop, which is not taken, or PT_SOURCE_END.
 */
int pt_source_span(struct pt_source *source, const bool stops[256], struct pt_textbuf *text);

/* Append the rest of the line and take its end; false: there was no byte at all. */
bool pt_source_line(struct pt_source *source, struct pt_textbuf *text);

/* Take the rest of the line. */
void pt_source_skip_line(struct pt_source *source);

#endif

#include "tools/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_SIZE = 256 << 10 };

static const bool line_end[256] = {['\n'] = true};

bool pt_source_open(struct pt_source *source, const char *name)
{
    bool is_input = strcmp(name, "-") == 0;
    struct stat status;
    int saved;

    memset(source, 0, sizeof(*source));
    source->name = is_input ? "standard input" : name;
    source->line = 1;
    source->fd = is_input ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0)
        return false;
    if (fstat(source->fd, &status) == 0 && S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        goto failed;
    }
    if (S_ISREG(status.st_mode))
        source->size = (uint64_t)status.st_size;
    source->buffer = malloc(BUFFER_SIZE);
    if (source->buffer == NULL)
        goto failed;
    return true;
failed:
    saved = errno;
    pt_source_close(source);
    errno = saved;
    return false;
}

void pt_source_close(struct pt_source *source)
{
    free(source->buffer);
    source->buffer = NULL;
    if (source->fd > STDIN_FILENO)
        (void)close(source->fd);
    source->fd = -1;
}

/* Read once, behind what the buffer holds; false: nothing came. */
static bool read_more(struct pt_source *source)
{
    ssize_t size;

    if (source->ended)
        return false;
    do
        size = read(source->fd, source->buffer + source->end, BUFFER_SIZE - source->end);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        source->error_number = errno;
    source->ended = size <= 0;
    if (size > 0)
        source->end += (size_t)size;
    return size > 0;
}

bool pt_source_fill(struct pt_source *source)
{
    if (source->ended)
        return false;
    source->taken += source->at;
    source->at = 0;
    source->end = 0;
    return read_more(source);
}

struct peat_bytes pt_source_head(struct pt_source *source)
{
    struct peat_bytes head = {"", 0};
    const unsigned char *newline;

    while (memchr(source->buffer + source->at, '\n', source->end - source->at) == NULL &&
           source->end < BUFFER_SIZE) {
        if (!read_more(source))
            break;
    }
    newline = memchr(source->buffer + source->at, '\n', source->end - source->at);
    head.data = source->buffer + source->at;
    head.size = newline == NULL ? source->end - source->at
                                : (size_t)(newline - (source->buffer + source->at));
    return head;
}

int pt_source_span(struct pt_source *source, const bool stops[256], struct pt_textbuf *text)
{
    while (pt_source_peek(source) != PT_SOURCE_END) {
        size_t start = source->at;

        while (source->at < source->end && !stops[source->buffer[source->at]])
            source->at++;
        pt_textbuf_append(text, source->buffer + start, source->at - start);
        if (source->at < source->end)
            return source->buffer[source->at];
    }
    return PT_SOURCE_END;
}

bool pt_source_line(struct pt_source *source, struct pt_textbuf *text)
{
    if (pt_source_peek(source) == PT_SOURCE_END)
        return false;
    (void)pt_source_span(source, line_end, text);
    (void)pt_source_get(source);
    return true;
}

void pt_source_skip_line(struct pt_source *source)
{
    int byte;

    do
        byte = pt_source_get(source);
    while (byte != '\n' && byte != PT_SOURCE_END);
}

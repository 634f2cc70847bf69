#include "tools/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_SIZE = 64 << 10, FORMATTED_SIZE_MAX = 1024 };

static char buffer[BUFFER_SIZE];
static size_t buffer_used;
static int error_number; /* of the first failure; 0: none */
static int output_fd = STDOUT_FILENO;
static int output_error_number; /* of standard output, while another file is written */

static void write_fully(const char *data, size_t size)
{
    while (size > 0 && error_number == 0) {
        ssize_t written = write(output_fd, data, size);

        if (written < 0) {
            if (errno != EINTR)
                error_number = errno;
            continue;
        }
        data += written;
        size -= (size_t)written;
    }
}

void pt_output_flush(void)
{
    write_fully(buffer, buffer_used);
    buffer_used = 0;
}

void pt_output_to(int fd)
{
    pt_output_flush();
    output_error_number = error_number;
    error_number = 0;
    output_fd = fd;
}

int pt_output_back(void)
{
    int failed;

    pt_output_flush();
    failed = error_number;
    error_number = output_error_number;
    output_fd = STDOUT_FILENO;
    return failed;
}

void pt_output_write(const void *data, size_t size)
{
    if (size > sizeof(buffer) - buffer_used)
        pt_output_flush();
    if (size >= sizeof(buffer)) {
        write_fully(data, size);
        return;
    }
    if (size > 0)
        memcpy(buffer + buffer_used, data, size);
    buffer_used += size;
}

void pt_output_byte(int byte)
{
    if (buffer_used == sizeof(buffer))
        pt_output_flush();
    buffer[buffer_used++] = (char)byte;
}

void pt_output_string(const char *string)
{
    pt_output_write(string, strlen(string));
}

void pt_output_format(const char *format, ...)
{
    char words[FORMATTED_SIZE_MAX];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    pt_output_string(words);
}

bool pt_output_failed(void)
{
    return error_number != 0;
}

enum pt_exit pt_output_close(void)
{
    pt_output_flush();
    /* Some filesystems report a full disk only here. EBADF: it was closed before we started, which
     * only matters to who wrote something, and then write() has failed already. */
    if (close(STDOUT_FILENO) != 0 && error_number == 0 && errno != EBADF)
        error_number = errno;
    if (error_number == 0)
        return PT_EXIT_DONE;
    if (error_number != EPIPE)
        pt_complain("standard output", "%s", strerror(error_number));
    return PT_EXIT_ERROR;
}

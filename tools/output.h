/* Standard output, buffered here, so that the first failure is known with its cause. */
#ifndef PEAT_TOOLS_OUTPUT_H
#define PEAT_TOOLS_OUTPUT_H

#include "core/peat.h"
#include "tools/complain.h"

/* Bytes for standard output. Once writing has failed the rest is dropped. */
void pt_output_write(const void *data, size_t size);
void pt_output_byte(int byte);
void pt_output_string(const char *string);
void pt_output_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether it failed: a command that writes much asks after each entry and stops. */
bool pt_output_failed(void);

/* Write what is buffered. */
void pt_output_flush(void);

/* What is written from here on goes to @p fd, until pt_output_back(): for a file that gets the same lines. */
void pt_output_to(int fd);
/* Flush, and write to standard output again. The error number of the first failure since; 0: none. */
int pt_output_back(void);

/*
 * Flush and close. A failure is complained about and gives PT_EXIT_ERROR; without words if nobody
 * reads any more (EPIPE), for that is how the reader of a pipe says "enough".
 */
enum pt_exit pt_output_close(void);

#endif

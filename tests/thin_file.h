/*
 * A thin file: the bytes of a store with the zeros left out, so that it takes little room in the tree.
 *
 *   "peat-thin SIZE\n"     decimal, bytes of the whole
 *   pieces, ascending:     8 bytes offset, 8 bytes size, both little-endian, then that many bytes
 */
#ifndef PEAT_TESTS_THIN_FILE_H
#define PEAT_TESTS_THIN_FILE_H

#include "tests/support.h"

/* Write the @p size bytes as a thin file, which must not exist. */
void pt_thin_write(const char *path, const uint8_t *bytes, uint64_t size);
/* All bytes of the thin file @p path, for the caller to free. */
uint8_t *pt_thin_read(const char *path, uint64_t *size_out);

/* The same for whole files: all bytes, for the caller to free; NULL: there is no such file. */
uint8_t *pt_file_bytes(const char *path, uint64_t *size_out);
void pt_file_make(const char *path, const uint8_t *bytes, uint64_t size);

#endif

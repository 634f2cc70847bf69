/*
 * What the targets for whole stores share: the stores to begin with, which are those of tests/data, and
 * what is done to a forged one.
 */
#ifndef PEAT_TESTS_FUZZ_STORE_H
#define PEAT_TESTS_FUZZ_STORE_H

#include "core/arena/superblock_format.h"
#include "tests/fuzz.h"

/* A store in memory; read once and kept. */
struct pt_fuzz_base {
    const char *name;   /* in tests/data */
    const char *folder; /* there: NULL: the one of the oldest format */
    uint8_t *bytes;
    uint64_t size;
    struct pt_superblock_page page; /* the one that rules */
    uint64_t manifest_offset;       /* bytes from the start */
    uint64_t manifest_size;         /* bytes */
};

enum { PT_FUZZ_BASES = 7 };

/* Base number @p number of PT_FUZZ_BASES. */
const struct pt_fuzz_base *pt_fuzz_base(unsigned number);
/* The one of that name. */
const struct pt_fuzz_base *pt_fuzz_base_named(const char *name);
/* A file of tests/data as bytes, for the caller to free. */
uint8_t *pt_fuzz_data(const char *name, uint64_t *size_out);

/* A copy of the base, valid until the next call. */
uint8_t *pt_fuzz_copy(const struct pt_fuzz_base *base);

/*
 * Put the bytes on a simulated disk and do everything with that store that can be done: opened read-only,
 * it is read in full and the file stays as it is; opened for writing it takes commits, merges, closes, and
 * what it acknowledged is there afterwards. Each call may fail, none may do anything else.
 */
void pt_fuzz_store_try(const uint8_t *bytes, uint64_t size);

#endif

/*
 * Fuzz targets: functions that take any bytes at all and must come back, with answers or errors.
 *
 * Each target has a file of its own, fuzz_NAME.c, and a corpus, corpus/NAME/. libFuzzer drives them
 * (fuzz_libfuzzer.c, `make fuzz`), and so does a plain program that replays the corpora and changes them
 * at random (test_fuzz.c, `make check`).
 */
#ifndef PEAT_TESTS_FUZZ_H
#define PEAT_TESTS_FUZZ_H

#include "tests/support.h"

struct pt_fuzz_target {
    const char *name;
    const char *sentence; /* what it shows, for the replay's report */
    size_t size_max;      /* bytes of an input; more is cut off */
    /* Take the bytes, whatever they are. A finding ends the process with a signal. */
    void (*run)(const uint8_t *data, size_t size);
    /* Give inputs to begin with. NULL: there are none but the corpus. */
    void (*seeds)(void (*give)(void *context, const void *data, size_t size), void *context);
};

extern const struct pt_fuzz_target pt_fuzz_backup;
extern const struct pt_fuzz_target pt_fuzz_channel;
extern const struct pt_fuzz_target pt_fuzz_deb822;
extern const struct pt_fuzz_target pt_fuzz_dump;
extern const struct pt_fuzz_target pt_fuzz_jsonl;
extern const struct pt_fuzz_target pt_fuzz_log;
extern const struct pt_fuzz_target pt_fuzz_manifest;
extern const struct pt_fuzz_target pt_fuzz_message;
extern const struct pt_fuzz_target pt_fuzz_model;
extern const struct pt_fuzz_target pt_fuzz_segment;
extern const struct pt_fuzz_target pt_fuzz_superblock;
extern const struct pt_fuzz_target pt_fuzz_tsv;

/* All of them; NULL ends the list. */
extern const struct pt_fuzz_target *const pt_fuzz_targets[];

/* The target of that name; NULL: there is none. */
const struct pt_fuzz_target *pt_fuzz_find(const char *name);

/* Before the first input: findings become signals, and so does an allocation of the library that no input
 * of these sizes can justify. */
void pt_fuzz_start(void);

/* Run @p target on the bytes, from a heap block of exactly their size. */
void pt_fuzz_run(const struct pt_fuzz_target *target, const uint8_t *data, size_t size);

/* Bytes that are taken one after the other, zeros when they have come to an end. */
struct pt_fuzz_input {
    const uint8_t *data;
    size_t size; /* bytes left */
};

uint8_t pt_fuzz_byte(struct pt_fuzz_input *input);
uint64_t pt_fuzz_number(struct pt_fuzz_input *input, unsigned size); /* little-endian */

#endif

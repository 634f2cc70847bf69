/* Bodies of frames for tests: random ones of each type, and any one taken apart and made again. */
#ifndef PEAT_TESTS_MESSAGE_SAMPLE_H
#define PEAT_TESTS_MESSAGE_SAMPLE_H

#include "repl/message.h"
#include "repl/records.h"
#include "tests/support.h"

enum {
    PT_SAMPLE_SIZE_MAX = 32768, /* bytes; any body without records is smaller */
    PT_SAMPLE_RECORDS_MAX = 6,
    PT_SAMPLE_PAYLOAD_MAX = 400 /* bytes */
};

/* A random body of the type, with values at their bounds now and then, in @p buffer, which has
 * PT_SAMPLE_SIZE_MAX bytes. The body's size. */
size_t pt_sample_body(uint8_t type, struct pt_dice *dice, uint8_t *buffer);

struct peat_position pt_sample_position(struct pt_dice *dice);
/* Its payload is in @p payload, which has @p payload_size bytes. */
struct peat_record pt_sample_record(struct pt_dice *dice, uint8_t *payload, size_t payload_size);

bool pt_sample_same_record(const struct peat_record *a, const struct peat_record *b);

/*
 * Decode @p body and encode what that gives to @p buffer, of PT_SAMPLE_SIZE_MAX bytes. The
 * decoder's words, or NULL; what was decoded must be possible to encode. "no such type" if there
 * is none.
 */
const char *pt_sample_again(uint8_t type, struct peat_bytes body, uint8_t *buffer,
                            size_t *size_out);

#endif

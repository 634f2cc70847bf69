/* What the targets for the formats of text share: they differ in the format alone. */
#ifndef PEAT_TESTS_FUZZ_TEXT_H
#define PEAT_TESTS_FUZZ_TEXT_H

#include "tools/entry_text.h"

enum { PT_FUZZ_TEXT_MAX = 4096 /* bytes of an input */ };

/*
 * Read @p data as @p format to its end, also with a boundary of the reader's buffer inside it. Memory goes
 * with the input's size, each step takes something, what is bad has a reason; and what the format's writer
 * makes of the entries reads as the same entries.
 */
void pt_fuzz_text(const struct pt_text_format *format, const uint8_t *data, size_t size);

#endif

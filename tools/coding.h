/* Bytes as text and back: hexadecimal, base64, UTF-8 and backslash escapes. */
#ifndef PEAT_TOOLS_CODING_H
#define PEAT_TOOLS_CODING_H

#include "tools/textbuf.h"

/* The value of a hexadecimal digit of either case; -1: it is none. */
int pt_hex_digit(int byte);

/* Turn the hexadecimal digits of @p text into bytes, in place; false: it is not hexadecimal. */
bool pt_hex_decode(struct pt_textbuf *text);

/* Turn base64 (RFC 4648, padded) into bytes, in place; false: it is not base64. */
bool pt_base64_decode(struct pt_textbuf *text);

/* How many bytes the UTF-8 character at @p data takes (1 to 4); 0: it is not UTF-8. @p size: bytes
 * there are, at least 1. */
size_t pt_utf8_size(const unsigned char *data, size_t size);
bool pt_utf8_valid(struct peat_bytes bytes);

/* Whether the character of @p size bytes at @p data drives a terminal instead of being shown: the
 * ASCII controls, and U+0080 to U+009F. */
bool pt_utf8_is_control(const unsigned char *data, size_t size);

/* How many bytes from @p data on are printable ASCII that no format escapes: neither '"' nor '\'. */
size_t pt_plain_size(const unsigned char *data, size_t size);

/* Append the character @p code, at most U+10FFFF. */
void pt_utf8_append(struct pt_textbuf *text, unsigned code);

/* To standard output: hexadecimal, base64, and text with the escapes of the tsv format. */
void pt_hex_write(struct peat_bytes bytes);
void pt_base64_write(struct peat_bytes bytes);
void pt_escaped_write(struct peat_bytes bytes);

#endif

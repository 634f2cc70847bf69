#include "tools/coding.h"

#include "tools/output.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int pt_hex_digit(int byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F')
        return byte - 'A' + 10;
    return -1;
}

bool pt_hex_decode(struct pt_textbuf *text)
{
    if (text->size % 2 != 0)
        return false;
    for (size_t i = 0; i < text->size; i += 2) {
        int high = pt_hex_digit(text->data[i]);
        int low = pt_hex_digit(text->data[i + 1]);

        if (high < 0 || low < 0)
            return false;
        text->data[i / 2] = (char)(high << 4 | low);
    }
    text->size /= 2;
    return true;
}

/* The value of a base64 digit; -1: it is none. */
static int base64_digit(int byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    if (byte == '+')
        return 62;
    return byte == '/' ? 63 : -1;
}

/* How many of the four digits at @p group are '=': 0, 1 or 2. */
static size_t base64_padding(const char *group)
{
    if (group[3] != '=')
        return 0;
    return group[2] == '=' ? 2 : 1;
}

bool pt_base64_decode(struct pt_textbuf *text)
{
    size_t used = 0;

    if (text->size % 4 != 0)
        return false;
    for (size_t i = 0; i < text->size; i += 4) {
        size_t padding = i + 4 == text->size ? base64_padding(text->data + i) : 0;
        unsigned bits = 0;

        for (size_t k = 0; k < 4; k++) {
            int digit = k < 4 - padding ? base64_digit(text->data[i + k]) : 0;

            if (digit < 0)
                return false;
            bits = bits << 6 | (unsigned)digit;
        }
        /* Two encodings of one value are not allowed: the bits under the padding are zero. */
        if (padding > 0 && (bits & ((1u << (8 * padding)) - 1)) != 0)
            return false;
        for (size_t k = 0; k < 3 - padding; k++)
            text->data[used++] = (char)(bits >> (16 - 8 * k));
    }
    text->size = used;
    return true;
}

/* The size that the first byte of a character announces; 0: no character starts with it. */
static size_t utf8_announced_size(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2)
        return 0;
    if (first < 0xe0)
        return 2;
    if (first < 0xf0)
        return 3;
    return first < 0xf5 ? 4 : 0;
}

size_t pt_utf8_size(const unsigned char *data, size_t size)
{
    size_t announced = utf8_announced_size(data[0]);

    if (announced == 0 || announced > size)
        return 0;
    for (size_t i = 1; i < announced; i++) {
        if ((data[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Overlong forms, surrogates, and what lies above U+10FFFF. */
    if ((data[0] == 0xe0 && data[1] < 0xa0) || (data[0] == 0xed && data[1] > 0x9f) ||
        (data[0] == 0xf0 && data[1] < 0x90) || (data[0] == 0xf4 && data[1] > 0x8f))
        return 0;
    return announced;
}

bool pt_utf8_valid(struct peat_bytes bytes)
{
    const unsigned char *data = bytes.data;
    size_t i = 0;

    while (i < bytes.size) {
        size_t size = data[i] < 0x80 ? 1 : pt_utf8_size(data + i, bytes.size - i);

        if (size == 0)
            return false;
        i += size;
    }
    return true;
}

bool pt_utf8_is_control(const unsigned char *data, size_t size)
{
    if (size == 1)
        return data[0] < 0x20 || data[0] == 0x7f;
    return size == 2 && data[0] == 0xc2 && data[1] < 0xa0;
}

void pt_utf8_append(struct pt_textbuf *text, unsigned code)
{
    if (code < 0x80) {
        pt_textbuf_push(text, (int)code);
        return;
    }
    if (code < 0x800) {
        pt_textbuf_push(text, (int)(0xc0 | code >> 6));
    } else {
        if (code < 0x10000) {
            pt_textbuf_push(text, (int)(0xe0 | code >> 12));
        } else {
            pt_textbuf_push(text, (int)(0xf0 | code >> 18));
            pt_textbuf_push(text, (int)(0x80 | (code >> 12 & 0x3f)));
        }
        pt_textbuf_push(text, (int)(0x80 | (code >> 6 & 0x3f)));
    }
    pt_textbuf_push(text, (int)(0x80 | (code & 0x3f)));
}

void pt_hex_write(struct peat_bytes bytes)
{
    const unsigned char *data = bytes.data;

    for (size_t i = 0; i < bytes.size; i++) {
        pt_output_byte(hex_digits[data[i] >> 4]);
        pt_output_byte(hex_digits[data[i] & 15]);
    }
}

void pt_base64_write(struct peat_bytes bytes)
{
    const unsigned char *data = bytes.data;

    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        unsigned bits = (unsigned)data[i] << 16;

        if (left > 1)
            bits |= (unsigned)data[i + 1] << 8;
        if (left > 2)
            bits |= data[i + 2];
        pt_output_byte(base64_digits[bits >> 18]);
        pt_output_byte(base64_digits[bits >> 12 & 63]);
        pt_output_byte(left > 1 ? base64_digits[bits >> 6 & 63] : '=');
        pt_output_byte(left > 2 ? base64_digits[bits & 63] : '=');
    }
}

/* One byte as the shortest escape that the tsv format has for it. */
static void escape_write(unsigned char byte)
{
    pt_output_byte('\\');
    if (byte == '\t') {
        pt_output_byte('t');
    } else if (byte == '\n') {
        pt_output_byte('n');
    } else if (byte == '\\') {
        pt_output_byte('\\');
    } else {
        pt_output_byte('x');
        pt_output_byte(hex_digits[byte >> 4]);
        pt_output_byte(hex_digits[byte & 15]);
    }
}

size_t pt_plain_size(const unsigned char *data, size_t size)
{
    size_t i = 0;

    while (i < size && data[i] >= ' ' && data[i] < 0x7f && data[i] != '\\' && data[i] != '"')
        i++;
    return i;
}

void pt_escaped_write(struct peat_bytes bytes)
{
    const unsigned char *data = bytes.data;
    size_t i = 0;

    while (i < bytes.size) {
        size_t plain = pt_plain_size(data + i, bytes.size - i);
        size_t size;

        pt_output_write(data + i, plain);
        i += plain;
        if (i == bytes.size)
            break;
        size = pt_utf8_size(data + i, bytes.size - i);
        if (size == 0 || data[i] == '\\' || pt_utf8_is_control(data + i, size)) {
            for (size_t k = 0; k < (size == 0 ? 1 : size); k++)
                escape_write(data[i + k]);
        } else {
            pt_output_write(data + i, size);
        }
        i += size == 0 ? 1 : size;
    }
}

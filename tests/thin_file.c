#include "tests/thin_file.h"

#include "core/base/endian.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 32 /* bytes of zeros that are worth leaving out */ };

struct piece_header {
    struct pt_le64 offset;
    struct pt_le64 size;
};

static size_t zeros_at(const uint8_t *bytes, uint64_t size, uint64_t offset)
{
    uint64_t end = offset;

    while (end < size && bytes[end] == 0)
        end++;
    return (size_t)(end - offset);
}

void pt_thin_write(const char *path, const uint8_t *bytes, uint64_t size)
{
    FILE *file = fopen(path, "wbx");
    uint64_t offset = 0;

    PT_REQUIRE(file != NULL);
    PT_REQUIRE(fprintf(file, "peat-thin %" PRIu64 "\n", size) > 0);
    while ((offset += zeros_at(bytes, size, offset)) < size) {
        uint64_t end = offset;
        size_t zeros;

        while (end < size && (zeros = zeros_at(bytes, size, end)) < GAP && end + zeros < size)
            end += zeros + 1;
        struct piece_header header = {pt_le64(offset), pt_le64(end - offset)};

        PT_REQUIRE(fwrite(&header, sizeof(header), 1, file) == 1);
        PT_REQUIRE(fwrite(bytes + offset, (size_t)(end - offset), 1, file) == 1);
        offset = end;
    }
    PT_REQUIRE(fclose(file) == 0);
}

uint8_t *pt_thin_read(const char *path, uint64_t *size_out)
{
    FILE *file = fopen(path, "rb");
    struct piece_header header;
    uint8_t *bytes;

    PT_REQUIRE(file != NULL);
    PT_REQUIRE(fscanf(file, "peat-thin %" SCNu64, size_out) == 1 && getc(file) == '\n');
    bytes = calloc(1, *size_out + 1);
    PT_REQUIRE(bytes != NULL);
    while (fread(&header, sizeof(header), 1, file) == 1) {
        uint64_t offset = pt_le64_value(header.offset);
        uint64_t size = pt_le64_value(header.size);

        PT_REQUIRE(size > 0 && size <= *size_out && offset <= *size_out - size);
        PT_REQUIRE(fread(bytes + offset, (size_t)size, 1, file) == 1);
    }
    PT_REQUIRE(feof(file));
    (void)fclose(file);
    return bytes;
}

uint8_t *pt_file_bytes(const char *path, uint64_t *size_out)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes;
    long size;

    if (file == NULL)
        return NULL;
    PT_REQUIRE(fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0);
    rewind(file);
    bytes = malloc((size_t)size + 1);
    PT_REQUIRE(bytes != NULL && fread(bytes, 1, (size_t)size, file) == (size_t)size);
    (void)fclose(file);
    *size_out = (uint64_t)size;
    return bytes;
}

void pt_file_make(const char *path, const uint8_t *bytes, uint64_t size)
{
    FILE *file = fopen(path, "wb");

    PT_REQUIRE(file != NULL && fwrite(bytes, 1, (size_t)size, file) == size);
    PT_REQUIRE(fclose(file) == 0);
}

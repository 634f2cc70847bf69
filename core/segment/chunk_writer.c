#include "core/segment/chunk_writer.h"

#include "core/base/alloc.h"
#include "core/segment/segment_format.h"

enum { BUFFER_SIZE = PT_CHUNK_WRITER_WRITE_SIZE + PT_CHUNK_WRITER_PIECE_MAX /* bytes */ };

_Static_assert(PT_CHUNK_WRITER_WRITE_SIZE % PT_CHUNK_SIZE == 0, "writes are whole chunks");

enum peat_status pt_chunk_writer_init(struct pt_chunk_writer *writer,
                                      const struct pt_segment_identity *identity,
                                      const struct pt_segment_sink *sink)
{
    memset(writer, 0, sizeof(*writer));
    writer->sink = *sink;
    writer->identity = *identity;
    writer->buffer = pt_block_alloc(BUFFER_SIZE);
    if (writer->buffer == NULL)
        return pt_fail(PEAT_NO_MEMORY, "write-out buffer of a segment");
    return PEAT_OK;
}

void pt_chunk_writer_fini(struct pt_chunk_writer *writer)
{
    pt_block_free(writer->buffer, BUFFER_SIZE);
    pt_free(writer->checksums);
}

static enum peat_status checksum_push(struct pt_chunk_writer *writer, const uint8_t *chunk,
                                      size_t size)
{
    struct pt_key key =
        pt_key_derive(&writer->identity.store_id, PT_KEY_SEGMENT_CHUNK, writer->identity.segment_id,
                      (uint64_t)writer->checksum_count);

    if (writer->checksum_count == writer->checksum_capacity) {
        size_t capacity = writer->checksum_capacity == 0 ? 16 : 2 * writer->checksum_capacity;
        struct pt_checksum *grown =
            pt_realloc(writer->checksums, capacity * sizeof(*writer->checksums));

        if (grown == NULL)
            return pt_fail(PEAT_NO_MEMORY, "%zu chunk checksums", capacity);
        writer->checksums = grown;
        writer->checksum_capacity = capacity;
    }
    writer->checksums[writer->checksum_count++] = pt_checksum(&key, chunk, size);
    return PEAT_OK;
}

/* Checksum @p size bytes at @p data, which start a chunk, and give them to the sink. */
static enum peat_status chunks_write(struct pt_chunk_writer *writer, const uint8_t *data,
                                     size_t size)
{
    enum peat_status status = PEAT_OK;

    PT_ASSERT(writer->offset % PT_CHUNK_SIZE == 0);
    for (size_t done = 0; done < size; done += PT_CHUNK_SIZE) {
        size_t rest = size - done;

        status = checksum_push(writer, data + done, rest < PT_CHUNK_SIZE ? rest : PT_CHUNK_SIZE);
        if (status < 0)
            return status;
    }
    status = writer->sink.write(writer->sink.context, writer->offset, data, size);
    writer->offset += size;
    return status;
}

enum peat_status pt_chunk_writer_flush(struct pt_chunk_writer *writer)
{
    size_t whole = (size_t)pt_round_down(writer->fill, PT_CHUNK_SIZE);
    enum peat_status status;

    if (whole == 0)
        return PEAT_OK;
    status = chunks_write(writer, writer->buffer, whole);
    writer->fill -= whole;
    memmove(writer->buffer, writer->buffer + whole, writer->fill);
    return status;
}

/* Copy from @p data what fits until the buffer is due, or, before something large, until a chunk is
 * full. */
static size_t buffer_fill(struct pt_chunk_writer *writer, const uint8_t *data, size_t size)
{
    size_t end = size < PT_CHUNK_WRITER_WRITE_SIZE
                     ? PT_CHUNK_WRITER_WRITE_SIZE
                     : (size_t)pt_round_up(writer->fill, PT_CHUNK_SIZE);
    size_t room = end - writer->fill;
    size_t taken = size < room ? size : room;

    memcpy(writer->buffer + writer->fill, data, taken);
    writer->fill += taken;
    return taken;
}

enum peat_status pt_chunk_writer_append(struct pt_chunk_writer *writer, const void *data,
                                        size_t size)
{
    const uint8_t *next = data;
    enum peat_status status = PEAT_OK;

    while (size > 0 && status >= 0) {
        size_t taken;

        if (writer->fill >= PT_CHUNK_WRITER_WRITE_SIZE) {
            status = pt_chunk_writer_flush(writer);
            continue;
        }
        if (size >= PT_CHUNK_WRITER_WRITE_SIZE && writer->fill % PT_CHUNK_SIZE == 0) {
            status = pt_chunk_writer_flush(writer);
            if (status < 0)
                break;
            taken = (size_t)pt_round_down(size, PT_CHUNK_SIZE);
            status = chunks_write(writer, next, taken);
        } else {
            taken = buffer_fill(writer, next, size);
        }
        next += taken;
        size -= taken;
    }
    return status;
}

enum peat_status pt_chunk_writer_pad(struct pt_chunk_writer *writer, uint64_t unit, uint8_t filler)
{
    uint64_t position = pt_chunk_writer_position(writer);
    size_t size = (size_t)(pt_round_up(position, unit) - position);
    uint8_t *place;
    enum peat_status status = pt_chunk_writer_reserve(writer, size, &place);

    if (status < 0)
        return status;
    memset(place, filler, size);
    pt_chunk_writer_advance(writer, size);
    return PEAT_OK;
}

enum peat_status pt_chunk_writer_finish(struct pt_chunk_writer *writer)
{
    enum peat_status status = pt_chunk_writer_flush(writer);

    if (status < 0 || writer->fill == 0)
        return status;
    status = chunks_write(writer, writer->buffer, writer->fill);
    writer->fill = 0;
    return status;
}

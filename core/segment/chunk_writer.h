/*
 * A chunk writer: takes a segment's bytes in order, gathers them into large writes and checksums
 * each chunk as it passes.
 *
 * Small pieces are built in place in its buffer (reserve, advance), so they are copied once; large
 * ones go from the caller's memory straight to the sink (append).
 */
#ifndef PEAT_CORE_SEGMENT_CHUNK_WRITER_H
#define PEAT_CORE_SEGMENT_CHUNK_WRITER_H

#include "core/segment/segment.h"

enum {
    /* Bytes per write to the sink; whole chunks. Written in pieces of 2 MiB, and at multiples of
     * that, a file lies in the page cache as huge pages, which makes reading it back through a
     * mapping cheaper. */
    PT_CHUNK_WRITER_WRITE_SIZE = 2097152,
    PT_CHUNK_WRITER_PIECE_MAX = 8192 /* bytes that may be reserved at once */
};

/* Owned by one thread. */
struct pt_chunk_writer {
    struct pt_segment_sink sink;
    struct pt_segment_identity identity;
    uint8_t *buffer;               /* WRITE_SIZE + PIECE_MAX bytes */
    size_t fill;                   /* bytes in the buffer */
    uint64_t offset;               /* bytes given to the sink; whole chunks until finish */
    struct pt_checksum *checksums; /* of the chunks given to the sink */
    size_t checksum_count;
    size_t checksum_capacity;
};

/* PEAT_NO_MEMORY. */
enum peat_status pt_chunk_writer_init(struct pt_chunk_writer *writer,
                                      const struct pt_segment_identity *identity,
                                      const struct pt_segment_sink *sink);
void pt_chunk_writer_fini(struct pt_chunk_writer *writer);

/* Bytes taken so far: where the next one goes. */
static inline uint64_t pt_chunk_writer_position(const struct pt_chunk_writer *writer)
{
    return writer->offset + writer->fill;
}

/* Give the full chunks in the buffer to the sink; the rest moves to the buffer's start. */
enum peat_status pt_chunk_writer_flush(struct pt_chunk_writer *writer);

/*
 * Room for @p size <= PT_CHUNK_WRITER_PIECE_MAX bytes at *place_out, to be written and then counted
 * with pt_chunk_writer_advance(). What was written through the writer stays where it is until the
 * next reserve, append or flush.
 */
static inline enum peat_status pt_chunk_writer_reserve(struct pt_chunk_writer *writer, size_t size,
                                                       uint8_t **place_out)
{
    PT_ASSERT(size <= PT_CHUNK_WRITER_PIECE_MAX);
    if (__builtin_expect(writer->fill >= PT_CHUNK_WRITER_WRITE_SIZE, 0)) {
        enum peat_status status = pt_chunk_writer_flush(writer);

        if (status < 0)
            return status;
    }
    *place_out = writer->buffer + writer->fill;
    return PEAT_OK;
}

static inline void pt_chunk_writer_advance(struct pt_chunk_writer *writer, size_t size)
{
    writer->fill += size;
}

/* Take @p size bytes of any number. Sink's errors, PEAT_NO_MEMORY. */
enum peat_status pt_chunk_writer_append(struct pt_chunk_writer *writer, const void *data,
                                        size_t size);
/* Take copies of @p filler up to the next multiple of @p unit, at most 4 KiB. */
enum peat_status pt_chunk_writer_pad(struct pt_chunk_writer *writer, uint64_t unit, uint8_t filler);
/* Give everything to the sink, the last chunk too, however short: no more can be taken. */
enum peat_status pt_chunk_writer_finish(struct pt_chunk_writer *writer);

#endif

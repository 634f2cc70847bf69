/* The history that records make, without a log: what a record appended elsewhere would do to it. */
#include "core/base/bytes.h"
#include "wal/log_parts.h"

uint64_t pt_log_payload_extent(uint64_t size)
{
    uint64_t parts = size == 0 ? 0 : (size - 1) / PT_LOG_PAYLOAD_SIZE_MAX;

    return parts * PT_LOG_RECORD_SIZE_MAX +
           pt_log_record_size(size - parts * PT_LOG_PAYLOAD_SIZE_MAX);
}

/* The chain over one of the records that a payload is split into. */
static void part_add(struct pt_log_point *point, const struct pt_record *record,
                     struct peat_bytes part, bool more, uint8_t *scratch)
{
    struct pt_log_header header = {
        .size = pt_le32(pt_u32(part.size)),
        .kind = (uint8_t)record->kind,
        .flags = more ? PT_LOG_MORE : 0,
        .mark = pt_le16(PT_LOG_MARK),
        .epoch = pt_le64(record->epoch),
        .commit = pt_le64(record->commit),
        .time_us = pt_le64(record->time_us),
        .position = pt_le64(point->position),
    };

    memcpy(scratch, (const uint8_t *)&header + PT_LOG_CHAINED_OFFSET, PT_LOG_CHAINED_SIZE);
    pt_bytes_put(scratch + PT_LOG_CHAINED_SIZE, part);
    point->chain = pt_siphash128(&point->chain, scratch, PT_LOG_CHAINED_SIZE + part.size);
    point->position += pt_log_record_size(part.size);
}

struct pt_log_point pt_log_point_behind(const struct pt_log_point *point,
                                        const struct pt_record *record, uint8_t *scratch)
{
    struct pt_log_point behind = {.position = point->position, .chain = point->chain};
    const uint8_t *data = record->payload.data;
    size_t rest = record->payload.size;

    for (;;) {
        size_t size = rest > PT_LOG_PAYLOAD_SIZE_MAX ? PT_LOG_PAYLOAD_SIZE_MAX : rest;

        part_add(&behind, record, pt_bytes(data, size), rest > size, scratch);
        rest -= size;
        if (rest == 0)
            break;
        data += size;
    }
    behind.epoch = record->epoch;
    behind.commit = record->commit;
    behind.time_us = record->time_us;
    return behind;
}

/*
 * Target: a log's records and links behind right checksums and chains, replayed by opening the store that
 * they belong to.
 */
#include "core/db/manifest_format.h"
#include "tests/fuzz_store.h"
#include "wal/log_format.h"

#include <stdlib.h>
#include <string.h>

/* What the first byte of an input asks for. If there is a link, it is the last of the bytes. */
enum { SEAL = 1, FIX_ORDER = 2, HAS_LINK = 4 };
enum { INPUT_MAX = 16384 };

/* The log of the store to begin with, and how it goes on. */
struct place {
    const struct pt_fuzz_base *base;
    const struct pt_manifest_log *log;
    uint64_t start; /* bytes in the file: where records begin */
    uint64_t end;   /* bytes in the file: the last link block */
};

static struct place place_of_log(void)
{
    struct place place = {.base = pt_fuzz_base_named("log")};
    const struct pt_manifest_header *header =
        (const void *)(place.base->bytes + place.base->manifest_offset);
    uint64_t region = pt_le64_value(header->log.region_offset);

    place.log = &header->log;
    place.start = region + pt_le64_value(header->log.offset);
    place.end = region + pt_log_data_end(pt_le64_value(header->log.region_size));
    return place;
}

static void checksum_seal(struct pt_log_header *header, const struct pt_id *nonce)
{
    header->checksum =
        pt_le64(pt_siphash(nonce, (uint8_t *)header + PT_LOG_CHECKED_OFFSET, PT_LOG_CHECKED_SIZE));
}

/* What must continue what was before does, whatever the input said. */
static void order_fix(struct pt_log_header *header, const struct place *place, uint64_t *commit,
                      uint64_t position)
{
    header->mark = pt_le16(PT_LOG_MARK);
    header->position = pt_le64(position);
    header->epoch = place->log->epoch;
    *commit += header->kind == 1;
    header->commit = pt_le64(*commit);
}

/* Make the records that begin in [bytes, bytes + size) right, one behind the other, also one that claims
 * what lies behind the region; *chain is the last one's. */
static void records_seal(const struct place *place, uint8_t *bytes, size_t size, bool fix,
                         struct pt_id *chain)
{
    uint64_t there = place->base->size - place->start; /* bytes of the file */
    uint64_t commit = pt_le64_value(place->log->commit);
    uint64_t position = pt_le64_value(place->log->position);
    size_t offset = 0;

    while (size - offset >= PT_LOG_HEADER_SIZE) {
        struct pt_log_header *header = (void *)(bytes + offset);
        uint64_t payload = pt_le32_value(header->size);
        uint64_t record = pt_log_record_size(payload);

        if (payload > there - offset - PT_LOG_HEADER_SIZE)
            return;
        if (fix)
            order_fix(header, place, &commit, position);
        *chain = pt_siphash128(chain, bytes + offset + PT_LOG_CHAINED_OFFSET,
                               PT_LOG_CHAINED_SIZE + payload);
        header->chain = *chain;
        checksum_seal(header, &place->log->nonce);
        if (record > size - offset)
            return;
        offset += record;
        position += record;
    }
}

static void link_put(const struct place *place, uint8_t *store, const uint8_t *bytes,
                     const struct pt_id *chain, bool seal)
{
    struct pt_log_link link;
    uint64_t region = pt_le64_value(place->log->region_offset);

    memcpy(&link, bytes, sizeof(link));
    if (seal) {
        link.mark = pt_le16(PT_LOG_MARK);
        link.kind = PT_LOG_KIND_LINK;
        link.size = pt_le32(0);
        link.flags = 0;
        link.chain = *chain;
        link.checksum = pt_le64(pt_siphash(
            &place->log->nonce, (uint8_t *)&link + PT_LOG_CHECKED_OFFSET, PT_LOG_CHECKED_SIZE));
    }
    memcpy(store + region, &link, sizeof(link));
    memcpy(store + place->end, &link, sizeof(link));
}

static void run(const uint8_t *data, size_t size)
{
    struct place place = place_of_log();
    struct pt_id chain = place.log->chain;
    uint8_t *store = pt_fuzz_copy(place.base);
    size_t records;

    if (size < 1)
        return;
    records = size - 1;
    if ((data[0] & HAS_LINK) != 0 && records >= sizeof(struct pt_log_link))
        records -= sizeof(struct pt_log_link);
    memset(store + place.start, 0, place.end - place.start);
    memcpy(store + place.start, data + 1, records);
    if ((data[0] & SEAL) != 0)
        records_seal(&place, store + place.start, records, (data[0] & FIX_ORDER) != 0, &chain);
    if (records < size - 1)
        link_put(&place, store, data + 1 + records, &chain, (data[0] & SEAL) != 0);
    pt_fuzz_store_try(store, place.base->size);
}

/* Bytes of the records that there are. */
static size_t records_size(const struct place *place)
{
    uint64_t offset = place->start;

    for (;;) {
        const struct pt_log_header *header = (const void *)(place->base->bytes + offset);

        if (pt_le16_value(header->mark) == PT_LOG_MARK) {
            offset += pt_log_record_size(pt_le32_value(header->size));
        } else if (offset % PT_LOG_BLOCK != 0) { /* behind a sync they go on in the next block */
            offset = pt_round_up(offset, PT_LOG_BLOCK);
        } else {
            return (size_t)(offset - place->start);
        }
    }
}

static void seeds(void (*give)(void *context, const void *data, size_t size), void *context)
{
    struct place place = place_of_log();
    size_t size = records_size(&place);
    struct pt_log_link link = {.region_offset =
                                   pt_le64(pt_le64_value(place.log->region_offset) + 65536),
                               .region_size = pt_le64(131072)};
    uint8_t bytes[INPUT_MAX];

    if (size > sizeof(bytes) - 1 - sizeof(link))
        size = sizeof(bytes) - 1 - sizeof(link);
    bytes[0] = SEAL;
    memcpy(bytes + 1, place.base->bytes + place.start, size);
    give(context, bytes, 1 + size);
    bytes[0] = SEAL | FIX_ORDER | HAS_LINK;
    memcpy(bytes + 1 + size, &link, sizeof(link));
    give(context, bytes, 1 + size + sizeof(link));
    memcpy(bytes + 1 + 500, &link, sizeof(link)); /* a short one is changed faster */
    give(context, bytes, 1 + 500 + sizeof(link));
}

const struct pt_fuzz_target pt_fuzz_log = {
    .name = "log",
    .sentence = "forged log records give an error, or a store that is safe to use",
    .size_max = INPUT_MAX,
    .run = run,
    .seeds = seeds};

#include "wal/log_region.h"

#include "core/base/alloc.h"
#include "core/base/bug.h"

enum {
    TAIL_SIZE_MAX = 65536 /* bytes: what is synced along with a region's end rather than apart */
};

_Static_assert(PT_REGION_UNIT % PT_LOG_BLOCK == 0, "blocks of a region are blocks of the file");
_Static_assert(PT_REGION_UNIT > 2 * PT_LOG_BLOCK, "the smallest region has room for records");

enum peat_status pt_log_region_open(struct pt_arena *arena, uint64_t size, uint64_t size_min,
                                    uint64_t size_reserved_min, uint64_t keep_size, bool mapped,
                                    struct pt_log_region **region_out)
{
    struct pt_log_region *region = NULL;
    enum peat_status status = PEAT_OK;

    PT_ASSERT(size >= size_min && size_min >= size_reserved_min);
    PT_ASSERT(size_reserved_min >= PT_REGION_UNIT);
    *region_out = NULL;

    region = pt_calloc(1, sizeof(*region));
    if (region == NULL) {
        status = pt_fail(PEAT_NO_MEMORY, "log region");
        goto done;
    }
    for (;;) {
        status = pt_arena_alloc(arena, size, &region->extent);
        if (status != PEAT_NO_SPACE || size == size_min)
            break;
        size = size / 2 > size_min ? pt_round_up(size / 2, PT_REGION_UNIT) : size_min;
    }
    if (status == PEAT_NO_SPACE && keep_size != PT_KEEP_ALL)
        status = pt_arena_alloc_reserved(arena, size_min, size_reserved_min, keep_size,
                                         &region->extent, NULL);
    if (status < 0)
        goto done;
    PT_ASSERT(region->extent.size >= size_reserved_min);
    if (!PT_BUG(NONCE_REPEATED))
        pt_random(&region->nonce, sizeof(region->nonce));
    region->used = pt_log_data_start();
    region->synced = pt_log_data_start();
    if (mapped)
        status = pt_file_map_writable(pt_arena_file(arena), region->extent.offset,
                                      region->extent.size, &region->map);
    if (status < 0) {
        pt_arena_release(arena, region->extent);
        goto done;
    }

    *region_out = region;
    region = NULL;
done:
    pt_log_region_close(region);
    return status;
}

void pt_log_region_unmap(struct pt_log_region *region)
{
    if (region->map != NULL)
        pt_file_unmap(region->map, region->extent.size);
    region->map = NULL;
}

void pt_log_region_close(struct pt_log_region *region)
{
    if (region == NULL)
        return;
    pt_log_region_unmap(region);
    pt_free(region);
}

/*
 * In single blocks: written in larger pieces, the page cache would hold the region in large folios,
 * and a store through the mapping dirties a whole folio, which each sync then writes.
 */
enum peat_status pt_log_region_zero(struct pt_log_region *region, struct pt_arena *arena,
                                    uint64_t size_max, bool durable)
{
    static const uint8_t zeros[PT_LOG_BLOCK];
    uint64_t from = region->zeroed;
    uint64_t rest = region->extent.size - from;
    uint64_t to = from + (size_max < rest ? size_max : rest);
    enum peat_status status = PEAT_OK;

    PT_ASSERT(region->used == pt_log_data_start() && !region->left);
    PT_ASSERT(size_max % PT_LOG_BLOCK == 0);
    for (uint64_t offset = from; offset < to && status == PEAT_OK; offset += PT_LOG_BLOCK)
        status = pt_file_write(pt_arena_file(arena), region->extent.offset + offset, zeros,
                               sizeof(zeros));
    if (status == PEAT_OK && durable && to > from)
        status = pt_log_region_sync(region, arena, from, to);
    if (status == PEAT_OK)
        region->zeroed = to;
    return status;
}

enum peat_status pt_log_region_link(const struct pt_log_region *region, struct pt_arena *arena,
                                    const struct pt_log_region *next, uint64_t durable_position,
                                    const struct pt_id *chain)
{
    struct pt_log_link link = {
        .durable_position = pt_le64(durable_position),
        .chain = *chain,
        .kind = PT_LOG_KIND_LINK,
        .mark = pt_le16(PT_LOG_MARK),
        .region_offset = pt_le64(next->extent.offset),
        .region_size = pt_le64(next->extent.size),
        .nonce = next->nonce,
    };
    const uint8_t *checked = (const uint8_t *)&link + PT_LOG_CHECKED_OFFSET;
    struct pt_file *file = pt_arena_file(arena);
    enum peat_status status;

    link.checksum = pt_le64(pt_siphash(&region->nonce, checked, PT_LOG_CHECKED_SIZE));
    status = pt_file_write(file, region->extent.offset, &link, sizeof(link));
    if (status == PEAT_OK)
        status = pt_file_write(file, region->extent.offset + pt_log_data_end(region->extent.size),
                               &link, sizeof(link));
    return status;
}

enum peat_status pt_log_region_sync(const struct pt_log_region *region, struct pt_arena *arena,
                                    uint64_t from, uint64_t to)
{
    uint64_t offset = region->extent.offset + from;
    enum peat_status status;

    PT_ASSERT(from < to && to <= region->extent.size);
    status = pt_arena_settle_size(arena, region->extent.offset + region->extent.size);
    if (status < 0)
        return status;
    /* Through the arena's mapping: a range of the file is synced, whoever wrote to it. The address is
     * only named, never written to. */
    return pt_file_sync_range(pt_arena_file(arena), offset,
                              (void *)((uintptr_t)pt_arena_base(arena) + offset), to - from);
}

enum peat_status pt_log_region_sync_left(const struct pt_log_region *region, struct pt_arena *arena,
                                         uint64_t from, uint64_t to)
{
    uint64_t size = region->extent.size;
    enum peat_status status = PEAT_OK;

    PT_ASSERT(region->left && from <= to && to <= pt_log_data_end(size));
    if (size - from > TAIL_SIZE_MAX && to > from) {
        status = pt_log_region_sync(region, arena, from, to);
        from = to;
    }
    if (size - from > TAIL_SIZE_MAX)
        from = pt_log_data_end(size);
    if (PT_BUG(LINK_SYNC_DROPPED))
        return status;
    if (status == PEAT_OK)
        status = pt_log_region_sync(region, arena, from, size);
    if (status == PEAT_OK)
        status = pt_log_region_sync(region, arena, 0, PT_LOG_BLOCK);
    return status;
}

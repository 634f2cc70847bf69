#include "wal/log_view.h"

#include "core/base/bug.h"
#include "wal/log.h"

enum {
    FAULT_SIZE = 262144 /* bytes faulted in at a time: a system call each */
};

enum peat_status pt_log_view_init(struct pt_log_view *view, struct pt_arena *arena,
                                  struct pt_extent extent, const struct pt_id *nonce)
{
    uint64_t end;

    *view = (struct pt_log_view){.extent = extent, .nonce = *nonce};
    if (extent.offset % PT_REGION_UNIT != 0 || extent.size % PT_REGION_UNIT != 0 ||
        extent.offset < PT_ARENA_START || extent.size == 0 ||
        __builtin_add_overflow(extent.offset, extent.size, &end))
        return PEAT_DONE;
    if (end > pt_arena_size(arena)) {
        enum peat_status status = pt_arena_refresh_size(arena);

        if (status < 0)
            return status;
        if (end > pt_arena_size(arena))
            return PEAT_DONE;
    }
    view->file = pt_arena_file(arena);
    view->base = pt_arena_base(arena) + extent.offset;
    return PEAT_OK;
}

static enum peat_status fault(const struct pt_log_view *view, uint64_t from, uint64_t to)
{
    PT_ASSERT(from < to && to <= view->extent.size);
    /* The address is only named, never written to. */
    return pt_file_populate(view->file, (void *)((uintptr_t)view->base + from), to - from, false);
}

/* Fault [@p from, @p to) in, and what is likely to be read next. */
static enum peat_status fault_ahead(struct pt_log_view *view, uint64_t from, uint64_t to)
{
    uint64_t start = pt_round_down(from, PT_REGION_UNIT);
    uint64_t end = pt_round_up(to, PT_REGION_UNIT);
    enum peat_status status;

    if (from >= view->faulted_from && to <= view->faulted_to)
        return PEAT_OK;
    if (end < start + FAULT_SIZE)
        end = start + FAULT_SIZE;
    if (end > view->extent.size)
        end = view->extent.size;
    status = fault(view, start, end);
    if (status < 0)
        return status;
    view->faulted_from = start;
    view->faulted_to = end;
    return PEAT_OK;
}

static bool checksum_holds(const struct pt_log_view *view, const void *bytes)
{
    const uint8_t *checked = (const uint8_t *)bytes + PT_LOG_CHECKED_OFFSET;

    return PT_BUG(LOG_UNCHECKED) ||
           pt_siphash(&view->nonce, checked, PT_LOG_CHECKED_SIZE) == pt_read_le64(bytes);
}

static bool header_holds(const struct pt_log_view *view, uint64_t offset,
                         const struct pt_log_header *header)
{
    uint64_t size = pt_le32_value(header->size);
    bool more = (header->flags & PT_LOG_MORE) != 0;

    if (pt_le16_value(header->mark) != PT_LOG_MARK || !checksum_holds(view, header))
        return false;
    if (header->kind < PT_RECORD_BATCH || header->kind > PT_RECORD_INSTALL)
        return false;
    if (header->flags > PT_LOG_MORE || size > PT_LOG_PAYLOAD_SIZE_MAX)
        return false;
    if (more && size != PT_LOG_PAYLOAD_SIZE_MAX)
        return false;
    return offset + pt_log_record_size(size) <= pt_log_data_end(view->extent.size);
}

enum peat_status pt_log_view_record(struct pt_log_view *view, uint64_t offset,
                                    struct pt_log_header *header_out, const uint8_t **record_out)
{
    enum peat_status status;
    uint64_t end;

    if (offset < pt_log_data_start() || offset % PT_LOG_RECORD_ALIGNMENT != 0 ||
        offset > pt_log_data_end(view->extent.size) - PT_LOG_HEADER_SIZE)
        return PEAT_DONE;
    status = fault_ahead(view, offset, offset + PT_LOG_HEADER_SIZE);
    if (status < 0)
        return status;
    memcpy(header_out, view->base + offset, sizeof(*header_out));
    if (!header_holds(view, offset, header_out))
        return PEAT_DONE;
    end = offset + PT_LOG_HEADER_SIZE + pt_le32_value(header_out->size);
    *record_out = view->base + offset;
    return fault_ahead(view, offset, end);
}

static bool link_holds(const struct pt_log_view *view, const struct pt_log_link *link)
{
    return pt_le16_value(link->mark) == PT_LOG_MARK && checksum_holds(view, link) &&
           link->kind == PT_LOG_KIND_LINK && link->flags == 0 && pt_le32_value(link->size) == 0;
}

enum peat_status pt_log_view_link(struct pt_log_view *view, struct pt_log_link *link_out)
{
    uint64_t second = pt_log_data_end(view->extent.size);

    if (!view->links_faulted) {
        enum peat_status status = fault(view, 0, PT_LOG_BLOCK);

        if (status == PEAT_OK)
            status = fault(view, second, view->extent.size);
        if (status < 0)
            return status;
        view->links_faulted = true;
    }
    memcpy(link_out, view->base, sizeof(*link_out));
    if (link_holds(view, link_out))
        return PEAT_OK;
    memcpy(link_out, view->base + second, sizeof(*link_out));
    return link_holds(view, link_out) ? PEAT_OK : PEAT_DONE;
}

static enum peat_status find_durable_record(struct pt_log_view *view, uint64_t from,
                                            uint64_t position, uint64_t *commit_out)
{
    uint64_t last = pt_log_data_end(view->extent.size) - PT_LOG_HEADER_SIZE;

    for (uint64_t offset = from; offset <= last; offset += PT_LOG_RECORD_ALIGNMENT) {
        struct pt_log_header header;
        enum peat_status status = fault_ahead(view, offset, offset + sizeof(header));

        if (status < 0)
            return status;
        /* The cheapest test first: nearly all places hold no record. */
        if (pt_read_le16(view->base + offset + offsetof(struct pt_log_header, mark)) != PT_LOG_MARK)
            continue;
        memcpy(&header, view->base + offset, sizeof(header));
        if (header_holds(view, offset, &header) &&
            pt_le64_value(header.durable_position) > position) {
            *commit_out = pt_le64_value(header.commit);
            return PEAT_OK;
        }
    }
    return PEAT_DONE;
}

enum peat_status pt_log_view_find_durable(struct pt_log_view *view, uint64_t from,
                                          uint64_t position, uint64_t *commit_out)
{
    struct pt_log_link link;
    enum peat_status status = find_durable_record(view, from, position, commit_out);

    if (status != PEAT_DONE)
        return status;
    *commit_out = 0;
    status = pt_log_view_link(view, &link);
    if (status == PEAT_OK && pt_le64_value(link.durable_position) <= position)
        status = PEAT_DONE;
    return status;
}

#include "core/db/backup_header.h"

#include "core/arena/superblock.h"

#include <inttypes.h>

static struct pt_checksum page_checksum(const struct pt_backup_page *page)
{
    struct pt_key key =
        pt_key_derive(&page->store_id, PT_KEY_BACKUP, pt_le64_value(page->commit), 0);

    return pt_checksum(&key, page, offsetof(struct pt_backup_page, checksum));
}

void pt_backup_header_encode(const struct pt_backup_header *header, struct pt_backup_page *page)
{
    *page = (struct pt_backup_page){
        .magic = pt_le64(PT_BACKUP_MAGIC),
        .version = pt_le32(PT_BACKUP_VERSION),
        .kind = pt_le32((uint32_t)header->kind),
        .store_id = header->store_id,
        .commit = pt_le64(header->commit),
        .time_us = pt_le64(header->time_us),
        .entry_count = pt_le64(header->entry_count),
        .put_count = pt_le64(header->put_count),
        .delete_count = pt_le64(header->delete_count),
        .file_size = pt_le64(header->file_size),
        .digest = header->digest,
        .base_commit = pt_le64(header->base_commit),
        .base_digest = header->base_digest,
    };
    page->checksum = page_checksum(page);
}

static bool is_zeros(const struct pt_backup_page *page)
{
    static const struct pt_backup_page zeros;

    return memcmp(page, &zeros, sizeof(zeros)) == 0;
}

/* Find damage first, then a newer version: a flipped bit is never taken for a newer peat. */
static enum peat_status page_check(struct pt_file *file, const struct pt_backup_page *page)
{
    struct pt_checksum checksum = page_checksum(page);
    uint32_t version = pt_le32_value(page->version);

    if (is_zeros(page))
        return pt_fail(PEAT_INVALID, "%s is a store, but no backup", pt_file_name(file));
    if (!pt_checksum_equal(&checksum, &page->checksum) ||
        pt_le64_value(page->magic) != PT_BACKUP_MAGIC)
        return pt_fail(PEAT_CORRUPT, "%s: the backup header at offset %d is damaged",
                       pt_file_name(file), PT_BACKUP_HEADER_OFFSET);
    if (version > PT_BACKUP_VERSION)
        return pt_fail(PEAT_VERSION, "%s has backup version %" PRIu32 "; this peat knows up to %d",
                       pt_file_name(file), version, PT_BACKUP_VERSION);
    if (version == 0 || pt_le32_value(page->kind) > PT_MANIFEST_INCREMENT)
        return pt_fail(PEAT_CORRUPT, "%s: the backup header is wrong", pt_file_name(file));
    return PEAT_OK;
}

static void page_decode(const struct pt_backup_page *page, struct pt_backup_header *header)
{
    header->kind = (enum pt_manifest_kind)pt_le32_value(page->kind);
    header->store_id = page->store_id;
    header->commit = pt_le64_value(page->commit);
    header->time_us = pt_le64_value(page->time_us);
    header->entry_count = pt_le64_value(page->entry_count);
    header->put_count = pt_le64_value(page->put_count);
    header->delete_count = pt_le64_value(page->delete_count);
    header->file_size = pt_le64_value(page->file_size);
    header->digest = page->digest;
    header->base_commit = pt_le64_value(page->base_commit);
    header->base_digest = page->base_digest;
}

/* A pipe that broke leaves a file that begins like a backup. */
static enum peat_status size_check(struct pt_file *file, const struct pt_backup_header *header)
{
    struct pt_file_info info;
    enum peat_status status = pt_file_info(file, &info);

    if (status == PEAT_OK && info.size < header->file_size)
        status = pt_fail(PEAT_CORRUPT, "%s is cut short: %" PRIu64 " bytes of %" PRIu64,
                         pt_file_name(file), info.size, header->file_size);
    return status;
}

enum peat_status pt_backup_header_read(struct pt_file *file, struct pt_backup_header *header_out)
{
    struct pt_backup_page page;
    struct pt_superblock superblock;
    enum peat_status status = pt_superblock_read(file, &superblock, NULL);

    if (status == PEAT_NOT_FOUND)
        status = pt_fail(PEAT_INVALID, "%s is empty, or a store whose making was cut short",
                         pt_file_name(file));
    if (status == PEAT_OK)
        status = pt_file_read(file, PT_BACKUP_HEADER_OFFSET, &page, sizeof(page));
    if (status == PEAT_OK)
        status = page_check(file, &page);
    if (status < 0)
        return status;
    page_decode(&page, header_out);
    if (superblock.generation != PT_BACKUP_GENERATION)
        return pt_fail(PEAT_INVALID,
                       "%s was opened for writing since it was a backup: what it held is not known "
                       "any more",
                       pt_file_name(file));
    if (memcmp(&superblock.store_id, &header_out->store_id, sizeof(superblock.store_id)) != 0)
        return pt_fail(PEAT_CORRUPT, "%s: the backup header is another store's",
                       pt_file_name(file));
    return size_check(file, header_out);
}

bool pt_digest_equal(const struct pt_digest *a, const struct pt_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void pt_backup_header_tell(const struct pt_backup_header *header, struct peat_backup_info *info)
{
    struct peat_backup_info told = {
        .struct_size = info->struct_size,
        .is_increment = header->kind == PT_MANIFEST_INCREMENT,
        .commit = header->commit,
        .time_us = header->time_us,
        .entry_count = header->entry_count,
        .put_count = header->put_count,
        .delete_count = header->delete_count,
        .file_size = header->file_size,
        .base_commit = header->base_commit,
    };

    memcpy(told.store_id, header->store_id.bytes, sizeof(told.store_id));
    memcpy(told.digest, header->digest.bytes, sizeof(told.digest));
    memcpy(told.base_digest, header->base_digest.bytes, sizeof(told.base_digest));
    memcpy(info, &told, info->struct_size < sizeof(told) ? info->struct_size : sizeof(told));
}

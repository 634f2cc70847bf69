/* A backup's header: what the file says of itself. */
#ifndef PEAT_CORE_DB_BACKUP_HEADER_H
#define PEAT_CORE_DB_BACKUP_HEADER_H

#include "core/base/file.h"
#include "core/db/backup_format.h"
#include "core/db/manifest_format.h"

struct pt_backup_header {
    enum pt_manifest_kind kind;
    struct pt_id store_id;
    uint64_t commit;
    uint64_t time_us;
    uint64_t entry_count; /* of the state */
    uint64_t put_count;
    uint64_t delete_count;
    uint64_t file_size;      /* bytes */
    struct pt_digest digest; /* of the state */
    uint64_t base_commit;
    struct pt_digest base_digest;
};

void pt_backup_header_encode(const struct pt_backup_header *header, struct pt_backup_page *page);

/*
 * Read it from @p file. PEAT_INVALID: a peat store that is no backup, or one that was written to
 * since. PEAT_VERSION: of a newer peat. PEAT_CORRUPT, PEAT_IO; and what pt_superblock_read() says of
 * what is no peat store.
 */
enum peat_status pt_backup_header_read(struct pt_file *file, struct pt_backup_header *header_out);

bool pt_digest_equal(const struct pt_digest *a, const struct pt_digest *b);

/* For the caller of a public call, who set @p info's struct_size. */
void pt_backup_header_tell(const struct pt_backup_header *header, struct peat_backup_info *info);

#endif

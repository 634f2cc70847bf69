#include "tests/forge.h"

#include "core/db/db.h"
#include "tests/support.h"

#include <string.h>

void pt_forge_superblock(struct pt_superblock_page *page)
{
    static const struct pt_id no_store;
    struct pt_key key =
        pt_key_derive(&no_store, PT_KEY_SUPERBLOCK, pt_le64_value(page->generation), 0);

    page->checksum = pt_checksum(&key, page, offsetof(struct pt_superblock_page, checksum));
}

void pt_forge_manifest(uint8_t *block, uint64_t size, const struct pt_id *store_id,
                       uint64_t generation)
{
    struct pt_key key = pt_key_derive(store_id, PT_KEY_MANIFEST, generation, 0);
    struct pt_checksum checksum;

    if (size < PT_CHECKSUM_SIZE)
        return;
    checksum = pt_checksum(&key, block, (size_t)(size - PT_CHECKSUM_SIZE));
    memcpy(block + size - PT_CHECKSUM_SIZE, &checksum, sizeof(checksum));
}

void pt_forge_backup(struct pt_backup_page *page)
{
    struct pt_key key =
        pt_key_derive(&page->store_id, PT_KEY_BACKUP, pt_le64_value(page->commit), 0);

    page->checksum = pt_checksum(&key, page, offsetof(struct pt_backup_page, checksum));
}

struct pt_superblock_page *pt_forge_newest(uint8_t *store)
{
    struct pt_superblock_page *pages = (void *)store;
    bool second = pt_le64_value(pages[1].generation) > pt_le64_value(pages[0].generation);

    return &pages[second];
}

void pt_forge_put(struct peat_db *db, struct pt_id_prefix prefix, struct peat_bytes key,
                  struct peat_bytes value)
{
    struct peat_batch batch;

    pt_batch_init(&batch);
    PT_REQUIRE_OK(pt_batch_add(&batch, PT_OP_PUT, &prefix, key, value, NULL));
    PT_REQUIRE_OK(pt_commit(db, &batch, PEAT_DEFAULT, NULL, 0, NULL));
    pt_batch_fini(&batch);
}

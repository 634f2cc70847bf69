/* Forging: bytes of a store's blocks whose checksums are made right again, whatever they say. */
#ifndef PEAT_TESTS_FORGE_H
#define PEAT_TESTS_FORGE_H

#include "core/arena/superblock_format.h"
#include "core/db/backup_format.h"
#include "core/db/collection_id.h"

void pt_forge_superblock(struct pt_superblock_page *page);
/* A block of @p size bytes, which may be too few: then nothing happens. */
void pt_forge_manifest(uint8_t *block, uint64_t size, const struct pt_id *store_id,
                       uint64_t generation);
void pt_forge_backup(struct pt_backup_page *page);

/* The superblock that rules of a store's first bytes: the one of the higher generation. */
struct pt_superblock_page *pt_forge_newest(uint8_t *store);

/* Commit an entry under any stored prefix: of the catalogue, or of a collection that there is not. */
void pt_forge_put(struct peat_db *db, struct pt_id_prefix prefix, struct peat_bytes key,
                  struct peat_bytes value);

#endif

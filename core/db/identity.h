/*
 * What a store's segments depend on besides their entries: the id that checksums are keyed by, and the seed of their
 * hash indexes. Where two stores have the same, either can take a segment of the other as it is.
 */
#ifndef PEAT_CORE_DB_IDENTITY_H
#define PEAT_CORE_DB_IDENTITY_H

#include "core/base/checksum.h"
#include "core/peat.h"

struct peat_db;

struct pt_identity {
    struct pt_id store_id;
    uint64_t hash_seed;
};

/* Any thread. */
struct pt_identity pt_identity_get(struct peat_db *db);
/* An install took it on. */
void pt_identity_set(struct peat_db *db, const struct pt_identity *identity);
bool pt_identity_equal(const struct pt_identity *a, const struct pt_identity *b);
void pt_identity_encode(const struct pt_identity *identity, struct peat_identity *encoded_out);
struct pt_identity pt_identity_decode(const struct peat_identity *encoded);

#endif

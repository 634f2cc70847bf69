/* A digester: BLAKE2b-256 over bytes that come piece by piece. */
#ifndef PEAT_CORE_BASE_DIGESTER_H
#define PEAT_CORE_BASE_DIGESTER_H

#include "core/base/checksum.h"

struct pt_digester; /* one thread at a time */

/* PEAT_NO_MEMORY. Release with pt_digester_free(). */
enum peat_status pt_digester_new(struct pt_digester **digester_out);
void pt_digester_free(struct pt_digester *digester); /* NULL is allowed */
void pt_digester_add(struct pt_digester *digester, const void *data, size_t size);
/* The digest of all that was added. Once: nothing can be added after, until it is begun anew. */
struct pt_digest pt_digester_finish(struct pt_digester *digester);
/* Forget what was added. */
void pt_digester_restart(struct pt_digester *digester);

#endif

/* What collections are called, by their numbers: as of a snapshot, and as a feed tells of more. */
#ifndef PEAT_TOOLS_COLLECTION_NAMES_H
#define PEAT_TOOLS_COLLECTION_NAMES_H

#include "tools/target.h"
#include "tools/textbuf.h"

struct pt_collection_name; /* a number and its path */

/* Owned by one thread; all zeros: the root alone. */
struct pt_collection_names {
    struct pt_collection_name *names; /* owned; ascending by number */
    size_t count;
    size_t capacity;
};

/* Add all that there are as of the target's snapshot. Complains about what fails. */
enum pt_exit pt_collection_names_load(struct pt_collection_names *names,
                                      const struct pt_target *target);
/* The collection @p number is called @p path. False: no memory. */
bool pt_collection_names_add(struct pt_collection_names *names, uint64_t number,
                             struct peat_bytes path);
/* Its path; data NULL: not known. Valid until the next one is added. */
struct peat_bytes pt_collection_names_find(const struct pt_collection_names *names,
                                           uint64_t number);
void pt_collection_names_fini(struct pt_collection_names *names);

#endif

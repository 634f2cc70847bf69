/* Commits as JSON lines, as 'peat feed' writes them: a line for each operation. */
#ifndef PEAT_TOOLS_FEED_JSON_H
#define PEAT_TOOLS_FEED_JSON_H

#include "tools/collection_names.h"

/* Owned by one thread. */
struct pt_feed_json {
    struct pt_collection_names names; /* the caller's to load; what is told of more is added */
    struct pt_textbuf path;           /* of a collection that comes or goes */
};

void pt_feed_json_init(struct pt_feed_json *json);
void pt_feed_json_fini(struct pt_feed_json *json);
/* Write the operations of a batch to the output. PEAT_NO_MEMORY, and what peat_record_operation() fails with. */
enum peat_status pt_feed_json_write(struct pt_feed_json *json, const struct peat_record *record);

#endif

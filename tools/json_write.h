/* JSON to standard output: members of an object. Commas and braces are the caller's. */
#ifndef PEAT_TOOLS_JSON_WRITE_H
#define PEAT_TOOLS_JSON_WRITE_H

#include "core/peat.h"

/* "name":"characters", or "name64":"base64" for bytes that are not UTF-8. */
void pt_json_member_write(const char *name, struct peat_bytes bytes);
/* "collection":["name", ...]; in base64 if any of the names is not UTF-8. */
void pt_json_path_write(struct peat_bytes path);

#endif

/* Keys that cannot be read, as text: for peat check and peat salvage. */
#ifndef PEAT_TOOLS_LOST_TEXT_H
#define PEAT_TOOLS_LOST_TEXT_H

#include "core/peat.h"

/* To standard output: the collection's path, "(root)" or its number, and which of its keys, with the
 * escapes of the tsv format; no line end. */
void pt_lost_write(const struct peat_lost *lost);
/* The same as a JSON object; keys that are not UTF-8 in base64. */
void pt_lost_json_write(const struct peat_lost *lost);

#endif

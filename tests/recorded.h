/*
 * What is recorded of a store file: its states, each with a name, a commit, the number of entries and the
 * digest. The text is one line for each:
 *
 *   state NAME COMMIT ENTRIES DIGEST
 *
 * The newest state's name is "-"; a kept state without a name is "@GENERATION".
 */
#ifndef PEAT_TESTS_RECORDED_H
#define PEAT_TESTS_RECORDED_H

#include "tests/support.h"

#include <stdio.h>

/* Write the lines for every state that the open store shows. */
void pt_recorded_write(FILE *file, struct peat_db *db);
/* The line for the newest alone. */
void pt_recorded_write_newest(FILE *file, struct peat_db *db);

#endif

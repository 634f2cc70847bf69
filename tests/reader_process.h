/* A process of its own that has the store open read-only and does and tells what it is asked. */
#ifndef PEAT_TESTS_READER_PROCESS_H
#define PEAT_TESTS_READER_PROCESS_H

#include "tests/support.h"

/* What the reader sees: the commit number, and pt_oracle_fingerprint() of everything at it. */
struct pt_reader_view {
    uint64_t commit;
    uint64_t fingerprint;
};

struct pt_reader;

/* Start it while this process has no store open. */
struct pt_reader *pt_reader_start(void);
/* End it in good order; or with SIGKILL. Both release @p reader. */
void pt_reader_stop(struct pt_reader *reader);
void pt_reader_kill(struct pt_reader *reader);

/* Each of these must succeed there. */
struct pt_reader_view pt_reader_open(struct pt_reader *reader, const char *path);
struct pt_reader_view pt_reader_refresh(struct pt_reader *reader);
/* Keep a snapshot of what the last open or refresh showed, in place of the one held before. */
void pt_reader_hold(struct pt_reader *reader);
/* Read the held snapshot in full, again. */
struct pt_reader_view pt_reader_held(struct pt_reader *reader);
void pt_reader_close(struct pt_reader *reader);

#endif

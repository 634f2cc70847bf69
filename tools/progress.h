/* A line of progress on standard error: shown only where that is a terminal. */
#ifndef PEAT_TOOLS_PROGRESS_H
#define PEAT_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Owned by the command; one at a time. */
struct pt_progress {
    const char *noun;       /* what is counted: "entries"; NULL: only bytes */
    uint64_t size_expected; /* bytes in all; 0: not known */
    uint64_t start_ns;
    uint64_t shown_ns; /* when the line was last written */
    bool enabled;
};

void pt_progress_init(struct pt_progress *progress, const char *noun, uint64_t size_expected);

/* Show how far it is; cheap enough for every commit, because it writes ten times a second. */
void pt_progress_show(struct pt_progress *progress, uint64_t count, uint64_t size);

/* "N entries, S bytes in T seconds (R per second)" as the last line, on a terminal or if
 * @p always. */
void pt_progress_finish(struct pt_progress *progress, uint64_t count, uint64_t size, bool always);

/* Take the line away, if one is shown, before something else is written to the terminal. */
void pt_progress_wipe(void);

#endif

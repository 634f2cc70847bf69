/* What a primary tells, as lines on standard error. */
#ifndef PEAT_TOOLS_EVENT_LINES_H
#define PEAT_TOOLS_EVENT_LINES_H

#include "repl/peat_repl.h"

/* For peat_primary_options.event; @p store: the store's name, a string. */
void pt_event_line(void *store, const struct peat_primary_event *event);

#endif

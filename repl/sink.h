/* Text on its way to a caller, who takes it a piece at a time: with what JSON and labels of OpenMetrics need. Owned by one thread. */
#ifndef PEAT_REPL_SINK_H
#define PEAT_REPL_SINK_H

#include "core/peat.h"

#include <stdbool.h>

struct pt_sink {
    bool (*write)(void *context, const char *text, size_t size);
    void *context;
    bool failed; /* it has returned false: nothing more is given to it */
    size_t used;
    char buffer[4096];
};

void pt_sink_init(struct pt_sink *sink, bool (*write)(void *context, const char *text, size_t size),
                  void *context);
/* Give what is left. false: some was refused. */
bool pt_sink_finish(struct pt_sink *sink);

void pt_sink_bytes(struct pt_sink *sink, const void *bytes, size_t size);
void pt_sink_string(struct pt_sink *sink, const char *string);
/* At most 255 characters. */
void pt_sink_format(struct pt_sink *sink, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void pt_sink_hex(struct pt_sink *sink, const uint8_t *bytes, size_t size);

/* For a person: what drives a terminal, and what is not UTF-8, as \xHH. */
void pt_sink_shown(struct pt_sink *sink, const char *name);
/* "member":"name"; for bytes that are not UTF-8 "member64":"base64". */
void pt_sink_json(struct pt_sink *sink, const char *member, const char *name);
/* The same as a label: member="name". */
void pt_sink_label(struct pt_sink *sink, const char *member, const char *name);

#endif

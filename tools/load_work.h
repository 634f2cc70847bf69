/* Entries from text into a store: what load does, and serve with what comes on its standard input. */
#ifndef PEAT_TOOLS_LOAD_WORK_H
#define PEAT_TOOLS_LOAD_WORK_H

#include "tools/collection_cache.h"
#include "tools/entry_text.h"
#include "tools/progress.h"
#include "tools/target.h"

struct pt_load_options {
    const struct pt_text_format *format; /* NULL: to be found out */
    enum peat_durability durability;
    uint64_t batch_count; /* entries per commit */
    bool is_report;
    bool is_skipping;
    bool is_verbose;
};

/* One run. */
struct pt_load_work {
    const struct pt_load_options *options;
    struct pt_target target;
    struct pt_collection_cache collections; /* large */
    struct peat_batch *batch;
    struct pt_progress progress;
    uint64_t entry_count;   /* committed */
    uint64_t skipped_count; /* bad records */
    uint64_t size;          /* bytes of the files before this one */
};

#define PT_LOAD_OPTIONS_DEFAULT                         \
    {                                                   \
        .durability = PEAT_DEFAULT, .batch_count = 1000 \
    }

/* Read the value of --format into options->format; false: there is no such one, complained about. */
bool pt_load_format_take(struct pt_load_options *options, const char *text);
/* Load the @p count files called @p names (none: standard input) into work->target, which is open. */
enum pt_exit pt_load_files(struct pt_load_work *work, int count, char **names);
/* Close the target, and say how much it was; @p outcome as of pt_target_close(). */
enum pt_exit pt_load_finish(struct pt_load_work *work, enum pt_exit outcome);

#endif

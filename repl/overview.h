/*
 * What there is to report of a store's replication: of the file, of a primary, of a follower. It is taken once, then written in
 * one of three formats, which share the tables of figures here: so none of them lacks what another one has.
 */
#ifndef PEAT_REPL_OVERVIEW_H
#define PEAT_REPL_OVERVIEW_H

#include "repl/peat_repl.h"
#include "repl/sink.h"

/* A feed with a name, which a follower has, too. */
struct pt_overview_feed {
    char name[PEAT_NAME_SIZE_MAX + 1];
    uint64_t acknowledged;
    uint64_t lag; /* commits */
    uint64_t held_size;
    bool is_open;
    bool is_gone;
    bool is_follower;
};

/* Whoever follows. */
struct pt_overview_follower {
    struct peat_primary_follower about; /* without its name */
    char name[PEAT_NAME_SIZE_MAX + 1];
};

/* Owned by one thread. */
struct pt_overview {
    const char *store; /* borrowed */
    uint64_t time_us;  /* since 1970 */
    uint8_t store_id[16];
    enum peat_role role;
    struct peat_position position;
    struct peat_epoch epochs[PEAT_EPOCHS_MAX];
    size_t epoch_count;
    struct pt_overview_feed *feeds;
    size_t feed_count;
    bool is_primary;
    struct peat_primary_status primary;
    struct pt_overview_follower *followers;
    size_t follower_count;
    bool is_follower;
    struct peat_follower_status follower;
};

/* ---- Figures: numbers in a struct, with what they are called ---- */

enum pt_figure_kind {
    PT_FIGURE_COUNT, /* uint64_t */
    PT_FIGURE_SIZE,  /* uint64_t, bytes */
    PT_FIGURE_TIME,  /* uint64_t, microseconds; in OpenMetrics seconds */
    PT_FIGURE_FLAG   /* bool */
};

struct pt_figure {
    const char *name;   /* in JSON: the field's */
    const char *metric; /* behind the group's prefix; the unit of a size or a time is added */
    const char *words;  /* for people */
    enum pt_figure_kind kind;
    bool is_counter; /* it only grows, from zero on */
    size_t offset;   /* bytes into the struct */
};

struct pt_figures {
    const char *prefix; /* of metrics */
    const struct pt_figure *figures;
    size_t count;
};

extern const struct pt_figures pt_feed_figures;             /* of struct pt_overview_feed */
extern const struct pt_figures pt_primary_figures;          /* of struct peat_primary_status */
extern const struct pt_figures pt_primary_follower_figures; /* of struct peat_primary_follower */
extern const struct pt_figures pt_follower_figures;         /* of struct peat_follower_status */

/* The value of @p figure in the struct at @p of. */
uint64_t pt_figure_value(const struct pt_figure *figure, const void *of);

const char *pt_role_name(enum peat_role role);
enum { PT_ROLE_COUNT = PEAT_ROLE_FENCED + 1, PT_FOLLOWER_STATE_COUNT = PEAT_FOLLOWER_PROMOTED + 1 };

/* ---- Formats ---- */

void pt_overview_text(const struct pt_overview *view, struct pt_sink *sink);
void pt_overview_json(const struct pt_overview *view, struct pt_sink *sink);
void pt_overview_openmetrics(const struct pt_overview *view, struct pt_sink *sink);

#endif

/* The report: a table of rates against a peer with what is required, and single figures below. */
#ifndef PEAT_BENCH_REPORT_H
#define PEAT_BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PT_ROUNDS_MAX = 101, PT_FIGURES_MAX = 64, PT_FIGURE_TEXT_MAX = 160 };

/* One timed piece of work. */
struct pt_tally {
    uint64_t ns;
    uint64_t count; /* operations */
    uint64_t sum;   /* of what was read: the same for both sides, or one of them is wrong */
};

/* Rounds of the same work, done by peat and by a peer right after each other. */
struct pt_pair {
    size_t count;
    double rates[PT_ROUNDS_MAX]; /* operations a second */
    double peer_rates[PT_ROUNDS_MAX];
    double ratios[PT_ROUNDS_MAX]; /* round by round, so that slow phases of the machine cancel */
};

/* What a row must reach. All zero: nothing, it is there to be looked at. */
struct pt_required {
    double ratio; /* to the peer's rate */
    double rate;  /* operations a second */
};

struct pt_report {
    bool tsv;
    bool started;
    uint64_t entry_count;
    unsigned met_count;
    unsigned below_count;
    size_t figure_count;
    char figures[PT_FIGURES_MAX][PT_FIGURE_TEXT_MAX];
};

void pt_pair_add(struct pt_pair *pair, const struct pt_tally *ours, const struct pt_tally *peers);

/* A line of context above the table. */
void pt_report_context(const struct pt_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Print a row: the medians of @p pair. */
void pt_report_row(struct pt_report *report, const char *workload, const char *peer,
                   const struct pt_pair *pair, struct pt_required required);

/* Keep a figure for the end: @p value as printed, and in words what it is. */
void pt_report_figure(struct pt_report *report, const char *workload, const char *name,
                      double value, const char *unit);

/* What a single figure must reach. */
struct pt_bound {
    double value; /* 0: nothing is required */
    bool is_max;  /* it may not be more; else not less */
};

static const struct pt_bound pt_none_required = {0, false};

static inline struct pt_bound pt_at_least(double value)
{
    return (struct pt_bound){value, false};
}

static inline struct pt_bound pt_at_most(double value)
{
    return (struct pt_bound){value, true};
}

/* Print a line: @p value with what it is, what is required, and whether that is met. */
void pt_report_bound(struct pt_report *report, const char *workload, const char *name, double value,
                     const char *unit, struct pt_bound required);

/* Print the figures and how many requirements were met. */
void pt_report_finish(const struct pt_report *report);

#endif

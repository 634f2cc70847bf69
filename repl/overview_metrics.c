/*
 * A report in the text format of OpenMetrics 1.0, that readers of the older format of Prometheus take, too, as node_exporter's
 * textfile collector does. For these:
 *
 *  1. Families are gauges and counters alone: they do not know the others. A state is a gauge for each, one of which is 1.
 *  2. There are no times of samples.
 *  3. Each sample has the store in a label, for there may be several on a machine, and no series may come twice.
 */
#include "repl/overview.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

static const char *unit_of(enum pt_figure_kind kind)
{
    return kind == PT_FIGURE_SIZE ? "bytes" : kind == PT_FIGURE_TIME ? "seconds" : "";
}

/* The family's name: peat_prefix_metric_unit. */
static void name_write(struct pt_sink *sink, const char *prefix, const struct pt_figure *figure)
{
    const char *unit = unit_of(figure->kind);

    pt_sink_format(sink, "peat_%s%s%s%s%s", prefix, prefix[0] != '\0' ? "_" : "", figure->metric,
                   unit[0] != '\0' ? "_" : "", unit);
}

static void family_begin(struct pt_sink *sink, const char *prefix, const struct pt_figure *figure)
{
    pt_sink_string(sink, "# TYPE ");
    name_write(sink, prefix, figure);
    pt_sink_string(sink, figure->is_counter ? " counter\n" : " gauge\n");
    if (unit_of(figure->kind)[0] != '\0') {
        pt_sink_string(sink, "# UNIT ");
        name_write(sink, prefix, figure);
        pt_sink_format(sink, " %s\n", unit_of(figure->kind));
    }
    pt_sink_string(sink, "# HELP ");
    name_write(sink, prefix, figure);
    pt_sink_format(sink, " %s\n", figure->words);
}

/* @p label: of whom it is, by @p name; NULL: of the store. */
static void sample(const struct pt_overview *view, struct pt_sink *sink, const char *prefix,
                   const struct pt_figure *figure, const char *label, const char *name,
                   uint64_t value)
{
    name_write(sink, prefix, figure);
    pt_sink_string(sink, figure->is_counter ? "_total{" : "{");
    pt_sink_label(sink, "store", view->store);
    if (label != NULL) {
        pt_sink_string(sink, ",");
        pt_sink_label(sink, label, name);
    }
    if (figure->kind == PT_FIGURE_TIME)
        pt_sink_format(sink, "} %" PRIu64 ".%06" PRIu64 "\n", value / 1000000, value % 1000000);
    else
        pt_sink_format(sink, "} %" PRIu64 "\n", value);
}

/* Families with one sample for each of @p count structs, @p stride bytes apart, whose names are @p name_offset bytes into them. */
static void figures_write(const struct pt_overview *view, struct pt_sink *sink,
                          const struct pt_figures *figures, const void *structs, size_t count,
                          size_t stride, const char *label, size_t name_offset)
{
    for (size_t i = 0; i < figures->count && count > 0; i++) {
        const struct pt_figure *figure = &figures->figures[i];

        family_begin(sink, figures->prefix, figure);
        for (size_t j = 0; j < count; j++) {
            const char *of = (const char *)structs + j * stride;

            sample(view, sink, figures->prefix, figure, label,
                   label != NULL ? of + name_offset : NULL, pt_figure_value(figure, of));
        }
    }
}

static void one(const struct pt_overview *view, struct pt_sink *sink, const char *metric,
                enum pt_figure_kind kind, const char *words, uint64_t value)
{
    struct pt_figure figure = {.metric = metric, .kind = kind, .words = words};

    family_begin(sink, "", &figure);
    sample(view, sink, "", &figure, NULL, NULL, value);
}

/* A gauge for each name that there is, 1 for the one that holds. */
static void states_write(const struct pt_overview *view, struct pt_sink *sink, const char *metric,
                         const char *words, const char *label, const char *(*name_of)(unsigned),
                         unsigned count, unsigned now)
{
    struct pt_figure figure = {.metric = metric, .words = words};

    family_begin(sink, "", &figure);
    for (unsigned i = 0; i < count; i++)
        sample(view, sink, "", &figure, label, name_of(i), i == now);
}

static const char *role_name(unsigned role)
{
    return pt_role_name((enum peat_role)role);
}

static const char *state_name(unsigned state)
{
    return peat_follower_state_name((enum peat_follower_state)state);
}

void pt_overview_openmetrics(const struct pt_overview *view, struct pt_sink *sink)
{
    const struct peat_position *position = &view->position;

    one(view, sink, "report_time", PT_FIGURE_TIME, "when this was written", view->time_us);
    states_write(view, sink, "role", "what the store is", "role", role_name, PT_ROLE_COUNT,
                 (unsigned)view->role);
    one(view, sink, "epoch", PT_FIGURE_COUNT, "epoch of the newest commit", position->epoch);
    one(view, sink, "commit", PT_FIGURE_COUNT, "newest commit", position->commit);
    one(view, sink, "commit_time", PT_FIGURE_TIME, "when that was made", position->time_us);
    one(view, sink, "log_position", PT_FIGURE_SIZE, "log since the store was made",
        position->position);
    figures_write(view, sink, &pt_feed_figures, view->feeds, view->feed_count, sizeof(*view->feeds),
                  "feed", offsetof(struct pt_overview_feed, name));
    if (view->is_primary)
        figures_write(view, sink, &pt_primary_figures, &view->primary, 1, 0, NULL, 0);
    figures_write(view, sink, &pt_primary_follower_figures, view->followers, view->follower_count,
                  sizeof(*view->followers), "follower",
                  offsetof(struct pt_overview_follower, name));
    if (view->is_follower) {
        states_write(view, sink, "follower_state", "what the follower does", "state", state_name,
                     PT_FOLLOWER_STATE_COUNT, (unsigned)view->follower.state);
        figures_write(view, sink, &pt_follower_figures, &view->follower, 1, 0, NULL, 0);
    }
    pt_sink_string(sink, "# EOF\n");
}

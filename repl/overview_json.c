/* A report as one JSON object, on a line. Sizes are bytes, times microseconds. */
#include "repl/overview.h"

#include <inttypes.h>
#include <string.h>

/* "name":value for each of them, with a comma before each. A field of a struct in the struct is called primary_commit. */
static void figures_write(struct pt_sink *sink, const struct pt_figures *figures, const void *of)
{
    for (size_t i = 0; i < figures->count; i++) {
        const struct pt_figure *figure = &figures->figures[i];
        uint64_t value = pt_figure_value(figure, of);

        pt_sink_string(sink, ",\"");
        for (const char *place = figure->name; *place != '\0'; place++)
            pt_sink_bytes(sink, *place == '.' ? "_" : place, 1);
        pt_sink_string(sink, "\":");
        if (figure->kind == PT_FIGURE_FLAG)
            pt_sink_string(sink, value != 0 ? "true" : "false");
        else
            pt_sink_format(sink, "%" PRIu64, value);
    }
}

static void store_write(const struct pt_overview *view, struct pt_sink *sink)
{
    const struct peat_position *position = &view->position;

    pt_sink_string(sink, "{");
    pt_sink_json(sink, "store", view->store);
    pt_sink_format(sink, ",\"time_us\":%" PRIu64 ",\"store_id\":\"", view->time_us);
    pt_sink_hex(sink, view->store_id, sizeof(view->store_id));
    pt_sink_format(sink, "\",\"role\":\"%s\"", pt_role_name(view->role));
    pt_sink_format(sink,
                   ",\"position\":{\"epoch\":%" PRIu64 ",\"commit\":%" PRIu64
                   ",\"time_us\":%" PRIu64 ",\"position\":%" PRIu64 ",\"chain\":\"",
                   position->epoch, position->commit, position->time_us, position->position);
    pt_sink_hex(sink, position->chain, sizeof(position->chain));
    pt_sink_string(sink, "\"},\"epochs\":[");
    for (size_t i = 0; i < view->epoch_count; i++)
        pt_sink_format(sink, "%s{\"epoch\":%" PRIu64 ",\"first_commit\":%" PRIu64 "}",
                       i > 0 ? "," : "", view->epochs[i].epoch, view->epochs[i].first_commit);
    pt_sink_string(sink, "],\"feeds\":[");
    for (size_t i = 0; i < view->feed_count; i++) {
        pt_sink_string(sink, i > 0 ? ",{" : "{");
        pt_sink_json(sink, "name", view->feeds[i].name);
        figures_write(sink, &pt_feed_figures, &view->feeds[i]);
        pt_sink_string(sink, "}");
    }
    pt_sink_string(sink, "]");
}

static void primary_write(const struct pt_overview *view, struct pt_sink *sink)
{
    pt_sink_string(sink, ",\"primary\":{");
    pt_sink_json(sink, "words", view->primary.words);
    figures_write(sink, &pt_primary_figures, &view->primary);
    pt_sink_string(sink, ",\"followers\":[");
    for (size_t i = 0; i < view->follower_count; i++) {
        pt_sink_string(sink, i > 0 ? ",{" : "{");
        pt_sink_json(sink, "name", view->followers[i].name);
        figures_write(sink, &pt_primary_follower_figures, &view->followers[i].about);
        pt_sink_string(sink, "}");
    }
    pt_sink_string(sink, "]}");
}

void pt_overview_json(const struct pt_overview *view, struct pt_sink *sink)
{
    store_write(view, sink);
    if (view->is_primary)
        primary_write(view, sink);
    if (view->is_follower) {
        pt_sink_format(sink, ",\"follower\":{\"state\":\"%s\",",
                       peat_follower_state_name(view->follower.state));
        pt_sink_json(sink, "words", view->follower.words);
        figures_write(sink, &pt_follower_figures, &view->follower);
        pt_sink_string(sink, "}");
    }
    pt_sink_string(sink, "}\n");
}
